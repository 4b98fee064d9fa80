/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a view: layers, rows and the keys they are reached by. For view.c, view_apply.c,
 * view_cycle.c.
 *
 * Layers to many and to one work alike. Each has *anchors*: a key, how many rows *hold* it (to many: the row
 * of the parent layer; to one: the rows that refer to it), and the rows of the layer with this key. A row is
 * in the layer when the layer admits it and its anchor is held. A row that is in a layer holds, in other
 * layers, the anchors of its children and of what it refers to. Tops have no anchors: what they admit is in
 * them.
 *
 * So membership flows along *ties*, from the layer of the holding row to that of the anchor. Layers are gone
 * through in that order; when it is a layer's turn, who holds its anchors is settled. Only shared layers to
 * one may form cycles; those are one *group* and are settled together (view_cycle.c).
 */
#pragma once

#include "shapes/keys.h"
#include "shapes/rowmap.h"
#include "shapes/view.h"

/* A row's place in one layer. */
struct place {
    struct row *next;
    struct row **at; /* what points to the row; NULL: it is not in the layer */
};

/* A row in some layer to many or to one. Followed by its key, and the other kept columns encoded alike. */
struct row {
    struct keyed k;        /* mark: some top has it too */
    struct place places[]; /* by vlayer.place */
};

enum anchor_mark {
    ANCHOR_TOUCHED = 1,  /* listed in vlayer.touched: the other marks are to be cleared */
    ANCHOR_WAS = 2,      /* held before the transaction */
    ANCHOR_READ = 4,     /* rows with this key may exist that the transaction does not show */
    ANCHOR_ANSWERED = 8, /* they have been asked for, or the transaction shows them */
    ANCHOR_CUT = 16,     /* let go by one, while others hold it still */
};

struct anchor {
    struct keyed k;
    struct row *first;
    uint32_t holders;
    uint32_t marks;
    char key[];
};

struct anchors {
    struct anchor **items;
    size_t n, cap, done;
};

struct tie {
    struct columns columns; /* of the holding row */
    struct vlayer *to;
    bool to_children;
    bool whole_key; /* the columns are the primary key of the holding row */
};

struct vlayer {
    const struct layer *layer;
    uint32_t index; /* in the forest */
    uint32_t group; /* in view.groups */
    struct vtable *table;
    uint32_t place; /* in row.places */
    struct tie *ties;
    uint32_t n_ties;
    struct keytable anchors;
    bool *moved_by; /* by table: a change of its rows may change which anchors are held */
    /* While something is under way: */
    struct anchors touched, risen /* held by nobody before */, fallen /* let go by the last */, asked;
    struct keytable waiting; /* changed rows whose anchor may yet be held: of a cycle alone */
};

struct vtable {
    const struct table *table;
    const uint32_t *key; /* primary key */
    uint32_t n_key;
    uint32_t *kept; /* columns that rows keep: the primary key first */
    uint32_t n_kept;
    struct vlayer **tops, **joins; /* layers over this table */
    uint32_t n_tops, n_joins;
    struct keytable rows;
    struct value *scratch; /* a row of which only kept columns are set */
    /* While something is under way: */
    struct keytable touched; /* struct touched */
    struct touched *changed, **changed_end;
    bool changes; /* the transaction has changes of its rows */
    bool settled; /* the transaction does not change which anchors are held in the layers over it */
    bool unnoted; /* rows that were there have gone unnoted: what seems to be new may have been there */
};

/* A row that a transaction changes, or that moves or leaves because of it. In the arena. */
struct touched {
    struct keyed k;
    struct touched *next;    /* in the order of the transaction; of those not changed, of discovery */
    struct touched *sibling; /* the next changed one of the table */
    struct vtable *table;
    const struct value *old, *new; /* NULL: not there; also old of one that was not changed */
    struct row *row;               /* NULL: in no layer to many or to one so far */
    bool changed;
    bool truncated; /* of `old` only kept columns are known */
    bool was_visible;
    bool top;      /* some top has it, after the transaction */
    bool referred; /* fed to a layer to one */
    char key[];
};

struct touched_list {
    struct touched *first, **end;
};

struct group {
    struct vlayer **layers;
    uint32_t n;
    bool cyclic;
};

struct let_go { /* put off until all is known that holds */
    struct let_go *next;
    struct vlayer *layer;
    struct str key;
};

