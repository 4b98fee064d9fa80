/* SPDX-License-Identifier: Apache-2.0 */
/* Values: from text, to text, from type to type, and their order. */
#include "shapes/where_node.h"

#include <math.h>
#include <stdio.h>

/* --- reading --- */

static bool is_beginning(struct str s, const char *word, size_t least)
{
    struct str w = str_c(word);
    return s.n >= least && s.n <= w.n && str_starts_with_nocase(w, s);
}

static bool bool_parse(struct str text, bool *out)
{
    struct str s = str_trim(text);
    *out = is_beginning(s, "true", 1) || is_beginning(s, "yes", 1) || is_beginning(s, "on", 2) ||
           str_eq(s, STR("1"));
    return *out || is_beginning(s, "false", 1) || is_beginning(s, "no", 1) || is_beginning(s, "off", 2) ||
           str_eq(s, STR("0"));
}

static int hex_value(char c)
{
    char low = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

enum { UUID_DIGITS = 32, UUID_TEXT = 36 };

/* Digits in either case, perhaps in braces, perhaps with a hyphen after any group of four. */
static bool uuid_parse(struct arena *a, struct str s, struct str *out)
{
    if (s.n > 1 && s.p[0] == '{' && s.p[s.n - 1] == '}') {
        s = (struct str){s.p + 1, s.n - 2};
    }
    char *p = arena_alloc(a, UUID_TEXT + 1), *w = p;
    int digits = 0;
    for (size_t i = 0; i < s.n; i++) {
        int v = hex_value(s.p[i]);
        bool hyphen = s.p[i] == '-' && digits && digits % 4 == 0 && digits < UUID_DIGITS && s.p[i - 1] != '-';
        if (hyphen) {
            continue;
        }
        if (v < 0 || digits == UUID_DIGITS) {
            return false;
        }
        if (digits == 8 || digits == 12 || digits == 16 || digits == 20) {
            *w++ = '-';
        }
        *w++ = "0123456789abcdef"[v];
        digits++;
    }
    *out = (struct str){p, UUID_TEXT};
    return digits == UUID_DIGITS;
}

static bool int_parse_as(enum where_type t, struct str text, int64_t *out)
{
    int64_t v;
    if (!int_parse(text, &v) || !int_fits(v, t)) {
        return false;
    }
    *out = v;
    return true;
}

bool value_parse(struct arena *a, enum where_type t, struct str text, union datum *out)
{
    switch (t) {
    case TYPE_BOOL:
        return bool_parse(text, &out->truth);
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
        return int_parse_as(t, text, &out->i);
    case TYPE_NUMERIC:
        return numeric_parse(a, text, &out->s);
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        return float_parse(text, t == TYPE_FLOAT4, &out->f);
    case TYPE_UUID:
        return uuid_parse(a, text, &out->s);
    case TYPE_DATE:
        return date_parse(text, &out->i);
    case TYPE_TIME:
        return time_parse(text, &out->i);
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return timestamp_parse(text, t == TYPE_TIMESTAMPTZ, &out->i);
    case TYPE_INTERVAL:
        return interval_parse(text, &out->span);
    case TYPE_TEXT:
    case TYPE_VARCHAR:
    case TYPE_ENUM:
        out->s = text;
        return true;
    case TYPE_UNKNOWN:
    case TYPE_OTHER:
    case TYPES:
        break;
    }
    return false;
}

static bool is_number_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((s.p[i] < '0' || s.p[i] > '9') && s.p[i] != '.' && (i || s.p[i] != '-')) {
            return str_eq(s, STR("NaN")) || str_eq(s, STR("Infinity")) || str_eq(s, STR("-Infinity"));
        }
    }
    return s.n > 0;
}

/* What stands in a row is canonical already; its commonest forms are read by the shortest way. */
bool value_parse_row(enum where_type t, const struct value *v, union datum *out)
{
    struct str s = {v->p, v->n};
    switch (t) {
    case TYPE_BOOL:
        out->truth = v->n == 1 && *v->p == 't';
        return v->n == 1 && (*v->p == 't' || *v->p == 'f');
    case TYPE_UUID:
        out->s = s;
        return s.n == UUID_TEXT;
    case TYPE_NUMERIC:
        out->s = s;
        return is_number_text(s);
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
        return row_int_parse(s, &out->i) || int_parse(s, &out->i);
    case TYPE_FLOAT8:
        return row_float_parse(s, &out->f) || float_parse(s, false, &out->f);
    case TYPE_DATE:
        return row_date_parse(s, &out->i) || date_parse(s, &out->i);
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return row_timestamp_parse(s, &out->i) || timestamp_parse(s, t == TYPE_TIMESTAMPTZ, &out->i);
    default:
        return value_parse(NULL, t, s, out);
    }
}

/* --- writing --- */

struct str value_text(struct arena *a, enum where_type t, const union datum *v)
{
    switch (t) {
    case TYPE_BOOL:
        return v->truth ? STR("true") : STR("false");
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
        return int_text(a, v->i);
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        return float_text(a, v->f, t == TYPE_FLOAT4);
    case TYPE_DATE:
        return date_text(a, v->i);
    case TYPE_TIME:
        return time_text(a, v->i);
    case TYPE_TIMESTAMP:
    case TYPE_TIMESTAMPTZ:
        return timestamp_text(a, v->i, t == TYPE_TIMESTAMPTZ);
    case TYPE_INTERVAL:
        return interval_text(a, &v->span);
    case TYPE_NUMERIC:
    case TYPE_TEXT:
    case TYPE_VARCHAR:
    case TYPE_UUID:
    case TYPE_ENUM:
    case TYPE_UNKNOWN:
    case TYPE_OTHER:
    case TYPES:
        break;
    }
    return v->s;
}

