/*
 * Bringing a child to life: its memory from the options, its start on the loop's thread or on a starter's, and what a
 * start that fails leaves, which is nothing.
 */
#include "child/child.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/hooks.h"
#include "base/sys.h"
#include "own/guard_watch.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>

static int attach_streams(brood_child *c, brood__plan *plan) {
    brood_stream *s = c->streams;
    for (size_t i = 0; i < plan->slot_count; i++) {
        brood__plan_slot *slot = &plan->slots[i];
        if (slot->host_end < 0)
            continue;
        if (slot->from == BROOD__FROM_CHANNEL) {
            int r = c->channel->state < BROOD__CHANNEL_CLOSED ? brood__channel_attach(c->channel, slot->host_end) : 0;
            if (r < 0)
                return r;
            if (c->channel->watch.fd == slot->host_end)
                slot->host_end = -1;
            continue;
        }
        if (!s->closed) {
            c->open_streams++;
            int r = brood__stream_attach(s, slot->host_end);
            if (r < 0) {
                c->open_streams--;
                return r;
            }
            slot->host_end = -1;
        }
        s++;
    }
    return 0;
}

/* The program runs. On error it no longer does, and whatever was opened is closing. */
static int take_process(brood_child *c, brood__plan *plan, const brood__owned *owned, brood_failure *why) {
    c->owned = *owned;
    c->exit.pid = owned->process.pid;
    c->started_us = owned->process.started_us;
    short events;
    c->watch.fd = brood__owned_fd(owned, &events);
    c->nudge.fd = brood__owned_nudge_fd(owned, &events);
    c->nudge.events = events == POLLPRI ? EPOLLPRI : EPOLLIN;
    int r = brood__watch_start(&c->watch);
    if (r == 0 && c->nudge.fd >= 0)
        r = brood__watch_start(&c->nudge);
    if (r == 0 && !c->cancelled)
        r = attach_streams(c, plan);
    if (r < 0) {
        brood__child_stop_watching(c);
        for (size_t i = 0; i < c->stream_count; i++)
            brood__stream_close(&c->streams[i], r);
        brood__child_drop_channel(c);
        brood__owned_end_here(&c->owned); /* what cannot be watched must not run; SIGKILL is not long in coming */
        return brood__fail(why, r, BROOD_STEP_LOOP, NULL, NULL);
    }
    if (c->let_live)
        brood__owned_let_go(&c->owned);
    c->guarded = brood__owned_has_guard(&c->owned);
    if (c->guarded)
        brood__guard_watch(c->loop);
    brood__child_become(c, BROOD__RUNNING);
    brood__trace("spawn", owned->process.pid, 0, c->command);
    if (c->cancelled)
        brood__child_signal_all(c, SIGKILL);
    return 0;
}

void brood__start_job_free(brood__start_job *start) {
    brood__start_job_drop_room(start);
    brood__plan_done(&start->plan);
    brood__free(start);
}

void brood__child_begin_job(brood_child *c, brood__start_job *start, void (*work)(brood__job *),
                            void (*done)(brood__post *)) {
    start->job.work = work;
    start->job.done.run = done;
    c->job = start;
    brood__child_update_busy(c);
}

brood__start_job *brood__child_end_job(brood__post *post) {
    brood__start_job *start = BROOD__OUTER(post, brood__start_job, job.done);
    start->child->job = NULL;
    brood__child_update_busy(start->child);
    return start;
}

static void start_work(brood__job *job) {
    brood__start_job *start = BROOD__OUTER(job, brood__start_job, job);
    start->result = brood__owned_start(&start->owned, &start->plan, &start->failure);
    brood__child_keep(start);
}

static int take_start(brood_child *c, brood__start_job *start) {
    if (start->result < 0)
        return start->result;
    if (!start->kept.has_ended)
        return take_process(c, &start->plan, &start->owned, &start->failure);
    brood__child_take_ended(c, start);
    return 0;
}

/* `r`: what taking it came to. */
static void started(brood_child *c, brood__start_job *start, int r) {
    brood__child_pin(c);
    bool launching = r == 0 && start->plan.ahead && start->plan.ahead->under_way;
    if (launching)
        brood__child_launching(c, start);
    if (r < 0)
        brood__child_failed(c, &start->failure);
    else if (c->closed && !c->cancelled)
        brood__child_let_go(c);
    else if (!c->cancelled)
        brood__child_tell_spawn(c);
    if (launching)
        brood__child_hear_kept(c, start);
    else
        brood__start_job_free(start);
    brood__child_unpin(c);
}

static void start_done(brood__post *post) {
    brood__start_job *start = brood__child_end_job(post);
    started(start->child, start, take_start(start->child, start));
}

/* Answer from within uv_run, as if a starter had failed. */
static void fail_later(brood_child *c, int r) {
    c->job->result = r;
    brood__loop_later(c->loop, &c->job->job.done);
}

void brood__child_settle(brood_child *c) {
    brood__start_job *start = c->job;
    if (!start || !start->kept.most)
        return;
    if (!brood__keeper_recall(&start->job) && !brood__loop_take_back(c->loop, &start->job.done))
        return;
    int r = take_start(c, start);
    if (r < 0)
        fail_later(c, r);
    else
        started(c, brood__child_end_job(&start->job.done), r);
}

static void begin_start(brood_child *c, brood__start_job *start) {
    start->owned = c->owned;
    brood__child_begin_job(c, start, start_work, start_done);
}

