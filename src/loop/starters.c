/*
 * A queue and a few threads. A fork of the host leaves its child with the memory of the queue but none of the threads,
 * and perhaps with a lock that nobody will ever free: so the whole is kept behind one pointer, marked with its pid, and
 * a process that finds another's makes its own.
 */
#include "loop/starters.h"

#include "base/fault.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define MOST_THREADS 4
#define THREAD_STACK (256 * 1024)

typedef struct starters {
    pid_t pid;
    pthread_mutex_t lock;
    pthread_cond_t work;
    brood__list queue;
    int threads, idle, queued, most;
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
    pthread_cond_init(&fresh->work, NULL);
    brood__list_init(&fresh->queue);
    if (atomic_compare_exchange_strong(&current, &s, fresh))
        return fresh;
    free(fresh); /* another thread was quicker */
    return s;
}

static void *run(void *arg) {
    starters *s = arg;
    pthread_mutex_lock(&s->lock);
    for (;;) {
        while (brood__list_empty(&s->queue)) {
            s->idle++;
            pthread_cond_wait(&s->work, &s->lock);
            s->idle--;
        }
        brood__job *job = BROOD__OUTER(s->queue.next, brood__job, node);
        brood__list_remove(&job->node);
        s->queued--;
        job->waiting = false;
        pthread_mutex_unlock(&s->lock);
        job->work(job);
        brood__loop_post(job->loop, &job->done);
        pthread_mutex_lock(&s->lock);
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
    int r = 0;
    pthread_mutex_lock(&s->lock);
    if (s->idle <= s->queued && s->threads < s->most) /* those woken already still count as idle */
        r = add_thread(s);
    if (r == 0 || s->threads > 0) {
        r = 0;
        job->waiting = true;
        brood__list_append(&s->queue, &job->node);
        s->queued++;
    }
    pthread_mutex_unlock(&s->lock);
    pthread_cond_signal(&s->work); /* now: who wakes finds the lock free */
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
