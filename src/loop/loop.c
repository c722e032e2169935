/*
 * brood's part of a loop. The user's loop->data is the user's, so a registry maps loops to parts; it is short and its
 * lock is held for a look only. The mailbox is the only handle here, and does not keep the loop alive by itself.
 */
#include "loop/loop.h"

#include "base/fault.h"
#include "base/memory.h"

#include <errno.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static brood__list registry = {&registry, &registry};

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

static void run_all(brood__list *posts) {
    while (!brood__list_empty(posts)) {
        brood__post *post = BROOD__OUTER(posts->next, brood__post, node);
        brood__list_remove(&post->node);
        post->run(post);
    }
}

/* --- the mailbox --- */

/* An allocation of its own, since a new one may be opened while the last is still closing. */
typedef struct brood__mailbox {
    uv_async_t async;
    brood__loop *loop;
} brood__mailbox;

static void mail(uv_async_t *async) {
    brood__loop *loop = ((brood__mailbox *)async->data)->loop;
    brood__list now;
    brood__list_init(&now);
    pthread_mutex_lock(&loop->lock);
    brood__list_take(&now, &loop->posted);
    pthread_mutex_unlock(&loop->lock);
    brood__list_take(&now, &loop->later);
    brood__loop_enter(loop);
    run_all(&now);
    brood__loop_leave(loop);
}

static int open_mailbox(brood__loop *loop) {
    brood__mailbox *m = brood__alloc(sizeof *m);
    if (!m)
        return -ENOMEM;
    int r = brood__fault("uv_async_init", EMFILE);
    if (r == 0)
        r = uv_async_init(loop->uv, &m->async, mail);
    if (r < 0) {
        brood__free(m);
        return r;
    }
    m->loop = loop;
    m->async.data = m;
    uv_unref((uv_handle_t *)&m->async);
    loop->mailbox = m;
    return 0;
}

static void free_if_unused(brood__loop *loop) {
    if (loop->holds > 0 || loop->closing > 0)
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

static void mailbox_closed(uv_handle_t *async) {
    brood__mailbox *m = async->data;
    brood__loop *loop = m->loop;
    brood__free(m);
    loop->closing--;
    free_if_unused(loop);
}

int brood__loop_activate(brood__loop *loop) {
    int r = loop->mailbox ? 0 : open_mailbox(loop);
    if (r == 0)
        loop->active++;
    return r;
}

void brood__loop_rest(brood__loop *loop) {
    if (--loop->active > 0)
        return;
    uv_close((uv_handle_t *)&loop->mailbox->async, mailbox_closed);
    loop->mailbox = NULL;
    loop->closing++;
}

void brood__loop_post(brood__loop *loop, brood__post *post) {
    pthread_mutex_lock(&loop->lock);
    brood__list_append(&loop->posted, &post->node);
    uv_async_send(&loop->mailbox->async); /* under the lock: once it is free, the loop may take the post, and rest */
    pthread_mutex_unlock(&loop->lock);
}

void brood__loop_later(brood__loop *loop, brood__post *post) {
    brood__list_append(&loop->later, &post->node);
    uv_async_send(&loop->mailbox->async);
}

void brood__loop_busy(brood__loop *loop, int change) {
    loop->busy += (unsigned)change;
    if (loop->busy > 0)
        uv_ref((uv_handle_t *)&loop->mailbox->async);
    else
        uv_unref((uv_handle_t *)&loop->mailbox->async);
}

/* --- the loop --- */

static int open_loop(uv_loop_t *uv, brood__loop **ret_loop) {
    if (uv_version() >> 16 != UV_VERSION_MAJOR || uv_version() < ((1 << 16) | (44 << 8)))
        return -ENOTSUP;
    brood__loop *loop = brood__alloc(sizeof *loop);
    char *buffer = brood__resize(NULL, BROOD__READ_BUFFER_SIZE);
    if (!loop || !buffer) {
        brood__free(loop);
        brood__free(buffer);
        return -ENOMEM;
    }
    loop->uv = uv;
    loop->read_buffer = buffer;
    pthread_mutex_init(&loop->lock, NULL);
    brood__list_init(&loop->parts);
    brood__list_init(&loop->watches);
    brood__list_init(&loop->posted);
    brood__list_init(&loop->later);
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
    free_if_unused(loop);
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
    int r = brood__loop_activate(loop); /* also where all have ended: on_closed comes by the mailbox's own close */
    if (r < 0)
        return r;
    loop->on_closed = on_closed;
    loop->on_closed_data = data;
    loop->ending = true;
    brood__loop_hold(loop);
    for (brood__list *n = loop->parts.next, *next; n != &loop->parts; n = next) {
        next = n->next;
        brood__loop_part *part = BROOD__OUTER(n, brood__loop_part, node);
        if (part->end)
            part->end(part);
    }
    uv_ref((uv_handle_t *)&loop->mailbox->async);
    brood__loop_rest(loop);
    brood__loop_release(loop);
    return 0;
}

bool brood_loop_owns(uv_loop_t *uv, const void *handle) {
    const brood__loop *loop = find(uv);
    if (!loop)
        return false;
    if (loop->mailbox && handle == &loop->mailbox->async)
        return true;
    for (const brood__list *n = loop->parts.next; n != &loop->parts; n = n->next) {
        const brood__loop_part *part = BROOD__OUTER(n, brood__loop_part, node);
        if ((const char *)handle >= part->start && (const char *)handle < part->start + part->size)
            return true;
    }
    return false;
}
