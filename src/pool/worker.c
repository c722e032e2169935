/*
 * A worker: its start, what it is sent and says, its end. What is hard is whose fault an end is. A task is at one worker
 * at a time and never at a second before the first one's process has ended, so whatever a worker is stopped for, its
 * tasks wait for its end; then the one that it was working at is to blame, and all others go back as if they had never
 * been sent. Which one that was is known for certain where it had only one: so those that were together in a crash are
 * alone the next time.
 */
#include "pool/pool.h"

#include "base/failure.h"
#include "channel/channel.h"
#include "child/child.h"
#include "own/memory.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define MEASURE_US 1000000  /* between two looks at a worker's memory */
#define DISCONNECTED_MS 500 /* so long after its channel's end the worker's own is waited for */

static brood__task *oldest(const brood__worker *w) {
    return brood__list_empty(&w->tasks) ? NULL : BROOD__OUTER(w->tasks.next, brood__task, node);
}

void brood__worker_tell(brood__worker *w, brood_pool_event event) {
    event.worker = w->number;
    event.pid = w->child ? brood_child_pid(w->child) : 0;
    brood__pool_tell(w->pool, &event);
}

static void wake_for(brood__worker *w) {
    brood__pool_wake_at(w->pool, brood__worker_check(w, 0));
}

/* --- leaving --- */

static void leave(brood__worker *w, const char *why) {
    if (w->state >= BROOD__WORKER_LEAVING)
        return;
    brood__worker_become(w, BROOD__WORKER_LEAVING);
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_WORKER_LEAVING, .detail = why});
}

/* It was told to, or has itself said that it will: it has so long for it. */
static void leave_within(brood__worker *w, uint64_t ms, const char *why) {
    leave(w, why);
    w->until_us = brood__after_ms(brood__now_us(), ms);
    wake_for(w);
}

static void leave_if_idle(brood__worker *w, const char *why) {
    if (w->load > 0)
        return;
    w->innocent = true;
    leave_within(w, w->pool->options.leave_ms, why);
    brood_channel_disconnect(brood_child_channel(w->child));
}

/* --- its tasks --- */

/* It is at work at its oldest task from now on. */
static void begin_oldest(brood__worker *w, uint64_t now) {
    brood__task *t = oldest(w);
    if (t)
        t->begun_us = now;
    wake_for(w);
}

static void take_from(brood__worker *w, brood__task *t, uint64_t now) {
    bool was_oldest = w->tasks.next == &t->node;
    brood__list_remove(&t->node);
    t->worker = NULL;
    if (t == w->guilty)
        w->guilty = NULL;
    brood__worker_set_load(w, w->load - 1);
    if (was_oldest)
        begin_oldest(w, now);
    if (w->state == BROOD__WORKER_RETIRING && !w->broken_off) /* else it is stopped, from within uv_run */
        leave_if_idle(w, "it has ended its last task");
}

static void fds_sent(brood_channel *channel, int error, void *data) {
    brood__worker *w = brood_channel_data(channel);
    brood_pool *pool = w->pool;
    brood__task *t = brood__tickets_find(&pool->tickets, (uintptr_t)data);
    if (error >= 0 || error == -EPIPE || error == -ECANCELED || !t || t->state != BROOD__TASK_AT_WORKER ||
        t->worker != w)
        return;
    brood__pool_pin(pool);
    uint64_t now = brood__now_us();
    take_from(w, t, now);
    brood__task_end(pool, t,
                    &(brood_outcome){.fate = BROOD_FATE_FAILED, .message = "its worker could not take its descriptors"},
                    now);
    brood__pool_go(pool);
    brood__pool_unpin(pool);
}

