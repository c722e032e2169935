/*
 * The sync forms: the same plan, start, deadlines and results as on a loop, driven by poll(2). No loop, no thread, no
 * state outside this call, so any thread may be in here, also in a process that was forked from a host with loops.
 */
#include "child/options.h"
#include "child/result.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/memory.h"
#include "base/sys.h"
#include "own/abort.h"
#include "own/deadlines.h"
#include "own/owned.h"
#include "process/exit.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>

#define READ_SIZE 65536

/*
 * One run: what is polled stands in `polls`, first the process, then the abort, then the slots' pipes in the plan's
 * order.
 */
typedef struct run {
    const brood_options *options;
    brood__compiled compiled;
    brood__owned owned;
    brood__deadlines deadlines;
    brood__collector collector;
    brood__ending ending;
    struct pollfd *polls;
    size_t *written; /* of each slot's input */
    char *buffer;
    int kill_signal;
    bool nudged;
} run;

enum { POLL_PROCESS, POLL_NUDGE, POLL_ABORT, POLL_SLOTS };

static int refuse_callbacks(const brood_options *o, brood_failure *why) {
    bool any = o->on_spawn || o->on_error || o->on_exit || o->on_close || o->on_empty || o->on_limit || o->offload;
    const brood_stdio *io[] = {&o->in, &o->out, &o->err};
    for (size_t i = 0; i < 3 + o->slot_count; i++) {
        const brood_stdio *slot = i < 3 ? io[i] : o->slots ? &o->slots[i - 3].io : NULL;
        any = any || (slot && (slot->on_data || slot->on_end || slot->on_drain));
    }
    return any ? brood__fail(why, -EINVAL, BROOD_STEP_OPTIONS, NULL,
                             "the sync forms make no callbacks and have no loop to start off")
               : 0;
}

/* --- stopping --- */

static bool pipes_open(const run *r) {
    for (size_t i = 0; i < r->compiled.plan.slot_count; i++)
        if (r->compiled.plan.slots[i].host_end >= 0)
            return true;
    return false;
}

/* It has ended: only what it wrote is still open. */
static void see_what_is_cut(run *r) {
    for (size_t i = 0; i < r->compiled.plan.slot_count; i++)
        if (r->compiled.plan.slots[i].host_end >= 0)
            brood__cut_by_stop(&r->ending.cut, r->compiled.plan.slots[i].host_end, r->deadlines.reason);
}

static void send_stop(run *r) {
    if (r->deadlines.exited && pipes_open(r) && brood__owned_has_left_some(&r->owned))
        see_what_is_cut(r);
    brood__owned_ask_to_stop(&r->owned, r->kill_signal);
}

static void stop(run *r, brood_reason reason) {
    if (brood__deadlines_stop(&r->deadlines, brood__now_us(), reason))
        send_stop(r);
}

/* --- pipes --- */

static void close_slot(run *r, size_t i) {
    brood__close(r->compiled.plan.slots[i].host_end);
    r->compiled.plan.slots[i].host_end = -1;
}

static void read_slot(run *r, size_t i) {
    const brood__plan_slot *s = &r->compiled.plan.slots[i];
    ssize_t n = brood__read(s->host_end, r->buffer, READ_SIZE);
    if (n == -EAGAIN)
        return;
    if (n <= 0) {
        close_slot(r, i);
        return;
    }
    brood__deadlines_activity(&r->deadlines, brood__now_us());
    int added = brood__collector_add(&r->collector, s->slot, r->buffer, (size_t)n);
    if (added == 0)
        return;
    brood_reason reason = added > 0 ? BROOD_REASON_OUTPUT_LIMIT : BROOD_REASON_HOST_MEMORY;
    if (r->owned.ended && !brood__deadlines_stopping(&r->deadlines)) /* what is read now was written before the exit */
        r->ending.exit.reason = reason;
    stop(r, reason);
}

/* A child that does not read it all is no error. */
static void write_slot(run *r, size_t i) {
    const brood_stdio *io = r->compiled.ios[i];
    size_t len = brood__input_length(io);
    size_t *at = &r->written[i];
    ssize_t n =
        *at < len ? brood__write(r->compiled.plan.slots[i].host_end, (const char *)io->input + *at, len - *at) : 0;
    if (n > 0)
        *at += (size_t)n;
    if ((n < 0 && n != -EAGAIN) || *at == len)
        close_slot(r, i);
}

