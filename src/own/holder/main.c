/*
 * The holder of a tree: the parent of one program, and of whatever in its tree is orphaned. It ends all of them when the
 * host says so, or when the host has gone, however it went: the end of the line tells, or the host's pidfd, should a
 * fork of the host still have the line open. It reports how the program ended and when nothing of the tree is left.
 *
 * It has one thread and no library, and blocks every signal, so that a Ctrl-C or a kill of the
 * process group it was born in does not end it before its work is done.
 */
#include "own/holder/cgroup.h"
#include "own/holder/guard.h"
#include "own/holder/line.h"
#include "own/holder/runtime.h"
#include "own/holder/tree.h"
#include "process/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* So long after it was killed, look whether the tree has grown meanwhile; and then less and less often. */
#define AGAIN_FIRST_NS 5000000L
#define AGAIN_LONGEST_NS 640000000L
#define CHASE_PAUSES 2 /* times as long as it took */

/* The kernel tells of want of memory before it has done something about it: so long, and so often, it is looked at. */
#define LATE_NS 2000000L
#define LATE_LOOKS 50
#define ASK_NS 200000000        /* where it does not tell at all */
#define CPU_SHORTEST_NS 5000000 /* between two looks at the CPU time */
#define CPU_IDLE_NS 200000000
#define CPU_SELDOM 50 /* times as long as it took */

int main(int argc, char **argv);

static struct holder {
    int host_fd;       /* readable when the host has gone; -1: it is known by the line alone */
    int ended_fd;      /* readable when something in the tree may have ended */
    int program;       /* its pid; 0: none yet, or it has ended */
    bool hearing;      /* the host may still have orders */
    bool started;      /* there is a tree, or has been one */
    bool ending;       /* the tree is being killed */
    bool released;     /* nothing is to be killed */
    bool first;        /* of its PID namespace: nobody in there outlives it */
    bool frozen;       /* nothing of the tree is to run */
    bool said_all;     /* the host has, and what it said may not have been read yet */
    uint64_t put_off;  /* signals of that, a bit for each */
    bool born_first;   /* its program has shared memory with the host, and not with it */
    bool ignored_ends; /* the host ignores SIGCHLD, and its program may be to do so as well */
    int denied;
    int64_t again_at_ns;   /* ENDING: when it is looked at again */
    long again_ns;         /* so long after the last look */
    cgroup_counts told;    /* of what the kernel counts */
    int late_looks;        /* so often it is still to be looked at soon */
    int64_t look_at_ns;    /* when; INT64_MAX: when the kernel tells */
    uint64_t cpu_limit_us; /* 0: none, or it was told */
    int64_t cpu_at_ns;     /* when it is looked at */
    uint64_t cpu_used_us;  /* at the last look */
    int64_t cpu_pause_ns;
} h = {.host_fd = -1, .hearing = true, .look_at_ns = INT64_MAX};

static _Noreturn void leave(void) {
    cgroup_remove();
    for (;;)
        holder_call(SYS_exit_group, 0L);
}

/* --- the line --- */

static long send_words(const struct msghdr *message, int flags) {
    long r;
    do /* where nobody hears it any more, it fails */
        r = holder_call(SYS_sendmsg, (long)BROOD__LINE_FD, message, (long)(MSG_NOSIGNAL | flags));
    while (r == -EINTR);
    return r;
}

/* Words go together, so that who hears the first knows the others. */
static void say(brood__word *words, int count, int fd, int other_fd) {
    int fds[] = {fd, other_fd};
    size_t size = other_fd < 0 ? sizeof fd : sizeof fds;
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct iovec part = {.iov_base = words, .iov_len = (size_t)count * sizeof *words};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(size);
        control.aligned.cmsg_level = SOL_SOCKET;
        control.aligned.cmsg_type = SCM_RIGHTS;
        control.aligned.cmsg_len = CMSG_LEN(size);
        memcpy(CMSG_DATA(&control.aligned), fds, size);
    }
    for (int i = 0; i < count; i++)
        words[i].denied = h.denied;
    send_words(&message, 0);
}

