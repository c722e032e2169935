/**
 * @file bench.h
 * What the bench programs share: clocks, CPU times, memory that is resident, rounds on request, and one JSON line for
 * each round. Hard here is only to be the same for everybody: what is inside the clock, and what is not.
 *
 * A program runs one round and ends; with BENCH_SERVE in its environment it runs one round for each line that it reads
 * from its standard input, so that bench/pairs can interleave programs whose start would cost more than what they
 * measure.
 */
#ifndef BENCH_H
#define BENCH_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/** One measured round: n things done, c of them at a time, by a process that keeps `mb` MB resident. */
typedef struct bench_run {
    const char *peer;
    const char *variant;
    unsigned n;
    unsigned c;
    size_t mb;
    uint32_t *took_us; /* how long each took; NULL: nobody wants to know */
    unsigned taken;
    uint64_t begun_ns;
    struct rusage self, children, loop; /* as they were when it began */
} bench_run;

static inline uint64_t bench_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline uint64_t bench_cpu_us(const struct rusage *usage) {
    return (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
}

static inline uint64_t bench_cpu_since_us(int who, const struct rusage *before) {
    struct rusage now;
    getrusage(who, &now);
    return bench_cpu_us(&now) - bench_cpu_us(before);
}

_Noreturn static inline void bench_fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

static inline unsigned bench_number(const char *text) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || value > UINT32_MAX)
        bench_fail(text, "not a number");
    return (unsigned)value;
}

/**
 * Keep `mb` MB resident, in small pages: a fork copies one table entry for each, and that is what hosts with a large
 * heap suffer from. Huge pages would hide it.
 */
static inline void bench_ballast(size_t mb) {
    size_t size = mb << 20;
    if (size == 0)
        return;
    char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        bench_fail("ballast", "no memory");
    madvise(bytes, size, MADV_NOHUGEPAGE);
    for (size_t at = 0; at < size; at += 4096)
        bytes[at] = 1;
}

/** To that CPU, or one of those there are. */
static inline void bench_pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
    sched_setaffinity(0, sizeof set, &set);
}

/** What the kernel's summary of a process's memory says behind that name (proc(5), smaps_rollup); -1: nothing. */
static inline long bench_rollup_kb(pid_t pid, const char *name) {
    char text[256];
    long kb = -1;
    snprintf(text, sizeof text, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(text, "re");
    while (file && kb < 0 && fgets(text, sizeof text, file))
        if (strncmp(text, name, strlen(name)) == 0)
            kb = strtol(text + strlen(name), NULL, 10);
    if (file)
        fclose(file);
    return kb;
}

/** As many descriptors as the hard limit allows. */
static inline void bench_raise_descriptors(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/** Whether there is a round to run: once, or for each line of standard input. */
static inline bool bench_next_round(void) {
    static bool been_here;
    if (!getenv("BENCH_SERVE")) {
        bool first = !been_here;
        been_here = true;
        return first;
    }
    char byte;
    while (read(STDIN_FILENO, &byte, 1) == 1)
        if (byte == '\n')
            return true;
    return false;
}

static inline void bench_run_begin(bench_run *run) {
    if (!run->took_us)
        run->took_us = calloc(run->n, sizeof *run->took_us);
    run->taken = 0;
    getrusage(RUSAGE_SELF, &run->self);
    getrusage(RUSAGE_CHILDREN, &run->children);
    getrusage(RUSAGE_THREAD, &run->loop);
    run->begun_ns = bench_now_ns();
}

/** One of the n is done; it began at `since_ns`. */
static inline void bench_run_took(bench_run *run, uint64_t since_ns) {
    if (run->taken < run->n)
        run->took_us[run->taken++] = (uint32_t)((bench_now_ns() - since_ns) / 1000);
}

static inline int bench_compare_u32(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/**
 * Stop the clock and print the round. `more` is JSON to be added (`"rss_kb":1700`), or NULL.
 * rate: done in a second; loop_us: CPU of the thread that calls this, for each one done.
 */
static inline void bench_run_end(bench_run *run, const char *more) {
    double seconds = (double)(bench_now_ns() - run->begun_ns) / 1e9;
    uint64_t self_us = bench_cpu_since_us(RUSAGE_SELF, &run->self);
    uint64_t children_us = bench_cpu_since_us(RUSAGE_CHILDREN, &run->children);
    uint64_t loop_us = bench_cpu_since_us(RUSAGE_THREAD, &run->loop);

    printf("{\"peer\":\"%s\",\"variant\":\"%s\",\"n\":%u,\"c\":%u,\"mb\":%zu,\"seconds\":%.6f,\"rate\":%.2f,"
           "\"cpu_self_us\":%llu,\"cpu_children_us\":%llu,\"loop_us\":%.2f",
           run->peer, run->variant, run->n, run->c, run->mb, seconds, run->n / seconds, (unsigned long long)self_us,
           (unsigned long long)children_us, (double)loop_us / run->n);
    if (run->taken > 0) {
        qsort(run->took_us, run->taken, sizeof *run->took_us, bench_compare_u32);
        printf(",\"median_us\":%u,\"p99_us\":%u", run->took_us[run->taken / 2],
               run->took_us[(size_t)run->taken * 99 / 100]);
    }
    printf("%s%s", more ? "," : "", more ? more : "");
    const char *commit = getenv("BROOD_COMMIT");
    if (commit)
        printf(",\"commit\":\"%s\"", commit);
    printf("}\n");
    fflush(stdout);
}

#endif
