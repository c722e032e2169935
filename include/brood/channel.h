/**
 * @file channel.h
 * Messages between a parent and its child, on the wire of Node's child_process: either end may be a real Node process
 * that knows nothing of brood. The same type serves both ends: brood_child_channel gives the parent's,
 * brood_channel_open_parent opens the child's. Loop thread only.
 */
#ifndef BROOD_CHANNEL_H
#define BROOD_CHANNEL_H

#include <brood/base.h>
#include <brood/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One end of a channel. */
typedef struct brood_channel brood_channel;

/** How values become bytes; Node's option `serialization`. Both ends have the same: the parent says. */
typedef enum brood_serialization {
    BROOD_JSON = 0, /**< JSON, a line each: Node's default */
    BROOD_ADVANCED  /**< V8's structured clone: bytes, bigints, dates, maps, cycles */
} brood_serialization;

/** A message that came. Borrowed for the call, as is what it holds: brood_value_take keeps a value. */
typedef struct brood_message {
    brood_value value;    /**< what was sent */
    int *fds;             /**< descriptors that came with it, close-on-exec; closed after the call, but brood_take_fd */
    size_t fd_count;      /**< how many */
    uint64_t reserved[4]; /**< zero */
} brood_message;

/** Keep a descriptor of a message or a reply: `fd = brood_take_fd(&message->fds[0])`. It is yours, also to close. */
static inline int brood_take_fd(int *fd) {
    int taken = *fd;
    *fd = -1;
    return taken;
}

/** A message came, in the order in which they were sent. */
typedef void (*brood_on_message)(brood_channel *channel, const brood_message *message, void *data);

/**
 * The channel is closed: the last it tells. Once, from within uv_run, also after brood_channel_disconnect.
 *
 * error   0: either end has disconnected, or the other process is gone; -EBADMSG, -EMSGSIZE: what came could not be
 *         read, or is larger than it may be; -EMFILE, -ENOMEM: this process had no descriptor, or no memory, for what
 *         came; -ENOBUFS: the other end asks, and reads no answers; else a negative errno of the socket
 */
typedef void (*brood_on_disconnect)(brood_channel *channel, int error, void *data);

/** The queue fell to half of the high-water mark after a send had reported that it was above it. */
typedef void (*brood_on_channel_drain)(brood_channel *channel, void *data);

/**
 * A message has been sent: the kernel has all of it (`error` 0); or never will: -EPIPE (the other end is gone),
 * -ECANCELED (this end was closed). With descriptors, or bytes that are shared, it comes when the other end has
 * answered for them: 0 (it has them), -EREMOTEIO (it has not, or nobody there takes them: the message is dropped),
 * -EPIPE (it ended before it answered); or with the kernel's refusal to pass such a descriptor, as -EINVAL for an
 * io_uring. Once per message, from within uv_run, before on_disconnect. Messages without descriptors, and those with,
 * are told of in their own order each, not in a common one.
 */
typedef void (*brood_on_sent)(brood_channel *channel, int error, void *data);

/** What a message is made of: of these, exactly one. All of it is used up when the call returns. */
typedef struct brood_body {
    const char *json;                                /**< JSON text, checked before it is sent */
    size_t json_len;                                 /**< its length, or BROOD_NUL */
    void (*write)(brood_writer *writer, void *data); /**< writes one value; called once, within the call */
    void *data;                                      /**< handed to `write` */
    const brood_value *value;                        /**< a value, as it came in a message or was parsed */
    /**
     * Descriptors that go with it, or NULL. They are duplicated: yours stay yours, and may be closed at once.
     *
     * To Node one at a time, and only what it can take: a stream socket, listening or connected, of TCP or UNIX; a UDP
     * socket; a pipe. It arrives as Node's net.Server, net.Socket or dgram.Socket, and is made non-blocking, for all
     * who share it: a blocking one would hold up the whole of Node. Between two ends of brood's: up to 253, of any
     * kind, as they are. A child's end knows at once that its parent is brood's; a parent knows it of its child from
     * the child's first message on.
     */
    const int *fds;
    size_t fd_count;      /**< how many */
    uint64_t reserved[2]; /**< zero */
} brood_body;

/** How the child's end is opened. All-zero is the default. */
typedef struct brood_channel_options {
    brood_on_message on_message;       /**< NULL: messages wait, up to max_message bytes, for brood_channel_listen */
    brood_on_disconnect on_disconnect; /**< may be NULL */
    brood_on_channel_drain on_drain;   /**< may be NULL */
    void *data;                        /**< handed to the callbacks; yours */
    size_t max_message;                /**< bytes; a larger one that comes ends the channel; 0: 64 MiB */
    size_t max_values;                 /**< values in one message; more end the channel; 0: 16 Mi */
    size_t high_water;                 /**< brood_channel_queued above which a send returns 1; 0: 128 KiB, as in Node */
    size_t max_queued;                 /**< bytes; beyond, a send is refused with -ENOBUFS; 0: 256 MiB */
    uint64_t reserved[8];              /**< zero */
} brood_channel_options;

