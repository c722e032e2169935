/* src/channel, from the parent's side: children are brood-peer (tests/node/peer.c) and, where there is one, node. */
#include "harness/talk.h"

#include <stdio.h>
#include <unistd.h>

/* --- both ends brood's --- */

TEST_TORTURE(fork_and_a_message_each_way) {
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = BROOD_ARGS(PEER, "send", "\"hello\"", "echo"), .serialization = mode);
        k->wait_for = 3;
        talk_send(t, k, "17");
        talk_send(t, k, "{\"a\":[1,2],\"b\":null}");
        RUN();
        if (!t->torture)
            CHECK_STR(k->log, "hello 17 object(2) disconnect(0) exit(0) ");
        CHECK_EQ(k->closes, 1);
    }
}

TEST(fork_messages_come_in_order_and_whole) {
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = BROOD_ARGS(PEER, "send-many", "20000"), .serialization = mode);
        k->quiet = true;
        k->wait_for = 20000;
        RUN();
        CHECK_EQ(k->messages, 20000);
        CHECK(k->in_order);
        CHECK_STR(k->log, "disconnect(0) exit(0) ");
    }
}

/* what was queued when the other end disconnects, or goes, still arrives */
TEST(fork_loses_nothing_that_was_sent_before_a_disconnect) {
    TALK(k, .args = BROOD_ARGS(PEER, "send-many", "50000", "disconnect"));
    k->quiet = true;
    RUN();
    CHECK_EQ(k->messages, 50000);
    CHECK_STR(k->log, "disconnect(0) exit(0) ");
}

static void send_numbers(test *t, talk *k, int count) {
    for (int i = 0; i < count && !test_failed(); i++)
        talk_send(t, k, test_format("%d", i));
}

TEST(fork_disconnect_sends_what_is_queued) {
    TALK(k, .args = BROOD_ARGS(PEER, "slow", "echo"), .in = {.kind = BROOD_STDIO_PIPE});
    k->quiet = true;
    send_numbers(t, k, 50000);
    CHECK_EQ(brood_channel_send(k->channel, &(brood_body){.json = "0", .json_len = BROOD_NUL}, talk_on_sent, k), 1);
    brood_channel_disconnect(k->channel);
    CHECK(!brood_channel_connected(k->channel));
    CHECK_EQ(brood_channel_send_json(k->channel, "1", BROOD_NUL), -EPIPE);
    CHECK_EQ(brood_stream_write(brood_child_stream(k->child, 0), "x", 1, NULL, NULL), 0);
    RUN();
    CHECK_EQ(k->sent, 1);
    CHECK_EQ(k->sent_error, 0);
    CHECK_EQ(k->disconnects, 1);
    CHECK_EQ(k->messages, 50001); /* and what the other end answers before it sees the end is told */
}

/* 64 MB one way and back, in one message */
TEST(fork_carries_a_large_message) {
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        size_t size = t->brief ? 1 << 20 : 20 << 20;
        char *text = malloc(size + 3);
        CHECK(text);
        DEFER(free, text);
        memset(text, 'x', size + 2);
        text[0] = text[size + 1] = '"';
        text[size + 2] = 0;
        TALK(k, .args = BROOD_ARGS(PEER, "echo"), .serialization = mode);
        k->quiet = true;
        k->wait_for = 1;
        CHECK_EQ(brood_channel_send(k->channel, &(brood_body){.json = text, .json_len = size + 2}, talk_on_sent, k), 1);
        RUN();
        CHECK_EQ(k->messages, 1);
        CHECK_EQ(k->sent, 1);
        CHECK_EQ(k->drains, 1);
        CHECK_STR(k->log, "disconnect(0) exit(0) ");
    }
}

