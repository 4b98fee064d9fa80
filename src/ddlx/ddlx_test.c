/* SPDX-License-Identifier: Apache-2.0 */
#include "ddlx/ddlx.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

static struct arena arena = ARENA_INIT;

static int tear_down(void **state)
{
    arena_deinit(&arena);
    return 0;
}

static struct ddlx parse(const char *text)
{
    struct ddlx d;
    struct ddlx_error e;
    if (ddlx_parse(&arena, str_c(text), &d, &e) < 0) {
        fail_msg("%s: %s (%s)", text, e.detail, e.hint);
    }
    return d;
}

static struct ddlx_error refuse(const char *text)
{
    struct ddlx d;
    struct ddlx_error e;
    if (ddlx_parse(&arena, str_c(text), &d, &e) == 0) {
        fail_msg("accepted: %s", text);
    }
    assert_string_equal(e.message, "Invalid ELECTRIC statement");
    assert_true(e.hint[0] && e.detail[0] && e.position > 0);
    return e;
}

static const char *show_table(const struct ddlx_table *t)
{
    return arena_printf(&arena, "%.*s%s%.*s", STR_ARG(t->schema), t->schema.n ? "." : "", STR_ARG(t->name));
}

static const char *show_role(const struct ddlx_role *r)
{
    const char *scope = r->scope.name.n ? arena_printf(&arena, "(%s)", show_table(&r->scope)) : "";
    if (r->name.n) {
        return arena_printf(&arena, "%s'%.*s'", scope, STR_ARG(r->name));
    }
    return arena_printf(&arena, "%s%s.%.*s", scope, show_table(&r->table), STR_ARG(r->column));
}

static const char *show_privilege(const struct ddlx_privilege *p)
{
    const char *out =
        arena_printf(&arena, "%s%s%s%s", p->bits & DDLX_SELECT ? "s" : "", p->bits & DDLX_INSERT ? "i" : "",
                     p->bits & DDLX_UPDATE ? "u" : "", p->bits & DDLX_DELETE ? "d" : "");
    for (size_t i = 0; i < p->n_columns; i++) {
        out = arena_printf(&arena, "%s:%.*s", out, STR_ARG(p->columns[i]));
    }
    return out;
}

/* All that was understood, in one line: "tag privileges tables column roles /path [condition]". */
static const char *show(const struct ddlx *d)
{
    const char *out = d->tag;
    for (size_t i = 0; i < d->n_privileges; i++) {
        out = arena_printf(&arena, "%s %s", out, show_privilege(&d->privileges[i]));
    }
    for (size_t i = 0; i < d->n_tables; i++) {
        out = arena_printf(&arena, "%s %s", out, show_table(&d->tables[i]));
    }
    out = d->column.n ? arena_printf(&arena, "%s.%.*s", out, STR_ARG(d->column)) : out;
    for (size_t i = 0; i < d->n_roles; i++) {
        out = arena_printf(&arena, "%s %s", out, show_role(&d->roles[i]));
    }
    out = d->using_path.n ? arena_printf(&arena, "%s /%.*s", out, STR_ARG(d->using_path)) : out;
    out = d->condition.n ? arena_printf(&arena, "%s [%.*s]", out, STR_ARG(d->condition)) : out;
    out = d->sqlite.n ? arena_printf(&arena, "%s{%.*s}", out, STR_ARG(d->sqlite)) : out;
    return d->if_exists ? arena_printf(&arena, "%s ?", out) : out;
}

static void check(const char *text, const char *expected)
{
    struct ddlx d = parse(text);
    assert_string_equal(show(&d), expected);
}

static void check_refused(const char *text, const char *detail, const char *at)
{
    struct ddlx_error e = refuse(text);
    assert_string_equal(e.detail, detail);
    const char *word = text + e.position - 1;
    if (strncmp(word, at, strlen(at)) != 0) {
        fail_msg("%s: points at \"%s\", not at \"%s\"", text, word, at);
    }
}

