/* SPDX-License-Identifier: Apache-2.0 */
/* PostgreSQL expressions in, SQLite expressions out; each in the form in which pg_get_expr() prints it. */
#include "sql/expression.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

/* c1, c2: integers; r: double; v: text; b: boolean; at: timestamp; x: bytea; doc: jsonb; the odd one: text */
static enum value_class class_of(void *ctx, struct str name)
{
    static const struct {
        const char *name;
        enum value_class type;
    } columns[] = {{"c1", VALUE_INT}, {"c2", VALUE_INT},    {"r", VALUE_REAL},
                   {"v", VALUE_TEXT}, {"b", VALUE_BOOL},    {"at", VALUE_TIME},
                   {"x", VALUE_BLOB}, {"doc", VALUE_OTHER}, {"O\"dd", VALUE_TEXT}};
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (str_eq(name, str_c(columns[i].name))) {
            return columns[i].type;
        }
    }
    return VALUE_UNKNOWN;
}

static bool is_enum(void *ctx, struct str schema, struct str name)
{
    return str_eq(name, STR("states")) && (!schema.n || str_eq(schema, STR("public")));
}

static const struct expression_env env = {.column = class_of, .is_enum = is_enum};

static void check(const char *text, const char *expected, bool exact)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct expression e;
    struct str why = STR("");
    if (expression_to_sqlite(&a, str_c(text), &env, &e, &why) != EXPRESSION_TRANSLATED) {
        fail_msg("%s: %s", text, why.p);
    }
    assert_string_equal(e.sql.p, expected);
    if (e.exact != exact) {
        fail_msg("%s: exact is %d", text, e.exact);
    }
}

static void check_unsupported(const char *text, const char *reason)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct expression e = {0};
    struct str why = STR("");
    if (expression_to_sqlite(&a, str_c(text), &env, &e, &why) != EXPRESSION_UNSUPPORTED) {
        fail_msg("%s: became %s", text, e.sql.p);
    }
    assert_string_equal(why.p, reason);
    assert_null(e.sql.p);
}

static void prints_comparisons(void **state)
{
    check("(c1 > 0)", "(\"c1\" > 0)", true);
    check("(c1 != c2)", "(\"c1\" <> \"c2\")", true);
    check("(c1 > '-5'::integer)", "(\"c1\" > -5)", true);
    check("(c1 > -5)", "(\"c1\" > -5)", true);
    check("(c1 < 123456789012)", "(\"c1\" < 123456789012)", true);
    check("(v = 'it''s'::text)", "(\"v\" = 'it''s')", true);
    check("((v)::text = 'a'::text)", "(\"v\" = 'a')", true);
    check("(v > 'm'::text)", "(\"v\" > 'm')", false); /* collation */
    check("(r >= (0.5)::double precision)", "(\"r\" >= 0.5)", false);
    check("(b = true)", "(\"b\" = 1)", true);
    check("(at > '2024-01-01 00:00:00'::timestamp without time zone)", "(\"at\" > '2024-01-01 00:00:00')",
          false);
    check("(v = 'foo'::states)", "(\"v\" = 'foo')", true);
    check("(v = 'foo'::public.states)", "(\"v\" = 'foo')", true);
    check("(x = '\\x2F'::bytea)", "(\"x\" = x'2F')", true);
    check("(c1 IS DISTINCT FROM c2)", "(\"c1\" IS NOT \"c2\")", true);
    check("\"O\"\"dd\" = 'x'", "(\"O\"\"dd\" = 'x')", true);
}

static void prints_conditions_with_any_number_of_operands(void **state)
{
    check("((c1 > 0) AND (c2 < 0))", "((\"c1\" > 0) AND (\"c2\" < 0))", true);
    check("(b AND (c1 > 0) AND (c2 < 0) AND (v IS NULL))",
          "(\"b\" AND (\"c1\" > 0) AND (\"c2\" < 0) AND (\"v\" IS NULL))", true);
    check("(b OR (NOT b) OR (doc IS NOT NULL))", "(\"b\" OR (NOT \"b\") OR (\"doc\" IS NOT NULL))", true);
    check("(b IS NOT TRUE)", "(\"b\" IS NOT TRUE)", true);
    check("(b IS UNKNOWN)", "(\"b\" IS NULL)", true);
}

