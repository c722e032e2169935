/*
 * Failure injection: counts the calls that can fail, and fails one of them. The counters are atomic since starter
 * threads, and children between clone and exec, pass here too. Only in builds with BROOD_FAULTS.
 */
#include "base/fault.h"

#if BROOD_FAULTS

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static atomic_long seen, armed, live;
static atomic_int forced_error;
static atomic_bool forced_off[BROOD__FEATURE_COUNT];

static const char *const feature_name[BROOD__FEATURE_COUNT] = {
    [BROOD__CLOSE_RANGE] = "close_range",
    [BROOD__NOSIGNAL] = "nosignal",
    [BROOD__PIDFD_INFO] = "pidfd_info",
    [BROOD__PIDFD_GROUP] = "pidfd_group",
    [BROOD__SHARED_MEMORY] = "shared_memory",
    [BROOD__MEMFD] = "memfd",
    [BROOD__CGROUP] = "cgroup",
    [BROOD__DIRECT] = "direct",
};

BROOD__RAW int brood__fault(const char *what, int error) {
    (void)what; /* for a breakpoint */
    if (atomic_fetch_add(&seen, 1) + 1 != atomic_load(&armed))
        return 0;
    int forced = atomic_load(&forced_error);
    return forced ? -forced : -error;
}

void brood__fault_arm(long nth, int error) {
    atomic_store(&seen, 0);
    atomic_store(&armed, nth);
    atomic_store(&forced_error, error);
}

long brood__fault_count(void) {
    return atomic_load(&seen);
}

void brood__probe_force(const char *name, bool off) {
    for (int i = 0; i < BROOD__FEATURE_COUNT; i++)
        if (strcmp(feature_name[i], name) == 0) {
            atomic_store(&forced_off[i], off);
            return;
        }
    fprintf(stderr, "brood__probe_force: no feature \"%s\"\n", name);
    abort();
}

/* Before anything asks: also in programs that a test starts, such as the command. */
__attribute__((constructor)) static void force_from_environment(void) {
    const char *list = getenv("BROOD_TEST_WITHOUT");
    while (list && *list) {
        char name[64];
        size_t len = strcspn(list, ",");
        snprintf(name, sizeof name, "%.*s", (int)len, list);
        brood__probe_force(name, true);
        list += len;
        list += *list == ',';
    }
}

BROOD__RAW bool brood__feature_forced_off(brood__feature feature) {
    return atomic_load(&forced_off[feature]);
}

long brood__live_allocations(void) {
    return atomic_load(&live);
}

void brood__count_allocation(int change) {
    atomic_fetch_add(&live, change);
}

#endif
