/*
 * Starts that nobody waits for: off the loop, with nobody to tell that the program runs. What is told of them is what is
 * told of others. A lease on its file holds a program up in the middle of its exec.
 */
#include "harness/ahead.h"
#include "base/fault.h"
#include "process/start.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* A copy of brood-child that cannot be opened, and so not run, until it is let go. */
typedef struct held {
    const char *program;
    int lease;
} held;

static bool hold(test *t, held *ret_held) {
    signal(SIGIO, SIG_IGN); /* that somebody wants to */
    ret_held->program = test_child_for_everybody(t);
    ret_held->lease = test_fd(open(ret_held->program, O_RDONLY | O_CLOEXEC));
    return fcntl(ret_held->lease, F_SETLEASE, F_WRLCK) == 0;
}

/* The kernel has asked for the lease back. */
static bool is_wanted(const held *h) {
    return fcntl(h->lease, F_GETLEASE) != F_WRLCK;
}

static void let_go(const held *h) {
    ENSURE(fcntl(h->lease, F_SETLEASE, F_UNLCK) == 0);
}

#define HOLD(h)                                                                                                        \
    held h;                                                                                                            \
    if (!hold(t, &h))                                                                                                  \
    SKIP("no leases on files here")

TEST_TORTURE(ahead_tells_what_others_tell) {
    WARM();
    EXEC(a, .args = BROOD_ARGS("sh", "-c", "echo out; echo err >&2; exit 3"));
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_STR(a->result.out.bytes, "out\n");
    CHECK_STR(a->result.err.bytes, "err\n");
    CHECK_EQ(a->result.exit.code, 3);
    CHECK_GT(a->result.exit.pid, 0);
    CHECK_LE(a->result.exit.run_us, a->result.total_us);
}

TEST(ahead_fails_as_others_fail) {
    WARM();
    static char large[200000];
    memset(large, 'x', sizeof large - 1);
    test_write_file(test_path(t, "plain"), "echo", 4, 0644);
    test_write_file(test_path(t, "lost"), "#!/no/such/interpreter\n", 23, 0755);
    const brood_options failing[] = {
        {.args = BROOD_ARGS("no-such-program")},
        {.args = BROOD_ARGS("/no/such/program", "x; rm -rf /")},
        {.args = BROOD_ARGS("/")},
        {.args = BROOD_ARGS(test_path(t, "plain"))},
        {.args = BROOD_ARGS(test_path(t, "lost"))},
        {.args = BROOD_ARGS(CHILD), .cwd = "/no/such/directory"},
        {.args = BROOD_ARGS(CHILD, large)},
        {.args = BROOD_ARGS(CHILD), .in = {.kind = BROOD_STDIO_FILE, .path = "/no/such/file"}},
    };
    for (size_t i = 0; i < sizeof failing / sizeof *failing; i++) {
        brood_options o = failing[i];
        brood_result *waited = result_new();
        o.own = BROOD_OWN_GROUP;
        CHECK_EQ(brood_exec_file_sync(&o, waited), waited->failure.code);
        CHECK_LT(waited->failure.code, 0);
        answer *a = answer_new();
        CHECK(ask(t, a, &o));
        RUN();
        CHECK_EQ(a->count, 1);
        CHECK_EQ(a->result.exit.reason, BROOD_REASON_NOT_STARTED);
        CHECK_EQ(a->result.exit.code, -1);
        CHECK_EQ(a->result.exit.pid, 0);
        CHECK_EQ(a->result.failure.code, waited->failure.code);
        CHECK_EQ(a->result.failure.step, waited->failure.step);
        CHECK_STR(a->result.failure.message, waited->failure.message);
        CHECK_STR(a->result.error_name, waited->error_name);
        CHECK_STR(a->result.message, waited->message);
    }
}

typedef struct events {
    int errors, exits, closes, ends, data;
} events;

