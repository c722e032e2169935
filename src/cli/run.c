/*
 * `brood run`: start one command, hold it to its limits, pass signals on, and end as it ended. The order matters.
 * Signals are taken before the start, since one that came between start and taking would end brood and leave the
 * command behind; what is owed to the terminal is put right before anything is said; and when signals do again what
 * they do by default, all that is left is to tell and to exit.
 */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { DRAIN_GRACE_MS = 1000 }; /* after a stop: so long may a reader of ours take for what is left */

static bool has_rest(const run *r) {
    return relay_is_busy(&r->relays[0]) || relay_is_busy(&r->relays[1]);
}

static void leave_loop(uv_timer_t *timer) {
    uv_stop(timer->loop);
}

/* Called when the command is done with, and whenever a relay is: the later one ends it. */
static void finish_if_done(void *the_run) {
    run *r = the_run;
    if (!r->closed)
        return;
    if (!has_rest(r))
        uv_stop(&r->loop);
    else if (run_was_stopped(r) && !uv_is_active((uv_handle_t *)&r->drain_timer))
        uv_timer_start(&r->drain_timer, leave_loop, DRAIN_GRACE_MS, 0);
}

/* --- what signals do --- */

static void leave_by_signal(void *the_run, int signal) {
    run *r = the_run;
    r->left_by = signal;
    uv_stop(&r->loop);
}

static void tell_signal(void *the_run, int signal, int result) {
    run *r = the_run;
    const char *name = brood_signal_name(signal);
    r->last_signal = signal;
    if (result == 0 && r->options->verbose)
        cli_remark("run", "passed %s on", name);
    bool refused = result < 0 && result != -ESRCH; /* -EPERM: it runs as somebody else by now */
    if (refused && !r->options->quiet && run_may_speak(r))
        cli_remark("run", "could not pass %s on: %s", name, strerror(-result));
}

static void tell_held(void *the_run, int signal) {
    run *r = the_run;
    if (r->held || r->options->quiet || !run_may_speak(r))
        return;
    r->held = true;
    cli_remark("run",
               "the command was stopped by %s: it uses the terminal from a process group of its own; "
               "--own child leaves it in the terminal's foreground",
               brood_signal_name(signal));
}

static void reap_orphans(void *the_run) {
    reaper_look(&((run *)the_run)->reaper);
}

/* --- what the command does --- */

static void tell_start(const run *r, const brood_child *child) {
    char line[1000], sure[32] = "";
    if (r->own == BROOD_OWN_TREE)
        snprintf(sure, sizeof sure, ", guaranteed: %s", brood_guarantee_text(brood_child_guarantee(child)));
    cli_remark("run", "started %s (pid %ld, owned: %s%s)", run_command_line(r, line, sizeof line),
               (long)brood_child_pid(child), run_own_word(r->own), sure);
}

/* The pid is all that is left of it. If it cannot be told, whoever started us learns at least that there is one. */
static void leave_it(run *r, brood_child *child) {
    pid_t pid = brood_child_pid(child);
    if (printf("%ld\n", (long)pid) < 0 || fflush(stdout) != 0) {
        cli_complain("run", "started pid %ld, but cannot write that to standard output: %s", (long)pid,
                     strerror(errno));
        r->failed = true;
    }
    brood_child_detach(child);
    brood_child_close(child);
    uv_stop(&r->loop);
}

/* Where no cgroup can be had; said only once it runs, since a start that fails has its own words. */
static void tell_weak_limit(run *r) {
    if (r->memory_limited == BROOD_LIMITED_EACH && !r->options->quiet && run_may_speak(r))
        cli_remark("run",
                   "--memory holds for the address space of each process by itself: no cgroup can be had here for "
                   "all of it");
}

static void command_started(brood_child *child, void *the_run) {
    run *r = the_run;
    r->memory_limited = brood_child_limited(child, BROOD_LIMIT_MEMORY);
    tell_weak_limit(r);
    run_close_files(r); /* a FIFO's other end waits for the last writer, and that has to be the command */
    forward_child_started(&r->forward);
    if (r->options->init) {
        reaper_command_started(&r->reaper, brood_child_pid(child), r->own == BROOD_OWN_TREE);
        reaper_look(&r->reaper);
    }
    if (r->options->verbose)
        tell_start(r, child);
    if (r->options->detach)
        leave_it(r, child);
}

