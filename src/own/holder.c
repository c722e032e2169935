/*
 * Starting a holder, handing it a plan, and hearing from it. The holder is a program that this library carries in
 * itself: it is put into a memory file once for each process, and started from there as any program is. So it has the
 * host's user, limits, namespaces, directory and umask of this moment, and what it starts has them from it.
 */
#include "own/holder.h"

#include "base/clock.h"
#include "base/failure.h"
#include "base/sys.h"
#include "own/cgroup.h"
#include "own/disks.h"
#include "own/holder/line.h"
#include "own/leftover.h"
#include "own/place.h"
#include "process/exit.h"
#include "process/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM_MS 5000
#define NUDGE_MS 100
#define NOT_FROM_MEMORY "a program cannot be run from memory here (see vm.memfd_noexec)"

extern char **environ;

/* --- its image --- */

__asm__(".pushsection .rodata.brood_holder, \"a\"\n"
        ".balign 16\n"
        "brood__holder_bytes:\n"
        ".incbin \"" BROOD_HOLDER_IMAGE "\"\n"
        "brood__holder_bytes_end:\n"
        ".popsection\n");
extern const char brood__holder_bytes[] __attribute__((visibility("hidden")));
extern const char brood__holder_bytes_end[] __attribute__((visibility("hidden")));

static pthread_mutex_t image_lock = PTHREAD_MUTEX_INITIALIZER;
static int image_fd = -1;
static struct stat image; /* which file that is */

/* In a fork of the host nobody is left who could unlock it; the descriptor is there as well. */
static void unlock_in_fork(void) {
    pthread_mutex_init(&image_lock, NULL);
}

__attribute__((constructor)) static void watch_for_forks(void) {
    pthread_atfork(NULL, NULL, unlock_in_fork);
}

/* Kept for the life of the process: the pages that run are the same for all holders. */
int brood__holder_image(void) {
    struct stat now;
    pthread_mutex_lock(&image_lock);
    if (image_fd >= 0 && (fstat(image_fd, &now) < 0 || now.st_dev != image.st_dev || now.st_ino != image.st_ino))
        image_fd = -1; /* the host has closed it, and the number may be another's by now */
    if (image_fd < 0)
        image_fd = brood__program_in_memory("brood-holder", brood__holder_bytes,
                                            (size_t)(brood__holder_bytes_end - brood__holder_bytes));
    if (image_fd >= 0 && fstat(image_fd, &image) < 0) {
        brood__close(image_fd);
        image_fd = -EBADF;
    }
    int fd = image_fd;
    pthread_mutex_unlock(&image_lock);
    return fd;
}

/* --- its start --- */

static const char *holder_hint(int error) {
    if (error == EOPNOTSUPP)
        return "the kernel's guarantee needs a cgroup2 that this process may make others in, and start into (see brood "
               "doctor)";
    return error == ESRCH ? "a tree needs a /proc that shows this PID namespace (unshare --mount-proc)" : NULL;
}

int brood__holder_run(brood__plan *plan, brood__process *ret_process, brood_failure *why) {
    char *shell_argv[] = {NULL, NULL, NULL, NULL}, *envp[] = {NULL};
    brood_failure failure;
    int file = brood__holder_image();
    if (file < 0)
        return brood__fail(why, file, BROOD_STEP_HOLDER, NULL, brood__is_shortage(file) ? NULL : NOT_FROM_MEMORY);
    plan->file = plan->argv[0];
    plan->file_by_fd = true;
    plan->file_fd = file;
    plan->shell_argv = shell_argv;
    plan->envp = envp;
    plan->signals_blocked = true; /* it is born in the host's process group, and must outlive its Ctrl-C */
    int r = brood__start(plan, ret_process, &failure);
    if (r == -ESRCH)
        return brood__fail(why, r, BROOD_STEP_HOLDER, NULL, holder_hint(ESRCH));
    if (r < 0 && failure.step == BROOD_STEP_EXEC)
        return brood__fail(why, r, BROOD_STEP_HOLDER, NULL, NOT_FROM_MEMORY);
    if (r < 0 && why)
        *why = failure;
    return r;
}

