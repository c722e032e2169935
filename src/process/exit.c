/*
 * The end of a process. The status is ours only until somebody in the host takes it (SIGCHLD ignored, a waitid(P_ALL)
 * somewhere): then the kernel may still tell by pidfd, and if not, the answer is "unknown", never 0.
 */
#include "process/exit.h"

#include "base/clock.h"
#include "base/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void decode(int status, brood_exit *e) {
    if (WIFEXITED(status)) {
        e->reason = BROOD_REASON_EXITED;
        e->code = WEXITSTATUS(status);
    } else {
        e->reason = BROOD_REASON_SIGNALED;
        e->signal = WTERMSIG(status);
        e->core_dumped = WCOREDUMP(status);
    }
}

static uint64_t microseconds(struct timeval t) {
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

brood_usage brood__usage_from(const struct rusage *r, uint64_t rss_floor_kb) {
    return (brood_usage){
        .user_us = microseconds(r->ru_utime),
        .system_us = microseconds(r->ru_stime),
        .max_rss_kb = (uint64_t)r->ru_maxrss,
        .max_rss_is_own = (uint64_t)r->ru_maxrss > rss_floor_kb,
        .minor_faults = (uint64_t)r->ru_minflt,
        .major_faults = (uint64_t)r->ru_majflt,
        .blocks_in = (uint64_t)r->ru_inblock,
        .blocks_out = (uint64_t)r->ru_oublock,
        .voluntary_switches = (uint64_t)r->ru_nvcsw,
        .involuntary_switches = (uint64_t)r->ru_nivcsw,
    };
}

brood_exit brood__exit_unknown(const brood__process *process) {
    return (brood_exit){.code = -1, .pid = process->pid, .run_us = brood__now_us() - process->started_us};
}

void brood__exit_from(const brood__process *process, int status, const struct rusage *usage, brood_exit *ret_exit) {
    *ret_exit = brood__exit_unknown(process);
    decode(status, ret_exit);
    ret_exit->usage = brood__usage_from(usage, process->rss_floor_kb);
}

bool brood__process_ended(const brood__process *process, bool reap, brood_exit *ret_exit, bool *ret_reaped) {
    struct rusage usage;
    int status = 0;
    int r = brood__wait(process->pidfd, reap, &status, &usage);
    if (r == 0)
        return false;
    if (r > 0) {
        brood__exit_from(process, status, &usage, ret_exit);
    } else {
        *ret_exit = brood__exit_unknown(process);
        if (brood__wait_stolen(process->pidfd, &status) == 0)
            decode(status, ret_exit);
    }
    *ret_reaped = reap || r < 0;
    return true;
}

/* --- what /proc shows of others --- */

static bool is_number(const char *name) {
    return *name >= '1' && *name <= '9';
}

/* Whether a process has a descriptor of this very pipe. */
static bool has_pipe(const char *pid, const char *link_text) {
    char path[300], text[64];
    snprintf(path, sizeof path, "/proc/%s/fd", pid);
    DIR *dir = opendir(path);
    if (!dir)
        return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(dir));) {
        ssize_t n = readlinkat(dirfd(dir), entry->d_name, text, sizeof text - 1);
        if (n <= 0)
            continue;
        text[n] = '\0';
        found = strcmp(text, link_text) == 0;
    }
    closedir(dir);
    return found;
}

/* "PID (name) state ppid pgrp …": the name may hold anything, so count from its last parenthesis. */
static bool lives_in_group(const char *pid, pid_t group) {
    char path[300], text[512];
    snprintf(path, sizeof path, "/proc/%s/stat", pid);
    int fd = brood__open(path, O_RDONLY);
    if (fd < 0)
        return false;
    ssize_t n = brood__read(fd, text, sizeof text - 1);
    brood__close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *after = strrchr(text, ')');
    char state;
    int of_group, threads;
    if (!after || sscanf(after + 1, " %c %*d %d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d", &state,
                         &of_group, &threads) != 3)
        return false;
    bool dead = (state == 'Z' && threads <= 1) || state == 'X'; /* a first thread may end before the others */
    return of_group == group && !dead;
}

bool brood__group_lives(pid_t group) {
    DIR *proc = opendir("/proc");
    if (!proc)
        return false;
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(proc));)
        found = is_number(entry->d_name) && lives_in_group(entry->d_name, group);
    closedir(proc);
    return found;
}

bool brood__pipe_is_held(int host_end) {
    struct pollfd end = {.fd = host_end};
    return poll(&end, 1, 0) == 0; /* else it is hung up */
}

pid_t brood__pipe_holder(int host_end) {
    struct stat s;
    if (fstat(host_end, &s) < 0)
        return 0;
    char link_text[64], self[32];
    snprintf(link_text, sizeof link_text, "pipe:[%llu]", (unsigned long long)s.st_ino);
    snprintf(self, sizeof self, "%d", (int)getpid());
    DIR *proc = opendir("/proc");
    if (!proc)
        return 0;
    pid_t holder = 0;
    for (struct dirent *entry; !holder && (entry = readdir(proc));)
        if (is_number(entry->d_name) && strcmp(entry->d_name, self) != 0 && has_pipe(entry->d_name, link_text))
            holder = (pid_t)strtol(entry->d_name, NULL, 10);
    closedir(proc);
    return holder;
}
