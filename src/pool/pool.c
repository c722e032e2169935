/*
 * A pool's life: what happens next, whenever something has changed. Tasks that wait go to workers that are free, workers
 * are started for those that are left, and once the pool is closed all of them leave. A task that comes, goes or is done
 * costs the same however many tasks and workers there are, unless the caller picks its worker. All workers are looked at
 * only where something happens to them, too: by the timer, which is set to the first moment at which one could be late,
 * after a resize, an abort of what runs, and at the end.
 */
#include "pool/pool.h"

#include "base/failure.h"
#include "value/writer.h"

#include <errno.h>
#include <limits.h>

#define RETRY_MS 10 /* until there may be memory again */

static void end(brood__loop_part *part);

/* --- what is told --- */

static const char *const event_text[] = {
    [BROOD_POOL_WORKER_STARTED] = "worker started", [BROOD_POOL_WORKER_READY] = "worker ready",
    [BROOD_POOL_WORKER_LEAVING] = "worker leaving", [BROOD_POOL_WORKER_ENDED] = "worker ended",
    [BROOD_POOL_START_FAILED] = "start failed",     [BROOD_POOL_GAVE_UP] = "gave up",
    [BROOD_POOL_TASK_SENT] = "task sent",           [BROOD_POOL_TASK_REQUEUED] = "task requeued",
    [BROOD_POOL_TASK_DONE] = "task done",           [BROOD_POOL_STRAY] = "stray answer",
};

const char *brood_pool_event_text(brood_pool_event_kind kind) {
    size_t i = (size_t)kind;
    return i < sizeof event_text / sizeof *event_text && event_text[i] ? event_text[i] : "unknown";
}

void brood__pool_tell(brood_pool *pool, const brood_pool_event *event) {
    if (!pool->options.on_event)
        return;
    brood_pool_event told = *event;
    if (told.time_us == 0)
        told.time_us = brood__now_us();
    pool->options.on_event(pool, &told, pool->options.data);
}

uint64_t brood__pool_random(brood_pool *pool, uint64_t below) {
    pool->random = pool->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (pool->random >> 32) % below;
}

/* --- memory --- */

void brood__pool_pin(brood_pool *pool) {
    pool->pins++;
}

static bool is_done(const brood_pool *pool) {
    return pool->closing && pool->pins == 0 && pool->tickets.count == 0 && brood__list_empty(&pool->workers) &&
           brood__list_empty(&pool->later.node) && !pool->timer_closing;
}

static void free_pool(brood_pool *pool) {
    brood__loop *loop = pool->loop;
    brood__list_remove(&pool->part.node);
    brood__pool_options_done(pool);
    brood__writer_done(&pool->writer);
    brood__free(pool->tickets.buckets);
    brood__free(pool->lanes);
    brood__free(pool->numbers);
    brood__free(pool->choices);
    brood__free(pool);
    brood__loop_rest(loop);
    brood__loop_release(loop);
}

static void timer_closed(uv_handle_t *timer) {
    brood_pool *pool = timer->data;
    brood__loop *loop = pool->loop; /* which outlives its gate, and that is at most closing now */
    brood__loop_enter(loop);
    brood__pool_pin(pool);
    pool->timer_closing = false;
    brood__pool_unpin(pool);
    brood__loop_leave(loop);
}

/* The last of it; its timer goes first. */
void brood__pool_unpin(brood_pool *pool) {
    pool->pins--;
    if (!is_done(pool))
        return;
    if (pool->timer_open) {
        pool->timer_open = false;
        pool->timer_closing = true;
        uv_close((uv_handle_t *)&pool->timer, timer_closed);
        return;
    }
    void (*on_closed)(void *) = pool->on_closed;
    void *data = pool->on_closed_data;
    if (pool->busy)
        brood__loop_busy(pool->loop, -1);
    if (on_closed)
        on_closed(data);
    free_pool(pool);
}

void brood__pool_update_busy(brood_pool *pool) {
    bool busy = pool->tickets.count > 0 || pool->closing;
    if (busy != pool->busy)
        brood__loop_busy(pool->loop, busy ? 1 : -1);
    pool->busy = busy;
}

/* --- time --- */