TEST(fork_refuses_what_is_no_message) {
    TALK(k, .args = BROOD_ARGS(PEER, "echo"));
    static const struct {
        const char *json;
        int error;
        size_t at;
    } cases[] = {{"", -EILSEQ, 0}, {"{bad", -EILSEQ, 1}, {"[1]x", -EILSEQ, 3}, {"\"\xff\"", -EILSEQ, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_EQ(brood_channel_send_json(k->channel, cases[i].json, BROOD_NUL), cases[i].error);
        CHECK_EQ(brood_channel_error_offset(k->channel), cases[i].at);
    }
    brood_value missing = {0};
    CHECK_EQ(brood_channel_send(k->channel, &(brood_body){0}, talk_on_sent, k), -EINVAL);
    CHECK_EQ(brood_channel_send(k->channel, &(brood_body){.value = &missing}, talk_on_sent, k), -EINVAL);
    CHECK_EQ(brood_channel_send(k->channel, NULL, talk_on_sent, k), -EINVAL);
    k->wait_for = 1;
    talk_send(t, k, "[1,\n2]"); /* a line feed would be the end of the frame */
    RUN();
    CHECK_STR(k->log, "array(2) disconnect(0) exit(0) ");
    CHECK_EQ(k->sent, 0);
}

/* --- a real Node at the other end --- */

#define NODE_MESSAGE "{\"a\":[1,-0.5,\"\\u00e9\xe2\x82\xac\\ud83d\\ude00\\ud800\",{}],\"b\":{\"c\":null,\"d\":true}}"

static void compare_message(talk *k) {
    char sent[256], got[256];
    brood_value value;
    ENSURE(brood_value_parse(NODE_MESSAGE, BROOD_NUL, &value, NULL) == 0);
    ENSURE(brood_value_json(value, sent, sizeof sent) > 0);
    brood_value_done(&value);
    ENSURE(brood_value_json(k->kept, got, sizeof got) > 0);
    ENSURE(strcmp(sent, got) == 0);
}

static void write_bytes(brood_writer *w, void *data) {
    brood_writer_object(w);
    brood_writer_key(w, "bytes");
    brood_writer_bytes(w, "\0\1\2", 3);
    brood_writer_key(w, "big");
    brood_writer_bigint(w, true, &(uint64_t){7}, 1);
    brood_writer_key(w, "when");
    brood_writer_date(w, 1.7e12);
    brood_writer_end(w);
    (void)data;
}

static void check_bytes(talk *k) {
    const void *bytes;
    size_t len;
    int64_t number;
    if (brood_value_type(brood_value_get(k->kept, "bytes")) == BROOD_MISSING) {
        compare_message(k);
        return;
    }
    ENSURE(brood_value_bytes(brood_value_get(k->kept, "bytes"), &bytes, &len) == 0 && len == 3 &&
           memcmp(bytes, "\0\1\2", 3) == 0);
    ENSURE(brood_value_view(brood_value_get(k->kept, "bytes")) == BROOD_BUFFER);
    ENSURE(brood_value_int64(brood_value_get(k->kept, "big"), &number) == 0 && number == -7);
    ENSURE(brood_value_type(brood_value_get(k->kept, "when")) == BROOD_DATE);
    ENSURE(brood_value_int64(brood_value_get(k->kept, "when"), &number) == 0 && number == 1700000000000);
}

TEST(fork_of_a_real_node_program) {
    const char *node = node_program();
    if (!node)
        SKIP("no node");
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = BROOD_ARGS(node, test_source("node/echo.js")), .serialization = mode);
        k->then = check_bytes;
        k->wait_for = 102;
        talk_send(t, k, NODE_MESSAGE);
        for (int i = 0; i < 100; i++)
            talk_send(t, k, NODE_MESSAGE);
        CHECK_EQ(brood_channel_send(k->channel, &(brood_body){.write = write_bytes}, talk_on_sent, k),
                 mode == BROOD_JSON ? -EPROTOTYPE : 0);
        if (mode == BROOD_JSON)
            talk_send(t, k, NODE_MESSAGE);
        RUN();
        CHECK_EQ(k->messages, 102);
        CHECK_HAS(k->log, "disconnect(0) exit(0) ");
    }
}

/* --- whoever breaks the format loses the channel, and nobody anything else --- */

