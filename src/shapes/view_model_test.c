/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random shapes over a random database, random transactions: after each, what a client has by the view's
 * operations must be what the definition of the layers gives, computed from scratch; and a view that is
 * loaded at an earlier position, through an overlay, must do the same from there on.
 *
 *   shapes_view_model_test [seed [steps]]
 */
#include "shapes/ahead.h"
#include "shapes/view_fixture.h"
#include "shapes/view_index.h"

#include <stdlib.h>
#include <time.h>

static const struct fx_shape_table TABLES[] = {
    {"users", "id kind boss electric_user_id", "id", "boss > users id"},
    {"projects", "id kind owner electric_user_id", "id", "owner > users id"},
    {"issues", "id kind project author", "id", "project > projects id; author > users id"},
    {"comments", "id kind issue author electric_user_id", "id", "issue > issues id; author > users id"},
    {"tree", "id kind parent x y", "id", "parent > tree id; x y > places x y"},
    {"places", "x y code kind root", "x y", "root > tree id"},
    {"tags", "id kind code issue", "id", "code > places code; issue > issues id"},
};

enum { KEYS = 7, CODES = 9, KINDS = 3, LAYERS = 40, HISTORY = 12, STEPS = 6000, PER_FOREST = 60 };

struct past {
    struct db after;
    struct txn *txn;
    struct buf ops; /* sorted lines */
    int outcome;
};

struct bench {
    struct schema model;
    struct relations relations;
    uint64_t random;
    struct db db, client;
    struct arena a; /* the forest */
    const struct forest *forest;
    struct view *view;
    struct past past[HISTORY]; /* the last n_past, oldest first */
    size_t n_past;
    const struct table *tables[DB_TABLES];                     /* of an overlay */
    size_t ops, needs, reloads, foreseen, unforeseen, resyncs; /* how much was tried */
};

static uint32_t roll(struct bench *b, uint32_t n)
{
    b->random ^= b->random << 13;
    b->random ^= b->random >> 7;
    b->random ^= b->random << 17;
    return (uint32_t)(b->random >> 33) % n;
}

static struct value number(uint32_t n)
{
    static const char digits[] = "0123456789";
    return (struct value){digits + n, 1};
}

/* A copy that stays: all values are digits, empty or NULL. */
static void keep_row(struct value *out, const struct value *row, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = !row[i].p       ? row[i]
                 : row[i].n == 0 ? (struct value){"", 0}
                                 : number((uint32_t)(*row[i].p - '0'));
    }
}

/* --- random shapes --- */

static struct str random_where(struct bench *b)
{
    unsigned kind = roll(b, KINDS);
    switch (roll(b, 8)) {
    case 0:
        return str_c(arena_printf(&b->a, "this.kind = '%u' OR this.kind IS NULL", kind));
    case 1:
        return str_c(arena_printf(&b->a, "NOT this.kind IN ('1', '%u')", kind));
    case 2:
    case 3:
        return str_c(arena_printf(&b->a, "this.kind = '%u'", kind));
    default:
        return STR("");
    }
}

static const struct shape_select *random_select(struct bench *b, const struct table *t, bool to_one,
                                                unsigned depth);

static void add_include(struct bench *b, struct shape_select *s, struct shape_include *includes,
                        const struct table *from, const struct table *to, const struct foreign_key *key,
                        unsigned depth)
{
    for (size_t i = 0; i < s->n_includes; i++) {
        if (names_compare(&includes[i].foreign_key, &key->columns) == 0 &&
            str_eq(includes[i].select->table, to->name)) {
            return;
        }
    }
    bool to_one = !str_eq(from->name, to->name) && table_column(from, key->columns.items[0]) &&
                  !str_eq(key->ref_table, from->name);
    includes[s->n_includes++] = (struct shape_include){.foreign_key = key->columns,
                                                       .select = random_select(b, to, to_one, depth + 1)};
}

