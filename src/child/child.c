/*
 * The life of a child on a loop, from its start to its last event: output, deadlines, exit, end. spawn.c brings it to
 * life, control.c is what the user asks of it. The user may close the child, or end the whole loop, within any
 * callback; so a callback is made with the memory pinned, and nothing is assumed after it.
 */
#include "child/child.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/hooks.h"
#include "own/guard_watch.h"
#include "process/exit.h"

#include <errno.h>
#include <signal.h>

/* Of the heap, for one with three pipes: with its command line, and what the allocator adds, 2 KiB are not to be passed. */
_Static_assert(sizeof(brood_child) + 3 * sizeof(brood_stream) <= 1984, "a live child has become large");

static void see_exit(brood_child *c);
static void tell_orphan(brood_child *c);
static void finish_if_done(brood_child *c);

void brood__child_become(brood_child *c, brood__child_state state) {
    c->state = state;
}

/* The pidfd, or a tree's line, is to be closed, or has no more to tell. */
void brood__child_stop_watching(brood_child *c) {
    brood__watch_stop(&c->watch);
    brood__watch_stop(&c->nudge);
    if (c->guarded)
        brood__guard_unwatch(c->loop);
    c->guarded = false;
}

static void give_up_owned(brood_child *c) {
    brood__child_launched(c); /* or it has ended */
    brood__child_stop_watching(c);
    brood__owned_done(&c->owned);
    brood__guard_seek(c->loop);
}

/* --- memory --- */

void brood__child_free_if_unused(brood_child *c) {
    if (c->state < BROOD__ENDED || c->timer_closing || c->open_streams > 0 || c->watch.waiting || c->job || c->launch ||
        !brood__list_empty(&c->later.node) || (c->channel && !brood__channel_is_done(c->channel)))
        return;
    if (c->active) {
        c->active = false;
        brood__loop_rest(c->loop);
    }
    if (c->state != BROOD__GONE || c->pins > 0)
        return;
    brood__list_remove(&c->part.node);
    brood__loop *loop = c->loop;
    brood_abort_free(c->abort);
    brood__collector_done(&c->collector);
    if (c->result)
        brood_result_done(c->result);
    brood__free(c->result);
    brood__free(c->failure);
    brood__free(c->command);
    brood__child_free_channel(c);
    brood__free(c);
    brood__loop_release(loop);
}

void brood__child_pin(brood_child *c) {
    c->pins++;
}

void brood__child_unpin(brood_child *c) {
    c->pins--;
    brood__child_free_if_unused(c);
}

/* Whether the loop stays alive for it although nothing is watched: while it is started, or its output is paused. */
void brood__child_update_busy(brood_child *c) {
    bool ends = c->state == BROOD__EXITED && c->open_streams > 0;
    bool busy = ((c->job || ends) && !c->unreffed) || c->leaves_later;
    if (busy != c->busy)
        brood__loop_busy(c->loop, busy ? 1 : -1);
    c->busy = busy;
}

/* --- telling the user --- */

void brood__child_tell_spawn(brood_child *c) {
    if (!c->spawn_untold)
        return;
    c->spawn_untold = false;
    if (c->on_spawn)
        c->on_spawn(c, c->data);
}

/* Nothing of its tree is left. */
static void tell_empty(brood_child *c) {
    const brood_usage *told = brood__owned_empty(&c->owned);
    if (!told || !c->on_empty)
        return;
    void (*on_empty)(brood_child *, const brood_usage *, void *) = c->on_empty;
    brood_usage usage = *told;
    c->on_empty = NULL;
    on_empty(c, &usage, c->data);
}

void brood__child_tell(brood__post *post) {
    brood_child *c = BROOD__OUTER(post, brood_child, later);
    brood__child_pin(c);
    brood__child_tell_spawn(c);
    tell_empty(c);
    if (c->state == BROOD__ENDED && !c->watch.waiting)
        give_up_owned(c);
    if (c->orphan)
        tell_orphan(c);
    else
        finish_if_done(c);
    brood__child_unpin(c);
}

void brood__child_tell_later(brood_child *c) {
    if (brood__list_empty(&c->later.node))
        brood__loop_later(c->loop, &c->later);
}

/* --- stopping --- */

/* All that it owns; and if they are to end by it, it is looked after until they have. */
void brood__child_signal_all(brood_child *c, int signal) {
    brood__trace("signal", c->owned.process.pid, signal, NULL);
    brood__owned_signal_all(&c->owned, signal);
    brood__owned_urge(&c->owned, &c->deadlines, brood__now_us());
    brood__child_update_timer(c);
}

