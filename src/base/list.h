/* Doubly linked lists whose nodes are members of what they link: no allocation, removal without a search. */
#ifndef BROOD_BASE_LIST_H
#define BROOD_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

typedef struct brood__list {
    struct brood__list *next, *prev;
} brood__list;

/* The struct that a member is in. */
#define BROOD__OUTER(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void brood__list_init(brood__list *list) {
    list->next = list->prev = list;
}

static inline bool brood__list_empty(const brood__list *list) {
    return list->next == list;
}

static inline void brood__list_append(brood__list *list, brood__list *node) {
    node->prev = list->prev;
    node->next = list;
    list->prev->next = node;
    list->prev = node;
}

/* Harmless on a node that is in no list, if it was initialised. */
static inline void brood__list_remove(brood__list *node) {
    node->prev->next = node->next;
    node->next->prev = node->prev;
    brood__list_init(node);
}

/* Move everything from one list to the end of another. */
static inline void brood__list_take(brood__list *to, brood__list *from) {
    while (!brood__list_empty(from)) {
        brood__list *node = from->next;
        brood__list_remove(node);
        brood__list_append(to, node);
    }
}

#endif
