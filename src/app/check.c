/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection, asked in turn: the server and the role → the replication slot → what is installed → the
 * guard, the publication, the history → drift → (adopt). What an answer makes pointless is not asked.
 */
#include "app/check.h"

#include "app/adopt.h"
#include "app/advice.h"
#include "app/config.h"
#include "app/port.h"
#include "base/mem.h"
#include "net/loop.h"
#include "pg/client.h"
#include "pg/install.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct check {
    const struct config *config;
    struct check_report *report;
    struct loop *loop;
    struct pg_client *client;
    struct adopt *adopt;
    bool adopting;
    bool is_super, is_installed, is_owner;
};

typedef void (*check_step)(void *ctx, const struct pg_result *r);

/* --- the report --- */

void check_report_deinit(struct check_report *report)
{
    free(report->items);
    arena_deinit(&report->arena);
}

void check_add(struct check_report *report, enum check_state state, const char *name, const char *mend,
               const char *fmt, ...)
{
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (report->n == report->cap) {
        report->cap = report->cap ? report->cap * 2 : 16;
        report->items = mem_realloc(report->items, report->cap * sizeof *report->items);
    }
    report->items[report->n++] =
        (struct check_item){.name = name,
                            .state = state,
                            .text = arena_strdup(&report->arena, text),
                            .mend = mend ? arena_strdup(&report->arena, mend) : NULL};
    report->faulty |= state == CHECK_FAULT;
}

const char *check_state_name(enum check_state state)
{
    static const char *const names[] = {[CHECK_OK] = "ok", [CHECK_NOTE] = "note", [CHECK_FAULT] = "fault"};
    return names[state];
}

/* --- asking --- */

static void run(struct check *c, const char *sql, check_step then)
{
    pg_client_query(c->client, sql, NULL, 0, then, c);
}

static bool answered(struct check *c, const struct pg_result *r, const char *name)
{
    if (!r->ok) {
        check_add(c->report, CHECK_FAULT, name, *r->hint ? r->hint : NULL, "%s", r->err.msg);
        loop_stop(c->loop);
    }
    return r->ok;
}

/* --- drift --- */

static void on_adopted(void *ctx, const struct adopt_outcome *o)
{
    struct check *c = ctx;
    c->adopt = NULL;
    if (!o->ok) {
        check_add(c->report, CHECK_FAULT, "adopt", *o->hint ? o->hint : NULL, "%s%s%s", o->err.msg,
                  *o->detail ? ": " : "", o->detail);
    } else if (o->tables) {
        check_add(c->report, CHECK_OK, "adopt", NULL, "recorded as migration %s", o->version);
    } else {
        check_add(c->report, CHECK_OK, "adopt", NULL, "there is nothing to adopt");
    }
    loop_stop(c->loop);
}

static void on_secret(void *ctx, const struct pg_result *r)
{
    struct check *c = ctx;
    if (answered(c, r, "adopt") && r->rows == 1) {
        c->adopt = adopt_start(c->loop, c->config, pg_result_cstr(r, 0, 0), false, on_adopted, c);
    }
}

static void on_drift(void *ctx, const struct pg_result *r)
{
    struct check *c = ctx;
    if (!answered(c, r, "drift")) {
        return;
    }
    for (size_t i = 0; i < r->rows; i++) {
        const char *mend = pg_result_cstr(r, i, 2);
        bool can_follow = pg_result_is_true(r, i, 3);
        check_add(c->report, c->adopting && can_follow ? CHECK_NOTE : CHECK_FAULT, "drift",
                  can_follow ? c->adopting ? NULL : "busbar check --adopt" : mend, "table %s: %s",
                  pg_result_cstr(r, i, 0), pg_result_cstr(r, i, 1));
    }
    if (r->rows == 0) {
        check_add(c->report, CHECK_OK, "drift", NULL, "the tables are what clients have");
    }
    if (c->adopting) {
        run(c, "SELECT value FROM busbar.settings WHERE name = 'secret'", on_secret);
    } else {
        loop_stop(c->loop);
    }
}

