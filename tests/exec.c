/*
 * The exec forms on a loop: the one answer, what is collected, limits, what is said of a pipe that somebody else holds,
 * and what a child cost.
 */
#include "harness/watch.h"

#include <sched.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* These own trees, unless the whole run is to have starts that neither are waited for nor wake the loop. */
static brood_options chosen(const brood_options *options) {
    brood_options all = *options;
    if (all.own == BROOD_OWN_DEFAULT && getenv("BROOD_TEST_AHEAD"))
        all.own = BROOD_OWN_GROUP;
    return all;
}

static answer *exec_file(test *t, const brood_options *options) {
    answer *a = answer_new();
    brood_options all = chosen(options);
    int r = brood_exec_file(t->loop, &all, answer_on_result, a, NULL);
    ENSURE(r == 0);
    ENSURE(a->count == 0);
    if (r == 0)
        test_run();
    ENSURE(a->count == 1);
    return a;
}

static answer *exec(test *t, const char *command, const brood_options *options) {
    answer *a = answer_new();
    brood_options all = chosen(options ? options : &(brood_options){0});
    int r = brood_exec(t->loop, command, options || all.own ? &all : NULL, answer_on_result, a, NULL);
    ENSURE(r == 0);
    ENSURE(a->count == 0);
    if (r == 0)
        test_run();
    ENSURE(a->count == 1);
    return a;
}

#define EXEC_FILE(a, ...)                                                                                              \
    answer *a = exec_file(t, &(brood_options){__VA_ARGS__});                                                           \
    CHECK(!test_failed())
#define EXEC(a, command, ...)                                                                                          \
    answer *a = exec(t, command, &(brood_options){__VA_ARGS__});                                                       \
    CHECK(!test_failed())

TEST_TORTURE(exec_answers_with_everything) {
    EXEC(a, "echo out; echo err >&2; exit 3", 0);
    CHECK_STR(a->result.out.bytes, "out\n");
    CHECK_EQ(a->result.out.len, 4);
    CHECK_STR(a->result.err.bytes, "err\n");
    CHECK_EQ(a->result.exit.code, 3);
    CHECK_EQ(a->result.exit.signal, 0);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_EXITED);
    CHECK_GT(a->result.exit.pid, 0);
    CHECK_EQ(a->result.out_dropped, 0);
    CHECK(!a->result.cut);
    CHECK_EQ(a->result.cut_pid, 0);
    CHECK_EQ(a->result.failure.code, 0);
    CHECK_HAS(a->result.command, "echo out; echo err >&2; exit 3");
    CHECK_HAS(a->result.message, "3");
    CHECK_GT(a->result.total_us, 0);
    CHECK_LE(a->result.queued_us, a->result.total_us);
    CHECK_LE(a->result.exit.run_us, a->result.total_us);
}

TEST(exec_without_options) {
    answer *a = exec(t, "echo a | tr a b", NULL);
    CHECK_STR(a->result.out.bytes, "b\n");
    CHECK(brood_exit_ok(&a->result.exit));
    CHECK(!a->result.error_name);
    CHECK(*a->result.message);
    CHECK_STR(a->result.err.bytes, "");
}

TEST(exec_of_a_shell_that_dies) {
    EXEC(a, "kill -9 $$", 0);
    CHECK_EQ(a->result.exit.signal, SIGKILL);
    CHECK_EQ(a->result.exit.code, -1);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_SIGNALED);
    CHECK_HAS(a->result.message, "SIGKILL");
}

TEST(exec_of_an_unknown_command) {
    EXEC(a, "no-such-program-anywhere", 0);
    CHECK_EQ(a->result.exit.code, 127);
    CHECK_HAS(a->result.err.bytes, "no-such-program-anywhere");
    EXEC(nothing, "", 0);
    CHECK_EQ(nothing->result.exit.code, 0);
}

TEST(exec_reads_nothing_unless_given) {
    EXEC(a, "cat; echo end", 0);
    CHECK_STR(a->result.out.bytes, "end\n");
    EXEC(b, "cat; echo end", .in = {.input = "given ", .input_len = BROOD_NUL});
    CHECK_STR(b->result.out.bytes, "given end\n");
}

