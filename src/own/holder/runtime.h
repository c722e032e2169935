/*
 * What a holder has in place of a C library: system calls, and memory that the kernel fills with zeros. So it is some
 * ten KiB, starts as fast as a program can, and has nothing to be loaded or initialised. On machines whose system calls
 * are not known here it is linked with the C library instead.
 */
#ifndef BROOD_OWN_HOLDER_RUNTIME_H
#define BROOD_OWN_HOLDER_RUNTIME_H

#include "process/child.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* As syscall(2), but with the kernel's own answer: an error is a negative errno. */
long holder_call(long number, ...);

/*
 * Start a program as the host would: suspended until it runs or has failed to. `cgroup`: in there, or -1. The pid, or a
 * negative errno.
 */
long holder_launch(brood__launch *launch, int cgroup, int *ret_pidfd);

/* Zeros, of which only those that are touched take memory; NULL: none. */
void *holder_map(size_t size);
void holder_unmap(void *block, size_t size);

int64_t holder_now_ns(void);
int holder_open(int dir, const char *path, int flags);
void holder_close(int fd);
/*
 * The number behind a word that begins a line of a small file; with "" its first. Read from the file's beginning, so that
 * the descriptor can be asked again. False: there is none.
 */
bool holder_read_value(int fd, const char *word, uint64_t *ret_value);
int holder_write_text(int dir, const char *path, const char *text); /* 0, or a negative errno */
/* A descriptor's next bytes: how many, 0 at the end, or a negative errno. Goes on after EINTR. */
long holder_read(int fd, void *buffer, size_t size);

#endif
