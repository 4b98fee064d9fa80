/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: the JSON of ops as the database writes it, composed from text. Names must not need JSON escapes.
 */
#pragma once

#include "base/arena.h"

#include <stdarg.h>

enum { NULLABLE = 0, NOT_NULL = 1 };

/* `type` as format_type() has it, `name` as pg_type has it. */
static inline const char *fx_column(struct arena *a, const char *column, const char *type, const char *name,
                                    int not_null)
{
    return arena_printf(
        a,
        "{\"num\":1,\"name\":\"%s\",\"type\":\"%s\",\"type_name\":\"%s\",\"type_schema\":\"pg_catalog\","
        "\"typmod\":%d,\"not_null\":%s,\"default\":null,\"identity\":\"\",\"generated\":\"\","
        "\"enum\":false}",
        column, type, name, strchr(type, '(') ? 24 : -1, not_null ? "true" : "false");
}

static inline const char *fx_enum_column(struct arena *a, const char *column, const char *type)
{
    return arena_printf(
        a,
        "{\"num\":1,\"name\":\"%s\",\"type\":\"%s\",\"type_name\":\"%s\",\"type_schema\":\"public\","
        "\"typmod\":-1,\"not_null\":false,\"enum\":true}",
        column, type, type);
}

static inline const char *fx_foreign_key(struct arena *a, const char *name, const char *columns,
                                         const char *ref, const char *ref_columns, const char *actions)
{
    return arena_printf(a,
                        "{\"name\":\"%s\",\"columns\":[%s],\"ref_schema\":\"public\",\"ref_table\":\"%s\","
                        "\"ref_columns\":[%s],\"on_delete\":\"%c\",\"on_update\":\"%c\",\"deferrable\":%s}",
                        name, columns, ref, ref_columns, actions[0], actions[1],
                        actions[2] ? "true" : "false");
}

struct fx_table {
    const char *name;
    const char *columns;      /* "{…},{…}" */
    const char *primary_key;  /* "\"id\"", NULL for none */
    const char *foreign_keys; /* may be NULL */
    const char *constraints;  /* may be NULL */
    const char *sql;          /* may be NULL */
};

static inline const char *fx_create_table(struct arena *a, struct fx_table t)
{
    const char *key = t.primary_key
                          ? arena_printf(a, "{\"name\":\"%s_pkey\",\"columns\":[%s]}", t.name, t.primary_key)
                          : "null";
    return arena_printf(
        a,
        "{\"op\":\"create_table\",\"sql\":\"%s\",\"table\":{\"schema\":\"public\",\"name\":\"%s\","
        "\"columns\":[%s],\"primary_key\":%s,\"foreign_keys\":[%s],\"constraints\":[%s]}}",
        t.sql ? t.sql : "", t.name, t.columns, key, t.foreign_keys ? t.foreign_keys : "",
        t.constraints ? t.constraints : "");
}

static inline const char *fx_add_column(struct arena *a, const char *table, const char *column,
                                        const char *sql)
{
    return arena_printf(
        a, "{\"op\":\"add_column\",\"schema\":\"public\",\"table\":\"%s\",\"column\":%s,\"sql\":\"%s\"}",
        table, column, sql);
}

/* `keys`: "{\"name\":…,\"expression\":…,\"descending\":…},…"; `predicate`: NULL for none */
static inline const char *fx_create_index(struct arena *a, const char *table, const char *name, bool unique,
                                          const char *keys, const char *predicate)
{
    const char *where = predicate ? arena_printf(a, "\"%s\"", predicate) : "null";
    return arena_printf(
        a,
        "{\"op\":\"create_index\",\"schema\":\"public\",\"table\":\"%s\",\"sql\":\"CREATE INDEX %s\","
        "\"index\":{\"name\":\"%s\",\"unique\":%s,\"method\":\"btree\",\"valid\":true,"
        "\"definition\":\"\",\"columns\":[%s],\"predicate\":%s}}",
        table, name, name, unique ? "true" : "false", keys, where);
}

static inline const char *fx_key(struct arena *a, const char *column, const char *expression, bool descending)
{
    const char *name = column ? arena_printf(a, "\"%s\"", column) : "null";
    const char *text = expression ? arena_printf(a, "\"%s\"", expression) : "null";
    return arena_printf(a, "{\"name\":%s,\"expression\":%s,\"descending\":%s}", name, text,
                        descending ? "true" : "false");
}

static inline const char *fx_drop_index(struct arena *a, const char *table, const char *name)
{
    return arena_printf(a,
                        "{\"op\":\"drop_index\",\"schema\":\"public\",\"table\":\"%s\",\"name\":\"%s\","
                        "\"sql\":\"DROP INDEX public.%s\"}",
                        table, name, name);
}

static inline const char *fx_create_enum(struct arena *a, const char *name, const char *values)
{
    return arena_printf(a,
                        "{\"op\":\"create_enum\",\"schema\":\"public\",\"name\":\"%s\",\"values\":[%s],"
                        "\"sql\":\"CREATE TYPE %s AS ENUM ()\"}",
                        name, values, name);
}

static inline const char *fx_drop_table(struct arena *a, const char *table)
{
    return arena_printf(
        a, "{\"op\":\"drop_table\",\"schema\":\"public\",\"table\":\"%s\",\"sql\":\"DROP TABLE %s\"}", table,
        table);
}

static inline const char *fx_drop_enum(struct arena *a, const char *name)
{
    return arena_printf(
        a, "{\"op\":\"drop_enum\",\"schema\":\"public\",\"name\":\"%s\",\"sql\":\"DROP TYPE %s\"}", name,
        name);
}

/* One command: [op] or [op, op]. */
static inline struct str fx_command(struct arena *a, const char *op, const char *second)
{
    return str_c(arena_printf(a, "[%s%s%s]", op, second ? "," : "", second ? second : ""));
}

/* items (id text PRIMARY KEY, value text) */
static inline const char *fx_items(struct arena *a)
{
    const char *columns = arena_printf(a, "%s,%s", fx_column(a, "id", "text", "text", NOT_NULL),
                                       fx_column(a, "value", "text", "text", NULLABLE));
    return fx_create_table(a,
                           (struct fx_table){.name = "items",
                                             .columns = columns,
                                             .primary_key = "\"id\"",
                                             .sql = "CREATE TABLE items (id text PRIMARY KEY, value text)"});
}
