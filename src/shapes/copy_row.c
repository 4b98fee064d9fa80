/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes/copy_row.h"

#include <assert.h>

/* 0 for what is no escape. */
static char unescape(char c)
{
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    case '\\':
        return '\\';
    default:
        return '\0';
    }
}

/* Takes the escapes out of p..end. NULL, or the end of what is left. */
static char *decode_field(char *p, const char *end)
{
    char *to = p;
    while (p < end) {
        char c = *p++;
        if (c == '\n') {
            return NULL;
        }
        if (c == '\\') {
            c = p < end ? unescape(*p++) : '\0';
            if (c == '\0') {
                return NULL;
            }
        }
        *to++ = c;
    }
    return to;
}

static bool decode_value(char *p, char *end, struct value *out)
{
    if (end - p == 2 && p[0] == '\\' && p[1] == 'N') {
        *out = (struct value){NULL, 0};
        return true;
    }
    /* Most values hold no backslash: memchr() is quicker than a loop that writes. */
    size_t n = (size_t)(end - p);
    if (memchr(p, '\\', n) || memchr(p, '\n', n)) {
        end = decode_field(p, end);
    }
    if (end) {
        *out = (struct value){p, (uint32_t)(end - p)};
    }
    return end != NULL;
}

int copy_row_decode(char *line, size_t bytes, struct value *out_values, size_t n, struct err *err)
{
    assert(n > 0);
    if (bytes > 0 && line[bytes - 1] == '\n') {
        bytes--;
    }
    if (bytes > UINT32_MAX) {
        return err_set(err, ERR_PEER, "a row of %zu bytes in COPY", bytes);
    }
    char *p = line, *end = line + bytes;
    for (size_t i = 0; i < n; i++) {
        char *tab = memchr(p, '\t', (size_t)(end - p));
        if ((i + 1 < n) != (tab != NULL)) {
            return err_set(err, ERR_PEER, "a row with %s than %zu columns in COPY", tab ? "more" : "fewer",
                           n);
        }
        char *stop = tab ? tab : end;
        if (!decode_value(p, stop, &out_values[i])) {
            return err_set(err, ERR_PEER, "a malformed value in column %zu of a row in COPY", i + 1);
        }
        p = stop + 1;
    }
    return 0;
}
