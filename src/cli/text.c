/*
 * Reads and writes the small texts of a command line: durations, sizes, numbers, guesses at misspelt words. Pure
 * functions over strings, without locale or floating point: "1.5s" must not turn into "1,5s" somewhere, nor 0.1 into 99
 * ms.
 */
#include "text.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <brood.h>

typedef struct unit {
    const char *name;
    uint64_t factor;
} unit;

static const unit duration_units[] = {
    {"ms", 1}, {"", 1000}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000}, {NULL, 0},
};

static const unit percent_units[] = {{"", 100}, {"%", 1}, {NULL, 0}};

static const unit size_units[] = {
    {"", 1},
    {"k", UINT64_C(1) << 10},
    {"kib", UINT64_C(1) << 10},
    {"m", UINT64_C(1) << 20},
    {"mib", UINT64_C(1) << 20},
    {"g", UINT64_C(1) << 30},
    {"gib", UINT64_C(1) << 30},
    {"t", UINT64_C(1) << 40},
    {"tib", UINT64_C(1) << 40},
    {NULL, 0},
};

static uint64_t find_unit(const unit *units, const char *name) {
    for (; units->name; units++)
        if (strcasecmp(units->name, name) == 0)
            return units->factor;
    return 0;
}

static bool multiply_add(uint64_t *value, uint64_t factor, uint64_t more) {
    return !__builtin_mul_overflow(*value, factor, value) && !__builtin_add_overflow(*value, more, value);
}

/* The digits after the point, as a share of `factor`, rounded up: what is not zero must not become zero. Digits for which
 * there is no room, which is for nine beside a day in ms and for six beside a TiB, only count as "more than nothing". */
static uint64_t read_fraction(const char **cursor, uint64_t factor) {
    uint64_t digits = 0, scale = 1;
    bool rest = false;
    for (; isdigit((unsigned char)**cursor); ++*cursor) {
        if (scale < UINT64_C(1000000000) && scale * 10 <= UINT64_MAX / factor) {
            digits = digits * 10 + (uint64_t)(**cursor - '0');
            scale *= 10;
        } else {
            rest |= **cursor != '0';
        }
    }
    uint64_t share = digits * factor;
    return share / scale + (share % scale != 0 || rest);
}

/* "1.5s": a number with or without a fraction, and a unit, rounded up. */
static int read_quantity(const char *text, const unit *units, uint64_t *ret_value) {
    const char *cursor = text;
    uint64_t whole = 0;
    bool fits = true;
    for (; isdigit((unsigned char)*cursor); cursor++)
        fits = fits && multiply_add(&whole, 10, (uint64_t)(*cursor - '0'));
    size_t digits = (size_t)(cursor - text);
    const char *fraction = *cursor == '.' ? cursor + 1 : NULL;
    const char *suffix = fraction ? fraction + strspn(fraction, "0123456789") : cursor;
    digits += fraction ? (size_t)(suffix - fraction) : 0;

    uint64_t factor = find_unit(units, suffix);
    if (digits == 0 || factor == 0)
        return -EINVAL;
    uint64_t share = fraction ? read_fraction(&fraction, factor) : 0;
    if (!fits || !multiply_add(&whole, factor, share))
        return -ERANGE;
    *ret_value = whole;
    return 0;
}

int text_read_duration(const char *text, uint64_t *ret_ms) {
    uint64_t ms;
    int r = read_quantity(text, duration_units, &ms);
    if (r == 0 && ms == BROOD_FOREVER)
        r = -ERANGE;
    if (r == 0)
        *ret_ms = ms;
    return r;
}

int text_read_percent(const char *text, uint64_t *ret_percent) {
    return read_quantity(text, percent_units, ret_percent);
}

int text_read_number(const char *text, unsigned base, uint64_t *ret_number) {
    const char *start = text;
    uint64_t number = 0;
    bool fits = true;
    for (; *text >= '0' && (unsigned)(*text - '0') < base; text++)
        fits = fits && multiply_add(&number, base, (uint64_t)(*text - '0'));
    if (text == start || *text)
        return -EINVAL;
    if (!fits)
        return -ERANGE;
    *ret_number = number;
    return 0;
}

int text_read_size(const char *text, uint64_t *ret_bytes) {
    return read_quantity(text, size_units, ret_bytes);
}

const char *text_write_size(uint64_t bytes, char *ret_text, size_t size) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t power = 0;
    for (; power + 1 < sizeof units / sizeof units[0] && bytes >= 1024 && bytes % 1024 == 0; bytes /= 1024)
        power++;
    snprintf(ret_text, size, "%" PRIu64 " %s", bytes, units[power]);
    return ret_text;
}