static void prints_lists_and_ranges(void **state)
{
    check("c1 IN (1, 2, 3)", "(\"c1\" IN (1, 2, 3))", true);
    check("c1 NOT IN (1)", "(\"c1\" NOT IN (1))", true);
    check("(v = ANY (ARRAY['a'::text, 'b'::text]))", "(\"v\" IN ('a', 'b'))", true);
    check("((v)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
          "(\"v\" IN ('a', 'b'))", true);
    check("(c1 <> ALL (ARRAY[1, 2]))", "(\"c1\" NOT IN (1, 2))", true);
    check("c1 BETWEEN 1 AND 5", "(\"c1\" BETWEEN 1 AND 5)", true);
    check("v NOT BETWEEN 'a' AND 'b'", "(\"v\" NOT BETWEEN 'a' AND 'b')", false);
}

static void prints_arithmetic_and_casts(void **state)
{
    check("((c1 + c2) * 2)", "((\"c1\" + \"c2\") * 2)", true);
    check("(c1 % 2)", "(\"c1\" % 2)", true);
    check("(- c1)", "(- \"c1\")", true);
    check("(- (- 1))", "1", true); /* folded by the grammar */
    check("(r / (2)::double precision)", "(\"r\" / CAST(2 AS REAL))", false);
    check("((c1)::bigint + 1)", "(\"c1\" + 1)", true);
    check("((c1)::text || v)", "(CAST(\"c1\" AS TEXT) || \"v\")", true);
    check("'13'::int8", "13", true);
    check("' 13 '::int8", "CAST(' 13 ' AS INTEGER)", true);
    check("'-0.5'::numeric", "-0.5", true);
    check("'NaN'::numeric", "CAST('NaN' AS REAL)", true);
    check("(r)::integer", "CAST(\"r\" AS INTEGER)", false);
}

static void prints_case_and_functions(void **state)
{
    check("CASE WHEN b THEN 1 ELSE c1 END", "CASE WHEN \"b\" THEN 1 ELSE \"c1\" END", true);
    check("CASE c1 WHEN 1 THEN 'x'::text END", "CASE \"c1\" WHEN 1 THEN 'x' END", true);
    check("COALESCE(v, ''::text)", "coalesce(\"v\", '')", true);
    check("COALESCE(v)", "\"v\"", true);
    check("NULLIF(c1, 0)", "nullif(\"c1\", 0)", true);
    check("upper(v)", "upper(\"v\")", false);
    check("pg_catalog.length(v)", "length(\"v\")", true);
    check("abs(c1)", "abs(\"c1\")", true);
    check("round(r, 2)", "round(\"r\", 2)", false);
    check("\"substring\"(v, 1, 3)", "substring(\"v\", 1, 3)", false);
    check("SUBSTRING(v FROM 1 FOR 3)", "substring(\"v\", 1, 3)", false);
    check("TRIM(BOTH FROM v)", "trim(\"v\")", true);
    check("ltrim(v, 'x'::text)", "ltrim(\"v\", 'x')", true);
}

