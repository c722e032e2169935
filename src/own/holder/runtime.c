/*
 * Where a program begins, on each kind of machine, and what the compiler and process/child.c expect of a C library.
 */
#include "own/holder/runtime.h"

#include "base/call.h"
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#define LAUNCH_FLAGS (CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD)

int main(int argc, char **argv);

#if defined __x86_64__ && !defined __ILP32__

__asm__(".text\n"
        ".globl _start\n"
        "_start:\n"
        "    xor %ebp, %ebp\n"
        "    mov (%rsp), %rdi\n"
        "    lea 8(%rsp), %rsi\n"
        "    and $-16, %rsp\n"
        "    call main\n"
        "    mov %eax, %edi\n"
        "    mov $231, %eax\n" /* exit_group */
        "    syscall\n");

#elif defined __aarch64__

__asm__(".text\n"
        ".globl _start\n"
        "_start:\n"
        "    mov x29, #0\n"
        "    ldr x0, [sp]\n"
        "    add x1, sp, #8\n"
        "    bl main\n"
        "    mov x8, #94\n" /* exit_group */
        "    svc #0\n");

#endif

long holder_call(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) /* more than the call takes do no harm */
        a[i] = va_arg(list, long);
    va_end(list);
    return brood__call(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#if BROOD__CALLS_ARE_BARE

/*
 * The child goes on in this very frame, as after vfork(2): it only calls what never returns, deeper in the stack, and
 * what the holder needs of the frame stays.
 */
__attribute__((noinline)) static long launch_here(brood__launch *launch, int *ret_pidfd) {
    long answer = brood__call(SYS_clone, LAUNCH_FLAGS, 0, ret_pidfd);
    if (answer == 0)
        brood__child_main(launch);
    return answer;
}

__attribute__((noinline)) static long launch_into(brood__launch *launch, int cgroup, int *ret_pidfd) {
    struct clone_args args = {
        .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_INTO_CGROUP,
        .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)cgroup,
    };
    long answer = brood__call(SYS_clone3, &args, sizeof args);
    if (answer == 0)
        brood__child_main(launch);
    return answer;
}

long holder_launch(brood__launch *launch, int cgroup, int *ret_pidfd) {
    return cgroup < 0 ? launch_here(launch, ret_pidfd) : launch_into(launch, cgroup, ret_pidfd);
}

/* The compiler asks for these by itself. */
void *memset(void *block, int byte, size_t size) {
    for (char *at = block; size > 0; size--)
        *at++ = (char)byte;
    return block;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    const char *source = from;
    for (char *at = to; size > 0; size--)
        *at++ = *source++;
    return to;
}

#else

#include <stdalign.h>
#include <unistd.h>

extern int __clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

long holder_launch(brood__launch *launch, int cgroup, int *ret_pidfd) {
    static alignas(16) char stack[16384];
    if (cgroup >= 0)
        return -ENOSYS; /* which takes a clone3 of our own */
    int pid = __clone(brood__child_main, stack + sizeof stack, LAUNCH_FLAGS, launch, ret_pidfd);
    return pid < 0 ? -errno : pid;
}

#endif

static bool lacks[BROOD__FEATURE_COUNT];

bool brood__has(brood__feature feature) {
    return !lacks[feature];
}

void brood__lacks(brood__feature feature) {
    lacks[feature] = true;
}

static void *address(long answer) {
    return answer < 0 && answer > -4096 ? NULL : (void *)answer;
}

void *holder_map(size_t size) {
    return address(holder_call(SYS_mmap, 0L, size, (long)(PROT_READ | PROT_WRITE),
                               (long)(MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE), -1L, 0L));
}

void holder_unmap(void *block, size_t size) {
    holder_call(SYS_munmap, block, size);
}

int64_t holder_now_ns(void) {
    struct timespec now = {0};
    holder_call(SYS_clock_gettime, (long)CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int holder_open(int dir, const char *path, int flags) {
    return (int)holder_call(SYS_openat, (long)dir, path, (long)(flags | O_CLOEXEC), 0L);
}

void holder_close(int fd) {
    if (fd >= 0)
        holder_call(SYS_close, (long)fd);
}

long holder_read(int fd, void *buffer, size_t size) {
    long n;
    do
        n = holder_call(SYS_read, (long)fd, buffer, size);
    while (n == -EINTR);
    return n;
}

static bool begins_with(const char *text, const char *word) {
    while (*word && *text == *word)
        text++, word++;
    return !*word && (*text == ' ' || *text == ':' || *text == '\t');
}

bool holder_read_value(int fd, const char *word, uint64_t *ret_value) {
    char text[2048];
    long len = fd < 0 ? -1 : holder_call(SYS_pread64, (long)fd, text, sizeof text - 1, 0L);
    if (len <= 0)
        return false;
    text[len] = '\0';
    const char *at = text;
    while (*at && *word && !begins_with(at, word)) {
        while (*at && *at != '\n')
            at++;
        at += *at == '\n';
    }
    while (*at && *at != '\n' && (*at < '0' || *at > '9'))
        at++;
    if (*at < '0' || *at > '9')
        return false;
    for (*ret_value = 0; *at >= '0' && *at <= '9'; at++)
        *ret_value = *ret_value * 10 + (uint64_t)(*at - '0');
    return true;
}

int holder_write_text(int dir, const char *path, const char *text) {
    size_t len = 0;
    int fd = holder_open(dir, path, O_WRONLY);
    if (fd < 0)
        return fd;
    while (text[len])
        len++;
    long n = holder_call(SYS_write, (long)fd, text, len);
    holder_close(fd);
    return n < 0 ? (int)n : 0;
}
