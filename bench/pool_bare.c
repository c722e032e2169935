/**
 * What does a task cost with nothing around it? Two ends of a socket for each worker, an epoll loop that keeps PREFETCH
 * lines under way to each, and no queue, no limits, no account of anything: what a pool of processes cannot be faster
 * than. A worker writes its answers one at a time, as one must that does not know how long the next task takes, or (with
 * `together`) all that one read has brought at once.
 *
 * Or the worker is a program, which answers as it likes: one in Node shows what is Node's share.
 *
 *     bench-pool-bare each|together N WORKERS PREFETCH [WORKER...]
 */
#include "bench.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { MOST_WORKERS = 1024, ROOM = 65536 };

typedef struct end {
    int fd;
    size_t len;
    char bytes[ROOM];
} end;

static bench_run run;
static bool together;
static unsigned given, done;

static void write_all(int fd, const char *bytes, size_t len) {
    for (ssize_t n; len > 0; bytes += n, len -= (size_t)n)
        if ((n = write(fd, bytes, len)) <= 0)
            exit(0); /* the other end has gone */
}

/* Each whole line of what has come. */
static void read_lines(end *e, size_t (*on_line)(const char *line, char *out), bool one_by_one) {
    static char out[ROOM];
    size_t used = 0, out_len = 0;
    ssize_t n = read(e->fd, e->bytes + e->len, sizeof e->bytes - e->len);
    if (n <= 0)
        exit(0);
    e->len += (size_t)n;
    for (char *eol; (eol = memchr(e->bytes + used, '\n', e->len - used)); used = (size_t)(eol - e->bytes) + 1) {
        out_len += on_line(e->bytes + used, out + out_len);
        if (one_by_one || out_len > ROOM - 128) {
            write_all(e->fd, out, out_len);
            out_len = 0;
        }
    }
    write_all(e->fd, out, out_len);
    memmove(e->bytes, e->bytes + used, e->len - used);
    e->len -= used;
}

/* Nothing slower than that: all lines have the same names in the same order. */
static const char *read_number(const char *at, const char *name, unsigned *ret) {
    size_t len = strlen(name);
    if (memcmp(at, name, len) != 0)
        bench_fail("a line", "not as it should be");
    for (*ret = 0, at += len; *at >= '0' && *at <= '9'; at++)
        *ret = *ret * 10 + (unsigned)(*at - '0');
    return at;
}

static char *add_number(char *at, const char *name, unsigned number) {
    char digits[12];
    int count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    for (at = stpcpy(at, name); count > 0;)
        *at++ = digits[--count];
    return at;
}

static size_t add_line(char *out, const char *first, unsigned one, const char *second, unsigned two) {
    char *at = add_number(add_number(out, first, one), second, two);
    return (size_t)(stpcpy(at, "}\n") - out);
}

static size_t work(const char *line, char *out) {
    unsigned id, number;
    read_number(read_number(line, "{\"number\":", &number), ",\"id\":", &id);
    return add_line(out, "{\"id\":", id, ",\"result\":", number);
}

static size_t give(char *out) {
    if (given == run.n)
        return 0;
    given++;
    return add_line(out, "{\"number\":", given, ",\"id\":", given);
}

static size_t answered(const char *line, char *out) {
    unsigned id, result;
    if (*line == '"') /* "ready" */
        return 0;
    read_number(read_number(line, "{\"id\":", &id), ",\"result\":", &result);
    if (id != result)
        bench_fail("an answer", "to another task");
    done++;
    return give(out);
}

static void become(char **worker, int fd) {
    enum { CHANNEL = 3 };
    if (fd == CHANNEL ? fcntl(fd, F_SETFD, 0) < 0 : dup2(fd, CHANNEL) < 0)
        bench_fail("dup2", strerror(errno));
    setenv("NODE_CHANNEL_FD", "3", 1);
    setenv("NODE_CHANNEL_SERIALIZATION_MODE", "json", 1);
    execvp(*worker, worker);
    bench_fail(*worker, strerror(errno));
}

static int start_worker(char **worker) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        bench_fail("socketpair", strerror(errno));
    if (fork() == 0) {
        static end e;
        close(fds[0]);
        if (*worker)
            become(worker, fds[1]);
        for (e.fd = fds[1];;)
            read_lines(&e, work, !together);
    }
    close(fds[1]);
    return fds[0];
}

int main(int argc, char **argv) {
    static end ends[MOST_WORKERS];
    struct epoll_event events[MOST_WORKERS];
    char out[ROOM];
    if (argc < 5)
        bench_fail("usage", "bench-pool-bare each|together N WORKERS PREFETCH [WORKER...]");
    together = strcmp(argv[1], "together") == 0;
    run = (bench_run){.peer = "bare", .variant = argv[1], .n = bench_number(argv[2]), .c = bench_number(argv[4])};
    unsigned workers = bench_number(argv[3]);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < workers && i < MOST_WORKERS; i++) {
        ends[i].fd = start_worker(argv + 5);
        epoll_ctl(epoll, EPOLL_CTL_ADD, ends[i].fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = &ends[i]});
    }
    while (bench_next_round()) {
        given = done = 0;
        bench_run_begin(&run);
        for (unsigned i = 0; i < workers; i++)
            for (unsigned k = 0; k < run.c; k++)
                write_all(ends[i].fd, out, give(out));
        while (done < run.n)
            for (int i = 0, n = epoll_wait(epoll, events, MOST_WORKERS, -1); i < n; i++)
                read_lines(events[i].data.ptr, answered, false);
        bench_run_end(&run, NULL);
    }
    return 0;
}
