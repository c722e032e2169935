/*
 * Signals reach brood in three ways, and only the sender tells them apart (si_code): the terminal has sent its own to
 * the whole foreground group, so that the command in it has them already and must not get them twice; whatever a
 * process sent, to brood alone as far as anyone can tell, goes on to the command; and a command outside the
 * foreground group gets all. They are read from a signalfd, not caught: a handler would have to be installed before
 * the start and undone in the child, a blocked signal is the child's unblocked one by itself, and signals that brood
 * was started to ignore (nohup) stay so for both.
 *
 * Job control: brood stops when the command has stopped, not when Ctrl-Z is typed, so that an editor has put the
 * screen in order before the shell, which watches brood, takes the terminal; and a command that does not care for
 * Ctrl-Z goes on. A command that stops itself (ssh's ~^Z, vi's :stop) takes brood along in the same way, else the
 * shell would wait for a job in which nothing runs. `fg` continues both.
 */
#include "forward.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli.h"

enum { LOOK_MS = 10, MOST_LOOKS = 100 }; /* between two looks at a command that is to stop, and is not our child */

/* Those that tell a program that it is broken are no messages; the terminal's stops of brood itself are its own. */
static bool can_be_passed_on(int signal) {
    switch (signal) {
    case SIGKILL:
    case SIGSTOP:
    case SIGCHLD:
    case SIGPIPE:
    case SIGTTIN:
    case SIGTTOU:
    case SIGILL:
    case SIGTRAP:
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGSEGV:
    case SIGSYS:
        return false;
    default:
        return signal < 32 || (signal >= SIGRTMIN && signal <= SIGRTMAX); /* those between are the C library's */
    }
}