static void time_passed(uv_timer_t *timer) {
    brood_pool *pool = timer->data;
    brood__loop *loop = pool->loop;
    brood__loop_enter(loop);
    brood__pool_pin(pool);
    uint64_t now = brood__now_us(), next = BROOD__NEVER;
    pool->next_us = BROOD__NEVER;
    for (brood__list *n = pool->workers.next, *after; n != &pool->workers; n = after) {
        after = n->next;
        uint64_t at = brood__worker_check(BROOD__OUTER(n, brood__worker, node), now);
        next = at < next ? at : next;
    }
    brood__pool_wake_at(pool, next);
    brood__pool_go(pool);
    brood__pool_unpin(pool);
    brood__loop_leave(loop);
}

void brood__pool_wake_at(brood_pool *pool, uint64_t at_us) {
    if (at_us >= pool->next_us || pool->timer_closing)
        return;
    if (!pool->timer_open) {
        uv_timer_init(pool->loop->uv, &pool->timer);
        uv_unref((uv_handle_t *)&pool->timer);
        pool->timer.data = pool;
        pool->timer_open = true;
    }
    pool->next_us = at_us;
    uv_update_time(pool->loop->uv);
    uv_timer_start(&pool->timer, time_passed, brood__ms_until(brood__now_us(), at_us), 0);
}

/* --- from the queue to the workers --- */

static unsigned alive(const brood_pool *pool) {
    return pool->count[BROOD__WORKER_STARTING] + pool->count[BROOD__WORKER_UP];
}

static unsigned most_alive(const brood_pool *pool) {
    const brood_pool_options *o = &pool->options;
    uint64_t most = (uint64_t)o->max_workers + o->spare_workers + pool->due_count;
    return most < UINT_MAX ? (unsigned)most : UINT_MAX;
}

/* How many more workers are on their way, or could be at once: a task that waits is better off with one of those. */
static unsigned to_come(const brood_pool *pool) {
    unsigned starting = pool->count[BROOD__WORKER_STARTING], most = pool->options.max_workers;
    bool may_start = !pool->no_starts && pool->start_us == 0;
    unsigned room = may_start && alive(pool) < most ? most - alive(pool) : 0;
    unsigned unused = pool->working < most ? most - pool->working : 0;
    return starting + room < unused ? starting + room : unused;
}

static brood__worker *first_free(const brood_pool *pool, unsigned load) {
    return BROOD__OUTER(pool->free[load].next, brood__worker, place);
}

/* Each that can take it, as long as there is room to note them. */
static size_t list_choices(brood_pool *pool) {
    size_t count = 0;
    for (unsigned i = 0; i < BROOD__MAX_PREFETCH && count < pool->choice_room; i++)
        for (brood__list *n = pool->free[i].next; n != &pool->free[i] && count < pool->choice_room; n = n->next) {
            const brood__worker *w = BROOD__OUTER(n, brood__worker, place);
            if (w->load == 0 && pool->working >= pool->options.max_workers)
                continue;
            pool->choices[count++] = (brood_pool_choice){
                .worker = w->number, .pid = brood_child_pid(w->child), .load = w->load, .done = w->done};
        }
    return count;
}

static brood__worker *worker_of_number(const brood_pool *pool, unsigned number) {
    for (brood__list *n = pool->workers.next; n != &pool->workers; n = n->next)
        if (BROOD__OUTER(n, brood__worker, node)->number == number)
            return BROOD__OUTER(n, brood__worker, node);
    return NULL;
}

/* As the caller says. It costs what it costs: all that can take it are shown. */
static brood__worker *let_pick(brood_pool *pool, const brood__task *t) {
    size_t room = pool->count[BROOD__WORKER_UP];
    if (room > pool->choice_room) {
        brood_pool_choice *more = brood__resize(pool->choices, room * sizeof *more);
        pool->choices = more ? more : pool->choices;
        pool->choice_room = more ? room : pool->choice_room;
    }
    size_t count = list_choices(pool);
    size_t index = count > 0 ? pool->options.pick(pool, t->ticket, pool->choices, count, pool->options.data) : 0;
    if (index >= count || (t->alone && pool->choices[index].load > 0))
        return NULL;
    return worker_of_number(pool, pool->choices[index].worker);
}

/* Who gets it, or NULL: nobody yet. */
static brood__worker *choose(brood_pool *pool, const brood__task *t) {
    bool full = pool->working >= pool->options.max_workers; /* those that have nothing to do are spare */
    uint64_t free = pool->free_used;
    if (pool->options.pick)
        return let_pick(pool, t);
    if (full && pool->options.balance == BROOD_BALANCE_LEAST)
        free &= ~UINT64_C(1);
    if (!free)
        return NULL;
    brood__worker *w = first_free(pool, (unsigned)__builtin_ctzll(free));
    if (w->load == 0 && full)
        return NULL;
    if (w->load > 0 && (t->alone || pool->queue.width <= to_come(pool)))
        return NULL;
    return w;
}

