/*
 * Writing what was read: a value of either format into either, as V8 and JSON.stringify would write it. Structured
 * clone keeps who is who: an object that is there twice is written once and referred to, as is one that holds itself;
 * JSON has it twice, and cannot have a cycle.
 */
#include "value/json.h"
#include "value/writer.h"

#include <errno.h>

typedef struct copier {
    brood_writer *writer;
    const brood__document *document;
    uint32_t depth;
    /* By node, if there are references. Structured clone: the object's number, plus 1. JSON: whether it is open. */
    uint32_t *marks;
} copier;

static const brood__node *node_at(const copier *c, uint32_t at) {
    return &c->document->nodes[at];
}

static bool go_deeper(copier *c) {
    if (++c->depth + c->writer->depth > BROOD__MAX_DEPTH)
        brood__writer_fail(c->writer, -E2BIG);
    return !c->writer->error;
}

/* The value of a member, 0 if there is none. */
static uint32_t find_member(const copier *c, uint32_t container, const char *name) {
    uint32_t at = container + 1, end = container + node_at(c, container)->size;
    for (; at < end; at = brood__node_next(c->document, at + 1))
        if (strcmp(node_at(c, at)->text, name) == 0)
            return at + 1;
    return 0;
}

/* --- structured clone --- */

static void v8_value(copier *c, uint32_t at);

static void v8_text(copier *c, const brood__node *node) {
    brood__v8_text(c->writer, node->text, node->size);
}

static void v8_boxed(copier *c, const brood__node *node) {
    brood_writer *w = c->writer;
    w->objects++;
    if (node->type == BROOD_BOOL) {
        brood__writer_byte(w, node->yes ? 'y' : 'x');
    } else if (node->type == BROOD_NUMBER) {
        brood__writer_byte(w, 'n');
        brood__v8_raw_number(w, node->number);
    } else if (node->type == BROOD_BIGINT) {
        brood__writer_byte(w, 'z');
        brood__v8_raw_bigint(w, node->flags & BROOD__NEGATIVE, node->text, node->size);
    } else {
        brood__writer_byte(w, 's');
        v8_text(c, node);
    }
}

static void v8_leaf(copier *c, const brood__node *node) {
    brood_writer *w = c->writer;
    switch (node->type) {
    case BROOD__HOLE:
        brood__writer_byte(w, '-');
        break;
    case BROOD_UNDEFINED:
        brood__writer_byte(w, '_');
        break;
    case BROOD_NULL:
        brood__writer_byte(w, '0');
        break;
    case BROOD_BOOL:
        brood__writer_byte(w, node->yes ? 'T' : 'F');
        break;
    case BROOD_NUMBER:
        brood__v8_number(w, node->number);
        break;
    case BROOD_BIGINT:
        brood__writer_byte(w, 'Z');
        brood__v8_raw_bigint(w, node->flags & BROOD__NEGATIVE, node->text, node->size);
        break;
    case BROOD_STRING:
        v8_text(c, node);
        break;
    case BROOD_DATE:
        w->objects++;
        brood__writer_byte(w, 'D');
        brood__v8_raw_number(w, node->number);
        break;
    default:
        brood__v8_bytes(w, (brood_view)node->view, node->text, node->size);
    }
}

/* Names and values between two nodes; returns how many. */
static uint32_t v8_members(copier *c, uint32_t from, uint32_t to) {
    uint32_t count = 0;
    for (uint32_t at = from; at < to && !c->writer->error; at = brood__node_next(c->document, at + 1), count++) {
        brood__v8_name(c->writer, node_at(c, at)->text, node_at(c, at)->size);
        v8_value(c, at + 1);
    }
    return count;
}

static void v8_object(copier *c, uint32_t object) {
    brood__writer_byte(c->writer, 'o');
    uint32_t members = v8_members(c, object + 1, object + node_at(c, object)->size);
    brood__writer_byte(c->writer, '{');
    brood__writer_varint(c->writer, members);
}

static void v8_array(copier *c, uint32_t array) {
    brood_writer *w = c->writer;
    uint32_t count = node_at(c, array)->count, at = array + 1, end = array + node_at(c, array)->size;
    bool sparse = node_at(c, array)->flags & BROOD__SPARSE;
    brood__writer_byte(w, sparse ? 'a' : 'A');
    brood__writer_varint(w, count);
    for (uint32_t i = 0; !sparse && i < count && !w->error; i++, at = brood__node_next(c->document, at))
        v8_value(c, at);
    uint32_t members = v8_members(c, at, end);
    brood__writer_byte(w, sparse ? '@' : '$');
    brood__writer_varint(w, members);
    brood__writer_varint(w, count);
}

