/**
 * What does a task cost in a pool of worker processes?
 *
 *     tiny      N tasks that give a number back, C of them handed over at a time
 *     busy      the same, each of 1 ms of CPU time
 *     queued    N tasks handed over at once
 *     recover   N times: a task that kills its worker, and one behind it; the figure is the second one's time, which is
 *               that of a successor
 *
 * The worker is this program, by brood_worker_main, or any other that is named: bench/peers/pool_worker.mjs. SPARE workers
 * are kept ready beyond WORKERS. The peers take the same arguments: bench/peers/pool.mjs, bench/peers/pool.py.
 *
 *     bench-pool tiny|busy|queued|recover N WORKERS PREFETCH C SPARE [WORKER [ARGUMENT...]]
 */
#include "bench.h"

#include <brood.h>
#include <uv.h>

#include <signal.h>

static bench_run run;
static brood_pool *pool;
static unsigned given, done;
static bool busy, recovers;

/* --- the worker --- */

static int work(brood_value task, brood_writer *result, void *data) {
    double spin_us = 0, number = 0;
    (void)data;
    if (brood_value_double(brood_value_get(task, "number"), &number) < 0)
        raise(SIGKILL);
    if (brood_value_double(brood_value_get(task, "spin_us"), &spin_us) == 0)
        for (uint64_t until = bench_now_ns() + (uint64_t)spin_us * 1000; bench_now_ns() < until;)
            ;
    brood_writer_double(result, number);
    return 0;
}

/* --- the pool --- */

static void give_one(void);

static void finished(const brood_outcome *outcome, void *data) {
    uint64_t since = (uint64_t)(uintptr_t)data;
    double number = -1;
    if (outcome->fate != BROOD_FATE_DONE || brood_value_double(outcome->result, &number) < 0 || number < 0)
        bench_fail("a task", outcome->message);
    bench_run_took(&run, since);
    done++;
    if (given < run.n)
        give_one();
}

static void give(const char *json, void (*on_done)(const brood_outcome *, void *), unsigned attempts) {
    brood_task task = {.body = {.json = json, .json_len = BROOD_NUL},
                       .max_attempts = attempts,
                       .on_done = on_done,
                       .data = (void *)(uintptr_t)bench_now_ns()};
    int r = brood_pool_run(pool, &task, NULL);
    if (r < 0)
        bench_fail("brood_pool_run", strerror(-r));
}

static void give_one(void) {
    char text[64];
    snprintf(text, sizeof text, busy ? "{\"number\":%u,\"spin_us\":1000}" : "{\"number\":%u}", given++);
    if (recovers)
        give("{\"die\":true}", NULL, 1);
    give(text, finished, 3);
}

static void do_round(void) {
    given = done = 0;
    bench_run_begin(&run);
    for (unsigned i = 0; i < run.c && given < run.n; i++)
        give_one();
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    bench_run_end(&run, NULL);
    if (done != run.n)
        bench_fail("a round", "some tasks have had no outcome");
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "worker") == 0)
        return brood_worker_main(work, NULL) < 0;
    if (argc < 7)
        bench_fail("usage", "bench-pool tiny|busy|queued|recover N WORKERS PREFETCH C SPARE [WORKER...]");
    const char *const self[] = {argv[0], "worker", NULL};
    brood_failure why;
    run = (bench_run){.peer = "brood", .variant = argv[1], .n = bench_number(argv[2]), .c = bench_number(argv[5])};
    busy = strcmp(argv[1], "busy") == 0;
    recovers = strcmp(argv[1], "recover") == 0;
    if (strcmp(argv[1], "queued") == 0)
        run.c = run.n;
    brood_pool_options options = {
        .worker = {.args = argc > 7 ? (const char *const *)argv + 7 : self},
        .max_workers = bench_number(argv[3]),
        .min_workers = bench_number(argv[3]),
        .prefetch = bench_number(argv[4]),
        .spare_workers = bench_number(argv[6]),
        .max_failures = UINT32_MAX,
    };
    if (brood_pool_open(uv_default_loop(), &options, &pool, &why) < 0)
        bench_fail("brood_pool_open", why.message);
    while (bench_next_round())
        do_round();
    brood_pool_close(pool, 0, NULL, NULL);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
