/* Requests of a channel: those that wait for an answer, and those that are to be answered. */
#ifndef BROOD_CHANNEL_REQUEST_H
#define BROOD_CHANNEL_REQUEST_H

#include "base/list.h"

#include <brood/channel.h>

#include <uv.h>

typedef struct brood__requests {
    uint64_t last;        /* id given */
    brood__list waiting;  /* for an answer; in the order of their ids */
    brood__list answered; /* whose on_reply is due, without an answer: cancelled, late, or the channel ended */
    brood__list taken;    /* by the user, to be answered */
    uint64_t next_us;     /* when the timer is due */
    uv_timer_t timer;
    bool timer_open, timer_closing;
} brood__requests;

void brood__requests_init(brood__requests *requests);

/* Whether the message answers one of the requests that wait, which is then told. */
bool brood__requests_answer(brood_channel *channel, const brood_message *message);

/* The channel has ended: no answer will come. */
void brood__requests_end(brood_channel *channel);

/* Tell what is due. */
void brood__requests_tell(brood_channel *channel);

/* The one content of a body that asks: an object. An id is appended to it, if one is to be. */
void brood__request_write(brood_writer *writer, const brood_body *body);

/* What an answer's member `error` says, in words; NULL: it is none. */
const char *brood__error_text(brood_value error);

/* The channel's memory goes: what is taken is answered to nobody. */
void brood__requests_done(brood_channel *channel);

#endif
