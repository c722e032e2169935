/*
 * What a host and the holder of a tree say to each other, over a pair of UNIX stream sockets. Both ends are built from
 * this source and run on one machine: structs go as they are, and never in parts.
 */
#ifndef BROOD_OWN_HOLDER_LINE_H
#define BROOD_OWN_HOLDER_LINE_H

#include "base/call.h"
#include "base/digits.h"

#include <brood/process.h>

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#define BROOD__LINE_FD 0 /* the holder's end */
#define BROOD__HOST_FD 3 /* with argv[1] "0", in a PID namespace: the host's pidfd */
/*
 * With argv[2], the pid of a program that it has started already, it has that and these, and hears of no start: see
 * own/birth.c.
 */
#define BROOD__PROC_FD 4    /* /proc */
#define BROOD__ENDED_FD 5   /* a signalfd for SIGCHLD */
#define BROOD__LINE_FDS 240 /* descriptors in one message; the kernel takes 253 */
#define BROOD__LINE_MAX_FDS 2048

/* The cgroup of a tree: its holder's pid and, since pids come again, when it was made. */
#define BROOD__CGROUP_NAME_SIZE 48

static inline void brood__name_cgroup(char name[BROOD__CGROUP_NAME_SIZE], const char *kind, int pid, uint64_t made_ns) {
    int len = brood__append_text(name, 0, kind);
    len = brood__append_number(name, len, (uint64_t)pid);
    len = brood__append_text(name, len, "-");
    brood__append_number(name, len, made_ns);
}

static inline void brood__cgroup_name(char name[BROOD__CGROUP_NAME_SIZE], int holder, uint64_t made_ns) {
    brood__name_cgroup(name, "brood-", holder, made_ns);
}

/* That of all trees of a host that has a guard: the host's pid. It may outlive that, with what was let live. */
static inline void brood__guard_cgroup_name(char name[BROOD__CGROUP_NAME_SIZE], int host, uint64_t made_ns) {
    brood__name_cgroup(name, "brood-guard-", host, made_ns);
}

/* From the host. When it shuts down its side, the tree is to be ended: that needs no room, and cannot fail. */
typedef enum brood__order_kind {
    /*
     * Start a program. `fds` descriptors come with it and, as many as find room in each, with single bytes that follow:
     * one for each slot, the directory's if the plan has one, and one for each of its hierarchies. Then come `size`
     * bytes, a brood__packed.
     */
    BROOD__ORDER_START = 1,
    BROOD__ORDER_SIGNAL,  /* `value` to every process of the tree */
    BROOD__ORDER_FREEZE,  /* `value` 1: nothing of the tree is to run; 0: all of it goes on */
    BROOD__ORDER_RELEASE, /* nothing is to be ended any more; the program's end is still told */
} brood__order_kind;

typedef struct brood__order {
    brood__order_kind kind;
    int value;
    bool tells; /* SIGNAL: it is a stop; what cannot be signalled is told with the program's end */
    uint32_t fds;
    uint64_t size;
} brood__order;

/* From the holder. */
typedef enum brood__word_kind {
    /*
     * `value`: the pid, whose pidfd comes with it, and if the tree has a cgroup the directory that this is in; or a report
     * that says why not.
     */
    BROOD__WORD_STARTED = 1,
    BROOD__WORD_EXITED, /* `value`: the program's wait status; its usage, with the children that it waited for */
    BROOD__WORD_DENIED, /* `denied`: it cannot end all of the tree */
    BROOD__WORD_LIMIT,  /* `hit`: it has been reached */
    BROOD__WORD_EMPTY,  /* nothing of the tree is left; the usage of all of it. The holder ends. */
} brood__word_kind;

typedef struct brood__word {
    brood__word_kind kind;
    int value;
    int step, error, index;  /* STARTED: a brood__report; step 0: it runs */
    int denied;              /* a negative errno: something in the tree could not be signalled */
    uint64_t cgroup_made_ns; /* STARTED: part of the name of its cgroup, as is */
    int self;                /* the holder's pid, as it sees it */
    uint64_t rss_floor_kb;   /* EXITED: the holder's own peak, if the program's began with that */
    bool memory_each;        /* STARTED: memory is limited for each process by itself */
    brood_limit_hit hit;
    uint64_t peak_kb; /* EMPTY: of the memory of all of it together; 0: not known */
    struct rusage usage;
} brood__word;

/* There is a /proc, and the numbers in it are those that we use: it may be another PID namespace's. */
BROOD__RAW static inline bool brood__proc_shows_us(int proc) {
    char text[16] = "";
    long n = proc < 0 ? -1 : brood__call(SYS_readlinkat, proc, "self", text, sizeof text - 1);
    return n > 0 && brood__read_number(text) == (uint64_t)brood__call(SYS_getpid);
}

/* What every directory has, and is none of those in it. */
BROOD__RAW static inline bool brood__is_dots(const char *name) {
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

#endif
