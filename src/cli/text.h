/**
 * What people write and read on a command line: times, sizes, numbers, and which word they probably meant.
 */
#ifndef BROOD_CLI_TEXT_H
#define BROOD_CLI_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/** "30", "1.5s", "500ms", "2m", "1h", "1d" as milliseconds, rounded up. Returns 0, -EINVAL, or -ERANGE (too long). */
int text_read_duration(const char *text, uint64_t *ret_ms);

/** "2", "1.5", "150%" in hundredths, rounded up. Returns 0, -EINVAL, or -ERANGE. */
int text_read_percent(const char *text, uint64_t *ret_percent);

/** "4096", "64K", "2GiB" as bytes; K, M, G and T are powers of 1024. Returns 0, -EINVAL, or -ERANGE. */
int text_read_size(const char *text, uint64_t *ret_bytes);

/** A plain number in `base`, nothing before or after it. Returns 0, -EINVAL, or -ERANGE. */
int text_read_number(const char *text, unsigned base, uint64_t *ret_number);

/** A size for a person, "512 MiB", "1000 bytes". `size` 32 is always enough. Returns ret_text. */
const char *text_write_size(uint64_t bytes, char *ret_text, size_t size);

/** A duration for a person, "1.5s", "2m", "90ms". `size` 32 is always enough. Returns ret_text. */
const char *text_write_duration(uint64_t ms, char *ret_text, size_t size);

/** One word as a shell would read it, control characters escaped, cut to `size`. Returns ret_text. */
const char *text_quote_word(const char *word, char *ret_text, size_t size);

/** A JSON string, or null for NULL; what is not UTF-8 becomes U+FFFD. */
void text_write_json(FILE *file, const char *text);

/** The search for the word that somebody meant: all-zero but for `word` at first. */
typedef struct text_guess {
    const char *word;  /* what was written */
    const char *best;  /* the nearest candidate so far, NULL if none is near */
    unsigned distance; /* how far it is */
} text_guess;

/** Try one more candidate, which must outlive the guess. */
void text_guess_try(text_guess *guess, const char *candidate);

#endif