/* False: no more for now. */
static bool hand_over(brood_pool *pool, brood__worker *w, brood__task *t) {
    brood__queue_remove(&pool->queue, t);
    int r = brood__worker_send(w, t);
    if (r == 0)
        return true;
    brood__queue_put(&pool->queue, t);
    if (r == -EPIPE)
        brood__worker_lost(w);
    else
        brood__pool_wake_at(pool, brood__after_ms(brood__now_us(), RETRY_MS));
    return r == -EPIPE;
}

/* One with a key: to whoever has had that key, or will have it from now on. */
static bool hand_over_sticky(brood_pool *pool, brood__task *t) {
    brood__worker **lane = &pool->lanes[t->lane - 1];
    if (*lane && !brood__worker_takes(*lane, t)) {
        brood__worker_keep(*lane, t);
        return true;
    }
    brood__worker *w = *lane ? *lane : choose(pool, t);
    *lane = w;
    if (w)
        w->has_lane = true;
    return w && hand_over(pool, w, t);
}

/* A worker that can have a task that was kept for it, or NULL. */
static brood__worker *first_ready(const brood_pool *pool) {
    bool full = pool->working >= pool->options.max_workers;
    for (int idle = 0; idle < (full ? 1 : 2); idle++)
        if (!brood__list_empty(&pool->ready[idle]))
            return BROOD__OUTER(pool->ready[idle].next, brood__worker, ready);
    return NULL;
}

static bool hand_over_first(brood_pool *pool) {
    brood__task *t = brood__queue_first(&pool->queue);
    brood__worker *w = first_ready(pool);
    if (w) {
        if (brood__list_empty(&w->waiting)) { /* what there was has been aborted */
            brood__list_remove(&w->ready);
            return true;
        }
        return hand_over(pool, w, BROOD__OUTER(w->waiting.next, brood__task, node));
    }
    if (!t)
        return false;
    if (t->lane > 0)
        return hand_over_sticky(pool, t);
    w = choose(pool, t);
    return w && hand_over(pool, w, t);
}

static void dispatch(brood_pool *pool) {
    while (!pool->paused && hand_over_first(pool))
        ;
}

/* --- as many workers as are needed --- */

static unsigned wanted(const brood_pool *pool) {
    const brood_pool_options *o = &pool->options;
    size_t needed = pool->working + pool->queue.width;
    unsigned count = needed < o->max_workers ? (unsigned)needed : o->max_workers;
    count = count > o->min_workers ? count : o->min_workers;
    return count == 0 && alive(pool) == 0 ? 0 : count + o->spare_workers;
}

/* How many of those that are due are replaced at a time: not all of them, so that the others have their work done. */
static unsigned successors(const brood_pool *pool) {
    unsigned most = 1 + pool->options.max_workers / 4;
    return pool->due_count < most ? pool->due_count : most;
}

static void start_workers(brood_pool *pool) {
    brood_failure why;
    if (pool->paused || (pool->closing && pool->queue.count == 0))
        return;
    if (pool->start_us > 0 && pool->start_us <= brood__now_us())
        pool->start_us = 0;
    while (!pool->no_starts && pool->start_us == 0 && alive(pool) < most_alive(pool) &&
           (alive(pool) < wanted(pool) || pool->count[BROOD__WORKER_STARTING] < successors(pool))) {
        int r = brood__worker_start(pool, &why);
        if (r < 0) {
            brood__pool_start_failed(pool, brood__now_us(), &why);
            brood__pool_tell(pool, &(brood_pool_event){.kind = BROOD_POOL_START_FAILED, .detail = why.message});
        }
    }
    if (pool->start_us > 0 && !pool->no_starts)
        brood__pool_wake_at(pool, pool->start_us);
}

/* Nobody is there, nobody will come. */
static void give_up_if_alone(brood_pool *pool) {
    if (!pool->no_starts || pool->gave_up || alive(pool) + pool->count[BROOD__WORKER_RETIRING] > 0 ||
        pool->count[BROOD__WORKER_LEAVING] > 0)
        return;
    pool->gave_up = true;
    brood__pool_tell(pool, &(brood_pool_event){.kind = BROOD_POOL_GAVE_UP, .detail = pool->failure.message});
    brood__task_finish_queued(pool, BROOD_FATE_NO_WORKER, pool->failure.message);
}

