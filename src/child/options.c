/*
 * Options become a plan. Everything that can be known to be wrong is refused here, with the field's name, before
 * anything is opened; what only the kernel knows fails later with its step.
 */
#include "child/options.h"

#include "base/failure.h"
#include "channel/channel.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KILL_GRACE_MS 5000
#define EXEC_CLOSE_GRACE_MS 1000
#define MOST_SLOTS 1024
#define HIGHEST_SLOT 65535
#define MOST_GROUPS 65536
#define MOST_PIDS 4194304 /* PID_MAX_LIMIT */
#define MOST_CPU_PERCENT (8192 * 100)
#define DEFAULT_PATH "/bin:/usr/bin" /* execvp(3)'s, where there is no PATH */

extern char **environ;

static int refuse(brood_failure *why, const char *field, const char *reason) {
    return brood__fail(why, -EINVAL, BROOD_STEP_OPTIONS, field, reason);
}

static int no_memory(brood_failure *why) {
    return brood__fail(why, -ENOMEM, BROOD_STEP_MEMORY, NULL, NULL);
}

int brood__options_copy(const brood_options *options, size_t size, brood_options *ret, brood_failure *why) {
    memset(ret, 0, sizeof *ret);
    if (!options)
        return 0;
    if (size > sizeof *ret && !brood__is_zero((const char *)options + sizeof *ret, size - sizeof *ret))
        return brood__fail(why, -E2BIG, BROOD_STEP_OPTIONS, NULL,
                           "they ask for something that this older library lacks");
    memcpy(ret, options, size < sizeof *ret ? size : sizeof *ret);
    if (!brood__is_zero(ret->reserved, sizeof ret->reserved))
        return refuse(why, "reserved", "must be zero");
    return 0;
}

void brood__result_give(const brood_result *result, brood_result *ret_result, size_t size) {
    memcpy(ret_result, result, size < sizeof *result ? size : sizeof *result);
}

/* --- what contradicts itself --- */

static int check_program(const brood_options *o, brood__form form, const char *command, brood_failure *why) {
    if (form == BROOD__EXEC && command) {
        if (o->args || o->file)
            return refuse(why, "args",
                          "a shell command has no arguments: use brood_exec_file, or put them into the command");
        if (o->shell && !*o->shell)
            return refuse(why, "shell", "is empty");
        return 0;
    }
    if (o->shell)
        return refuse(why, "shell", "only brood_exec runs a shell");
    if (!o->args || !o->args[0])
        return refuse(why, "args",
                      form == BROOD__EXEC ? "must hold at least the program's name, where no command is given"
                                          : "must hold at least the program's name");
    if (!*(o->file ? o->file : o->args[0]))
        return refuse(why, o->file ? "file" : "args", "the program's name is empty");
    return 0;
}

static int check_environment(const brood_options *o, brood_failure *why) {
    if (o->env_mode < BROOD_ENV_DEFAULT || o->env_mode > BROOD_ENV_CLEAR)
        return refuse(why, "env_mode", "is no brood_env_mode");
    if (o->env && (o->env_mode == BROOD_ENV_INHERIT || o->env_mode == BROOD_ENV_CLEAR))
        return refuse(why, "env", "is given, but env_mode leaves no use for it");
    for (size_t i = 0; o->env && o->env[i]; i++) {
        if (!*o->env[i] || *o->env[i] == '=')
            return refuse(why, "env", "holds a variable without a name");
        if (o->env_mode == BROOD_ENV_REPLACE && !strchr(o->env[i], '='))
            return refuse(why, "env", "holds a name without a value, which means nothing with BROOD_ENV_REPLACE");
    }
    return 0;
}

