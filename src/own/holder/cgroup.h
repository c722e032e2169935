/* A cgroup of the tree's own, where there is a cgroup2 that the holder may use: the kernel ends all in it at one word. */
#ifndef BROOD_OWN_HOLDER_CGROUP_H
#define BROOD_OWN_HOLDER_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Make one below the holder's own, in the cgroup2 that is mounted at `mount_fd`. Its directory, for a start into it; or a
 * negative errno, and nothing is left: no right to, or it could not be killed.
 */
int cgroup_make(int mount_fd);

/* What holds it, and part of its name, for the host: with the holder gone, it ends the tree. -1: there is none. */
int cgroup_parent(int64_t *ret_made_ns);

/* SIGKILL to all in it, at once, and to whoever is forked meanwhile. False: there is none. */
bool cgroup_kill(void);

/*
 * Take it away, with those that were made in it. While somebody is in it, it cannot be: then a process is left that waits
 * for their end.
 */
void cgroup_remove(void);

#endif