const char *text_write_duration(uint64_t ms, char *ret_text, size_t size) {
    static const unit round[] = {{"d", 24 * 3600 * 1000}, {"h", 3600 * 1000}, {"m", 60 * 1000}};
    if (ms < 1000) {
        snprintf(ret_text, size, "%" PRIu64 "ms", ms);
        return ret_text;
    }
    for (size_t i = 0; i < sizeof round / sizeof round[0]; i++) {
        if (ms % round[i].factor == 0) {
            snprintf(ret_text, size, "%" PRIu64 "%s", ms / round[i].factor, round[i].name);
            return ret_text;
        }
    }
    int length = snprintf(ret_text, size, "%" PRIu64 ".%03us", ms / 1000, (unsigned)(ms % 1000));
    if (length > 0 && (size_t)length < size) { /* "1.500s" is "1.5s" */
        char *end = ret_text + length - 1;
        while (end[-1] == '0')
            end--;
        if (end[-1] == '.')
            end--;
        memcpy(end, "s", 2);
    }
    return ret_text;
}

const char *text_quote_word(const char *word, char *ret_text, size_t size) {
    char text[1024]; /* as the second word: a first one with a = in it would be quoted needlessly */
    brood_quote((const char *const[]){"-", word, NULL}, text, sizeof text);
    if ((size_t)snprintf(ret_text, size, "%s", text + 2) >= size && size > 4)
        memcpy(ret_text + size - 4, "...", 4);
    return ret_text;
}

enum { LONGEST_WORD = 32 }; /* no option is longer, and what is longer is no misspelling of one */

static unsigned smaller(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Edit distance in which two neighbours swapped ("timeuot") count as one slip: three rows of the usual table. */
static unsigned edit_distance(const char *a, const char *b) {
    unsigned rows[3][LONGEST_WORD + 1];
    size_t a_len = strlen(a), b_len = strlen(b);
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a_len; i++) {
        const unsigned *before = rows[(i + 1) % 3], *above = rows[(i - 1) % 3];
        unsigned *row = rows[i % 3];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b_len; j++) {
            unsigned best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = smaller(best, smaller(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = smaller(best, before[j - 2] + 1);
            row[j] = best;
        }
    }
    return rows[a_len % 3][b_len];
}

void text_guess_try(text_guess *guess, const char *candidate) {
    size_t len = strlen(guess->word);
    if (len < 2 || len > LONGEST_WORD || strlen(candidate) > LONGEST_WORD)
        return;
    /* an unfinished word ("time") is nearer than any misspelling but the slightest */
    unsigned distance =
        len >= 3 && strncmp(candidate, guess->word, len) == 0 ? 1 : edit_distance(guess->word, candidate);
    unsigned allowed = len <= 3 ? 1 : len <= 7 ? 2 : 3;
    if (distance <= allowed && (!guess->best || distance < guess->distance)) {
        guess->best = candidate;
        guess->distance = distance;
    }
}

/* --- JSON --- */

/*
 * The length of the UTF-8 sequence that starts here, 0 if it is none: overlong, surrogate, above U+10FFFF, cut short.
 */
static size_t utf8_length(const unsigned char *at) {
    unsigned char first = at[0];
    unsigned low = 0x80, high = 0xbf; /* what the second byte may be */
    size_t len;
    if (first < 0x80)
        return 1;
    if (first >= 0xc2 && first <= 0xdf)
        len = 2;
    else if (first >= 0xe0 && first <= 0xef)
        len = 3;
    else if (first >= 0xf0 && first <= 0xf4)
        len = 4;
    else
        return 0;
    low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : low;
    high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : high;
    if (at[1] < low || at[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((at[i] & 0xc0) != 0x80) /* a NUL stops here too */
            return 0;
    return len;
}

static void put_escaped(FILE *out, unsigned char c) {
    static const char letters[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *l = letters; *l; l += 2) {
        if ((unsigned char)*l == c) {
            fprintf(out, "\\%c", l[1]);
            return;
        }
    }
    fprintf(out, "\\u%04x", c);
}

void text_write_json(FILE *out, const char *text) {
    if (!text) {
        fputs("null", out);
        return;
    }
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        size_t len = utf8_length(at);
        if (len == 0)
            fputs("\xef\xbf\xbd", out);
        else if (*at < 0x20 || *at == 0x7f || *at == '"' || *at == '\\')
            put_escaped(out, *at);
        else
            fwrite(at, 1, len, out);
        at += len ? len : 1;
    }
    fputc('"', out);
}