/* Before it is stopped. */
static void see_what_is_cut(brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++)
        if (brood__stream_is_open(&c->streams[i]) && !c->streams[i].writes)
            brood__cut_by_stop(&c->cut, c->streams[i].watch.fd, c->deadlines.reason);
}

static void send_stop(brood_child *c) {
    if (c->state == BROOD__EXITED && c->open_streams > 0 && brood__owned_has_left_some(&c->owned))
        see_what_is_cut(c);
    brood__trace("stop", c->owned.process.pid, 0, brood_reason_text(c->deadlines.reason));
    brood__trace("signal", c->owned.process.pid, c->kill_signal, NULL);
    brood__owned_ask_to_stop(&c->owned, c->kill_signal);
    brood__owned_urge(&c->owned, &c->deadlines, brood__now_us());
    if (c->kill_signal != SIGKILL)
        brood__trace("signal", c->owned.process.pid, SIGCONT, NULL);
}

/* Why there is no process, where it was stopped before it was told to run. */
int brood__child_fail_cancelled(const brood_child *c, brood_failure *ret_why) {
    if (c->deadlines.reason == BROOD_REASON_TIMED_OUT || c->deadlines.reason == BROOD_REASON_IDLE)
        return brood__fail(ret_why, -ETIMEDOUT, BROOD_STEP_ABORTED, NULL, "its time was over before it was started");
    return brood__fail(ret_why, -ECANCELED, BROOD_STEP_ABORTED, NULL, "the start was cancelled");
}

/* Before it runs: take the start back, or let it come and be killed at once. */
void brood__child_cancel_start(brood_child *c) {
    if (c->cancelled)
        return;
    c->cancelled = true;
    c->spawn_untold = false;
    brood__start_job *job = c->job;
    if (brood__starters_cancel(&job->job)) {
        job->result = brood__child_fail_cancelled(c, &job->failure);
        brood__loop_later(c->loop, &job->job.done);
    }
}

void brood__child_stop(brood_child *c, brood_reason reason) {
    brood__child_settle(c); /* which tells nothing yet, so that it is still there */
    bool gone = c->state != BROOD__STARTING && c->owned.process.pidfd < 0;
    bool never = gone || c->state >= BROOD__ENDED || (c->let_live && c->state != BROOD__STARTING);
    if (never || !brood__deadlines_stop(&c->deadlines, brood__now_us(), reason))
        return;
    if (c->state == BROOD__STARTING)
        brood__child_cancel_start(c);
    else
        send_stop(c);
    brood__child_update_timer(c);
}

void brood__child_aborted(brood__abort_listener *listener) {
    brood__child_stop(BROOD__OUTER(listener, brood_child, abort_listener), BROOD_REASON_ABORTED);
}

/* --- streams --- */

void brood__child_wrote_too_much(brood_child *c, brood_reason reason) {
    if (c->state == BROOD__EXITED && !brood__deadlines_stopping(&c->deadlines))
        c->exit.reason = reason;
    brood__child_stop(c, reason);
}

static void stream_data(brood_stream *s, const char *bytes, size_t len) {
    brood_child *c = s->owner_data;
    brood__child_pin(c);
    brood__child_tell_spawn(c);
    brood__child_launched(c);
    brood__deadlines_activity(&c->deadlines, brood__now_us());
    if (c->collects) {
        int r = brood__collector_add(&c->collector, s->slot, bytes, len);
        if (r != 0)
            brood__child_wrote_too_much(c, r > 0 ? BROOD_REASON_OUTPUT_LIMIT : BROOD_REASON_HOST_MEMORY);
    }
    if (s->on_data)
        s->on_data(s, bytes, len, s->data);
    brood__child_unpin(c);
}

static void stream_end(brood_stream *s, int error) {
    brood_child *c = s->owner_data;
    brood__child_pin(c);
    brood__child_tell_spawn(c);
    if (s->on_end && !brood__child_launch_report(c) && !brood__child_is_stillborn(c))
        s->on_end(s, error, s->data);
    brood__child_unpin(c);
}

static void stream_reports(brood_stream *s) {
    brood__child_tell_spawn(s->owner_data);
}

static void stream_closed(brood_stream *s) {
    brood_child *c = s->owner_data;
    c->open_streams--;
    brood__child_update_busy(c);
    brood__child_tell_later(c);
}

const brood__stream_owner brood__child_stream_owner = {
    .on_data = stream_data,
    .on_end = stream_end,
    .on_report = stream_reports,
    .on_closed = stream_closed,
};

