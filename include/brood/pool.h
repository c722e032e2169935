/**
 * @file pool.h
 * A pool of worker processes: tasks go in, each comes out with exactly one outcome, whatever its worker does. A worker is
 * any program that brood_fork can talk to. It is sent each task with the pool's `id` in it, and answers `{id, result}` or
 * `{id, error}`; `{id, progress}` before that, as often as it likes. Loop thread only; callbacks come from within uv_run.
 */
#ifndef BROOD_POOL_H
#define BROOD_POOL_H

#include <brood/child.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A pool, from brood_pool_open to the end of its close. */
typedef struct brood_pool brood_pool;

/** What became of a task. */
typedef enum brood_fate {
    BROOD_FATE_DONE = 0,  /**< its worker answered with a result */
    BROOD_FATE_FAILED,    /**< its worker answered with an error */
    BROOD_FATE_CRASHED,   /**< its worker ended, closed its channel, or broke its format, in each attempt */
    BROOD_FATE_TIMED_OUT, /**< it ran too long, or its worker fell silent, and was stopped: the last attempt's end */
    BROOD_FATE_ABORTED,   /**< brood_pool_abort, its brood_abort, or the pool's close */
    BROOD_FATE_DROPPED,   /**< newer ones took its place in a full queue */
    BROOD_FATE_NO_WORKER  /**< no worker can be started */
} brood_fate;

/** The word for a fate: "done", "timed out". Static. Any thread. */
BROOD_API const char *brood_fate_text(brood_fate fate);

/** How a task ended. Borrowed for the call, as is what it holds: brood_value_take keeps the result. */
typedef struct brood_outcome {
    uint64_t ticket;               /**< the task's, as brood_pool_run gave it */
    brood_fate fate;               /**< what became of it */
    brood_value result;            /**< DONE: the answer's `result`; may be missing */
    const char *message;           /**< one line for a person; FAILED: what the worker said; never NULL */
    unsigned attempts;             /**< how often it was begun; those that were broken off by no fault of its own not */
    const brood_exit *worker_exit; /**< CRASHED: how the worker ended; else NULL */
    uint64_t wait_us;              /**< from brood_pool_run to its last start, microseconds */
    uint64_t run_us;               /**< from that to its end; 0 if it was never begun */
    /** descriptors that came with the answer, close-on-exec; closed after the call, but brood_take_fd */
    int *fds;
    size_t fd_count;      /**< how many */
    uint64_t reserved[4]; /**< zero */
} brood_outcome;

/** Something to do. All-zero but for the body is a sensible start. */
typedef struct brood_task {
    /**
     * An object without a member `id`, which the pool appends; with the pool's `wrap` any value. Its descriptors, if it
     * has any, go with each attempt; a worker that does not take them ends it as FAILED.
     */
    brood_body body;
    uint64_t timeout_ms;   /**< how long it may run, from the moment its worker has it to do; 0: the pool's */
    unsigned max_attempts; /**< how often it may be begun; 1: at most once; 0: the pool's */
    int priority;          /**< -128 to 127: higher ones first, those that are equal in their order */
    /**
     * Tasks of the same key go to the same worker, one after another, as long as that one is there: for what it keeps in
     * its memory. While it is at work they wait for it, and their priority counts no more. NULL: any worker.
     */
    const char *sticky;
    brood_abort *abort; /**< ends it when pulled, queued or running; the task holds on to it */
    void (*on_progress)(uint64_t ticket, brood_value progress, void *data); /**< its worker said so; may be NULL */
    void (*on_done)(const brood_outcome *outcome, void *data);              /**< exactly once; may be NULL */
    void *data;                                                             /**< handed to both; yours */
    uint64_t reserved[8];                                                   /**< zero */
} brood_task;

/** What happens to a task for which the queue has no room. */
typedef enum brood_on_full {
    BROOD_FULL_REFUSE = 0, /**< brood_pool_run returns -EAGAIN */
    /** it is taken, and brood_pool_run returns 1: wait for on_drain. What is over twice the limit is refused. */
    BROOD_FULL_WAIT,
    BROOD_FULL_DROP_OLDEST /**< it is taken, and the oldest of the lowest priority ends as DROPPED */
} brood_on_full;

