/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One proof: commands go through the model (schema) and the renderer into SQLite, one after the other. When
 * there are new commands, or past PROOF_MAX_REPLAY, the recorded ones go through the model alone: they were
 * proved when they were recorded, and what they come to is enough to try new ones on. The database lives for
 * one call. Time is bounded by a progress handler inside a statement and a look at the clock between
 * statements, memory by a page limit and a bound on text.
 */
#include "dialect/proof.h"

#include "base/buf.h"
#include "dialect/render.h"
#include "dialect/types.h"
#include "schema/ops.h"
#include "sql/quote.h"

#include <sqlite3.h>
#include <stdio.h>
#include <time.h>

/* Tables that the client library makes for itself in the same database. */
static const char *const client_tables[] = {"_electric_meta", "_electric_oplog",
                                            "_electric_trigger_settings"};

struct proof {
    sqlite3 *db;
    struct schema schema;
    struct arena arena; /* of the command at hand */
    size_t text;        /* bytes of statements so far */
    size_t replay;      /* cost of the recorded ADD COLUMNs so far, in tables read */
    bool recorded;      /* the command at hand is recorded */
    bool replays;       /* recorded commands are run one by one */
    int64_t deadline;   /* ms */
    struct arena *notes_arena;
    struct notes *notes; /* of the new commands; NULL: nobody asks */
    struct err *err;
};

/* Processor time of this thread: what a busy machine takes from us does not count. */
static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int on_progress(void *ctx)
{
    const struct proof *p = ctx;
    return now_ms() > p->deadline;
}

static int too_slow(struct proof *p)
{
    return err_set(p->err, ERR_LIMIT, "the proof of the migration history in SQLite took longer than %d s",
                   PROOF_MAX_MS / 1000);
}

