/*
 * The host's end of one pipe, from inside. A stream is part of its child's memory and may exist before its pipe does:
 * what is written until then is queued.
 */
#ifndef BROOD_STREAM_STREAM_INTERNAL_H
#define BROOD_STREAM_STREAM_INTERNAL_H

#include "base/list.h"
#include "loop/watch.h"

#include <brood/stream.h>

/* What the owner of a stream is told. */
typedef struct brood__stream_owner {
    /* Bytes came, before the user's on_data, which the owner calls. */
    void (*on_data)(brood_stream *stream, const char *bytes, size_t len);
    /* End-of-file (0) or a read error; the stream closes after it. */
    void (*on_end)(brood_stream *stream, int error);
    /* Writes are about to be reported, or a drain. */
    void (*on_report)(brood_stream *stream);
    /* It had a pipe, which is closed: no more data. Within whatever closed it; reports of writes may follow. */
    void (*on_closed)(brood_stream *stream);
} brood__stream_owner;

struct brood_stream {
    brood__watch watch; /* and the descriptor */
    const brood__stream_owner *owner;
    void *owner_data;
    int slot;
    bool writes; /* the child reads */
    bool closed; /* for good */
    bool paused;
    int error; /* it cannot be waited for: its end, once that is reported */
    /* reading */
    brood_on_data on_data;
    brood_on_end on_end;
    void *data;
    /* writing */
    bool ending; /* close once the queue is empty */
    bool above;  /* a write said that the queue is above the high-water mark */
    size_t queued, high_water;
    brood__list chunks;   /* to be written */
    brood__list finished; /* to be reported */
    brood__post report;
    brood_on_drain on_drain;
};

/* Make a stream without a pipe yet. */
void brood__stream_init(brood_stream *s, brood__loop *loop, int slot, bool writes, const brood_stdio *io, void *data,
                        const brood__stream_owner *owner, void *owner_data);

/* Bytes and then end-of-file. Only before anything was written. */
int brood__stream_preload(brood_stream *s, const void *bytes, size_t len);

/* Give it its pipe, a non-blocking descriptor. Takes `fd` on success, when it may even have been closed again. */
int brood__stream_attach(brood_stream *s, int fd);

/* One that reads: as if it had never had a pipe. */
void brood__stream_detach(brood_stream *s);

/* Close it, from whatever state. What is queued will be reported with `error`. */
void brood__stream_close(brood_stream *s, int error);

/* Read what is there now, without waiting to be told that there is something. */
void brood__stream_read_now(brood_stream *s);

/* No more reports to the user. */
void brood__stream_silence(brood_stream *s);

/* Report what is left, now: before its memory goes. */
void brood__stream_flush_reports(brood_stream *s);

void brood__stream_set_ref(brood_stream *s, bool ref);

static inline bool brood__stream_is_open(const brood_stream *s) {
    return s->watch.fd >= 0;
}

#endif
