/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/redirect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *text, const char *expected)
{
    char *copy = strdup(text);
    redirect_catalogs(copy, strlen(copy), true);
    assert_string_equal(copy, expected);
    free(copy);
}

static void qualified_names_are_led_to_the_views(void **state)
{
    check("SELECT * FROM pg_catalog.pg_class", "SELECT * FROM pg_temp   .pg_class");
    check("from PG_CATALOG . \"pg_type\" t,\"pg_catalog\".pg_enum",
          "from pg_temp    . \"pg_type\" t,pg_temp     .pg_enum");
    check("select pg_catalog.pg_class.oid", "select pg_temp   .pg_class.oid");
    check("information_schema.columns", "pg_temp           .columns");
    check("pg_catalog/* x */./* y */pg_index", "pg_temp   /* x */./* y */pg_index");
}

static void all_else_stays(void **state)
{
    static const char *const texts[] = {
        "",
        "pg_catalog",
        "pg_catalog.",
        "pg_class",
        "pg_catalog.pg_get_expr(a, b)",
        "x::pg_catalog.text",
        "'pg_catalog.pg_class'::regclass",
        "$$pg_catalog.pg_class$$ /* pg_catalog.pg_class */ -- pg_catalog.pg_class",
        "\"PG_CATALOG\".pg_class",
        "pg_catalog.\"PG_CLASS\"",
        "a.pg_catalog.pg_class",
        "pg_catalog.columns, information_schema.pg_class",
        "information_schema.sql_identifier",
        "pg_catalog.pg_class_x 'not closed",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        check(texts[i], texts[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qualified_names_are_led_to_the_views),
        cmocka_unit_test(all_else_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
