/*
 * Freezing what a child owns, and thawing it; and that what is frozen ends as what runs does. Each is done by the tree's
 * cgroup, where it can have one, and by signals.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/fault.h"

/* A daemon that holds the output, and a program that writes to it without end. */
#define TICKING .args = BROOD_ARGS(CHILD, "orphan", "forever", "tick", "1000000", "1")

static pid_t orphan_of(const watch *w) {
    return w->out.len ? atoi(w->out.bytes) : 0;
}

static void read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
}

/* The cgroup of a tree says that it is frozen; without one each process is stopped. */
static bool is_frozen(const watch *w) {
    char path[8192], text[4096];
    const char *mount = access("/sys/fs/cgroup/unified", F_OK) == 0 ? "/sys/fs/cgroup/unified" : "/sys/fs/cgroup";
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)orphan_of(w));
    read_text(path, text, sizeof text);
    const char *in = strstr(text, "0::/");
    if (!in || !strstr(in, "/brood-"))
        return test_process_state(w->pid) == 'T' && test_process_state(orphan_of(w)) == 'T';
    snprintf(path, sizeof path, "%s%.*s/cgroup.events", mount, (int)strcspn(in + 3, "\n"), in + 3);
    read_text(path, text, sizeof text);
    return strstr(text, "frozen 1");
}

static void start_frozen(test *t, watch *w, const brood_options *more) {
    CHECK(watch_start(t, w, true, more, __FILE__, __LINE__));
    RUN_UNTIL(strstr(w->out.bytes, "tick") || strstr(w->out.bytes, "ready"));
    CHECK_EQ(brood_child_freeze(w->child), 0);
    WAIT_UNTIL(is_frozen(w));
}

#define START_FROZEN(w, ...)                                                                                           \
    watch *w = watch_new();                                                                                            \
    start_frozen(t, w, &(brood_options){.own = BROOD_OWN_TREE, .out = WATCHED, __VA_ARGS__});                          \
    if (test_failed())                                                                                                 \
    return

/* Once with a cgroup, if there is one, and once without. */
static void both_ways(test *t, void (*body)(test *)) {
    body(t);
    if (test_failed())
        return;
    brood__probe_force("cgroup", true);
    body(t);
    brood__probe_force("cgroup", false);
}

static void freeze_and_thaw(test *t) {
    START_FROZEN(w, TICKING);
    test_idle(20); /* what was written before */
    size_t len = w->out.len;
    test_idle(30);
    CHECK_EQ(w->out.len, len);
    CHECK_EQ(brood_child_freeze(w->child), 0);
    CHECK_EQ(brood_child_thaw(w->child), 0);
    RUN_UNTIL(w->out.len > len);
    CHECK(!is_frozen(w));
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(orphan_of(w)));
}

TEST_TORTURE(freeze_lets_nothing_of_a_tree_run) {
    both_ways(t, freeze_and_thaw);
}

static void stop_frozen(test *t) {
    START_FROZEN(w, TICKING, .kill_grace_ms = BROOD_FOREVER);
    brood_child_stop(w->child);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_ABORTED);
    CHECK_EQ(w->ended.signal, SIGTERM); /* so it was thawed */
    CHECK_EQ(w->ended.stop_error, 0);
    CHECK(test_process_gone(orphan_of(w)));
    brood_child_close(w->child);
}

TEST(freeze_does_not_keep_from_a_stop) {
    both_ways(t, stop_frozen);
}

static void time_frozen(test *t) {
    START_FROZEN(w, TICKING, .timeout_ms = (uint64_t)(500 * test_slow()), .kill_grace_ms = BROOD_FOREVER);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK(test_process_gone(orphan_of(w)));
    brood_child_close(w->child);
}

TEST(freeze_does_not_keep_from_a_time_limit) {
    both_ways(t, time_frozen);
}

static void kill_frozen(test *t) {
    START_FROZEN(w, TICKING);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    CHECK_EQ(brood_child_thaw(w->child), -ESRCH); /* it is on its way */
    RUN();
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK(test_process_gone(orphan_of(w)));
    CHECK_EQ(brood_child_freeze(w->child), -ESRCH);
    brood_child_close(w->child);
}

TEST(freeze_does_not_keep_from_a_kill) {
    both_ways(t, kill_frozen);
}

