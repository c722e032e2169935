/**
 * What `brood doctor` has found: a list of checks, filled by doctor_host.c and from the library's probes, and shown by
 * doctor.c.
 */
#ifndef BROOD_CLI_DOCTOR_H
#define BROOD_CLI_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>

#include <brood.h>

enum { DOCTOR_MOST_CHECKS = 64 };

/** One row. Texts are static unless they are here. */
typedef struct doctor_check {
    const char *name;  /* the key in JSON: it stays what it is */
    const char *group; /* "trees", "starting", "limits", "streams" or "host" */
    const char *what;
    brood_answer answer;
    const char *remedy; /* NULL: none is known */
    char value[128];    /* what it is, where that is more than yes or no; "" */
    char reason[480];   /* "" */
} doctor_check;

typedef struct doctor {
    brood_guarantee guarantee; /* what a tree that was started here had */
    size_t count;
    doctor_check checks[DOCTOR_MOST_CHECKS];
} doctor;

/** One more check; the list has room for all that there are. `reason` may be NULL. Returns it, for its value. */
doctor_check *doctor_add(doctor *d, const doctor_check *check, brood_answer answer, const char *reason);

/** Start a child, and a tree that tries to escape. */
void doctor_check_starts(doctor *d);

/** What that tree's program does, in a process of its own. Returns its exit status. */
int doctor_play_tree(void);

/** Everything about this host that needs no child of the library's: namespaces, limits, the kernel. */
void doctor_check_host(doctor *d);

#endif