static void break_by(test *t, int mode, const char *hex, int error, const char *before) {
    TALK(k, .args = BROOD_ARGS(PEER, "raw", hex, "echo"), .serialization = mode);
    RUN();
    CHECK_STR(test_format("%s: %s", hex, k->log), test_format("%s: %sdisconnect(%d) exit(0) ", hex, before, error));
}

TEST(fork_of_a_child_that_breaks_the_format) {
    break_by(t, BROOD_JSON, "310a7b6261640a320a", -EBADMSG, "1 ");
    break_by(t, BROOD_JSON, "0a", -EBADMSG, "");
    break_by(t, BROOD_ADVANCED, "00000004ff0f490200000004ff0f7171", -EBADMSG, "1 ");
    break_by(t, BROOD_ADVANCED, "00000000", -EBADMSG, "");
    break_by(t, BROOD_ADVANCED, "ffffffff", -EMSGSIZE, "");
    break_by(t, BROOD_ADVANCED, "7fffffff", -EMSGSIZE, "");
}

TEST(fork_of_a_child_that_says_too_much) {
    static const brood_channel_options limits = {.max_message = 1000};
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = BROOD_ARGS(PEER, "send", test_format("\"%01000d\"", 0)), .serialization = mode,
             .channel = &limits);
        RUN();
        CHECK_STR(k->log, test_format("disconnect(%d) exit(0) ", -EMSGSIZE));
    }
    static const brood_channel_options few = {.max_values = 100};
    char text[202];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 2 ? '1' : ',';
    text[0] = '[', text[sizeof text - 2] = ']', text[sizeof text - 1] = 0;
    TALK(k, .args = BROOD_ARGS(PEER, "send", text), .channel = &few);
    RUN();
    CHECK_STR(k->log, test_format("disconnect(%d) exit(0) ", -EMSGSIZE));
}

/* bytes of a message that never ends are dropped, as in Node */
TEST(fork_of_a_child_that_dies_in_mid_message) {
    TALK(k, .args = BROOD_ARGS(PEER, "raw", "310a5b31", "die"));
    RUN();
    CHECK_STR(k->log, "1 disconnect(0) exit(-9) ");
}

TEST(fork_send_to_a_child_that_is_gone) {
    TALK(k, .args = BROOD_ARGS(PEER, "die"));
    brood_channel_pause(k->channel);
    RUN_UNTIL(strstr(k->log, "exit"));
    CHECK_GE(brood_channel_send(k->channel, &(brood_body){.json = "1", .json_len = 1}, talk_on_sent, k), -EPIPE);
    brood_channel_resume(k->channel);
    RUN();
    CHECK_EQ(k->disconnects, 1);
    CHECK(k->sent == 0 || k->sent_error == -EPIPE || k->sent_error == -ECANCELED);
}

/* a peer that never reads: memory has a ceiling, and a stop ends it */
TEST(fork_of_a_child_that_never_reads) {
    static const brood_channel_options limits = {.max_queued = 1 << 20};
    int r = 0;
    char text[10002];
    memset(text, 'x', sizeof text);
    text[0] = text[sizeof text - 1] = '"';
    TALK(k, .args = BROOD_ARGS(PEER, "slow"), .in = {.kind = BROOD_STDIO_PIPE}, .channel = &limits);
    for (int i = 0; i < 1000 && r >= 0; i++)
        r = brood_channel_send(k->channel, &(brood_body){.json = text, .json_len = sizeof text}, talk_on_sent, k);
    CHECK_EQ(r, -ENOBUFS);
    CHECK_LE(brood_channel_queued(k->channel), (1 << 20) + 20000);
    brood_child_kill(k->child, SIGKILL);
    RUN();
    CHECK_STR(k->log, "disconnect(0) exit(-9) ");
    CHECK_GT(k->sent, 50);
    CHECK_NE(k->sent_error, 0);
}

/* --- who listens, who waits --- */

