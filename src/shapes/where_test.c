/* SPDX-License-Identifier: Apache-2.0 */
/* Where clauses: what they say of rows, and what is refused. tests/test_where_differential.py asks
 * PostgreSQL. */
#include "shapes/where.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define COLUMN(title, kind)                                                      \
    {                                                                            \
        .name = {title, sizeof title - 1}, .type_name = {kind, sizeof kind - 1}, \
        .type_schema = {"pg_catalog", 10}, .typmod = -1                          \
    }

static struct column columns[] = {
    COLUMN("b", "bool"),
    COLUMN("i2", "int2"),
    COLUMN("i", "int4"),
    COLUMN("i8", "int8"),
    COLUMN("n", "numeric"),
    COLUMN("f4", "float4"),
    COLUMN("f", "float8"),
    COLUMN("t", "text"),
    COLUMN("v", "varchar"),
    COLUMN("u", "uuid"),
    COLUMN("d", "date"),
    COLUMN("ti", "time"),
    COLUMN("ts", "timestamp"),
    COLUMN("tz", "timestamptz"),
    COLUMN("iv", "interval"),
    COLUMN("j", "jsonb"),
    COLUMN("O\"dd name", "text"),
    {.name = {"e", 1}, .type_name = {"mood", 4}, .type_schema = {"public", 6}, .is_enum = true},
};
enum { COLUMNS = ARRAY_LEN(columns) };

static struct str labels[] = {{"sad", 3}, {"ok", 2}};
static struct enum_type mood = {.schema = {"public", 6}, .name = {"mood", 4}, .labels = {labels, 2}};
static struct enum_type *enums[] = {&mood};
static struct schema model = {.enums = enums, .n_enums = 1};
static struct table table = {
    .schema = {"public", 6}, .name = {"x", 1}, .columns = columns, .n_columns = COLUMNS};

static const struct where *parse(struct arena *a, const char *text)
{
    const struct where *w = NULL;
    struct where_refusal why;
    if (!where_parse(a, str_c(text), &table, &model, &w, &why)) {
        fail_msg("%s: at %d: %s", text, why.location, why.message.p);
    }
    return w;
}

static struct value text_value(const char *s)
{
    return (struct value){s, s ? (uint32_t)strlen(s) : 0};
}

/* The row: "column=value;…", the others NULL. Consumed. */
static void read_row(char *text, struct value *row)
{
    memset(row, 0, COLUMNS * sizeof *row);
    char *rest = text;
    for (char *pair = strsep(&rest, ";"); pair && *pair; pair = strsep(&rest, ";")) {
        char *value = strchr(pair, '=');
        struct str name = {pair, (size_t)(value - pair)};
        row[table_column(&table, name) - columns] = text_value(value + 1);
    }
}

static enum truth eval(const char *text, const char *row_text)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct value row[COLUMNS];
    read_row(arena_strdup(&a, row_text), row);
    return where_eval(parse(&a, text), row);
}

struct eval_case {
    const char *text, *row;
    enum truth expected;
};

static void check_evals(const struct eval_case *cases, size_t n)
{
    static const char *const names[] = {"false", "true", "null"};
    for (size_t i = 0; i < n; i++) {
        enum truth got = eval(cases[i].text, cases[i].row);
        if (got != cases[i].expected) {
            fail_msg("%s on %s: %s", cases[i].text, cases[i].row, names[got]);
        }
    }
}

#define CHECK_EVALS(cases) check_evals(cases, ARRAY_LEN(cases))
#define F                  TRUTH_FALSE
#define T                  TRUTH_TRUE
#define N                  TRUTH_NULL

