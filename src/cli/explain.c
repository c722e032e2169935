/*
 * The library says what failed, on what, and why. What is added here is what to do about it where the way out is an
 * option of the command or a right of the user, and the exit status that scripts know.
 */
#include "explain.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"
#include "text.h"

int explain_status(const brood_failure *why) {
    if (why->step != BROOD_STEP_EXEC)
        return CLI_FAILED;
    return why->code == -ENOENT ? CLI_NOT_FOUND : CLI_NOT_EXECUTABLE;
}

/* A file that is there, but without an x bit: by far the most common reason of EACCES. */
static bool lacks_x_bit(const brood_failure *why, const char *cwd) {
    struct stat file;
    bool relative = why->subject[0] != '/';
    if (!strchr(why->subject, '/') || (cwd && relative))
        return false; /* searched for elsewhere than here */
    return stat(why->subject, &file) == 0 && S_ISREG(file.st_mode) && !(file.st_mode & 0111);
}

/* What was not found in PATH, and was not meant as a program's name. */
static const char *advise_not_found(const char *program) {
    static const char *const builtins[] = {"alias", "cd", "eval", "exec", "export", "set", "source", "ulimit", "umask"};
    const char *equals = strchr(program, '='), *blank = strpbrk(program, " \t\n|&;<>");
    uint64_t ms;
    if (program[0] == '-')
        return "options of brood stand before --";
    if (text_read_duration(program, &ms) == 0)
        return "a time limit is an option: --timeout";
    if (strchr(program, '/') && !blank)
        return NULL;
    if (equals && equals > program && !(blank && blank < equals))
        return "--env NAME=VALUE sets a variable";
    if (blank)
        return "each word is an argument of its own; --shell takes one text as a shell does";
    for (size_t i = 0; i < sizeof builtins / sizeof builtins[0]; i++)
        if (strcmp(program, builtins[i]) == 0)
            return "that is the shell's own; --shell runs one text in a shell, --cwd changes the directory";
    return NULL;
}

static const char *advise(const brood_failure *why, const char *cwd) {
    bool refused = why->code == -EPERM || why->code == -EACCES;
    switch (why->step) {
    case BROOD_STEP_EXEC:
        if (why->code == -ENOENT)
            return advise_not_found(why->subject);
        return why->code == -EACCES && lacks_x_bit(why, cwd) ? "chmod +x makes it executable" : NULL;
    case BROOD_STEP_UID:
    case BROOD_STEP_GID:
    case BROOD_STEP_GROUPS:
        return refused ? "changing user or group takes root, or CAP_SETUID and CAP_SETGID" : NULL;
    case BROOD_STEP_NICE:
        return refused ? "raising priority takes root, or CAP_SYS_NICE" : NULL;
    case BROOD_STEP_LIMIT:
        return refused ? "raising a hard limit takes CAP_SYS_RESOURCE, and nofile ends at fs.nr_open" : NULL;
    default:
        return NULL;
    }
}

const char *explain_failure(const brood_failure *why, const char *cwd, char *ret_text, size_t size) {
    const char *advice = advise(why, cwd);
    snprintf(ret_text, size, advice ? "%s (%s)" : "%s", why->message, advice);
    return ret_text;
}

bool explain_is_script(const char *name) {
    const char *dot = strrchr(name, '.');
    return dot && (strcmp(dot, ".js") == 0 || strcmp(dot, ".mjs") == 0 || strcmp(dot, ".cjs") == 0);
}
