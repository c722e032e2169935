/*
 * The pool: each task has one outcome, whatever its worker does. What is waited for is an event; that workers really ran
 * side by side, or one after another, is seen by files that they wait for.
 */
#include "harness/crew.h"

#include "pool/pool.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* Close it once the last outcome is told, and run. */
#define FINISH(c)                                                                                                      \
    do {                                                                                                               \
        crew_close(c, BROOD_FOREVER);                                                                                  \
        RUN();                                                                                                         \
        CHECK_EQ((c)->closed, 1);                                                                                      \
        CHECK_EQ((c)->done, (c)->accepted);                                                                            \
    } while (0)

/* --- what is asked is done --- */

TEST_TORTURE(pool_runs_tasks_in_order) {
    CREW(c, .max_workers = 1);
    for (int i = 0; i < 5; i++)
        crew_do(c, "work");
    RUN_UNTIL(c->done == 5);
    CHECK_STR(c->log, "1:done 2:done 3:done 4:done 5:done ");
    CHECK_EQ(c->result, 5);
    CHECK_EQ(c->last.attempts, 1);
    CHECK_EQ(c->started, 1);
    FINISH(c);
    CHECK_EQ(c->ended, 1);
}

TEST_TORTURE(pool_only_unfinished_tasks_hold_the_loop) {
    CREW(c, .max_workers = 2, .min_workers = 2);
    RUN();
    crew_do(c, "work");
    RUN();
    CHECK_EQ(c->done, 1);
    crew_do(c, "pid");
    RUN();
    CHECK_EQ(c->done, 2);
    CHECK_GT(c->result, 0);
    FINISH(c);
}

static void worker_says(brood_writer *w, void *data) {
    (void)data;
    brood_writer_object(w);
    brood_writer_key(w, "data");
    brood_writer_double(w, 17);
    brood_writer_end(w);
}

static void run_with(test *t, brood_serialization serialization, bool wrap) {
    CREW(c, .max_workers = 1, .wrap = wrap,
         .worker = {.args = BROOD_ARGS(test_program("brood-peer"), "worker"), .serialization = serialization});
    crew_run(c, &(brood_task){.body = {.write = worker_says}});
    FINISH(c);
    CHECK_STR(c->log, "1:done ");
    CHECK_EQ(c->result, wrap ? -1 : 17);
}

TEST_TORTURE(pool_sends_structured_clone) {
    run_with(t, BROOD_ADVANCED, false);
}

TEST(pool_sends_json) {
    run_with(t, BROOD_JSON, false);
}

TEST(pool_wraps_anything) {
    CREW(c, .max_workers = 1, .wrap = true);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "\"text\"", .json_len = BROOD_NUL}}), 0);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{\"id\":7,\"do\":\"echo\"}", .json_len = BROOD_NUL}}), 0);
    RUN_UNTIL(c->done == 1);
    CHECK_EQ(c->result, 1);
    RUN_UNTIL(c->strays == 1);
    crew_close(c, 0); /* brood-worker takes the inner id for its own, and answers nobody */
    RUN();
    CHECK_EQ(c->closed, 1);
}

TEST(pool_refuses_what_is_no_task) {
    CREW(c, .max_workers = 1);
    brood_value *value = NEW(brood_value);
    CHECK_EQ(brood_value_parse("[1]", BROOD_NUL, value, NULL), 0);
    DEFER(brood_value_done, value);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "[1]", .json_len = BROOD_NUL}}), -EINVAL);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.value = value}}), -EINVAL);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{\"id\":1}", .json_len = BROOD_NUL}}), -EEXIST);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{\"a\":}", .json_len = BROOD_NUL}}), -EILSEQ);
    CHECK_EQ(brood_pool_error_offset(c->pool), 5);
    CHECK_EQ(crew_run(c, &(brood_task){.priority = 0}), -EINVAL);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL}, .priority = 128}), -ERANGE);
    FINISH(c);
    CHECK_EQ(c->done, 0);
    CHECK_EQ(c->started, 0);
}

TEST(pool_refuses_options_that_cannot_be) {
    brood_failure why;
    brood_pool *pool;
    brood_pool_options o = {.worker = {.args = BROOD_ARGS(WORKER)}};
    brood_pool_options bad = o;
    bad.worker.args = NULL;
    CHECK_EQ(brood_pool_open(t->loop, &bad, &pool, &why), -EINVAL);
    bad = o, bad.prefetch = 65;
    CHECK_EQ(brood_pool_open(t->loop, &bad, &pool, &why), -EINVAL);
    CHECK_HAS(why.message, "prefetch");
    bad = o, bad.min_workers = 2, bad.max_workers = 1;
    CHECK_EQ(brood_pool_open(t->loop, &bad, &pool, &why), -EINVAL);
    bad = o, bad.worker.own = BROOD_OWN_NONE;
    CHECK_EQ(brood_pool_open(t->loop, &bad, &pool, &why), -EINVAL);
    bad = o, bad.worker.timeout_ms = 1;
    CHECK_EQ(brood_pool_open(t->loop, &bad, &pool, &why), -EINVAL);
    CHECK_HAS(why.message, "task_timeout_ms");
    bad = o, bad.worker.shell = "sh";
    CHECK_EQ(brood_pool_open(t->loop, &bad, &pool, &why), -EINVAL);
}

/* The options, and all that they point to, may go at once. */
TEST_TORTURE(pool_copies_its_options) {
    crew *c = crew_new();
    char *program = strdup(WORKER), *variable = strdup("POOL_TEST=1"), *path = strdup(test_path(t, "err"));
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    const char **args = calloc(2, sizeof *args), **env = calloc(2, sizeof *env);
    brood_slot *slots = calloc(1, sizeof *slots);
    args[0] = program, env[0] = variable;
    slots[0] = (brood_slot){.slot = 7, .io = {.kind = BROOD_STDIO_FD, .fd = fd}};
    bool opened = crew_open(t, c,
                            &(brood_pool_options){.worker = {.args = args,
                                                             .env = env,
                                                             .slots = slots,
                                                             .slot_count = 1,
                                                             .err = {.kind = BROOD_STDIO_FILE, .path = path}}});
    memset(program, 'x', strlen(program));
    memset(path, 'x', strlen(path));
    free(program), free(variable), free(path), free(args), free(env), free(slots);
    close(fd);
    if (!opened)
        return;
    crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "1:done ");
}

/* --- many --- */

TEST_TORTURE(pool_starts_workers_as_they_are_needed) {
    CREW(c, .max_workers = 3);
    const char *go = test_path(t, "go");
    crew_do(c, "work");
    RUN_UNTIL(c->done == 1);
    CHECK_EQ(c->started, 1);
    for (int i = 0; i < 5; i++)
        crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->started == 3);
    test_write_file(go, "", 0, 0600);
    RUN_UNTIL(c->done == 6);
    CHECK_EQ(c->most_alive, 3);
    FINISH(c);
}

TEST(pool_takes_higher_priorities_first) {
    CREW(c, .max_workers = 1);
    const int priorities[] = {0, -1, 0, 127, -128, 127};
    for (int i = 0; i < 6; i++)
        CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL}, .priority = priorities[i]}),
                 0);
    FINISH(c);
    CHECK_STR(c->log, "4:done 6:done 1:done 3:done 2:done 5:done ");
}

static void run_again(crew *c, const brood_outcome *o) {
    (void)o;
    if (c->accepted < c->most_accepted)
        crew_do(c, "work");
}

TEST_TORTURE(pool_takes_tasks_in_callbacks) {
    CREW(c, .max_workers = 2, .prefetch = 2);
    c->then = run_again;
    c->most_accepted = t->brief ? 8 : 50;
    crew_do(c, "work");
    crew_do(c, "work");
    RUN_UNTIL(c->done == c->most_accepted);
    FINISH(c);
}

TEST_TORTURE(pool_tells_progress) {
    CREW(c, .max_workers = 1);
    crew_do(c, "progress 3");
    FINISH(c);
    CHECK_EQ(c->progress, 3);
    CHECK_STR(c->log, "1:done ");
}

