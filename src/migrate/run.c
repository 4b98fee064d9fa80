/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/run.h"

#include "base/limits.h"
#include "migrate/history.h"
#include "migrate/index_target.h"
#include "sql/quote.h"
#include "sql/statement.h"

#include <inttypes.h>
#include <time.h>

enum {
    TEXT_LIMIT = LIMIT_MIGRATION_TEXT + 64 * 1024,
    RETRY_FIRST_MS = 250,
    RETRY_MOST_MS = 8000,
    QUOTE_LIMIT = 500
};

/* One migration while it is run. */
struct run {
    struct session *s;
    const struct run_options *o;
    const struct migration *m;
    bool down, durable, fresh;
    const char *tail; /* instead of our rows; NULL: our rows */
    struct str text;
    unsigned line; /* where the text begins in its file */
    const struct migration_options *options;
    struct arena arena;
    struct statement *items;
    size_t n;
    bool steers; /* it has transaction commands of its own */
};

static bool is_steering(enum statement_kind kind)
{
    return kind == STATEMENT_BEGIN || kind == STATEMENT_COMMIT || kind == STATEMENT_ROLLBACK ||
           kind == STATEMENT_PREPARE_TRANSACTION;
}

static const char *file_of(const struct run *r)
{
    return r->down ? r->m->down_path : r->m->path;
}

static int prepare(struct run *r)
{
    struct err err = ERR_INIT;
    r->text = r->down ? r->m->text.down : r->m->text.up;
    r->line = r->down ? r->m->text.down_line : r->m->text.up_line;
    r->options = r->down ? &r->m->text.down_options : &r->m->text.up_options;
    if (statement_split(&r->arena, r->text, true, &r->items, &r->n, &err) < 0) {
        report_failure(r->s->report, arena_printf(&r->arena, "%s: %s", file_of(r), err.msg), NULL, NULL);
        return -1;
    }
    for (size_t i = 0; i < r->n; i++) {
        r->steers |= is_steering(r->items[i].kind);
    }
    return 0;
}

static void run_deinit(struct run *r)
{
    arena_deinit(&r->arena);
}

static unsigned line_at(const struct run *r, size_t offset)
{
    unsigned line = r->line;
    for (size_t i = 0; i < offset && i < r->text.n; i++) {
        line += r->text.p[i] == '\n';
    }
    return line;
}

/* Whether a name in it is that of a table which must not be changed here. */
static bool names_electrified(struct run *r, const struct statement *st)
{
    struct lex lex = lex_init(st->text, true);
    bool ddl = st->kind == STATEMENT_DDL || st->kind == STATEMENT_DDL_INDEX_CONCURRENTLY;
    for (struct token t = lex_next(&lex); ddl && r->s->electrified_n && t.kind != TOKEN_END;
         t = lex_next(&lex)) {
        struct str name = token_is_name(&t) ? sql_unquote(&r->arena, &t) : STR("");
        for (size_t i = 0; i < r->s->electrified_n; i++) {
            if (str_eq(name, str_c(r->s->electrified[i]))) {
                return true;
            }
        }
    }
    return false;
}

/* What is wrong with one statement, NULL for nothing. */
static const char *fault_of(struct run *r, const struct statement *st, const char **out_hint)
{
    bool ddlx = st->kind == STATEMENT_DDLX || st->kind == STATEMENT_ELECTRIFY;
    *out_hint = "put -- busbar: transaction=off into the head of the file";
    if (r->options->transaction && is_steering(st->kind)) {
        return "the migration runs in a transaction, and this statement would end or begin one";
    }
    if (r->options->transaction && st->kind == STATEMENT_DDL_INDEX_CONCURRENTLY) {
        return "CONCURRENTLY cannot run in a transaction";
    }
    *out_hint = "set PROXY_URL to the URL of the migrations proxy: it captures what clients must get";
    if (names_electrified(r, st)) {
        return "a table is open for sync, and a change made here would not reach its clients";
    }
    if (ddlx && !r->s->proxied) {
        return "statements about sync are carried out by Busbar's migrations proxy, and this is the database "
               "itself";
    }
    return NULL;
}

