/*
 * The abort switch: a flag and an eventfd, which is all that a signal handler or another thread may touch. Each loop
 * that has listeners polls the eventfd once for all of them; it stays readable, so whoever comes late sees it too.
 */
#include "own/abort.h"

#include "base/memory.h"
#include "base/sys.h"
#include "loop/watch.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

struct brood_abort {
    atomic_int holds;
    atomic_bool pulled;
    int fd;
};

int brood_abort_new(brood_abort **ret_abort) {
    brood_abort *a = brood__alloc(sizeof *a);
    if (!a)
        return -ENOMEM;
    a->fd = brood__eventfd();
    if (a->fd < 0) {
        int r = a->fd;
        brood__free(a);
        return r;
    }
    atomic_store(&a->holds, 1);
    *ret_abort = a;
    return 0;
}

void brood_abort_now(brood_abort *a) {
    static const uint64_t one = 1;
    int kept = errno;
    atomic_store(&a->pulled, true);
    ssize_t n = write(a->fd, &one, sizeof one); /* full after 2^64-1 pulls, and readable then as well */
    (void)n;
    errno = kept;
}

bool brood_abort_pulled(const brood_abort *a) {
    return atomic_load(&a->pulled);
}

void brood_abort_free(brood_abort *a) {
    if (!a || atomic_fetch_sub(&a->holds, 1) > 1)
        return;
    brood__close(a->fd);
    brood__free(a);
}

brood_abort *brood__abort_hold(brood_abort *a) {
    if (a)
        atomic_fetch_add(&a->holds, 1);
    return a;
}

int brood__abort_fd(const brood_abort *a) {
    return a->fd;
}

/* --- on a loop --- */

struct brood__abort_watch {
    brood__watch watch;
    brood__list node; /* in loop->abort_watches */
    brood_abort *abort;
    brood__list listeners;
    bool calling;
};

static void watch_close(struct brood__abort_watch *w) {
    brood__loop *loop = w->watch.loop;
    brood__watch_stop(&w->watch);
    brood__list_remove(&w->node);
    brood_abort_free(w->abort);
    brood__free(w);
    brood__loop_rest(loop);
    brood__loop_release(loop);
}

/* A listener may remove itself or others: take them one by one from the front. */
static void watch_pulled(brood__watch *watch) {
    struct brood__abort_watch *w = BROOD__OUTER(watch, struct brood__abort_watch, watch);
    w->calling = true;
    while (!brood__list_empty(&w->listeners)) {
        brood__abort_listener *l = BROOD__OUTER(w->listeners.next, brood__abort_listener, node);
        void (*pulled)(brood__abort_listener *) = l->pulled;
        brood__abort_unlisten(l);
        pulled(l);
    }
    watch_close(w);
}

static int watch_open(brood__loop *loop, brood_abort *abort, struct brood__abort_watch **ret_watch) {
    struct brood__abort_watch *w = brood__alloc(sizeof *w);
    if (!w)
        return -ENOMEM;
    w->watch = (brood__watch){.loop = loop, .ready = watch_pulled, .fd = abort->fd, .events = EPOLLIN};
    w->watch.unreffed = true; /* children keep a loop alive, the switch does not */
    int r = brood__loop_activate(loop);
    if (r == 0) {
        r = brood__watch_start(&w->watch);
        if (r < 0)
            brood__loop_rest(loop);
    }
    if (r < 0) {
        brood__free(w);
        return r;
    }
    brood__loop_hold(loop);
    w->abort = brood__abort_hold(abort);
    brood__list_init(&w->listeners);
    brood__list_append(&loop->abort_watches, &w->node);
    *ret_watch = w;
    return 0;
}

static struct brood__abort_watch *watch_find(brood__loop *loop, const brood_abort *abort) {
    for (brood__list *n = loop->abort_watches.next; n != &loop->abort_watches; n = n->next) {
        struct brood__abort_watch *w = BROOD__OUTER(n, struct brood__abort_watch, node);
        if (w->abort == abort)
            return w;
    }
    return NULL;
}

int brood__abort_listen(brood__loop *loop, brood_abort *abort, brood__abort_listener *listener) {
    struct brood__abort_watch *w = watch_find(loop, abort);
    if (!w) {
        int r = watch_open(loop, abort, &w);
        if (r < 0)
            return r;
    }
    listener->watch = w;
    brood__list_append(&w->listeners, &listener->node);
    return 0;
}

void brood__abort_unlisten(brood__abort_listener *listener) {
    struct brood__abort_watch *w = listener->watch;
    if (!w)
        return;
    listener->watch = NULL;
    brood__list_remove(&listener->node);
    if (brood__list_empty(&w->listeners) && !w->calling)
        watch_close(w);
}
