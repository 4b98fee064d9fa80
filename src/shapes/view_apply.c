/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transaction moves a view:
 *
 *   1. its changes are put together, one net change a row (gather);
 *   2. tops look at the old and the new row, and let go and hold what these refer to (change_tops);
 *   3. group by group, in an order in which who holds a group's anchors is settled before it is its turn
 *      (view_advance): changed rows enter, stay or leave; anchors newly held have rows that must be read (a
 * pause); rows of anchors that nobody holds any more leave;
 *   4. rows that were or are visible become operations (view_finish).
 *
 * Loading is step 3 alone, after the tops have been read.
 */
#include "shapes/view_index.h"

#include <assert.h>
#include <stdlib.h>

/* --- touched rows --- */

static struct touched *find_touched(const struct vtable *t, struct str key, uint32_t hash)
{
    return (struct touched *)(void *)keytable_find(&t->touched, key, hash);
}

static void list_add(struct touched_list *list, struct touched *t)
{
    *list->end = t;
    list->end = &t->next;
}

static struct touched *add_touched(struct view *v, struct vtable *t, struct str key, uint32_t hash)
{
    struct touched *new = arena_alloc(v->a, sizeof *new + key.n);
    *new = (struct touched){.k = {.hash = hash, .n = (uint32_t)key.n}, .table = t};
    if (key.n > 0) {
        memcpy(new->key, key.p, key.n);
        keytable_add(&t->touched, &new->k);
    }
    return new;
}

static struct touched *add_changed(struct view *v, struct vtable *t, struct str key, uint32_t hash)
{
    struct touched *new = add_touched(v, t, key, hash);
    new->changed = true;
    list_add(&v->changed, new);
    *t->changed_end = new;
    t->changed_end = &new->sibling;
    return new;
}

/* A row that is in some layer before it is moved out of it. */
static struct touched *touch_row(struct view *v, struct vtable *t, struct row *r)
{
    struct str key = {(char *)r + t->rows.key_at, r->k.n};
    struct touched *touched = find_touched(t, key, r->k.hash);
    if (!touched) {
        touched = add_touched(v, t, key, r->k.hash);
        touched->was_visible = true;
        touched->top = r->k.mark;
        touched->row = r;
        list_add(&v->moved, touched);
    }
    return touched;
}

/* --- net changes --- */

/* No row: no. */
static bool admits(const struct view *v, const struct vlayer *l, const struct value *row)
{
    return row && layer_admits(l->layer, v->user, row);
}

static bool any_admits(const struct view *v, const struct vtable *t, const struct value *row)
{
    for (uint32_t i = 0; i < t->n_joins; i++) {
        if (admits(v, t->joins[i], row)) {
            return true;
        }
    }
    return row && view_tops_admit(v, t, row);
}

static bool is_held(struct view *v, const struct vlayer *l, const struct value *row)
{
    const struct anchor *a = anchor_find(v, l, row);
    return a && a->holders > 0;
}

/* What is held is settled. A row of the index has to be found even if it is not what the log says it was. */
static bool any_has(struct view *v, const struct vtable *t, const struct value *row)
{
    for (uint32_t i = 0; i < t->n_joins; i++) {
        if (admits(v, t->joins[i], row) && is_held(v, t->joins[i], row)) {
            return true;
        }
    }
    if (t->rows.n > 0) {
        struct str key = row_key(v, t, row);
        return row_find(t, key, key_hash(v->seed, key)) != NULL;
    }
    return false;
}

/* Whether the row is seen, or may be once more is known of the transaction. */
static bool may_be_seen(struct view *v, const struct vtable *t, const struct value *row)
{
    if (!row) {
        return false;
    }
    return t->settled ? view_tops_admit(v, t, row) || any_has(v, t, row) : any_admits(v, t, row);
}

/* With the values. */
static const struct value *copy_row(struct arena *a, const struct value *row, size_t n)
{
    struct value *copy = arena_alloc(a, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) {
        copy[i] = row[i];
        if (row[i].p) {
            copy[i].p = arena_str(a, (struct str){row[i].p, row[i].n}).p;
        }
    }
    return copy;
}

/* The values are the transaction's. */
static const struct value *keep(struct view *v, const struct vtable *t, const struct value *row)
{
    if (!row) {
        return NULL;
    }
    size_t bytes = t->table->n_columns * sizeof *row;
    return memcpy(arena_alloc(v->a, bytes), row, bytes);
}

