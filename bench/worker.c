/**
 * What does a worker cost: until its first answer, and when there are many?
 *
 *     first worker N 1      N times: fork a worker in C, ask it, wait for its answer and its end
 *     first nothing N 1     the same of a program that is linked to the same libraries, and only ends
 *     chat worker N LIVE    N questions in all to LIVE workers at once, each asked again when it has answered
 *     chat bare N LIVE      the same bytes by epoll, looked at by nobody
 *
 * The last line of a round's JSON has what one worker keeps for itself (Private_Dirty) and its share (Pss), in KiB.
 *
 *     bench-worker first|chat worker|nothing|bare N LIVE
 */
#include "bench.h"

#include <brood.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <uv.h>

static bench_run run;
static unsigned live, left, open_questions;
static uint64_t since;
static brood_child **workers;

static int answer(brood_value task, brood_writer *result, void *data) {
    (void)data;
    brood_writer_value(result, brood_value_get(task, "data"));
    return 0;
}

static void ask(brood_channel *channel);

static void answered(brood_channel *channel, const brood_reply *reply, void *data) {
    (void)data;
    if (reply->status < 0)
        bench_fail("answer", strerror(-reply->status));
    open_questions--;
    if (live == 0) {
        bench_run_took(&run, since);
        brood_channel_disconnect(channel);
    } else if (left > 0) {
        ask(channel);
    } else if (open_questions == 0) {
        uv_stop(uv_default_loop());
    }
}

static void ask(brood_channel *channel) {
    brood_body body = {.json = "{\"data\":\"0123456789012345678901234567890123456789\"}", .json_len = BROOD_NUL};
    left--;
    open_questions++;
    if (brood_channel_request(channel, &body, 0, answered, NULL, NULL) < 0)
        bench_fail("brood_channel_request", "failed");
}

static brood_child *start(bool forks) {
    brood_child *child;
    brood_failure why;
    brood_options options = {.args = BROOD_ARGS("/proc/self/exe", forks ? "child" : "nothing")};
    int r = forks ? brood_fork(uv_default_loop(), &options, &child, &why)
                  : brood_spawn(uv_default_loop(), &options, &child, &why);
    if (r < 0)
        bench_fail("start", why.message);
    return child;
}

/* One after another. */
static void first(bool forks) {
    left = UINT32_MAX;
    bench_run_begin(&run);
    for (unsigned i = 0; i < run.n; i++) {
        since = bench_now_ns();
        brood_child *child = start(forks);
        if (forks)
            ask(brood_child_channel(child));
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        if (!forks)
            bench_run_took(&run, since);
        brood_child_close(child);
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    }
    bench_run_end(&run, NULL);
}

static void chat(void) {
    char memory[128];
    bench_run_begin(&run);
    left = run.n;
    for (unsigned i = 0; i < live && left > 0; i++)
        ask(brood_child_channel(workers[i]));
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    pid_t pid = brood_child_pid(workers[live - 1]);
    snprintf(memory, sizeof memory, "\"dirty_kb\":%ld,\"pss_kb\":%ld", bench_rollup_kb(pid, "Private_Dirty:"),
             bench_rollup_kb(pid, "Pss:"));
    bench_run_end(&run, memory);
}

/* --- the same bytes by epoll, read(2) and write(2), looked at by nobody --- */

static const char bare_question[] = "{\"data\":\"0123456789012345678901234567890123456789\",\"id\":1000000}\n";
static int bare_epoll;
static int *bare_sockets;

static void bare_child(int fd) {
    static char buffer[65536];
    for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
        if (write(fd, buffer, (size_t)n) != n)
            break;
    _exit(0);
}

static void bare_start(void) {
    bare_epoll = epoll_create1(EPOLL_CLOEXEC);
    bare_sockets = calloc(live, sizeof *bare_sockets);
    for (unsigned i = 0; i < live; i++) {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
            bench_fail("socketpair", strerror(errno));
        if (fork() == 0) {
            for (unsigned k = 0; k < i; k++)
                close(bare_sockets[k]);
            close(fds[0]);
            bare_child(fds[1]);
        }
        close(fds[1]);
        bare_sockets[i] = fds[0];
        epoll_ctl(bare_epoll, EPOLL_CTL_ADD, fds[0], &(struct epoll_event){.events = EPOLLIN, .data.fd = fds[0]});
    }
}

static void bare_ask(int fd) {
    left--;
    open_questions++;
    if (write(fd, bare_question, sizeof bare_question - 1) < 0)
        bench_fail("write", strerror(errno));
}

static void bare_chat(void) {
    static char buffer[65536];
    struct epoll_event events[1024];
    bench_run_begin(&run);
    left = run.n;
    for (unsigned i = 0; i < live && left > 0; i++)
        bare_ask(bare_sockets[i]);
    while (open_questions > 0) {
        int n = epoll_wait(bare_epoll, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            if (read(events[i].data.fd, buffer, sizeof buffer) <= 0)
                bench_fail("read", "nothing");
            open_questions--;
            if (left > 0)
                bare_ask(events[i].data.fd);
        }
    }
    bench_run_end(&run, NULL);
}

static void bare_end(void) {
    for (unsigned i = 0; i < live; i++)
        close(bare_sockets[i]);
    while (wait(NULL) > 0)
        ;
    free(bare_sockets);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "child") == 0)
        return brood_worker_main(answer, NULL) < 0;
    if (argc > 1 && strcmp(argv[1], "nothing") == 0)
        return 0;
    if (argc != 5)
        bench_fail("usage", "bench-worker first|chat worker|nothing|bare N LIVE");
    bool forks = strcmp(argv[2], "worker") == 0, chats = strcmp(argv[1], "chat") == 0;
    run.variant = argv[1];
    run.peer = argv[2];
    run.n = bench_number(argv[3]);
    run.c = bench_number(argv[4]);
    live = chats ? run.c : 0;
    if (strcmp(argv[2], "bare") == 0) {
        bare_start();
        while (bench_next_round())
            bare_chat();
        bare_end();
        return 0;
    }
    workers = calloc(live + 1, sizeof *workers);
    for (unsigned i = 0; i < live; i++)
        workers[i] = start(true);
    while (bench_next_round())
        chats ? chat() : first(forks);
    for (unsigned i = 0; i < live; i++) {
        brood_channel_disconnect(brood_child_channel(workers[i]));
        brood_child_close(workers[i]);
    }
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    free(workers);
    return 0;
}
