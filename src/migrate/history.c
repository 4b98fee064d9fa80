/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/history.h"

#include "app/version.h"
#include "sql/quote.h"

enum { TEXT_LIMIT = 16 * 1024 };

static const char facts_columns[] =
    " (source text, version bigint, name text NOT NULL, kind text NOT NULL, state text NOT NULL"
    " CHECK (state IN ('up', 'running', 'failed')), direction text NOT NULL DEFAULT 'up', checksum text NOT "
    "NULL,"
    " statements integer NOT NULL, done integer NOT NULL, error text, started_at timestamptz NOT NULL "
    "DEFAULT now(),"
    " finished_at timestamptz, duration_ms bigint, run_by text, program text NOT NULL, PRIMARY KEY (source, "
    "version))";

static void put_create(struct buf *sql, const struct session *s)
{
    if (!s->has_schema) {
        buf_put_c(sql, "CREATE SCHEMA IF NOT EXISTS ");
        sql_put_ident(sql, str_c(s->schema));
        buf_put_c(sql, ";\n");
    }
    /* Ecto's own words, that it may find the very table it would have made. */
    if (!s->has_source) {
        buf_printf(
            sql,
            "CREATE TABLE IF NOT EXISTS %s (\"version\" bigint, \"inserted_at\" timestamp(0), PRIMARY KEY "
            "(\"version\"));\n",
            s->source);
    }
    if (!s->has_facts) {
        buf_printf(sql, "CREATE TABLE IF NOT EXISTS %s%s;\n", s->facts, facts_columns);
    }
}

/* IF NOT EXISTS does not keep two sessions that begin together from meeting in the catalog: the loser tries
 * again. */
static bool is_race(const char *sqlstate)
{
    static const char *const states[] = {"23505", "42P07", "42710", "42P06", "XX000"};
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (strcmp(sqlstate, states[i]) == 0) {
            return true;
        }
    }
    return false;
}

int history_create(struct session *s)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    if (s->has_source && s->has_facts) {
        return 0;
    }
    buf_put_c(&sql, "BEGIN; SET LOCAL client_min_messages = warning;\n");
    put_create(&sql, s);
    buf_put_c(&sql, "COMMIT");
    for (int left = 3;; left--) {
        CLEANUP(sync_answer_deinit) struct sync_answer a;
        if (sync_script(s->run, buf_cstr(&sql), &a) == 0) {
            s->has_schema = s->has_source = s->has_facts = true;
            return 0;
        }
        if (sync_in_transaction(s->run) && session_exec(s, s->run, "ROLLBACK", "the migration table") < 0) {
            return -1;
        }
        if (left == 0 || !is_race(a.result.err.sqlstate)) {
            const char *text = arena_printf(&s->arena, "cannot create %s: %s", s->source, a.result.err.msg);
            report_failure(s->report, text, a.result.detail, a.result.hint);
            return -1;
        }
    }
}

static void put_read(struct buf *sql, const struct session *s)
{
    const char *source = s->has_source ? s->source : "(SELECT NULL::bigint AS version WHERE false)";
    if (!s->has_facts) {
        buf_printf(sql, "SELECT s.version, true, false, '', '', 0, '', '', '', '' FROM %s s ORDER BY 1",
                   source);
        return;
    }
    buf_printf(sql,
               "SELECT coalesce(s.version, b.version), s.version IS NOT NULL, b.version IS NOT NULL,"
               " coalesce(b.kind, ''), coalesce(b.state, ''), coalesce(b.done, 0), coalesce(b.direction, ''),"
               " coalesce(b.name, ''), coalesce(b.checksum, ''), coalesce(b.error, '')"
               " FROM %s s FULL JOIN (SELECT * FROM %s WHERE source = ",
               source, s->facts);
    sql_put_literal(sql, str_c(s->repo->source));
    buf_put_c(sql, ") b ON b.version = s.version ORDER BY 1");
}

