/* test: run */
/*
 * epoll_host: a program with a main loop of its own, made of epoll_wait and a timerfd, and no uv_run that blocks.
 * libuv's loop is one more descriptor to wait for, and a time after which to look in. Whatever the host waits with can
 * carry it in the same way: poll, an event library, a game's frame.
 */
#include <brood.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

typedef struct seen {
    unsigned ticks;  /* of the host's own timer */
    unsigned chunks; /* of the child's output */
    bool closed;
    bool ok;
} seen;

static void on_data(brood_stream *stream, const char *bytes, size_t len, void *data) {
    seen *s = data;
    (void)stream;
    s->chunks++;
    printf("child, at tick %2u: %.*s", s->ticks, (int)len, bytes);
}

static void on_close(brood_child *child, const brood_exit *ended, void *data) {
    seen *s = data;
    (void)child;
    s->closed = true;
    s->ok = brood_exit_ok(ended);
}

int main(void) {
    static const struct timespec ten_ms = {.tv_nsec = 10000000};
    const struct itimerspec every_ten_ms = {.it_interval = ten_ms, .it_value = ten_ms};
    uv_loop_t loop;
    seen s = {0};
    brood_failure why;

    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    if (epoll < 0 || timer < 0 || timerfd_settime(timer, 0, &every_ten_ms, NULL) < 0 || uv_loop_init(&loop) < 0)
        return 1;
    int backend = uv_backend_fd(&loop);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN, .data.fd = timer}) < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, backend, &(struct epoll_event){.events = EPOLLIN, .data.fd = backend}) < 0)
        return 1;

    if (brood_spawn(&loop,
                    &(brood_options){
                        .args = BROOD_ARGS("sh", "-c", "for n in 1 2 3; do echo line $n; sleep 0.1; done"),
                        .out = {.on_data = on_data},
                        .on_close = on_close,
                        .data = &s,
                    },
                    NULL, &why) < 0) {
        fprintf(stderr, "epoll_host: %s\n", why.message);
        return 1;
    }

    for (;;) {
        uv_run(&loop, UV_RUN_NOWAIT); /* what is due now; it also tells the kernel what to watch from here on */
        if (!uv_loop_alive(&loop))
            break;
        struct epoll_event events[8];
        int n = epoll_wait(epoll, events, 8, uv_backend_timeout(&loop));
        for (int i = 0; i < n; i++) {
            uint64_t expirations;
            if (events[i].data.fd == timer && read(timer, &expirations, sizeof expirations) == sizeof expirations)
                s.ticks += (unsigned)expirations;
        }
    }
    printf("the host's timer ticked %u times meanwhile; the child wrote %u times\n", s.ticks, s.chunks);
    uv_loop_close(&loop);
    close(timer);
    close(epoll);
    return s.closed && s.ok && s.ticks > 0 && s.chunks > 0 ? 0 : 1;
}
