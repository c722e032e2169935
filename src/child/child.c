/*
 * The life of a child on a loop: started, watched, stopped, closed. Everything that libuv calls ends in one of a few
 * functions here: `started`, `exited`, `cut_output`, `finish`, `dispose`. The user may close the child, or end the
 * whole loop, within any callback; so a callback is made with the memory pinned, and nothing is assumed after it.
 */
#include "child/child.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/hooks.h"
#include "base/sys.h"
#include "process/exit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

static void update_timer(brood_child *c);
static void see_exit(brood_child *c);
static void finish_if_done(brood_child *c);
static void dispose(brood_child *c);

static void become(brood_child *c, brood__child_state state) {
    c->state = state;
}

/* --- memory --- */

static void free_if_unused(brood_child *c) {
    if (c->state < BROOD__ENDED || c->handles > 0 || c->open_streams > 0 || c->job ||
        !brood__list_empty(&c->later.node))
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
    brood__free(c);
    brood__loop_release(loop);
}

static void pin(brood_child *c) {
    c->pins++;
}

static void unpin(brood_child *c) {
    c->pins--;
    free_if_unused(c);
}

/* Whether the loop stays alive for it although none of its handles says so: while it is being started. */
static void update_busy(brood_child *c) {
    bool busy = c->job && !c->unreffed;
    if (busy != c->busy)
        brood__loop_busy(c->loop, busy ? 1 : -1);
    c->busy = busy;
}

/* --- telling the user --- */

static void tell_spawn(brood_child *c) {
    if (!c->spawn_untold)
        return;
    c->spawn_untold = false;
    brood__list_remove(&c->later.node);
    if (c->on_spawn)
        c->on_spawn(c, c->data);
}

static void tell_spawn_later(brood__post *post) {
    brood_child *c = BROOD__OUTER(post, brood_child, later);
    pin(c);
    tell_spawn(c);
    unpin(c);
}

/* --- stopping --- */

static void signal_all(brood_child *c, int signal) {
    brood__trace("signal", c->owned.process.pid, signal, NULL);
    brood__owned_signal_all(&c->owned, signal);
}

/* A stopped process takes a signal only once it goes on. */
static void send_stop(brood_child *c) {
    brood__trace("stop", c->owned.process.pid, 0, brood_reason_text(c->deadlines.reason));
    signal_all(c, c->kill_signal);
    if (c->kill_signal != SIGKILL)
        signal_all(c, SIGCONT);
}

/* Why there is no process, where it was stopped before it was told to run. */
static int fail_cancelled(const brood_child *c, brood_failure *ret_why) {
    if (c->deadlines.reason == BROOD_REASON_TIMED_OUT || c->deadlines.reason == BROOD_REASON_IDLE)
        return brood__fail(ret_why, -ETIMEDOUT, BROOD_STEP_ABORTED, NULL, "its time was over before it was started");
    return brood__fail(ret_why, -ECANCELED, BROOD_STEP_ABORTED, NULL, "the start was cancelled");
}

/* Before it runs: take the start back, or let it come and be killed at once. */
static void cancel_start(brood_child *c) {
    if (c->cancelled)
        return;
    c->cancelled = true;
    c->spawn_untold = false;
    brood__start_job *job = c->job;
    if (brood__starters_cancel(&job->job)) {
        job->result = fail_cancelled(c, &job->failure);
        brood__loop_later(c->loop, &job->job.done);
    }
}

static void stop(brood_child *c, brood_reason reason) {
    bool never = c->state >= BROOD__ENDED || (c->let_live && c->state != BROOD__STARTING);
    if (never || !brood__deadlines_stop(&c->deadlines, brood__now_us(), reason))
        return;
    if (c->state == BROOD__STARTING)
        cancel_start(c);
    else
        send_stop(c);
    update_timer(c);
}

static void aborted(brood__abort_listener *listener) {
    stop(BROOD__OUTER(listener, brood_child, abort_listener), BROOD_REASON_ABORTED);
}

