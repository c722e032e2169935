/**
 * @file process.h
 * What is known of one process: how it ended, what it used, signals by name. Nothing here needs a loop;
 * every function may be called from any thread.
 */
#ifndef BROOD_PROCESS_H
#define BROOD_PROCESS_H

#include <brood/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Why a child ended. */
typedef enum brood_reason {
    BROOD_REASON_UNKNOWN = 0,  /**< it ended, but somebody else took its status: never guessed */
    BROOD_REASON_EXITED,       /**< by itself, with `code` */
    BROOD_REASON_SIGNALED,     /**< by a signal that brood did not send for one of the reasons below */
    BROOD_REASON_TIMED_OUT,    /**< `timeout_ms` was over, and brood stopped it */
    BROOD_REASON_IDLE,         /**< nothing came out of it for `idle_timeout_ms`, and brood stopped it */
    BROOD_REASON_ABORTED,      /**< its `brood_abort` was pulled, or it was closed while it ran */
    BROOD_REASON_OUTPUT_LIMIT, /**< it wrote more than `max_buffer` */
    /**
     * the kernel killed it, for it had reached a memory limit: its tree's, or one around that. Known of trees in a cgroup
     * that counts memory, and never guessed: elsewhere it is SIGNALED, by SIGKILL
     */
    BROOD_REASON_OUT_OF_MEMORY,
    BROOD_REASON_NOT_STARTED, /**< there never was a process */
    BROOD_REASON_HOST_MEMORY, /**< the host ran out of memory for what it wrote */
    BROOD_REASON_CPU_TIME     /**< its tree had used `limits.cpu_time_ms`, and brood stopped it */
} brood_reason;

/** The word for a reason: "exited", "timed out". Static. */
BROOD_API const char *brood_reason_text(brood_reason reason);

/** What a process and the children it waited for used: getrusage(2). */
typedef struct brood_usage {
    uint64_t user_us;   /**< CPU time in user space, microseconds */
    uint64_t system_us; /**< CPU time in the kernel, microseconds */
    /**
     * Peak of resident memory in KiB. On Linux a program inherits the peak of the process that started it
     * (execve(2) folds the old image's peak into `ru_maxrss`), so this is the child's own only where
     * `max_rss_is_own` says so. Else the child's own peak is unknown and at most this.
     */
    uint64_t max_rss_kb;
    bool max_rss_is_own;           /**< the peak is the child's own */
    uint64_t minor_faults;         /**< page faults served without I/O */
    uint64_t major_faults;         /**< page faults that needed I/O */
    uint64_t blocks_in;            /**< blocks read, of 512 bytes */
    uint64_t blocks_out;           /**< blocks written, of 512 bytes */
    uint64_t voluntary_switches;   /**< context switches while waiting */
    uint64_t involuntary_switches; /**< context switches by the scheduler */
    /** A tree's: the peak of the memory of all of it together, in KiB; 0: nobody counted it. */
    uint64_t tree_peak_kb;
} brood_usage;

/** A limit of a tree: see brood_limits. */
typedef enum brood_limit {
    BROOD_LIMIT_NONE = 0, /**< no limit */
    BROOD_LIMIT_MEMORY,   /**< memory, of all of it */
    BROOD_LIMIT_PIDS,     /**< processes and threads */
    BROOD_LIMIT_CPU,      /**< CPU */
    BROOD_LIMIT_CPU_TIME, /**< CPU time */
    BROOD_LIMIT_IO        /**< what is read from disks, and written to them */
} brood_limit;

/** The word for a limit: "memory", "pids", "cpu", "cpu time", "io"; "none". Static. */
BROOD_API const char *brood_limit_text(brood_limit limit);

/**
 * What a tree may use, all of it together. All-zero: as much as the host. By the tree's cgroup2 where that has the
 * controller (brood_cgroup_adopt), else by the old hierarchies of cgroup v1, if the host may make cgroups there. Where
 * neither is: memory is limited for each process by itself (RLIMIT_AS), which `brood_child_limited` tells and `require`
 * refuses; for pids, cpu and io the start fails, with BROOD_STEP_CGROUP and -EOPNOTSUPP.
 *
 * io is limited on each disk that the host has at the start, by itself, and counts what reaches a disk: not what the
 * page cache has, nor what goes to another machine. What is written is counted as it leaves the cache, for file systems
 * that tell whose it is: ext4, btrfs, xfs and f2fs, in a cgroup2 that has memory as well. Of what is written cgroup v1
 * counts only what passes by the cache (O_DIRECT).
 */
