/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates, times and intervals: text to value and back, and arithmetic, in UTC and the Gregorian calendar.
 *
 *   date       [y]yyy-m[m]-d[d] | yyyymmdd
 *   time       hh:mm[:ss[.fraction]]
 *   zone       Z | UTC | GMT | (+|-)hh[[:]mm[:ss]]
 *   timestamp  date [(T | spaces) time [spaces] [zone]] [BC | AD] | infinity | -infinity | epoch
 *   interval   [@] { [sign]number unit | [sign]time | number before time (days) } [ago]  |  P…[T…]
 *
 * As in PostgreSQL a date or a time is also read from a whole timestamp (a time even from one with a T, which
 * is what JavaScript writes), and a zone is passed over where the type has none. Of PostgreSQL's other forms
 * (names of months, words like now or today) none is taken: they depend on settings or on the clock.
 */
#include "shapes/where_node.h"

#include <math.h>
#include <stdlib.h>

#define MINUTE INT64_C(60000000)
#define HOUR   (60 * MINUTE)
#define SECOND INT64_C(1000000)

/* PostgreSQL's bounds, since 2000-01-01: 4714-11-24 BC is the first day of both. */
#define DATE_FIRST      INT64_C(-2451545)
#define DATE_END        INT64_C(2145031949)
#define TIMESTAMP_FIRST INT64_C(-211813488000000000)
#define TIMESTAMP_END   INT64_C(9223371331200000000)

/* --- the calendar --- */

static int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 2000-01-01. Years begin in March here, so that the odd day comes last; year 0 is 1 BC. */
static int64_t day_number(int64_t year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int m = month > 2 ? month - 3 : month + 9;
    int64_t days = 365 * y + floor_divide(y, 4) - floor_divide(y, 100) + floor_divide(y, 400);
    return days + (153 * m + 2) / 5 + day - 1 - 730425;
}

struct calendar {
    int64_t year;
    int month, day;
};

