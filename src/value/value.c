/*
 * The view: walks a document's nodes. Looking for a member begins behind the one found last, which makes the usual way
 * through a message one pass; where that was is the only thing that looking changes.
 */
#include "value/document.h"
#include "value/json.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const brood_value missing;

/* What an array that is mostly holes has at each of them. */
static brood__document hole = {.nodes = &(brood__node){.type = BROOD__HOLE}, .count = 1};

/* What a reference refers to, or the node itself. */
static const brood__node *node_of(brood_value value) {
    const brood__node *node = &value.document->nodes[value.node];
    return node->type == BROOD__REFERENCE ? &value.document->nodes[node->target] : node;
}

static brood_value value_at(brood__document *document, uint32_t node) {
    const brood__node *at = &document->nodes[node];
    return (brood_value){document, at->type == BROOD__REFERENCE ? at->target : node};
}

brood_type brood_value_type(brood_value value) {
    if (!value.document)
        return BROOD_MISSING;
    const brood__node *node = node_of(value);
    return node->type == BROOD__HOLE ? BROOD_UNDEFINED : (brood_type)node->type;
}

const char *brood_type_text(brood_type type) {
    static const char *const texts[] = {
        [BROOD_MISSING] = "missing", [BROOD_UNDEFINED] = "undefined", [BROOD_NULL] = "null",     [BROOD_BOOL] = "bool",
        [BROOD_NUMBER] = "number",   [BROOD_BIGINT] = "bigint",       [BROOD_STRING] = "string", [BROOD_DATE] = "date",
        [BROOD_BYTES] = "bytes",     [BROOD_ARRAY] = "array",         [BROOD_OBJECT] = "object", [BROOD_MAP] = "map",
        [BROOD_SET] = "set",         [BROOD_REGEXP] = "regexp",       [BROOD_ERROR] = "error"};
    return (size_t)type < sizeof texts / sizeof *texts ? texts[type] : "unknown";
}

size_t brood_value_count(brood_value value) {
    return brood__type_contains(brood_value_type(value)) ? node_of(value)->count : 0;
}

/* --- members and elements --- */

/* What lies between the members' names: an array has them behind its elements, a set has none. */
static bool has_names(const brood__node *node) {
    return node->type != BROOD_SET && (node->type != BROOD_ARRAY || node->flags & BROOD__SPARSE);
}

/* The first node behind the elements of an array that is not sparse. */
static uint32_t skip_elements(const brood__document *document, uint32_t array) {
    uint32_t at = array + 1, count = document->nodes[array].count;
    if (document->nodes[array].size == 1 + count)
        return at + count;
    while (count-- > 0)
        at = brood__node_next(document, at);
    return at;
}

static bool is_named(const brood__document *document, uint32_t name, const char *text, size_t len) {
    const brood__node *node = &document->nodes[name];
    return node->type == BROOD_STRING && node->size == len && memcmp(node->text, text, len) == 0;
}

/* The name in [from, to), 0 if it is not there. */
static uint32_t find_name(const brood__document *document, uint32_t from, uint32_t to, const char *text, size_t len) {
    for (uint32_t name = from; name < to; name = brood__node_next(document, name + 1))
        if (is_named(document, name, text, len))
            return name;
    return 0;
}

static brood_value get(brood_value value, const char *text, size_t len) {
    brood__document *document = value.document;
    uint32_t container = (uint32_t)(node_of(value) - document->nodes),
             end = container + document->nodes[container].size;
    uint32_t first = container + 1, behind = first;
    if (!has_names(&document->nodes[container]))
        first = behind = document->nodes[container].type == BROOD_SET ? end : skip_elements(document, container);
    else if (document->near.owner == container + 1)
        behind = document->near.node;
    uint32_t name = find_name(document, behind, end, text, len);
    if (!name)
        name = find_name(document, first, behind, text, len);
    if (!name)
        return missing;
    if (first == container + 1) {
        document->near.owner = container + 1;
        document->near.index = UINT32_MAX; /* not counted */
        document->near.node = brood__node_next(document, name + 1);
    }
    return value_at(document, name + 1);
}

brood_value brood_value_get(brood_value value, const char *key) {
    return brood__type_contains(brood_value_type(value)) ? get(value, key, strlen(key)) : missing;
}

/* "7" for a number that names an element. */
static bool is_index(const brood__node *name, size_t *ret_index) {
    uint64_t index = 0;
    if (name->size == 0 || name->size > 10 || (name->text[0] == '0' && name->size > 1))
        return false;
    for (uint32_t i = 0; i < name->size; i++) {
        if (name->text[i] < '0' || name->text[i] > '9')
            return false;
        index = index * 10 + (uint64_t)(name->text[i] - '0');
    }
    *ret_index = (size_t)index;
    return index < UINT32_MAX;
}

