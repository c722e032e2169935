/*
 * Limits of a tree: what the kernel does when one is reached, that it is told of whom it met, and what is told where a
 * limit cannot be kept. Without cgroups in which this process may make others there is less to see, and it is skipped.
 */
#include "harness/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"

typedef struct hits {
    int count;
    brood_limit_hit last;
    bool after_exit;
} hits;

static void on_limit(brood_child *child, const brood_limit_hit *hit, void *data) {
    watch *w = data;
    hits *h = w->more;
    size_t len = strlen(w->log);
    snprintf(w->log + len, sizeof w->log - len, " limit");
    h->count++;
    h->last = *hit;
    h->after_exit = brood_child_exit(child) && brood_child_exit(child)->pid;
    test_event();
}

#define LIMITED(...) .own = BROOD_OWN_TREE, .out = WATCHED, .limits = {__VA_ARGS__}, .on_limit = on_limit

static watch *hit_watch(hits *h) {
    watch *w = watch_new();
    w->more = h;
    return w;
}

#define NEED(...)                                                                                                      \
    if (!watch_can_limit((brood_limits){__VA_ARGS__}))                                                                 \
    SKIP("no cgroup here to limit it by")

/* --- memory --- */

#define MEMORY_KB "200000"
#define MEMORY_LIMIT (64 << 20)

TEST(limits_memory_of_a_program) {
    NEED(.memory = MEMORY_LIMIT);
    hits h = {0};
    watch *w = hit_watch(&h);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "rss", MEMORY_KB, "print", "never"), LIMITED(.memory = MEMORY_LIMIT));
    CHECK_EQ(brood_child_limited(w->child, BROOD_LIMIT_MEMORY), BROOD_LIMITED_TREE);
    CHECK_EQ(brood_child_limited(w->child, BROOD_LIMIT_PIDS), BROOD_LIMITED_NONE);
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_OUT_OF_MEMORY);
    CHECK_EQ(w->ended.signal, SIGKILL);
    CHECK_EQ(w->ended.hit.limit, BROOD_LIMIT_MEMORY);
    CHECK_EQ(w->ended.hit.pid, w->ended.pid);
    CHECK_STR(w->ended.hit.name, "brood-child");
    CHECK_EQ(h.count, 1);
    CHECK(!h.after_exit);
    CHECK_STR(w->out.bytes, "");
    brood_child_close(w->child);
}

TEST(limits_memory_of_all_of_a_tree) {
    NEED(.memory = MEMORY_LIMIT);
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "fork", "fork", "rss", MEMORY_KB),
                                                   .own = BROOD_OWN_TREE,
                                                   .limits = {.memory = MEMORY_LIMIT}},
                                  r),
             0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_EXITED);
    CHECK_EQ(r->exit.code, 128 + SIGKILL); /* what its parent makes of it */
    CHECK_EQ(r->exit.hit.limit, BROOD_LIMIT_MEMORY);
    CHECK(r->exit.hit.pid != r->exit.pid);
    CHECK_HAS(r->message, "the memory limit (64 MiB) had ended ");
}

TEST(limits_memory_in_the_words_of_a_result) {
    NEED(.memory = MEMORY_LIMIT);
    answer *a = answer_new();
    CHECK_EQ(brood_exec_file(t->loop,
                             &(brood_options){.args = BROOD_ARGS(CHILD, "rss", MEMORY_KB),
                                              .own = BROOD_OWN_TREE,
                                              .limits = {.memory = MEMORY_LIMIT}},
                             answer_on_result, a, NULL),
             0);
    RUN();
    CHECK_HAS(a->result.message, "was killed by the memory limit (64 MiB)");
    CHECK_STR(a->result.error_name, "ENOMEM");
}

static void on_empty(brood_child *child, const brood_usage *usage, void *data) {
    (void)child;
    *(uint64_t *)((watch *)data)->more = usage->tree_peak_kb;
}

TEST(limits_that_count_memory_tell_its_peak) {
    NEED(.memory = MEMORY_LIMIT);
    uint64_t peak_kb = 0;
    watch *w = watch_new();
    w->more = &peak_kb;
    START(w, .args = BROOD_ARGS(CHILD, "rss", "20000"), .own = BROOD_OWN_TREE, .limits = {.memory = MEMORY_LIMIT},
          .on_empty = on_empty);
    RUN();
    CHECK_EQ(w->ended.code, 0);
    CHECK_GT(peak_kb, 18000);
    CHECK_GT(MEMORY_LIMIT / 1024 + 1, peak_kb);
}

