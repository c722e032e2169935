/*
 * What a pool has done, in numbers. Times go into buckets that get wider as they get longer, so that a percentile costs
 * nothing to keep and is never far off.
 */
#include "pool/pool.h"

#include <string.h>

#define STEPS 16 /* buckets to an octave */
#define STEP_BITS 4

static unsigned bucket_of(uint64_t us) {
    if (us < STEPS)
        return (unsigned)us;
    unsigned octave = 63 - (unsigned)__builtin_clzll(us) - STEP_BITS;
    return octave * STEPS + (unsigned)(us >> octave);
}

/* The longest time that falls into it. */
static uint64_t limit_of(unsigned bucket) {
    if (bucket < STEPS)
        return bucket;
    unsigned octave = bucket / STEPS - 1;
    return ((uint64_t)(STEPS + bucket % STEPS + 1) << octave) - 1;
}

void brood__times_add(brood__times *t, uint64_t us) {
    t->count++;
    t->sum_us += us;
    t->max_us = us > t->max_us ? us : t->max_us;
    t->buckets[bucket_of(us)]++;
}

/* So many of a thousand took no longer. */
static uint64_t percentile(const brood__times *t, uint64_t of_thousand) {
    uint64_t wanted = t->count - t->count * (1000 - of_thousand) / 1000, seen = 0;
    for (unsigned i = 0; i < BROOD__TIME_BUCKETS; i++)
        if (t->buckets[i] > 0 && (seen += t->buckets[i]) >= wanted)
            return limit_of(i) < t->max_us ? limit_of(i) : t->max_us;
    return t->max_us;
}

void brood__times_tell(const brood__times *t, brood_pool_times *ret) {
    *ret = (brood_pool_times){
        .count = t->count,
        .mean_us = t->count > 0 ? t->sum_us / t->count : 0,
        .p50_us = percentile(t, 500),
        .p90_us = percentile(t, 900),
        .p99_us = percentile(t, 990),
        .p999_us = percentile(t, 999),
        .max_us = t->max_us,
    };
}

void brood__pool_account(brood_pool *pool) {
    uint64_t now = brood__now_us(), passed = now - pool->stats.seen_us;
    pool->stats.up_us += passed * pool->count[BROOD__WORKER_UP];
    pool->stats.worked_us += passed * pool->working;
    pool->stats.seen_us = now;
}

static size_t count_running(const brood_pool *pool) {
    size_t count = 0;
    for (const brood__list *n = pool->workers.next; n != &pool->workers; n = n->next)
        count += BROOD__OUTER(n, brood__worker, node)->load;
    return count;
}

void brood_pool_stats_get_sized(const brood_pool *pool, brood_pool_stats *ret_stats, size_t size) {
    uint64_t passed = brood__now_us() - pool->stats.seen_us;
    uint64_t up_us = pool->stats.up_us + passed * pool->count[BROOD__WORKER_UP];
    brood_pool_stats s = {
        .starting = pool->count[BROOD__WORKER_STARTING],
        .up = pool->count[BROOD__WORKER_UP],
        .working = pool->working,
        .leaving =
            pool->count[BROOD__WORKER_RETIRING] + pool->count[BROOD__WORKER_LEAVING] + pool->count[BROOD__WORKER_GONE],
        .queued = pool->queue.count,
        .queued_bytes = pool->queue.bytes,
        .running = count_running(pool),
        .accepted = pool->stats.accepted,
        .requeued = pool->stats.requeued,
        .strays = pool->stats.strays,
        .started = pool->stats.started,
        .ended = pool->stats.ended,
        .recycled = pool->stats.recycled,
        .failures = pool->stats.failures,
        .utilisation = up_us > 0 ? (double)(pool->stats.worked_us + passed * pool->working) / (double)up_us : 0,
    };
    memcpy(s.fates, pool->stats.fates, sizeof s.fates);
    brood__times_tell(&pool->stats.wait, &s.wait);
    brood__times_tell(&pool->stats.run, &s.run);
    memcpy(ret_stats, &s, size < sizeof s ? size : sizeof s);
}