/* Runs exactly one statement. Returns an SQLite code. */
static int run(struct proof *p, struct str sql)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    sqlite3_stmt *stmt = NULL;
    const char *tail = NULL;
    const char *text = arena_str(&a, sql).p;
    int rc = sqlite3_prepare_v2(p->db, text, (int)sql.n, &stmt, &tail);
    if (rc == SQLITE_OK && (!stmt || str_trim(str_c(tail)).n)) {
        rc = SQLITE_MISUSE;
    }
    while (rc == SQLITE_OK || rc == SQLITE_ROW) {
        rc = sqlite3_step(stmt);
    }
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int set_up(struct proof *p)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_MEMORY | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(":memory:", &p->db, flags, NULL) != SQLITE_OK) {
        return err_set(p->err, ERR_INTERNAL, "cannot open an in-memory SQLite");
    }
    /* A name in double quotes that is unknown is an error, not a string. */
    sqlite3_db_config(p->db, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    sqlite3_db_config(p->db, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_limit(p->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_progress_handler(p->db, 1000, on_progress, p);
    struct str pages = str_c(arena_printf(&p->arena, "PRAGMA max_page_count = %d", PROOF_MAX_PAGES));
    if (run(p, STR("PRAGMA foreign_keys = ON")) || run(p, pages)) {
        return err_set(p->err, ERR_INTERNAL, "cannot set up SQLite: %s", sqlite3_errmsg(p->db));
    }
    for (size_t i = 0; i < ARRAY_LEN(client_tables); i++) {
        if (run(p, str_c(arena_printf(&p->arena, "CREATE TABLE %s (x)", client_tables[i])))) {
            return err_set(p->err, ERR_INTERNAL, "cannot set up SQLite: %s", sqlite3_errmsg(p->db));
        }
    }
    return 0;
}

/* --- what a refusal says --- */

/* The beginning of a statement on one line. */
static const char *excerpt(struct proof *p, struct str sql)
{
    enum { EXCERPT = 160 };
    sql = str_trim(sql);
    size_t n = sql.n < EXCERPT ? sql.n : EXCERPT;
    while (n < sql.n && n > 0 && ((unsigned char)sql.p[n] & 0xc0) == 0x80) {
        n--; /* not inside a character */
    }
    char *line = arena_printf(&p->arena, "%.*s%s", (int)n, sql.p, n < sql.n ? "…" : "");
    char *end = line;
    for (const char *s = line; *s; s++) {
        bool space = *s == '\n' || *s == ' ';
        if (!space || end == line || end[-1] != ' ') {
            *end++ = space ? ' ' : *s;
        }
    }
    *end = '\0';
    return line;
}

/* Another name of the op's table that SQLite takes for `name`; p = NULL when there is none. */
static struct str same_column(const struct table *t, struct str name)
{
    for (size_t i = 0; t && i < t->n_columns; i++) {
        if (str_eq_nocase(t->columns[i].name, name) && !str_eq(t->columns[i].name, name)) {
            return t->columns[i].name;
        }
    }
    return (struct str){NULL, 0};
}

static struct str same_table(const struct schema *s, const struct table *t)
{
    for (size_t i = 0; t && i < s->n_tables; i++) {
        if (str_eq_nocase(s->tables[i]->name, t->name) && s->tables[i] != t) {
            return s->tables[i]->name;
        }
    }
    return (struct str){NULL, 0};
}

static const char *explain_clash(struct proof *p, const char *kind, struct str a, struct str b)
{
    return arena_printf(&p->arena, " (%ss \"%.*s\" and \"%.*s\" have one name to SQLite, which ignores case)",
                        kind, STR_ARG(a), STR_ARG(b));
}

static const char *explain_create_table(struct proof *p, const struct op *op)
{
    const struct table *t = schema_table(&p->schema, op->schema, op->name);
    for (size_t i = 0; t && i < t->n_columns; i++) {
        struct str other = same_column(t, t->columns[i].name);
        if (other.p) {
            return explain_clash(p, "column", t->columns[i].name, other);
        }
    }
    struct str other = same_table(&p->schema, t);
    if (other.p) {
        return explain_clash(p, "table", op->name, other);
    }
    for (size_t i = 0; i < ARRAY_LEN(client_tables); i++) {
        if (str_eq_nocase(op->name, str_c(client_tables[i]))) {
            return " (clients keep their own data under this name)";
        }
    }
    return "";
}

/* What to add to SQLite's reason so that a person knows what to change. */
static const char *explain(struct proof *p, const struct op *op)
{
    if (op->kind == OP_CREATE_TABLE) {
        return explain_create_table(p, op);
    }
    if (op->kind != OP_ADD_COLUMN) {
        return "";
    }
    struct str other = same_column(schema_table(&p->schema, op->schema, op->name), op->column->name);
    if (other.p) {
        return explain_clash(p, "column", op->column->name, other);
    }
    return op->column->not_null
               ? " (clients hold rows that have no value for it: add the column without NOT NULL)"
               : "";
}

static int refuse(struct proof *p, const struct op *op, struct str sql)
{
    const char *reason = sqlite3_errmsg(p->db);
    return err_set_sqlstate(p->err, ERR_INPUT, "UB004", "SQLite cannot apply \"%s\": %s%s", excerpt(p, sql),
                            reason, explain(p, op));
}

/* --- commands --- */

static int run_statement(struct proof *p, const struct op *op, struct str sql)
{
    p->text += sql.n;
    if (p->text > PROOF_MAX_TEXT) {
        return err_set(p->err, ERR_LIMIT, "the migration history is longer than %d bytes", PROOF_MAX_TEXT);
    }
    if (now_ms() > p->deadline) {
        return too_slow(p);
    }
    int rc = run(p, sql);
    if (rc == SQLITE_INTERRUPT) {
        return too_slow(p);
    }
    if (rc == SQLITE_FULL || rc == SQLITE_NOMEM) {
        return err_set(p->err, ERR_LIMIT,
                       "the proof of the migration history in SQLite takes too much memory");
    }
    return rc ? refuse(p, op, sql) : 0;
}

static int render_and_run(struct proof *p, const struct op *op)
{
    struct client_statement s;
    struct notes notes = {0};
    int outcome = render_op(&p->arena, DIALECT_SQLITE, &p->schema, op, &s, &notes, p->err);
    for (size_t i = 0; i < notes.n && p->notes && !p->recorded; i++) {
        notes_add(p->notes_arena, p->notes, "%.*s", STR_ARG(notes.items[i]));
    }
    return outcome == RENDER_STATEMENT ? run_statement(p, op, s.sql) : outcome;
}

/* At each ADD COLUMN SQLite reads the definitions of all tables again. */
static void count_replay(struct proof *p, const struct op *op)
{
    p->replay += op->kind == OP_ADD_COLUMN ? p->schema.n_tables : 0;
    p->replays = p->replays && p->replay <= PROOF_MAX_REPLAY;
}

static int run_op(struct proof *p, const struct op *op)
{
    int outcome = schema_apply(&p->schema, op, p->err);
    if (outcome != SCHEMA_CHANGED) {
        return outcome < 0 ? -1 : 0;
    }
    if (p->recorded) {
        count_replay(p, op);
    }
    return p->recorded && !p->replays ? 0 : render_and_run(p, op);
}

static int run_command(struct proof *p, struct str json)
{
    struct op *ops;
    size_t n;
    arena_reset(&p->arena);
    if (ops_parse(&p->arena, json, &ops, &n, p->err)) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        if (run_op(p, &ops[i])) {
            return -1;
        }
    }
    return 0;
}

static int blame_history(struct proof *p)
{
    p->err->kind = p->err->kind == ERR_INPUT ? ERR_INTERNAL : p->err->kind;
    p->err->sqlstate[0] = '\0';
    return -1;
}

static int rebuild_table(struct proof *p, const struct table *t)
{
    struct op op = {.kind = OP_CREATE_TABLE, .schema = t->schema, .name = t->name, .table = t};
    int rc = render_and_run(p, &op);
    op.kind = OP_CREATE_INDEX;
    for (size_t i = 0; i < t->n_indexes && rc == 0; i++) {
        arena_reset(&p->arena);
        op.index = &t->indexes[i];
        rc = render_and_run(p, &op);
    }
    return rc;
}

/* A new database with the tables as the history left them. */
static int rebuild(struct proof *p)
{
    sqlite3_close(p->db);
    p->db = NULL;
    if (set_up(p)) {
        return -1;
    }
    for (size_t i = 0; i < p->schema.n_tables; i++) {
        arena_reset(&p->arena);
        if (rebuild_table(p, p->schema.tables[i])) {
            return blame_history(p);
        }
    }
    return 0;
}

static int run_recorded(struct proof *p, const struct str *ops, size_t n)
{
    p->recorded = true;
    for (size_t i = 0; i < n; i++) {
        if (run_command(p, ops[i])) {
            blame_history(p);
            return err_context(p->err, "recorded migration command %zu of %zu", i + 1, n);
        }
    }
    int rc = p->replays ? 0 : rebuild(p);
    p->recorded = false;
    return rc;
}

/* --- rows --- */

/* The same value everywhere, by affinity: foreign keys then hold as well. */
static void put_row(struct buf *b, struct arena *a, const struct table *t)
{
    buf_put_c(b, "INSERT INTO ");
    sql_put_ident(b, t->name);
    buf_put_c(b, " (");
    for (size_t i = 0; i < t->n_columns; i++) {
        buf_put_c(b, i ? ", " : "");
        sql_put_ident(b, t->columns[i].name);
    }
    buf_put_c(b, ") VALUES (");
    for (size_t i = 0; i < t->n_columns; i++) {
        bool blob = str_eq(type_sqlite(a, &t->columns[i]), STR("BLOB"));
        buf_put_c(b, i ? ", " : "");
        buf_put_c(b, blob ? "x'31'" : "'1'");
    }
    buf_put_byte(b, ')');
}

static int insert_row(struct proof *p, const struct table *t)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(RENDER_MAX_SQL);
    if (t->n_columns == 0) {
        return 0;
    }
    arena_reset(&p->arena);
    put_row(&sql, &p->arena, t);
    int rc = run(p, buf_str(&sql));
    if (rc == SQLITE_INTERRUPT) {
        return too_slow(p);
    }
    return rc ? err_set(p->err, ERR_INTERNAL, "cannot put a row into table \"%.*s\" of the proof: %s",
                        STR_ARG(t->name), sqlite3_errmsg(p->db))
              : 0;
}

