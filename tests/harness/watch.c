/*
 * The recorder of watch.h. All memory is the test's (test_alloc), so that a callback that comes after a test gave up
 * still finds it.
 */
#include "watch.h"

#include <stdio.h>

static void gathered_free(void *arg) {
    gathered *self = arg;
    if (self->room)
        free(self->bytes);
}

static void gathered_add(gathered *self, const char *bytes, size_t len) {
    if (self->len + len + 1 > self->room) {
        size_t room = (self->len + len + 1) * 2;
        char *grown = realloc(self->room ? self->bytes : NULL, room);
        if (!grown)
            abort();
        self->bytes = grown;
        self->room = room;
    }
    memcpy(self->bytes + self->len, bytes, len);
    self->len += len;
    self->bytes[self->len] = 0;
}

watch *watch_new(void) {
    watch *w = NEW(watch);
    static char nothing[1];
    w->out.bytes = w->err.bytes = nothing;
    DEFER(gathered_free, &w->out);
    DEFER(gathered_free, &w->err);
    return w;
}

static void note(watch *w, const char *event) {
    test_event();
    size_t len = strlen(w->log), add = strlen(event);
    bool again = len >= add && strcmp(w->log + len - add, event) == 0 && (len == add || w->log[len - add - 1] == ' ');
    if (!again && len + add + 2 < sizeof w->log)
        snprintf(w->log + len, sizeof w->log - len, "%s%s", len ? " " : "", event);
    if (w->in_callback)
        test_fail(__FILE__, __LINE__, "%s came inside another callback", event);
    if (w->closes)
        test_fail(__FILE__, __LINE__, "%s came after close: %s", event, w->log);
}

static void act(watch *w, const char *event, brood_child *child, bool close) {
    w->in_callback = true;
    if (w->then)
        w->then(w, event);
    if (close) {
        w->child = NULL;
        brood_child_close(child);
    }
    w->in_callback = false;
}

void watch_on_spawn(brood_child *child, void *data) {
    watch *w = data;
    note(w, "spawn");
    w->spawns++;
    w->pid = brood_child_pid(child);
    act(w, "spawn", child, w->close_in_spawn);
}

void watch_on_error(brood_child *child, const brood_failure *why, void *data) {
    watch *w = data;
    note(w, "error");
    w->errors++;
    w->failure = *why;
    act(w, "error", child, w->close_in_error);
}

void watch_on_exit(brood_child *child, const brood_exit *ended, void *data) {
    watch *w = data;
    note(w, "exit");
    w->exits++;
    w->ended = *ended;
    act(w, "exit", child, w->close_in_exit);
}

void watch_on_close(brood_child *child, const brood_exit *ended, void *data) {
    watch *w = data;
    note(w, "close");
    w->closes++;
    w->ended = *ended;
    act(w, "close", child, w->close_in_close);
}

void watch_on_data(brood_stream *stream, const char *bytes, size_t len, void *data) {
    watch *w = data;
    bool err = brood_stream_slot(stream) == 2;
    note(w, err ? "data2" : "data");
    if (w->quiet)
        w->out.len += len;
    else
        gathered_add(err ? &w->err : &w->out, bytes, len);
    act(w, "data", brood_stream_child(stream), w->close_in_data);
    w->close_in_data = false;
}

void watch_on_end(brood_stream *stream, int error, void *data) {
    watch *w = data;
    note(w, brood_stream_slot(stream) == 2 ? "end2" : "end");
    w->ends++;
    w->end_error = error;
    act(w, "end", brood_stream_child(stream), w->close_in_end);
}

void watch_on_drain(brood_stream *stream, void *data) {
    watch *w = data;
    note(w, "drain");
    w->drains++;
    act(w, "drain", brood_stream_child(stream), false);
}

void watch_on_written(brood_stream *stream, int error, void *data) {
    watch *w = data;
    note(w, "written");
    w->writes++;
    w->write_error = error;
    act(w, "written", brood_stream_child(stream), false);
}

answer *answer_new(void) {
    answer *a = NEW(answer);
    DEFER(brood_result_done, &a->result);
    return a;
}

void answer_on_result(brood_result *result, void *data) {
    answer *a = data;
    a->count++;
    ENSURE(a->count == 1);
    ENSURE(brood_result_take(result, &a->result) == 0);
}

