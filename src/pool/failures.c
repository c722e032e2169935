/*
 * Starts that come to nothing, and workers that are of no use: how soon the next one is tried, and when none is any more.
 * What is hard is to tell a program that does not work from a task that brings its worker down.
 */
#include "pool/pool.h"

#include "base/failure.h"

#include <errno.h>
#include <stdio.h>

#define SHORTAGE_MS 1000      /* no more between two starts for which something was short: it may be there again */
#define LONG_LIFE_US 60000000 /* whoever lived so long was no start that came to nothing */

void brood__pool_see_success(brood_pool *pool) {
    pool->ever_answered = true;
    pool->failures = pool->shortages = pool->crashes = 0;
    pool->no_starts = pool->hopeless;
}

/* Workers were of no use, so many times: the next one after a while, of so much at most, if these were not the first. */
static void back_off(brood_pool *pool, unsigned times, uint64_t most_ms) {
    uint64_t first_ms = pool->options.backoff_ms;
    if (times < 2)
        return;
    unsigned doublings = times - 2;
    uint64_t ms = doublings < 40 && first_ms << doublings < most_ms ? first_ms << doublings : most_ms;
    ms = ms / 2 + brood__pool_random(pool, ms / 2 + 1); /* so that many pools do not start together */
    pool->start_us = brood__after_ms(brood__now_us(), ms);
}

static bool is_hopeless(const brood_failure *why) {
    static const int codes[] = {-ENOENT, -EACCES, -ENOEXEC, -ENOTDIR, -ELOOP, -EISDIR, -EPERM, -EINVAL, -E2BIG, 0};
    for (const int *code = codes; *code; code++)
        if (why->step != BROOD_STEP_NONE && why->code == *code)
            return true;
    return false;
}

/* Of what others may give back. */
static bool is_shortage(const brood_failure *why) {
    return why->code == -EMFILE || why->code == -ENFILE || why->code == -ENOMEM || why->code == -EAGAIN;
}

void brood__pool_start_failed(brood_pool *pool, uint64_t asked_us, const brood_failure *why) {
    unsigned at_work = pool->count[BROOD__WORKER_UP] + pool->count[BROOD__WORKER_RETIRING];
    bool is_short = is_shortage(why);
    unsigned *in_a_row = is_short ? &pool->shortages : &pool->failures;
    uint64_t most_ms = pool->options.max_backoff_ms;
    most_ms = is_short && most_ms > SHORTAGE_MS ? SHORTAGE_MS : most_ms;
    pool->stats.failures++;
    pool->failure = *why;
    pool->hopeless = pool->hopeless || is_hopeless(why);
    pool->is_short = is_short;
    if (asked_us >= pool->failed_us) { /* else it is of one burst with the last that counted */
        pool->failed_us = brood__now_us();
        ++*in_a_row;
        back_off(pool, *in_a_row + is_short, most_ms); /* a shortage does not pass at once */
    }
    bool too_many = *in_a_row >= pool->options.max_failures && !(is_short && at_work > 0);
    pool->no_starts = pool->no_starts || pool->hopeless || too_many;
}

void brood__pool_worker_gone(brood_pool *pool) {
    if (!pool->is_short || pool->gave_up)
        return;
    pool->is_short = false;
    pool->shortages = 0;
    pool->start_us = 0;
    pool->no_starts = pool->hopeless;
}

/* Where it had a task, and this pool has seen others answered, it is the task that is to blame. */
static bool is_useless(const brood__worker *w) {
    return brood__now_us() - w->asked_us < LONG_LIFE_US && (!w->was_up || w->load == 0 || !w->pool->ever_answered);
}

static void describe_useless(const brood__worker *w, const char *how, brood_failure *why) {
    const char *when = w->was_up ? "before it had answered anything" : "before it was ready";
    brood__fail(why, -ECHILD, BROOD_STEP_NONE, NULL, NULL);
    snprintf(why->message, sizeof why->message, "%s %s", how, when);
}

/* A task may have brought it down; but where that happens to many, one after another, it is the program. */
static void see_crash(brood__worker *w) {
    brood_pool *pool = w->pool;
    if (w->load == 0 || w->asked_us < pool->crashed_us)
        return;
    pool->crashed_us = brood__now_us();
    pool->crashes++;
    if (pool->crashes >= pool->options.max_failures)
        back_off(pool, pool->crashes - pool->options.max_failures + 2, pool->options.max_backoff_ms);
}

void brood__worker_judge(brood__worker *w, const char *how) {
    brood_failure why;
    if (w->judged)
        return;
    w->judged = true;
    if (w->stopped || w->innocent || w->answered)
        return;
    if (!is_useless(w)) {
        see_crash(w);
        return;
    }
    w->useless = true;
    describe_useless(w, how, &why);
    brood__pool_start_failed(w->pool, w->asked_us, &why);
}

void brood__worker_tell_useless(brood__worker *w, const char *how) {
    if (!w->useless)
        return;
    w->useless = false;
    describe_useless(w, how, &w->pool->failure);
    brood__worker_tell(w, (brood_pool_event){.kind = BROOD_POOL_START_FAILED, .detail = w->pool->failure.message});
}
