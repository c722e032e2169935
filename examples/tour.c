/* test: run */
/*
 * The tour: what brood does, on real input, each step with a check of what it promised. `./dev demo` runs it. It writes
 * a log of some 320 MB into a directory of its own below $TMPDIR, and removes it. Exits 0 if every promise was kept.
 */
#define _GNU_SOURCE /* pipe2 */
#include <brood.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

enum { WIDTH = 80, MAX_COSTS = 32 };

/* By how much the tour's memory may change and still be called flat. Sanitizers keep books of their own in it. */
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { FLAT_KB = 64 * 1024 };
#else
enum { FLAT_KB = 512 };
#endif

static uv_loop_t *loop;
static brood_abort *stop_all; /* every child has it: pulled by Ctrl-C */
static volatile sig_atomic_t interrupted;
static unsigned promises, broken;
static bool colours;

/* ---- What the tour says ---------------------------------------------------------------------------------------- */

static const char *paint(const char *escape) {
    return colours ? escape : "";
}
#define BOLD paint("\033[1m")
#define FAINT paint("\033[2m")
#define GREEN paint("\033[32m")
#define RED paint("\033[31m")
#define PLAIN paint("\033[0m")

static void heading(const char *text) {
    static unsigned number;
    printf("\n%s%u. %s%s\n", BOLD, ++number, text, PLAIN);
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
    va_list args;
    va_start(args, format);
    printf("   %s", FAINT);
    vprintf(format, args);
    printf("%s\n", PLAIN);
    va_end(args);
}

/* One promise, and whether it was kept. */
__attribute__((format(printf, 2, 3))) static void promise(bool kept, const char *format, ...) {
    va_list args;
    va_start(args, format);
    promises++;
    broken += !kept;
    printf("   %s%s%s ", kept ? GREEN : RED, kept ? "ok" : interrupted ? "interrupted:" : "NOT AS PROMISED:", PLAIN);
    vprintf(format, args);
    printf("\n");
    va_end(args);
}

/* Text of any length: indented, and folded at the terminal's edge. */
static void show(const char *text, size_t len) {
    size_t column = 0;
    for (size_t i = 0; i < len; i++) {
        bool full = column == WIDTH - 1 && text[i] != '\n';
        if (full && text[i] == ' ')
            continue;
        if (column == 0 || full)
            column = (size_t)printf("%s     ", full ? "\n" : "") - full;
        column = text[i] == '\n' ? 0 : column + 1;
        putchar(text[i]);
    }
    if (column)
        putchar('\n');
}

/* ---- What the children cost ------------------------------------------------------------------------------------ */

static struct {
    char name[32];
    char how[20];
    brood_exit exit;
} costs[MAX_COSTS];
static unsigned cost_count;

static void remember(const char *name, const brood_exit *ended) {
    if (cost_count == MAX_COSTS || ended->reason == BROOD_REASON_NOT_STARTED)
        return;
    snprintf(costs[cost_count].name, sizeof costs->name, "%s", name);
    if (ended->signal && ended->reason != BROOD_REASON_SIGNALED)
        snprintf(costs[cost_count].how, sizeof costs->how, "%s, %s", brood_reason_text(ended->reason),
                 brood_signal_name(ended->signal) + 3);
    else if (ended->signal)
        snprintf(costs[cost_count].how, sizeof costs->how, "%s", brood_signal_name(ended->signal));
    else
        snprintf(costs[cost_count].how, sizeof costs->how, "%s %d", brood_reason_text(ended->reason), ended->code);
    costs[cost_count++].exit = *ended;
}

/* What a file of /proc says behind `name`, in KiB; 0 if it does not. */
static long proc_kb(const char *path, const char *name) {
    char text[4096];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    if (len <= 0)
        return 0;
    text[len] = 0;
    const char *line = strstr(text, name);
    return line ? strtol(line + strlen(name), NULL, 10) : 0;
}

/* The tour's own memory now. */
static long own_memory_kb(void) {
    return proc_kb("/proc/self/status", "\nVmRSS:");
}

/* ---- The temporary directory ----------------------------------------------------------------------------------- */

static char dir[256], notes_path[300], log_path[300], errors_path[300];

static bool make_dir(void) {
    const char *tmp = getenv("TMPDIR");
    int len = snprintf(dir, sizeof dir, "%s/brood-tour-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (len >= (int)sizeof dir || !mkdtemp(dir)) {
        fprintf(stderr, "tour: no directory for temporary files: %s\n", strerror(errno));
        return false;
    }
    snprintf(notes_path, sizeof notes_path, "%s/notes.txt", dir);
    snprintf(log_path, sizeof log_path, "%s/app.log", dir);
    snprintf(errors_path, sizeof errors_path, "%s/errors.txt", dir);
    return true;
}

