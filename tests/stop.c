/*
 * Stopping: by signal, by time, by silence, by a shared switch, by being given up; and what a stop reaches.
 */
#include "harness/watch.h"

#include <pthread.h>
#include <stdio.h>

/* --- signals --- */

TEST_TORTURE(kill_ends_the_child) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_child_kill(w->child, 0), 0);
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_SIGNALED);
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK_EQ(w->ended.code, -1);
    brood_child_close(w->child);
}

TEST(kill_after_the_end_says_so) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
    RUN();
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), -ESRCH);
    CHECK_EQ(brood_child_kill(w->child, 0), -ESRCH);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGTERM), -ESRCH);
    brood_child_close(w->child);
}

TEST(kill_refuses_what_is_no_signal) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_child_kill(w->child, 65), -EINVAL);
    CHECK_EQ(brood_child_kill(w->child, -1), -EINVAL);
    CHECK_EQ(brood_child_kill(w->child, INT32_MAX), -EINVAL);
    CHECK_EQ(brood_child_kill_owned(w->child, 65), -EINVAL);
    CHECK_EQ(brood_child_kill(w->child, SIGKILL), 0);
    RUN();
    brood_child_close(w->child);
}

TEST(kill_sends_any_signal) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "tell", "USR1,USR2,40", "hold"), .out = WATCHED);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_child_kill(w->child, SIGUSR1), 0);
    RUN_UNTIL(strstr(w->out.bytes, "got 10\n"));
    CHECK_EQ(brood_child_kill(w->child, 40), 0);
    RUN_UNTIL(strstr(w->out.bytes, "got 40\n"));
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    brood_child_close(w->child);
}

TEST_TORTURE(kill_before_the_start_cancels_it) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "touch", test_path(t, "ran"), "hold"), .out = WATCHED, .offload = true);
    CHECK_EQ(brood_child_kill(w->child, 0), 0);
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->closes, 1);
    if (w->errors) {
        CHECK_EQ(w->spawns, 0);
        CHECK_EQ(w->failure.step, BROOD_STEP_ABORTED);
        CHECK_EQ(w->failure.code, -ECANCELED);
        CHECK(w->ended.reason == BROOD_REASON_NOT_STARTED || w->ended.reason == BROOD_REASON_ABORTED);
    } else { /* it was too late: then it was started and ended */
        CHECK(w->ended.signal == SIGTERM || w->ended.signal == SIGKILL);
    }
    brood_child_close(w->child);
}

TEST(kill_owned_reaches_the_group) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "hold"), .out = WATCHED, .own = BROOD_OWN_GROUP);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t grandchild = atoi(w->out.bytes);
    CHECK_EQ(brood_child_kill_owned(w->child, 0), 0);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    WAIT_UNTIL(test_process_gone(grandchild));
    CHECK_EQ(w->ended.signal, SIGKILL);
    brood_child_close(w->child);
}

TEST(kill_owned_reaches_only_the_child_if_that_is_all) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "hold"), .out = WATCHED, .close_grace_ms = 50);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t grandchild = atoi(w->out.bytes);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGTERM), 0);
    RUN();
    CHECK(!test_process_gone(grandchild));
    CHECK_EQ(kill(grandchild, SIGKILL), 0);
    brood_child_close(w->child);
}

/* The leader has ended, its group has not: until on_close it can be reached, and never another group of that number. */
TEST(kill_owned_reaches_the_group_after_its_leaders_end) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever"), .out = WATCHED, .own = BROOD_OWN_GROUP);
    RUN_UNTIL(w->exits && w->out.len);
    CHECK_EQ(w->closes, 0);
    pid_t grandchild = atoi(w->out.bytes);
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), -ESRCH);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    WAIT_UNTIL(test_process_gone(grandchild));
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    brood_child_close(w->child);
}

/* --- time --- */

TEST_TORTURE(timeout_stops_the_child) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "hold"), .timeout_ms = 100);
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK_GE(w->ended.run_us, 90000);
    CHECK_EQ(brood_exit_status(&w->ended), 124);
}

TEST(timeout_of_a_child_that_is_quicker) {
    uint64_t began = test_now_ms();
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "3"), .timeout_ms = 15000);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(w->ended.code, 3);
    CHECK_LT(test_now_ms() - began, 14000); /* and nothing waits for it */
}

TEST(timeout_with_another_signal) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "hold"), .timeout_ms = 60, .kill_signal = SIGINT);
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ended.signal, SIGINT);
}

