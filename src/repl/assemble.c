/* SPDX-License-Identifier: Apache-2.0 */
/*
 * order     = ( transaction | block | Stream Commit | Stream Abort | Message )*
 *   transaction = Begin [Origin] ( Relation | Type | row | Truncate | Message )* Commit
 *   block       = Stream Start [Origin] ( Relation | Type | row | Truncate | Message )* Stream Stop
 *
 * Changes are written as they come into bytes of the kind that txn.h describes (body.h says where they are);
 * those of a streamed transaction lie in segments, one a run of changes of the same (sub)transaction.
 *
 * Relations. The server describes one before its first use in a connection, after each change of it, and in
 * each streamed transaction by itself (it may have changed the table). Such a description holds in that
 * transaction, and for everybody when it commits, unless a newer one has come meanwhile (maybe_send_schema()
 * and cleanup_rel_sync_cache() in pgoutput.c).
 */
#include "repl/assemble.h"

#include "base/mem.h"
#include "repl/catalog.h"
#include "repl/pgoutput.h"
#include "repl/streamed.h"

#include <assert.h>
#include <stdlib.h>

#define EMPTIED_PREFIX "busbar.emptied" /* sql/routines/68_truncate.sql */

enum {
    FIRST_BYTES = 500,  /* room at once for what most transactions need */
    LITTLE = 64 * 1024, /* of a transaction, when all that is held in memory is much */
    EMPTIED_MAX = 64,   /* tables of one TRUNCATE of which we note that their rows were deleted before */
};

enum phase {
    PHASE_IDLE = 1,
    PHASE_TXN = 2,
    PHASE_BLOCK = 4,
    PHASE_INSIDE = PHASE_TXN | PHASE_BLOCK,
    PHASE_ANY = PHASE_INSIDE | PHASE_IDLE,
    PHASE_FAILED = 8,
};

struct assemble {
    const struct assemble_events *events;
    void *ctx;
    char *folder; /* NULL: nothing goes to files */
    size_t txn_max, held_max, memory_max, held_memory_max;
    enum phase phase;
    struct body body; /* PHASE_TXN */
    struct txn_summary summary;
    uint32_t xid;
    lsn_t commit_lsn;
    struct streamed *stream; /* PHASE_BLOCK */
    struct streamed **streams;
    size_t streams_n, streams_cap;
    size_t held;
    uint64_t xid_near;
    struct catalog catalog;
    uint32_t next_relation;
    size_t relations;              /* in all catalogs */
    uint64_t descriptions;         /* counts them */
    uint32_t emptied[EMPTIED_MAX]; /* oids: their TRUNCATE follows, and takes nothing */
    size_t n_emptied;
    struct pgoutput_room room;
};

/* --- relations --- */

static void describe(struct assemble *a, struct catalog *c, struct described d)
{
    a->relations += catalog_put(c, d);
}

void assemble_preload(struct assemble *a, const struct relation *relation)
{
    describe(a, &a->catalog, (struct described){.relation = relation_copy(relation)});
}

/* The version of an equal description, or a new one. */
static uint32_t version_of(struct assemble *a, const struct relation *r)
{
    const struct described *in_stream = a->stream ? catalog_find(&a->stream->catalog, r->oid) : NULL;
    const struct described *known = catalog_find(&a->catalog, r->oid);
    if (in_stream && relation_equal(in_stream->relation, r)) {
        return in_stream->relation->id;
    }
    return known && relation_equal(known->relation, r) ? known->relation->id : 0;
}

static int on_relation(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    struct relation *r = &m->relation;
    if (a->relations >= ASSEMBLE_RELATIONS) {
        return err_set(err, ERR_LIMIT, "more than %d relations are replicated", ASSEMBLE_RELATIONS);
    }
    r->id = version_of(a, r);
    if (r->id == 0) {
        r->id = a->next_relation++;
        a->events->on_relation(a->ctx, r);
    }
    if (a->stream && !catalog_find(&a->catalog, r->oid)) {
        assemble_preload(a, r); /* for the version alone: another stream may describe the same */
    }
    struct described d = {relation_copy(r), ++a->descriptions, m->xid};
    describe(a, a->stream ? &a->stream->catalog : &a->catalog, d);
    return 0;
}

