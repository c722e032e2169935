/*
 * What leaves a channel: one buffer of frames, written out when the outermost callback has returned, and the parcels
 * that know where in it they are. Descriptors go with the first byte of their frame, and what the other end answers for
 * is kept in order until it does.
 */
#include "channel/channel.h"

#include "base/sys.h"

#include <errno.h>
#include <sys/socket.h>

#define RETRY_MS 10               /* until the kernel may have what it lacked */
#define MAX_ANSWERS (1024 * 1024) /* bytes of answers that the other end asked for, and has not read */

/* --- parcels --- */

static brood__parcel *first_parcel(const brood__list *list) {
    return brood__list_empty(list) ? NULL : BROOD__OUTER(list->next, brood__parcel, node);
}

static void finish_parcel(brood_channel *c, brood__parcel *parcel, int error) {
    brood__list_remove(&parcel->node);
    brood__parcel_close_fds(parcel);
    c->elsewhere -= parcel->elsewhere;
    c->given -= parcel->given;
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

void brood__channel_drop_queue(brood_channel *c, int error) {
    finish_all(c, &c->sends, error);
    finish_all(c, &c->envelopes, error);
    c->out.len = c->sent = 0;
    c->blocked = false;
    c->mute = true;
}

void brood__channel_end_unanswered(brood_channel *c, int error) {
    finish_all(c, &c->unanswered, error);
}

/* --- writing --- */

static void after_sending(brood_channel *c) {
    finish_sent(c);
    if (c->sent_before + c->sent >= c->answers_end)
        c->answers = 0;
    if (c->sent == c->out.len) {
        c->sent_before += c->sent;
        c->out.len = c->sent = 0;
        brood__writer_trim(&c->out);
    } else if (c->sent > c->out.len / 2) {
        memmove(c->out.bytes, c->out.bytes + c->sent, brood__channel_unsent(c));
        c->out.len -= c->sent;
        c->sent_before += c->sent;
        c->sent = 0;
    }
    if (c->state != BROOD__CHANNEL_ENDING || brood__channel_unsent(c) > 0)
        return;
    if (c->closed && brood__list_empty(&c->unanswered)) {
        brood__channel_close(c, 0);
    } else if (!c->shut && !c->ended && c->watch.fd >= 0) {
        c->shut = true;
        shutdown(c->watch.fd, SHUT_WR);
    }
}

/* To Node one at a time; to brood so many that it can keep them until somebody listens. */
static bool may_go(const brood_channel *c, const brood__parcel *envelope) {
    return brood__list_empty(&c->unanswered) || (!envelope->type && c->given + envelope->count <= BROOD__MAX_GIVEN);
}

/* How much may be sent at once: up to the next envelope, or from it on, which is *ret_envelope then, if it may go. */
static size_t sendable(const brood_channel *c, brood__parcel **ret_envelope) {
    uint64_t from = c->sent_before + c->sent;
    brood__parcel *next = first_parcel(&c->envelopes);
    *ret_envelope = NULL;
    if (next && next->begin == from) {
        if (!may_go(c, next))
            return 0;
        *ret_envelope = next;
        next = next->node.next == &c->envelopes ? NULL : BROOD__OUTER(next->node.next, brood__parcel, node);
    }
    return next ? (size_t)(next->begin - from) : brood__channel_unsent(c);
}

static ssize_t send_envelope(brood_channel *c, brood__parcel *envelope, size_t len) {
    const char *bytes = c->out.bytes + c->sent;
    ssize_t n = brood__send_fds(c->watch.fd, bytes, len, envelope->fds, envelope->count);
    if (n <= 0)
        return n;
    envelope->given = envelope->count;
    c->given += envelope->given;
    brood__parcel_close_fds(envelope);
    brood__list_remove(&envelope->node);
    brood__list_append(&c->unanswered, &envelope->node);
    return n;
}

/* True: there may be more to send. */
static bool see_error(brood_channel *c, brood__parcel *envelope, int error) {
    switch (error) {
    case -EAGAIN:
        c->blocked = true;
        return false;
    case -ENOMEM:
    case -ENOBUFS:
    case -ETOOMANYREFS: /* of all that this user has under way, to whomever */
        brood__channel_wake_after(c, RETRY_MS);
        return false;
    case -EPIPE:
    case -ECONNRESET: /* what the other end sent before it went is still to be read */
        brood__channel_drop_queue(c, -EPIPE);
        return false;
    default:
        if (!envelope) {
            brood__channel_close(c, error);
            return false;
        }
        c->sent += (size_t)(envelope->end - envelope->begin); /* the kernel passes no such descriptor: it stays here */
        finish_parcel(c, envelope, error);
        return true;
    }
}

void brood__channel_send_some(brood_channel *c) {
    while (c->watch.fd >= 0 && brood__channel_unsent(c) > 0) {
        brood__parcel *envelope;
        size_t len = sendable(c, &envelope);
        if (c->ended && (envelope || len == 0)) /* which nobody would answer */
            brood__channel_drop_queue(c, -EPIPE);
        if (brood__channel_unsent(c) == 0 || len == 0)
            break;
        ssize_t n = envelope ? send_envelope(c, envelope, len) : brood__send(c->watch.fd, c->out.bytes + c->sent, len);
        c->blocked = false;
        if (n < 0 && !see_error(c, envelope, (int)n))
            break;
        c->sent += n > 0 ? (size_t)n : 0;
    }
    after_sending(c);
}

/* --- answers --- */

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

void brood__channel_say(brood_channel *c, brood__internal what, brood_value key) {
    if (c->mute || c->shut || !brood__channel_is_live(c))
        return;
    size_t from = c->out.len;
    int r = c->answers > MAX_ANSWERS ? -ENOBUFS : brood__say(&c->out, what, key);
    if (r < 0) {
        brood__channel_close(c, r); /* without it the other end might wait for ever */
        return;
    }
    c->answers += c->out.len - from;
    c->answers_end = c->sent_before + c->out.len;
    if (what == BROOD__ACK || what == BROOD__NACK)
        send_first(c, from);
    brood__channel_run_soon(c);
}

void brood__channel_take_answer(brood_channel *c, int error) {
    if (!brood__list_empty(&c->unanswered)) /* else nobody asked */
        finish_parcel(c, first_parcel(&c->unanswered), error);
}

/* --- what is told --- */

void brood__channel_tell_sent(brood_channel *c) {
    while (!brood__list_empty(&c->finished)) {
        brood__parcel *parcel = first_parcel(&c->finished);
        brood__list_remove(&parcel->node);
        if (parcel->on_sent && !c->silent)
            parcel->on_sent(c, parcel->error, parcel->data);
        brood__parcel_free(parcel);
    }
}

void brood__channel_tell_drain(brood_channel *c) {
    if (!c->above || brood__channel_waiting(c) > c->high_water / 2)
        return;
    c->above = false;
    if (c->on_drain && !c->closed && c->state == BROOD__CHANNEL_OPEN)
        c->on_drain(c, c->data);
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

int brood__channel_may_send(const brood_channel *c, const brood_body *body, size_t size, brood_body *room,
                            const brood_body **ret_body) {
    if (!body || size > sizeof *body)
        return -EINVAL;
    if (size < sizeof *body) {
        *room = (brood_body){0};
        body = memcpy(room, body, size);
    }
    if ((body->json != NULL) + (body->write != NULL) + (body->value != NULL) != 1 || (body->fd_count > 0 && !body->fds))
        return -EINVAL;
    if (c->writing)
        return -EDEADLK;
    if (!brood_channel_connected(c) || c->mute)
        return -EPIPE;
    if (brood__channel_waiting(c) > c->max_queued)
        return -ENOBUFS;
    *ret_body = body;
    return 0;
}

/* A frame was added. */
static int added(brood_channel *c) {
    if (!c->blocked && c->state == BROOD__CHANNEL_OPEN)
        brood__channel_run_soon(c);
    bool above = brood__channel_waiting(c) > c->high_water;
    c->above = c->above || above;
    return above;
}

/* Its envelope goes around the descriptors that were given; bytes that are shared come as part of the value. */
static int write_frame(brood_channel *c, const brood__parcel *parcel, const brood_body *body, uint64_t id,
                       void (*write)(brood_writer *writer, const brood_body *body)) {
    bool envelope = body->fd_count > 0;
    c->writing = true;
    if (c->to_brood)
        brood__share_bytes(&c->out, body->fd_count);
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
    if (r == 0 && parcel && parcel->type)
        r = brood__nonblock(parcel->fds[0]);
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
        c->elsewhere += parcel->elsewhere;
        brood__list_append(parcel->count > 0 ? &c->envelopes : &c->sends, &parcel->node);
    }
    return added(c);
}

int brood__channel_queue_frame(brood_channel *c, const char *frame, size_t len) {
    if (!brood_channel_connected(c) || c->mute)
        return -EPIPE;
    c->out.error = 0;
    c->out.start = c->out.len; /* for the writer's own limit, which it is within */
    brood__writer_add(&c->out, frame, len);
    if (c->out.error)
        return c->out.error;
    added(c);
    return 0;
}

int brood_channel_send_sized(brood_channel *c, const brood_body *given, size_t size, brood_on_sent on_sent,
                             void *data) {
    brood_body room;
    const brood_body *body;
    int r = brood__channel_may_send(c, given, size, &room, &body);
    return r < 0 ? r : brood__channel_queue(c, body, 0, brood__body_write, on_sent, data);
}

int brood_channel_send_json(brood_channel *c, const char *json, size_t len) {
    return brood_channel_send(c, &(brood_body){.json = json, .json_len = len}, NULL, NULL);
}

size_t brood_channel_error_offset(const brood_channel *c) {
    return c->out.error_at;
}

size_t brood_channel_queued(const brood_channel *c) {
    return brood__channel_waiting(c);
}