static void logic_has_three_values(void **state)
{
    static const struct eval_case cases[] = {
        {"", "", T},
        {"this.b", "b=t", T},
        {"this.b", "b=f", F},
        {"this.b", "", N},
        {"NOT this.b", "b=f", T},
        {"NOT this.b", "", N},
        {"this.b AND this.i = 1", "b=f", F},
        {"this.b AND this.i = 1", "b=t", N},
        {"this.b AND this.i = 1", "b=t;i=1", T},
        {"this.i = 1 AND this.b", "b=f", F},
        {"this.b OR this.i = 1", "b=t", T},
        {"this.b OR this.i = 1", "b=f", N},
        {"this.b OR this.i = 1", "b=f;i=2", F},
        {"this.i = 1 OR this.b", "b=t", T},
        {"this.b IS TRUE", "", F},
        {"this.b IS NOT TRUE", "", T},
        {"this.b IS FALSE", "b=f", T},
        {"this.b IS NOT FALSE", "b=f", F},
        {"this.b IS UNKNOWN", "", T},
        {"this.b IS NOT UNKNOWN", "", F},
        {"this.j IS NULL", "j={}", F},
        {"this.j IS NOT NULL", "j={}", T},
        {"this.i IS DISTINCT FROM 1", "", T},
        {"this.i IS DISTINCT FROM 1", "i=1", F},
        {"this.i IS NOT DISTINCT FROM NULL", "", T},
        {"this.i IN (1, NULL)", "i=1", T},
        {"this.i IN (1, NULL)", "i=2", N},
        {"this.i NOT IN (1, NULL)", "i=2", N},
        {"this.i NOT IN (1, NULL)", "i=1", F},
        {"this.i IN (5, 4, 3, 2, 1)", "i=3", T},
        {"this.i IN (5, 4, 3, 2, 1)", "i=6", F},
        {"this.i IN (5, 4, 3, 2, 1)", "", N},
        {"this.i IN (this.i2, 7)", "i=7", T},
        {"this.i BETWEEN 1 AND 3", "i=3", T},
        {"this.i NOT BETWEEN 1 AND 3", "i=3", F},
        {"COALESCE(this.i, this.i2, 5) = 5", "", T},
        {"NULL", "", N},
        {"true", "", T},
    };
    CHECK_EVALS(cases);
}

static void numbers(void **state)
{
    static const struct eval_case cases[] = {
        {"this.i = '5'", "i=5", T},
        {"this.i != 5", "i=5", F},
        {"this.i <> 5", "i=6", T},
        {"this.i + 1 > 2147483647", "i=2147483647", N},
        {"this.i8 + 1 > 0", "i8=9223372036854775807", N},
        {"this.i / 0 = 1", "i=1", N},
        {"this.i / 2 = -3", "i=-7", T},
        {"this.i % 2 = -1", "i=-7", T},
        {"@ this.i = 7", "i=-7", T},
        {"- this.i2 = 7", "i2=-7", T},
        {"(this.i & 6) = 4", "i=5", T},
        {"(this.i | 2) = 7", "i=5", T},
        {"(this.i # 1) = 4", "i=5", T},
        {"this.i8 = 3000000000", "i8=3000000000", T},
        {"this.i8 < 1e+21", "i8=9223372036854775807", T},
        {"this.i > 1.5", "i=2", T},
        {"this.i * 1.1 = 2.2", "i=2", T},
        {"this.i / 2.0 = 0.5", "i=1", T},
        {"this.n = 1.50", "n=1.5", T},
        {"this.n > 0.1", "n=NaN", T},
        {"this.n < -99999999999999999999", "n=-Infinity", T},
        {"this.n - 0.1 = 0.2", "n=0.3", T},
        {"this.f = 'NaN'", "f=NaN", T},
        {"this.f > 'Infinity'", "f=NaN", T},
        {"this.f < 1e300", "f=-Infinity", T},
        {"this.f = 0", "f=-0", T},
        {"this.f * 1e300 > 0", "f=1e+300", N},
        {"this.f4 = 0.1", "f4=0.1", F},
        {"this.f4 = 0.1::float4", "f4=0.1", T},
        {"this.f ^ 2 = 9", "f=3", T},
        {"|/ this.f = 3", "f=9", T},
        {"|/ this.f = 3", "f=-9", N},
        {"this.t::int4 = 12", "t= 12 ", T},
        {"int4(this.t) = 12", "t=12x", N},
        {"this.i::text = '12'", "i=12", T},
        {"int4out(this.i) = '12'", "i=12", T},
        {"this.f::text LIKE '1.5'", "f=1.5", T},
        {"this.b::int4 = 1", "b=t", T},
        {"this.i::bool", "i=-3", T},
        {"this.i < 1", "i=one", N},
    };
    CHECK_EVALS(cases);
}