/** What an event tells of. */
typedef enum brood_pool_event_kind {
    BROOD_POOL_WORKER_STARTED = 1, /**< the program runs */
    BROOD_POOL_WORKER_READY,       /**< it takes tasks from now on */
    BROOD_POOL_WORKER_LEAVING,     /**< it gets no more tasks: `detail` says why */
    BROOD_POOL_WORKER_ENDED,       /**< its process has: `exit` */
    BROOD_POOL_START_FAILED,       /**< a worker could not be started: `detail` says why */
    BROOD_POOL_GAVE_UP,            /**< no more are started: `detail` says why; brood_pool_resume tries again */
    BROOD_POOL_TASK_SENT,          /**< to `worker`; with several under way it may have to wait there */
    BROOD_POOL_TASK_REQUEUED,      /**< back to the head of the queue: `detail` says why */
    BROOD_POOL_TASK_DONE,          /**< its outcome is `fate`; on_done comes next */
    BROOD_POOL_STRAY               /**< `worker` answered what it was not asked, or twice: ignored */
} brood_pool_event_kind;

/** The word for a kind of event: "worker ready". Static. Any thread. */
BROOD_API const char *brood_pool_event_text(brood_pool_event_kind kind);

/** One change in a pool. Borrowed for the call. */
typedef struct brood_pool_event {
    brood_pool_event_kind kind; /**< what happened */
    uint64_t time_us;           /**< when: microseconds of CLOCK_MONOTONIC */
    uint64_t ticket;            /**< of a task; 0: it is about none */
    /** the worker's number, from 1, given again once it is free; 0: it is about none, or the task never had one */
    unsigned worker;
    pid_t pid;              /**< the worker's; 0 where it has none */
    unsigned attempt;       /**< TASK_SENT, TASK_REQUEUED, TASK_DONE: which one it is, from 1 */
    brood_fate fate;        /**< TASK_DONE */
    uint64_t run_us;        /**< TASK_DONE, TASK_REQUEUED: how long it has run, as the outcome's */
    const brood_exit *exit; /**< WORKER_ENDED; else NULL */
    const char *detail;     /**< in words; never NULL */
    uint64_t reserved[4];   /**< zero */
} brood_pool_event;

/** A worker that can take a task, as `pick` is shown it. */
typedef struct brood_pool_choice {
    unsigned worker;   /**< its number, as in events */
    pid_t pid;         /**< its process */
    unsigned load;     /**< tasks that it has */
    uint64_t done;     /**< tasks that it has answered */
    uint64_t reserved; /**< zero */
} brood_pool_choice;

/** Which of the workers that can take a task gets the next one. */
typedef enum brood_balance {
    BROOD_BALANCE_LEAST = 0, /**< the one that has the fewest; of those, the one that became free last */
    BROOD_BALANCE_TURNS      /**< one after the other, whatever they have: round-robin */
} brood_balance;

/** How a pool works. All-zero but for the worker's args is a sensible start. */
typedef struct brood_pool_options {
    /**
     * The program, as for brood_fork; copied, descriptors are duplicated. Zero means here: `own` TREE, so that a worker
     * goes with all that it has started; slot 0 reads /dev/null. Its callbacks must be NULL, but those of its slots, and
     * so must be `abort`, its time limits, and `own` NONE may not be.
     */
    brood_options worker;
    unsigned min_workers;   /**< so many run even with nothing to do */
    unsigned max_workers;   /**< so many work at a time, started as they are needed; 0: the number of CPUs */
    unsigned spare_workers; /**< beyond those, so many are kept ready to take the place of one that ends */
    unsigned prefetch;      /**< tasks that a worker is sent ahead, the one it works at among them; 0: 1; at most 64 */
    bool wrap;              /**< tasks are any values, sent as `{id, task}` */
    uint64_t task_timeout_ms;  /**< how long a task may run; 0 or BROOD_FOREVER: any time */
    uint64_t silence_ms;       /**< as long, but from the last the worker said, progress among it; 0: any time */
    unsigned max_attempts;     /**< how often a task may be begun; 0: 3 */
    size_t max_queued;         /**< tasks that wait; 0: any number */
    size_t max_queued_bytes;   /**< their messages' bytes; 0: 1 GiB */
    brood_on_full on_full;     /**< what happens beyond */
    bool wait_ready;           /**< a worker takes tasks once it has sent "ready", or `{"ready": true}` */
    uint64_t ready_timeout_ms; /**< with wait_ready: so long after its start it is stopped; 0: 10000 */
    uint64_t idle_timeout_ms;  /**< a worker above min_workers that has nothing to do so long leaves; 0: never */
    uint64_t leave_ms;         /**< how long a worker that is to leave may take, then it is stopped; 0: 5000 */
    uint64_t backoff_ms;       /**< before a start after two that came to nothing; doubles with each more; 0: 100 */
    uint64_t max_backoff_ms;   /**< at most so long; 0: 30000 */
    /**
     * So many starts in a row that come to nothing, and no more are tried; those that were asked for together count once.
     * After so many crashes in a row of workers at their first task starts back off. 0: 8.
     */
    unsigned max_failures;
    /** a worker that has answered so many, less up to an eighth, is replaced; 0: never */
    uint64_t recycle_after_tasks;
    uint64_t recycle_after_ms; /**< one that is so old, less up to an eighth; 0: never */
    /**
     * One whose tree has more resident memory than this, in bytes; looked at when it has answered a task, once a second
     * at most. What processes share is counted for each. 0: never.
     */
    uint64_t recycle_above_bytes;
    brood_balance balance; /**< who gets the next task */
    /**
     * The caller's own choice instead: returns which of the `count` workers, which can each take one, gets the task of
     * this ticket; or `count`: none of them yet. It is asked again whenever something has changed; must not call the pool.
     */
    size_t (*pick)(brood_pool *pool, uint64_t ticket, const brood_pool_choice *choices, size_t count, void *data);
    void (*on_drain)(brood_pool *pool, void *data); /**< the queue fell to half its limits after it was full */
    void (*on_event)(brood_pool *pool, const brood_pool_event *event, void *data); /**< each change; may be NULL */
    void *data;                                                                    /**< handed to both; yours */
    uint64_t reserved[16];                                                         /**< zero */
} brood_pool_options;

