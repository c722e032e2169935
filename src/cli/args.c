/*
 * The parser of option tables. getopt_long is not used: it keeps its state in globals, prints by itself, and accepts
 * abbreviations; what is here can be called by a fuzzer a million times in one process. It neither prints nor exits,
 * and keeps nothing: the readers named in the table own what they make.
 */
#include "args.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "text.h"

enum { WIDTH = 80, HELP_COLUMN = 28 };

int args_refuse(args_problem *problem, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vsnprintf(problem->text, sizeof problem->text, format, list);
    va_end(list);
    return -EINVAL;
}

int args_read_text(const char *text, void *field, args_problem *problem) {
    (void)problem;
    *(const char **)field = text;
    return 0;
}

static const args_option *find_name(const args_option *options, const char *name, size_t len) {
    for (; options->name; options++)
        if (strlen(options->name) == len && memcmp(options->name, name, len) == 0)
            return options;
    return NULL;
}

static const args_option *find_letter(const args_option *options, char letter) {
    for (; options->name; options++)
        if (options->letter && options->letter == letter)
            return options;
    return NULL;
}

static bool has_word(const char *words, const char *word, size_t len) {
    for (const char *at = words; at && *at; at += strspn(at, " ")) {
        size_t here = strcspn(at, " ");
        if (here == len && memcmp(at, word, len) == 0)
            return true;
        at += here;
    }
    return false;
}

/* What other tools call it wins over what merely looks alike: --chdir is --cwd, and no misspelling of anything. */
static const char *suggest(const args_option *options, const char *name) {
    text_guess guess = {.word = name};
    for (const args_option *o = options; o->name; o++) {
        if (has_word(o->also, name, strlen(name)))
            return o->name;
        text_guess_try(&guess, o->name);
    }
    return guess.best;
}

static int refuse_name(const args_option *options, const char *name, size_t len, args_problem *problem) {
    char word[40], shown[80];
    snprintf(word, sizeof word, "%.*s", (int)(len < sizeof word ? len : sizeof word - 1), name);
    const char *meant = suggest(options, word);
    text_quote_word(word, shown, sizeof shown);
    if (meant)
        return args_refuse(problem, "no option --%s; did you mean --%s?", shown, meant);
    return args_refuse(problem, "no option --%s", shown);
}

static int refuse_letter(const args_option *options, char letter, args_problem *problem) {
    char shown[80];
    text_quote_word((const char[]){letter, 0}, shown, sizeof shown);
    for (; options->name; options++)
        if (has_word(options->also, &letter, 1))
            return args_refuse(problem, "no option -%s; did you mean --%s?", shown, options->name);
    return args_refuse(problem, "no option -%s", shown);
}

/* Gives the option its value, and puts both before the reader's complaint. */
static int apply(const args_option *option, const char *value, void *target, args_problem *problem) {
    void *field = (char *)target + option->field;
    if (!option->value) {
        *(bool *)field = true;
        return 0;
    }
    args_problem why = {{0}};
    int r = option->read(value, field, &why);
    if (r == -EINVAL) {
        char shown[120];
        text_quote_word(value, shown, sizeof shown);
        args_refuse(problem, "--%s %s: %.*s", option->name, shown, 330, why.text);
    }
    return r;
}

static int refuse_missing(const args_option *option, args_problem *problem) {
    return args_refuse(problem, "--%s needs a value: --%s %s", option->name, option->name, option->value);
}

/* One word with two dashes; `*cursor` moves on if the value is the next word. */
static int read_long(const args_option *options, char *const **cursor, void *target, const args_option **ret_option,
                     args_problem *problem) {
    const char *name = **cursor + 2;
    size_t len = strcspn(name, "=");
    const args_option *option = find_name(options, name, len);
    if (!option)
        return refuse_name(options, name, len, problem);
    const char *value = name[len] ? name + len + 1 : NULL;
    if (value && !option->value)
        return args_refuse(problem, "--%s takes no value", option->name);
    if (!value && option->value && (!(value = *++*cursor) || strcmp(value, "--") == 0))
        return refuse_missing(option, problem);
    *ret_option = option;
    return apply(option, value, target, problem);
}

/* One word with one dash: letters, the last of which may have a value, in this word or in the next. */
static int read_letters(const args_option *options, char *const **cursor, void *target, const args_option **ret_option,
                        args_problem *problem) {
    const char *word = **cursor;
    if (find_name(options, word + 1, strlen(word + 1))) /* "-timeout" would otherwise be -t imeout */
        return args_refuse(problem, "no option %s; did you mean -%s?", word, word);
    for (const char *letter = word + 1; *letter; letter++) {
        const args_option *option = find_letter(options, *letter);
        if (!option)
            return refuse_letter(options, *letter, problem);
        const char *value = NULL;
        if (option->value) {
            value = letter[1] ? letter + 1 : *++*cursor;
            if (!value || (!letter[1] && strcmp(value, "--") == 0))
                return refuse_missing(option, problem);
        }
        int r = apply(option, value, target, problem);
        *ret_option = option;
        if (r < 0 || value || option->last)
            return r;
    }
    return 0;
}

int args_read(const args_option *options, char *const *args, void *target, char *const **ret_rest,
              args_problem *problem) {
    char *const *cursor = args;
    const args_option *option = NULL;
    for (; *cursor && (*cursor)[0] == '-' && (*cursor)[1]; cursor++) {
        if (strcmp(*cursor, "--") == 0) {
            cursor++;
            break;
        }
        bool is_long = (*cursor)[1] == '-';
        int r = is_long ? read_long(options, &cursor, target, &option, problem)
                        : read_letters(options, &cursor, target, &option, problem);
        if (r < 0)
            return r;
        if (option && option->last) {
            cursor++;
            break;
        }
    }
    *ret_rest = cursor;
    return 0;
}

static void print_wrapped(FILE *file, const char *text, int column) {
    int at = column;
    for (const char *word = text; *word; word += strspn(word, " ")) {
        int len = (int)strcspn(word, " ");
        if (at > column && at + 1 + len > WIDTH) {
            fprintf(file, "\n%*s", column, "");
            at = column;
        }
        at += fprintf(file, "%s%.*s", at > column ? " " : "", len, word);
        word += len;
    }
    fputc('\n', file);
}

void args_print_options(FILE *file, const args_option *options) {
    for (; options->name; options++) {
        char left[64], letter[8] = "    ";
        if (options->section)
            fprintf(file, "\n%s:\n", options->section);
        if (options->letter)
            snprintf(letter, sizeof letter, "-%c, ", options->letter);
        int len = snprintf(left, sizeof left, "  %s--%s%s%s", letter, options->name, options->value ? " " : "",
                           options->value ? options->value : "");
        if (len + 2 > HELP_COLUMN)
            fprintf(file, "%s\n%*s", left, HELP_COLUMN, "");
        else
            fprintf(file, "%-*s", HELP_COLUMN, left);
        print_wrapped(file, options->help, HELP_COLUMN);
    }
}