/* --- streams --- */

static void stream_data(brood_stream *s, const char *bytes, size_t len) {
    brood_child *c = s->owner_data;
    pin(c);
    tell_spawn(c);
    brood__deadlines_activity(&c->deadlines, brood__now_us());
    if (c->collects) {
        int r = brood__collector_add(&c->collector, s->slot, bytes, len);
        if (r != 0)
            stop(c, r > 0 ? BROOD_REASON_OUTPUT_LIMIT : BROOD_REASON_OUT_OF_MEMORY);
    }
    if (s->on_data)
        s->on_data(s, bytes, len, s->data);
    unpin(c);
}

static void stream_end(brood_stream *s, int error) {
    brood_child *c = s->owner_data;
    pin(c);
    tell_spawn(c);
    if (s->on_end)
        s->on_end(s, error, s->data);
    unpin(c);
}

static void stream_closed(brood_stream *s) {
    brood_child *c = s->owner_data;
    pin(c);
    c->open_streams--;
    finish_if_done(c);
    unpin(c);
}

static const brood__stream_owner stream_owner = {
    .on_data = stream_data,
    .on_end = stream_end,
    .on_closed = stream_closed,
};

/* The wait for output is over, whoever still holds the pipes. */
static void cut_output(brood_child *c) {
    pin(c);
    for (size_t i = 0; i < c->stream_count; i++) {
        brood_stream *s = &c->streams[i];
        if (!brood__stream_is_open(s))
            continue;
        if (!c->cut)
            c->cut_pid = brood__pipe_holder(s->fd);
        c->cut = true;
        if (!s->writes)
            stream_end(s, -ETIMEDOUT);
        brood__stream_close(s, -ECANCELED);
    }
    unpin(c);
}

/* --- time --- */

static void timer_closed(uv_handle_t *timer) {
    brood_child *c = timer->data;
    c->handles--;
    free_if_unused(c);
}

static void close_timer(brood_child *c) {
    if (!c->timer_open)
        return;
    c->timer_open = false;
    uv_close((uv_handle_t *)&c->timer, timer_closed);
}

