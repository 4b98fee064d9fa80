/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/lsn.h"

static bool parse_half(struct str text, uint32_t *out)
{
    uint32_t v = 0;
    if (text.n == 0 || text.n > 8) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        unsigned digit;
        if (c >= '0' && c <= '9') {
            digit = (unsigned)(c - '0');
        } else if (c >= 'A' && c <= 'F') {
            digit = (unsigned)(c - 'A') + 10;
        } else if (c >= 'a' && c <= 'f') {
            digit = (unsigned)(c - 'a') + 10;
        } else {
            return false;
        }
        v = v << 4 | digit;
    }
    *out = v;
    return true;
}

bool lsn_parse(struct str text, lsn_t *out_lsn)
{
    const char *slash = text.n ? memchr(text.p, '/', text.n) : NULL;
    uint32_t high, low;
    if (!slash) {
        return false;
    }
    size_t before = (size_t)(slash - text.p);
    if (!parse_half((struct str){text.p, before}, &high) ||
        !parse_half((struct str){slash + 1, text.n - before - 1}, &low)) {
        return false;
    }
    *out_lsn = (lsn_t)high << 32 | low;
    return true;
}
