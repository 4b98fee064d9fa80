/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact numbers.
 *
 * A numeric is its canonical text, as PostgreSQL prints it: an optional '-', digits without leading zeroes,
 * perhaps '.' and as many digits as its scale; or NaN, Infinity, -Infinity. It is compared as it stands. For
 * arithmetic it becomes an array of digits: numeric is no type of synchronised columns, so that it comes
 * from literals with a decimal point alone, and a library for it would be one more dependency.
 */
#include "shapes/where_node.h"

#include <math.h>

/* --- text --- */

enum special { FINITE, NEGATIVE_INFINITY, POSITIVE_INFINITY, NOT_A_NUMBER };

static enum special special_of(struct str s)
{
    char c = s.n ? *s.p : '0';
    return c == 'N'                               ? NOT_A_NUMBER
           : c == 'I'                             ? POSITIVE_INFINITY
           : s.n > 1 && c == '-' && s.p[1] == 'I' ? NEGATIVE_INFINITY
                                                  : FINITE;
}

/* A number's digits before the point, without leading zeroes, and behind it, without those at the end. */
struct parts {
    bool negative;
    struct str whole, fraction;
};

static struct parts take_apart(struct str s)
{
    struct parts p = {.negative = s.n && *s.p == '-'};
    if (p.negative) {
        s = (struct str){s.p + 1, s.n - 1};
    }
    p.fraction = s;
    p.whole = str_cut(&p.fraction, '.');
    while (p.whole.n && *p.whole.p == '0') {
        p.whole = (struct str){p.whole.p + 1, p.whole.n - 1};
    }
    while (p.fraction.n && p.fraction.p[p.fraction.n - 1] == '0') {
        p.fraction.n--;
    }
    return p;
}

static int bytes_compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

static int sign_of(const struct parts *p)
{
    return !p->whole.n && !p->fraction.n ? 0 : p->negative ? -1 : 1;
}

int numeric_compare(struct str a, struct str b)
{
    static const int order[] = {
        [NEGATIVE_INFINITY] = 0, [FINITE] = 1, [POSITIVE_INFINITY] = 2, [NOT_A_NUMBER] = 3};
    int sa = order[special_of(a)], sb = order[special_of(b)];
    if (sa != 1 || sb != 1) {
        return sa - sb;
    }
    struct parts x = take_apart(a), y = take_apart(b);
    if (sign_of(&x) != sign_of(&y)) {
        return sign_of(&x) - sign_of(&y);
    }
    int c = x.whole.n != y.whole.n ? (x.whole.n > y.whole.n ? 1 : -1) : bytes_compare(x.whole, y.whole);
    c = c ? c : bytes_compare(x.fraction, y.fraction);
    return sign_of(&x) < 0 ? -c : c;
}

/* --- digits --- */

enum { ROOM = 2 * WHERE_MAX_DIGITS + 8 };

/* The value is the digits as an integer, divided by 10^scale. */
struct decimal {
    bool negative;
    int scale;
    int n;               /* digits in use; the highest is not 0 */
    uint8_t digit[ROOM]; /* lowest first */
};

static void trim(struct decimal *d)
{
    while (d->n && !d->digit[d->n - 1]) {
        d->n--;
    }
    d->negative = d->negative && d->n;
}

/* False when it is too long, or no finite number. */
static bool to_decimal(struct str s, struct decimal *out)
{
    if (special_of(s) != FINITE || s.n > WHERE_MAX_DIGITS + 2) {
        return false;
    }
    *out = (struct decimal){.negative = s.n && *s.p == '-'};
    bool point = false;
    for (size_t i = s.n; i-- > (size_t)out->negative;) {
        if (s.p[i] == '.') {
            out->scale = out->n;
            point = true;
        } else {
            out->digit[out->n++] = (uint8_t)(s.p[i] - '0');
        }
    }
    out->scale = point ? out->scale : 0;
    trim(out);
    return true;
}

static bool to_text(struct arena *a, const struct decimal *d, struct str *out)
{
    int n = d->n > d->scale ? d->n : d->scale + 1;
    if (n > WHERE_MAX_DIGITS || d->scale > WHERE_MAX_DIGITS) {
        return false;
    }
    char *p = arena_alloc(a, (size_t)n + 3), *w = p;
    if (d->negative) {
        *w++ = '-';
    }
    for (int i = n - 1; i >= 0; i--) {
        *w++ = (char)('0' + (i < d->n ? d->digit[i] : 0));
        if (i == d->scale && i) {
            *w++ = '.';
        }
    }
    *w = '\0';
    *out = (struct str){p, (size_t)(w - p)};
    return true;
}

