/*
 * The forms that wait: without any loop and from any thread, and brood_await on a loop. They keep the promises of the
 * others: limits, timeouts, switches, answers.
 */
#include "harness/watch.h"
#include "own/abort.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

TEST_TORTURE(sync_exec_answers_with_everything) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_sync("echo out; echo err >&2; exit 3", NULL, r), 0);
    CHECK_STR(r->out.bytes, "out\n");
    CHECK_STR(r->err.bytes, "err\n");
    CHECK_EQ(r->exit.code, 3);
    CHECK_EQ(r->exit.reason, BROOD_REASON_EXITED);
    CHECK_HAS(r->command, "echo out");
    CHECK(*r->message);
    CHECK(!r->error_name);
    CHECK_LE(r->exit.run_us, r->total_us);
}

TEST_TORTURE(sync_exec_file_takes_input_and_gives_output_at_once) {
    size_t len = t->brief ? 300000 : 3000000; /* more than two pipes hold: both sides must be served */
    char *input = test_alloc(len);
    fill_pattern(input, len);
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "cat"),
                                                   .in = {.input = input, .input_len = len},
                                                   .max_buffer = SIZE_MAX},
                                  r),
             0);
    CHECK(is_pattern(r->out.bytes, r->out.len, len));
    CHECK(brood_exit_ok(&r->exit));
}

TEST(sync_exec_file_reports_a_missing_program) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS("/no/such", "x y")}, r), -ENOENT);
    CHECK_EQ(r->exit.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(r->exit.code, -1);
    CHECK_EQ(r->failure.code, -ENOENT);
    CHECK_EQ(r->failure.step, BROOD_STEP_EXEC);
    CHECK_STR(r->error_name, "ENOENT");
    CHECK_STR(r->command, "/no/such 'x y'");
    CHECK_HAS(r->message, "/no/such");
    CHECK_STR(r->out.bytes, "");
}

TEST(sync_spawn_inherits_unless_asked) {
    int file = test_fd(open(test_path(t, "out"), O_RDWR | O_CREAT | O_CLOEXEC, 0644)), was = dup(1);
    brood_result *r = result_new();
    dup2(file, 1);
    int ret = brood_spawn_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "print", "inherited")}, r);
    dup2(was, 1);
    close(was);
    CHECK_EQ(ret, 0);
    CHECK_STR(test_read_file(test_path(t, "out")), "inherited\n");
    CHECK_EQ(r->out.len, 0);
    brood_result *piped = result_new();
    CHECK_EQ(brood_spawn_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "both"),
                                               .out = {.kind = BROOD_STDIO_PIPE},
                                               .err = {.kind = BROOD_STDIO_PIPE}},
                              piped),
             0);
    CHECK_STR(piped->out.bytes, "out\n");
    CHECK_STR(piped->err.bytes, "err\n");
}

TEST(sync_refuses_callbacks) {
    brood_result *r = result_new();
    CHECK_EQ(brood_spawn_sync(&(brood_options){.args = BROOD_ARGS(CHILD), .on_exit = watch_on_exit}, r), -EINVAL);
    CHECK_EQ(r->failure.step, BROOD_STEP_OPTIONS);
    CHECK_EQ(r->exit.reason, BROOD_REASON_NOT_STARTED);
    brood_result *again = result_new();
    CHECK_EQ(brood_exec_sync("true", &(brood_options){.out = WATCHED}, again), -EINVAL);
    CHECK(*again->message);
}

TEST(sync_result_is_written_on_error_too) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){0}, r), -EINVAL);
    CHECK_EQ(r->failure.code, -EINVAL);
    CHECK(r->out.bytes && r->err.bytes && r->command && r->message);
    brood_result *null = result_new();
    CHECK_EQ(brood_exec_sync(NULL, NULL, null), -EINVAL);
    CHECK(null->message && *null->message);
}

TEST_TORTURE(sync_times_out) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "print", "before", "pause"),
                                                   .timeout_ms = (uint64_t)(200 * test_slow())},
                                  r),
             0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(r->exit.signal, SIGTERM);
    CHECK_STR(r->error_name, "ETIMEDOUT");
    CHECK_STR(r->out.bytes, "before\n");
    brood_result *stubborn = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "ignore", "TERM"),
                                                   .kill_grace_ms = 100,
                                                   .timeout_ms = (uint64_t)(200 * test_slow())},
                                  stubborn),
             0);
    CHECK_EQ(stubborn->exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(stubborn->exit.signal, SIGKILL);
}

