/**
 * One run of `brood run`, shared by the files that prepare it (run_setup.c), watch it (run.c) and tell how it went
 * (run_outcome.c).
 */
#ifndef BROOD_CLI_RUN_H
#define BROOD_CLI_RUN_H

#include <stdbool.h>
#include <time.h>

#include <uv.h>

#include <brood.h>

#include "cli.h"
#include "forward.h"
#include "identity.h"
#include "reaper.h"
#include "relay.h"
#include "run_options.h"
#include "terminal.h"

/** One run, from its options to its exit status. */
typedef struct run {
    const cli_host *host;
    const run_options *options;

    /* run_setup.c's */
    identity who;
    const char *shell_args[5];
    const char *const *args; /* what is executed */
    const char **env;        /* what is set and taken away */
    int files[3];            /* opened for the command's slots; -1: none */
    bool err_is_out;         /* slot 2 is slot 1 */
    brood_slot *others;      /* descriptors beyond these that are handed on */
    size_t other_count;
    int report_fd;       /* -1: no report */
    brood_ownership own; /* never DEFAULT */

    /* run.c's */
    terminal terminal;
    forward forward;
    reaper reaper;
    pid_t parent;    /* who had started us */
    relay relays[2]; /* of slots 1 and 2, with --idle-timeout */
    uv_loop_t loop;
    bool loop_open;
    uv_timer_t drain_timer;
    struct timespec started;

    /* how it went */
    brood_failure failure; /* why it was not started; code 0: it was */
    brood_exit ended;
    brood_guarantee guarantee;
    brood_limited memory_limited;
    bool tree_ended;
    brood_usage tree_usage; /* once tree_ended */
    bool closed;            /* nothing more comes from it */
    int last_signal;        /* the last one passed on */
    int left_by;            /* a signal made brood leave, with output unwritten */
    bool held;              /* that the terminal stopped it has been told */
    bool failed;            /* brood could not do its part, and has said so */
} run;

/* --- run_setup.c --- */

/** Look up, open and decide all that the start needs. Returns 0, or a negative errno with r->failure filled. */
int run_prepare(run *r);

/** Where a slot of the command leads in the end: a descriptor of ours, or -1 for nowhere. */
int run_destination(const run *r, int slot);

/** Whether brood copies this slot's output on. */
bool run_is_relayed(const run *r, int slot);

/** The options for brood_spawn, all but the callbacks. What they point to is the run's. */
brood_options run_child_options(run *r);

/** Close the files that only the command needs: once it runs. */
void run_close_files(run *r);

/** Free all that run_prepare made. */
void run_release_setup(run *r);

/** Fill r->failure with a failure of brood's own, "WHAT: No such file or directory". Returns `code`. */
int run_fail(run *r, brood_step step, const char *what, int code);

/* --- run_outcome.c --- */

/** "group", "child", "tree" or "none". */
const char *run_own_word(brood_ownership own);

/** The command as a shell would read it. Returns ret_text. */
const char *run_command_line(const run *r, char *ret_text, size_t size);

/** Whether words have a place on standard error: where the report goes there, it goes alone. */
bool run_may_speak(const run *r);

/** Whether a time limit ended it. */
bool run_was_stopped(const run *r);

/** Say and report what has to be. Returns brood's exit status. */
int run_conclude(run *r);

#endif
