/*
 * The seam through which tests make things fail. Each call that can fail for want of something asks here first; in a
 * build with BROOD_FAULTS a test arms the n-th of them. Elsewhere everything below compiles to nothing.
 */
#ifndef BROOD_BASE_FAULT_H
#define BROOD_BASE_FAULT_H

#include <stdbool.h>

/* For code that runs between clone and exec, in memory that is the host's: no sanitizer may look in. */
#define BROOD__RAW                                                                                                     \
    __attribute__((no_sanitize("address"))) __attribute__((no_sanitize("thread")))                                     \
    __attribute__((no_sanitize("undefined")))

/* What a newer kernel or a plain host has, and a test can take away; see base/sys.c. */
typedef enum brood__feature {
    BROOD__CLOSE_RANGE,   /* "close_range": Linux 5.9, with CLOEXEC 5.11 */
    BROOD__NOSIGNAL,      /* "nosignal": RWF_NOSIGNAL, Linux 6.18 */
    BROOD__PIDFD_INFO,    /* "pidfd_info": exit codes by PIDFD_GET_INFO, Linux 6.15 */
    BROOD__PIDFD_GROUP,   /* "pidfd_group": PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9 */
    BROOD__SHARED_MEMORY, /* "shared_memory": CLONE_VM shares it; not so under valgrind and qemu-user */
    BROOD__MEMFD,         /* "memfd": memfd_create, which a container may deny */
    BROOD__CGROUP,        /* "cgroup": a cgroup2 for each tree */
    BROOD__DIRECT,        /* "direct": trees that the host itself starts into a cgroup */
    BROOD__FEATURE_COUNT
} brood__feature;

#if BROOD_FAULTS
/* 0, or -error when this call is the one to fail. */
int brood__fault(const char *what, int error);
/* The n-th call from now fails, with `error` or, if that is 0, with its natural one; 0: none. Counting starts anew. */
void brood__fault_arm(long nth, int error);
/* Calls seen since. */
long brood__fault_count(void);
/* Take a feature away by name, or give it back. */
void brood__probe_force(const char *name, bool off);
bool brood__feature_forced_off(brood__feature feature);
/* Blocks of brood's that are not freed. */
long brood__live_allocations(void);
void brood__count_allocation(int change);
#else
static inline int brood__fault(const char *what, int error) {
    (void)what, (void)error;
    return 0;
}
static inline void brood__fault_arm(long nth, int error) {
    (void)nth, (void)error;
}
static inline long brood__fault_count(void) {
    return 0;
}
static inline void brood__probe_force(const char *name, bool off) {
    (void)name, (void)off;
}
static inline bool brood__feature_forced_off(brood__feature feature) {
    (void)feature;
    return false;
}
static inline long brood__live_allocations(void) {
    return 0;
}
static inline void brood__count_allocation(int change) {
    (void)change;
}
#endif

#endif
