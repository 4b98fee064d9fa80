/* SPDX-License-Identifier: Apache-2.0 */
/* What is written is read with protobuf-c; what clients send is spelled out. session_test.c has the answers
 * to calls. */
#include "sync/frame.h"

#include "base/limits.h"
#include "sync/pb.h"
#include "sync/satellite.pb-c.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static int setup(void **state)
{
    *state = calloc(1, sizeof(struct arena));
    return 0;
}

static int teardown(void **state)
{
    arena_deinit(*state);
    free(*state);
    return 0;
}

static void assert_str(struct str got, const char *want)
{
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

/* --- reading --- */

static void calls_and_answers_are_read(void **state)
{
    struct sat_message m;
    assert_true(sat_read(*state,
                         STR("\x15\x0a\x03"
                             "foo\x10\x80\x01\x1a\x02\0x"),
                         &m));
    assert_int_equal(m.type, SAT_RPC_REQUEST);
    assert_str(m.call.method, "foo");
    assert_int_equal(m.call.id, 128);
    assert_int_equal(m.call.body.n, 2);
    assert_true(sat_read(*state,
                         STR("\x16\x10\x05\x0a\x01"
                             "f"),
                         &m));
    assert_str(m.answer.method, "f");
    assert_int_equal(m.answer.id, 5);
    assert_true(sat_read(*state, STR("\x00"), &m));
    assert_str(m.error, "");
}

static void an_ack_is_read(void **state)
{
    struct sat_message m;
    assert_true(sat_read(*state,
                         STR("\x17\x08\x05\x12\x03"
                             "123\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x22\x01"
                             "a\x22\x00"
                             "\x2a\x02\x01\x02\x28\x03\x32\x01g"),
                         &m));
    assert_str(m.ack.lsn, "123");
    assert_true(m.ack.txid == UINT64_MAX);
    assert_int_equal(m.ack.subscriptions.n, 2);
    assert_str(m.ack.subscriptions.items[0], "a");
    assert_str(m.ack.subscriptions.items[1], "");
    assert_int_equal(m.ack.gone.n, 1);
}

static void a_subscription_is_read(void **state)
{
    struct sat_subscribe r;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    pb_str(&b, 1, STR("id"));
    size_t shape = pb_open(&b, 2);
    pb_str(&b, 1, STR("r1"));
    size_t def = pb_open(&b, 2);
    size_t select = pb_open(&b, 1);
    pb_str(&b, 1, STR("projects"));
    pb_str(&b, 2, STR("this.a = 1"));
    size_t include = pb_open(&b, 3);
    pb_str(&b, 1, STR("k1"));
    pb_str(&b, 1, STR("k2"));
    size_t inner = pb_open(&b, 2);
    pb_str(&b, 1, STR("issues"));
    pb_close(&b, inner);
    pb_close(&b, include);
    include = pb_open(&b, 3);
    pb_close(&b, include);
    pb_close(&b, select);
    pb_close(&b, def);
    pb_close(&b, shape);
    shape = pb_open(&b, 2);
    pb_close(&b, shape);

    assert_true(sat_read_subscribe(*state, buf_str(&b), &r));
    assert_str(r.id, "id");
    assert_int_equal(r.n_shapes, 2);
    assert_str(r.shapes[0].request_id, "r1");
    assert_int_equal(r.shapes[0].n_selects, 1);
    const struct sat_select *s = &r.shapes[0].selects[0];
    assert_str(s->table, "projects");
    assert_str(s->where, "this.a = 1");
    assert_int_equal(s->n_includes, 2);
    assert_int_equal(s->includes[0].foreign_key.n, 2);
    assert_str(s->includes[0].foreign_key.items[1], "k2");
    assert_str(s->includes[0].select->table, "issues");
    assert_null(s->includes[1].select);
    assert_int_equal(r.shapes[1].n_selects, 0);

    for (size_t n = 0; n < b.n; n++) { /* cut short: less of it, or nothing */
        char *copy = malloc(n + 1);
        memcpy(copy, b.p, n);
        ignore_result(sat_read_subscribe(*state, (struct str){copy, n}, &r)); /* either will do */
        free(copy);
    }
}

static void put_nested(struct buf *b, unsigned depth)
{
    pb_str(b, 1, STR("t"));
    if (depth > 1) {
        size_t include = pb_open(b, 3), select = pb_open(b, 2);
        put_nested(b, depth - 1);
        pb_close(b, select);
        pb_close(b, include);
    }
}

static bool reads_nested(struct arena *a, unsigned depth)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1024 * 1024);
    struct sat_subscribe r;
    size_t shape = pb_open(&b, 2), def = pb_open(&b, 2), select = pb_open(&b, 1);
    put_nested(&b, depth);
    pb_close(&b, select);
    pb_close(&b, def);
    pb_close(&b, shape);
    return sat_read_subscribe(a, buf_str(&b), &r);
}

