/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/redirect.h"

#include "sql/lex.h"

#include <string.h>

/* The same as in sql/routines/88_introspection.sql. */
static const char *const in_pg_catalog[] = {
    "pg_attrdef",
    "pg_attribute",
    "pg_class",
    "pg_constraint",
    "pg_description",
    "pg_enum",
    "pg_extension",
    "pg_index",
    "pg_indexes",
    "pg_inherits",
    "pg_matviews",
    "pg_namespace",
    "pg_partitioned_table",
    "pg_policies",
    "pg_policy",
    "pg_proc",
    "pg_rules",
    "pg_sequence",
    "pg_sequences",
    "pg_stat_all_tables",
    "pg_stat_user_tables",
    "pg_stats",
    "pg_tables",
    "pg_trigger",
    "pg_type",
    "pg_views",
};

static const char *const in_information_schema[] = {
    "check_constraints",
    "column_privileges",
    "columns",
    "constraint_column_usage",
    "constraint_table_usage",
    "key_column_usage",
    "referential_constraints",
    "routines",
    "schemata",
    "sequences",
    "table_constraints",
    "table_privileges",
    "tables",
    "triggers",
    "views",
};

static const char target[] = "pg_temp";

/* An unquoted name in any case, or the same quoted. */
static bool names(const struct token *t, const char *lower)
{
    struct str text = t->text;
    if (t->kind == TOKEN_IDENT) {
        return text.n >= 2 && str_eq((struct str){text.p + 1, text.n - 2}, str_c(lower));
    }
    return token_is_word(t, lower);
}

static bool names_one_of(const struct token *t, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (names(t, list[i])) {
            return true;
        }
    }
    return false;
}

static bool is_hidden(const struct token *schema, const struct token *name)
{
    return (names(schema, "pg_catalog") && names_one_of(name, in_pg_catalog, ARRAY_LEN(in_pg_catalog))) ||
           (names(schema, "information_schema") &&
            names_one_of(name, in_information_schema, ARRAY_LEN(in_information_schema)));
}

void redirect_catalogs(char *text, size_t n, bool std_strings)
{
    struct lex lex = lex_init((struct str){text, n}, std_strings);
    struct token before = {0}, schema = lex_next(&lex), dot = lex_next(&lex);
    while (dot.kind != TOKEN_END) {
        struct token name = lex_next(&lex);
        if (token_is_punct(&dot, '.') && !token_is_punct(&before, '.') && is_hidden(&schema, &name)) {
            memcpy(text + schema.offset, target, sizeof target - 1);
            memset(text + schema.offset + sizeof target - 1, ' ', schema.text.n - (sizeof target - 1));
        }
        before = schema;
        schema = dot;
        dot = name;
    }
}
