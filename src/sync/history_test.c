/* SPDX-License-Identifier: Apache-2.0 */
/* Of a history, what clients can apply stays; what they cannot is left out with all that depends on it. */
#include "sync/history.h"

#include "schema/fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

static struct arena arena;

static int tear_down(void **state)
{
    arena_deinit(&arena);
    return 0;
}

static const char *create(const char *name, const char *foreign_keys)
{
    const char *columns = arena_printf(&arena, "%s,%s", fx_column(&arena, "id", "uuid", "uuid", NOT_NULL),
                                       fx_column(&arena, "ref", "uuid", "uuid", NULLABLE));
    return fx_create_table(&arena, (struct fx_table){name, columns, "\"id\"", foreign_keys, NULL, NULL});
}

static const char *add(const char *table, const char *name)
{
    return fx_add_column(&arena, table, fx_column(&arena, name, "text", "text", NULLABLE), "");
}

/* Each op a version of its own: "1", "2", … Returns the versions that are left out, "2 4". */
static const char *left_out(const char *const *ops, size_t n)
{
    struct history_command *commands = arena_alloc_array(&arena, n + 1, sizeof *commands);
    struct history_fault *faults;
    struct err err = ERR_INIT;
    size_t faults_n;
    const char *text = "";
    for (size_t i = 0; i < n; i++) {
        commands[i] =
            (struct history_command){str_c(arena_printf(&arena, "%zu", i + 1)),
                                     ops[i][0] == '{' ? fx_command(&arena, ops[i], NULL) : str_c(ops[i])};
    }
    assert_int_equal(history_sift(&arena, commands, n, &faults, &faults_n, &err), 0);
    for (size_t i = 0; i < faults_n; i++) {
        assert_true(*faults[i].reason);
        text = arena_printf(&arena, "%s%s%.*s", text, i ? " " : "", STR_ARG(faults[i].version));
    }
    return text;
}

#define LEFT_OUT(...) \
    left_out((const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void nothing_is_left_out_of_a_good_history(void **state)
{
    assert_string_equal(left_out(NULL, 0), "");
    assert_string_equal(LEFT_OUT(create("a", NULL), add("a", "x"), create("b", NULL)), "");
}

static void what_is_no_operation_is_left_out(void **state)
{
    assert_string_equal(LEFT_OUT(create("a", NULL), "\"poison\"", add("a", "x")), "2");
    assert_string_equal(LEFT_OUT("[{\"op\":\"explode\"}]", create("a", NULL), "[1]", "{}"), "1 3 4");
}

/* Version 3 alone would pass; but clients' a has not what the server's has. */
static void later_changes_of_its_table_are_left_out_too(void **state)
{
    assert_string_equal(
        LEFT_OUT(create("a", NULL), add("a", "id"), add("a", "x"), create("b", NULL), add("b", "x")), "2 3");
}

static void what_refers_to_a_table_left_out_is_left_out(void **state)
{
    const char *key = fx_foreign_key(&arena, "k", "\"ref\"", "a", "\"id\"", "aa");
    assert_string_equal(
        LEFT_OUT("[{\"op\":\"create_table\",\"table\":{\"schema\":\"public\",\"name\":\"a\"}}]",
                 create("b", key), create("c", NULL), add("b", "x")),
        "1 2 4");
}

static void a_table_that_is_dropped_waits_no_more(void **state)
{
    const char *drop = fx_drop_table(&arena, "a"), *bad = add("a", "id"), *fine = add("a", "x");
    assert_string_equal(LEFT_OUT(create("a", NULL), bad, fine, drop, create("a", NULL), fine), "2 3");
    /* Nor does one that clients never had. */
    assert_string_equal(LEFT_OUT("{}", drop, create("a", NULL), fine), "1");
    /* It waits again for the next one that is left out. */
    assert_string_equal(LEFT_OUT(create("a", NULL), bad, drop, create("a", NULL), bad, fine), "2 5 6");
}

static void a_missing_table_is_its_own_fault_alone(void **state)
{
    const char *key = fx_foreign_key(&arena, "k", "\"ref\"", "nowhere", "\"id\"", "aa");
    assert_string_equal(LEFT_OUT(create("a", NULL), create("b", key), create("c", NULL)), "2");
}

static void all_of_a_version_goes(void **state)
{
    struct history_command commands[] = {{STR("v1"), fx_command(&arena, create("a", NULL), NULL)},
                                         {STR("v2"), fx_command(&arena, create("b", NULL), NULL)},
                                         {STR("v2"), STR("0")},
                                         {STR("v3"), fx_command(&arena, add("b", "x"), NULL)},
                                         {STR("v4"), fx_command(&arena, add("a", "x"), NULL)}};
    struct history_fault *faults;
    struct err err = ERR_INIT;
    size_t n;
    assert_int_equal(history_sift(&arena, commands, 5, &faults, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_memory_equal(faults[0].version.p, "v2", 2);
    assert_memory_equal(faults[1].version.p, "v3", 2);
    assert_string_equal(faults[1].reason, "it changes a table of migration v2, which is left out");
}

static void the_number_of_trials_is_bounded(void **state)
{
    const char *ops[HISTORY_FAULTS + 3];
    for (size_t i = 0; i < HISTORY_FAULTS + 2; i++) {
        ops[i] = "0";
    }
    ops[HISTORY_FAULTS + 2] = create("a", NULL);
    const char *text = left_out(ops, HISTORY_FAULTS + 3);
    assert_non_null(strstr(text, " 102 103")); /* the last unseen */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nothing_is_left_out_of_a_good_history, tear_down),
        cmocka_unit_test_teardown(what_is_no_operation_is_left_out, tear_down),
        cmocka_unit_test_teardown(later_changes_of_its_table_are_left_out_too, tear_down),
        cmocka_unit_test_teardown(what_refers_to_a_table_left_out_is_left_out, tear_down),
        cmocka_unit_test_teardown(a_table_that_is_dropped_waits_no_more, tear_down),
        cmocka_unit_test_teardown(a_missing_table_is_its_own_fault_alone, tear_down),
        cmocka_unit_test_teardown(all_of_a_version_goes, tear_down),
        cmocka_unit_test_teardown(the_number_of_trials_is_bounded, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
