/*
 * Carrying out a plan: open what the slots need, clone, learn whether the program runs.
 *
 * The clone shares the host's memory (CLONE_VM), so it costs the same whatever the host's size, and suspends the calling
 * thread until the child execs or exits (CLONE_VFORK); or it does not, where room was brought for the child to go its own
 * way, and whether its program runs is learnt when it is next heard of. What is hard: the child's credentials change the
 * host's memory, which the kernel answers by marking it non-dumpable; under an emulator (valgrind, qemu-user) memory is
 * not shared, and the child's report must come through a pipe; and descriptors must not collide with the slots' numbers.
 */
#include "process/start.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/sys.h"
#include "process/ahead.h"
#include "process/child.h"
#include "process/clone3.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FLAGS (CLONE_VM | CLONE_PIDFD)

extern char **environ;

/* --- slots, before the clone --- */

static int open_pipe(brood__plan_slot *s) {
    int fds[2];
    int r = brood__pipe(fds);
    if (r < 0)
        return r;
    bool child_reads = s->from == BROOD__FROM_PIPE_IN;
    s->source = fds[child_reads ? 0 : 1];
    s->owned = true;
    s->host_end = fds[child_reads ? 1 : 0];
    if (s->pipe_size)
        fcntl(s->host_end, F_SETPIPE_SZ, (int)(s->pipe_size < INT_MAX ? s->pipe_size : INT_MAX)); /* a wish */
    return brood__nonblock(s->host_end);
}

static int open_channel(brood__plan_slot *s) {
    int fds[2];
    int r = brood__socket_pair(fds);
    if (r < 0)
        return r;
    s->source = fds[0];
    s->owned = true;
    s->host_end = fds[1];
    return brood__nonblock(s->host_end);
}

static int open_file(brood__plan_slot *s, const char *path, int flags) {
    s->source = brood__open(path, flags);
    s->owned = true;
    return s->source < 0 ? s->source : 0;
}

/*
 * Whether 0, 1 or 2 is what it is for every program. If the host closed it, it is closed, or has the number of
 * something that was opened since, by the loop or by a start on another thread: that is close-on-exec, and no stdin of
 * anybody's. It must not stay closed in the child, whose first open would become its stdin or stdout.
 */
static bool is_standard_stream(int fd) {
    int flags = fcntl(fd, F_GETFD);
    return flags >= 0 && !(flags & FD_CLOEXEC);
}

static int borrow(brood__plan_slot *s, int fd) {
    s->source = fd;
    return brood__fd_is_open(fd) ? 0 : -EBADF;
}

static int open_slot(brood__plan_slot *s) {
    switch (s->from) {
    case BROOD__FROM_INHERIT:
        if (s->slot <= 2 && !is_standard_stream(s->slot))
            return open_file(s, "/dev/null", O_RDWR);
        s->source = s->slot;
        return s->slot <= 2 || brood__fd_is_open(s->slot) ? 0 : -EBADF;
    case BROOD__FROM_FD:
        return borrow(s, s->fd);
    case BROOD__FROM_NULL:
        return open_file(s, "/dev/null", O_RDWR);
    case BROOD__FROM_FILE:
        return open_file(s, s->path, s->flags);
    case BROOD__FROM_PIPE_IN:
    case BROOD__FROM_PIPE_OUT:
        return open_pipe(s);
    case BROOD__FROM_CHANNEL:
        return open_channel(s);
    case BROOD__FROM_SLOT:
        return 0; /* once all others are open */
    }
    return -EINVAL;
}

/* Slots that are others' (2>&1). The options were checked: every chain ends. */
static void follow_slots(brood__plan *plan) {
    for (size_t i = 0; i < plan->slot_count; i++) {
        const brood__plan_slot *s = &plan->slots[i];
        while (s->from == BROOD__FROM_SLOT)
            s = brood__plan_find(plan, s->fd);
        plan->slots[i].source = s->source;
    }
}

static int fail_slot(const brood__plan_slot *s, int code, brood_failure *why) {
    char subject[32];
    snprintf(subject, sizeof subject, "slot %d", s->slot);
    if (s->from == BROOD__FROM_FILE || s->from == BROOD__FROM_NULL)
        return brood__fail(why, code, BROOD_STEP_OPEN, s->path ? s->path : "/dev/null", NULL);
    return brood__fail(
        why, code, brood__plan_slot_is_pipe(s) || s->from == BROOD__FROM_CHANNEL ? BROOD_STEP_PIPE : BROOD_STEP_STDIO,
        subject, NULL);
}

static bool is_borrowed(const brood__plan_slot *s) {
    return s->from == BROOD__FROM_FD || s->from == BROOD__FROM_INHERIT;
}