static void folding_case_is_safe_as_a_whole_key_only(void **state)
{
    static const struct {
        const char *text;
        bool safe;
    } rows[] = {{"lower(v)", true},
                {"upper(TRIM(BOTH FROM v))", true},
                {"(lower(v) || 'x'::text)", false},
                {"lower(upper(v))", false},
                {"(c1 + 1)", true},
                {"round(r)", false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        struct expression e;
        struct str why;
        assert_int_equal(expression_to_sqlite(&a, str_c(rows[i].text), &env, &e, &why),
                         EXPRESSION_TRANSLATED);
        assert_int_equal(e.key_safe, rows[i].safe);
    }
}

static void leaves_out_what_sqlite_has_differently(void **state)
{
    check_unsupported("(v ~~ 'a%'::text)", "operator ~~");
    check_unsupported("v LIKE 'a%'", "a pattern match or another operator that SQLite has differently");
    check_unsupported("(doc -> 'a'::text)", "operator ->");
    check_unsupported("(doc = doc)", "a comparison of these types");
    check_unsupported("(c1 = v)", "a comparison of these types");
    check_unsupported("(at + 1)", "operator + on these types");
    check_unsupported("(doc || doc)", "operator || on these types");
    check_unsupported("(at)::date", "a cast between types that SQLite holds differently");
    check_unsupported("(b)::text", "a cast between types that SQLite holds differently");
    check_unsupported("(v)::varchar(3)", "a cast to a type of this form");
    check_unsupported("(v)::citext", "a cast to type citext");
    check_unsupported("'x'::other.states", "a cast to type states");
    check_unsupported("to_tsvector('english'::regconfig, v)", "function to_tsvector()");
    check_unsupported("app.lower(v)", "a function call of this form");
    check_unsupported("lower(c1)", "function lower() with these arguments");
    check_unsupported("substring(v from 'a.c')", "function substring() with these arguments");
    check_unsupported("count(*)", "a function call of this form");
    check_unsupported("GREATEST(c1, c2)", "an expression of a kind that is not translated");
    check_unsupported("CURRENT_DATE", "an expression of a kind that is not translated");
    check_unsupported("(SELECT 1)", "an expression of a kind that is not translated");
    check_unsupported("(v COLLATE \"C\")", "an expression of a kind that is not translated");
    check_unsupported("$1", "an expression of a kind that is not translated");
    check_unsupported("ROW(1, 2)", "an expression of a kind that is not translated");
    check_unsupported("B'101'", "a constant of unknown kind");
    check_unsupported("nope", "no column \"nope\"");
    check_unsupported("t.c1", "a qualified name");
    check_unsupported("(c1 AND b)", "a condition that is not boolean");
    check_unsupported("CASE WHEN b THEN 1 ELSE v END", "results of different types");
    check_unsupported("c1 OPERATOR(app.=) 1", "an operator of this form");
}

static void accepts_nothing_but_one_expression(void **state)
{
    check_unsupported("", "not a single expression");
    check_unsupported("1) FROM x; DROP TABLE y; SELECT (1", "not a single expression");
    check_unsupported("1) FROM (SELECT 2", "not a single expression");
    check_unsupported("1), (2", "not a single expression");
    check_unsupported("1) AS (x", "not a single expression");
    check_unsupported("1) UNION SELECT (2", "not a single expression");
    check_unsupported("c1 -- )", "not a single expression");
    check_unsupported("'", "an expression this deep, or not one at all");
    check_unsupported("\xff\xfe", "no column \"\xff\xfe\"");
}

static void bounds_depth_and_length(void **state)
{
    static const char *const heads[] = {"NOT ", "(",  "ARRAY[",     "1+",
                                        "- ",   "f(", "CASE WHEN ", "b IS NULL AND "};
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(1024 * 1024);
        for (size_t k = 0; k < 4000; k++) {
            buf_put_c(&b, heads[i]);
        }
        check_unsupported(buf_cstr(&b), "an expression this deep, or not one at all");
    }
    CLEANUP(buf_deinit) struct buf longer = BUF_INIT(1024 * 1024);
    for (size_t k = 0; k <= EXPRESSION_MAX_TEXT; k++) {
        buf_put_byte(&longer, '1');
    }
    check_unsupported(buf_cstr(&longer), "an expression this long");
}

/* A list is wide, not deep. */
static void takes_long_lists(void **state)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(64 * 1024);
    buf_put_c(&b, "(v = ANY (ARRAY[");
    for (unsigned i = 0; i < 3000; i++) {
        buf_printf(&b, "%s'%u'::text", i ? ", " : "", i);
    }
    buf_put_c(&b, "]))");
    struct expression e;
    struct str why = STR("");
    assert_int_equal(expression_to_sqlite(&a, buf_str(&b), &env, &e, &why), EXPRESSION_TRANSLATED);
    assert_true(e.exact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prints_comparisons),
        cmocka_unit_test(prints_conditions_with_any_number_of_operands),
        cmocka_unit_test(prints_lists_and_ranges),
        cmocka_unit_test(prints_arithmetic_and_casts),
        cmocka_unit_test(prints_case_and_functions),
        cmocka_unit_test(folding_case_is_safe_as_a_whole_key_only),
        cmocka_unit_test(leaves_out_what_sqlite_has_differently),
        cmocka_unit_test(accepts_nothing_but_one_expression),
        cmocka_unit_test(bounds_depth_and_length),
        cmocka_unit_test(takes_long_lists),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
