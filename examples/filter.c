/* test: run */
/*
 * filter: 8 MiB go through `tr a-z A-Z` and come back, while no side ever holds more than a little of it. The writer
 * stops when a write returns 1 and goes on at on_drain; the reader is slow on purpose, and pauses the stream while it
 * is busy. The pipes between fill up, tr waits, and the writer waits: that is back-pressure.
 */
#include <brood.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

enum { BLOCK = 26 * 512, HIGH_WATER = 256 * 1024, MOUTHFUL = 256 * 1024, CHEW_MS = 4 };
static const size_t total = (size_t)BLOCK * 630; /* some 8 MiB */

typedef struct job {
    char block[BLOCK];  /* a to z, over and over */
    size_t sent;        /* taken by brood_stream_write */
    size_t came;        /* come back */
    size_t mouthful;    /* come back since the last rest */
    size_t most_queued; /* the most that ever waited in the write queue */
    unsigned rests;
    bool wrong;
    uv_timer_t rest;
    brood_stream *from;
} job;

/* Write until the queue is full or all is sent. */
static void pump(brood_stream *to, void *data) {
    job *j = data;
    while (j->sent < total) {
        int r = brood_stream_write(to, j->block, BLOCK, NULL, NULL);
        if (r < 0) {
            fprintf(stderr, "write: %s\n", uv_strerror(r));
            j->wrong = true;
            return;
        }
        j->sent += BLOCK;
        if (brood_stream_queued(to) > j->most_queued)
            j->most_queued = brood_stream_queued(to);
        if (r == 1)
            return; /* enough queued: on_drain calls again */
    }
    brood_stream_end(to);
}

static void on_rested(uv_timer_t *timer) {
    job *j = timer->data;
    brood_stream_resume(j->from);
}

static void on_data(brood_stream *stream, const char *bytes, size_t len, void *data) {
    job *j = data;
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != (char)('A' + (j->came + i) % 26))
            j->wrong = true;
    j->came += len;
    j->mouthful += len;
    if (j->mouthful >= MOUTHFUL) {
        j->mouthful = 0;
        j->rests++;
        j->from = stream;
        brood_stream_pause(stream); /* no on_data until resume, whatever tr has written by now */
        uv_timer_start(&j->rest, on_rested, CHEW_MS, 0);
    }
}

static void on_end(brood_stream *stream, int error, void *data) {
    job *j = data;
    (void)stream;
    if (error < 0)
        j->wrong = true;
    uv_timer_stop(&j->rest);
    uv_close((uv_handle_t *)&j->rest, NULL);
}

int main(void) {
    static job j;
    uv_loop_t *loop = uv_default_loop();
    brood_child *child = NULL;
    brood_failure why;
    brood_result result;

    for (int i = 0; i < BLOCK; i++)
        j.block[i] = (char)('a' + i % 26);
    uv_timer_init(loop, &j.rest);
    j.rest.data = &j;

    int error = brood_spawn(loop,
                            &(brood_options){
                                .args = BROOD_ARGS("tr", "a-z", "A-Z"),
                                .in = {.kind = BROOD_STDIO_PIPE, .high_water = HIGH_WATER, .on_drain = pump},
                                .out = {.on_data = on_data, .on_end = on_end},
                                .data = &j,
                            },
                            &child, &why);
    if (error < 0) {
        fprintf(stderr, "filter: %s\n", why.message);
        return 1;
    }
    pump(brood_child_stream(child, 0), &j);
    error = brood_await(child, &result);
    printf("%zu bytes out, %zu back, %s\n", j.sent, j.came, j.wrong ? "WRONG" : "every one right");
    printf("the reader rested %u times; at most %zu KiB waited to be written\n", j.rests, j.most_queued / 1024);
    bool ok =
        error == 0 && brood_exit_ok(&result.exit) && !j.wrong && j.came == total && j.most_queued <= HIGH_WATER + BLOCK;
    brood_result_done(&result);
    brood_child_close(child);
    uv_run(loop, UV_RUN_DEFAULT);
    uv_loop_close(loop);
    return ok ? 0 : 1;
}
