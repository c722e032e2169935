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
#define MOST_IN_A_ROW 8 /* jobs, before it looks at what became of those before */
#define MOST_TO_WAIT 8  /* short ones, behind another short one */
#define THREAD_STACK (256 * 1024)

/* A thread; on its own stack. */
typedef struct starter {
    brood__list node; /* it has nothing to do */
    pthread_cond_t work;
    bool woken;
    brood__keeper keeper;
    int in_a_row;
    bool takes_sigchld, may_take_sigchld;
} starter;

typedef struct starters {
    pid_t pid;
    pthread_mutex_t lock;
    brood__list queue, sleepers; /* the last to have fallen asleep is the first to be woken: it is at hand */
    int threads, queued, most;
    int free_shortly; /* threads that are at a short job, or at what they keep, or waking up */
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

/* Somebody who is to be woken; NULL: nobody is. */
typedef struct sleeper {
    starter *who;
    brood__bell *bell; /* of its keeper, over which it sleeps */
} sleeper;

static int add_thread(starters *s);

/* Under the lock: who is to take what is queued. It may be somebody who is awake, or new; else it is to be woken. */
static int find_thread(starters *s, sleeper *ret_sleeper) {
    *ret_sleeper = (sleeper){0};
    if (s->free_shortly > 0 && s->queued <= MOST_TO_WAIT)
        return 0;
    if (brood__list_empty(&s->sleepers))
        return s->threads < s->most ? add_thread(s) : 0;
    starter *who = BROOD__OUTER(s->sleepers.prev, starter, node);
    brood__list_remove(&who->node);
    who->woken = true;
    s->free_shortly++;
    ret_sleeper->who = who;
    if (brood__keeper_has_any(&who->keeper))
        ret_sleeper->bell = brood__bell_hold(who->keeper.bell);
    return 0;
}

/* Without the lock, so that it is free for who wakes up. Threads do not end, so this one is there. */
static void wake(const sleeper *s) {
    if (s->bell)
        brood__bell_ring(s->bell);
    else if (s->who)
        pthread_cond_signal(&s->who->work);
}

static bool somebody_handles_sigchld(void) {
    struct sigaction now;
    return sigaction(SIGCHLD, NULL, &now) < 0 || (now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_DFL;
}

static void take_sigchld(starter *self, bool takes) {
    sigset_t sigchld;
    if (takes == self->takes_sigchld)
        return;
    self->takes_sigchld = takes;
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    pthread_sigmask(takes ? SIG_UNBLOCK : SIG_BLOCK, &sigchld, NULL);
}

/*
 * The end of a process is signalled to the thread that has started it. If that blocks the signal, another thread of the
 * host's, which does not, is interrupted to find that there is nothing to do; if it does not block it, the kernel knows.
 * But where the host's blocks it as well, somebody may wait for it elsewhere, and is not to lose it; and a handler is not
 * to run here. That is looked at again and again, since it may change, and only as long as something is kept.
 */
static void follow_sigchld(starter *self) {
    bool takes = self->may_take_sigchld && brood__keeper_has_any(&self->keeper);
    take_sigchld(self, takes && !somebody_handles_sigchld());
}

static void sleep_until_woken(starters *s, starter *self) {
    take_sigchld(self, false);
    self->woken = false;
    brood__list_append(&s->sleepers, &self->node);
    while (!self->woken)
        pthread_cond_wait(&self->work, &s->lock);
    s->free_shortly--;
}

/* Until it is woken, or there is news of what it keeps. */
static int sleep_lightly(starters *s, starter *self) {
    self->woken = false;
    brood__list_append(&s->sleepers, &self->node);
    pthread_mutex_unlock(&s->lock);
    int told = brood__keeper_wait(&self->keeper);
    follow_sigchld(self);
    pthread_mutex_lock(&s->lock);
    brood__list_remove(&self->node);
    if (self->woken)
        s->free_shortly--;
    return told;
}

static void hear_news(starters *s, starter *self, int told) {
    self->in_a_row = 0;
    s->free_shortly++;
    pthread_mutex_unlock(&s->lock);
    brood__keeper_hear(&self->keeper, told);
    pthread_mutex_lock(&s->lock);
    s->free_shortly--;
}

static brood__job *take_job(starters *s, starter *self) {
    for (;;) {
        bool keeps = brood__keeper_has_any(&self->keeper);
        if (!brood__list_empty(&s->queue) && (!keeps || self->in_a_row < MOST_IN_A_ROW))
            break;
        if (!keeps) {
            sleep_until_woken(s, self);
            continue;
        }
        hear_news(s, self, brood__list_empty(&s->queue) ? sleep_lightly(s, self) : 0);
    }
    self->in_a_row++;
    brood__job *job = BROOD__OUTER(s->queue.next, brood__job, node);
    brood__list_remove(&job->node);
    s->queued--;
    job->waiting = false;
    return job;
}

static void *run(void *arg) {
    starters *s = arg;
    starter self = {0};
    brood__own_thread known = {0};
    brood__thread_become_ours(&known);
    brood__list_init(&self.node);
    pthread_cond_init(&self.work, NULL);
    brood__keeper_init(&self.keeper);
    pthread_mutex_lock(&s->lock);
    for (;;) {
        brood__job *job = take_job(s, &self);
        bool is_short = job->is_short;
        s->free_shortly += is_short;
        sleeper other = {0};
        if (!is_short && s->queued > 0) /* which may have been left to this thread */
            find_thread(s, &other);
        pthread_mutex_unlock(&s->lock);
        wake(&other);
        self.may_take_sigchld = job->host_takes_sigchld;
        if (!is_short) {
            brood__keeper_give_all(&self.keeper);
            take_sigchld(&self, false);
        }
        job->work(job);
        if (!brood__keeper_take(&self.keeper, job))
            brood__loop_post(job->loop, &job->done, false);
        follow_sigchld(&self);
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
    sleeper who;
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
    wake(&who);
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

bool brood__starters_are_idle(void) {
    starters *s = atomic_load(&current);
    if (!s || s->pid != getpid())
        return true;
    pthread_mutex_lock(&s->lock);
    int busy = s->threads;
    for (brood__list *n = s->sleepers.next; n != &s->sleepers; n = n->next)
        busy -= !brood__keeper_has_any(&BROOD__OUTER(n, starter, node)->keeper);
    pthread_mutex_unlock(&s->lock);
    return busy == 0;
}