static int check_identity(const brood_options *o, brood_failure *why) {
    if (o->cwd && o->cwd_by_fd)
        return refuse(why, "cwd", "is given twice: as a path and as a descriptor");
    if (o->cwd_by_fd && o->cwd_fd < 0)
        return refuse(why, "cwd_fd", "is no descriptor");
    if (o->set_uid && o->uid == (uid_t)-1)
        return refuse(why, "uid", "is no user");
    if (o->set_gid && o->gid == (gid_t)-1)
        return refuse(why, "gid", "is no group");
    if (o->set_groups && o->group_count && !o->groups)
        return refuse(why, "groups", "is NULL, but group_count is not 0");
    if (o->group_count > MOST_GROUPS)
        return refuse(why, "group_count", "is more than the kernel takes (65536)");
    if (o->groups && !o->set_groups)
        return refuse(why, "groups", "is given without set_groups");
    if (o->umask > 0777)
        return refuse(why, "umask", "is more than 0777");
    if (o->nice < -40 || o->nice > 39)
        return refuse(why, "nice", "is out of range (-40 to 39)");
    if (o->rlimit_count && !o->rlimits)
        return refuse(why, "rlimits", "is NULL, but rlimit_count is not 0");
    for (size_t i = 0; i < o->rlimit_count; i++)
        if (o->rlimits[i].soft > o->rlimits[i].hard)
            return refuse(why, "rlimits", "has a soft limit above its hard limit");
    return 0;
}

/* What is asked for, or the form's default. */
static brood_ownership ownership_of(const brood_options *o, brood__form form) {
    if (o->own != BROOD_OWN_DEFAULT)
        return o->own;
    return form == BROOD__EXEC && !o->detached ? BROOD_OWN_TREE : BROOD_OWN_CHILD;
}

static int check_ending(const brood_options *o, brood__form form, brood_failure *why) {
    bool tree = ownership_of(o, form) == BROOD_OWN_TREE;
    if (o->own < BROOD_OWN_DEFAULT || o->own > BROOD_OWN_NONE)
        return refuse(why, "own", "is no brood_ownership");
    if (o->own == BROOD_OWN_NONE && (o->timeout_ms || o->idle_timeout_ms || o->abort))
        return refuse(why, "own", "nothing is owned, so no time limit and no abort can stop it");
    if (o->require < BROOD_GUARANTEE_NONE || o->require > BROOD_GUARANTEE_KERNEL)
        return refuse(why, "require", "is no brood_guarantee");
    if (o->require && !tree)
        return refuse(why, "require", "is given, but own is not BROOD_OWN_TREE, and nothing less guarantees anything");
    if (o->pid_namespace && !tree)
        return refuse(why, "pid_namespace", "is for a tree: own is not BROOD_OWN_TREE");
    if (o->accounting && !tree)
        return refuse(why, "accounting", "is for a tree: own is not BROOD_OWN_TREE");
    bool limited = !brood__is_zero(&o->limits, sizeof o->limits);
    if (limited && !tree)
        return refuse(why, "limits", "only a tree can be limited as a whole: own is not BROOD_OWN_TREE");
    if (!brood__is_zero(o->limits.reserved, sizeof o->limits.reserved))
        return refuse(why, "limits", "its reserved fields must be zero");
    if (o->limits.memory > INT64_MAX || o->limits.pids > MOST_PIDS || o->limits.cpu_percent > MOST_CPU_PERCENT ||
        o->limits.io_read_bps > INT64_MAX || o->limits.io_write_bps > INT64_MAX)
        return refuse(why, "limits", "one of them is more than any machine has");
    if (o->on_limit && !tree)
        return refuse(why, "on_limit", "only a tree has limits as a whole: own is not BROOD_OWN_TREE");
    if (o->on_empty && !tree)
        return refuse(why, "on_empty", "only a tree is known to be empty: own is not BROOD_OWN_TREE");
    if (o->kill_signal && !brood_signal_name(o->kill_signal))
        return refuse(why, "kill_signal", "is no signal");
    if (form != BROOD__EXEC && o->max_buffer)
        return refuse(why, "max_buffer", "only the exec forms collect output");
    return 0;
}

static int check_channel(const brood_options *o, brood__form form, brood_failure *why) {
    const brood_channel_options *limits = o->channel;
    const char *given = o->on_message                    ? "on_message"
                        : o->on_disconnect               ? "on_disconnect"
                        : o->on_channel_drain            ? "on_channel_drain"
                        : limits                         ? "channel"
                        : o->channel_slot                ? "channel_slot"
                        : o->serialization != BROOD_JSON ? "serialization"
                                                         : NULL;
    if (form != BROOD__FORK && given)
        return refuse(why, given, "is of a channel, and only brood_fork gives a child one");
    if (o->serialization < BROOD_JSON || o->serialization > BROOD_ADVANCED)
        return refuse(why, "serialization", "is no brood_serialization");
    if (o->channel_slot && (o->channel_slot < 3 || o->channel_slot > HIGHEST_SLOT))
        return refuse(why, "channel_slot", "must be 3 to 65535");
    if (limits && (limits->on_message || limits->on_disconnect || limits->on_drain || limits->data))
        return refuse(why, "channel", "has callbacks or data: they stand in the options themselves");
    return 0;
}

