/*
 * The host's end of its guard: starting one, noticing that it is gone, and handing out cgroups, of which some are kept,
 * since to make and to remove one takes as long as to start a small program.
 *
 * What is hard is that all of it belongs to one process, in one cgroup, with one user, and that none of the three need be
 * what it was: a fork has a guard of its own, and whoever has moved or has given up its rights is told "no" here, and has
 * holders. And a host may have closed any descriptor that it did not open: those that are kept are looked at first.
 */
#include "own/guard.h"

#include "base/clock.h"
#include "base/sys.h"
#include "own/cgroup.h"
#include "own/holder.h"
#include "own/holder/guard.h"
#include "own/place.h"
#include "process/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define MOST_SPARE 16
#define NUDGE_MS 100
#define DONE_MS 5000
#define LOWEST_FD 10 /* not where a start puts its slots */

#define NO_FILE ((brood__file){.fd = -1})

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct guard {
    pid_t host;              /* whose all of this is; 0: nobody's */
    brood__file line, pidfd; /* of its guard; line: -1: there is none */
    brood__file place, dir;  /* the cgroup that all is in, and the one in it that the trees' are in; -1: none */
    char name[BROOD__CGROUP_NAME_SIZE];
    uint64_t made_ns;
    char path[PATH_MAX]; /* of the host's cgroup, when it was made */
    uint32_t last;       /* number of a cell */
    int taken;           /* cells that are a tree's */
    bool spares;         /* some were let live: for their end it may wait */
    brood__cell spare[MOST_SPARE];
    int spare_count;
    /* the last refusal, and what was so then */
    int refused;
    uid_t refused_user;
    char refused_path[PATH_MAX];
} g = {.line = {.fd = -1}, .pidfd = {.fd = -1}, .place = {.fd = -1}, .dir = {.fd = -1}};

/* --- files --- */

/* Takes the descriptor. */
static brood__file file_of(int fd) {
    struct stat now;
    if (fd < 0 || fstat(fd, &now) < 0)
        return (brood__file){.fd = fd};
    return (brood__file){.fd = fd, .device = now.st_dev, .inode = now.st_ino};
}

bool brood__file_is_still(const brood__file *file) {
    struct stat now;
    return file->fd >= 0 && fstat(file->fd, &now) == 0 && now.st_dev == file->device && now.st_ino == file->inode;
}

/* Not what has come in its place. */
static void close_file(brood__file *file) {
    if (brood__file_is_still(file))
        brood__close(file->fd);
    *file = NO_FILE;
}

static int open_file(brood__file *ret, int dir, const char *name, int flags) {
    int fd = brood__open_at(dir, name, flags);
    if (fd >= 0)
        fd = brood__fd_lift(fd, LOWEST_FD);
    *ret = file_of(fd);
    return fd < 0 ? fd : 0;
}

/* --- one cell --- */

static void close_cell(brood__cell *c) {
    close_file(&c->dir);
    close_file(&c->events);
    close_file(&c->kill);
    close_file(&c->freeze);
    *c = BROOD__CELL_NONE;
}

static const char *number_in(const brood__cell *c) {
    return strchr(c->name, '/') + 1;
}

static int open_cell(brood__cell *c) {
    int r = open_file(&c->dir, g.dir.fd, number_in(c), O_RDONLY | O_DIRECTORY);
    if (r == 0)
        r = open_file(&c->events, c->dir.fd, "cgroup.events", O_RDONLY);
    if (r == 0)
        r = open_file(&c->kill, c->dir.fd, "cgroup.kill", O_WRONLY);
    struct stat made = {0};
    if (r == 0 && fstat(c->dir.fd, &made) < 0)
        r = -errno;
    c->owner = made.st_uid;
    c->group = made.st_gid;
    c->mode = made.st_mode;
    c->keeps_peak = r == 0 && faccessat(c->dir.fd, "memory.peak", F_OK, 0) == 0;
    return r;
}

