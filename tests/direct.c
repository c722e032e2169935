/*
 * Trees that the host starts by itself into a cgroup, and the guard that ends them when the host has gone. What trees do
 * whichever way they are started is in tree.c, and so are hosts that go.
 */
#include "harness/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "own/guard.h"

#define TREE .own = BROOD_OWN_TREE, .out = WATCHED

static pid_t pid_at(const watch *w, int n) {
    const char *line = w->out.bytes;
    for (; n > 0 && line; n--)
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
    return line ? atoi(line) : 0;
}

/* Of the cgroup that a process is in; "": it has ended, or is in none. */
static const char *path_of(pid_t pid) {
    return test_cgroup_named(test_read_file(test_format("/proc/%d/cgroup", (int)pid)));
}

/* 0: it has none. */
static pid_t guard_of(pid_t host) {
    DIR *proc = opendir("/proc");
    pid_t found = 0;
    for (struct dirent *entry; proc && !found && (entry = readdir(proc));) {
        char path[300], args[64] = "";
        snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        pid_t pid = fd >= 0 && read(fd, args, sizeof args - 1) > 0 ? atoi(entry->d_name) : 0;
        if (fd >= 0)
            close(fd);
        if (strcmp(args, "brood-guard") == 0 && atoi(args + sizeof "brood-guard") == host && !test_process_gone(pid))
            found = pid;
    }
    if (proc)
        closedir(proc);
    return found;
}

/* What a tree's program writes; "": it could not be started. */
static const char *output_of(const char *const *args) {
    brood_result r;
    brood_exec_file_sync(&(brood_options){.args = args, .own = BROOD_OWN_TREE}, &r);
    const char *text = test_format("%s", r.out.len ? r.out.bytes : "");
    brood_result_done(&r);
    return text;
}

/* Whether a tree is started by us, just now. */
static bool starts_directly(void) {
    return atoi(output_of(BROOD_ARGS(CHILD, "parent"))) == getpid();
}

#define NEED_DIRECT                                                                                                    \
    if (!starts_directly() && !t->torture)                                                                             \
    SKIP("no tree can be started into a cgroup here")

/* --- the start --- */

TEST_TORTURE(direct_start_has_the_host_for_its_parent) {
    NEED_DIRECT;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(pid_at(w, 0), getpid());
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
    CHECK_HAS(path_of(pid_at(w, 1)), test_format("/brood-guard-%d-", (int)getpid()));
    CHECK_STR(path_of(pid_at(w, 1)), path_of(w->pid));
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(pid_at(w, 1)));
}

/* As older profiles of containers have it: a tree can still join a cgroup, by its holder, and not only the first. */
static int start_without_clone3(void) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    int kernel = 0;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return -1;
    for (int i = 0; i < 3; i++) {
        brood_result r;
        brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "exit", "0"), .own = BROOD_OWN_TREE}, &r);
        kernel += r.guarantee == BROOD_GUARANTEE_KERNEL;
        brood_result_done(&r);
    }
    return kernel;
}

TEST(direct_is_not_for_who_may_not_clone_into_a_cgroup) {
    int status;
    NEED_DIRECT;
    brood__guard_done();
    pid_t pid = fork();
    if (pid == 0)
        _exit(start_without_clone3());
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(WEXITSTATUS(status), 3);
}

/* Where a tree's cgroup was, as its program has told. */
static const char *cgroup_of_one(void) {
    return test_cgroup_named(output_of(BROOD_ARGS("cat", "/proc/self/cgroup")));
}

TEST(direct_cgroup_is_used_again_unless_it_was_killed) {
    NEED_DIRECT;
    const char *first = cgroup_of_one();
    CHECK_HAS(first, "/brood-");
    for (int i = 0; i < 5; i++)
        CHECK_STR(cgroup_of_one(), first);
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_STR(path_of(w->pid), first);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    brood_child_close(w->child);
    CHECK_EQ(access(first, F_OK), -1);
    const char *other = cgroup_of_one();
    CHECK_HAS(other, "/brood-");
    CHECK_NE(strcmp(other, first), 0);
}

