/*
 * The gate: the handles by which libuv calls brood, and what is put off until it does. One is for what the loop's own
 * thread puts off, which libuv tells before whatever else it finds; one for the epoll set that all watched descriptors are
 * in, with the bell that other threads ring; one for what is not urgent. (An uv_async_t would do what a bell does; but
 * from another thread the loop spins when it is quicker than whoever has woken it.)
 */
#include "loop/loop.h"

#include "base/fault.h"
#include "base/memory.h"
#include "base/sys.h"
#include "loop/bell.h"
#include "loop/watch.h"

#define SOON_MS 50

/* An allocation of its own, since a new gate may be opened while the last is still closing. */
typedef struct brood__gate {
    brood__list node; /* in loop->closing */
    uv_async_t later;
    uv_poll_t watches;
    uv_timer_t soon;
    brood__loop *loop;
    int open_handles;
} brood__gate;

static void wake(brood__loop *loop) {
    uv_async_send(&loop->gate->later);
}

static void run_all(brood__list *posts) {
    while (!brood__list_empty(posts)) {
        brood__post *post = BROOD__OUTER(posts->next, brood__post, node);
        brood__list_remove(&post->node);
        post->run(post);
    }
}

/* --- later --- */

static void run_later(brood__loop *loop) {
    if (!loop->later_due)
        return;
    brood__list now;
    brood__list_init(&now);
    brood__list_take(&now, &loop->later);
    loop->later_due = false;
    brood__loop_busy(loop, -1);
    run_all(&now);
}

/* Held, since a uv_run within a callback may close all that is here. */
void brood__loop_enter(brood__loop *loop) {
    brood__loop_hold(loop);
    loop->depth++;
}

/* Once only: what is put off meanwhile must not keep others from their turn. */
void brood__loop_leave(brood__loop *loop) {
    run_later(loop);
    loop->depth--;
    if (loop->later_due)
        wake(loop);
    brood__loop_release(loop);
}

void brood__loop_later(brood__loop *loop, brood__post *post) {
    brood__list_append(&loop->later, &post->node);
    if (loop->later_due)
        return;
    loop->later_due = true;
    brood__loop_busy(loop, 1);
    if (loop->depth == 0)
        wake(loop);
}

/* --- soon --- */

static void soon_came(uv_timer_t *soon) {
    brood__loop *loop = ((brood__gate *)soon->data)->loop;
    brood__list now;
    brood__list_init(&now);
    brood__list_take(&now, &loop->soon);
    brood__loop_enter(loop);
    run_all(&now);
    brood__loop_leave(loop);
}

/* Once set, the timer runs out: to stop it for each that is taken off the list would cost more. */
void brood__loop_soon(brood__loop *loop, brood__post *post) {
    brood__list_append(&loop->soon, &post->node);
    if (!uv_is_active((uv_handle_t *)&loop->gate->soon))
        uv_timer_start(&loop->gate->soon, soon_came, SOON_MS, 0);
}

/* --- its handles --- */

void brood__loop_run_posts(brood__loop *loop) {
    brood__list now;
    brood__list_init(&now);
    pthread_mutex_lock(&loop->lock);
    brood__list_take(&now, &loop->posted);
    pthread_mutex_unlock(&loop->lock);
    run_all(&now);
}

static void later_came(uv_async_t *later) {
    brood__loop *loop = ((brood__gate *)later->data)->loop;
    brood__loop_enter(loop);
    brood__loop_leave(loop);
}

static void watches_ready(uv_poll_t *watches, int status, int events) {
    brood__loop *loop = ((brood__gate *)watches->data)->loop;
    (void)status, (void)events;
    brood__loop_enter(loop);
    brood__watch_dispatch(loop);
    brood__loop_leave(loop);
}

static void handle_closed(uv_handle_t *handle) {
    brood__gate *gate = handle->data;
    brood__loop *loop = gate->loop;
    if (--gate->open_handles > 0)
        return;
    brood__list_remove(&gate->node);
    brood__free(gate);
    brood__loop_free_if_unused(loop);
}

static void opened(brood__gate *gate, uv_handle_t *handle) {
    gate->open_handles++;
    handle->data = gate;
    uv_unref(handle);
}

