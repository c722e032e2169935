/*
 * Between clone and exec: start.c, or a holder that starts for it, fills a launch; child.c runs it in the new process,
 * whose memory is that of whoever starts it.
 */
#ifndef BROOD_PROCESS_CHILD_H
#define BROOD_PROCESS_CHILD_H

#include "process/plan.h"

#include <limits.h>

#define BROOD__CHILD_STACK 8192 /* child.c needs a few hundred bytes; the rest is for the kernel's habits */

typedef struct brood__launch {
    brood__plan *plan;
    char *const *envp;
    int highest_slot;
    int cwd_fd;
    int parent;            /* with dies_with_parent: its pid */
    int report_fd;         /* -1: memory is shared, `report` is enough */
    bool closes_at_once;   /* what no slot names, and not by exec */
    const int *held;       /* ready for exec it waits until the kernel has cleared this; NULL: it does not */
    volatile bool entered; /* the child was here: memory is shared */
    brood__report report;
    char path[PATH_MAX + 1]; /* for the search */
} brood__launch;

/* For a child whose memory is shared and that waits for nobody. `path` stays as it is: it is large, and the child's. */
static inline void brood__launch_prepare(brood__launch *l, brood__plan *plan, char *const *envp) {
    l->plan = plan;
    l->envp = envp;
    l->highest_slot = plan->slots[plan->slot_count - 1].slot;
    l->report_fd = -1;
    l->held = NULL;
    l->closes_at_once = false;
    l->entered = false;
    l->report = (brood__report){0};
}

/* clone(2)'s function; `launch` is a brood__launch. Never returns. */
int brood__child_main(void *launch);

#endif