static const struct shape_select *random_select(struct bench *b, const struct table *t, bool to_one,
                                                unsigned depth)
{
    struct shape_select *s = arena_zalloc(&b->a, sizeof *s);
    struct shape_include *includes = arena_alloc_array(&b->a, 64, sizeof *includes);
    *s = (struct shape_select){.table = t->name, .includes = includes};
    s->where = to_one ? str_c("") : random_where(b);
    for (size_t i = 0; depth < 3 && i < b->model.n_tables; i++) {
        const struct table *other = b->model.tables[i];
        for (size_t k = 0; k < other->n_foreign_keys; k++) {
            if (str_eq(other->foreign_keys[k].ref_table, t->name) && roll(b, 3) == 0) {
                add_include(b, s, includes, t, other, &other->foreign_keys[k], depth);
            }
        }
    }
    for (size_t k = 0; depth < 3 && k < t->n_foreign_keys; k++) {
        if (roll(b, 4) == 0) {
            const struct foreign_key *key = &t->foreign_keys[k];
            add_include(b, s, includes, t, schema_table(&b->model, key->ref_schema, key->ref_table), key,
                        depth);
        }
    }
    return s;
}

static void random_forest(struct bench *b)
{
    struct shape_request requests[3];
    struct shape_faults faults;
    do {
        arena_reset(&b->a);
        size_t n = 1 + roll(b, 3);
        for (size_t i = 0; i < n; i++) {
            requests[i] =
                fx_request(random_select(b, b->model.tables[roll(b, (uint32_t)b->model.n_tables)], false, 0));
        }
        if (shape_compile(&b->a, &b->model, requests, n, &b->forest, &faults) != SHAPE_COMPILED) {
            b->forest = NULL;
        }
    } while (!b->forest || b->forest->n_layers > LAYERS);
}

/* --- random transactions --- */

static struct value random_cell(struct bench *b, const struct table *t, size_t c)
{
    struct str name = t->columns[c].name;
    if (str_eq(name, STR("electric_user_id"))) {
        uint32_t n = roll(b, 6);
        return n == 0 ? (struct value){NULL, 0} : n == 1 ? (struct value){"", 0} : number(n < 5 ? 1 : 2);
    }
    if (str_eq(name, STR("kind"))) {
        return roll(b, 9) ? number(roll(b, KINDS)) : (struct value){NULL, 0};
    }
    bool key = table_in_primary_key(t, name);
    bool pair = str_eq(name, STR("x")) || str_eq(name, STR("y"));
    return key || roll(b, 7) ? number(roll(b, pair ? 3 : KEYS)) : (struct value){NULL, 0};
}

static void random_row(struct bench *b, const struct db_table *t, struct value *row)
{
    memset(row, 0, DB_COLUMNS * sizeof *row);
    for (size_t c = 0; c < t->table->n_columns; c++) {
        row[c] = random_cell(b, t->table, c);
    }
}

/* places.code is unique. */
static bool code_is_free(const struct db_table *t, const struct value *row, size_t but)
{
    for (size_t i = 0; str_eq(t->table->name, STR("places")) && i < t->n; i++) {
        if (i != but && row[2].p && db_same(&t->rows[i][2], &row[2], 1)) {
            return false;
        }
    }
    return true;
}

static void change(struct bench *b, struct buf *txn)
{
    struct db_table *t = &b->db.tables[roll(b, (uint32_t)b->db.n_tables)];
    struct value row[DB_COLUMNS];
    bool reversed = roll(b, 4) == 0;
    random_row(b, t, row);
    size_t at = roll(b, 3) ? db_find(t, row) : t->n;
    if (at == t->n && t->n > 0 && roll(b, 2)) { /* another key for some row, maybe */
        at = roll(b, (uint32_t)t->n);
        if (roll(b, 3)) {
            memcpy(row, t->rows[at], db_key_columns(t) * sizeof *row);
        }
    }
    size_t found = db_find(t, row);
    if ((found != t->n && found != at) || !code_is_free(t, row, at)) {
        return;
    }
    if (at == t->n) {
        db_insert(&b->db, txn, t, row, reversed);
    } else if (roll(b, 7) == 0) {
        db_delete(&b->db, txn, t, at, reversed);
    } else {
        for (size_t c = db_key_columns(t); c < t->table->n_columns; c++) {
            row[c] = roll(b, 2) ? t->rows[at][c] : row[c];
        }
        if (code_is_free(t, row, at)) {
            db_update(&b->db, txn, t, at, row, reversed);
        }
    }
}

