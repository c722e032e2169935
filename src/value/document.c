/*
 * The document: its memory, and names that an object has twice. Who sends may choose the names, so that finding them
 * takes a hash with a secret in it; dropping some is rare, and may cost more.
 */
#include "value/document.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_NODES 65536 /* 1 MiB; more goes back after the message that needed it */
#define FIRST_NODES 64
#define FEW_NAMES 64
#define PAIRED_NAMES 12

int brood__document_share(brood__document *document, uint32_t node, brood__mapping *mapping) {
    uint32_t count = document->shared_count;
    if (count >= document->max_shared)
        return -EMSGSIZE;
    if (!document->shared) {
        document->shared = brood__alloc(document->max_shared * sizeof *document->shared);
        if (!document->shared)
            return -ENOMEM;
    }
    document->shared[count].node = node;
    document->shared[count].mapping = mapping;
    document->shared_count++;
    return 0;
}

uint64_t brood__document_shared(const brood__document *document) {
    uint64_t len = 0;
    for (uint32_t i = 0; i < document->shared_count; i++)
        len += document->nodes[document->shared[i].node].size;
    return len;
}

int brood__document_map(brood__document *document, uint32_t i, int fd) {
    brood__node *node = &document->nodes[document->shared[i].node];
    int r = brood__mapping_new(fd, node->size, &document->shared[i].mapping);
    if (r == 0)
        node->text = document->shared[i].mapping->bytes;
    return r;
}

static void release_shared(brood__document *document) {
    while (document->shared_count > 0) {
        brood__mapping *mapping = document->shared[--document->shared_count].mapping;
        if (mapping)
            brood__mapping_release(mapping);
    }
}

void brood__document_reset(brood__document *document) {
    release_shared(document);
    if (document->capacity > KEPT_NODES) {
        brood__free(document->nodes);
        document->nodes = NULL;
        document->capacity = 0;
    }
    if (document->texts.chunk)
        brood__arena_done(&document->texts);
    document->count = document->object_count = 0;
    document->referring = false;
    document->root_lacks = 0;
    document->near.owner = 0;
}

void brood__document_done(brood__document *document) {
    release_shared(document);
    brood__free(document->shared);
    brood__free(document->nodes);
    brood__free(document->objects);
    brood__arena_done(&document->texts);
    *document = (brood__document){0};
}

brood__node *brood__document_grow(brood__document *document) {
    uint32_t most = document->max_nodes ? document->max_nodes : UINT32_MAX / sizeof(brood__node);
    if (document->capacity >= most)
        return NULL;
    uint32_t capacity = document->capacity ? document->capacity * 2 : FIRST_NODES;
    if (capacity > most)
        capacity = most;
    brood__node *nodes = brood__resize(document->nodes, capacity * sizeof *nodes);
    if (!nodes)
        return NULL;
    document->nodes = nodes;
    document->capacity = capacity;
    return &document->nodes[document->count++];
}

double brood__clip_time(double ms) {
    return ms >= -8.64e15 && ms <= 8.64e15 ? (double)(int64_t)ms : (double)NAN;
}

unsigned brood__element_size(brood_view view) {
    static const uint8_t sizes[] = {[BROOD_INT16_ARRAY] = 2,    [BROOD_UINT16_ARRAY] = 2,    [BROOD_INT32_ARRAY] = 4,
                                    [BROOD_UINT32_ARRAY] = 4,   [BROOD_FLOAT32_ARRAY] = 4,   [BROOD_FLOAT64_ARRAY] = 8,
                                    [BROOD_BIGINT64_ARRAY] = 8, [BROOD_BIGUINT64_ARRAY] = 8, [BROOD_FLOAT16_ARRAY] = 2};
    return sizes[view] ? sizes[view] : 1;
}

/* --- names --- */

static uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
    return hash ^ hash >> 32;
}

static uint32_t hash_name(const brood__name *name) {
    static const char secret; /* where it lies is random */
    uint64_t hash = mix((uintptr_t)&secret, name->len), word = 0;
    size_t at = 0;
    for (; name->len - at >= 8; at += 8) {
        memcpy(&word, name->text + at, 8);
        hash = mix(hash, word);
    }
    word = 0;
    for (; at < name->len; at++)
        word = word << 8 | (uint8_t)name->text[at];
    hash = mix(hash, word);
    return (uint32_t)hash;
}

