/**
 * What does a message cost between a parent and its child, both in C?
 *
 *     roundtrip   a message of SIZE bytes there and back, N times, one at a time
 *     oneway      N messages of SIZE bytes from the parent, then one back
 *
 * `brood`: brood_fork, and a child on a loop of its own; each message is read into a value and looked into, and written
 * from one. `bare`: a socket pair and epoll, the same bytes in the same batches, not looked at. The two processes are
 * pinned to different CPUs, if there are two.
 *
 *     bench-channel roundtrip|oneway brood|bare N SIZE
 *     bench-channel roundtrip|oneway brood N SIZE PROGRAM SCRIPT      the child is that: bench/peers/channel.mjs
 */
#include "bench.h"

#include <brood.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <uv.h>

#define BATCH 65536 /* bytes of a bare write: what brood's, too, come to */

static bench_run run = {.c = 1};
static unsigned size; /* of a message with its line feed */
static char *message, *last;
static bool one_way;

static char *make_message(int id) {
    char *text = calloc(1, size + 1);
    int head = snprintf(text, size, "{\"id\":%d,\"text\":\"", id);
    if (!text || head + 3 > (int)size)
        bench_fail("size", "too small");
    memset(text + head, 'x', size - (unsigned)head - 3);
    memcpy(text + size - 3, "\"}\n", 3);
    return text;
}

/* --- brood, the child --- */

static void child_got(brood_channel *channel, const brood_message *got, void *data) {
    int64_t id = 0;
    (void)data;
    brood_value_int64(brood_value_get(got->value, "id"), &id);
    if (!one_way || id == 0)
        brood_channel_send(channel, &(brood_body){.value = &got->value}, NULL, NULL);
}

static void child_done(brood_channel *channel, int error, void *data) {
    (void)error, (void)data;
    brood_channel_close(channel);
}

static int brood_child_main(void) {
    brood_channel *channel;
    brood_channel_options options = {.on_message = child_got, .on_disconnect = child_done};
    brood_failure why;
    bench_pin(1);
    if (brood_channel_open_parent(uv_default_loop(), &options, &channel, &why) < 0)
        bench_fail("brood_channel_open_parent", why.message);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

/* --- brood, the parent --- */

static brood_channel *channel;
static unsigned left;
static uint64_t since;

static int send_next(void) {
    if (!one_way) /* the clock is slow enough to be seen */
        since = bench_now_ns();
    int r = brood_channel_send_json(channel, --left == 0 ? last : message, size - 1);
    if (r < 0)
        bench_fail("brood_channel_send_json", strerror(-r));
    return r;
}

static void pump(brood_channel *c, void *data) {
    (void)c, (void)data;
    while (left > 0 && send_next() == 0)
        ;
}

static void parent_got(brood_channel *c, const brood_message *got, void *data) {
    (void)c, (void)got, (void)data;
    if (!one_way)
        bench_run_took(&run, since);
    if (left == 0)
        uv_stop(uv_default_loop());
    else
        send_next();
}

static void by_brood(char **argv) {
    brood_failure why;
    brood_child *child;
    const char *const *args = argv[5] ? BROOD_ARGS(argv[5], argv[6], argv[1], argv[3], argv[4])
                                      : BROOD_ARGS("/proc/self/exe", argv[1], "child", argv[3], argv[4]);
    brood_options options = {.args = args, .on_message = parent_got, .on_channel_drain = pump};
    if (brood_fork(uv_default_loop(), &options, &child, &why) < 0)
        bench_fail("brood_fork", why.message);
    channel = brood_child_channel(child);
    while (bench_next_round()) {
        bench_run_begin(&run);
        left = run.n;
        if (one_way)
            pump(channel, NULL);
        else
            send_next();
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        bench_run_end(&run, NULL);
    }
    brood_channel_disconnect(channel);
    brood_child_close(child);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

/* --- bare --- */

static int epoll_fd;

static void bare_watch(int fd) {
    struct epoll_event event = {.events = EPOLLIN};
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

/* Wait, then read what there is; 0 at the end. */
static size_t bare_read(int fd, char *buffer) {
    struct epoll_event event;
    epoll_wait(epoll_fd, &event, 1, -1);
    ssize_t n = read(fd, buffer, BATCH);
    return n > 0 ? (size_t)n : 0;
}

static void bare_write(int fd, const char *bytes, size_t len) {
    for (ssize_t n; len > 0; bytes += n, len -= (size_t)n)
        if ((n = write(fd, bytes, len)) < 0)
            bench_fail("write", strerror(errno));
}

static void bare_child(int fd) {
    static char buffer[BATCH];
    size_t wanted = one_way ? (size_t)size * run.n : size, got = 0;
    bench_pin(1);
    bare_watch(fd);
    for (size_t n; (n = bare_read(fd, buffer)) > 0;) {
        got += n;
        if (got == wanted) {
            bare_write(fd, message, size);
            got = 0;
        }
    }
    _exit(0);
}

static void bare_round(int fd) {
    static char buffer[BATCH];
    unsigned per_write = one_way ? BATCH / size : 1;
    char *batch = malloc((size_t)per_write * size);
    for (unsigned i = 0; i < per_write; i++)
        memcpy(batch + (size_t)i * size, message, size);
    bench_run_begin(&run);
    for (unsigned done = 0, count; done < run.n; done += count) {
        count = run.n - done < per_write ? run.n - done : per_write;
        since = bench_now_ns();
        bare_write(fd, batch, (size_t)count * size);
        for (size_t got = 0; !one_way && got < size;)
            got += bare_read(fd, buffer);
        if (!one_way)
            bench_run_took(&run, since);
    }
    for (size_t got = 0; one_way && got < size;)
        got += bare_read(fd, buffer);
    bench_run_end(&run, NULL);
    free(batch);
}

static void by_bare(void) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        bench_fail("socketpair", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        bare_child(fds[1]);
    }
    close(fds[1]);
    bare_watch(fds[0]);
    while (bench_next_round())
        bare_round(fds[0]);
    close(fds[0]);
    waitpid(pid, NULL, 0);
}

int main(int argc, char **argv) {
    if (argc != 5 && argc != 7)
        bench_fail("usage", "bench-channel roundtrip|oneway brood|bare N SIZE [PROGRAM SCRIPT]");
    one_way = strcmp(argv[1], "oneway") == 0;
    run.variant = argv[1];
    run.peer = argv[2];
    run.n = bench_number(argv[3]);
    size = bench_number(argv[4]) + 1;
    if (argc == 7)
        run.peer = "brood with a child in Node";
    message = make_message(1234567);
    last = make_message(0);
    if (strcmp(argv[2], "child") == 0)
        return brood_child_main();
    bench_pin(0);
    strcmp(argv[2], "bare") == 0 ? by_bare() : by_brood(argv);
    return 0;
}