static int run_holder(int line, int host_fd, brood__process *ret_process, brood_failure *why) {
    char host[16];
    snprintf(host, sizeof host, "%d", host_fd < 0 ? (int)getpid() : 0);
    char *argv[] = {(char[]){"brood-holder"}, host, NULL};
    brood__plan_slot slots[] = {
        {.slot = BROOD__LINE_FD, .from = BROOD__FROM_FD, .fd = line},
        {.slot = 1, .from = BROOD__FROM_SLOT, .fd = BROOD__LINE_FD},
        {.slot = 2, .from = BROOD__FROM_SLOT, .fd = BROOD__LINE_FD},
        {.slot = BROOD__HOST_FD, .from = BROOD__FROM_FD, .fd = host_fd},
    };
    brood__plan plan = {
        .argv = argv,
        .slots = slots,
        .slot_count = host_fd < 0 ? 3 : 4,
        .new_namespaces = host_fd < 0 ? 0 : CLONE_NEWPID | CLONE_NEWNS,
        .keep_ignored = true,            /* what the program is to ignore is for its own plan to say */
        .dies_with_parent = host_fd < 0, /* until it has begun, and does so by itself */
    };
    return brood__holder_run(&plan, ret_process, why);
}

/* Where its parent is not to be seen, it is given the host's pidfd. */
static int run_holder_in_namespace(int line, brood__process *ret_process, brood_failure *why) {
    int host_fd = brood__pidfd_open(getpid());
    int r = host_fd < 0 ? brood__fail(why, host_fd, BROOD_STEP_HOLDER, NULL, NULL)
                        : run_holder(line, host_fd, ret_process, why);
    brood__close(host_fd);
    return r == -EPERM ? brood__fail(why, r, BROOD_STEP_HOLDER, NULL, "a PID namespace takes root, or CAP_SYS_ADMIN")
                       : r;
}

static int open_holder(bool in_namespace, brood__holder *ret, brood_failure *why) {
    brood__process process = BROOD__PROCESS_NONE;
    int line[2];
    int r = brood__socket_pair(line);
    if (r < 0)
        return brood__fail(why, r, BROOD_STEP_HOLDER, NULL, NULL);
    r = in_namespace ? run_holder_in_namespace(line[1], &process, why) : run_holder(line[1], -1, &process, why);
    brood__close(line[1]);
    if (r < 0) {
        brood__close(line[0]);
        return r;
    }
    *ret = BROOD__HOLDER_NONE;
    ret->line = line[0];
    ret->pidfd = process.pidfd;
    ret->pid = process.pid;
    ret->in_namespace = in_namespace;
    return 0;
}

/* --- handing it the plan --- */

