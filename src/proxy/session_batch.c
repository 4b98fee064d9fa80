/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The extended protocol, for statements that are not ordinary ones. All that is ours stays inside the
 * client's batch, so that its implicit transaction and the server's way back from an error (skip to Sync) are
 * the client's own:
 *
 *   Parse    DDLX: the SQL it stands for goes instead. DDL that clients could not follow: the database is
 * asked first and refuses at once, so that a driver hears it when it prepares. Execute  DDL with no
 * transaction open: hidden BEGIN in front. COMMIT of a marked transaction: prove and record. Sync     of a
 * hidden transaction: prove and record, hidden COMMIT, then Sync.
 */
#include "proxy/session_impl.h"

#include "base/limits.h"
#include "base/rd.h"
#include "wire/message.h"

#include <assert.h>

/* For as long as the message is being looked at, its bytes are also where the client's input has them. */
static void keep(struct session *s, struct str frame)
{
    buf_reset(&s->stash);
    buf_put_str(&s->stash, frame);
    s->stash_source = frame;
}

/* Looked at; it may be waiting now. */
static void looked_at(struct session *s)
{
    s->stash_source = STR("");
}

/* What did not have to wait leaves in one write with its neighbours: one system call, and the server is woken
 * once. */
static void send_stash(struct session *s)
{
    if (s->stash_source.n > 0) {
        s->out.to_server(s->ctx, s->stash_source.p, s->stash_source.n);
    } else {
        send_server(s, &s->stash);
    }
    buf_deinit(&s->stash);
}

/* --- Parse --- */

static void ask_next(struct session *s);

static void on_asked(struct session *s, bool ok)
{
    if (!ok) {
        size_t position = s->intents[s->intents_i].position;
        buf_deinit(&s->stash);
        special_map_set(&s->statements, s->parse_undo->text, s->parse_undo->previous);
        forward_error(s, buf_str(&s->hidden.error), 0, true, position);
        return; /* the server skips to Sync, and so do we */
    }
    s->intents_i++;
    ask_next(s);
}

static void ask_next(struct session *s)
{
    if (s->intents_i == s->intents_n) {
        if (expect(s, ANSWER_PARSE, ACTION_FORWARD, 0, take_ptr(&s->parse_undo))) {
            send_stash(s);
        }
        return;
    }
    const struct intent *in = &s->intents[s->intents_i];
    struct str params[] = {str_c(in->rule), str_c(in->relation), str_c(in->object)};
    hidden_run(s, HIDDEN_FLUSH, STR("SELECT busbar.precheck($1, $2, $3)"), params, ARRAY_LEN(params),
               on_asked);
}

static void parse_ddlx(struct session *s, struct str name, struct special *special)
{
    struct stand_in in = stand_in_for(s, &s->arena, special->text, special->tag);
    special->injected = true;
    special->point_at = (uint32_t)in.point_at;
    special->tag = in.tag;
    if (expect(s, ANSWER_PARSE, ACTION_FORWARD, 0, take_ptr(&s->parse_undo))) {
        put_parse(&s->scratch, name, in.sql);
        send_server(s, &s->scratch);
    }
}

void batch_parse(struct session *s, struct str frame, struct str name, struct str sql)
{
    struct statement *statements;
    size_t n;
    struct err err;
    arena_reset(&s->arena);
    bool one = statement_split(&s->arena, sql, s->std_strings, &statements, &n, &err) == 0 && n == 1;
    if (!one || name.n > LIMIT_NAME) {
        /* Nothing at all, or several statements: the server answers both. */
        struct special *undo = special_undo(name, special_map_get(&s->statements, name));
        special_map_set(&s->statements, name, NULL);
        if (expect(s, ANSWER_PARSE, ACTION_FORWARD, 0, undo)) {
            s->out.to_server(s->ctx, frame.p, frame.n);
        }
        return;
    }
    adapt_statement(s, &statements[0]);
    struct special *special = special_of(&statements[0]);
    special_unref(s->parse_undo);
    s->parse_undo = special_undo(name, special_map_get(&s->statements, name));
    if (!special_map_set(&s->statements, name, special)) {
        special_unref(special);
        session_fatal(s, PROXY_TOO_MANY_STATEMENTS);
        return;
    }
    special_unref(special); /* the map holds it */
    if (special->kind == STATEMENT_DDLX) {
        parse_ddlx(s, name, special);
        return;
    }
    s->intents_n = 0;
    s->intents_i = 0;
    if (special->kind == STATEMENT_DDL) {
        find_intents(s, &s->arena, special->text, &s->intents, &s->intents_n);
    }
    keep(s, frame);
    ask_next(s);
    looked_at(s);
}

