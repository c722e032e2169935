/*
 * Starting programs: which program, with what arguments, environment and directory, as whom, under which limits; and
 * what a start that fails says. What a child's slots are connected to is in slots.c.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* --- which program --- */

TEST_TORTURE(spawn_runs_a_program) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "hello", "exit", "7"));
    CHECK_STR(w->out.bytes, "hello\n");
    CHECK_EQ(w->ended.code, 7);
    CHECK_EQ(w->ended.signal, 0);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    CHECK_EQ(w->ended.pid, w->pid);
    CHECK(before(w->log, "spawn", "data"));
    CHECK(before(w->log, "data", "end"));
    CHECK(before(w->log, "end", "close"));
    CHECK(before(w->log, "exit", "close"));
}

TEST(spawn_passes_arguments_as_they_are) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "args", "", "x; rm -rf /", "$(id) `id` *", "\xff\xfe", "-"));
    CHECK_STR(w->out.bytes, test_format("%s\nargs\n\nx; rm -rf /\n$(id) `id` *\n\xff\xfe\n-\n", CHILD));
}

TEST(spawn_file_runs_one_program_under_the_name_of_another) {
    RUN_CHILD(w, .file = CHILD, .args = BROOD_ARGS("-another name", "args"));
    CHECK_STR(w->out.bytes, "-another name\nargs\n");
}

static const char *link_to_child(test *t, const char *directory, const char *name) {
    const char *path = test_path(t, test_format("%s/%s", directory, name));
    mkdir(test_path(t, directory), 0755);
    ENSURE(symlink(CHILD, path) == 0);
    return path;
}

TEST_TORTURE(spawn_searches_the_path_of_the_child) {
    link_to_child(t, "bin", "brood-tool");
    const char *path = test_format("PATH=/no/such:%s", test_path(t, "bin"));
    RUN_CHILD(w, .args = BROOD_ARGS("brood-tool", "print", "found"), .env = (const char *const[]){path, NULL});
    CHECK_STR(w->out.bytes, "found\n");
}

TEST(spawn_does_not_search_the_path_of_the_host) {
    link_to_child(t, "bin", "brood-tool");
    CHECK_EQ(setenv("PATH", test_path(t, "bin"), 1), 0);
    RUN_CHILD(w, .args = BROOD_ARGS("brood-tool", "print", "found"));
    CHECK_STR(w->out.bytes, "found\n");

    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("brood-tool"), .env = BROOD_ARGS("PATH=/no")}),
             -ENOENT);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    CHECK_STR(why.subject, "brood-tool");
}

TEST(spawn_without_a_path_searches_the_systems_directories) {
    RUN_CHILD(w, .args = BROOD_ARGS("true"), .env = BROOD_ARGS("PATH"));
    CHECK(brood_exit_ok(&w->ended));
    RUN_CHILD(again, .args = BROOD_ARGS("true"), .env_mode = BROOD_ENV_CLEAR);
    CHECK(brood_exit_ok(&again->ended));
}

TEST(spawn_takes_an_empty_element_of_path_for_the_directory) {
    link_to_child(t, "bin", "brood-tool");
    const char *const paths[] = {"PATH=", "PATH=/no/such:", "PATH=:/no/such", "PATH=/no/such::/nor/such"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        RUN_CHILD(w, .args = BROOD_ARGS("brood-tool", "print", "found"), .cwd = test_path(t, "bin"),
                  .env = (const char *const[]){paths[i], NULL});
        CHECK_STR(w->out.bytes, "found\n");
    }
}

TEST(spawn_searches_on_after_what_it_may_not_run) {
    mkdir(test_path(t, "a"), 0755);
    mkdir(test_path(t, "b"), 0755);
    test_write_file(test_path(t, "a/brood-tool"), "no", 2, 0644);
    mkdir(test_path(t, "b/brood-tool"), 0755);
    test_write_file(test_path(t, "file"), "no", 2, 0644);
    link_to_child(t, "c", "brood-tool");
    const char *path =
        test_format("PATH=%s:%s:%s:%s", test_path(t, "a"), test_path(t, "b"), test_path(t, "file"), test_path(t, "c"));
    RUN_CHILD(w, .args = BROOD_ARGS("brood-tool", "print", "found"), .env = (const char *const[]){path, NULL});
    CHECK_STR(w->out.bytes, "found\n");

    brood_failure why; /* and remembers that there was one */
    path = test_format("PATH=%s:/no/such", test_path(t, "a"));
    CHECK_EQ(watch_refused(
                 t, &why, &(brood_options){.args = BROOD_ARGS("brood-tool"), .env = (const char *const[]){path, NULL}}),
             -EACCES);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
}

