/* Numbers as ECMAScript writes and reads them; no locale, no allocation. */
#ifndef BROOD_VALUE_NUMBER_H
#define BROOD_VALUE_NUMBER_H

#include <stdint.h>

#define BROOD__NUMBER_SIZE 25 /* "-2.2250738585072014e-308" */

/*
 * Write a finite number as Number::toString does (ECMA-262 6.1.6.1.20): the shortest digits that read back the same.
 * -0 is "0". Returns the length, not NUL-terminated.
 */
int brood__number_write(double number, char *ret_text);
int brood__number_write_int(int64_t number, char *ret_text);

/* digits * 10^exponent, rounded to the nearest double, ties to even. */
double brood__number_scale(uint64_t digits, int exponent);

/*
 * Read one JSON number (RFC 8259) of at most `end - text` bytes, rounded to the nearest double, ties to even. Returns
 * the end of it; NULL: there is none, or it breaks off.
 */
const char *brood__number_read(const char *text, const char *end, double *ret_number);

#endif
