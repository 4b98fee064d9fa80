/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The statements.
 *
 *   enable   = ALTER TABLE [IF EXISTS] [ONLY] table [*] ENABLE ELECTRIC | ELECTRIC ENABLE table
 *   disable  = the same with DISABLE
 *   assign   = ELECTRIC ASSIGN role_def TO column_ref [USING scope_path] [IF condition]
 *   unassign = ELECTRIC UNASSIGN role_def FROM column_ref
 *   grant    = ELECTRIC GRANT privileges ON [TABLE] table {, table} TO role_def {, role_def}
 *              [USING scope_path] [CHECK condition]
 *   revoke   = ELECTRIC REVOKE privileges ON [TABLE] table {, table} FROM role_def {, role_def}
 *   sqlite   = ELECTRIC SQLITE string
 *   privileges = privilege [( ident {, ident} )] {, privilege …}
 *   privilege  = SELECT | INSERT | UPDATE | DELETE | ALL [PRIVILEGES] | READ | WRITE
 *   column_ref = [schema.]table.column
 */
#include "ddlx/ddlx.h"

#include "ddlx/parse.h"
#include "sql/quote.h"

enum { SHOWN_NAME = 63 }; /* of a name in an error: PostgreSQL's longest */

typedef bool rest_fn(struct parser *p, struct ddlx *out);

/* Appends a zeroed element to an array in the arena; the capacity is the next power of two. */
static void *append(struct arena *a, void *items, size_t *n, size_t size)
{
    size_t count = *n;
    void *grown = items;
    if ((count & (count - 1)) == 0) {
        grown = arena_alloc_array(a, count ? 2 * count : 1, size);
        if (count) {
            memcpy(grown, items, count * size);
        }
    }
    *n = count + 1;
    return grown;
}

static bool table_into(struct parser *p, struct ddlx *out)
{
    out->tables = append(p->arena, out->tables, &out->n_tables, sizeof *out->tables);
    return parse_table(p, &out->tables[out->n_tables - 1]);
}

static bool role_into(struct parser *p, struct ddlx *out)
{
    out->roles = append(p->arena, out->roles, &out->n_roles, sizeof *out->roles);
    return parse_role(p, &out->roles[out->n_roles - 1]);
}

static bool column_ref(struct parser *p, struct ddlx *out)
{
    struct token at = p->tok;
    out->tables = append(p->arena, out->tables, &out->n_tables, sizeof *out->tables);
    if (!parse_path(p, "the column that holds the user's id", &out->tables[0], &out->column)) {
        return false;
    }
    if (out->tables[0].name.n == 0) {
        const char *detail = arena_printf(p->arena, "\"%.*s\" is not table.column", STR_ARG(out->column));
        return parse_refuse(p, &at, str_c(detail), "Write the user column with its table: table.column.");
    }
    return true;
}

static struct str schema_of(const struct ddlx_table *t)
{
    return t->schema.n ? t->schema : STR("public");
}

/* The table that holds a dynamic role must be the one that holds the user. */
static bool same_table(struct parser *p, const struct token *at, const struct ddlx *d)
{
    const struct ddlx_table *user = &d->tables[0], *role = &d->roles[0].table;
    const char *what = NULL;
    struct str got = role->name, want = user->name;
    if (role->name.n && !str_eq(got, want)) {
        what = "role_table_name must equal user_table_name";
    } else if (role->name.n && !str_eq(schema_of(role), schema_of(user))) {
        what = "role_schema_name must equal user_schema_name";
        got = schema_of(role);
        want = schema_of(user);
    }
    if (!what) {
        return true;
    }
    got = parse_shorten(got, SHOWN_NAME);
    want = parse_shorten(want, SHOWN_NAME);
    const char *detail = arena_printf(p->arena, "%s: got %.*s and %.*s", what, STR_ARG(got), STR_ARG(want));
    return parse_refuse(p, at, str_c(detail), "Take the role and the user from columns of the same table.");
}

static bool parse_enable(struct parser *p, struct ddlx *out)
{
    return table_into(p, out);
}

static bool parse_assign(struct parser *p, struct ddlx *out)
{
    struct token role = p->tok;
    if (!role_into(p, out) || !parse_expect(p, "to") || !column_ref(p, out)) {
        return false;
    }
    if (parse_accept(p, "using") && !parse_scope_path(p, &out->using_path)) {
        return false;
    }
    if (parse_accept(p, "if") && !parse_condition(p, &out->condition)) {
        return false;
    }
    return same_table(p, &role, out);
}

static bool parse_unassign(struct parser *p, struct ddlx *out)
{
    struct token role = p->tok;
    return role_into(p, out) && parse_expect(p, "from") && column_ref(p, out) && same_table(p, &role, out);
}

static const struct {
    const char *word;
    unsigned bits;
} privilege_words[] = {
    {"select", DDLX_SELECT},
    {"insert", DDLX_INSERT},
    {"update", DDLX_UPDATE},
    {"delete", DDLX_DELETE},
    {"all", DDLX_ALL},
    {"read", DDLX_SELECT},
    {"write", DDLX_INSERT | DDLX_UPDATE | DDLX_DELETE},
};