/* What may come often is not waited for: a host that does not listen must not hold up the holder. False: again later. */
static bool mention(const brood_limit_hit *hit) {
    brood__word word = {.kind = BROOD__WORD_LIMIT, .denied = h.denied, .hit = *hit};
    struct iovec part = {.iov_base = &word, .iov_len = sizeof word};
    return send_words(&(struct msghdr){.msg_iov = &part, .msg_iovlen = 1}, MSG_DONTWAIT) != -EAGAIN;
}

/* Until there is something to read, which may never be: a fork of the host that has gone may have the line open. */
static void wait_for_line(void) {
    struct pollfd polls[] = {{.fd = BROOD__LINE_FD, .events = POLLIN}, {.fd = h.host_fd, .events = POLLIN}};
    while (holder_call(SYS_ppoll, polls, 2L, 0L, 0L, 0L) < 0) {}
    if (!polls[0].revents && !h.started)
        leave();
}

static bool read_line(void *bytes, size_t size) {
    for (char *at = bytes; size > 0;) {
        wait_for_line();
        long n = holder_read(BROOD__LINE_FD, at, size);
        if (n <= 0)
            return false;
        at += n;
        size -= (size_t)n;
    }
    return true;
}

/* As many descriptors as come with one message; false: the line is at its end, or they found no room. */
static bool take_fds(void *bytes, size_t size, int *fds, uint32_t wanted, uint32_t *got) {
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(BROOD__LINE_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = size};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long n;
    wait_for_line();
    do
        n = holder_call(SYS_recvmsg, (long)BROOD__LINE_FD, &message, (long)MSG_CMSG_CLOEXEC);
    while (n == -EINTR);
    if (n != (long)size || message.msg_flags & MSG_CTRUNC)
        return false;
    if (message.msg_controllen < CMSG_LEN(0))
        return true;
    const int *came = (const int *)(const void *)CMSG_DATA(&control.aligned);
    for (size_t i = 0; i < (control.aligned.cmsg_len - CMSG_LEN(0)) / sizeof(int) && *got < wanted; i++)
        fds[(*got)++] = came[i];
    return true;
}

/* --- the end of it --- */

static void look_again_later(void) {
    h.again_at_ns = holder_now_ns() + h.again_ns;
}

static void end_tree(void) {
    h.ending = true;
    h.again_ns = AGAIN_FIRST_NS;
    if (!cgroup_kill())
        tree_chase();
    look_again_later();
}

/* --- limits --- */

/* Whether the kernel has done what a limit asks of it; it is told, and of forks only once: they may be many. */
static void look_at_counts(void) {
    cgroup_counts now = cgroup_count();
    if (now.killed > h.told.killed) {
        brood_limit_hit hit = {.limit = BROOD_LIMIT_MEMORY, .around = !cgroup_is_full()};
        if (!tree_find_killed(h.program, &hit.pid, hit.name))
            hit.pid = hit.name[0] = 0;
        h.told.killed = mention(&hit) ? now.killed : h.told.killed;
        h.late_looks = h.told.killed == now.killed ? 0 : LATE_LOOKS;
    }
    if (now.refused > 0 && h.told.refused == 0 && mention(&(brood_limit_hit){.limit = BROOD_LIMIT_PIDS}))
        h.told.refused = now.refused;
    bool ask = cgroup_must_be_asked() && h.told.refused == 0;
    if (h.late_looks > 0)
        h.late_looks--;
    h.look_at_ns = h.late_looks > 0 ? holder_now_ns() + LATE_NS : ask ? holder_now_ns() + ASK_NS : INT64_MAX;
}

