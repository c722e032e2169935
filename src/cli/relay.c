/*
 * Copies a command's output to a descriptor that brood was given. That descriptor is shared with others: it may not
 * be made non-blocking, and a write to it can block for as long as its reader likes. A thread writes, therefore, one
 * piece at a time, and the stream is paused meanwhile: the loop stays free for time limits and signals, and a slow
 * reader slows the command down, as it would without brood between them.
 */
#include "relay.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static void write_pieces(void *the_relay) {
    relay *r = the_relay;
    uv_mutex_lock(&r->lock);
    while (!r->leave) {
        if (!r->todo) {
            uv_cond_wait(&r->changed, &r->lock);
            continue;
        }
        uv_mutex_unlock(&r->lock);
        int result = cli_write_all(r->fd, r->bytes, r->len);
        uv_mutex_lock(&r->lock);
        r->result = result;
        r->todo = false;
        uv_async_send(&r->written);
    }
    uv_mutex_unlock(&r->lock);
}

/* Without the stream the pipe is closed, and the command meets its own EPIPE or SIGPIPE, as at a shell. */
static void give_up(relay *r, brood_stream *stream, int error) {
    r->error = r->error ? r->error : error;
    r->stream = NULL;
    if (stream)
        brood_stream_destroy(stream);
}

static void piece_written(uv_async_t *async) {
    relay *r = async->data;
    uv_mutex_lock(&r->lock);
    bool done = !r->todo;
    int result = r->result;
    uv_mutex_unlock(&r->lock);
    if (!r->writing || !done)
        return;
    r->writing = false;
    uv_unref((uv_handle_t *)async);
    if (result < 0)
        give_up(r, r->stream, result);
    else if (r->stream)
        brood_stream_resume(r->stream);
    r->on_rest(r->data);
}

static bool make_room(relay *r, size_t len) {
    if (len <= r->capacity)
        return true;
    char *larger = realloc(r->bytes, len);
    if (!larger)
        return false;
    r->bytes = larger;
    r->capacity = len;
    return true;
}

void relay_take(brood_stream *stream, const char *bytes, size_t len, void *the_relay) {
    relay *r = the_relay;
    if (r->fd < 0)
        return;
    assert(!r->writing); /* paused streams are silent */
    if (!make_room(r, len)) {
        give_up(r, stream, -ENOMEM);
        return;
    }
    memcpy(r->bytes, bytes, len);
    r->stream = stream;
    r->writing = true;
    uv_ref((uv_handle_t *)&r->written);
    brood_stream_pause(stream);
    uv_mutex_lock(&r->lock);
    r->len = len;
    r->todo = true;
    uv_cond_signal(&r->changed);
    uv_mutex_unlock(&r->lock);
}

void relay_end(brood_stream *stream, int error, void *the_relay) {
    relay *r = the_relay;
    (void)stream;
    r->stream = NULL;
    if (error < 0 && error != -ETIMEDOUT &&
        r->error == 0) /* timed out: another process holds the pipe, as was agreed */
        r->error = error;
}

void relay_forget_stream(relay *r) {
    r->stream = NULL;
}

int relay_open(relay *r, uv_loop_t *loop) {
    if (r->fd < 0)
        return 0;
    int result = uv_mutex_init(&r->lock);
    if (result < 0)
        return result;
    result = uv_cond_init(&r->changed);
    if (result < 0)
        goto no_condition;
    result = uv_async_init(loop, &r->written, piece_written);
    if (result < 0)
        goto no_async;
    r->written.data = r;
    uv_unref((uv_handle_t *)&r->written); /* only a piece on its way keeps the loop alive */
    result = uv_thread_create(&r->thread, write_pieces, r);
    if (result < 0)
        goto no_thread;
    r->open = true;
    return 0;
no_thread:
    uv_close((uv_handle_t *)&r->written, NULL);
no_async:
    uv_cond_destroy(&r->changed);
no_condition:
    uv_mutex_destroy(&r->lock);
    return result;
}

bool relay_is_busy(const relay *r) {
    return r->writing;
}

void relay_close(relay *r) {
    if (!r->open || r->writing)
        return;
    r->open = false;
    uv_mutex_lock(&r->lock);
    r->leave = true;
    uv_cond_signal(&r->changed);
    uv_mutex_unlock(&r->lock);
    uv_thread_join(&r->thread);
    uv_close((uv_handle_t *)&r->written, NULL);
    uv_cond_destroy(&r->changed);
    uv_mutex_destroy(&r->lock);
    free(r->bytes);
}
