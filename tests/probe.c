/* brood_host_probe: what a host is said to have is what it has, and what is taken away is said to be missing. */
#include "base/fault.h"
#include "harness/watch.h"

#include <dirent.h>
#include <stdio.h>

enum { MOST = 40 };

typedef struct answers {
    size_t count;
    brood_probe probes[MOST];
} answers;

static void take(const brood_probe *probe, void *data) {
    answers *a = data;
    if (a->count < MOST)
        a->probes[a->count++] = *probe;
}

static const brood_probe *find(const answers *a, const char *name) {
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->probes[i].name, name) == 0)
            return &a->probes[i];
    return NULL;
}

static int answer_of(const answers *a, const char *name) {
    const brood_probe *probe = find(a, name);
    return probe ? (int)probe->answer : -1;
}

static bool is_group(const char *word) {
    return strcmp(word, "starting") == 0 || strcmp(word, "trees") == 0 || strcmp(word, "streams") == 0;
}

TEST_WITH(probe_tells_each_thing_once_in_words, TEST_CAN_TORTURE) {
    answers *a = NEW(answers);
    CHECK_EQ(brood_host_probe(take, a), 0);
    CHECK(a->count > 13 && a->count < MOST);
    for (size_t i = 0; i < a->count; i++) {
        const brood_probe *probe = &a->probes[i];
        CHECK(find(a, probe->name) == probe);
        CHECK(is_group(probe->group));
        CHECK(*probe->what && strlen(probe->what) < 40);
        CHECK(probe->code <= 0);
        CHECK(probe->answer != BROOD_ANSWER_UNKNOWN || t->torture);
        CHECK(probe->answer == BROOD_ANSWER_YES || probe->detail);
        CHECK(probe->answer != BROOD_ANSWER_YES || !probe->remedy);
    }
    CHECK_EQ(brood_host_probe(NULL, NULL), -EINVAL);
}

/* A kernel and a host that run these tests at all have the first two; with a cgroup of its own a tree is the kernel's. */
TEST(probe_agrees_with_what_a_start_achieves) {
    if (test_is_emulated())
        SKIP("valgrind runs no program from memory");
    answers *a = NEW(answers);
    brood_result result = {0};
    CHECK_EQ(brood_host_probe(take, a), 0);
    CHECK_EQ(answer_of(a, "pidfd"), BROOD_ANSWER_YES);
    bool kernel = answer_of(a, "cgroup_make") == BROOD_ANSWER_YES && answer_of(a, "cgroup_start") == BROOD_ANSWER_YES &&
                  answer_of(a, "cgroup_kill") == BROOD_ANSWER_YES;
    int r = brood_spawn_sync(&(brood_options){.args = BROOD_ARGS(test_child(), "exit", "0"),
                                              .own = BROOD_OWN_TREE,
                                              .require = BROOD_GUARANTEE_KERNEL},
                             &result);
    brood_result_done(&result);
    CHECK_EQ(r == 0, kernel && answer_of(a, "program_from_memory") == BROOD_ANSWER_YES);
}

TEST(probe_shows_what_was_taken_away_as_missing) {
    static const struct {
        const char *feature, *name;
    } cases[] = {
        {"close_range", "close_range"}, {"nosignal", "nosignal"},  {"pidfd_info", "pidfd_info"},
        {"pidfd_group", "pidfd_group"}, {"memfd", "memfd"},        {"shared_memory", "shared_memory"},
        {"cgroup", "cgroup2"},          {"cgroup", "cgroup_make"}, {"cgroup", "cgroup_start"},
        {"cgroup", "cgroup_kill"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        answers *a = NEW(answers);
        brood__probe_force(cases[i].feature, true);
        CHECK_EQ(brood_host_probe(take, a), 0);
        brood__probe_force(cases[i].feature, false);
        CHECK_EQ(answer_of(a, cases[i].name), BROOD_ANSWER_NO);
        CHECK(find(a, cases[i].name)->detail);
    }
}

/* The harness looks for children and descriptors that are left; this is for cgroups. */
TEST(probe_leaves_no_cgroup_behind) {
    answers *a = NEW(answers);
    for (int i = 0; i < 3; i++) {
        a->count = 0;
        CHECK_EQ(brood_host_probe(take, a), 0);
    }
    char prefix[64];
    snprintf(prefix, sizeof prefix, "brood-%d-", (int)getpid());
    for (const char *const *at = (const char *const[]){"/sys/fs/cgroup", "/sys/fs/cgroup/unified",
                                                       "/sys/fs/cgroup/memory", "/sys/fs/cgroup/pids", NULL};
         *at; at++) {
        DIR *dir = opendir(*at);
        for (struct dirent *entry; dir && (entry = readdir(dir));)
            CHECK(strncmp(entry->d_name, prefix, strlen(prefix)) != 0);
        if (dir)
            closedir(dir);
    }
}
