/* Who is alive of what a child owns, and what it uses: in a tree with a cgroup and without, a group, a process. */
#include "harness/watch.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>

#include "base/fault.h"

enum { ROOM = 16 };

static const brood_member *find(const brood_member *all, int count, pid_t pid) {
    for (int i = 0; i < count && i < ROOM; i++)
        if (all[i].pid == pid)
            return &all[i];
    return NULL;
}

static pid_t line_at(const watch *w, int n) {
    const char *line = w->out.bytes;
    for (; n > 0 && line; n--)
        line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL;
    return line ? atoi(line) : 0;
}

/* The parent's number, an orphan in a session of its own, a grandchild, and the program, which has used something. */
static void members_of_tree(test *t) {
    brood_member all[ROOM];
    watch *w = watch_new();
    START_KEPT(w,
               .args = BROOD_ARGS(CHILD, "rss", "8192", "burn", "50", "parent", "orphan", "forever", "daemon",
                                  "forever", "hold"),
               .own = BROOD_OWN_TREE, .out = WATCHED);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    int count = brood_child_members(w->child, all, ROOM);
    CHECK_EQ(count, 3);
    const brood_member *program = find(all, count, w->pid), *orphan = find(all, count, line_at(w, 1)),
                       *daemon = find(all, count, line_at(w, 2));
    CHECK(program && orphan && daemon);
    CHECK_EQ(program->parent, line_at(w, 0));
    if (line_at(w, 0) != getpid()) /* the holder's; else it is whoever waits for orphans here */
        CHECK_EQ(orphan->parent, line_at(w, 0));
    CHECK_EQ(daemon->parent, w->pid);
    CHECK_STR(program->name, "brood-child");
    CHECK_EQ(program->threads, 1);
    CHECK_GE(program->user_us + program->system_us, 40000);
    CHECK_GE(program->rss_kb, 8000);
    CHECK_LT(daemon->user_us, 40000);
    CHECK(strchr("RSD", daemon->state));
    for (int i = 1; i < count; i++)
        CHECK_LT(all[i - 1].pid, all[i].pid);
    CHECK_EQ(brood_child_members(w->child, NULL, 0), 3);
    all[1].pid = -1;
    CHECK_EQ(brood_child_members(w->child, all, 1), 3); /* more than there is room for */
    CHECK_EQ(all[1].pid, -1);
    CHECK_EQ(kill(line_at(w, 2), SIGKILL), 0); /* its parent does not wait for it: a zombie */
    WAIT_UNTIL(brood_child_members(w->child, all, ROOM) == 2);
    brood_child_kill_owned(w->child, SIGKILL);
    RUN();
    CHECK_EQ(brood_child_members(w->child, all, ROOM), 0);
    brood_child_close(w->child);
}

TEST(members_of_a_tree) {
    members_of_tree(t);
    if (test_failed())
        return;
    brood__probe_force("cgroup", true);
    members_of_tree(t);
    brood__probe_force("cgroup", false);
}

static void members_once(test *t) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .own = BROOD_OWN_TREE, .out = WATCHED);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(brood_child_members(w->child, NULL, 0), 1);
    brood_child_close(w->child);
    RUN();
}

TEST_TORTURE(members_are_all_there_or_an_error) {
    members_once(t);
    if (test_failed())
        return;
    brood__probe_force("cgroup", true);
    members_once(t);
    brood__probe_force("cgroup", false);
}

/* It looks like a zombie; its other thread is alive. */
TEST(members_whose_first_thread_has_left) {
    brood_member m;
    brood_ownership owns[] = {BROOD_OWN_TREE, BROOD_OWN_GROUP, BROOD_OWN_CHILD};
    for (int i = 0; i < 3; i++) {
        watch *w = watch_new();
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "leave-thread"), .own = owns[i], .out = WATCHED);
        RUN_UNTIL(strstr(w->out.bytes, "ready"));
        WAIT_UNTIL(test_process_state(w->pid) == 'Z');
        CHECK_EQ(brood_child_members(w->child, &m, 1), 1);
        CHECK_EQ(m.pid, w->pid);
        CHECK_EQ(m.threads, 2);
        CHECK_EQ(brood_child_kill_owned(w->child, SIGKILL), 0);
        RUN();
        CHECK_EQ(brood_child_members(w->child, &m, 1), 0);
        brood_child_close(w->child);
    }
}

TEST(members_of_what_a_program_has_left_behind) {
    brood_member m;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "orphan", "forever", "exit", "0"), .own = BROOD_OWN_TREE, .out = WATCHED,
               .close_grace_ms = 50);
    RUN_UNTIL(w->closes);
    CHECK_EQ(brood_child_members(w->child, &m, 1), 1);
    CHECK_EQ(m.pid, line_at(w, 0));
    brood_child_close(w->child);
    RUN();
}

/* Who has left the group is not of it; a process alone is itself. */
TEST(members_of_a_group_and_of_a_process) {
    brood_ownership owns[] = {BROOD_OWN_GROUP, BROOD_OWN_CHILD, BROOD_OWN_NONE};
    for (int i = 0; i < 3; i++) {
        brood_member all[ROOM];
        watch *w = watch_new();
        START_KEPT(w, .args = BROOD_ARGS(CHILD, "daemon", "forever", "escape", "forever", "hold"), .own = owns[i],
                   .out = WATCHED, .close_grace_ms = 50);
        RUN_UNTIL(strstr(w->out.bytes, "ready"));
        WAIT_UNTIL(getpgid(line_at(w, 1)) == line_at(w, 1)); /* it has left */
        int count = brood_child_members(w->child, all, ROOM);
        CHECK_EQ(count, owns[i] == BROOD_OWN_GROUP ? 2 : 1);
        CHECK(find(all, count, w->pid));
        CHECK_EQ(find(all, count, line_at(w, 0)) != NULL, owns[i] == BROOD_OWN_GROUP);
        CHECK_EQ(brood_child_kill(w->child, SIGKILL), 0);
        for (int k = 0; k < 2; k++)
            CHECK_EQ(kill(line_at(w, k), SIGKILL), 0);
        RUN();
        CHECK_EQ(brood_child_members(w->child, all, ROOM), 0);
        brood_child_close(w->child);
    }
}

TEST(members_before_it_runs) {
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "exit", "0"), .own = BROOD_OWN_TREE, .offload = true);
    CHECK_EQ(brood_child_members(w->child, NULL, 0), 0);
    RUN();
    brood_child_close(w->child);
}

/* Some are missing: then nobody is told of. */
static void members_without_descriptors(test *t) {
    struct rlimit files, none;
    watch *w = watch_new();
    START_KEPT(w, .args = BROOD_ARGS(CHILD, "hold"), .own = BROOD_OWN_TREE, .out = WATCHED);
    RUN_UNTIL(strstr(w->out.bytes, "ready"));
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
    none = files;
    int first = dup(0);
    close(first);
    for (rlim_t more = 0; more < 5; more++) {
        none.rlim_cur = (rlim_t)first + more;
        CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
        int count = brood_child_members(w->child, NULL, 0);
        CHECK(count == -EMFILE || (more > 1 && count == 1));
    }
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
    brood_child_close(w->child);
    RUN();
}

TEST(members_for_want_of_descriptors) {
    members_without_descriptors(t);
    brood__probe_force("direct", true);
    members_without_descriptors(t);
    brood__probe_force("cgroup", true);
    members_without_descriptors(t);
    brood__probe_force("cgroup", false);
    brood__probe_force("direct", false);
}
