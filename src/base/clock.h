/* Time: microseconds of the monotonic clock, and sums that stop at "never" instead of wrapping. */
#ifndef BROOD_BASE_CLOCK_H
#define BROOD_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define BROOD__NEVER UINT64_MAX

static inline uint64_t brood__now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The moment `ms` after `now_us`. */
static inline uint64_t brood__after_ms(uint64_t now_us, uint64_t ms) {
    uint64_t us, sum;
    if (__builtin_mul_overflow(ms, (uint64_t)1000, &us) || __builtin_add_overflow(now_us, us, &sum))
        return BROOD__NEVER;
    return sum;
}

/* Milliseconds from now until a moment, rounded up, so that whoever waits so long finds it reached. */
static inline uint64_t brood__ms_until(uint64_t now_us, uint64_t at_us) {
    return at_us <= now_us ? 0 : (at_us - now_us) / 1000 + ((at_us - now_us) % 1000 != 0);
}

#endif
