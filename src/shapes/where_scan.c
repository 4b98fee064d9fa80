/* SPDX-License-Identifier: Apache-2.0 */
#include "shapes/where_scan.h"

#include <math.h>
#include <stdlib.h>

bool scan_at_digit(const struct scan *in)
{
    return in->p < in->end && *in->p >= '0' && *in->p <= '9';
}

bool scan_skip(struct scan *in, char c)
{
    bool there = in->p < in->end && *in->p == c;
    in->p += there;
    return there;
}

void scan_skip_spaces(struct scan *in)
{
    while (in->p < in->end && strchr(" \t\n\r\v\f", *in->p) && *in->p) {
        in->p++;
    }
}

bool scan_is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

struct str scan_word(struct scan *in)
{
    struct str w = {in->p, 0};
    while (in->p < in->end && scan_is_letter(*in->p)) {
        in->p++;
        w.n++;
    }
    return w;
}

bool scan_skip_word(struct scan *in, struct str word)
{
    struct scan ahead = *in;
    if (!str_eq_nocase(scan_word(&ahead), word)) {
        return false;
    }
    *in = ahead;
    return true;
}

bool scan_number(struct scan *in, int least, int most, int64_t *out, int *out_n)
{
    int64_t v = 0;
    int n = 0;
    for (; scan_at_digit(in) && n < most; n++, in->p++) {
        v = 10 * v + (*in->p - '0');
    }
    *out = v;
    *out_n = n;
    return n >= least && !scan_at_digit(in);
}

bool scan_decimals(struct scan *in, double *out)
{
    char text[32] = "0.";
    size_t n = 2;
    bool any = scan_at_digit(in);
    for (; scan_at_digit(in); in->p++) {
        if (n < sizeof text - 1) {
            text[n++] = *in->p;
        }
    }
    *out = strtod(text, NULL);
    return any;
}

void scan_fraction(struct scan *in, int64_t *out)
{
    double fraction = 0;
    if (scan_skip(in, '.')) {
        scan_decimals(in, &fraction);
    }
    *out = (int64_t)rint(fraction * 1e6);
}
