/*
 * The end of a tree's cgroup, from the host. To make it, and to take it away when all has gone well, is the holder's;
 * here is what the holder cannot do: end a tree without waking it, and clean up after one that was killed.
 */
#include "own/cgroup.h"

#include "base/sys.h"
#include "own/holder/line.h"
#include "own/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define END_TRIES 1000 /* a millisecond each */
#define MOST_DEPTH 32  /* of cgroups that the tree made in its own */

/* --- who is in it --- */

static int open_dir(int dir, const char *name) {
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

typedef struct visit {
    const char *name; /* of the tree's cgroup, which no other ever has */
    brood__on_process each;
    void *data;
    bool missed; /* somebody, for want of descriptors */
} visit;

/* Whether the process of this directory of /proc is in the cgroup, or below it. */
static bool is_in(visit *v, int proc) {
    char text[PATH_MAX + 512];
    const char *name = v->name;
    ssize_t n = brood__read_at(proc, "cgroup", text, sizeof text);
    v->missed = v->missed || n == -EMFILE || n == -ENFILE;
    const char *own = strstr(text, "0::/"), *at = own ? strstr(own, name) : NULL;
    const char *behind = at ? at + strlen(name) : "";
    return *behind == '/' || *behind == '\n';
}

/* The number may be another's by now; the directory is not. */
static void visit_process(visit *v, int pid) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d", pid);
    int proc = pid > 0 ? brood__open(path, O_RDONLY | O_DIRECTORY) : -1; /* 0: it is not of our PID namespace */
    v->missed = v->missed || proc == -EMFILE || proc == -ENFILE;
    if (proc >= 0 && is_in(v, proc))
        v->each(proc, v->data);
    brood__close(proc);
}

static void visit_listed(visit *v, int dir) {
    int fd = openat(dir, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *list = fd < 0 ? NULL : fdopen(fd, "r");
    for (int pid; list && fscanf(list, "%d", &pid) == 1;)
        visit_process(v, pid);
    v->missed = v->missed || (!list && errno != ENOENT && errno != ENODEV); /* those: it was taken away */
    if (list)
        fclose(list);
    else
        brood__close(fd);
}

static void visit_all(visit *v, int parent_fd, const char *name, int depth) {
    int dir = open_dir(parent_fd, name);
    v->missed = v->missed || (dir < 0 && dir != -ENOENT);
    if (dir < 0)
        return;
    visit_listed(v, dir);
    DIR *entries = fdopendir(dir);
    for (struct dirent *entry; depth > 0 && entries && (entry = readdir(entries));)
        if (entry->d_type == DT_DIR && !brood__is_dots(entry->d_name))
            visit_all(v, dir, entry->d_name, depth - 1);
    if (entries)
        closedir(entries);
    else
        brood__close(dir);
}

int brood__cgroup_each(int parent_fd, pid_t holder, uint64_t made_ns, brood__on_process each, void *data) {
    char name[BROOD__CGROUP_NAME_SIZE];
    visit v = {.name = name, .each = each, .data = data};
    brood__cgroup_name(name, (int)holder, made_ns);
    visit_all(&v, parent_fd, name, MOST_DEPTH);
    return v.missed ? -EMFILE : 0;
}

int brood__cgroup_each_in(int dir, const char *name, brood__on_process each, void *data) {
    visit v = {.name = name, .each = each, .data = data};
    visit_all(&v, dir, ".", MOST_DEPTH);
    return v.missed ? -EMFILE : 0;
}

static void kill_one(int proc, void *data) {
    (void)data;
    brood__pidfd_signal(proc, SIGKILL); /* a directory of /proc is as good as a pidfd */
}

/* --- its end --- */

static bool is_empty(int parent_fd, const char *name) {
    char path[BROOD__CGROUP_NAME_SIZE + 16], text[256];
    snprintf(path, sizeof path, "%s/cgroup.events", name);
    brood__read_at(parent_fd, path, text, sizeof text);
    return strstr(text, "populated 0") != NULL;
}

/* With those that the tree made in it. */
static bool remove_empty(int parent_fd, const char *name, int depth) {
    int dir = open_dir(parent_fd, name);
    DIR *entries = dir < 0 ? NULL : fdopendir(dir);
    for (struct dirent *entry; depth > 0 && entries && (entry = readdir(entries));)
        if (entry->d_type == DT_DIR && !brood__is_dots(entry->d_name))
            remove_empty(dir, entry->d_name, depth - 1);
    if (entries)
        closedir(entries);
    else
        brood__close(dir);
    return unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
}

/* What counts is whether somebody is in one of them: that is asked first, since it may come to be empty meanwhile. */
static bool take_away(int parent_fd, const char *name) {
    bool empty = is_empty(parent_fd, name);
    return remove_empty(parent_fd, name, empty ? MOST_DEPTH : 0) || empty;
}

bool brood__cgroup_remove(int parent_fd, const char *name) {
    return unlinkat(parent_fd, name, AT_REMOVEDIR) == 0 || take_away(parent_fd, name);
}

static int kill_named(int parent_fd, const char *name) {
    char path[BROOD__CGROUP_NAME_SIZE + 16];
    snprintf(path, sizeof path, "%s/cgroup.kill", name);
    return brood__write_at(parent_fd, path, "1");
}

int brood__cgroup_kill(int parent_fd, pid_t holder, uint64_t made_ns) {
    char name[BROOD__CGROUP_NAME_SIZE];
    brood__cgroup_name(name, (int)holder, made_ns);
    return kill_named(parent_fd, name);
}

/* What the holder made for limits, where those in it have ended: in the old hierarchies nobody kills them. */
static void remove_old_ones(const char *name) {
    for (brood__hierarchy i = BROOD__MEMORY; i < BROOD__HIERARCHIES; i++) {
        int dir = brood__place_own(i);
        if (dir >= 0)
            unlinkat(dir, name, AT_REMOVEDIR);
        brood__close(dir);
    }
}

/*
 * The kernel's cgroup.kill passes by a process whose first thread has left while others live (Linux 6.18): whoever is
 * still there a moment later is killed by its number.
 */
static int end_named(int parent_fd, const char *name) {
    int r = kill_named(parent_fd, name);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* its own, or nobody's any more */
    for (int tries = 0; !take_away(parent_fd, name); tries++) {
        if (tries == END_TRIES)
            return -EBUSY;
        poll(NULL, 0, 1); /* those in it are dying */
        if (tries > 1 && (tries & (tries - 1)) == 0)
            visit_all(&(visit){.name = name, .each = kill_one}, parent_fd, name, MOST_DEPTH);
    }
    remove_old_ones(name);
    return 0;
}

int brood__cgroup_end(int parent_fd, pid_t holder, uint64_t made_ns) {
    char name[BROOD__CGROUP_NAME_SIZE];
    brood__cgroup_name(name, (int)holder, made_ns);
    return end_named(parent_fd, name);
}

void brood__cgroup_end_untold(int parent_fd, pid_t holder) {
    char prefix[BROOD__CGROUP_NAME_SIZE];
    int len = snprintf(prefix, sizeof prefix, "brood-%d-", (int)holder);
    int again = open_dir(parent_fd, ".");
    DIR *entries = again < 0 ? NULL : fdopendir(again);
    for (struct dirent *entry; entries && (entry = readdir(entries));)
        if (strncmp(entry->d_name, prefix, (size_t)len) == 0 && strlen(entry->d_name) < BROOD__CGROUP_NAME_SIZE)
            end_named(parent_fd, entry->d_name);
    if (entries)
        closedir(entries);
    else
        brood__close(again);
}
