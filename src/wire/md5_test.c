/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/md5.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t salt[MD5_SALT_SIZE] = {'a', 'b', 'c', 'd'};
static const char answer[] = "md55da4389c71da4b83c80cb3a04753a5b6"; /* recorded from libpq 15 */

static int check(struct str password, struct str user, struct str text)
{
    struct err err = ERR_INIT;
    return md5_password_check(password, user, salt, text, &err);
}

static void digest_is_libpq_s(void **state)
{
    struct err err = ERR_INIT;
    char out[MD5_ANSWER_SIZE + 1];
    assert_int_equal(md5_password_digest(STR("proxy_password"), STR("postgres"), salt, out, &err), 0);
    assert_string_equal(out, answer);
}

static void right_answer_is_accepted(void **state)
{
    assert_int_equal(check(STR("proxy_password"), STR("postgres"), str_c(answer)), MD5_OK);
}

static void everything_else_is_denied(void **state)
{
    struct str good = str_c(answer);
    assert_int_equal(check(STR("proxy_passwore"), STR("postgres"), good), MD5_DENIED);
    assert_int_equal(check(STR("proxy_password"), STR("postgre"), good), MD5_DENIED);
    assert_int_equal(check((struct str){NULL, 0}, STR("postgres"), good), MD5_DENIED);
    assert_int_equal(check(STR("proxy_password"), STR("postgres"), (struct str){NULL, 0}), MD5_DENIED);
    for (size_t n = 0; n < good.n; n++) {
        assert_int_equal(check(STR("proxy_password"), STR("postgres"), (struct str){answer, n}), MD5_DENIED);
    }
    assert_int_equal(check(STR("proxy_password"), STR("postgres"), (struct str){answer, sizeof answer}),
                     MD5_DENIED);
    assert_int_equal(
        check(STR("proxy_password"), STR("postgres"), STR("MD55da4389c71da4b83c80cb3a04753a5b6")),
        MD5_DENIED);
}

static void every_byte_of_the_answer_counts(void **state)
{
    for (size_t i = 0; i < MD5_ANSWER_SIZE; i++) {
        char changed[sizeof answer];
        memcpy(changed, answer, sizeof answer);
        changed[i] ^= 1;
        assert_int_equal(check(STR("proxy_password"), STR("postgres"), str_c(changed)), MD5_DENIED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_is_libpq_s),
        cmocka_unit_test(right_answer_is_accepted),
        cmocka_unit_test(everything_else_is_denied),
        cmocka_unit_test(every_byte_of_the_answer_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
