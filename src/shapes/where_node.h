/* SPDX-License-Identifier: Apache-2.0 */
/* Private to where*.c: typed expressions, and values while they are computed. */
#pragma once

#include "shapes/where.h"
#include "sql/condition.h"

enum where_type {
    TYPE_UNKNOWN, /* a literal whose type the context decides */
    TYPE_BOOL,
    TYPE_INT2,
    TYPE_INT4,
    TYPE_INT8,
    TYPE_NUMERIC,
    TYPE_FLOAT4,
    TYPE_FLOAT8,
    TYPE_TEXT,
    TYPE_VARCHAR,
    TYPE_UUID,
    TYPE_DATE,
    TYPE_TIME,
    TYPE_TIMESTAMP,
    TYPE_TIMESTAMPTZ,
    TYPE_INTERVAL,
    TYPE_ENUM,
    TYPE_OTHER,
    TYPES
};

struct interval {
    int64_t us;
    int32_t days, months;
};

/* Which member counts is a matter of the type. */
union datum {
    bool truth;
    int64_t i;    /* integers; date: days, the others microseconds, both since 2000-01-01 */
    double f;     /* float4 too, rounded to it */
    struct str s; /* text, enums; uuid and numeric in canonical form */
    struct interval span;
};

enum outcome { EVAL_ERROR, EVAL_NULL, EVAL_VALUE };

/* One evaluation. */
struct run {
    const struct value *row;
    struct arena scratch; /* for what is built on the way; empty unless something is */
};

enum node_kind {
    NODE_CONST,
    NODE_NULL,
    NODE_COLUMN,
    NODE_AND,
    NODE_OR,
    NODE_NOT,
    NODE_IS_NULL,
    NODE_IS_TRUE,
    NODE_IS_FALSE,
    NODE_DISTINCT,
    NODE_COMPARE,
    NODE_IN, /* args[0] = one of the others */
    NODE_COALESCE,
    NODE_CAST,
    NODE_CALL, /* an operator or function of the table in where_op.c */
};

struct operation;

struct node {
    enum node_kind kind;
    enum where_type type;
    bool negated;      /* IS_…, DISTINCT, IN */
    bool own;          /* may raise, or PostgreSQL may see it otherwise: only evaluated here */
    bool as_text;      /* COMPARE: equality of a column and a constant, to be seen from their bytes */
    bool sorted;       /* IN: constants in ascending order */
    uint8_t compare;   /* COMPARE: a set of enum compare_bits */
    uint32_t column;   /* COLUMN */
    uint32_t size;     /* evaluations at most: its own and those below */
    union datum value; /* CONST */
    const struct operation *call; /* CALL */
    struct str name;              /* COLUMN */
    struct str row_text;          /* CONST beside a column: as a row has it */
    const struct column *of;      /* an enum's */
    const struct node **args;
    size_t n;
    size_t at; /* in the text */
};

enum compare_bits { COMPARE_LESS = 1, COMPARE_EQUAL = 2, COMPARE_GREATER = 4 };

/* --- where_type.c --- */

const char *type_name(enum where_type t);
/* TYPE_OTHER when it is none of ours. */
enum where_type type_by_name(struct str name);
bool type_is_number(enum where_type t);
bool type_is_integer(enum where_type t);
bool type_is_text(enum where_type t); /* text and varchar */
/* Without a cast, or by one that PostgreSQL makes by itself. */
bool type_converts(enum where_type from, enum where_type to);
/* By an explicit cast; *out_own when it may raise. */
bool type_casts(enum where_type from, enum where_type to, bool *out_own);
bool type_is_preferred(enum where_type t);
/* Whether equal values of the two types are equal bytes in rows. */
bool types_look_alike(enum where_type a, enum where_type b);
bool type_same_category(enum where_type a, enum where_type b);

/* --- where_op.c --- */

typedef enum outcome operation_fn(struct run *r, const union datum *a, const union datum *b,
                                  enum where_type result, union datum *out);

enum operation_form { FORM_INFIX, FORM_PREFIX, FORM_FUNCTION };

struct operation {
    const char *name;
    enum operation_form form;
    enum where_type left, right; /* TYPE_UNKNOWN: there is none (left of prefix, right of functions of one) */
    enum where_type result;
    bool own;        /* see struct node */
    uint8_t compare; /* not 0: a comparison, there is no function */
    operation_fn *run;
    bool swapped; /* the function wants the right operand first */
};

enum choice { CHOICE_NONE, CHOICE_ONE, CHOICE_AMBIGUOUS };

/* PostgreSQL's overload resolution. n: arguments, 1 or 2. */
enum choice operation_choose(const char *name, enum operation_form form, const enum where_type *types,
                             size_t n, const struct operation **out);
bool operation_is_known(const char *name, enum operation_form form);

/* --- where_value.c: text to value and back, comparison, casts --- */

