/* Where the cgroups of trees may be made. */
#ifndef BROOD_OWN_PLACE_H
#define BROOD_OWN_PLACE_H

#include "process/plan.h"

#include <sys/types.h>

/*
 * A descriptor for each hierarchy that there is and that these limits need, in their order, to be closed. How many, or a
 * negative errno: want of descriptors. *ret_hierarchies has a bit for each. *ret_in_root: a cgroup2 that hands on the
 * controllers was found, and that is the first of them.
 */
ssize_t brood__place_roots(const brood_limits *limits, int *ret_fds, unsigned *ret_hierarchies, bool *ret_in_root);

/* The directory of this process's own cgroup in a hierarchy, to be closed; or a negative errno. */
int brood__place_own(brood__hierarchy hierarchy);
/* Its path in cgroup2, and the namespace that this is in, to be compared. False: it is in none, or too deep. */
bool brood__place_path(char *ret_path, size_t size);
/* Whether a cgroup2's directory has controllers that a tree's limits need. */
bool brood__place_controls(int dir);

#endif