TEST(spawn_takes_a_name_with_a_slash_for_a_path) {
    link_to_child(t, "bin", "brood-tool");
    RUN_CHILD(w, .args = BROOD_ARGS("bin/brood-tool", "print", "found"), .cwd = t->tmp);
    CHECK_STR(w->out.bytes, "found\n");
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("./sh")}), -ENOENT);
}

TEST_TORTURE(spawn_reports_a_missing_program) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why,
                           &(brood_options){.args = BROOD_ARGS("/no/such", "x"), .out = {.kind = BROOD_STDIO_PIPE}}),
             -ENOENT);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    CHECK_STR(why.subject, "/no/such");
    CHECK_STR(why.message, "exec \"/no/such\": No such file or directory");
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("no-such-program-anywhere")}), -ENOENT);
    CHECK_STR(why.subject, "no-such-program-anywhere");
}

TEST(spawn_failure_is_told_in_one_line) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("/no/such\nprogram\033[31m\r")}), -ENOENT);
    for (const char *c = why.message; *c; c++)
        CHECK_GE((unsigned char)*c, 0x20);
}

TEST(spawn_reports_what_is_no_program) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(t->tmp)}), -EACCES);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    const char *file = test_path(t, "file");
    test_write_file(file, "#!/bin/sh\n", 10, 0644);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(file)}), -EACCES);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    CHECK_STR(why.subject, file);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(test_format("%s/below", file))}), -ENOTDIR);
    CHECK_EQ(symlink("loop", test_path(t, "loop")), 0);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(test_path(t, "loop"))}), -ELOOP);
}

TEST(spawn_reports_a_missing_interpreter) {
    if (test_is_emulated())
        SKIP("it cannot report an exec that fails late");
    const char *file = test_path(t, "script");
    test_write_file(file, "#!/no/such/interpreter\n", 23, 0755);
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(file)}), -ENOENT);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    CHECK_STR(why.subject, file);
}

TEST(spawn_runs_a_script_without_an_interpreter_by_sh) {
    static const char script[] = "echo \"$0:$1:$2:$#\"\n";
    const char *file = test_path(t, "brood-script");
    test_write_file(file, script, sizeof script - 1, 0755);
    RUN_CHILD(w, .args = BROOD_ARGS(file, "a b", "", "c"));
    CHECK_STR(w->out.bytes, test_format("%s:a b::3\n", file));
    const char *path = test_format("PATH=%s:/bin", t->tmp);
    RUN_CHILD(by_path, .args = BROOD_ARGS("brood-script", "1", "2"), .env = (const char *const[]){path, NULL});
    CHECK_STR(by_path->out.bytes, test_format("%s:1:2:2\n", file));
    const char *empty = test_path(t, "empty");
    test_write_file(empty, "", 0, 0755);
    RUN_CHILD(nothing, .args = BROOD_ARGS(empty));
    CHECK(brood_exit_ok(&nothing->ended));
}

TEST(spawn_reports_a_program_that_is_being_written) {
    if (test_is_emulated())
        SKIP("it cannot report an exec that fails late");
    const char *file = test_child_for_everybody(t);
    int fd = test_fd(open(file, O_WRONLY | O_CLOEXEC));
    CHECK(fd >= 0);
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(file)}), -ETXTBSY);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    CHECK_STR(why.subject, file);
}

TEST(spawn_runs_what_was_written_a_moment_ago) {
    for (int i = 0; i < 20; i++) { /* a child of before may have had the file open, until it exec'd */
        const char *file = test_path(t, test_format("script%d", i));
        test_write_file(file, "#!/bin/sh\nexit 3\n", 17, 0755);
        watch *w = watch_new();
        START(w, .args = BROOD_ARGS(CHILD, "exit", "0"));
        RUN_CHILD(script, .args = BROOD_ARGS(file));
        CHECK_EQ(script->ended.code, 3);
    }
}

TEST(spawn_reports_too_many_arguments) {
    if (test_is_emulated())
        SKIP("it cannot report an exec that fails late");
    size_t len = 256 * 1024;
    char *big = test_alloc(len + 1);
    memset(big, 'x', len);
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD, "args", big)}), -E2BIG);
    CHECK_EQ(why.step, BROOD_STEP_EXEC);
    char *entry = test_alloc(len + 10);
    sprintf(entry, "BIG=%s", big);
    CHECK_EQ(
        watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .env = (const char *const[]){entry, NULL}}),
        -E2BIG);
    int r = watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(big)});
    CHECK(r == -ENAMETOOLONG || r == -ENOENT);
    CHECK_LT(strlen(why.subject), sizeof why.subject);
    CHECK_STR(why.subject + strlen(why.subject) - 3, "...");
}

