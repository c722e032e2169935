/*
 * A trace of a pool in Chrome's format for trace events, which Perfetto and chrome://tracing open: a lane for each
 * worker, in it its processes, and in these the tasks. An event a line, so that a file that was cut short is still of
 * use.
 */
#include "pool.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int batch_open_trace(batch *b) {
    if (!b->options->trace)
        return 0;
    b->trace = fopen(b->options->trace, "we");
    if (!b->trace)
        return -errno;
    fputs("[\n", b->trace);
    return 0;
}

/* One more, up to where its own members follow. */
static void begin(batch *b, char phase, unsigned lane, uint64_t at_us, const char *name) {
    out quoted = {0};
    if (b->trace_begun_us == 0)
        b->trace_begun_us = b->begun_us;
    out_string(&quoted, name);
    fprintf(b->trace, "%s{\"ph\":\"%c\",\"pid\":%d,\"tid\":%u,\"ts\":%" PRIu64 ",\"name\":%.*s",
            b->trace_any ? ",\n" : "", phase, (int)getpid(), lane,
            at_us > b->trace_begun_us ? at_us - b->trace_begun_us : 0, (int)quoted.len,
            quoted.len ? quoted.bytes : "\"\"");
    b->trace_any = true;
    free(quoted.bytes);
}

static void add_text(batch *b, const char *name, const char *text) {
    out quoted = {0};
    out_string(&quoted, text);
    fprintf(b->trace, ",\"args\":{\"%s\":%.*s}", name, (int)quoted.len, quoted.len ? quoted.bytes : "\"\"");
    free(quoted.bytes);
}

static void end(batch *b) {
    fputc('}', b->trace);
}

static void trace_worker(batch *b, const brood_pool_event *e) {
    char text[40];
    snprintf(text, sizeof text, "worker %u", e->worker);
    begin(b, 'M', e->worker, e->time_us, "thread_name");
    add_text(b, "name", text);
    end(b);
    snprintf(text, sizeof text, "pid %d", (int)e->pid);
    begin(b, 'B', e->worker, e->time_us, text);
    end(b);
}

static void trace_task(batch *b, const brood_pool_event *e, const char *how) {
    char text[40];
    if (e->worker == 0)
        return;
    snprintf(text, sizeof text, "task %" PRIu64, e->ticket);
    begin(b, 'X', e->worker, e->time_us - e->run_us, text);
    fprintf(b->trace, ",\"dur\":%" PRIu64, e->run_us);
    add_text(b, "outcome", how);
    end(b);
}

void batch_trace(batch *b, const brood_pool_event *e) {
    if (!b->trace)
        return;
    switch (e->kind) {
    case BROOD_POOL_WORKER_STARTED:
        trace_worker(b, e);
        break;
    case BROOD_POOL_WORKER_ENDED:
        begin(b, 'E', e->worker, e->time_us, "");
        add_text(b, "end", e->detail);
        end(b);
        break;
    case BROOD_POOL_TASK_DONE:
        trace_task(b, e, brood_fate_text(e->fate));
        break;
    case BROOD_POOL_TASK_REQUEUED:
        trace_task(b, e, e->detail);
        break;
    case BROOD_POOL_TASK_SENT:
        break;
    default:
        begin(b, 'i', e->worker, e->time_us, brood_pool_event_text(e->kind));
        add_text(b, "detail", e->detail);
        end(b);
    }
}

int batch_close_trace(batch *b) {
    if (!b->trace)
        return 0;
    fputs("\n]\n", b->trace);
    bool failed = ferror(b->trace);
    bool closed = fclose(b->trace) == 0;
    b->trace = NULL;
    return failed || !closed ? -(errno ? errno : EIO) : 0;
}
