/*
 * brood-profile PROFILE -- COMMAND…: make this process a host of another kind, and run the command there.
 *
 *   user       an ordinary user, in no group but its own
 *   container  no clone3 and no close_range, no cgroups, in a PID namespace whose init reaps nobody but the command
 *   init       as the init of a PID namespace, with a /proc of it
 *   files      1,024 descriptors
 *   noptrace   ptrace and its like are denied
 *
 * Exits as the command does, 128 + n for a signal; with 77 where this machine does not let itself be changed, 2 for a
 * usage error, 125 for anything unexpected.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCH AUDIT_ARCH_AARCH64
#else
#error "add this machine's AUDIT_ARCH_"
#endif

#define NOBODY 65534
#define SKIP 77
#define BROKEN 125
#define LENGTH(array) (sizeof(array) / sizeof *(array))

static _Noreturn void leave(int status, const char *what) {
    fprintf(stderr, "brood-profile: %s: %s\n", what, strerror(errno));
    exit(status);
}

/* From now on, here and in all that is started from here, each of these calls fails with `error`. */
static void deny(const int *calls, size_t count, int error) {
    struct sock_filter filter[64];
    size_t n = 0;
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCH, 1, 0);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < count; i++) {
        filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[i], 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    /* Without no_new_privs if we may: the tests look at that flag, and a container has it off. */
    struct sock_fprog program = {.len = (unsigned short)n, .filter = filter};
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == 0)
        return;
    if (errno != EACCES || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) != 0)
        leave(SKIP, "seccomp");
}

static void become_nobody(void) {
    if (geteuid() != 0) {
        fprintf(stderr, "brood-profile: user: we are an ordinary user already\n");
        exit(SKIP);
    }
    if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0)
        leave(SKIP, "become nobody");

    /* root's PATH may lead through directories that others may not enter: those answer EACCES, not ENOENT */
    setenv("PATH", "/usr/local/bin:/usr/bin:/bin", 1);
    setenv("HOME", "/nonexistent", 1);
    setenv("USER", "nobody", 1);
    setenv("LOGNAME", "nobody", 1);
}

static void write_file(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        leave(SKIP, path);
    close(fd);
}

/* A user namespace in which we stay who we are, to be let into the other namespaces. */
static void enter_user_namespace(void) {
    char map[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(CLONE_NEWUSER) != 0)
        leave(SKIP, "unshare the user namespace");
    write_file("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1", gid, gid);
    write_file("/proc/self/gid_map", map);
    snprintf(map, sizeof map, "%u %u 1", uid, uid);
    write_file("/proc/self/uid_map", map);
}

static int exit_status(int status) {
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int wait_for(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            leave(BROKEN, "waitpid");
    return exit_status(status);
}

/* Returns in the init of a namespace, whose end takes all of it along. The process that was started stays behind. */
static void become_init(void) {
    if (geteuid() != 0)
        enter_user_namespace();
    if (unshare(CLONE_NEWPID | CLONE_NEWNS) != 0)
        leave(SKIP, "unshare");
    pid_t init = fork();
    if (init < 0)
        leave(BROKEN, "fork");
    if (init > 0)
        exit(wait_for(init));

    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
        leave(BROKEN, "prctl");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("proc", "/proc", "proc", 0, NULL) != 0)
        leave(SKIP, "mount /proc");
}

/* Returns in the process that is to become the command: the init stays behind, too. */
static void enter_container(void) {
    become_init();
    if (access("/sys/fs/cgroup", F_OK) == 0 && mount("none", "/sys/fs/cgroup", "tmpfs", MS_RDONLY, NULL) != 0)
        leave(SKIP, "hide /sys/fs/cgroup");
    pid_t command = fork();
    if (command < 0)
        leave(BROKEN, "fork");
    if (command > 0)
        exit(wait_for(command));
    deny((const int[]){SYS_clone3, SYS_close_range}, 2, ENOSYS);
}

static void take_descriptors(void) {
    if (setrlimit(RLIMIT_NOFILE, &(struct rlimit){1024, 1024}) != 0)
        leave(SKIP, "setrlimit");
}

static void take_ptrace(void) {
    deny((const int[]){SYS_ptrace, SYS_pidfd_getfd, SYS_process_vm_readv, SYS_process_vm_writev}, 4, EPERM);
}

static const struct {
    const char *name;
    void (*enter)(void);
} profiles[] = {
    {"user", become_nobody},     {"container", enter_container}, {"init", become_init},
    {"files", take_descriptors}, {"noptrace", take_ptrace},
};

int main(int argc, char **argv) {
    if (argc >= 4 && strcmp(argv[2], "--") == 0) {
        for (size_t i = 0; i < LENGTH(profiles); i++) {
            if (strcmp(argv[1], profiles[i].name) != 0)
                continue;
            profiles[i].enter();
            execvp(argv[3], argv + 3);
            leave(BROKEN, argv[3]);
        }
    }
    fprintf(stderr, "usage: brood-profile user|container|init|files|noptrace -- COMMAND…\n");
    return 2;
}
