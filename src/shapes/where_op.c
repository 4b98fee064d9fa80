/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operators and functions with their argument types, and the choice among them (PostgreSQL documentation,
 * "Operator Type Resolution"; func_select_candidate() in parse_func.c).
 *
 * varchar has no operators: callers ask with text. Cross-type rows are there where PostgreSQL has them, for
 * they take part in the choice; all integers are held alike, and both floats, so that they share functions.
 */
#include "shapes/where_node.h"

#include <math.h>

/* --- integers --- */

static enum outcome int_result(int64_t v, enum where_type t, union datum *out)
{
    if (!int_fits(v, t)) {
        return EVAL_ERROR;
    }
    out->i = v;
    return EVAL_VALUE;
}

#define INT_BUILTIN(name, builtin)                                                                         \
    static enum outcome name(struct run *r, const union datum *a, const union datum *b, enum where_type t, \
                             union datum *out)                                                             \
    {                                                                                                      \
        int64_t v;                                                                                         \
        return builtin(a->i, b->i, &v) ? EVAL_ERROR : int_result(v, t, out);                               \
    }

#define INT_PLAIN(name, expression)                                                                        \
    static enum outcome name(struct run *r, const union datum *a, const union datum *b, enum where_type t, \
                             union datum *out)                                                             \
    {                                                                                                      \
        out->i = (expression);                                                                             \
        return EVAL_VALUE;                                                                                 \
    }

INT_BUILTIN(int_add, __builtin_add_overflow)
INT_BUILTIN(int_subtract, __builtin_sub_overflow)
INT_BUILTIN(int_multiply, __builtin_mul_overflow)
INT_PLAIN(int_and, a->i & b->i)
INT_PLAIN(int_or, a->i | b->i)
INT_PLAIN(int_xor, a->i ^ b->i)

static enum outcome int_divide(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    if (b->i == 0 || (b->i == -1 && a->i == INT64_MIN)) {
        return EVAL_ERROR;
    }
    return int_result(a->i / b->i, t, out);
}

static enum outcome int_modulo(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    if (b->i == 0) {
        return EVAL_ERROR;
    }
    out->i = b->i == -1 ? 0 : a->i % b->i;
    return EVAL_VALUE;
}

static enum outcome int_negate(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    return a->i == INT64_MIN ? EVAL_ERROR : int_result(-a->i, t, out);
}

static enum outcome int_absolute(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                 union datum *out)
{
    return a->i < 0 ? int_negate(r, a, b, t, out) : int_result(a->i, t, out);
}

static enum outcome identity(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                             union datum *out)
{
    *out = *a;
    return EVAL_VALUE;
}

/* --- floats --- */

/* Infinite without an infinite operand is an overflow; zero out of what is not, an underflow. */
static enum outcome float_result(double v, bool may_be_infinite, bool may_be_zero, enum where_type t,
                                 union datum *out)
{
    double rounded = t == TYPE_FLOAT4 ? (double)(float)v : v;
    if ((isinf(rounded) && !may_be_infinite) || (rounded == 0 && !may_be_zero)) {
        return EVAL_ERROR;
    }
    out->f = rounded;
    return EVAL_VALUE;
}

static enum outcome float_add(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                              union datum *out)
{
    return float_result(a->f + b->f, isinf(a->f) || isinf(b->f), true, t, out);
}

static enum outcome float_subtract(struct run *r, const union datum *a, const union datum *b,
                                   enum where_type t, union datum *out)
{
    return float_result(a->f - b->f, isinf(a->f) || isinf(b->f), true, t, out);
}

static enum outcome float_multiply(struct run *r, const union datum *a, const union datum *b,
                                   enum where_type t, union datum *out)
{
    return float_result(a->f * b->f, isinf(a->f) || isinf(b->f), a->f == 0 || b->f == 0, t, out);
}

static enum outcome float_divide(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                 union datum *out)
{
    if (b->f == 0 && !isnan(a->f)) {
        return EVAL_ERROR;
    }
    return float_result(a->f / b->f, isinf(a->f), a->f == 0 || isinf(b->f), t, out);
}

