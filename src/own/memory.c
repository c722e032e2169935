/*
 * Resident memory, as /proc tells: of all that a cgroup lists, or of descendants by the lists of children that each thread
 * has, which the kernel keeps since Linux 4.2 for programs like this one; a tree's are its holder's. Numbers may be others'
 * by the time they are looked at: what is read is an estimate, and no signal is sent by it.
 */
#include "own/memory.h"

#include "base/sys.h"
#include "own/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEEPEST 64 /* generations */

static uint64_t memory_at(int dir, const char *path) {
    char text[128];
    unsigned long long all, resident;
    if (brood__read_at(dir, path, text, sizeof text) <= 0 || sscanf(text, "%llu %llu", &all, &resident) != 2)
        return 0;
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t memory_of(pid_t pid) {
    char path[48];
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    return memory_at(AT_FDCWD, path);
}

static void add_listed(int proc, void *data) {
    *(uint64_t *)data += memory_at(proc, "statm");
}

/* --- descendants --- */

static uint64_t add_tree(pid_t pid, bool itself, int depth);

static uint64_t add_children(pid_t pid, const char *thread, int depth) {
    char path[96], text[4096];
    uint64_t sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", (int)pid, thread);
    if (brood__read_at(AT_FDCWD, path, text, sizeof text) <= 0)
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

/* --- all of it --- */

uint64_t brood__owned_memory(const brood__owned *o) {
    const brood__holder *h = &o->holder;
    const brood__cell *cell = &o->direct.cell;
    bool held = h->line >= 0; /* then all that it left behind is its holder's */
    uint64_t sum = 0;
    if (o->is_direct)
        brood__cgroup_each_in(cell->dir.fd, cell->name, add_listed, &sum);
    else if (h->cgroups >= 0)
        brood__cgroup_each(h->cgroups, h->cgroup_pid, h->cgroup_made_ns, add_listed, &sum);
    if (o->is_direct || h->cgroups >= 0)
        return sum;
    return o->process.pid > 0 ? add_tree(held ? h->pid : o->process.pid, !held, 0) : 0;
}
