/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/pgoutput.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define LSN1 "\0\0\0\1\2\3\4\5"
#define LSN2 "\0\0\0\1\2\3\4\7"
#define TIME "\0\0\0\0\0\0\0\1" /* 2000-01-01 and a microsecond */
#define XID  "\0\0\3\xe8"
#define SUB  "\0\0\3\xe9"
#define OID  "\0\0@\1"

#define BEGIN_BYTES   "B" LSN1 TIME XID
#define MESSAGE_BODY  "\1" LSN1 "prefix\0\0\0\0\3a\0b"
#define COMMIT_BODY   "\0" LSN1 LSN2 TIME
#define ORIGIN_BYTES  "O" LSN1 "origin\0"
#define RELATION_BODY OID "public\0items\0f\0\2\1id\0\0\0\0\x17\xff\xff\xff\xff\0t\0\0\0\0\x19\0\0\0\x18"
#define TYPE_BODY     OID "public\0colour\0"
#define TUPLE         "\0\2t\0\0\0\0021 n"
#define INSERT_BODY   OID "N" TUPLE
#define UPDATE_NEW    OID "N\0\2t\0\0\0\0u"
#define UPDATE_OLD    OID "O" TUPLE "N" TUPLE
#define UPDATE_KEY    OID "K" TUPLE "N" TUPLE
#define DELETE_OLD    OID "O" TUPLE
#define DELETE_KEY    OID "K" TUPLE
#define TRUNCATE_BODY "\0\0\0\2\3" OID "\0\0@\2"

struct row {
    const char *name;
    bool in_block;
    struct str bytes;
};

/* clang-format off */
#define OUTSIDE(name, bytes) {name, false, {bytes, sizeof(bytes) - 1}}
#define INSIDE(name, kind, body) \
    OUTSIDE(name, kind body), {name " in a block", true, {kind SUB body, sizeof(kind SUB body) - 1}}
/* clang-format on */

static const struct row good[] = {
    OUTSIDE("begin", BEGIN_BYTES),
    INSIDE("message", "M", MESSAGE_BODY),
    OUTSIDE("commit", "C" COMMIT_BODY),
    OUTSIDE("origin", ORIGIN_BYTES),
    INSIDE("relation", "R", RELATION_BODY),
    INSIDE("type", "Y", TYPE_BODY),
    INSIDE("insert", "I", INSERT_BODY),
    INSIDE("update", "U", UPDATE_NEW),
    INSIDE("update, old row", "U", UPDATE_OLD),
    INSIDE("update, old key", "U", UPDATE_KEY),
    INSIDE("delete", "D", DELETE_OLD),
    INSIDE("delete, key", "D", DELETE_KEY),
    INSIDE("truncate", "T", TRUNCATE_BODY),
    OUTSIDE("stream start", "S" XID "\1"),
    OUTSIDE("stream stop", "E"),
    OUTSIDE("stream commit", "c" XID COMMIT_BODY),
    OUTSIDE("stream abort", "A" XID SUB),
};

static struct pgoutput_room room;

/* From an allocation of its own, so that the sanitizer sees a byte read too far. */
static int decode(struct str bytes, bool in_block, struct pgoutput_message *out, struct err *err)
{
    char *alone = mem_alloc(bytes.n ? bytes.n : 1);
    memcpy(alone, bytes.p, bytes.n);
    int rc = pgoutput_decode((struct str){alone, bytes.n}, in_block, &room, out, err);
    free(alone);
    return rc;
}

static void every_message_is_whole_or_refused(void **state)
{
    struct pgoutput_message m;
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        const struct row *g = &good[i];
        if (decode(g->bytes, g->in_block, &m, &err) < 0) {
            fail_msg("%s: %s", g->name, err.msg);
        }
        assert_int_equal(m.kind, g->bytes.p[0]);
        for (size_t n = 0; n < g->bytes.n; n++) {
            if (decode((struct str){g->bytes.p, n}, g->in_block, &m, &err) == 0) {
                fail_msg("%s: taken with %zu bytes", g->name, n);
            }
            assert_int_equal(err.kind, ERR_PEER);
        }
        assert_int_equal(decode((struct str){g->bytes.p, g->bytes.n + 1}, g->in_block, &m, &err), -1);
    }
}

#define DECODE(m, in_block, bytes)                                                        \
    do {                                                                                  \
        struct err err_;                                                                  \
        assert_int_equal(pgoutput_decode(STR(bytes), (in_block), &room, &(m), &err_), 0); \
    } while (0)

static void transactions_have_positions_and_times(void **state)
{
    struct pgoutput_message m;
    (void)state;
    DECODE(m, false, BEGIN_BYTES);
    assert_int_equal(m.xid, 1000);
    assert_int_equal(m.commit.commit_lsn, 0x102030405);
    assert_int_equal(m.commit.commit_us, 946684800000001);
    DECODE(m, false, "c" XID COMMIT_BODY);
    assert_int_equal(m.xid, 1000);
    assert_int_equal(m.commit.commit_lsn, 0x102030405);
    assert_int_equal(m.commit.end_lsn, 0x102030407);
    assert_int_equal(m.commit.commit_us, 946684800000001);
    DECODE(m, false, "S" XID "\1");
    assert_true(m.first);
    DECODE(m, false, "S" XID "\0");
    assert_false(m.first);
    DECODE(m, false, "A" XID SUB);
    assert_int_equal(m.xid, 1000);
    assert_int_equal(m.aborted, 1001);
}

