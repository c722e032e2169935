/*
 * A talk writes down what one forked child's channel tells: messages as one line of words, and what else happens. The
 * child is mostly brood-peer (tests/node/peer.c).
 */
#ifndef TALK_H
#define TALK_H

#include "watch.h"

#define PEER (test_program("brood-peer"))
/* brood-peer as a child that does not know its parent for brood's, as Node's would not */
#define STRANGER(...) BROOD_ARGS("sh", "-c", "unset BROOD_CHANNEL_PARENT; exec \"$0\" \"$@\"", PEER, __VA_ARGS__)

typedef struct talk {
    brood_child *child;
    brood_channel *channel;
    char log
        [4096]; /* numbers and strings as they are, else type(count); "disconnect(N)", "exit(N)"; a blank behind each */
    int messages, sent, sent_error, drains, disconnects, closes;
    int wait_for; /* after so many messages: disconnect */
    int64_t last;
    brood_value kept; /* the last message's, while it is told */
    const brood_message *message;
    bool quiet;    /* no messages in the log */
    bool in_order; /* they were 0, 1, 2, ... */
    void (*then)(struct talk *talk);
    void *more; /* the test's */
} talk;

talk *talk_new(void);
void talk_note(talk *talk, const char *format, ...) __attribute__((format(printf, 2, 3)));
void talk_on_message(brood_channel *channel, const brood_message *message, void *data);
void talk_on_disconnect(brood_channel *channel, int error, void *data);
void talk_on_sent(brood_channel *channel, int error, void *data);
void talk_on_drain(brood_channel *channel, void *data);
void talk_on_exit(brood_child *child, const brood_exit *ended, void *data);
void talk_on_close(brood_child *child, const brood_exit *ended, void *data);
void talk_send(test *t, talk *talk, const char *json);

/* False: it could not be started, in torture mode. */
bool talk_start(test *t, talk *talk, const brood_options *options);

#define TALK(k, ...)                                                                                                   \
    talk *k = talk_new();                                                                                              \
    if (!talk_start(t, k, &(brood_options){__VA_ARGS__}))                                                              \
    return

/* The first of the Nodes to test with, or NULL. */
const char *node_program(void);

#endif