/* Address space it is then, of each process by itself: and that is told. */
TEST(limits_memory_without_cgroups) {
    hits h = {0};
    watch *w = hit_watch(&h);
    brood__probe_force("cgroup", true);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "rss", MEMORY_KB), LIMITED(.memory = MEMORY_LIMIT));
    CHECK_EQ(brood_child_limited(w->child, BROOD_LIMIT_MEMORY), BROOD_LIMITED_EACH);
    RUN();
    CHECK(w->ended.code != 0);
    CHECK_EQ(h.count, 0);
    brood_child_close(w->child);
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why,
                           &(brood_options){.args = BROOD_ARGS(CHILD),
                                            .own = BROOD_OWN_TREE,
                                            .require = BROOD_GUARANTEE_KERNEL,
                                            .limits = {.memory = MEMORY_LIMIT}}),
             -EOPNOTSUPP);
    brood__probe_force("cgroup", false);
}

/* --- processes --- */

TEST_WITH(limits_pids, TEST_ALONE) {
    NEED(.pids = 20);
    hits h = {0};
    watch *w = hit_watch(&h);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "breed", "100000"), LIMITED(.pids = 20));
    RUN_UNTIL(h.count);
    CHECK_EQ(h.last.limit, BROOD_LIMIT_PIDS);
    CHECK(!w->exits);
    CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
    RUN();
    CHECK_EQ(h.count, 1);
    CHECK_EQ(w->ended.reason, BROOD_REASON_SIGNALED);
    CHECK_EQ(w->ended.hit.limit, BROOD_LIMIT_PIDS);
    brood_child_close(w->child);
}

TEST_TORTURE(limits_that_nothing_can_keep) {
    brood_failure why;
    brood__probe_force("cgroup", true);
    int r = watch_refused(t, &why,
                          &(brood_options){.args = BROOD_ARGS(CHILD),
                                           .own = BROOD_OWN_TREE,
                                           .limits = {.memory = MEMORY_LIMIT, .pids = 9}});
    if (r == -EOPNOTSUPP) { /* it could also be made to fail earlier */
        CHECK_EQ(why.step, BROOD_STEP_CGROUP);
        CHECK_STR(why.subject, "pids");
        CHECK_HAS(why.message, "cgroup");
    }
    brood__probe_force("cgroup", false);
}

/* --- CPU --- */

#define UNIFIED "/sys/fs/cgroup"

static bool read_cgroup_file(pid_t pid, const char *mount, const char *controller, const char *file, char *ret_text,
                             size_t size) {
    char path[600], line[512];
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    FILE *cgroups = fopen(path, "re");
    bool found = false;
    while (cgroups && !found && fgets(line, sizeof line, cgroups)) {
        char *path_part = strrchr(line, ':');
        char pattern[64];
        snprintf(pattern, sizeof pattern, ":%s:", controller);
        if (!path_part || !strstr(line, pattern))
            continue;
        path_part[strcspn(path_part, "\n")] = '\0';
        snprintf(path, sizeof path, "%s%s/%s", mount, path_part + 1, file);
        FILE *f = fopen(path, "re");
        size_t n = f ? fread(ret_text, 1, size - 1, f) : 0;
        ret_text[n] = '\0';
        found = f;
        if (f)
            fclose(f);
    }
    if (cgroups)
        fclose(cgroups);
    return found;
}

TEST(limits_cpu) {
    NEED(.cpu_percent = 150);
    char text[64] = "";
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .own = BROOD_OWN_TREE, .out = WATCHED,
               .limits = {.cpu_percent = 150});
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    pid_t pid = brood_child_pid(w->child);
    if (read_cgroup_file(pid, "/sys/fs/cgroup", "", "cpu.max", text, sizeof text) ||
        read_cgroup_file(pid, "/sys/fs/cgroup/unified", "", "cpu.max", text, sizeof text))
        CHECK_STR(text, "150000 100000\n");
    else if (read_cgroup_file(pid, "/sys/fs/cgroup/cpu", "cpu", "cpu.cfs_quota_us", text, sizeof text) ||
             read_cgroup_file(pid, "/sys/fs/cgroup/cpu", "cpu,cpuacct", "cpu.cfs_quota_us", text, sizeof text))
        CHECK_STR(text, "150000\n");
    else
        CHECK(!"where is it limited?");
    brood_child_close(w->child);
    RUN();
}