TEST(pool_takes_answers_in_any_order) {
    CREW(c, .max_workers = 1, .prefetch = 3, .worker = {.args = BROOD_ARGS(WORKER, "backwards", "3")});
    for (int i = 0; i < 6; i++)
        crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "3:done 2:done 1:done 6:done 5:done 4:done ");
    CHECK_EQ(c->started, 1);
}

static void write_to_answer(crew *c, const brood_outcome *o) {
    (void)c;
    ENSURE(o->fd_count == 1 && write(o->fds[0], "hello", 5) == 5);
}

/* It comes back with the answer. */
TEST_TORTURE(pool_sends_descriptors) {
    CREW(c, .max_workers = 1, .worker = {.args = BROOD_ARGS(test_program("brood-peer"), "answer")});
    int ends[2];
    char text[8] = "";
    CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
    test_fd(ends[0]);
    int r = crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL, .fds = &ends[1], .fd_count = 1}});
    close(ends[1]);
    CHECK_EQ(r, 0);
    c->then = write_to_answer;
    FINISH(c);
    CHECK_STR(c->log, "1:done ");
    CHECK_EQ(read(ends[0], text, sizeof text), 5);
    CHECK_STR(text, "hello");
    CHECK_EQ(read(ends[0], text, sizeof text), 0);
}

TEST(pool_tells_that_descriptors_are_not_taken) {
    CREW(c, .max_workers = 1, .worker = {.args = BROOD_ARGS(test_program("brood-peer"), "worker")});
    int fd = test_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    crew_json(c, "{}"); /* by whose answer it is known to be brood's */
    RUN_UNTIL(c->done == 1);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL, .fds = &fd, .fd_count = 1}}), 0);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL, .fd_count = 1}}), -EINVAL);
    fd = -1;
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL, .fds = &fd, .fd_count = 1}}),
             -EBADF);
    FINISH(c);
    CHECK_STR(c->log, "1:done 2:failed ");
    CHECK_HAS(c->message, "descriptors");
}

/* --- the queue --- */

TEST(pool_refuses_what_is_too_many) {
    CREW(c, .max_workers = 1, .max_queued = 2);
    crew_do(c, "work");
    crew_do(c, "work");
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL}}), -EAGAIN);
    RUN_UNTIL(c->done == 2);
    CHECK_EQ(c->drains, 1);
    crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->done, 3);
}

TEST(pool_asks_to_wait_for_the_drain) {
    CREW(c, .max_workers = 1, .max_queued = 2, .on_full = BROOD_FULL_WAIT);
    const brood_task task = {.body = {.json = "{}", .json_len = BROOD_NUL}};
    const int wanted[] = {0, 0, 1, 1, -EAGAIN};
    for (int i = 0; i < 5; i++)
        CHECK_EQ(crew_run(c, &task), wanted[i]);
    FINISH(c);
    CHECK_EQ(c->done, 4);
}

TEST(pool_drops_the_oldest_of_the_least) {
    CREW(c, .max_workers = 1, .max_queued = 2, .on_full = BROOD_FULL_DROP_OLDEST);
    brood_task task = {.body = {.json = "{}", .json_len = BROOD_NUL}, .priority = 1};
    CHECK_EQ(crew_run(c, &task), 0);
    task.priority = 0;
    for (int i = 0; i < 3; i++)
        CHECK_EQ(crew_run(c, &task), 0);
    FINISH(c);
    CHECK_STR(c->log, "2:dropped 3:dropped 1:done 4:done ");
}

TEST(pool_counts_bytes) {
    CREW(c, .max_workers = 1, .max_queued_bytes = 40);
    const brood_task small = {.body = {.json = "{\"text\":\"12345\"}", .json_len = BROOD_NUL}};
    CHECK_EQ(crew_run(c, &small), 0);
    CHECK_EQ(crew_run(c, &small), -EAGAIN);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{\"text\":\"12345678901234567890123456789\"}",
                                                .json_len = BROOD_NUL}}),
             -EMSGSIZE);
    FINISH(c);
    CHECK_EQ(c->done, 1);
}

/* --- workers that go wrong --- */

TEST_TORTURE(pool_tells_what_a_worker_says_is_wrong) {
    CREW(c, .max_workers = 1);
    crew_do(c, "fail");
    FINISH(c);
    CHECK_STR(c->log, "1:failed ");
    CHECK_STR(c->message, "no luck");
    CHECK_EQ(c->last.attempts, 1);
}

TEST_TORTURE(pool_tries_again_after_a_crash) {
    CREW(c, .max_workers = 1);
    crew_do(c, "work");
    crew_do(c, test_format("once %s", test_path(t, "once")));
    crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 3); /* the third perhaps sooner: by the end of a channel nothing is known yet */
    CHECK_EQ(c->requeued, 1);
    CHECK_EQ(c->started, 2);
}

TEST_TORTURE(pool_ends_a_poison_task) {
    CREW(c, .max_workers = 1, .max_attempts = 2);
    crew_do(c, "work");
    crew_do(c, "kill 11");
    crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 2);
    CHECK_EQ(c->fates[BROOD_FATE_CRASHED], 1);
    CHECK_EQ(c->exit.signal, SIGSEGV);
    CHECK_GE(c->started, 2);
}

TEST(pool_tells_how_a_worker_ended) {
    CREW(c, .max_workers = 1, .max_attempts = 1);
    crew_do(c, "exit 7");
    FINISH(c);
    CHECK_STR(c->log, "1:crashed ");
    CHECK_STR(c->message, "its worker exited with code 7");
    CHECK_EQ(c->exit.code, 7);
    CHECK_EQ(c->last.attempts, 1);
}

TEST(pool_tells_of_a_worker_that_met_its_memory_limit) {
    if (!watch_can_limit((brood_limits){.memory = 64 << 20}))
        SKIP("no cgroup here to limit it by");
    CREW(c, .max_workers = 1, .max_attempts = 1, .worker = {.own = BROOD_OWN_TREE, .limits = {.memory = 64 << 20}});
    crew_do(c, "eat 200");
    FINISH(c);
    CHECK_STR(c->log, "1:crashed ");
    CHECK_STR(c->message, "its worker was killed at a memory limit");
    CHECK_EQ(c->exit.reason, BROOD_REASON_OUT_OF_MEMORY);
}

static char crash_message[512];

static void keep_crash(crew *c, const brood_outcome *o) {
    if (o->fate == BROOD_FATE_CRASHED)
        snprintf(crash_message, sizeof crash_message, "%s", c->message);
}

static void breaks(test *t, const char *word, const char *message) {
    CREW(c, .max_workers = 1, .max_attempts = 1,
         .worker = {.channel = &(brood_channel_options){.max_message = 100000}});
    c->then = keep_crash;
    crew_do(c, "work");
    crew_do(c, word);
    crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 2);
    CHECK_EQ(c->fates[BROOD_FATE_CRASHED], 1);
    CHECK_STR(crash_message, message);
    CHECK_EQ(c->started, 2);
}

TEST_TORTURE(pool_ends_a_worker_that_sends_garbage) {
    breaks(t, "garbage", "its worker broke the format of the channel");
}

TEST(pool_ends_a_worker_whose_message_has_no_end) {
    breaks(t, "huge", "its worker sent a message that is too large");
}

TEST_TORTURE(pool_ends_a_worker_that_closes_its_channel) {
    breaks(t, "disconnect", "its worker closed its channel, and lived on");
}

TEST_TORTURE(pool_waits_for_the_end_of_a_worker_that_disconnects) {
    breaks(t, "leave 3", "its worker exited with code 3");
}

TEST_TORTURE(pool_ignores_strays) {
    CREW(c, .max_workers = 1, .prefetch = 2);
    crew_do(c, "work");
    crew_do(c, "twice");
    crew_do(c, "other 5");
    crew_do(c, "stray");
    crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "1:done 2:done 3:done 4:done 5:done ");
    CHECK_EQ(c->result, 5);
    CHECK_EQ(c->strays, 6);
    CHECK_EQ(c->started, 1);
}

/* One that answers for what another has at the moment. */
TEST(pool_takes_no_answer_from_another) {
    CREW(c, .max_workers = 2);
    const char *go = test_path(t, "go");
    crew_do(c, test_format("wait %s", go));
    crew_do(c, "other 1");
    RUN_UNTIL(c->done == 1);
    CHECK_STR(c->log, "2:done ");
    CHECK_EQ(c->strays, 1);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
    CHECK_STR(c->log, "2:done 1:done ");
    CHECK_EQ(c->result, 1);
}

