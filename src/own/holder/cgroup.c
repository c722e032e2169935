/*
 * One directory for the tree, made below that of the holder (and so of the host), since that is where a process may
 * have been given the right to; for limits that it does not keep, one in each old hierarchy that does. What is hard: what
 * is written to a cgroup's file is a request, which hosts refuse in many ways, and only the kernel knows which.
 */
#include "own/holder/cgroup.h"

#include "own/holder/line.h"
#include "own/holder/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>

#define MOST_DEPTH 32 /* of those that the tree made in its own */
#define CPU_PERIOD_US 100000
#define MOST_FDS 256 /* of its own; what it is given for the program it closes */

typedef struct place {
    int parent, dir; /* -1: it is not in this hierarchy */
} place;

static struct cgroup {
    place places[BROOD__HIERARCHIES];
    int64_t made_ns; /* 0: nothing is made yet */
    char name[BROOD__CGROUP_NAME_SIZE];
    int kill, memory_events, pids_events; /* files of it; -1: none */
    int memory_signal;                    /* v1: an eventfd that tells of news in memory_events */
} cgroup = {
    .places = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}},
    .kill = -1,
    .memory_events = -1,
    .pids_events = -1,
    .memory_signal = -1,
};

int cgroup_parent(int64_t *ret_made_ns) {
    *ret_made_ns = cgroup.made_ns;
    return cgroup.places[BROOD__UNIFIED].parent;
}

/* --- where we are --- */