/* Multiplies by 10^by without changing the value. */
static bool rescale(struct decimal *d, int by)
{
    if (by < 0 || d->n + by > ROOM) {
        return by == 0;
    }
    memmove(d->digit + by, d->digit, (size_t)d->n);
    memset(d->digit, 0, (size_t)by);
    d->n = d->n ? d->n + by : 0;
    d->scale += by;
    return true;
}

/* Halves go away from zero. */
static void round_to(struct decimal *d, int scale)
{
    int drop = d->scale - scale;
    if (drop <= 0) {
        return;
    }
    bool up = drop <= d->n && d->digit[drop - 1] >= 5;
    int n = d->n > drop ? d->n - drop : 0;
    memmove(d->digit, d->digit + drop, (size_t)n);
    memset(d->digit + n, 0, (size_t)(d->n - n));
    d->n = n;
    d->scale = scale;
    for (int i = 0; up; i++) {
        d->n = i >= d->n ? i + 1 : d->n;
        up = d->digit[i] == 9;
        d->digit[i] = up ? 0 : (uint8_t)(d->digit[i] + 1);
    }
    trim(d);
}

/* [sign]digits[.digits][e[sign]digits] */
struct literal {
    bool negative;
    struct str whole, fraction;
    int64_t exponent;
};

static struct str take_digits(struct str *s)
{
    size_t n = 0;
    while (n < s->n && number_is_digit(s->p[n])) {
        n++;
    }
    struct str digits = {s->p, n};
    *s = (struct str){s->p + n, s->n - n};
    return digits;
}

static bool read_literal(struct str s, struct literal *out)
{
    *out = (struct literal){.negative = s.n && *s.p == '-'};
    if (s.n && (*s.p == '-' || *s.p == '+')) {
        s = (struct str){s.p + 1, s.n - 1};
    }
    out->whole = take_digits(&s);
    if (s.n && *s.p == '.') {
        s = (struct str){s.p + 1, s.n - 1};
        out->fraction = take_digits(&s);
    }
    if (!out->whole.n && !out->fraction.n) {
        return false;
    }
    if (s.n && (*s.p == 'e' || *s.p == 'E')) {
        s = (struct str){s.p + 1, s.n - 1};
        return s.n && !strchr(" \t\n\r\v\f", *s.p) && str_trim(s).n == s.n && int_parse(s, &out->exponent);
    }
    return s.n == 0;
}

bool numeric_parse(struct arena *a, struct str text, struct str *out)
{
    struct str s = str_trim(text);
    double word;
    if (number_is_word(s, &word)) {
        *out = isnan(word) ? STR("NaN") : word > 0 ? STR("Infinity") : STR("-Infinity");
        return true;
    }
    struct literal l;
    if (!read_literal(s, &l)) {
        return false;
    }
    while (l.whole.n && *l.whole.p == '0') {
        l.whole = (struct str){l.whole.p + 1, l.whole.n - 1};
    }
    bool small = l.whole.n <= WHERE_MAX_DIGITS && l.fraction.n <= WHERE_MAX_DIGITS &&
                 l.exponent <= WHERE_MAX_DIGITS && l.exponent >= -WHERE_MAX_DIGITS;
    if (!small || l.whole.n + l.fraction.n > WHERE_MAX_DIGITS) {
        return false;
    }
    struct decimal d = {.negative = l.negative, .scale = (int)l.fraction.n - (int)l.exponent};
    for (size_t i = l.fraction.n; i-- > 0;) {
        d.digit[d.n++] = (uint8_t)(l.fraction.p[i] - '0');
    }
    for (size_t i = l.whole.n; i-- > 0;) {
        d.digit[d.n++] = (uint8_t)(l.whole.p[i] - '0');
    }
    trim(&d);
    return (d.scale >= 0 || rescale(&d, -d.scale)) && to_text(a, &d, out);
}

bool numeric_to_int(struct str n, int64_t *out)
{
    struct decimal d;
    if (!to_decimal(n, &d)) {
        return false;
    }
    round_to(&d, 0);
    int64_t v = 0;
    for (int i = d.n; i-- > 0;) {
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_sub_overflow(v, d.digit[i], &v)) {
            return false;
        }
    }
    if (!d.negative && v == INT64_MIN) {
        return false;
    }
    *out = d.negative ? v : -v;
    return true;
}

