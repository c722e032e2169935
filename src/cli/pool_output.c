/*
 * What `brood pool` prints: results as they come, or in the order of their lines. Standard output belongs to others too,
 * and stays as it is, so a write to it could block, and with it time limits and signals: it is only written to when the
 * kernel says that there is room, and then no more than a pipe takes at once. Where it cannot be waited for, as a file,
 * it does not block either.
 */
#include "pool.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cli.h"

enum { MOST_RESULTS = 16 * 1024 * 1024 };

static void has_room(uv_poll_t *poll, int status, int events) {
    batch *b = poll->data;
    (void)status, (void)events;
    b->blocked = false;
    uv_poll_stop(poll);
    batch_flush(b);
}

/* Not by uv_poll itself, which makes a descriptor non-blocking, for all who share it. */
int batch_open_output(batch *b) {
    struct epoll_event event = {.events = EPOLLOUT};
    b->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (b->epoll < 0)
        return -errno;
    b->any_fd = epoll_ctl(b->epoll, EPOLL_CTL_ADD, STDOUT_FILENO, &event) == 0;
    b->out_is_terminal = isatty(STDOUT_FILENO);
    b->room.data = b;
    return uv_poll_init(&b->loop, &b->room, b->epoll);
}

void batch_close_output(batch *b) {
    if (b->epoll < 0)
        return;
    uv_close((uv_handle_t *)&b->room, NULL);
    close(b->epoll);
    b->epoll = -1;
    for (uint64_t i = 0; b->slots && i < b->window; i++)
        free(b->slots[i].text.bytes);
    free(b->slots);
    free(b->out.bytes);
    free(b->scratch.bytes);
}

/* --- in order --- */

static void no_memory(batch *b) {
    batch_complain(b, 0, "%s", strerror(ENOMEM));
    batch_stop(b);
}

static void print(batch *b, const out *text) {
    b->settled++;
    if (text && !b->unread && !out_add(&b->out, text->bytes, text->len))
        no_memory(b);
}

/* The results that are next, as far as they are there. */
static void print_ready(batch *b) {
    for (;;) {
        batch_slot *slot = &b->slots[b->settled % b->window];
        if (!slot->ready)
            return;
        slot->ready = false;
        print(b, slot->text.len > 0 ? &slot->text : NULL);
        b->kept -= slot->text.len;
        free(slot->text.bytes);
        slot->text = (out){0};
    }
}

void batch_settle(batch *b, uint64_t line, out *text) {
    if (!b->options->order) {
        print(b, text);
        return;
    }
    batch_slot *slot = &b->slots[(line - 1) % b->window];
    slot->ready = true;
    if (text) {
        slot->text = *text;
        b->kept += text->len;
        *text = (out){0};
    }
    print_ready(b);
}

/* --- writing --- */

static void give_up(batch *b, int error) {
    b->unread = true;
    b->out.len = b->out_at = 0;
    if (error != EPIPE)
        batch_complain(b, 0, "cannot write to standard output: %s", strerror(error));
    batch_stop(b);
}

static void count_lines(batch *b, const char *bytes, size_t len) {
    const char *end = bytes + len;
    while ((bytes = memchr(bytes, '\n', (size_t)(end - bytes)))) {
        b->written++;
        bytes++;
    }
}

/* Whether it took something. */
static bool write_some(batch *b, size_t *at) {
    size_t len = b->out.len - *at;
    struct pollfd fd = {.fd = STDOUT_FILENO, .events = POLLOUT};
    if (b->any_fd && poll(&fd, 1, 0) == 0)
        return false;
    if (b->out_is_terminal)
        batch_clear_line(b);
    ssize_t n = write(STDOUT_FILENO, b->out.bytes + *at, b->any_fd && len > PIPE_BUF ? PIPE_BUF : len);
    if (n < 0 && errno != EINTR && errno != EAGAIN)
        give_up(b, errno);
    if (n > 0) {
        count_lines(b, b->out.bytes + *at, (size_t)n);
        *at += (size_t)n;
    }
    return n >= 0 || errno == EINTR;
}

void batch_flush(batch *b) {
    while (!b->blocked && !b->unread && b->out_at < b->out.len)
        if (!write_some(b, &b->out_at) && !b->unread) {
            b->blocked = true;
            uv_poll_start(&b->room, UV_READABLE, has_room);
        }
    if (b->unread || b->out_at < b->out.len / 2) /* to move what is left costs, where that is much */
        return;
    out_forget(&b->out, b->out_at);
    b->out_at = 0;
}

/*
 * While nobody takes the results that there are, or the first in order is still to come, no more tasks are begun. Unless
 * that one is itself among those that wait: it is the first to be begun.
 */
void batch_hold_up(batch *b) {
    uint64_t there = b->kept + (b->out.len - b->out_at);
    bool hold_up = there > MOST_RESULTS && (b->at_work > 0 || b->blocked);
    if (b->draining || !b->pool || hold_up == b->held_up)
        return;
    b->held_up = hold_up;
    if (hold_up)
        brood_pool_pause(b->pool);
    else
        brood_pool_resume(b->pool);
}

bool batch_is_flushed(const batch *b) {
    return b->unread || b->abandoned || b->out.len == 0;
}
