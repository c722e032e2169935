/*
 * Memory: the allocator behind the hook, and the arena. The hook may change only before the first allocation: a block
 * must go back where it came from.
 */
#include "base/memory.h"

#include "base/fault.h"
#include "base/hooks.h"

#include <errno.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_SIZE 2048 /* a usual start needs one or two */

static brood_hooks hooks;
static atomic_bool used;

int brood_set_hooks_sized(const brood_hooks *wanted, size_t size) {
    brood_hooks copy = {0};
    if (wanted)
        memcpy(&copy, wanted, size < sizeof copy ? size : sizeof copy);
    if (!copy.malloc != !copy.realloc || !copy.malloc != !copy.free)
        return -EINVAL;
    bool same = copy.malloc == hooks.malloc && copy.realloc == hooks.realloc && copy.free == hooks.free;
    if (!same && atomic_load(&used))
        return -EBUSY;
    hooks = copy;
    return 0;
}

bool brood__is_traced(void) {
    return hooks.trace != NULL;
}

void brood__trace(const char *name, pid_t pid, int64_t value, const char *detail) {
    if (hooks.trace)
        hooks.trace(&(brood_trace_event){.name = name, .pid = pid, .value = value, .detail = detail ? detail : ""},
                    hooks.data);
}

static void *allocate(size_t size) {
    if (brood__fault("malloc", ENOMEM) < 0)
        return NULL;
    if (!atomic_load_explicit(&used, memory_order_relaxed))
        atomic_store(&used, true);
    return hooks.malloc ? hooks.malloc(size, hooks.data) : malloc(size);
}

void *brood__alloc(size_t size) {
    void *block = allocate(size ? size : 1);
    if (!block)
        return NULL;
    brood__count_allocation(1);
    return memset(block, 0, size);
}

void *brood__resize(void *block, size_t size) {
    if (!block) {
        block = allocate(size);
        if (block)
            brood__count_allocation(1);
        return block;
    }
    if (brood__fault("realloc", ENOMEM) < 0)
        return NULL;
    return hooks.realloc ? hooks.realloc(block, size, hooks.data) : realloc(block, size);
}

void brood__free(void *block) {
    if (!block)
        return;
    brood__count_allocation(-1);
    if (hooks.free)
        hooks.free(block, hooks.data);
    else
        free(block);
}

bool brood__is_zero(const void *bytes, size_t size) {
    const unsigned char *b = bytes;
    return size == 0 || (b[0] == 0 && memcmp(b, b + 1, size - 1) == 0); /* each is as the one before it */
}

/* --- the arena: a list of chunks, filled from the front; what is larger gets a chunk of its own --- */

struct brood__arena_chunk {
    struct brood__arena_chunk *next;
    size_t used, size;
    alignas(max_align_t) unsigned char bytes[];
};

void *brood__arena_alloc(brood__arena *arena, size_t size) {
    const size_t align = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size_t need = (size + align - 1) / align * align;
    struct brood__arena_chunk *chunk = arena->chunk;
    if (!chunk || chunk->size - chunk->used < need) {
        size_t room = need > CHUNK_SIZE ? need : CHUNK_SIZE;
        struct brood__arena_chunk *fresh = brood__alloc(sizeof *fresh + room);
        if (!fresh)
            return NULL;
        fresh->size = room;
        fresh->used = 0;
        fresh->next = chunk;
        arena->chunk = chunk = fresh;
    }
    void *block = chunk->bytes + chunk->used;
    chunk->used += need;
    return block;
}

void *brood__arena_array(brood__arena *arena, size_t count, size_t size) {
    size_t bytes;
    return __builtin_mul_overflow(count, size, &bytes) ? NULL : brood__arena_alloc(arena, bytes);
}

char *brood__arena_copy(brood__arena *arena, const char *text, size_t len) {
    char *copy = len == SIZE_MAX ? NULL : brood__arena_alloc(arena, len + 1);
    return copy ? memcpy(copy, text, len) : NULL;
}

char *brood__arena_string(brood__arena *arena, const char *text) {
    return brood__arena_copy(arena, text, strlen(text));
}

void brood__arena_done(brood__arena *arena) {
    while (arena->chunk) {
        struct brood__arena_chunk *chunk = arena->chunk;
        arena->chunk = chunk->next;
        brood__free(chunk);
    }
}
