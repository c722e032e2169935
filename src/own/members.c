/*
 * Who is alive of a process, its group or its tree. A cgroup lists its own; else all of /proc is read, and of a tree it is
 * those whose chain of parents leads to the holder. What is hard is to say nothing of another process that got a number:
 * all that is told of a process is read from one file of it at once, or from a directory that stays its own.
 */
#include "own/members.h"

#include "base/memory.h"
#include "base/sys.h"
#include "own/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_ROOM 64

typedef struct process {
    brood_member shown;
    pid_t group;
    bool counts;
} process;

typedef struct listing {
    process *all;
    size_t count, room;
    int error;
} listing;

/* --- one process --- */

static uint64_t us_of_ticks(unsigned long long ticks) {
    return ticks * 1000000 / (unsigned long long)sysconf(_SC_CLK_TCK);
}

/* "PID (name) state ppid pgrp …": the name may hold anything, so count from its last parenthesis. False: not alive. */
static bool parse(const char *text, process *ret) {
    const char *name = strchr(text, '('), *after = strrchr(text, ')');
    unsigned long long user, system;
    int parent, group, threads;
    long rss;
    char state;
    if (!name || !after ||
        sscanf(after + 1, " %c %d %d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %d %*d %*u %*u %ld",
               &state, &parent, &group, &user, &system, &threads, &rss) != 7)
        return false;
    if ((state == 'Z' && threads <= 1) || state == 'X') /* a first thread may end before the others */
        return false;
    *ret = (process){.group = group};
    ret->shown = (brood_member){
        .pid = (pid_t)strtol(text, NULL, 10),
        .parent = parent,
        .state = state,
        .threads = threads,
        .user_us = us_of_ticks(user),
        .system_us = us_of_ticks(system),
        .rss_kb = (uint64_t)rss * (uint64_t)sysconf(_SC_PAGESIZE) / 1024,
    };
    size_t len = (size_t)(after - name - 1), most = sizeof ret->shown.name - 1;
    memcpy(ret->shown.name, name + 1, len < most ? len : most);
    return true;
}

/* True: it is alive. */
static bool look_at(listing *l, int dir, const char *path, process *ret) {
    char text[1024];
    ssize_t n = brood__read_at(dir, path, text, sizeof text);
    if (n == -EMFILE || n == -ENFILE)
        l->error = (int)n; /* else it has gone */
    return parse(text, ret);
}

static void add(listing *l, const process *p) {
    if (l->count == l->room) {
        size_t room = l->room ? l->room * 2 : FIRST_ROOM;
        process *larger = brood__resize(l->all, room * sizeof *larger);
        if (!larger) {
            l->error = -ENOMEM;
            return;
        }
        l->all = larger;
        l->room = room;
    }
    l->all[l->count++] = *p;
}

/* --- all of them --- */

static void add_counted(listing *l, int dir, const char *path) {
    process p;
    if (!look_at(l, dir, path, &p))
        return;
    p.counts = true;
    add(l, &p);
}

static void add_listed(int proc, void *data) {
    add_counted(data, proc, "stat");
}

static void read_all(listing *l) {
    char path[300];
    process p;
    int fd = brood__open("/proc", O_RDONLY | O_DIRECTORY);
    DIR *proc = fd < 0 ? NULL : fdopendir(fd);
    if (!proc) {
        l->error = fd < 0 ? fd : -ENOMEM;
        brood__close(fd);
        return;
    }
    for (struct dirent *entry; l->error == 0 && (entry = readdir(proc));) {
        snprintf(path, sizeof path, "%s/stat", entry->d_name);
        if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' && look_at(l, fd, path, &p))
            add(l, &p);
    }
    closedir(proc);
}

static int by_pid(const void *a, const void *b) {
    const process *one = a, *other = b;
    return (one->shown.pid > other->shown.pid) - (one->shown.pid < other->shown.pid);
}

static bool parent_counts(const listing *l, const process *p) {
    process parent = {.shown = {.pid = p->shown.parent}};
    const process *found = bsearch(&parent, l->all, l->count, sizeof *l->all, by_pid);
    return found && found->counts;
}

/* Parents mostly stand before their children. */
static void count_descendants(listing *l, pid_t holder) {
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < l->count; i++) {
            process *p = &l->all[i];
            if (p->counts || (p->shown.parent != holder && !parent_counts(l, p)))
                continue;
            p->counts = more = true;
        }
    }
}

static void list_tree(const brood__holder *h, listing *l) {
    if (h->cgroups < 0)
        read_all(l);
    else if (brood__cgroup_each(h->cgroups, h->cgroup_pid, h->cgroup_made_ns, add_listed, l) < 0)
        l->error = -EMFILE;
    if (l->count > 0)
        qsort(l->all, l->count, sizeof *l->all, by_pid);
    if (h->cgroups < 0)
        count_descendants(l, h->pid);
}

static void list_direct(const brood__direct *d, listing *l) {
    if (brood__cgroup_each_in(d->cell.dir.fd, d->cell.name, add_listed, l) < 0)
        l->error = -EMFILE;
    if (l->count > 0)
        qsort(l->all, l->count, sizeof *l->all, by_pid);
}

static void list_group(pid_t group, listing *l) {
    read_all(l);
    for (size_t i = 0; i < l->count; i++)
        l->all[i].counts = l->all[i].group == group;
}

static void list_process(pid_t pid, listing *l) {
    char path[32];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    add_counted(l, AT_FDCWD, path);
}

/* --- the answer --- */

/* Those that count; a cgroup may list one twice that moves within it. */
static int give(const listing *l, brood_member *ret_members, size_t room, size_t size) {
    size_t count = 0, known = size < sizeof *ret_members ? size : sizeof *ret_members;
    pid_t last = 0;
    for (size_t i = 0; i < l->count; i++) {
        const brood_member *m = &l->all[i].shown;
        if (!l->all[i].counts || m->pid == last)
            continue;
        last = m->pid;
        char *to = (char *)ret_members + count++ * size;
        if (count > room)
            continue;
        memset(to, 0, size);
        memcpy(to, m, known);
    }
    return (int)count;
}

int brood__owned_members(brood__owned *o, brood_member *ret_members, size_t room, size_t size) {
    listing l = {0};
    if (o->is_direct)
        list_direct(&o->direct, &l);
    else if (o->reach == BROOD_OWN_TREE && !brood__holder_is_done(&o->holder))
        list_tree(&o->holder, &l);
    else if (o->reach == BROOD_OWN_GROUP && brood__owned_signal_all(o, 0) != -ESRCH)
        list_group(o->process.pid, &l);
    else if (o->reach != BROOD_OWN_TREE && o->reach != BROOD_OWN_GROUP && !o->ended)
        list_process(o->process.pid, &l);
    int r = l.error < 0 ? l.error : give(&l, ret_members, room, size);
    brood__free(l.all);
    return r;
}
