/*
 * Results in words. The sentence names the command, what became of it, and what helps: the limit that was passed, the
 * last line that the program itself said, who still holds its output.
 */
#include "child/result.h"

#include "base/failure.h"
#include "base/memory.h"
#include "process/exit.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define COMMAND_MOST 2048
#define COMMAND_IN_MESSAGE 120
#define MESSAGE_MOST 1024

/* What a result owns: one block of each, freed together. */
typedef struct memory {
    brood__collector collector;
    char *command;
    char message[MESSAGE_MOST];
} memory;

char *brood__command_text(const char *const *words) {
    size_t size = brood_quote(words, NULL, 0) + 1;
    if (size > COMMAND_MOST)
        size = COMMAND_MOST;
    char *text = brood__alloc(size);
    if (text)
        brood_quote(words, text, size);
    return text;
}

/* --- the sentence --- */

typedef struct sentence {
    char *text;
    size_t len;
} sentence;

__attribute__((format(printf, 2, 3))) static void say(sentence *s, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(s->text + s->len, MESSAGE_MOST - s->len, format, args);
    va_end(args);
    if (n > 0)
        s->len += (size_t)n < MESSAGE_MOST - s->len ? (size_t)n : MESSAGE_MOST - s->len - 1;
}

static void say_ms(sentence *s, uint64_t ms) {
    if (ms % 1000 == 0)
        say(s, "%llu s", (unsigned long long)ms / 1000);
    else
        say(s, "%llu ms", (unsigned long long)ms);
}

/* How the process itself ended, after brood had stopped it. */
static void say_end(sentence *s, const brood_exit *e) {
    if (e->stop_error)
        say(s, ", but could not be stopped (%s)", brood__errno_name(e->stop_error));
    if (e->signal)
        say(s, " and was ended by %s", brood_signal_name(e->signal) ? brood_signal_name(e->signal) : "a signal");
    else if (e->code >= 0)
        say(s, "; %sit exited with code %d", e->stop_error ? "" : "asked to stop, ", e->code);
}

static void say_limit(sentence *s, const brood__ending *end) {
    const brood__collector *c = end->collector;
    for (int i = 0; c && i < 2; i++)
        if (c->slot[i].dropped)
            say(s, "%swrote more than max_buffer (%zu bytes) to %s: %llu %s dropped",
                i && c->slot[0].dropped ? ", " : "", c->limit, i == 0 ? "stdout" : "stderr",
                (unsigned long long)c->slot[i].dropped, c->slot[i].dropped == 1 ? "byte was" : "bytes were");
}

static void say_size(sentence *s, uint64_t bytes) {
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    for (; unit + 1 < sizeof units / sizeof *units && bytes >= 1024 && bytes % 1024 == 0; bytes /= 1024)
        unit++;
    say(s, "%llu %s", (unsigned long long)bytes, units[unit]);
}

/* "the memory limit (512 MiB)"; where there is none of its own, that of what it runs in. */
static void say_memory_limit(sentence *s, const brood__ending *end) {
    if (end->exit.hit.around) {
        say(s, "a memory limit around it");
        return;
    }
    say(s, "the memory limit (");
    say_size(s, end->limits.memory);
    say(s, ")");
}

/* What a limit did to its tree, where that is not yet said. */
static void say_hit(sentence *s, const brood__ending *end) {
    const brood_limit_hit *hit = &end->exit.hit;
    if (hit->limit == BROOD_LIMIT_PIDS) {
        say(s, "; a fork was refused: its tree had reached %llu process%s", (unsigned long long)end->limits.pids,
            end->limits.pids == 1 ? "" : "es");
    } else if (hit->limit == BROOD_LIMIT_MEMORY && end->exit.reason != BROOD_REASON_OUT_OF_MEMORY) {
        say(s, "; ");
        say_memory_limit(s, end);
        say(s, hit->pid ? " had ended '%s' (pid %d) of its tree" : " had ended a process of its tree", hit->name,
            (int)hit->pid);
    }
}

