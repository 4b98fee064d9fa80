/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lengths stand in front of what they are of, at three levels: operation, its body, row. Those of rows are
 * counted first, one look at each value; then everything is written once, in order.
 *
 * Field numbers are those of proto/satellite.proto.
 */
#include "sync/oplog.h"

#include "sync/frame.h"
#include "sync/pb.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

enum form { FORM_TEXT, FORM_BYTEA, FORM_TIMESTAMPTZ };

/* A row is part of a change, which has a limit, and is written at most twice. */
enum { FRAME_SPARE = 64 * 1024 * 1024 };
static const size_t FRAME_MAX = 2 * (size_t)TXN_CHANGE_MAX + FRAME_SPARE;

struct oplog_table oplog_table(struct arena *a, const struct table *table, uint32_t relation_id)
{
    unsigned char *forms = arena_zalloc(a, table->n_columns);
    bool *key = arena_zalloc(a, table->n_columns);
    for (size_t i = 0; i < table->n_columns; i++) {
        const struct column *c = &table->columns[i];
        forms[i] = str_eq(c->type_name, STR("bytea"))         ? FORM_BYTEA
                   : str_eq(c->type_name, STR("timestamptz")) ? FORM_TIMESTAMPTZ
                                                              : FORM_TEXT;
        key[i] = table_in_primary_key(table, c->name);
    }
    return (struct oplog_table){relation_id, (uint32_t)table->n_columns, forms, key};
}

/* --- values --- */

static bool is_hex(const struct value *v)
{
    return v->n >= 2 && v->p[0] == '\\' && v->p[1] == 'x';
}

/* Where "+00" is: at the end, or before " BC". NULL: nowhere (infinity). */
static const char *find_offset(const struct value *v)
{
    const char *plus = v->p ? memrchr(v->p, '+', v->n) : NULL;
    return plus && v->n - (size_t)(plus - v->p) >= 3 && plus[1] == '0' && plus[2] == '0' ? plus : NULL;
}

static size_t value_size(unsigned char form, const struct value *v)
{
    if (form == FORM_BYTEA && is_hex(v)) {
        return (v->n - 2) / 2;
    }
    return form == FORM_TIMESTAMPTZ && find_offset(v) ? v->n - 2 : v->n;
}

static unsigned hex_digit(char c)
{
    return c <= '9' ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
}

static void put_hex(struct buf *b, const struct value *v)
{
    size_t n = (v->n - 2) / 2;
    buf_reserve(b, n);
    if (b->overflow) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        b->p[b->n + i] = (char)(hex_digit(v->p[2 + 2 * i]) << 4 | hex_digit(v->p[3 + 2 * i]));
    }
    b->n += n;
}

static void put_instant(struct buf *b, const struct value *v)
{
    const char *offset = find_offset(v);
    size_t n = offset ? (size_t)(offset - v->p) : v->n;
    buf_put(b, v->p, n);
    if (offset) {
        buf_put_byte(b, 'Z');
        buf_put(b, offset + 3, v->n - n - 3);
    }
}

static void put_value(struct buf *b, unsigned char form, const struct value *v)
{
    pb_key(b, 2, PB_BYTES);
    pb_varint(b, value_size(form, v));
    if (form == FORM_BYTEA && is_hex(v)) {
        put_hex(b, v);
    } else if (form == FORM_TIMESTAMPTZ) {
        put_instant(b, v);
    } else {
        buf_put(b, v->p, v->n);
    }
}

/* --- rows --- */

struct row {
    const struct oplog_table *table;
    const struct value *values;
    bool key_only;
    size_t size; /* of the SatOpRow */
};

static struct value row_value(const struct row *r, uint32_t i)
{
    bool shown = !r->key_only || r->table->key[i];
    return shown && r->values[i].p ? r->values[i] : (struct value){0};
}

static size_t field_size(size_t content)
{
    return 1 + pb_varint_size(content) + content;
}

static struct row make_row(const struct oplog_table *t, const struct value *values, bool key_only)
{
    struct row r = {.table = t, .values = values, .key_only = key_only};
    r.size = t->n ? field_size((t->n + 7) / 8) : 0;
    for (uint32_t i = 0; i < t->n; i++) {
        struct value v = row_value(&r, i);
        r.size += field_size(value_size(t->forms[i], &v));
    }
    return r;
}

static void put_row(struct buf *b, unsigned field, const struct row *r)
{
    uint32_t n = r->table->n;
    char nulls[(SCHEMA_MAX_COLUMNS + 7) / 8] = {0};
    assert(n <= SCHEMA_MAX_COLUMNS);
    for (uint32_t i = 0; i < n; i++) {
        if (!row_value(r, i).p) {
            nulls[i / 8] = (char)(nulls[i / 8] | 0x80 >> (i % 8));
        }
    }
    pb_key(b, field, PB_BYTES);
    pb_varint(b, r->size);
    pb_str(b, 1, (struct str){nulls, (n + 7) / 8});
    for (uint32_t i = 0; i < n; i++) {
        struct value v = row_value(r, i);
        put_value(b, r->table->forms[i], &v);
    }
}

