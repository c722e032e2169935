/* Programs that a starter thread looks after until they have ended: what is answered is what a loop would have heard. */
#include "base/fault.h"
#include "harness/ahead.h"
#include "loop/starters.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* What goes over to the loop as too much for the thread, and what just does not, of both outputs at once. */
TEST(kept_output_is_whole_whatever_its_length) {
    WARM();
    const int lengths[] = {0, 1, 4095, 4096, 4097, 8192, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        const char *length = test_format("%d", lengths[i]);
        EXEC(a, .args = BROOD_ARGS(CHILD, "bytes-to", "1", length, "bytes-to", "2", length, "exit", "3"));
        RUN();
        CHECK_EQ(a->count, 1);
        CHECK_EQ(a->result.exit.code, 3);
        CHECK_EQ(a->result.out.len, (size_t)lengths[i]);
        CHECK_EQ(a->result.err.len, (size_t)lengths[i]);
        CHECK(memcmp(a->result.out.bytes, a->result.err.bytes, (size_t)lengths[i]) == 0);
        brood_result *waited = result_new();
        CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "bytes", length)}, waited), 0);
        CHECK_EQ(waited->out.len, a->result.out.len);
        CHECK(memcmp(waited->out.bytes, a->result.out.bytes, waited->out.len) == 0);
    }
}

/* The loop is not told before all is over: with its own thread held up, the answer is what it was by then. */
TEST(kept_until_it_has_ended) {
    WARM();
    brood_abort *abort;
    CHECK_EQ(brood_abort_new(&abort), 0);
    DEFER(brood_abort_free, abort);
    EXEC(a, .args = BROOD_ARGS(CHILD, "print", "hello", "exit", "7"), .abort = abort);
    WAIT_UNTIL(brood__starters_are_idle());
    brood_abort_now(abort);
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_EXITED);
    CHECK_EQ(a->result.exit.code, 7);
    CHECK_STR(a->result.out.bytes, "hello\n");
}

/* libuv runs its timers before anything else: what ended in time is not late because its loop was. */
TEST(kept_has_ended_before_its_deadline) {
    WARM();
    answer *a;
    uint64_t timeout_ms = 200;
    do { /* a busy machine may be late with the program itself */
        uint64_t late_ms = test_now_ms() + timeout_ms + 10;
        a = answer_new();
        CHECK(ask(t, a, &(brood_options){.args = BROOD_ARGS(CHILD, "exit", "7"), .timeout_ms = timeout_ms}));
        WAIT_UNTIL(brood__starters_are_idle() && test_now_ms() > late_ms);
        RUN();
        timeout_ms *= 2;
    } while (a->result.exit.reason == BROOD_REASON_TIMED_OUT && timeout_ms < 5000);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_EXITED);
    CHECK_EQ(a->result.exit.code, 7);
}

/* A child that runs, and is looked after by its starter, or, `later`, by its loop. */
static bool exec_until_kept(test *t, const char *trace, bool later, brood_abort *abort, answer *a) {
    if (!ask(t, a,
             &(brood_options){.args = BROOD_ARGS(CHILD, "print", "hello", "trap", "TERM", "3", "touch", trace, "pause"),
                              .abort = abort}))
        return false;
    while (access(trace, F_OK) != 0 && !test_failed())
        test_nap();
    while (later && !brood__starters_are_idle())
        test_idle(1);
    return !test_failed();
}

/* By an abort while it is kept, or after: it runs by then, and has its grace. */
TEST(kept_is_aborted) {
    WARM();
    for (int i = 0, later = 0; later < 2; i++) {
        answer *a = answer_new();
        brood_abort *abort;
        CHECK_EQ(brood_abort_new(&abort), 0);
        DEFER(brood_abort_free, abort);
        CHECK(exec_until_kept(t, test_path(t, test_format("trace %d", i)), later, abort, a));
        brood_abort_now(abort);
        RUN();
        CHECK_EQ(a->count, 1);
        if (i < 20 && a->result.failure.step == BROOD_STEP_ABORTED)
            continue; /* the thread that has started it was not yet through with that */
        CHECK_EQ(a->result.exit.reason, BROOD_REASON_ABORTED);
        CHECK_EQ(a->result.exit.code, 3);
        CHECK_STR(a->result.out.bytes, "hello\n");
        later++;
    }
}