TEST(spawn_passes_many_arguments) {
    enum { COUNT = 5000 };
    const char **args = NEW_ARRAY(const char *, COUNT + 3);
    args[0] = CHILD;
    args[1] = "args";
    for (int i = 0; i < COUNT; i++)
        args[i + 2] = "an argument";
    RUN_CHILD(w, .args = args);
    CHECK_EQ(w->out.len, strlen(CHILD) + 1 + 5 + COUNT * 12);
}

TEST(spawn_refuses_empty_and_missing_programs) {
    brood_failure why;
    int r = watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("")});
    CHECK(r == -ENOENT || r == -EINVAL);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){0}), -EINVAL);
    CHECK_EQ(why.step, BROOD_STEP_OPTIONS);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = (const char *const[]){NULL}}), -EINVAL);
    CHECK_EQ(why.step, BROOD_STEP_OPTIONS);
    r = watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .cwd = ""});
    CHECK(r == -ENOENT || r == -EINVAL);
    CHECK(why.step == BROOD_STEP_CWD || why.step == BROOD_STEP_OPTIONS);
    r = watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("x"), .file = ""});
    CHECK(r == -ENOENT || r == -EINVAL);
}

TEST(spawn_failure_may_be_null) {
    CHECK_EQ(brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS("/no/such")}, NULL, NULL), -ENOENT);
    brood_failure why = {0};
    CHECK_EQ(brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD)}, NULL, &why), 0);
    CHECK_EQ(why.code, 0);
    RUN();
}

/* --- environment --- */

TEST(env_is_the_hosts_by_default) {
    setenv("BROOD_TEST_ONE", "1 = one", 1);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "getenv", "BROOD_TEST_ONE"));
    CHECK_STR(w->out.bytes, "1 = one\n");
    RUN_CHILD(explicitly, .args = BROOD_ARGS(CHILD, "getenv", "BROOD_TEST_ONE"), .env_mode = BROOD_ENV_INHERIT);
    CHECK_STR(explicitly->out.bytes, "1 = one\n");
}

static int count_lines(const char *bytes, const char *start) {
    int count = 0;
    for (const char *line = bytes; line && *line; line = strchr(line, '\n'), line += line != NULL)
        count += strncmp(line, start, strlen(start)) == 0;
    return count;
}

TEST_TORTURE(env_extends_the_hosts) {
    setenv("BROOD_TEST_KEPT", "kept", 1);
    setenv("BROOD_TEST_CHANGED", "old", 1);
    setenv("BROOD_TEST_GONE", "gone", 1);
    setenv("BROOD_TEST_GONE_NOT", "stays", 1);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "env"),
              .env =
                  BROOD_ARGS("BROOD_TEST_CHANGED=new", "BROOD_TEST_GONE", "BROOD_TEST_ADDED=a=b",
                             "BROOD_TEST_EMPTY=", "BROOD_TEST_NEVER_WAS", "BROOD_TEST_TWICE=1", "BROOD_TEST_TWICE=2"));
    CHECK_HAS(w->out.bytes, "BROOD_TEST_KEPT=kept\n");
    CHECK_HAS(w->out.bytes, "BROOD_TEST_CHANGED=new\n");
    CHECK_HAS(w->out.bytes, "BROOD_TEST_ADDED=a=b\n");
    CHECK_HAS(w->out.bytes, "BROOD_TEST_EMPTY=\n");
    CHECK_HAS(w->out.bytes, "BROOD_TEST_GONE_NOT=stays\n");
    CHECK_HAS(w->out.bytes, "BROOD_TEST_TWICE=2\n");
    CHECK_EQ(count_lines(w->out.bytes, "BROOD_TEST_TWICE="), 1);
    CHECK_EQ(count_lines(w->out.bytes, "BROOD_TEST_CHANGED="), 1);
    CHECK_EQ(count_lines(w->out.bytes, "BROOD_TEST_GONE="), 0);
    CHECK_EQ(count_lines(w->out.bytes, "BROOD_TEST_NEVER_WAS"), 0);
    CHECK_STR(getenv("BROOD_TEST_CHANGED"), "old");
}

TEST(env_extends_explicitly) {
    setenv("BROOD_TEST_KEPT", "kept", 1);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "env"), .env = BROOD_ARGS("A=1"), .env_mode = BROOD_ENV_EXTEND);
    CHECK_HAS(w->out.bytes, "BROOD_TEST_KEPT=kept\n");
    CHECK_HAS(w->out.bytes, "A=1\n");
}

