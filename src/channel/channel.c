/*
 * A channel: frames in and out of one socket. What is sent in one turn of the loop is gathered in one buffer, and leaves
 * in one write when the outermost callback has returned. What comes is read into the buffer that all the loop's streams
 * share, and told from there; only what is incomplete, or that nobody listens to yet, is kept. Hard are the ends: any
 * callback may close the channel, and what the other end sent before it went is still told.
 */
#include "channel/channel.h"

#include "base/fault.h"
#include "base/sys.h"

#include <errno.h>

#define HIGH_WATER (128 * 1024)
#define MAX_QUEUED (256 * 1024 * 1024)
#define READS_PER_TURN 16 /* then the others get their turn */
#define TURNS_AT_ONCE 64  /* of a child that is gone: what its socket holds, and what others who hold it add */

static void ready(brood__watch *watch);
static void run_later(brood__post *post);

void brood__channel_init(brood_channel *c, brood__loop *loop, const brood_channel_options *o,
                         brood_serialization serialization, const brood__channel_owner *owner, void *owner_data) {
    c->loop = loop;
    c->watch = (brood__watch){.loop = loop, .ready = ready, .fd = -1};
    c->owner = owner;
    c->owner_data = owner_data;
    c->in.advanced = c->out.advanced = serialization == BROOD_ADVANCED;
    c->out.max_len = BROOD__MAX_PAYLOAD;
    c->in.max_len = o->max_message ? o->max_message : BROOD__MAX_MESSAGE;
    c->max_values = o->max_values ? o->max_values : BROOD__MAX_VALUES;
    c->high_water = o->high_water ? o->high_water : HIGH_WATER;
    c->max_queued = o->max_queued ? o->max_queued : MAX_QUEUED;
    c->on_message = o->on_message;
    c->on_disconnect = o->on_disconnect;
    c->on_drain = o->on_drain;
    c->data = o->data;
    brood__arrivals_init(&c->arrivals);
    brood__list_init(&c->sends);
    brood__list_init(&c->envelopes);
    brood__list_init(&c->unanswered);
    brood__list_init(&c->finished);
    brood__list_init(&c->later.node);
    c->later.run = run_later;
    brood__requests_init(&c->requests);
}

void brood__channel_done(brood_channel *c) {
    brood__requests_done(c);
    brood__frames_done(&c->in);
    brood__arrivals_drop(&c->arrivals, UINT64_MAX);
    brood__document_done(&c->document);
    brood__writer_done(&c->out);
}

void brood__channel_run_soon(brood_channel *c) {
    if (brood__list_empty(&c->later.node))
        brood__loop_later(c->loop, &c->later);
}

static bool is_open(const brood_channel *c) {
    return c->watch.fd >= 0;
}

/* --- what is waited for --- */

/* Node's rules: a parent's end is waited for, a child's while somebody listens or something is still to leave. */
static bool keeps_alive(const brood_channel *c) {
    if (c->ref_is_set)
        return c->ref;
    return c->owner || (!c->closed && (c->on_message || c->on_disconnect)) || brood__channel_unsent(c) > 0 ||
           !brood__list_empty(&c->requests.waiting) || !brood__list_empty(&c->unanswered);
}

static bool wants_to_read(const brood_channel *c) {
    return brood__channel_is_live(c) && !c->ended && !c->paused &&
           (c->on_message || c->in.len - c->in.at <= c->in.max_len);
}

static void update_watch(brood_channel *c) {
    uint32_t events = (wants_to_read(c) ? EPOLLIN : 0) | (c->blocked ? EPOLLOUT : 0);
    if (!is_open(c))
        return;
    if (c->watch.waiting && c->watch.events != events)
        brood__watch_stop(&c->watch);
    brood__watch_set_ref(&c->watch, keeps_alive(c));
    c->watch.events = events;
    int r = events ? brood__watch_start(&c->watch) : 0;
    if (r < 0)
        brood__channel_close(c, r);
}

/* --- the end --- */

