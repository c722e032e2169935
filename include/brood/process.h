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
    BROOD_REASON_UNKNOWN = 0,   /**< it ended, but somebody else took its status: never guessed */
    BROOD_REASON_EXITED,        /**< by itself, with `code` */
    BROOD_REASON_SIGNALED,      /**< by a signal that brood did not send for one of the reasons below */
    BROOD_REASON_TIMED_OUT,     /**< `timeout_ms` was over, and brood stopped it */
    BROOD_REASON_IDLE,          /**< nothing came out of it for `idle_timeout_ms`, and brood stopped it */
    BROOD_REASON_ABORTED,       /**< its `brood_abort` was pulled, or it was closed while it ran */
    BROOD_REASON_OUTPUT_LIMIT,  /**< it wrote more than `max_buffer` */
    BROOD_REASON_OUT_OF_MEMORY, /**< the host ran out of memory for what it wrote */
    BROOD_REASON_NOT_STARTED    /**< there never was a process */
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
} brood_usage;

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
    uint64_t reserved[5]; /**< zero */
} brood_exit;

/** Whether it ended by itself with code 0. */
static inline bool brood_exit_ok(const brood_exit *ended) {
    return ended->reason == BROOD_REASON_EXITED && ended->code == 0;
}

/**
 * The exit status that a shell or timeout(1) would give: the code; 128 + n for signal n; 124 for a timeout or an idle
 * limit; 126 or 127 is for the caller to choose when it was not started (here 125). Unknown is 125.
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
