/**
 * A thread for what may block, a read or a write of what others share with us, while the loop goes on. Not one of
 * libuv's own, which aborts where none can be made.
 */
#ifndef BROOD_CLI_ERRAND_H
#define BROOD_CLI_ERRAND_H

#include <stdatomic.h>
#include <stdbool.h>

#include <uv.h>

/** Set the first part, then open. It must live as long as the process: nothing ends a read that waits. */
typedef struct errand {
    void (*work)(void *data); /* in the thread */
    void (*done)(void *data); /* then, in the loop */
    void *data;

    bool under_way; /* from errand_run to `done` */

    /* ours */
    uv_sem_t wanted;
    atomic_bool worked; /* and not yet told: what the thread wrote is there to read */
    uv_async_t returned;
    uv_thread_t thread;
} errand;

/** Make the thread: 0, or a negative errno; -EAGAIN is a limit of processes. */
int errand_open(errand *e, uv_loop_t *loop);

/** Have the work done once, if it is not under way. It keeps the loop alive. */
void errand_run(errand *e);

#endif