static void continue_frozen(test *t) {
    START_FROZEN(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "trap", "TERM", "3"));
    CHECK_EQ(brood_child_kill_owned(w->child, SIGTERM), 0);
    test_idle(20);
    CHECK_EQ(w->exits, 0); /* it waits for the thaw */
    CHECK_EQ(brood_child_kill_owned(w->child, SIGCONT), 0);
    RUN();
    CHECK_EQ(w->ended.code, 3);
    brood_child_close(w->child);
}

TEST(freeze_ends_with_a_signal_to_continue) {
    both_ways(t, continue_frozen);
}

static void detach_frozen(test *t) {
    START_FROZEN(w, TICKING);
    size_t len = w->out.len;
    pid_t program = w->pid, orphan = orphan_of(w);
    brood_child_detach(w->child);
    CHECK_EQ(brood_child_freeze(w->child), -EOPNOTSUPP);
    RUN_UNTIL(w->out.len > len + 1000);
    CHECK_EQ(kill(program, SIGKILL), 0);
    CHECK_EQ(kill(orphan, SIGKILL), 0);
    RUN();
    brood_child_close(w->child);
}

TEST(freeze_ends_when_it_is_let_live) {
    both_ways(t, detach_frozen);
}

/* A tree that outlives its program can be frozen as well. */
static void freeze_rest(test *t) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "0"), .out = WATCHED, .own = BROOD_OWN_TREE,
               .close_grace_ms = 50);
    RUN_UNTIL(w->closes);
    CHECK_EQ(brood_child_freeze(w->child), 0);
    brood_child_close(w->child);
    RUN();
    CHECK(test_process_gone(orphan_of(w)));
}

TEST(freeze_of_what_a_program_has_left_behind) {
    both_ways(t, freeze_rest);
}

/* The holder ends what is frozen, whoever does not thaw it any more. */
static void host_goes(test *t) {
    int held[2];
    char byte;
    (void)t;
    CHECK_EQ(pipe2(held, O_CLOEXEC), 0);
    pid_t host = fork();
    if (host == 0) {
        uv_loop_t loop;
        brood_child *child;
        uv_loop_init(&loop);
        brood_options options = {.args = BROOD_ARGS(CHILD, "orphan", "forever", "hold"),
                                 .own = BROOD_OWN_TREE,
                                 .out = {.kind = BROOD_STDIO_FD, .fd = held[1]}};
        if (brood_spawn(&loop, &options, &child, NULL) < 0 || brood_child_freeze(child) < 0)
            _exit(1);
        test_nap();
        _exit(0);
    }
    int status;
    close(held[1]);
    CHECK_EQ(waitpid(host, &status, 0), host);
    CHECK_EQ(status, 0);
    while (read(held[0], &byte, 1) > 0) {}
    close(held[0]);
}

TEST(freeze_does_not_outlive_the_host) {
    both_ways(t, host_goes);
}

TEST(freeze_of_a_process_or_a_group) {
    brood_ownership owns[] = {BROOD_OWN_CHILD, BROOD_OWN_GROUP, BROOD_OWN_NONE};
    for (int i = 0; i < 3; i++) {
        watch *w = watch_new();
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .own = owns[i], .out = WATCHED,
                   .kill_grace_ms = BROOD_FOREVER);
        RUN_UNTIL(strstr(w->out.bytes, "ready"));
        CHECK_EQ(brood_child_freeze(w->child), 0);
        WAIT_UNTIL(test_process_state(w->pid) == 'T');
        CHECK_EQ(brood_child_thaw(w->child), 0);
        WAIT_UNTIL(test_process_state(w->pid) == 'S');
        CHECK_EQ(brood_child_freeze(w->child), 0);
        brood_child_stop(w->child); /* which goes on to it, unless nobody owns it */
        if (owns[i] == BROOD_OWN_NONE)
            CHECK_EQ(brood_child_kill(w->child, SIGKILL), 0);
        RUN();
        CHECK_EQ(w->ended.signal, owns[i] == BROOD_OWN_NONE ? SIGKILL : SIGTERM);
        CHECK_EQ(brood_child_freeze(w->child), -ESRCH);
        brood_child_close(w->child);
    }
}

TEST(freeze_before_it_runs) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "exit", "0"), .own = BROOD_OWN_TREE, .offload = true);
    CHECK_EQ(brood_child_freeze(w->child), -EAGAIN);
    CHECK_EQ(brood_child_thaw(w->child), -EAGAIN);
    RUN();
    CHECK_EQ(w->ended.code, 0);
    brood_child_close(w->child);
}
