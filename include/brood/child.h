/**
 * @file child.h
 * Start, watch, stop and collect other programs: what Node.js's child_process is to JavaScript.
 *
 * Unless a function says otherwise it belongs to the thread that runs the loop, and its callbacks come there, from
 * within uv_run, never before the call that asked for them has returned.
 */
#ifndef BROOD_CHILD_H
#define BROOD_CHILD_H

#include <brood/base.h>
#include <brood/channel.h>
#include <brood/loop.h>
#include <brood/own.h>
#include <brood/process.h>
#include <brood/stream.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A child: one started program, until it is closed. */
typedef struct brood_child brood_child;

/** The child's environment. */
typedef enum brood_env_mode {
    BROOD_ENV_DEFAULT = 0, /**< INHERIT if `env` is NULL, else EXTEND (Node: replace) */
    BROOD_ENV_INHERIT,     /**< the host's; `env` must be NULL */
    BROOD_ENV_EXTEND,      /**< the host's, and then each "NAME=value" set, each "NAME" alone taken away */
    BROOD_ENV_REPLACE,     /**< `env` and nothing else */
    BROOD_ENV_CLEAR        /**< empty; `env` must be NULL */
} brood_env_mode;

/** A resource limit, setrlimit(2). */
typedef struct brood_rlimit {
    int resource;  /**< RLIMIT_NOFILE, … */
    uint64_t soft; /**< soft limit; UINT64_MAX: none */
    uint64_t hard; /**< hard limit; UINT64_MAX: none */
} brood_rlimit;

/** The arguments of a program as a literal: `.args = BROOD_ARGS("ls", "-la")`. Not in C++: give an array there. */
#define BROOD_ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

/** What a child ended with, for the exec forms and all that collect output. */
typedef struct brood_result {
    brood_exit exit;      /**< how it ended */
    brood_bytes out;      /**< what it wrote to slot 1, as far as it was collected */
    brood_bytes err;      /**< the same of slot 2 */
    uint64_t out_dropped; /**< bytes that were read over `max_buffer` and dropped, of slot 1 */
    uint64_t err_dropped; /**< of slot 2 */
    /**
     * The child ended, but its output did not by itself: another process still holds a pipe, and was not waited for any
     * longer, or what the child had left running held one until it was stopped.
     */
    bool cut;
    pid_t cut_pid; /**< who still holds a pipe, 0 if nobody does, or could not be found */
    /**
     * Node's name for what went wrong, or NULL: "ERR_CHILD_PROCESS_STDIO_MAXBUFFER", "ETIMEDOUT", "ABORT_ERR", or
     * the errno's name ("ENOENT") of a start that failed. Static text.
     */
    const char *error_name;
    const char *command;   /**< the command line, quoted to be pasted into a shell */
    const char *message;   /**< a sentence for a person: what ran, how it ended, and what to do if something is off */
    uint64_t queued_us;    /**< from the call to the start, microseconds */
    uint64_t total_us;     /**< from the call to the end of the output, microseconds */
    brood_failure failure; /**< reason NOT_STARTED: why; else zero */
    void *memory;          /**< brood's: brood_result_done frees it */
    brood_limited memory_limited; /**< whom `limits.memory` held */
    brood_guarantee guarantee;    /**< what it had, as brood_child_guarantee */
    uint64_t reserved[7];         /**< zero */
} brood_result;

/** The end of an exec. `result` is borrowed for the call; brood_result_take keeps it. */
typedef void (*brood_on_result)(brood_result *result, void *data);

