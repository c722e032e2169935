/*
 * Failures as people read them: `chdir "/srv": No such file or directory`. The same errno means different things at
 * different steps, so a few pairs have a text of their own that says what to do.
 */
#include "base/failure.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#ifndef BROOD_VERSION
#define BROOD_VERSION "0.0.0"
#endif

static const char *const where[] = {
    [BROOD_STEP_NONE] = "none",
    [BROOD_STEP_OPTIONS] = "options",
    [BROOD_STEP_MEMORY] = "memory",
    [BROOD_STEP_LOOP] = "loop",
    [BROOD_STEP_THREAD] = "thread",
    [BROOD_STEP_PIPE] = "pipe",
    [BROOD_STEP_OPEN] = "open",
    [BROOD_STEP_CLONE] = "clone",
    [BROOD_STEP_SESSION] = "setsid",
    [BROOD_STEP_GROUP] = "setpgid",
    [BROOD_STEP_STDIO] = "stdio",
    [BROOD_STEP_UMASK] = "umask",
    [BROOD_STEP_NICE] = "nice",
    [BROOD_STEP_LIMIT] = "setrlimit",
    [BROOD_STEP_GID] = "setgid",
    [BROOD_STEP_GROUPS] = "setgroups",
    [BROOD_STEP_UID] = "setuid",
    [BROOD_STEP_CWD] = "chdir",
    [BROOD_STEP_NO_NEW_PRIVS] = "no_new_privs",
    [BROOD_STEP_EXEC] = "exec",
    [BROOD_STEP_ABORTED] = "aborted",
    [BROOD_STEP_HOLDER] = "holder",
    [BROOD_STEP_CGROUP] = "cgroup",
};

const char *brood_step_text(brood_step step) {
    size_t i = (size_t)step;
    return i < sizeof where / sizeof *where ? where[i] : "unknown";
}

const char *brood_version(void) {
    return BROOD_VERSION;
}

const char *brood__errno_name(int error) {
    const char *name = strerrorname_np(error < 0 ? -error : error);
    return name ? name : "UNKNOWN";
}

static void mark_if_cut(char *text, size_t size, int wanted) {
    if (wanted >= 0 && (size_t)wanted >= size)
        memcpy(text + size - 4, "...", 4);
}

/* Names come from outside: nothing in a message may break its line or reach a terminal as a command. */
static void mask_controls(char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static const char *reason_for_people(int code, brood_step step) {
    switch (code) {
    case -EMFILE:
        return "too many open files in this process (RLIMIT_NOFILE; see ulimit -n)";
    case -EAGAIN:
        return step == BROOD_STEP_CLONE || step == BROOD_STEP_THREAD
                   ? "too many processes (RLIMIT_NPROC or a pids limit; see ulimit -u)"
                   : NULL;
    case -E2BIG:
        return "the arguments and the environment are too long together (see ARG_MAX)";
    case -ETXTBSY:
        return "the program is open for writing somewhere";
    default:
        return NULL;
    }
}

int brood__fail(brood_failure *why, int code, brood_step step, const char *subject, const char *hint) {
    if (!why)
        return code;
    memset(why, 0, sizeof *why);
    why->code = code;
    why->step = step;
    int wanted = snprintf(why->subject, sizeof why->subject, "%s", subject ? subject : "");
    mark_if_cut(why->subject, sizeof why->subject, wanted);
    if (!hint)
        hint = reason_for_people(code, step);
    char text[128];
    if (!hint)
        hint = strerror_r(-code, text, sizeof text); /* GNU's: returns the text */
    const char *begin = step == BROOD_STEP_NONE ? "" : brood_step_text(step);
    bool option = step == BROOD_STEP_OPTIONS; /* a field's name: `options.cwd: is given twice` */
    const char *quote = option ? "" : "\"", *gap = option ? "." : " ";
    if (!*why->subject)
        quote = gap = "";
    if (!*begin)
        gap = "";
    wanted = snprintf(why->message, sizeof why->message, "%s%s%s%s%s%s%s", begin, gap, quote, why->subject, quote,
                      *begin || *why->subject ? ": " : "", hint);
    mark_if_cut(why->message, sizeof why->message, wanted);
    mask_controls(why->message);
    return code;
}