TEST(env_replaces_the_hosts) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "env"), .env = BROOD_ARGS("B=2", "A=1"), .env_mode = BROOD_ENV_REPLACE);
    CHECK_STR(w->out.bytes, "B=2\nA=1\n");
    RUN_CHILD(empty, .args = BROOD_ARGS(CHILD, "env"), .env = (const char *const[]){NULL},
              .env_mode = BROOD_ENV_REPLACE);
    CHECK_STR(empty->out.bytes, "");
}

TEST(env_is_cleared) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "env"), .env_mode = BROOD_ENV_CLEAR);
    CHECK_STR(w->out.bytes, "");
}

TEST(env_of_a_host_without_any) {
    CHILD;
    clearenv();
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "env"));
    CHECK_STR(w->out.bytes, "");
    RUN_CHILD(extended, .args = BROOD_ARGS(CHILD, "env"), .env = BROOD_ARGS("A=1", "B"));
    CHECK_STR(extended->out.bytes, "A=1\n");
}

/* --- directory --- */

TEST_TORTURE(cwd_is_by_path_or_by_descriptor) {
    char real[PATH_MAX];
    CHECK(realpath(t->tmp, real));
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "cwd"), .cwd = t->tmp);
    CHECK_STR(w->out.bytes, test_format("%s\n", real));
    int fd = test_fd(open(t->tmp, O_PATH | O_DIRECTORY | O_CLOEXEC));
    RUN_CHILD(by_fd, .args = BROOD_ARGS(CHILD, "cwd"), .cwd_by_fd = true, .cwd_fd = fd);
    CHECK_STR(by_fd->out.bytes, test_format("%s\n", real));
}

TEST(cwd_of_the_host_stays) {
    char was[PATH_MAX], is[PATH_MAX];
    CHECK(getcwd(was, sizeof was));
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "cwd"), .cwd = t->tmp);
    RUN_CHILD(own, .args = BROOD_ARGS(CHILD, "cwd"));
    CHECK_STR(own->out.bytes, test_format("%s\n", was));
    CHECK(getcwd(is, sizeof is));
    CHECK_STR(is, was);
}

TEST_TORTURE(cwd_that_is_missing_is_not_a_missing_program) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .cwd = "/no/such"}), -ENOENT);
    CHECK_EQ(why.step, BROOD_STEP_CWD);
    CHECK_STR(why.subject, "/no/such");
    CHECK_STR(why.message, "chdir \"/no/such\": No such file or directory");
}

TEST(cwd_that_is_no_directory) {
    const char *file = test_path(t, "file");
    test_write_file(file, "", 0, 0644);
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .cwd = file}), -ENOTDIR);
    CHECK_EQ(why.step, BROOD_STEP_CWD);
    int fd = test_fd(open(file, O_RDONLY | O_CLOEXEC));
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .cwd_by_fd = true, .cwd_fd = fd}),
             -ENOTDIR);
    CHECK_EQ(why.step, BROOD_STEP_CWD);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .cwd_by_fd = true, .cwd_fd = 876}),
             -EBADF);
    CHECK(why.step == BROOD_STEP_CWD || why.step == BROOD_STEP_OPTIONS);
}

/* the directory's descriptor has the number of a slot that is filled before the child changes to it */
TEST(cwd_by_a_descriptor_that_is_also_a_slot) {
    char real[PATH_MAX];
    CHECK(realpath(t->tmp, real));
    int dir = open(t->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK_EQ(dup3(dir, 40, O_CLOEXEC), 40);
    close(dir);
    test_fd(40);
    brood_slot slot = {.slot = 40, .io = {.kind = BROOD_STDIO_IGNORE}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "cwd", "stat", "40"), .cwd_by_fd = true, .cwd_fd = 40, .slots = &slot,
              .slot_count = 1);
    CHECK_HAS(w->out.bytes, test_format("%s\ndevice", real));
}

/* --- who --- */

static bool is_root(void) {
    return geteuid() == 0;
}

TEST(uid_gid_and_groups_are_set) {
    if (!is_root())
        SKIP("only root may change users");
    const char *child = test_child_for_everybody(t);
    RUN_CHILD(w, .args = BROOD_ARGS(child, "ids"), .set_uid = true, .uid = 12345, .set_gid = true, .gid = 23456,
              .set_groups = true, .groups = (const gid_t[]){100, 200}, .group_count = 2);
    CHECK_STR(line_of(w->out.bytes, "uid"), "12345 12345 12345");
    CHECK_STR(line_of(w->out.bytes, "gid"), "23456 23456 23456");
    CHECK_STR(line_of(w->out.bytes, "groups"), "100 200");
    CHECK_EQ(geteuid(), 0);
}

