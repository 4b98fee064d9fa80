/* SPDX-License-Identifier: Apache-2.0 */
#include "feed/history.h"

#include "base/mem.h"
#include "pg/result.h"
#include "txlog/txlog.h"

#include <stdlib.h>

/* What busbar.publish_all() says. */
#define PUBLISHED_PREFIX "busbar.published"

enum field { MIGRATION_SEQ, MIGRATION_VERSION, MIGRATION_XID, MIGRATION_UNUSABLE, MIGRATION_FIELDS };
enum { COMMAND_SEQ, COMMAND_ID, COMMAND_OPS, COMMAND_FIELDS };
enum { FIELDS_MAX = MIGRATION_FIELDS };

static const char *const migration_fields[] = {"seq", "version", "xid", "unusable"};
static const char *const command_fields[] = {"seq", "id", "ops"};

struct history_relation {
    uint32_t id;
    bool is_command;
    int fields[FIELDS_MAX]; /* columns; -1: there is none */
};

const char history_sql[] =
    "SELECT m.seq, m.version, m.xid, m.unusable,"
    " (extract(epoch FROM m.inserted_at) * 1000000)::int8, c.id, c.ops"
    " FROM busbar.migration m LEFT JOIN busbar.command c ON c.seq = m.seq ORDER BY m.seq, c.id";
enum { ROW_SEQ, ROW_VERSION, ROW_XID, ROW_UNUSABLE, ROW_TIME, ROW_ID, ROW_OPS };

void history_deinit(struct history *h)
{
    free(h->items);
    *h = (struct history){0};
}

void history_note(struct history *h, const struct relation *r)
{
    bool is_command = str_eq(r->name, STR("command"));
    const char *const *names = is_command ? command_fields : migration_fields;
    if (!str_eq(r->schema, STR("busbar")) || (!is_command && !str_eq(r->name, STR("migration")))) {
        return;
    }
    struct history_relation found = {.id = r->id, .is_command = is_command};
    for (int i = 0; i < (is_command ? (int)COMMAND_FIELDS : (int)MIGRATION_FIELDS); i++) {
        found.fields[i] = relation_column(r, str_c(names[i]));
    }
    if (h->n == h->cap) {
        h->cap = h->cap * 2 + 4;
        h->items = mem_realloc(h->items, h->cap * sizeof *h->items);
    }
    h->items[h->n++] = found;
}

static const struct history_relation *find(const struct history *h, uint32_t id)
{
    for (size_t i = h->n; i > 0; i--) {
        if (h->items[i - 1].id == id) {
            return &h->items[i - 1];
        }
    }
    return NULL;
}

static bool may_concern(const struct history *h, const struct txn_summary *s)
{
    bool found = s->more || s->messages;
    for (uint32_t i = 0; i < s->n && !found; i++) {
        found = find(h, s->relations[i]) != NULL;
    }
    return found;
}

int history_scan(const struct history *h, const struct txn *txn, struct history_scan *out, struct err *err)
{
    struct txn_cursor c = txn_changes(txn_bytes(txn));
    struct change change;
    uint32_t last = 0;
    int rc;
    *out = (struct history_scan){0};
    if (!may_concern(h, txn_summary(txn))) {
        return 0;
    }
    while ((rc = txn_next(&c, &change, err)) == 1) {
        if (change.kind == CHANGE_MESSAGE) {
            if (str_eq(change.prefix, STR(PUBLISHED_PREFIX))) {
                out->gap = "tables were missing in the publication for a time";
            }
        } else if (change.relation != last) { /* rows of a table are often neighbours */
            last = change.relation;
            out->changes_history |= find(h, last) != NULL;
        }
        if (change.kind == CHANGE_TRUNCATE && find(h, change.relation)) {
            out->gap = "the history of migrations was truncated";
        }
    }
    return rc;
}

/* --- rows --- */

struct row {
    struct value fields[FIELDS_MAX];
};

static int read_row(const struct history_relation *r, const struct tuple *t, struct row *out, struct err *err)
{
    struct value *values = mem_alloc_array((size_t)t->columns + 1, sizeof *values);
    int rc = tuple_values(t, values, err);
    for (int i = 0; rc == 0 && i < FIELDS_MAX; i++) {
        int column = r->fields[i];
        bool there = column >= 0 && (uint32_t)column < t->columns;
        out->fields[i] = there ? values[column] : (struct value){NULL, 0};
    }
    free(values);
    return rc;
}

