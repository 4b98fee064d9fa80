/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a marked transaction to a recorded migration:
 *
 *   SELECT … busbar.pending()  →  proof of what is pending, in SQLite  →  SELECT … busbar.record($1)
 *
 * and only then COMMIT, which the caller sends. Any failure ends in an error inside the server's transaction,
 * so that nothing of it can be committed. What is pending is read from the database, not from our marks:
 * statements undone by ROLLBACK TO are not there any more.
 */
#include "proxy/session_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "dialect/proof.h"
#include "wire/message.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

/* One row of busbar.pending(). */
struct pending {
    struct str *ops; /* of every command: the recorded ones first */
    int64_t *ids;    /* of the fresh ones, beside their ops */
    size_t n, recorded;
};

static struct mark *find_mark(const struct session *s, int64_t id)
{
    for (size_t i = 0; i < s->marks_n; i++) {
        if (s->marks[i].id == id) {
            return &s->marks[i];
        }
    }
    return NULL;
}

static void add_mark(struct session *s, int64_t id, struct str text)
{
    struct mark m = {.id = id};
    if (s->marks_n == LIMIT_MARKS) {
        return; /* record() falls back to the text of the operations */
    }
    if (text.p && text.n <= LIMIT_CAPTURE - s->marks_bytes) {
        m.text = (struct str){mem_strndup(text.p, text.n), text.n};
        s->marks_bytes += text.n;
    }
    if (s->marks_n == s->marks_cap) {
        s->marks_cap = s->marks_cap ? s->marks_cap * 2 : 8;
        s->marks = mem_realloc(s->marks, s->marks_cap * sizeof *s->marks);
    }
    s->marks[s->marks_n++] = m;
}

/* What a migration tool sees of a capture. */
static void tell_client(struct session *s, struct str schema, struct str table, struct str text)
{
    struct buf message = BUF_INIT(LIMIT_HELD_FRAME);
    struct buf detail = BUF_INIT(LIMIT_HELD_FRAME);
    struct buf out = BUF_INIT(3 * LIMIT_HELD_FRAME);
    buf_printf(&message, "Migration affecting electrified table \"%.*s\".\"%.*s\"", STR_ARG(schema),
               STR_ARG(table));
    buf_printf(&detail, "Capturing migration: ");
    buf_put_str(&detail, text.n <= LIMIT_PEEK ? text : (struct str){text.p, LIMIT_PEEK});
    struct problem notice = {.severity = "NOTICE",
                             .sqlstate = "00000",
                             .message = buf_str(&message),
                             .detail = text.p ? buf_str(&detail) : STR(""),
                             .schema = schema,
                             .table = table};
    put_notice(&out, &notice);
    send_client(s, &out);
    buf_deinit(&out);
    buf_deinit(&detail);
    buf_deinit(&message);
}

/* --- without a guard --- */

bool may_change_schema(enum statement_kind kind)
{
    return kind == STATEMENT_DDL || kind == STATEMENT_DO || kind == STATEMENT_CALL;
}

/* The text is worth keeping while it is the only one: then it is what made the difference. */
void note_unguarded(struct session *s, enum statement_kind kind, struct str text)
{
    if (s->guarded || !may_change_schema(kind)) {
        return;
    }
    bool first = !s->unchecked;
    forget_unguarded(s);
    s->unchecked = true;
    if (first && text.n <= LIMIT_CAPTURE) {
        s->unchecked_text = (struct str){mem_strndup(text.p, text.n), text.n};
    }
}

void forget_unguarded(struct session *s)
{
    free((void *)(uintptr_t)s->unchecked_text.p);
    s->unchecked_text = (struct str){NULL, 0};
    s->unchecked = false;
}

bool has_migration(const struct session *s)
{
    return s->marks_n > 0 && s->status != 'E'; /* the COMMIT of a failed transaction is a ROLLBACK */
}

bool must_prove(const struct session *s)
{
    return has_migration(s) || (s->unchecked && s->status != 'E');
}

void find_changes(struct session *s, enum hidden_end end, session_done done)
{
    hidden_run(s, end, STR("SELECT busbar.find_changes()"), NULL, 0, done);
}

/* --- marks --- */

/* DETAIL is {"id": …, "notify": …}, in ASCII; the names are fields of their own, as they may be in any
 * encoding. */
