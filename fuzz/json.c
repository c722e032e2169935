/*
 * JSON: any bytes. What is read is walked, written, and read again, and must then be written the same; what may be sent
 * is what is read without repair.
 */
#include "value/json.h"
#include "value/writer.h"

#include <stdlib.h>

#define MUST(claim) ((claim) ? (void)0 : abort()) /* assert would be nothing in a release build */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *copy(const void *bytes, size_t len) {
    char *exact = malloc(len + BROOD__JSON_SLACK); /* one byte too far is then seen */
    MUST(exact);
    return memcpy(exact, bytes, len);
}

static void write_json(brood_writer *w, brood__document *document) {
    brood__writer_begin(w);
    brood_writer_value(w, (brood_value){document, 0});
    MUST(brood__writer_finish(w) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    brood__document document = {0}, again = {0};
    brood_writer first = {0}, second = {0}, clone = {.advanced = true};
    size_t at = 0;
    char *text = copy(data, size), *sent = copy(data, size), *rewritten = NULL;
    int r = brood__json_read(&document, text, size, BROOD__MAX_DEPTH, &at);
    MUST(r == 0 || at <= size);
    MUST(brood__json_check(sent, size, BROOD__MAX_DEPTH, &at) != 0 || (r == 0 && !memchr(sent, '\n', size)));
    if (r == 0) {
        write_json(&first, &document);
        rewritten = copy(first.bytes, first.len);
        MUST(brood__json_read(&again, rewritten, first.len, BROOD__MAX_DEPTH, &at) == 0);
        write_json(&second, &again);
        MUST(first.len == second.len && memcmp(first.bytes, second.bytes, first.len) == 0);
        write_json(&clone, &document);
    }
    free(text), free(sent), free(rewritten);
    brood__document_done(&document), brood__document_done(&again);
    brood__writer_done(&first), brood__writer_done(&second), brood__writer_done(&clone);
    return 0;
}
