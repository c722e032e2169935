/*
 * Structured clone: any bytes. What is read is walked through the view, taken, and written in both formats; what was
 * written as structured clone is read again, and is then written the same. Bytes that are elsewhere are mapped.
 */
#include "value/v8.h"
#include "base/sys.h"
#include "value/writer.h"

#include <errno.h>
#include <stdlib.h>

#define MUST(claim) ((claim) ? (void)0 : abort()) /* assert would be nothing in a release build */
#define MOST_NODES 10000                          /* a ceiling, as a channel has one */
#define MOST_SHARED 65536                         /* bytes elsewhere that are mapped */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *copy(const void *bytes, size_t len) {
    char *exact = malloc(len ? len : 1); /* one byte too far is then seen */
    MUST(exact);
    return memcpy(exact, bytes, len);
}

/* Looks at everything there is, but never twice into a cycle: `left` ends it. */
static void walk(brood_value value, int *left) {
    brood_value key;
    const char *text;
    const void *bytes;
    size_t len, count = brood_value_count(value);
    double number;
    uint64_t words[2];
    if ((*left)-- <= 0)
        return;
    if (brood_value_string(value, &text, &len) == 0)
        MUST(text[len] == 0);
    if (brood_value_bytes(value, &bytes, &len) == 0 && len > 0)
        MUST(*(const uint8_t *)bytes <= 0xff && ((const uint8_t *)bytes)[len - 1] <= 0xff);
    if (brood_value_double(value, &number) < 0)
        (void)brood_value_bigint(value, NULL, words, 2);
    for (size_t i = 0; i < count + 2 && *left > 0; i++) {
        walk(brood_value_at(value, i, &key), left);
        if (brood_value_string(key, &text, NULL) == 0)
            MUST(brood_value_type(brood_value_get(value, text)) != BROOD_MISSING);
    }
}

static int write_value(brood_writer *w, brood_value value) {
    brood__writer_begin(w);
    brood_writer_array(w);
    brood_writer_value(w, value);
    brood_writer_end(w);
    return brood__writer_finish(w);
}

static void reread(const brood_writer *first) {
    brood__document document = {0};
    brood_writer second = {.advanced = true};
    size_t at;
    char *payload = copy(first->bytes, first->len);
    MUST(brood__v8_read(&document, payload, first->len, BROOD__MAX_DEPTH, &at) == 0);
    MUST(write_value(&second, brood_value_at((brood_value){&document, 0}, 0, NULL)) == 0);
    MUST(first->len == second.len && memcmp(first->bytes, second.bytes, first->len) == 0);
    free(payload);
    brood__document_done(&document);
    brood__writer_done(&second);
}

/* As a channel does before it tells a message. */
static int map_shared(brood__document *document) {
    static const char zeros[MOST_SHARED];
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < document->shared_count; i++) {
        uint32_t len = document->nodes[document->shared[i].node].size;
        int fd = len <= MOST_SHARED ? brood__share_copy(zeros, len) : -1;
        r = fd < 0 ? -EMSGSIZE : brood__document_map(document, i, fd);
        brood__close(fd);
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    brood__document document = {.max_nodes = MOST_NODES, .max_shared = 2};
    brood_writer clone = {.advanced = true, .max_len = 1 << 16}, json = {.max_len = 1 << 16};
    size_t at = 0;
    int left = 1000;
    char *payload = copy(data, size);
    int r = brood__v8_read(&document, payload, size, BROOD__MAX_DEPTH, &at);
    MUST(r == 0 || at <= size);
    if (r == 0 && map_shared(&document) == 0) {
        brood_value value = {&document, 0}, taken;
        walk(value, &left);
        r = write_value(&clone, value);
        MUST(r == 0 || r == -EMSGSIZE || r == -E2BIG);
        if (r == 0)
            reread(&clone);
        MUST(write_value(&json, value) <= 0);
        MUST(brood_value_take(value, &taken) == 0);
        walk(taken, &left);
        brood_value_done(&taken);
    }
    free(payload);
    brood__document_done(&document);
    brood__writer_done(&clone);
    brood__writer_done(&json);
    return 0;
}