static void cut_output(run *r) {
    for (size_t i = 0; i < r->compiled.plan.slot_count; i++) {
        int fd = r->compiled.plan.slots[i].host_end;
        if (fd < 0)
            continue;
        brood__cut_by_time(&r->ending.cut, fd);
        close_slot(r, i);
    }
}

/* --- the wait --- */

static void process_ended(run *r) {
    bool ended = brood__owned_ended(&r->owned, &r->ending.exit); /* else there may be news of its tree */
    if (brood__owned_is_late(&r->owned))
        stop(r, BROOD_REASON_CPU_TIME);
    if (!ended)
        return;
    if (brood__deadlines_stopping(&r->deadlines))
        r->ending.exit.reason = r->deadlines.reason;
    brood__deadlines_exited(&r->deadlines, brood__now_us());
    for (size_t i = 0; i < r->compiled.plan.slot_count; i++)
        if (r->compiled.plan.slots[i].from == BROOD__FROM_PIPE_IN)
            close_slot(r, i);
}

static void act_on_deadlines(run *r, uint64_t now_us) {
    brood__due due;
    while ((due = brood__deadlines_due(&r->deadlines, now_us)) != BROOD__DUE_NOTHING) {
        if (due == BROOD__DUE_STOP)
            send_stop(r);
        else if (due == BROOD__DUE_KILL)
            brood__owned_signal_all(&r->owned, SIGKILL);
        else if (due == BROOD__DUE_CUT)
            cut_output(r);
        brood__owned_urge(&r->owned, &r->deadlines, now_us);
    }
}

static bool done(run *r) {
    if (!r->owned.ended || pipes_open(r))
        return false;
    return brood__owned_settle(&r->owned, &r->deadlines, brood__now_us(), true);
}

static void wait_for_something(run *r, uint64_t now_us) {
    const brood__plan *plan = &r->compiled.plan;
    bool aborted = brood__deadlines_stopping(&r->deadlines) || !r->options->abort;
    struct pollfd *process = &r->polls[POLL_PROCESS], *other = &r->polls[POLL_NUDGE];
    *process = *other = (struct pollfd){0};
    process->fd = brood__owned_fd(&r->owned, &process->events);
    other->fd = r->nudged ? -1 : brood__owned_nudge_fd(&r->owned, &other->events);
    r->polls[POLL_ABORT] = (struct pollfd){.fd = aborted ? -1 : brood__abort_fd(r->options->abort), .events = POLLIN};
    for (size_t i = 0; i < plan->slot_count; i++)
        r->polls[POLL_SLOTS + i] = (struct pollfd){
            .fd = plan->slots[i].host_end,
            .events = plan->slots[i].from == BROOD__FROM_PIPE_IN ? POLLOUT : POLLIN,
        };
    uint64_t next = brood__deadlines_next(&r->deadlines);
    uint64_t ms = next == BROOD__NEVER ? 0 : brood__ms_until(now_us, next);
    int n = poll(r->polls, POLL_SLOTS + plan->slot_count, next == BROOD__NEVER ? -1 : ms > INT_MAX ? INT_MAX : (int)ms);
    for (size_t i = 0; n < 0 && i < POLL_SLOTS + plan->slot_count; i++)
        r->polls[i].revents = 0; /* interrupted: nothing was told */
}

/* Output first: what a child wrote before its end counts, and is not cut. */
static void handle_events(run *r) {
    for (size_t i = 0; i < r->compiled.plan.slot_count; i++) {
        if (!r->polls[POLL_SLOTS + i].revents)
            continue;
        if (r->compiled.plan.slots[i].from == BROOD__FROM_PIPE_IN)
            write_slot(r, i);
        else
            read_slot(r, i);
    }
    if (r->polls[POLL_ABORT].revents)
        stop(r, BROOD_REASON_ABORTED);
    if (r->polls[POLL_PROCESS].revents)
        process_ended(r);
    if (r->polls[POLL_NUDGE].revents)
        r->nudged = !brood__owned_nudge(&r->owned);
}