static int count_cpus(void) {
    unsigned long mask[128] = {0};
    int count = 0;
    long size = holder_call(SYS_sched_getaffinity, 0L, sizeof mask, mask);
    for (long i = 0; i < size / (long)sizeof *mask; i++)
        for (unsigned long bits = mask[i]; bits; bits &= bits - 1)
            count++;
    return count > 0 ? count : 1;
}

/* The host stops it, and if it is too late for that, since the program has ended, so what it has left is ended. */
static void see_cpu_time_over(void) {
    if (!h.program)
        end_tree();
    else if (!mention(&(brood_limit_hit){.limit = BROOD_LIMIT_CPU_TIME}))
        return;
    h.cpu_limit_us = 0;
}

static int64_t longest(int64_t one, int64_t other) {
    return one > other ? one : other;
}

/*
 * What is left lasts for so long at least, if all CPUs are at it. A tree that does nothing is looked at less and less
 * often, and where looking takes long, that is seldom.
 */
static void look_at_cpu_time(void) {
    int64_t begun_ns = holder_now_ns();
    uint64_t used_us;
    if (!cgroup_cpu_us(&used_us))
        used_us = tree_cpu_us();
    int64_t done_ns = holder_now_ns();
    bool idle = used_us == h.cpu_used_us;
    h.cpu_pause_ns = !idle ? CPU_SHORTEST_NS : h.cpu_pause_ns < CPU_IDLE_NS ? h.cpu_pause_ns * 2 : CPU_IDLE_NS;
    h.cpu_used_us = used_us;
    if (used_us >= h.cpu_limit_us)
        see_cpu_time_over();
    uint64_t left_us = used_us < h.cpu_limit_us ? (h.cpu_limit_us - used_us) / (uint64_t)count_cpus() : 0;
    int64_t left_ns = left_us < 3600000000 ? (int64_t)left_us * 1000 : 3600000000000;
    h.cpu_at_ns = done_ns + longest(longest(left_ns, h.cpu_pause_ns), CPU_SELDOM * (done_ns - begun_ns));
}

/* --- the start --- */

static uint64_t own_peak_kb(void) {
    uint64_t kb;
    int fd = holder_open(AT_FDCWD, "/proc/self/status", O_RDONLY);
    bool known = holder_read_value(fd, "VmHWM", &kb);
    holder_close(fd);
    return known ? kb : UINT64_MAX;
}

static void report_failure(int step, int error, int index) {
    brood__word word = {.kind = BROOD__WORD_STARTED, .step = step, .error = error, .index = index};
    say(&word, 1, -1, -1);
    leave();
}

static void bury(long pid, int pidfd) {
    int status;
    holder_call(SYS_wait4, pid, &status, (long)__WALL, 0L);
    holder_close(pidfd);
}

/*
 * Born in the cgroup, or where that is not allowed, but the cgroup is ours, joining it before it is the program. So it is
 * where the holder's own cgroup was killed once, before it came there: Linux 6.18 takes who is born elsewhere for one
 * that was passed by, and kills it before its first step.
 */
static long launch_into(brood__launch *launch, int cgroup, int *ret_pidfd) {
    long pid = holder_launch(launch, cgroup, ret_pidfd);
    bool stillborn = pid >= 0 && !launch->entered;
    if ((pid >= 0 && !stillborn) || pid == -EAGAIN || brood__is_shortage((int)pid)) /* as it would be without */
        return pid;
    if (stillborn)
        bury(pid, *ret_pidfd);
    int r = cgroup_join(launch->plan);
    if (r < 0)
        return r;
    pid = holder_launch(launch, -1, ret_pidfd);
    if (pid < 0 || launch->report.step != BROOD_STEP_CGROUP)
        return pid;
    bury(pid, *ret_pidfd);
    launch->report = (brood__report){0};
    return -EOPNOTSUPP;
}

static void limit_tree(brood__plan *plan, const int *roots) {
    brood_limit which = BROOD_LIMIT_NONE;
    int r = cgroup_limit(plan, roots, &which);
    if (r < 0)
        report_failure(BROOD_STEP_CGROUP, -r, (int)which);
}