static bool same_name(const brood__name *a, const brood__name *b) {
    return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

int brood__names_differ(const brood__name *names, uint32_t count) {
    uint32_t few[2 * FEW_NAMES], *slots = few, slot_count = 4;
    if (count < 2)
        return 1;
    while (slot_count < 2 * (uint64_t)count)
        slot_count *= 2;
    if (count <= FEW_NAMES)
        memset(few, 0, slot_count * sizeof *few);
    else
        slots = brood__alloc(slot_count * sizeof *slots);
    if (!slots)
        return -ENOMEM;
    bool differ = true;
    for (uint32_t i = 0; differ && i < count; i++) {
        uint32_t slot = hash_name(&names[i]) & (slot_count - 1);
        for (; differ && slots[slot]; slot = (slot + 1) & (slot_count - 1))
            differ = !same_name(&names[slots[slot] - 1], &names[i]);
        slots[slot] = i + 1;
    }
    if (slots != few)
        brood__free(slots);
    return differ;
}

/* Equal for equal names: their ends, in one word. */
static uint64_t sign_name(const char *text, size_t len) {
    if (len >= 8) {
        uint64_t head, tail;
        memcpy(&head, text, sizeof head);
        memcpy(&tail, text + len - sizeof tail, sizeof tail);
        return head ^ (tail << 32 | tail >> 32);
    }
    if (len >= 4) {
        uint32_t head, tail;
        memcpy(&head, text, sizeof head);
        memcpy(&tail, text + len - sizeof tail, sizeof tail);
        return (uint64_t)head << 32 | tail;
    }
    return len ? (uint64_t)(uint8_t)text[0] << 16 | (uint64_t)(uint8_t)text[len / 2] << 8 | (uint8_t)text[len - 1] : 0;
}

/* Most objects have so few that comparing each with each is soonest done. */
static bool few_names_differ(const brood__document *document, uint32_t first, uint32_t count) {
    uint64_t signs[PAIRED_NAMES];
    const brood__node *names[PAIRED_NAMES];
    for (uint32_t i = 0, at = first; i < count; i++) {
        const brood__node *name = names[i] = &document->nodes[at];
        signs[i] = sign_name(name->text, name->size);
        for (uint32_t j = 0; j < i; j++)
            if (signs[j] == signs[i] && names[j]->size == name->size &&
                memcmp(names[j]->text, name->text, name->size) == 0)
                return false;
        at = brood__node_next(document, at + 1);
    }
    return true;
}

int brood__document_names_differ(const brood__document *document, uint32_t first, uint32_t count) {
    brood__name few[FEW_NAMES], *names = few;
    if (count <= PAIRED_NAMES)
        return few_names_differ(document, first, count);
    if (count > FEW_NAMES)
        names = brood__alloc(count * sizeof *names);
    if (!names)
        return -ENOMEM;
    uint32_t i = 0, at = first;
    do {
        names[i] = (brood__name){document->nodes[at].text, document->nodes[at].size};
        at = brood__node_next(document, at + 1);
    } while (++i < count);
    int differ = brood__names_differ(names, count);
    if (names != few)
        brood__free(names);
    return differ;
}

typedef struct member {
    brood__name name;
    uint32_t node;  /* where the name is */
    uint32_t order; /* in the object */
} member;

static int compare_members(const void *left, const void *right) {
    const member *a = left, *b = right;
    if (a->name.len != b->name.len)
        return a->name.len < b->name.len ? -1 : 1;
    int order = memcmp(a->name.text, b->name.text, a->name.len);
    if (order != 0)
        return order;
    return a->order < b->order ? -1 : 1;
}

/* Write to each member whose value it takes: its own, a later one's, or none (0): it is dropped. */
static void choose_values(member *sorted, uint32_t count, uint32_t *ret_values) {
    for (uint32_t i = 0, end; i < count; i = end) {
        for (end = i + 1; end < count && same_name(&sorted[i].name, &sorted[end].name); end++)
            ret_values[sorted[end].order] = 0;
        ret_values[sorted[i].order] = sorted[end - 1].node + 1;
    }
}

static int rebuild(brood__document *document, uint32_t object) {
    uint32_t count = document->nodes[object].count, size = document->nodes[object].size, kept = 0, at = 1;
    int r = -ENOMEM;
    member *members = brood__alloc(count * sizeof *members);
    uint32_t *values = brood__alloc(count * sizeof *values);
    brood__node *nodes = brood__alloc(size * sizeof *nodes);
    if (!members || !values || !nodes)
        goto out;
    for (uint32_t i = 0, name = object + 1; i < count; i++) {
        const brood__node *node = &document->nodes[name];
        members[i] = (member){.name = {node->text, node->size}, .node = name, .order = i};
        name = brood__node_next(document, name + 1);
    }
    qsort(members, count, sizeof *members, compare_members);
    choose_values(members, count, values);
    nodes[0] = document->nodes[object];
    for (uint32_t i = 0, name = object + 1; i < count; i++) {
        uint32_t next = brood__node_next(document, name + 1);
        if (values[i]) {
            uint32_t length = brood__node_next(document, values[i]) - values[i];
            nodes[at++] = document->nodes[name];
            memcpy(&nodes[at], &document->nodes[values[i]], length * sizeof *nodes);
            at += length;
            kept++;
        }
        name = next;
    }
    nodes[0].count = kept;
    nodes[0].size = at;
    memcpy(&document->nodes[object], nodes, at * sizeof *nodes);
    document->count = object + at;
    r = 0;
out:
    brood__free(members);
    brood__free(values);
    brood__free(nodes);
    return r;
}

int brood__document_drop_doubles(brood__document *document, uint32_t object) {
    int differ = brood__document_names_differ(document, object + 1, document->nodes[object].count);
    return differ == 0 ? rebuild(document, object) : differ < 0 ? differ : 0;
}