static bool remove_dir(void) {
    unlink(notes_path);
    unlink(log_path);
    unlink(errors_path);
    return rmdir(dir) == 0;
}

static bool write_all(int fd, const char *bytes, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        bytes += n;
        len -= (size_t)n;
    }
    return true;
}

/* Await a child, remember what it cost, and give it up. Returns its result's error. */
static int finish(const char *name, brood_child *child, brood_result *ret_result) {
    int error = brood_await(child, ret_result);
    remember(name, &ret_result->exit);
    brood_child_close(child);
    return error;
}

/* ---- 1. Streaming ---------------------------------------------------------------------------------------------- */

typedef struct listing {
    size_t lines, bytes;
    char line[WIDTH * 4];
    size_t used;
} listing;

/* Bytes come as the pipe has them, not by lines: lines are put together here. The first twelve are shown. */
static void on_listing(brood_stream *stream, const char *bytes, size_t len, void *data) {
    listing *l = data;
    (void)stream;
    l->bytes += len;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != '\n') {
            if (l->used < WIDTH - 6)
                l->line[l->used++] = bytes[i];
            continue;
        }
        if (l->lines++ < 12)
            show(l->line, l->used);
        l->used = 0;
    }
}

static void stream_ls(void) {
    heading("Stream: ls -la");
    say("spawn gives the output to a callback while the child runs.");
    listing l = {0};
    brood_child *child = NULL;
    brood_result result;
    brood_failure why;
    if (brood_spawn(loop,
                    &(brood_options){
                        .args = BROOD_ARGS("ls", "-la"),
                        .out = {.on_data = on_listing, .data = &l},
                        .abort = stop_all,
                    },
                    &child, &why) < 0) {
        promise(false, "%s", why.message);
        return;
    }
    finish("ls -la", child, &result);
    if (l.lines > 12)
        say("... and %zu lines more", l.lines - 12);
    promise(brood_exit_ok(&result.exit) && l.lines > 0, "%zu lines, %zu bytes, as they came", l.lines, l.bytes);
    brood_result_done(&result);
}

/* ---- 2. A pipeline of the shell -------------------------------------------------------------------------------- */

static void buffer_history(void) {
    /* Which directories the commits touched most. safe.directory: under sudo, git refuses another's repository. */
    static const char history[] = "git -c safe.directory='*' log --format= --name-only 2>/dev/null | grep / |"
                                  " cut -d/ -f1 | sort | uniq -c | sort -rn | head -5";
    static const char shells[] = "cut -d: -f7 /etc/passwd | sort | uniq -c | sort -rn | head -5";
    const char *command = history;
    const brood_options options = {.timeout_ms = 30000, .abort = stop_all};
    heading("Buffer: a shell pipeline over this repository's history");
    say("exec has /bin/sh read the command, collects its output, answers once.");
    brood_child *child = NULL;
    brood_result result = {0};
    for (int attempt = 0; attempt < 2; attempt++) {
        if (brood_exec(loop, command, &options, NULL, NULL, &child) < 0) {
            promise(false, "the pipeline was not started");
            return;
        }
        finish(attempt == 0 ? "git log | sort | head" : "cut | sort | head", child, &result);
        if (result.out.len > 0 || attempt == 1 || interrupted)
            break;
        say("No history here (no git, or no repository): the login shells of this");
        say("machine's users instead.");
        command = shells;
        brood_result_done(&result);
    }
    show(command, strlen(command));
    show(result.out.bytes, result.out.len);
    promise(brood_exit_ok(&result.exit) && result.out.len > 0 && !result.cut, "%zu bytes, in %.1f ms", result.out.len,
            (double)result.total_us / 1000);
    brood_result_done(&result);
}

/* ---- 3. A hostile argument ------------------------------------------------------------------------------------- */

