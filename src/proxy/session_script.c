/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simple Query that is not an ordinary one.
 *
 * When nothing in it needs us it goes on as it is. Else it is cut where we have something to do: at DDLX, and
 * at the transaction commands; what stands between goes on in one piece. PostgreSQL runs the statements of
 * one Query in an implicit transaction: a hidden transaction of ours stands in for it when DDL is among them
 * and none is open.
 *
 *   hidden BEGIN → (ask about what clients cannot follow → piece → its ReadyForQuery)* → prove and record →
 * hidden COMMIT
 *
 * Transaction commands without an open block, and what a multi-statement Query cannot do at all (VACUUM,
 * SAVEPOINT, AND CHAIN), get their warning or error from the server: what is ours is ended first where it
 * would hide that.
 *
 * The client sees each statement's answers as they come, the last command tag after the hidden COMMIT, as it
 * would without us, and one ReadyForQuery.
 */
#include "proxy/session_impl.h"

#include "base/limits.h"
#include "base/mem.h"
#include "sql/classify.h"
#include "sql/syntax.h"
#include "wire/message.h"

#include <stdlib.h>

static void script_next(struct session *s);

/* True when no guard watches what the statement may change in the schema. */
static bool hides_change(const struct session *s, const struct statement *st)
{
    return !s->guarded && may_change_schema(st->kind);
}

/* What the name of a prepared statement stands for ends with the answer to this very statement: to be seen,
 * where it is more than what an ordinary statement of that name would be. */
static bool forgets_name(const struct session *s, const struct statement *st)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    if (st->kind != STATEMENT_DEALLOCATE || s->statements.n == 0) {
        return false;
    }
    struct str name = classify_deallocated(&a, st->text, s->std_strings);
    const struct special *special = name.p ? special_map_get(&s->statements, name) : NULL;
    return special && special->wrap;
}

/* True when some statement needs more than to be sent, or ends what a batch without its Sync has begun. */
static bool needs_us(const struct session *s)
{
    bool unseen = false;
    if (s->block == BLOCK_HIDDEN) {
        return true;
    }
    for (size_t i = 0; i < s->script->n; i++) {
        const struct statement *st = &s->script->statements[i];
        bool ends = st->kind == STATEMENT_COMMIT || st->kind == STATEMENT_PREPARE_TRANSACTION;
        if (wants_transaction(st) || st->kind == STATEMENT_DDL_INDEX_CONCURRENTLY || forgets_name(s, st) ||
            (ends && (unseen || must_prove(s)))) {
            return true;
        }
        unseen |= hides_change(s, st);
    }
    return false;
}

/* What a statement does to the block when it is sent as it is. */
static enum block effect_of(const struct statement *st)
{
    switch (st->kind) {
    case STATEMENT_BEGIN:
        return BLOCK_CLIENT;
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
        return st->chain ? BLOCK_AS_BEFORE : BLOCK_NONE;
    case STATEMENT_PREPARE_TRANSACTION:
        return BLOCK_NONE;
    default:
        return BLOCK_AS_BEFORE;
    }
}

/* What all of them do, sent in one piece. */
static void predict_all(struct session *s)
{
    enum block effect = BLOCK_AS_BEFORE;
    for (size_t i = 0; i < s->script->n; i++) {
        enum block next = effect_of(&s->script->statements[i]);
        effect = next == BLOCK_AS_BEFORE ? effect : next;
    }
    predict_block(s, effect);
}

static void script_begin(struct session *s)
{
    script_end(s);
    s->script = mem_zalloc(sizeof *s->script);
    splitter_init(&s->script->splitter, &s->script->arena, s->std_strings, true);
}

void script_end(struct session *s)
{
    if (s->script) {
        arena_deinit(&s->script->arena);
        free(take_ptr(&s->script));
    }
}

