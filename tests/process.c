/* src/process and src/base in words: signal names, reasons, statuses, quoting, the version. None of it needs a loop. */
#include "harness/watch.h"

#include <stdio.h>

TEST(version_is_three_numbers) {
    int major, minor, patch, end = 0;
    CHECK_EQ(sscanf(brood_version(), "%d.%d.%d%n", &major, &minor, &patch, &end), 3);
    CHECK_EQ(brood_version()[end], 0);
}

TEST(step_text_has_a_word_for_each_step) {
    for (int step = BROOD_STEP_OPTIONS; step <= BROOD_STEP_ABORTED; step++) {
        CHECK(brood_step_text((brood_step)step));
        CHECK(*brood_step_text((brood_step)step));
    }
    CHECK_STR(brood_step_text(BROOD_STEP_CWD), "chdir");
    CHECK_STR(brood_step_text(BROOD_STEP_EXEC), "exec");
    CHECK(brood_step_text((brood_step)9999));
}

TEST(reason_text_has_a_word_for_each_reason) {
    CHECK_STR(brood_reason_text(BROOD_REASON_EXITED), "exited");
    CHECK_STR(brood_reason_text(BROOD_REASON_TIMED_OUT), "timed out");
    CHECK_STR(brood_reason_text(BROOD_REASON_UNKNOWN), "unknown");
    for (int reason = 0; reason <= BROOD_REASON_NOT_STARTED; reason++)
        for (int other = 0; other < reason; other++)
            CHECK(strcmp(brood_reason_text((brood_reason)reason), brood_reason_text((brood_reason)other)) != 0);
    CHECK(brood_reason_text((brood_reason)9999));
}

