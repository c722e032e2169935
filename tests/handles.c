/* Descriptors with messages: src/channel/handle.c, and what channel.c makes of it. */
#include "harness/talk.h"

#include "base/fault.h"
#include "channel/frame.h"
#include "channel/handle.h"
#include "value/json.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* One document reads them all, as a channel's does: nothing of a message is taken for the next one's. */
TEST(handle_words_are_known_from_what_is_a_users) {
    static const struct {
        const char *json;
        brood__internal what;
    } cases[] = {
        {"{\"a\":1}", BROOD__NOT_INTERNAL},
        {"{\"cmd\":\"NODE_HANDLE_ACK\"}", BROOD__ACK},
        {"{\"df\":1,\"c\":[{\"cmd\":\"NODE_HANDLE\"}]}", BROOD__NOT_INTERNAL}, /* `df` has the bit of `cmd` */
        {"{\"x\":{\"y\":1},\"c\\u006dd\":\"NODE_HANDLE\",\"z\":{}}", BROOD__ENVELOPE},
        {"[1]", BROOD__NOT_INTERNAL},
        {"{\"cmd\":1,\"cmd\":\"NODE_HANDLE_NACK\"}", BROOD__NACK},
        {"7", BROOD__NOT_INTERNAL},
        {"{\"msg\":{},\"cmd\":\"NODE_OTHER\"}", BROOD__UNKNOWN},
        {"{\"cmd\":\"mine\"}", BROOD__NOT_INTERNAL},
        {"{}", BROOD__NOT_INTERNAL},
    };
    brood__document document = {0};
    const size_t count = sizeof cases / sizeof *cases;
    for (size_t i = 0; i < 3 * count; i++) {
        size_t nth = i * 7 % count; /* each after another one */
        const char *json = cases[nth].json;
        char text[128] = {0};
        size_t at;
        memcpy(text, json, strlen(json));
        CHECK_EQ(brood__json_read(&document, text, strlen(json), BROOD__MAX_DEPTH, &at), 0);
        CHECK_EQ(brood__internal_of((brood_value){&document, 0}), cases[nth].what);
        brood__document_reset(&document);
    }
    brood__document_done(&document);
}

/* All there is until its end, within the time that a slow machine needs; then closed. */
static const char *drain(int fd) {
    static char text[256];
    size_t len = 0;
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    for (ssize_t n = 1; n > 0 && poll(&wait, 1, 10000 * (int)test_slow()) > 0; len += n > 0 ? (size_t)n : 0)
        n = read(fd, text + len, sizeof text - 1 - len);
    text[len] = 0;
    close(fd);
    return text;
}

static int send_fds(talk *k, const char *json, const int *fds, size_t count) {
    brood_body body = {.json = json, .json_len = BROOD_NUL, .fds = fds, .fd_count = count};
    return brood_channel_send(k->channel, &body, talk_on_sent, k);
}

static void make_pair(int ends[2]) {
    ENSURE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
}

static void make_pipe(int ends[2]) {
    ENSURE(pipe2(ends, O_CLOEXEC) == 0);
}

/* On loopback, its address in ret_address. */
static int bound(int type, struct sockaddr_in *ret_address) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    socklen_t len = sizeof *ret_address;
    *ret_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ENSURE(bind(fd, (struct sockaddr *)ret_address, len) == 0);
    ENSURE(getsockname(fd, (struct sockaddr *)ret_address, &len) == 0);
    return fd;
}

static int connected(int type, const struct sockaddr_in *address) {
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    ENSURE(connect(fd, (const struct sockaddr *)address, sizeof *address) == 0);
    return fd;
}

static int listening(struct sockaddr_in *ret_address) {
    int fd = bound(SOCK_STREAM, ret_address);
    ENSURE(listen(fd, 16) == 0);
    return fd;
}

/* --- to a child --- */

