// The peer of bench/start.c in Go: os/exec, one goroutine for each that is under way.
//
//	start-go N CONCURRENCY MB PROGRAM [ARG...]
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sort"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "start-go:", err)
		os.Exit(1)
	}
}

func number(text string) int {
	value, err := strconv.Atoi(text)
	must(err)
	return value
}

func cpuMicros(who int) int64 {
	var usage syscall.Rusage
	must(syscall.Getrusage(who, &usage))
	return (usage.Utime.Nano() + usage.Stime.Nano()) / 1000
}

func start(program string, args []string) {
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(err)
	must(cmd.Start())
	_, err = io.Copy(io.Discard, out)
	must(err)
	must(cmd.Wait())
}

func round(n, c, mb int, program string, args []string) {
	took := make([]float64, n)
	var started int64
	var workers sync.WaitGroup

	self, children := cpuMicros(syscall.RUSAGE_SELF), cpuMicros(syscall.RUSAGE_CHILDREN)
	begun := time.Now()
	for i := 0; i < c; i++ {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for index := atomic.AddInt64(&started, 1) - 1; index < int64(n); index = atomic.AddInt64(&started, 1) - 1 {
				since := time.Now()
				start(program, args)
				took[index] = float64(time.Since(since).Microseconds())
			}
		}()
	}
	workers.Wait()
	seconds := time.Since(begun).Seconds()
	self, children = cpuMicros(syscall.RUSAGE_SELF)-self, cpuMicros(syscall.RUSAGE_CHILDREN)-children
	sort.Float64s(took)
	fmt.Printf(`{"peer":"go","n":%d,"c":%d,"mb":%d,"seconds":%.6f,"rate":%.2f,"cpu_self_us":%d,"cpu_children_us":%d,`+
		`"median_us":%.0f,"p99_us":%.0f}`+"\n",
		n, c, mb, seconds, float64(n)/seconds, self, children, took[n/2], took[n*99/100])
}

// ballast keeps mb MB resident, in small pages, out of the garbage collector's sight.
func ballast(mb int) {
	if mb == 0 {
		return
	}
	bytes, err := syscall.Mmap(-1, 0, mb<<20, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE|syscall.MAP_ANON)
	must(err)
	for at := 0; at < len(bytes); at += 4096 {
		bytes[at] = 1
	}
}

func main() {
	if len(os.Args) < 5 {
		must(fmt.Errorf("usage: start-go N CONCURRENCY MB PROGRAM [ARG...]"))
	}
	n, c, mb := number(os.Args[1]), number(os.Args[2]), number(os.Args[3])
	ballast(mb)
	if os.Getenv("BENCH_SERVE") == "" {
		round(n, c, mb, os.Args[4], os.Args[5:])
		return
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		round(n, c, mb, os.Args[4], os.Args[5:])
	}
}
