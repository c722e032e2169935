/*
 * The option table of `brood run`, the readers of its values, and the contradictions among them. Everything here is
 * pure: no file, no user database, no process is touched, so that a fuzzer can feed it anything.
 */
#include "run_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "text.h"

typedef enum limit_unit { COUNT, BYTES, SECONDS } limit_unit;

static const struct limit_name {
    const char *name;
    int resource;
    limit_unit unit;
} limit_names[] = {
    {"as", RLIMIT_AS, BYTES},           {"core", RLIMIT_CORE, BYTES},         {"cpu", RLIMIT_CPU, SECONDS},
    {"data", RLIMIT_DATA, BYTES},       {"fsize", RLIMIT_FSIZE, BYTES},       {"locks", RLIMIT_LOCKS, COUNT},
    {"memlock", RLIMIT_MEMLOCK, BYTES}, {"msgqueue", RLIMIT_MSGQUEUE, BYTES}, {"nice", RLIMIT_NICE, COUNT},
    {"nofile", RLIMIT_NOFILE, COUNT},   {"nproc", RLIMIT_NPROC, COUNT},       {"rss", RLIMIT_RSS, BYTES},
    {"rtprio", RLIMIT_RTPRIO, COUNT},   {"rttime", RLIMIT_RTTIME, COUNT},     {"sigpending", RLIMIT_SIGPENDING, COUNT},
    {"stack", RLIMIT_STACK, BYTES},
};

enum { LIMIT_NAMES = sizeof limit_names / sizeof limit_names[0] };

const char *run_limit_name(int resource) {
    for (size_t i = 0; i < LIMIT_NAMES; i++)
        if (limit_names[i].resource == resource)
            return limit_names[i].name;
    return "";
}

static int read_duration(const char *text, void *field, args_problem *problem) {
    run_time *time = field;
    int r = text_read_duration(text, &time->ms);
    if (r == -ERANGE)
        return args_refuse(problem, "longer than can be counted; write 0 for none");
    if (r < 0)
        return args_refuse(problem, "not a time; write 10, 1.5s, 500ms, 2m, 1h, 1d, or 0 for none");
    time->given = true;
    return 0;
}

static int read_signal(const char *text, void *field, args_problem *problem) {
    int number = brood_signal_number(text);
    if (number > 0) {
        *(int *)field = number;
        return 0;
    }
    text_guess guess = {.word = strncasecmp(text, "SIG", 3) == 0 ? text + 3 : text};
    for (int i = 1; i < 32; i++) {
        const char *name = brood_signal_name(i);
        if (name && strncmp(name, "SIG", 3) == 0)
            text_guess_try(&guess, name + 3);
    }
    if (guess.best)
        return args_refuse(problem, "no such signal; did you mean %s?", guess.best);
    return args_refuse(problem, "no such signal; write TERM, INT, KILL or a number; kill -l lists them");
}

static int read_umask(const char *text, void *field, args_problem *problem) {
    uint64_t mode = 0;
    if (text_read_number(text, 8, &mode) < 0 || mode > 0777)
        return args_refuse(problem, "not a mask; write it in octal, 022 or 077");
    *(run_mask *)field = (run_mask){.given = true, .mode = (mode_t)mode};
    return 0;
}

static int read_nice(const char *text, void *field, args_problem *problem) {
    uint64_t number = 0;
    bool minus = text[0] == '-';
    if (text_read_number(text + (minus || text[0] == '+'), 10, &number) < 0 || number > (minus ? 40 : 39))
        return args_refuse(problem, "not a niceness; write a number from -40 to 39 that is added to the present one");
    *(int *)field = minus ? -(int)number : (int)number;
    return 0;
}

/* Room for one more in an array that is grown by one: options are few. */
static void *grow(void *items, size_t count, size_t size) {
    return reallocarray(items, count + 1, size);
}