TEST(exec_by_another_shell) {
    static const char script[] = "#!/bin/sh\necho \"shell: $1 $2 $#\"\n";
    const char *shell = test_path(t, "shell");
    test_write_file(shell, script, sizeof script - 1, 0755);
    EXEC(a, "the command", .shell = shell);
    CHECK_STR(a->result.out.bytes, "shell: -c the command 2\n");
    EXEC(b, "true", .shell = "/no/such/shell");
    CHECK_EQ(b->result.exit.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(b->result.failure.code, -ENOENT);
    CHECK_HAS(b->result.message, "/no/such/shell");
}

TEST(exec_with_environment_and_directory) {
    EXEC(a, "echo $A; pwd", .env = BROOD_ARGS("A=1 2"), .cwd = "/");
    CHECK_STR(a->result.out.bytes, "1 2\n/\n");
}

TEST(exec_in_a_group_of_its_own) {
    EXEC_FILE(group, .args = BROOD_ARGS(CHILD, "session"), .own = BROOD_OWN_GROUP);
    CHECK_STR(line_of(group->result.out.bytes, "pgid"), test_format("%d", (int)group->result.exit.pid));
    CHECK_STR(line_of(group->result.out.bytes, "sid"), test_format("%d", (int)getsid(0)));
    EXEC_FILE(child, .args = BROOD_ARGS(CHILD, "session"), .own = BROOD_OWN_CHILD);
    CHECK_STR(line_of(child->result.out.bytes, "pgid"), test_format("%d", (int)getpgrp()));
}

TEST(exec_refuses_what_it_cannot_answer) {
    answer *a = answer_new();
    CHECK_EQ(brood_exec(t->loop, NULL, NULL, answer_on_result, a, NULL), -EINVAL);
    CHECK_EQ(brood_exec(NULL, "true", NULL, answer_on_result, a, NULL), -EINVAL);
    RUN();
    CHECK_EQ(a->count, 0);
}

TEST_TORTURE(exec_file_hands_arguments_on_as_they_are) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "args0", "x; rm -rf /", "$(id)", "`id`", "a\nb", "", "\xff"));
    static const char expected[] = "x; rm -rf /\0$(id)\0`id`\0a\nb\0\0\xff";
    CHECK_EQ(a->result.out.len, sizeof expected);
    CHECK(memcmp(a->result.out.bytes, expected, sizeof expected) == 0);
    CHECK_EQ(a->result.out.bytes[a->result.out.len], 0);
    CHECK_HAS(a->result.command, "'x; rm -rf /'");
}

TEST(exec_file_reports_a_missing_program) {
    EXEC_FILE(a, .args = BROOD_ARGS("no-such-program-anywhere", "an argument"));
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(a->result.exit.code, -1);
    CHECK_EQ(a->result.exit.pid, 0);
    CHECK_EQ(a->result.failure.code, -ENOENT);
    CHECK_EQ(a->result.failure.step, BROOD_STEP_EXEC);
    CHECK_STR(a->result.failure.subject, "no-such-program-anywhere");
    CHECK_STR(a->result.error_name, "ENOENT");
    CHECK_STR(a->result.command, "no-such-program-anywhere 'an argument'");
    CHECK_HAS(a->result.message, "no-such-program-anywhere");
    CHECK_STR(a->result.out.bytes, "");
    CHECK_STR(a->result.err.bytes, "");
}

TEST(exec_file_reports_what_could_not_be_done) {
    EXEC_FILE(cwd, .args = BROOD_ARGS("true"), .cwd = "/no/such");
    CHECK_EQ(cwd->result.failure.step, BROOD_STEP_CWD);
    CHECK_STR(cwd->result.error_name, "ENOENT");
    CHECK_HAS(cwd->result.message, "/no/such");
    EXEC_FILE(directory, .args = BROOD_ARGS("/"));
    CHECK_STR(directory->result.error_name, "EACCES");
}

TEST(exec_takes_callbacks_beside_the_answer) {
    watch *w = watch_new();
    answer *a = answer_new();
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "both"), WATCH(w)}, answer_on_result,
                             a, &w->child),
             0);
    CHECK(w->child);
    CHECK_EQ(brood_child_pid(w->child), 0); /* it is started off the loop */
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_STR(a->result.out.bytes, "out\n");
    CHECK_EQ(w->spawns, 1);
    CHECK_EQ(w->exits, 1);
    CHECK_EQ(w->closes, 1);
    brood_child_close(w->child);
}

TEST(exec_needs_no_answer) {
    CHECK_EQ(brood_exec(t->loop, "echo unheard", NULL, NULL, NULL, NULL), 0);
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS("/no/such")}, NULL, NULL, NULL), 0);
    RUN();
}

static void keep_nothing(brood_result *result, void *data) {
    ENSURE(result->out.len == 2);
    ++*(int *)data;
}

