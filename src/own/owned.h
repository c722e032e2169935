/* What a child owns, and how a signal reaches all of it. */
#ifndef BROOD_OWN_OWNED_H
#define BROOD_OWN_OWNED_H

#include "own/deadlines.h"
#include "process/start.h"

#include <brood/own.h>
#include <brood/process.h>

typedef struct brood__owned {
    brood__process process;
    brood_ownership reach; /* CHILD, GROUP or NONE: DEFAULT is resolved before */
    bool ended, reaped;
    int stop_error; /* a stop could not be sent: a negative errno */
} brood__owned;

/*
 * Look whether the process has ended, as brood__process_ended; its pid, and so its group's, is kept from reuse where
 * needed.
 */
bool brood__owned_ended(brood__owned *o, brood_exit *ret_exit);

/* Signal the process alone. 0, -ESRCH once it has ended, -EPERM, -EINVAL. */
int brood__owned_signal(brood__owned *o, int signal);

/* Signal all that is owned. -ESRCH: nothing of it is left, as far as can be seen. */
int brood__owned_signal_all(brood__owned *o, int signal);

/*
 * What a stop sends to all of it: the signal, and SIGCONT, since a stopped process takes a signal only once it goes on.
 */
void brood__owned_ask_to_stop(brood__owned *o, int signal);

/*
 * After a stop and the process's own end: whether what else it owned is gone too. If not, the deadlines say when to ask
 * again. What got SIGKILL is not waited for: it may hang in the kernel, and nobody is to hang with it.
 */
bool brood__owned_settle(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us);

/* Give the process up: reap it if that is still to be done, close its pidfd. */
void brood__owned_done(brood__owned *o);

#endif
