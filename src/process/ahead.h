/*
 * Starts that nobody waits for: the new process goes its own way in the host's memory while the thread that started it
 * goes on. Whether its program runs is known once it has left that memory, and somebody looks.
 */
#ifndef BROOD_PROCESS_AHEAD_H
#define BROOD_PROCESS_AHEAD_H

#include "process/child.h"
#include "process/start.h"

#include <stdalign.h>

/* All of it, and the plan, stays as it is until the process has left this memory, by its exec or its end. */
typedef struct brood__ahead {
    brood__launch launch; /* its report says whether the program runs, once the process has left */
    bool under_way;       /* it came to that; else it was waited for */
    int is_here;          /* cleared by the kernel when it leaves; one that dumps core ends without */
    alignas(16) char stack[BROOD__CHILD_STACK]; /* if the block is, as malloc(3) promises */
} brood__ahead;

/* Whether it will do for this plan, here and now: then it may bring the room. */
bool brood__ahead_suits(const brood__plan *plan);

/* The half of brood__start that comes after the slots are open. */
int brood__ahead_start(brood__plan *plan, brood__process *ret_process);

/* Its process has left this memory. */
static inline bool brood__ahead_has_left(const brood__ahead *ahead) {
    return __atomic_load_n(&ahead->is_here, __ATOMIC_ACQUIRE) == 0;
}

/* Wait up to 100 ms for the kernel to clear what was `cleared` in a clone. No point of cancellation either. */
void brood__await_cleared(const int *number);
bool brood__has_ended(int pidfd);

#endif