/* --- time --- */

TEST_TORTURE(pool_stops_a_task_that_runs_too_long) {
    CREW(c, .max_workers = 1, .max_attempts = 1, .worker = {.kill_grace_ms = 100});
    crew_do(c, "work");
    crew_run(c, &(brood_task){.body = {.json = "{\"do\":\"hang\"}", .json_len = BROOD_NUL}, .timeout_ms = 100});
    crew_do(c, "work");
    RUN_UNTIL(c->done >= 3);
    CHECK_STR(c->log, "1:done 2:timed out 3:done ");
    FINISH(c);
    CHECK_EQ(c->ended, 2);
}

TEST(pool_times_what_runs_and_not_what_waits) {
    CREW(c, .max_workers = 1, .prefetch = 4, .task_timeout_ms = 400 * (uint64_t)test_slow());
    const char *go = test_path(t, "go");
    crew_run(c, &(brood_task){.body = {.json = test_format("{\"do\":\"wait %s\"}", go), .json_len = BROOD_NUL},
                              .timeout_ms = BROOD_FOREVER});
    for (int i = 0; i < 6; i++)
        crew_do(c, "work");
    RUN_UNTIL(c->started == 1);
    test_idle(500 * (unsigned)test_slow());
    CHECK_EQ(c->done, 0);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 7);
    CHECK_GE(c->last.wait_us, 400 * 1000);
}

TEST(pool_tries_again_what_ran_too_long) {
    CREW(c, .max_workers = 1, .max_attempts = 2, .task_timeout_ms = 50);
    crew_do(c, "hang");
    FINISH(c);
    CHECK_STR(c->log, "1:timed out ");
    CHECK_EQ(c->last.attempts, 2);
    CHECK_EQ(c->started, 2);
    CHECK_EQ(c->requeued, 1);
}

TEST(pool_kills_a_worker_that_does_not_want_to_end) {
    CREW(c, .max_workers = 1, .max_attempts = 1, .task_timeout_ms = 50, .worker = {.kill_grace_ms = 50});
    crew_do(c, "ignore");
    crew_do(c, "stop");
    FINISH(c);
    CHECK_STR(c->log, "1:timed out 2:timed out ");
    CHECK_EQ(c->ended, 2);
}

/* What it answers when it is told to stop saves another attempt; after the last one's outcome it is too late. */
TEST(pool_takes_answers_while_it_stops_a_worker) {
    CREW(c, .max_workers = 1, .task_timeout_ms = 50, .worker = {.kill_grace_ms = 300});
    crew_run(c, &(brood_task){.body = {.json = "{\"do\":\"term\"}", .json_len = BROOD_NUL}, .max_attempts = 2});
    crew_run(c, &(brood_task){.body = {.json = "{\"do\":\"term\"}", .json_len = BROOD_NUL}, .max_attempts = 1});
    FINISH(c);
    CHECK_STR(c->log, "1:done 2:timed out ");
    CHECK_EQ(c->strays, 0);
}

/* With progress it may take its time; without, it may not. */
TEST(pool_stops_a_worker_that_falls_silent) {
    CREW(c, .max_workers = 1, .max_attempts = 1, .silence_ms = 100);
    crew_do(c, "progress 3");
    crew_do(c, "hang");
    FINISH(c);
    CHECK_STR(c->log, "1:done 2:timed out ");
    CHECK_STR(c->message, "nothing was heard of it in time");
}

/* --- innocents --- */

TEST_TORTURE(pool_requeues_innocents_without_an_attempt) {
    CREW(c, .max_workers = 1, .prefetch = 4, .max_attempts = 1);
    const char *go = test_path(t, "go");
    crew_do(c, test_format("wait %s", go));
    crew_do(c, "exit 1");
    crew_do(c, "work");
    crew_do(c, "work");
    RUN_UNTIL(c->started == 1);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
    CHECK_STR(c->log, "1:done 2:crashed 3:done 4:done ");
    CHECK_EQ(c->last.attempts, 1);
    CHECK_EQ(c->requeued, 2);
}

/* Of several that a worker had, the oldest is blamed at first; then each is alone, and the guilty one is known. */
TEST(pool_finds_the_guilty_one) {
    CREW(c, .max_workers = 1, .prefetch = 2, .max_attempts = 2);
    crew_do(c, "later");
    crew_do(c, "exit 1");
    FINISH(c);
    CHECK_STR(c->log, "1:done 2:crashed ");
    CHECK_EQ(c->last.attempts, 2);
    CHECK_EQ(c->started, 3);
}

TEST_TORTURE(pool_requeues_innocents_beside_one_that_hangs) {
    CREW(c, .max_workers = 1, .prefetch = 3, .max_attempts = 1, .task_timeout_ms = 100 * (uint64_t)test_slow());
    crew_do(c, "hang");
    crew_do(c, "work");
    crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "1:timed out 2:done 3:done ");
    CHECK_EQ(c->last.attempts, 1);
}

/* --- aborting --- */

TEST_TORTURE(pool_aborts_queued_and_running) {
    CREW(c, .max_workers = 1);
    crew_do(c, "hang");
    crew_do(c, "work");
    crew_do(c, "work");
    RUN_UNTIL(c->started == 1);
    CHECK_EQ(brood_pool_abort(c->pool, 2), 0);
    CHECK_EQ(brood_pool_abort(c->pool, 2), -ENOENT);
    CHECK_EQ(brood_pool_abort(c->pool, 1), 0);
    CHECK_EQ(brood_pool_abort(c->pool, 17), -ENOENT);
    CHECK_EQ(c->done, 0);
    FINISH(c);
    CHECK_STR(c->log, "2:aborted 1:aborted 3:done ");
}

TEST_TORTURE(pool_aborts_by_a_switch) {
    CREW(c, .max_workers = 1);
    brood_abort *stop;
    CHECK_EQ(brood_abort_new(&stop), 0);
    DEFER(brood_abort_free, stop);
    const brood_task hang = {.body = {.json = "{\"do\":\"hang\"}", .json_len = BROOD_NUL}, .abort = stop};
    for (int i = 0; i < 3; i++)
        CHECK_EQ(crew_run(c, &hang), 0);
    crew_do(c, "work");
    RUN_UNTIL(c->started == 1);
    brood_abort_now(stop);
    CHECK_EQ(crew_run(c, &hang), -ECANCELED);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_ABORTED], 3);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 1);
}

static void abort_others(crew *c, const brood_outcome *o) {
    for (uint64_t i = 1; i <= 4; i++)
        if (o->ticket == 1)
            ENSURE(brood_pool_abort(c->pool, i) == (i == 1 ? -ENOENT : 0));
}

TEST(pool_aborts_in_callbacks) {
    CREW(c, .max_workers = 1, .prefetch = 4);
    c->then = abort_others;
    for (int i = 0; i < 4; i++)
        crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "1:done 2:aborted 3:aborted 4:aborted ");
}

static bool within_call;

static void never_within_a_call(crew *c, const brood_pool_event *e) {
    (void)c, (void)e;
    ENSURE(!within_call);
}

/* Also not that a worker which had this one last leaves now. */
TEST_TORTURE(pool_tells_nothing_within_a_call) {
    CREW(c, .max_workers = 2);
    c->on_event = never_within_a_call;
    c->log_events = true;
    crew_do(c, "hang");
    crew_do(c, "hang");
    RUN_UNTIL(c->started == 2);
    CHECK_EQ(brood_pool_resize(c->pool, 1, 1), 0);
    test_idle(1);
    within_call = true;
    CHECK_EQ(brood_pool_abort(c->pool, 1), 0);
    CHECK_EQ(brood_pool_abort(c->pool, 2), 0);
    within_call = false;
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_ABORTED], 2);
    CHECK_HAS(c->events, "worker leaving: a task of its was aborted");
}

/* --- starts that fail --- */

static void kept_alive(uv_timer_t *timer) {
    (void)timer;
}