void brood__channel_close(brood_channel *c, int error) {
    if (c->state >= BROOD__CHANNEL_CLOSED)
        return;
    c->state = BROOD__CHANNEL_CLOSED;
    c->error = error;
    brood__channel_drop_queue(c, -ECANCELED);
    brood__channel_end_unanswered(c, -ECANCELED);
    brood__requests_end(c);
    if (is_open(c)) {
        brood__watch_stop(&c->watch);
        brood__close(c->watch.fd);
        c->watch.fd = -1;
    }
    brood__channel_run_soon(c);
}

void brood__channel_silence(brood_channel *c, bool all) {
    c->closed = true;
    c->silent = c->silent || all;
}

/* Both directions are at their end, but for what the host has paused. */
static void close_if_done(brood_channel *c) {
    if (!brood__channel_is_live(c) || !c->ended || brood__channel_is_held(c))
        return;
    if (brood__channel_unsent(c) == 0 || c->mute)
        brood__channel_close(c, c->error);
    else
        brood__channel_run_soon(c); /* the other end has shut down, and may still read */
}

/* The other end will send no more. What was told to nobody yet waits for whoever resumes it. */
static void see_end(brood_channel *c, int error) {
    c->ended = true;
    c->error = error == -ECONNRESET ? 0 : error;
    if (c->error)
        brood__channel_drop_queue(c, -EPIPE);
    brood__channel_end_unanswered(c, -EPIPE);
    if (c->state == BROOD__CHANNEL_OPEN)
        c->state = BROOD__CHANNEL_ENDING;
    close_if_done(c);
}

bool brood__channel_is_held(const brood_channel *c) {
    return c->paused && brood__channel_is_live(c) && c->in.len > c->in.at;
}

/* --- reading --- */

void brood__channel_meets_brood(brood_channel *c) {
    c->to_brood = true;
    brood__expect_shared(&c->document, c->in.advanced);
}

static int read_value(brood_channel *c, const brood__frame *frame) {
    c->document.max_nodes = c->max_values < UINT32_MAX ? (uint32_t)c->max_values : UINT32_MAX;
    return brood__frame_read(&c->in, frame, &c->document);
}

/* Whether somebody took it. */
static bool tell_user(brood_channel *c, const brood_message *message) {
    if (!brood__list_empty(&c->requests.waiting) && brood__requests_answer(c, message))
        return true;
    if (!c->on_message || c->closed)
        return false;
    c->on_message(c, message, c->data);
    return true;
}

/* Between the two ends, but for an envelope. */
static void do_internal(brood_channel *c, brood__internal what, brood_value value) {
    switch (what) {
    case BROOD__ACK:
        brood__channel_take_answer(c, 0);
        break;
    case BROOD__NACK:
        brood__channel_take_answer(c, -EREMOTEIO);
        break;
    case BROOD__HELLO:
        brood__channel_meets_brood(c);
        break;
    case BROOD__NOTIFY_CLOSE:
        brood__channel_say(c, BROOD__ALL_CLOSED, brood_value_get(value, "key"));
        break;
    case BROOD__GET_COUNT:
        brood__channel_say(c, BROOD__COUNT, brood_value_get(value, "key"));
        break;
    default:
        break;
    }
}

/* An envelope is opened. Whoever sent descriptors, its or those of shared bytes, hears what became of them. */
static void tell_more_than_value(brood_channel *c, brood__internal internal, uint64_t begin, uint64_t end) {
    brood_message message = {.value = {&c->document, 0}};
    bool envelope = internal == BROOD__ENVELOPE, taken = true;
    brood__arrival *arrival;
    size_t count = 0;
    if (envelope)
        message.value = brood__envelope_open(message.value, &count);
    int r = brood__arrivals_for(&c->arrivals, begin, end, count, &c->document, &arrival);
    if (r < 0) {
        brood__channel_close(c, r);
        return;
    }
    if (arrival) {
        message.fds = arrival->fds;
        message.fd_count = arrival->count;
        internal = brood__internal_of(message.value);
    }
    if (internal == BROOD__NOT_INTERNAL && brood__channel_is_live(c))
        taken = tell_user(c, &message);
    else if (!envelope && end > c->acted && end - begin <= BROOD__MAX_INTERNAL)
        do_internal(c, internal, message.value);
    if (envelope)
        brood__channel_say(c, arrival && taken ? BROOD__ACK : BROOD__NACK, (brood_value){0});
    else if (c->document.shared_count > 0)
        brood__channel_say(c, BROOD__ACK, (brood_value){0});
    brood__arrival_done(arrival);
    brood__arrivals_drop(&c->arrivals, end);
}