/* --- Bind --- */

/* What is likely to do DDL. A function or procedure may do it too: when it is answered in time, its mark is
 * seen all the same; in a pipeline that goes on to COMMIT at once, the database refuses that COMMIT. */
static bool may_mark(const struct special *special)
{
    return special->wrap || special->kind == STATEMENT_DDL_INDEX_CONCURRENTLY;
}

/* What may make a failed transaction whole or end it. If it does not, nothing behind it is executed either,
 * so what follows in the batch need not wait for ReadyForQuery to know. */
static bool may_recover(enum statement_kind kind)
{
    return kind == STATEMENT_SAVEPOINT || kind == STATEMENT_ROLLBACK || kind == STATEMENT_COMMIT ||
           kind == STATEMENT_PREPARE_TRANSACTION;
}

/* What the name stands for decides how we go on. Of what else is special it is seen when it is answered. */
static bool matters(const struct session *s, const struct special *special)
{
    return special && (may_mark(special) || special->kind == STATEMENT_BEGIN || may_recover(special->kind) ||
                       s->block == BLOCK_HIDDEN);
}

/* Looking further back costs more than waiting. */
enum { LOOK_BACK = 1000 };

bool name_is_uncertain(const struct session *s, struct str name)
{
    bool this_batch = true;
    bool found = false;
    uint32_t looked = 0;
    for (uint32_t i = s->answers.n; s->undos > 0 && i > 0; i--) {
        const struct answer *a = answers_at(&s->answers, i - 1);
        if (answer_undoes(a) && str_eq(a->special->text, name)) {
            if (this_batch || matters(s, a->special->previous)) {
                return !this_batch; /* in one batch: when the Parse is skipped, so is the Bind */
            }
            found = true;
        }
        this_batch = this_batch && a->kind != ANSWER_SYNC && a->kind != ANSWER_QUERY;
        if (++looked == LOOK_BACK) {
            return true;
        }
    }
    return found && matters(s, special_map_get(&s->statements, name));
}

static void on_drained_for_bind(struct session *s)
{
    struct rd r = rd_init(s->stash.p + FRAME_HEAD, s->stash.n - FRAME_HEAD);
    struct str portal = rd_cstr(&r);
    struct special *special = special_map_get(&s->statements, rd_cstr(&r));
    if (!s->skipping && !special_map_set(&s->portals, portal, special)) {
        session_fatal(s, PROXY_TOO_MANY_STATEMENTS);
        return;
    }
    if (s->skipping || expect(s, ANSWER_BIND, ACTION_FORWARD, 0, NULL)) {
        send_stash(s);
    }
}

void batch_bind(struct session *s, struct str frame)
{
    keep(s, frame);
    drain(s, on_drained_for_bind);
    looked_at(s);
}

/* --- Execute --- */

static void send_execute(struct session *s, uint8_t flags)
{
    struct special *special = s->stash_special;
    s->stash_special = NULL;
    note_unguarded(s, special->kind, special->text);
    if (s->status == 'E' && may_recover(special->kind)) {
        s->status = 'T';
    }
    if (may_mark(special)) {
        s->unsure++;
        flags |= ANSWER_MAY_MARK;
    }
    if (expect(s, ANSWER_EXECUTE, ACTION_FORWARD, flags, special)) {
        send_stash(s);
    }
}