TEST(uid_alone_leaves_no_groups) {
    if (!is_root())
        SKIP("only root may change users");
    CHECK_EQ(setgroups(2, (const gid_t[]){100, 200}), 0);
    const char *child = test_child_for_everybody(t);
    RUN_CHILD(w, .args = BROOD_ARGS(child, "ids"), .set_uid = true, .uid = 12345);
    CHECK_STR(line_of(w->out.bytes, "uid"), "12345 12345 12345");
    CHECK_STR(line_of(w->out.bytes, "groups"), "");
    RUN_CHILD(gid, .args = BROOD_ARGS(child, "ids"), .set_gid = true, .gid = 23456);
    CHECK_STR(line_of(gid->out.bytes, "uid"), "0 0 0");
    CHECK_STR(line_of(gid->out.bytes, "gid"), "23456 23456 23456");
    CHECK_STR(line_of(gid->out.bytes, "groups"), "");
    RUN_CHILD(none, .args = BROOD_ARGS(child, "ids"), .set_groups = true);
    CHECK_STR(line_of(none->out.bytes, "groups"), "");
    RUN_CHILD(same, .args = BROOD_ARGS(child, "ids"));
    CHECK_STR(line_of(same->out.bytes, "groups"), "100 200");
}

TEST(groups_may_be_very_many) {
    if (!is_root())
        SKIP("only root may change users");
    enum { COUNT = 3000 };
    gid_t *groups = NEW_ARRAY(gid_t, COUNT);
    for (size_t i = 0; i < COUNT; i++)
        groups[i] = (gid_t)(1000 + i);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "ids"), .set_groups = true, .groups = groups, .group_count = COUNT);
    CHECK_HAS(w->out.bytes, " 1000 1001 ");
    CHECK_HAS(w->out.bytes, " 3998 3999\n");
}

TEST(uid_change_starts_off_the_loop) {
    if (!is_root())
        SKIP("only root may change users");
    const char *child = test_child_for_everybody(t);
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(child, "hold"), .set_uid = true, .uid = 12345, .out = WATCHED);
    RUN_UNTIL(w->out.len);
    CHECK_EQ(w->spawns, 1);
    CHECK_EQ(w->pid, brood_child_pid(w->child));
    CHECK_EQ(brood_child_kill(w->child, SIGTERM), 0);
    RUN();
    CHECK_EQ(w->ended.signal, SIGTERM);
    brood_child_close(w->child);
}

/* Who becomes another user without leave, is told at which step. */
TEST(uid_change_without_leave_is_refused) {
    if (is_root())
        CHECK(setgroups(0, NULL) == 0 && setresgid(54321, 54321, 54321) == 0 && setresuid(54321, 54321, 54321) == 0);
    prctl(PR_SET_DUMPABLE, 1);
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS("true"), .set_uid = true, .uid = 0);
    RUN();
    CHECK_STR(w->log, "error close");
    CHECK_EQ(w->failure.code, -EPERM);
    CHECK_EQ(w->failure.step, BROOD_STEP_UID);
    CHECK_EQ(w->ended.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(w->ended.code, -1);
    CHECK_EQ(w->ended.pid, 0);
    watch *groups = watch_new();
    START(groups, .args = BROOD_ARGS("true"), .set_groups = true, .groups = (const gid_t[]){0}, .group_count = 1);
    RUN();
    CHECK_EQ(groups->failure.code, -EPERM);
    CHECK_EQ(groups->failure.step, BROOD_STEP_GROUPS);
    RUN_CHILD(same, .args = BROOD_ARGS("true"), .set_uid = true, .uid = getuid()); /* what one is, one may become */
    CHECK(brood_exit_ok(&same->ended));
}

TEST(uid_that_may_not_run_the_program) {
    if (!is_root())
        SKIP("only root may change users");
    const char *child = test_child_for_everybody(t);
    CHECK_EQ(chmod(child, 0700), 0);
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(child), .set_uid = true, .uid = 12345);
    RUN();
    CHECK_STR(w->log, "error close");
    CHECK_EQ(w->failure.code, -EACCES);
    CHECK_EQ(w->failure.step, BROOD_STEP_EXEC);
    CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
}

TEST_TORTURE(uid_change_leaves_the_host_dumpable) {
    if (!is_root())
        SKIP("only root may change users");
    const char *child = test_child_for_everybody(t);
    CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
    watch *many[8];
    int count = t->brief ? 2 : 8;
    for (int i = 0; i < count; i++) {
        many[i] = watch_new();
        START(many[i], .args = BROOD_ARGS(child, "exit", "3"), .set_uid = true, .uid = 12345 + (uid_t)i);
    }
    RUN();
    for (int i = 0; i < count; i++)
        CHECK_EQ(many[i]->ended.code, 3);
    CHECK_EQ(prctl(PR_GET_DUMPABLE), 1);
    CHECK_EQ(access("/proc/self/mem", R_OK), 0);
}