bool watch_start(test *t, watch *w, bool keep, const brood_options *options, const char *file, int line) {
    brood_options all = *options;
    if (!all.on_spawn)
        all.on_spawn = watch_on_spawn;
    if (!all.on_error)
        all.on_error = watch_on_error;
    if (!all.on_exit)
        all.on_exit = watch_on_exit;
    if (!all.on_close)
        all.on_close = watch_on_close;
    if (!all.data)
        all.data = w;
    if (all.own == BROOD_OWN_DEFAULT && getenv("BROOD_TEST_TREES"))
        all.own = BROOD_OWN_TREE;
    w->in_callback = true; /* nothing may come before brood_spawn has returned */
    int r = brood_spawn(t->loop, &all, keep ? &w->child : NULL, &w->failure);
    w->in_callback = false;
    if (r != 0)
        test_fail(file, line, "brood_spawn: %d: %s", r, w->failure.message);
    return r == 0 && !test_failed();
}

bool watch_run(test *t, watch *w, const brood_options *options, const char *file, int line) {
    brood_options all = *options;
    if (all.out.kind == BROOD_STDIO_DEFAULT && !all.out.on_data)
        all.out = (brood_stdio)WATCHED;
    if (!watch_start(t, w, false, &all, file, line) || !test_run())
        return false;
    if (w->closes != 1)
        test_fail(file, line, "the child was not closed: %s %s", w->log, w->failure.message);
    return w->closes == 1 && !test_failed();
}

int watch_refused(test *t, brood_failure *ret_failure, const brood_options *options) {
    brood_child *child = NULL;
    brood_failure why = {0};
    size_t fds = test_count_fds();
    int r = brood_spawn(t->loop, options, &child, &why);
    ENSURE(r < 0);
    ENSURE(child == NULL);
    ENSURE(why.code == r);
    ENSURE(why.step != BROOD_STEP_NONE);
    ENSURE(*why.message);
    test_run();
    ENSURE(test_count_fds() == fds);
    *ret_failure = why;
    return r;
}

brood_result *result_new(void) {
    brood_result *result = NEW(brood_result);
    DEFER(brood_result_done, result);
    return result;
}

static const char *word_in(const char *log, const char *word) {
    size_t len = strlen(word);
    for (const char *at = log; (at = strstr(at, word)); at += len)
        if ((at == log || at[-1] == ' ') && (at[len] == 0 || at[len] == ' '))
            return at;
    return NULL;
}

bool before(const char *log, const char *event, const char *other) {
    const char *a = word_in(log, event), *b = word_in(log, other);
    return a && b && a < b;
}

const char *line_of(const char *text, const char *name) {
    size_t len = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line != NULL) {
        if (strncmp(line, name, len) != 0 || (line[len] != ' ' && line[len] != ':' && line[len] != '\n'))
            continue;
        const char *value = line + len;
        value += strspn(value, ": \t");
        return test_format("%.*s", (int)strcspn(value, "\n"), value);
    }
    return NULL;
}

void fill_pattern(void *bytes, size_t len) {
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)(i % 251);
}

bool is_pattern(const void *bytes, size_t len, size_t count) {
    if (len != count)
        return false;
    for (size_t i = 0; i < len; i++)
        if (((const unsigned char *)bytes)[i] != (unsigned char)(i % 251))
            return false;
    return true;
}

uint64_t pattern_hash(size_t len) {
    uint64_t hash = 0;
    for (size_t i = 0; i < len; i++)
        hash = hash * 31 + i % 251;
    return hash;
}

bool watch_can_limit(brood_limits limits) {
    brood_failure why;
    brood_child *child;
    bool can = false;
    if (brood_spawn(test_loop(), &(brood_options){.args = BROOD_ARGS(CHILD), .own = BROOD_OWN_TREE, .limits = limits},
                    &child, &why) < 0) {
        uv_run(test_loop(), UV_RUN_DEFAULT);
        return false;
    }
    for (brood_limit i = BROOD_LIMIT_MEMORY; i <= BROOD_LIMIT_IO; i++)
        can = can || brood_child_limited(child, i) == BROOD_LIMITED_TREE;
    brood_child_close(child);
    uv_run(test_loop(), UV_RUN_DEFAULT);
    return can;
}
