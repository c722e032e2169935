/**
 * The report of `brood run`: one JSON object on one line.
 */
#ifndef BROOD_CLI_REPORT_H
#define BROOD_CLI_REPORT_H

#include <time.h>

#include <brood.h>

/** What is reported. All borrowed. */
typedef struct report {
    const char *const *command; /* NULL-terminated */
    const brood_exit *ended;
    const brood_failure *failure; /* of the start; code 0: none */
    brood_guarantee guarantee;
    brood_limited memory_limited;  /* whom --memory holds */
    const brood_usage *tree_usage; /* NULL: not a tree, or not known */
    const char *own;               /* what was owned: "group" */
    const char *message;           /* how it ended in words; NULL: as it should */
    struct timespec started;       /* wall clock */
    int status;                    /* what brood exits with */
} report;

/** Write it in one piece. Returns 0 or a negative errno. */
int report_write(int fd, const report *r);

#endif
