/*
 * A process, or its group. A group is addressed by a number, which is safe from reuse only while somebody holds it: so
 * a leader that owns its group stays a zombie until it is given up, unless the kernel can signal a group by the
 * leader's pidfd (Linux 6.9), which never means another.
 */
#include "own/owned.h"

#include "base/sys.h"
#include "process/exit.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>

static bool group_by_pidfd(void) {
    return brood__has(BROOD__PIDFD_GROUP);
}

static int signal_group(brood__owned *o, int signal) {
    if (o->process.pidfd < 0)
        return -ESRCH; /* there is none, and the pid 0 would be our own group */
    int r = brood__pidfd_signal_group(o->process.pidfd, signal);
    if (r != -EINVAL && r != -ENOSYS)
        return r;
    brood__lacks(BROOD__PIDFD_GROUP); /* the signal exists, so it was the flag that the kernel did not know */
    if (o->reaped || brood__pidfd_signal(o->process.pidfd, 0) == -ESRCH) /* somebody else has reaped it */
        return -ESRCH;
    return kill(-o->process.pid, signal) < 0 ? -errno : 0;
}

bool brood__owned_ended(brood__owned *o, brood_exit *ret_exit) {
    static atomic_bool asked;
    /*
     * One that leads its group is reaped only if the group can be reached without it. Asking tells whether the kernel
     * can.
     */
    if (o->reach == BROOD_OWN_GROUP && !atomic_load_explicit(&asked, memory_order_relaxed)) {
        signal_group(o, 0);
        atomic_store_explicit(&asked, true, memory_order_relaxed);
    }
    bool reap = o->reach != BROOD_OWN_GROUP || group_by_pidfd();
    if (!brood__process_ended(&o->process, reap, ret_exit, &o->reaped))
        return false;
    o->ended = true;
    ret_exit->stop_error = o->stop_error;
    return true;
}

int brood__owned_signal(brood__owned *o, int signal) {
    if (o->ended || o->process.pidfd < 0)
        return -ESRCH;
    int r = brood__pidfd_signal(o->process.pidfd, signal);
    if (r == -ENOSYS) /* valgrind 3.19; the number is safe as long as nobody has waited for the process */
        r = kill(o->process.pid, signal) < 0 ? -errno : 0;
    return r;
}

int brood__owned_signal_all(brood__owned *o, int signal) {
    if (o->reach == BROOD_OWN_GROUP)
        return signal_group(o, signal);
    return brood__owned_signal(o, signal);
}

void brood__owned_ask_to_stop(brood__owned *o, int signal) {
    int r = brood__owned_signal_all(o, signal);
    if (r < 0 && r != -ESRCH)
        o->stop_error = r;
    if (signal != SIGKILL)
        brood__owned_signal_all(o, SIGCONT);
}

bool brood__owned_settle(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us) {
    if (o->reach != BROOD_OWN_GROUP || deadlines->killed || o->process.pidfd < 0)
        return true;
    if (signal_group(o, 0) != -ESRCH && brood__group_lives(o->process.pid)) {
        brood__deadlines_check_again(deadlines, now_us);
        return false;
    }
    signal_group(o, SIGKILL); /* zombies do not mind, and what could not be seen is ended */
    return true;
}

void brood__owned_done(brood__owned *o) {
    brood_exit ignored;
    if (o->ended && !o->reaped)
        brood__process_ended(&o->process, true, &ignored, &o->reaped);
    brood__close(o->process.pidfd);
    o->process = BROOD__PROCESS_NONE;
}
