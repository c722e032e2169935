/*
 * Options that contradict each other, or ask for what no program can be given: refused before anything happens, with
 * the step, the field and a message that a person understands.
 */
#include "harness/watch.h"

#include <stdio.h>

static void on_result(brood_result *result, void *data) {
    (void)result;
    ++*(int *)data;
}

/* -EINVAL by every door: on the loop, off it, waiting. */
static void refuse(test *t, const char *field, const brood_options *options) {
    brood_failure why = {0};
    int r = watch_refused(t, &why, options);
    if (r != -EINVAL)
        test_fail(__FILE__, __LINE__, "%s: brood_spawn is %d, not -EINVAL: %s", field, r, why.message);
    CHECK_EQ(why.step, BROOD_STEP_OPTIONS);
    if (!strstr(why.message, field) && !strstr(why.subject, field))
        test_fail(__FILE__, __LINE__, "%s is not named: \"%s\" of \"%s\"", field, why.message, why.subject);
    CHECK_GT(strlen(why.message), strlen(field) + 5); /* it says what is wrong with it */
    brood_options off = *options;
    off.offload = true;
    CHECK_EQ(watch_refused(t, &why, &off), -EINVAL);
    if (options->out.on_data || options->err.on_data || options->in.on_data || options->on_exit)
        return;
    brood_result *waiting = result_new();
    CHECK_EQ(brood_spawn_sync(options, waiting), -EINVAL);
    CHECK_EQ(waiting->exit.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(waiting->failure.step, BROOD_STEP_OPTIONS);
}

#define REFUSE(field, ...)                                                                                             \
    do {                                                                                                               \
        refuse(t, field, &(brood_options){.args = BROOD_ARGS(CHILD, "exit", "0"), __VA_ARGS__});                       \
        if (test_failed())                                                                                             \
            return;                                                                                                    \
    } while (0)

TEST(options_environment_that_contradicts_itself) {
    REFUSE("env", .env = BROOD_ARGS("A=1"), .env_mode = BROOD_ENV_INHERIT);
    REFUSE("env", .env = BROOD_ARGS("A=1"), .env_mode = BROOD_ENV_CLEAR);
    REFUSE("env", .env_mode = (brood_env_mode)77);
}

TEST(options_directory_that_contradicts_itself) {
    REFUSE("cwd", .cwd = "/", .cwd_by_fd = true, .cwd_fd = 0);
}

TEST(options_groups_that_are_too_many_or_missing) {
    REFUSE("groups", .set_groups = true, .group_count = 2);
    REFUSE("group_count", .set_groups = true, .groups = (const gid_t[]){1}, .group_count = 65537);
}

TEST(options_niceness_out_of_range) {
    REFUSE("nice", .nice = 41);
    REFUSE("nice", .nice = -41);
    REFUSE("nice", .nice = INT32_MIN);
}

TEST(options_limits_that_are_missing) {
    REFUSE("rlimits", .rlimit_count = 1);
}

TEST(options_ownership_that_cannot_be_kept) {
    REFUSE("own", .own = BROOD_OWN_NONE, .timeout_ms = 1000);
    REFUSE("own", .own = BROOD_OWN_NONE, .idle_timeout_ms = 1000, .out = {.kind = BROOD_STDIO_PIPE});
    REFUSE("own", .own = (brood_ownership)77);
}

TEST(options_signal_that_is_none) {
    REFUSE("kill_signal", .kill_signal = 65);
    REFUSE("kill_signal", .kill_signal = -1);
}

TEST(options_shell_without_a_command_for_it) {
    REFUSE("shell", .shell = "/bin/sh");
}

TEST(options_idle_time_of_a_child_without_pipes) {
    REFUSE("idle_timeout_ms", .idle_timeout_ms = 1000);
}

TEST(options_slots_out_of_range) {
    brood_slot slot = {.slot = 2, .io = {.kind = BROOD_STDIO_IGNORE}};
    REFUSE("slot", .slots = &slot, .slot_count = 1);
    slot.slot = 65536;
    REFUSE("slot", .slots = &slot, .slot_count = 1);
    slot.slot = -1;
    REFUSE("slot", .slots = &slot, .slot_count = 1);
    REFUSE("slots", .slot_count = 1);
    brood_slot *many = NEW_ARRAY(brood_slot, 1025);
    for (int i = 0; i < 1025; i++)
        many[i] = (brood_slot){.slot = 3 + i, .io = {.kind = BROOD_STDIO_IGNORE}};
    REFUSE("slot_count", .slots = many, .slot_count = 1025);
}

TEST(options_slot_that_is_named_twice) {
    brood_slot slots[] = {{.slot = 5, .io = {.kind = BROOD_STDIO_IGNORE}},
                          {.slot = 5, .io = {.kind = BROOD_STDIO_IGNORE}}};
    REFUSE("slots", .slots = slots, .slot_count = 2);
}

TEST(options_slot_of_a_slot_that_leads_nowhere) {
    REFUSE("err", .err = {.kind = BROOD_STDIO_SLOT, .slot = 2});
    REFUSE("out", .out = {.kind = BROOD_STDIO_SLOT, .slot = 9});
    REFUSE("out", .out = {.kind = BROOD_STDIO_SLOT, .slot = 2}, .err = {.kind = BROOD_STDIO_SLOT, .slot = 1});
    REFUSE("in", .in = {.kind = BROOD_STDIO_SLOT, .slot = -1});
}

TEST(options_slot_fields_that_another_kind_would_read) {
    REFUSE("out", .out = {.kind = (brood_stdio_kind)77});
    REFUSE("out", .out = {.kind = BROOD_STDIO_FILE});
    REFUSE("out", .out = {.kind = BROOD_STDIO_FILE, .path = "x", .mode = (brood_file_mode)77});
    REFUSE("out", .out = {.kind = BROOD_STDIO_IGNORE, .path = "x"});
    REFUSE("out", .out = {.kind = BROOD_STDIO_PIPE, .fd = 1});
    REFUSE("out", .out = {.kind = BROOD_STDIO_INHERIT, .slot = 2});
    REFUSE("in", .in = {.kind = BROOD_STDIO_IGNORE, .input = "x", .input_len = 1});
    REFUSE("out", .out = {.kind = BROOD_STDIO_IGNORE, .on_data = watch_on_data});
    REFUSE("out", .out = {.kind = BROOD_STDIO_FD, .fd = 1, .on_end = watch_on_end});
    REFUSE("out", .out = {.kind = BROOD_STDIO_FD, .fd = 1, .pipe_size = 4096});
}

TEST(options_slot_read_and_written_at_a_time) {
    REFUSE("in", .in = {.input = "x", .input_len = 1, .on_data = watch_on_data});
    REFUSE("out", .out = {.input = "x", .input_len = 1, .on_data = watch_on_data});
    REFUSE("in", .in = {.on_data = watch_on_data});
    REFUSE("out", .out = {.kind = BROOD_STDIO_PIPE, .on_drain = watch_on_drain, .on_data = watch_on_data});
}

TEST(options_input_without_bytes) {
    REFUSE("in", .in = {.kind = BROOD_STDIO_PIPE, .input_len = 5});
}

TEST(options_reserved_fields_must_be_zero) {
    REFUSE("reserved", .reserved = {1});
    REFUSE("out", .out = {.kind = BROOD_STDIO_IGNORE, .reserved = {0, 0, 0, 1}});
}

TEST(options_environment_entry_without_a_name) {
    brood_failure why;
    int r = brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD), .env = BROOD_ARGS("=x")}, NULL, &why);
    CHECK(r == 0 || r == -EINVAL);
    r = brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD), .env = BROOD_ARGS("")}, NULL, &why);
    CHECK(r == 0 || r == -EINVAL);
    RUN();
}

