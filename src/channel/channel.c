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
#include <sys/socket.h>

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

static bool is_live(const brood_channel *c) {
    return c->state == BROOD__CHANNEL_OPEN || c->state == BROOD__CHANNEL_ENDING;
}

static size_t queued(const brood_channel *c) {
    return c->out.len - c->sent;
}

/* --- what is waited for --- */

/* Node's rules: a parent's end is waited for, a child's while somebody listens or something is still to leave. */
static bool keeps_alive(const brood_channel *c) {
    if (c->ref_is_set)
        return c->ref;
    return c->owner || c->on_message || c->on_disconnect || queued(c) > 0 || !brood__list_empty(&c->requests.waiting) ||
           !brood__list_empty(&c->unanswered);
}

static bool wants_to_read(const brood_channel *c) {
    return is_live(c) && !c->ended && !c->paused && (c->on_message || c->in.len - c->in.at <= c->in.max_len);
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

static brood__parcel *first_parcel(const brood__list *list) {
    return brood__list_empty(list) ? NULL : BROOD__OUTER(list->next, brood__parcel, node);
}

static void finish_parcel(brood_channel *c, brood__parcel *parcel, int error) {
    brood__list_remove(&parcel->node);
    brood__parcel_close_fds(parcel);
    parcel->error = error;
    brood__list_append(&c->finished, &parcel->node);
    brood__channel_run_soon(c);
}

static void finish_all(brood_channel *c, brood__list *list, int error) {
    while (!brood__list_empty(list))
        finish_parcel(c, first_parcel(list), error);
}

static void finish_sent(brood_channel *c) {
    for (brood__parcel *p; (p = first_parcel(&c->sends)) && p->end <= c->sent_before + c->sent;)
        finish_parcel(c, p, 0);
}

/* Nothing leaves any more. */
static void drop_queue(brood_channel *c, int error) {
    finish_all(c, &c->sends, error);
    finish_all(c, &c->envelopes, error);
    c->out.len = c->sent = 0;
    c->blocked = false;
    c->mute = true;
}

void brood__channel_close(brood_channel *c, int error) {
    if (c->state >= BROOD__CHANNEL_CLOSED)
        return;
    c->state = BROOD__CHANNEL_CLOSED;
    c->error = error;
    drop_queue(c, -ECANCELED);
    finish_all(c, &c->unanswered, -ECANCELED);
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
    if (!is_live(c) || !c->ended || brood__channel_is_held(c))
        return;
    if (queued(c) == 0 || c->mute)
        brood__channel_close(c, c->error);
    else
        brood__channel_run_soon(c); /* the other end has shut down, and may still read */
}

/* The other end will send no more. What was told to nobody yet waits for whoever resumes it. */
static void see_end(brood_channel *c, int error) {
    c->ended = true;
    c->error = error == -ECONNRESET ? 0 : error;
    if (c->error)
        drop_queue(c, -EPIPE);
    finish_all(c, &c->unanswered, -EPIPE);
    if (c->state == BROOD__CHANNEL_OPEN)
        c->state = BROOD__CHANNEL_ENDING;
    close_if_done(c);
}

bool brood__channel_is_held(const brood_channel *c) {
    return c->paused && is_live(c) && c->in.len > c->in.at;
}

/* --- reading --- */

/* What lies there or behind has moved. */
static void move_on(brood__list *list, uint64_t from, size_t by) {
    for (brood__list *n = list->next; n != list; n = n->next) {
        brood__parcel *parcel = BROOD__OUTER(n, brood__parcel, node);
        if (parcel->begin >= from) {
            parcel->begin += by;
            parcel->end += by;
        }
    }
}

/* What has just been written at the end of the queue takes its place before whatever waits for an answer itself. */
static void send_first(brood_channel *c, size_t from) {
    char answer[128];
    brood__parcel *waiting = first_parcel(&c->envelopes);
    size_t len = c->out.len - from;
    if (!waiting || len > sizeof answer)
        return;
    char *to = c->out.bytes + (waiting->begin - c->sent_before);
    memcpy(answer, c->out.bytes + from, len);
    memmove(to + len, to, (size_t)(c->out.bytes + from - to));
    memcpy(to, answer, len);
    uint64_t from_there = waiting->begin;
    move_on(&c->sends, from_there, len);
    move_on(&c->envelopes, from_there, len);
}

/* To the other end, ahead of its turn: two ends that wait for each other's answers would wait for ever. */
static void say(brood_channel *c, brood__internal what, brood_value key) {
    if (c->mute || c->shut || !is_live(c))
        return;
    size_t from = c->out.len;
    int r = brood__say(&c->out, what, key);
    if (r < 0) {
        brood__channel_close(c, r); /* without it the other end might wait for ever */
        return;
    }
    if (what == BROOD__ACK || what == BROOD__NACK)
        send_first(c, from);
    brood__channel_run_soon(c);
}

/* The other end has, or has not, what was sent first of all that it has not answered yet. */
static void take_answer(brood_channel *c, int error) {
    if (!brood__list_empty(&c->unanswered)) /* else nobody asked */
        finish_parcel(c, first_parcel(&c->unanswered), error);
}

void brood__channel_meets_brood(brood_channel *c) {
    c->to_brood = true;
    brood__share_bytes(&c->out, &c->document);
}

static int read_value(brood_channel *c, const brood__frame *frame) {
    c->document.max_nodes = c->max_values < UINT32_MAX ? (uint32_t)c->max_values : UINT32_MAX;
    return brood__frame_read(&c->in, frame, &c->document);
}

static void tell_user(brood_channel *c, const brood_message *message) {
    if (brood__requests_answer(c, message))
        return;
    if (c->on_message && !c->closed)
        c->on_message(c, message, c->data);
}

/* Between the two ends; `arrival`: an envelope's, NULL if it came without. */
static void do_internal(brood_channel *c, brood__internal what, brood_value value, const brood__arrival *arrival) {
    brood_value none = {0};
    switch (what) {
    case BROOD__ENVELOPE:
        say(c, arrival ? BROOD__ACK : BROOD__NACK, none);
        break;
    case BROOD__ACK:
        take_answer(c, 0);
        break;
    case BROOD__NACK:
        take_answer(c, -EREMOTEIO);
        break;
    case BROOD__HELLO:
        brood__channel_meets_brood(c);
        break;
    case BROOD__NOTIFY_CLOSE:
        say(c, BROOD__ALL_CLOSED, brood_value_get(value, "key"));
        break;
    case BROOD__GET_COUNT:
        say(c, BROOD__COUNT, brood_value_get(value, "key"));
        break;
    default:
        break;
    }
}

static void tell_value(brood_channel *c, uint64_t begin, uint64_t end) {
    brood_message message = {.value = {&c->document, 0}};
    brood__internal internal = brood__internal_of(message.value);
    brood_value content = message.value;
    brood__arrival *arrival;
    size_t count = 0;
    if (internal == BROOD__ENVELOPE)
        content = brood__envelope_open(content, &count);
    int r = brood__arrivals_for(&c->arrivals, begin, end, count, &c->document, &arrival);
    if (r < 0) {
        brood__channel_close(c, r);
        return;
    }
    if (c->owner && c->owner->on_activity)
        c->owner->on_activity(c);
    if (internal != BROOD__NOT_INTERNAL)
        do_internal(c, internal, message.value, arrival);
    if (arrival) {
        message = (brood_message){.value = content, .fds = arrival->fds, .fd_count = arrival->count};
        internal = brood__internal_of(content);
    }
    if (internal == BROOD__NOT_INTERNAL && is_live(c))
        tell_user(c, &message);
    brood__arrival_done(arrival);
    brood__arrivals_drop(&c->arrivals, end);
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
    return is_live(c) && !c->paused && (c->on_message || c->closed || !brood__list_empty(&c->requests.waiting));
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
    if (is_live(c) && at < (size_t)n) {
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
        if (n < BROOD__READ_BUFFER_SIZE && !kept)
            break; /* most likely empty now; if not, the poll says so */
    }
    c->reading = false;
    return more;
}

/* --- writing --- */

static void after_sending(brood_channel *c) {
    finish_sent(c);
    if (c->sent == c->out.len) {
        c->sent_before += c->sent;
        c->out.len = c->sent = 0;
        brood__writer_trim(&c->out);
    } else if (c->sent > c->out.len / 2) {
        memmove(c->out.bytes, c->out.bytes + c->sent, queued(c));
        c->out.len -= c->sent;
        c->sent_before += c->sent;
        c->sent = 0;
    }
    if (c->state != BROOD__CHANNEL_ENDING || queued(c) > 0)
        return;
    if (c->closed) {
        brood__channel_close(c, 0);
    } else if (!c->shut && !c->ended && is_open(c)) {
        c->shut = true;
        shutdown(c->watch.fd, SHUT_WR);
    }
}

/* How much may be sent at once: up to the next envelope, or from it on, which is *ret_envelope then, if it may go. */
static size_t sendable(const brood_channel *c, brood__parcel **ret_envelope) {
    uint64_t from = c->sent_before + c->sent;
    brood__parcel *next = first_parcel(&c->envelopes);
    *ret_envelope = NULL;
    if (next && next->begin == from) {
        if (next->type && !brood__list_empty(&c->unanswered))
            return 0; /* one at a time */
        *ret_envelope = next;
        next = next->node.next == &c->envelopes ? NULL : BROOD__OUTER(next->node.next, brood__parcel, node);
    }
    return next ? (size_t)(next->begin - from) : queued(c);
}

static ssize_t send_envelope(brood_channel *c, brood__parcel *envelope, size_t len) {
    const char *bytes = c->out.bytes + c->sent;
    ssize_t n = brood__send_fds(c->watch.fd, bytes, len, envelope->fds, envelope->count);
    if (n == -ETOOMANYREFS && brood__list_empty(&c->unanswered))
        n = brood__send(c->watch.fd, bytes, len); /* without them: the other end says that it has none, and goes on */
    if (n <= 0)
        return n;
    finish_sent(c);
    brood__parcel_close_fds(envelope);
    brood__list_remove(&envelope->node);
    if (envelope->asks)
        brood__list_append(&c->unanswered, &envelope->node);
    else
        brood__list_append(c->sends.next, &envelope->node); /* before those behind it */
    return n;
}

static void send_some(brood_channel *c) {
    while (is_open(c) && queued(c) > 0) {
        brood__parcel *envelope;
        size_t len = sendable(c, &envelope);
        if (c->ended && (envelope ? envelope->asks : len == 0)) /* which nobody would answer */
            drop_queue(c, -EPIPE);
        if (queued(c) == 0 || len == 0)
            break;
        ssize_t n = envelope ? send_envelope(c, envelope, len) : brood__send(c->watch.fd, c->out.bytes + c->sent, len);
        if (n == -ETOOMANYREFS) /* until the other end has taken those before */
            break;
        c->blocked = n == -EAGAIN;
        if (c->blocked)
            break;
        if (n < 0) { /* what the other end sent before it went is still to be read */
            drop_queue(c, (int)n == -ECONNRESET ? -EPIPE : (int)n);
            break;
        }
        c->sent += (size_t)n;
    }
    after_sending(c);
}

static void tell_sent(brood_channel *c) {
    while (!brood__list_empty(&c->finished)) {
        brood__parcel *parcel = first_parcel(&c->finished);
        brood__list_remove(&parcel->node);
        if (parcel->on_sent && !c->silent)
            parcel->on_sent(c, parcel->error, parcel->data);
        brood__parcel_free(parcel);
    }
}

void brood__channel_drop(brood_channel *c) {
    brood__channel_close(c, -ECANCELED);
    brood__list_remove(&c->later.node);
    tell_sent(c);
    brood__requests_tell(c);
    c->closed = true;
    c->state = BROOD__CHANNEL_TOLD;
    c->done = true;
}

static void tell_drain(brood_channel *c) {
    if (!c->above || queued(c) > c->high_water / 2)
        return;
    c->above = false;
    if (c->on_drain && !c->closed && c->state == BROOD__CHANNEL_OPEN)
        c->on_drain(c, c->data);
}

/* --- what libuv calls --- */

static void tell_disconnect(brood_channel *c) {
    c->state = BROOD__CHANNEL_TOLD;
    if (c->on_disconnect && !c->closed)
        c->on_disconnect(c, c->error, c->data);
    tell_sent(c);
}

/* Both for what was put off, and for what the socket has. */
static void go_on(brood_channel *c) {
    brood__channel_pin(c);
    if (is_live(c))
        send_some(c);
    tell_sent(c);
    brood__requests_tell(c);
    tell_drain(c);
    if (queued(c) == 0)
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
    if (queued(c) > 0)
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
    if (is_live(c) && c->ended) { /* if nobody is left to read it either, that ends it */
        send_some(c);
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
    if (ends || queued(c) > 0)
        brood__channel_run_soon(c);
    return 0;
}

/* --- what the user calls --- */

void brood__body_write(brood_writer *w, const brood_body *body) {
    if (body->json)
        brood_writer_json(w, body->json, body->json_len);
    else if (body->write)
        body->write(w, body->data);
    else if (body->value)
        brood_writer_value(w, *body->value);
}

int brood__channel_may_send(const brood_channel *c, const brood_body *given, size_t size, brood_body *ret_body) {
    brood_body body = {0};
    if (!given || size > sizeof body)
        return -EINVAL;
    memcpy(&body, given, size);
    if ((body.json != NULL) + (body.write != NULL) + (body.value != NULL) != 1 || (body.fd_count > 0 && !body.fds))
        return -EINVAL;
    if (c->writing)
        return -EDEADLK;
    if (!brood_channel_connected(c) || c->mute)
        return -EPIPE;
    if (queued(c) > c->max_queued)
        return -ENOBUFS;
    *ret_body = body;
    return 0;
}

/* A frame was added. */
static int added(brood_channel *c) {
    if (!c->blocked && c->state == BROOD__CHANNEL_OPEN)
        brood__channel_run_soon(c);
    c->above = c->above || queued(c) > c->high_water;
    return queued(c) > c->high_water;
}

static int write_frame(brood_channel *c, const brood__parcel *parcel, const brood_body *body, uint64_t id,
                       void (*write)(brood_writer *writer, const brood_body *body)) {
    bool envelope = parcel && parcel->asks;
    c->writing = true;
    brood__frame_begin(&c->out);
    if (envelope)
        brood__envelope_begin(&c->out, parcel);
    if (id > 0)
        brood__writer_append_id(&c->out, id);
    write(&c->out, body);
    if (envelope)
        brood__envelope_end(&c->out, parcel);
    c->writing = false;
    return brood__frame_end(&c->out);
}

int brood__channel_queue(brood_channel *c, const brood_body *body, uint64_t id,
                         void (*write)(brood_writer *writer, const brood_body *body), brood_on_sent on_sent,
                         void *data) {
    brood__parcel *parcel = NULL;
    int r = body->fd_count > 0 || on_sent ? brood__parcel_new(body->fds, body->fd_count, !c->to_brood, &parcel) : 0;
    if (r < 0)
        return r;
    uint64_t begin = c->sent_before + c->out.len;
    r = write_frame(c, parcel, body, id, write);
    if (r == 0 && c->out.shared_count > 0)
        r = brood__parcel_share(&parcel, &c->out);
    if (r < 0) {
        brood__writer_unshare(&c->out);
        c->out.len = (size_t)(begin - c->sent_before);
        brood__parcel_free(parcel);
        return r;
    }
    if (parcel) {
        parcel->begin = begin;
        parcel->end = c->sent_before + c->out.len;
        parcel->on_sent = on_sent;
        parcel->data = data;
        brood__list_append(parcel->count > 0 ? &c->envelopes : &c->sends, &parcel->node);
    }
    return added(c);
}

int brood_channel_send_sized(brood_channel *c, const brood_body *given, size_t size, brood_on_sent on_sent,
                             void *data) {
    brood_body body;
    int r = brood__channel_may_send(c, given, size, &body);
    return r < 0 ? r : brood__channel_queue(c, &body, 0, brood__body_write, on_sent, data);
}

int brood_channel_send_json(brood_channel *c, const char *json, size_t len) {
    return brood_channel_send(c, &(brood_body){.json = json, .json_len = len}, NULL, NULL);
}

size_t brood_channel_error_offset(const brood_channel *c) {
    return c->out.error_at;
}

size_t brood_channel_queued(const brood_channel *c) {
    return queued(c);
}

brood_serialization brood_channel_serialization(const brood_channel *c) {
    return c->out.advanced ? BROOD_ADVANCED : BROOD_JSON;
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
    if (is_live(c) && !c->reading)
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