static void tables_nest_only_so_deep(void **state)
{
    assert_true(reads_nested(*state, 1));
    assert_true(reads_nested(*state, LIMIT_SHAPE_DEPTH));
    assert_false(reads_nested(*state, LIMIT_SHAPE_DEPTH + 2));
    assert_false(reads_nested(*state, 5000));
}

/* Two bytes that become some fifty, often. */
static void what_becomes_too_much_is_refused(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * LIMIT_SYNC_DECODED);
    struct sat_message m;
    buf_put_byte(&b, SAT_OP_LOG);
    size_t op = pb_open(&b, 1), insert = pb_open(&b, 4), row = pb_open(&b, 2);
    while (b.n < LIMIT_SYNC_DECODED / 8) {
        pb_str_always(&b, 2, (struct str){"", 0});
    }
    pb_close(&b, row);
    pb_close(&b, insert);
    pb_close(&b, op);
    assert_false(sat_read(*state, buf_str(&b), &m));
}

static void a_long_transaction_is_read_a_bit_at_a_time(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_SYNC_MESSAGE);
    struct sat_message m;
    buf_put_byte(&b, SAT_OP_LOG);
    while (b.n < 4 * LIMIT_SYNC_CALL) {
        buf_put(&b, "\x0a\x04\x22\x02\x08\x01", 6);
    }
    assert_true(sat_read(*state, buf_str(&b), &m));
    assert_int_equal(m.type, SAT_OP_LOG);
    buf_put(&b, "\x0a\x04\x22\x03\x08\x01", 6);
    assert_false(sat_read(*state, buf_str(&b), &m));
}

/* --- writing --- */

static const uint8_t *body_of(const struct buf *b, enum sat_type type)
{
    assert_int_equal((unsigned char)b->p[0], type);
    return (const uint8_t *)b->p + 1;
}

static void a_relation_is_written(void **state)
{
    static struct column columns[] = {{.name = STR("id"), .type_name = STR("uuid"), .not_null = true},
                                      {.name = STR("mood"), .type_name = STR("mood_type")}};
    static struct str key[] = {STR("id")};
    const struct table table = {.schema = STR("public"),
                                .name = STR("camelCase"),
                                .columns = columns,
                                .n_columns = 2,
                                .primary_key = {.columns = {key, 1}}};
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    sat_put_relation(&b, 4000000000u, &table);
    Electric__Satellite__SatRelation *m =
        electric__satellite__sat_relation__unpack(NULL, b.n - 1, body_of(&b, SAT_RELATION));
    assert_non_null(m);
    assert_string_equal(m->schema_name, "public");
    assert_string_equal(m->table_name, "camelCase");
    assert_int_equal(m->table_type, ELECTRIC__SATELLITE__SAT_RELATION__RELATION_TYPE__TABLE);
    assert_int_equal(m->relation_id, 4000000000u);
    assert_int_equal(m->n_columns, 2);
    assert_string_equal(m->columns[0]->name, "id");
    assert_string_equal(m->columns[0]->type, "uuid");
    assert_true(m->columns[0]->primarykey && !m->columns[0]->is_nullable);
    assert_string_equal(m->columns[1]->type, "mood_type");
    assert_true(!m->columns[1]->primarykey && m->columns[1]->is_nullable);
    electric__satellite__sat_relation__free_unpacked(m, NULL);
}