/* The answer to the whole Query. Nothing is held at this point but what belongs to it. */
static void script_ready(struct session *s, char status)
{
    release_held(s);
    put_ready(&s->scratch, status);
    send_client(s, &s->scratch);
    script_end(s);
    session_unblock(s);
}

static void send_piece(struct session *s, struct str sql, bool hold)
{
    s->script->completed = 0;
    session_block(s);
    if (expect(s, ANSWER_QUERY, ACTION_SCRIPT, hold ? ANSWER_HOLD : 0, NULL)) {
        put_query(&s->scratch, sql);
        send_server(s, &s->scratch);
    }
}

static void on_rolled_back(struct session *s, bool ok)
{
    (void)ok; /* ROLLBACK fails only with the connection */
    settle_block(s, BLOCK_NONE);
    script_ready(s, 'I');
}

/* Ends the transaction, the client's too when its COMMIT is refused: so does a COMMIT that PostgreSQL
 * refuses. */
static void roll_back(struct session *s)
{
    hidden_run(s, HIDDEN_SYNC, STR("ROLLBACK"), NULL, 0, on_rolled_back);
}

/* Something failed and the client knows: what we opened goes, what the client opened is its own to end. */
static void script_fail(struct session *s)
{
    if (s->block == BLOCK_HIDDEN) {
        roll_back(s);
        return;
    }
    script_ready(s, s->status);
}

static void show_hidden_error(struct session *s, size_t shift, size_t point_at)
{
    buf_reset(&s->held);
    forward_error(s, buf_str(&s->hidden.error), shift, true, point_at);
}

static void on_hidden_commit(struct session *s, bool ok)
{
    settle_block(s, BLOCK_NONE);
    if (!ok) {
        show_hidden_error(s, 0, 0);
    }
    script_ready(s, s->status);
}

static void on_proved_for_hidden_commit(struct session *s, bool ok)
{
    if (!ok) {
        roll_back(s);
        return;
    }
    hidden_run(s, HIDDEN_SYNC, STR("COMMIT"), NULL, 0, on_hidden_commit);
}

static void on_reconcile_done(struct session *s, bool ok)
{
    (void)ok; /* the reason has been forwarded */
    script_ready(s, s->status);
}

static void script_finish(struct session *s)
{
    if (s->block == BLOCK_HIDDEN) {
        if (must_prove(s)) {
            commit_start(s, HIDDEN_SYNC, on_proved_for_hidden_commit);
        } else {
            on_proved_for_hidden_commit(s, true);
        }
        return;
    }
    if (s->script->reconcile && s->block == BLOCK_NONE) {
        reconcile_start(s, s->script->statements[s->script->n - 1].text, on_reconcile_done);
        return;
    }
    script_ready(s, s->status);
}

/* --- the pieces --- */

static struct statement *current(struct session *s)
{
    return &s->script->statements[s->script->first];
}

size_t script_chars_before(const struct session *s, size_t statement)
{
    size_t chars = 0;
    for (size_t i = 0; statement < s->script->n && i < s->script->statements[statement].offset; i++) {
        chars += ((unsigned char)s->script->text.p[i] & 0xC0) != 0x80;
    }
    return chars;
}

/* From the first statement in flight to the end of the last. */
static struct str slice(const struct session *s)
{
    const struct script *sc = s->script;
    const struct statement *a = &sc->statements[sc->first];
    const struct statement *z = &sc->statements[sc->end - 1];
    return (struct str){sc->text.p + a->offset, z->offset + z->text.n - a->offset};
}

static void send_slice(struct session *s)
{
    for (size_t i = s->script->first; i < s->script->end; i++) {
        note_unguarded(s, s->script->statements[i].kind, s->script->statements[i].text);
    }
    send_piece(s, slice(s), s->block == BLOCK_HIDDEN);
}

static void ask_next(struct session *s);

static void on_asked(struct session *s, bool ok)
{
    struct script *sc = s->script;
    if (!ok) {
        show_hidden_error(s, script_chars_before(s, s->script->first), sc->intents[sc->intents_i].position);
        script_fail(s);
        return;
    }
    sc->intents_i++;
    ask_next(s);
}

