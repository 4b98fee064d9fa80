/* SPDX-License-Identifier: Apache-2.0 */
#include "pg/conninfo.h"

#include "base/str.h"
#include "pg/login.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct conninfo build(const char *url, bool require_ssl, const char *const (*extra)[2], size_t n)
{
    struct login_params params = {.url = url, .require_ssl = require_ssl, .extra = extra, .extra_n = n};
    struct conninfo info;
    struct err err = ERR_INIT;
    assert_int_equal(conninfo_build(&params, &info, &err), 0);
    return info;
}

static void check(const char *url, bool require_ssl, const char *keyword, const char *expected)
{
    struct conninfo info = build(url, require_ssl, NULL, 0);
    const char *value = conninfo_get(&info, keyword);
    if (expected) {
        assert_non_null(value);
        assert_string_equal(value, expected);
    } else {
        assert_null(value);
    }
    conninfo_deinit(&info);
}

static void tls_follows_the_option_and_keeps_stricter_urls(void **state)
{
    check("postgres://u@h/d", true, "sslmode", "require");
    check("postgres://u@h/d", false, "sslmode", "prefer");
    check("postgres://u@h/d?sslmode=disable", true, "sslmode", "require");
    check("postgres://u@h/d?sslmode=disable", false, "sslmode", "disable");
    check("postgres://u@h/d?sslmode=require", false, "sslmode", "prefer");
    check("postgres://u@h/d?sslmode=verify-full", true, "sslmode", "verify-full");
    check("postgres://u@h/d?sslmode=verify-ca", false, "sslmode", "verify-ca");
}

static void defaults_give_way_to_the_url(void **state)
{
    check("postgres://u@h/d", true, "keepalives_idle", "60");
    check("postgres://u@h/d?keepalives_idle=7", true, "keepalives_idle", "7");
    check("postgres://u@h/d?gssencmode=require", true, "gssencmode", "disable");
    check("postgres://u:p%40ss@h/d", true, "password", "p@ss");
}

static void ours_override_and_options_are_joined(void **state)
{
    const char *const extra[][2] = {{"application_name", "psql"}, {"user", NULL}, {"options", "-c a.b=2"}};
    struct conninfo info = build("postgres://u@h/d?application_name=x&options=-c%20a.b%3D1", false, extra, 3);
    assert_string_equal(conninfo_get(&info, "application_name"), "psql");
    assert_string_equal(conninfo_get(&info, "user"), "u");
    assert_string_equal(conninfo_get(&info, "options"), "-c a.b=1 -c a.b=2");
    assert_null(info.keywords[info.n]);
    conninfo_deinit(&info);
    info = build("postgres://u@h/d", false, extra, 3);
    assert_string_equal(conninfo_get(&info, "options"), "-c a.b=2");
    conninfo_deinit(&info);
}

static void a_bad_url_is_told_without_its_text(void **state)
{
    struct login_params params = {.url = "postgres://u:geheim@h:x:y/d?nope=1"};
    struct conninfo info;
    struct err err = ERR_INIT;
    assert_int_equal(conninfo_build(&params, &info, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_string_equal(err.sqlstate, "08001");
    assert_null(strstr(err.msg, "geheim"));
}

static void names_are_told_from_addresses(void **state)
{
    static const struct {
        const char *url;
        bool names;
    } rows[] = {
        {"postgres://u@127.0.0.1/d", false},
        {"postgres://u@[::1]/d", false},
        {"postgres://u@h/d", true},
        {"host=/run/postgresql", false},
        {"host=@abstract", false},
        {"dbname=d", false},
        {"host=10.0.0.1,db.example", true},
        {"host=h hostaddr=10.0.0.1", false},
        {"host=10.0.0.1,10.0.0.2 port=1,2", false},
        {"host=,h", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conninfo info = build(rows[i].url, false, NULL, 0);
        assert_int_equal(conninfo_has_names(&info), rows[i].names);
        conninfo_deinit(&info);
    }
}

/* localhost is in /etc/hosts everywhere; how many addresses it has differs. */
static void names_become_addresses(void **state)
{
    struct conninfo info = build("postgres://u@10.0.0.9:1,localhost:2/d", false, NULL, 0);
    struct err err = ERR_INIT;
    assert_int_equal(conninfo_host_count(&info), 2);
    assert_int_equal(conninfo_resolve(&info, &err), 0);
    size_t n = conninfo_host_count(&info);
    assert_true(n >= 2);
    assert_true(str_starts_with(str_c(conninfo_get(&info, "host")), STR("10.0.0.9,localhost")));
    assert_true(str_starts_with(str_c(conninfo_get(&info, "port")), STR("1,2")));
    assert_true(str_starts_with(str_c(conninfo_get(&info, "hostaddr")), STR(",")));
    assert_true(strstr(conninfo_get(&info, "hostaddr"), "127.0.0.1") ||
                strstr(conninfo_get(&info, "hostaddr"), "::1"));
    conninfo_deinit(&info);
}

static void a_name_without_address_is_named(void **state)
{
    struct conninfo info = build("postgres://u@nobody.invalid/d", false, NULL, 0);
    struct err err = ERR_INIT;
    assert_int_equal(conninfo_resolve(&info, &err), -1);
    assert_string_equal(err.sqlstate, "08001");
    assert_non_null(strstr(err.msg, "nobody.invalid"));
    conninfo_deinit(&info);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_follows_the_option_and_keeps_stricter_urls),
        cmocka_unit_test(defaults_give_way_to_the_url),
        cmocka_unit_test(ours_override_and_options_are_joined),
        cmocka_unit_test(a_bad_url_is_told_without_its_text),
        cmocka_unit_test(names_are_told_from_addresses),
        cmocka_unit_test(names_become_addresses),
        cmocka_unit_test(a_name_without_address_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
