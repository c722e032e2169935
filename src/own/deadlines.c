/*
 * Deadlines of one child: time limit, idle limit, the step from asking to killing, the wait for the last output.
 * Before a stop only the limits run, after it only the grace; after the exit, only the wait for output, and if
 * the child was stopped, that lasts no longer than the grace.
 */
#include "own/deadlines.h"

#include "base/clock.h"

#define CHECK_FIRST_US 1000
#define CHECK_LONGEST_US 200000

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

void brood__deadlines_init(brood__deadlines *d, uint64_t now, uint64_t timeout_ms, uint64_t idle_ms,
                           uint64_t kill_grace_ms, uint64_t close_grace_ms) {
    *d = (brood__deadlines){
        .idle_ms = idle_ms,
        .kill_grace_ms = kill_grace_ms,
        .close_grace_ms = close_grace_ms,
        .timeout_at = timeout_ms ? brood__after_ms(now, timeout_ms) : BROOD__NEVER,
        .idle_at = idle_ms ? brood__after_ms(now, idle_ms) : BROOD__NEVER,
        .kill_at = BROOD__NEVER,
        .check_at = BROOD__NEVER,
        .cut_at = BROOD__NEVER,
        .check_pause_us = CHECK_FIRST_US,
    };
}

bool brood__deadlines_stop(brood__deadlines *d, uint64_t now, brood_reason reason) {
    if (brood__deadlines_stopping(d))
        return false;
    d->reason = reason;
    d->timeout_at = d->idle_at = BROOD__NEVER;
    d->kill_at = brood__after_ms(now, d->kill_grace_ms);
    if (d->exited)
        d->cut_at = earlier(d->cut_at, d->kill_at);
    return true;
}

void brood__deadlines_activity(brood__deadlines *d, uint64_t now) {
    if (d->idle_at != BROOD__NEVER)
        d->idle_at = brood__after_ms(now, d->idle_ms);
    if (d->exited && !brood__deadlines_stopping(d))
        d->cut_at = brood__after_ms(now, d->close_grace_ms);
}

void brood__deadlines_exited(brood__deadlines *d, uint64_t now) {
    d->exited = true;
    d->idle_at = BROOD__NEVER;
    d->cut_at = brood__after_ms(now, d->close_grace_ms);
    if (brood__deadlines_stopping(d))
        d->cut_at = earlier(d->cut_at, brood__after_ms(now, d->kill_grace_ms));
}

void brood__deadlines_check_again(brood__deadlines *d, uint64_t now) {
    d->check_at = now + d->check_pause_us;
    d->check_pause_us = earlier(d->check_pause_us * 2, CHECK_LONGEST_US);
}

void brood__deadlines_let_live(brood__deadlines *d) {
    d->timeout_at = d->idle_at = d->kill_at = d->check_at = BROOD__NEVER;
}

uint64_t brood__deadlines_next(const brood__deadlines *d) {
    uint64_t next = earlier(d->timeout_at, d->idle_at);
    return earlier(earlier(next, d->kill_at), earlier(d->check_at, d->cut_at));
}

brood__due brood__deadlines_due(brood__deadlines *d, uint64_t now) {
    if (now >= d->timeout_at || now >= d->idle_at) {
        brood__deadlines_stop(d, now, now >= d->timeout_at ? BROOD_REASON_TIMED_OUT : BROOD_REASON_IDLE);
        return BROOD__DUE_STOP;
    }
    if (now >= d->kill_at) {
        d->kill_at = BROOD__NEVER;
        d->killed = true;
        return BROOD__DUE_KILL;
    }
    if (now >= d->check_at) {
        d->check_at = BROOD__NEVER;
        return BROOD__DUE_CHECK;
    }
    if (now >= d->cut_at) {
        d->cut_at = BROOD__NEVER;
        return BROOD__DUE_CUT;
    }
    return BROOD__DUE_NOTHING;
}
