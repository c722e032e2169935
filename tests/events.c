/*
 * The life of one child as its host sees it: events in Node's order, exits told as they were, references to the loop,
 * and every moment at which a child may be given up.
 */
#include "harness/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* --- events --- */

TEST_TORTURE(events_of_a_child_without_pipes) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK_STR(w->log, ""); /* nothing comes before the loop runs */
    RUN();
    CHECK_STR(w->log, "spawn exit close");
    CHECK_EQ(w->spawns, 1);
    CHECK_EQ(w->exits, 1);
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->errors, 0);
}

TEST(events_are_each_told_once_and_in_order) {
    for (int i = 0; i < 30; i++) {
        RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "x"), .offload = i % 2);
        CHECK(before(w->log, "spawn", "data"));
        CHECK(before(w->log, "data", "end"));
        CHECK(before(w->log, "end", "close"));
        CHECK(before(w->log, "exit", "close"));
        CHECK_EQ(w->spawns + w->ends + w->exits + w->closes, 4);
    }
}

TEST(events_need_no_callbacks) {
    CHECK_EQ(brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "exit", "1")}, NULL, NULL), 0);
    CHECK_EQ(
        brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "exit", "1"), .offload = true}, NULL, NULL), 0);
    CHECK_EQ(brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS("/no/such"), .offload = true}, NULL, NULL), 0);
    RUN();
}

TEST_TORTURE(events_exit_does_not_wait_for_output) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "exit", "4"), .out = WATCHED, .own = BROOD_OWN_GROUP,
               .kill_grace_ms = 100);
    RUN_UNTIL(w->exits && w->out.len);
    CHECK_EQ(w->ended.code, 4);
    CHECK_EQ(w->closes, 0);
    CHECK_EQ(w->ends, 0);
    pid_t daemon = atoi(w->out.bytes);
    CHECK_EQ(kill(daemon, SIGKILL), 0);
    RUN();
    CHECK_EQ(w->ends, 1);
    CHECK_EQ(w->closes, 1);
    CHECK(before(w->log, "end", "close"));
    brood_child_close(w->child);
}

TEST(events_close_waits_no_longer_than_told) {
    watch *w = watch_new();
    uint64_t began = test_now_ms();
    START(w, .args = BROOD_ARGS(CHILD, "daemon", "forever"), .out = WATCHED, .close_grace_ms = 150);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_GE(test_now_ms() - began, 150);
    CHECK_EQ(w->ended.code, 0);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    pid_t daemon = atoi(w->out.bytes);
    CHECK(!test_process_gone(daemon)); /* it lives: nobody stopped it */
    CHECK_EQ(kill(daemon, SIGKILL), 0);
}

/* The bound counts from the last byte: a grandchild that goes on writing is listened to. */
TEST(events_close_grace_counts_from_the_last_byte) {
    watch *w = watch_new();
    char ms[16];
    snprintf(ms, sizeof ms, "%ld", 30 * test_slow());
    START(w, .args = BROOD_ARGS("/bin/sh", "-c", "\"$0\" tick 10 \"$1\" & exit 0", CHILD, ms), .out = WATCHED,
          .close_grace_ms = (uint64_t)(200 * test_slow()));
    RUN();
    CHECK_EQ(w->out.len, 50);
    CHECK_EQ(w->closes, 1);
}

/* --- how it ended --- */

TEST(exit_tells_code_or_signal) {
    static const int codes[] = {0, 1, 7, 127, 128, 255};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", test_format("%d", codes[i])));
        CHECK_EQ(w->ended.code, codes[i]);
        CHECK_EQ(w->ended.signal, 0);
        CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
        CHECK_EQ(brood_exit_ok(&w->ended), codes[i] == 0);
        CHECK_EQ(brood_exit_status(&w->ended), codes[i]);
    }
    static const int signals[] = {SIGTERM, SIGKILL, SIGSEGV, SIGINT, SIGALRM};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "signal", test_format("%d", signals[i])));
        CHECK_EQ(w->ended.code, -1);
        CHECK_EQ(w->ended.signal, signals[i]);
        CHECK_EQ(w->ended.reason, BROOD_REASON_SIGNALED);
        CHECK(!w->ended.core_dumped);
        CHECK_EQ(brood_exit_status(&w->ended), 128 + signals[i]);
    }
    RUN_CHILD(aborted, .args = BROOD_ARGS(CHILD, "abort"));
    CHECK_EQ(aborted->ended.signal, SIGABRT);
    RUN_CHILD(real_time, .args = BROOD_ARGS(CHILD, "signal", test_format("%d", SIGRTMIN + 5)));
    CHECK_EQ(real_time->ended.signal, SIGRTMIN + 5);
}

