/*
 * Descriptors with messages. Node puts the message of one into an envelope, NODE_HANDLE, with the descriptor at the
 * envelope's first byte, and sends no second before the first has been answered; two ends of brood's put many into one,
 * and have several under way. Bytes that are shared go with a message the same way, between brood's. Whatever brought
 * descriptors is answered, by an ACK or a NACK, in their order.
 */
#ifndef BROOD_CHANNEL_HANDLE_H
#define BROOD_CHANNEL_HANDLE_H

#include "base/list.h"
#include "base/sys.h"
#include "value/writer.h"

#include <brood/channel.h>

#define BROOD__MAX_GIVEN                                                                                               \
    512 /* descriptors under way to brood that have not been answered for, if more than one message */

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
    bool came;         /* descriptors with the last of them: the read ended there, whatever lies behind */
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
    size_t elsewhere;       /* bytes that are shared, until the other end has answered */
    size_t given;           /* descriptors that have left, likewise */
    size_t count;           /* of those that are to leave */
    int fds[];
} brood__parcel;

/* With descriptors of its own, duplicates; `to_node`: only what Node can take, which must not block then. */
int brood__parcel_new(const int *fds, size_t count, bool to_node, brood__parcel **ret_parcel);
/* The bytes that the writer shares, behind the others: 0, or -ENOMEM. *parcel may be NULL before, and moves. */
int brood__parcel_share(brood__parcel **parcel, brood_writer *writer);
/* The kernel has them. */
void brood__parcel_close_fds(brood__parcel *parcel);
/* NULL is harmless. */
void brood__parcel_free(brood__parcel *parcel);

/* Around the message. */
void brood__envelope_begin(brood_writer *writer, const brood__parcel *parcel);
void brood__envelope_end(brood_writer *writer, const brood__parcel *parcel);

/* To brood: bytes of the next message, which has so many descriptors, may be elsewhere than in its frame. */
void brood__share_bytes(brood_writer *writer, size_t fd_count);
/* From brood, likewise. */
void brood__expect_shared(brood__document *document, bool advanced);

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

#define BROOD__MAX_INTERNAL 512 /* bytes of one that is no envelope; Node's are shorter */

/* A frame that says this; `key`: of the server that it is about, or BROOD_MISSING. */
int brood__say(brood_writer *writer, brood__internal what, brood_value key);

#endif