static void submit(brood_child *c) {
    int r = brood__starters_submit(&c->job->job);
    if (r < 0)
        fail_later(c, brood__fail(&c->job->failure, r, BROOD_STEP_THREAD, NULL, NULL));
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
    start->job.loop = c->loop;
    brood__list_init(&start->job.done.node);
    start->plan = compiled->plan;
    compiled->plan = (brood__plan){0}; /* the job's now */
    brood__child_may_go_ahead(c, start);
    begin_start(c, start);
    if (refusal) {
        start->failure = *refusal;
        fail_later(c, refusal->code);
    } else if (c->abort && brood_abort_pulled(c->abort)) {
        brood__deadlines_stop(&c->deadlines, c->asked_us, BROOD_REASON_ABORTED);
        c->cancelled = true;
        fail_later(c, brood__child_fail_cancelled(c, &start->failure));
    } else {
        submit(c);
    }
    brood__child_update_timer(c);
    return 0;
}

/* What was started is as if it had never been. */
void brood__child_start_again(brood_child *c, brood__start_job *start) {
    brood__child_become(c, BROOD__STARTING);
    begin_start(c, start);
    if (brood__deadlines_stopping(&c->deadlines)) {
        c->cancelled = true;
        fail_later(c, brood__child_fail_cancelled(c, &start->failure));
    } else {
        submit(c);
    }
}

static int start_on_loop(brood_child *c, brood__compiled *compiled, brood_failure *why) {
    brood__owned owned = BROOD__OWNED_NONE(compiled->reach);
    int r = brood__owned_start(&owned, &compiled->plan, why);
    if (r == 0)
        r = take_process(c, &compiled->plan, &owned, why);
    if (r < 0)
        return r;
    if (c->on_spawn)
        brood__child_tell_later(c);
    brood__child_update_timer(c);
    return 0;
}

static size_t count_pipes(const brood__plan *plan) {
    size_t n = 0;
    for (size_t i = 0; i < plan->slot_count; i++)
        n += brood__plan_slot_is_pipe(&plan->slots[i]);
    return n;
}

static int init_streams(brood_child *c, const brood__compiled *compiled) {
    for (size_t i = 0; i < compiled->plan.slot_count; i++) {
        const brood__plan_slot *slot = &compiled->plan.slots[i];
        const brood_stdio *io = compiled->ios[i];
        if (!brood__plan_slot_is_pipe(slot))
            continue;
        brood_stream *s = &c->streams[c->stream_count++];
        bool writes = slot->from == BROOD__FROM_PIPE_IN;
        brood__stream_init(s, c->loop, slot->slot, writes, io, c->data, &brood__child_stream_owner, c);
        s->paused = !writes && !io->on_data && !io->on_end && !c->collects;
        int r = io->input ? brood__stream_preload(s, io->input, brood__input_length(io)) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static void init_child(brood_child *c, const brood_options *o, brood__form form, const brood__compiled *compiled) {
    c->asked_us = brood__now_us();
    c->watch = (brood__watch){.loop = c->loop, .ready = brood__child_watch_ready, .fd = -1, .events = EPOLLIN};
    c->nudge =
        (brood__watch){.loop = c->loop, .ready = brood__child_nudge, .fd = -1, .events = EPOLLIN, .unreffed = true};
    c->owned = BROOD__OWNED_NONE(compiled->reach);
    c->let_live = compiled->reach == BROOD_OWN_NONE;
    c->exit.code = -1;
    c->kill_signal = brood__options_kill_signal(o);
    c->timeout_ms = o->timeout_ms;
    brood__options_deadlines(o, form, c->asked_us, &c->deadlines);
    c->on_spawn = o->on_spawn;
    c->on_error = o->on_error;
    c->on_exit = o->on_exit;
    c->on_close = o->on_close;
    c->on_empty = o->on_empty;
    c->on_limit = o->on_limit;
    c->limits = o->limits;
    c->data = o->data;
    c->spawn_untold = o->on_spawn != NULL;
    c->collects = form == BROOD__EXEC;
    brood__collector_init(&c->collector, o->max_buffer);
    c->later.run = brood__child_tell;
    brood__list_init(&c->later.node);
    brood__list_init(&c->abort_listener.node);
    c->abort_listener.pulled = brood__child_aborted;
    c->abort = brood__abort_hold(o->abort);
}

/* A start that failed before it was told of: no callback may come, whatever is still closing. */
static void forget(brood_child *c) {
    c->on_spawn = NULL, c->on_error = NULL, c->on_exit = NULL, c->on_close = NULL, c->on_empty = NULL,
    c->on_result = NULL;
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_silence(&c->streams[i]);
    if (c->channel)
        brood__channel_silence(c->channel, true);
    brood__child_close_streams(c);
    brood__list_remove(&c->later.node);
    brood__child_dispose(c);
    brood__child_free_if_unused(c);
}

static int new_child(brood__loop *loop, const brood_options *o, brood__form form, const brood__compiled *compiled,
                     brood_child **ret_child) {
    size_t size = sizeof(brood_child) + count_pipes(&compiled->plan) * sizeof(brood_stream);
    brood_child *c = brood__alloc(size);
    if (!c)
        return -ENOMEM;
    c->loop = brood__loop_hold(loop);
    brood__loop_add_part(loop, &c->part, c, size, brood__child_end);
    init_child(c, o, form, compiled);
    int r = brood__loop_activate(loop);
    c->active = r == 0;
    c->command = brood__command_text(compiled->words);
    if (r == 0)
        r = c->command ? init_streams(c, compiled) : -ENOMEM;
    if (r == 0 && form == BROOD__FORK)
        r = brood__child_init_channel(c, o);
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
        return brood__fail(why, r, r == -ENOMEM ? BROOD_STEP_MEMORY : BROOD_STEP_LOOP, NULL, NULL);
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
    if (refused < 0 && (form != BROOD__EXEC || refused == -ENOMEM)) {
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
