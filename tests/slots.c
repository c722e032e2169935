/*
 * What a child's slots are connected to: each kind, in each direction, in orders that collide; and that nothing but the
 * slots reaches the child.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

/* "file 13:4711": as `brood-child stat` prints it, without the flags */
static const char *identity(int fd) {
    struct stat st;
    ENSURE(fstat(fd, &st) == 0);
    return test_format("%s %lu:%lu",
                       S_ISREG(st.st_mode)    ? "file"
                       : S_ISCHR(st.st_mode)  ? "device"
                       : S_ISFIFO(st.st_mode) ? "fifo"
                                              : "socket",
                       (unsigned long)st.st_dev, (unsigned long)st.st_ino);
}

static int open_file(test *t, const char *name) {
    return test_fd(open(test_path(t, name), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
}

/* dup it to exactly that number */
static int at_number(int fd, int number) {
    ENSURE(fcntl(number, F_GETFD) < 0);
    ENSURE(dup3(fd, number, O_CLOEXEC) == number);
    return test_fd(number);
}

/* --- kinds --- */

TEST(slot_default_without_a_callback_is_inherited) {
    int file = open_file(t, "out"), was = dup(1);
    watch *w = watch_new();
    dup2(file, 1);
    int r =
        brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD, "print", "inherited"), WATCH(w)}, NULL, NULL);
    dup2(was, 1);
    close(was);
    CHECK_EQ(r, 0);
    RUN();
    CHECK_STR(w->log, "spawn exit close");
    CHECK_STR(test_read_file(test_path(t, "out")), "inherited\n");
}

TEST_TORTURE(slot_default_with_a_callback_is_a_pipe) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "stat", "0", "stat", "1", "stat", "2"), .in = {.on_drain = watch_on_drain},
               .out = {.on_data = watch_on_data}, .err = {.on_end = watch_on_end});
    RUN_UNTIL(w->exits && w->out.len > 0);
    CHECK_HAS(w->out.bytes, "fifo");
    CHECK_LACKS(w->out.bytes, "file");
    CHECK_LACKS(w->out.bytes, "device");
    CHECK(brood_child_stream(w->child, 0) && brood_child_stream(w->child, 1) && brood_child_stream(w->child, 2));
    brood_child_close(w->child);
    RUN();
    CHECK_EQ(w->closes, 1);
}

TEST(slot_pipes_are_real_ones_and_blocking) {
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "stat", "0", "stat", "1", "reopen", "1", "reopen", "0", "cat"),
          .in = {.input = "in", .input_len = 2}, .out = WATCHED);
    RUN();
    CHECK_HAS(w->out.bytes, "fifo");
    CHECK_LACKS(w->out.bytes, "nonblock");
    CHECK_LACKS(w->out.bytes, "socket");
    CHECK_LACKS(w->out.bytes, "reopen:");
    CHECK_STR(w->out.bytes + w->out.len - 2, "in");
}

TEST_TORTURE(slot_ignore_is_dev_null) {
    int null = test_fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    watch *w = watch_new();
    START(w, .args = BROOD_ARGS(CHILD, "stat", "0", "stat", "2", "drain", "err", "gone"),
          .in = {.kind = BROOD_STDIO_IGNORE}, .out = WATCHED, .err = {.kind = BROOD_STDIO_IGNORE});
    RUN();
    CHECK_STR(w->out.bytes, test_format("%s\n%s\n0 0\n", identity(null), identity(null)));
    CHECK(brood_exit_ok(&w->ended));
}

TEST(slot_ignore_can_be_read_and_written) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "write", "0", "x", "write", "2", "y", "print", "both"),
              .in = {.kind = BROOD_STDIO_IGNORE}, .err = {.kind = BROOD_STDIO_IGNORE});
    CHECK(brood_exit_ok(&w->ended) || w->ended.code == 99); /* slot 0 may be for reading only */
    RUN_CHILD(written, .args = BROOD_ARGS(CHILD, "write", "2", "y", "print", "both"),
              .err = {.kind = BROOD_STDIO_IGNORE});
    CHECK_STR(written->out.bytes, "both\n");
}

