/**
 * The peer of bench/exits.c on libuv's own uv_spawn, which asks every living child when SIGCHLD comes.
 *
 *     peer-exits-uv LIVE N PROGRAM [ARG...]
 */
#include "../exits.h"

#include <fcntl.h>
#include <signal.h>
#include <uv.h>

static char **program;
static int wait_fd;
static bool ended;
static uv_process_t *processes;

static void on_closed(uv_handle_t *handle) {
    (void)handle;
    ended = true;
}

static void on_exit_of_child(uv_process_t *process, int64_t code, int signal) {
    (void)code, (void)signal;
    uv_close((uv_handle_t *)process, on_closed);
}

static void start(unsigned i) {
    uv_stdio_container_t slots[] = {
        {.flags = UV_INHERIT_FD, .data.fd = wait_fd},
        {.flags = UV_INHERIT_FD, .data.fd = 1},
        {.flags = UV_INHERIT_FD, .data.fd = 2},
    };
    uv_process_options_t options = {
        .file = program[0], .args = program, .exit_cb = on_exit_of_child, .stdio = slots, .stdio_count = 3};
    int r = uv_spawn(uv_default_loop(), &processes[i], &options);
    if (r < 0)
        bench_fail(program[0], uv_strerror(r));
}

static void end(unsigned i) {
    ended = false;
    uv_process_kill(&processes[i], SIGKILL);
    while (!ended)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
}

static void settle(void) {
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
}

int main(int argc, char **argv) {
    int pipe_fds[2];
    if (argc < 4)
        bench_fail("usage", "peer-exits-uv LIVE N PROGRAM [ARG...]");
    exits_bench bench = {.peer = "uv_spawn",
                         .live = bench_number(argv[1]),
                         .n = bench_number(argv[2]),
                         .start = start,
                         .end = end,
                         .settle = settle};
    program = argv + 3;
    processes = calloc(bench.live, sizeof *processes);
    if (!processes || pipe2(pipe_fds, O_CLOEXEC) < 0)
        bench_fail("pipe", strerror(errno));
    wait_fd = pipe_fds[0];
    exits_run(&bench);
    return 0;
}
