/* A child's own end: found through two variables of the environment, which are gone then, as in Node. */
#include "channel/channel.h"

#include "base/failure.h"
#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>

int brood__channel_options_copy(const brood_channel_options *options, size_t size, brood_channel_options *ret,
                                brood_failure *why) {
    memset(ret, 0, sizeof *ret);
    if (!options)
        return 0;
    if (size > sizeof *ret && !brood__is_zero((const char *)options + sizeof *ret, size - sizeof *ret))
        return brood__fail(why, -E2BIG, BROOD_STEP_OPTIONS, NULL,
                           "they ask for something that this older library lacks");
    memcpy(ret, options, size < sizeof *ret ? size : sizeof *ret);
    if (!brood__is_zero(ret->reserved, sizeof ret->reserved))
        return brood__fail(why, -EINVAL, BROOD_STEP_OPTIONS, "reserved", "must be zero");
    if (ret->max_message > BROOD__MAX_PAYLOAD)
        return brood__fail(why, -EINVAL, BROOD_STEP_OPTIONS, "max_message", "is more than Node's wire has (2 GiB)");
    return 0;
}

/* The descriptor that the environment names, which is this process's from now on. */
static int find_socket(brood_failure *why) {
    const char *text = getenv(BROOD__CHANNEL_FD);
    char *end;
    if (!text || !*text)
        return brood__fail(why, -ENOTCONN, BROOD_STEP_NONE, NULL,
                           "this process has no channel: its parent did not fork it with one, or it is open already");
    errno = 0;
    long fd = strtol(text, &end, 10);
    if (errno || *end || fd < 0 || fd > INT_MAX)
        return brood__fail(why, -EINVAL, BROOD_STEP_NONE, BROOD__CHANNEL_FD, "is no descriptor");
    int type = 0;
    socklen_t len = sizeof type;
    if (getsockopt((int)fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0 || type != SOCK_STREAM)
        return brood__fail(why, -EINVAL, BROOD_STEP_NONE, BROOD__CHANNEL_FD,
                           "is no channel: not an open stream socket");
    fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    return (int)fd;
}

static int find_serialization(brood_serialization *ret_serialization, brood_failure *why) {
    const char *mode = getenv(BROOD__CHANNEL_MODE);
    *ret_serialization = BROOD_JSON;
    if (mode && strcmp(mode, "advanced") == 0)
        *ret_serialization = BROOD_ADVANCED;
    else if (mode && *mode && strcmp(mode, "json") != 0)
        return brood__fail(why, -EINVAL, BROOD_STEP_NONE, BROOD__CHANNEL_MODE, "is neither json nor advanced");
    return 0;
}

int brood__channel_find_parent(brood_serialization *ret_serialization, brood_failure *why) {
    int fd = find_socket(why);
    int r = fd < 0 ? fd : find_serialization(ret_serialization, why);
    return r < 0 ? r : fd;
}

bool brood__channel_parent_is_brood(int fd) {
    const char *parent = getenv(BROOD__CHANNEL_PARENT);
    struct ucred maker;
    socklen_t len = sizeof maker;
    return parent && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &maker, &len) == 0 && maker.pid > 0 &&
           maker.pid == atoi(parent);
}

void brood__channel_forget_parent(void) {
    unsetenv(BROOD__CHANNEL_PARENT);
    unsetenv(BROOD__CHANNEL_FD);
    unsetenv(BROOD__CHANNEL_MODE);
}

/* The loop is being ended. */
static void end(brood__loop_part *part) {
    brood_channel *c = BROOD__OUTER(part, brood_channel, part);
    brood_channel_close(c);
    brood__channel_close(c, -ECANCELED);
}

static int open_on(brood__loop *loop, const brood_channel_options *o, brood_channel **ret_channel, brood_failure *why) {
    brood_serialization serialization;
    int fd = brood__channel_find_parent(&serialization, why);
    if (fd < 0)
        return fd;
    int r = brood__nonblock(fd);
    if (r < 0)
        return brood__fail(why, r, BROOD_STEP_NONE, BROOD__CHANNEL_FD, NULL);
    brood_channel *c = brood__alloc(sizeof *c);
    if (!c)
        return brood__fail(why, -ENOMEM, BROOD_STEP_MEMORY, NULL, NULL);
    r = brood__loop_activate(loop);
    if (r < 0) {
        brood__free(c);
        return brood__fail(why, r, BROOD_STEP_LOOP, NULL, NULL);
    }
    brood__channel_init(c, loop, o, serialization, NULL, NULL);
    if (brood__channel_parent_is_brood(fd)) {
        brood__channel_meets_brood(c);
        r = brood__say(&c->out, BROOD__HELLO, (brood_value){0});
    }
    if (r == 0)
        r = brood__channel_attach(c, fd);
    if (r < 0) {
        brood__channel_done(c);
        brood__free(c);
        brood__loop_rest(loop);
        return brood__fail(why, r, BROOD_STEP_LOOP, NULL, NULL);
    }
    brood__loop_hold(loop);
    brood__loop_add_part(loop, &c->part, c, sizeof *c, end);
    brood__channel_forget_parent();
    *ret_channel = c;
    return 0;
}

int brood_channel_open_parent_sized(uv_loop_t *uv, const brood_channel_options *options, size_t size,
                                    brood_channel **ret_channel, brood_failure *why) {
    brood_channel_options o;
    brood__loop *loop;
    int r = brood__channel_options_copy(options, size, &o, why);
    if (r < 0)
        return r;
    if (!uv || !ret_channel)
        return brood__fail(why, -EINVAL, BROOD_STEP_OPTIONS, NULL, "a loop and a place for the channel are needed");
    r = brood__loop_get(uv, &loop);
    if (r < 0)
        return brood__fail(why, r, BROOD_STEP_LOOP, NULL, r == -EBUSY ? "the loop is being closed" : NULL);
    r = open_on(loop, &o, ret_channel, why);
    brood__loop_release(loop);
    return r;
}