TEST_TORTURE(slot_fd_is_the_hosts) {
    int file = open_file(t, "out");
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "to the file", "stat", "1"),
              .out = {.kind = BROOD_STDIO_FD, .fd = file});
    CHECK_STR(test_read_file(test_path(t, "out")), test_format("to the file\n%s append\n", identity(file)));
    CHECK_GE(fcntl(file, F_GETFD), 0); /* it stays the host's, as it was */
    CHECK(fcntl(file, F_GETFD) & FD_CLOEXEC);
}

TEST(slot_fd_may_be_zero) {
    int file = open_file(t, "in");
    CHECK_EQ(write(file, "zero", 4), 4);
    lseek(file, 0, SEEK_SET);
    int was = fcntl(0, F_DUPFD_CLOEXEC, 3);
    dup2(file, 0);
    watch *w = watch_new();
    brood_slot slot = {.slot = 7, .io = {.kind = BROOD_STDIO_FD, .fd = 0}};
    int r = brood_spawn(t->loop,
                        &(brood_options){.args = BROOD_ARGS(CHILD, "copy", "7", "1"),
                                         .out = WATCHED,
                                         .in = {.kind = BROOD_STDIO_IGNORE},
                                         .slots = &slot,
                                         .slot_count = 1,
                                         WATCH(w)},
                        NULL, NULL);
    dup2(was, 0);
    close(was);
    CHECK_EQ(r, 0);
    RUN();
    CHECK_STR(w->out.bytes, "zero");
}

TEST(slot_fd_that_is_closed_is_refused) {
    brood_failure why;
    int r =
        watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .out = {.kind = BROOD_STDIO_FD, .fd = 987}});
    CHECK_EQ(r, -EBADF);
    CHECK_EQ(why.step, BROOD_STEP_STDIO);
    CHECK_HAS(why.message, "1");
    r = watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .err = {.kind = BROOD_STDIO_FD, .fd = -1}});
    CHECK(r == -EBADF || r == -EINVAL);
    brood_slot slot = {.slot = 987, .io = {.kind = BROOD_STDIO_INHERIT}}; /* the host has no such number */
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .slots = &slot, .slot_count = 1}),
             -EBADF);
    CHECK_EQ(why.step, BROOD_STEP_STDIO);
    CHECK_HAS(why.subject, "987");
}

TEST_TORTURE(slot_file_is_read) {
    test_write_file(test_path(t, "in"), "from the file", 13, 0644);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "cat"), .in = {.kind = BROOD_STDIO_FILE, .path = test_path(t, "in")});
    CHECK_STR(w->out.bytes, "from the file");
    RUN_CHILD(explicitly, .args = BROOD_ARGS(CHILD, "cat"),
              .in = {.kind = BROOD_STDIO_FILE, .mode = BROOD_FILE_READ, .path = test_path(t, "in")});
    CHECK_STR(explicitly->out.bytes, "from the file");
}

TEST_TORTURE(slot_file_is_truncated_or_appended_to) {
    const char *path = test_path(t, "out");
    umask(027);
    RUN_CHILD(first, .args = BROOD_ARGS(CHILD, "print", "first and longer"),
              .out = {.kind = BROOD_STDIO_FILE, .path = path});
    CHECK_STR(test_read_file(path), "first and longer\n");
    struct stat st;
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0640);
    RUN_CHILD(second, .args = BROOD_ARGS(CHILD, "print", "second"),
              .out = {.kind = BROOD_STDIO_FILE, .mode = BROOD_FILE_TRUNCATE, .path = path});
    CHECK_STR(test_read_file(path), "second\n");
    RUN_CHILD(third, .args = BROOD_ARGS(CHILD, "print", "third", "stat", "1"),
              .out = {.kind = BROOD_STDIO_FILE, .mode = BROOD_FILE_APPEND, .path = path});
    CHECK_HAS(test_read_file(path), "second\nthird\nfile");
    CHECK_HAS(test_read_file(path), " append");
}

TEST(slot_file_is_relative_to_the_hosts_directory) {
    CHECK_EQ(chdir(t->tmp), 0);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "here"), .cwd = "/",
              .out = {.kind = BROOD_STDIO_FILE, .path = "out"});
    CHECK_STR(test_read_file(test_path(t, "out")), "here\n");
    CHECK_EQ(chdir("/"), 0);
}

