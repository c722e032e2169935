/* The end of a tree's cgroup, from the host. */
#ifndef BROOD_OWN_CGROUP_H
#define BROOD_OWN_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* SIGKILL to all in the cgroup that this holder made in `parent_fd`. 0, or a negative errno: -ENOENT: it is gone. */
int brood__cgroup_kill(int parent_fd, pid_t holder, uint64_t made_ns);

/*
 * For each process in it, by a directory of /proc that stays that process's, open for the call. 0, or -EMFILE: some are
 * missing for want of descriptors.
 */
typedef void (*brood__on_process)(int proc, void *data);
int brood__cgroup_each(int parent_fd, pid_t holder, uint64_t made_ns, brood__on_process each, void *data);

/* The same for a cgroup's own directory, whose path ends in this name, which no other ever had. */
int brood__cgroup_each_in(int dir, const char *name, brood__on_process each, void *data);

/* Take an empty one away, with those that were made in it. False: somebody is in one of them. */
bool brood__cgroup_remove(int parent_fd, const char *name);

/* The same, where the holder cannot go on: wait for the end, and take all that it made away. 0 or a negative errno. */
int brood__cgroup_end(int parent_fd, pid_t holder, uint64_t made_ns);

/* The same for a holder that has gone before it could tell whether it had made one; it must not have been waited for. */
void brood__cgroup_end_untold(int parent_fd, pid_t holder);

#endif
