/*
 * System calls behind wrappers; see sys.h. What a kernel lacks is learnt from its answer to the first call that needs
 * it, and remembered for the process.
 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100 /* Linux 6.18 */
#endif
#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define PIDFD_SIGNAL_PROCESS_GROUP_FLAG (1U << 2) /* Linux 6.9 */

#define TRY(what, error)                                                                                               \
    do {                                                                                                               \
        int fault_ = brood__fault(what, error);                                                                        \
        if (fault_ < 0)                                                                                                \
            return fault_;                                                                                             \
    } while (0)

static atomic_bool lacking[BROOD__FEATURE_COUNT];

BROOD__RAW bool brood__has(brood__feature feature) {
    return !atomic_load_explicit(&lacking[feature], memory_order_relaxed) && !brood__feature_forced_off(feature);
}

BROOD__RAW void brood__lacks(brood__feature feature) {
    atomic_store_explicit(&lacking[feature], true, memory_order_relaxed);
}

void brood__close(int fd) {
    if (fd < 0)
        return;
    int kept = errno;
    close(fd); /* on Linux the descriptor is gone even after EINTR */
    errno = kept;
}

static int duplicate(int fd, int at_least) {
    TRY("fcntl", EMFILE);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, at_least);
    return copy < 0 ? -errno : copy;
}

int brood__duplicate(int fd) {
    return duplicate(fd, 3);
}

int brood__fd_lift(int fd, int at_least) {
    if (fd >= at_least)
        return fd;
    int lifted = duplicate(fd, at_least);
    brood__close(fd);
    return lifted;
}

int brood__fd_lift_if_any(int fd, int at_least) {
    int lifted = fd < at_least ? fcntl(fd, F_DUPFD_CLOEXEC, at_least) : -1;
    if (lifted >= 0)
        brood__close(fd);
    return lifted >= 0 ? lifted : fd;
}

static int lift_pair(int fds[2], int ret_fds[2]) {
    fds[0] = brood__fd_lift(fds[0], 3);
    fds[1] = brood__fd_lift(fds[1], 3);
    if (fds[0] < 0 || fds[1] < 0) {
        int r = fds[0] < 0 ? fds[0] : fds[1];
        brood__close(fds[0]);
        brood__close(fds[1]);
        return r;
    }
    ret_fds[0] = fds[0];
    ret_fds[1] = fds[1];
    return 0;
}

/* By a key, and not _Thread_local: what that takes of the dynamic linker would be one more library to need. */
static pthread_key_t own_thread;
static pthread_once_t own_thread_made = PTHREAD_ONCE_INIT;
static atomic_bool has_own_thread;

static void make_own_thread(void) {
    atomic_store(&has_own_thread, pthread_key_create(&own_thread, NULL) == 0);
}

void brood__thread_become_ours(brood__own_thread *thread) {
    pthread_once(&own_thread_made, make_own_thread);
    if (atomic_load(&has_own_thread))
        pthread_setspecific(own_thread, thread);
}

brood__own_thread *brood__thread_if_ours(void) {
    return atomic_load(&has_own_thread) ? pthread_getspecific(own_thread) : NULL;
}

int brood__pipe(int ret_fds[2]) {
    int fds[2];
    TRY("pipe2", EMFILE);
    return pipe2(fds, O_CLOEXEC) < 0 ? -errno : lift_pair(fds, ret_fds);
}

int brood__socket_pair(int ret_fds[2]) {
    int fds[2];
    TRY("socketpair", EMFILE);
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 ? -errno : lift_pair(fds, ret_fds);
}

int brood__open(const char *path, int flags) {
    TRY("open", EMFILE);
    int fd;
    do
        fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : brood__fd_lift(fd, 3);
}

