/*
 * How `brood pool` is going: one line that changes on a terminal, a line of JSON a second elsewhere, and a summary at
 * the end. All of it goes to standard error, and is left out where that takes nothing: whoever does not read it must
 * not hold up the work.
 */
#include "pool.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"
#include "text.h"

enum { TERMINAL_MS = 200, OTHER_MS = 1000 };

uint64_t batch_failures(const batch *b) {
    uint64_t failures = b->refused;
    for (int i = BROOD_FATE_FAILED; i < BATCH_FATES; i++)
        failures += b->fates[i];
    return failures;
}

static void say(const char *text) {
    struct pollfd err = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&err, 1, 0) == 1 && write(STDERR_FILENO, text, strlen(text)) < 0) {} /* a short line, and no more */
}

void batch_clear_line(batch *b) {
    if (b->line_is_open)
        say("\r\033[K");
    b->line_is_open = false;
}

void batch_complain(batch *b, int status, const char *format, ...) {
    char text[700];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    batch_clear_line(b);
    cli_complain("pool", "%s", text);
    if (!b->failed)
        b->status = status;
    b->failed = true;
}

/* --- progress --- */

static uint64_t now_us(void) {
    return uv_hrtime() / 1000;
}

static double seconds(const batch *b) {
    return (double)(now_us() - b->begun_us + 1) / 1e6;
}

/* Seconds that the rest of the input will take, as far as can be told; -1: it cannot. */
static double time_left(const batch *b) {
    uint64_t read = b->lines.bytes - (b->lines.got - b->lines.at);
    if (b->draining || b->settled == 0 || b->input_size == 0 || read <= b->open_bytes || read > b->input_size)
        return -1;
    double part = (double)(read - b->open_bytes) / (double)b->input_size;
    return part > 0 ? seconds(b) * (1 - part) / part : -1;
}

/* What fits into one row of the terminal: more would be left standing when the next is written. */
static void cut_to_row(char *text, size_t head) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && strlen(text + head) >= size.ws_col)
        text[head + size.ws_col - 1] = '\0';
}

static void tell_progress(uv_timer_t *timer) {
    batch *b = timer->data;
    uint64_t done = b->fates[BROOD_FATE_DONE], failed = batch_failures(b);
    double rate = (double)(done + failed) / seconds(b), left = time_left(b);
    char text[240], time[32], eta[64] = "";
    if (b->is_terminal) {
        if (left >= 0)
            snprintf(eta, sizeof eta, ", %s left",
                     text_write_duration((uint64_t)(left + 0.5) * 1000, time, sizeof time));
        snprintf(text, sizeof text, "\r\033[K%" PRIu64 " done, %" PRIu64 " failed, %u running, %.0f/s%s", done, failed,
                 b->at_work, rate, eta);
        cut_to_row(text, strlen("\r\033[K"));
        b->line_is_open = true;
    } else {
        snprintf(eta, sizeof eta, left < 0 ? "null" : "%.1f", left);
        snprintf(text, sizeof text,
                 "{\"done\":%" PRIu64 ",\"failed\":%" PRIu64 ",\"running\":%u,\"rate\":%.1f,\"eta_s\":%s}\n", done,
                 failed, b->at_work, rate, eta);
    }
    say(text);
}

void batch_open_report(batch *b) {
    struct stat in;
    b->begun_us = now_us();
    b->is_terminal = isatty(STDERR_FILENO);
    if (fstat(STDIN_FILENO, &in) == 0 && S_ISREG(in.st_mode)) {
        off_t at = lseek(STDIN_FILENO, 0, SEEK_CUR);
        b->input_size = at >= 0 && in.st_size > at ? (uint64_t)(in.st_size - at) : 0;
    }
    uv_timer_init(&b->loop, &b->tick);
    b->tick.data = b;
    uv_unref((uv_handle_t *)&b->tick);
    uint64_t every = b->is_terminal ? TERMINAL_MS : OTHER_MS;
    if (b->options->progress)
        uv_timer_start(&b->tick, tell_progress, every, every);
}

void batch_close_report(batch *b) {
    batch_clear_line(b);
    uv_close((uv_handle_t *)&b->tick, NULL);
}

/* --- the end --- */

static size_t add_count(char *text, size_t size, size_t len, uint64_t count, const char *what) {
    if (count == 0)
        return len;
    int n = snprintf(text + len, size - len, ", %" PRIu64 " %s", count, what);
    return len + (size_t)n;
}

/* Where tasks come from is what a newcomer asks, who waits or has got nothing. */
void batch_tell_source(void) {
    if (isatty(STDIN_FILENO))
        cli_remark("pool", "tasks are read from the terminal: a JSON object on each line, Ctrl-D ends them");
}