TEST(uid_change_leaves_the_host_undumpable_if_it_was) {
    if (!is_root())
        SKIP("only root may change users");
    const char *child = test_child_for_everybody(t);
    prctl(PR_SET_DUMPABLE, 0);
    RUN_CHILD(w, .args = BROOD_ARGS(child, "exit", "3"), .set_uid = true, .uid = 12345);
    CHECK_EQ(prctl(PR_GET_DUMPABLE), 0);
    CHECK_EQ(w->ended.code, 3);
    prctl(PR_SET_DUMPABLE, 1);
}

TEST(umask_is_set_also_to_zero) {
    umask(027);
    RUN_CHILD(same, .args = BROOD_ARGS(CHILD, "ids"));
    CHECK_STR(line_of(same->out.bytes, "umask"), "0027");
    RUN_CHILD(zero, .args = BROOD_ARGS(CHILD, "ids"), .set_umask = true);
    CHECK_STR(line_of(zero->out.bytes, "umask"), "0000");
    RUN_CHILD(other, .args = BROOD_ARGS(CHILD, "ids"), .set_umask = true, .umask = 0137);
    CHECK_STR(line_of(other->out.bytes, "umask"), "0137");
    CHECK_EQ(umask(022), 027);
}

TEST(nice_is_added_to_the_hosts) {
    int own = getpriority(PRIO_PROCESS, 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "ids"), .nice = 5);
    CHECK_EQ(atoi(line_of(w->out.bytes, "nice")), own + 5 > 19 ? 19 : own + 5);
    RUN_CHILD(most, .args = BROOD_ARGS(CHILD, "ids"), .nice = 39);
    CHECK_EQ(atoi(line_of(most->out.bytes, "nice")), 19);
    CHECK_EQ(getpriority(PRIO_PROCESS, 0), own);
}

TEST(nice_below_needs_leave) {
    brood_failure why;
    if (is_root())
        CHECK_EQ(setresuid(54321, 54321, 54321), 0);
    prctl(PR_SET_DUMPABLE, 1);
    CHECK_EQ(setrlimit(RLIMIT_NICE, &(struct rlimit){0, 0}), 0);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("true"), .nice = -30}), -EACCES);
    CHECK_EQ(why.step, BROOD_STEP_NICE);
}

TEST_TORTURE(rlimits_are_set) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    const brood_rlimit limits[] = {
        {.resource = RLIMIT_NOFILE, .soft = 50, .hard = 60},
        {.resource = RLIMIT_CORE, .soft = 0, .hard = 0},
        {.resource = RLIMIT_FSIZE, .soft = 1000000, .hard = UINT64_MAX},
    };
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "limits"), .rlimits = limits, .rlimit_count = 3);
    CHECK_STR(line_of(w->out.bytes, "nofile"), "50 60");
    CHECK_STR(line_of(w->out.bytes, "core"), "0 0");
    CHECK_STR(line_of(w->out.bytes, "fsize"), "1000000 -1");
    struct rlimit own;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &own), 0);
    CHECK_NE(own.rlim_cur, 50);
}

TEST(rlimits_below_the_slots_do_not_hinder_them) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    const brood_rlimit none = {.resource = RLIMIT_NOFILE, .soft = 0, .hard = 0};
    brood_slot slot = {.slot = 20, .io = WATCHED};
    watch *w = watch_new();
    slot.io.data = w;
    START(w, .args = BROOD_ARGS(CHILD, "write", "20", "high"), .rlimits = &none, .rlimit_count = 1, .slots = &slot,
          .slot_count = 1);
    RUN();
    CHECK_STR(w->out.bytes, "high");
}

TEST(rlimits_that_are_none) {
    brood_failure why;
    const brood_rlimit no_such = {.resource = 9999};
    CHECK_EQ(
        watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .rlimits = &no_such, .rlimit_count = 1}),
        -EINVAL);
    CHECK(why.step == BROOD_STEP_LIMIT || why.step == BROOD_STEP_OPTIONS);
    const brood_rlimit crossed = {.resource = RLIMIT_NOFILE, .soft = 20, .hard = 10};
    CHECK_EQ(
        watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .rlimits = &crossed, .rlimit_count = 1}),
        -EINVAL);
    CHECK(why.step == BROOD_STEP_LIMIT || why.step == BROOD_STEP_OPTIONS);
}

TEST(no_new_privs_is_set) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "ids"), .no_new_privs = true);
    CHECK_STR(line_of(w->out.bytes, "no_new_privs"), "1");
}