static void pass_hostile_argument(void) {
    static const char hostile[] = "x; rm -rf /";
    static const char notes[] = "buy milk\nx; rm -rf /\nx marks the spot\n";
    heading("An argument from a stranger: x; rm -rf /");
    say("exec_file has no shell: an argument is an argument, whatever it holds.");
    int fd = open(notes_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool written = fd >= 0 && write_all(fd, notes, strlen(notes));
    if (fd >= 0)
        close(fd);
    if (!written) {
        promise(false, "%s: %s", notes_path, strerror(errno));
        return;
    }
    brood_child *child = NULL;
    brood_result result;
    /* The directory by cwd, so that the command line shown is short. */
    if (brood_exec_file(loop,
                        &(brood_options){
                            .args = BROOD_ARGS("grep", "-n", "-F", "--", hostile, "notes.txt"),
                            .cwd = dir,
                            .abort = stop_all,
                        },
                        NULL, NULL, &child) < 0) {
        promise(false, "grep was not started");
        return;
    }
    finish("grep 'x; rm -rf /'", child, &result);
    show(result.command, strlen(result.command));
    show(result.out.bytes, result.out.len);
    promise(brood_exit_ok(&result.exit) && strcmp(result.out.bytes, "2:x; rm -rf /\n") == 0,
            "grep looked for it, found line 2, and nothing was removed");
    brood_result_done(&result);
}

/* ---- 4. A log of several hundred MB ---------------------------------------------------------------------------- */

/* What the log holds: one block of lines, written again and again. Counted while it is made: the promise to check. */
typedef struct block {
    char text[256 * 1024];
    size_t len;
    size_t lines, errors, debugs;
} block;

static void write_event(char *text, size_t size, bool error, unsigned number) {
    unsigned id = number % 90000, count = number % 977;
    if (error)
        snprintf(text, size, "upstream %u timed out after %u ms, giving up", number % 16, 5000 + number % 100);
    else if (number & 1)
        snprintf(text, size, "GET /api/v1/orders/%u 200 in %u ms", id, count);
    else if (number & 2)
        snprintf(text, size, "worker %u took a job, %u left in the queue", id, count);
    else
        snprintf(text, size, "connection %u closed by its peer after %u s", id, count);
}

static void fill_block(block *b) {
    static const char *const levels[] = {"DEBUG", "INFO ", "INFO ", "WARN ", "INFO "};
    unsigned seed = 20240229;
    for (unsigned n = 0; b->len < sizeof b->text - 256; n++) {
        seed = seed * 1103515245u + 12345u;
        unsigned number = seed >> 8;
        const char *level = seed >> 24 & 31 ? levels[(seed >> 16) % 5] : "ERROR";
        char event[128];
        write_event(event, sizeof event, level[0] == 'E', number);
        b->len += (size_t)snprintf(b->text + b->len, sizeof b->text - b->len,
                                   "2026-03-%02uT%02u:%02u:%02u.%03uZ %s shop[%u]: %s\n", 1 + n / 400, n / 60 % 24,
                                   n % 60, number % 60, number % 1000, level, 100 + number % 8, event);
        b->lines++;
        b->errors += level[0] == 'E';
        b->debugs += level[0] == 'D';
    }
}

/* Returns how many times the block was written, 0 on failure. */
static size_t write_log(const block *b) {
    const char *wish = getenv("BROOD_TOUR_MB");
    size_t megabytes = wish && atoi(wish) > 0 ? (size_t)atoi(wish) : 320;
    struct statvfs fs;
    if (statvfs(dir, &fs) == 0 && (uint64_t)fs.f_bavail * fs.f_frsize < (uint64_t)megabytes * 5 / 4 * 1024 * 1024) {
        megabytes = (size_t)((uint64_t)fs.f_bavail * fs.f_frsize / 1024 / 1024 / 2);
        say("There is little room in %s: a smaller log, then. TMPDIR names another.", dir);
    }
    size_t times = megabytes * 1024 * 1024 / b->len + 1;
    int fd = open(log_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return 0;
    for (size_t i = 0; i < times; i++) {
        if (interrupted || !write_all(fd, b->text, b->len)) {
            close(fd);
            return 0;
        }
    }
    return close(fd) == 0 ? times : 0;
}

typedef struct line_count {
    size_t lines, bytes, calls;
    long most_memory_kb;
} line_count;

static void on_line_bytes(brood_stream *stream, const char *bytes, size_t len, void *data) {
    line_count *c = data;
    (void)stream;
    for (const char *p = bytes, *end = bytes + len; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
        c->lines++;
    c->bytes += len;
    if (c->calls++ % 256 == 0) {
        long now = own_memory_kb();
        if (now > c->most_memory_kb)
            c->most_memory_kb = now;
    }
}

static size_t count_file_lines(const char *path) {
    static char buffer[64 * 1024];
    size_t lines = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        for (const char *p = buffer, *end = buffer + n; (p = memchr(p, '\n', (size_t)(end - p))) != NULL; p++)
            lines++;
    close(fd);
    return lines;
}

static void filter_log(void) {
    static block b;
    static const char *const c_locale[] = {"LC_ALL=C", NULL}; /* added to the host's environment: a faster grep */
    heading("Filter a log of several hundred MB");
    fill_block(&b);
    uint64_t began = uv_hrtime();
    size_t times = write_log(&b);
    if (times == 0) {
        promise(false, "%s: %s", log_path, interrupted ? "interrupted" : strerror(errno));
        return;
    }
    say("A log of %zu MB, %zu lines, written in %.1f s.", times * b.len / 1000000, times * b.lines,
        (double)(uv_hrtime() - began) / 1e9);

    brood_child *child = NULL;
    brood_result result;
    brood_failure why;
    say("grep ERROR into errors.txt: a file slot, nothing passes through here.");
    count_file_lines(notes_path); /* touches what the check below will use, before memory is looked at */
    long before = own_memory_kb();
    if (brood_spawn(loop,
                    &(brood_options){
                        .args = BROOD_ARGS("grep", "ERROR", "app.log"),
                        .cwd = dir,
                        .env = c_locale,
                        .out = {.kind = BROOD_STDIO_FILE, .path = errors_path},
                        .abort = stop_all,
                    },
                    &child, &why) < 0) {
        promise(false, "%s", why.message);
        return;
    }
    finish("grep ERROR > file", child, &result);
    long after = own_memory_kb();
    size_t found = count_file_lines(errors_path);
    promise(brood_exit_ok(&result.exit) && found == times * b.errors, "%zu lines in errors.txt, in %.2f s", found,
            (double)result.total_us / 1e6);
    promise(after - before < FLAT_KB, "the tour's memory: %ld KiB before, %ld KiB after", before, after);
    brood_result_done(&result);

    say("grep -v DEBUG into a callback: most of the log comes through here.");
    line_count c = {0};
    before = own_memory_kb();
    if (brood_spawn(loop,
                    &(brood_options){
                        .args = BROOD_ARGS("grep", "-v", "DEBUG", "app.log"),
                        .cwd = dir,
                        .env = c_locale,
                        .out = {.on_data = on_line_bytes, .data = &c},
                        .abort = stop_all,
                    },
                    &child, &why) < 0) {
        promise(false, "%s", why.message);
        return;
    }
    finish("grep -v DEBUG | count", child, &result);
    after = own_memory_kb();
    promise(brood_exit_ok(&result.exit) && c.lines == times * (b.lines - b.debugs), "%zu lines, %zu MB, in %.2f s",
            c.lines, c.bytes / 1000000, (double)result.total_us / 1e6);
    promise(after - before < FLAT_KB && c.most_memory_kb - before < FLAT_KB,
            "the tour's memory: %ld KiB before, %ld at most, %ld after", before, c.most_memory_kb, after);
    brood_result_done(&result);
}

/* ---- 5. A child that does not want to go ----------------------------------------------------------------------- */

static void time_out_stubborn(void) {
    heading("A stubborn child, and a time limit");
    say("It ignores SIGTERM. After 300 ms it gets one, 300 ms later a SIGKILL, with");
    say("all that descends from it.");
    static const char stubborn[] = "trap '' TERM; echo 'you cannot make me'; while :; do sleep 1; done";
    const brood_options options = {.timeout_ms = 300, .kill_grace_ms = 300, .abort = stop_all};
    brood_child *child = NULL;
    brood_result result;
    if (brood_exec(loop, stubborn, &options, NULL, NULL, &child) < 0) {
        promise(false, "it was not started");
        return;
    }
    finish("a stubborn shell", child, &result);
    show(result.out.bytes, result.out.len);
    show(result.message, strlen(result.message));
    promise(result.exit.reason == BROOD_REASON_TIMED_OUT && result.exit.signal == SIGKILL && result.error_name &&
                strcmp(result.error_name, "ETIMEDOUT") == 0 && result.total_us >= 590000,
            "gone after %.0f ms, what it had said is kept", (double)result.total_us / 1000);
    brood_result_done(&result);
}

/* ---- 6. Failures that say what failed -------------------------------------------------------------------------- */

static void fail_well(void) {
    heading("Two failures with the same errno");
    say("A program that is not there, and a directory that is not there: both are");
    say("ENOENT. The step tells them apart.");
    /* A PATH with a directory that may not be searched would make it EACCES, as for execvp(3). */
    static const char *const plain_path[] = {"PATH=/usr/bin:/bin", NULL};
    const brood_options typo = {.args = BROOD_ARGS("grpe", "ERROR", "app.log"), .env = plain_path};
    const brood_options elsewhere = {.args = BROOD_ARGS("grep", "ERROR", "app.log"), .cwd = "/srv/no/such"};
    brood_failure why = {0};
    int error = brood_spawn(loop, &typo, NULL, &why);
    show(why.message, strlen(why.message));
    promise(error == -ENOENT && why.step == BROOD_STEP_EXEC && strcmp(why.subject, "grpe") == 0,
            "code %d, step \"%s\", subject \"%s\"", why.code, brood_step_text(why.step), why.subject);
    error = brood_spawn(loop, &elsewhere, NULL, &why);
    show(why.message, strlen(why.message));
    promise(error == -ENOENT && why.step == BROOD_STEP_CWD && strcmp(why.subject, "/srv/no/such") == 0,
            "code %d, step \"%s\", subject \"%s\"", why.code, brood_step_text(why.step), why.subject);
}

/* ---- 7. Workers ------------------------------------------------------------------------------------------------ */

enum { QUESTIONS = 100, PATIENCE_MS = 10000 };

/* How a worker did. */
typedef struct inquiry {
    double first_ms, all_ms; /* from its start to the first answer, and to the last */
    double answered, wrong;
    double pss_kb, dirty_kb; /* after the last; 0: not known */
    brood_child *worker;
    uint64_t began;
} inquiry;

typedef struct question {
    inquiry *inquiry;
    double sum;
} question;

static void measure_worker(inquiry *q) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)brood_child_pid(q->worker));
    q->pss_kb = (double)proc_kb(path, "\nPss:");
    q->dirty_kb = (double)proc_kb(path, "\nPrivate_Dirty:");
}

