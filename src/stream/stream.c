/*
 * Streams: pipes driven by a watch and our own reads and writes. All reading streams of a loop share its one buffer, so
 * memory does not grow with the number of children. Hard are the ends: a stream can be destroyed in any of its own
 * callbacks, and a descriptor must leave the poll set before it is closed, since the child has a duplicate.
 */
#include "stream/stream.h"

#include "base/fault.h"
#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <string.h>

#define HIGH_WATER 65536
#define READS_PER_TURN 16 /* full buffers from one child before the others get their turn */

typedef struct chunk {
    brood__list node;
    brood_on_written on_written;
    void *data;
    size_t len, at;
    int error;
    char bytes[];
} chunk;

static void ready(brood__watch *watch);
static void report(brood__post *post);

void brood__stream_init(brood_stream *s, brood__loop *loop, int slot, bool writes, const brood_stdio *io, void *data,
                        const brood__stream_owner *owner, void *owner_data) {
    s->watch = (brood__watch){.loop = loop, .ready = ready, .fd = -1, .events = writes ? EPOLLOUT : EPOLLIN};
    s->slot = slot;
    s->writes = writes;
    s->owner = owner;
    s->owner_data = owner_data;
    s->on_data = io->on_data;
    s->on_end = io->on_end;
    s->on_drain = io->on_drain;
    s->data = io->data ? io->data : data;
    s->high_water = io->high_water ? io->high_water : HIGH_WATER;
    brood__list_init(&s->chunks);
    brood__list_init(&s->finished);
    brood__list_init(&s->report.node);
    s->report.run = report;
}

/* --- reports and closing --- */

void brood__stream_flush_reports(brood_stream *s) {
    brood__list_remove(&s->report.node);
    if (!brood__list_empty(&s->finished))
        s->owner->on_report(s);
    while (!brood__list_empty(&s->finished)) {
        chunk *c = BROOD__OUTER(s->finished.next, chunk, node);
        brood__list_remove(&c->node);
        if (c->on_written)
            c->on_written(s, c->error, c->data);
        brood__free(c);
    }
}

static void report_soon(brood_stream *s) {
    if (brood__list_empty(&s->report.node))
        brood__loop_later(s->watch.loop, &s->report);
}

void brood__stream_close(brood_stream *s, int error) {
    if (s->closed)
        return;
    s->closed = true;
    for (brood__list *n = s->chunks.next; n != &s->chunks; n = n->next)
        BROOD__OUTER(n, chunk, node)->error = error;
    brood__list_take(&s->finished, &s->chunks);
    s->queued = 0;
    if (!brood__list_empty(&s->finished))
        report_soon(s);
    if (s->watch.fd < 0)
        return;
    brood__watch_stop(&s->watch);
    brood__close(s->watch.fd);
    s->watch.fd = -1;
    s->owner->on_closed(s);
}

void brood__stream_detach(brood_stream *s) {
    brood__stream_close(s, 0);
    s->closed = false;
}

void brood__stream_silence(brood_stream *s) {
    s->on_data = NULL;
    s->on_end = NULL;
    s->on_drain = NULL;
    brood__list *lists[] = {&s->chunks, &s->finished};
    for (size_t i = 0; i < 2; i++)
        for (brood__list *n = lists[i]->next; n != lists[i]; n = n->next)
            BROOD__OUTER(n, chunk, node)->on_written = NULL;
}

void brood_stream_destroy(brood_stream *s) {
    brood__stream_close(s, -ECANCELED);
}

/* --- what is waited for --- */

static bool wants(const brood_stream *s) {
    return brood__stream_is_open(s) && (s->writes ? !brood__list_empty(&s->chunks) : !s->paused);
}

static void update_watch(brood_stream *s) {
    if (!wants(s))
        brood__watch_stop(&s->watch);
    else if ((s->error = brood__watch_start(&s->watch)) < 0)
        report_soon(s);
}

/* --- reading --- */

static void read_some(brood_stream *s) {
    char *buffer = s->watch.loop->read_buffer;
    for (int i = 0; i < READS_PER_TURN && !s->closed && !s->paused; i++) {
        ssize_t n = brood__read(s->watch.fd, buffer, BROOD__READ_BUFFER_SIZE);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            s->owner->on_end(s, (int)n);
            brood__stream_close(s, 0);
            return;
        }
        s->owner->on_data(s, buffer, (size_t)n);
        if (n < BROOD__READ_BUFFER_SIZE)
            return; /* most likely empty now; if not, the poll says so */
    }
}

void brood__stream_read_now(brood_stream *s) {
    if (brood__stream_is_open(s) && !s->writes)
        read_some(s);
}

void brood_stream_pause(brood_stream *s) {
    s->paused = true;
    if (!s->writes)
        update_watch(s);
}

void brood_stream_resume(brood_stream *s) {
    s->paused = false;
    if (!s->writes)
        update_watch(s);
}

int brood_stream_read(brood_stream *s, brood_on_data on_data, brood_on_end on_end, void *data) {
    if (s->closed || s->writes)
        return -EBADF;
    s->on_data = on_data;
    s->on_end = on_end;
    s->data = data;
    brood_stream_resume(s);
    return 0;
}

