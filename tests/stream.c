/*
 * Streams: what a child writes arrives whole and in order, can be held back, ends once; what is written to it is
 * queued, reported, pushed back, and is an error, never a signal, when the child no longer reads.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/fault.h"

/* --- reading --- */

TEST_TORTURE(stream_delivers_every_byte_in_order) {
    size_t len = t->brief ? 300000 : 3000000;
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "bytes", test_format("%zu", len)));
    CHECK(is_pattern(w->out.bytes, w->out.len, len));
    CHECK_EQ(w->ends, 1);
    CHECK_EQ(w->end_error, 0);
}

TEST(stream_ends_without_data) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK_EQ(w->ends, 1);
    CHECK_EQ(w->out.len, 0);
    CHECK_LACKS(w->log, "data");
}

TEST(stream_end_comes_before_the_exit_of_a_child_that_closes_its_output) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "x", "close-stdout", "pause"), .out = WATCHED);
    RUN_UNTIL(w->ends);
    CHECK_STR(w->log, "spawn data end");
    CHECK(!brood_child_exit(w->child));
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK_STR(w->log, "spawn data end exit close");
    brood_child_close(w->child);
}

TEST(stream_of_several_slots_at_a_time) {
    watch *w = watch_new(), *three = watch_new();
    brood_slot slot = {.slot = 3, .io = WATCHED};
    slot.io.data = three;
    START(w,
          .args = BROOD_ARGS(CHILD, "fork", "fork", "bytes", "500000", "bytes-to", "2", "400000", "bytes-to", "3",
                             "300000"),
          .out = WATCHED, .err = WATCHED, .slots = &slot, .slot_count = 1);
    RUN();
    CHECK(is_pattern(w->out.bytes, w->out.len, 500000));
    CHECK(is_pattern(w->err.bytes, w->err.len, 400000));
    CHECK(is_pattern(three->out.bytes, three->out.len, 300000));
    CHECK(before(w->log, "end", "close"));
    CHECK(before(w->log, "end2", "close"));
}

static void pause_at_data(watch *w, const char *event) {
    if (strcmp(event, "data") == 0)
        brood_stream_pause(brood_child_stream(w->child, 1));
}

TEST_TORTURE(stream_pause_makes_the_child_wait) {
    watch *w = watch_new();
    w->then = pause_at_data;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "bytes", "1000000", "err", "written"), .out = WATCHED, .err = WATCHED);
    RUN_UNTIL(w->out.len);
    size_t first = w->out.len;
    test_idle(60);
    CHECK_EQ(w->out.len, first); /* not one callback more */
    CHECK_EQ(w->err.len, 0);     /* and the child is stuck in its write */
    CHECK_EQ(w->exits, 0);
    w->then = NULL;
    brood_stream_resume(brood_child_stream(w->child, 1));
    RUN();
    CHECK(is_pattern(w->out.bytes, w->out.len, 1000000));
    CHECK_STR(w->err.bytes, "written\n");
    brood_child_close(w->child);
}

TEST(stream_pause_and_resume_at_every_callback) {
    watch *w = watch_new();
    w->then = pause_at_data;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "bytes", "700000"), .out = WATCHED);
    size_t seen = 0;
    while (!w->ends) {
        RUN_UNTIL(w->out.len > seen || w->ends);
        seen = w->out.len;
        brood_stream_pause(brood_child_stream(w->child, 1)); /* twice is harmless */
        brood_stream_resume(brood_child_stream(w->child, 1));
        brood_stream_resume(brood_child_stream(w->child, 1));
    }
    RUN();
    CHECK(is_pattern(w->out.bytes, w->out.len, 700000));
    brood_child_close(w->child);
}

TEST(stream_paused_does_not_hold_back_the_exit) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "late", "exit", "3"), .out = WATCHED);
    brood_stream_pause(brood_child_stream(w->child, 1));
    RUN_UNTIL(w->exits);
    test_idle(30);
    CHECK_STR(w->log, "spawn exit");
    CHECK_EQ(w->ended.code, 3);
    brood_stream_resume(brood_child_stream(w->child, 1));
    RUN();
    CHECK_STR(w->log, "spawn exit data end close");
    CHECK_STR(w->out.bytes, "late\n");
    brood_child_close(w->child);
}

