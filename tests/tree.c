/*
 * Trees: whoever left the group, the session or the parent is reached all the same, also when the host has gone or the
 * holder was tampered with.
 */
#include "harness/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "base/sys.h"
#include "own/guard.h"
#include "own/leftover.h"

static void on_empty(brood_child *child, const brood_usage *usage, void *data) {
    watch *w = data;
    (void)child;
    size_t len = strlen(w->log);
    snprintf(w->log + len, sizeof w->log - len, " empty");
    ENSURE(usage->user_us + usage->system_us > 0);
    test_event();
}

static brood_usage accounts;

static void on_empty_account(brood_child *child, const brood_usage *usage, void *data) {
    (void)child;
    (void)data;
    accounts = *usage;
}

#define TREE .own = BROOD_OWN_TREE, .out = WATCHED

/* The n-th line of what it wrote, as a number. (What `parent` prints is the holder's pid.) */
static pid_t pid_at(const watch *w, int n) {
    const char *line = w->out.bytes;
    for (; n > 0 && line; n--)
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
    return line ? atoi(line) : 0;
}

/* What is about the holder, of the one kind or the other: where there are cgroups the host would start the tree itself. */
static void have_holders(void) {
    if (brood__has(BROOD__CGROUP))
        brood__probe_force("direct", true);
}

/* --- what a stop reaches --- */

TEST_TORTURE(tree_that_ends_by_itself) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "x", "exit", "7"), TREE, .on_empty = on_empty);
    CHECK_STR(w->out.bytes, "x\n");
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(w->ended.code, 7);
    CHECK_EQ(w->ended.stop_error, 0);
    CHECK(before(w->log, "exit", "empty"));
    CHECK(before(w->log, "empty", "close"));
}

TEST_TORTURE(tree_is_killed_with_all_who_left) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "escape", "forever", "stubborn", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(brood_child_kill_owned(w->child, 0), 0);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    for (int i = 0; i < 3; i++) {
        CHECK_GT(pid_at(w, i), 0);
        CHECK(test_process_gone(pid_at(w, i))); /* on_exit may come before, on_close not */
    }
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), -ESRCH);
    brood_child_close(w->child);
}

TEST(tree_gets_other_signals_as_well) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "escape", "forever", "hold"), TREE, .timeout_ms = (uint64_t)(300 * test_slow()),
          .kill_grace_ms = BROOD_FOREVER);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK(test_process_gone(pid_at(w, 0)));
}

TEST_TORTURE(tree_is_killed_after_the_grace) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "stubborn", "hold"), TREE, .timeout_ms = (uint64_t)(300 * test_slow()),
          .kill_grace_ms = 100);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK(test_process_gone(pid_at(w, 0))); /* its parent went at SIGTERM, it at SIGKILL */
}

TEST(tree_that_is_closed_while_it_runs) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    brood_child_close(w->child);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK(test_process_gone(pid_at(w, 0)));
}

TEST(tree_that_is_stopped_goes) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "escape", "forever", "print", "there", "stop"), TREE,
          .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = BROOD_FOREVER);
    RUN();
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK(test_process_gone(pid_at(w, 0)));
}

static bool may_be_traced(void) {
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(ptrace(PTRACE_TRACEME, 0, 0, 0) < 0);
    ENSURE(waitpid(pid, &status, 0) == pid);
    return status == 0;
}

/* A stop for its tracer is no end. The holder debugs nobody: it lets go, and the signal does what it was sent for. */
TEST(tree_of_a_program_that_asks_to_be_traced) {
    have_holders();
    if (!may_be_traced())
        SKIP("nobody may be traced here");
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "traced", "trap", "TERM", "3"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(w->ended.code, 3);
    brood_child_close(w->child);
    watch *plain = watch_new(); /* to the host it stays stopped, and is killed after the grace */
    START(plain, .args = BROOD_ARGS(CHILD, "traced", "trap", "TERM", "3"), .out = WATCHED,
          .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = 100);
    RUN();
    CHECK_EQ(plain->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(plain->ended.signal, SIGKILL);
}

/* To /proc it looks like a zombie, and is none. */
TEST(tree_of_a_program_whose_first_thread_has_left) {
    brood_ownership owns[] = {BROOD_OWN_TREE, BROOD_OWN_GROUP};
    for (int i = 0; i < 2; i++) {
        watch *w = watch_new();
        START(w, .args = BROOD_ARGS(CHILD, "fork", "leave-thread"), .out = WATCHED, .own = owns[i],
              .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = 100);
        RUN();
        CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    }
    brood__probe_force("cgroup", true);
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "ignore", "TERM", "leave-thread"), TREE,
          .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = 100);
    RUN();
    CHECK_EQ(w->ended.signal, SIGKILL);
    brood__probe_force("cgroup", false);
}

/* It forks and leaves, and forks and leaves. */
TEST(tree_of_one_that_runs_away) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "hop"), TREE, .timeout_ms = 100, .kill_signal = SIGKILL);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->ended.stop_error, 0);
}

TEST_WITH(tree_that_grows_as_fast_as_it_can, TEST_ALONE) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "breed", "3000"), TREE, .on_empty = on_empty);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    CHECK_HAS(w->log, "empty");
    CHECK_EQ(w->ended.stop_error, 0);
    brood_child_close(w->child);
}

/* --- what outlives its program --- */

TEST_TORTURE(tree_lives_on_until_its_child_is_closed) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "3"), TREE, .close_grace_ms = 50);
    RUN_UNTIL(w->closes);
    CHECK_EQ(w->ended.code, 3);
    CHECK(!test_process_gone(pid_at(w, 0)));
    CHECK_EQ(brood_child_kill_owned(w->child, 0), 0);
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(pid_at(w, 0)));
}