static int send_all(int line, const void *bytes, size_t len) {
    for (const char *at = bytes; len > 0;) {
        ssize_t n = brood__send(line, at, len);
        if (n < 0)
            return (int)n;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int send_fds(int line, const void *bytes, size_t len, const int *fds, size_t count) {
    ssize_t n = brood__send_fds(line, bytes, len, fds, count);
    return n < 0 ? (int)n : n == (ssize_t)len ? 0 : -EIO;
}

static size_t gather_fds(const brood__plan *plan, int *fds) {
    size_t count = 0;
    for (; count < plan->slot_count; count++)
        fds[count] = plan->slots[count].source;
    if (plan->cwd_by_fd)
        fds[count++] = plan->cwd_fd;
    return count;
}

static int send_block(int line, const brood__packed *packed, size_t size, const int *fds, size_t count) {
    size_t at = count < BROOD__LINE_FDS ? count : BROOD__LINE_FDS;
    brood__order order = {.kind = BROOD__ORDER_START, .fds = (uint32_t)count, .size = size};
    int r = send_fds(line, &order, sizeof order, fds, at);
    for (size_t n; r == 0 && at < count; at += n) {
        n = count - at < BROOD__LINE_FDS ? count - at : BROOD__LINE_FDS;
        r = send_fds(line, "", 1, fds + at, n);
    }
    return r < 0 ? r : send_all(line, packed, size);
}

static int send_plan(int line, brood__plan *plan) {
    char *none[] = {NULL};
    int fds[BROOD__LINE_MAX_FDS];
    size_t size, others = gather_fds(plan, fds);
    int r = plan->tree.io_read_bps || plan->tree.io_write_bps ? brood__disks(&plan->memory, &plan->disks) : 0;
    if (r < 0)
        return r;
    ssize_t roots = brood__place_roots(&plan->tree, fds + others, &plan->hierarchies, &plan->made_in_root);
    if (roots < 0)
        return (int)roots;
    size_t count = others + (size_t)roots;
    brood__packed *packed = brood__plan_pack(plan, plan->envp ? plan->envp : environ ? environ : none, &size);
    r = packed ? send_block(line, packed, size, fds, count) : -ENOMEM;
    while (count > others)
        brood__close(fds[--count]);
    brood__free(packed);
    return r;
}

/* --- hearing from it --- */

/* The next word; 0: none yet, -EPIPE: there will be none. `ret_fds` may be NULL. */
static int hear_word(int line, brood__word *ret_word, brood__fds *ret_fds) {
    brood__fds none;
    brood__fds *fds = ret_fds ? ret_fds : &none;
    ssize_t n = brood__receive_fds(line, ret_word, sizeof *ret_word, fds);
    if (n == -EAGAIN)
        return 0;
    if (n == (ssize_t)sizeof *ret_word && !fds->lost)
        return 1;
    while (fds->count > 0)
        brood__close(fds->fds[--fds->count]);
    return n < 0 && n != -ECONNRESET ? (int)n : fds->lost ? -EMFILE : -EPIPE;
}

static int hear_start(const brood__plan *plan, brood__holder *h, brood__process *ret_process, brood_failure *why) {
    brood__word word;
    brood__fds fds;
    struct pollfd heard = {.fd = h->line, .events = POLLIN};
    for (int n; (n = poll(&heard, 1, NUDGE_MS)) == 0 || (n < 0 && errno == EINTR);)
        brood__holder_continue(h); /* its program may run by now, and have stopped it */
    int r = hear_word(h->line, &word, &fds);
    if (r == 1 && word.step == BROOD_STEP_HOLDER)
        return brood__fail(why, -word.error, BROOD_STEP_HOLDER, NULL, holder_hint(word.error));
    if (r == 1 && word.step)
        return brood__plan_fail(plan, &(brood__report){.step = word.step, .error = word.error, .index = word.index},
                                why);
    if (r == 1 && fds.count > 0) {
        ret_process->pidfd = fds.fds[0];
        ret_process->pid = h->in_namespace ? brood__pidfd_pid(fds.fds[0]) : word.value;
        h->cgroup_pid = word.self;
        h->cgroups = fds.count > 1 ? fds.fds[1] : -1;
        h->cgroup_made_ns = word.cgroup_made_ns;
        h->memory_each = word.memory_each;
        return 0;
    }
    return brood__fail(why, r < 0 ? r : -EPROTO, BROOD_STEP_HOLDER, NULL,
                       r == -EPIPE ? BROOD__HOLDER_ENDED_EARLY : NULL);
}

/* It was killed before it could say that it had started something, and where. */
static void clear_away(const brood__holder *h, const brood__plan *plan) {
    struct pollfd ended = {.fd = h->pidfd, .events = POLLIN};
    int roots[BROOD__HIERARCHIES], own = brood__place_own(BROOD__UNIFIED);
    unsigned hierarchies;
    bool in_root;
    while (poll(&ended, 1, -1) < 0 && errno == EINTR) {}
    ssize_t count = brood__place_roots(&plan->tree, roots, &hierarchies, &in_root);
    if (own >= 0 && !h->in_namespace) /* with which the kernel has ended all */
        brood__cgroup_end_untold(own, h->pid);
    if (count > 0 && in_root)
        brood__cgroup_end_untold(roots[0], h->pid);
    while (count > 0)
        brood__close(roots[--count]);
    brood__close(own);
}

int brood__holder_start(brood__plan *plan, brood__holder *ret_holder, brood__process *ret_process, brood_failure *why) {
    brood__holder h = BROOD__HOLDER_NONE;
    brood__process process = BROOD__PROCESS_NONE;
    process.started_us = brood__now_us();
    int r = brood__plan_open(plan, why);
    if (r == 0)
        r = open_holder(plan->pid_namespace, &h, why);
    if (r == 0) {
        int sent = send_plan(h.line, plan);
        if (sent < 0)
            shutdown(h.line, SHUT_WR); /* it may wait for the rest; or it has left, and said why */
        r = sent < 0 && sent != -EPIPE && sent != -ECONNRESET ? brood__fail(why, sent, BROOD_STEP_HOLDER, NULL, NULL)
                                                              : hear_start(plan, &h, &process, why);
        if (r == -EPIPE)
            clear_away(&h, plan);
        if (r == 0)
            r = brood__nonblock(h.line);
        if (r < 0) {
            h.lost = true; /* it leaves, by itself or now that its line is at its end */
            brood__close(process.pidfd);
            brood__holder_done(&h);
        }
    }
    brood__plan_close(plan, r < 0);
    if (r < 0)
        return r;
    *ret_holder = h;
    *ret_process = process;
    return 0;
}

int brood__holder_try(void) {
    brood__holder h = BROOD__HOLDER_NONE;
    int r = open_holder(false, &h, NULL);
    if (r < 0)
        return r;
    h.lost = true; /* it leaves at the end of its line, since it has started nothing */
    brood__holder_done(&h);
    return 0;
}

static void take_exit(brood__holder *h, const brood__process *process, const brood__word *word, brood_exit *ret_exit) {
    brood__process known = *process;
    if (word->rss_floor_kb)
        known.rss_floor_kb = word->rss_floor_kb;
    brood__exit_from(&known, word->value, &word->usage, ret_exit);
    ret_exit->hit = h->hit;
    if (ret_exit->signal == SIGKILL && h->hit.limit == BROOD_LIMIT_MEMORY && h->hit.pid == process->pid)
        ret_exit->reason = BROOD_REASON_OUT_OF_MEMORY;
    ret_exit->stop_error = h->denied;
}

/* It was killed, or crashed. With a cgroup the host ends the tree in its place. */
static void lose(brood__holder *h) {
    h->lost = true;
    if (h->let_go || h->empty)
        return;
    int r = h->cgroups < 0 ? h->in_namespace ? 0 : -EOWNERDEAD
                           : brood__cgroup_end(h->cgroups, h->cgroup_pid, h->cgroup_made_ns);
    h->lost_error = r < 0 ? -EOWNERDEAD : 0;
}

/*
 * Its program gets a SIGKILL from the kernel then, and one from here in case it has shed that; how it ended is known
 * where the kernel tells of processes that others have waited for.
 */
static void take_exit_without(const brood__holder *h, const brood__process *process, brood_exit *ret_exit) {
    struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};
    bool reaped;
    *ret_exit = brood__exit_unknown(process);
    if (!h->let_go)
        brood__pidfd_signal(process->pidfd, SIGKILL);
    poll(&ended, 1, 1000); /* it is not long in coming, unless the kernel holds it */
    brood__process_ended(process, true, ret_exit, &reaped);
    ret_exit->stop_error = h->lost_error;
}

bool brood__holder_hear(brood__holder *h, const brood__process *process, brood_exit *ret_exit) {
    bool ended = false;
    brood__word word;
    int r;
    while (!brood__holder_is_done(h) && (r = hear_word(h->line, &word, NULL)) != 0) {
        if (r < 0) {
            lose(h);
            break;
        }
        h->denied = word.denied ? word.denied : h->denied;
        if (word.kind == BROOD__WORD_EXITED) {
            take_exit(h, process, &word, ret_exit);
            h->exited = ended = true;
        } else if (word.kind == BROOD__WORD_EMPTY) {
            h->usage = brood__usage_from(&word.usage, UINT64_MAX);
            h->usage.tree_peak_kb = word.peak_kb;
            h->empty = true;
        } else if (word.kind == BROOD__WORD_LIMIT) {
            h->hit = word.hit;
            h->untold[word.hit.limit] = word.hit;
            h->out_of_cpu_time = h->out_of_cpu_time || word.hit.limit == BROOD_LIMIT_CPU_TIME;
        }
    }
    if (h->lost && !h->exited) {
        take_exit_without(h, process, ret_exit);
        h->exited = ended = true;
    }
    return ended;
}

bool brood__holder_is_done(const brood__holder *h) {
    return h->empty || h->lost || (h->let_go && h->exited);
}

/* --- telling it --- */

/* A holder that somebody has stopped goes on. */
void brood__holder_continue(brood__holder *h) {
    if (brood__pidfd_signal(h->pidfd, SIGCONT) == -ENOSYS) /* valgrind 3.19 */
        kill(h->pid, SIGCONT);
}

static int order(brood__holder *h, const brood__order *message) {
    if (brood__holder_is_done(h))
        return -ESRCH;
    ssize_t n = brood__send(h->line, message, sizeof *message);
    brood__holder_continue(h);
    return n == (ssize_t)sizeof *message ? 0 : n == -EPIPE ? -ESRCH : n < 0 ? (int)n : -EIO;
}

int brood__holder_signal(brood__holder *h, int signal, bool tells) {
    return order(h, &(brood__order){.kind = BROOD__ORDER_SIGNAL, .value = signal, .tells = tells});
}

int brood__holder_freeze(brood__holder *h, bool frozen) {
    return order(h, &(brood__order){.kind = BROOD__ORDER_FREEZE, .value = frozen});
}

void brood__holder_end(brood__holder *h) {
    if (h->ending || h->line < 0)
        return;
    h->ending = true;
    if (h->cgroups >= 0) /* what the holder is about to do as well, a switch of processes earlier */
        brood__cgroup_kill(h->cgroups, h->cgroup_pid, h->cgroup_made_ns);
    shutdown(h->line, SHUT_WR);
    brood__holder_continue(h);
}

/* It must get there: so room for it is waited for, which the holder makes by doing what it was told before. */
void brood__holder_let_go(brood__holder *h) {
    struct pollfd room = {.fd = h->line, .events = POLLOUT};
    if (h->let_go || h->ending)
        return;
    while (order(h, &(brood__order){.kind = BROOD__ORDER_RELEASE}) == -EAGAIN && poll(&room, 1, ROOM_MS) != 0) {}
    h->let_go = true;
}

void brood__holder_reap(brood__holder *h) {
    struct pollfd ended = {.fd = h->pidfd, .events = POLLIN};
    for (int n; (n = poll(&ended, 1, NUDGE_MS)) == 0 || (n < 0 && errno == EINTR);)
        brood__holder_continue(h);
    brood__reap(h->pidfd);
}

void brood__holder_done(brood__holder *h) {
    bool leaves = brood__holder_is_done(h);
    struct rusage usage;
    int status;
    if (h->line >= 0 && !h->let_go)
        shutdown(h->line, SHUT_RDWR); /* a fork of the host may have it open as well */
    brood__close(h->line);
    if (h->pidfd >= 0 && leaves)
        brood__holder_reap(h);
    else if (h->pidfd >= 0 && brood__wait(h->pidfd, true, &status, &usage) == 0 && !h->let_go) {
        brood__leftover_take(h->pidfd); /* it may take as long as something of its tree hangs in the kernel */
        h->pidfd = -1;
    }
    brood__close(h->pidfd);
    brood__close(h->cgroups);
    *h = BROOD__HOLDER_NONE;
}