static int open_dir(int dir, const char *path) {
    return holder_open(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/* Whether a list "cpu,cpuacct" that ends at a colon has the word; a cgroup2's list is empty, and so is its word. */
static bool lists(const char *list, const char *word) {
    if (!*word)
        return *list == ':';
    for (;; list++) {
        size_t same = 0;
        while (word[same] && list[same] == word[same])
            same++;
        if (!word[same] && (list[same] == ',' || list[same] == ':'))
            return true;
        while (*list && *list != ',' && *list != ':')
            list++;
        if (*list != ',')
            return false;
    }
}

/* In "NUMBER:controllers:/path", the path; NULL: it is of another hierarchy. */
static char *path_in(char *line, const char *controller) {
    while (*line >= '0' && *line <= '9')
        line++;
    if (*line++ != ':' || !lists(line, controller))
        return NULL;
    while (*line && *line != ':')
        line++;
    return line[0] == ':' && line[1] == '/' ? line + 1 : NULL;
}

/* The holder's own directory in a hierarchy. */
static int open_own(int root, const char *controller) {
    char text[4096 + 64];
    int fd = holder_open(AT_FDCWD, "/proc/self/cgroup", O_RDONLY);
    long len = fd < 0 ? fd : holder_read(fd, text, sizeof text - 1);
    holder_close(fd);
    if (len < 0)
        return (int)len;
    text[len] = '\0';
    for (char *line = text; *line;) {
        char *end = line;
        while (*end && *end != '\n')
            end++;
        bool last = !*end;
        *end = '\0';
        const char *path = path_in(line, controller);
        if (path)
            return open_dir(root, path[1] ? path + 1 : ".");
        line = last ? end : end + 1;
    }
    return -ENOENT;
}

/* --- making them --- */

static void leave_place(place *p) {
    holder_close(p->dir);
    holder_close(p->parent);
    *p = (place){-1, -1};
}

static void forget(void) {
    int *files[] = {&cgroup.kill, &cgroup.memory_events, &cgroup.pids_events, &cgroup.memory_signal};
    for (int i = 0; i < (int)(sizeof files / sizeof *files); i++) {
        holder_close(*files[i]);
        *files[i] = -1;
    }
    for (int i = 0; i < BROOD__HIERARCHIES; i++)
        leave_place(&cgroup.places[i]);
}

/* Takes `parent`. */
static int make_in(brood__hierarchy hierarchy, int parent) {
    place *p = &cgroup.places[hierarchy];
    if (parent < 0)
        return parent;
    if (!cgroup.made_ns) {
        cgroup.made_ns = holder_now_ns();
        brood__cgroup_name(cgroup.name, (int)holder_call(SYS_getpid), (uint64_t)cgroup.made_ns);
    }
    *p = (place){parent, -1};
    int r = (int)holder_call(SYS_mkdirat, (long)parent, cgroup.name, 0755L);
    if (r == 0 && (r = p->dir = open_dir(parent, cgroup.name)) < 0)
        holder_call(SYS_unlinkat, (long)parent, cgroup.name, (long)AT_REMOVEDIR);
    if (r < 0)
        leave_place(p);
    return r;
}

int cgroup_make(int root, bool in_root) {
    place *p = &cgroup.places[BROOD__UNIFIED];
    int dir = make_in(BROOD__UNIFIED, in_root ? open_dir(root, ".") : open_own(root, ""));
    if (dir < 0)
        return dir;
    cgroup.kill = holder_open(dir, "cgroup.kill", O_WRONLY);
    if (cgroup.kill < 0) {
        int r = cgroup.kill;
        holder_call(SYS_unlinkat, (long)p->parent, cgroup.name, (long)AT_REMOVEDIR);
        leave_place(p);
        return r;
    }
    cgroup.memory_events = holder_open(dir, "memory.events", O_RDONLY); /* also of a limit around ours */
    return dir;
}

static int add_join(brood__plan *plan, brood__hierarchy hierarchy) {
    int *join = plan->joins;
    int fd = holder_open(cgroup.places[hierarchy].dir, "cgroup.procs", O_WRONLY);
    if (fd < 0)
        return fd;
    while (*join)
        join++;
    *join = fd;
    return 0;
}

int cgroup_join(brood__plan *plan) {
    return add_join(plan, BROOD__UNIFIED);
}

void cgroup_joined(brood__plan *plan) {
    for (int i = 0; i < BROOD__HIERARCHIES && plan->joins[i]; i++) {
        holder_close(plan->joins[i]);
        plan->joins[i] = 0;
    }
}

/* --- limits --- */

static int write_number(int dir, const char *file, uint64_t number, const char *behind) {
    char text[48];
    brood__append_text(text, brood__append_number(text, 0, number), behind);
    return dir < 0 ? -ENOENT : holder_write_text(dir, file, text);
}

/* The tree's directory in an old hierarchy, or none. */
static int old_place(const int *roots, brood__hierarchy hierarchy, const char *controller) {
    return roots[hierarchy] < 0 ? -ENOENT : make_in(hierarchy, open_own(roots[hierarchy], controller));
}

/* v1 tells of want of memory by an eventfd, for which one has to ask. */
static void ask_for_memory_signal(int dir) {
    char text[48];
    cgroup.memory_events = holder_open(dir, "memory.oom_control", O_RDONLY);
    cgroup.memory_signal = (int)holder_call(SYS_eventfd2, 0L, (long)(EFD_CLOEXEC | EFD_NONBLOCK));
    int len = brood__append_number(text, 0, (uint64_t)cgroup.memory_signal);
    len = brood__append_text(text, len, " ");
    brood__append_number(text, len, (uint64_t)cgroup.memory_events);
    if (cgroup.memory_signal >= 0 && cgroup.memory_events >= 0)
        holder_write_text(dir, "cgroup.event_control", text);
}

static int limit_memory(brood__plan *plan, const int *roots) {
    uint64_t bytes = plan->tree.memory;
    int unified = cgroup.places[BROOD__UNIFIED].dir, r = write_number(unified, "memory.max", bytes, "");
    if (r == 0) {
        write_number(unified, "memory.swap.max", 0, ""); /* not every kernel counts swap */
        return 0;
    }
    if (r != -ENOENT)
        return r;
    int dir = old_place(roots, BROOD__MEMORY, "memory");
    if (brood__is_shortage(dir))
        return dir;
    if (dir < 0) {
        plan->memory_each = bytes;
        return plan->needs_cgroup ? -EOPNOTSUPP : 0;
    }
    r = write_number(dir, "memory.limit_in_bytes", bytes, "");
    write_number(dir, "memory.memsw.limit_in_bytes", bytes, "");
    holder_close(cgroup.memory_events);
    ask_for_memory_signal(dir);
    return r < 0 ? r : add_join(plan, BROOD__MEMORY);
}

static int limit_pids(brood__plan *plan, const int *roots) {
    int dir = cgroup.places[BROOD__UNIFIED].dir, r = write_number(dir, "pids.max", plan->tree.pids, "");
    if (r == -ENOENT) {
        dir = old_place(roots, BROOD__PIDS, "pids");
        if (dir < 0)
            return brood__is_shortage(dir) ? dir : -EOPNOTSUPP;
        r = write_number(dir, "pids.max", plan->tree.pids, "");
        if (r == 0)
            r = add_join(plan, BROOD__PIDS);
    }
    cgroup.pids_events = holder_open(dir, "pids.events", O_RDONLY);
    return r;
}

static int limit_cpu(brood__plan *plan, const int *roots) {
    uint64_t quota_us = plan->tree.cpu_percent * (CPU_PERIOD_US / 100);
    int r = write_number(cgroup.places[BROOD__UNIFIED].dir, "cpu.max", quota_us, " 100000");
    if (r != -ENOENT)
        return r;
    int dir = old_place(roots, BROOD__CPU, "cpu");
    if (dir < 0)
        return brood__is_shortage(dir) ? dir : -EOPNOTSUPP;
    write_number(dir, "cpu.cfs_period_us", CPU_PERIOD_US, "");
    r = write_number(dir, "cpu.cfs_quota_us", quota_us, "");
    if (r == -EINVAL) /* a quota around it is lower, which holds as well */
        r = 0;
    return r < 0 ? r : add_join(plan, BROOD__CPU);
}

/* A line "8:0 KEY=NUMBER" for each disk; one that has gone meanwhile needs none. */
static int limit_disks(int dir, const char *file, const char *disks, const char *key, uint64_t number) {
    long r = dir < 0 ? -ENOENT : holder_open(dir, file, O_WRONLY);
    int fd = (int)r;
    while (r >= 0 && *disks) {
        char text[80];
        int len = 0;
        while (*disks && *disks != '\n')
            text[len++] = *disks++;
        disks += *disks == '\n';
        len = brood__append_text(text, len, key);
        len = brood__append_number(text, len, number);
        r = holder_call(SYS_write, (long)fd, text, (long)len);
        if (r == -ENODEV)
            r = 0;
    }
    holder_close(fd);
    return r < 0 ? (int)r : 0;
}

static int limit_io_of(const brood__plan *plan, int dir, const char *read_file, const char *read_key,
                       const char *write_file, const char *write_key) {
    const brood_limits *l = &plan->tree;
    int r = l->io_read_bps ? limit_disks(dir, read_file, plan->disks, read_key, l->io_read_bps) : 0;
    if (r == 0 && l->io_write_bps)
        r = limit_disks(dir, write_file, plan->disks, write_key, l->io_write_bps);
    return r;
}

static int limit_io(brood__plan *plan, const int *roots) {
    if (!plan->disks)
        return -EOPNOTSUPP;
    int r = limit_io_of(plan, cgroup.places[BROOD__UNIFIED].dir, "io.max", " rbps=", "io.max", " wbps=");
    if (r != -ENOENT)
        return r;
    int dir = old_place(roots, BROOD__IO, "blkio");
    if (dir < 0)
        return brood__is_shortage(dir) ? dir : -EOPNOTSUPP;
    r = limit_io_of(plan, dir, "blkio.throttle.read_bps_device", " ", "blkio.throttle.write_bps_device", " ");
    return r == 0 ? add_join(plan, BROOD__IO) : r == -ENOENT ? -EOPNOTSUPP : r;
}

int cgroup_limit(brood__plan *plan, const int *roots, brood_limit *ret_limit) {
    int r = 0;
    if (plan->tree.memory && (r = limit_memory(plan, roots)) < 0)
        *ret_limit = BROOD_LIMIT_MEMORY;
    else if (plan->tree.pids && (r = limit_pids(plan, roots)) < 0)
        *ret_limit = BROOD_LIMIT_PIDS;
    else if (plan->tree.cpu_percent && (r = limit_cpu(plan, roots)) < 0)
        *ret_limit = BROOD_LIMIT_CPU;
    else if ((plan->tree.io_read_bps || plan->tree.io_write_bps) && (r = limit_io(plan, roots)) < 0)
        *ret_limit = BROOD_LIMIT_IO;
    return r;
}

/* --- what is counted --- */

static bool read_file(int dir, const char *file, const char *word, uint64_t *ret_value) {
    int fd = dir < 0 ? -1 : holder_open(dir, file, O_RDONLY);
    bool ok = holder_read_value(fd, word, ret_value);
    holder_close(fd);
    return ok;
}

/* Of a file that is polled: one that was taken away would say so for ever. */
static uint64_t read_polled(int *fd, const char *word) {
    uint64_t value = 0;
    if (*fd >= 0 && !holder_read_value(*fd, word, &value)) {
        holder_close(*fd);
        *fd = -1;
    }
    return value;
}

cgroup_counts cgroup_count(void) {
    return (cgroup_counts){.killed = read_polled(&cgroup.memory_events, "oom_kill"),
                           .refused = read_polled(&cgroup.pids_events, "max")};
}

/* v1's own counts of it stay 0 on newer kernels: there it is told by the peak, short of what is charged at once. */
bool cgroup_is_full(void) {
    uint64_t times = 0, peak = 0, limit = UINT64_MAX;
    int old = cgroup.places[BROOD__MEMORY].dir;
    if (old < 0)
        return holder_read_value(cgroup.memory_events, "max", &times) && times > 0;
    read_file(old, "memory.max_usage_in_bytes", "", &peak);
    read_file(old, "memory.limit_in_bytes", "", &limit);
    return peak >= limit - limit / 16;
}

void cgroup_events(struct pollfd *ret_killed, struct pollfd *ret_refused) {
    *ret_killed = cgroup.memory_signal >= 0 ? (struct pollfd){.fd = cgroup.memory_signal, .events = POLLIN}
                                            : (struct pollfd){.fd = cgroup.memory_events, .events = POLLPRI};
    *ret_refused = (struct pollfd){.fd = cgroup_must_be_asked() ? -1 : cgroup.pids_events, .events = POLLPRI};
}

bool cgroup_must_be_asked(void) {
    return cgroup.places[BROOD__PIDS].dir >= 0;
}

bool cgroup_signal_seen(void) {
    uint64_t signals;
    return cgroup.memory_signal >= 0 && holder_read(cgroup.memory_signal, &signals, sizeof signals) > 0;
}

bool cgroup_cpu_us(uint64_t *ret_us) {
    return read_file(cgroup.places[BROOD__UNIFIED].dir, "cpu.stat", "usage_usec", ret_us);
}

bool cgroup_peak_kb(uint64_t *ret_kb) {
    uint64_t bytes;
    bool ok = read_file(cgroup.places[BROOD__UNIFIED].dir, "memory.peak", "", &bytes) ||
              read_file(cgroup.places[BROOD__MEMORY].dir, "memory.max_usage_in_bytes", "", &bytes);
    *ret_kb = ok ? bytes / 1024 : 0;
    return ok;
}

/* --- the end --- */

bool cgroup_kill(void) {
    return cgroup.kill >= 0 && holder_call(SYS_write, (long)cgroup.kill, "1", 1L) == 1;
}

bool cgroup_freeze(bool frozen) {
    int dir = cgroup.places[BROOD__UNIFIED].dir;
    return dir >= 0 && holder_write_text(dir, "cgroup.freeze", frozen ? "1" : "0") == 0;
}

static void remove_below(int dir, int depth) {
    char entries[2048];
    if (dir < 0)
        return;
    holder_call(SYS_lseek, (long)dir, 0L, 0L);
    for (long n; depth > 0 && (n = holder_call(SYS_getdents64, (long)dir, entries, sizeof entries)) > 0;)
        for (long at = 0; at < n;) {
            const struct dirent64 *entry = (const struct dirent64 *)(const void *)(entries + at);
            at += entry->d_reclen;
            if (entry->d_type != DT_DIR || brood__is_dots(entry->d_name))
                continue;
            int inner = open_dir(dir, entry->d_name);
            remove_below(inner, depth - 1);
            holder_close(inner);
            holder_call(SYS_unlinkat, (long)dir, entry->d_name, (long)AT_REMOVEDIR);
        }
}

static bool take_one_away(const place *p) {
    if (p->dir < 0 || holder_call(SYS_unlinkat, (long)p->parent, cgroup.name, (long)AT_REMOVEDIR) == 0)
        return true;
    remove_below(p->dir, MOST_DEPTH);
    long r = holder_call(SYS_unlinkat, (long)p->parent, cgroup.name, (long)AT_REMOVEDIR);
    return r == 0 || r == -ENOENT;
}

static bool take_away(void) {
    bool all = true;
    for (int i = 0; i < BROOD__HIERARCHIES; i++)
        all = take_one_away(&cgroup.places[i]) && all;
    return all;
}

static bool is_of_a_place(int fd) {
    for (int i = 0; i < BROOD__HIERARCHIES; i++)
        if (fd == cgroup.places[i].dir || fd == cgroup.places[i].parent)
            return true;
    return false;
}

/* A process of its own, which nobody waits for: those in them live on, or are still dying. */
static void leave_somebody_to_remove(void) {
    if (holder_call(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L) != 0)
        return;
    for (int fd = 0; fd < MOST_FDS; fd++) /* the line, above all */
        if (!is_of_a_place(fd))
            holder_close(fd);
    int unified = cgroup.places[BROOD__UNIFIED].dir;
    struct pollfd events = {.fd = unified < 0 ? -1 : holder_open(unified, "cgroup.events", O_RDONLY),
                            .events = POLLPRI};
    while (!take_away()) {
        struct timespec pause = {.tv_sec = 1}; /* should the kernel not tell, or of another hierarchy */
        holder_call(SYS_ppoll, &events, 1L, &pause, 0L, 0L);
        read_polled(&events.fd, "populated"); /* or it is told again at once */
    }
    for (;;)
        holder_call(SYS_exit_group, 0L);
}

void cgroup_remove(void) {
    if (!take_away())
        leave_somebody_to_remove();
    forget();
    cgroup.made_ns = 0;
}
