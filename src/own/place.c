/*
 * Where the cgroups of trees may be made: this process's own cgroup, and those around it that hand on controllers; and
 * making it such a place. A file of a cgroup is a request, which hosts refuse in many ways: what is asked here is asked
 * again by who needs it, the holder.
 */
#include "own/place.h"

#include "base/failure.h"
#include "base/sys.h"
#include "own/guard.h"
#include "own/mounts.h"

#include <brood/own.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- a cgroup2 that hands on controllers --- */

static const char *const controllers[] = {"memory", "pids", "cpu", "io"}; /* by the bits below */
enum { HAS_MEMORY = 1, HAS_PIDS = 2, HAS_CPU = 4, HAS_IO = 8, CONTROLLERS = 4 };

/* What leaves the page cache is whose the memory was: without that controller it would be others'. */
static unsigned wanted_by(const brood_limits *limits) {
    return (limits->memory ? HAS_MEMORY : 0U) | (limits->pids ? HAS_PIDS : 0U) | (limits->cpu_percent ? HAS_CPU : 0U) |
           (limits->io_read_bps ? HAS_IO : 0U) | (limits->io_write_bps ? HAS_IO | HAS_MEMORY : 0U);
}

/* A bit for each of our controllers that the file lists. */
static unsigned controllers_in(int dir, const char *name) {
    char text[512], *rest;
    unsigned found = 0;
    brood__read_at(dir, name, text, sizeof text);
    for (char *word = strtok_r(text, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest))
        for (unsigned i = 0; i < CONTROLLERS; i++)
            if (strcmp(word, controllers[i]) == 0)
                found |= 1U << i;
    return found;
}