static void on_error(brood_child *child, const brood_failure *why, void *data) {
    (void)child;
    ENSURE(why->code == -ENOENT);
    ((events *)data)->errors++;
}

static void on_exit_of(brood_child *child, const brood_exit *ended, void *data) {
    (void)child, (void)ended;
    ((events *)data)->exits++;
}

static void on_close(brood_child *child, const brood_exit *ended, void *data) {
    (void)child;
    events *e = data;
    ENSURE(ended->reason == (e->errors ? BROOD_REASON_NOT_STARTED : BROOD_REASON_EXITED));
    e->closes++;
}

static void on_data(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream, (void)bytes;
    ((events *)data)->data += (int)len;
}

static void on_end(brood_stream *stream, int error, void *data) {
    (void)stream, (void)error;
    ((events *)data)->ends++;
}

/* Pipes that nobody has ever had: their end is not told, and nothing is after the error but the close. */
TEST_TORTURE(ahead_spawn_that_fails_has_no_end_of_output) {
    WARM();
    for (int i = 0; i < 2; i++) {
        events *e = NEW(events);
        int r = brood_spawn(t->loop,
                            &(brood_options){
                                .args = BROOD_ARGS(i ? CHILD : "/no/such/program"),
                                .offload = true,
                                .in = {.kind = BROOD_STDIO_PIPE, .input = "xyz", .input_len = 3},
                                .out = {.on_data = on_data, .on_end = on_end},
                                .err = {.on_data = on_data, .on_end = on_end},
                                .on_error = on_error,
                                .on_exit = on_exit_of,
                                .on_close = on_close,
                                .data = e,
                            },
                            NULL, NULL);
        CHECK_EQ(r, 0);
        RUN();
        CHECK_EQ(e->errors, 1 - i);
        CHECK_EQ(e->exits, i);
        CHECK_EQ(e->ends, i ? 2 : 0);
        CHECK_EQ(e->data, 0);
        CHECK_EQ(e->closes, 1);
    }
}

/* More of them than there are starter threads, and one that is not held up by them. */
TEST(ahead_holds_up_nobody) {
    WARM();
    HOLD(h);
    answer *late[8];
    for (int i = 0; i < 8; i++) {
        late[i] = answer_new();
        CHECK(ask(t, late[i], &(brood_options){.args = BROOD_ARGS(h.program, "exit", "7")}));
    }
    EXEC(free, .args = BROOD_ARGS(CHILD, "exit", "0"));
    RUN_UNTIL(free->count == 1);
    for (int i = 0; i < 8; i++)
        CHECK_EQ(late[i]->count, 0);
    let_go(&h);
    RUN();
    for (int i = 0; i < 8; i++)
        CHECK_EQ(late[i]->result.exit.code, 7);
}

/* Many at once: more than go ahead, so that some are waited for. */
TEST(ahead_of_many_at_once) {
    WARM();
    enum { COUNT = 300 };
    answer **answers = NEW_ARRAY(answer *, COUNT);
    for (int i = 0; i < COUNT; i++) {
        answers[i] = answer_new();
        const char *program = i % 7 == 0 ? "/no/such/program" : CHILD;
        CHECK(ask(t, answers[i], &(brood_options){.args = BROOD_ARGS(program, "exit", test_format("%d", i % 100))}));
    }
    RUN();
    for (int i = 0; i < COUNT; i++) {
        CHECK_EQ(answers[i]->count, 1);
        CHECK_EQ(answers[i]->result.failure.code, i % 7 == 0 ? -ENOENT : 0);
        CHECK_EQ(answers[i]->result.exit.code, i % 7 == 0 ? -1 : i % 100);
    }
}

