/*
 * Processes in words: reasons, signals by name both ways, a command line quoted so that a shell reads it back.
 */
#include <brood/process.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const reason_text[] = {
    [BROOD_REASON_UNKNOWN] = "unknown",
    [BROOD_REASON_EXITED] = "exited",
    [BROOD_REASON_SIGNALED] = "signaled",
    [BROOD_REASON_TIMED_OUT] = "timed out",
    [BROOD_REASON_IDLE] = "idle",
    [BROOD_REASON_ABORTED] = "aborted",
    [BROOD_REASON_OUTPUT_LIMIT] = "output limit",
    [BROOD_REASON_OUT_OF_MEMORY] = "out of memory",
    [BROOD_REASON_NOT_STARTED] = "not started",
    [BROOD_REASON_HOST_MEMORY] = "host memory",
    [BROOD_REASON_CPU_TIME] = "cpu time",
};

const char *brood_reason_text(brood_reason reason) {
    size_t i = (size_t)reason;
    return i < sizeof reason_text / sizeof *reason_text ? reason_text[i] : "unknown";
}

const char *brood_limit_text(brood_limit limit) {
    static const char *const texts[] = {
        [BROOD_LIMIT_NONE] = "none", [BROOD_LIMIT_MEMORY] = "memory",     [BROOD_LIMIT_PIDS] = "pids",
        [BROOD_LIMIT_CPU] = "cpu",   [BROOD_LIMIT_CPU_TIME] = "cpu time", [BROOD_LIMIT_IO] = "io",
    };
    size_t i = (size_t)limit;
    return i < sizeof texts / sizeof *texts ? texts[i] : "none";
}

/* The reasons for which brood stops a child because its time is over. */
static bool was_late(brood_reason reason) {
    return reason == BROOD_REASON_TIMED_OUT || reason == BROOD_REASON_IDLE || reason == BROOD_REASON_CPU_TIME;
}

int brood_exit_status(const brood_exit *e) {
    if (was_late(e->reason))
        return 124;
    if (e->signal)
        return 128 + e->signal;
    bool lost = e->reason == BROOD_REASON_OUTPUT_LIMIT || e->reason == BROOD_REASON_HOST_MEMORY;
    if (e->code > 0 || (e->code == 0 && !lost))
        return e->code;
    return 125;
}

/* --- signals --- */

#define SIGNAL(name) [name] = #name

static const char *const signal_name[] = {
    SIGNAL(SIGHUP),  SIGNAL(SIGINT),    SIGNAL(SIGQUIT), SIGNAL(SIGILL),    SIGNAL(SIGTRAP), SIGNAL(SIGABRT),
    SIGNAL(SIGBUS),  SIGNAL(SIGFPE),    SIGNAL(SIGKILL), SIGNAL(SIGUSR1),   SIGNAL(SIGSEGV), SIGNAL(SIGUSR2),
    SIGNAL(SIGPIPE), SIGNAL(SIGALRM),   SIGNAL(SIGTERM), SIGNAL(SIGSTKFLT), SIGNAL(SIGCHLD), SIGNAL(SIGCONT),
    SIGNAL(SIGSTOP), SIGNAL(SIGTSTP),   SIGNAL(SIGTTIN), SIGNAL(SIGTTOU),   SIGNAL(SIGURG),  SIGNAL(SIGXCPU),
    SIGNAL(SIGXFSZ), SIGNAL(SIGVTALRM), SIGNAL(SIGPROF), SIGNAL(SIGWINCH),  SIGNAL(SIGIO),   SIGNAL(SIGPWR),
    SIGNAL(SIGSYS),
};
#define SIGNAL_COUNT ((int)(sizeof signal_name / sizeof *signal_name))

/* SIGRTMIN+n as the C library counts: the kernel's first two are its own. Those below it are the library's: no name. */
#define REALTIME_FIRST 34
#define REALTIME_LAST 64
static const char *const realtime_name[REALTIME_LAST - REALTIME_FIRST + 1] = {
    "SIGRTMIN",    "SIGRTMIN+1",  "SIGRTMIN+2",  "SIGRTMIN+3",  "SIGRTMIN+4",  "SIGRTMIN+5",  "SIGRTMIN+6",
    "SIGRTMIN+7",  "SIGRTMIN+8",  "SIGRTMIN+9",  "SIGRTMIN+10", "SIGRTMIN+11", "SIGRTMIN+12", "SIGRTMIN+13",
    "SIGRTMIN+14", "SIGRTMIN+15", "SIGRTMAX-14", "SIGRTMAX-13", "SIGRTMAX-12", "SIGRTMAX-11", "SIGRTMAX-10",
    "SIGRTMAX-9",  "SIGRTMAX-8",  "SIGRTMAX-7",  "SIGRTMAX-6",  "SIGRTMAX-5",  "SIGRTMAX-4",  "SIGRTMAX-3",
    "SIGRTMAX-2",  "SIGRTMAX-1",  "SIGRTMAX",
};