static void give_one(test *t, talk *k) {
    int ends[2];
    make_pair(ends);
    int r = send_fds(k, "\"take this\"", ends, 1);
    close(ends[0]); /* what was sent is brood's own */
    k->wait_for = 1;
    if (t->torture)
        brood_channel_disconnect(k->channel);
    while (!test_failed() && k->closes == 0)
        uv_run(t->loop, UV_RUN_ONCE);
    const char *text = drain(ends[1]);
    if (!t->torture) {
        CHECK_EQ(r, 0);
        CHECK_STR(text, "used 0 of 1");
        CHECK_STR(k->log, "1 disconnect(0) exit(0) ");
        CHECK_EQ(k->sent, 1);
        CHECK_EQ(k->sent_error, 0);
    }
    CHECK_EQ(k->sent, r >= 0);
}

TEST_TORTURE(handle_to_a_child) {
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = BROOD_ARGS(PEER, "use"), .serialization = mode);
        give_one(t, k);
    }
}

TEST(handle_to_a_child_as_node_would_send_it) {
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = STRANGER("use"), .serialization = mode);
        give_one(t, k);
    }
}

/* one after another, each when the one before has been answered; what stands between keeps its place */
TEST(handles_and_messages_keep_their_order) {
    for (int stranger = 0; stranger < 2; stranger++) {
        int ends[2];
        TALK(k, .args = stranger ? STRANGER("echo") : BROOD_ARGS(PEER, "echo"));
        make_pipe(ends);
        k->wait_for = 300;
        for (int i = 0; i < 300; i++)
            CHECK_GE(send_fds(k, test_format("%d", i), ends, i % 3 != 0), 0);
        RUN();
        CHECK(k->in_order);
        CHECK_EQ(k->sent, 300);
        CHECK_EQ(k->sent_error, 0);
        close(ends[0]);
        close(ends[1]);
    }
}

TEST(handle_that_listens_is_served_by_the_child) {
    struct sockaddr_in address;
    TALK(k, .args = BROOD_ARGS(PEER, "use"));
    int server = listening(&address), client;
    CHECK_EQ(send_fds(k, "1", &server, 1), 0);
    close(server);
    client = connected(SOCK_STREAM, &address);
    k->wait_for = 1;
    RUN();
    CHECK_STR(drain(client), "used 0 of 1");
}

/* --- from a child --- */

typedef struct taken {
    int fds[300];
    size_t count;
} taken;

static void take(talk *k) {
    taken *all = k->more;
    for (size_t i = 0; i < k->message->fd_count; i++) {
        ENSURE(fcntl(k->message->fds[i], F_GETFD) == FD_CLOEXEC);
        all->fds[all->count++] = brood_take_fd(&k->message->fds[i]);
    }
}

TEST_TORTURE(handles_from_a_child) {
    int count = t->brief ? 2 : 253;
    talk *k = talk_new();
    taken *all = NEW(taken);
    k->then = take;
    k->more = all;
    if (!talk_start(t, k, &(brood_options){.args = BROOD_ARGS(PEER, "give", test_format("%d", count), "disconnect")}))
        return;
    while (!test_failed() && k->closes == 0)
        uv_run(t->loop, UV_RUN_ONCE);
    CHECK(all->count == (size_t)count || t->torture);
    for (size_t i = 0; i < all->count; i++) {
        const char *text = drain(all->fds[i]);
        CHECK(strcmp(text, test_format("pipe %zu", i)) == 0);
    }
    CHECK(strcmp(k->log, "given disconnect(0) exit(0) ") == 0 || t->torture);
}

/* what the callback leaves is closed: the harness looks */
TEST(handles_that_nobody_takes_are_closed) {
    TALK(k, .args = BROOD_ARGS(PEER, "give", "20", "disconnect"));
    RUN();
    CHECK_STR(k->log, "given disconnect(0) exit(0) ");
}

TEST(handles_wait_for_a_listener) {
    talk *k = talk_new();
    taken *all = NEW(taken);
    k->more = all;
    if (!talk_start(t, k,
                    &(brood_options){.args = BROOD_ARGS(PEER, "give", "3", "give", "2", "words"),
                                     .out = {.kind = BROOD_STDIO_IGNORE}}))
        return;
    brood_channel_listen(k->channel, NULL, k);
    test_idle(50);
    CHECK_EQ(all->count, 0);
    k->then = take;
    k->wait_for = 2;
    brood_channel_listen(k->channel, talk_on_message, k);
    RUN();
    CHECK_EQ(all->count, 5);
    for (size_t i = 0; i < all->count; i++)
        CHECK_STR(drain(all->fds[i]), test_format("pipe %zu", i < 3 ? i : i - 3));
}

