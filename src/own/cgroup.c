/*
 * The end of a tree's cgroup, from the host. To make it, and to take it away when all has gone well, is the holder's;
 * here is what the holder cannot do: end a tree without waking it, and clean up after one that was killed.
 */
#include "own/cgroup.h"

#include "base/sys.h"
#include "own/holder/line.h"
#include "own/place.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define END_TRIES 1000 /* a millisecond each */

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

/* What the holder made for limits, where those in it have ended: in the old hierarchies nobody kills them. */
static void remove_old_ones(const char *name) {
    for (brood__hierarchy i = BROOD__MEMORY; i < BROOD__HIERARCHIES; i++) {
        int dir = brood__place_own(i);
        if (dir >= 0)
            unlinkat(dir, name, AT_REMOVEDIR);
        brood__close(dir);
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
