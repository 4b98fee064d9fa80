/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intervals: arithmetic, order, and text:
 *
 *   [@] { [sign]number unit | [sign]hh:mm[:ss[.fraction]] | number before a time (days) } [ago]
 *   P{[sign]number(Y|M|W|D)}[T{[sign]number(H|M|S)}]
 */
#include "shapes/where_node.h"
#include "shapes/where_scan.h"

#include <math.h>

/* --- arithmetic --- */

bool interval_negated(const struct interval *v, struct interval *out)
{
    if (v->us == INT64_MIN || v->days == INT32_MIN || v->months == INT32_MIN) {
        return false;
    }
    *out = (struct interval){.us = -v->us, .days = -v->days, .months = -v->months};
    return true;
}

/* Whole days of a time; whole months of days, 30 each. */
static bool carry_days(int64_t *from, int32_t *to)
{
    int64_t days = *from / TIME_DAY;
    *from -= days * TIME_DAY;
    return !__builtin_add_overflow(*to, days, to);
}

static bool carry_months(int32_t *from, int32_t *to)
{
    int32_t months = *from / 30;
    *from -= months * 30;
    return !__builtin_add_overflow(*to, months, to);
}

enum outcome timestamp_minus(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                             union datum *out)
{
    struct interval v = {0};
    if (!timestamp_is_finite(a->i) || !timestamp_is_finite(b->i) ||
        __builtin_sub_overflow(a->i, b->i, &v.us) || !carry_days(&v.us, &v.days)) {
        return EVAL_ERROR;
    }
    out->span = v;
    return EVAL_VALUE;
}

static enum outcome sum(const struct interval *a, const struct interval *b, union datum *out)
{
    struct interval v;
    if (__builtin_add_overflow(a->us, b->us, &v.us) || __builtin_add_overflow(a->days, b->days, &v.days) ||
        __builtin_add_overflow(a->months, b->months, &v.months)) {
        return EVAL_ERROR;
    }
    out->span = v;
    return EVAL_VALUE;
}

enum outcome interval_add(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                          union datum *out)
{
    return sum(&a->span, &b->span, out);
}

enum outcome interval_subtract(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    struct interval back;
    return interval_negated(&b->span, &back) ? sum(&a->span, &back, out) : EVAL_ERROR;
}

enum outcome interval_negate(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                             union datum *out)
{
    return interval_negated(&a->span, &out->span) ? EVAL_VALUE : EVAL_ERROR;
}

static bool to_int32(double v, int32_t *out)
{
    if (!(v > -2147483649.0 && v < 2147483648.0)) {
        return false;
    }
    *out = (int32_t)v;
    return true;
}

static bool to_int64(double v, int64_t *out)
{
    if (!(v >= -9223372036854775808.0 && v < 9223372036854775808.0)) {
        return false;
    }
    *out = (int64_t)v;
    return true;
}

/* To whole microseconds, when the unit is a second. */
static double round_us(double seconds)
{
    return rint(seconds * 1e6) / 1e6;
}

/* What months and days leave over trickles down, a month being 30 days; `scale` multiplies or divides. */
static enum outcome scale(const struct interval *v, double by, bool divide, union datum *out)
{
    double months = divide ? v->months / by : v->months * by;
    double days = divide ? v->days / by : v->days * by;
    struct interval s;
    if (!to_int32(months, &s.months) || !to_int32(days, &s.days)) {
        return EVAL_ERROR;
    }
    double rest_days = round_us((months - s.months) * 30);
    double seconds = round_us((days - s.days + rest_days - (int)rest_days) * TIME_DAY_SECONDS);
    if (fabs(seconds) >= TIME_DAY_SECONDS) {
        int whole = (int)(seconds / TIME_DAY_SECONDS);
        seconds -= (double)whole * TIME_DAY_SECONDS;
        if (__builtin_add_overflow(s.days, whole, &s.days)) {
            return EVAL_ERROR;
        }
    }
    double us = divide ? (double)v->us / by : (double)v->us * by;
    if (__builtin_add_overflow(s.days, (int)rest_days, &s.days) ||
        !to_int64(rint(us + seconds * 1e6), &s.us)) {
        return EVAL_ERROR;
    }
    out->span = s;
    return EVAL_VALUE;
}

enum outcome interval_multiply(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    return scale(&a->span, b->f, false, out);
}

enum outcome interval_divide(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                             union datum *out)
{
    return b->f == 0 ? EVAL_ERROR : scale(&a->span, b->f, true, out);
}

/* Lets the smaller unit borrow from the larger, so that both have one sign. */
static void same_sign_days(struct interval *v)
{
    if (v->days > 0 && v->us < 0) {
        v->us += TIME_DAY;
        v->days--;
    } else if (v->days < 0 && v->us > 0) {
        v->us -= TIME_DAY;
        v->days++;
    }
}