/* both at once: whoever waited for an answer before giving one would wait for ever */
TEST(handles_cross) {
    for (int stranger = 0; stranger < 2; stranger++) {
        int ends[2];
        TALK(k, .args = stranger ? STRANGER("give", "1", "give", "1", "give", "1", "echo")
                                 : BROOD_ARGS(PEER, "give", "1", "give", "1", "give", "1", "echo"));
        make_pipe(ends);
        for (int i = 0; i < 20; i++)
            CHECK_GE(send_fds(k, "7", ends, 1), 0);
        k->wait_for = 23;
        RUN();
        CHECK_EQ(k->messages, 23);
        CHECK_EQ(k->sent, 20);
        CHECK_EQ(k->sent_error, 0);
        close(ends[0]);
        close(ends[1]);
    }
}

/* --- with requests --- */

typedef struct replied {
    int count, status;
    char text[32];
} replied;

static void on_reply(brood_channel *channel, const brood_reply *reply, void *data) {
    replied *all = data;
    all->count++;
    all->status = reply->status;
    if (reply->fd_count == 1)
        snprintf(all->text, sizeof all->text, "%s", drain(brood_take_fd(&reply->fds[0])));
    brood_channel_disconnect(channel);
}

static int request_with(talk *k, int fd, replied *all) {
    brood_body body = {.json = "{\"a\":[]}", .json_len = BROOD_NUL, .fds = &fd, .fd_count = 1};
    return brood_channel_request(k->channel, &body, 60000, on_reply, all, NULL);
}

TEST_TORTURE(handle_with_a_request_and_with_its_reply) {
    for (int stranger = 0; stranger < 2; stranger++) {
        TALK(k, .args = stranger ? STRANGER("answer") : BROOD_ARGS(PEER, "answer"));
        replied *all = NEW(replied);
        int ends[2];
        make_pipe(ends);
        ENSURE(write(ends[1], "to and fro", 10) == 10);
        close(ends[1]);
        int r = request_with(k, ends[0], all);
        close(ends[0]);
        if (t->torture)
            brood_channel_disconnect(k->channel);
        RUN();
        CHECK_EQ(all->count, r >= 0);
        CHECK(t->torture || (all->status == 0 && strcmp(all->text, "to and fro") == 0));
    }
}

/* a request that did not arrive is not waited for */
TEST(handle_with_a_request_that_finds_no_room) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    TALK(k, .args = BROOD_ARGS(PEER, "send", "0", "full", "answer"),
         .rlimits = &(brood_rlimit){.resource = RLIMIT_NOFILE, .soft = 64, .hard = 64}, .rlimit_count = 1);
    replied *all = NEW(replied);
    RUN_UNTIL(k->messages == 1);
    CHECK_EQ(request_with(k, test_fd(open("/dev/null", O_RDONLY | O_CLOEXEC)), all), 0);
    RUN();
    CHECK_EQ(all->count, 1);
    CHECK_EQ(all->status, -EREMOTEIO);
}

/* --- what cannot be sent --- */

