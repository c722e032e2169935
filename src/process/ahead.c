/*
 * What is hard: a debugger takes a clone that is not waited for for a fork with memory of its own, and takes its
 * breakpoints out of it, which are the host's. So it is not told of such a clone; and as long as there is one, which
 * wants to see all, starts are waited for. To ask for it takes longer than all else here, so it is asked for at times.
 */
#include "process/ahead.h"

#include "base/call.h"
#include "base/clock.h"
#include "base/sys.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_NS 100000000
#define ASK_AGAIN_MS 100

/* Also where that cannot be known. */
static bool may_have_debugger(void) {
    static const char word[] = "\nTracerPid:\t";
    char text[1024];
    if (brood__read_at(AT_FDCWD, "/proc/self/status", text, sizeof text) <= 0)
        return true;
    const char *at = strstr(text, word);
    return !at || at[sizeof word - 1] != '0';
}

static bool is_debugged(void) {
    static atomic_bool answer;
    static atomic_uint asked_ms; /* 0: never */
    unsigned now = (unsigned)(brood__now_us() / 1000) | 1, before = atomic_load(&asked_ms);
    if ((before == 0 || now - before >= ASK_AGAIN_MS) && atomic_compare_exchange_strong(&asked_ms, &before, now))
        atomic_store(&answer, may_have_debugger());
    return atomic_load(&answer);
}

bool brood__ahead_suits(const brood__plan *plan) {
    bool changes_user = plan->set_uid || plan->set_gid || plan->set_groups;
    bool is_plain = !plan->new_session && !plan->joins[0] && !plan->new_namespaces && !plan->dies_with_parent;
    return BROOD__CALLS_ARE_BARE && brood__shares_memory() && is_plain && plan->envp && !changes_user && !is_debugged();
}

static bool is_of_descriptors(const char *path) {
    return path && (strstr(path, "/proc/") || strstr(path, "/dev/fd"));
}

/*
 * It may take long to get to its exec, and is not to hold meanwhile what others wait for the end of: so it closes what is
 * not its own before, unless its program or directory may be found by a descriptor.
 */
static bool closes_at_once(const brood__plan *plan) {
    return !plan->file_by_fd && !plan->cwd_by_fd && !is_of_descriptors(plan->file) && !is_of_descriptors(plan->cwd) &&
           !is_of_descriptors(plan->search);
}

/* Whoever signals its group may be quicker than the process itself: so the group is made on both sides. */
int brood__ahead_start(brood__plan *plan, brood__process *ret_process) {
    brood__ahead *a = plan->ahead;
    brood__process process = BROOD__PROCESS_NONE;
    brood__launch_prepare(&a->launch, plan, plan->envp);
    a->launch.closes_at_once = closes_at_once(plan);
    a->is_here = 1;
    process.started_us = brood__now_us();
    int r = brood__clone_ahead(a->stack, brood__child_main, &a->launch, plan->born_in, &a->is_here, &process.pidfd);
    if (r < 0)
        return r;
    if (plan->new_group)
        setpgid(r, r);
    a->under_way = true;
    process.pid = r;
    process.pidfd = brood__fd_lift_if_any(process.pidfd, 3); /* as after a start that was waited for */
    process.rss_floor_kb = UINT64_MAX;                       /* to be asked for once it has left */
    *ret_process = process;
    return 0;
}

void brood__await_cleared(const int *number) {
    const struct timespec look = {.tv_nsec = LOOK_NS};
    int now = __atomic_load_n(number, __ATOMIC_ACQUIRE);
    if (now != 0)
        brood__call(SYS_futex, number, FUTEX_WAIT, now, &look, NULL, 0);
}

bool brood__has_ended(int pidfd) {
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    const struct timespec at_once = {0};
    return brood__call(SYS_ppoll, &ended, 1, &at_once, NULL, 0) > 0 && ended.revents & POLLIN;
}
