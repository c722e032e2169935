/*
 * The host starts, signals, freezes and kills such a tree by the files of its cgroup; the kernel says there when it is
 * empty. What is hard is to know when this will not do: who is to have limits, a PID namespace or orphans that are waited
 * for has a holder, and so has whoever may not start into a cgroup just now.
 */
#include "own/direct.h"

#include "base/clock.h"
#include "base/memory.h"
#include "base/sys.h"
#include "own/cgroup.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define WAIT_MS 1000

/* --- what is used --- */

static uint64_t value_of(const char *text, const char *word) {
    const char *at = strstr(text, word);
    return at ? strtoull(at + strlen(word), NULL, 10) : 0;
}

/* By whoever was in that cgroup. */
static brood_usage usage_of(const brood__cell *cell) {
    brood_usage usage = {0};
    char text[1024];
    if (brood__read_at(cell->dir.fd, "cpu.stat", text, sizeof text) > 0) {
        usage.user_us = value_of(text, "user_usec ");
        usage.system_us = value_of(text, "system_usec ");
    }
    if (cell->keeps_peak && brood__read_at(cell->dir.fd, "memory.peak", text, sizeof text) > 0)
        usage.tree_peak_kb = strtoull(text, NULL, 10) / 1024;
    return usage;
}

static void count_usage(brood__direct *d) {
    brood_usage usage = usage_of(&d->cell);
    usage.user_us -= d->usage.user_us;
    usage.system_us -= d->usage.system_us;
    d->usage = usage;
}

/* --- the start --- */

/* Such a child would be the first of a namespace, and be nobody's there; and all end in which the first has ended. */
static bool has_children_elsewhere(void) {
    brood__own_thread *thread = brood__thread_if_ours();
    struct stat own, theirs;
    if (thread && thread->children_are_here)
        return false;
    bool here = stat("/proc/thread-self/ns/pid", &own) == 0 &&
                stat("/proc/thread-self/ns/pid_for_children", &theirs) == 0 && own.st_ino == theirs.st_ino;
    if (thread)
        thread->children_are_here = here;
    return !here;
}

/* Whose orphans are ours, or whose ends nobody is told of: there the holder waits for them. */
static bool has_odd_children(void) {
    struct sigaction ends;
    int reaps = 0;
    if (has_children_elsewhere())
        return true;
    if (getpid() == 1 || (prctl(PR_GET_CHILD_SUBREAPER, &reaps, 0, 0, 0) == 0 && reaps))
        return true;
    return sigaction(SIGCHLD, NULL, &ends) < 0 || ends.sa_handler == SIG_IGN || (ends.sa_flags & SA_NOCLDWAIT);
}

static bool needs_holder(const brood__plan *plan) {
    return plan->pid_namespace || plan->accounting || !brood__is_zero(&plan->tree, sizeof plan->tree);
}

static bool is_passing(int error) {
    return brood__is_shortage(error) || error == -EAGAIN || error == -EINTR;
}

/* It is the cgroup, and not the program or a want of something. */
static bool cannot_be_in(int error, const brood_failure *failure) {
    return failure->step == BROOD_STEP_CLONE && !is_passing(error);
}

/* No cgroup is here, or none may be made: so a holder need not try either. */
static bool is_nowhere(int error) {
    return error == -ENOENT || error == -EACCES || error == -EPERM || error == -EROFS;
}

/* *ret_failure is for what is below 0. */
static int try_start(brood__plan *plan, brood__direct *ret, brood__process *ret_process, brood_failure *ret_failure) {
    brood__direct d = BROOD__DIRECT_NONE;
    int r = brood__cell_take(&d.cell);
    if (r < 0)
        return is_nowhere(r) ? BROOD__DIRECT_NOR_ANY_CGROUP : BROOD__DIRECT_NOT;
    if (!brood__can_be_born_in()) { /* which the start of the guard has shown, once for all */
        brood__lacks(BROOD__DIRECT);
        brood__cell_give(&d.cell);
        brood__guard_done();
        return BROOD__DIRECT_NOT;
    }
    d.counts = plan->counts_usage;
    if (d.counts)
        d.usage = usage_of(&d.cell);
    plan->born_in = d.cell.dir.fd;
    r = brood__start(plan, ret_process, ret_failure);
    plan->born_in = 0;
    if (r == 0) {
        d.program = ret_process->pid;
        d.program_fd = ret_process->pidfd;
        brood__direct_glance(&d); /* somebody is in it now: that is no news */
        *ret = d;
        return 0;
    }
    d.cell.killed = cannot_be_in(r, ret_failure); /* by whoever may: then the next one will do */
    brood__direct_done(&d);
    return r;
}

int brood__direct_start(brood__plan *plan, brood__direct *ret, brood__process *ret_process, brood_failure *why) {
    brood_failure failure;
    if (!brood__has(BROOD__DIRECT) || needs_holder(plan) || has_odd_children())
        return BROOD__DIRECT_NOT;
    int r = try_start(plan, ret, ret_process, &failure);
    if (r < 0 && cannot_be_in(r, &failure))
        r = try_start(plan, ret, ret_process, &failure);
    if (r >= 0)
        return r;
    if (cannot_be_in(r, &failure)) {
        brood__cell_refuse();
        brood__guard_done(); /* unless there are trees from before */
        return BROOD__DIRECT_NOT;
    }
    if (why)
        *why = failure;
    return r;
}