/* Exactly once for each question, also if the worker is gone. */
static void on_answer(brood_channel *channel, const brood_reply *reply, void *data) {
    const question *asked = data;
    inquiry *q = asked->inquiry;
    double sum = 0;
    bool right = reply->status == 0 && brood_value_double(reply->result, &sum) == 0 && sum == asked->sum;
    q->all_ms = (double)(uv_hrtime() - q->began) / 1e6;
    q->first_ms = q->answered == 0 ? q->all_ms : q->first_ms;
    q->wrong += !right;
    if (++q->answered < QUESTIONS)
        return;
    if (right)
        measure_worker(q);
    brood_channel_disconnect(channel); /* and the worker leaves */
}

/* Fork a worker, and ask. */
static int ask_from_here(const char *name, const char *const *args, inquiry *q) {
    question asked[QUESTIONS];
    brood_result result;
    brood_failure why;
    char text[64];
    const brood_options options = {.args = args, .timeout_ms = 2 * PATIENCE_MS, .abort = stop_all};
    q->began = uv_hrtime();
    int r = brood_fork(loop, &options, &q->worker, &why);
    if (r < 0) {
        show(why.message, strlen(why.message));
        return r;
    }
    for (int i = 0; r >= 0 && i < QUESTIONS; i++) {
        asked[i] = (question){q, 3 * i + 0.5};
        snprintf(text, sizeof text, "{\"data\":[%d,%d,0.5]}", i, 2 * i);
        r = brood_channel_request(brood_child_channel(q->worker), &(brood_body){.json = text, .json_len = BROOD_NUL},
                                  PATIENCE_MS, on_answer, &asked[i], NULL);
    }
    if (r < 0)
        brood_child_kill(q->worker, SIGKILL);
    r = finish(name, q->worker, &result);
    brood_result_done(&result);
    return r;
}

