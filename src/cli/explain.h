/**
 * What a start that failed means: an exit status, and what to do about it.
 */
#ifndef BROOD_CLI_EXPLAIN_H
#define BROOD_CLI_EXPLAIN_H

#include <stdbool.h>
#include <stddef.h>

#include <brood.h>

/** 127: not found; 126: found, but it cannot be run; 125: it never came so far. As timeout(1) and env(1). */
int explain_status(const brood_failure *why);

/**
 * The failure in one line, with advice where there is any: `exec "./x": Permission denied (it is a directory)`.
 *
 * cwd  the directory that the command was to run in, or NULL
 *
 * Returns ret_text.
 */
const char *explain_failure(const brood_failure *why, const char *cwd, char *ret_text, size_t size);

/** Whether a program's name is that of a script for Node, which cannot be run by itself. */
bool explain_is_script(const char *name);

#endif