/* --- what is installed --- */

static void on_unusable(void *ctx, const struct pg_result *r)
{
    struct check *c = ctx;
    if (!answered(c, r, "history")) {
        return;
    }
    for (size_t i = 0; i < r->rows; i++) {
        check_add(c->report, CHECK_FAULT, "history",
                  "put its rows in busbar.command right, or delete them and its row in busbar.migration; "
                  "restart busbar serve",
                  "clients cannot apply migration %s: %s", pg_result_cstr(r, i, 0), pg_result_cstr(r, i, 1));
    }
    if (r->rows == 0) {
        check_add(c->report, CHECK_OK, "history", NULL, "clients can apply all migrations");
    }
    run(c, "SELECT schema_name || '.' || table_name, what, mend, can_follow FROM busbar.drift()", on_drift);
}

enum { STATE_GUARD, STATE_PUBLICATION };
static const char state_sql[] =
    "SELECT (SELECT string_agg(statement, ' ') FROM busbar.guard_statements()),"
    " (SELECT string_agg(s, ' ') FROM ("
    "  SELECT 'CREATE PUBLICATION electric_publication;' AS s WHERE NOT EXISTS"
    "   (SELECT FROM pg_publication WHERE pubname = 'electric_publication')"
    "  UNION ALL SELECT format('ALTER PUBLICATION electric_publication ADD TABLE ONLY %I.%I;', "
    "e.schema_name, "
    "e.table_name)"
    "  FROM busbar.electrified e WHERE NOT EXISTS (SELECT FROM pg_publication_tables t WHERE t.pubname = "
    "'electric_publication' AND t.schemaname = e.schema_name AND t.tablename = e.table_name)) x)";

static void on_installed_state(void *ctx, const struct pg_result *r)
{
    struct check *c = ctx;
    if (!answered(c, r, "installation")) {
        return;
    }
    const char *guard = pg_result_cstr(r, 0, STATE_GUARD),
               *publication = pg_result_cstr(r, 0, STATE_PUBLICATION);
    if (!guard) {
        check_add(c->report, CHECK_OK, "event triggers", NULL, "they guard the schema");
    } else {
        check_add(
            c->report, CHECK_NOTE, "event triggers", guard,
            "some are missing: changes outside the proxy, and by functions, are not refused but found later, "
            "as "
            "drift; a superuser can make them (the role of DATABASE_URL then acts in every DDL statement)");
    }
    if (!publication) {
        check_add(c->report, CHECK_OK, "publication", NULL, "holds all electrified tables");
    } else {
        check_add(c->report, CHECK_FAULT, "publication",
                  arena_printf(&c->report->arena, "SET busbar.maintenance = 'on'; %s", publication),
                  "electric_publication does not hold all electrified tables");
    }
    run(c, "SELECT version, unusable FROM busbar.migration WHERE unusable IS NOT NULL ORDER BY seq",
        on_unusable);
}

static void on_version(void *ctx, const struct pg_result *r)
{
    struct check *c = ctx;
    char digest[INSTALL_DIGEST];
    if (!answered(c, r, "installation")) {
        return;
    }
    install_digest(&install_embedded, digest);
    const char *found = pg_result_cstr(r, 0, 1);
    if (pg_result_u64(r, 0, 0) > install_newest(&install_embedded)) {
        check_add(c->report, CHECK_FAULT, "installation", "use the newer busbar",
                  "schema busbar was prepared by a newer version");
    } else if (!found || strncmp(found, digest, strlen(digest)) != 0) {
        check_add(c->report, CHECK_NOTE, "installation", NULL,
                  "schema busbar is of another version: busbar serve brings it up to date when it starts; "
                  "the tables were not compared");
    } else {
        check_add(c->report, CHECK_OK, "installation", NULL, "schema busbar is up to date");
        run(c, state_sql, on_installed_state);
        return;
    }
    loop_stop(c->loop);
}