static size_t column_of(const struct table *t, struct str name)
{
    return (size_t)(table_column(t, name) - t->columns);
}

static bool refers_to_nothing(struct db *db, const struct table *t, const struct foreign_key *key,
                              const struct value *row)
{
    const struct db_table *to = db_table(db, key->ref_table);
    for (size_t c = 0; c < key->columns.n; c++) {
        if (!row[column_of(t, key->columns.items[c])].p) {
            return false;
        }
    }
    for (size_t i = 0; i < to->n; i++) {
        bool same = true;
        for (size_t c = 0; c < key->columns.n; c++) {
            same = same && db_same(&row[column_of(t, key->columns.items[c])],
                                   &to->rows[i][column_of(to->table, key->ref_columns.items[c])], 1);
        }
        if (same) {
            return false;
        }
    }
    return true;
}

/* As ON DELETE does, SET NULL or CASCADE. true: something was changed. */
static bool mend_table(struct bench *b, struct buf *txn, struct db_table *t)
{
    for (size_t k = 0; k < t->table->n_foreign_keys; k++) {
        const struct foreign_key *key = &t->table->foreign_keys[k];
        for (size_t i = 0; i < t->n; i++) {
            if (!refers_to_nothing(&b->db, t->table, key, t->rows[i])) {
                continue;
            }
            if (roll(b, 6) == 0) {
                db_delete(&b->db, txn, t, i, false);
            } else {
                struct value row[DB_COLUMNS];
                memcpy(row, t->rows[i], sizeof row);
                row[column_of(t->table, key->columns.items[0])] = (struct value){NULL, 0};
                db_update(&b->db, txn, t, i, row, false);
            }
            return true;
        }
    }
    return false;
}

static void mend(struct bench *b, struct buf *txn)
{
    bool more;
    do {
        more = false;
        for (size_t i = 0; i < b->db.n_tables; i++) {
            more = mend_table(b, txn, &b->db.tables[i]) || more;
        }
    } while (more);
}

static struct txn *random_txn(struct bench *b)
{
    struct buf txn = BUF_INIT(1 << 20);
    uint32_t n = roll(b, 10) ? 1 + roll(b, 4) : 1 + roll(b, 30);
    txn_begin(&txn);
    if (roll(b, 60) == 0) {
        db_truncate(&b->db, &txn, &b->db.tables[roll(b, (uint32_t)b->db.n_tables)]);
    }
    for (uint32_t i = 0; i < n; i++) {
        change(b, &txn);
    }
    mend(b, &txn);
    txn_end(&txn, &(struct txn_head){.end_lsn = 1});
    return txn_new(&txn, &(struct txn_summary){0});
}

/* --- what should be seen --- */

struct seen {
    bool in[LAYERS][DB_ROWS]; /* by layer, row of the layer's table */
};

static bool refers(const struct value *from, struct columns columns, const struct value *to,
                   struct columns key)
{
    for (uint32_t i = 0; i < columns.n; i++) {
        if (!from[columns.items[i]].p || !db_same(&from[columns.items[i]], &to[key.items[i]], 1)) {
            return false;
        }
    }
    return true;
}

static bool held_by(struct bench *b, struct db *db, const struct seen *s, const struct layer *from,
                    uint32_t index, struct columns columns, const struct layer *l, const struct value *row)
{
    const struct db_table *t = db_table(db, from->table->name);
    for (size_t i = 0; i < t->n; i++) {
        if (s->in[index][i] && (l->kind == LAYER_TO_MANY ? refers(row, l->columns, t->rows[i], columns)
                                                         : refers(t->rows[i], columns, row, l->columns))) {
            return true;
        }
    }
    return false;
}