TEST(fork_messages_wait_for_a_listener) {
    talk *k = talk_new();
    brood_failure why;
    CHECK_EQ(brood_fork(t->loop,
                        &(brood_options){.args = BROOD_ARGS(PEER, "send", "0", "send", "1", "send", "2", "words"),
                                         .on_disconnect = talk_on_disconnect,
                                         .on_exit = talk_on_exit,
                                         .on_close = talk_on_close,
                                         .out = {.on_data = NULL},
                                         .data = k},
                        &k->child, &why),
             0);
    k->channel = brood_child_channel(k->child);
    test_idle(100);
    uv_run(t->loop, UV_RUN_NOWAIT);
    CHECK_STR(k->log, "");
    k->wait_for = 3;
    brood_channel_listen(k->channel, talk_on_message, k);
    RUN();
    CHECK_STR(k->log, "0 1 2 disconnect(0) exit(0) ");
}

static void pause_channel(talk *k) {
    brood_channel_pause(k->channel);
}

TEST(fork_paused_channel_tells_nothing) {
    TALK(k, .args = BROOD_ARGS(PEER, "raw", "300a310a", "die"));
    k->then = pause_channel;
    RUN_UNTIL(strstr(k->log, "exit"));
    CHECK_STR(k->log, "0 exit(-9) ");
    CHECK_EQ(k->closes, 0);
    k->then = NULL;
    brood_channel_resume(k->channel);
    RUN();
    CHECK_STR(k->log, "0 exit(-9) 1 disconnect(0) ");
    CHECK_EQ(k->closes, 1);
}

static void close_child(talk *k) {
    brood_child_close(k->child);
}

TEST(fork_child_closed_in_on_message) {
    TALK(k, .args = BROOD_ARGS(PEER, "send-many", "100", "echo"));
    k->then = close_child;
    RUN();
    CHECK_EQ(k->messages, 1);
    CHECK_STR(k->log, "0 ");
    CHECK_EQ(k->closes, 1);
}

TEST(fork_loop_closed_in_on_message) {
    TALK(k, .args = BROOD_ARGS(PEER, "send-many", "100", "echo"));
    RUN_UNTIL(k->messages > 0);
    CHECK_EQ(brood_loop_close(t->loop, NULL, NULL), 0);
    RUN();
    CHECK_EQ(k->disconnects, 0);
}

TEST(fork_that_fails_leaves_nothing) {
    talk *k = talk_new();
    brood_failure why = {0};
    CHECK_EQ(brood_fork(t->loop,
                        &(brood_options){.args = BROOD_ARGS("/no/such"), .on_message = talk_on_message, .data = k},
                        &k->child, &why),
             -ENOENT);
    CHECK(!k->child);
    TALK(late, .args = BROOD_ARGS("/no/such"), .offload = true);
    CHECK_EQ(brood_channel_send(late->channel, &(brood_body){.json = "1", .json_len = 1}, talk_on_sent, late), 0);
    RUN();
    CHECK_EQ(late->sent, 1);
    CHECK_EQ(late->sent_error, -ECANCELED);
    CHECK_EQ(late->disconnects, 0);
    CHECK_EQ(late->closes, 1);
}

TEST_TORTURE(fork_off_the_loop_queues_until_it_runs) {
    TALK(k, .args = BROOD_ARGS(PEER, "echo"), .offload = true);
    k->wait_for = 1;
    talk_send(t, k, "5");
    RUN();
    if (!t->torture)
        CHECK_STR(k->log, "5 disconnect(0) exit(0) ");
    CHECK_EQ(k->closes, 1);
}

/* --- what the child sees --- */

TEST(fork_variables_reach_no_grandchild) {
    RUN_CHILD(w, .args = BROOD_ARGS(CHILD, "print", "x"));
    CHECK_STR(w->out.bytes, "x\n");
    watch *peer = watch_new();
    brood_failure why;
    CHECK_EQ(brood_fork(t->loop,
                        &(brood_options){.args = BROOD_ARGS(PEER, "env", "disconnect"), WATCH(peer), .out = WATCHED},
                        NULL, &why),
             0);
    RUN();
    CHECK_STR(peer->out.bytes, "NODE_CHANNEL_FD (none)\nNODE_CHANNEL_SERIALIZATION_MODE (none)\n0\n4\n");
}

