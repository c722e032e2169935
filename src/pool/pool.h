/*
 * A pool from inside: tasks, the queue that they wait in, the workers that have them, and one timer for all that may be
 * late. Whatever a caller asks for is noted, and carried out from within uv_run by brood__pool_go.
 */
#ifndef BROOD_POOL_POOL_INTERNAL_H
#define BROOD_POOL_POOL_INTERNAL_H

#include "base/clock.h"
#include "base/memory.h"
#include "loop/loop.h"
#include "own/abort.h"
#include "value/writer.h"

#include <brood/pool.h>

#define BROOD__MAX_PREFETCH 64
#define BROOD__PRIORITIES 256
#define BROOD__LANES 4096 /* that keys fall into */

/*
 *   QUEUED <---> AT_WORKER ---> FINISHED      and from QUEUED to FINISHED; then it is told, and gone
 */
typedef enum brood__task_state {
    BROOD__TASK_QUEUED,
    BROOD__TASK_AT_WORKER,
    BROOD__TASK_FINISHED, /* its outcome is known, and told with the next turn */
} brood__task_state;

/* A million of them may wait: nothing is in here that only few need. */
typedef struct brood__task {
    brood__list node; /* in the queue, at its worker, or among those whose outcome is due */
    struct brood__task *next_of_bucket;
    uint64_t ticket;
    union {
        struct brood__worker *worker; /* AT_WORKER */
        const char *why;              /* FINISHED: static text, or the pool's */
    };
    void (*on_progress)(uint64_t ticket, brood_value progress, void *data);
    void (*on_done)(const brood_outcome *outcome, void *data);
    void *data;
    struct brood__task_extra *extra; /* NULL: it has no abort, and no descriptors */
    uint64_t asked_us, begun_us;     /* begun: 0 while it is queued; at its worker, when its turn came */
    uint64_t timeout_ms;
    uint32_t attempts, max_attempts;
    uint32_t number; /* of the worker that has it, or had it last; 0: it is queued */
    uint16_t lane;   /* of its key, from 1; 0: it has none */
    uint8_t level;   /* of its priority, 0 the lowest */
    uint8_t state;
    uint8_t fate; /* FINISHED */
    bool kept;    /* for its worker: it is among those that wait for that */
    bool alone;   /* to be at a worker with no other: one of several that were there when it crashed */
    size_t len;
    char frame[]; /* as it is sent */
} brood__task;

typedef struct brood__task_extra {
    brood__task *task;
    brood_pool *pool;
    brood_abort *abort;
    brood__abort_listener listener;
    size_t fd_count;
    int fds[];
} brood__task_extra;

/* --- queue.c: the tasks that wait, and the tickets of all --- */

typedef struct brood__queue {
    brood__list levels[BROOD__PRIORITIES]; /* each in the order of tickets */
    uint64_t used[BROOD__PRIORITIES / 64]; /* a bit for each level that is not empty */
    size_t count, bytes;
    size_t width;                   /* how many could be done side by side: those that are kept, and all but one of */
    uint32_t of_lane[BROOD__LANES]; /* each lane, could not. How many of each there are */
} brood__queue;

void brood__queue_init(brood__queue *queue);
/* At its place: the oldest first. */
void brood__queue_put(brood__queue *queue, brood__task *task);
void brood__queue_remove(brood__queue *queue, brood__task *task);
/* At the end of that list: it counts still, and is nobody's next. */
void brood__queue_set_aside(brood__queue *queue, brood__task *task, brood__list *kept);
/* All of the list, each at its place. */
void brood__queue_put_back(brood__queue *queue, brood__list *kept);
/* The next one, or NULL. */
brood__task *brood__queue_first(const brood__queue *queue);
/* The oldest of the lowest priority, or NULL. */
brood__task *brood__queue_least(const brood__queue *queue);

typedef struct brood__tickets {
    brood__task **buckets;
    size_t bucket_count; /* a power of two */
    size_t count;
    uint64_t last; /* given */
} brood__tickets;

int brood__tickets_init(brood__tickets *tickets);
/* Gives it the next ticket. */
void brood__tickets_add(brood__tickets *tickets, brood__task *task);
void brood__tickets_remove(brood__tickets *tickets, brood__task *task);
brood__task *brood__tickets_find(const brood__tickets *tickets, uint64_t ticket);

/* --- stats.c --- */

#define BROOD__TIME_BUCKETS 1024

/* Microseconds in buckets, sixteen to an octave. */
typedef struct brood__times {
    uint64_t count, sum_us, max_us;
    uint64_t buckets[BROOD__TIME_BUCKETS];
} brood__times;

void brood__times_add(brood__times *times, uint64_t us);
void brood__times_tell(const brood__times *times, brood_pool_times *ret_times);