static void tell_value(brood_channel *c, uint64_t begin, uint64_t end) {
    brood_message message = {.value = {&c->document, 0}};
    brood__internal internal = brood__internal_of(message.value);
    if (c->owner && c->owner->on_activity)
        c->owner->on_activity(c);
    bool plain =
        internal == BROOD__NOT_INTERNAL && c->document.shared_count == 0 && brood__list_empty(&c->arrivals.list);
    if (plain && brood__channel_is_live(c))
        tell_user(c, &message); /* most are that and no more */
    else
        tell_more_than_value(c, internal, begin, end);
}

/* `end`: where it ends in the stream. */
static void tell_message(brood_channel *c, const brood__frame *frame, uint64_t end) {
    int r = read_value(c, frame);
    if (r < 0)
        brood__channel_close(c, r);
    else
        tell_value(c, end - brood__frame_size(&c->in, frame), end);
    brood__document_reset(&c->document);
}

static bool may_tell(const brood_channel *c) {
    return brood__channel_is_live(c) && !c->paused &&
           (c->on_message || c->closed || !brood__list_empty(&c->requests.waiting));
}

/* Tell what is whole; *at is then behind it. Returns how much the next one needs. */
static size_t tell_frames(brood_channel *c, char *bytes, size_t len, size_t *at) {
    size_t need = 0;
    brood__frame frame;
    while (may_tell(c)) {
        int r = brood__frame_next(&c->in, bytes, len, at, &frame, &need);
        if (r < 0)
            brood__channel_close(c, r);
        if (r <= 0)
            break;
        tell_message(c, &frame, c->arrivals.received - (len - *at));
    }
    return need;
}

/* What came earlier. */
static size_t tell_kept(brood_channel *c) {
    size_t need = 0;
    if (c->in.len > c->in.at) {
        need = tell_frames(c, c->in.bytes, c->in.len, &c->in.at);
        brood__frames_compact(&c->in);
    }
    return need;
}

/* The same frame may be looked at again: what is read is a copy. */
static void act_upon(brood_channel *c, const brood__frame *frame) {
    char copy[BROOD__MAX_INTERNAL + BROOD__FRAME_SLACK] = {0};
    brood__frame small = {.payload = copy, .len = frame->len};
    memcpy(copy, frame->payload, frame->len);
    if (read_value(c, &small) == 0) { /* else it ends the channel when it is told */
        brood_value value = {&c->document, 0};
        do_internal(c, brood__internal_of(value), value);
    }
    brood__document_reset(&c->document);
}

/*
 * What the two ends say to each other is acted upon while nobody listens, too: an answer may be among what waits, or
 * the other end may wait for one. Envelopes are not: whoever has taken what is in them answers.
 */
static void act_ahead(brood_channel *c) {
    uint64_t kept_from = c->arrivals.received - (c->in.len - c->in.at);
    brood__frames ahead = c->in;
    brood__frame frame;
    size_t need;
    if (c->acted < kept_from) {
        c->acted = kept_from;
        c->acted_scanned = 0;
    }
    ahead.at = c->in.at + (size_t)(c->acted - kept_from);
    ahead.scanned = c->acted_scanned;
    while (brood__channel_is_live(c) && brood__frame_next(&ahead, c->in.bytes, c->in.len, &ahead.at, &frame, &need) > 0)
        if (brood__frame_size(&ahead, &frame) <= BROOD__MAX_INTERNAL && memmem(frame.payload, frame.len, "NODE_", 5))
            act_upon(c, &frame);
    c->acted = kept_from + (ahead.at - c->in.at);
    c->acted_scanned = ahead.scanned;
}

