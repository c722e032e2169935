/*
 * A queue and a few threads. A fork of the host leaves its child with the memory of the queue but none of the threads,
 * and perhaps with a lock that nobody will ever free: so the whole is kept behind one pointer, marked with its pid, and
 * a process that finds another's makes its own.
 */
#include "loop/starters.h"

#include "base/fault.h"
#include "base/sys.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_THREADS 4
#define MOST_TO_WAIT 8 /* short ones, behind another short one */
#define THREAD_STACK (256 * 1024)

/* A thread that has nothing to do; on its own stack. */
typedef struct sleeper {
    brood__list node;
    pthread_cond_t work;
    bool woken;
} sleeper;

typedef struct starters {
    pid_t pid;
    pthread_mutex_t lock;
    brood__list queue, sleepers; /* the last to have fallen asleep is the first to be woken: it is at hand */
    int threads, queued, most;
    int free_shortly; /* threads that are at a short job, or waking up */
} starters;

static _Atomic(starters *) current;

static int core_count(void) {
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 2;
    return n < 1 ? 1 : n > MOST_THREADS ? MOST_THREADS : n;
}

/* Never freed, and so not brood__alloc'ed: the threads live as long as the host, whatever its hooks say. */
static starters *get(void) {
    starters *s = atomic_load(&current);
    if (s && s->pid == getpid())
        return s;
    starters *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    fresh->pid = getpid();
    fresh->most = core_count();
    pthread_mutex_init(&fresh->lock, NULL);
    brood__list_init(&fresh->queue);
    brood__list_init(&fresh->sleepers);
    if (atomic_compare_exchange_strong(&current, &s, fresh))
        return fresh;
    free(fresh); /* another thread was quicker */
    return s;
}

static int add_thread(starters *s);

/* Under the lock: who is to take what is queued. It may be somebody who is awake, or new; else it is to be woken. */
static int find_thread(starters *s, sleeper **ret_sleeper) {
    *ret_sleeper = NULL;
    if (s->free_shortly > 0 && s->queued <= MOST_TO_WAIT)
        return 0;
    if (brood__list_empty(&s->sleepers))
        return s->threads < s->most ? add_thread(s) : 0;
    *ret_sleeper = BROOD__OUTER(s->sleepers.prev, sleeper, node);
    brood__list_remove(&(*ret_sleeper)->node);
    (*ret_sleeper)->woken = true;
    s->free_shortly++;
    return 0;
}

/* Without the lock, so that it is free for who wakes up. Threads do not end, so this one is there. */
static void wake(sleeper *who) {
    if (who)
        pthread_cond_signal(&who->work);
}

static void sleep_until_woken(starters *s, sleeper *self) {
    self->woken = false;
    brood__list_append(&s->sleepers, &self->node);
    while (!self->woken)
        pthread_cond_wait(&self->work, &s->lock);
    s->free_shortly--;
}

static brood__job *take_job(starters *s) {
    brood__job *job = BROOD__OUTER(s->queue.next, brood__job, node);
    brood__list_remove(&job->node);
    s->queued--;
    job->waiting = false;
    return job;
}

static void *run(void *arg) {
    starters *s = arg;
    sleeper self, *other;
    brood__own_thread known = {0};
    brood__thread_become_ours(&known);
    brood__list_init(&self.node);
    pthread_cond_init(&self.work, NULL);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (brood__list_empty(&s->queue))
            sleep_until_woken(s, &self);
        brood__job *job = take_job(s);
        bool is_short = job->is_short;
        s->free_shortly += is_short;
        other = NULL;
        if (!is_short && s->queued > 0) /* which may have been left to this thread */
            find_thread(s, &other);
        pthread_mutex_unlock(&s->lock);
        wake(other);
        job->work(job);
        brood__loop_post(job->loop, &job->done, job->watch);
        pthread_mutex_lock(&s->lock);
        s->free_shortly -= is_short;
    }
    return NULL;
}

/* Under the lock. */
static int add_thread(starters *s) {
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int r = brood__fault("pthread_create", EAGAIN);
    if (r < 0)
        return r;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, THREAD_STACK);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = -pthread_create(&thread, &attributes, run, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (r == 0)
        s->threads++;
    return r;
}

int brood__starters_submit(brood__job *job) {
    starters *s = get();
    if (!s)
        return -ENOMEM;
    sleeper *who;
    pthread_mutex_lock(&s->lock);
    s->queued++;
    int r = find_thread(s, &who);
    if (r == 0 || s->threads > 0) {
        r = 0;
        job->waiting = true;
        brood__list_append(&s->queue, &job->node);
    } else {
        s->queued--;
    }
    pthread_mutex_unlock(&s->lock);
    wake(who);
    return r;
}

bool brood__starters_cancel(brood__job *job) {
    starters *s = get();
    if (!s)
        return false;
    pthread_mutex_lock(&s->lock);
    bool waiting = job->waiting;
    if (waiting) {
        brood__list_remove(&job->node);
        s->queued--;
        job->waiting = false;
    }
    pthread_mutex_unlock(&s->lock);
    return waiting;
}