TEST(timeout_of_a_child_that_leaves_in_order) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "trap", "TERM", "3"), .out = WATCHED,
          .timeout_ms = (uint64_t)(300 * test_slow()));
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ended.code, 3);
    CHECK_EQ(w->ended.signal, 0);
}

TEST_TORTURE(timeout_of_a_child_that_ignores_it) {
    uint64_t began = test_now_ms();
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "ignore", "TERM,INT,HUP"), .timeout_ms = (uint64_t)(200 * test_slow()),
              .kill_grace_ms = 100);
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK_GE(test_now_ms() - began, (uint64_t)(200 * test_slow()) + 100);
}

TEST(timeout_of_a_child_that_stops_itself) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "stop"), .timeout_ms = 100, .kill_grace_ms = 100);
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK(w->ended.signal == SIGTERM || w->ended.signal == SIGKILL);
}

TEST(timeout_that_never_kills) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "tell", "TERM"), .out = WATCHED,
               .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = BROOD_FOREVER);
    RUN_UNTIL(strstr(w->out.bytes, "got 15"));
    test_idle(150);
    CHECK_EQ(w->exits, 0);
    CHECK_EQ(brood_child_kill(w->child, SIGKILL), 0);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ended.signal, SIGKILL);
    brood_child_close(w->child);
}

TEST(timeout_of_nothing_and_of_for_ever) {
    static const uint64_t times[] = {0,
                                     UINT64_MAX,
                                     UINT64_MAX - 1,
                                     UINT64_MAX / 1000,
                                     UINT64_MAX / 1000 + 1,
                                     UINT64_MAX / 2,
                                     (uint64_t)INT64_MAX + 1,
                                     UINT32_MAX,
                                     (uint64_t)INT32_MAX + 1};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        for (int offload = 0; offload < 2; offload++) {
            RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "x", "sleep", "20", "exit", "3"), .timeout_ms = times[i],
                      .idle_timeout_ms = times[i], .kill_grace_ms = times[i], .close_grace_ms = times[i],
                      .offload = offload);
            CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
            CHECK_EQ(w->ended.code, 3);
        }
}

TEST(timeout_counts_from_the_request) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "hold"), .offload = true, .timeout_ms = 1, .out = WATCHED);
    RUN(); /* it may come before the start */
    CHECK_EQ(w->closes, 1);
    if (w->errors) {
        CHECK_EQ(w->failure.step, BROOD_STEP_ABORTED);
        CHECK(w->ended.reason == BROOD_REASON_NOT_STARTED || w->ended.reason == BROOD_REASON_TIMED_OUT);
        CHECK_EQ(w->ended.pid, 0);
    } else {
        CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    }
}

TEST(timeout_reaches_the_group) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "daemon", "forever", "hold"), .out = WATCHED,
          .own = BROOD_OWN_GROUP, .timeout_ms = (uint64_t)(300 * test_slow()));
    RUN(); /* the pipe ends because all that held it have ended */
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ends, 1);
    int one, two;
    CHECK_EQ(sscanf(w->out.bytes, "%d %d", &one, &two), 2);
    WAIT_UNTIL(test_process_gone(one) && test_process_gone(two));
}

TEST(timeout_kills_what_is_left_of_the_group) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "stubborn", "hold"), .out = WATCHED, .own = BROOD_OWN_GROUP,
          .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = 150);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    pid_t stubborn = atoi(w->out.bytes);
    CHECK_GT(stubborn, 0);
    WAIT_UNTIL(test_process_gone(stubborn)); /* its leader went at SIGTERM, it at SIGKILL */
}

TEST(timeout_bounds_the_close_however_holds_the_pipe) {
    watch *w = watch_new();
    uint64_t began = test_now_ms();
    START(w, .args = BROOD_ARGS(CHILD, "escape", "forever", "hold"), .out = WATCHED, .own = BROOD_OWN_GROUP,
          .timeout_ms = (uint64_t)(300 * test_slow()), .kill_grace_ms = 200);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_LT(test_now_ms() - began, (uint64_t)(4000 * test_slow()));
    pid_t escaped = atoi(w->out.bytes);
    CHECK(!test_process_gone(escaped)); /* who leaves the group escapes */
    CHECK_EQ(kill(escaped, SIGKILL), 0);
}

TEST_TORTURE(idle_timeout_stops_a_silent_child) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "lines", "3", "pause"), .idle_timeout_ms = (uint64_t)(200 * test_slow()));
    CHECK_EQ(w->ended.reason, BROOD_REASON_IDLE);
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK_STR(w->out.bytes, "line 0\nline 1\nline 2\n");
    CHECK_GE(w->ended.run_us, 190000);
}