/* a host that was forked, and does not know it */
TEST(spawn_hands_on_no_channel_that_is_not_there) {
    setenv("NODE_CHANNEL_FD", "3", 1);
    setenv("NODE_CHANNEL_SERIALIZATION_MODE", "json", 1);
    RUN_CHILD(w, .args = BROOD_ARGS("/usr/bin/env"));
    CHECK_LACKS(w->out.bytes, "NODE_CHANNEL");
    RUN_CHILD(own, .args = BROOD_ARGS("/usr/bin/env"), .env = BROOD_ARGS("NODE_CHANNEL_FD=7"));
    CHECK_HAS(own->out.bytes, "NODE_CHANNEL_FD=7");
    brood_slot slot = {.slot = 3, .io = {.kind = BROOD_STDIO_IGNORE}};
    RUN_CHILD(passed, .args = BROOD_ARGS("/usr/bin/env"), .slots = &slot, .slot_count = 1);
    CHECK_HAS(passed->out.bytes, "NODE_CHANNEL_FD=3");
    CHECK_HAS(passed->out.bytes, "NODE_CHANNEL_SERIALIZATION_MODE=json");
    unsetenv("NODE_CHANNEL_FD");
    unsetenv("NODE_CHANNEL_SERIALIZATION_MODE");
}

TEST(fork_channel_takes_the_lowest_slot_that_is_free) {
    brood_slot slots[] = {{.slot = 4, .io = {.kind = BROOD_STDIO_IGNORE}},
                          {.slot = 3, .io = {.kind = BROOD_STDIO_IGNORE}}};
    for (int asked = 0; asked < 2; asked++) {
        watch *w = watch_new();
        brood_failure why;
        CHECK_EQ(brood_fork(t->loop,
                            &(brood_options){.args = BROOD_ARGS("/usr/bin/env"),
                                             WATCH(w),
                                             .out = WATCHED,
                                             .slots = slots,
                                             .slot_count = 2,
                                             .channel_slot = asked ? 1000 : 0},
                            NULL, &why),
                 0);
        RUN();
        CHECK_HAS(w->out.bytes, asked ? "NODE_CHANNEL_FD=1000\n" : "NODE_CHANNEL_FD=5\n");
    }
}

TEST(fork_options_that_make_no_sense) {
    static const brood_channel_options with_data = {.data = (void *)&with_data};
    brood_child *child;
    brood_failure why;
    CHECK_EQ(
        brood_spawn(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD), .on_message = talk_on_message}, &child, &why),
        -EINVAL);
    CHECK_EQ(brood_fork(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD), .channel_slot = 2}, &child, &why),
             -EINVAL);
    CHECK_EQ(brood_fork(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD), .channel = &with_data}, &child, &why),
             -EINVAL);
    CHECK_EQ(brood_fork(t->loop, &(brood_options){.args = BROOD_ARGS(CHILD), .serialization = 2}, &child, &why),
             -EINVAL);
}

TEST(channel_of_a_process_that_was_not_forked) {
    brood_channel *channel = NULL;
    brood_failure why = {0};
    CHECK_EQ(brood_channel_open_parent(t->loop, NULL, &channel, &why), -ENOTCONN);
    CHECK_HAS(why.message, "no channel");
    setenv("NODE_CHANNEL_FD", "x", 1);
    CHECK_EQ(brood_channel_open_parent(t->loop, NULL, &channel, &why), -EINVAL);
    setenv("NODE_CHANNEL_FD", "0", 1);
    CHECK_EQ(brood_channel_open_parent(t->loop, NULL, &channel, &why), -EINVAL);
    unsetenv("NODE_CHANNEL_FD");
    CHECK(!channel);
}

/* --- requests --- */