/** @cond sized: the public form passes the struct's size, so that programs compiled earlier keep working */
BROOD_API int brood_channel_open_parent_sized(uv_loop_t *loop, const brood_channel_options *options, size_t size,
                                              brood_channel **ret_channel, brood_failure *ret_failure);
BROOD_API int brood_channel_send_sized(brood_channel *channel, const brood_body *body, size_t size,
                                       brood_on_sent on_sent, void *data);
/** @endcond */

/**
 * Open this process's end of the channel to its parent, be that brood's brood_fork, Node's `fork()` with `execPath`, or
 * its `spawn()` with an `ipc` slot. Takes NODE_CHANNEL_FD and NODE_CHANNEL_SERIALIZATION_MODE out of the environment,
 * and BROOD_CHANNEL_PARENT, by which a parent of brood's tells its process id: this is the parent's channel once, and
 * nobody's whom this process starts. (It is the one place where brood changes the environment: no other thread may use
 * it meanwhile; setenv(3).)
 *
 * As in Node, the channel keeps the loop alive while there is an on_message or an on_disconnect, or something is still
 * to be sent; brood_channel_ref and brood_channel_unref say otherwise.
 *
 * ret_channel   yours until brood_channel_close
 * ret_failure   may be NULL
 *
 * Returns 0, -ENOTCONN (this process has no channel: it was not forked, or opened it already), -EINVAL (options; or
 * the environment names something that is no channel), -EMFILE, or -ENOMEM.
 */
static inline int brood_channel_open_parent(uv_loop_t *loop, const brood_channel_options *options,
                                            brood_channel **ret_channel, brood_failure *ret_failure) {
    return brood_channel_open_parent_sized(loop, options, options ? sizeof *options : 0, ret_channel, ret_failure);
}

/** The serialization that both ends use. */
BROOD_API brood_serialization brood_channel_serialization(const brood_channel *channel);

/**
 * Whether the other end is brood's for certain, so that large bytes are shared and any descriptors sent. A child knows
 * from the start, a parent from its child's first message, which brood sends by itself, on.
 */
BROOD_API bool brood_channel_peer_is_brood(const brood_channel *channel);

/** Whether messages can be sent and received: from the opening until brood_channel_disconnect or the other end's. */
BROOD_API bool brood_channel_connected(const brood_channel *channel);

/**
 * Send a message. It leaves with all others of this turn of the loop in one write, when the callback that this is
 * called from returns, or with the next turn.
 *
 * body      borrowed for the call
 * on_sent   NULL, or called once, later
 * data      handed to on_sent
 *
 * Returns 0; 1 if more than the high-water mark is queued now (stop until on_drain); -EPIPE (not connected); -EINVAL
 * (the body has none or two contents, or is undefined, which cannot be sent); -EILSEQ (text that is no JSON, or no
 * UTF-8: brood_channel_error_offset); other errors as of brood_writer_status; -ENOBUFS (max_queued); -EDEADLK (called
 * by a body's `write`); -ENOMEM. Of the descriptors: -EOPNOTSUPP (not of a kind that Node can take, or too many),
 * -EBADF, -EMFILE. On error nothing is sent, and on_sent does not come.
 */
static inline int brood_channel_send(brood_channel *channel, const brood_body *body, brood_on_sent on_sent,
                                     void *data) {
    return brood_channel_send_sized(channel, body, body ? sizeof *body : 0, on_sent, data);
}

/** The same with JSON text for a body, and nobody who is told; `len` may be BROOD_NUL. */
BROOD_API int brood_channel_send_json(brood_channel *channel, const char *json, size_t len);

/** After -EILSEQ: the offset, in the text that was given, of the first byte that cannot be. */
BROOD_API size_t brood_channel_error_offset(const brood_channel *channel);

/** The answer to a request. Borrowed for the call. */
typedef struct brood_reply {
    /**
     * 0; -EREMOTEIO (the other end answered with an error, or did not take the descriptors), -ETIMEDOUT, -ECANCELED
     * (brood_channel_cancel), -EPIPE (the channel ended before); another: the kernel passes no such descriptor
     */
    int status;
    brood_value result;   /**< status 0: the member "result" of the answer; may be missing */
    const char *error;    /**< status -EREMOTEIO: what the other end said, else NULL */
    int *fds;             /**< descriptors that came with it, as a message's */
    size_t fd_count;      /**< how many */
    uint64_t reserved[2]; /**< zero */
} brood_reply;

/** The answer came, or never will: exactly once for each request. */
typedef void (*brood_on_reply)(brood_channel *channel, const brood_reply *reply, void *data);

/** @cond sized: the public forms pass the struct's size, so that programs compiled earlier keep working */
BROOD_API int brood_channel_request_sized(brood_channel *channel, const brood_body *body, size_t size,
                                          uint64_t timeout_ms, brood_on_reply on_reply, void *data,
                                          uint64_t *ret_ticket);