TEST_TORTURE(tree_lives_on_and_ends_by_itself) {
    watch *w = watch_new();
    const char *ms = test_format("%ld", 100 * test_slow());
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", ms, "exit", "3"), .own = BROOD_OWN_TREE,
               .out = {.kind = BROOD_STDIO_IGNORE}, .on_empty = on_empty);
    RUN();
    CHECK_STR(w->log, "spawn exit close empty");
    brood_child_close(w->child);
}

TEST_TORTURE(tree_ends_with_a_child_that_closes_itself) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "3"), TREE, .close_grace_ms = 50);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(w->ended.code, 3);
    CHECK(test_process_gone(pid_at(w, 0)));
}

TEST_TORTURE(tree_ends_with_the_answer_of_an_exec) {
    answer *a = answer_new();
    CHECK_EQ(brood_exec_file(t->loop,
                             &(brood_options){.args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "3"),
                                              .own = BROOD_OWN_TREE,
                                              .close_grace_ms = 50},
                             answer_on_result, a, NULL),
             0);
    RUN();
    CHECK_EQ(a->result.exit.code, 3);
    CHECK(a->result.cut);
    CHECK(test_process_gone(atoi(a->result.out.bytes)));
}

TEST_TORTURE(tree_ends_with_a_sync_form) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "3"),
                                                   .own = BROOD_OWN_TREE,
                                                   .close_grace_ms = 50},
                                  r),
             0);
    CHECK_EQ(r->exit.code, 3);
    CHECK_EQ(r->exit.reason, BROOD_REASON_EXITED);
    CHECK(test_process_gone(atoi(r->out.bytes)));
}

TEST_TORTURE(tree_of_a_sync_form_that_times_out) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "orphan", "forever", "stubborn", "hold"),
                                                   .own = BROOD_OWN_TREE,
                                                   .timeout_ms = (uint64_t)(300 * test_slow()),
                                                   .kill_grace_ms = 100},
                                  r),
             0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK(test_process_gone(atoi(r->out.bytes)));
}

TEST_TORTURE(tree_that_was_let_live) {
    have_holders();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t program = brood_child_pid(w->child), holder = pid_at(w, 0), orphan = pid_at(w, 1);
    brood_child_detach(w->child);
    brood_child_close(w->child);
    RUN_UNTIL(w->closes);
    CHECK(!test_process_gone(program));
    CHECK(!test_process_gone(orphan));
    CHECK_EQ(kill(orphan, SIGKILL), 0);
    CHECK_EQ(kill(program, SIGKILL), 0);
    while (test_process_state(holder) != 0 && !test_failed()) /* it is still waited for */
        test_idle(2);
    RUN();
    WAIT_UNTIL(test_process_gone(orphan) && test_process_gone(program)); /* the holder did not wait for the orphan */
}

static void close_in_on_close(watch *w, const char *event) {
    if (strcmp(event, "close") == 0)
        brood_child_close(w->child);
}

static void end_loop_in_on_close(watch *w, const char *event) {
    (void)w;
    if (strcmp(event, "close") == 0)
        brood_loop_close(test_loop(), NULL, NULL);
}

static void kill_and_detach(watch *w, const char *event) {
    if (strcmp(event, "close") != 0)
        return;
    ENSURE(brood_child_kill_owned(w->child, SIGKILL) == 0);
    brood_child_detach(w->child);
    brood_child_close(w->child);
}

TEST(tree_that_lives_on_is_closed_in_on_close) {
    void (*const ways[])(watch *, const char *) = {close_in_on_close, end_loop_in_on_close, kill_and_detach};
    for (int i = 0; i < 3; i++) {
        watch *w = watch_new();
        w->then = ways[i];
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "3"), TREE, .close_grace_ms = 50);
        RUN();
        CHECK_EQ(w->closes, 1);
        CHECK_GT(pid_at(w, 0), 0);
        CHECK(test_process_gone(pid_at(w, 0)));
    }
}

/* --- its cgroup --- */

/* The path of the cgroup that a process is in, without the mount's; NULL: none is known. */
static char *cgroup_of(pid_t pid) {
    static char text[4096];
    snprintf(text, sizeof text, "%s", test_read_file(test_format("/proc/%d/cgroup", (int)pid)));
    char *line = strstr(text, "0::/");
    if (line && strchr(line, '\n'))
        *strchr(line, '\n') = 0;
    return line ? line + 3 : NULL;
}

/* Also that of a tree which was let live, when it ends at last. */
TEST(tree_leaves_no_cgroup_behind) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "hold"), TREE, .close_grace_ms = 50);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    if (brood_child_guarantee(w->child) != BROOD_GUARANTEE_KERNEL) {
        brood_child_close(w->child);
        RUN();
        SKIP("no cgroup for a tree here");
    }
    pid_t orphan = pid_at(w, 0);
    const char *in = cgroup_of(orphan);
    CHECK(in && strstr(in, "/brood-"));
    const char *mount = access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
    const char *path = test_format("%s%s", mount, in);
    CHECK_EQ(access(path, F_OK), 0);
    brood_child_detach(w->child);
    CHECK_EQ(brood_child_kill(w->child, SIGKILL), 0);
    RUN();
    CHECK(!test_process_gone(orphan));
    CHECK_EQ(access(path, F_OK), 0);
    CHECK_EQ(kill(orphan, SIGKILL), 0);
    WAIT_UNTIL(access(path, F_OK) < 0);
    brood_child_close(w->child);
}

/* --- the start --- */

