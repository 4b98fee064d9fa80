/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: a model made of tables in few words, requests as expressions. */
#pragma once

#include "schema/fixture.h"
#include "schema/ops.h"
#include "shapes/shape.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* "a b" as "\"a\",\"b\"" */
static inline const char *fx_names(struct arena *a, struct str words)
{
    const char *out = "";
    while (words.n) {
        struct str word = str_cut(&words, ' ');
        out = arena_printf(a, "%s%s\"%.*s\"", out, *out ? "," : "", STR_ARG(word));
    }
    return out;
}

/* "id:int4 name" : columns, of type text where there is none; a capital type is an enum. */
static inline const char *fx_columns(struct arena *a, struct str words)
{
    const char *out = "";
    while (words.n) {
        struct str type = str_cut(&words, ' ');
        const char *name = arena_str(a, str_cut(&type, ':')).p;
        const char *type_name = type.n ? arena_str(a, type).p : "text";
        bool is_enum = *type_name >= 'A' && *type_name <= 'Z';
        const char *column =
            is_enum ? fx_enum_column(a, name, type_name) : fx_column(a, name, type_name, type_name, NULLABLE);
        out = arena_printf(a, "%s%s%s", out, *out ? "," : "", column);
    }
    return out;
}

/* "author > users id; x y > pairs b a": foreign keys. */
static inline const char *fx_foreign_keys(struct arena *a, struct str words)
{
    const char *out = "";
    for (unsigned i = 0; words.n; i++) {
        struct str to = str_trim(str_cut(&words, ';'));
        struct str from = str_trim(str_cut(&to, '>'));
        to = str_trim(to);
        const char *table = arena_str(a, str_cut(&to, ' ')).p;
        out = arena_printf(
            a, "%s%s%s", out, *out ? "," : "",
            fx_foreign_key(a, arena_printf(a, "fk%u", i), fx_names(a, from), table, fx_names(a, to), "aa"));
    }
    return out;
}

struct fx_shape_table {
    const char *name, *columns, *key, *foreign_keys;
};

static inline void fx_add_tables(struct schema *model, const struct fx_shape_table *tables, size_t n)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    for (size_t i = 0; i < n; i++) {
        struct fx_table t = {.name = tables[i].name,
                             .columns = fx_columns(&a, str_c(tables[i].columns)),
                             .primary_key = fx_names(&a, str_c(tables[i].key)),
                             .foreign_keys = fx_foreign_keys(&a, str_c(tables[i].foreign_keys))};
        struct op *ops;
        size_t ops_n;
        struct err err = ERR_INIT;
        if (ops_parse(&a, fx_command(&a, fx_create_table(&a, t), NULL), &ops, &ops_n, &err) < 0 ||
            schema_apply(model, ops, &err) < 0) {
            fail_msg("%s: %s", tables[i].name, err.msg);
        }
    }
}

/* Requests: fx_request(a, SELECT("t", "", INCLUDE("fk", SELECT("u", "")), …)). At most 8 includes in one
 * select. */
enum { FX_INCLUDES = 8 };

static inline struct shape_include fx_include(struct arena *a, const char *columns,
                                              const struct shape_select *select)
{
    struct shape_include i = {.select = select};
    struct str words = str_c(columns);
    i.foreign_key.items = arena_alloc_array(a, strlen(columns) + 1, sizeof(struct str));
    while (words.n) {
        i.foreign_key.items[i.foreign_key.n++] = str_cut(&words, ' ');
    }
    return i;
}

static inline const struct shape_select *fx_select(struct arena *a, const char *table, const char *where,
                                                   const struct shape_include *includes, size_t n)
{
    struct shape_select *s = arena_zalloc(a, sizeof *s);
    struct shape_include *copy = arena_alloc_array(a, n, sizeof *copy);
    memcpy(copy, includes, n * sizeof *copy);
    *s = (struct shape_select){str_c(table), str_c(where), copy, n};
    return s;
}

#define INCLUDE(columns, select) fx_include(fx, columns, select)
#define SELECT(table, where, ...)                                                     \
    fx_select(fx, table, where, (struct shape_include[FX_INCLUDES + 1]){__VA_ARGS__}, \
              sizeof((struct shape_include[]){__VA_ARGS__}) / sizeof(struct shape_include))

static inline struct shape_request fx_request(const struct shape_select *select)
{
    return (struct shape_request){.selects = select, .n_selects = 1};
}
