/*
 * Programs of which nothing is told but their result. Most have little to say and soon end: until then the starter thread
 * that has started one looks after it, and its loop is woken once, for the result. One that goes on, or says more, becomes
 * like any other; so does one that is asked for, by a deadline, an abort or the end of its loop. What it writes meanwhile
 * is put where its stack was until its exec.
 */
#include "child/child.h"

#include "base/hooks.h"
#include "base/sys.h"

#include <errno.h>
#include <signal.h>

enum { PROCESS, FIRST_OUTPUT }; /* of its ends */
#define ROOM (BROOD__CHILD_STACK / (BROOD__KEPT_ENDS - 1))

/* What is there now, or `all` that is; and whether anything may follow. */
static brood__news read_output(brood__start_job *start, size_t which, bool all) {
    brood__kept_child *kept = &start->kept;
    size_t *len = &kept->heard[which - FIRST_OUTPUT].len;
    ssize_t n;
    do {
        n = brood__read(start->job.kept.ends[which].fd, kept->heard[which - FIRST_OUTPUT].bytes + *len,
                        kept->most - *len);
        if (n > 0)
            *len += (size_t)n;
    } while (all && n > 0 && *len < kept->most);
    if (n == 0)
        return BROOD__THAT_IS_ALL;
    return n == -EAGAIN || (n > 0 && *len < kept->most) ? BROOD__MORE_TO_COME : BROOD__FOR_THE_LOOP;
}

/* It has ended, and with it its output, unless somebody else holds that. */
static brood__news hear_end(brood__start_job *start) {
    for (size_t which = FIRST_OUTPUT; which < start->job.kept.end_count; which++)
        if (start->job.kept.ends[which].fd >= 0 && read_output(start, which, true) != BROOD__THAT_IS_ALL)
            return BROOD__FOR_THE_LOOP;
    return BROOD__COMPLETE;
}

static brood__news hear(brood__job *job, brood__kept_end *end) {
    brood__start_job *start = BROOD__OUTER(job, brood__start_job, job);
    size_t which = (size_t)(end - job->kept.ends);
    if (!brood__ahead_has_left(start->plan.ahead))
        return BROOD__FOR_THE_LOOP;
    return which == PROCESS ? hear_end(start) : read_output(start, which, false);
}

static void complete(brood__job *job) {
    brood__start_job *start = BROOD__OUTER(job, brood__start_job, job);
    brood__kept_child *kept = &start->kept;
    kept->started_us = start->owned.process.started_us;
    start->owned.process.rss_floor_kb = brood__peak_kb();
    kept->has_ended = brood__owned_ended(&start->owned, &kept->exit);
    if (!kept->has_ended)
        return; /* a debugger's, perhaps */
    brood__owned_done(&start->owned);
    for (size_t i = 0; i < kept->heard_count; i++) {
        brood__close(kept->heard[i].slot->host_end);
        kept->heard[i].slot->host_end = -1;
    }
}

static bool tells_more_than_result(const brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++)
        if (c->streams[i].on_data || c->streams[i].on_end || c->streams[i].slot > 2)
            return true;
    return c->on_exit || !c->collects || c->deadlines.idle_ms;
}

void brood__child_may_be_kept(brood_child *c, brood__start_job *start) {
    if (c->stream_count > BROOD__KEPT_ENDS - 1 || tells_more_than_result(c))
        return;
    sigset_t blocked;
    start->job.host_takes_sigchld = pthread_sigmask(SIG_BLOCK, NULL, &blocked) == 0 && !sigismember(&blocked, SIGCHLD);
    start->kept.most = c->collector.limit < ROOM ? c->collector.limit : ROOM;
    start->job.kept.hear = hear;
    start->job.kept.complete = complete;
}

void brood__child_keep(brood__start_job *start) {
    brood__kept_child *kept = &start->kept;
    brood__kept *k = &start->job.kept;
    if (!kept->most || start->result < 0 || !start->plan.ahead->under_way)
        return;
    k->ends[PROCESS].fd = start->owned.process.pidfd;
    for (size_t i = 0; i < start->plan.slot_count; i++) {
        brood__plan_slot *slot = &start->plan.slots[i];
        if (slot->host_end < 0)
            continue;
        k->ends[FIRST_OUTPUT + kept->heard_count].fd = slot->host_end;
        kept->heard[kept->heard_count].slot = slot;
        kept->heard[kept->heard_count].bytes = start->plan.ahead->stack + kept->heard_count * ROOM;
        kept->heard_count++;
    }
    k->end_count = FIRST_OUTPUT + kept->heard_count;
}

void brood__child_take_ended(brood_child *c, brood__start_job *start) {
    c->owned = start->owned;
    c->exit = start->kept.exit;
    c->started_us = start->kept.started_us;
    brood__child_become(c, BROOD__RUNNING);
    brood__trace("spawn", c->exit.pid, 0, c->command);
}

void brood__child_hear_kept(brood_child *c, brood__start_job *start) {
    const brood__kept_child *kept = &start->kept;
    bool has_ended = kept->has_ended, fits = true;
    for (size_t i = 0; i < kept->heard_count; i++) {
        size_t len = kept->heard[i].len;
        if (len > 0)
            fits =
                brood__collector_add(&c->collector, kept->heard[i].slot->slot, kept->heard[i].bytes, len) == 0 && fits;
    }
    if (has_ended)
        brood__child_exited(c); /* start is gone */
    if (!fits)
        brood__child_wrote_too_much(c, BROOD_REASON_HOST_MEMORY);
}
