/* Making a brood_failure: the step, the errno, the subject, and a line for a person. */
#ifndef BROOD_BASE_FAILURE_H
#define BROOD_BASE_FAILURE_H

#include <brood/base.h>

/*
 * Fill ret_failure (which may be NULL) and return `code`, so that a caller can write
 * `return brood__fail(ret_failure, -EMFILE, BROOD_STEP_PIPE, NULL, NULL)`.
 * `subject` may be NULL; `hint` replaces the errno's text, NULL: strerror.
 */
int brood__fail(brood_failure *ret_failure, int code, brood_step step, const char *subject, const char *hint);

/* "ENOENT" for -ENOENT or ENOENT; "UNKNOWN" where the C library has no name. Static. */
const char *brood__errno_name(int error);

#endif
