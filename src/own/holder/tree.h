/* The processes that descend from the holder, as /proc shows them, and signals to all of them. */
#ifndef BROOD_OWN_HOLDER_TREE_H
#define BROOD_OWN_HOLDER_TREE_H

#include <stdbool.h>
#include <stdint.h>

/* Before all else, so that nothing is wanting when it counts. 0, or a negative errno: -ESRCH: no /proc of ours. */
int tree_prepare(void);
/* With a directory that is known to be it: this cannot fail. */
void tree_prepare_with(int proc);

/* Send it to each. 0, or a negative errno for the last that could not be sent: what is gone meanwhile does not count. */
int tree_signal(int signal);

/*
 * SIGSTOP to each, again and again until no new one is found: what is stopped does not fork. Returns as tree_signal.
 */
int tree_stop(void);

/* SIGKILL to each. First all are stopped, so that a tree which grows as fast as it is killed comes to its end. */
int tree_kill(void);

/*
 * SIGKILL to the holder's own children: it takes no more than a list of the kernel's, and each death makes others its
 * children. That ends most trees before they need to be looked for; and a process that forks and leaves, again and
 * again, which is nowhere for long, is a child of the holder's each time, until one is killed before it has forked.
 */
void tree_chase(void);

/*
 * Who of it SIGKILL is ending now: the program, if it is among them, else who is dying rather than dead. Each is found
 * only once. False: none is seen, or they cannot be told apart.
 */
bool tree_find_killed(int program, int *ret_pid, char ret_name[16]);

/* CPU time of all of it, the dead included. */
uint64_t tree_cpu_us(void);

/* The number is free again. */
void tree_reaped(int pid);

#endif
