/*
 * `brood talk`: lines of JSON from standard input become messages to a forked program, its messages become lines. What
 * the program writes by itself goes to standard error, so that standard output holds messages and nothing else. Reading
 * stops while the program does not keep up, and it is held up while nobody reads ours.
 *
 * What is hard is the end. A Node program drops what it has queued as soon as its channel is closed, so the channel stays
 * open until as many messages have come as were sent, or none has come for a while. Signals are the program's, as those
 * of `brood run` are: brood ends as it does.
 */
#include "cli.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <brood.h>
#include <uv.h>

#include "args.h"
#include "errand.h"
#include "explain.h"
#include "forward.h"
#include "lines.h"
#include "out.h"

enum { QUIET_MS = 1000 }; /* after the last line, so long without a message means that none is to come */
enum { MOST_UNWRITTEN = 1024 * 1024, DRAIN_MS = 1000 };

typedef struct talk_options {
    bool advanced, raw, replies, help;
} talk_options;

static const args_option table[] = {
    {.section = "Messages",
     .name = "advanced",
     .letter = 'a',
     .field = offsetof(talk_options, advanced),
     .help = "send structured clone (Node's serialization: 'advanced') instead of JSON; lines stay JSON"},
    {.name = "raw",
     .letter = 'r',
     .field = offsetof(talk_options, raw),
     .help = "each line is a string as it is, and strings are printed without quotes",
     .also = "raw-input raw-output"},
    {.name = "replies",
     .letter = 'n',
     .field = offsetof(talk_options, replies),
     .help =
         "at the end of the input, wait for as many messages as were sent, however long that takes; fail if they do "
         "not come"},
    {.section = "Other",
     .name = "help",
     .letter = 'h',
     .field = offsetof(talk_options, help),
     .last = true,
     .help = "print this"},
    {0},
};

typedef struct talk {
    const talk_options *options;
    uv_loop_t loop;
    brood_child *child;     /* NULL once it is closed */
    brood_channel *channel; /* likewise */
    brood_exit ended;
    forward forward;
    terminal terminal;
    lines lines;
    out out;
    const char *line; /* the one that is being sent */
    size_t len;
    uint64_t sent, received;
    bool input_end; /* no more lines */
    bool gave_up;   /* nothing came from it for so long after them */
    bool failed;    /* something was complained about */
    bool stopped;   /* by us, since nobody reads what it says */
    bool unread;    /* nobody ever will: as if we had died of SIGPIPE */
    int left_by;    /* a signal that came when it had ended */
    uv_check_t flush;
    uv_timer_t quiet;
    uv_timer_t drain; /* once it has ended: for what is not written yet */
    out leaving;      /* what a thread is printing; then its buffer is the next one */
    int write_result;
    errand write;
} talk;

static void print_help(FILE *file) {
    fputs("Usage: brood talk [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
          "Fork a program with a message channel, as Node's fork() does: each line of\n"
          "standard input, JSON, becomes a message to it, each of its messages a line of\n"
          "standard output.\n",
          file);
    args_print_options(file, table);
    fputs("\nExit status: the program's; 125 if brood failed or a line was no JSON.\n"
          "Manual: man brood-talk.\n",
          file);
}

