/* Collecting output: buffers that double, a ceiling, and a count of what lies above it. */
#include "child/collector.h"

#include "base/memory.h"

#include <errno.h>
#include <string.h>

#define DEFAULT_LIMIT (1024 * 1024)
#define FIRST_ROOM 512

void brood__collector_init(brood__collector *c, size_t max_buffer) {
    *c = (brood__collector){.limit = max_buffer ? max_buffer : DEFAULT_LIMIT};
}

static int make_room(brood__collected *s, size_t len) {
    size_t need, room = s->room ? s->room : FIRST_ROOM;
    if (__builtin_add_overflow(s->len, len, &need) || __builtin_add_overflow(need, (size_t)1, &need))
        return -ENOMEM;
    if (need <= s->room)
        return 0;
    while (room < need)
        room = room > SIZE_MAX / 2 ? need : room * 2;
    char *bytes = brood__resize(s->bytes, room);
    if (!bytes)
        return -ENOMEM;
    s->bytes = bytes;
    s->room = room;
    return 0;
}

int brood__collector_add(brood__collector *c, int slot, const char *bytes, size_t len) {
    if (slot != 1 && slot != 2)
        return 0;
    brood__collected *s = &c->slot[slot - 1];
    size_t space = c->limit - s->len;
    size_t kept = len < space ? len : space;
    if (kept > 0 && make_room(s, kept) < 0) {
        s->dropped += len;
        return -ENOMEM;
    }
    if (kept > 0) {
        memcpy(s->bytes + s->len, bytes, kept);
        s->len += kept;
        s->bytes[s->len] = '\0';
    }
    s->dropped += len - kept;
    return len > kept;
}

void brood__collector_done(brood__collector *c) {
    for (int i = 0; i < 2; i++)
        brood__free(c->slot[i].bytes);
    memset(c, 0, sizeof *c);
}