/* The wait for output is over, whoever still holds the pipes. */
static void cut_output(brood_child *c) {
    brood__child_pin(c);
    for (size_t i = 0; i < c->stream_count; i++) {
        brood_stream *s = &c->streams[i];
        if (!brood__stream_is_open(s))
            continue;
        brood__cut_by_time(&c->cut, s->watch.fd);
        if (!s->writes)
            stream_end(s, -ETIMEDOUT);
        brood__stream_close(s, -ECANCELED);
    }
    if (c->channel)
        brood__channel_close(c->channel, -ETIMEDOUT);
    brood__child_unpin(c);
}

/* --- time --- */

static void timer_closed(uv_handle_t *timer) {
    brood_child *c = timer->data;
    c->timer_closing = false;
    brood__child_update_timer(c); /* its tree may still be ended */
    brood__child_free_if_unused(c);
}

void brood__child_close_timer(brood_child *c) {
    if (!c->timer_open)
        return;
    c->timer_open = false;
    c->timer_closing = true;
    uv_close((uv_handle_t *)&c->timer, timer_closed);
}

static void act_on(brood_child *c, brood__due due) {
    switch (due) {
    case BROOD__DUE_STOP:
        if (c->state == BROOD__STARTING)
            brood__child_cancel_start(c);
        else
            send_stop(c);
        break;
    case BROOD__DUE_KILL:
        if (c->state != BROOD__STARTING)
            brood__child_signal_all(c, SIGKILL);
        finish_if_done(c);
        break;
    case BROOD__DUE_CHECK:
        brood__owned_urge(&c->owned, &c->deadlines, brood__now_us());
        finish_if_done(c);
        break;
    case BROOD__DUE_CUT:
        cut_output(c);
        break;
    case BROOD__DUE_NOTHING:
        break;
    }
}

/*
 * A loop that was held up elsewhere runs its timers before it looks at its descriptors: what the child wrote, or that
 * it ended, in time must not count as late.
 */
static void catch_up(brood_child *c, uint64_t now) {
    if (c->state == BROOD__STARTING || brood__deadlines_next(&c->deadlines) > now)
        return;
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_read_now(&c->streams[i]);
    if (c->channel)
        brood__channel_read_now(c->channel);
    if (c->state == BROOD__RUNNING)
        see_exit(c);
}

/* Output that the host has paused is not the child's silence. */
static bool host_holds_output(const brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++) {
        const brood_stream *s = &c->streams[i];
        if (brood__stream_is_open(s) && !s->writes && s->paused && (s->on_data || s->on_end || c->collects))
            return true;
    }
    return c->channel && brood__channel_is_held(c->channel);
}

static void time_passed(uv_timer_t *timer) {
    brood_child *c = timer->data;
    brood__loop *loop = c->loop;
    brood__loop_enter(loop);
    brood__child_pin(c);
    brood__child_settle(c);
    uint64_t now = brood__now_us(); /* one for all: what is late now is judged by what was read by now */
    catch_up(c, now);
    if (host_holds_output(c))
        brood__deadlines_activity(&c->deadlines, brood__now_us());
    brood__due due;
    while (c->state < BROOD__ENDED && (due = brood__deadlines_due(&c->deadlines, now)) != BROOD__DUE_NOTHING)
        act_on(c, due);
    brood__child_update_timer(c);
    brood__child_unpin(c);
    brood__loop_leave(loop);
}

/*
 * One timer, at the next deadline. When output moves the deadline the timer stays, finds nothing due, and is set again.
 */
void brood__child_update_timer(brood_child *c) {
    uint64_t next = c->state < BROOD__ENDED ? brood__deadlines_next(&c->deadlines) : BROOD__NEVER;
    if (next == BROOD__NEVER) {
        if (c->timer_open)
            uv_timer_stop(&c->timer);
        return;
    }
    if (c->timer_closing)
        return; /* nothing is left that could be late */
    if (!c->timer_open) {
        uv_timer_init(c->loop->uv, &c->timer);
        c->timer.data = c;
        c->timer_open = true;
        if (c->unreffed)
            uv_unref((uv_handle_t *)&c->timer);
    }
    uv_update_time(c->loop->uv);
    uv_timer_start(&c->timer, time_passed, brood__ms_until(brood__now_us(), next), 0);
}

/* --- the end --- */

static void flush_reports(brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_flush_reports(&c->streams[i]);
}