typedef struct brood_limits {
    uint64_t memory;       /**< bytes, without swap; who needs more is killed by the kernel. 0: no limit */
    uint64_t pids;         /**< processes and threads; a fork beyond that fails with EAGAIN. 0: no limit */
    uint64_t cpu_percent;  /**< hundredths of one CPU: 150 is one and a half; who needs more waits. 0: no limit */
    uint64_t cpu_time_ms;  /**< CPU time; then it is stopped, with the reason CPU_TIME. 0: no limit */
    uint64_t io_read_bps;  /**< bytes a second, from each disk; who reads more waits. 0: no limit */
    uint64_t io_write_bps; /**< bytes a second, to each disk; who writes more waits. 0: no limit */
    uint64_t reserved[2];  /**< zero */
} brood_limits;

/** Whom a limit holds. */
typedef enum brood_limited {
    BROOD_LIMITED_NONE = 0, /**< nobody: it was not asked for */
    BROOD_LIMITED_EACH,     /**< each process of the tree by itself */
    BROOD_LIMITED_TREE      /**< the tree as a whole */
} brood_limited;

/** A limit that a tree has reached. */
typedef struct brood_limit_hit {
    brood_limit limit; /**< which; NONE: none */
    pid_t pid;         /**< MEMORY: the process that the kernel killed; 0 where it was gone before it was seen */
    char name[16];     /**< its name, as ps(1) shows it, cut to 15 bytes; "" where nobody knows */
    bool around;       /**< MEMORY: it was a limit around the tree, such as a container's, and not its own */
} brood_limit_hit;

/** How a child ended: a result, never an error. */
typedef struct brood_exit {
    int code;             /**< what it passed to exit(3), 0 to 255; -1 if a signal ended it or nobody knows */
    int signal;           /**< the signal that ended it, else 0 */
    brood_reason reason;  /**< why */
    bool core_dumped;     /**< it left a core file */
    pid_t pid;            /**< what its pid was; 0 if it never had one */
    uint64_t run_us;      /**< from its start to its end, microseconds of the monotonic clock */
    brood_usage usage;    /**< what it used; zero where nobody knows */
    int stop_error;       /**< a stop could not be sent: -EPERM if it runs as somebody whom the host may not signal */
    brood_limit_hit hit;  /**< the limit that its tree reached last, until its end */
    uint64_t reserved[2]; /**< zero */
} brood_exit;

/** Whether it ended by itself with code 0. */
static inline bool brood_exit_ok(const brood_exit *ended) {
    return ended->reason == BROOD_REASON_EXITED && ended->code == 0;
}

/**
 * The exit status that a shell or timeout(1) would give: the code; 128 + n for signal n; 124 for a timeout, an idle
 * limit or a limit of CPU time; 125 for one that was not started (126 or 127 are the caller's to choose), if nobody
 * knows, or where it was stopped since it wrote too much, and exited with 0.
 */
BROOD_API int brood_exit_status(const brood_exit *ended);

/** "SIGTERM" for SIGTERM, "SIGRTMIN+2" for a real-time signal, NULL for a number that is no signal. Static. */
BROOD_API const char *brood_signal_name(int signal);

/** The number of "SIGTERM", "TERM", "term", "15", "SIGRTMIN+2" or "RTMAX-1"; -EINVAL if there is no such signal. */
BROOD_API int brood_signal_number(const char *name);

/**
 * A command line that a shell reads as exactly these arguments: `grep 'x; rm -rf /' notes.txt`. Words of harmless
 * characters stand as they are. Control characters, which must not reach a terminal or break a line, are written as
 * `$'\n'`: POSIX.1-2024 has that, and so have bash, zsh and ksh, but not every /bin/sh.
 *
 * args      NULL-terminated, borrowed
 * ret_text  at most `size` bytes with the NUL; cut with "..." if longer. May be NULL with size 0.
 *
 * Returns the length of the whole text, like snprintf(3).
 */
BROOD_API size_t brood_quote(const char *const *args, char *ret_text, size_t size);

#ifdef __cplusplus
}
#endif
#endif
