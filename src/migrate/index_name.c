/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/index_name.h"

#include "sql/quote.h"

static bool skip(struct lex *l, const char *word)
{
    struct token t = lex_peek(l);
    if (!token_is_word(&t, word)) {
        return false;
    }
    lex_next(l);
    return true;
}

/* CREATE [UNIQUE] INDEX CONCURRENTLY [[IF NOT EXISTS] name] ON … */
struct str index_name(struct arena *a, struct str statement)
{
    struct lex l = lex_init(statement, true);
    if (!skip(&l, "create")) {
        return STR("");
    }
    skip(&l, "unique");
    if (!skip(&l, "index") || !skip(&l, "concurrently")) {
        return STR("");
    }
    if (skip(&l, "if")) {
        skip(&l, "not");
        skip(&l, "exists");
    }
    struct token name = lex_next(&l);
    bool none = token_is_word(&name, "on") || !token_is_name(&name);
    return none ? STR("") : sql_unquote(a, &name);
}