int brood__open_at(int dir, const char *path, int flags) {
    TRY("openat", EMFILE);
    int fd = openat(dir, path, flags | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : brood__fd_lift(fd, 3);
}

ssize_t brood__read_at(int dir, const char *path, char *ret_text, size_t size) {
    int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : brood__read(fd, ret_text, size - 1);
    brood__close(fd);
    ret_text[n > 0 ? n : 0] = '\0';
    return n;
}

int brood__write_at(int dir, const char *path, const char *text) {
    int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -errno : brood__write(fd, text, strlen(text));
    brood__close(fd);
    return n < 0 ? (int)n : 0;
}

int brood__eventfd(void) {
    TRY("eventfd", EMFILE);
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return fd < 0 ? -errno : brood__fd_lift(fd, 3);
}

int brood__memfd(size_t size) {
    struct rlimit largest_file;
    TRY("memfd_create", EMFILE);
    if (!brood__has(BROOD__MEMFD))
        return -ENOSYS;
    if (getrlimit(RLIMIT_FSIZE, &largest_file) == 0 && size > largest_file.rlim_cur)
        return -EFBIG; /* the kernel would raise SIGXFSZ */
    int fd = memfd_create("brood", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 && (errno == ENOSYS || errno == EPERM))
        brood__lacks(BROOD__MEMFD);
    if (fd >= 0 && ftruncate(fd, (off_t)size) < 0) {
        int r = -errno;
        brood__close(fd);
        return r;
    }
    return fd < 0 ? -errno : brood__fd_lift(fd, 3);
}

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* Linux 6.3: said, or a host may have it that memory files are not to be run */
#endif
#define PROGRAM_FLAGS (MFD_CLOEXEC | MFD_ALLOW_SEALING)
#define NO_CHANGE (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

int brood__program_in_memory(const char *name, const void *bytes, size_t len) {
    TRY("memfd_create", EMFILE);
    int fd = memfd_create(name, PROGRAM_FLAGS | MFD_EXEC);
    if (fd < 0 && errno == EINVAL)
        fd = memfd_create(name, PROGRAM_FLAGS);
    if (fd < 0)
        return -errno;
    fd = brood__fd_lift(fd, 10); /* not where a start puts its slots */
    if (fd < 0)
        return fd;
    ssize_t n = brood__write(fd, bytes, len);
    if (n == (ssize_t)len && fcntl(fd, F_ADD_SEALS, NO_CHANGE) == 0)
        return fd;
    int r = n < 0 ? (int)n : n == (ssize_t)len ? -errno : -EIO;
    brood__close(fd);
    return r;
}

int brood__epoll(void) {
    TRY("epoll_create1", EMFILE);
    int fd = epoll_create1(EPOLL_CLOEXEC);
    return fd < 0 ? -errno : brood__fd_lift(fd, 3);
}

int brood__epoll_add(int epoll, int fd, uint32_t events, void *data) {
    TRY("epoll_ctl", ENOMEM);
    struct epoll_event event = {.events = events, .data.ptr = data};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int brood__nonblock(int fd) {
    TRY("fcntl", EBADF);
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

bool brood__fd_is_open(int fd) {
    return fcntl(fd, F_GETFD) >= 0;
}

ssize_t brood__read(int fd, void *buffer, size_t size) {
    TRY("read", EIO);
    ssize_t n;
    do
        n = read(fd, buffer, size);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/*
 * A write that would raise SIGPIPE does so in this thread, at once. So block it here, write, and if the write failed
 * for want of a reader, consume what it raised; a SIGPIPE that was pending before was somebody else's and stays.
 */
static ssize_t write_blocking_sigpipe(int fd, const void *bytes, size_t len) {
    sigset_t pipe_set, before, pending;
    sigemptyset(&pipe_set);
    sigaddset(&pipe_set, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_set, &before);
    ssize_t n = write(fd, bytes, len);
    int error = errno;
    if (n < 0 && error == EPIPE && !was_pending) {
        while (sigtimedwait(&pipe_set, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
            ;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = error;
    return n;
}

static ssize_t write_once(int fd, const void *bytes, size_t len) {
    if (brood__has(BROOD__NOSIGNAL)) {
        struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
        ssize_t n = pwritev2(fd, &part, 1, -1, RWF_NOSIGNAL);
        if (n >= 0 || (errno != EOPNOTSUPP && errno != ENOSYS && errno != EINVAL))
            return n;
        brood__lacks(BROOD__NOSIGNAL);
    }
    return write_blocking_sigpipe(fd, bytes, len);
}

ssize_t brood__write(int fd, const void *bytes, size_t len) {
    TRY("write", EIO);
    ssize_t n;
    do
        n = write_once(fd, bytes, len);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t brood__receive(int fd, void *buffer, size_t size) {
    TRY("recv", EIO);
    ssize_t n;
    do
        n = recv(fd, buffer, size, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

ssize_t brood__send(int fd, const void *bytes, size_t len) {
    TRY("send", EPIPE);
    ssize_t n;
    do
        n = send(fd, bytes, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* Those of one control message: lifted above 2, or all closed and lost. */
static void take_fds(const struct msghdr *message, brood__fds *ret) {
    ret->lost = message->msg_flags & MSG_CTRUNC;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR((struct msghdr *)message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        ret->count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(ret->fds, CMSG_DATA(c), ret->count * sizeof(int));
    }
    for (size_t i = 0; i < ret->count; i++) {
        ret->fds[i] = brood__fd_lift(ret->fds[i], 3);
        ret->lost = ret->lost || ret->fds[i] < 0;
    }
    while (ret->lost && ret->count > 0)
        brood__close(ret->fds[--ret->count]);
}

ssize_t brood__receive_fds(int fd, void *buffer, size_t size, brood__fds *ret_fds) {
    ret_fds->count = 0;
    ret_fds->lost = false;
    TRY("recvmsg", EIO);
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(BROOD__MAX_FDS * sizeof(int))];
    } control;
    struct iovec bytes = {.iov_base = buffer, .iov_len = size};
    struct msghdr message = {.msg_iov = &bytes, .msg_iovlen = 1};
    ssize_t n;
    do {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if (message.msg_controllen > 0 || message.msg_flags & MSG_CTRUNC)
        take_fds(&message, ret_fds);
    return n;
}

ssize_t brood__send_fds(int fd, const void *bytes, size_t len, const int *fds, size_t count) {
    TRY("sendmsg", ETOOMANYREFS);
    union {
        struct cmsghdr aligned;
        char bytes[CMSG_SPACE(BROOD__MAX_FDS * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
    memset(&control, 0, message.msg_controllen);
    control.aligned.cmsg_level = SOL_SOCKET;
    control.aligned.cmsg_type = SCM_RIGHTS;
    control.aligned.cmsg_len = CMSG_LEN(count * sizeof *fds);
    memcpy(CMSG_DATA(&control.aligned), fds, count * sizeof *fds);
    ssize_t n;
    do
        n = sendmsg(fd, &message, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int brood__pidfd_open(pid_t pid) {
    int r = brood__fault("pidfd_open", EMFILE);
    if (r < 0)
        return r;
    r = (int)syscall(SYS_pidfd_open, pid, 0);
    return r < 0 ? -errno : r;
}

pid_t brood__pidfd_pid(int pidfd) {
    char path[48], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *line = strstr(text, "\nPid:");
    return line ? (pid_t)strtol(line + 5, NULL, 10) : 0;
}

int brood__pidfd_signal(int pidfd, int signal) {
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int brood__pidfd_signal_group(int pidfd, int signal) {
    if (!brood__has(BROOD__PIDFD_GROUP))
        return -EINVAL;
    if (syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, PIDFD_SIGNAL_PROCESS_GROUP_FLAG) == 0)
        return 0;
    return -errno;
}

int brood__wait(int pidfd, bool reap, int *ret_status, struct rusage *ret_usage) {
    siginfo_t info = {0};
    int options = WEXITED | WNOHANG | (reap ? 0 : WNOWAIT);
    while (syscall(SYS_waitid, P_PIDFD, pidfd, &info, options, ret_usage) < 0)
        if (errno != EINTR)
            return errno == EAGAIN ? 0 : -errno;
    if (info.si_pid == 0 || info.si_code == CLD_TRAPPED) /* it has stopped, for a tracer that we are not */
        return 0;
    if (info.si_code == CLD_EXITED)
        *ret_status = W_EXITCODE(info.si_status, 0);
    else
        *ret_status = W_EXITCODE(0, info.si_status) | (info.si_code == CLD_DUMPED ? WCOREFLAG : 0);
    return 1;
}

void brood__reap(int pidfd) {
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    struct rusage usage;
    int status;
    while (poll(&ended, 1, -1) < 0 && errno == EINTR)
        ;
    brood__wait(pidfd, true, &status, &usage);
}

/* As much of the kernel's struct pidfd_info as Linux 6.15 defined; its size is part of the ioctl's number. */
struct pidfd_info_v0 {
    uint64_t mask, cgroup_id;
    uint32_t pid, tgid, ppid, ids[8];
    int32_t exit_code;
};
#define PIDFD_GET_INFO_V0 _IOWR(0xFF, 11, struct pidfd_info_v0)
#define PIDFD_INFO_EXIT_BIT (1U << 3)

int brood__wait_stolen(int pidfd, int *ret_status) {
    if (!brood__has(BROOD__PIDFD_INFO))
        return -ENODATA;
    for (int tries = 0; tries < 2; tries++) {
        struct pidfd_info_v0 info = {.mask = PIDFD_INFO_EXIT_BIT};
        if (ioctl(pidfd, PIDFD_GET_INFO_V0, &info) == 0 && (info.mask & PIDFD_INFO_EXIT_BIT)) {
            *ret_status = info.exit_code;
            return 0;
        }
        /*
         * The kernel tells of the end before the one who takes the status is done with it: POLLHUP is the end of that.
         */
        struct pollfd reaped = {.fd = pidfd};
        if (poll(&reaped, 1, 100) <= 0)
            break;
    }
    return -ENODATA;
}
