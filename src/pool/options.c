/*
 * Options of a pool, with the defaults in. Workers are started long after the caller's words have gone, so all that the
 * worker's options point to is copied, and descriptors are duplicated. They are compiled once, to nothing, so that what
 * no start could do is refused at the opening.
 */
#include "pool/pool.h"

#include "base/failure.h"
#include "base/sys.h"
#include "child/options.h"

#include <errno.h>
#include <string.h>

#define MAX_ATTEMPTS 3
#define MAX_QUEUED_BYTES ((size_t)1024 * 1024 * 1024)
#define READY_MS 10000
#define LEAVE_MS 5000
#define BACKOFF_MS 100
#define MAX_BACKOFF_MS 30000
#define MAX_FAILURES 8
#define CLOSE_GRACE_MS 1000 /* of a worker's pipes, when it has ended and others hold them */

static int refuse(brood_failure *why, const char *field, const char *reason) {
    return brood__fail(why, -EINVAL, BROOD_STEP_OPTIONS, field, reason);
}

/* --- the worker's --- */

static int check_worker(const brood_options *o, brood_failure *why) {
    if (o->on_message || o->on_disconnect || o->on_channel_drain || o->on_spawn || o->on_error || o->on_exit ||
        o->on_close || o->on_empty || o->on_limit)
        return refuse(why, "worker", "has callbacks of its own: the pool's on_event tells what happens to it");
    if (o->timeout_ms || o->idle_timeout_ms)
        return refuse(why, "worker", "has a time limit: the pool's are task_timeout_ms, silence_ms, idle_timeout_ms");
    if (o->abort)
        return refuse(why, "worker", "has an abort: tasks may have one, and a pool can be closed");
    if (o->own == BROOD_OWN_NONE)
        return refuse(why, "worker", "is owned by nobody, so that it could not be stopped");
    return 0;
}

static bool copy_text(brood__arena *arena, const char **text) {
    if (*text)
        *text = brood__arena_string(arena, *text);
    return *text != NULL;
}

/* Those that were NULL stay so. False: no memory. */
static bool copy_texts(brood__arena *arena, const char *const **list) {
    size_t count = 0;
    if (!*list)
        return true;
    while ((*list)[count])
        count++;
    const char **copy = brood__arena_array(arena, count + 1, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = (*list)[i];
        if (!copy_text(arena, &copy[i]))
            return false;
    }
    *list = copy;
    return copy != NULL;
}

static bool copy_array(brood__arena *arena, const void **array, size_t count, size_t size) {
    if (!*array || count == 0)
        return true;
    void *copy = brood__arena_array(arena, count, size);
    if (copy)
        memcpy(copy, *array, count * size);
    *array = copy;
    return copy != NULL;
}

static int own_fd(brood_pool *pool, int *fd) {
    int copy = brood__duplicate(*fd);
    if (copy < 0)
        return copy;
    pool->worker_fds[pool->worker_fd_count++] = copy;
    *fd = copy;
    return 0;
}

static int copy_slot(brood_pool *pool, brood_stdio *io, void *data) {
    bool is_pipe = io->kind == BROOD_STDIO_DEFAULT || io->kind == BROOD_STDIO_PIPE;
    if (io->path && !copy_text(&pool->arena, &io->path))
        return -ENOMEM;
    if (is_pipe && io->input) {
        io->input_len = brood__input_length(io);
        io->input = brood__arena_copy(&pool->arena, io->input, io->input_len);
        if (!io->input)
            return -ENOMEM;
    }
    if (!io->data)
        io->data = data; /* the options' is the worker */
    return io->kind == BROOD_STDIO_FD ? own_fd(pool, &io->fd) : 0;
}

static int copy_slots(brood_pool *pool, brood_options *o) {
    const void *more = o->slots;
    if (o->in.kind == BROOD_STDIO_DEFAULT && !o->in.input && !o->in.on_drain)
        o->in.kind = BROOD_STDIO_IGNORE; /* not the host's: several would share it */
    if (!copy_array(&pool->arena, &more, o->slot_count, sizeof *o->slots))
        return -ENOMEM;
    brood_slot *slots = (brood_slot *)more;
    o->slots = slots;
    pool->worker_fds = brood__alloc((o->slot_count + 4) * sizeof *pool->worker_fds);
    int r = pool->worker_fds ? 0 : -ENOMEM;
    brood_stdio *first[] = {&o->in, &o->out, &o->err};
    for (size_t i = 0; r == 0 && i < 3; i++)
        r = copy_slot(pool, first[i], o->data);
    for (size_t i = 0; r == 0 && slots && i < o->slot_count; i++)
        r = copy_slot(pool, &slots[i].io, o->data);
    return r == 0 && o->cwd_by_fd ? own_fd(pool, &o->cwd_fd) : r;
}