TEST_TORTURE(stream_paused_is_closed_with_its_child) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "bytes", "1000000"), .out = WATCHED, .kill_grace_ms = 200);
    brood_stream_pause(brood_child_stream(w->child, 1));
    RUN_UNTIL(w->spawns);
    brood_child_close(w->child);
    RUN();
    CHECK_STR(w->log, "spawn close");
}

TEST_TORTURE(stream_without_callbacks_waits_for_a_reader) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "waiting", "err", "written", "line"),
               .in = {.kind = BROOD_STDIO_PIPE}, .out = {.kind = BROOD_STDIO_PIPE}, .err = WATCHED);
    RUN_UNTIL(w->err.len);
    test_idle(20);
    CHECK_EQ(brood_stream_read(brood_child_stream(w->child, 1), watch_on_data, watch_on_end, w), 0);
    CHECK_EQ(w->out.len, 0); /* not inside the call */
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_stream_end(brood_child_stream(w->child, 0)), 0);
    RUN();
    CHECK_EQ(w->ends, 2);
    CHECK_STR(w->out.bytes, "waiting\nread: \n");
    brood_child_close(w->child);
}

static void read_at_exit(watch *w, const char *event) {
    if (strcmp(event, "exit") == 0)
        ENSURE(brood_stream_read(brood_child_stream(w->child, 1), watch_on_data, watch_on_end, w) == 0);
}

/* on_exit is the last moment to ask for the output of a pipe; one that nobody asks for is not waited for. */
TEST(stream_without_callbacks_is_read_from_on_exit) {
    watch *w = watch_new(), *unread = watch_new();
    w->then = read_at_exit;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "waiting"), .out = {.kind = BROOD_STDIO_PIPE});
    START_KEPT(unread, .args = BROOD_ARGS(CHILD, "print", "waiting"), .out = {.kind = BROOD_STDIO_PIPE});
    RUN();
    CHECK_STR(w->log, "spawn exit data end close");
    CHECK_STR(unread->log, "spawn exit close");
    brood_child_close(unread->child);
    CHECK_STR(w->out.bytes, "waiting\n");
    brood_child_close(w->child);
}

TEST(stream_changes_its_callbacks_on_the_way) {
    watch *w = watch_new(), *other = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "one", "line", "print", "two"), .in = {.kind = BROOD_STDIO_PIPE},
               .out = WATCHED);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_stream_read(brood_child_stream(w->child, 1), watch_on_data, watch_on_end, other), 0);
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "go\n", BROOD_NUL, NULL, NULL), 0);
    RUN_UNTIL(other->ends);
    CHECK_STR(w->out.bytes, "one\n");
    CHECK_STR(other->out.bytes, "read: go\ntwo\n");
    CHECK_EQ(w->ends, 0);
    CHECK_EQ(brood_stream_read(brood_child_stream(w->child, 1), watch_on_data, NULL, w), -EBADF);
    CHECK_EQ(brood_stream_read(brood_child_stream(w->child, 0), watch_on_data, NULL, w), -EBADF);
    brood_child_close(w->child);
    RUN();
}

static void destroy_at_data(watch *w, const char *event) {
    if (strcmp(event, "data") == 0) {
        brood_stream_destroy(brood_child_stream(w->child, 1));
        brood_stream_destroy(brood_child_stream(w->child, 1));
    }
}

TEST_TORTURE(stream_destroyed_reads_no_more) {
    watch *w = watch_new();
    w->then = destroy_at_data;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "bytes", "10000000"), .out = WATCHED);
    RUN();
    CHECK_STR(w->log, "spawn data exit close"); /* no end */
    CHECK_EQ(w->ended.signal, SIGPIPE);         /* for the child nobody reads any more */
    CHECK_EQ(w->ended.reason, BROOD_REASON_SIGNALED);
    CHECK_EQ(brood_stream_read(brood_child_stream(w->child, 1), watch_on_data, NULL, w), -EBADF);
    brood_child_close(w->child);
}

