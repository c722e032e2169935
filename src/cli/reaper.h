/**
 * The other half of an init's duties, beside passing signals on: what has lost its parent becomes brood's child, and must
 * not stay a zombie.
 */
#ifndef BROOD_CLI_REAPER_H
#define BROOD_CLI_REAPER_H

#include <stdbool.h>
#include <sys/types.h>

/** All-zero is one that reaps nobody. */
typedef struct reaper {
    bool tells; /* yours to set: a line on stderr for each that is reaped */

    /* ours */
    bool ready;
    pid_t command, holder; /* whom the library waits for; holder 0: the command is our own child */
} reaper;

/** From here on orphans below this process become its children. Returns 0 or a negative errno. */
int reaper_open(void);

/** The command runs: from now on it is known who is no orphan. `tree`: it is a holder's child, not ours. */
void reaper_command_started(reaper *r, pid_t command, bool tree);

/** Take the exit statuses of all orphans that have ended: at each SIGCHLD. Does nothing before the command runs. */
void reaper_look(const reaper *r);

#endif