static int make_cell(brood__cell *ret) {
    brood__cell c = BROOD__CELL_NONE;
    c.number = ++g.last;
    snprintf(c.name, sizeof c.name, "%s/%u", g.name, (unsigned)c.number);
    int r = brood__fault("mkdirat", ENOSPC);
    if (r == 0 && mkdirat(g.dir.fd, number_in(&c), 0755) < 0)
        r = -errno;
    if (r < 0)
        return r;
    r = open_cell(&c);
    if (r < 0) {
        unlinkat(g.dir.fd, number_in(&c), AT_REMOVEDIR);
        close_cell(&c);
        return r;
    }
    *ret = c;
    return 0;
}

/* Nobody is in it, nothing was made in it, it was given to nobody, is not frozen, and would not be spared. */
static bool is_as_new(const brood__cell *c) {
    char text[128];
    struct stat dir;
    if (!brood__file_is_still(&c->events) || !brood__file_is_still(&c->kill) || !brood__file_is_still(&c->dir) ||
        fstat(c->dir.fd, &dir) < 0 || dir.st_nlink != 2 || fgetxattr(c->dir.fd, BROOD__SPARED, NULL, 0) >= 0)
        return false;
    if (dir.st_uid != c->owner || dir.st_gid != c->group || dir.st_mode != c->mode)
        return false;
    ssize_t n = pread(c->events.fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, "populated 0") && !strstr(text, "frozen 1");
}

static void discard_cell(brood__cell *c) {
    if (brood__file_is_still(&g.dir))
        brood__cgroup_remove(g.dir.fd, number_in(c)); /* or the guard does, in the end */
    close_cell(c);
}

static bool reuse_cell(brood__cell *ret) {
    while (g.spare_count > 0) {
        brood__cell *c = &g.spare[--g.spare_count];
        if (is_as_new(c)) {
            *ret = *c;
            return true;
        }
        discard_cell(c);
    }
    return false;
}

void brood__cell_kill(brood__cell *c) {
    c->killed = true;
    while (brood__file_is_still(&c->kill) && write(c->kill.fd, "1", 1) < 0 && errno == EINTR) {}
}

int brood__cell_freeze(brood__cell *c, bool frozen) {
    if (c->freeze.fd >= 0 && !brood__file_is_still(&c->freeze))
        c->freeze = NO_FILE;
    if (!brood__file_is_still(&c->dir))
        return -EBADF;
    int r = c->freeze.fd >= 0 ? 0 : open_file(&c->freeze, c->dir.fd, "cgroup.freeze", O_WRONLY);
    if (r == 0 && write(c->freeze.fd, frozen ? "1" : "0", 1) < 0)
        r = -errno;
    if (r < 0 || !frozen)
        close_file(&c->freeze);
    return r;
}

/* --- the guard --- */

/* Of a guard that is another process's, or whose descriptors were closed. */
static void forget(void) {
    while (g.spare_count > 0)
        close_cell(&g.spare[--g.spare_count]);
    close_file(&g.line);
    close_file(&g.pidfd);
    close_file(&g.place);
    close_file(&g.dir);
    g.taken = 0;
    g.spares = false;
}

static void forget_in_fork(void) {
    pthread_mutex_init(&lock, NULL);
    forget();
}

__attribute__((constructor)) static void watch_for_forks(void) {
    pthread_atfork(NULL, NULL, forget_in_fork);
}

static int run(int line, int host_fd, brood__process *ret_process) {
    char host[16], made_ns[24];
    snprintf(host, sizeof host, "%d", (int)g.host);
    snprintf(made_ns, sizeof made_ns, "%llu", (unsigned long long)g.made_ns);
    char *argv[] = {(char[]){BROOD__GUARD_NAME}, host, made_ns, NULL};
    brood__plan_slot slots[] = {
        {.slot = BROOD__LINE_FD, .from = BROOD__FROM_FD, .fd = line},
        {.slot = 1, .from = BROOD__FROM_SLOT, .fd = BROOD__LINE_FD},
        {.slot = 2, .from = BROOD__FROM_SLOT, .fd = BROOD__LINE_FD},
        {.slot = BROOD__HOST_FD, .from = BROOD__FROM_FD, .fd = host_fd},
        {.slot = BROOD__PLACE_FD, .from = BROOD__FROM_FD, .fd = g.place.fd},
    };
    brood__plan plan = {
        .argv = argv, .slots = slots, .slot_count = sizeof slots / sizeof *slots, .dies_with_parent = true};
    return brood__holder_run(&plan, ret_process, NULL);
}