TEST(stream_knows_its_child_and_slot) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_stream *in = brood_child_stream(w->child, 0), *out = brood_child_stream(w->child, 1);
    CHECK(in && out && in != out);
    CHECK(brood_stream_child(in) == w->child);
    CHECK(brood_stream_child(out) == w->child);
    CHECK_EQ(brood_stream_slot(in), 0);
    CHECK_EQ(brood_stream_slot(out), 1);
    CHECK(!brood_child_stream(w->child, 2));
    CHECK_EQ(brood_stream_queued(in), 0);
    CHECK_EQ(brood_stream_queued(out), 0);
    brood_child_close(w->child);
    RUN();
}

/* --- writing --- */

TEST_TORTURE(stream_write_reaches_the_child) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "cat"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_stream *in = brood_child_stream(w->child, 0);
    CHECK_EQ(brood_stream_write(in, "one ", BROOD_NUL, watch_on_written, w), 0);
    CHECK_EQ(brood_stream_write(in, "two\0three", 9, NULL, NULL), 0);
    CHECK_EQ(w->writes, 0); /* not inside the call */
    CHECK_EQ(brood_stream_end(in), 0);
    RUN();
    CHECK_EQ(w->writes, 1);
    CHECK_EQ(w->write_error, 0);
    CHECK_EQ(w->out.len, 13);
    CHECK(memcmp(w->out.bytes, "one two\0three", 13) == 0);
    CHECK(brood_exit_ok(&w->ended));
    brood_child_close(w->child);
}

TEST(stream_write_of_nothing_is_a_write) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "drain"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_stream *in = brood_child_stream(w->child, 0);
    CHECK_EQ(brood_stream_write(in, "", 0, watch_on_written, w), 0);
    CHECK_EQ(brood_stream_write(in, "", BROOD_NUL, watch_on_written, w), 0);
    CHECK_EQ(brood_stream_end(in), 0);
    RUN();
    CHECK_EQ(w->writes, 2);
    CHECK_EQ(w->write_error, 0);
    CHECK_STR(w->out.bytes, "0 0\n");
    brood_child_close(w->child);
}

TEST_TORTURE(stream_write_queues_and_reports_in_order) {
    size_t len = t->brief ? 400000 : 2000000, count = 0;
    char *bytes = test_alloc(len);
    fill_pattern(bytes, len);
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "drain"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_stream *in = brood_child_stream(w->child, 0);
    for (size_t at = 0; at < len; at += 100000, count++)
        CHECK_GE(brood_stream_write(in, bytes + at, 100000, watch_on_written, w), 0);
    CHECK_GT(brood_stream_queued(in), 64 * 1024);
    memset(bytes, 0, len); /* what was not taken is copied */
    CHECK_EQ(brood_stream_end(in), 0);
    RUN();
    CHECK_EQ(w->writes, count);
    CHECK_EQ(w->write_error, 0);
    CHECK_STR(w->out.bytes, test_format("%zu %llu\n", len, (unsigned long long)pattern_hash(len)));
    brood_child_close(w->child);
}

TEST(stream_write_of_very_many_small_pieces) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "drain"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_stream *in = brood_child_stream(w->child, 0);
    enum { COUNT = 100000 };
    for (int i = 0; i < COUNT; i++) {
        char byte = (char)(i % 251);
        CHECK_GE(brood_stream_write(in, &byte, 1, i % 1000 == 0 ? watch_on_written : NULL, w), 0);
    }
    CHECK_EQ(brood_stream_end(in), 0);
    RUN();
    CHECK_EQ(w->writes, COUNT / 1000);
    CHECK_STR(w->out.bytes, test_format("%d %llu\n", COUNT, (unsigned long long)pattern_hash(COUNT)));
    brood_child_close(w->child);
}