static bool is_ignored(int signal) {
    struct sigaction now;
    return sigaction(signal, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static sigset_t signals_to_read(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    for (int signal = 1; signal <= SIGRTMAX; signal++)
        if (can_be_passed_on(signal) && !is_ignored(signal))
            sigaddset(&set, signal);
    return set;
}

static bool is_deadly(int signal) {
    return signal == SIGHUP || signal == SIGINT || signal == SIGQUIT || signal == SIGTERM;
}

/* To a group all of them, as a terminal would; to a whole tree what is to end it. */
static bool is_for_all(const forward *f, int signal) {
    if (f->reach == FORWARD_AS_OWNED)
        return f->own == BROOD_OWN_GROUP || (f->own == BROOD_OWN_TREE && (is_deadly(signal) || signal == SIGKILL));
    return f->reach == FORWARD_TO_ALL || signal == SIGKILL;
}

static int send_signal(forward *f, int signal) {
    return is_for_all(f, signal) ? brood_child_kill_owned(f->child, signal) : brood_child_kill(f->child, signal);
}

static void pass_on(forward *f, int signal) {
    int r = send_signal(f, signal);
    if (r == 0)
        f->passed_on |= UINT64_C(1) << (signal - 1);
    if (r == -ESRCH && !f->ending && is_deadly(signal))
        f->on_leave(f->data, signal); /* it has ended, and we still wait for its output */
    else
        f->on_signal(f->data, signal, r);
}

static void kill_at_last(uv_timer_t *timer) {
    forward *f = timer->data;
    if (!f->child)
        return;
    int r = send_signal(f, SIGKILL);
    if (r < 0)
        f->on_signal(f->data, SIGKILL, r);
}

/* That of the command, or what it was last: it may have ended by the very signal, and a holder leaves no zombie. */
static void find_group(forward *f) {
    pid_t pid = brood_child_pid(f->child), group = pid > 0 ? getpgid(pid) : -1;
    if (group > 0)
        f->group = group;
}

/*
 * Whether the command has got it without us: the terminal sends to a whole group, so it has if it is in ours. When the
 * line is lost, however, SIGHUP first goes to the session's leader alone.
 */
static bool reached_it_already(forward *f, int signal, int code) {
    bool sent_by_kernel = code > 0;
    find_group(f);
    return sent_by_kernel && f->group == getpgrp() && !(signal == SIGHUP && getsid(0) == getpid());
}

/*
 * Stops brood, and with group 0 the whole job, until somebody continues it. In an orphaned group the kernel declines.
 */
static void suspend(pid_t who) {
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTSTP);
    kill(who, SIGTSTP);
    sigprocmask(SIG_UNBLOCK, &stop, NULL); /* it is delivered here, and here we wake up */
    sigprocmask(SIG_BLOCK, &stop, NULL);
}

/* The foreground, from our group to the command's or back. */
static void give_terminal(forward *f) {
    if (f->gives_terminal && f->group > 0 && f->group != getpgrp() && terminal_hand(f->terminal, getpgrp(), f->group))
        f->given = true;
}

static bool take_terminal(const forward *f) {
    return f->given && terminal_hand(f->terminal, f->group, getpgrp());
}

static void handle(forward *f, int signal, int code) {
    if (!f->child) {
        if (is_deadly(signal))
            f->on_leave(f->data, signal);
        return;
    }
    if (brood_child_pid(f->child) == 0 && !is_deadly(signal)) {
        f->held_back |= UINT64_C(1) << (signal - 1); /* before it runs, any signal would cancel the start */
        return;
    }
    bool reached = reached_it_already(f, signal, code);
    f->interrupted = f->interrupted || (signal == SIGINT && code > 0);
    if (!reached)
        pass_on(f, signal);
    if (signal == SIGTERM && f->kill_after_ms && !uv_is_active((uv_handle_t *)&f->kill_timer))
        uv_timer_start(&f->kill_timer, kill_at_last, f->kill_after_ms, 0);
    if (signal == SIGTSTP || signal == SIGCONT)
        f->stop_wanted = signal == SIGTSTP;
}

/* By what signal the command is stopped at this moment, 0 if it runs. Its exit status is left to its owner. */
static int stopped_by(const forward *f, pid_t pid) {
    siginfo_t info = {0};
    if (f->own == BROOD_OWN_TREE) /* the holder's child: the kernel tells its state, and not by what signal */
        return f->stop_wanted && cli_process_state(pid) == 'T' ? SIGTSTP : 0;
    if (pid <= 0 || waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0)
        return 0;
    return info.si_status;
}

/*
 * Looked at only after all waiting signals are handled: at `fg`, SIGCHLD of the old stop and SIGCONT come together,
 * and the command may not have been continued before we have done it. A SIGSTOP out of the blue is not followed: it
 * is somebody's will about the command, not the command's about its terminal, and a time limit has to hold for it.
 */
static void follow_a_stop(forward *f) {
    pid_t pid = brood_child_pid(f->child);
    int signal = stopped_by(f, pid);
    if (signal == 0)
        return;
    if ((signal == SIGTTIN || signal == SIGTTOU) && getpgid(pid) != getpgrp()) {
        if (f->given && terminal_is_of(f->terminal, f->group)) /* it was quicker than we with its terminal */
            brood_child_kill_owned(f->child, SIGCONT);
        else
            f->on_held(f->data, signal);
    } else if (f->stop_wanted) {
        f->stop_wanted = false;
        suspend(getpid());
        give_terminal(f);
    } else if (signal == SIGTSTP && (terminal_in_foreground(f->terminal) || take_terminal(f))) {
        suspend(0); /* the rest of the pipeline too, as if Ctrl-Z had been typed */
        give_terminal(f);
    }
}

static void look_for_a_stop(uv_timer_t *timer) {
    forward *f = timer->data;
    if (f->child)
        follow_a_stop(f);
    if (!f->child || !f->stop_wanted || ++f->looks == MOST_LOOKS) {
        f->stop_wanted = false; /* one that cares for no Ctrl-Z goes on */
        uv_timer_stop(timer);
    }
}

static void read_signals(forward *f) {
    struct signalfd_siginfo info;
    bool child_changed = false;
    while (read(f->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            child_changed = true;
        else
            handle(f, (int)info.ssi_signo, info.ssi_code);
    }
    if (child_changed && f->on_children)
        f->on_children(f->data);
    if (child_changed && f->child)
        follow_a_stop(f);
    if (f->own == BROOD_OWN_TREE && f->stop_wanted) { /* nobody tells us when it has stopped */
        f->looks = 0;
        uv_timer_start(&f->stop_timer, look_for_a_stop, LOOK_MS, LOOK_MS);
    }
}

static void readable(uv_poll_t *poll, int status, int events) {
    (void)status, (void)events;
    read_signals(poll->data);
}

/*
 * These and SIGPIPE, in one step: one that a write of ours left pending must never get through. Our writes fail with
 * EPIPE then; the command starts with an empty mask, and ignores what we were told to.
 */
static void block(int how, sigset_t set) {
    sigaddset(&set, SIGPIPE);
    sigprocmask(how, &set, NULL);
}

void forward_block_sigpipe(void) {
    sigset_t none;
    sigemptyset(&none);
    block(SIG_BLOCK, none);
}

int forward_open(forward *f, uv_loop_t *loop) {
    signal(SIGCHLD, SIG_DFL); /* ignored, it would throw the exit status away */
    sigset_t set = signals_to_read();
    f->fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (f->fd < 0)
        return -errno;
    int r = uv_poll_init(loop, &f->poll, f->fd);
    if (r < 0) {
        close(f->fd);
        f->fd = -1;
        return r;
    }
    if (f->gives_terminal)
        sigaddset(&set, SIGTTOU); /* in the background we are to complain all the same */
    block(SIG_SETMASK, set);
    uv_timer_init(loop, &f->kill_timer);
    uv_timer_init(loop, &f->stop_timer);
    f->poll.data = f->kill_timer.data = f->stop_timer.data = f;
    uv_poll_start(&f->poll, UV_READABLE, readable);
    uv_unref((uv_handle_t *)&f->poll); /* the command keeps the loop alive, not the listening */
    uv_unref((uv_handle_t *)&f->kill_timer);
    uv_unref((uv_handle_t *)&f->stop_timer);
    return 0;
}

void forward_child_started(forward *f) {
    if (f->child)
        find_group(f);
    give_terminal(f);
    for (int signal = 1; f->child && f->held_back; signal++) {
        if (f->held_back & 1)
            pass_on(f, signal);
        f->held_back >>= 1;
    }
}

bool forward_passed_on(const forward *f, int signal) {
    return signal > 0 && (f->passed_on >> (signal - 1) & 1);
}

bool forward_interrupted(const forward *f) {
    return f->interrupted || (f->given && !forward_passed_on(f, SIGINT));
}

void forward_child_ended(forward *f) {
    f->ending = true;
    if (f->fd >= 0)
        read_signals(f);
    take_terminal(f);
    f->child = NULL;
}

void forward_close(forward *f) {
    if (f->fd < 0)
        return;
    uv_close((uv_handle_t *)&f->poll, NULL);
    uv_close((uv_handle_t *)&f->kill_timer, NULL);
    uv_close((uv_handle_t *)&f->stop_timer, NULL);
    close(f->fd);
    f->fd = -1;
    sigset_t none;
    sigemptyset(&none);
    block(SIG_SETMASK, none);
}

void forward_die(int signal_number) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}
