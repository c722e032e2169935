/*
 * brood-peer: the child that speaks, for tests. Its arguments are a small script about its channel to its parent:
 *
 *     echo          send every message back, with its descriptors; what the others say happens first
 *     use           write "used I of N" into each descriptor of a message, or into the first connection to one that
 *                   listens, and send N back
 *     answer        answer each request with "back" and its own descriptors
 *     give N        send "given" with the reading ends of N pipes, in which is "pipe I"
 *     full          have no descriptor left
 *     send JSON     send this
 *     send-many N   send the numbers from 0 on
 *     raw HEX       write these bytes to the channel, past brood
 *     raw-fd HEX    the same, with a descriptor
 *     disconnect    disconnect, once what was said is sent
 *     serve         take requests; answer each three in reverse order: {text} by that text, others by an error
 *     deaf          never listen
 *     late          listen when a byte comes on stdin
 *     close         close the channel, once what was said is sent
 *     slow          pause, and read on when a byte comes on stdin
 *     env           print what is left of the channel's variables, and what a child of this process gets to see
 *     die           raise SIGKILL
 *     worker        alone: brood_worker_main, which gives back a task's "data"
 *     words         print "disconnect ERROR" when it comes, and "sent ERROR" of what was given
 */
#include <brood.h>
#include <uv.h>

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static bool echoes, says, uses, answers;

static void fail(const char *what, int error) {
    fprintf(stderr, "brood-peer: %s: %s\n", what, strerror(-error));
    _exit(99);
}

static brood_request *taken[3];
static brood_value tasks[3];
static int taken_count;
static bool serves;

static void serve(brood_channel *channel, const brood_message *message) {
    if (brood_request_take(channel, message, &taken[taken_count]) < 0)
        fail("take", -1);
    brood_value_take(message->value, &tasks[taken_count++]);
    if (taken_count < 3)
        return;
    while (taken_count-- > 0) {
        brood_value text = brood_value_get(tasks[taken_count], "text");
        if (brood_value_type(text) == BROOD_MISSING)
            brood_request_fail(taken[taken_count], "no text");
        else
            brood_request_reply(taken[taken_count], &(brood_body){.value = &text});
        brood_value_done(&tasks[taken_count]);
    }
    taken_count = 0;
}

static void use(int fd, size_t index, size_t count) {
    int listens = 0;
    socklen_t len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens) {
        poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10000);
        int connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        dprintf(connection, "used %zu of %zu", index, count);
        close(connection);
    } else {
        dprintf(fd, "used %zu of %zu", index, count);
    }
}

static void use_all(brood_channel *channel, const brood_message *message) {
    char text[32];
    for (size_t i = 0; i < message->fd_count; i++)
        use(message->fds[i], i, message->fd_count);
    snprintf(text, sizeof text, "%zu", message->fd_count);
    if (brood_channel_send_json(channel, text, BROOD_NUL) < 0)
        fail("use", -1);
}

static void got(brood_channel *channel, const brood_message *message, void *data) {
    (void)data;
    if (serves) {
        serve(channel, message);
        return;
    }
    brood_request *request;
    if (answers && brood_request_take(channel, message, &request) == 0) {
        brood_request_reply(request, &(brood_body){.json = "\"back\"",
                                                   .json_len = BROOD_NUL,
                                                   .fds = message->fds,
                                                   .fd_count = message->fd_count});
        return;
    }
    if (uses)
        use_all(channel, message);
    brood_body body = {.value = &message->value, .fds = message->fds, .fd_count = message->fd_count};
    int r = echoes ? brood_channel_send(channel, &body, NULL, NULL) : 0;
    if (r < 0 && r != -EPIPE) /* whoever reads the answers may leave */
        fail("echo", r);
}

static void sent(brood_channel *channel, int error, void *data) {
    (void)channel, (void)data;
    if (says) {
        printf("sent %d\n", error);
        fflush(stdout);
    }
}

static int give(brood_channel *channel, int count) {
    int pipes[300][2], ends[300];
    for (int i = 0; i < count; i++) {
        if (pipe2(pipes[i], O_CLOEXEC) < 0)
            fail("pipe2", -1);
        dprintf(pipes[i][1], "pipe %d", i);
        close(pipes[i][1]);
        ends[i] = pipes[i][0];
    }
    brood_body body = {.json = "\"given\"", .json_len = BROOD_NUL, .fds = ends, .fd_count = (size_t)count};
    int r = brood_channel_send(channel, &body, sent, NULL);
    for (int i = 0; i < count; i++)
        close(ends[i]);
    return r;
}

static void gone(brood_channel *channel, int error, void *data) {
    (void)data;
    if (says) {
        printf("disconnect %d\n", error);
        fflush(stdout);
    }
    brood_channel_close(channel);
}