TEST_TORTURE(tree_starts_fail_as_others_do) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("/no/such"), .own = BROOD_OWN_TREE}), -ENOENT);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    CHECK_STR(why.subject, "/no/such");
    CHECK_EQ(
        watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .cwd = "/no/such", .own = BROOD_OWN_TREE}),
        -ENOENT);
    CHECK_EQ(why.step, BROOD_STEP_CWD);
    CHECK_STR(why.subject, "/no/such");
    CHECK_EQ(watch_refused(t, &why,
                           &(brood_options){.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_CHILD, .on_empty = on_empty}),
             -EINVAL);
    CHECK_STR(why.subject, "on_empty");
}

TEST(tree_has_what_the_plan_says) {
    const char *script = test_path(t, "script");
    const char text[] = "echo $1 $NAME $PWD; ls -l /proc/self/fd >/dev/null\n";
    test_write_file(script, text, sizeof text - 1, 0755);
    int dir = test_fd(open(t->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    RUN_CHILD(w, .args = BROOD_ARGS(script, "one"), TREE, .cwd_by_fd = true, .cwd_fd = dir,
              .env = (const char *const[]){"NAME=two", "PWD", NULL}); /* without #!: a shell's */
    CHECK_STR(w->out.bytes, test_format("one two %s\n", t->tmp));
    RUN_CHILD(ids, .args = BROOD_ARGS(CHILD, "limits", "cwd"), TREE, .cwd = "/", .set_umask = true, .umask = 031,
              .rlimits = &(brood_rlimit){.resource = RLIMIT_NOFILE, .soft = 33, .hard = 44}, .rlimit_count = 1);
    CHECK_HAS(ids->out.bytes, "33");
}

/* More descriptors than one message takes, some swapped, and nothing else. */
TEST(tree_gets_its_slots_and_no_more) {
    enum { MANY = 300 };
    brood_slot *slots = NEW_ARRAY(brood_slot, MANY);
    int leaked = test_fd(open("/dev/null", O_RDONLY)); /* not close-on-exec */
    for (int i = 0; i < MANY; i++)
        slots[i] = (brood_slot){.slot = 10 + i, .io = {.kind = BROOD_STDIO_FD, .fd = leaked}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "fds"), TREE, .slots = slots, .slot_count = MANY);
    CHECK_HAS(w->out.bytes, "\n10 ");
    CHECK_HAS(w->out.bytes, "\n309 ");
    CHECK_LACKS(w->out.bytes, "\n310 ");
    RUN_CHILD(both, .args = BROOD_ARGS(CHILD, "both", "3"), TREE, .err = {.kind = BROOD_STDIO_SLOT, .slot = 1});
    CHECK_GT(both->out.len, 0);
}

TEST(tree_of_a_host_without_an_environment) {
    CHECK_EQ(clearenv(), 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "env", "print", "x"), TREE);
    CHECK_STR(w->out.bytes, "x\n");
}

/* The holder's image is a descriptor of the host's, which may close all it finds and reuse the number. */
TEST(tree_of_a_host_that_closes_descriptors) {
    RUN_CHILD(first, .args = BROOD_ARGS(CHILD, "print", "x"), TREE);
    int taken = -1;
    for (int fd = 3; fd < 64 && taken < 0; fd++) {
        char text[64] = "";
        ssize_t n = readlink(test_format("/proc/self/fd/%d", fd), text, sizeof text - 1);
        if (n > 0 && strstr(text, "memfd:brood-holder"))
            taken = fd;
    }
    CHECK_GE(taken, 0);
    CHECK_EQ(test_fd(dup2(test_fd(open("/dev/null", O_RDONLY | O_CLOEXEC)), taken)), taken);
    RUN_CHILD(again, .args = BROOD_ARGS(CHILD, "print", "y"), TREE);
    CHECK_STR(again->out.bytes, "y\n");
}

TEST(tree_keeps_the_terminal_and_the_group_of_its_host) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "session"), TREE);
    CHECK_EQ(atoi(line_of(w->out.bytes, "pgid")), getpgrp());
    CHECK_EQ(atoi(line_of(w->out.bytes, "sid")), getsid(0));
    RUN_CHILD(own, .args = BROOD_ARGS(CHILD, "session"), TREE, .detached = true);
    CHECK_EQ(atoi(line_of(own->out.bytes, "sid")), atoi(line_of(own->out.bytes, "pid")));
}

/* Linux starts a program's peak at its starter's, which is the holder's, not the host's. */
TEST(tree_tells_the_peak_of_the_program_alone) {
    size_t size = 200 << 20;
    char *large = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(large != MAP_FAILED);
    memset(large, 1, size);
    CHECK_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0); /* a fault for each page, in the child as well */
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "rss", "8192"), TREE, .accounting = true, .on_empty = on_empty_account);
    CHECK(w->ended.usage.max_rss_is_own);
    CHECK_GE(w->ended.usage.max_rss_kb, 8 * 1024);
    CHECK_LT(w->ended.usage.max_rss_kb, 64 * 1024);
    CHECK_GE(accounts.max_rss_kb, w->ended.usage.max_rss_kb);
    CHECK_GT(accounts.minor_faults, (8 << 20) / sysconf(_SC_PAGESIZE));
    CHECK_EQ(munmap(large, size), 0);
}

/* --- the holder in bad hands --- */

