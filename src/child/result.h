/* Making a brood_result: from what was collected and how the child ended, with a sentence about it. */
#ifndef BROOD_CHILD_RESULT_H
#define BROOD_CHILD_RESULT_H

#include "child/collector.h"

#include <brood/child.h>

/* Its output is not waited for to its end, since somebody else still holds it. */
typedef struct brood__cut {
    bool is;
    pid_t holder;
    brood_reason stopped; /* the child was well, and then that came; UNKNOWN: nothing but time did */
} brood__cut;

/* A pipe that is not read on. The first one counts. */
void brood__cut_pipe(brood__cut *cut, int host_end, brood_reason stopped);
/* The child has ended, and what is left is stopped: a pipe of it, which somebody may hold. */
void brood__cut_if_held(brood__cut *cut, int host_end, brood_reason stopped);

/* All that goes into a result. */
typedef struct brood__ending {
    brood_exit exit;
    char **command;               /* quoted; the result's to keep */
    const brood_failure *failure; /* NOT_STARTED: why; else NULL */
    brood__collector *collector;  /* its bytes go over to the result; may be NULL */
    brood__cut cut;
    uint64_t asked_us, started_us, now_us; /* started_us 0: never */
    uint64_t timeout_ms, idle_timeout_ms;
    brood_limits limits;
    brood_limited memory_limited;
    brood_guarantee guarantee;
} brood__ending;

#define BROOD__NO_MEMORY_FOR_RESULT "there is no memory to describe this result"

/* How it ended and no more, where there is nothing else. The texts are static ones. */
brood_result brood__result_bare(const brood_exit *exit, const char *error_name, const char *message);

/* Never fails: without memory the texts are short, static ones. */
void brood__result_make(const brood__ending *ending, brood_result *ret_result);

/* The words as a shell would read them, cut at a length that a line can bear; NULL without memory. brood__free it. */
char *brood__command_text(const char *const *words);

#endif
