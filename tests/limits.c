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
        found = f && fgets(ret_text, (int)size, f);
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
    CHECK_HAS(r->err.bytes, "the memory limit (one around it) was reached");
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
    const char *const mounts[] = {"", "unified", "memory", "pids", "cpu"};
    bool left = false;
    for (int i = 0; i < 5; i++)
        left = left || access(test_format("/sys/fs/cgroup/%s/%s", mounts[i], name), F_OK) == 0;
    return left;
}

#define ALL_LIMITS                                                                                                     \
    { .memory = MEMORY_LIMIT, .pids = 50, .cpu_percent = 100, .cpu_time_ms = 100000 }

/* All at once, and nothing of it stays. */
TEST_TORTURE(limits_are_taken_away_with_the_tree) {
    brood_failure why;
    brood_child *child;
    char name[64];
    brood_options o = {.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .limits = ALL_LIMITS};
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

#define UNIFIED "/sys/fs/cgroup"

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