TEST(exit_status_is_what_a_shell_would_say) {
    static const struct {
        brood_exit ended;
        int status;
    } cases[] = {
        {{.reason = BROOD_REASON_EXITED, .code = 0}, 0},
        {{.reason = BROOD_REASON_EXITED, .code = 255}, 255},
        {{.reason = BROOD_REASON_SIGNALED, .code = -1, .signal = SIGKILL}, 137},
        {{.reason = BROOD_REASON_ABORTED, .code = -1, .signal = SIGTERM}, 143},
        {{.reason = BROOD_REASON_TIMED_OUT, .code = -1, .signal = SIGTERM}, 124},
        {{.reason = BROOD_REASON_TIMED_OUT, .code = 3}, 124},
        {{.reason = BROOD_REASON_OUTPUT_LIMIT, .code = 0}, 125},
        {{.reason = BROOD_REASON_OUTPUT_LIMIT, .code = 3}, 3},
        {{.reason = BROOD_REASON_HOST_MEMORY, .code = 0}, 125},
        {{.reason = BROOD_REASON_UNKNOWN, .code = -1}, 125},
        {{.reason = BROOD_REASON_NOT_STARTED, .code = -1}, 125},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_EQ(brood_exit_status(&cases[i].ended), cases[i].status);
}

TEST(exit_ok_means_exited_with_zero_and_nothing_else) {
    CHECK(brood_exit_ok(&(brood_exit){.reason = BROOD_REASON_EXITED}));
    CHECK(!brood_exit_ok(&(brood_exit){.reason = BROOD_REASON_EXITED, .code = 1}));
    CHECK(!brood_exit_ok(&(brood_exit){.reason = BROOD_REASON_UNKNOWN}));
    CHECK(!brood_exit_ok(&(brood_exit){.reason = BROOD_REASON_TIMED_OUT}));
    CHECK(!brood_exit_ok(&(brood_exit){0}));
}

TEST(signal_name_and_number_are_each_others_inverse) {
    for (int number = 1; number < 32; number++) {
        CHECK(brood_signal_name(number));
        CHECK_EQ(brood_signal_number(brood_signal_name(number)), number);
    }
    for (int number = SIGRTMIN; number <= SIGRTMAX; number++) {
        CHECK(brood_signal_name(number));
        CHECK_EQ(brood_signal_number(brood_signal_name(number)), number);
    }
}

TEST(signal_name_is_null_for_what_is_no_signal) {
    CHECK(!brood_signal_name(0));
    CHECK(!brood_signal_name(-1));
    CHECK(!brood_signal_name(65));
    CHECK(!brood_signal_name(32));
    CHECK(!brood_signal_name(INT32_MAX));
    CHECK(!brood_signal_name(INT32_MIN));
    CHECK_STR(brood_signal_name(SIGTERM), "SIGTERM");
    CHECK_STR(brood_signal_name(SIGRTMIN + 2), "SIGRTMIN+2");
}

TEST(signal_number_reads_every_spelling) {
    CHECK_EQ(brood_signal_number("SIGTERM"), SIGTERM);
    CHECK_EQ(brood_signal_number("TERM"), SIGTERM);
    CHECK_EQ(brood_signal_number("term"), SIGTERM);
    CHECK_EQ(brood_signal_number("sigterm"), SIGTERM);
    CHECK_EQ(brood_signal_number("15"), SIGTERM);
    CHECK_EQ(brood_signal_number("9"), SIGKILL);
    CHECK_EQ(brood_signal_number("SIGRTMIN"), SIGRTMIN);
    CHECK_EQ(brood_signal_number("SIGRTMIN+2"), SIGRTMIN + 2);
    CHECK_EQ(brood_signal_number("RTMAX"), SIGRTMAX);
    CHECK_EQ(brood_signal_number("RTMAX-1"), SIGRTMAX - 1);
    CHECK_EQ(brood_signal_number("rtmin+1"), SIGRTMIN + 1);
    CHECK_EQ(brood_signal_number("CHLD"), SIGCHLD);
}

TEST(signal_number_refuses_what_is_none) {
    static const char *const wrong[] = {
        "",        "SIG",     "TERMS",        "SIGSIGTERM", "0",
        "-1",      "65",      "999999999999", "15x",        " 15",
        "15 ",     "1e1",     "SIGNULL",      "RTMIN+31",   "RTMAX-31",
        "RTMIN-1", "RTMAX+1", "RTMIN+",       "RTMIN+x",    "SIGRTMIN+99999999999",
        "TERM\n",  "+9",      "0x9",          "SIG15",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (brood_signal_number(wrong[i]) != -EINVAL)
            test_fail(__FILE__, __LINE__, "brood_signal_number(\"%s\") is %d", wrong[i], brood_signal_number(wrong[i]));
    CHECK_EQ(brood_signal_number(NULL), -EINVAL);
}

static const char *quoted(const char *const *args) {
    size_t len = brood_quote(args, NULL, 0);
    char *text = test_alloc(len + 1);
    ENSURE(brood_quote(args, text, len + 1) == len);
    ENSURE(strlen(text) == len);
    return text;
}

TEST(quote_leaves_harmless_words_as_they_are) {
    CHECK_STR(quoted(BROOD_ARGS("ls", "-la", "/usr/bin", "a_b-c.d:e,f=g@h%i+j")),
              "ls -la /usr/bin a_b-c.d:e,f=g@h%i+j");
    CHECK_STR(quoted(BROOD_ARGS("grep", "x; rm -rf /", "notes.txt")), "grep 'x; rm -rf /' notes.txt");
    CHECK_STR(quoted(BROOD_ARGS("printf", "a\nb")), "printf $'a\\nb'");
    CHECK_STR(quoted((const char *const[]){NULL}), "");
    CHECK_STR(quoted(BROOD_ARGS("echo", "")), "echo ''");
}

TEST(quote_cuts_like_snprintf) {
    const char *const *args = BROOD_ARGS("program", "with some words", "and more");
    size_t whole = brood_quote(args, NULL, 0);
    char *full = test_alloc(whole + 1);
    brood_quote(args, full, whole + 1);
    for (size_t size = 1; size <= whole; size++) {
        char *text = test_alloc(size + 1);
        memset(text, 'X', size + 1);
        CHECK_EQ(brood_quote(args, text, size), whole);
        CHECK_EQ(text[size], 'X');
        CHECK_EQ(strlen(text), size - 1);
        if (size > 4) {
            CHECK_STR(text + size - 4, "...");
            CHECK(strncmp(text, full, size - 4) == 0);
        }
    }
}

/* What a shell makes of the quoted words: exactly the words. */
static void round_trip(test *t, const char *shell, const char *const *args, size_t count) {
    const char *words[10] = {CHILD, "args0"};
    for (size_t i = 0; i < count; i++)
        words[2 + i] = args[i];
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_sync(quoted(words), &(brood_options){.shell = shell}, r), 0);
    CHECK(brood_exit_ok(&r->exit));
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        CHECK_LE(at + strlen(args[i]) + 1, r->out.len);
        CHECK_STR(r->out.bytes + at, args[i]);
        at += strlen(args[i]) + 1;
    }
    CHECK_EQ(r->out.len, at);
    (void)t;
}

static const char *bytes_from(int first, int last) {
    char *text = test_alloc(260);
    for (int byte = first; byte <= last; byte++)
        text[byte - first] = (char)byte;
    return text;
}

TEST(quote_survives_the_shell_for_all_printable_bytes) {
    const char *args[] = {bytes_from(0x20, 0x7e), bytes_from(0x80, 0xff), "", "'", "''", "a'b'c"};
    round_trip(t, NULL, args, 6);
    const char *more[] = {"$HOME `id` $(id) ${x}", "~", "*", "!!", "\\", "-n"};
    round_trip(t, NULL, more, 6);
}

/* $'...' is of POSIX.1-2024: bash knows it, an older sh may not */
TEST(quote_survives_a_shell_of_posix_2024_for_all_bytes) {
    if (access("/bin/bash", X_OK) < 0)
        SKIP("no /bin/bash");
    const char *args[] = {bytes_from(1, 255),
                          "\n",
                          "a\tb'c\\d\n\x01"
                          "1",
                          "\x7f"
                          "7",
                          "\x1b[0m",
                          "\x01"
                          "f"};
    round_trip(t, "/bin/bash", args, 6);
    for (int byte = 1; byte < 256; byte += 6) { /* each alone, too */
        const char *alone[6];
        for (int i = 0; i < 6; i++)
            alone[i] = bytes_from((byte + i) & 255, (byte + i) & 255);
        round_trip(t, "/bin/bash", alone, 6);
    }
}
