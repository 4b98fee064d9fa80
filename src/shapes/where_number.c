/* SPDX-License-Identifier: Apache-2.0 */
/* Integers and floats: text to value and back. */
#include "shapes/where_node.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

bool number_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* --- integers --- */

bool int_parse(struct str text, int64_t *out)
{
    struct str s = str_trim(text);
    bool negative = s.n && *s.p == '-';
    size_t i = s.n && (*s.p == '-' || *s.p == '+');
    if (i == s.n) {
        return false;
    }
    int64_t v = 0; /* below zero, where there is one more */
    for (; i < s.n; i++) {
        if (!number_is_digit(s.p[i]) || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, s.p[i] - '0', &v)) {
            return false;
        }
    }
    if (!negative && v == INT64_MIN) {
        return false;
    }
    *out = negative ? v : -v;
    return true;
}

enum { SAFE_DIGITS = 18 };

bool row_int_parse(struct str text, int64_t *out)
{
    bool negative = text.n && *text.p == '-';
    size_t i = negative;
    if (i == text.n || text.n > SAFE_DIGITS) {
        return false;
    }
    int64_t v = 0;
    for (; i < text.n; i++) {
        if (!number_is_digit(text.p[i])) {
            return false;
        }
        v = 10 * v + (text.p[i] - '0');
    }
    *out = negative ? -v : v;
    return true;
}

struct str int_text(struct arena *a, int64_t i)
{
    return str_c(arena_printf(a, "%lld", (long long)i));
}

bool int_fits(int64_t i, enum where_type t)
{
    return t == TYPE_INT2   ? i >= INT16_MIN && i <= INT16_MAX
           : t == TYPE_INT4 ? i >= INT32_MIN && i <= INT32_MAX
                            : true;
}

/* --- floats --- */

enum { FLOAT_TEXT = 400 }; /* the longest plain double has 309 digits before its point */

bool number_is_word(struct str s, double *out)
{
    bool negative = s.n && *s.p == '-';
    if (s.n && (*s.p == '-' || *s.p == '+')) {
        s = (struct str){s.p + 1, s.n - 1};
    }
    if (str_eq_nocase(s, STR("infinity")) || str_eq_nocase(s, STR("inf"))) {
        *out = negative ? -INFINITY : INFINITY;
        return true;
    }
    if (str_eq_nocase(s, STR("nan"))) {
        *out = NAN;
        return true;
    }
    return false;
}

bool float_parse(struct str text, bool single, double *out)
{
    struct str s = str_trim(text);
    if (number_is_word(s, out)) {
        return true;
    }
    char copy[FLOAT_TEXT];
    if (!s.n || s.n >= sizeof copy) {
        return false;
    }
    memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    if (strspn(copy, "0123456789.eE+-") != s.n) { /* strtod() takes more than that */
        return false;
    }
    char *end;
    errno = 0;
    double v = single ? (double)strtof(copy, &end) : strtod(copy, &end);
    if (*end || end == copy || (errno == ERANGE && (v == 0 || isinf(v)))) {
        return false;
    }
    *out = v;
    return true;
}

/* Up to 15 digits and a power of ten up to 22 are both exact, and so is the rounding of their quotient. */
bool row_float_parse(struct str text, double *out)
{
    static const double powers[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool negative = text.n && *text.p == '-';
    size_t i = negative, fraction = 0;
    if (i == text.n || text.n > 15) {
        return false;
    }
    int64_t v = 0;
    for (; i < text.n; i++) {
        if (text.p[i] == '.' && !fraction && i + 1 < text.n) {
            fraction = i + 1;
        } else if (number_is_digit(text.p[i])) {
            v = 10 * v + (text.p[i] - '0');
        } else {
            return false;
        }
    }
    double d = (double)v / powers[fraction ? text.n - fraction : 0];
    *out = negative ? -d : d;
    return true;
}

/* The fewest digits that give the number back. */
static void shortest(char *out, size_t size, double f, bool single)
{
    int most = single ? 9 : 17;
    for (int digits = 1; digits <= most; digits++) {
        snprintf(out, size, "%.*e", digits - 1, f);
        if (single ? strtof(out, NULL) == (float)f : strtod(out, NULL) == f) {
            return;
        }
    }
}

struct str float_text(struct arena *a, double f, bool single)
{
    if (isnan(f) || isinf(f)) {
        return isnan(f) ? STR("NaN") : f > 0 ? STR("Infinity") : STR("-Infinity");
    }
    char e[40];
    shortest(e, sizeof e, f, single);
    int exponent = (int)strtol(strchr(e, 'e') + 1, NULL, 10);
    int digits = (int)(strchr(e, 'e') - e) - (*e == '-') - (strchr(e, '.') != NULL);
    if (exponent < -4 || exponent >= (single ? 6 : 15)) {
        return str_c(arena_strdup(a, e));
    }
    int decimals = digits - 1 - exponent;
    return str_c(arena_printf(a, "%.*f", decimals > 0 ? decimals : 0, f));
}