/* First the host's: a number that it has not must not be one that a pipe of ours takes meanwhile. */
int brood__plan_open(brood__plan *plan, brood_failure *why) {
    for (size_t i = 0; i < plan->slot_count; i++) {
        plan->slots[i].host_end = plan->slots[i].source = -1;
        plan->slots[i].owned = false;
    }
    for (int borrowed = 1; borrowed >= 0; borrowed--)
        for (size_t i = 0; i < plan->slot_count; i++) {
            int r = is_borrowed(&plan->slots[i]) == borrowed ? open_slot(&plan->slots[i]) : 0;
            if (r < 0)
                return fail_slot(&plan->slots[i], r, why);
        }
    follow_slots(plan);
    brood__plan_order(plan);
    return 0;
}

static void close_child_ends(brood__plan *plan) {
    for (size_t i = 0; i < plan->slot_count; i++) {
        brood__plan_slot *s = &plan->slots[i];
        if (s->owned && s->from != BROOD__FROM_SLOT)
            brood__close(s->source);
        s->owned = false; /* but its source stays: the process may still be reading it */
    }
}

static void close_host_ends(brood__plan *plan) {
    for (size_t i = 0; i < plan->slot_count; i++) {
        brood__close(plan->slots[i].host_end);
        plan->slots[i].host_end = -1;
    }
}

void brood__plan_close(brood__plan *plan, bool failed) {
    close_child_ends(plan);
    if (failed)
        close_host_ends(plan);
}

void brood__plan_done(brood__plan *plan) {
    close_host_ends(plan);
    brood__arena_done(&plan->memory);
    memset(plan, 0, sizeof *plan);
}

/* --- the clone --- */

/*
 * clone3(2), which has no other name in the C library, with a stack of the child's own. It goes on there and never
 * returns; no register but the answer's is changed for either of the two.
 */
#if defined __x86_64__ && !defined __ILP32__
#define HAS_CLONE3 1

BROOD__RAW __attribute__((noinline)) static long clone3(const brood__clone_args *args, int (*main)(void *),
                                                        void *data) {
    long answer;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "mov %[data], %%rdi\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "call *%[main]\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(answer)
                     : "0"((long)SYS_clone3), "D"(args), "S"(sizeof *args), [main] "b"(main), [data] "r"(data)
                     : "rcx", "r11", "memory");
    return answer;
}

#elif defined __aarch64__
#define HAS_CLONE3 1

BROOD__RAW __attribute__((noinline)) static long clone3(const brood__clone_args *args, int (*main)(void *),
                                                        void *data) {
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)sizeof *args;
    register long x2 __asm__("x2") = (long)main;
    register long x3 __asm__("x3") = (long)data;
    __asm__ volatile("svc #0\n\t"
                     "cbnz x0, 1f\n\t"
                     "mov x29, #0\n\t"
                     "mov x30, #0\n\t"
                     "mov x0, x3\n\t"
                     "blr x2\n\t"
                     "brk #1\n"
                     "1:"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3)
                     : "memory");
    return x0;
}

#else
#define HAS_CLONE3 0

static long clone3(const brood__clone_args *args, int (*main)(void *), void *data) {
    (void)args, (void)main, (void)data;
    return -ENOSYS;
}

#endif

static int clone_into(int cgroup, int (*main)(void *), void *data, char *stack, int more_flags, int *cleared,
                      int *ret_pidfd) {
    brood__clone_args args = {
        .flags = CLONE_INTO_CGROUP | (unsigned)(FLAGS | more_flags | (cleared ? CLONE_CHILD_CLEARTID : 0)),
        .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
        .child_tid = (uint64_t)(uintptr_t)cleared,
        .exit_signal = SIGCHLD,
        .stack = (uint64_t)(uintptr_t)stack,
        .stack_size = BROOD__CHILD_STACK,
        .cgroup = (uint64_t)cgroup,
    };
    return (int)clone3(&args, main, data);
}

static int clone_plainly(int (*main)(void *), void *data, char *stack, int more_flags, int *cleared, int *ret_pidfd) {
    int flags = FLAGS | SIGCHLD | more_flags | (cleared ? CLONE_CHILD_CLEARTID : 0);
    int r = __clone(main, stack + BROOD__CHILD_STACK, flags, data, ret_pidfd, NULL, cleared);
    return r < 0 ? -errno : r;
}

/*
 * Every signal is blocked around it, the C library's own included (hence the raw call): the child starts with this mask
 * and with the host's handlers, none of which may run in it.
 */
static int clone_on(char *stack, int (*main)(void *), void *data, int more_flags, int cgroup, int *cleared,
                    int *ret_pidfd) {
    const uint64_t all = ~(uint64_t)0;
    uint64_t before;
    int r = brood__fault("clone", EAGAIN);
    if (r < 0)
        return r;
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
    r = cgroup ? clone_into(cgroup, main, data, stack, more_flags, cleared, ret_pidfd)
               : clone_plainly(main, data, stack, more_flags, cleared, ret_pidfd);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, 8);
    return r;
}

