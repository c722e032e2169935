/*
 * `brood pool`: lines of JSON from standard input are tasks for a pool of workers, and each becomes a line of standard
 * output. Only so many lines are taken as the workers will soon want, and none while results wait to be read, so that a
 * file of any size passes through the same memory.
 *
 * What is hard is the end. A signal lets what runs finish, and has nothing else begun; a second one stops. What was not done
 * has no line in the output, so that whoever goes on later knows what is left.
 */
#include "pool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "explain.h"
#include "forward.h"

enum { MOST_OUTPUT = 1024 * 1024, MOST_OPEN_BYTES = 16 * 1024 * 1024 };
enum { SPARE_LINES = 64, ORDERED_LINES = 4096 }; /* taken ahead of what the workers have; to put in order */
enum { DRAIN_MS = 5000 };
enum { MOST_FAILURES = 5 }; /* somebody waits to hear of it */
enum { SOME_FAILED = 1 };

/* One task. */
typedef struct job {
    batch *batch;
    uint64_t line;
    size_t len;
} job;

static void print_help(FILE *file) {
    fputs("Usage: brood pool [OPTION]... [--] WORKER [ARGUMENT]...\n"
          "Have tasks done by a pool of workers: each line of standard input, a JSON\n"
          "object, is sent to one of them, with an id; each answer is a line of standard\n"
          "output, {\"id\":N,\"result\":...} or {\"id\":N,\"error\":...}, N the number of the line.\n",
          file);
    args_print_options(file, batch_option_table);
    fputs("\nExit status: 0 if all was done, 1 if not; 125 if brood failed, 126 or 127 if\n"
          "the worker cannot be run.\n"
          "\nExample: a worker in Node, w.js, is\n"
          "  process.on('message', ({id, n}) => process.send({id, result: n * n}))\n"
          "and  echo '{\"n\": 7}' | brood pool -- node w.js  prints {\"id\":1,\"result\":49}.\n"
          "\nManual: man brood-pool.\n",
          file);
}

/* --- what comes of a task --- */

static void print_result(batch *b, uint64_t line, brood_value result) {
    char head[48];
    b->scratch.len = 0;
    snprintf(head, sizeof head, "{\"id\":%" PRIu64 ",\"result\":", line);
    int r = out_text(&b->scratch, head) ? 0 : -ENOMEM;
    if (r == 0)
        r = brood_value_type(result) <= BROOD_UNDEFINED ? (out_text(&b->scratch, "null") ? 0 : -ENOMEM)
                                                        : out_json(&b->scratch, result);
    if (r == 0 && out_text(&b->scratch, "}\n")) {
        batch_settle(b, line, &b->scratch);
        return;
    }
    batch_complain(b, 0, "the result of line %" PRIu64 " cannot be printed as JSON: %s", line, out_json_error(r));
    batch_settle(b, line, NULL);
}

static void print_error(batch *b, uint64_t line, const char *error, const char *fate, unsigned attempts) {
    char text[96];
    out *o = &b->scratch;
    o->len = 0;
    snprintf(text, sizeof text, "{\"id\":%" PRIu64 ",\"error\":", line);
    bool all = out_text(o, text) && out_string(o, error);
    snprintf(text, sizeof text, ",\"fate\":\"%s\",\"attempts\":%u}\n", fate, attempts);
    if (all && out_text(o, text)) {
        batch_settle(b, line, o);
        return;
    }
    batch_complain(b, 0, "%s", strerror(ENOMEM));
    batch_settle(b, line, NULL);
}

/* It never will be: we are leaving. */
static bool is_undone(const batch *b, const brood_outcome *o) {
    return o->fate == BROOD_FATE_NO_WORKER || (o->fate == BROOD_FATE_ABORTED && b->draining);
}

static void task_done(const brood_outcome *o, void *the_job) {
    job *j = the_job;
    batch *b = j->batch;
    b->open_bytes -= j->len;
    if (is_undone(b, o)) {
        b->undone++;
        batch_settle(b, j->line, NULL);
    } else {
        b->fates[o->fate]++;
        if (o->fate == BROOD_FATE_DONE)
            print_result(b, j->line, o->result);
        else
            print_error(b, j->line, o->message, brood_fate_text(o->fate), o->attempts);
    }
    free(j);
}

