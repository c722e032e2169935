/*
 * The abort switch: a flag and an eventfd, which is all that a signal handler or another thread may touch. Each loop
 * that has listeners polls the eventfd once for all of them; it stays readable, so whoever comes late sees it too.
 */
#include "own/abort.h"

#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>
#include <uv.h>

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
    brood__loop_part part;
    brood__list node; /* in loop->watches */
    brood_abort *abort;
    brood__loop *loop;
    uv_poll_t poll;
    brood__list listeners;
    bool closing;
};

static void watch_closed(uv_handle_t *handle) {
    struct brood__abort_watch *w = handle->data;
    brood__loop *loop = w->loop;
    brood__list_remove(&w->part.node);
    brood_abort_free(w->abort);
    brood__free(w);
    brood__loop_rest(loop);
    brood__loop_release(loop);
}

static void watch_close(struct brood__abort_watch *w) {
    if (w->closing)
        return;
    w->closing = true;
    brood__list_remove(&w->node); /* whoever comes now gets a new one */
    uv_close((uv_handle_t *)&w->poll, watch_closed);
}

/* A listener may remove itself or others: take them one by one from the front. */
static void watch_pulled(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    struct brood__abort_watch *w = poll->data;
    brood__loop_enter(w->loop);
    while (!w->closing && !brood__list_empty(&w->listeners)) {
        brood__abort_listener *l = BROOD__OUTER(w->listeners.next, brood__abort_listener, node);
        void (*pulled)(brood__abort_listener *) = l->pulled;
        brood__abort_unlisten(l);
        pulled(l);
    }
    brood__loop_leave(w->loop);
}

static int watch_open(brood__loop *loop, brood_abort *abort, struct brood__abort_watch **ret_watch) {
    struct brood__abort_watch *w = brood__alloc(sizeof *w);
    if (!w)
        return -ENOMEM;
    int r = brood__loop_activate(loop);
    if (r < 0) {
        brood__free(w);
        return r;
    }
    r = brood__fault("uv_poll_init", ENOMEM);
    if (r == 0)
        r = uv_poll_init(loop->uv, &w->poll, abort->fd);
    if (r < 0) {
        brood__loop_rest(loop);
        brood__free(w);
        return r;
    }
    w->poll.data = w;
    w->loop = brood__loop_hold(loop);
    w->abort = brood__abort_hold(abort);
    brood__list_init(&w->listeners);
    brood__loop_add_part(loop, &w->part, w, sizeof *w, NULL);
    brood__list_append(&loop->watches, &w->node);
    uv_poll_start(&w->poll, UV_READABLE, watch_pulled);
    uv_unref((uv_handle_t *)&w->poll); /* children keep a loop alive, the switch does not */
    *ret_watch = w;
    return 0;
}

static struct brood__abort_watch *watch_find(brood__loop *loop, const brood_abort *abort) {
    for (brood__list *n = loop->watches.next; n != &loop->watches; n = n->next) {
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
    if (brood__list_empty(&w->listeners))
        watch_close(w);
}