TEST(tree_whose_holder_is_killed) {
    have_holders();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "hold"), TREE, .close_grace_ms = 50);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_NE(pid_at(w, 0), getpid());
    bool kernel = brood_child_guarantee(w->child) == BROOD_GUARANTEE_KERNEL;
    CHECK_EQ(kill(pid_at(w, 0), SIGKILL), 0);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->ended.stop_error, kernel ? 0 : -EOWNERDEAD);
    CHECK(test_process_gone(w->pid)); /* the kernel sees to that */
    CHECK(!brood_exit_ok(&w->ended));
    CHECK_EQ(brood_child_guarantee(w->child), kernel ? BROOD_GUARANTEE_KERNEL : BROOD_GUARANTEE_NONE);
    WAIT_UNTIL(!kernel || test_process_gone(pid_at(w, 1)));
    if (!kernel)
        CHECK_EQ(kill(pid_at(w, 1), SIGKILL), 0);
    brood_child_close(w->child);
}

/* Which the kernel's cgroup.kill passes by. It holds the output, whose end is waited for. */
TEST(tree_whose_holder_is_killed_and_whose_first_thread_has_left) {
    if (test_is_emulated())
        SKIP("valgrind ends with the first thread");
    have_holders();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "fork", "leave-thread"), TREE);
    bool kernel = brood_child_guarantee(w->child) == BROOD_GUARANTEE_KERNEL;
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(kernel ? kill(pid_at(w, 0), SIGKILL) : brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    CHECK_EQ(w->ended.stop_error, 0);
    brood_child_close(w->child);
    if (!kernel)
        SKIP("no cgroup for a tree here");
}

TEST(tree_whose_holder_is_killed_when_its_program_has_ended) {
    have_holders();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "exit", "0"), TREE, .close_grace_ms = 50);
    RUN_UNTIL(w->closes);
    bool kernel = brood_child_guarantee(w->child) == BROOD_GUARANTEE_KERNEL;
    CHECK_GT(pid_at(w, 0), 1);
    CHECK_EQ(kill(pid_at(w, 0), SIGKILL), 0);
    RUN();
    CHECK_EQ(brood_child_guarantee(w->child), kernel ? BROOD_GUARANTEE_KERNEL : BROOD_GUARANTEE_NONE);
    CHECK_EQ(test_process_gone(pid_at(w, 1)), kernel);
    if (!kernel)
        CHECK_EQ(kill(pid_at(w, 1), SIGKILL), 0);
    brood_child_close(w->child);
}

static void ignore_signal(int number) {
    (void)number;
}

/* A program that stops its holder, and ends: the wait for it is over all the same. */
static void await_one_that_stops_its_holder(void) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "signal-parent", "STOP", "exit", "3"),
                                                   .own = BROOD_OWN_TREE},
                                  r),
             0);
    CHECK_EQ(r->exit.code, 3);
}

/* Its own signals do not keep the host from noticing that it has to nudge. */
TEST(tree_whose_holder_is_stopped_while_the_host_gets_signals) {
    have_holders();
    struct sigaction action = {.sa_handler = ignore_signal};
    struct itimerval often = {.it_interval = {.tv_usec = 5000}, .it_value = {.tv_usec = 5000}};
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    CHECK_EQ(setitimer(ITIMER_REAL, &often, NULL), 0);
    for (int i = 0; i < 20 && !test_failed(); i++)
        await_one_that_stops_its_holder();
    CHECK_EQ(setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL), 0);
}

TEST(tree_whose_holder_is_stopped) {
    have_holders();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(kill(pid_at(w, 0), SIGSTOP), 0);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK(test_process_gone(pid_at(w, 1)));
    brood_child_close(w->child);
}

/* After it was told to end all: before it has, or when it has said so and is about to leave. */
static void stop_while_ending(test *t, long after_us) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    nanosleep(&(struct timespec){.tv_nsec = after_us * 1000}, NULL);
    CHECK_EQ(kill(pid_at(w, 0), SIGSTOP), 0); /* nobody has waited for it */
    RUN();
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK_EQ(w->ended.stop_error, 0);
    CHECK(test_process_gone(pid_at(w, 1)));
    brood_child_close(w->child);
    RUN();
}

TEST(tree_whose_holder_is_stopped_while_it_ends_all) {
    have_holders();
    for (long after_us = 0; after_us < 2000 && !test_failed(); after_us += 20)
        stop_while_ending(t, after_us);
}

static void leave_cgroup(void *path) {
    const char *around = test_format("%s/../cgroup.procs", (char *)path);
    brood__guard_done(); /* there is one in it, where trees can be started into a cgroup that was killed once */
    ENSURE(test_write_existing(around, "0"));
    while (rmdir(path) < 0) {
        ENSURE(errno == EBUSY);
        test_nap();
    }
}

/* By whoever used it before: the kernel must not take a tree that is started from there for what was to be killed. */
TEST(tree_from_a_cgroup_that_was_killed_once) {
    const char *own = test_cgroup(), *path = test_format("%s/killed-%d", own, (int)getpid());
    if (!own || mkdir(path, 0755) < 0)
        SKIP("no cgroup here");
    DEFER(leave_cgroup, (void *)(uintptr_t)path);
    const char *members = test_format("%s/cgroup.procs", path), *kills = test_format("%s/cgroup.kill", path);
    pid_t victim = fork();
    if (victim == 0)
        for (test_write_existing(members, "0");;)
            pause();
    WAIT_UNTIL(*test_read_file(members));
    CHECK(test_write_existing(kills, "1"));
    CHECK_EQ(waitpid(victim, NULL, 0), victim);
    CHECK(test_write_existing(members, "0"));
    for (int i = 0; i < 2; i++) {
        brood_result *r = result_new();
        CHECK_EQ(brood_exec_file_sync(
                     &(brood_options){.args = BROOD_ARGS(CHILD, "print", "x", "exit", "3"), .own = BROOD_OWN_TREE}, r),
                 0);
        CHECK_EQ(r->exit.code, 3);
        CHECK_STR(r->out.bytes, "x\n");
    }
}

