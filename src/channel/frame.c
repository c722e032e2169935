/*
 * Frames. What is cut is kept at the front of one buffer, and read on behind it; a length that lies makes it no larger
 * than what has really come, twice over.
 */
#include "channel/frame.h"

#include "base/memory.h"
#include "value/v8.h"

#include <errno.h>

#define HEAD 4
#define READ_ROOM 65536
#define KEPT_CAPACITY (256 * 1024)

static size_t payload_length(const char *head) {
    const uint8_t *b = (const uint8_t *)head;
    return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
}

static int next_payload(const brood__frames *f, char *bytes, size_t len, size_t *at, brood__frame *ret_frame,
                        size_t *ret_need) {
    size_t there = len - *at;
    *ret_need = HEAD;
    if (there < HEAD)
        return 0;
    size_t payload = payload_length(bytes + *at);
    if (payload > f->max_len)
        return -EMSGSIZE;
    *ret_need = HEAD + payload;
    if (there < HEAD + payload)
        return 0;
    *ret_frame = (brood__frame){bytes + *at + HEAD, payload};
    *at += HEAD + payload;
    return 1;
}

static int next_line(brood__frames *f, char *bytes, size_t len, size_t *at, brood__frame *ret_frame, size_t *ret_need) {
    char *line = bytes + *at, *from = line + f->scanned;
    char *end = memchr(from, '\n', len - *at - f->scanned);
    if ((size_t)((end ? end : bytes + len) - line) > f->max_len)
        return -EMSGSIZE;
    if (!end) {
        f->scanned = len - *at;
        *ret_need = f->scanned + 1;
        return 0;
    }
    f->scanned = 0;
    *ret_frame = (brood__frame){line, (size_t)(end - line)};
    *at += ret_frame->len + 1;
    return 1;
}

int brood__frame_next(brood__frames *f, char *bytes, size_t len, size_t *at, brood__frame *ret_frame,
                      size_t *ret_need) {
    *ret_need = 1;
    if (*at == len) /* and there may be no buffer yet */
        return 0;
    return f->advanced ? next_payload(f, bytes, len, at, ret_frame, ret_need)
                       : next_line(f, bytes, len, at, ret_frame, ret_need);
}

size_t brood__frame_size(const brood__frames *f, const brood__frame *frame) {
    return frame->len + (f->advanced ? HEAD : 1);
}

int brood__frame_read(const brood__frames *f, const brood__frame *frame, brood__document *document) {
    size_t at;
    int r = f->advanced ? brood__v8_read(document, frame->payload, frame->len, BROOD__MAX_DEPTH, &at)
                        : brood__json_read(document, frame->payload, frame->len, BROOD__MAX_DEPTH, &at);
    if (r == 0 && brood__document_shared(document) > f->max_len)
        return -EMSGSIZE;
    return r == -EILSEQ ? -EBADMSG : r == -E2BIG ? -EMSGSIZE : r;
}

static int grow(brood__frames *f, size_t capacity) {
    if (capacity <= f->capacity)
        return 0;
    char *bytes = brood__resize(f->bytes, capacity + BROOD__FRAME_SLACK);
    if (!bytes)
        return -ENOMEM;
    f->bytes = bytes;
    f->capacity = capacity;
    return 0;
}

int brood__frames_keep(brood__frames *f, const char *bytes, size_t len) {
    int r = grow(f, f->len + len);
    if (r < 0)
        return r;
    memcpy(f->bytes + f->len, bytes, len);
    brood__frames_read(f, len);
    return 0;
}

ssize_t brood__frames_make_room(brood__frames *f, size_t need) {
    size_t used = f->len - f->at, whole = f->at + need;
    if (f->capacity - f->len < READ_ROOM / 2) {
        size_t capacity = f->len + READ_ROOM > 2 * f->len ? f->len + READ_ROOM : 2 * f->len;
        if (f->advanced && need > used && whole > f->len + READ_ROOM && capacity > whole)
            capacity = whole; /* so much, and most likely no more */
        int r = grow(f, capacity);
        if (r < 0 && f->capacity == f->len)
            return r;
    }
    return (ssize_t)(f->capacity - f->len);
}

void brood__frames_compact(brood__frames *f) {
    if (f->at < f->len && f->at <= f->len / 2)
        return;
    f->len -= f->at;
    if (f->len > 0)
        memmove(f->bytes, f->bytes + f->at, f->len);
    f->at = 0;
    if (f->len == 0 && f->capacity > KEPT_CAPACITY) {
        brood__free(f->bytes);
        f->bytes = NULL;
        f->capacity = 0;
    }
}

void brood__frames_read(brood__frames *f, size_t len) {
    f->len += len;
    memset(f->bytes + f->len, 0, BROOD__FRAME_SLACK);
}

void brood__frames_done(brood__frames *f) {
    brood__free(f->bytes);
    *f = (brood__frames){0};
}

/* --- what is sent --- */

void brood__frame_begin(brood_writer *w) {
    w->error = 0;
    w->frame = w->start = w->len;
    if (w->advanced)
        brood__writer_add(w, "\0\0\0\0", HEAD);
    int error = w->error;
    brood__writer_begin(w);
    brood__writer_fail(w, error);
}

int brood__frame_end(brood_writer *w) {
    int r = brood__writer_finish(w);
    if (r == 0 && !w->advanced)
        brood__writer_byte(w, '\n');
    r = w->error;
    if (r < 0) {
        w->len = w->frame;
        return r;
    }
    size_t payload = w->len - w->start;
    for (int i = 0; w->advanced && i < HEAD; i++)
        w->bytes[w->frame + (size_t)i] = (char)(payload >> 8 * (HEAD - 1 - i));
    return 0;
}
