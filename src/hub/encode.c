/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/encode.h"

#include "base/mem.h"
#include "hub/tables.h"
#include "sync/frame.h"

#include <stdio.h>
#include <stdlib.h>

#define ORIGIN "postgres_1"

enum { TAG_TEXT = 40 };

struct encoder {
    struct table_ids ids;
    struct buf frame;
};

struct encoder *encoder_new(void)
{
    struct encoder *e = mem_zalloc(sizeof *e);
    buf_init(&e->frame, TXN_CHANGE_MAX);
    return e;
}

void encoder_free(struct encoder *e)
{
    if (e) {
        table_ids_deinit(&e->ids);
        buf_deinit(&e->frame);
        free(e);
    }
}

static const struct table_frame *relate(struct encoder *e, struct model *model, const struct table *table,
                                        struct delivery *out)
{
    const struct table_frame *f = table_frame(&model->frames, &e->ids, table);
    delivery_relate(out, f->oplog.id, model->serial, f->packet);
    return f;
}

void encode_relations(struct encoder *e, struct model *model, const struct forest *forest,
                      struct delivery *out)
{
    for (uint32_t i = 0; i < forest->n_tables; i++) {
        relate(e, model, forest->tables[i].table, out);
    }
}

/* Who wrote it, and when: what clients merge by. Rows of before have no time. */
static struct str tag_of(int64_t ms, char out[TAG_TEXT])
{
    int n = snprintf(out, TAG_TEXT, ORIGIN "@%lld", (long long)ms);
    return (struct str){out, (size_t)n};
}

static void put_op(struct oplog *log, const struct table_frame *f, const struct view_op *op,
                   struct oplog_tags tags)
{
    switch (op->kind) {
    case VIEW_INSERT:
        oplog_insert(log, &f->oplog, op->new, tags);
        return;
    case VIEW_UPDATE:
        oplog_update(log, &f->oplog, op->old, op->new, tags);
        return;
    case VIEW_DELETE:
        oplog_delete(log, &f->oplog, op->old, (struct oplog_tags){0});
        return;
    case VIEW_GONE:
        oplog_gone(log, &f->oplog, op->old);
        return;
    }
}

static void put_migration(struct encoder *e, struct model *model, struct oplog *log, const struct version *v,
                          enum dialect dialect)
{
    for (size_t i = 0; i < v->n_tables; i++) {
        const struct table *table = schema_table(&model->schema, v->tables[i].schema, v->tables[i].name);
        if (table) {
            relate(e, model, table, log->out);
        }
    }
    for (size_t i = 0; i < v->n_messages[dialect]; i++) {
        oplog_migrate(log, v->messages[dialect][i]);
    }
}

struct delivery *encode_transaction(struct encoder *e, struct model *model, const struct txn_head *head,
                                    const struct version *const *migrations, size_t n, enum dialect dialect,
                                    const struct view_ops *ops)
{
    char text[TAG_TEXT];
    struct str tag = tag_of(head->commit_us / 1000, text);
    struct oplog_transaction t = {.commit_ms = head->commit_us / 1000,
                                  .lsn = head->end_lsn,
                                  .txid = head->xid,
                                  .origin = STR(ORIGIN),
                                  .is_migration = n > 0};
    struct oplog log;
    struct delivery *out = delivery_new(DELIVERY_TRANSACTION, head->end_lsn, head->xid);
    oplog_start(&log, out, &e->frame);
    oplog_begin(&log, &t);
    for (size_t i = 0; i < n; i++) {
        put_migration(e, model, &log, migrations[i], dialect);
    }
    for (size_t i = 0; i < ops->n; i++) {
        put_op(&log, relate(e, model, ops->items[i].table, out), &ops->items[i],
               (struct oplog_tags){&tag, 1});
    }
    oplog_commit(&log, &t);
    oplog_end(&log);
    return out;
}

struct delivery *encode_migration(struct encoder *e, struct model *model, const struct version *migration,
                                  lsn_t position, enum dialect dialect)
{
    struct txn_head head = {.end_lsn = position, .xid = migration->xid, .commit_us = migration->commit_us};
    return encode_transaction(e, model, &head, &migration, 1, dialect, &(struct view_ops){0});
}

void encode_row(struct encode_rows *r, const struct table *table, const struct value *row)
{
    struct str tag = STR(ORIGIN "@0");
    const struct table_frame *f = table_frame(&r->model->frames, &r->encoder->ids, table);
    if (!r->open) {
        oplog_start(&r->log, r->out, &r->frame);
        r->open = true;
    }
    if (r->gone) {
        oplog_gone(&r->log, &f->oplog, row);
    } else {
        oplog_insert(&r->log, &f->oplog, row, (struct oplog_tags){&tag, 1});
    }
}