/* Asks the database about each thing that clients could not follow, before anything of the piece is done. */
static void ask_next(struct session *s)
{
    struct script *sc = s->script;
    if (sc->intents_i == sc->intents_n) {
        send_slice(s);
        return;
    }
    const struct intent *in = &sc->intents[sc->intents_i];
    struct str params[] = {str_c(in->rule), str_c(in->relation), str_c(in->object)};
    hidden_run(s, HIDDEN_SYNC, STR("SELECT busbar.precheck($1, $2, $3)"), params, ARRAY_LEN(params),
               on_asked);
}

/* Positions of the intents count from the start of the slice. */
static void collect_intents(struct session *s)
{
    struct script *sc = s->script;
    size_t base = script_chars_before(s, s->script->first);
    size_t inspected = 0;
    sc->intents = NULL;
    sc->intents_n = 0;
    sc->intents_i = 0;
    for (size_t i = sc->first; i < sc->end; i++) {
        struct intent *found;
        size_t n;
        struct statement *st = &sc->statements[i];
        if (st->kind != STATEMENT_DDL || inspected + st->text.n > LIMIT_INSPECTED) {
            continue;
        }
        inspected += st->text.n;
        find_intents(s, &sc->arena, st->text, &found, &n);
        if (n == 0 || sc->intents_n + n > LIMIT_ASKED) {
            continue;
        }
        size_t shift = script_chars_before(s, i) - base;
        struct intent *all = arena_alloc_array(&sc->arena, sc->intents_n + n, sizeof *all);
        if (sc->intents_n) {
            memcpy(all, sc->intents, sc->intents_n * sizeof *all);
        }
        for (size_t k = 0; k < n; k++) {
            found[k].position += found[k].position ? shift : 0;
            all[sc->intents_n + k] = found[k];
        }
        sc->intents = all;
        sc->intents_n += n;
    }
}

static bool stands_alone(enum statement_kind kind)
{
    switch (kind) {
    case STATEMENT_BEGIN:
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
    case STATEMENT_PREPARE_TRANSACTION:
    case STATEMENT_DDLX:
    case STATEMENT_ELECTRIFY:
    case STATEMENT_DDL_INDEX_CONCURRENTLY:
        return true;
    default:
        return false;
    }
}

/* Savepoints need a block of the client's: behind one of ours they must fail. */
static bool ends_piece(const struct session *s, const struct statement *st)
{
    return stands_alone(st->kind) || (st->kind == STATEMENT_SAVEPOINT && s->block == BLOCK_HIDDEN);
}

static void run_plain_pieces(struct session *s)
{
    struct script *sc = s->script;
    sc->end = sc->first + 1;
    while (sc->end < sc->n && !ends_piece(s, &sc->statements[sc->end])) {
        sc->end++;
    }
    if (s->status == 'E') {
        send_slice(s); /* the server refuses all of it */
        return;
    }
    collect_intents(s);
    ask_next(s);
}

static void run_ddlx(struct session *s)
{
    struct script *sc = s->script;
    struct stand_in in = stand_in_for(s, &sc->arena, current(s)->text, current(s)->tag);
    sc->injected = true;
    sc->point_at = in.point_at;
    sc->tag = in.tag;
    send_piece(s, in.sql, s->block == BLOCK_HIDDEN);
}

static void on_proved_for_commit(struct session *s, bool ok)
{
    if (!ok) {
        roll_back(s);
        return;
    }
    struct statement *st = current(s);
    predict_block(s, effect_of(st));
    send_slice(s);
}

static void run_commit(struct session *s)
{
    if (must_prove(s)) {
        commit_start(s, HIDDEN_SYNC, on_proved_for_commit);
        return;
    }
    on_proved_for_commit(s, true);
}

