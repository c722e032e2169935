/*
 * Starts that nobody waits for. Until its exec the process is in the host's memory, where what the start needs stays as
 * it is; and that it could not exec is told by what it leaves there. So both are looked at when it is heard of, by output
 * or by its end, and otherwise some time after the start.
 */
#include "child/child.h"

#include "base/hooks.h"

#define MOST_AHEAD 64 /* of a loop's; each has some 16 KiB */

static void look(brood__post *post);

/* Nobody can ask anything of it, nor is anything to be done with it before it is heard of. */
static bool is_left_to_itself(const brood_child *c) {
    for (size_t i = 0; i < c->stream_count; i++)
        if (c->streams[i].writes || c->streams[i].paused)
            return false;
    return c->self_closing;
}

static bool opens_files(const brood__plan *plan) {
    for (size_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].from == BROOD__FROM_FILE)
            return true;
    return false;
}

/*
 * Nobody is to be told that the program runs, nor could speak to it before; and a start that was waited for has shown that
 * this can be. Without memory it is waited for.
 */
void brood__child_may_go_ahead(brood_child *c, brood__start_job *start) {
    bool is_silent = !c->on_spawn && !c->channel && !c->let_live && !brood__is_traced();
    bool is_tree = c->owned.reach == BROOD_OWN_TREE, is_alone = is_left_to_itself(c);
    if (!is_silent || (is_tree && !is_alone) || c->loop->launching >= MOST_AHEAD || !brood__ahead_suits(&start->plan))
        return;
    brood__ahead *room = brood__resize(NULL, sizeof *room);
    if (!room)
        return;
    room->under_way = false;
    start->plan.ahead = room;
    start->job.is_short = !is_tree && !opens_files(&start->plan); /* which may take as long as somebody likes */
    if (start->job.is_short && is_alone)
        brood__child_may_be_kept(c, start);
    c->loop->launching++;
}

/* What the job is used for now is waited for, and told. */
static void is_as_any_other(brood__start_job *start) {
    start->job.is_short = false;
    start->job.kept.end_count = 0;
    start->kept = (brood__kept_child){0};
}

void brood__start_job_drop_room(brood__start_job *start) {
    if (start->plan.ahead)
        start->job.loop->launching--;
    brood__free(start->plan.ahead);
    start->plan.ahead = NULL;
    is_as_any_other(start);
}

void brood__child_launching(brood_child *c, brood__start_job *start) {
    c->launch = start;
    start->job.done.run = look;
    if (!start->kept.has_ended)
        brood__loop_soon(c->loop, &start->job.done);
}

static void end_launch(brood_child *c) {
    brood__list_remove(&c->launch->job.done.node);
    c->launch = NULL;
}

/*
 * Killed before its first step, and not by us: its cgroup was killed before, and Linux lets nobody be born in it. Nothing
 * of it has been told, nor was it given anything, so it is started once more, and that is waited for.
 */
bool brood__child_is_stillborn(brood_child *c) {
    if (!c->launch || !brood__owned_has_guard(&c->owned) || c->launch->plan.ahead->launch.entered)
        return false;
    c->stillborn = c->stillborn || !(brood__deadlines_stopping(&c->deadlines) || c->cancelled);
    return c->stillborn; /* for good: the end of a pipe may have been passed over for that */
}

void brood__child_bear_again(brood_child *c) {
    brood__start_job *start = c->launch;
    end_launch(c);
    c->stillborn = false;
    brood__child_stop_watching(c);
    brood__owned_undo(&c->owned);
    for (size_t i = 0; i < c->stream_count; i++)
        brood__stream_detach(&c->streams[i]);
    brood__start_job_drop_room(start);
    brood__child_start_again(c, start);
}

const brood__report *brood__child_launch_report(const brood_child *c) {
    return c->launch && c->launch->plan.ahead->launch.report.step ? &c->launch->plan.ahead->launch.report : NULL;
}

/* The program's own peak begins with what the host's was at its exec, or a little later. */
void brood__child_launched(brood_child *c) {
    brood__start_job *start = c->launch;
    if (!start)
        return;
    if (c->state == BROOD__RUNNING) /* else it was seen before it was asked what it has used */
        c->owned.process.rss_floor_kb = brood__peak_kb();
    end_launch(c);
    brood__start_job_free(start);
}

static void look(brood__post *post) {
    brood__start_job *start = BROOD__OUTER(post, brood__start_job, job.done);
    brood_child *c = start->child;
    if (!brood__ahead_has_left(start->plan.ahead)) {
        brood__loop_soon(c->loop, post);
        return;
    }
    if (!start->plan.ahead->launch.report.step) /* else its end is about to come */
        brood__child_launched(c);
    if (c->leaves_later)
        brood__child_abandon(c);
}

bool brood__child_is_launching(const brood_child *c) {
    return c->launch && !brood__ahead_has_left(c->launch->plan.ahead) && !brood__has_ended(c->owned.process.pidfd);
}

/* --- why it could not be run --- */

static void explain(brood__job *job) {
    brood__start_job *start = BROOD__OUTER(job, brood__start_job, job);
    brood__plan_fail(&start->plan, &start->plan.ahead->launch.report, &start->failure);
}

static void explained(brood__post *post) {
    brood__start_job *start = brood__child_end_job(post);
    brood_child *c = start->child;
    brood__child_pin(c);
    c->owned.guarantee = BROOD_GUARANTEE_NONE;
    brood__child_failed(c, &start->failure);
    brood__child_unpin(c);
}

void brood__child_explain(brood_child *c) {
    brood__start_job *start = c->launch;
    brood__list_remove(&start->job.done.node);
    is_as_any_other(start);
    brood__child_begin_job(c, start, explain, explained);
    if (brood__starters_submit(&start->job) < 0) {
        explain(&start->job);
        brood__loop_later(c->loop, &start->job.done);
    }
}
