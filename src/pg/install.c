/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps, each one round trip; the answer decides the next:
 *
 *   probe → publish → inspect → (up to date) done
 *         ↘                   ↘
 *           begin → versions → file … file → savepoint → event triggers → seal → inspect → done
 *                                                        ↘ (42501) to the savepoint ↗
 *
 * begin takes an advisory lock until the end of the transaction, so of several services that start together
 * one installs and the others find the work done. Any failure inside the transaction: rollback → the outcome.
 */
#include "pg/install.h"

#include "base/buf.h"
#include "base/mem.h"
#include "pg/client.h"
#include "pg/install_sql.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INSTALL_FILES = 1000 };

const struct install_sql install_embedded = {sql_migrations, sql_routines, sql_event_triggers};

struct install {
    struct pg_client *client;
    const struct install_sql *sql;
    install_fn fn;
    void *ctx;
    struct pg_query *query; /* the one on its way */
    bool in_transaction;
    bool installed;    /* this run has committed something */
    bool has_schema;   /* busbar, before us */
    bool outdated;     /* the routines were another version's, when we last looked */
    bool files_needed; /* false: only the guard is missing */
    bool guard_refused;
    char digest[INSTALL_DIGEST];
    char server_version[64];
    char guard_reason[512];
    /* Files still to run. */
    const struct embedded_file *files[INSTALL_FILES];
    bool is_migration[INSTALL_FILES];
    size_t files_n, next_file;
    /* Kept while the transaction is rolled back. */
    struct err err;
    char hint[512];
    bool fatal;
};

typedef void step_fn(void *ctx, const struct pg_result *r);

static void destroy(struct install *in)
{
    free(in);
}

static void run(struct install *in, const char *sql, step_fn *then)
{
    in->query = pg_client_query(in->client, sql, NULL, 0, then, in);
}

static void run_script(struct install *in, const char *sql, step_fn *then)
{
    in->query = pg_client_exec_script(in->client, sql, then, in);
}

static void deliver(struct install *in, const struct install_outcome *outcome)
{
    in->fn(in->ctx, outcome);
    destroy(in);
}

static void deliver_failure(struct install *in)
{
    struct install_outcome outcome = {
        .fatal = in->fatal, .err = in->err, .hint = in->hint, .guard_reason = ""};
    deliver(in, &outcome);
}

static void on_rolled_back(void *ctx, const struct pg_result *r)
{
    deliver_failure(ctx); /* when even that failed the connection is gone, and the transaction with it */
}

static void give_up(struct install *in)
{
    if (in->in_transaction) {
        in->in_transaction = false;
        run(in, "ROLLBACK", on_rolled_back);
    } else {
        deliver_failure(in);
    }
}

/* A query of ours was refused. `what` names it. */
static void fail_with(struct install *in, const char *what, const struct pg_result *r)
{
    in->err = r->err;
    err_context(&in->err, "%s", what);
    snprintf(in->hint, sizeof in->hint, "%s", r->hint);
    if (strcmp(r->err.sqlstate, "42501") == 0 && !in->hint[0]) {
        snprintf(in->hint, sizeof in->hint, "%s", install_privilege_hint);
    }
    give_up(in);
}

static void fail_fatally(struct install *in, const char *hint, const char *message)
{
    err_set(&in->err, ERR_UPSTREAM, "%s", message);
    snprintf(in->hint, sizeof in->hint, "%s", hint);
    in->fatal = true;
    give_up(in);
}

static void digest_table(EVP_MD_CTX *md, const struct embedded_file *f)
{
    for (; f->name; f++) { /* the NULs part name from text and file from file */
        EVP_DigestUpdate(md, f->name, strlen(f->name) + 1);
        EVP_DigestUpdate(md, f->text, strlen(f->text) + 1);
    }
    EVP_DigestUpdate(md, "", 1);
}

void install_digest(const struct install_sql *sql, char out[INSTALL_DIGEST])
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    if (!md || !EVP_DigestInit_ex(md, EVP_sha256(), NULL)) {
        abort(); /* out of memory, see base/mem.h */
    }
    digest_table(md, sql->migrations);
    digest_table(md, sql->routines);
    digest_table(md, sql->event_triggers);
    EVP_DigestFinal_ex(md, raw, &n);
    EVP_MD_CTX_free(md);
    for (unsigned i = 0; i < n && 2 * i + 2 < INSTALL_DIGEST; i++) {
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
    }
}

/* NNNN_name.sql → NNNN. Names are ours: anything else is a bug. */
static uint64_t migration_number(const struct embedded_file *f)
{
    struct str name = str_c(f->name);
    uint64_t number = 0;
    bool ok = str_to_u64(str_cut(&name, '_'), 9999, &number);
    assert(ok && number > 0);
    return number;
}

uint64_t install_newest(const struct install_sql *sql)
{
    uint64_t newest = 0;
    for (const struct embedded_file *f = sql->migrations; f->name; f++) {
        newest = migration_number(f);
    }
    return newest;
}