static int read_env(const char *text, void *field, args_problem *problem) {
    run_words *env = field;
    if (text[0] == '=' || text[0] == 0)
        return args_refuse(problem, "no name; write NAME=value, or NAME alone to take it away");
    const char **items = grow(env->items, env->count, sizeof *items);
    if (!items)
        return -ENOMEM;
    env->items = items;
    env->items[env->count++] = text;
    return 0;
}

static int read_own(const char *text, void *field, args_problem *problem) {
    static const struct {
        const char *name;
        brood_ownership own;
    } choices[] = {
        {"child", BROOD_OWN_CHILD}, {"group", BROOD_OWN_GROUP}, {"tree", BROOD_OWN_TREE}, {"none", BROOD_OWN_NONE}};
    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        if (strcmp(text, choices[i].name) == 0) {
            *(brood_ownership *)field = choices[i].own;
            return 0;
        }
    }
    return args_refuse(problem, "write child, group, tree or none");
}

int run_read_guarantee(const char *text, void *field, args_problem *problem) {
    for (brood_guarantee g = BROOD_GUARANTEE_BEST_EFFORT; g <= BROOD_GUARANTEE_KERNEL; g++) {
        if (strcmp(text, brood_guarantee_text(g)) == 0) {
            *(brood_guarantee *)field = g;
            return 0;
        }
    }
    return args_refuse(problem, "write best-effort or kernel");
}

enum { MOST_CPUS = 8192, MOST_PIDS = 4194304 }; /* Linux has no more */

static int read_size(const char *text, void *field, args_problem *problem) {
    uint64_t *bytes = field;
    int r = text_read_size(text, bytes);
    if (r == -ERANGE || (r == 0 && *bytes > INT64_MAX))
        return args_refuse(problem, "more than any machine has");
    if (r < 0 || *bytes == 0)
        return args_refuse(problem, "not a size; write 512M, 1.5G or a number of bytes");
    return 0;
}

static int read_pids(const char *text, void *field, args_problem *problem) {
    uint64_t *pids = field;
    if (text_read_number(text, 10, pids) < 0 || *pids == 0 || *pids > MOST_PIDS)
        return args_refuse(problem, "not a number of processes; write 64");
    return 0;
}

static int read_cpus(const char *text, void *field, args_problem *problem) {
    uint64_t *percent = field;
    if (text_read_percent(text, percent) < 0 || *percent == 0 || *percent > MOST_CPUS * 100)
        return args_refuse(problem, "not a number of CPUs; write 2, 1.5 or 150%%");
    long here = sysconf(_SC_NPROCESSORS_CONF);
    if (!strchr(text, '%') && here > 0 && *percent > (uint64_t)here * 100)
        return args_refuse(problem, "more CPUs than there are here (%ld); 150%% is one and a half", here);
    return 0;
}

static int read_cpu_time(const char *text, void *field, args_problem *problem) {
    uint64_t *ms = field;
    if (text_read_duration(text, ms) < 0 || *ms == 0)
        return args_refuse(problem, "not a time; write 10, 1.5s, 500ms, 2m, 1h or 1d");
    return 0;
}

static int read_report(const char *text, void *field, args_problem *problem) {
    if (strcmp(text, "json") != 0)
        return args_refuse(problem, "write json: the only form there is");
    *(bool *)field = true;
    return 0;
}

static int read_code(const char *text, void *field, args_problem *problem) {
    run_codes *codes = field;
    uint64_t code = 0;
    if (text_read_number(text, 10, &code) < 0 || code > 255)
        return args_refuse(problem, "not an exit status; write a number from 0 to 255, 143 for SIGTERM");
    codes->bits[code / 64] |= UINT64_C(1) << code % 64;
    codes->given = true;
    return 0;
}

bool run_is_remapped(const run_options *options, int status) {
    return status >= 0 && status < 256 && (options->remapped.bits[status / 64] >> status % 64 & 1);
}