/* What goes around descriptors depends on who is there. */
static int send_with_fds(brood__worker *w, const brood__task *t) {
    brood_channel *channel = brood_child_channel(w->child);
    brood__document document = {0};
    brood__frames frames = {.advanced = w->pool->writer.advanced, .max_len = SIZE_MAX};
    size_t head = frames.advanced ? 4 : 0, len = t->len - (frames.advanced ? 4 : 1);
    char *copy = brood__alloc(len + BROOD__FRAME_SLACK); /* reading writes into it */
    if (!copy)
        return -ENOMEM;
    memcpy(copy, t->frame + head, len);
    int r = brood__frame_read(&frames, &(brood__frame){copy, len}, &document);
    brood_value value = {&document, 0};
    brood_body body = {.value = &value, .fds = t->extra->fds, .fd_count = t->extra->fd_count};
    if (r == 0)
        r = brood_channel_send(channel, &body, fds_sent, (void *)(uintptr_t)t->ticket);
    brood__document_done(&document);
    brood__free(copy);
    return r < 0 ? r : 0;
}

int brood__worker_send(brood__worker *w, brood__task *t) {
    bool has_fds = t->extra && t->extra->fd_count > 0;
    int r = has_fds ? send_with_fds(w, t) : brood__channel_queue_frame(brood_child_channel(w->child), t->frame, t->len);
    if (r < 0)
        return r;
    brood__list_append(&w->tasks, &t->node);
    t->state = BROOD__TASK_AT_WORKER;
    t->worker = w;
    t->number = w->number;
    t->attempts++;
    t->begun_us = brood__now_us();
    w->crowded = w->crowded || t->alone;
    brood__worker_set_load(w, w->load + 1);
    if (w->load == 1)
        wake_for(w);
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_TASK_SENT,
                                             .time_us = t->begun_us,
                                             .ticket = t->ticket,
                                             .attempt = t->attempts,
                                             .detail = ""});
    return 0;
}

static void requeue(brood__worker *w, brood__task *t, const char *why) {
    uint64_t begun = t->begun_us, now = brood__now_us();
    take_from(w, t, now);
    t->begun_us = 0;
    t->number = 0;
    w->pool->stats.requeued++;
    brood__queue_put(&w->pool->queue, t);
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_TASK_REQUEUED,
                                             .ticket = t->ticket,
                                             .attempt = t->attempts + 1,
                                             .run_us = now - begun,
                                             .detail = why});
}

/* The worker has ended, and this one of its tasks is the reason. */
static void blame(brood__worker *w, brood__task *t, const brood_exit *ended, const char *how) {
    if (t->attempts < t->max_attempts) {
        requeue(w, t, how);
        return;
    }
    brood_fate fate = (brood_fate)w->fate;
    uint64_t now = brood__now_us();
    take_from(w, t, now);
    brood__task_end(
        w->pool, t,
        &(brood_outcome){.fate = fate, .message = how, .worker_exit = fate == BROOD_FATE_CRASHED ? ended : NULL}, now);
}

static void forgive(brood__worker *w, brood__task *t) {
    t->attempts--;
    requeue(w, t, "another task was to blame for its worker's end");
}

/* --- what it says --- */

static bool says_ready(brood_value message) {
    const char *text;
    bool ready;
    if (brood_value_string(message, &text, NULL) == 0)
        return strcmp(text, "ready") == 0;
    return brood_value_bool(brood_value_get(message, "ready"), &ready) == 0 && ready;
}

void brood__worker_make_due(brood__worker *w) {
    if (w->state != BROOD__WORKER_UP || !brood__list_empty(&w->due))
        return;
    brood__list_append(&w->pool->due, &w->due);
    w->pool->due_count++;
}

static void recycle(brood__worker *w) {
    w->pool->stats.recycled++;
    brood__worker_retire(w, "it is replaced");
}

static void get_ready(brood__worker *w) {
    brood_pool *pool = w->pool;
    uint64_t age_ms = pool->options.recycle_after_ms;
    if (age_ms > 0)
        w->due_us = brood__after_ms(brood__now_us(), age_ms - brood__pool_random(pool, age_ms / 8 + 1));
    w->was_up = true;
    w->until_us = BROOD__NEVER;
    w->idle_us = brood__now_us();
    brood__worker_become(w, BROOD__WORKER_UP);
    wake_for(w);
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_WORKER_READY, .detail = ""});
    if (!brood__list_empty(&pool->due)) /* whose successor it is */
        recycle(BROOD__OUTER(pool->due.next, brood__worker, due));
}

