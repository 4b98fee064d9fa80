/* SPDX-License-Identifier: Apache-2.0 */
/* Private to where*.c: reading dates, times and intervals from left to right. */
#pragma once

#include "base/str.h"

struct scan {
    const char *p, *end;
};

bool scan_at_digit(const struct scan *in);
bool scan_skip(struct scan *in, char c);
void scan_skip_spaces(struct scan *in);
/* ASCII letters. */
bool scan_is_letter(char c);
struct str scan_word(struct scan *in);
bool scan_skip_word(struct scan *in, struct str word);
/* Between `least` and `most` (at most 18) digits; how many there are in *out_n. */
bool scan_number(struct scan *in, int least, int most, int64_t *out, int *out_n);
/* The digits after a point that is behind us. False when there are none. */
bool scan_decimals(struct scan *in, double *out);
/* ".digits", perhaps; in millionths. */
void scan_fraction(struct scan *in, int64_t *out);
