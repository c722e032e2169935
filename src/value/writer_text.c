/*
 * Strings and dates, as they are written. JSON keeps UTF-8 as it is, and escapes halves of surrogate pairs, as
 * JSON.stringify does since ES2019; V8 has one byte for each character if all are Latin-1, else two.
 */
#include "value/scan.h"
#include "value/utf8.h"
#include "value/writer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>

#define ROOM 8 /* for the quotes of a string, and one escape */

static void no_utf8(brood_writer *w, const char *text, const char *at) {
    if (!w->error)
        w->error_at = (size_t)(at - text);
    brood__writer_fail(w, -EILSEQ);
}

static char *write_escape(char *to, uint32_t unit) {
    static const char digits[] = "0123456789abcdef";
    *to++ = '\\';
    *to++ = 'u';
    for (int shift = 12; shift >= 0; shift -= 4)
        *to++ = digits[unit >> shift & 15];
    return to;
}

/* The plain bytes at `at`, for which there is room; returns the first that is not. */
static inline const char *copy_plain(const char *at, const char *end, char **to) {
    size_t plain;
    for (; end - at >= BROOD__BLOCK; at += BROOD__BLOCK, *to += BROOD__BLOCK) {
        memcpy(*to, at, BROOD__BLOCK);
        plain = brood__plain_prefix(at);
        if (plain < BROOD__BLOCK) {
            *to += plain;
            return at + plain;
        }
    }
    plain = brood__plain_prefix_short(at, (size_t)(end - at));
    brood__copy_short(*to, at, plain);
    *to += plain;
    return at + plain;
}

void brood__json_text(brood_writer *w, const char *text, size_t len) {
    static const char letters[256] = {
        ['"'] = '"', ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't'};
    const char *at = text, *end = text + len;
    if (!brood__writer_reserve(w, len + ROOM))
        return;
    w->bytes[w->len++] = '"';
    char *to = w->bytes + w->len, *limit = w->bytes + w->capacity;
    for (;;) {
        at = copy_plain(at, end, &to);
        if (at == end)
            break;
        int size = brood__wtf8_length(at, end);
        uint32_t point = (uint8_t)*at;
        if (size < 0) {
            no_utf8(w, text, at);
            return;
        }
        if (size == 3)
            point = brood__utf8_read(at, size);
        if (size == 1 && letters[point]) {
            *to++ = '\\';
            *to++ = letters[point];
        } else if (size == 1 || point >> 11 == 0xd800 >> 11) {
            to = write_escape(to, point);
        } else {
            brood__copy_short(to, at, (size_t)size);
            to += size;
        }
        at += size;
        if (limit - to < (end - at) + ROOM) { /* for the rest as it is, and one more that is not */
            w->len = (size_t)(to - w->bytes);
            if (!brood__writer_reserve(w, (size_t)(end - at) + ROOM))
                return;
            to = w->bytes + w->len;
            limit = w->bytes + w->capacity;
        }
    }
    *to++ = '"';
    w->len = (size_t)(to - w->bytes);
}

/* How many UTF-16 units, and whether each is a byte; false: it is no UTF-8. */
static bool measure(brood_writer *w, const char *text, size_t len, size_t *ret_units, bool *ret_wide) {
    const char *at = text, *end = text + len;
    *ret_units = 0;
    *ret_wide = false;
    while (at < end) {
        const char *ascii = at;
        for (uint64_t word; end - at >= 8; at += 8) {
            memcpy(&word, at, sizeof word);
            if (word & UINT64_C(0x8080808080808080))
                break;
        }
        while (at < end && (uint8_t)*at < 0x80)
            at++;
        *ret_units += (size_t)(at - ascii);
        if (at == end)
            break;
        int size = brood__wtf8_length(at, end);
        if (size < 0) {
            no_utf8(w, text, at);
            return false;
        }
        *ret_wide = *ret_wide || (uint8_t)*at > 0xc3; /* U+00FF is C3 BF */
        *ret_units += size == 4 ? 2 : 1;
        at += size;
    }
    return true;
}

static char *write_unit(char *to, uint32_t unit) {
    to[0] = (char)unit;
    to[1] = (char)(unit >> 8);
    return to + 2;
}

static int varint_size(size_t number) {
    int size = 1;
    for (; number >= 0x80; number >>= 7)
        size++;
    return size;
}

/* Two-byte strings begin at an even offset from the beginning of the value. */
void brood__v8_text(brood_writer *w, const char *text, size_t len) {
    size_t units;
    bool wide;
    if (!measure(w, text, len, &units, &wide))
        return;
    if (units > UINT32_MAX / 2) {
        brood__writer_fail(w, -EMSGSIZE);
        return;
    }
    size_t bytes = wide ? 2 * units : units;
    if (wide && (w->len - w->start + 1 + (size_t)varint_size(bytes)) % 2)
        brood__writer_byte(w, 0);
    brood__writer_byte(w, wide ? 'c' : '"');
    brood__writer_varint(w, bytes);
    if (!brood__writer_reserve(w, bytes))
        return;
    char *to = w->bytes + w->len;
    w->len += bytes;
    if (!wide && bytes == len) {
        memcpy(to, text, len);
        return;
    }
    for (const char *at = text, *end = text + len; at < end;) {
        int size = brood__wtf8_length(at, end);
        uint32_t point = brood__utf8_read(at, size);
        at += size;
        if (!wide) {
            *to++ = (char)point;
        } else if (size < 4) {
            to = write_unit(to, point);
        } else {
            to = write_unit(to, 0xd800 + ((point - 0x10000) >> 10));
            to = write_unit(to, 0xdc00 + (point & 0x3ff));
        }
    }
}

/* The day so many days after 1970-01-01, counting years from March, so that a leap day is a year's last. */
static void civil_date(int64_t days, int64_t *ret_year, int *ret_month, int *ret_day) {
    days += 719468; /* since 0000-03-01 */
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, day = days - era * 146097;
    int64_t year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
    day -= 365 * year + year / 4 - year / 100;
    int64_t month = (5 * day + 2) / 153;
    *ret_day = (int)(day - (153 * month + 2) / 5 + 1);
    *ret_month = (int)(month < 10 ? month + 3 : month - 9);
    *ret_year = year + era * 400 + (*ret_month <= 2);
}

void brood__json_date(brood_writer *w, double ms) {
    if (isnan(ms)) {
        brood__writer_text(w, "null");
        return;
    }
    int64_t time = (int64_t)ms, rest = (time % 86400000 + 86400000) % 86400000, year;
    int month, day;
    char text[40];
    civil_date((time - rest) / 86400000, &year, &month, &day);
    bool usual = year >= 0 && year <= 9999;
    int len = snprintf(text, sizeof text, "\"%s%0*lld-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
                       usual      ? ""
                       : year < 0 ? "-"
                                  : "+",
                       usual ? 4 : 6, (long long)(year < 0 ? -year : year), month, day, (int)(rest / 3600000),
                       (int)(rest / 60000 % 60), (int)(rest / 1000 % 60), (int)(rest % 1000));
    brood__writer_add(w, text, (size_t)len);
}
