/*
 * Terminal modes belong to the terminal, not to a process: a program killed while it had echo switched off leaves a
 * blind shell behind. Shells put the modes back when a job of theirs dies by a signal, but brood is the job and exits
 * in good order, so it has to do it instead. A command that ends by itself is left alone: `brood run -- stty -echo`
 * means it.
 */
#include "terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void terminal_open(terminal *ret_terminal) {
    *ret_terminal = (terminal){.fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)};
    if (terminal_in_foreground(ret_terminal))
        ret_terminal->saved = tcgetattr(ret_terminal->fd, &ret_terminal->modes) == 0;
}

bool terminal_is_of(const terminal *tty, pid_t group) {
    return tty->fd >= 0 && tcgetpgrp(tty->fd) == group;
}

bool terminal_in_foreground(const terminal *tty) {
    return terminal_is_of(tty, getpgrp());
}

/* From the background, and so from the moment that the foreground is given away, the kernel would stop us with it. */
static void block_sigttou(sigset_t *ret_before) {
    sigset_t block;
    sigemptyset(&block);
    sigaddset(&block, SIGTTOU);
    sigprocmask(SIG_BLOCK, &block, ret_before);
}

bool terminal_hand(const terminal *tty, pid_t from, pid_t to) {
    sigset_t before;
    if (!terminal_is_of(tty, from))
        return false;
    block_sigttou(&before);
    bool handed = tcsetpgrp(tty->fd, to) == 0;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return handed;
}

/* The command may have taken the foreground (an interactive shell does) and died with it. */
static bool is_nobodys(const terminal *tty) {
    pid_t foreground = tcgetpgrp(tty->fd);
    return foreground > 0 && kill(-foreground, 0) < 0 && errno == ESRCH;
}

void terminal_restore(const terminal *tty) {
    if (!tty->saved || !(terminal_in_foreground(tty) || is_nobodys(tty)))
        return;
    sigset_t before;
    block_sigttou(&before);
    tcsetattr(tty->fd, TCSANOW, &tty->modes); /* not TCSADRAIN: after Ctrl-S it would wait for ever */
    sigprocmask(SIG_SETMASK, &before, NULL);
}

void terminal_close(terminal *tty) {
    if (tty->fd >= 0)
        close(tty->fd);
    tty->fd = -1;
}