/* With nothing to do it may say what it likes: nobody waits for that. */
static void hint_at_stray(batch *b) {
    if (b->told_stray || b->at_work == 0 || b->options->quiet)
        return;
    b->told_stray = true;
    batch_clear_line(b);
    cli_remark("pool", "a worker sent a message that is no answer: send {id, result}, with the id of the task");
}

/* The library's words for one that it stops for that, and not for what else may happen to one that is being started. */
static bool was_never_ready(const batch *b, const brood_pool_event *e) {
    return b->options->ready && !b->any_ready && e->kind == BROOD_POOL_WORKER_LEAVING &&
           strcmp(e->detail, "it was not ready in time") == 0;
}

const char *batch_advice(const batch *b) {
    if (b->unready)
        return "it has not sent \"ready\": leave --ready out, or send it";
    return b->fates[BROOD_FATE_DONE] == 0 ? "a worker speaks Node's channel: man brood-pool" : NULL;
}

static void hint_at_ready(batch *b) {
    bool told = b->unready;
    b->unready = true;
    if (told || b->options->quiet)
        return;
    batch_clear_line(b);
    cli_remark("pool", "a worker ran out of time before it was ready (%s)", batch_advice(b));
}

/* What looks like tasks, and not like the worker's own text. */
static bool is_task_file(const char *path) {
    struct stat file;
    char start = 0;
    if (stat(path, &file) < 0 || !S_ISREG(file.st_mode))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool is = fd >= 0 && read(fd, &start, 1) == 1 && start == '{';
    if (fd >= 0)
        close(fd);
    return is;
}

/* Who names the file of tasks as an argument means to redirect it. */
static void tell_no_tasks(const batch *b) {
    const char *last = NULL;
    for (char *const *argument = b->command + 1; *argument; argument++)
        last = *argument;
    if (last && is_task_file(last))
        cli_remark("pool", "there were no tasks: they are lines of standard input (< %s)", last);
    else
        cli_remark("pool", "there were no tasks: they are lines of standard input");
}

void batch_hint(batch *b, const brood_pool_event *e) {
    b->any_ready = b->any_ready || e->kind == BROOD_POOL_WORKER_READY;
    if (e->kind == BROOD_POOL_STRAY)
        hint_at_stray(b);
    else if (was_never_ready(b, e))
        hint_at_ready(b);
}

/* Workers have ended or run out of time at their tasks, and said nothing that could be understood, nor was that told. */
static bool none_has_answered(const batch *b) {
    return b->fates[BROOD_FATE_DONE] == 0 && b->fates[BROOD_FATE_FAILED] == 0 && !b->failed && !b->told_stray &&
           b->fates[BROOD_FATE_CRASHED] + b->fates[BROOD_FATE_TIMED_OUT] > 0;
}

/* Lines that nobody has counted, for all that is known: somebody may be about to write them. */
static bool is_rest_unread(const batch *b) {
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    if (b->input_end || isatty(STDIN_FILENO))
        return false;
    if (b->lines.at < b->lines.got || b->lines.len > 0)
        return true;
    if (b->input_size > 0)
        return b->lines.bytes < b->input_size;
    return poll(&in, 1, 0) == 0 || (in.revents & POLLIN);
}

/* Where results did not get out, it is not claimed that there are any. */
static size_t start_summary(const batch *b, char *text, size_t size) {
    uint64_t done = b->fates[BROOD_FATE_DONE], results = done + batch_failures(b);
    int n = b->written < results
                ? snprintf(text, size, "%" PRIu64 " of %" PRIu64 " results written", b->written, results)
                : snprintf(text, size, "%" PRIu64 " done", done);
    return (size_t)n;
}

void batch_summarise(batch *b) {
    char text[500], time[32];
    size_t len = start_summary(b, text, sizeof text);
    for (int i = BROOD_FATE_FAILED; i < BATCH_FATES; i++)
        len = add_count(text, sizeof text, len, b->fates[i], brood_fate_text((brood_fate)i));
    len = add_count(text, sizeof text, len, b->refused, "refused");
    len = add_count(text, sizeof text, len, b->undone, "not done");
    len = add_count(text, sizeof text, len, b->retries, "tried again");
    add_count(text, sizeof text, len, b->workers, b->workers == 1 ? "worker" : "workers");
    batch_clear_line(b);
    if (b->taken == 0 && b->input_end && !b->failed)
        tell_no_tasks(b);
    if (none_has_answered(b))
        cli_remark("pool",
                   "no worker has answered a task: either it failed first, or it does not speak Node's channel, as man "
                   "brood-pool shows");
    cli_remark("pool", "%s, in %s%s", text, text_write_duration((uint64_t)(seconds(b) * 1000), time, sizeof time),
               is_rest_unread(b) ? "; the rest of the input was not read" : "");
}
