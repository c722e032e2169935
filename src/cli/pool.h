/**
 * One run of `brood pool`, shared by the files that read its options (pool_options.c), do the work (pool.c), print what
 * comes of it (pool_output.c) and tell how it goes (pool_report.c, pool_trace.c).
 */
#ifndef BROOD_CLI_POOL_H
#define BROOD_CLI_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <uv.h>

#include <brood.h>

#include "args.h"
#include "lines.h"
#include "out.h"

enum { BATCH_FATES = BROOD_FATE_NO_WORKER + 1 };

/** All-zero is `brood pool -- WORKER`. Texts are borrowed from the arguments. */
typedef struct batch_options {
    unsigned min_workers, max_workers; /* 0: the number of CPUs */
    uint64_t task_timeout_ms;          /* 0: none */
    unsigned attempts, prefetch;       /* 0: the library's */
    unsigned recycle;                  /* 0: never */
    bool order, wrap, advanced, ready, progress, quiet, help;
    const char *trace; /* a path, or NULL */
} batch_options;

extern const args_option batch_option_table[];

/** One result in order, from the line's reading to its printing. */
typedef struct batch_slot {
    bool ready;
    out text;
} batch_slot;

/** One run, from its options to its exit status. */
typedef struct batch {
    const batch_options *options;
    char *const *command;
    uv_loop_t loop;
    brood_pool *pool; /* NULL: it is closed */

    /* what goes in */
    lines lines;
    uint64_t window;          /* so many lines at most are taken and not yet printed */
    uint64_t taken, settled;  /* lines, blank ones too */
    uint64_t open_bytes;      /* of lines that are not settled */
    bool input_end, draining; /* a signal came: what runs is finished, nothing else begun */
    unsigned at_work;         /* tasks that workers have */
    uv_signal_t signals[3];
    unsigned signal_count;
    uv_timer_t patience; /* with what runs, where nobody will send a second signal */
    int signal;          /* that came first */

    /* what comes out */
    batch_slot *slots; /* with `order`: window of them, by the number of the line */
    out out;           /* to be written */
    out scratch;
    size_t out_at;    /* so much of it has been written */
    uint64_t written; /* lines, ever */
    uint64_t kept;    /* bytes in slots */
    bool held_up;     /* the pool is paused, until results have gone */
    bool abandoned;   /* it is not waited for any more */
    bool unread;      /* nobody will ever read it */
    bool blocked;     /* it takes no more for now */
    bool out_is_terminal;
    bool any_fd; /* standard output can be waited for */
    int epoll;   /* that it is waited for in; -1: none */
    uv_poll_t room;
    uv_check_t turn;

    /* how it goes */
    uint64_t fates[BATCH_FATES], refused, undone, retries;
    unsigned workers; /* started */
    uint64_t begun_us, input_size;
    uv_timer_t tick;
    bool tells_progress, is_terminal, line_is_open;
    bool told_stray; /* that a worker says what is no answer */
    bool any_ready;
    bool unready; /* one that was to say that it is ready never did, nor had another */
    FILE *trace;
    uint64_t trace_begun_us;
    bool trace_any;
    bool failed; /* brood could not do its part, and has said so */
    int status;  /* of that; 0: 125 */
} batch;

/* --- pool_output.c --- */

/** Open standard output as it is: 0 or a negative errno. */
int batch_open_output(batch *b);
/** The line's result, or that it has none (blank, or given up), which prints nothing. */
void batch_settle(batch *b, uint64_t line, out *text); /* taken, where it is kept: empty then */
/** Write what can be written now. */
void batch_flush(batch *b);
/** Begin no more tasks while too many results are there, and go on when they have gone. */
void batch_hold_up(batch *b);
/** Nothing is left to write, or nobody to write it to. */
bool batch_is_flushed(const batch *b);
void batch_close_output(batch *b);

/* --- pool_report.c --- */

/** Say that brood failed. `status` is what it exits with. */
void batch_complain(batch *b, int status, const char *format, ...) __attribute__((format(printf, 3, 4)));
void batch_open_report(batch *b);
/** Take the line of progress away, so that something else can be written. */
void batch_clear_line(batch *b);

/** Say where tasks come from, if that is somebody who may be waiting for us. */
void batch_tell_source(void);

/** What goes on that a newcomer would wait for in vain, once. */
void batch_hint(batch *b, const brood_pool_event *event);

/** What to look at where workers are of no use, or NULL. */
const char *batch_advice(const batch *b);

/** The last words. */
void batch_summarise(batch *b);
void batch_close_report(batch *b);
uint64_t batch_failures(const batch *b);

/* --- pool_trace.c --- */

/** Begin the file: 0 or a negative errno. */
int batch_open_trace(batch *b);
void batch_trace(batch *b, const brood_pool_event *event);
/** End it: 0 or a negative errno. Harmless if there is none. */
int batch_close_trace(batch *b);

/** Stop reading, and end what is under way. */
void batch_stop(batch *b);

#endif
