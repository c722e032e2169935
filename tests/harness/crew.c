/* See crew.h. */
#include "crew.h"

#include <stdarg.h>
#include <stdio.h>

enum { JOBS = 1024 };

/* One task. */
typedef struct job {
    crew *crew;
    bool told;
} job;

/* These hold whatever has been made to fail. */
static void promise(bool kept, const char *what) {
    if (kept)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

static void check_all_told(void *data) {
    crew *c = data;
    promise(c->done == c->accepted, "each task that was accepted has had its outcome");
}

crew *crew_new(void) {
    crew *c = NEW(crew);
    DEFER(check_all_told, c);
    return c;
}

static job *new_job(crew *c) {
    if (c->job_count % JOBS == 0)
        c->jobs = NEW_ARRAY(job, JOBS);
    job *j = &((job *)c->jobs)[c->job_count++ % JOBS];
    j->crew = c;
    return j;
}

static void note(char *log, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void note(char *log, size_t size, const char *format, ...) {
    va_list args;
    size_t len = strlen(log);
    va_start(args, format);
    vsnprintf(log + len, size - len, format, args);
    va_end(args);
}

static void task_done(const brood_outcome *o, void *data) {
    job *j = data;
    crew *c = j->crew;
    test_event();
    promise(!j->told, "an outcome is told once");
    promise(!c->closed, "and before the pool is closed");
    j->told = true;
    c->done++;
    c->fates[o->fate]++;
    ENSURE(o->ticket > 0 && o->message);
    ENSURE((o->fate == BROOD_FATE_CRASHED) == (o->worker_exit != NULL));
    c->last = *o;
    if (o->worker_exit)
        c->exit = *o->worker_exit;
    c->result = -1;
    (void)brood_value_int64(o->result, &c->result);
    snprintf(c->message, sizeof c->message, "%s", o->message);
    if (!c->quiet)
        note(c->log, sizeof c->log, "%llu:%s ", (unsigned long long)o->ticket, brood_fate_text(o->fate));
    if (c->then)
        c->then(c, o);
}

static void see_life(crew *c, const brood_pool_event *e) {
    if (e->kind == BROOD_POOL_WORKER_STARTED) {
        c->started++;
        c->alive++;
        c->pids[e->worker] = e->pid;
    }
    if (e->kind == BROOD_POOL_WORKER_ENDED) {
        c->ended++;
        c->alive--;
        c->pids[e->worker] = 0;
    }
    c->most_alive = c->alive > c->most_alive ? c->alive : c->most_alive;
}

static void event_came(brood_pool *pool, const brood_pool_event *e, void *data) {
    crew *c = data;
    ENSURE(pool == c->pool && e->detail && e->time_us > 0);
    test_event();
    see_life(c, e);
    c->strays += e->kind == BROOD_POOL_STRAY;
    c->requeued += e->kind == BROOD_POOL_TASK_REQUEUED;
    c->failed_starts += e->kind == BROOD_POOL_START_FAILED;
    c->gave_up += e->kind == BROOD_POOL_GAVE_UP;
    if (c->log_events)
        note(c->events, sizeof c->events, "%s%s%s, ", brood_pool_event_text(e->kind), *e->detail ? ": " : "",
             e->detail);
    if (c->on_event)
        c->on_event(c, e);
}

static void drained(brood_pool *pool, void *data) {
    ENSURE(pool == ((crew *)data)->pool);
    ((crew *)data)->drains++;
}

bool crew_open(test *t, crew *c, const brood_pool_options *given) {
    brood_pool_options o = *given;
    brood_failure why = {0};
    const char *const usual[] = {WORKER, NULL};
    if (!o.worker.args)
        o.worker.args = usual;
    if (o.worker.own == BROOD_OWN_DEFAULT && !getenv("BROOD_TEST_TREES"))
        o.worker.own = BROOD_OWN_GROUP; /* starts twice as fast */
    o.on_event = event_came;
    o.on_drain = drained;
    o.data = c;
    int r = brood_pool_open(t->loop, &o, &c->pool, &why);
    if (r < 0 && !t->torture)
        test_fail(__FILE__, __LINE__, "brood_pool_open: %s", why.message);
    return r == 0;
}

static void task_progress(uint64_t ticket, brood_value progress, void *data) {
    crew *c = ((job *)data)->crew;
    int64_t number = 0;
    ENSURE(ticket > 0 && brood_value_int64(progress, &number) == 0 && number > 0);
    c->progress++;
}

static int run(crew *c, const brood_task *given, uint64_t *ret_ticket) {
    brood_task task = *given;
    task.on_done = task_done;
    task.on_progress = task_progress;
    task.data = new_job(c);
    int r = brood_pool_run(c->pool, &task, ret_ticket);
    c->accepted += r >= 0;
    return r;
}

int crew_run(crew *c, const brood_task *given) {
    return run(c, given, NULL);
}

uint64_t crew_json(crew *c, const char *json) {
    uint64_t ticket = 0;
    int r = run(c, &(brood_task){.body = {.json = json, .json_len = BROOD_NUL}}, &ticket);
    if (r < 0) /* torture: it goes on */
        test_fail(__FILE__, __LINE__, "brood_pool_run(%s): %s", json, strerror(-r));
    return ticket;
}

uint64_t crew_do(crew *c, const char *word) {
    return crew_json(c, test_format("{\"do\":\"%s\"}", word));
}

static void closed(void *data) {
    crew *c = data;
    check_all_told(c);
    promise(c->closed == 0 && c->alive == 0, "a pool is closed once, and leaves no worker");
    c->closed++;
    c->pool = NULL;
    test_event();
}

void crew_close(crew *c, uint64_t drain_ms) {
    brood_pool_close(c->pool, drain_ms, closed, c);
}
