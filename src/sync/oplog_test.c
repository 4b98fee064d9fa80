/* SPDX-License-Identifier: Apache-2.0 */
/* Each frame is read back with protobuf-c, and must be what protobuf-c would have written. */
#include "sync/oplog.h"

#include "sync/frame.h"
#include "sync/satellite.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

typedef Electric__Satellite__SatOpLog op_log;
typedef Electric__Satellite__SatTransOp trans_op;
typedef Electric__Satellite__SatOpRow sat_row;

struct bench {
    struct arena arena;
    struct buf frame;
    struct delivery *d;
    struct oplog o;
};

static struct column columns[] = {
    {.name = STR("id"), .type_name = STR("uuid"), .not_null = true},
    {.name = STR("data"), .type_name = STR("bytea")},
    {.name = STR("at"), .type_name = STR("timestamptz")},
    {.name = STR("local"), .type_name = STR("timestamp")},
    {.name = STR("text"), .type_name = STR("text")},
    {.name = STR("b"), .type_name = STR("bool")},
    {.name = STR("n"), .type_name = STR("int8")},
    {.name = STR("part"), .type_name = STR("int4"), .not_null = true},
    {.name = STR("last"), .type_name = STR("varchar")},
};
static struct str keys[] = {STR("part"), STR("id")};
static const struct table table = {
    .schema = STR("public"),
    .name = STR("things"),
    .columns = columns,
    .n_columns = ARRAY_LEN(columns),
    .primary_key = {.columns = {keys, ARRAY_LEN(keys)}},
};

#define V(lit) ((struct value){(lit), sizeof(lit) - 1})
#define NONE   ((struct value){NULL, 0})

static const struct value row_1[] = {V("i1"),
                                     V("\\x00ff1A"),
                                     V("2024-01-02 03:04:05.67+00"),
                                     V("2024-01-02 03:04:05"),
                                     V(""),
                                     V("t"),
                                     NONE,
                                     V("7"),
                                     NONE};
static const struct value row_2[] = {V("i1"), NONE,    V("infinity"), NONE,  V("x"),
                                     V("f"),  V("-1"), V("7"),        V("z")};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    b->d = delivery_new(DELIVERY_TRANSACTION, 5, 6);
    oplog_start(&b->o, b->d, &b->frame);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    delivery_unref(b->d);
    buf_deinit(&b->frame);
    arena_deinit(&b->arena);
    free(b);
    return 0;
}

static op_log *read_frame(const struct bench *b, size_t i)
{
    struct str s = packet_content(b->d->frames[i]);
    assert_int_equal(s.p[0], SAT_OP_LOG);
    op_log *log = electric__satellite__sat_op_log__unpack(NULL, s.n - 1, (const uint8_t *)s.p + 1);
    assert_non_null(log);
    size_t n = electric__satellite__sat_op_log__get_packed_size(log);
    uint8_t *again = malloc(n + 1);
    electric__satellite__sat_op_log__pack(log, again);
    assert_int_equal(n, s.n - 1);
    assert_memory_equal(again, s.p + 1, n);
    free(again);
    return log;
}

static void free_frame(op_log *log)
{
    electric__satellite__sat_op_log__free_unpacked(log, NULL);
}

static void assert_bytes(ProtobufCBinaryData got, const char *p, size_t n)
{
    assert_int_equal(got.len, n);
    assert_memory_equal(got.data, p, n);
}

#define ASSERT_BYTES(got, lit) assert_bytes(got, lit, sizeof(lit) - 1)

static void assert_row_1(const sat_row *r)
{
    ASSERT_BYTES(r->nulls_bitmask, "\x02\x80"); /* columns 6 and 8 of 9 */
    assert_int_equal(r->n_values, 9);
    ASSERT_BYTES(r->values[0], "i1");
    ASSERT_BYTES(r->values[1], "\x00\xff\x1a");
    ASSERT_BYTES(r->values[2], "2024-01-02 03:04:05.67Z");
    ASSERT_BYTES(r->values[3], "2024-01-02 03:04:05");
    assert_int_equal(r->values[4].len, 0);
    ASSERT_BYTES(r->values[5], "t");
    assert_int_equal(r->values[6].len, 0);
    ASSERT_BYTES(r->values[7], "7");
}

static void assert_row_2(const sat_row *r)
{
    ASSERT_BYTES(r->nulls_bitmask, "\x50\x00");
    ASSERT_BYTES(r->values[2], "infinity");
    ASSERT_BYTES(r->values[6], "-1");
    ASSERT_BYTES(r->values[8], "z");
}

