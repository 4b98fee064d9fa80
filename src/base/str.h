/* SPDX-License-Identifier: Apache-2.0 */
/* struct str borrows bytes: not NUL-terminated, never owns. Valid as long as what it points into. */
#pragma once

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(lit)   ((struct str){(lit), sizeof(lit) - 1})
#define STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_c(const char *s)
{
    return (struct str){s, s ? strlen(s) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case folding only: for keywords and option values. */
bool str_eq_nocase(struct str a, struct str b);
bool str_starts_with(struct str s, struct str prefix);
bool str_starts_with_nocase(struct str s, struct str prefix);
/* Without ASCII white space at both ends. */
struct str str_trim(struct str s);
/* Cuts s at the first `sep`: returns what is before, leaves the rest (after sep) in *s; the whole when there
 * is none. */
struct str str_cut(struct str *s, char sep);

/* Well-formed UTF-8 (RFC 3629); NUL bytes are. */
bool str_is_utf8(struct str s);

/* Whole string must be a decimal number in [0, max]; false otherwise (empty, sign, spaces, overflow). */
MUST_USE bool str_to_u64(struct str s, uint64_t max, uint64_t *out_value);
/* true t yes y on 1 / false f no n off 0, any case. */
MUST_USE bool str_to_bool(struct str s, bool *out_value);