static void begin(struct install *in);

/* ---- inspect ---- */

static void on_inspected(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    char expected[INSTALL_DIGEST + 16];
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot read schema busbar", r);
        return;
    }
    uint64_t triggers = pg_result_u64(r, 0, INSPECT_TRIGGERS);
    const char *digest = pg_result_cstr(r, 0, INSPECT_DIGEST);
    const char *secret = pg_result_cstr(r, 0, INSPECT_SECRET);
    snprintf(expected, sizeof expected, "%s %u", in->digest, (unsigned)triggers);
    bool files_match = digest && strncmp(digest, in->digest, strlen(in->digest)) == 0;
    bool guarded = files_match && triggers > 0 && strcmp(digest, expected) == 0;
    if (pg_result_u64(r, 0, INSPECT_NEWEST) > install_newest(in->sql)) {
        fail_fatally(in, "Use the newer Busbar, or restore the database from before it was upgraded.",
                     "the database was prepared by a newer version of Busbar");
    } else if (in->installed ? !secret : !guarded) {
        if (in->installed) {
            err_set(&in->err, ERR_INTERNAL, "schema busbar has no secret after the installation");
            give_up(in);
            return;
        }
        in->outdated = !files_match;
        in->files_needed = in->outdated || !secret;
        begin(in);
    } else {
        struct install_outcome outcome = {
            .ready = true,
            .secret = secret,
            .guard = guarded,
            .guard_reason = guarded ? "" : in->guard_reason,
            .server_version = in->server_version,
            .changed = in->installed,
            .hint = "",
        };
        deliver(in, &outcome);
    }
}

/* ---- install ---- */

static void on_committed(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot commit the preparation of the database", r);
        return;
    }
    in->in_transaction = false;
    in->installed = true;
    run(in, install_inspect, on_inspected);
}

static void on_sealed(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot record the preparation of the database", r);
        return;
    }
    run(in, "COMMIT", on_committed);
}

static void seal(struct install *in)
{
    const char *params[] = {in->digest};
    in->query = pg_client_query(in->client, install_seal, params, 1, on_sealed, in);
}

static void on_guard_rolled_back(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot return to the savepoint", r);
        return;
    }
    seal(in);
}

static void on_guard_made(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (r->ok) {
        seal(in);
    } else if (strcmp(r->err.sqlstate, "42501") == 0) {
        snprintf(in->guard_reason, sizeof in->guard_reason, "%s", r->err.msg);
        run_script(in, "ROLLBACK TO SAVEPOINT guard", on_guard_rolled_back);
    } else {
        fail_with(in, "event triggers", r);
    }
}

static void make_guard(struct install *in)
{
    CLEANUP(buf_deinit) struct buf script = BUF_INIT(16 * 1024 * 1024);
    buf_put_c(&script, "SAVEPOINT guard;\n");
    for (const struct embedded_file *f = in->sql->event_triggers; f->name; f++) {
        buf_put_c(&script, f->text);
        buf_put_c(&script, "\n;\n");
    }
    assert(!script.overflow);
    run_script(in, buf_cstr(&script), on_guard_made);
}

static void run_next_file(struct install *in);

static void on_recorded(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot record a migration of schema busbar", r);
        return;
    }
    run_next_file(in);
}

static void record_migration(struct install *in, const struct embedded_file *f)
{
    char number[24];
    const char *params[] = {number, f->name};
    snprintf(number, sizeof number, "%u", (unsigned)migration_number(f));
    in->query = pg_client_query(in->client, install_record, params, ARRAY_LEN(params), on_recorded, in);
}

static void on_file_run(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    size_t at = in->next_file - 1;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, in->files[at]->name, r);
    } else if (in->is_migration[at]) {
        record_migration(in, in->files[at]);
    } else {
        run_next_file(in);
    }
}

static void run_next_file(struct install *in)
{
    if (in->next_file == in->files_n) {
        make_guard(in);
        return;
    }
    run_script(in, in->files[in->next_file++]->text, on_file_run);
}

static void add_file(struct install *in, const struct embedded_file *f, bool is_migration)
{
    assert(in->files_n < INSTALL_FILES);
    in->is_migration[in->files_n] = is_migration;
    in->files[in->files_n++] = f;
}

static bool has_version(const struct pg_result *r, uint64_t version)
{
    for (size_t row = 0; row < r->rows; row++) {
        if (pg_result_u64(r, row, 0) == version) {
            return true;
        }
    }
    return false;
}

static bool has_digest(const struct pg_result *r, const char *digest)
{
    for (size_t row = 0; row < r->rows; row++) {
        const char *found = pg_result_cstr(r, row, 1);
        if (found && strncmp(found, digest, strlen(digest)) == 0) {
            return true;
        }
    }
    return false;
}

