/**
 * What does one large message cost between a parent and its child, both in C?
 *
 *     copied   bytes that lie in memory already, through the socket
 *     sealed   the same, copied into a memfd
 *     shared   a brood_buffer that is filled already, used again and again
 *     built    the same, filled anew for each message: what a program does that builds in place
 *
 * The child reads every byte (`read`), or only takes the message (`unread`: the hand-over), and answers. The two
 * processes are pinned to different CPUs, if there are two.
 *
 *     bench-large copied|sealed|shared|built N BYTES read|unread
 */
#include "bench.h"

#include <brood.h>
#include <uv.h>

static bench_run run = {.c = 1};
static size_t size;
static bool reads, shares, builds;

static uint64_t sum_of(const char *bytes, size_t len) {
    uint64_t sum = 0, word;
    for (size_t i = 0; i + 8 <= len; i += 8) {
        memcpy(&word, bytes + i, 8);
        sum += word;
    }
    return sum;
}

/* --- the child --- */

static void child_got(brood_channel *channel, const brood_message *message, void *data) {
    const void *bytes;
    size_t len;
    char text[32];
    (void)data;
    if (brood_value_bytes(message->value, &bytes, &len) < 0 || len != size)
        bench_fail("child", "no bytes");
    snprintf(text, sizeof text, "%u", reads ? (unsigned)(sum_of(bytes, len) & 0xffffff) : 0);
    brood_channel_send_json(channel, text, BROOD_NUL);
}

static void child_done(brood_channel *channel, int error, void *data) {
    (void)data;
    if (error)
        bench_fail("child", strerror(-error));
    brood_channel_close(channel);
}

static int child_main(void) {
    brood_channel *channel;
    brood_failure why;
    brood_channel_options options = {.on_message = child_got, .on_disconnect = child_done, .max_message = size + 4096};
    bench_pin(1);
    if (brood_channel_open_parent(uv_default_loop(), &options, &channel, &why) < 0)
        bench_fail("brood_channel_open_parent", why.message);
    brood_channel_send_json(channel, "-1", BROOD_NUL); /* from now on the parent knows whose child this is */
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}

/* --- the parent --- */

static brood_channel *channel;
static brood_buffer *buffer;
static char *bytes;
static uint64_t since;
static unsigned left, built;

static void write_body(brood_writer *writer, void *data) {
    (void)data;
    if (shares)
        brood_writer_buffer(writer, buffer, size);
    else
        brood_writer_bytes(writer, bytes, size);
}

static void send_next(void) {
    left--;
    since = bench_now_ns();
    if (builds)
        memset(bytes, (int)++built, size);
    int r = brood_channel_send(channel, &(brood_body){.write = write_body}, NULL, NULL);
    if (r < 0)
        bench_fail("brood_channel_send", strerror(-r));
}

static void parent_got(brood_channel *c, const brood_message *message, void *data) {
    int64_t answer = 0;
    (void)c, (void)data;
    brood_value_int64(message->value, &answer);
    if (answer >= 0)
        bench_run_took(&run, since);
    if (left == 0 || answer < 0)
        uv_stop(uv_default_loop());
    else
        send_next();
}

int main(int argc, char **argv) {
    if (argc != 5)
        bench_fail("usage", "bench-large copied|sealed|shared|built N BYTES read|unread");
    run.variant = argv[4];
    run.peer = argv[1];
    run.n = bench_number(argv[2]);
    size = bench_number(argv[3]);
    reads = strcmp(argv[4], "read") == 0;
    if (strcmp(argv[1], "child") == 0)
        return child_main();
    bench_pin(0);
    builds = strcmp(argv[1], "built") == 0;
    shares = builds || strcmp(argv[1], "shared") == 0;
    /* a child that is not told whose it is gets copies, as Node would */
    const char *const *args = shares || strcmp(argv[1], "sealed") == 0
                                  ? BROOD_ARGS("/proc/self/exe", "child", argv[2], argv[3], argv[4])
                                  : BROOD_ARGS("sh", "-c", "unset BROOD_CHANNEL_PARENT; exec \"$0\" child \"$@\"",
                                               argv[0], argv[2], argv[3], argv[4]);
    if (shares && brood_buffer_new(size, &buffer) < 0)
        bench_fail("brood_buffer_new", "no memory");
    bytes = shares ? brood_buffer_bytes(buffer) : malloc(size);
    memset(bytes, 7, size);
    brood_failure why;
    brood_child *child;
    brood_options options = {.args = args, .serialization = BROOD_ADVANCED, .on_message = parent_got};
    if (brood_fork(uv_default_loop(), &options, &child, &why) < 0)
        bench_fail("brood_fork", why.message);
    channel = brood_child_channel(child);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT); /* until it is there */
    while (bench_next_round()) {
        bench_run_begin(&run);
        left = run.n;
        send_next();
        uv_run(uv_default_loop(), UV_RUN_DEFAULT);
        bench_run_end(&run, NULL);
    }
    brood_channel_disconnect(channel);
    brood_child_close(child);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    brood_buffer_done(buffer);
    return 0;
}