/* --- order --- */

static int int_compare(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* NaN is equal to itself and comes last. */
static int float_compare(double a, double b)
{
    if (isnan(a) || isnan(b)) {
        return isnan(a) - isnan(b);
    }
    return (a > b) - (a < b);
}

static int text_compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int date_compare(enum where_type at, int64_t a, enum where_type bt, int64_t b)
{
    bool exact;
    return int_compare(at == TYPE_DATE ? date_to_timestamp(a, &exact) : a,
                       bt == TYPE_DATE ? date_to_timestamp(b, &exact) : b);
}

int value_compare(enum where_type at, const union datum *a, enum where_type bt, const union datum *b)
{
    switch (at) {
    case TYPE_BOOL:
        return a->truth - b->truth;
    case TYPE_FLOAT4:
    case TYPE_FLOAT8:
        return float_compare(a->f, b->f);
    case TYPE_NUMERIC:
        return numeric_compare(a->s, b->s);
    case TYPE_TEXT:
    case TYPE_VARCHAR:
    case TYPE_UUID:
    case TYPE_ENUM:
    case TYPE_UNKNOWN:
        return text_compare(a->s, b->s);
    case TYPE_INTERVAL:
        return interval_compare(&a->span, &b->span);
    case TYPE_DATE:
    case TYPE_TIMESTAMP:
        return at == bt ? int_compare(a->i, b->i) : date_compare(at, a->i, bt, b->i);
    case TYPE_INT2:
    case TYPE_INT4:
    case TYPE_INT8:
    case TYPE_TIME:
    case TYPE_TIMESTAMPTZ:
    case TYPE_OTHER:
    case TYPES:
        break;
    }
    return int_compare(a->i, b->i);
}

/* --- casts --- */

static bool float_to_int(double f, enum where_type to, int64_t *out)
{
    double whole = rint(f);
    if (!(whole >= -9223372036854775808.0 && whole < 9223372036854775808.0) ||
        !int_fits((int64_t)whole, to)) {
        return false;
    }
    *out = (int64_t)whole;
    return true;
}

/* What float4 loses is lost; what it cannot hold is an error. */
static bool float_to_single(double f, double *out)
{
    double v = (double)(float)f;
    *out = v;
    return (!isinf(v) || isinf(f)) && (v != 0 || f == 0);
}

static bool float_to_numeric(struct arena *a, double f, bool single, struct str *out)
{
    char digits[40];
    int n = snprintf(digits, sizeof digits, "%.*g", single ? 6 : 15, f);
    return numeric_parse(a, isfinite(f) ? (struct str){digits, (size_t)n} : float_text(a, f, single), out);
}

static bool cast_int(struct arena *a, int64_t i, enum where_type to, union datum *out)
{
    switch (to) {
    case TYPE_BOOL:
        out->truth = i != 0;
        return true;
    case TYPE_NUMERIC:
        out->s = int_text(a, i);
        return true;
    case TYPE_FLOAT4:
        out->f = (double)(float)i;
        return true;
    case TYPE_FLOAT8:
        out->f = (double)i;
        return true;
    default:
        out->i = i;
        return int_fits(i, to);
    }
}

static bool cast_float(struct arena *a, double f, enum where_type from, enum where_type to, union datum *out)
{
    if (type_is_integer(to)) {
        return float_to_int(f, to, &out->i);
    }
    if (to == TYPE_NUMERIC) {
        return float_to_numeric(a, f, from == TYPE_FLOAT4, &out->s);
    }
    out->f = f;
    return to == TYPE_FLOAT8 || from == TYPE_FLOAT4 || float_to_single(f, &out->f);
}

static bool cast_numeric(struct str s, enum where_type to, union datum *out)
{
    if (type_is_integer(to)) {
        int64_t i;
        bool fits = numeric_to_int(s, &i) && int_fits(i, to);
        out->i = fits ? i : 0;
        return fits;
    }
    return float_parse(s, to == TYPE_FLOAT4, &out->f);
}

static bool cast_time(const union datum *v, enum where_type from, enum where_type to, union datum *out)
{
    bool exact = true;
    if (from == TYPE_DATE) {
        out->i = date_to_timestamp(v->i, &exact);
        return exact;
    }
    if (from == TYPE_TIME) {
        out->span = (struct interval){.us = v->i};
        return true;
    }
    if (from == TYPE_INTERVAL) {
        out->i = timestamp_to_time(v->span.us);
        return true;
    }
    out->i = to == TYPE_DATE ? timestamp_to_date(v->i) : timestamp_to_time(v->i);
    return to == TYPE_DATE || timestamp_is_finite(v->i);
}

bool value_cast(struct arena *a, enum where_type from, const union datum *v, enum where_type to,
                union datum *out)
{
    if (from == to) {
        *out = *v;
        return true;
    }
    if (type_is_text(to)) {
        out->s = value_text(a, from, v);
        return true;
    }
    if (type_is_text(from) || from == TYPE_UNKNOWN) {
        return value_parse(a, to, v->s, out);
    }
    if (from == TYPE_BOOL) {
        return cast_int(a, v->truth, to, out);
    }
    if (type_is_integer(from)) {
        return cast_int(a, v->i, to, out);
    }
    if (from == TYPE_NUMERIC) {
        return cast_numeric(v->s, to, out);
    }
    return type_is_number(from) ? cast_float(a, v->f, from, to, out) : cast_time(v, from, to, out);
}