static void on_report(brood_channel *channel, const brood_message *message, void *data) {
    inquiry *q = data;
    (void)channel;
    brood_value_double(brood_value_get(message->value, "first_ms"), &q->first_ms);
    brood_value_double(brood_value_get(message->value, "all_ms"), &q->all_ms);
    brood_value_double(brood_value_get(message->value, "answered"), &q->answered);
    brood_value_double(brood_value_get(message->value, "wrong"), &q->wrong);
    brood_value_double(brood_value_get(message->value, "pss_kb"), &q->pss_kb);
    brood_value_double(brood_value_get(message->value, "dirty_kb"), &q->dirty_kb);
}

/* Have Node start the same worker, ask, and tell what it saw. */
static int ask_from_node(const char *const *worker, inquiry *q) {
    const char *const args[] = {"node", "examples/parent.js", worker[0], worker[1], NULL};
    const brood_options options = {
        .args = args, .timeout_ms = 2 * PATIENCE_MS, .abort = stop_all, .on_message = on_report, .data = q};
    brood_child *parent;
    brood_result result;
    brood_failure why;
    int r = brood_fork(loop, &options, &parent, &why);
    if (r < 0) {
        show(why.message, strlen(why.message));
        return r;
    }
    r = finish("node parent.js", parent, &result);
    brood_result_done(&result);
    return r;
}

/* One line of the table. Returns whether every answer came and was right. */
static bool show_inquiry(const char *by, const char *worker, const inquiry *q) {
    printf("   %-9s %-10s ", by, worker);
    if (q->answered < QUESTIONS || q->wrong > 0) {
        printf("%.0f of %d answers are right\n", q->answered - q->wrong, QUESTIONS);
        return false;
    }
    printf("%9.1f ms %9.1f ms ", q->first_ms, q->all_ms);
    if (q->pss_kb > 0)
        printf("%8.0f KiB %9.0f KiB\n", q->pss_kb, q->dirty_kb);
    else
        printf("%12s %13s\n", "not known", "not known");
    return true;
}