static bool belongs(struct bench *b, struct db *db, const struct seen *s, uint32_t index,
                    const struct value *row)
{
    const struct layer *layers = b->forest->layers, *l = &layers[index];
    if (!layer_admits(l, STR("1"), row) || l->kind == LAYER_TOP) {
        return layer_admits(l, STR("1"), row);
    }
    if (l->kind == LAYER_TO_MANY) {
        return held_by(b, db, s, &layers[l->parent], (uint32_t)l->parent, l->parent_columns, l, row);
    }
    for (uint32_t i = 0; i < b->forest->n_layers; i++) {
        for (uint32_t e = 0; e < layers[i].n_edges; e++) {
            if (layers[i].edges[e].target == index &&
                held_by(b, db, s, &layers[i], i, layers[i].edges[e].columns, l, row)) {
                return true;
            }
        }
    }
    return false;
}

static void compute(struct bench *b, struct db *db, struct db *out)
{
    struct seen s = {0};
    bool more;
    *out = *db;
    do {
        more = false;
        for (uint32_t l = 0; l < b->forest->n_layers; l++) {
            const struct db_table *t = db_table(db, b->forest->layers[l].table->name);
            for (size_t i = 0; i < t->n; i++) {
                if (!s.in[l][i] && belongs(b, db, &s, l, t->rows[i])) {
                    s.in[l][i] = more = true;
                }
            }
        }
    } while (more);
    for (size_t k = 0; k < db->n_tables; k++) {
        const struct db_table *t = &db->tables[k];
        out->tables[k].n = 0;
        for (size_t i = 0; i < t->n; i++) {
            bool visible = false;
            for (uint32_t l = 0; l < b->forest->n_layers; l++) {
                visible = visible || (b->forest->layers[l].table == t->table && s.in[l][i]);
            }
            if (visible) {
                memcpy(out->tables[k].rows[out->tables[k].n++], t->rows[i], sizeof t->rows[0]);
            }
        }
    }
}

static void check_equal(struct db *wanted, struct db *got, const char *what)
{
    for (size_t k = 0; k < wanted->n_tables; k++) {
        const struct db_table *w = &wanted->tables[k], *g = &got->tables[k];
        size_t n = w->table->n_columns;
        for (size_t i = 0; i < w->n; i++) {
            size_t at = db_find(g, w->rows[i]);
            if (at == g->n || !db_same(g->rows[at], w->rows[i], n)) {
                CLEANUP(buf_deinit) struct buf out = BUF_INIT(4096);
                put_row(&out, w->table, w->rows[i]);
                fail_msg("%s: %s of %.*s:%s", what, at == g->n ? "lacks a row" : "has another row",
                         STR_ARG(w->table->name), buf_cstr(&out));
            }
        }
        if (w->n != g->n) {
            fail_msg("%s: %zu rows of %.*s, should be %zu", what, g->n, STR_ARG(w->table->name), w->n);
        }
    }
}

/* --- the client --- */