/* What was made in it, or frozen, is not handed on. */
TEST(direct_cgroup_is_used_again_only_as_new) {
    NEED_DIRECT;
    for (int i = 0; i < 2; i++) {
        watch *w = watch_new();
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "ready", "wait-eof"), TREE, .in = {.kind = BROOD_STDIO_PIPE});
        RUN_UNTIL(strstr(w->out.bytes, "ready"));
        const char *path = path_of(w->pid);
        if (i == 0)
            CHECK_EQ(mkdir(test_format("%s/.inner", path), 0755), 0);
        else
            CHECK_EQ(brood_child_freeze(w->child), 0);
        if (i == 1)
            CHECK_EQ(brood_child_thaw(w->child), 0);
        brood_stream_end(brood_child_stream(w->child, 0));
        RUN();
        CHECK_EQ(w->ended.code, 0);
        brood_child_close(w->child);
        CHECK_HAS(cgroup_of_one(), "/brood-");
        CHECK_EQ(access(path, F_OK) == 0, i == 1);
    }
}

static void keep_usage(brood_child *child, const brood_usage *usage, void *data) {
    (void)child;
    *(brood_usage *)data = *usage;
}

/* Not what another had used in there before. */
TEST(direct_tree_tells_what_it_has_used_itself) {
    NEED_DIRECT;
    for (int i = 0; i < 2; i++) {
        brood_usage *usage = NEW(brood_usage);
        brood_child *child;
        brood_options options = {.args = BROOD_ARGS(CHILD, "fork", "burn", i == 0 ? "100" : "1"),
                                 .own = BROOD_OWN_TREE,
                                 .on_empty = keep_usage,
                                 .data = usage};
        CHECK_EQ(brood_spawn(t->loop, &options, &child, NULL), 0);
        RUN();
        brood_child_close(child);
        if (i == 0)
            CHECK_GE(usage->user_us + usage->system_us, 80000);
        else
            CHECK_LT(usage->user_us + usage->system_us, 80000);
        CHECK_GT(usage->user_us + usage->system_us, 0);
    }
}

/* --- who has a holder --- */

static void check_has_holder(test *t) {
    pid_t parent = atoi(output_of(BROOD_ARGS(CHILD, "parent")));
    CHECK_GT(parent, 0);
    CHECK_NE(parent, getpid());
    (void)t;
}

TEST(direct_is_not_for_who_would_have_to_wait_for_orphans) {
    NEED_DIRECT;
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    check_has_holder(t);
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0), 0);
    signal(SIGCHLD, SIG_IGN);
    check_has_holder(t);
    signal(SIGCHLD, SIG_DFL);
    CHECK(starts_directly());
}

TEST(direct_is_not_for_limits) {
    NEED_DIRECT;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent"), TREE, .limits = {.cpu_time_ms = 60000});
    RUN();
    CHECK_NE(pid_at(w, 0), getpid());
    brood_child_close(w->child);
}

static void write_to(const char *dir, const char *file, const char *text) {
    int fd = open(test_format("%s/%s", dir, file), O_WRONLY | O_CLOEXEC);
    ENSURE(fd >= 0 && write(fd, text, strlen(text)) > 0);
    close(fd);
}

static void move_to(const char *dir) {
    write_to(dir, "cgroup.procs", "0");
}

/* Where the host is now: new trees are to be there, too. */
TEST(direct_host_that_moves) {
    NEED_DIRECT;
    const char *home = path_of(getpid()),
               *other = test_format("%s%sdirect-%d", home, home[strlen(home) - 1] == '/' ? "" : "/", (int)getpid());
    if (mkdir(other, 0755) < 0)
        SKIP("no cgroup to move to");
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    move_to(other);
    CHECK_STR(path_of(getpid()), other);
    CHECK_HAS(cgroup_of_one(), other); /* by a holder, since there is a tree elsewhere */
    check_has_holder(t);
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(w->pid));
    CHECK_HAS(cgroup_of_one(), test_format("%s/brood-guard-%d-", other, (int)getpid()));
    brood__guard_done();
    move_to(home);
    CHECK_EQ(rmdir(other), 0);
    CHECK(starts_directly());
}