/* What some signals mean, if not what sent them. */
static const char *signal_hint(int signal) {
    return signal == SIGSYS    ? ": a system call that it may not make (seccomp)"
           : signal == SIGXCPU ? ": its limit of CPU time (RLIMIT_CPU)"
           : signal == SIGXFSZ ? ": its limit for the size of files (RLIMIT_FSIZE)"
                               : "";
}

static void say_reason(sentence *s, const brood__ending *end) {
    const brood_exit *e = &end->exit;
    switch (e->reason) {
    case BROOD_REASON_EXITED:
        say(s, "exited with code %d", e->code);
        break;
    case BROOD_REASON_SIGNALED:
        say(s, "was killed by %s%s%s", brood_signal_name(e->signal) ? brood_signal_name(e->signal) : "a signal",
            e->core_dumped ? " (core dumped)" : "", signal_hint(e->signal));
        break;
    case BROOD_REASON_TIMED_OUT:
        say(s, "timed out after ");
        say_ms(s, end->timeout_ms);
        say_end(s, e);
        break;
    case BROOD_REASON_IDLE:
        say(s, "wrote nothing for ");
        say_ms(s, end->idle_timeout_ms);
        say_end(s, e);
        break;
    case BROOD_REASON_ABORTED:
        say(s, "was aborted");
        say_end(s, e);
        break;
    case BROOD_REASON_OUTPUT_LIMIT:
        say_limit(s, end);
        break;
    case BROOD_REASON_HOST_MEMORY:
        say(s, "wrote more than this process has memory for");
        break;
    case BROOD_REASON_OUT_OF_MEMORY:
        say(s, "was killed by ");
        say_memory_limit(s, end);
        break;
    case BROOD_REASON_CPU_TIME:
        say(s, "used up its CPU time of ");
        say_ms(s, end->limits.cpu_time_ms);
        say_end(s, e);
        break;
    case BROOD_REASON_NOT_STARTED:
        say(s, "could not be started");
        break;
    case BROOD_REASON_UNKNOWN:
        say(s, "ended, but other code in this process took its exit status (it waits for every child, or ignores "
               "SIGCHLD)");
        break;
    }
    say_hit(s, end);
    if (end->failure)
        say(s, ": %s", end->failure->message);
}

/* The last line that it wrote to stderr, made fit for a terminal. */
static void say_last_words(sentence *s, const brood__collected *err) {
    size_t end = err->len;
    while (end > 0 && (err->bytes[end - 1] == '\n' || err->bytes[end - 1] == ' '))
        end--;
    size_t start = end;
    while (start > 0 && err->bytes[start - 1] != '\n' && end - start < 200)
        start--;
    if (start == end)
        return;
    say(s, ": ");
    for (size_t i = start; i < end && s->len + 1 < MESSAGE_MOST; i++) {
        unsigned char c = (unsigned char)err->bytes[i];
        s->text[s->len++] = c < 0x20 || c == 0x7f ? '?' : (char)c;
    }
    s->text[s->len] = '\0';
}

/* --- output that is cut --- */

static const char *const why_stopped[] = {[BROOD_REASON_TIMED_OUT] = "its time was over",
                                          [BROOD_REASON_ABORTED] = "it was aborted",
                                          [BROOD_REASON_CPU_TIME] = "the CPU time of its tree was used up"};

void brood__cut_by_time(brood__cut *cut, int host_end) {
    if (!cut->by_time)
        cut->holder = brood__pipe_holder(host_end);
    cut->by_time = true;
}

void brood__cut_by_stop(brood__cut *cut, int host_end, brood_reason why) {
    bool told = why < sizeof why_stopped / sizeof *why_stopped && why_stopped[why]; /* others say so themselves */
    if (told && brood__pipe_is_held(host_end))
        cut->by_stop = why;
}

static void say_cut(sentence *s, const brood__cut *cut) {
    if (cut->by_time && cut->holder)
        say(s, "; process %d still holds its output open, so the end of it was not waited for", (int)cut->holder);
    else if (cut->by_time)
        say(s, "; another process still holds its output open, so the end of it was not waited for");
    else if (cut->by_stop)
        say(s, "; %s while what it had left running held its output, and that was stopped", why_stopped[cut->by_stop]);
}

