/*
 * Packing a plan: once to count, once to copy, by the same code. What only the host needs of it (arena, paths and ends
 * of slots) is left out.
 */
#include "process/pack.h"

#include <string.h>

typedef struct packer {
    char *block; /* NULL: only count */
    size_t at, size;
} packer;

static void *inside(const packer *p, const void *offset) {
    return p->block + (uintptr_t)offset;
}

/* A copy of the bytes, or zeros for NULL; the answer is its offset. */
static void *put(packer *p, const void *bytes, size_t size) {
    size_t at = p->at;
    p->at = (at + size + 15) / 16 * 16;
    if (p->block && p->at > p->size) /* the host's environment has grown since it was counted */
        p->block = NULL;
    if (p->block && bytes && size)
        memcpy(p->block + at, bytes, size);
    return (void *)(uintptr_t)at; /* never 0: the block begins with the struct */
}

static char *put_text(packer *p, const char *text) {
    return text ? put(p, text, strlen(text) + 1) : NULL;
}

static char **put_list(packer *p, char *const *list) {
    size_t count = 0;
    while (list[count])
        count++;
    char **offset = put(p, list, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        char *text = put_text(p, list[i]);
        if (p->block)
            ((char **)inside(p, offset))[i] = text;
    }
    return offset;
}

/* "/bin/sh", free, and then the arguments, which unpacking fills in. */
static char **put_shell(packer *p, const brood__plan *plan) {
    size_t count = 0;
    while (plan->argv[count])
        count++;
    char **offset = put(p, NULL, (count + 2) * sizeof *plan->argv);
    char *shell = put_text(p, plan->shell_argv[0]);
    if (p->block)
        ((char **)inside(p, offset))[0] = shell;
    return offset;
}

static void put_slots(packer *p, brood__plan *plan) {
    const brood__plan_slot *slots = plan->slots;
    plan->slots = put(p, slots, plan->slot_count * sizeof *slots);
    for (size_t i = 0; p->block && i < plan->slot_count; i++) {
        brood__plan_slot *s = (brood__plan_slot *)inside(p, plan->slots) + i;
        *s = (brood__plan_slot){.slot = s->slot, .from = BROOD__FROM_FD, .source = -1, .host_end = -1};
    }
}

static void pack(packer *p, const brood__plan *plan, char *const *envp) {
    brood__packed packed = {.plan = *plan};
    brood__plan *copy = &packed.plan;
    put(p, NULL, sizeof packed);
    copy->memory = (brood__arena){0};
    packed.envp = put_list(p, envp);
    copy->argv = put_list(p, plan->argv);
    copy->shell_argv = put_shell(p, plan);
    copy->file = put_text(p, plan->file);
    copy->search = put_text(p, plan->search);
    copy->cwd = put_text(p, plan->cwd);
    copy->disks = put_text(p, plan->disks);
    put_slots(p, copy);
    copy->limits = put(p, plan->limits, plan->limit_count * sizeof *plan->limits);
    copy->groups = put(p, plan->groups, plan->group_count * sizeof *plan->groups);
    if (p->block)
        memcpy(p->block, &packed, sizeof packed);
}

brood__packed *brood__plan_pack(const brood__plan *plan, char *const *envp, size_t *ret_size) {
    packer p = {0};
    pack(&p, plan, envp);
    char *block = brood__alloc(p.at);
    if (!block)
        return NULL;
    p = (packer){.block = block, .size = p.at};
    pack(&p, plan, envp);
    if (!p.block) {
        brood__free(block);
        return NULL;
    }
    *ret_size = p.size;
    return (brood__packed *)(void *)block;
}