static void act_on(brood_child *c, brood__due due) {
    switch (due) {
    case BROOD__DUE_STOP:
        if (c->state == BROOD__STARTING)
            cancel_start(c);
        else
            send_stop(c);
        break;
    case BROOD__DUE_KILL:
        if (c->state != BROOD__STARTING)
            signal_all(c, SIGKILL);
        break;
    case BROOD__DUE_CHECK:
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
 * A loop that was held up elsewhere runs its timers before it looks at its descriptors: what the child wrote, or that it
 * ended, in time must not count as late.
 */
static void catch_up(brood_child *c) {
    if (c->state == BROOD__STARTING || brood__deadlines_next(&c->deadlines) > brood__now_us())
        return;
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_read_now(&c->streams[i]);
    if (c->state == BROOD__RUNNING)
        see_exit(c);
}

static void time_passed(uv_timer_t *timer) {
    brood_child *c = timer->data;
    brood__loop *loop = c->loop;
    brood__loop_enter(loop);
    pin(c);
    catch_up(c);
    brood__due due;
    while (c->state < BROOD__ENDED &&
           (due = brood__deadlines_due(&c->deadlines, brood__now_us())) != BROOD__DUE_NOTHING)
        act_on(c, due);
    update_timer(c);
    unpin(c);
    brood__loop_leave(loop);
}

/*
 * One timer, at the next deadline. When output moves the deadline the timer stays, finds nothing due, and is set again.
 */
static void update_timer(brood_child *c) {
    uint64_t next = c->state < BROOD__ENDED ? brood__deadlines_next(&c->deadlines) : BROOD__NEVER;
    if (next == BROOD__NEVER) {
        if (c->timer_open)
            uv_timer_stop(&c->timer);
        return;
    }
    if (!c->timer_open) {
        uv_timer_init(c->loop->uv, &c->timer);
        c->timer.data = c;
        c->timer_open = true;
        c->handles++;
        if (c->unreffed)
            uv_unref((uv_handle_t *)&c->timer);
    }
    uv_update_time(c->loop->uv);
    uv_timer_start(&c->timer, time_passed, brood__ms_until(brood__now_us(), next), 0);
}

/* --- the end --- */

static void make_result(brood_child *c) {
    c->result = brood__alloc(sizeof *c->result);
    if (!c->result)
        return;
    brood__result_make(
        &(brood__ending){
            .exit = c->exit,
            .command = c->command,
            .failure = c->failure,
            .collector = c->collects ? &c->collector : NULL,
            .cut = c->cut,
            .cut_pid = c->cut_pid,
            .asked_us = c->asked_us,
            .started_us = c->started_us,
            .now_us = c->ended_us,
            .timeout_ms = c->timeout_ms,
            .idle_timeout_ms = c->deadlines.idle_ms,
        },
        c->result);
}

static void tell_result(brood_child *c) {
    if (!c->on_result)
        return;
    make_result(c);
    brood_result none = {.exit = c->exit,
                         .out = {.bytes = ""},
                         .err = {.bytes = ""},
                         .command = "",
                         .message = "there is no memory for this result",
                         .error_name = "ENOMEM"};
    c->on_result(c->result ? c->result : &none, c->result_data);
}

/* The last event. */
static void finish(brood_child *c) {
    pin(c);
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_flush_reports(&c->streams[i]);
    if (!c->orphan) {
        become(c, BROOD__ENDED);
        brood__trace("close", c->exit.pid, 0, NULL);
        c->ended_us = brood__now_us();
        brood__owned_done(&c->owned);
        tell_result(c);
        if (c->on_close)
            c->on_close(c, &c->exit, c->data);
    }
    if (c->closed || c->self_closing || c->orphan)
        dispose(c);
    unpin(c);
}

/* All that a stopped child owned must be gone, or killed, before the last event is told. */
static bool owned_is_gone(brood_child *c) {
    if (!brood__deadlines_stopping(&c->deadlines) || c->let_live ||
        brood__owned_settle(&c->owned, &c->deadlines, brood__now_us()))
        return true;
    update_timer(c);
    return false;
}

static void finish_if_done(brood_child *c) {
    if (c->state != BROOD__EXITED || c->open_streams > 0 || c->watch_open || !owned_is_gone(c))
        return;
    brood__abort_unlisten(&c->abort_listener);
    close_timer(c);
    finish(c);
}

/* Give up the memory, as soon as libuv has. */
static void dispose(brood_child *c) {
    if (c->state == BROOD__GONE)
        return;
    become(c, BROOD__GONE);
    brood__abort_unlisten(&c->abort_listener);
    close_timer(c);
    brood__owned_done(&c->owned);
}

/* --- exit --- */

static void watch_closed(uv_handle_t *watch) {
    brood_child *c = watch->data;
    brood__loop *loop = c->loop;
    brood__loop_enter(loop);
    pin(c);
    c->handles--;
    c->watch_open = false;
    finish_if_done(c);
    unpin(c);
    brood__loop_leave(loop);
}

static void close_watch(brood_child *c) {
    if (c->watch_open && !uv_is_closing((uv_handle_t *)&c->watch))
        uv_close((uv_handle_t *)&c->watch, watch_closed);
}

static void failed(brood_child *c, const brood_failure *why);
static void tell_orphan(brood__post *post);

/* After the exit: nobody reads what we write any more, and what nobody reads of it is not waited for. */
static void close_idle_streams(brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++) {
        brood_stream *s = &c->streams[i];
        if (s->writes)
            brood__stream_close(s, -EPIPE);
        else if (!s->on_data && !c->collects)
            brood__stream_close(s, 0);
    }
}

static void exited(brood_child *c) {
    become(c, BROOD__EXITED);
    if (brood__deadlines_stopping(&c->deadlines))
        c->exit.reason = c->deadlines.reason;
    brood__trace("exit", c->exit.pid, c->exit.signal ? -c->exit.signal : c->exit.code,
                 brood_reason_text(c->exit.reason));
    if (c->cancelled) {
        brood_failure why;
        fail_cancelled(c, &why);
        failed(c, &why);
        return;
    }
    brood__deadlines_exited(&c->deadlines, brood__now_us());
    if (c->on_exit)
        c->on_exit(c, &c->exit, c->data);
    close_idle_streams(c);
    update_timer(c);
}

static void see_exit(brood_child *c) {
    tell_spawn(c);
    if (!c->watch_open || uv_is_closing((uv_handle_t *)&c->watch) || !brood__owned_ended(&c->owned, &c->exit))
        return;
    close_watch(c);
    if (!c->orphan) {
        exited(c);
    } else {
        tell_orphan(&c->later);
        finish(c);
    }
}

static void watch_ready(uv_poll_t *watch, int status, int events) {
    brood_child *c = watch->data;
    brood__loop *loop = c->loop;
    (void)status, (void)events;
    brood__loop_enter(loop);
    pin(c);
    see_exit(c);
    unpin(c);
    brood__loop_leave(loop);
}

/* --- start --- */

static int watch(brood_child *c) {
    int r = brood__fault("uv_poll_init", ENOMEM);
    if (r == 0)
        r = uv_poll_init(c->loop->uv, &c->watch, c->owned.process.pidfd);
    if (r < 0)
        return r;
    c->watch.data = c;
    c->watch_open = true;
    c->handles++;
    if (c->unreffed)
        uv_unref((uv_handle_t *)&c->watch);
    uv_poll_start(&c->watch, UV_READABLE, watch_ready);
    return 0;
}

static int attach_streams(brood_child *c, brood__plan *plan) {
    brood_stream *s = c->streams;
    for (size_t i = 0; i < plan->slot_count; i++) {
        brood__plan_slot *slot = &plan->slots[i];
        if (slot->host_end < 0)
            continue;
        if (!s->closed) {
            int r = brood__stream_attach(s, slot->host_end);
            if (r < 0)
                return r;
            slot->host_end = -1;
            c->open_streams++;
        }
        s++;
    }
    return 0;
}

/* It runs, but cannot be watched: it must not run unwatched. SIGKILL is not long in coming, so wait for it here. */
static void end_unwatched(brood_child *c) {
    struct pollfd ended = {.fd = c->owned.process.pidfd, .events = POLLIN};
    brood__owned_signal_all(&c->owned, SIGKILL);
    while (poll(&ended, 1, -1) < 0 && errno == EINTR)
        ;
    brood__owned_ended(&c->owned, &c->exit);
    brood__owned_done(&c->owned);
}

/* The program runs. On error it no longer does, and whatever was opened is closing. */
static int take_process(brood_child *c, brood__plan *plan, const brood__process *process, brood_failure *why) {
    c->owned.process = *process;
    c->exit.pid = process->pid;
    c->started_us = process->started_us;
    int r = watch(c);
    if (r == 0 && !c->cancelled) {
        r = attach_streams(c, plan);
        if (r < 0)
            close_watch(c);
    }
    if (r < 0) {
        for (size_t i = 0; i < c->stream_count; i++)
            brood__stream_close(&c->streams[i], r);
        end_unwatched(c);
        return brood__fail(why, r, BROOD_STEP_LOOP, NULL, NULL);
    }
    become(c, BROOD__RUNNING);
    brood__trace("spawn", process->pid, 0, c->command);
    if (c->cancelled)
        signal_all(c, SIGKILL);
    return 0;
}

/* All of them, at once where libuv knows nothing of them yet. */
static void close_streams(brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++) {
        brood__stream_close(&c->streams[i], -ECANCELED);
        if (!c->streams[i].attached)
            brood__stream_flush_reports(&c->streams[i]);
    }
}

