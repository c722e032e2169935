/*
 * The writer: what may stand where, and both formats' bytes for everything but strings. A call that comes out of place,
 * or for which there is no memory, leaves an error that sticks; all later calls do nothing.
 */
#include "value/writer.h"

#include "base/sys.h"
#include "value/json.h"
#include "value/number.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>

#define WORD_BYTES 8
#define KEPT_BYTES (1024 * 1024)
#define STACK_TEXT 400            /* bytes of an error's message that its stack repeats */
#define BUFFER_FROM (1024 * 1024) /* bytes of a buffer: fewer are copied sooner than mapped */

void brood__writer_fail(brood_writer *w, int error) {
    if (!w->error)
        w->error = error;
}

int brood_writer_status(const brood_writer *w) {
    return w->error;
}

void brood__writer_done(brood_writer *w) {
    brood__free(w->bytes);
    brood__free(w->levels);
    brood__free(w->names);
    brood__writer_unshare(w);
    *w = (brood_writer){0};
}

bool brood__writer_is_due(const brood_writer *w) {
    return w->depth > 0 && w->levels[w->depth - 1].due;
}

void brood__writer_trim(brood_writer *w) {
    if (w->capacity <= KEPT_BYTES)
        return;
    brood__free(w->bytes);
    w->bytes = NULL;
    w->capacity = 0;
}

bool brood__writer_grow(brood_writer *w, size_t more) {
    if (w->error)
        return false;
    size_t need = w->len + more + BROOD__JSON_SLACK, capacity = w->capacity ? w->capacity * 2 : 512;
    if (more > SIZE_MAX / 4 || (w->max_len && w->len - w->start + more > w->max_len)) {
        w->error = -EMSGSIZE;
        return false;
    }
    if (capacity < need)
        capacity = need;
    char *bytes = brood__resize(w->bytes, capacity);
    if (!bytes) {
        w->error = -ENOMEM;
        return false;
    }
    w->bytes = bytes;
    w->capacity = capacity;
    return true;
}

/* `*array` of `size`, with room for one more than `count`. */
static bool grow_array(brood_writer *w, void **array, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity)
        return true;
    uint32_t larger = *capacity ? *capacity * 2 : 16;
    void *block = brood__resize(*array, larger * size);
    if (!block) {
        brood__writer_fail(w, -ENOMEM);
        return false;
    }
    *array = block;
    *capacity = larger;
    return true;
}

/* --- one value --- */

void brood__writer_unshare(brood_writer *w) {
    w->shared_bytes = 0;
    while (w->shared_count > 0)
        brood__close(w->shared[--w->shared_count]);
}

void brood__writer_begin(brood_writer *w) {
    brood__writer_unshare(w);
    w->error = 0;
    w->error_at = 0;
    w->start = w->len;
    w->depth = w->objects = w->name_count = 0;
    w->complete = false;
    w->appends = 0;
    if (w->advanced)
        brood__writer_add(w, "\xff\x0f", 2);
}

void brood__writer_append_id(brood_writer *w, uint64_t id) {
    w->appends = (uint8_t)(w->depth + 1);
    w->id = id;
}

int brood__writer_finish(brood_writer *w) {
    if (!w->complete || w->depth > 0 || w->appends > 0)
        brood__writer_fail(w, -EINVAL);
    if (w->max_len && w->len - w->start > w->max_len)
        brood__writer_fail(w, -EMSGSIZE);
    if (w->error) {
        w->len = w->start;
        brood__writer_unshare(w);
    }
    return w->error;
}

static brood__level *top(brood_writer *w) {
    return w->depth > 0 ? &w->levels[w->depth - 1] : NULL;
}