TEST(detached_is_a_session_of_its_own) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "session"), .detached = true);
    const char *pid = test_format("%d", (int)w->pid);
    CHECK_STR(line_of(w->out.bytes, "pid"), pid);
    CHECK_STR(line_of(w->out.bytes, "sid"), pid);
    CHECK_STR(line_of(w->out.bytes, "pgid"), pid);
    CHECK_STR(line_of(w->out.bytes, "tty"), "none");
}

TEST(group_is_the_hosts_unless_owned) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "session"));
    CHECK_STR(line_of(w->out.bytes, "pgid"), test_format("%d", (int)getpgrp()));
    RUN_CHILD(group, .args = BROOD_ARGS(CHILD, "session"), .own = BROOD_OWN_GROUP);
    CHECK_STR(line_of(group->out.bytes, "pgid"), test_format("%d", (int)group->pid));
    CHECK_STR(line_of(group->out.bytes, "sid"), test_format("%d", (int)getsid(0)));
}

/* --- signals --- */

static void never_called(int number) {
    (void)number;
    abort();
}

TEST(signals_are_at_their_default_in_the_child) {
    sigset_t set, was;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGRTMIN + 3, SIG_IGN);
    signal(SIGHUP, never_called);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGRTMIN + 1);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "mask"));
    CHECK_STR(line_of(w->out.bytes, "SigBlk"), "0000000000000000");
    CHECK_STR(line_of(w->out.bytes, "SigIgn"), "0000000000000000");
    CHECK_STR(line_of(w->out.bytes, "SigCgt"), "0000000000000000");
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &was), 0);
    for (int number = 1; number <= SIGRTMAX; number++)
        CHECK_EQ(sigismember(&was, number), sigismember(&set, number));
    struct sigaction now;
    CHECK_EQ(sigaction(SIGPIPE, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_IGN);
}

TEST(signals_ignored_stay_ignored_if_asked) {
    sigset_t set;
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, never_called);
    sigfillset(&set);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "mask"), .keep_ignored = true);
    CHECK_STR(line_of(w->out.bytes, "SigBlk"), "0000000000000000");
    CHECK_STR(line_of(w->out.bytes, "SigIgn"), "0000000000000003");
    CHECK_STR(line_of(w->out.bytes, "SigCgt"), "0000000000000000");
}

TEST(signals_blocked_are_as_before_after_a_start_that_failed) {
    sigset_t before_it, after;
    brood_failure why;
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &before_it), 0);
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("/no/such")}), -ENOENT);
    CHECK_EQ(pthread_sigmask(SIG_BLOCK, NULL, &after), 0);
    CHECK(memcmp(&before_it, &after, 8) == 0);
}

static volatile sig_atomic_t handled;

static void handle(int number) {
    (void)number;
    handled++;
}

/* The host's handlers must never run in the child, whose memory is the host's. */
TEST(signals_to_the_child_never_reach_the_hosts_handlers) {
    signal(SIGUSR1, handle);
    for (int i = 0; i < 50; i++) {
        RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "signal", "USR1"));
        CHECK_EQ(w->ended.signal, SIGUSR1);
    }
    CHECK_EQ(handled, 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "signal-parent", "USR1"));
    WAIT_UNTIL(handled == 1);
}

/* --- limits of the host --- */

TEST(spawn_reports_that_descriptors_are_used_up) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    struct rlimit limit, low;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    RUN_CHILD(first, .args = BROOD_ARGS(CHILD, "exit", "0")); /* whatever stays open from now on is open */
    int lowest = test_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    int refused = 0;
    for (int room = 1;; room++) {
        brood_failure why = {0};
        watch *w = watch_new();
        size_t fds = test_count_fds();
        low = (struct rlimit){(rlim_t)(lowest + room), limit.rlim_max};
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
        int r = brood_spawn(t->loop,
                            &(brood_options){.args = BROOD_ARGS(CHILD, "print", "ran"),
                                             .in = {.input = "x", .input_len = 1},
                                             .out = WATCHED,
                                             .err = WATCHED,
                                             WATCH(w)},
                            NULL, &why);
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (r == 0) {
            RUN();
            CHECK_STR(w->out.bytes, "ran\n");
            break;
        }
        refused++;
        CHECK_EQ(r, -EMFILE);
        CHECK_EQ(why.code, -EMFILE);
        CHECK(why.step != BROOD_STEP_NONE && why.step != BROOD_STEP_EXEC);
        CHECK_EQ(test_count_fds(), fds);
        CHECK_LT(room, 60);
    }
    CHECK_GE(refused, 4);
}

static void give_back_processes(void *nothing) {
    struct rlimit limit;
    (void)nothing;
    if (getrlimit(RLIMIT_NPROC, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NPROC, &limit);
    }
}

