/*
 * Numbers. Reading is the way of Lemire and Mushtak ("Number Parsing at a Gigabyte per Second"; "Fast Number Parsing
 * Without Fallback"): one 64 by 128 bit product decides, and only where more than 19 digits leave two candidates does
 * long arithmetic choose. Writing is Giulietti's Schubfach ("The Schubfach way to render doubles"). Both live off one
 * table of powers.
 */
#include "value/number.h"

#include "value/powers.h"

#include <stdbool.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

#define MANTISSA_BITS 52
#define EXPONENT_MAX 0x7ff
#define MAX_DIGITS 800 /* what decides between two doubles ends before; the rest matters only as "not zero" */

static uint64_t bits_of(double number) {
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static double from_bits(uint64_t bits) {
    double number;
    memcpy(&number, &bits, sizeof number);
    return number;
}

static const struct brood__power *power(int exponent) {
    return &brood__powers[exponent - BROOD__LOWEST_POWER];
}

/* floor(log2(10^exponent)) */
static int binary_exponent(int exponent) {
    return (exponent * 217706) >> 16;
}

/* --- reading --- */

static double pack(uint64_t mantissa, int exponent) {
    return from_bits((mantissa & ((UINT64_C(1) << MANTISSA_BITS) - 1)) | (uint64_t)exponent << MANTISSA_BITS);
}

static double infinity(void) {
    return from_bits((uint64_t)EXPONENT_MAX << MANTISSA_BITS);
}

static double round_subnormal(uint64_t mantissa, int shift) {
    if (shift >= 64)
        return 0;
    mantissa >>= shift;
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    return pack(mantissa, mantissa >> MANTISSA_BITS ? 1 : 0);
}

/* digits * 10^exponent, correctly rounded; digits is exact. */
static double scale(uint64_t digits, int exponent) {
    if (digits == 0 || exponent < BROOD__LOWEST_POWER)
        return 0;
    if (exponent > 308)
        return infinity();
    int zeros = __builtin_clzll(digits);
    digits <<= zeros;
    uint128 product = (uint128)digits * power(exponent)->high;
    uint64_t high = (uint64_t)(product >> 64), low = (uint64_t)product;
    if ((high & 0x1ff) == 0x1ff) { /* the lower half of the power may carry into what is kept */
        uint64_t more = (uint64_t)((uint128)digits * power(exponent)->low >> 64);
        low += more;
        high += low < more;
    }
    int upper = (int)(high >> 63), shift = upper + 64 - MANTISSA_BITS - 3;
    uint64_t mantissa = high >> shift;
    int biased = binary_exponent(exponent) + 63 + upper - zeros + 1023;
    if (biased <= 0)
        return round_subnormal(mantissa, 1 - biased);
    bool tie = low <= 1 && exponent >= -4 && exponent <= 23 && (mantissa & 3) == 1 && mantissa << shift == high;
    if (tie)
        mantissa &= ~UINT64_C(1);
    mantissa = (mantissa + (mantissa & 1)) >> 1;
    if (mantissa >> (MANTISSA_BITS + 1)) {
        mantissa >>= 1;
        biased++;
    }
    return biased < EXPONENT_MAX ? pack(mantissa, biased) : infinity();
}

/* Long arithmetic: 800 digits by 10^342 and 2^1075 are below 8000 bits. */
typedef struct whole {
    int count;
    uint32_t limbs[260];
} whole;

static void multiply_add(whole *w, uint32_t factor, uint32_t more) {
    uint64_t carry = more;
    for (int i = 0; i < w->count; i++) {
        carry += (uint64_t)w->limbs[i] * factor;
        w->limbs[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry)
        w->limbs[w->count++] = (uint32_t)carry;
}

static void multiply_by_power(whole *w, uint32_t base, int exponent) {
    while (exponent-- > 0)
        multiply_add(w, base, 0);
}

static void shift_left(whole *w, int bits) {
    for (; bits >= 31; bits -= 31)
        multiply_add(w, UINT32_C(1) << 31, 0);
    multiply_add(w, UINT32_C(1) << bits, 0);
}

static int compare(const whole *a, const whole *b) {
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (int i = a->count - 1; i >= 0; i--)
        if (a->limbs[i] != b->limbs[i])
            return a->limbs[i] < b->limbs[i] ? -1 : 1;
    return 0;
}

/* A number as it stands in the text: all its digits, the point left out, times 10^exponent. */
typedef struct decimal {
    const char *digits, *end; /* may hold a point */
    int exponent;             /* of the last digit */
} decimal;

/* The digits as a whole number, at most MAX_DIGITS of them and a 1 for what follows; and the exponent then. */
static int all_digits(const decimal *d, whole *ret_whole) {
    int kept = 0, dropped = 0;
    bool rest = false;
    ret_whole->count = 0;
    for (const char *p = d->digits; p < d->end; p++) {
        if (*p == '.')
            continue;
        if (kept == MAX_DIGITS) {
            rest = rest || *p != '0';
            dropped++;
            continue;
        }
        multiply_add(ret_whole, 10, (uint32_t)(*p - '0'));
        kept += ret_whole->count > 0;
    }
    if (rest) {
        multiply_add(ret_whole, 10, 1);
        dropped--;
    }
    return d->exponent + dropped;
}

/* Which of a double and its successor is nearer: the decimal is compared with the middle between them. */
static double nearest(const decimal *d, double below, double above) {
    uint64_t bits = bits_of(below);
    int biased = (int)(bits >> MANTISSA_BITS);
    uint64_t mantissa = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
    if (biased > 0)
        mantissa |= UINT64_C(1) << MANTISSA_BITS;
    uint64_t middle = 2 * mantissa + 1;
    int twos = (biased > 0 ? biased : 1) - 1076;
    whole left, right = {.count = 2, .limbs = {(uint32_t)middle, (uint32_t)(middle >> 32)}};
    if (right.limbs[1] == 0)
        right.count = 1;
    int tens = all_digits(d, &left);
    multiply_by_power(tens > 0 ? &left : &right, 10, tens > 0 ? tens : -tens);
    shift_left(twos < 0 ? &left : &right, twos < 0 ? -twos : twos);
    int order = compare(&left, &right);
    return order > 0 || (order == 0 && (mantissa & 1)) ? above : below;
}

/* Where a number is within what a double can count, one operation rounds it right (Clinger 1990). */
static bool scale_exactly(uint64_t digits, int exponent, double *ret_number) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (digits >> (MANTISSA_BITS + 1) || exponent < -22 || exponent > 22)
        return false;
    *ret_number = exponent < 0 ? (double)digits / tens[-exponent] : (double)digits * tens[exponent];
    return true;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static const char *skip_digits(const char *p, const char *end) {
    while (p < end && is_digit(*p))
        p++;
    return p;
}

/* `e+12`: NULL if it breaks off. What is beyond all doubles stays there. */
static const char *read_exponent(const char *p, const char *end, int *ret_exponent) {
    bool negative = false;
    p++;
    if (p < end && (*p == '-' || *p == '+'))
        negative = *p++ == '-';
    const char *start = p;
    int exponent = 0;
    for (; p < end && is_digit(*p); p++)
        if (exponent < 100000000)
            exponent = exponent * 10 + (*p - '0');
    *ret_exponent = negative ? -exponent : exponent;
    return p > start ? p : NULL;
}

double brood__number_scale(uint64_t digits, int exponent) {
    double number;
    return scale_exactly(digits, exponent, &number) ? number : scale(digits, exponent);
}

static double round_decimal(const decimal *d) {
    uint64_t digits = 0;
    int count = 0, more = 0;
    for (const char *p = d->digits; p < d->end; p++) {
        if (*p == '.')
            continue;
        if (count == 19) {
            more++;
            continue;
        }
        digits = digits * 10 + (uint64_t)(*p - '0');
        count += digits > 0;
    }
    if (more == 0)
        return brood__number_scale(digits, d->exponent);
    int exponent = d->exponent + more;
    double below = scale(digits, exponent);
    double above = scale(digits + 1, exponent);
    return below == above ? below : nearest(d, below, above);
}

const char *brood__number_read(const char *text, const char *end, double *ret_number) {
    const char *p = text;
    bool negative = p < end && *p == '-';
    decimal d = {.digits = p + negative};
    p = d.digits;
    if (p == end || !is_digit(*p))
        return NULL;
    p = *p == '0' ? p + 1 : skip_digits(p, end);
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = skip_digits(fraction, end);
        if (p == fraction)
            return NULL;
        /* a text is at most 4 GB, and 2^30 digits after the point are as good as more */
        d.exponent = p - fraction < 1 << 30 ? -(int)(p - fraction) : -(1 << 30);
    }
    d.end = p;
    if (p < end && (*p | 0x20) == 'e') {
        int exponent;
        p = read_exponent(p, end, &exponent);
        if (!p)
            return NULL;
        d.exponent += exponent;
    }
    double number = round_decimal(&d);
    *ret_number = negative ? -number : number;
    return p;
}

/* --- writing --- */

typedef struct shortest {
    uint64_t digits;
    int exponent;
} shortest;

/* The upper 64 bits of a product by a power, its last bit set if anything below is. */
static uint64_t round_to_odd(uint64_t high, uint64_t low, uint64_t factor) {
    uint64_t below = (uint64_t)((uint128)low * factor >> 64);
    uint128 product = (uint128)high * factor + below;
    return (uint64_t)(product >> 64) | ((uint64_t)product > 1);
}

/* The names are the paper's: c 2^q is the number, v its quadruple, l and r the ends of what rounds to it. */
static shortest find_shortest(uint64_t bits) {
    uint64_t fraction = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
    int biased = (int)(bits >> MANTISSA_BITS & EXPONENT_MAX);
    uint64_t c = biased > 0 ? fraction | UINT64_C(1) << MANTISSA_BITS : fraction;
    int q = (biased > 0 ? biased : 1) - 1075;
    bool closer = fraction == 0 && biased > 1; /* the next lower double is half as far */
    bool odd = c & 1;
    int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22;
    int h = q + ((-k * 1741647) >> 19) + 1;
    uint64_t high = power(-k)->high, low = power(-k)->low;
    if (-k > 55 && ++low == 0) /* rounded up is what the paper wants */
        high++;
    uint64_t vl = round_to_odd(high, low, (4 * c - 2 + closer) << h) + odd;
    uint64_t v = round_to_odd(high, low, 4 * c << h);
    uint64_t vr = round_to_odd(high, low, (4 * c + 2) << h) - odd;
    uint64_t s = v / 4;
    if (s >= 10) { /* one digit less? */
        uint64_t t = s / 10;
        bool down = vl <= 40 * t, up = 40 * t + 40 <= vr;
        if (down != up)
            return (shortest){t + up, k + 1};
    }
    bool down = vl <= 4 * s, up = 4 * s + 4 <= vr;
    if (down != up)
        return (shortest){s + up, k};
    uint64_t middle = 4 * s + 2;
    return (shortest){s + (v > middle || (v == middle && (s & 1))), k};
}

/* How many decimal digits it has. */
static int count_digits(uint64_t number) {
    static const uint64_t tens[] = {0,
                                    10,
                                    100,
                                    1000,
                                    10000,
                                    100000,
                                    1000000,
                                    10000000,
                                    100000000,
                                    1000000000,
                                    (uint64_t)1e10,
                                    (uint64_t)1e11,
                                    (uint64_t)1e12,
                                    (uint64_t)1e13,
                                    (uint64_t)1e14,
                                    (uint64_t)1e15,
                                    (uint64_t)1e16,
                                    (uint64_t)1e17,
                                    (uint64_t)1e18,
                                    (uint64_t)1e19};
    int guess = (64 - __builtin_clzll(number | 1)) * 1233 >> 12; /* log10(2) is 1233 / 4096 */
    return guess + (number >= tens[guess]);
}

static void write_pair(unsigned number, char *text) {
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    memcpy(text, pairs + (size_t)2 * number, 2);
}

static int write_digits(uint64_t number, char *ret_text) {
    int count = count_digits(number);
    char *to = ret_text + count;
    while (number >= 100000000) { /* eight at a time: four divisions that do not wait for each other */
        unsigned eight = (unsigned)(number % 100000000), high = eight / 10000, low = eight % 10000;
        number /= 100000000;
        to -= 8;
        write_pair(high / 100, to);
        write_pair(high % 100, to + 2);
        write_pair(low / 100, to + 4);
        write_pair(low % 100, to + 6);
    }
    unsigned rest = (unsigned)number;
    for (; rest >= 100; rest /= 100)
        write_pair(rest % 100, to -= 2);
    if (rest >= 10)
        write_pair(rest, to - 2);
    else
        to[-1] = (char)('0' + rest);
    return count;
}

int brood__number_write_int(int64_t number, char *ret_text) {
    if (number >= 0)
        return write_digits((uint64_t)number, ret_text);
    *ret_text = '-';
    return 1 + write_digits(-(uint64_t)number, ret_text + 1);
}

static int write_exponent(int exponent, char *ret_text) {
    ret_text[0] = 'e';
    ret_text[1] = exponent < 0 ? '-' : '+';
    return 2 + write_digits((uint64_t)(exponent < 0 ? -exponent : exponent), ret_text + 2);
}

/* `digits`, of which there are `count`, as 0.DIGITS times 10^point. */
static int lay_out(uint64_t digits, int count, int point, char *ret_text) {
    if (count <= point && point <= 21) {
        write_digits(digits, ret_text);
        memset(ret_text + count, '0', (size_t)(point - count));
        return point;
    }
    if (0 < point && point <= 21) {
        write_digits(digits, ret_text + 1);
        for (int i = 0; i < point; i++)
            ret_text[i] = ret_text[i + 1];
        ret_text[point] = '.';
        return count + 1;
    }
    if (-6 < point && point <= 0) {
        ret_text[0] = '0';
        ret_text[1] = '.';
        for (int i = 0; i < -point; i++)
            ret_text[2 + i] = '0';
        write_digits(digits, ret_text + 2 - point);
        return 2 - point + count;
    }
    write_digits(digits, ret_text + 1);
    ret_text[0] = ret_text[1];
    ret_text[1] = '.';
    int length = count > 1 ? count + 1 : 1;
    return length + write_exponent(point - 1, ret_text + length);
}

int brood__number_write(double number, char *ret_text) {
    if (number > -9007199254740992.0 && number < 9007199254740992.0 && (double)(int64_t)number == number)
        return brood__number_write_int((int64_t)number, ret_text);
    int sign = number < 0;
    if (sign)
        *ret_text++ = '-';
    shortest s = find_shortest(bits_of(number) & INT64_MAX);
    while (s.digits % 10 == 0) {
        s.digits /= 10;
        s.exponent++;
    }
    int count = count_digits(s.digits);
    return sign + lay_out(s.digits, count, count + s.exponent, ret_text);
}
