/*
 * A child of a loop, from inside: one block of memory that holds its streams, its watch and its timer, one state,
 * and a count of what must close before the memory may go.
 */
#ifndef BROOD_CHILD_CHILD_INTERNAL_H
#define BROOD_CHILD_CHILD_INTERNAL_H

#include "channel/channel.h"
#include "child/options.h"
#include "child/result.h"
#include "loop/starters.h"
#include "own/abort.h"
#include "own/deadlines.h"
#include "own/owned.h"
#include "process/ahead.h"
#include "stream/stream.h"

/*
 *               brood_spawn        exit, failure       pipes closed
 *   STARTING ---------> RUNNING ---------> EXITED ---------> ENDED     then, once it is closed: GONE
 *       `------------------------------------'
 */
typedef enum brood__child_state {
    BROOD__STARTING, /* on a starter thread, or in its queue */
    BROOD__RUNNING,
    BROOD__EXITED, /* the process ended; pipes, or what else it owns, are waited for */
    BROOD__ENDED,  /* the last event was told; kept for the user */
    BROOD__GONE,   /* freed once its handles are closed */
} brood__child_state;

/* What a starter thread has heard of a child that it keeps. */
typedef struct brood__kept_child {
    size_t most; /* bytes of each output; 0: it is not to be kept */
    size_t heard_count;
    struct {
        brood__plan_slot *slot;
        char *bytes;
        size_t len;
    } heard[BROOD__KEPT_ENDS - 1];
    bool has_ended; /* and was reaped, and all that it wrote was heard */
    uint64_t started_us;
    brood_exit exit;
} brood__kept_child;

/* What happens on a starter thread, and comes back. */
typedef struct brood__start_job {
    brood__job job;
    brood_child *child;
    brood__plan plan;
    brood__kept_child kept;
    brood__owned owned;
    brood_failure failure;
    int result;
} brood__start_job;

struct brood_child {
    brood__loop *loop;
    brood__loop_part part;
    brood__child_state state;
    bool closed;       /* by the user: only on_close is still told */
    bool self_closing; /* the user has no pointer */
    bool let_live;     /* nothing stops it: detached, or owned by nobody */
    bool orphan;       /* closed and let live: on_close was told, the process is only waited for */
    bool orphan_told;
    bool leaves_later; /* an orphan that is not even waited for, once it is out of the host's memory */
    bool cancelled;    /* to be stopped before it was told to run */
    bool stillborn;
    bool unreffed, busy;
    bool guarded;      /* its tree is watched over by the guard, and the guard by its loop */
    bool active;       /* has a place in the loop's `active` */
    bool spawn_untold; /* on_spawn is still to come */
    unsigned pins;     /* callbacks, or an await, that still need the memory */
    unsigned open_streams;

    brood__owned owned;
    brood_exit exit;
    brood__deadlines deadlines;
    uint64_t asked_us, started_us, ended_us, timeout_ms;
    brood_limits limits;
    int kill_signal;
    brood__cut cut;

    brood_abort *abort;
    brood__abort_listener abort_listener;
    brood__start_job *job;    /* STARTING */
    brood__start_job *launch; /* its program may not run yet; NULL: it does */
    brood__post later;        /* what is to be told once the present callback, or call, has returned */

    brood__watch watch; /* what tells of its end */
    brood__watch nudge; /* the program's pidfd, where something else tells of its end */
    uv_timer_t timer;
    bool timer_open, timer_closing;

    void (*on_spawn)(brood_child *, void *);
    void (*on_error)(brood_child *, const brood_failure *, void *);
    void (*on_exit)(brood_child *, const brood_exit *, void *);
    void (*on_close)(brood_child *, const brood_exit *, void *);
    void (*on_empty)(brood_child *, const brood_usage *, void *);
    void (*on_limit)(brood_child *, const brood_limit_hit *, void *);
    void *data;
    brood_on_result on_result;
    void *result_data;

    bool collects;
    brood__collector collector;
    brood_failure *failure; /* NOT_STARTED */
    brood_result *result;   /* ENDED, and asked for */
    char *command;

    brood_channel *channel; /* NULL: it was not forked; one of open_streams until it is done */
    size_t stream_count;
    brood_stream streams[];
};

/* --- child.c: its life --- */

void brood__child_become(brood_child *c, brood__child_state state);

/* Around a callback of the user's, or anything else in which the child may end: its memory stays. */
void brood__child_pin(brood_child *c);
void brood__child_unpin(brood_child *c);
void brood__child_free_if_unused(brood_child *c);

