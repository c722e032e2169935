/**
 * @file stream.h
 * The host's end of a child's pipe, and what can be put into a child's slots. A stream belongs to its child: it is
 * valid until the child's on_close returns. Loop thread only.
 */
#ifndef BROOD_STREAM_H
#define BROOD_STREAM_H

#include <brood/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The host's end of one pipe. */
typedef struct brood_stream brood_stream;

/**
 * Bytes came. `bytes` is borrowed for the call and shared by the loop: copy what you keep. It is not NUL-terminated.
 */
typedef void (*brood_on_data)(brood_stream *stream, const char *bytes, size_t len, void *data);

/**
 * Nothing more will come: `error` is 0 at end-of-file, -ETIMEDOUT if the end was not waited for (close_grace_ms), else
 * the negative errno of the read. Once.
 */
typedef void (*brood_on_end)(brood_stream *stream, int error, void *data);

/**
 * A write is done: `error` 0, -EPIPE (nobody reads any more), -ECANCELED (the stream was destroyed). Once per write.
 */
typedef void (*brood_on_written)(brood_stream *stream, int error, void *data);

/** The queue fell to half of the high-water mark after a write had reported that it was above it. */
typedef void (*brood_on_drain)(brood_stream *stream, void *data);

/** What a slot is connected to. The kind decides which fields are read; others must be zero. */
typedef enum brood_stdio_kind {
    /**
     * A pipe if a callback or `input` is given, else inherited (Node's default is a pipe). In the exec forms:
     * slot 0 reads `/dev/null` unless `input` is given, slots 1 and 2 are collected.
     */
    BROOD_STDIO_DEFAULT = 0,
    BROOD_STDIO_PIPE,   /**< a pipe to the host */
    BROOD_STDIO_IGNORE, /**< `/dev/null` */
    /**
     * The host's descriptor of the same number. For 0, 1 and 2 `/dev/null` if the host has closed it, or what has the
     * number is close-on-exec.
     */
    BROOD_STDIO_INHERIT,
    BROOD_STDIO_FD,   /**< the host's descriptor `fd`, which stays the host's */
    BROOD_STDIO_FILE, /**< the file `path`, opened by the host, relative to the host's directory, as `mode` says */
    /** whatever the child's slot number `slot` is: `2>&1` is `.err = {.kind = BROOD_STDIO_SLOT, .slot = 1}` */
    BROOD_STDIO_SLOT
} brood_stdio_kind;

/** How a slot's file is opened. */
typedef enum brood_file_mode {
    BROOD_FILE_DEFAULT = 0, /**< READ for slot 0, TRUNCATE for all others */
    BROOD_FILE_READ,        /**< for reading: `< path` */
    BROOD_FILE_TRUNCATE,    /**< for writing from the start, made with mode 0666 less the umask: `> path` */
    BROOD_FILE_APPEND       /**< for writing at the end: `>> path` */
} brood_file_mode;

/** One slot of a child. All-zero is the default. */
typedef struct brood_stdio {
    brood_stdio_kind kind; /**< what it is connected to */
    /** FD: the host's descriptor; borrowed for the call (until on_spawn, if started off the loop) */
    int fd;
    int slot;             /**< SLOT: another of the child's slots */
    brood_file_mode mode; /**< FILE: how to open it */
    const char *path;     /**< FILE: copied */
    /**
     * PIPE or default: bytes that the child reads, then end-of-file. Copied. A child that leaves some unread is no
     * error.
     */
    const void *input;
    size_t input_len;        /**< length of `input`, or BROOD_NUL */
    brood_on_data on_data;   /**< PIPE or default, child writes: called with what it wrote */
    brood_on_end on_end;     /**< called once after the last on_data */
    brood_on_drain on_drain; /**< PIPE, child reads: room again after a write returned 1 */
    size_t high_water;       /**< PIPE, child reads: queued bytes above which a write returns 1; 0: 64 KiB */
    size_t pipe_size;        /**< PIPE: F_SETPIPE_SZ, a wish that the kernel may refuse; 0: the kernel's default */
    void *data;              /**< handed to this slot's callbacks; NULL: the options' `data` */
    uint64_t reserved[4];    /**< zero */
} brood_stdio;

/** A slot beyond 0, 1 and 2. */
typedef struct brood_slot {
    int slot;       /**< its number in the child, 3 to 65535 */
    brood_stdio io; /**< default: a pipe; with on_data the child writes, else it reads */
} brood_slot;

/**
 * Write to the child. What the pipe takes goes at once, the rest is copied and queued.
 *
 * bytes       borrowed for the call
 * len         or BROOD_NUL
 * on_written  NULL, or called once, later, when the last byte is in the pipe or the write failed
 * data        handed to on_written
 *
 * Returns 0; 1 if more than the high-water mark is queued now (stop until on_drain); -EPIPE (the child no longer
 * reads; no signal is raised), -EBADF (ended, destroyed, or a stream to read from), -ENOMEM. On error nothing is
 * queued and on_written does not come.
 */
BROOD_API int brood_stream_write(brood_stream *stream, const void *bytes, size_t len, brood_on_written on_written,
                                 void *data);

/** End-of-file for the child once all that is queued is written. Returns 0, or -EBADF as brood_stream_write. */
BROOD_API int brood_stream_end(brood_stream *stream);

/** Close now: queued writes are reported as -ECANCELED, nothing more is read and no on_end comes. Harmless twice. */
BROOD_API void brood_stream_destroy(brood_stream *stream);

/**
 * Stop reading until brood_stream_resume: the pipe fills up and the child waits. Meanwhile neither idle_timeout_ms nor
 * close_grace_ms is over. Harmless on a writing stream.
 */
BROOD_API void brood_stream_pause(brood_stream *stream);

/** Read on. */
BROOD_API void brood_stream_resume(brood_stream *stream);

/**
 * Give a reading stream its callbacks later than in the options, or change them. A pipe whose child writes and that
 * has no on_data waits, paused, for this call until the child's exit; what nobody reads by then, in on_exit at the
 * latest, is dropped, as Node does.
 *
 * Returns 0, or -EBADF (destroyed, at its end, or a stream to write to).
 */
BROOD_API int brood_stream_read(brood_stream *stream, brood_on_data on_data, brood_on_end on_end, void *data);

/** Bytes queued to be written. */
BROOD_API size_t brood_stream_queued(const brood_stream *stream);

/** The slot that the stream is connected to. */
BROOD_API int brood_stream_slot(const brood_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
