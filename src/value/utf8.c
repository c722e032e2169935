/* UTF-8, one character at a time: who has many that are ASCII skips those first. */
#include "value/utf8.h"

/* Table 3-7 of the Unicode standard: only the second byte's range depends on the first. */
int brood__utf8_measure(const char *text, const char *end, bool halves) {
    const uint8_t *at = (const uint8_t *)text;
    uint8_t first = at[0], low = 0x80, high = 0xbf;
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return -1;
    int len = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed && !halves)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    for (int i = 1; i < len; i++) {
        if (end - text <= i || at[i] < low || at[i] > high)
            return -i;
        low = 0x80;
        high = 0xbf;
    }
    return len;
}

uint32_t brood__utf8_read(const char *text, int length) {
    uint32_t point = (uint8_t)text[0];
    if (length > 1)
        point &= 0x7fU >> length;
    for (int i = 1; i < length; i++)
        point = point << 6 | ((uint8_t)text[i] & 0x3f);
    return point;
}

int brood__utf8_write(uint32_t point, char *ret_text) {
    int len = point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    if (len == 1) {
        ret_text[0] = (char)point;
        return 1;
    }
    for (int i = len - 1; i > 0; i--, point >>= 6)
        ret_text[i] = (char)(0x80 | (point & 0x3f));
    ret_text[0] = (char)(0xf00 >> len | point);
    return len;
}