TEST(exec_frees_an_answer_that_nobody_took) {
    int *count = NEW(int);
    CHECK_EQ(brood_exec(t->loop, "echo x", NULL, keep_nothing, count, NULL), 0);
    RUN();
    CHECK_EQ(*count, 1);
}

TEST(result_done_is_harmless) {
    brood_result_done(NULL);
    brood_result zero = {0};
    brood_result_done(&zero);
    EXEC(a, "echo x", 0);
    brood_result_done(&a->result);
    CHECK(!a->result.memory);
    CHECK_EQ(a->result.out.len, 0);
    brood_result_done(&a->result);
}

TEST(exec_of_many_at_a_time) {
    enum { COUNT = 60 };
    answer *a[COUNT];
    for (int i = 0; i < COUNT; i++) {
        a[i] = answer_new();
        CHECK_EQ(brood_exec_file(t->loop,
                                 &(brood_options){.args = BROOD_ARGS(CHILD, "print", test_format("number %d", i),
                                                                     "exit", test_format("%d", i))},
                                 answer_on_result, a[i], NULL),
                 0);
    }
    RUN();
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(a[i]->count, 1);
        CHECK_EQ(a[i]->result.exit.code, i);
        CHECK_STR(a[i]->result.out.bytes, test_format("number %d\n", i));
    }
}

static void exec_again(brood_result *result, void *data) {
    int *left = data;
    ENSURE(result->exit.code == 0);
    if (--*left > 0)
        ENSURE(brood_exec_file(test_loop(), &(brood_options){.args = BROOD_ARGS(CHILD, "exit", "0")}, exec_again, left,
                               NULL) == 0);
}

TEST(exec_from_within_an_answer) {
    int *left = NEW(int);
    *left = 20;
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "exit", "0")}, exec_again, left, NULL),
             0);
    RUN();
    CHECK_EQ(*left, 0);
}

/* --- limits --- */

TEST_TORTURE(max_buffer_keeps_what_was_read_and_counts_the_rest) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "bytes", "100000", "hold"), .max_buffer = 1000);
    CHECK(is_pattern(a->result.out.bytes, a->result.out.len, 1000));
    CHECK_EQ(a->result.out.bytes[1000], 0);
    CHECK_GT(a->result.out_dropped, 0);
    CHECK_EQ(a->result.err_dropped, 0);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_OUTPUT_LIMIT);
    CHECK_STR(a->result.error_name, "ERR_CHILD_PROCESS_STDIO_MAXBUFFER");
    CHECK_HAS(a->result.message, "max_buffer");
}

TEST(max_buffer_is_a_mebibyte_unless_told) {
    EXEC_FILE(full, .args = BROOD_ARGS(CHILD, "bytes", "1048576", "exit", "2"));
    CHECK(is_pattern(full->result.out.bytes, full->result.out.len, 1048576));
    CHECK_EQ(full->result.exit.reason, BROOD_REASON_EXITED);
    CHECK_EQ(full->result.exit.code, 2);
    CHECK_EQ(full->result.out_dropped, 0);
    EXEC_FILE(over, .args = BROOD_ARGS(CHILD, "bytes", "1048577", "pause"));
    CHECK(is_pattern(over->result.out.bytes, over->result.out.len, 1048576));
    CHECK_EQ(over->result.exit.reason, BROOD_REASON_OUTPUT_LIMIT);
    CHECK_EQ(over->result.out_dropped, 1);
}

TEST(max_buffer_may_be_none_at_all) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "bytes", "5000000"), .max_buffer = SIZE_MAX);
    CHECK(is_pattern(a->result.out.bytes, a->result.out.len, 5000000));
    CHECK(brood_exit_ok(&a->result.exit));
}

TEST(max_buffer_is_of_each_slot) {
    EXEC_FILE(both, .args = BROOD_ARGS(CHILD, "bytes", "1000", "bytes-to", "2", "1000"), .max_buffer = 1000);
    CHECK_EQ(both->result.out.len, 1000);
    CHECK_EQ(both->result.err.len, 1000);
    CHECK(brood_exit_ok(&both->result.exit));
    EXEC_FILE(err, .args = BROOD_ARGS(CHILD, "bytes", "10", "bytes-to", "2", "1001", "pause"), .max_buffer = 1000);
    CHECK_EQ(err->result.out.len, 10);
    CHECK_EQ(err->result.err.len, 1000);
    CHECK_EQ(err->result.err_dropped, 1);
    CHECK_EQ(err->result.exit.reason, BROOD_REASON_OUTPUT_LIMIT);
}

