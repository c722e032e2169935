/*
 * Reading V8's structured clone: a byte says what follows, containers end with a byte and the number of their members.
 * No text of it is a specification (the format is V8's own, ValueSerializer in its sources says what is written); this
 * was checked against real Node, byte by byte. It recurses, as deep as the channel allows. What is read must never ask
 * for more memory than it has bytes: an array of a thousand million elements is five bytes long.
 */
#include "value/v8.h"

#include "value/number.h"
#include "value/utf8.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#define DEPTH_CEILING 4096
#define BIGINT_MAX (1U << 27) /* bytes: V8's 2^30 bits */
#define UNFINISHED UINT32_MAX /* an object that cannot be referred to yet */

typedef struct reader {
    uint8_t *at, *end;
    const uint8_t *start;
    brood__document *document;
    uint32_t version, depth, max_depth;
    int error;
} reader;

static int read_value(reader *r);

static int fail(reader *r, int error) {
    if (!r->error)
        r->error = error;
    return error;
}

static int broken(reader *r) {
    return fail(r, -EBADMSG);
}

/* A node of that type; NULL, and the error stands. */
static brood__node *add(reader *r, unsigned type) {
    brood__document *document = r->document;
    brood__node *node = brood__document_add(document);
    if (!node) {
        fail(r, document->max_nodes && document->count == document->max_nodes ? -E2BIG : -ENOMEM);
        return NULL;
    }
    *node = (brood__node){.type = (uint8_t)type};
    return node;
}

/* The next object that may be referred to, at the node that comes next. */
static int number_object(reader *r) {
    brood__document *document = r->document;
    if (document->object_count == document->object_capacity) {
        uint32_t capacity = document->object_capacity ? document->object_capacity * 2 : 16;
        uint32_t *objects = brood__resize(document->objects, capacity * sizeof *objects);
        if (!objects)
            return fail(r, -ENOMEM);
        document->objects = objects;
        document->object_capacity = capacity;
    }
    document->objects[document->object_count++] = document->count;
    return 0;
}

/* --- the parts --- */

/* Seven bits at a time, the lowest first. Where more follows, V8 takes five bytes whatever the fifth says of a sixth. */
static int read_varint(reader *r, uint32_t *ret_number) {
    uint32_t number = 0;
    bool more = r->end - r->at > 5;
    for (unsigned shift = 0; r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        number |= (uint32_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80) || (shift == 28 && more)) {
            *ret_number = number;
            return 0;
        }
    }
    return broken(r);
}

/* The byte that says what follows, padding skipped; -1: there is none. */
static int peek(reader *r) {
    while (r->at < r->end && *r->at == 0)
        r->at++;
    return r->at < r->end ? *r->at : -1;
}

/* The same before a value, where a count of objects may stand that says nothing. */
static int peek_value(reader *r) {
    uint32_t ignored;
    while (peek(r) == '?') {
        r->at++;
        if (read_varint(r, &ignored) < 0)
            return -1;
    }
    return peek(r);
}

static int read_raw_double(reader *r, double *ret_number) {
    uint64_t bits;
    if (r->end - r->at < 8)
        return broken(r);
    memcpy(&bits, r->at, 8);
    bits = le64toh(bits);
    memcpy(ret_number, &bits, 8);
    if (isnan(*ret_number))
        *ret_number = NAN;
    r->at += 8;
    return 0;
}

/* So many bytes that are there. */
static int read_bytes(reader *r, uint32_t *ret_len) {
    if (read_varint(r, ret_len) < 0)
        return r->error;
    return (size_t)(r->end - r->at) < *ret_len ? broken(r) : 0;
}

/* --- strings --- */

static bool is_ascii(const uint8_t *bytes, uint32_t len) {
    uint32_t i = 0;
    for (uint64_t word; len - i >= 8; i += 8) {
        memcpy(&word, bytes + i, 8);
        if (word & UINT64_C(0x8080808080808080))
            return false;
    }
    for (; i < len; i++)
        if (bytes[i] & 0x80)
            return false;
    return true;
}

static void set_text(brood__node *node, const char *text, size_t size) {
    node->text = text;
    node->size = (uint32_t)size;
}

