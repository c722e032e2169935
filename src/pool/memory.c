/*
 * How much memory a worker and all that descends from it have, as /proc tells: descendants by the lists of children that
 * each thread has, which the kernel keeps since Linux 4.2 for programs like this one. Numbers may be others' by the time
 * they are looked at: what is read is an estimate, and no signal is sent by it.
 */
#include "pool/pool.h"

#include "base/sys.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEEPEST 64 /* generations */

/* The text of a file of /proc: its length, or 0. */
static size_t read_text(const char *path, char *text, size_t size) {
    int fd = brood__open(path, O_RDONLY);
    ssize_t n = fd < 0 ? -1 : brood__read(fd, text, size - 1);
    brood__close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0 ? (size_t)n : 0;
}

static uint64_t memory_of(pid_t pid) {
    char path[48], text[128];
    unsigned long long all, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    if (read_text(path, text, sizeof text) == 0 || sscanf(text, "%llu %llu", &all, &resident) != 2)
        return 0;
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t add_tree(pid_t pid, bool itself, int depth);

static uint64_t add_children(pid_t pid, const char *thread, int depth) {
    char path[96], text[4096];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, thread);
    if (read_text(path, text, sizeof text) == 0)
        return 0;
    for (char *at = text, *end; *at; at = end) {
        long child = strtol(at, &end, 10);
        if (end == at)
            break;
        if (*end == ' ') /* else it is cut */
            sum += add_tree((pid_t)child, true, depth + 1);
    }
    return sum;
}

static uint64_t add_tree(pid_t pid, bool itself, int depth) {
    char path[48];
    uint64_t sum = itself ? memory_of(pid) : 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *threads = depth < DEEPEST ? opendir(path) : NULL;
    for (struct dirent *thread; threads && (thread = readdir(threads));)
        if (thread->d_name[0] != '.')
            sum += add_children(pid, thread->d_name, depth);
    if (threads)
        closedir(threads);
    return sum;
}

uint64_t brood__tree_memory(pid_t root, bool itself) {
    return root > 0 ? add_tree(root, itself, 0) : 0;
}
