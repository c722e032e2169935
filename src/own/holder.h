/*
 * The host's end of a tree: one holder, a process of brood's own, starts the program and owns all that descends from
 * it. What it is, and why: holder/main.c, docs/OWNERSHIP.md.
 */
#ifndef BROOD_OWN_HOLDER_H
#define BROOD_OWN_HOLDER_H

#include "process/start.h"

#include <brood/process.h>

typedef struct brood__holder {
    int line;  /* to it, non-blocking; -1: there is none */
    int pidfd; /* its own */
    pid_t pid;
    int cgroups; /* the directory that the tree's cgroup is in; -1: it has none */
    uint64_t cgroup_made_ns;
    pid_t cgroup_pid;                           /* the holder's, as its cgroup is named */
    bool in_namespace;                          /* it is the first of a PID namespace: nobody outlives it */
    bool ending;                                /* it was told to end the tree */
    bool let_go;                                /* it was told to end nothing */
    bool exited;                                /* the program has ended */
    bool empty;                                 /* nothing of the tree is left */
    bool lost;                                  /* it has ended before its work was done: nobody owns the tree */
    int lost_error;                             /* lost: -EOWNERDEAD, unless the kernel has ended the tree */
    bool memory_each;                           /* its memory is limited for each process by itself */
    brood_limit_hit hit;                        /* the last */
    brood_limit_hit untold[BROOD_LIMIT_IO + 1]; /* by limit; those that are NONE have been told */
    bool out_of_cpu_time;
    int denied;        /* a negative errno: something in the tree could not be signalled */
    brood_usage usage; /* of the whole tree, once it is empty */
} brood__holder;

#define BROOD__HOLDER_NONE ((brood__holder){.line = -1, .pidfd = -1, .cgroups = -1})

/* As brood__start, through a holder of its own. */
int brood__holder_start(brood__plan *plan, brood__holder *ret_holder, brood__process *ret_process,
                        brood_failure *ret_failure);

/* Its program as any is started, by a plan that has the argv, of three words at most, and the slots. As brood__start. */
int brood__holder_run(brood__plan *plan, brood__process *ret_process, brood_failure *ret_failure);

#define BROOD__HOLDER_ENDED_EARLY "it ended before it had started the program"

/* The file that it is run from: a descriptor that stays open, or a negative errno. */
int brood__holder_image(void);

/* Whether a holder can be run at all: one is, and told to leave. 0 or a negative errno. */
int brood__holder_try(void);

/*
 * Hear what it says. True, once: the program has ended. Whether nothing is left, or the holder is lost, stands in the
 * holder.
 */
bool brood__holder_hear(brood__holder *h, const brood__process *process, brood_exit *ret_exit);

/* It has no more to say that matters. */
bool brood__holder_is_done(const brood__holder *h);

/* Tell it. 0, -ESRCH: it has ended, or -EAGAIN. `tells`: what could not be signalled is told with the program's end. */
int brood__holder_signal(brood__holder *h, int signal, bool tells);
int brood__holder_freeze(brood__holder *h, bool frozen);
void brood__holder_continue(brood__holder *h); /* should somebody have stopped it */
void brood__holder_end(brood__holder *h);
void brood__holder_let_go(brood__holder *h);

/* Wait for its end, which is not long in coming, should somebody have stopped it as well, and leave no zombie. */
void brood__holder_reap(brood__holder *h);

/*
 * Give it up: what is left of the tree is ended, unless it was let go. A holder that has done its work is waited for,
 * another is left to brood__leftover_reap, unless its tree was let go.
 */
void brood__holder_done(brood__holder *h);

#endif