TEST_TORTURE(limits_cpu_time) {
    hits h = {0};
    watch *w = hit_watch(&h);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "fork", "spin"), LIMITED(.cpu_time_ms = 60));
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_CPU_TIME);
    CHECK_EQ(w->ended.signal, SIGTERM);
    CHECK_EQ(w->ended.hit.limit, BROOD_LIMIT_CPU_TIME);
    CHECK_EQ(brood_exit_status(&w->ended), 124);
    CHECK_EQ(h.count, 1);
    brood_child_close(w->child);
}

TEST(limits_cpu_time_without_cgroups) {
    brood__probe_force("cgroup", true);
    brood_result *r = result_new();
    CHECK_EQ(brood_exec_file_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "fork", "spin"),
                                                   .own = BROOD_OWN_TREE,
                                                   .limits = {.cpu_time_ms = 60}},
                                  r),
             0);
    CHECK_EQ(r->exit.reason, BROOD_REASON_CPU_TIME);
    CHECK_HAS(r->message, "used up its CPU time of 60 ms");
    CHECK_STR(r->error_name, "ETIMEDOUT");
    brood__probe_force("cgroup", false);
}

/* What it has left spins on, and nobody has closed the child. */
TEST(limits_cpu_time_of_what_outlives_its_program) {
    uint64_t ignored;
    watch *w = watch_new();
    w->more = &ignored;
    START_KEPT(w, .args = BROOD_ARGS("sh", "-c", "\"$0\" spin & exit 3", CHILD), .own = BROOD_OWN_TREE,
               .limits = {.cpu_time_ms = 60}, .on_empty = on_empty);
    RUN();
    CHECK_EQ(w->ended.code, 3);
    CHECK_EQ(w->ended.reason, BROOD_REASON_EXITED);
    brood_child_close(w->child);
}

TEST(limits_memory_around_a_tree) {
    NEED(.memory = MEMORY_LIMIT);
    brood_result *r = result_new();
    const char *inner = test_program("brood");
    CHECK_EQ(brood_exec_file_sync(
                 &(brood_options){.args = BROOD_ARGS(inner, "run", "--memory", "128M", "--", CHILD, "rss", "100000"),
                                  .own = BROOD_OWN_TREE,
                                  .limits = {.memory = MEMORY_LIMIT}},
                 r),
             0);
    if (r->exit.signal == SIGKILL)
        SKIP("the kernel has killed the inner brood as well, which is in there, too");
    CHECK_HAS(r->err.bytes, "the memory limit (one around it) was reached");
}

/* --- disks --- */

static bool is_memory_or_loop(const char *name) {
    return strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0 || strncmp(name, "zram", 4) == 0;
}

/* The next disk that the kernel lists, as "8:0"; NULL: there is none. */
static const char *next_disk(FILE *partitions) {
    char line[256], name[64];
    unsigned major, minor;
    while (partitions && fgets(line, sizeof line, partitions))
        if (sscanf(line, "%u %u %*u %63s", &major, &minor, name) == 3 && !is_memory_or_loop(name) &&
            access(test_format("/sys/block/%s", name), F_OK) == 0) /* which has no parts of disks */
            return test_format("%u:%u", major, minor);
    return NULL;
}

/* Each of them has a line of its own, with `rest` behind its number. */
static void check_each_disk(const char *text, const char *rest) {
    FILE *partitions = fopen("/proc/partitions", "re");
    int missing = 0, count = 0;
    for (const char *disk; (disk = next_disk(partitions)); count++)
        missing += !strstr(test_format("\n%s", text), test_format("\n%s %s\n", disk, rest));
    if (partitions)
        fclose(partitions);
    if (missing)
        CHECK_STR(text, rest); /* shows both */
    if (count == 0)
        SKIP("no disk here to limit it on");
}

