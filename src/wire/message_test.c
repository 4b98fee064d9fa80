/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include "wire/frame.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_bytes(const struct buf *b, const char *bytes, size_t n)
{
    assert_int_equal(b->n, n);
    assert_memory_equal(b->p, bytes, n);
}

#define ASSERT_BYTES(b, literal) assert_bytes(b, literal, sizeof(literal) - 1)

static void test_messages_of_a_server_are_laid_out_as_documented(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    put_ready(&b, 'T');
    put_command_complete(&b, STR("SELECT 1"));
    put_parameter_status(&b, STR("a"), STR("b"));
    put_backend_key(&b, 1, 0x01020304);
    put_authentication(&b, 0, STR(""));
    ASSERT_BYTES(&b, "Z\0\0\0\5T"
                     "C\0\0\0\15SELECT 1\0"
                     "S\0\0\0\10a\0b\0"
                     "K\0\0\0\14\0\0\0\1\1\2\3\4"
                     "R\0\0\0\10\0\0\0\0");
}

static void test_messages_of_a_client_are_laid_out_as_documented(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    struct str param = STR("x");
    put_query(&b, STR("q"));
    put_parse(&b, STR("s"), STR("t"));
    put_bind(&b, STR("p"), STR("s"), &param, 1);
    put_execute(&b, STR("p"));
    put_close(&b, 'S', STR("s"));
    put_sync(&b);
    put_flush(&b);
    ASSERT_BYTES(&b, "Q\0\0\0\6q\0"
                     "P\0\0\0\12s\0t\0\0\0"
                     "B\0\0\0\23p\0s\0\0\0\0\1\0\0\0\1x\0\0"
                     "E\0\0\0\12p\0\0\0\0\0"
                     "C\0\0\0\7Ss\0"
                     "S\0\0\0\4"
                     "H\0\0\0\4");
}

static void test_an_error_carries_only_the_fields_it_has(void **state)
{
    (void)state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    struct problem problem = {
        .severity = "ERROR", .sqlstate = "EX010", .message = STR("no"), .hint = STR("so")};
    put_error(&b, &problem);
    struct str body = {b.p + FRAME_HEAD, b.n - FRAME_HEAD};
    assert_true(str_eq(message_field(body, 'C'), STR("EX010")));
    assert_true(str_eq(message_field(body, 'M'), STR("no")));
    assert_true(str_eq(message_field(body, 'H'), STR("so")));
    assert_int_equal(message_field(body, 'D').n, 0);
    assert_int_equal(b.p[b.n - 1], 0);
}

static void test_broken_fields_end_the_walk(void **state)
{
    (void)state;
    static const struct str broken[] = {{"", 0}, {"M", 1}, {"Mabc", 4}, {"\0", 1}, {"Mabc\0D", 6}};
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        assert_int_equal(message_field(broken[i], 'D').n, 0);
    }
}

static void test_rows_are_checked_against_what_remains(void **state)
{
    (void)state;
    struct str columns[2];
    assert_int_equal(message_row((struct str){"\0\2\0\0\0\1a\xff\xff\xff\xff", 11}, columns, 2), 2);
    assert_true(str_eq(columns[0], STR("a")));
    assert_null(columns[1].p);
    static const struct str bad[] = {{"\0\3", 2},           {"\0\1", 2}, {"\0\1\0\0\0\2a", 7},
                                     {"\0\1\0\0\0\1ab", 8}, {"\0", 1},   {"\0\1\x7f\xff\xff\xff", 6}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(message_row(bad[i], columns, 2), -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_of_a_server_are_laid_out_as_documented),
        cmocka_unit_test(test_messages_of_a_client_are_laid_out_as_documented),
        cmocka_unit_test(test_an_error_carries_only_the_fields_it_has),
        cmocka_unit_test(test_broken_fields_end_the_walk),
        cmocka_unit_test(test_rows_are_checked_against_what_remains),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
