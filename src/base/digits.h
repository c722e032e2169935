/*
 * Text that is put together and read without a C library: between clone and exec, and in the holder of a tree. The caller's
 * buffer has room; nothing here calls anything.
 */
#ifndef BROOD_BASE_DIGITS_H
#define BROOD_BASE_DIGITS_H

#include "base/fault.h"

#include <stdint.h>

/* Each appends at `len`, ends the text with a NUL, and returns its new length. */

BROOD__RAW static inline int brood__append_text(char *text, int len, const char *more) {
    while (*more)
        text[len++] = *more++;
    text[len] = '\0';
    return len;
}

BROOD__RAW static inline int brood__append_number(char *text, int len, uint64_t number) {
    char digits[20];
    int count = 0;
    do
        digits[count++] = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    while (count > 0)
        text[len++] = digits[--count];
    text[len] = '\0';
    return len;
}

/* The number that a text begins with; 0: it begins with none. */
BROOD__RAW static inline uint64_t brood__read_number(const char *text) {
    uint64_t number = 0;
    for (; *text >= '0' && *text <= '9'; text++)
        number = number * 10 + (uint64_t)(*text - '0');
    return number;
}

#endif