void brood__child_make_result(brood_child *c) {
    c->result = brood__alloc(sizeof *c->result);
    if (!c->result)
        return;
    brood__result_make(
        &(brood__ending){
            .exit = c->exit,
            .command = &c->command,
            .failure = c->failure,
            .collector = c->collects ? &c->collector : NULL,
            .cut = c->cut,
            .asked_us = c->asked_us,
            .started_us = c->started_us,
            .now_us = c->ended_us,
            .timeout_ms = c->timeout_ms,
            .idle_timeout_ms = c->deadlines.idle_ms,
            .limits = c->limits,
            .guarantee = c->owned.guarantee,
            .memory_limited = brood_child_limited(c, BROOD_LIMIT_MEMORY),
        },
        c->result);
}

static void tell_result(brood_child *c) {
    if (!c->on_result)
        return;
    brood__child_make_result(c);
    if (c->result) {
        c->on_result(c->result, c->result_data);
    } else {
        brood_result none = brood__result_bare(&c->exit, "ENOMEM", BROOD__NO_MEMORY_FOR_RESULT);
        c->on_result(&none, c->result_data);
    }
}

/* The last event. */
static void finish(brood_child *c) {
    brood__child_pin(c);
    tell_empty(c); /* which may close it */
    bool told = c->ended_us > 0, goes = c->closed || c->self_closing;
    brood__child_become(c, BROOD__ENDED);
    if (goes || brood__deadlines_stopping(&c->deadlines) || !brood__owned_lives_on(&c->owned))
        give_up_owned(c);
    if (!told) {
        brood__trace("close", c->exit.pid, 0, NULL);
        c->ended_us = brood__now_us();
        tell_result(c);
        if (c->on_close)
            c->on_close(c, &c->exit, c->data);
    }
    if (goes) /* who closes it in on_close has it disposed of there, or its tree ended first */
        brood__child_dispose(c);
    brood__child_unpin(c);
}

/* Its last event was told, and something of its tree lives on: not any longer. */
void brood__child_end_rest(brood_child *c) {
    brood__child_become(c, BROOD__EXITED);
    finish_if_done(c);
}

/*
 * All that a stopped child owned must be gone, or killed, before the last event is told. So must be the tree of one that
 * nobody is going to close; if somebody is, its tree may go on until then.
 */
static bool owned_is_gone(brood_child *c) {
    bool all = c->closed || c->self_closing;
    if (brood__child_may_live(c) || brood__owned_settle(&c->owned, &c->deadlines, brood__now_us(), all))
        return true;
    brood__child_update_timer(c);
    return false;
}

static void finish_if_done(brood_child *c) {
    if (c->state != BROOD__EXITED || c->open_streams > 0 || c->job)
        return;
    flush_reports(c); /* before it is settled: whoever is told that a write failed may want to stop the child */
    if (!owned_is_gone(c))
        return;
    if (c->owned.stop_error)
        c->exit.stop_error = c->owned.stop_error;
    brood__abort_unlisten(&c->abort_listener);
    brood__child_close_timer(c);
    finish(c);
}

/* Give up the memory, as soon as libuv has. */
void brood__child_dispose(brood_child *c) {
    if (c->state == BROOD__GONE)
        return;
    brood__child_become(c, BROOD__GONE);
    brood__abort_unlisten(&c->abort_listener);
    brood__child_close_timer(c);
    give_up_owned(c);
}

/* --- exit --- */

void brood__child_close_streams(brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++) {
        brood__stream_close(&c->streams[i], -ECANCELED);
        brood__stream_flush_reports(&c->streams[i]);
    }
    brood__child_drop_channel(c);
}

/* There is no process, or there never should have been. Told from within uv_run. */
void brood__child_failed(brood_child *c, const brood_failure *why) {
    brood__child_pin(c);
    c->exit = (brood_exit){.code = -1, .reason = BROOD_REASON_NOT_STARTED};
    brood__child_become(c, BROOD__EXITED);
    c->spawn_untold = false;
    c->on_empty = NULL;
    c->deadlines.reason = BROOD_REASON_UNKNOWN; /* there is nothing left to stop */
    c->failure = brood__alloc(sizeof *c->failure);
    if (c->failure)
        *c->failure = *why;
    brood__child_close_streams(c);
    if (c->on_error && !c->closed)
        c->on_error(c, why, c->data);
    finish_if_done(c);
    brood__child_unpin(c);
}

/* An orphan that has ended, or is not even waited for any more. */
void brood__child_abandon(brood_child *c) {
    if (brood__child_is_launching(c)) {
        c->leaves_later = true;
        brood__child_update_busy(c);
        return;
    }
    brood__child_pin(c);
    c->leaves_later = false;
    brood__child_update_busy(c);
    brood__child_stop_watching(c);
    flush_reports(c);
    brood__child_dispose(c);
    brood__child_unpin(c);
}

