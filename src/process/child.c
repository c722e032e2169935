/*
 * The code that runs in the new process before the program does. Its memory is the host's (CLONE_VM), and the thread that
 * has started it is suspended meanwhile, or goes on: so raw system calls only. No allocation, no lock, no glibc wrapper
 * that synchronises threads (setuid does) or that a sanitizer replaces; built without sanitizers, stack protector, and
 * loops that become calls. What is the thread's own, as errno, is that thread's, and left alone.
 *
 * The order of the steps is part of the interface, docs/ARCHITECTURE.md gives the reasons: session and group; slots;
 * umask, nice, limits; gid, groups, uid; directory; no_new_privs; signals; exec. All signals are blocked until the last
 * step: a handler of the host must not run here. The holder of a tree is built from this file as well, without libc.
 */
#include "process/child.h"

#include "base/call.h"
#include "base/digits.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/futex.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifdef SYS_setresuid32 /* 32-bit: the plain calls take 16-bit ids */
#define NR_SETRESUID SYS_setresuid32
#define NR_SETRESGID SYS_setresgid32
#define NR_SETGROUPS SYS_setgroups32
#else
#define NR_SETRESUID SYS_setresuid
#define NR_SETRESGID SYS_setresgid
#define NR_SETGROUPS SYS_setgroups
#endif

#define KERNEL_SIGNALS 64
#define BUSY_TRIES 6 /* for a program just written: 1, 2, 4 … 32 ms */

/* A failed step: remember it and give up. Each step returns 0 or a negative errno. */
#define STEP(name, number, call)                                                                                       \
    do {                                                                                                               \
        int fault_ = brood__fault(name, EPERM);                                                                        \
        long r_ = fault_ < 0 ? fault_ : (call);                                                                        \
        if (r_ < 0)                                                                                                    \
            give_up(l, number, (int)-r_, 0);                                                                           \
    } while (0)

BROOD__RAW static _Noreturn void give_up(brood__launch *l, brood_step step, int error, int index) {
    l->report = (brood__report){.step = (int)step, .error = error, .index = index};
    if (l->report_fd >= 0)
        brood__call(SYS_write, l->report_fd, &l->report, sizeof l->report);
    for (;;)
        brood__call(SYS_exit_group, 127);
}

/* --- slots --- */

BROOD__RAW static bool is_slot(const brood__plan *plan, int fd) {
    for (size_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].slot == fd)
            return true;
    return false;
}

/* A duplicate that no slot will overwrite: above them all, or in a gap if the descriptor limit is too low for that. */
BROOD__RAW static int duplicate_out_of_the_way(const brood__launch *l, int fd) {
    int copy = (int)brood__call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, l->highest_slot + 1);
    for (int from = 3; (copy == -EINVAL || copy == -EMFILE) && from <= l->highest_slot; from++) {
        if (is_slot(l->plan, from))
            continue;
        copy = (int)brood__call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, from);
        if (copy >= 0 && is_slot(l->plan, copy)) {
            from = copy;
            brood__call(SYS_close, copy);
            copy = -EMFILE;
        }
    }
    return copy;
}

/*
 * Everything into its slot. What lies in another's slot is moved away first (so that 1 and 2 can be swapped), and a
 * descriptor that is where it belongs only loses its close-on-exec flag.
 */
BROOD__RAW static void fill_slots(brood__launch *l) {
    brood__plan *plan = l->plan;
    for (size_t i = 0; i < plan->slot_count; i++) {
        brood__plan_slot *s = &plan->slots[i];
        s->moved = s->source;
        if (!s->move_first)
            continue;
        int copy = brood__fault("dup", EMFILE);
        copy = copy < 0 ? copy : duplicate_out_of_the_way(l, s->source);
        if (copy < 0)
            give_up(l, BROOD_STEP_STDIO, -copy, s->slot);
        s->moved = copy;
    }
    l->cwd_fd = plan->cwd_fd;
    if (plan->cwd_by_fd && is_slot(plan, plan->cwd_fd)) {
        int copy = duplicate_out_of_the_way(l, plan->cwd_fd);
        if (copy < 0)
            give_up(l, BROOD_STEP_CWD, -copy, 0);
        l->cwd_fd = copy;
    }
    for (size_t i = 0; i < plan->slot_count; i++) {
        const brood__plan_slot *s = &plan->slots[i];
        long r = brood__fault("dup3", EMFILE);
        if (r == 0)
            r = s->moved == s->slot ? brood__call(SYS_fcntl, s->slot, F_SETFD, 0)
                                    : brood__call(SYS_dup3, s->moved, s->slot, 0);
        if (r < 0)
            give_up(l, BROOD_STEP_STDIO, (int)-r, s->slot);
    }
}