/* A host that has given up its rights still ends what it started before. */
TEST(direct_host_that_gives_up_its_rights) {
    NEED_DIRECT;
    if (geteuid() != 0)
        SKIP("no rights to give up");
    pid_t host = fork();
    if (host == 0) {
        uv_loop_t loop;
        brood_child *child;
        brood_result r;
        uv_loop_init(&loop);
        brood_options options = {.args = BROOD_ARGS(CHILD, "hold"), .own = BROOD_OWN_TREE, .kill_grace_ms = 10};
        if (brood_spawn(&loop, &options, &child, NULL) < 0 || setresuid(65534, 65534, 65534) < 0)
            _exit(2);
        pid_t program = brood_child_pid(child);
        if (brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS("cat", "/dev/null"), .own = BROOD_OWN_TREE}, &r) <
            0)
            _exit(3);
        brood_child_close(child);
        uv_run(&loop, UV_RUN_DEFAULT);
        brood__guard_done();
        _exit(!test_process_gone(program));
    }
    int status;
    CHECK_EQ(waitpid(host, &status, 0), host);
    CHECK_EQ(status, 0);
}

/* --- descriptors, forks, threads --- */

TEST(direct_host_that_closes_descriptors) {
    NEED_DIRECT;
    pid_t host = fork();
    if (host == 0) {
        if (!starts_directly())
            _exit(1);
        for (int fd = 3; fd < 64; fd++)
            close(fd);
        for (int fd = 3; fd < 64; fd++) /* their numbers are others' now */
            dup2(0, fd);
        if (!starts_directly())
            _exit(2);
        for (int fd = 3; fd < 64; fd++)
            if (fcntl(fd, F_GETFD) < 0)
                _exit(3);
        brood__guard_done();
        _exit(0);
    }
    int status;
    CHECK_EQ(waitpid(host, &status, 0), host);
    CHECK_EQ(status, 0);
}

TEST(direct_fork_has_a_guard_of_its_own) {
    NEED_DIRECT;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t guard = guard_of(getpid()), copy = fork();
    CHECK_GT(guard, 0);
    if (copy == 0)
        _exit(!starts_directly() || guard_of(getpid()) == 0 || guard_of(getppid()) != guard);
    int status;
    CHECK_EQ(waitpid(copy, &status, 0), copy);
    CHECK_EQ(status, 0);
    CHECK(!test_process_gone(w->pid));
    CHECK_EQ(guard_of(getpid()), guard);
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(w->pid));
}

TEST_TORTURE(direct_starts_on_several_threads) {
    enum { MANY = 12 };
    NEED_DIRECT;
    answer *all[MANY];
    for (int i = 0; i < MANY; i++) {
        all[i] = answer_new();
        CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "parent"), .own = BROOD_OWN_TREE},
                                 answer_on_result, all[i], NULL),
                 0);
    }
    RUN();
    for (int i = 0; i < MANY; i++) {
        CHECK_EQ(all[i]->result.exit.code, 0);
        CHECK_EQ(atoi(all[i]->result.out.bytes), getpid());
    }
    CHECK_GT(guard_of(getpid()), 0);
}

static void ignore_signal(int number) {
    (void)number;
}

/* Which interrupt even what does not wait: the guard must not be taken for dead, and given up. */
TEST(direct_starts_while_the_host_gets_signals) {
    NEED_DIRECT;
    struct sigaction action = {.sa_handler = ignore_signal};
    struct itimerval often = {.it_interval = {.tv_usec = 100}, .it_value = {.tv_usec = 100}};
    pid_t guard = guard_of(getpid());
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < 200 && !test_failed(); i++)
        CHECK(starts_directly());
    CHECK_EQ(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL), 0);
    CHECK_EQ(guard_of(getpid()), guard);
    CHECK(!test_process_gone(w->pid));
    brood_child_close(w->child);
    RUN();
}

