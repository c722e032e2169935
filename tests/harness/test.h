/*
 * The tests' own little language. A test is one function that registers itself; each runs in a process of its own
 * (runner.c), and afterwards the harness (harness.c) checks that the loop closes and that no descriptor, child or
 * allocation is left.
 *
 *     TEST(spawn_reports_a_missing_program) {
 *         brood_failure why = {0};
 *         CHECK_EQ(brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS("/no/such")}, NULL, &why), -ENOENT);
 *     }
 *
 * Rules that make the same test fit for --torture, where any call of the library may fail:
 *  - a CHECK that does not hold *returns*: so it stands only in functions that return nothing; elsewhere ENSURE;
 *  - what a callback may touch later comes from NEW, never from the stack of a function that may have returned;
 *  - what must be given back is said at once, by DEFER or test_fd: it happens after the loop has been emptied.
 */
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include <brood.h>

typedef struct test {
    const char *name;
    uv_loop_t *loop;      /* fresh; the harness closes it */
    const char *tmp;      /* a directory of its own, empty, mode 0755 */
    bool torture;         /* calls of the library are made to fail */
    bool brief;           /* run many times over, for torture: what is done ten times may be done once */
    volatile bool failed; /* a CHECK did not hold: get out */
} test;

typedef struct test_entry {
    const char *name;
    const char *file;
    int line;
    unsigned flags;
    void (*body)(test *t);
    struct test_entry *next;
} test_entry;

enum {
    TEST_CAN_TORTURE = 1, /* --torture-all takes it too */
    TEST_HIDDEN = 2,      /* not listed, run only by its full name: the harness's tests of itself */
    TEST_ALONE = 4        /* not beside others: it uses up what they need too */
};

#define TEST_WITH(test_name, test_flags)                                                                               \
    static void test_body_##test_name(test *t);                                                                        \
    __attribute__((constructor)) static void test_register_##test_name(void) {                                         \
        static test_entry entry = {#test_name, __FILE__, __LINE__, test_flags, test_body_##test_name, NULL};           \
        test_register(&entry);                                                                                         \
    }                                                                                                                  \
    static void test_body_##test_name(test *t __attribute__((unused)))

#define TEST(test_name) TEST_WITH(test_name, 0)
#define TEST_TORTURE(test_name) TEST_WITH(test_name, TEST_CAN_TORTURE)