static void same_sign_months(struct interval *v, bool by_time)
{
    bool down = v->days < 0 || (by_time && v->days == 0 && v->us < 0);
    bool up = v->days > 0 || (by_time && v->days == 0 && v->us > 0);
    if (v->months > 0 && down) {
        v->days += 30;
        v->months--;
    } else if (v->months < 0 && up) {
        v->days -= 30;
        v->months++;
    }
}

enum outcome interval_justify_hours(struct run *r, const union datum *a, const union datum *b,
                                    enum where_type t, union datum *out)
{
    out->span = a->span;
    if (!carry_days(&out->span.us, &out->span.days)) {
        return EVAL_ERROR;
    }
    same_sign_days(&out->span);
    return EVAL_VALUE;
}

enum outcome interval_justify_days(struct run *r, const union datum *a, const union datum *b,
                                   enum where_type t, union datum *out)
{
    out->span = a->span;
    if (!carry_months(&out->span.days, &out->span.months)) {
        return EVAL_ERROR;
    }
    same_sign_months(&out->span, false);
    return EVAL_VALUE;
}

enum outcome interval_justify(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                              union datum *out)
{
    struct interval v = a->span;
    /* Days first, when they and the time agree: the time may push them over otherwise. */
    bool agree = (v.days > 0 && v.us > 0) || (v.days < 0 && v.us < 0);
    if ((agree && !carry_months(&v.days, &v.months)) || !carry_days(&v.us, &v.days) ||
        !carry_months(&v.days, &v.months)) {
        return EVAL_ERROR;
    }
    same_sign_months(&v, true);
    same_sign_days(&v);
    out->span = v;
    return EVAL_VALUE;
}

int interval_compare(const struct interval *a, const struct interval *b)
{
    __int128 x = a->us + (__int128)TIME_DAY * (a->days + INT64_C(30) * a->months);
    __int128 y = b->us + (__int128)TIME_DAY * (b->days + INT64_C(30) * b->months);
    return (x > y) - (x < y);
}

/* --- text --- */

struct amount {
    bool negative;
    int64_t whole;
    double fraction; /* with the sign */
};

static bool take_amount(struct scan *in, struct amount *out)
{
    *out = (struct amount){.negative = scan_skip(in, '-')};
    if (!out->negative) {
        ignore_result(scan_skip(in, '+'));
    }
    int n;
    if (!scan_number(in, 0, 18, &out->whole, &n)) {
        return false;
    }
    n += scan_skip(in, '.') && scan_decimals(in, &out->fraction);
    if (out->negative) {
        out->whole = -out->whole;
        out->fraction = -out->fraction;
    }
    return n > 0;
}

static bool add_us(struct interval *v, int64_t whole, double fraction, int64_t unit)
{
    int64_t us;
    return !__builtin_mul_overflow(whole, unit, &us) && !__builtin_add_overflow(v->us, us, &v->us) &&
           !__builtin_add_overflow(v->us, (int64_t)rint(fraction * (double)unit), &v->us);
}

static bool add_interval_days(struct interval *v, int64_t whole, double fraction, int unit)
{
    int64_t days;
    double rest = fraction * unit;
    return !__builtin_mul_overflow(whole, unit, &days) && !__builtin_add_overflow(v->days, days, &v->days) &&
           !__builtin_add_overflow(v->days, (int)rest, &v->days) && add_us(v, 0, rest - (int)rest, TIME_DAY);
}

static bool add_months(struct interval *v, int64_t whole, double fraction, int unit)
{
    int64_t months;
    if (__builtin_mul_overflow(whole, unit, &months) ||
        __builtin_add_overflow(v->months, months, &v->months)) {
        return false;
    }
    return unit == 1 ? add_interval_days(v, 0, fraction, 30)
                     : !__builtin_add_overflow(v->months, (int)rint(fraction * unit), &v->months);
}

enum { UNIT_US, UNIT_DAYS, UNIT_MONTHS };

static const struct unit {
    const char *names; /* each with a space before and after */
    int kind;
    int64_t factor;
} units[] = {
    {" us usec usecs usecond useconds microsecond microseconds ", UNIT_US, 1},
    {" ms msec msecs msecond mseconds millisecond milliseconds ", UNIT_US, 1000},
    {" s sec secs second seconds ", UNIT_US, TIME_SECOND},
    {" m min mins minute minutes ", UNIT_US, TIME_MINUTE},
    {" h hr hrs hour hours ", UNIT_US, TIME_HOUR},
    {" d day days ", UNIT_DAYS, 1},
    {" w week weeks ", UNIT_DAYS, 7},
    {" mon mons month months ", UNIT_MONTHS, 1},
    {" y yr yrs year years ", UNIT_MONTHS, 12},
    {" dec decs decade decades ", UNIT_MONTHS, 120},
    {" c cent century centuries ", UNIT_MONTHS, 1200},
    {" mil mils millennium millennia ", UNIT_MONTHS, 12000},
};

static bool add_amount(struct interval *v, const struct amount *by, const struct unit *u)
{
    return u->kind == UNIT_US     ? add_us(v, by->whole, by->fraction, u->factor)
           : u->kind == UNIT_DAYS ? add_interval_days(v, by->whole, by->fraction, (int)u->factor)
                                  : add_months(v, by->whole, by->fraction, (int)u->factor);
}

