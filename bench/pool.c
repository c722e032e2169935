/**
 * What does a task cost in a pool of worker processes?
 *
 *     tiny      N tasks that give a number back, C of them handed over at a time
 *     busy      the same, each of 1 ms of CPU time
 *     recycled  as busy, by workers that are replaced after a hundred of them
 *     queued    N tasks handed over at once; `queued_bytes` is what each of them takes while it waits
 *     recover   N times: a task that kills its worker, and one behind it; the figure is the second one's time, which is
 *               that of a successor. The spare workers are ready each time; one that is named says when it is
 *
 * Of the workers a round tells the mean Pss and Private_Dirty. The worker is this program, by brood_worker_main, or any other that is named: bench/peers/pool_worker.mjs. SPARE workers
 * are kept ready beyond WORKERS. The peers take the same arguments: bench/peers/pool.mjs, bench/peers/pool.py.
 *
 *     bench-pool tiny|busy|recycled|queued|recover N WORKERS PREFETCH C SPARE [WORKER [ARGUMENT...]]
 */
#include "bench.h"

#include <brood.h>
#include <uv.h>

#include <malloc.h>
#include <signal.h>

static bench_run run;
static brood_pool *pool;
static unsigned given, done;
static bool busy, recovers;
static unsigned all_workers; /* with the spare ones */

enum { MOST_MEASURED = 64 };
static pid_t workers[MOST_MEASURED + 1]; /* by their numbers */

/* --- the worker --- */

/* The peers in Node count the time that passes, in which they may be kept from the CPU. */
static uint64_t cpu_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
}

static int work(brood_value task, brood_writer *result, void *data) {
    double spin_us = 0, number = 0;
    (void)data;
    if (brood_value_double(brood_value_get(task, "number"), &number) < 0)
        raise(SIGKILL);
    if (brood_value_double(brood_value_get(task, "spin_us"), &spin_us) == 0)
        for (uint64_t until = cpu_ns() + (uint64_t)spin_us * 1000; cpu_ns() < until;)
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
    if (given < run.n && !recovers)
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

/* The next worker is killed when all are there. */
static void look_at_workers(uv_timer_t *timer) {
    brood_pool_stats stats;
    brood_pool_stats_get(pool, &stats);
    if (given == run.n)
        uv_timer_stop(timer);
    else if (given == done && stats.up == all_workers)
        give_one();
}

static void on_event(brood_pool *told, const brood_pool_event *event, void *data) {
    (void)told, (void)data;
    if (event->worker <= MOST_MEASURED && event->kind == BROOD_POOL_WORKER_STARTED)
        workers[event->worker] = event->pid;
}

static long mean_kb(const char *name) {
    long sum = 0, count = 0;
    for (int i = 1; i <= MOST_MEASURED; i++) {
        long kb = workers[i] ? bench_rollup_kb(workers[i], name) : -1;
        sum += kb > 0 ? kb : 0;
        count += kb >= 0;
    }
    return count > 0 ? sum / count : -1;
}

static void do_round(void) {
    static uv_timer_t timer;
    char memory[128];
    uv_timer_init(uv_default_loop(), &timer);
    given = done = 0;
    size_t before = mallinfo2().uordblks;
    bench_run_begin(&run);
    if (recovers)
        uv_timer_start(&timer, look_at_workers, 0, 1);
    for (unsigned i = 0; i < run.c && given < run.n && !recovers; i++)
        give_one();
    size_t after = mallinfo2().uordblks;
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    snprintf(memory, sizeof memory, "\"queued_bytes\":%.1f,\"worker_pss_kb\":%ld,\"worker_dirty_kb\":%ld",
             (double)(after - before) / run.c, mean_kb("Pss:"), mean_kb("Private_Dirty:"));
    bench_run_end(&run, memory);
    if (done != run.n)
        bench_fail("a round", "some tasks have had no outcome");
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "worker") == 0)
        return brood_worker_main(work, NULL) < 0;
    if (argc < 7)
        bench_fail("usage", "bench-pool tiny|busy|recycled|queued|recover N WORKERS PREFETCH C SPARE [WORKER...]");
    const char *const self[] = {argv[0], "worker", NULL};
    brood_failure why;
    run = (bench_run){.peer = "brood", .variant = argv[1], .n = bench_number(argv[2]), .c = bench_number(argv[5])};
    bool recycled = strcmp(argv[1], "recycled") == 0;
    busy = recycled || strcmp(argv[1], "busy") == 0;
    recovers = strcmp(argv[1], "recover") == 0;
    if (strcmp(argv[1], "queued") == 0)
        run.c = run.n;
    all_workers = bench_number(argv[3]) + bench_number(argv[6]);
    brood_pool_options options = {
        .worker = {.args = argc > 7 ? (const char *const *)argv + 7 : self},
        .max_workers = bench_number(argv[3]),
        .min_workers = bench_number(argv[3]),
        .prefetch = bench_number(argv[4]),
        .spare_workers = bench_number(argv[6]),
        .recycle_after_tasks = recycled ? 100 : 0,
        .wait_ready = recovers && argc > 7,
        .max_failures = UINT32_MAX,
        .on_event = on_event,
    };
    if (brood_pool_open(uv_default_loop(), &options, &pool, &why) < 0)
        bench_fail("brood_pool_open", why.message);
    while (bench_next_round())
        do_round();
    brood_pool_close(pool, 0, NULL, NULL);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