static int read_limit_value(const char *text, limit_unit unit, uint64_t *ret_value) {
    if (strcmp(text, "unlimited") == 0 || strcmp(text, "infinity") == 0) {
        *ret_value = UINT64_MAX;
        return 0;
    }
    if (unit == BYTES)
        return text_read_size(text, ret_value);
    if (unit == COUNT)
        return text_read_number(text, 10, ret_value);
    uint64_t ms = 0;
    int r = text_read_duration(text, &ms);
    if (r == 0)
        *ret_value = ms / 1000 + (ms % 1000 != 0);
    return r;
}

static int refuse_limit_name(const char *name, args_problem *problem) {
    text_guess guess = {.word = name};
    for (size_t i = 0; i < LIMIT_NAMES; i++)
        text_guess_try(&guess, limit_names[i].name);
    if (guess.best)
        return args_refuse(problem, "no such resource; did you mean %s?", guess.best);
    size_t at = 0;
    char names[200] = "";
    for (size_t i = 0; i < LIMIT_NAMES; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, " %s", limit_names[i].name);
    return args_refuse(problem, "no such resource; there are%s", names);
}

static int refuse_limit_value(const struct limit_name *limit, args_problem *problem) {
    static const char *const examples[] = {
        [COUNT] = "1024, 1024:2048 (soft:hard) or unlimited",
        [BYTES] = "64M, 512K:2G (soft:hard) or unlimited",
        [SECONDS] = "30s, 1m:2m (soft:hard) or unlimited",
    };
    return args_refuse(problem, "not a limit of %s; write %s=%s", limit->name, limit->name, examples[limit->unit]);
}

/* "64M" is soft and hard, "64M:1G" one each. */
static int read_limit_pair(char *text, const struct limit_name *limit, brood_rlimit *ret_limit, args_problem *problem) {
    char *hard = strchr(text, ':');
    if (hard)
        *hard++ = 0;
    ret_limit->resource = limit->resource;
    if (read_limit_value(text, limit->unit, &ret_limit->soft) < 0 ||
        read_limit_value(hard ? hard : text, limit->unit, &ret_limit->hard) < 0)
        return refuse_limit_value(limit, problem);
    if (ret_limit->soft > ret_limit->hard)
        return args_refuse(problem, "the soft limit is above the hard one; write soft:hard");
    return 0;
}

/* The last one of a resource holds: were both set, the second could no longer raise what the first has lowered. */
static int set_limit(run_limits *limits, const brood_rlimit *limit) {
    size_t at = 0;
    while (at < limits->count && limits->items[at].resource != limit->resource)
        at++;
    if (at == limits->count) {
        brood_rlimit *items = grow(limits->items, limits->count, sizeof *items);
        if (!items)
            return -ENOMEM;
        limits->items = items;
        limits->count++;
    }
    limits->items[at] = *limit;
    return 0;
}

static int read_limit(const char *text, void *field, args_problem *problem) {
    run_limits *limits = field;
    char word[100];
    if (snprintf(word, sizeof word, "%s", text) >= (int)sizeof word)
        return args_refuse(problem, "too long; write NAME=SOFT:HARD");
    char *value = strchr(word, '=');
    if (!value)
        return args_refuse(problem, "no value; write NAME=SOFT:HARD, such as nofile=1024");
    *value++ = 0;
    for (size_t i = 0; i < LIMIT_NAMES; i++) {
        if (strcmp(word, limit_names[i].name) != 0)
            continue;
        brood_rlimit limit = {0};
        int r = read_limit_pair(value, &limit_names[i], &limit, problem);
        return r < 0 ? r : set_limit(limits, &limit);
    }
    return refuse_limit_name(word, problem);
}

static int read_path(const char *text, void *field, args_problem *problem) {
    if (!*text)
        return args_refuse(problem, "an empty path");
    return args_read_text(text, field, problem);
}

static int read_file(const char *text, void *field, args_problem *problem) {
    if (strcmp(text, "-") == 0)
        return args_refuse(problem, "write a file's name; left out, it is inherited (a file named - is ./-)");
    return read_path(text, field, problem);
}