/** Times of many tasks, in microseconds; percentiles are at most 7 % too high. */
typedef struct brood_pool_times {
    uint64_t count;   /**< of tasks */
    uint64_t mean_us; /**< all of them together, by their number */
    uint64_t p50_us;  /**< half of them took so long at most */
    uint64_t p90_us;  /**< nine of ten */
    uint64_t p99_us;  /**< 99 of a hundred */
    uint64_t p999_us; /**< 999 of a thousand */
    uint64_t max_us;  /**< the longest */
} brood_pool_times;

/** What a pool has done so far, and does now. */
typedef struct brood_pool_stats {
    unsigned starting;     /**< workers that are being started, or are not ready yet */
    unsigned up;           /**< workers that take tasks */
    unsigned working;      /**< those of them that have one */
    unsigned leaving;      /**< workers that end */
    size_t queued;         /**< tasks that wait */
    size_t queued_bytes;   /**< bytes of their messages */
    size_t running;        /**< tasks that workers have */
    uint64_t accepted;     /**< tasks that were taken, ever */
    uint64_t fates[7];     /**< those that have ended, by brood_fate */
    uint64_t requeued;     /**< attempts that were broken off, and tried again */
    uint64_t strays;       /**< answers that nobody had asked for */
    uint64_t started;      /**< workers, ever */
    uint64_t ended;        /**< workers, ever */
    uint64_t recycled;     /**< of those, the ones that were replaced for what they had done, their age, their memory */
    uint64_t failures;     /**< starts that came to nothing, ever */
    double utilisation;    /**< 0 to 1: of the time that workers were up, how much they had something to do */
    brood_pool_times wait; /**< from brood_pool_run to the last start, of tasks that were begun and have ended */
    brood_pool_times run;  /**< from there to the end */
    uint64_t reserved[8];  /**< zero */
} brood_pool_stats;

/** @cond sized: the public forms pass the struct's size, so that programs compiled earlier keep working */
BROOD_API int brood_pool_open_sized(uv_loop_t *loop, const brood_pool_options *options, size_t size,
                                    brood_pool **ret_pool, brood_failure *ret_failure);
BROOD_API int brood_pool_run_sized(brood_pool *pool, const brood_task *task, size_t size, uint64_t *ret_ticket);
BROOD_API int brood_pool_broadcast_sized(brood_pool *pool, const brood_body *body, size_t size);
BROOD_API void brood_pool_stats_get_sized(const brood_pool *pool, brood_pool_stats *ret_stats, size_t size);
/** @endcond */

/**
 * Open a pool. Workers are started off the loop: one that cannot be is told by on_event, and by the outcomes of the tasks
 * that have nobody to do them. The pool keeps the loop alive while a task is unfinished, or it is being closed.
 *
 * options       borrowed; what is kept is copied
 * ret_pool      yours until brood_pool_close
 * ret_failure   may be NULL
 *
 * Returns 0, -EINVAL (options), -E2BIG (those of a newer brood), -EBUSY (the loop is being closed), -ENOTSUP (the loop of
 * a libuv that is not ours), -EBADF, -EMFILE, or -ENOMEM.
 */
