/*
 * A task from brood_pool_run to its on_done. Its message is serialised once, into the frame that is sent, so that a
 * second attempt costs no more than the bytes. Whoever takes a task out of the tickets decides its outcome: there is one
 * place where that happens, and so there is one outcome.
 */
#include "pool/pool.h"

#include "base/sys.h"
#include "channel/channel.h"

#include <errno.h>
#include <string.h>

#define NO_PRIORITY 128 /* the level of priority 0 */

static const char *const fate_text[] = {
    [BROOD_FATE_DONE] = "done",           [BROOD_FATE_FAILED] = "failed",   [BROOD_FATE_CRASHED] = "crashed",
    [BROOD_FATE_TIMED_OUT] = "timed out", [BROOD_FATE_ABORTED] = "aborted", [BROOD_FATE_DROPPED] = "dropped",
    [BROOD_FATE_NO_WORKER] = "no worker",
};

const char *brood_fate_text(brood_fate fate) {
    size_t i = (size_t)fate;
    return i < sizeof fate_text / sizeof *fate_text ? fate_text[i] : "unknown";
}

/* --- its message --- */

static void write_wrapped(brood_writer *w, const brood_body *body, uint64_t ticket) {
    brood_writer_object(w);
    brood_writer_key(w, "id");
    brood_writer_double(w, (double)ticket);
    brood_writer_key(w, "task");
    brood__body_write(w, body);
    brood_writer_end(w);
}

static int check_body(const brood_pool *pool, const brood_body *body) {
    if ((body->json != NULL) + (body->write != NULL) + (body->value != NULL) != 1 || (body->fd_count > 0 && !body->fds))
        return -EINVAL;
    return pool->writing ? -EDEADLK : 0;
}

int brood__body_check(brood_pool *pool, const brood_body *given, size_t size) {
    brood_writer *w = &pool->writer;
    brood_body body = {0};
    if (!given || size > sizeof body)
        return -EINVAL;
    memcpy(&body, given, size);
    int r = check_body(pool, &body);
    if (r < 0)
        return r;
    pool->writing = true;
    w->len = 0;
    brood__frame_begin(w);
    brood__body_write(w, &body);
    pool->writing = false;
    r = brood__frame_end(w);
    brood__writer_trim(w);
    return r;
}

/* Into the pool's writer. */
static int write_frame(brood_pool *pool, const brood_body *body) {
    brood_writer *w = &pool->writer;
    uint64_t ticket = pool->tickets.last + 1;
    int r = check_body(pool, body);
    if (r < 0)
        return r;
    pool->writing = true;
    w->len = 0;
    brood__frame_begin(w);
    if (pool->options.wrap) {
        write_wrapped(w, body, ticket);
    } else {
        brood__writer_append_id(w, ticket);
        brood__request_write(w, body);
    }
    pool->writing = false;
    return brood__frame_end(w);
}

/* --- what only few have --- */

static void extra_free(brood__task_extra *extra) {
    if (!extra)
        return;
    brood__abort_unlisten(&extra->listener);
    brood_abort_free(extra->abort);
    while (extra->fd_count > 0)
        brood__close(extra->fds[--extra->fd_count]);
    brood__free(extra);
}

static void pulled(brood__abort_listener *listener) {
    brood__task_extra *extra = BROOD__OUTER(listener, brood__task_extra, listener);
    brood_pool_abort(extra->pool, extra->task->ticket);
}

static int extra_new(brood_pool *pool, const brood_task *given, brood__task_extra **ret_extra) {
    size_t count = given->body.fd_count;
    if (given->abort && brood_abort_pulled(given->abort))
        return -ECANCELED;
    if (count > BROOD__MAX_FDS)
        return -EINVAL;
    brood__task_extra *extra = brood__alloc(sizeof *extra + count * sizeof *extra->fds);
    if (!extra)
        return -ENOMEM;
    extra->pool = pool;
    brood__list_init(&extra->listener.node);
    extra->listener.pulled = pulled;
    int r = 0;
    for (; r >= 0 && extra->fd_count < count; extra->fd_count += r >= 0) {
        r = brood__duplicate(given->body.fds[extra->fd_count]);
        extra->fds[extra->fd_count] = r;
    }
    if (r >= 0 && given->abort)
        r = brood__abort_listen(pool->loop, given->abort, &extra->listener);
    if (r < 0) {
        extra_free(extra);
        return r;
    }
    extra->abort = brood__abort_hold(given->abort);
    *ret_extra = extra;
    return 0;
}