/* Again and again, by its program, which is killed as soon as it is there: it was closed while it was started. */
TEST(tree_whose_start_is_taken_back_while_its_holder_is_stopped) {
    have_holders();
    const char *stops = "echo >&3; n=0; while [ $n -lt 20000 ]; do n=$((n+1)); kill -STOP $PPID; k=0; "
                        "while [ $k -lt 30 ]; do k=$((k+1)); done; done; exec sleep 1000";
    watch *w = watch_new();
    int runs[2];
    char byte;
    CHECK_EQ(pipe2(runs, O_CLOEXEC), 0);
    brood_slot slot = {.slot = 3, .io = {.kind = BROOD_STDIO_FD, .fd = runs[1]}};
    START_KEPT(w, .args = BROOD_ARGS("sh", "-c", stops), .offload = true, .slots = &slot, .slot_count = 1,
               .own = BROOD_OWN_TREE);
    CHECK_EQ(read(runs[0], &byte, 1), 1);
    brood_child_close(w->child);
    RUN();
    CHECK_EQ(close(runs[1]), 0);
    CHECK_EQ(read(runs[0], &byte, 1), 0);
    CHECK_EQ(close(runs[0]), 0);
}

/* By its own program, which then ends: somebody has to notice. */
TEST(tree_whose_holder_is_stopped_by_its_program) {
    have_holders();
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "signal-parent", "STOP", "exit", "3"), TREE);
    CHECK_EQ(w->ended.code, 3);
    await_one_that_stops_its_holder();
}

TEST(tree_whose_holder_gets_every_signal) {
    have_holders();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "hold"), TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    for (int signal = 1; signal < 32; signal++)
        if (signal != SIGKILL && signal != SIGSTOP)
            CHECK_EQ(kill(pid_at(w, 0), signal), 0);
    test_idle(20);
    CHECK_EQ(w->exits, 0);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK_EQ(w->ended.stop_error, 0);
    brood_child_close(w->child);
}

static size_t count_descriptors(pid_t pid) {
    size_t count = 0;
    DIR *dir = opendir(test_format("/proc/%d/fd", (int)pid));
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count < 2 ? 0 : count - 2; /* without the dots */
}

static const char *words_of(pid_t pid) {
    static char words[64];
    int fd = open(test_format("/proc/%d/cmdline", (int)pid), O_RDONLY | O_CLOEXEC);
    ssize_t len = read(fd, words, sizeof words - 1);
    words[len > 0 ? len : 0] = '\0';
    for (ssize_t i = 0; i + 1 < len; i++)
        words[i] = words[i] ? words[i] : ' ';
    close(fd);
    return words;
}

/* Where nothing has to be made for the tree first, both are made at once; and the holder has nothing of the host's. */
TEST(tree_whose_holder_has_borne_its_program) {
    if (test_is_emulated())
        SKIP("valgrind shares no memory with a child");
    watch *w = watch_new();
    int inherited = test_fd(fcntl(0, F_DUPFD, 9)); /* without close-on-exec */
    CHECK_GE(inherited, 0);
    RUN_CHILD(first, .args = BROOD_ARGS(CHILD, "exit", "0")); /* which learns what is here */
    if (!brood__has(BROOD__SHARED_MEMORY) || !brood__has(BROOD__CLOSE_RANGE) || !brood__has(BROOD__DIRECT))
        SKIP("it takes memory that is shared, and close_range(2), and is for who would start it into a cgroup");
    brood__probe_force("cgroup", true);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "hold"), TREE);
    brood__probe_force("cgroup", false);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t holder = pid_at(w, 0);
    WAIT_UNTIL(*words_of(holder)); /* it may still be in the middle of its exec */
    const char *words = words_of(holder);
    CHECK_STR(words, test_format("brood-holder %d %d", (int)getpid(), (int)w->pid));
    CHECK_EQ(getsid(holder), holder);
    CHECK_EQ(getsid(w->pid), getsid(0));
    CHECK_EQ(count_descriptors(holder), 6); /* the line three times, host, /proc, the ends of its children */
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_BEST_EFFORT);
    brood_child_close(w->child);
    RUN();
    CHECK_EQ(test_process_state(holder), 0);
    CHECK(test_process_gone(w->pid));
}

/* The kernel would end a holder in the middle of its exec, and nobody would own the program. */
TEST(tree_is_refused_where_its_holder_has_no_room) {
    if (test_is_emulated())
        SKIP("valgrind needs more room than that");
    if (IS_SANITIZED)
        SKIP("a sanitizer needs much room");
    struct rlimit before, little = {.rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY};
    brood_rlimit much = {RLIMIT_AS, UINT64_MAX, UINT64_MAX};
    brood_child *child;
    brood_failure why;
    CHECK_EQ(getrlimit(RLIMIT_AS, &before), 0);
    if (before.rlim_max != RLIM_INFINITY)
        SKIP("address space is limited here");
    RUN_CHILD(first, .args = BROOD_ARGS(CHILD, "exit", "0"));
    brood__probe_force("cgroup", true);
    brood_options options = {.args = BROOD_ARGS(CHILD, "exit", "0"), TREE, .rlimits = &much, .rlimit_count = 1};
    CHECK_EQ(setrlimit(RLIMIT_AS, &little), 0);
    int r = brood_spawn(t->loop, &options, &child, &why);
    CHECK_EQ(setrlimit(RLIMIT_AS, &before), 0);
    brood__probe_force("cgroup", false);
    RUN();
    CHECK_EQ(r, -EPIPE);
    CHECK_EQ(why.step, BROOD_STEP_HOLDER);
}