static void check_io_limits(pid_t pid, uint64_t read_bps, uint64_t write_bps) {
    const char *reads = read_bps ? test_format("%ju", (uintmax_t)read_bps) : "max";
    const char *writes = test_format("%ju", (uintmax_t)write_bps);
    char text[65536];
    if (read_cgroup_file(pid, UNIFIED, "", "io.max", text, sizeof text) ||
        read_cgroup_file(pid, UNIFIED "/unified", "", "io.max", text, sizeof text)) {
        check_each_disk(text, test_format("rbps=%s wbps=%s riops=max wiops=max", reads, writes));
        return;
    }
    CHECK(read_cgroup_file(pid, UNIFIED "/blkio", "blkio", "blkio.throttle.read_bps_device", text, sizeof text));
    if (read_bps)
        check_each_disk(text, reads);
    else
        CHECK_STR(text, "");
    CHECK(read_cgroup_file(pid, UNIFIED "/blkio", "blkio", "blkio.throttle.write_bps_device", text, sizeof text));
    check_each_disk(text, writes);
}

static void limit_io(test *t, uint64_t read_bps, uint64_t write_bps) {
    watch *w = watch_new();
    NEED(.io_read_bps = read_bps, .io_write_bps = write_bps);
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .own = BROOD_OWN_TREE, .out = WATCHED,
               .limits = {.io_read_bps = read_bps, .io_write_bps = write_bps});
    CHECK_EQ(brood_child_limited(w->child, BROOD_LIMIT_IO), BROOD_LIMITED_TREE);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    check_io_limits(brood_child_pid(w->child), read_bps, write_bps);
    brood_child_close(w->child);
    RUN();
}

TEST(limits_io) {
    limit_io(t, 1 << 20, 3 << 20);
}

TEST(limits_io_of_writes_alone) {
    limit_io(t, 0, 3 << 20);
}

TEST(limits_io_that_nothing_can_keep) {
    brood_failure why;
    brood__probe_force("cgroup", true);
    CHECK_EQ(watch_refused(t, &why,
                           &(brood_options){
                               .args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .limits = {.io_read_bps = 1 << 20}}),
             -EOPNOTSUPP);
    CHECK_EQ(why.step, BROOD_STEP_CGROUP);
    CHECK_STR(why.subject, "io");
    CHECK_HAS(why.message, "systemd-run --scope");
    brood__probe_force("cgroup", false);
}

/* --- the rest --- */

TEST(limits_of_what_is_no_tree) {
    brood_failure why;
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .limits = {.pids = 9}}), -EINVAL);
    CHECK_STR(why.subject, "limits");
    CHECK_EQ(watch_refused(
                 t, &why,
                 &(brood_options){.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .limits = {.pids = UINT64_MAX}}),
             -EINVAL);
    CHECK_EQ(
        watch_refused(
            t, &why,
            &(brood_options){.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .limits = {.io_write_bps = UINT64_MAX}}),
        -EINVAL);
    CHECK_STR(why.subject, "limits");
    CHECK_EQ(watch_refused(t, &why, &(brood_options){.args = BROOD_ARGS(CHILD), .on_limit = on_limit}), -EINVAL);
    CHECK_STR(why.subject, "on_limit");
}

static void close_in_on_limit(brood_child *child, const brood_limit_hit *hit, void *data) {
    watch *w = data;
    (void)hit;
    brood_child_close(child);
    w->child = NULL;
}

TEST_TORTURE(limits_and_a_close_in_the_callback) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "spin"), .own = BROOD_OWN_TREE, .out = WATCHED,
               .limits = {.cpu_time_ms = 50}, .on_limit = close_in_on_limit);
    RUN();
    CHECK_EQ(w->closes, 1);
    CHECK(!w->child);
}

/* The name of the cgroups that a process of a tree is in. */
static void find_name(pid_t pid, char *ret_name, size_t size) {
    char line[512];
    FILE *cgroups = fopen(test_format("/proc/%d/cgroup", (int)pid), "re");
    *ret_name = '\0';
    while (cgroups && fgets(line, sizeof line, cgroups))
        if (strstr(line, "/brood-"))
            snprintf(ret_name, size, "%s", strstr(line, "brood-"));
    if (cgroups)
        fclose(cgroups);
    ret_name[strcspn(ret_name, "\n")] = '\0';
}