TEST(exit_is_there_until_the_child_is_closed) {
    int data;
    watch *w = watch_new();
    brood_child *child = NULL;
    CHECK_EQ(brood_spawn(t->loop,
                         &(brood_options){.args = BROOD_ARGS(CHILD, "line", "exit", "9"),
                                          .in = {.kind = BROOD_STDIO_PIPE},
                                          .data = &data},
                         &child, NULL),
             0);
    CHECK(brood_child_data(child) == &data);
    pid_t pid = brood_child_pid(child);
    CHECK_GT(pid, 0);
    CHECK(!brood_child_exit(child));
    CHECK_EQ(brood_stream_write(brood_child_stream(child, 0), "\n", 1, NULL, NULL), 0);
    RUN();
    const brood_exit *ended = brood_child_exit(child);
    CHECK(ended);
    CHECK_EQ(ended->code, 9);
    CHECK_EQ(ended->pid, pid);
    CHECK_EQ(brood_child_pid(child), pid);
    CHECK(test_process_gone(pid));
    brood_child_close(child);
    (void)w;
}

TEST(exit_measures_the_time) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "sleep", "60"));
    CHECK_GE(w->ended.run_us, 60000);
    CHECK_LT(w->ended.run_us, 10000000);
}

static bool dumps_core(void) {
    char pattern[8] = "";
    FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");
    if (file && fread(pattern, 1, 1, file) != 1)
        *pattern = 0;
    if (file)
        fclose(file);
    return *pattern && *pattern != '|' && *pattern != '/';
}

TEST(exit_tells_of_a_core_file) {
    if (!dumps_core())
        SKIP("cores go elsewhere");
    const brood_rlimit limit = {.resource = RLIMIT_CORE, .soft = 1 << 24, .hard = 1 << 24};
    if (setrlimit(RLIMIT_CORE, &(struct rlimit){1 << 24, 1 << 24}) < 0)
        SKIP("no leave to dump core");
    watch *w = watch_new(); /* stops itself, so that a signal from outside ends it */
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .cwd = t->tmp, .rlimits = &limit,
               .rlimit_count = 1);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_child_kill(w->child, SIGQUIT), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGQUIT);
    CHECK(w->ended.core_dumped);
    brood_child_close(w->child);
}

TEST(exit_reaps_the_child) {
    for (int i = 0; i < 20; i++) {
        RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
        CHECK_EQ(test_process_state(w->pid), 0);
    }
}

/* --- references --- */

TEST_TORTURE(unref_lets_the_loop_end) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    CHECK(uv_loop_alive(t->loop));
    RUN_UNTIL(w->out.len);
    brood_child_unref(w->child);
    CHECK(!uv_loop_alive(t->loop));
    CHECK_EQ(uv_run(t->loop, UV_RUN_DEFAULT), 0);
    CHECK_EQ(w->exits, 0);
    CHECK_EQ(brood_child_kill(w->child, 0), 0); /* and the child lives */
    brood_child_ref(w->child);
    CHECK(uv_loop_alive(t->loop));
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK(before(w->log, "exit", "close") && before(w->log, "end", "close"));
    brood_child_close(w->child);
}

TEST(unref_still_tells_while_the_loop_runs) {
    watch *w = watch_new(), *other = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "quick", "exit", "2"), .out = WATCHED);
    START_KEPT(other, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    brood_child_unref(w->child);
    brood_child_unref(w->child);
    RUN_UNTIL(w->closes);
    CHECK_EQ(w->ended.code, 2);
    CHECK_STR(w->out.bytes, "quick\n");
    brood_child_close(w->child);
    CHECK_EQ(brood_child_kill(other->child, SIGTERM), 0);
    RUN();
    brood_child_close(other->child);
}

