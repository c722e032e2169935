/*
 * Hosts of every kind: that ignore SIGCHLD or reap whatever ends, that have closed their 0, 1 and 2, that have threads
 * and several loops, that fork, that drive the loop by an epoll of their own; and hooks.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/fault.h"

/* --- whose children --- */

/* The code is right, or nobody knows it; a child that failed is never said to have done well. */
static void expect_seven_or_unknown(const brood_exit *ended) {
    if (ended->reason == BROOD_REASON_UNKNOWN) {
        CHECK_EQ(ended->code, -1);
        CHECK_EQ(ended->signal, 0);
        CHECK_EQ(brood_exit_status(ended), 125);
    } else {
        CHECK_EQ(ended->reason, BROOD_REASON_EXITED);
        CHECK_EQ(ended->code, 7);
    }
    CHECK(!brood_exit_ok(ended));
}

static void run_sevens(test *t) {
    for (int i = 0; i < (t->brief ? 2 : 10); i++) {
        RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "x", "exit", "7"), .offload = i % 2,
                  .own = i % 4 < 2 ? BROOD_OWN_CHILD : BROOD_OWN_GROUP);
        CHECK_STR(w->out.bytes, "x\n");
        expect_seven_or_unknown(&w->ended);
        brood_result *r = result_new();
        CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "print", "x", "exit", "7")}, r), 0);
        CHECK_STR(r->out.bytes, "x\n");
        expect_seven_or_unknown(&r->exit);
        CHECK(*r->message);
        if (test_failed())
            return;
    }
}

static void ignore_children(void) {
    signal(SIGCHLD, SIG_IGN);
}

static void discard_children(void) {
    struct sigaction action = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDWAIT};
    sigaction(SIGCHLD, &action, NULL);
}

static void reap_everything(int number) {
    int was = errno;
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {}
    errno = was;
}

static void reap_by_handler(void) {
    struct sigaction action = {.sa_handler = reap_everything, .sa_flags = SA_RESTART};
    sigaction(SIGCHLD, &action, NULL);
}

TEST_TORTURE(host_that_ignores_sigchld) {
    ignore_children();
    run_sevens(t);
    signal(SIGCHLD, SIG_DFL);
}

TEST(host_that_wants_no_zombies) {
    discard_children();
    run_sevens(t);
    signal(SIGCHLD, SIG_DFL);
}

TEST_TORTURE(host_that_reaps_everything_in_a_handler) {
    reap_by_handler();
    run_sevens(t);
    signal(SIGCHLD, SIG_DFL);
}

TEST(host_that_steals_statuses_on_an_older_kernel) {
    brood__probe_force("pidfd_info", true);
    void (*const hosts[])(void) = {ignore_children, discard_children, reap_by_handler};
    for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
        hosts[i]();
        run_sevens(t);
        if (test_failed())
            return;
    }
    signal(SIGCHLD, SIG_DFL);
    RUN_CHILD(own, .args = BROOD_ARGS(CHILD, "exit", "7"));
    CHECK_EQ(own->ended.reason, BROOD_REASON_EXITED); /* nobody steals now */
    CHECK_EQ(own->ended.code, 7);
}

static atomic_bool reaper_stops;

static void *reap_for_ever(void *arg) {
    (void)arg;
    while (!atomic_load(&reaper_stops))
        if (waitpid(-1, NULL, WNOHANG) <= 0)
            test_nap();
    return NULL;
}

TEST(host_with_a_thread_that_reaps_everything) {
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, reap_for_ever, NULL), 0);
    for (int i = 0; i < 3; i++)
        run_sevens(t);
    atomic_store(&reaper_stops, true);
    CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(host_that_steals_the_status_of_a_signaled_child) {
    ignore_children();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(brood_child_kill(w->child, SIGINT), 0);
    RUN();
    CHECK(w->ended.reason == BROOD_REASON_UNKNOWN || w->ended.signal == SIGINT);
    CHECK_EQ(w->ended.code, -1);
    brood_child_close(w->child);
    RUN_CHILD(timed, .args = BROOD_ARGS(CHILD, "hold"), .timeout_ms = 100);
    CHECK_EQ(timed->ended.reason, BROOD_REASON_TIMED_OUT); /* that is known whoever has the status */
    signal(SIGCHLD, SIG_DFL);
}

