/**
 * What does the end of one child cost the loop's thread when so many others live? LIVE children wait; N times one of
 * them is killed and collected, and another started in its place, outside the clock. `brood`, or `bare`: pidfds and one
 * epoll; beside bench/peers/exits-uv.c. The kill is inside the clock, for everybody.
 *
 *     bench-exits brood|bare LIVE N PROGRAM [ARG...]     (the program lives until its standard input ends)
 */
#include "exits.h"
#include "bare.h"

#include <brood.h>
#include <uv.h>

static char **program;
static int wait_fd; /* what the children read; it ends when this process does */
static bool ended;

/* --- brood --- */

static brood_child **children;

static void on_close(brood_child *child, const brood_exit *how, void *data) {
    (void)how;
    *(brood_child **)data = NULL;
    brood_child_close(child);
    ended = true;
}

static void start_by_brood(unsigned i) {
    brood_failure why;
    brood_options options = {
        .args = (const char *const *)program,
        .in = {.kind = BROOD_STDIO_FD, .fd = wait_fd},
        .out = {.kind = BROOD_STDIO_INHERIT},
        .err = {.kind = BROOD_STDIO_INHERIT},
        .on_close = on_close,
        .data = &children[i],
    };
    if (brood_spawn(uv_default_loop(), &options, &children[i], &why) < 0)
        bench_fail("brood_spawn", why.message);
}

static void end_by_brood(unsigned i) {
    ended = false;
    brood_child_kill(children[i], SIGKILL);
    while (!ended)
        uv_run(uv_default_loop(), UV_RUN_ONCE);
}

static void settle_brood(void) {
    uv_run(uv_default_loop(), UV_RUN_NOWAIT);
}

/* --- bare --- */

static bare_child *bare_children;
static int epoll_fd;
static char *stack;

static void start_bare(unsigned i) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
    bare_program p = {.args = program, .fds = {wait_fd, 1, 2}};
    bare_start(&p, stack, &bare_children[i]);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, bare_children[i].pidfd, &event) < 0)
        bench_fail("epoll_ctl", strerror(errno));
}

static void end_bare(unsigned i) {
    struct epoll_event event;
    syscall(SYS_pidfd_send_signal, bare_children[i].pidfd, SIGKILL, NULL, 0);
    if (epoll_wait(epoll_fd, &event, 1, -1) != 1)
        bench_fail("epoll_wait", strerror(errno));
    bare_child *ready = &bare_children[event.data.u32];
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, ready->pidfd, NULL);
    bare_reap(ready);
}

static void settle_bare(void) {
}

int main(int argc, char **argv) {
    int pipe_fds[2];
    if (argc < 5)
        bench_fail("usage", "bench-exits brood|bare LIVE N PROGRAM [ARG...]");
    exits_bench bench = {.peer = argv[1], .live = bench_number(argv[2]), .n = bench_number(argv[3])};
    program = argv + 4;
    bench_raise_descriptors();
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        bench_fail("pipe", strerror(errno));
    wait_fd = pipe_fds[0];

    if (strcmp(bench.peer, "bare") == 0) {
        stack = bare_stack_new();
        epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        bare_children = calloc(bench.live, sizeof *bare_children);
        bench.start = start_bare;
        bench.end = end_bare;
        bench.settle = settle_bare;
    } else {
        children = calloc(bench.live, sizeof(brood_child *));
        bench.start = start_by_brood;
        bench.end = end_by_brood;
        bench.settle = settle_brood;
    }
    exits_run(&bench);
    return 0;
}