static enum history_state state_of(struct str name)
{
    return str_eq(name, STR("running"))  ? HISTORY_RUNNING
           : str_eq(name, STR("failed")) ? HISTORY_FAILED
                                         : HISTORY_UP;
}

int history_read(struct session *s, struct arena *arena, struct version_row **out, size_t *out_n)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    CLEANUP(sync_answer_deinit) struct sync_answer a = {0};
    put_read(&sql, s);
    if (session_query(s, s->run, buf_cstr(&sql), NULL, 0, &a, "cannot read the migration table") < 0) {
        return -1;
    }
    struct version_row *rows = arena_alloc_array(arena, a.result.rows + 1, sizeof *rows);
    for (size_t i = 0; i < a.result.rows; i++) {
        rows[i] = (struct version_row){
            .version = pg_result_u64(&a.result, i, 0),
            .up = pg_result_is_true(&a.result, i, 1),
            .facts = pg_result_is_true(&a.result, i, 2),
            .data = str_eq(pg_result_get(&a.result, i, 3), STR("data")),
            .state = state_of(pg_result_get(&a.result, i, 4)),
            .done = (size_t)pg_result_u64(&a.result, i, 5),
            .down = str_eq(pg_result_get(&a.result, i, 6), STR("down")),
            .name = arena_strdup(arena, pg_result_cstr(&a.result, i, 7)),
            .checksum = arena_strdup(arena, pg_result_cstr(&a.result, i, 8)),
            .error = arena_strdup(arena, pg_result_cstr(&a.result, i, 9)),
        };
    }
    *out = rows;
    *out_n = a.result.rows;
    return 0;
}

static void put_version_head(struct buf *out, const struct session *s)
{
    buf_printf(out, "INSERT INTO %s (\"version\",\"inserted_at\") VALUES ", s->source);
}

/* Ecto writes the time as UTC, cut to seconds. */
static void put_version_values(struct buf *out, uint64_t version)
{
    buf_printf(
        out,
        "(%llu, pg_catalog.date_trunc('second', pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())))",
        (unsigned long long)version);
}

static void put_version(struct buf *out, const struct session *s, uint64_t version)
{
    put_version_head(out, s);
    put_version_values(out, version);
}

static void put_facts_head(struct buf *out, const struct session *s)
{
    buf_printf(
        out,
        "INSERT INTO %s AS f (source, version, name, kind, state, direction, checksum, statements, done, "
        "finished_at, duration_ms, run_by, program) ",
        s->facts);
}

/* The values that every row has, up to `done`. */
static void put_facts(struct buf *out, const struct session *s, const struct migration *m, const char *state,
                      const char *direction, size_t statements)
{
    sql_put_literal(out, str_c(s->repo->source));
    buf_printf(out, ", %llu, ", (unsigned long long)m->version);
    sql_put_literal(out, str_c(m->name));
    buf_printf(out, ", '%s', '%s', '%s', '%s', %zu", m->data ? "data" : "schema", state, direction,
               m->checksum, statements);
}

static void put_facts_tail(struct buf *out, const struct session *s)
{
    buf_put_c(out, ", ");
    sql_put_literal(out, str_c(s->run_by));
    buf_put_c(out, ", ");
    sql_put_literal(out, str_c(busbar_version));
}

static void put_replace(struct buf *out)
{
    buf_put_c(out, " ON CONFLICT (source, version) DO UPDATE SET name = excluded.name, kind = excluded.kind,"
                   " state = excluded.state, direction = excluded.direction, checksum = excluded.checksum,"
                   " statements = excluded.statements, done = excluded.done, error = NULL,"
                   " finished_at = excluded.finished_at, duration_ms = coalesce(excluded.duration_ms, "
                   "(extract(epoch FROM"
                   " pg_catalog.clock_timestamp() - f.started_at) * 1000)::bigint), run_by = excluded.run_by,"
                   " program = excluded.program");
}