/* The child stops itself, so that nothing is read until it is sent on. */
TEST_TORTURE(stream_write_pushes_back_above_the_high_water_mark) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "ready", "stop", "drain"), .out = WATCHED, .kill_grace_ms = 100,
               .in = {.kind = BROOD_STDIO_PIPE, .high_water = 20000, .on_drain = watch_on_drain});
    RUN_UNTIL(w->out.len);
    brood_stream *in = brood_child_stream(w->child, 0);
    char *block = test_alloc(5000);
    size_t written = 0;
    int r;
    do {
        r = brood_stream_write(in, block, 5000, NULL, NULL);
        CHECK_GE(r, 0);
        written += 5000;
        CHECK_EQ(r, brood_stream_queued(in) > 20000);
        CHECK_LT(written, 4000000);
    } while (r == 0);
    CHECK_GT(written, 4096);
    test_idle(30);
    CHECK_EQ(w->drains, 0);
    WAIT_UNTIL(test_process_state(w->pid) == 'T');
    CHECK_EQ(brood_child_kill(w->child, SIGCONT), 0);
    RUN_UNTIL(w->drains);
    CHECK_LE(brood_stream_queued(in), 10000);
    CHECK_EQ(brood_stream_end(in), 0);
    RUN();
    CHECK_EQ(w->drains, 1);
    CHECK_HAS(w->out.bytes, test_format("\n%zu 0\n", written));
    brood_child_close(w->child);
}

TEST(stream_write_below_the_high_water_mark_never_drains) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "drain"), .out = WATCHED,
               .in = {.kind = BROOD_STDIO_PIPE, .on_drain = watch_on_drain});
    for (int i = 0; i < 10; i++)
        CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "x", 1, NULL, NULL), 0);
    CHECK_EQ(brood_stream_end(brood_child_stream(w->child, 0)), 0);
    RUN();
    CHECK_EQ(w->drains, 0);
    brood_child_close(w->child);
}

static void write_on_at_drain(watch *w, const char *event) {
    static char block[30000];
    brood_stream *in = brood_child_stream(w->child, 0);
    if (strcmp(event, "drain") != 0)
        return;
    size_t *left = w->more;
    for (int r = 0; r == 0 && *left > 0; *left -= sizeof block)
        r = brood_stream_write(in, block, sizeof block, NULL, NULL);
    if (*left == 0)
        brood_stream_end(in);
}

/* A producer that keeps to the rule: the queue stays flat however much goes through. */
TEST(stream_write_from_the_drain_callback) {
    watch *w = watch_new();
    size_t *left = NEW(size_t);
    *left = 30000 * 200;
    w->more = left;
    w->then = write_on_at_drain;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "sleep", "100", "drain"), .out = WATCHED, /* first the pipe is full */
               .in = {.kind = BROOD_STDIO_PIPE, .high_water = 100000, .on_drain = watch_on_drain});
    write_on_at_drain(w, "drain");
    RUN_UNTIL(w->ends || brood_stream_queued(brood_child_stream(w->child, 0)) > 200000);
    RUN();
    CHECK_EQ(*left, 0);
    CHECK_GT(w->drains, 0); /* how often, the child decides */
    CHECK_STR(w->out.bytes, "6000000 0\n");
    brood_child_close(w->child);
}

static void write_on_at_written(watch *w, const char *event) {
    if (strcmp(event, "written") != 0)
        return;
    if (w->writes < 1000)
        ENSURE(brood_stream_write(brood_child_stream(w->child, 0), "x", 1, watch_on_written, w) == 0);
    else
        ENSURE(brood_stream_end(brood_child_stream(w->child, 0)) == 0);
}

TEST(stream_write_from_the_written_callback) {
    watch *w = watch_new();
    w->then = write_on_at_written;
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "drain"), .out = WATCHED, .in = {.kind = BROOD_STDIO_PIPE});
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "x", 1, watch_on_written, w), 0);
    RUN();
    CHECK_EQ(w->writes, 1000);
    CHECK_HAS(w->out.bytes, "1000 ");
    brood_child_close(w->child);
}

