/* How much memory all has that a process owns. */
#ifndef BROOD_OWN_MEMORY_H
#define BROOD_OWN_MEMORY_H

#include "own/owned.h"

/*
 * Resident bytes of the process and all that descends from it, and of a tree of all that is in it; what several share
 * counts for each. 0: it is gone.
 */
uint64_t brood__owned_memory(const brood__owned *o);

#endif