/*
 * ASCII stays in place, moved by one byte: the last one of its length, which has been read, gives way for the NUL at
 * the end. All else goes where there is room for it.
 */
static int read_one_byte(reader *r, brood__node *node) {
    uint32_t len = 0;
    if (read_bytes(r, &len) < 0)
        return r->error;
    uint8_t *bytes = r->at;
    r->at += len;
    if (is_ascii(bytes, len)) {
        char *text = memmove(bytes - 1, bytes, len);
        text[len] = 0;
        set_text(node, text, len);
        return 0;
    }
    char *text = brood__arena_alloc(&r->document->texts, 2 * (size_t)len + 1), *to = text;
    if (!text)
        return fail(r, -ENOMEM);
    for (uint32_t i = 0; i < len; i++)
        to += brood__utf8_write(bytes[i], to);
    *to = 0;
    set_text(node, text, (size_t)(to - text));
    return 0;
}

static uint32_t unit_at(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8;
}

static int read_two_byte(reader *r, brood__node *node) {
    uint32_t len = 0;
    if (read_bytes(r, &len) < 0)
        return r->error;
    if (len % 2)
        return broken(r);
    char *text = brood__arena_alloc(&r->document->texts, (size_t)len / 2 * 3 + 1), *to = text;
    if (!text)
        return fail(r, -ENOMEM);
    for (uint32_t i = 0; i < len; i += 2) {
        uint32_t point = unit_at(r->at + i);
        if (point >> 10 == 0xd800 >> 10 && i + 2 < len && unit_at(r->at + i + 2) >> 10 == 0xdc00 >> 10) {
            i += 2;
            point = 0x10000 + ((point & 0x3ff) << 10 | (unit_at(r->at + i) & 0x3ff));
        }
        to += brood__utf8_write(point, to);
    }
    *to = 0;
    r->at += len;
    set_text(node, text, (size_t)(to - text));
    return 0;
}

/* Node reads it, but never writes it. */
static int read_utf8(reader *r, brood__node *node) {
    uint32_t len = 0;
    if (read_bytes(r, &len) < 0)
        return r->error;
    char *text = brood__arena_alloc(&r->document->texts, (size_t)len * 3 + 1), *to = text;
    if (!text)
        return fail(r, -ENOMEM);
    const char *at = (char *)r->at, *end = at + len;
    while (at < end) {
        int size = brood__utf8_length(at, end);
        to += brood__utf8_write(size > 0 ? brood__utf8_read(at, size) : BROOD__REPLACEMENT, to);
        at += size > 0 ? size : -size;
    }
    *to = 0;
    r->at += len;
    set_text(node, text, (size_t)(to - text));
    return 0;
}

/* Behind the byte that says which. */
static int read_string_of(reader *r, int tag) {
    brood__node *node = add(r, BROOD_STRING);
    if (!node)
        return r->error;
    return tag == '"' ? read_one_byte(r, node) : tag == 'c' ? read_two_byte(r, node) : read_utf8(r, node);
}

static int read_string(reader *r) {
    int tag = peek_value(r); /* a value like others, that must be a string */
    if (tag != '"' && tag != 'c' && tag != 'S')
        return broken(r);
    r->at++;
    return read_string_of(r, tag);
}

static int add_text(reader *r, const char *text, size_t len) {
    char *copy = brood__arena_copy(&r->document->texts, text, len);
    if (!copy)
        return fail(r, -ENOMEM);
    brood__node *node = add(r, BROOD_STRING);
    if (node)
        set_text(node, copy, len);
    return node ? 0 : r->error;
}

/* --- leaves --- */

static int read_number(reader *r, int tag, unsigned type) {
    uint32_t bits = 0;
    double number = 0;
    if (tag == 'I' || tag == 'U') {
        if (read_varint(r, &bits) < 0)
            return r->error;
        number = tag == 'U' ? (double)bits : (double)(int32_t)(bits >> 1 ^ -(bits & 1));
    } else if (read_raw_double(r, &number) < 0) {
        return r->error;
    }
    if (type == BROOD_DATE)
        number = brood__clip_time(number);
    brood__node *node = add(r, type);
    if (node)
        node->number = number;
    return node ? 0 : r->error;
}