/* The version of a Node that can run what examples/ has; false: it is not here. */
static bool find_node(char *version, size_t size) {
    brood_result result;
    const brood_options options = {
        .args = BROOD_ARGS("node", "--version"), .timeout_ms = PATIENCE_MS, .abort = stop_all};
    brood_exec_file_sync(&options, &result);
    bool found = brood_exit_ok(&result.exit) && result.out.len > 1;
    if (found)
        snprintf(version, size, "%.*s", (int)strcspn(result.out.bytes, "\n"), result.out.bytes);
    brood_result_done(&result);
    return found && access("examples/worker.js", R_OK) == 0 && access("examples/parent.js", R_OK) == 0;
}

static void compare_workers(void) {
    char sum[4096], version[32];
    size_t len = sizeof sum - sizeof "brood-sum";
    heading("Workers in C and in Node, asked from C and from Node");
    say("A worker adds up numbers. %d questions are under way at once; each has an", QUESTIONS);
    say("id, and so has its answer. Parent and worker may each be C or Node.");
    char *slash = uv_exepath(sum, &len) == 0 ? strrchr(sum, '/') : NULL;
    if (!slash) {
        promise(false, "where this program lies is not known");
        return;
    }
    strcpy(slash + 1, "brood-sum"); /* is built beside it */
    const char *const c_worker[] = {sum, NULL}, *const node_worker[] = {"node", "examples/worker.js", NULL};
    bool node = find_node(version, sizeof version);
    if (node)
        say("Here Node is %s.", version);
    else
        say("No node here, or not the examples: the worker in C alone.");
    printf("   %s%-9s %-10s %12s %12s %12s %13s%s\n", BOLD, "asked by", "worker", "first answer", "last answer", "Pss",
           "Private_Dirty", PLAIN);
    unsigned right = 0;
    bool fine = true;
    for (int i = 0; i < 4 && fine && !interrupted; i++) {
        bool from_node = i >= 2, in_node = i % 2;
        inquiry q = {0};
        if (!node && (from_node || in_node))
            continue;
        const char *const *args = in_node ? node_worker : c_worker;
        const char *name = in_node ? "worker.js" : "brood-sum";
        fine = (from_node ? ask_from_node(args, &q) : ask_from_here(name, args, &q)) == 0;
        fine = show_inquiry(from_node ? "Node" : "the tour", name, &q) && fine;
        right += (unsigned)(q.answered - q.wrong);
    }
    say("Times are from the worker's start. Of a page that n processes share, Pss");
    say("counts 1/n; Private_Dirty is what is the worker's alone, and written to.");
    promise(fine && right > 0, "%u answers, each to its question", right);
}

/* ---- 8. Trees -------------------------------------------------------------------------------------------------- */

/* A daemon as they are made: forked twice, in a session of its own. It says its pid; the shell becomes its sister. */
#define DAEMONISE "(setsid sh -c 'echo $$; exec sleep 60' &); exec sleep 60"

/* It has ended; a zombie that nobody waits for has, too. */
static bool is_gone(pid_t pid) {
    char path[40], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[len > 0 ? len : 0] = 0;
    const char *name_end = strrchr(text, ')');
    return !name_end || strncmp(name_end, ") Z", 3) == 0;
}

static void on_daemon(brood_stream *stream, const char *bytes, size_t len, void *data) {
    pid_t *lone = data;
    if (len > 0 && bytes[len - 1] == '\n')
        *lone = (pid_t)strtol(bytes, NULL, 10);
    brood_child_kill_owned(brood_stream_child(stream), SIGKILL);
}

/* Kill a program that has left a daemon behind, and all that it owns. The daemon's pid, or 0. */
static pid_t kill_with_daemon(brood_ownership own, const char *name, brood_guarantee *ret_guarantee) {
    brood_child *child = NULL;
    brood_result result;
    brood_failure why;
    pid_t lone = 0;
    brood_options options = {
        .args = BROOD_ARGS("sh", "-c", DAEMONISE),
        .out = {.on_data = on_daemon, .data = &lone},
        .own = own,
        .close_grace_ms = 100,
        .abort = stop_all,
    };
    if (brood_spawn(loop, &options, &child, &why) < 0) {
        promise(false, "%s", why.message);
        return 0;
    }
    *ret_guarantee = brood_child_guarantee(child);
    finish(name, child, &result);
    brood_result_done(&result);
    return lone;
}

