/*
 * A plan as one block of bytes, for a process that starts it on the host's behalf: pointers are offsets until they are
 * unpacked. Both ends are built from this source, so structs need no format of their own.
 */
#ifndef BROOD_PROCESS_PACK_H
#define BROOD_PROCESS_PACK_H

#include "process/plan.h"

#include <stdint.h>

/* At the start of the block. */
typedef struct brood__packed {
    brood__plan plan; /* no slot has a source: descriptors travel by themselves, in the slots' order */
    char **envp;
} brood__packed;

/* The block, on the heap, or NULL: no memory. `envp` is what the plan says, or the host's own. */
brood__packed *brood__plan_pack(const brood__plan *plan, char *const *envp, size_t *ret_size);

/* Where the block has come to lie. Inline, since whoever unpacks has no library. */
static inline void *brood__unpack_at(void *block, const void *offset) {
    return offset ? (char *)block + (uintptr_t)offset : NULL;
}

static inline char **brood__unpack_list(void *block, char **list) {
    list = brood__unpack_at(block, list);
    for (char **text = list; *text; text++)
        *text = brood__unpack_at(block, *text);
    return list;
}

static inline void brood__unpack(brood__packed *packed) {
    brood__plan *plan = &packed->plan;
    packed->envp = brood__unpack_list(packed, packed->envp);
    plan->envp = packed->envp;
    plan->argv = brood__unpack_list(packed, plan->argv);
    plan->file = brood__unpack_at(packed, plan->file);
    plan->search = brood__unpack_at(packed, plan->search);
    plan->cwd = brood__unpack_at(packed, plan->cwd);
    plan->disks = brood__unpack_at(packed, plan->disks);
    plan->slots = brood__unpack_at(packed, plan->slots);
    plan->limits = brood__unpack_at(packed, plan->limits);
    plan->groups = brood__unpack_at(packed, plan->groups);
    plan->shell_argv = brood__unpack_at(packed, plan->shell_argv);
    plan->shell_argv[0] = brood__unpack_at(packed, plan->shell_argv[0]);
    for (size_t i = 1; plan->argv[0] && plan->argv[i]; i++) /* [1] is free */
        plan->shell_argv[i + 1] = plan->argv[i];
}

#endif