/* --- the pool --- */

/*
 *   STARTING ---> UP ---> RETIRING ---> LEAVING ---> GONE      and from each to LEAVING, or GONE
 */
typedef enum brood__worker_state {
    BROOD__WORKER_STARTING, /* its program, or its word that it is ready, is waited for */
    BROOD__WORKER_UP,       /* takes tasks */
    BROOD__WORKER_RETIRING, /* takes no more, and ends those that it has */
    BROOD__WORKER_LEAVING,  /* is to end: disconnected, or being stopped */
    BROOD__WORKER_GONE,     /* its process has ended, what else it owned may not have */
    BROOD__WORKER_STATE_COUNT
} brood__worker_state;

typedef struct brood__worker {
    brood__list node;  /* in pool->workers */
    brood__list place; /* in pool->free, while it can take a task */
    brood__list due;   /* in pool->due, while its successor is waited for */
    brood_pool *pool;
    brood__worker_state state;
    unsigned number; /* from 1 */
    brood_child *child;
    brood__list waiting;    /* tasks that must be its own, and that it cannot take yet; of the queue still */
    brood__list ready;      /* in pool->ready, while there are such, and it can take one */
    brood__list tasks;      /* that it was sent, and has not answered: the oldest first */
    unsigned load;          /* how many */
    bool has_lane;          /* some are its own */
    bool was_up;            /* it has been UP */
    bool crowded;           /* one of them is to be alone */
    bool answered;          /* something, ever */
    bool stopped;           /* by us: its end is no fault of its own */
    bool told;              /* that it has ended */
    bool judged;            /* whether it was of use, at the first sign of its end */
    bool useless;           /* it was of none, and that is counted, but not told yet */
    uint8_t fate;           /* of the guilty one of its tasks, when it ends */
    brood__task *guilty;    /* NULL: the oldest one, unless it is `innocent` */
    const char *broken_off; /* it is to be stopped with the next turn, and why */
    bool innocent;          /* none of its tasks is to blame for its end */
    const char *blame;      /* why it is stopped, for the guilty one: static text; NULL: as it has ended */
    uint64_t done;          /* tasks that it has answered */
    uint64_t done_most;     /* then it is due */
    uint64_t due_us;        /* likewise; by its age */
    uint64_t asked_us;      /* when its start was asked for */
    uint64_t measured_us;   /* when its memory was looked at */
    uint64_t heard_us;      /* when the last message came */
    uint64_t idle_us;       /* since when it has nothing to do */
    uint64_t until_us;      /* STARTING, LEAVING: then it is stopped */
} brood__worker;

struct brood_pool {
    brood__loop *loop;
    brood__loop_part part;
    brood__post later;
    brood_pool_options options; /* with the defaults in; the worker's are copies */
    brood__arena arena;         /* that those lie in */
    int *worker_fds;            /* that were duplicated for them */
    size_t worker_fd_count;
    brood__queue queue;
    brood__tickets tickets;
    brood__list finished; /* tasks whose outcome is due */
    brood_writer writer;  /* of tasks; not their channel's */
    bool writing;

    brood__list workers;
    unsigned count[BROOD__WORKER_STATE_COUNT]; /* workers in each state */
    unsigned working;                          /* UP, with a task */
    brood__list free[BROOD__MAX_PREFETCH];     /* those that can take one more, by how many they have; the last to */
    uint64_t free_used;                        /* become so first. A bit for each that is not empty */
    brood__worker **lanes;                     /* whose the tasks of each are; NULL: there are no keys yet */
    brood__list ready[2];                      /* workers that can take a task kept for them; [1]: and have none yet */
    brood__list due;                           /* workers that are to be replaced */
    unsigned due_count;
    brood_pool_choice *choices; /* as the caller is shown them */
    size_t choice_room;
    struct {
        uint64_t accepted, fates[BROOD_FATE_NO_WORKER + 1], requeued, strays, started, ended, recycled, failures;
        uint64_t up_us, worked_us, seen_us; /* workers' time, up to the last change */
        brood__times wait, run;
    } stats;
    uint64_t *numbers; /* of workers: a bit for each that is taken */
    size_t number_words;

    uint64_t random;
    bool ever_answered;  /* a worker of this pool has */
    unsigned failures;   /* starts in a row that came to nothing */
    unsigned shortages;  /* likewise, those for which something was short */
    bool is_short;       /* the last of both was one of these */
    unsigned crashes;    /* workers in a row that crashed at their first task */
    uint64_t crashed_us; /* when the last one was counted */
    uint64_t start_us;   /* no worker is started before */
    uint64_t failed_us;  /* when the last one was counted */
    bool no_starts;      /* too many have failed */
    bool hopeless;       /* and none that is tried could do better */
    bool gave_up;        /* and none is left */
    brood_failure failure;

