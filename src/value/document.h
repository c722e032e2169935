/*
 * A message that has been read: a flat array of nodes in the order of the text, each container before what is in it,
 * texts in place in the bytes that it was read from. Readers (json.c, clone.c) append to it, the view (value.c) walks
 * it. One document serves message after message without giving back its memory.
 */
#ifndef BROOD_VALUE_DOCUMENT_H
#define BROOD_VALUE_DOCUMENT_H

#include "base/memory.h"
#include "value/shared.h"

#include <brood/value.h>

#define BROOD__MAX_DEPTH 1000 /* that is read, and that is written: of more even Node would die */

/* What brood_type does not name: a hole in an array, and another node over again. */
enum { BROOD__HOLE = BROOD_MISSING, BROOD__REFERENCE = BROOD_ERROR + 1 };

enum {
    BROOD__BOXED = 1,
    BROOD__NEGATIVE = 2,  /* a bigint */
    BROOD__SPARSE = 4,    /* an array: its elements are members with a number for a name */
    BROOD__RESIZABLE = 8, /* an ArrayBuffer */
    BROOD__VIEWS = 16,    /* bytes: the node behind is the ArrayBuffer that they are part of */
    BROOD__SHARED = 32    /* bytes: mapped */
};

typedef struct brood__node {
    uint8_t type; /* a brood_type, or one of the above */
    uint8_t flags;
    uint8_t view;  /* bytes: a brood_view */
    bool doubtful; /* while it is being read by json.c: it may have a name twice */
    union {
        uint32_t size;  /* a container: nodes of it, with itself; a string, bytes, a bigint: how many bytes */
        uint32_t names; /* while it is being read by json.c: the brood__name_bit of each */
    };
    union {
        double number;    /* a number, a date */
        bool yes;         /* a bool */
        const char *text; /* a string, ended by a NUL; bytes; a bigint's digits, the lowest first */
        uint32_t target;  /* a reference */
        struct {
            uint32_t count;  /* elements, members, entries */
            uint32_t parent; /* while it is being read by json.c: the container around it */
        };
    };
} brood__node;

typedef struct brood__document {
    brood__node *nodes;
    uint32_t count, capacity;
    uint32_t max_nodes;  /* a ceiling; 0: none but memory */
    bool taken;          /* lives on the heap, by brood_value_take or brood_value_parse */
    bool referring;      /* has references */
    uint32_t root_lacks; /* the brood__name_bit of what the first node has no name of; 0: not known */
    uint32_t *objects;   /* clone.c: the node of each object that may be referred to */
    uint32_t object_count, object_capacity;
    brood__arena texts; /* what could not stay in place */
    struct {
        uint32_t node;
        brood__mapping *mapping; /* NULL: not yet */
    } * shared;                  /* the bytes that are mapped */
    uint32_t shared_count;
    uint32_t max_shared; /* so many may be */
    struct {
        uint32_t owner, index, node;
    } near; /* where the view was last: in the container before `owner`, unless that is 0 */
} brood__document;

/* One of 32, the same for the same name: what tells in a moment that an object has it not, or not twice. */
static inline uint32_t brood__name_bit(const char *text, size_t len) {
    unsigned first = (uint8_t)text[0], last = (uint8_t)text[len - (len > 0)];
    return UINT32_C(1) << (first + 5 * last + 11 * len) % 32;
}

/* Empty, with its memory kept. */
void brood__document_reset(brood__document *document);
void brood__document_done(brood__document *document);
/* Room for one more node, which the caller fills; NULL: no memory, or the ceiling. Others may move. */
brood__node *brood__document_grow(brood__document *document);

static inline brood__node *brood__document_add(brood__document *document) {
    if (document->count == document->capacity)
        return brood__document_grow(document);
    return &document->nodes[document->count++];
}

/* The bytes of a node are mapped, or will be: 0, -EMSGSIZE (more than may be), or -ENOMEM. Takes the mapping on success. */
int brood__document_share(brood__document *document, uint32_t node, brood__mapping *mapping);
/* How many bytes that is. */
uint64_t brood__document_shared(const brood__document *document);
/* The bytes number `i` are those of that file. Takes nothing. */
int brood__document_map(brood__document *document, uint32_t i, int fd);

static inline bool brood__type_contains(unsigned type) {
    return type >= BROOD_ARRAY && type <= BROOD_ERROR;
}

/* The node behind it and all that is in it. */
static inline uint32_t brood__node_next(const brood__document *document, uint32_t node) {
    const brood__node *at = &document->nodes[node];
    if (brood__type_contains(at->type))
        return node + at->size;
    return node + 1 + (at->flags / BROOD__VIEWS & 1);
}

/* A date's milliseconds as JavaScript keeps them: whole, and NaN beyond what it can count (ECMA-262, TimeClip). */
double brood__clip_time(double ms);

/* In bytes; 1 for what has no elements. */
unsigned brood__element_size(brood_view view);

/*
 * Names that an object (whose nodes are complete, and the last of the document) has twice: the first one keeps its
 * place and takes the last one's value, as in JSON.parse. Returns 0, or -ENOMEM.
 */
int brood__document_drop_doubles(brood__document *document, uint32_t object);

/* Whether `count` names, the first at that node, a value behind each, all differ: 1 or 0; or -ENOMEM. */
int brood__document_names_differ(const brood__document *document, uint32_t first, uint32_t count);

typedef struct brood__name {
    const char *text;
    size_t len;
} brood__name;

/* The same of any names. */
int brood__names_differ(const brood__name *names, uint32_t count);

#endif