TEST(kept_is_stopped_by_its_deadline) {
    WARM();
    EXEC(a, .args = BROOD_ARGS(CHILD, "print", "hello", "pause"), .timeout_ms = 20);
    EXEC(b, .args = BROOD_ARGS(CHILD, "print", "hello", "pause"), .timeout_ms = (uint64_t)(300 * test_slow()));
    RUN();
    CHECK_EQ(b->result.exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(b->result.exit.signal, SIGTERM);
    CHECK_STR(b->result.out.bytes, "hello\n");
    CHECK(a->result.exit.reason == BROOD_REASON_TIMED_OUT || a->result.failure.step == BROOD_STEP_ABORTED);
}

TEST(kept_writes_too_much) {
    WARM();
    for (int i = 0; i < 2; i++) {
        EXEC(a, .args = BROOD_ARGS(CHILD, "bytes", i ? "11" : "10", i ? "pause" : NULL), .max_buffer = 10);
        RUN();
        CHECK_EQ(a->result.exit.reason, i ? BROOD_REASON_OUTPUT_LIMIT : BROOD_REASON_EXITED);
        CHECK_EQ(a->result.out.len, 10);
        CHECK_EQ(a->result.out_dropped, i);
    }
}

/* It has ended, and somebody else holds its output: that is the loop's to wait for, or to give up. */
TEST(kept_leaves_a_daemon_with_its_output) {
    WARM();
    EXEC(a, .args = BROOD_ARGS(CHILD, "print", "hello", "daemon", "60000", "exit", "5"), .close_grace_ms = 1);
    RUN();
    CHECK_EQ(a->result.exit.code, 5);
    CHECK(a->result.cut);
    CHECK_EQ(strncmp(a->result.out.bytes, "hello\n", 6), 0);
    CHECK_GT(a->result.cut_pid, 0);
    CHECK_EQ(kill(a->result.cut_pid, SIGKILL), 0);
}

TEST(kept_is_ended_with_its_loop) {
    WARM();
    for (int i = 0; i < 20; i++) {
        const char *trace = test_path(t, test_format("trace %d", i));
        EXEC(a, .args = BROOD_ARGS(CHILD, "touch", trace, "pause"));
        EXEC(b, .args = BROOD_ARGS(CHILD, "print", "hello"));
        if (i % 2)
            WAIT_UNTIL(access(trace, F_OK) == 0);
        CHECK_EQ(brood_loop_close(t->loop, NULL, NULL), 0);
        RUN(); /* that no child is left is looked at after each test */
        CHECK_EQ(a->count + b->count, 0);
    }
}

/* That it is over was told to the outer uv_run, which has not come to it yet. */
typedef struct inner {
    uv_loop_t *loop;
    answer *awaited;
} inner;

static void run_inside(brood_stream *stream, const char *bytes, size_t len, void *data) {
    const inner *i = data;
    (void)stream, (void)bytes, (void)len;
    while (i->awaited->count == 0)
        uv_run(i->loop, UV_RUN_ONCE);
}

TEST(kept_is_told_in_a_run_inside_of_a_callback) {
    WARM();
    const char *trace = test_path(t, "trace");
    inner *i = NEW(inner);
    i->loop = t->loop;
    int r = brood_spawn(t->loop,
                        &(brood_options){.args = BROOD_ARGS(CHILD, "print", "x", "touch", trace, "exit", "0"),
                                         .out = {.on_data = run_inside, .data = i}},
                        NULL, NULL);
    CHECK_EQ(r, 0);
    WAIT_UNTIL(access(trace, F_OK) == 0);
    EXEC(a, .args = BROOD_ARGS(CHILD, "exit", "7"));
    i->awaited = a;
    WAIT_UNTIL(brood__starters_are_idle());
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_EQ(a->result.exit.code, 7);
}

/* A handler may come at any time, and is not to run on a thread of brood's. */
static pid_t main_thread;
static volatile sig_atomic_t signals_here, signals_elsewhere;

static void on_sigchld(int signal) {
    (void)signal;
    if (syscall(SYS_gettid) == main_thread)
        signals_here++;
    else
        signals_elsewhere++;
}

TEST(kept_signals_its_end_to_the_host) {
    WARM();
    main_thread = (pid_t)syscall(SYS_gettid);
    EXEC(before, .args = BROOD_ARGS(CHILD, "exit", "0"));
    RUN();
    CHECK_EQ(before->count, 1);
    WAIT_UNTIL(brood__starters_are_idle());
    CHECK(signal(SIGCHLD, on_sigchld) != SIG_ERR);
    for (int i = 0; i < 50; i++) {
        EXEC(a, .args = BROOD_ARGS(CHILD, "exit", "0"));
        RUN();
        CHECK_EQ(a->result.exit.code, 0);
    }
    WAIT_UNTIL(brood__starters_are_idle());
    CHECK_GT(signals_here, 0);
    CHECK_EQ(signals_elsewhere, 0);
}

/* One that waits for the ends of its own children by sigwait, or a signalfd. */
TEST(kept_leaves_the_host_its_sigchld) {
    WARM();
    sigset_t sigchld, pending;
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &sigchld, NULL), 0);
    for (int i = 0; i < 20; i++) {
        pid_t own = fork();
        if (own == 0)
            _exit(0);
        WAIT_UNTIL(sigpending(&pending) == 0 && sigismember(&pending, SIGCHLD));
        EXEC(a, .args = BROOD_ARGS(CHILD, "exit", "0"));
        RUN();
        CHECK_EQ(a->result.exit.code, 0);
        CHECK_EQ(sigtimedwait(&sigchld, NULL, &(struct timespec){0}), SIGCHLD);
        CHECK_EQ(waitpid(own, NULL, 0), own);
    }
}

