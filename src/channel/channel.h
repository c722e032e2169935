/*
 * A channel from inside: the same for both ends. A parent's exists before its child runs, and queues; it is its child's
 * to free. The child's own end lives by itself.
 */
#ifndef BROOD_CHANNEL_CHANNEL_INTERNAL_H
#define BROOD_CHANNEL_CHANNEL_INTERNAL_H

#include "channel/frame.h"
#include "channel/handle.h"
#include "channel/request.h"
#include "loop/watch.h"

#include <brood/channel.h>

/*
 *   WAITING ---> OPEN ---> ENDING ---> CLOSED ---> TOLD
 *      |           |                     ^
 *      `-----------+---------------------'
 */
typedef enum brood__channel_state {
    BROOD__CHANNEL_WAITING, /* for its socket; sends queue */
    BROOD__CHANNEL_OPEN,
    BROOD__CHANNEL_ENDING, /* disconnected; what is queued is still sent, and what the other end has sent told */
    BROOD__CHANNEL_CLOSED, /* on_disconnect is still to come */
    BROOD__CHANNEL_TOLD,
} brood__channel_state;

/* What the child that a channel belongs to is told. */
typedef struct brood__channel_owner {
    void (*on_activity)(brood_channel *channel); /* something came */
    /* on_disconnect was told, and the channel may be freed. Once more whenever that comes true again. */
    void (*on_done)(brood_channel *channel, bool first);
} brood__channel_owner;

struct brood_channel {
    brood__loop *loop;
    brood__loop_part part;             /* of a child's own end */
    const brood__channel_owner *owner; /* NULL: a child's own end */
    void *owner_data;
    brood__channel_state state;
    brood__watch watch; /* and the socket */
    int error;          /* for on_disconnect */
    bool closed;        /* by the user: nothing is told but on_sent */
    bool silent;        /* not even that */
    bool paused;
    bool blocked;    /* the socket takes no more for now */
    bool mute;       /* the other end reads no more: nothing is sent */
    bool shut;       /* the other end was told that no more comes */
    bool ended;      /* the other end's bytes are at their end */
    bool above;      /* a send said that the queue is above the high-water mark */
    bool writing;    /* a body is being written, and must not send */
    bool reading;    /* messages are being told */
    bool done;       /* its owner was told */
    bool ref_is_set; /* by the user */
    bool ref;
    unsigned pins; /* callbacks that still need the memory */

    brood__frames in;
    brood__arrivals arrivals;
    uint64_t acted;       /* up to there in the stream, internal messages have been acted upon, told or not */
    size_t acted_scanned; /* from there on: so much holds no line feed */
    brood__document document;
    size_t max_values;
    brood_on_message on_message;
    brood_on_disconnect on_disconnect;
    brood_on_channel_drain on_drain;
    void *data;

    brood_writer out; /* from `sent` on it waits */
    size_t sent;
    uint64_t sent_before; /* bytes that have left and were forgotten: offsets in `sends` count on */
    size_t high_water, max_queued;
    size_t elsewhere; /* bytes that are shared by what waits, or has not been answered */
    size_t given;     /* descriptors that have not been answered */
    size_t answers;   /* bytes of our own answers, and where in the stream the last one ends */
    uint64_t answers_end;
    bool to_brood;          /* the other end is brood's, for certain */
    brood__list sends;      /* parcels without descriptors that wait to leave, in order */
    brood__list envelopes;  /* those with */
    brood__list unanswered; /* which have left */
    brood__list finished;   /* whose on_sent comes next */
    brood__requests requests;
    brood__post later;
};

/* All that both ends share. Nothing is opened yet. */
void brood__channel_init(brood_channel *channel, brood__loop *loop, const brood_channel_options *options,
                         brood_serialization serialization, const brood__channel_owner *owner, void *owner_data);

/* The other end is brood's, for certain: what Node has not may be sent. */
void brood__channel_meets_brood(brood_channel *channel);

/* Give it its socket, non-blocking. Takes `fd` on success. The loop must be active until it has told its end. */
int brood__channel_attach(brood_channel *channel, int fd);

/* Close it at once, from whatever state; what is queued is reported with this error. `error`: for on_disconnect. */
void brood__channel_close(brood_channel *channel, int error);

/* The same with no callback but on_sent, and that within this call. The owner is not told that it is done. */
void brood__channel_drop(brood_channel *channel);

/* No more callbacks, but on_sent; `all`: not even that. */
void brood__channel_silence(brood_channel *channel, bool all);

