/* SPDX-License-Identifier: Apache-2.0 */
#include "sync/subprotocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MISSING  "Missing satellite websocket subprotocol"
#define RANGE(v) "Cannot connect satellite version " v ": this server requires >= 0.10.0 and <= 0.12.0"

static void versions_are_compared(void **state)
{
    static const struct {
        const char *offers; /* apart by spaces */
        int status;
        const char *text; /* or the offer taken */
    } rows[] = {
        {"electric.0.10", 101, "electric.0.10"},
        {"electric.0.11", 101, "electric.0.11"},
        {"electric.0.12", 101, "electric.0.12"},
        {"other electric.0.12 more", 101, "electric.0.12"},
        {"electric.0.9", 400, RANGE("0.9.0")},
        {"electric.0.13", 400, RANGE("0.13.0")},
        {"electric.1.12", 400, RANGE("1.12.0")},
        {"electric.0.184467440737095516", 400, MISSING}, /* 20 bytes */
        {"electric.0.1844674407370955", 400, RANGE("0.1844674407370955.0")},
        {"", 400, MISSING},
        {"other", 400, MISSING},
        {"Electric.0.12", 400, MISSING},
        {"electric.0.12 electric.0.11", 400, MISSING},
        {"electric.", 400, MISSING},
        {"electric.0", 400, MISSING},
        {"electric.0.", 400, MISSING},
        {"electric..12", 400, MISSING},
        {"electric.0.12.1", 400, MISSING},
        {"electric.0.012", 400, MISSING},
        {"electric.0.12-dev", 400, MISSING},
        {"electric.0.+12", 400, MISSING},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str offers[4], taken = {"", 0};
        char text[SUBPROTOCOL_TEXT] = "";
        size_t n = 0;
        for (struct str rest = str_c(rows[i].offers); rest.n > 0;) {
            offers[n++] = str_cut(&rest, ' ');
        }
        assert_int_equal(subprotocol_check(offers, n, NULL, &taken, text), rows[i].status);
        assert_true(str_eq(rows[i].status == 101 ? taken : str_c(text), str_c(rows[i].text)));
    }
}

static void nobody_connects_before_the_database_is_there(void **state)
{
    struct str offers[] = {STR("electric.0.12"), STR("electric.0.9")}, taken;
    char text[SUBPROTOCOL_TEXT];
    assert_int_equal(subprotocol_check(offers, 1, "initialization", &taken, text), 503);
    assert_string_equal(text, "Postgres connection is not ready: initialization...");
    assert_int_equal(subprotocol_check(offers + 1, 1, "initialization", &taken, text), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_are_compared),
        cmocka_unit_test(nobody_connects_before_the_database_is_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
