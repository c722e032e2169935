/*
 * Reading JSON, in one pass and without recursion: what is open is kept in a bit for each level (object or array), and
 * in the nodes themselves, each open container knowing the one around it. A NUL behind the text ends every scan, since
 * no JSON holds one. Checking a text that is to be sent is the same pass with nothing built.
 */
#include "value/json.h"

#include "value/number.h"
#include "value/utf8.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define DEPTH_CEILING 4096

typedef struct reader {
    char *at, *end;
    brood__document *document; /* NULL: check only */
    uint32_t depth, max_depth;
    uint32_t open; /* the innermost open container */
    int error;
    uint64_t is_object[DEPTH_CEILING / 64]; /* a bit for each level */
} reader;

static char *fail(reader *r, char *at, int error) {
    r->at = at;
    r->error = error;
    return NULL;
}

static inline __attribute__((always_inline)) char *skip_blanks(char *at, bool build) {
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t') {
        if (!build && *at == '\n')
            *at = ' ';
        at++;
    }
    return at;
}

/* --- strings --- */

/* Whether a word of 8 bytes holds a quote, a backslash, a control character, or one that is not ASCII. */
static inline uint64_t specials(uint64_t word) {
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    uint64_t quote = word ^ ones * '"', slash = word ^ ones * '\\';
    return ((word - ones * 0x20) | (quote - ones) | (slash - ones) | word) & highs;
}

