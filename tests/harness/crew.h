/*
 * A crew writes down what one pool tells: each outcome as "TICKET:FATE", events as words on demand. Its workers are
 * mostly brood-worker (tests/helper/worker.c).
 */
#ifndef CREW_H
#define CREW_H

#include "watch.h"

#define WORKER (test_program("brood-worker"))

typedef struct crew {
    brood_pool *pool; /* NULL once it is closed */
    char log[8192];   /* a blank behind each */
    char events[8192];
    char message[512]; /* of the outcome told last */
    brood_outcome last;
    brood_exit exit;   /* its worker_exit, if there was one */
    int most_accepted; /* the test's */
    int accepted, done, fates[BROOD_FATE_NO_WORKER + 1];
    int progress, closed, drains, strays, started, ended, requeued, failed_starts, gave_up;
    int most_alive, alive;
    int64_t result;   /* of the last outcome, if it is a number */
    pid_t pids[4096]; /* of the workers that live, by their numbers */
    bool log_events, quiet;
    void (*then)(struct crew *crew, const brood_outcome *outcome);
    void (*on_event)(struct crew *crew, const brood_pool_event *event);
    void *more; /* the test's */
    void *jobs; /* the last of them */
    size_t job_count;
} crew;

crew *crew_new(void);
/* False: it could not be opened, in torture mode. What it needs of callbacks is filled in; at the end it is closed. */
bool crew_open(test *t, crew *crew, const brood_pool_options *options);
/* brood-worker's, or any JSON. Returns what brood_pool_run does, and counts it. */
int crew_run(crew *crew, const brood_task *task);
uint64_t crew_do(crew *crew, const char *word);
uint64_t crew_json(crew *crew, const char *json);
void crew_close(crew *crew, uint64_t drain_ms);

#define CREW(name, ...)                                                                                                \
    crew *name = crew_new();                                                                                           \
    if (!crew_open(t, name, &(brood_pool_options){__VA_ARGS__}))                                                       \
    return

#endif
