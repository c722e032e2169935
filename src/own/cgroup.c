/*
 * Cgroups from the host's end. What there is of them is the holder's to make and to end; here is what the holder cannot
 * do: find the mounts once for many of them, find or make a place where limits can be kept, and clean up after a holder
 * that was killed.
 */
#include "own/cgroup.h"

#include "base/failure.h"
#include "base/sys.h"
#include "own/holder/line.h"

#include <brood/own.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define END_TRIES 1000 /* a millisecond each */

static pthread_once_t looked = PTHREAD_ONCE_INIT;
static char *mount_points[BROOD__HIERARCHIES]; /* for the life of the process; NULL: there is none */

static const char *const controller_of[] = {[BROOD__MEMORY] = "memory", [BROOD__PIDS] = "pids", [BROOD__CPU] = "cpu"};

static bool has_hierarchy(const struct mntent *entry, brood__hierarchy hierarchy) {
    if (hierarchy == BROOD__UNIFIED)
        return strcmp(entry->mnt_type, "cgroup2") == 0;
    return strcmp(entry->mnt_type, "cgroup") == 0 && hasmntopt(entry, controller_of[hierarchy]);
}

static void look_for_mounts(void) {
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    struct mntent entry;
    char text[PATH_MAX + 512];
    while (mounts && getmntent_r(mounts, &entry, text, sizeof text))
        for (brood__hierarchy i = BROOD__UNIFIED; i < BROOD__HIERARCHIES; i++)
            if (!mount_points[i] && has_hierarchy(&entry, i))
                mount_points[i] = strdup(entry.mnt_dir);
    if (mounts)
        endmntent(mounts);
}

/* A descriptor of its root, or a negative errno. */
static int open_root(brood__hierarchy hierarchy) {
    pthread_once(&looked, look_for_mounts);
    return mount_points[hierarchy] ? brood__open(mount_points[hierarchy], O_RDONLY | O_DIRECTORY) : -ENOENT;
}

/* --- a cgroup2 that hands on controllers --- */

static const char *const controllers[] = {"memory", "pids", "cpu"}; /* by the bits below */
#define CONTROLLERS 3

static unsigned wanted_by(const brood_limits *limits) {
    return (limits->memory ? 1U : 0) | (limits->pids ? 2U : 0) | (limits->cpu_percent ? 4U : 0);
}

/* A small file of a directory, whole and ending with NUL. */
static ssize_t read_text(int dir, const char *name, char *ret_text, size_t size) {
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : brood__read(fd, ret_text, size - 1);
    brood__close(fd);
    ret_text[n > 0 ? n : 0] = '\0';
    return n;
}

static int write_text(int dir, const char *name, const char *text) {
    int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : brood__write(fd, text, strlen(text));
    brood__close(fd);
    return n < 0 ? (int)n : 0;
}

/* A bit for each of our controllers that the file lists. */
static unsigned controllers_in(int dir, const char *name) {
    char text[512], *rest;
    unsigned found = 0;
    read_text(dir, name, text, sizeof text);
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
        if (strcmp(word, controller_of[hierarchy]) == 0)
            return path;
    return NULL;
}

/* Where this process is, below the root of the mount: "" or "/a/b". False: it is in none, or too deep. */
static bool own_path(brood__hierarchy hierarchy, char ret_path[PATH_MAX]) {
    char line[PATH_MAX + 64], *path = NULL;
    FILE *file = fopen("/proc/self/cgroup", "re");
    while (file && !path && fgets(line, sizeof line, file))
        path = path_in(line, hierarchy);
    if (file)
        fclose(file);
    if (path)
        snprintf(ret_path, PATH_MAX, "%s", strcmp(path, "/") == 0 ? "" : path);
    return path != NULL;
}