TEST(handles_that_node_cannot_take_are_refused) {
    TALK(k, .args = STRANGER("echo"));
    struct sockaddr_in address;
    int file = test_fd(open("/dev/null", O_RDWR | O_CLOEXEC)), ends[2];
    int plain = test_fd(open(test_path(t, "plain"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    int unix_datagram = test_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)), closed = 1000;
    int udp = test_fd(bound(SOCK_DGRAM, &address));
    CHECK_EQ(send_fds(k, "1", &file, 1), -EOPNOTSUPP);
    CHECK_EQ(send_fds(k, "1", &plain, 1), -EOPNOTSUPP);
    CHECK_EQ(send_fds(k, "1", &unix_datagram, 1), -EOPNOTSUPP);
    CHECK_EQ(send_fds(k, "1", &closed, 1), -EBADF);
    CHECK_EQ(send_fds(k, "1", NULL, 1), -EINVAL);
    make_pipe(ends);
    CHECK_EQ(send_fds(k, "1", ends, 2), -EOPNOTSUPP);
    CHECK_EQ(send_fds(k, "nonsense", ends, 1), -EILSEQ);
    CHECK_EQ(send_fds(k, "1", ends, 1), 0);
    CHECK_EQ(send_fds(k, "2", &udp, 1), 0);
    CHECK(fcntl(ends[0], F_GETFL) & O_NONBLOCK); /* or it would hold up the whole of Node */
    CHECK(!(fcntl(ends[1], F_GETFL) & O_NONBLOCK));
    k->wait_for = 2;
    RUN();
    CHECK_STR(k->log, "1 2 disconnect(0) exit(0) ");
    CHECK_EQ(k->sent, 2);
    close(ends[0]);
    close(ends[1]);
}

static void send_a_file_back(talk *k) {
    int fds[] = {open("/dev/null", O_WRONLY | O_CLOEXEC), open("/dev/zero", O_RDONLY | O_CLOEXEC)};
    if (k->messages == 1)
        ENSURE(send_fds(k, "\"file\"", fds, 2) == 0);
    close(fds[0]);
    close(fds[1]);
}

/* a parent knows it from the child's first message on */
TEST(handles_of_any_kind_go_between_two_of_brood) {
    TALK(k, .args = BROOD_ARGS(PEER, "send", "\"ready\"", "echo"));
    k->then = send_a_file_back;
    k->wait_for = 2;
    RUN();
    CHECK_STR(k->log, "ready file disconnect(0) exit(0) ");
    CHECK_EQ(k->sent_error, 0);
}

/* what the two ends say to each other does not wait for a listener */
TEST(handles_are_given_by_a_parent_that_does_not_listen) {
    for (int mode = 0; mode < 4; mode++) {
        int ends[2];
        TALK(k, .args = mode & 1 ? STRANGER("send", "\"NODE_\"", "use") : BROOD_ARGS(PEER, "send", "0", "use"),
             .serialization = mode / 2);
        brood_channel_listen(k->channel, NULL, k);
        make_pipe(ends);
        for (int i = 0; i < 5; i++)
            CHECK_EQ(send_fds(k, "1", &ends[1], 1), 0);
        close(ends[1]);
        RUN_UNTIL(k->sent == 5);
        CHECK_EQ(k->sent_error, 0);
        CHECK_EQ(k->messages, 0);
        k->wait_for = 6;
        brood_channel_listen(k->channel, talk_on_message, k);
        RUN();
        CHECK_STR(k->log, mode & 1 ? "NODE_ 1 1 1 1 1 disconnect(0) exit(0) " : "0 1 1 1 1 1 disconnect(0) exit(0) ");
        CHECK_STR(drain(ends[0]), "used 0 of 1used 0 of 1used 0 of 1used 0 of 1used 0 of 1");
    }
}

TEST(handle_from_a_child_that_does_not_listen) {
    for (int stranger = 0; stranger < 2; stranger++) {
        TALK(k, .args = stranger ? STRANGER("deaf", "give", "1") : BROOD_ARGS(PEER, "deaf", "give", "1"));
        RUN();
        CHECK_STR(k->log, "given disconnect(0) exit(0) ");
    }
}

static void note_output(brood_stream *stream, const char *bytes, size_t len, void *data) {
    (void)stream;
    talk_note(data, "%.*s", (int)len, bytes);
}

/* what is closed waits for the answer to what it gave */
TEST(handle_from_a_child_that_closes) {
    TALK(k, .args = BROOD_ARGS(PEER, "words", "give", "1", "close"), .out = {.on_data = note_output});
    RUN();
    CHECK_HAS(k->log, "given ");
    CHECK_HAS(k->log, "sent 0\n");
    CHECK_HAS(k->log, "exit(0) ");
}

/* ordinary messages are dropped while only an answer is waited for */
TEST(handle_that_nobody_takes_is_refused) {
    TALK(k, .args = BROOD_ARGS(PEER, "words", "give", "1", "answer"), .out = {.on_data = note_output});
    replied *all = NEW(replied);
    brood_channel_listen(k->channel, NULL, k);
    brood_body body = {.json = "{}", .json_len = BROOD_NUL};
    CHECK_EQ(brood_channel_request(k->channel, &body, 60000, on_reply, all, NULL), 0);
    RUN();
    CHECK_EQ(all->status, 0);
    CHECK_HAS(k->log, test_format("sent %d\n", -EREMOTEIO));
}

/* more than that process may have open: they come when there is room for them */
TEST(handles_to_a_child_that_listens_late) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < 1000)
        SKIP("no room for so many descriptors");
    TALK(k, .args = BROOD_ARGS(PEER, "late", "use"), .in = {.kind = BROOD_STDIO_PIPE},
         .rlimits = &(brood_rlimit){.resource = RLIMIT_NOFILE, .soft = 700, .hard = 700}, .rlimit_count = 1);
    int ends[2], fds[200];
    make_pipe(ends);
    for (int i = 0; i < 200; i++)
        fds[i] = ends[1];
    RUN_UNTIL(brood_channel_peer_is_brood(k->channel));
    for (int i = 0; i < 4; i++)
        CHECK_GE(send_fds(k, "1", fds, 200), 0);
    talk_send(t, k, "1");
    close(ends[1]);
    test_idle(20);
    CHECK_EQ(k->sent + k->disconnects, 0);
    brood_stream_write(brood_child_stream(k->child, 0), "x", 1, NULL, NULL);
    k->wait_for = 5;
    RUN_UNTIL(k->closes);
    CHECK_STR(k->log, "200 200 200 200 0 disconnect(0) exit(0) ");
    CHECK_EQ(k->sent, 4);
    CHECK_EQ(k->sent_error, 0);
    close(ends[0]);
}

