/* A worker's main: no loop, one task at a time, an answer for each. The work may block, crash, or never end. */
#include "channel/channel.h"

#include "base/sys.h"

#include <errno.h>
#include <poll.h>

#define RETRY_MS 10

typedef struct worker {
    int fd;
    brood_work work;
    void *data;
    brood__frames in;
    brood__arrivals arrivals;
    brood__document document;
    brood_writer out;
} worker;

static void wait_for(int fd, short events) {
    poll(&(struct pollfd){.fd = fd, .events = events}, 1, -1);
}

/* All of it; -EPIPE: nobody reads any more. */
static int send_out(worker *w) {
    size_t sent = 0;
    while (sent < w->out.len) {
        const char *bytes = w->out.bytes + sent;
        size_t len = w->out.len - sent;
        uint32_t count = w->out.shared_count;
        ssize_t n =
            count > 0 ? brood__send_fds(w->fd, bytes, len, w->out.shared, count) : brood__send(w->fd, bytes, len);
        if (n == -EAGAIN) { /* whoever made the socket shares its flags */
            wait_for(w->fd, POLLOUT);
            continue;
        }
        if (n == -ETOOMANYREFS || n == -ENOBUFS || n == -ENOMEM) { /* others have so many under way */
            poll(NULL, 0, RETRY_MS);
            continue;
        }
        if (n < 0)
            return n == -ECONNRESET ? -EPIPE : (int)n; /* gone, with something of ours unread */
        sent += (size_t)n;
        brood__writer_unshare(&w->out);
    }
    w->out.len = 0;
    brood__writer_trim(&w->out);
    return 0;
}

/* `{id,` and that key. */
static void begin_answer(worker *w, brood_value task, const char *key) {
    brood_value id = brood_value_get(task, "id");
    brood__frame_begin(&w->out);
    brood_writer_object(&w->out);
    if (brood_value_type(id) != BROOD_MISSING) {
        brood_writer_key(&w->out, "id");
        brood_writer_value(&w->out, id);
    }
    brood_writer_key(&w->out, key);
}

static int end_answer(worker *w) {
    brood_writer_end(&w->out);
    return brood__frame_end(&w->out);
}

static int answer(worker *w, brood_value task) {
    begin_answer(w, task, "result");
    int r = w->work(task, &w->out, w->data);
    if (r >= 0) {
        if (brood__writer_is_due(&w->out))
            brood_writer_null(&w->out);
        r = end_answer(w);
    }
    if (r < 0) {
        w->out.len = 0;
        begin_answer(w, task, "error");
        brood_writer_string(&w->out, r == -EPROTOTYPE ? "a value of the wrong type" : strerror(-r), BROOD_NUL);
        r = end_answer(w);
    }
    return r < 0 ? r : send_out(w);
}

static int say(worker *w, brood__internal what) {
    int r = brood__say(&w->out, what, (brood_value){0});
    return r < 0 ? r : send_out(w);
}

static int do_value(worker *w, uint64_t begin, uint64_t end) {
    brood_value task = {&w->document, 0};
    brood__arrival *arrival;
    size_t count = 0;
    brood__internal internal = brood__internal_of(task);
    if (internal == BROOD__ENVELOPE)
        brood__envelope_open(task, &count);
    int r = brood__arrivals_for(&w->arrivals, begin, end, count, &w->document, &arrival);
    if (r < 0)
        return r;
    brood__arrival_done(arrival); /* work has no use for it */
    brood__arrivals_drop(&w->arrivals, end);
    if (internal == BROOD__ENVELOPE) /* or Node waits for ever, and holds back all that it sends */
        return say(w, BROOD__NACK);
    if (internal != BROOD__NOT_INTERNAL)
        return 0;
    r = w->document.shared_count > 0 ? say(w, BROOD__ACK) : 0;
    return r < 0 ? r : answer(w, task);
}

static int do_frame(worker *w, const brood__frame *frame) {
    uint64_t end = w->arrivals.received - (w->in.len - w->in.at);
    int r = brood__frame_read(&w->in, frame, &w->document);
    if (r == 0)
        r = do_value(w, end - brood__frame_size(&w->in, frame), end);
    brood__document_reset(&w->document); /* what is mapped goes now, not with the next task */
    return r;
}

/* 1: go on; 0: the parent has disconnected. */
static int read_more(worker *w, size_t need) {
    ssize_t room = brood__frames_make_room(&w->in, need);
    if (room < 0)
        return (int)room;
    int kept;
    ssize_t n = brood__arrivals_receive(&w->arrivals, w->fd, w->in.bytes + w->in.len, (size_t)room, &kept);
    if (n == -EAGAIN) {
        wait_for(w->fd, POLLIN);
        return 1;
    }
    if (n <= 0)
        return n == -ECONNRESET ? 0 : (int)n;
    brood__frames_read(&w->in, (size_t)n);
    return kept < 0 ? kept : 1;
}

static int run(worker *w) {
    for (;;) {
        brood__frame frame;
        size_t need = 0;
        int r = brood__frame_next(&w->in, w->in.bytes, w->in.len, &w->in.at, &frame, &need);
        if (r > 0) {
            r = do_frame(w, &frame);
            if (r < 0)
                return r == -EPIPE ? 0 : r;
            continue;
        }
        brood__frames_compact(&w->in);
        if (r == 0)
            r = read_more(w, need);
        if (r <= 0)
            return r;
    }
}

static int meet_brood(worker *w) {
    brood__share_bytes(&w->out, 0);
    brood__expect_shared(&w->document, w->in.advanced);
    return say(w, BROOD__HELLO);
}

int brood_worker_main(brood_work work, void *data) {
    brood_serialization serialization;
    worker w = {.work = work, .data = data};
    w.fd = brood__channel_find_parent(&serialization, NULL);
    if (w.fd < 0)
        return w.fd;
    bool parent_is_brood = brood__channel_parent_is_brood(w.fd);
    brood__channel_forget_parent();
    w.in.advanced = w.out.advanced = serialization == BROOD_ADVANCED;
    w.out.max_len = BROOD__MAX_PAYLOAD;
    w.in.max_len = BROOD__MAX_MESSAGE;
    w.document.max_nodes = BROOD__MAX_VALUES;
    brood__arrivals_init(&w.arrivals);
    int r = parent_is_brood ? meet_brood(&w) : 0;
    if (r == 0)
        r = run(&w);
    brood__arrivals_drop(&w.arrivals, UINT64_MAX);
    brood__close(w.fd);
    brood__frames_done(&w.in);
    brood__document_done(&w.document);
    brood__writer_done(&w.out);
    return r;
}
