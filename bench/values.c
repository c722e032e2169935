/**
 * How fast is JSON read and written, beside V8 (bench/peers/values.mjs) on the same document? As a channel does it: the
 * bytes are where a read(2) has put them, the memory is that of the message before. Reading changes the text; what puts
 * it back is not counted, but for small documents, where looking at the clock would cost more.
 *
 *     bench-values parse|write FILE N       N times; `rate` is MB a second
 */
#include "bench.h"

#include "value/json.h"
#include "value/writer.h"

#define CLOCKED_FROM 4096 /* bytes */

static char *read_file(const char *path, size_t *ret_len) {
    FILE *file = fopen(path, "r");
    if (!file)
        bench_fail(path, strerror(errno));
    fseek(file, 0, SEEK_END);
    *ret_len = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(1, *ret_len + BROOD__JSON_SLACK);
    if (!text || fread(text, 1, *ret_len, file) != *ret_len)
        bench_fail(path, "cannot be read");
    fclose(file);
    return text;
}

static brood__document document;

/* Returns how long putting the text back took, in ns; 0 if that was not looked at. */
static uint64_t parse(char *scratch, const char *text, size_t len) {
    size_t at;
    bool timed = len >= CLOCKED_FROM;
    uint64_t begun = timed ? bench_now_ns() : 0;
    memcpy(scratch, text, len + BROOD__JSON_SLACK);
    uint64_t copying = timed ? bench_now_ns() - begun : 0;
    brood__document_reset(&document);
    int r = brood__json_read(&document, scratch, len, BROOD__MAX_DEPTH, &at);
    if (r < 0)
        bench_fail("parse", strerror(-r));
    return copying;
}

static brood_writer writer;

static void write_back(void) {
    writer.len = 0;
    brood__writer_begin(&writer);
    brood_writer_value(&writer, (brood_value){&document, 0});
    int r = brood__writer_finish(&writer);
    if (r < 0)
        bench_fail("write", strerror(-r));
}

int main(int argc, char **argv) {
    if (argc != 4)
        bench_fail("usage", "bench-values parse|write FILE N");
    size_t len;
    char *text = read_file(argv[2], &len), *scratch = malloc(len + BROOD__JSON_SLACK);
    unsigned n = bench_number(argv[3]);
    bool writes = strcmp(argv[1], "write") == 0;
    parse(scratch, text, len);
    while (bench_next_round()) {
        uint64_t begun = bench_now_ns(), copying = 0;
        for (unsigned i = 0; i < n; i++)
            if (writes)
                write_back();
            else
                copying += parse(scratch, text, len);
        double seconds = (double)(bench_now_ns() - begun - copying) / 1e9;
        printf("{\"peer\":\"brood\",\"variant\":\"%s\",\"n\":%u,\"rate\":%.3f}\n", argv[1], n,
               (double)len * n / 1e6 / seconds);
        fflush(stdout);
    }
    return 0;
}
