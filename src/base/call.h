/*
 * System calls as the kernel answers them: a negative errno, and the C library's errno left alone. For code that runs
 * in memory which is another thread's as well, and for a program without a C library.
 */
#ifndef BROOD_BASE_CALL_H
#define BROOD_BASE_CALL_H

#include "base/fault.h"

/* The number and up to six arguments, each an integer or a pointer. */
#define brood__call(...) BROOD__CALL_OF(__VA_ARGS__, 6, 5, 4, 3, 2, 1, 0)(__VA_ARGS__)
#define BROOD__CALL_OF(number, a, b, c, d, e, f, count, ...) BROOD__CALL_##count
#define BROOD__CALL_0(number) BROOD__CALL_6(number, 0, 0, 0, 0, 0, 0)
#define BROOD__CALL_1(number, a) BROOD__CALL_6(number, a, 0, 0, 0, 0, 0)
#define BROOD__CALL_2(number, a, b) BROOD__CALL_6(number, a, b, 0, 0, 0, 0)
#define BROOD__CALL_3(number, a, b, c) BROOD__CALL_6(number, a, b, c, 0, 0, 0)
#define BROOD__CALL_4(number, a, b, c, d) BROOD__CALL_6(number, a, b, c, d, 0, 0)
#define BROOD__CALL_5(number, a, b, c, d, e) BROOD__CALL_6(number, a, b, c, d, e, 0)
#define BROOD__CALL_6(number, a, b, c, d, e, f)                                                                        \
    brood__call_six(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#if defined __x86_64__ && !defined __ILP32__
#define BROOD__CALLS_ARE_BARE 1

__attribute__((always_inline)) static inline long brood__call_six(long number, long a, long b, long c, long d, long e,
                                                                  long f) {
    long r;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}

#elif defined __aarch64__
#define BROOD__CALLS_ARE_BARE 1

__attribute__((always_inline)) static inline long brood__call_six(long number, long a, long b, long c, long d, long e,
                                                                  long f) {
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}

#else
#define BROOD__CALLS_ARE_BARE 0 /* by the C library, whose errno they write */

#include <errno.h>
#include <unistd.h>

BROOD__RAW static inline long brood__call_six(long number, long a, long b, long c, long d, long e, long f) {
    long r = syscall(number, a, b, c, d, e, f);
    return r == -1 ? -(long)errno : r;
}

#endif

#endif