/** How to start a child, and what to tell of it. All-zero but for `args` is a sensible start. */
typedef struct brood_options {
    /* the program */
    /** NULL-terminated; args[0] is argv[0] and, unless `file` is given, the program. Copied. */
    const char *const *args;
    /** the program: a path if it holds a '/', else searched in the child's PATH; NULL: args[0]. Copied. */
    const char *file;
    const char *shell;       /**< exec: run the command by this shell with -c; NULL: /bin/sh. Copied. */
    const char *const *env;  /**< NULL-terminated "NAME=value"; see env_mode. Copied. */
    brood_env_mode env_mode; /**< what env means; zero: extend the host's */
    const char *cwd;         /**< the child's directory; NULL: the host's. Copied. */
    bool cwd_by_fd;          /**< the directory is cwd_fd */
    int cwd_fd;              /**< with cwd_by_fd: an open directory, borrowed as brood_stdio's fd */

    /* who it is. Changing uid, gid or groups implies `offload`: the other user could stop the child before it
     * execs, and with it the thread that starts it. */
    bool set_uid;                /**< uid counts */
    uid_t uid;                   /**< real, effective and saved user */
    bool set_gid;                /**< gid counts */
    gid_t gid;                   /**< real, effective and saved group */
    bool set_groups;             /**< groups counts; if not, and set_uid or set_gid: no supplementary groups are left */
    const gid_t *groups;         /**< supplementary groups. Copied. */
    size_t group_count;          /**< how many, at most 65536 */
    bool set_umask;              /**< umask counts */
    mode_t umask;                /**< file mode creation mask */
    int nice;                    /**< added to the host's niceness, -40 to 39 */
    const brood_rlimit *rlimits; /**< resource limits. Copied. */
    size_t rlimit_count;         /**< how many */
    bool no_new_privs;           /**< no setuid program can raise its privileges: PR_SET_NO_NEW_PRIVS */
    bool detached;               /**< a session of its own, setsid(2), without the host's terminal */
    /**
     * Signals that the host ignores stay ignored, as execve(2) has it and nohup(1) needs. Zero: the child starts with
     * every signal at its default, so that a host that ignores SIGPIPE does not hand that on. No signal is blocked
     * either way.
     */
    bool keep_ignored;

    /* its slots */
    brood_stdio in;          /**< slot 0 */
    brood_stdio out;         /**< slot 1 */
    brood_stdio err;         /**< slot 2 */
    const brood_slot *slots; /**< more slots. Copied. Whatever is named nowhere does not reach the child. */
    size_t slot_count;       /**< how many, at most 1024 */

    /* when it ends */
    brood_ownership own;     /**< what a stop reaches */
    brood_guarantee require; /**< with less than this, the start is refused; zero: none is required */
    /**
     * BROOD_OWN_TREE: in a PID namespace of its own, pid_namespaces(7), with a /proc of its own. What is in there sees
     * nobody else, has pids of its own, and cannot outlive the holder, its PID 1, by whatever way that ends: so the
     * guarantee is KERNEL without any cgroup. Takes CAP_SYS_ADMIN.
     */
    bool pid_namespace;
    /**
     * BROOD_OWN_TREE: have a holder (man 7 brood) for full accounts: max_rss_kb is the program's own, whatever the host
     * has, and on_empty's usage is complete. Without it a start takes half the time where the host may make cgroups,
     * and three quarters elsewhere.
     */
    bool accounting;
    brood_limits limits;      /**< BROOD_OWN_TREE: what all of it may use together */
    uint64_t timeout_ms;      /**< stop it so long after the call; 0: never */
    uint64_t idle_timeout_ms; /**< stop it when so long nothing came from it through a pipe; 0: never */
    int kill_signal;          /**< what a stop sends first; 0: SIGTERM */
    uint64_t kill_grace_ms;   /**< SIGKILL so long after it; 0: 5000; BROOD_FOREVER: never */
    /**
     * After the exit, how long on_close waits for pipes that other processes still hold, counted from the last byte
     * read. 0: spawn waits for the last writer, as Node does, the exec forms 1000 ms. A child that was stopped is
     * waited for kill_grace_ms at most, whatever stands here.
     */
    uint64_t close_grace_ms;
    /** exec: bytes kept per output slot, over it the child is stopped; 0: 1 MiB; SIZE_MAX: no limit */
    size_t max_buffer;
    brood_abort *abort; /**< stops the child when pulled; the child holds on to it */

    /* its messages: brood_fork only */
    brood_serialization serialization;       /**< how messages become bytes; the child is told */
    brood_on_message on_message;             /**< NULL: they wait until brood_channel_listen */
    brood_on_disconnect on_disconnect;       /**< the channel is closed; before on_close */
    brood_on_channel_drain on_channel_drain; /**< room again after a send returned 1 */
    /** the channel's limits; NULL: the defaults. Its callbacks and data must be NULL: they stand here. Copied. */
    const brood_channel_options *channel;
    int channel_slot; /**< the child's descriptor for it, 3 to 65535; 0: the lowest from 3 on that is free */

    /* how to start, what to tell */
    /** start on a starter thread: the loop does not wait for the kernel. Failures come by on_error. */
    bool offload;
    void (*on_spawn)(brood_child *child, void *data); /**< the program runs; before every other event */
    /** offload: it could not be started; then on_close */
    void (*on_error)(brood_child *child, const brood_failure *why, void *data);
    /** the process ended; output may still come */
    void (*on_exit)(brood_child *child, const brood_exit *ended, void *data);
    /** ended, and every pipe is at its end: the last event */
    void (*on_close)(brood_child *child, const brood_exit *ended, void *data);
    /**
     * BROOD_OWN_TREE: nothing of its tree is left. `usage` is that of all of it, its max_rss_kb that of its largest
     * process, which began with the host's unless there is `accounting`; without a holder only its CPU times, and its
     * tree_peak_kb if that was counted: the rest is 0. After on_exit; before on_close or, where the tree outlives that,
     * after it.
     */
    void (*on_empty)(brood_child *child, const brood_usage *usage, void *data);
    /**
     * Its tree has reached a limit: the kernel killed a process of it (MEMORY), refused a fork (PIDS), or it is going to
     * be stopped (CPU_TIME). Once for those that come together.
     */
    void (*on_limit)(brood_child *child, const brood_limit_hit *hit, void *data);
    void *data;           /**< handed to every callback; yours */
    uint64_t reserved[8]; /**< zero */
} brood_options;