static int find_relation(struct assemble *a, uint32_t oid, const struct relation **out_relation,
                         struct err *err)
{
    const struct described *d = catalog_find(a->stream ? &a->stream->catalog : &a->catalog, oid);
    if (!d || d->order == 0) {
        return err_set(err, ERR_PEER, "the server did not describe relation %u before it changed it", oid);
    }
    *out_relation = d->relation;
    return 0;
}

/* At the commit: they hold for everybody. */
static void adopt_descriptions(struct assemble *a, struct streamed *s)
{
    for (size_t i = 0; i < s->catalog.n; i++) {
        struct described *d = &s->catalog.items[i];
        const struct described *known = catalog_find(&a->catalog, d->relation->oid);
        if (!known || known->order < d->order) {
            describe(a, &a->catalog, (struct described){relation_copy(d->relation), d->order, 0});
        }
    }
}

/* --- streamed transactions --- */

static struct streamed *stream_find(struct assemble *a, uint32_t xid, size_t *out_at)
{
    for (size_t i = 0; i < a->streams_n; i++) {
        if (a->streams[i]->xid == xid) {
            *out_at = i;
            return a->streams[i];
        }
    }
    return NULL;
}

static struct streamed *stream_new(struct assemble *a, uint32_t xid)
{
    struct streamed *s = streamed_new(xid);
    a->held += streamed_in_memory(s);
    if (a->streams_n == a->streams_cap) {
        a->streams_cap = a->streams_cap ? a->streams_cap * 2 : 8;
        a->streams = mem_realloc(a->streams, a->streams_cap * sizeof(struct streamed *));
    }
    a->streams[a->streams_n++] = s;
    return s;
}

static void stream_free(struct assemble *a, size_t at)
{
    struct streamed *s = a->streams[at];
    a->streams[at] = a->streams[--a->streams_n];
    a->relations -= s->catalog.n;
    streamed_free(s);
}

/* --- transactions --- */

static uint64_t extend_xid(const struct assemble *a, uint32_t xid)
{
    uint32_t ahead = xid - (uint32_t)a->xid_near;
    uint32_t behind = (uint32_t)a->xid_near - xid;
    return ahead <= behind || a->xid_near < behind ? a->xid_near + ahead : a->xid_near - behind;
}

static int tell_txn(struct assemble *a, struct body *body, const struct txn_summary *summary, uint32_t xid,
                    const struct pgoutput_commit *c, struct err *err)
{
    struct txn *txn;
    struct txn_head head = {.end_lsn = c->end_lsn,
                            .commit_lsn = c->commit_lsn,
                            .xid = extend_xid(a, xid),
                            .commit_us = c->commit_us,
                            .changes = summary->changes};
    a->xid_near = head.xid > a->xid_near ? head.xid : a->xid_near;
    if (summary->changes == 0) {
        a->events->on_position(a->ctx, c->end_lsn);
        return 0;
    }
    if (body_end(body, &head, summary, &txn, err) < 0) {
        return -1;
    }
    a->events->on_txn(a->ctx, txn);
    return 0;
}

static int on_begin(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    a->phase = PHASE_TXN;
    a->xid = m->xid;
    a->commit_lsn = m->commit.commit_lsn;
    body_begin(&a->body, FIRST_BYTES);
    a->summary = (struct txn_summary){0};
    return 0;
}

static int on_commit(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    if (m->commit.commit_lsn != a->commit_lsn) {
        return err_set(err, ERR_PEER, "transaction %u began for " LSN_FMT " and was committed at " LSN_FMT,
                       a->xid, LSN_ARG(a->commit_lsn), LSN_ARG(m->commit.commit_lsn));
    }
    a->phase = PHASE_IDLE;
    return tell_txn(a, &a->body, &a->summary, a->xid, &m->commit, err);
}

