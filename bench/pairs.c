/**
 * Compares two or more commands on a machine that is fast now and slow a minute later: it runs them in turn, A B B A,
 * and looks only at the ratio within one round. No brood in here.
 *
 * A command prints one line of JSON for a round. It is started once, with BENCH_SERVE set, and asked for each round by
 * a line on its standard input; one that ends after its first round is started again. The figure (`rate`, say) is taken
 * from that line, CPU time as (cpu_self_us + cpu_children_us) / n. The first round of each is thrown away.
 *
 *     bench-pairs [OPTION...] NAME COMMAND NAME[>=BAR|<=BAR] COMMAND...
 *
 *     --figure KEY      what to compare, first : other (rate)
 *     --rounds N        at least so many rounds (30)
 *     --max-rounds N    go on until the interval is narrow, but not longer (4 times --rounds)
 *     --title TEXT      printed above
 *     --json FILE       append one object for each comparison
 *     --markdown FILE   append a table
 *
 * The ratio is the median over the rounds, with its 95 % bootstrap interval. It is resolved if the interval is at most
 * 0.1 wide, for ratios over 1 a tenth of the ratio. A bar holds if the interval reaches it, or, however wide, lies
 * beyond it; without a bar nobody waits for more rounds.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_COMMANDS = 16, MAX_ROUNDS = 1000, LINE_SIZE = 4096, PATIENCE_MS = 600000, RESAMPLES = 4000 };

/** What is read out of a line, and compared or shown. */
enum { FIGURE, CPU, MEDIAN, P99, VALUES };

typedef struct command {
    char name[64];
    char bar_is; /* '>' or '<', 0: no bar */
    double bar;
    const char *line;
    pid_t pid; /* 0: does not run */
    int to, from;
    char unread[LINE_SIZE];
    size_t unread_len;
    bool done; /* the comparison with the first is settled */
    double values[VALUES][MAX_ROUNDS];
    int rounds;
} command;

/** A ratio and the interval that it lies in. */
typedef struct estimate {
    double middle, low, high;
} estimate;

static command commands[MAX_COMMANDS];
static int command_count;
static const char *figure = "rate", *title = "", *json_path, *markdown_path;
static int min_rounds = 30, max_rounds;

_Noreturn static void fail(const char *what, const char *why) {
    fprintf(stderr, "pairs: %s: %s\n", what, why);
    exit(1);
}

/* --- the commands --- */