/* The end of a transaction that fails ends it all the same; one that was skipped, as an earlier message of
 * the batch had failed (no error of its own), does not. */
static void drop_execute(struct session *s)
{
    special_unref(s->stash_special);
    s->stash_special = NULL;
    buf_deinit(&s->stash);
    s->rollback_at_sync = s->hidden.error.n > 0;
}

static void on_execute_refused(struct session *s, bool ok)
{
    (void)ok; /* raise_error() has seen to it that it failed */
    forward_error(s, buf_str(&s->hidden.error), 0, true, 0);
    drop_execute(s);
}

static void on_proved_for_execute(struct session *s, bool ok)
{
    if (!ok) {
        drop_execute(s);
        return;
    }
    predict_block(s, s->stash_special->chain ? BLOCK_AS_BEFORE : BLOCK_NONE);
    send_execute(s, 0);
}

/* An earlier message of the batch failed while the Execute waited: it goes out, and no answer will come. */
static bool ignored_by_server(struct session *s)
{
    if (!s->skipping) {
        return false;
    }
    special_unref(s->stash_special);
    s->stash_special = NULL;
    send_stash(s);
    return true;
}

/* Our transaction has ended in the middle of a batch: no ReadyForQuery says so. */
static void end_block(struct session *s)
{
    settle_block(s, BLOCK_NONE);
    s->status = 'I';
    special_map_clear(&s->portals);
    forget_marks(s);
    forget_unguarded(s);
}

/* The command went without the client's portal. */
static void on_said(struct session *s, bool ok)
{
    if (!ok) {
        on_execute_refused(s, ok);
        return;
    }
    put_command_complete(&s->scratch,
                         s->stash_special->kind == STATEMENT_COMMIT ? STR("COMMIT") : STR("ROLLBACK"));
    send_client(s, &s->scratch);
    special_unref(s->stash_special);
    s->stash_special = NULL;
    buf_deinit(&s->stash);
}

static void on_hidden_ended(struct session *s, bool ok)
{
    release_held(s); /* in a batch tags come before the COMMIT, should it fail too */
    if (!ok) {
        on_execute_refused(s, ok);
        return;
    }
    end_block(s);
    hidden_run(s, HIDDEN_FLUSH, s->stash_special->text, NULL, 0, on_said);
}

/* Ends our transaction before a transaction command of the client: the server's word for a command without a
 * block, a warning about COMMIT and ROLLBACK and an error about the others, comes when ours is gone; so is
 * the client's portal then. */
static void end_hidden_block(struct session *s, struct str sql)
{
    hidden_run(s, HIDDEN_FLUSH, sql, NULL, 0, on_hidden_ended);
}

static void on_proved_for_hidden_end(struct session *s, bool ok)
{
    if (!ok) {
        drop_execute(s);
        return;
    }
    end_hidden_block(s, STR("COMMIT"));
}

/* All that came before is answered: the transaction is marked or it is not. */
static void on_drained_for_commit(struct session *s)
{
    session_done done = s->block == BLOCK_HIDDEN ? on_proved_for_hidden_end : on_proved_for_execute;
    if (ignored_by_server(s)) {
        return;
    }
    if (must_prove(s)) {
        commit_start(s, HIDDEN_FLUSH, done);
        return;
    }
    done(s, true);
}

/* A batch before this one is not answered yet: what it does to the block depends on whether it fails. */
static bool block_is_uncertain(const struct session *s)
{
    for (uint32_t i = 0; i < s->answers.n; i++) {
        enum answer_kind kind = (enum answer_kind)answers_at(&s->answers, i)->kind;
        if (kind == ANSWER_SYNC || kind == ANSWER_QUERY) {
            return true;
        }
    }
    return false;
}