/* The host's own children are its own: nothing of brood's takes their status. */
TEST(host_with_children_of_its_own) {
    pid_t own[3];
    for (int i = 0; i < 3; i++) {
        own[i] = fork();
        if (own[i] == 0)
            _exit(40 + i);
    }
    for (int i = 0; i < 5; i++) {
        RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "1"));
        CHECK_EQ(w->ended.code, 1);
    }
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_sync("exit 2", NULL, r), 0);
    for (int i = 0; i < 3; i++) {
        int status;
        CHECK_EQ(waitpid(own[i], &status, 0), own[i]);
        CHECK_EQ(WEXITSTATUS(status), 40 + i);
    }
}

/* As in a container whose first process reaps nobody: what a stopped group leaves as zombies is not waited for. */
TEST(host_where_nobody_reaps_orphans) {
    CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    watch *w = watch_new();
    uint64_t began = test_now_ms();
    START(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "hold"), .out = WATCHED, .own = BROOD_OWN_GROUP,
          .timeout_ms = (uint64_t)(200 * test_slow()), .kill_grace_ms = 200);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK_EQ(w->ended.reason, BROOD_REASON_TIMED_OUT);
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "daemon", "forever", "hold"),
                                                   .own = BROOD_OWN_GROUP,
                                                   .kill_grace_ms = 200,
                                                   .timeout_ms = (uint64_t)(200 * test_slow())},
                                  r),
             0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_LT(test_now_ms() - began, (uint64_t)(5000 * test_slow()));
    int orphans = 0;
    while (waitpid(-1, NULL, 0) > 0)
        orphans++;
    CHECK_EQ(orphans, 2);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* --- closed descriptors --- */

static int kept[3];

static void close_standard(void) {
    for (int fd = 0; fd < 3; fd++) {
        kept[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 100);
        close(fd);
    }
}

static void reopen_standard(void) {
    for (int fd = 0; fd < 3; fd++) {
        dup2(kept[fd], fd);
        close(kept[fd]);
    }
}

/* Nothing may be checked while 2 is closed: the results are gathered, then looked at. */
TEST_TORTURE(host_without_standard_descriptors) {
    watch *piped = watch_new(), *mixed = watch_new(), *inherited = watch_new();
    brood_result *sync = result_new();
    int r[4] = {0};
    bool taken = false;
    close_standard();
    r[0] = brood_spawn(t->loop,
                       &(brood_options){.args = BROOD_ARGS(CHILD, "cat", "err", "err"),
                                        .in = {.input = "in", .input_len = 2},
                                        .out = WATCHED,
                                        .err = WATCHED,
                                        WATCH(piped)},
                       NULL, NULL);
    r[1] = brood_spawn(t->loop,
                       &(brood_options){.args = BROOD_ARGS(CHILD, "print", "a", "err", "b", "fds"),
                                        .offload = true,
                                        .in = {.kind = BROOD_STDIO_IGNORE},
                                        .out = WATCHED,
                                        .err = {.kind = BROOD_STDIO_SLOT, .slot = 1},
                                        WATCH(mixed)},
                       NULL, NULL);
    brood_slot three = {.slot = 3, .io = WATCHED};
    r[2] =
        brood_spawn(t->loop,
                    &(brood_options){.args = BROOD_ARGS(CHILD, "copy", "0", "3", "print", "gone", "bytes-to", "3", "5"),
                                     .slots = &three,
                                     .slot_count = 1,
                                     WATCH(inherited)},
                    NULL, NULL);
    r[3] =
        brood_exec_sync("cat; echo out; echo err >&2", &(brood_options){.in = {.input = "in ", .input_len = 3}}, sync);
    bool ran = test_run();
    for (int fd = 0; fd < 3; fd++)
        taken = taken || fcntl(fd, F_GETFD) >= 0;
    reopen_standard();
    CHECK(ran);
    CHECK_EQ(r[0], 0);
    CHECK_EQ(r[1], 0);
    CHECK_EQ(r[2], 0);
    CHECK_EQ(r[3], 0);
    CHECK(!taken); /* brood itself took none of them */
    CHECK_STR(piped->out.bytes, "in");
    CHECK_STR(piped->err.bytes, "err\n");
    CHECK_HAS(mixed->out.bytes, "a\nb\n0 /dev/null\n1 pipe:");
    CHECK_EQ(inherited->ended.code, 0); /* /dev/null in place of what is closed */
    CHECK_EQ(inherited->out.len, 5);
    CHECK_STR(sync->out.bytes, "in out\n");
    CHECK_STR(sync->err.bytes, "err\n");
}

