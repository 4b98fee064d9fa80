/* SPDX-License-Identifier: Apache-2.0 */
#include "base/str.h"

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool str_eq_nocase(struct str a, struct str b)
{
    return a.n == b.n && str_starts_with_nocase(a, b);
}

bool str_starts_with(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq((struct str){s.p, prefix.n}, prefix);
}

bool str_starts_with_nocase(struct str s, struct str prefix)
{
    if (s.n < prefix.n) {
        return false;
    }
    for (size_t i = 0; i < prefix.n; i++) {
        if (lower(s.p[i]) != lower(prefix.p[i])) {
            return false;
        }
    }
    return true;
}

struct str str_trim(struct str s)
{
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[s.n - 1])) {
        s.n--;
    }
    return s;
}

struct str str_cut(struct str *s, char sep)
{
    const char *at = s->n ? memchr(s->p, sep, s->n) : NULL;
    struct str head = *s;
    if (!at) {
        *s = (struct str){s->p + s->n, 0};
        return head;
    }
    head.n = (size_t)(at - s->p);
    *s = (struct str){at + 1, s->n - head.n - 1};
    return head;
}

/* Bytes of the first character; 0: there is none. */
static size_t character(struct str s)
{
    unsigned char lead = (unsigned char)s.p[0];
    if (lead < 0x80) {
        return 1;
    }
    size_t n = lead < 0xC2 || lead > 0xF4 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    if (n == 0 || n > s.n) {
        return 0;
    }
    /* Neither longer than it need be, nor a surrogate, nor past U+10FFFF. */
    unsigned char low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned char high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    for (size_t i = 1; i < n; i++, low = 0x80, high = 0xBF) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < low || c > high) {
            return 0;
        }
    }
    return n;
}

bool str_is_utf8(struct str s)
{
    while (s.n > 0) {
        size_t n = character(s);
        if (n == 0) {
            return false;
        }
        s = (struct str){s.p + n, s.n - n};
    }
    return true;
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *out_value)
{
    uint64_t value = 0;
    if (s.n == 0) {
        return false;
    }
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(s.p[i] - '0'), &value)) {
            return false;
        }
    }
    if (value > max) {
        return false;
    }
    *out_value = value;
    return true;
}

bool str_to_bool(struct str s, bool *out_value)
{
    static const struct {
        const char *word;
        bool value;
    } words[] = {{"true", true},   {"t", true},  {"yes", true}, {"y", true},  {"on", true},   {"1", true},
                 {"false", false}, {"f", false}, {"no", false}, {"n", false}, {"off", false}, {"0", false}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (str_eq_nocase(s, str_c(words[i].word))) {
            *out_value = words[i].value;
            return true;
        }
    }
    return false;
}
