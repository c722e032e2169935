/*
 * Scanning text, 16 bytes at a time: for the byte that ends a run of plain ones, and copying such runs. Short runs are
 * most of what there is, so nothing here calls anything.
 */
#ifndef BROOD_VALUE_SCAN_H
#define BROOD_VALUE_SCAN_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define BROOD__BLOCK 16

/* A quote, a backslash, a control character, or no ASCII. */
static inline bool brood__is_special(char byte) {
    return (int8_t)byte < 0x20 || byte == '"' || byte == '\\';
}

/*
 * Whether a word of 8 bytes holds a special one: the lowest bit that is set belongs to the first. (A borrow marks only
 * what is behind that.)
 */
static inline uint64_t brood__specials(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
    return ((word - ones * 0x20) | (quote - ones) | (slash - ones) | word) & highs;
}

/* A bit for each of 16 bytes, the lowest for the first: whether it is special. */
static inline uint32_t brood__special_bits(const char *at) {
#ifdef __SSE2__
    __m128i block = _mm_loadu_si128((const __m128i *)(const void *)at);
    __m128i found = _mm_or_si128(
        _mm_cmplt_epi8(block, _mm_set1_epi8(0x20)),
        _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')), _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'))));
    return (uint32_t)_mm_movemask_epi8(found);
#else
    int8_t block __attribute__((vector_size(BROOD__BLOCK)));
    uint64_t halves[2];
    memcpy(&block, at, sizeof block);
    block = (block < 0x20) | (block == '"') | (block == '\\');
    memcpy(halves, &block, sizeof halves);
    const uint64_t highs = UINT64_C(0x8080808080808080), gather = UINT64_C(0x0002040810204081);
    return (uint32_t)((le64toh(halves[0]) & highs) * gather >> 56) |
           (uint32_t)((le64toh(halves[1]) & highs) * gather >> 56) << 8;
#endif
}

/* How many of the 16 bytes are plain before the first special one. */
static inline size_t brood__plain_prefix(const char *at) {
    return (size_t)__builtin_ctz(brood__special_bits(at) | 1U << BROOD__BLOCK);
}

/* The same of fewer bytes, behind which nothing may be read. */
static inline size_t brood__plain_prefix_short(const char *at, size_t len) {
    size_t plain = 0;
    if (len >= 8) {
        uint64_t head, tail;
        memcpy(&head, at, sizeof head);
        memcpy(&tail, at + len - sizeof tail, sizeof tail);
        head = brood__specials(le64toh(head));
        tail = brood__specials(le64toh(tail));
        if (head)
            return (size_t)__builtin_ctzll(head) / 8;
        return tail ? len - 8 + (size_t)__builtin_ctzll(tail) / 8 : len;
    }
    if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, at, sizeof head);
        memcpy(&tail, at + len - sizeof tail, sizeof tail);
        uint64_t found = brood__specials((uint64_t)le32toh(tail) << 32 | le32toh(head));
        if (!found)
            return len;
        plain = (size_t)__builtin_ctzll(found) / 8;
        return plain < 4 ? plain : len - 8 + plain;
    }
    while (plain < len && !brood__is_special(at[plain]))
        plain++;
    return plain;
}

/* Up to 16 bytes, which may lie in each other: all of them are read before one is written. */
static inline void brood__copy_short(char *to, const char *from, size_t len) {
    if (len >= 8) {
        uint64_t head, tail;
        memcpy(&head, from, sizeof head);
        memcpy(&tail, from + len - sizeof tail, sizeof tail);
        memcpy(to, &head, sizeof head);
        memcpy(to + len - sizeof tail, &tail, sizeof tail);
    } else if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, from, sizeof head);
        memcpy(&tail, from + len - sizeof tail, sizeof tail);
        memcpy(to, &head, sizeof head);
        memcpy(to + len - sizeof tail, &tail, sizeof tail);
    } else if (len > 0) {
        char head = from[0], middle = from[len / 2], tail = from[len - 1];
        to[0] = head;
        to[len / 2] = middle;
        to[len - 1] = tail;
    }
}

#endif
