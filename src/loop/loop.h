/*
 * What brood keeps for each libuv loop that it is used on: a mailbox for other threads, the read buffer that all its
 * streams share, and the list of all that lives there. It comes with the first object and goes with the last. Its one
 * handle, the mailbox, is open only while something is going on: a child that has ended, and that the user still holds,
 * is memory and nothing more, so that its close needs no further turn of the loop.
 */
#ifndef BROOD_LOOP_LOOP_H
#define BROOD_LOOP_LOOP_H

#include "base/list.h"

#include <brood/loop.h>

#include <pthread.h>
#include <uv.h>

#define BROOD__READ_BUFFER_SIZE 65536

/* An object that lives on a loop and holds libuv handles in its memory. */
typedef struct brood__loop_part {
    brood__list node;
    const char *start;
    size_t size;
    void (*end)(struct brood__loop_part *); /* NULL: goes by itself, with the others */
} brood__loop_part;

/* Something to run on the loop's thread. Lives in what it is about. */
typedef struct brood__post {
    brood__list node;
    void (*run)(struct brood__post *);
} brood__post;

typedef struct brood__loop {
    brood__list node; /* in the registry */
    uv_loop_t *uv;
    unsigned holds;  /* objects that live here */
    unsigned active; /* those of them that have handles open, or posts under way */
    unsigned busy;   /* starts under way that keep the loop alive */
    unsigned depth;  /* callbacks of brood that are running */
    brood__list parts;
    brood__list watches;            /* own/abort.c's */
    struct brood__mailbox *mailbox; /* NULL: closed */
    unsigned closing;               /* mailboxes that are not closed yet */
    pthread_mutex_t lock;           /* of posted */
    brood__list posted;
    brood__list later;
    bool ending;
    void (*on_closed)(uv_loop_t *loop, void *data);
    void *on_closed_data;
    char *read_buffer; /* BROOD__READ_BUFFER_SIZE bytes */
} brood__loop;

/*
 * brood's part of a loop, made if there is none, and held. -EBUSY: it is being ended; -ENOTSUP: a loop of a libuv that
 * is not ours.
 */
int brood__loop_get(uv_loop_t *uv, brood__loop **ret_loop);
brood__loop *brood__loop_hold(brood__loop *loop);
void brood__loop_release(brood__loop *loop);

void brood__loop_add_part(brood__loop *loop, brood__loop_part *part, const void *start, size_t size,
                          void (*end)(brood__loop_part *));

/* Something is going on here, and needs the mailbox. Each success is paired with a rest. */
int brood__loop_activate(brood__loop *loop);
void brood__loop_rest(brood__loop *loop);

/* Run `post` on the loop's thread: from any thread, or from the loop's own, later. */
void brood__loop_post(brood__loop *loop, brood__post *post);
void brood__loop_later(brood__loop *loop, brood__post *post);

/* Keep the loop alive although no handle does. */
void brood__loop_busy(brood__loop *loop, int change);

/* Around whatever libuv calls. */
static inline void brood__loop_enter(brood__loop *loop) {
    loop->depth++;
}
static inline void brood__loop_leave(brood__loop *loop) {
    loop->depth--;
}

#endif