void test_register(test_entry *entry);
void test_fail(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
void test_skip(const char *file, int line, const char *reason);
bool test_failed(void);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_fail(__FILE__, __LINE__, "CHECK(%s)", #condition);                                                    \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

#define CHECK_OP(a, op, b)                                                                                             \
    do {                                                                                                               \
        long long check_a = (long long)(a), check_b = (long long)(b);                                                  \
        if (!(check_a op check_b)) {                                                                                   \
            test_fail(__FILE__, __LINE__, "%s %s %s: %lld and %lld", #a, #op, #b, check_a, check_b);                   \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

#define CHECK_EQ(a, b) CHECK_OP(a, ==, b)
#define CHECK_NE(a, b) CHECK_OP(a, !=, b)
#define CHECK_LT(a, b) CHECK_OP(a, <, b)
#define CHECK_LE(a, b) CHECK_OP(a, <=, b)
#define CHECK_GT(a, b) CHECK_OP(a, >, b)
#define CHECK_GE(a, b) CHECK_OP(a, >=, b)

#define CHECK_STR(a, b)                                                                                                \
    do {                                                                                                               \
        const char *check_a = (a), *check_b = (b);                                                                     \
        if (!check_a || !check_b || strcmp(check_a, check_b) != 0) {                                                   \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #a, check_a ? check_a : "(null)",                \
                      check_b ? check_b : "(null)");                                                                   \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

/* the text holds the other one */
#define CHECK_HAS(text, part)                                                                                          \
    do {                                                                                                               \
        const char *check_a = (text), *check_b = (part);                                                               \
        if (!check_a || !strstr(check_a, check_b)) {                                                                   \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", without \"%s\"", #text, check_a ? check_a : "(null)",         \
                      check_b);                                                                                        \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

#define CHECK_LACKS(text, part)                                                                                        \
    do {                                                                                                               \
        const char *check_a = (text), *check_b = (part);                                                               \
        if (!check_a || strstr(check_a, check_b)) {                                                                    \
            test_fail(__FILE__, __LINE__, "%s is \"%s\", with \"%s\"", #text, check_a ? check_a : "(null)", check_b);  \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

/* As CHECK, in functions that return something: it marks the test, and goes on. */
#define ENSURE(condition) ((condition) ? (void)0 : test_fail(__FILE__, __LINE__, "ENSURE(%s)", #condition))

#define SKIP(reason)                                                                                                   \
    do {                                                                                                               \
        test_skip(__FILE__, __LINE__, reason);                                                                         \
        return;                                                                                                        \
    } while (0)

/* Run the loop until nothing is left on it. */
#define RUN()                                                                                                          \
    do {                                                                                                               \
        if (!test_run())                                                                                               \
            return;                                                                                                    \
    } while (0)

/* Run the loop until the condition holds; the loop running dry before that is a failure. */
#define RUN_UNTIL(condition)                                                                                           \
    do {                                                                                                               \
        while (!(condition))                                                                                           \
            if (!test_turn(__FILE__, __LINE__, #condition))                                                            \
                return;                                                                                                \
    } while (0)

/* Spin on something that another thread or process does; the deadline of the test ends it. */
#define WAIT_UNTIL(condition)                                                                                          \
    do {                                                                                                               \
        while (!(condition)) {                                                                                         \
            if (test_failed())                                                                                         \
                return;                                                                                                \
            test_nap();                                                                                                \
        }                                                                                                              \
    } while (0)

bool test_run(void);
void test_event(void);      /* something came; in torture mode RUN_UNTIL gives up when nothing has come for a while */
uv_loop_t *test_loop(void); /* t->loop, where there is no t */
bool test_turn(const char *file, int line, const char *condition);
void test_idle(unsigned ms); /* let the loop turn for a while in which something must not happen */
void test_nap(void);         /* a millisecond, between two looks at something that sends no event */

/* Zeroed memory that lives until the last check of the test is done. */
#define NEW(type) ((type *)test_alloc(sizeof(type)))
#define NEW_ARRAY(type, count) ((type *)test_alloc(sizeof(type) * (count)))
void *test_alloc(size_t size);

/* Call fn(ptr) when the test is over and its loop is empty; the last one first. */
#define DEFER(fn, ptr) test_defer((void (*)(void *))(fn), (ptr))
void test_defer(void (*fn)(void *), void *arg);
int test_fd(int fd); /* close it when the test is over; returns it */

/* Whether this is built with a sanitizer of memory or threads. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#define IS_SANITIZED                                                                                                   \
    (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer))
#else
#define IS_SANITIZED 0
#endif

/* Under valgrind: an exec that fails ends the child, limits of descriptors are pretended, clone shares no memory. */
bool test_is_emulated(void);

/* The program that the tests start, and a copy of it in t->tmp that every user may run. */
#define CHILD (test_child())
const char *test_child(void);
const char *test_source(const char *name);  /* a file in tests/; lives as long as the test */
const char *test_program(const char *name); /* another that is built beside the tests; lives as long as the test */
const char *test_child_for_everybody(test *t);

long test_slow(void); /* how many times slower than on a quiet machine everything may be: 1 or more */
const char *test_path(test *t, const char *name); /* t->tmp/name; lives as long as the test */
void test_write_file(const char *path, const void *bytes, size_t len, int mode);
bool test_write_existing(const char *path, const char *text);
const char *
test_cgroup_named(const char *text);          /* the directory of the one in the text of /proc/PID/cgroup; "": none */
const char *test_cgroup(void);                /* the directory of this process's own cgroup2; NULL: it has none */
const char *test_read_file(const char *path); /* its text, "" if it is not there; lives as long as the test */
const char *test_format(const char *format, ...) __attribute__((format(printf, 1, 2))); /* lives as long as the test */
bool test_process_gone(pid_t pid);  /* no such process, or a zombie */
char test_process_state(pid_t pid); /* the letter of /proc/PID/stat; 0: gone */
void test_await_starters(void);     /* until what they had in hand for the loop is given back */
size_t test_count_fds(void);
uint64_t test_now_ms(void);

/* harness.c and runner.c to each other */
test_entry *test_first(void);
test_entry *test_find(const char *name);
int test_run_here(const test_entry *entry, long fault, const char *count_path);

#endif