/** @cond sized: the public forms pass the struct's size, so that programs compiled earlier keep working */
BROOD_API int brood_spawn_sized(uv_loop_t *loop, const brood_options *options, size_t size, brood_child **ret_child,
                                brood_failure *ret_failure);
BROOD_API int brood_fork_sized(uv_loop_t *loop, const brood_options *options, size_t size, brood_child **ret_child,
                               brood_failure *ret_failure);
BROOD_API int brood_exec_sized(uv_loop_t *loop, const char *command, const brood_options *options, size_t size,
                               brood_on_result on_result, void *data, brood_child **ret_child);
BROOD_API int brood_exec_file_sized(uv_loop_t *loop, const brood_options *options, size_t size,
                                    brood_on_result on_result, void *data, brood_child **ret_child);
BROOD_API int brood_spawn_sync_sized(const brood_options *options, size_t size, brood_result *ret_result,
                                     size_t result_size);
BROOD_API int brood_exec_sync_sized(const char *command, const brood_options *options, size_t size,
                                    brood_result *ret_result, size_t result_size);
BROOD_API int brood_exec_file_sync_sized(const brood_options *options, size_t size, brood_result *ret_result,
                                         size_t result_size);
BROOD_API int brood_child_members_sized(brood_child *child, brood_member *ret_members, size_t room, size_t size);
BROOD_API int brood_await_sized(brood_child *child, brood_result *ret_result, size_t result_size);
BROOD_API int brood_result_take_sized(brood_result *result, brood_result *ret_result, size_t result_size);
/** @endcond */

/**
 * Start a child and watch it until it ends. When this returns 0 the program is running, and a failed exec has been
 * returned here; with options->offload, or a change of credentials, it is being started and on_spawn or on_error tells.
 *
 * loop         borrowed; held by the child until its on_close (see brood_child_unref)
 * options      borrowed; what is kept is copied
 * ret_child    yours until brood_child_close, also after its exit. NULL: it closes itself after on_close.
 * ret_failure  may be NULL; on error, which step failed and on what
 *
 * Returns 0, or a negative errno: -ENOENT, -EACCES, -ENOEXEC, -EAGAIN (process limit), -EMFILE, -ENOMEM, -EINVAL
 * (options), … On error there is no child and no callback to come.
 */
static inline int brood_spawn(uv_loop_t *loop, const brood_options *options, brood_child **ret_child,
                              brood_failure *ret_failure) {
    return brood_spawn_sized(loop, options, sizeof *options, ret_child, ret_failure);
}

/**
 * Start a child with a channel for messages. It may be any program that knows Node's channel: a Node program
 * (`BROOD_ARGS("node", "worker.js")`), or one that calls brood_channel_open_parent or brood_worker_main. Otherwise as
 * brood_spawn, all of whose options hold. The channel keeps the loop alive until it is closed.
 *
 * ret_child    as brood_spawn's; its channel is brood_child_channel
 */
static inline int brood_fork(uv_loop_t *loop, const brood_options *options, brood_child **ret_child,
                             brood_failure *ret_failure) {
    return brood_fork_sized(loop, options, sizeof *options, ret_child, ret_failure);
}