static enum outcome float_power(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                union datum *out)
{
    bool undefined = (a->f == 0 && b->f < 0) || (a->f < 0 && isfinite(b->f) && floor(b->f) != b->f);
    if (undefined) {
        return EVAL_ERROR;
    }
    bool infinite = isinf(a->f) || isinf(b->f);
    return float_result(pow(a->f, b->f), infinite, infinite || a->f == 0, t, out);
}

static enum outcome float_root(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    return a->f < 0 ? EVAL_ERROR : float_result(sqrt(a->f), true, true, t, out);
}

static enum outcome float_negate(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                 union datum *out)
{
    out->f = -a->f;
    return EVAL_VALUE;
}

static enum outcome float_absolute(struct run *r, const union datum *a, const union datum *b,
                                   enum where_type t, union datum *out)
{
    out->f = fabs(a->f);
    return EVAL_VALUE;
}

/* --- the table --- */

#define INFIX(name, l, r, result, fn)                                           \
    {                                                                           \
        name, FORM_INFIX, TYPE_##l, TYPE_##r, TYPE_##result, true, 0, fn, false \
    }
/* Both orders; the function sees the one given. */
#define COMMUTES(name, l, r, result, fn)                                       \
    INFIX(name, l, r, result, fn),                                             \
    {                                                                          \
        name, FORM_INFIX, TYPE_##r, TYPE_##l, TYPE_##result, true, 0, fn, true \
    }
#define PREFIX(name, r, result, own, fn)                                            \
    {                                                                               \
        name, FORM_PREFIX, TYPE_UNKNOWN, TYPE_##r, TYPE_##result, own, 0, fn, false \
    }
#define COMPARISON(name, bits, l, r)                                              \
    {                                                                             \
        name, FORM_INFIX, TYPE_##l, TYPE_##r, TYPE_BOOL, false, bits, NULL, false \
    }

#define COMPARISONS(name, bits)                                                                         \
    COMPARISON(name, bits, INT2, INT2), COMPARISON(name, bits, INT2, INT4),                             \
        COMPARISON(name, bits, INT2, INT8), COMPARISON(name, bits, INT4, INT2),                         \
        COMPARISON(name, bits, INT4, INT4), COMPARISON(name, bits, INT4, INT8),                         \
        COMPARISON(name, bits, INT8, INT2), COMPARISON(name, bits, INT8, INT4),                         \
        COMPARISON(name, bits, INT8, INT8), COMPARISON(name, bits, FLOAT4, FLOAT4),                     \
        COMPARISON(name, bits, FLOAT4, FLOAT8), COMPARISON(name, bits, FLOAT8, FLOAT4),                 \
        COMPARISON(name, bits, FLOAT8, FLOAT8), COMPARISON(name, bits, NUMERIC, NUMERIC),               \
        COMPARISON(name, bits, BOOL, BOOL), COMPARISON(name, bits, TEXT, TEXT),                         \
        COMPARISON(name, bits, UUID, UUID), COMPARISON(name, bits, DATE, DATE),                         \
        COMPARISON(name, bits, DATE, TIMESTAMP), COMPARISON(name, bits, TIMESTAMP, DATE),               \
        COMPARISON(name, bits, TIMESTAMP, TIMESTAMP), COMPARISON(name, bits, TIMESTAMPTZ, TIMESTAMPTZ), \
        COMPARISON(name, bits, TIME, TIME), COMPARISON(name, bits, INTERVAL, INTERVAL)

#define INTEGERS(name, fn) \
    INFIX(name, INT2, INT2, INT2, fn), INFIX(name, INT4, INT4, INT4, fn), INFIX(name, INT8, INT8, INT8, fn)

