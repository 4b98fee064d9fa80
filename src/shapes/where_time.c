/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dates and times: text to value and back, and arithmetic, in UTC and the Gregorian calendar.
 *
 *   date       [y]yyy-m[m]-d[d] | yyyymmdd
 *   time       hh:mm[:ss[.fraction]]
 *   zone       Z | UTC | GMT | (+|-)hh[[:]mm[:ss]]
 *   timestamp  date [(T | spaces) time [spaces] [zone]] [BC | AD] | infinity | -infinity | epoch
 *
 * As in PostgreSQL a date or a time is also read from a whole timestamp (a time even from one with a T, which
 * is what JavaScript writes), and a zone is passed over where the type has none. Of PostgreSQL's other forms
 * (names of months, words like now or today) none is taken: they depend on settings or on the clock.
 */
#include "shapes/where_node.h"
#include "shapes/where_scan.h"

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

struct moment {
    int64_t day, us; /* day: since 2000-01-01; us: of the day */
    int64_t zone;    /* seconds east of UTC */
    bool has_date, has_time;
    int infinite; /* -1, 1 */
};

static bool take_clock(struct scan *in, int64_t *out)
{
    int64_t h, m, s = 0, fraction = 0;
    int n;
    if (!scan_number(in, 1, 2, &h, &n) || !scan_skip(in, ':') || !scan_number(in, 2, 2, &m, &n)) {
        return false;
    }
    if (scan_skip(in, ':')) {
        if (!scan_number(in, 2, 2, &s, &n)) {
            return false;
        }
        scan_fraction(in, &fraction);
    }
    *out = h * TIME_HOUR + m * TIME_MINUTE + s * TIME_SECOND + fraction;
    return m < 60 && s <= 60 && *out <= TIME_DAY;
}