static void on_nothing_done(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot prepare the database", r);
        return;
    }
    in->in_transaction = false;
    run(in, install_inspect, on_inspected);
}

/* Under the lock: another service may have been quicker. Its routines are in use: to make them anew would
 * take them from under its sessions. */
static void on_versions(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot read busbar.schema_version", r);
        return;
    }
    if (in->outdated && has_digest(r, in->digest)) {
        run(in, "ROLLBACK", on_nothing_done);
        return;
    }
    for (const struct embedded_file *f = in->sql->migrations; f->name; f++) {
        if (!has_version(r, migration_number(f))) {
            add_file(in, f, true);
        }
    }
    for (const struct embedded_file *f = in->sql->routines; f->name && in->files_needed; f++) {
        add_file(in, f, false);
    }
    run_next_file(in);
}

static void on_begun(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot prepare the database", r);
        return;
    }
    run(in, "SELECT version, digest FROM busbar.schema_version", on_versions);
}

static void begin(struct install *in)
{
    CLEANUP(buf_deinit) struct buf script = BUF_INIT(64 * 1024);
    buf_put_c(&script, install_begin);
    if (!in->has_schema) {
        buf_put_c(&script,
                  install_schema); /* asks for CREATE on the database even when the schema is there */
    }
    buf_put_c(&script, install_version_table);
    in->in_transaction = true;
    run_script(in, buf_cstr(&script), on_begun);
}

/* ---- probe ---- */

/* All that is wrong in one message, so that it is mended in one go. Returns false when something is. */
static bool check_server(struct install *in, const struct pg_result *r)
{
    CLEANUP(buf_deinit) struct buf message = BUF_INIT(sizeof in->err.msg), hint = BUF_INIT(sizeof in->hint);
    if (pg_result_u64(r, 0, PROBE_VERSION_NUMBER) < INSTALL_OLDEST_SERVER) {
        buf_printf(&message, "PostgreSQL %s is too old: Busbar needs 14 or later. ", in->server_version);
        in->fatal = true;
    }
    if (!str_eq(pg_result_get(r, 0, PROBE_WAL_LEVEL), STR("logical"))) {
        buf_put_c(&message, "Your Postgres database is not configured with wal_level=logical. ");
        buf_put_c(&hint, "Run ALTER SYSTEM SET wal_level = 'logical' and restart PostgreSQL. ");
        in->fatal = true;
    }
    if (pg_result_is_true(r, 0, PROBE_FOREIGN)) {
        buf_put_c(&message, "The database holds a schema \"electric\" made by ElectricSQL itself. ");
        buf_put_c(&hint,
                  "Busbar cannot adopt it yet: use another database, or remove what ElectricSQL has made. ");
        in->fatal = true;
    }
    if (pg_result_is_true(r, 0, PROBE_STANDBY)) {
        buf_put_c(&message, "The database server is a standby: it cannot be written to. ");
        buf_put_c(&hint, "Connect to the primary. ");
    }
    if (message.n == 0) {
        return true;
    }
    struct str text = str_trim(buf_str(&message)), advice = str_trim(buf_str(&hint));
    err_set(&in->err, ERR_UPSTREAM, "%.*s", STR_ARG(text));
    snprintf(in->hint, sizeof in->hint, "%.*s", STR_ARG(advice));
    return false;
}

/* Where it fails the service can do without, for the time being: `busbar check` says what is missing. */
static void on_published(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    run(in, install_inspect, on_inspected);
}

static void on_probed(void *ctx, const struct pg_result *r)
{
    struct install *in = ctx;
    in->query = NULL;
    if (!r->ok) {
        fail_with(in, "cannot inspect the database", r);
        return;
    }
    snprintf(in->server_version, sizeof in->server_version, "%s", pg_result_cstr(r, 0, PROBE_VERSION));
    in->has_schema = pg_result_is_true(r, 0, PROBE_HAS_SCHEMA);
    if (!check_server(in, r)) {
        give_up(in);
    } else if (!pg_result_is_true(r, 0, PROBE_HAS_TABLES)) {
        in->files_needed = in->outdated = true;
        begin(in);
    } else if (pg_result_is_true(r, 0, PROBE_PUBLISHES)) {
        run(in, install_publish, on_published);
    } else {
        run(in, install_inspect, on_inspected);
    }
}

struct install *install_start(struct pg_client *client, const struct install_sql *sql, install_fn fn,
                              void *ctx)
{
    struct install *in = mem_zalloc(sizeof *in);
    in->client = client;
    in->sql = sql;
    in->fn = fn;
    in->ctx = ctx;
    install_digest(sql, in->digest);
    run(in, install_probe, on_probed);
    return in;
}

void install_cancel(struct install *in)
{
    if (in) {
        pg_query_forget(in->query);
        if (in->in_transaction) {
            pg_client_query(in->client, "ROLLBACK", NULL, 0, NULL, NULL);
        }
        destroy(in);
    }
}