/* One at any moment of a start, also of what does not wait: the program must not be taken for started before it is. */
TEST(tree_starts_while_the_host_gets_signals) {
    struct sigaction action = {.sa_handler = ignore_signal};
    RUN_CHILD(first, .args = BROOD_ARGS(CHILD, "exit", "0"));
    brood__probe_force("cgroup", true);
    CHECK_EQ(sigaction(SIGALRM, &action, NULL), 0);
    for (int i = 1; i < 1000 && !test_failed(); i++) {
        brood_result *r = result_new();
        struct itimerval once = {.it_value = {.tv_usec = i}};
        CHECK_EQ(setitimer(ITIMER_REAL, &once, NULL), 0);
        CHECK_EQ(
            brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "exit", "3"), .own = BROOD_OWN_TREE}, r),
            0);
        CHECK_EQ(r->exit.code, 3);
    }
    brood__probe_force("cgroup", false);
}

/* A child of the test's, which is given up as such a holder is: whatever comes next waits for it, once it has ended. */
TEST(tree_whose_holder_was_given_up_leaves_no_zombie) {
    if (test_is_emulated())
        SKIP("valgrind knows no pidfd_open(2)");
    have_holders();
    int held[2];
    char byte;
    CHECK_EQ(pipe2(held, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(held[1]);
        _exit(read(held[0], &byte, 1) > 0);
    }
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    CHECK_GE(pidfd, 0);
    brood__leftover_take(pidfd);
    RUN_CHILD(one, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK(!test_process_gone(pid));
    close(held[0]), close(held[1]);
    siginfo_t info; /* a first thread is a zombie before the others have gone, and can be waited for after them */
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    CHECK_EQ(test_process_state(pid), 'Z');
    RUN_CHILD(other, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK_EQ(test_process_state(pid), 0);
}

/* A debugger holds the holder: nothing that the host does makes it go on. The host does not hang with it. */
TEST(tree_whose_holder_hangs_is_given_up) {
    have_holders();
    if (!getenv("BROOD_TEST_MANY"))
        SKIP("ten seconds: set BROOD_TEST_MANY");
    if (!may_be_traced())
        SKIP("nobody may be traced here");
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "exit", "0"), TREE, .close_grace_ms = 50);
    RUN_UNTIL(w->closes);
    pid_t holder = pid_at(w, 0), orphan = pid_at(w, 1);
    CHECK_EQ(ptrace(PTRACE_SEIZE, holder, 0, 0), 0);
    CHECK_EQ(ptrace(PTRACE_INTERRUPT, holder, 0, 0), 0);
    WAIT_UNTIL(test_process_state(holder) == 't');
    brood_child_close(w->child);
    RUN();
    CHECK(!test_process_gone(orphan));
    CHECK_EQ(ptrace(PTRACE_DETACH, holder, 0, 0), 0);
    WAIT_UNTIL(test_process_gone(orphan) && test_process_gone(holder));
    RUN_CHILD(other, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK_EQ(test_process_state(holder), 0);
}

/* --- what is guaranteed --- */

/* Whether a cgroup can be had depends on the host: what is asked for is given, or refused. */
TEST_TORTURE(tree_that_requires_the_kernels_guarantee) {
    brood_failure why = {0};
    watch *w = watch_new();
    brood_options options = {
        .args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "2"), TREE, WATCH(w), .require = BROOD_GUARANTEE_KERNEL};
    int r = brood_spawn(t->loop, &options, &w->child, &why);
    if (r < 0) {
        RUN();
        CHECK_EQ(r, -EOPNOTSUPP);
        CHECK_EQ(why.step, BROOD_STEP_HOLDER);
        CHECK_HAS(why.message, "cgroup2");
        CHECK(w->child == NULL);
        return;
    }
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    CHECK(test_process_gone(pid_at(w, 0)));
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
    brood_child_close(w->child);
}

TEST(tree_guarantees_without_a_cgroup) {
    brood__probe_force("cgroup", true);
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "hop"), TREE);
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_BEST_EFFORT);
    CHECK_STR(brood_guarantee_text(brood_child_guarantee(w->child)), "best-effort");
    RUN_UNTIL(w->exits);
    brood_child_kill_owned(w->child, SIGKILL);
    RUN();
    CHECK(test_process_gone(pid_at(w, 0)));
    brood_child_close(w->child);
    brood_failure why;
    CHECK_EQ(watch_refused(
                 t, &why,
                 &(brood_options){.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .require = BROOD_GUARANTEE_KERNEL}),
             -EOPNOTSUPP);
    RUN_CHILD(group, .args = BROOD_ARGS(CHILD), .own = BROOD_OWN_GROUP);
    CHECK_EQ(
        watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .require = BROOD_GUARANTEE_BEST_EFFORT}),
        -EINVAL);
    brood__probe_force("cgroup", false);
}

/* --- in a PID namespace --- */

/* Of a process that is alive. */
static pid_t parent_of(pid_t pid) {
    const char *line = line_of(test_read_file(test_format("/proc/%d/status", (int)pid)), "PPid");
    return line ? atoi(line) : 0;
}

static bool can_make_namespaces(void) {
    brood_child *child;
    int r = brood_spawn(test_loop(),
                        &(brood_options){.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .pid_namespace = true},
                        &child, NULL);
    if (r == 0)
        brood_child_close(child);
    uv_run(test_loop(), UV_RUN_DEFAULT);
    return r != -EPERM;
}

#define NEED_NAMESPACES                                                                                                \
    if (test_is_emulated())                                                                                            \
        SKIP("valgrind knows no pidfd_open(2)");                                                                       \
    if (!can_make_namespaces())                                                                                        \
    SKIP("no leave to make a PID namespace")

