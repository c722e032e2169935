/*
 * Many children at a time: each accounted for, none mixed up with another, nothing left. As many as the limits of the
 * machine allow, ten thousand at most.
 */
#include "harness/watch.h"

#include <stdio.h>
#include <sys/resource.h>

typedef struct crowd {
    int started, ready, ended, closed, wrong;
} crowd;

typedef struct member {
    crowd *all;
    int number;
    pid_t pid;
    brood_child *child;
} member;

static void member_exit(brood_child *child, const brood_exit *ended, void *data) {
    member *m = data;
    m->all->ended++;
    m->all->wrong += ended->code != m->number % 256 || ended->reason != BROOD_REASON_EXITED;
    m->all->wrong += ended->pid != brood_child_pid(child) || brood_child_exit(child) != ended;
}

static void member_close(brood_child *child, const brood_exit *ended, void *data) {
    (void)child, (void)ended;
    ((member *)data)->all->closed++;
}

static void member_aborted(brood_child *child, const brood_exit *ended, void *data) {
    member *m = data;
    (void)child;
    m->all->ended++;
    m->all->wrong += ended->signal != SIGTERM || ended->reason != BROOD_REASON_ABORTED || ended->pid != m->pid;
}

/* How many can live at a time, each at so many descriptors of the host's. */
static int room_for(int wanted, int descriptors_each) {
    struct rlimit files, processes;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_NPROC, &processes);
    long pages = sysconf(_SC_AVPHYS_PAGES) / 64, count = wanted; /* 256 KiB for each */
    long by_files = files.rlim_cur == RLIM_INFINITY ? wanted : ((long)files.rlim_cur - 100) / descriptors_each;
    long by_processes = processes.rlim_cur == RLIM_INFINITY || geteuid() == 0 ? wanted : (long)processes.rlim_cur / 2;
    long pid_max = 32768;
    FILE *file = fopen("/proc/sys/kernel/pid_max", "re");
    if (file && fscanf(file, "%ld", &pid_max) != 1)
        pid_max = 32768;
    if (file)
        fclose(file);
    const long rooms[] = {pages, by_files, by_processes, pid_max / 2};
    for (size_t i = 0; i < sizeof rooms / sizeof *rooms; i++)
        count = rooms[i] < count ? rooms[i] : count;
    return (int)count;
}

TEST(many_children_are_told_apart) {
    int count = room_for(500 / (int)test_slow(), 4);
    if (count < 50)
        SKIP("no room for many");
    crowd *all = NEW(crowd);
    member *members = NEW_ARRAY(member, (size_t)count);
    watch **w = NEW_ARRAY(watch *, (size_t)count);
    for (int i = 0; i < count; i++) {
        members[i] = (member){.all = all, .number = i};
        w[i] = watch_new();
        brood_stdio out = WATCHED;
        out.data = w[i];
        CHECK_EQ(brood_spawn(t->loop,
                             &(brood_options){.args = BROOD_ARGS(CHILD, "print", test_format("%d", i), "line", "exit",
                                                                 test_format("%d", i % 256)),
                                              .in = {.kind = BROOD_STDIO_PIPE},
                                              .out = out,
                                              .data = &members[i],
                                              .offload = i % 2,
                                              .on_exit = member_exit,
                                              .on_close = member_close},
                             &w[i]->child, NULL),
                 0);
    }
    for (int i = 0; i < count; i++)
        RUN_UNTIL(w[i]->out.len); /* all live at a time */
    CHECK_EQ(all->ended, 0);
    for (int i = count - 1; i >= 0; i--)
        CHECK_EQ(brood_stream_write(brood_child_stream(w[i]->child, 0), "go\n", 3, NULL, NULL), 0);
    RUN();
    CHECK_EQ(all->ended, count);
    CHECK_EQ(all->closed, count);
    CHECK_EQ(all->wrong, 0);
    for (int i = 0; i < count; i++) {
        CHECK_STR(w[i]->out.bytes, test_format("%d\nread: go\n", i));
        brood_child_close(w[i]->child);
    }
    RUN();
}

static void crowd_lives_and_ends(test *t, int count) {
    brood_abort *abort = NULL;
    setenv("BROOD_CHILD_LIFE", "600", 1); /* the first wait for the last */
    CHECK_EQ(brood_abort_new(&abort), 0);
    DEFER(brood_abort_free, abort);
    crowd *all = NEW(crowd);
    member *members = NEW_ARRAY(member, (size_t)count);
    for (int i = 0; i < count; i++) {
        members[i] = (member){.all = all, .number = i};
        CHECK_EQ(brood_spawn(t->loop,
                             &(brood_options){.args = BROOD_ARGS(CHILD, "pause"),
                                              .in = {.kind = BROOD_STDIO_IGNORE},
                                              .data = &members[i],
                                              .abort = abort,
                                              .on_exit = member_aborted,
                                              .on_close = member_close,
                                              .kill_grace_ms = BROOD_FOREVER},
                             &members[i].child, NULL),
                 0);
        members[i].pid = brood_child_pid(members[i].child);
        if (i % 100 == 0)
            uv_run(t->loop, UV_RUN_NOWAIT);
    }
    CHECK_EQ(all->ended, 0);
    brood_abort_now(abort);
    RUN_UNTIL(all->closed == count);
    CHECK_EQ(all->ended, count);
    CHECK_EQ(all->wrong, 0);
    for (int i = 0; i < count; i++)
        brood_child_close(members[i].child);
    RUN();
}

TEST(many_children_end_at_one_pull) {
    int count = room_for(300 / (int)test_slow(), 2);
    if (count < 50)
        SKIP("no room for many");
    crowd_lives_and_ends(t, count);
}

TEST_WITH(many_children_ten_thousand_at_once, TEST_ALONE) {
    if (!getenv("BROOD_TEST_MANY"))
        SKIP("half a minute: set BROOD_TEST_MANY");
    if (room_for(10000, 1) < 10000)
        SKIP("no room for ten thousand");
    crowd_lives_and_ends(t, 10000);
}
