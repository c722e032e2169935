/**
 * @file base.h
 * What every room of brood uses: failures, byte strings, constants, hooks, the version.
 */
#ifndef BROOD_BASE_H
#define BROOD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifndef UV_H /* the loop is borrowed: brood's headers do not need uv.h */
/** libuv's loop. Include `uv.h` yourself where you run it. */
typedef struct uv_loop_s uv_loop_t;
#endif

/** Marks what the shared library exports. */
#define BROOD_API __attribute__((visibility("default")))

/** Length of an argument that ends at its NUL byte: brood measures it. */
#define BROOD_NUL ((size_t)-1)

/** A time in milliseconds that never comes. */
#define BROOD_FOREVER UINT64_MAX

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Bytes that somebody else owns. Never NULL in a result: an empty one points at "". A NUL byte follows the last one.
 */
typedef struct brood_bytes {
    const char *bytes; /**< the first byte */
    size_t len;        /**< how many, the NUL not counted */
} brood_bytes;

/** What was being done when a start failed, in the order in which a child does it. */
typedef enum brood_step {
    BROOD_STEP_NONE = 0,
    BROOD_STEP_OPTIONS,      /**< the options contradict each other, or hold what no program can be given */
    BROOD_STEP_MEMORY,       /**< memory for the start */
    BROOD_STEP_LOOP,         /**< the loop's own resources */
    BROOD_STEP_THREAD,       /**< a starter thread, for starts off the loop */
    BROOD_STEP_PIPE,         /**< a pipe for a slot */
    BROOD_STEP_OPEN,         /**< a slot's file; the subject is its path */
    BROOD_STEP_CLONE,        /**< the new process itself: process limit, memory */
    BROOD_STEP_SESSION,      /**< setsid(2) */
    BROOD_STEP_GROUP,        /**< setpgid(2) */
    BROOD_STEP_STDIO,        /**< putting a descriptor into its slot; the subject is the slot */
    BROOD_STEP_UMASK,        /**< umask(2) */
    BROOD_STEP_NICE,         /**< setpriority(2) */
    BROOD_STEP_LIMIT,        /**< setrlimit(2); the subject is the resource */
    BROOD_STEP_GID,          /**< setresgid(2) */
    BROOD_STEP_GROUPS,       /**< setgroups(2) */
    BROOD_STEP_UID,          /**< setresuid(2) */
    BROOD_STEP_CWD,          /**< chdir(2) or fchdir(2); the subject is the directory */
    BROOD_STEP_NO_NEW_PRIVS, /**< prctl(2), PR_SET_NO_NEW_PRIVS */
    BROOD_STEP_EXEC,         /**< execve(2); the subject is the program */
    BROOD_STEP_ABORTED,      /**< aborted, closed or killed before it was started */
    BROOD_STEP_HOLDER,       /**< the process that holds its tree */
    BROOD_STEP_CGROUP        /**< a limit of its tree; the subject is which: "pids" */
} brood_step;

/**
 * Why a call failed. Yours, owns its text, needs no clean-up; all-zero means no failure.
 * A text too long for its field ends in "...".
 */
typedef struct brood_failure {
    int code;          /**< a negative errno, the call's return value */
    brood_step step;   /**< what was being done */
    char subject[240]; /**< on what: a program, a path, a slot; "" if on nothing in particular */
    char message[480]; /**< one line for a person: `chdir "/srv": No such file or directory` */
} brood_failure;

/** The word for a step, as it stands in messages: "chdir", "exec". Static. Any thread. */
BROOD_API const char *brood_step_text(brood_step step);

/** One thing that happened, as told to the trace hook. Borrowed for the call. */
typedef struct brood_trace_event {
    const char *name;   /**< "start", "spawn", "signal", "stop", "freeze", "thaw", "exit", "close": static text */
    pid_t pid;          /**< the child, 0 before it has one */
    int64_t value;      /**< start: 0; signal: its number; exit: the code or minus the signal; else 0 */
    const char *detail; /**< the program, or the reason; may be "" */
} brood_trace_event;

/**
 * The one hook into brood, for loggers, tracers and tests. Zero leaves a hook as it is by default:
 * no trace, the C library's allocator.
 */
typedef struct brood_hooks {
    /** Called for each event on the thread where it happens; must not call brood. */
    void (*trace)(const brood_trace_event *event, void *data);
    /**
     * An allocator: all three or none. As malloc(3), realloc(3), free(3). Called from starter threads too: one may give
     * its last block back a moment after the loop has told what it was for.
     */
    void *(*malloc)(size_t size, void *data);
    void *(*realloc)(void *block, size_t size, void *data); /**< @copydoc malloc */
    void (*free)(void *block, void *data);                  /**< @copydoc malloc */
    void *data;                                             /**< handed to each hook; yours */
} brood_hooks;

/** @cond sized: the public form passes the struct's size, so that programs compiled earlier keep working */
BROOD_API int brood_set_hooks_sized(const brood_hooks *hooks, size_t size);
/** @endcond */

/**
 * Set the hooks of the process. Only before the first other call of brood: memory must go back where it came from.
 *
 * hooks   copied; NULL: back to the defaults.
 *
 * Returns 0, -EINVAL (an allocator with a function missing), or -EBUSY (brood has been used already and the
 * allocator would change).
 */
static inline int brood_set_hooks(const brood_hooks *hooks) {
    return brood_set_hooks_sized(hooks, sizeof *hooks);
}

/** The version of the library that runs, "MAJOR.MINOR.PATCH". Static. Any thread. */
BROOD_API const char *brood_version(void);

#ifdef __cplusplus
}
#endif
#endif