static void stop_broken_off(brood_pool *pool) {
    pool->broken_off = false;
    for (brood__list *n = pool->workers.next, *after; n != &pool->workers; n = after) {
        brood__worker *w = BROOD__OUTER(n, brood__worker, node);
        after = n->next;
        if (w->broken_off)
            brood__worker_stop(w, w->broken_off);
    }
}

/* --- the end --- */

/* Those with nothing to do first. */
static void retire_surplus(brood_pool *pool) {
    unsigned most = most_alive(pool);
    for (int busy = 0; busy < 2; busy++)
        for (brood__list *n = pool->workers.next, *after; n != &pool->workers && alive(pool) > most; n = after) {
            brood__worker *w = BROOD__OUTER(n, brood__worker, node);
            after = n->next;
            if (busy || w->load == 0)
                brood__worker_retire(w, "there are fewer workers now");
        }
}

static void for_each_worker(brood_pool *pool, void (*act)(brood__worker *, const char *), const char *why) {
    for (brood__list *n = pool->workers.next, *after; n != &pool->workers; n = after) {
        after = n->next;
        act(BROOD__OUTER(n, brood__worker, node), why);
    }
}

/* What is left is not done any more. */
static void end_tasks(brood_pool *pool) {
    for_each_worker(pool, brood__worker_stop, "the pool was closed"); /* so that nothing is kept for one */
    brood__task_finish_queued(pool, BROOD_FATE_ABORTED, "the pool was closed");
    for (brood__list *n = pool->workers.next; n != &pool->workers; n = n->next) {
        brood__worker *w = BROOD__OUTER(n, brood__worker, node);
        while (!brood__list_empty(&w->tasks)) {
            brood__task *t = BROOD__OUTER(w->tasks.next, brood__task, node);
            brood__worker_break_off(w, t, "the pool was closed");
            brood__task_finish(pool, t, BROOD_FATE_ABORTED, "the pool was closed");
        }
    }
}

static void close_some(brood_pool *pool) {
    if (!pool->closing)
        return;
    if (pool->close_us <= brood__now_us()) {
        pool->close_us = 0; /* once is enough, but for what came meanwhile */
        end_tasks(pool);
        return;
    }
    if (pool->tickets.count == 0)
        for_each_worker(pool, brood__worker_retire, "the pool is being closed");
    brood__pool_wake_at(pool, pool->close_us);
}

void brood_pool_close(brood_pool *pool, uint64_t drain_ms, void (*on_closed)(void *data), void *data) {
    if (!pool)
        return;
    uint64_t at = drain_ms == 0 ? 0 : brood__after_ms(brood__now_us(), drain_ms);
    if (!pool->closing)
        pool->close_us = at;
    if (!pool->on_closed) { /* the first that is given: the loop's end gives none */
        pool->on_closed = on_closed;
        pool->on_closed_data = data;
    }
    pool->closing = true;
    pool->paused = false;
    pool->close_us = at < pool->close_us ? at : pool->close_us;
    brood__pool_update_busy(pool);
    brood__pool_go_soon(pool);
}

/* The loop is being ended, and with it each of the workers by itself. */
static void end(brood__loop_part *part) {
    brood_pool *pool = BROOD__OUTER(part, brood_pool, part);
    brood_pool_close(pool, 0, NULL, NULL);
}

/* --- what happens next --- */

static void tell_drain(brood_pool *pool) {
    const brood_pool_options *o = &pool->options;
    if (!pool->above || pool->queue.count > o->max_queued / 2 || pool->queue.bytes > o->max_queued_bytes / 2)
        return;
    pool->above = false;
    if (o->on_drain && !pool->closing)
        o->on_drain(pool, o->data);
}

void brood__pool_go(brood_pool *pool) {
    close_some(pool);
    if (pool->broken_off)
        stop_broken_off(pool);
    if (pool->resized)
        retire_surplus(pool);
    pool->resized = false;
    brood__task_tell_finished(pool);
    dispatch(pool);
    start_workers(pool);
    give_up_if_alone(pool);
    tell_drain(pool);
    brood__pool_update_busy(pool);
}

static void run_later(brood__post *post) {
    brood_pool *pool = BROOD__OUTER(post, brood_pool, later);
    brood__pool_pin(pool);
    brood__pool_go(pool);
    brood__pool_unpin(pool);
}

void brood__pool_go_soon(brood_pool *pool) {
    if (brood__list_empty(&pool->later.node))
        brood__loop_later(pool->loop, &pool->later);
}

/* --- what the user asks --- */

void brood_pool_pause(brood_pool *pool) {
    pool->paused = !pool->closing;
}

