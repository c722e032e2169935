/**
 * How much heap does one live child with three pipes take? The difference between LESS and MORE children, so that what
 * they share falls out: `brood_bytes` by brood's own allocator hook, `heap_bytes` all of the process by mallinfo2,
 * libuv's tables included, `dirty_bytes` by Private_Dirty. For comparison `uv_handle_bytes`, what libuv's handles for
 * the same take.
 *
 *     bench-memory LESS MORE PROGRAM [ARG...]        (the program lives until its standard input ends)
 */
#include "bench.h"

#include <brood.h>
#include <malloc.h>
#include <stdatomic.h>
#include <uv.h>

static atomic_long held;
static const char *const *program;

static void *count_malloc(size_t size, void *data) {
    (void)data;
    void *block = malloc(size);
    atomic_fetch_add(&held, (long)malloc_usable_size(block));
    return block;
}

static void *count_realloc(void *block, size_t size, void *data) {
    (void)data;
    atomic_fetch_sub(&held, (long)malloc_usable_size(block));
    void *moved = realloc(block, size);
    atomic_fetch_add(&held, (long)malloc_usable_size(moved ? moved : block));
    return moved;
}

static void count_free(void *block, void *data) {
    (void)data;
    atomic_fetch_sub(&held, (long)malloc_usable_size(block));
    free(block);
}

static void ignore_output(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream, (void)bytes, (void)len, (void)data;
}

static void start(void) {
    brood_failure why;
    brood_options options = {
        .args = program,
        .in = {.kind = BROOD_STDIO_PIPE},
        .out = {.on_data = ignore_output},
        .err = {.on_data = ignore_output},
    };
    if (brood_spawn(uv_default_loop(), &options, NULL, &why) < 0)
        bench_fail("brood_spawn", why.message);
}

typedef struct usage {
    long brood, heap, dirty;
} usage;

/** With so many alive, and the loop having done what it does for a new one. */
static usage usage_with(unsigned *live, unsigned wanted) {
    for (; *live < wanted; ++*live)
        start();
    for (int i = 0; i < 10; i++)
        uv_run(uv_default_loop(), UV_RUN_NOWAIT);
    struct mallinfo2 info = mallinfo2();
    return (usage){atomic_load(&held), (long)(info.uordblks + info.hblkhd),
                   bench_rollup_kb(getpid(), "Private_Dirty:") * 1024};
}

int main(int argc, char **argv) {
    if (argc < 4)
        bench_fail("usage", "bench-memory LESS MORE PROGRAM [ARG...]");
    unsigned less = bench_number(argv[1]), more = bench_number(argv[2]), live = 0;
    program = (const char *const *)argv + 3;
    if (less == 0 || more <= less)
        bench_fail(argv[2], "must be more than the first");
    bench_raise_descriptors();
    brood_set_hooks(&(brood_hooks){.malloc = count_malloc, .realloc = count_realloc, .free = count_free});

    usage few = usage_with(&live, less), many = usage_with(&live, more);
    double n = more - less;
    printf("{\"peer\":\"brood\",\"n\":%u,\"brood_bytes\":%.1f,\"heap_bytes\":%.1f,\"dirty_bytes\":%.1f,"
           "\"shared_bytes\":%.0f,\"uv_handle_bytes\":%zu}\n",
           more - less, (double)(many.brood - few.brood) / n, (double)(many.heap - few.heap) / n,
           (double)(many.dirty - few.dirty) / n, (double)few.brood - (double)(many.brood - few.brood) / n * less,
           sizeof(uv_process_t) + 3 * sizeof(uv_pipe_t));

    brood_loop_close(uv_default_loop(), NULL, NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return 0;
}
