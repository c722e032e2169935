/*
 * Reaps orphans. What is hard is to take nobody's status but theirs: the library waits for the command by its pidfd, and
 * a wait for any child would steal its exit status. So this looks without taking, and takes by number what is neither
 * the command nor the holder of its tree; before those are known, it takes nothing. An orphan's number is safe: it is our
 * child, and nobody else waits for it.
 */
#include "reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <brood.h>

#include "cli.h"

int reaper_open(void) {
    if (getpid() == 1) /* orphans are its own anyway, and a subreaper it need not be */
        return 0;
    return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 ? -errno : 0;
}

static ssize_t read_of_process(pid_t pid, const char *file, char *ret_text, size_t size) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret_text, size - 1);
    if (fd >= 0)
        close(fd);
    ret_text[n > 0 ? n : 0] = 0;
    return n;
}

/* 0: not known. The name before it may hold anything, so count from its last parenthesis. */
static pid_t parent_of(pid_t pid) {
    char text[512];
    int parent = 0;
    read_of_process(pid, "stat", text, sizeof text);
    const char *name_end = strrchr(text, ')');
    return name_end && sscanf(name_end + 1, " %*c %d", &parent) == 1 ? parent : 0;
}

void reaper_command_started(reaper *r, pid_t command, bool tree) {
    r->command = command;
    r->holder = tree ? parent_of(command) : 0;
    r->ready = !tree || r->holder > 0; /* if not, it has ended already, and so will we */
}

/* "sleep", which a zombie still has; "?" without a /proc. */
static const char *name_of(pid_t pid, char *ret_name, size_t size) {
    if (read_of_process(pid, "comm", ret_name, size) <= 0)
        snprintf(ret_name, size, "?");
    ret_name[strcspn(ret_name, "\n")] = 0;
    return ret_name;
}

static void tell(const siginfo_t *ended) {
    char name[64];
    name_of(ended->si_pid, name, sizeof name);
    if (ended->si_code == CLD_EXITED)
        cli_remark("run", "reaped the orphan %s (pid %ld), which had exited with %d", name, (long)ended->si_pid,
                   ended->si_status);
    else
        cli_remark("run", "reaped the orphan %s (pid %ld), which %s had ended", name, (long)ended->si_pid,
                   brood_signal_name(ended->si_status));
}

/* Whoever ended first is shown first; the command's own end hides those of others, but it is ours as well. */
void reaper_look(const reaper *r) {
    for (;;) {
        siginfo_t ended = {0};
        if (!r->ready || waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0 || ended.si_pid == 0)
            return;
        if (ended.si_pid == r->command || ended.si_pid == r->holder)
            return;
        if (r->tells)
            tell(&ended);
        siginfo_t taken;
        if (waitid(P_PID, (id_t)ended.si_pid, &taken, WEXITED | WNOHANG) < 0)
            return;
    }
}