static void texts(void **state)
{
    static const struct eval_case cases[] = {
        {"this.t = 'a'", "t=a", T},
        {"this.t < 'a'", "t=B", T},
        {"this.v = this.t", "v=x;t=x", T},
        {"this.t || this.v = 'xy'", "t=x;v=y", T},
        {"lower(this.t) = 'é'", "t=É", T},
        {"upper(this.t) = 'ÀS'", "t=às", T},
        {"this.t LIKE 'a%'", "t=abc", T},
        {"this.t LIKE '_b_'", "t=ébé", T},
        {"this.t LIKE 'a\\%'", "t=a%", T},
        {"this.t LIKE 'a\\%'", "t=ab", F},
        {"this.t LIKE '%b%d%'", "t=abcde", T},
        {"this.t LIKE ''", "t=", T},
        {"this.t NOT LIKE '%'", "t=", F},
        {"this.t LIKE 'a\\'", "t=ab", N},
        {"this.t ILIKE 'HELLO%É'", "t=hello wÉ", T},
        {"this.t NOT ILIKE 'x'", "t=X", F},
        {"this.t ~~ 'a_'", "t=a\n", T},
        {"this.\"O\"\"dd name\" = 'q'", "O\"dd name=q", T},
        {"this.e = 'sad'", "e=sad", T},
        {"this.e <> 'sad'", "e=ok", T},
        {"this.e IN ('sad', 'ok')", "e=ok", T},
        {"this.u = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "u=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", T},
        {"this.u > '{00000000000000000000000000000000}'", "u=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", T},
    };
    CHECK_EVALS(cases);
}

static void times(void **state)
{
    static const struct eval_case cases[] = {
        {"this.d = '2023-09-12T10:00:00.000Z'", "d=2023-09-12", T},
        {"this.ts = '2023-09-12T10:00:00.000Z'", "ts=2023-09-12 10:00:00", T},
        {"this.tz = '2023-09-12T10:00:00.000Z'", "tz=2023-09-12 10:00:00+00", T},
        {"this.tz = '2023-09-12 10:00:00+02'", "tz=2023-09-12 08:00:00+00", T},
        {"this.tz < 'infinity'", "tz=2023-09-12 08:00:00.123456+00", T},
        {"this.ts > '-infinity'", "ts=0044-03-15 12:00:00 BC", T},
        {"this.ti = '10:00'", "ti=10:00:00", T},
        {"this.d + 1 = '2024-02-29'", "d=2024-02-28", T},
        {"this.d - date '2024-03-01' = -2", "d=2024-02-28", T},
        {"this.d + interval '1 month' = '2024-02-29'", "d=2024-01-31", T},
        {"this.d + time '10:00' = timestamp '2024-01-31 10:00'", "d=2024-01-31", T},
        {"this.ts - timestamp '2024-01-01' = '1 day 02:00:00'", "ts=2024-01-02 02:00:00", T},
        {"this.ti + '2 hours'::interval = '01:00'", "ti=23:00:00", T},
        {"this.iv = '24 hours'", "iv=1 day", T},
        {"this.iv * 2 = '2 mons -2 days'", "iv=1 mon -1 days", T},
        {"justify_hours(this.iv)::text = '1 day 01:00:00'", "iv=25:00:00", T},
        {"justify_days(this.iv)::text = '1 mon 5 days'", "iv=35 days", T},
        {"justify_interval(this.iv)::text = '29 days 23:00:00'", "iv=1 mon -01:00:00", T},
        {"this.ts AT TIME ZONE 'UTC' = this.tz", "ts=2024-01-01 00:00:00;tz=2024-01-01 00:00:00+00", T},
        {"this.tz AT TIME ZONE '-02' = '2024-01-01 02:00'", "tz=2024-01-01 00:00:00+00", T},
        {"this.d < this.ts", "d=2024-01-01;ts=2024-01-01 00:00:01", T},
        {"this.d = 'infinity'", "d=infinity", T},
        {"this.d < timestamp 'infinity'", "d=5874897-12-31", T},
    };
    CHECK_EVALS(cases);
}

/* Each operator and function with a row it is true for, one it is false for, and one of NULLs. */
static const struct {
    const char *text, *yes, *no;
} operators[] = {
    {"this.i = 1", "i=1", "i=2"},
    {"this.t != 'a'", "t=b", "t=a"},
    {"this.u <> '00000000-0000-0000-0000-000000000000'", "u=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
     "u=00000000-0000-0000-0000-000000000000"},
    {"this.f < 1.5", "f=1.4", "f=1.5"},
    {"this.n > 1.5", "n=1.51", "n=1.50"},
    {"this.d <= '2020-01-01'", "d=2020-01-01", "d=2020-01-02"},
    {"this.tz >= '2020-01-01T00:00:00.000Z'", "tz=2020-01-01 00:00:00+00", "tz=2019-12-31 23:59:59.999+00"},
    {"this.ti > '10:00'", "ti=10:00:01", "ti=10:00:00"},
    {"this.iv > '1 day'", "iv=24:00:01", "iv=1 day"},
    {"this.b <> true", "b=f", "b=t"},
    {"+ this.i > 0", "i=1", "i=0"},
    {"- this.f > 0", "f=-1", "f=1"},
    {"this.i + this.i8 = 5", "i=2;i8=3", "i=3;i8=3"},
    {"this.f4 - this.f = 0", "f4=1;f=1", "f4=1;f=2"},
    {"this.i * this.i2 = 6", "i=2;i2=3", "i=2;i2=2"},
    {"this.i / 2 = 3", "i=7", "i=8"},
    {"this.f / 2 = 3.5", "f=7", "f=8"},
    {"this.i % 3 = 1", "i=7", "i=6"},
    {"this.f ^ 2 = 49", "f=7", "f=8"},
    {"|/ this.f = 3", "f=9", "f=10"},
    {"@ this.n = 1.5", "n=-1.5", "n=1.6"},
    {"(this.i & 4) <> 0", "i=5", "i=3"},
    {"(this.i | 1) = 5", "i=4", "i=6"},
    {"(this.i # 5) = 0", "i=5", "i=6"},
    {"this.t || this.v = 'ab'", "t=a;v=b", "t=b;v=a"},
    {"lower(this.t) = 'ab'", "t=AB", "t=A"},
    {"upper(this.t) = 'AB'", "t=ab", "t=a"},
    {"this.t LIKE 'a%'", "t=ab", "t=ba"},
    {"this.t NOT LIKE 'a%'", "t=ba", "t=ab"},
    {"this.t ~~ '_b'", "t=ab", "t=b"},
    {"this.t !~~ '_b'", "t=b", "t=ab"},
    {"this.t ILIKE 'A%'", "t=ab", "t=ba"},
    {"this.t NOT ILIKE 'A%'", "t=ba", "t=ab"},
    {"this.t ~~* '%A'", "t=ba", "t=ab"},
    {"this.t !~~* '%A'", "t=ab", "t=ba"},
    {"this.i IN (1, 2)", "i=2", "i=3"},
    {"this.t NOT IN ('a', 'b')", "t=c", "t=b"},
    {"this.e IN ('ok')", "e=ok", "e=sad"},
    {"this.d + 1 = '2020-01-02'", "d=2020-01-01", "d=2020-01-02"},
    {"3::int8 + this.d = '2020-01-04'", "d=2020-01-01", "d=2020-01-02"},
    {"this.d - 1 = '2020-01-01'", "d=2020-01-02", "d=2020-01-01"},
    {"this.d - '2020-01-01' = 1", "d=2020-01-02", "d=2020-01-01"},
    {"this.ti + this.d = '2020-01-02 10:00'", "d=2020-01-02;ti=10:00:00", "d=2020-01-02;ti=10:00:01"},
    {"this.iv + interval '1 hour' = '3 hours'", "iv=02:00:00", "iv=03:00:00"},
    {"this.iv - interval '1 hour' = '3 hours'", "iv=04:00:00", "iv=03:00:00"},
    {"this.d - this.iv = '2020-01-01'", "d=2020-02-01;iv=1 mon", "d=2020-02-01;iv=30 days"},
    {"this.ts + this.iv = '2020-02-29'", "ts=2020-01-31 00:00:00;iv=1 mon",
     "ts=2020-01-31 00:00:00;iv=30 days"},
    {"this.tz - this.iv = '2020-02-29'", "tz=2020-03-31 00:00:00+00;iv=1 mon",
     "tz=2020-03-31 00:00:00+00;iv=1 day"},
    {"this.ti + this.iv = '01:00'", "ti=23:00:00;iv=02:00:00", "ti=23:00:00;iv=1 day"},
    {"this.ts - '2020-01-01' = '1 day'", "ts=2020-01-02 00:00:00", "ts=2020-01-01 00:00:00"},
    {"this.tz - '2020-01-01' = '1 day'", "tz=2020-01-02 00:00:00+00", "tz=2020-01-01 00:00:00+00"},
    {"this.iv * 1.5 = '36 hours'", "iv=1 day", "iv=2 days"},
    {"2 * this.iv = '2 days'", "iv=1 day", "iv=2 days"},
    {"justify_days(this.iv)::text = '1 mon'", "iv=30 days", "iv=31 days"},
    {"justify_hours(this.iv)::text = '1 day'", "iv=24:00:00", "iv=25:00:00"},
    {"justify_interval(this.iv)::text = '1 mon 1 day'", "iv=30 days 24:00:00", "iv=30 days"},
    {"this.ts AT TIME ZONE 'UTC' = '2020-01-01'", "ts=2020-01-01 00:00:00", "ts=2020-01-01 01:00:00"},
    {"timezone('+01', this.tz) = '2020-01-01'", "tz=2020-01-01 01:00:00+00", "tz=2020-01-01 00:00:00+00"},
    {"int2(this.t) = 1", "t=1", "t=2"},
    {"int8(this.t) = 1", "t=1", "t=2"},
    {"float4(this.t) = 1", "t=1.0", "t=2"},
    {"\"numeric\"(this.t) = 1.5", "t=1.50", "t=2"},
    {"bool(this.t)", "t=yes", "t=no"},
    {"uuid(this.t) = '{00000000-0000-0000-0000-000000000000}'", "t=00000000000000000000000000000000",
     "t=00000000000000000000000000000001"},
    {"date(this.t) = '2020-01-01'", "t=20200101", "t=2020-01-02"},
    {"\"timestamp\"(this.t) = '2020-01-01'", "t=2020-01-01T00:00", "t=2020-01-02"},
    {"timestamptz(this.t) = '2020-01-01'", "t=2020-01-01 01:00+01", "t=2020-01-02"},
    {"\"interval\"(this.t) = '1 day'", "t=P1D", "t=P2D"},
    {"float8out(this.f) = '1.5'", "f=1.5", "f=2"},
    {"numericout(this.n) = '1.50'", "n=1.50", "n=1.5"},
    {"dateout(this.d) = '2020-01-01'", "d=2020-01-01", "d=2020-01-02"},
    {"timestampout(this.ts) = '2020-01-01 00:00:00.5'", "ts=2020-01-01 00:00:00.5", "ts=2020-01-01 00:00:00"},
    {"intervalout(this.iv) = '-1 days +02:00:00'", "iv=-1 days +02:00:00", "iv=1 day"},
    {"boolout(this.b) = 'true'", "b=t", "b=f"},
    {"uuidout(this.u) LIKE 'a0%'", "u=a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
     "u=00000000-0000-0000-0000-000000000000"},
};

static void every_operator(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(operators); i++) {
        const struct eval_case cases[] = {{operators[i].text, operators[i].yes, T},
                                          {operators[i].text, operators[i].no, F},
                                          {operators[i].text, "", N}};
        CHECK_EVALS(cases);
    }
}