/* What is there, and the descriptors that come with it. */
static ssize_t receive(brood_channel *c, char *buffer, size_t size) {
    int kept;
    ssize_t n = brood__arrivals_receive(&c->arrivals, c->watch.fd, buffer, size, &kept);
    if (kept < 0)
        brood__channel_close(c, kept);
    return n;
}

/* Into the buffer that all share; what is left over is kept. */
static ssize_t read_shared(brood_channel *c) {
    char *buffer = c->loop->read_buffer;
    size_t at = 0;
    ssize_t n = receive(c, buffer, BROOD__READ_BUFFER_SIZE);
    if (n <= 0)
        return n;
    memset(buffer + n, 0, BROOD__READ_BUFFER_SLACK);
    tell_frames(c, buffer, (size_t)n, &at);
    if (brood__channel_is_live(c) && at < (size_t)n) {
        int r = brood__frames_keep(&c->in, buffer + at, (size_t)n - at);
        if (r < 0)
            brood__channel_close(c, r);
    }
    return n;
}

/* Behind what is kept already. */
static ssize_t read_on(brood_channel *c, size_t need) {
    ssize_t room = brood__frames_make_room(&c->in, need);
    if (room < 0) {
        brood__channel_close(c, (int)room);
        return -EAGAIN;
    }
    ssize_t n = receive(c, c->in.bytes + c->in.len, (size_t)room);
    if (n > 0) {
        brood__frames_read(&c->in, (size_t)n);
        tell_kept(c);
    }
    return n;
}

/* Whether there may be more. */
static bool read_some(brood_channel *c) {
    bool more = true;
    c->reading = true;
    size_t need = tell_kept(c);
    for (int i = 0; i < READS_PER_TURN && wants_to_read(c); i++) {
        bool kept = c->in.len > c->in.at;
        ssize_t n = kept ? read_on(c, need) : read_shared(c);
        more = n > 0;
        if (n <= 0) {
            if (n != -EAGAIN)
                see_end(c, (int)n);
            break;
        }
        if (!may_tell(c) && brood__channel_is_live(c))
            act_ahead(c);
        if (n < BROOD__READ_BUFFER_SIZE && !kept && !c->arrivals.came)
            break; /* most likely empty now; if not, the poll says so */
    }
    c->reading = false;
    return more;
}

void brood__channel_drop(brood_channel *c) {
    brood__channel_close(c, -ECANCELED);
    brood__list_remove(&c->later.node);
    brood__channel_tell_sent(c);
    brood__requests_tell(c);
    c->closed = true;
    c->state = BROOD__CHANNEL_TOLD;
    c->done = true;
}

/* --- what libuv calls --- */

static void tell_disconnect(brood_channel *c) {
    c->state = BROOD__CHANNEL_TOLD;
    if (c->on_disconnect && !c->closed)
        c->on_disconnect(c, c->error, c->data);
    brood__channel_tell_sent(c);
}

/* Both for what was put off, and for what the socket has. */
static void go_on(brood_channel *c) {
    brood__channel_pin(c);
    if (brood__channel_is_live(c))
        brood__channel_send_some(c);
    brood__channel_tell_sent(c);
    brood__requests_tell(c);
    brood__channel_tell_drain(c);
    if (brood__channel_unsent(c) == 0)
        close_if_done(c);
    update_watch(c);
    brood__channel_unpin(c);
}

static void run_later(brood__post *post) {
    brood_channel *c = BROOD__OUTER(post, brood_channel, later);
    brood__channel_pin(c);
    if (may_tell(c) && c->in.len > c->in.at)
        tell_kept(c);
    go_on(c);
    if (c->state == BROOD__CHANNEL_CLOSED && brood__list_empty(&c->later.node))
        tell_disconnect(c);
    brood__channel_unpin(c);
}

static void ready(brood__watch *watch) {
    brood_channel *c = BROOD__OUTER(watch, brood_channel, watch);
    brood__channel_pin(c);
    c->blocked = false;
    if (wants_to_read(c))
        read_some(c);
    if (brood__channel_unsent(c) > 0)
        brood__channel_run_soon(c); /* with what the callbacks of this turn still send */
    else
        update_watch(c);
    brood__channel_unpin(c);
}