/* each read of the socket ends behind one of them */
TEST(handles_of_a_child_that_is_gone_come_before_its_exit) {
    const char *args[2 * 150 + 3] = {PEER};
    siginfo_t info;
    size_t n = 1;
    for (int i = 0; i < 150; i++) {
        args[n++] = "raw-fd";
        args[n++] = "310a";
    }
    args[n++] = "die";
    TALK(k, .args = args);
    CHECK_EQ(waitid(P_PID, (id_t)brood_child_pid(k->child), &info, WEXITED | WNOWAIT), 0);
    k->quiet = true;
    RUN();
    CHECK_EQ(k->messages, 150);
    CHECK_STR(k->log, "disconnect(0) exit(-9) ");
}

/* --- bad days --- */

/* for this user so many are under way already: it is sent when they have arrived */
TEST(handle_that_the_kernel_puts_off) {
    if (!BROOD_FAULTS)
        SKIP("a build without injected failures");
    int ends[2];
    TALK(k, .args = BROOD_ARGS(PEER, "use"));
    make_pair(ends);
    RUN_UNTIL(brood_channel_peer_is_brood(k->channel));
    CHECK_EQ(send_fds(k, "1", ends, 1), 0);
    talk_send(t, k, "2");
    close(ends[0]);
    brood__fault_arm(1, ETOOMANYREFS);
    uv_run(t->loop, UV_RUN_NOWAIT);
    CHECK_EQ(k->sent, 0);
    k->wait_for = 2;
    RUN();
    CHECK_STR(k->log, "1 0 disconnect(0) exit(0) ");
    CHECK_EQ(k->sent_error, 0);
    CHECK_STR(drain(ends[1]), "used 0 of 1");
}

/* as that of an io_uring: its message cannot go, the others do */
TEST(handle_that_the_kernel_refuses) {
    if (!BROOD_FAULTS)
        SKIP("a build without injected failures");
    int ends[2];
    TALK(k, .args = BROOD_ARGS(PEER, "answer", "echo"));
    replied *all = NEW(replied);
    make_pipe(ends);
    RUN_UNTIL(brood_channel_peer_is_brood(k->channel));
    CHECK_EQ(send_fds(k, "1", ends, 1), 0);
    talk_send(t, k, "2");
    brood__fault_arm(1, EINVAL);
    RUN_UNTIL(k->sent == 1);
    CHECK_EQ(k->sent_error, -EINVAL);
    RUN_UNTIL(strcmp(k->log, "2 ") == 0); /* so that the next call that can fail is the one that sends */
    CHECK_EQ(request_with(k, ends[0], all), 0);
    brood__fault_arm(1, EINVAL);
    RUN();
    CHECK_EQ(all->status, -EINVAL);
    CHECK_STR(k->log, "2 disconnect(0) exit(0) ");
    close(ends[0]);
    close(ends[1]);
}