/* A host of its own, which waits for such a program and is killed by SIGKILL meanwhile. The daemon's pid, or 0. */
static pid_t kill_host_of_daemon(void) {
    char text[32] = "";
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return 0;
    fflush(stdout);
    pid_t host = fork();
    if (host == 0) {
        brood_result result;
        brood_spawn_sync(&(brood_options){.args = BROOD_ARGS("sh", "-c", DAEMONISE),
                                          .out = {.kind = BROOD_STDIO_FD, .fd = pipe_fds[1]},
                                          .own = BROOD_OWN_TREE},
                         &result);
        _exit(1);
    }
    close(pipe_fds[1]);
    ssize_t len = host < 0 ? -1 : read(pipe_fds[0], text, sizeof text - 1);
    pid_t lone = len > 0 ? (pid_t)strtol(text, NULL, 10) : 0;
    struct pollfd end = {.fd = lone > 0 ? (int)syscall(SYS_pidfd_open, lone, 0) : -1, .events = POLLIN};
    if (host > 0) {
        kill(host, SIGKILL);
        waitpid(host, NULL, 0);
    }
    if (end.fd >= 0)
        poll(&end, 1, 10000);
    close(end.fd);
    close(pipe_fds[0]);
    return lone;
}

static void own_trees(void) {
    heading("Trees: a daemon that kill leaves alive");
    say("The program forks twice, and the daemon has a session of its own: neither");
    say("its parent's death nor a signal to its group reaches it.");
    brood_guarantee guarantee = BROOD_GUARANTEE_NONE;
    pid_t lone = kill_with_daemon(BROOD_OWN_CHILD, "sh, child", &guarantee);
    promise(lone > 0 && !is_gone(lone), "own child: killed, and daemon %d lives on", (int)lone);
    if (lone > 0)
        kill(lone, SIGKILL);
    lone = kill_with_daemon(BROOD_OWN_TREE, "sh, tree", &guarantee);
    promise(lone > 0 && is_gone(lone), "own tree: killed, and daemon %d is gone (guaranteed: %s)", (int)lone,
            brood_guarantee_text(guarantee));
    lone = kill_host_of_daemon();
    promise(lone > 0 && is_gone(lone), "the host killed by SIGKILL: its tree is gone, daemon %d too", (int)lone);
}

/* ---- 9. The pool ----------------------------------------------------------------------------------------------- */

enum { POOL_TASKS = 8, POOL_LIMIT_MS = 300, POOL_ATTEMPTS = 2 };

static const char *const pool_tasks[POOL_TASKS] = {
    "{\"data\":[1,2,3]}", "{\"data\":[4,5]}",   "{\"crash\":true}", "{\"data\":[6]}",
    "{\"hang\":true}",    "{\"data\":[7,8,9]}", "{\"data\":\"x\"}", "{\"data\":[10,11]}",
};
static const double pool_sums[POOL_TASKS] = {6, 9, 0, 6, 0, 24, 0, 21};

/* In the worker, which is this program again. */
static int work(brood_value task, brood_writer *result, void *data) {
    brood_value numbers = brood_value_get(task, "data");
    double total = 0, number;
    (void)data;
    if (brood_value_type(brood_value_get(task, "crash")) == BROOD_BOOL)
        abort(); /* as a failed assert does */
    while (brood_value_type(brood_value_get(task, "hang")) == BROOD_BOOL)
        pause();
    if (brood_value_type(numbers) != BROOD_ARRAY)
        return -EPROTOTYPE;
    for (size_t i = 0; i < brood_value_count(numbers); i++)
        if (brood_value_double(brood_value_at(numbers, i, NULL), &number) == 0)
            total += number;
    brood_writer_double(result, total);
    return 0;
}

static struct {
    unsigned told[POOL_TASKS], right, workers, ended, fates[BROOD_FATE_NO_WORKER + 1];
    bool closed;
} pool_run;

static void on_pool_event(brood_pool *pool, const brood_pool_event *event, void *data) {
    (void)pool, (void)data;
    pool_run.workers += event->kind == BROOD_POOL_WORKER_STARTED;
    pool_run.ended += event->kind == BROOD_POOL_WORKER_ENDED;
}

static void on_outcome(const brood_outcome *o, void *data) {
    const char *const *task = data;
    size_t i = (size_t)(task - pool_tasks);
    double sum = 0;
    bool summed = o->fate == BROOD_FATE_DONE && brood_value_double(o->result, &sum) == 0;
    pool_run.told[i]++;
    pool_run.fates[o->fate]++;
    pool_run.right += summed && sum == pool_sums[i];
    if (summed)
        printf("     %-18s %-10s %g\n", *task, brood_fate_text(o->fate), sum);
    else
        printf("     %-18s %-10s %s (%u %s)\n", *task, brood_fate_text(o->fate), o->message, o->attempts,
               o->attempts == 1 ? "attempt" : "attempts");
}

static void on_pool_closed(void *data) {
    (void)data;
    pool_run.closed = true;
}

