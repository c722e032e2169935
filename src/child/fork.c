/* A child with a channel: the parent's end is part of the child, and counts as one of its streams. */
#include "child/child.h"

#include "base/clock.h"
#include "base/failure.h"

#include <errno.h>

static void activity(brood_channel *channel) {
    brood_child *c = channel->owner_data;
    brood__child_tell_spawn(c);
    brood__deadlines_activity(&c->deadlines, brood__now_us());
}

static void channel_done(brood_channel *channel, bool first) {
    brood_child *c = channel->owner_data;
    if (first) {
        c->open_streams--;
        brood__child_update_busy(c);
        brood__child_tell_later(c);
    }
    brood__child_free_if_unused(c);
}

static const brood__channel_owner owner = {.on_activity = activity, .on_done = channel_done};

int brood__child_init_channel(brood_child *c, const brood_options *o) {
    brood_channel_options limits = {0};
    if (o->channel)
        limits = *o->channel;
    limits.on_message = o->on_message;
    limits.on_disconnect = o->on_disconnect;
    limits.on_drain = o->on_channel_drain;
    limits.data = o->data;
    c->channel = brood__alloc(sizeof *c->channel);
    if (!c->channel)
        return -ENOMEM;
    brood__channel_init(c->channel, c->loop, &limits, o->serialization, &owner, c);
    c->open_streams++;
    return 0;
}

/* At once, and with no more than the reports of what was not sent. */
void brood__child_drop_channel(brood_child *c) {
    if (!c->channel || c->channel->state == BROOD__CHANNEL_TOLD)
        return;
    brood__channel_drop(c->channel);
    c->open_streams--;
}

void brood__child_free_channel(brood_child *c) {
    if (c->channel)
        brood__channel_done(c->channel);
    brood__free(c->channel);
}

brood_channel *brood_child_channel(brood_child *c) {
    return c->channel;
}

brood_child *brood_channel_child(const brood_channel *channel) {
    return channel->owner_data;
}

int brood_fork_sized(uv_loop_t *uv, const brood_options *options, size_t size, brood_child **ret_child,
                     brood_failure *ret_failure) {
    brood_options o;
    brood_channel_options limits;
    if (!uv || !options)
        return brood__fail(ret_failure, -EINVAL, BROOD_STEP_OPTIONS, NULL, "a loop and options are needed");
    int r = brood__options_copy(options, size, &o, ret_failure);
    if (r == 0 && o.channel)
        r = brood__channel_options_copy(o.channel, sizeof limits, &limits, ret_failure);
    return r < 0 ? r : brood__child_spawn(uv, &o, BROOD__FORK, NULL, NULL, NULL, ret_child, ret_failure);
}