/* --- slots --- */

static const char *slot_name(int slot) {
    static const char *const names[] = {"in", "out", "err"};
    return slot <= 2 ? names[slot] : "slots";
}

/* The default of a slot that says nothing. */
static brood_stdio_kind resolve_kind(const brood_stdio *io, int slot, brood__form form) {
    if (io->kind != BROOD_STDIO_DEFAULT)
        return io->kind;
    if (io->input || io->on_data || io->on_end || io->on_drain || slot > 2)
        return BROOD_STDIO_PIPE;
    if (form == BROOD__EXEC)
        return slot == 0 ? BROOD_STDIO_IGNORE : BROOD_STDIO_PIPE;
    return BROOD_STDIO_INHERIT;
}

static int file_flags(const brood_stdio *io, int slot) {
    switch (io->mode) {
    case BROOD_FILE_READ:
        return O_RDONLY;
    case BROOD_FILE_APPEND:
        return O_WRONLY | O_CREAT | O_APPEND;
    case BROOD_FILE_TRUNCATE:
        return O_WRONLY | O_CREAT | O_TRUNC;
    default:
        return slot == 0 ? O_RDONLY : O_WRONLY | O_CREAT | O_TRUNC;
    }
}

static int check_pipe(const brood_stdio *io, int slot, brood__source from, brood_failure *why) {
    bool child_reads = from == BROOD__FROM_PIPE_IN;
    if (io->input && io->on_drain)
        return refuse(why, slot_name(slot), "has both input and on_drain: input is all that it will be given");
    if (child_reads && (io->on_data || io->on_end))
        return refuse(why, slot_name(slot),
                      "the child reads this slot: nothing comes from it, so on_data and on_end never would");
    if (!child_reads && (io->input || io->on_drain))
        return refuse(why, slot_name(slot), "the child writes this slot: it takes no input");
    return 0;
}

static int check_stdio(const brood_stdio *io, int slot, brood_stdio_kind kind, brood_failure *why) {
    const char *name = slot_name(slot);
    if (!brood__is_zero(io->reserved, sizeof io->reserved))
        return refuse(why, name, "its reserved fields must be zero");
    if (kind != BROOD_STDIO_PIPE && (io->on_data || io->on_end || io->on_drain || io->input))
        return refuse(why, name, "callbacks and input need a pipe");
    if (!io->input && io->input_len)
        return refuse(why, name, "has input_len, but no input");
    if ((io->path || io->mode) && kind != BROOD_STDIO_FILE)
        return refuse(why, name, "has a path or mode, but its kind is not BROOD_STDIO_FILE");
    if (io->fd && kind != BROOD_STDIO_FD)
        return refuse(why, name, "has an fd, but its kind is not BROOD_STDIO_FD");
    if (io->slot && kind != BROOD_STDIO_SLOT)
        return refuse(why, name, "has a slot, but its kind is not BROOD_STDIO_SLOT");
    if ((io->high_water || io->pipe_size) && kind != BROOD_STDIO_PIPE)
        return refuse(why, name, "has high_water or pipe_size, but it is no pipe");
    if (kind == BROOD_STDIO_FILE && (!io->path || !*io->path))
        return refuse(why, name, "is a file without a path");
    if (kind == BROOD_STDIO_FD && io->fd < 0)
        return refuse(why, name, "its fd is no descriptor");
    if (kind < BROOD_STDIO_DEFAULT || kind > BROOD_STDIO_SLOT || io->mode < BROOD_FILE_DEFAULT ||
        io->mode > BROOD_FILE_APPEND)
        return refuse(why, name, "its kind or mode is out of range");
    return 0;
}

