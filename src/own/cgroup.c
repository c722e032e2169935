/*
 * cgroups from the host's end. What there is of them is the holder's to make and to end; here is only what the holder
 * cannot do: find the mount once for many of them, and clean up after one that was killed.
 */
#include "own/cgroup.h"

#include "base/sys.h"
#include "own/holder/line.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define END_TRIES 1000 /* a millisecond each */

static pthread_once_t looked = PTHREAD_ONCE_INIT;
static char mount_point[PATH_MAX];

static void look_for_mount(void) {
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    struct mntent entry;
    char text[PATH_MAX + 512];
    while (mounts && getmntent_r(mounts, &entry, text, sizeof text))
        if (strcmp(entry.mnt_type, "cgroup2") == 0) {
            snprintf(mount_point, sizeof mount_point, "%s", entry.mnt_dir);
            break;
        }
    if (mounts)
        endmntent(mounts);
}

int brood__cgroup_mount(void) {
    if (!brood__has(BROOD__CGROUP))
        return -ENOENT;
    pthread_once(&looked, look_for_mount);
    return *mount_point ? brood__open(mount_point, O_RDONLY | O_DIRECTORY) : -ENOENT;
}

/* Those that the tree made in its own may be left: what counts is whether somebody is in one of them. */
static bool is_empty(int parent_fd, const char *name) {
    char path[BROOD__CGROUP_NAME_SIZE + 16], text[256];
    snprintf(path, sizeof path, "%s/cgroup.events", name);
    int fd = openat(parent_fd, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : brood__read(fd, text, sizeof text - 1);
    brood__close(fd);
    text[n > 0 ? n : 0] = '\0';
    return strstr(text, "populated 0") != NULL;
}

int brood__cgroup_kill(int parent_fd, pid_t holder, uint64_t made_ns) {
    char name[BROOD__CGROUP_NAME_SIZE], path[BROOD__CGROUP_NAME_SIZE + 16];
    brood__cgroup_name(name, (int)holder, made_ns);
    snprintf(path, sizeof path, "%s/cgroup.kill", name);
    int fd = openat(parent_fd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = brood__write(fd, "1", 1);
    brood__close(fd);
    return n < 0 ? (int)n : 0;
}

int brood__cgroup_end(int parent_fd, pid_t holder, uint64_t made_ns) {
    char name[BROOD__CGROUP_NAME_SIZE];
    brood__cgroup_name(name, (int)holder, made_ns);
    int r = brood__cgroup_kill(parent_fd, holder, made_ns);
    if (r < 0)
        return r == -ENOENT ? 0 : r; /* its own, or nobody's any more */
    for (int tries = 0; unlinkat(parent_fd, name, AT_REMOVEDIR) < 0; tries++) {
        if (errno == ENOENT || (errno == EBUSY && tries > 0 && is_empty(parent_fd, name)))
            return 0;
        if (errno != EBUSY || tries == END_TRIES)
            return -errno;
        poll(NULL, 0, 1); /* those in it are dying */
    }
    return 0;
}