/* In a cgroup of the tree's own, if one can be had and started into: containers forbid the one or the other. */
static long launch_program(brood__launch *launch, int *roots, int *ret_pidfd) {
    brood__plan *plan = launch->plan;
    int root = roots[BROOD__UNIFIED], cgroup = root < 0 ? -1 : cgroup_make(root, plan->made_in_root);
    if (cgroup >= 0) {
        limit_tree(plan, roots);
        long pid = launch_into(launch, cgroup, ret_pidfd);
        if (pid >= 0 || pid == -EAGAIN || brood__is_shortage((int)pid))
            return pid;
        cgroup_joined(plan);
        cgroup_remove();
    }
    if (brood__is_shortage(cgroup) && root >= 0)
        report_failure(BROOD_STEP_HOLDER, -cgroup, 0);
    if (plan->needs_cgroup)
        report_failure(BROOD_STEP_HOLDER, EOPNOTSUPP, 0);
    limit_tree(plan, roots);
    return holder_launch(launch, -1, ret_pidfd);
}

static void watch_limits(const brood__plan *plan) {
    look_at_counts();
    h.cpu_limit_us = plan->tree.cpu_time_ms > UINT64_MAX / 1000 ? UINT64_MAX : plan->tree.cpu_time_ms * 1000;
    h.cpu_at_ns = holder_now_ns();
}

static void start_program(brood__packed *packed, const int *fds, uint32_t count) {
    static brood__launch launch;
    brood__plan *plan = &packed->plan;
    int pidfd = -1;
    brood__unpack(packed);
    for (size_t i = 0; i < plan->slot_count; i++)
        plan->slots[i].source = fds[i];
    size_t others = plan->slot_count;
    if (plan->cwd_by_fd)
        plan->cwd_fd = fds[others++];
    int roots[BROOD__HIERARCHIES];
    for (int i = 0; i < BROOD__HIERARCHIES; i++)
        roots[i] = plan->hierarchies >> i & 1 && others < count ? fds[others++] : -1;
    brood__plan_order(plan);
    plan->dies_with_parent = true;
    plan->ignores_ends = plan->keep_ignored && h.ignored_ends;
    brood__launch_prepare(&launch, plan, plan->envp);
    launch.parent = (int)holder_call(SYS_getpid);
    long pid = launch_program(&launch, roots, &pidfd);
    cgroup_joined(plan);
    if (pid < 0)
        report_failure(BROOD_STEP_CLONE, (int)-pid, 0);
    brood__word word = {
        .kind = BROOD__WORD_STARTED,
        .value = (int)pid,
        .step = launch.report.step,
        .error = launch.report.error,
        .index = launch.report.index,
        .memory_each = plan->memory_each > 0,
    };
    h.program = (int)pid;
    h.started = true;
    if (word.step)
        cgroup_remove();
    int64_t made_ns;
    int cgroups = cgroup_parent(&made_ns);
    word.cgroup_made_ns = (uint64_t)made_ns;
    word.self = launch.parent;
    say(&word, 1, word.step ? -1 : pidfd, cgroups);
    if (word.step)
        leave();
    holder_close(pidfd);
    watch_limits(plan);
}

static void start(const brood__order *order, const int *fds) {
    brood__packed *packed = holder_map(order->size);
    if (!packed)
        report_failure(BROOD_STEP_HOLDER, ENOMEM, 0);
    if (!read_line(packed, order->size))
        leave();
    start_program(packed, fds, order->fds);
    holder_unmap(packed, order->size);
    for (uint32_t i = 0; i < order->fds; i++) /* a pipe is at its end when the tree's last writer has gone */
        holder_close(fds[i]);
    /* Only now: the program was born in the host's session, so that it has its terminal. */
    holder_call(SYS_setsid);
    holder_call(SYS_chdir, "/");
}

