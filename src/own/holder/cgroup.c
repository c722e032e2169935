/*
 * One directory for the tree, made below that of the holder (and so of the host), since that is where a process may
 * have been given the right to. Nothing is enabled in it: it counts and kills, limits are others' business.
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
#include <sys/syscall.h>
#include <time.h>

#define MOST_DEPTH 32 /* of those that the tree made in its own */

static struct cgroup {
    int parent, dir, kill;
    int64_t made_ns;
    char name[BROOD__CGROUP_NAME_SIZE];
} cgroup = {-1, -1, -1, 0, ""};

int cgroup_parent(int64_t *ret_made_ns) {
    *ret_made_ns = cgroup.made_ns;
    return cgroup.parent;
}

static int open_dir(int dir, const char *path) {
    return holder_open(dir, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/* Where the holder is: the path in the line "0::/path". */
static int open_own(int mount_fd) {
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
        if (line[0] == '0' && line[1] == ':' && line[2] == ':' && line[3] == '/')
            return open_dir(mount_fd, line[4] ? line + 4 : ".");
        line = last ? end : end + 1;
    }
    return -ENOENT;
}

static void forget(void) {
    holder_close(cgroup.kill);
    holder_close(cgroup.dir);
    holder_close(cgroup.parent);
    cgroup.kill = cgroup.dir = cgroup.parent = -1;
}

int cgroup_make(int mount_fd) {
    cgroup.parent = open_own(mount_fd);
    if (cgroup.parent < 0)
        return cgroup.parent;
    cgroup.made_ns = holder_now_ns();
    brood__cgroup_name(cgroup.name, (int)holder_call(SYS_getpid), (uint64_t)cgroup.made_ns);
    int r = (int)holder_call(SYS_mkdirat, (long)cgroup.parent, cgroup.name, 0755L);
    if (r == 0)
        r = cgroup.dir = open_dir(cgroup.parent, cgroup.name);
    if (r >= 0)
        r = cgroup.kill = holder_open(cgroup.dir, "cgroup.kill", O_WRONLY);
    if (r < 0) {
        holder_call(SYS_unlinkat, (long)cgroup.parent, cgroup.name, (long)AT_REMOVEDIR);
        forget();
        return r;
    }
    return cgroup.dir;
}

bool cgroup_kill(void) {
    return cgroup.kill >= 0 && holder_call(SYS_write, (long)cgroup.kill, "1", 1L) == 1;
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
            if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
                continue;
            int inner = open_dir(dir, entry->d_name);
            remove_below(inner, depth - 1);
            holder_close(inner);
            holder_call(SYS_unlinkat, (long)dir, entry->d_name, (long)AT_REMOVEDIR);
        }
}

static bool take_away(void) {
    if (holder_call(SYS_unlinkat, (long)cgroup.parent, cgroup.name, (long)AT_REMOVEDIR) == 0)
        return true;
    remove_below(cgroup.dir, MOST_DEPTH);
    long r = holder_call(SYS_unlinkat, (long)cgroup.parent, cgroup.name, (long)AT_REMOVEDIR);
    return r == 0 || r == -ENOENT;
}

/* A process of its own, which nobody waits for: those in it live on, or are still dying. */
static void leave_somebody_to_remove(void) {
    if (holder_call(SYS_clone, (long)SIGCHLD, 0L, 0L, 0L, 0L) != 0)
        return;
    for (int fd = 0; fd < cgroup.parent; fd++) /* the line, above all */
        holder_close(fd);
    struct pollfd events = {.fd = holder_open(cgroup.dir, "cgroup.events", O_RDONLY), .events = POLLPRI};
    for (char text[256]; !take_away();) {
        struct timespec pause = {.tv_sec = 1}; /* should the kernel not tell */
        holder_call(SYS_ppoll, &events, 1L, &pause, 0L, 0L);
        holder_call(SYS_pread64, (long)events.fd, text, sizeof text, 0L); /* or it is told again at once */
    }
    for (;;)
        holder_call(SYS_exit_group, 0L);
}

void cgroup_remove(void) {
    if (cgroup.dir >= 0 && !take_away())
        leave_somebody_to_remove();
    forget();
}