static int read_bigint(reader *r) {
    uint32_t bits = 0;
    if (read_varint(r, &bits) < 0)
        return r->error;
    uint32_t len = bits >> 1 & 0x3fffffff; /* the highest bit is nobody's */
    if ((len == 0 && bits & 1) || len > BIGINT_MAX || (size_t)(r->end - r->at) < len)
        return broken(r);
    brood__node *node = add(r, BROOD_BIGINT);
    if (!node)
        return r->error;
    node->text = (char *)r->at;
    r->at += len;
    while (len > 0 && node->text[len - 1] == 0)
        len--;
    node->size = len;
    node->flags = bits & 1 && len > 0 ? BROOD__NEGATIVE : 0;
    return 0;
}

static int read_bool(reader *r, bool yes) {
    brood__node *node = add(r, BROOD_BOOL);
    if (node)
        node->yes = yes;
    return node ? 0 : r->error;
}

/* A bool, a number, a bigint or a string with an object around it. */
static int read_boxed(reader *r, int tag) {
    uint32_t node = r->document->count;
    int error = number_object(r);
    if (error < 0)
        return error;
    if (tag == 'y' || tag == 'x')
        error = read_bool(r, tag == 'y');
    else if (tag == 'n')
        error = read_number(r, 'N', BROOD_NUMBER);
    else if (tag == 'z')
        error = read_bigint(r);
    else
        error = read_string(r);
    if (error == 0)
        r->document->nodes[node].flags |= BROOD__BOXED;
    return error;
}

/* --- bytes --- */

static int add_bytes(reader *r, brood_view view, uint32_t len) {
    brood__node *node = add(r, BROOD_BYTES);
    if (!node)
        return r->error;
    node->view = (uint8_t)view;
    node->text = (char *)r->at;
    node->size = len - len % brood__element_size(view);
    r->at += len;
    return 0;
}

static int read_array_buffer(reader *r, bool resizable) {
    uint32_t len = 0, most = 0;
    if (number_object(r) < 0 || read_varint(r, &len) < 0)
        return r->error;
    if (resizable && read_varint(r, &most) < 0)
        return r->error;
    if ((size_t)(r->end - r->at) < len || (resizable && most < len))
        return broken(r);
    int error = add_bytes(r, BROOD_ARRAY_BUFFER, len);
    if (error == 0 && resizable)
        r->document->nodes[r->document->count - 1].flags |= BROOD__RESIZABLE;
    return error;
}

static int view_of(uint8_t letter) {
    static const char letters[] = "?bBCwWdDfF??qQh";
    const char *found = letter == '?' ? letters + BROOD_DATA_VIEW : letter ? strchr(letters + 1, letter) : NULL;
    return found ? (int)(found - letters) : -1;
}

/*
 * A view of the ArrayBuffer that was just read, or referred to: it takes the buffer's place, which goes behind it where
 * others may refer to it.
 */
static int read_view_of(reader *r, uint32_t place) {
    uint32_t offset = 0, len = 0, flags = 0;
    brood__document *document = r->document;
    uint32_t target = document->nodes[place].type == BROOD__REFERENCE ? document->nodes[place].target : place;
    brood__node buffer = document->nodes[target];
    if (r->end - r->at < 2)
        return broken(r);
    int view = view_of(r->at[1]);
    r->at += 2;
    if (read_varint(r, &offset) < 0 || read_varint(r, &len) < 0 || (r->version >= 14 && read_varint(r, &flags) < 0))
        return r->error;
    bool resizable = buffer.flags & BROOD__RESIZABLE, tracks = flags & 1;
    if (view < 0 || offset > buffer.size || len > buffer.size - offset || (flags & 2) != (resizable ? 2 : 0) ||
        (tracks && !resizable) || offset % brood__element_size((brood_view)view) ||
        len % brood__element_size((brood_view)view))
        return broken(r);
    if (target == place) { /* the buffer moves behind, and with it who refers to it */
        if (!add(r, BROOD_BYTES))
            return r->error;
        document->nodes[place + 1] = buffer;
        document->objects[document->object_count - 1] = place + 1;
    }
    brood__node *node = &document->nodes[place];
    *node = (brood__node){.type = BROOD_BYTES, .flags = target == place ? BROOD__VIEWS : 0, .view = (uint8_t)view};
    set_text(node, buffer.text + offset,
             tracks ? (buffer.size - offset) / brood__element_size((brood_view)view) *
                          brood__element_size((brood_view)view)
                    : len);
    uint32_t count = document->count;
    document->count = place;
    int error = number_object(r);
    document->count = count;
    return error;
}