TEST(unref_before_an_offloaded_start) {
    watch *w = watch_new(), *other = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "x"), .out = WATCHED, .offload = true, .timeout_ms = 60000);
    brood_child_unref(w->child);
    START_KEPT(other, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    RUN_UNTIL(w->closes);
    CHECK_STR(w->out.bytes, "x\n");
    brood_child_close(w->child);
    brood_child_close(other->child);
    RUN();
}

/* --- giving up --- */

static void loop_is_closed(uv_loop_t *loop, void *data) {
    (void)loop;
    ++*(int *)data;
}

TEST_TORTURE(close_stops_a_running_child) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    RUN_UNTIL(w->out.len);
    brood_child_close(w->child);
    CHECK_EQ(w->closes, 0); /* later */
    RUN();
    CHECK_STR(w->log, "spawn data close");
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK(test_process_gone(w->pid));
}

TEST_TORTURE(close_right_after_the_start) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_child_close(w->child);
    RUN();
    CHECK_STR(w->log, "close");
}

TEST_TORTURE(close_while_it_is_being_started) {
    for (int turns = 0; turns < 3; turns++) {
        watch *w = watch_new();
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED,
                   .offload = true);
        CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "x", 1, NULL, NULL), 0);
        for (int i = 0; i < turns; i++)
            uv_run(t->loop, UV_RUN_NOWAIT);
        brood_child_close(w->child);
        RUN();
        CHECK_EQ(w->closes, 1);
        CHECK_EQ(w->exits, 0);
        CHECK(w->ended.reason == BROOD_REASON_NOT_STARTED || w->ended.reason == BROOD_REASON_ABORTED);
    }
}

TEST(close_does_not_wait_for_a_child_that_ignores_it_for_ever) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "ignore", "TERM"), .out = WATCHED, .kill_grace_ms = 100);
    RUN_UNTIL(w->out.len);
    brood_child_close(w->child);
    RUN();
    CHECK_STR(w->log, "spawn data close");
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
}

TEST_TORTURE(close_in_on_spawn) {
    watch *w = watch_new();
    w->close_in_spawn = true;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .in = {.kind = BROOD_STDIO_PIPE});
    RUN();
    CHECK_STR(w->log, "spawn close");
}

TEST(close_in_on_spawn_of_an_offloaded_start) {
    watch *w = watch_new();
    w->close_in_spawn = true;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .offload = true);
    RUN();
    CHECK_STR(w->log, "spawn close");
}

TEST(close_in_on_error) {
    watch *w = watch_new();
    w->close_in_error = true;
    START_KEPT(w, .args = BROOD_ARGS("/no/such"), .out = WATCHED, .offload = true);
    RUN();
    CHECK_STR(w->log, "error close");
}

TEST_TORTURE(close_in_on_data) {
    watch *w = watch_new();
    w->close_in_data = true;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "bytes", "1000000", "hold"), .out = WATCHED, .err = WATCHED);
    RUN();
    CHECK_STR(w->log, "spawn data close");
}

TEST(close_in_on_end) {
    watch *w = watch_new();
    w->close_in_end = true;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "x", "close-stdout", "pause"), .out = WATCHED);
    RUN();
    CHECK_STR(w->log, "spawn data end close");
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
}

TEST_TORTURE(close_in_on_exit) {
    watch *w = watch_new();
    w->close_in_exit = true;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "exit", "6"), .in = {.kind = BROOD_STDIO_PIPE});
    RUN();
    CHECK_STR(w->log, "spawn exit close");
    CHECK_EQ(w->ended.code, 6);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
}

/* After the exit, with output to come: given up means that nothing more is told, and nothing waited for. */
TEST(close_in_on_exit_with_a_pipe_that_others_hold) {
    watch *w = watch_new();
    w->close_in_exit = true;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "line"), .in = {.kind = BROOD_STDIO_PIPE},
               .out = WATCHED, .kill_grace_ms = 200);
    RUN_UNTIL(w->out.len);
    pid_t daemon = atoi(w->out.bytes);
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "\n", 1, NULL, NULL), 0);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->ends, 0);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(kill(daemon, SIGKILL), 0);
}