TEST_TORTURE(slot_file_that_cannot_be_opened) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why,
                           &(brood_options){.args = BROOD_ARGS(CHILD),
                                            .out = {.kind = BROOD_STDIO_FILE, .path = "/no/such/dir/out"}}),
             -ENOENT);
    CHECK_EQ(why.step, BROOD_STEP_OPEN);
    CHECK_STR(why.subject, "/no/such/dir/out");
    CHECK_HAS(why.message, "No such file or directory");
    CHECK_EQ(
        watch_refused(t, &why,
                      &(brood_options){.args = BROOD_ARGS(CHILD), .out = {.kind = BROOD_STDIO_FILE, .path = t->tmp}}),
        -EISDIR);
    CHECK_EQ(watch_refused(t, &why,
                           &(brood_options){.args = BROOD_ARGS(CHILD),
                                            .in = {.kind = BROOD_STDIO_FILE, .path = test_path(t, "none")}}),
             -ENOENT);
    CHECK_EQ(access(test_path(t, "none"), F_OK), -1);
}

TEST_TORTURE(slot_of_another_slot_keeps_the_order) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "a", "err", "b", "print", "c", "err", "d"),
              .err = {.kind = BROOD_STDIO_SLOT, .slot = 1});
    CHECK_STR(w->out.bytes, "a\nb\nc\nd\n");
    watch *other = watch_new(); /* the other way round: >&2 */
    START(other, .args = BROOD_ARGS(CHILD, "print", "a", "err", "b"), .out = {.kind = BROOD_STDIO_SLOT, .slot = 2},
          .err = WATCHED);
    RUN();
    CHECK_STR(other->err.bytes, "a\nb\n");
}

TEST(slot_of_a_slot_of_a_slot) {
    int file = open_file(t, "out");
    brood_slot slots[] = {{.slot = 5, .io = {.kind = BROOD_STDIO_SLOT, .slot = 3}},
                          {.slot = 3, .io = {.kind = BROOD_STDIO_FD, .fd = file}},
                          {.slot = 4, .io = {.kind = BROOD_STDIO_SLOT, .slot = 0}}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "one", "err", "two", "write", "5", "five\n", "copy", "4", "1"),
              .in = {.input = "four", .input_len = 4}, .out = {.kind = BROOD_STDIO_SLOT, .slot = 2},
              .err = {.kind = BROOD_STDIO_SLOT, .slot = 5}, .slots = slots, .slot_count = 3);
    CHECK_STR(test_read_file(test_path(t, "out")), "one\ntwo\nfive\nfour");
}

TEST(slot_file_and_another_slot_share_one_offset) {
    const char *path = test_path(t, "out");
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "a", "err", "b", "print", "c"),
              .out = {.kind = BROOD_STDIO_FILE, .path = path}, .err = {.kind = BROOD_STDIO_SLOT, .slot = 1});
    CHECK_STR(test_read_file(path), "a\nb\nc\n");
}

/* --- input given up front --- */

TEST_TORTURE(slot_input_is_read_to_its_end) {
    static const char input[] = "some\0bytes";
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "cat"), .in = {.input = input, .input_len = sizeof input});
    CHECK_EQ(w->out.len, sizeof input);
    CHECK(memcmp(w->out.bytes, input, sizeof input) == 0);
    RUN_CHILD(text, .args = BROOD_ARGS(CHILD, "cat"), .in = {.input = "text", .input_len = BROOD_NUL});
    CHECK_STR(text->out.bytes, "text");
    RUN_CHILD(explicitly, .args = BROOD_ARGS(CHILD, "cat"),
              .in = {.kind = BROOD_STDIO_PIPE, .input = "text", .input_len = BROOD_NUL});
    CHECK_STR(explicitly->out.bytes, "text");
}

TEST(slot_input_of_no_bytes_is_an_end_of_file) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "stat", "0", "drain"), .in = {.input = "", .input_len = 0});
    CHECK_HAS(w->out.bytes, "fifo");
    CHECK_HAS(w->out.bytes, "0 0\n");
}

TEST_TORTURE(slot_input_larger_than_any_pipe) {
    size_t len = t->brief ? 300000 : 3000000;
    char *input = test_alloc(len);
    fill_pattern(input, len);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "drain"), .in = {.input = input, .input_len = len});
    CHECK_STR(w->out.bytes, test_format("%zu %llu\n", len, (unsigned long long)pattern_hash(len)));
}