TEST_TORTURE(stream_write_after_the_end_is_refused) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "drain"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    brood_stream *in = brood_child_stream(w->child, 0), *out = brood_child_stream(w->child, 1);
    CHECK_EQ(brood_stream_write(out, "x", 1, watch_on_written, w), -EBADF);
    CHECK_EQ(brood_stream_end(out), -EBADF);
    CHECK_EQ(brood_stream_write(in, "x", 1, NULL, NULL), 0);
    CHECK_EQ(brood_stream_end(in), 0);
    CHECK_EQ(brood_stream_write(in, "y", 1, watch_on_written, w), -EBADF);
    CHECK_EQ(brood_stream_end(in), -EBADF);
    brood_stream_pause(in); /* harmless */
    brood_stream_resume(in);
    RUN();
    CHECK_EQ(w->writes, 0);
    CHECK_STR(w->out.bytes, "1 120\n");
    brood_child_close(w->child);
}

TEST_TORTURE(stream_destroyed_cancels_what_is_queued) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "ready", "stop", "wait-eof", "print", "eof"), .out = WATCHED,
               .in = {.kind = BROOD_STDIO_PIPE}, .kill_grace_ms = 100);
    RUN_UNTIL(w->out.len);
    brood_stream *in = brood_child_stream(w->child, 0);
    char *block = test_alloc(1000000);
    CHECK_EQ(brood_stream_write(in, block, 1000000, watch_on_written, w), 1);
    CHECK_EQ(brood_stream_write(in, block, 1000, watch_on_written, w), 1);
    brood_stream_destroy(in);
    CHECK_EQ(w->writes, 0);
    CHECK_EQ(brood_stream_write(in, "x", 1, watch_on_written, w), -EBADF);
    CHECK_EQ(brood_stream_end(in), -EBADF);
    RUN_UNTIL(w->writes == 2);
    CHECK_EQ(w->write_error, -ECANCELED);
    WAIT_UNTIL(test_process_state(w->pid) == 'T');
    CHECK_EQ(brood_child_kill(w->child, SIGCONT), 0);
    RUN();
    CHECK_STR(w->out.bytes, "ready\neof\n");
    CHECK_EQ(w->writes, 2);
    brood_child_close(w->child);
}

static volatile sig_atomic_t pipe_signals;

static void count_pipe_signal(int number) {
    (void)number;
    pipe_signals++;
}

static void write_to_a_gone_reader(test *t, void (*handler)(int)) {
    signal(SIGPIPE, handler);
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "close-stdin"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    RUN_UNTIL(w->out.len);
    int r = brood_stream_write(brood_child_stream(w->child, 0), "x", 1, watch_on_written, w);
    CHECK_EQ(r, -EPIPE);
    test_idle(1);
    CHECK_EQ(w->writes, 0);
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGTERM);
    brood_child_close(w->child);
    sigset_t pending;
    CHECK_EQ(sigpending(&pending), 0);
    CHECK(!sigismember(&pending, SIGPIPE));
    CHECK_EQ(pipe_signals, 0);
}

TEST_TORTURE(stream_write_to_a_child_that_reads_no_more_is_an_error) {
    write_to_a_gone_reader(t, SIG_DFL);
    write_to_a_gone_reader(t, SIG_IGN);
    write_to_a_gone_reader(t, count_pipe_signal);
}

TEST_TORTURE(stream_write_to_a_gone_reader_on_an_older_kernel) {
    brood__probe_force("nosignal", true);
    write_to_a_gone_reader(t, SIG_DFL);
    write_to_a_gone_reader(t, SIG_IGN);
    write_to_a_gone_reader(t, count_pipe_signal);
    brood__probe_force("nosignal", false);
}

