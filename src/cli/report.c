/*
 * Writes the JSON report. Its keys are a promise to scripts: always all of them, null where nothing is known, new ones
 * only added. Arguments are bytes and JSON is Unicode: what is not UTF-8 becomes U+FFFD, in `command_line` too.
 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "cli.h"
#include "text.h"

/* Words that never change, unlike the text for people. */
static const char *const reason_words[] = {
    [BROOD_REASON_UNKNOWN] = "unknown",
    [BROOD_REASON_EXITED] = "exited",
    [BROOD_REASON_SIGNALED] = "signaled",
    [BROOD_REASON_TIMED_OUT] = "timed_out",
    [BROOD_REASON_IDLE] = "idle",
    [BROOD_REASON_ABORTED] = "aborted",
    [BROOD_REASON_OUTPUT_LIMIT] = "output_limit",
    [BROOD_REASON_OUT_OF_MEMORY] = "out_of_memory",
    [BROOD_REASON_NOT_STARTED] = "not_started",
    [BROOD_REASON_HOST_MEMORY] = "host_memory",
    [BROOD_REASON_CPU_TIME] = "cpu_time",
};

static void put_key(FILE *out, const char *key) {
    fprintf(out, ",\"%s\":", key);
}

static void put_text(FILE *out, const char *key, const char *text) {
    put_key(out, key);
    text_write_json(out, text);
}

static void put_number(FILE *out, const char *key, int64_t number, bool known) {
    put_key(out, key);
    if (known)
        fprintf(out, "%" PRId64, number);
    else
        fputs("null", out);
}

static void put_bool(FILE *out, const char *key, bool value, bool known) {
    put_key(out, key);
    fputs(!known ? "null" : value ? "true" : "false", out);
}

static void put_ms(FILE *out, const char *key, uint64_t us, bool known) {
    put_key(out, key);
    if (known)
        fprintf(out, "%" PRIu64 ".%03u", us / 1000, (unsigned)(us % 1000));
    else
        fputs("null", out);
}

static void put_time(FILE *out, const char *key, struct timespec when) {
    struct tm utc;
    char text[40];
    gmtime_r(&when.tv_sec, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    put_key(out, key);
    fprintf(out, "\"%s.%03ldZ\"", text, when.tv_nsec / 1000000);
}

static void put_command(FILE *out, const char *const *command) {
    fputs("{\"command\":[", out);
    for (size_t i = 0; command[i]; i++) {
        if (i)
            fputc(',', out);
        text_write_json(out, command[i]);
    }
    fputc(']', out);
    size_t size = brood_quote(command, NULL, 0) + 1;
    char *line = malloc(size);
    if (line)
        brood_quote(command, line, size);
    put_text(out, "command_line", line);
    free(line);
}

static const char *error_name(const report *r) {
    if (r->failure->code < 0)
        return uv_err_name(r->failure->code);
    switch (r->ended->reason) {
    case BROOD_REASON_TIMED_OUT:
    case BROOD_REASON_IDLE:
    case BROOD_REASON_CPU_TIME:
        return "ETIMEDOUT";
    case BROOD_REASON_OUT_OF_MEMORY:
        return "ENOMEM";
    default:
        return NULL;
    }
}

static void put_end(FILE *out, const report *r) {
    const brood_exit *ended = r->ended;
    bool started = ended->pid > 0;
    put_number(out, "pid", ended->pid, started);
    put_text(out, "own", r->own);
    put_text(out, "guarantee", brood_guarantee_text(r->guarantee));
    put_number(out, "code", ended->code, started && ended->code >= 0);
    put_text(out, "signal", ended->signal ? brood_signal_name(ended->signal) : NULL);
    put_bool(out, "core_dumped", ended->core_dumped, started);
    put_text(out, "reason", reason_words[ended->reason]);
    put_number(out, "exit_status", r->status, true);
    put_text(out, "error_name", error_name(r));
    put_text(out, "message", r->message);
    put_time(out, "started_at", r->started);
    put_ms(out, "wall_ms", ended->run_us, started);
}

static void put_usage(FILE *out, const brood_exit *ended) {
    const brood_usage *used = &ended->usage;
    bool known = ended->pid > 0 && ended->reason != BROOD_REASON_UNKNOWN;
    put_ms(out, "user_ms", used->user_us, known);
    put_ms(out, "system_ms", used->system_us, known);
    put_number(out, "max_rss_kb", (int64_t)used->max_rss_kb, known);
    put_bool(out, "max_rss_is_own", used->max_rss_is_own, known);
    put_number(out, "minor_faults", (int64_t)used->minor_faults, known);
    put_number(out, "major_faults", (int64_t)used->major_faults, known);
    put_number(out, "blocks_in", (int64_t)used->blocks_in, known);
    put_number(out, "blocks_out", (int64_t)used->blocks_out, known);
    put_number(out, "voluntary_switches", (int64_t)used->voluntary_switches, known);
    put_number(out, "involuntary_switches", (int64_t)used->involuntary_switches, known);
}

static void put_tree(FILE *out, const brood_usage *used) {
    static const brood_usage none;
    const brood_usage *u = used ? used : &none;
    put_ms(out, "tree_user_ms", u->user_us, used);
    put_ms(out, "tree_system_ms", u->system_us, used);
    put_number(out, "tree_largest_rss_kb", (int64_t)u->max_rss_kb, used && u->max_rss_kb > 0);
    put_number(out, "tree_peak_kb", (int64_t)u->tree_peak_kb, used && u->tree_peak_kb > 0);
}

static void put_limit(FILE *out, const report *r) {
    static const char *const limits[] = {[BROOD_LIMIT_MEMORY] = "memory",
                                         [BROOD_LIMIT_PIDS] = "pids",
                                         [BROOD_LIMIT_CPU] = "cpu",
                                         [BROOD_LIMIT_CPU_TIME] = "cpu_time",
                                         [BROOD_LIMIT_IO] = "io"};
    static const char *const whom[] = {[BROOD_LIMITED_EACH] = "each", [BROOD_LIMITED_TREE] = "tree"};
    const brood_limit_hit *hit = &r->ended->hit;
    put_text(out, "limit", limits[hit->limit]);
    put_number(out, "limit_pid", hit->pid, hit->pid > 0);
    put_text(out, "limit_name", *hit->name ? hit->name : NULL);
    put_text(out, "memory_limited", whom[r->memory_limited]);
}

int report_write(int fd, const report *r) {
    char *line = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&line, &len);
    if (!out)
        return -ENOMEM;
    put_command(out, r->command);
    put_end(out, r);
    put_usage(out, r->ended);
    put_tree(out, r->tree_usage);
    put_limit(out, r);
    fputs("}\n", out);
    bool whole = !ferror(out);
    int result = fclose(out) == 0 && whole ? cli_write_all(fd, line, len) : -ENOMEM;
    free(line);
    return result;
}
