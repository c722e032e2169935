/*
 * What this host has, tried out for brood_host_probe: each thing by the very call that brood makes elsewhere, since
 * what a filter, a sysctl or an old kernel forbids cannot be read from anywhere. A feature that a test has taken away is
 * not there. Nothing is left behind: what was started has ended and is reaped.
 */
#include "own/probe.h"

#include "base/sys.h"
#include "own/holder.h"
#include "process/start.h"

#include <errno.h>
#include <linux/close_range.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TRIAL_CODE 42

static bool is_want(int result) {
    return result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -EAGAIN || result == -ENOSPC;
}

void brood__probe_tell(const brood__prober *p, const brood_probe *probe, int result) {
    brood_probe told = *probe;
    told.answer = result >= 0 ? BROOD_ANSWER_YES : is_want(result) ? BROOD_ANSWER_UNKNOWN : BROOD_ANSWER_NO;
    told.code = result < 0 ? result : 0;
    if (told.answer == BROOD_ANSWER_YES)
        told.detail = told.remedy = NULL;
    if (told.answer == BROOD_ANSWER_UNKNOWN) {
        told.detail = "it could not be tried, for want of descriptors, memory or processes";
        told.remedy = "try again with more of them";
    }
    p->each(&told, p->data);
}

/* --- starting --- */

/* What one child shows: that it ran in our memory, that it has a pidfd, and how it ended once it was reaped. */
typedef struct trial {
    bool entered;
    int pidfd; /* -1: it got none */
    int reaped_status;
    int reaped; /* 0, or why that is not known */
} trial;

BROOD__RAW static int trial_main(void *the_trial) {
    ((trial *)the_trial)->entered = true;
    syscall(SYS_exit_group, TRIAL_CODE);
    return 0;
}

static int trial_run(trial *t) {
    *t = (trial){.pidfd = -1, .reaped = -ENODATA};
    int pid = brood__clone(trial_main, t, 0, 0, NULL, &t->pidfd);
    if (pid < 0)
        return pid;
    if (t->pidfd < 0) {
        waitpid(pid, NULL, 0);
        return 0;
    }
    brood__reap(t->pidfd);
    t->reaped = brood__wait_stolen(t->pidfd, &t->reaped_status);
    brood__close(t->pidfd);
    return 0;
}

static int try_close_range(void) {
    if (!brood__has(BROOD__CLOSE_RANGE))
        return -ENOSYS;
    return syscall(SYS_close_range, ~0U, ~0U, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0; /* a range that holds nothing */
}

static int try_memfd(void) {
    int fd = brood__memfd(1);
    brood__close(fd);
    return fd;
}

static void probe_starting(const brood__prober *p, const trial *t, int started) {
    static const brood_probe clone = {
        .name = "pidfd",
        .group = "starting",
        .what = "children by descriptor (CLONE_PIDFD)",
        .detail = "no child can be started without",
        .remedy = "Linux 5.4, or a filter that lets clone(2) and waitid(2) through",
    };
    static const brood_probe shared = {
        .name = "shared_memory",
        .group = "starting",
        .what = "starts that copy no memory (CLONE_VM)",
        .detail = "an emulator is at work (valgrind, qemu-user): each start copies the host's page tables",
        .remedy = "run it without the emulator",
    };
    static const brood_probe close_range = {
        .name = "close_range",
        .group = "starting",
        .what = "closing descriptors by one call",
        .detail = "each open descriptor is closed by a call of its own: starts are slower where many are open",
        .remedy = "Linux 5.11, or a filter that lets close_range(2) through",
    };
    static const brood_probe program = {
        .name = "program_from_memory",
        .group = "starting",
        .what = "programs run from memory (execveat)",
        .detail = "no tree can be owned: the process that holds one is run from memory",
        .remedy = "sysctl vm.memfd_noexec=0, or a filter that lets memfd_create(2) and execveat(2) through",
    };
    static const brood_probe memfd = {
        .name = "memfd",
        .group = "starting",
        .what = "large messages by memfd",
        .detail = "large bytes in messages are copied through the socket",
        .remedy = "a filter that lets memfd_create(2) through",
    };
    brood__probe_tell(p, &clone, started < 0 ? started : t->pidfd < 0 ? -EINVAL : 0);
    brood__probe_tell(p, &shared,
                      started < 0                                      ? started
                      : t->entered && brood__has(BROOD__SHARED_MEMORY) ? 0
                                                                       : -EOPNOTSUPP);
    brood__probe_tell(p, &close_range, try_close_range());
    brood__probe_tell(p, &program, brood__holder_try());
    brood__probe_tell(p, &memfd, try_memfd());
}

/* --- reaching --- */

/* Our own pidfd, and signal 0: nobody gets anything, whoever leads our group. */
static int try_group_by_pidfd(void) {
    int r = brood__fault("pidfd_open", EMFILE);
    int fd = r < 0 ? r : (int)syscall(SYS_pidfd_open, getpid(), 0);
    if (fd < 0)
        return r < 0 ? r : -errno;
    r = brood__pidfd_signal_group(fd, 0);
    brood__close(fd);
    return r == -ESRCH || r == -EPERM ? 0 : r; /* the flag is known */
}

static void probe_reaching(const brood__prober *p, const trial *t, int started) {
    static const brood_probe group = {
        .name = "pidfd_group",
        .group = "trees",
        .what = "groups signalled by pidfd",
        .detail = "a child that leads its group stays a zombie until its last event, so that its number is not reused",
        .remedy = "Linux 6.9",
    };
    static const brood_probe info = {
        .name = "pidfd_info",
        .group = "trees",
        .what = "exit status after another's wait",
        .detail = "where the host ignores SIGCHLD, or waits for everything, a child's status is unknown",
        .remedy = "Linux 6.15",
    };
    bool known = t->reaped == 0 && WIFEXITED(t->reaped_status) && WEXITSTATUS(t->reaped_status) == TRIAL_CODE;
    brood__probe_tell(p, &group, try_group_by_pidfd());
    brood__probe_tell(p, &info, started < 0 ? started : known ? 0 : -ENODATA);
}

/* --- streams --- */

/* The first write tells, as it does in every process. */
static int try_nosignal(void) {
    int fds[2];
    int r = brood__pipe(fds);
    if (r < 0)
        return r;
    ssize_t n = brood__write(fds[1], "", 1);
    brood__close(fds[0]);
    brood__close(fds[1]);
    return n < 0 ? (int)n : brood__has(BROOD__NOSIGNAL) ? 0 : -EOPNOTSUPP;
}

static void probe_streams(const brood__prober *p) {
    static const brood_probe nosignal = {
        .name = "nosignal",
        .group = "streams",
        .what = "writes without SIGPIPE (RWF_NOSIGNAL)",
        .detail = "SIGPIPE is blocked in the thread around each write to a pipe",
        .remedy = "Linux 6.18",
    };
    brood__probe_tell(p, &nosignal, try_nosignal());
}

int brood_host_probe(void (*each)(const brood_probe *probe, void *data), void *data) {
    brood__prober p = {.each = each, .data = data};
    trial t;
    if (!each)
        return -EINVAL;
    int started = trial_run(&t);
    probe_starting(&p, &t, started);
    brood__probe_cgroups(&p);
    probe_reaching(&p, &t, started);
    probe_streams(&p);
    return 0;
}