/* Before its exec: by a deadline, an abort, a close, and the end of the loop. None may be left, nor run. */
TEST(ahead_is_stopped_by_a_deadline_before_its_exec) {
    WARM();
    const char *trace = test_path(t, "trace");
    HOLD(h);
    answer *a;
    uint64_t timeout_ms = 5;
    do { /* a busy machine may be late with the start itself */
        a = answer_new();
        CHECK(ask(t, a, &(brood_options){.args = BROOD_ARGS(h.program, "touch", trace), .timeout_ms = timeout_ms}));
        RUN();
        timeout_ms *= 2;
    } while (a->result.failure.step == BROOD_STEP_ABORTED);
    let_go(&h);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_TIMED_OUT);
    CHECK_EQ(a->result.exit.signal, SIGTERM);
    CHECK_EQ(access(trace, F_OK), -1);
}

/* Nobody has told the loop that it has been started. */
TEST(ahead_is_ended_with_a_loop_that_has_not_heard_of_it) {
    WARM();
    const char *trace = test_path(t, "trace");
    EXEC(a, .args = BROOD_ARGS(CHILD, "touch", trace, "pause"));
    WAIT_UNTIL(access(trace, F_OK) == 0);
    CHECK_EQ(brood_loop_close(t->loop, NULL, NULL), 0);
    RUN(); /* that no child is left is looked at after each test */
    CHECK_EQ(a->count, 0);
}

/* A start that waits for somebody to open a FIFO, while short ones come and go. */
TEST(ahead_passes_by_a_start_that_takes_long) {
    WARM();
    const char *fifo = test_path(t, "fifo");
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    EXEC(late, .args = BROOD_ARGS(CHILD, "cat"), .in = {.kind = BROOD_STDIO_FILE, .path = fifo});
    for (int i = 0; i < 50; i++) {
        EXEC(early, .args = BROOD_ARGS(CHILD, "exit", "0"));
        RUN_UNTIL(early->count == 1);
        CHECK_EQ(late->count, 0);
    }
    int writer = open(fifo, O_WRONLY | O_CLOEXEC);
    CHECK_EQ(write(writer, "xyz", 3), 3);
    close(writer);
    RUN();
    CHECK_STR(late->result.out.bytes, "xyz");
}

/* What a debugger of this process, and of all that it starts, has seen. */
typedef struct seen {
    volatile int attached, vforks, forks;
} seen;

static void end_debugger(int *debugger) {
    kill(*debugger, SIGKILL);
    ENSURE(waitpid(*debugger, NULL, 0) == *debugger);
}

static _Noreturn void debug(pid_t pid, seen *s) {
    long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE;
    s->attached = ptrace(PTRACE_SEIZE, pid, 0, options) == 0 ? 1 : -1;
    for (int status; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        if (!WIFSTOPPED(status))
            continue;
        int event = status >> 16;
        s->vforks += event == PTRACE_EVENT_VFORK;
        s->forks += event == PTRACE_EVENT_FORK;
        ptrace(PTRACE_CONT, pid, 0, event ? 0 : WSTOPSIG(status));
    }
    _exit(0);
}