static void on_hidden_ended(struct session *s, bool ok)
{
    settle_block(s, BLOCK_NONE);
    if (!ok) {
        show_hidden_error(s, 0, 0);
        script_ready(s, s->status);
        return;
    }
    release_held(s);
    send_slice(s);
}

static void on_proved_for_hidden_end(struct session *s, bool ok)
{
    if (!ok) {
        roll_back(s);
        return;
    }
    hidden_run(s, HIDDEN_SYNC, STR("COMMIT"), NULL, 0, on_hidden_ended);
}

/* A transaction command in the implicit transaction that ours stands in for. The server's word for that, a
 * warning about COMMIT and ROLLBACK and an error about the others, comes when ours is gone. */
static void run_in_hidden_block(struct session *s)
{
    bool commits = current(s)->kind == STATEMENT_COMMIT && !current(s)->chain;
    if (commits && must_prove(s)) {
        commit_start(s, HIDDEN_SYNC, on_proved_for_hidden_end);
    } else if (commits) {
        on_proved_for_hidden_end(s, true);
    } else {
        hidden_run(s, HIDDEN_SYNC, STR("ROLLBACK"), NULL, 0, on_hidden_ended);
    }
}

static void on_two_phase_refused(struct session *s, bool ok)
{
    (void)ok; /* raise_error() has seen to it that it failed */
    show_hidden_error(s, 0, 0);
    roll_back(s);
}

static void on_checked_for_prepare(struct session *s, bool ok)
{
    if (!ok) {
        on_two_phase_refused(s, false);
    } else if (has_migration(s)) {
        raise_error(s, HIDDEN_SYNC, PROXY_TWO_PHASE, "", on_two_phase_refused);
    } else {
        predict_block(s, BLOCK_NONE);
        send_slice(s);
    }
}

static void run_prepare_transaction(struct session *s)
{
    if (s->unchecked && must_prove(s)) {
        find_changes(s, HIDDEN_SYNC, on_checked_for_prepare);
        return;
    }
    on_checked_for_prepare(s, true);
}

static void run_begin(struct session *s)
{
    /* BEGIN after other statements of the same Query makes their implicit transaction a regular one, without
     * a word: ours stands in for it, so the server's warning is swallowed. */
    uint8_t flags = s->block == BLOCK_HIDDEN ? ANSWER_WARNED : 0;
    predict_block(s, BLOCK_CLIENT);
    s->script->completed = 0;
    session_block(s);
    if (expect(s, ANSWER_QUERY, ACTION_SCRIPT, flags, NULL)) {
        put_query(&s->scratch, slice(s));
        send_server(s, &s->scratch);
    }
}

static void on_begun(struct session *s, bool ok)
{
    settle_block(s, ok ? BLOCK_HIDDEN : BLOCK_NONE);
    if (!ok) {
        show_hidden_error(s, 0, 0);
        script_fail(s);
        return;
    }
    script_next(s);
}

static bool controls_transaction(enum statement_kind kind)
{
    switch (kind) {
    case STATEMENT_BEGIN:
    case STATEMENT_COMMIT:
    case STATEMENT_ROLLBACK:
    case STATEMENT_SAVEPOINT:
    case STATEMENT_PREPARE_TRANSACTION:
        return true;
    default:
        return false;
    }
}

/* True when what comes next needs a transaction of ours. Of several statements all run in an implicit one, so
 * that what cannot run in a block (VACUUM, CREATE INDEX CONCURRENTLY) fails here too. */
static bool must_wrap(const struct session *s)
{
    const struct script *sc = s->script;
    const struct statement *st = &sc->statements[sc->first];
    if (s->block != BLOCK_NONE) {
        return false;
    }
    return sc->n > 1 ? !controls_transaction(st->kind) : wants_transaction(st);
}

/* COMMIT, ROLLBACK and savepoints behind our BEGIN: the client has no block for them. */
static bool lacks_block(const struct session *s, enum statement_kind kind)
{
    return s->block == BLOCK_HIDDEN && controls_transaction(kind) && kind != STATEMENT_BEGIN &&
           kind != STATEMENT_PREPARE_TRANSACTION;
}