static const struct {
    const char *text, *message;
    int location;
} refused[] = {
    {"this.i = 1; SELECT 2", "unescaped \";\" causing statement split", 10},
    {"this.i = 1 ORDER BY 1", "malformed query ending with SQL clauses", 0},
    {"this.i = 1 LIMIT 1", "malformed query ending with SQL clauses", 0},
    {"this.i = 1 OFFSET 1", "malformed query ending with SQL clauses", 0},
    {"this.i = 1 GROUP BY 1", "malformed query ending with SQL clauses", 0},
    {"this.i = 1 HAVING true", "malformed query ending with SQL clauses", 0},
    {"this.i = 1 FOR UPDATE", "malformed query ending with SQL clauses", 0},
    {"this.i = 1 WINDOW w AS ()", "malformed query ending with SQL clauses", 0},
    {"this.i = 1 UNION SELECT 1", "malformed query ending with SQL clauses", 0},
    {"this.i = ", "syntax error at end of input", 25},
    {"this.i IN ()", "syntax error at or near \")\"", 27},
    {"this.t = 'a", "unterminated quoted string at or near \"'a\"", 25},
    {"this.i = $1", "parameters are not supported in this context", 9},
    {"this.i = (SELECT 1)", "subqueries are not supported in this context", 9},
    {"this.i IN (SELECT 1)", "subqueries are not supported in this context", 7},
    {"EXISTS (SELECT 1)", "subqueries are not supported in this context", 0},
    {"i = 1", "unknown reference i - did you mean `this.i`?", 0},
    {"'é' = other", "unknown reference other", 6},
    {"this.nope = 1", "unknown reference this.nope", 0},
    {"that.i = 1", "unknown reference that.i", 0},
    {"this.i = 'x'", "invalid input syntax for type int4: \"x\"", 9},
    {"this.i2 = '40000'", "invalid input syntax for type int2: \"40000\"", 10},
    {"this.e = 'happy'", "invalid input value for enum mood: \"happy\"", 9},
    {"this.e < 'sad'", "operator does not exist: mood < unknown", 7},
    {"this.j = '{}'", "operator does not exist: jsonb = unknown", 7},
    {"this.i = this.t", "operator does not exist: int4 = text", 7},
    {"this.t ~ 'a'", "operator does not exist: text ~ unknown", 7},
    {"this.d + '1'", "operator is not unique: date + unknown", 7},
    {"this.ts = this.tz", "operator does not exist: timestamp = timestamptz", 8},
    {"now() > this.tz", "unknown function now()", 0},
    {"CURRENT_DATE > this.d", "values that change with time or user are not supported", 0},
    {"count(*) = 1", "aggregation is not supported in this context", 0},
    {"row_number() OVER () = 1", "window functions are not supported in this context", 0},
    {"lower(this.i) = 'x'", "function does not exist: lower(int4)", 0},
    {"CASE WHEN true THEN true END", "CASE is not supported", 0},
    {"this.i = ANY (ARRAY[1])", "operators on arrays are not supported", 7},
    {"this.i::jsonb IS NULL", "a cast to type jsonb is not supported", 6},
    {"this.t::varchar(3) = 'x'", "type modifiers are not supported", 8},
    {"this.i = 1 AND 5", "argument of AND must be type bool, not type int4", 15},
    {"1/0 = this.i", "this constant has no value of type int4", 1},
    {"this.ts AT TIME ZONE 'Europe/Berlin' > this.tz",
     "time zones other than 'UTC' and fixed offsets such as '+02' are not supported", 8},
    {"this.i", "Where expression should evaluate to a boolean, but it's :int4", -1},
    {"this.t || 'x'", "Where expression should evaluate to a boolean, but it's :text", -1},
    {"\xff", "the expression is not valid UTF-8", 0},
};

