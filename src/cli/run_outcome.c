/*
 * How a run ended: the exit status, the words for people, the report for programs. Little is said unasked: what nobody
 * can see from the exit status alone, and what brood itself could not do.
 */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "explain.h"
#include "report.h"
#include "text.h"

const char *run_own_word(brood_ownership own) {
    static const char *const words[] = {
        [BROOD_OWN_CHILD] = "child", [BROOD_OWN_GROUP] = "group", [BROOD_OWN_TREE] = "tree", [BROOD_OWN_NONE] = "none"};
    return words[own];
}

const char *run_command_line(const run *r, char *ret_text, size_t size) {
    brood_quote(r->args, ret_text, size);
    return ret_text;
}

static bool lost_its_holder(const run *r) {
    return r->ended.stop_error == -EOWNERDEAD;
}

bool run_may_speak(const run *r) {
    return r->report_fd != STDERR_FILENO;
}

bool run_was_stopped(const run *r) {
    brood_reason reason = r->ended.reason;
    return reason == BROOD_REASON_TIMED_OUT || reason == BROOD_REASON_IDLE || reason == BROOD_REASON_CPU_TIME;
}

/* A start that a time limit or a signal took back ends as the command would have ended. */
static int not_started_status(const run *r) {
    if (run_was_stopped(r))
        return CLI_TIMED_OUT;
    if (r->failure.step == BROOD_STEP_ABORTED && r->last_signal)
        return CLI_SIGNAL_BASE + r->last_signal;
    return explain_status(&r->failure);
}

static int exit_status(const run *r) {
    const brood_exit *ended = &r->ended;
    if (r->failed)
        return CLI_FAILED;
    if (r->failure.code < 0)
        return not_started_status(r);
    if (r->options->detach)
        return 0;
    if (r->left_by)
        return CLI_SIGNAL_BASE + r->left_by;
    if (run_was_stopped(r) && !r->options->preserve_status)
        return CLI_TIMED_OUT;
    if (!ended->signal && ended->code < 0)
        return CLI_FAILED;
    int status = ended->signal ? CLI_SIGNAL_BASE + ended->signal : ended->code;
    return run_is_remapped(r->options, status) ? 0 : status;
}

/* "exited with 3", "ended by SIGSEGV (core dumped)" */
static const char *describe_exit(const brood_exit *ended, char *ret_text, size_t size) {
    if (ended->signal)
        snprintf(ret_text, size, "ended by %s%s", brood_signal_name(ended->signal),
                 ended->core_dumped ? " (core dumped)" : "");
    else if (ended->code >= 0)
        snprintf(ret_text, size, "exited with %d", ended->code);
    else
        snprintf(ret_text, size, "ended, but somebody else took its exit status");
    return ret_text;
}

/* "; the memory limit (512 MiB) had ended 'cc1plus' (pid 812)"; "" if there is nothing of the kind to tell. */
static const char *describe_hit(const run *r, char *ret_text, size_t size) {
    const brood_limit_hit *hit = &r->ended.hit;
    char limit[32];
    ret_text[0] = '\0';
    if (hit->limit == BROOD_LIMIT_PIDS) {
        snprintf(ret_text, size, "; forks were refused: --pids %llu was reached",
                 (unsigned long long)r->options->tree_limits.pids);
        return ret_text;
    }
    if (hit->limit != BROOD_LIMIT_MEMORY)
        return ret_text;
    text_write_size(r->options->tree_limits.memory, limit, sizeof limit);
    const char *which = hit->around ? "one around it" : limit;
    if (r->ended.reason == BROOD_REASON_OUT_OF_MEMORY)
        snprintf(ret_text, size, ": the memory limit (%s) was reached", which);
    else if (hit->pid)
        snprintf(ret_text, size, "; the memory limit (%s) had ended '%s' (pid %ld)", which, hit->name, (long)hit->pid);
    else
        snprintf(ret_text, size, "; the memory limit (%s) had ended one of its processes", which);
    return ret_text;
}