#define ARITHMETIC(name, int_fn, float_fn, numeric_fn)                                                    \
    INTEGERS(name, int_fn), INFIX(name, INT2, INT4, INT4, int_fn), INFIX(name, INT2, INT8, INT8, int_fn), \
        INFIX(name, INT4, INT2, INT4, int_fn), INFIX(name, INT4, INT8, INT8, int_fn),                     \
        INFIX(name, INT8, INT2, INT8, int_fn), INFIX(name, INT8, INT4, INT8, int_fn),                     \
        INFIX(name, FLOAT4, FLOAT4, FLOAT4, float_fn), INFIX(name, FLOAT4, FLOAT8, FLOAT8, float_fn),     \
        INFIX(name, FLOAT8, FLOAT4, FLOAT8, float_fn), INFIX(name, FLOAT8, FLOAT8, FLOAT8, float_fn),     \
        INFIX(name, NUMERIC, NUMERIC, NUMERIC, numeric_fn)

#define SIGNS(name, own, int_fn, float_fn, numeric_fn)                                      \
    PREFIX(name, INT2, INT2, own, int_fn), PREFIX(name, INT4, INT4, own, int_fn),           \
        PREFIX(name, INT8, INT8, own, int_fn), PREFIX(name, FLOAT4, FLOAT4, own, float_fn), \
        PREFIX(name, FLOAT8, FLOAT8, own, float_fn), PREFIX(name, NUMERIC, NUMERIC, own, numeric_fn)

#define LIKES(name, own, fn)                                                 \
    {                                                                        \
        name, FORM_INFIX, TYPE_TEXT, TYPE_TEXT, TYPE_BOOL, own, 0, fn, false \
    }
#define FUNCTION(name, l, r, result, fn)                                           \
    {                                                                              \
        name, FORM_FUNCTION, TYPE_##l, TYPE_##r, TYPE_##result, true, 0, fn, false \
    }