/* --- writing --- */

static chunk *new_chunk(const void *bytes, size_t len, brood_on_written on_written, void *data) {
    chunk *c = len > SIZE_MAX - sizeof(chunk) ? NULL : brood__alloc(sizeof *c + len);
    if (!c)
        return NULL;
    c->len = len;
    c->on_written = on_written;
    c->data = data;
    brood__list_init(&c->node);
    if (len)
        memcpy(c->bytes, bytes, len);
    return c;
}

/* As much as the pipe takes. */
static void write_some(brood_stream *s) {
    while (!brood__list_empty(&s->chunks)) {
        chunk *c = BROOD__OUTER(s->chunks.next, chunk, node);
        ssize_t n = brood__write(s->watch.fd, c->bytes + c->at, c->len - c->at);
        if (n == -EAGAIN)
            return;
        if (n < 0) {
            brood__stream_close(s, (int)n);
            return;
        }
        c->at += (size_t)n;
        s->queued -= (size_t)n;
        if (c->at < c->len)
            return;
        brood__list_remove(&c->node);
        if (c->on_written)
            brood__list_append(&s->finished, &c->node);
        else
            brood__free(c);
    }
}

static void after_writing(brood_stream *s) {
    if (s->ending && brood__list_empty(&s->chunks)) {
        brood__stream_close(s, 0);
    } else if (s->above && s->queued <= s->high_water / 2) {
        s->above = false;
        s->owner->on_report(s);
        if (s->on_drain)
            s->on_drain(s, s->data);
    }
}

int brood_stream_write(brood_stream *s, const void *bytes, size_t len, brood_on_written on_written, void *data) {
    if (!s->writes || s->closed || s->ending)
        return -EBADF;
    if (len == BROOD_NUL)
        len = strlen(bytes);
    size_t at = 0;
    if (brood__stream_is_open(s) && brood__list_empty(&s->chunks) && len > 0) {
        ssize_t n = brood__write(s->watch.fd, bytes, len);
        if (n < 0 && n != -EAGAIN) {
            brood__stream_close(s, (int)n);
            return (int)n;
        }
        at = n > 0 ? (size_t)n : 0;
    }
    if (at == len && !on_written)
        return 0;
    chunk *c = new_chunk((const char *)bytes + at, len - at, on_written, data);
    if (!c) {
        if (at > 0)
            brood__stream_close(s, -ENOMEM); /* half of it is in the pipe: nothing sensible can follow */
        return -ENOMEM;
    }
    if (at == len && brood__stream_is_open(s) && brood__list_empty(&s->chunks)) {
        brood__list_append(&s->finished, &c->node);
        report_soon(s);
        return 0;
    }
    brood__list_append(&s->chunks, &c->node);
    s->queued += c->len;
    update_watch(s);
    s->above = s->above || s->queued > s->high_water;
    return s->queued > s->high_water;
}

int brood__stream_preload(brood_stream *s, const void *bytes, size_t len) {
    s->ending = true;
    if (len == 0)
        return 0;
    chunk *c = new_chunk(bytes, len, NULL, NULL);
    if (!c)
        return -ENOMEM;
    brood__list_append(&s->chunks, &c->node);
    s->queued = len;
    return 0;
}

int brood_stream_end(brood_stream *s) {
    if (!s->writes || s->closed || s->ending)
        return -EBADF;
    s->ending = true;
    if (brood__stream_is_open(s) && brood__list_empty(&s->chunks))
        brood__stream_close(s, 0);
    return 0;
}

size_t brood_stream_queued(const brood_stream *s) {
    return s->queued;
}

int brood_stream_slot(const brood_stream *s) {
    return s->slot;
}

/* --- what the loop tells --- */

static void ready(brood__watch *watch) {
    brood_stream *s = BROOD__OUTER(watch, brood_stream, watch);
    if (!s->writes) {
        read_some(s);
        return;
    }
    write_some(s);
    brood__stream_flush_reports(s);
    if (!s->closed)
        after_writing(s);
    update_watch(s);
}

static void report(brood__post *post) {
    brood_stream *s = BROOD__OUTER(post, brood_stream, report);
    brood__stream_flush_reports(s);
    if (s->closed)
        return;
    if (s->error) {
        if (!s->writes)
            s->owner->on_end(s, s->error);
        brood__stream_close(s, s->error);
    } else if (brood__stream_is_open(s)) {
        after_writing(s);
    }
}

int brood__stream_attach(brood_stream *s, int fd) {
    s->watch.fd = fd;
    if (s->writes)
        write_some(s);
    if (s->above || !brood__list_empty(&s->finished))
        report_soon(s);
    if (s->ending && brood__list_empty(&s->chunks))
        brood__stream_close(s, 0);
    int r = wants(s) ? brood__watch_start(&s->watch) : 0;
    if (r < 0)
        s->watch.fd = -1;
    return r;
}

void brood__stream_set_ref(brood_stream *s, bool ref) {
    brood__watch_set_ref(&s->watch, ref);
}
