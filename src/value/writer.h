/*
 * The writer, from inside: it writes value after value into one buffer, which is its channel's to empty. What a frame
 * has before and behind a value is the channel's business, and put into the same buffer.
 */
#ifndef BROOD_VALUE_WRITER_H
#define BROOD_VALUE_WRITER_H

#include "value/document.h"

#include <brood/value.h>

#include <string.h>

/* A container that is open. */
typedef struct brood__level {
    uint8_t type;   /* a brood_type */
    bool due;       /* an object: its member's name has been written, the value not yet */
    uint32_t count; /* members named, elements or values written */
    uint32_t name;  /* an object: its first among the writer's names */
    size_t start;   /* an array: where its length is; JSON, an object: where its last member begins */
} brood__level;

struct brood_writer {
    char *bytes;
    size_t len, capacity;
    size_t max_len;  /* of one value */
    bool advanced;   /* structured clone, else JSON */
    bool complete;   /* the value has been written, but for its end */
    uint8_t appends; /* the object at this depth gets an `id` at its end; 0: none */
    uint64_t id;
    int error;
    size_t error_at;  /* -EILSEQ: the offset in the text that was given */
    size_t start;     /* of the value that is being written */
    size_t frame;     /* of what its channel puts before it */
    uint32_t objects; /* structured clone: how many that may be referred to have been written */
    uint32_t depth, level_capacity;
    brood__level *levels;
    uint32_t name_count, name_capacity;
    struct brood__span {
        size_t at, len;
    } * names;           /* structured clone: those of all open objects, where they are in the buffer */
    uint32_t max_shared; /* structured clone: so many bytes of a value the other end maps, as it is brood's; 0: none */
    size_t shared_bytes;
    uint32_t shared_count;
    int shared
        [BROOD__MAX_SHARED]; /* descriptors of such bytes in the value that was written last: its channel's to take */
};

void brood__writer_done(brood_writer *writer);
/* Its buffer is empty: give it back if it is large. */
void brood__writer_trim(brood_writer *writer);
/* Close what its channel has not taken. */
void brood__writer_unshare(brood_writer *writer);
/* Whether a value is due for the name written last. */
bool brood__writer_is_due(const brood_writer *writer);

/* Begin a value behind what is in the buffer. */
void brood__writer_begin(brood_writer *writer);
/* What comes next is an object that has no member `id`, and gets this one. */
void brood__writer_append_id(brood_writer *writer, uint64_t id);
/* The name of a member. */
void brood__writer_name(brood_writer *writer, const char *text, size_t len);
/* It is at its end: 0, or the first error, -EINVAL if something is missing. On error the buffer is as before it. */
int brood__writer_finish(brood_writer *writer);

/* --- for the files of this room --- */

/* The first error stands. */
void brood__writer_fail(brood_writer *writer, int error);
bool brood__writer_grow(brood_writer *writer, size_t more);

/* Room for so many bytes; false: there is none, and the error stands. */
static inline bool brood__writer_reserve(brood_writer *writer, size_t more) {
    return writer->capacity - writer->len >= more || brood__writer_grow(writer, more);
}

static inline void brood__writer_add(brood_writer *writer, const void *bytes, size_t len) {
    if (brood__writer_reserve(writer, len)) {
        memcpy(writer->bytes + writer->len, bytes, len);
        writer->len += len;
    }
}

static inline void brood__writer_byte(brood_writer *writer, char byte) {
    if (brood__writer_reserve(writer, 1))
        writer->bytes[writer->len++] = byte;
}

static inline void brood__writer_text(brood_writer *writer, const char *text) {
    brood__writer_add(writer, text, strlen(text));
}

void brood__writer_varint(brood_writer *writer, uint64_t number);

/* A value is due here: what stands before it is written. False: it is not, and the error stands. */
bool brood__writer_due(brood_writer *writer);
/* Bytes of structured clone, with their tag, where a value is due already. */
void brood__v8_number(brood_writer *writer, double number);
void brood__v8_raw_number(brood_writer *writer, double number);                                 /* without the tag */
void brood__v8_raw_bigint(brood_writer *writer, bool negative, const char *digits, size_t len); /* lowest first */
void brood__v8_bytes(brood_writer *writer, brood_view view, const void *bytes, size_t len);
void brood__v8_name(brood_writer *writer, const char *text, size_t len);

/* Bytes of JSON. */
void brood__json_number(brood_writer *writer, double number);
void brood__json_bytes(brood_writer *writer, brood_view view, const void *bytes, size_t len);
void brood__json_date(brood_writer *writer, double ms); /* as toISOString; null if it is invalid */

/* A string with its quotes, or its tag; from writer_text.c. -EILSEQ stands where it is no UTF-8. */
void brood__json_text(brood_writer *writer, const char *text, size_t len);
void brood__v8_text(brood_writer *writer, const char *text, size_t len);
/* The letters of a regular expression's flags as V8's bits; -1: there is no such. */
int brood__regexp_bits(const char *flags);
/* The letter that tells an error's name from all others, or 0. */
char brood__error_letter(const char *name);

#endif