static void refusals(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        const struct where *w = NULL;
        struct where_refusal why = {.location = -2};
        if (where_parse(&a, str_c(refused[i].text), &table, &model, &w, &why)) {
            fail_msg("%s is accepted", refused[i].text);
        }
        if (strcmp(why.message.p, refused[i].message) || why.location != refused[i].location) {
            fail_msg("%s: at %d: %s", refused[i].text, why.location, why.message.p);
        }
    }
}

/* A text of n times the piece, between two others. */
static int parse_repeated(const char *first, const char *piece, size_t n, const char *last,
                          struct where_refusal *why, struct arena *a)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(4 * 1024 * 1024);
    buf_put_c(&b, first);
    for (size_t i = 0; i < n; i++) {
        buf_put_c(&b, piece);
    }
    buf_put_c(&b, last);
    const struct where *w;
    return where_parse(a, buf_str(&b), &table, &model, &w, why);
}

static void size_is_bounded(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct where_refusal why;
    assert_int_equal(parse_repeated("this.i IN (1", ", 1000000", 10000, ")", &why, &a), 1);
    assert_int_equal(parse_repeated("this.i IN (1", ", 1000000", 20000, ")", &why, &a), 0);
    assert_string_equal(why.message.p, "the expression is longer than 131072 bytes");
    assert_int_equal(parse_repeated("", "NOT ", 1900, "true", &why, &a), 1);
    assert_int_equal(parse_repeated("", "NOT ", 2000, "true", &why, &a), 0);
    assert_string_equal(why.message.p, "the expression is nested too deeply");
    assert_int_equal(parse_repeated("", "(", 30000, "true", &why, &a), 0);
    assert_int_equal(parse_repeated("true", " OR this.b", 400, "", &why, &a), 1);
    assert_int_equal(parse_repeated("0 < this.n", " * 1.5", 100, "", &why, &a), 1);
    assert_int_equal(parse_repeated("0 < this.n", " * 1.5", 300, "", &why, &a), 0);
    assert_string_equal(why.message.p, "the expression takes too many steps");
    assert_int_equal(parse_repeated("", "COALESCE((", 50, "this.b", &why, &a), 0);
}

