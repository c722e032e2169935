/*
 * A guard that somebody has killed is missed at once, where there is a loop that runs: all trees on it share one watch.
 * Elsewhere it is missed at the next start.
 */
#ifndef BROOD_OWN_GUARD_WATCH_H
#define BROOD_OWN_GUARD_WATCH_H

#include "loop/loop.h"

/* For one tree, from its start to its end. Where it cannot be had, for want of something, it is done without. */
void brood__guard_watch(brood__loop *loop);
void brood__guard_unwatch(brood__loop *loop);

/* Should there be none, for want of what has been set free by now. */
void brood__guard_seek(brood__loop *loop);

#endif