void brood_pool_resume(brood_pool *pool) {
    pool->paused = pool->no_starts = pool->hopeless = pool->gave_up = false;
    pool->failures = pool->shortages = pool->crashes = 0;
    pool->start_us = 0;
    brood__pool_go_soon(pool);
}

int brood_pool_resize(brood_pool *pool, unsigned min_workers, unsigned max_workers) {
    if (max_workers == 0 || min_workers > max_workers)
        return -EINVAL;
    pool->options.min_workers = min_workers;
    pool->options.max_workers = max_workers;
    pool->resized = true;
    brood__pool_go_soon(pool);
    return 0;
}

void brood_pool_recycle(brood_pool *pool) {
    for (brood__list *n = pool->workers.next; n != &pool->workers; n = n->next)
        brood__worker_make_due(BROOD__OUTER(n, brood__worker, node));
    brood__pool_go_soon(pool);
}

int brood_pool_broadcast_sized(brood_pool *pool, const brood_body *body, size_t size) {
    int count = 0;
    for (brood__list *n = pool->workers.next; n != &pool->workers; n = n->next) {
        const brood__worker *w = BROOD__OUTER(n, brood__worker, node);
        if (w->state >= BROOD__WORKER_LEAVING)
            continue;
        int r = brood_channel_send_sized(brood_child_channel(w->child), body, size, NULL, NULL);
        if (r < 0 && r != -EPIPE)
            return r;
        count += r >= 0;
    }
    return count > 0 ? count : brood__body_check(pool, body, size);
}

const brood_failure *brood_pool_failure(const brood_pool *pool) {
    return pool->gave_up ? &pool->failure : NULL;
}

void *brood_pool_data(const brood_pool *pool) {
    return pool->options.data;
}

/* --- opening --- */

static brood_pool *new_pool(void) {
    brood_pool *pool = brood__alloc(sizeof *pool);
    if (!pool)
        return NULL;
    brood__queue_init(&pool->queue);
    brood__list_init(&pool->finished);
    brood__list_init(&pool->workers);
    brood__list_init(&pool->due);
    brood__list_init(&pool->ready[0]);
    brood__list_init(&pool->ready[1]);
    brood__list_init(&pool->later.node);
    for (int i = 0; i < BROOD__MAX_PREFETCH; i++)
        brood__list_init(&pool->free[i]);
    pool->later.run = run_later;
    pool->next_us = BROOD__NEVER;
    pool->stats.seen_us = brood__now_us();
    pool->random = brood__now_us() ^ (uintptr_t)pool;
    return pool;
}

static int open_on(brood__loop *loop, brood_pool *pool, brood_failure *why) {
    int r = brood__tickets_init(&pool->tickets);
    if (r < 0)
        return brood__fail(why, r, BROOD_STEP_MEMORY, NULL, NULL);
    r = brood__loop_activate(loop);
    if (r < 0)
        return brood__fail(why, r, BROOD_STEP_LOOP, NULL, NULL);
    pool->loop = brood__loop_hold(loop);
    brood__loop_add_part(loop, &pool->part, pool, sizeof *pool, end);
    pool->writer.advanced = pool->options.worker.serialization == BROOD_ADVANCED;
    pool->writer.max_len = INT32_MAX;
    return 0;
}

int brood_pool_open_sized(uv_loop_t *uv, const brood_pool_options *options, size_t size, brood_pool **ret_pool,
                          brood_failure *why) {
    brood__loop *loop;
    if (!uv || !options || !ret_pool)
        return brood__fail(why, -EINVAL, BROOD_STEP_OPTIONS, NULL,
                           "a loop, options and a place for the pool are needed");
    brood_pool *pool = new_pool();
    if (!pool)
        return brood__fail(why, -ENOMEM, BROOD_STEP_MEMORY, NULL, NULL);
    int r = brood__pool_options_copy(pool, options, size, why);
    if (r < 0) {
        brood__free(pool);
        return r;
    }
    r = brood__loop_get(uv, &loop);
    if (r < 0) {
        brood__fail(why, r, BROOD_STEP_LOOP, NULL, r == -EBUSY ? "the loop is being closed" : NULL);
    } else {
        r = open_on(loop, pool, why);
        brood__loop_release(loop);
    }
    if (r < 0) {
        brood__free(pool->tickets.buckets);
        brood__pool_options_done(pool);
        brood__free(pool);
        return r;
    }
    *ret_pool = pool;
    if (pool->options.min_workers > 0)
        brood__pool_go_soon(pool);
    return 0;
}
