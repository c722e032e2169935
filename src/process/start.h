/*
 * Starting a program: the one path by which a process comes into being. Any thread; the calling one is suspended until
 * the program runs or has failed to, unless the plan brings room for a start that nobody waits for.
 */
#ifndef BROOD_PROCESS_START_H
#define BROOD_PROCESS_START_H

#include "process/plan.h"

/* A process is its pidfd. */
typedef struct brood__process {
    pid_t pid;
    int pidfd; /* -1: none */
    uint64_t started_us;
    uint64_t rss_floor_kb; /* the peak that exec folded into the child's own */
} brood__process;

#define BROOD__PROCESS_NONE ((brood__process){.pidfd = -1})

/*
 * Carry out a plan. `ahead`, if it is under way then, and the plan must stay until the process has left this memory.
 * On success the slots' host_end are open and the caller's to take; on failure everything is closed
 * and ret_failure (may be NULL) tells the step.
 */
int brood__start(brood__plan *plan, brood__process *ret_process, brood_failure *ret_failure);

/* clone(2) by the C library's other name, which no sanitizer takes for a fork. */
extern int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

/*
 * The clone of a start: `main`, which makes nothing but system calls and never returns, runs in the host's memory while
 * this thread is suspended. `cgroup`: the directory of the cgroup2 that it is born in, or 0. `cleared`, which may be NULL,
 * is zero once it has left this memory. Its pid, or a negative errno.
 */
int brood__clone(int (*main)(void *), void *data, int more_flags, int cgroup, int *cleared, int *ret_pidfd);

/*
 * The same on a stack of its own, and this thread goes on; `cleared` is not NULL. No debugger is told: it would take that
 * memory for another's, and its own breakpoints out.
 */
int brood__clone_ahead(char *stack, int (*main)(void *), void *data, int cgroup, int *cleared, int *ret_pidfd);

/* What a program that is started in this memory has for its peak from the beginning. UINT64_MAX: not known. */
uint64_t brood__peak_kb(void);

/* Whether a child has shown that it shares memory; and could be born in a cgroup. */
bool brood__shares_memory(void);
bool brood__can_be_born_in(void);

/*
 * The halves of a start that somebody else carries out: open what the slots need, so that each has its `source`; put a
 * report into words, and return its error; close what is not the host's, and if it failed the host's ends as well.
 */
int brood__plan_open(brood__plan *plan, brood_failure *ret_failure);
int brood__plan_fail(const brood__plan *plan, const brood__report *report, brood_failure *ret_failure);
void brood__plan_close(brood__plan *plan, bool failed);

/* Close what a start left open in the plan's slots and was not taken, and free the plan's memory. */
void brood__plan_done(brood__plan *plan);

#endif