static struct str text(const struct row *row, int field)
{
    return (struct str){row->fields[field].p, row->fields[field].n};
}

static int number(const struct row *row, int field, uint64_t *out, struct err *err)
{
    if (!str_to_u64(text(row, field), UINT64_MAX, out)) {
        return err_set(err, ERR_PEER, "a row of the history of migrations cannot be read");
    }
    return 0;
}

static int put_row(struct txlog *log, const struct history_relation *r, const struct row *row,
                   const struct txn_head *head, struct err *err)
{
    uint64_t seq, id;
    if (number(row, MIGRATION_SEQ, &seq, err) < 0 ||
        number(row, r->is_command ? (int)COMMAND_ID : (int)MIGRATION_XID, &id, err) < 0) {
        return -1;
    }
    if (r->is_command) {
        return txlog_put_command(log, seq, id, text(row, COMMAND_OPS), err);
    }
    struct txlog_migration m = {.seq = seq,
                                .lsn = head->end_lsn,
                                .xid = id,
                                .commit_us = head->commit_us,
                                .version = text(row, MIGRATION_VERSION),
                                .unusable = text(row, MIGRATION_UNUSABLE)};
    return txlog_put_migration(log, &m, err);
}

static int delete_row(struct txlog *log, const struct history_relation *r, const struct row *row,
                      struct err *err)
{
    uint64_t seq, id;
    if (number(row, MIGRATION_SEQ, &seq, err) < 0) {
        return -1;
    }
    if (!r->is_command) {
        return txlog_delete_migration(log, seq, err);
    }
    return number(row, COMMAND_ID, &id, err) < 0 ? -1 : txlog_delete_command(log, seq, id, err);
}

/* What the row is known by. */
static bool same_row(const struct history_relation *r, const struct row *a, const struct row *b)
{
    return str_eq(text(a, MIGRATION_SEQ), text(b, MIGRATION_SEQ)) &&
           (!r->is_command || str_eq(text(a, COMMAND_ID), text(b, COMMAND_ID)));
}

static int apply_change(struct txlog *log, const struct history_relation *r, const struct change *change,
                        const struct txn_head *head, struct err *err)
{
    struct row old, new;
    bool has_old = change->old.columns > 0, has_new = change->new.columns > 0;
    if ((has_old && read_row(r, &change->old, &old, err) < 0) ||
        (has_new && read_row(r, &change->new, &new, err) < 0)) {
        return -1;
    }
    if (has_old && !(has_new && same_row(r, &old, &new)) && delete_row(log, r, &old, err) < 0) {
        return -1;
    }
    return has_new ? put_row(log, r, &new, head, err) : 0;
}

int history_apply(const struct history *h, struct txlog *log, struct str record, struct err *err)
{
    struct txn_head head;
    struct change change;
    if (txn_read_head(record, &head, err) < 0) {
        return -1;
    }
    struct txn_cursor c = txn_changes(record);
    int rc;
    while ((rc = txn_next(&c, &change, err)) == 1) {
        const struct history_relation *r = change.relation ? find(h, change.relation) : NULL;
        if (r && apply_change(log, r, &change, &head, err) < 0) {
            return -1;
        }
    }
    return rc;
}

/* --- the rows of before --- */

int history_put_rows(struct txlog *log, const struct pg_result *rows, lsn_t lsn, struct err *err)
{
    uint64_t last = 0;
    for (size_t i = 0; i < rows->rows; i++) {
        uint64_t seq = pg_result_u64(rows, i, ROW_SEQ);
        struct txlog_migration m = {.seq = seq,
                                    .lsn = lsn,
                                    .xid = pg_result_u64(rows, i, ROW_XID),
                                    .commit_us = (int64_t)pg_result_u64(rows, i, ROW_TIME),
                                    .version = pg_result_get(rows, i, ROW_VERSION),
                                    .unusable = pg_result_get(rows, i, ROW_UNUSABLE)};
        if ((i == 0 || seq != last) && txlog_put_migration(log, &m, err) < 0) {
            return -1;
        }
        last = seq;
        uint64_t id = pg_result_u64(rows, i, ROW_ID);
        if (id > 0 && txlog_put_command(log, seq, id, pg_result_get(rows, i, ROW_OPS), err) < 0) {
            return -1;
        }
    }
    return 0;
}