/* What was opened since, and has the number of a stdin that the host closed, is no stdin. */
TEST(host_without_standard_descriptors_hands_on_none_of_its_own) {
    watch *w = watch_new();
    const char *path = test_path(t, "secret");
    test_write_file(path, "secret", 6, 0600);
    close_standard();
    int fd = open(path, O_RDWR | O_CLOEXEC); /* it gets 0 */
    int r = brood_spawn(t->loop,
                        &(brood_options){.args = BROOD_ARGS(CHILD, "cat", "print", "end"), .out = WATCHED, WATCH(w)},
                        NULL, NULL);
    bool ran = test_run();
    close(fd);
    reopen_standard();
    CHECK_EQ(fd, 0);
    CHECK_EQ(r, 0);
    CHECK(ran);
    CHECK_STR(w->out.bytes, "end\n");
}

TEST(host_without_standard_descriptors_and_with_files_in_their_place) {
    watch *w = watch_new();
    const char *path = test_path(t, "out");
    close_standard();
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644); /* it gets 0 */
    int r = brood_spawn(t->loop,
                        &(brood_options){.args = BROOD_ARGS(CHILD, "print", "out", "err", "err"),
                                         .in = {.kind = BROOD_STDIO_IGNORE},
                                         .out = {.kind = BROOD_STDIO_FD, .fd = fd},
                                         .err = {.kind = BROOD_STDIO_FD, .fd = fd},
                                         WATCH(w)},
                        NULL, NULL);
    bool ran = test_run();
    close(fd);
    reopen_standard();
    CHECK_EQ(fd, 0);
    CHECK_EQ(r, 0);
    CHECK(ran);
    CHECK_STR(test_read_file(path), "out\nerr\n");
}

/* --- threads and loops --- */

typedef struct place {
    pthread_t thread;
    brood_abort *abort;
    int wrong, done;
    uv_loop_t loop;
} place;

static void place_exit(brood_child *child, const brood_exit *ended, void *data) {
    place *p = data;
    (void)child;
    p->done++;
    if (ended->code != 3 && ended->reason != BROOD_REASON_ABORTED)
        p->wrong++;
}

static void *run_place(void *arg) {
    place *p = arg;
    uv_loop_init(&p->loop);
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 6; i++)
            if (brood_spawn(&p->loop,
                            &(brood_options){.args = BROOD_ARGS(CHILD, "print", "x", "exit", "3"),
                                             .offload = i % 2,
                                             .out = {.kind = BROOD_STDIO_PIPE},
                                             .on_close = place_exit,
                                             .data = p},
                            NULL, NULL) != 0)
                p->wrong++;
        uv_run(&p->loop, UV_RUN_DEFAULT);
    }
    p->wrong += uv_loop_close(&p->loop) != 0;
    return NULL;
}

TEST(host_with_loops_in_several_threads) {
    enum { COUNT = 4 };
    place *places = NEW_ARRAY(place, COUNT);
    CHILD;
    for (int i = 0; i < COUNT; i++)
        CHECK_EQ(pthread_create(&places[i].thread, NULL, run_place, &places[i]), 0);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(pthread_join(places[i].thread, NULL), 0);
        CHECK_EQ(places[i].wrong, 0);
        CHECK_EQ(places[i].done, 30);
    }
}

static atomic_int holding;