static int read_report_file(const char *text, void *field, args_problem *problem) {
    if (strcmp(text, "-") == 0 || strcmp(text, "null") == 0)
        return args_refuse(problem, "write a file's name; --report json alone writes to stderr (a file of that name "
                                    "is ./NAME)");
    return read_path(text, field, problem);
}

#define FIELD(name) .field = offsetof(run_options, name)

static const args_option table[] = {
    {.section = "What the command gets",
     .name = "cwd",
     .letter = 'C',
     .value = "DIR",
     .read = read_path,
     FIELD(cwd),
     .also = "d D chdir dir directory workdir working-directory pwd",
     .help = "run it in this directory"},
    {.name = "env",
     .letter = 'e',
     .value = "NAME[=VALUE]",
     .read = read_env,
     FIELD(env),
     .also = "setenv unset unsetenv",
     .help = "set NAME in its environment; NAME alone takes it away; may be repeated"},
    {.name = "clear-env",
     FIELD(clear_env),
     .also = "ignore-environment clearenv",
     .help = "start from an empty environment"},
    {.name = "user",
     .value = "USER",
     .read = args_read_text,
     FIELD(user),
     .also = "u uid username setuid",
     .help = "run it as this user (name or number), with the user's group and supplementary groups"},
    {.name = "group",
     .value = "GROUP",
     .read = args_read_text,
     FIELD(group),
     .also = "gid setgid",
     .help = "run it in this group (name or number)"},
    {.name = "groups",
     .value = "GROUP,...",
     .read = args_read_text,
     FIELD(groups),
     .help = "exactly these supplementary groups; \"\" for none"},
    {.name = "umask", .value = "MASK", .read = read_umask, FIELD(umask), .help = "file mode mask, in octal: 022"},
    {.name = "nice",
     .value = "N",
     .read = read_nice,
     FIELD(nice),
     .also = "niceness adjustment priority",
     .help = "add N to its niceness, -40 to 39"},
    {.name = "limit",
     .value = "NAME=SOFT[:HARD]",
     .read = read_limit,
     FIELD(limits),
     .also = "rlimit ulimit",
     .help = "resource limit: nofile=1024, as=2G, cpu=30s, core=unlimited; may be repeated; names as in man brood-run"},
    {.name = "shell", FIELD(shell), .help = "the command is one text for /bin/sh -c"},

    {.section = "Its input and output (inherited unless said otherwise)",
     .name = "stdin",
     .value = "FILE",
     .read = read_file,
     FIELD(in),
     .also = "i input",
     .help = "read its input from FILE; null: there is none"},
    {.name = "stdout",
     .value = "FILE",
     .read = read_file,
     FIELD(out),
     .also = "o output",
     .help = "write its output to FILE; null: drop it"},
    {.name = "stderr",
     .value = "FILE",
     .read = read_file,
     FIELD(err),
     .also = "error",
     .help = "write its errors to FILE; null: drop them"},
    {.name = "stderr-to-stdout", FIELD(err_to_out), .help = "its errors go where its output goes: 2>&1"},
    {.name = "append", FIELD(append), .help = "add to the files of --stdout, --stderr and --report-file"},
    {.name = "close-fds",
     FIELD(close_fds),
     .also = "no-inherit",
     .help = "no descriptors but these three reach it; without this, and without --user, --group or --groups, all "
             "that brood was given do"},

    {.section = "When it ends",
     .name = "timeout",
     .letter = 't',
     .value = "TIME",
     .read = read_duration,
     FIELD(timeout),
     .also = "time-limit max-time deadline",
     .help = "stop it after TIME: 10 (seconds), 1.5s, 500ms, 2m, 1h, 1d; 0: never"},
    {.name = "idle-timeout",
     .value = "TIME",
     .read = read_duration,
     FIELD(idle_timeout),
     .also = "silence",
     .help = "stop it when it has written nothing for TIME; its output then goes through a pipe that brood copies on"},
    {.name = "kill-after",
     .letter = 'k',
     .value = "TIME",
     .read = read_duration,
     FIELD(kill_after),
     .also = "grace kill-timeout",
     .help = "SIGKILL so long after a stop's first signal: 5s; 0: never"},
    {.name = "signal",
     .letter = 's',
     .value = "SIGNAL",
     .read = read_signal,
     FIELD(signal),
     .also = "kill-signal",
     .help = "a stop's first signal, name or number: TERM"},
    {.name = "preserve-status",
     .letter = 'p',
     FIELD(preserve_status),
     .help = "exit as the command did, also after a timeout"},
    {.name = "own",
     .value = "WHAT",
     .read = read_own,
     FIELD(own),
     .also = "foreground process-group kill-group",
     .help = "what a stop reaches: child, group (a process group made for it), tree, none; group by default, child at "
             "a terminal"},
    {.name = "tree",
     FIELD(tree),
     .also = "kill-tree no-orphans",
     .help = "own all that descends from it: nothing of it is left when it ends, or when brood does, even by SIGKILL"},
    {.name = "require",
     .value = "GUARANTEE",
     .read = run_read_guarantee,
     FIELD(require),
     .also = "guarantee",
     .help = "with --tree: do not start it unless that is guaranteed so well: best-effort, kernel"},
    {.name = "pid-namespace",
     FIELD(pid_namespace),
     .also = "unshare-pid pidns",
     .help = "its tree has a PID namespace and a /proc of its own: nothing outlives it; implies --tree"},
    {.name = "memory",
     .value = "SIZE",
     .read = read_size,
     FIELD(tree_limits.memory),
     .also = "mem memory-max max-memory",
     .help = "what all of its tree may use together: 512M, 2G; implies --tree, as do the next five"},
    {.name = "pids",
     .value = "N",
     .read = read_pids,
     FIELD(tree_limits.pids),
     .also = "pids-limit tasks-max max-processes",
     .help = "so many processes and threads: a fork beyond that fails"},
    {.name = "cpu",
     .value = "N",
     .read = read_cpus,
     FIELD(tree_limits.cpu_percent),
     .also = "cpus cpu-quota",
     .help = "so many CPUs: 2, 1.5 or 150%: it waits for more"},
    {.name = "cpu-time",
     .value = "TIME",
     .read = read_cpu_time,
     FIELD(tree_limits.cpu_time_ms),
     .help = "stop it when all of it together has used so much CPU time"},
    {.name = "io-read",
     .value = "SIZE",
     .read = read_size,
     FIELD(tree_limits.io_read_bps),
     .also = "read-bps device-read-bps io-read-bandwidth-max io-max",
     .help = "so many bytes a second from each disk, 10M: it waits for more; what is cached is free"},
    {.name = "io-write",
     .value = "SIZE",
     .read = read_size,
     FIELD(tree_limits.io_write_bps),
     .also = "write-bps device-write-bps io-write-bandwidth-max",
     .help = "so many bytes a second to each disk: it waits for more"},
    {.name = "detach",
     FIELD(detach),
     .also = "b background daemon daemonize fork",
     .help = "start it in a session of its own, print its pid, leave"},

    {.section = "As an init, of a container or of all below it",
     .name = "init",
     FIELD(init),
     .also = "subreaper reap pid1 tini dumb-init",
     .help = "adopt and reap orphans, as PID 1 or as a subreaper; pass signals on to the command alone; end with it"},
    {.name = "signal-group",
     .letter = 'g',
     FIELD(signal_group),
     .also = "kill-process-group",
     .help = "with --init: signals go to the command's process group, with --tree to all of the tree"},
    {.name = "warn-zombies",
     .letter = 'w',
     FIELD(warn_zombies),
     .also = "warn-on-reap",
     .help = "with --init: tell of each orphan that is reaped"},
    {.name = "remap-exit",
     .value = "CODE",
     .read = read_code,
     FIELD(remapped),
     .also = "remap success-exit",
     .help = "exit with 0 if the command exits with CODE (128+N: ended by signal N); may be repeated"},
    {.name = "parent-death",
     .value = "SIGNAL",
     .read = read_signal,
     FIELD(parent_death),
     .also = "pdeathsig parent-death-signal",
     .help = "have this signal sent to brood when brood's parent ends"},

    {.section = "What is told",
     .name = "report",
     .value = "json",
     .read = read_report,
     FIELD(report),
     .also = "json",
     .help =
         "one line of JSON on stderr when it has ended: how, why, times, memory; nothing else of brood's goes there"},
    {.name = "report-file",
     .value = "FILE",
     .read = read_report_file,
     FIELD(report_file),
     .also = "joblog log",
     .help = "the report goes to FILE"},
    {.name = "quiet", .letter = 'q', FIELD(quiet), .also = "silent", .help = "not a word about how it ended"},
    {.name = "verbose", .letter = 'v', FIELD(verbose), .help = "say what is started, signalled and how it ended"},
    {.name = "license", .letter = 'l', FIELD(license), .last = true, .help = "print the license"},
    {.name = "help", .letter = 'h', FIELD(help), .last = true, .help = "print this"},
    {0},
};