/* No process more for this user; threads count too, so the starters cannot be made either. */
static void use_up_processes(void) {
    if (is_root())
        ENSURE(setresgid(54321, 54321, 54321) == 0 && setresuid(54321, 54321, 54321) == 0);
    prctl(PR_SET_DUMPABLE, 1);
    struct rlimit limit;
    ENSURE(getrlimit(RLIMIT_NPROC, &limit) == 0);
    limit.rlim_cur = 1;
    ENSURE(setrlimit(RLIMIT_NPROC, &limit) == 0);
    DEFER(give_back_processes, NULL);
}

TEST(spawn_reports_the_process_limit) {
    brood_failure why;
    use_up_processes();
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS("true"), .out = {.kind = BROOD_STDIO_PIPE}}),
             -EAGAIN);
    CHECK_EQ(why.step, BROOD_STEP_CLONE);
    CHECK(*why.message);
}

TEST(exec_reports_the_process_limit) {
    use_up_processes();
    answer *a = answer_new();
    CHECK_EQ(brood_exec(t->loop, "true", NULL, answer_on_result, a, NULL), 0);
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_EQ(a->result.exit.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(a->result.failure.code, -EAGAIN);
    CHECK_STR(a->result.error_name, "EAGAIN");
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_sync("true", NULL, r), -EAGAIN);
    CHECK_EQ(r->failure.step, BROOD_STEP_CLONE);
}

/* --- off the loop --- */

TEST_TORTURE(offload_tells_by_callback) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "print", "x"), .offload = true, .out = WATCHED);
    CHECK_EQ(brood_child_pid(w->child), 0);
    RUN();
    CHECK(before(w->log, "spawn", "data"));
    CHECK_STR(w->out.bytes, "x\n");
    CHECK_GT(w->pid, 0);
    CHECK_EQ(brood_child_pid(w->child), w->pid);
    brood_child_close(w->child);
}

TEST_TORTURE(offload_reports_failures_by_callback) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS("/no/such"), .offload = true, .out = WATCHED, .in = {.input = "x", .input_len = 1});
    RUN();
    CHECK(before(w->log, "error", "close"));
    CHECK_EQ(w->spawns, 0);
    CHECK_EQ(w->exits, 0);
    CHECK_EQ(w->failure.code, -ENOENT);
    CHECK_EQ(w->failure.step, BROOD_STEP_EXEC);
    CHECK_STR(w->failure.subject, "/no/such");
    CHECK_EQ(w->ended.reason, BROOD_REASON_NOT_STARTED);
    CHECK_EQ(w->ended.code, -1);
}

/* Everything that is kept is copied: the caller's memory may go at once. */
TEST(offload_keeps_nothing_of_the_callers) {
    char *program = strdup(CHILD), *word = strdup("getenv"), *last = strdup("cat"), *cwd = strdup(t->tmp),
         *input = strdup("input");
    char *entry = strdup("BROOD_TEST_KEPT=yes"), *name = strdup("BROOD_TEST_KEPT"), *path = strdup(test_path(t, "out"));
    const char **args = calloc(6, sizeof *args), **env = calloc(2, sizeof *env);
    args[0] = program;
    args[1] = word;
    args[2] = name;
    args[3] = last;
    env[0] = entry;
    brood_rlimit *limit = calloc(1, sizeof *limit);
    *limit = (brood_rlimit){RLIMIT_CORE, 0, 0};
    brood_slot *slot = calloc(1, sizeof *slot);
    *slot = (brood_slot){5, {.kind = BROOD_STDIO_IGNORE}};
    watch *w = watch_new();
    brood_options *options = calloc(1, sizeof *options);
    *options = (brood_options){WATCH(w),
                               .args = args,
                               .env = env,
                               .cwd = cwd,
                               .offload = true,
                               .in = {.input = input, .input_len = 5},
                               .out = {.kind = BROOD_STDIO_FILE, .path = path},
                               .rlimits = limit,
                               .rlimit_count = 1,
                               .slots = slot,
                               .slot_count = 1};
    brood_failure why;
    int r = brood_spawn(t->loop, options, NULL, &why);
    char *const all[] = {program, word, cwd, input, entry, name, path, last};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        memset(all[i], 'Z', strlen(all[i]));
        free(all[i]);
    }
    memset(args, 0, 6 * sizeof *args);
    memset(env, 0, 2 * sizeof *env);
    memset(options, 0xff, sizeof *options);
    memset(slot, 0xff, sizeof *slot);
    memset(limit, 0xff, sizeof *limit);
    void *const rest[] = {args, env, options, slot, limit};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        free(rest[i]);
    CHECK_EQ(r, 0);
    RUN();
    CHECK_STR(test_read_file(test_path(t, "out")), "yes\ninput");
}