/* --- its work --- */

/* Something of it is still there: it is dying, it was made meanwhile, or it has left the cgroup, as root may. */
static void end_again(void) {
    int told = h.denied;
    h.denied = tree_kill();
    h.again_ns = h.again_ns < AGAIN_LONGEST_NS ? h.again_ns * 2 : h.again_ns;
    look_again_later();
    if (h.denied != told) { /* once: nobody may be listening */
        brood__word word = {.kind = BROOD__WORD_DENIED};
        say(&word, 1, -1, -1);
    }
}

/* After an end of something: but a chase through many that are dying must not take the time that they need. */
static void chase(void) {
    static int64_t next_ns;
    int64_t begun = holder_now_ns();
    if (begun < next_ns)
        return;
    tree_chase();
    int64_t done = holder_now_ns();
    next_ns = done + CHASE_PAUSES * (done - begun);
}

static void freeze(bool frozen) {
    if (!cgroup_freeze(frozen))
        frozen ? tree_stop() : tree_signal(SIGCONT);
    h.frozen = frozen;
}

/* What is frozen takes no signal but SIGKILL: a stop that was sent to it goes on to it. */
static void obey_signal(const brood__order *order) {
    int r = order->value != SIGKILL ? tree_signal(order->value) : cgroup_kill() ? 0 : tree_kill();
    if (order->tells)
        h.denied = r;
    if (h.frozen && (order->tells || order->value == SIGCONT))
        freeze(false);
}

/*
 * Behind hundreds of signals the end of the line would come late: those that come last are not sent, as all is to be
 * ended, unless it turns out that all is to live.
 */
static void put_off(int signal) {
    const uint64_t cont = (uint64_t)1 << (SIGCONT - 1), stop = (uint64_t)1 << (SIGSTOP - 1);
    h.put_off &= signal == SIGCONT ? ~stop : signal == SIGSTOP ? ~cont : ~(uint64_t)0;
    h.put_off |= (uint64_t)1 << (signal - 1);
}

static void release(void) {
    h.released = true;
    for (int signal = 1; h.put_off != 0; signal++, h.put_off >>= 1)
        if (h.put_off & 1)
            tree_signal(signal);
    if (h.frozen)
        freeze(false);
    if (!h.program && !h.first)
        leave();
}

static void obey(void) {
    static int fds[BROOD__LINE_MAX_FDS];
    brood__order order;
    uint32_t got = 0;
    char byte;
    bool ok = take_fds(&order, sizeof order, fds, BROOD__LINE_MAX_FDS, &got);
    while (ok && order.kind == BROOD__ORDER_START && got < order.fds)
        ok = take_fds(&byte, 1, fds, BROOD__LINE_MAX_FDS, &got);
    if (!ok && !h.started)
        report_failure(BROOD_STEP_HOLDER, EMFILE, 0); /* or nobody is there to hear it */
    if (!ok) {
        h.hearing = false;
        if (!h.released)
            end_tree();
        return;
    }
    switch (order.kind) {
    case BROOD__ORDER_START:
        start(&order, fds);
        break;
    case BROOD__ORDER_SIGNAL:
        if (h.said_all && !h.released)
            put_off(order.value);
        else
            obey_signal(&order);
        break;
    case BROOD__ORDER_FREEZE:
        if (!h.said_all)
            freeze(order.value);
        break;
    case BROOD__ORDER_RELEASE:
        release();
        break;
    }
}

/* --- what is due --- */

/* A child that asked its parent to trace it has stopped for that. It is let go, and gets what it was sent. */
static bool is_stop(int pid, int status) {
    if (!WIFSTOPPED(status))
        return false;
    long signal = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status); /* SIGTRAP: it was for the tracer */
    holder_call(SYS_ptrace, (long)PTRACE_DETACH, (long)pid, 0L, signal);
    return true;
}