/* --- arithmetic --- */

static int magnitude_compare(const struct decimal *a, const struct decimal *b)
{
    if (a->n != b->n) {
        return a->n > b->n ? 1 : -1;
    }
    for (int i = a->n; i-- > 0;) {
        if (a->digit[i] != b->digit[i]) {
            return a->digit[i] > b->digit[i] ? 1 : -1;
        }
    }
    return 0;
}

/* |a| + |b| */
static void magnitude_add(struct decimal *a, const struct decimal *b)
{
    int carry = 0;
    for (int i = 0; i < b->n || carry; i++) {
        a->n = i >= a->n ? i + 1 : a->n;
        int v = a->digit[i] + (i < b->n ? b->digit[i] : 0) + carry;
        carry = v > 9;
        a->digit[i] = (uint8_t)(v - 10 * carry);
    }
}

/* |a| - |b|, which is not negative */
static void magnitude_subtract(struct decimal *a, const struct decimal *b)
{
    int borrow = 0;
    for (int i = 0; i < b->n || borrow; i++) {
        int v = a->digit[i] - (i < b->n ? b->digit[i] : 0) - borrow;
        borrow = v < 0;
        a->digit[i] = (uint8_t)(v + 10 * borrow);
    }
    trim(a);
}

static enum outcome give(struct run *r, const struct decimal *d, union datum *out)
{
    return to_text(&r->scratch, d, &out->s) ? EVAL_VALUE : EVAL_ERROR;
}

/* NaN and infinities as a double has them; of a finite number only the sign. */
static double rough(struct str s)
{
    struct parts p = take_apart(s);
    switch (special_of(s)) {
    case NOT_A_NUMBER:
        return NAN;
    case POSITIVE_INFINITY:
        return INFINITY;
    case NEGATIVE_INFINITY:
        return -INFINITY;
    case FINITE:
        break;
    }
    return sign_of(&p);
}

static bool is_special(struct str a, struct str b)
{
    return special_of(a) != FINITE || special_of(b) != FINITE;
}

/* A result of operands one of which is special: NaN, an infinity, or nothing. */
static enum outcome give_rough(double v, union datum *out)
{
    out->s = isnan(v) ? STR("NaN") : v == 0 ? STR("0") : v > 0 ? STR("Infinity") : STR("-Infinity");
    return EVAL_VALUE;
}

static bool align(struct decimal *x, struct decimal *y)
{
    int scale = x->scale > y->scale ? x->scale : y->scale;
    return rescale(x, scale - x->scale) && rescale(y, scale - y->scale) && x->n < ROOM && y->n < ROOM;
}

static enum outcome add(struct run *r, struct str a, struct str b, bool negate, union datum *out)
{
    struct decimal x, y;
    if (is_special(a, b)) {
        return give_rough(negate ? rough(a) - rough(b) : rough(a) + rough(b), out);
    }
    if (!to_decimal(a, &x) || !to_decimal(b, &y) || !align(&x, &y)) {
        return EVAL_ERROR;
    }
    y.negative = y.negative != negate;
    if (x.negative == y.negative) {
        magnitude_add(&x, &y);
        return give(r, &x, out);
    }
    bool larger = magnitude_compare(&x, &y) >= 0;
    struct decimal *big = larger ? &x : &y;
    magnitude_subtract(big, larger ? &y : &x);
    return give(r, big, out);
}

enum outcome numeric_add(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                         union datum *out)
{
    return add(r, a->s, b->s, false, out);
}

enum outcome numeric_subtract(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                              union datum *out)
{
    return add(r, a->s, b->s, true, out);
}

enum outcome numeric_multiply(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                              union datum *out)
{
    struct decimal x, y;
    if (is_special(a->s, b->s)) {
        return give_rough(rough(a->s) * rough(b->s), out);
    }
    if (!to_decimal(a->s, &x) || !to_decimal(b->s, &y)) {
        return EVAL_ERROR;
    }
    struct decimal v = {.negative = x.negative != y.negative, .scale = x.scale + y.scale, .n = x.n + y.n};
    for (int i = 0; i < x.n; i++) {
        int carry = 0;
        for (int j = 0; j < y.n || carry; j++) {
            int digit = v.digit[i + j] + x.digit[i] * (j < y.n ? y.digit[j] : 0) + carry;
            v.digit[i + j] = (uint8_t)(digit % 10);
            carry = digit / 10;
        }
    }
    trim(&v);
    return give(r, &v, out);
}

