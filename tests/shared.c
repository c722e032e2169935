/* Bytes that the other end maps: brood_buffer, and large bytes in general (src/value/shared.c). */
#include "harness/talk.h"

#include "base/sys.h"
#include "value/v8.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SIZE (3 * 1024 * 1024 + 5)

/* {"cmd":"NODE_BROOD_HELLO"}, and bytes of view 11 (Buffer), 1 MiB long, that are elsewhere */
#define HELLO "0000001cff0f6f2203636d6422104e4f44455f42524f4f445f48454c4c4f7b01"
#define ELSEWHERE "00000008ff0f5c020b808040"

static void fill(unsigned char *bytes, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(i * 7 + i / 251 + seed);
}

static bool is_filled(brood_value value, size_t expected, unsigned seed) {
    const void *bytes;
    size_t len;
    if (brood_value_bytes(value, &bytes, &len) < 0 || len != expected || brood_value_view(value) != BROOD_BUFFER)
        return false;
    for (size_t i = 0; i < len; i++)
        if (((const unsigned char *)bytes)[i] != (unsigned char)(i * 7 + i / 251 + seed))
            return false;
    return true;
}

typedef struct piece {
    brood_buffer *buffer;
    const unsigned char *bytes;
    size_t len;
    brood_value kept;
    unsigned seed;
    int refused;
    bool torture;
} piece;

/* twice in one message, beside others */
static void write_pieces(brood_writer *w, void *data) {
    const piece *p = data;
    brood_writer_array(w);
    for (int i = 0; i < 2; i++) {
        brood_writer_int64(w, i);
        if (p->buffer)
            brood_writer_buffer(w, p->buffer, p->len);
        else
            brood_writer_bytes(w, p->bytes, p->len);
    }
    brood_writer_end(w);
}

static void check_pieces(talk *k) {
    piece *p = k->more;
    if (k->messages < 2) /* "ready" */
        return;
    ENSURE(brood_value_count(k->kept) == 4);
    ENSURE(is_filled(brood_value_at(k->kept, 1, NULL), p->len, p->seed));
    ENSURE(is_filled(brood_value_at(k->kept, 3, NULL), p->len, p->seed));
    brood_value_done(&p->kept);
    ENSURE(brood_value_take(brood_value_at(k->kept, 3, NULL), &p->kept) == 0 || p->torture);
    if (p->buffer) /* the other end has answered: it may be used again */
        fill(brood_buffer_bytes(p->buffer), p->len, ++p->seed);
    brood_body body = {.write = write_pieces, .data = p};
    int r = p->buffer && k->messages < 4 ? brood_channel_send(k->channel, &body, NULL, NULL) : -ECANCELED;
    ENSURE(r >= 0 || k->messages == (p->buffer ? 4 : 2) || p->torture);
    if (r < 0)
        brood_channel_disconnect(k->channel);
}

static void exchange(test *t, piece *p, const char *const *args, bool copied) {
    talk *k = talk_new();
    DEFER(brood_buffer_done, p->buffer);
    p->torture = t->torture;
    k->more = p;
    k->quiet = true;
    k->then = check_pieces;
    if (!talk_start(t, k, &(brood_options){.args = args, .serialization = BROOD_ADVANCED}))
        return;
    RUN_UNTIL(k->messages == 1 || k->closes);
    int r = brood_channel_send(k->channel, &(brood_body){.write = write_pieces, .data = p}, talk_on_sent, k);
    CHECK(r >= 0 || t->torture);
    if (!t->torture)
        CHECK(copied || !brood__has(BROOD__MEMFD) ? brood_channel_queued(k->channel) > p->len
                                                  : brood_channel_queued(k->channel) < 200);
    if (r < 0)
        brood_channel_disconnect(k->channel);
    RUN();
    CHECK(t->torture || (k->sent == 1 && k->sent_error == 0));
    CHECK(t->torture || k->messages == (p->buffer ? 4 : 2));
    if (!t->torture) /* the child is gone, and so is the message that they came in */
        CHECK(is_filled(p->kept, p->len, p->buffer ? p->seed - 1 : p->seed) || p->buffer);
    brood_value_done(&p->kept);
}

TEST_TORTURE(shared_buffer_goes_and_comes) {
    piece *p = NEW(piece);
    p->len = t->brief ? 1024 * 1024 : SIZE;
    if (brood_buffer_new(p->len, &p->buffer) < 0) {
        CHECK(t->torture);
        return;
    }
    CHECK_EQ(brood_buffer_size(p->buffer), p->len);
    fill(brood_buffer_bytes(p->buffer), p->len, 0);
    exchange(t, p, BROOD_ARGS(PEER, "send", "\"ready\"", "echo"), false);
}

TEST(shared_bytes_when_they_are_large) {
    piece *p = NEW(piece);
    p->len = 16 * 1024 * 1024;
    p->bytes = test_alloc(p->len);
    fill((unsigned char *)p->bytes, p->len, 0);
    exchange(t, p, BROOD_ARGS(PEER, "send", "\"ready\"", "echo"), false);
}

/* no memfd: plain memory, which is copied */
TEST(shared_buffer_without_memfd) {
    piece *p = NEW(piece);
    p->len = SIZE;
    brood__probe_force("memfd", true);
    CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
    fill(brood_buffer_bytes(p->buffer), p->len, 0);
    exchange(t, p, BROOD_ARGS(PEER, "send", "\"ready\"", "echo"), true);
    brood__probe_force("memfd", false);
}