/* The one of its tasks that the message is about, mostly the oldest. */
static brood__task *task_of(const brood__worker *w, brood_value message) {
    uint64_t id;
    if (brood_value_uint64(brood_value_get(message, "id"), &id) < 0)
        return NULL;
    for (brood__list *n = w->tasks.next; n != &w->tasks; n = n->next)
        if (BROOD__OUTER(n, brood__task, node)->ticket == id)
            return BROOD__OUTER(n, brood__task, node);
    return NULL;
}

static void see_stray(brood__worker *w) {
    w->pool->stats.strays++;
    brood__worker_tell(
        w, (brood_pool_event){.kind = BROOD_POOL_STRAY, .detail = "it answered what it had not been asked"});
}

/* It is looked at once in a while, for /proc costs more than a small task. */
static bool takes_too_much(brood__worker *w) {
    uint64_t most = w->pool->options.recycle_above_bytes, now = w->heard_us;
    if (most == 0 || now - w->measured_us < MEASURE_US)
        return false;
    w->measured_us = now;
    return brood__owned_memory(&w->child->owned) > most;
}

static void see_answer(brood__worker *w, brood__task *t, const brood_message *message, brood_value result,
                       brood_value error) {
    brood_outcome outcome = {
        .fate = BROOD_FATE_DONE, .result = result, .fds = message->fds, .fd_count = message->fd_count};
    outcome.message = brood__error_text(error);
    if (outcome.message) {
        outcome.fate = BROOD_FATE_FAILED;
        outcome.result = (brood_value){0};
    } else {
        outcome.message = "done";
    }
    w->answered = true;
    brood__pool_see_success(w->pool);
    w->done++;
    take_from(w, t, w->heard_us);
    if (w->done >= w->done_most || takes_too_much(w))
        brood__worker_make_due(w);
    brood__task_end(w->pool, t, &outcome, w->heard_us);
}

static void see_message(brood__worker *w, const brood_message *came) {
    brood_value message = came->value;
    brood__task *t = task_of(w, message);
    w->heard_us = brood__now_us();
    if (w->state == BROOD__WORKER_STARTING && says_ready(message)) {
        get_ready(w);
        return;
    }
    if (!t) {
        if (!says_ready(message))
            see_stray(w);
        return;
    }
    brood_value result = brood_value_get(message, "result"), error = brood_value_get(message, "error");
    brood_value progress = brood_value_get(message, "progress");
    bool answers = brood_value_type(result) != BROOD_MISSING || brood_value_type(error) != BROOD_MISSING;
    if (answers || brood_value_count(message) == 1) /* `{id, result: undefined}` is `{id}` in JSON */
        see_answer(w, t, came, result, error);
    else if (brood_value_type(progress) == BROOD_MISSING)
        see_stray(w);
    else if (t->on_progress)
        t->on_progress(t->ticket, progress, t->data);
}

static void message_came(brood_channel *channel, const brood_message *message, void *data) {
    brood__worker *w = data;
    brood_pool *pool = w->pool;
    (void)channel;
    if ((w->stopped || w->broken_off) && !task_of(w, message->value))
        return; /* too late; an answer for what it still has need not be asked for again */
    brood__pool_pin(pool);
    see_message(w, message);
    brood__pool_go(pool);
    brood__pool_unpin(pool);
}

/* --- its end --- */

static const char *describe_end(const char *who, const brood_exit *e, char *text, size_t size) {
    const char *name = e->signal ? brood_signal_name(e->signal) : NULL;
    if (e->reason == BROOD_REASON_OUT_OF_MEMORY)
        snprintf(text, size, "%s was killed at a memory limit", who);
    else if (e->signal)
        snprintf(text, size, "%s was ended by %s%s", who, name ? name : "a signal",
                 e->core_dumped ? " (core dumped)" : "");
    else if (e->code >= 0)
        snprintf(text, size, "%s exited with code %d", who, e->code);
    else
        snprintf(text, size, "%s has ended, and nobody knows how", who);
    return text;
}