BROOD__RAW static int leave_at_once(void *nothing) {
    (void)nothing;
    for (;;)
        syscall(SYS_exit_group, 0);
    return 0;
}

int brood__direct_try(void) {
    brood__cell cell;
    int pidfd = -1;
    if (!brood__has(BROOD__DIRECT) || has_odd_children())
        return -EOPNOTSUPP;
    int r = brood__cell_take(&cell);
    if (r < 0)
        return r;
    r = brood__can_be_born_in() ? brood__clone(leave_at_once, NULL, 0, cell.dir.fd, NULL, &pidfd) : -EOPNOTSUPP;
    if (r > 0)
        brood__reap(pidfd);
    if (r > 0)
        brood__close(pidfd);
    brood__cell_give(&cell);
    brood__guard_done();
    return r < 0 ? r : 0;
}

/* --- whether anything is left --- */

typedef enum inside { SOMEBODY, NOBODY, TAKEN_AWAY } inside;

/* From then on the file tells what is new, unless it was taken away. */
static inside look_inside(const brood__direct *d) {
    char text[128];
    if (!brood__file_is_still(&d->cell.events))
        return SOMEBODY; /* as far as is known */
    ssize_t n = pread(d->cell.events.fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    if (n < 0 && errno == ENODEV)
        return TAKEN_AWAY;
    return strstr(text, "populated 0") ? NOBODY : SOMEBODY;
}

bool brood__direct_glance(brood__direct *d) {
    d->empty = d->empty || look_inside(d) == TAKEN_AWAY;
    return !d->empty;
}

void brood__direct_look(brood__direct *d) {
    if (d->empty || !brood__direct_is(d) || look_inside(d) == SOMEBODY)
        return;
    d->empty = true;
    if (d->counts)
        count_usage(d);
}

/* --- signals --- */

typedef struct sending {
    int signal, sent, error;
    pid_t program; /* which has been sent it */
} sending;

static void send_to(int proc, void *data) {
    sending *s = data;
    char text[16];
    if (s->program && brood__read_at(proc, "stat", text, sizeof text) > 0 && atoi(text) == s->program)
        return;
    int r = brood__pidfd_signal(proc, s->signal); /* a directory of /proc is as good as a pidfd */
    s->sent += r == 0;
    if (r < 0 && r != -ESRCH)
        s->error = r;
}

/*
 * The program by itself: it may have left the cgroup, as root may, and it takes no descriptor. What is frozen takes no
 * signal but SIGKILL: a SIGCONT makes it go on.
 */
int brood__direct_signal(brood__direct *d, int signal) {
    sending s = {.signal = signal, .program = d->program};
    if (d->program) {
        int sent = brood__pidfd_signal(d->program_fd, signal);
        s.sent = sent == 0;
        s.error = sent == -ESRCH ? 0 : sent;
    }
    int r = brood__cgroup_each_in(d->cell.dir.fd, d->cell.name, send_to, &s);
    if (signal == SIGCONT && d->frozen)
        brood__direct_freeze(d, false);
    return r < 0 ? r : s.error < 0 ? s.error : s.sent == 0 ? -ESRCH : 0;
}

int brood__direct_freeze(brood__direct *d, bool frozen) {
    int r = brood__cell_freeze(&d->cell, frozen);
    if (r == 0)
        d->frozen = frozen;
    return r == -EACCES ? -EPERM : r == -ENODEV || r == -ENOENT ? -ESRCH : r;
}

/* --- the end --- */

static void kill_all(brood__direct *d) {
    brood__cell_kill(&d->cell);
    if (d->program)
        brood__pidfd_signal(d->program_fd, SIGKILL);
}

void brood__direct_end(brood__direct *d) {
    if (d->ending || (d->empty && !d->program))
        return;
    d->ending = true;
    kill_all(d);
}

/* The kernel's cgroup.kill passes by a process whose first thread has left while others live (Linux 6.18). */
void brood__direct_end_again(brood__direct *d) {
    d->kills++;
    if (d->kills < 2 || (d->kills & (d->kills - 1)) != 0)
        return; /* those in it are dying */
    kill_all(d);
    brood__direct_signal(d, SIGKILL);
}

void brood__direct_let_go(brood__direct *d) {
    if (d->let_go || d->ending)
        return;
    brood__cell_spare(&d->cell);
    if (d->frozen)
        brood__direct_freeze(d, false);
    d->let_go = true;
}

void brood__direct_wait(brood__direct *d) {
    struct pollfd changed = {.fd = d->cell.events.fd, .events = POLLPRI};
    uint64_t until_us = brood__now_us() + WAIT_MS * 1000;
    if (!brood__direct_is(d))
        return;
    for (int ms = 1; brood__direct_look(d), !d->empty && brood__now_us() < until_us; ms = ms < 64 ? ms * 2 : ms) {
        poll(&changed, 1, ms);
        brood__direct_end_again(d);
    }
}

void brood__direct_done(brood__direct *d) {
    if (!brood__direct_is(d))
        return;
    brood__direct_look(d);
    if (d->empty && d->frozen)
        brood__direct_freeze(d, false);
    if (d->empty && !d->let_go) {
        brood__cell_give(&d->cell);
    } else {
        if (!d->let_go)
            kill_all(d);
        brood__cell_leave(&d->cell, d->let_go);
    }
    *d = BROOD__DIRECT_NONE;
}
