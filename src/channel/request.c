/*
 * Requests and answers, by an `id` in the message. Exactly one outcome each: whoever takes a request out of the list of
 * those that wait decides it. What is no answer of the other end's is told later, from within uv_run.
 */
#include "channel/request.h"

#include "base/clock.h"
#include "channel/channel.h"

#include <errno.h>

/* One that waits. */
typedef struct waiting {
    brood__list node;
    uint64_t id, deadline_us;
    int status;
    brood_on_reply on_reply;
    void *data;
} waiting;

struct brood_request {
    brood__list node;
    brood_channel *channel; /* NULL: it is gone */
    brood_value id;
};

void brood__requests_init(brood__requests *r) {
    brood__list_init(&r->waiting);
    brood__list_init(&r->answered);
    brood__list_init(&r->taken);
    r->next_us = BROOD__NEVER;
}

static waiting *find(brood__requests *r, uint64_t id) {
    for (brood__list *n = r->waiting.next; n != &r->waiting; n = n->next)
        if (BROOD__OUTER(n, waiting, node)->id == id)
            return BROOD__OUTER(n, waiting, node);
    return NULL;
}

static void tell(brood_channel *c, waiting *w, const brood_reply *reply) {
    if (w->on_reply && !c->silent)
        w->on_reply(c, reply, w->data);
    brood__free(w);
}

/* Told later, with this status. */
static void settle(brood_channel *c, waiting *w, int status) {
    brood__list_remove(&w->node);
    w->status = status;
    brood__list_append(&c->requests.answered, &w->node);
    brood__channel_run_soon(c);
}

/* --- time --- */

static void timer_closed(uv_handle_t *timer) {
    brood_channel *c = timer->data;
    c->requests.timer_closing = false;
    brood__channel_unpin(c);
}

static void close_timer(brood_channel *c) {
    brood__requests *r = &c->requests;
    if (!r->timer_open)
        return;
    r->timer_open = false;
    r->timer_closing = true;
    brood__channel_pin(c); /* its memory holds the timer */
    uv_close((uv_handle_t *)&r->timer, timer_closed);
}

static void time_passed(uv_timer_t *timer);

/* One timer, at the next deadline; early is no harm. It keeps no loop alive: the channel does. */
static void wake_at(brood_channel *c, uint64_t at_us) {
    brood__requests *r = &c->requests;
    if (at_us >= r->next_us || r->timer_closing)
        return;
    if (!r->timer_open) {
        uv_timer_init(c->loop->uv, &r->timer);
        uv_unref((uv_handle_t *)&r->timer);
        r->timer.data = c;
        r->timer_open = true;
    }
    r->next_us = at_us;
    uv_update_time(c->loop->uv);
    uv_timer_start(&r->timer, time_passed, brood__ms_until(brood__now_us(), at_us), 0);
}

static void time_passed(uv_timer_t *timer) {
    brood_channel *c = timer->data;
    brood__loop *loop = c->loop;
    brood__loop_enter(loop);
    brood__channel_pin(c);
    brood__channel_read_now(c); /* an answer that has come in time is not late because the loop was held up */
    uint64_t now = brood__now_us(), earliest = BROOD__NEVER;
    c->requests.next_us = BROOD__NEVER;
    for (brood__list *n = c->requests.waiting.next, *next; n != &c->requests.waiting; n = next) {
        waiting *w = BROOD__OUTER(n, waiting, node);
        next = n->next;
        if (w->deadline_us <= now)
            settle(c, w, -ETIMEDOUT);
        else if (w->deadline_us < earliest)
            earliest = w->deadline_us;
    }
    wake_at(c, earliest);
    brood__channel_run_soon(c);
    brood__channel_unpin(c);
    brood__loop_leave(loop);
}

void brood__channel_wake_after(brood_channel *c, uint64_t ms) {
    wake_at(c, brood__after_ms(brood__now_us(), ms));
}

/* --- asking --- */

/* An object's members; the id is appended when it ends. */
static void write_members(brood_writer *w, brood_value object) {
    brood_value key;
    const char *text = "";
    size_t len = 0, count = brood_value_count(object);
    if (brood_value_type(object) != BROOD_OBJECT) {
        brood__writer_fail(w, -EINVAL);
        return;
    }
    brood_writer_object(w);
    for (size_t i = 0; i < count; i++) {
        brood_value member = brood_value_at(object, i, &key);
        (void)brood_value_string(key, &text, &len);
        brood__writer_name(w, text, len);
        brood_writer_value(w, member);
    }
    brood_writer_end(w);
}

static void write_parsed(brood_writer *w, const brood_body *body) {
    brood_value value;
    int r = brood_value_parse(body->json, body->json_len, &value, &w->error_at);
    if (r < 0) {
        brood__writer_fail(w, r);
        return;
    }
    write_members(w, value);
    brood_value_done(&value);
}

/* The descriptors could not go, or be taken: the other end knows of no request. */
static void sent(brood_channel *c, int error, void *data) {
    waiting *w = find(&c->requests, (uintptr_t)data);
    if (w && error < 0 && error != -ECANCELED && error != -EPIPE) /* of which the channel's end will tell */
        settle(c, w, error);
}

void brood__request_write(brood_writer *w, const brood_body *body) {
    if (body->json)
        write_parsed(w, body);
    else if (body->value)
        write_members(w, *body->value);
    else
        body->write(w, body->data);
}