/* BETWEEN looks at its left side twice: nesting doubles the work each time. */
static void steps_are_bounded(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(64 * 1024);
    for (int i = 0; i < 60; i++) {
        buf_put_c(&b, "(");
    }
    buf_put_c(&b, "this.i");
    for (int i = 0; i < 60; i++) {
        buf_put_c(&b, " BETWEEN 1 AND 2)::int4");
    }
    buf_put_c(&b, " = 1");
    const struct where *w;
    struct where_refusal why;
    assert_int_equal(where_parse(&a, buf_str(&b), &table, &model, &w, &why), 0);
    assert_string_equal(why.message.p, "the expression takes too many steps");
}

/* The value of column t (7) or n (4) is this many times a character. */
static enum truth eval_long(const char *text, size_t column, char c, size_t n)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    char *p = arena_alloc(&a, n);
    memset(p, c, n);
    struct value row[COLUMNS] = {[4] = {"2", 1}};
    row[column] = (struct value){p, (uint32_t)n};
    return where_eval(parse(&a, text), row);
}

static void work_is_bounded(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    char many[1001] = {0};
    memset(many, 'a', sizeof many - 1);
    const char *pattern = arena_printf(&a, "this.t LIKE '%%%sb%%'", many);
    assert_int_equal(eval_long(pattern, 7, 'a', 3000), F);
    assert_int_equal(eval_long(pattern, 7, 'a', 1000000), N);
    assert_int_equal(eval_long("this.t LIKE '%a%aab%'", 7, 'a', 10000000), F);
    assert_int_equal(eval_long("this.t || this.t <> ''", 7, 'a', WHERE_MAX_BUILT / 2), T);
    assert_int_equal(eval_long("this.t || this.t <> ''", 7, 'a', WHERE_MAX_BUILT / 2 + 1), N);
    assert_int_equal(eval_long("lower(this.t) <> ''", 7, 'a', WHERE_MAX_BUILT), N);
    assert_int_equal(eval_long("this.n * 1 > 0", 4, '9', WHERE_MAX_DIGITS), T);
    assert_int_equal(eval_long("this.n * 10 > 0", 4, '9', WHERE_MAX_DIGITS), N);
    assert_int_equal(eval_long("this.n + 1 > 0", 4, '9', WHERE_MAX_DIGITS + 10), N);
    assert_int_equal(eval_long("this.n > 0", 4, '9', WHERE_MAX_DIGITS + 10), T);
}

