/*
 * The harness's tests of itself: hidden tests that do wrong on purpose are run by name in a runner of their own, and
 * what it says is compared. A checker that never fails proves nothing.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>

TEST_WITH(selftest_leaves_a_descriptor, TEST_HIDDEN) {
    CHECK(open("/dev/zero", O_RDONLY | O_CLOEXEC) >= 0);
}

TEST_WITH(selftest_closes_a_descriptor, TEST_HIDDEN) {
    close(0);
}

TEST_WITH(selftest_leaves_a_zombie, TEST_HIDDEN) {
    pid_t pid = fork();
    if (pid == 0)
        _exit(3);
    siginfo_t info;
    CHECK_EQ(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
}

TEST_WITH(selftest_leaves_a_child, TEST_HIDDEN) {
    if (fork() == 0) {
        alarm(30);
        pause();
        _exit(0);
    }
}

TEST_WITH(selftest_leaves_a_grandchild, TEST_HIDDEN) {
    pid_t pid = fork();
    if (pid == 0) {
        if (fork() == 0) {
            alarm(30);
            pause();
        }
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, NULL, 0), pid);
}

TEST_WITH(selftest_leaves_a_handle, TEST_HIDDEN) {
    uv_timer_t *timer = NEW(uv_timer_t);
    uv_timer_init(t->loop, timer);
}

TEST_WITH(selftest_fails_a_check, TEST_HIDDEN) {
    CHECK_EQ(1 + 1, 3);
}

TEST_WITH(selftest_crashes, TEST_HIDDEN) {
    raise(SIGKILL); /* no crash that a sanitizer would tell in its own way */
}

TEST_WITH(selftest_hangs, TEST_HIDDEN) {
    for (;;)
        pause();
}

TEST_WITH(selftest_skips, TEST_HIDDEN) {
    SKIP("because it can");
}

TEST_WITH(selftest_passes, TEST_HIDDEN) {
    DEFER(free, strdup("given back"));
    test_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    CHECK_STR(test_read_file("/no/such/file"), "");
}

/* what the runner says of a hidden test, and its status */
static const char *run_hidden(const char *name, int *ret_status) {
    char self[PATH_MAX], command[PATH_MAX + 100];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    self[len > 0 ? len : 0] = 0;
    snprintf(command, sizeof command, "'%s' %s 2>&1", self, name);
    FILE *output = popen(command, "re");
    char *text = test_alloc(4096);
    ENSURE(output);
    size_t got = fread(text, 1, 4095, output);
    text[got] = 0;
    int status = pclose(output);
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return text;
}

TEST(selftest_names_what_is_left_behind) {
    static const struct {
        const char *name, *said;
    } wrong[] = {
        {"selftest_leaves_a_descriptor", "/dev/zero"},
        {"selftest_closes_a_descriptor", "descriptor 0: was /dev/null, and is closed"},
        {"selftest_leaves_a_zombie", "zombie"},
        {"selftest_leaves_a_child", "left behind: child"},
        {"selftest_leaves_a_grandchild", "left behind: process"},
        {"selftest_leaves_a_handle", "handle timer"},
        {"selftest_fails_a_check", "1 + 1 == 3: 2 and 3"},
        {"selftest_crashes", "killed by signal 9"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int status;
        const char *said = run_hidden(wrong[i].name, &status);
        CHECK_HAS(said, wrong[i].said);
        CHECK_EQ(status, 1);
    }
}

TEST(selftest_tells_passed_from_skipped) {
    int status;
    run_hidden("selftest_passes", &status);
    CHECK_EQ(status, 0);
    CHECK_HAS(run_hidden("selftest_skips", &status), "because it can");
    CHECK_EQ(status, 77);
}

TEST(selftest_ends_what_hangs) {
    int status;
    setenv("BROOD_TEST_DEADLINE_MS", "300", 1);
    CHECK_HAS(run_hidden("selftest_hangs", &status), "deadline");
    CHECK_EQ(status, 1);
}