static const struct unit *find_unit(struct str word)
{
    char wanted[16] = " ";
    if (!word.n || word.n > sizeof wanted - 3) {
        return NULL;
    }
    for (size_t i = 0; i < word.n; i++) {
        wanted[1 + i] = (char)(word.p[i] | 0x20);
    }
    wanted[1 + word.n] = ' ';
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strstr(units[i].names, wanted)) {
            return &units[i];
        }
    }
    return NULL;
}

/* P1Y2M3W4DT5H6M7.8S, after the P */
static bool take_iso(struct scan *in, struct interval *out)
{
    static const char dates[] = "YMWD", times[] = "HMS";
    static const int date_units[] = {8, 7, 6, 5}, time_units[] = {4, 3, 2};
    bool time = false, any = false;
    while (in->p < in->end) {
        if (!time && scan_skip(in, 'T')) {
            time = true;
            continue;
        }
        struct amount by;
        if (!take_amount(in, &by) || in->p == in->end) {
            return false;
        }
        const char *letters = time ? times : dates, *found = strchr(letters, *in->p);
        if (!found || !*in->p ||
            !add_amount(out, &by, &units[(time ? time_units : date_units)[found - letters]])) {
            return false;
        }
        in->p++;
        any = true;
    }
    return any;
}

/* [sign]h…:mm[:ss[.fraction]] */
static bool take_span_clock(struct scan *in, struct interval *out)
{
    bool negative = scan_skip(in, '-');
    if (!negative) {
        ignore_result(scan_skip(in, '+'));
    }
    int64_t h, m, s = 0, fraction = 0;
    int n;
    if (!scan_number(in, 1, 9, &h, &n) || !scan_skip(in, ':') || !scan_number(in, 1, 2, &m, &n) || m > 59) {
        return false;
    }
    if (scan_skip(in, ':')) {
        if (!scan_number(in, 1, 2, &s, &n) || s > 59) {
            return false;
        }
        scan_fraction(in, &fraction);
    }
    int64_t us = h * TIME_HOUR + m * TIME_MINUTE + s * TIME_SECOND + fraction;
    return !__builtin_add_overflow(out->us, negative ? -us : us, &out->us);
}

/* An amount without a unit: days before a time, seconds at the end. */
static bool take_bare(struct scan *in, const struct amount *by, struct interval *out)
{
    struct interval ignored = {0};
    struct scan ahead = *in;
    if (in->p == in->end) {
        return add_us(out, by->whole, by->fraction, TIME_SECOND);
    }
    return take_span_clock(&ahead, &ignored) && add_interval_days(out, by->whole, by->fraction, 1);
}

static bool take_part(struct scan *in, struct interval *out)
{
    struct scan start = *in;
    if (take_span_clock(in, out)) {
        return true;
    }
    *in = start;
    struct amount by;
    if (!take_amount(in, &by)) {
        return false;
    }
    scan_skip_spaces(in);
    const struct unit *u = find_unit(scan_word(in));
    return u ? add_amount(out, &by, u) : take_bare(in, &by, out);
}

bool interval_parse(struct str text, struct interval *out)
{
    struct str s = str_trim(text);
    struct scan in = {s.p, s.p + s.n};
    struct interval v = {0};
    if (scan_skip(&in, 'P')) {
        bool taken = take_iso(&in, &v);
        *out = v;
        return taken;
    }
    ignore_result(scan_skip(&in, '@'));
    scan_skip_spaces(&in);
    bool any = false, ago = false;
    while (in.p < in.end && !ago) {
        ago = any && scan_skip_word(&in, STR("ago"));
        if (!ago && !take_part(&in, &v)) {
            return false;
        }
        any = true;
        scan_skip_spaces(&in);
    }
    if (!any || in.p != in.end) {
        return false;
    }
    *out = v;
    return !ago || interval_negated(&v, out);
}

/* "1 year ", "-2 mons "; what follows something negative shows its sign. */
static void put_part(struct buf *b, int32_t n, const char *unit, bool *before)
{
    if (n) {
        buf_printf(b, "%s%s%d %s%s", b->n ? " " : "", *before && n > 0 ? "+" : "", n, unit,
                   n == 1 ? "" : "s");
        *before = n < 0;
    }
}

struct str interval_text(struct arena *a, const struct interval *v)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(256);
    bool before = false;
    put_part(&b, v->months / 12, "year", &before);
    put_part(&b, v->months % 12, "mon", &before);
    put_part(&b, v->days, "day", &before);
    if (v->us || !b.n) {
        uint64_t us = v->us < 0 ? -(uint64_t)v->us : (uint64_t)v->us;
        const char *clock = time_clock_text(a, (int64_t)(us & INT64_MAX));
        buf_printf(&b, "%s%s%s", b.n ? " " : "", v->us < 0 ? "-" : before ? "+" : "", clock);
    }
    return arena_str(a, buf_str(&b));
}