TEST(max_buffer_of_a_child_that_ends_by_itself) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "bytes", "2000", "exit", "5"), .max_buffer = 1000);
    CHECK_EQ(a->result.out.len, 1000);
    CHECK_EQ(a->result.out_dropped, 1000);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_OUTPUT_LIMIT);
    CHECK_STR(a->result.error_name, "ERR_CHILD_PROCESS_STDIO_MAXBUFFER");
}

TEST_TORTURE(exec_times_out) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "print", "before", "pause"), .timeout_ms = (uint64_t)(200 * test_slow()));
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(a->result.exit.signal, SIGTERM);
    CHECK_STR(a->result.error_name, "ETIMEDOUT");
    CHECK_STR(a->result.out.bytes, "before\n");
    CHECK(*a->result.message);
}

TEST(exec_idles_out) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "print", "before", "pause"),
              .idle_timeout_ms = (uint64_t)(200 * test_slow()));
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_IDLE);
    CHECK_STR(a->result.out.bytes, "before\n");
    CHECK(a->result.error_name);
}

TEST(exec_stops_a_whole_pipeline) {
    EXEC(a, test_format("'%s' hold | cat | cat", CHILD), .timeout_ms = (uint64_t)(300 * test_slow()));
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_STR(a->result.out.bytes, "ready\n");
    CHECK(!a->result.cut);
}

TEST(exec_is_aborted) {
    brood_abort *abort = NULL;
    CHECK_EQ(brood_abort_new(&abort), 0);
    DEFER(brood_abort_free, abort);
    watch *w = watch_new();
    answer *a = answer_new();
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "hold"), .abort = abort, WATCH(w)},
                             answer_on_result, a, NULL),
             0);
    RUN_UNTIL(w->spawns);
    brood_abort_now(abort);
    RUN();
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_ABORTED);
    CHECK_STR(a->result.error_name, "ABORT_ERR");
}

/* --- pipes that others hold --- */

TEST_TORTURE(exec_cuts_the_output_of_a_daemon) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "daemon", "forever", "exit", "0"), .close_grace_ms = 150,
              .own = BROOD_OWN_GROUP);
    CHECK(brood_exit_ok(&a->result.exit));
    CHECK(a->result.cut);
    pid_t daemon = atoi(a->result.out.bytes);
    CHECK_GT(daemon, 0);
    CHECK(!test_process_gone(daemon)); /* it is named, not ended */
    pid_t told = a->result.cut_pid;
    CHECK_EQ(kill(daemon, SIGKILL), 0);
    CHECK_EQ(told, daemon);
    CHECK_HAS(a->result.message, test_format("%d", (int)daemon));
}

TEST(exec_cuts_after_a_second_unless_told) {
    uint64_t began = test_now_ms();
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "daemon", "forever"), .own = BROOD_OWN_GROUP);
    uint64_t took = test_now_ms() - began;
    CHECK_EQ(kill(atoi(a->result.out.bytes), SIGKILL), 0);
    CHECK(a->result.cut);
    CHECK_GE(took, 1000);
    CHECK_LT(took, (uint64_t)(5000 * test_slow()));
    CHECK_GE(a->result.total_us, 1000000);
    CHECK_LT(a->result.exit.run_us, 900000 * (uint64_t)test_slow());
}

/* By default all that a command has started ends with it, whoever left its group or its session. */
TEST(exec_owns_its_tree) {
    if (getenv("BROOD_TEST_AHEAD"))
        SKIP("here they own a group");
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "daemon", "forever", "exit", "0"), .close_grace_ms = 50);
    CHECK(brood_exit_ok(&a->result.exit));
    CHECK(a->result.cut);
    CHECK(test_process_gone(atoi(a->result.out.bytes)));
    CHECK_GE(a->result.guarantee, BROOD_GUARANTEE_BEST_EFFORT);
    EXEC_FILE(escape, .args = BROOD_ARGS(CHILD, "escape", "forever", "hold"),
              .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = 200);
    CHECK_EQ(escape->result.exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK(test_process_gone(atoi(escape->result.out.bytes)));
    EXEC_FILE(session, .args = BROOD_ARGS(CHILD, "session"), .detached = true);
    CHECK_STR(line_of(session->result.out.bytes, "sid"), test_format("%d", (int)session->result.exit.pid));
}

