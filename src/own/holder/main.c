/*
 * The holder of a tree: the parent of one program, and of whatever in its tree is orphaned. It ends all of them when the
 * host says so, or when the host has gone, however it went: the end of the line tells, or the host's pidfd, should a
 * fork of the host still have the line open. It reports how the program ended and when nothing of the tree is left.
 *
 * It has one thread, no library, no files but its own three, and blocks every signal, so that a Ctrl-C or a kill of the
 * process group it was born in does not end it before its work is done.
 */
#include "own/holder/cgroup.h"
#include "own/holder/line.h"
#include "own/holder/runtime.h"
#include "own/holder/tree.h"
#include "process/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

/* So long after it was killed, look whether the tree has grown meanwhile; and then less and less often. */
#define AGAIN_FIRST_NS 5000000L
#define AGAIN_LONGEST_NS 640000000L
#define CHASE_PAUSES 2 /* times as long as it took */

int main(int argc, char **argv);

static struct holder {
    int host_fd;       /* readable when the host has gone; -1: it is known by the line alone */
    int ended_fd;      /* readable when something in the tree may have ended */
    int program;       /* its pid; 0: none yet, or it has ended */
    bool hearing;      /* the host may still have orders */
    bool started;      /* there is a tree, or has been one */
    bool ending;       /* the tree is being killed */
    bool released;     /* nothing is to be killed */
    bool ignored_ends; /* the host ignores SIGCHLD, and its program may be to do so as well */
    int denied;
    int64_t again_at_ns; /* ENDING: when it is looked at again */
    long again_ns;       /* so long after the last look */
} h = {.host_fd = -1, .hearing = true};

static _Noreturn void leave(void) {
    cgroup_remove();
    for (;;)
        holder_call(SYS_exit_group, 0L);
}

/* --- the line --- */

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
    long r;
    do /* where nobody hears it any more, it fails */
        r = holder_call(SYS_sendmsg, (long)BROOD__LINE_FD, &message, (long)MSG_NOSIGNAL);
    while (r == -EINTR);
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

/* --- the start --- */

static uint64_t own_peak_kb(void) {
    static const char name[] = "VmHWM:";
    char text[2048];
    int fd = holder_open(AT_FDCWD, "/proc/self/status", O_RDONLY);
    long len = fd < 0 ? -1 : holder_read(fd, text, sizeof text);
    uint64_t kb = 0;
    holder_close(fd);
    for (long at = 0; at + (long)sizeof name < len; at++) {
        size_t same = 0;
        while (name[same] && text[at + (long)same] == name[same])
            same++;
        if (name[same])
            continue;
        for (at += (long)same; at < len && text[at] != 'k'; at++)
            if (text[at] >= '0' && text[at] <= '9')
                kb = kb * 10 + (uint64_t)(text[at] - '0');
        return kb;
    }
    return UINT64_MAX;
}

static void report_failure(int step, int error) {
    brood__word word = {.kind = BROOD__WORD_STARTED, .step = step, .error = error};
    say(&word, 1, -1, -1);
    leave();
}

/* In a cgroup of the tree's own, if one can be had and started into: containers forbid the one or the other. */
static long launch_program(brood__launch *launch, int mount_fd, int *ret_pidfd) {
    int cgroup = mount_fd < 0 ? -1 : cgroup_make(mount_fd);
    long pid = -1;
    if (cgroup >= 0) {
        pid = holder_launch(launch, cgroup, ret_pidfd);
        if (pid < 0)
            cgroup_remove();
        if (pid == -EAGAIN || pid == -ENOMEM) /* as it would be without */
            return pid;
    }
    if (pid < 0 && launch->plan->needs_cgroup)
        report_failure(BROOD_STEP_HOLDER, EOPNOTSUPP);
    return pid >= 0 ? pid : holder_launch(launch, -1, ret_pidfd);
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
    brood__plan_order(plan);
    plan->dies_with_parent = true;
    plan->ignores_ends = plan->keep_ignored && h.ignored_ends;
    launch.plan = plan;
    launch.envp = plan->envp;
    launch.highest_slot = plan->slots[plan->slot_count - 1].slot;
    launch.report_fd = -1;
    launch.parent = (int)holder_call(SYS_getpid);
    long pid = launch_program(&launch, others < count ? fds[others] : -1, &pidfd);
    if (pid < 0)
        report_failure(BROOD_STEP_CLONE, (int)-pid);
    brood__word word = {
        .kind = BROOD__WORD_STARTED,
        .value = (int)pid,
        .step = launch.report.step,
        .error = launch.report.error,
        .index = launch.report.index,
    };
    h.program = (int)pid;
    h.started = true;
    if (word.step)
        cgroup_remove();
    int64_t made_ns;
    int cgroups = cgroup_parent(&made_ns);
    word.cgroup_made_ns = (uint64_t)made_ns;
    say(&word, 1, word.step ? -1 : pidfd, cgroups);
    if (word.step)
        leave();
    holder_close(pidfd);
}