TEST_TORTURE(close_in_on_close) {
    watch *w = watch_new();
    w->close_in_close = true;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "x"), .out = WATCHED);
    RUN();
    CHECK_EQ(w->closes, 1);
}

TEST(close_after_on_close) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "x"), .out = WATCHED);
    RUN();
    CHECK_EQ(w->closes, 1);
    brood_child_close(w->child);
    RUN();
    CHECK_EQ(w->closes, 1);
    brood_child_close(NULL);
}

static void close_at_written(watch *w, const char *event) {
    if (strcmp(event, "written") == 0 && w->child) {
        brood_child *child = w->child;
        w->child = NULL;
        brood_child_close(child);
    }
}

TEST(close_in_on_written) {
    watch *w = watch_new();
    w->then = close_at_written;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE});
    brood_stream *in = brood_child_stream(w->child, 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(brood_stream_write(in, "x", 1, watch_on_written, w), 0);
    RUN();
    CHECK_EQ(w->writes, 1);
    CHECK_EQ(w->closes, 1);
}

static brood_child *others[2];

static void close_others(watch *w, const char *event) {
    (void)w;
    if (strcmp(event, "exit") == 0)
        for (int i = 0; i < 2; i++) {
            brood_child_close(others[i]);
            others[i] = NULL;
        }
}

/* One child's callback closes others that have events of the same turn. */
TEST(close_of_others_in_a_callback) {
    watch *w[3];
    for (int i = 0; i < 3; i++) {
        w[i] = watch_new();
        START_KEPT(w[i], .args = BROOD_ARGS(CHILD, "exit", "0"), .out = WATCHED);
    }
    for (int i = 0; i < 3; i++)
        WAIT_UNTIL(test_process_gone(brood_child_pid(w[i]->child))); /* all have ended: all are in one turn */
    others[0] = w[0]->child;
    others[1] = w[2]->child;
    w[1]->then = close_others;
    RUN();
    for (int i = 0; i < 3; i++)
        CHECK_EQ(w[i]->closes, 1);
    CHECK_EQ(w[1]->exits, 1);
    CHECK(!others[0] && !others[1]);
    brood_child_close(w[1]->child);
}

TEST(close_itself_if_nobody_keeps_it) {
    for (int i = 0; i < 10; i++) {
        watch *w = watch_new();
        START(w, .args = BROOD_ARGS(CHILD, "print", "x"), .out = WATCHED, .offload = i % 2);
        RUN();
        CHECK_EQ(w->closes, 1);
    }
}

/* It lives on and the loop does not wait for it; while that runs for others, its end is seen and no zombie stays. */
static void reap_orphan(pid_t pid) {
    CHECK_EQ(kill(pid, SIGKILL), 0);
    while (test_process_state(pid) != 0 && !test_failed())
        test_idle(2);
    RUN();
}

TEST(detach_lets_the_child_live) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .timeout_ms = (uint64_t)(300 * test_slow()));
    RUN_UNTIL(w->out.len);
    brood_child_detach(w->child);
    test_idle((unsigned)(400 * test_slow()));
    CHECK(!test_process_gone(w->pid)); /* no timeout */
    CHECK_STR(w->log, "spawn data");
    brood_child_close(w->child);
    RUN();
    CHECK_STR(w->log, "spawn data close");
    CHECK(!test_process_gone(w->pid)); /* no close */
    reap_orphan(w->pid);
    CHECK_EQ(w->closes, 1);
}

TEST(detach_without_a_close_is_still_watched) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "line", "exit", "4"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_child_detach(w->child);
    CHECK_EQ(brood_stream_end(brood_child_stream(w->child, 0)), 0);
    RUN();
    CHECK_EQ(w->ended.code, 4);
    CHECK_EQ(w->closes, 1);
    brood_child_close(w->child);
}

TEST(own_none_lets_the_child_live) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .own = BROOD_OWN_NONE);
    RUN_UNTIL(w->out.len);
    brood_child_close(w->child);
    RUN();
    CHECK_STR(w->log, "spawn data close");
    CHECK(!test_process_gone(w->pid));
    reap_orphan(w->pid);
    CHECK_EQ(w->closes, 1);
}