/* --- from the lines to the pool --- */

static bool wants_lines(const batch *b) {
    return !b->draining && !b->input_end && b->taken - b->settled < b->window && b->out.len - b->out_at < MOST_OUTPUT &&
           b->open_bytes < MOST_OPEN_BYTES;
}

static void refuse_line(batch *b, uint64_t line, int error) {
    char text[120];
    size_t at = brood_pool_error_offset(b->pool);
    snprintf(text, sizeof text, "%s", cli_error_text(error));
    if (error == -EILSEQ)
        snprintf(text, sizeof text, "it is no JSON: column %zu", at + 1);
    else if (error == -EEXIST)
        snprintf(text, sizeof text, "it has an id of its own, or a name twice (--wrap sends it as it is)");
    else if (error == -EINVAL)
        snprintf(text, sizeof text, "it is no object (--wrap sends any value)");
    b->refused++;
    print_error(b, line, text, "refused", 0);
}

static void line_came(void *the_batch, char *line, size_t len) {
    batch *b = the_batch;
    uint64_t number = ++b->taken;
    if (lines_is_blank(line, len)) {
        batch_settle(b, number, NULL);
        return;
    }
    job *j = malloc(sizeof *j);
    int r = -ENOMEM;
    if (j) {
        *j = (job){.batch = b, .line = number, .len = len};
        brood_task task = {.body = {.json = line, .json_len = len}, .on_done = task_done, .data = j};
        r = brood_pool_run(b->pool, &task, NULL);
    }
    if (r == 0) {
        b->open_bytes += len;
    } else {
        free(j);
        if (r == -ENOTRECOVERABLE) {
            b->undone++; /* of which the pool tells more */
            batch_settle(b, number, NULL);
        } else {
            refuse_line(b, number, r);
        }
    }
    if (!wants_lines(b))
        lines_pause(&b->lines);
}

static void input_ended(void *the_batch, int error) {
    batch *b = the_batch;
    b->input_end = true;
    if (error == -EMSGSIZE)
        batch_complain(b, 0, "line %" PRIu64 " is too long", b->lines.number + 1);
    else if (error < 0)
        batch_complain(b, 0, "cannot read standard input: %s", strerror(-error));
}

/* --- the end --- */

static void pool_closed(void *the_batch) {
    batch *b = the_batch;
    b->pool = NULL;
}

static void close_pool(batch *b, uint64_t drain_ms) {
    if (b->pool)
        brood_pool_close(b->pool, drain_ms, pool_closed, b);
}

/* Nothing new; what runs is finished. */
static void drain(batch *b) {
    b->draining = true;
    lines_stop(&b->lines);
    if (b->pool)
        brood_pool_pause(b->pool);
}

void batch_stop(batch *b) {
    drain(b);
    close_pool(b, 0);
}

/* Once a turn: what came together leaves together, and what there is room for comes in. */
static void end_turn(uv_check_t *check) {
    batch *b = check->data;
    batch_flush(b);
    batch_hold_up(b);
    if (b->draining && b->at_work == 0)
        close_pool(b, 0);
    else if (b->input_end && b->settled == b->taken)
        close_pool(b, BROOD_FOREVER);
    if (!b->pool && batch_is_flushed(b))
        uv_stop(&b->loop); /* a read of a terminal may still be under way, and nothing ends that */
    else if (wants_lines(b))
        lines_resume(&b->lines);
}

static void gave_up(batch *b) {
    const brood_failure *why = brood_pool_failure(b->pool);
    char text[640];
    if (why->step == BROOD_STEP_EXEC && explain_is_script(why->subject))
        batch_complain(b, explain_status(why), "%s; to run it in Node: brood pool -- node %s", why->message,
                       why->subject);
    else if (why->step == BROOD_STEP_NONE) /* it ran, and was of no use */
        batch_complain(b, 0, batch_advice(b) ? "%s (%s)" : "%s", why->message, batch_advice(b));
    else
        batch_complain(b, explain_status(why), "%s", explain_failure(why, NULL, text, sizeof text));
    batch_stop(b);
}

