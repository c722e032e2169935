/*
 * Cgroups of the tree's own, where the holder may make them. In a cgroup2 the kernel ends all at one word; limits are kept
 * there as well, if it has the controllers, and else in the old hierarchies, each of which has one or two.
 */
#ifndef BROOD_OWN_HOLDER_CGROUP_H
#define BROOD_OWN_HOLDER_CGROUP_H

#include "base/sys.h"
#include "process/plan.h"

#include <poll.h>

/*
 * Make one in the cgroup2 that is mounted at `root`, below the holder's own; or `in_root`. Its directory, for a start
 * into it; or a negative errno, and nothing is left: no right to, or it could not be killed.
 */
int cgroup_make(int root, bool in_root);

/*
 * Limit what the plan says, in it or in others that are made for it and that the plan then joins; memory else for each
 * process. `roots` has a descriptor for each hierarchy, or -1. 0, or a negative errno and the limit that cannot be kept.
 */
int cgroup_limit(brood__plan *plan, const int *roots, brood_limit *ret_limit);

/* Where it cannot be born there: the plan joins it. 0, or a negative errno. */
int cgroup_join(brood__plan *plan);
/* It has joined what it was to, or has failed to. */
void cgroup_joined(brood__plan *plan);

/* What holds it, and part of its name, for the host: with the holder gone, it ends the tree. -1: there is none. */
int cgroup_parent(int64_t *ret_made_ns);

/* What the kernel has counted so far. */
typedef struct cgroup_counts {
    uint64_t killed;  /* processes, for want of memory */
    uint64_t refused; /* forks */
} cgroup_counts;

cgroup_counts cgroup_count(void);

/* It has reached its own limit of memory at some time: else whoever was killed has met one around it. */
bool cgroup_is_full(void);

/* What tells that there may be more of each, to be polled. */
void cgroup_events(struct pollfd *ret_killed, struct pollfd *ret_refused);
/* It told, if it tells before it counts: then that comes a little later. */
bool cgroup_signal_seen(void);
/* There is something to be counted that nothing tells of. */
bool cgroup_must_be_asked(void);

bool cgroup_cpu_us(uint64_t *ret_us);  /* false: nobody counts it */
bool cgroup_peak_kb(uint64_t *ret_kb); /* of memory */

/* SIGKILL to all in it, at once, and to whoever is forked meanwhile. False: there is none. */
bool cgroup_kill(void);

/* Nothing in it runs until it is thawed, or killed. False: there is none. */
bool cgroup_freeze(bool frozen);

/*
 * Take all of them away, with those that were made in them. While somebody is in one, it cannot be: then a process is
 * left that waits for their end.
 */
void cgroup_remove(void);

#endif
