/*
 * What `brood run` decides and opens before the start: names, files, environment, what is owned. Files are opened here
 * and not by the library, since opening a FIFO can block: no signal has been taken yet, and Ctrl-C works.
 */
#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "text.h"

/* With --idle-timeout: a daemon that the command leaves behind may hold its output for ever. */
enum { CLOSE_GRACE_MS = 1000 };

enum { MOST_OTHERS = 1024 }; /* the library's limit */

int run_fail(run *r, brood_step step, const char *what, int code) {
    r->failure = (brood_failure){.code = code, .step = step};
    snprintf(r->failure.message, sizeof r->failure.message, "%s: %s", what, cli_error_text(code));
    return code;
}

static int refuse(run *r, int code, const char *message) {
    r->failure = (brood_failure){.code = code, .step = BROOD_STEP_OPTIONS};
    snprintf(r->failure.message, sizeof r->failure.message, "%s", message);
    return code;
}

/* --- who, with what --- */

static int find_identity(run *r) {
    const run_options *o = r->options;
    args_problem problem = {{0}};
    int result = identity_find(&r->who, o->user, o->group, o->groups, &problem);
    return result < 0 ? refuse(r, result, problem.text) : 0;
}

static void set_args(run *r) {
    char *const *command = r->options->command;
    r->args = (const char *const *)command;
    if (!r->options->shell)
        return;
    size_t i = 0;
    r->shell_args[i++] = "sh";
    r->shell_args[i++] = "-c";
    if (command[0][0] == '-' || command[0][0] == '+') /* else the shell would take it for an option */
        r->shell_args[i++] = "--";
    r->shell_args[i++] = command[0];
    r->args = r->shell_args;
}

/*
 * The library's list, NULL-terminated. A name alone is taken away: where nothing is inherited there is nothing to
 * take.
 */
static int set_env(run *r) {
    const run_words *words = &r->options->env;
    size_t count = 0;
    r->env = calloc(words->count + 1, sizeof *r->env);
    if (!r->env)
        return run_fail(r, BROOD_STEP_MEMORY, "the environment", -ENOMEM);
    for (size_t i = 0; i < words->count; i++)
        if (!r->options->clear_env || strchr(words->items[i], '='))
            r->env[count++] = words->items[i];
    return 0;
}

static brood_env_mode env_mode(const run *r) {
    if (r->options->clear_env)
        return r->env[0] ? BROOD_ENV_REPLACE : BROOD_ENV_CLEAR;
    return r->env[0] ? BROOD_ENV_EXTEND : BROOD_ENV_INHERIT;
}

/* --- files --- */

static bool is_null_word(const char *path) {
    return strcmp(path, "null") == 0;
}

static int open_path(run *r, const char *path, int flags, int *ret_fd) {
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY, 0666);
    if (fd >= 0) {
        *ret_fd = fd;
        return 0;
    }
    int code = -errno;
    char shown[300], what[320];
    snprintf(what, sizeof what, "open %s", text_quote_word(path, shown, sizeof shown));
    return run_fail(r, BROOD_STEP_OPEN, what, code);
}

static int write_flags(const run_options *o) {
    return O_WRONLY | O_CREAT | (o->append ? O_APPEND : O_TRUNC);
}

static void close_file(run *r, int slot) {
    if (r->files[slot] >= 0)
        close(r->files[slot]);
    r->files[slot] = -1;
}