/* on_close of a child that is closed and lives on. Its process is waited for all the same, so that no zombie stays. */
static void tell_orphan(brood_child *c) {
    if (c->orphan_told)
        return;
    c->orphan_told = true;
    if (c->on_close)
        c->on_close(c, &c->exit, c->data);
    if (c->loop->ending)
        brood__child_abandon(c);
}

/* After the exit: nobody reads what we write any more, and what nobody reads of it is not waited for. */
static void close_idle_streams(brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++) {
        brood_stream *s = &c->streams[i];
        if (s->writes)
            brood__stream_close(s, -EPIPE);
        else if (!s->on_data && !s->on_end && !c->collects)
            brood__stream_close(s, 0);
    }
    if (c->channel && !c->channel->on_message && !c->channel->on_disconnect)
        brood__channel_close(c->channel, 0);
}

void brood__child_exited(brood_child *c) {
    brood__child_become(c, BROOD__EXITED);
    if (brood__deadlines_stopping(&c->deadlines))
        c->exit.reason = c->deadlines.reason;
    brood__trace("exit", c->exit.pid, c->exit.signal ? -c->exit.signal : c->exit.code,
                 brood_reason_text(c->exit.reason));
    if (c->cancelled) {
        brood_failure why;
        brood__child_fail_cancelled(c, &why);
        brood__child_failed(c, &why);
        return;
    }
    if (brood__child_launch_report(c)) {
        brood__child_explain(c);
        return;
    }
    brood__child_launched(c);
    brood__deadlines_exited(&c->deadlines, brood__now_us());
    if (c->on_exit)
        c->on_exit(c, &c->exit, c->data);
    close_idle_streams(c);
    brood__child_update_busy(c);
    if (c->open_streams > 0)
        brood__child_update_timer(c);
    brood__child_tell_later(c);
}

/* Of its tree, after its own end. */
static void see_rest_end(brood_child *c) {
    short events;
    if (brood__owned_fd(&c->owned, &events) >= 0)
        return;
    brood__child_stop_watching(c);
    brood__child_tell_later(c);
}

/* Whether it can go on after that: it may be closed in the callback. */
static bool see_limit(brood_child *c) {
    brood_limit_hit hit;
    while (brood__owned_hit(&c->owned, &hit))
        if (c->on_limit && !c->closed)
            c->on_limit(c, &hit, c->data);
    if (brood__owned_is_late(&c->owned))
        brood__child_stop(c, BROOD_REASON_CPU_TIME);
    return c->watch.waiting;
}

/* After its exit: what is left of its tree, if anything is. */
static void watch_rest(brood_child *c) {
    short events;
    int fd = brood__owned_fd(&c->owned, &events);
    if (fd < 0 || c->orphan)
        brood__watch_stop(&c->watch);
    else if (fd != c->watch.fd)
        brood__watch_take_over(&c->watch, &c->nudge);
    brood__watch_stop(&c->nudge);
}

static void see_exit(brood_child *c) {
    brood__child_tell_spawn(c);
    if (!c->watch.waiting)
        return;
    if (c->launch)
        c->owned.process.rss_floor_kb = brood__peak_kb();
    bool ended = brood__owned_ended(&c->owned, &c->exit);
    if (!see_limit(c) && !ended)
        return;
    if (!ended) {
        see_rest_end(c);
        return;
    }
    if (brood__child_is_stillborn(c)) {
        brood__child_bear_again(c);
        return;
    }
    if (c->channel) /* whoever is told of the exit knows all that was said before */
        brood__channel_read_now(c->channel);
    if (!c->watch.waiting)
        return; /* closed meanwhile */
    watch_rest(c);
    if (!c->orphan) {
        brood__child_exited(c);
    } else {
        tell_orphan(c);
        brood__child_abandon(c);
    }
}

/* The program of a tree has ended: a holder that somebody has stopped is to tell so. */
void brood__child_nudge(brood__watch *watch) {
    brood_child *c = BROOD__OUTER(watch, brood_child, nudge);
    if (!brood__owned_nudge(&c->owned))
        brood__watch_stop(watch);
}

void brood__child_watch_ready(brood__watch *watch) {
    brood_child *c = BROOD__OUTER(watch, brood_child, watch);
    brood__child_pin(c);
    see_exit(c);
    brood__child_unpin(c);
}