TEST(sync_idles_out) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "print", "before", "pause"),
                                                   .idle_timeout_ms = (uint64_t)(200 * test_slow())},
                                  r),
             0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_IDLE);
    CHECK_STR(r->out.bytes, "before\n");
}

TEST(sync_times_of_nothing_and_of_for_ever) {
    static const uint64_t times[] = {0, UINT64_MAX, UINT64_MAX / 1000 + 1, (uint64_t)INT32_MAX + 1};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        brood_result *r = result_new();
        CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "sleep", "20", "exit", "3"),
                                                       .timeout_ms = times[i],
                                                       .idle_timeout_ms = times[i],
                                                       .kill_grace_ms = times[i],
                                                       .close_grace_ms = times[i]},
                                      r),
                 0);
        CHECK_EQ(r->exit.reason, BROOD_REASON_EXITED);
        CHECK_EQ(r->exit.code, 3);
    }
}

TEST(sync_keeps_to_max_buffer) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(
                 &(brood_options){.args = BROOD_ARGS(CHILD, "bytes", "100000", "pause"), .max_buffer = 1000}, r),
             0);
    CHECK(is_pattern(r->out.bytes, r->out.len, 1000));
    CHECK_GT(r->out_dropped, 0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_OUTPUT_LIMIT);
    CHECK_STR(r->error_name, "ERR_CHILD_PROCESS_STDIO_MAXBUFFER");
}

TEST(sync_cuts_the_output_of_a_daemon) {
    brood_result *group = result_new(), *tree = result_new();
    brood_options options = {
        .args = BROOD_ARGS(CHILD, "daemon", "forever"), .close_grace_ms = 150, .own = BROOD_OWN_GROUP};
    CHECK_EQ(brood_exec_file_sync(&options, group), 0);
    pid_t daemon = atoi(group->out.bytes);
    CHECK_EQ(kill(daemon, SIGKILL), 0);
    CHECK(group->cut);
    CHECK_EQ(group->cut_pid, daemon);
    CHECK(brood_exit_ok(&group->exit));
    options.own = BROOD_OWN_DEFAULT; /* a tree: it ends with its program */
    CHECK_EQ(brood_exec_file_sync(&options, tree), 0);
    CHECK(tree->cut);
    CHECK_EQ(group->guarantee, BROOD_GUARANTEE_NONE);
    CHECK_GE(tree->guarantee, BROOD_GUARANTEE_BEST_EFFORT);
    CHECK(test_process_gone(atoi(tree->out.bytes)));
}

TEST(sync_of_a_child_that_reads_nothing) {
    char *input = test_alloc(1000000);
    brood_result *r = result_new();
    CHECK_EQ(
        brood_exec_file_sync(
            &(brood_options){.args = BROOD_ARGS(CHILD, "exit", "5"), .in = {.input = input, .input_len = 1000000}}, r),
        0);
    CHECK_EQ(r->exit.code, 5);
}

TEST(sync_of_a_child_that_closes_its_output_and_lives_on) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "print", "x", "close", "1", "close", "2",
                                                                      "sleep", "100", "exit", "4")},
                                  r),
             0);
    CHECK_STR(r->out.bytes, "x\n");
    CHECK_EQ(r->exit.code, 4);
    CHECK_GE(r->total_us, 100000);
}

static void *pull_soon(void *abort) {
    for (int i = 0; i < 50; i++)
        test_nap();
    brood_abort_now(abort);
    return NULL;
}

TEST(sync_is_aborted_from_another_thread) {
    brood_abort *abort = NULL;
    CHECK_EQ(brood_abort_new(&abort), 0);
    DEFER(brood_abort_free, abort);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, pull_soon, abort), 0);
    brood_result *r = result_new();
    int ret = brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "hold"), .abort = abort}, r);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    if (ret == 0)
        CHECK_EQ(r->exit.reason, BROOD_REASON_ABORTED);
    else
        CHECK_EQ(ret, -ECANCELED);
    CHECK_STR(r->error_name, "ABORT_ERR");
    brood_result *never = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "hold"), .abort = abort}, never),
             -ECANCELED);
    CHECK_EQ(never->failure.step, BROOD_STEP_ABORTED);
}

typedef struct held_abort {
    brood_abort *abort;
    const char *trace;
    int input, ret;
    brood_result *result;
} held_abort;

static void *run_until_told(void *data) {
    held_abort *h = data;
    h->ret = brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "touch", h->trace, "cat"),
                                                   .in = {.kind = BROOD_STDIO_FD, .fd = h->input},
                                                   .abort = h->abort},
                                  h->result);
    return NULL;
}