TEST(own_none_is_left_behind_by_the_end_of_the_loop) {
    watch *w = watch_new(), *offloaded = watch_new();
    int *closed = NEW(int);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .own = BROOD_OWN_NONE);
    START(offloaded, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .own = BROOD_OWN_NONE, .offload = true);
    RUN_UNTIL(w->out.len && offloaded->out.len);
    brood_child_close(w->child);
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), 0);
    RUN();
    CHECK_EQ(*closed, 1);
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(offloaded->closes, 1);
    pid_t pids[] = {w->pid, offloaded->pid};
    for (int i = 0; i < 2; i++) {
        CHECK(!test_process_gone(pids[i]));
        CHECK_EQ(kill(pids[i], SIGKILL), 0);
        CHECK_EQ(waitpid(pids[i], NULL, 0), pids[i]);
    }
}

/* --- the end of a loop --- */

TEST(loop_close_where_there_is_nothing) {
    int *closed = NEW(int);
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), -ENOENT);
    RUN();
    CHECK_EQ(*closed, 0);
}

TEST_TORTURE(loop_close_ends_every_child) {
    watch *w[6];
    int *closed = NEW(int);
    for (int i = 0; i < 6; i++)
        w[i] = watch_new();
    START_KEPT(w[0], .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    START(w[1], .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .own = BROOD_OWN_GROUP);
    START(w[2], .args = BROOD_ARGS(CHILD, "ignore", "TERM"), .out = WATCHED, .kill_grace_ms = 100);
    RUN_UNTIL(w[0]->out.len && w[1]->out.len && w[2]->out.len);
    START(w[3], .args = BROOD_ARGS(CHILD, "hold"), .offload = true, .out = WATCHED);
    START_KEPT(w[4], .args = BROOD_ARGS(CHILD, "hold"), .offload = true);
    START_KEPT(w[5], .args = BROOD_ARGS(CHILD, "bytes", "1000000"), .out = {.kind = BROOD_STDIO_PIPE});
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), 0);
    CHECK_EQ(*closed, 0);
    while (*closed == 0 && uv_run(t->loop, UV_RUN_ONCE)) {}
    CHECK_EQ(*closed, 1);
    for (int i = 0; i < 6; i++) {
        CHECK_EQ(w[i]->closes, 1);
        CHECK_EQ(w[i]->exits, 0);
    }
    RUN();
    CHECK_EQ(*closed, 1);
}

TEST(loop_close_with_children_that_have_ended) {
    watch *w = watch_new();
    int *closed = NEW(int);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
    RUN();
    int r = brood_loop_close(t->loop, loop_is_closed, closed);
    if (r == -ENOENT) /* an ended child that is kept is no business of the loop: it is still ours to close */
        brood_child_close(w->child);
    RUN();
    CHECK_EQ(*closed, r == 0);
    CHECK_EQ(w->closes, 1);
}

static int loops_closed;

static void close_loop_at_exit(watch *w, const char *event) {
    if (strcmp(event, "exit") == 0)
        ENSURE(brood_loop_close(w->more, loop_is_closed, &loops_closed) == 0);
}

TEST(loop_close_in_a_callback) {
    watch *w = watch_new(), *other = watch_new();
    w->then = close_loop_at_exit;
    w->more = t->loop;
    START(other, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    START(w, .args = BROOD_ARGS(CHILD, "exit", "0"), .out = WATCHED);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(other->closes, 1);
    CHECK_EQ(other->ended.reason, BROOD_REASON_ABORTED);
    CHECK_EQ(loops_closed, 1);
}

TEST(loop_close_then_the_loop_serves_again) {
    watch *w = watch_new();
    int *closed = NEW(int);
    START(w, .args = BROOD_ARGS(CHILD, "hold"));
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), 0);
    RUN();
    CHECK_EQ(*closed, 1);
    RUN_CHILD(again, .args = BROOD_ARGS(CHILD, "print", "again"));
    CHECK_STR(again->out.bytes, "again\n");
}