static const struct operation operations[] = {
    COMPARISONS("=", COMPARE_EQUAL),
    COMPARISONS("<>", COMPARE_LESS | COMPARE_GREATER),
    COMPARISONS("<", COMPARE_LESS),
    COMPARISONS("<=", COMPARE_LESS | COMPARE_EQUAL),
    COMPARISONS(">", COMPARE_GREATER),
    COMPARISONS(">=", COMPARE_GREATER | COMPARE_EQUAL),
    ARITHMETIC("+", int_add, float_add, numeric_add),
    ARITHMETIC("-", int_subtract, float_subtract, numeric_subtract),
    ARITHMETIC("*", int_multiply, float_multiply, numeric_multiply),
    ARITHMETIC("/", int_divide, float_divide, numeric_divide),
    INTEGERS("%", int_modulo),
    INFIX("%", NUMERIC, NUMERIC, NUMERIC, numeric_modulo),
    INTEGERS("&", int_and),
    INTEGERS("|", int_or),
    INTEGERS("#", int_xor),
    INFIX("^", FLOAT8, FLOAT8, FLOAT8, float_power),
    SIGNS("+", false, identity, identity, identity),
    SIGNS("-", true, int_negate, float_negate, numeric_negate),
    SIGNS("@", true, int_absolute, float_absolute, numeric_absolute),
    PREFIX("|/", FLOAT8, FLOAT8, true, float_root),
    PREFIX("-", INTERVAL, INTERVAL, true, interval_negate),
    COMMUTES("+", DATE, INT2, DATE, date_plus_days),
    COMMUTES("+", DATE, INT4, DATE, date_plus_days),
    COMMUTES("+", DATE, INT8, DATE, date_plus_days),
    INFIX("-", DATE, INT2, DATE, date_minus_days),
    INFIX("-", DATE, INT4, DATE, date_minus_days),
    INFIX("-", DATE, INT8, DATE, date_minus_days),
    INFIX("-", DATE, DATE, INT4, date_minus_date),
    COMMUTES("+", DATE, TIME, TIMESTAMP, date_plus_time),
    COMMUTES("+", DATE, INTERVAL, TIMESTAMP, date_plus_interval),
    INFIX("-", DATE, INTERVAL, TIMESTAMP, date_minus_interval),
    COMMUTES("+", TIMESTAMP, INTERVAL, TIMESTAMP, timestamp_plus_interval),
    INFIX("-", TIMESTAMP, INTERVAL, TIMESTAMP, timestamp_minus_interval),
    COMMUTES("+", TIMESTAMPTZ, INTERVAL, TIMESTAMPTZ, timestamp_plus_interval),
    INFIX("-", TIMESTAMPTZ, INTERVAL, TIMESTAMPTZ, timestamp_minus_interval),
    INFIX("-", TIMESTAMP, TIMESTAMP, INTERVAL, timestamp_minus),
    INFIX("-", TIMESTAMPTZ, TIMESTAMPTZ, INTERVAL, timestamp_minus),
    COMMUTES("+", TIME, INTERVAL, TIME, time_plus_interval),
    INFIX("-", TIME, INTERVAL, TIME, time_minus_interval),
    INFIX("-", TIME, TIME, INTERVAL, time_minus),
    INFIX("+", INTERVAL, INTERVAL, INTERVAL, interval_add),
    INFIX("-", INTERVAL, INTERVAL, INTERVAL, interval_subtract),
    COMMUTES("*", INTERVAL, FLOAT8, INTERVAL, interval_multiply),
    INFIX("/", INTERVAL, FLOAT8, INTERVAL, interval_divide),
    {"||", FORM_INFIX, TYPE_TEXT, TYPE_TEXT, TYPE_TEXT, false, 0, text_concat, false},
    LIKES("~~", false, text_like_op),
    LIKES("!~~", false, text_not_like),
    LIKES("~~*", true, text_ilike),
    LIKES("!~~*", true, text_not_ilike),
    FUNCTION("lower", TEXT, UNKNOWN, TEXT, text_lower),
    FUNCTION("upper", TEXT, UNKNOWN, TEXT, text_upper),
    FUNCTION("justify_days", INTERVAL, UNKNOWN, INTERVAL, interval_justify_days),
    FUNCTION("justify_hours", INTERVAL, UNKNOWN, INTERVAL, interval_justify_hours),
    FUNCTION("justify_interval", INTERVAL, UNKNOWN, INTERVAL, interval_justify),
    FUNCTION("timezone", TEXT, TIMESTAMP, TIMESTAMPTZ, timestamp_to_zone),
    FUNCTION("timezone", TEXT, TIMESTAMPTZ, TIMESTAMP, timestamp_to_zone),
};

/* --- the choice --- */

enum { MAX_CANDIDATES = 64 };

struct choice_state {
    const enum where_type *types;
    size_t n;
    const struct operation *left[MAX_CANDIDATES];
    size_t n_left;
};

static enum where_type argument(const struct operation *o, size_t i)
{
    return o->form == FORM_PREFIX || i == 1 ? o->right : o->left;
}

static bool takes(const struct operation *o, const char *name, enum operation_form form, size_t n)
{
    size_t wants = o->form == FORM_PREFIX || o->right == TYPE_UNKNOWN ? 1 : 2;
    return o->form == form && wants == n && !strcmp(o->name, name);
}

typedef bool match_fn(const struct choice_state *s, const struct operation *o, size_t i);

static bool is_exact(const struct choice_state *s, const struct operation *o, size_t i)
{
    return s->types[i] == argument(o, i);
}

static bool is_exact_or_preferred(const struct choice_state *s, const struct operation *o, size_t i)
{
    enum where_type t = argument(o, i);
    return is_exact(s, o, i) ||
           (s->types[i] != TYPE_UNKNOWN && type_is_preferred(t) && type_same_category(t, s->types[i]));
}

static size_t matches(const struct choice_state *s, const struct operation *o, match_fn *match)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++) {
        n += match(s, o, i);
    }
    return n;
}