/**
 * Run a command by a shell, collect what it writes, and answer once. Starts off the loop. Never put a string from
 * outside into `command`: that is what brood_exec_file is for.
 *
 * command    copied
 * options    NULL, or as brood_spawn's; args and file must be NULL
 * on_result  the answer: also when the start failed (reason NOT_STARTED). May be NULL.
 * data       handed to on_result; the options' callbacks get the options' data
 * ret_child  as brood_spawn's
 *
 * Returns 0; else on_result does not come: -EINVAL (no command or no loop), -E2BIG (options of a newer brood), -EBUSY
 * (the loop is being closed), -ENOTSUP (the loop of a libuv that is not ours), -ENOMEM, or -EMFILE, -ENFILE or -ENOSPC
 * (nothing left to watch by).
 */
static inline int brood_exec(uv_loop_t *loop, const char *command, const brood_options *options,
                             brood_on_result on_result, void *data, brood_child **ret_child) {
    return brood_exec_sized(loop, command, options, sizeof *options, on_result, data, ret_child);
}

/** As brood_exec, without a shell: options->args go to the program as they are. options->shell must be NULL. */
static inline int brood_exec_file(uv_loop_t *loop, const brood_options *options, brood_on_result on_result, void *data,
                                  brood_child **ret_child) {
    return brood_exec_file_sized(loop, options, sizeof *options, on_result, data, ret_child);
}

/**
 * Run a program and wait for it, without any loop; slots as brood_spawn's (a pipe without on_data is collected).
 * Any thread. Callbacks must be NULL. Timeouts, limits and aborts hold as in the other forms.
 *
 * ret_result  always written, and yours to brood_result_done, on error too: it tells why
 *
 * Returns 0 if the program ran, however it ended; else the negative errno of the start that failed.
 */
static inline int brood_spawn_sync(const brood_options *options, brood_result *ret_result) {
    return brood_spawn_sync_sized(options, sizeof *options, ret_result, sizeof *ret_result);
}

/** As brood_exec, waiting, without any loop. Any thread. Returns and result as brood_spawn_sync. */
static inline int brood_exec_sync(const char *command, const brood_options *options, brood_result *ret_result) {
    return brood_exec_sync_sized(command, options, sizeof *options, ret_result, sizeof *ret_result);
}

/** As brood_exec_file, waiting, without any loop. Any thread. Returns and result as brood_spawn_sync. */
static inline int brood_exec_file_sync(const brood_options *options, brood_result *ret_result) {
    return brood_exec_file_sync_sized(options, sizeof *options, ret_result, sizeof *ret_result);
}

/**
 * Run the loop until the child's on_close, and take its result: straight-line code on a loop. Other work of the loop
 * goes on meanwhile. The child stays yours to close.
 *
 * ret_result  as brood_spawn_sync's; may be NULL. Output is in it for the exec forms.
 *
 * Returns as brood_spawn_sync; -EDEADLK inside a callback of brood, where it would never return. Nor may it be called
 * within any other callback of the loop: libuv's uv_run cannot be nested. Where on_result took the result, or an await
 * before this one, `ret_result` has how it ended and no more.
 */
static inline int brood_await(brood_child *child, brood_result *ret_result) {
    return brood_await_sized(child, ret_result, ret_result ? sizeof *ret_result : 0);
}

/** Free what a result holds and zero it. NULL or an all-zero result is harmless. Any thread. */
BROOD_API void brood_result_done(brood_result *result);

/** In on_result: keep the result. `ret_result` is yours to brood_result_done; `result` is left empty. Returns 0. */
static inline int brood_result_take(brood_result *result, brood_result *ret_result) {
    return brood_result_take_sized(result, ret_result, sizeof *ret_result);
}

/** Its pid; 0 while it is being started, or if it never was. A number to show: signals go by brood_child_kill. */
BROOD_API pid_t brood_child_pid(const brood_child *child);

/** How it ended, or NULL while it runs. Valid until brood_child_close. */
BROOD_API const brood_exit *brood_child_exit(const brood_child *child);

/** The host's end of a slot's pipe, or NULL if that slot is no pipe. */
BROOD_API brood_stream *brood_child_stream(brood_child *child, int slot);

/** The host's end of the channel of a child that brood_fork started; NULL for all others. Valid as the child is. */
BROOD_API brood_channel *brood_child_channel(brood_child *child);