TEST(idle_timeout_leaves_a_child_that_goes_on_talking) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "tick", "12", test_format("%ld", 50 * test_slow()), "exit", "1"),
              .idle_timeout_ms = (uint64_t)(400 * test_slow()));
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(w->ended.code, 1);
    CHECK_EQ(w->out.len, 60);
}

/* What the host does not read it cannot take for silence. */
TEST(idle_timeout_is_not_over_while_the_host_pauses) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "bytes", "300000", "exit", "4"), .out = WATCHED,
               .idle_timeout_ms = (uint64_t)(100 * test_slow()), .close_grace_ms = (uint64_t)(100 * test_slow()));
    brood_stream_pause(brood_child_stream(w->child, 1));
    test_idle((unsigned)(300 * test_slow()));
    CHECK_STR(w->log, "spawn");
    brood_stream_resume(brood_child_stream(w->child, 1));
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(w->ended.code, 4);
    CHECK(is_pattern(w->out.bytes, w->out.len, 300000));
    brood_child_close(w->child);
}

TEST(idle_timeout_counts_either_output) {
    watch *w = watch_new();
    const char *script = "i=0; while [ $i -lt 8 ]; do \"$0\" sleep \"$1\"; echo x >&2; i=$((i+1)); done; exit 4";
    START(w, .args = BROOD_ARGS("/bin/sh", "-c", script, CHILD, test_format("%ld", 50 * test_slow())), .out = WATCHED,
          .err = WATCHED, .idle_timeout_ms = (uint64_t)(300 * test_slow()));
    RUN();
    CHECK_EQ(w->ended.code, 4);
    CHECK_EQ(w->err.len, 16);
}

/* --- asked by the host --- */

TEST_TORTURE(stop_is_a_timeout_by_hand) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "ignore", "TERM"), .out = WATCHED, .kill_grace_ms = 100);
    RUN_UNTIL(w->out.len);
    brood_child_stop(w->child);
    brood_child_stop(w->child);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK(before(w->log, "exit", "close") && before(w->log, "end", "close"));
    brood_child_stop(w->child); /* harmless */
    brood_child_close(w->child);
}

TEST(stop_before_the_start) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .offload = true);
    brood_child_stop(w->child);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK(w->ended.reason == BROOD_REASON_NOT_STARTED || w->ended.reason == BROOD_REASON_ABORTED);
    brood_child_close(w->child);
}

static void stop_at_spawn(watch *w, const char *event) {
    if (strcmp(event, "spawn") == 0)
        brood_child_stop(w->child);
}

TEST(stop_in_on_spawn) {
    watch *w = watch_new();
    w->then = stop_at_spawn;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
    brood_child_close(w->child);
}

TEST(close_reaches_the_group) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "hold"), .out = WATCHED, .own = BROOD_OWN_GROUP);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t grandchild = atoi(w->out.bytes);
    brood_child_close(w->child);
    RUN();
    WAIT_UNTIL(test_process_gone(grandchild));
}

TEST(close_leaves_the_rest_if_only_the_child_is_owned) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "hold"), .out = WATCHED, .kill_grace_ms = 100);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t grandchild = atoi(w->out.bytes);
    brood_child_close(w->child);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK(!test_process_gone(grandchild));
    CHECK_EQ(kill(grandchild, SIGKILL), 0);
}

/* --- the switch --- */

static brood_abort *abort_new(void) {
    brood_abort *a = NULL;
    int r = brood_abort_new(&a);
    ENSURE(r == 0);
    if (r == 0)
        DEFER(brood_abort_free, a);
    return r == 0 ? a : NULL;
}