/* One key went from old to new. A row that does not matter, before and after, is left out, unless an earlier
 * change has brought it in. */
static void note(struct view *v, struct vtable *t, const struct value *old, const struct value *new,
                 bool matters)
{
    struct touched *row = NULL;
    if (v->alone && t->n_joins == 0) { /* nobody will look for it */
        row = matters ? add_changed(v, t, (struct str){NULL, 0}, 0) : NULL;
    } else if (matters || t->touched.n > 0) {
        struct str key = row_key(v, t, old ? old : new);
        uint32_t hash = key_hash(v->seed, key);
        struct touched *found = find_touched(t, key, hash);
        if (found) {
            found->new = keep(v, t, new);
            return;
        }
        row = matters ? add_changed(v, t, key, hash) : NULL;
    }
    t->unnoted = t->unnoted || (!row && !new);
    if (row) {
        row->old = keep(v, t, old);
        row->new = keep(v, t, new);
    }
}

static int gather_row(struct view *v, const struct rowmap *map, const struct change *change, struct err *err)
{
    struct vtable *t = &v->tables[map->table];
    const struct value *old = NULL, *new = NULL;
    if (rowmap_read(&v->maps, map, &change->old, &v->scratch, &old, err) < 0 ||
        rowmap_read(&v->maps, map, &change->new, &v->scratch, &new, err) < 0) {
        return -1;
    }
    if ((change->kind != CHANGE_INSERT && !old) || (change->kind != CHANGE_DELETE && !new)) {
        return err_set(err, ERR_INTERNAL, "the log lacks a row of a change of %.*s", STR_ARG(t->table->name));
    }
    bool matters = may_be_seen(v, t, old) || may_be_seen(v, t, new);
    v->visible += matters ? change->old.bytes + change->new.bytes : 0;
    if (old && new && !key_equal(old, t->key, new, t->key, t->n_key)) {
        v->alone = false;
        note(v, t, old, NULL, matters);
        note(v, t, NULL, new, matters);
    } else {
        note(v, t, old, new, matters);
    }
    return 0;
}

static void truncate_table(struct view *v, struct vtable *t)
{
    t->unnoted = true;
    for (struct touched *row = t->changed; row; row = row->sibling) {
        row->new = NULL;
    }
    for (size_t i = 0; i < t->rows.cap; i++) {
        for (struct keyed *k = t->rows.slots[i]; k; k = k->next) {
            struct row *r = CONTAINER_OF(k, struct row, k);
            struct str key = {(char *)r + t->rows.key_at, k->n};
            if (!find_touched(t, key, k->hash)) {
                struct touched *row = add_changed(v, t, key, k->hash);
                row->old = copy_row(v->a, row_kept(t, r), t->table->n_columns);
                row->truncated = true;
            }
        }
    }
}

static int gather_change(struct view *v, const struct change *change, const struct relations *relations,
                         struct err *err)
{
    const struct rowmap *map;
    if (change->kind == CHANGE_MESSAGE) {
        return VIEW_DONE;
    }
    int rc = rowmaps_find(&v->maps, relations, change->relation, &map, err);
    if (rc <= 0) {
        return rc < 0 ? -1 : VIEW_DONE;
    }
    if (change->kind == CHANGE_TRUNCATE) {
        struct vtable *t = &v->tables[map->table];
        if (t->n_tops > 0) {
            return VIEW_RESYNC;
        }
        truncate_table(v, t);
        return VIEW_DONE;
    }
    rc = gather_row(v, map, change, err);
    arena_reset(&v->scratch);
    return rc < 0 ? -1 : view_is_over_limit(v) ? VIEW_TOO_MUCH : VIEW_DONE;
}

static int note_tables(struct view *v, const struct txn_summary *summary, const struct relations *relations,
                       struct err *err)
{
    for (uint32_t i = 0; i < v->n_tables; i++) {
        v->tables[i].changes = summary->more;
    }
    for (uint32_t i = 0; i < summary->n; i++) {
        const struct rowmap *map;
        int rc = rowmaps_find(&v->maps, relations, summary->relations[i], &map, err);
        if (rc < 0) {
            return -1;
        }
        if (rc > 0) {
            v->tables[map->table].changes = true;
        }
    }
    return 0;
}