static inline bool brood__channel_is_live(const brood_channel *channel) {
    return channel->state == BROOD__CHANNEL_OPEN || channel->state == BROOD__CHANNEL_ENDING;
}

/* --- send.c: what leaves --- */

/* Bytes that wait to leave by the socket. */
static inline size_t brood__channel_unsent(const brood_channel *channel) {
    return channel->out.len - channel->sent;
}

/* Those, and the ones elsewhere that the other end has not mapped yet. */
static inline size_t brood__channel_waiting(const brood_channel *channel) {
    return brood__channel_unsent(channel) + channel->elsewhere;
}

/* Send what the socket takes; and say that no more comes, if that is so. */
void brood__channel_send_some(brood_channel *channel);
/* Nothing leaves any more: this becomes of all that waits to. */
void brood__channel_drop_queue(brood_channel *channel, int error);
/* To the other end, ahead of its turn: two ends that wait for each other's answers would wait for ever. */
void brood__channel_say(brood_channel *channel, brood__internal what, brood_value key);
/* The other end has, or has not, what was sent first of all that it has not answered for yet. */
void brood__channel_take_answer(brood_channel *channel, int error);
/* No answer comes any more. */
void brood__channel_end_unanswered(brood_channel *channel, int error);
/* The callbacks that are due: on_sent, on_drain. */
void brood__channel_tell_sent(brood_channel *channel);
void brood__channel_tell_drain(brood_channel *channel);

/* --- for request.c --- */

void brood__channel_pin(brood_channel *channel);
void brood__channel_unpin(brood_channel *channel);
/* Tell what is due, once the present callback, or call, has returned. */
void brood__channel_run_soon(brood_channel *channel);
/* The same after this time, if the loop lives so long. It keeps none alive. */
void brood__channel_wake_after(brood_channel *channel, uint64_t ms);
/* The body, or where that is not of our size, a copy of it in `room`; or why it cannot be sent. */
int brood__channel_may_send(const brood_channel *channel, const brood_body *body, size_t size, brood_body *room,
                            const brood_body **ret_body);
/*
 * Put a message into the queue: what `write` makes of the body; its descriptors go with it. `id`: appended to it, which
 * is an object then; 0: none. Returns what brood_channel_send does.
 */
int brood__channel_queue(brood_channel *channel, const brood_body *body, uint64_t id,
                         void (*write)(brood_writer *writer, const brood_body *body), brood_on_sent on_sent,
                         void *data);
/* Put a whole frame into the queue, whatever is in it already. 0, -EPIPE (not connected), or -ENOMEM. */
int brood__channel_queue_frame(brood_channel *channel, const char *frame, size_t len);
/* The one content of a body where a value is due. */
void brood__body_write(brood_writer *writer, const brood_body *body);

/* Read what is there now, without waiting to be told that there is something, and tell the end if that was all. */
void brood__channel_read_now(brood_channel *channel);

/* Whether messages wait that the host has paused. */
bool brood__channel_is_held(const brood_channel *channel);

/* Whether its memory may go: it is closed, and nothing is to come. */
bool brood__channel_is_done(const brood_channel *channel);

/* Its memory but for itself. */
void brood__channel_done(brood_channel *channel);

/*
 * The socket to the parent, that the environment names, close-on-exec from now on; and its serialization. A negative
 * errno: there is none. The variables stay.
 */
int brood__channel_find_parent(brood_serialization *ret_serialization, brood_failure *ret_failure);
/* Whether that socket's other end is brood's: the environment says so, and names the process that made the socket. */
bool brood__channel_parent_is_brood(int fd);
void brood__channel_forget_parent(void);

/* The defaults. */
#define BROOD__MAX_MESSAGE (64 * 1024 * 1024)
#define BROOD__MAX_VALUES (16 * 1024 * 1024)
#define BROOD__MAX_PAYLOAD INT32_MAX /* whatever is asked for: Node 20 misreads a longer one */

/* Options of the caller's size as ours. */
int brood__channel_options_copy(const brood_channel_options *options, size_t size, brood_channel_options *ret_options,
                                brood_failure *ret_failure);

/* The variables by which a child learns of its channel. */
#define BROOD__CHANNEL_FD "NODE_CHANNEL_FD"
#define BROOD__CHANNEL_MODE "NODE_CHANNEL_SERIALIZATION_MODE"
#define BROOD__CHANNEL_PARENT "BROOD_CHANNEL_PARENT" /* the process that made it, if that is brood's */

#endif