static void run_pool(void) {
    char self[4096];
    size_t len = sizeof self;
    brood_pool *pool;
    brood_failure why;
    heading("A pool of workers: one crashes, one hangs");
    say("%d tasks for two workers. A task has %d ms, and %d attempts.", POOL_TASKS, POOL_LIMIT_MS, POOL_ATTEMPTS);
    if (uv_exepath(self, &len) < 0) {
        promise(false, "where this program lies is not known");
        return;
    }
    brood_pool_options options = {.worker = {.args = BROOD_ARGS(self, "--worker")},
                                  .max_workers = 2,
                                  .task_timeout_ms = POOL_LIMIT_MS,
                                  .max_attempts = POOL_ATTEMPTS,
                                  .on_event = on_pool_event};
    if (brood_pool_open(loop, &options, &pool, &why) < 0) {
        promise(false, "no pool: %s", why.message);
        return;
    }
    for (size_t i = 0; i < POOL_TASKS; i++)
        brood_pool_run(pool,
                       &(brood_task){.body = {.json = pool_tasks[i], .json_len = BROOD_NUL},
                                     .abort = stop_all,
                                     .on_done = on_outcome,
                                     .data = (void *)&pool_tasks[i]},
                       NULL);
    brood_pool_close(pool, BROOD_FOREVER, on_pool_closed, NULL);
    uv_run(loop, UV_RUN_DEFAULT);
    unsigned once = 0;
    for (size_t i = 0; i < POOL_TASKS; i++)
        once += pool_run.told[i] == 1;
    promise(once == POOL_TASKS, "%u tasks, and one outcome for each", once);
    promise(pool_run.right == 5, "%u sums, although workers were dying beside them", pool_run.right);
    promise(pool_run.fates[BROOD_FATE_CRASHED] == 1 && pool_run.fates[BROOD_FATE_TIMED_OUT] == 1 &&
                pool_run.fates[BROOD_FATE_FAILED] == 1,
            "the crash, the time limit and the worker's own error are told apart");
    promise(pool_run.closed && pool_run.ended == pool_run.workers, "%u workers were started, and none is left",
            pool_run.workers);
}

/* ---- 10. The bill ---------------------------------------------------------------------------------------------- */

static void print_costs(void) {
    bool unknown = false;
    heading("What each child cost");
    printf("   %s%-22s %-16s %9s %8s %8s  %s%s\n", BOLD, "child", "ended", "wall ms", "user ms", "sys ms", "peak MiB",
           PLAIN);
    for (unsigned i = 0; i < cost_count; i++) {
        const brood_exit *e = &costs[i].exit;
        const brood_usage *u = &e->usage;
        printf("   %-22.22s %-16.16s %9.1f %8.1f %8.1f  ", costs[i].name, costs[i].how, (double)e->run_us / 1000,
               (double)u->user_us / 1000, (double)u->system_us / 1000);
        const char *bound = u->max_rss_is_own ? "" : "<= ", *note = u->max_rss_is_own ? "" : " *";
        printf("%s%.1f%s\n", bound, (double)u->max_rss_kb / 1024, note);
        unknown |= !u->max_rss_is_own;
    }
    if (unknown) {
        say("* Linux starts a program's peak at its starter's, here the tour's: the");
        say("  child's own is not known, and at most this.");
    }
    promise(cost_count > 0, "%u children, none left", cost_count);
}

static void on_interrupt(int signal) {
    (void)signal;
    interrupted = 1;
    brood_abort_now(stop_all); /* allowed in a signal handler */
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--worker") == 0)
        return brood_worker_main(work, NULL) < 0;
    if (argc > 1) {
        fprintf(stderr, "usage: %s (it takes no arguments)\n", argv[0]);
        return 2;
    }
    static void (*const stops[])(void) = {
        stream_ls, buffer_history, pass_hostile_argument, filter_log, time_out_stubborn, fail_well, compare_workers,
        own_trees, run_pool,       print_costs,
    };
    colours = isatty(1) && !getenv("NO_COLOR");
    setvbuf(stdout, NULL, _IOLBF, 0);
    loop = uv_default_loop();
    if (!loop || brood_abort_new(&stop_all) < 0 || !make_dir())
        return 1;
    signal(SIGINT, on_interrupt);
    signal(SIGTERM, on_interrupt);

    printf("%sA tour of brood %s%s\n", BOLD, brood_version(), PLAIN);
    for (size_t i = 0; i < sizeof stops / sizeof *stops && !interrupted; i++)
        stops[i]();

    uv_run(loop, UV_RUN_DEFAULT); /* the last closes */
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    brood_abort_free(stop_all);
    heading("Nothing is left");
    promise(uv_loop_close(loop) == 0, "the loop is closed: no handle of brood's is left on it");
    promise(remove_dir(), "removed %s", dir);

    if (interrupted) {
        printf("\nInterrupted.\n");
        return 130;
    }
    printf("\n%s%u of %u promises kept.%s\n", broken ? RED : GREEN, promises - broken, promises, PLAIN);
    return broken != 0;
}
