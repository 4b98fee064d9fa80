/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/errors.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static bool is_sqlstate(const char *s)
{
    for (int i = 0; i < 5; i++) {
        if (!isdigit((unsigned char)s[i]) && !isupper((unsigned char)s[i])) {
            return false;
        }
    }
    return s[5] == '\0';
}

static void test_every_error_can_be_shown(void **state)
{
    (void)state;
    for (int e = 0; e < PROXY_ERRORS; e++) {
        const struct proxy_error_row *row = &proxy_errors[e];
        struct proxy_error_text text;
        struct problem p = proxy_fatal((enum proxy_error)e, "it", &text);
        print_message("%s  %s\n", row->sqlstate, text.message);
        assert_true(is_sqlstate(row->sqlstate));
        assert_true(p.message.n > 0);
        assert_null(strchr(text.message, '%'));
        assert_int_not_equal(text.message[p.message.n - 1],
                             '.'); /* PostgreSQL's style: a message is no sentence */
        if (p.hint.n > 0) {
            assert_int_equal(p.hint.p[p.hint.n - 1], '.'); /* a hint is */
        }
    }
}

static void test_long_names_are_cut_and_not_followed(void **state)
{
    (void)state;
    char name[5000];
    struct proxy_error_text text;
    memset(name, '%', sizeof name);
    name[sizeof name - 1] = '\0';
    struct problem p = proxy_fatal(PROXY_WRONG_PASSWORD, name, &text);
    assert_int_equal(p.message.n, sizeof text.message - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_error_can_be_shown),
        cmocka_unit_test(test_long_names_are_cut_and_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
