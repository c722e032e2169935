/* Where cgroup2 is mounted, and the end of a tree's cgroup whose holder has gone. */
#ifndef BROOD_OWN_CGROUP_H
#define BROOD_OWN_CGROUP_H

#include "process/plan.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Where a tree's cgroups may be made: a descriptor for each hierarchy that there is and that these limits need, in their
 * order, to be closed. How many, or a negative errno: want of descriptors. *ret_hierarchies has a bit for each. *ret_in_root: a cgroup2 that hands on the
 * controllers was found, and that is the first of them.
 */
ssize_t brood__cgroup_roots(const brood_limits *limits, int *ret_fds, unsigned *ret_hierarchies, bool *ret_in_root);

/* The cgroup2 that this process is in: its directory, to be closed, or a negative errno; -ENOENT: there is none. */
int brood__cgroup_own(void);

/* Whether it has any of the controllers that limits need, be it handed on or not. */
bool brood__cgroup_controls(int dir);

/* SIGKILL to all in the cgroup that this holder made in `parent_fd`. 0, or a negative errno: -ENOENT: it is gone. */
int brood__cgroup_kill(int parent_fd, pid_t holder, uint64_t made_ns);

/* The same, where the holder cannot go on: wait for the end, and take all that it made away. 0 or a negative errno. */
int brood__cgroup_end(int parent_fd, pid_t holder, uint64_t made_ns);

#endif
