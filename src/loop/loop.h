/*
 * What brood keeps for each libuv loop that it is used on: a gate through which libuv calls brood, the read buffer that
 * all its streams share, and the list of all that lives there. It comes with the first object and goes with the last.
 * The gate is open only while something is going on: a child that has ended, and that the user still holds, is memory
 * and nothing more, so that its close needs no further turn of the loop.
 */
#ifndef BROOD_LOOP_LOOP_H
#define BROOD_LOOP_LOOP_H

#include "base/list.h"

#include <brood/loop.h>

#include <pthread.h>
#include <uv.h>

#define BROOD__READ_BUFFER_SIZE 65536
#define BROOD__READ_BUFFER_SLACK 16 /* bytes behind it that can be read, and that a reader may overwrite */

/* An object that lives on a loop and holds libuv handles in its memory. */
typedef struct brood__loop_part {
    brood__list node;
    const char *start;
    size_t size;
    void (*end)(struct brood__loop_part *); /* the loop is being ended */
} brood__loop_part;

/* Something to run on the loop's thread. Lives in what it is about. */
typedef struct brood__post {
    brood__list node;
    void (*run)(struct brood__post *);
    bool was_kept; /* it may be taken back */
} brood__post;

typedef struct brood__loop {
    brood__list node; /* in the registry */
    uv_loop_t *uv;
    unsigned holds;  /* objects that live here */
    unsigned active; /* those of them that are watching, or have handles open or posts under way */
    unsigned busy;   /* watches, and starts and posts under way, that keep the loop alive */
    unsigned depth;  /* callbacks of brood that are running */
    brood__list parts;
    brood__list abort_watches;              /* own/abort.c's */
    struct brood__guard_watch *guard_watch; /* own/guard_watch.c's */
    unsigned guarded;                       /* trees that it is for */
    struct brood__gate *gate;               /* NULL: closed */
    int epoll;                              /* of watch.c, while the gate is open */
    struct brood__bell *bell;               /* in it: something was posted */
    struct brood__watch_batch *batch;       /* that watch.c works at */
    brood__list closing;                    /* gates that are not closed yet */
    pthread_mutex_t lock;                   /* of posted */
    brood__list posted;
    brood__list later;
    bool later_due; /* whoever runs `later` is under way */
    brood__list soon;
    unsigned launching; /* child/launch.c's: starts that nobody waits for */
    bool ending;
    void (*on_closed)(uv_loop_t *loop, void *data);
    void *on_closed_data;
    char *read_buffer; /* BROOD__READ_BUFFER_SIZE bytes, and the slack */
} brood__loop;

/*
 * brood's part of a loop, made if there is none, and held. -EBUSY: it is being ended; -ENOTSUP: a loop of a libuv that
 * is not ours.
 */
int brood__loop_get(uv_loop_t *uv, brood__loop **ret_loop);
brood__loop *brood__loop_hold(brood__loop *loop);
void brood__loop_release(brood__loop *loop);
void brood__loop_free_if_unused(brood__loop *loop);

void brood__loop_add_part(brood__loop *loop, brood__loop_part *part, const void *start, size_t size,
                          void (*end)(brood__loop_part *));

/* Something is going on here, and needs the gate. Each success is paired with a rest. */
int brood__loop_activate(brood__loop *loop);
void brood__loop_rest(brood__loop *loop);

/*
 * Run `post` on the loop's thread, from within uv_run. From any thread; what waits for it keeps the loop alive.
 */
void brood__loop_post(brood__loop *loop, brood__post *post, bool was_kept);
/* On the loop's thread: take one back that was kept, and has not run yet: true. */
bool brood__loop_take_back(brood__loop *loop, brood__post *post);
/* Run what was posted. */
void brood__loop_run_posts(brood__loop *loop);
/* The same from the loop's own thread, once whatever calls this has returned. Keeps the loop alive until then. */
void brood__loop_later(brood__loop *loop, brood__post *post);

/* Run `post` within 50 ms, if the loop runs that long: it is not kept alive for that. */
void brood__loop_soon(brood__loop *loop, brood__post *post);

/* Whether a libuv handle is one of the gate's. */
bool brood__gate_has(const brood__loop *loop, const void *handle);

/* One thing more that keeps the loop alive, or one less. */
void brood__loop_busy(brood__loop *loop, int change);

/* Around whatever libuv calls. At the end those have their turn that were put off until later. */
void brood__loop_enter(brood__loop *loop);
void brood__loop_leave(brood__loop *loop);

#endif