/* They must be an object, which gets a number of its own, and cannot be referred to by this one while it is read. */
static int read_properties(reader *r) {
    uint32_t id = r->document->object_count - 1, place = r->document->count;
    r->document->objects[id] = UNFINISHED;
    if (++r->depth > r->max_depth)
        return fail(r, -E2BIG);
    if (read_value(r) < 0)
        return r->error;
    r->depth--;
    const brood__node *node = &r->document->nodes[place];
    if (node->type < BROOD_DATE && !(node->flags & BROOD__BOXED))
        return broken(r);
    r->document->objects[id] = node->type == BROOD__REFERENCE ? node->target : place;
    return 0;
}

/* Bytes that brood's writer has put elsewhere. From anybody else it is as broken as it is to Node. */
static int read_shared(reader *r) {
    uint32_t view = 0, len = 0;
    if (r->document->max_shared == 0 || read_varint(r, &view) < 0 || read_varint(r, &len) < 0 ||
        view > BROOD_FLOAT16_ARRAY || len == 0 || len % brood__element_size((brood_view)view))
        return broken(r);
    brood__node *node = add(r, BROOD_BYTES);
    if (!node)
        return r->error;
    node->flags = BROOD__SHARED;
    node->view = (uint8_t)view;
    node->text = "";
    node->size = len;
    int error = brood__document_share(r->document, r->document->count - 1, NULL);
    return error < 0 ? fail(r, error) : 0;
}

/* What V8 leaves to Node: views of bytes, and objects of C++, which come as what properties they have. */
static int read_host_object(reader *r) {
    uint32_t kind = 0, view = 0, len = 0;
    if (number_object(r) < 0 || read_varint(r, &kind) < 0)
        return r->error;
    if (kind == 1)
        return read_properties(r);
    if (kind == 2)
        return read_shared(r);
    if (kind != 0)
        return broken(r);
    if (read_varint(r, &view) < 0 || read_bytes(r, &len) < 0)
        return r->error;
    return view < BROOD_FLOAT16_ARRAY ? add_bytes(r, (brood_view)(view + 1), len) : broken(r);
}

/* --- containers --- */

/* A container's node, and its number; on_deeper levels. Returns its place or a negative error. */
static int64_t open_container(reader *r, unsigned type) {
    uint32_t place = r->document->count;
    if (++r->depth > r->max_depth)
        return fail(r, -E2BIG);
    if (number_object(r) < 0 || !add(r, type))
        return r->error;
    return place;
}

static int close_container(reader *r, uint32_t place, uint32_t count) {
    brood__node *node = &r->document->nodes[place];
    node->count = count;
    node->size = r->document->count - place;
    r->depth--;
    return 0;
}

/* A member's name: a string, or a number, which names as its text does. */
static int read_name(reader *r) {
    char text[BROOD__NUMBER_SIZE];
    uint32_t place = r->document->count;
    int tag = peek_value(r);
    if (tag != 'I' && tag != 'U' && tag != 'N')
        return read_string(r);
    r->at++;
    if (read_number(r, tag, BROOD_NUMBER) < 0)
        return r->error;
    double number = r->document->nodes[place].number;
    r->document->count = place;
    if (!isfinite(number))
        return isnan(number) ? add_text(r, "NaN", 3)
               : number < 0  ? add_text(r, "-Infinity", 9)
                             : add_text(r, "Infinity", 8);
    return add_text(r, text, (size_t)brood__number_write(number, text));
}

/* Names and values, up to that byte; returns how many. */
static int64_t read_members(reader *r, int end) {
    int64_t count = 0;
    for (int tag; (tag = peek(r)) != end; count++) {
        if (tag < 0)
            return broken(r);
        if (read_name(r) < 0 || read_value(r) < 0)
            return r->error;
    }
    r->at++;
    return count;
}

/* The number behind a container's end must be this one. */
static int expect_count(reader *r, uint64_t count) {
    uint32_t said = 0;
    if (read_varint(r, &said) < 0)
        return r->error;
    return said == count ? 0 : broken(r);
}

