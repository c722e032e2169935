/*
 * Looks users and groups up. A word is a name first and a number second, as chown(1) has it; numbers need no entry in
 * any database, except that a user without one brings no group: then --group has to say it, rather than that root's is
 * kept.
 */
#include "identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { FIRST_BUFFER = 1024, LARGEST_BUFFER = 16 << 20, MOST_GROUPS = 65536 };

/* What is needed of a passwd entry; the name is a copy. */
typedef struct account {
    char *name; /* NULL: there is no entry */
    uid_t uid;
    gid_t gid;
} account;

/* Runs one getXXX_r with a buffer that grows until the entry fits. */
typedef int (*lookup)(const void *key, char *buffer, size_t size, void *ret_entry, bool *ret_found);

static int look_up(lookup call, const void *key, void *ret_entry, bool *ret_found) {
    int r = ERANGE;
    for (size_t size = FIRST_BUFFER; r == ERANGE && size <= LARGEST_BUFFER; size *= 4) {
        char *buffer = malloc(size);
        if (!buffer)
            return -ENOMEM;
        r = call(key, buffer, size, ret_entry, ret_found);
        free(buffer);
    }
    /* some databases report "there is none" as an error of their own: getpwnam(3) lists these */
    if (r == ENOENT || r == ESRCH || r == EBADF || r == EPERM)
        *ret_found = false;
    else if (r != 0)
        return r == EINVAL ? -EIO : -r; /* -EINVAL is what was written wrongly */
    return 0;
}

static int keep_account(const struct passwd *found, account *ret_account) {
    *ret_account = (account){.name = strdup(found->pw_name), .uid = found->pw_uid, .gid = found->pw_gid};
    return ret_account->name ? 0 : ENOMEM;
}

static int user_by_name(const void *key, char *buffer, size_t size, void *ret_entry, bool *ret_found) {
    struct passwd entry, *found = NULL;
    int r = getpwnam_r(key, &entry, buffer, size, &found);
    *ret_found = r == 0 && found;
    return *ret_found ? keep_account(found, ret_entry) : r;
}

static int user_by_number(const void *key, char *buffer, size_t size, void *ret_entry, bool *ret_found) {
    struct passwd entry, *found = NULL;
    int r = getpwuid_r(*(const uid_t *)key, &entry, buffer, size, &found);
    *ret_found = r == 0 && found;
    return *ret_found ? keep_account(found, ret_entry) : r;
}

static int group_by_name(const void *key, char *buffer, size_t size, void *ret_entry, bool *ret_found) {
    struct group entry, *found = NULL;
    int r = getgrnam_r(key, &entry, buffer, size, &found);
    *ret_found = r == 0 && found;
    if (*ret_found)
        *(gid_t *)ret_entry = found->gr_gid;
    return r;
}

/* The number -1 means "leave it" to the kernel, so it is nobody's. */
static bool read_id(const char *text, uint32_t *ret_id) {
    uint64_t number = 0;
    if (text_read_number(text, 10, &number) < 0 || number >= UINT32_MAX)
        return false;
    *ret_id = (uint32_t)number;
    return true;
}

static int refuse_unknown(const char *option, const char *word, const char *file, args_problem *problem) {
    char shown[120];
    text_quote_word(word, shown, sizeof shown);
    return args_refuse(problem, "--%s %s: no such %s; give a name (getent %s lists them) or a number", option, shown,
                       strcmp(option, "user") == 0 ? "user" : "group", file);
}

static int find_user(const char *word, account *ret_account, args_problem *problem) {
    bool found = false;
    int r = look_up(user_by_name, word, ret_account, &found);
    if (r < 0 || found)
        return r;
    uid_t uid = 0;
    if (!read_id(word, &uid))
        return refuse_unknown("user", word, "passwd", problem);
    r = look_up(user_by_number, &uid, ret_account, &found);
    ret_account->uid = uid;
    return r;
}

static int find_group(const char *option, const char *word, gid_t *ret_gid, args_problem *problem) {
    bool found = false;
    int r = look_up(group_by_name, word, ret_gid, &found);
    if (r < 0 || found)
        return r;
    return read_id(word, ret_gid) ? 0 : refuse_unknown(option, word, "group", problem);
}

static int add_group(identity *who, gid_t gid) {
    gid_t *groups = reallocarray(who->groups, who->group_count + 1, sizeof *groups);
    if (!groups)
        return -ENOMEM;
    who->groups = groups;
    who->groups[who->group_count++] = gid;
    return 0;
}

static int find_groups(identity *who, const char *words, args_problem *problem) {
    who->set_groups = true;
    char *copy = strdup(words), *rest = copy;
    int r = copy ? 0 : -ENOMEM;
    for (const char *word; r == 0 && *words && (word = strsep(&rest, ","));) {
        gid_t gid = 0;
        r = find_group("groups", word, &gid, problem);
        if (r == 0)
            r = who->group_count < MOST_GROUPS ? add_group(who, gid) : args_refuse(problem, "--groups: too many");
    }
    free(copy);
    return r;
}

/* What login gives: every group that lists the user. */
static int take_groups_of(identity *who, const account *user) {
    int count = 0;
    getgrouplist(user->name, who->gid, NULL, &count); /* only counts; one more may join before the next call */
    for (count += 16; count <= MOST_GROUPS; count *= 2) {
        int filled = count;
        gid_t *groups = reallocarray(who->groups, (size_t)count, sizeof *groups);
        if (!groups)
            return -ENOMEM;
        who->groups = groups;
        if (getgrouplist(user->name, who->gid, groups, &filled) >= 0) {
            who->group_count = (size_t)filled;
            who->set_groups = true;
            return 0;
        }
    }
    return -E2BIG;
}

static int apply_user(identity *who, const char *word, const account *user, bool has_group, args_problem *problem) {
    who->set_uid = true;
    who->uid = user->uid;
    if (has_group)
        return 0;
    if (!user->name)
        return args_refuse(problem, "--user %s: no entry in passwd, so its group is not known; add --group", word);
    who->set_gid = true;
    who->gid = user->gid;
    return 0;
}

static int find_all(identity *who, account *user, const char *user_word, const char *group, const char *groups,
                    args_problem *problem) {
    int r = user_word ? find_user(user_word, user, problem) : 0;
    if (r == 0 && group) {
        who->set_gid = true;
        r = find_group("group", group, &who->gid, problem);
    }
    if (r == 0 && user_word)
        r = apply_user(who, user_word, user, group, problem);
    if (r == 0 && groups)
        return find_groups(who, groups, problem);
    return r == 0 && user->name ? take_groups_of(who, user) : r;
}

int identity_find(identity *ret_identity, const char *user_word, const char *group, const char *groups,
                  args_problem *problem) {
    account user = {.name = NULL};
    *ret_identity = (identity){.groups = NULL};
    int r = find_all(ret_identity, &user, user_word, group, groups, problem);
    free(user.name);
    if (r < 0 && r != -EINVAL)
        args_refuse(problem, "cannot look up users and groups: %s", strerror(-r));
    return r;
}

void identity_done(identity *who) {
    free(who->groups);
    *who = (identity){.groups = NULL};
}