bool brood__writer_due(brood_writer *w) {
    brood__level *level = top(w);
    if (w->error)
        return false;
    if (level ? level->type == BROOD_OBJECT && !level->due : w->complete) {
        w->error = -EINVAL;
        return false;
    }
    if (!level) {
        w->complete = true;
        return true;
    }
    level->due = false;
    if (level->type == BROOD_OBJECT)
        return true;
    if (!w->advanced && level->count > 0)
        brood__writer_byte(w, ',');
    level->count++;
    return !w->error;
}

static brood__level *push(brood_writer *w, brood_type type) {
    if (w->depth == BROOD__MAX_DEPTH)
        brood__writer_fail(w, -E2BIG);
    if (w->error || !grow_array(w, (void **)&w->levels, w->depth, &w->level_capacity, sizeof *w->levels))
        return NULL;
    brood__level *level = &w->levels[w->depth++];
    *level = (brood__level){.type = (uint8_t)type, .name = w->name_count};
    return level;
}

/* --- integers --- */

static int put_varint(uint64_t number, char *to) {
    int len = 0;
    for (; number >= 0x80; number >>= 7)
        to[len++] = (char)(number | 0x80);
    to[len++] = (char)number;
    return len;
}

void brood__writer_varint(brood_writer *w, uint64_t number) {
    if (brood__writer_reserve(w, 10))
        w->len += (size_t)put_varint(number, w->bytes + w->len);
}

static void add_int32(brood_writer *w, int32_t number) {
    brood__writer_byte(w, 'I');
    brood__writer_varint(w, (uint32_t)number << 1 ^ (uint32_t)(number >> 31));
}

void brood__v8_raw_number(brood_writer *w, double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    bits = number != number ? htole64(UINT64_C(0x7ff8) << 48) : htole64(bits);
    brood__writer_add(w, &bits, sizeof bits);
}

/* --- containers --- */

void brood_writer_object(brood_writer *w) {
    if (!brood__writer_due(w) || !push(w, BROOD_OBJECT))
        return;
    w->objects++;
    brood__writer_byte(w, w->advanced ? 'o' : '{');
}

void brood_writer_array(brood_writer *w) {
    brood__level *level;
    if (!brood__writer_due(w) || !(level = push(w, BROOD_ARRAY)))
        return;
    w->objects++;
    brood__writer_byte(w, w->advanced ? 'A' : '[');
    level->start = w->len;
    if (w->advanced)
        brood__writer_byte(w, 0); /* its length comes here */
}

static void open_collection(brood_writer *w, brood_type type, char tag) {
    if (!w->advanced)
        brood__writer_fail(w, -EPROTOTYPE);
    if (!brood__writer_due(w) || !push(w, type))
        return;
    w->objects++;
    brood__writer_byte(w, tag);
}

void brood_writer_map(brood_writer *w) {
    open_collection(w, BROOD_MAP, ';');
}

void brood_writer_set(brood_writer *w) {
    open_collection(w, BROOD_SET, '\'');
}