static bool is_settled(const struct view *v, const struct vtable *t)
{
    for (uint32_t i = 0; i < t->n_joins; i++) {
        for (uint32_t j = 0; j < v->n_tables; j++) {
            if (v->tables[j].changes && t->joins[i]->moved_by[j]) {
                return false;
            }
        }
    }
    return true;
}

static int gather_all(struct view *v, struct txn_cursor c, const struct relations *relations, struct err *err)
{
    struct change change;
    for (;;) {
        int rc = txn_next(&c, &change, err);
        if (rc <= 0) {
            return rc < 0 ? -1 : VIEW_DONE;
        }
        rc = gather_change(v, &change, relations, err);
        if (rc != VIEW_DONE) {
            return rc;
        }
    }
}

static int gather_part(struct view *v, struct str txn, const struct txn_part *part,
                       const struct relations *relations, struct err *err)
{
    struct change change;
    for (uint32_t i = 0; i < v->n_tables; i++) {
        v->tables[i].unnoted = true;
    }
    for (size_t i = 0; i < part->n; i++) {
        struct txn_cursor c = txn_changes_from(txn, part->places[i]);
        int rc = txn_next(&c, &change, err);
        assert(rc != 0);
        rc = rc < 0 ? rc : gather_change(v, &change, relations, err);
        if (rc != VIEW_DONE) {
            return rc;
        }
    }
    return VIEW_DONE;
}

/* part NULL: all. */
static int gather(struct view *v, struct str txn, const struct txn_part *part,
                  const struct txn_summary *summary, const struct relations *relations, struct err *err)
{
    struct txn_head head;
    if (txn_read_head(txn, &head, err) < 0 || note_tables(v, summary, relations, err) < 0) {
        return -1;
    }
    for (uint32_t i = 0; i < v->n_tables; i++) {
        v->tables[i].settled = is_settled(v, &v->tables[i]);
    }
    v->alone = head.changes == 1;
    return part ? gather_part(v, txn, part, relations, err) : gather_all(v, txn_changes(txn), relations, err);
}

/* --- changed rows in their layers --- */

/* The row is new in the database, so nothing can have referred to it. */
static bool is_fresh(const struct touched *t)
{
    return t->changed && !t->old && !t->table->unnoted;
}

static void change_top(struct view *v, struct vlayer *l, struct touched *t)
{
    bool was = admits(v, l, t->old);
    bool is = admits(v, l, t->new);
    t->was_visible = t->was_visible || was;
    t->top = t->top || is;
    if (was && is) {
        ties_shift(v, l, t->old, t->new);
    } else if (was) {
        ties_let_go(v, l, t->old);
    } else if (is) {
        ties_hold(v, l, t->new, is_fresh(t));
    }
}

/* The row in the index, which is as the log says it was; else the view is that of another database. */
static void find_kept_row(struct view *v, struct touched *t)
{
    struct vtable *table = t->table;
    const uint32_t *kept = table->kept;
    struct row *r = row_find(table, (struct str){t->key, t->k.n}, t->k.hash);
    if (!r) {
        return;
    }
    if (!t->old || !key_equal(t->old, kept, row_kept(table, r), kept, table->n_kept)) {
        v->wrong = true;
        return;
    }
    t->was_visible = true;
    if (t->new && !key_equal(t->old, kept, t->new, kept, table->n_kept)) {
        r = row_replace(v, table, r, t->new);
    }
    t->row = r;
}

static void change_tops(struct view *v)
{
    for (struct touched *t = v->changed.first; t; t = t->next) {
        for (uint32_t i = 0; i < t->table->n_tops; i++) {
            change_top(v, t->table->tops[i], t);
        }
        if (t->table->n_joins > 0) {
            find_kept_row(v, t);
        }
    }
}

static struct row *add_row(struct view *v, struct vtable *t, const struct value *values, bool top)
{
    struct row *r = row_add(v, t, values);
    r->k.mark = top;
    return r;
}

static void enter(struct view *v, struct vlayer *l, struct touched *t, struct anchor *a)
{
    if (!t->row) {
        t->row = add_row(v, l->table, t->new, t->top);
    }
    row_put_in(t->row, l, a);
    ties_hold(v, l, t->new, is_fresh(t));
}

static void leave(struct view *v, struct vlayer *l, struct touched *t)
{
    row_take_out(t->row, l);
    ties_let_go(v, l, t->old);
}