typedef struct asked {
    talk *talk;
    int count, status;
    double number;
    char text[100];
} asked;

static void on_reply(brood_channel *channel, const brood_reply *reply, void *data) {
    asked *a = data;
    const char *text = reply->error;
    ENSURE(channel == a->talk->channel);
    a->count++;
    a->status = reply->status;
    (void)brood_value_double(reply->result, &a->number);
    (void)brood_value_string(reply->result, &text, NULL);
    snprintf(a->text, sizeof a->text, "%s", text ? text : "");
    if (a->talk->wait_for > 0 && --a->talk->wait_for == 0)
        brood_channel_disconnect(channel);
}

static asked *asked_new(talk *k) {
    asked *a = NEW(asked);
    a->talk = k;
    return a;
}

static int ask(talk *k, asked *a, const char *json, uint64_t timeout_ms, uint64_t *ret_ticket) {
    brood_body body = {.json = json, .json_len = BROOD_NUL};
    return brood_channel_request(k->channel, &body, timeout_ms, on_reply, a, ret_ticket);
}

TEST_TORTURE(request_is_answered) {
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        asked *answers[20];
        int count = t->brief ? 3 : 20;
        TALK(k, .args = BROOD_ARGS(test_program("brood-sum")), .serialization = mode);
        k->wait_for = count;
        for (int i = 0; i < count; i++) {
            answers[i] = asked_new(k);
            int r = ask(k, answers[i], test_format(i % 5 == 4 ? "{\"data\":[\"%d\"]}" : "{\"data\":[%d,1]}", i), 60000,
                        NULL);
            CHECK(r == 0 || t->torture);
            answers[i]->count -= r < 0;
        }
        if (t->torture)
            brood_channel_disconnect(k->channel);
        RUN();
        for (int i = 0; i < count; i++) {
            CHECK(answers[i]->count == 1 || t->torture);
            CHECK(answers[i]->status == (i % 5 == 4 ? -EREMOTEIO : 0) || t->torture);
            CHECK(i % 5 == 4 || answers[i]->number == i + 1 || t->torture);
        }
        CHECK(count < 5 || t->torture || strcmp(answers[4]->text, "a value of the wrong type") == 0);
        CHECK_EQ(k->messages, 0);
        CHECK_EQ(k->closes, 1);
    }
}

/* answers by id, in whatever order */
TEST(request_taken_and_answered_later) {
    TALK(k, .args = BROOD_ARGS(PEER, "serve"));
    asked *a = asked_new(k), *b = asked_new(k), *c = asked_new(k);
    k->wait_for = 3;
    CHECK_EQ(ask(k, a, "{\"text\":\"first\"}", 0, NULL), 0);
    CHECK_EQ(ask(k, b, "{}", BROOD_FOREVER, NULL), 0);
    CHECK_EQ(ask(k, c, "{\"text\":null}", 0, NULL), 0);
    RUN();
    CHECK_STR(a->text, "first");
    CHECK_EQ(b->status, -EREMOTEIO);
    CHECK_STR(b->text, "no text");
    CHECK_EQ(c->status, 0);
    CHECK_EQ(a->count + b->count + c->count, 3);
}

/* in JSON undefined is not there */
TEST(request_answered_by_undefined) {
    TALK(k, .args = BROOD_ARGS("sh", "-c", "read x <&3; echo '{\"id\":1,\"more\":1}' >&3; echo '{\"id\":1}' >&3"));
    asked *a = asked_new(k);
    CHECK_EQ(ask(k, a, "{}", 60000, NULL), 0);
    RUN();
    CHECK_EQ(a->count, 1);
    CHECK_EQ(a->status, 0);
    CHECK_EQ(k->messages, 1);
}

