/* test: run */
/*
 * A pool over files: each worker counts the words of one after another, and may crash or hang over it. Without arguments
 * it counts its own documentation.
 *
 *     cc pool.c -o pool $(pkg-config --cflags --libs brood libuv) && ./pool *.txt
 */
#include <brood.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <uv.h>

static unsigned missed;

/* In a worker: the task is `{path}`, the answer a number. */
static int count_words(brood_value task, brood_writer *result, void *data) {
    const char *path;
    bool inside = false;
    int64_t words = 0;
    (void)data;
    int r = brood_value_string(brood_value_get(task, "path"), &path, NULL);
    FILE *file = r < 0 ? NULL : fopen(path, "re");
    if (!file)
        return r < 0 ? r : -errno;
    for (int c; (c = getc(file)) != EOF; inside = !isspace(c))
        words += !inside && !isspace(c);
    fclose(file);
    brood_writer_int64(result, words);
    return 0;
}

static void write_task(brood_writer *writer, void *path) {
    brood_writer_object(writer);
    brood_writer_key(writer, "path");
    brood_writer_string(writer, path, BROOD_NUL);
    brood_writer_end(writer);
}

static void counted(const brood_outcome *outcome, void *path) {
    int64_t words;
    if (brood_value_int64(outcome->result, &words) == 0)
        printf("%8lld  %s\n", (long long)words, (char *)path);
    else
        printf("%8s  %s: %s\n", "-", (char *)path, outcome->message);
    missed += outcome->fate != BROOD_FATE_DONE;
}

int main(int argc, char **argv) {
    const char *const own[] = {"README.md", "docs/POOL.md", "docs/ARCHITECTURE.md", NULL};
    if (argc == 2 && argv[1][0] == '-')
        return brood_worker_main(count_words, NULL) < 0;
    const char *const *paths = argc > 1 ? (const char *const *)argv + 1 : own;
    brood_pool *pool;
    brood_failure why;
    brood_pool_options options = {
        .worker = {.args = BROOD_ARGS(argv[0], "-")}, .task_timeout_ms = 10000, .max_attempts = 2};
    if (brood_pool_open(uv_default_loop(), &options, &pool, &why) < 0) {
        fprintf(stderr, "pool: %s\n", why.message);
        return 1;
    }
    for (; *paths; paths++) {
        brood_task task = {
            .body = {.write = write_task, .data = (void *)*paths}, .on_done = counted, .data = (void *)*paths};
        missed += brood_pool_run(pool, &task, NULL) < 0;
    }
    brood_pool_close(pool, BROOD_FOREVER, NULL, NULL);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    return missed > 0;
}
