/* The disks of the host, on each of which a tree's reading and writing is limited. */
#ifndef BROOD_OWN_DISKS_H
#define BROOD_OWN_DISKS_H

#include "base/memory.h"

/*
 * Their numbers, "8:0\n259:0\n", in the arena; NULL: nobody tells of them. Or a negative errno: a disk may have been
 * missed.
 */
int brood__disks(brood__arena *memory, const char **ret_disks);

#endif
