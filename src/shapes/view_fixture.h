/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of views: a small database that writes down its changes as a transaction, answers needs, and a
 * view's operations as text.
 *
 * Statements, separated by "; " (NULL is "-", the empty text is "''"; the primary key are the first columns):
 *
 *   insert TABLE value…      update TABLE value…      delete TABLE key…      truncate TABLE
 *   rekey TABLE key… : value…
 */
#pragma once

#include "base/mem.h"
#include "shapes/fixture.h"
#include "shapes/overlay.h"
#include "shapes/view.h"

enum { DB_TABLES = 8, DB_ROWS = 64, DB_COLUMNS = 8, DB_KEY_COLUMNS = 2 };

struct db_table {
    const struct table *table;
    struct value rows[DB_ROWS][DB_COLUMNS];
    size_t n;
};

struct db {
    struct db_table tables[DB_TABLES];
    size_t n_tables;
};

static inline void db_init(struct db *db, const struct schema *model)
{
    memset(db, 0, sizeof *db);
    for (size_t i = 0; i < model->n_tables; i++) {
        db->tables[db->n_tables++].table = model->tables[i];
    }
}

static inline struct db_table *db_table(struct db *db, struct str name)
{
    for (size_t i = 0; i < db->n_tables; i++) {
        if (str_eq(db->tables[i].table->name, name)) {
            return &db->tables[i];
        }
    }
    fail_msg("no table %.*s", STR_ARG(name));
    return NULL;
}

static inline bool db_same(const struct value *a, const struct value *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!a[i].p != !b[i].p || a[i].n != b[i].n || (a[i].n && memcmp(a[i].p, b[i].p, a[i].n) != 0)) {
            return false;
        }
    }
    return true;
}

static inline size_t db_key_columns(const struct db_table *t)
{
    return t->table->primary_key.columns.n;
}

/* t->n: none */
static inline size_t db_find(const struct db_table *t, const struct value *key)
{
    size_t i = 0;
    while (i < t->n && !db_same(t->rows[i], key, db_key_columns(t))) {
        i++;
    }
    return i;
}

/* Every table has two relation versions: its own, and one with columns in reverse order and one more. */
static inline void db_relations(const struct schema *model, struct relations *out)
{
    for (size_t i = 0; i < model->n_tables; i++) {
        const struct table *t = model->tables[i];
        struct relation_column columns[DB_COLUMNS + 1];
        uint32_t n = (uint32_t)t->n_columns;
        struct relation r = {.id = 2 * (uint32_t)i + 1,
                             .replica_identity = 'f',
                             .schema = t->schema,
                             .name = t->name,
                             .columns = columns,
                             .n = n};
        for (uint32_t c = 0; c < n; c++) {
            columns[c] = (struct relation_column){.name = t->columns[c].name};
        }
        relations_put(out, relation_copy(&r));
        for (uint32_t c = 0; c < n; c++) {
            columns[n - 1 - c] = (struct relation_column){.name = t->columns[c].name};
        }
        columns[n] = (struct relation_column){.name = STR("of old")};
        r.id++;
        r.n++;
        relations_put(out, relation_copy(&r));
    }
}

static inline void db_write(struct db *db, struct buf *txn, struct db_table *t, enum change_kind kind,
                            const struct value *old, const struct value *new, bool reversed)
{
    struct value a[DB_COLUMNS + 1] = {{0}}, b[DB_COLUMNS + 1] = {{0}};
    uint32_t n = (uint32_t)t->table->n_columns;
    for (uint32_t i = 0; i < n; i++) {
        a[reversed ? n - 1 - i : i] = old ? old[i] : (struct value){0};
        b[reversed ? n - 1 - i : i] = new ? new[i] : (struct value){0};
    }
    txn_add_row(txn, kind, 2 * (uint32_t)(t - db->tables) + 1 + reversed, a, old ? n + reversed : 0, b,
                new ? n + reversed : 0);
}

static inline void db_insert(struct db *db, struct buf *txn, struct db_table *t, const struct value *new,
                             bool reversed)
{
    assert_true(t->n < DB_ROWS && db_find(t, new) == t->n);
    memcpy(t->rows[t->n++], new, sizeof t->rows[0]);
    db_write(db, txn, t, CHANGE_INSERT, NULL, new, reversed);
}

static inline void db_update(struct db *db, struct buf *txn, struct db_table *t, size_t at,
                             const struct value *new, bool reversed)
{
    assert_true(at < t->n);
    db_write(db, txn, t, CHANGE_UPDATE, t->rows[at], new, reversed);
    memcpy(t->rows[at], new, sizeof t->rows[0]);
}