static bool columns(struct parser *p, struct ddlx_privilege *out)
{
    do {
        out->columns = append(p->arena, out->columns, &out->n_columns, sizeof *out->columns);
        if (!parse_ident(p, "the name of a column", &out->columns[out->n_columns - 1])) {
            return false;
        }
    } while (parse_accept_char(p, ','));
    return parse_expect_char(p, ')');
}

static bool privilege(struct parser *p, struct ddlx_privilege *out)
{
    bool all = token_is_word(&p->tok, "all");
    for (size_t i = 0; i < ARRAY_LEN(privilege_words) && out->bits == 0; i++) {
        if (parse_accept(p, privilege_words[i].word)) {
            out->bits = privilege_words[i].bits;
        }
    }
    if (out->bits == 0) {
        return parse_fail(p, "SELECT, INSERT, UPDATE, DELETE, ALL, READ or WRITE");
    }
    if (all) {
        parse_accept(p, "privileges");
    }
    return !parse_accept_char(p, '(') || columns(p, out);
}

static bool privileges(struct parser *p, struct ddlx *out)
{
    do {
        out->privileges = append(p->arena, out->privileges, &out->n_privileges, sizeof *out->privileges);
        if (!privilege(p, &out->privileges[out->n_privileges - 1])) {
            return false;
        }
    } while (parse_accept_char(p, ','));
    return true;
}

static bool granted_tables(struct parser *p, struct ddlx *out)
{
    parse_accept(p, "table");
    do {
        if (!table_into(p, out)) {
            return false;
        }
    } while (parse_accept_char(p, ','));
    return true;
}

/* A role whose name is in a column cannot be granted anything: there is no name. */
static bool granted_roles(struct parser *p, struct ddlx *out)
{
    do {
        struct token at = p->tok;
        if (!role_into(p, out)) {
            return false;
        }
        if (out->roles[out->n_roles - 1].name.n == 0) {
            return parse_refuse(p, &at, STR("missing role_name attribute"),
                                "Name the role as a string: 'role' or 'scope_table:role'.");
        }
    } while (parse_accept_char(p, ','));
    return true;
}

static bool parse_grant(struct parser *p, struct ddlx *out)
{
    if (!privileges(p, out) || !parse_expect(p, "on") || !granted_tables(p, out) || !parse_expect(p, "to") ||
        !granted_roles(p, out)) {
        return false;
    }
    if (parse_accept(p, "using") && !parse_scope_path(p, &out->using_path)) {
        return false;
    }
    return !parse_accept(p, "check") || parse_condition(p, &out->condition);
}

static bool parse_revoke(struct parser *p, struct ddlx *out)
{
    return privileges(p, out) && parse_expect(p, "on") && granted_tables(p, out) && parse_expect(p, "from") &&
           granted_roles(p, out);
}

static bool parse_sqlite(struct parser *p, struct ddlx *out)
{
    return parse_string(p, "a string that holds SQLite statements", &out->sqlite);
}

static const struct command {
    const char *word;
    const char *tag;
    const char *usage;
    rest_fn *rest;
} commands[] = {
    [DDLX_ENABLE] = {"enable", "ELECTRIC ENABLE", "ALTER TABLE items ENABLE ELECTRIC", parse_enable},
    [DDLX_DISABLE] = {"disable", "ELECTRIC DISABLE", "ALTER TABLE items DISABLE ELECTRIC", parse_enable},
    [DDLX_ASSIGN] = {"assign", "ELECTRIC ASSIGN", "ELECTRIC ASSIGN 'projects:owner' TO projects.owner_id",
                     parse_assign},
    [DDLX_UNASSIGN] = {"unassign", "ELECTRIC UNASSIGN",
                       "ELECTRIC UNASSIGN 'projects:owner' FROM projects.owner_id", parse_unassign},
    [DDLX_GRANT] = {"grant", "ELECTRIC GRANT", "ELECTRIC GRANT SELECT ON projects TO 'projects:owner'",
                    parse_grant},
    [DDLX_REVOKE] = {"revoke", "ELECTRIC REVOKE", "ELECTRIC REVOKE SELECT ON projects FROM 'projects:owner'",
                     parse_revoke},
    [DDLX_SQLITE] = {"sqlite", "ELECTRIC SQLITE", "ELECTRIC SQLITE 'CREATE VIEW …'", parse_sqlite},
};

/* ELECTRIC <command> … */
static bool electric(struct parser *p, struct ddlx *out)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (parse_accept(p, commands[i].word)) {
            out->kind = (enum ddlx_kind)i;
            p->usage = commands[i].usage;
            return commands[i].rest(p, out);
        }
    }
    return parse_fail(p, "ENABLE, DISABLE, ASSIGN, UNASSIGN, GRANT, REVOKE or SQLITE");
}

/* ONLY is a keyword when a name follows that is not the verb; the original knows no ONLY and takes it for a
 * name. */
