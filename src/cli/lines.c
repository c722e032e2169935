/*
 * Lines from standard input. It is read by a thread, and not as a stream: it may be anything, also what belongs to
 * others and must stay blocking.
 */
#include "lines.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void end(lines *l, int error) {
    if (l->ended)
        return;
    l->ended = true;
    l->on_end(l->data, error);
}

static bool grow(lines *l, size_t need) {
    if (need < l->capacity)
        return true;
    size_t capacity = need * 2 + 1;
    char *line = need > LINES_LONGEST ? NULL : realloc(l->line, capacity);
    if (!line)
        return false;
    l->line = line;
    l->capacity = capacity;
    return true;
}

/* The rest of a line, or all of it. */
static bool take(lines *l, const char *bytes, size_t len) {
    if (!grow(l, l->len + len))
        return false;
    memcpy(l->line + l->len, bytes, len);
    l->len += len;
    return true;
}

static void tell(lines *l) {
    size_t len = l->len;
    l->line[len] = 0;
    l->len = 0;
    l->number++;
    l->on_line(l->data, l->line, len);
}

/* What was read, as far as it is wanted. */
static void tell_lines(lines *l) {
    while (l->at < l->got && !l->paused && !l->ended) {
        const char *from = l->buffer + l->at, *feed = memchr(from, '\n', l->got - l->at);
        size_t part = feed ? (size_t)(feed - from) : l->got - l->at;
        l->at += part + (feed != NULL);
        if (!take(l, from, part))
            end(l, -EMSGSIZE);
        else if (feed)
            tell(l);
    }
}

/*
 * Who shares it with us may have made it non-blocking. And what waits in a read of a terminal is stopped where it comes to
 * be in the background, also while its shell ends, which then may not see that it is to be continued.
 */
static void read_some(void *the_lines) {
    lines *l = the_lines;
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    do
        poll(&in, 1, -1);
    while ((l->result = read(STDIN_FILENO, l->buffer, sizeof l->buffer)) < 0 && (errno == EINTR || errno == EAGAIN));
    l->result = l->result < 0 ? -errno : l->result;
}

static void came(void *the_lines) {
    lines *l = the_lines;
    ssize_t n = l->result;
    if (l->ended)
        return;
    l->at = 0;
    l->got = n > 0 ? (size_t)n : 0;
    l->bytes += l->got;
    if (n == 0 && l->len > 0)
        tell(l); /* the last one, without a line feed */
    if (n <= 0)
        end(l, (int)n);
    else if (!l->paused)
        lines_resume(l);
}

void lines_resume(lines *l) {
    l->paused = false;
    tell_lines(l);
    if (!l->paused && !l->ended)
        errand_run(&l->read);
}

int lines_open(lines *l, uv_loop_t *loop) {
    l->read.work = read_some;
    l->read.done = came;
    l->read.data = l;
    return errand_open(&l->read, loop);
}

void lines_pause(lines *l) {
    l->paused = true;
}

void lines_stop(lines *l) {
    l->ended = true;
}

bool lines_is_blank(const char *line, size_t len) {
    return strspn(line, " \t\r") >= len;
}