/* Where it cannot be watched when it is taken back, it is ended, and that is told from within uv_run. */
TEST(kept_cannot_be_taken_back) {
    if (!BROOD_FAULTS)
        SKIP("a build without injected failures");
    WARM();
    for (int closes = 0; closes < 2; closes++) {
        const char *trace = test_path(t, test_format("trace %d", closes));
        brood_abort *abort;
        CHECK_EQ(brood_abort_new(&abort), 0);
        DEFER(brood_abort_free, abort);
        EXEC(a, .args = BROOD_ARGS(CHILD, "touch", trace, "pause"), .abort = abort);
        WAIT_UNTIL(access(trace, F_OK) == 0);
        if (closes) {
            brood__fault_arm(1, ENOMEM);
            CHECK_EQ(brood_loop_close(t->loop, NULL, NULL), 0);
            CHECK_EQ(a->count, 0);
            RUN();
            CHECK_EQ(a->count, 0);
            continue;
        }
        brood_abort_now(abort);
        brood__fault_arm(1, ENOMEM);
        RUN();
        brood__fault_arm(0, 0);
        CHECK_EQ(a->count, 1);
        CHECK(a->result.exit.reason == BROOD_REASON_NOT_STARTED || a->result.exit.reason == BROOD_REASON_ABORTED);
    }
    brood__fault_arm(0, 0);
}

/* Where the host takes every status, too. */
TEST(kept_in_a_host_that_ignores_sigchld) {
    WARM();
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    EXEC(a, .args = BROOD_ARGS(CHILD, "print", "hello", "exit", "4"));
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_STR(a->result.out.bytes, "hello\n");
    CHECK(a->result.exit.reason == BROOD_REASON_UNKNOWN || a->result.exit.code == 4);
    signal(SIGCHLD, SIG_DFL);
}

/* Loops on several threads, whose programs one thread may keep; some are given up meanwhile. */
enum { THREADS = 4, EACH = 60 };

typedef struct lane {
    pthread_t thread;
    int answers, wrong;
} lane;

static void count_answer(brood_result *result, void *data) {
    lane *l = data;
    l->answers++;
    l->wrong += result->exit.reason == BROOD_REASON_EXITED && strcmp(result->out.bytes, "hello\n") != 0;
}

static void *run_lane(void *data) {
    lane *l = data;
    uv_loop_t loop;
    uv_loop_init(&loop);
    brood_abort *abort = NULL;
    for (int i = 0; i < EACH; i++) {
        if (i % 10 == 0)
            brood_abort_new(&abort);
        brood_options o = {.args = BROOD_ARGS(CHILD, "print", "hello", i % 3 ? NULL : "pause"),
                           .own = BROOD_OWN_GROUP,
                           .timeout_ms = i % 3 ? 0 : 5,
                           .abort = abort};
        l->wrong += brood_exec_file(&loop, &o, count_answer, l, NULL) != 0;
        if (i % 10 != 9)
            continue;
        uv_run(&loop, UV_RUN_ONCE);
        brood_abort_now(abort);
        uv_run(&loop, UV_RUN_DEFAULT);
        brood_abort_free(abort);
    }
    l->wrong += uv_loop_close(&loop) != 0;
    return NULL;
}

TEST(kept_for_several_loops) {
    WARM();
    lane *lanes = NEW_ARRAY(lane, THREADS);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(lanes[i].thread, NULL);
        CHECK_EQ(lanes[i].answers, EACH);
        CHECK_EQ(lanes[i].wrong, 0);
    }
}

TEST_TORTURE(kept_with_every_call_failing_once) {
    WARM();
    EXEC(a, .args = BROOD_ARGS(CHILD, "print", "hello", "err", "there", "exit", "3"));
    EXEC(b, .args = BROOD_ARGS(CHILD, "bytes", "5000"));
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_EQ(b->count, 1);
    if (!t->torture) {
        CHECK_STR(a->result.out.bytes, "hello\n");
        CHECK_STR(a->result.err.bytes, "there\n");
        CHECK_EQ(a->result.exit.code, 3);
        CHECK_EQ(b->result.out.len, 5000);
    }
}
