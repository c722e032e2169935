/*
 * Two clones in the host's memory, one the parent of the other. The first makes itself the subreaper of what will descend
 * from it, bears the second, opens what it needs as a holder, and execs the holder's image. The second does what is to be
 * done between clone and exec, waits until the first has left this memory by its exec, and execs the program:
 *
 *     host      --+ suspended ------------------------------+ waits ---------------+-->
 *     holder      +-- clone -- opens -------------- exec ---+-- the holder's image
 *     program           +-- slots, limits, … -- waits ------+-------------- exec --+-- the program
 *
 * So no program runs before there is one that owns it, and by then that has all that it could fail to get, but for the
 * memory of its image. The first shares the host's descriptors until the second is born, whose pidfd is the host's
 * therefore. While one of them is in the host's memory, on a stack that is a piece of the caller's, nothing may take
 * the caller away from there: neither a handler that jumps nor a cancellation.
 */
#include "own/birth.h"

#include "base/call.h"
#include "base/clock.h"
#include "base/digits.h"
#include "base/failure.h"
#include "base/sys.h"
#include "own/holder/line.h"
#include "process/ahead.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ABOVE_ALL 16 /* of the numbers by which a holder finds its descriptors */
#define MOST_LOOKS 10
#define ROOM_FOR_HOLDER (64 << 20) /* of address space, amply */

extern char **environ;

typedef struct birth {
    brood__launch launch; /* of the program */
    int host, line, image;
    char host_text[16], program_text[16]; /* the holder's arguments */
    int error;                            /* a negative errno: the holder could not be had */
    int program;                          /* its pid; 0: it was not born */
    int program_fd;                       /* its pidfd, in the host's table */
    int holder_is_here, program_is_here;  /* cleared by the kernel once they have left this memory */
    alignas(16) char stack[BROOD__CHILD_STACK];
} birth;

/* --- what is to be the holder --- */

#define TRY(name, call)                                                                                                \
    do {                                                                                                               \
        if (brood__fault(name, ENOMEM) < 0)                                                                            \
            give_up(b, -ENOMEM);                                                                                       \
        long r_ = (call);                                                                                              \
        if (r_ < 0)                                                                                                    \
            give_up(b, (int)r_);                                                                                       \
    } while (0)

BROOD__RAW static _Noreturn void give_up(birth *b, int error) {
    b->error = error;
    if (b->program > 0) {
        brood__call(SYS_kill, b->program, SIGKILL);
        brood__call(SYS_wait4, b->program, NULL, __WALL, NULL);
    }
    for (;;)
        brood__call(SYS_exit_group, 127);
}

BROOD__RAW static void stay_with_host(birth *b) {
    if (brood__call(SYS_getppid) != b->host)
        give_up(b, -ESRCH);
}

/* Should it be stopped, the end of the host makes it go on. */
BROOD__RAW static void be_subreaper(birth *b) {
    TRY("prctl", brood__call(SYS_prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0));
    TRY("prctl", brood__call(SYS_prctl, PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0));
    stay_with_host(b);
}

BROOD__RAW static void bear_program(birth *b) {
    int flags = CLONE_VM | CLONE_PIDFD | CLONE_CHILD_CLEARTID | SIGCHLD, pid;
    b->launch.parent = (int)brood__call(SYS_getpid);
    TRY("clone", pid = __clone(brood__child_main, b->stack + sizeof b->stack, flags, &b->launch, &b->program_fd, NULL,
                               &b->program_is_here));
    b->program = pid;
    brood__call(SYS_setsid); /* only now: the program has the host's session, and so its terminal */
    brood__append_number(b->program_text, 0, (uint64_t)pid);
}

/* Each at its number, which is the lowest that is free; all else is closed by exec. */
BROOD__RAW static void open_what_it_needs(birth *b) {
    const uint64_t ends = (uint64_t)1 << (SIGCHLD - 1);
    int image, line;
    TRY("close_range", brood__call(SYS_close_range, 3, ~0U, CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC));
    TRY("fcntl", image = (int)brood__call(SYS_fcntl, b->image, F_DUPFD_CLOEXEC, ABOVE_ALL));
    TRY("fcntl", line = (int)brood__call(SYS_fcntl, b->line, F_DUPFD_CLOEXEC, ABOVE_ALL));
    for (int fd = 0; fd < BROOD__HOST_FD; fd++)
        TRY("dup3", brood__call(SYS_dup3, line, fd, 0));
    TRY("close_range", brood__call(SYS_close_range, BROOD__HOST_FD, ABOVE_ALL - 1, 0));
    TRY("pidfd_open", brood__call(SYS_pidfd_open, b->host, 0));
    TRY("fcntl", brood__call(SYS_fcntl, BROOD__HOST_FD, F_SETFD, 0));
    TRY("open", brood__call(SYS_openat, AT_FDCWD, "/proc", O_RDONLY | O_DIRECTORY, 0));
    if (!brood__proc_shows_us(BROOD__PROC_FD))
        give_up(b, -ESRCH);
    TRY("signalfd", brood__call(SYS_signalfd4, -1, &ends, sizeof ends, O_NONBLOCK));
    stay_with_host(b);
    b->image = image;
}