static int compile_slot(brood__compiled *c, int slot, const brood_stdio *io, brood__form form, brood__plan_slot *s,
                        brood_failure *why) {
    static const brood__source source[] = {
        [BROOD_STDIO_IGNORE] = BROOD__FROM_NULL, [BROOD_STDIO_INHERIT] = BROOD__FROM_INHERIT,
        [BROOD_STDIO_FD] = BROOD__FROM_FD,       [BROOD_STDIO_FILE] = BROOD__FROM_FILE,
        [BROOD_STDIO_SLOT] = BROOD__FROM_SLOT,   [BROOD_STDIO_PIPE] = BROOD__FROM_PIPE_OUT,
    };
    brood_stdio_kind kind = resolve_kind(io, slot, form);
    int r = check_stdio(io, slot, kind, why);
    if (r < 0)
        return r;
    *s = (brood__plan_slot){.slot = slot, .from = source[kind], .host_end = -1, .source = -1};
    if (kind == BROOD_STDIO_PIPE) {
        bool child_reads = slot == 0 || (slot > 2 && !io->on_data && !io->on_end);
        s->from = child_reads ? BROOD__FROM_PIPE_IN : BROOD__FROM_PIPE_OUT;
        s->pipe_size = io->pipe_size;
        return check_pipe(io, slot, s->from, why);
    }
    s->fd = kind == BROOD_STDIO_SLOT ? io->slot : io->fd;
    if (kind == BROOD_STDIO_FILE) {
        s->flags = file_flags(io, slot);
        s->path = brood__arena_string(&c->plan.memory, io->path);
        if (!s->path)
            return no_memory(why);
    }
    return 0;
}

/* Slots that are others': each chain must end at one that is not. */
static int check_slot_chains(const brood__plan *plan, brood_failure *why) {
    for (size_t i = 0; i < plan->slot_count; i++) {
        const brood__plan_slot *s = &plan->slots[i];
        for (size_t steps = 0; s && s->from == BROOD__FROM_SLOT; steps++) {
            if (steps > plan->slot_count)
                return refuse(why, slot_name(plan->slots[i].slot), "slots refer to each other in a circle");
            s = brood__plan_find(plan, s->fd);
        }
        if (!s)
            return refuse(why, slot_name(plan->slots[i].slot), "refers to a slot that the child does not have");
    }
    return 0;
}

/* Sort the slots beyond 2 by number, with what the user said of each. */
static void sort_slots(brood__compiled *c) {
    brood__plan_slot *s = c->plan.slots;
    for (size_t i = 4; i < c->plan.slot_count; i++)
        for (size_t j = i; j > 3 && s[j - 1].slot > s[j].slot; j--) {
            brood__plan_slot slot = s[j];
            const brood_stdio *io = c->ios[j];
            s[j] = s[j - 1], c->ios[j] = c->ios[j - 1];
            s[j - 1] = slot, c->ios[j - 1] = io;
        }
}

/* Where Node has it, at 3, unless that is taken. */
static int free_slot(const brood_options *o) {
    int slot = 3;
    for (size_t i = 0; i < o->slot_count; i++)
        if (o->slots[i].slot == slot) {
            slot++;
            i = (size_t)-1;
        }
    return slot;
}

static void add_channel(brood__compiled *c, const brood_options *o) {
    static const brood_stdio none;
    size_t last = c->plan.slot_count - 1;
    c->channel_slot = o->channel_slot ? o->channel_slot : free_slot(o);
    c->plan.slots[last] =
        (brood__plan_slot){.slot = c->channel_slot, .from = BROOD__FROM_CHANNEL, .host_end = -1, .source = -1};
    c->ios[last] = &none;
}

