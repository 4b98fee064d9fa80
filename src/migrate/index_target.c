/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/index_target.h"

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

/* name [ . name ] */
static bool take_table(struct arena *a, struct lex *l, struct index_target *out)
{
    struct token first = lex_next(l);
    struct token dot = lex_peek(l);
    struct token last = first;
    out->qualified = token_is_punct(&dot, '.');
    if (out->qualified) {
        lex_next(l);
        last = lex_next(l);
    }
    size_t n = last.offset + last.text.n - first.offset;
    out->table = arena_str(a, (struct str){first.text.p, n});
    return token_is_name(&first) && token_is_name(&last);
}

/* CREATE [UNIQUE] INDEX CONCURRENTLY [[IF NOT EXISTS] name] ON [ONLY] table … */
bool index_target_parse(struct arena *a, struct str statement, struct index_target *out)
{
    struct lex l = lex_init(statement, true);
    if (!skip(&l, "create")) {
        return false;
    }
    skip(&l, "unique");
    if (!skip(&l, "index") || !skip(&l, "concurrently")) {
        return false;
    }
    if (skip(&l, "if")) {
        skip(&l, "not");
        skip(&l, "exists");
    }
    struct token name = lex_next(&l);
    if (token_is_word(&name, "on") || !token_is_name(&name) || !skip(&l, "on")) {
        return false;
    }
    skip(&l, "only");
    out->name = arena_str(a, sql_unquote(a, &name));
    return take_table(a, &l, out);
}
