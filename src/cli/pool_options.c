/*
 * The option table of `brood pool`, and the readers of its values. Nothing is looked up and nothing opened.
 */
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <string.h>

#include "text.h"

enum { MOST_WORKERS = 10000, MOST_PREFETCH = 64 };

static int read_count(const char *text, uint64_t most, unsigned *ret_count, args_problem *problem) {
    uint64_t number;
    if (text_read_number(text, 10, &number) < 0 || number == 0 || number > most)
        return most < UINT_MAX ? args_refuse(problem, "not a number from 1 to %llu", (unsigned long long)most)
                               : args_refuse(problem, "not a number from 1 on");
    *ret_count = (unsigned)number;
    return 0;
}

static int read_number(const char *text, void *field, args_problem *problem) {
    return read_count(text, UINT_MAX, field, problem);
}

static int read_prefetch(const char *text, void *field, args_problem *problem) {
    return read_count(text, MOST_PREFETCH, field, problem);
}

/* "4": at most; "2..8": so many always, and at most. */
static int read_workers(const char *text, void *field, args_problem *problem) {
    unsigned *counts = field; /* min, max */
    const char *dots = strstr(text, "..");
    char least[24];
    uint64_t number;
    if (!dots && read_count(text, MOST_WORKERS, &counts[1], problem) < 0)
        return args_refuse(problem, "not a number of workers; write 4, or 2..8");
    if (!dots)
        return 0;
    size_t len = (size_t)(dots - text);
    snprintf(least, sizeof least, "%.*s", (int)(len < sizeof least ? len : sizeof least - 1), text);
    if (text_read_number(least, 10, &number) < 0 || number > MOST_WORKERS)
        return args_refuse(problem, "not a number of workers; write 4, or 2..8");
    counts[0] = (unsigned)number;
    int r = read_count(dots + 2, MOST_WORKERS, &counts[1], problem);
    if (r == 0 && counts[0] > counts[1])
        return args_refuse(problem, "the first is more than the second; write MIN..MAX");
    return r;
}

static int read_time(const char *text, void *field, args_problem *problem) {
    if (text_read_duration(text, field) < 0)
        return args_refuse(problem, "not a time; write 10, 1.5s, 500ms, 2m, 1h, 1d, or 0 for none");
    return 0;
}

const args_option batch_option_table[] = {
    {.section = "Workers",
     .name = "workers",
     .letter = 'w',
     .value = "N|MIN..MAX",
     .read = read_workers,
     .field = offsetof(batch_options, min_workers),
     .help = "so many at a time, at most, started as they are needed; the number of CPUs if not given",
     .also = "j n P jobs concurrency threads max-workers max-procs"},
    {.name = "prefetch",
     .value = "N",
     .read = read_prefetch,
     .field = offsetof(batch_options, prefetch),
     .help = "tasks that a worker is sent ahead, the one it works at among them: more than 1 saves waiting where tasks "
             "are tiny",
     .also = "batch"},
    {.name = "recycle",
     .value = "N",
     .read = read_number,
     .field = offsetof(batch_options, recycle),
     .help = "replace a worker that has done so many tasks, less up to an eighth: for those that leak",
     .also = "max-tasks-per-child maxtasksperchild max-requests"},
    {.name = "ready",
     .field = offsetof(batch_options, ready),
     .help = "a worker takes tasks only when it has sent \"ready\", which brood_worker_main does not",
     .also = "wait-ready"},
    {.name = "advanced",
     .letter = 'a',
     .field = offsetof(batch_options, advanced),
     .help = "send structured clone (Node's serialization: 'advanced') instead of JSON; lines stay JSON"},
    {.section = "Tasks",
     .name = "task-timeout",
     .letter = 't',
     .value = "TIME",
     .read = read_time,
     .field = offsetof(batch_options, task_timeout_ms),
     .help = "stop a worker, with all that it has started, that is so long at one task",
     .also = "timeout"},
    {.name = "attempts",
     .value = "N",
     .read = read_number,
     .field = offsetof(batch_options, attempts),
     .help = "begin a task so often at most, when its worker crashes or runs out of time; 3 if not given, 1: never "
             "twice",
     .also = "retries tries"},
    {.name = "wrap",
     .field = offsetof(batch_options, wrap),
     .help = "send each task as {id, task}: it may be any value, and have an id of its own"},
    {.section = "Output",
     .name = "order",
     .letter = 'k',
     .field = offsetof(batch_options, order),
     .help = "results in the order of the tasks, not as they come",
     .also = "keep-order"},
    {.name = "progress",
     .field = offsetof(batch_options, progress),
     .help = "tell how it is going: on a terminal in one line, else as a line of JSON each second, on standard error",
     .also = "bar eta"},
    {.name = "trace",
     .value = "FILE",
     .read = args_read_text,
     .field = offsetof(batch_options, trace),
     .help = "write what each worker did when, for Perfetto or chrome://tracing"},
    {.name = "quiet",
     .letter = 'q',
     .field = offsetof(batch_options, quiet),
     .help = "no summary at the end",
     .also = "silent"},
    {.section = "Other",
     .name = "help",
     .letter = 'h',
     .field = offsetof(batch_options, help),
     .last = true,
     .help = "print this"},
    {0},
};
