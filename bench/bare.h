/**
 * @file bare.h
 * Starting a program with nothing around it: the system calls that brood makes, in their order, and no more. What the
 * bench programs call the limit. It owns no memory but the stack it is given.
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include "bench.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { BARE_STACK_SIZE = 64 << 10, BARE_PATH_SIZE = 4096 };

/** What to start, and where its slots 0, 1 and 2 lead. */
typedef struct bare_program {
    char *const *args;
    int fds[3];
    volatile int error; /* written by the child: the two share their memory until the program runs */
} bare_program;

/** A child: its pidfd, and nothing else is needed. */
typedef struct bare_child {
    pid_t pid;
    int pidfd;
} bare_child;

extern char **environ;

/** execvp(3) without its allocations: the first in PATH that does not say ENOENT. */
static inline void bare_exec(char *const *args) {
    const char *path = getenv("PATH");
    if (strchr(args[0], '/') || !path) {
        syscall(SYS_execve, args[0], args, environ);
        return;
    }
    size_t name_len = strlen(args[0]);
    while (*path) {
        char file[BARE_PATH_SIZE];
        size_t len = strcspn(path, ":");
        if (len + name_len + 2 <= sizeof file) {
            memcpy(file, path, len);
            file[len] = '/';
            memcpy(file + len + 1, args[0], name_len + 1);
            syscall(SYS_execve, file, args, environ);
            if (errno != ENOENT && errno != ENOTDIR && errno != EACCES)
                return;
        }
        path += len + (path[len] == ':');
    }
}

/** In the child: group, slots, everything else closed, every signal at its default, none blocked, exec. */
static int bare_child_main(void *arg) {
    bare_program *program = arg;
    struct {
        void *handler;
        unsigned long flags;
        void *restorer;
        unsigned long mask;
    } as_default = {0};
    unsigned long none = 0;

    syscall(SYS_setpgid, 0, 0);
    for (int slot = 0; slot < 3; slot++)
        if (program->fds[slot] == slot)
            syscall(SYS_fcntl, slot, F_SETFD, 0);
        else
            syscall(SYS_dup3, program->fds[slot], slot, 0);
    syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC);
    for (int signal = 1; signal <= 64; signal++)
        if (signal != SIGKILL && signal != SIGSTOP)
            syscall(SYS_rt_sigaction, signal, &as_default, NULL, sizeof none);
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof none);
    bare_exec(program->args);
    program->error = errno;
    syscall(SYS_exit, 127);
    return 127;
}

/**
 * Start `program` on `stack`. All its slots must be open. `more_flags` is CLONE_VFORK, or 0: then nobody waits until it runs,
 * and both must stay until it has ended.
 */
static inline void bare_clone(bare_program *program, char *stack, int more_flags, bare_child *ret_child) {
    sigset_t all, before;
    int pidfd = -1;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    program->error = 0;
    pid_t pid =
        clone(bare_child_main, stack + BARE_STACK_SIZE, CLONE_VM | CLONE_PIDFD | SIGCHLD | more_flags, program, &pidfd);
    int error = pid < 0 ? errno : program->error;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error)
        bench_fail(program->args[0], strerror(error));
    *ret_child = (bare_child){.pid = pid, .pidfd = pidfd};
}

/** The same, and wait until it runs. */
static inline void bare_start(bare_program *program, char *stack, bare_child *ret_child) {
    bare_clone(program, stack, CLONE_VFORK, ret_child);
}

/** Reap it: its pidfd has become readable, or it is waited for. */
static inline void bare_reap(bare_child *child) {
    siginfo_t info;
    while (waitid(P_PIDFD, (id_t)child->pidfd, &info, WEXITED) < 0 && errno == EINTR) {}
    close(child->pidfd);
    child->pidfd = -1;
}

static inline char *bare_stack_new(void) {
    char *stack = mmap(NULL, BARE_STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED)
        bench_fail("stack", strerror(errno));
    return stack;
}

#endif
