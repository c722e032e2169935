/*
 * A descriptor for each end, in an epoll set of the thread's own. A job may be taken back, and its memory be gone, at any
 * time but under the lock: so what epoll has told the thread in its sleep counts only if none was taken back meanwhile,
 * and is asked for again otherwise. And whoever is given away in the middle of a batch is forgotten there.
 */
#include "loop/keeper.h"

#include "base/clock.h"
#include "base/sys.h"
#include "loop/starters.h"

#define KEEP_US 50000 /* what takes longer is the loop's: it is about to be waited for, and is not many */

void brood__keeper_init(brood__keeper *k) {
    *k = (brood__keeper){.epoll = -1};
    pthread_mutex_init(&k->lock, NULL);
    brood__list_init(&k->jobs);
    brood__list_init(&k->given);
}

/* --- its descriptors --- */

static void close_set(brood__keeper *k) {
    brood__bell_release(k->bell);
    k->bell = NULL;
    brood__close(k->epoll);
    k->epoll = -1;
}

static bool open_set(brood__keeper *k) {
    k->epoll = brood__epoll();
    if (k->epoll >= 0 && brood__bell_hang(k->epoll, &k->bell) == 0)
        return true;
    close_set(k);
    return false;
}

static void close_set_if_unused(brood__keeper *k) {
    if (brood__list_empty(&k->jobs) && brood__keeper_has_any(k))
        close_set(k);
}

static void stop_watching(const brood__keeper *k, brood__kept_end *end) {
    epoll_ctl(k->epoll, EPOLL_CTL_DEL, end->fd, NULL);
    end->fd = -1;
}

static void stop_watching_all(const brood__keeper *k, brood__kept *kept) {
    for (size_t i = 0; i < kept->end_count; i++)
        if (kept->ends[i].fd >= 0)
            stop_watching(k, &kept->ends[i]);
}

static bool watch_all(const brood__keeper *k, brood__job *job) {
    brood__kept *kept = &job->kept;
    for (size_t i = 0; i < kept->end_count; i++) {
        kept->ends[i].job = job;
        if (brood__epoll_add(k->epoll, kept->ends[i].fd, EPOLLIN, &kept->ends[i]) == 0)
            continue;
        kept->end_count = i;
        stop_watching_all(k, kept);
        return false;
    }
    return true;
}

/* --- its jobs --- */

/* Under the lock. */
static void release(brood__keeper *k, brood__job *job) {
    stop_watching_all(k, &job->kept);
    brood__list_remove(&job->node);
    job->kept.is_kept = false;
    for (int i = k->batch.at; i < k->batch.count; i++) {
        brood__kept_end *end = k->batch.events[i].data.ptr;
        if (end && end->job == job)
            k->batch.events[i].data.ptr = NULL;
    }
}

static void give(brood__keeper *k, brood__job *job) {
    release(k, job);
    brood__list_append(&k->given, &job->node);
}

/*
 * At the end, so that the loop is woken once for many. Posted under the lock: whoever takes it back finds it either here or
 * there. And nothing is open here by then that need not be.
 */
static void post_given(brood__keeper *k) {
    close_set_if_unused(k);
    while (!brood__list_empty(&k->given)) {
        brood__job *job = BROOD__OUTER(k->given.next, brood__job, node);
        brood__list_remove(&job->node);
        brood__loop_post(job->loop, &job->done, true);
    }
}

bool brood__keeper_take(brood__keeper *k, brood__job *job) {
    if (job->kept.end_count == 0)
        return false;
    pthread_mutex_lock(&k->lock);
    bool keeps = (brood__keeper_has_any(k) || open_set(k)) && watch_all(k, job);
    if (keeps) {
        job->kept.until_us = brood__now_us() + KEEP_US;
        if (brood__list_empty(&k->jobs))
            k->next_us = job->kept.until_us;
        brood__list_append(&k->jobs, &job->node);
        job->kept.is_kept = true;
        atomic_store(&job->kept.keeper, k);
        if (atomic_load(&job->kept.unwanted)) { /* since just now: one of both sees what the other has written */
            release(k, job);
            keeps = false;
        }
    }
    close_set_if_unused(k);
    pthread_mutex_unlock(&k->lock);
    return keeps;
}

bool brood__keeper_recall(brood__job *job) {
    atomic_store(&job->kept.unwanted, true);
    brood__keeper *k = atomic_load(&job->kept.keeper);
    if (!k)
        return false;
    pthread_mutex_lock(&k->lock);
    bool kept = job->kept.is_kept;
    if (kept) {
        release(k, job);
        k->recalls++;
        if (brood__list_empty(&k->jobs)) /* its thread is to close what it waits at */
            brood__bell_ring(brood__bell_hold(k->bell));
    }
    pthread_mutex_unlock(&k->lock);
    return kept;
}

/* --- the news --- */

static void hear_end(brood__keeper *k, brood__kept_end *end) {
    brood__job *job = end->job;
    brood__news news = job->kept.hear(job, end);
    if (news == BROOD__MORE_TO_COME)
        return;
    if (news == BROOD__THAT_IS_ALL) {
        stop_watching(k, end);
        return;
    }
    give(k, job);
    if (news == BROOD__COMPLETE)
        job->kept.complete(job);
}

static brood__job *oldest(const brood__keeper *k) {
    return brood__list_empty(&k->jobs) ? NULL : BROOD__OUTER(k->jobs.next, brood__job, node);
}

static void give_older(brood__keeper *k, uint64_t now_us) {
    brood__job *job;
    while ((job = oldest(k)) && job->kept.until_us <= now_us)
        give(k, job);
    k->next_us = job ? job->kept.until_us : 0;
}

void brood__keeper_hear(brood__keeper *k, int told) {
    brood__kept_batch *batch = &k->batch;
    pthread_mutex_lock(&k->lock);
    if (told <= 0 || k->recalls != k->recalls_before)
        told = epoll_wait(k->epoll, batch->events, BROOD__KEPT_BATCH, 0);
    batch->count = told;
    for (batch->at = 0; batch->at < batch->count;) {
        brood__kept_end *end = batch->events[batch->at++].data.ptr;
        if (end)
            hear_end(k, end);
    }
    batch->count = 0;
    k->recalls_before = k->recalls;
    give_older(k, told < 0 ? UINT64_MAX : brood__now_us()); /* < 0: the host has closed it */
    post_given(k);
    pthread_mutex_unlock(&k->lock);
}

void brood__keeper_give_all(brood__keeper *k) {
    pthread_mutex_lock(&k->lock);
    give_older(k, UINT64_MAX);
    post_given(k);
    pthread_mutex_unlock(&k->lock);
}

int brood__keeper_wait(brood__keeper *k) {
    return epoll_wait(k->epoll, k->batch.events, BROOD__KEPT_BATCH, (int)brood__ms_until(brood__now_us(), k->next_us));
}
