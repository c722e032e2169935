/*
 * Descriptors that are waited for. All of a loop's are in one epoll set of brood's own, which libuv polls as a single
 * descriptor: to be waited for then costs two system calls and this struct, where a uv_poll costs six and its own.
 */
#ifndef BROOD_LOOP_WATCH_H
#define BROOD_LOOP_WATCH_H

#include "loop/loop.h"

#include <sys/epoll.h>

typedef struct brood__watch {
    brood__loop *loop;
    void (*ready)(struct brood__watch *); /* from within uv_run; again and again while it is ready */
    int fd;                               /* -1: none yet, or no more; the owner's to close, once it has stopped */
    uint32_t events;                      /* EPOLLIN, EPOLLOUT or EPOLLPRI; errors and hang-ups are always seen */
    bool waiting;
    bool unreffed; /* does not keep the loop alive */
} brood__watch;

/* The loop must be active from the first start to the last stop. */
int brood__watch_start(brood__watch *w);
/* At once: `ready` is not called any more, not even for what epoll has told already. */
void brood__watch_stop(brood__watch *w);
/* Watch from now on what the other watches, instead of its own: that cannot fail. Both wait. */
void brood__watch_take_over(brood__watch *w, brood__watch *other);
void brood__watch_set_ref(brood__watch *w, bool ref);

/* Call whoever is ready. */
void brood__watch_dispatch(brood__loop *loop);

#endif
