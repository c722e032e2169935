/*
 * The guard of the trees that a host starts by itself: one for all of them, since each has a cgroup, and all of these are
 * in one. When the host has gone, however it went, the guard kills what is in there, and takes it away. It is the
 * holder's image, and it knows of the host's end by the same two: the line, and the host's pidfd.
 *
 * What is hard is that another guard may have to go on where one was killed: so all that it needs to know stands in the
 * cgroups themselves.
 */
#include "own/holder/guard.h"

#include "base/sys.h"
#include "own/holder/line.h"
#include "own/holder/runtime.h"
#include "own/holder/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#define MOST_DEPTH 32   /* of cgroups that a tree made in its own */
#define MOST_WATCHED 60 /* trees that the host is done with; what is more is taken away in the end */
#define FIRST_PAUSE_NS 1000000L
#define LONGEST_PAUSE_NS 256000000L
#define PATIENT_ROUNDS 2 /* then whoever a kill has passed by is looked for */
#define MOST_ROUNDS 24   /* some four seconds */
#define UNKNOWN_S 5      /* so long after the line's end the host's own may follow */

typedef struct watched {
    uint32_t number;
    int events;
} watched;

static struct guard {
    int dir, kill, events; /* the cgroup that those of the trees are in, and files of it */
    char name[BROOD__CGROUP_NAME_SIZE];
    bool known; /* the host is done with starting it */
    watched watched[MOST_WATCHED];
    int count;
} g = {.dir = -1, .kill = -1, .events = -1};

static _Noreturn void leave(void) {
    for (;;)
        holder_call(SYS_exit_group, 0L);
}

static void say(brood__guard_word word) {
    holder_call(SYS_sendto, (long)BROOD__LINE_FD, &word, sizeof word, (long)MSG_NOSIGNAL, 0L, 0L);
}

static _Noreturn void refuse(long error) {
    say((brood__guard_word)error);
    leave();
}

/* --- cgroups --- */

typedef void (*on_entry)(int dir, const char *name, int depth);