static bool is_same_file(int a, int b) {
    struct stat one, other;
    return a >= 0 && b >= 0 && fstat(a, &one) == 0 && fstat(b, &other) == 0 && S_ISREG(one.st_mode) &&
           one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* --stderr naming the same file as --stdout means one open file, not two that overwrite each other. */
static int open_files(run *r) {
    const run_options *o = r->options;
    bool same_path = o->err && o->out && strcmp(o->err, o->out) == 0;
    const char *paths[] = {o->in, o->out, same_path ? NULL : o->err};
    int result = 0;
    for (int slot = 0; slot < 3 && result == 0; slot++)
        if (paths[slot] && !is_null_word(paths[slot]))
            result = open_path(r, paths[slot], slot == 0 ? O_RDONLY : write_flags(o), &r->files[slot]);
    r->err_is_out = o->err_to_out || (same_path && !is_null_word(o->out)) || is_same_file(r->files[1], r->files[2]);
    if (r->err_is_out)
        close_file(r, 2);
    return result;
}

static bool appends(int fd) {
    return fcntl(fd, F_GETFL) & O_APPEND;
}

/* Each would write over the other, unless both add at the end. */
static int check_report(run *r) {
    for (int slot = 1; slot <= 2; slot++) {
        int fd = run_destination(r, slot);
        if (r->report_fd > STDERR_FILENO && is_same_file(r->report_fd, fd) && !(appends(fd) && appends(r->report_fd)))
            return refuse(r, -EINVAL, "the report and the command's output would go to one file, over each other");
    }
    return 0;
}

static int open_report(run *r) {
    const run_options *o = r->options;
    if (o->report_file)
        return open_path(r, o->report_file, write_flags(o), &r->report_fd);
    if (o->report)
        r->report_fd = STDERR_FILENO;
    return 0;
}

void run_close_files(run *r) {
    for (int slot = 0; slot < 3; slot++)
        if (!run_is_relayed(r, slot)) /* else it is ours to write to */
            close_file(r, slot);
}

/* --- slots --- */

int run_destination(const run *r, int slot) {
    const run_options *o = r->options;
    const char *const paths[] = {o->in, o->out, o->err};
    if (r->files[slot] >= 0)
        return r->files[slot];
    if (paths[slot] || o->detach || r->host->closed[slot])
        return -1;
    return slot;
}

bool run_is_relayed(const run *r, int slot) {
    return r->options->idle_timeout.ms > 0 && (slot == 1 || (slot == 2 && !r->err_is_out));
}

static brood_stdio slot_of(run *r, int slot) {
    if (slot == 2 && r->err_is_out)
        return (brood_stdio){.kind = BROOD_STDIO_SLOT, .slot = 1};
    if (run_is_relayed(r, slot))
        return (brood_stdio){
            .kind = BROOD_STDIO_PIPE, .on_data = relay_take, .on_end = relay_end, .data = &r->relays[slot - 1]};
    int fd = run_destination(r, slot);
    if (fd < 0)
        return (brood_stdio){.kind = BROOD_STDIO_IGNORE};
    return fd == slot ? (brood_stdio){.kind = BROOD_STDIO_INHERIT} : (brood_stdio){.kind = BROOD_STDIO_FD, .fd = fd};
}

/* brood was given it, since all that it opens itself is close-on-exec. */
static bool was_given(int fd) {
    int flags = fcntl(fd, F_GETFD);
    return fd > 2 && flags >= 0 && !(flags & FD_CLOEXEC);
}

static int add_other(run *r, int fd) {
    if (r->other_count == MOST_OTHERS)
        return refuse(r, -EMFILE, "more than 1024 descriptors are open; --close-fds keeps them from the command");
    brood_slot *others = reallocarray(r->others, r->other_count + 1, sizeof *others);
    if (!others)
        return run_fail(r, BROOD_STEP_MEMORY, "descriptors", -ENOMEM);
    r->others = others;
    r->others[r->other_count++] = (brood_slot){.slot = fd, .io = {.kind = BROOD_STDIO_INHERIT}};
    return 0;
}

/*
 * The library closes what it is not told of. At a shell, however, whoever gives brood a descriptor means it for the
 * command: `diff <(a) <(b)`, make's job server, sockets from systemd. A daemon that is let go gets none: it would
 * hold them for ever. Nor does another user: it may be what that user must not read.
 */
static int find_others(run *r) {
    if (r->options->close_fds || r->options->detach || r->who.set_uid || r->who.set_gid || r->who.set_groups)
        return 0;
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        return 0; /* no /proc: then they stay behind */
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(directory));) {
        int fd = atoi(entry->d_name);
        if (was_given(fd))
            result = add_other(r, fd);
    }
    closedir(directory);
    return result;
}

/* --- what is owned --- */

/* A group of its own takes a command out of the terminal's foreground: only where it gets no terminal. */
static brood_ownership own_what(const run *r) {
    if (r->options->detach)
        return BROOD_OWN_NONE;
    if (r->options->own != BROOD_OWN_DEFAULT)
        return r->options->own;
    for (int slot = 0; slot < 3; slot++) {
        int fd = run_is_relayed(r, slot) ? -1 : run_destination(r, slot);
        if (fd >= 0 && isatty(fd))
            return BROOD_OWN_CHILD;
    }
    return BROOD_OWN_GROUP;
}

/* --- all of it --- */

int run_prepare(run *r) {
    set_args(r);
    int result = open_report(r); /* first, so that it can tell of all the rest */
    if (result == 0)
        result = find_identity(r);
    if (result == 0)
        result = set_env(r);
    if (result == 0)
        result = open_files(r);
    if (result == 0)
        result = check_report(r);
    if (result == 0)
        result = find_others(r);
    r->own = own_what(r);
    return result;
}

brood_options run_child_options(run *r) {
    const run_options *o = r->options;
    return (brood_options){
        .args = r->args,
        .file = o->shell ? "/bin/sh" : NULL,
        .env = r->env[0] ? r->env : NULL,
        .env_mode = env_mode(r),
        .cwd = o->cwd,
        .set_uid = r->who.set_uid,
        .uid = r->who.uid,
        .set_gid = r->who.set_gid,
        .gid = r->who.gid,
        .set_groups = r->who.set_groups,
        .groups = r->who.groups,
        .group_count = r->who.group_count,
        .set_umask = o->umask.given,
        .umask = o->umask.mode,
        .nice = o->nice,
        .rlimits = o->limits.items,
        .rlimit_count = o->limits.count,
        .detached = o->detach,
        .keep_ignored = true,
        .in = slot_of(r, 0),
        .out = slot_of(r, 1),
        .err = slot_of(r, 2),
        .slots = r->others,
        .slot_count = r->other_count,
        .own = r->own,
        .require = o->require,
        .pid_namespace = o->pid_namespace,
        .accounting = r->own == BROOD_OWN_TREE && r->report_fd >= 0,
        .limits = o->tree_limits,
        .timeout_ms = o->timeout.ms,
        .idle_timeout_ms = o->idle_timeout.ms,
        .kill_signal = o->signal,
        .kill_grace_ms = o->kill_after.given && o->kill_after.ms == 0 ? BROOD_FOREVER : o->kill_after.ms,
        .close_grace_ms = o->idle_timeout.ms ? CLOSE_GRACE_MS : 0,
    };
}

void run_release_setup(run *r) {
    for (int slot = 0; slot < 3; slot++)
        close_file(r, slot);
    if (r->report_fd > STDERR_FILENO)
        close(r->report_fd);
    identity_done(&r->who);
    free(r->others);
    free(r->env);
}