BROOD__RAW static int be_holder(void *data) {
    birth *b = data;
    char *argv[] = {(char[]){"brood-holder"}, b->host_text, b->program_text, NULL}, *envp[] = {NULL};
    be_subreaper(b);
    bear_program(b);
    open_what_it_needs(b);
    TRY("execveat", brood__call(SYS_execveat, b->image, "", argv, envp, AT_EMPTY_PATH));
    give_up(b, -EPROTO);
}

/* --- the host --- */

static int is_here(const birth *b) {
    return __atomic_load_n(&b->program_is_here, __ATOMIC_ACQUIRE);
}

/* A holder that was killed as it cloned could not tell. */
static bool was_born(const birth *b) {
    return b->program > 0 || b->launch.entered || !is_here(b);
}

/*
 * Until it runs, or has failed to, and this memory is ours alone. One that dumps core ends without clearing the word; one
 * whose holder was killed as it cloned ends soon, if there is one.
 */
static void await_program(birth *b) {
    int looks = 0;
    while (is_here(b)) {
        if (was_born(b) ? brood__has_ended(b->program_fd) : b->error < 0 || looks++ == MOST_LOOKS)
            break;
        brood__await_cleared(&b->program_is_here);
    }
    if (!was_born(b))
        b->program_fd = -1; /* a number that the kernel gave up again */
}

static void prepare(birth *b, brood__plan *plan, int line, int image) {
    b->host = (int)getpid();
    b->line = line;
    b->image = image;
    snprintf(b->host_text, sizeof b->host_text, "%d", b->host);
    b->error = b->program = 0;
    b->program_fd = -1;
    b->holder_is_here = b->program_is_here = 1;
    brood__launch_prepare(&b->launch, plan, plan->envp ? plan->envp : environ);
    b->launch.held = &b->holder_is_here;
}

/* The holder's pid, or a negative errno. Nothing interrupts it: see above. */
static int bear(birth *b, int *ret_pidfd) {
    const uint64_t all = ~(uint64_t)0;
    uint64_t before;
    brood__call(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
    int pid = brood__clone(be_holder, b, CLONE_FILES, 0, &b->holder_is_here, ret_pidfd);
    if (pid > 0)
        await_program(b);
    brood__call(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
    return pid;
}

static int tell_failure(const brood__plan *plan, const brood__report *report, brood_failure *why) {
    if (report->step == BROOD_STEP_HOLDER) /* somebody has killed it */
        return brood__fail(why, -EPIPE, BROOD_STEP_HOLDER, NULL, BROOD__HOLDER_ENDED_EARLY);
    return brood__plan_fail(plan, report, why);
}

static int start(brood__plan *plan, brood__holder *h, brood__process *ret_process, brood_failure *why) {
    birth b; /* not initialised as a whole: most of it is the program's stack */
    int line[2], image = brood__holder_image();
    if (image < 0 || brood__socket_pair(line) < 0)
        return 1;
    h->line = line[0];
    prepare(&b, plan, line[1], image);
    ret_process->started_us = brood__now_us();
    h->pid = bear(&b, &h->pidfd);
    brood__close(line[1]);
    if (h->pid < 0) {
        h->pidfd = -1;
        return brood__fail(why, h->pid, BROOD_STEP_CLONE, NULL, NULL);
    }
    h->pidfd = brood__fd_lift_if_any(h->pidfd, 3);
    ret_process->pid = b.program;
    ret_process->pidfd = b.program_fd < 0 ? -1 : brood__fd_lift_if_any(b.program_fd, 3);
    if (b.error < 0 || b.program == 0) /* as when it was killed before it could say whom it has borne */
        return 1;
    if (b.launch.report.step)
        return tell_failure(plan, &b.launch.report, why);
    ret_process->rss_floor_kb = brood__peak_kb();
    return brood__nonblock(h->line);
}

/* Where there is none the kernel would end it in the middle of its exec. */
static bool has_room_for_holder(void) {
    struct rlimit space, data;
    return getrlimit(RLIMIT_AS, &space) == 0 && getrlimit(RLIMIT_DATA, &data) == 0 &&
           space.rlim_cur >= ROOM_FOR_HOLDER && data.rlim_cur >= ROOM_FOR_HOLDER;
}

bool brood__birth_can(const brood__plan *plan) {
    bool changes_user =
        plan->set_uid || plan->set_gid || plan->set_groups; /* which changes the host's memory as well */
    return BROOD__CALLS_ARE_BARE && brood__shares_memory() && brood__has(BROOD__CLOSE_RANGE) && !changes_user &&
           !plan->needs_cgroup && has_room_for_holder();
}

int brood__birth_start(brood__plan *plan, brood__holder *ret_holder, brood__process *ret_process, brood_failure *why) {
    brood__holder h = BROOD__HOLDER_NONE;
    brood__process process = BROOD__PROCESS_NONE;
    int r = brood__plan_open(plan, why);
    if (r == 0) {
        plan->dies_with_parent = true;
        r = start(plan, &h, &process, why);
        plan->dies_with_parent = false;
    }
    brood__plan_close(plan, r != 0);
    if (r != 0) {
        h.lost = true; /* it has gone, or goes now that its line is at its end */
        brood__close(process.pidfd);
        brood__holder_done(&h);
        return r;
    }
    *ret_holder = h;
    *ret_process = process;
    return 0;
}
