/* SPDX-License-Identifier: Apache-2.0 */
/* The queries of pg/install.c, apart from it so that the steps can be read. Private to it. */
#pragma once

/* Names of pg_catalog are found by the session's search_path. Nothing here may need a privilege on a schema.
 */
enum {
    PROBE_VERSION_NUMBER,
    PROBE_VERSION,
    PROBE_WAL_LEVEL,
    PROBE_STANDBY,
    PROBE_HAS_SCHEMA,
    PROBE_HAS_TABLES,
    PROBE_FOREIGN,
    PROBE_PUBLISHES,
};
static const char install_probe[] =
    "WITH relation AS (SELECT n.nspname, c.relname, c.relkind FROM pg_class c JOIN pg_namespace n"
    " ON n.oid = c.relnamespace WHERE n.nspname IN ('busbar', 'electric') AND c.relkind IN ('r', 'p'))"
    " SELECT current_setting('server_version_num'), current_setting('server_version'),"
    " current_setting('wal_level'), pg_is_in_recovery(),"
    " EXISTS (SELECT FROM pg_namespace WHERE nspname = 'busbar'),"
    " (SELECT count(*) = 2 FROM relation WHERE nspname = 'busbar' AND relname IN ('schema_version', "
    "'settings')),"
    " EXISTS (SELECT FROM relation WHERE nspname = 'electric' AND relname IN ('ddl_commands', "
    "'schema_migrations'))"
    " AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'busbar'),"
    " EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace"
    " WHERE n.nspname = 'busbar' AND p.proname = 'publish_all')";

/* Puts back what somebody took out of the publication. */
static const char install_publish[] = "SELECT busbar.publish_all()";

/* A trigger counts when it fires in ordinary sessions. */
enum { INSPECT_NEWEST, INSPECT_DIGEST, INSPECT_TRIGGERS, INSPECT_SECRET };
#define LIVE_TRIGGERS                                                                                  \
    "(SELECT count(*) FROM pg_event_trigger t JOIN pg_proc p ON p.oid = t.evtfoid JOIN pg_namespace n" \
    " ON n.oid = p.pronamespace WHERE n.nspname IN ('busbar', 'electric') AND t.evtenabled IN ('O', 'A'))"
static const char install_inspect[] =
    "SELECT (SELECT max(version) FROM busbar.schema_version),"
    " (SELECT digest FROM busbar.schema_version WHERE version = 0), " LIVE_TRIGGERS ","
    " (SELECT value FROM busbar.settings WHERE name = 'secret')";

/* The key is "busbar" in ASCII. The maintenance setting tells our own guard to let us. */
static const char install_begin[] = "BEGIN;\n"
                                    "SELECT pg_advisory_xact_lock(108256586522994);\n"
                                    "SET LOCAL busbar.maintenance = 'on';\n"
                                    "SET LOCAL client_min_messages = 'warning';\n";
static const char install_schema[] = "CREATE SCHEMA IF NOT EXISTS busbar;\n";
static const char install_version_table[] =
    "CREATE TABLE IF NOT EXISTS busbar.schema_version ("
    " version integer PRIMARY KEY, name text NOT NULL, digest text NOT NULL,"
    " installed_at timestamptz NOT NULL DEFAULT now());\n";

static const char install_record[] =
    "INSERT INTO busbar.schema_version (version, name, digest) VALUES ($1::integer, $2, '')";
static const char install_seal[] =
    "INSERT INTO busbar.schema_version (version, name, digest)"
    " VALUES (0, 'routines', $1 || ' ' || " LIVE_TRIGGERS ") ON CONFLICT (version)"
    " DO UPDATE SET digest = excluded.digest, installed_at = now()";

static const char install_privilege_hint[] =
    "The role of DATABASE_URL needs CREATE on the database, and must own schema busbar once it is there.";
