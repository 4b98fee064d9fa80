/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a condition, shown as a Lisp would; what is refused, shapes/where_test.c says. */
#include "sql/condition.h"

#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

static const char *const names[] = {
    [CONDITION_COLUMN] = "this",
    [CONDITION_REFERENCE] = "name",
    [CONDITION_NULL] = "null",
    [CONDITION_TRUE] = "true",
    [CONDITION_FALSE] = "false",
    [CONDITION_NUMBER] = "number",
    [CONDITION_STRING] = "string",
    [CONDITION_CAST] = "cast",
    [CONDITION_OPERATOR] = "op",
    [CONDITION_CALL] = "call",
    [CONDITION_AND] = "and",
    [CONDITION_OR] = "or",
    [CONDITION_NOT] = "not",
    [CONDITION_IS_NULL] = "is-null",
    [CONDITION_IS_NOT_NULL] = "is-not-null",
    [CONDITION_IS_TRUE] = "is-true",
    [CONDITION_IS_NOT_TRUE] = "is-not-true",
    [CONDITION_IS_FALSE] = "is-false",
    [CONDITION_IS_NOT_FALSE] = "is-not-false",
    [CONDITION_IS_UNKNOWN] = "is-unknown",
    [CONDITION_IS_NOT_UNKNOWN] = "is-not-unknown",
    [CONDITION_DISTINCT] = "distinct",
    [CONDITION_NOT_DISTINCT] = "not-distinct",
    [CONDITION_IN] = "in",
    [CONDITION_NOT_IN] = "not-in",
    [CONDITION_BETWEEN] = "between",
    [CONDITION_NOT_BETWEEN] = "not-between",
    [CONDITION_COALESCE] = "coalesce",
};

static void show(const struct condition *c, struct buf *out)
{
    buf_printf(out, "(%s", names[c->kind]);
    if (c->text.n) {
        buf_printf(out, " %.*s", STR_ARG(c->text));
    }
    for (size_t i = 0; i < c->n; i++) {
        buf_put_byte(out, ' ');
        show(c->args[i], out);
    }
    buf_put_byte(out, ')');
}

static void check(const char *text, const char *expected)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(10000);
    const struct condition *c;
    struct condition_refusal why;
    if (!condition_parse(&a, str_c(text), &c, &why)) {
        fail_msg("%s: %s", text, why.message.p);
    }
    show(c, &b);
    assert_string_equal(buf_cstr(&b), expected);
}

static void names_and_literals(void **state)
{
    check("this.a = 1", "(op = (this a) (number 1))");
    check("THIS.\"A b\" <> -1.5", "(op <> (this A b) (number -1.5))");
    check("a != this.b.c", "(op <> (name a) (name this.b.c))");
    check("this.*", "(name this.*)");
    check("NULL", "(null)");
    check("true AND NOT false", "(and (true) (not (false)))");
    check("3000000000 = 1e+21", "(op = (number 3000000000) (number 1e+21))");
    check("E'\\n' = 'it''s'", "(op = (string \n) (string it's))");
}

static void casts_and_calls(void **state)
{
    check("this.a::integer", "(cast int4 (this a))");
    check("CAST('1' AS double precision)", "(cast float8 (string 1))");
    check("date '2020-01-01'", "(cast date (string 2020-01-01))");
    check("timestamp with time zone 'x'", "(cast timestamptz (string x))");
    check("interval '1 day'", "(cast interval (string 1 day))");
    check("lower(this.a)", "(call lower (this a))");
    check("this.a AT TIME ZONE 'UTC'", "(call timezone (string UTC) (this a))");
    check("- this.a", "(op - (this a))");
    check("|/ this.a", "(op |/ (this a))");
    check("COALESCE(this.a, 1)", "(coalesce (this a) (number 1))");
}

static void tests_and_lists(void **state)
{
    check("this.a OR this.b OR this.c", "(or (this a) (this b) (this c))");
    check("this.a IS NULL", "(is-null (this a))");
    check("this.a NOTNULL", "(is-not-null (this a))");
    check("this.a IS NOT TRUE", "(is-not-true (this a))");
    check("this.a IS UNKNOWN", "(is-unknown (this a))");
    check("this.a IS DISTINCT FROM 1", "(distinct (this a) (number 1))");
    check("this.a IS NOT DISTINCT FROM 1", "(not-distinct (this a) (number 1))");
    check("this.a IN (1, 2)", "(in (this a) (number 1) (number 2))");
    check("this.a NOT IN (1)", "(not-in (this a) (number 1))");
    check("this.a BETWEEN 1 AND 2", "(between (this a) (number 1) (number 2))");
    check("this.a NOT BETWEEN 1 AND 2", "(not-between (this a) (number 1) (number 2))");
    check("this.a LIKE 'x'", "(op ~~ (this a) (string x))");
    check("this.a NOT ILIKE 'x'", "(op !~~* (this a) (string x))");
    check("this.a = 1 -- = 2", "(op = (this a) (number 1))");
    check("this.a;", "(this a)");
}

static void places(void **state)
{
    assert_int_equal(condition_location(STR("abc"), 2), 2);
    assert_int_equal(condition_location(STR("\xc3\xa9x"), 3), 2);
    assert_int_equal(condition_location(STR("abc"), 100), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_literals),
        cmocka_unit_test(casts_and_calls),
        cmocka_unit_test(tests_and_lists),
        cmocka_unit_test(places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