static int open_below(int root, const char *path) {
    int fd = openat(root, *path ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A tree of ours, or one that is limited, is not left by what is started in it. */
static bool may_leave(int dir, const char *path) {
    static const char *const limits[] = {"memory.max", "pids.max", "cpu.max"};
    const char *name = strrchr(path, '/') + 1;
    char text[64];
    if (strncmp(name, "brood-", 6) == 0 && strncmp(name, "brood-host-", 11) != 0)
        return false;
    for (unsigned i = 0; i < CONTROLLERS; i++)
        if (read_text(dir, limits[i], text, sizeof text) > 0 && strncmp(text, "max", 3) != 0)
            return false;
    return true;
}

/*
 * The nearest cgroup around this process that hands on all of these controllers and in which it may make others: what
 * limits the process limits what is made there as well.
 */
static int find_place(int root, unsigned wanted) {
    char path[PATH_MAX];
    if (!own_path(BROOD__UNIFIED, path))
        return -ENOENT;
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

/* Want of descriptors, and not that there is none. */
static bool is_short(int error) {
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

ssize_t brood__cgroup_roots(const brood_limits *limits, int *ret_fds, unsigned *ret_hierarchies, bool *ret_in_root) {
    const bool wanted[] = {[BROOD__UNIFIED] = true,
                           [BROOD__MEMORY] = limits->memory,
                           [BROOD__PIDS] = limits->pids,
                           [BROOD__CPU] = limits->cpu_percent};
    ssize_t count = 0;
    *ret_hierarchies = 0;
    *ret_in_root = false;
    for (brood__hierarchy i = BROOD__UNIFIED; brood__has(BROOD__CGROUP) && i < BROOD__HIERARCHIES; i++) {
        int fd = wanted[i] ? open_root(i) : -ENOENT;
        if (is_short(fd)) {
            while (count > 0)
                brood__close(ret_fds[--count]);
            return fd;
        }
        if (fd < 0)
            continue;
        unsigned needed = i == BROOD__UNIFIED ? wanted_by(limits) & controllers_in(fd, "cgroup.controllers") : 0;
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

int brood__cgroup_own(void) {
    char path[PATH_MAX];
    int root = brood__has(BROOD__CGROUP) ? open_root(BROOD__UNIFIED) : -ENOENT;
    int fd = root < 0 ? root : own_path(BROOD__UNIFIED, path) ? open_below(root, path) : -ENOENT;
    brood__close(root);
    return fd < 0 ? fd : brood__fd_lift(fd, 3);
}

bool brood__cgroup_controls(int dir) {
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
        int r = write_text(dir, "cgroup.subtree_control", text);
        any = any || r == 0;
        if (r < 0)
            result = r;
    }
    return any ? 0 : result;
}

static bool has_processes(int dir) {
    char text[16];
    return read_text(dir, "cgroup.procs", text, sizeof text) > 0;
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
    int r = write_text(dir, procs, "0");
    if (r == 0 && has_processes(dir))
        r = -EBUSY;
    if (r == 0)
        r = hand_on(dir, wanted);
    if (r < 0)
        write_text(dir, "cgroup.procs", "0");
    if (r < 0)
        unlinkat(dir, leaf, AT_REMOVEDIR);
    return r;
}

static int adopt(int root) {
    char path[PATH_MAX];
    if (!own_path(BROOD__UNIFIED, path))
        return -EOPNOTSUPP;
    int dir = open_below(root, path);
    if (dir < 0)
        return dir;
    unsigned there = controllers_in(dir, "cgroup.controllers");
    bool is_root = faccessat(dir, "cgroup.type", F_OK, 0) < 0; /* which may hand on whoever is in it */
    int place = there ? find_place(root, there) : -EOPNOTSUPP;
    int r = place >= 0 || !there ? place : is_root ? hand_on(dir, there) : move_down_and_hand_on(dir, there);
    brood__close(place);
    brood__close(dir);
    return r < 0 ? r : 0;
}

static const char *adopt_hint(int r) {
    return r == -EBUSY
               ? "other processes are in this cgroup; one to oneself: systemd-run --user --scope -p Delegate=yes"
           : r == -EOPNOTSUPP ? "there is no cgroup2 with a controller for memory, pids or cpu"
                              : NULL;
}

int brood_cgroup_adopt(brood_failure *why) {
    int root = brood__has(BROOD__CGROUP) ? open_root(BROOD__UNIFIED) : -ENOENT;
    int r = root < 0 ? -EOPNOTSUPP : adopt(root);
    brood__close(root);
    return r < 0 ? brood__fail(why, r, BROOD_STEP_CGROUP, NULL, adopt_hint(r)) : 0;
}

/* --- after a holder that was killed --- */

/* Those that the tree made in its own may be left: what counts is whether somebody is in one of them. */
static bool is_empty(int parent_fd, const char *name) {
    char path[BROOD__CGROUP_NAME_SIZE + 16], text[256];
    snprintf(path, sizeof path, "%s/cgroup.events", name);
    read_text(parent_fd, path, text, sizeof text);
    return strstr(text, "populated 0") != NULL;
}

int brood__cgroup_kill(int parent_fd, pid_t holder, uint64_t made_ns) {
    char name[BROOD__CGROUP_NAME_SIZE], path[BROOD__CGROUP_NAME_SIZE + 16];
    brood__cgroup_name(name, (int)holder, made_ns);
    snprintf(path, sizeof path, "%s/cgroup.kill", name);
    return write_text(parent_fd, path, "1");
}

/* What the holder made for limits, where those in it have ended: in the old hierarchies nobody kills them. */
static void remove_old_ones(const char *name) {
    char path[PATH_MAX];
    for (brood__hierarchy i = BROOD__MEMORY; i < BROOD__HIERARCHIES; i++) {
        int root = open_root(i);
        int dir = root >= 0 && own_path(i, path) ? open_below(root, path) : -1;
        if (dir >= 0)
            unlinkat(dir, name, AT_REMOVEDIR);
        brood__close(dir);
        brood__close(root);
    }
}

int brood__cgroup_end(int parent_fd, pid_t holder, uint64_t made_ns) {
    char name[BROOD__CGROUP_NAME_SIZE];
    brood__cgroup_name(name, (int)holder, made_ns);
    int r = brood__cgroup_kill(parent_fd, holder, made_ns);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* its own, or nobody's any more */
    for (int tries = 0; unlinkat(parent_fd, name, AT_REMOVEDIR) < 0; tries++) {
        if (errno == ENOENT || (errno == EBUSY && tries > 0 && is_empty(parent_fd, name)))
            break;
        if (errno != EBUSY || tries == END_TRIES)
            return -errno;
        poll(NULL, 0, 1); /* those in it are dying */
    }
    remove_old_ones(name);
    return 0;
}