static int on_stream_start(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    size_t at;
    a->stream = stream_find(a, m->xid, &at);
    if (m->first != !a->stream) {
        a->stream = NULL;
        return err_set(err, ERR_PEER, "the blocks of streamed transaction %u do not fit together", m->xid);
    }
    if (m->first && a->streams_n >= ASSEMBLE_STREAMS) {
        return err_set(err, ERR_LIMIT, "more than %d transactions are streamed at a time", ASSEMBLE_STREAMS);
    }
    a->stream = a->stream ? a->stream : stream_new(a, m->xid);
    a->phase = PHASE_BLOCK;
    return 0;
}

static int on_stream_stop(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    a->stream = NULL;
    a->phase = PHASE_IDLE;
    return 0;
}

static int unknown_stream(uint32_t xid, struct err *err)
{
    return err_set(err, ERR_PEER, "the server ends streamed transaction %u, which it did not begin", xid);
}

static int on_stream_commit(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    size_t at;
    struct streamed *s = stream_find(a, m->xid, &at);
    if (!s) {
        return unknown_stream(m->xid, err);
    }
    a->held -= streamed_in_memory(s);
    adopt_descriptions(a, s);
    int rc = streamed_summarize(s, err);
    rc = rc < 0 ? rc : tell_txn(a, &s->body, &s->summary, s->xid, &m->commit, err);
    stream_free(a, at);
    return rc;
}

static int on_stream_abort(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    size_t at;
    struct streamed *s = stream_find(a, m->xid, &at);
    if (!s) {
        return unknown_stream(m->xid, err);
    }
    a->n_emptied = 0;
    a->held -= streamed_in_memory(s);
    if (m->aborted == m->xid) {
        stream_free(a, at);
        return 0;
    }
    a->relations -= catalog_forget(&s->catalog, m->aborted);
    int rc = streamed_roll_back(s, m->aborted, err);
    a->held += streamed_in_memory(s);
    return rc;
}

/* --- changes --- */

static struct body *target(struct assemble *a)
{
    return a->stream ? &a->stream->body : &a->body;
}

static int too_large(const struct assemble *a, struct err *err)
{
    uint32_t xid = a->stream ? a->stream->xid : a->xid;
    return err_set(err, ERR_LIMIT, "transaction %u is larger than %zu bytes, the most that can be replicated",
                   xid, a->txn_max);
}

static void note(struct assemble *a, enum change_kind kind, uint32_t relation)
{
    txn_note(a->stream ? &a->stream->summary : &a->summary, kind, relation);
}

/* A part of a file is not worth writing when it is small, unless all that is held is much. */
static bool belongs_in_file(const struct assemble *a, const struct body *body)
{
    size_t most = body->file && a->memory_max > BODY_CHUNK ? BODY_CHUNK : a->memory_max;
    if (a->held > a->held_memory_max && most > LITTLE) {
        most = LITTLE;
    }
    return a->folder && body_in_memory(body) > most;
}

static int settle(struct assemble *a, struct body *body, struct err *err)
{
    if (body->tail.overflow || body_size(body) > a->txn_max) {
        return too_large(a, err);
    }
    return belongs_in_file(a, body) ? body_spill(body, a->folder, err) : 0;
}

/* Accounts for the change that was just written. */
static int written(struct assemble *a, uint32_t xid, bool message, size_t held_before, struct err *err)
{
    if (a->stream) {
        streamed_extend(a->stream, xid, message);
    }
    if (settle(a, target(a), err) < 0) {
        return -1;
    }
    if (!a->stream) {
        return 0;
    }
    a->held += streamed_in_memory(a->stream) - held_before;
    if (a->held > a->held_max) {
        return err_set(err, ERR_LIMIT,
                       "transactions in progress hold more than %zu bytes, the most that can be replicated",
                       a->held_max);
    }
    return 0;
}

static size_t held_now(const struct assemble *a)
{
    return a->stream ? streamed_in_memory(a->stream) : 0;
}

/* The new row's values that the update left alone are those of the old row, which has them all when it is
 * whole. Our own tables are read for what is inserted into them, and need none. */