/* --- the server and the role --- */

enum {
    SERVER_NUMBER,
    SERVER_VERSION,
    SERVER_USER,
    SERVER_DATABASE,
    SERVER_WAL_LEVEL,
    SERVER_SLOTS,
    SERVER_SLOTS_USED,
    SERVER_SENDERS,
    SERVER_STANDBY,
    SERVER_ENCODING,
    SERVER_MAY_CREATE,
    SERVER_SUPER,
    SERVER_REPLICATION,
    SERVER_INSTALLED,
    SERVER_OWNER,
    SERVER_CREATE_SQL,
    SERVER_REPLICATION_SQL,
    SERVER_FOREIGN,
};
static const char server_sql[] =
    "SELECT current_setting('server_version_num'), current_setting('server_version'), current_user, "
    "current_database(),"
    " current_setting('wal_level'), current_setting('max_replication_slots'),"
    " (SELECT count(*) FROM pg_replication_slots), current_setting('max_wal_senders'), pg_is_in_recovery(),"
    " (SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()),"
    " has_database_privilege(current_database(), 'CREATE'), r.rolsuper, r.rolreplication OR r.rolsuper,"
    " n.oid IS NOT NULL, coalesce(pg_has_role(n.nspowner, 'USAGE'), true),"
    " format('GRANT CREATE ON DATABASE %I TO %I;', current_database(), current_user),"
    " format('ALTER ROLE %I REPLICATION;', current_user),"
    " n.oid IS NULL AND EXISTS (SELECT FROM pg_class c JOIN pg_namespace f ON f.oid = c.relnamespace"
    "  WHERE f.nspname = 'electric' AND c.relkind IN ('r', 'p') AND c.relname IN ('ddl_commands', "
    "'schema_migrations'))"
    " FROM pg_roles r LEFT JOIN pg_namespace n ON n.nspname = 'busbar' WHERE r.rolname = current_user";

static void check_version(struct check_report *report, const struct pg_result *r)
{
    const char *version = pg_result_cstr(r, 0, SERVER_VERSION);
    if (pg_result_u64(r, 0, SERVER_NUMBER) < INSTALL_OLDEST_SERVER) {
        check_add(report, CHECK_FAULT, "version", "use PostgreSQL 14 or later", "PostgreSQL %s is too old",
                  version);
    } else {
        check_add(report, CHECK_OK, "version", NULL, "PostgreSQL %s", version);
    }
    if (pg_result_is_true(r, 0, SERVER_STANDBY)) {
        check_add(report, CHECK_FAULT, "primary", "connect to the primary",
                  "the server is a standby: it cannot be written to");
    }
    if (pg_result_is_true(r, 0, SERVER_FOREIGN)) {
        check_add(report, CHECK_FAULT, "schema electric",
                  "use another database, or: DROP SCHEMA electric CASCADE; DROP PUBLICATION IF EXISTS "
                  "electric_publication;",
                  "was made by ElectricSQL itself, and cannot be adopted yet");
    }
}

static void check_replication(struct check_report *report, const struct pg_result *r)
{
    const char *level = pg_result_cstr(r, 0, SERVER_WAL_LEVEL);
    uint64_t slots = pg_result_u64(r, 0, SERVER_SLOTS), used = pg_result_u64(r, 0, SERVER_SLOTS_USED);
    if (strcmp(level, "logical") == 0) {
        check_add(report, CHECK_OK, "wal_level", NULL, "is logical");
    } else {
        check_add(report, CHECK_FAULT, "wal_level",
                  "ALTER SYSTEM SET wal_level = 'logical'; then restart PostgreSQL", "is %s, must be logical",
                  level);
    }
    if (used < slots) {
        check_add(report, CHECK_OK, "max_replication_slots", NULL, "%" PRIu64 " of %" PRIu64 " are free",
                  slots - used, slots);
    } else {
        check_add(report, CHECK_FAULT, "max_replication_slots",
                  arena_printf(&report->arena,
                               "ALTER SYSTEM SET max_replication_slots = %" PRIu64
                               "; then restart PostgreSQL",
                               used + 5),
                  "all %" PRIu64 " are in use", slots);
    }
    if (pg_result_u64(r, 0, SERVER_SENDERS) == 0) {
        check_add(report, CHECK_FAULT, "max_wal_senders",
                  "ALTER SYSTEM SET max_wal_senders = 10; then restart PostgreSQL", "is 0");
    }
}