/* As on a loop: whoever uses the switch holds it. */
TEST(sync_holds_its_abort) {
    int fds[2];
    held_abort h = {.trace = test_path(t, "trace"), .result = result_new()};
    CHECK_EQ(brood_abort_new(&h.abort), 0);
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    h.input = fds[0];
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, run_until_told, &h), 0);
    WAIT_UNTIL(access(h.trace, F_OK) == 0);
    int fd = brood__abort_fd(h.abort);
    brood_abort_free(h.abort);
    bool held = fcntl(fd, F_GETFD) >= 0;
    close(fds[1]); /* it reads to the end, and exits */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    close(fds[0]);
    CHECK(held);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    CHECK_EQ(h.ret, 0);
    CHECK_EQ(h.result->exit.reason, BROOD_REASON_EXITED);
}

static void *run_some(void *arg) {
    intptr_t id = (intptr_t)arg, wrong = 0;
    for (int i = 0; i < 12; i++) {
        char code[16], input[64];
        brood_result r = {0};
        snprintf(code, sizeof code, "%d", (int)(id * 12 + i) % 200);
        snprintf(input, sizeof input, "thread %d, number %d", (int)id, i);
        int ret = brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "cat", "exit", code),
                                                        .in = {.input = input, .input_len = BROOD_NUL}},
                                       &r);
        wrong += ret != 0 || r.exit.code != atoi(code) || strcmp(r.out.bytes, input) != 0;
        brood_result_done(&r);
    }
    return (void *)wrong;
}

TEST(sync_from_many_threads) {
    pthread_t threads[8];
    CHILD; /* once, before there are threads */
    for (intptr_t i = 0; i < 8; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, run_some, (void *)i), 0);
    for (int i = 0; i < 8; i++) {
        void *wrong;
        CHECK_EQ(pthread_join(threads[i], &wrong), 0);
        CHECK_EQ((intptr_t)wrong, 0);
    }
}

TEST(sync_beside_a_loop_with_children) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    RUN_UNTIL(w->out.len);
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_sync("echo beside", NULL, r), 0);
    CHECK_STR(r->out.bytes, "beside\n");
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    brood_child_close(w->child);
}

TEST(sync_tells_what_it_cost) {
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "burn", "60", "rss", "100000")}, r), 0);
    CHECK_GE(r->exit.usage.user_us + r->exit.usage.system_us, 50000);
    CHECK(r->exit.usage.max_rss_is_own);
    CHECK_GE(r->exit.usage.max_rss_kb, 100000);
}

TEST(sync_spawn_with_slots) {
    const char *path = test_path(t, "three");
    brood_slot slot = {.slot = 3, .io = {.kind = BROOD_STDIO_FILE, .path = path}};
    brood_result *r = result_new();
    CHECK_EQ(brood_spawn_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "write", "3", "three", "err", "x"),
                                               .out = {.kind = BROOD_STDIO_PIPE},
                                               .err = {.kind = BROOD_STDIO_SLOT, .slot = 1},
                                               .slots = &slot,
                                               .slot_count = 1},
                              r),
             0);
    CHECK_STR(r->out.bytes, "x\n");
    CHECK_STR(test_read_file(path), "three");
}

/* --- await --- */

TEST_TORTURE(await_runs_the_loop_until_the_child_is_done) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "x", "exit", "3"), .out = WATCHED);
    brood_result *r = result_new();
    CHECK_EQ(brood_await(w->child, r), 0);
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(r->exit.code, 3);
    CHECK_EQ(r->exit.reason, BROOD_REASON_EXITED);
    CHECK_STR(w->out.bytes, "x\n");
    brood_child_close(w->child); /* it stayed ours */
    RUN();
}

TEST_TORTURE(await_takes_what_an_exec_collected) {
    brood_child *child = NULL;
    CHECK_EQ(brood_exec(t->loop, "echo out; echo err >&2; exit 2", NULL, NULL, NULL, &child), 0);
    brood_result *r = result_new();
    CHECK_EQ(brood_await(child, r), 0);
    CHECK_STR(r->out.bytes, "out\n");
    CHECK_STR(r->err.bytes, "err\n");
    CHECK_EQ(r->exit.code, 2);
    CHECK_HAS(r->command, "echo out");
    brood_child_close(child);
    RUN();
}

