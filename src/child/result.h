/* Making a brood_result: from what was collected and how the child ended, with a sentence about it. */
#ifndef BROOD_CHILD_RESULT_H
#define BROOD_CHILD_RESULT_H

#include "child/collector.h"

#include <brood/child.h>

/* How its output came to its end, if not by itself. */
typedef struct brood__cut {
    bool by_time;         /* it is not waited for any longer: somebody still holds it, */
    pid_t holder;         /* this one, as far as is known */
    brood_reason by_stop; /* what it had left running was stopped for this; UNKNOWN: it was not */
} brood__cut;

/* A pipe that is not read on. The first one counts. */
void brood__cut_by_time(brood__cut *cut, int host_end);
/* The child has ended, and what it has left running is about to be stopped: it may hold this pipe. */
void brood__cut_by_stop(brood__cut *cut, int host_end, brood_reason why);

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
