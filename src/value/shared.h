/*
 * Bytes that another process maps instead of getting a copy: a sealed memfd. Who made it may write on, and use it again;
 * nobody can make it shorter, which would kill whoever reads, and nobody else can write (memfd_create(2), "File-sealing").
 */
#ifndef BROOD_VALUE_SHARED_H
#define BROOD_VALUE_SHARED_H

#include <brood/value.h>

#include <stdatomic.h>
#include <stdint.h>

#define BROOD__MAX_SHARED 64                 /* in one message */
#define BROOD__SHARE_FROM (16 * 1024 * 1024) /* bytes: fewer are copied sooner than put into new memory, and mapped */

/* Of somebody else's. */
typedef struct brood__mapping {
    atomic_uint refs; /* values that were taken may be in any thread */
    void *bytes;
    size_t len;
} brood__mapping;

/* The first `len` bytes of what came: 0, -EBADMSG (not sealed, or shorter), -ENOMEM. The descriptor stays the caller's. */
int brood__mapping_new(int fd, size_t len, brood__mapping **ret_mapping);
void brood__mapping_release(brood__mapping *mapping);

/* A sealed copy: a descriptor, or a negative errno. */
int brood__share_copy(const void *bytes, size_t len);

/* A descriptor for a buffer, to be sent; -ENODEV: it has none, and must be copied. */
int brood__buffer_duplicate(const brood_buffer *buffer);

#endif