void note_mark(struct session *s, struct str notice_body, struct str statement)
{
    struct str detail = message_field(notice_body, 'D');
    json_int_t id = 0;
    int notify = 0;
    json_t *root = json_loadb(detail.p, detail.n, 0, NULL);
    bool readable = root && json_unpack(root, "{s:I, s:b}", "id", &id, "notify", &notify) == 0;
    json_decref(root);
    if (!readable) {
        /* The deferred check in the database will refuse the COMMIT: nothing is lost. */
        log_error(s->log_prefix, "a mark of the guard cannot be read");
        return;
    }
    log_debug(s->log_prefix, "captured id=%" PRId64, (int64_t)id);
    add_mark(s, id, statement);
    if (notify) {
        tell_client(s, message_field(notice_body, 's'), message_field(notice_body, 't'), statement);
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* p NULL when it is not pairs of hexadecimal digits. */
static struct str from_hex(struct arena *a, struct str hex)
{
    char *out = arena_alloc(a, hex.n / 2 + 1);
    for (size_t i = 0; i + 1 < hex.n; i += 2) {
        int high = hex_digit(hex.p[i]), low = hex_digit(hex.p[i + 1]);
        if (high < 0 || low < 0) {
            return (struct str){NULL, 0};
        }
        out[i / 2] = (char)(high << 4 | low);
    }
    return hex.n % 2 ? (struct str){NULL, 0} : (struct str){out, hex.n / 2};
}

static int parse_pending(struct session *s, struct pending *out)
{
    const struct buf *rows = &s->hidden.rows;
    struct frame_head head;
    struct err err;
    size_t count = 0;
    for (size_t at = 0; at < rows->n && frame_peek(rows->p + at, rows->n - at, &head, &err) == FRAME_FOUND;
         at += head.total) {
        count++;
    }
    *out = (struct pending){.ops = arena_alloc_array(&s->arena, count + 1, sizeof *out->ops),
                            .ids = arena_alloc_array(&s->arena, count + 1, sizeof *out->ids)};
    for (size_t at = 0; at < rows->n; at += head.total) {
        struct str columns[4]; /* kind, id, version, ops */
        uint64_t id;
        if (frame_peek(rows->p + at, rows->n - at, &head, &err) != FRAME_FOUND ||
            message_row(frame_body(rows->p + at, head), columns, 4) != 4 || !columns[0].p || !columns[3].p ||
            !columns[1].p || !str_to_u64(columns[1], INT64_MAX, &id)) {
            return -1;
        }
        if (str_eq(columns[0], STR("recorded"))) {
            out->recorded++;
        }
        out->ids[out->n] = (int64_t)id;
        out->ops[out->n] = from_hex(&s->arena, columns[3]);
        if (!out->ops[out->n++].p) {
            return -1;
        }
    }
    return 0;
}

static void finish(struct session *s, bool ok)
{
    session_done done = s->commit_done;
    s->commit_done = NULL;
    arena_reset(&s->arena);
    if (!ok) {
        counter_add(&s->counters->migrations_refused, 1);
        s->facts.migrations_refused++;
    }
    done(s, ok);
}

static void refused(struct session *s)
{
    buf_reset(&s->held); /* the tag of a statement that will not be committed */
    forward_error(s, buf_str(&s->hidden.error), 0, true, 0);
}

static void on_raised(struct session *s, bool ok)
{
    if (ok) { /* the transaction still stands, and must not: closing the connection ends it */
        session_fatal(s, PROXY_REFUSAL_ACCEPTED);
        return;
    }
    s->raise_done(s, false);
}

void raise_error(struct session *s, enum hidden_end end, enum proxy_error e, const char *detail,
                 session_done done)
{
    const struct proxy_error_row *row = &proxy_errors[e];
    struct str params[] = {str_c(row->sqlstate), str_c(row->message), str_c(detail), str_c(row->hint)};
    s->raise_done = done;
    hidden_run(s, end, STR("CALL busbar.refuse($1, $2, $3, $4)"), params, ARRAY_LEN(params), on_raised);
}

static void on_refused(struct session *s, bool ok)
{
    (void)ok; /* raise_error() has seen to it that it failed */
    refused(s);
    finish(s, false);
}

static void on_recorded(struct session *s, bool ok)
{
    if (!ok) {
        refused(s);
        finish(s, false);
        return;
    }
    struct frame_head head;
    struct err err;
    struct str version = STR("?");
    if (frame_peek(s->hidden.rows.p, s->hidden.rows.n, &head, &err) == FRAME_FOUND) {
        ignore_result(message_row(frame_body(s->hidden.rows.p, head), &version, 1)); /* for the log only */
    }
    log_info(s->log_prefix, "migration recorded version=%.*s", STR_ARG(version));
    counter_add(&s->counters->migrations_recorded, 1);
    s->facts.migrations_recorded++;
    forget_marks(s);
    finish(s, true);
}

/* [{"id": 17, "query": "ALTER TABLE …"}, …] for those whose statement is known. */
static char *queries_json(struct session *s, const struct pending *p)
{
    json_t *list = json_array();
    for (size_t i = p->recorded; i < p->n; i++) {
        const struct mark *m = find_mark(s, p->ids[i]);
        json_t *query = m && m->text.p ? json_stringn(m->text.p, m->text.n) : NULL; /* NULL: not UTF-8 */
        if (query) {
            json_array_append_new(list, json_pack("{s:I, s:o}", "id", (json_int_t)p->ids[i], "query", query));
        }
    }
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    return text;
}

/* In ASCII: the parameter is read in the client's encoding. */
static char *notes_json(const struct notes *notes)
{
    json_t *list = json_array();
    for (size_t i = 0; i < notes->n; i++) {
        json_array_append_new(list, json_stringn(notes->items[i].p, notes->items[i].n));
    }
    char *text = json_dumps(list, JSON_COMPACT | JSON_ENSURE_ASCII);
    json_decref(list);
    return text;
}

static void record(struct session *s, const struct pending *pending, const struct notes *notes)
{
    char *queries = queries_json(s, pending), *left_out = notes_json(notes);
    struct str params[] = {str_c(queries), str_c(left_out)};
    hidden_run(s, s->commit_end,
               STR("SELECT busbar.record($1::pg_catalog.text::pg_catalog.jsonb, "
                   "$2::pg_catalog.text::pg_catalog.jsonb)"),
               params, ARRAY_LEN(params), on_recorded);
    free(queries);
    free(left_out);
}

static void on_pending(struct session *s, bool ok)
{
    struct pending pending;
    struct notes notes = {0};
    struct err err = ERR_INIT;
    if (!ok) {
        refused(s);
        finish(s, false);
        return;
    }
    if (parse_pending(s, &pending) < 0) {
        raise_error(s, s->commit_end, PROXY_PENDING_UNREADABLE, "", on_refused);
        return;
    }
    if (pending.n == pending.recorded) {
        forget_marks(s); /* everything captured was undone by ROLLBACK TO */
        finish(s, true);
        return;
    }
    struct proof_commands commands = {.ops = pending.ops, .n = pending.n, .n_recorded = pending.recorded};
    if (proof_run_noting(&commands, &s->arena, &notes, &err) < 0) {
        bool history = err.kind == ERR_INTERNAL; /* not the new migration's fault */
        log_warning(s->log_prefix, "migration refused: %s", err.msg);
        counter_add(&s->counters->history_faults, history);
        raise_error(s, s->commit_end, history ? PROXY_HISTORY_UNUSABLE : PROXY_NOT_PROVED, err.msg,
                    on_refused);
        return;
    }
    record(s, &pending, &notes);
}

static void ask_pending(struct session *s)
{
    hidden_run(s, s->commit_end, STR("SELECT kind, id, version, ops FROM busbar.pending()"), NULL, 0,
               on_pending);
}

static void on_changes_found(struct session *s, bool ok)
{
    if (!ok) {
        refused(s);
        finish(s, false);
        return;
    }
    forget_unguarded(s);
    if (s->marks_n == 0) {
        finish(s, true);
        return;
    }
    ask_pending(s);
}

void commit_start(struct session *s, enum hidden_end end, session_done done)
{
    assert(!s->commit_done);
    s->commit_done = done;
    s->commit_end = end;
    arena_reset(&s->arena);
    if (s->unchecked) {
        find_changes(s, end, on_changes_found);
    } else {
        ask_pending(s);
    }
}

/* --- an index that was built or dropped concurrently --- */

static void wrapped_finish(struct session *s, bool ok)
{
    session_done done = s->wrapped_done;
    s->wrapped_done = NULL;
    free((void *)(uintptr_t)s->wrapped_text.p);
    s->wrapped_text = (struct str){NULL, 0};
    settle_block(s, BLOCK_NONE);
    done(s, ok);
}

static void on_wrapped_rolled_back(struct session *s, bool ok)
{
    (void)ok; /* ROLLBACK fails only with the connection */
    wrapped_finish(s, false);
}

static void wrapped_fail(struct session *s)
{
    hidden_run(s, HIDDEN_SYNC, STR("ROLLBACK"), NULL, 0, on_wrapped_rolled_back);
}

static void on_wrapped_committed(struct session *s, bool ok)
{
    if (!ok) {
        refused(s);
    }
    wrapped_finish(s, ok);
}

static void on_wrapped_proved(struct session *s, bool ok)
{
    if (!ok) {
        wrapped_fail(s);
        return;
    }
    hidden_run(s, HIDDEN_SYNC, STR("COMMIT"), NULL, 0, on_wrapped_committed);
}

static void on_reconciled(struct session *s, bool ok)
{
    if (!ok) {
        refused(s);
        wrapped_fail(s);
        return;
    }
    commit_start(s, HIDDEN_SYNC, on_wrapped_proved);
}

static void on_wrapped_begun(struct session *s, bool ok)
{
    if (!ok) {
        refused(s);
        wrapped_finish(s, false);
        return;
    }
    hidden_run(s, HIDDEN_SYNC, STR("SELECT busbar.reconcile()"), NULL, 0, on_reconciled);
}

void reconcile_start(struct session *s, struct str text, session_done done)
{
    s->wrapped_done = done;
    s->wrapped_text = (struct str){mem_strndup(text.p, text.n), text.n};
    settle_block(s, BLOCK_HIDDEN);
    hidden_run(s, HIDDEN_SYNC, STR("BEGIN"), NULL, 0, on_wrapped_begun);
}