/* There is no process, or there never should have been. Told from within uv_run. */
static void failed(brood_child *c, const brood_failure *why) {
    pin(c);
    c->exit = (brood_exit){.code = -1, .reason = BROOD_REASON_NOT_STARTED};
    become(c, BROOD__EXITED);
    c->deadlines.reason = BROOD_REASON_UNKNOWN; /* there is nothing left to stop */
    c->failure = brood__alloc(sizeof *c->failure);
    if (c->failure)
        *c->failure = *why;
    close_streams(c);
    if (c->on_error && !c->closed)
        c->on_error(c, why, c->data);
    finish_if_done(c);
    unpin(c);
}

static void start_work(brood__job *job) {
    brood__start_job *start = BROOD__OUTER(job, brood__start_job, job);
    start->result = brood__start(&start->plan, &start->process, &start->failure);
}

static void start_done(brood__post *post) {
    brood__start_job *start = BROOD__OUTER(post, brood__start_job, job.done);
    brood_child *c = start->child;
    pin(c);
    c->job = NULL;
    update_busy(c);
    int r = start->result;
    if (r == 0)
        r = take_process(c, &start->plan, &start->process, &start->failure);
    if (r < 0)
        failed(c, &start->failure);
    else if (!c->cancelled)
        tell_spawn(c);
    brood__plan_done(&start->plan);
    brood__free(start);
    unpin(c);
}