/* Workers do not keep the loop alive. */
static uv_timer_t *keep_alive(test *t) {
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(t->loop, timer);
    uv_timer_start(timer, kept_alive, 1000000, 0);
    return timer;
}

static void let_go(uv_timer_t *timer) {
    uv_close((uv_handle_t *)timer, NULL);
}

TEST_TORTURE(pool_tells_why_it_has_no_worker) {
    CREW(c, .worker = {.args = BROOD_ARGS("/no/such")});
    crew_do(c, "work");
    crew_do(c, "work");
    RUN_UNTIL(c->done == 2);
    CHECK_STR(c->log, "1:no worker 2:no worker ");
    CHECK_HAS(c->message, "/no/such");
    CHECK_EQ(c->gave_up, 1);
    const brood_failure *why = brood_pool_failure(c->pool);
    CHECK(why && why->code == -ENOENT && why->step == BROOD_STEP_EXEC);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL}}), -ENOTRECOVERABLE);
    brood_pool_resume(c->pool);
    CHECK(!brood_pool_failure(c->pool));
    crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_NO_WORKER], 3);
}

TEST(pool_gives_up_on_a_worker_that_ends_at_once) {
    CREW(c, .min_workers = 1, .max_workers = 2, .max_failures = 4, .backoff_ms = 1,
         .worker = {.args = BROOD_ARGS(WORKER, "exit", "3")});
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->gave_up);
    let_go(timer);
    CHECK_GE(c->failed_starts, 4); /* the next one starts when the channel ends, before it is known how */
    CHECK_LE(c->failed_starts, 6);
    CHECK_HAS(brood_pool_failure(c->pool)->message, "exited with code 3");
    FINISH(c);
}

/* It does not end by itself, and is of no use: that counts as soon as it shows. */
static void gives_up_on(test *t, const char *script, bool wait_ready, const char *message) {
    CREW(c, .max_workers = 1, .min_workers = 1, .max_failures = 3, .backoff_ms = 1, .wait_ready = wait_ready,
         .worker = {.args = BROOD_ARGS("/bin/sh", "-c", script)});
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->gave_up || c->started > 20);
    let_go(timer);
    CHECK_LE(c->started, 3);
    CHECK(t->torture || c->failed_starts == 3);
    CHECK(t->torture || (c->gave_up == 1 && strstr(brood_pool_failure(c->pool)->message, message)));
    FINISH(c);
}

TEST_TORTURE(pool_gives_up_on_a_worker_that_closes_its_channel_and_lives_on) {
    gives_up_on(t, "exec 3>&-; exec sleep 60", true, "a worker closed its channel, and lived on, before it was ready");
}

TEST_TORTURE(pool_gives_up_on_a_worker_that_says_garbage_at_once) {
    gives_up_on(t, "echo '{nope' >&3; exec sleep 60", true, "a worker broke the format of the channel before it was");
}

TEST(pool_gives_up_on_a_worker_that_says_garbage_with_nothing_to_do) {
    gives_up_on(t, "echo '{nope' >&3; exec sleep 60", false, "before it had answered anything");
}

/* The tasks are to blame; but not for all of that, and they are not used up by it. */
TEST(pool_backs_off_from_a_program_that_has_broken) {
    const char *broken = test_path(t, "broken");
    const char *script = test_format("test -e %s || exec %s; read task <&3; exit 9", broken, WORKER);
    CREW(c, .max_workers = 1, .max_failures = 4, .backoff_ms = 1000000, .max_backoff_ms = 1000000,
         .worker = {.args = BROOD_ARGS("/bin/sh", "-c", script)});
    crew_do(c, "work");
    RUN_UNTIL(c->done == 1);
    test_write_file(broken, "", 0, 0600);
    crew_do(c, "exit 1");
    for (int i = 0; i < 30; i++)
        crew_do(c, "work");
    RUN_UNTIL(c->ended == 5); /* four that have never answered */
    test_idle(50);
    CHECK_EQ(c->started, 5);
    CHECK_LE(c->fates[BROOD_FATE_CRASHED], 2);
    CHECK_EQ(unlink(broken), 0);
    brood_pool_resume(c->pool);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE] + c->fates[BROOD_FATE_CRASHED], 32);
    CHECK_GE(c->fates[BROOD_FATE_DONE], 30);
}

TEST(pool_gives_up_with_tasks_that_wait) {
    CREW(c, .max_workers = 2, .max_failures = 3, .backoff_ms = 1, .wait_ready = true,
         .worker = {.args = BROOD_ARGS(WORKER, "exit", "3")});
    crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "1:no worker ");
    CHECK_HAS(c->message, "before it was ready");
}

TEST_TORTURE(pool_waits_until_a_worker_is_ready) {
    CREW(c, .max_workers = 1, .wait_ready = true, .worker = {.args = BROOD_ARGS(WORKER, "ready")});
    c->log_events = true;
    crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "1:done ");
    CHECK_HAS(c->events, "worker started, worker ready, task sent, task done: done, ");
    CHECK_EQ(c->strays, 0);
}

TEST(pool_stops_a_worker_that_is_not_ready_in_time) {
    CREW(c, .max_workers = 1, .wait_ready = true, .ready_timeout_ms = 20, .max_failures = 2);
    crew_do(c, "work");
    FINISH(c);
    CHECK_STR(c->log, "1:no worker ");
    CHECK_HAS(c->message, "ready");
    CHECK_EQ(c->failed_starts, 2);
}

/* --- fewer, and spare ones --- */

TEST_TORTURE(pool_lets_idle_workers_go) {
    CREW(c, .max_workers = 3, .min_workers = 1, .idle_timeout_ms = 20);
    const char *go = test_path(t, "go");
    for (int i = 0; i < 3; i++)
        crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->started == 3);
    test_write_file(go, "", 0, 0600);
    RUN_UNTIL(c->done == 3);
    crew_do(c, "wait /nowhere");
    RUN_UNTIL(c->ended >= 1); /* one is at work */
    test_idle(100);
    CHECK_EQ(c->ended, 2);
    crew_close(c, 0);
    RUN();
    CHECK_EQ(c->closed, 1);
    CHECK_EQ(c->started, 3);
}

TEST(pool_keeps_spare_workers) {
    CREW(c, .max_workers = 1, .min_workers = 1, .spare_workers = 1, .max_attempts = 1);
    const char *go = test_path(t, "go");
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->started == 2);
    let_go(timer);
    crew_do(c, test_format("wait %s", go));
    crew_do(c, "work");
    test_idle(50);
    CHECK_EQ(c->done, 0); /* the spare one has nothing to do */
    test_write_file(go, "", 0, 0600);
    crew_do(c, "exit 1");
    crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 3); /* the last one perhaps before it is known how the other ended */
    CHECK_EQ(c->fates[BROOD_FATE_CRASHED], 1);
}

TEST(pool_pauses) {
    CREW(c, .max_workers = 1);
    brood_pool_pause(c->pool);
    crew_do(c, "work");
    test_idle(30);
    CHECK_EQ(c->done + c->started, 0);
    brood_pool_resume(c->pool);
    RUN_UNTIL(c->done == 1);
    FINISH(c);
}

TEST(pool_starts_no_worker_while_it_pauses) {
    CREW(c, .max_workers = 2, .min_workers = 2);
    brood_pool_pause(c->pool);
    test_idle(30);
    brood_pool_stats stats;
    brood_pool_stats_get(c->pool, &stats);
    CHECK_EQ(stats.starting + stats.up, 0);
    brood_pool_resume(c->pool);
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->started == 2);
    let_go(timer);
    FINISH(c);
}

/* --- replacing them --- */

static void no_dip(crew *c, const brood_pool_event *e) {
    brood_pool_stats stats;
    brood_pool_stats_get(c->pool, &stats);
    if (e->kind == BROOD_POOL_WORKER_LEAVING && c->accepted > c->done) /* its successor is there before it goes */
        ENSURE(stats.up >= 1);
}