static void accept_only(struct parser *p)
{
    struct token next = parse_peek(p);
    bool verb = token_is_word(&next, "enable") || token_is_word(&next, "disable");
    if (token_is_word(&p->tok, "only") && verb) {
        struct lex ahead = p->lex;
        lex_next(&ahead);
        struct token third = lex_next(&ahead);
        verb = token_is_word(&third, "electric");
    }
    if (token_is_name(&next) && !verb) {
        parse_accept(p, "only");
    }
}

static bool alter_table(struct parser *p, struct ddlx *out)
{
    p->usage = commands[DDLX_ENABLE].usage;
    if (!parse_expect(p, "table")) {
        return false;
    }
    struct token next = parse_peek(p);
    if (token_is_word(&p->tok, "if") && token_is_word(&next, "exists")) {
        parse_advance(p);
        parse_advance(p);
        out->if_exists = true;
    }
    accept_only(p);
    if (!table_into(p, out)) {
        return false;
    }
    parse_accept_char(p, '*');
    out->kind = token_is_word(&p->tok, "disable") ? DDLX_DISABLE : DDLX_ENABLE;
    if (!parse_accept(p, "enable") && !parse_accept(p, "disable")) {
        return parse_fail(p, "ENABLE ELECTRIC or DISABLE ELECTRIC alone, without other actions");
    }
    return parse_expect(p, "electric");
}

static bool statement(struct parser *p, struct ddlx *out)
{
    if (parse_accept(p, "electric")) {
        return electric(p, out);
    }
    return parse_accept(p, "alter") ? alter_table(p, out) : parse_fail(p, "ELECTRIC or ALTER TABLE");
}

int ddlx_parse(struct arena *a, struct str text, struct ddlx *out, struct ddlx_error *error)
{
    struct parser p;
    struct ddlx d = {0};
    struct ddlx_error e = {0};
    parse_init(&p, a, text, &e);
    bool ok = statement(&p, &d);
    if (ok && !parse_at_end(&p)) {
        ok = parse_fail(&p, "the end of the statement; other actions go into a statement of their own");
    }
    if (!ok) {
        *error = e;
        return -1;
    }
    d.tag = d.kind == DDLX_SQLITE ? "" : commands[d.kind].tag;
    *out = d;
    return 0;
}

static struct str qualified(struct arena *a, const struct ddlx_table *t)
{
    const char *name = sql_ident(a, t->name);
    return str_c(t->schema.n ? arena_printf(a, "%s.%s", sql_ident(a, t->schema), name) : name);
}

/* Like the server's own IF EXISTS: a notice in place of the error. */
static const char *plan_if_exists(struct arena *a, const struct ddlx_table *t, const char *call)
{
    const char *table = sql_literal(a, qualified(a, t));
    const char *body =
        arena_printf(a,
                     "BEGIN IF pg_catalog.to_regclass(%s) IS NULL THEN "
                     "RAISE NOTICE 'relation %% does not exist, skipping', %s; ELSE %s; END IF; END",
                     table, table, call);
    return arena_printf(a, "DO %s", sql_literal(a, str_c(body)));
}

static const char *plan_switch(struct arena *a, const struct ddlx *d)
{
    const char *call = arena_printf(a, "CALL busbar.%s_electric(%s)", commands[d->kind].word,
                                    sql_literal(a, qualified(a, &d->tables[0])));
    return d->if_exists ? plan_if_exists(a, &d->tables[0], call) : call;
}

static const char *plan_refusal(struct arena *a, const char *sqlstate, const char *message,
                                const char *detail, const char *hint)
{
    return arena_printf(a, "CALL busbar.refuse(%s, %s, %s, %s)", sql_literal(a, str_c(sqlstate)),
                        sql_literal(a, str_c(message)), sql_literal(a, str_c(detail)),
                        sql_literal(a, str_c(hint)));
}

const char *ddlx_plan(struct arena *a, const struct ddlx *d)
{
    if (d->kind == DDLX_ENABLE || d->kind == DDLX_DISABLE) {
        return plan_switch(a, d);
    }
    const char *message = arena_printf(a, "%s is currently unsupported", commands[d->kind].tag);
    return plan_refusal(
        a, "EX001", message,
        "We are working on implementing access controls -- when these features are completed then "
        "this command will work",
        "Take this statement out of the migration. Of the ELECTRIC statements only ENABLE and DISABLE are "
        "carried out, as in: ALTER TABLE items ENABLE ELECTRIC.");
}

const char *ddlx_plan_error(struct arena *a, const struct ddlx_error *error)
{
    return plan_refusal(a, "42601", error->message, error->detail, error->hint);
}

const char *ddlx_shadow_error(struct arena *a, const struct ddlx_error *error)
{
    const char *body = arena_printf(
        a, "BEGIN RAISE EXCEPTION USING ERRCODE = '42601', MESSAGE = %s, DETAIL = %s, HINT = %s; END",
        sql_literal(a, str_c(error->message)), sql_literal(a, str_c(error->detail)),
        sql_literal(a, str_c(error->hint)));
    return arena_printf(a, "DO %s", sql_literal(a, str_c(body)));
}