static bool is_set(const run_time *time) {
    return time->given && time->ms > 0;
}

/* The first limit of its tree that was given, or NULL. */
static const char *tree_limit_of(const run_options *o) {
    const brood_limits *l = &o->tree_limits;
    return l->memory         ? "memory"
           : l->pids         ? "pids"
           : l->cpu_percent  ? "cpu"
           : l->cpu_time_ms  ? "cpu-time"
           : l->io_read_bps  ? "io-read"
           : l->io_write_bps ? "io-write"
                             : NULL;
}

/* The first option that makes no sense but for a tree, or NULL. */
static const char *implies_tree(const run_options *o) {
    return o->pid_namespace ? "pid-namespace" : tree_limit_of(o);
}

/* --detach leaves nobody behind to wait, to stop or to report. Returns the first option that needs one, or NULL. */
static const char *needs_somebody(const run_options *o) {
    if (is_set(&o->timeout))
        return "timeout";
    if (is_set(&o->idle_timeout))
        return "idle-timeout";
    if (o->kill_after.given)
        return "kill-after";
    if (o->signal)
        return "signal";
    if (o->preserve_status)
        return "preserve-status";
    if (o->report || o->report_file)
        return o->report_file ? "report-file" : "report";
    if (implies_tree(o))
        return implies_tree(o);
    if (o->tree)
        return "tree";
    if (o->init)
        return "init";
    if (o->remapped.given)
        return "remap-exit";
    if (o->parent_death)
        return "parent-death";
    return o->own != BROOD_OWN_DEFAULT && o->own != BROOD_OWN_NONE ? "own" : NULL;
}