TEST_TORTURE(pool_recycles_after_so_many_tasks) {
    CREW(c, .max_workers = 1, .recycle_after_tasks = 4);
    c->on_event = no_dip;
    c->quiet = true;
    int generations = t->brief ? 3 : 4;
    while (c->started < generations && c->accepted < 20000 && !t->failed) {
        crew_do(c, "work");
        crew_do(c, "work");
        RUN_UNTIL(c->done >= c->accepted - 1);
    }
    brood_pool_stats stats;
    brood_pool_stats_get(c->pool, &stats);
    CHECK_GE(stats.recycled, generations - 2);
    CHECK_EQ(c->requeued, 0);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], c->done);
    CHECK_GE(c->started, generations);
}

TEST(pool_recycles_by_age) {
    CREW(c, .max_workers = 1, .recycle_after_ms = 20);
    const char *go = test_path(t, "go");
    crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->started == 2);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
    CHECK_STR(c->log, "1:done ");
    CHECK_EQ(c->requeued, 0);
}

/* Its child has the memory. */
TEST(pool_recycles_above_so_much_memory) {
    CREW(c, .max_workers = 1, .recycle_above_bytes = 64 * 1024 * 1024, .worker = {.own = BROOD_OWN_TREE});
    uv_timer_t *timer = keep_alive(t);
    crew_do(c, "pid");
    RUN_UNTIL(c->done == 1);
    CHECK_EQ(c->started, 1);
    crew_do(c, "parent 100");
    RUN_UNTIL(c->done == 2);
    while (c->started < 2 && !t->failed) {
        crew_do(c, "pid");
        int before = c->done;
        RUN_UNTIL(c->done > before);
        test_idle(20);
    }
    let_go(timer);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], c->done);
}

TEST_TORTURE(pool_recycles_all) {
    CREW(c, .min_workers = 2, .max_workers = 2);
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->started == 2 || t->failed);
    brood_pool_recycle(c->pool);
    RUN_UNTIL(c->ended == 2 || t->failed);
    let_go(timer);
    FINISH(c);
    CHECK_EQ(c->started, 4);
}

TEST_TORTURE(pool_resizes) {
    CREW(c, .max_workers = 1);
    uv_timer_t *timer = keep_alive(t);
    const char *go = test_path(t, "go");
    for (int i = 0; i < 6; i++)
        crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->started == 1);
    CHECK_EQ(brood_pool_resize(c->pool, 2, 1), -EINVAL);
    CHECK_EQ(brood_pool_resize(c->pool, 0, 3), 0);
    RUN_UNTIL(c->started == 3);
    CHECK_EQ(brood_pool_resize(c->pool, 0, 1), 0);
    test_write_file(go, "", 0, 0600);
    RUN_UNTIL(c->done == 6 && c->ended >= 2);
    CHECK_EQ(c->alive, 1);
    let_go(timer);
    FINISH(c);
}

TEST_TORTURE(pool_broadcasts) {
    CREW(c, .min_workers = 2, .max_workers = 2);
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->started == 2 || t->failed);
    CHECK_EQ(brood_pool_broadcast(c->pool, &(brood_body){.json = "{\"do\":\"x\"}", .json_len = BROOD_NUL}), 2);
    RUN_UNTIL(c->strays == 2); /* its worker has answered */
    let_go(timer);
    FINISH(c);
}

TEST(pool_broadcasts_nothing_that_is_no_message) {
    CREW(c, .max_workers = 1);
    CHECK_EQ(brood_pool_broadcast(c->pool, &(brood_body){.json = "{}", .json_len = BROOD_NUL}), 0);
    CHECK_EQ(brood_pool_broadcast(c->pool, &(brood_body){.json = "{", .json_len = BROOD_NUL}), -EILSEQ);
    CHECK_EQ(brood_pool_broadcast(c->pool, &(brood_body){0}), -EINVAL);
    crew_do(c, "work");
    RUN_UNTIL(c->done == 1);
    CHECK_EQ(brood_pool_broadcast(c->pool, &(brood_body){.json = "{", .json_len = BROOD_NUL}), -EILSEQ);
    FINISH(c);
}

/* --- who gets it --- */

TEST(pool_takes_turns) {
    CREW(c, .max_workers = 2, .min_workers = 2, .balance = BROOD_BALANCE_TURNS);
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->started == 2);
    int64_t pids[6];
    for (int i = 0; i < 6; i++) {
        crew_do(c, "pid");
        RUN_UNTIL(c->done == i + 1);
        pids[i] = c->result;
        CHECK(i == 0 || pids[i] != pids[i - 1]);
        CHECK(i < 2 || pids[i] == pids[i - 2]);
    }
    let_go(timer);
    FINISH(c);
}

TEST(pool_takes_turns_with_prefetch) {
    CREW(c, .max_workers = 2, .balance = BROOD_BALANCE_TURNS, .prefetch = 4);
    for (int i = 0; i < 200; i++)
        crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 200);
}

static size_t pick_last(brood_pool *pool, uint64_t ticket, const brood_pool_choice *choices, size_t count, void *data) {
    crew *c = data;
    ENSURE(pool == c->pool && ticket > 0 && count > 0);
    for (size_t i = 0; i < count; i++)
        if (choices[i].worker == 2)
            return i;
    return count; /* none but the second */
}

TEST_TORTURE(pool_lets_the_caller_pick) {
    CREW(c, .min_workers = 2, .max_workers = 2, .pick = pick_last);
    uv_timer_t *timer = keep_alive(t);
    pid_t pid = 0;
    for (int i = 0; i < 5; i++) {
        crew_do(c, "pid");
        RUN_UNTIL(c->done == i + 1);
        pid = pid ? pid : (pid_t)c->result;
        CHECK_EQ(c->result, pid);
    }
    let_go(timer);
    FINISH(c);
}

static int crew_key(crew *c, const char *key, const char *word, int priority) {
    const char *json = test_format("{\"do\":\"%s\"}", word);
    return crew_run(c,
                    &(brood_task){.body = {.json = json, .json_len = BROOD_NUL}, .sticky = key, .priority = priority});
}

typedef struct keyed {
    int64_t pid[3];
    bool same;
} keyed;

/* Tickets count the keys round. */
static void see_key(crew *c, const brood_outcome *o) {
    keyed *k = c->more;
    int64_t *pid = &k->pid[o->ticket % 3];
    if (o->fate != BROOD_FATE_DONE)
        return;
    k->same = k->same && (*pid == 0 || *pid == c->result);
    *pid = c->result;
}

TEST_TORTURE(pool_keeps_keys_at_their_workers) {
    CREW(c, .max_workers = 3, .min_workers = 3, .prefetch = 2);
    keyed *k = c->more = NEW(keyed);
    k->same = true;
    c->then = see_key;
    c->quiet = true;
    int count = t->brief ? 12 : 300;
    for (int i = 1; i <= count; i++)
        CHECK_GE(crew_key(c, i % 3 == 0 ? "a" : i % 3 == 1 ? "b" : "c", "pid", i % 2), 0);
    FINISH(c);
    CHECK(k->same);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], count);
}

/* What waits for its own worker holds up nobody else; and goes on when that one has ended. */
TEST_TORTURE(pool_has_keys_wait_alone) {
    CREW(c, .max_workers = 2, .min_workers = 2);
    uv_timer_t *timer = keep_alive(t);
    RUN_UNTIL(c->started == 2 || t->failed);
    let_go(timer);
    CHECK_GE(crew_key(c, "a", test_format("once %s", test_path(t, "once")), 0), 0);
    CHECK_GE(crew_key(c, "a", "work", 0), 0);
    CHECK_GE(crew_key(c, "a", "work", 0), 0);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 3);

    CREW(d, .max_workers = 2);
    CHECK_GE(crew_key(d, "a", "hang", 0), 0);
    for (int i = 0; i < 5; i++)
        CHECK_GE(crew_key(d, "a", "work", 0), 0);
    crew_do(d, "work");
    crew_do(d, "work");
    RUN_UNTIL(d->done == 2);
    CHECK_STR(d->log, "7:done 8:done ");
    CHECK_EQ(brood_pool_abort(d->pool, 4), 0); /* one that waits */
    CHECK_EQ(brood_pool_abort(d->pool, 1), 0);
    FINISH(d);
    CHECK_EQ(d->fates[BROOD_FATE_DONE], 6);
    CHECK_EQ(d->fates[BROOD_FATE_ABORTED], 2);
}