static int events_before_close;

static void close_then(watch *w, const char *event) {
    if (w->child && events_before_close-- == 0) {
        brood_child *child = w->child;
        w->child = NULL;
        brood_child_close(child);
    }
    (void)event;
}

static void tell_empty(brood_child *child, const brood_usage *usage, void *data) {
    (void)child, (void)usage;
    close_then(data, "empty");
}

TEST(direct_tree_is_closed_in_each_callback) {
    NEED_DIRECT;
    for (int i = 0; i < 7; i++) {
        watch *w = watch_new();
        w->then = close_then;
        events_before_close = i;
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", i % 2 ? "forever" : "10", "exit", "0"), TREE,
                   .close_grace_ms = 50, .on_empty = tell_empty);
        RUN_UNTIL(w->closes);
        if (w->child)
            brood_child_close(w->child);
        w->child = NULL;
        RUN();
        CHECK_EQ(w->closes, 1);
        CHECK(w->out.len == 0 || test_process_gone(pid_at(w, 0)));
    }
}

/* Its end is told twice at once, by the process and by the cgroup. */
TEST(direct_sync_form_has_what_the_kernel_guarantees) {
    NEED_DIRECT;
    for (int i = 0; i < 5; i++) {
        brood_result *r = result_new();
        brood_options options = {.args = BROOD_ARGS(CHILD, "sleep", i ? "50" : "0"),
                                 .own = BROOD_OWN_TREE,
                                 .require = BROOD_GUARANTEE_KERNEL};
        CHECK_EQ(brood_exec_file_sync(&options, r), 0);
        CHECK_EQ(r->guarantee, BROOD_GUARANTEE_KERNEL);
    }
}

/* As root may, and su(1) and systemd-run(1) do: it cannot be held, but it can be ended. */
TEST(direct_program_that_has_left_its_cgroup) {
    NEED_DIRECT;
    brood_result *r = result_new();
    const char *leaves = test_format("echo 0 >%s/cgroup.procs && exec sleep 1000", test_cgroup());
    brood_options options = {
        .args = BROOD_ARGS("sh", "-c", leaves), .own = BROOD_OWN_TREE, .timeout_ms = (uint64_t)(300 * test_slow())};
    uint64_t began = test_now_ms();
    CHECK_EQ(brood_exec_file_sync(&options, r), 0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(r->exit.signal, SIGTERM);
    CHECK_LT(test_now_ms() - began, (uint64_t)(20000 * test_slow()));
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS("sh", "-c", test_format("echo ready; %s", leaves)), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    WAIT_UNTIL(!strstr(path_of(w->pid), "/brood-guard-"));
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGKILL);
    brood_child_close(w->child);
}

/* What a tree has written to its cgroup is not the next one's. */
TEST(direct_cgroup_that_was_marked_is_not_used_again) {
    NEED_DIRECT;
    const char *first = cgroup_of_one();
    CHECK_STR(cgroup_of_one(), first);
    CHECK_EQ(setxattr(first, "user.brood.spared", "1", 1, 0), 0);
    CHECK(strcmp(cgroup_of_one(), first) != 0);
}