/* The piece that begins with the current statement. */
static void run_piece(struct session *s)
{
    struct script *sc = s->script;
    sc->end = sc->first + 1;
    switch (current(s)->kind) {
    case STATEMENT_BEGIN:
        run_begin(s);
        return;
    case STATEMENT_COMMIT:
        run_commit(s);
        return;
    case STATEMENT_ROLLBACK:
        predict_block(s, effect_of(current(s)));
        send_slice(s);
        return;
    case STATEMENT_PREPARE_TRANSACTION:
        run_prepare_transaction(s);
        return;
    case STATEMENT_DDLX:
        run_ddlx(s);
        return;
    case STATEMENT_ELECTRIFY:
        sc->tag = current(s)->tag;
        send_slice(s);
        return;
    case STATEMENT_DDL_INDEX_CONCURRENTLY:
        sc->reconcile = true;
        send_slice(s);
        return;
    case STATEMENT_PLAIN:
    case STATEMENT_SAVEPOINT:
    case STATEMENT_DDL:
    case STATEMENT_ALONE:
    case STATEMENT_DO:
    case STATEMENT_CALL:
    case STATEMENT_DEALLOCATE:
        run_plain_pieces(s);
        return;
    }
}

static void script_next(struct session *s)
{
    struct script *sc = s->script;
    sc->tag = NULL;
    sc->injected = false;
    sc->point_at = 0;
    if (sc->first == sc->n) {
        script_finish(s);
    } else if (must_wrap(s)) {
        predict_block(s, BLOCK_HIDDEN); /* portals of an implicit transaction live on in it */
        hidden_run(s, HIDDEN_SYNC, STR("BEGIN"), NULL, 0, on_begun);
    } else if (lacks_block(s, current(s)->kind)) {
        sc->end = sc->first + 1;
        run_in_hidden_block(s);
    } else {
        run_piece(s);
    }
}

void script_piece_done(struct session *s)
{
    if (s->script->failed) {
        script_fail(s);
        return;
    }
    s->script->first = s->script->end;
    session_unblock(s);
    script_next(s);
}

/* The i-th statement of an entry that joins several. */
static struct str joined_statement(struct session *s, const struct statement *joined, size_t i)
{
    struct statement *list;
    size_t n;
    struct err err;
    if (joined->count == 1) {
        return joined->text;
    }
    int rc = statement_split(&s->script->arena, joined->text, s->std_strings, &list, &n, &err);
    return rc == 0 && i < n ? list[i].text : (struct str){NULL, 0};
}

struct str script_statement(struct session *s)
{
    struct script *sc = s->script;
    if (!script_runs(s)) {
        return (struct str){NULL, 0};
    }
    size_t left = sc->completed;
    for (size_t i = sc->first; i < sc->end; i++) {
        if (left < sc->statements[i].count) {
            return joined_statement(s, &sc->statements[i], left);
        }
        left -= sc->statements[i].count;
    }
    return (struct str){NULL, 0};
}

/* The server parses a Query before it does anything of it: a text with an error in it is not cut, so that
 * nothing of it is done. Our grammar may be older than the server's: it then does what it can without us, and
 * the guard has the last word. */
static bool can_be_cut(const struct session *s)
{
    const struct script *sc = s->script;
    bool cut = false;
    for (size_t i = 0; i < sc->n; i++) {
        if (sc->statements[i].kind == STATEMENT_DDLX) {
            return true; /* no grammar but ours takes it */
        }
        cut = cut || stands_alone(sc->statements[i].kind) || sc->statements[i].kind == STATEMENT_SAVEPOINT;
    }
    return !cut || sc->n == 1 || !s->std_strings || syntax_accepted(sc->text);
}