/* Whoever has ended. Without children there are no descendants. */
static void reap(void) {
    brood__word words[2];
    struct rusage usage;
    int status, count = 0;
    long pid;
    look_at_counts(); /* while who has ended can be seen */
    while ((pid = holder_call(SYS_wait4, -1L, &status, (long)(WNOHANG | __WALL), &usage)) > 0) {
        if (is_stop((int)pid, status))
            continue;
        tree_reaped((int)pid);
        if (pid != h.program)
            continue;
        h.program = 0;
        words[count++] = (brood__word){.kind = BROOD__WORD_EXITED,
                                       .value = status,
                                       .rss_floor_kb = h.born_first ? 0 : own_peak_kb(),
                                       .usage = usage};
    }
    if (pid == -ECHILD) {
        words[count] = (brood__word){.kind = BROOD__WORD_EMPTY};
        cgroup_peak_kb(&words[count].peak_kb);
        holder_call(SYS_getrusage, (long)RUSAGE_CHILDREN, &words[count++].usage);
    }
    if (count > 0)
        say(words, count, -1, -1);
    if (pid == -ECHILD || (h.released && !h.program && !h.first))
        leave();
}

/* A /proc that shows it, for itself and for what it starts; no mount of ours is seen outside. */
static void enter_namespace(void) {
    const long quiet = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    h.first = true;
    h.host_fd = BROOD__HOST_FD;
    long r = holder_call(SYS_mount, "none", "/", 0L, (long)(MS_REC | MS_SLAVE), 0L);
    if (r == -EINVAL) /* in a chroot, that is no mount */
        r = holder_call(SYS_mount, "none", "/proc", 0L, (long)MS_SLAVE, 0L);
    if (r == 0)
        r = holder_call(SYS_mount, "proc", "/proc", "proc", quiet, 0L);
    if (r < 0)
        report_failure(BROOD_STEP_HOLDER, (int)-r, 0);
}

/* The parent that it was started by, if that is alive: once it is known to be, its number is nobody else's. */
static void find_host(const char *number) {
    int host = number ? (int)brood__read_number(number) : 0;
    if (host == 0) {
        enter_namespace();
        return;
    }
    int fd = (int)holder_call(SYS_pidfd_open, holder_call(SYS_getppid), 0L);
    if (holder_call(SYS_getppid) == 0) /* it was made in another PID namespace than its host's */
        report_failure(BROOD_STEP_HOLDER, ESRCH, 0);
    if (holder_call(SYS_getppid) != host)
        leave();
    h.host_fd = fd;
}

static void prepare(const char *host) {
    unsigned long before[16] = {0}, defaults[16] = {0}; /* the kernel's struct sigaction */
    uint64_t all = ~(uint64_t)0, child = (uint64_t)1 << (SIGCHLD - 1);
    holder_call(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, 0L, 8L);
    holder_call(SYS_rt_sigaction, (long)SIGCHLD, defaults, before, 8L); /* ignored, it leaves nobody to wait for */
    h.ignored_ends = before[0] == (unsigned long)SIG_IGN;
    holder_call(SYS_prctl, (long)PR_SET_NAME, "brood-holder", 0L, 0L, 0L);
    holder_call(SYS_prctl, (long)PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L);
    /* When the host dies, a holder that somebody has stopped goes on, by the kernel; to one that runs it is nothing. */
    holder_call(SYS_prctl, (long)PR_SET_PDEATHSIG, (long)SIGCONT, 0L, 0L, 0L);
    find_host(host);
    int r = tree_prepare();
    h.ended_fd = (int)holder_call(SYS_signalfd4, -1L, &child, 8L, (long)(O_CLOEXEC | O_NONBLOCK));
    if (r < 0 || h.ended_fd < 0)
        report_failure(BROOD_STEP_HOLDER, r < 0 ? -r : -h.ended_fd, 0);
}

