/*
 * A tree that this process starts by itself into a cgroup of its own: without a holder, and so as fast as without a tree.
 * When this process has gone, its guard ends it: guard.h. Where that cannot be had, and for what needs a holder, there is
 * one.
 */
#ifndef BROOD_OWN_DIRECT_H
#define BROOD_OWN_DIRECT_H

#include "own/guard.h"
#include "process/start.h"

#include <brood/process.h>

typedef struct brood__direct {
    brood__cell cell; /* none: the tree is not of this kind */
    bool ending;      /* it was sent SIGKILL */
    bool let_go;      /* nothing ends it any more */
    bool frozen;      /* nothing of it is to run */
    bool empty;       /* nothing of it is left */
    int kills;        /* since it is being ended */
    pid_t program;    /* 0: it has ended */
    int program_fd;   /* its pidfd, which is not ours to close */
    bool counts;      /* its usage is asked for */
    brood_usage
        usage; /* of all of it, once it is empty: what its cgroup has counted; before that, what it had already */
} brood__direct;

#define BROOD__DIRECT_NONE ((brood__direct){.cell = BROOD__CELL_NONE})

static inline bool brood__direct_is(const brood__direct *d) {
    return d->cell.dir.fd >= 0;
}

/* As brood__start; or not by this way, and nothing was done: it takes a holder. */
enum { BROOD__DIRECT_NOT = 1, BROOD__DIRECT_NOR_ANY_CGROUP };
int brood__direct_start(brood__plan *plan, brood__direct *ret_direct, brood__process *ret_process,
                        brood_failure *ret_failure);

/* Whether a process can be started so, just now: one is, which leaves at once. 0 or a negative errno. */
int brood__direct_try(void);

/* Look whether anything of it is left. The event file of its cgroup tells by POLLPRI when to do so again. */
void brood__direct_look(brood__direct *d);

/*
 * Something has changed that does not matter before the program's end: the file is to tell of the next. False: it will
 * not, since the program has left the cgroup, and somebody has taken that away.
 */
bool brood__direct_glance(brood__direct *d);

/* To each process of it. 0, -ESRCH: there is none, or else what kept it from one of them. */
int brood__direct_signal(brood__direct *d, int signal);
int brood__direct_freeze(brood__direct *d, bool frozen);

/* SIGKILL to all of it; and once more to whoever may have been passed by. */
void brood__direct_end(brood__direct *d);
void brood__direct_end_again(brood__direct *d);

void brood__direct_let_go(brood__direct *d);

/* Wait a moment for its end, where that cannot be watched. */
void brood__direct_wait(brood__direct *d);

/* Give it up. What is left of it is ended, unless it was let go. */
void brood__direct_done(brood__direct *d);

#endif