/* In a cycle, a row whose anchor has lost its holders stays for now: another one may come to hold it. */
static void change_join(struct view *v, struct vlayer *l, struct touched *t)
{
    const struct columns *own = &l->layer->columns;
    bool was = t->row && row_is_in(t->row, l);
    bool admitted = admits(v, l, t->new);
    struct anchor *a = t->new ? anchor_find(v, l, t->new) : NULL;
    if (a && a->holders > 0 && l->layer->kind == LAYER_TO_ONE && (a->marks & ANCHOR_TOUCHED)) {
        a->marks |= ANCHOR_ANSWERED;
    }
    if (was && admitted && a && key_equal(t->old, own->items, t->new, own->items, own->n)) {
        ties_shift(v, l, t->old, t->new);
        return;
    }
    if (was) {
        leave(v, l, t);
    }
    if (admitted && a && a->holders > 0) {
        enter(v, l, t, a);
    } else if (t->new && v->gathering) {
        cycle_wait(v, l, t);
    }
}

void view_take_out(struct view *v, struct vlayer *l, struct row *r)
{
    touch_row(v, l->table, r);
    row_take_out(r, l);
    ties_let_go(v, l, row_kept(l->table, r));
}

/* --- group by group --- */

static void begin_group(struct view *v, struct group *g)
{
    v->group_begun = true;
    v->gathering = g->cyclic;
    for (uint32_t i = 0; i < g->n; i++) {
        for (struct touched *t = g->layers[i]->table->changed; t; t = t->sibling) {
            change_join(v, g->layers[i], t);
        }
    }
}

/* An anchor has come to be held. Its rows: changed ones, which know by now or have been waiting; or unknown.
 */
static void rise(struct view *v, struct vlayer *l, struct anchor *a)
{
    if (a->holders == 0 || (a->marks & ANCHOR_ANSWERED)) {
        return;
    }
    struct touched *waiting = cycle_waiting(l, a);
    if (waiting) {
        a->marks |= ANCHOR_ANSWERED;
        if (admits(v, l, waiting->new)) {
            enter(v, l, waiting, a);
        }
    } else if (!(a->marks & ANCHOR_WAS) && (a->marks & ANCHOR_READ)) {
        a->marks |= ANCHOR_ANSWERED;
        anchors_push(&l->asked, a);
    }
}

static void rise_all(struct view *v, struct group *g)
{
    bool more;
    do {
        more = false;
        for (uint32_t i = 0; i < g->n; i++) {
            struct anchors *risen = &g->layers[i]->risen;
            while (risen->done < risen->n) {
                rise(v, g->layers[i], risen->items[risen->done++]);
                more = true;
            }
        }
    } while (more);
}

static bool ask(struct view *v, struct vlayer *l)
{
    struct anchors *asked = &l->asked;
    size_t n = asked->n - asked->done;
    uint32_t width = l->layer->columns.n;
    if (n == 0) {
        return false;
    }
    struct value *keys = arena_alloc_array(v->a, n * width, sizeof *keys);
    for (size_t i = 0; i < n; i++) {
        const char *p = asked->items[asked->done++]->key;
        for (uint32_t j = 0; j < width; j++) {
            p = key_take(p, &keys[i * width + j]);
        }
    }
    v->need = (struct view_need){.layer = l->index, .keys = keys, .n = n};
    return true;
}

static bool ask_any(struct view *v, struct group *g)
{
    for (uint32_t i = 0; i < g->n; i++) {
        if (ask(v, g->layers[i])) {
            return true;
        }
    }
    return false;
}

static void fall_all(struct view *v, struct group *g)
{
    bool more;
    do {
        more = false;
        for (uint32_t i = 0; i < g->n; i++) {
            struct anchors *fallen = &g->layers[i]->fallen;
            while (fallen->done < fallen->n) {
                struct anchor *a = fallen->items[fallen->done++];
                while (a->holders == 0 && a->first) {
                    view_take_out(v, g->layers[i], a->first);
                }
                more = true;
            }
        }
    } while (more);
}

static void end_group(struct view *v, struct group *g)
{
    v->gathering = false;
    ties_let_go_now(v);
    fall_all(v, g);
    if (g->cyclic) {
        cycle_collect(v, g);
        fall_all(v, g);
    }
    v->group_begun = false;
}