static void listen_now(uv_poll_t *input, int status, int events) {
    (void)status, (void)events;
    brood_channel_listen(input->data, got, NULL);
    uv_close((uv_handle_t *)input, NULL);
}

static void send_many(brood_channel *channel, int count) {
    char text[32];
    for (int i = 0; i < count; i++) {
        snprintf(text, sizeof text, "%d", i);
        if (brood_channel_send_json(channel, text, BROOD_NUL) < 0)
            fail("send", -1);
    }
}

/* In one write: the other end may close at the first of them. */
static void write_raw(const char *hex, bool with_fd) {
    union {
        struct cmsghdr head;
        char bytes[CMSG_SPACE(sizeof(int))]; /* descriptor 0 goes */
    } control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    unsigned char bytes[4096];
    unsigned byte;
    size_t len = 0;
    for (; len < sizeof bytes && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        bytes[len++] = (unsigned char)byte;
    struct iovec part = {.iov_base = bytes, .iov_len = len};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (with_fd) {
        message.msg_control = &control;
        message.msg_controllen = sizeof control;
    }
    if (sendmsg(3, &message, 0) != (ssize_t)len)
        _exit(98);
}

static void print_env(void) {
    brood_result result;
    static const char *const names[] = {"NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE"};
    for (int i = 0; i < 2; i++)
        printf("%s %s\n", names[i], getenv(names[i]) ? getenv(names[i]) : "(none)");
    brood_exec_sync("env | grep -c NODE_CHANNEL; ls /proc/self/fd | wc -l", NULL, &result);
    printf("%s", result.out.bytes);
    fflush(stdout);
    brood_result_done(&result);
}

static int give_back(brood_value task, brood_writer *result, void *data) {
    (void)data;
    brood_writer_value(result, brood_value_get(task, "data"));
    return 0;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "worker") == 0)
        return brood_worker_main(give_back, NULL);
    brood_channel *channel;
    brood_failure why;
    uv_poll_t input;
    bool deaf = false, slow = false, late = false;
    uv_loop_t *loop = uv_default_loop();
    for (int i = 1; i < argc; i++) {
        deaf = deaf || strcmp(argv[i], "deaf") == 0;
        late = late || strcmp(argv[i], "late") == 0;
        slow = slow || strcmp(argv[i], "slow") == 0;
        echoes = echoes || strcmp(argv[i], "echo") == 0;
        serves = serves || strcmp(argv[i], "serve") == 0;
        says = says || strcmp(argv[i], "words") == 0;
        uses = uses || strcmp(argv[i], "use") == 0;
        answers = answers || strcmp(argv[i], "answer") == 0;
        if (strncmp(argv[i], "raw", 3) == 0 && i + 1 < argc)
            write_raw(argv[i + 1], strcmp(argv[i], "raw-fd") == 0);
    }
    brood_channel_options options = {
        .on_message = deaf || late ? NULL : got, .on_disconnect = deaf ? NULL : gone, .max_message = 256 << 20};
    int r = brood_channel_open_parent(loop, &options, &channel, &why);
    if (r < 0) {
        fprintf(stderr, "brood-peer: %s\n", why.message);
        return 97;
    }
    if (slow) {
        char byte;
        brood_channel_pause(channel);
        if (read(0, &byte, 1) < 0)
            return 96;
        brood_channel_resume(channel);
    }
    if (late) {
        uv_poll_init(loop, &input, 0);
        input.data = channel;
        uv_poll_start(&input, UV_READABLE, listen_now);
    }
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "send") == 0)
            r = brood_channel_send_json(channel, argv[++i], BROOD_NUL);
        else if (strcmp(argv[i], "send-many") == 0)
            send_many(channel, atoi(argv[++i]));
        else if (strcmp(argv[i], "give") == 0)
            r = give(channel, atoi(argv[++i]));
        else if (strcmp(argv[i], "full") == 0)
            while (open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0)
                ;
        else if (strcmp(argv[i], "disconnect") == 0)
            brood_channel_disconnect(channel);
        else if (strcmp(argv[i], "close") == 0)
            brood_channel_close(channel);
        else if (strcmp(argv[i], "env") == 0)
            print_env();
        else if (strcmp(argv[i], "die") == 0)
            raise(SIGKILL);
        if (r < 0)
            fail(argv[i - 1], r);
    }
    uv_run(loop, UV_RUN_DEFAULT);
    if (deaf)
        brood_channel_close(channel);
    uv_run(loop, UV_RUN_DEFAULT);
    r = uv_loop_close(loop);
    if (r < 0)
        fail("uv_loop_close", r);
    return 0;
}