/* Only those with the most matches stay. */
static void keep_best(struct choice_state *s, match_fn *match)
{
    size_t best = 0, kept = 0;
    for (size_t c = 0; c < s->n_left; c++) {
        size_t n = matches(s, s->left[c], match);
        best = n > best ? n : best;
    }
    for (size_t c = 0; c < s->n_left; c++) {
        if (matches(s, s->left[c], match) == best) {
            s->left[kept++] = s->left[c];
        }
    }
    s->n_left = kept;
}

/* The category that literals at position i are taken to have: that of the type returned. */
static bool literal_category(const struct choice_state *s, size_t i, enum where_type *out)
{
    *out = argument(s->left[0], i);
    bool same = true;
    for (size_t c = 0; c < s->n_left; c++) {
        enum where_type t = argument(s->left[c], i);
        if (type_same_category(t, TYPE_TEXT)) {
            *out = TYPE_TEXT;
            return true;
        }
        same = same && type_same_category(t, *out);
    }
    return same;
}

static void keep_category(struct choice_state *s, size_t i, enum where_type category)
{
    bool preferred = false;
    for (size_t c = 0; c < s->n_left; c++) {
        enum where_type t = argument(s->left[c], i);
        preferred = preferred || (type_same_category(t, category) && type_is_preferred(t));
    }
    size_t kept = 0;
    for (size_t c = 0; c < s->n_left; c++) {
        enum where_type t = argument(s->left[c], i);
        if (type_same_category(t, category) && (!preferred || type_is_preferred(t))) {
            s->left[kept++] = s->left[c];
        }
    }
    s->n_left = kept;
}

static void resolve_literals(struct choice_state *s)
{
    for (size_t i = 0; i < s->n && s->n_left > 1; i++) {
        enum where_type category;
        if (s->types[i] == TYPE_UNKNOWN) {
            if (!literal_category(s, i, &category)) {
                return;
            }
            keep_category(s, i, category);
        }
    }
}

/* A literal beside a value is first taken to have the value's type. */
static const struct operation *exact(const struct choice_state *s)
{
    enum where_type first = s->types[0], second = s->types[s->n - 1];
    enum where_type a = first == TYPE_UNKNOWN ? second : first;
    enum where_type b = second == TYPE_UNKNOWN ? first : second;
    for (size_t c = 0; c < s->n_left; c++) {
        if (argument(s->left[c], 0) == a && (s->n == 1 || argument(s->left[c], 1) == b)) {
            return s->left[c];
        }
    }
    return NULL;
}

static void collect(struct choice_state *s, const char *name, enum operation_form form, bool convertible)
{
    s->n_left = 0;
    for (size_t o = 0; o < ARRAY_LEN(operations); o++) {
        bool fits = takes(&operations[o], name, form, s->n);
        for (size_t i = 0; i < s->n && fits && convertible; i++) {
            fits = type_converts(s->types[i], argument(&operations[o], i));
        }
        if (fits && s->n_left < MAX_CANDIDATES) {
            s->left[s->n_left++] = &operations[o];
        }
    }
}

enum choice operation_choose(const char *name, enum operation_form form, const enum where_type *types,
                             size_t n, const struct operation **out)
{
    struct choice_state s = {.types = types, .n = n};
    collect(&s, name, form, false);
    const struct operation *found = exact(&s);
    if (found) {
        *out = found;
        return CHOICE_ONE;
    }
    collect(&s, name, form, true);
    if (s.n_left > 1) {
        keep_best(&s, is_exact);
    }
    if (s.n_left > 1) {
        keep_best(&s, is_exact_or_preferred);
    }
    if (s.n_left > 1) {
        resolve_literals(&s);
    }
    if (s.n_left == 1) {
        *out = s.left[0];
        return CHOICE_ONE;
    }
    return s.n_left ? CHOICE_AMBIGUOUS : CHOICE_NONE;
}

bool operation_is_known(const char *name, enum operation_form form)
{
    for (size_t o = 0; o < ARRAY_LEN(operations); o++) {
        if (operations[o].form == form && !strcmp(operations[o].name, name)) {
            return true;
        }
    }
    return false;
}
