/* The trace hook, from inside. */
#ifndef BROOD_BASE_HOOKS_H
#define BROOD_BASE_HOOKS_H

#include <brood/base.h>

bool brood__is_traced(void);

/* Tell the trace hook, if there is one. `detail` may be NULL. */
void brood__trace(const char *name, pid_t pid, int64_t value, const char *detail);

#endif
