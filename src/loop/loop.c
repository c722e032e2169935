/*
 * brood's part of a loop. The user's loop->data is the user's, so a registry maps loops to parts; it is short and its
 * lock is held for a look only.
 */
#include "loop/loop.h"

#include "base/memory.h"

#include <errno.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static brood__list registry = {&registry, &registry};

/* In a fork of the host its loops are dead, and nobody is left who could unlock it. */
static void forget_in_fork(void) {
    pthread_mutex_init(&registry_lock, NULL);
    brood__list_init(&registry);
}

__attribute__((constructor)) static void watch_for_forks(void) {
    pthread_atfork(NULL, NULL, forget_in_fork);
}

static brood__loop *find(const uv_loop_t *uv) {
    brood__loop *found = NULL;
    pthread_mutex_lock(&registry_lock);
    for (brood__list *n = registry.next; n != &registry && !found; n = n->next) {
        brood__loop *loop = BROOD__OUTER(n, brood__loop, node);
        if (loop->uv == uv)
            found = loop;
    }
    pthread_mutex_unlock(&registry_lock);
    return found;
}

void brood__loop_free_if_unused(brood__loop *loop) {
    if (loop->holds > 0 || !brood__list_empty(&loop->closing))
        return;
    uv_loop_t *uv = loop->uv;
    void (*on_closed)(uv_loop_t *, void *) = loop->on_closed;
    void *data = loop->on_closed_data;
    pthread_mutex_lock(&registry_lock);
    brood__list_remove(&loop->node);
    pthread_mutex_unlock(&registry_lock);
    pthread_mutex_destroy(&loop->lock);
    brood__free(loop->read_buffer);
    brood__free(loop);
    if (on_closed)
        on_closed(uv, data);
}

static int open_loop(uv_loop_t *uv, brood__loop **ret_loop) {
    if (uv_version() >> 16 != UV_VERSION_MAJOR || uv_version() < ((1 << 16) | (44 << 8)))
        return -ENOTSUP;
    brood__loop *loop = brood__alloc(sizeof *loop);
    char *buffer = brood__resize(NULL, BROOD__READ_BUFFER_SIZE + BROOD__READ_BUFFER_SLACK);
    if (!loop || !buffer) {
        brood__free(loop);
        brood__free(buffer);
        return -ENOMEM;
    }
    loop->uv = uv;
    loop->read_buffer = buffer;
    pthread_mutex_init(&loop->lock, NULL);
    brood__list_init(&loop->parts);
    brood__list_init(&loop->closing);
    brood__list_init(&loop->abort_watches);
    brood__list_init(&loop->posted);
    brood__list_init(&loop->later);
    brood__list_init(&loop->soon);
    pthread_mutex_lock(&registry_lock);
    brood__list_append(&registry, &loop->node);
    pthread_mutex_unlock(&registry_lock);
    *ret_loop = loop;
    return 0;
}

int brood__loop_get(uv_loop_t *uv, brood__loop **ret_loop) {
    brood__loop *loop = find(uv);
    if (loop && loop->ending)
        return -EBUSY;
    if (!loop) {
        int r = open_loop(uv, &loop);
        if (r < 0)
            return r;
    }
    *ret_loop = brood__loop_hold(loop);
    return 0;
}

brood__loop *brood__loop_hold(brood__loop *loop) {
    loop->holds++;
    return loop;
}

void brood__loop_release(brood__loop *loop) {
    loop->holds--;
    brood__loop_free_if_unused(loop);
}

void brood__loop_add_part(brood__loop *loop, brood__loop_part *part, const void *start, size_t size,
                          void (*end)(brood__loop_part *)) {
    *part = (brood__loop_part){.start = start, .size = size, .end = end};
    brood__list_append(&loop->parts, &part->node);
}

/* --- for hosts --- */

int brood_loop_close(uv_loop_t *uv, void (*on_closed)(uv_loop_t *loop, void *data), void *data) {
    brood__loop *loop = find(uv);
    if (!loop)
        return -ENOENT;
    if (loop->ending)
        return -EALREADY;
    int r = brood__loop_activate(loop); /* also where all have ended: on_closed comes by the gate's own close */
    if (r < 0)
        return r;
    loop->on_closed = on_closed;
    loop->on_closed_data = data;
    loop->ending = true;
    brood__loop_hold(loop);
    for (brood__list *n = loop->parts.next, *next; n != &loop->parts; n = next) {
        next = n->next;
        brood__loop_part *part = BROOD__OUTER(n, brood__loop_part, node);
        part->end(part);
    }
    brood__loop_busy(loop, 1); /* until the gate closes */
    brood__loop_rest(loop);
    brood__loop_release(loop);
    return 0;
}

bool brood_loop_owns(uv_loop_t *uv, const void *handle) {
    const brood__loop *loop = find(uv);
    if (!loop)
        return false;
    if (brood__gate_has(loop, handle))
        return true;
    for (const brood__list *n = loop->parts.next; n != &loop->parts; n = n->next) {
        const brood__loop_part *part = BROOD__OUTER(n, brood__loop_part, node);
        if ((const char *)handle >= part->start && (const char *)handle < part->start + part->size)
            return true;
    }
    return false;
}
