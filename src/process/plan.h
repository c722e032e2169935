/*
 * A start, prepared: all that a new process needs, in memory that stays put while it is used. child/options.c
 * compiles a brood_options into one; start.c carries it out. Nothing in here is looked up, allocated or formatted
 * between clone and exec.
 */
#ifndef BROOD_PROCESS_PLAN_H
#define BROOD_PROCESS_PLAN_H

#include "base/memory.h"

#include <brood/process.h>

#include <sys/resource.h>

/* Where a slot's descriptor comes from. */
typedef enum brood__source {
    BROOD__FROM_INHERIT,  /* the host's of the same number */
    BROOD__FROM_FD,       /* the host's `fd` */
    BROOD__FROM_NULL,     /* /dev/null */
    BROOD__FROM_FILE,     /* `path`, opened with `flags` */
    BROOD__FROM_PIPE_IN,  /* a pipe that the child reads */
    BROOD__FROM_PIPE_OUT, /* a pipe that the child writes */
    BROOD__FROM_CHANNEL,  /* one of two connected sockets */
    BROOD__FROM_SLOT,     /* what slot number `fd` of the child has */
} brood__source;

typedef struct brood__plan_slot {
    int slot; /* its number in the child; the array is sorted by it, without gaps or doubles below 3 */
    brood__source from;
    int fd;
    const char *path;
    int flags;
    size_t pipe_size; /* 0: the kernel's default */
    /* filled by the start */
    int host_end;    /* PIPE, CHANNEL: ours, non-blocking; -1 before, and once it was taken */
    int source;      /* what is put into the slot; -1 before */
    int moved;       /* the child's: where it has `source` now */
    bool owned;      /* `source` is ours to close */
    bool move_first; /* `source` would be overwritten before its turn */
} brood__plan_slot;

typedef struct brood__plan_limit {
    int resource;
    struct rlimit64 limit;
} brood__plan_limit;

/* The hierarchies of cgroups that a tree may be in: cgroup2, and for limits those of v1. */
typedef enum brood__hierarchy {
    BROOD__UNIFIED,
    BROOD__MEMORY,
    BROOD__PIDS,
    BROOD__CPU,
    BROOD__IO,
    BROOD__HIERARCHIES,
} brood__hierarchy;

typedef struct brood__plan {
    brood__arena memory; /* of everything below */
    const char *file;    /* a path, or a name to search in `search` */
    char **argv;
    char **shell_argv;  /* for a script without #!: "/bin/sh", its path, argv from 1 on; [1] is free */
    char **envp;        /* NULL: the host's environ at the moment of the start */
    const char *search; /* the child's PATH */
    const char *cwd;    /* NULL: stays, unless cwd_by_fd */
    bool cwd_by_fd;
    int cwd_fd;
    brood__plan_slot *slots;
    size_t slot_count;
    brood__plan_limit *limits;
    size_t limit_count;
    bool set_uid, set_gid, set_groups, set_umask, no_new_privs, new_session, new_group, keep_ignored;
    bool dies_with_parent; /* SIGKILL when the process that starts it has gone */
    bool ignores_ends;     /* it starts with SIGCHLD ignored */
    bool pid_namespace;    /* a holder's: it is the first process of one */
    bool accounting;       /* a tree's: it has a holder */
    bool counts_usage;     /* a tree's: what it has used is asked for */
    int new_namespaces;    /* more flags for clone(2) */
    bool needs_cgroup;     /* a holder's: it is not to be started without */
    int instead_of_tree;   /* brood_ownership; what is owned where no tree can be. DEFAULT: it fails */
    bool made_in_root; /* a holder's: the cgroup is made in BROOD__UNIFIED itself, and not in the holder's own below */
    unsigned hierarchies;          /* a holder's: a bit for each whose directory comes with the plan */
    brood_limits tree;             /* a holder's: of the tree */
    const char *disks;             /* a holder's: "8:0\n" for each that `tree` limits; NULL: nobody knows them */
    uint64_t memory_each;          /* bytes of address space; 0: as it is */
    int joins[BROOD__HIERARCHIES]; /* files to write "0" to, which makes it a member of a cgroup; 0 ends them */
    int born_in;                   /* the directory of the cgroup2 that it is born in; 0: its starter's */
    struct brood__ahead *ahead;    /* room for a start that nobody waits for; NULL: its starter waits */
    bool signals_blocked;          /* it starts with every signal blocked */
    bool file_by_fd;               /* the program is `file_fd`; `file` is its name for people */
    int file_fd;
    bool groups_best_effort; /* dropping the groups is implied, not asked for: an ordinary user may be unable to */
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t group_count;
    mode_t umask;
    int nice;
} brood__plan;

/* What a child that could not exec leaves behind. */
typedef struct brood__report {
    int step;  /* brood_step; 0: all went well */
    int error; /* a positive errno */
    int index; /* which slot, resource or brood_limit */
} brood__report;

static inline bool brood__plan_slot_is_pipe(const brood__plan_slot *slot) {
    return slot->from == BROOD__FROM_PIPE_IN || slot->from == BROOD__FROM_PIPE_OUT;
}

/* The child's slot of that number, or NULL. */
static inline brood__plan_slot *brood__plan_find(const brood__plan *plan, int number) {
    for (size_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].slot == number)
            return &plan->slots[i];
    return NULL;
}

/* Whose source lies where another slot will go is moved away first. */
static inline void brood__plan_order(brood__plan *plan) {
    for (size_t i = 0; i < plan->slot_count; i++) {
        brood__plan_slot *s = &plan->slots[i];
        s->move_first = s->source != s->slot && brood__plan_find(plan, s->source);
    }
}

#endif