TEST(await_reports_a_start_that_failed) {
    brood_child *child = NULL;
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS("/no/such")}, NULL, NULL, &child), 0);
    brood_result *r = result_new();
    CHECK_EQ(brood_await(child, r), -ENOENT);
    CHECK_EQ(r->exit.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(r->failure.step, BROOD_STEP_EXEC);
    brood_child_close(child);
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS("/no/such")}, NULL, NULL, &child), 0);
    CHECK_EQ(brood_await(child, NULL), -ENOENT);
    brood_child_close(child);
    RUN();
}

TEST(await_needs_no_result_and_may_come_late) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "exit", "3"));
    CHECK_EQ(brood_await(w->child, NULL), 0);
    brood_result *r = result_new();
    CHECK_EQ(brood_await(w->child, r), 0); /* it is over already */
    CHECK_EQ(r->exit.code, 3);
    brood_child_close(w->child);
    RUN();
}

static void count_tick(uv_timer_t *timer) {
    ++*(int *)timer->data;
}

TEST(await_lets_the_loops_other_work_go_on) {
    watch *w = watch_new(), *other = watch_new();
    int *ticks = NEW(int);
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(t->loop, timer);
    timer->data = ticks;
    uv_timer_start(timer, count_tick, 5, 5);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "sleep", "150"));
    START(other, .args = BROOD_ARGS(CHILD, "print", "other"), .out = WATCHED);
    CHECK_EQ(brood_await(w->child, NULL), 0);
    CHECK_GT(*ticks, 0);
    CHECK_STR(other->out.bytes, "other\n");
    brood_child_close(w->child);
    uv_close((uv_handle_t *)timer, NULL);
    RUN();
}

static void await_in_callback(watch *w, const char *event) {
    (void)event;
    brood_result result;
    memset(&result, 0xff, sizeof result);
    ENSURE(brood_await(w->more, &result) == -EDEADLK);
    ENSURE(strcmp(result.error_name, "EDEADLK") == 0);
    brood_result_done(&result); /* written, as always */
    ENSURE(brood_await(w->more, NULL) == -EDEADLK);
}

TEST(await_refuses_inside_callbacks) {
    watch *w = watch_new(), *other = watch_new();
    START_KEPT(other, .args = BROOD_ARGS(CHILD, "print", "x"), .out = WATCHED);
    w->then = await_in_callback;
    w->more = other->child;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "cat"), .out = WATCHED, .in = {.input = "x", .input_len = 1});
    CHECK_EQ(brood_await(w->child, NULL), 0);
    CHECK_EQ(brood_await(other->child, NULL), 0);
    CHECK_EQ(w->spawns + w->exits + w->closes + w->ends, 4);
    brood_child_close(w->child);
    brood_child_close(other->child);
    RUN();
}

TEST(await_of_a_child_that_does_not_hold_the_loop) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "sleep", "50", "exit", "3"), .out = WATCHED);
    brood_child_unref(w->child);
    brood_result *r = result_new();
    CHECK_EQ(brood_await(w->child, r), 0);
    CHECK_EQ(r->exit.code, 3);
    brood_child_close(w->child);
    RUN();
}

static void answer_in_await(brood_result *result, void *data) {
    ENSURE(result->exit.code == 0);
    ++*(int *)data;
}

TEST(await_beside_an_answer) {
    int *count = NEW(int);
    brood_child *child = NULL;
    CHECK_EQ(brood_exec(t->loop, "echo x", NULL, answer_in_await, count, &child), 0);
    brood_result *r = result_new();
    CHECK_EQ(brood_await(child, r), 0);
    CHECK_EQ(*count, 1);
    CHECK_STR(r->out.bytes, "x\n");
    brood_child_close(child);
    RUN();
}

static void take_in_await(brood_result *result, void *data) {
    brood_result_take(result, data);
}

TEST(await_after_the_result_was_taken) {
    brood_result *taken = result_new(), *r = result_new();
    brood_child *child = NULL;
    CHECK_EQ(brood_exec(t->loop, "echo x; exit 5", NULL, take_in_await, taken, &child), 0);
    CHECK_EQ(brood_await(child, r), 0);
    CHECK_STR(taken->out.bytes, "x\n");
    CHECK_EQ(r->exit.code, 5);
    CHECK_STR(r->out.bytes, "");
    CHECK_HAS(r->message, "taken");
    brood_child_close(child);
    RUN();
}

TEST(await_one_after_the_other) {
    for (int i = 0; i < 10; i++) {
        brood_child *child = NULL;
        CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "exit", test_format("%d", i))},
                                 NULL, NULL, &child),
                 0);
        brood_result *r = result_new();
        CHECK_EQ(brood_await(child, r), 0);
        CHECK_EQ(r->exit.code, i);
        brood_child_close(child);
    }
    RUN();
}
