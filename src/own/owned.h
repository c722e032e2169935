/* What a child owns, and how a signal reaches all of it. */
#ifndef BROOD_OWN_OWNED_H
#define BROOD_OWN_OWNED_H

#include "own/deadlines.h"
#include "own/direct.h"
#include "own/holder.h"

#include <brood/own.h>
#include <brood/process.h>

typedef struct brood__owned {
    brood__process process;
    union {
        brood__holder holder; /* TREE: its holder, */
        brood__direct direct; /* or its cgroup, where it needs no holder */
    };
    bool is_direct;        /* which of them */
    brood_ownership reach; /* never DEFAULT */
    brood_guarantee guarantee;
    brood_limited memory_limited;
    bool ended, reaped;
    int stop_error;     /* a stop could not be sent: a negative errno */
    uint64_t ending_us; /* TREE: since when it is being ended; 0: it is not */
} brood__owned;

#define BROOD__OWNED_NONE(how_far)                                                                                     \
    ((brood__owned){.process = BROOD__PROCESS_NONE, .holder = BROOD__HOLDER_NONE, .reach = (how_far)})

/* As brood__start; `reach` says by which way. */
int brood__owned_start(brood__owned *o, brood__plan *plan, brood_failure *ret_failure);

/*
 * It was killed before its first step, which happens in a cgroup that somebody else has killed: as if it had not been
 * started, and not in that cgroup again.
 */
void brood__owned_undo(brood__owned *o);

/* As it is now. */
brood_guarantee brood__owned_guarantee(const brood__owned *o);

/* Tells when there is something new to learn, by these events of poll(2); -1: there will be nothing. */
int brood__owned_fd(const brood__owned *o, short *ret_events);

/*
 * Look whether the process has ended, as brood__process_ended: true once. Its pid, and so its group's, is kept from
 * reuse where needed. For a tree also what else its holder tells.
 */
bool brood__owned_ended(brood__owned *o, brood_exit *ret_exit);

/* Signal the process alone. 0, -ESRCH once it has ended, -EPERM, -EINVAL. */
int brood__owned_signal(brood__owned *o, int signal);

/* Signal all that is owned. -ESRCH: nothing of it is left, as far as can be seen. */
int brood__owned_signal_all(brood__owned *o, int signal);

/*
 * Nothing of it runs any more, or all of it goes on. -ESRCH, -EPERM, -EAGAIN, or -EOPNOTSUPP: a tree that was let live,
 * which nobody would thaw.
 */
int brood__owned_freeze(brood__owned *o, bool frozen);

/*
 * What a stop sends to all of it: the signal, and SIGCONT, since a stopped process takes a signal only once it goes on.
 */
void brood__owned_ask_to_stop(brood__owned *o, int signal);

/*
 * After the process's own end: whether what else it owned need not be waited for. It must be gone if the process was
 * being stopped, and a tree also if `all` of it ends with the process, which ends it. If it is not gone, the deadlines
 * say when to ask again. What got SIGKILL is waited for only so long: it may hang in the kernel, and nobody is to hang
 * with it.
 */
bool brood__owned_settle(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us, bool all);

/* A limit was reached that was not told yet: true once. */
bool brood__owned_hit(brood__owned *o, brood_limit_hit *ret_hit);

/* TREE: its CPU time is used up, and it is to be stopped. */
bool brood__owned_is_late(const brood__owned *o);

/*
 * TREE that is being ended, whose program has not ended yet: a holder that somebody has stopped meanwhile goes on, and the
 * deadlines say when to do so again.
 */
void brood__owned_urge(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us);

/* TREE: it has no holder, and a guard for the case that this process goes. */
bool brood__owned_has_guard(const brood__owned *o);

/* The process has ended, and something of its tree is left. */
bool brood__owned_lives_on(const brood__owned *o);
/* The process has ended: whether a stop reaches anything else. */
bool brood__owned_has_left_some(const brood__owned *o);

/* TREE: all of it has been sent SIGKILL. */
bool brood__owned_is_ending(const brood__owned *o);

/* TREE: nothing of it is left, and it has used so much; NULL: something is, or nobody knows. */
const brood_usage *brood__owned_empty(const brood__owned *o);

/*
 * TREE: another descriptor, until the program's end was told, and what to do when it tells by these events. The holder may
 * have been stopped, so it is nudged. Without one it is what tells of the tree afterwards, and is to be watched by then.
 * False: it has told all.
 */
int brood__owned_nudge_fd(const brood__owned *o, short *ret_events);
bool brood__owned_nudge(brood__owned *o);

/* Nothing is to be ended any more. */
void brood__owned_let_go(brood__owned *o);

/* SIGKILL to all of it, and wait for the end: where it cannot be watched. Then as brood__owned_done. */
void brood__owned_end_here(brood__owned *o);

/* Give the process up: reap it if that is still to be done, close its pidfd. What is left of a tree is ended. */
void brood__owned_done(brood__owned *o);

#endif