TEST(exec_takes_what_is_for_trees) {
    brood_options options = {.args = BROOD_ARGS(CHILD, "spin"),
                             .limits = {.cpu_time_ms = 20},
                             .require = BROOD_GUARANTEE_BEST_EFFORT,
                             .kill_grace_ms = 100};
    brood_result *r = result_new(), *detached = result_new();
    CHECK_EQ(brood_exec_file_sync(&options, r), 0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_CPU_TIME);
    options.detached = true;
    CHECK_EQ(brood_exec_file_sync(&options, detached), -EINVAL);
}

enum { NO_MOUNTS = 77 };

/* In a process of its own: where the root is no mount's, descriptors have other names in there. */
static void exec_where_no_proc_is(void) {
    brood_result *by_default = result_new(), *asked = result_new();
    brood_options options = {.args = BROOD_ARGS(CHILD, "session")}; /* its path is learned from there */
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/proc", NULL, MS_PRIVATE, NULL) < 0 ||
        mount("none", "/proc", "tmpfs", 0, NULL) < 0)
        _exit(NO_MOUNTS);
    CHECK_EQ(brood_exec_file_sync(&options, by_default), 0);
    CHECK_STR(line_of(by_default->out.bytes, "pgid"), test_format("%d", (int)by_default->exit.pid));
    CHECK_EQ(by_default->guarantee, BROOD_GUARANTEE_NONE);
    options.own = BROOD_OWN_TREE;
    CHECK_EQ(brood_exec_file_sync(&options, asked), -ESRCH);
    CHECK_HAS(asked->message, "/proc");
    _exit(0);
}

/* No tree can be had without a /proc: who has not asked for one has a group. */
TEST(exec_without_proc) {
    if (test_is_emulated())
        SKIP("valgrind runs a program by its name in /proc");
    int status = -1;
    pid_t pid = fork();
    if (pid == 0)
        exec_where_no_proc_is();
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_MOUNTS)
        SKIP("no mounts of its own");
    CHECK_EQ(status, 0);
}

/* The program is well, and what it left running holds its output until a stop ends that: the output is not whole. */
TEST(exec_tells_that_what_was_left_running_was_stopped) {
    const char *command = test_format("'%s' pause & exit 0", CHILD);
    for (int tree = 0; tree < 2; tree++) {
        brood_abort *abort;
        brood_child *child;
        CHECK_EQ(brood_abort_new(&abort), 0);
        DEFER(brood_abort_free, abort);
        answer *a = answer_new(), *b = answer_new();
        const brood_options pulled = {.own = tree ? BROOD_OWN_TREE : BROOD_OWN_GROUP,
                                      .abort = abort,
                                      .close_grace_ms = 60000},
                            timed = {.own = tree ? BROOD_OWN_TREE : BROOD_OWN_GROUP,
                                     .timeout_ms = (uint64_t)(300 * test_slow()),
                                     .close_grace_ms = 60000};
        CHECK_EQ(brood_exec(t->loop, command, &pulled, answer_on_result, a, &child), 0);
        RUN_UNTIL(brood_child_exit(child));
        brood_abort_now(abort);
        RUN();
        brood_child_close(child);
        CHECK(brood_exit_ok(&a->result.exit));
        CHECK(a->result.cut);
        CHECK_EQ(a->result.cut_pid, 0);
        CHECK_HAS(a->result.message, "it was aborted while ");
        CHECK_EQ(brood_exec(t->loop, command, &timed, answer_on_result, b, NULL), 0);
        RUN();
        CHECK(brood_exit_ok(&b->result.exit));
        CHECK(b->result.cut);
        CHECK_HAS(b->result.message, "its time was over while ");
        brood_result *waited = result_new();
        CHECK_EQ(brood_exec_sync(command, &timed, waited), 0);
        CHECK(brood_exit_ok(&waited->exit));
        CHECK(waited->cut);
        CHECK_HAS(waited->message, "its time was over while ");
    }
}

/* Nothing of it is owned but the program, which has ended: its time stops nobody, and the output comes to its end. */
TEST(exec_whose_time_is_over_stops_nobody_that_it_does_not_own) {
    const char *command = test_format("'%s' sleep %ld print rest & exit 0", CHILD, 400 * test_slow());
    const brood_options timed = {.own = BROOD_OWN_CHILD,
                                 .timeout_ms = (uint64_t)(200 * test_slow()),
                                 .close_grace_ms = 60000,
                                 .kill_grace_ms = 60000};
    answer *a = answer_new();
    CHECK_EQ(brood_exec(t->loop, command, &timed, answer_on_result, a, NULL), 0);
    RUN();
    CHECK_STR(a->result.out.bytes, "rest\n");
    CHECK(!a->result.cut);
    brood_result *waited = result_new();
    CHECK_EQ(brood_exec_sync(command, &timed, waited), 0);
    CHECK_STR(waited->out.bytes, "rest\n");
    CHECK(!waited->cut);
}