/* Everything sent before has been answered: now the state of the transaction is known. */
static void script_start(struct session *s)
{
    s->hidden_replaced = false;
    if (s->skipping) { /* a batch without its Sync failed: the server ignores this too */
        put_query(&s->scratch, s->script->text);
        send_server(s, &s->scratch);
        script_end(s);
        return;
    }
    if (needs_us(s) && can_be_cut(s)) {
        script_next(s);
        return;
    }
    if (s->block == BLOCK_HIDDEN) { /* as one piece: it ends what a batch without its Sync has begun */
        s->script->end = s->script->n;
        send_slice(s);
        return;
    }
    for (size_t i = 0; i < s->script->n; i++) {
        note_unguarded(s, s->script->statements[i].kind, s->script->statements[i].text);
    }
    predict_all(s);
    if (expect(s, ANSWER_QUERY, ACTION_FORWARD, 0, NULL)) {
        put_query(&s->scratch, s->script->text);
        send_server(s, &s->scratch);
    }
    script_end(s);
}

/* BEGIN, ROLLBACK and the like need no knowledge of what is under way. */
static bool needs_no_drain(const struct session *s)
{
    if (s->unsure > 0 || s->marks_n > 0 || s->unchecked || may_be_hidden(s)) {
        return false;
    }
    for (size_t i = 0; i < s->script->n; i++) {
        const struct statement *st = &s->script->statements[i];
        if (wants_transaction(st) || st->kind == STATEMENT_DDL_INDEX_CONCURRENTLY || hides_change(s, st) ||
            forgets_name(s, st)) {
            return false;
        }
    }
    return true;
}

static void send_whole(struct session *s)
{
    s->hidden_replaced = false;
    enum answer_kind kind = s->stash.p[0] == 'F' ? ANSWER_FUNCTION : ANSWER_QUERY;
    if (s->skipping) {
        script_end(s);
    } else {
        session_block(s);
        if (!expect(s, kind, ACTION_SCRIPT, 0, NULL)) {
            return;
        }
    }
    send_server(s, &s->stash);
    buf_deinit(&s->stash);
}

void script_whole(struct session *s, struct str frame)
{
    script_begin(s);
    s->script->active = true;
    buf_reset(&s->stash);
    buf_put_str(&s->stash, frame);
    drain(s, send_whole);
}

void script_arriving(struct session *s, struct str text)
{
    struct err err;
    if (!s->script) {
        script_begin(s);
    }
    ignore_result(splitter_feed(&s->script->splitter, text, false, &err)); /* fails again in the end */
}

static int cut(struct session *s, struct str text)
{
    struct err err;
    if (!s->script || s->script->splitter.lex.std_strings != s->std_strings) {
        script_begin(s);
    }
    struct script *sc = s->script;
    if (splitter_feed(&sc->splitter, text, true, &err) < 0) {
        return -1;
    }
    sc->statements = sc->splitter.items;
    sc->n = sc->splitter.n;
    for (size_t i = 0; i < sc->n; i++) {
        adapt_statement(s, &sc->statements[i]);
    }
    return 0;
}

void script_query(struct session *s, struct str frame, struct str text)
{
    if (cut(s, text) < 0) {
        session_fatal(s, PROXY_TOO_MANY_PIECES);
        return;
    }
    struct script *sc = s->script;
    if (sc->n == 0 && may_be_hidden(s)) {
        script_whole(s, frame);
        return;
    }
    if (sc->n > 0 && !needs_no_drain(s)) {
        sc->active = true;
        struct str copy = arena_str(&sc->arena, text);
        for (size_t i = 0; i < sc->n; i++) {
            sc->statements[i].text.p = copy.p + sc->statements[i].offset;
        }
        sc->text = copy;
        drain(s, script_start);
        return;
    }
    predict_all(s);
    if (expect(s, ANSWER_QUERY, ACTION_FORWARD, 0, NULL)) {
        s->out.to_server(s->ctx, frame.p, frame.n);
    }
    script_end(s);
}
