/* SPDX-License-Identifier: Apache-2.0 */
#include "app/database_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>

static void url_is_taken_apart(void **state)
{
    static const struct {
        const char *text, *user, *password, *host;
        const char *port, *name, *sslmode, *attrs;
    } cases[] = {
        {"postgres://u@h", "u", NULL, "h", "5432", "u", NULL},
        {"postgresql://u:p@h:1/d?sslmode=require", "u", "p", "h", "1", "d", "require"},
        {"PostgreSQL://u:@h:/", "u", "", "h", "5432", "u", NULL},
        {"postgres://a%40b:%2F%3A%25@h/x%20y", "a@b", "/:%", "h", "5432", "x y", NULL},
        {"postgres://u:p@x@h/d", "u", "p@x", "h", "5432", "d", NULL},
        {"postgres://u:a:b@h/d", "u", "a:b", "h", "5432", "d", NULL},
        {"postgres://u@[::1]:6543/d", "u", NULL, "::1", "6543", "d", NULL},
        {"postgres://u@[fe80::1]/d?", "u", NULL, "fe80::1", "5432", "d", NULL},
        {"postgres://u@%2Fvar%2Frun%2Fpostgresql:5433/d", "u", NULL, "/var/run/postgresql", "5433", "d",
         NULL},
        {"postgres://u@h?sslmode=disable&&", "u", NULL, "h", "5432", "u", "disable"},
        {"postgres://u@a:1,[::1],c:3/d", "u", NULL, "a,::1,c", "1,5432,3", "d", NULL, "primary"},
        {"postgres://u@a,b/?target_session_attrs=read-write", "u", NULL, "a,b", "5432,5432", "u", NULL,
         "read-write"},
        {"  postgres://u@h/d \n", "u", NULL, "h", "5432", "d", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct database_url url = DATABASE_URL_INIT;
        CLEANUP(buf_deinit) struct buf fault = BUF_INIT(1024);
        if (database_url_parse(cases[i].text, &url, &fault) < 0) {
            fail_msg("%s: %s", cases[i].text, buf_cstr(&fault));
        }
        assert_string_equal(url.user, cases[i].user);
        assert_int_equal(url.password != NULL, cases[i].password != NULL);
        if (url.password) {
            assert_string_equal(url.password, cases[i].password);
        }
        assert_string_equal(url.host, cases[i].host);
        assert_string_equal(url.port, cases[i].port);
        assert_string_equal(url.name, cases[i].name);
        assert_int_equal(url.sslmode != NULL, cases[i].sslmode != NULL);
        if (url.sslmode) {
            assert_string_equal(url.sslmode, cases[i].sslmode);
        }
        assert_int_equal(url.session_attrs != NULL, cases[i].attrs != NULL);
        if (url.session_attrs) {
            assert_string_equal(url.session_attrs, cases[i].attrs);
        }
        database_url_deinit(&url);
        database_url_deinit(&url);
    }
}

static void faults_are_named(void **state)
{
    static const struct {
        const char *text, *fault;
    } cases[] = {
        {"mysql://u@h/d", "has invalid URL scheme: \"mysql\""},
        {"u@h/d", "has invalid URL scheme: \"\""},
        {"://u@h", "has invalid URL scheme: \"\""},
        {"secret", "has invalid URL scheme: \"\""},
        {"postgres", "has invalid URL scheme: \"\""},
        {"postgres:/u@h", "missing host"},
        {"postgres://h/d", "has invalid or missing username"},
        {"postgres://", "has invalid or missing username"},
        {"postgres://@h/d", "has invalid or missing username"},
        {"postgres://:p@h/d", "has invalid or missing username"},
        {"postgres://%zz@h/d", "has invalid or missing username"},
        {"postgres://a%00@h/d", "has invalid or missing username"},
        {"postgres://u:%f@h/d",
         "has an invalid password: write % as %25, and each other special character as % "
         "and two hexadecimal digits"},
        {"postgres://u@/d", "missing host"},
        {"postgres://u@:5432/d", "missing host"},
        {"postgres://u@h1%2Ch2/d", "has invalid host: \"h1%2Ch2\""},
        {"postgres://u@h1,/d", "missing host"},
        {"postgres://u@,h2/d", "missing host"},
        {"postgres://u@h1,h2:0/d", "has invalid port: \"0\""},
        {"postgres://u@%2Frun,h2/d", "names a unix socket and other hosts: only one of them is possible"},
        {"postgres://u@a,b,c,d,e,f,g,h,i/d", "has more than 8 hosts"},
        {"postgres://u@a,b/d?target_session_attrs=any",
         "\"target_session_attrs\" must be primary or read-write, not \"any\""},
        {"postgres://u@[::1/d", "has an invalid host: the bracket of the IPv6 address is not closed"},
        {"postgres://u@[::1]x/d", "has an invalid host: only a port may follow the IPv6 address"},
        {"postgres://u@h:0/d", "has invalid port: \"0\""},
        {"postgres://u@h:65536", "has invalid port: \"65536\""},
        {"postgres://u@h:x", "has invalid port: \"x\""},
        {"postgres://u@h/%", "has invalid database name: \"%\""},
        {"postgres://u@h?sslmode=sure", "has invalid \"sslmode\" value: \"sure\""},
        {"postgres://u@h?sslmode", "has invalid \"sslmode\" value: \"\""},
        {"postgres://u@h?sslmode=verify-full",
         "has unsupported \"sslmode\" value \"verify-full\". Consider using the "
         "DATABASE_REQUIRE_SSL configuration option"},
        {"postgres://u@h?sslmode=verify-ca",
         "has unsupported \"sslmode\" value \"verify-ca\". Consider using the "
         "DATABASE_REQUIRE_SSL configuration option"},
        {"postgres://u@h?replication=database",
         "has unsupported \"replication\" query option. Busbar opens both a "
         "replication connection and regular connections to Postgres as needed"},
        {"postgres://u@h/d?b=1&a=2&b=3&sslmode=disable", "has unsupported query options: \"a\", \"b\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct database_url url = DATABASE_URL_INIT;
        CLEANUP(buf_deinit) struct buf fault = BUF_INIT(1024);
        assert_int_equal(database_url_parse(cases[i].text, &url, &fault), -1);
        assert_string_equal(buf_cstr(&fault), cases[i].fault);
        assert_null(url.user);
    }
}

static void length_is_limited(void **state)
{
    struct database_url url = DATABASE_URL_INIT;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(20000);
    CLEANUP(buf_deinit) struct buf fault = BUF_INIT(1024);
    buf_put_c(&text, "postgres://u@");
    while (text.n <= 8192) {
        buf_put_byte(&text, 'h');
    }
    assert_int_equal(database_url_parse(buf_cstr(&text), &url, &fault), -1);
    assert_string_equal(buf_cstr(&fault), "is longer than 8192 bytes");
}

static void password_is_masked(void **state)
{
    struct database_url url = DATABASE_URL_INIT;
    CLEANUP(buf_deinit) struct buf fault = BUF_INIT(1024);
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(1024);
    assert_int_equal(database_url_parse("postgres://a%40b:secret@[::1]/x%20y?sslmode=prefer", &url, &fault),
                     0);
    database_url_put_masked(&url, &out);
    assert_string_equal(buf_cstr(&out), "postgresql://a%40b:********@[::1]:5432/x%20y?sslmode=prefer");
    database_url_deinit(&url);
    buf_reset(&out);
    assert_int_equal(database_url_parse("postgres://u:p@a,[::1]:2/d", &url, &fault), 0);
    database_url_put_masked(&url, &out);
    assert_string_equal(buf_cstr(&out), "postgresql://u:********@a:5432,[::1]:2/d");
    database_url_deinit(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(url_is_taken_apart),
        cmocka_unit_test(faults_are_named),
        cmocka_unit_test(length_is_limited),
        cmocka_unit_test(password_is_masked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
