/*
 * `brood doctor`: what this host can promise, and why not. Everything is tried first and shown then, so that nothing of
 * it depends on who reads: a table for people, narrow and without colours, or one object of JSON whose keys stay.
 */
#include "doctor.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"
#include "cli.h"
#include "run_options.h"
#include "text.h"

enum { WIDTH = 60, INDENT = 10 };

typedef struct doctor_options {
    bool json, help;
    brood_guarantee require;
} doctor_options;

static const args_option table[] = {
    {.section = "Options",
     .name = "json",
     .field = offsetof(doctor_options, json),
     .also = "report",
     .help = "one object of JSON, its keys as in man brood-doctor"},
    {.name = "require",
     .value = "GUARANTEE",
     .read = run_read_guarantee,
     .field = offsetof(doctor_options, require),
     .also = "guarantee",
     .help = "exit with 1 unless a tree has this guarantee here: best-effort, kernel"},
    {.name = "help", .letter = 'h', .field = offsetof(doctor_options, help), .last = true, .help = "print this"},
    {0},
};

static void print_help(FILE *file) {
    fputs("Usage: brood doctor [OPTION]...\n"
          "Tell what this host can promise: whether trees are killed whole, what else brood\n"
          "makes use of, and what can be done where something is missing.\n",
          file);
    args_print_options(file, table);
    fputs("\nExit status: 0 if trees can be owned here, 1 if not, 125 if brood failed.\n"
          "\nManual: man brood-doctor.\n",
          file);
}

/* --- what is found --- */

doctor_check *doctor_add(doctor *d, const doctor_check *check, brood_answer answer, const char *reason) {
    doctor_check *added = &d->checks[d->count];
    if (d->count < DOCTOR_MOST_CHECKS - 1)
        d->count++;
    *added = *check;
    added->answer = answer;
    if (answer == BROOD_ANSWER_YES)
        added->remedy = NULL;
    snprintf(added->reason, sizeof added->reason, "%s", reason ? reason : "");
    return added;
}

/* The errno is what to look for where the reason is not the obvious one. Of a yes, the detail says by what. */
static void take_probe(const brood_probe *probe, void *the_doctor) {
    doctor_check check = {.name = probe->name, .group = probe->group, .what = probe->what, .remedy = probe->remedy};
    doctor_check *added = doctor_add(the_doctor, &check, probe->answer, NULL);
    const char *detail = probe->detail ? probe->detail : "";
    if (probe->answer == BROOD_ANSWER_YES)
        snprintf(added->value, sizeof added->value, "%s", detail);
    else if (probe->code < 0)
        snprintf(added->reason, sizeof added->reason, "%s (%s)", detail, strerrorname_np(-probe->code));
    else
        snprintf(added->reason, sizeof added->reason, "%s", detail);
}

static void examine(doctor *d) {
    doctor_check_starts(d);
    brood_host_probe(take_probe, d);
    doctor_check_host(d);
}

/* --- for people --- */

static const char *answer_word(brood_answer answer) {
    static const char *const words[] = {
        [BROOD_ANSWER_UNKNOWN] = "unknown",
        [BROOD_ANSWER_NO] = "no",
        [BROOD_ANSWER_PARTLY] = "partly",
        [BROOD_ANSWER_YES] = "yes",
    };
    return words[answer];
}

/* Words up to the width, and never more than one that is too long for it. */
static void print_words(const char *lead, const char *text) {
    int column = printf("%*s%s", INDENT, "", lead), begin = column;
    for (const char *word = text; *word; word += strspn(word, " ")) {
        int len = (int)strcspn(word, " ");
        if (column > begin && column + 1 + len > WIDTH) {
            printf("\n%*s", begin, "");
            column = begin;
        }
        column += printf("%s%.*s", column > begin ? " " : "", len, word);
        word += len;
    }
    putchar('\n');
}

static void print_check(const doctor_check *c) {
    bool fits = INDENT + strlen(c->what) + 2 + strlen(c->value) <= WIDTH;
    printf("  %-*s%s%s%s\n", INDENT - 2, answer_word(c->answer), c->what, *c->value ? ": " : "", fits ? c->value : "");
    if (!fits)
        print_words("", c->value);
    if (*c->reason)
        print_words("", c->reason);
    if (c->remedy)
        print_words("-> ", c->remedy);
}

static void print_group(const doctor *d, const char *group) {
    printf("\n%c%s\n", toupper((unsigned char)group[0]), group + 1);
    for (size_t i = 0; i < d->count; i++)
        if (strcmp(d->checks[i].group, group) == 0)
            print_check(&d->checks[i]);
}

static void print_table(const doctor *d) {
    static const char *const verdicts[] = {
        [BROOD_GUARANTEE_NONE] = "Trees cannot be owned here.",
        [BROOD_GUARANTEE_BEST_EFFORT] = "Trees are killed whole here: best-effort.",
        [BROOD_GUARANTEE_KERNEL] = "Trees are killed whole here: by the kernel.",
    };
    static const char *const groups[] = {"trees", "starting", "limits", "streams", "host"};
    puts(verdicts[d->guarantee]);
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++)
        print_group(d, groups[i]);
}

/* --- for programs --- */

static void put_member(const char *key, const char *text) {
    printf(",\"%s\":", key);
    text_write_json(stdout, *text ? text : NULL);
}

static void put_value(const char *value) {
    uint64_t number;
    if (text_read_number(value, 10, &number) == 0)
        printf(",\"value\":%s", value);
    else
        put_member("value", value);
}

static void put_check(const doctor_check *c, bool first) {
    printf("%s\"%s\":{\"group\":\"%s\"", first ? "" : ",", c->name, c->group);
    put_member("answer", answer_word(c->answer));
    put_value(c->value);
    put_member("reason", c->reason);
    put_member("remedy", c->remedy ? c->remedy : "");
    putchar('}');
}

static void print_json(const doctor *d) {
    printf("{\"version\":\"%s\",\"guarantee\":\"%s\",\"checks\":{", brood_version(),
           brood_guarantee_text(d->guarantee));
    for (size_t i = 0; i < d->count; i++)
        put_check(&d->checks[i], i == 0);
    puts("}}");
}

/* --- the whole --- */

static int diagnose(const doctor_options *o) {
    brood_guarantee wanted = o->require ? o->require : BROOD_GUARANTEE_BEST_EFFORT;
    doctor *d = calloc(1, sizeof *d);
    if (!d) {
        cli_complain("doctor", "%s", strerror(ENOMEM));
        return CLI_FAILED;
    }
    examine(d);
    if (o->json)
        print_json(d);
    else
        print_table(d);
    int status = d->guarantee >= wanted ? 0 : 1;
    free(d);
    return cli_flush("doctor", status);
}

static int doctor_main(const cli_host *host, char *const *args) {
    doctor_options options = {0};
    args_problem problem;
    char *const *rest;
    (void)host;
    if (*args && strcmp(*args, "--play-tree") == 0) /* we have started ourselves: no option of anybody's */
        return doctor_play_tree();
    int r = args_read(table, args, &options, &rest, &problem);
    if (r == 0 && !options.help && *rest)
        r = args_refuse(&problem, "it takes no arguments");
    if (r < 0) {
        cli_complain("doctor", "%s (brood doctor --help)", r == -EINVAL ? problem.text : strerror(-r));
        return CLI_FAILED;
    }
    if (options.help) {
        print_help(stdout);
        return cli_flush("doctor", 0);
    }
    return diagnose(&options);
}

const cli_command cli_doctor = {
    .name = "doctor",
    .summary = "tell what this host can promise, and why not",
    .main = doctor_main,
    .print_help = print_help,
};