static void judge_end(brood__worker *w, const brood_exit *ended) {
    char text[160];
    const char *how =
        w->stopped ? "a worker closed its channel, and lived on," : describe_end("a worker", ended, text, sizeof text);
    brood__worker_judge(w, how);
    brood__worker_tell_useless(w, how);
}

/* Its process has ended: its tasks are free again. `ended` is NULL where there never was one. */
static void settle(brood__worker *w, const brood_exit *ended) {
    char text[160];
    brood__task *guilty = w->guilty ? w->guilty : w->innocent ? NULL : oldest(w);
    const char *how = w->blame ? w->blame
                      : ended  ? describe_end("its worker", ended, text, sizeof text)
                               : "its worker has ended";
    bool together = w->load > 1 && guilty && w->fate == BROOD_FATE_CRASHED;
    w->told = true;
    if (ended)
        judge_end(w, ended);
    brood__worker_become(w, BROOD__WORKER_GONE);
    w->stopped = true;
    w->pool->stats.ended++;
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_WORKER_ENDED, .exit = ended, .detail = how});
    for (brood__list *n = w->tasks.next; together && n != &w->tasks; n = n->next)
        BROOD__OUTER(n, brood__task, node)->alone = true;
    while (!brood__list_empty(&w->tasks)) {
        brood__task *t = BROOD__OUTER(w->tasks.prev, brood__task, node);
        if (t == guilty)
            blame(w, t, ended, how);
        else
            forgive(w, t);
    }
}

static void process_ended(brood_child *child, const brood_exit *ended, void *data) {
    brood__worker *w = data;
    brood_pool *pool = w->pool;
    (void)child;
    brood__pool_pin(pool);
    settle(w, ended);
    brood__pool_go(pool);
    brood__pool_unpin(pool);
}

static void start_failed(brood_child *child, const brood_failure *why, void *data) {
    brood__worker *w = data;
    brood_pool *pool = w->pool;
    (void)child;
    if (w->stopped)
        return;
    brood__pool_pin(pool);
    w->stopped = true;
    brood__pool_start_failed(pool, w->asked_us, why);
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_START_FAILED, .detail = why->message});
    brood__pool_go(pool);
    brood__pool_unpin(pool);
}

static void forget_number(brood_pool *pool, unsigned number) {
    pool->numbers[(number - 1) / 64] &= ~(UINT64_C(1) << (number - 1) % 64);
}

static void worker_free(brood__worker *w) {
    brood_pool *pool = w->pool;
    brood__worker_become(w, BROOD__WORKER_GONE);
    pool->count[BROOD__WORKER_GONE]--;
    forget_number(pool, w->number);
    brood__list_remove(&w->node);
    brood__free(w);
}

/* Nothing is left of it, nor of what it owned. */
static void all_ended(brood_child *child, const brood_exit *ended, void *data) {
    brood__worker *w = data;
    brood_pool *pool = w->pool;
    (void)child;
    brood__pool_pin(pool);
    bool was_there = ended->reason != BROOD_REASON_NOT_STARTED;
    if (!w->told && was_there)
        settle(w, ended);
    if (was_there)
        brood__pool_worker_gone(pool);
    w->child = NULL;
    worker_free(w);
    brood__pool_go(pool);
    brood__pool_unpin(pool);
}

/* --- stopping --- */

void brood__worker_stop(brood__worker *w, const char *why) {
    leave(w, why);
    if (w->state == BROOD__WORKER_LEAVING && !w->stopped) {
        w->stopped = true;
        w->until_us = BROOD__NEVER;
        brood_child_stop(w->child);
    }
}

void brood__worker_retire(brood__worker *w, const char *why) {
    if (w->state == BROOD__WORKER_STARTING) {
        brood__worker_stop(w, why);
    } else if (w->state == BROOD__WORKER_UP) {
        brood__worker_become(w, BROOD__WORKER_RETIRING);
        leave_if_idle(w, why);
    }
}

void brood__worker_break_off(brood__worker *w, brood__task *t, const char *why) {
    w->innocent = true;
    w->broken_off = why;
    w->pool->broken_off = true;
    take_from(w, t, brood__now_us());
    brood__pool_go_soon(w->pool);
}

