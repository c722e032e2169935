/* Shared bytes. Where the kernel makes no memfd, a buffer is plain memory, and is copied when it is sent. */
#include "value/shared.h"

#include "base/memory.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010 /* Linux 5.1 */
#endif
#ifndef HUGETLBFS_MAGIC
#define HUGETLBFS_MAGIC 0x958458f6 /* linux/magic.h */
#endif
#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

struct brood_buffer {
    int fd; /* -1: not shared */
    void *bytes;
    size_t size;
};

/* --- of one's own --- */

/* The mapping that is there may write on; no other. */
static int seal(int fd, int seals) {
    return fcntl(fd, F_ADD_SEALS, seals | SIZE_SEALS | F_SEAL_SEAL) < 0 ? -errno : 0;
}

static int map_shared(size_t size, brood_buffer *b) {
    int fd = brood__memfd(size);
    if (fd < 0)
        return fd;
    b->bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int r = b->bytes == MAP_FAILED ? -errno : seal(fd, F_SEAL_FUTURE_WRITE);
    if (r < 0) {
        if (b->bytes != MAP_FAILED)
            munmap(b->bytes, size);
        brood__close(fd);
        return r;
    }
    b->fd = fd;
    return 0;
}

int brood_buffer_new(size_t size, brood_buffer **ret_buffer) {
    if (size == 0 || size > UINT32_MAX / 2)
        return size ? -EMSGSIZE : -EINVAL;
    brood_buffer *b = brood__alloc(sizeof *b);
    if (!b)
        return -ENOMEM;
    *b = (brood_buffer){.fd = -1, .size = size};
    if (map_shared(size, b) < 0) {
        b->bytes = brood__fault("mmap", ENOMEM) < 0
                       ? MAP_FAILED
                       : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (b->bytes == MAP_FAILED) {
            brood__free(b);
            return -ENOMEM;
        }
    }
    *ret_buffer = b;
    return 0;
}

void *brood_buffer_bytes(const brood_buffer *b) {
    return b->bytes;
}

size_t brood_buffer_size(const brood_buffer *b) {
    return b->size;
}

void brood_buffer_done(brood_buffer *b) {
    if (!b)
        return;
    munmap(b->bytes, b->size);
    brood__close(b->fd);
    brood__free(b);
}

int brood__buffer_duplicate(const brood_buffer *b) {
    return b->fd < 0 ? -ENODEV : brood__duplicate(b->fd);
}

int brood__share_copy(const void *bytes, size_t len) {
    int fd = brood__memfd(len);
    if (fd < 0)
        return fd;
    const char *at = bytes;
    int r = 0;
    for (ssize_t n; r == 0 && len > 0; at += n, len -= (size_t)n)
        if ((n = write(fd, at, len)) < 0) {
            r = -errno;
            n = 0;
        }
    if (r == 0)
        r = seal(fd, F_SEAL_WRITE);
    if (r < 0) {
        brood__close(fd);
        return r;
    }
    return fd;
}

/* --- of somebody else's --- */

int brood__mapping_new(int fd, size_t len, brood__mapping **ret_mapping) {
    struct stat status;
    struct statfs system;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SIZE_SEALS) != SIZE_SEALS || !(seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)) ||
        fstat(fd, &status) < 0 || len == 0 || (uint64_t)status.st_size < len || fstatfs(fd, &system) < 0 ||
        system.f_type == HUGETLBFS_MAGIC) /* pages that cannot be unmapped by the byte */
        return -EBADMSG;
    brood__mapping *m = brood__alloc(sizeof *m);
    if (!m)
        return -ENOMEM;
    m->bytes = brood__fault("mmap", ENOMEM) < 0 ? MAP_FAILED : mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
    if (m->bytes == MAP_FAILED) {
        brood__free(m);
        return -ENOMEM;
    }
    atomic_init(&m->refs, 1);
    m->len = len;
    *ret_mapping = m;
    return 0;
}

void brood__mapping_release(brood__mapping *m) {
    if (atomic_fetch_sub(&m->refs, 1) > 1)
        return;
    munmap(m->bytes, m->len);
    brood__free(m);
}