/* What is late is judged by the time before the wait: whatever came until then has been seen. */
static void supervise(run *r) {
    while (!done(r)) {
        uint64_t now_us = brood__now_us();
        wait_for_something(r, now_us);
        handle_events(r);
        act_on_deadlines(r, now_us);
    }
    if (r->owned.stop_error)
        r->ending.exit.stop_error = r->owned.stop_error;
    brood__owned_done(&r->owned);
}

/* --- the call --- */

static int allocate(run *r, brood_failure *why) {
    brood__arena *arena = &r->compiled.plan.memory;
    size_t slots = r->compiled.plan.slot_count;
    r->polls = brood__arena_array(arena, POLL_SLOTS + slots, sizeof *r->polls);
    r->written = brood__arena_array(arena, slots, sizeof *r->written);
    r->buffer = brood__resize(NULL, READ_SIZE);
    bool ok = r->polls && r->written && r->buffer;
    return ok ? 0 : brood__fail(why, -ENOMEM, BROOD_STEP_MEMORY, NULL, NULL);
}

static int start(run *r, brood__form form, const char *command, brood_failure *why) {
    const brood_options *o = r->options;
    int e = refuse_callbacks(o, why);
    if (e == 0)
        e = brood__options_compile(o, form, command, false, &r->compiled, why);
    if (e == 0)
        e = allocate(r, why);
    if (e == 0 && o->abort && brood_abort_pulled(o->abort))
        e = brood__fail(why, -ECANCELED, BROOD_STEP_ABORTED, NULL, "its abort was pulled before it was started");
    if (e < 0)
        return e;
    r->kill_signal = brood__options_kill_signal(o);
    r->owned = BROOD__OWNED_NONE(r->compiled.reach);
    brood__options_deadlines(o, form, r->ending.asked_us, &r->deadlines);
    return brood__owned_start(&r->owned, &r->compiled.plan, why);
}

static int run_sync(brood__form form, const char *command, const brood_options *options, size_t size,
                    brood_result *ret_result, size_t result_size) {
    brood_options o;
    brood_failure why = {0};
    run r = {.options = &o, .owned = BROOD__OWNED_NONE(BROOD_OWN_CHILD)};
    r.ending.asked_us = brood__now_us();
    r.ending.exit.code = -1;
    int e = brood__options_copy(options, size, &o, &why);
    brood_abort *abort = brood__abort_hold(e == 0 ? o.abort : NULL);
    if (e == 0) {
        brood__collector_init(&r.collector, o.max_buffer);
        e = start(&r, form, command, &why);
    }
    /* refused: as it was asked */
    const char *const *words = r.compiled.words ? r.compiled.words : command ? NULL : o.args;
    char *text = words ? brood__command_text(words) : NULL;
    if (e == 0) {
        r.ending.started_us = r.owned.process.started_us;
        supervise(&r);
    } else {
        r.ending.exit.reason = BROOD_REASON_NOT_STARTED;
        r.ending.failure = &why;
    }
    r.ending.command = &text;
    r.ending.collector = &r.collector;
    r.ending.now_us = brood__now_us();
    r.ending.timeout_ms = o.timeout_ms;
    r.ending.idle_timeout_ms = o.idle_timeout_ms;
    r.ending.limits = o.limits;
    r.ending.memory_limited = r.owned.memory_limited;
    r.ending.guarantee = r.owned.guarantee;
    brood_result result;
    brood__result_make(&r.ending, &result);
    brood__result_give(&result, ret_result, result_size);
    brood_abort_free(abort);
    brood__collector_done(&r.collector);
    brood__free(r.buffer);
    brood__free(text);
    brood__plan_done(&r.compiled.plan);
    return e;
}

int brood_spawn_sync_sized(const brood_options *options, size_t size, brood_result *ret_result, size_t result_size) {
    return run_sync(BROOD__SPAWN, NULL, options, size, ret_result, result_size);
}

int brood_exec_sync_sized(const char *command, const brood_options *options, size_t size, brood_result *ret_result,
                          size_t result_size) {
    if (!command) /* refused for want of a program, whatever the options say */
        options = NULL;
    return run_sync(BROOD__EXEC, command, options, size, ret_result, result_size);
}

int brood_exec_file_sync_sized(const brood_options *options, size_t size, brood_result *ret_result,
                               size_t result_size) {
    return run_sync(BROOD__EXEC, NULL, options, size, ret_result, result_size);
}
