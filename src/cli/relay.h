/**
 * Output that has to pass through brood: from a command's pipe to a descriptor of ours.
 */
#ifndef BROOD_CLI_RELAY_H
#define BROOD_CLI_RELAY_H

#include <stdbool.h>
#include <stddef.h>

#include <uv.h>

#include <brood.h>

/** One direction. */
typedef struct relay {
    int fd;                      /* where the output goes, borrowed; -1: nowhere */
    void (*on_rest)(void *data); /* what came is written, or cannot be: relay_is_busy is false now */
    void *data;

    /* the loop's side */
    bool open;
    bool writing;         /* a piece is with the thread, and the stream is paused */
    int error;            /* the first thing that failed, a negative errno */
    brood_stream *stream; /* to be resumed; NULL: it has ended */
    uv_async_t written;
    uv_thread_t thread;

    /* the thread's too: under the lock, but for the bytes, which are the thread's while `todo` */
    uv_mutex_t lock;
    uv_cond_t changed;
    bool todo, leave;
    int result;
    char *bytes;
    size_t len, capacity;
} relay;

/** Get ready, with the first three fields set. Returns 0 or a negative errno. */
int relay_open(relay *r, uv_loop_t *loop);

/** A brood_on_data; the slot's data is the relay. */
void relay_take(brood_stream *stream, const char *bytes, size_t len, void *the_relay);

/** A brood_on_end, likewise. */
void relay_end(brood_stream *stream, int error, void *the_relay);

/** The streams are dead: the command's on_close came. Harmless if it was not opened. */
void relay_forget_stream(relay *r);

/** Whether something is still being written. */
bool relay_is_busy(const relay *r);

/**
 * End it; the loop has to run once more. One that is busy is left as it is: only the end of the process ends a write
 * that blocks. Harmless if it was not opened.
 */
void relay_close(relay *r);

#endif
