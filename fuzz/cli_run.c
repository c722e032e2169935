/*
 * The argument parser of `brood run`. The input is a command line, its words apart by NUL bytes: nothing is started,
 * opened or looked up. What was accepted is looked at in all its parts, so that a sanitizer sees what is wrong with
 * them.
 */
#include "cli/run_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MOST_WORDS 256
#define MUST(claim) ((claim) ? (void)0 : abort()) /* assert would be nothing in a release build */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each word in a block of its own: one byte too far is then seen. */
static size_t split(const uint8_t *data, size_t size, char **words) {
    size_t count = 0;
    for (size_t at = 0; at < size && count < MOST_WORDS; count++) {
        size_t len = strnlen((const char *)data + at, size - at);
        words[count] = strndup((const char *)data + at, len);
        if (!words[count])
            abort();
        at += len + 1;
    }
    words[count] = NULL;
    return count;
}

static void check_accepted(const run_options *o, char *const *words, size_t count) {
    MUST(o->help || o->license || (o->command >= words && o->command < words + count && o->command[0]));
    MUST(!(o->signal_group || o->warn_zombies) || o->init || o->help || o->license);
    MUST(o->nice >= -40 && o->nice <= 39);
    MUST(o->umask.mode <= 0777);
    MUST(o->signal == 0 || brood_signal_name(o->signal));
    MUST(o->timeout.ms != BROOD_FOREVER && o->idle_timeout.ms != BROOD_FOREVER);
    for (size_t i = 0; i < o->env.count; i++)
        MUST(o->env.items[i][0] && o->env.items[i][0] != '=');
    for (size_t i = 0; i < o->limits.count; i++) {
        MUST(o->limits.items[i].soft <= o->limits.items[i].hard);
        MUST(*run_limit_name(o->limits.items[i].resource));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *words[MOST_WORDS + 1];
    size_t count = split(data, size, words);
    run_options options;
    args_problem problem = {.text = ""};
    int r = run_options_read(&options, words, &problem);
    if (r == 0)
        check_accepted(&options, words, count);
    else
        MUST(r != -EINVAL || (problem.text[0] && !strchr(problem.text, '\n')));
    run_options_done(&options);
    for (size_t i = 0; i < count; i++)
        free(words[i]);
    return 0;
}