/* Each from the head of the queue on, these would take minutes. */
TEST(pool_frees_many_that_wait_for_a_worker) {
    CREW(c, .max_workers = 1);
    brood_task task = {.body = {.json = "{}", .json_len = BROOD_NUL}, .sticky = "a"};
    CHECK_GE(crew_key(c, "a", "hang", 0), 0);
    RUN_UNTIL(c->started == 1);
    for (int i = 0; i < 200000; i++)
        CHECK_EQ(brood_pool_run(c->pool, &task, NULL), 0);
    crew_do(c, "work");
    CHECK_GE(crew_key(c, "b", "work", 1), 0);
    test_idle(1); /* all but these are kept for the one that hangs */
    CHECK_EQ(brood_pool_abort(c->pool, 1), 0);
    RUN_UNTIL(c->done == 2);
    CHECK_STR(c->log, "1:aborted 200003:done ");
    crew_close(c, 0);
    RUN();
    CHECK_EQ(c->closed, 1);
    CHECK_STR(c->log, "1:aborted 200003:done 200002:aborted ");
}

TEST(pool_queue_puts_back_in_order) {
    enum { TASKS = 60 };
    brood__queue *queue = NEW(brood__queue);
    brood__task *tasks = NEW_ARRAY(brood__task, TASKS);
    brood__list kept;
    brood__queue_init(queue);
    brood__list_init(&kept);
    for (int i = 0; i < TASKS; i++) {
        tasks[i].ticket = (uint64_t)i + 1;
        tasks[i].level = (uint8_t)(i % 3);
        brood__queue_put(queue, &tasks[i]);
    }
    for (int i = 0; i < TASKS; i += 2)
        brood__queue_set_aside(queue, &tasks[i * 7 % TASKS], &kept); /* in some order */
    brood__queue_put_back(queue, &kept);
    CHECK(brood__list_empty(&kept));
    CHECK_EQ(queue->count, TASKS);
    for (int i = 0; i < TASKS; i++) {
        brood__task *first = brood__queue_first(queue);
        CHECK_EQ(first->ticket, i % 20 * 3 + 3 - i / 20);
        brood__queue_remove(queue, first);
    }
    CHECK(!brood__queue_first(queue));
}

TEST(pool_closes_with_keys_that_wait) {
    CREW(c, .max_workers = 2, .max_queued = 5, .on_full = BROOD_FULL_DROP_OLDEST);
    CHECK_GE(crew_key(c, "a", "hang", 0), 0);
    RUN_UNTIL(c->started == 1);
    for (int i = 0; i < 5; i++)
        CHECK_GE(crew_key(c, "a", "work", 0), 0);
    test_idle(20);
    CHECK_EQ(crew_key(c, "b", "work", 0), -EAGAIN);
    crew_close(c, 0);
    RUN();
    CHECK_EQ(c->fates[BROOD_FATE_ABORTED], 6);
}

/* As many workers as can do something: those of one key are done one after another. */
TEST_TORTURE(pool_starts_one_worker_for_one_key) {
    CREW(c, .max_workers = 4);
    for (int i = 0; i < 10; i++)
        CHECK_GE(crew_key(c, "a", "work", 0), 0);
    RUN_UNTIL(c->done == c->accepted);
    CHECK(t->torture || c->started == 1);
    CHECK_GE(crew_key(c, "a", "hang", 0), 0);
    CHECK_GE(crew_key(c, "a", "work", 0), 0);
    crew_do(c, "work");
    crew_key(c, "b", "work", 0);
    RUN_UNTIL(c->done == c->accepted - 2);
    CHECK_LE(c->started, 3);
    crew_close(c, 0);
    RUN();
    CHECK_EQ(c->done, c->accepted);
}

static void most_working(crew *c, const brood_pool_event *e) {
    brood_pool_stats stats;
    (void)e;
    brood_pool_stats_get(c->pool, &stats);
    ENSURE(stats.working <= 1);
}

/* One that has a key is no exception: it waits until its worker may. */
TEST(pool_has_no_more_at_work_for_a_key) {
    CREW(c, .max_workers = 2, .spare_workers = 2);
    const char *together = test_path(t, "together"), *go = test_path(t, "go");
    crew_key(c, "a", test_format("wait %s", together), 0);
    crew_key(c, "b", test_format("wait %s", together), 0);
    RUN_UNTIL(c->started == 4);
    test_write_file(together, "", 0, 0600);
    RUN_UNTIL(c->done == 2); /* each has a key */
    CHECK_EQ(brood_pool_resize(c->pool, 0, 1), 0);
    c->on_event = most_working;
    for (int i = 0; i < 3; i++) {
        crew_key(c, "a", test_format("wait %s", go), 0);
        crew_key(c, "b", test_format("wait %s", go), 0);
    }
    test_idle(20);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 8);
}

/* --- insight --- */

TEST(pool_counts) {
    CREW(c, .max_workers = 1, .max_attempts = 2);
    brood_pool_stats s;
    crew_do(c, "work");
    crew_do(c, "fail");
    crew_do(c, "exit 1");
    crew_do(c, "twice");
    RUN_UNTIL(c->done == 4);
    const char *go = test_path(t, "go");
    crew_do(c, test_format("wait %s", go));
    crew_do(c, "work");
    RUN_UNTIL(c->started == 3);
    test_idle(20);
    brood_pool_stats_get(c->pool, &s);
    CHECK_EQ(s.accepted, 6);
    CHECK_EQ(s.fates[BROOD_FATE_DONE], 2);
    CHECK_EQ(s.fates[BROOD_FATE_FAILED], 1);
    CHECK_EQ(s.fates[BROOD_FATE_CRASHED], 1);
    CHECK_EQ(s.requeued, 1);
    CHECK_EQ(s.strays, 1);
    CHECK_EQ(s.up, 1);
    CHECK_EQ(s.working, 1);
    CHECK_EQ(s.running, 1);
    CHECK_EQ(s.queued, 1);
    CHECK_GT(s.queued_bytes, 10);
    CHECK_EQ(s.started, 3);
    CHECK_EQ(s.run.count, 4);
    CHECK(s.utilisation > 0 && s.utilisation <= 1);
    CHECK(s.run.p50_us <= s.run.p99_us && s.run.p99_us <= s.run.p999_us && s.run.p999_us <= s.run.max_us);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
}

TEST(pool_percentiles_are_close) {
    brood__times *times = NEW(brood__times);
    brood_pool_times told;
    for (uint64_t i = 1; i <= 100000; i++)
        brood__times_add(times, i * 10);
    brood__times_tell(times, &told);
    CHECK_EQ(told.count, 100000);
    CHECK_EQ(told.max_us, 1000000);
    CHECK_EQ(told.mean_us, 500005);
    CHECK(told.p50_us >= 500000 && told.p50_us <= 535000);
    CHECK(told.p90_us >= 900000 && told.p90_us <= 963000);
    CHECK(told.p99_us >= 990000 && told.p999_us >= 999000 && told.p999_us <= 1000000);
    brood__times_add(times, 0);
    brood__times_add(times, UINT64_MAX);
    brood__times_tell(times, &told);
    CHECK(told.max_us == UINT64_MAX);
}

/* --- the end --- */

TEST_TORTURE(pool_closes_at_once) {
    CREW(c, .max_workers = 1, .prefetch = 2);
    for (int i = 0; i < 4; i++)
        crew_do(c, "hang");
    RUN_UNTIL(c->started == 1);
    crew_close(c, 0);
    CHECK_EQ(crew_run(c, &(brood_task){.body = {.json = "{}", .json_len = BROOD_NUL}}), -ESHUTDOWN);
    RUN();
    CHECK_EQ(c->closed, 1);
    CHECK_EQ(c->fates[BROOD_FATE_ABORTED], 4);
}

TEST_TORTURE(pool_closes_before_it_began) {
    CREW(c, .min_workers = 2);
    crew_do(c, "work");
    crew_close(c, 0);
    RUN();
    CHECK_EQ(c->closed, 1);
    CHECK_STR(c->log, "1:aborted ");
}

TEST(pool_drains_for_so_long) {
    CREW(c, .max_workers = 1);
    crew_do(c, "work");
    crew_do(c, "hang");
    crew_do(c, "work");
    crew_close(c, 300 * (uint64_t)test_slow());
    RUN();
    CHECK_EQ(c->closed, 1);
    CHECK_STR(c->log, "1:done 3:aborted 2:aborted ");
}