int brood__clone(int (*main)(void *), void *data, int more_flags, int cgroup, int *cleared, int *ret_pidfd) {
    alignas(16) char stack[BROOD__CHILD_STACK];
    return clone_on(stack, main, data, CLONE_VFORK | more_flags, cgroup, cleared, ret_pidfd);
}

int brood__clone_ahead(char *stack, int (*main)(void *), void *data, int cgroup, int *cleared, int *ret_pidfd) {
    return clone_on(stack, main, data, CLONE_UNTRACED, cgroup, cleared, ret_pidfd);
}

static int clone_child(brood__launch *l, int *ret_pidfd) {
    return brood__clone(brood__child_main, l, l->plan->new_namespaces, l->plan->born_in, NULL, ret_pidfd);
}

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* In a fork of the host nobody is left who could unlock it. */
static void unlock_in_fork(void) {
    pthread_mutex_init(&one_at_a_time, NULL);
}

__attribute__((constructor)) static void watch_for_forks(void) {
    pthread_atfork(NULL, NULL, unlock_in_fork);
}

/*
 * A change of credentials makes the kernel mark the memory as non-dumpable, and that memory is the host's as well: no
 * core, no ptrace, /proc/self owned by root. So it is put back once the child has left; one at a time, or the second
 * would save what the first had broken.
 */
static int clone_with_credentials(brood__launch *l, int *ret_pidfd) {
    pthread_mutex_lock(&one_at_a_time);
    int dumpable = prctl(PR_GET_DUMPABLE);
    int r = clone_child(l, ret_pidfd);
    if (dumpable == 1)
        prctl(PR_SET_DUMPABLE, 1);
    pthread_mutex_unlock(&one_at_a_time);
    return r;
}

/*
 * Whether memory is shared is learnt on the way: until the first child has shown it, each start brings a pipe for its
 * report as well.
 */
static atomic_int memory_shared; /* 0: not known, 1: yes, -1: no */

static bool report_needs_pipe(void) {
    return atomic_load(&memory_shared) != 1 || !brood__has(BROOD__SHARED_MEMORY);
}

bool brood__shares_memory(void) {
    return !report_needs_pipe();
}

bool brood__can_be_born_in(void) {
    return HAS_CLONE3 && brood__shares_memory();
}

/* The pipe closes at exec, or carries the report. */
static void read_report(brood__launch *l, int fd) {
    brood__report report;
    ssize_t n;
    do
        n = read(fd, &report, sizeof report);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof report)
        l->report = report;
}

/* Killed before its first step: holder/main.c says why. Where one is born in a cgroup, memory is shared. */
static bool is_stillborn(const brood__launch *l) {
    return l->plan->born_in && !l->entered;
}

static int launch(brood__launch *l, brood__process *ret_process) {
    const brood__plan *plan = l->plan;
    brood__process process = BROOD__PROCESS_NONE;
    int report[2] = {-1, -1};
    int r;
    if (report_needs_pipe()) {
        r = brood__pipe(report);
        if (r < 0)
            return r;
        while (report[1] >= 0 && brood__plan_find(plan, report[1]))
            report[1] = brood__fd_lift(report[1], report[1] + 1);
        if ((r = report[1]) < 0)
            goto out;
    }
    l->report_fd = report[1];
    process.started_us = brood__now_us();
    r = plan->set_uid || plan->set_gid || plan->set_groups ? clone_with_credentials(l, &process.pidfd)
                                                           : clone_child(l, &process.pidfd);
    if (r < 0) {
        process.pidfd = -1;
        goto out;
    }
    process.pid = r;
    r = 0;
    if (report[1] >= 0) {
        atomic_store(&memory_shared, l->entered ? 1 : -1);
        brood__close(report[1]);
        report[1] = -1;
        read_report(l, report[0]);
    }
    if (l->report.step || is_stillborn(l)) {
        brood__reap(process.pidfd);
        brood__close(process.pidfd);
        r = l->report.step ? -l->report.error : -EOPNOTSUPP;
        goto out;
    }
    process.pidfd = brood__fd_lift_if_any(process.pidfd, 3); /* out of the way of slots that a later child inherits */
    *ret_process = process;
out:
    brood__close(report[0]);
    brood__close(report[1]);
    return r;
}

/* --- what went wrong --- */

static const char *exec_hint(const brood__plan *plan, int error) {
    if (error == ENOMEM && plan->tree.memory)
        return "its memory limit leaves no room for it";
    if (plan->file_by_fd)
        return NULL;
    bool here = plan->file[0] == '/' || (!plan->cwd && !plan->cwd_by_fd);
    if (error == ENOENT && !strchr(plan->file, '/'))
        return "not found in PATH";
    if (error == ENOENT && here && access(plan->file, F_OK) == 0)
        return "it exists, but the interpreter or loader that it names does not";
    if (error == EACCES && here && strchr(plan->file, '/')) {
        int fd = open(plan->file, O_PATH | O_DIRECTORY | O_CLOEXEC);
        brood__close(fd);
        return fd >= 0 ? "it is a directory" : NULL;
    }
    if (error == ENOEXEC)
        return "not a program of this machine, nor a script";
    return NULL;
}