static void nudge(int pidfd) {
    brood__pidfd_signal(pidfd, SIGCONT); /* should somebody have stopped it */
}

/* What it says before it has ended: then a fork of the host may have its end of the line. */
static int hear(int line, int pidfd) {
    struct pollfd heard[] = {{.fd = line, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
    brood__guard_word word;
    for (int n; (n = poll(heard, 2, NUDGE_MS)) == 0 || (n < 0 && errno == EINTR);)
        nudge(pidfd);
    return brood__receive(line, &word, sizeof word) == sizeof word ? word : -EPIPE;
}

/* Takes the pidfd. */
static void wait_for_end(int pidfd) {
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    for (int n; (n = poll(&ended, 1, NUDGE_MS)) == 0 || (n < 0 && errno == EINTR);)
        nudge(pidfd);
    brood__wait(pidfd, true, &(int){0}, &(struct rusage){0}); /* should it be a child of ours */
    brood__close(pidfd);
}

/*
 * The guard's pidfd, or a negative errno: there is none. It is somebody else's child, so its number may be another's by
 * the time that it is opened: not if it is there afterwards.
 */
static int meet(int line, int starter) {
    struct pollfd gone = {.fd = line, .events = POLLIN};
    int first = hear(line, starter), pid = first == 0 ? hear(line, starter) : first; /* the guard may be the quicker */
    int pidfd = pid > 0 ? brood__pidfd_open(pid) : pid < 0 ? pid : -EPROTO;
    wait_for_end(starter);
    if (pidfd < 0)
        return pidfd;
    const brood__guard_order known = {0};
    int r = first == 0 ? 0 : hear(line, pidfd);
    if (r == 0 && poll(&gone, 1, 0) == 1)
        r = -EPIPE;
    if (r == 0 && brood__send(line, &known, sizeof known) < 0)
        r = -EPIPE;
    if (r < 0)
        brood__close(pidfd);
    return r < 0 ? r : pidfd;
}

/* For what stands in g: a cgroup that is there already, or is to be made. */
static int start_guard(void) {
    brood__process starter = BROOD__PROCESS_NONE;
    int ends[2], guard = -1, host_fd = brood__pidfd_open(g.host);
    int r = host_fd < 0 ? host_fd : brood__socket_pair(ends);
    if (r == 0) {
        r = brood__nonblock(ends[0]); /* before there is a guard, which would end all trees where this fails */
        ends[0] = brood__fd_lift_if_any(ends[0], LOWEST_FD);
        if (r == 0)
            r = run(ends[1], host_fd, &starter);
        brood__close(ends[1]);
        if (r == 0)
            r = guard = meet(ends[0], starter.pidfd);
        if (r < 0) {
            brood__close(ends[0]);
            if (guard >= 0)
                wait_for_end(guard);
        }
    }
    brood__close(host_fd);
    if (r < 0)
        return r;
    g.line = file_of(ends[0]);
    g.pidfd = file_of(brood__fd_lift_if_any(guard, LOWEST_FD));
    return 0;
}

static uint64_t now_ns(void) {
    struct timespec now = {0};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* At the end of its line it leaves; what was let live it waits for. Its pidfd, or -1. */
static int let_guard_go(void) {
    int pidfd = brood__file_is_still(&g.pidfd) ? g.pidfd.fd : -1;
    close_file(&g.line);
    g.pidfd = NO_FILE;
    forget();
    if (pidfd >= 0)
        nudge(pidfd);
    return pidfd;
}

static void give_up_guard(void) {
    int pidfd = let_guard_go();
    if (pidfd >= 0)
        brood__close(pidfd);
}

static void discard_spare(void) {
    while (g.spare_count > 0)
        discard_cell(&g.spare[--g.spare_count]);
}

/* Of the cgroup that this process is in. */
static int open_place(brood__file *ret) {
    int fd = brood__place_own(BROOD__UNIFIED);
    if (fd >= 0)
        fd = brood__fd_lift(fd, LOWEST_FD);
    *ret = file_of(fd);
    return fd < 0 ? fd : 0;
}

static int begin(const char *path) {
    int r = open_place(&g.place), place = g.place.fd;
    if (r < 0)
        return r;
    g.host = getpid();
    g.made_ns = now_ns();
    g.last = 0;
    brood__guard_cgroup_name(g.name, (int)g.host, g.made_ns);
    r = faccessat(place, ".", W_OK, AT_EACCESS) < 0 ? -errno : start_guard(); /* where one would be of no use */
    if (r == 0)
        r = open_file(&g.dir, place, g.name, O_RDONLY | O_DIRECTORY);
    if (r < 0) {
        unlinkat(place, g.name, AT_REMOVEDIR); /* should the guard have been killed */
        int pidfd = let_guard_go();
        if (pidfd >= 0)
            wait_for_end(pidfd); /* there is nothing that it would wait for */
        return r;
    }
    snprintf(g.path, sizeof g.path, "%s", path);
    return 0;
}

/* Only what is certain counts as its end: a guard whose line is given up ends all trees. */
static bool has_guard(void) {
    struct pollfd polls[] = {{.fd = g.line.fd, .events = POLLIN}, {.fd = g.pidfd.fd, .events = POLLIN}};
    int n = 0;
    while (g.line.fd >= 0 && (n = poll(polls, 2, 0)) < 0 && errno == EINTR) {}
    return g.line.fd >= 0 && n <= 0;
}

/* Somebody has killed it: another goes on in the same cgroups, where there are trees. */
static int replace_guard(void) {
    close_file(&g.line);
    if (g.pidfd.fd >= 0)
        wait_for_end(g.pidfd.fd);
    g.pidfd = NO_FILE;
    discard_spare();
    if (g.taken > 0 || !brood__cgroup_remove(g.place.fd, g.name))
        return start_guard();
    forget();
    return 0;
}

static bool can_be_spoken_to(void) {
    return brood__file_is_still(&g.line) && brood__file_is_still(&g.pidfd);
}

/* The host may have closed what it did not know. */
static bool is_whole(void) {
    return brood__file_is_still(&g.place) && brood__file_is_still(&g.dir) && (g.line.fd < 0 || can_be_spoken_to());
}

/* The number of one that was lost may be the new one's. */
static void take_over(brood__file *file, brood__file other) {
    if (file->fd != other.fd)
        close_file(file);
    *file = other;
}

/* Its trees end with a guard's line: so one that can still be spoken to is kept, and what else was closed opened again. */
static int mend(const char *path) {
    brood__file place, dir;
    bool speaks = can_be_spoken_to(), moved = strcmp(path, g.path) != 0;
    if (speaks && moved && g.taken > 0)
        return -EXDEV;
    if (!speaks || moved) {
        give_up_guard();
        return 0;
    }
    int r = open_place(&place);
    if (r == 0)
        r = open_file(&dir, place.fd, g.name, O_RDONLY | O_DIRECTORY);
    if (r < 0) {
        close_file(&place);
        return r;
    }
    take_over(&g.place, place);
    take_over(&g.dir, dir);
    return 0;
}

static bool is_refused(const char *path) {
    return g.refused && g.refused_user == geteuid() && strcmp(g.refused_path, path) == 0;
}

static void refuse(int error, const char *path) {
    if (brood__is_shortage(error) || error == -EAGAIN || error == -EPIPE || error == -ESRCH) /* those: it was killed */
        return;
    g.refused = error;
    g.refused_user = geteuid();
    snprintf(g.refused_path, sizeof g.refused_path, "%s", path);
}

/* One that is alive, and in this process's own cgroup, which is that. */
static int find_guard(const char *path) {
    int r = 0;
    if (g.host != getpid())
        forget();
    if (g.dir.fd >= 0 && !is_whole())
        r = mend(path);
    if (r == 0 && g.dir.fd >= 0 && !has_guard())
        r = replace_guard();
    if (r == 0 && g.dir.fd >= 0 && strcmp(path, g.path) != 0) {
        if (g.taken > 0)
            return -EXDEV;
        discard_spare();
        give_up_guard();
    }
    if (r == 0 && is_refused(path))
        return g.refused;
    if (r == 0 && g.dir.fd < 0)
        r = begin(path);
    if (r < 0)
        refuse(r, path);
    return r;
}

int brood__cell_take(brood__cell *ret) {
    char path[PATH_MAX];
    if (!brood__place_path(path, sizeof path))
        return -ENOENT;
    pthread_mutex_lock(&lock);
    int r = find_guard(path);
    if (r == 0 && !reuse_cell(ret))
        r = make_cell(ret);
    if (r == -ENOENT && g.taken == 0 && g.dir.fd >= 0) { /* somebody has taken it away */
        give_up_guard();
        r = find_guard(path);
        r = r < 0 ? r : make_cell(ret);
    }
    g.taken += r == 0;
    pthread_mutex_unlock(&lock);
    return r;
}

/* Whether it is of the guard that there is now. */
static bool is_ours(const brood__cell *c) {
    size_t len = strlen(g.name);
    return g.host == getpid() && g.dir.fd >= 0 && strncmp(c->name, g.name, len) == 0 && c->name[len] == '/';
}

void brood__cell_give(brood__cell *c) {
    pthread_mutex_lock(&lock);
    bool ours = is_ours(c);
    g.taken -= ours;
    if (ours && g.spare_count < MOST_SPARE && !c->keeps_peak && !c->killed) /* whether as new the next start will see */
        g.spare[g.spare_count++] = *c;
    else if (ours)
        discard_cell(c);
    else
        close_cell(c);
    pthread_mutex_unlock(&lock);
    *c = BROOD__CELL_NONE;
}

/* Should that not get there, the cgroup is taken away in the end. */
static void order(const brood__cell *c, bool lives) {
    brood__guard_order order = {.number = c->number, .lives = lives};
    if (can_be_spoken_to() && brood__send(g.line.fd, &order, sizeof order) > 0)
        nudge(g.pidfd.fd);
}

void brood__cell_leave(brood__cell *c, bool lives) {
    pthread_mutex_lock(&lock);
    if (is_ours(c)) {
        g.taken--;
        order(c, lives);
    }
    close_cell(c);
    pthread_mutex_unlock(&lock);
}

void brood__cell_spare(const brood__cell *c) {
    bool written = brood__file_is_still(&c->dir) && fsetxattr(c->dir.fd, BROOD__SPARED, "1", 1, 0) == 0;
    pthread_mutex_lock(&lock); /* whoever has given up its rights since it was made has to ask */
    if (is_ours(c)) {
        g.spares = true;
        if (!written)
            order(c, true);
    }
    pthread_mutex_unlock(&lock);
}

void brood__cell_refuse(void) {
    char path[PATH_MAX];
    pthread_mutex_lock(&lock);
    if (brood__place_path(path, sizeof path))
        refuse(-EOPNOTSUPP, path);
    pthread_mutex_unlock(&lock);
}

static bool renew(void) {
    return g.dir.fd >= 0 && g.host == getpid() && is_whole() && (has_guard() || replace_guard() == 0) && g.line.fd >= 0;
}

int brood__guard_renew(void) {
    pthread_mutex_lock(&lock);
    int fd = renew() ? brood__duplicate(g.pidfd.fd) : -1;
    pthread_mutex_unlock(&lock);
    return fd < 0 ? -1 : fd;
}

bool brood__cell_is_guarded(const brood__cell *c) {
    pthread_mutex_lock(&lock);
    bool guarded = renew() && is_ours(c);
    pthread_mutex_unlock(&lock);
    return guarded;
}

void brood__guard_done(void) {
    pthread_mutex_lock(&lock);
    if (g.taken == 0 && renew()) {
        int place = brood__duplicate(g.place.fd);
        bool waits = !g.spares;
        discard_spare();
        struct pollfd ended = {.fd = let_guard_go(), .events = POLLIN};
        if (waits && ended.fd >= 0)
            poll(&ended, 1, DONE_MS);
        brood__cgroup_remove(place, g.name); /* should it have been killed instead */
        brood__close(place);
        brood__close(ended.fd);
    }
    pthread_mutex_unlock(&lock);
}