static void check_rights(struct check_report *report, const struct pg_result *r)
{
    const char *encoding = pg_result_cstr(r, 0, SERVER_ENCODING);
    bool no_encoding = strcmp(encoding, "SQL_ASCII") == 0;
    if (!pg_result_is_true(r, 0, SERVER_OWNER)) {
        check_add(report, CHECK_FAULT, "privileges", "put the role that owns schema busbar into DATABASE_URL",
                  "schema busbar belongs to another role");
    } else if (!pg_result_is_true(r, 0, SERVER_MAY_CREATE)) {
        check_add(report, pg_result_is_true(r, 0, SERVER_INSTALLED) ? CHECK_NOTE : CHECK_FAULT, "privileges",
                  pg_result_cstr(r, 0, SERVER_CREATE_SQL), "role %s may not create schemas in this database",
                  pg_result_cstr(r, 0, SERVER_USER));
    } else {
        check_add(report, CHECK_OK, "privileges", NULL, "role %s may create what is needed",
                  pg_result_cstr(r, 0, SERVER_USER));
    }
    if (!pg_result_is_true(r, 0, SERVER_REPLICATION)) {
        check_add(report, CHECK_NOTE, "replication", pg_result_cstr(r, 0, SERVER_REPLICATION_SQL),
                  "role %s may not replicate: the migrations proxy works, sync of data will need it",
                  pg_result_cstr(r, 0, SERVER_USER));
    }
    check_add(report, no_encoding ? CHECK_FAULT : CHECK_OK, "encoding",
              no_encoding ? "CREATE DATABASE name TEMPLATE template0 ENCODING 'UTF8'; and move the data there"
                          : NULL,
              no_encoding ? "is %s: nobody knows what its texts mean" : "is %s", encoding);
}

static void check_installation(struct check *c)
{
    if (!c->is_installed) {
        check_add(c->report, CHECK_NOTE, "installation", NULL,
                  "nothing is installed: busbar serve does that when it starts%s",
                  c->is_super ? "" : ", without event triggers, as the role is no superuser");
        loop_stop(c->loop);
    } else if (!c->is_owner) {
        loop_stop(c->loop);
    } else {
        run(c,
            "SELECT max(version), (SELECT digest FROM busbar.schema_version WHERE version = 0) FROM "
            "busbar.schema_version",
            on_version);
    }
}

/* --- the replication slot --- */

enum { SLOT_NAME, SLOT_ACTIVE, SLOT_STATUS, SLOT_RETAINED };
static const char slot_sql[] =
    "SELECT slot_name, active, wal_status, pg_size_pretty(greatest(CASE WHEN NOT pg_is_in_recovery() THEN"
    " pg_current_wal_lsn() END - restart_lsn, 0)) FROM pg_replication_slots WHERE database = "
    "current_database() AND starts_with(slot_name::text, 'electric_replication_out_') ORDER BY active DESC, "
    "slot_name LIMIT 1";