static int check_command(const run_options *o, args_problem *problem) {
    if (!o->command[0])
        return args_refuse(problem, "no command; it comes after the options: brood run -- sleep 5");
    if (!o->command[0][0])
        return args_refuse(problem, "the command is empty (a variable that is not set?)");
    if (o->shell && o->command[1])
        return args_refuse(problem, "--shell takes the command as one word; quote it: --shell 'ls | wc -l'");
    return 0;
}

/* tini's -e, which would otherwise be ours without a word. */
static const char *lone_number(const run_words *env) {
    uint64_t number;
    for (size_t i = 0; i < env->count; i++)
        if (text_read_number(env->items[i], 10, &number) == 0)
            return env->items[i];
    return NULL;
}

static int check_contradictions(const run_options *o, args_problem *problem) {
    if (o->err && o->err_to_out)
        return args_refuse(problem, "--stderr and --stderr-to-stdout contradict each other");
    if (o->append && !o->out && !o->err && !o->report_file)
        return args_refuse(problem, "--append needs --stdout, --stderr or --report-file");
    if (o->quiet && o->verbose)
        return args_refuse(problem, "--quiet and --verbose contradict each other");
    if (o->report && !o->report_file && (o->verbose || o->warn_zombies))
        return args_refuse(problem, "--%s and --report would share standard error; use --report-file",
                           o->verbose ? "verbose" : "warn-zombies");
    if (o->own == BROOD_OWN_NONE && (is_set(&o->timeout) || is_set(&o->idle_timeout)))
        return args_refuse(problem, "with --own none a timeout would reach nothing; use --own child or group");
    if (implies_tree(o) && o->own != BROOD_OWN_TREE)
        return args_refuse(problem, "--%s is for a tree, and --own says that there is none", implies_tree(o));
    if (o->tree && o->own != BROOD_OWN_TREE)
        return args_refuse(problem, "--tree and --own contradict each other");
    if (o->require && o->own != BROOD_OWN_TREE)
        return args_refuse(problem, "--require needs --tree: nothing less guarantees anything");
    if ((o->signal_group || o->warn_zombies) && !o->init)
        return args_refuse(problem, "--%s needs --init", o->signal_group ? "signal-group" : "warn-zombies");
    if (o->signal_group && (o->own == BROOD_OWN_CHILD || o->own == BROOD_OWN_NONE))
        return args_refuse(problem, "--signal-group needs a process group; use --own group, or no --own");
    if (o->init && o->preserve_status && strncmp(o->command[0], "SIG", 3) == 0 &&
        brood_signal_number(o->command[0]) > 0)
        return args_refuse(problem, "what tini calls -p %s is --parent-death %s here", o->command[0], o->command[0]);
    const char *code = o->init ? lone_number(&o->env) : NULL;
    if (code)
        return args_refuse(problem, "-e %.20s would take a variable away; what tini calls -e is --remap-exit here",
                           code);
    const char *needs = o->detach ? needs_somebody(o) : NULL;
    if (needs)
        return args_refuse(problem, "--%s needs somebody who waits, and --detach leaves at once", needs);
    return 0;
}

