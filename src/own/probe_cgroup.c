/*
 * What cgroups a tree could have here. Being allowed to write is not enough: a container may show a directory that takes
 * no process, or forbid the call that starts into it. So one is made below our own, as a holder does it, a child is
 * started into it, and it is killed and removed.
 */
#include "own/direct.h"
#include "own/place.h"
#include "own/probe.h"

#include "base/clock.h"
#include "base/sys.h"
#include "own/holder/line.h"
#include "process/clone3.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static int open_below(int dir, const char *path, int flags) {
    int fd = openat(dir, path, flags | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : brood__fd_lift(fd, 3);
}

/* --- one of our own --- */

/* The cgroup2 that we are in, and the one that was made in it; a negative errno where it could not be had. */
typedef struct place {
    int own, made;
    char name[BROOD__CGROUP_NAME_SIZE];
} place;

static void place_open(place *l) {
    *l = (place){.own = brood__place_own(BROOD__UNIFIED), .made = -ENOENT};
    if (l->own < 0)
        return;
    brood__cgroup_name(l->name, (int)syscall(SYS_gettid), brood__now_us());
    if (mkdirat(l->own, l->name, 0755) < 0) {
        l->made = -errno;
        return;
    }
    l->made = open_below(l->own, l->name, O_RDONLY | O_DIRECTORY);
    if (l->made < 0)
        unlinkat(l->own, l->name, AT_REMOVEDIR);
}

static void place_close(place *l) {
    brood__close(l->made);
    if (l->made >= 0)
        unlinkat(l->own, l->name, AT_REMOVEDIR);
    brood__close(l->own);
}

BROOD__RAW static void leave_at_once(void) {
    for (;;)
        syscall(SYS_exit_group, 0);
}

/*
 * By clone3(2), and without sharing memory: it leaves at once. The signals of the C library are blocked too, since none
 * of the host's handlers may run in it.
 */
static int try_start(const place *l) {
    int pidfd = -1;
    const uint64_t all = ~(uint64_t)0;
    uint64_t before;
    brood__clone_args args = {
        .flags = CLONE_PIDFD | CLONE_INTO_CGROUP,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)l->made,
    };
    if (l->made < 0)
        return l->made;
    int r = brood__fault("clone3", EAGAIN);
    if (r < 0)
        return r;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid == 0)
        leave_at_once();
    r = pid < 0 ? -errno : 0;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
    if (r == 0)
        brood__reap(pidfd);
    brood__close(pidfd);
    return r;
}

/* Nobody is in it. */
static int try_kill(const place *l) {
    int fd = l->made < 0 ? l->made : open_below(l->made, "cgroup.kill", O_WRONLY);
    ssize_t n = fd < 0 ? fd : brood__write(fd, "1", 1);
    brood__close(fd);
    return n < 0 ? (int)n : 0;
}

static int try_freeze(const place *l) {
    int fd = l->made < 0 ? l->made : open_below(l->made, "cgroup.freeze", O_WRONLY);
    brood__close(fd);
    return fd;
}

/* What hangs on a step before that failed has nothing of its own to say. */
static void tell_step(const brood__prober *p, const brood_probe *probe, bool tried, int result) {
    brood_probe told = *probe;
    if (!tried) {
        told.detail = "there is no cgroup of our own to try it with";
        told.remedy = NULL;
    }
    brood__probe_tell(p, &told, result);
}

static void probe_place(const brood__prober *p, const place *l) {
    static const brood_probe mount = {
        .name = "cgroup2",
        .group = "trees",
        .what = "a cgroup2 is mounted, and we are in it",
        .detail = "the guarantee cannot be kernel: trees have no cgroup",
        .remedy = "mount -t cgroup2 none /sys/fs/cgroup, or have the container show its own",
    };
    static const brood_probe make = {
        .name = "cgroup_make",
        .group = "trees",
        .what = "cgroups may be made in our own",
        .detail = "the guarantee cannot be kernel: our own cgroup may not be written to",
        .remedy = "systemd-run --user --scope -p Delegate=yes -- COMMAND, or be root",
    };
    static const brood_probe read_only = {
        .name = "cgroup_make",
        .group = "trees",
        .what = "cgroups may be made in our own",
        .detail = "the guarantee cannot be kernel: the cgroup2 is mounted read-only",
        .remedy = "have the container's /sys/fs/cgroup mounted read-write, in a cgroup namespace of its own",
    };
    static const brood_probe start = {
        .name = "cgroup_start",
        .group = "trees",
        .what = "started into (CLONE_INTO_CGROUP)",
        .detail = "the guarantee cannot be kernel: a program must be born in its cgroup",
        .remedy = "Linux 5.7, and a filter that lets clone3(2) through",
    };
    static const brood_probe kill = {
        .name = "cgroup_kill",
        .group = "trees",
        .what = "killed at one word (cgroup.kill)",
        .detail = "the guarantee cannot be kernel",
        .remedy = "Linux 5.14",
    };
    static const brood_probe freeze = {
        .name = "cgroup_freeze",
        .group = "trees",
        .what = "held still (cgroup.freeze)",
        .detail = "a whole tree cannot be suspended at once",
        .remedy = "Linux 5.2",
    };
    static const brood_probe direct = {
        .name = "cgroup_direct",
        .group = "trees",
        .what = "started into by us, without a holder",
        .detail =
            "each tree has a holder, so that its start takes two: no cgroup can be had for that, or we are PID 1, a "
            "subreaper, or ignore SIGCHLD",
        .remedy = "what is missing above",
    };
    tell_step(p, &mount, true, l->own);
    tell_step(p, l->made == -EROFS ? &read_only : &make, l->own >= 0, l->made);
    tell_step(p, &start, l->made >= 0, try_start(l));
    tell_step(p, &kill, l->made >= 0, try_kill(l));
    tell_step(p, &freeze, l->made >= 0, try_freeze(l));
    tell_step(p, &direct, l->made >= 0, l->made >= 0 ? brood__direct_try() : l->made);
}

/* --- controllers, which limits need --- */

/* Whether a start with limits would find a cgroup2 that hands them on: the usual ones, for io is seldom among them. */
static bool finds_place(void) {
    static const brood_limits all = {.memory = 1, .pids = 1, .cpu_percent = 1};
    int fds[BROOD__HIERARCHIES];
    unsigned hierarchies;
    bool in_root;
    for (ssize_t count = brood__place_roots(&all, fds, &hierarchies, &in_root); count > 0;)
        brood__close(fds[--count]);
    return in_root;
}

static void probe_controllers(const brood__prober *p, const place *l) {
    brood_probe probe = {
        .name = "cgroup_controllers",
        .group = "trees",
        .what = "controllers of cgroup2, for limits",
        .answer = BROOD_ANSWER_NO,
        .detail = "cgroup2 has none here; whether cgroup v1 keeps limits is told below",
    };
    if (finds_place()) {
        probe.answer = BROOD_ANSWER_YES;
        probe.detail = NULL;
    } else if (brood__place_controls(l->own)) {
        probe.answer = BROOD_ANSWER_PARTLY;
        probe.detail = "our cgroup2 has controllers, and hands them on to none below it";
        probe.remedy = "brood_cgroup_adopt, which brood run does by itself, in a cgroup that is ours alone: "
                       "systemd-run --user --scope -p Delegate=yes -- COMMAND";
    }
    p->each(&probe, p->data);
}

void brood__probe_cgroups(const brood__prober *p) {
    place l;
    place_open(&l);
    probe_place(p, &l);
    probe_controllers(p, &l);
    place_close(&l);
}