/* Answer from within uv_run, as if a starter had failed. */
static void fail_later(brood_child *c, int r) {
    c->job->result = r;
    brood__loop_later(c->loop, &c->job->job.done);
}

/*
 * Hand the start to a starter thread. The exec forms answer in one place, on_result: so what is known to fail already,
 * `refusal` or a pulled abort, goes there too.
 */
static int start_off_loop(brood_child *c, brood__compiled *compiled, const brood_failure *refusal, brood_failure *why) {
    brood__start_job *start = brood__alloc(sizeof *start);
    if (!start)
        return brood__fail(why, -ENOMEM, BROOD_STEP_MEMORY, NULL, NULL);
    start->child = c;
    start->job.work = start_work;
    start->job.loop = c->loop;
    start->job.done.run = start_done;
    brood__list_init(&start->job.done.node);
    start->plan = compiled->plan;
    compiled->plan = (brood__plan){0}; /* the job's now */
    c->job = start;
    update_busy(c);
    if (refusal) {
        start->failure = *refusal;
        fail_later(c, refusal->code);
    } else if (c->abort && brood_abort_pulled(c->abort)) {
        brood__deadlines_stop(&c->deadlines, c->asked_us, BROOD_REASON_ABORTED);
        c->cancelled = true;
        fail_later(c, fail_cancelled(c, &start->failure));
    } else {
        int r = brood__starters_submit(&start->job);
        if (r < 0)
            fail_later(c, brood__fail(&start->failure, r, BROOD_STEP_THREAD, NULL, NULL));
    }
    update_timer(c);
    return 0;
}

static int start_on_loop(brood_child *c, brood__compiled *compiled, brood_failure *why) {
    brood__process process;
    int r = brood__start(&compiled->plan, &process, why);
    if (r == 0)
        r = take_process(c, &compiled->plan, &process, why);
    if (r < 0)
        return r;
    if (c->on_spawn)
        brood__loop_later(c->loop, &c->later);
    update_timer(c);
    return 0;
}

static size_t count_pipes(const brood__plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->slot_count; i++)
        n += plan->slots[i].from == BROOD__FROM_PIPE_IN || plan->slots[i].from == BROOD__FROM_PIPE_OUT;
    return n;
}

