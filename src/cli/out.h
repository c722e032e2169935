/**
 * What is to be printed, gathered: text, and values as JSON.
 */
#ifndef BROOD_CLI_OUT_H
#define BROOD_CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>

#include <brood.h>

/** All-zero is empty. */
typedef struct out {
    char *bytes;
    size_t len, size;
} out;

/** Append bytes. False: there is no memory. */
bool out_add(out *o, const char *bytes, size_t len);

/** The same of a text that ends in a NUL. */
bool out_text(out *o, const char *text);

/** A text as JSON has it, in quotes. It must be UTF-8, but for halves of surrogate pairs. False: no memory. */
bool out_string(out *o, const char *text);

/** Append a value as JSON: 0, or a negative errno as of brood_value_json, and nothing is appended. */
int out_json(out *o, brood_value value);

/** Why a value cannot be printed as JSON. */
const char *out_json_error(int error);

/** Take away the first bytes, which have been written. */
void out_forget(out *o, size_t len);

#endif