int run_check(struct session *s, const struct migration *m, bool down)
{
    CLEANUP(run_deinit) struct run r = {.s = s, .m = m, .down = down};
    const char *hint;
    if (m->elixir) {
        report_failure(s->report, arena_printf(&r.arena, "%s can only be run by Ecto", m->path), NULL, NULL);
        return -1;
    }
    if (down && !m->text.has_down) {
        report_failure(s->report, arena_printf(&r.arena, "%s has no way back", m->path), NULL,
                       "write a section -- migrate:down, or a new migration that undoes it");
        return -1;
    }
    if (prepare(&r) < 0) {
        return -1;
    }
    for (size_t i = 0; i < r.n; i++) {
        const char *fault = fault_of(&r, &r.items[i], &hint);
        if (fault) {
            report_failure(
                s->report,
                arena_printf(&r.arena, "%s line %u: %s", file_of(&r), line_at(&r, r.items[i].offset), fault),
                NULL, hint);
            return -1;
        }
    }
    return 0;
}

size_t run_put_settings(struct buf *out, const struct session *s, uint64_t lock_timeout_ms,
                        uint64_t timeout_ms)
{
    size_t n = 1;
    buf_printf(out, "SET LOCAL lock_timeout = %" PRIu64 ";\n", lock_timeout_ms);
    if (s->notices_death) {
        buf_put_c(out,
                  "SET LOCAL client_connection_check_interval = 2000;\n"); /* kill -9 of us ends it soon */
        n++;
    }
    if (timeout_ms) {
        buf_printf(out, "SET LOCAL statement_timeout = %" PRIu64 ";\n", timeout_ms);
        n++;
    }
    /* public too: the types and functions of extensions are there. */
    if (s->prefix) {
        buf_put_c(out, "SET LOCAL search_path = ");
        sql_put_ident(out, str_c(s->prefix));
        buf_put_c(out, ", public;\n");
        n++;
    }
    return n;
}

/* Where in the file an error is, and which statement (r->n: none of the file's). */
struct spot {
    size_t statement;
    unsigned line;
};

/* Where a statement begins, the comments before it passed over. */
static unsigned line_of(const struct run *r, size_t statement)
{
    struct lex lex = lex_init(r->items[statement].text, true);
    lex_skip_blank(&lex);
    return line_at(r, r->items[statement].offset + lex.pos);
}

/* The byte at which the nth character begins, both from 0. */
static size_t byte_of(struct str text, size_t nth)
{
    size_t i = 0;
    for (; i < text.n; i++) {
        bool begins = ((unsigned char)text.p[i] & 0xc0) != 0x80;
        if (begins && nth-- == 0) {
            break;
        }
    }
    return i;
}

/*
 * before: statements of ours in front of the file's, which begin at byte `head`. An error of the grammar
 * comes before anything has run: only its position tells the statement.
 */
static struct spot find_spot(const struct run *r, const struct sync_answer *a, struct str sent, size_t head,
                             size_t before)
{
    size_t at = a->position ? byte_of(sent, a->position - 1) : 0;
    bool placed = at >= head && at < head + r->text.n;
    struct spot p = {r->n, r->line};
    if (a->completed >= before && a->completed - before < r->n) {
        p.statement = a->completed - before;
    }
    for (size_t i = 0; placed && i < r->n && head + r->items[i].offset <= at; i++) {
        p.statement = i;
    }
    if (p.statement < r->n) {
        p.line = placed ? line_at(r, at - head) : line_of(r, p.statement);
    }
    return p;
}

static const char *hint_for(const struct run *r, const struct pg_result *result)
{
    const char *state = result->err.sqlstate;
    if (r->s->self_blocked) {
        return "put -- busbar: lock=off into the head of the file, or name the tables";
    }
    if (strcmp(state, "25001") == 0) {
        return "put -- busbar: transaction=off into the head of the file";
    }
    if (strcmp(state, "UB002") == 0 && !r->s->proxied) {
        return "set PROXY_URL to the URL of the migrations proxy: it captures what clients must get";
    }
    return result->hint;
}