static int init_streams(brood_child *c, const brood__compiled *compiled) {
    for (size_t i = 0; i < compiled->plan.slot_count; i++) {
        const brood__plan_slot *slot = &compiled->plan.slots[i];
        const brood_stdio *io = compiled->ios[i];
        if (slot->from != BROOD__FROM_PIPE_IN && slot->from != BROOD__FROM_PIPE_OUT)
            continue;
        brood_stream *s = &c->streams[c->stream_count++];
        bool writes = slot->from == BROOD__FROM_PIPE_IN;
        brood__stream_init(s, c->loop, slot->slot, writes, io, c->data, &stream_owner, c);
        s->paused = !writes && !io->on_data && !c->collects;
        int r = io->input ? brood__stream_preload(s, io->input,
                                                  io->input_len == BROOD_NUL ? strlen(io->input) : io->input_len)
                          : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static void child_end(brood__loop_part *part);

static void init_child(brood_child *c, const brood_options *o, brood__form form, const brood__compiled *compiled) {
    c->asked_us = brood__now_us();
    c->owned = (brood__owned){.process = BROOD__PROCESS_NONE, .reach = compiled->reach};
    c->let_live = compiled->reach == BROOD_OWN_NONE;
    c->exit.code = -1;
    c->kill_signal = brood__options_kill_signal(o);
    c->timeout_ms = o->timeout_ms;
    brood__options_deadlines(o, form, c->asked_us, &c->deadlines);
    c->on_spawn = o->on_spawn;
    c->on_error = o->on_error;
    c->on_exit = o->on_exit;
    c->on_close = o->on_close;
    c->data = o->data;
    c->spawn_untold = o->on_spawn != NULL;
    c->collects = form == BROOD__EXEC;
    brood__collector_init(&c->collector, o->max_buffer);
    c->later.run = tell_spawn_later;
    brood__list_init(&c->later.node);
    brood__list_init(&c->abort_listener.node);
    c->abort_listener.pulled = aborted;
    c->abort = brood__abort_hold(o->abort);
}

/* A start that failed before it was told of: no callback may come, whatever is still closing. */
static void forget(brood_child *c) {
    c->on_spawn = NULL, c->on_error = NULL, c->on_exit = NULL, c->on_close = NULL, c->on_result = NULL;
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_silence(&c->streams[i]);
    close_streams(c);
    dispose(c);
    free_if_unused(c);
}

static int new_child(brood__loop *loop, const brood_options *o, brood__form form, const brood__compiled *compiled,
                     brood_child **ret_child) {
    size_t size = sizeof(brood_child) + count_pipes(&compiled->plan) * sizeof(brood_stream);
    brood_child *c = brood__alloc(size);
    if (!c)
        return -ENOMEM;
    c->loop = brood__loop_hold(loop);
    brood__loop_add_part(loop, &c->part, c, size, child_end);
    init_child(c, o, form, compiled);
    int r = brood__loop_activate(loop);
    c->active = r == 0;
    c->command = brood__command_text(compiled->words);
    if (r == 0)
        r = c->command ? init_streams(c, compiled) : -ENOMEM;
    if (r == 0 && c->abort)
        r = brood__abort_listen(loop, c->abort, &c->abort_listener);
    if (r < 0) {
        forget(c);
        return r;
    }
    *ret_child = c;
    return 0;
}

static int spawn_on(brood__loop *loop, const brood_options *o, brood__form form, brood__compiled *compiled,
                    const brood_failure *refusal, brood_on_result on_result, void *result_data, brood_child **ret_child,
                    brood_failure *why) {
    brood_child *c = NULL;
    bool off_loop = o->offload || compiled->credentials || form == BROOD__EXEC;
    if (!off_loop && o->abort && brood_abort_pulled(o->abort))
        return brood__fail(why, -ECANCELED, BROOD_STEP_ABORTED, NULL, "its abort was pulled before it was started");
    int r = new_child(loop, o, form, compiled, &c);
    if (r < 0)
        return brood__fail(why, r, BROOD_STEP_MEMORY, NULL, NULL);
    c->on_result = on_result;
    c->result_data = result_data;
    c->self_closing = ret_child == NULL;
    brood__trace("start", 0, 0, c->command);
    r = off_loop ? start_off_loop(c, compiled, refusal, why) : start_on_loop(c, compiled, why);
    if (r < 0) {
        forget(c);
        return r;
    }
    if (ret_child)
        *ret_child = c;
    return 0;
}

/* What an exec that was refused has instead of a plan: its words, for the result. */
static brood__compiled nothing_compiled(const brood_options *o, const char *command) {
    static const char *const nothing[] = {"(no command)", NULL};
    brood__compiled compiled = {.words = nothing, .reach = BROOD_OWN_CHILD};
    if (!command && o->args && o->args[0])
        compiled.words = o->args;
    return compiled;
}

int brood__child_spawn(uv_loop_t *uv, const brood_options *o, brood__form form, const char *command,
                       brood_on_result on_result, void *result_data, brood_child **ret_child, brood_failure *why) {
    brood__compiled compiled;
    brood__loop *loop;
    brood_failure refusal;
    int refused = brood__options_compile(o, form, command, o->offload || form == BROOD__EXEC, &compiled, &refusal);
    if (refused < 0 && (form == BROOD__SPAWN || refused == -ENOMEM)) {
        if (why)
            *why = refusal;
        return refused;
    }
    if (refused < 0)
        compiled = nothing_compiled(o, command);
    int r = brood__loop_get(uv, &loop);
    if (r < 0) {
        brood__plan_done(&compiled.plan);
        return brood__fail(why, r, BROOD_STEP_LOOP, NULL, r == -EBUSY ? "the loop is being closed" : NULL);
    }
    r = spawn_on(loop, o, form, &compiled, refused < 0 ? &refusal : NULL, on_result, result_data, ret_child, why);
    brood__plan_done(&compiled.plan);
    brood__loop_release(loop);
    return r;
}

int brood_spawn_sized(uv_loop_t *uv, const brood_options *options, size_t size, brood_child **ret_child,
                      brood_failure *ret_failure) {
    brood_options o;
    if (!uv || !options)
        return brood__fail(ret_failure, -EINVAL, BROOD_STEP_OPTIONS, NULL, "a loop and options are needed");
    int r = brood__options_copy(options, size, &o, ret_failure);
    return r < 0 ? r : brood__child_spawn(uv, &o, BROOD__SPAWN, NULL, NULL, NULL, ret_child, ret_failure);
}

/* --- what the user asks --- */

pid_t brood_child_pid(const brood_child *c) {
    return c->owned.process.pid ? c->owned.process.pid : c->exit.pid;
}

const brood_exit *brood_child_exit(const brood_child *c) {
    return c->state >= BROOD__EXITED ? &c->exit : NULL;
}

void *brood_child_data(const brood_child *c) {
    return c->data;
}

brood_stream *brood_child_stream(brood_child *c, int slot) {
    for (size_t i = 0; i < c->stream_count; i++)
        if (c->streams[i].slot == slot)
            return &c->streams[i];
    return NULL;
}

brood_child *brood_stream_child(const brood_stream *s) {
    return s->owner_data;
}

static int send_signal(brood_child *c, int signal, int (*send)(brood__owned *, int)) {
    if (signal != 0 && !brood_signal_name(signal))
        return -EINVAL;
    if (c->state == BROOD__STARTING) {
        if (signal != 0)
            cancel_start(c);
        return 0;
    }
    if (c->state >= BROOD__ENDED)
        return -ESRCH;
    if (signal != 0)
        brood__trace("signal", c->owned.process.pid, signal, NULL);
    return send(&c->owned, signal);
}

int brood_child_kill(brood_child *c, int signal) {
    return send_signal(c, signal, brood__owned_signal);
}

int brood_child_kill_owned(brood_child *c, int signal) {
    return send_signal(c, signal, brood__owned_signal_all);
}

void brood_child_stop(brood_child *c) {
    stop(c, BROOD_REASON_ABORTED);
}

static void set_ref(brood_child *c, bool ref) {
    c->unreffed = !ref;
    uv_handle_t *handles[] = {c->watch_open ? (uv_handle_t *)&c->watch : NULL,
                              c->timer_open ? (uv_handle_t *)&c->timer : NULL};
    for (size_t i = 0; i < 2; i++)
        if (handles[i] && ref)
            uv_ref(handles[i]);
        else if (handles[i])
            uv_unref(handles[i]);
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_set_ref(&c->streams[i], ref);
    update_busy(c);
}

void brood_child_ref(brood_child *c) {
    set_ref(c, true);
}

void brood_child_unref(brood_child *c) {
    set_ref(c, false);
}

void brood_child_detach(brood_child *c) {
    c->let_live = true;
    brood__deadlines_let_live(&c->deadlines);
    brood__abort_unlisten(&c->abort_listener);
    update_timer(c);
}

/* An orphan is not even waited for any more. */
static void abandon(brood_child *c) {
    if (c->state == BROOD__GONE)
        return;
    close_watch(c);
    dispose(c);
}

/* on_close of a child that is closed and lives on. Its process is waited for all the same, so that no zombie stays. */
static void tell_orphan(brood__post *post) {
    brood_child *c = BROOD__OUTER(post, brood_child, later);
    brood__list_remove(&post->node);
    if (c->orphan_told)
        return;
    c->orphan_told = true;
    brood__loop_busy(c->loop, -1);
    pin(c);
    if (c->on_close)
        c->on_close(c, &c->exit, c->data);
    if (c->loop->ending)
        abandon(c);
    unpin(c);
}

static void let_go(brood_child *c) {
    c->orphan = true;
    close_timer(c);
    set_ref(c, false);
    brood__loop_busy(c->loop, 1); /* until on_close is told */
    c->later.run = tell_orphan;
    brood__list_remove(&c->later.node);
    brood__loop_later(c->loop, &c->later);
}

void brood_child_close(brood_child *c) {
    if (!c || c->closed)
        return;
    pin(c);
    c->closed = true;
    c->spawn_untold = false;
    c->on_spawn = NULL, c->on_error = NULL, c->on_exit = NULL, c->on_result = NULL;
    for (size_t i = 0; i < c->stream_count; i++) {
        brood__stream_silence(&c->streams[i]);
        brood__stream_close(&c->streams[i], -ECANCELED);
    }
    if (c->state == BROOD__ENDED)
        dispose(c);
    else if (c->let_live && c->state == BROOD__RUNNING)
        let_go(c);
    else if (c->state != BROOD__EXITED)
        stop(c, BROOD_REASON_ABORTED);
    unpin(c);
}

/* The loop is being ended. An orphan is left to itself. */
static void child_end(brood__loop_part *part) {
    brood_child *c = BROOD__OUTER(part, brood_child, part);
    if (!c->closed)
        brood_child_close(c);
    else if (c->orphan && c->orphan_told)
        abandon(c);
}

int brood_await_sized(brood_child *c, brood_result *ret_result, size_t size) {
    if (c->loop->depth > 0)
        return -EDEADLK;
    pin(c);
    bool unreffed = c->unreffed;
    set_ref(c, true);
    while (c->state < BROOD__ENDED)
        uv_run(c->loop->uv, UV_RUN_ONCE);
    while (c->active || c->loop->closing > 0) /* so that the loop can be closed as soon as the child is */
        uv_run(c->loop->uv, UV_RUN_NOWAIT);
    if (unreffed)
        set_ref(c, false);
    int r = c->failure ? c->failure->code : 0;
    if (ret_result) {
        brood_result result = {
            .exit = c->exit, .out = {.bytes = ""}, .err = {.bytes = ""}, .command = "", .message = ""};
        if (!c->result)
            make_result(c);
        if (c->result)
            brood_result_take_sized(c->result, &result, sizeof result);
        brood__result_give(&result, ret_result, size);
    }
    unpin(c);
    return r;
}