static void v8_collection(copier *c, uint32_t collection) {
    brood_writer *w = c->writer;
    const brood__node *node = node_at(c, collection);
    bool map = node->type == BROOD_MAP;
    uint32_t end = collection + node->size, count = node->count;
    brood__writer_byte(w, map ? ';' : '\'');
    for (uint32_t at = collection + 1; at < end && !w->error; at = brood__node_next(c->document, at))
        v8_value(c, at);
    brood__writer_byte(w, map ? ':' : ',');
    brood__writer_varint(w, (uint64_t)count * (map ? 2 : 1));
}

/* In the order that Node 26 insists on. */
static void v8_error(copier *c, uint32_t error) {
    brood_writer *w = c->writer;
    char letter = brood__error_letter(node_at(c, find_member(c, error, "name"))->text);
    uint32_t message = find_member(c, error, "message"), stack = find_member(c, error, "stack"),
             cause = find_member(c, error, "cause");
    brood__writer_byte(w, 'r');
    if (letter)
        brood__writer_byte(w, letter);
    if (message) {
        brood__writer_byte(w, 'm');
        v8_text(c, node_at(c, message));
    }
    if (stack) {
        brood__writer_byte(w, 's');
        v8_text(c, node_at(c, stack));
    }
    if (cause) {
        brood__writer_byte(w, 'c');
        v8_value(c, cause);
    }
    brood__writer_byte(w, '.');
}

static void v8_container(copier *c, uint32_t at) {
    brood_writer *w = c->writer;
    w->objects++;
    switch (node_at(c, at)->type) {
    case BROOD_ARRAY:
        v8_array(c, at);
        break;
    case BROOD_OBJECT:
        v8_object(c, at);
        break;
    case BROOD_REGEXP:
        brood__writer_byte(w, 'R');
        v8_text(c, node_at(c, find_member(c, at, "source")));
        brood__writer_varint(w, (uint64_t)brood__regexp_bits(node_at(c, find_member(c, at, "flags"))->text));
        break;
    case BROOD_ERROR:
        v8_error(c, at);
        break;
    default:
        v8_collection(c, at);
    }
}

static void v8_value(copier *c, uint32_t at) {
    const brood__node *node = node_at(c, at);
    if (node->type == BROOD__REFERENCE) {
        at = node->target;
        node = node_at(c, at);
    }
    if (c->marks && c->marks[at]) {
        brood__writer_byte(c->writer, '^');
        brood__writer_varint(c->writer, c->marks[at] - 1);
        return;
    }
    uint32_t objects = c->writer->objects;
    bool boxed = node->flags & BROOD__BOXED, container = brood__type_contains(node->type);
    if (c->marks && (boxed || container || node->type == BROOD_DATE || node->type == BROOD_BYTES))
        c->marks[at] = objects + 1;
    if (!container) {
        boxed ? v8_boxed(c, node) : v8_leaf(c, node);
        return;
    }
    if (go_deeper(c))
        v8_container(c, at);
    c->depth--;
}

/* --- JSON --- */

static void json_value(copier *c, uint32_t at);

static void json_text(copier *c, const brood__node *node) {
    brood__json_text(c->writer, node->text, node->size);
}

static void json_leaf(copier *c, const brood__node *node) {
    brood_writer *w = c->writer;
    switch (node->type) {
    case BROOD_BOOL:
        brood__writer_text(w, node->yes ? "true" : "false");
        break;
    case BROOD_NUMBER:
        brood__json_number(w, node->number);
        break;
    case BROOD_BIGINT:
        brood__writer_fail(w, -EPROTOTYPE);
        break;
    case BROOD_STRING:
        json_text(c, node);
        break;
    case BROOD_DATE:
        brood__json_date(w, node->number);
        break;
    case BROOD_BYTES:
        brood__json_bytes(w, (brood_view)node->view, node->text, node->size);
        break;
    default:
        brood__writer_text(w, "null");
    }
}

/* An array that is mostly holes may be far longer than its text: the writer's ceiling ends it. */
static void json_sparse(copier *c, uint32_t array) {
    brood_value value = {(brood__document *)(uintptr_t)c->document, array};
    uint32_t count = node_at(c, array)->count;
    for (uint32_t i = 0; i < count && !c->writer->error; i++) {
        if (i > 0)
            brood__writer_byte(c->writer, ',');
        brood_value element = brood_value_at(value, i, NULL);
        if (element.document == value.document)
            json_value(c, element.node);
        else
            brood__writer_text(c->writer, "null");
    }
}