enum work { WORK_NONE, WORK_APPLY, WORK_LOAD };

struct view {
    struct arena arena; /* all that is made once */
    const struct forest *forest;
    struct str user;
    struct vlayer *layers; /* as in the forest */
    uint32_t n_layers, n_tables;
    struct vtable *tables; /* as in the forest */
    const struct table **table_list;
    struct group *groups; /* in the order in which they are settled; tops are in none */
    uint32_t n_groups;
    struct rowmaps maps;
    struct key_seed seed;
    struct buf key;       /* scratch */
    struct arena scratch; /* of one change */
    size_t bytes;
    bool wrong; /* the transaction lets go what nobody holds: the log and the view do not agree */

    enum work work;
    enum view_load load;
    struct arena *a;
    size_t limit;   /* view_limit() */
    size_t visible; /* bytes of the transaction's that are seen, less what the arena had before */
    bool alone;     /* the transaction has one change */
    struct touched_list changed, moved;
    uint32_t group; /* being settled */
    bool group_begun;
    bool gathering; /* in a cyclic group: nothing is let go yet */
    struct let_go *put_off;
    uint32_t next_top; /* loading */
    struct view_need need;
    bool need_ready; /* found, and not given out yet */
    view_row_fn *on_row;
    void *ctx;
};

/* --- view.c --- */

bool view_tops_admit(const struct view *v, const struct vtable *t, const struct value *row);

/* --- view_index.c --- */

static inline bool row_is_in(const struct row *r, const struct vlayer *l)
{
    return r->places[l->place].at;
}
bool row_is_anywhere(const struct row *r, const struct vtable *t);

struct row *row_find(const struct vtable *t, struct str key, uint32_t hash);
/* Not in any layer yet. */
struct row *row_add(struct view *v, struct vtable *t, const struct value *values);
/* The same row with other values, in the same places; the primary key is the same. Frees `r`. */
struct row *row_replace(struct view *v, struct vtable *t, struct row *r, const struct value *values);
void row_drop(struct view *v, struct vtable *t, struct row *r);
/* t->scratch: a row of which the kept columns are set; they borrow from r. */
const struct value *row_kept(struct vtable *t, const struct row *r);
void row_put_in(struct row *r, const struct vlayer *l, struct anchor *anchor);
void row_take_out(struct row *r, const struct vlayer *l);

/* The primary key, in v->key: borrowed until the next one is made. */
struct str row_key(struct view *v, const struct vtable *t, const struct value *values);

/* NULL: nobody has held it, or a column is NULL. */
struct anchor *anchor_find(struct view *v, const struct vlayer *l, const struct value *row);
/* All that a row in the layer holds. `fresh`: the row is new in the database. */
void ties_hold(struct view *v, const struct vlayer *l, const struct value *row, bool fresh);
void ties_let_go(struct view *v, const struct vlayer *l, const struct value *row);
/* Both for a row that stays. */
void ties_shift(struct view *v, const struct vlayer *l, const struct value *old, const struct value *new);
/* What was put off. */
void ties_let_go_now(struct view *v);
/* The key that a row holds by a tie. false: none. Borrowed until the next one is made. */
bool tie_key(struct view *v, const struct tie *tie, const struct value *row, struct str *out_key);

void anchors_push(struct anchors *list, struct anchor *a);
/* Forgets what was under way in a layer; anchors that nobody holds are freed. */
void layer_settle(struct view *v, struct vlayer *l);
void layer_deinit(struct vlayer *l);

/* --- view_apply.c --- */

/* Goes on with the groups until rows are needed (true) or all is settled. */
bool view_advance(struct view *v);
void view_feed_join(struct view *v, struct vlayer *l, const struct value *row);
/* The row leaves the layer. */
void view_take_out(struct view *v, struct vlayer *l, struct row *r);
/* Forgets what was under way. */
void view_end_work(struct view *v);
/* What is seen of the transaction is more than may be. */
static inline bool view_is_over_limit(const struct view *v)
{
    return v->work == WORK_APPLY && v->visible + v->a->used > v->limit;
}

/* --- view_cycle.c --- */

/* A changed row that is in the layer if its anchor comes to be held. */
void cycle_wait(struct view *v, struct vlayer *l, struct touched *row);
struct touched *cycle_waiting(const struct vlayer *l, const struct anchor *anchor);
/* Rows of the group that only hold each other leave. */
void cycle_collect(struct view *v, struct group *g);
