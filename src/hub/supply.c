/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/supply.h"

#include "base/limits.h"
#include "hub/hub_impl.h"
#include "net/loop.h"

enum {
    AHEAD_BYTES = 16 * 1024 * 1024, /* rows of one snapshot that are kept for transactions to come */
    AHEAD_A_TURN = 1024 * 1024,     /* bytes of the log that are looked through for one read */
};

static void drop(struct supply *s)
{
    loop_post_forget(s->hub->loop, s);
    ahead_free(take_ptr(&s->ahead));
    read_free(take_ptr(&s->read));
}

void supply_forget(struct supply *s)
{
    drop(s);
    s->need = NULL;
    s->waiting = false;
}

void supply_follow(struct supply *s, lsn_t position, struct str record)
{
    struct err err;
    if (!s->read) {
        return;
    }
    if (ahead_is_full(s->ahead) || !read_is_good(s->read) ||
        read_advance(s->read, position, record, &err) < 0) {
        drop(s); /* another will do */
    }
}

/* --- answers --- */

static void on_kept_row(void *ctx, const struct value *row)
{
    struct supply *s = ctx;
    if (read_is_unchanged(s->read, &s->forest->layers[s->need->layer], row)) {
        view_feed(s->view, row);
    }
}

static void on_noted_row(void *ctx, const struct value *row)
{
    struct supply *s = ctx;
    view_feed(s->view, row);
}

static bool answer(struct supply *s)
{
    const struct view_need *need = s->need;
    if (!ahead_answer(s->ahead, need, on_kept_row, s)) {
        return false;
    }
    read_changed(s->read, &s->forest->layers[need->layer], need->keys, need->n, on_noted_row, s);
    return true;
}

/* false: s->need is to be read. */
static bool answer_all(struct supply *s)
{
    s->need = s->need ? s->need : view_next_need(s->view);
    while (s->need && answer(s)) {
        s->need = view_next_need(s->view);
    }
    return !s->need;
}

/* --- reading --- */

static void start_read(struct supply *s);

static int see(void *ctx, lsn_t lsn, struct str record, struct err *err)
{
    struct supply *s = ctx;
    if (record.n > LIMIT_SYNC_INLINE) {
        return 0; /* what is behind it is looked at when the view is there */
    }
    if (ahead_see(s->ahead, record, &s->hub->past.relations, err) < 0) {
        return -1;
    }
    s->seen = lsn;
    s->seen_bytes += record.n;
    return s->seen_bytes < AHEAD_A_TURN && !ahead_is_full(s->ahead);
}

/* What cannot be seen is not foreseen; that the log is damaged is found out by who applies it. */
static void look_ahead(struct supply *s)
{
    struct err err;
    s->seen = s->seen > s->before ? s->seen : s->before;
    s->seen_bytes = 0;
    ahead_need(s->ahead, s->need);
    ignore_result(past_walk(&s->hub->past, s->seen, see, s, &err));
}

static void go_on(struct supply *s)
{
    if (answer_all(s)) {
        s->waiting = false;
        s->met(s->ctx);
        return;
    }
    s->filling = false;
    read_need(s->read, s->forest, s->user, s->need); /* there is no room to keep the answer */
}

static void fill(struct supply *s)
{
    const struct view_need *need = ahead_next(s->ahead);
    s->filling = need;
    if (need) {
        read_snapshot(s->read, &s->forest->layers[need->layer], s->user, need->keys, need->n);
    } else {
        go_on(s);
    }
}

static void on_row(void *ctx, const struct value *row)
{
    struct supply *s = ctx;
    if (s->filling) {
        ahead_feed(s->ahead, row);
    } else {
        view_feed(s->view, row);
    }
}

static void on_done(void *ctx)
{
    struct supply *s = ctx;
    if (s->filling) {
        fill(s);
    } else {
        s->need = NULL;
        go_on(s);
    }
}

static void look_and_fill(void *ctx)
{
    struct supply *s = ctx;
    look_ahead(s);
    fill(s);
}

static void on_ready(void *ctx)
{
    struct supply *s = ctx;
    s->ahead = ahead_new(s->view, AHEAD_BYTES);
    s->seen = s->before;
    s->need = s->need ? s->need : view_next_need(s->view); /* fed in part already: that does no harm */
    look_and_fill(s);
}

static void on_failed(void *ctx, enum read_failure how, const struct err *err)
{
    struct supply *s = ctx;
    struct err why = *err; /* the read's own */
    bool waiting = s->waiting;
    if (waiting && how == READ_GIVES_WAY) {
        drop(s);
        start_read(s);
        return;
    }
    supply_forget(s);
    if (waiting) { /* else it was kept in case, and another will do */
        s->failed(s->ctx, how, &why);
    }
}

static const struct read_events read_events = {on_ready, on_row, on_done, on_failed};

static void start_read(struct supply *s)
{
    size_t n;
    const struct table *const *tables = view_tables(s->view, &n);
    s->read = read_start(s->hub->reads, s->position, tables, n, &read_events, s);
    read_index(s->read, s->forest);
}

bool supply_meet(struct supply *s, struct view *view, const struct forest *forest, struct str user,
                 lsn_t before, lsn_t position)
{
    s->view = view;
    s->forest = forest;
    s->user = user;
    s->before = before;
    s->position = position;
    if (s->read && answer_all(s)) {
        return true;
    }
    s->waiting = true;
    if (s->read) {
        loop_post(s->hub->loop, look_and_fill, s); /* the log is being read just now */
    } else {
        start_read(s);
    }
    return false;
}