/* The numbers are those of the examples in the language's description. */
static void parses_enable_and_disable(void **state)
{
    check("ALTER TABLE things ENABLE ELECTRIC;", "ELECTRIC ENABLE things");                       /* 1 */
    check("ALTER TABLE \"Private\".\"Items\" ENABLE ELECTRIC;", "ELECTRIC ENABLE Private.Items"); /* 2 */
    check("ALTER TABLE Private.Items ENABLE ELECTRIC;", "ELECTRIC ENABLE private.items");         /* 3 */
    check("ELECTRIC ENABLE things;", "ELECTRIC ENABLE things");                                   /* 4 */
    check("ELECTRIC DISABLE application.things;", "ELECTRIC DISABLE application.things");         /* 4 */
    check("alter table things disable electric", "ELECTRIC DISABLE things");                      /* 5 */
    check("-- a\n/* b */ ALTER TABLE t -- c\n ENABLE ElEcTrIc;", "ELECTRIC ENABLE t");            /* 33 */
    check("ALTER TABLE IF EXISTS ONLY t * ENABLE ELECTRIC", "ELECTRIC ENABLE t ?");
    check("ALTER TABLE only ENABLE ELECTRIC", "ELECTRIC ENABLE only");
    check("ALTER TABLE only.t ENABLE ELECTRIC", "ELECTRIC ENABLE only.t");
    check("ALTER TABLE read ENABLE ELECTRIC", "ELECTRIC ENABLE read");
    check("ALTER TABLE user ENABLE ELECTRIC", "ELECTRIC ENABLE user");
    check("ALTER TABLE \"select\" ENABLE ELECTRIC", "ELECTRIC ENABLE select");
    check("ALTER TABLE \"a\"\"b\" ENABLE ELECTRIC", "ELECTRIC ENABLE a\"b");
    check("ALTER TABLE t ENABLE ELECTRIC; nonsense", "ELECTRIC ENABLE t");
}

static void parses_assign(void **state)
{
    check("ELECTRIC ASSIGN 'admin' TO admin_users.user_id;",
          "ELECTRIC ASSIGN admin_users.user_id 'admin'"); /* 6 */
    check("ELECTRIC ASSIGN 'admin' TO application.admin_users.user_id;",
          "ELECTRIC ASSIGN application.admin_users.user_id 'admin'"); /* 7 */
    check("ELECTRIC ASSIGN user_roles.role_name TO user_roles.user_id;",
          "ELECTRIC ASSIGN user_roles.user_id user_roles.role_name"); /* 8 */
    check("ELECTRIC ASSIGN (NuLl, application.user_roles.role_name) TO application.user_roles.user_id;",
          "ELECTRIC ASSIGN application.user_roles.user_id application.user_roles.role_name"); /* 9 */
    check("ELECTRIC ASSIGN (projects, project_members.role) TO project_members.user_id;",
          "ELECTRIC ASSIGN project_members.user_id (projects)project_members.role"); /* 10 */
    check("ELECTRIC ASSIGN (auth.projects, application.project_members.role) TO "
          "application.project_members.user_id;",
          "ELECTRIC ASSIGN application.project_members.user_id "
          "(auth.projects)application.project_members.role"); /* 11 */
    check("ELECTRIC ASSIGN 'deliveries:driver' TO deliveries.driver_id;",
          "ELECTRIC ASSIGN deliveries.driver_id (deliveries)'driver'"); /* 12 */
    check("ELECTRIC ASSIGN 'other.deliveries:driver' TO other.deliveries.driver_id;",
          "ELECTRIC ASSIGN other.deliveries.driver_id (other.deliveries)'driver'"); /* 13 */
    check("ELECTRIC ASSIGN aaa:'gzp' TO \"pTw\".\"cjd\".twi",
          "ELECTRIC ASSIGN pTw.cjd.twi (aaa)'gzp'"); /* 14 */
    check("ELECTRIC ASSIGN 'record.reader' TO user_permissions.user_id IF ( can_read_records() )",
          "ELECTRIC ASSIGN user_permissions.user_id 'record.reader' [can_read_records()]"); /* 18 */
    check("ELECTRIC UNASSIGN 'record.reader' FROM user_permissions.user_id;",
          "ELECTRIC UNASSIGN user_permissions.user_id 'record.reader'"); /* 19 */
    check("ELECTRIC ASSIGN 'record.reader' TO record_permissions.user_id IF ( role = 'reader' );",
          "ELECTRIC ASSIGN record_permissions.user_id 'record.reader' [role = 'reader']"); /* 32 */
    check("ELECTRIC ASSIGN NULL:'admin' TO a.b", "ELECTRIC ASSIGN a.b 'admin'");
    check("ELECTRIC ASSIGN s.t:'x:y' TO a.b", "ELECTRIC ASSIGN a.b (s.t)'x:y'");
    check("ELECTRIC ASSIGN '\"P\".Q:house.Admin:x' TO a.b", "ELECTRIC ASSIGN a.b (P.q)'house.Admin:x'");
    check("ELECTRIC ASSIGN public.a.r TO a.b", "ELECTRIC ASSIGN a.b public.a.r");
    check("ELECTRIC ASSIGN 'p:o' TO a.b USING x/y IF (f(')'))", "ELECTRIC ASSIGN a.b (p)'o' /x/y [f(')')]");
    check("ELECTRIC ASSIGN ANYONE TO a.b", "ELECTRIC ASSIGN a.b 'ANYONE'");
}