/* the flag belongs to all who share the file: a send that fails leaves it alone */
TEST(handle_that_is_not_sent_stays_as_it_is) {
    int ends[2];
    TALK(k, .args = STRANGER("echo"));
    make_pipe(ends);
    CHECK_EQ(send_fds(k, "nonsense", ends, 1), -EILSEQ);
    CHECK(!(fcntl(ends[0], F_GETFL) & O_NONBLOCK));
    brood_channel_disconnect(k->channel);
    RUN();
    close(ends[0]);
    close(ends[1]);
}

/* who asks without end, and reads no answer */
TEST(handle_accounts_without_end_end_the_channel) {
    static const char script[] = "yes '{\"cmd\":\"NODE_SOCKET_GET_COUNT\",\"key\":\"4:a:0\"}' >&3 2>/dev/null";
    TALK(k, .args = BROOD_ARGS("sh", "-c", script));
    RUN();
    CHECK_HAS(k->log, test_format("disconnect(%d) ", -ENOBUFS));
}

/* 7b…: {"cmd":"NODE_HANDLE","type":"net.Native","msg":1}, without a descriptor; then "after" */
#define ENVELOPE "7b22636d64223a224e4f44455f48414e444c45222c2274797065223a226e65742e4e6174697665222c226d7367223a317d0a"
#define ACK "7b22636d64223a224e4f44455f48414e444c455f41434b227d0a"
#define NACK "7b22636d64223a224e4f44455f48414e444c455f4e41434b227d0a"

TEST(handle_that_did_not_come_is_refused) {
    static const char script[] = "echo '{\"cmd\":\"NODE_HANDLE\",\"type\":\"net.Native\",\"msg\":1}' >&3; read answer "
                                 "<&3; echo $answer; echo 2 >&3";
    TALK(k, .args = BROOD_ARGS("sh", "-c", script), .out = {.on_data = note_output});
    RUN();
    CHECK_HAS(k->log, "{\"cmd\":\"NODE_HANDLE_NACK\"}\n");
    CHECK_HAS(k->log, "2 ");
}

/* what a Node asks that has given its server's connections away, and closes the server */
TEST(handle_accounts_are_answered) {
    static const char script[] =
        "echo '{\"cmd\":\"NODE_SOCKET_NOTIFY_CLOSE\",\"key\":\"4:a:0\"}' >&3; read x <&3; echo $x;"
        "echo '{\"cmd\":\"NODE_SOCKET_GET_COUNT\",\"key\":\"4:a:0\"}' >&3; read x <&3; echo $x";
    TALK(k, .args = BROOD_ARGS("sh", "-c", script), .out = {.on_data = note_output});
    RUN();
    CHECK_HAS(k->log, "{\"cmd\":\"NODE_SOCKET_ALL_CLOSED\",\"key\":\"4:a:0\"}\n");
    CHECK_HAS(k->log, "{\"cmd\":\"NODE_SOCKET_COUNT\",\"key\":\"4:a:0\",\"count\":0}\n");
}

TEST(handle_that_nobody_announced_is_closed) {
    TALK(k, .args = BROOD_ARGS(PEER, "raw-fd", "310a", "raw-fd", "320a", "raw", ENVELOPE "330a", "die"));
    RUN();
    CHECK_STR(k->log, "1 2 3 disconnect(0) exit(-9) ");
}

TEST(handle_answers_that_nobody_asked_for) {
    TALK(k, .args = BROOD_ARGS(PEER, "raw", ACK NACK ACK "310a", "use"));
    int ends[2];
    make_pair(ends);
    k->wait_for = 2;
    RUN_UNTIL(k->messages == 1);
    CHECK_EQ(send_fds(k, "1", ends, 1), 0);
    close(ends[0]);
    RUN();
    CHECK_STR(drain(ends[1]), "used 0 of 1");
    CHECK_EQ(k->sent_error, 0);
}

