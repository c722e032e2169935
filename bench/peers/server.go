// The peer of examples/server.c in Go: net/http and os/exec.
//
//	server-go PORT
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "server-go:", err)
		os.Exit(1)
	}
}

func answer(w http.ResponseWriter, _ *http.Request) {
	cmd := exec.Command("echo", "hi")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(err)
	if err := cmd.Start(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	io.Copy(w, out)
	cmd.Wait()
}

func main() {
	must(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(answer)))
}