static int open_dir(int dir, const char *name) {
    return holder_open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

static void each_below(int dir, int depth, on_entry each) {
    char entries[2048];
    holder_call(SYS_lseek, (long)dir, 0L, 0L);
    for (long n; depth > 0 && (n = holder_call(SYS_getdents64, (long)dir, entries, sizeof entries)) > 0;)
        for (long at = 0; at < n;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            at += entry->d_reclen;
            if (entry->d_type == DT_DIR && !brood__is_dots(entry->d_name))
                each(dir, entry->d_name, depth - 1);
        }
}

/* With those that were made in it; one that somebody is in stays. */
static void remove_one(int dir, const char *name, int depth) {
    if (holder_call(SYS_unlinkat, (long)dir, name, (long)AT_REMOVEDIR) == 0)
        return;
    int inner = open_dir(dir, name);
    if (inner < 0)
        return;
    each_below(inner, depth, remove_one);
    holder_close(inner);
    holder_call(SYS_unlinkat, (long)dir, name, (long)AT_REMOVEDIR);
}

static bool is_populated(int events) {
    uint64_t populated;
    return holder_read_value(events, "populated", &populated) && populated;
}

static bool is_spared(int tree) {
    return holder_call(SYS_fgetxattr, (long)tree, BROOD__SPARED, 0L, 0L) >= 0;
}

/* --- trees that the host is done with, while it lives --- */

static void name_tree(char name[16], uint32_t number) {
    brood__append_number(name, 0, number);
}

static void look_at_watched(int at) {
    char name[16];
    if (is_populated(g.watched[at].events))
        return;
    name_tree(name, g.watched[at].number);
    remove_one(g.dir, name, MOST_DEPTH);
    holder_close(g.watched[at].events);
    g.watched[at] = g.watched[--g.count];
}

static void obey(const brood__guard_order *order) {
    char name[16];
    g.known = g.known || order->number == 0;
    if (order->number == 0)
        return;
    name_tree(name, order->number);
    int tree = open_dir(g.dir, name);
    if (order->lives && tree >= 0 && !is_spared(tree))
        holder_call(SYS_fsetxattr, (long)tree, BROOD__SPARED, "1", 1L, 0L);
    int events = tree < 0 || g.count == MOST_WATCHED ? -1 : holder_open(tree, "cgroup.events", O_RDONLY);
    holder_close(tree);
    if (events < 0)
        return;
    g.watched[g.count++] = (watched){.number = order->number, .events = events};
    look_at_watched(g.count - 1);
}

/* --- the end --- */

static bool any_spared;

static void look_whether_spared(int dir, const char *name, int depth) {
    (void)depth;
    int tree = open_dir(dir, name);
    any_spared = any_spared || (tree >= 0 && is_spared(tree));
    holder_close(tree);
}

/* The kernel's cgroup.kill passes by a process whose first thread has left while others live (Linux 6.18). */
static void kill_listed(int pid) {
    char path[32], text[4096 + 512];
    brood__append_number(path, brood__append_text(path, 0, "/proc/"), (uint64_t)pid);
    int proc = pid > 0 ? open_dir(AT_FDCWD, path) : -1; /* which stays this process's, whoever has the number */
    int fd = proc < 0 ? -1 : holder_open(proc, "cgroup", O_RDONLY);
    long len = fd < 0 ? -1 : holder_read(fd, text, sizeof text - 1);
    holder_close(fd);
    text[len > 0 ? len : 0] = '\0';
    for (const char *at = text; *at; at++) {
        int same = 0;
        while (g.name[same] && at[same] == g.name[same])
            same++;
        if (g.name[same])
            continue;
        holder_call(SYS_pidfd_send_signal, (long)proc, (long)SIGKILL, 0L, 0L);
        break;
    }
    holder_close(proc);
}

static void kill_each(int dir, const char *name, int depth) {
    char text[4096];
    int inner = open_dir(dir, name), pid = 0;
    int list = inner < 0 ? -1 : holder_open(inner, "cgroup.procs", O_RDONLY);
    for (long n; list >= 0 && (n = holder_read(list, text, sizeof text)) > 0;)
        for (long i = 0; i < n; i++) {
            if (text[i] >= '0' && text[i] <= '9') {
                pid = pid * 10 + (text[i] - '0');
                continue;
            }
            kill_listed(pid);
            pid = 0;
        }
    holder_close(list);
    if (inner >= 0)
        each_below(inner, depth, kill_each);
    holder_close(inner);
}

static bool too_patient;

static void kill_tree(int dir, const char *name, int depth) {
    int tree = open_dir(dir, name);
    if (tree >= 0 && !is_spared(tree)) {
        holder_write_text(tree, "cgroup.kill", "1");
        if (too_patient)
            kill_each(dir, name, depth);
    }
    holder_close(tree);
}

static void kill_all(void) {
    any_spared = false;
    each_below(g.dir, 1, look_whether_spared);
    if (!any_spared)
        holder_call(SYS_write, (long)g.kill, "1", 1L);
    if (!any_spared && !too_patient)
        return;
    each_below(g.dir, MOST_DEPTH, kill_tree);
    kill_each(BROOD__PLACE_FD, g.name, 0); /* who has moved there */
}

/* Nothing is left in it but what was spared; that tells when it has ended, too. */
static bool any_left;

static void look_whether_left(int dir, const char *name, int depth) {
    (void)depth;
    int tree = open_dir(dir, name);
    any_left = any_left || (tree >= 0 && !is_spared(tree));
    holder_close(tree);
}

static bool only_spared_are_left(void) {
    char byte;
    int list = holder_open(g.dir, "cgroup.procs", O_RDONLY);
    any_left = list >= 0 && holder_read(list, &byte, 1) > 0;
    holder_close(list);
    each_below(g.dir, 1, look_whether_left);
    return !any_left;
}

static bool take_away(void) {
    each_below(g.dir, MOST_DEPTH, remove_one);
    long r = holder_call(SYS_unlinkat, (long)BROOD__PLACE_FD, g.name, (long)AT_REMOVEDIR);
    return r == 0 || r == -ENOENT;
}

static _Noreturn void end_all(void) {
    long pause_ns = FIRST_PAUSE_NS;
    holder_close(BROOD__LINE_FD);
    for (int i = 1; i <= BROOD__HOST_FD; i++)
        holder_close(i);
    for (int round = 0;; round++) {
        too_patient = round > PATIENT_ROUNDS;
        kill_all();
        bool done = !is_populated(g.events) && round > MOST_ROUNDS; /* whatever it is that cannot be taken away */
        if (take_away() || done)
            leave();
        struct pollfd events = {.fd = g.events, .events = POLLPRI};
        struct timespec pause = {.tv_nsec = pause_ns};
        holder_call(SYS_ppoll, &events, 1L, only_spared_are_left() ? NULL : &pause, 0L, 0L);
        pause_ns = pause_ns < LONGEST_PAUSE_NS ? pause_ns * 2 : pause_ns;
    }
}

/* The host could not make use of this guard, and may live, with trees that another one guards. Or it dies just now. */
static void leave_unless_host_has_gone(void) {
    struct pollfd host = {.fd = BROOD__HOST_FD, .events = POLLIN};
    struct timespec most = {.tv_sec = UNKNOWN_S};
    if (holder_call(SYS_unlinkat, (long)BROOD__PLACE_FD, g.name, (long)AT_REMOVEDIR) == 0) /* there are no trees */
        leave();
    if (holder_call(SYS_ppoll, &host, 1L, &most, 0L, 0L) <= 0)
        leave();
}

/* --- its work --- */

/* The cgroup is there if another guard made it. */
static void make_cgroup(void) {
    long r = holder_call(SYS_mkdirat, (long)BROOD__PLACE_FD, g.name, 0755L);
    if (r < 0 && r != -EEXIST)
        refuse(r);
    g.dir = open_dir(BROOD__PLACE_FD, g.name);
    g.kill = g.dir < 0 ? g.dir : holder_open(g.dir, "cgroup.kill", O_WRONLY);
    g.events = g.kill < 0 ? g.kill : holder_open(g.dir, "cgroup.events", O_RDONLY);
    if (g.events >= 0)
        return;
    holder_call(SYS_unlinkat, (long)BROOD__PLACE_FD, g.name, (long)AT_REMOVEDIR); /* unless there is a tree in it */
    refuse(g.events);
}

/* Whoever takes orphans is its parent then. */
static void leave_parent(void) {
    long pid = holder_call(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L);
    if (pid < 0)
        refuse(pid);
    if (pid == 0)
        return;
    say((brood__guard_word)pid);
    leave();
}

/*
 * Whatever comes on the line, and its end, continues a guard that somebody has stopped; to one that runs it is nothing.
 * It is the group that is continued: then it holds for the guard from its first moment on.
 */
static void go_on_for_the_line(void) {
    long flags = holder_call(SYS_fcntl, (long)BROOD__LINE_FD, (long)F_GETFL);
    holder_call(SYS_fcntl, (long)BROOD__LINE_FD, (long)F_SETSIG, (long)SIGCONT);
    holder_call(SYS_fcntl, (long)BROOD__LINE_FD, (long)F_SETOWN, -holder_call(SYS_getpid));
    holder_call(SYS_fcntl, (long)BROOD__LINE_FD, (long)F_SETFL, flags | O_ASYNC);
}

static void prepare(const char *host, const char *made_ns) {
    uint64_t all = ~(uint64_t)0;
    holder_call(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, 0L, 8L);
    holder_call(SYS_prctl, (long)PR_SET_NAME, BROOD__GUARD_NAME, 0L, 0L, 0L);
    holder_call(SYS_setsid);
    go_on_for_the_line();
    leave_parent();
    holder_call(SYS_chdir, "/");
    int r = tree_prepare();
    if (r < 0)
        refuse(r);
    brood__guard_cgroup_name(g.name, (int)brood__read_number(host), brood__read_number(made_ns));
    make_cgroup();
}

void guard_main(const char *host, const char *made_ns) {
    enum { LINE, HOST, WATCHED };
    prepare(host, made_ns);
    say(0);
    for (;;) {
        struct pollfd polls[WATCHED + MOST_WATCHED] = {
            [LINE] = {.fd = BROOD__LINE_FD, .events = POLLIN},
            [HOST] = {.fd = BROOD__HOST_FD, .events = POLLIN},
        };
        for (int i = 0; i < g.count; i++)
            polls[WATCHED + i] = (struct pollfd){.fd = g.watched[i].events, .events = POLLPRI};
        if (holder_call(SYS_ppoll, polls, (long)WATCHED + g.count, 0L, 0L, 0L) <= 0)
            continue;
        for (int i = g.count; i-- > 0;) /* from the last: one that is done gives its place to that */
            if (polls[WATCHED + i].revents)
                look_at_watched(i);
        brood__guard_order order;
        bool ordered = polls[LINE].revents && holder_read(BROOD__LINE_FD, &order, sizeof order) == sizeof order;
        if (ordered)
            obey(&order);
        else if (polls[LINE].revents || polls[HOST].revents) { /* and what it had said is done */
            if (!g.known)
                leave_unless_host_has_gone();
            end_all();
        }
    }
}