/* many that no whole message speaks of */
TEST(handles_without_end_end_the_channel) {
    const char *args[2 * 1100 + 3] = {PEER};
    size_t n = 1;
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        SKIP("no room for so many descriptors");
    for (int i = 0; i < 1100; i++) {
        args[n++] = "raw-fd";
        args[n++] = i == 0 ? "22" : "20";
    }
    TALK(k, .args = args);
    RUN();
    CHECK_HAS(k->log, test_format("disconnect(%d) ", -EMSGSIZE));
}

/* the child has no room for it: it says so, and everything else goes on */
TEST(handle_that_finds_no_room) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    for (int stranger = 0; stranger < 2; stranger++) {
        TALK(k,
             .args = stranger ? STRANGER("send", "0", "full", "echo") : BROOD_ARGS(PEER, "send", "0", "full", "echo"),
             .rlimits = &(brood_rlimit){.resource = RLIMIT_NOFILE, .soft = 64, .hard = 64}, .rlimit_count = 1);
        int ends[2];
        make_pair(ends);
        RUN_UNTIL(k->messages == 1);
        CHECK_EQ(send_fds(k, "1", ends, 1), 0);
        talk_send(t, k, "2");
        k->wait_for = 2;
        RUN();
        CHECK_STR(k->log, "0 2 disconnect(0) exit(0) ");
        CHECK_EQ(k->sent_error, -EREMOTEIO);
        close(ends[0]);
        close(ends[1]);
    }
}

/* the same on this side: the child is told, and its message dropped */
TEST(handle_for_which_this_process_has_no_room) {
    if (test_is_emulated())
        SKIP("its limits of descriptors are not real");
    talk *k = talk_new();
    struct rlimit limit, none;
    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (!talk_start(t, k,
                    &(brood_options){.args = BROOD_ARGS(PEER, "slow", "give", "2", "send", "1", "words"),
                                     .in = {.kind = BROOD_STDIO_PIPE},
                                     .out = {.kind = BROOD_STDIO_IGNORE}}))
        return;
    int low = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(low);
    none = (struct rlimit){.rlim_cur = (rlim_t)low, .rlim_max = limit.rlim_max};
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    brood_stream_write(brood_child_stream(k->child, 0), "x", 1, NULL, NULL);
    k->wait_for = 1;
    RUN();
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    CHECK_STR(k->log, "1 disconnect(0) exit(0) ");
}

TEST(handle_to_a_child_that_never_answers) {
    TALK(k, .args = BROOD_ARGS(PEER, "slow"), .in = {.kind = BROOD_STDIO_PIPE});
    int ends[2];
    make_pair(ends);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(send_fds(k, "1", ends, 1), 0);
    close(ends[0]);
    test_idle(20);
    CHECK_EQ(k->sent, 0);
    brood_child_kill(k->child, SIGKILL);
    RUN();
    CHECK_STR(k->log, "disconnect(0) exit(-9) ");
    CHECK_EQ(k->sent, 5);
    CHECK_EQ(k->sent_error, -EPIPE);
    CHECK_EQ(send(ends[1], "x", 1, MSG_NOSIGNAL), -1); /* nobody has the other one any more */
    close(ends[1]);
}

/* --- with a real Node --- */

static int unix_listening(test *t, struct sockaddr_un *ret_address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
    snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s", test_path(t, "handles.sock"));
    ENSURE(bind(fd, (struct sockaddr *)ret_address, sizeof *ret_address) == 0 && listen(fd, 4) == 0);
    return fd;
}