static void command_failed(brood_child *child, const brood_failure *why, void *the_run) {
    (void)child;
    ((run *)the_run)->failure = *why;
}

/* What it has left of its tree goes with it. */
static void command_exited(brood_child *child, const brood_exit *ended, void *the_run) {
    run *r = the_run;
    r->ended = *ended;
    if (r->own == BROOD_OWN_TREE && !run_was_stopped(r))
        brood_child_kill_owned(child, SIGKILL);
}

static void tree_ended(brood_child *child, const brood_usage *usage, void *the_run) {
    run *r = the_run;
    (void)child;
    r->tree_usage = *usage;
    r->tree_ended = true;
}

static void command_closed(brood_child *child, const brood_exit *ended, void *the_run) {
    run *r = the_run;
    if (r->options->detach && r->failure.code == 0)
        return; /* it was let go, and lives */
    r->ended = *ended;
    r->guarantee = brood_child_guarantee(child);
    r->closed = true;
    forward_child_ended(&r->forward);
    relay_forget_stream(&r->relays[0]);
    relay_forget_stream(&r->relays[1]);
    brood_child_close(child);
    finish_if_done(r);
}

/* --- the whole --- */

static int open_relays(run *r) {
    int result = 0;
    for (int slot = 1; slot <= 2 && result == 0; slot++) {
        relay *to = &r->relays[slot - 1];
        to->on_rest = finish_if_done;
        to->data = r;
        if (run_is_relayed(r, slot)) {
            to->fd = run_destination(r, slot);
            result = relay_open(to, &r->loop);
        }
    }
    return result;
}

static int open_forward(run *r) {
    r->forward.terminal = &r->terminal;
    r->forward.own = r->own;
    r->forward.kill_after_ms = r->options->kill_after.ms;
    r->forward.on_signal = tell_signal;
    r->forward.on_leave = leave_by_signal;
    r->forward.on_held = tell_held;
    r->forward.data = r;
    if (r->options->init) {
        r->forward.reach = r->options->signal_group ? FORWARD_TO_ALL : FORWARD_TO_COMMAND;
        r->forward.gives_terminal = r->options->signal_group && r->own == BROOD_OWN_GROUP;
        r->forward.on_children = reap_orphans;
        r->reaper.tells = r->options->warn_zombies;
    }
    if (!r->options->detach)
        return forward_open(&r->forward, &r->loop);
    forward_block_sigpipe();
    return 0;
}

static int open_loop(run *r) {
    int result = cli_look_for_descriptors();
    if (result == 0)
        result = uv_loop_init(&r->loop);
    if (result < 0)
        return run_fail(r, BROOD_STEP_LOOP, "the event loop", result);
    r->loop_open = true;
    uv_timer_init(&r->loop, &r->drain_timer);
    uv_unref((uv_handle_t *)&r->drain_timer); /* what it bounds is what keeps the loop alive */
    result = open_forward(r);
    if (result < 0)
        return run_fail(r, BROOD_STEP_LOOP, "signals", result);
    result = open_relays(r); /* threads: with the signals blocked by now, none is delivered to them */
    return result < 0 ? run_fail(r, BROOD_STEP_LOOP, "copying its output", result) : 0;
}

static int become_init(run *r) {
    int result = r->options->init ? reaper_open() : 0;
    return result < 0 ? run_fail(r, BROOD_STEP_LOOP, "becoming a subreaper", result) : 0;
}

/* To be called when signals are taken: like any other it goes on to the command. The parent may have gone by now. */
static void follow_parent(const run *r) {
    if (!r->options->parent_death)
        return;
    prctl(PR_SET_PDEATHSIG, r->options->parent_death, 0, 0, 0);
    if (getppid() != r->parent)
        raise(r->options->parent_death);
}