TEST(slot_input_that_is_left_unread_is_no_error) {
    size_t len = 1000 * 1000;
    char *input = test_alloc(len);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "read", "10", "close", "0", "print", "enough"),
              .in = {.input = input, .input_len = len});
    CHECK_STR(w->out.bytes, "enough\n");
    CHECK(brood_exit_ok(&w->ended));
    RUN_CHILD(none, .args = BROOD_ARGS(CHILD, "exit", "5"), .in = {.input = input, .input_len = len});
    CHECK_EQ(none->ended.code, 5);
}

TEST(slot_input_into_a_higher_slot) {
    brood_slot slots[] = {{.slot = 3, .io = {.input = "three", .input_len = 5}},
                          {.slot = 9, .io = {.input = "nine", .input_len = 4}}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "copy", "9", "1", "copy", "3", "1"), .slots = slots, .slot_count = 2);
    CHECK_STR(w->out.bytes, "ninethree");
}

/* --- more slots --- */

TEST_TORTURE(slot_beyond_two_in_both_directions) {
    watch *w = watch_new();
    brood_slot slots[] = {{.slot = 3, .io = WATCHED}, {.slot = 4, .io = {.kind = BROOD_STDIO_PIPE}}};
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "copy", "4", "3"), .slots = slots, .slot_count = 2);
    brood_stream *to = brood_child_stream(w->child, 4);
    CHECK(to);
    CHECK_EQ(brood_stream_slot(to), 4);
    CHECK_EQ(brood_stream_slot(brood_child_stream(w->child, 3)), 3);
    CHECK(!brood_child_stream(w->child, 0));
    CHECK(!brood_child_stream(w->child, 5));
    CHECK(!brood_child_stream(w->child, -1));
    CHECK(!brood_child_stream(w->child, INT32_MAX));
    CHECK_EQ(brood_stream_write(to, "there and back", BROOD_NUL, NULL, NULL), 0);
    CHECK_EQ(brood_stream_end(to), 0);
    RUN();
    CHECK_STR(w->out.bytes, "there and back");
    brood_child_close(w->child);
}

static bool raise_descriptors(rlim_t wanted) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return false;
    if (limit.rlim_cur >= wanted)
        return true;
    limit.rlim_cur = wanted;
    if (limit.rlim_max < wanted)
        limit.rlim_max = wanted;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

TEST(slot_at_a_high_number) {
    struct rlimit limit;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    int high = raise_descriptors(65536) ? 65535 : (int)limit.rlim_cur - 1;
    brood_slot slots[] = {{.slot = high, .io = WATCHED}, {.slot = 3, .io = {.input = "x", .input_len = 1}}};
    watch *w = watch_new();
    slots[0].io.data = w;
    START(w,
          .args =
              BROOD_ARGS(CHILD, "write", test_format("%d", high), "high", "copy", "3", test_format("%d", high), "fds"),
          .out = WATCHED, .slots = slots, .slot_count = 2);
    RUN();
    CHECK_HAS(w->out.bytes, "highx");
    CHECK_HAS(w->out.bytes, test_format("%d pipe:", high));
    CHECK_EQ(w->ended.code, 0);
}

TEST(slot_beyond_the_descriptor_limit_is_refused) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){200, 200}), 0);
    brood_slot slot = {.slot = 5000, .io = {.kind = BROOD_STDIO_IGNORE}};
    brood_failure why;
    int r = watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .slots = &slot, .slot_count = 1});
    CHECK(r == -EBADF || r == -EMFILE || r == -EINVAL);
    CHECK_EQ(why.step, BROOD_STEP_STDIO);
    CHECK_HAS(why.message, "5000");
}

TEST(slot_count_may_be_a_thousand) {
    if (!raise_descriptors(4096))
        SKIP("too few descriptors");
    enum { COUNT = 1000 };
    brood_slot *slots = NEW_ARRAY(brood_slot, COUNT);
    for (int i = 0; i < COUNT; i++)
        slots[i] = (brood_slot){.slot = 3 + COUNT - i, .io = {.kind = BROOD_STDIO_IGNORE}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "fds"), .slots = slots, .slot_count = COUNT);
    int lines = 0;
    for (const char *at = w->out.bytes; (at = strchr(at, '\n')); at++)
        lines++;
    CHECK_EQ(lines, COUNT + 3);
}