/* Something under way may still mark the transaction that is to end, or fail it: its answer is waited for. */
static void execute_ending(struct session *s, session_next next)
{
    if (s->unsure > 0 || ((s->marks_n > 0 || s->unchecked) && block_is_uncertain(s))) {
        drain(s, next);
        return;
    }
    next(s);
}

static void on_checked_for_prepare(struct session *s, bool ok)
{
    if (!ok) {
        on_execute_refused(s, false);
    } else if (has_migration(s)) {
        raise_error(s, HIDDEN_FLUSH, PROXY_TWO_PHASE, "", on_execute_refused);
    } else {
        predict_block(s, BLOCK_NONE);
        send_execute(s, 0);
    }
}

static void on_drained_for_prepare(struct session *s)
{
    if (ignored_by_server(s)) {
        return;
    }
    if (s->unchecked && must_prove(s)) {
        find_changes(s, HIDDEN_FLUSH, on_checked_for_prepare);
        return;
    }
    on_checked_for_prepare(s, true);
}

static void on_drained_for_rollback(struct session *s)
{
    if (!ignored_by_server(s)) {
        end_hidden_block(s, STR("ROLLBACK"));
    }
}

static bool needs_client_block(const struct special *special)
{
    return special->kind == STATEMENT_SAVEPOINT || special->kind == STATEMENT_ROLLBACK ||
           (special->kind == STATEMENT_COMMIT && special->chain);
}

static void execute_wrapped(struct session *s)
{
    if (ignored_by_server(s)) {
        return;
    }
    if (s->block == BLOCK_NONE) {
        predict_block(s, BLOCK_HIDDEN);
        hidden_send(s, STR("BEGIN"));
    }
    send_execute(s, s->block == BLOCK_HIDDEN ? ANSWER_HOLD : 0);
}

static void execute_special(struct session *s, struct special *special)
{
    if (s->block == BLOCK_HIDDEN && needs_client_block(special)) {
        drain(s, on_drained_for_rollback);
        return;
    }
    switch (special->kind) {
    case STATEMENT_BEGIN: {
        uint8_t flags = s->block == BLOCK_HIDDEN ? ANSWER_WARNED : 0;
        predict_block(s, BLOCK_CLIENT);
        send_execute(s, flags);
        return;
    }
    case STATEMENT_COMMIT:
        execute_ending(s, on_drained_for_commit);
        return;
    case STATEMENT_ROLLBACK:
        predict_block(s, special->chain ? BLOCK_AS_BEFORE : BLOCK_NONE);
        send_execute(s, 0);
        return;
    case STATEMENT_PREPARE_TRANSACTION:
        execute_ending(s, on_drained_for_prepare);
        return;
    case STATEMENT_DDL_INDEX_CONCURRENTLY:
        special_unref(s->reconcile_at_sync);
        s->reconcile_at_sync = s->block == BLOCK_NONE ? special_ref(special) : NULL;
        send_execute(s, 0);
        return;
    default:
        if (special->wrap && block_is_uncertain(s)) {
            drain(s, execute_wrapped);
            return;
        }
        if (special->wrap) {
            execute_wrapped(s);
            return;
        }
        send_execute(s, 0);
    }
}

void batch_execute(struct session *s, struct str frame, struct special *special)
{
    keep(s, frame);
    s->stash_special = special_ref(special);
    execute_special(s, special);
    looked_at(s);
}

/* --- Sync --- */

static void end_batch(struct session *s)
{
    s->skipping = false;
    s->rollback_at_sync = false;
}

static void forward_sync(struct session *s)
{
    end_batch(s);
    if (expect(s, ANSWER_SYNC, ACTION_FORWARD, 0, NULL)) {
        put_sync(&s->scratch);
        send_server(s, &s->scratch);
    }
}

static void ready(struct session *s)
{
    put_ready(&s->scratch, s->status);
    send_client(s, &s->scratch);
}

static void on_hidden_commit(struct session *s, bool ok)
{
    settle_block(s, BLOCK_NONE);
    if (ok) {
        release_held(s);
    } else {
        buf_reset(&s->held);
        forward_error(s, buf_str(&s->hidden.error), 0, true, 0);
    }
    forward_sync(s);
}

