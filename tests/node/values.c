/*
 * What brood makes of payloads, for values.js to compare with what real Node makes of them. Reads, one after another, a
 * letter (`J`: JSON, `V`: structured clone), a length of four bytes, the lowest first, and so many bytes; writes `E`, or
 * `V` with the value as structured clone in the same way.
 */
#include "value/json.h"
#include "value/v8.h"
#include "value/writer.h"

#include <stdio.h>
#include <stdlib.h>

static void put(char letter, const char *bytes, uint32_t len) {
    putchar(letter);
    for (int shift = 0; shift < 32; shift += 8)
        putchar((int)(len >> shift & 0xff));
    fwrite(bytes, 1, len, stdout);
}

static bool get(char *ret_letter, char **ret_bytes, uint32_t *ret_len) {
    int letter = getchar();
    if (letter == EOF)
        return false;
    *ret_letter = (char)letter;
    *ret_len = 0;
    for (int shift = 0; shift < 32; shift += 8)
        *ret_len |= (uint32_t)getchar() << shift;
    *ret_bytes = malloc(*ret_len + BROOD__JSON_SLACK);
    return *ret_bytes && fread(*ret_bytes, 1, *ret_len, stdin) == *ret_len;
}

/* Wrapped in an array: a bigint alone cannot be written. */
static void write_value(brood_writer *w, brood__document *document) {
    brood_value value = {document, 0};
    brood__writer_begin(w);
    brood_writer_array(w);
    brood_writer_value(w, value);
    brood_writer_end(w);
    if (brood__writer_finish(w) < 0)
        put('E', "", 0);
    else
        put('V', w->bytes, (uint32_t)w->len);
    w->len = 0;
}

int main(void) {
    brood__document document = {0};
    brood_writer w = {.advanced = true};
    char letter, *bytes;
    uint32_t len;
    size_t at;
    while (get(&letter, &bytes, &len)) {
        int r = letter == 'J' ? brood__json_read(&document, bytes, len, BROOD__MAX_DEPTH, &at)
                              : brood__v8_read(&document, bytes, len, BROOD__MAX_DEPTH, &at);
        if (r < 0)
            put('E', "", 0);
        else
            write_value(&w, &document);
        brood__document_reset(&document);
        free(bytes);
    }
    brood__document_done(&document);
    brood__writer_done(&w);
    return 0;
}
