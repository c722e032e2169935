/*
 * An eventfd that wakes a thread out of its epoll set, without a lock that the woken thread would find taken. It may be
 * through with what it was woken for, and close the set, before the other has rung: so whoever lets go last closes it.
 */
#ifndef BROOD_LOOP_BELL_H
#define BROOD_LOOP_BELL_H

#include <stdatomic.h>

typedef struct brood__bell {
    int fd;
    atomic_int holders;
} brood__bell;

/* In this epoll set, which tells of it by NULL, once. Held by the caller. 0, or a negative errno. */
int brood__bell_hang(int epoll, brood__bell **ret_bell);
/* As long as somebody else holds it. */
brood__bell *brood__bell_hold(brood__bell *bell);
void brood__bell_release(brood__bell *bell); /* NULL is harmless */
/* Ring, and release. */
void brood__bell_ring(brood__bell *bell);

#endif