static void refuses_roles_without_a_name(void **state)
{
    check_refused("ELECTRIC ASSIGN deliveries:driver TO deliveries.driver_id;",
                  "invalid role assignment \"driver\"", "driver TO"); /* 15 */
    check_refused("ELECTRIC ASSIGN (NULL, admin) TO admin_users.user_id;",
                  "invalid role assignment \"admin\"", "admin)"); /* 16 */
    check_refused("electric assign 'projects:' to users.user_id", "invalid role assignment \"projects:\"",
                  "'projects:'"); /* 17 */
    check_refused("electric assign '' to users.user_id", "invalid role assignment \"\"", "''");
    check_refused("electric assign ':' to users.user_id", "invalid role assignment \":\"", "':'");
    check_refused("electric assign ':admin' to users.user_id", "invalid role assignment \":admin\"",
                  "':admin'");
    check_refused("electric assign 'a b:admin' to users.user_id", "invalid role assignment \"a b:admin\"",
                  "'a b");
    check_refused("electric assign abusers.role to users.user_id",
                  "role_table_name must equal user_table_name: got abusers and users", "abusers");
    check_refused("electric assign x.users.role to users.user_id",
                  "role_schema_name must equal user_schema_name: got x and public", "x.users");
    check_refused("ELECTRIC GRANT SELECT ON t TO a.b", "missing role_name attribute", "a.b");
    check_refused("ELECTRIC GRANT SELECT ON t TO admin", "invalid role assignment \"admin\"", "admin");
    check_refused("ELECTRIC ASSIGN 'a' TO b", "\"b\" is not table.column", "b");
}

