/*
 * Where a worker stands: whether it can take a task, and before or after which others. Each is in a list by how many tasks
 * it has, so that the next one is found at once however many workers there are; and what is kept for one worker, for the
 * sake of a key, waits at that.
 */
#include "pool/pool.h"

static bool takes_more(const brood__worker *w) {
    return w->state == BROOD__WORKER_UP && !w->broken_off && w->load < w->pool->options.prefetch &&
           !(w->crowded && w->load > 0);
}

/* By turns: all are in one list, and whoever got a task goes to its end. */
static void update_turn(brood__worker *w, bool got_one) {
    brood_pool *pool = w->pool;
    if (got_one || !takes_more(w))
        brood__list_remove(&w->place);
    if (takes_more(w) && brood__list_empty(&w->place))
        brood__list_append(&pool->free[0], &w->place);
    pool->free_used = !brood__list_empty(&pool->free[0]);
}

static bool can_take(const brood__worker *w, const brood__task *t) {
    return takes_more(w) && !(t->alone && w->load > 0);
}

bool brood__worker_takes(const brood__worker *w, const brood__task *t) {
    return can_take(w, t) && (w->load > 0 || w->pool->working < w->pool->options.max_workers);
}

static brood__task *first_waiting(const brood__worker *w) {
    return brood__list_empty(&w->waiting) ? NULL : BROOD__OUTER(w->waiting.next, brood__task, node);
}

static void update_ready(brood__worker *w) {
    brood__task *t = first_waiting(w);
    brood__list_remove(&w->ready);
    if (t && can_take(w, t))
        brood__list_append(&w->pool->ready[w->load == 0], &w->ready);
}

/* Whether it takes one more, and after how many. */
static void update_place(brood__worker *w, bool got_one) {
    brood_pool *pool = w->pool;
    update_ready(w);
    if (pool->options.balance == BROOD_BALANCE_TURNS) {
        update_turn(w, got_one);
        return;
    }
    if (!brood__list_empty(&w->place)) {
        brood__list *level = w->place.next;
        brood__list_remove(&w->place);
        if (brood__list_empty(level)) /* it was the last one there: what is left is the list's head */
            pool->free_used &= ~(UINT64_C(1) << (level - pool->free));
    }
    if (!takes_more(w))
        return;
    brood__list_append(pool->free[w->load].next, &w->place); /* at the front: those behind stay idle, and may leave */
    pool->free_used |= UINT64_C(1) << w->load;
}

/* It takes no more tasks: what was kept for it is anybody's. */
static void give_up_claims(brood__worker *w) {
    brood_pool *pool = w->pool;
    if (!brood__list_empty(&w->due))
        pool->due_count--;
    brood__list_remove(&w->due);
    brood__queue_put_back(&pool->queue, &w->waiting);
    for (size_t i = 0; w->has_lane && i < BROOD__LANES; i++)
        if (pool->lanes[i] == w)
            pool->lanes[i] = NULL;
    w->has_lane = false;
}

void brood__worker_become(brood__worker *w, brood__worker_state state) {
    brood_pool *pool = w->pool;
    brood__pool_account(pool);
    bool worked = w->state == BROOD__WORKER_UP && w->load > 0, works = state == BROOD__WORKER_UP && w->load > 0;
    pool->count[w->state]--;
    pool->count[state]++;
    pool->working += (unsigned)works - (unsigned)worked;
    w->state = state;
    if (state != BROOD__WORKER_UP)
        give_up_claims(w);
    update_place(w, false);
}

void brood__worker_set_load(brood__worker *w, unsigned load) {
    bool got_one = load > w->load;
    if (w->state == BROOD__WORKER_UP && (load > 0) != (w->load > 0)) {
        brood__pool_account(w->pool);
        w->pool->working += (unsigned)(load > 0) - (unsigned)(w->load > 0);
    }
    w->load = load;
    w->crowded = w->crowded && load > 0;
    if (load == 0)
        w->idle_us = brood__now_us();
    update_place(w, got_one);
}

void brood__worker_keep(brood__worker *w, brood__task *t) {
    brood__queue_set_aside(&w->pool->queue, t, &w->waiting);
    update_ready(w);
}
