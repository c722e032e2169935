/**
 * The options of `brood run`: what was written, read and checked for sense, nothing looked up and nothing opened.
 */
#ifndef BROOD_CLI_RUN_OPTIONS_H
#define BROOD_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <brood.h>

#include "args.h"

/** Words that an option was given, in order. */
typedef struct run_words {
    const char **items;
    size_t count;
} run_words;

/** Resource limits, in order: a later one for the same resource wins. */
typedef struct run_limits {
    brood_rlimit *items;
    size_t count;
} run_limits;

/** A time that may not have been given. 0: never. */
typedef struct run_time {
    bool given;
    uint64_t ms;
} run_time;

/** A file mode mask that may not have been given. */
typedef struct run_mask {
    bool given;
    mode_t mode;
} run_mask;

/** Exit statuses, a bit each. */
typedef struct run_codes {
    bool given;
    uint64_t bits[4];
} run_codes;

/** All-zero is `brood run -- CMD`. Texts are borrowed from the arguments. */
typedef struct run_options {
    bool help, license;
    /* what it gets */
    const char *cwd;
    run_words env; /* "NAME=value", or "NAME" to take away */
    bool clear_env;
    const char *user, *group, *groups; /* as written: looked up later */
    run_mask umask;
    int nice;
    run_limits limits;
    bool shell;
    /* its input and output: a path, or "null" */
    const char *in, *out, *err;
    bool append, err_to_out, close_fds;
    /* when it ends */
    run_time timeout, idle_timeout, kill_after;
    int signal; /* 0: SIGTERM */
    bool preserve_status;
    brood_ownership own;
    bool tree; /* own is TREE, and was written so */
    brood_guarantee require;
    bool pid_namespace;
    brood_limits tree_limits;
    bool detach;
    /* the duties of an init */
    bool init, signal_group, warn_zombies;
    int parent_death; /* a signal for us when our parent ends; 0: none */
    run_codes remapped;
    /* what is told */
    bool report;
    const char *report_file;
    bool quiet, verbose;

    char *const *command; /* NULL-terminated, borrowed; never empty unless help or license */
} run_options;

/**
 * Read and check.
 *
 * args         NULL-terminated, after "run"; must outlive the options
 * ret_options  always written, and yours to run_options_done
 *
 * Returns 0, -EINVAL with the problem told, or -ENOMEM.
 */
int run_options_read(run_options *ret_options, char *const *args, args_problem *problem);

/** Free what was read. All-zero is harmless. */
void run_options_done(run_options *options);

/** Whether --remap-exit makes 0 of this exit status. */
bool run_is_remapped(const run_options *options, int status);

/** An args_reader: a brood_guarantee, "best-effort" or "kernel". */
int run_read_guarantee(const char *text, void *field, args_problem *problem);

/** The resource's name as --limit has it: "nofile". "" for none of them. */
const char *run_limit_name(int resource);

/** `brood run --help`. */
void run_options_print_help(FILE *file);

#endif