    bool paused, above, busy, resized;
    bool broken_off; /* a worker is */
    bool closing;
    uint64_t close_us; /* when what is left is ended */
    void (*on_closed)(void *data);
    void *on_closed_data;
    unsigned pins;

    uv_timer_t timer;
    uint64_t next_us; /* when it is due */
    bool timer_open, timer_closing;
};

/* --- options.c --- */

/* Check and copy. On error nothing is left. */
int brood__pool_options_copy(brood_pool *pool, const brood_pool_options *options, size_t size, brood_failure *why);
void brood__pool_options_done(brood_pool *pool);

/* --- pool.c: what happens next --- */

/* Something has changed: do what follows from it, now, which must be within uv_run; or soon. */
void brood__pool_go(brood_pool *pool);
void brood__pool_go_soon(brood_pool *pool);
/* Look at what may be late, at this moment; early is no harm. */
void brood__pool_wake_at(brood_pool *pool, uint64_t at_us);
/* After a change of what keeps the loop alive. */
void brood__pool_update_busy(brood_pool *pool);
void brood__pool_pin(brood_pool *pool);
void brood__pool_unpin(brood_pool *pool);
/* Before the number of workers that are up, or at work, changes. */
void brood__pool_account(brood_pool *pool);
/* A random number below that. */
uint64_t brood__pool_random(brood_pool *pool, uint64_t below);
/* time_us 0: now. */
void brood__pool_tell(brood_pool *pool, const brood_pool_event *event);

/* --- task.c --- */

/* Whether that could be sent: 0, or what sending it would return. */
int brood__body_check(brood_pool *pool, const brood_body *body, size_t size);
/* It has ended, in whatever list it is: tell that now, and forget it. Within uv_run only. */
void brood__task_end(brood_pool *pool, brood__task *task, brood_outcome *outcome, uint64_t now);
/* The same with the next turn; `why` is static text, or the pool's. */
void brood__task_finish(brood_pool *pool, brood__task *task, brood_fate fate, const char *why);
/* Those whose outcome is due. */
void brood__task_tell_finished(brood_pool *pool);
/* All that waits. */
void brood__task_finish_queued(brood_pool *pool, brood_fate fate, const char *why);

/* --- failures.c --- */

/* One that was asked for then has come to nothing: later ones wait, and in the end there are none. */
void brood__pool_start_failed(brood_pool *pool, uint64_t asked_us, const brood_failure *why);
/* Nothing is left of a worker: what it gives back is there for another. */
void brood__pool_worker_gone(brood_pool *pool);
/* There is a worker that is of use: so may be others. */
void brood__pool_see_success(brood_pool *pool);
/*
 * It goes by itself. If it was of no use that counts at the first sign of it, so that the next start is after the
 * back-off; how it went may be known later, and is told then.
 */
void brood__worker_judge(brood__worker *worker, const char *how);
void brood__worker_tell_useless(brood__worker *worker, const char *how);

/* --- place.c --- */

/* Whether it can take this one now, and may: no more workers have something to do than are to. */
bool brood__worker_takes(const brood__worker *worker, const brood__task *task);
/* The task, of the queue's, is to be its own, when it can take it. */
void brood__worker_keep(brood__worker *worker, brood__task *task);
void brood__worker_become(brood__worker *worker, brood__worker_state state);
/* It has so many tasks now. */
void brood__worker_set_load(brood__worker *worker, unsigned load);

/* --- worker.c --- */

/* Start one more, off the loop. 0, or why not. */
int brood__worker_start(brood_pool *pool, brood_failure *why);
/* That event, of this worker. */
void brood__worker_tell(brood__worker *worker, brood_pool_event event);
/* Send it the task, which is in no list. 0; -EPIPE, -ENOMEM: it is in no list still. */
int brood__worker_send(brood__worker *worker, brood__task *task);
/* What is late at it. Returns when to look again. */
uint64_t brood__worker_check(brood__worker *worker, uint64_t now_us);
/* It takes no more tasks, ends those that it has, and leaves. */
void brood__worker_retire(brood__worker *worker, const char *why);
/* Its channel has ended, and so will it. */
void brood__worker_lost(brood__worker *worker);
/* It is to be replaced, as soon as another is there. Harmless if it is not UP. */
void brood__worker_make_due(brood__worker *worker);
/* Stop it, with all that it has started. */
void brood__worker_stop(brood__worker *worker, const char *why);
/* The task is not to go on: it is no longer the worker's, which is stopped with the next turn. */
void brood__worker_break_off(brood__worker *worker, brood__task *task, const char *why);

#endif
