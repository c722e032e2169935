/* The exec forms' memory of a child's output: up to a limit is kept, the rest is counted. */
#ifndef BROOD_CHILD_COLLECTOR_H
#define BROOD_CHILD_COLLECTOR_H

#include <stddef.h>
#include <stdint.h>

typedef struct brood__collected {
    char *bytes; /* with a NUL after the last, once there is any */
    size_t len, room;
    uint64_t dropped;
} brood__collected;

typedef struct brood__collector {
    brood__collected slot[2]; /* of slots 1 and 2 */
    size_t limit;
} brood__collector;

/* Node's default, 1 MiB, if `max_buffer` is 0. */
void brood__collector_init(brood__collector *c, size_t max_buffer);

/*
 * 0, 1 if the limit is passed, -ENOMEM. What does not fit is counted as dropped. Slots other than 1 and 2 are ignored.
 */
int brood__collector_add(brood__collector *c, int slot, const char *bytes, size_t len);

void brood__collector_done(brood__collector *c);

#endif