static bool is_left(const char *name) {
    const char *const mounts[] = {"", "unified", "memory", "pids", "cpu", "blkio"};
    bool left = false;
    for (size_t i = 0; i < sizeof mounts / sizeof *mounts; i++)
        left = left || access(test_format("/sys/fs/cgroup/%s/%s", mounts[i], name), F_OK) == 0;
    return left;
}

#define ALL_LIMITS                                                                                                     \
    { .memory = MEMORY_LIMIT, .pids = 50, .cpu_percent = 100, .cpu_time_ms = 100000 }

static void limit_and_end(test *t, brood_limits limits) {
    brood_failure why;
    brood_child *child;
    char name[64];
    brood_options o = {.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .limits = limits};
    int r = brood_spawn(t->loop, &o, &child, &why);
    if (r < 0) {
        RUN();
        SKIP("no cgroup here to limit it by");
    }
    find_name(brood_child_pid(child), name, sizeof name);
    brood_child_close(child);
    RUN();
    CHECK(!*name || !is_left(name));
}

/* All at once, and nothing of it stays. */
TEST_TORTURE(limits_are_taken_away_with_the_tree) {
    limit_and_end(t, (brood_limits)ALL_LIMITS);
}

TEST_TORTURE(limits_of_io_are_taken_away_with_the_tree) {
    limit_and_end(t, (brood_limits){.io_read_bps = 1 << 20, .io_write_bps = 1 << 20});
}

TEST(limits_are_taken_away_when_the_holder_was_killed) {
    NEED(.memory = MEMORY_LIMIT, .pids = 50, .cpu_percent = 100);
    char name[64];
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "parent", "hold"), .own = BROOD_OWN_TREE, .out = WATCHED,
               .limits = ALL_LIMITS);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    find_name(w->pid, name, sizeof name);
    CHECK(*name && is_left(name));
    bool sure = brood_child_guarantee(w->child) == BROOD_GUARANTEE_KERNEL;
    CHECK_EQ(kill(atoi(w->out.bytes), SIGKILL), 0);
    RUN();
    CHECK(!sure || !is_left(name));
    brood_child_close(w->child);
}

/* --- adopting a cgroup --- */

static bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return ok;
}

/* In a cgroup that hands on nothing, and has this process in it: as a scope of systemd's is. */
TEST(limits_in_an_adopted_cgroup) {
    char dir[64], path[128];
    snprintf(dir, sizeof dir, UNIFIED "/brood-test-%d", (int)getpid());
    put(UNIFIED "/cgroup.subtree_control", "+memory +pids");
    if (mkdir(dir, 0755) < 0)
        SKIP("no cgroup2, or no leave to make cgroups");
    snprintf(path, sizeof path, "%s/cgroup.procs", dir);
    brood_failure why = {0};
    if (!put(path, "0") || brood_cgroup_adopt(&why) < 0) {
        rmdir(dir);
        SKIP(*why.message ? why.message : "no leave to move into one");
    }
    CHECK_EQ(brood_cgroup_adopt(&why), 0);
    hits h = {0};
    watch *w = hit_watch(&h);
    START(w, .args = BROOD_ARGS(CHILD, "rss", MEMORY_KB), LIMITED(.memory = MEMORY_LIMIT, .pids = 9));
    RUN();
    CHECK_EQ(w->ended.reason, BROOD_REASON_OUT_OF_MEMORY);
    CHECK(put(UNIFIED "/cgroup.procs", "0"));
    snprintf(path, sizeof path, "%s/brood-host-%d", dir, (int)getpid());
    WAIT_UNTIL(rmdir(path) == 0 || errno == ENOENT); /* root finds a place elsewhere, if there is one */
    CHECK_EQ(rmdir(dir), 0);
}

TEST(limits_and_no_cgroup_to_adopt) {
    brood_failure why = {0};
    brood__probe_force("cgroup", true);
    CHECK_EQ(brood_cgroup_adopt(&why), -EOPNOTSUPP);
    CHECK_HAS(why.message, "no cgroup2");
    brood__probe_force("cgroup", false);
}