/* In a namespace of ours our own cgroup is "/", and what is mounted since before has another one there. */
TEST(direct_start_is_not_in_the_cgroup_of_somebody_else) {
    const char *outer = test_cgroup(), *path = test_format("%s/within-%d", outer, (int)getpid());
    if (!outer || mkdir(path, 0755) < 0)
        SKIP("no cgroup can be made here");
    const char *in = test_format("%s/cgroup.procs", path), *out = test_format("%s/cgroup.procs", outer);
    const char *before = output_of(BROOD_ARGS("cat", "/proc/self/cgroup")); /* whatever was looked for then */
    CHECK_HAS(before, "0::/");
    bool alone = test_write_existing(in, "0") && unshare(CLONE_NEWCGROUP) == 0;
    const char *text = alone ? output_of(BROOD_ARGS("cat", "/proc/self/cgroup")) : "";
    CHECK(test_write_existing(out, "0"));
    CHECK_EQ(rmdir(path), 0);
    if (!alone)
        SKIP("no cgroup namespace can be made here");
    CHECK_HAS(text, "0::/");
    CHECK_LACKS(text, "0::/..");
}

/* By whoever may write there: the kernel kills what is started into it later (Linux 6.18). */
TEST(direct_cgroup_that_somebody_has_killed_is_not_used_again) {
    NEED_DIRECT;
    const char *first = cgroup_of_one();
    CHECK(test_write_existing(test_format("%s/cgroup.kill", first), "1"));
    for (int i = 0; i < 3; i++)
        CHECK(starts_directly());
}

/* The same off the loop, where a start is not waited for: it is done once more, and nobody is told. */
TEST_TORTURE(direct_start_off_the_loop_is_not_lost_with_a_cgroup_that_was_killed) {
    NEED_DIRECT;
    for (int i = 0; i < 2; i++) {
        const char *first = cgroup_of_one();
        if (!test_write_existing(test_format("%s/cgroup.kill", first), "1") && t->torture)
            return;
        answer *a = answer_new();
        int r =
            brood_exec_file(t->loop,
                            &(brood_options){.args = BROOD_ARGS(i ? "/no/such/program" : CHILD, "parent", "exit", "7"),
                                             .own = BROOD_OWN_TREE},
                            answer_on_result, a, NULL);
        CHECK(r == 0 || t->torture);
        RUN();
        CHECK_EQ(a->count, r == 0);
        if (r < 0)
            return;
        CHECK_EQ(a->result.exit.code, i ? -1 : 7);
        CHECK_EQ(a->result.failure.code, i ? -ENOENT : 0);
        CHECK_EQ(a->result.guarantee, i ? BROOD_GUARANTEE_NONE : BROOD_GUARANTEE_KERNEL);
        CHECK_EQ(i ? 0 : atoi(a->result.out.bytes), i ? 0 : getpid());
    }
}

TEST(direct_cgroup_that_was_given_away_is_not_used_again) {
    NEED_DIRECT;
    const char *first = cgroup_of_one();
    struct stat now;
    CHECK_EQ(chmod(first, 0777), 0);
    CHECK_EQ(stat(cgroup_of_one(), &now), 0);
    CHECK_EQ(now.st_mode & 0777, 0755);
    CHECK_EQ(access(first, F_OK), -1);
}

/* Somebody has moved it, as who may write to cgroups can, and taken away what it was in. */
TEST(direct_tree_without_its_cgroup_is_no_busy_loop) {
    NEED_DIRECT;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    const char *path = path_of(w->pid), *procs = test_format("%s/cgroup.procs", test_cgroup());
    CHECK(test_write_existing(procs, test_format("%d", (int)w->pid)));
    struct pollfd loop = {.fd = uv_backend_fd(t->loop), .events = POLLIN};
    WAIT_UNTIL(poll(&loop, 1, 0) == 1); /* that it is empty */
    WAIT_UNTIL(rmdir(path) == 0);
    RUN_UNTIL(brood_child_guarantee(w->child) == BROOD_GUARANTEE_BEST_EFFORT);
    CHECK_EQ(poll(&loop, 1, 0), 0);
    CHECK_EQ(w->exits, 0);
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(w->pid));
}

/* --- the guard in bad hands --- */

