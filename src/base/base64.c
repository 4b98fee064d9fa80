/* SPDX-License-Identifier: Apache-2.0 */
#include "base/base64.h"

static int digit_of(char c, enum base64_form form)
{
    return c >= 'A' && c <= 'Z'             ? c - 'A'
           : c >= 'a' && c <= 'z'           ? c - 'a' + 26
           : c >= '0' && c <= '9'           ? c - '0' + 52
           : c == '+'                       ? 62
           : c == '/'                       ? 63
           : c == '-' && form == BASE64_URL ? 62
           : c == '_' && form == BASE64_URL ? 63
                                            : -1;
}

/* Takes the padding off; false when it is not allowed there. */
static bool strip_padding(struct str *text, enum base64_form form)
{
    size_t padding = 0;
    while (form == BASE64_STANDARD && padding < 2 && text->n && text->p[text->n - 1] == '=') {
        text->n--;
        padding++;
    }
    return text->n % 4 != 1 && (padding == 0 || (text->n + padding) % 4 == 0);
}

bool base64_decode(struct str text, enum base64_form form, char *out, size_t *out_n)
{
    unsigned bits = 0;
    unsigned pending = 0;
    size_t n = 0;
    if (!strip_padding(&text, form)) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        int digit = digit_of(text.p[i], form);
        if (digit < 0) {
            return false;
        }
        bits = (bits << 6 | (unsigned)digit) & 0xffffff;
        pending += 6;
        if (pending >= 8) {
            pending -= 8;
            out[n++] = (char)(bits >> pending & 0xff);
        }
    }
    *out_n = n;
    return true;
}