static void json_array(copier *c, uint32_t array) {
    brood_writer *w = c->writer;
    uint32_t count = node_at(c, array)->count, at = array + 1;
    brood__writer_byte(w, '[');
    if (node_at(c, array)->flags & BROOD__SPARSE) {
        json_sparse(c, array);
    } else {
        for (uint32_t i = 0; i < count && !w->error; i++, at = brood__node_next(c->document, at)) {
            if (i > 0)
                brood__writer_byte(w, ',');
            json_value(c, at);
        }
    }
    brood__writer_byte(w, ']');
}

static void json_object(copier *c, uint32_t object) {
    brood_writer *w = c->writer;
    bool first = true;
    uint32_t at = object + 1, end = object + node_at(c, object)->size;
    brood__writer_byte(w, '{');
    for (; at < end && !w->error; at = brood__node_next(c->document, at + 1)) {
        if (node_at(c, at + 1)->type == BROOD_UNDEFINED)
            continue;
        if (!first)
            brood__writer_byte(w, ',');
        first = false;
        json_text(c, node_at(c, at));
        brood__writer_byte(w, ':');
        json_value(c, at + 1);
    }
    brood__writer_byte(w, '}');
}

static void json_container(copier *c, uint32_t at) {
    switch (node_at(c, at)->type) {
    case BROOD_ARRAY:
        json_array(c, at);
        break;
    case BROOD_OBJECT:
        json_object(c, at);
        break;
    default:
        brood__writer_text(c->writer, "{}");
    }
}

static void json_value(copier *c, uint32_t at) {
    const brood__node *node = node_at(c, at);
    if (node->type == BROOD__REFERENCE)
        at = node->target;
    if (!brood__type_contains(node_at(c, at)->type)) {
        json_leaf(c, node_at(c, at));
        return;
    }
    if (c->marks && c->marks[at])
        brood__writer_fail(c->writer, -ELOOP);
    if (!go_deeper(c))
        return;
    if (c->marks)
        c->marks[at] = 1;
    json_container(c, at);
    if (c->marks)
        c->marks[at] = 0;
    c->depth--;
}

/* --- both --- */

/* Where a value is due. */
static void copy_node(brood_writer *w, const brood__document *document, uint32_t node) {
    copier c = {.writer = w, .document = document};
    if (document->referring && !(c.marks = brood__alloc(document->count * sizeof *c.marks))) {
        brood__writer_fail(w, -ENOMEM);
        return;
    }
    if (w->advanced)
        v8_value(&c, node);
    else
        json_value(&c, node);
    brood__free(c.marks);
}

void brood_writer_value(brood_writer *w, brood_value value) {
    brood_type type = brood_value_type(value);
    if (type == BROOD_MISSING || type == BROOD_UNDEFINED)
        brood_writer_undefined(w);
    else if (type == BROOD_BIGINT && w->depth == 0 && !brood_value_is_boxed(value))
        brood_writer_bigint(w, false, NULL, 0); /* which is an error */
    else if (brood__writer_due(w))
        copy_node(w, value.document, value.node);
}

ssize_t brood_value_json(brood_value value, char *buffer, size_t size) {
    brood_writer w = {.max_len = INT32_MAX};
    brood__writer_begin(&w);
    brood_writer_value(&w, value);
    int r = brood__writer_finish(&w);
    size_t len = w.len;
    if (r == 0 && size > 0) {
        size_t kept = len < size ? len : size - 1;
        memcpy(buffer, w.bytes, kept);
        buffer[kept] = 0;
    }
    brood__writer_done(&w);
    return r < 0 ? r : (ssize_t)len;
}

/* Into the buffer, and checked there. */
static void add_json(brood_writer *w, const char *text, size_t len) {
    size_t at = w->len;
    if (!brood__writer_reserve(w, len + BROOD__JSON_SLACK))
        return;
    memcpy(w->bytes + at, text, len);
    memset(w->bytes + at + len, 0, BROOD__JSON_SLACK);
    int r = brood__json_check(w->bytes + at, len, BROOD__MAX_DEPTH - w->depth, &w->error_at);
    if (r < 0)
        brood__writer_fail(w, r);
    else
        w->len += len;
}

void brood_writer_json(brood_writer *w, const char *text, size_t len) {
    brood_value value;
    if (!brood__writer_due(w))
        return;
    if (len == BROOD_NUL)
        len = strlen(text);
    if (!w->advanced) {
        add_json(w, text, len);
        return;
    }
    int r = brood_value_parse(text, len, &value, &w->error_at);
    if (r < 0) {
        brood__writer_fail(w, r);
        return;
    }
    copy_node(w, value.document, value.node);
    brood_value_done(&value);
}