static int compile_slots(brood__compiled *c, const brood_options *o, brood__form form, brood_failure *why) {
    brood__plan *plan = &c->plan;
    if (o->slot_count > MOST_SLOTS)
        return refuse(why, "slot_count", "is more than 1024");
    if (o->slot_count && !o->slots)
        return refuse(why, "slots", "is NULL, but slot_count is not 0");
    bool forks = form == BROOD__FORK;
    size_t count = 3 + o->slot_count + forks;
    plan->slots = brood__arena_array(&plan->memory, count, sizeof *plan->slots);
    c->ios = brood__arena_array(&plan->memory, count, sizeof *c->ios);
    if (!plan->slots || !c->ios)
        return no_memory(why);
    plan->slot_count = count;
    for (size_t i = 0; i < plan->slot_count; i++)
        plan->slots[i].host_end = -1;
    if (forks)
        add_channel(c, o);
    for (size_t i = 0; i < plan->slot_count - forks; i++) {
        const brood_stdio *standard[] = {&o->in, &o->out, &o->err};
        int number = i < 3 ? (int)i : o->slots[i - 3].slot;
        if (i >= 3 && (number < 3 || number > HIGHEST_SLOT))
            return refuse(why, "slots", "a slot's number must be 3 to 65535");
        c->ios[i] = i < 3 ? standard[i] : &o->slots[i - 3].io;
        int r = compile_slot(c, number, c->ios[i], form, &plan->slots[i], why);
        if (r < 0)
            return r;
    }
    sort_slots(c);
    for (size_t i = 3; i < plan->slot_count; i++)
        if (plan->slots[i].slot == plan->slots[i - 1].slot) {
            char reason[48];
            snprintf(reason, sizeof reason, "slot %d is given twice", plan->slots[i].slot);
            return refuse(why, "slots", reason);
        }
    return check_slot_chains(plan, why);
}

/* An idle limit means something only if output passes through the host. */
static int check_idle(const brood__compiled *c, const brood_options *o, brood_failure *why) {
    bool read = false;
    for (size_t i = 0; i < c->plan.slot_count; i++)
        read = read || c->plan.slots[i].from == BROOD__FROM_PIPE_OUT;
    return o->idle_timeout_ms && !read ? refuse(why, "idle_timeout_ms", "no slot is a pipe that the child writes") : 0;
}

/* --- program, arguments, environment --- */