void brood__channel_read_now(brood_channel *c) {
    brood__channel_pin(c);
    for (int i = 0; i < TURNS_AT_ONCE && wants_to_read(c) && is_open(c) && !c->reading; i++)
        if (!read_some(c))
            break;
    if (brood__channel_is_live(c) && c->ended) { /* if nobody is left to read it either, that ends it */
        brood__channel_send_some(c);
        close_if_done(c);
    }
    if (c->state == BROOD__CHANNEL_CLOSED && !c->reading) {
        brood__list_remove(&c->later.node);
        run_later(&c->later);
    }
    brood__channel_unpin(c);
}

int brood__channel_attach(brood_channel *c, int fd) {
    c->watch.fd = fd;
    c->watch.events = EPOLLIN;
    brood__watch_set_ref(&c->watch, keeps_alive(c));
    int r = brood__watch_start(&c->watch);
    if (r < 0) {
        c->watch.fd = -1;
        return r;
    }
    bool ends = c->state == BROOD__CHANNEL_ENDING;
    if (c->state == BROOD__CHANNEL_WAITING)
        c->state = BROOD__CHANNEL_OPEN;
    if (ends || brood__channel_unsent(c) > 0)
        brood__channel_run_soon(c);
    return 0;
}

/* --- what the user calls --- */

brood_serialization brood_channel_serialization(const brood_channel *c) {
    return c->out.advanced ? BROOD_ADVANCED : BROOD_JSON;
}

bool brood_channel_peer_is_brood(const brood_channel *c) {
    return c->to_brood;
}

bool brood_channel_connected(const brood_channel *c) {
    return c->state <= BROOD__CHANNEL_OPEN && !c->closed;
}

void *brood_channel_data(const brood_channel *c) {
    return c->data;
}

void brood_channel_listen(brood_channel *c, brood_on_message on_message, void *data) {
    c->on_message = on_message;
    c->data = data;
    if (may_tell(c) && !c->reading)
        brood__channel_run_soon(c);
    update_watch(c);
}

void brood_channel_pause(brood_channel *c) {
    c->paused = true;
    update_watch(c);
}

void brood_channel_resume(brood_channel *c) {
    c->paused = false;
    if (brood__channel_is_live(c) && !c->reading)
        brood__channel_run_soon(c);
    update_watch(c);
}

void brood_channel_disconnect(brood_channel *c) {
    if (c->state > BROOD__CHANNEL_OPEN)
        return;
    c->state = BROOD__CHANNEL_ENDING;
    if (is_open(c))
        brood__channel_run_soon(c);
    update_watch(c);
}

static void set_ref(brood_channel *c, bool ref) {
    c->ref_is_set = true;
    c->ref = ref;
    brood__watch_set_ref(&c->watch, ref);
}

void brood_channel_ref(brood_channel *c) {
    set_ref(c, true);
}

void brood_channel_unref(brood_channel *c) {
    set_ref(c, false);
}

/* --- memory --- */

bool brood__channel_is_done(const brood_channel *c) {
    return c->state == BROOD__CHANNEL_TOLD && c->pins == 0 && brood__list_empty(&c->later.node);
}

void brood__channel_pin(brood_channel *c) {
    c->pins++;
}

/* A child's own end goes with its last callback; a parent's with its child. */
void brood__channel_unpin(brood_channel *c) {
    c->pins--;
    if (!brood__channel_is_done(c))
        return;
    if (c->owner) {
        bool first = !c->done;
        c->done = true;
        c->owner->on_done(c, first);
        return;
    }
    if (!c->closed)
        return;
    brood__loop *loop = c->loop;
    brood__list_remove(&c->part.node);
    brood__channel_done(c);
    brood__free(c);
    brood__loop_rest(loop);
    brood__loop_release(loop);
}

void brood_channel_close(brood_channel *c) {
    if (!c || c->owner || c->closed)
        return;
    brood__channel_pin(c);
    brood__channel_silence(c, false);
    brood_channel_disconnect(c);
    if (c->state == BROOD__CHANNEL_ENDING)
        brood__channel_run_soon(c);
    brood__channel_unpin(c);
}