/* As the type's input function reads it. *out borrows text, or lives in the arena. False: it cannot. */
bool value_parse(struct arena *a, enum where_type t, struct str text, union datum *out);
/* As PostgreSQL prints it in a row. */
bool value_parse_row(enum where_type t, const struct value *v, union datum *out);
/* As the type's output function; bool: true and false. Borrows the value or lives in the arena. */
struct str value_text(struct arena *a, enum where_type t, const union datum *v);
/* <0, 0, >0 in PostgreSQL's order. The types are the same or both integers, both floats, or one date and one
 * timestamp. */
int value_compare(enum where_type at, const union datum *a, enum where_type bt, const union datum *b);
bool value_cast(struct arena *a, enum where_type from, const union datum *v, enum where_type to,
                union datum *out);

/* --- where_number.c, where_numeric.c --- */

bool number_is_digit(char c);
/* NaN, Infinity, inf, with a sign or without, in any case. */
bool number_is_word(struct str s, double *out);
int numeric_compare(struct str a, struct str b);
bool numeric_parse(struct arena *a, struct str text, struct str *out);
/* Rounded half away from zero; false when it does not fit, or is not finite. */
bool numeric_to_int(struct str n, int64_t *out);
bool float_parse(struct str text, bool single, double *out);
struct str float_text(struct arena *a, double f, bool single);
bool int_parse(struct str text, int64_t *out);
/* What PostgreSQL prints, without a look at bounds: false when it is too long for that, or something else. */
bool row_int_parse(struct str text, int64_t *out);
bool row_float_parse(struct str text, double *out);
struct str int_text(struct arena *a, int64_t i);
bool int_fits(int64_t i, enum where_type t);
operation_fn numeric_add, numeric_subtract, numeric_multiply, numeric_divide, numeric_modulo, numeric_negate,
    numeric_absolute;

/* --- where_time.c, where_interval.c --- */

enum { TIME_DAY_SECONDS = 86400 };
#define TIME_SECOND   INT64_C(1000000)
#define TIME_MINUTE   (60 * TIME_SECOND)
#define TIME_HOUR     (60 * TIME_MINUTE)
#define TIME_DAY      (24 * TIME_HOUR)
#define TIME_INFINITY INT64_MAX
#define DATE_INFINITY INT32_MAX

bool date_parse(struct str text, int64_t *out);
/* The common form of dates and timestamps in rows: four digits of year, no era, UTC. False: any other. */
bool row_date_parse(struct str text, int64_t *out);
bool row_timestamp_parse(struct str text, int64_t *out);
bool time_parse(struct str text, int64_t *out);
bool timestamp_parse(struct str text, bool zone, int64_t *out);
bool interval_parse(struct str text, struct interval *out);
struct str date_text(struct arena *a, int64_t d);
struct str time_text(struct arena *a, int64_t t);
struct str timestamp_text(struct arena *a, int64_t t, bool zone);
struct str interval_text(struct arena *a, const struct interval *v);
bool timestamp_is_finite(int64_t t);
/* "hh:mm:ss" and what fraction there is; in the arena. */
char *time_clock_text(struct arena *a, int64_t us);
/* False when it overflows. */
bool interval_negated(const struct interval *v, struct interval *out);
int interval_compare(const struct interval *a, const struct interval *b);
/* A date too late for a timestamp comes after all but infinity; *out_exact says that it was none. */
int64_t date_to_timestamp(int64_t date, bool *out_exact);
int64_t timestamp_to_date(int64_t t);
int64_t timestamp_to_time(int64_t t);
/* Seconds east of UTC; false when the name is none that is known here. */
bool zone_offset(struct str name, int64_t *out_seconds);
operation_fn date_plus_days, date_minus_days, date_minus_date, date_plus_time, date_plus_interval,
    date_minus_interval, timestamp_plus_interval, timestamp_minus_interval, timestamp_minus,
    time_plus_interval, time_minus_interval, time_minus, interval_add, interval_subtract, interval_multiply,
    interval_divide, interval_negate, interval_justify_days, interval_justify_hours, interval_justify,
    timestamp_to_zone;

/* --- where_text.c --- */

/* Bytes of the character at p; bytes that are no UTF-8 are characters of their own. */
size_t utf8_next(const char *p, const char *end, uint32_t *out_code);
bool utf8_valid(struct str s);
/* False: the pattern ends with its escape, and that was reached. */
bool text_like(struct str s, struct str pattern, bool fold, bool *out_matches);
operation_fn text_concat, text_lower, text_upper, text_like_op, text_not_like, text_ilike, text_not_ilike;

/* --- where_fold.c --- */

/* Unicode's simple case mappings. */
uint32_t fold_lower(uint32_t c);
uint32_t fold_upper(uint32_t c);

/* --- where_check.c --- */

struct where {
    const struct node *root;
};

/* False: refused. */
bool where_check(struct arena *a, struct str text, const struct condition *c, const struct table *table,
                 const struct schema *model, const struct node **out_root, struct where_refusal *out_why);

/* --- where_eval.c --- */

enum outcome node_eval(const struct node *n, struct run *r, union datum *out);