TEST_TORTURE(tree_in_a_namespace) {
    NEED_NAMESPACES;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "orphan", "forever", "escape", "forever", "hold"), TREE,
               .pid_namespace = true, .require = BROOD_GUARANTEE_KERNEL);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(pid_at(w, 0), 1); /* its parent, the holder */
    CHECK_GT(pid_at(w, 1), 1);
    CHECK_GT(100, pid_at(w, 1));
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
    pid_t program = brood_child_pid(w->child);
    CHECK(!test_process_gone(program)); /* its number here */
    CHECK_EQ(brood_child_members(w->child, NULL, 0), 3);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK(test_process_gone(program));
    brood_child_close(w->child);
}

/* Its own /proc shows it, and no one else. */
TEST(tree_in_a_namespace_has_a_proc_of_its_own) {
    NEED_NAMESPACES;
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_sync("ls /proc | grep -c '^[0-9]*$'; readlink /proc/self",
                             &(brood_options){.own = BROOD_OWN_TREE, .pid_namespace = true}, r),
             0);
    CHECK_EQ(r->exit.code, 0);
    CHECK_GT(6, atoi(r->out.bytes)); /* holder, shell, ls, grep */
    CHECK(access("/proc/self/fd", F_OK) == 0);
}

TEST(tree_in_a_namespace_goes_with_its_holder) {
    NEED_NAMESPACES;
    brood__probe_force("cgroup", true);
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "escape", "forever", "hold"), TREE,
               .pid_namespace = true);
    CHECK_EQ(brood_child_guarantee(w->child), BROOD_GUARANTEE_KERNEL);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t holder = parent_of(brood_child_pid(w->child));
    CHECK_EQ(kill(holder, SIGKILL), 0);
    RUN();
    CHECK(w->ended.signal == SIGKILL || w->ended.reason == BROOD_REASON_UNKNOWN); /* as the kernel tells */
    CHECK_EQ(w->ended.stop_error, 0);
    CHECK_STR(w->out.bytes + w->out.len - 6, "ready\n"); /* and all who had the pipe have gone */
    brood_child_close(w->child);
    brood__probe_force("cgroup", false);
}

TEST_TORTURE(tree_in_a_namespace_that_was_let_live) {
    NEED_NAMESPACES;
    watch *w = watch_new();
    const char *ms = test_format("%ld", 200 * test_slow());
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", ms, "exit", "3"), TREE, .pid_namespace = true);
    brood_child_detach(w->child);
    RUN(); /* the pipe is at its end when the orphan has ended by itself */
    CHECK_EQ(w->ended.code, 3);
    CHECK_HAS(w->log, "end");
    brood_child_close(w->child);
}

TEST(tree_alone_has_accounts_and_a_namespace) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .pid_namespace = true}), -EINVAL);
    CHECK_STR(why.subject, "pid_namespace");
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .accounting = true}), -EINVAL);
    CHECK_STR(why.subject, "accounting");
}

/* --- the host goes --- */

typedef enum ending { KILLED, CRASHED, LEFT, EXECED, COPIED, HOLDER_STOPPED, HOLDER_STOPPED_AS_ANOTHER } ending;

static bool tree_is_ready;

static void host_reads(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream;
    ENSURE(write(*(int *)data, bytes, len) == (ssize_t)len);
    tree_is_ready = tree_is_ready || memmem(bytes, len, "ready", 5);
}

/* A host of its own: it passes on what its tree prints, and lives until it goes. Everything that it has forked keeps all
 * of its descriptors open. */