TEST_TORTURE(abort_stops_all_its_children_and_no_others) {
    brood_abort *a = abort_new();
    CHECK(a);
    watch *w[4], *other = watch_new();
    for (int i = 0; i < 4; i++) {
        w[i] = watch_new();
        START(w[i], .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .abort = a, .offload = i % 2);
    }
    START_KEPT(other, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    RUN_UNTIL(w[0]->out.len && w[1]->out.len && w[2]->out.len && w[3]->out.len);
    CHECK(!brood_abort_pulled(a));
    brood_abort_now(a);
    brood_abort_now(a);
    CHECK(brood_abort_pulled(a));
    RUN_UNTIL(w[0]->closes && w[1]->closes && w[2]->closes && w[3]->closes);
    for (int i = 0; i < 4; i++) {
        CHECK_EQ(w[i]->ended.reason, BROOD_REASON_ABORTED);
        CHECK_EQ(w[i]->ended.signal, SIGTERM);
    }
    CHECK_EQ(other->exits, 0);
    brood_child_close(other->child);
    RUN();
}

TEST_TORTURE(abort_already_pulled_starts_nothing) {
    brood_abort *a = abort_new();
    CHECK(a);
    brood_abort_now(a);
    brood_failure why;
    const char *ran = test_path(t, "ran");
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD, "touch", ran), .abort = a}), -ECANCELED);
    CHECK_EQ(why.step, BROOD_STEP_ABORTED);
    answer *got = answer_new();
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "touch", ran), .abort = a},
                             answer_on_result, got, NULL),
             0);
    RUN();
    CHECK_EQ(got->count, 1);
    CHECK(got->result.exit.reason == BROOD_REASON_NOT_STARTED || got->result.exit.reason == BROOD_REASON_ABORTED);
    CHECK_EQ(got->result.exit.pid, 0);
    CHECK_EQ(got->result.failure.code, -ECANCELED);
    CHECK_EQ(got->result.failure.step, BROOD_STEP_ABORTED);
    CHECK_STR(got->result.error_name, "ABORT_ERR");
    CHECK_EQ(access(ran, F_OK), -1);
}

static void *pull_from_a_thread(void *abort) {
    test_nap();
    brood_abort_now(abort);
    return NULL;
}

TEST(abort_from_another_thread) {
    brood_abort *a = abort_new();
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .abort = a);
    RUN_UNTIL(w->out.len);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, pull_from_a_thread, a), 0);
    RUN(); /* wakes the loop, which waits */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
}

static brood_abort *to_pull;

static void pull_from_a_handler(int number) {
    (void)number;
    brood_abort_now(to_pull);
}

TEST(abort_from_a_signal_handler) {
    to_pull = abort_new();
    signal(SIGUSR1, pull_from_a_handler);
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "ready", "signal-parent", "USR1", "pause"), .out = WATCHED, .abort = to_pull);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
    CHECK(brood_abort_pulled(to_pull));
    signal(SIGUSR1, SIG_DFL);
}

TEST(abort_given_up_early_is_held_by_its_children) {
    brood_abort *a = NULL;
    CHECK_EQ(brood_abort_new(&a), 0);
    watch *w = watch_new(), *later = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "print", "x"), .out = WATCHED, .abort = a);
    START(later, .args = BROOD_ARGS(CHILD, "print", "x"), .out = WATCHED, .abort = a, .offload = true);
    brood_abort_free(a);
    RUN();
    CHECK_EQ(w->ended.code, 0);
    CHECK_EQ(later->ended.code, 0);
    brood_abort_free(NULL);
}

TEST(abort_pulled_and_freed_at_once) {
    for (int offload = 0; offload < 2; offload++) {
        brood_abort *a = NULL;
        CHECK_EQ(brood_abort_new(&a), 0);
        watch *w = watch_new();
        START(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .abort = a, .offload = offload);
        brood_abort_now(a);
        brood_abort_free(a);
        RUN();
        CHECK_EQ(w->closes, 1);
        CHECK(w->ended.reason == BROOD_REASON_ABORTED || w->ended.reason == BROOD_REASON_NOT_STARTED);
    }
}

TEST(abort_after_the_end_is_harmless) {
    brood_abort *a = abort_new();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "exit", "3"), .abort = a);
    RUN();
    brood_abort_now(a);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(brood_child_exit(w->child)->reason, BROOD_REASON_EXITED);
    brood_child_close(w->child);
}

TEST(abort_reports_that_descriptors_are_used_up) {
    enum { MOST = 100000 };
    brood_abort **all = NEW_ARRAY(brood_abort *, MOST);
    int count = 0, r = 0;
    size_t fds = test_count_fds();
    while (count < 3000 && (r = brood_abort_new(&all[count])) == 0)
        count++;
    if (r != 0)
        CHECK_EQ(r, -EMFILE);
    CHECK_GT(count, 10);
    for (int i = 0; i < count; i++)
        brood_abort_free(all[i]);
    CHECK_EQ(test_count_fds(), fds);
}

static void abort_at_data(watch *w, const char *event) {
    if (strcmp(event, "data") == 0)
        brood_abort_now(w->more);
}

/* The callback of one stops them all, itself among them. */
TEST(abort_in_a_callback) {
    brood_abort *a = abort_new();
    watch *w[3];
    for (int i = 0; i < 3; i++) {
        w[i] = watch_new();
        w[i]->then = abort_at_data;
        w[i]->more = a;
        START(w[i], .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .abort = a);
    }
    RUN();
    for (int i = 0; i < 3; i++)
        CHECK_EQ(w[i]->ended.reason, BROOD_REASON_ABORTED);
}