/* Clients' tables are not empty: SQLite takes ADD COLUMN … NOT NULL for an empty table only. */
static int insert_rows(struct proof *p)
{
    if (run(p, STR("PRAGMA foreign_keys = OFF")) || run(p, STR("PRAGMA ignore_check_constraints = ON"))) {
        return err_set(p->err, ERR_INTERNAL, "cannot set up SQLite: %s", sqlite3_errmsg(p->db));
    }
    for (size_t i = 0; i < p->schema.n_tables; i++) {
        if (insert_row(p, p->schema.tables[i])) {
            return -1;
        }
    }
    if (run(p, STR("PRAGMA foreign_keys = ON")) || run(p, STR("PRAGMA ignore_check_constraints = OFF"))) {
        return err_set(p->err, ERR_INTERNAL, "cannot set up SQLite: %s", sqlite3_errmsg(p->db));
    }
    return 0;
}

/* --- the result --- */

/*
 * SQLite looks at foreign keys when rows change, too late for us. foreign_key_check raises "foreign key
 * mismatch" when the referenced columns are no key.
 */
static int check_foreign_keys(struct proof *p)
{
    for (size_t i = 0; i < p->schema.n_tables; i++) {
        const struct table *t = p->schema.tables[i];
        for (size_t k = 0; k < t->n_foreign_keys; k++) {
            const struct foreign_key *f = &t->foreign_keys[k];
            if (!schema_table(&p->schema, f->ref_schema, f->ref_table)) {
                return err_set_sqlstate(p->err, ERR_INPUT, "UB004",
                                        "table \"%.*s\" references table \"%.*s\", which clients do not have",
                                        STR_ARG(t->name), STR_ARG(f->ref_table));
            }
        }
    }
    int rc = run(p, STR("PRAGMA foreign_key_check"));
    if (rc == SQLITE_INTERRUPT) {
        return too_slow(p);
    }
    return rc ? err_set_sqlstate(p->err, ERR_INPUT, "UB004", "SQLite cannot enforce a foreign key: %s",
                                 sqlite3_errmsg(p->db))
              : 0;
}

