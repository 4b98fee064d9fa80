/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/syntax.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/limits.h"

static void test_a_script_is_accepted_as_a_whole_or_not_at_all(void **state)
{
    (void)state;
    assert_true(syntax_accepted(STR("")));
    assert_true(syntax_accepted(STR("BEGIN; CREATE TABLE a (b int); COMMIT; VACUUM a;")));
    assert_true(syntax_accepted(STR("CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; SELECT 2")));
    assert_false(syntax_accepted(STR("BEGIN; CREATE TABLE a (b int); COMMIT; SELEC 1")));
    assert_false(syntax_accepted(STR("SELECT 'unterminated")));
    assert_false(syntax_accepted(STR("SELECT 1 /* unterminated")));
}

static char *repeated(const char *unit, size_t times, size_t *out_n)
{
    size_t n = strlen(unit);
    char *text = malloc(n * times + 1);
    assert_non_null(text);
    for (size_t i = 0; i < times; i++) {
        memcpy(text + i * n, unit, n);
    }
    *out_n = n * times;
    return text;
}

static void test_what_is_too_long_is_not_parsed(void **state)
{
    (void)state;
    size_t n;
    char *text = repeated("SELEC 1; ", LIMIT_SYNTAX / 9 + 1, &n);
    assert_true(syntax_accepted((struct str){text, n}));
    assert_false(syntax_accepted((struct str){text, LIMIT_SYNTAX}));
    free(text);
}

static void test_deep_nesting_is_survived(void **state)
{
    (void)state;
    size_t n;
    char *text = repeated("(", LIMIT_SYNTAX, &n);
    assert_false(syntax_accepted((struct str){text, n}));
    free(text);
    text = repeated("- ", LIMIT_SYNTAX / 2, &n);
    memcpy(text, "SELECT", 6);
    text[n - 2] = '1';
    (void)syntax_accepted((struct str){text, n}); /* either answer is fine */
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_script_is_accepted_as_a_whole_or_not_at_all),
        cmocka_unit_test(test_what_is_too_long_is_not_parsed),
        cmocka_unit_test(test_deep_nesting_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
