/*
 * UTF-8 as Unicode has it, and its variant for what JavaScript's strings may hold besides: halves of surrogate pairs, in
 * three bytes each (WTF-8).
 */
#ifndef BROOD_VALUE_UTF8_H
#define BROOD_VALUE_UTF8_H

#include <stddef.h>
#include <stdint.h>

#define BROOD__REPLACEMENT 0xfffd /* for what cannot be read */

/*
 * The bytes of the character that `text`, which is before `end`, begins with: 1 to 4. If they are none, minus how many
 * of them one U+FFFD stands for (Unicode 15, 3.9, "maximal subparts").
 */
int brood__utf8_length(const char *text, const char *end);

/* The same, with halves of surrogate pairs. */
int brood__wtf8_length(const char *text, const char *end);

/* The character that these bytes, as measured above, are. */
uint32_t brood__utf8_read(const char *text, int length);

/* Write a character, or half a pair; returns how many bytes: 1 to 4. */
int brood__utf8_write(uint32_t point, char *ret_text);

#endif