static void start(command *c) {
    int to[2], from[2];
    if (pipe(to) < 0 || pipe(from) < 0)
        fail("pipe", strerror(errno));
    c->pid = fork();
    if (c->pid < 0)
        fail("fork", strerror(errno));
    if (c->pid == 0) {
        dup2(to[0], STDIN_FILENO);
        dup2(from[1], STDOUT_FILENO);
        closefrom(3); /* the others' pipes: they must see their end */
        signal(SIGPIPE, SIG_DFL);
        setenv("BENCH_SERVE", "1", 1);
        execl("/bin/sh", "sh", "-c", c->line, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    c->to = to[1];
    c->from = from[0];
    c->unread_len = 0;
}

static void stop(command *c) {
    if (c->pid == 0)
        return;
    close(c->to);
    close(c->from);
    waitpid(c->pid, NULL, 0);
    c->pid = 0;
}

/** The next line into `ret_line`; false if the command has ended. */
static bool read_line(command *c, char *ret_line) {
    for (;;) {
        char *end = memchr(c->unread, '\n', c->unread_len);
        if (end) {
            size_t len = (size_t)(end - c->unread);
            memcpy(ret_line, c->unread, len);
            ret_line[len] = '\0';
            c->unread_len -= len + 1;
            memmove(c->unread, end + 1, c->unread_len);
            return true;
        }
        if (c->unread_len == sizeof c->unread)
            fail(c->name, "a line is too long");
        struct pollfd ready = {.fd = c->from, .events = POLLIN};
        if (poll(&ready, 1, PATIENCE_MS) != 1)
            fail(c->name, "does not answer");
        ssize_t n = read(c->from, c->unread + c->unread_len, sizeof c->unread - c->unread_len);
        if (n <= 0)
            return false;
        c->unread_len += (size_t)n;
    }
}

/** The number after "key": in a flat object; NAN if there is none. */
static double number_of(const char *json, const char *key) {
    char quoted[80];
    snprintf(quoted, sizeof quoted, "\"%s\":", key);
    const char *at = strstr(json, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : NAN;
}

static void ask(command *c, char *ret_line) {
    for (int tries = 0; tries < 2; tries++) {
        if (c->pid == 0)
            start(c);
        if (write(c->to, "\n", 1) == 1)
            while (read_line(c, ret_line))
                if (ret_line[0] == '{')
                    return;
        stop(c);
    }
    fail(c->name, "ended without a line of JSON");
}

static void measure(command *c, double *ret_values) {
    char line[LINE_SIZE];
    ask(c, line);
    double n = number_of(line, "n");
    ret_values[FIGURE] = number_of(line, figure);
    ret_values[CPU] = (number_of(line, "cpu_self_us") + number_of(line, "cpu_children_us")) / (isnan(n) ? 1 : n);
    ret_values[MEDIAN] = number_of(line, "median_us");
    ret_values[P99] = number_of(line, "p99_us");
    if (isnan(ret_values[FIGURE]))
        fail(c->name, "its line has no such figure");
}

/** There and back again, so that what drifts evenly falls out. */
static void run_round(void) {
    double sums[MAX_COMMANDS][VALUES] = {0};
    for (int step = 0; step < 2 * command_count; step++) {
        int i = step < command_count ? step : 2 * command_count - 1 - step;
        double values[VALUES];
        if (commands[i].done)
            continue;
        measure(&commands[i], values);
        for (int v = 0; v < VALUES; v++)
            sums[i][v] += values[v];
    }
    for (int i = 0; i < command_count; i++) {
        if (commands[i].done)
            continue;
        for (int v = 0; v < VALUES; v++)
            commands[i].values[v][commands[i].rounds] = sums[i][v] / 2;
        commands[i].rounds++;
    }
}

/* --- what it says --- */

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int count) {
    double sorted[MAX_ROUNDS];
    if (count == 0)
        return NAN;
    memcpy(sorted, values, (size_t)count * sizeof *values);
    qsort(sorted, (size_t)count, sizeof *sorted, compare_doubles);
    return count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2;
}

/**
 * The median, and where 95 % of the medians lie when the rounds are drawn again, with replacement. The same rounds give
 * the same answer.
 */
static estimate estimate_of(const double *values, int count) {
    static double medians[RESAMPLES];
    double drawn[MAX_ROUNDS];
    uint64_t random = 1;
    for (int k = 0; k < RESAMPLES; k++) {
        for (int i = 0; i < count; i++) {
            random = random * 6364136223846793005 + 1442695040888963407;
            drawn[i] = values[(random >> 33) % (uint64_t)count];
        }
        medians[k] = median(drawn, count);
    }
    qsort(medians, RESAMPLES, sizeof *medians, compare_doubles);
    return (estimate){median(values, count), medians[RESAMPLES / 40], medians[RESAMPLES - 1 - RESAMPLES / 40]};
}

/** first : other, over the rounds that both have run. */
static estimate ratio_to(const command *other, int value) {
    double ratios[MAX_ROUNDS];
    for (int i = 0; i < other->rounds; i++)
        ratios[i] = commands[0].values[value][i] / other->values[value][i];
    return estimate_of(ratios, other->rounds);
}

static bool resolved(estimate e) {
    return e.high - e.low <= 0.1 * (e.middle > 1 ? e.middle : 1);
}

/** Or it is wide, and all of it on the bar's better side. */
static bool decided(const command *c, estimate e) {
    return resolved(e) || (c->bar_is == '>' && e.low >= c->bar) || (c->bar_is == '<' && e.high <= c->bar);
}

static const char *verdict(const command *c, estimate e) {
    if (!decided(c, e))
        return "not resolved";
    if (!c->bar_is)
        return "";
    return (c->bar_is == '>' ? e.high >= c->bar : e.low <= c->bar) ? "holds" : "MISSED";
}

static void put_text(FILE *out, const char *key, const char *text) {
    fprintf(out, "\"%s\":\"", key);
    for (; *text; text++)
        fprintf(out, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    fprintf(out, "\",");
}

static void put_number(FILE *out, const char *key, double value) {
    if (!isnan(value))
        fprintf(out, "\"%s\":%.6g,", key, value);
}

static void put_json(FILE *out, const command *c, estimate e, estimate cpu) {
    const char *commit = getenv("BROOD_COMMIT");
    fprintf(out, "{");
    put_text(out, "title", title);
    put_text(out, "a", commands[0].name);
    put_text(out, "b", c->name);
    put_text(out, "figure", figure);
    put_text(out, "commit", commit ? commit : "");
    put_text(out, "verdict", verdict(c, e));
    put_number(out, "ratio", e.middle);
    put_number(out, "low", e.low);
    put_number(out, "high", e.high);
    put_number(out, "cpu_ratio", cpu.middle);
    put_number(out, "cpu_low", cpu.low);
    put_number(out, "cpu_high", cpu.high);
    put_number(out, "a_figure", median(commands[0].values[FIGURE], commands[0].rounds));
    put_number(out, "b_figure", median(c->values[FIGURE], c->rounds));
    put_number(out, "a_p99_us", median(commands[0].values[P99], commands[0].rounds));
    put_number(out, "b_p99_us", median(c->values[P99], c->rounds));
    if (c->bar_is)
        put_number(out, "bar", c->bar);
    fprintf(out, "\"resolved\":%s,\"rounds\":%d}\n", resolved(e) ? "true" : "false", c->rounds);
}

static void put_cell(FILE *out, double value) {
    if (isnan(value))
        fprintf(out, " |");
    else
        fprintf(out, " %.*f |", value < 10 ? 2 : value < 100 ? 1 : 0, value);
}

static void put_row(FILE *out, const command *c) {
    fprintf(out, "| %s |", c->name);
    for (int v = 0; v < VALUES; v++)
        put_cell(out, median(c->values[v], c->rounds));
    if (c == commands) {
        fprintf(out, " | | | |\n");
        return;
    }
    estimate e = ratio_to(c, FIGURE), cpu = ratio_to(c, CPU);
    fprintf(out, " **%.2f** [%.2f %.2f] |", e.middle, e.low, e.high);
    if (isnan(cpu.middle))
        fprintf(out, " |");
    else
        fprintf(out, " %.2f [%.2f %.2f] |", cpu.middle, cpu.low, cpu.high);
    fprintf(out, " %d |", c->rounds);
    if (c->bar_is)
        fprintf(out, " %c= %g", c->bar_is, c->bar);
    fprintf(out, " %s |\n", verdict(c, e));
}

static void put_markdown(FILE *out) {
    const char *a = commands[0].name;
    fprintf(out, "### %s\n\n| | %s | CPU µs each | median µs | p99 µs | %s : it, %s | the same, CPU | rounds | |\n",
            title, figure, a, figure);
    fprintf(out, "|---|---:|---:|---:|---:|---|---|---:|---|\n");
    for (int i = 0; i < command_count; i++)
        put_row(out, &commands[i]);
    fprintf(out, "\n");
}

static FILE *append_to(const char *path) {
    FILE *file = fopen(path, "ae");
    if (!file)
        fail(path, strerror(errno));
    return file;
}

static void report(void) {
    FILE *json = json_path ? append_to(json_path) : NULL;
    if (command_count == 1)
        printf("%s %s %.6g rounds %d\n", commands[0].name, figure,
               median(commands[0].values[FIGURE], commands[0].rounds), commands[0].rounds);
    for (int i = 1; i < command_count; i++) {
        const command *c = &commands[i];
        estimate e = ratio_to(c, FIGURE), cpu = ratio_to(c, CPU);
        printf("%s/%s %s %.3f [%.3f %.3f] cpu %.2f [%.2f %.2f] rounds %d", commands[0].name, c->name, figure, e.middle,
               e.low, e.high, cpu.middle, cpu.low, cpu.high, c->rounds);
        if (c->bar_is)
            printf(" %c= %g", c->bar_is, c->bar);
        printf(" %s\n", verdict(c, e));
        if (json)
            put_json(json, c, e, cpu);
    }
    if (json)
        fclose(json);
    if (markdown_path) {
        FILE *markdown = append_to(markdown_path);
        put_markdown(markdown);
        fclose(markdown);
    }
}

/* --- the whole --- */

/** Who is narrow enough need not run any more; the first goes on as long as one other does. */
static bool settle(void) {
    bool all = true;
    for (int i = 1; i < command_count; i++) {
        command *c = &commands[i];
        if (!c->done && (!c->bar_is || decided(c, ratio_to(c, FIGURE)))) {
            c->done = true;
            stop(c);
        }
        all = all && c->done;
    }
    return all;
}

static int count_of(const char *text) {
    int value = atoi(text);
    if (value < 1 || value > MAX_ROUNDS)
        fail(text, "not a number of rounds");
    return value;
}

static void add_command(const char *name, const char *line) {
    command *c = &commands[command_count++];
    size_t len = strcspn(name, "<>");
    snprintf(c->name, sizeof c->name, "%.*s", (int)len, name);
    if (name[len] && name[len + 1] == '=') {
        c->bar_is = name[len];
        c->bar = strtod(name + len + 2, NULL);
    }
    c->line = line;
}

static void parse(int argc, char **argv) {
    int i = 1;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2) {
        const char *value = argv[i + 1];
        if (strcmp(argv[i], "--figure") == 0)
            figure = value;
        else if (strcmp(argv[i], "--rounds") == 0)
            min_rounds = count_of(value);
        else if (strcmp(argv[i], "--max-rounds") == 0)
            max_rounds = count_of(value);
        else if (strcmp(argv[i], "--title") == 0)
            title = value;
        else if (strcmp(argv[i], "--json") == 0)
            json_path = value;
        else if (strcmp(argv[i], "--markdown") == 0)
            markdown_path = value;
        else
            fail(argv[i], "no such option");
    }
    if (argc - i < 2 || (argc - i) % 2 || (argc - i) / 2 > MAX_COMMANDS)
        fail("usage", "bench-pairs [OPTION...] NAME COMMAND NAME[>=BAR|<=BAR] COMMAND...");
    for (; i < argc; i += 2)
        add_command(argv[i], argv[i + 1]);
    if (max_rounds == 0)
        max_rounds = min_rounds * 4 < MAX_ROUNDS ? min_rounds * 4 : MAX_ROUNDS;
}

int main(int argc, char **argv) {
    parse(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    if (*title)
        printf("%s\n", title);
    for (int i = 0; i < command_count; i++) {
        double warm_up[VALUES];
        measure(&commands[i], warm_up);
    }
    for (int round = 1; round <= max_rounds; round++) {
        run_round();
        if (round >= min_rounds && settle())
            break;
    }
    for (int i = 0; i < command_count; i++)
        stop(&commands[i]);
    report();
    return 0;
}