/* V8 refuses a name that is there twice. The names begin at that node, and end where the document does. */
static int refuse_doubles(reader *r, uint32_t first, int64_t count) {
    int differ = brood__document_names_differ(r->document, first, (uint32_t)count);
    return differ < 0 ? fail(r, differ) : differ ? 0 : broken(r);
}

static int read_object(reader *r) {
    int64_t place = open_container(r, BROOD_OBJECT), count;
    if (place < 0 || (count = read_members(r, '{')) < 0 || expect_count(r, (uint64_t)count) < 0)
        return r->error;
    if (refuse_doubles(r, (uint32_t)place + 1, count) < 0)
        return r->error;
    return close_container(r, (uint32_t)place, (uint32_t)count);
}

static int read_dense_array(reader *r) {
    uint32_t length = 0;
    int64_t place = open_container(r, BROOD_ARRAY), others;
    if (place < 0 || read_varint(r, &length) < 0)
        return r->error;
    for (uint32_t i = 0; i < length; i++) {
        if (peek(r) == '-') {
            r->at++;
            if (!add(r, BROOD__HOLE))
                return r->error;
        } else if (read_value(r) < 0) {
            return r->error;
        }
    }
    uint32_t names = r->document->count;
    if ((others = read_members(r, '$')) < 0 || expect_count(r, (uint64_t)others) < 0 || expect_count(r, length) < 0 ||
        refuse_doubles(r, names, others) < 0)
        return r->error;
    return close_container(r, (uint32_t)place, length);
}

static int read_sparse_array(reader *r) {
    uint32_t length = 0;
    int64_t place = open_container(r, BROOD_ARRAY), members;
    if (place < 0 || read_varint(r, &length) < 0 || (members = read_members(r, '@')) < 0 ||
        expect_count(r, (uint64_t)members) < 0 || expect_count(r, length) < 0 ||
        refuse_doubles(r, (uint32_t)place + 1, members) < 0)
        return r->error;
    r->document->nodes[place].flags |= BROOD__SPARSE;
    return close_container(r, (uint32_t)place, length);
}

/* A map, whose number counts keys and values, or a set. */
static int read_collection(reader *r, unsigned type, int end) {
    uint64_t values = 0;
    int64_t place = open_container(r, type);
    if (place < 0)
        return r->error;
    for (int tag; (tag = peek(r)) != end; values++) {
        if (tag < 0)
            return broken(r);
        if (read_value(r) < 0)
            return r->error;
    }
    r->at++;
    if (expect_count(r, values) < 0)
        return r->error;
    if (type == BROOD_MAP && values % 2)
        return broken(r);
    return close_container(r, (uint32_t)place, (uint32_t)(type == BROOD_MAP ? values / 2 : values));
}

/* The letters of V8's bits, and a bit that no script can set. */
static int write_flags(reader *r, uint32_t bits) {
    static const char letters[] = "gimyus?dv";
    char flags[sizeof letters];
    size_t len = 0;
    for (unsigned i = 0; i < sizeof letters - 1; i++)
        if (bits >> i & 1)
            flags[len++] = letters[i];
    if (bits >> (sizeof letters - 1) || bits & 1 << 6)
        return broken(r);
    return add_text(r, flags, len);
}

static int read_regexp(reader *r) {
    uint32_t bits = 0;
    int64_t place = open_container(r, BROOD_REGEXP);
    if (place < 0 || add_text(r, "source", 6) < 0 || read_string(r) < 0 || read_varint(r, &bits) < 0 ||
        add_text(r, "flags", 5) < 0 || write_flags(r, bits) < 0)
        return r->error;
    return close_container(r, (uint32_t)place, 2);
}

static const char *error_name(int tag) {
    switch (tag) {
    case 'E':
        return "EvalError";
    case 'R':
        return "RangeError";
    case 'F':
        return "ReferenceError";
    case 'S':
        return "SyntaxError";
    case 'T':
        return "TypeError";
    case 'U':
        return "URIError";
    default:
        return NULL;
    }
}