TEST(pool_close_can_be_hurried) {
    CREW(c, .max_workers = 1);
    crew_do(c, "hang");
    crew_close(c, BROOD_FOREVER);
    RUN_UNTIL(c->started == 1);
    brood_pool_close(c->pool, 0, NULL, NULL);
    RUN();
    CHECK_EQ(c->closed, 1);
    CHECK_STR(c->log, "1:aborted ");
}

static void close_now(crew *c, const brood_outcome *o) {
    (void)o;
    if (c->done == 1)
        crew_close(c, 0);
}

TEST_TORTURE(pool_closes_in_a_callback) {
    CREW(c, .max_workers = 2, .prefetch = 2);
    c->then = close_now;
    for (int i = 0; i < 10; i++)
        crew_do(c, "work");
    RUN();
    CHECK_EQ(c->closed, 1);
    CHECK_EQ(c->done, 10);
}

static void loop_closed(uv_loop_t *loop, void *data) {
    (void)loop;
    *(bool *)data = true;
}

TEST_TORTURE(pool_goes_with_its_loop) {
    CREW(c, .max_workers = 2, .min_workers = 1);
    bool *gone = NEW(bool);
    for (int i = 0; i < 3; i++)
        crew_do(c, "hang");
    RUN_UNTIL(c->started == 2);
    CHECK_EQ(brood_loop_close(t->loop, loop_closed, gone), 0);
    RUN();
    CHECK(*gone);
    CHECK_EQ(c->fates[BROOD_FATE_ABORTED], 3);
}

TEST_TORTURE(pool_tells_its_end_on_a_loop_that_is_closed) {
    CREW(c, .max_workers = 2);
    bool *gone = NEW(bool);
    crew_do(c, "hang");
    RUN_UNTIL(c->started == 1);
    CHECK_EQ(brood_loop_close(t->loop, loop_closed, gone), 0);
    crew_close(c, 0);
    CHECK_EQ(c->closed, 0);
    RUN();
    CHECK(*gone);
    CHECK_EQ(c->closed, 1);
}

/* What a worker leaves behind goes with it. */
TEST(pool_leaves_no_daemon_behind) {
    CREW(c, .max_workers = 1, .max_attempts = 1, .worker = {.own = BROOD_OWN_TREE});
    const char *path = test_path(t, "pid");
    crew_do(c, test_format("daemon %s", path));
    crew_do(c, "work");
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 1);
    pid_t daemon = atoi(test_read_file(path));
    CHECK_GT(daemon, 0);
    CHECK(test_process_gone(daemon));
}

/* --- bad days --- */

/* Reproducible: BROOD_TEST_SEED sets what is tried. */
static uint64_t random_state;

static unsigned chance(unsigned below) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((random_state >> 33) % below);
}

static void seed(uint64_t given) {
    const char *asked = getenv("BROOD_TEST_SEED");
    random_state = asked ? strtoull(asked, NULL, 10) : given;
    printf("seed %llu\n", (unsigned long long)random_state);
}

/* Kills, or stops, one of the workers. */
static void harass(uv_timer_t *timer) {
    crew *c = timer->data;
    if (c->done == c->accepted)
        return;
    pid_t pid = c->pids[1 + chance(8)];
    if (pid > 0)
        kill(pid, chance(4) > 0 ? SIGKILL : SIGSTOP);
}

/* A good one must have its own answer, however often its worker was killed; a bad one must have its end. */
static void check_day(crew *c, const brood_outcome *o) {
    bool *good = c->more;
    bool done = o->fate == BROOD_FATE_DONE;
    ENSURE(o->ticket < 8000);
    if (good[o->ticket] && o->ticket > 10) /* for those below others answer, who may have had them as well */
        ENSURE(done && c->result == (int64_t)o->ticket);
    else
        ENSURE(o->fate != BROOD_FATE_NO_WORKER && o->fate != BROOD_FATE_DROPPED);
}

static const char *const bad_words[] = {"exit 1",  "kill 9", "kill 11", "garbage", "disconnect",
                                        "leave 0", "hang",   "stop",    "ignore",  "other 3"};
static const char *const good_words[] = {"work", "twice", "stray", "other 7", "progress 2", "work", "work", "work"};

static const char *const keys[] = {"one", "two", "three"};

static void bad_day(test *t, uint64_t given_seed, int tasks, unsigned prefetch) {
    CREW(c, .max_workers = 4, .prefetch = prefetch, .spare_workers = 1, .recycle_after_tasks = 50, .backoff_ms = 1,
         .max_backoff_ms = 20, .max_failures = 1000000, .task_timeout_ms = 150 * (uint64_t)test_slow(),
         .worker = {.kill_grace_ms = 20, .own = chance(2) ? BROOD_OWN_GROUP : BROOD_OWN_TREE});
    seed(given_seed);
    c->quiet = true;
    c->then = check_day;
    bool *good = c->more = NEW_ARRAY(bool, 8000);
    for (int i = 1; i <= tasks; i++) {
        bool bad = chance(100) < 3;
        const char *word = bad ? bad_words[chance(10)] : good_words[chance(8)];
        const char *json = test_format("{\"do\":\"%s\"}", word);
        good[i] = !bad;
        CHECK_GE(crew_run(c, &(brood_task){.body = {.json = json, .json_len = BROOD_NUL},
                                           .max_attempts = bad ? 2 : 100000,
                                           .sticky = chance(4) == 0 ? keys[chance(3)] : NULL,
                                           .priority = (int)chance(3)}),
                 0);
        if (bad && chance(10) == 0)
            brood_pool_abort(c->pool, (uint64_t)i);
    }
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(t->loop, timer);
    timer->data = c;
    uv_timer_start(timer, harass, 20, 20);
    RUN_UNTIL(c->done == c->accepted);
    uv_close((uv_handle_t *)timer, NULL);
    FINISH(c);
    CHECK_EQ(c->accepted, tasks);
}

TEST(pool_bad_day_one_at_a_time) {
    bad_day(t, 1, 1500, 1);
}

TEST(pool_bad_day_with_prefetch) {
    bad_day(t, 2, 1500, 4);
}

TEST(pool_bad_day_of_hundred_thousand) {
    int tasks = test_slow() > 1 ? 10000 : 100000;
    CREW(c, .max_workers = 4, .prefetch = 8, .max_attempts = 100000, .backoff_ms = 1, .max_failures = 1000000,
         .task_timeout_ms = 1000);
    seed(3);
    c->quiet = true;
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(t->loop, timer);
    timer->data = c;
    uv_timer_start(timer, harass, 20, 20);
    for (int i = 0; i < tasks; i++)
        crew_json(c, "{}");
    RUN_UNTIL(c->done == c->accepted);
    uv_close((uv_handle_t *)timer, NULL);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], tasks);
}

/* --- what it costs --- */

static void count_turn(uv_prepare_t *prepare) {
    ++*(int *)prepare->data;
}

/* How often the loop turns in a tenth of a second. */
static int turns_of(test *t) {
    uv_prepare_t *prepare = NEW(uv_prepare_t);
    int *turns = NEW(int);
    uv_prepare_init(t->loop, prepare);
    prepare->data = turns;
    uv_prepare_start(prepare, count_turn);
    test_idle(100);
    uv_close((uv_handle_t *)prepare, NULL);
    return *turns;
}

static void write_much(brood_writer *w, void *data) {
    char *text = data;
    brood_writer_object(w);
    brood_writer_key(w, "text");
    brood_writer_string(w, text, BROOD_NUL);
    brood_writer_end(w);
}

/* A worker that hangs, one that does not read, one that will not end, one that waits to be started again. */
TEST(pool_does_not_spin) {
    CREW(c, .max_workers = 1, .prefetch = 2, .worker = {.kill_grace_ms = 300});
    char *text = test_alloc(1000001);
    memset(text, 'x', 1000000);
    crew_do(c, "ignore");
    crew_run(c, &(brood_task){.body = {.write = write_much, .data = text}});
    RUN_UNTIL(c->started == 1);
    test_idle(50);
    CHECK_LE(turns_of(t), 20);
    crew_close(c, 0);
    CHECK_LE(turns_of(t), 20);
    RUN();
    CHECK_EQ(c->fates[BROOD_FATE_ABORTED], 2);

    CREW(waits, .max_workers = 1, .backoff_ms = 500, .max_failures = 3,
         .worker = {.args = BROOD_ARGS(WORKER, "exit", "1")});
    crew_do(waits, "work");
    RUN_UNTIL(waits->ended == 2);
    CHECK_LE(turns_of(t), 20);
    crew_close(waits, 0);
    RUN();
}