static inline void db_delete(struct db *db, struct buf *txn, struct db_table *t, size_t at, bool reversed)
{
    assert_true(at < t->n);
    db_write(db, txn, t, CHANGE_DELETE, t->rows[at], NULL, reversed);
    memmove(t->rows[at], t->rows[at + 1], (--t->n - at) * sizeof t->rows[0]);
}

static inline void db_truncate(struct db *db, struct buf *txn, struct db_table *t)
{
    db_write(db, txn, t, CHANGE_TRUNCATE, NULL, NULL, false);
    t->n = 0;
}

static inline void db_values(struct str words, struct value *out)
{
    memset(out, 0, DB_COLUMNS * sizeof *out);
    for (size_t i = 0; words.n; i++) {
        struct str word = str_cut(&words, ' ');
        out[i] = str_eq(word, STR("-"))    ? (struct value){0}
                 : str_eq(word, STR("''")) ? (struct value){"", 0}
                                           : (struct value){word.p, (uint32_t)word.n};
    }
}

static inline void db_statement(struct db *db, struct buf *txn, struct str words)
{
    struct value values[DB_COLUMNS];
    struct str verb = str_cut(&words, ' ');
    struct db_table *t = db_table(db, str_cut(&words, ' '));
    if (str_eq(verb, STR("rekey"))) {
        db_values(str_trim(str_cut(&words, ':')), values);
        size_t at = db_find(t, values);
        db_values(str_trim(words), values);
        db_update(db, txn, t, at, values, false);
        return;
    }
    db_values(words, values);
    if (str_eq(verb, STR("insert"))) {
        db_insert(db, txn, t, values, false);
    } else if (str_eq(verb, STR("update"))) {
        db_update(db, txn, t, db_find(t, values), values, false);
    } else if (str_eq(verb, STR("delete"))) {
        db_delete(db, txn, t, db_find(t, values), false);
    } else {
        assert_true(str_eq(verb, STR("truncate")));
        db_truncate(db, txn, t);
    }
}

/* The transaction's bytes are in txn, which is empty before. */
static inline void db_run(struct db *db, struct buf *txn, const char *statements)
{
    struct str rest = str_c(statements);
    txn_begin(txn);
    while (rest.n) {
        db_statement(db, txn, str_trim(str_cut(&rest, ';')));
    }
    txn_end(txn, &(struct txn_head){.end_lsn = 1});
}

/* Whether a row is among those that a need is about. The server does not evaluate every where: so do we not.
 */
static inline bool db_answers(const struct layer *l, const struct view_need *need, const struct value *row)
{
    for (size_t i = 0; i < need->n; i++) {
        bool same = true;
        for (uint32_t c = 0; c < l->columns.n; c++) {
            same = same && row[l->columns.items[c]].p &&
                   db_same(&row[l->columns.items[c]], &need->keys[i * l->columns.n + c], 1);
        }
        if (same) {
            return true;
        }
    }
    return need->whole;
}

static inline void db_answer(struct db *db, const struct forest *f, struct view *v,
                             const struct view_need *need)
{
    const struct layer *l = &f->layers[need->layer];
    struct db_table *t = db_table(db, l->table->name);
    for (size_t i = 0; i < t->n; i++) {
        if (db_answers(l, need, t->rows[i])) {
            view_feed(v, t->rows[i]);
        }
    }
}

static inline void db_answer_all(struct db *db, const struct forest *f, struct view *v)
{
    const struct view_need *need;
    while ((need = view_next_need(v))) {
        db_answer(db, f, v, need);
    }
}

/* view_apply() of bytes alone. */
static inline int fx_apply(struct view *v, struct str txn, const struct relations *relations, struct arena *a,
                           struct view_ops *ops, struct err *err)
{
    struct txn_summary summary;
    assert_int_equal(txn_summarize(txn, &summary, err), 0);
    return view_apply(v, txn, &summary, relations, a, ops, err);
}

static inline void put_row(struct buf *out, const struct table *t, const struct value *row)
{
    for (size_t i = 0; i < t->n_columns; i++) {
        buf_put_byte(out, ' ');
        buf_put_str(out, !row[i].p ? STR("-") : row[i].n ? (struct str){row[i].p, row[i].n} : STR("''"));
    }
}

static inline void put_op(struct buf *out, const struct view_op *op)
{
    static const char *const names[] = {"insert", "update", "delete", "gone"};
    buf_printf(out, "%s %.*s", names[op->kind], STR_ARG(op->table->name));
    if (op->old && op->kind == VIEW_GONE) {
        struct table key = *op->table;
        key.n_columns = key.primary_key.columns.n;
        put_row(out, &key, op->old);
    } else if (op->old) {
        put_row(out, op->table, op->old);
    }
    buf_put_c(out, op->old && op->new ? " >" : "");
    if (op->new) {
        put_row(out, op->table, op->new);
    }
}