static void the_frames_of_data_are_written(void **state)
{
    static const struct str ids[] = {STR("s1"), STR("s2")};
    static const struct str shape = STR("r"), sub = STR("s");
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    sat_put_subs_data_begin(&b, sub, UINT64_MAX);
    assert_str(buf_str(&b), "\x0f\x0a\x01s\x12\x14"
                            "18446744073709551615");
    buf_reset(&b);
    sat_put_shape_data_begin(&b, shape);
    sat_put_shape_data_end(&b);
    sat_put_subs_data_end(&b);
    assert_str(buf_str(&b), "\x11\x0a\x01r\x12\x10");
    buf_reset(&b);
    sat_put_unsubs_data_begin(&b, ids, 2, 7);
    sat_put_unsubs_data_end(&b);
    assert_str(buf_str(&b), "\x18\x0a\x02s1\x0a\x02s2\x12\x01"
                            "7\x19");
    buf_reset(&b);
    sat_put_subs_data_error(&b, sub, STR("no"));
    assert_str(buf_str(&b), "\x0e\x08\x01\x12\x02no\x1a\x01s");
}

static void errors_are_written(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    sat_put_error(&b, SAT_INTERNAL, (struct str){"", 0});
    assert_int_equal(b.n, 1);
    sat_put_error(&b, SAT_INVALID_REQUEST, STR("no"));
    assert_memory_equal(b.p, "\x00\x00\x08\x04\x1a\x02no", 8);
}

/* A length of more than one byte is put in front of what was written before it. */
static void long_messages_nest(void **state)
{
    char text[300];
    struct sat_call call = {.method = STR("subscribe"), .id = 1};
    memset(text, 'x', sizeof text);
    struct sat_shape_fault faults[2] = {{STR("a"), 1, {text, 300}}, {STR("b"), 2, {text, 200}}};
    struct sat_subscribe_refusal refusal = {SAT_SHAPE_ERROR, STR("no"), faults, 2};
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(10000);
    sat_put_subscribe_answer(&b, &call, STR("s"), &refusal);
    Electric__Satellite__SatRpcResponse *answer =
        electric__satellite__sat_rpc_response__unpack(NULL, b.n - 1, body_of(&b, SAT_RPC_RESPONSE));
    assert_non_null(answer);
    Electric__Satellite__SatSubsResp *m =
        electric__satellite__sat_subs_resp__unpack(NULL, answer->message.len, answer->message.data);
    assert_non_null(m);
    assert_int_equal(m->err->n_shape_request_error, 2);
    assert_int_equal(strlen(m->err->shape_request_error[0]->message), 300);
    assert_string_equal(m->err->shape_request_error[1]->request_id, "b");
    electric__satellite__sat_subs_resp__free_unpacked(m, NULL);
    electric__satellite__sat_rpc_response__free_unpacked(answer, NULL);
}

static void an_overflow_is_kept(void **state)
{
    struct sat_call call = {.method = STR("subscribe"), .id = 1};
    struct sat_subscribe_refusal refusal = {SAT_SHAPE_ERROR, STR("a message of some length"), NULL, 0};
    CLEANUP(buf_deinit) struct buf whole = BUF_INIT(1000);
    sat_put_subscribe_answer(&whole, &call, STR("s"), &refusal);
    for (size_t max = 0; max < whole.n; max++) {
        struct buf b = BUF_INIT(max);
        sat_put_subscribe_answer(&b, &call, STR("s"), &refusal);
        assert_true(b.overflow);
        buf_deinit(&b);
    }
}

int main(void)
{
#define FRAME_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        FRAME_TEST(calls_and_answers_are_read),
        FRAME_TEST(an_ack_is_read),
        FRAME_TEST(a_subscription_is_read),
        FRAME_TEST(tables_nest_only_so_deep),
        FRAME_TEST(what_becomes_too_much_is_refused),
        FRAME_TEST(a_long_transaction_is_read_a_bit_at_a_time),
        FRAME_TEST(a_relation_is_written),
        FRAME_TEST(the_frames_of_data_are_written),
        FRAME_TEST(errors_are_written),
        FRAME_TEST(long_messages_nest),
        FRAME_TEST(an_overflow_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
