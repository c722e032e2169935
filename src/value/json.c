/*
 * Reading JSON, in one pass and without recursion: what is open is kept in a bit for each level (object or array), and
 * in the nodes themselves, each open container knowing the one around it. A NUL behind the text ends every scan, since
 * no JSON holds one. Checking a text that is to be sent is the same pass with nothing built.
 */
#include "value/json.h"

#include "value/number.h"
#include "value/scan.h"
#include "value/utf8.h"

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
    for (; (uint8_t)*at <= ' '; at++) { /* mostly there are none */
        if (*at == '\n' && !build)
            *at = ' ';
        else if (*at != ' ' && *at != '\n' && *at != '\r' && *at != '\t')
            break;
    }
    return at;
}

/* --- strings --- */

/* The first byte that is special; the text is followed by slack. */
static inline char *skip_plain(char *at) {
    for (;; at += BROOD__BLOCK) {
        size_t plain = brood__plain_prefix(at);
        if (plain < BROOD__BLOCK)
            return at + plain;
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

/* Behind `\u`: the character, or -1, and *at is behind it. A pair of halves makes one; a half alone stays one. */
static int32_t read_unit(char **at) {
    int32_t unit = hex_unit(*at), low;
    if (unit < 0)
        return -1;
    char *next = *at + 4;
    if (unit >> 10 == 0xd800 >> 10 && next[0] == '\\' && next[1] == 'u' &&
        (low = hex_unit(next + 2)) >> 10 == 0xdc00 >> 10) {
        unit = 0x10000 + ((unit & 0x3ff) << 10 | (low & 0x3ff));
        next += 6;
    }
    *at = next;
    return unit;
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

/* What a letter behind a backslash stands for; 0: nothing, or it is a `u`. */
static const char escaped[256] = {
    ['"'] = '"', ['\\'] = '\\', ['/'] = '/', ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};

/* To before `from`. */
static inline void move(char *to, const char *from, size_t len) {
    if (len > BROOD__BLOCK)
        memmove(to, from, len);
    else
        brood__copy_short(to, from, len);
}

/* At a backslash that is none of the short escapes. Its character goes to `to`, which may be NULL. */
static __attribute__((noinline)) char *read_unit_escape(reader *r, char *at, char *to, int *ret_len) {
    char *behind = at + 2;
    if (at[1] != 'u')
        return fail(r, at + 1, -EILSEQ);
    int32_t point = read_unit(&behind);
    if (point < 0)
        return fail(r, behind, -EILSEQ);
    *ret_len = to ? brood__utf8_write((uint32_t)point, to) : 0;
    return behind;
}

/*
 * A string that is not all plain, from `text` on; `at`: the first byte that is not. Nothing becomes longer than it is in
 * the text, except bytes that are no UTF-8.
 */
static inline __attribute__((always_inline)) char *read_mixed(reader *r, char *text, char *at, const char **ret_text,
                                                              uint32_t *ret_size, bool build) {
    char *start = text, *to = at;
    while (*at != '"') {
        int len = 1;
        if (*at == '\\' && escaped[(uint8_t)at[1]]) {
            if (build)
                *to = escaped[(uint8_t)at[1]];
            at += 2;
        } else if (*at == '\\') {
            at = read_unit_escape(r, at, build ? to : NULL, &len);
            if (!at)
                return NULL;
        } else if ((len = (uint8_t)*at < 0x80 ? 0 : brood__utf8_length(at, r->end)) > 0) {
            if (build)
                brood__copy_short(to, at, (size_t)len);
            at += len;
        } else {
            char *moved = to;
            if (!build || len == 0)
                return fail(r, at, -EILSEQ);
            if (start == text && !(start = make_room(r, text, at, &moved)))
                return NULL;
            at -= len;
            len = brood__utf8_write(BROOD__REPLACEMENT, to = moved);
        }
        to += len;
        char *from = at;
        for (;;) { /* runs are short here: words are sooner looked at than blocks */
            uint64_t word, found;
            memcpy(&word, at, sizeof word);
            found = brood__specials(le64toh(word));
            if (found) {
                at += __builtin_ctzll(found) / 8;
                break;
            }
            at += sizeof word;
        }
        if (build && to != from)
            move(to, from, (size_t)(at - from));
        to += at - from;
    }
    if (build) {
        *to = 0;
        *ret_text = start;
        *ret_size = (uint32_t)(to - start);
    }
    return at + 1;
}

static __attribute__((noinline)) char *build_mixed(reader *r, char *text, char *at, const char **ret_text,
                                                   uint32_t *ret_size) {
    return read_mixed(r, text, at, ret_text, ret_size, true);
}

static __attribute__((noinline)) char *check_mixed(reader *r, char *text, char *at) {
    return read_mixed(r, text, at, NULL, NULL, false);
}

/* Behind the opening quote; returns what follows the closing one. */
static inline char *read_string(reader *r, char *text, const char **ret_text, uint32_t *ret_size, bool build) {
    char *at = skip_plain(text);
    if (*at != '"')
        return build ? build_mixed(r, text, at, ret_text, ret_size) : check_mixed(r, text, at);
    if (build) {
        *at = 0;
        *ret_text = text;
        *ret_size = (uint32_t)(at - text);
    }
    return at + 1;
}

/* --- numbers and words --- */

/* Above 9: it is none. */
static inline unsigned digit_of(char c) {
    return (unsigned)(uint8_t)c - '0';
}

/*
 * Append the next digits to a number, 8 at most; how many. Bytes that are none end up as zeros before them; then
 * neighbours are joined, first to four numbers below 100, these to two below 10,000, and these to one. No branch
 * depends on how many digits there are, which nobody could foretell.
 */
static inline size_t append_digits(const char *at, uint64_t *number) {
    static const uint32_t tens[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    const uint64_t ones = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, at, sizeof word); /* there is slack behind the end */
    word = le64toh(word) ^ ones * '0';
    uint64_t others = (word | (word + ones * 6)) & ones * 0xf0;
    size_t count = others ? (size_t)__builtin_ctzll(others) / 8 : 8;
    word = count ? word << (64 - 8 * count) : 0;
    word = word * (10 * 256 + 1) >> 8;
    word = (word & UINT64_C(0x00ff00ff00ff00ff)) * (100 * 65536 + 1) >> 16;
    word = (word & UINT64_C(0x0000ffff0000ffff)) * ((UINT64_C(10000) << 32) + 1) >> 32;
    *number = *number * tens[count] + word;
    return count;
}

/* Not inline: most numbers have no fraction, and what reads them is to stay small. */
__attribute__((noinline)) static char *read_fraction(char *at, uint64_t *number) {
    size_t count;
    do
        at += count = append_digits(at, number);
    while (count == 8);
    return at;
}

/* Most have no more digits than 64 bits hold, and no exponent: these in one pass. */
static inline char *read_number(reader *r, char *start, double *ret_number) {
    bool negative = *start == '-';
    char *digits = start + negative, *at = digits;
    uint64_t number = 0;
    int exponent = 0;
    for (unsigned digit; (digit = digit_of(*at)) < 10; at++) /* few, mostly */
        number = number * 10 + digit;
    bool usual = at > digits && (*digits != '0' || at == digits + 1);
    if (*at == '.' && usual) {
        char *fraction = ++at;
        at = read_fraction(at, &number);
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
        bool doubtful = node->doubtful;
        document->root_lacks = ~node->names; /* the last one to be closed is the first node */
        r->open = node->parent;
        node->parent = 0;
        node->doubtful = false;
        node->size = document->count - closed;
        if (doubtful && brood__document_drop_doubles(document, closed) < 0)
            return false;
    }
    r->depth--;
    return true;
}

/* One that is no container: all of it. A container: its bracket. `first`: the byte there. */
static inline __attribute__((always_inline)) char *read_value(reader *r, char *at, char first, bool build) {
    brood__node ignored = {0}, *node = &ignored;
    double number = 0;
    if (build) {
        node = brood__document_add(r->document);
        if (!node)
            return no_room(r, at);
        *node = ignored;
    }
    switch (first) {
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

/* Whether it may have the name twice is known by a bit for each of its names: most objects need no other look. */
static inline void count_name(brood__node *object, const brood__node *name) {
    uint32_t bit = brood__name_bit(name->text, name->size);
    object->doubtful |= (object->names & bit) != 0;
    object->names |= bit;
    object->count++;
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
    if (build)
        count_name(&r->document->nodes[r->open], node);
    at = skip_blanks(at, build);
    return *at == ':' ? skip_blanks(at + 1, build) : fail(r, at, -EILSEQ);
}

/* What closes the innermost container; 0: none is open. */
static inline char closing_of(const reader *r) {
    return r->depth == 0 ? 0 : in_object(r) ? '}' : ']';
}

static inline __attribute__((always_inline)) char *read_all(reader *r, char *at, bool build) {
    char closing = 0; /* closing_of(r), at hand */
    at = skip_blanks(at, build);
    for (;;) {
        if (closing == '}' && !(at = read_name(r, at, build)))
            return NULL;
        if (closing == ']' && build)
            r->document->nodes[r->open].count++;
        char first = *at;
        at = read_value(r, at, first, build);
        if (!at)
            return NULL;
        at = skip_blanks(at, build);
        if (first == '{' || first == '[') {
            closing = first == '{' ? '}' : ']';
            if (*at != closing)
                continue;
        }
        while (closing && *at == closing) {
            if (!close_container(r, build))
                return fail(r, at, -ENOMEM);
            closing = closing_of(r);
            at = skip_blanks(at + 1, build);
        }
        if (!closing)
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