TEST(loop_close_with_execs_under_way) {
    answer *a[5];
    int *closed = NEW(int);
    for (int i = 0; i < 5; i++) {
        a[i] = NEW(answer);
        DEFER(brood_result_done, &a[i]->result);
        CHECK_EQ(
            brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "hold")}, answer_on_result, a[i], NULL),
            0);
    }
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), 0);
    RUN();
    CHECK_EQ(*closed, 1);
    for (int i = 0; i < 5; i++)
        CHECK_LE(a[i]->count, 1);
}

typedef struct handles {
    uv_loop_t *loop;
    const void *own; /* the test's */
    int brood, foreign;
} handles;

static void count_handle(uv_handle_t *handle, void *arg) {
    handles *seen = arg;
    bool owned = brood_loop_owns(seen->loop, handle);
    ENSURE(owned == (handle != seen->own));
    seen->brood += owned;
    seen->foreign += !owned;
}

TEST(loop_owns_its_handles_and_no_others) {
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(t->loop, timer);
    handles seen = {.loop = t->loop, .own = timer};
    uv_walk(t->loop, count_handle, &seen);
    CHECK_EQ(seen.foreign, 1);
    CHECK_EQ(seen.brood, 0);
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED, .err = WATCHED,
               .timeout_ms = 100000);
    RUN_UNTIL(w->out.len);
    seen = (handles){.loop = t->loop, .own = timer};
    uv_walk(t->loop, count_handle, &seen);
    CHECK_EQ(seen.foreign, 1);
    CHECK_GT(seen.brood, 0);
    CHECK(!brood_loop_owns(t->loop, NULL));
    brood_child_close(w->child);
    uv_close((uv_handle_t *)timer, NULL);
    RUN();
}

/* --- what a callback may do, and when --- */

static void stop_and_kill_what_never_was(brood_child *child, const brood_failure *why, void *data) {
    ENSURE(why->code == -ENOENT);
    brood_child_stop(child);
    ENSURE(brood_child_kill(child, SIGKILL) == -ESRCH);
    ENSURE(brood_child_kill_owned(child, SIGKILL) == -ESRCH);
    ++*(int *)data;
}

/* Its pid is 0, and the group of that number is the host's own. */
TEST(kill_of_a_child_that_never_was_reaches_nobody) {
    int *count = NEW(int);
    brood_child *child = NULL;
    answer *a = answer_new();
    CHECK_EQ(brood_exec_file(t->loop,
                             &(brood_options){.args = BROOD_ARGS("/no/such/program"),
                                              .on_error = stop_and_kill_what_never_was,
                                              .kill_grace_ms = BROOD_FOREVER,
                                              .data = count},
                             answer_on_result, a, &child),
             0);
    RUN();
    CHECK_EQ(*count, 1);
    CHECK_EQ(a->count, 1);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_NOT_STARTED);
    brood_child_close(child);
}

TEST(loop_close_after_a_child_that_was_let_live) {
    watch *w = watch_new();
    int *closed = NEW(int);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .own = BROOD_OWN_NONE);
    RUN_UNTIL(w->out.len);
    brood_child_close(w->child);
    RUN_UNTIL(w->closes);
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), 0);
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), -EALREADY);
    RUN();
    CHECK_EQ(*closed, 1);
    CHECK_EQ(kill(w->pid, SIGKILL), 0);
    CHECK_EQ(waitpid(w->pid, NULL, 0), w->pid);
}

TEST(loop_close_with_writes_queued_for_a_child_that_is_let_live) {
    static char much[1 << 20];
    watch *w = watch_new();
    int *closed = NEW(int);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE});
    pid_t pid = brood_child_pid(w->child);
    CHECK_GT(brood_stream_write(brood_child_stream(w->child, 0), much, sizeof much, watch_on_written, w), 0);
    brood_child_detach(w->child);
    brood_child_close(w->child);
    CHECK_EQ(brood_loop_close(t->loop, loop_is_closed, closed), 0);
    RUN();
    CHECK_EQ(*closed, 1);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

static void stop_at_written(watch *w, const char *event) {
    if (strcmp(event, "written") == 0)
        brood_child_stop(w->child);
}

TEST(stop_in_the_report_of_a_write_that_failed) {
    static char much[1 << 20] = "\n"; /* the child goes once it has read that, so never before the write */
    watch *w = watch_new();
    w->then = stop_at_written;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "line", "exit", "0"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED,
               .timeout_ms = 100000);
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), much, sizeof much, watch_on_written, w), 1);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->writes, 1);
    brood_child_close(w->child);
}

