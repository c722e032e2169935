/**
 * Who a command runs as: --user, --group and --groups looked up.
 */
#ifndef BROOD_CLI_IDENTITY_H
#define BROOD_CLI_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "args.h"

/** All-zero: as brood itself. */
typedef struct identity {
    bool set_uid, set_gid, set_groups;
    uid_t uid;
    gid_t gid;
    gid_t *groups;
    size_t group_count;
} identity;

/**
 * Look up names or numbers. A user brings the group and the supplementary groups that the databases have for it, unless
 * those are given too.
 *
 * user, group, groups  as written, or NULL
 * ret_identity         always written, and yours to identity_done
 *
 * Returns 0, -EINVAL with the problem told, or -ENOMEM.
 */
int identity_find(identity *ret_identity, const char *user, const char *group, const char *groups,
                  args_problem *problem);

/** Free the groups. All-zero is harmless. */
void identity_done(identity *who);

#endif