static void event_came(brood_pool *pool, const brood_pool_event *e, void *the_batch) {
    batch *b = the_batch;
    (void)pool;
    b->workers += e->kind == BROOD_POOL_WORKER_STARTED;
    b->retries += e->kind == BROOD_POOL_TASK_REQUEUED;
    b->at_work += e->kind == BROOD_POOL_TASK_SENT;
    b->at_work -= e->kind == BROOD_POOL_TASK_REQUEUED || (e->kind == BROOD_POOL_TASK_DONE && e->worker > 0);
    batch_trace(b, e);
    batch_hint(b, e);
    if (e->kind == BROOD_POOL_GAVE_UP)
        gave_up(b);
}

/* --- signals --- */

static void lose_patience(uv_timer_t *timer) {
    batch *b = timer->data;
    b->abandoned = true;
    batch_stop(b);
}

/* A person may press Ctrl-C again; whoever else ends us waits. */
static bool has_patience(int signal) {
    return signal == SIGINT;
}

static void tell_signal(const batch *b, int signal) {
    const char *one = b->at_work == 1 ? "that runs" : "that run", *them = b->at_work == 1 ? "it" : "them";
    char limit[40] = "";
    if (!has_patience(signal))
        snprintf(limit, sizeof limit, ", %d s at most", DRAIN_MS / 1000);
    cli_remark("pool", "%s: waiting for the %u %s%s; once more stops %s", brood_signal_name(signal), b->at_work, one,
               limit, them);
}

static void signal_came(uv_signal_t *handle, int signal) {
    batch *b = handle->data;
    if (b->signal) {
        b->abandoned = true;
        batch_stop(b);
        return;
    }
    b->signal = signal;
    batch_clear_line(b);
    if (!b->options->quiet && b->at_work > 0)
        tell_signal(b, signal);
    drain(b);
    if (!has_patience(signal))
        uv_timer_start(&b->patience, lose_patience, DRAIN_MS, 0);
}

/* But for those that we were started to ignore: nohup, a shell's background. */
static void open_signals(batch *b) {
    static const int deadly[] = {SIGINT, SIGTERM, SIGHUP};
    forward_block_sigpipe();
    uv_timer_init(&b->loop, &b->patience);
    uv_unref((uv_handle_t *)&b->patience);
    b->patience.data = b;
    for (size_t i = 0; i < sizeof deadly / sizeof *deadly; i++) {
        struct sigaction now;
        if (sigaction(deadly[i], NULL, &now) == 0 && now.sa_handler == SIG_IGN)
            continue;
        uv_signal_t *handle = &b->signals[b->signal_count++];
        uv_signal_init(&b->loop, handle);
        handle->data = b;
        uv_signal_start(handle, signal_came, deadly[i]);
        uv_unref((uv_handle_t *)handle);
    }
}

/* --- the whole --- */

static int open_pool(batch *b, brood_failure *why) {
    const batch_options *o = b->options;
    brood_channel_options limits = {.max_message = LINES_LONGEST};
    brood_pool_options options = {
        .worker = {.args = (const char *const *)b->command,
                   .serialization = o->advanced ? BROOD_ADVANCED : BROOD_JSON,
                   .channel = &limits,
                   .keep_ignored = true,
                   .detached = true, /* Ctrl-C is ours to act upon */
                   .out = {.kind = BROOD_STDIO_SLOT, .slot = 2}},
        .min_workers = o->min_workers,
        .max_workers = o->max_workers,
        .prefetch = o->prefetch,
        .wrap = o->wrap,
        .recycle_after_tasks = o->recycle,
        .wait_ready = o->ready,
        .task_timeout_ms = o->task_timeout_ms,
        .max_attempts = o->attempts,
        .max_failures = MOST_FAILURES,
        .on_event = event_came,
        .data = b,
    };
    return brood_pool_open(&b->loop, &options, &b->pool, why);
}