static void client_op(struct bench *b, const struct view_op *op, bool truncated)
{
    struct db_table *c = db_table(&b->client, op->table->name), *now = db_table(&b->db, op->table->name);
    const struct value *row = op->new ? op->new : op->old;
    size_t at = db_find(c, row), n = op->table->n_columns;
    bool exists = db_find(now, row) < now->n;
    if (op->kind == VIEW_INSERT) {
        assert_true(at == c->n || truncated);
        c->n += at == c->n;
    } else {
        assert_true(at < c->n);
    }
    if (op->kind == VIEW_UPDATE) {
        assert_true(db_same(op->old, c->rows[at], n));
    }
    if (op->new) {
        keep_row(c->rows[at], op->new, n);
        return;
    }
    assert_int_equal(exists, op->kind == VIEW_GONE);
    memmove(c->rows[at], c->rows[at + 1], (--c->n - at) * sizeof c->rows[0]);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Order among rows that move may depend on how the view came to be; what they are may not. */
static void put_ops(struct buf *out, struct view_ops ops, struct arena *a)
{
    const char **lines = arena_alloc_array(a, ops.n, sizeof *lines);
    for (size_t i = 0; i < ops.n; i++) {
        CLEANUP(buf_deinit) struct buf line = BUF_INIT(4096);
        put_op(&line, &ops.items[i]);
        lines[i] = arena_strdup(a, buf_cstr(&line));
    }
    if (ops.n > 0) {
        qsort(lines, ops.n, sizeof *lines, compare_lines);
    }
    for (size_t i = 0; i < ops.n; i++) {
        buf_put_c(out, lines[i]);
        buf_put_byte(out, '\n');
    }
}

/* `keep` is what needs are answered from. */
static int apply(struct bench *b, struct view *v, struct txn *txn, struct db *at, struct arena *a,
                 struct view_ops *ops)
{
    struct err err;
    struct str lent = arena_str(a, txn_bytes(txn));
    int rc = fx_apply(v, lent, &b->relations, a, ops, &err);
    if (rc == VIEW_NEEDS) {
        memset((void *)(uintptr_t)lent.p, 'X', lent.n); /* nobody needs it any more */
        db_answer_all(at, b->forest, v);
        b->needs++;
        rc = view_finish(v, ops, &err);
    }
    if (rc < 0) {
        fail_msg("%s", err.msg);
    }
    return rc;
}

static void on_row(void *ctx, const struct table *table, const struct value *row)
{
    struct db_table *t = db_table(ctx, table->name);
    assert_int_equal(db_find(t, row), t->n);
    keep_row(t->rows[t->n++], row, table->n_columns);
}

static void empty(struct bench *b, struct db *db)
{
    db_init(db, &b->model);
}

static void load_now(struct bench *b)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct db wanted;
    view_free(b->view);
    b->view = view_new(b->forest, STR("1"));
    empty(b, &b->client);
    view_load(b->view, VIEW_LOAD_ROWS, &a, on_row, &b->client);
    db_answer_all(&b->db, b->forest, b->view);
    compute(b, &b->db, &wanted);
    check_equal(&wanted, &b->client, "loaded");
}

/* --- a restart: a view loaded at an earlier position, from the present and the log --- */

static void forget(struct past *p)
{
    txn_unref(p->txn);
    buf_deinit(&p->ops);
    *p = (struct past){0};
}

static void forget_all(struct bench *b)
{
    for (size_t i = 0; i < b->n_past; i++) {
        forget(&b->past[i]);
    }
    b->n_past = 0;
}

static void add_row(void *ctx, const struct value *row)
{
    struct db_table *t = ctx;
    memset(t->rows[t->n], 0, sizeof t->rows[0]);
    memcpy(t->rows[t->n++], row, t->table->n_columns * sizeof *row);
}

/* The database before past[from], or false when that cannot be told. */
static bool look_back(struct bench *b, size_t from, struct overlay **out_overlay, struct db *out)
{
    struct err err;
    for (size_t i = 0; i < b->db.n_tables; i++) {
        b->tables[i] = b->db.tables[i].table;
    }
    struct overlay *o = overlay_new(b->tables, b->db.n_tables, 1 << 24);
    for (uint32_t i = 0; roll(b, 2) && i < b->forest->n_layers; i++) {
        const struct layer *l = &b->forest->layers[i];
        if (l->kind != LAYER_TOP) {
            overlay_index(o, l->table, l->columns);
        }
    }
    int rc = OVERLAY_ADDED;
    for (size_t i = from; rc == OVERLAY_ADDED && i < b->n_past; i++) {
        rc = overlay_add(o, txn_bytes(b->past[i].txn), &b->relations, &err);
    }
    *out_overlay = o;
    empty(b, out);
    for (size_t k = 0; rc == OVERLAY_ADDED && k < b->db.n_tables; k++) {
        const struct db_table *t = &b->db.tables[k];
        for (size_t i = 0; i < t->n; i++) {
            const struct value *row;
            if (overlay_find(o, t->table, t->rows[i], &row) == OVERLAY_UNCHANGED) {
                add_row(&out->tables[k], t->rows[i]);
            }
        }
        overlay_each(o, t->table, add_row, &out->tables[k]);
    }
    assert_true(rc > 0);
    return rc == OVERLAY_ADDED;
}

static void replay(struct bench *b, struct view *v, size_t from)
{
    for (size_t i = from; i < b->n_past; i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
        struct view_ops ops = {0};
        int rc = apply(b, v, b->past[i].txn, &b->past[i].after, &a, &ops);
        assert_int_equal(rc, b->past[i].outcome);
        if (rc == VIEW_RESYNC) {
            return;
        }
        put_ops(&text, ops, &a);
        assert_string_equal(buf_cstr(&text), buf_cstr(&b->past[i].ops));
    }
}

