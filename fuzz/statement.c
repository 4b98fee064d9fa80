/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SQL analysis on any bytes. The first byte picks standard_conforming_strings; the rest is the text.
 *
 * Besides not crashing: what the filter passes must be at most one statement, and plain; and where
 * PostgreSQL's own scanner and grammar (libpg_query) accept the text, the cuts must be theirs, and each
 * statement's kind the one that its node of the parse tree has. DDL taken for an ordinary statement would
 * pass unseen.
 */
#include "sql/statement.h"
#include "base/arena.h"
#include "base/err.h"
#include "sql/intent.h"
#include "sql/lex.h"

#include <assert.h>
#include <stdlib.h>

#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

enum {
    GRAMMAR_MAX = 4096, /* the tree is unpacked by recursion: bounds its depth */
    EVERY_LENGTH = 64,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* --- the filter --- */

/* A text that is plain by its beginning must begin with a plain statement: the rest is streamed unread. */
static void check_beginnings(struct str text, bool std_strings, const struct statement *list, size_t n)
{
    size_t step = text.n / EVERY_LENGTH + 1;
    for (size_t i = 0; i < text.n; i += step) {
        if (statement_is_plain((struct str){text.p, i}, false, std_strings)) {
            assert(n > 0 && list[0].kind == STATEMENT_PLAIN);
        }
    }
}

static void check_filter(struct str text, bool std_strings, const struct statement *list, size_t n)
{
    if (statement_is_plain(text, true, std_strings)) {
        assert(n == 0 || (n == 1 && list[0].kind == STATEMENT_PLAIN));
    }
    check_beginnings(text, std_strings, list, n);
}

static void check_slices(struct str text, const struct statement *list, size_t n)
{
    size_t end = 0;
    for (size_t i = 0; i < n; i++) {
        assert(list[i].offset >= end && list[i].text.n > 0);
        assert(list[i].text.p == text.p + list[i].offset);
        end = list[i].offset + list[i].text.n;
        assert(end <= text.n);
    }
}

/* --- arriving --- */

static void check_arrival(struct arena *a, struct str text, bool std_strings, size_t step,
                          const struct statement *list, size_t n)
{
    struct splitter s;
    struct err err;
    splitter_init(&s, a, std_strings, false);
    for (size_t at = 0; at < text.n; at += step) {
        char *copy = malloc(at + 1); /* elsewhere each time, and of this size exactly */
        memcpy(copy, text.p, at);
        assert(splitter_feed(&s, (struct str){copy, at}, false, &err) == 0);
        free(copy);
    }
    assert(splitter_feed(&s, text, true, &err) == 0 && s.n == n);
    for (size_t i = 0; i < n; i++) {
        assert(s.items[i].offset == list[i].offset && str_eq(s.items[i].text, list[i].text));
        assert(s.items[i].kind == list[i].kind);
    }
}

/* Plain neighbours in one. */
static void check_joined(struct arena *a, struct str text, bool std_strings, const struct statement *list,
                         size_t n)
{
    struct splitter s;
    struct err err;
    splitter_init(&s, a, std_strings, true);
    assert(splitter_feed(&s, text, true, &err) == 0);
    size_t i = 0;
    for (size_t k = 0; k < s.n; i += s.items[k++].count) {
        const struct statement *first = &list[i], *last = &list[i + s.items[k].count - 1];
        assert(s.items[k].offset == first->offset && s.items[k].kind == first->kind);
        assert(s.items[k].offset + s.items[k].text.n == last->offset + last->text.n);
        assert(s.items[k].count == 1 || first->kind == STATEMENT_PLAIN);
    }
    assert(i == n);
}

/* --- the server's scanner --- */

static bool is_structure(PgQuery__Token t)
{
    return t == PG_QUERY__TOKEN__ASCII_59 || t == PG_QUERY__TOKEN__ASCII_40 || t == PG_QUERY__TOKEN__ASCII_41;
}

static struct token next_structure(struct lex *l)
{
    for (;;) {
        struct token t = lex_next(l);
        if (t.kind == TOKEN_END || token_is_punct(&t, ';') || token_is_punct(&t, '(') ||
            token_is_punct(&t, ')')) {
            return t;
        }
    }
}

/* A quote or comment taken for something else shows in the places of ';' and parentheses. */
static void check_tokens(struct str text, const PgQuery__ScanResult *scan)
{
    struct lex l = lex_init(text, true);
    for (size_t i = 0; i < scan->n_tokens; i++) {
        if (is_structure(scan->tokens[i]->token)) {
            struct token t = next_structure(&l);
            assert(t.kind == TOKEN_PUNCT && t.offset == (size_t)scan->tokens[i]->start);
            assert(t.text.p[0] == (char)scan->tokens[i]->token);
        }
    }
    assert(next_structure(&l).kind == TOKEN_END);
}

static void compare_with_scanner(struct str text, const char *sql)
{
    PgQueryScanResult r = pg_query_scan(sql);
    if (!r.error) {
        PgQuery__ScanResult *scan =
            pg_query__scan_result__unpack(NULL, r.pbuf.len, (const uint8_t *)r.pbuf.data);
        assert(scan != NULL);
        check_tokens(text, scan);
        pg_query__scan_result__free_unpacked(scan, NULL);
    }
    pg_query_free_scan_result(r);
}

/* --- the server's grammar --- */

#define KIND(k) (1u << STATEMENT_##k)

static unsigned kind_of_transaction(const PgQuery__TransactionStmt *st)
{
    switch ((int)st->kind) {
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START:
        return KIND(BEGIN);
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT:
        return KIND(COMMIT);
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK:
        return KIND(ROLLBACK);
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_PREPARE:
        return KIND(PREPARE_TRANSACTION);
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT_PREPARED:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_PREPARED:
        return KIND(ALONE);
    default:
        return KIND(SAVEPOINT);
    }
}

static bool detaches_concurrently(const PgQuery__AlterTableStmt *st)
{
    const PgQuery__Node *def = st->n_cmds == 1 ? st->cmds[0]->alter_table_cmd->def : NULL;
    return def && def->node_case == PG_QUERY__NODE__NODE_PARTITION_CMD && def->partition_cmd->concurrent;
}

enum { OFF = 1, ON = 2 };

/* defGetBoolean(); a value that it refuses may be taken for anything. */
static unsigned switched(const PgQuery__Node *value)
{
    if (!value) {
        return ON;
    }
    if (value->node_case == PG_QUERY__NODE__NODE_STRING) {
        struct str text = str_c(value->string->sval);
        if (str_eq_nocase(text, STR("off")) || str_eq_nocase(text, STR("false"))) {
            return OFF;
        }
        return str_eq_nocase(text, STR("on")) || str_eq_nocase(text, STR("true")) ? ON : ON | OFF;
    }
    return ON | OFF;
}

/* The last of several options counts. */
static unsigned kind_of_reindex(const PgQuery__ReindexStmt *st)
{
    unsigned concurrently = OFF, kinds = 0;
    for (size_t i = 0; i < st->n_params; i++) {
        const PgQuery__DefElem *option = st->params[i]->def_elem;
        if (strcmp(option->defname, "concurrently") == 0) {
            concurrently = switched(option->arg);
        }
    }
    bool alone = st->kind >= PG_QUERY__REINDEX_OBJECT_TYPE__REINDEX_OBJECT_SCHEMA;
    kinds |= concurrently & ON ? KIND(DDL_INDEX_CONCURRENTLY) : 0;
    kinds |= !(concurrently & OFF) ? 0 : alone ? KIND(ALONE) : KIND(PLAIN);
    return kinds;
}

static unsigned kind_of_object(PgQuery__ObjectType type)
{
    switch ((int)type) {
    case PG_QUERY__OBJECT_TYPE__OBJECT_DATABASE:
        return KIND(PLAIN);
    case PG_QUERY__OBJECT_TYPE__OBJECT_SUBSCRIPTION:
        return KIND(ALONE);
    default:
        return KIND(DDL);
    }
}

/* The kinds that a statement may be given. What is not named here is DDL. */
static unsigned kinds_of(const PgQuery__Node *node)
{
    switch ((int)node->node_case) {
    case PG_QUERY__NODE__NODE_INSERT_STMT:
    case PG_QUERY__NODE__NODE_DELETE_STMT:
    case PG_QUERY__NODE__NODE_UPDATE_STMT:
    case PG_QUERY__NODE__NODE_MERGE_STMT:
    case PG_QUERY__NODE__NODE_SELECT_STMT:
    case PG_QUERY__NODE__NODE_COPY_STMT:
    case PG_QUERY__NODE__NODE_EXPLAIN_STMT:
    case PG_QUERY__NODE__NODE_TRUNCATE_STMT:
    case PG_QUERY__NODE__NODE_DECLARE_CURSOR_STMT:
    case PG_QUERY__NODE__NODE_FETCH_STMT:
    case PG_QUERY__NODE__NODE_CLOSE_PORTAL_STMT:
    case PG_QUERY__NODE__NODE_PREPARE_STMT:
    case PG_QUERY__NODE__NODE_EXECUTE_STMT:
    case PG_QUERY__NODE__NODE_DISCARD_STMT:
    case PG_QUERY__NODE__NODE_VARIABLE_SET_STMT:
    case PG_QUERY__NODE__NODE_VARIABLE_SHOW_STMT:
    case PG_QUERY__NODE__NODE_CONSTRAINTS_SET_STMT:
    case PG_QUERY__NODE__NODE_NOTIFY_STMT:
    case PG_QUERY__NODE__NODE_LISTEN_STMT:
    case PG_QUERY__NODE__NODE_UNLISTEN_STMT:
    case PG_QUERY__NODE__NODE_LOCK_STMT:
    case PG_QUERY__NODE__NODE_LOAD_STMT:
    case PG_QUERY__NODE__NODE_VACUUM_STMT:
    case PG_QUERY__NODE__NODE_CHECK_POINT_STMT:
    case PG_QUERY__NODE__NODE_REFRESH_MAT_VIEW_STMT:
    case PG_QUERY__NODE__NODE_GRANT_STMT:
    case PG_QUERY__NODE__NODE_GRANT_ROLE_STMT:
        return KIND(PLAIN);
    case PG_QUERY__NODE__NODE_TRANSACTION_STMT:
        return kind_of_transaction(node->transaction_stmt);
    case PG_QUERY__NODE__NODE_DEALLOCATE_STMT: /* no name: ALL */
        return *node->deallocate_stmt->name ? KIND(DEALLOCATE) : KIND(PLAIN);
    case PG_QUERY__NODE__NODE_DO_STMT:
        return KIND(DO);
    case PG_QUERY__NODE__NODE_CALL_STMT:
        return KIND(CALL) | KIND(ELECTRIFY);
    case PG_QUERY__NODE__NODE_INDEX_STMT:
        return node->index_stmt->concurrent ? KIND(DDL_INDEX_CONCURRENTLY) : KIND(DDL);
    case PG_QUERY__NODE__NODE_DROP_STMT:
        return node->drop_stmt->concurrent ? KIND(DDL_INDEX_CONCURRENTLY) : KIND(DDL);
    case PG_QUERY__NODE__NODE_REINDEX_STMT:
        return kind_of_reindex(node->reindex_stmt);
    case PG_QUERY__NODE__NODE_CLUSTER_STMT:
        return node->cluster_stmt->relation ? KIND(PLAIN) : KIND(ALONE);
    case PG_QUERY__NODE__NODE_ALTER_TABLE_STMT:
        return detaches_concurrently(node->alter_table_stmt) ? KIND(ALONE) : KIND(DDL);
    case PG_QUERY__NODE__NODE_RENAME_STMT:
        return kind_of_object(node->rename_stmt->rename_type);
    case PG_QUERY__NODE__NODE_ALTER_OWNER_STMT:
        return kind_of_object(node->alter_owner_stmt->object_type);
    case PG_QUERY__NODE__NODE_ALTER_DATABASE_STMT:
    case PG_QUERY__NODE__NODE_ALTER_DATABASE_SET_STMT:
    case PG_QUERY__NODE__NODE_ALTER_DATABASE_REFRESH_COLL_STMT:
        return KIND(PLAIN) | KIND(ALONE);
    case PG_QUERY__NODE__NODE_CREATEDB_STMT:
    case PG_QUERY__NODE__NODE_DROPDB_STMT:
    case PG_QUERY__NODE__NODE_CREATE_TABLE_SPACE_STMT:
    case PG_QUERY__NODE__NODE_DROP_TABLE_SPACE_STMT:
    case PG_QUERY__NODE__NODE_ALTER_SYSTEM_STMT:
    case PG_QUERY__NODE__NODE_CREATE_SUBSCRIPTION_STMT:
    case PG_QUERY__NODE__NODE_ALTER_SUBSCRIPTION_STMT:
    case PG_QUERY__NODE__NODE_DROP_SUBSCRIPTION_STMT:
        return KIND(ALONE);
    default:
        return KIND(DDL);
    }
}

/* The tree's slice has white space at both ends; a length of zero is the rest of the text. */
static void check_cut(struct str text, const struct statement *s, const PgQuery__RawStmt *raw)
{
    size_t from = (size_t)raw->stmt_location;
    size_t n = raw->stmt_len ? (size_t)raw->stmt_len : text.n - from;
    assert(from + n <= text.n);
    assert(str_eq(str_trim((struct str){text.p + from, n}), s->text));
}

static void check_statements(struct str text, const PgQuery__ParseResult *tree, const struct statement *list,
                             size_t n)
{
    assert(tree->n_stmts == n);
    for (size_t i = 0; i < n; i++) {
        const PgQuery__Node *node = tree->stmts[i]->stmt;
        check_cut(text, &list[i], tree->stmts[i]);
        assert(kinds_of(node) & 1u << list[i].kind);
        if (list[i].kind == STATEMENT_COMMIT || list[i].kind == STATEMENT_ROLLBACK) {
            assert(list[i].chain == node->transaction_stmt->chain);
        }
    }
}

static void compare_with_grammar(struct str text, const char *sql, const struct statement *list, size_t n)
{
    PgQueryProtobufParseResult r = pg_query_parse_protobuf(sql);
    if (!r.error) {
        PgQuery__ParseResult *tree =
            pg_query__parse_result__unpack(NULL, r.parse_tree.len, (const uint8_t *)r.parse_tree.data);
        assert(tree != NULL);
        check_statements(text, tree, list, n);
        pg_query__parse_result__free_unpacked(tree, NULL);
    }
    pg_query_free_protobuf_parse_result(r);
}

/* A line comment between the pieces of a string: the server skips it, libpg_query ends the string there. */
static bool continues_behind_comment(struct str text)
{
    struct lex l = lex_init(text, true);
    for (struct token t = lex_next(&l); t.kind != TOKEN_END; t = lex_next(&l)) {
        bool string = t.kind == TOKEN_STRING || t.kind == TOKEN_ESCAPE_STRING || t.kind == TOKEN_BIT_STRING ||
                      t.kind == TOKEN_UNICODE_STRING || t.kind == TOKEN_UNTERMINATED;
        if (string && memmem(t.text.p, t.text.n, "--", 2)) {
            return true;
        }
    }
    return false;
}

/* libpg_query knows only standard_conforming_strings on, takes a C string, and is older than PostgreSQL 16,
 * for which a vertical tab is white space; before, it was an error wherever it stood outside of quotes. */
static void compare(struct arena *a, struct str text, const struct statement *list, size_t n)
{
    if (memchr(text.p, '\0', text.n) || memchr(text.p, '\v', text.n) || continues_behind_comment(text)) {
        return;
    }
    const char *sql = arena_str(a, text).p;
    compare_with_scanner(text, sql);
    compare_with_grammar(text, sql, list, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }
    bool std_strings = data[0] & 1;
    struct str text = {(const char *)data + 1, size - 1};
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct statement *list;
    size_t n;
    struct err err = ERR_INIT;
    if (statement_split(&a, text, std_strings, &list, &n, &err) < 0) {
        return 0;
    }
    check_slices(text, list, n);
    check_filter(text, std_strings, list, n);
    if (size <= GRAMMAR_MAX) {
        check_arrival(&a, text, std_strings, text.n / EVERY_LENGTH + 1, list, n);
        check_joined(&a, text, std_strings, list, n);
    }
    if (std_strings && size <= GRAMMAR_MAX) {
        compare(&a, text, list, n);
    }
    for (size_t i = 0; i < n; i++) {
        struct intent *intents;
        size_t n_intents;
        if (list[i].kind == STATEMENT_DDL) {
            assert(intent_list(&a, list[i].text, &intents, &n_intents) == 0);
        }
    }
    return 0;
}
