/* utf8.c: whether bytes are UTF-8, as Unicode defines it: no overlong forms, no surrogates, nothing beyond the last
 * code point. Eight bytes at once where they are ASCII, which most text is. */
#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

/* How long the sequence at `s` is; 0 if it is none (Unicode, table 3-7). */
static size_t sequence(const uint8_t *s, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t size = s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (size == 0 || size > left)
        return 0;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < size; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return size;
}

bool lli_is_utf8(const void *text, size_t size)
{
    const uint8_t *s = text;
    size_t i = 0;
    while (i < size) {
        uint64_t eight;
        if (size - i >= sizeof eight) {
            memcpy(&eight, s + i, sizeof eight);
            if (!(eight & UINT64_C(0x8080808080808080))) {
                i += sizeof eight;
                continue;
            }
        }
        size_t step = s[i] < 0x80 ? 1 : sequence(s + i, size - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}