/* It was the parent of a program before it was this one: nothing is left that could fail. */
static void go_on(int program) {
    h.program = program;
    h.started = true;
    h.host_fd = BROOD__HOST_FD;
    h.ended_fd = BROOD__ENDED_FD;
    h.born_first = true;
    holder_call(SYS_prctl, (long)PR_SET_NAME, "brood-holder", 0L, 0L, 0L);
    holder_call(SYS_prctl, (long)PR_SET_PDEATHSIG, (long)SIGCONT, 0L, 0L, 0L); /* exec takes it, if euid is not ruid */
    tree_prepare_with(BROOD__PROC_FD);
    holder_call(SYS_chdir, "/");
}

static void lose_host(void) {
    h.hearing = false;
    h.host_fd = -1;
    if (!h.started)
        leave();
    if (!h.released)
        end_tree();
}

static bool looks_at_cpu_time(void) {
    return h.cpu_limit_us && !h.ending && !h.released;
}

static int64_t earlier(int64_t one, int64_t other) {
    return one < other ? one : other;
}

/* Wait no longer than until then. */
static int64_t next_look_ns(void) {
    int64_t next = INT64_MAX;
    if (h.ending)
        next = earlier(next, h.again_at_ns);
    next = earlier(next, h.look_at_ns);
    if (looks_at_cpu_time())
        next = earlier(next, h.cpu_at_ns);
    return next;
}

static void look(int64_t now_ns) {
    if (h.ending && now_ns >= h.again_at_ns)
        end_again();
    if (now_ns >= h.look_at_ns)
        look_at_counts();
    if (looks_at_cpu_time() && now_ns >= h.cpu_at_ns)
        look_at_cpu_time();
}

static bool is_guard(const char *name) {
    const char *guard = BROOD__GUARD_NAME;
    for (; *guard && *guard == *name; guard++)
        name++;
    return *guard == *name;
}

int main(int argc, char **argv) {
    enum { LINE, HOST, ENDED, MEMORY, PIDS, POLLS };
    if (argc > 2 && is_guard(argv[0]))
        guard_main(argv[1], argv[2]);
    if (argc > 2)
        go_on((int)brood__read_number(argv[2]));
    else
        prepare(argc > 1 ? argv[1] : NULL);
    for (;;) {
        struct pollfd polls[POLLS] = {
            [LINE] = {.fd = h.hearing ? BROOD__LINE_FD : -1, .events = POLLIN | POLLRDHUP},
            [HOST] = {.fd = h.released ? -1 : h.host_fd, .events = POLLIN},
            [ENDED] = {.fd = h.ended_fd, .events = POLLIN},
        };
        cgroup_events(&polls[MEMORY], &polls[PIDS]);
        if (h.told.refused)
            polls[PIDS].fd = -1;
        int64_t next_ns = next_look_ns(), left_ns = next_ns - holder_now_ns();
        struct timespec pause = {.tv_sec = left_ns > 0 ? left_ns / 1000000000 : 0,
                                 .tv_nsec = left_ns > 0 ? left_ns % 1000000000 : 0};
        struct signalfd_siginfo signals;
        long n = holder_call(SYS_ppoll, polls, (long)POLLS, next_ns < INT64_MAX ? &pause : NULL, 0L, 0L);
        look(holder_now_ns());
        if (n <= 0)
            continue;
        h.said_all = polls[LINE].revents & POLLRDHUP;
        if (polls[MEMORY].revents && cgroup_signal_seen())
            h.late_looks = LATE_LOOKS;
        if (polls[MEMORY].revents || polls[PIDS].revents)
            look_at_counts();
        if (polls[LINE].revents && h.hearing)
            obey();
        else if (polls[HOST].revents) /* and what it had said is done */
            lose_host();
        if (polls[ENDED].revents) {
            holder_read(h.ended_fd, &signals, sizeof signals);
            reap();
            if (h.ending)
                chase();
        }
    }
}