/* Starts it and waits until there is nothing more to wait for. */
static void carry_out(run *r) {
    brood_child *child = NULL;
    brood_options options = run_child_options(r);
    const brood_limits *limits = &options.limits;
    if (limits->memory || limits->pids || limits->cpu_percent || limits->io_read_bps || limits->io_write_bps)
        (void)brood_cgroup_adopt(NULL); /* if it cannot, there may be other ways: the start knows */
    options.on_spawn = command_started;
    options.on_error = command_failed;
    options.on_exit = command_exited;
    options.on_close = command_closed;
    options.on_empty = r->own == BROOD_OWN_TREE ? tree_ended : NULL;
    options.data = r;
    clock_gettime(CLOCK_REALTIME, &r->started);
    if (brood_spawn(&r->loop, &options, &child, &r->failure) < 0)
        return;
    r->forward.child = child;
    uv_run(&r->loop, UV_RUN_DEFAULT);
}

static void close_loop(run *r) {
    if (!r->loop_open)
        return;
    relay_close(&r->relays[0]);
    relay_close(&r->relays[1]);
    uv_close((uv_handle_t *)&r->drain_timer, NULL);
    brood_loop_close(&r->loop, NULL, NULL);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_loop_close(&r->loop);
}

static run *volatile left_behind; /* where leak checkers find it */

/* A thread whose write blocks for ever uses its run until the end of the process: such a run is left as it is. */
static void done_with(run *r) {
    if (has_rest(r)) {
        left_behind = r;
        return;
    }
    close_loop(r);
    terminal_close(&r->terminal);
    run_release_setup(r);
    free(r);
}

static run *new_run(const cli_host *host, const run_options *options) {
    run *r = malloc(sizeof *r);
    if (!r)
        return NULL;
    *r = (run){
        .host = host,
        .options = options,
        .parent = getppid(),
        .files = {-1, -1, -1},
        .report_fd = -1,
        .terminal = {.fd = -1},
        .forward = {.fd = -1},
        .relays = {{.fd = -1}, {.fd = -1}},
        .ended = {.code = -1, .reason = BROOD_REASON_NOT_STARTED},
    };
    clock_gettime(CLOCK_REALTIME, &r->started);
    return r;
}

static int run_command(const cli_host *host, const run_options *options) {
    run *r = new_run(host, options);
    if (!r) {
        cli_complain("run", "%s", strerror(ENOMEM));
        return CLI_FAILED;
    }
    if (run_prepare(r) == 0 && open_loop(r) == 0 && become_init(r) == 0) {
        follow_parent(r);
        terminal_open(&r->terminal);
        carry_out(r);
    }
    forward_close(&r->forward);
    if (r->ended.signal)
        terminal_restore(&r->terminal);
    int status = run_conclude(r);
    bool interrupted =
        forward_interrupted(&r->forward) && r->ended.signal == SIGINT && status == CLI_SIGNAL_BASE + SIGINT;
    bool given = r->forward.given;
    done_with(r);
    if (interrupted && given)
        kill(0, SIGINT); /* all of our group would have got it, had the foreground not been the command's */
    if (interrupted)     /* a shell gives up its loop only if what it waited for died of Ctrl-C too */
        forward_die(SIGINT);
    return status;
}

static int run_main(const cli_host *host, char *const *args) {
    run_options options;
    args_problem problem;
    int status = CLI_FAILED;
    int r = run_options_read(&options, args, &problem);
    if (r == -EINVAL) {
        cli_complain("run", "%s (brood run --help)", problem.text);
    } else if (r < 0) {
        cli_complain("run", "%s", strerror(-r));
    } else if (options.help) {
        run_options_print_help(stdout);
        status = cli_flush("run", 0);
    } else if (options.license) {
        status = cli_print_license("run");
    } else {
        status = run_command(host, &options);
    }
    run_options_done(&options);
    return status;
}

const cli_command cli_run = {
    .name = "run",
    .summary = "run a command within limits, and end as it ends",
    .main = run_main,
    .print_help = run_options_print_help,
};