int brood_channel_request_sized(brood_channel *c, const brood_body *given, size_t size, uint64_t timeout_ms,
                                brood_on_reply on_reply, void *data, uint64_t *ret_ticket) {
    brood__requests *r = &c->requests;
    brood_body room;
    const brood_body *body;
    int result = brood__channel_may_send(c, given, size, &room, &body);
    if (result < 0)
        return result;
    waiting *w = brood__alloc(sizeof *w);
    if (!w)
        return -ENOMEM;
    *w = (waiting){.id = r->last + 1, .deadline_us = BROOD__NEVER, .on_reply = on_reply, .data = data};
    if (timeout_ms > 0 && timeout_ms < BROOD_FOREVER)
        w->deadline_us = brood__after_ms(brood__now_us(), timeout_ms);
    result = brood__channel_queue(c, body, w->id, brood__request_write, body->fd_count > 0 ? sent : NULL,
                                  (void *)(uintptr_t)w->id);
    if (result < 0) {
        brood__free(w);
        return result;
    }
    r->last++;
    brood__list_append(&r->waiting, &w->node);
    if (ret_ticket)
        *ret_ticket = w->id;
    wake_at(c, w->deadline_us);
    return result;
}

int brood_channel_cancel(brood_channel *c, uint64_t ticket) {
    waiting *w = find(&c->requests, ticket);
    if (!w)
        return -ENOENT;
    settle(c, w, -ECANCELED);
    return 0;
}

/* An Error has its words in its message. */
const char *brood__error_text(brood_value error) {
    const char *text;
    if (brood_value_type(error) <= BROOD_NULL)
        return NULL;
    if (brood_value_string(error, &text, NULL) == 0 ||
        brood_value_string(brood_value_get(error, "message"), &text, NULL) == 0)
        return text;
    return "an error that is not told in words";
}

bool brood__requests_answer(brood_channel *c, const brood_message *message) {
    uint64_t id;
    if (brood_value_uint64(brood_value_get(message->value, "id"), &id) < 0)
        return false;
    brood_reply reply = {
        .result = brood_value_get(message->value, "result"), .fds = message->fds, .fd_count = message->fd_count};
    brood_value error = brood_value_get(message->value, "error");
    if (brood_value_type(reply.result) == BROOD_MISSING && brood_value_type(error) == BROOD_MISSING &&
        brood_value_count(message->value) > 1) /* `{id, result: undefined}` is `{id}` in JSON */
        return false;
    waiting *w = find(&c->requests, id);
    if (!w)
        return false;
    reply.error = brood__error_text(error);
    if (reply.error) {
        reply.status = -EREMOTEIO;
        reply.result = (brood_value){0};
    }
    brood__list_remove(&w->node);
    tell(c, w, &reply);
    return true;
}

void brood__requests_tell(brood_channel *c) {
    while (!brood__list_empty(&c->requests.answered)) {
        waiting *w = BROOD__OUTER(c->requests.answered.next, waiting, node);
        brood__list_remove(&w->node);
        const char *error = w->status == -EREMOTEIO ? "it could not take the descriptors" : NULL;
        tell(c, w, &(brood_reply){.status = w->status, .error = error});
    }
}

void brood__requests_end(brood_channel *c) {
    while (!brood__list_empty(&c->requests.waiting))
        settle(c, BROOD__OUTER(c->requests.waiting.next, waiting, node), -EPIPE);
    close_timer(c);
}

/* --- answering --- */

int brood_request_take(brood_channel *c, const brood_message *message, brood_request **ret_request) {
    brood_value id = brood_value_get(message->value, "id");
    if (brood_value_type(id) == BROOD_MISSING)
        return -ENOENT;
    brood_request *request = brood__alloc(sizeof *request);
    if (!request)
        return -ENOMEM;
    int r = brood_value_take(id, &request->id);
    if (r < 0) {
        brood__free(request);
        return r;
    }
    request->channel = c;
    brood__list_append(&c->requests.taken, &request->node);
    *ret_request = request;
    return 0;
}

typedef struct answer {
    brood_value id;
    const brood_body *result;
    const char *error;
} answer;

static void write_answer(brood_writer *w, void *data) {
    const answer *a = data;
    brood_writer_object(w);
    brood_writer_key(w, "id");
    brood_writer_value(w, a->id);
    brood_writer_key(w, a->error ? "error" : "result");
    if (a->error)
        brood_writer_string(w, a->error, BROOD_NUL);
    else if (!a->result)
        brood_writer_null(w);
    else
        brood__body_write(w, a->result);
    if (brood__writer_is_due(w))
        brood_writer_null(w);
    brood_writer_end(w);
}

static int end_request(brood_request *request, answer *a) {
    int r = -EPIPE;
    a->id = request->id;
    if (request->channel) {
        brood_body body = {.write = write_answer, .data = a};
        if (a->result) {
            body.fds = a->result->fds;
            body.fd_count = a->result->fd_count;
        }
        r = brood_channel_send(request->channel, &body, NULL, NULL);
        if (r < 0 && r != -EPIPE && !a->error) {
            a->error = "the result cannot be sent";
            body.fd_count = 0;
            brood_channel_send(request->channel, &body, NULL, NULL);
        }
        brood__list_remove(&request->node);
    }
    brood_value_done(&request->id);
    brood__free(request);
    return r;
}

int brood_request_reply(brood_request *request, const brood_body *result) {
    return end_request(request, &(answer){.result = result});
}

int brood_request_fail(brood_request *request, const char *error) {
    return end_request(request, &(answer){.error = error ? error : "failed"});
}

void brood__requests_done(brood_channel *c) {
    while (!brood__list_empty(&c->requests.taken)) {
        brood_request *request = BROOD__OUTER(c->requests.taken.next, brood_request, node);
        brood__list_remove(&request->node);
        request->channel = NULL;
    }
}