/* --- orders that collide --- */

TEST(slot_one_and_two_are_swapped) {
    int a = open_file(t, "a"), b = open_file(t, "b");
    int was_out = fcntl(1, F_DUPFD_CLOEXEC, 20), was_err = fcntl(2, F_DUPFD_CLOEXEC, 20);
    watch *w = watch_new();
    dup2(a, 1);
    dup2(b, 2);
    int r = brood_spawn(t->loop,
                        &(brood_options){.args = BROOD_ARGS(CHILD, "print", "out", "err", "err"),
                                         .out = {.kind = BROOD_STDIO_FD, .fd = 2},
                                         .err = {.kind = BROOD_STDIO_FD, .fd = 1},
                                         WATCH(w)},
                        NULL, NULL);
    dup2(was_out, 1);
    dup2(was_err, 2);
    close(was_out);
    close(was_err);
    CHECK_EQ(r, 0);
    RUN();
    CHECK_STR(test_read_file(test_path(t, "a")), "err\n");
    CHECK_STR(test_read_file(test_path(t, "b")), "out\n");
}

TEST_TORTURE(slot_sources_that_are_targets_in_a_circle) {
    int number[3];
    const char *is[3];
    for (int i = 0; i < 3; i++) {
        number[i] = at_number(open_file(t, test_format("f%d", i)), 50 + i);
        is[i] = identity(number[i]);
    }
    brood_slot slots[] = {{.slot = 50, .io = {.kind = BROOD_STDIO_FD, .fd = 51}},
                          {.slot = 51, .io = {.kind = BROOD_STDIO_FD, .fd = 52}},
                          {.slot = 52, .io = {.kind = BROOD_STDIO_FD, .fd = 50}}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "stat", "50", "stat", "51", "stat", "52"), .slots = slots, .slot_count = 3);
    CHECK_STR(w->out.bytes, test_format("%s append\n%s append\n%s append\n", is[1], is[2], is[0]));
}

TEST(slot_source_that_is_also_the_target_of_another) {
    int a = at_number(open_file(t, "a"), 60);
    const char *is = identity(a);
    brood_slot slots[] = {{.slot = 60, .io = {.kind = BROOD_STDIO_IGNORE}}, /* 60 is overwritten, 61 and 1 want it */
                          {.slot = 61, .io = {.kind = BROOD_STDIO_FD, .fd = 60}},
                          {.slot = 62, .io = {.kind = BROOD_STDIO_INHERIT}}};
    at_number(open_file(t, "b"), 62);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "stat", "60", "stat", "61", "stat", "62"),
              .err = {.kind = BROOD_STDIO_FD, .fd = 60}, .slots = slots, .slot_count = 3);
    CHECK_HAS(w->out.bytes, "device");
    CHECK_HAS(w->out.bytes, test_format("%s append\n%s append\n", is, identity(62)));
}

/* A descriptor that already has the number of its slot must lose its close-on-exec flag, in the child only. */
TEST(slot_that_is_its_own_source) {
    int a = at_number(open_file(t, "a"), 70);
    brood_slot slot = {.slot = 70, .io = {.kind = BROOD_STDIO_FD, .fd = 70}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "stat", "70"), .slots = &slot, .slot_count = 1);
    CHECK_STR(w->out.bytes, test_format("%s append\n", identity(a)));
    CHECK(fcntl(70, F_GETFD) & FD_CLOEXEC);
    RUN_CHILD(inherit, .args = BROOD_ARGS(CHILD, "print", "x"), .out = {.kind = BROOD_STDIO_FD, .fd = a},
              .err = {.kind = BROOD_STDIO_FD, .fd = 2}, .in = {.kind = BROOD_STDIO_FD, .fd = 0});
    CHECK_STR(test_read_file(test_path(t, "a")), "x\n");
}