/* "7" for a name that V8 writes as a number. */
static bool is_index(const char *text, size_t len, int32_t *ret_index) {
    int64_t index = 0;
    if (len == 0 || len > 10 || (text[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        index = index * 10 + (text[i] - '0');
    }
    *ret_index = (int32_t)index;
    return index <= INT32_MAX;
}

void brood__v8_name(brood_writer *w, const char *text, size_t len) {
    int32_t index;
    if (is_index(text, len, &index))
        add_int32(w, index);
    else
        brood__v8_text(w, text, len);
}

/* An object's name is kept in mind until the object ends. */
static void add_v8_name(brood_writer *w, const char *text, size_t len) {
    size_t at = w->len;
    if (!grow_array(w, (void **)&w->names, w->name_count, &w->name_capacity, sizeof *w->names))
        return;
    brood__v8_name(w, text, len);
    if (w->error)
        return;
    at += w->bytes[at] == 0; /* padding */
    w->names[w->name_count++] = (struct brood__span){at, w->len - at};
}

void brood__writer_name(brood_writer *w, const char *name, size_t len) {
    brood__level *level = top(w);
    if (w->error)
        return;
    if (w->appends > 0 && w->depth == w->appends && len == 2 && memcmp(name, "id", 2) == 0) {
        w->error = -EEXIST;
        return;
    }
    if (!level || level->type != BROOD_OBJECT || level->due) {
        w->error = -EINVAL;
        return;
    }
    level->due = true;
    if (w->advanced) {
        level->count++;
        add_v8_name(w, name, len);
        return;
    }
    level->start = w->len;
    if (level->count++ > 0)
        brood__writer_byte(w, ',');
    brood__json_text(w, name, len);
    brood__writer_byte(w, ':');
}

void brood_writer_key(brood_writer *w, const char *name) {
    brood__writer_name(w, name, strlen(name));
}

/* A name twice would be the end of a real Node process that reads it. */
static void refuse_doubles(brood_writer *w, const brood__level *level) {
    uint32_t count = w->name_count - level->name;
    w->name_count = level->name;
    if (w->error || count < 2)
        return;
    brood__name *names = brood__alloc(count * sizeof *names);
    int differ = -ENOMEM;
    if (names) {
        for (uint32_t i = 0; i < count; i++) {
            struct brood__span span = w->names[level->name + i];
            names[i] = (brood__name){w->bytes + span.at, span.len};
        }
        differ = brood__names_differ(names, count);
        brood__free(names);
    }
    if (differ <= 0)
        brood__writer_fail(w, differ < 0 ? differ : -EEXIST);
}

/* The length of an array that is known only now takes more than the byte that was left for it. */
static void write_length(brood_writer *w, const brood__level *level) {
    char length[10];
    size_t size = (size_t)put_varint(level->count, length);
    if (!brood__writer_reserve(w, size - 1))
        return;
    memmove(w->bytes + level->start + size, w->bytes + level->start + 1, w->len - level->start - 1);
    memcpy(w->bytes + level->start, length, size);
    w->len += size - 1;
}

static void end_v8(brood_writer *w, const brood__level *level) {
    if (level->type == BROOD_ARRAY) {
        write_length(w, level);
        brood__writer_add(w, "$", 2); /* and no members with a name */
        brood__writer_varint(w, level->count);
    } else if (level->type == BROOD_OBJECT) {
        refuse_doubles(w, level);
        brood__writer_byte(w, '{');
        brood__writer_varint(w, level->count);
    } else {
        brood__writer_byte(w, level->type == BROOD_MAP ? ':' : ',');
        brood__writer_varint(w, level->count);
    }
}

void brood_writer_end(brood_writer *w) {
    brood__level *level = top(w);
    if (w->error)
        return;
    bool half = level && (level->due || (level->type == BROOD_MAP && level->count % 2));
    if (!level || half) {
        w->error = -EINVAL;
        return;
    }
    if (w->appends > 0 && w->depth == w->appends && level->type == BROOD_OBJECT) {
        w->appends = 0;
        brood_writer_key(w, "id");
        brood_writer_double(w, (double)w->id);
        level = top(w);
    }
    if (w->advanced)
        end_v8(w, level);
    else
        brood__writer_byte(w, level->type == BROOD_OBJECT ? '}' : ']');
    w->depth--;
}

/* --- leaves --- */

static void add_word(brood_writer *w, char tag, const char *word) {
    if (!brood__writer_due(w))
        return;
    if (w->advanced)
        brood__writer_byte(w, tag);
    else
        brood__writer_add(w, word, strlen(word));
}

void brood_writer_null(brood_writer *w) {
    add_word(w, '0', "null");
}

void brood_writer_bool(brood_writer *w, bool yes) {
    add_word(w, yes ? 'T' : 'F', yes ? "true" : "false");
}

void brood_writer_undefined(brood_writer *w) {
    brood__level *level = top(w);
    if (!level)
        brood__writer_fail(w, -EINVAL); /* Node cannot send it either */
    if (w->error || w->advanced || level->type != BROOD_OBJECT) {
        add_word(w, '_', "null");
        return;
    }
    if (!brood__writer_due(w))
        return;
    w->len = level->start;
    level->count--;
}

void brood_writer_string(brood_writer *w, const char *text, size_t len) {
    if (!brood__writer_due(w))
        return;
    if (len == BROOD_NUL)
        len = strlen(text);
    if (w->advanced)
        brood__v8_text(w, text, len);
    else
        brood__json_text(w, text, len);
}

void brood__v8_number(brood_writer *w, double number) {
    bool whole = number >= INT32_MIN && number <= INT32_MAX && (double)(int32_t)number == number;
    if (whole && (number != 0 || !signbit(number))) {
        add_int32(w, (int32_t)number);
        return;
    }
    brood__writer_byte(w, 'N');
    brood__v8_raw_number(w, number);
}

void brood__json_number(brood_writer *w, double number) {
    if (!isfinite(number))
        brood__writer_text(w, "null");
    else if (brood__writer_reserve(w, BROOD__NUMBER_SIZE))
        w->len += (size_t)brood__number_write(number, w->bytes + w->len);
}

void brood_writer_double(brood_writer *w, double number) {
    if (!brood__writer_due(w))
        return;
    if (w->advanced)
        brood__v8_number(w, number);
    else
        brood__json_number(w, number);
}

void brood_writer_int64(brood_writer *w, int64_t number) {
    if (number > INT64_C(1) << 53 || number < -(INT64_C(1) << 53)) {
        double same = (double)number;
        if (same >= 0x1p63 || (int64_t)same != number)
            brood__writer_fail(w, -ERANGE);
        brood_writer_double(w, same);
        return;
    }
    if (w->advanced) {
        brood_writer_double(w, (double)number);
        return;
    }
    if (brood__writer_due(w) && brood__writer_reserve(w, BROOD__NUMBER_SIZE))
        w->len += (size_t)brood__number_write_int(number, w->bytes + w->len);
}

/* In words of 8 bytes, as V8 has them. */
void brood__v8_raw_bigint(brood_writer *w, bool negative, const char *digits, size_t len) {
    while (len > 0 && digits[len - 1] == 0)
        len--;
    size_t size = (len + WORD_BYTES - 1) / WORD_BYTES * WORD_BYTES;
    brood__writer_varint(w, (uint64_t)size << 1 | (negative && len > 0));
    if (!brood__writer_reserve(w, size))
        return;
    memset(w->bytes + w->len, 0, size);
    if (len > 0)
        memcpy(w->bytes + w->len, digits, len);
    w->len += size;
}

void brood_writer_bigint(brood_writer *w, bool negative, const uint64_t *words, size_t count) {
    if (!w->advanced || w->depth == 0)
        brood__writer_fail(w, w->advanced ? -EINVAL : -EPROTOTYPE); /* Node cannot send one alone */
    if (!brood__writer_due(w))
        return;
    brood__writer_byte(w, 'Z');
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a bigint's words are written as they lie in memory"
#endif
    brood__v8_raw_bigint(w, negative, (const char *)words, count * WORD_BYTES);
}

void brood_writer_date(brood_writer *w, double ms) {
    ms = brood__clip_time(ms);
    if (!brood__writer_due(w))
        return;
    if (!w->advanced) {
        brood__json_date(w, ms);
        return;
    }
    w->objects++;
    brood__writer_byte(w, 'D');
    brood__v8_raw_number(w, ms);
}

static const char flag_letters[] = "gimyus?dv";

int brood__regexp_bits(const char *flags) {
    int bits = 0;
    for (; *flags; flags++) {
        const char *letter = *flags == '?' ? NULL : strchr(flag_letters, *flags);
        if (!letter || bits >> (letter - flag_letters) & 1)
            return -1;
        bits |= 1 << (letter - flag_letters);
    }
    return bits;
}

void brood_writer_regexp(brood_writer *w, const char *source, const char *flags) {
    int bits = brood__regexp_bits(flags);
    if (bits < 0 || (strchr(flags, 'u') && strchr(flags, 'v')))
        brood__writer_fail(w, -EINVAL);
    if (!brood__writer_due(w))
        return;
    if (!w->advanced) {
        brood__writer_add(w, "{}", 2);
        return;
    }
    w->objects++;
    brood__writer_byte(w, 'R');
    brood__v8_text(w, source, strlen(source));
    brood__writer_varint(w, (uint64_t)bits);
}

char brood__error_letter(const char *name) {
    static const struct {
        const char *name;
        char letter;
    } letters[] = {{"EvalError", 'E'},   {"RangeError", 'R'}, {"ReferenceError", 'F'},
                   {"SyntaxError", 'S'}, {"TypeError", 'T'},  {"URIError", 'U'}};
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++)
        if (strcmp(name, letters[i].name) == 0)
            return letters[i].letter;
    return 0;
}

/* So many bytes of the text, or fewer: no character is cut. */
static int whole_characters(const char *text, size_t most) {
    size_t len = strnlen(text, most + 1);
    if (len > most)
        for (len = most; len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80;)
            len--;
    return (int)len;
}

void brood_writer_error(brood_writer *w, const char *name, const char *message) {
    char letter = brood__error_letter(name), stack[512];
    if (!brood__writer_due(w))
        return;
    if (!w->advanced) {
        brood__writer_add(w, "{}", 2);
        return;
    }
    w->objects++;
    brood__writer_byte(w, 'r');
    if (letter)
        brood__writer_byte(w, letter);
    if (message) {
        brood__writer_byte(w, 'm');
        brood__v8_text(w, message, strlen(message));
    }
    /* what Node prints of it: there is no call to trace */
    snprintf(stack, sizeof stack, "%s%s%.*s", letter ? name : "Error", message ? ": " : "",
             message ? whole_characters(message, STACK_TEXT) : 0, message ? message : "");
    brood__writer_byte(w, 's');
    brood__v8_text(w, stack, strlen(stack));
    brood__writer_byte(w, '.');
}

/* --- bytes --- */

/* 5 bits of exponent, biased by 15, and 10 of the mantissa. */
static double half_float(uint32_t bits) {
    uint32_t exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;
    double number = mantissa * 0x1p-24; /* subnormal */
    if (exponent == 31)
        number = mantissa ? (double)NAN : (double)INFINITY;
    else if (exponent > 0)
        number = (1024 + mantissa) * 0x1p-10 * (exponent < 15 ? 1.0 / (1 << (15 - exponent)) : 1 << (exponent - 15));
    return bits >> 15 ? -number : number;
}

/* One element of a typed array, as a number; a bigint has none in JSON. */
static double element_at(brood_view view, const uint8_t *at) {
    uint64_t bits = 0;
    float single;
    double number;
    unsigned size = brood__element_size(view);
    for (unsigned i = 0; i < size; i++)
        bits |= (uint64_t)at[i] << 8 * i;
    uint32_t low = (uint32_t)bits;
    switch (view) {
    case BROOD_INT8_ARRAY:
        return (int8_t)bits;
    case BROOD_INT16_ARRAY:
        return (int16_t)bits;
    case BROOD_INT32_ARRAY:
        return (int32_t)bits;
    case BROOD_FLOAT32_ARRAY:
        memcpy(&single, &low, sizeof single);
        return (double)single;
    case BROOD_FLOAT64_ARRAY:
        memcpy(&number, &bits, sizeof number);
        return number;
    case BROOD_FLOAT16_ARRAY:
        return half_float(low);
    default:
        return (double)bits;
    }
}

static void json_elements(brood_writer *w, brood_view view, const uint8_t *bytes, size_t count) {
    bool list = view == BROOD_BUFFER;
    for (size_t i = 0; i < count && brood__writer_reserve(w, BROOD__NUMBER_SIZE + 4); i++) {
        char *to = w->bytes + w->len;
        if (i > 0)
            *to++ = ',';
        if (!list) {
            *to++ = '"';
            to += brood__number_write_int((int64_t)i, to);
            *to++ = '"';
            *to++ = ':';
        }
        w->len = (size_t)(to - w->bytes);
        brood__json_number(w, element_at(view, bytes + i * brood__element_size(view)));
    }
}

/* What JSON.stringify makes of it: `{"0":1,"1":2}`, of a Buffer a list. */
void brood__json_bytes(brood_writer *w, brood_view view, const void *bytes, size_t len) {
    bool bare = view == BROOD_ARRAY_BUFFER || view == BROOD_DATA_VIEW;
    if (view == BROOD_BIGINT64_ARRAY || view == BROOD_BIGUINT64_ARRAY)
        brood__writer_fail(w, -EPROTOTYPE);
    brood__writer_text(w, view == BROOD_BUFFER ? "{\"type\":\"Buffer\",\"data\":[" : "{");
    json_elements(w, view, bytes, bare ? 0 : len / brood__element_size(view));
    brood__writer_text(w, view == BROOD_BUFFER ? "]}" : "}");
}

/* Bytes that are behind that descriptor, which is the writer's now. False: they have to be copied after all. */
static bool share(brood_writer *w, brood_view view, int fd, size_t len) {
    if (fd < 0)
        return false;
    w->shared[w->shared_count++] = fd;
    w->shared_bytes += len;
    w->objects++;
    brood__writer_add(w, "\\\2", 2);
    brood__writer_varint(w, view);
    brood__writer_varint(w, len);
    return true;
}

static bool may_share(const brood_writer *w, size_t len, size_t from) {
    return w->shared_count < w->max_shared && !w->error && len >= from;
}

void brood_writer_buffer(brood_writer *w, const brood_buffer *b, size_t len) {
    if (len > brood_buffer_size(b))
        brood__writer_fail(w, -EINVAL);
    if (!may_share(w, len, BUFFER_FROM)) {
        brood_writer_bytes(w, brood_buffer_bytes(b), len);
        return;
    }
    if (brood__writer_due(w) && !share(w, BROOD_BUFFER, brood__buffer_duplicate(b), len))
        brood__v8_bytes(w, BROOD_BUFFER, brood_buffer_bytes(b), len);
}

void brood__v8_bytes(brood_writer *w, brood_view view, const void *bytes, size_t len) {
    if (may_share(w, len, BROOD__SHARE_FROM) && share(w, view, brood__share_copy(bytes, len), len))
        return;
    w->objects++;
    if (view == BROOD_ARRAY_BUFFER) {
        brood__writer_byte(w, 'B');
    } else {
        brood__writer_add(w, "\\", 2); /* and the kind: 0 */
        brood__writer_varint(w, (uint64_t)view - 1);
    }
    brood__writer_varint(w, len);
    if (len > 0)
        brood__writer_add(w, bytes, len);
}

void brood_writer_view(brood_writer *w, brood_view view, const void *bytes, size_t len) {
    if (view > BROOD_FLOAT16_ARRAY || len % brood__element_size(view))
        brood__writer_fail(w, -EINVAL);
    if (len > UINT32_MAX / 2)
        brood__writer_fail(w, -EMSGSIZE);
    if (!brood__writer_due(w))
        return;
    if (w->advanced)
        brood__v8_bytes(w, view, bytes, len);
    else
        brood__json_bytes(w, view, bytes, len);
}

void brood_writer_bytes(brood_writer *w, const void *bytes, size_t len) {
    brood_writer_view(w, BROOD_BUFFER, bytes, len);
}