/* Whoever waits for all children there are does not wait for that. */
TEST(direct_guard_is_no_child) {
    NEED_DIRECT;
    CHECK_STR(output_of(BROOD_ARGS(CHILD, "print", "x")), "x\n");
    CHECK_GT(guard_of(getpid()), 0);
    CHECK_EQ(waitpid(-1, NULL, __WALL), -1);
    CHECK_EQ(errno, ECHILD);
}

TEST(direct_guard_gets_every_signal) {
    NEED_DIRECT;
    pid_t guard = guard_of(getpid());
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    for (int number = 1; number < 32; number++)
        if (number != SIGKILL && number != SIGSTOP)
            CHECK_EQ(kill(guard, number), 0);
    test_idle(20);
    CHECK_EQ(guard_of(getpid()), guard);
    CHECK_EQ(w->exits, 0);
    brood_child_close(w->child);
    RUN();
}

/* Nothing of a tree's life needs it. */
TEST(direct_guard_is_stopped) {
    NEED_DIRECT;
    pid_t guard = guard_of(getpid());
    CHECK_EQ(kill(guard, SIGSTOP), 0);
    WAIT_UNTIL(test_process_state(guard) == 'T');
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(pid_at(w, 0)));
    CHECK_EQ(test_process_state(guard), 'T');
}

TEST(direct_guard_is_killed_and_the_host_goes_on) {
    NEED_DIRECT;
    pid_t guard = guard_of(getpid());
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(kill(guard, SIGKILL), 0);
    WAIT_UNTIL(guard_of(getpid()) == 0);
    CHECK(starts_directly());
    CHECK_GT(guard_of(getpid()), 0);
    CHECK(test_process_gone(guard));
    CHECK_EQ(kill(guard_of(getpid()), SIGKILL), 0); /* and this one before the tree is ended */
    WAIT_UNTIL(guard_of(getpid()) == 0);
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(pid_at(w, 0)));
}

/* By whoever runs the loop of a tree. */
TEST_TORTURE(direct_guard_is_killed_and_missed_at_once) {
    NEED_DIRECT;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    for (int i = 0; i < 3 && !test_failed(); i++) {
        pid_t guard = guard_of(getpid());
        CHECK_GT(guard, 0);
        CHECK_EQ(kill(guard, SIGKILL), 0);
        if (t->torture) { /* there may be none to follow it, for want of something */
            test_idle(10);
            if (!test_failed() && (w->exits || test_process_gone(w->pid)))
                abort(); /* but none that takes the tree along */
            break;
        }
        while ((guard_of(getpid()) == guard || guard_of(getpid()) == 0) && !test_failed())
            test_idle(1);
        CHECK(test_process_gone(guard));
    }
    brood_child_close(w->child);
    RUN();
}

/* Nobody says that the host's end would be the tree's, and as soon as there can be a guard there is one. */
TEST(direct_guard_is_killed_and_no_other_can_be_had) {
    NEED_DIRECT;
    watch *w = watch_new(), *other = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    START_KEPT(other, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready") && strstr(other->out.bytes, "ready"));
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
    pid_t guard = guard_of(getpid());
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(kill(guard, SIGKILL), 0);
    RUN_UNTIL(brood_child_guarantee(w->child) == BROOD_GUARANTEE_BEST_EFFORT);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    brood_child_close(other->child);
    RUN_UNTIL(guard_of(getpid()) > 0);
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
    brood_child_close(w->child);
    RUN();
}

TEST(direct_tree_is_thawed_by_a_host_that_has_no_descriptor_left) {
    NEED_DIRECT;
    watch *w = watch_new();
    struct rlimit limit;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(brood_child_freeze(w->child), 0);
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_EQ(brood_child_thaw(w->child), 0);
    CHECK_EQ(brood_child_freeze(w->child), -EMFILE);
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_EQ(brood_child_freeze(w->child), 0);
    CHECK_EQ(brood_child_thaw(w->child), 0);
    brood_child_close(w->child);
    RUN();
}

/* The host takes them for its own: its cgroup's, and that of the one in which all trees are. */
static int close_guards_directories(void) {
    const char *own = test_cgroup();
    size_t len = strlen(own) - (own[strlen(own) - 1] == '/');
    int lost = 0;
    for (int fd = 3; fd < 64; fd++) {
        char path[PATH_MAX] = "";
        ssize_t n = readlink(test_format("/proc/self/fd/%d", fd), path, sizeof path - 1);
        if (n > 0 && strncmp(path, own, len) == 0 && !strchr(path + len + 1, '/') && close(fd) == 0)
            lost++;
    }
    return lost;
}

/* Once more with a lower number free, so that what is opened again gets other numbers than it had, or one of those. */
TEST(direct_tree_outlives_the_loss_of_a_descriptor) {
    int low = fcntl(0, F_DUPFD_CLOEXEC, 3);
    if (!starts_directly()) {
        close(low);
        SKIP("no tree can be started into a cgroup here");
    }
    for (int i = 0; i < 2; i++) {
        watch *w = watch_new();
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), TREE);
        RUN_UNTIL(strstr(w->out.bytes, "ready"));
        if (i == 1)
            CHECK_EQ(close(low), 0);
        CHECK_EQ(close_guards_directories(), 2);
        CHECK(starts_directly());
        CHECK_EQ(w->exits, 0);
        CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
        brood_child_close(w->child);
        RUN();
    }
}