void brood__worker_lost(brood__worker *w) {
    brood__worker_judge(w, "a worker closed its channel");
    leave_within(w, DISCONNECTED_MS, "it has closed its channel");
}

/* For what it is blamed. */
static void judge_broken(brood__worker *w) {
    char text[160];
    snprintf(text, sizeof text, "a %s", w->blame + strlen("its "));
    brood__worker_judge(w, text);
    brood__worker_tell_useless(w, text);
}

static void disconnected(brood_channel *channel, int error, void *data) {
    brood__worker *w = data;
    brood_pool *pool = w->pool;
    (void)channel;
    if (w->state >= BROOD__WORKER_LEAVING)
        return;
    brood__pool_pin(pool);
    if (error == 0) {
        brood__worker_lost(w);
    } else {
        w->blame = error == -EBADMSG    ? "its worker broke the format of the channel"
                   : error == -EMSGSIZE ? "its worker sent a message that is too large"
                                        : "its worker's channel broke";
        judge_broken(w);
        brood__worker_stop(w, w->blame);
    }
    brood__pool_go(pool);
    brood__pool_unpin(pool);
}

/* --- time --- */

/* The task has had its time: its last attempt is told at once, the others after the worker's end. */
static void time_out(brood__worker *w, brood__task *t, const char *why) {
    w->fate = BROOD_FATE_TIMED_OUT;
    w->innocent = true;
    w->blame = why;
    if (t->attempts < t->max_attempts) {
        w->guilty = t;
        brood__worker_stop(w, why);
        return;
    }
    uint64_t now = brood__now_us();
    take_from(w, t, now);
    brood__worker_stop(w, why);
    brood__task_end(w->pool, t, &(brood_outcome){.fate = BROOD_FATE_TIMED_OUT, .message = why}, now);
}

static void late(brood__worker *w) {
    if (w->state == BROOD__WORKER_STARTING) {
        brood__worker_judge(w, "a worker ran out of time");
        brood__worker_tell_useless(w, "a worker ran out of time");
        brood__worker_stop(w, "it was not ready in time");
    } else {
        if (!w->innocent)
            w->blame = "its worker closed its channel, and lived on";
        brood__worker_stop(w, w->blame);
    }
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* When its oldest task has had its time, and why that is so. */
static uint64_t task_limit(const brood__worker *w, const brood__task *t, const char **ret_why) {
    uint64_t silence_ms = w->pool->options.silence_ms;
    uint64_t at = t->timeout_ms == BROOD_FOREVER ? BROOD__NEVER : brood__after_ms(t->begun_us, t->timeout_ms);
    uint64_t from = w->heard_us > t->begun_us ? w->heard_us : t->begun_us;
    uint64_t silent = silence_ms == BROOD_FOREVER ? BROOD__NEVER : brood__after_ms(from, silence_ms);
    *ret_why = silent < at ? "nothing was heard of it in time" : "it ran longer than it may";
    return earlier(at, silent);
}

static bool may_idle_out(const brood__worker *w) {
    const brood_pool *pool = w->pool;
    unsigned alive = pool->count[BROOD__WORKER_STARTING] + pool->count[BROOD__WORKER_UP];
    return w->state == BROOD__WORKER_UP && w->load == 0 && pool->options.idle_timeout_ms != BROOD_FOREVER &&
           alive > pool->options.min_workers + pool->options.spare_workers;
}

static uint64_t idle_limit(const brood__worker *w) {
    return may_idle_out(w) ? brood__after_ms(w->idle_us, w->pool->options.idle_timeout_ms) : BROOD__NEVER;
}

static uint64_t limit_of(const brood__worker *w, const char **ret_why) {
    brood__task *t = oldest(w);
    if (w->stopped)
        return BROOD__NEVER;
    if (w->state == BROOD__WORKER_STARTING || w->state == BROOD__WORKER_LEAVING)
        return w->until_us;
    uint64_t age = w->state == BROOD__WORKER_UP && brood__list_empty(&w->due) ? w->due_us : BROOD__NEVER;
    if (t)
        return earlier(age, task_limit(w, t, ret_why));
    return earlier(age, idle_limit(w));
}

uint64_t brood__worker_check(brood__worker *w, uint64_t now_us) {
    const char *why = NULL;
    uint64_t at = limit_of(w, &why);
    if (at > now_us || now_us == 0)
        return at;
    brood__channel_read_now(brood_child_channel(w->child)); /* a loop that was held up is not the worker's delay */
    at = limit_of(w, &why);
    if (at > now_us)
        return at;
    if (w->due_us <= now_us) { /* and whatever else is late is seen at the next look */
        w->due_us = BROOD__NEVER;
        brood__worker_make_due(w);
        return limit_of(w, &why);
    }
    brood__task *t = oldest(w);
    if (w->state == BROOD__WORKER_STARTING || w->state == BROOD__WORKER_LEAVING)
        late(w);
    else if (t)
        time_out(w, t, why);
    else
        brood__worker_retire(w, "it had nothing to do");
    return limit_of(w, &why);
}

/* --- its start --- */

static void program_runs(brood_child *child, void *data) {
    brood__worker *w = data;
    brood_pool *pool = w->pool;
    (void)child;
    brood__pool_pin(pool);
    pool->stats.started++;
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_WORKER_STARTED, .detail = ""});
    if (w->state == BROOD__WORKER_STARTING && !pool->options.wait_ready)
        get_ready(w);
    brood__pool_go_soon(pool); /* it may have ended already, and that is told next */
    brood__pool_unpin(pool);
}