static const struct {
    const char *text, *sql;
    bool may_raise;
} printed[] = {
    {"", "('true'::bool)", false},
    {"this.i = 1", "((x.\"i\" = '1'::int4))", false},
    {"this.i8 = 1", "((x.\"i8\" = '1'::int4))", false},
    {"this.t = 'it''s \\'",
     "(((x.\"t\" = E'it''s \\\\'::text) AND (x.\"t\" COLLATE \"C\" = E'it''s \\\\'::text)))", false},
    {"this.t <> 'a'", "((x.\"t\" COLLATE \"C\" <> 'a'::text))", false},
    {"this.i IN (1, 2)", "((x.\"i\" IN ('1'::int4, '2'::int4)))", false},
    {"this.e = 'ok'", "((x.\"e\" = 'ok'::\"public\".\"mood\"))", false},
    {"this.t = 'a' OR 1=1 --", "('true'::bool)", false},
    {"this.t > 'a' OR this.b --", "(((x.\"t\" COLLATE \"C\" > 'a'::text) OR x.\"b\"))", false},
    {"this.\"O\"\"dd name\" IS NULL", "((x.\"O\"\"dd name\" IS NULL))", false},
    {"this.i = 1 AND this.i / 0 = 1", "(((x.\"i\" = '1'::int4) AND TRUE))", true},
    {"this.t ILIKE 'a'", "(TRUE)", true},
    {"this.f > 1.5", "((x.\"f\" > '1.5'::float8))", false},
    {"NOT this.b", "((NOT x.\"b\"))", false},
};