static int make_window(batch *b) {
    unsigned workers = b->options->max_workers ? b->options->max_workers : uv_available_parallelism();
    unsigned prefetch = b->options->prefetch ? b->options->prefetch : 1;
    b->window = (uint64_t)workers * prefetch * 2 + SPARE_LINES;
    if (!b->options->order)
        return 0;
    b->window += ORDERED_LINES;
    b->slots = calloc(b->window, sizeof *b->slots);
    return b->slots ? 0 : -ENOMEM;
}

static int conclude(batch *b) {
    int r = batch_close_trace(b);
    if (r < 0)
        batch_complain(b, 0, "cannot write the trace: %s", strerror(-r));
    if (!b->options->quiet)
        batch_summarise(b);
    if (b->failed)
        return b->status ? b->status : CLI_FAILED;
    if (b->unread)
        return CLI_SIGNAL_BASE + SIGPIPE;
    if (b->signal)
        return CLI_SIGNAL_BASE + b->signal;
    return batch_failures(b) > 0 ? SOME_FAILED : 0;
}

static int work(batch *b) {
    brood_failure why;
    int r = make_window(b);
    if (r == 0)
        r = batch_open_output(b);
    if (r < 0) {
        batch_complain(b, 0, "%s", strerror(-r));
        return CLI_FAILED;
    }
    r = batch_open_trace(b);
    if (r < 0) {
        batch_complain(b, 0, "cannot write %s: %s", b->options->trace, strerror(-r));
        return CLI_FAILED;
    }
    if (open_pool(b, &why) < 0) {
        batch_complain(b, 0, "%s", why.message);
        return CLI_FAILED;
    }
    if (!b->options->quiet)
        batch_tell_source();
    lines_resume(&b->lines);
    uv_run(&b->loop, UV_RUN_DEFAULT);
    return conclude(b);
}

static int open_loop(batch *b) {
    int r = cli_look_for_descriptors();
    if (r == 0)
        r = uv_loop_init(&b->loop);
    if (r < 0)
        return r;
    open_signals(b); /* before there are threads */
    batch_open_report(b);
    uv_check_init(&b->loop, &b->turn);
    uv_check_start(&b->turn, end_turn);
    uv_unref((uv_handle_t *)&b->turn);
    b->turn.data = b;
    b->lines.on_line = line_came;
    b->lines.on_end = input_ended;
    b->lines.data = b;
    return 0;
}

static int do_batch(const batch_options *options, char *const *command) {
    static batch b; /* large, and a read into it may outlive everything else */
    b.options = options;
    b.command = command;
    b.epoll = -1;
    int r = open_loop(&b);
    if (r < 0) {
        cli_complain("pool", "the event loop: %s", cli_error_text(r));
        return CLI_FAILED;
    }
    r = lines_open(&b.lines, &b.loop);
    if (r < 0) {
        cli_complain("pool", "thread: %s", cli_error_text(r));
        return CLI_FAILED;
    }
    int status = work(&b);
    batch_close_report(&b);
    batch_close_output(&b);
    if (status > CLI_SIGNAL_BASE)
        forward_die(status - CLI_SIGNAL_BASE); /* as whoever waits for us expects: a shell gives up its loop */
    return status;
}

static int pool_main(const cli_host *host, char *const *args) {
    static batch_options options; /* as what refers to it */
    args_problem problem;
    char *const *command;
    (void)host;
    int r = args_read(batch_option_table, args, &options, &command, &problem);
    if (r < 0) {
        cli_complain("pool", "%s (brood pool --help)", r == -EINVAL ? problem.text : strerror(-r));
        return CLI_FAILED;
    }
    if (options.help) {
        print_help(stdout);
        return cli_flush("pool", 0);
    }
    if (!*command) {
        cli_complain("pool", "no worker to give tasks to (brood pool --help)");
        return CLI_FAILED;
    }
    return do_batch(&options, command);
}

const cli_command cli_pool = {
    .name = "pool",
    .summary = "have tasks, a line of JSON each, done by a pool of workers",
    .main = pool_main,
    .print_help = print_help,
};