/* --- one snapshot, the present, for all transactions since --- */

struct seer {
    struct bench *b;
    struct view *v;
    struct ahead *ahead;
    struct overlay *overlay;
    const struct layer *layer;
    size_t seen; /* of the past */
};

static void feed_unchanged(void *ctx, const struct value *row)
{
    struct seer *s = ctx;
    const struct value *then;
    if (overlay_find(s->overlay, s->layer->table, row, &then) == OVERLAY_UNCHANGED) {
        view_feed(s->v, row);
    }
}

static void feed_noted(void *ctx, const struct value *row)
{
    struct seer *s = ctx;
    view_feed(s->v, row);
}

static bool answer(struct seer *s, const struct view_need *need)
{
    s->layer = &s->b->forest->layers[need->layer];
    if (!ahead_answer(s->ahead, need, feed_unchanged, s)) {
        return false;
    }
    for (size_t i = 0; i < need->n; i++) {
        overlay_each_with(s->overlay, s->layer->table, s->layer->columns,
                          &need->keys[i * s->layer->columns.n], feed_noted, s);
    }
    return true;
}

static void read_ahead(struct seer *s, const struct view_need *need)
{
    struct bench *b = s->b;
    struct err err;
    size_t until = s->seen + roll(b, (uint32_t)(b->n_past - s->seen) + 1);
    ahead_need(s->ahead, need);
    for (; s->seen < until; s->seen++) {
        assert_int_equal(ahead_see(s->ahead, txn_bytes(b->past[s->seen].txn), &b->relations, &err), 0);
    }
    while ((need = ahead_next(s->ahead))) {
        const struct layer *l = &b->forest->layers[need->layer];
        struct db_table *t = db_table(&b->db, l->table->name);
        for (size_t i = 0; i < t->n; i++) {
            if (db_answers(l, need, t->rows[i])) {
                ahead_feed(s->ahead, t->rows[i]);
            }
        }
    }
}

static int apply_ahead(struct seer *s, struct txn *txn, struct arena *a, struct view_ops *ops)
{
    const struct view_need *need;
    struct err err;
    assert_int_equal(overlay_advance(s->overlay, txn_bytes(txn), &s->b->relations, &err), OVERLAY_ADDED);
    int rc = fx_apply(s->v, txn_bytes(txn), &s->b->relations, a, ops, &err);
    while (rc == VIEW_NEEDS && (need = view_next_need(s->v))) {
        if (answer(s, need)) {
            s->b->foreseen++;
            continue;
        }
        s->b->unforeseen++;
        read_ahead(s, need);
        assert_true(answer(s, need));
    }
    return rc == VIEW_NEEDS ? view_finish(s->v, ops, &err) : rc;
}

static void replay_ahead(struct bench *b, struct view *v, size_t from, struct overlay *o)
{
    struct seer s = {b, v, ahead_new(v, 1 << 24), o, NULL, from};
    for (size_t i = from; i < b->n_past; i++) {
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        CLEANUP(buf_deinit) struct buf text = BUF_INIT(1 << 20);
        struct view_ops ops = {0};
        s.seen = s.seen > i ? s.seen : i;
        int rc = apply_ahead(&s, b->past[i].txn, &a, &ops);
        assert_int_equal(rc, b->past[i].outcome);
        put_ops(&text, ops, &a);
        assert_string_equal(buf_cstr(&text), buf_cstr(&b->past[i].ops));
    }
    ahead_free(s.ahead);
}