static void printing(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(printed); i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(64 * 1024);
        const struct where *w = parse(&a, printed[i].text);
        where_print(w, STR("x"), &b);
        assert_string_equal(buf_cstr(&b), printed[i].sql);
        assert_int_equal(where_may_raise(w), printed[i].may_raise);
    }
}

static bool same_key(const char *one, const char *other)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(buf_deinit) struct buf x = BUF_INIT(64 * 1024), y = BUF_INIT(64 * 1024);
    where_put_key(parse(&a, one), &x);
    where_put_key(parse(&a, other), &y);
    return str_eq(buf_str(&x), buf_str(&y));
}

static void keys(void **state)
{
    assert_true(same_key("this.i=1", "  this.\"i\" = '1' -- the same"));
    assert_true(same_key("this.i / 2 = 1", "(this.i/2) = 1"));
    assert_false(same_key("this.i / 2 = 1", "this.i / 3 = 1"));
    assert_false(same_key("this.t = 'a'", "this.v = 'a'"));
}

static void equalities(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    const struct where *w =
        parse(&a, "this.i8 = 5 AND 'x' = this.t AND this.b AND (this.u = "
                  "'A0EEBC999C0B4EF8BB6D6BB9BD380A11' AND this.f = 1) AND (this.i = 1 OR this.i = 2)"
                  " AND this.d = timestamp '2020-01-01' AND this.b = true");
    struct where_equality e[8];
    assert_int_equal(where_equalities(w, e, 8), 4);
    assert_int_equal(e[0].column, 3);
    assert_true(str_eq(e[0].value, STR("5")));
    assert_int_equal(e[1].column, 7);
    assert_true(str_eq(e[1].value, STR("x")));
    assert_true(str_eq(e[2].value, STR("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11")));
    assert_true(str_eq(e[3].value, STR("t")));
    assert_int_equal(where_equalities(w, e, 1), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logic_has_three_values),
        cmocka_unit_test(numbers),
        cmocka_unit_test(texts),
        cmocka_unit_test(times),
        cmocka_unit_test(every_operator),
        cmocka_unit_test(refusals),
        cmocka_unit_test(size_is_bounded),
        cmocka_unit_test(steps_are_bounded),
        cmocka_unit_test(work_is_bounded),
        cmocka_unit_test(printing),
        cmocka_unit_test(keys),
        cmocka_unit_test(equalities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
