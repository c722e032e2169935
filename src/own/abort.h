/* The abort switch from inside: who listens, and on what. */
#ifndef BROOD_OWN_ABORT_H
#define BROOD_OWN_ABORT_H

#include "base/list.h"
#include "loop/loop.h"

#include <brood/own.h>

brood_abort *brood__abort_hold(brood_abort *abort); /* NULL gives NULL; given back by brood_abort_free */
int brood__abort_fd(const brood_abort *abort);      /* readable once it is pulled, for ever */

/* One listener on a loop: called once, on the loop's thread, after the switch was pulled. */
typedef struct brood__abort_listener {
    brood__list node;
    struct brood__abort_watch *watch; /* NULL: not listening */
    void (*pulled)(struct brood__abort_listener *);
} brood__abort_listener;

/* Listen. All listeners of a switch on one loop share one poll. */
int brood__abort_listen(brood__loop *loop, brood_abort *abort, brood__abort_listener *listener);
/* Harmless if it does not listen. */
void brood__abort_unlisten(brood__abort_listener *listener);

#endif
