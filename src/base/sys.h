/*
 * The system calls that can fail, one wrapper each: a negative errno, close-on-exec from birth, never one of the
 * numbers 0 to 2 (a host may have closed those), a fallback where an older kernel lacks the call, and the place where
 * a test makes it fail. What the code between clone and exec does is in process/child.c.
 */
#ifndef BROOD_BASE_SYS_H
#define BROOD_BASE_SYS_H

#include "base/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

/* An errno that means want of descriptors or memory, and not that there is no such thing. */
static inline bool brood__is_shortage(int error) {
    return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

/* Whether the host has a feature; asked once, and then remembered, unless a test takes it away. */
bool brood__has(brood__feature feature);
/* Remember that it has not. */
void brood__lacks(brood__feature feature);

/* What has been learnt of a thread of brood's own: its namespaces stay what they are. */
typedef struct brood__own_thread {
    bool children_are_here; /* in its own PID namespace */
    ino_t cgroup_namespace; /* 0: not known */
} brood__own_thread;

/* The calling thread is one, as long as it lives; and what is known of the calling thread, NULL: it is somebody else's. */
void brood__thread_become_ours(brood__own_thread *thread);
brood__own_thread *brood__thread_if_ours(void);

/* ret_fds: [0] to read, [1] to write; both blocking. */
int brood__pipe(int ret_fds[2]);
/* A pair of connected UNIX stream sockets; both blocking. */
int brood__socket_pair(int ret_fds[2]);
/* The descriptor, or a negative errno. */
int brood__open(const char *path, int flags);
/* The same below a directory, where the last part must be no link. */
int brood__open_at(int dir, const char *path, int flags);
/* A small file of a directory, as /proc and cgroups have them, and a NUL behind it: its length, or a negative errno. */
ssize_t brood__read_at(int dir, const char *path, char *ret_text, size_t size);
/* 0, or a negative errno. */
int brood__write_at(int dir, const char *path, const char *text);
int brood__eventfd(void);
/* So long, and nobody's yet; it can be sealed. */
int brood__memfd(size_t size);
/* A copy of a program, to be run by execveat(2); nobody can change it. */
int brood__program_in_memory(const char *name, const void *bytes, size_t len);
int brood__epoll(void);
int brood__epoll_add(int epoll, int fd, uint32_t events, void *data);
/* Move a descriptor to `at_least` or above; takes it: on error it is closed. */
int brood__fd_lift(int fd, int at_least);
/* Where that would be good, but can be done without: on error it stays where it is. */
int brood__fd_lift_if_any(int fd, int at_least);
/* Only on descriptors that brood made: the flag belongs to the open file, which others may share. */
int brood__nonblock(int fd);
bool brood__fd_is_open(int fd);
/* Harmless on -1; keeps errno. */
void brood__close(int fd);

/* Bytes read, 0 at the end, -EAGAIN, or another errno. Goes on after EINTR. */
ssize_t brood__read(int fd, void *buffer, size_t size);
/* Bytes written or a negative errno. Never raises SIGPIPE. */
ssize_t brood__write(int fd, const void *bytes, size_t len);

/* The same for sockets. */
ssize_t brood__receive(int fd, void *buffer, size_t size);
ssize_t brood__send(int fd, const void *bytes, size_t len);

#define BROOD__MAX_FDS 253 /* what the kernel takes at once: SCM_MAX_FD */

/* Descriptors that came with bytes. */
typedef struct brood__fds {
    size_t count;
    bool lost; /* there was no room for all of them: none is here */
    int fds[BROOD__MAX_FDS];
} brood__fds;

/* The same of UNIX sockets, and the descriptors that come or go with the first of those bytes. */
ssize_t brood__receive_fds(int fd, void *buffer, size_t size, brood__fds *ret_fds);
ssize_t brood__send_fds(int fd, const void *bytes, size_t len, const int *fds, size_t count);
/* A descriptor of our own for the same open file. */
int brood__duplicate(int fd);

int brood__pidfd_open(pid_t pid);
/* Its number in this PID namespace; 0: it has none, or nobody knows. */
pid_t brood__pidfd_pid(int pidfd);
/* Signal the process, or 0 to ask. */
int brood__pidfd_signal(int pidfd, int signal);
/* Signal its whole process group, also when it is reaped; -EINVAL where the kernel cannot. */
int brood__pidfd_signal_group(int pidfd, int signal);
/*
 * Ask how a child ended. 1: `ret_status` is its wait status, 0: it has not ended, -ECHILD: it has, and somebody else
 * took the status. `reap` leaves no zombie.
 */
int brood__wait(int pidfd, bool reap, int *ret_status, struct rusage *ret_usage);
/* Wait for the end of a child that cannot be long in coming, whoever takes its status, and leave no zombie. */
void brood__reap(int pidfd);
/* The wait status of a process that somebody else has reaped; -ENODATA where the kernel does not tell. */
int brood__wait_stolen(int pidfd, int *ret_status);

#endif