static int fill_unchanged(const struct relation *r, struct pgoutput_row *row, struct err *err)
{
    for (uint32_t i = 0; i < row->new_n; i++) {
        struct value *v = &row->new[i];
        if (v->p || v->n != PGOUTPUT_UNCHANGED) {
            continue;
        }
        *v = (struct value){NULL, 0};
        if (row->old_kind == 'O' || (row->old_kind == 'K' && r->columns[i].key)) {
            *v = row->old[i];
        } else if (!str_eq(r->schema, STR("busbar"))) {
            return err_set(err, ERR_UPSTREAM,
                           "an update of \"%.*s\".\"%.*s\" leaves out a large value that it did not change: "
                           "the table needs REPLICA IDENTITY FULL",
                           STR_ARG(r->schema), STR_ARG(r->name));
        }
    }
    return 0;
}

static int on_row(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    static const enum change_kind kinds[] = {
        ['I'] = CHANGE_INSERT, ['U'] = CHANGE_UPDATE, ['D'] = CHANGE_DELETE};
    struct pgoutput_row *row = &m->row;
    const struct relation *r = NULL;
    if (find_relation(a, row->oid, &r, err) < 0) {
        return -1;
    }
    if ((row->new && row->new_n != r->n) || (row->old && row->old_n != r->n)) {
        return err_set(err, ERR_PEER, "a row of \"%.*s\".\"%.*s\" has not the %u columns that it should have",
                       STR_ARG(r->schema), STR_ARG(r->name), r->n);
    }
    if (fill_unchanged(r, row, err) < 0) {
        return -1;
    }
    /* A row whose key alone is known must not pass for one whose other columns are NULL. */
    bool has_old = row->old_kind == 'O' || (row->old_kind == 'K' && str_eq(r->schema, STR("busbar")));
    size_t held = held_now(a);
    txn_add_row(&target(a)->tail, kinds[m->kind], r->id, has_old ? row->old : NULL, has_old ? row->old_n : 0,
                row->new, row->new_n);
    note(a, kinds[m->kind], r->id);
    return written(a, m->xid, false, held, err);
}

static void note_emptied(struct assemble *a, struct str content)
{
    uint64_t oid;
    if (str_to_u64(content, UINT32_MAX, &oid) && a->n_emptied < EMPTIED_MAX) {
        a->emptied[a->n_emptied++] = (uint32_t)oid;
    }
}

static bool was_emptied(const struct assemble *a, uint32_t oid)
{
    size_t i = 0;
    while (i < a->n_emptied && a->emptied[i] != oid) {
        i++;
    }
    return i < a->n_emptied;
}

static int on_truncate(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    for (size_t i = 0; i < pgoutput_truncated_n(m); i++) {
        const struct relation *r = NULL;
        if (find_relation(a, pgoutput_truncated(m, i), &r, err) < 0) {
            return -1;
        }
        if (was_emptied(a, r->oid)) {
            continue;
        }
        size_t held = held_now(a);
        txn_add_row(&target(a)->tail, CHANGE_TRUNCATE, r->id, NULL, 0, NULL, 0);
        note(a, CHANGE_TRUNCATE, r->id);
        if (written(a, m->xid, false, held, err) < 0) {
            return -1;
        }
    }
    a->n_emptied = 0;
    return 0;
}

static int on_message(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    struct pgoutput_logical_message *message = &m->message;
    if (!message->transactional) {
        a->events->on_message(a->ctx, message->lsn, message->prefix, message->content);
        return 0;
    }
    if (a->phase == PHASE_IDLE) {
        return err_set(err, ERR_PEER, "a transactional message came outside of a transaction");
    }
    if (str_eq(message->prefix, STR(EMPTIED_PREFIX))) {
        note_emptied(a, message->content);
        return 0;
    }
    size_t held = held_now(a);
    txn_add_message(&target(a)->tail, message->prefix, message->content);
    note(a, CHANGE_MESSAGE, 0);
    return written(a, m->xid, true, held, err);
}

static int ignore(struct assemble *a, struct pgoutput_message *m, struct err *err)
{
    return 0;
}

/* --- the whole --- */

struct rule {
    int (*fn)(struct assemble *a, struct pgoutput_message *m, struct err *err);
    unsigned phases;
};