TEST(request_that_nobody_answers) {
    TALK(k, .args = BROOD_ARGS(PEER));
    uint64_t ticket = 0;
    asked *late = asked_new(k), *cancelled = asked_new(k), *left = asked_new(k);
    CHECK_EQ(ask(k, left, "{}", 0, NULL), 0);
    CHECK_EQ(ask(k, cancelled, "{}", 100000, &ticket), 0);
    CHECK_EQ(ask(k, late, "{}", 50, NULL), 0);
    CHECK_EQ(brood_channel_cancel(k->channel, ticket), 0);
    CHECK_EQ(brood_channel_cancel(k->channel, ticket), -ENOENT);
    CHECK_EQ(cancelled->count, 0);
    RUN_UNTIL(late->count);
    CHECK_EQ(late->status, -ETIMEDOUT);
    CHECK_EQ(cancelled->status, -ECANCELED);
    CHECK_EQ(left->count, 0);
    brood_child_kill(k->child, SIGKILL);
    RUN();
    CHECK_EQ(left->status, -EPIPE);
    CHECK_EQ(late->count + cancelled->count + left->count, 3);
}

TEST(request_that_cannot_be_made) {
    TALK(k, .args = BROOD_ARGS(PEER));
    asked *a = asked_new(k);
    brood_value number = {0};
    CHECK_EQ(ask(k, a, "[1]", 0, NULL), -EINVAL);
    CHECK_EQ(ask(k, a, "{\"id\":1}", 0, NULL), -EEXIST);
    CHECK_EQ(ask(k, a, "{", 0, NULL), -EILSEQ);
    CHECK_EQ(brood_channel_request(k->channel, &(brood_body){.value = &number}, 0, on_reply, a, NULL), -EINVAL);
    CHECK_EQ(brood_channel_request(k->channel, &(brood_body){0}, 0, on_reply, a, NULL), -EINVAL);
    brood_channel_disconnect(k->channel);
    CHECK_EQ(ask(k, a, "{}", 0, NULL), -EPIPE);
    RUN();
    CHECK_EQ(a->count, 0);
    CHECK_STR(k->log, "disconnect(0) exit(0) ");
}

static void write_sum(brood_writer *w, void *data) {
    (void)data;
    brood_writer_object(w);
    brood_writer_key(w, "data");
    brood_writer_array(w);
    brood_writer_int64(w, 40);
    brood_writer_int64(w, 2);
    brood_writer_end(w);
    brood_writer_end(w);
}

/* a Node program that answers as hand-made workers do, and an Error for an error */
/* what the large one took is given back between them */
TEST(channel_goes_on_after_a_large_message_behind_a_small_one) {
    enum { LEN = 2 * 1024 * 1024 };
    TALK(k, .args = BROOD_ARGS(PEER, "echo"), .serialization = BROOD_ADVANCED);
    char *text = test_alloc(LEN + 3);
    memset(text, 'a', LEN + 2);
    text[0] = text[LEN + 1] = '"';
    k->quiet = true;
    talk_send(t, k, "1");
    talk_send(t, k, text);
    RUN_UNTIL(k->messages == 2);
    k->wait_for = 3;
    talk_send(t, k, "3");
    RUN();
    CHECK_EQ(k->messages, 3);
    CHECK_STR(k->log, "disconnect(0) exit(0) ");
}

TEST(request_to_a_real_node_program) {
    const char *node = node_program();
    static const char program[] = "process.on('message', (m) => process.send(m.data ? {id: m.id, result: m.data[0] + "
                                  "m.data[1]} : {id: m.id, error: new Error('no data')}))";
    if (!node)
        SKIP("no node");
    TALK(k, .args = BROOD_ARGS(node, "-e", program), .serialization = BROOD_ADVANCED);
    asked *a = asked_new(k), *b = asked_new(k);
    k->wait_for = 2;
    CHECK_EQ(brood_channel_request(k->channel, &(brood_body){.write = write_sum}, 60000, on_reply, a, NULL), 0);
    CHECK_EQ(ask(k, b, "{\"x\":1}", 60000, NULL), 0);
    RUN();
    CHECK(a->number == 42);
    CHECK_EQ(b->status, -EREMOTEIO);
    CHECK_STR(b->text, "no data");
}