/* An array of holes mostly: its elements are members whose name is a number; behind them all its other members. */
static brood_value at_sparse(brood_value value, size_t index, brood_value *ret_key) {
    brood__document *document = value.document;
    const brood__node *array = node_of(value);
    uint32_t name = (uint32_t)(array - document->nodes) + 1, end = name - 1 + array->size;
    size_t others = 0, element;
    for (; name < end; name = brood__node_next(document, name + 1)) {
        if (is_index(&document->nodes[name], &element) && element < array->count) {
            if (element == index)
                return value_at(document, name + 1);
            continue;
        }
        if (index >= array->count && others++ == index - array->count) {
            *ret_key = (brood_value){document, name};
            return value_at(document, name + 1);
        }
    }
    return index < array->count ? (brood_value){&hole, 0} : missing;
}

brood_value brood_value_at(brood_value value, size_t index, brood_value *ret_key) {
    brood_value ignored;
    ret_key = ret_key ? ret_key : &ignored;
    *ret_key = missing;
    if (!brood__type_contains(brood_value_type(value)))
        return missing;
    brood__document *document = value.document;
    const brood__node *node = node_of(value);
    uint32_t container = (uint32_t)(node - document->nodes), end = container + node->size;
    if (node->flags & BROOD__SPARSE)
        return at_sparse(value, index, ret_key);
    bool named = has_names(node);
    if (index < node->count && !named && node->size == 1 + node->count)
        return value_at(document, container + 1 + (uint32_t)index);
    size_t i = 0;
    uint32_t at = container + 1;
    if (document->near.owner == container + 1 && document->near.index <= index) {
        i = document->near.index;
        at = document->near.node;
    }
    for (; at < end; i++) {
        named = named || i >= node->count; /* an array's members behind its elements */
        if (i == index)
            break;
        at = brood__node_next(document, at + named);
    }
    if (at >= end)
        return missing;
    document->near.owner = container + 1;
    document->near.index = (uint32_t)i;
    document->near.node = at;
    if (named)
        *ret_key = value_at(document, at);
    return value_at(document, at + named);
}

/* --- what a value holds --- */

/* 0, or why it is not of that type. */
static int expect(brood_value value, brood_type type) {
    brood_type is = brood_value_type(value);
    return is == type ? 0 : is == BROOD_MISSING ? -ENOENT : -EPROTOTYPE;
}

int brood_value_double(brood_value value, double *ret_number) {
    if (expect(value, BROOD_NUMBER) < 0 && expect(value, BROOD_DATE) < 0)
        return expect(value, BROOD_NUMBER);
    *ret_number = node_of(value)->number;
    return 0;
}

/* The magnitude of a bigint that fits 64 bits. */
static int small_bigint(brood_value value, bool *ret_negative, uint64_t *ret_magnitude) {
    uint64_t word = 0;
    int words = brood_value_bigint(value, ret_negative, &word, 1);
    if (words < 0)
        return words;
    if (words > 1)
        return -ERANGE;
    *ret_magnitude = word;
    return 0;
}

int brood_value_int64(brood_value value, int64_t *ret_number) {
    double number;
    if (brood_value_double(value, &number) == 0) {
        /* not a comparison with INT64_MAX, which no double is; NaN fails it too */
        if (!(number >= -0x1p63 && number < 0x1p63) || (double)(int64_t)number != number)
            return -ERANGE;
        *ret_number = (int64_t)number;
        return 0;
    }
    bool negative;
    uint64_t magnitude;
    int r = small_bigint(value, &negative, &magnitude);
    if (r < 0)
        return r;
    if (magnitude > (uint64_t)INT64_MAX + negative)
        return -ERANGE;
    *ret_number = negative ? (int64_t)-magnitude : (int64_t)magnitude;
    return 0;
}

int brood_value_uint64(brood_value value, uint64_t *ret_number) {
    double number;
    if (brood_value_double(value, &number) == 0) {
        if (!(number >= 0 && number < 0x1p64) || (double)(uint64_t)number != number)
            return -ERANGE;
        *ret_number = (uint64_t)number;
        return 0;
    }
    bool negative;
    uint64_t magnitude;
    int r = small_bigint(value, &negative, &magnitude);
    if (r < 0)
        return r;
    if (negative)
        return -ERANGE;
    *ret_number = magnitude;
    return 0;
}

int brood_value_bool(brood_value value, bool *ret_bool) {
    int r = expect(value, BROOD_BOOL);
    if (r == 0)
        *ret_bool = node_of(value)->yes;
    return r;
}

int brood_value_string(brood_value value, const char **ret_text, size_t *ret_len) {
    int r = expect(value, BROOD_STRING);
    if (r < 0)
        return r;
    const brood__node *node = node_of(value);
    if (!ret_len && memchr(node->text, 0, node->size))
        return -EILSEQ;
    *ret_text = node->text;
    if (ret_len)
        *ret_len = node->size;
    return 0;
}

int brood_value_bytes(brood_value value, const void **ret_bytes, size_t *ret_len) {
    int r = expect(value, BROOD_BYTES);
    if (r < 0)
        return r;
    *ret_bytes = node_of(value)->text;
    *ret_len = node_of(value)->size;
    return 0;
}

