/*
 * The epoll set. What epoll has told is worked off one by one, and meanwhile any callback may stop any watch, whose
 * memory may then be gone: so the batch at hand is known to the loop, and forgets whoever stops.
 */
#include "loop/watch.h"

#include "base/sys.h"

#define BATCH 64 /* then libuv's other handles have a turn; the set stays ready */

struct brood__watch_batch {
    struct epoll_event events[BATCH];
    int at, count;
};

static void count_refs(brood__loop *loop, const brood__watch *w, int change) {
    if (!w->unreffed)
        brood__loop_busy(loop, change);
}

int brood__watch_start(brood__watch *w) {
    if (w->waiting)
        return 0;
    int r = brood__epoll_add(w->loop->epoll, w->fd, w->events, w);
    if (r < 0)
        return r;
    w->waiting = true;
    count_refs(w->loop, w, 1);
    return 0;
}

/* What epoll has told of it already is not passed on. */
static void forget_events(const brood__watch *w) {
    struct brood__watch_batch *batch = w->loop->batch;
    for (int i = batch ? batch->at : 0; batch && i < batch->count; i++)
        if (batch->events[i].data.ptr == w)
            batch->events[i].data.ptr = NULL;
}

void brood__watch_stop(brood__watch *w) {
    if (!w->waiting)
        return;
    epoll_ctl(w->loop->epoll, EPOLL_CTL_DEL, w->fd, NULL); /* its close would not do: a forked host has a duplicate */
    w->waiting = false;
    count_refs(w->loop, w, -1);
    forget_events(w);
}

void brood__watch_take_over(brood__watch *w, brood__watch *other) {
    struct epoll_event event = {.events = other->events, .data.ptr = w};
    epoll_ctl(w->loop->epoll, EPOLL_CTL_DEL, w->fd, NULL);
    epoll_ctl(w->loop->epoll, EPOLL_CTL_MOD, other->fd, &event);
    forget_events(w);
    forget_events(other); /* it is told again */
    w->fd = other->fd;
    w->events = other->events;
    other->waiting = false;
    count_refs(other->loop, other, -1);
}

void brood__watch_set_ref(brood__watch *w, bool ref) {
    if (ref != w->unreffed)
        return;
    w->unreffed = !ref;
    if (w->waiting)
        brood__loop_busy(w->loop, ref ? 1 : -1);
}

void brood__watch_dispatch(brood__loop *loop) {
    struct brood__watch_batch batch;
    batch.count = epoll_wait(loop->epoll, batch.events, BATCH, 0);
    if (loop->batch)
        loop->batch->count = 0; /* of a uv_run that we are inside of: what is still ready is told again */
    batch.at = 0;
    loop->batch = &batch;
    /* whether or not the bell has rung, which is told once: perhaps to that other uv_run */
    brood__loop_run_posts(loop);
    for (; batch.at < batch.count; batch.at++) {
        brood__watch *w = batch.events[batch.at].data.ptr;
        if (w)
            w->ready(w);
    }
    loop->batch = NULL;
}
