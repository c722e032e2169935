/* From a brood_options to a plan: checked, copied, nothing left to look up. */
#ifndef BROOD_CHILD_OPTIONS_H
#define BROOD_CHILD_OPTIONS_H

#include "own/deadlines.h"
#include "process/start.h"

#include <brood/child.h>

/* Which family of calls the options are for. */
typedef enum brood__form {
    BROOD__SPAWN,
    BROOD__FORK, /* as spawn, with a channel */
    BROOD__EXEC, /* through a shell, or a program: output is collected */
} brood__form;

/* Options of the caller's size as ours: what a newer caller has and we do not know must be zero. */
int brood__options_copy(const brood_options *options, size_t size, brood_options *ret_options,
                        brood_failure *ret_failure);

/* The same for a struct that is written to a caller's. */
void brood__result_give(const brood_result *result, brood_result *ret_result, size_t size);

typedef struct brood__compiled {
    brood__plan plan;         /* the caller's to brood__plan_done */
    const brood_stdio **ios;  /* for each of the plan's slots what the user said of it; as long as the options live */
    const char *const *words; /* the command line, for people */
    brood_ownership reach;    /* never DEFAULT */
    int channel_slot;         /* 0: no channel */
    bool credentials;         /* uid, gid or groups change: off the loop */
} brood__compiled;

/*
 * Check and compile. `command`: for a shell, else NULL. `keep_env`: the start may come later, so the host's environment
 * is copied now. On error nothing is left to free.
 */
int brood__options_compile(const brood_options *options, brood__form form, const char *command, bool keep_env,
                           brood__compiled *ret_compiled, brood_failure *ret_failure);

/* Bytes of a slot's `input`; 0 without one. */
size_t brood__input_length(const brood_stdio *io);

/* What a stop sends, and when what is due, with the defaults in. */
int brood__options_kill_signal(const brood_options *options);
void brood__options_deadlines(const brood_options *options, brood__form form, uint64_t now_us,
                              brood__deadlines *ret_deadlines);

#endif
