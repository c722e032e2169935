/*
 * Memory: the one way to the allocator, so that a host can bring its own and a test can make it fail; and an arena
 * for what is built piece by piece and dropped at once.
 */
#ifndef BROOD_BASE_MEMORY_H
#define BROOD_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Zeroed; NULL when there is none. */
void *brood__alloc(size_t size);
/* As realloc(3), also with NULL: new bytes are not zeroed. */
void *brood__resize(void *block, size_t size);
/* NULL is harmless. */
void brood__free(void *block);

/* Whether all bytes are zero: those of a struct that this version does not know must be. */
bool brood__is_zero(const void *bytes, size_t size);

/* An arena: blocks that live and die together. All-zero is empty and valid. */
typedef struct brood__arena {
    struct brood__arena_chunk *chunk;
} brood__arena;

/* Zeroed memory, aligned for anything; NULL when there is none. `size` may be 0. */
void *brood__arena_alloc(brood__arena *arena, size_t size);
/* Room for `count` things of `size`; NULL also when that overflows. */
void *brood__arena_array(brood__arena *arena, size_t count, size_t size);
char *brood__arena_copy(brood__arena *arena, const char *text, size_t len); /* NUL-terminated */
char *brood__arena_string(brood__arena *arena, const char *text);
void brood__arena_done(brood__arena *arena);

#endif