static void count_holding(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream, (void)bytes, (void)len, (void)data;
    atomic_fetch_add(&holding, 1);
}

static void *hold_in_place(void *arg) {
    place *p = arg;
    uv_loop_init(&p->loop);
    for (int i = 0; i < 3; i++)
        if (brood_spawn(&p->loop,
                        &(brood_options){.args = BROOD_ARGS(CHILD, "hold"),
                                         .abort = p->abort,
                                         .offload = i % 2,
                                         .out = {.on_data = count_holding},
                                         .on_close = place_exit,
                                         .data = p},
                        NULL, NULL) != 0)
            p->wrong++;
    uv_run(&p->loop, UV_RUN_DEFAULT);
    p->wrong += uv_loop_close(&p->loop) != 0;
    return NULL;
}

TEST(host_with_one_switch_for_several_loops) {
    enum { COUNT = 3 };
    place *places = NEW_ARRAY(place, COUNT);
    brood_abort *abort = NULL;
    CHECK_EQ(brood_abort_new(&abort), 0);
    DEFER(brood_abort_free, abort);
    CHILD;
    for (int i = 0; i < COUNT; i++) {
        places[i].abort = abort;
        CHECK_EQ(pthread_create(&places[i].thread, NULL, hold_in_place, &places[i]), 0);
    }
    WAIT_UNTIL(atomic_load(&holding) == COUNT * 3);
    brood_abort_now(abort);
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(pthread_join(places[i].thread, NULL), 0);
        CHECK_EQ(places[i].wrong, 0);
        CHECK_EQ(places[i].done, 3);
    }
}

static void *start_and_leave(void *arg) {
    watch *w = arg;
    brood_options options = {
        .args = BROOD_ARGS(CHILD, "line", "exit", "3"), .in = {.kind = BROOD_STDIO_PIPE}, WATCH(w)};
    ENSURE(brood_spawn(test_loop(), &options, &w->child, NULL) == 0);
    return NULL;
}

/* A loop may be handed from thread to thread, as long as one at a time has it; the starting thread may be gone. */
TEST(host_whose_starting_thread_is_gone) {
    watch *w = watch_new();
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, start_and_leave, w), 0);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(brood_stream_end(brood_child_stream(w->child, 0)), 0);
    RUN();
    CHECK_EQ(w->ended.code, 3);
    brood_child_close(w->child);
}

static volatile sig_atomic_t handled_by;

static void note_thread(int number) {
    (void)number;
    handled_by = gettid() == getpid() ? 1 : 2;
}

/* Brood's own threads take no signal of the host's: a handler runs where the host lets it. */
TEST(host_keeps_its_signals_from_the_starter_threads) {
    sigset_t set, pending;
    signal(SIGUSR1, note_thread);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(brood_exec(t->loop, "exit 0", NULL, NULL, NULL, NULL), 0);
    RUN();
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    CHECK_EQ(kill(getpid(), SIGUSR1), 0);
    test_idle(20);
    CHECK_EQ(handled_by, 0);
    CHECK_EQ(sigpending(&pending), 0);
    CHECK(sigismember(&pending, SIGUSR1));
    CHECK_EQ(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    CHECK_EQ(handled_by, 1);
    RUN();
}

/* A host with a loop of its own: libuv's is one descriptor and a time limit in it. */
TEST(host_that_drives_the_loop_by_epoll) {
    int epoll = test_fd(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLIN};
    CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, uv_backend_fd(t->loop), &event), 0);
    watch *w = watch_new(), *timed = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "bytes", "300000", "sleep", "20", "exit", "3"), .out = WATCHED, .offload = true);
    START(timed, .args = BROOD_ARGS(CHILD, "hold"), .out = WATCHED, .timeout_ms = 100);
    uv_run(t->loop, UV_RUN_NOWAIT);
    while (uv_loop_alive(t->loop) && !test_failed()) {
        epoll_wait(epoll, &event, 1, uv_backend_timeout(t->loop));
        uv_run(t->loop, UV_RUN_NOWAIT);
    }
    CHECK(is_pattern(w->out.bytes, w->out.len, 300000));
    CHECK_EQ(w->ended.code, 3);
    CHECK_EQ(timed->ended.reason, BROOD_REASON_TIMED_OUT);
}