static void a_transaction_has_its_layout(void **state)
{
    struct bench *b = *state;
    static const struct str tags[] = {STR("postgres_1@1000"), STR("c@2000")};
    struct oplog_tags two = {tags, 2}, none = {NULL, 0};
    struct oplog_table t = oplog_table(&b->arena, &table, 300);
    struct oplog_transaction head = {.commit_ms = 1700000000123,
                                     .lsn = 0x123456789abcdef0,
                                     .txid = 0,
                                     .origin = STR("postgres_1"),
                                     .is_migration = true};
    oplog_begin(&b->o, &head);
    oplog_migrate(&b->o, STR("\x0a\x01v"));
    oplog_insert(&b->o, &t, row_1, two);
    oplog_update(&b->o, &t, row_1, row_2, two);
    oplog_delete(&b->o, &t, row_2, none);
    oplog_gone(&b->o, &t, row_1);
    oplog_commit(&b->o, &head);
    oplog_end(&b->o);
    assert_int_equal(b->d->n_frames, 1);
    op_log *log = read_frame(b, 0);
    assert_int_equal(log->n_ops, 7);

    const Electric__Satellite__SatOpBegin *begin = log->ops[0]->begin;
    assert_true(begin->commit_timestamp == 1700000000123);
    ASSERT_BYTES(begin->lsn, "1311768467463790320");
    assert_string_equal(begin->origin, "postgres_1");
    assert_true(begin->is_migration);
    assert_int_equal(begin->additional_data_ref, 0);
    assert_int_equal(begin->has_transaction_id_case,
                     ELECTRIC__SATELLITE__SAT_OP_BEGIN__HAS_TRANSACTION_ID_TRANSACTION_ID);
    assert_string_equal(log->ops[1]->migrate->version, "v");

    const Electric__Satellite__SatOpInsert *insert = log->ops[2]->insert;
    assert_int_equal(insert->relation_id, 300);
    assert_row_1(insert->row_data);
    assert_int_equal(insert->n_tags, 2);
    assert_string_equal(insert->tags[0], "postgres_1@1000");
    assert_string_equal(insert->tags[1], "c@2000");

    const Electric__Satellite__SatOpUpdate *update = log->ops[3]->update;
    assert_row_2(update->row_data);
    assert_row_1(update->old_row_data);
    assert_int_equal(update->n_tags, 2);

    assert_row_2(log->ops[4]->delete_->old_row_data);
    assert_int_equal(log->ops[4]->delete_->n_tags, 0);

    const sat_row *key = log->ops[5]->gone->pk_data;
    ASSERT_BYTES(key->nulls_bitmask, "\x7e\x80");
    assert_int_equal(key->n_values, 9);
    ASSERT_BYTES(key->values[0], "i1");
    assert_int_equal(key->values[1].len, 0);
    ASSERT_BYTES(key->values[7], "7");

    const Electric__Satellite__SatOpCommit *commit = log->ops[6]->commit;
    assert_true(commit->commit_timestamp == 1700000000123);
    ASSERT_BYTES(commit->lsn, "1311768467463790320");
    free_frame(log);
}

static void values_are_converted_by_type(void **state)
{
    static const struct {
        size_t column;
        struct value in;
        struct str out;
    } rows[] = {
        {1, V("\\x"), {"", 0}},
        {1, V("\\xdeadBEEF"), STR("\xde\xad\xbe\xef")},
        {1, V(""), {"", 0}},
        {2, V("2024-01-02 03:04:05+00"), STR("2024-01-02 03:04:05Z")},
        {2, V("0044-03-15 12:00:00+00 BC"), STR("0044-03-15 12:00:00Z BC")},
        {2, V("-infinity"), STR("-infinity")},
        {2, V("infinity"), STR("infinity")},
        {3, V("2024-01-02 03:04:05.123456"), STR("2024-01-02 03:04:05.123456")},
        {4, V("\\x00"), STR("\\x00")},
        {4, V("a+00"), STR("a+00")},
        {4, V("\xc3\xa9"), STR("\xc3\xa9")},
    };
    struct bench *b = *state;
    struct oplog_table t = oplog_table(&b->arena, &table, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct value row[ARRAY_LEN(columns)] = {0};
        row[rows[i].column] = rows[i].in;
        oplog_insert(&b->o, &t, row, (struct oplog_tags){0});
    }
    oplog_end(&b->o);
    op_log *log = read_frame(b, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_bytes(log->ops[i]->insert->row_data->values[rows[i].column], rows[i].out.p, rows[i].out.n);
    }
    free_frame(log);
}

static void frames_are_cut_by_operations_and_by_size(void **state)
{
    struct bench *b = *state;
    struct oplog_table t = oplog_table(&b->arena, &table, 1);
    size_t big_n = 3 * OPLOG_BYTES, seen = 0;
    char *big = malloc(big_n);
    memset(big, 'b', big_n);
    for (int i = 0; i < 2 * OPLOG_OPS + 1; i++) {
        oplog_insert(&b->o, &t, row_1, (struct oplog_tags){0});
    }
    for (int i = 0; i < 3; i++) {
        struct value row[ARRAY_LEN(columns)] = {0};
        row[4] = (struct value){big, (uint32_t)big_n};
        oplog_update(&b->o, &t, row, row, (struct oplog_tags){0});
    }
    oplog_end(&b->o);
    assert_int_equal(b->d->n_frames, 5); /* 100, 100, 1 and a big one, two big ones */
    size_t bytes = 0;
    for (size_t i = 0; i < b->d->n_frames; i++) {
        op_log *log = read_frame(b, i);
        assert_in_range(log->n_ops, 1, OPLOG_OPS);
        seen += log->n_ops;
        bytes += b->d->frames[i]->n;
        free_frame(log);
    }
    assert_int_equal(seen, 2 * OPLOG_OPS + 4);
    assert_int_equal(b->d->bytes, bytes);
    free(big);
}

static void the_buffer_serves_again(void **state)
{
    struct bench *b = *state;
    struct oplog_table t = oplog_table(&b->arena, &table, 1);
    oplog_end(&b->o);
    assert_int_equal(b->d->n_frames, 0); /* nothing was written */
    for (int i = 0; i < 3; i++) {
        oplog_start(&b->o, b->d, &b->frame);
        oplog_insert(&b->o, &t, row_2, (struct oplog_tags){0});
        oplog_end(&b->o);
    }
    assert_int_equal(b->d->n_frames, 3);
    free_frame(read_frame(b, 2));
}

int main(void)
{
#define OPLOG_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        OPLOG_TEST(a_transaction_has_its_layout),
        OPLOG_TEST(values_are_converted_by_type),
        OPLOG_TEST(frames_are_cut_by_operations_and_by_size),
        OPLOG_TEST(the_buffer_serves_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
