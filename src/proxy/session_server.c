/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the server. The answer at the front of the queue says what becomes of each.
 *
 * Most are forwarded: neighbours that go on unchanged leave in one piece. Only these are taken whole: errors
 * and notices (when not larger than LIMIT_HELD_FRAME), command tags, ReadyForQuery, ParameterStatus, and rows
 * of a hidden operation. After ErrorResponse in a batch the server skips to Sync: the answers up to there
 * never come
 * ("Extended Query" in the protocol's documentation).
 */
#include "proxy/session_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "sql/classify.h"
#include "wire/message.h"

/* What becomes of the message at hand. */
enum verdict {
    PASS, /* to the client, unchanged */
    DROP, /* swallowed, or something else was sent in its place */
};

typedef enum verdict server_fn(struct session *s, struct str frame);

static struct str body_of(struct str frame)
{
    return (struct str){frame.p + FRAME_HEAD, frame.n - FRAME_HEAD};
}

static bool front_hidden(const struct session *s)
{
    struct answer *a = answers_front(&s->answers);
    return a && a->action == ACTION_HIDDEN;
}

static void let_go(struct session *s, const struct answer *a)
{
    s->unsure -= (a->flags & ANSWER_MAY_MARK) != 0;
    s->undos -= answer_undoes(a);
    special_unref(a->special);
}

/* A transaction was begun or ended; in a batch no ReadyForQuery says so. */
static void block_changed(struct session *s, const struct answer *a)
{
    s->known = (enum block)a->block;
    if (a->kind == ANSWER_QUERY || a->kind == ANSWER_FUNCTION || a->kind == ANSWER_SYNC) {
        return;
    }
    s->status = s->known == BLOCK_NONE ? 'I' : 'T';
    if (s->known == BLOCK_NONE) {
        forget_marks(s);
    }
}

static void answered(struct session *s)
{
    struct answer a = answers_pop(&s->answers);
    let_go(s, &a);
    if (a.block != BLOCK_AS_BEFORE) {
        block_changed(s, &a);
    }
    while (s->answers.n > 0 && answers_front(&s->answers)->kind == ANSWER_COPY_DONE) {
        answers_pop(&s->answers);
    }
    if (a.flags & ANSWER_LAST) {
        hidden_finish(s, !s->hidden.failed);
    }
}

static void after_answer(struct session *s)
{
    if (s->answers.n == 0 && s->on_drained) {
        session_next next = s->on_drained;
        s->on_drained = NULL;
        session_unblock(s);
        next(s);
    }
}

/* Answers that follow a held command tag wait with it; anything that brings data lets it go first, as the
 * server's own order would. */
static enum verdict pass_or_hold(struct session *s, struct str frame, bool small)
{
    if (s->held.n == 0) {
        return PASS;
    }
    if (small && s->held.n + frame.n <= LIMIT_HELD_FRAME) {
        buf_put_str(&s->held, frame);
        return DROP;
    }
    release_held(s);
    return PASS;
}

/* An answer that is wholly described by its type: ends the front entry when that is of `kind`. */
static enum verdict complete(struct session *s, struct str frame, enum answer_kind kind)
{
    struct answer *a = answers_front(&s->answers);
    if (!a || a->kind != kind) {
        session_fatal(s, PROXY_UNASKED_ANSWER);
        return DROP;
    }
    enum verdict v = a->action == ACTION_HIDDEN ? DROP : pass_or_hold(s, frame, kind == ANSWER_CLOSE);
    answered(s);
    return v;
}

static enum verdict on_parse_complete(struct session *s, struct str frame)
{
    return complete(s, frame, ANSWER_PARSE);
}

static enum verdict on_bind_complete(struct session *s, struct str frame)
{
    return complete(s, frame, ANSWER_BIND);
}

static enum verdict on_close_complete(struct session *s, struct str frame)
{
    return complete(s, frame, ANSWER_CLOSE);
}

static enum verdict on_no_data(struct session *s, struct str frame)
{
    return complete(s, frame, ANSWER_DESCRIBE);
}

static enum verdict on_suspended(struct session *s, struct str frame)
{
    return complete(s, frame, ANSWER_EXECUTE);
}

/* RowDescription answers Describe; in a simple Query it only precedes rows. */
static enum verdict on_row_description(struct session *s, struct str frame)
{
    struct answer *a = answers_front(&s->answers);
    if (a && a->kind == ANSWER_DESCRIBE) {
        return complete(s, frame, ANSWER_DESCRIBE);
    }
    return front_hidden(s) ? DROP : pass_or_hold(s, frame, false);
}

static enum verdict on_row(struct session *s, struct str frame)
{
    if (front_hidden(s)) {
        hidden_row(s, frame.p, frame.n);
        return DROP;
    }
    return pass_or_hold(s, frame, false);
}

static enum verdict on_empty_query(struct session *s, struct str frame)
{
    struct answer *a = answers_front(&s->answers);
    return a && a->kind == ANSWER_EXECUTE ? complete(s, frame, ANSWER_EXECUTE)
                                          : pass_or_hold(s, frame, false);
}

static const char *tag_to_show(const struct session *s, const struct answer *a)
{
    if (a->special) {
        return a->special->tag;
    }
    return a->action == ACTION_SCRIPT ? s->script->tag : NULL;
}

/* The client's tag goes out, or is held, or is replaced by the one of its DDLX. */
static enum verdict show_tag(struct session *s, const struct answer *a, struct str frame)
{
    const char *tag = tag_to_show(s, a);
    if (!(a->flags & ANSWER_HOLD) && !tag) {
        return pass_or_hold(s, frame, false);
    }
    release_held(s);
    if (tag) {
        put_command_complete(&s->held, str_c(tag));
    } else {
        buf_put_str(&s->held, frame);
    }
    if (!(a->flags & ANSWER_HOLD)) {
        release_held(s);
    }
    return DROP;
}

static bool forgets_statements(struct str tag)
{
    return str_starts_with(tag, STR("DISCARD ALL")) || str_starts_with(tag, STR("DEALLOCATE ALL"));
}

/* All but those whose Parse came behind it and is still to be answered. Should the first of those for a name
 * be skipped, the name stands for nothing; a later one then for what the first gave it. */
static void forget_statements(struct session *s)
{
    struct special_map kept = {0}, seen = {0};
    for (uint32_t i = 0; s->undos > 0 && i < s->answers.n; i++) {
        const struct answer *a = answers_at(&s->answers, i);
        if (answer_undoes(a)) {
            struct str name = a->special->text;
            special_map_set(&kept, name, special_map_get(&s->statements, name));
            if (!special_map_get(&seen, name)) {
                special_unref(take_ptr(&a->special->previous));
            }
            special_map_set(&seen, name, a->special);
        }
    }
    special_map_deinit(&seen);
    special_map_deinit(&s->statements);
    s->statements = kept;
}

static struct str statement_behind(struct session *s, const struct answer *a);

/* One name: but not if a Parse that came behind has given it anew, as above. */
static void forget_statement(struct session *s, struct str text)
{
    CLEANUP(arena_deinit) struct arena arena = ARENA_INIT;
    struct str name = text.p ? classify_deallocated(&arena, text, s->std_strings) : text;
    if (!name.p) {
        return;
    }
    for (uint32_t i = 0; s->undos > 0 && i < s->answers.n; i++) {
        const struct answer *a = answers_at(&s->answers, i);
        if (answer_undoes(a) && special_names_equal(a->special->text, name)) {
            special_unref(take_ptr(&a->special->previous));
            return;
        }
    }
    special_map_set(&s->statements, name, NULL);
}

static enum verdict on_command_complete(struct session *s, struct str frame)
{
    struct answer *a = answers_front(&s->answers);
    if (!a) {
        return PASS;
    }
    struct str tag = body_of(frame);
    if (forgets_statements(tag)) {
        forget_statements(s);
    } else if (s->statements.n > 0 && str_starts_with(tag, STR("DEALLOCATE"))) {
        forget_statement(s, statement_behind(s, a));
    }
    enum verdict v = a->action == ACTION_HIDDEN ? DROP : show_tag(s, a, frame);
    if (a->action == ACTION_SCRIPT) {
        s->script->completed++;
    }
    if (a->kind == ANSWER_EXECUTE) {
        answered(s);
    }
    return v;
}

/* What was predicted when the message was sent gives way to what is. */
static void settle_answer(struct session *s, char status)
{
    struct answer *a = answers_front(&s->answers);
    enum block predicted = a->block == BLOCK_AS_BEFORE ? s->known : (enum block)a->block;
    enum block open = predicted == BLOCK_HIDDEN ? BLOCK_HIDDEN : BLOCK_CLIENT;
    enum block now = status == 'I' ? BLOCK_NONE : open;
    if (now != predicted) {
        a->block = (uint8_t)now;
        correct_block(s, s->known);
    }
}

static void ready_status(struct session *s, char status)
{
    s->status = status;
    if (status == 'I') {
        forget_marks(s);
    }
    settle_answer(s, status);
    if (s->answers.n == 1 && status == 'I') {
        special_map_clear(&s->portals); /* they end with their transaction */
        forget_unguarded(s);
    }
}

/* The answer to a Sync that a failed COPY has left unread. With another Sync under way nobody can tell the
 * two apart, nor need to: the second ReadyForQuery is then the spare one. */
static bool is_spare(const struct session *s, const struct answer *front)
{
    return s->copy_failed && s->spare_syncs > 0 && (!front || front->kind != ANSWER_SYNC);
}

static enum verdict on_spare_ready(struct session *s, char status)
{
    s->spare_syncs--;
    s->skipping = false;
    s->status = status;
    correct_block(s, status == 'I' ? BLOCK_NONE : s->known);
    return PASS;
}

static enum verdict on_ready(struct session *s, struct str frame)
{
    struct answer *front = answers_front(&s->answers);
    if (frame.n != FRAME_HEAD + 1) {
        session_fatal(s, PROXY_BAD_SERVER_MESSAGE);
        return DROP;
    }
    if (is_spare(s, front)) {
        return on_spare_ready(s, frame.p[FRAME_HEAD]);
    }
    if (front->kind != ANSWER_SYNC && front->kind != ANSWER_QUERY && front->kind != ANSWER_FUNCTION) {
        session_fatal(s, PROXY_MISSING_ANSWERS);
        return DROP;
    }
    struct answer a = *front;
    ready_status(s, frame.p[FRAME_HEAD]);
    if (a.action == ACTION_FORWARD) {
        enum verdict v = pass_or_hold(s, frame, false);
        answered(s);
        return v;
    }
    answered(s);
    if (a.action == ACTION_SCRIPT) {
        script_piece_done(s);
    }
    return DROP;
}

static uint32_t next_sync(const struct session *s)
{
    uint32_t n = 0;
    while (n < s->answers.n && answers_at(&s->answers, n)->kind != ANSWER_SYNC) {
        n++;
    }
    return n;
}

/* What was sent in later batches, by name: the first that gives the name a new meaning. */
static void collect_later(const struct session *s, uint32_t from, struct special_map *out)
{
    for (uint32_t i = s->answers.n; s->undos > 0 && i > from; i--) {
        const struct answer *a = answers_at(&s->answers, i - 1);
        if (answer_undoes(a)) {
            special_map_set(out, a->special->text, a->special);
        }
    }
}

/* The Parse and Close messages that failed, and those that are skipped, have changed no name. The last comes
 * first, for a name may have changed twice. A name that was given away again since stays as it is: should
 * that fail too, it goes back to what it stood for before all of them. */
static void undo_names(struct session *s)
{
    struct special_map later = {0};
    uint32_t n = next_sync(s);
    collect_later(s, n, &later);
    while (s->undos > 0 && n-- > 0) {
        const struct answer *a = answers_at(&s->answers, n);
        struct special *again = answer_undoes(a) ? special_map_get(&later, a->special->text) : NULL;
        if (again) {
            special_unref(again->previous);
            again->previous = a->special->previous ? special_ref(a->special->previous) : NULL;
        } else if (answer_undoes(a)) {
            special_map_set(&s->statements, a->special->text, a->special->previous);
        }
    }
    special_map_deinit(&later);
}

void skip_to_sync(struct session *s)
{
    undo_names(s);
    while (s->answers.n > 0 && answers_front(&s->answers)->kind != ANSWER_SYNC) {
        struct answer a = answers_pop(&s->answers);
        let_go(s, &a);
        s->hidden.leftover |= a.action == ACTION_HIDDEN; /* its Close is skipped, too */
        if (a.flags & ANSWER_LAST) {
            correct_block(s, s->known);
            s->skipping = true;
            hidden_finish(s, false);
            return;
        }
    }
    correct_block(s, s->known); /* what was skipped has done nothing to it */
    if (s->answers.n == 0) {
        s->skipping = true;
    }
}

/* True for what a client must not see: the call stack of our functions. */
static bool inner_working(struct str context, bool injected)
{
    static const char block[] = "inline_code_block"; /* DO: the client's own, unless we sent it */
    return memmem(context.p, context.n, "busbar.", 7) != NULL ||
           (injected && memmem(context.p, context.n, block, sizeof block - 1) != NULL);
}

static void put_position(struct buf *out, struct str value, size_t shift)
{
    uint64_t position;
    if (str_to_u64(value, UINT32_MAX, &position)) {
        buf_put_byte(out, 'P');
        buf_printf(out, "%zu", (size_t)position + shift);
        buf_put_byte(out, '\0');
    }
}

static void forward_problem(struct session *s, char type, struct str body, size_t shift, bool injected,
                            size_t point_at)
{
    struct buf out = BUF_INIT(LIMIT_HELD_FRAME * 2);
    bool ours = inner_working(message_field(body, 'W'), injected);
    struct message_field f;
    buf_put_byte(&out, type);
    buf_put_u32be(&out, 0);
    for (size_t pos = 0; message_next_field(body, &pos, &f);) {
        if (f.code == 'P' && (injected || shift)) {
            if (!injected) {
                put_position(&out, f.value, shift);
            }
            continue;
        }
        if (ours && strchr("WFLRpq", f.code)) {
            continue;
        }
        buf_put_byte(&out, f.code);
        buf_put_str(&out, f.value);
        buf_put_byte(&out, '\0');
    }
    if (ours && point_at) {
        put_position(&out, STR("0"), point_at + shift);
    }
    buf_put_byte(&out, '\0');
    buf_set_u32be(&out, 1, (uint32_t)(out.n - 1));
    send_client(s, &out);
    buf_deinit(&out);
}

void forward_error(struct session *s, struct str body, size_t shift, bool injected, size_t point_at)
{
    if (body.n > 0) { /* else an earlier message of the batch failed, ours was skipped, and the client has
                         that error */
        forward_problem(s, 'E', body, shift, injected, point_at);
    }
}

/* An error of a statement of the client's: as the server said it, unless it is about text that we sent in its
 * place or comes from inside our functions. */
static enum verdict show_error(struct session *s, const struct answer *a, struct str frame)
{
    struct str body = body_of(frame);
    size_t shift = 0, point_at = 0;
    bool injected = false;
    release_held(s);
    if (a && a->action == ACTION_SCRIPT) {
        struct script *sc = s->script;
        shift = script_chars_before(s, sc->first);
        injected = sc->injected;
        point_at = sc->point_at;
        sc->failed = true;
    } else if (a && a->special) {
        injected = a->special->injected;
        point_at = a->special->point_at;
    }
    bool ours = inner_working(message_field(body, 'W'), injected) && s->mode != SESSION_TRANSPARENT;
    if (!injected && shift == 0 && !ours) {
        return PASS;
    }
    forward_error(s, body, shift, injected, point_at);
    return DROP;
}

static bool in_batch(const struct answer *a)
{
    return a && a->kind != ANSWER_QUERY && a->kind != ANSWER_FUNCTION && a->kind != ANSWER_SYNC;
}

static void end_copy(struct session *s)
{
    s->copy_in = false;
    s->spare_syncs = s->copy_failed ? 0 : s->spare_syncs; /* an error of another statement: none is left */
    s->copy_failed = true;
    if (script_runs(s)) {
        session_block(s); /* it was let through for its rows */
    }
}

/* What failed has changed nothing about the block: BEGIN has not made ours the client's. */
static void take_back_effect(struct session *s, struct answer *a)
{
    if (a && a->action == ACTION_SCRIPT) {
        a->block = BLOCK_AS_BEFORE;
        correct_block(s, s->known);
    }
}

static enum verdict on_error(struct session *s, struct str frame)
{
    struct answer *front = answers_front(&s->answers);
    end_copy(s);
    if (front && front->action == ACTION_HIDDEN && s->hidden.active) {
        s->hidden.failed = true;
        buf_reset(&s->hidden.error);
        buf_put_str(&s->hidden.error, frame.n > FRAME_HEAD ? body_of(frame) : STR("\0"));
        if (in_batch(front)) {
            skip_to_sync(s);
        }
        return DROP;
    }
    take_back_effect(s, front);
    enum verdict v = show_error(s, front, frame);
    if (in_batch(front)) {
        skip_to_sync(s);
        batch_copy_failed(s);
    }
    return v;
}

/* The client's statement that the server is busy with, as far as it is known. */
static struct str statement_behind(struct session *s, const struct answer *a)
{
    if (s->wrapped_text.p) {
        return s->wrapped_text;
    }
    if (a && a->action == ACTION_HIDDEN) {
        return s->unchecked_text;
    }
    return a && a->special ? a->special->text : script_statement(s);
}

static enum verdict on_notice(struct session *s, struct str frame)
{
    struct answer *a = answers_front(&s->answers);
    struct str code = message_field(body_of(frame), 'C');
    if (str_eq(code, STR("UB001"))) {
        note_mark(s, body_of(frame), statement_behind(s, a));
        return DROP;
    }
    /* BEGIN of the client inside a transaction that it does not know of: "there is already a transaction". */
    if (a && a->flags & ANSWER_WARNED && str_eq(code, STR("25001"))) {
        return DROP;
    }
    if (!front_hidden(s)) {
        release_held(s); /* the tag in front of it is not the last */
    }
    size_t shift = a && a->action == ACTION_SCRIPT ? script_chars_before(s, s->script->first) : 0;
    if (shift == 0 || message_field(body_of(frame), 'P').n == 0) {
        return PASS;
    }
    forward_problem(s, 'N', body_of(frame), shift, s->script->injected, 0);
    return DROP;
}

static enum verdict on_parameter(struct session *s, struct str frame)
{
    struct str body = body_of(frame);
    if (str_starts_with(body, (struct str){"standard_conforming_strings", 28})) {
        s->std_strings = !str_starts_with((struct str){body.p + 28, body.n - 28}, STR("off"));
    }
    return PASS;
}

/* The server reads CopyData now: Sync and Flush that it meets before CopyDone or CopyFail get no answer. */
static enum verdict on_copy_in(struct session *s, struct str frame)
{
    struct answer *front = answers_front(&s->answers);
    if (front->action == ACTION_HIDDEN || (front->kind != ANSWER_QUERY && front->kind != ANSWER_EXECUTE)) {
        session_fatal(s, PROXY_UNASKED_ANSWER);
        return DROP;
    }
    bool ended = false;
    s->spare_syncs = 0;
    s->copy_failed = false;
    for (uint32_t i = 1; i < s->answers.n && !ended;) {
        enum answer_kind kind = (enum answer_kind)answers_at(&s->answers, i)->kind;
        ended = kind == ANSWER_COPY_DONE;
        if (kind == ANSWER_SYNC) {
            answers_remove(&s->answers, i);
            s->spare_syncs++;
        } else {
            i++;
        }
    }
    s->copy_in = !ended;
    if (front->action == ACTION_SCRIPT) {
        session_unblock(s);
    } else if (s->copy_in) {
        batch_copy_begun(s);
    }
    return pass_or_hold(s, frame, false);
}

/* The server tells when it is about to be ready, also behind a COMMIT of ours. */
static enum verdict on_notification(struct session *s, struct str frame)
{
    return pass_or_hold(s, frame, true);
}

static enum verdict on_other(struct session *s, struct str frame)
{
    return front_hidden(s) ? DROP : pass_or_hold(s, frame, false);
}

struct server_rule {
    server_fn *fn;
    bool whole; /* must be taken whole */
};

static const struct server_rule server_rules[256] = {
    ['1'] = {on_parse_complete, true},
    ['2'] = {on_bind_complete, true},
    ['3'] = {on_close_complete, true},
    ['n'] = {on_no_data, true},
    ['s'] = {on_suspended, true},
    ['I'] = {on_empty_query, true},
    ['C'] = {on_command_complete, true},
    ['Z'] = {on_ready, true},
    ['E'] = {on_error, true},
    ['N'] = {on_notice, true},
    ['S'] = {on_parameter, true},
    ['T'] = {on_row_description, false},
    ['D'] = {on_row, false},
    ['G'] = {on_copy_in, true},
    ['H'] = {on_other, false},
    ['W'] = {on_other, false},
    ['d'] = {on_other, false},
    ['c'] = {on_other, false},
    ['t'] = {on_other, false},
    ['V'] = {on_other, false},
    ['A'] = {on_notification, true},
    ['K'] = {on_other, false},
    ['R'] = {on_other, false},
    ['v'] = {on_other, false},
};

/* So much of a problem that is too large to be read whole is read: its code is in it, however it arrives. */
enum { BEGINNING = 1024 };

/* More of the message has to come first. */
static bool must_wait(const struct session *s, const struct server_rule *rule, struct frame_head head,
                      size_t have)
{
    if (front_hidden(s)) {
        return true;
    }
    return rule->whole && (head.total <= LIMIT_HELD_FRAME || have < BEGINNING);
}

/* An ErrorResponse too large to be read whole passes as it is, and still ends what it ends. */
static void on_large_error(struct session *s)
{
    struct answer *front = answers_front(&s->answers);
    end_copy(s);
    release_held(s);
    take_back_effect(s, front);
    if (front && front->action == ACTION_SCRIPT) {
        s->script->failed = true;
    }
    if (in_batch(front)) {
        skip_to_sync(s);
        batch_copy_failed(s);
    }
}

/* What a server may send when nothing was asked. */
static bool may_come_any_time(char type)
{
    return strchr("ENSA", type) != NULL;
}

static enum verdict judge(struct session *s, const struct server_rule *rule, struct frame_head head,
                          struct str frame)
{
    if (s->answers.n == 0 && !may_come_any_time(head.type) && !(head.type == 'Z' && is_spare(s, NULL))) {
        session_fatal(s, PROXY_UNASKED_ANSWER);
        return DROP;
    }
    if (s->spare_syncs > 0 && head.type != 'Z' && !may_come_any_time(head.type)) {
        s->spare_syncs = 0; /* COPY has read them */
    }
    if (head.total <= LIMIT_HELD_FRAME || !rule->whole) {
        return rule->fn(s, frame);
    }
    if (head.type == 'E') {
        on_large_error(s);
    } else if (head.type != 'N' && head.type != 'S') {
        session_fatal(s, PROXY_BAD_SERVER_MESSAGE); /* no other can be that long */
        return DROP;
    }
    struct str beginning = body_of((struct str){frame.p, BEGINNING});
    bool mark = head.type == 'N' && str_eq(message_field(beginning, 'C'), STR("UB001"));
    return mark ? DROP : PASS; /* no guard of ours says that much */
}

/* Rows of the client's change nothing: all that are there go on in one piece. */
static size_t run_of_rows(struct session *s, const char *p, size_t n)
{
    bool rows = p[0] == 'D' || p[0] == 'd';
    if (!rows || s->answers.n == 0 || front_hidden(s) || s->held.n > 0) {
        return 0;
    }
    size_t count;
    size_t run = frame_run(p, n, &count);
    counter_add(&s->counters->messages_from_server, count);
    return run;
}

int process_server(struct session *s, const char *p, size_t n, size_t *out_used, struct err *err)
{
    size_t at = 0;
    size_t from = 0; /* [from, at) goes to the client unchanged and has not been sent yet */
    while (at < n && !s->closing) {
        if (s->server_left > 0) {
            size_t piece = n - at < s->server_left ? n - at : s->server_left;
            s->server_left -= piece;
            at += piece;
            from = s->server_left_dropped ? at : from;
            continue;
        }
        size_t run = run_of_rows(s, p + at, n - at);
        if (run > 0) {
            at += run;
            continue;
        }
        struct frame_head head;
        int found = frame_peek(p + at, n - at, &head, err);
        const struct server_rule *rule =
            found == FRAME_FOUND ? &server_rules[(unsigned char)head.type] : NULL;
        if (found < 0 || (rule && !rule->fn)) {
            s->out.to_client(s->ctx, p + from, at - from);
            session_fatal(s, PROXY_BAD_SERVER_MESSAGE);
            return err_set(err, ERR_PEER, "the server sent what is no PostgreSQL message");
        }
        bool whole = rule && n - at >= head.total;
        if (!rule || (!whole && must_wait(s, rule, head, n - at))) {
            break;
        }
        size_t have = whole ? head.total : n - at;
        counter_add(&s->counters->messages_from_server, 1);
        if (at > from) {
            s->out.to_client(s->ctx, p + from, at - from);
            from = at;
        }
        enum verdict v = judge(s, rule, head, (struct str){p + at, have});
        at += have;
        s->server_left = head.total - have;
        s->server_left_dropped = v == DROP;
        if (v == DROP) {
            from = at;
        }
        after_answer(s);
    }
    if (at > from && !s->closing) {
        s->out.to_client(s->ctx, p + from, at - from);
    }
    *out_used = at;
    return 0;
}