static void task_free(brood__task *t) {
    extra_free(t->extra);
    brood__free(t);
}

static uint16_t lane_of(const char *key) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (; *key; key++)
        hash = (hash ^ (uint8_t)*key) * UINT64_C(1099511628211);
    return (uint16_t)((hash ^ hash >> 32) % BROOD__LANES + 1);
}

static int task_new(brood_pool *pool, const brood_task *given, brood__task **ret_task) {
    const brood_pool_options *o = &pool->options;
    size_t len = pool->writer.len;
    if (given->sticky && !pool->lanes && !(pool->lanes = brood__alloc(BROOD__LANES * sizeof *pool->lanes)))
        return -ENOMEM;
    brood__task *t = brood__resize(NULL, sizeof *t + len);
    if (!t)
        return -ENOMEM;
    *t = (brood__task){
        .on_progress = given->on_progress,
        .on_done = given->on_done,
        .data = given->data,
        .asked_us = brood__now_us(),
        .timeout_ms = given->timeout_ms ? given->timeout_ms : o->task_timeout_ms,
        .max_attempts = given->max_attempts ? given->max_attempts : o->max_attempts,
        .level = (uint8_t)(given->priority + NO_PRIORITY),
        .lane = given->sticky ? lane_of(given->sticky) : 0,
        .len = len,
    };
    memcpy(t->frame, pool->writer.bytes, len);
    if (given->abort || given->body.fd_count > 0) {
        int r = extra_new(pool, given, &t->extra);
        if (r < 0) {
            brood__free(t);
            return r;
        }
        t->extra->task = t;
    }
    *ret_task = t;
    return 0;
}

/* --- room in the queue --- */

static size_t times(size_t limit, unsigned factor) {
    return limit > SIZE_MAX / factor ? SIZE_MAX : limit * factor;
}

/* Whether one more of that length is over so many times the limits. */
static bool is_over(const brood_pool *pool, size_t len, unsigned factor) {
    return pool->queue.count >= times(pool->options.max_queued, factor) ||
           pool->queue.bytes + len > times(pool->options.max_queued_bytes, factor);
}

static int make_room(brood_pool *pool, size_t len) {
    const brood_pool_options *o = &pool->options;
    if (len > o->max_queued_bytes)
        return -EMSGSIZE;
    if (!is_over(pool, len, 1))
        return 0;
    if (o->on_full == BROOD_FULL_DROP_OLDEST) /* unless all that wait are kept for their workers */
        return brood__queue_least(&pool->queue) ? 0 : -EAGAIN;
    pool->above = true;
    return o->on_full == BROOD_FULL_WAIT && !is_over(pool, len, 2) ? 1 : -EAGAIN;
}

static void drop_oldest(brood_pool *pool, size_t len) {
    brood__task *t;
    while (pool->options.on_full == BROOD_FULL_DROP_OLDEST && is_over(pool, len, 1) &&
           (t = brood__queue_least(&pool->queue)))
        brood__task_finish(pool, t, BROOD_FATE_DROPPED, "newer tasks took its place in the queue");
}

/* --- run, abort --- */

static int copy_given(const brood_task *given, size_t size, brood_task *ret) {
    *ret = (brood_task){0};
    if (!given || (size > sizeof *ret && !brood__is_zero((const char *)given + sizeof *ret, size - sizeof *ret)))
        return -EINVAL;
    memcpy(ret, given, size < sizeof *ret ? size : sizeof *ret);
    if (!brood__is_zero(ret->reserved, sizeof ret->reserved))
        return -EINVAL;
    return ret->priority < -NO_PRIORITY || ret->priority >= NO_PRIORITY ? -ERANGE : 0;
}

