/**
 * @file own.h
 * Whose a process is: what a stop reaches, the switch that stops many at once, and what this host has for it.
 */
#ifndef BROOD_OWN_H
#define BROOD_OWN_H

#include <brood/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What belongs to a child: what a timeout, an abort, a limit or a close reaches. */
typedef enum brood_ownership {
    /**
     * `CHILD` for spawn, and for what is `detached`; `TREE` for the exec forms. Where no tree can be had at all, as with
     * no /proc, `GROUP` instead, or `CHILD` for one that inherits a terminal; brood_child_guarantee tells.
     */
    BROOD_OWN_DEFAULT = 0,
    BROOD_OWN_CHILD, /**< the process alone; its own children live on */
    /**
     * The process and all in its process group, which is made for it. Whoever leaves the group escapes. A group of
     * its own is out of the terminal's foreground: it does not see Ctrl-C, and is stopped when it reads the terminal.
     */
    BROOD_OWN_GROUP,
    /**
     * The process and all that descends from it, whoever left its group, its session or its parent. A process of
     * brood's own holds the tree: it ends all of it also when the host has gone, by SIGKILL too. What is left of a tree
     * when its child is closed is ended then.
     */
    BROOD_OWN_TREE,
    BROOD_OWN_NONE /**< nothing: no time limit and no abort may be given, and a close lets it live */
} brood_ownership;

/** How sure it is that nothing of what a child started outlives its end, or the host's. */
typedef enum brood_guarantee {
    BROOD_GUARANTEE_NONE = 0, /**< it is not: own is not TREE, or its holder was lost */
    /**
     * TREE: all ends but what the host may not signal (a set-user-ID program that has changed its real user, unless the
     * host is root), and what another process starts on its behalf, as at(1) or a container's daemon does. Whoever kills
     * the holder takes it away; whoever stops it once the host has gone suspends it.
     */
    BROOD_GUARANTEE_BEST_EFFORT,
    /**
     * TREE, in a cgroup2 of its own, where the host may make one: the kernel ends all in it at one word, whoever forks
     * meanwhile, and also if the holder or the guard was killed, as long as the host is there. Who may write to cgroups,
     * as root may, can leave it: where the tree has a holder (man 7 brood) it is then reached as above, else it has
     * escaped.
     */
    BROOD_GUARANTEE_KERNEL
} brood_guarantee;

/** The word for a guarantee: "none", "best-effort", "kernel". Static. Any thread. */
BROOD_API const char *brood_guarantee_text(brood_guarantee guarantee);

/**
 * Make a place where the limits of trees can be kept, if there is none yet: in this process's own cgroup2, which must
 * be its alone (systemd: Delegate=yes). A cgroup hands on controllers only while no process is in it: so this one moves,
 * with all its threads, into a new one below it, `brood-host-PID`, which stays. Children that it has already would be in
 * the way: call this before all else. Root needs it less often: trees are made in the nearest cgroup around the process
 * that hands on what they need.
 *
 * ret_failure  may be NULL
 *
 * Returns 0, also where nothing had to be done; -EBUSY (other processes are in the cgroup), -EACCES, -EROFS, or
 * -EOPNOTSUPP (there is no cgroup2, or it has no controllers: those of cgroup v1 need no adoption). Any thread.
 */
BROOD_API int brood_cgroup_adopt(brood_failure *ret_failure);

/** A live process of what a child owns, as /proc showed it at one moment. */
typedef struct brood_member {
    pid_t pid;          /**< a number to show: it may be another's by now */
    pid_t parent;       /**< its parent's: in a tree an orphan's is the holder's, or of whoever reaps here */
    char state;         /**< the letter of proc(5): 'R' runs, 'S' sleeps, 'D' waits for a device, 'T' is stopped, … */
    char name[64];      /**< the name of its program, or what it calls itself, as ps(1) shows it: cut by the kernel */
    int threads;        /**< how many */
    uint64_t user_us;   /**< CPU time in user space, microseconds, without that of its children */
    uint64_t system_us; /**< CPU time in the kernel */
    uint64_t rss_kb;    /**< resident memory in KiB, as exact as the kernel keeps it; 0 if its first thread has left */
    uint64_t reserved[4]; /**< zero */
} brood_member;

/** A switch that stops every child that was started with it: Node's AbortController. */
typedef struct brood_abort brood_abort;

/**
 * A new switch, not yet pulled. It costs one descriptor.
 *
 * ret_abort  yours until brood_abort_free; children hold on to it by themselves.
 *
 * Returns 0, -EMFILE, -ENFILE or -ENOMEM. Any thread.
 */
BROOD_API int brood_abort_new(brood_abort **ret_abort);

/**
 * Pull it: every child started with it is stopped, now and later: one that is given a pulled switch is not started. A
 * start that it prevents ends as NOT_STARTED, with the error name ABORT_ERR. The stop is carried out by each child's
 * loop. Any thread, and in a signal handler (async-signal-safe). Pulling twice is harmless.
 */
BROOD_API void brood_abort_now(brood_abort *abort);

/** Whether it was pulled. Any thread. */
BROOD_API bool brood_abort_pulled(const brood_abort *abort);

/** Give up your hold. NULL is harmless. Any thread, but not while a signal handler may still pull it. */
BROOD_API void brood_abort_free(brood_abort *abort);

/** What a probe of this host found. */
typedef enum brood_answer {
    BROOD_ANSWER_UNKNOWN = 0, /**< it could not be tried, for want of descriptors, memory or processes: see `code` */
    BROOD_ANSWER_NO,
    BROOD_ANSWER_PARTLY, /**< `detail` says how far */
    BROOD_ANSWER_YES
} brood_answer;

/** One thing that brood makes use of where a host has it. Its texts are static, the rest is borrowed for the call. */
typedef struct brood_probe {
    const char *name;    /**< a word for programs, such as "close_range"; it stays what it is */
    const char *group;   /**< what it is for: "starting", "trees" or "streams" */
    const char *what;    /**< the same for a person, a few words */
    brood_answer answer; /**< as found by trying it, here and now */
    int code;            /**< a negative errno: what the kernel said, or 0 */
    const char *detail;  /**< why not, or what is done without it; NULL: nothing to add */
    const char *remedy;  /**< what can be done about it; NULL: nothing is known */
} brood_probe;

/**
 * Try what brood makes use of, each by its own system call: a few processes are started and have ended, and a cgroup is
 * made and removed, before this returns. Whether a tree can be owned is told by a start with `require`, whether it can
 * be limited by one with `limits`.
 *
 * each   called for every probe, in an order that stays, on this thread
 * data   handed to `each`
 *
 * Returns 0 or -EINVAL (no `each`). Any thread.
 */
BROOD_API int brood_host_probe(void (*each)(const brood_probe *probe, void *data), void *data);

#ifdef __cplusplus
}
#endif
#endif
