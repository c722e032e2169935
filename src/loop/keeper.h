/*
 * What a starter thread looks after beside its next job: what came of the jobs before. A loop then hears of one once, when
 * there is nothing more to hear.
 */
#ifndef BROOD_LOOP_KEEPER_H
#define BROOD_LOOP_KEEPER_H

#include "loop/bell.h"
#include "loop/loop.h"

#include <sys/epoll.h>

#define BROOD__KEPT_ENDS 3
#define BROOD__KEPT_BATCH 64

typedef enum brood__news {
    BROOD__MORE_TO_COME,
    BROOD__THAT_IS_ALL,  /* of this end */
    BROOD__FOR_THE_LOOP, /* the job is the loop's, as it is */
    BROOD__COMPLETE,     /* the same, once it has been completed */
} brood__news;

/* A descriptor that is waited for. */
typedef struct brood__kept_end {
    struct brood__job *job;
    int fd; /* -1: it is not waited for any more; the job's to close */
} brood__kept_end;

/* The part of a job that is about being kept. Its work fills in the descriptors; without any it is not kept. */
typedef struct brood__kept {
    brood__kept_end ends[BROOD__KEPT_ENDS];
    size_t end_count;
    /* On the starter thread, and whoever takes the job back waits meanwhile: an end can be read. */
    brood__news (*hear)(struct brood__job *, brood__kept_end *);
    /* The same: no end is waited for any more, and may be closed. */
    void (*complete)(struct brood__job *);
    _Atomic(struct brood__keeper *) keeper; /* it was ever kept: by this one */
    bool is_kept;                           /* it still is, and not yet posted; under the keeper's lock */
    atomic_bool unwanted;                   /* nobody is to begin to keep it */
    uint64_t until_us;
} brood__kept;

/* What epoll has told, and is worked off one by one. */
typedef struct brood__kept_batch {
    struct epoll_event events[BROOD__KEPT_BATCH];
    int at, count;
} brood__kept_batch;

/* A thread's. Its descriptors are open while it keeps anything. */
typedef struct brood__keeper {
    pthread_mutex_t lock;
    brood__list jobs;  /* the oldest first */
    brood__list given; /* to be posted */
    int epoll;
    brood__bell *bell; /* wakes the thread; NULL: there is nothing to wait for here */
    uint64_t next_us;
    unsigned recalls;        /* jobs that were taken back, */
    unsigned recalls_before; /* as it went to sleep: if there was one since, what it was told then may be of that */
    brood__kept_batch batch;
} brood__keeper;

void brood__keeper_init(brood__keeper *k);

/* --- on its thread --- */

static inline bool brood__keeper_has_any(const brood__keeper *k) {
    return k->bell;
}

/* The job's work is done. Whether it is kept now; else it is to be posted. */
bool brood__keeper_take(brood__keeper *k, struct brood__job *job);
/* Wait until there is news, or its bell rings: how many were told. */
int brood__keeper_wait(brood__keeper *k);
/* Hear the news, and give to its loop what is complete, or has been here for long. `told`: by a wait just now, or 0. */
void brood__keeper_hear(brood__keeper *k, int told);
/* Give away all that is kept: the thread may not come back soon. */
void brood__keeper_give_all(brood__keeper *k);

/* --- on the thread of the job's loop --- */

/* Take it back, as it is; it will not be posted: true. Or it is not kept, and will not be. */
bool brood__keeper_recall(struct brood__job *job);

#endif
