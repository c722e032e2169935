/**
 * What every subcommand of `brood` shares: its place in the table, its exit statuses, its way to complain.
 */
#ifndef BROOD_CLI_CLI_H
#define BROOD_CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/** Exit statuses of brood's own, as timeout(1) and env(1) have them. All others are the child's. */
enum {
    CLI_TIMED_OUT = 124,      /* the command was stopped by a time limit */
    CLI_FAILED = 125,         /* brood itself failed, or was used wrongly */
    CLI_NOT_EXECUTABLE = 126, /* the command was found, but cannot be run */
    CLI_NOT_FOUND = 127,      /* the command was not found */
    CLI_SIGNAL_BASE = 128,    /* plus the number of the signal that ended the command */
};

/** What is known when a subcommand starts. */
typedef struct cli_host {
    bool closed[3]; /* brood was started without this standard descriptor */
} cli_host;

/** A subcommand. */
typedef struct cli_command {
    const char *name;
    const char *summary; /* one line for `brood --help` */
    /* args: NULL-terminated, after the name. Returns an exit status. */
    int (*main)(const cli_host *host, char *const *args);
    void (*print_help)(FILE *file);
} cli_command;

extern const cli_command cli_run, cli_talk, cli_pool, cli_doctor;

/** One line on stderr, "brood run: …" or, with command NULL, "brood: …", in one write so that nothing gets between. */
void cli_complain(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * The same while children are looked after: dropped where stderr takes nothing at the moment, since whoever does not
 * read it must not hold up a time limit.
 */
void cli_remark(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A negative errno in words: of a limit that was reached, which, and how to see it. */
const char *cli_error_text(int error);

/** The letter of a process's state, as proc(5) has it; 0: there is none, or no /proc. */
char cli_process_state(pid_t pid);

/** Write it all, also to what somebody else made non-blocking. Returns 0 or a negative errno. */
int cli_write_all(int fd, const char *bytes, size_t len);

/** Print the license, flushed as by cli_flush. Returns an exit status. */
int cli_print_license(const char *command);

/**
 * Whether there are descriptors enough for a loop: libuv does not fail where it finds none for its signals, it aborts.
 * Returns 0 or a negative errno.
 */
int cli_look_for_descriptors(void);

/** Flush what was printed. Returns `status`, or CLI_FAILED after a complaint if it did not all get out. */
int cli_flush(const char *command, int status);

#endif