/* Node 20 writes the cause before the stack, Node 26 behind it; here any order will do. */
static int read_error(reader *r) {
    uint32_t members = 1;
    const char *name = "Error";
    int64_t place = open_container(r, BROOD_ERROR);
    if (place < 0 || add_text(r, "name", 4) < 0 || add_text(r, name, 5) < 0)
        return r->error;
    for (;;) {
        if (r->at == r->end)
            return broken(r);
        int tag = *r->at++, error;
        if (tag == '.')
            break;
        if (error_name(tag)) {
            name = error_name(tag);
            set_text(&r->document->nodes[place + 2], name, strlen(name));
            continue;
        }
        if (tag == 'm')
            error = add_text(r, "message", 7) < 0 ? r->error : read_string(r);
        else if (tag == 's')
            error = add_text(r, "stack", 5) < 0 ? r->error : read_string(r);
        else if (tag == 'c')
            error = add_text(r, "cause", 5) < 0 ? r->error : read_value(r);
        else
            return broken(r);
        if (error < 0)
            return error;
        members++;
    }
    if (refuse_doubles(r, (uint32_t)place + 1, members) < 0)
        return r->error;
    return close_container(r, (uint32_t)place, members);
}

static int read_reference(reader *r) {
    uint32_t id = 0;
    brood__document *document = r->document;
    if (read_varint(r, &id) < 0)
        return r->error;
    if (id >= document->object_count || document->objects[id] == UNFINISHED)
        return broken(r);
    brood__node *node = add(r, BROOD__REFERENCE);
    if (!node)
        return r->error;
    node->target = document->objects[id];
    document->referring = true;
    return 0;
}

static int read_tagged(reader *r, int tag) {
    switch (tag) {
    case '_':
        return add(r, BROOD_UNDEFINED) ? 0 : r->error;
    case '0':
        return add(r, BROOD_NULL) ? 0 : r->error;
    case 'T':
    case 'F':
        return read_bool(r, tag == 'T');
    case 'I':
    case 'U':
    case 'N':
        return read_number(r, tag, BROOD_NUMBER);
    case 'Z':
        return read_bigint(r);
    case '"':
    case 'c':
    case 'S':
        return read_string_of(r, tag);
    case '^':
        return read_reference(r);
    case 'o':
        return read_object(r);
    case 'A':
        return read_dense_array(r);
    case 'a':
        return read_sparse_array(r);
    case 'D':
        return number_object(r) < 0 ? r->error : read_number(r, 'N', BROOD_DATE);
    case 'y':
    case 'x':
    case 'n':
    case 'z':
    case 's':
        return read_boxed(r, tag);
    case 'R':
        return read_regexp(r);
    case ';':
        return read_collection(r, BROOD_MAP, ':');
    case '\'':
        return read_collection(r, BROOD_SET, ',');
    case 'B':
    case 'C': /* one that is immutable; Node 26 */
    case '~':
        return read_array_buffer(r, tag == '~');
    case 'r':
        return read_error(r);
    case '\\':
        return read_host_object(r);
    default:
        return broken(r);
    }
}

static int read_value(reader *r) {
    uint32_t place = r->document->count;
    int tag = peek_value(r);
    if (tag < 0)
        return broken(r);
    r->at++;
    if (read_tagged(r, tag) < 0)
        return r->error;
    brood__node *nodes = r->document->nodes;
    uint32_t target = nodes[place].type == BROOD__REFERENCE ? nodes[place].target : place;
    bool buffer = nodes[target].type == BROOD_BYTES && nodes[target].view == BROOD_ARRAY_BUFFER &&
                  !(nodes[target].flags & BROOD__SHARED); /* whose bytes are not here yet; brood writes no such */
    return buffer && peek(r) == 'V' ? read_view_of(r, place) : 0;
}

int brood__v8_read(brood__document *document, char *payload, size_t len, uint32_t max_depth, size_t *ret_at) {
    reader r = {.at = (uint8_t *)payload, .document = document};
    r.start = r.at;
    r.end = r.at + len;
    r.max_depth = max_depth < DEPTH_CEILING ? max_depth : DEPTH_CEILING - 1;
    if (len < 2 || *r.at++ != 0xff || read_varint(&r, &r.version) < 0 || r.version < 13 || r.version > 15)
        broken(&r);
    else
        read_value(&r);
    if (r.error)
        *ret_at = (size_t)(r.at - r.start);
    return r.error;
}
