/*
 * One watch for each loop, on the guard's pidfd. The guard is the process's and not the loop's: so each has a descriptor
 * of its own, and finds out anew whose it is when it tells of an end, since another loop may have been quicker.
 */
#include "own/guard_watch.h"

#include "base/memory.h"
#include "base/sys.h"
#include "loop/watch.h"
#include "own/guard.h"

struct brood__guard_watch {
    brood__watch watch; /* fd -1: there is no guard, as far as is known */
};

static void stop(struct brood__guard_watch *w) {
    brood__watch_stop(&w->watch);
    brood__close(w->watch.fd);
    w->watch.fd = -1;
}

static void start(struct brood__guard_watch *w) {
    if (w->watch.fd < 0)
        w->watch.fd = brood__guard_renew();
    if (w->watch.fd >= 0 && brood__watch_start(&w->watch) < 0)
        stop(w);
}

static void guard_ended(brood__watch *watch) {
    struct brood__guard_watch *w = BROOD__OUTER(watch, struct brood__guard_watch, watch);
    stop(w);
    start(w);
}

static void watch_open(brood__loop *loop) {
    struct brood__guard_watch *w = brood__alloc(sizeof *w);
    if (!w)
        return;
    w->watch = (brood__watch){.loop = loop, .ready = guard_ended, .fd = -1, .events = EPOLLIN, .unreffed = true};
    if (brood__loop_activate(loop) < 0) {
        brood__free(w);
        return;
    }
    loop->guard_watch = w;
    brood__loop_hold(loop);
}

static void watch_close(brood__loop *loop) {
    struct brood__guard_watch *w = loop->guard_watch;
    loop->guard_watch = NULL;
    stop(w);
    brood__free(w);
    brood__loop_rest(loop);
    brood__loop_release(loop);
}

void brood__guard_watch(brood__loop *loop) {
    loop->guarded++;
    if (!loop->guard_watch)
        watch_open(loop);
    if (loop->guard_watch)
        start(loop->guard_watch);
}

void brood__guard_unwatch(brood__loop *loop) {
    loop->guarded--;
    if (loop->guarded == 0 && loop->guard_watch)
        watch_close(loop);
}

void brood__guard_seek(brood__loop *loop) {
    if (loop->guard_watch)
        start(loop->guard_watch);
}
