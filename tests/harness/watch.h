/*
 * A watch writes down what one child tells: the events in their order as one line of words, the output, the exit. Tests
 * compare the line: `CHECK_STR(w->log, "spawn data end exit close")`. Runs of the same word are written once.
 */
#ifndef WATCH_H
#define WATCH_H

#include "test.h"

typedef struct gathered {
    char *bytes; /* NUL-terminated once something came, else "" */
    size_t len;
    size_t room;
} gathered;

typedef struct watch {
    char log[1024];
    gathered out, err; /* what came from slots 1 and 2 (and from others: out) */
    brood_child *child;
    brood_exit ended; /* as told by on_exit, and again by on_close */
    brood_failure failure;
    pid_t pid;
    int spawns, errors, exits, closes, ends, writes, drains;
    int end_error, write_error;
    bool in_callback;
    bool close_in_exit; /* what to do in a callback */
    bool close_in_close;
    bool close_in_spawn;
    bool close_in_data;
    bool close_in_end;
    bool close_in_error;
    bool quiet; /* count the output, do not keep it */
    void (*then)(struct watch *w, const char *event);
    void *more; /* the test's */
} watch;

watch *watch_new(void);
void watch_on_spawn(brood_child *child, void *data);
void watch_on_error(brood_child *child, const brood_failure *why, void *data);
void watch_on_exit(brood_child *child, const brood_exit *ended, void *data);
void watch_on_close(brood_child *child, const brood_exit *ended, void *data);
void watch_on_data(brood_stream *stream, const char *bytes, size_t len, void *data);
void watch_on_end(brood_stream *stream, int error, void *data);
void watch_on_drain(brood_stream *stream, void *data);
void watch_on_written(brood_stream *stream, int error, void *data);

#define WATCH(w)                                                                                                       \
    .on_spawn = watch_on_spawn, .on_error = watch_on_error, .on_exit = watch_on_exit, .on_close = watch_on_close,      \
    .data = (w)
#define WATCHED                                                                                                        \
    { .on_data = watch_on_data, .on_end = watch_on_end }

/* What an exec answered. */
typedef struct answer {
    int count;
    brood_result result;
} answer;

answer *answer_new(void);
void answer_on_result(brood_result *result, void *data); /* data: the answer */

/* Start a child whose events go to the watch; the options' own callbacks are left if set. START lets it close itself,
 * START_KEPT puts it into w->child, which is the test's to close. A start that fails ends the test. */
#define START(w, ...)                                                                                                  \
    do {                                                                                                               \
        if (!watch_start(t, (w), false, &(brood_options){__VA_ARGS__}, __FILE__, __LINE__))                            \
            return;                                                                                                    \
    } while (0)
#define START_KEPT(w, ...)                                                                                             \
    do {                                                                                                               \
        if (!watch_start(t, (w), true, &(brood_options){__VA_ARGS__}, __FILE__, __LINE__))                             \
            return;                                                                                                    \
    } while (0)
bool watch_start(test *t, watch *w, bool keep, const brood_options *options, const char *file, int line);

/* Declare a watch, start a child whose slot 1 it collects (unless the options say something else of it), run the loop
 * until all is over. */
#define RUN_CHILD(w, ...)                                                                                              \
    watch *w = watch_new();                                                                                            \
    if (!watch_run(t, w, &(brood_options){__VA_ARGS__}, __FILE__, __LINE__))                                           \
    return
bool watch_run(test *t, watch *w, const brood_options *options, const char *file, int line);

/* A start that must fail: its code. */
int watch_refused(test *t, brood_failure *ret_failure, const brood_options *options);

brood_result *result_new(void); /* zero, and done when the test is over */

/* Whether these limits can be kept here for a whole tree. */
bool watch_can_limit(brood_limits limits);

/* Whether the event stands in the log, before the other one. */
bool before(const char *log, const char *event, const char *other);

/* The output of a child that is given as a line "NAME VALUE": the VALUE, NULL if there is no such line. */
const char *line_of(const char *text, const char *name);

/* Whether text holds exactly `count` bytes of the pattern that `brood-child bytes` writes. */
bool is_pattern(const void *bytes, size_t len, size_t count);
void fill_pattern(void *bytes, size_t len);
uint64_t pattern_hash(size_t len); /* what `brood-child drain` prints of it */

#endif
