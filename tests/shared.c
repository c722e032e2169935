/* Bytes that the other end maps: brood_buffer, and large bytes in general (src/value/shared.c). */
#include "harness/talk.h"

#include "base/sys.h"
#include "channel/channel.h"
#include "value/v8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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
        CHECK(copied || !brood__has(BROOD__MEMFD) ? brood__channel_unsent(k->channel) > p->len
                                                  : brood__channel_unsent(k->channel) < 200);
    CHECK(r < 0 || brood_channel_queued(k->channel) > 2 * p->len); /* they count until the other end has them */
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

/* nor where no file may be so long, which the kernel would punish by a signal */
TEST(shared_buffer_above_the_limit_of_files) {
    piece *p = NEW(piece);
    struct rlimit before, low;
    p->len = SIZE;
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = (struct rlimit){.rlim_cur = SIZE - 1, .rlim_max = before.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
    CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
    fill(brood_buffer_bytes(p->buffer), p->len, 0);
    exchange(t, p, BROOD_ARGS(PEER, "send", "\"ready\"", "echo"), true);
    p = NEW(piece);
    p->len = 16 * 1024 * 1024;
    p->bytes = test_alloc(p->len);
    fill((unsigned char *)p->bytes, p->len, 0);
    exchange(t, p, BROOD_ARGS(PEER, "send", "\"ready\"", "echo"), true);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
}

TEST(shared_buffer_that_cannot_be) {
    brood_buffer *buffer;
    CHECK_EQ(brood_buffer_new(0, &buffer), -EINVAL);
    CHECK_EQ(brood_buffer_new((size_t)3 << 30, &buffer), -EMSGSIZE);
    brood_buffer_done(NULL);
}

/* a message has room for 253 descriptors: what is beyond is copied */
TEST(shared_buffers_beside_descriptors) {
    enum { FDS = 250, BYTES = 1024 * 1024 };
    piece *p = NEW(piece);
    int fds[FDS];
    for (int i = 0; i < FDS; i++)
        fds[i] = STDERR_FILENO;
    p->len = BYTES;
    CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
    TALK(k, .args = BROOD_ARGS(PEER, "echo"), .serialization = BROOD_ADVANCED);
    RUN_UNTIL(brood_channel_peer_is_brood(k->channel));
    brood_body body = {.write = write_pieces, .data = p, .fds = fds, .fd_count = FDS};
    CHECK_EQ(brood_channel_send(k->channel, &body, talk_on_sent, k), 1); /* both are shared: 252 */
    CHECK(brood__channel_unsent(k->channel) < 400 || !brood__has(BROOD__MEMFD));
    body.fd_count = FDS + 2;
    body.fds = (int[FDS + 2]){0};
    CHECK_EQ(brood_channel_send(k->channel, &body, talk_on_sent, k), 1); /* one is */
    body.fd_count = FDS + 3;
    body.fds = (int[FDS + 3]){0};
    CHECK_EQ(brood_channel_send(k->channel, &body, talk_on_sent, k), 1); /* none is */
    CHECK_GE(brood__channel_unsent(k->channel), 3 * BYTES);
    k->wait_for = 3;
    RUN();
    CHECK_STR(k->log, "array(4) array(4) array(4) disconnect(0) exit(0) ");
    CHECK_EQ(k->sent_error, 0);
    brood_buffer_done(p->buffer);
}

/* --- bad days --- */

/* they are memory that waits, though they pass the socket by */
TEST(shared_bytes_press_back) {
    piece *p = NEW(piece);
    int refused = 0, above = 0;
    p->len = 10 * 1024 * 1024;
    TALK(k, .args = BROOD_ARGS(PEER, "late", "send", "0"), .serialization = BROOD_ADVANCED,
         .in = {.kind = BROOD_STDIO_PIPE}, .channel = &(brood_channel_options){.max_queued = 100 << 20});
    RUN_UNTIL(k->messages == 1);
    for (int i = 0; i < 10; i++) {
        CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
        int r = brood_channel_send(k->channel, &(brood_body){.write = write_pieces, .data = p}, talk_on_sent, k);
        brood_buffer_done(p->buffer);
        above += r == 1;
        refused += r == -ENOBUFS;
        uv_run(t->loop, UV_RUN_NOWAIT); /* the kernel has those that were sent */
    }
    CHECK_GE(above, 6); /* more where bytes are copied, and the other end has taken some of them */
    CHECK_GT(refused, 0);
    CHECK_EQ(above + refused, 10);
    CHECK_GT(brood_channel_queued(k->channel), 100 << 20); /* some of it may have left for the other end's buffers */
    CHECK_EQ(k->drains, 0);
    brood_stream_write(brood_child_stream(k->child, 0), "x", 1, NULL, NULL);
    RUN_UNTIL(k->drains == 1 && k->sent == above);
    CHECK_LE(brood_channel_queued(k->channel), 65536);
    brood_channel_disconnect(k->channel);
    RUN();
    CHECK_EQ(k->sent_error, 0);
}

/* pages of another size cannot be unmapped by the byte */
TEST(shared_bytes_in_huge_pages_are_refused) {
    brood__mapping *mapping;
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (fd < 0 || ftruncate(test_fd(fd), 2 << 20) < 0)
        SKIP("no huge pages");
    CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE), 0);
    CHECK_EQ(brood__mapping_new(fd, 2 << 20, &mapping), -EBADMSG);
}

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
    CHECK_EQ(brood_channel_send(k->channel, &(brood_body){.write = write_pieces, .data = p}, talk_on_sent, k), 1);
    brood_buffer_done(p->buffer);
    RUN();
    CHECK_EQ(k->sent_error, -EPIPE);
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
    ENSURE(brood__channel_unsent(channel) < 400 || !brood__has(BROOD__MEMFD));
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

static bool has_mapping(brood_child *child) {
    char line[512];
    bool found = false;
    FILE *maps = fopen(test_format("/proc/%d/maps", (int)brood_child_pid(child)), "r");
    while (maps && fgets(line, sizeof line, maps))
        found = found || strstr(line, "memfd:brood");
    if (maps)
        fclose(maps);
    return found;
}

static void on_done(brood_channel *channel, const brood_reply *reply, void *data) {
    (void)channel;
    ((piece *)data)->refused = reply->status + 1;
}

/* an idle worker holds nobody's memory */
TEST(shared_buffer_is_let_go_by_a_worker) {
    piece *p = NEW(piece);
    p->len = SIZE;
    CHECK_EQ(brood_buffer_new(p->len, &p->buffer), 0);
    TALK(k, .args = BROOD_ARGS(PEER, "worker"), .serialization = BROOD_ADVANCED);
    RUN_UNTIL(brood_channel_peer_is_brood(k->channel));
    brood_body body = {.write = write_task, .data = p};
    CHECK_EQ(brood_channel_request(k->channel, &body, 0, on_done, p, NULL), 1);
    RUN_UNTIL(p->refused);
    CHECK_EQ(p->refused, 1);
    while (has_mapping(k->child))
        test_idle(1);
    brood_channel_disconnect(k->channel);
    RUN();
    brood_buffer_done(p->buffer);
}
