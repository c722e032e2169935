/**
 * The peer of bench/start.c on libuv's own uv_spawn: start, read the output to the end, wait, c at a time.
 *
 *     peer-start-uv N CONCURRENCY MB PROGRAM [ARG...]
 */
#include "../bench.h"

#include <signal.h>
#include <uv.h>

typedef struct job {
    uv_process_t process;
    uv_pipe_t out;
    int open; /* handles */
    uint64_t since_ns;
} job;

static bench_run run = {.peer = "uv_spawn", .variant = "inline"};
static char **program;
static uv_loop_t *loop;
static unsigned started;

static void start(job *j);

static void on_closed(uv_handle_t *handle) {
    job *j = handle->data;
    if (--j->open > 0)
        return;
    bench_run_took(&run, j->since_ns);
    if (started < run.n)
        start(j);
}

static void on_exit_of_child(uv_process_t *process, int64_t code, int signal) {
    (void)code, (void)signal;
    uv_close((uv_handle_t *)process, on_closed);
}

static void give_buffer(uv_handle_t *handle, size_t size, uv_buf_t *ret_buffer) {
    static char bytes[65536];
    (void)handle, (void)size;
    *ret_buffer = uv_buf_init(bytes, sizeof bytes);
}

static void on_output(uv_stream_t *stream, ssize_t n, const uv_buf_t *buffer) {
    (void)buffer;
    if (n < 0)
        uv_close((uv_handle_t *)stream, on_closed);
}

static void start(job *j) {
    started++;
    j->since_ns = bench_now_ns();
    j->open = 2;
    uv_pipe_init(loop, &j->out, 0);
    j->out.data = j->process.data = j;
    uv_stdio_container_t slots[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE, .data.stream = (uv_stream_t *)&j->out},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {
        .file = program[0], .args = program, .exit_cb = on_exit_of_child, .stdio = slots, .stdio_count = 3};
    int r = uv_spawn(loop, &j->process, &options);
    if (r < 0)
        bench_fail(program[0], uv_strerror(r));
    uv_read_start((uv_stream_t *)&j->out, give_buffer, on_output);
}

int main(int argc, char **argv) {
    if (argc < 5)
        bench_fail("usage", "peer-start-uv N CONCURRENCY MB PROGRAM [ARG...]");
    run.n = bench_number(argv[1]);
    run.c = bench_number(argv[2]);
    run.mb = bench_number(argv[3]);
    program = argv + 4;
    loop = uv_default_loop();
    job *jobs = calloc(run.c, sizeof *jobs);

    bench_raise_descriptors();
    bench_ballast(run.mb);
    while (jobs && bench_next_round()) {
        bench_run_begin(&run);
        started = 0;
        for (unsigned i = 0; i < run.c && started < run.n; i++)
            start(&jobs[i]);
        uv_run(loop, UV_RUN_DEFAULT);
        bench_run_end(&run, NULL);
    }
    free(jobs);
    return 0;
}