/* The lowest that is free. 0: no memory. */
static unsigned take_number(brood_pool *pool) {
    size_t i = 0;
    while (i < pool->number_words && pool->numbers[i] == UINT64_MAX)
        i++;
    if (i == pool->number_words) {
        uint64_t *more = brood__resize(pool->numbers, (i + 1) * sizeof *more);
        if (!more)
            return 0;
        more[i] = 0;
        pool->numbers = more;
        pool->number_words++;
    }
    unsigned bit = (unsigned)__builtin_ctzll(~pool->numbers[i]);
    pool->numbers[i] |= UINT64_C(1) << bit;
    return (unsigned)i * 64 + bit + 1;
}

static int fork_worker(brood__worker *w, brood_failure *why) {
    brood_options o = w->pool->options.worker;
    o.on_spawn = program_runs;
    o.on_error = start_failed;
    o.on_exit = process_ended;
    o.on_close = all_ended;
    o.on_message = message_came;
    o.on_disconnect = disconnected;
    o.data = w;
    int r = brood_fork(w->pool->loop->uv, &o, &w->child, why);
    if (r < 0)
        return r;
    w->child->self_closing = true; /* its last event comes when nothing of its tree is left */
    brood_child_unref(w->child);
    brood_channel_unref(brood_child_channel(w->child));
    return 0;
}

int brood__worker_start(brood_pool *pool, brood_failure *why) {
    brood__worker *w = brood__alloc(sizeof *w);
    unsigned number = w ? take_number(pool) : 0;
    if (number == 0) {
        brood__free(w);
        return brood__fail(why, -ENOMEM, BROOD_STEP_MEMORY, NULL, NULL);
    }
    *w = (brood__worker){.pool = pool, .number = number, .fate = BROOD_FATE_CRASHED, .until_us = BROOD__NEVER};
    uint64_t most = pool->options.recycle_after_tasks;
    w->asked_us = brood__now_us();
    w->due_us = BROOD__NEVER;
    w->done_most = most > 0 ? most - brood__pool_random(pool, most / 8 + 1) : UINT64_MAX;
    brood__list_init(&w->due);
    brood__list_init(&w->waiting);
    brood__list_init(&w->ready);
    brood__list_init(&w->place);
    brood__list_init(&w->tasks);
    int r = fork_worker(w, why);
    if (r < 0) {
        forget_number(pool, number);
        brood__free(w);
        return r;
    }
    brood__list_append(&pool->workers, &w->node);
    pool->count[BROOD__WORKER_STARTING]++;
    if (pool->options.wait_ready)
        w->until_us = brood__after_ms(brood__now_us(), pool->options.ready_timeout_ms);
    wake_for(w);
    return 0;
}
