/**
 * A command's options as a table: read by one parser, printed as its help, checked against its completions.
 */
#ifndef BROOD_CLI_ARGS_H
#define BROOD_CLI_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/** Why arguments were refused: one line for a person, without the command's name before it. */
typedef struct args_problem {
    char text[480];
} args_problem;

/** Says why, as printf does. Returns -EINVAL, so that a reader can `return args_refuse(…)`. */
int args_refuse(args_problem *problem, const char *format, ...) __attribute__((format(printf, 2, 3)));

/**
 * Reads an option's value into its field.
 * Returns 0, -ENOMEM, or -EINVAL with the problem told: what is wrong and what would be right; the option and its value
 * are put before it.
 */
typedef int (*args_reader)(const char *text, void *field, args_problem *problem);

/** One option. A table of them ends with a zero name. */
typedef struct args_option {
    const char *section; /* not NULL: this heading comes before it in the help */
    const char *name;    /* the long name, without dashes */
    char letter;         /* the short one, or 0 */
    const char *value;   /* what the help calls its value; NULL: a flag */
    args_reader read;    /* of the value; a flag is a bool set to true */
    size_t field;        /* offsetof, in the struct that is being filled */
    bool last;           /* nothing after it is read: --help */
    const char *help;    /* wrapped when it is printed */
    const char *also;    /* what other tools call it, words and letters, apart by spaces: only ever suggested */
} args_option;

/**
 * Read options until the first word that is none, or after `--`. `--name=value`, `--name value`, `-nvalue`, `-n value`
 * and flags in one word (`-qv`) are understood; names are never abbreviated, so that a new option breaks nobody's
 * script.
 *
 * args        NULL-terminated, without the command's own name; borrowed by what the readers keep of it
 * target      the struct that the fields are in
 * ret_rest    the words after the options
 *
 * Returns 0, -EINVAL with the problem told, or -ENOMEM.
 */
int args_read(const args_option *options, char *const *args, void *target, char *const **ret_rest,
              args_problem *problem);

/** An args_reader: a `const char *`, the text itself. */
int args_read_text(const char *text, void *field, args_problem *problem);

/** Print the table, at most 80 columns wide. */
void args_print_options(FILE *file, const args_option *options);

#endif
