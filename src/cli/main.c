/*
 * The command `brood`: a table of subcommands, each in a file of its own, and what can be said without any of them:
 * help, version, which subcommand was probably meant. It also makes sure that the standard descriptors are taken, so
 * that nothing opened later lands on 0, 1 or 2 and gets somebody's output.
 */
#include "cli.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>

#include "args.h"
#include "text.h"

static const cli_command *const commands[] = {&cli_run, &cli_talk, &cli_pool, &cli_doctor, NULL};

/*
 * Takes the descriptors 0, 1 and 2 that are closed. Opened the wrong way round, for writing where one reads, they fail
 * just as closed ones do: `brood --help >&-` is still told that its output went nowhere.
 */
static void reserve_standard_descriptors(cli_host *host) {
    for (int fd = 0; fd < 3; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        host->closed[fd] = true;
        if (open("/dev/null", (fd == 0 ? O_WRONLY : O_RDONLY) | O_CLOEXEC) < 0)
            return; /* no /dev/null: as well as one can */
    }
}

static const cli_command *find_command(const char *name) {
    for (const cli_command *const *c = commands; *c; c++)
        if (strcmp((*c)->name, name) == 0)
            return *c;
    return NULL;
}

static void print_usage(FILE *file) {
    fputs("Usage: brood COMMAND [OPTION]... [ARGUMENT]...\n"
          "Start, own and end child processes.\n"
          "\nCommands:\n",
          file);
    for (const cli_command *const *c = commands; *c; c++)
        fprintf(file, "  %-10s%s\n", (*c)->name, (*c)->summary);
    fputs("  help      tell what a command takes: brood help run\n", file);
}

typedef struct main_options {
    bool help, version;
} main_options;

static const args_option main_table[] = {
    {.name = "help", .letter = 'h', .field = offsetof(main_options, help), .last = true, .help = "print this"},
    {.name = "version",
     .letter = 'V',
     .field = offsetof(main_options, version),
     .last = true,
     .help = "print the version"},
    {0},
};

static int print_help(void) {
    print_usage(stdout);
    fputs("\nOptions:\n", stdout);
    args_print_options(stdout, main_table);
    fputs("\nManual: man brood; of a command, man brood-COMMAND.\n", stdout);
    return cli_flush(NULL, 0);
}

static int refuse_command(const char *name) {
    char shown[80];
    text_guess guess = {.word = name};
    for (const cli_command *const *c = commands; *c; c++)
        text_guess_try(&guess, (*c)->name);
    text_guess_try(&guess, "help");
    text_guess_try(&guess, "version");
    text_quote_word(name, shown, sizeof shown);
    if (guess.best)
        cli_complain(NULL, "no command %s; did you mean brood %s? (brood --help)", shown, guess.best);
    else
        cli_complain(NULL, "no command %s; to start a program: brood run %s (brood --help)", shown,
                     strpbrk(name, " \t") ? "-- PROGRAM" : shown);
    return CLI_FAILED;
}

static int print_command_help(const char *name) {
    if (!name)
        return print_help();
    const cli_command *command = find_command(name);
    if (strcmp(name, "help") == 0)
        return print_help();
    if (!command)
        return refuse_command(name);
    command->print_help(stdout);
    return cli_flush(NULL, 0);
}

int main(int argc, char **argv) {
    (void)argc;
    cli_host host = {{false}};
    reserve_standard_descriptors(&host);

    main_options options = {0};
    args_problem problem;
    char *const *rest = argv;
    if (argv[0] && args_read(main_table, argv + 1, &options, &rest, &problem) < 0) {
        cli_complain(NULL, "%s (brood --help)", problem.text);
        return CLI_FAILED;
    }
    if (options.help)
        return print_help();
    if (options.version || (*rest && strcmp(*rest, "version") == 0)) {
        printf("brood %s\n", brood_version());
        return cli_flush(NULL, 0);
    }
    if (!*rest) {
        print_usage(stderr);
        return CLI_FAILED;
    }
    if (strcmp(*rest, "help") == 0)
        return print_command_help(rest[1]);
    const cli_command *command = find_command(*rest);
    return command ? command->main(&host, rest + 1) : refuse_command(*rest);
}