static int copy_words(brood_pool *pool, brood_options *o) {
    const void *groups = o->groups, *rlimits = o->rlimits, *channel = o->channel;
    brood__arena *arena = &pool->arena;
    bool all = copy_texts(arena, &o->args) && copy_texts(arena, &o->env) && (!o->file || copy_text(arena, &o->file)) &&
               (!o->cwd || copy_text(arena, &o->cwd)) &&
               copy_array(arena, &groups, o->group_count, sizeof *o->groups) &&
               copy_array(arena, &rlimits, o->rlimit_count, sizeof *o->rlimits) &&
               copy_array(arena, &channel, 1, sizeof *o->channel);
    o->groups = groups, o->rlimits = rlimits, o->channel = channel;
    return all ? 0 : -ENOMEM;
}

static int copy_worker(brood_pool *pool, brood_failure *why) {
    brood_options *o = &pool->options.worker;
    brood__compiled compiled;
    if (o->own == BROOD_OWN_DEFAULT)
        o->own = BROOD_OWN_TREE;
    int r = check_worker(o, why);
    if (r == 0)
        r = brood__options_compile(o, BROOD__FORK, NULL, false, &compiled, why);
    if (r < 0)
        return r;
    brood__plan_done(&compiled.plan);
    r = copy_words(pool, o);
    if (r == 0)
        r = copy_slots(pool, o);
    if (r < 0)
        return brood__fail(why, r, r == -ENOMEM ? BROOD_STEP_MEMORY : BROOD_STEP_STDIO, NULL, NULL);
    if (!o->close_grace_ms)
        o->close_grace_ms = CLOSE_GRACE_MS;
    o->offload = true;
    return 0;
}

/* --- the pool's --- */

static int check_pool(const brood_pool_options *o, brood_failure *why) {
    if (!brood__is_zero(o->reserved, sizeof o->reserved))
        return refuse(why, "reserved", "must be zero");
    if (o->max_workers && o->min_workers > o->max_workers)
        return refuse(why, "min_workers", "is more than max_workers");
    if (o->prefetch > BROOD__MAX_PREFETCH)
        return refuse(why, "prefetch", "is more than 64");
    if (o->on_full < BROOD_FULL_REFUSE || o->on_full > BROOD_FULL_DROP_OLDEST)
        return refuse(why, "on_full", "is no brood_on_full");
    if (o->balance < BROOD_BALANCE_LEAST || o->balance > BROOD_BALANCE_TURNS)
        return refuse(why, "balance", "is no brood_balance");
    return 0;
}

static uint64_t or_default(uint64_t given, uint64_t otherwise) {
    return given ? given : otherwise;
}

static void set_defaults(brood_pool_options *o) {
    if (!o->max_workers)
        o->max_workers = uv_available_parallelism();
    if (o->max_workers < o->min_workers)
        o->max_workers = o->min_workers;
    o->prefetch = (unsigned)or_default(o->prefetch, 1);
    o->task_timeout_ms = or_default(o->task_timeout_ms, BROOD_FOREVER);
    o->silence_ms = or_default(o->silence_ms, BROOD_FOREVER);
    o->max_attempts = (unsigned)or_default(o->max_attempts, MAX_ATTEMPTS);
    o->max_queued = or_default(o->max_queued, SIZE_MAX);
    o->max_queued_bytes = or_default(o->max_queued_bytes, MAX_QUEUED_BYTES);
    o->ready_timeout_ms = or_default(o->ready_timeout_ms, READY_MS);
    o->idle_timeout_ms = or_default(o->idle_timeout_ms, BROOD_FOREVER);
    o->leave_ms = or_default(o->leave_ms, LEAVE_MS);
    o->backoff_ms = or_default(o->backoff_ms, BACKOFF_MS);
    o->max_backoff_ms = or_default(o->max_backoff_ms, MAX_BACKOFF_MS);
    o->max_failures = (unsigned)or_default(o->max_failures, MAX_FAILURES);
}

int brood__pool_options_copy(brood_pool *pool, const brood_pool_options *options, size_t size, brood_failure *why) {
    brood_pool_options *o = &pool->options;
    if (size > sizeof *o && !brood__is_zero((const char *)options + sizeof *o, size - sizeof *o))
        return brood__fail(why, -E2BIG, BROOD_STEP_OPTIONS, NULL,
                           "they ask for something that this older library lacks");
    memcpy(o, options, size < sizeof *o ? size : sizeof *o);
    int r = check_pool(o, why);
    if (r < 0)
        return r;
    set_defaults(o);
    r = copy_worker(pool, why);
    if (r < 0)
        brood__pool_options_done(pool);
    return r;
}

void brood__pool_options_done(brood_pool *pool) {
    while (pool->worker_fd_count > 0)
        brood__close(pool->worker_fds[--pool->worker_fd_count]);
    brood__free(pool->worker_fds);
    pool->worker_fds = NULL;
    brood__arena_done(&pool->arena);
}