static void put_up_values(struct buf *out, const struct session *s, const struct migration *m,
                          size_t statements, const char *duration)
{
    buf_put_byte(out, '(');
    put_facts(out, s, m, "up", "up", statements);
    buf_printf(out, ", %zu, pg_catalog.clock_timestamp(), %s", statements, duration);
    put_facts_tail(out, s);
    buf_put_byte(out, ')');
}

static void put_up(struct buf *out, const struct session *s, const struct migration *m, size_t statements,
                   const char *duration)
{
    put_facts_head(out, s);
    buf_put_c(out, "VALUES ");
    put_up_values(out, s, m, statements, duration);
}

void history_put_batch(struct buf *out, const struct session *s, const struct migration *const *items,
                       const size_t *statements, size_t n)
{
    put_version_head(out, s);
    for (size_t i = 0; i < n; i++) {
        buf_put_c(out, i ? ", " : "");
        put_version_values(out, items[i]->version);
    }
    buf_put_c(out, ";\n");
    put_facts_head(out, s);
    buf_put_c(out, "VALUES ");
    for (size_t i = 0; i < n; i++) {
        buf_put_c(out, i ? ", " : "");
        put_up_values(out, s, items[i], statements[i], "NULL::bigint");
    }
    buf_put_c(out, ";\n");
}

void history_put_up(struct buf *out, const struct session *s, const struct migration *m, size_t statements,
                    bool fresh)
{
    bool alone = !m->text.up_options.transaction;
    put_version(out, s, m->version);
    buf_put_c(out, ";\n");
    put_up(out, s, m, statements,
           alone ? "NULL"
                 : "(extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.now()) * 1000)::bigint");
    if (!fresh) {
        put_replace(out);
    }
    buf_put_c(out, ";\n");
}

void history_put_accepted(struct buf *out, const struct session *s, const struct migration *m)
{
    put_version(out, s, m->version);
    buf_put_c(out, " ON CONFLICT DO NOTHING;\n");
    put_up(out, s, m, 0, "0");
    put_replace(out);
    buf_put_c(out, ";\n");
}

static void put_where(struct buf *out, const struct session *s, uint64_t version)
{
    buf_put_c(out, " WHERE source = ");
    sql_put_literal(out, str_c(s->repo->source));
    buf_printf(out, " AND version = %llu;\n", (unsigned long long)version);
}

void history_put_forget_facts(struct buf *out, const struct session *s, uint64_t version)
{
    buf_printf(out, "DELETE FROM %s", s->facts);
    put_where(out, s, version);
}

void history_put_down(struct buf *out, const struct session *s, uint64_t version)
{
    buf_printf(out, "DELETE FROM %s WHERE \"version\" = %llu;\n", s->source, (unsigned long long)version);
    history_put_forget_facts(out, s, version);
}

void history_put_started(struct buf *out, const struct session *s, const struct migration *m,
                         size_t statements, size_t done, bool down)
{
    put_facts_head(out, s);
    buf_put_c(out, "VALUES (");
    put_facts(out, s, m, "running", down ? "down" : "up", statements);
    buf_printf(out, ", %zu, NULL, NULL", done);
    put_facts_tail(out, s);
    buf_put_c(out, ")");
    put_replace(out);
    buf_put_c(out, ", started_at = pg_catalog.now();\n");
}

void history_put_done(struct buf *out, const struct session *s, uint64_t version, size_t done)
{
    buf_printf(out, "UPDATE %s SET done = %zu", s->facts, done);
    put_where(out, s, version);
}

void history_put_touch(struct buf *out, const struct session *s, uint64_t version)
{
    buf_printf(out, "UPDATE %s SET done = done", s->facts);
    put_where(out, s, version);
}

void history_put_failed(struct buf *out, const struct session *s, uint64_t version, const char *error)
{
    buf_printf(out, "UPDATE %s SET state = 'failed', finished_at = pg_catalog.clock_timestamp(), error = ",
               s->facts);
    sql_put_literal(out, str_c(error));
    put_where(out, s, version);
}
