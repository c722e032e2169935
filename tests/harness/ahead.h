/* Execs that start ahead, and are kept: their process knows that memory is shared, and they own no tree. */
#ifndef BROOD_TEST_AHEAD_H
#define BROOD_TEST_AHEAD_H

#include "harness/watch.h"
#include "process/start.h"

/* The first child of a process shows that memory is shared, and is waited for. */
static inline bool warm(void) {
    brood_result *result = result_new();
    return brood_spawn_sync(&(brood_options){.args = BROOD_ARGS(CHILD, "exit", "0"), .own = BROOD_OWN_CHILD}, result) ==
           0;
}

#define WARM()                                                                                                         \
    do {                                                                                                               \
        bool is_warm = warm();                                                                                         \
        if (!is_warm && t->torture)                                                                                    \
            return;                                                                                                    \
        CHECK(is_warm);                                                                                                \
        if (!brood__shares_memory())                                                                                   \
            SKIP("no memory is shared with a child here");                                                             \
    } while (0)

static inline bool ask(test *t, answer *a, const brood_options *options) {
    brood_options all = *options;
    all.own = BROOD_OWN_GROUP;
    int r = brood_exec_file(t->loop, &all, answer_on_result, a, NULL);
    ENSURE(r == 0 || t->torture);
    return r == 0;
}

#define EXEC(a, ...)                                                                                                   \
    answer *a = answer_new();                                                                                          \
    if (!ask(t, a, &(brood_options){__VA_ARGS__}))                                                                     \
    return

#endif
