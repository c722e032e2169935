/*
 * Frames, as bytes only: a line of JSON, or four bytes of length and a payload of structured clone. However the stream
 * was cut into reads, frames come out whole.
 */
#ifndef BROOD_CHANNEL_FRAME_H
#define BROOD_CHANNEL_FRAME_H

#include "value/json.h"
#include "value/writer.h"

#define BROOD__FRAME_SLACK BROOD__JSON_SLACK /* bytes behind what is looked at that can be read */

/* Bytes that came and wait for the rest of their frame, or for somebody who listens. All-zero is empty. */
typedef struct brood__frames {
    bool advanced;
    size_t max_len; /* of one payload */
    char *bytes;
    size_t at, len, capacity; /* what is before `at` has been used up */
    size_t scanned;           /* from `at` on: so much of it holds no line feed */
} brood__frames;

typedef struct brood__frame {
    char *payload;
    size_t len;
} brood__frame;

/*
 * The next frame of `bytes`, from *at on, which is then behind it: 1. Not all of it is there: 0, and *ret_need is how
 * long it will be at least. -EMSGSIZE: it is too large.
 */
int brood__frame_next(brood__frames *frames, char *bytes, size_t len, size_t *at, brood__frame *ret_frame,
                      size_t *ret_need);

/* Its bytes with what is before and behind its payload. */
size_t brood__frame_size(const brood__frames *frames, const brood__frame *frame);

/*
 * Read its value into an empty document: 0, -EBADMSG, -EMSGSIZE (too deep, too many values, or more than max_len bytes
 * elsewhere), or -ENOMEM.
 */
int brood__frame_read(const brood__frames *frames, const brood__frame *frame, brood__document *document);

/* Keep bytes that were read elsewhere. */
int brood__frames_keep(brood__frames *frames, const char *bytes, size_t len);
/* Room for at least one more byte behind what is kept; `need`: as above. Returns how much, or -ENOMEM. */
ssize_t brood__frames_make_room(brood__frames *frames, size_t need);
/* So many bytes were put there. */
void brood__frames_read(brood__frames *frames, size_t len);
/* Forget what has been used up; large memory with it. */
void brood__frames_compact(brood__frames *frames);
void brood__frames_done(brood__frames *frames);

/* Around one value: what a frame has before and behind it. */
void brood__frame_begin(brood_writer *writer);
int brood__frame_end(brood_writer *writer);

#endif
