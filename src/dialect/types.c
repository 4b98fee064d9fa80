/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The type map (docs: data types). Sizes are read from format_type()'s text, "numeric(12,6)" or
 * "timestamp(3) without time zone", because what typmod means differs from type to type.
 */
#include "dialect/types.h"

#include <stdio.h>

static const struct {
    const char *name; /* in pg_catalog */
    const char *sqlite;
} map[] = {
    {"bool", "INTEGER"}, {"int2", "INTEGER"},   {"int4", "INTEGER"},    {"int8", "INTEGER"},
    {"float4", "REAL"},  {"float8", "REAL"},    {"numeric", "REAL"},    {"money", "REAL"},
    {"bytea", "BLOB"},   {"json", "TEXT_JSON"}, {"jsonb", "TEXT_JSON"},
};

bool type_is_array(const struct column *c)
{
    return c->type.n >= 2 && !memcmp(c->type.p + c->type.n - 2, "[]", 2);
}

struct str type_base_name(const struct column *c)
{
    bool array = type_is_array(c) && c->type_name.n > 1 && c->type_name.p[0] == '_';
    return array ? (struct str){c->type_name.p + 1, c->type_name.n - 1} : c->type_name;
}

static bool read_size(struct str s, int32_t *out)
{
    s = str_trim(s);
    bool negative = s.n > 1 && s.p[0] == '-'; /* numeric(3,-2) */
    struct str digits = negative ? (struct str){s.p + 1, s.n - 1} : s;
    uint64_t v;
    if (!str_to_u64(digits, INT32_MAX, &v)) {
        return false;
    }
    *out = negative ? -(int32_t)v : (int32_t)v;
    return true;
}

size_t type_sizes(const struct column *c, int32_t out_sizes[TYPE_MAX_SIZES])
{
    const char *open = c->typmod >= 0 && !type_is_array(c) ? memchr(c->type.p, '(', c->type.n) : NULL;
    const char *end = c->type.p + c->type.n;
    const char *close = open ? memchr(open, ')', (size_t)(end - open)) : NULL;
    if (!close) {
        return 0;
    }
    struct str rest = {open + 1, (size_t)(close - open - 1)};
    size_t n = 0;
    while (rest.n) {
        if (n == TYPE_MAX_SIZES || !read_size(str_cut(&rest, ','), &out_sizes[n])) {
            return 0;
        }
        n++;
    }
    return n;
}

static const char *sqlite_name(const struct column *c)
{
    if (type_is_array(c)) {
        return "TEXT_JSON";
    }
    bool own = !c->is_enum && str_eq(c->type_schema, STR("pg_catalog"));
    for (size_t i = 0; own && i < ARRAY_LEN(map); i++) {
        if (str_eq(c->type_name, str_c(map[i].name))) {
            return map[i].sqlite;
        }
    }
    return "TEXT";
}

struct str type_sqlite(struct arena *a, const struct column *c)
{
    int32_t sizes[TYPE_MAX_SIZES];
    size_t n = type_sizes(c, sizes);
    const char *name = sqlite_name(c);
    if (n == 0) {
        return str_c(name);
    }
    char text[64];
    int used = 0;
    for (size_t i = 0; i < n; i++) {
        used += snprintf(text + used, sizeof text - (size_t)used, "%s%d", i ? ", " : "", sizes[i]);
    }
    return str_c(arena_printf(a, "%s(%s)", name, text));
}