/* --- forks of the host --- */

static int in_the_forked_host(void) {
    brood_result r = {0};
    if (brood_exec_file_sync(
            &(brood_options){.args = BROOD_ARGS(CHILD, "cat", "exit", "5"), .in = {.input = "x", .input_len = 1}},
            &r) != 0)
        return 1;
    if (r.exit.code != 5 || r.out.len != 1)
        return 2;
    brood_result_done(&r);
    if (IS_SANITIZED || test_is_emulated()) /* no threads after a fork there */
        return 0;
    uv_loop_t loop;
    answer a = {0};
    uv_loop_init(&loop);
    if (brood_exec(&loop, "echo forked", NULL, answer_on_result, &a, NULL) != 0)
        return 3;
    uv_run(&loop, UV_RUN_DEFAULT);
    if (a.count != 1 || !a.result.out.bytes || strcmp(a.result.out.bytes, "forked\n") != 0)
        return 4;
    brood_result_done(&a.result);
    return uv_loop_close(&loop) == 0 ? 0 : 5;
}

TEST(host_that_forks) {
    watch *w = watch_new();
    answer *first = answer_new(); /* so that starter threads are there, and are not in the fork */
    CHECK_EQ(brood_exec(t->loop, "exit 1", NULL, answer_on_result, first, NULL), 0);
    RUN();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    RUN_UNTIL(w->out.len);
    pid_t pid = fork();
    if (pid == 0)
        _exit(in_the_forked_host());
    int status;
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    if (!test_is_emulated()) /* which takes the host's objects for leaks of the fork */
        CHECK_EQ(WEXITSTATUS(status), 0);
    CHECK_EQ(w->exits, 0); /* the fork left the host's child alone */
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGTERM);
    brood_child_close(w->child);
}

static void *fork_often(void *arg) {
    (void)arg;
    intptr_t wrong = 0;
    for (int i = 0; i < 10; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0) {
            alarm(20);
            brood_result r = {0};
            int code = brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "exit", "5")}, &r) == 0
                           ? r.exit.code
                           : 99;
            _exit(code);
        }
        waitpid(pid, &status, 0);
        wrong += !WIFEXITED(status) || WEXITSTATUS(status) != 5;
    }
    return (void *)wrong;
}

/* Forked while other threads are inside brood: no lock of theirs may stay locked in the child. */
TEST(host_that_forks_while_others_start) {
    if (IS_SANITIZED)
        SKIP("the sanitizer's allocator is not safe to fork");
    pthread_t forker;
    CHILD;
    CHECK_EQ(pthread_create(&forker, NULL, fork_often, NULL), 0);
    for (int i = 0; i < 15; i++) {
        answer *a = answer_new();
        CHECK_EQ(brood_exec(t->loop, "exit 1", NULL, answer_on_result, a, NULL), 0);
        RUN();
        CHECK_EQ(a->result.exit.code, 1);
    }
    void *wrong;
    CHECK_EQ(pthread_join(forker, &wrong), 0);
    CHECK_EQ((intptr_t)wrong, 0);
}

/* --- hooks --- */

static char traced[4096];
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER;

static void trace(const brood_trace_event *event, void *data) {
    pthread_mutex_lock(&trace_lock);
    if (strcmp((const char *)data, "tag") == 0 && event->detail)
        snprintf(traced + strlen(traced), sizeof traced - strlen(traced), "%s:%lld ", event->name,
                 (long long)event->value);
    pthread_mutex_unlock(&trace_lock);
}

TEST(hooks_trace_what_happens) {
    static char tag[] = "tag";
    CHECK_EQ(brood_set_hooks(&(brood_hooks){.trace = trace, .data = tag}), 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "3"));
    CHECK_STR(traced, "start:0 spawn:0 exit:3 close:0 ");
    *traced = 0;
    RUN_CHILD(timed, .args = BROOD_ARGS(CHILD, "pause"), .timeout_ms = (uint64_t)(200 * test_slow()), .offload = true);
    CHECK(before(traced, "start:0", "spawn:0"));
    CHECK(before(traced, "stop:0", "exit:-15"));
    CHECK(before(traced, "signal:15", "exit:-15"));
    CHECK(before(traced, "exit:-15", "close:0"));
}

