/*
 * Starter threads: where starts happen that must not hold up a loop. Shared by all loops of the process, made at first
 * need, as many as there are cores and four at most, with every signal blocked, and they live as long as the host.
 */
#ifndef BROOD_LOOP_STARTERS_H
#define BROOD_LOOP_STARTERS_H

#include "loop/keeper.h"

typedef struct brood__job {
    brood__list node;
    void (*work)(struct brood__job *); /* on a starter thread */
    brood__post done;                  /* then on the loop's */
    brood__kept kept;                  /* but what came of it may be looked after for a while */
    bool is_short;                     /* its work waits for nobody: another can wait for that */
    bool host_takes_sigchld;           /* the thread that it comes from does not block it */
    brood__loop *loop;
    bool waiting; /* guarded by the starters' lock */
} brood__job;

/* Hand over a job. Returns 0, or -EAGAIN or -ENOMEM if there is no thread to do it. */
int brood__starters_submit(brood__job *job);

/* Take a job back if nobody has begun it: true, and `done` will not be posted. */
bool brood__starters_cancel(brood__job *job);

/* Whether all threads are asleep, and keep nothing: what they had open is closed. For tests. */
bool brood__starters_are_idle(void);

#endif