static void report_error(struct run *r, const struct sync_answer *a, struct spot place)
{
    struct report *report = r->s->report;
    memcpy(r->s->sqlstate, a->result.err.sqlstate, sizeof r->s->sqlstate);
    const char *what = session_is_interrupted() ? "interrupted"
                       : r->s->timed_out        ? "its timeout is over"
                       : r->s->self_blocked     ? "it waits for the migrators' lock, which we hold ourselves"
                                                : a->result.err.msg;
    if (place.statement < r->n) {
        struct str sql = r->items[place.statement].text;
        bool longer = sql.n > QUOTE_LIMIT;
        sql.n = longer ? QUOTE_LIMIT : sql.n;
        const char *text = arena_printf(&r->arena, "%s line %u: statement %zu of %zu failed: %s", file_of(r),
                                        place.line, place.statement + 1, r->n, what);
        report_failure(report, text, a->result.detail, hint_for(r, &a->result));
        fprintf(stderr, "  statement: %.*s%s\n", STR_ARG(sql), longer ? " …" : "");
    } else {
        report_failure(report, arena_printf(&r->arena, "%s: %s", file_of(r), what), a->result.detail,
                       hint_for(r, &a->result));
    }
    if (a->context[0]) {
        fprintf(stderr, "  where: %s\n", a->context);
    }
    if (r->s->blocker[0]) {
        fprintf(stderr, "  blocked by: %s\n", r->s->blocker);
    }
}

static bool is_worth_a_retry(const struct sync_answer *a)
{
    const char *state = a->result.err.sqlstate;
    return strcmp(state, "55P03") == 0 || strcmp(state, "40P01") == 0;
}

/* Waits longer each time. False: no more attempts, or interrupted. */
static bool wait_for_retry(struct run *r, const struct sync_answer *a, unsigned attempt)
{
    unsigned ms = RETRY_FIRST_MS << (attempt < 5 ? attempt : 5);
    if (!is_worth_a_retry(a) || attempt >= r->o->lock_retries) {
        return false;
    }
    report_warning(r->s->report, "%" PRIu64 " %s: %s; attempt %u of %u follows%s%s", r->m->version,
                   r->m->name, a->result.err.msg, attempt + 2, r->o->lock_retries + 1,
                   r->s->blocker[0] ? "; blocked by " : "", r->s->blocker);
    return session_sleep(ms < RETRY_MOST_MS ? ms : RETRY_MOST_MS);
}

static int roll_back(struct run *r)
{
    if (!sync_in_transaction(r->s->run)) {
        return 0;
    }
    return session_exec(r->s, r->s->run, "ROLLBACK", "cannot roll back");
}

/* The text ends its own line: it may end in a comment. */
static void put_text(struct buf *out, struct str text)
{
    buf_put_str(out, text);
    buf_put_c(out, "\n;\n");
}

static void put_rows(const struct run *r, struct buf *out)
{
    if (r->tail) {
        buf_put_c(out, r->tail);
    } else if (r->down) {
        history_put_down(out, r->s, r->m->version);
    } else {
        history_put_up(out, r->s, r->m, r->n, r->fresh);
    }
}

static int in_transaction(struct run *r)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    size_t before = 1;
    buf_put_c(&sql, "BEGIN;\n");
    before += run_put_settings(&sql, r->s, r->o->lock_timeout_ms, r->options->timeout_ms);
    if (!r->durable) {
        buf_put_c(&sql, "SET LOCAL synchronous_commit = off;\n");
        before++;
    }
    size_t head = sql.n;
    put_text(&sql, r->text);
    put_rows(r, &sql);
    buf_put_c(&sql, "COMMIT;\nRESET ALL");
    for (unsigned attempt = 0;; attempt++) {
        CLEANUP(sync_answer_deinit) struct sync_answer a;
        r->s->blocker[0] = '\0';
        if (sync_script(r->s->run, buf_cstr(&sql), &a) == 0) {
            return 0;
        }
        if (!sync_is_up(r->s->run)) {
            report_error(r, &a, (struct spot){r->n, 0});
            return -1;
        }
        if (roll_back(r) < 0) {
            return -1;
        }
        if (!wait_for_retry(r, &a, attempt)) {
            report_error(r, &a, find_spot(r, &a, buf_str(&sql), head, before));
            return -1;
        }
    }
}