static inline int brood_pool_open(uv_loop_t *loop, const brood_pool_options *options, brood_pool **ret_pool,
                                  brood_failure *ret_failure) {
    return brood_pool_open_sized(loop, options, options ? sizeof *options : 0, ret_pool, ret_failure);
}

/**
 * Have a task done. It is serialised now, once for all its attempts. First come, first served, but for priorities.
 *
 * task         borrowed for the call; what is kept is copied
 * ret_ticket   may be NULL; its number, never 0, which is also the `id` of its message
 *
 * Returns 0, or 1 (BROOD_FULL_WAIT: wait for on_drain); else on_done does not come: -EAGAIN (the queue is full),
 * -EMSGSIZE (it alone is larger than the queue may be, or 2 GiB), -EINVAL (no object, or none or two bodies), -EEXIST (it
 * has an `id` of its own), -EILSEQ (no JSON, or no UTF-8), others as of brood_writer_status, -ERANGE (priority),
 * -ECANCELED (its abort was pulled), -ESHUTDOWN (the pool is being closed), -ENOTRECOVERABLE (no worker can be started:
 * brood_pool_failure), -EDEADLK (called by a body's `write`), -EBADF, -EMFILE, or -ENOMEM.
 */
static inline int brood_pool_run(brood_pool *pool, const brood_task *task, uint64_t *ret_ticket) {
    return brood_pool_run_sized(pool, task, task ? sizeof *task : 0, ret_ticket);
}

/** After -EILSEQ: the offset, in the text that was given, of the first byte that cannot be. */
BROOD_API size_t brood_pool_error_offset(const brood_pool *pool);

/**
 * End a task: its on_done comes, later, with ABORTED. If it is running its worker is stopped, with all that it has
 * started, and what else that had been sent goes back to the queue. Returns 0, or -ENOENT (it has ended).
 */
BROOD_API int brood_pool_abort(brood_pool *pool, uint64_t ticket);

/** Start no task and no worker until brood_pool_resume; those that run go on. */
BROOD_API void brood_pool_pause(brood_pool *pool);

/** Go on, also after the pool has given up starting workers. */
BROOD_API void brood_pool_resume(brood_pool *pool);

/**
 * Have from now on so many workers, as the options min_workers and max_workers say. Those that are too many end what they
 * have, and leave. Returns 0, or -EINVAL (max is 0, or less than min).
 */
BROOD_API int brood_pool_resize(brood_pool *pool, unsigned min_workers, unsigned max_workers);

/**
 * Replace each worker that is there now, as one that is recycled is: after its successor has come, and when it has ended
 * what it has.
 */
BROOD_API void brood_pool_recycle(brood_pool *pool);

/**
 * Send a message to each worker that is there now, be it at work or being started; what it says to that is a stray. Not
 * to those that come later. Returns how many there are, or what brood_channel_send does; then some may have got it.
 */
static inline int brood_pool_broadcast(brood_pool *pool, const brood_body *body) {
    return brood_pool_broadcast_sized(pool, body, sizeof *body);
}

/** How it is going. */
static inline void brood_pool_stats_get(const brood_pool *pool, brood_pool_stats *ret_stats) {
    brood_pool_stats_get_sized(pool, ret_stats, sizeof *ret_stats);
}

/** Why no worker can be started, once the pool has given up (BROOD_POOL_GAVE_UP), else NULL. */
BROOD_API const brood_failure *brood_pool_failure(const brood_pool *pool);

/** The options' data. */
BROOD_API void *brood_pool_data(const brood_pool *pool);

/**
 * Close it: no more tasks are taken; those that are there are done, for `drain_ms` at most (BROOD_FOREVER: for as long as
 * it takes), then the rest ends as ABORTED and their workers are stopped. With 0 that is now. Workers with nothing to do
 * see the end of their channel and leave by themselves. May be called again, before on_closed, to shorten the time. NULL
 * is harmless.
 *
 * on_closed   NULL, or called once, when each on_done has been called and no worker is left; the pool is dead then.
 *             Without, it is dead for you now. Of several calls the first that gives one counts.
 * data        handed to on_closed
 */
BROOD_API void brood_pool_close(brood_pool *pool, uint64_t drain_ms, void (*on_closed)(void *data), void *data);

#ifdef __cplusplus
}
#endif
#endif