/* Memory of the library's for each task that waits, beside its message; and none is left. */
static size_t allocated;

static void *count_malloc(size_t size, void *data) {
    (void)data;
    void *block = malloc(size);
    allocated += block ? malloc_usable_size(block) : 0;
    return block;
}

static void *count_realloc(void *block, size_t size, void *data) {
    (void)data;
    allocated -= malloc_usable_size(block);
    block = realloc(block, size);
    allocated += block ? malloc_usable_size(block) : 0;
    return block;
}

static void count_free(void *block, void *data) {
    (void)data;
    allocated -= malloc_usable_size(block);
    free(block);
}

TEST(pool_needs_little_for_each_task) {
    enum { TASKS = 100000, MESSAGE = sizeof "{\"id\":100000}\n" };
    brood_hooks hooks = {.malloc = count_malloc, .realloc = count_realloc, .free = count_free};
    brood_pool *pool;
    if (IS_SANITIZED || brood_set_hooks(&hooks) < 0)
        SKIP("the allocator cannot be replaced");
    CHECK_EQ(brood_pool_open(t->loop, &(brood_pool_options){.worker = {.args = BROOD_ARGS(WORKER)}}, &pool, NULL), 0);
    brood_pool_pause(pool);
    size_t before = allocated;
    for (int i = 0; i < TASKS; i++)
        CHECK_EQ(brood_pool_run(pool, &(brood_task){.body = {.json = "{}", .json_len = 2}}, NULL), 0);
    CHECK_LT((allocated - before) / TASKS, 200 + MESSAGE);
    brood_pool_close(pool, 0, NULL, NULL);
    RUN();
}

/* No descriptor left for another worker: those that are there do the work. */
TEST(pool_works_with_the_workers_that_it_can_have) {
    CREW(c, .max_workers = 8, .backoff_ms = 1, .max_failures = 3);
    struct rlimit limit, old;
    crew_do(c, "work");
    RUN_UNTIL(c->done == 1);
    getrlimit(RLIMIT_NOFILE, &old);
    limit = old;
    limit.rlim_cur = (rlim_t)test_count_fds() + 6; /* for one more, perhaps two */
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < 200; i++)
        crew_do(c, "work");
    RUN_UNTIL(c->done == 201);
    setrlimit(RLIMIT_NOFILE, &old);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 201);
    CHECK_LT(c->started, 8);
    FINISH(c);
}

/* A shortage does no harm that lasts: there are more workers as soon as there can be. */
TEST(pool_starts_workers_again_after_a_shortage) {
    CREW(c, .max_workers = 12, .backoff_ms = 1, .max_backoff_ms = 4, .max_failures = 3);
    struct rlimit limit, old;
    const char *go = test_path(t, "go");
    for (int i = 0; i < 2; i++)
        crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->started == 2);
    getrlimit(RLIMIT_NOFILE, &old);
    limit = old;
    limit.rlim_cur = (rlim_t)test_count_fds() + 4;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < 12; i++)
        crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->failed_starts >= 20);
    setrlimit(RLIMIT_NOFILE, &old);
    RUN_UNTIL(c->started >= 12);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 14);
    CHECK_EQ(c->gave_up, 0);
}

enum { MOST_FDS = 160, ROOM = 3 };

typedef struct fillers {
    int fds[MOST_FDS], count;
    struct rlimit old;
} fillers;

/* No descriptor but ROOM, with too few for a start: what comes free is all that there is. */
static fillers use_up_descriptors(void) {
    fillers f = {.count = 0};
    getrlimit(RLIMIT_NOFILE, &f.old);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){.rlim_cur = MOST_FDS, .rlim_max = f.old.rlim_max});
    for (int fd; (fd = fcntl(0, F_DUPFD_CLOEXEC, 0)) >= 0;)
        f.fds[f.count++] = fd;
    for (int i = 0; i < ROOM; i++)
        close(f.fds[--f.count]);
    return f;
}

static void give_back_descriptors(fillers *f) {
    while (f->count > 0)
        close(f->fds[--f->count]);
    setrlimit(RLIMIT_NOFILE, &f->old);
}

/* What a worker that ends gives back is its successor's, if it is enough, however long the pool was to wait. */
TEST(pool_starts_a_worker_as_soon_as_one_has_ended) {
    if (test_is_emulated())
        SKIP("valgrind 3.19 ends by an assertion of its own");
    CREW(c, .max_workers = 4, .backoff_ms = 3600000, .max_backoff_ms = 3600000);
    const char *go = test_path(t, "go");
    crew_do(c, "work");
    RUN_UNTIL(c->done == 1);
    for (int i = 0; i < 2; i++)
        crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->started == 2);
    fillers f = use_up_descriptors();
    crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->failed_starts > 0);
    int failed = c->failed_starts;
    CHECK_EQ(kill(c->pids[1], SIGKILL), 0);
    RUN_UNTIL(c->started >= 3 || c->failed_starts > failed);
    give_back_descriptors(&f);
    test_write_file(go, "", 0, 0600);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_DONE], 4);
}

static void set_process_limit(rlim_t most) {
    struct rlimit limit;
    ENSURE(getrlimit(RLIMIT_NPROC, &limit) == 0);
    limit.rlim_cur = most < limit.rlim_max ? most : limit.rlim_max;
    ENSURE(setrlimit(RLIMIT_NPROC, &limit) == 0);
}

static void give_back_processes(void *nothing) {
    (void)nothing;
    set_process_limit(RLIM_INFINITY);
}

/* Root has no such limit. */
static void become_a_user(void) {
    if (geteuid() == 0)
        ENSURE(setresgid(54321, 54321, 54321) == 0 && setresuid(54321, 54321, 54321) == 0);
    prctl(PR_SET_DUMPABLE, 1);
    DEFER(give_back_processes, NULL);
}

/* No process more for this user: who is there does the work, and when there can be more there are. */
TEST(pool_works_at_the_process_limit) {
    const char *both = test_path(t, "both"), *go = test_path(t, "go");
    CHECK_EQ(chmod(test_path(t, "."), 0777), 0);
    become_a_user();
    CREW(c, .max_workers = 4, .backoff_ms = 1, .max_backoff_ms = 4, .max_failures = 3);
    for (int i = 0; i < 2; i++)
        crew_do(c, test_format("wait %s", both));
    RUN_UNTIL(c->started == 2);
    test_write_file(both, "", 0, 0600);
    RUN_UNTIL(c->done == 2);
    set_process_limit(1);
    crew_run(c, &(brood_task){.body = {.json = "{\"do\":\"exit 1\"}", .json_len = BROOD_NUL}, .max_attempts = 1});
    for (int i = 0; i < 50; i++)
        crew_do(c, test_format("wait %s", go));
    RUN_UNTIL(c->failed_starts >= 5 && c->ended >= 1);
    test_write_file(go, "", 0, 0600);
    RUN_UNTIL(c->fates[BROOD_FATE_DONE] == 52);
    set_process_limit(RLIM_INFINITY);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_CRASHED], 1);
    CHECK_EQ(c->gave_up, 0);
}

/* And where there is nobody: tried so often, and then told. */
TEST(pool_gives_up_at_the_process_limit) {
    become_a_user();
    set_process_limit(1);
    CREW(c, .max_workers = 4, .backoff_ms = 1, .max_backoff_ms = 4, .max_failures = 3);
    crew_do(c, "work");
    crew_do(c, "work");
    RUN_UNTIL(c->done == 2);
    FINISH(c);
    CHECK_EQ(c->fates[BROOD_FATE_NO_WORKER], 2);
    CHECK_EQ(c->gave_up, 1);
    CHECK(strstr(c->message, "too many processes"));
}