/* The first byte that is special; the text is followed by slack. */
static inline char *skip_plain(char *at) {
    for (;; at += sizeof(uint64_t)) {
        uint64_t word;
        memcpy(&word, at, sizeof word);
        uint64_t found = specials(le64toh(word));
        if (found) /* a borrow marks only what is behind the first one */
            return at + __builtin_ctzll(found) / 8;
    }
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* `1a2B`: its 16 bits, or -1. A NUL is no digit: this stops at the end of the text. */
static int32_t hex_unit(const char *at) {
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(at[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Behind `\u`. A pair of halves makes one character; a half alone stays one, in three bytes. */
static char *read_unit(reader *r, char *at, char **to, bool build) {
    int32_t unit = hex_unit(at), low;
    if (unit < 0)
        return fail(r, at, -EILSEQ);
    at += 4;
    uint32_t point = (uint32_t)unit;
    if (unit >> 10 == 0xd800 >> 10 && at[0] == '\\' && at[1] == 'u' && (low = hex_unit(at + 2)) >> 10 == 0xdc00 >> 10) {
        point = 0x10000 + (((uint32_t)unit & 0x3ff) << 10 | ((uint32_t)low & 0x3ff));
        at += 6;
    }
    if (build)
        *to += brood__utf8_write(point, *to);
    return at;
}

/* At a backslash. */
static inline char *read_escape(reader *r, char *at, char **to, bool build) {
    char c;
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
        c = at[1];
        break;
    case 'b':
        c = '\b';
        break;
    case 'f':
        c = '\f';
        break;
    case 'n':
        c = '\n';
        break;
    case 'r':
        c = '\r';
        break;
    case 't':
        c = '\t';
        break;
    case 'u':
        return read_unit(r, at + 2, to, build);
    default:
        return fail(r, at + 1, -EILSEQ);
    }
    if (build)
        *(*to)++ = c;
    return at + 2;
}

/*
 * Room for the rest of a string in which U+FFFD, of three bytes, takes the place of single ones; what has been read of
 * it, between `start` and `*to`, moves there.
 */
static char *make_room(reader *r, char *start, const char *at, char **to) {
    const char *quote = at;
    while (quote < r->end && *quote != '"')
        quote += *quote == '\\' ? 2 : 1;
    size_t done = (size_t)(*to - start);
    char *room = brood__arena_alloc(&r->document->texts, done + 3 * (size_t)(quote - at) + 1);
    if (!room) {
        fail(r, start, -ENOMEM);
        return NULL;
    }
    memcpy(room, start, done);
    *to = room + done;
    return room;
}

/*
 * Behind the opening quote; returns what follows the closing one. Nothing becomes longer than it is in the text, except
 * bytes that are no UTF-8.
 */
static inline char *read_string(reader *r, char *text, const char **ret_text, uint32_t *ret_size, bool build) {
    char *at = text, *start = text, *to = text;
    for (;;) {
        char *plain = at;
        at = skip_plain(at);
        if (build && to != plain)
            memmove(to, plain, (size_t)(at - plain));
        to += at - plain;
        if (*at == '"')
            break;
        if (*at == '\\') {
            at = read_escape(r, at, &to, build);
            if (!at)
                return NULL;
            continue;
        }
        if ((uint8_t)*at < 0x80)
            return fail(r, at, -EILSEQ);
        int len = brood__utf8_length(at, r->end);
        if (len > 0) {
            if (build && to != at)
                memmove(to, at, (size_t)len);
            to += len;
            at += len;
            continue;
        }
        if (!build)
            return fail(r, at, -EILSEQ);
        if (start == text && !(start = make_room(r, start, at, &to)))
            return NULL;
        to += brood__utf8_write(BROOD__REPLACEMENT, to);
        at -= len;
    }
    if (build) {
        *to = 0;
        *ret_text = start;
        *ret_size = (uint32_t)(to - start);
    }
    return at + 1;
}

/* --- numbers and words --- */

static inline bool is_digit(char c) {
    return (uint8_t)(c - '0') < 10;
}

/* Most have no more digits than 64 bits hold, and no exponent: these in one pass. */
static inline char *read_number(reader *r, char *start, double *ret_number) {
    bool negative = *start == '-';
    char *digits = start + negative, *at = digits;
    uint64_t number = 0;
    int exponent = 0;
    while (is_digit(*at))
        number = number * 10 + (uint64_t)(*at++ - '0');
    bool usual = at > digits && (*digits != '0' || at == digits + 1);
    if (*at == '.' && usual) {
        char *fraction = ++at;
        while (is_digit(*at))
            number = number * 10 + (uint64_t)(*at++ - '0');
        usual = at > fraction;
        exponent = at - fraction < 20 ? (int)(fraction - at) : -20;
    }
    if (usual && at - digits <= 19 && (*at | 0x20) != 'e') {
        double value = exponent ? brood__number_scale(number, exponent) : (double)number;
        *ret_number = negative ? -value : value;
        return at;
    }
    const char *end = brood__number_read(start, r->end, ret_number);
    return end ? start + (end - start) : fail(r, start, -EILSEQ);
}

static char *expect_word(reader *r, char *at, const char *word) {
    for (; *word; word++, at++)
        if (*at != *word)
            return fail(r, at, -EILSEQ);
    return at;
}

/* --- values --- */

static inline bool in_object(const reader *r) {
    return r->is_object[r->depth / 64] >> r->depth % 64 & 1;
}

static char *no_room(reader *r, char *at) {
    uint32_t most = r->document->max_nodes;
    return fail(r, at, most && r->document->count == most ? -E2BIG : -ENOMEM);
}

static inline char *open_container(reader *r, char *at, brood__node *node, bool build) {
    bool object = *at == '{';
    if (++r->depth > r->max_depth)
        return fail(r, at, -E2BIG);
    uint64_t bit = UINT64_C(1) << r->depth % 64, *word = &r->is_object[r->depth / 64];
    if (r->depth % 64 == 0)
        *word = 0; /* the first to use it */
    *word = object ? *word | bit : *word & ~bit;
    if (build) {
        node->type = object ? BROOD_OBJECT : BROOD_ARRAY;
        node->count = 0;
        node->parent = r->open;
        r->open = (uint32_t)(node - r->document->nodes);
    }
    return at + 1;
}

static inline bool close_container(reader *r, bool build) {
    if (build) {
        brood__document *document = r->document;
        uint32_t closed = r->open;
        brood__node *node = &document->nodes[closed];
        r->open = node->parent;
        node->parent = 0;
        node->size = document->count - closed;
        if (node->type == BROOD_OBJECT && node->count > 1 && brood__document_drop_doubles(document, closed) < 0)
            return false;
    }
    r->depth--;
    return true;
}

/* One that is no container: all of it. A container: its bracket. */
static inline __attribute__((always_inline)) char *read_value(reader *r, char *at, bool build) {
    brood__node ignored = {0}, *node = &ignored;
    double number = 0;
    if (build) {
        node = brood__document_add(r->document);
        if (!node)
            return no_room(r, at);
        *node = ignored;
    }
    switch (*at) {
    case '{':
    case '[':
        return open_container(r, at, node, build);
    case '"':
        node->type = BROOD_STRING;
        return read_string(r, at + 1, &node->text, &node->size, build);
    case 't':
        node->type = BROOD_BOOL;
        node->yes = true;
        return expect_word(r, at, "true");
    case 'f':
        node->type = BROOD_BOOL;
        return expect_word(r, at, "false");
    case 'n':
        node->type = BROOD_NULL;
        return expect_word(r, at, "null");
    default:
        at = read_number(r, at, &number);
        node->type = BROOD_NUMBER;
        node->number = number;
        return at;
    }
}

/* `"name" :` */
static inline __attribute__((always_inline)) char *read_name(reader *r, char *at, bool build) {
    brood__node ignored, *node = &ignored;
    if (*at != '"')
        return fail(r, at, -EILSEQ);
    if (build) {
        node = brood__document_add(r->document);
        if (!node)
            return no_room(r, at);
        *node = (brood__node){.type = BROOD_STRING};
    }
    at = read_string(r, at + 1, &node->text, &node->size, build);
    if (!at)
        return NULL;
    at = skip_blanks(at, build);
    return *at == ':' ? skip_blanks(at + 1, build) : fail(r, at, -EILSEQ);
}

static inline char closing(const reader *r) {
    return in_object(r) ? '}' : ']';
}

static inline __attribute__((always_inline)) char *read_all(reader *r, char *at, bool build) {
    at = skip_blanks(at, build);
    for (;;) {
        uint32_t depth = r->depth;
        if (depth > 0) {
            if (build)
                r->document->nodes[r->open].count++;
            if (in_object(r) && !(at = read_name(r, at, build)))
                return NULL;
        }
        at = read_value(r, at, build);
        if (!at)
            return NULL;
        at = skip_blanks(at, build);
        if (r->depth > depth && *at != closing(r))
            continue;
        while (r->depth > 0 && *at == closing(r)) {
            if (!close_container(r, build))
                return fail(r, at, -ENOMEM);
            at = skip_blanks(at + 1, build);
        }
        if (r->depth == 0)
            return at;
        if (*at != ',')
            return fail(r, at, -EILSEQ);
        at = skip_blanks(at + 1, build);
    }
}

static int run(reader *r, char *text, size_t len, uint32_t max_depth, size_t *ret_at) {
    text[len] = 0;
    r->end = text + len;
    r->depth = 0;
    r->is_object[0] = 0;
    r->max_depth = max_depth < DEPTH_CEILING ? max_depth : DEPTH_CEILING - 1;
    char *at = r->document ? read_all(r, text, true) : read_all(r, text, false);
    if (at && at != r->end)
        at = fail(r, at, -EILSEQ);
    if (!at)
        *ret_at = (size_t)(r->at - text);
    return at ? 0 : r->error;
}

int brood__json_read(brood__document *document, char *text, size_t len, uint32_t max_depth, size_t *ret_at) {
    reader r; /* not cleared: a bit for each level is set as it is opened */
    r.document = document;
    return run(&r, text, len, max_depth, ret_at);
}

int brood__json_check(char *text, size_t len, uint32_t max_depth, size_t *ret_at) {
    reader r;
    r.document = NULL;
    return run(&r, text, len, max_depth, ret_at);
}
