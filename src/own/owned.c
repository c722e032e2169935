/*
 * A process, its group, or its tree, which is reached through its holder or by its cgroup. A group is addressed by a number, which is
 * safe from reuse only while somebody holds it: so a leader that owns its group stays a zombie until it is given up,
 * unless the kernel can signal a group by the leader's pidfd (Linux 6.9), which never means another.
 */
#include "own/owned.h"

#include "base/clock.h"
#include "base/sys.h"
#include "own/birth.h"
#include "own/leftover.h"
#include "process/exit.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>

static bool group_by_pidfd(void) {
    return brood__has(BROOD__PIDFD_GROUP);
}

static int signal_group(brood__owned *o, int signal) {
    int r = brood__pidfd_signal_group(o->process.pidfd, signal);
    if (r != -EINVAL && r != -ENOSYS)
        return r;
    brood__lacks(BROOD__PIDFD_GROUP); /* the signal exists, so it was the flag that the kernel did not know */
    if (o->reaped || brood__pidfd_signal(o->process.pidfd, 0) == -ESRCH) /* somebody else has reaped it */
        return -ESRCH;
    return kill(-o->process.pid, signal) < 0 ? -errno : 0;
}

/* As in a root directory with no /proc: and not for want of something, nor because somebody has killed it. */
static bool has_no_holders(const brood_failure *failure) {
    int code = failure->code;
    return failure->step == BROOD_STEP_HOLDER && code != -EPIPE && code != -EAGAIN && !brood__is_shortage(code);
}

int brood__owned_start(brood__owned *o, brood__plan *plan, brood_failure *why) {
    brood__leftover_reap();
    if (o->reach != BROOD_OWN_TREE)
        return brood__start(plan, &o->process, why);
    brood__direct direct;
    int r = brood__direct_start(plan, &direct, &o->process, why);
    if (r == 0) {
        o->direct = direct;
        o->is_direct = true;
    }
    if (r <= 0) {
        o->guarantee = r == 0 ? BROOD_GUARANTEE_KERNEL : BROOD_GUARANTEE_NONE;
        return r;
    }
    brood_failure failure;
    bool quickly = r == BROOD__DIRECT_NOR_ANY_CGROUP && brood__birth_can(plan);
    r = quickly ? brood__birth_start(plan, &o->holder, &o->process, &failure) : 1;
    if (r == 1)
        r = brood__holder_start(plan, &o->holder, &o->process, &failure);
    if (r < 0 && plan->instead_of_tree && has_no_holders(&failure)) {
        o->reach = (brood_ownership)plan->instead_of_tree;
        plan->new_group = o->reach == BROOD_OWN_GROUP;
        return brood__start(plan, &o->process, why);
    }
    if (r < 0 && why)
        *why = failure;
    if (r == 0 && plan->tree.memory)
        o->memory_limited = o->holder.memory_each ? BROOD_LIMITED_EACH : BROOD_LIMITED_TREE;
    o->guarantee =
        o->holder.cgroups >= 0 || o->holder.in_namespace ? BROOD_GUARANTEE_KERNEL : BROOD_GUARANTEE_BEST_EFFORT;
    return r;
}

const char *brood_guarantee_text(brood_guarantee guarantee) {
    static const char *const texts[] = {
        [BROOD_GUARANTEE_NONE] = "none",
        [BROOD_GUARANTEE_BEST_EFFORT] = "best-effort",
        [BROOD_GUARANTEE_KERNEL] = "kernel",
    };
    return guarantee <= BROOD_GUARANTEE_KERNEL ? texts[guarantee] : "unknown";
}

/* Its guard may have been killed, and not be replaced, for want of something. */
brood_guarantee brood__owned_guarantee(const brood__owned *o) {
    bool lives = o->is_direct && !o->direct.empty && o->guarantee == BROOD_GUARANTEE_KERNEL;
    return lives && !brood__cell_is_guarded(&o->direct.cell) ? BROOD_GUARANTEE_BEST_EFFORT : o->guarantee;
}

/* It has no more to tell that matters. */
static bool tree_is_done(const brood__owned *o) {
    return o->is_direct ? o->ended && (o->direct.empty || o->direct.let_go) : brood__holder_is_done(&o->holder);
}

int brood__owned_fd(const brood__owned *o, short *ret_events) {
    *ret_events = POLLIN;
    if (o->reach == BROOD_OWN_TREE && !o->is_direct)
        return brood__holder_is_done(&o->holder) ? -1 : o->holder.line;
    if (!o->ended)
        return o->process.pidfd;
    *ret_events = POLLPRI;
    return o->reach == BROOD_OWN_TREE && !tree_is_done(o) ? o->direct.cell.events.fd : -1;
}