/* The library's own pipes come to stand where the child's slots are to be. */
TEST(slot_numbers_where_the_pipes_of_the_start_lie) {
    int next = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(next);
    brood_slot slots[16];
    for (int i = 0; i < 16; i++)
        slots[i] = (brood_slot){.slot = next + i < 3 ? 3 + i : next + i,
                                .io = {.kind = i % 2 ? BROOD_STDIO_IGNORE : BROOD_STDIO_PIPE}};
    slots[15].io = (brood_stdio){.input = "last", .input_len = 4};
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "copy", test_format("%d", slots[15].slot), "1", "fds"),
               .in = {.input = "x", .input_len = 1}, .out = WATCHED, .err = WATCHED, .slots = slots, .slot_count = 16);
    RUN_UNTIL(w->exits);
    CHECK_HAS(w->out.bytes, "last0 pipe:");
    for (int i = 0; i < 16; i++)
        CHECK_HAS(w->out.bytes, test_format("\n%d %s", slots[i].slot, i % 2 && i < 15 ? "/dev/null" : "pipe:"));
    brood_child_close(w->child);
    RUN();
}

/* --- nothing else --- */

TEST_TORTURE(slot_nothing_else_reaches_the_child) {
    for (int i = 0; i < 20; i++)
        test_fd(open("/dev/zero", O_RDONLY)); /* without close-on-exec */
    int high = fcntl(0, F_DUPFD, 180);
    test_fd(high);
    brood_slot slots[] = {{.slot = 10, .io = {.kind = BROOD_STDIO_IGNORE}},
                          {.slot = 100, .io = {.kind = BROOD_STDIO_IGNORE}}};
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "fds"), .in = {.kind = BROOD_STDIO_IGNORE},
              .err = {.kind = BROOD_STDIO_IGNORE}, .slots = slots, .slot_count = 2);
    CHECK_LACKS(w->out.bytes, "/dev/zero");
    CHECK_HAS(w->out.bytes, "0 /dev/null\n1 pipe:");
    int lines = 0;
    for (const char *at = w->out.bytes; (at = strchr(at, '\n')); at++)
        lines++;
    CHECK_EQ(lines, 5);
}

/* Two children at a time: neither holds an end of the other's pipes, or end-of-file would not come. */
TEST(slot_pipes_do_not_leak_into_the_next_child) {
    watch *first = watch_new(), *second = watch_new();
    START_KEPT(first, .args = BROOD_ARGS(CHILD, "wait-eof", "print", "end"), .in = {.kind = BROOD_STDIO_PIPE},
               .out = WATCHED);
    START_KEPT(second, .args = BROOD_ARGS(CHILD, "fds", "wait-eof"), .in = {.kind = BROOD_STDIO_PIPE}, .out = WATCHED);
    CHECK_EQ(brood_stream_end(brood_child_stream(first->child, 0)), 0);
    RUN_UNTIL(first->closes);
    CHECK_STR(first->out.bytes, "end\n");
    CHECK_EQ(brood_stream_end(brood_child_stream(second->child, 0)), 0);
    RUN();
    int lines = 0;
    for (const char *at = second->out.bytes; (at = strchr(at, '\n')); at++)
        lines++;
    CHECK_EQ(lines, 3);
    brood_child_close(first->child);
    brood_child_close(second->child);
}

TEST(slot_pipe_size_is_a_wish) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "pipe-size", "1"), .out = {.pipe_size = 262144, .on_data = watch_on_data});
    CHECK_GE(atoi(w->out.bytes), 4096);
    RUN_CHILD(absurd, .args = BROOD_ARGS(CHILD, "print", "runs"),
              .out = {.pipe_size = SIZE_MAX / 2, .on_data = watch_on_data});
    CHECK_STR(absurd->out.bytes, "runs\n");
}

TEST(slot_data_is_its_own_or_the_options) {
    watch *w = watch_new(), *err = watch_new();
    brood_stdio own = WATCHED;
    own.data = err;
    START(w, .args = BROOD_ARGS(CHILD, "both"), .out = WATCHED, .err = own);
    RUN();
    CHECK_STR(w->out.bytes, "out\n");
    CHECK_STR(err->err.bytes, "err\n");
    CHECK_STR(err->log, "data2 end2");
}

TEST(slot_may_be_a_socket_of_the_hosts) {
    int pair[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    test_fd(pair[0]);
    test_fd(pair[1]);
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "x", "stat", "1"), .out = {.kind = BROOD_STDIO_FD, .fd = pair[1]});
    char text[100] = "";
    CHECK_GT(read(pair[0], text, sizeof text - 1), 0);
    CHECK_HAS(text, "x\nsocket");
    CHECK(fcntl(pair[1], F_GETFL) & O_NONBLOCK); /* as it was */
}