static void restart(struct bench *b)
{
    size_t from = roll(b, (uint32_t)b->n_past);
    struct overlay *o;
    struct db then, got, wanted;
    if (look_back(b, from, &o, &then)) {
        if (from > 0) {
            check_equal(&b->past[from - 1].after, &then, "looked back");
        }
        CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
        struct view *v = view_new(b->forest, STR("1"));
        bool all = roll(b, 2);
        empty(b, &got);
        view_load(v, all ? VIEW_LOAD_ROWS : VIEW_LOAD_INDEX, &a, all ? on_row : NULL, &got);
        db_answer_all(&then, b->forest, v);
        if (all) {
            compute(b, &then, &wanted);
            check_equal(&wanted, &got, "loaded at an earlier position");
        }
        if (roll(b, 2)) {
            replay(b, v, from);
        } else {
            replay_ahead(b, v, from, o);
        }
        assert_int_equal(v->bytes,
                         b->view->bytes); /* the same rows and keys, at least as many bytes of them */
        view_free(v);
        b->reloads++;
    }
    overlay_free(o);
}

/* --- all of it --- */

static void remember(struct bench *b, struct txn *txn, int outcome, struct view_ops ops)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    if (b->n_past == HISTORY) {
        forget(&b->past[0]);
        memmove(&b->past[0], &b->past[1], (HISTORY - 1) * sizeof b->past[0]);
        b->n_past--;
    }
    struct past *p = &b->past[b->n_past++];
    *p = (struct past){.after = b->db, .txn = txn, .outcome = outcome, .ops = BUF_INIT(1 << 20)};
    put_ops(&p->ops, ops, &a);
}

static bool truncates(struct txn *txn)
{
    struct change first;
    struct err err;
    struct txn_cursor c = txn_changes(txn_bytes(txn));
    return txn_next(&c, &first, &err) == 1 && first.kind == CHANGE_TRUNCATE;
}

static void check_sees(struct bench *b)
{
    for (size_t k = 0; k < b->db.n_tables; k++) {
        const struct db_table *t = &b->db.tables[k], *c = &b->client.tables[k];
        for (size_t i = 0; i < t->n; i++) {
            assert_int_equal(view_sees(b->view, t->table, t->rows[i]), db_find(c, t->rows[i]) < c->n);
        }
    }
}

static void step(struct bench *b)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct view_ops ops = {0};
    struct db wanted;
    struct txn *txn = random_txn(b);
    int rc = apply(b, b->view, txn, &b->db, &a, &ops);
    if (rc == VIEW_RESYNC) {
        b->resyncs++;
        load_now(b);
    }
    for (size_t i = 0; i < ops.n; i++) {
        client_op(b, &ops.items[i], truncates(txn));
    }
    b->ops += ops.n;
    compute(b, &b->db, &wanted);
    check_equal(&wanted, &b->client, "after a transaction");
    check_sees(b);
    remember(b, txn, rc, ops);
    if (rc == VIEW_RESYNC) {
        forget_all(b);
    } else if (roll(b, 8) == 0) {
        restart(b);
    }
}

static uint64_t seed;
static size_t steps = STEPS;

static void the_model_agrees(void **state)
{
    (void)state;
    struct bench *b = mem_zalloc(sizeof *b);
    b->random = seed * 0x9E3779B97F4A7C15u + 1;
    fx_add_tables(&b->model, TABLES, ARRAY_LEN(TABLES));
    db_relations(&b->model, &b->relations);
    db_init(&b->db, &b->model);
    for (size_t i = 0; i < steps; i++) {
        if (i % PER_FOREST == 0) {
            view_free(b->view);
            b->view = NULL;
            forget_all(b);
            random_forest(b);
            load_now(b);
        }
        step(b);
    }
    print_message(
        "%zu steps: %zu operations, %zu transactions with needs, %zu views loaded in the past, %zu resyncs, "
        "%zu needs foreseen, %zu not\n",
        steps, b->ops, b->needs, b->reloads, b->resyncs, b->foreseen, b->unforeseen);
    assert_true(steps < STEPS || b->foreseen > b->unforeseen / 2);
    forget_all(b);
    view_free(b->view);
    arena_deinit(&b->a);
    relations_deinit(&b->relations);
    schema_deinit(&b->model);
    mem_free_p(&b);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_model_agrees)};
    uint64_t given;
    seed = argc > 1 && str_to_u64(str_c(argv[1]), UINT64_MAX, &given) ? given : (uint64_t)time(NULL);
    steps = argc > 2 && str_to_u64(str_c(argv[2]), 1u << 30, &given) ? given : STEPS;
    print_message("seed %llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
