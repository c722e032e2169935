/* What is to be printed, gathered in one block that grows: output leaves in few writes. */
#include "out.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool has_room(out *o, size_t len) {
    if (o->size - o->len >= len)
        return true;
    size_t size = (o->len + len) * 2;
    char *bytes = realloc(o->bytes, size);
    if (!bytes)
        return false;
    o->bytes = bytes;
    o->size = size;
    return true;
}

bool out_add(out *o, const char *bytes, size_t len) {
    if (!has_room(o, len))
        return false;
    memcpy(o->bytes + o->len, bytes, len);
    o->len += len;
    return true;
}

bool out_text(out *o, const char *text) {
    return out_add(o, text, strlen(text));
}

/* Half of a surrogate pair, as a text of JavaScript's may hold: three bytes that are no UTF-8. */
static bool is_half_pair(const char *at) {
    return (unsigned char)at[0] == 0xed && (unsigned char)at[1] >= 0xa0 && at[2];
}

bool out_string(out *o, const char *text) {
    bool all = out_text(o, "\"");
    for (const char *at = text; all && *at; at++) {
        char escaped[8];
        int len = 1;
        if (is_half_pair(at)) {
            unsigned unit = 0xd000 | ((unsigned)at[1] & 0x3f) << 6 | ((unsigned)at[2] & 0x3f);
            len = snprintf(escaped, sizeof escaped, "\\u%04x", unit);
            at += 2;
        } else if ((unsigned char)*at < 0x20)
            len = snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)*at);
        else if (*at == '"' || *at == '\\')
            len = snprintf(escaped, sizeof escaped, "\\%c", *at);
        else
            escaped[0] = *at;
        all = out_add(o, escaped, (size_t)len);
    }
    return all && out_text(o, "\"");
}

int out_json(out *o, brood_value value) {
    ssize_t len = brood_value_json(value, o->bytes ? o->bytes + o->len : NULL, o->size - o->len);
    if (len >= (ssize_t)(o->size - o->len)) {
        if (!has_room(o, (size_t)len + 1))
            return -ENOMEM;
        len = brood_value_json(value, o->bytes + o->len, o->size - o->len);
    }
    if (len < 0)
        return (int)len;
    o->len += (size_t)len;
    return 0;
}

const char *out_json_error(int error) {
    return error == -EPROTOTYPE ? "it holds a bigint" : error == -ELOOP ? "it holds itself" : strerror(-error);
}

void out_forget(out *o, size_t len) {
    o->len -= len;
    if (o->len > 0)
        memmove(o->bytes, o->bytes + len, o->len);
}