/* Our own statement between those of the file. */
static int mark(struct run *r, struct buf *sql)
{
    int rc = session_exec(r->s, r->s->run, buf_cstr(sql), "cannot note how far the migration is");
    buf_reset(sql);
    return rc;
}

static bool can_be_wrapped(const struct run *r, const struct statement *st)
{
    return !r->steers && (st->kind == STATEMENT_PLAIN || st->kind == STATEMENT_DDL);
}

/* A statement together with its mark. */
static int wrapped(struct run *r, size_t i, struct sync_answer *a)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    buf_put_c(&sql, "BEGIN;\n");
    run_put_settings(&sql, r->s, r->o->lock_timeout_ms, r->options->timeout_ms);
    put_text(&sql, r->items[i].text);
    history_put_done(&sql, r->s, r->m->version, i + 1);
    buf_put_c(&sql, "COMMIT");
    int rc = sync_script(r->s->run, buf_cstr(&sql), a);
    return rc < 0 && sync_is_up(r->s->run) && roll_back(r) < 0 ? -1 : rc;
}

static const char invalid_sql[] =
    "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = "
    "c.relnamespace"
    " JOIN pg_index i ON i.indexrelid = c.oid WHERE c.relname = $1 AND NOT i.indisvalid AND i.indrelid ="
    " coalesce(CASE WHEN $3::text IS NOT NULL THEN to_regclass(quote_ident($3) || '.' || $2) END, "
    "to_regclass($2))";

/* The index that the statement names, with its schema, if it is there and not valid; NULL when it is not. */
static const char *find_invalid(struct run *r, struct str statement)
{
    struct index_target t;
    CLEANUP(sync_answer_deinit) struct sync_answer a = {0};
    if (!index_target_parse(&r->arena, statement, &t)) {
        return NULL;
    }
    const char *params[] = {t.name.p, t.table.p, t.qualified ? NULL : r->s->prefix};
    int rc = session_query(r->s, r->s->run, invalid_sql, params, 3, &a, "cannot look at the index");
    return rc == 0 && a.result.rows ? arena_strdup(&r->arena, pg_result_cstr(&a.result, 0, 0)) : NULL;
}

/* IF NOT EXISTS takes the ruins of an earlier attempt for the index. */
static int check_valid(struct run *r, const struct statement *st, struct sync_answer *a)
{
    const char *invalid = find_invalid(r, st->text);
    if (!invalid) {
        return 0;
    }
    const char *text =
        arena_printf(&r->arena, "the index %s is there and not valid: an earlier attempt left it", invalid);
    pg_result_fail(&a->result, "55000", text);
    return -1;
}

static int bare(struct run *r, size_t i, struct sync_answer *a)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    buf_put_str(&sql, r->items[i].text);
    r->s->deadline_ms = r->options->timeout_ms;
    int rc = sync_script(r->s->run, buf_cstr(&sql), a);
    r->s->deadline_ms = 0;
    buf_reset(&sql);
    if (rc == 0 && r->items[i].kind == STATEMENT_DDL_INDEX_CONCURRENTLY) {
        rc = check_valid(r, &r->items[i], a);
    }
    if (rc == 0 && !sync_in_transaction(r->s->run)) {
        history_put_done(&sql, r->s, r->m->version, i + 1);
        rc = mark(r, &sql);
    }
    return rc;
}

static int step(struct run *r, size_t i)
{
    const struct statement *st = &r->items[i];
    report_sql(r->s->report, st->text);
    bool wrap = can_be_wrapped(r, st);
    for (unsigned attempt = 0;; attempt++) {
        CLEANUP(sync_answer_deinit) struct sync_answer a = {.context = ""};
        r->s->blocker[0] = '\0';
        int rc = wrap ? wrapped(r, i, &a) : bare(r, i, &a);
        if (rc == 0) {
            return 0;
        }
        if (wrap && strcmp(a.result.err.sqlstate, "25001") == 0) {
            wrap = false; /* VACUUM and its like: only the server knows them all */
            continue;
        }
        if (!sync_is_up(r->s->run) || !wrap || !wait_for_retry(r, &a, attempt)) {
            CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
            report_error(r, &a, (struct spot){i, line_of(r, i)});
            history_put_failed(&sql, r->s, r->m->version, a.result.err.msg);
            if (sync_is_up(r->s->run) && roll_back(r) == 0) {
                ignore_result(
                    mark(r, &sql)); /* reported; without it the row says running, which is true as well */
            }
            return -1;
        }
    }
}

