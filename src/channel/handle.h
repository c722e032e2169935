/*
 * Descriptors with messages. Node puts the message of one into an envelope, NODE_HANDLE, with the descriptor at the
 * envelope's first byte, and sends no second before the first has been answered; two ends of brood's put any number
 * into one, and do not wait. Either way each envelope is answered, by an ACK or a NACK, in their order.
 */
#ifndef BROOD_CHANNEL_HANDLE_H
#define BROOD_CHANNEL_HANDLE_H

#include "base/list.h"
#include "base/sys.h"
#include "value/writer.h"

#include <brood/channel.h>

/* --- that came --- */

/* Those of one read, which took this part of the stream. */
typedef struct brood__arrival {
    brood__list node;
    uint64_t begin, end;
    bool lost; /* they came, and there was no room */
    size_t count;
    int fds[];
} brood__arrival;

/* In their order, until the message is told that they belong to; and how far the stream has come. */
typedef struct brood__arrivals {
    uint64_t received; /* bytes */
    brood__list list;
    size_t count; /* of descriptors */
} brood__arrivals;

void brood__arrivals_init(brood__arrivals *arrivals);
/*
 * As brood__receive, and keeps what descriptors come along. *ret_kept: 0; -EMSGSIZE (so many wait that no honest peer
 * sends them), -ENOMEM: they are closed, and the channel cannot go on.
 */
ssize_t brood__arrivals_receive(brood__arrivals *arrivals, int fd, void *buffer, size_t size, int *ret_kept);
/*
 * What the frame from `begin` to `end` needs of what came: `count` descriptors of an envelope, to *ret_arrival (NULL:
 * they are missing), and behind them the bytes that its values share. 0; -EMFILE (those are missing), -EBADMSG (they are
 * not what they should be), -ENOMEM.
 */
int brood__arrivals_for(brood__arrivals *arrivals, uint64_t begin, uint64_t end, size_t count,
                        brood__document *document, brood__arrival **ret_arrival);
/* All before `end` has been told: whatever came by then, and was not taken, belongs to nothing. */
void brood__arrivals_drop(brood__arrivals *arrivals, uint64_t end);
/* Close what was not taken from it. NULL is harmless. */
void brood__arrival_done(brood__arrival *arrival);

/* --- that go --- */

/* A message that has descriptors, or whose end somebody wants to know: from its send until that is told. */
typedef struct brood__parcel {
    brood__list node;
    uint64_t begin, end; /* its frame, counted from the channel's first byte */
    int error;
    brood_on_sent on_sent; /* may be NULL */
    void *data;
    const char *type;       /* what Node calls its descriptor; NULL: it goes to brood */
    const char *dgram_type; /* likewise, of a UDP socket */
    bool asks;              /* in an envelope, which the other end answers */
    size_t count;
    int fds[];
} brood__parcel;

/* With descriptors of its own, duplicates; `to_node`: only what Node can take, and not blocking. */
int brood__parcel_new(const int *fds, size_t count, bool to_node, brood__parcel **ret_parcel);
/* More of them, which the writer shares, behind the others: 0, or -ENOMEM. *parcel may be NULL before, and moves. */
int brood__parcel_share(brood__parcel **parcel, brood_writer *writer);
/* The kernel has them. */
void brood__parcel_close_fds(brood__parcel *parcel);
/* NULL is harmless. */
void brood__parcel_free(brood__parcel *parcel);

/* Around the message. */
void brood__envelope_begin(brood_writer *writer, const brood__parcel *parcel);
void brood__envelope_end(brood_writer *writer, const brood__parcel *parcel);

/* The other end is brood's: bytes may be elsewhere than in the frame, if it is one of structured clone. */
void brood__share_bytes(brood_writer *writer, brood__document *document);

/* --- what the two ends say to each other, and no user is told --- */

typedef enum brood__internal {
    BROOD__NOT_INTERNAL,
    BROOD__UNKNOWN, /* of Node's cluster, say */
    BROOD__ENVELOPE,
    BROOD__ACK,
    BROOD__NACK,
    BROOD__HELLO,        /* the other end is brood's */
    BROOD__NOTIFY_CLOSE, /* a server in Node has closed, and wants to know when the sockets are that it gave away */
    BROOD__ALL_CLOSED,   /* the answer */
    BROOD__GET_COUNT,    /* how many of those are open */
    BROOD__COUNT,        /* the answer */
} brood__internal;

brood__internal brood__internal_of(brood_value message);

/* What is in an envelope, however often it was wrapped: when Node sends one again it puts it into another. */
brood_value brood__envelope_open(brood_value message, size_t *ret_count);

/* A frame that says this; `key`: of the server that it is about, or BROOD_MISSING. */
int brood__say(brood_writer *writer, brood__internal what, brood_value key);

#endif
