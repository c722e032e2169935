/*
 * One thread, one piece of work at a time. Nobody waits for its end: it may be held up for ever by whoever is at the
 * other end of its descriptor, and the process leaves all the same.
 */
#include "errand.h"

#include <errno.h>
#include <string.h>

static void serve(void *the_errand) {
    errand *e = the_errand;
    for (;;) {
        uv_sem_wait(&e->wanted);
        e->work(e->data);
        atomic_store_explicit(&e->worked, true, memory_order_release);
        uv_async_send(&e->returned);
    }
}

static void came_back(uv_async_t *returned) {
    errand *e = returned->data;
    if (!atomic_exchange_explicit(&e->worked, false, memory_order_acquire))
        return;
    e->under_way = false;
    uv_unref((uv_handle_t *)returned);
    e->done(e->data);
}

int errand_open(errand *e, uv_loop_t *loop) {
    int r = uv_sem_init(&e->wanted, 0);
    if (r < 0)
        return r;
    r = uv_async_init(loop, &e->returned, came_back);
    if (r < 0)
        goto no_async;
    e->returned.data = e;
    uv_unref((uv_handle_t *)&e->returned); /* only work under way keeps the loop alive */
    r = uv_thread_create(&e->thread, serve, e);
    if (r == 0)
        return 0;
    uv_close((uv_handle_t *)&e->returned, NULL);
no_async:
    uv_sem_destroy(&e->wanted);
    return r;
}

void errand_run(errand *e) {
    if (e->under_way)
        return;
    e->under_way = true;
    uv_ref((uv_handle_t *)&e->returned);
    uv_sem_post(&e->wanted);
}
