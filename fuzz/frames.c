/*
 * Frames: any bytes, cut anywhere. The first two bytes say which format and where the cuts are; what comes out must not
 * depend on them. A frame's ceiling is small, so that it is met.
 */
#include "channel/frame.h"

#include <errno.h>
#include <stdlib.h>

#define MUST(claim) ((claim) ? (void)0 : abort()) /* assert would be nothing in a release build */
#define MOST 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All payloads one after another, with their lengths, and how it ended. */
typedef struct outcome {
    char *bytes;
    size_t len, frames;
    int error;
} outcome;

static void take(outcome *o, const brood__frame *frame) {
    MUST(frame->len <= MOST);
    o->bytes = realloc(o->bytes, o->len + sizeof frame->len + frame->len + 1);
    MUST(o->bytes);
    memcpy(o->bytes + o->len, &frame->len, sizeof frame->len);
    memcpy(o->bytes + o->len + sizeof frame->len, frame->payload, frame->len);
    o->len += sizeof frame->len + frame->len;
    o->frames++;
}

/* As a channel does, in pieces of at most so many bytes. */
static outcome split(bool advanced, const uint8_t *data, size_t size, size_t piece) {
    brood__frames frames = {.advanced = advanced, .max_len = MOST};
    outcome o = {0};
    size_t need = 0;
    while (size > 0 && o.error == 0) {
        ssize_t room = brood__frames_make_room(&frames, need);
        MUST(room > 0);
        size_t n = piece < size ? piece : size;
        n = n < (size_t)room ? n : (size_t)room;
        memcpy(frames.bytes + frames.len, data, n);
        brood__frames_read(&frames, n);
        data += n;
        size -= n;
        brood__frame frame;
        int r;
        while ((r = brood__frame_next(&frames, frames.bytes, frames.len, &frames.at, &frame, &need)) > 0)
            take(&o, &frame);
        o.error = r;
        brood__frames_compact(&frames);
        MUST(o.error || frames.len - frames.at <= MOST + 4);
    }
    MUST(o.error == 0 || o.error == -EMSGSIZE);
    brood__frames_done(&frames);
    return o;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    bool advanced = data[0] & 1;
    outcome whole = split(advanced, data + 2, size - 2, size), cut = split(advanced, data + 2, size - 2, data[1] + 1U);
    MUST(whole.frames == cut.frames && whole.len == cut.len && whole.error == cut.error);
    MUST(whole.len == 0 || memcmp(whole.bytes, cut.bytes, whole.len) == 0);
    free(whole.bytes);
    free(cut.bytes);
    return 0;
}