/* A SIGPIPE that was pending before, because the host blocks it, is the host's and stays. */
TEST(stream_write_leaves_the_hosts_own_pending_signal) {
    sigset_t set, pending;
    sigemptyset(&set);
    sigaddset(&set, SIGPIPE);
    for (int without = 0; without < 2; without++) {
        brood__probe_force("nosignal", without);
        CHECK_EQ(sigprocmask(SIG_BLOCK, &set, NULL), 0);
        CHECK_EQ(raise(SIGPIPE), 0);
        watch *w = watch_new();
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "close-stdin"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
        RUN_UNTIL(w->out.len);
        CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "x", 1, NULL, NULL), -EPIPE);
        brood_child_close(w->child);
        RUN();
        CHECK_EQ(sigpending(&pending), 0);
        CHECK(sigismember(&pending, SIGPIPE));
        siginfo_t info;
        CHECK_EQ(sigwaitinfo(&set, &info), SIGPIPE);
        CHECK_EQ(sigprocmask(SIG_UNBLOCK, &set, NULL), 0);
    }
    brood__probe_force("nosignal", false);
}

TEST_TORTURE(stream_write_queued_for_a_child_that_dies) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    RUN_UNTIL(w->out.len);
    char *block = test_alloc(1000000);
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), block, 1000000, watch_on_written, w), 1);
    CHECK_EQ(brood_child_kill(w->child, SIGKILL), 0);
    RUN();
    CHECK_EQ(w->writes, 1);
    CHECK_EQ(w->write_error, -EPIPE);
    CHECK(before(w->log, "written", "close"));
    brood_child_close(w->child);
}

TEST(stream_write_queued_when_the_child_is_closed) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    RUN_UNTIL(w->out.len);
    char *block = test_alloc(1000000);
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), block, 1000000, NULL, NULL), 1);
    brood_child_close(w->child);
    RUN();
    CHECK_STR(w->log, "spawn data close");
}

TEST_TORTURE(stream_write_before_the_start_is_queued) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "cat"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED, .offload = true);
    brood_stream *in = brood_child_stream(w->child, 0);
    CHECK(in);
    CHECK_EQ(brood_stream_write(in, "early ", BROOD_NUL, watch_on_written, w), 0);
    CHECK_EQ(brood_stream_write(in, "bird", BROOD_NUL, watch_on_written, w), 0);
    CHECK_EQ(brood_stream_queued(in), 10);
    CHECK_EQ(brood_stream_end(in), 0);
    RUN();
    CHECK(before(w->log, "spawn", "written"));
    CHECK_EQ(w->writes, 2);
    CHECK_EQ(w->write_error, 0);
    CHECK_STR(w->out.bytes, "early bird");
    brood_child_close(w->child);
}

TEST_TORTURE(stream_write_before_a_start_that_fails) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS("/no/such"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED, .offload = true);
    CHECK_EQ(brood_stream_write(brood_child_stream(w->child, 0), "x", 1, watch_on_written, w), 0);
    RUN();
    CHECK(before(w->log, "error", "close"));
    CHECK_EQ(w->writes, 1);
    CHECK_LT(w->write_error, 0);
    CHECK_EQ(w->failure.code, -ENOENT);
    brood_child_close(w->child);
}

TEST(stream_written_through_many_children_in_a_line) {
    watch *w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = watch_new();
        START_KEPT(w[i], .args = BROOD_ARGS(CHILD, "cat"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    }
    for (int i = 0; i < 4; i++) {
        const char *bytes = i ? w[i - 1]->out.bytes : "passed on";
        CHECK_EQ(brood_stream_write(brood_child_stream(w[i]->child, 0), bytes, BROOD_NUL, NULL, NULL), 0);
        CHECK_EQ(brood_stream_end(brood_child_stream(w[i]->child, 0)), 0);
        RUN_UNTIL(w[i]->closes);
    }
    CHECK_STR(w[3]->out.bytes, "passed on");
    for (int i = 0; i < 4; i++)
        brood_child_close(w[i]->child);
    RUN();
}
