/*
 * Between clone and exec. Private to process/: start.c fills a launch, child.c runs it in the new process, whose memory
 * is the host's own.
 */
#ifndef BROOD_PROCESS_CHILD_H
#define BROOD_PROCESS_CHILD_H

#include "process/plan.h"

#include <limits.h>

/* What a child that could not exec leaves behind. */
typedef struct brood__report {
    int step;  /* brood_step; 0: all went well */
    int error; /* a positive errno */
    int index; /* which slot or limit */
} brood__report;

typedef struct brood__launch {
    brood__plan *plan;
    char *const *envp;
    int highest_slot;
    int cwd_fd;
    int report_fd;         /* -1: memory is shared, `report` is enough */
    volatile bool entered; /* the child was here: memory is shared */
    brood__report report;
    char path[PATH_MAX + 1]; /* for the search */
} brood__launch;

/* clone(2)'s function; `launch` is a brood__launch. Never returns. */
int brood__child_main(void *launch);

#endif