TEST(end_is_told_where_no_data_is_wanted) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "bytes", "300000"), .out = {.on_end = watch_on_end});
    RUN();
    CHECK_EQ(w->ends, 1);
    CHECK(before(w->log, "end", "close"));
    CHECK_EQ(w->ended.code, 0);
}

TEST(close_lets_live_what_is_still_being_started) {
    watch *w = watch_new();
    const char *path = test_path(t, "out");
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "sleep", "50", "print", "ran"), .own = BROOD_OWN_NONE, .offload = true,
               .out = {.kind = BROOD_STDIO_FILE, .path = path});
    brood_child_close(w->child);
    RUN();
    CHECK_STR(w->log, "close");
    while (waitid(P_ALL, 0, &(siginfo_t){0}, WEXITED | WNOHANG | WNOWAIT) == 0 && !test_failed())
        test_idle(2);
    RUN();
    CHECK_STR(test_read_file(path), "ran\n");
}

TEST(slot_that_the_host_lacks_is_not_a_pipe_of_ours) {
    int lowest = dup(0);
    CHECK_GT(lowest, 2);
    close(lowest);
    for (int fd = lowest; fd < lowest + 8; fd++) {
        brood_slot slot = {.slot = fd, .io = {.kind = BROOD_STDIO_FD, .fd = fd}};
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        brood_result *r = result_new();
        CHECK_EQ(brood_spawn_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "fds"),
                                                   .in = {.input = "x", .input_len = 1},
                                                   .slots = &slot,
                                                   .slot_count = 1},
                                  r),
                 -EBADF);
    }
}

TEST(pause_of_collected_output_is_not_silence) {
    brood_child *child = NULL;
    answer *a = answer_new();
    uint64_t ms = (uint64_t)(100 * test_slow());
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "print", "x"), .idle_timeout_ms = ms},
                             answer_on_result, a, &child),
             0);
    brood_stream_pause(brood_child_stream(child, 1));
    test_idle((unsigned)(4 * ms));
    CHECK_EQ(a->count, 0);
    brood_stream_resume(brood_child_stream(child, 1));
    RUN();
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_EXITED);
    CHECK_STR(a->result.out.bytes, "x\n");
    brood_child_close(child);
}

TEST(spawn_is_told_before_a_write) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "cat"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED, .offload = true);
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "", 0, watch_on_written, w), 0);
    CHECK_EQ(brood_stream_end(brood_child_stream(w->child, 0)), 0);
    RUN();
    CHECK(before(w->log, "spawn", "written"));
    CHECK_EQ(w->writes, 1);
    brood_child_close(w->child);
}

/* Whether a thread of ours is in open(2): /proc tells the number of the system call. */
static bool a_thread_opens(void) {
    DIR *tasks = opendir("/proc/self/task");
    bool found = false;
    for (struct dirent *entry; tasks && !found && (entry = readdir(tasks));) {
        char path[300], text[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/syscall", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        found = file && fgets(text, sizeof text, file) && atoi(text) == SYS_openat;
        if (file)
            fclose(file);
    }
    closedir(tasks);
    return found;
}

/* The starter is in the middle of it, waiting for the other end of a FIFO, when it is cancelled. */
TEST(start_cancelled_too_late_tells_its_end_once) {
    if (access("/proc/self/syscall", R_OK) != 0)
        SKIP("no /proc/self/syscall");
    for (int i = 0; i < 10; i++) {
        const char *fifo = test_path(t, test_format("fifo%d", i));
        watch *w = watch_new();
        CHECK_EQ(mkfifo(fifo, 0600), 0);
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_FILE, .path = fifo}, .out = WATCHED,
                   .offload = true);
        while (!a_thread_opens())
            usleep(1000);
        CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
        int fd = open(fifo, O_WRONLY | O_CLOEXEC);
        CHECK_GE(fd, 0);
        RUN();
        close(fd);
        CHECK_STR(w->log, "error close");
        CHECK_EQ(w->failure.code, -ECANCELED);
        CHECK_EQ(w->closes, 1);
        brood_child_close(w->child);
    }
}
