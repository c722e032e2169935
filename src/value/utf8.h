/*
 * UTF-8 as Unicode has it, and its variant for what JavaScript's strings may hold besides: halves of surrogate pairs, in
 * three bytes each (WTF-8).
 */
#ifndef BROOD_VALUE_UTF8_H
#define BROOD_VALUE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BROOD__REPLACEMENT 0xfffd /* for what cannot be read */

int brood__utf8_measure(const char *text, const char *end, bool halves);

/* The characters of two bytes, and most of those of three: their length; 0: some other. */
static inline int brood__utf8_common(const char *text, const char *end) {
    const uint8_t *at = (const uint8_t *)text;
    if (at[0] >= 0xc2 && at[0] < 0xe0 && end - text >= 2 && at[1] >> 6 == 2)
        return 2;
    if (at[0] > 0xe0 && at[0] < 0xed && end - text >= 3 && at[1] >> 6 == 2 && at[2] >> 6 == 2)
        return 3;
    return 0;
}

/*
 * The bytes of the character that `text`, which is before `end`, begins with: 1 to 4. If they are none, minus how many
 * of them one U+FFFD stands for (Unicode 15, 3.9, "maximal subparts").
 */
static inline int brood__utf8_length(const char *text, const char *end) {
    int len = brood__utf8_common(text, end);
    return len ? len : brood__utf8_measure(text, end, false);
}

/* The same, with halves of surrogate pairs. */
static inline int brood__wtf8_length(const char *text, const char *end) {
    int len = brood__utf8_common(text, end);
    return len ? len : brood__utf8_measure(text, end, true);
}

/* The character that these bytes, as measured above, are. */
uint32_t brood__utf8_read(const char *text, int length);

/* Write a character, or half a pair; returns how many bytes: 1 to 4. */
int brood__utf8_write(uint32_t point, char *ret_text);

#endif
