/*
 * What the user asks of a child, and what may be asked at any time: signals, references, letting it live, closing it,
 * waiting for it. Whatever follows is told later, from within uv_run.
 */
#include "child/child.h"

#include "base/clock.h"
#include "base/hooks.h"
#include "own/members.h"

#include <errno.h>

pid_t brood_child_pid(const brood_child *c) {
    bool never = c->state >= BROOD__EXITED && c->exit.reason == BROOD_REASON_NOT_STARTED;
    return never ? 0 : c->owned.process.pid ? c->owned.process.pid : c->exit.pid;
}

const brood_exit *brood_child_exit(const brood_child *c) {
    return c->state >= BROOD__EXITED ? &c->exit : NULL;
}

brood_guarantee brood_child_guarantee(const brood_child *c) {
    return brood__owned_guarantee(&c->owned);
}

brood_limited brood_child_limited(const brood_child *c, brood_limit limit) {
    const brood_limits *l = &c->limits;
    const uint64_t asked[] = {[BROOD_LIMIT_MEMORY] = l->memory,
                              [BROOD_LIMIT_PIDS] = l->pids,
                              [BROOD_LIMIT_CPU] = l->cpu_percent,
                              [BROOD_LIMIT_CPU_TIME] = l->cpu_time_ms,
                              [BROOD_LIMIT_IO] = l->io_read_bps | l->io_write_bps};
    if (limit > BROOD_LIMIT_IO || !asked[limit])
        return BROOD_LIMITED_NONE;
    return limit == BROOD_LIMIT_MEMORY ? c->owned.memory_limited : BROOD_LIMITED_TREE;
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
            brood__child_cancel_start(c);
        return 0;
    }
    if (c->state >= BROOD__ENDED && !brood__owned_lives_on(&c->owned))
        return -ESRCH;
    if (signal != 0)
        brood__trace("signal", c->owned.process.pid, signal, NULL);
    return send(&c->owned, signal);
}

int brood_child_kill(brood_child *c, int signal) {
    return send_signal(c, signal, brood__owned_signal);
}

int brood_child_kill_owned(brood_child *c, int signal) {
    int r = send_signal(c, signal, brood__owned_signal_all);
    brood__owned_urge(&c->owned, &c->deadlines, brood__now_us());
    brood__child_update_timer(c);
    return r;
}

static int freeze(brood_child *c, bool frozen) {
    if (c->state == BROOD__STARTING)
        return -EAGAIN;
    if (c->state >= BROOD__ENDED && !brood__owned_lives_on(&c->owned))
        return -ESRCH;
    brood__trace(frozen ? "freeze" : "thaw", c->owned.process.pid, 0, NULL);
    return brood__owned_freeze(&c->owned, frozen);
}

int brood_child_freeze(brood_child *c) {
    return freeze(c, true);
}

int brood_child_thaw(brood_child *c) {
    return freeze(c, false);
}

int brood_child_members_sized(brood_child *c, brood_member *ret_members, size_t room, size_t size) {
    bool none = c->state == BROOD__STARTING || brood__child_is_launching(c) ||
                (c->state >= BROOD__ENDED && !brood__owned_lives_on(&c->owned));
    return none ? 0 : brood__owned_members(&c->owned, ret_members, room, size);
}

void brood_child_stop(brood_child *c) {
    brood__child_stop(c, BROOD_REASON_ABORTED);
}

static void set_ref(brood_child *c, bool ref) {
    c->unreffed = !ref;
    brood__watch_set_ref(&c->watch, ref);
    if (c->timer_open && ref)
        uv_ref((uv_handle_t *)&c->timer);
    else if (c->timer_open)
        uv_unref((uv_handle_t *)&c->timer);
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_set_ref(&c->streams[i], ref);
    brood__child_update_busy(c);
}

void brood_child_ref(brood_child *c) {
    set_ref(c, true);
}

void brood_child_unref(brood_child *c) {
    set_ref(c, false);
}

void brood_child_detach(brood_child *c) {
    c->let_live = true;
    brood__owned_let_go(&c->owned);
    brood__deadlines_let_live(&c->deadlines);
    brood__abort_unlisten(&c->abort_listener);
    brood__child_update_timer(c);
}

bool brood__child_may_live(const brood_child *c) {
    return c->let_live && !brood__owned_is_ending(&c->owned); /* its tree was killed before */
}

void brood__child_let_go(brood_child *c) {
    c->orphan = true;
    brood__child_close_timer(c);
    set_ref(c, false);
    brood__child_tell_later(c);
}

void brood_child_close(brood_child *c) {
    if (!c || c->closed)
        return;
    brood__child_pin(c);
    brood__child_settle(c);
    c->closed = true;
    c->spawn_untold = false;
    c->on_spawn = NULL, c->on_error = NULL, c->on_exit = NULL, c->on_empty = NULL, c->on_result = NULL;
    for (size_t i = 0; i < c->stream_count; i++) {
        brood__stream_silence(&c->streams[i]);
        brood__stream_close(&c->streams[i], -ECANCELED);
    }
    if (c->channel) {
        brood__channel_silence(c->channel, true);
        brood__channel_close(c->channel, -ECANCELED);
    }
    if (c->state == BROOD__ENDED && brood__owned_lives_on(&c->owned) && !brood__child_may_live(c))
        brood__child_end_rest(c);
    else if (c->state == BROOD__ENDED)
        brood__child_dispose(c);
    else if (c->let_live && c->state == BROOD__RUNNING)
        brood__child_let_go(c);
    else if (c->state != BROOD__EXITED && !c->let_live)
        brood__child_stop(c, BROOD_REASON_ABORTED);
    brood__child_unpin(c);
}

/* The loop is being ended. An orphan is left to itself. */
void brood__child_end(brood__loop_part *part) {
    brood_child *c = BROOD__OUTER(part, brood_child, part);
    if (!c->closed)
        brood_child_close(c);
    else if (c->orphan && c->orphan_told)
        brood__child_abandon(c);
}

static void give_result(brood_child *c, brood_result *ret_result, size_t size) {
    brood_result result = brood__result_bare(&c->exit, "ENOMEM", BROOD__NO_MEMORY_FOR_RESULT);
    if (!c->result)
        brood__child_make_result(c);
    if (c->result && c->result->command)
        brood_result_take_sized(c->result, &result, sizeof result);
    else if (c->result)
        result = brood__result_bare(&c->exit, NULL, "the result was taken already");
    brood__result_give(&result, ret_result, size);
}

int brood_await_sized(brood_child *c, brood_result *ret_result, size_t size) {
    if (c->loop->depth > 0) {
        brood_result refused =
            brood__result_bare(&c->exit, "EDEADLK", "a callback of its loop cannot wait for a child");
        if (ret_result)
            brood__result_give(&refused, ret_result, size);
        return -EDEADLK;
    }
    brood__child_pin(c);
    bool unreffed = c->unreffed;
    set_ref(c, true);
    while (c->state < BROOD__ENDED)
        uv_run(c->loop->uv, UV_RUN_ONCE);
    while ((c->active && !c->watch.waiting) ||
           !brood__list_empty(&c->loop->closing)) /* so that the loop can be closed as soon as the child is */
        uv_run(c->loop->uv, UV_RUN_NOWAIT);
    if (unreffed)
        set_ref(c, false);
    int r = c->failure ? c->failure->code : 0;
    if (ret_result)
        give_result(c, ret_result, size);
    brood__child_unpin(c);
    return r;
}