const char *brood_signal_name(int signal) {
    if (signal >= REALTIME_FIRST && signal <= REALTIME_LAST)
        return realtime_name[signal - REALTIME_FIRST];
    return signal > 0 && signal < SIGNAL_COUNT ? signal_name[signal] : NULL;
}

/* A whole decimal number up to `max`, or -1. */
static int parse_number(const char *text, int max) {
    int n = 0;
    if (!*text)
        return -1;
    for (; *text >= '0' && *text <= '9'; text++) {
        n = n * 10 + (*text - '0');
        if (n > max)
            return -1;
    }
    return *text ? -1 : n;
}

static int parse_realtime(const char *name) {
    bool from_min = strncasecmp(name, "RTMIN", 5) == 0;
    if (!from_min && strncasecmp(name, "RTMAX", 5) != 0)
        return -EINVAL;
    int base = from_min ? REALTIME_FIRST : REALTIME_LAST, offset = 0;
    if (name[5] == (from_min ? '+' : '-'))
        offset = parse_number(name + 6, REALTIME_LAST - REALTIME_FIRST);
    else if (name[5])
        return -EINVAL;
    if (offset < 0)
        return -EINVAL;
    return from_min ? base + offset : base - offset;
}

int brood_signal_number(const char *name) {
    if (!name)
        return -EINVAL;
    int number = parse_number(name, REALTIME_LAST);
    if (number > 0)
        return brood_signal_name(number) ? number : -EINVAL;
    if (strncasecmp(name, "SIG", 3) == 0)
        name += 3;
    if (strcasecmp(name, "CLD") == 0)
        return SIGCHLD;
    if (strcasecmp(name, "IOT") == 0)
        return SIGABRT;
    if (strcasecmp(name, "POLL") == 0)
        return SIGIO;
    for (int i = 1; i < SIGNAL_COUNT; i++)
        if (signal_name[i] && strcasecmp(signal_name[i] + 3, name) == 0)
            return i;
    return parse_realtime(name);
}

/* --- quoting --- */

typedef struct output {
    char *text;
    size_t size, len; /* len goes on counting when the text is full */
} output;

static void put(output *o, char c) {
    if (o->len + 1 < o->size)
        o->text[o->len] = c;
    o->len++;
}

static void put_text(output *o, const char *text) {
    while (*text)
        put(o, *text++);
}

static bool is_harmless(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("%+,-./:=@_^", c));
}

static bool is_control(unsigned char c) {
    return c < 0x20 || c == 0x7f;
}

static void put_escape(output *o, unsigned char c) {
    static const char letters[] = "\aa\bb\tt\nn\vv\ff\rr";
    put(o, '\\');
    for (const char *l = letters; *l; l += 2)
        if (*l == (char)c) {
            put(o, l[1]);
            return;
        }
    char octal[8];
    snprintf(octal, sizeof octal, "%03o", c);
    put_text(o, octal);
}

/* 'text', with ' as '\''. */
static void put_single(output *o, const char *word) {
    put(o, '\'');
    for (; *word; word++)
        if (*word == '\'')
            put_text(o, "'\\''");
        else
            put(o, *word);
    put(o, '\'');
}

/* $'text' for a word that holds control characters. */
static void put_dollar(output *o, const char *word) {
    put_text(o, "$'");
    for (; *word; word++) {
        if (is_control((unsigned char)*word)) {
            put_escape(o, (unsigned char)*word);
            continue;
        }
        if (*word == '\'' || *word == '\\')
            put(o, '\\');
        put(o, *word);
    }
    put(o, '\'');
}

static void put_word(output *o, const char *word, bool first) {
    bool harmless = *word != '\0' && !(first && strchr(word, '=')); /* a first word with = would be an assignment */
    bool control = false;
    for (const char *c = word; *c; c++) {
        harmless = harmless && is_harmless((unsigned char)*c);
        control = control || is_control((unsigned char)*c);
    }
    if (harmless)
        put_text(o, word);
    else if (control)
        put_dollar(o, word);
    else
        put_single(o, word);
}

size_t brood_quote(const char *const *args, char *ret_text, size_t size) {
    output o = {.text = ret_text, .size = size};
    for (size_t i = 0; args && args[i]; i++) {
        if (i)
            put(&o, ' ');
        put_word(&o, args[i], i == 0);
    }
    if (size > 0)
        ret_text[o.len < size ? o.len : size - 1] = '\0';
    if (o.len >= size && size >= 4)
        memcpy(ret_text + size - 4, "...", 4);
    return o.len;
}