static bool take_date(struct scan *in, bool before_christ, int64_t *out)
{
    int64_t y, m, d;
    int n;
    if (!scan_number(in, 3, 8, &y, &n)) {
        return false;
    }
    if (n == 8) {
        d = y % 100;
        m = y / 100 % 100;
        y /= 10000;
    } else if (!scan_skip(in, '-') || !scan_number(in, 1, 2, &m, &n) || !scan_skip(in, '-') ||
               !scan_number(in, 1, 2, &d, &n)) {
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
static bool take_offset(struct scan *in, int64_t *out)
{
    int64_t h, m = 0, s = 0;
    int n;
    if (!scan_number(in, 1, 4, &h, &n) || n == 3) {
        return false;
    }
    if (n == 4) {
        m = h % 100;
        h /= 100;
    } else if (scan_skip(in, ':')) {
        if (!scan_number(in, 2, 2, &m, &n) || (scan_skip(in, ':') && !scan_number(in, 2, 2, &s, &n))) {
            return false;
        }
    }
    *out = h * 3600 + m * 60 + s;
    return h < 16 && m < 60 && s < 60;
}

static bool take_zone(struct scan *in, int64_t *out)
{
    *out = 0;
    if (scan_skip(in, '+')) {
        return take_offset(in, out);
    }
    if (scan_skip(in, '-')) {
        bool taken = take_offset(in, out);
        *out = -*out;
        return taken;
    }
    ignore_result(scan_skip_word(in, STR("Z")) || scan_skip_word(in, STR("UTC")) ||
                  scan_skip_word(in, STR("GMT")));
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
static bool cut_era(struct scan *in)
{
    if (in->end - in->p < 4 || scan_is_letter(in->end[-3])) {
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
    struct scan in = {s.p, s.p + s.n};
    bool bc = cut_era(&in);
    struct scan start = in;
    if (take_date(&in, bc, &out->day)) {
        out->has_date = true;
        bool joined = scan_skip(&in, 'T') || scan_skip(&in, 't');
        if (joined && !scan_at_digit(&in)) {
            return false;
        }
        scan_skip_spaces(&in);
    } else {
        in = start;
    }
    if (scan_at_digit(&in)) {
        if (!take_clock(&in, &out->us)) {
            return false;
        }
        out->has_time = true;
    }
    scan_skip_spaces(&in);
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

/* Two digits; more than 99 when they are none. */
static int two(const char *p)
{
    unsigned a = (unsigned)(p[0] - '0'), b = (unsigned)(p[1] - '0');
    return a > 9 || b > 9 ? 100 : (int)(10 * a + b);
}

bool row_date_parse(struct str s, int64_t *out)
{
    if (s.n != 10 || s.p[4] != '-' || s.p[7] != '-') {
        return false;
    }
    int century = two(s.p), year = two(s.p + 2), month = two(s.p + 5), day = two(s.p + 8);
    if (century > 99 || year > 99 || month < 1 || month > 12 || day < 1 || day > 31) {
        return false;
    }
    *out = day_number(100 * century + year, month, day);
    return true;
}

bool row_timestamp_parse(struct str s, int64_t *out)
{
    enum { WHOLE = 19 }; /* yyyy-mm-dd hh:mm:ss */
    int64_t day, fraction = 0, unit = TIME_SECOND;
    if (s.n < WHOLE || !row_date_parse((struct str){s.p, 10}, &day) || s.p[13] != ':' || s.p[16] != ':') {
        return false;
    }
    int h = two(s.p + 11), m = two(s.p + 14), sec = two(s.p + 17);
    size_t i = WHOLE + (s.n > WHOLE && s.p[WHOLE] == '.');
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++) {
        unit /= 10;
        fraction += unit * (s.p[i] - '0');
    }
    bool utc = s.n - i == 3 && !memcmp(s.p + i, "+00", 3);
    *out = day * TIME_DAY + h * TIME_HOUR + m * TIME_MINUTE + sec * TIME_SECOND + fraction;
    return h < 24 && m < 60 && sec < 60 && (i == s.n || utc);
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
        __builtin_add_overflow(t, m.us - (zone ? m.zone * TIME_SECOND : 0), &t)) {
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
    struct scan in = {name.p, name.p + name.n};
    bool taken = name.n && take_zone(&in, out_seconds) && in.p == in.end;
    *out_seconds = -*out_seconds;
    return taken;
}

/* --- writing --- */

static struct str infinity_text(bool positive)
{
    return positive ? STR("infinity") : STR("-infinity");
}

char *time_clock_text(struct arena *a, int64_t us)
{
    int64_t fraction = us % TIME_SECOND;
    char *p = arena_printf(a, "%02lld:%02lld:%02lld.%06lld", (long long)(us / TIME_HOUR),
                           (long long)(us / TIME_MINUTE % 60), (long long)(us / TIME_SECOND % 60),
                           (long long)fraction);
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
    return str_c(time_clock_text(a, t));
}

bool timestamp_is_finite(int64_t t)
{
    return t != TIME_INFINITY && t != -TIME_INFINITY - 1;
}

struct str timestamp_text(struct arena *a, int64_t t, bool zone)
{
    if (!timestamp_is_finite(t)) {
        return infinity_text(t > 0);
    }
    int64_t day = floor_divide(t, TIME_DAY);
    const char *clock = time_clock_text(a, t - day * TIME_DAY);
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
    if (!timestamp_is_finite(t)) {
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
    if (!timestamp_is_finite(t)) {
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

static enum outcome shift_back(int64_t t, const struct interval *v, union datum *out)
{
    struct interval back;
    return interval_negated(v, &back) ? shift(t, &back, out) : EVAL_ERROR;
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

enum outcome timestamp_to_zone(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                               union datum *out)
{
    int64_t east;
    if (!zone_offset(a->s, &east)) {
        return EVAL_ERROR;
    }
    struct interval by = {.us = t == TYPE_TIMESTAMPTZ ? -east * TIME_SECOND : east * TIME_SECOND};
    return shift(b->i, &by, out);
}
