/* See talk.h. */
#include "talk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

talk *talk_new(void) {
    talk *k = NEW(talk);
    k->in_order = true;
    k->last = -1;
    return k;
}

void talk_note(talk *k, const char *format, ...) {
    va_list args;
    size_t len = strlen(k->log);
    va_start(args, format);
    vsnprintf(k->log + len, sizeof k->log - len, format, args);
    va_end(args);
}

/* Numbers, strings of any kind: enough to tell messages apart. */
static void note_value(talk *k, brood_value value) {
    double number;
    const char *text;
    if (brood_value_double(value, &number) == 0)
        talk_note(k, "%g ", number);
    else if (brood_value_string(value, &text, NULL) == 0)
        talk_note(k, "%s ", text);
    else
        talk_note(k, "%s(%zu) ", brood_type_text(brood_value_type(value)), brood_value_count(value));
}

void talk_on_message(brood_channel *channel, const brood_message *message, void *data) {
    talk *k = data;
    int64_t number = -1;
    ENSURE(channel == k->channel);
    k->messages++;
    k->kept = message->value;
    k->message = message;
    if (!k->quiet)
        note_value(k, message->value);
    (void)brood_value_int64(message->value, &number);
    k->in_order = k->in_order && number == k->last + 1;
    k->last = number;
    if (k->messages == k->wait_for)
        brood_channel_disconnect(channel);
    if (k->then)
        k->then(k);
}

void talk_on_disconnect(brood_channel *channel, int error, void *data) {
    talk *k = data;
    ENSURE(channel == k->channel && !brood_channel_connected(channel));
    k->disconnects++;
    talk_note(k, "disconnect(%d) ", error);
}

void talk_on_exit(brood_child *child, const brood_exit *ended, void *data) {
    (void)child;
    talk_note(data, "exit(%d) ", ended->signal ? -ended->signal : ended->code);
}

void talk_on_close(brood_child *child, const brood_exit *ended, void *data) {
    talk *k = data;
    (void)ended;
    k->closes++;
    brood_child_close(child);
}

void talk_on_sent(brood_channel *channel, int error, void *data) {
    talk *k = data;
    ENSURE(channel == k->channel);
    k->sent++;
    k->sent_error = error;
}

void talk_on_drain(brood_channel *channel, void *data) {
    talk *k = data;
    ENSURE(brood_channel_queued(channel) <= 65536);
    k->drains++;
}

bool talk_start(test *t, talk *k, const brood_options *given) {
    brood_options o = *given;
    brood_failure why = {0};
    o.on_message = talk_on_message;
    o.on_disconnect = talk_on_disconnect;
    o.on_channel_drain = talk_on_drain;
    o.on_exit = talk_on_exit;
    o.on_close = talk_on_close;
    o.data = k;
    if (o.own == BROOD_OWN_DEFAULT && getenv("BROOD_TEST_TREES"))
        o.own = BROOD_OWN_TREE;
    int r = brood_fork(t->loop, &o, &k->child, &why);
    if (r < 0 && !t->torture)
        test_fail(__FILE__, __LINE__, "brood_fork: %s", why.message);
    if (r < 0)
        return false;
    k->channel = brood_child_channel(k->child);
    ENSURE(brood_channel_child(k->channel) == k->child);
    return true;
}

void talk_send(test *t, talk *k, const char *json) {
    int r = brood_channel_send_json(k->channel, json, BROOD_NUL);
    if (!t->torture)
        ENSURE(r >= 0);
}

/* The first of BROOD_NODES, else the one in PATH; NULL: there is none. */
const char *node_program(void) {
    static char path[4096];
    const char *asked = getenv("BROOD_NODES");
    if (asked && *asked) {
        snprintf(path, sizeof path, "%.*s", (int)strcspn(asked, " "), asked);
        return path;
    }
    brood_result result;
    brood_exec_sync("command -v node", NULL, &result);
    snprintf(path, sizeof path, "%.*s", (int)strcspn(result.out.bytes, "\n"), result.out.bytes);
    brood_result_done(&result);
    return *path ? path : NULL;
}