static void start(const brood__order *order, const int *fds) {
    brood__packed *packed = holder_map(order->size);
    if (!packed)
        report_failure(BROOD_STEP_HOLDER, ENOMEM);
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

static void obey_signal(const brood__order *order) {
    int r = order->value != SIGKILL ? tree_signal(order->value) : cgroup_kill() ? 0 : tree_kill();
    if (order->tells)
        h.denied = r;
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
        report_failure(BROOD_STEP_HOLDER, EMFILE); /* or nobody is there to hear it */
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
        obey_signal(&order);
        break;
    case BROOD__ORDER_RELEASE:
        h.released = true;
        if (!h.program)
            leave();
        break;
    }
}

/* Whoever has ended. Without children there are no descendants. */
static void reap(void) {
    brood__word words[2];
    struct rusage usage;
    int status, count = 0;
    long pid;
    while ((pid = holder_call(SYS_wait4, -1L, &status, (long)(WNOHANG | __WALL), &usage)) > 0) {
        tree_reaped((int)pid);
        if (pid != h.program)
            continue;
        h.program = 0;
        words[count++] =
            (brood__word){.kind = BROOD__WORD_EXITED, .value = status, .rss_floor_kb = own_peak_kb(), .usage = usage};
    }
    if (pid == -ECHILD) {
        words[count] = (brood__word){.kind = BROOD__WORD_EMPTY};
        holder_call(SYS_getrusage, (long)RUSAGE_CHILDREN, &words[count++].usage);
    }
    if (count > 0)
        say(words, count, -1, -1);
    if (pid == -ECHILD || (h.released && !h.program))
        leave();
}

/* The parent that it was started by, if that is alive: once it is known to be, its number is nobody else's. */
static void find_host(const char *number) {
    int host = 0;
    while (number && *number)
        host = host * 10 + (*number++ - '0');
    int fd = (int)holder_call(SYS_pidfd_open, holder_call(SYS_getppid), 0L);
    if (holder_call(SYS_getppid) == 0) /* it was made in another PID namespace than its host's */
        report_failure(BROOD_STEP_HOLDER, ESRCH);
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
    find_host(host);
    int r = tree_prepare();
    h.ended_fd = (int)holder_call(SYS_signalfd4, -1L, &child, 8L, (long)(O_CLOEXEC | O_NONBLOCK));
    if (r < 0 || h.ended_fd < 0)
        report_failure(BROOD_STEP_HOLDER, r < 0 ? -r : -h.ended_fd);
}

static void lose_host(void) {
    h.hearing = false;
    h.host_fd = -1;
    if (!h.started)
        leave();
    if (!h.released)
        end_tree();
}

int main(int argc, char **argv) {
    enum { LINE, HOST, ENDED };
    prepare(argc > 1 ? argv[1] : NULL);
    for (;;) {
        struct pollfd polls[] = {
            [LINE] = {.fd = h.hearing ? BROOD__LINE_FD : -1, .events = POLLIN},
            [HOST] = {.fd = h.released ? -1 : h.host_fd, .events = POLLIN},
            [ENDED] = {.fd = h.ended_fd, .events = POLLIN},
        };
        int64_t left_ns = h.ending ? h.again_at_ns - holder_now_ns() : 0;
        struct timespec pause = {.tv_nsec = left_ns > 0 ? (long)left_ns : 0};
        struct signalfd_siginfo signals;
        long n = holder_call(SYS_ppoll, polls, 3L, h.ending ? &pause : NULL, 0L, 0L);
        if (h.ending && holder_now_ns() >= h.again_at_ns)
            end_again();
        if (n <= 0)
            continue;
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