static void parses_grant_and_revoke(void **state)
{
    check("ELECTRIC GRANT UPDATE (status, name) ON thing.\"Köln_en$ts\" TO 'projects:house.admin' USING "
          "issue_id;",
          "ELECTRIC GRANT u:status:name thing.Köln_en$ts (projects)'house.admin' /issue_id"); /* 20 */
    check("ELECTRIC GRANT UPDATE ON thing.Köln_en$ts TO 'projects:house.admin' USING project_id CHECK (name "
          "= 'Paul');",
          "ELECTRIC GRANT u thing.köln_en$ts (projects)'house.admin' /project_id [name = 'Paul']"); /* 21 */
    check("ELECTRIC GRANT ALL ON thing.Köln_en$ts TO 'house.admin';",
          "ELECTRIC GRANT siud thing.köln_en$ts 'house.admin'"); /* 22 */
    check("-- revoke\nELECTRIC REVOKE ALL (status, name) ON truths FROM 'projects:house.admin';",
          "ELECTRIC REVOKE siud:status:name truths (projects)'house.admin'"); /* 23 */
    check("ELECTRIC REVOKE UPDATE (status, name) ON t FROM 'thing.projects:house.admin';",
          "ELECTRIC REVOKE u:status:name t (thing.projects)'house.admin'");                      /* 25 */
    check("ELECTRIC GRANT SELECT ON projects TO ANYONE;", "ELECTRIC GRANT s projects 'ANYONE'"); /* 28 */
    check("ELECTRIC GRANT READ ON comments TO 'projects:member' USING issue_id/project_id;",
          "ELECTRIC GRANT s comments (projects)'member' /issue_id/project_id"); /* 29 */
    check("ELECTRIC GRANT INSERT ON project_members TO 'projects:member' CHECK (new.role_name = 'member' OR "
          "new.role_name = 'guest');",
          "ELECTRIC GRANT i project_members (projects)'member' [new.role_name = 'member' OR new.role_name = "
          "'guest']"); /* 30 */
    check("ELECTRIC GRANT INSERT ON projects TO 'AUTHENTICATED' CHECK (new.owner_id = auth.user_id);",
          "ELECTRIC GRANT i projects 'AUTHENTICATED' [new.owner_id = auth.user_id]"); /* 31 */
    check("ELECTRIC GRANT WRITE ON t TO (p, 'x') USING", "ELECTRIC GRANT iud t (p)'x'");
    check("ELECTRIC GRANT DELETE ON t TO 'x' USING a/b/ CHECK (((a)))",
          "ELECTRIC GRANT d t 'x' /a/b [((a))]");
    check("ELECTRIC GRANT SELECT (a), INSERT (b, c) ON TABLE t, s.u TO 'x', authenticated",
          "ELECTRIC GRANT s:a i:b:c t s.u 'x' 'AUTHENTICATED'");
    check("ELECTRIC GRANT ALL PRIVILEGES ON t TO 'x'", "ELECTRIC GRANT siud t 'x'");
}

static void parses_sqlite(void **state)
{
    check("ELECTRIC SQLITE '-- a comment;';", "{-- a comment;}"); /* 27 */
    check("ELECTRIC SQLITE $sqlite$-- c\nselect 'this';$sqlite$;", "{-- c\nselect 'this';}");
}

static void keeps_conditions_as_written(void **state)
{
    static const char *const good[] = {
        "a",
        "'x'",
        "f()",
        "f(a, g(1.5), 'x')",
        "(((a)))",
        "new.role = 'x' OR new.role <> 'y'",
        "auth.user_id IS NOT NULL AND NOT done",
        "a IS NULL",
        "a + 1 >= -.5 * (b - 2) / c",
        "a != b",
        "a NOT b",
        "a IS b",
        "x IN ('a', 'b') AND y NOT IN (1)",
        "x LIKE 'a%'",
        "a BETWEEN 1 AND 2",
        "a::text = b::varchar(5)",
        "a[1] = $1",
        "(j ->> 'k')::int4 = 3",
        "CASE WHEN a THEN b ELSE c END = d",
        "CASE a WHEN 1 THEN b END",
        "EXISTS (SELECT 1 FROM t WHERE (a))",
        "id = (SELECT max(id) FROM t)",
        "\"Is\" = E'\\'' /* ) */ AND a -- )\n AND b",
        "update = read",
        "a IS NOT DISTINCT FROM b",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        check(arena_printf(&arena, "ELECTRIC GRANT SELECT ON t TO 'x' CHECK ( %s )", good[i]),
              arena_printf(&arena, "ELECTRIC GRANT s t 'x' [%s]", good[i]));
        check(arena_printf(&arena, "ELECTRIC ASSIGN 'x' TO t.u IF (%s);", good[i]),
              arena_printf(&arena, "ELECTRIC ASSIGN t.u 'x' [%s]", good[i]));
    }
}

