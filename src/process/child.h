/*
 * Between clone and exec: start.c, or a holder that starts for it, fills a launch; child.c runs it in the new process,
 * whose memory is that of whoever starts it.
 */
#ifndef BROOD_PROCESS_CHILD_H
#define BROOD_PROCESS_CHILD_H

#include "process/plan.h"

#include <limits.h>
#include <stdalign.h>

#define BROOD__AHEAD_STACK 8192 /* child.c needs a few hundred bytes; the rest is for the kernel's habits */

typedef struct brood__launch {
    brood__plan *plan;
    char *const *envp;
    int highest_slot;
    int cwd_fd;
    int parent;            /* with dies_with_parent: its pid */
    int report_fd;         /* -1: memory is shared, `report` is enough */
    const int *held;       /* ready for exec it waits until the kernel has cleared this; NULL: it does not */
    volatile bool entered; /* the child was here: memory is shared */
    brood__report report;
    char path[PATH_MAX + 1]; /* for the search */
} brood__launch;

/*
 * A start that nobody waits for. All of it, and the plan, stays as it is until the process has left this memory, by its
 * exec or its end.
 */
typedef struct brood__ahead {
    brood__launch launch; /* its report says whether the program runs, once the process has left */
    bool under_way;       /* it came to that; else it was waited for */
    int is_here;          /* cleared by the kernel when it leaves; one that dumps core ends without */
    alignas(16) char stack[BROOD__AHEAD_STACK];
} brood__ahead;

/* Its exec was seen, or its failure. */
static inline bool brood__ahead_has_left(const brood__ahead *ahead) {
    return __atomic_load_n(&ahead->is_here, __ATOMIC_ACQUIRE) == 0;
}

/* For a child whose memory is shared and that waits for nobody. `path` stays as it is: it is large, and the child's. */
static inline void brood__launch_prepare(brood__launch *l, brood__plan *plan, char *const *envp) {
    l->plan = plan;
    l->envp = envp;
    l->highest_slot = plan->slots[plan->slot_count - 1].slot;
    l->report_fd = -1;
    l->held = NULL;
    l->entered = false;
    l->report = (brood__report){0};
}

/* clone(2)'s function; `launch` is a brood__launch. Never returns. */
int brood__child_main(void *launch);

#endif
