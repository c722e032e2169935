/* How a process ended: its status, by whatever way it can still be had, and what it used. */
#ifndef BROOD_PROCESS_EXIT_H
#define BROOD_PROCESS_EXIT_H

#include "process/start.h"

#include <brood/process.h>

/*
 * Look whether the process has ended. If so, fill ret_exit (reason EXITED, SIGNALED or UNKNOWN) and return true.
 * `reap`: leave no zombie; else it stays, and may be asked again. ret_reaped: none is left, by our doing or another's.
 */
bool brood__process_ended(const brood__process *process, bool reap, brood_exit *ret_exit, bool *ret_reaped);

/* That it has ended now, and nobody knows how. */
brood_exit brood__exit_unknown(const brood__process *process);

/* How it ended, from a wait status and a usage that came by another way. */
void brood__exit_from(const brood__process *process, int status, const struct rusage *usage, brood_exit *ret_exit);
brood_usage brood__usage_from(const struct rusage *usage, uint64_t rss_floor_kb);

/*
 * Find a process other than this one that has the other end of a pipe open, by /proc: its pid, or 0. Best effort: it
 * sees only what the host may see. `host_end` is the host's descriptor of the pipe.
 */
pid_t brood__pipe_holder(int host_end);

/* Whether anybody has it open. */
bool brood__pipe_is_held(int host_end);

/*
 * Whether a process group has a member that is not a zombie, by /proc: signalling it cannot tell, since zombies that
 * nobody waits for count there for ever. False also where /proc cannot be read.
 */
bool brood__group_lives(pid_t group);

#endif