TEST(options_for_exec_name_no_program) {
    int *count = NEW(int);
    const brood_options wrong[] = {{.args = BROOD_ARGS("x")},
                                   {.file = "x"},
                                   {.own = BROOD_OWN_NONE, .timeout_ms = 5},
                                   {.out = {.kind = BROOD_STDIO_FILE}},
                                   {.in = {.on_data = watch_on_data}}};
    int answered = 0;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) { /* refused at once, or answered: NOT_STARTED */
        int r = brood_exec(t->loop, "true", &wrong[i], on_result, count, NULL);
        CHECK(r == 0 || r == -EINVAL);
        answered += r == 0;
        brood_result *waiting = result_new();
        CHECK_EQ(brood_exec_sync("true", &wrong[i], waiting), -EINVAL);
        CHECK_EQ(waiting->failure.step, BROOD_STEP_OPTIONS);
    }
    RUN();
    CHECK_EQ(*count, answered);
}

TEST(options_missing_altogether) {
    brood_failure why = {0};
    CHECK_EQ(brood_spawn_sized(t->loop, NULL, sizeof(brood_options), NULL, &why), -EINVAL);
    CHECK_EQ(brood_spawn_sized(NULL, &(brood_options){.args = BROOD_ARGS("true")}, sizeof(brood_options), NULL, &why),
             -EINVAL);
    CHECK_EQ(why.step, BROOD_STEP_OPTIONS);
    brood_result *waiting = result_new();
    CHECK_EQ(brood_spawn_sync_sized(NULL, sizeof(brood_options), waiting, sizeof *waiting), -EINVAL);
}

/* A program of tomorrow, with a longer struct: fine as long as it asks for nothing that this library does not know. */
TEST(options_of_a_later_version) {
    struct {
        brood_options options;
        char more[64];
    } later;
    memset(&later, 0, sizeof later);
    later.options.args = BROOD_ARGS(CHILD, "exit", "0");
    CHECK_EQ(brood_spawn_sized(t->loop, &later.options, sizeof later, NULL, NULL), 0);
    RUN();
    later.more[60] = 1;
    brood_failure why = {0};
    int r = brood_spawn_sized(t->loop, &later.options, sizeof later, NULL, &why);
    CHECK(r == -EINVAL || r == -E2BIG || r == -ENOTSUP);
    CHECK_EQ(why.step, BROOD_STEP_OPTIONS);
}

/* A program of today and a library of tomorrow, the other way round: less is read, and less is written. */
TEST(result_of_an_earlier_version_is_not_overrun) {
    struct {
        char bytes[sizeof(brood_result) - sizeof(uint64_t) * 8];
        char guard[64];
    } earlier;
    memset(&earlier, 0x55, sizeof earlier);
    int r = brood_exec_sync_sized("echo x", NULL, 0, (brood_result *)(void *)earlier.bytes, sizeof earlier.bytes);
    for (size_t i = 0; i < sizeof earlier.guard; i++)
        CHECK_EQ(earlier.guard[i], 0x55);
    if (r == 0) {
        brood_result whole = {0};
        memcpy(&whole, earlier.bytes, sizeof earlier.bytes);
        CHECK_STR(whole.out.bytes, "x\n");
        brood_result_done(&whole);
    }
}