/* {condition, the word that is wrong} */
static void refuses_what_is_no_condition(void **state)
{
    static const char *const bad[][2] = {
        {"a = )", ")"},
        {"= a)", "= a"},
        {"a b)", "b"},
        {"a AND)", ")"},
        {"f(,))", ","},
        {"f(a b))", "b"},
        {"a; b)", "; b"},
        {"a, b)", ", b"},
        {"a = AND b)", "AND"},
        {"(a)", ""},
        {"a) b", "b"},
        {"a.)", ")"},
        {"CASE a THEN b END)", "THEN"},
        {"CASE WHEN a END)", "END"},
        {"a[1)", ")"},
        {"a::)", ")"},
        {"x IN ()", ")"},
        {"(SELECT 1", ""},
        {"a 'b)", "'b)"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        const char *text = arena_printf(&arena, "ELECTRIC GRANT SELECT ON t TO 'x' CHECK (%s", bad[i][0]);
        struct ddlx_error e = refuse(text);
        const char *word = text + e.position - 1;
        if (strncmp(word, bad[i][1], strlen(bad[i][1])) != 0 || (!*bad[i][1] && *word)) {
            fail_msg("%s: points at \"%s\"", text, word);
        }
    }
    char deep[1024] = "ELECTRIC GRANT SELECT ON t TO 'x' CHECK (";
    memset(deep + strlen(deep), '(', 600);
    assert_non_null(strstr(refuse(deep).hint, "less nesting"));
}

static void refuses_syntax_errors(void **state)
{
    check_refused("ELECTRIC REVOKE UPDATE ON 'thing.x' FROM 'projects:house.admin';",
                  "syntax error before: <<\"'thing.x'\">>", "'thing.x'");                            /* 24 */
    check_refused("ELECTRIC GRANT JUNK ON t TO 'a:b'", "syntax error before: <<\"JUNK\">>", "JUNK"); /* 26 */
    check_refused("ELECTRIC NONSENSE;", "syntax error before: <<\"NONSENSE\">>", "NONSENSE");
    check_refused("ALTER TABLE items ENABLE ELECTRICITY;", "syntax error before: <<\"ELECTRICITY\">>",
                  "ELECTRICITY");
    check_refused("ALTER TABLE items ENABLE ELECTRIC PLEASE;", "syntax error before: <<\"PLEASE\">>",
                  "PLEASE");
    check_refused("ELECTRIC GRANT UPDATE (name) ON items TO 'admin' WHERE (a)",
                  "syntax error before: <<\"WHERE\">>", "WHERE");
    check_refused("ALTER TABLE t ENABLE ELECTRIC, ADD a int", "syntax error before: <<\",\">>", ",");
    check_refused("ALTER TABLE t ADD a int, ENABLE ELECTRIC", "syntax error before: <<\"ADD\">>", "ADD");
    check_refused("ALTER TABLE select ENABLE ELECTRIC", "syntax error before: <<\"select\">>", "select");
    check_refused("ELECTRIC GRANT SELECT () ON t TO 'a'", "syntax error before: <<\")\">>", ")");
    check_refused("ELECTRIC GRANT SELECT ON t TO 'a' CHECK ()", "syntax error before: <<\")\">>", ")");
    check_refused("ELECTRIC GRANT SELECT ON t TO 'a' CHECK (a", "syntax error at the end of the statement",
                  "");
    check_refused("ELECTRIC GRANT SELECT ON t TO 'a' CHECK (a 'b", "syntax error before: <<\"'b\">>", "'b");
    check_refused("ELECTRIC ENABLE \"\"", "syntax error before: <<\"\"\"\">>", "\"\"");
    check_refused("ELECTRIC ENABLE a.b.c", "syntax error before: <<\".\">>", ".c");
    check_refused("ELECTRIC ENABLE", "syntax error at the end of the statement", "");
    check_refused("ELECTRIC", "syntax error at the end of the statement", "");
    check_refused("", "syntax error at the end of the statement", "");
    check_refused("ELECTRIC SQLITE 12", "syntax error before: <<\"12\">>", "12");
}

/* Each error says what would be right there. */
static void hints(void **state)
{
    assert_string_equal(
        refuse("ELECTRIC GRANT JUNK ON t TO 'a'").hint,
        "Expected SELECT, INSERT, UPDATE, DELETE, ALL, READ or WRITE, as in: ELECTRIC GRANT SELECT "
        "ON projects TO 'projects:owner'.");
    assert_string_equal(refuse("ELECTRIC GRANT ALL t TO 'a'").hint,
                        "Expected ON, as in: ELECTRIC GRANT SELECT ON projects TO 'projects:owner'.");
    assert_string_equal(refuse("ELECTRIC HELP").hint,
                        "Expected ENABLE, DISABLE, ASSIGN, UNASSIGN, GRANT, REVOKE or SQLITE.");
}

static void counts_characters(void **state)
{
    assert_int_equal(refuse("-- ä\nELECTRIC ENABLE ö ü").position, 24);
}

static void shortens_long_tokens(void **state)
{
    char text[4096] = "ELECTRIC ";
    size_t n = strlen(text);
    while (n < sizeof text - 3) {
        memcpy(text + n, "ä", 3);
        n += 2;
    }
    struct ddlx_error e = refuse(text);
    assert_int_equal(strlen(e.detail), strlen("syntax error before: <<\"\">>") + 100);
}

static void plans_enable_and_disable(void **state)
{
    struct ddlx d = parse("ALTER TABLE Items ENABLE ELECTRIC");
    assert_string_equal(ddlx_plan(&arena, &d), "CALL busbar.enable_electric('\"items\"')");
    d = parse("ELECTRIC ENABLE \"S'\\\".\"a\"\"b\"");
    assert_string_equal(ddlx_plan(&arena, &d), "CALL busbar.enable_electric(E'\"S''\\\\\".\"a\"\"b\"')");
    d = parse("ELECTRIC DISABLE s.items");
    assert_string_equal(ddlx_plan(&arena, &d), "CALL busbar.disable_electric('\"s\".\"items\"')");
    d = parse("ALTER TABLE IF EXISTS t ENABLE ELECTRIC");
    assert_string_equal(
        ddlx_plan(&arena, &d),
        "DO 'BEGIN IF pg_catalog.to_regclass(''\"t\"'') IS NULL THEN RAISE NOTICE ''relation % does "
        "not exist, skipping'', ''\"t\"''; ELSE CALL busbar.enable_electric(''\"t\"''); END IF; END'");
}

static void plans_refusals(void **state)
{
    static const struct {
        const char *text;
        const char *start;
    } rows[] = {
        {"ELECTRIC GRANT ALL ON t TO 'a'",
         "CALL busbar.refuse('EX001', 'ELECTRIC GRANT is currently unsupported', "},
        {"ELECTRIC REVOKE ALL ON t FROM 'a'",
         "CALL busbar.refuse('EX001', 'ELECTRIC REVOKE is currently unsupported'"},
        {"ELECTRIC ASSIGN 'a' TO b.c",
         "CALL busbar.refuse('EX001', 'ELECTRIC ASSIGN is currently unsupported', "},
        {"ELECTRIC UNASSIGN 'a' FROM b.c",
         "CALL busbar.refuse('EX001', 'ELECTRIC UNASSIGN is currently unsupported'"},
        {"ELECTRIC SQLITE ''", "CALL busbar.refuse('EX001', 'ELECTRIC SQLITE is currently unsupported', "},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct ddlx d = parse(rows[i].text);
        const char *plan = ddlx_plan(&arena, &d);
        assert_memory_equal(plan, rows[i].start, strlen(rows[i].start));
    }
}

static void plans_errors(void **state)
{
    struct ddlx_error e = refuse("ELECTRIC ENABLE 'x\\'");
    assert_string_equal(ddlx_plan_error(&arena, &e),
                        "CALL busbar.refuse('42601', 'Invalid ELECTRIC statement', E'syntax error before: "
                        "<<\"''x\\\\''\">>', 'Expected the name of a table, as in: ALTER TABLE items ENABLE "
                        "ELECTRIC.')");
}

static const char *const bits[] = {
    "ELECTRIC", "ALTER",  "TABLE", "ENABLE", "DISABLE", "GRANT", "REVOKE", "ASSIGN", "UNASSIGN",
    "SQLITE",   "SELECT", "ALL",   "ON",     "TO",      "FROM",  "USING",  "CHECK",  "IF",
    "EXISTS",   "NULL",   "t",     "a.b",    "s.t.c",   "'a:b'", "'a'",    "''",     "':'",
    "(",        ")",      ",",     ":",      "/",       ".",     "\"x\"",  "\"\"",   "$$",
    "ANYONE",   ";",      "--",    "/*",     "*",       "ONLY",  "ä",      "\\",
};

static void survives_any_text(void **state)
{
    unsigned seed = 5;
    int accepted = 0;
    for (int i = 0; i < 50000; i++) {
        char text[512] = "";
        size_t n = 0;
        static const char *const heads[] = {"ELECTRIC GRANT ALL ON t TO ", "ELECTRIC ASSIGN ", "ALTER TABLE ",
                                            ""};
        n += (size_t)snprintf(text, sizeof text, "%s", heads[rand_r(&seed) % 4]);
        for (int k = rand_r(&seed) % 8; k >= 0; k--) {
            const char *bit = bits[(size_t)rand_r(&seed) % ARRAY_LEN(bits)];
            n += (size_t)snprintf(text + n, sizeof text - n, "%s%s", bit, rand_r(&seed) % 4 ? " " : "");
        }
        struct ddlx d;
        struct ddlx_error e;
        if (ddlx_parse(&arena, (struct str){text, n}, &d, &e) == 0) {
            accepted++;
            assert_non_null(ddlx_plan(&arena, &d));
        } else {
            assert_true(e.position >= 1 && e.position <= n + 1);
            assert_non_null(ddlx_plan_error(&arena, &e));
        }
        arena_reset(&arena);
    }
    assert_true(accepted > 100);
}

static void takes_linear_time(void **state)
{
    static const char *const heads[] = {"ELECTRIC ENABLE ",        "ELECTRIC GRANT ALL ON t TO 'a' CHECK (",
                                        "ELECTRIC GRANT SELECT (", "ELECTRIC GRANT ",
                                        "ELECTRIC ASSIGN ",        "ELECTRIC GRANT ALL ON t TO 'a' USING "};
    static const char *const units[] = {"(", "/*", "a,", "a", "\"\"", "'", "a/", "SELECT,", "a.", "'a:b',"};
    enum { SIZE = 1 << 18 };
    char *text = mem_alloc(SIZE);
    for (size_t i = 0; i < ARRAY_LEN(heads) * ARRAY_LEN(units); i++) {
        const char *head = heads[i / ARRAY_LEN(units)], *unit = units[i % ARRAY_LEN(units)];
        size_t h = strlen(head), u = strlen(unit);
        memcpy(text, head, h);
        for (size_t k = h; k < SIZE; k++) {
            text[k] = unit[(k - h) % u];
        }
        struct ddlx d;
        struct ddlx_error e;
        clock_t from = clock();
        ignore_result(ddlx_parse(&arena, (struct str){text, SIZE}, &d, &e)); /* either way: in time */
        assert_true((double)(clock() - from) / CLOCKS_PER_SEC < 3);
        arena_reset(&arena);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(parses_enable_and_disable, tear_down),
        cmocka_unit_test_teardown(parses_assign, tear_down),
        cmocka_unit_test_teardown(refuses_roles_without_a_name, tear_down),
        cmocka_unit_test_teardown(parses_grant_and_revoke, tear_down),
        cmocka_unit_test_teardown(parses_sqlite, tear_down),
        cmocka_unit_test_teardown(keeps_conditions_as_written, tear_down),
        cmocka_unit_test_teardown(refuses_what_is_no_condition, tear_down),
        cmocka_unit_test_teardown(refuses_syntax_errors, tear_down),
        cmocka_unit_test_teardown(hints, tear_down),
        cmocka_unit_test_teardown(counts_characters, tear_down),
        cmocka_unit_test_teardown(shortens_long_tokens, tear_down),
        cmocka_unit_test_teardown(plans_enable_and_disable, tear_down),
        cmocka_unit_test_teardown(plans_refusals, tear_down),
        cmocka_unit_test_teardown(plans_errors, tear_down),
        cmocka_unit_test_teardown(survives_any_text, tear_down),
        cmocka_unit_test_teardown(takes_linear_time, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