/* Behind a pooler in transaction mode a setting of the session would be lost or reach others: there is none
 * without a prefix. */
static int set_path(struct run *r, struct buf *sql)
{
    if (!r->s->prefix) {
        return 0;
    }
    buf_put_c(sql, "SET search_path = ");
    sql_put_ident(sql, str_c(r->s->prefix));
    buf_put_c(sql, ", public");
    return mark(r, sql);
}

static int outside_transaction(struct run *r, size_t from)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    history_put_started(&sql, r->s, r->m, r->n, from, r->down);
    if (mark(r, &sql) < 0 || set_path(r, &sql) < 0) {
        return -1;
    }
    for (size_t i = from; i < r->n; i++) {
        if (session_is_interrupted() || step(r, i) < 0) {
            report_warning(r->s->report,
                           "what ran before is kept; busbar repair %" PRIu64 " says how to go on",
                           r->m->version);
            return -1;
        }
    }
    buf_put_c(&sql, "BEGIN;\n");
    put_rows(r, &sql);
    buf_put_c(&sql, "COMMIT;\nRESET ALL");
    return mark(r, &sql);
}

static unsigned elapsed_ms(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (unsigned)((now.tv_sec - from->tv_sec) * 1000 + (now.tv_nsec - from->tv_nsec) / 1000000);
}

static int run(struct run *r, size_t from)
{
    struct timespec start;
    struct report *report = r->s->report;
    clock_gettime(CLOCK_MONOTONIC, &start);
    report_begin(report, r->m->version, r->m->name, r->down);
    for (size_t i = 0; i < r->n && r->options->transaction; i++) {
        report_sql(report, r->items[i].text);
    }
    if ((r->options->transaction ? in_transaction(r) : outside_transaction(r, from)) < 0) {
        return -1;
    }
    report_end(report, r->m->version, r->m->name, r->down, elapsed_ms(&start), r->s->place);
    return 0;
}

int run_migration(struct session *s, const struct run_options *o, const struct migration *m, unsigned how)
{
    CLEANUP(run_deinit)
    struct run r = {.s = s, .o = o, .m = m, .down = how & RUN_DOWN, .durable = how & RUN_DURABLE};
    r.fresh = (how & RUN_FRESH) && m->text.up_options.transaction;
    return prepare(&r) < 0 ? -1 : run(&r, 0);
}

int run_seed(struct session *s, const struct run_options *o, const struct migration *m, const char *tail)
{
    CLEANUP(run_deinit) struct run r = {.s = s, .o = o, .m = m, .durable = true, .tail = tail};
    return prepare(&r) < 0 ? -1 : in_transaction(&r);
}

int run_resume(struct session *s, const struct run_options *o, const struct migration *m, bool down,
               size_t done)
{
    CLEANUP(run_deinit) struct run r = {.s = s, .o = o, .m = m, .down = down, .durable = true};
    if (prepare(&r) < 0) {
        return -1;
    }
    if (r.options->transaction || done > r.n) {
        report_failure(s->report, "the file has changed: it cannot be gone on with", NULL, NULL);
        return -1;
    }
    return run(&r, done);
}

int run_drop_invalid(struct session *s, const struct migration *m, bool down)
{
    CLEANUP(run_deinit) struct run r = {.s = s, .m = m, .down = down};
    if (prepare(&r) < 0) {
        return -1;
    }
    for (size_t i = 0; i < r.n; i++) {
        const char *invalid = find_invalid(&r, r.items[i].text);
        if (invalid) {
            const char *sql = arena_printf(&r.arena, "DROP INDEX CONCURRENTLY IF EXISTS %s", invalid);
            report_line(s->report, "dropping the invalid index %s", invalid);
            if (session_exec(s, s->run, sql, "cannot drop the invalid index") < 0) {
                return -1;
            }
        }
    }
    return 0;
}
