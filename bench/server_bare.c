/**
 * The limit for a web server that starts a program for each request and streams its output back: one thread, one epoll,
 * programs that nobody waits for until they run (bench/bare.h), one write for what of an answer is there at once. No
 * library, and no more of HTTP than wrk needs. Beside examples/server.c.
 *
 *     bench-server_bare PORT PROGRAM [ARG...]
 */
#include "bare.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { REQUEST, OUTPUT, PROCESS, SOURCES };

typedef struct connection connection;

/** What an event tells of. */
typedef struct source {
    connection *of; /* NULL: the listening socket */
    int fd;
} source;

struct connection {
    source sources[SOURCES];
    bare_child child;
    bare_program program;
    char *stack;
    bool answered; /* the head of the answer is out */
};

static int epoll_fd;
static char *const *args;

static void watch(source *s) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, s->fd, &event) < 0)
        bench_fail("epoll_ctl", strerror(errno));
}

static void stop(source *s) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
    close(s->fd);
    s->fd = -1;
}

static void accept_all(int listening) {
    for (int fd; (fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        connection *c = calloc(1, sizeof *c);
        if (!c)
            bench_fail("connection", "no memory");
        c->stack = bare_stack_new();
        for (int i = 0; i < SOURCES; i++)
            c->sources[i] = (source){c, -1};
        c->sources[REQUEST].fd = fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        watch(&c->sources[REQUEST]);
    }
}

static void start(connection *c) {
    int pipe_fds[2], null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        bench_fail("pipe", strerror(errno));
    c->program = (bare_program){.args = args, .fds = {null_fd, pipe_fds[1], 2}};
    c->answered = false;
    bare_clone(&c->program, c->stack, 0, &c->child);
    close(null_fd);
    close(pipe_fds[1]);
    c->sources[OUTPUT].fd = pipe_fds[0];
    c->sources[PROCESS].fd = c->child.pidfd;
    watch(&c->sources[OUTPUT]);
    watch(&c->sources[PROCESS]);
}

/** wrk's request comes whole, and the next one after the answer. */
static void read_request(connection *c) {
    char bytes[8192];
    if (read(c->sources[REQUEST].fd, bytes, sizeof bytes) > 0)
        start(c);
    else
        stop(&c->sources[REQUEST]); /* its memory stays: there are few */
}

static void answer(connection *c, const char *bytes, size_t len) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    char all[sizeof head + 4096 + 32];
    int n = snprintf(all, sizeof all, "%s%zx\r\n%.*s\r\n", c->answered ? "" : head, len, (int)len, bytes);
    c->answered = true;
    if (c->sources[REQUEST].fd >= 0 && write(c->sources[REQUEST].fd, all, (size_t)n) != n)
        stop(&c->sources[REQUEST]);
}

static void finish_if_done(connection *c) {
    if (c->sources[OUTPUT].fd < 0 && c->sources[PROCESS].fd < 0)
        answer(c, "", 0);
}

static void read_output(connection *c) {
    char bytes[4096];
    ssize_t n = read(c->sources[OUTPUT].fd, bytes, sizeof bytes);
    if (n > 0) {
        answer(c, bytes, (size_t)n);
        return;
    }
    stop(&c->sources[OUTPUT]);
    finish_if_done(c);
}

static void reap(connection *c) {
    epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->child.pidfd, NULL);
    bare_reap(&c->child);
    c->sources[PROCESS].fd = -1;
    finish_if_done(c);
}

static int listen_on(unsigned port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 128) < 0)
        bench_fail("listen", strerror(errno));
    return fd;
}

int main(int argc, char **argv) {
    static void (*const told[])(connection *) = {read_request, read_output, reap};
    if (argc < 3)
        bench_fail("usage", "bench-server_bare PORT PROGRAM [ARG...]");
    args = argv + 2;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    source listening = {NULL, listen_on(bench_number(argv[1]))};
    signal(SIGPIPE, SIG_IGN);
    watch(&listening);
    for (;;) {
        struct epoll_event events[128];
        int count = epoll_wait(epoll_fd, events, 128, -1);
        for (int i = 0; i < count; i++) {
            source *s = events[i].data.ptr;
            if (!s->of)
                accept_all(s->fd);
            else if (s->fd >= 0)
                told[s - s->of->sources](s->of);
        }
    }
}
