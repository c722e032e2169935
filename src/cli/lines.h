/**
 * Lines from standard input, one after another, as fast as whoever takes them wants them.
 */
#ifndef BROOD_CLI_LINES_H
#define BROOD_CLI_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "errand.h"

enum { LINES_READ_SIZE = 65536, LINES_LONGEST = 256 * 1024 * 1024 };

/** Set the first part, the rest zero, then open. Large, and a read into it may outlive everything else: static. */
typedef struct lines {
    /** A line, its line feed gone and a NUL behind it; it may be written to. */
    void (*on_line)(void *data, char *line, size_t len);
    /** No more come: 0 at the end, -EMSGSIZE (a line is too long), or a negative errno. Once, unless stopped before. */
    void (*on_end)(void *data, int error);
    void *data;

    uint64_t number; /* of the line told last, from 1 */
    uint64_t bytes;  /* read so far */

    /* ours */
    bool paused, ended;
    char *line; /* what was read of the next one */
    size_t len, capacity;
    errand read;
    ssize_t result; /* of it: bytes, or a negative errno */
    size_t at, got; /* in the buffer: what has been told, what is there */
    char buffer[LINES_READ_SIZE];
} lines;

/** Before all others: 0, or a negative errno, for which cli_error_text has words. */
int lines_open(lines *l, uv_loop_t *loop);

/** Begin, or go on after a pause. Harmless at any time. on_line may come within the call. */
void lines_resume(lines *l);

/** Tell none until lines_resume. */
void lines_pause(lines *l);

/** Tell none any more, nor the end. */
void lines_stop(lines *l);

/** Whether there is nothing in it. */
bool lines_is_blank(const char *line, size_t len);

#endif
