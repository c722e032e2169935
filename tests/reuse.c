/*
 * Numbers that come again: a process of a tree ends, and another that is not of it gets its number. No signal to the tree
 * may reach that. A PID namespace of the test's own makes it happen at will: by ns_last_pid for one number, by a small
 * pid_max (Linux 6.14 has one for each namespace) for all of them, all the time.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "base/fault.h"

enum { NO_NAMESPACE = 77, FOREIGN_HIT = 3, TRIES = 50, FORKERS = 2, RUNS = 4, SIGNALS = 1000, FEW = 100 };

static bool write_number(const char *path, long number) {
    char text[32];
    int fd = open(path, O_WRONLY | O_CLOEXEC), len = snprintf(text, sizeof text, "%ld", number);
    bool ok = fd >= 0 && write(fd, text, (size_t)len) == len;
    if (fd >= 0)
        close(fd);
    return ok;
}

static int wait_for(pid_t pid) {
    int status = 0;
    ENSURE(pid > 0 && waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* What the body says, as the first process of a new PID namespace with a /proc of that; all others end with it. */
static int run_in_namespace(int (*body)(void)) {
    pid_t outer = fork();
    if (outer == 0) {
        if (unshare(CLONE_NEWPID | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
            _exit(NO_NAMESPACE);
        pid_t first = fork();
        if (first == 0) {
            alarm(40);
            _exit(mount("proc", "/proc", "proc", 0, NULL) < 0 ? NO_NAMESPACE : body());
        }
        _exit(wait_for(first));
    }
    return wait_for(outer);
}

/* --- one number, at will --- */

/* A process of ours with this very number, which is free; 0: it could not be had. A sanitizer's fork makes a thread in
 * the child, which would take a number at any time: not through libc, therefore. */
static pid_t take_number(pid_t number) {
    for (int tries = 0; tries < TRIES; tries++) {
        if (!write_number("/proc/sys/kernel/ns_last_pid", number - 1))
            return 0;
        pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (pid == 0)
            for (;;)
                pause();
        if (pid == number)
            return pid;
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return 0;
}

static bool is_untouched(pid_t pid) {
    int status;
    return waitpid(pid, &status, WNOHANG | WUNTRACED | WCONTINUED) == 0;
}

static void see_line(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream;
    gathered *seen = data;
    for (size_t i = 0; i < len && seen->len + 1 < seen->room; i++)
        seen->bytes[seen->len++] = bytes[i];
}

/* The program, with "orphan NUMBER ready", has ended: its number and the orphan's come again as others'. */
static int signal_after_reuse(void) {
    char text[256] = "";
    gathered seen = {.bytes = text, .room = sizeof text};
    uv_loop_t loop;
    brood_child *child;
    uv_loop_init(&loop);
    brood_options options = {.args = BROOD_ARGS(CHILD, "orphan", "forever", "orphan", "forever", "ready", "exit", "0"),
                             .own = BROOD_OWN_TREE,
                             .out = {.on_data = see_line, .data = &seen},
                             .close_grace_ms = 20};
    if (brood_spawn(&loop, &options, &child, NULL) < 0)
        return 1;
    pid_t program = brood_child_pid(child);
    while (!brood_child_exit(child) || !strstr(text, "ready"))
        uv_run(&loop, UV_RUN_ONCE);
    pid_t gone = atoi(text), stays = atoi(strchr(text, '\n') + 1);
    kill(gone, SIGKILL);
    while (test_process_state(gone) != 0 || test_process_state(program) != 0)
        test_nap(); /* until the holder has waited for it */
    pid_t one = take_number(program), other = take_number(gone);
    if (!one || !other)
        return NO_NAMESPACE;
    brood_member left;
    if (brood_child_members(child, &left, 1) != 1 || left.pid != stays)
        return 4;
    if (brood_child_kill(child, SIGKILL) != -ESRCH)
        return 5;
    int frozen = brood_child_freeze(child), signalled = brood_child_kill_owned(child, SIGUSR1);
    brood_child_close(child);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {}
    if (signalled < 0 || frozen < 0 || !test_process_gone(stays))
        return 6;
    return is_untouched(one) && is_untouched(other) ? 0 : FOREIGN_HIT;
}

static void both_ways(int (*body)(void)) {
    int with = run_in_namespace(body);
    if (with == NO_NAMESPACE)
        SKIP("no PID namespace in which numbers can be chosen");
    CHECK_EQ(with, 0);
    brood__probe_force("cgroup", true);
    CHECK_EQ(run_in_namespace(body), 0);
    brood__probe_force("cgroup", false);
}

TEST(reuse_of_a_number_spares_the_other) {
    if (test_is_emulated())
        SKIP("valgrind knows no pidfd_open(2)");
    both_ways(signal_after_reuse);
}

/* --- all of them, all the time --- */

typedef struct foreign {
    volatile bool over;
    volatile long made, hit;
} foreign;

/* Makes processes that end at once, and must end by themselves. */
static void make_foreign(foreign *f) {
    while (!f->over) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
            _exit(0);
        }
        if (pid < 0 || waitpid(pid, &status, WUNTRACED) != pid)
            continue;
        __atomic_add_fetch(&f->made, 1, __ATOMIC_RELAXED);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            continue;
        __atomic_add_fetch(&f->hit, 1, __ATOMIC_RELAXED);
        kill(pid, SIGKILL); /* it was stopped */
    }
    _exit(0);
}

/* One tree, which is signalled as often as its holder can, and then ended. */
static bool signal_often(void) {
    uv_loop_t loop;
    brood_child *child;
    uv_loop_init(&loop);
    brood_options options = {.args = BROOD_ARGS(CHILD, "ignore", "TERM", "churn", "6"),
                             .own = BROOD_OWN_TREE,
                             .in = {.kind = BROOD_STDIO_IGNORE},
                             .kill_grace_ms = 1};
    int r = brood_spawn(&loop, &options, &child, NULL);
    for (int i = 0; i < SIGNALS && r == 0; i++) {
        if (brood_child_kill_owned(child, SIGTERM) == -EAGAIN)
            test_nap();
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    if (r == 0)
        brood_child_close(child);
    while (uv_run(&loop, UV_RUN_DEFAULT) != 0) {}
    return uv_loop_close(&loop) == 0 && (r == 0 || r == -EAGAIN); /* that: no number was free */
}

/* Before Linux 6.14 there is one pid_max for all namespaces, and it is not ours to change. */
static bool has_own_pid_max(void) {
    struct utsname kernel;
    int major = 0, minor = 0;
    return uname(&kernel) == 0 && sscanf(kernel.release, "%d.%d", &major, &minor) == 2 &&
           (major > 6 || (major == 6 && minor >= 14));
}

static int signal_while_numbers_come_again(void) {
    foreign *f = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t forkers[FORKERS];
    if (f == MAP_FAILED || !write_number("/proc/sys/kernel/pid_max", 400))
        return NO_NAMESPACE;
    for (int i = 0; i < FORKERS; i++)
        if ((forkers[i] = fork()) == 0)
            make_foreign(f);
    bool ended = true;
    for (int i = 0; i < RUNS || f->made < FEW; i++) /* the alarm ends it, should none ever be made */
        ended = signal_often() && ended;
    f->over = true;
    for (int i = 0; i < FORKERS; i++)
        waitpid(forkers[i], NULL, 0);
    if (f->hit > 0)
        fprintf(stderr, "%ld of %ld foreign processes were hit\n", f->hit, f->made);
    return !ended ? 1 : f->hit > 0 ? FOREIGN_HIT : 0;
}

TEST(reuse_of_all_numbers_spares_the_others) {
    if (test_is_emulated())
        SKIP("valgrind knows no pidfd_open(2)");
    if (!has_own_pid_max())
        SKIP("no pid_max of a namespace's own");
    both_ways(signal_while_numbers_come_again);
}

static int is_refused_for_proc(void) {
    brood_result r;
    brood_options options = {.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE};
    int e = brood_exec_file_sync(&options, &r);
    return e != -ESRCH || r.failure.step != BROOD_STEP_HOLDER || !strstr(r.failure.message, "/proc");
}

/* A host whose children are of another PID namespace than itself: numbers would mean others there. */
TEST(reuse_of_numbers_by_another_namespace_is_refused) {
    if (test_is_emulated())
        SKIP("valgrind knows no pidfd_open(2)");
    pid_t pid = fork();
    if (pid == 0)
        _exit(unshare(CLONE_NEWPID) < 0 ? NO_NAMESPACE : is_refused_for_proc());
    int verdict = wait_for(pid);
    if (verdict == NO_NAMESPACE)
        SKIP("no PID namespace here");
    CHECK_EQ(verdict, 0);
}

/* One that is in that namespace itself, and has started something before. */
static int be_host_elsewhere(void) {
    brood_result r;
    brood__probe_force("cgroup", true);
    if (brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_CHILD}, &r) < 0)
        return 3;
    brood_result_done(&r);
    return is_refused_for_proc();
}

TEST(reuse_of_numbers_by_a_proc_of_another_namespace_is_refused) {
    if (test_is_emulated())
        SKIP("valgrind knows no pidfd_open(2)");
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWPID) < 0)
            _exit(NO_NAMESPACE);
        pid_t first = fork();
        if (first == 0) {
            pid_t second = fork(); /* the first of all has children of many kinds */
            _exit(second == 0 ? be_host_elsewhere() : wait_for(second));
        }
        _exit(wait_for(first));
    }
    int verdict = wait_for(pid);
    if (verdict == NO_NAMESPACE)
        SKIP("no PID namespace here");
    CHECK_EQ(verdict, 0);
}
