/**
 * Signals on their way through brood: which of those that reach it are for the command, and what they do to brood
 * itself.
 */
#ifndef BROOD_CLI_FORWARD_H
#define BROOD_CLI_FORWARD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include <brood.h>

#include "terminal.h"

/** Whom a signal goes to that is passed on. */
typedef enum forward_reach {
    FORWARD_AS_OWNED = 0, /* all of a group; of a tree the command, or all of it what is to end it */
    FORWARD_TO_COMMAND,   /* the command alone */
    FORWARD_TO_ALL,       /* all that is owned */
} forward_reach;

/** Set the first part, then open. */
typedef struct forward {
    const terminal *terminal;
    brood_ownership own; /* not DEFAULT: whether a signal is for the process alone or for its group */
    forward_reach reach;
    bool gives_terminal;    /* the command's own group gets our terminal's foreground */
    uint64_t kill_after_ms; /* SIGKILL so long after a SIGTERM that came to us; 0: never */
    /** One was passed on; `result` is 0 or a negative errno. */
    void (*on_signal)(void *data, int signal, int result);
    /** A deadly one came after the command had ended. */
    void (*on_leave)(void *data, int signal);
    /** The command reached for a terminal in which its group is not the foreground, and was stopped. */
    void (*on_held)(void *data, int signal);
    /** A child of ours has ended, stopped or gone on; it may be an orphan's end. May be NULL. */
    void (*on_children)(void *data);
    void *data;

    brood_child *child; /* yours to set, right after the start */

    /* what is known afterwards */
    bool interrupted;   /* Ctrl-C was typed at our terminal */
    uint64_t passed_on; /* signals 1 to 64 that went to the command, a bit each */

    /* ours */
    bool given;         /* the terminal's foreground was */
    pid_t group;        /* the command's process group; 0: not known */
    uint64_t held_back; /* signals that came before it ran */
    bool ending;        /* what comes now came too late to end us */
    unsigned looks;     /* for a stop that does not come */
    bool stop_wanted;   /* SIGTSTP came, and nothing has stopped yet */
    int fd;             /* -1: not open */
    uv_poll_t poll;
    uv_timer_t kill_timer;
    uv_timer_t stop_timer;
} forward;

/** Take all signals from here on; they wait until the loop runs. Returns 0 or a negative errno. */
int forward_open(forward *f, uv_loop_t *loop);

/** Block SIGPIPE, which forward_open does too. */
void forward_block_sigpipe(void);

/** The command runs: pass on what came meanwhile. */
void forward_child_started(forward *f);

/** Whether a signal of this number was passed on to the command. */
bool forward_passed_on(const forward *f, int signal);

/** Whether Ctrl-C was typed: at our terminal, or at the command's, which we had given it. */
bool forward_interrupted(const forward *f);

/**
 * To be called when the command has ended and before it is closed. Handles what still waits: Ctrl-C reaches both at
 * once.
 */
void forward_child_ended(forward *f);

/** Stop listening: from now on signals do to us what they do by default. The loop has to run once more. */
void forward_close(forward *f);

/** Die by this signal instead of exiting. Returns if that is not possible. */
void forward_die(int signal);

#endif