bool brood__owned_ended(brood__owned *o, brood_exit *ret_exit) {
    static atomic_bool asked;
    if (o->is_direct && o->ended) {
        brood__direct_look(&o->direct);
        return false;
    }
    if (o->reach == BROOD_OWN_TREE && !o->is_direct) {
        bool ended = brood__holder_hear(&o->holder, &o->process, ret_exit);
        o->ended = o->reaped = o->holder.exited;
        if (o->holder.lost_error) {
            o->guarantee = BROOD_GUARANTEE_NONE;
            o->stop_error = o->holder.lost_error;
        }
        if (ended && o->stop_error && !ret_exit->stop_error)
            ret_exit->stop_error = o->stop_error;
        return ended;
    }
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
    if (o->is_direct) {
        o->direct.program = 0;
        brood__direct_look(&o->direct);
    }
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

/* How long what got SIGKILL is waited for; and if something could not even be sent it. */
#define END_WAIT_US 10000000
#define DENIED_WAIT_US 1000000

static void end_tree(brood__owned *o) {
    if (o->ending_us == 0)
        o->ending_us = brood__now_us();
    if (o->is_direct)
        brood__direct_end(&o->direct);
    else
        brood__holder_end(&o->holder);
}

static bool is_let_go(const brood__owned *o) {
    return o->is_direct ? o->direct.let_go : o->holder.let_go;
}

static int signal_tree(brood__owned *o, int signal) {
    if (signal == 0 || tree_is_done(o))
        return tree_is_done(o) ? -ESRCH : 0;
    if (signal == SIGKILL && !is_let_go(o)) {
        end_tree(o);
        return 0;
    }
    return o->is_direct ? brood__direct_signal(&o->direct, signal) : brood__holder_signal(&o->holder, signal, false);
}

int brood__owned_signal_all(brood__owned *o, int signal) {
    if (o->process.pidfd < 0)
        return -ESRCH; /* there is none, and the pid 0 would be our own group */
    if (o->reach == BROOD_OWN_TREE)
        return signal_tree(o, signal);
    if (o->reach == BROOD_OWN_GROUP)
        return signal_group(o, signal);
    return brood__owned_signal(o, signal);
}

int brood__owned_freeze(brood__owned *o, bool frozen) {
    if (o->reach != BROOD_OWN_TREE)
        return brood__owned_signal_all(o, frozen ? SIGSTOP : SIGCONT);
    if (is_let_go(o) && !tree_is_done(o))
        return -EOPNOTSUPP;
    if (brood__owned_is_ending(o) || tree_is_done(o))
        return -ESRCH;
    return o->is_direct ? brood__direct_freeze(&o->direct, frozen) : brood__holder_freeze(&o->holder, frozen);
}

void brood__owned_ask_to_stop(brood__owned *o, int signal) {
    bool tells = o->reach == BROOD_OWN_TREE && !o->is_direct && signal != SIGKILL; /* what could not be signalled */
    int r = tells ? brood__holder_signal(&o->holder, signal, true) : brood__owned_signal_all(o, signal);
    if (r < 0 && r != -ESRCH)
        o->stop_error = r;
    if (signal != SIGKILL)
        brood__owned_signal_all(o, SIGCONT);
}

static bool settle_group(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us) {
    if (deadlines->killed || o->process.pidfd < 0)
        return true;
    if (signal_group(o, 0) != -ESRCH && brood__group_lives(o->process.pid)) {
        brood__deadlines_check_again(deadlines, now_us);
        return false;
    }
    signal_group(o, SIGKILL); /* zombies do not mind, and what could not be seen is ended */
    return true;
}

/* Whoever ends it goes on, should somebody have stopped it; whoever was passed by is ended. */
static void end_again(brood__owned *o) {
    if (o->is_direct)
        brood__direct_end_again(&o->direct);
    else
        brood__holder_continue(&o->holder);
}

static bool settle_tree(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us, bool all) {
    int denied = o->is_direct ? 0 : o->holder.denied;
    if (o->is_direct)
        brood__direct_look(&o->direct);
    if (!brood__owned_lives_on(o))
        return true;
    bool stopping = brood__deadlines_stopping(deadlines) && !deadlines->killed; /* it has its grace */
    if (all && !stopping)
        end_tree(o);
    if (o->ending_us == 0)
        return !stopping;
    if (now_us >= o->ending_us + (denied ? DENIED_WAIT_US : END_WAIT_US)) {
        o->stop_error = denied ? denied : -ETIMEDOUT;
        return true;
    }
    end_again(o);
    brood__deadlines_check_again(deadlines, now_us);
    return false;
}

void brood__owned_urge(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us) {
    if (o->ending_us == 0 || o->ended || tree_is_done(o))
        return;
    end_again(o);
    brood__deadlines_check_again(deadlines, now_us);
}

bool brood__owned_settle(brood__owned *o, brood__deadlines *deadlines, uint64_t now_us, bool all) {
    if (o->reach == BROOD_OWN_TREE)
        return settle_tree(o, deadlines, now_us, all);
    return o->reach != BROOD_OWN_GROUP || !brood__deadlines_stopping(deadlines) || settle_group(o, deadlines, now_us);
}

bool brood__owned_hit(brood__owned *o, brood_limit_hit *ret_hit) {
    for (int i = 0; !o->is_direct && i <= BROOD_LIMIT_CPU_TIME; i++) {
        brood_limit_hit *hit = &o->holder.untold[i];
        if (hit->limit == BROOD_LIMIT_NONE)
            continue;
        *ret_hit = *hit;
        hit->limit = BROOD_LIMIT_NONE;
        return true;
    }
    return false;
}

bool brood__owned_is_late(const brood__owned *o) {
    return !o->is_direct && o->holder.out_of_cpu_time;
}

bool brood__owned_lives_on(const brood__owned *o) {
    return o->reach == BROOD_OWN_TREE && (o->is_direct ? o->ended : o->holder.exited) && !tree_is_done(o);
}

bool brood__owned_has_left_some(const brood__owned *o) {
    return o->reach == BROOD_OWN_GROUP ? brood__group_lives(o->process.pid) : brood__owned_lives_on(o);
}

bool brood__owned_has_guard(const brood__owned *o) {
    return o->is_direct;
}

bool brood__owned_is_ending(const brood__owned *o) {
    return o->is_direct ? o->direct.ending : o->holder.ending;
}

const brood_usage *brood__owned_empty(const brood__owned *o) {
    if (o->is_direct)
        return o->ended && o->direct.empty ? &o->direct.usage : NULL;
    return o->holder.empty ? &o->holder.usage : NULL;
}

int brood__owned_nudge_fd(const brood__owned *o, short *ret_events) {
    *ret_events = o->is_direct ? POLLPRI : POLLIN;
    if (o->reach != BROOD_OWN_TREE || o->ended)
        return -1;
    return o->is_direct ? o->direct.cell.events.fd : o->process.pidfd;
}

bool brood__owned_nudge(brood__owned *o) {
    if (o->ended) /* told at the same time: what is left is settled by others */
        return false;
    if (o->is_direct && brood__direct_glance(&o->direct))
        return true;
    if (o->is_direct) {
        o->guarantee = BROOD_GUARANTEE_BEST_EFFORT;
        return false;
    }
    if (o->holder.line >= 0)
        brood__holder_continue(&o->holder);
    return false;
}

void brood__owned_let_go(brood__owned *o) {
    if (o->reach != BROOD_OWN_TREE || (!o->is_direct && o->holder.line < 0) || brood__owned_is_ending(o))
        return;
    if (o->is_direct)
        brood__direct_let_go(&o->direct);
    else
        brood__holder_let_go(&o->holder);
    o->guarantee = BROOD_GUARANTEE_NONE;
}

void brood__owned_end_here(brood__owned *o) {
    brood__owned_signal_all(o, SIGKILL);
    if (o->reach == BROOD_OWN_TREE && !o->is_direct)
        brood__holder_reap(&o->holder);
    else
        brood__reap(o->process.pidfd);
    if (o->is_direct)
        brood__direct_wait(&o->direct);
    brood__owned_done(o);
}

void brood__owned_undo(brood__owned *o) {
    o->direct.cell.killed = true;
    brood__owned_done(o);
    *o = BROOD__OWNED_NONE(o->reach);
}

void brood__owned_done(brood__owned *o) {
    brood_exit ignored;
    if (o->ended && !o->reaped)
        brood__process_ended(&o->process, true, &ignored, &o->reaped);
    if (o->is_direct)
        brood__direct_done(&o->direct);
    else
        brood__holder_done(&o->holder);
    o->holder = BROOD__HOLDER_NONE;
    o->is_direct = false;
    brood__leftover_reap();
    brood__close(o->process.pidfd);
    o->process = BROOD__PROCESS_NONE;
}
