/* SPDX-License-Identifier: Apache-2.0 */
#include "pg/login_error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void the_servers_words_are_kept(void **state)
{
    struct login_error e;
    login_error_parse("connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  53300: sorry, too "
                      "many clients already\n"
                      "LOCATION:  InitProcess, proc.c:355\n",
                      "08001", &e);
    assert_true(e.from_server);
    assert_string_equal(e.err.sqlstate, "53300");
    assert_string_equal(e.err.msg, "sorry, too many clients already");
    assert_string_equal(e.detail, "");
    assert_int_equal(e.err.kind, ERR_UPSTREAM);
}

static void detail_and_hint_are_told_apart(void **state)
{
    struct login_error e;
    login_error_parse("connection to server on socket \"/x/.s.PGSQL.5432\" failed: FATAL:  3D000: database "
                      "\"a: b\" does not exist\n"
                      "DETAIL:  It seems to have\njust been dropped.\nHINT:  Look elsewhere.\nLOCATION:  "
                      "InitPostgres, postinit.c:885\n",
                      "08001", &e);
    assert_string_equal(e.err.sqlstate, "3D000");
    assert_string_equal(e.err.msg, "database \"a: b\" does not exist");
    assert_string_equal(e.detail, "It seems to have just been dropped.");
    assert_string_equal(e.hint, "Look elsewhere.");
}

static void severity_may_be_in_any_language(void **state)
{
    struct login_error e;
    login_error_parse("connection to server at \"h\", port 1 failed: "
                      "\xd0\x92\xd0\x90\xd0\x96\xd0\x9d\xd0\x9e:  28P01: nein\n",
                      "08001", &e);
    assert_string_equal(e.err.sqlstate, "28P01");
    assert_string_equal(e.err.msg, "nein");
}

static void libpqs_own_words_become_one_line(void **state)
{
    struct login_error e;
    login_error_parse("connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n"
                      "\tIs the server running on that host and accepting TCP/IP connections?\n",
                      "08001", &e);
    assert_false(e.from_server);
    assert_string_equal(e.err.sqlstate, "08001");
    assert_string_equal(e.err.msg, "connection to server at \"127.0.0.1\", port 1 failed: Connection refused "
                                   "Is the server running on that host and accepting TCP/IP connections?");
}

static void a_refused_password_wins_over_pg_hba(void **state)
{
    struct login_error e;
    login_error_parse("connection to server at \"h\", port 1 failed: FATAL:  28P01: password authentication "
                      "failed for user \"a\"\n"
                      "LOCATION:  auth_failed, auth.c:1\n"
                      "connection to server at \"h\", port 1 failed: FATAL:  28000: no pg_hba.conf entry for "
                      "host \"h\", no encryption\n"
                      "LOCATION:  ClientAuthentication, auth.c:2\n",
                      "08001", &e);
    assert_string_equal(e.err.sqlstate, "28P01");
    login_error_parse(
        "connection to server at \"h\", port 1 failed: FATAL:  28000: no pg_hba.conf entry for host \"h\", "
        "SSL encryption\n"
        "connection to server at \"h\", port 1 failed: FATAL:  3D000: database \"x\" does not exist\n",
        "08001", &e);
    assert_string_equal(e.err.sqlstate, "3D000");
}

static void a_server_that_answers_wins_over_one_that_does_not(void **state)
{
    struct login_error e;
    login_error_parse(
        "connection to server at \"a\", port 1 failed: FATAL:  57P03: the database system is starting up\n"
        "connection to server at \"b\", port 1 failed: Connection refused\n\tIs the server running?\n",
        "08001", &e);
    assert_true(e.from_server);
    assert_string_equal(e.err.sqlstate, "57P03");
    assert_string_equal(e.err.msg, "the database system is starting up");
}

static void nothing_said_still_gives_a_message(void **state)
{
    struct login_error e;
    login_error_parse("", "08006", &e);
    assert_string_equal(e.err.sqlstate, "08006");
    assert_true(strlen(e.err.msg) > 0);
    login_error_parse("\n \n", "08006", &e);
    assert_true(strlen(e.err.msg) > 0);
}

static void what_only_looks_like_a_state_is_text(void **state)
{
    static const char *const texts[] = {"x:  28P0: y", "x:  28p01: y", "x: 28P01: y",
                                        "x:  28P01:",  "x:  28P01",    ":  "};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct login_error e;
        login_error_parse(texts[i], "08001", &e);
        assert_false(e.from_server);
        assert_string_equal(e.err.sqlstate, "08001");
    }
}

static void long_texts_are_cut(void **state)
{
    static char text[20000];
    struct login_error e;
    memset(text, 'x', sizeof text - 1);
    memcpy(text, "F:  28P01: ", 11);
    for (size_t i = 100; i < sizeof text - 1; i += 100) {
        text[i] = '\n';
    }
    login_error_parse(text, "08001", &e);
    assert_int_equal(strlen(e.err.msg), sizeof e.err.msg - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_servers_words_are_kept),
        cmocka_unit_test(detail_and_hint_are_told_apart),
        cmocka_unit_test(severity_may_be_in_any_language),
        cmocka_unit_test(libpqs_own_words_become_one_line),
        cmocka_unit_test(a_refused_password_wins_over_pg_hba),
        cmocka_unit_test(a_server_that_answers_wins_over_one_that_does_not),
        cmocka_unit_test(nothing_said_still_gives_a_message),
        cmocka_unit_test(what_only_looks_like_a_state_is_text),
        cmocka_unit_test(long_texts_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