/* --- frames --- */

static void begin_frame(struct oplog *o)
{
    packet_begin(o->frame);
    buf_put_byte(o->frame, SAT_OP_LOG);
    o->ops = 0;
}

static void end_frame(struct oplog *o)
{
    struct packet *p = packet_end(o->frame);
    assert(p); /* FRAME_MAX */
    delivery_add(o->out, p);
}

void oplog_start(struct oplog *o, struct delivery *out, struct buf *frame)
{
    *o = (struct oplog){.out = out, .frame = frame};
    frame->max = FRAME_MAX;
    begin_frame(o);
}

void oplog_end(struct oplog *o)
{
    if (o->ops > 0) {
        end_frame(o);
    }
    buf_reset(o->frame);
}

static void make_room(struct oplog *o)
{
    if (o->ops == OPLOG_OPS || o->frame->n >= OPLOG_BYTES) {
        end_frame(o);
        begin_frame(o);
    }
    o->ops++;
}

/* --- operations of a transaction --- */

static size_t open_op(struct oplog *o, unsigned op, size_t *out_body)
{
    make_room(o);
    size_t opened = pb_open(o->frame, 1);
    *out_body = pb_open(o->frame, op);
    return opened;
}

static void close_op(struct oplog *o, size_t opened, size_t body)
{
    pb_close(o->frame, body);
    pb_close(o->frame, opened);
}

static void put_position(struct buf *b, lsn_t position)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%" PRIu64, position);
    pb_str(b, 3, (struct str){text, (size_t)n});
}

void oplog_begin(struct oplog *o, const struct oplog_transaction *t)
{
    size_t body, op = open_op(o, 1, &body);
    pb_uint(o->frame, 1, (uint64_t)t->commit_ms);
    put_position(o->frame, t->lsn);
    pb_str(o->frame, 4, t->origin);
    pb_uint(o->frame, 5, t->is_migration);
    pb_uint_always(o->frame, 7, t->txid);
    close_op(o, op, body);
}

void oplog_commit(struct oplog *o, const struct oplog_transaction *t)
{
    size_t body, op = open_op(o, 2, &body);
    pb_uint(o->frame, 1, (uint64_t)t->commit_ms);
    put_position(o->frame, t->lsn);
    pb_uint_always(o->frame, 5, t->txid);
    close_op(o, op, body);
}

void oplog_migrate(struct oplog *o, struct str message)
{
    size_t body, op = open_op(o, 6, &body);
    buf_put_str(o->frame, message);
    close_op(o, op, body);
}

/* --- operations on rows --- */

enum row_op { OP_UPDATE = 3, OP_INSERT = 4, OP_DELETE = 5, OP_GONE = 8 };

static size_t tags_size(struct oplog_tags tags)
{
    size_t n = 0;
    for (size_t i = 0; i < tags.n; i++) {
        n += field_size(tags.items[i].n);
    }
    return n;
}

/* Rows are fields 2 and, if there is a second, 3; the tags are the next. */
static void put_op(struct oplog *o, enum row_op op, const struct row *first, const struct row *second,
                   struct oplog_tags tags)
{
    uint32_t id = first->table->id;
    size_t n = (id ? 1 + pb_varint_size(id) : 0) + field_size(first->size) +
               (second ? field_size(second->size) : 0) + tags_size(tags);
    make_room(o);
    struct buf *b = o->frame;
    pb_key(b, 1, PB_BYTES);
    pb_varint(b, field_size(n));
    pb_key(b, op, PB_BYTES);
    pb_varint(b, n);
    pb_uint(b, 1, id);
    put_row(b, 2, first);
    if (second) {
        put_row(b, 3, second);
    }
    for (size_t i = 0; i < tags.n; i++) {
        pb_str_always(b, second ? 4 : 3, tags.items[i]);
    }
}

void oplog_insert(struct oplog *o, const struct oplog_table *t, const struct value *row,
                  struct oplog_tags tags)
{
    struct row r = make_row(t, row, false);
    put_op(o, OP_INSERT, &r, NULL, tags);
}

void oplog_update(struct oplog *o, const struct oplog_table *t, const struct value *old,
                  const struct value *row, struct oplog_tags tags)
{
    struct row before = make_row(t, old, false), after = make_row(t, row, false);
    put_op(o, OP_UPDATE, &after, &before, tags);
}

void oplog_delete(struct oplog *o, const struct oplog_table *t, const struct value *old,
                  struct oplog_tags tags)
{
    struct row r = make_row(t, old, false);
    put_op(o, OP_DELETE, &r, NULL, tags);
}

void oplog_gone(struct oplog *o, const struct oplog_table *t, const struct value *row)
{
    struct row r = make_row(t, row, true);
    put_op(o, OP_GONE, &r, NULL, (struct oplog_tags){0});
}