/* How it ended, without the command: "timed out after 30s, ended by SIGTERM". */
static const char *describe_end(const run *r, char *ret_text, size_t size) {
    char end[100], time[32];
    const run_options *o = r->options;
    describe_exit(&r->ended, end, sizeof end);
    char stopped[100] = "";
    if (r->ended.stop_error && !lost_its_holder(r))
        snprintf(stopped, sizeof stopped, "could not be stopped (%s), ", strerror(-r->ended.stop_error));
    if (r->ended.reason == BROOD_REASON_TIMED_OUT)
        snprintf(ret_text, size, "timed out after %s, %s%s", text_write_duration(o->timeout.ms, time, sizeof time),
                 stopped, end);
    else if (r->ended.reason == BROOD_REASON_IDLE)
        snprintf(ret_text, size, "wrote nothing for %s and %s%s",
                 text_write_duration(o->idle_timeout.ms, time, sizeof time),
                 r->ended.stop_error ? stopped : "was stopped, ", end);
    else if (r->ended.reason == BROOD_REASON_CPU_TIME)
        snprintf(ret_text, size, "used up its CPU time of %s, %s%s",
                 text_write_duration(o->tree_limits.cpu_time_ms, time, sizeof time), stopped, end);
    else if (lost_its_holder(r))
        snprintf(ret_text, size, "%s; what held its tree was killed, and what it had started may live on", end);
    else
        snprintf(ret_text, size, "%s", end);
    size_t len = strlen(ret_text);
    describe_hit(r, ret_text + len, size - len);
    return ret_text;
}

/* What one cannot know otherwise. Shells say nothing of SIGINT and SIGPIPE, and who sent a signal knows. */
static bool is_worth_telling(const run *r) {
    const brood_exit *ended = &r->ended;
    if (run_was_stopped(r) || lost_its_holder(r) || ended->hit.limit || ended->reason == BROOD_REASON_UNKNOWN)
        return true;
    if (ended->signal == SIGINT || ended->signal == SIGPIPE)
        return false;
    return ended->signal && !forward_passed_on(&r->forward, ended->signal);
}

static void tell_end(const run *r, const char *end) {
    if (r->options->quiet || !run_may_speak(r) || (!r->options->verbose && !is_worth_telling(r)))
        return;
    char line[1000], time[32], after[64] = "";
    if (r->options->verbose)
        snprintf(after, sizeof after, ", after %s", text_write_duration(r->ended.run_us / 1000, time, sizeof time));
    cli_complain("run", "%s: %s%s", run_command_line(r, line, sizeof line), end, after);
}

/* Said, and added to the words for the report. */
static void tell_relay(run *r, const relay *from, const char *name, char *text, size_t size) {
    size_t len = strlen(text);
    if (from->error == 0 || from->error == -EPIPE)
        return; /* EPIPE: nobody wants more, which is no failure of ours */
    r->failed = true;
    snprintf(text + len, size - len, "; brood could not copy its %s on: %s", name, strerror(-from->error));
    if (run_may_speak(r))
        cli_complain("run", "cannot copy the command's %s on: %s", name, strerror(-from->error));
}

static void write_report(run *r, const char *message) {
    const report facts = {
        .command = r->args,
        .ended = &r->ended,
        .failure = &r->failure,
        .own = run_own_word(r->own),
        .guarantee = r->guarantee,
        .memory_limited = r->memory_limited,
        .tree_usage = r->tree_ended ? &r->tree_usage : NULL,
        .message = message,
        .started = r->started,
        .status = exit_status(r),
    };
    int result = report_write(r->report_fd, &facts);
    if (result == 0)
        return;
    const char *where = r->options->report_file ? r->options->report_file : "standard error";
    char shown[300];
    r->failed = true;
    cli_complain("run", "cannot write the report to %s: %s", text_quote_word(where, shown, sizeof shown),
                 strerror(-result));
}

/* The start failed, or was taken back: by whom is known to whoever did it. */
static const char *conclude_failure(run *r, char *text, size_t size) {
    explain_failure(&r->failure, r->options->cwd, text, size);
    if (!run_may_speak(r))
        return text;
    if (r->failure.step != BROOD_STEP_ABORTED || !r->last_signal)
        cli_complain("run", "%s", text);
    return text;
}

static const char *conclude_end(run *r, char *text, size_t size) {
    describe_end(r, text, size);
    tell_end(r, text);
    tell_relay(r, &r->relays[0], "output", text, size);
    tell_relay(r, &r->relays[1], "errors", text, size);
    return r->ended.signal || is_worth_telling(r) || r->failed ? text : NULL;
}

int run_conclude(run *r) {
    char text[800];
    const char *message = NULL;
    if (r->failure.code < 0)
        message = conclude_failure(r, text, sizeof text);
    else if (!r->options->detach)
        message = conclude_end(r, text, sizeof text);
    if (r->report_fd >= 0)
        write_report(r, message);
    return exit_status(r);
}