int brood_pool_run_sized(brood_pool *pool, const brood_task *given, size_t size, uint64_t *ret_ticket) {
    brood_task copy;
    brood__task *t;
    int r = copy_given(given, size, &copy);
    if (r < 0)
        return r;
    if (pool->closing)
        return -ESHUTDOWN;
    if (pool->gave_up)
        return -ENOTRECOVERABLE;
    r = write_frame(pool, &copy.body);
    if (r < 0)
        return r;
    int full = make_room(pool, pool->writer.len);
    if (full < 0)
        return full;
    r = task_new(pool, &copy, &t);
    brood__writer_trim(&pool->writer);
    if (r < 0)
        return r;
    drop_oldest(pool, t->len);
    brood__tickets_add(&pool->tickets, t);
    pool->stats.accepted++;
    brood__queue_put(&pool->queue, t);
    brood__pool_update_busy(pool);
    brood__pool_go_soon(pool);
    if (ret_ticket)
        *ret_ticket = t->ticket;
    return full;
}

size_t brood_pool_error_offset(const brood_pool *pool) {
    return pool->writer.error_at;
}

int brood_pool_abort(brood_pool *pool, uint64_t ticket) {
    brood__task *t = brood__tickets_find(&pool->tickets, ticket);
    if (!t || t->state == BROOD__TASK_FINISHED)
        return -ENOENT;
    if (t->state == BROOD__TASK_AT_WORKER)
        brood__worker_break_off(t->worker, t, "a task of its was aborted");
    else
        brood__queue_remove(&pool->queue, t);
    brood__task_finish(pool, t, BROOD_FATE_ABORTED, "it was aborted");
    return 0;
}

/* --- the end --- */

static void leave_list(brood_pool *pool, brood__task *t) {
    if (t->state == BROOD__TASK_QUEUED && !brood__list_empty(&t->node))
        brood__queue_remove(&pool->queue, t);
    else
        brood__list_remove(&t->node);
}

void brood__task_finish(brood_pool *pool, brood__task *t, brood_fate fate, const char *why) {
    leave_list(pool, t);
    t->state = BROOD__TASK_FINISHED;
    t->fate = (uint8_t)fate;
    t->why = why;
    if (t->extra)
        brood__abort_unlisten(&t->extra->listener);
    brood__list_append(&pool->finished, &t->node);
    brood__pool_go_soon(pool);
}

void brood__task_end(brood_pool *pool, brood__task *t, brood_outcome *outcome, uint64_t now) {
    uint64_t begun = t->begun_us ? t->begun_us : now;
    leave_list(pool, t);
    brood__tickets_remove(&pool->tickets, t);
    outcome->ticket = t->ticket;
    outcome->attempts = t->attempts;
    outcome->wait_us = begun - t->asked_us;
    outcome->run_us = now - begun;
    pool->stats.fates[outcome->fate]++;
    if (t->begun_us) {
        brood__times_add(&pool->stats.wait, outcome->wait_us);
        brood__times_add(&pool->stats.run, outcome->run_us);
    }
    brood__pool_tell(pool, &(brood_pool_event){.kind = BROOD_POOL_TASK_DONE,
                                               .time_us = now,
                                               .ticket = t->ticket,
                                               .worker = t->number,
                                               .attempt = t->attempts,
                                               .fate = outcome->fate,
                                               .run_us = outcome->run_us,
                                               .detail = outcome->message});
    if (t->on_done)
        t->on_done(outcome, t->data);
    task_free(t);
}

void brood__task_tell_finished(brood_pool *pool) {
    while (!brood__list_empty(&pool->finished)) {
        brood__task *t = BROOD__OUTER(pool->finished.next, brood__task, node);
        brood__task_end(pool, t, &(brood_outcome){.fate = (brood_fate)t->fate, .message = t->why}, brood__now_us());
    }
}

void brood__task_finish_queued(brood_pool *pool, brood_fate fate, const char *why) {
    for (brood__task *t; (t = brood__queue_first(&pool->queue));)
        brood__task_finish(pool, t, fate, why);
}