/** @endcond */

/**
 * Send a message that wants an answer. The body is an object; a member `id`, a number, is appended to it. The other end
 * answers with `{id, result}` or `{id, error}`, as hand-made Node workers do (JSON leaves an undefined result out, so
 * that `{id}` alone is one): such a message, with the id of a request that is open, goes to on_reply, all others to
 * on_message.
 *
 * timeout_ms   from now; 0 or BROOD_FOREVER: none
 * on_reply     exactly once, later; may be NULL
 * ret_ticket   may be NULL; the id, for brood_channel_cancel
 *
 * Returns as brood_channel_send; -EINVAL if the body is no object, -EEXIST if it has an `id` already.
 */
static inline int brood_channel_request(brood_channel *channel, const brood_body *body, uint64_t timeout_ms,
                                        brood_on_reply on_reply, void *data, uint64_t *ret_ticket) {
    return brood_channel_request_sized(channel, body, body ? sizeof *body : 0, timeout_ms, on_reply, data, ret_ticket);
}

/** Wait for a request's answer no more: on_reply comes, later, with -ECANCELED. Returns 0, or -ENOENT (not open). */
BROOD_API int brood_channel_cancel(brood_channel *channel, uint64_t ticket);

/** A request that came, and is still to be answered. */
typedef struct brood_request brood_request;

/**
 * In on_message: take the message as a request, to be answered now or later.
 *
 * ret_request   yours until brood_request_reply or brood_request_fail
 *
 * Returns 0, -ENOENT (it has no `id`), or -ENOMEM.
 */
BROOD_API int brood_request_take(brood_channel *channel, const brood_message *message, brood_request **ret_request);

/**
 * Answer with `{id, result}`. The request is gone, also on error. May come after the channel's end.
 *
 * result   as brood_channel_send's body; NULL: null
 *
 * Returns as brood_channel_send; where the result itself could not be sent, the other end gets an error instead.
 */
BROOD_API int brood_request_reply(brood_request *request, const brood_body *result);

/** Answer with `{id, error}`, the error in words. Otherwise as brood_request_reply. */
BROOD_API int brood_request_fail(brood_request *request, const char *error);

/** Bytes that wait to be sent; those of shared bytes wait until the other end has mapped them. */
BROOD_API size_t brood_channel_queued(const brood_channel *channel);

/**
 * Tell messages to `on_message` from now on; NULL: to nobody, they wait. Those that came earlier and were told to
 * nobody come first, in order. The other end's answers for descriptors are taken meanwhile; its own descriptors are
 * answered for when they are told.
 */
BROOD_API void brood_channel_listen(brood_channel *channel, brood_on_message on_message, void *data);

/** Read nothing until brood_channel_resume, answers for descriptors neither: the other end's sends queue up. */
BROOD_API void brood_channel_pause(brood_channel *channel);

/** Read on. */
BROOD_API void brood_channel_resume(brood_channel *channel);

/**
 * End the connection: what is queued is still sent, then the other end sees that no more comes, and closes its own, as
 * Node does. What it had written until then is still told (Node drops what it has queued: wait for its answers first);
 * on_disconnect comes last. Harmless if it is not connected.
 */
BROOD_API void brood_channel_disconnect(brood_channel *channel);

/** Keep the loop alive as long as it is connected, whatever Node's rules say. */
BROOD_API void brood_channel_ref(brood_channel *channel);

/** Do not keep the loop alive. */
BROOD_API void brood_channel_unref(brood_channel *channel);

/**
 * Give back a channel that brood_channel_open_parent opened. What is queued is still sent, and the other end's answers
 * for descriptors waited for, as long as the loop runs; nothing is told any more, but on_sent and on_reply. NULL is
 * harmless; a child's channel is its child's, and nothing happens.
 */
BROOD_API void brood_channel_close(brood_channel *channel);

/**
 * Does one task, and may block: it has the process to itself. The task is a message as it came; what is written to
 * `result`, one value, is the answer (nothing: null).
 *
 * Returns 0, or a negative errno that becomes the answer's error.
 */
typedef int (*brood_work)(brood_value task, brood_writer *result, void *data);

/**
 * A worker's whole main: for each message of the parent's, one after another, call `work`, and send `{id, result}`, or
 * `{id, error}` with the error in words; `id` is the message's member of that name, if it has one. No loop is needed,
 * and none may use the channel meanwhile. It takes no descriptors: a message with one is refused.
 *
 * Returns 0 when the parent disconnects or is gone; -ENOTCONN (no channel, as brood_channel_open_parent), -EBADMSG,
 * -EMSGSIZE (a message that could not be read, or larger than 64 MiB), -EMFILE (no descriptor left for bytes that are
 * shared), or -ENOMEM.
 */
BROOD_API int brood_worker_main(brood_work work, void *data);

/** What the options called data. */
BROOD_API void *brood_channel_data(const brood_channel *channel);

#ifdef __cplusplus
}
#endif
#endif