static struct calendar calendar_of(int64_t days)
{
    int64_t d = days + 730425;
    int64_t cycle = floor_divide(d, 146097);
    int64_t in_cycle = d - cycle * 146097;
    int64_t y = (in_cycle - in_cycle / 1460 + in_cycle / 36524 - in_cycle / 146096) / 365;
    int64_t in_year = in_cycle - (365 * y + y / 4 - y / 100);
    int m = (int)((5 * in_year + 2) / 153);
    struct calendar c = {.year = y + cycle * 400, .month = m < 10 ? m + 3 : m - 9};
    c.year += c.month <= 2;
    c.day = (int)(in_year - (153 * m + 2) / 5 + 1);
    return c;
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

/* --- reading --- */

struct input {
    const char *p, *end;
};

static bool at_digit(const struct input *in)
{
    return in->p < in->end && *in->p >= '0' && *in->p <= '9';
}

static bool skip(struct input *in, char c)
{
    bool there = in->p < in->end && *in->p == c;
    in->p += there;
    return there;
}

static void skip_spaces(struct input *in)
{
    while (in->p < in->end && strchr(" \t\n\r\v\f", *in->p) && *in->p) {
        in->p++;
    }
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static struct str take_word(struct input *in)
{
    struct str w = {in->p, 0};
    while (in->p < in->end && is_letter(*in->p)) {
        in->p++;
        w.n++;
    }
    return w;
}

static bool skip_word(struct input *in, struct str word)
{
    struct input ahead = *in;
    if (!str_eq_nocase(take_word(&ahead), word)) {
        return false;
    }
    *in = ahead;
    return true;
}

/* Between `least` and `most` digits; how many there are in *out_n. */
static bool take_number(struct input *in, int least, int most, int64_t *out, int *out_n)
{
    int64_t v = 0;
    int n = 0;
    for (; at_digit(in) && n <= most; n++, in->p++) {
        v = 10 * v + (*in->p - '0');
    }
    *out = v;
    *out_n = n;
    return n >= least && n <= most;
}

/* ".digits", perhaps; in millionths. */
static bool take_fraction(struct input *in, int64_t *out)
{
    *out = 0;
    if (!skip(in, '.')) {
        return true;
    }
    char text[32] = "0.";
    size_t n = 2;
    for (; at_digit(in); in->p++) {
        if (n < sizeof text - 1) {
            text[n++] = *in->p;
        }
    }
    *out = (int64_t)rint(strtod(text, NULL) * 1e6);
    return true;
}

struct moment {
    int64_t day, us; /* day: since 2000-01-01; us: of the day */
    int64_t zone;    /* seconds east of UTC */
    bool has_date, has_time;
    int infinite; /* -1, 1 */
};

static bool take_clock(struct input *in, int64_t *out)
{
    int64_t h, m, s = 0, fraction = 0;
    int n;
    if (!take_number(in, 1, 2, &h, &n) || !skip(in, ':') || !take_number(in, 2, 2, &m, &n)) {
        return false;
    }
    if (skip(in, ':') && (!take_number(in, 2, 2, &s, &n) || !take_fraction(in, &fraction))) {
        return false;
    }
    *out = h * HOUR + m * MINUTE + s * SECOND + fraction;
    return m < 60 && s <= 60 && *out <= TIME_DAY;
}

static bool take_date(struct input *in, bool before_christ, int64_t *out)
{
    int64_t y, m, d;
    int n;
    if (!take_number(in, 3, 8, &y, &n)) {
        return false;
    }
    if (n == 8) {
        d = y % 100;
        m = y / 100 % 100;
        y /= 10000;
    } else if (!skip(in, '-') || !take_number(in, 1, 2, &m, &n) || !skip(in, '-') ||
               !take_number(in, 1, 2, &d, &n)) {
        return false;
    }
    if (y == 0 || m < 1 || m > 12) {
        return false;
    }
    y = before_christ ? 1 - y : y;
    *out = day_number(y, (int)m, (int)d);
    return d >= 1 && d <= days_in_month(y, (int)m);
}

/* After the sign. */
static bool take_offset(struct input *in, int64_t *out)
{
    int64_t h, m = 0, s = 0;
    int n;
    if (!take_number(in, 1, 4, &h, &n) || n == 3) {
        return false;
    }
    if (n == 4) {
        m = h % 100;
        h /= 100;
    } else if (skip(in, ':')) {
        if (!take_number(in, 2, 2, &m, &n) || (skip(in, ':') && !take_number(in, 2, 2, &s, &n))) {
            return false;
        }
    }
    *out = h * 3600 + m * 60 + s;
    return h < 16 && m < 60 && s < 60;
}

static bool take_zone(struct input *in, int64_t *out)
{
    *out = 0;
    if (skip(in, '+')) {
        return take_offset(in, out);
    }
    if (skip(in, '-')) {
        bool taken = take_offset(in, out);
        *out = -*out;
        return taken;
    }
    ignore_result(skip_word(in, STR("Z")) || skip_word(in, STR("UTC")) || skip_word(in, STR("GMT")));
    return true;
}

static bool is_special(struct str s, struct moment *out)
{
    bool past = str_eq_nocase(s, STR("-infinity"));
    bool future = str_eq_nocase(s, STR("infinity"));
    bool epoch = str_eq_nocase(s, STR("epoch"));
    *out = (struct moment){.infinite = past ? -1 : future, .has_date = true};
    out->day = epoch ? day_number(1970, 1, 1) : 0;
    return past || future || epoch;
}

/* Takes " BC" or " AD" off the end. */
static bool cut_era(struct input *in)
{
    if (in->end - in->p < 4 || is_letter(in->end[-3])) {
        return false;
    }
    struct str era = {in->end - 2, 2};
    bool bc = str_eq_nocase(era, STR("BC"));
    if (bc || str_eq_nocase(era, STR("AD"))) {
        in->end -= 2;
        while (in->end > in->p && in->end[-1] == ' ') {
            in->end--;
        }
    }
    return bc;
}

static bool take_moment(struct str text, struct moment *out)
{
    struct str s = str_trim(text);
    if (is_special(s, out)) {
        return true;
    }
    *out = (struct moment){0};
    struct input in = {s.p, s.p + s.n};
    bool bc = cut_era(&in);
    struct input start = in;
    if (take_date(&in, bc, &out->day)) {
        out->has_date = true;
        bool joined = skip(&in, 'T') || skip(&in, 't');
        if (joined && !at_digit(&in)) {
            return false;
        }
        skip_spaces(&in);
    } else {
        in = start;
    }
    if (at_digit(&in)) {
        if (!take_clock(&in, &out->us)) {
            return false;
        }
        out->has_time = true;
    }
    skip_spaces(&in);
    return take_zone(&in, &out->zone) && in.p == in.end && (out->has_date || out->has_time);
}

static bool date_in_range(int64_t d)
{
    return d >= DATE_FIRST && d < DATE_END;
}

static bool timestamp_in_range(int64_t t)
{
    return t >= TIMESTAMP_FIRST && t < TIMESTAMP_END;
}

bool date_parse(struct str text, int64_t *out)
{
    struct moment m;
    if (!take_moment(text, &m) || !m.has_date) {
        return false;
    }
    *out = m.infinite ? m.infinite > 0 ? DATE_INFINITY : -DATE_INFINITY - 1 : m.day;
    return m.infinite || date_in_range(m.day);
}

bool time_parse(struct str text, int64_t *out)
{
    struct moment m;
    if (!take_moment(text, &m) || !m.has_time) {
        return false;
    }
    *out = m.us;
    return true;
}

bool timestamp_parse(struct str text, bool zone, int64_t *out)
{
    struct moment m;
    if (!take_moment(text, &m) || !m.has_date) {
        return false;
    }
    if (m.infinite) {
        *out = m.infinite > 0 ? TIME_INFINITY : -TIME_INFINITY - 1;
        return true;
    }
    int64_t t;
    if (__builtin_mul_overflow(m.day, TIME_DAY, &t) ||
        __builtin_add_overflow(t, m.us - (zone ? m.zone * SECOND : 0), &t)) {
        return false;
    }
    *out = t;
    return timestamp_in_range(t);
}

/* PostgreSQL reads an offset given as a zone's name as POSIX does: positive is west, and with a colon. */
bool zone_offset(struct str name, int64_t *out_seconds)
{
    bool colon = name.n && memchr(name.p, ':', name.n);
    if (name.n > 3 && !colon && (*name.p == '+' || *name.p == '-')) {
        return false;
    }
    if (str_eq_nocase(name, STR("Etc/UTC"))) {
        *out_seconds = 0;
        return true;
    }
    struct input in = {name.p, name.p + name.n};
    bool taken = name.n && take_zone(&in, out_seconds) && in.p == in.end;
    *out_seconds = -*out_seconds;
    return taken;
}

/* --- writing --- */

static struct str infinity_text(bool positive)
{
    return positive ? STR("infinity") : STR("-infinity");
}

/* "hh:mm:ss" and what fraction there is. */
static char *clock_text(struct arena *a, int64_t us)
{
    int64_t fraction = us % SECOND;
    char *p = arena_printf(a, "%02lld:%02lld:%02lld.%06lld", (long long)(us / HOUR),
                           (long long)(us / MINUTE % 60), (long long)(us / SECOND % 60), (long long)fraction);
    size_t n = strlen(p);
    while (p[n - 1] == '0' && fraction) {
        n--;
    }
    p[fraction ? n : n - 7] = '\0';
    return p;
}

static struct str moment_text(struct arena *a, int64_t day, const char *rest)
{
    struct calendar c = calendar_of(day);
    bool bc = c.year <= 0;
    return str_c(arena_printf(a, "%04lld-%02d-%02d%s%s", (long long)(bc ? 1 - c.year : c.year), c.month,
                              c.day, rest, bc ? " BC" : ""));
}

struct str date_text(struct arena *a, int64_t d)
{
    bool finite = d > -DATE_INFINITY - 1 && d < DATE_INFINITY;
    return finite ? moment_text(a, d, "") : infinity_text(d > 0);
}

struct str time_text(struct arena *a, int64_t t)
{
    return str_c(clock_text(a, t));
}

static bool is_finite(int64_t t)
{
    return t != TIME_INFINITY && t != -TIME_INFINITY - 1;
}

struct str timestamp_text(struct arena *a, int64_t t, bool zone)
{
    if (!is_finite(t)) {
        return infinity_text(t > 0);
    }
    int64_t day = floor_divide(t, TIME_DAY);
    const char *clock = clock_text(a, t - day * TIME_DAY);
    return moment_text(a, day, arena_printf(a, " %s%s", clock, zone ? "+00" : ""));
}

/* --- conversions --- */

int64_t date_to_timestamp(int64_t date, bool *out_exact)
{
    int64_t t;
    bool finite = date > -DATE_INFINITY - 1 && date < DATE_INFINITY;
    *out_exact = true;
    if (!finite) {
        return date > 0 ? TIME_INFINITY : -TIME_INFINITY - 1;
    }
    if (__builtin_mul_overflow(date, TIME_DAY, &t) || !timestamp_in_range(t)) {
        *out_exact = false;
        return TIME_INFINITY - 1;
    }
    return t;
}

int64_t timestamp_to_date(int64_t t)
{
    if (!is_finite(t)) {
        return t > 0 ? DATE_INFINITY : -DATE_INFINITY - 1;
    }
    return floor_divide(t, TIME_DAY);
}

int64_t timestamp_to_time(int64_t t)
{
    return t - floor_divide(t, TIME_DAY) * TIME_DAY;
}

/* --- arithmetic --- */

static enum outcome give_timestamp(int64_t t, union datum *out)
{
    out->i = t;
    return timestamp_in_range(t) ? EVAL_VALUE : EVAL_ERROR;
}

/* An infinite date stays what it is. */
static enum outcome add_days(int64_t date, int64_t days, union datum *out)
{
    bool finite = date > -DATE_INFINITY - 1 && date < DATE_INFINITY;
    if (finite && (__builtin_add_overflow(date, days, &date) || !date_in_range(date))) {
        return EVAL_ERROR;
    }
    out->i = date;
    return EVAL_VALUE;
}

enum outcome date_plus_days(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                            union datum *out)
{
    return add_days(a->i, b->i, out);
}

enum outcome date_minus_days(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                             union datum *out)
{
    return b->i == INT64_MIN ? EVAL_ERROR : add_days(a->i, -b->i, out);
}

enum outcome date_minus_date(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                             union datum *out)
{
    out->i = a->i - b->i;
    return date_in_range(a->i) && date_in_range(b->i) ? EVAL_VALUE : EVAL_ERROR;
}

static bool timestamp_of(int64_t day, int64_t us, int64_t *out)
{
    int64_t t;
    if (__builtin_mul_overflow(day, TIME_DAY, &t) || __builtin_add_overflow(t, us, &t)) {
        return false;
    }
    *out = t;
    return timestamp_in_range(t);
}

/* Months first, the day being kept within the month; then days; then the rest. Each must be possible. */
static enum outcome shift(int64_t t, const struct interval *v, union datum *out)
{
    if (!is_finite(t)) {
        out->i = t;
        return EVAL_VALUE;
    }
    int64_t day = floor_divide(t, TIME_DAY), us = t - day * TIME_DAY;
    if (v->months) {
        struct calendar c = calendar_of(day);
        int64_t months = c.year * 12 + c.month - 1 + v->months;
        int64_t year = floor_divide(months, 12);
        int month = (int)(months - year * 12) + 1;
        int last = days_in_month(year, month);
        day = day_number(year, month, c.day < last ? c.day : last);
    }
    int64_t between, sum;
    if (!timestamp_of(day, us, &between) || !timestamp_of(day + v->days, us, &sum) ||
        __builtin_add_overflow(sum, v->us, &sum)) {
        return EVAL_ERROR;
    }
    return give_timestamp(sum, out);
}

static bool negate(const struct interval *v, struct interval *out)
{
    *out = (struct interval){.us = -(uint64_t)v->us,
                             .days = (int32_t) - (uint32_t)v->days,
                             .months = (int32_t) - (uint32_t)v->months};
    return v->us != INT64_MIN && v->days != INT32_MIN && v->months != INT32_MIN;
}

static enum outcome shift_back(int64_t t, const struct interval *v, union datum *out)
{
    struct interval back;
    return negate(v, &back) ? shift(t, &back, out) : EVAL_ERROR;
}

enum outcome timestamp_plus_interval(struct run *r, const union datum *a, const union datum *b,
                                     enum where_type t, union datum *out)
{
    return shift(a->i, &b->span, out);
}

enum outcome timestamp_minus_interval(struct run *r, const union datum *a, const union datum *b,
                                      enum where_type t, union datum *out)
{
    return shift_back(a->i, &b->span, out);
}

enum outcome date_plus_interval(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                union datum *out)
{
    bool exact;
    int64_t start = date_to_timestamp(a->i, &exact);
    return exact ? shift(start, &b->span, out) : EVAL_ERROR;
}

enum outcome date_minus_interval(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                 union datum *out)
{
    bool exact;
    int64_t start = date_to_timestamp(a->i, &exact);
    return exact ? shift_back(start, &b->span, out) : EVAL_ERROR;
}

enum outcome date_plus_time(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                            union datum *out)
{
    struct interval time = {.us = b->i};
    bool exact;
    int64_t start = date_to_timestamp(a->i, &exact);
    return exact ? shift(start, &time, out) : EVAL_ERROR;
}

static int64_t wrap(int64_t us)
{
    return us - floor_divide(us, TIME_DAY) * TIME_DAY;
}

enum outcome time_plus_interval(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                union datum *out)
{
    out->i = wrap(a->i + wrap(b->span.us));
    return EVAL_VALUE;
}

enum outcome time_minus_interval(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                                 union datum *out)
{
    out->i = wrap(a->i - wrap(b->span.us));
    return EVAL_VALUE;
}

enum outcome time_minus(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                        union datum *out)
{
    out->span = (struct interval){.us = a->i - b->i};
    return EVAL_VALUE;
}

/* --- intervals --- */

/* Moves what is more than `unit` of *from into *to. */
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
    if (!is_finite(a->i) || !is_finite(b->i) || __builtin_sub_overflow(a->i, b->i, &v.us) ||
        !carry_days(&v.us, &v.days)) {
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
    return negate(&b->span, &back) ? sum(&a->span, &back, out) : EVAL_ERROR;
}

enum outcome interval_negate(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                             union datum *out)
{
    return negate(&a->span, &out->span) ? EVAL_VALUE : EVAL_ERROR;
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

/* --- intervals: text --- */

struct amount {
    bool negative;
    int64_t whole;
    double fraction; /* with the sign */
};

static bool take_amount(struct input *in, struct amount *out)
{
    *out = (struct amount){.negative = skip(in, '-')};
    if (!out->negative) {
        ignore_result(skip(in, '+'));
    }
    int n;
    if (!take_number(in, 0, 18, &out->whole, &n)) {
        return false;
    }
    if (skip(in, '.')) {
        char text[32] = "0.";
        size_t digits = 2;
        for (; at_digit(in); in->p++) {
            if (digits < sizeof text - 1) {
                text[digits++] = *in->p;
            }
        }
        n += (int)digits - 2;
        out->fraction = strtod(text, NULL);
    }
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
    {" s sec secs second seconds ", UNIT_US, SECOND},
    {" m min mins minute minutes ", UNIT_US, MINUTE},
    {" h hr hrs hour hours ", UNIT_US, HOUR},
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
static bool take_iso(struct input *in, struct interval *out)
{
    static const char dates[] = "YMWD", times[] = "HMS";
    static const int date_units[] = {8, 7, 6, 5}, time_units[] = {4, 3, 2};
    bool time = false, any = false;
    while (in->p < in->end) {
        if (!time && skip(in, 'T')) {
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
static bool take_span_clock(struct input *in, struct interval *out)
{
    bool negative = skip(in, '-');
    if (!negative) {
        ignore_result(skip(in, '+'));
    }
    int64_t h, m, s = 0, fraction = 0;
    int n;
    if (!take_number(in, 1, 9, &h, &n) || !skip(in, ':') || !take_number(in, 1, 2, &m, &n) || m > 59) {
        return false;
    }
    if (skip(in, ':') && (!take_number(in, 1, 2, &s, &n) || !take_fraction(in, &fraction) || s > 59)) {
        return false;
    }
    int64_t us = h * HOUR + m * MINUTE + s * SECOND + fraction;
    return !__builtin_add_overflow(out->us, negative ? -us : us, &out->us);
}

/* An amount without a unit: days before a time, seconds at the end. */
static bool take_bare(struct input *in, const struct amount *by, struct interval *out)
{
    struct interval ignored = {0};
    struct input ahead = *in;
    if (in->p == in->end) {
        return add_us(out, by->whole, by->fraction, SECOND);
    }
    return take_span_clock(&ahead, &ignored) && add_interval_days(out, by->whole, by->fraction, 1);
}

static bool take_part(struct input *in, struct interval *out)
{
    struct input start = *in;
    if (take_span_clock(in, out)) {
        return true;
    }
    *in = start;
    struct amount by;
    if (!take_amount(in, &by)) {
        return false;
    }
    skip_spaces(in);
    const struct unit *u = find_unit(take_word(in));
    return u ? add_amount(out, &by, u) : take_bare(in, &by, out);
}

bool interval_parse(struct str text, struct interval *out)
{
    struct str s = str_trim(text);
    struct input in = {s.p, s.p + s.n};
    struct interval v = {0};
    if (skip(&in, 'P')) {
        bool taken = take_iso(&in, &v);
        *out = v;
        return taken;
    }
    ignore_result(skip(&in, '@'));
    skip_spaces(&in);
    bool any = false, ago = false;
    while (in.p < in.end && !ago) {
        ago = any && skip_word(&in, STR("ago"));
        if (!ago && !take_part(&in, &v)) {
            return false;
        }
        any = true;
        skip_spaces(&in);
    }
    if (!any || in.p != in.end) {
        return false;
    }
    *out = v;
    return !ago || negate(&v, out);
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
        const char *clock = clock_text(a, (int64_t)(us & INT64_MAX));
        buf_printf(&b, "%s%s%s", b.n ? " " : "", v->us < 0 ? "-" : before ? "+" : "", clock);
    }
    return arena_str(a, buf_str(&b));
}

enum outcome timestamp_to_zone(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    int64_t east;
    if (!zone_offset(a->s, &east)) {
        return EVAL_ERROR;
    }
    struct interval by = {.us = t == TYPE_TIMESTAMPTZ ? -east * SECOND : east * SECOND};
    return shift(b->i, &by, out);
}