/* --- a host that goes --- */

/* Its two trees write to a pipe of the test's; the second is started when it is told to. */
typedef struct two_trees {
    pid_t host, orphans[2];
    int out, orders; /* the test's ends */
    char text[256];
    size_t len;
} two_trees;

static void start_one(uv_loop_t *loop, int out, bool lives) {
    brood_child *child;
    if (brood_spawn(loop,
                    &(brood_options){.args = BROOD_ARGS(CHILD, "orphan", "forever", "hold"),
                                     .own = BROOD_OWN_TREE,
                                     .out = {.kind = BROOD_STDIO_FD, .fd = out}},
                    &child, NULL) < 0)
        _exit(1);
    if (brood_child_guarantee(child) != BROOD_GUARANTEE_KERNEL)
        _exit(2);
    if (lives)
        brood_child_detach(child);
}

static void be_host(int out, int orders, bool lives) {
    uv_loop_t loop;
    char byte;
    alarm(40);
    uv_loop_init(&loop);
    start_one(&loop, out, lives);
    if (read(orders, &byte, 1) == 1)
        start_one(&loop, out, false);
    while (read(orders, &byte, 1) == 1) {}
}

/* What it wrote, until it is ready again. */
static void read_tree(two_trees *h, int which) {
    const char *from = h->text + h->len;
    while (!strstr(from, "ready\n")) {
        ssize_t n = read(h->out, h->text + h->len, sizeof h->text - 1 - h->len);
        CHECK_GT(n, 0);
        h->text[h->len += (size_t)n] = 0;
    }
    h->orphans[which] = atoi(from);
    CHECK_GT(h->orphans[which], 0);
}