static void be_host(int out, ending how, int until) {
    uv_loop_t loop;
    brood_child *child;
    uv_loop_init(&loop);
    brood_options options = {.args = BROOD_ARGS(CHILD, "orphan", "forever", "stubborn", "hold"),
                             .own = BROOD_OWN_TREE,
                             .out = {.on_data = host_reads},
                             .data = &out};
    alarm(40);
    if (how == HOLDER_STOPPED_AS_ANOTHER && setresuid(65534, 0, 0) < 0)
        _exit(1);
    if (brood_spawn(&loop, &options, &child, NULL) < 0)
        _exit(1);
    while (!tree_is_ready)
        uv_run(&loop, UV_RUN_ONCE);
    if (how == COPIED && fork() == 0) {
        char byte;
        while (read(until, &byte, 1) > 0) {} /* until the test lets it go it has the line open */
        _exit(0);
    }
    if (how == LEFT)
        _exit(0);
    if (how == CRASHED)
        abort();
    if (how == EXECED)
        execl(CHILD, CHILD, "pause", (char *)NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
}

static void check_host_that_goes(test *t, ending how) {
    int told[2], held[2];
    char text[256] = "";
    size_t len = 0;
    CHECK_EQ(pipe2(told, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(held, O_CLOEXEC), 0);
    pid_t host = fork();
    if (host == 0) {
        close(held[1]);
        signal(SIGABRT, SIG_DFL);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        be_host(told[1], how, held[0]);
        _exit(3);
    }
    close(told[1]);
    while (!strstr(text, "ready")) {
        ssize_t n = read(told[0], text + len, sizeof text - len - 1);
        CHECK_GT(n, 0);
        len += (size_t)n;
        text[len] = 0;
    }
    pid_t orphan = atoi(text), stubborn = atoi(strchr(text, '\n') + 1);
    CHECK_GT(orphan, 0);
    CHECK_GT(stubborn, 0);
    if (how == HOLDER_STOPPED || how == HOLDER_STOPPED_AS_ANOTHER) {
        CHECK_GT(parent_of(orphan), 1);
        CHECK_EQ(kill(parent_of(orphan), SIGSTOP), 0);
    }
    if (how != CRASHED && how != LEFT && how != EXECED)
        kill(host, SIGKILL);
    WAIT_UNTIL(test_process_gone(orphan) && test_process_gone(stubborn));
    close(held[0]);
    close(held[1]);
    if (how == EXECED)
        kill(host, SIGKILL); /* it went as a host, not as a process */
    CHECK_EQ(waitpid(host, NULL, 0), host);
    while (read(told[0], text, sizeof text) > 0) {} /* whoever else was of it has left as well */
    close(told[0]);
    (void)t;
}

TEST(tree_goes_with_a_host_that_is_killed) {
    check_host_that_goes(t, KILLED);
}

TEST(tree_goes_with_a_host_that_crashes) {
    check_host_that_goes(t, CRASHED);
}

TEST(tree_goes_with_a_host_that_leaves) {
    check_host_that_goes(t, LEFT);
}

TEST(tree_goes_with_a_host_that_becomes_another_program) {
    check_host_that_goes(t, EXECED);
}

/* A fork of it has every descriptor open, the holder's line as well. */
TEST(tree_goes_with_a_host_that_has_forked) {
    check_host_that_goes(t, COPIED);
}

/* Nobody is left who would tell the holder to go on: the kernel does. */
TEST(tree_goes_with_a_host_that_is_killed_while_the_holder_is_stopped) {
    have_holders();
    check_host_that_goes(t, HOLDER_STOPPED);
}

/* Where the effective user is not the real one, exec takes from a holder what the kernel was asked to do then. */
TEST(tree_goes_with_a_host_of_two_users_that_is_killed_while_the_holder_is_stopped) {
    if (geteuid() != 0)
        SKIP("not root");
    have_holders();
    check_host_that_goes(t, HOLDER_STOPPED_AS_ANOTHER);
}

/* What it had let live does so, however soon it leaves. */
TEST(tree_that_was_let_live_by_a_host_that_leaves) {
    for (int i = 0; i < 10; i++) {
        int told[2];
        char text[64] = "";
        CHECK_EQ(pipe2(told, O_CLOEXEC), 0);
        pid_t host = fork();
        if (host == 0) {
            uv_loop_t loop;
            brood_child *child;
            uv_loop_init(&loop);
            brood_options options = {.args = BROOD_ARGS(CHILD, "hold"),
                                     .own = BROOD_OWN_TREE,
                                     .out = {.kind = BROOD_STDIO_FD, .fd = told[1]}};
            if (brood_spawn(&loop, &options, &child, NULL) < 0)
                _exit(1);
            for (int n = 0; n < 5 * i; n++)
                brood_child_kill_owned(child, SIGCONT); /* it has something to do before it reads the release */
            brood_child_detach(child);
            dprintf(told[1], "%d\n", (int)brood_child_pid(child));
            _exit(0);
        }
        int status;
        CHECK_EQ(waitpid(host, &status, 0), host);
        CHECK_EQ(status, 0);
        close(told[1]);
        size_t len = 0;
        ssize_t n = 1;
        while (!strstr(text, "ready") && n > 0 && (n = read(told[0], text + len, sizeof text - len - 1)) > 0)
            len += (size_t)n;
        CHECK_HAS(text, "ready"); /* it was not killed at birth */
        pid_t pid = atoi(text[0] == 'r' ? strchr(text, '\n') + 1 : text);
        CHECK_GT(pid, 0);
        test_nap();
        CHECK(!test_process_gone(pid));
        CHECK_EQ(kill(pid, SIGKILL), 0);
        while (read(told[0], text, sizeof text) > 0) {}
        close(told[0]);
    }
}

/* A signal that it sent before reaches what it lets live, also if the holder reads of all of that at once. */
TEST(tree_that_was_signalled_and_let_live_by_a_host_that_leaves) {
    int told[2], go[2], life[2];
    char text[256] = "";
    size_t len = 0;
    CHECK_EQ(pipe2(told, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(go, O_CLOEXEC), 0);
    CHECK_EQ(pipe2(life, O_CLOEXEC), 0);
    pid_t host = fork();
    if (host == 0) {
        uv_loop_t loop;
        brood_child *child;
        uv_loop_init(&loop);
        brood_options options = {.args = BROOD_ARGS(CHILD, "tell", "USR1", "ready", "wait-eof"),
                                 .own = BROOD_OWN_TREE,
                                 .in = {.kind = BROOD_STDIO_FD, .fd = life[0]},
                                 .out = {.kind = BROOD_STDIO_FD, .fd = told[1]}};
        close(go[1]), close(life[1]);
        if (brood_spawn(&loop, &options, &child, NULL) < 0 || read(go[0], text, 1) != 1)
            _exit(1);
        for (int n = 0; n < 20; n++)
            brood_child_kill_owned(child, SIGUSR1);
        brood_child_detach(child);
        _exit(0);
    }
    close(told[1]);
    while (!strstr(text, "got 10\n")) {
        ssize_t n = read(told[0], text + len, sizeof text - len - 1);
        CHECK_GT(n, 0);
        text[len += (size_t)n] = 0;
        if (strcmp(text, "ready\n") == 0)
            CHECK_EQ(write(go[1], "", 1), 1);
    }
    close(life[0]), close(life[1]);
    while (read(told[0], text, sizeof text) > 0) {} /* until it has left */
    int status;
    CHECK_EQ(waitpid(host, &status, 0), host);
    CHECK_EQ(status, 0);
    close(go[0]), close(go[1]), close(told[0]);
}

TEST(tree_of_a_host_that_ignores_its_children) {
    signal(SIGCHLD, SIG_IGN);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "7"), TREE);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED); /* the holder has waited for it */
    CHECK_EQ(w->ended.code, 7);
    signal(SIGCHLD, SIG_DFL);
}