static void check_slot(struct check_report *report, const struct pg_result *r)
{
    const char *name = pg_result_cstr(r, 0, SLOT_NAME), *status = pg_result_cstr(r, 0, SLOT_STATUS);
    if (pg_result_is_true(r, 0, SLOT_ACTIVE)) {
        check_add(report, CHECK_OK, "replication slot", NULL, "%s is in use", name);
    } else {
        check_add(report, CHECK_NOTE, "replication slot",
                  "busbar serve, or, if it is not to come back, busbar cleanup",
                  "%s is not in use: the server keeps WAL for it", name);
    }
    if (status && strcmp(status, "lost") == 0) {
        check_add(report, CHECK_NOTE, "wal_status", NULL,
                  "is lost: busbar serve makes a new slot, and clients load all anew");
    } else if (status && strcmp(status, "unreserved") == 0) {
        check_add(report, CHECK_NOTE, "wal_status", "start busbar serve, or raise max_slot_wal_keep_size",
                  "is unreserved: the server is about to remove WAL that the slot needs");
    } else {
        check_add(report, CHECK_OK, "wal_status", NULL, "is %s", status ? status : "unknown");
    }
    check_add(report, CHECK_OK, "retained WAL", NULL, "%s", pg_result_cstr(r, 0, SLOT_RETAINED));
}

static void on_slot(void *ctx, const struct pg_result *r)
{
    struct check *c = ctx;
    if (!answered(c, r, "replication slot")) {
        return;
    }
    if (r->rows == 1) {
        check_slot(c->report, r);
    } else {
        check_add(c->report, CHECK_OK, "replication slot", NULL,
                  "there is none: busbar serve makes it when it starts");
    }
    check_installation(c);
}

static void on_server(void *ctx, const struct pg_result *r)
{
    struct check *c = ctx;
    if (!answered(c, r, "connection")) {
        return;
    }
    c->is_super = pg_result_is_true(r, 0, SERVER_SUPER);
    check_add(c->report, CHECK_OK, "connection", NULL, "to database %s as %s",
              pg_result_cstr(r, 0, SERVER_DATABASE), pg_result_cstr(r, 0, SERVER_USER));
    check_version(c->report, r);
    check_replication(c->report, r);
    check_rights(c->report, r);
    c->is_installed = pg_result_is_true(r, 0, SERVER_INSTALLED);
    c->is_owner = pg_result_is_true(r, 0, SERVER_OWNER);
    run(c, slot_sql, on_slot);
}

static void on_state(void *ctx, enum pg_client_state state, const struct login_error *why)
{
    struct check *c = ctx;
    switch (state) {
    case PG_CLIENT_UP:
        run(c, server_sql, on_server);
        return;
    case PG_CLIENT_DOWN: {
        const char *advice = *why->hint ? why->hint : advice_for_connection(why->err.msg);
        check_add(c->report, CHECK_FAULT, "connection", *advice ? advice : NULL, "%s", why->err.msg);
        loop_stop(c->loop);
        return;
    }
    case PG_CLIENT_CONNECTING:
        return;
    }
}

void check_database(const struct config *config, bool adopt, struct check_report *report)
{
    struct check c = {.config = config, .report = report, .loop = loop_new(), .adopting = adopt};
    struct pg_client_options client = {.url = config->database.conninfo,
                                       .require_ssl = config->database.require_ssl,
                                       .application_name = "busbar check"};
    c.client = pg_client_new(c.loop, &client, on_state, &c);
    loop_run(c.loop);
    adopt_cancel(c.adopt);
    pg_client_free(c.client);
    loop_free(c.loop);
}

static void check_port(struct check_report *report, const char *name, uint16_t port)
{
    bool has_ipv6;
    if (port_is_free(port, &has_ipv6)) {
        check_add(report, CHECK_OK, name, NULL, "%u is free", (unsigned)port);
    } else {
        check_add(
            report, CHECK_NOTE, name,
            arena_printf(&report->arena, "unless busbar serve runs already: set %s to a free port", name),
            "%u is in use", (unsigned)port);
    }
}

void check_ports(const struct config *config, struct check_report *report)
{
    check_port(report, "PG_PROXY_PORT", config->proxy.port);
    check_port(report, "HTTP_PORT", config->http_port);
}
