/* SPDX-License-Identifier: Apache-2.0 */
/* The types of where clauses: names, categories, and what becomes what (pg_type, pg_cast). */
#include "shapes/where_node.h"

enum category {
    CATEGORY_NONE,
    CATEGORY_BOOL,
    CATEGORY_NUMBER,
    CATEGORY_STRING,
    CATEGORY_DATETIME,
    CATEGORY_SPAN
};

static const struct {
    const char *name;
    enum category category; /* NONE: equal to nothing but itself */
    bool preferred;
} types[TYPES] = {
    [TYPE_UNKNOWN] = {"unknown", CATEGORY_NONE, false},
    [TYPE_BOOL] = {"bool", CATEGORY_BOOL, true},
    [TYPE_INT2] = {"int2", CATEGORY_NUMBER, false},
    [TYPE_INT4] = {"int4", CATEGORY_NUMBER, false},
    [TYPE_INT8] = {"int8", CATEGORY_NUMBER, false},
    [TYPE_NUMERIC] = {"numeric", CATEGORY_NUMBER, false},
    [TYPE_FLOAT4] = {"float4", CATEGORY_NUMBER, false},
    [TYPE_FLOAT8] = {"float8", CATEGORY_NUMBER, true},
    [TYPE_TEXT] = {"text", CATEGORY_STRING, true},
    [TYPE_VARCHAR] = {"varchar", CATEGORY_STRING, false},
    [TYPE_UUID] = {"uuid", CATEGORY_NONE, false},
    [TYPE_DATE] = {"date", CATEGORY_DATETIME, false},
    [TYPE_TIME] = {"time", CATEGORY_DATETIME, false},
    [TYPE_TIMESTAMP] = {"timestamp", CATEGORY_DATETIME, false},
    [TYPE_TIMESTAMPTZ] = {"timestamptz", CATEGORY_DATETIME, true},
    [TYPE_INTERVAL] = {"interval", CATEGORY_SPAN, true},
    [TYPE_ENUM] = {"enum", CATEGORY_NONE, false},
    [TYPE_OTHER] = {"other", CATEGORY_NONE, false},
};

enum { BIT = 1 };
#define TO(t) (BIT << (t))

enum {
    ALL_INTEGERS = TO(TYPE_INT2) | TO(TYPE_INT4) | TO(TYPE_INT8),
    ALL_FLOATS = TO(TYPE_FLOAT4) | TO(TYPE_FLOAT8),
    ALL_NUMBERS = ALL_INTEGERS | ALL_FLOATS | TO(TYPE_NUMERIC),
    ALL_TEXTS = TO(TYPE_TEXT) | TO(TYPE_VARCHAR),
};

/* What a type becomes by itself, besides itself. */
static const unsigned implicit[TYPES] = {
    [TYPE_INT2] = TO(TYPE_INT4) | TO(TYPE_INT8) | ALL_FLOATS | TO(TYPE_NUMERIC),
    [TYPE_INT4] = TO(TYPE_INT8) | ALL_FLOATS | TO(TYPE_NUMERIC),
    [TYPE_INT8] = ALL_FLOATS | TO(TYPE_NUMERIC),
    [TYPE_NUMERIC] = ALL_FLOATS,
    [TYPE_FLOAT4] = TO(TYPE_FLOAT8),
    [TYPE_TEXT] = ALL_TEXTS,
    [TYPE_VARCHAR] = ALL_TEXTS,
    [TYPE_DATE] = TO(TYPE_TIMESTAMP),
    [TYPE_TIME] = TO(TYPE_INTERVAL),
};

/* What is asked for in so many words, besides; to and from text everything goes. */
static const unsigned explicit[TYPES] = {
    [TYPE_BOOL] = TO(TYPE_INT4),
    [TYPE_INT2] = ALL_INTEGERS,
    [TYPE_INT4] = ALL_INTEGERS | TO(TYPE_BOOL),
    [TYPE_INT8] = ALL_INTEGERS,
    [TYPE_NUMERIC] = ALL_INTEGERS,
    [TYPE_FLOAT4] = ALL_NUMBERS,
    [TYPE_FLOAT8] = ALL_NUMBERS,
    [TYPE_TIMESTAMP] = TO(TYPE_DATE) | TO(TYPE_TIME),
    [TYPE_INTERVAL] = TO(TYPE_TIME),
};

const char *type_name(enum where_type t)
{
    return types[t].name;
}

enum where_type type_by_name(struct str name)
{
    for (enum where_type t = TYPE_BOOL; t < TYPE_ENUM; t++) {
        if (str_eq(name, str_c(types[t].name))) {
            return t;
        }
    }
    return TYPE_OTHER;
}

static bool within(enum where_type t, unsigned set)
{
    return TO(t) & set;
}

bool type_is_integer(enum where_type t)
{
    return within(t, ALL_INTEGERS);
}

bool type_is_number(enum where_type t)
{
    return within(t, ALL_NUMBERS);
}

bool type_is_text(enum where_type t)
{
    return within(t, ALL_TEXTS);
}

bool type_converts(enum where_type from, enum where_type to)
{
    return from == to || from == TYPE_UNKNOWN || within(to, implicit[from]);
}

/* Casts that have a result for every value, the same one everywhere. */
static bool is_total(enum where_type from, enum where_type to)
{
    bool widens = type_is_integer(from) && type_is_number(to) && (from <= to || !type_is_integer(to));
    bool shows = type_is_text(to);
    return from == to || widens || shows || from == TYPE_BOOL || to == TYPE_BOOL ||
           (from == TYPE_FLOAT4 && to == TYPE_FLOAT8) || to == TYPE_INTERVAL ||
           (from == TYPE_INTERVAL && to == TYPE_TIME) || (from == TYPE_TIMESTAMP && to == TYPE_DATE);
}

bool type_casts(enum where_type from, enum where_type to, bool *out_own)
{
    if (from == TYPE_OTHER || to == TYPE_OTHER || to == TYPE_UNKNOWN || to == TYPE_ENUM) {
        return false;
    }
    *out_own = !is_total(from, to) || (type_is_text(from) && !type_is_text(to));
    return type_converts(from, to) || within(to, explicit[from]) || type_is_text(to) || type_is_text(from);
}

bool type_is_preferred(enum where_type t)
{
    return types[t].preferred;
}

bool type_same_category(enum where_type a, enum where_type b)
{
    return a == b || (types[a].category != CATEGORY_NONE && types[a].category == types[b].category);
}

bool types_look_alike(enum where_type a, enum where_type b)
{
    bool canonical = a != TYPE_NUMERIC && a != TYPE_FLOAT4 && a != TYPE_FLOAT8 && a != TYPE_INTERVAL;
    return canonical &&
           (a == b || (type_is_integer(a) && type_is_integer(b)) || (type_is_text(a) && type_is_text(b)));
}
