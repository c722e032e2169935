/*
 * When something must be done about a child, and what: one small state machine, without any loop or clock of its own,
 * so that the loop's children and the sync forms keep the same promises. Times are microseconds of brood__now_us.
 */
#ifndef BROOD_OWN_DEADLINES_H
#define BROOD_OWN_DEADLINES_H

#include <brood/process.h>

/* What is due. */
typedef enum brood__due {
    BROOD__DUE_NOTHING = 0,
    BROOD__DUE_STOP,  /* the time is over: brood__deadlines_stop was done, send kill_signal */
    BROOD__DUE_KILL,  /* the grace is over: send SIGKILL */
    BROOD__DUE_CHECK, /* see whether what it owns is gone */
    BROOD__DUE_CUT,   /* no more output is waited for */
} brood__due;

typedef struct brood__deadlines {
    /* how long, in milliseconds */
    uint64_t idle_ms, kill_grace_ms, close_grace_ms;
    /* when; BROOD__NEVER: not at all */
    uint64_t timeout_at, idle_at, kill_at, check_at, cut_at;
    uint64_t check_pause_us;
    brood_reason reason; /* why it is being stopped; UNKNOWN: it is not */
    bool exited, killed;
} brood__deadlines;

/* Zero means none for the timeouts; the graces are taken as they are. */
void brood__deadlines_init(brood__deadlines *d, uint64_t now, uint64_t timeout_ms, uint64_t idle_ms,
                           uint64_t kill_grace_ms, uint64_t close_grace_ms);

static inline bool brood__deadlines_stopping(const brood__deadlines *d) {
    return d->reason != BROOD_REASON_UNKNOWN;
}

/* It is to be stopped, for this reason. True if it was not already: then kill_signal must be sent. */
bool brood__deadlines_stop(brood__deadlines *d, uint64_t now, brood_reason reason);

/* Something came out of it. */
void brood__deadlines_activity(brood__deadlines *d, uint64_t now);

/* Its process ended; the end of its output is still to come. */
void brood__deadlines_exited(brood__deadlines *d, uint64_t now);

/* What it owns is to be looked at again soon. */
void brood__deadlines_check_again(brood__deadlines *d, uint64_t now);

/* Nothing stops it any more. */
void brood__deadlines_let_live(brood__deadlines *d);

/* The next moment at which something may be due. */
uint64_t brood__deadlines_next(const brood__deadlines *d);

/* What is due now; ask until it is nothing. */
brood__due brood__deadlines_due(brood__deadlines *d, uint64_t now);

#endif