static atomic_long blocks_used, blocks_made;
static long fail_at;

static void *counting_malloc(size_t size, void *data) {
    if (atomic_fetch_add((atomic_long *)data, 1) + 1 == fail_at)
        return NULL;
    void *block = malloc(size);
    atomic_fetch_add(&blocks_used, 1);
    return block;
}

static void *counting_realloc(void *block, size_t size, void *data) {
    if (atomic_fetch_add((atomic_long *)data, 1) + 1 == fail_at)
        return NULL;
    if (!block)
        atomic_fetch_add(&blocks_used, 1);
    return realloc(block, size);
}

static void counting_free(void *block, void *data) {
    (void)data;
    if (block)
        atomic_fetch_sub(&blocks_used, 1);
    free(block);
}

static const brood_hooks counting = {
    .malloc = counting_malloc, .realloc = counting_realloc, .free = counting_free, .data = &blocks_made};

TEST(hooks_allocator_gets_back_what_it_gave) {
    if (getenv("BROOD_TEST_WARM"))
        SKIP("the allocator is in use already");
    CHECK_EQ(brood_set_hooks(&counting), 0);
    answer *a = answer_new();
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "cat"), .in = {.input = "xyz", .input_len = 3}, .out = WATCHED);
    CHECK_EQ(brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "bytes", "500000")}, answer_on_result,
                             a, NULL),
             0);
    CHECK_GT(blocks_used, 0);
    RUN();
    brood_child_close(w->child);
    RUN();
    brood_result_done(&a->result);
    test_await_starters();
    CHECK_EQ(blocks_used, 0);
    CHECK_GT(blocks_made, 3);
}

/* Memory runs out at each place in turn: an error or a right answer, and everything is given back. */
TEST(hooks_allocator_that_fails) {
    if (getenv("BROOD_TEST_WARM"))
        SKIP("the allocator is in use already");
    CHECK_EQ(brood_set_hooks(&counting), 0);
    bool all_went_well = false;
    for (long nth = 1; nth < 500 && !all_went_well; nth++) {
        all_went_well = true;
        watch *w = watch_new();
        answer *a = answer_new();
        blocks_made = 0;
        fail_at = nth;
        int r = brood_spawn(t->loop,
                            &(brood_options){.args = BROOD_ARGS(CHILD, "cat"),
                                             .in = {.input = "xyz", .input_len = 3},
                                             .out = WATCHED,
                                             .env = BROOD_ARGS("A=1"),
                                             WATCH(w)},
                            NULL, NULL);
        CHECK(r == 0 || r == -ENOMEM);
        all_went_well = all_went_well && r == 0;
        int s = brood_exec_file(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "bytes", "200000")},
                                answer_on_result, a, NULL);
        CHECK(s == 0 || s == -ENOMEM);
        RUN();
        fail_at = 0;
        CHECK_EQ(w->closes, r == 0);
        CHECK_EQ(a->count, s == 0);
        if (s == 0)
            all_went_well = all_went_well && brood_exit_ok(&a->result.exit) && a->result.out.len == 200000;
        else
            all_went_well = false;
        brood_result_done(&a->result);
        test_await_starters();
        CHECK_EQ(blocks_used, 0);
    }
    CHECK(all_went_well);
}

TEST(hooks_refuse_half_an_allocator) {
    CHECK_EQ(brood_set_hooks(&(brood_hooks){.malloc = counting_malloc, .free = counting_free}), -EINVAL);
    CHECK_EQ(brood_set_hooks(NULL), 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
    CHECK_EQ(brood_set_hooks(&counting), -EBUSY); /* too late: memory must go back where it came from */
    CHECK_EQ(brood_set_hooks(&(brood_hooks){.trace = trace, .data = traced}), 0);
    CHECK_EQ(brood_set_hooks(NULL), 0);
}