/* It would take a start that nobody waits for for a fork, and its breakpoints out of our memory. */
TEST(ahead_is_waited_for_under_a_debugger) {
    seen *s = mmap(NULL, sizeof *s, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(s != MAP_FAILED);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    pid_t self = getpid(), *debugger = NEW(pid_t);
    *debugger = fork();
    if (*debugger == 0)
        debug(self, s);
    DEFER(end_debugger, debugger);
    WAIT_UNTIL(s->attached);
    int before = s->vforks;
    if (s->attached > 0) {
        WARM();
        for (int i = 0; i < 3; i++) {
            EXEC(a, .args = BROOD_ARGS(CHILD, "exit", "0"));
            RUN();
            CHECK_EQ(a->result.exit.code, 0);
        }
    }
    if (s->attached < 0)
        SKIP("nobody may be debugged here");
    CHECK_EQ(s->vforks - before, 4);
    CHECK_EQ(s->forks, 0);
}

TEST(ahead_is_aborted_before_its_exec) {
    WARM();
    const char *trace = test_path(t, "trace");
    HOLD(h);
    brood_abort *abort;
    CHECK_EQ(brood_abort_new(&abort), 0);
    DEFER(brood_abort_free, abort);
    EXEC(late, .args = BROOD_ARGS(h.program, "touch", trace), .abort = abort);
    RUN_UNTIL(is_wanted(&h));
    brood_abort_now(abort);
    RUN();
    let_go(&h);
    CHECK_EQ(late->count, 1);
    if (late->result.exit.reason == BROOD_REASON_NOT_STARTED) /* its starter thread had not yet said that it was */
        CHECK_EQ(late->result.failure.step, BROOD_STEP_ABORTED);
    else
        CHECK_EQ(late->result.exit.reason, BROOD_REASON_ABORTED);
    CHECK_EQ(access(trace, F_OK), -1);
}

/* One that has its pid, and is held up in its exec. */
static bool spawn_held(test *t, const brood_options *options, brood_child **ret_child) {
    brood_options all = *options;
    all.offload = true;
    all.in.kind = BROOD_STDIO_IGNORE;
    int r = brood_spawn(t->loop, &all, ret_child, NULL);
    ENSURE(r == 0);
    while (r == 0 && brood_child_pid(*ret_child) == 0 && test_turn(__FILE__, __LINE__, "it has a pid")) {}
    return r == 0 && brood_child_pid(*ret_child) > 0;
}

#define SPAWN_HELD(child, ...)                                                                                         \
    brood_child *child;                                                                                                \
    CHECK(spawn_held(t, &(brood_options){__VA_ARGS__}, &child))

TEST(ahead_is_closed_before_its_exec) {
    WARM();
    const char *trace = test_path(t, "trace");
    HOLD(h);
    events *e = NEW(events);
    SPAWN_HELD(child, .args = BROOD_ARGS(h.program, "touch", trace), .out = {.on_data = on_data, .on_end = on_end},
               .on_exit = on_exit_of, .data = e);
    pid_t pid = brood_child_pid(child);
    brood_child_close(child);
    RUN();
    let_go(&h);
    CHECK(test_process_gone(pid));
    CHECK_EQ(e->exits, 0);
    CHECK_EQ(e->ends, 0);
    CHECK_EQ(access(trace, F_OK), -1);
}

typedef struct ticks {
    uv_timer_t timer;
    const held *h;
    int count;
} ticks;

static void on_tick(uv_timer_t *timer) {
    ticks *k = timer->data;
    if (++k->count < 5)
        return;
    let_go(k->h);
    uv_close((uv_handle_t *)timer, NULL);
}

/* The end of the loop waits for it, and the loop goes on meanwhile. */
TEST(ahead_is_left_behind_before_its_exec) {
    WARM();
    const char *trace = test_path(t, "trace");
    HOLD(h);
    SPAWN_HELD(child, .args = BROOD_ARGS(h.program, "touch", trace, "pause"), .out = {.kind = BROOD_STDIO_IGNORE});
    pid_t pid = brood_child_pid(child);
    brood_child_detach(child);
    brood_child_close(child);
    CHECK_EQ(brood_loop_close(t->loop, NULL, NULL), 0);
    ticks *k = NEW(ticks);
    k->h = &h;
    uv_timer_init(t->loop, &k->timer);
    k->timer.data = k;
    uv_timer_start(&k->timer, on_tick, 1, 1);
    RUN();
    CHECK_EQ(k->count, 5);
    WAIT_UNTIL(access(trace, F_OK) == 0);
    CHECK_EQ(kill(pid, SIGKILL), 0);
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

/* One that leads a session is waited for, by one of the starter threads: and by no other start. */
TEST(ahead_passes_by_a_start_that_is_waited_for) {
    WARM();
    HOLD(h);
    answer *late = answer_new();
    CHECK_EQ(brood_exec_file(
                 t->loop,
                 &(brood_options){.args = BROOD_ARGS(h.program, "exit", "7"), .own = BROOD_OWN_CHILD, .detached = true},
                 answer_on_result, late, NULL),
             0);
    for (int i = 0; i < 20; i++) {
        EXEC(early, .args = BROOD_ARGS(CHILD, "exit", "0"));
        RUN_UNTIL(early->count == 1);
        CHECK_EQ(late->count, 0);
    }
    let_go(&h);
    RUN();
    CHECK_EQ(late->result.exit.code, 7);
}

/* What the host has open when it starts is not held open by it. */
TEST(ahead_holds_nothing_of_others_before_its_exec) {
    WARM();
    HOLD(h);
    int pipe_fds[2];
    CHECK_EQ(pipe2(pipe_fds, O_CLOEXEC), 0);
    test_fd(pipe_fds[0]);
    SPAWN_HELD(child, .args = BROOD_ARGS(h.program, "exit", "0"), .out = {.kind = BROOD_STDIO_IGNORE});
    close(pipe_fds[1]);
    char byte;
    CHECK_EQ(read(pipe_fds[0], &byte, 1), 0);
    CHECK_EQ(brood_child_members(child, NULL, 0), 0); /* it is not its program yet */
    let_go(&h);
    RUN();
    CHECK_EQ(brood_child_exit(child)->code, 0);
    brood_child_close(child);
    RUN();
}

/* What its group was sent before it could make it. */
TEST(ahead_leads_its_group_at_once) {
    WARM();
    const char *trace = test_path(t, "trace");
    HOLD(h);
    events *e = NEW(events);
    SPAWN_HELD(child, .args = BROOD_ARGS(h.program, "touch", trace), .own = BROOD_OWN_GROUP, .on_exit = on_exit_of,
               .data = e);
    CHECK_EQ(getpgid(brood_child_pid(child)), brood_child_pid(child));
    CHECK_EQ(brood_child_kill_owned(child, SIGTERM), 0);
    RUN();
    let_go(&h);
    CHECK_EQ(e->exits, 1);
    CHECK_EQ(brood_child_exit(child)->signal, SIGTERM);
    CHECK_EQ(access(trace, F_OK), -1);
    brood_child_close(child);
    RUN();
}

/* Their memory is given back although they say nothing and go on: whoever has the child, and where nobody has. */
TEST(ahead_keeps_no_memory_for_one_that_is_silent) {
    WARM();
    brood_child *child;
    const brood_options silent = {.args = BROOD_ARGS(CHILD, "pause"),
                                  .offload = true,
                                  .in = {.kind = BROOD_STDIO_IGNORE},
                                  .out = {.kind = BROOD_STDIO_IGNORE}};
    CHECK_EQ(brood_spawn(t->loop, &silent, &child, NULL), 0);
    long begun = brood__live_allocations();
    if (begun == 0)
        SKIP("a build that does not count");
    while (brood__live_allocations() > begun - 3) /* the job, its plan, the room to go ahead in */
        test_idle(1);
    begun = brood__live_allocations();
    CHECK_EQ(brood_spawn(t->loop, &silent, NULL, NULL), 0);
    while (brood__live_allocations() > begun + 2) /* the child and its command line */
        test_idle(1);
    CHECK_EQ(brood_loop_close(t->loop, NULL, NULL), 0);
    RUN();
}

/* Whose host has grown meanwhile: what exec folds into the program's peak is not called its own. */
TEST(ahead_knows_what_memory_is_its_own) {
    WARM();
    EXEC(small, .args = BROOD_ARGS(CHILD, "exit", "0"));
    EXEC(large, .args = BROOD_ARGS(CHILD, "rss", "100000"));
    RUN();
    CHECK(!small->result.exit.usage.max_rss_is_own || small->result.exit.usage.max_rss_kb < 10000);
    CHECK(large->result.exit.usage.max_rss_is_own || IS_SANITIZED);
    CHECK_GT(large->result.exit.usage.max_rss_kb, 100000);
}
