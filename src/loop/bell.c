/* Bells: an eventfd, and who holds it. Nothing is read from it: it only ever rings. */
#include "loop/bell.h"

#include "base/memory.h"
#include "base/sys.h"

#include <sys/epoll.h>
#include <unistd.h>

int brood__bell_hang(int epoll, brood__bell **ret_bell) {
    brood__bell *bell = brood__alloc(sizeof *bell);
    if (!bell)
        return -ENOMEM;
    atomic_init(&bell->holders, 1);
    bell->fd = brood__eventfd();
    int r = bell->fd < 0 ? bell->fd : brood__epoll_add(epoll, bell->fd, EPOLLIN | EPOLLET, NULL);
    if (r < 0)
        brood__bell_release(bell);
    else
        *ret_bell = bell;
    return r;
}

brood__bell *brood__bell_hold(brood__bell *bell) {
    atomic_fetch_add(&bell->holders, 1);
    return bell;
}

void brood__bell_release(brood__bell *bell) {
    if (!bell || atomic_fetch_sub(&bell->holders, 1) > 1)
        return;
    brood__close(bell->fd);
    brood__free(bell);
}

void brood__bell_ring(brood__bell *bell) {
    const uint64_t once = 1;
    ssize_t written = write(bell->fd, &once, sizeof once); /* which cannot fail before it has rung 2^64 times */
    (void)written;
    brood__bell_release(bell);
}