bool view_advance(struct view *v)
{
    for (; !v->wrong && v->group < v->n_groups; v->group++) {
        struct group *g = &v->groups[v->group];
        if (!v->group_begun) {
            begin_group(v, g);
        }
        rise_all(v, g);
        if (ask_any(v, g)) {
            return true;
        }
        end_group(v, g);
    }
    return false;
}

static struct touched *touch_fed(struct view *v, struct vlayer *l, const struct value *row, struct row *r)
{
    struct vtable *t = l->table;
    struct str key = row_key(v, t, row);
    struct touched *new = add_touched(v, t, key, key_hash(v->seed, key));
    new->top = r ? r->k.mark : view_tops_admit(v, t, row);
    new->was_visible = new->top || (r && row_is_anywhere(r, t));
    new->referred = l->layer->kind == LAYER_TO_ONE;
    list_add(&v->moved, new);
    return new;
}

/* Loading. Those that a top has were told when it was read. */
static void tell_row(struct view *v, const struct vtable *t, const struct row *r, const struct value *row)
{
    if (v->on_row && v->load == VIEW_LOAD_ROWS && !r->k.mark) {
        v->on_row(v->ctx, t->table, row);
    }
}

static void feed_into(struct view *v, struct vlayer *l, const struct value *row, struct anchor *a)
{
    struct vtable *t = l->table;
    struct str key = row_key(v, t, row);
    uint32_t hash = key_hash(v->seed, key);
    struct row *r = row_find(t, key, hash);
    struct touched *touched = find_touched(t, key, hash);
    if ((touched && touched->changed) || (r && row_is_in(r, l))) {
        return; /* a changed row knows its place already */
    }
    if (v->work == WORK_APPLY) {
        touched = touched ? touched : touch_fed(v, l, row, r);
        touched->new = touched->new ? touched->new : copy_row(v->a, row, t->table->n_columns);
        touched->row = r = r ? r : add_row(v, t, row, touched->top);
    } else if (!r) {
        r = add_row(v, t, row, view_tops_admit(v, t, row));
        tell_row(v, t, r, row);
    }
    row_put_in(r, l, a);
    ties_hold(v, l, row, false);
}

void view_feed_join(struct view *v, struct vlayer *l, const struct value *row)
{
    struct anchor *a = anchor_find(v, l, row);
    if (a && a->holders > 0 && admits(v, l, row)) {
        feed_into(v, l, row, a);
    }
}

/* --- operations --- */

static struct value *key_only(struct view *v, const struct touched *t)
{
    struct value *row = arena_alloc_array(v->a, t->table->table->n_columns, sizeof *row);
    const char *p = t->key;
    for (uint32_t i = 0; i < t->table->n_key; i++) {
        p = key_take(p, &row[t->table->key[i]]);
    }
    return row;
}

/* false: nothing comes of it. */
static bool make_op(struct view *v, const struct touched *t, struct view_op *op)
{
    bool is_visible = t->top || (t->row && row_is_anywhere(t->row, t->table));
    *op = (struct view_op){.table = t->table->table, .old = t->old, .new = t->new};
    if (is_visible) {
        op->kind = t->was_visible && t->old && !t->truncated ? VIEW_UPDATE : VIEW_INSERT;
        op->old = op->kind == VIEW_UPDATE ? t->old : NULL;
        return t->changed || !t->was_visible;
    }
    op->kind = t->changed && !t->new ? VIEW_DELETE : VIEW_GONE;
    op->old = t->old ? t->old : t->was_visible ? key_only(v, t) : NULL;
    op->new = NULL;
    return t->was_visible;
}

static void reverse(struct view_op *ops, size_t n)
{
    for (size_t i = 0; i < n / 2; i++) {
        struct view_op op = ops[i];
        ops[i] = ops[n - 1 - i];
        ops[n - 1 - i] = op;
    }
}

static size_t list_length(const struct touched_list *list)
{
    size_t n = 0;
    for (const struct touched *t = list->first; t; t = t->next) {
        n++;
    }
    return n;
}

static size_t add_moved(struct view *v, struct view_op *ops, size_t n, enum view_op_kind kind, bool referred)
{
    for (const struct touched *t = v->moved.first; t; t = t->next) {
        n += t->referred == referred && make_op(v, t, &ops[n]) && ops[n].kind == kind;
    }
    return n;
}