/* In "NUMBER:controllers:/path\n", the path; NULL: it is of another hierarchy. cgroup2's has no controllers. */
static char *path_in(char *line, brood__hierarchy hierarchy) {
    char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL, *rest;
    if (!path || path[1] != '/' || !strchr(path, '\n'))
        return NULL;
    *path++ = '\0';
    path[strcspn(path, "\n")] = '\0';
    if (hierarchy == BROOD__UNIFIED)
        return list[1] ? NULL : path;
    for (char *word = strtok_r(list + 1, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        if (strcmp(word, brood__mounts_controller(hierarchy)) == 0)
            return path;
    return NULL;
}

/* Where this process is, below the root of the mount: "" or "/a/b". 0, or a negative errno: -ENOENT: it is in none. */
static int own_path(brood__hierarchy hierarchy, char ret_path[PATH_MAX]) {
    char line[PATH_MAX + 64], *path = NULL;
    FILE *file = fopen("/proc/self/cgroup", "re");
    *ret_path = '\0';
    if (!file)
        return -errno;
    while (!path && fgets(line, sizeof line, file))
        path = path_in(line, hierarchy);
    fclose(file);
    if (!path)
        return -ENOENT;
    snprintf(ret_path, PATH_MAX, "%s", strcmp(path, "/") == 0 ? "" : path);
    return 0;
}

static int open_below(int root, const char *path) {
    int fd = openat(root, *path ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A tree of ours, or one that is limited, is not left by what is started in it. */
static bool may_leave(int dir, const char *path) {
    static const char *const limits[] = {"memory.max", "pids.max", "cpu.max", "io.max"};
    const char *name = strrchr(path, '/') + 1;
    char text[64];
    if (strncmp(name, "brood-", 6) == 0 && strncmp(name, "brood-host-", 11) != 0)
        return false;
    for (unsigned i = 0; i < CONTROLLERS; i++)
        if (brood__read_at(dir, limits[i], text, sizeof text) > 0 && strncmp(text, "max", 3) != 0)
            return false;
    return true;
}

/*
 * The nearest cgroup around this process that hands on all of these controllers and in which it may make others: what
 * limits the process limits what is made there as well.
 */
static int find_place(int root, unsigned wanted) {
    char path[PATH_MAX];
    int r = own_path(BROOD__UNIFIED, path);
    if (r < 0)
        return r;
    for (;;) {
        int fd = open_below(root, path);
        if (fd >= 0 && (controllers_in(fd, "cgroup.subtree_control") & wanted) == wanted &&
            faccessat(fd, ".", W_OK, AT_EACCESS) == 0)
            return fd;
        bool leave = fd >= 0 && *path && may_leave(fd, path);
        brood__close(fd);
        if (!leave)
            return -ENOENT;
        *strrchr(path, '/') = '\0';
    }
}

ssize_t brood__place_roots(const brood_limits *limits, int *ret_fds, unsigned *ret_hierarchies, bool *ret_in_root) {
    const bool wanted[] = {[BROOD__UNIFIED] = true,
                           [BROOD__MEMORY] = limits->memory,
                           [BROOD__PIDS] = limits->pids,
                           [BROOD__CPU] = limits->cpu_percent,
                           [BROOD__IO] = limits->io_read_bps || limits->io_write_bps};
    ssize_t count = 0;
    *ret_hierarchies = 0;
    *ret_in_root = false;
    for (brood__hierarchy i = BROOD__UNIFIED; brood__has(BROOD__CGROUP) && i < BROOD__HIERARCHIES; i++) {
        int fd = wanted[i] ? brood__mounts_open(i) : -ENOENT;
        if (brood__is_shortage(fd)) {
            while (count > 0)
                brood__close(ret_fds[--count]);
            return fd;
        }
        if (fd < 0)
            continue;
        unsigned needed = i == BROOD__UNIFIED ? wanted_by(limits) : 0;
        if (needed) /* of those that cgroup2 has here: the others' are in hierarchies of their own */
            needed &= controllers_in(fd, "cgroup.controllers");
        int place = needed ? find_place(fd, needed) : -1;
        if (place >= 0) {
            brood__close(fd);
            fd = place;
            *ret_in_root = true;
        }
        ret_fds[count++] = fd;
        *ret_hierarchies |= 1U << i;
    }
    return count;
}

/* For each start: so by one read. The line of cgroup2 is the last. In another namespace "/" is another cgroup. */
bool brood__place_path(char *ret_path, size_t size) {
    char text[PATH_MAX + 2048];
    if (!brood__has(BROOD__CGROUP) || brood__read_at(AT_FDCWD, "/proc/self/cgroup", text, sizeof text) <= 0)
        return false;
    char *line = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
    char *path = line ? strchr(line, '/') : NULL, *end = path ? strchr(path, '\n') : NULL;
    if (!end)
        return false;
    *end = '\0';
    int len = snprintf(ret_path, size, "%ju:%s", (uintmax_t)brood__mounts_namespace(), path);
    return len > 0 && (size_t)len < size;
}

int brood__place_own(brood__hierarchy hierarchy) {
    char path[PATH_MAX];
    int root = brood__has(BROOD__CGROUP) ? brood__mounts_open(hierarchy) : -ENOENT;
    int fd = root < 0 ? root : own_path(hierarchy, path);
    if (fd == 0)
        fd = open_below(root, path);
    brood__close(root);
    return fd < 0 ? fd : brood__fd_lift(fd, 3);
}

bool brood__place_controls(int dir) {
    return dir >= 0 && controllers_in(dir, "cgroup.controllers") != 0;
}

/* --- adopting one --- */

/* All that there are, one by one: some may be refused, as cpu is while there are processes with real-time priority. */
static int hand_on(int dir, unsigned wanted) {
    int result = -EOPNOTSUPP;
    bool any = false;
    for (unsigned i = 0; i < CONTROLLERS; i++) {
        char text[16];
        if (!(wanted >> i & 1))
            continue;
        snprintf(text, sizeof text, "+%s", controllers[i]);
        int r = brood__write_at(dir, "cgroup.subtree_control", text);
        any = any || r == 0;
        if (r < 0)
            result = r;
    }
    return any ? 0 : result;
}

static bool has_processes(int dir) {
    char text[16];
    return brood__read_at(dir, "cgroup.procs", text, sizeof text) > 0;
}

/*
 * Out of the way, into one of our own: those that hand on controllers have no processes. Of those that the kernel also
 * hands on otherwise (pids, cpu), nothing is tried before: it would make the cgroup a threaded one, and of no use.
 */
static int move_down_and_hand_on(int dir, unsigned wanted) {
    char leaf[64], procs[96];
    snprintf(leaf, sizeof leaf, "brood-host-%d", (int)getpid());
    snprintf(procs, sizeof procs, "%s/cgroup.procs", leaf);
    if (mkdirat(dir, leaf, 0755) < 0 && errno != EEXIST)
        return -errno;
    int r = brood__write_at(dir, procs, "0");
    if (r == 0 && has_processes(dir))
        r = -EBUSY;
    if (r == 0)
        r = hand_on(dir, wanted);
    if (r < 0)
        brood__write_at(dir, "cgroup.procs", "0");
    if (r < 0)
        unlinkat(dir, leaf, AT_REMOVEDIR);
    return r;
}

static int adopt(int root) {
    char path[PATH_MAX];
    int r = own_path(BROOD__UNIFIED, path);
    if (r < 0)
        return r == -ENOENT ? -EOPNOTSUPP : r;
    int dir = open_below(root, path);
    if (dir < 0)
        return dir;
    unsigned there = controllers_in(dir, "cgroup.controllers");
    bool is_root = faccessat(dir, "cgroup.type", F_OK, 0) < 0; /* which may hand on whoever is in it */
    int place = there ? find_place(root, there) : -EOPNOTSUPP;
    r = place >= 0 || !there ? place : is_root ? hand_on(dir, there) : move_down_and_hand_on(dir, there);
    brood__close(place);
    brood__close(dir);
    return r < 0 ? r : 0;
}

static const char *adopt_hint(int r) {
    return r == -EBUSY
               ? "other processes are in this cgroup; one to oneself: systemd-run --user --scope -p Delegate=yes"
           : r == -EOPNOTSUPP ? "there is no cgroup2 with a controller for memory, pids, cpu or io"
                              : NULL;
}

int brood_cgroup_adopt(brood_failure *why) {
    int root = brood__has(BROOD__CGROUP) ? brood__mounts_open(BROOD__UNIFIED) : -ENOENT;
    brood__guard_done(); /* which is in the cgroup that is to be left */
    int r = root < 0 ? -EOPNOTSUPP : adopt(root);
    brood__close(root);
    return r < 0 ? brood__fail(why, r, BROOD_STEP_CGROUP, NULL, adopt_hint(r)) : 0;
}