/** The child that a channel belongs to; NULL for the channel to this process's parent. */
BROOD_API brood_child *brood_channel_child(const brood_channel *channel);

/** How sure it is that nothing of what it started is left after it, as things stand now. */
BROOD_API brood_guarantee brood_child_guarantee(const brood_child *child);

/** Whom one of its limits holds. */
BROOD_API brood_limited brood_child_limited(const brood_child *child, brood_limit limit);

/** The options' data. */
BROOD_API void *brood_child_data(const brood_child *child);

/** The child that a stream belongs to. */
BROOD_API brood_child *brood_stream_child(const brood_stream *stream);

/**
 * Send a signal to the process, by its pidfd: never to another that got its pid. Signal 0 only asks.
 * Before on_spawn, any signal but 0 cancels the start; without one, as long as there is no pid.
 *
 * Returns 0, -ESRCH (it has ended), -EPERM, or -EINVAL (no such signal).
 */
BROOD_API int brood_child_kill(brood_child *child, int signal);

/** The same to all that it owns: its group, if it owns one. */
BROOD_API int brood_child_kill_owned(brood_child *child, int signal);

/**
 * Let nothing of what it owns run until brood_child_thaw. A tree with a cgroup is frozen by that, unseen by its
 * processes; another by a SIGSTOP to each, again and again until no new one is found; if it has a holder, a moment later.
 * A process, or a group, gets a SIGSTOP. Time limits go on. A signal that comes meanwhile takes effect with the thaw,
 * unless it ends a process that has no handler for it. A stop, a timeout, an abort and a close end what is frozen as
 * they end what runs: it is thawed for that, or killed. So does the host's end. Letting it live thaws a tree.
 *
 * Returns 0, -ESRCH (nothing of it is left, or it is being killed), -EPERM, -EAGAIN (it is still being started, or the
 * holder has yet to do what it was told before), or -EOPNOTSUPP (a tree that was let live: nobody would thaw it).
 */
BROOD_API int brood_child_freeze(brood_child *child);

/**
 * All that it owns goes on, with the signals that came meanwhile. A SIGCONT to all that it owns does the same. Where
 * SIGSTOP was used, what had stopped by itself goes on as well. Harmless on what is not frozen. Returns as
 * brood_child_freeze.
 */
BROOD_API int brood_child_thaw(brood_child *child);

/**
 * Who of all that it owns is alive, what that uses, in the order of the pids: its tree, as the cgroup lists it (whoever
 * root has moved out is missing) or, without one, who descends from the holder, which is not counted itself; its group;
 * or the process. Read from /proc in this call: no picture of one moment, and for looking at, not for signalling.
 *
 * ret_members  at most `room` of them; may be NULL with room 0
 *
 * Returns how many there are, also if there was not the room: 0 while it is being started and after its end; or a
 * negative errno: -ENOENT (no /proc), -EMFILE, -ENFILE, -ENOMEM.
 */
static inline int brood_child_members(brood_child *child, brood_member *ret_members, size_t room) {
    return brood_child_members_sized(child, ret_members, room, sizeof *ret_members);
}

/**
 * Stop it as a timeout would: kill_signal to all that it owns, SIGKILL after kill_grace_ms. The reason will be
 * ABORTED. Harmless if it has ended.
 */
BROOD_API void brood_child_stop(brood_child *child);

/**
 * Give it up. Running, it is stopped as brood_child_stop does, unless detached or owned by nobody. Only on_close still
 * comes, and after it nothing: the pointer is dead then, and for you from now on. Once, at any time, in any callback.
 * NULL is harmless.
 */
BROOD_API void brood_child_close(brood_child *child);

/**
 * Let it live: no close, timeout, abort or limit stops it from now on. (What its tree may use, `limits`, is kept all the
 * same, but for CPU time.) It is still watched, and reaped, while the loop
 * runs. Closed, it gets its on_close at once, with reason UNKNOWN; until it ends, or brood_loop_close, the loop has a
 * handle for it and uv_loop_close says -EBUSY.
 */
BROOD_API void brood_child_detach(brood_child *child);

/** It does not keep the loop alive (uv_unref), pipes included. */
BROOD_API void brood_child_unref(brood_child *child);

/** It keeps the loop alive again: the default. */
BROOD_API void brood_child_ref(brood_child *child);

#ifdef __cplusplus
}
#endif
#endif