static const char *ask_udp(const struct sockaddr_in *address) {
    static char text[64];
    int fd = connected(SOCK_DGRAM, address);
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ssize_t n = -1;
    if (send(fd, "hello", 5, 0) == 5 && poll(&wait, 1, 10000 * (int)test_slow()) > 0)
        n = recv(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    close(fd);
    return text;
}

TEST(handles_to_a_real_node_program) {
    const char *node = node_program();
    if (!node)
        SKIP("no node");
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = BROOD_ARGS(node, test_source("node/handles.js")), .serialization = mode);
        struct sockaddr_in tcp_address, udp_address, own_address;
        struct sockaddr_un unix_address;
        int tcp = listening(&tcp_address), local = unix_listening(t, &unix_address),
            udp = bound(SOCK_DGRAM, &udp_address);
        int own = test_fd(listening(&own_address)), ours = connected(SOCK_STREAM, &own_address);
        int accepted = accept4(own, NULL, NULL, SOCK_CLOEXEC), pair[2], from[2], to[2];
        make_pair(pair);
        make_pipe(from);
        make_pipe(to);
        CHECK_EQ(send_fds(k, "\"tcp\"", &tcp, 1), 0);
        CHECK_EQ(send_fds(k, "\"unix\"", &local, 1), 0);
        CHECK_EQ(send_fds(k, "\"plain\"", NULL, 0), 0);
        CHECK_EQ(send_fds(k, "\"udp\"", &udp, 1), 0);
        CHECK_EQ(send_fds(k, "\"connection\"", &accepted, 1), 0);
        CHECK_EQ(send_fds(k, "\"pair\"", &pair[0], 1), 0);
        CHECK_EQ(send_fds(k, "\"pipe\"", &from[0], 1), 0);
        CHECK_EQ(send_fds(k, "\"pipe to write to\"", &to[1], 1), 0);
        close(tcp), close(local), close(udp), close(accepted), close(pair[0]), close(from[0]), close(to[1]);
        CHECK_EQ(write(from[1], "text", 4), 4);
        close(from[1]);
        RUN_UNTIL(k->messages == 9);
        CHECK_EQ(k->sent, 8);
        CHECK_EQ(k->sent_error, 0);
        CHECK_HAS(k->log, "tcp: net.Server ");
        CHECK_HAS(k->log, "unix: net.Server ");
        CHECK_HAS(k->log, "plain: no handle ");
        CHECK_HAS(k->log, "udp: dgram.Socket udp4 ");
        CHECK_HAS(k->log, "connection: net.Socket pair: net.Socket ");
        CHECK_HAS(k->log, "read from the pipe: text ");
        CHECK_HAS(k->log, "pipe closed ");
        CHECK_HAS(k->log, "pipe to write to: raw ");
        CHECK_STR(drain(connected(SOCK_STREAM, &tcp_address)), "served by node");
        int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK_EQ(connect(client, (struct sockaddr *)&unix_address, sizeof unix_address), 0);
        CHECK_STR(drain(client), "served by node");
        CHECK_STR(ask_udp(&udp_address), "hello to node");
        CHECK_STR(drain(ours), "written by node");
        CHECK_STR(drain(pair[1]), "written by node");
        CHECK_STR(drain(to[0]), "written by node");
        brood_channel_disconnect(k->channel);
        RUN();
        unlink(unix_address.sun_path);
    }
}

static void answer_connection(talk *k) {
    const char *text = "";
    (void)brood_value_string(k->kept, &text, NULL);
    ENSURE(k->message->fd_count == (size_t)(strcmp(text, "server") == 0 || strcmp(text, "connection") == 0));
    if (strcmp(text, "connection") == 0)
        ENSURE(write(k->message->fds[0], "C", 1) == 1); /* and closed, when this returns */
    if (strcmp(text, "server closed") == 0)
        brood_channel_disconnect(k->channel);
}

/* Node's server closes only when it has heard of all the connections that it gave away */
TEST(handles_from_a_real_node_program) {
    const char *node = node_program();
    if (!node)
        SKIP("no node");
    for (int mode = BROOD_JSON; mode <= BROOD_ADVANCED; mode++) {
        TALK(k, .args = BROOD_ARGS(node, test_source("node/handles.js")), .serialization = mode);
        k->then = answer_connection;
        talk_send(t, k, "\"give\"");
        RUN();
        CHECK_HAS(k->log, "server ");
        CHECK_HAS(k->log, "connection ");
        CHECK_HAS(k->log, "client got C ");
        CHECK_HAS(k->log, "server closed disconnect(0) exit(0) ");
    }
}