static size_t key_position(const struct table *t, struct str column)
{
    for (size_t i = 0; i < t->primary_key.columns.n; i++) {
        if (str_eq(t->primary_key.columns.items[i], column)) {
            return i + 1;
        }
    }
    return 0;
}

static struct str column_text(sqlite3_stmt *stmt, int i)
{
    const char *text = (const char *)sqlite3_column_text(stmt, i);
    return (struct str){text ? text : "", (size_t)sqlite3_column_bytes(stmt, i)};
}

/* A row of pragma_table_info is the model's column. */
static bool is_same(struct proof *p, sqlite3_stmt *stmt, const struct table *t, const struct column *c)
{
    size_t key = key_position(t, c->name);
    return str_eq(column_text(stmt, 0), c->name) && str_eq(column_text(stmt, 1), type_sqlite(&p->arena, c)) &&
           (sqlite3_column_int(stmt, 2) != 0) == (c->not_null || key > 0) &&
           (size_t)sqlite3_column_int(stmt, 3) == key;
}

static int check_table(struct proof *p, sqlite3_stmt *stmt, const struct table *t)
{
    size_t n = 0;
    bool same = true;
    int rc;
    sqlite3_bind_text(stmt, 1, t->name.p, (int)t->name.n, SQLITE_STATIC);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        same = same && n < t->n_columns && is_same(p, stmt, t, &t->columns[n]);
        n++;
    }
    sqlite3_reset(stmt);
    if (rc == SQLITE_INTERRUPT) {
        return too_slow(p);
    }
    if (rc != SQLITE_DONE || !same || n != t->n_columns) {
        return err_set(p->err, ERR_INTERNAL, "table \"%.*s\" came out different in SQLite", STR_ARG(t->name));
    }
    return 0;
}

static int check_tables(struct proof *p)
{
    sqlite3_stmt *stmt = NULL;
    const char *sql = "SELECT name, type, \"notnull\", pk FROM pragma_table_info(?1) ORDER BY cid";
    if (sqlite3_prepare_v2(p->db, sql, -1, &stmt, NULL) != SQLITE_OK) {
        return err_set(p->err, ERR_INTERNAL, "cannot read the tables of the proof: %s",
                       sqlite3_errmsg(p->db));
    }
    int rc = 0;
    for (size_t i = 0; i < p->schema.n_tables && rc == 0; i++) {
        arena_reset(&p->arena);
        rc = check_table(p, stmt, p->schema.tables[i]);
    }
    sqlite3_finalize(stmt);
    return rc;
}

static int prove(struct proof *p, const struct str *ops, size_t n, size_t n_recorded)
{
    p->replays = n == n_recorded;
    if ((p->replays && set_up(p)) || run_recorded(p, ops, n_recorded)) {
        return -1;
    }
    if (n_recorded < n && insert_rows(p)) {
        return -1;
    }
    for (size_t i = n_recorded; i < n; i++) {
        if (run_command(p, ops[i])) {
            return -1;
        }
    }
    return check_foreign_keys(p) || check_tables(p) ? -1 : 0;
}

int proof_run(const struct str *ops, size_t n, size_t n_recorded, struct err *err)
{
    struct proof_commands c = {.ops = ops, .n = n, .n_recorded = n_recorded};
    return proof_run_noting(&c, NULL, NULL, err);
}

int proof_run_noting(const struct proof_commands *c, struct arena *a, struct notes *out_notes,
                     struct err *err)
{
    struct proof p = {.err = err, .deadline = now_ms() + PROOF_MAX_MS, .notes_arena = a, .notes = out_notes};
    int rc = prove(&p, c->ops, c->n, c->n_recorded);
    sqlite3_close(p.db);
    schema_deinit(&p.schema);
    arena_deinit(&p.arena);
    return rc;
}