/* --- the sentence --- */

static void write_message(char *text, const brood__ending *end) {
    sentence s = {.text = text};
    const char *command = *end->command ? *end->command : "the command";
    int most = (int)strnlen(command, COMMAND_IN_MESSAGE + 1);
    say(&s, "%.*s%s: ", most > COMMAND_IN_MESSAGE ? COMMAND_IN_MESSAGE - 3 : most, command,
        most > COMMAND_IN_MESSAGE ? "..." : "");
    say_reason(&s, end);
    if (end->exit.reason == BROOD_REASON_EXITED && end->exit.code != 0 && end->collector)
        say_last_words(&s, &end->collector->slot[1]);
    say_cut(&s, &end->cut);
}

/* --- the result --- */

static const char *error_name(const brood__ending *end) {
    switch (end->exit.reason) {
    case BROOD_REASON_TIMED_OUT:
    case BROOD_REASON_IDLE:
    case BROOD_REASON_CPU_TIME:
        return "ETIMEDOUT";
    case BROOD_REASON_ABORTED:
        return "ABORT_ERR";
    case BROOD_REASON_OUTPUT_LIMIT:
        return "ERR_CHILD_PROCESS_STDIO_MAXBUFFER";
    case BROOD_REASON_OUT_OF_MEMORY:
    case BROOD_REASON_HOST_MEMORY:
        return "ENOMEM";
    default:
        break;
    }
    if (!end->failure)
        return NULL;
    return end->failure->code == -ECANCELED ? "ABORT_ERR" : brood__errno_name(end->failure->code);
}

static brood_bytes bytes_of(const brood__collected *c) {
    return (brood_bytes){.bytes = c && c->bytes ? c->bytes : "", .len = c ? c->len : 0};
}

brood_result brood__result_bare(const brood_exit *e, const char *error_name_text, const char *message) {
    return (brood_result){
        .exit = *e,
        .out = {.bytes = ""},
        .err = {.bytes = ""},
        .error_name = error_name_text,
        .command = "",
        .message = message,
    };
}

void brood__result_make(const brood__ending *end, brood_result *ret) {
    brood__collector *c = end->collector;
    memory *m = brood__alloc(sizeof *m);
    *ret = (brood_result){
        .exit = end->exit,
        .cut = end->cut.by_time || end->cut.by_stop,
        .cut_pid = end->cut.holder,
        .error_name = error_name(end),
        .command = "",
        .message = BROOD__NO_MEMORY_FOR_RESULT,
        .queued_us = end->started_us ? end->started_us - end->asked_us : 0,
        .total_us = end->now_us - end->asked_us,
        .memory = m,
        .memory_limited = end->memory_limited,
        .guarantee = end->exit.reason == BROOD_REASON_NOT_STARTED ? BROOD_GUARANTEE_NONE : end->guarantee,
    };
    if (end->failure)
        ret->failure = *end->failure;
    ret->out_dropped = c ? c->slot[0].dropped : 0;
    ret->err_dropped = c ? c->slot[1].dropped : 0;
    ret->out = bytes_of(NULL);
    ret->err = bytes_of(NULL);
    if (!m) { /* the output has no owner then: it is dropped, and said to be */
        ret->out_dropped += c ? c->slot[0].len : 0;
        ret->err_dropped += c ? c->slot[1].len : 0;
        return;
    }
    write_message(m->message, end);
    ret->message = m->message;
    m->command = *end->command;
    *end->command = NULL;
    ret->command = m->command ? m->command : "";
    if (c) {
        m->collector = *c;
        memset(c, 0, sizeof *c);
        ret->out = bytes_of(&m->collector.slot[0]);
        ret->err = bytes_of(&m->collector.slot[1]);
    }
}

void brood_result_done(brood_result *result) {
    if (!result)
        return;
    memory *m = result->memory;
    if (m) {
        brood__collector_done(&m->collector);
        brood__free(m->command);
        brood__free(m);
    }
    memset(result, 0, sizeof *result);
}