int brood_value_bigint(brood_value value, bool *ret_negative, uint64_t *ret_words, size_t max_words) {
    int r = expect(value, BROOD_BIGINT);
    if (r < 0)
        return r;
    const brood__node *node = node_of(value);
    size_t words = (node->size + 7) / 8;
    for (size_t i = 0; i < words && i < max_words; i++) {
        ret_words[i] = 0;
        for (size_t byte = i * 8; byte < i * 8 + 8 && byte < node->size; byte++)
            ret_words[i] |= (uint64_t)(uint8_t)node->text[byte] << byte % 8 * 8;
    }
    if (ret_negative)
        *ret_negative = node->flags & BROOD__NEGATIVE;
    return (int)words;
}

brood_view brood_value_view(brood_value value) {
    return expect(value, BROOD_BYTES) == 0 ? (brood_view)node_of(value)->view : BROOD_ARRAY_BUFFER;
}

bool brood_value_is_boxed(brood_value value) {
    return value.document && node_of(value)->flags & BROOD__BOXED;
}

bool brood_value_is_same(brood_value a, brood_value b) {
    return a.document && a.document == b.document && node_of(a) == node_of(b);
}

/* --- values that stay --- */

static bool has_text(const brood__node *node) {
    return node->type == BROOD_STRING || node->type == BROOD_BIGINT ||
           (node->type == BROOD_BYTES && !(node->flags & BROOD__SHARED));
}

/* What is mapped is not copied. */
static int copy_shared(brood__document *copy, const brood__document *from, uint32_t first, uint32_t count) {
    copy->max_shared = from->shared_count;
    for (uint32_t i = 0; i < from->shared_count; i++) {
        uint32_t node = from->shared[i].node;
        brood__mapping *mapping = from->shared[i].mapping;
        if (node < first || node - first >= count)
            continue;
        int r = brood__document_share(copy, node - first, mapping);
        if (r < 0)
            return r;
        atomic_fetch_add(&mapping->refs, 1);
    }
    return 0;
}

/* One block: the document, its nodes, the texts. */
static brood__document *copy_nodes(const brood__document *from, uint32_t first, uint32_t count) {
    size_t bytes = sizeof(brood__document) + count * sizeof(brood__node);
    for (uint32_t i = first; i < first + count; i++)
        bytes += has_text(&from->nodes[i]) ? (size_t)from->nodes[i].size + 1 : 0;
    brood__document *copy = brood__alloc(bytes);
    if (!copy)
        return NULL;
    copy->nodes = (brood__node *)(copy + 1);
    copy->count = copy->capacity = count;
    memcpy(copy->nodes, from->nodes + first, count * sizeof *copy->nodes);
    char *text = (char *)(copy->nodes + count);
    for (uint32_t i = 0; i < count; i++) {
        brood__node *node = &copy->nodes[i];
        if (!has_text(node))
            continue;
        node->text = memcpy(text, node->text, node->size);
        text += (size_t)node->size + 1;
    }
    return copy;
}

int brood_value_take(brood_value value, brood_value *ret_copy) {
    if (!value.document)
        return -ENOENT;
    const brood__document *from = value.document;
    uint32_t node = (uint32_t)(node_of(value) - from->nodes);
    uint32_t first = node, count = brood__node_next(from, node) - node;
    if (from->referring) { /* anywhere */
        first = 0;
        count = from->count;
    }
    brood__document *copy = copy_nodes(from, first, count);
    if (!copy)
        return -ENOMEM;
    copy->taken = true;
    copy->referring = from->referring;
    if (copy_shared(copy, from, first, count) < 0) {
        brood_value_done(&(brood_value){copy, 0});
        return -ENOMEM;
    }
    *ret_copy = (brood_value){copy, node - first};
    return 0;
}

int brood_value_parse(const char *text, size_t len, brood_value *ret_value, size_t *ret_at) {
    size_t at = 0;
    if (len == BROOD_NUL)
        len = strlen(text);
    if (len >= UINT32_MAX)
        return -E2BIG;
    brood__document *document = brood__alloc(sizeof *document);
    if (!document)
        return -ENOMEM;
    char *copy = brood__arena_alloc(&document->texts, len + BROOD__JSON_SLACK);
    int r = -ENOMEM;
    if (copy)
        r = brood__json_read(document, memcpy(copy, text, len), len, BROOD__MAX_DEPTH, &at);
    if (r < 0) {
        brood__document_done(document);
        brood__free(document);
        if (r == -EILSEQ && ret_at)
            *ret_at = at;
        return r;
    }
    document->taken = true;
    *ret_value = (brood_value){document, 0};
    return 0;
}

void brood_value_done(brood_value *value) {
    brood__document *document = value->document;
    *value = missing;
    if (!document || !document->taken)
        return;
    if (document->nodes == (brood__node *)(document + 1))
        document->nodes = NULL; /* in the same block */
    brood__document_done(document);
    brood__free(document);
}
