/*
 * Cgroups for trees that this process starts by itself, all of them in one, which a guard kills when this process has
 * gone, however it went. What the guard is, and why: holder/guard.c, docs/OWNERSHIP.md. Any thread.
 */
#ifndef BROOD_OWN_GUARD_H
#define BROOD_OWN_GUARD_H

#include "own/holder/line.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* A file of this process's, should it have closed the descriptor, and the number be another's. */
typedef struct brood__file {
    int fd; /* -1: none */
    dev_t device;
    ino_t inode;
} brood__file;

bool brood__file_is_still(const brood__file *file);

#define BROOD__CELL_NAME_SIZE (BROOD__CGROUP_NAME_SIZE + 12)

/* The cgroup of one tree. */
typedef struct brood__cell {
    brood__file dir;          /* -1: there is none */
    brood__file events, kill; /* files of it, open: later this process may have another user */
    brood__file freeze;       /* so is this one while it is frozen; else -1 */
    uint32_t number;
    uid_t owner; /* of the directory, as it was made */
    gid_t group;
    mode_t mode;
    bool keeps_peak;                  /* it counts memory, and never forgets: so it is one tree's only */
    bool killed;                      /* so is one that was killed: Linux 6.18 kills what is started into it later */
    char name[BROOD__CELL_NAME_SIZE]; /* in that of all; the end of its path */
} brood__cell;

#define BROOD__CELL_NONE                                                                                               \
    ((brood__cell){.dir = {.fd = -1}, .events = {.fd = -1}, .kill = {.fd = -1}, .freeze = {.fd = -1}})

/*
 * An empty one, below this process's own cgroup as that is now, with a guard that is alive. 0, or a negative errno: it
 * cannot be had, and where that is not for want of something, is not tried again as long as nothing has changed.
 */
int brood__cell_take(brood__cell *ret_cell);

/* SIGKILL to all in it, at once, and to whoever is forked meanwhile. */
void brood__cell_kill(brood__cell *cell);

/* Nothing in it runs meanwhile. What is frozen can be thawed, whatever this process lacks by then. */
int brood__cell_freeze(brood__cell *cell, bool frozen);

/* Give it back: nobody is in it. */
void brood__cell_give(brood__cell *cell);

/* The same where somebody may still be in it: the guard takes it away later. */
void brood__cell_leave(brood__cell *cell, bool lives);

/* Nobody ends who is in it any more. */
void brood__cell_spare(const brood__cell *cell);

/* One could be made, and not be started into: such starts are not tried again as long as nothing has changed. */
void brood__cell_refuse(void);

/*
 * See that there is a guard, if it has something to do. A descriptor of its pidfd for the caller to close; -1: there is none.
 */
int brood__guard_renew(void);

/* Whether the end of this process is the end of all in it: the same, for one tree. */
bool brood__cell_is_guarded(const brood__cell *cell);

/* End the guard, unless there are trees: it has no more to do, and may be in the way. */
void brood__guard_done(void);

#endif