static size_t list_length(const char *const *list) {
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

/* Copy a NULL-terminated list, leaving `room` free entries before it. */
static char **copy_list(brood__arena *arena, const char *const *list, size_t room) {
    size_t n = list_length(list);
    char **copy = brood__arena_array(arena, room + n + 1, sizeof *copy);
    for (size_t i = 0; copy && list && list[i]; i++)
        if (!(copy[room + i] = brood__arena_string(arena, list[i])))
            return NULL;
    return copy;
}

static int compile_program(brood__compiled *c, const brood_options *o, const char *command, brood_failure *why) {
    brood__plan *plan = &c->plan;
    static char shell_name[] = "/bin/sh";
    const char *shell = o->shell ? o->shell : shell_name;
    const char *const shell_args[] = {shell, "-c", command, NULL};
    const char *const *args = command ? shell_args : o->args;
    const char *file = command ? shell : o->file ? o->file : o->args[0];
    char **words = copy_list(&plan->memory, args, 0);
    plan->file = brood__arena_string(&plan->memory, file);
    plan->shell_argv = copy_list(&plan->memory, args + 1, 2);
    if (!words || !plan->file || !plan->shell_argv)
        return no_memory(why);
    plan->argv = words;
    plan->shell_argv[0] = shell_name;
    c->words = (const char *const *)words;
    return 0;
}

static size_t name_length(const char *variable) {
    return strcspn(variable, "=");
}

static bool same_name(const char *a, const char *b) {
    size_t n = name_length(a);
    return n == name_length(b) && memcmp(a, b, n) == 0;
}

/* Whether a later entry of the list speaks of the same variable. */
static bool overridden(const char *variable, const char *const *list) {
    for (; list && *list; list++)
        if (same_name(variable, *list))
            return true;
    return false;
}

/*
 * What a channel adds to the environment, and takes out of it: a host that was forked with a channel, and has not opened
 * it, would hand its variables on to children that have nothing at that number.
 */
typedef struct channel_variables {
    const char *set[4], *dropped[4]; /* NULL-terminated */
    char fd[sizeof BROOD__CHANNEL_FD + 16], parent[sizeof BROOD__CHANNEL_PARENT + 16];
} channel_variables;

static void channel_variables_init(channel_variables *v, const brood__compiled *c, const brood_options *o) {
    const char *host = getenv(BROOD__CHANNEL_FD);
    *v = (channel_variables){.set = {NULL}};
    if (c->channel_slot) {
        snprintf(v->fd, sizeof v->fd, "%s=%d", BROOD__CHANNEL_FD, c->channel_slot);
        v->set[0] = v->fd;
        v->set[1] = o->serialization == BROOD_ADVANCED ? BROOD__CHANNEL_MODE "=advanced" : BROOD__CHANNEL_MODE "=json";
        snprintf(v->parent, sizeof v->parent, "%s=%d", BROOD__CHANNEL_PARENT, (int)getpid());
        v->set[2] = v->parent;
    }
    if (c->channel_slot || (host && !brood__plan_find(&c->plan, atoi(host)))) {
        v->dropped[0] = BROOD__CHANNEL_FD;
        v->dropped[1] = BROOD__CHANNEL_MODE;
        v->dropped[2] = BROOD__CHANNEL_PARENT;
    }
}

/*
 * What the child's environment will be: the host's less what `env` speaks of, then `env`'s own, then the channel's;
 * entries are not copied.
 */
static size_t merge_environment(const char **merged, char **host, const char *const *env, const channel_variables *v) {
    size_t n = 0;
    for (; host && *host; host++)
        if (!overridden(*host, env) && !overridden(*host, v->dropped))
            merged[n++] = *host;
    for (; env && *env; env++)
        if (strchr(*env, '=') && !overridden(*env, env + 1) && !overridden(*env, v->set))
            merged[n++] = *env;
    for (const char *const *set = v->set; *set; set++)
        merged[n++] = *set;
    return n;
}

/* One block for all the texts: a start off the loop copies some thirty of them each time. */
static int make_environment(brood__plan *plan, char **host, const char *const *env, const channel_variables *v,
                            brood_failure *why) {
    size_t most = list_length((const char *const *)host) + list_length(env) + list_length(v->set), bytes = 0;
    const char **entries = brood__arena_array(&plan->memory, most + 1, sizeof *entries);
    if (!entries)
        return no_memory(why);
    size_t n = merge_environment(entries, host, env, v);
    for (size_t i = 0; i < n; i++)
        bytes += strlen(entries[i]) + 1;
    char *text = brood__arena_alloc(&plan->memory, bytes);
    if (!text)
        return no_memory(why);
    plan->envp = (char **)entries;
    for (size_t i = 0; i < n; i++) {
        char *copy = text;
        text = stpcpy(text, entries[i]) + 1;
        plan->envp[i] = copy;
    }
    return 0;
}

static const char *path_of(char *const *envp) {
    for (; envp && *envp; envp++)
        if (strncmp(*envp, "PATH=", 5) == 0)
            return *envp + 5;
    return DEFAULT_PATH;
}

static int compile_environment(brood__compiled *c, const brood_options *o, bool keep_env, brood_failure *why) {
    brood__plan *plan = &c->plan;
    bool replaces = o->env_mode == BROOD_ENV_REPLACE || o->env_mode == BROOD_ENV_CLEAR;
    channel_variables v;
    channel_variables_init(&v, c, o);
    if (replaces || o->env || keep_env || v.set[0] || v.dropped[0]) {
        int r = make_environment(plan, replaces ? NULL : environ, o->env, &v, why);
        if (r < 0)
            return r;
    }
    plan->search = path_of(plan->envp ? plan->envp : environ);
    return 0;
}

/* --- who it is --- */

static int compile_identity(brood__compiled *c, const brood_options *o, brood_failure *why) {
    brood__plan *plan = &c->plan;
    c->credentials = o->set_uid || o->set_gid || o->set_groups;
    plan->set_uid = o->set_uid, plan->uid = o->uid;
    plan->set_gid = o->set_gid, plan->gid = o->gid;
    plan->set_groups = c->credentials; /* whoever changes user or group keeps none of the host's groups by accident */
    plan->groups_best_effort = c->credentials && !o->set_groups && geteuid() != 0;
    plan->group_count = o->set_groups ? o->group_count : 0;
    plan->set_umask = o->set_umask, plan->umask = o->umask;
    plan->nice = o->nice;
    plan->no_new_privs = o->no_new_privs;
    plan->keep_ignored = o->keep_ignored;
    plan->cwd_by_fd = o->cwd_by_fd, plan->cwd_fd = o->cwd_fd;
    plan->limit_count = o->rlimit_count;
    if (o->cwd && !(plan->cwd = brood__arena_string(&plan->memory, o->cwd)))
        return no_memory(why);
    plan->groups = brood__arena_array(&plan->memory, plan->group_count, sizeof *plan->groups);
    plan->limits = brood__arena_array(&plan->memory, o->rlimit_count, sizeof *plan->limits);
    if (!plan->groups || !plan->limits)
        return no_memory(why);
    if (plan->group_count)
        memcpy(plan->groups, o->groups, plan->group_count * sizeof *plan->groups);
    for (size_t i = 0; i < o->rlimit_count; i++)
        plan->limits[i] = (brood__plan_limit){
            .resource = o->rlimits[i].resource,
            .limit = {.rlim_cur = o->rlimits[i].soft, .rlim_max = o->rlimits[i].hard},
        };
    return 0;
}

/* A group of its own takes a child out of the terminal's foreground, so none is imposed on one that has a terminal. */
static bool inherits_terminal(const brood__plan *plan) {
    for (size_t i = 0; i < 3; i++) {
        const brood__plan_slot *s = &plan->slots[i];
        if ((s->from == BROOD__FROM_INHERIT && isatty(s->slot)) || (s->from == BROOD__FROM_FD && isatty(s->fd)))
            return true;
    }
    return false;
}

static void compile_ownership(brood__compiled *c, const brood_options *o, brood__form form) {
    bool only_tree = o->require || o->pid_namespace || o->accounting || o->on_limit || o->on_empty ||
                     !brood__is_zero(&o->limits, sizeof o->limits); /* nothing else will do */
    c->reach = ownership_of(o, form);
    if (o->own == BROOD_OWN_DEFAULT && c->reach == BROOD_OWN_TREE && !only_tree)
        c->plan.instead_of_tree = inherits_terminal(&c->plan) ? BROOD_OWN_CHILD : BROOD_OWN_GROUP;
    c->plan.pid_namespace = o->pid_namespace;
    c->plan.accounting = o->accounting;
    c->plan.counts_usage = o->on_empty != NULL;
    c->plan.needs_cgroup = o->require == BROOD_GUARANTEE_KERNEL && !o->pid_namespace;
    c->plan.tree = o->limits;
    c->plan.new_session = o->detached;
    c->plan.new_group = c->reach == BROOD_OWN_GROUP && !o->detached; /* a session's leader leads its group as well */
}

int brood__options_compile(const brood_options *o, brood__form form, const char *command, bool keep_env,
                           brood__compiled *ret_compiled, brood_failure *why) {
    brood__compiled c = {0};
    int r;
    if ((r = check_program(o, form, command, why)) < 0 || (r = check_environment(o, why)) < 0 ||
        (r = check_identity(o, why)) < 0 || (r = check_ending(o, form, why)) < 0 ||
        (r = check_channel(o, form, why)) < 0 || (r = compile_slots(&c, o, form, why)) < 0 ||
        (r = check_idle(&c, o, why)) < 0 || (r = compile_program(&c, o, command, why)) < 0 ||
        (r = compile_identity(&c, o, why)) < 0 ||
        (r = compile_environment(&c, o, keep_env || c.credentials, why)) < 0) {
        brood__plan_done(&c.plan);
        return r;
    }
    compile_ownership(&c, o, form);
    *ret_compiled = c;
    return 0;
}

/* --- defaults --- */

size_t brood__input_length(const brood_stdio *io) {
    if (!io->input)
        return 0;
    return io->input_len == BROOD_NUL ? strlen(io->input) : io->input_len;
}

int brood__options_kill_signal(const brood_options *o) {
    return o->kill_signal ? o->kill_signal : SIGTERM;
}

void brood__options_deadlines(const brood_options *o, brood__form form, uint64_t now_us, brood__deadlines *ret) {
    uint64_t close_grace_ms = form == BROOD__EXEC ? EXEC_CLOSE_GRACE_MS : BROOD_FOREVER;
    brood__deadlines_init(ret, now_us, o->timeout_ms, o->idle_timeout_ms,
                          o->kill_grace_ms ? o->kill_grace_ms : KILL_GRACE_MS,
                          o->close_grace_ms ? o->close_grace_ms : close_grace_ms);
}