/* After a change of what the loop is kept alive by, or of a deadline. */
void brood__child_update_busy(brood_child *c);
void brood__child_update_timer(brood_child *c);
void brood__child_close_timer(brood_child *c);

/* on_spawn, if it is still to be told. */
void brood__child_tell_spawn(brood_child *c);
/* What is to be told, now or from within uv_run. */
void brood__child_tell(brood__post *post);
void brood__child_tell_later(brood_child *c);

void brood__child_signal_all(brood_child *c, int signal);
/* Stop it for this reason, once, in whatever state it is. */
void brood__child_stop(brood_child *c, brood_reason reason);
void brood__child_aborted(brood__abort_listener *listener);
/* STARTING: take the start back, or let it come and be killed at once; and the failure that this is. */
void brood__child_cancel_start(brood_child *c);
int brood__child_fail_cancelled(const brood_child *c, brood_failure *ret_why);

/* What its streams tell. */
extern const brood__stream_owner brood__child_stream_owner;
void brood__child_close_streams(brood_child *c);

void brood__child_end_rest(brood_child *c);

/* There is news of the process, or of its tree. */
void brood__child_stop_watching(brood_child *c);
void brood__child_watch_ready(brood__watch *watch);
void brood__child_nudge(brood__watch *watch);

/* There is no process, or there never should have been: tell, from within uv_run, and end. */
void brood__child_failed(brood_child *c, const brood_failure *why);

/* Also after the exit: what is read then was written before. */
void brood__child_wrote_too_much(brood_child *c, brood_reason reason);
/* It has ended, as c->exit says. */
void brood__child_exited(brood_child *c);

/* An orphan that has ended, or is not even waited for any more. */
void brood__child_abandon(brood_child *c);

/* c->result, if there is memory. */
void brood__child_make_result(brood_child *c);

/* Give up the memory, as soon as libuv has. */
void brood__child_dispose(brood_child *c);

/* --- fork.c --- */

int brood__child_init_channel(brood_child *c, const brood_options *options);
void brood__child_drop_channel(brood_child *c);
void brood__child_free_channel(brood_child *c);

/* --- control.c --- */

/* Closed, and let live: on_close is told, and then it is only waited for. */
void brood__child_let_go(brood_child *c);
/* Whether what it owns is not to be ended. */
bool brood__child_may_live(const brood_child *c);

/* The loop is being ended. */
void brood__child_end(brood__loop_part *part);

/* --- launch.c: starts that nobody waits for --- */

/* Bring room for that, if it may be one. */
void brood__child_may_go_ahead(brood_child *c, brood__start_job *start);
/* It is one: the child has the job from now on. */
void brood__child_launching(brood_child *c, brood__start_job *start);
/* Why its program could not be run, once the process has left; NULL: it could, as far as is known. */
const brood__report *brood__child_launch_report(const brood_child *c);
/* Its process has ended: whether it never took a step; and so is to be started once more. */
bool brood__child_is_stillborn(brood_child *c);
void brood__child_bear_again(brood_child *c);
/* The process has left the host's memory. */
void brood__child_launched(brood_child *c);
/* It is to be waited for. */
void brood__start_job_drop_room(brood__start_job *start);
/* It may take long to get to its exec, or to fail to. */
bool brood__child_is_launching(const brood_child *c);
/* It has failed to. Why is found out off the loop, which may take a look at files; then it is told. */
void brood__child_explain(brood_child *c);

/* --- kept.c: what starter threads look after --- */

/* Before its start: if it may be. */
void brood__child_may_be_kept(brood_child *c, brood__start_job *start);
/* On the starter thread, after it. */
void brood__child_keep(brood__start_job *start);
/* On the loop's again: it has ended; and, as after the start of any other, what was heard of it. */
void brood__child_take_ended(brood_child *c, brood__start_job *start);
void brood__child_hear_kept(brood_child *c, brood__start_job *start);

/* --- spawn.c --- */

/* It may have been started already, and the loop not know: before anything that depends on that. */
void brood__child_settle(brood_child *c);
void brood__start_job_free(brood__start_job *start);
/* What a starter thread is to do for the child; and, as `done`, that it has. */
void brood__child_begin_job(brood_child *c, brood__start_job *start, void (*work)(brood__job *),
                            void (*done)(brood__post *));
brood__start_job *brood__child_end_job(brood__post *post);
void brood__child_start_again(brood_child *c, brood__start_job *start);

/* The start that brood_spawn and the exec forms share. ret_child and ret_failure may be NULL. */
int brood__child_spawn(uv_loop_t *uv, const brood_options *options, brood__form form, const char *command,
                       brood_on_result on_result, void *result_data, brood_child **ret_child,
                       brood_failure *ret_failure);

#endif