static void on_rolled_back(struct session *s, bool ok)
{
    (void)ok; /* ROLLBACK fails only with the connection */
    settle_block(s, BLOCK_NONE);
    ready(s);
}

/* After the Sync of a batch that failed. */
static void on_failed_sync(struct session *s, bool ok)
{
    (void)ok; /* Sync cannot fail; what a failed COMMIT has to say has been said */
    if (s->status != 'I') {
        hidden_run(s, HIDDEN_SYNC, STR("ROLLBACK"), NULL, 0, on_rolled_back);
        return;
    }
    settle_block(s, BLOCK_NONE);
    ready(s);
}

/* The client's Sync goes out as ours: its ReadyForQuery is not the last word. */
static void hidden_sync(struct session *s, session_done done)
{
    end_batch(s);
    s->hidden.active = true;
    s->hidden.failed = false;
    s->hidden.done = done;
    session_block(s);
    if (expect(s, ANSWER_SYNC, ACTION_HIDDEN, ANSWER_LAST, NULL)) {
        put_sync(&s->scratch);
        send_server(s, &s->scratch);
    }
}

static void on_proved_for_sync(struct session *s, bool ok)
{
    if (!ok) {
        hidden_sync(s, on_failed_sync);
        return;
    }
    hidden_run(s, HIDDEN_FLUSH, STR("COMMIT"), NULL, 0, on_hidden_commit);
}

static void sync_of_client(struct session *s)
{
    if (s->skipping && s->rollback_at_sync) {
        hidden_sync(s, on_failed_sync);
    } else {
        forward_sync(s);
    }
}

static void on_drained_for_sync(struct session *s)
{
    s->hidden_replaced = false;
    if (s->block != BLOCK_HIDDEN) { /* our BEGIN was skipped, or the client's took its place */
        sync_of_client(s);
    } else if (s->skipping) {
        buf_reset(&s->held);
        hidden_sync(s, on_failed_sync);
    } else if (must_prove(s)) {
        commit_start(s, HIDDEN_FLUSH, on_proved_for_sync);
    } else {
        on_proved_for_sync(s, true);
    }
}

static void on_reconciled(struct session *s, bool ok)
{
    (void)ok; /* the reason has been forwarded */
    release_held(s);
    ready(s);
}

static void on_sync_before_reconcile(struct session *s, bool ok)
{
    if (!ok) {
        forward_error(s, buf_str(&s->hidden.error), 0, false, 0);
    }
    struct special *special = s->reconcile_at_sync;
    s->reconcile_at_sync = NULL;
    if (ok && s->status == 'I') {
        reconcile_start(s, special->text, on_reconciled);
    } else {
        ready(s);
    }
    special_unref(special);
}

void batch_copy_begun(struct session *s)
{
    if (!s->on_drained) {
        return;
    }
    if (s->on_drained != on_drained_for_sync) {
        session_fatal(s, PROXY_BAD_TYPE);
        return;
    }
    s->on_drained = NULL;
    s->sync_kept = true;
    session_unblock(s);
}

void batch_copy_failed(struct session *s)
{
    if (s->sync_kept) {
        s->sync_kept = false;
        batch_sync(s, STR("S\0\0\0\4"));
    }
}

void batch_sync(struct session *s, struct str frame)
{
    if (s->block == BLOCK_HIDDEN || s->hidden_replaced) {
        drain(s, on_drained_for_sync);
        return;
    }
    if (s->skipping && s->rollback_at_sync) {
        hidden_sync(s, on_failed_sync);
        return;
    }
    if (s->reconcile_at_sync) {
        hidden_sync(s, on_sync_before_reconcile);
        return;
    }
    end_batch(s);
    if (expect(s, ANSWER_SYNC, ACTION_FORWARD, 0, NULL)) {
        s->out.to_server(s->ctx, frame.p, frame.n);
    }
}