static const struct rule rules[128] = {
    [PGOUTPUT_BEGIN] = {on_begin, PHASE_IDLE},
    [PGOUTPUT_COMMIT] = {on_commit, PHASE_TXN},
    [PGOUTPUT_ORIGIN] = {ignore, PHASE_INSIDE},
    [PGOUTPUT_RELATION] = {on_relation, PHASE_INSIDE},
    [PGOUTPUT_TYPE] = {ignore, PHASE_INSIDE},
    [PGOUTPUT_INSERT] = {on_row, PHASE_INSIDE},
    [PGOUTPUT_UPDATE] = {on_row, PHASE_INSIDE},
    [PGOUTPUT_DELETE] = {on_row, PHASE_INSIDE},
    [PGOUTPUT_TRUNCATE] = {on_truncate, PHASE_INSIDE},
    [PGOUTPUT_MESSAGE] = {on_message, PHASE_ANY},
    [PGOUTPUT_STREAM_START] = {on_stream_start, PHASE_IDLE},
    [PGOUTPUT_STREAM_STOP] = {on_stream_stop, PHASE_BLOCK},
    [PGOUTPUT_STREAM_COMMIT] = {on_stream_commit, PHASE_IDLE},
    [PGOUTPUT_STREAM_ABORT] = {on_stream_abort, PHASE_IDLE},
};

static int feed(struct assemble *a, struct str bytes, struct err *err)
{
    static const char *const names[] = {[PHASE_IDLE] = "between transactions",
                                        [PHASE_TXN] = "in a transaction",
                                        [PHASE_BLOCK] = "in a streamed block",
                                        [PHASE_FAILED] = "after a failure"};
    struct pgoutput_message m;
    if (pgoutput_decode(bytes, a->phase == PHASE_BLOCK, &a->room, &m, err) < 0) {
        return -1;
    }
    const struct rule *rule = &rules[m.kind];
    if (!(rule->phases & a->phase)) {
        return err_set(err, ERR_PEER, "replication message '%c' came %s", m.kind, names[a->phase]);
    }
    return rule->fn(a, &m, err);
}

int assemble_feed(struct assemble *a, struct str bytes, struct err *err)
{
    int rc = feed(a, bytes, err);
    if (rc < 0) {
        a->phase = PHASE_FAILED;
    }
    return rc;
}

struct assemble *assemble_new(const struct assemble_options *options, const struct assemble_events *events,
                              void *ctx)
{
    struct assemble *a = mem_zalloc(sizeof *a);
    a->events = events;
    a->ctx = ctx;
    a->txn_max = options->txn_max && options->txn_max < TXN_MAX ? options->txn_max : TXN_MAX;
    a->held_max = options->held_max ? options->held_max : ASSEMBLE_HELD_MAX;
    a->folder = options->folder ? mem_strdup(options->folder) : NULL;
    a->memory_max = options->memory_max ? options->memory_max : ASSEMBLE_MEMORY;
    a->held_memory_max = options->held_memory_max ? options->held_memory_max : ASSEMBLE_HELD_MEMORY;
    a->next_relation = options->next_relation ? options->next_relation : 1;
    a->xid_near = options->xid_near;
    a->phase = PHASE_IDLE;
    return a;
}

void assemble_set_xid_near(struct assemble *a, uint64_t xid)
{
    a->xid_near = xid;
}

void assemble_reset(struct assemble *a)
{
    while (a->streams_n) {
        stream_free(a, a->streams_n - 1);
    }
    for (size_t i = 0; i < a->catalog.n; i++) {
        a->catalog.items[i].order = 0;
    }
    a->stream = NULL;
    a->n_emptied = 0;
    a->held = 0;
    a->phase = PHASE_IDLE;
    body_deinit(&a->body);
}

void assemble_free(struct assemble *a)
{
    if (a) {
        assemble_reset(a);
        catalog_deinit(&a->catalog);
        free(a->folder);
        free(a->streams);
        free(a);
    }
}

size_t assemble_held(const struct assemble *a)
{
    return a->held;
}
