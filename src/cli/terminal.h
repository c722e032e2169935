/**
 * The controlling terminal: whether it is ours, and its modes put back after a command that could not do so itself.
 */
#ifndef BROOD_CLI_TERMINAL_H
#define BROOD_CLI_TERMINAL_H

#include <stdbool.h>
#include <sys/types.h>
#include <termios.h>

/** The terminal as it was. */
typedef struct terminal {
    int fd;     /* -1: there is none */
    bool saved; /* we were in its foreground, and `modes` counts */
    struct termios modes;
} terminal;

/** Look at the controlling terminal and remember its modes. Without one all else is harmless. */
void terminal_open(terminal *ret_terminal);

/** Whether our process group is the terminal's foreground one now. */
bool terminal_in_foreground(const terminal *tty);

/** Whether the foreground is `group`. */
bool terminal_is_of(const terminal *tty, pid_t group);

/** Make `to` the foreground if `from` is. Returns whether that was done. */
bool terminal_hand(const terminal *tty, pid_t from, pid_t to);

/** Put the modes back, if the terminal was ours and has not become somebody else's since. */
void terminal_restore(const terminal *tty);

/** Close it. Harmless twice. */
void terminal_close(terminal *tty);

#endif
