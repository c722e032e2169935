/**
 * @file exits.h
 * The rounds of bench/exits.c and of its peer: who starts and who collects is the caller's.
 */
#ifndef BENCH_EXITS_H
#define BENCH_EXITS_H

#include "bench.h"

typedef struct exits_bench {
    const char *peer;
    unsigned live;
    unsigned n;
    void (*start)(unsigned i); /* start child number i */
    void (*end)(unsigned i);   /* kill it, and come back once its end is collected: the clock runs */
    void (*settle)(void);      /* whatever the loop does once for a new child */
} exits_bench;

static inline uint64_t exits_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static inline void exits_round(const exits_bench *bench, uint32_t *cpu_ns, uint64_t *random) {
    uint64_t sum_ns = 0;
    for (unsigned k = 0; k < bench->n; k++) {
        *random = *random * 6364136223846793005 + 1442695040888963407;
        unsigned i = (unsigned)((*random >> 33) % bench->live);
        uint64_t before = exits_cpu_ns();
        bench->end(i);
        cpu_ns[k] = (uint32_t)(exits_cpu_ns() - before);
        sum_ns += cpu_ns[k];
        bench->start(i);
        bench->settle();
    }
    qsort(cpu_ns, bench->n, sizeof *cpu_ns, bench_compare_u32);
    printf("{\"peer\":\"%s\",\"n\":%u,\"live\":%u,\"exit_us\":%.2f,\"median_us\":%.2f,\"p99_us\":%.2f,"
           "\"cpu_self_us\":%.0f,\"cpu_children_us\":0}\n",
           bench->peer, bench->n, bench->live, (double)sum_ns / 1e3 / bench->n, cpu_ns[bench->n / 2] / 1e3,
           cpu_ns[(size_t)bench->n * 99 / 100] / 1e3, (double)sum_ns / 1e3);
    fflush(stdout);
}

static inline void exits_run(const exits_bench *bench) {
    uint32_t *cpu_ns = calloc(bench->n, sizeof *cpu_ns);
    uint64_t random = 1;
    for (unsigned i = 0; i < bench->live; i++)
        bench->start(i);
    bench->settle();
    while (cpu_ns && bench_next_round())
        exits_round(bench, cpu_ns, &random);
    free(cpu_ns);
}

#endif
