/**
 * How fast does brood start a program, read its output to the end, and collect it? Beside bench/bare.c, the limit, and
 * bench/peers/start*. The variant says through which door:
 *
 *     exec      brood_exec_file: on the starter threads; with BROOD_OWN_GROUP, since the peers own less than a tree
 *     default   the same as it is without that: a tree
 *     spawn     brood_spawn: on the loop's thread
 *     offload   brood_spawn with .offload
 *     tree      the same as spawn, each with a tree of its own
 *
 *     bench-start VARIANT N CONCURRENCY MB PROGRAM [ARG...]
 */
#include "bench.h"

#include <brood.h>
#include <uv.h>

/** One that is under way. */
typedef struct job {
    uint64_t since_ns;
} job;

static bench_run run = {.peer = "brood"};
static brood_options options;
static void (*start)(job *j);
static uv_loop_t *loop;
static unsigned started;

static void next(job *j) {
    if (started == run.n)
        return;
    started++;
    j->since_ns = bench_now_ns();
    start(j);
}

static void finish(job *j, const brood_exit *ended) {
    if (!brood_exit_ok(ended))
        bench_fail(options.args[0], brood_reason_text(ended->reason));
    bench_run_took(&run, j->since_ns);
    next(j);
}

static void on_result(brood_result *result, void *data) {
    finish(data, &result->exit);
}

static void start_exec(job *j) {
    int r = brood_exec_file(loop, &options, on_result, j, NULL);
    if (r < 0)
        bench_fail(options.args[0], strerror(-r));
}

static void on_close(brood_child *child, const brood_exit *ended, void *data) {
    (void)child;
    finish(data, ended);
}

static void ignore_output(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream, (void)bytes, (void)len, (void)data;
}

static void start_spawn(job *j) {
    brood_failure why;
    options.data = j;
    if (brood_spawn(loop, &options, NULL, &why) < 0)
        bench_fail("brood_spawn", why.message);
}

int main(int argc, char **argv) {
    if (argc < 6)
        bench_fail("usage", "bench-start exec|default|spawn|offload|tree N CONCURRENCY MB PROGRAM [ARG...]");
    run.variant = argv[1];
    run.n = bench_number(argv[2]);
    run.c = bench_number(argv[3]);
    run.mb = bench_number(argv[4]);
    options = (brood_options){
        .args = (const char *const *)argv + 5,
        .in = {.kind = BROOD_STDIO_IGNORE},
        .err = {.kind = BROOD_STDIO_INHERIT},
    };
    start = start_exec;
    if (strcmp(run.variant, "exec") == 0) {
        options.own = BROOD_OWN_GROUP;
    } else if (strcmp(run.variant, "default") != 0) {
        start = start_spawn;
        options.out.on_data = ignore_output;
        options.on_close = on_close;
        options.offload = strcmp(run.variant, "offload") == 0;
        if (strcmp(run.variant, "tree") == 0)
            options.own = BROOD_OWN_TREE;
    }
    loop = uv_default_loop();
    job *jobs = calloc(run.c, sizeof *jobs);

    bench_raise_descriptors();
    bench_ballast(run.mb);
    while (jobs && bench_next_round()) {
        bench_run_begin(&run);
        started = 0;
        for (unsigned i = 0; i < run.c; i++)
            next(&jobs[i]);
        uv_run(loop, UV_RUN_DEFAULT);
        bench_run_end(&run, NULL);
    }
    free(jobs);
    return 0;
}