static const char *limit_name(int resource) {
    static const char *const names[] = {
        [RLIMIT_CPU] = "cpu",           [RLIMIT_FSIZE] = "fsize",
        [RLIMIT_DATA] = "data",         [RLIMIT_STACK] = "stack",
        [RLIMIT_CORE] = "core",         [RLIMIT_RSS] = "rss",
        [RLIMIT_NPROC] = "nproc",       [RLIMIT_NOFILE] = "nofile",
        [RLIMIT_MEMLOCK] = "memlock",   [RLIMIT_AS] = "as",
        [RLIMIT_LOCKS] = "locks",       [RLIMIT_SIGPENDING] = "sigpending",
        [RLIMIT_MSGQUEUE] = "msgqueue", [RLIMIT_NICE] = "nice",
        [RLIMIT_RTPRIO] = "rtprio",     [RLIMIT_RTTIME] = "rttime",
    };
    return resource >= 0 && resource < (int)(sizeof names / sizeof *names) ? names[resource] : NULL;
}

static bool is_beyond_limit(int fd) {
    struct rlimit files;
    return getrlimit(RLIMIT_NOFILE, &files) == 0 && fd >= 0 && (rlim_t)fd >= files.rlim_cur;
}

static const char *cgroup_hint(const brood__plan *plan, const brood__report *report) {
    if (report->error != EOPNOTSUPP)
        return NULL;
    if (report->index != BROOD_LIMIT_IO)
        return "no cgroup can be had here that limits this; root has one, and so has systemd-run --user --scope -p "
               "Delegate=yes";
    return plan->disks ? "no cgroup can be had here that limits this; root has one by systemd-run --scope -p "
                         "Delegate=yes"
                       : "there is no /sys/block here that tells of the disks";
}

/* A slot that finds no memory within the limit of the program's tree was only what came before its exec. */
static brood_step step_of(const brood__plan *plan, const brood__report *report) {
    bool no_room = report->step == BROOD_STEP_STDIO && report->error == ENOMEM && plan->tree.memory;
    return no_room ? BROOD_STEP_EXEC : (brood_step)report->step;
}

int brood__plan_fail(const brood__plan *plan, const brood__report *report, brood_failure *why) {
    brood_step step = step_of(plan, report);
    char number[32];
    snprintf(number, sizeof number, report->step == BROOD_STEP_STDIO ? "slot %d" : "resource %d", report->index);
    const char *subject = NULL, *hint = NULL;
    switch (step) {
    case BROOD_STEP_STDIO:
        subject = number;
        if (report->error == EBADF && is_beyond_limit(report->index))
            hint = "it is beyond the limit of descriptors here (RLIMIT_NOFILE; see ulimit -n)";
        break;
    case BROOD_STEP_LIMIT:
        subject = limit_name(report->index) ? limit_name(report->index) : number;
        break;
    case BROOD_STEP_CGROUP:
        subject = report->index ? brood_limit_text((brood_limit)report->index) : NULL;
        hint = cgroup_hint(plan, report);
        break;
    case BROOD_STEP_CWD:
        subject = plan->cwd;
        break;
    case BROOD_STEP_EXEC:
        subject = plan->file;
        hint = exec_hint(plan, report->error);
        break;
    default:
        break;
    }
    return brood__fail(why, -report->error, step, subject, hint);
}

uint64_t brood__peak_kb(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss : UINT64_MAX;
}

static int carry_out(brood__plan *plan, brood__process *ret_process, brood_failure *why) {
    brood__launch l;
    if (plan->ahead) {
        int r = brood__ahead_start(plan, ret_process);
        return r < 0 ? brood__fail(why, r, BROOD_STEP_CLONE, NULL, NULL) : 0;
    }
    brood__launch_prepare(&l, plan, plan->envp ? plan->envp : environ);
    l.parent = getpid();
    int r = launch(&l, ret_process);
    if (r < 0)
        return l.report.step ? brood__plan_fail(plan, &l.report, why)
                             : brood__fail(why, r, BROOD_STEP_CLONE, NULL, NULL);
    ret_process->rss_floor_kb = brood__peak_kb();
    return 0;
}

int brood__start(brood__plan *plan, brood__process *ret_process, brood_failure *why) {
    int r = brood__plan_open(plan, why);
    if (r == 0)
        r = carry_out(plan, ret_process, why);
    brood__plan_close(plan, r < 0);
    return r;
}