/* --- nothing else --- */

struct kernel_dirent {
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

BROOD__RAW static int parse_fd(const char *name) {
    int fd = 0;
    if (*name < '0' || *name > '9')
        return -1;
    for (; *name; name++)
        fd = fd * 10 + (*name - '0');
    return fd;
}

BROOD__RAW static void close_one(const brood__launch *l, int fd) {
    if (fd <= 2 || is_slot(l->plan, fd))
        return;
    if (l->closes_at_once)
        brood__call(SYS_close, fd);
    else
        brood__call(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC);
}

/*
 * Before Linux 5.11 (to be dropped with it): one by one, as /proc lists them, or up to the limit where there is no
 * /proc.
 */
BROOD__RAW static void close_one_by_one(brood__launch *l) {
    int dir = (int)brood__call(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0) {
        struct rlimit64 limit = {.rlim_cur = 1024};
        brood__call(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &limit);
        for (int fd = 3; (uint64_t)fd < limit.rlim_cur && fd < 1048576; fd++)
            close_one(l, fd);
        return;
    }
    long n;
    while ((n = brood__call(SYS_getdents64, dir, l->path, sizeof l->path)) > 0)
        for (long at = 0; at < n;) {
            struct kernel_dirent *entry = (struct kernel_dirent *)(void *)(l->path + at);
            int fd = parse_fd(entry->name);
            if (fd != dir)
                close_one(l, fd);
            at += entry->length;
        }
    brood__call(SYS_close, dir);
}

/* Whatever no slot names is closed by exec, if not before, also if the host's libraries forgot to ask for that. */
BROOD__RAW static void close_the_rest(brood__launch *l) {
    const brood__plan *plan = l->plan;
    unsigned from = 3, how = l->closes_at_once ? 0 : CLOSE_RANGE_CLOEXEC;
    for (size_t i = 0; brood__has(BROOD__CLOSE_RANGE) && i <= plan->slot_count; i++) {
        unsigned to = i < plan->slot_count ? (unsigned)plan->slots[i].slot : ~0U;
        if (to < from)
            continue;
        if (to > from && brood__call(SYS_close_range, from, to == ~0U ? to : to - 1, how) < 0) {
            brood__lacks(BROOD__CLOSE_RANGE);
            break;
        }
        from = to + 1;
    }
    if (!brood__has(BROOD__CLOSE_RANGE))
        close_one_by_one(l);
}

/* --- who and where it is --- */

/* Where it could not be born. Before the slots: these descriptors may be in the way of some. */
BROOD__RAW static void join_cgroups(brood__launch *l) {
    const int *joins = l->plan->joins;
    for (int i = 0; i < BROOD__HIERARCHIES && joins[i] > 0; i++) {
        long r = brood__call(SYS_write, joins[i], "0", 1);
        if (r < 0)
            give_up(l, BROOD_STEP_CGROUP, (int)-r, BROOD_LIMIT_NONE);
    }
}

BROOD__RAW static void limit_memory(brood__launch *l) {
    uint64_t most = l->plan->memory_each;
    struct rlimit64 limit = {.rlim_cur = RLIM64_INFINITY, .rlim_max = RLIM64_INFINITY};
    brood__call(SYS_prlimit64, 0, RLIMIT_AS, NULL, &limit); /* which may be lower already */
    limit.rlim_cur = limit.rlim_cur < most ? limit.rlim_cur : most;
    limit.rlim_max = limit.rlim_max < most ? limit.rlim_max : most;
    long r = brood__call(SYS_prlimit64, 0, RLIMIT_AS, &limit, NULL);
    if (r < 0)
        give_up(l, BROOD_STEP_CGROUP, (int)-r, BROOD_LIMIT_MEMORY);
}

BROOD__RAW static void limit_resources(brood__launch *l) {
    for (size_t i = 0; i < l->plan->limit_count; i++) {
        const brood__plan_limit *limit = &l->plan->limits[i];
        long r = brood__call(SYS_prlimit64, 0, limit->resource, &limit->limit, NULL);
        if (r < 0)
            give_up(l, BROOD_STEP_LIMIT, (int)-r, limit->resource);
    }
}

BROOD__RAW static long add_niceness(int change) {
    long twenty_minus_nice = brood__call(SYS_getpriority, PRIO_PROCESS, 0); /* the raw call never answers negatively */
    return brood__call(SYS_setpriority, PRIO_PROCESS, 0, (int)(20 - twenty_minus_nice) + change);
}

BROOD__RAW static long change_groups(const brood__plan *plan) {
    long r = brood__call(NR_SETGROUPS, plan->group_count, plan->groups);
    return r == -EPERM && plan->groups_best_effort ? 0 : r;
}

BROOD__RAW static void change_identity(brood__launch *l) {
    const brood__plan *plan = l->plan;
    if (plan->set_gid)
        STEP("setresgid", BROOD_STEP_GID, brood__call(NR_SETRESGID, plan->gid, plan->gid, plan->gid));
    if (plan->set_groups)
        STEP("setgroups", BROOD_STEP_GROUPS, change_groups(plan));
    if (plan->set_uid)
        STEP("setresuid", BROOD_STEP_UID, brood__call(NR_SETRESUID, plan->uid, plan->uid, plan->uid));
}

/* --- signals --- */

/* Larger than any architecture's struct sigaction in the kernel, whose all-zero form is SIG_DFL everywhere. */
typedef struct kernel_action {
    unsigned long handler, rest[15];
} kernel_action;

BROOD__RAW static bool is_ignored(int sig) {
    kernel_action now;
    now.handler = 0;
    return brood__call(SYS_rt_sigaction, sig, NULL, &now, 8) == 0 && now.handler == (unsigned long)SIG_IGN;
}

/*
 * A handler would run in the host's memory, so all go to their default before any signal is let through; exec would do
 * that too, but later.
 */
BROOD__RAW static void reset_signals(const brood__plan *plan) {
    static const kernel_action reset;
    if (plan->keep_ignored && plan->signals_blocked) /* then exec does all of it */
        return;
    for (int sig = 1; sig <= KERNEL_SIGNALS; sig++) {
        if (sig != SIGKILL && sig != SIGSTOP && !(plan->keep_ignored && is_ignored(sig)))
            brood__call(SYS_rt_sigaction, sig, &reset, NULL, 8);
    }
    if (plan->ignores_ends) {
        static const kernel_action ignore = {.handler = (unsigned long)SIG_IGN};
        brood__call(SYS_rt_sigaction, SIGCHLD, &ignore, NULL, 8);
    }
}

/* Nothing is blocked: what blocked signals before is the host's business. */
BROOD__RAW static void let_signals_through(void) {
    static const uint64_t none;
    brood__call(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8);
}

/* --- exec --- */

/* Returns only if it failed. */
BROOD__RAW static int exec_path(brood__launch *l, const char *path) {
    long pause_ns = 1000000;
    int r = 0;
    for (int tries = 0; tries < BUSY_TRIES; tries++, pause_ns *= 2) {
        r = (int)brood__call(SYS_execve, path, l->plan->argv, l->envp);
        /* Another thread of the host may have forked while it wrote this program, and its child has yet to exec. */
        if (r != -ETXTBSY)
            break;
        struct timespec pause = {.tv_nsec = pause_ns};
        brood__call(SYS_nanosleep, &pause, NULL);
    }
    if (r == -ENOEXEC) { /* a script without #!, as execvp(3) treats it */
        l->plan->shell_argv[1] = (char *)(uintptr_t)path;
        brood__call(SYS_execve, "/bin/sh", l->plan->shell_argv, l->envp);
    }
    return r;
}

/* dir/file into l->path; false if that is too long. */
BROOD__RAW static bool join(brood__launch *l, const char *dir, size_t dir_len, const char *file) {
    size_t at = 0;
    if (dir_len + 2 > sizeof l->path)
        return false;
    for (; at < dir_len; at++)
        l->path[at] = dir[at];
    if (dir_len)
        l->path[at++] = '/';
    do {
        if (at == sizeof l->path)
            return false;
        l->path[at++] = *file;
    } while (*file++);
    return true;
}

/*
 * As execvp(3): on with the next directory if this one has no such file, and if a file may not be run, see whether
 * another may.
 */
BROOD__RAW static int exec_search(brood__launch *l) {
    int result = -ENOENT;
    size_t name_len = 0;
    while (l->plan->file[name_len])
        name_len++;
    if (name_len > NAME_MAX)
        return -ENAMETOOLONG;
    for (const char *dir = l->plan->search;; dir++) {
        size_t len = 0;
        while (dir[len] && dir[len] != ':')
            len++;
        int r = join(l, dir, len, l->plan->file) ? exec_path(l, l->path) : -ENAMETOOLONG;
        if (r == -EACCES)
            result = r;
        else if (r != -ENOENT && r != -ENOTDIR && r != -ENAMETOOLONG && r != -ESTALE && r != -ENODEV && r != -ETIMEDOUT)
            return r;
        dir += len;
        if (!*dir)
            return result;
    }
}

BROOD__RAW static bool has_slash(const char *file) {
    for (; *file; file++)
        if (*file == '/')
            return true;
    return false;
}

/* It may have gone before the kernel was told. */
BROOD__RAW static void die_with_parent(brood__launch *l) {
    brood__call(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (brood__call(SYS_getppid) != l->parent)
        give_up(l, BROOD_STEP_HOLDER, ESRCH, 0);
}

/* An open program. The second way is for emulators (valgrind), which know no execveat without a path. */
BROOD__RAW static int exec_fd(brood__launch *l, int fd) {
    int r = (int)brood__call(SYS_execveat, fd, "", l->plan->argv, l->envp, AT_EMPTY_PATH);
    brood__append_number(l->path, brood__append_text(l->path, 0, "/proc/self/fd/"), (uint64_t)fd);
    brood__call(SYS_execve, l->path, l->plan->argv, l->envp);
    return r;
}

/* Whoever has the number as its CLONE_CHILD_CLEARTID has left this memory: by exec, or by its end. */
BROOD__RAW static void wait_until_cleared(const int *number) {
    int now;
    while ((now = __atomic_load_n(number, __ATOMIC_ACQUIRE)) != 0)
        brood__call(SYS_futex, number, FUTEX_WAIT, now, NULL, NULL, 0);
}

BROOD__RAW int brood__child_main(void *launch) {
    brood__launch *l = launch;
    const brood__plan *plan = l->plan;
    l->entered = true;
    if (plan->new_session)
        STEP("setsid", BROOD_STEP_SESSION, brood__call(SYS_setsid));
    else if (plan->new_group)
        STEP("setpgid", BROOD_STEP_GROUP, brood__call(SYS_setpgid, 0, 0));
    join_cgroups(l);
    fill_slots(l);
    close_the_rest(l);
    if (plan->set_umask)
        brood__call(SYS_umask, plan->umask);
    if (plan->nice)
        STEP("setpriority", BROOD_STEP_NICE, add_niceness(plan->nice));
    if (plan->memory_each)
        limit_memory(l);
    limit_resources(l);
    change_identity(l);
    if (plan->cwd_by_fd)
        STEP("fchdir", BROOD_STEP_CWD, brood__call(SYS_fchdir, l->cwd_fd));
    else if (plan->cwd)
        STEP("chdir", BROOD_STEP_CWD, brood__call(SYS_chdir, plan->cwd));
    if (plan->no_new_privs)
        STEP("prctl", BROOD_STEP_NO_NEW_PRIVS, brood__call(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (plan->dies_with_parent) /* after the credentials, whose change would take it back */
        die_with_parent(l);
    reset_signals(plan);
    if (l->held)
        wait_until_cleared(l->held);
    if (!plan->signals_blocked)
        let_signals_through();
    int r = brood__fault("execve", ENOMEM);
    if (r == 0 && plan->file_by_fd)
        r = exec_fd(l, plan->file_fd);
    else if (r == 0)
        r = has_slash(plan->file) ? exec_path(l, plan->file) : exec_search(l);
    give_up(l, BROOD_STEP_EXEC, -r, 0);
}