static void init_soon(brood__gate *gate) {
    uv_timer_init(gate->loop->uv, &gate->soon);
    opened(gate, (uv_handle_t *)&gate->soon);
}

static int init_later(brood__gate *gate) {
    int r = brood__fault("uv_async_init", EMFILE);
    if (r == 0)
        r = uv_async_init(gate->loop->uv, &gate->later, later_came);
    if (r < 0)
        return r;
    opened(gate, (uv_handle_t *)&gate->later);
    return 0;
}

static int init_watches(brood__gate *gate, int epoll) {
    int r = brood__fault("uv_poll_init", ENOMEM);
    if (r == 0)
        r = uv_poll_init(gate->loop->uv, &gate->watches, epoll);
    if (r < 0)
        return r;
    opened(gate, (uv_handle_t *)&gate->watches);
    uv_poll_start(&gate->watches, UV_READABLE, watches_ready);
    return 0;
}

static int open_gate(brood__loop *loop) {
    brood__gate *gate = brood__alloc(sizeof *gate);
    if (!gate)
        return -ENOMEM;
    gate->loop = loop;
    brood__bell *bell = NULL;
    int epoll = brood__epoll();
    int r = epoll < 0 ? epoll : brood__bell_hang(epoll, &bell);
    if (r == 0)
        r = init_later(gate);
    if (r == 0)
        r = init_watches(gate, epoll);
    if (r == 0) {
        init_soon(gate);
        loop->gate = gate;
        loop->epoll = epoll;
        loop->bell = bell;
        return 0;
    }
    brood__bell_release(bell);
    brood__close(epoll);
    if (gate->open_handles) {
        brood__list_append(&loop->closing, &gate->node);
        uv_close((uv_handle_t *)&gate->later, handle_closed);
    } else {
        brood__free(gate);
    }
    return r;
}

static void close_gate(brood__loop *loop) {
    brood__gate *gate = loop->gate;
    loop->gate = NULL;
    loop->busy = 0;
    loop->later_due = false;
    brood__list_append(&loop->closing, &gate->node);
    uv_close((uv_handle_t *)&gate->later, handle_closed);
    uv_close((uv_handle_t *)&gate->watches, handle_closed); /* out of libuv's set at once */
    uv_close((uv_handle_t *)&gate->soon, handle_closed);
    brood__bell_release(loop->bell);
    loop->bell = NULL;
    brood__close(loop->epoll);
}

static bool has(const brood__gate *gate, const void *handle) {
    return handle == &gate->later || handle == &gate->watches || handle == &gate->soon;
}

bool brood__gate_has(const brood__loop *loop, const void *handle) {
    for (const brood__list *n = loop->closing.next; n != &loop->closing; n = n->next)
        if (has(BROOD__OUTER(n, brood__gate, node), handle))
            return true;
    return loop->gate && has(loop->gate, handle);
}

int brood__loop_activate(brood__loop *loop) {
    int r = loop->gate ? 0 : open_gate(loop);
    if (r == 0)
        loop->active++;
    return r;
}

void brood__loop_rest(brood__loop *loop) {
    if (--loop->active == 0)
        close_gate(loop);
}

void brood__loop_post(brood__loop *loop, brood__post *post, bool was_kept) {
    brood__bell *bell = NULL;
    pthread_mutex_lock(&loop->lock);
    if (brood__list_empty(&loop->posted))
        bell = brood__bell_hold(loop->bell); /* once the lock is free, the loop may take the post, and rest */
    post->was_kept = was_kept;
    brood__list_append(&loop->posted, &post->node);
    pthread_mutex_unlock(&loop->lock);
    if (bell)
        brood__bell_ring(bell);
}

bool brood__loop_take_back(brood__loop *loop, brood__post *post) {
    pthread_mutex_lock(&loop->lock);
    bool waits = post->was_kept && !brood__list_empty(&post->node);
    if (waits) {
        brood__list_remove(&post->node);
        post->was_kept = false;
    }
    pthread_mutex_unlock(&loop->lock);
    return waits;
}

void brood__loop_busy(brood__loop *loop, int change) {
    uv_handle_t *handle = (uv_handle_t *)&loop->gate->watches;
    loop->busy += (unsigned)change;
    if (loop->busy > 0)
        uv_ref(handle);
    else
        uv_unref(handle);
}