/* x / y, whole digits: the remainder stays in *rest. */
static void divide(const struct decimal *x, const struct decimal *y, struct decimal *out,
                   struct decimal *rest)
{
    *out = (struct decimal){.n = x->n};
    *rest = (struct decimal){.n = 0};
    for (int i = x->n; i-- > 0;) {
        memmove(rest->digit + 1, rest->digit, (size_t)rest->n);
        rest->digit[0] = x->digit[i];
        rest->n++;
        trim(rest);
        while (magnitude_compare(rest, y) >= 0) {
            magnitude_subtract(rest, y);
            out->digit[i]++;
        }
    }
    trim(out);
}

/* The exponent of PostgreSQL's highest digit (base 10000), and that digit. */
static int weight_of(const struct decimal *d, int *out_first)
{
    int top = d->n - 1 - d->scale; /* decimal exponent */
    int weight = top >= 0 ? top / 4 : -((3 - top) / 4);
    *out_first = 0;
    for (int e = top; e >= 4 * weight; e--) {
        int i = e + d->scale;
        *out_first = 10 * *out_first + (i >= 0 ? d->digit[i] : 0);
    }
    return weight;
}

/* select_div_scale() of PostgreSQL's numeric.c: at least 16 significant digits, and those of the operands. */
static int quotient_scale(const struct decimal *x, const struct decimal *y)
{
    int first_x = 0, first_y = 0;
    int weight = (x->n ? weight_of(x, &first_x) : 0) - weight_of(y, &first_y);
    weight -= first_x <= first_y;
    int scale = 16 - 4 * weight;
    scale = scale > x->scale ? scale : x->scale;
    scale = scale > y->scale ? scale : y->scale;
    return scale < 0 ? 0 : scale;
}

enum outcome numeric_divide(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                            union datum *out)
{
    struct decimal x, y, v, rest;
    if (is_special(a->s, b->s)) {
        bool by_zero = rough(b->s) == 0 && !isnan(rough(a->s));
        return by_zero ? EVAL_ERROR : give_rough(rough(a->s) / rough(b->s), out);
    }
    if (!to_decimal(a->s, &x) || !to_decimal(b->s, &y) || !y.n) {
        return EVAL_ERROR;
    }
    int scale = quotient_scale(&x, &y);
    /* One digit more than wanted, to round by. */
    int shift = scale + 1 + y.scale - x.scale;
    if (shift > 0 ? !rescale(&x, shift) : scale > WHERE_MAX_DIGITS) {
        return EVAL_ERROR;
    }
    divide(&x, &y, &v, &rest);
    v.scale = x.scale - y.scale;
    v.negative = x.negative != y.negative && v.n;
    round_to(&v, scale);
    return give(r, &v, out);
}

enum outcome numeric_modulo(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                            union datum *out)
{
    struct decimal x, y, v, rest;
    if (isinf(rough(b->s)) && special_of(a->s) == FINITE) {
        *out = *a;
        return EVAL_VALUE;
    }
    if (is_special(a->s, b->s)) {
        bool by_zero = rough(b->s) == 0 && !isnan(rough(a->s));
        return by_zero ? EVAL_ERROR : give_rough(NAN, out);
    }
    if (!to_decimal(a->s, &x) || !to_decimal(b->s, &y) || !y.n || !align(&x, &y)) {
        return EVAL_ERROR;
    }
    divide(&x, &y, &v, &rest);
    rest.scale = x.scale;
    rest.negative = x.negative && rest.n;
    return give(r, &rest, out);
}

enum outcome numeric_negate(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                            union datum *out)
{
    struct decimal x;
    if (special_of(a->s) != FINITE) {
        return give_rough(-rough(a->s), out);
    }
    if (!to_decimal(a->s, &x)) {
        return EVAL_ERROR;
    }
    x.negative = !x.negative && x.n;
    return give(r, &x, out);
}

enum outcome numeric_absolute(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                              union datum *out)
{
    struct decimal x;
    if (special_of(a->s) != FINITE) {
        return give_rough(fabs(rough(a->s)), out);
    }
    if (!to_decimal(a->s, &x)) {
        return EVAL_ERROR;
    }
    x.negative = false;
    return give(r, &x, out);
}