int run_options_read(run_options *ret_options, char *const *args, args_problem *problem) {
    *ret_options = (run_options){.command = NULL};
    int r = args_read(table, args, ret_options, &ret_options->command, problem);
    if (r < 0 || ret_options->help || ret_options->license)
        return r;
    if ((ret_options->tree || implies_tree(ret_options)) && ret_options->own == BROOD_OWN_DEFAULT)
        ret_options->own = BROOD_OWN_TREE;
    r = check_command(ret_options, problem);
    if (r == 0)
        r = check_contradictions(ret_options, problem);
    if (ret_options->signal_group && ret_options->own == BROOD_OWN_DEFAULT)
        ret_options->own = BROOD_OWN_GROUP;
    return r;
}

void run_options_done(run_options *options) {
    free(options->env.items);
    free(options->limits.items);
    *options = (run_options){.command = NULL};
}

void run_options_print_help(FILE *file) {
    fputs("Usage: brood run [OPTION]... [--] COMMAND [ARGUMENT]...\n"
          "Run a command: where, as whom, within which limits, for how long. Signals sent\n"
          "to brood reach it; what it could be stopped by, and how it ended, is told.\n",
          file);
    args_print_options(file, table);
    fputs("\nExit status: the command's own; 128+N if signal N ended it; 124 if a time limit\n"
          "stopped it; 125 if brood itself failed; 126 if the command cannot be run; 127 if\n"
          "it was not found.\n"
          "\nExamples:\n"
          "  brood run --timeout 30s --memory 2G -- make -j8\n"
          "  brood run --user www-data --cwd /srv --stdout log --append -- ./server\n"
          "  brood run --tree --timeout 1h -- ./integration-tests\n"
          "  brood run --report json --stdin null -- ./job\n"
          "  brood run --init -- ./server        as a container's ENTRYPOINT, for tini\n"
          "\nManual: man brood-run.\n",
          file);
}
