/*
 * brood-peer: the child that speaks, for tests. Its arguments are a small script about its channel to its parent:
 *
 *     echo          send every message back; what the others say happens first
 *     send JSON     send this
 *     send-many N   send the numbers from 0 on
 *     raw HEX       write these bytes to the channel, past brood
 *     disconnect    disconnect, once what was said is sent
 *     serve         take requests; answer each three in reverse order: {text} by that text, others by an error
 *     deaf          never listen
 *     slow          pause, and read on when a byte comes on stdin
 *     env           print what is left of the channel's variables, and what a child of this process gets to see
 *     die           raise SIGKILL
 *     words         print "disconnect ERROR" when it comes
 */
#include <brood.h>
#include <uv.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool echoes, says;

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

static void got(brood_channel *channel, const brood_message *message, void *data) {
    (void)data;
    if (serves) {
        serve(channel, message);
        return;
    }
    int r = echoes ? brood_channel_send(channel, &(brood_body){.value = &message->value}, NULL, NULL) : 0;
    if (r < 0)
        fail("echo", r);
}

static void gone(brood_channel *channel, int error, void *data) {
    (void)data;
    if (says) {
        printf("disconnect %d\n", error);
        fflush(stdout);
    }
    brood_channel_close(channel);
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
static void write_raw(const char *hex) {
    unsigned char bytes[4096];
    unsigned byte;
    size_t len = 0;
    for (; len < sizeof bytes && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        bytes[len++] = (unsigned char)byte;
    if (write(3, bytes, len) != (ssize_t)len)
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

int main(int argc, char **argv) {
    brood_channel *channel;
    brood_failure why;
    bool deaf = false, slow = false;
    uv_loop_t *loop = uv_default_loop();
    for (int i = 1; i < argc; i++) {
        deaf = deaf || strcmp(argv[i], "deaf") == 0;
        slow = slow || strcmp(argv[i], "slow") == 0;
        echoes = echoes || strcmp(argv[i], "echo") == 0;
        serves = serves || strcmp(argv[i], "serve") == 0;
        says = says || strcmp(argv[i], "words") == 0;
        if (strcmp(argv[i], "raw") == 0 && i + 1 < argc)
            write_raw(argv[i + 1]);
    }
    brood_channel_options options = {
        .on_message = deaf ? NULL : got, .on_disconnect = deaf ? NULL : gone, .max_message = 256 << 20};
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
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "send") == 0)
            r = brood_channel_send_json(channel, argv[++i], BROOD_NUL);
        else if (strcmp(argv[i], "send-many") == 0)
            send_many(channel, atoi(argv[++i]));
        else if (strcmp(argv[i], "disconnect") == 0)
            brood_channel_disconnect(channel);
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