static void complain(talk *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(talk *k, const char *format, ...) {
    char text[512];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    cli_complain("talk", "%s", text);
    k->failed = true;
}

/* --- from standard input to the program --- */

static void disconnect(talk *k) {
    uv_timer_stop(&k->quiet);
    if (k->channel)
        brood_channel_disconnect(k->channel);
}

/* If it is not ourselves who hold it up, since our reader does not read. */
static void has_been_quiet(uv_timer_t *timer) {
    talk *k = timer->data;
    k->gave_up = !k->write.under_way;
    if (k->gave_up)
        disconnect(k);
    else
        uv_timer_start(timer, has_been_quiet, QUIET_MS, 0);
}

/* Lines have ended: whether the program has, too, with what it has to say to them. */
static void wait_for_answers(talk *k) {
    if (k->received >= k->sent || !k->channel)
        disconnect(k);
    else if (!k->options->replies)
        uv_timer_start(&k->quiet, has_been_quiet, QUIET_MS, 0);
}

/* No more lines, or none that could be sent. */
static void end_input(talk *k) {
    lines_stop(&k->lines);
    k->input_end = true;
    wait_for_answers(k);
}

static void write_raw(brood_writer *writer, void *the_talk) {
    talk *k = the_talk;
    brood_writer_string(writer, k->line, k->len);
}

static void cannot_send(talk *k, int error) {
    unsigned long long number = k->lines.number;
    size_t column = brood_channel_error_offset(k->channel) + 1;
    if (error != -EILSEQ)
        complain(k, "line %llu cannot be sent: %s", number, cli_error_text(error));
    else if (k->options->raw)
        complain(k, "line %llu is not UTF-8: column %zu", number, column);
    else
        complain(k, "line %llu is no JSON: column %zu (--raw sends each line as a string)", number, column);
}

static void send_line(void *the_talk, char *line, size_t len) {
    talk *k = the_talk;
    brood_body body = {.write = write_raw, .data = k};
    if (!k->options->raw) {
        if (lines_is_blank(line, len))
            return;
        body = (brood_body){.json = line, .json_len = len};
    }
    k->line = line;
    k->len = len;
    int r = brood_channel_send(k->channel, &body, NULL, NULL);
    if (r > 0)
        lines_pause(&k->lines); /* for the program to keep up */
    if (r >= 0)
        k->sent++;
    else if (r != -EPIPE) /* of which the program's end tells more */
        cannot_send(k, r);
    if (r < 0)
        end_input(k);
}

static void input_ended(void *the_talk, int error) {
    talk *k = the_talk;
    if (error == -EMSGSIZE)
        complain(k, "line %llu is too long", (unsigned long long)k->lines.number + 1);
    else if (error < 0)
        complain(k, "cannot read standard input: %s", strerror(-error));
    end_input(k);
}

static void keeps_up(brood_channel *channel, void *the_talk) {
    (void)channel;
    lines_resume(&((talk *)the_talk)->lines);
}

/* --- from the program to standard output --- */

static void print(talk *k, const char *bytes, size_t len) {
    if (!out_add(&k->out, bytes, len))
        complain(k, "%s", strerror(ENOMEM));
}

static bool print_raw(talk *k, brood_value value) {
    const char *text;
    size_t len;
    if (brood_value_string(value, &text, &len) < 0)
        return false;
    print(k, text, len);
    return true;
}

static void print_json(talk *k, brood_value value) {
    int r = out_json(&k->out, value);
    if (r < 0)
        complain(k, "message %llu (%s) cannot be printed as JSON: %s", (unsigned long long)k->received,
                 brood_type_text(brood_value_type(value)), out_json_error(r));
}

static void message_came(brood_channel *channel, const brood_message *message, void *the_talk) {
    talk *k = the_talk;
    (void)channel;
    size_t before = k->out.len;
    k->received++;
    if (!k->options->raw || !print_raw(k, message->value))
        print_json(k, message->value);
    if (k->out.len > before || k->options->raw)
        print(k, "\n", 1);
    if (k->input_end)
        wait_for_answers(k);
}

/* Nobody reads us any more: what the program still says is for nobody, so it is stopped, and that is waited for. */
static void give_up_output(talk *k, int error) {
    k->unread = error == -EPIPE;
    if (!k->unread)
        complain(k, "cannot write to standard output: %s", strerror(-error));
    k->stopped = true;
    if (k->child)
        brood_child_stop(k->child);
}

static void write_leaving(void *the_talk) {
    talk *k = the_talk;
    k->write_result = cli_write_all(STDOUT_FILENO, k->leaving.bytes, k->leaving.len);
}

static void flush_output(talk *k);

static void written(void *the_talk) {
    talk *k = the_talk;
    if (k->write_result < 0)
        give_up_output(k, k->write_result);
    flush_output(k);
    if (k->channel && k->out.len <= MOST_UNWRITTEN)
        brood_channel_resume(k->channel);
    if (!k->child && !k->write.under_way)
        uv_stop(&k->loop);
}

/* Standard output is others' too, and must stay blocking: a thread waits for its reader, and the loop for signals. */
static void flush_output(talk *k) {
    if (k->stopped)
        k->out.len = 0;
    if (k->channel && k->out.len > MOST_UNWRITTEN)
        brood_channel_pause(k->channel);
    if (k->write.under_way || k->out.len == 0)
        return;
    out empty = k->leaving;
    k->leaving = k->out;
    k->out = empty;
    k->out.len = 0;
    errand_run(&k->write);
}

/* Once a turn: what came together leaves together. */
static void flush_turn(uv_check_t *check) {
    flush_output(check->data);
}

static void disconnected(brood_channel *channel, int error, void *the_talk) {
    talk *k = the_talk;
    (void)channel;
    k->channel = NULL;
    uv_timer_stop(&k->quiet);
    lines_stop(&k->lines);
    if (error == -EBADMSG)
        complain(
            k,
            "the program broke the format of the channel; it must send as brood_channel(3) says, or by process.send");
    else if (error == -EMSGSIZE)
        complain(k, "the program sent a message that is too large");
    else if (error < 0)
        complain(k, "the channel broke: %s", cli_error_text(error));
}

/* It was ended by who wants an end; a reader that does not read is not waited for. */
static void leave_unwritten(uv_timer_t *timer) {
    uv_stop(timer->loop);
}

static void exited(brood_child *child, const brood_exit *how, void *the_talk) {
    talk *k = the_talk;
    (void)child;
    k->ended = *how;
    if (k->write.under_way && how->signal && forward_passed_on(&k->forward, how->signal))
        uv_timer_start(&k->drain, leave_unwritten, DRAIN_MS, 0);
}

static void ended(brood_child *child, const brood_exit *how, void *the_talk) {
    talk *k = the_talk;
    k->ended = *how;
    flush_output(k);
    forward_child_ended(&k->forward);
    k->channel = NULL;
    lines_stop(&k->lines);
    k->child = NULL;
    brood_child_close(child);
    if (!k->write.under_way)
        uv_stop(&k->loop); /* a read of a terminal may still be under way, and nothing ends that */
}

/* --- signals --- */

static void tell_signal(void *the_talk, int signal, int result) {
    (void)the_talk;
    if (result < 0 && result != -ESRCH)
        cli_remark("talk", "could not pass %s on: %s", brood_signal_name(signal), strerror(-result));
}

static void leave_by_signal(void *the_talk, int signal) {
    talk *k = the_talk;
    k->left_by = signal;
    uv_stop(&k->loop);
}

static void tell_held(void *the_talk, int signal) {
    (void)the_talk, (void)signal; /* it reads no terminal: its input is nothing */
}

/* --- the whole --- */

/* A program that knows of no channel prints what is taken for an answer, and exits with 0. A failure speaks for itself. */
static void hint_at_silence(const talk *k) {
    bool had_nothing = k->input_end && k->lines.number == 0; /* it may also have ended before the first line came */
    bool known = k->failed || k->stopped || k->left_by, well = k->ended.code == 0 && !k->ended.signal && !known;
    if (well && k->received == 0 && !had_nothing)
        cli_remark("talk", "the program has sent no message: what it prints is none, it sends by process.send, or as "
                           "brood_channel(3) says");
    if (k->gave_up && k->ended.code > 0 && !known)
        cli_remark("talk", "it had not answered for a second when it was disconnected: --replies waits for an answer "
                           "to each line");
}

static int conclude(talk *k) {
    const brood_exit *how = &k->ended;
    if (how->signal && how->signal != SIGINT && how->signal != SIGPIPE && !k->stopped &&
        !forward_passed_on(&k->forward, how->signal))
        cli_complain("talk", "the program was ended by %s", brood_signal_name(how->signal));
    if (k->options->replies && k->received < k->sent && !k->stopped && !k->left_by && !how->signal)
        complain(k, "the program has ended with %llu of %llu messages unanswered",
                 (unsigned long long)(k->sent - k->received), (unsigned long long)k->sent);
    hint_at_silence(k);
    if (k->failed)
        return CLI_FAILED;
    if (k->unread)
        return CLI_SIGNAL_BASE + SIGPIPE;
    if (k->left_by)
        return CLI_SIGNAL_BASE + k->left_by;
    return how->signal ? CLI_SIGNAL_BASE + how->signal : how->code >= 0 ? how->code : CLI_FAILED;
}

static int open_loop(talk *k) {
    int r = cli_look_for_descriptors();
    if (r == 0)
        r = uv_loop_init(&k->loop);
    if (r < 0)
        return r;
    uv_check_init(&k->loop, &k->flush);
    uv_check_start(&k->flush, flush_turn);
    uv_unref((uv_handle_t *)&k->flush);
    uv_timer_init(&k->loop, &k->quiet);
    uv_timer_init(&k->loop, &k->drain);
    k->flush.data = k->quiet.data = k;
    k->lines.on_line = send_line;
    k->lines.on_end = input_ended;
    k->lines.data = k;
    k->terminal.fd = -1;
    k->forward = (forward){
        .terminal = &k->terminal,
        .own = BROOD_OWN_CHILD,
        .on_signal = tell_signal,
        .on_leave = leave_by_signal,
        .on_held = tell_held,
        .data = k,
        .fd = -1,
    };
    return forward_open(&k->forward, &k->loop); /* before there are threads, so that none is given a signal */
}

/* After forward_open, so that none is given a signal. */
static int open_threads(talk *k) {
    int r = lines_open(&k->lines, &k->loop);
    k->write = (errand){.work = write_leaving, .done = written, .data = k};
    return r < 0 ? r : errand_open(&k->write, &k->loop);
}

static int start_failed(const brood_failure *why) {
    char text[640];
    explain_failure(why, NULL, text, sizeof text);
    if (why->step == BROOD_STEP_EXEC && explain_is_script(why->subject))
        cli_complain("talk", "%s; to run it in Node: brood talk -- node %s", why->message, why->subject);
    else
        cli_complain("talk", "%s", text);
    return explain_status(why);
}

static int converse(talk *k, char *const *command) {
    brood_failure why;
    brood_channel_options limits = {.max_message = LINES_LONGEST};
    brood_options options = {
        .args = (const char *const *)command,
        .serialization = k->options->advanced ? BROOD_ADVANCED : BROOD_JSON,
        .keep_ignored = true,
        .in = {.kind = BROOD_STDIO_IGNORE},
        .out = {.kind = BROOD_STDIO_SLOT, .slot = 2},
        .on_message = message_came,
        .on_disconnect = disconnected,
        .on_channel_drain = keeps_up,
        .channel = &limits,
        .on_exit = exited,
        .on_close = ended,
        .data = k,
    };
    if (brood_fork(&k->loop, &options, &k->child, &why) < 0)
        return start_failed(&why);
    k->channel = brood_child_channel(k->child);
    k->forward.child = k->child;
    forward_child_started(&k->forward);
    lines_resume(&k->lines);
    uv_run(&k->loop, UV_RUN_DEFAULT);
    return conclude(k);
}

static int talk_with(const talk_options *options, char *const *command) {
    static talk k; /* large, and a read into it may outlive everything else */
    k.options = options;
    int r = open_loop(&k);
    if (r < 0) {
        cli_complain("talk", "the event loop: %s", cli_error_text(r));
        return CLI_FAILED;
    }
    r = open_threads(&k);
    if (r < 0) {
        cli_complain("talk", "thread: %s", cli_error_text(r));
        return CLI_FAILED;
    }
    int status = converse(&k, command);
    forward_close(&k.forward);
    if (k.forward.interrupted && k.ended.signal == SIGINT)
        forward_die(SIGINT); /* a shell gives up its loop only if what it waited for died of Ctrl-C too */
    if (status == CLI_SIGNAL_BASE + SIGPIPE)
        forward_die(SIGPIPE);
    return status;
}

static int talk_main(const cli_host *host, char *const *args) {
    static talk_options options; /* as what refers to it */
    args_problem problem;
    char *const *command;
    (void)host;
    int r = args_read(table, args, &options, &command, &problem);
    if (r < 0) {
        cli_complain("talk", "%s (brood talk --help)", r == -EINVAL ? problem.text : strerror(-r));
        return CLI_FAILED;
    }
    if (options.help) {
        print_help(stdout);
        return cli_flush("talk", 0);
    }
    if (!*command) {
        cli_complain("talk", "no program to talk to (brood talk --help)");
        return CLI_FAILED;
    }
    return talk_with(&options, command);
}

const cli_command cli_talk = {
    .name = "talk",
    .summary = "exchange messages with a program, a line of JSON each",
    .main = talk_main,
    .print_help = print_help,
};
