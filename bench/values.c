/**
 * How fast is JSON read and written, beside V8 (bench/peers/values.mjs) on the same document? As a channel does it: the
 * bytes are where a read(2) has put them, the memory is that of the message before.
 *
 *     bench-values parse|write FILE N       N times; `rate` is MB a second
 */
#include "bench.h"

#include "value/json.h"
#include "value/writer.h"

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

static void parse(char *scratch, const char *text, size_t len) {
    size_t at;
    memcpy(scratch, text, len + BROOD__JSON_SLACK);
    brood__document_reset(&document);
    int r = brood__json_read(&document, scratch, len, BROOD__MAX_DEPTH, &at);
    if (r < 0)
        bench_fail("parse", strerror(-r));
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
        uint64_t begun = bench_now_ns();
        for (unsigned i = 0; i < n; i++)
            writes ? write_back() : parse(scratch, text, len);
        double seconds = (double)(bench_now_ns() - begun) / 1e9;
        printf("{\"peer\":\"brood\",\"variant\":\"%s\",\"n\":%u,\"rate\":%.3f}\n", argv[1], n,
               (double)len * n / 1e6 / seconds);
        fflush(stdout);
    }
    return 0;
}