static void a_relation_has_columns(void **state)
{
    struct pgoutput_message m;
    (void)state;
    DECODE(m, true, "R" SUB RELATION_BODY);
    assert_int_equal(m.xid, 1001);
    assert_int_equal(m.relation.oid, 0x4001);
    assert_int_equal(m.relation.replica_identity, 'f');
    assert_true(str_eq(m.relation.schema, STR("public")));
    assert_true(str_eq(m.relation.name, STR("items")));
    assert_int_equal(m.relation.n, 2);
    const struct relation_column *c = m.relation.columns;
    assert_true(str_eq(c[0].name, STR("id")) && c[0].key && c[0].type_oid == 23 && c[0].typmod == -1);
    assert_true(str_eq(c[1].name, STR("t")) && !c[1].key && c[1].type_oid == 25 && c[1].typmod == 24);
    DECODE(m, false, "R" OID "\0pg_x\0d\0\0");
    assert_true(str_eq(m.relation.schema, STR("pg_catalog")));
}

static void rows_have_values(void **state)
{
    struct pgoutput_message m;
    (void)state;
    DECODE(m, false, "I" INSERT_BODY);
    assert_int_equal(m.row.oid, 0x4001);
    assert_null(m.row.old);
    assert_int_equal(m.row.new_n, 2);
    assert_memory_equal(m.row.new[0].p, "1 ", 2);
    assert_true(!m.row.new[1].p &&m.row.new[1].n == 0);
    DECODE(m, false, "U" UPDATE_NEW);
    assert_int_equal(m.row.old_kind, 0);
    assert_true(m.row.new[0].p &&m.row.new[0].n == 0);
    assert_true(!m.row.new[1].p &&m.row.new[1].n == PGOUTPUT_UNCHANGED);
    DECODE(m, false, "U" UPDATE_KEY);
    assert_int_equal(m.row.old_kind, 'K');
    assert_int_equal(m.row.old_n, 2);
    DECODE(m, true, "D" SUB DELETE_OLD);
    assert_int_equal(m.xid, 1001);
    assert_int_equal(m.row.old_kind, 'O');
    assert_null(m.row.new);
    DECODE(m, false, "T" TRUNCATE_BODY);
    assert_int_equal(pgoutput_truncated_n(&m), 2);
    assert_int_equal(pgoutput_truncated(&m, 0), 0x4001);
    assert_int_equal(pgoutput_truncated(&m, 1), 0x4002);
}

static void messages_have_content(void **state)
{
    struct pgoutput_message m;
    (void)state;
    DECODE(m, false, "M" MESSAGE_BODY);
    assert_true(m.message.transactional);
    assert_int_equal(m.message.lsn, 0x102030405);
    assert_true(str_eq(m.message.prefix, STR("prefix")));
    assert_true(str_eq(m.message.content, STR("a\0b")));
}

static void what_cannot_be_is_refused(void **state)
{
    static const struct row bad[] = {
        OUTSIDE("unknown", "Z"),
        OUTSIDE("prepare, not asked for", "b" LSN1 LSN2 TIME XID "gid\0"),
        OUTSIDE("binary, not asked for", "I" OID "N\0\1b\0\0\0\1x"),
        OUTSIDE("neither key nor old", "D" OID "N\0\1n"),
        OUTSIDE("insert with an old row", "I" OID "O\0\1n"),
        OUTSIDE("update with two old rows", "U" OID "O\0\1nO\0\1n"),
        OUTSIDE("old row with a value left out", "D" OID "O\0\1u"),
        OUTSIDE("a length past the end", "I" OID "N\0\1t\xff\xff\xff\xffx"),
        OUTSIDE("columns past the most", "I" OID "N\xff\xff"),
        OUTSIDE("relations past the end", "T\xff\xff\xff\xff\0" OID),
        OUTSIDE("message past the end", "M\1" LSN1 "p\0\xff\xff\xff\xff"),
        OUTSIDE("name without an end", "Y" OID "public"),
    };
    struct pgoutput_message m;
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (decode(bad[i].bytes, false, &m, &err) == 0) {
            fail_msg("%s: taken", bad[i].name);
        }
        assert_int_equal(err.kind, ERR_PEER);
    }
}

static void limits_hold(void **state)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(RELATION_MAX_BYTES * 2);
    struct pgoutput_message m;
    struct err err;
    (void)state;
    for (size_t columns = RELATION_MAX_COLUMNS; columns <= RELATION_MAX_COLUMNS + 1; columns++) {
        buf_reset(&b);
        buf_put_str(&b, STR("I" OID "N"));
        buf_put_u16be(&b, (uint16_t)columns);
        for (size_t i = 0; i < columns; i++) {
            buf_put_byte(&b, 'n');
        }
        assert_int_equal(decode(buf_str(&b), false, &m, &err), columns <= RELATION_MAX_COLUMNS ? 0 : -1);
    }
    buf_reset(&b);
    buf_put_str(&b, STR("R" OID));
    while (b.n <= RELATION_MAX_BYTES) {
        buf_put_byte(&b, 'x');
    }
    assert_int_equal(decode(buf_str(&b), false, &m, &err), -1);
    assert_int_equal(err.kind, ERR_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_is_whole_or_refused),
        cmocka_unit_test(transactions_have_positions_and_times),
        cmocka_unit_test(a_relation_has_columns),
        cmocka_unit_test(rows_have_values),
        cmocka_unit_test(messages_have_content),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(limits_hold),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
