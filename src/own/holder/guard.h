/* What a host and the guard of its trees say to each other, and the guard itself: own/guard.c is the host's end. */
#ifndef BROOD_OWN_HOLDER_GUARD_H
#define BROOD_OWN_HOLDER_GUARD_H

#include <stdbool.h>
#include <stdint.h>

/* argv: its name, the host's pid, and the moment at which the cgroup was or is to be made, a part of its name. */
#define BROOD__GUARD_NAME "brood-guard"
#define BROOD__PLACE_FD                                                                                                \
    4 /* the directory that the cgroup is in; its line and the host's pidfd are where a holder's are */

/* On the directory of a tree's cgroup that is not to be killed: so that there is no word that could get lost. */
#define BROOD__SPARED "user.brood.spared"

/*
 * From the host: first that it knows its guard (before that, the end of the line is not its end, but a start that came to
 * nothing); then each time when it is done with a tree in which something may be alive.
 */
typedef struct brood__guard_order {
    uint32_t number; /* of its cgroup; 0: it is known */
    bool lives;      /* it is to be spared, also if that could not be written there */
} brood__guard_order;

/*
 * From what the host has started, the guard's pid: that is its child, so that the host has no child that it knows nothing
 * of, and would wait for. And from the guard 0: it is on guard. Or a negative errno instead of either.
 */
typedef int brood__guard_word;

void guard_main(const char *host, const char *made_ns);

#endif
