/*
 * The tasks that wait, first come first served within a priority, and the tickets of all that are unfinished. Both cost
 * the same for one task as for a million. A task that comes back takes its old place: tickets tell it, and whatever is
 * older than one that was under way has been under way itself, so that few are passed on the way there. Those that were kept
 * for one worker, any number, are put back together.
 */
#include "pool/pool.h"

#include <errno.h>

#define FEWEST_BUCKETS 64

static brood__task *task_of(const brood__list *node) {
    return BROOD__OUTER(node, brood__task, node);
}

void brood__queue_init(brood__queue *q) {
    for (int i = 0; i < BROOD__PRIORITIES; i++)
        brood__list_init(&q->levels[i]);
}

/* Where it belongs, at `after` or behind that. */
static brood__list *place_of(const brood__task *t, brood__list *level, brood__list *after) {
    if (level->prev == level || task_of(level->prev)->ticket < t->ticket)
        return level->prev;
    while (task_of(after->next)->ticket < t->ticket)
        after = after->next;
    return after;
}

static void count_in(brood__queue *q, const brood__task *t) {
    if (t->lane == 0)
        q->width++;
    else if (q->of_lane[t->lane - 1]++ == 0)
        q->width++;
}

static void count_out(brood__queue *q, const brood__task *t) {
    if (t->lane == 0)
        q->width--;
    else if (--q->of_lane[t->lane - 1] == 0)
        q->width--;
}

static void insert(brood__queue *q, brood__task *t, brood__list *before) {
    brood__list_append(before->next, &t->node);
    q->used[t->level / 64] |= UINT64_C(1) << t->level % 64;
    t->kept = false;
    count_in(q, t);
}

void brood__queue_put(brood__queue *q, brood__task *t) {
    brood__list *level = &q->levels[t->level];
    insert(q, t, place_of(t, level, level));
    t->state = BROOD__TASK_QUEUED;
    q->count++;
    q->bytes += t->len;
}

static void unlink_task(brood__queue *q, brood__task *t) {
    brood__list_remove(&t->node);
    if (t->kept)
        return;
    count_out(q, t);
    if (brood__list_empty(&q->levels[t->level]))
        q->used[t->level / 64] &= ~(UINT64_C(1) << t->level % 64);
}

void brood__queue_set_aside(brood__queue *q, brood__task *t, brood__list *kept) {
    unlink_task(q, t);
    t->kept = true;
    brood__list_append(kept, &t->node);
}

/* They are mostly in order, so each is looked for from where the last one went. */
void brood__queue_put_back(brood__queue *q, brood__list *kept) {
    brood__list *last[BROOD__PRIORITIES] = {0};
    while (!brood__list_empty(kept)) {
        brood__task *t = task_of(kept->next);
        brood__list *level = &q->levels[t->level], *after = last[t->level];
        brood__list_remove(&t->node);
        if (!after || task_of(after)->ticket > t->ticket)
            after = level;
        insert(q, t, place_of(t, level, after));
        last[t->level] = &t->node;
    }
}

void brood__queue_remove(brood__queue *q, brood__task *t) {
    unlink_task(q, t);
    q->count--;
    q->bytes -= t->len;
}

brood__task *brood__queue_first(const brood__queue *q) {
    for (int i = BROOD__PRIORITIES / 64 - 1; i >= 0; i--)
        if (q->used[i])
            return task_of(q->levels[i * 64 + 63 - __builtin_clzll(q->used[i])].next);
    return NULL;
}

brood__task *brood__queue_least(const brood__queue *q) {
    for (int i = 0; i < BROOD__PRIORITIES / 64; i++)
        if (q->used[i])
            return task_of(q->levels[i * 64 + __builtin_ctzll(q->used[i])].next);
    return NULL;
}

/* --- tickets --- */

/* Tickets count up: their lowest bits spread them as evenly as can be. */
static brood__task **bucket_of(const brood__tickets *k, uint64_t ticket) {
    return &k->buckets[ticket & (k->bucket_count - 1)];
}

int brood__tickets_init(brood__tickets *k) {
    k->buckets = brood__alloc(FEWEST_BUCKETS * sizeof *k->buckets);
    k->bucket_count = FEWEST_BUCKETS;
    return k->buckets ? 0 : -ENOMEM;
}

/* Without the memory for it the buckets stay as they are, and get longer. */
static void resize(brood__tickets *k, size_t bucket_count) {
    brood__tickets wider = {.bucket_count = bucket_count};
    wider.buckets = brood__alloc(bucket_count * sizeof *wider.buckets);
    if (!wider.buckets)
        return;
    for (size_t i = 0; i < k->bucket_count; i++)
        for (brood__task *t = k->buckets[i], *next; t; t = next) {
            brood__task **bucket = bucket_of(&wider, t->ticket);
            next = t->next_of_bucket;
            t->next_of_bucket = *bucket;
            *bucket = t;
        }
    brood__free(k->buckets);
    k->buckets = wider.buckets;
    k->bucket_count = bucket_count;
}

void brood__tickets_add(brood__tickets *k, brood__task *t) {
    if (k->count >= k->bucket_count)
        resize(k, k->bucket_count * 2);
    t->ticket = ++k->last;
    brood__task **bucket = bucket_of(k, t->ticket);
    t->next_of_bucket = *bucket;
    *bucket = t;
    k->count++;
}

void brood__tickets_remove(brood__tickets *k, brood__task *t) {
    brood__task **at = bucket_of(k, t->ticket);
    while (*at != t)
        at = &(*at)->next_of_bucket;
    *at = t->next_of_bucket;
    k->count--;
    if (k->count < k->bucket_count / 8 && k->bucket_count > FEWEST_BUCKETS)
        resize(k, k->bucket_count / 2);
}

brood__task *brood__tickets_find(const brood__tickets *k, uint64_t ticket) {
    brood__task *t = *bucket_of(k, ticket);
    while (t && t->ticket != ticket)
        t = t->next_of_bucket;
    return t;
}