static struct view_ops make_ops(struct view *v)
{
    size_t n = 0, room = list_length(&v->changed) + list_length(&v->moved);
    if (room == 0) {
        return (struct view_ops){NULL, 0};
    }
    struct view_op *ops = arena_alloc(v->a, (room + 1) * sizeof *ops); /* one is tried out behind the last */
    n = add_moved(v, ops, n, VIEW_INSERT, true);
    reverse(ops, n); /* what others refer to was found after them */
    for (const struct touched *t = v->changed.first; t; t = t->next) {
        n += make_op(v, t, &ops[n]);
    }
    n = add_moved(v, ops, n, VIEW_INSERT, false);
    n = add_moved(v, ops, n, VIEW_GONE, false);
    n = add_moved(v, ops, n, VIEW_GONE, true);
    return (struct view_ops){ops, n};
}

/* --- the end --- */

static void forget_rows(struct view *v, struct touched *first)
{
    for (struct touched *t = first; t; t = t->next) {
        if (t->row && !row_is_anywhere(t->row, t->table)) {
            row_drop(v, t->table, t->row);
        } else if (t->row) {
            t->row->k.mark = t->top;
        }
        t->table->changed = NULL;
        t->table->changed_end = &t->table->changed;
        keytable_deinit(&t->table->touched);
    }
}

void view_end_work(struct view *v)
{
    forget_rows(v, v->changed.first);
    forget_rows(v, v->moved.first);
    for (uint32_t i = 0; v->n_groups > 0 && i < v->n_layers; i++) {
        layer_settle(v, &v->layers[i]);
    }
    v->changed = v->moved = (struct touched_list){NULL, NULL};
    v->work = WORK_NONE;
}

static void begin_work(struct view *v, struct arena *a)
{
    for (uint32_t i = 0; v->n_groups > 0 && i < v->n_tables; i++) {
        v->tables[i].unnoted = false;
    }
    v->work = WORK_APPLY;
    v->a = a;
    v->visible = 0 - a->used;
    v->changed = (struct touched_list){NULL, &v->changed.first};
    v->moved = (struct touched_list){NULL, &v->moved.first};
    v->group = 0;
    v->group_begun = false;
    v->put_off = NULL;
}

int view_finish(struct view *v, struct view_ops *out_ops, struct err *err)
{
    assert(v->work == WORK_APPLY && !v->need_ready);
    struct view_ops ops = {NULL, 0};
    if (view_is_over_limit(v)) {
        return VIEW_TOO_MUCH;
    }
    if (!v->wrong) {
        ops = make_ops(v);
        view_end_work(v);
    }
    if (v->wrong) {
        return err_set(err, ERR_INTERNAL, "the log does not agree with what a view has read");
    }
    *out_ops = ops;
    return VIEW_DONE;
}

/* The transaction's bytes need not stay while rows are read. */
static void own_values(struct view *v)
{
    for (struct touched *t = v->changed.first; t; t = t->next) {
        size_t n = t->table->table->n_columns;
        t->old = t->old ? copy_row(v->a, t->old, n) : NULL;
        t->new = t->new ? copy_row(v->a, t->new, n) : NULL;
    }
}

static int apply(struct view *v, struct str txn, const struct txn_part *part,
                 const struct txn_summary *summary, const struct relations *relations, struct arena *a,
                 struct view_ops *out_ops, struct err *err)
{
    assert(v->work == WORK_NONE);
    begin_work(v, a);
    int rc = gather(v, txn, part, summary, relations, err);
    if (rc == VIEW_RESYNC) { /* nothing has been moved */
        view_end_work(v);
    }
    if (rc != VIEW_DONE) {
        return rc;
    }
    if (!v->changed.first) {
        v->work = WORK_NONE;
        *out_ops = (struct view_ops){NULL, 0};
        return VIEW_DONE;
    }
    change_tops(v);
    if (view_advance(v)) {
        v->need_ready = true;
        own_values(v);
        return VIEW_NEEDS;
    }
    return view_finish(v, out_ops, err);
}

int view_apply(struct view *v, struct str txn, const struct txn_summary *summary,
               const struct relations *relations, struct arena *a, struct view_ops *out_ops, struct err *err)
{
    return apply(v, txn, NULL, summary, relations, a, out_ops, err);
}

int view_apply_part(struct view *v, struct str txn, const struct txn_part *part,
                    const struct txn_summary *summary, const struct relations *relations, struct arena *a,
                    struct view_ops *out_ops, struct err *err)
{
    return apply(v, txn, part, summary, relations, a, out_ops, err);
}