static void begin(two_trees *h, bool lives) {
    int told[2], orders[2];
    CHECK_EQ(pipe2(told, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(orders, O_CLOEXEC), 0);
    h->host = fork();
    if (h->host == 0) {
        close(orders[1]);
        be_host(told[1], orders[0], lives);
        _exit(3);
    }
    close(told[1]), close(orders[0]);
    h->out = told[0];
    h->orders = orders[1];
    read_tree(h, 0);
}

static void begin_another(two_trees *h) {
    CHECK_EQ(write(h->orders, "", 1), 1);
    read_tree(h, 1);
}

static void kill_guard(pid_t host) {
    pid_t guard = guard_of(host);
    CHECK_GT(guard, 0);
    CHECK_EQ(kill(guard, SIGKILL), 0);
    WAIT_UNTIL(guard_of(host) == 0);
}

/* By SIGKILL; and whoever holds the pipe has left, too. */
static void end(two_trees *h) {
    CHECK_EQ(kill(h->host, SIGKILL), 0);
    CHECK_EQ(waitpid(h->host, NULL, 0), h->host);
    for (int i = 0; i < 2; i++)
        WAIT_UNTIL(h->orphans[i] == 0 || test_process_gone(h->orphans[i]));
    while (read(h->out, h->text, sizeof h->text) > 0) {}
    close(h->out), close(h->orders);
}

static int count_cgroups_of(pid_t host) {
    const char *prefix = test_format("brood-guard-%d-", (int)host);
    DIR *dir = opendir(path_of(getpid()));
    int count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    if (dir)
        closedir(dir);
    return count;
}

TEST(direct_tree_goes_with_its_host) {
    NEED_DIRECT;
    two_trees h = {0};
    begin(&h, false);
    begin_another(&h);
    CHECK_EQ(count_cgroups_of(h.host), 1);
    end(&h);
    WAIT_UNTIL(count_cgroups_of(h.host) == 0);
}

/* Nobody is left who would tell the guard to go on: the kernel does. */
TEST(direct_tree_goes_with_its_host_while_the_guard_is_stopped) {
    NEED_DIRECT;
    two_trees h = {0};
    begin(&h, false);
    pid_t guard = guard_of(h.host);
    CHECK_GT(guard, 0);
    CHECK_EQ(kill(guard, SIGSTOP), 0);
    WAIT_UNTIL(test_process_state(guard) == 'T');
    end(&h);
    WAIT_UNTIL(count_cgroups_of(h.host) == 0);
}

/* The next one guards what the first did. */
TEST(direct_tree_goes_with_its_host_although_its_guard_was_killed) {
    NEED_DIRECT;
    two_trees h = {0};
    begin(&h, false);
    kill_guard(h.host);
    begin_another(&h);
    CHECK_GT(guard_of(h.host), 0);
    end(&h);
    WAIT_UNTIL(count_cgroups_of(h.host) == 0);
}

/* It lives, the other does not; and when it ends at last, its cgroup goes. */
static void let_one_live(test *t, bool guard_dies) {
    two_trees h = {0};
    begin(&h, true);
    if (guard_dies)
        kill_guard(h.host);
    begin_another(&h);
    pid_t lives = h.orphans[0];
    h.orphans[0] = 0;
    CHECK_EQ(kill(h.host, SIGKILL), 0);
    WAIT_UNTIL(test_process_gone(h.orphans[1]));
    test_nap();
    CHECK(!test_process_gone(lives));
    const char *path = path_of(lives);
    CHECK_HAS(path, test_format("/brood-guard-%d-", (int)h.host));
    write_to(path, "cgroup.kill", "1");
    end(&h);
    WAIT_UNTIL(count_cgroups_of(h.host) == 0);
    (void)t;
}

TEST(direct_tree_that_was_let_live_outlives_its_host) {
    NEED_DIRECT;
    let_one_live(t, false);
}

TEST(direct_tree_that_was_let_live_outlives_its_host_although_its_guard_was_killed) {
    NEED_DIRECT;
    let_one_live(t, true);
}

/* While the host lives. */
TEST(direct_tree_that_was_let_live_leaves_no_cgroup) {
    NEED_DIRECT;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    const char *path = path_of(w->pid);
    CHECK_EQ(brood_child_freeze(w->child), 0);
    brood_child_detach(w->child); /* which thaws it */
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_NONE);
    brood_child_close(w->child);
    RUN_UNTIL(w->closes);
    CHECK(!test_process_gone(w->pid));
    CHECK(!test_process_gone(pid_at(w, 0)));
    CHECK_EQ(kill(w->pid, SIGKILL), 0);
    CHECK_EQ(kill(pid_at(w, 0), SIGKILL), 0);
    while (access(path, F_OK) == 0 && !test_failed()) /* its program is still waited for */
        test_idle(2);
    RUN();
    CHECK_NE(strcmp(cgroup_of_one(), path), 0);
}
