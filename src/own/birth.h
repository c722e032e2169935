/*
 * A tree by a holder, where no cgroup, no namespace and no other user is to be had: the holder starts the program before
 * it is the holder's program itself, so that both are loaded at the same time, and nothing has to be told to anybody.
 */
#ifndef BROOD_OWN_BIRTH_H
#define BROOD_OWN_BIRTH_H

#include "own/holder.h"

/* Whether it will do for this plan, on this machine. */
bool brood__birth_can(const brood__plan *plan);

/* As brood__holder_start. 1: it did not come to that, nothing was done, and the other way may know why. */
int brood__birth_start(brood__plan *plan, brood__holder *ret_holder, brood__process *ret_process,
                       brood_failure *ret_failure);

#endif