TEST(exec_does_not_cut_what_ends_in_time) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "daemon", "100", "print", "x"), .close_grace_ms = 10000);
    CHECK(!a->result.cut);
    CHECK_EQ(a->result.cut_pid, 0);
    CHECK_LT(a->result.total_us, 9000000);
}

TEST(exec_answers_in_time_though_an_escaped_process_holds_the_pipe) {
    uint64_t began = test_now_ms();
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "escape", "forever", "hold"), .timeout_ms = (uint64_t)(300 * test_slow()),
              .kill_grace_ms = 200, .own = BROOD_OWN_GROUP);
    pid_t escaped = atoi(a->result.out.bytes);
    CHECK_EQ(kill(escaped, SIGKILL), 0);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK(a->result.cut);
    CHECK_EQ(a->result.cut_pid, escaped);
    CHECK_LT(test_now_ms() - began, (uint64_t)(5000 * test_slow()));
}

TEST(exec_kept_and_closed) {
    answer *a = answer_new();
    watch *w = watch_new();
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "hold"), WATCH(w)}, answer_on_result,
                             a, &w->child),
             0);
    RUN_UNTIL(w->spawns);
    brood_child_close(w->child);
    RUN();
    CHECK_LE(a->count, 1);
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
}

/* --- what it cost --- */

TEST(usage_counts_the_childs_time) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "burn", "100"));
    CHECK_GE(a->result.exit.usage.user_us + a->result.exit.usage.system_us, 90000);
    CHECK_LT(a->result.exit.usage.user_us, 5000000);
    CHECK_GT(a->result.exit.usage.minor_faults, 0);
    EXEC_FILE(idle, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK_LT(idle->result.exit.usage.user_us, 90000 * (uint64_t)test_slow());
}

TEST(usage_tells_a_childs_own_peak) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "rss", "100000"));
    CHECK(a->result.exit.usage.max_rss_is_own);
    CHECK_GE(a->result.exit.usage.max_rss_kb, 100000);
    CHECK_LT(a->result.exit.usage.max_rss_kb, 150000);
}

/* On Linux a program inherits its starter's peak: never to be told as the child's. */
static void peak_of_a_host(size_t size) {
    char *block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ENSURE(block != MAP_FAILED);
    for (size_t at = 0; at < size; at += 4096)
        ((volatile char *)block)[at] = 1;
    munmap(block, size); /* the peak stays */
}

TEST(usage_never_tells_the_hosts_peak_as_the_childs) {
    peak_of_a_host(64 << 20);
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "rss", "1000"));
    const brood_usage *usage = &a->result.exit.usage;
    if (usage->max_rss_is_own)
        CHECK_LT(usage->max_rss_kb, 40000);
    else
        CHECK_GE(usage->max_rss_kb, 1000); /* at most this */
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK(!w->ended.usage.max_rss_is_own || w->ended.usage.max_rss_kb < 40000);
    EXEC_FILE(larger, .args = BROOD_ARGS(CHILD, "rss", "150000"));
    CHECK(larger->result.exit.usage.max_rss_is_own || IS_SANITIZED); /* there the host is larger still */
    CHECK_GE(larger->result.exit.usage.max_rss_kb, 150000);
}

/* --- a loop that is held up --- */

static void hold_up_the_loop(brood_child *child, void *data) {
    (void)data;
    uint64_t since = test_now_ms();
    while (!test_process_gone(brood_child_pid(child)) || test_now_ms() < since + 2 * (uint64_t)(100 * test_slow()))
        ;
}

/* When the loop turns again, the time is over; but the child was in time, and what it wrote is in the pipe. */
TEST(exec_blames_no_child_for_a_loop_that_was_held_up) {
    EXEC_FILE(a, .args = BROOD_ARGS(CHILD, "print", "in time"), .timeout_ms = (uint64_t)(100 * test_slow()),
              .idle_timeout_ms = (uint64_t)(100 * test_slow()), .close_grace_ms = 1, .on_spawn = hold_up_the_loop);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_EXITED);
    CHECK_STR(a->result.out.bytes, "in time\n");
    CHECK(!a->result.cut);
}