TEST(shared_buffer_to_a_child_that_may_be_node) {
    piece *p = NEW(piece);
    p->len = SIZE;
    CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
    fill(brood_buffer_bytes(p->buffer), p->len, 0);
    exchange(t, p, STRANGER("send", "\"ready\"", "echo"), true);
}

TEST(shared_buffer_that_cannot_be) {
    brood_buffer *buffer;
    CHECK_EQ(brood_buffer_new(0, &buffer), -EINVAL);
    CHECK_EQ(brood_buffer_new((size_t)3 << 30, &buffer), -EMSGSIZE);
    brood_buffer_done(NULL);
}

/* --- bad days --- */

static void broken_by(test *t, const char *const *args, const brood_channel_options *limits, int error) {
    TALK(k, .args = args, .serialization = BROOD_ADVANCED, .channel = limits);
    RUN();
    CHECK_HAS(k->log, test_format("disconnect(%d) ", error));
    CHECK_EQ(k->messages, 0);
}

TEST(shared_bytes_that_are_not_what_they_should_be) {
    broken_by(t, BROOD_ARGS(PEER, "raw", ELSEWHERE), NULL, -EBADMSG);      /* not of brood's, for all we know */
    broken_by(t, BROOD_ARGS(PEER, "raw", HELLO ELSEWHERE), NULL, -EMFILE); /* without a descriptor */
    broken_by(t, BROOD_ARGS(PEER, "raw", HELLO, "raw-fd", ELSEWHERE), NULL, -EBADMSG); /* one that is not sealed */
}

/* they are not there while a message is read: `[shared, a Uint8Array of it]` */
TEST(shared_bytes_take_no_view) {
    char payload[64] = "\xff\x0f\x41\x02\x5c\x02\x00\x80\x80\x40\x5e\x01\x56\x42\x00\x80\x80\x40\x00\x24\x00\x02";
    brood__document document = {.max_shared = 1};
    size_t at;
    int r = brood__v8_read(&document, payload, 22, BROOD__MAX_DEPTH, &at);
    brood__document_done(&document);
    CHECK_EQ(r, -EBADMSG);
}

TEST(shared_bytes_count_against_the_ceiling) {
    static const brood_channel_options limits = {.max_message = 1024 * 1024 - 1};
    broken_by(t, BROOD_ARGS(PEER, "raw", HELLO, "raw-fd", ELSEWHERE), &limits, -EMSGSIZE);
}

TEST(shared_bytes_that_find_no_room) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    if (!brood__has(BROOD__MEMFD))
        SKIP("no memfd");
    piece *p = NEW(piece);
    p->len = SIZE;
    CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
    TALK(k, .args = BROOD_ARGS(PEER, "send", "0", "full", "words"), .serialization = BROOD_ADVANCED,
         .out = {.kind = BROOD_STDIO_IGNORE},
         .rlimits = &(brood_rlimit){.resource = RLIMIT_NOFILE, .soft = 64, .hard = 64}, .rlimit_count = 1);
    RUN_UNTIL(k->messages == 1);
    CHECK_EQ(brood_channel_send(k->channel, &(brood_body){.write = write_pieces, .data = p}, talk_on_sent, k), 0);
    brood_buffer_done(p->buffer);
    RUN();
    CHECK_STR(k->log, "0 disconnect(0) exit(0) "); /* the child's end has broken: it says -EMFILE there */
}

/* --- a worker without a loop --- */

static void write_task(brood_writer *w, void *data) {
    brood_writer_object(w);
    brood_writer_key(w, "data");
    write_pieces(w, data);
    brood_writer_end(w);
}

static void on_result(brood_channel *channel, const brood_reply *reply, void *data) {
    piece *p = data;
    ENSURE(reply->status == 0);
    ENSURE(is_filled(brood_value_at(reply->result, 3, NULL), p->len, 0));
    ENSURE(brood_value_take(reply->result, &p->kept) == 0);
    brood_channel_disconnect(channel);
}

static void on_refused(brood_channel *channel, const brood_reply *reply, void *data) {
    (void)channel;
    ((piece *)data)->refused = reply->status;
}

/* which tells that the worker is brood's; it takes no descriptors, and refuses what comes with one */
static void on_first(brood_channel *channel, const brood_reply *reply, void *data) {
    int64_t number = 0;
    ENSURE(brood_value_int64(reply->result, &number) == 0 && number == 1);
    brood_body both = {.write = write_task, .data = data, .fds = &(int){0}, .fd_count = 1};
    ENSURE(brood_channel_request(channel, &both, 0, on_refused, data, NULL) >= 0);
    ENSURE(brood_channel_request(channel, &(brood_body){.write = write_task, .data = data}, 0, on_result, data, NULL) >=
           0);
    ENSURE(brood_channel_queued(channel) < 400 || !brood__has(BROOD__MEMFD));
}

TEST(shared_buffer_to_a_worker_and_back) {
    piece *p = NEW(piece);
    p->len = SIZE;
    CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
    fill(brood_buffer_bytes(p->buffer), p->len, 0);
    TALK(k, .args = BROOD_ARGS(PEER, "worker"), .serialization = BROOD_ADVANCED);
    brood_body small = {.json = "{\"data\":1}", .json_len = BROOD_NUL};
    CHECK_EQ(brood_channel_request(k->channel, &small, 0, on_first, p, NULL), 0);
    RUN();
    CHECK(is_filled(brood_value_at(p->kept, 3, NULL), p->len, 0));
    CHECK_EQ(p->refused, -EREMOTEIO);
    brood_value_done(&p->kept);
    brood_buffer_done(p->buffer);
}
