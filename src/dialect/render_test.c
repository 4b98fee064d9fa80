/* SPDX-License-Identifier: Apache-2.0 */
/* Ops in, client statements out, to the letter. */
#include "dialect/render.h"

#include "dialect/types.h"
#include "schema/fixture.h"
#include "schema/ops.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

struct fixture {
    struct arena a;
    struct schema schema;
    struct notes notes;
};

static int set_up(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    schema_deinit(&f->schema);
    arena_deinit(&f->a);
    return 0;
}

/* Applies one op and gives its statement, "" when there is none. */
static const char *apply(struct fixture *f, enum dialect d, const char *json)
{
    struct err err = ERR_INIT;
    struct op *ops;
    size_t n;
    if (ops_parse(&f->a, fx_command(&f->a, json, NULL), &ops, &n, &err) ||
        schema_apply(&f->schema, ops, &err) != SCHEMA_CHANGED) {
        fail_msg("%s", err.msg);
    }
    struct client_statement s = {0};
    int rc = render_op(&f->a, d, &f->schema, ops, &s, &f->notes, &err);
    assert_true(rc >= 0);
    return rc == RENDER_STATEMENT ? s.sql.p : "";
}

static const char *sqlite(struct fixture *f, const char *json)
{
    return apply(f, DIALECT_SQLITE, json);
}

static const char *two(struct arena *a, const char *x, const char *y)
{
    return arena_printf(a, "%s,%s", x, y);
}

static void create_table_has_the_known_layout(void **state)
{
    struct fixture *f = *state;
    const char *columns = two(&f->a, fx_column(&f->a, "id", "integer", "int4", NULLABLE),
                              fx_column(&f->a, "frog_id", "bigint", "int8", NOT_NULL));
    const char *key = fx_foreign_key(&f->a, "fish_frog_id_fkey", "\"frog_id\"", "frog", "\"id\"", "aa");
    assert_string_equal(
        sqlite(f, fx_create_table(&f->a, (struct fx_table){"fish", columns, "\"id\"", key, NULL, NULL})),
        "CREATE TABLE \"fish\" (\n  \"id\" INTEGER NOT NULL,\n  \"frog_id\" INTEGER NOT NULL,\n"
        "  CONSTRAINT \"fish_frog_id_fkey\" FOREIGN KEY (\"frog_id\") REFERENCES \"frog\" (\"id\"),\n"
        "  CONSTRAINT \"fish_pkey\" PRIMARY KEY (\"id\")\n);\n");
}

static void constraints_come_in_order(void **state)
{
    struct fixture *f = *state;
    const char *columns = two(&f->a, fx_column(&f->a, "a", "integer", "int4", NULLABLE),
                              fx_column(&f->a, "b", "integer", "int4", NULLABLE));
    const char *keys = two(&f->a, fx_foreign_key(&f->a, "z", "\"a\",\"b\"", "p", "\"x\",\"y\"", "cnd"),
                           fx_foreign_key(&f->a, "y", "\"b\"", "q", "\"id\"", "rd"));
    const char *rest =
        "{\"name\":\"u\",\"type\":\"u\",\"columns\":[\"b\"],\"definition\":\"UNIQUE (b)\"},"
        "{\"name\":\"c\",\"type\":\"c\",\"columns\":[\"a\"],\"definition\":\"CHECK ((a > 0))\"},"
        "{\"name\":\"d\",\"type\":\"c\",\"columns\":[\"a\"],\"definition\":\"CHECK (f(a)) NOT VALID\"}";
    assert_string_equal(
        sqlite(f, fx_create_table(&f->a, (struct fx_table){"t", columns, "\"b\",\"a\"", keys, rest, NULL})),
        "CREATE TABLE \"t\" (\n  \"a\" INTEGER NOT NULL,\n  \"b\" INTEGER NOT NULL,\n"
        "  CONSTRAINT \"c\" CHECK ((\"a\" > 0)),\n"
        "  CONSTRAINT \"y\" FOREIGN KEY (\"b\") REFERENCES \"q\" (\"id\") ON DELETE RESTRICT ON UPDATE SET "
        "DEFAULT,\n"
        "  CONSTRAINT \"z\" FOREIGN KEY (\"a\", \"b\") REFERENCES \"p\" (\"x\", \"y\") ON DELETE CASCADE"
        " ON UPDATE SET NULL,\n"
        "  CONSTRAINT \"t_pkey\" PRIMARY KEY (\"b\", \"a\"),\n  CONSTRAINT \"u\" UNIQUE (\"b\")\n);\n");
    assert_int_equal(f->notes.n, 1);
    assert_string_equal(f->notes.items[0].p, "constraint \"d\" is left out for SQLite clients: function f()");
}

static void identifiers_are_quoted(void **state)
{
    struct fixture *f = *state;
    const char *column = fx_column(&f->a, "se\\\"lect", "text", "text", NULLABLE);
    assert_string_equal(
        sqlite(f, fx_create_table(&f->a, (struct fx_table){"Ta\\\"ble", column, NULL, NULL, NULL, NULL})),
        "CREATE TABLE \"Ta\"\"ble\" (\n  \"se\"\"lect\" TEXT\n);\n");
}

static void types_follow_the_map(void **state)
{
    static const struct {
        const char *type, *name, *expected;
    } rows[] = {
        {"smallint", "int2", "INTEGER"},
        {"integer", "int4", "INTEGER"},
        {"bigint", "int8", "INTEGER"},
        {"boolean", "bool", "INTEGER"},
        {"real", "float4", "REAL"},
        {"double precision", "float8", "REAL"},
        {"numeric", "numeric", "REAL"},
        {"money", "money", "REAL"},
        {"text", "text", "TEXT"},
        {"character varying", "varchar", "TEXT"},
        {"uuid", "uuid", "TEXT"},
        {"date", "date", "TEXT"},
        {"time without time zone", "time", "TEXT"},
        {"timestamp with time zone", "timestamptz", "TEXT"},
        {"bytea", "bytea", "BLOB"},
        {"json", "json", "TEXT_JSON"},
        {"jsonb", "jsonb", "TEXT_JSON"},
        {"inet", "inet", "TEXT"},
        {"integer[]", "_int4", "TEXT_JSON"},
        {"character varying(256)", "varchar", "TEXT(256)"},
        {"numeric(12,6)", "numeric", "REAL(12, 6)"},
        {"numeric(3,-2)", "numeric", "REAL(3, -2)"},
        {"timestamp(3) without time zone", "timestamp", "TEXT(3)"},
        {"character varying(9)[]", "_varchar", "TEXT_JSON"},
        {"geometry(Point,4326)", "geometry", "TEXT"},
        {"odd(", "odd", "TEXT"},
        {"odd(1,2,3,4,5)", "odd", "TEXT"},
        {"odd(99999999999)", "odd", "TEXT"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct column c = {.type = str_c(rows[i].type),
                           .type_name = str_c(rows[i].name),
                           .type_schema = STR("pg_catalog"),
                           .typmod = strchr(rows[i].type, '(') ? 1 : -1};
        assert_string_equal(type_sqlite(&f->a, &c).p, rows[i].expected);
    }
    struct column own = {
        .type = STR("bytea"), .type_name = STR("bytea"), .type_schema = STR("app"), .typmod = -1};
    assert_string_equal(type_sqlite(&f->a, &own).p, "TEXT");
}

static void add_column(void **state)
{
    struct fixture *f = *state;
    sqlite(f, fx_items(&f->a));
    assert_string_equal(
        sqlite(f, fx_add_column(&f->a, "items", fx_column(&f->a, "doc", "jsonb", "jsonb", NULLABLE), "")),
        "ALTER TABLE \"items\" ADD COLUMN \"doc\" TEXT_JSON;\n");
    assert_string_equal(
        sqlite(f, fx_add_column(&f->a, "items", fx_column(&f->a, "n", "integer", "int4", NOT_NULL), "")),
        "ALTER TABLE \"items\" ADD COLUMN \"n\" INTEGER NOT NULL;\n");
}

static const char *create_index(struct fixture *f, const char *name, bool unique, const char *keys,
                                const char *where)
{
    return sqlite(f, fx_create_index(&f->a, "items", name, unique, keys, where));
}

static void indexes(void **state)
{
    struct fixture *f = *state;
    sqlite(f, fx_items(&f->a));
    const char *keys = two(&f->a, fx_key(&f->a, "id", NULL, true), fx_key(&f->a, "value", NULL, false));
    assert_string_equal(create_index(f, "i", false, keys, NULL),
                        "CREATE INDEX \"i\" ON \"items\" (\"id\" DESC, \"value\" ASC);\n");
    assert_string_equal(
        create_index(f, "j", true, fx_key(&f->a, NULL, "lower(value)", false), "(value IS NOT NULL)"),
        "CREATE UNIQUE INDEX \"j\" ON \"items\" (lower(\"value\") ASC) WHERE (\"value\" IS NOT NULL);\n");
    assert_int_equal(f->notes.n, 0);
    assert_string_equal(sqlite(f, fx_drop_index(&f->a, "items", "i")), "DROP INDEX IF EXISTS \"i\";\n");
    assert_string_equal(sqlite(f, fx_drop_table(&f->a, "items")), "DROP TABLE IF EXISTS \"items\";\n");
}

/* Scenario 116: what SQLite lacks is left out and told; more than two operands, IN and CASE are no obstacle.
 */
static void indexes_that_sqlite_cannot_have_are_left_out(void **state)
{
    struct fixture *f = *state;
    sqlite(f, fx_items(&f->a));
    const char *key = fx_key(&f->a, "value", NULL, false);
    assert_string_equal(create_index(f, "a", false, fx_key(&f->a, NULL, "md5(value)", false), NULL), "");
    assert_string_equal(create_index(f, "b", false, key, "(value ~~ 'a%'::text)"), "");
    assert_string_equal(create_index(f, "c", false, key, "length(value)"), "");
    assert_string_equal(create_index(f, "d", false, key, "nonsense nonsense"), "");
    assert_string_equal(
        create_index(f, "e", false, key,
                     "((value IS NOT NULL) AND (id <> ''::text) AND (id = ANY (ARRAY['a'::text,"
                     " 'b'::text])) AND CASE WHEN (id = 'x'::text) THEN true ELSE false END)"),
        "CREATE INDEX \"e\" ON \"items\" (\"value\" ASC) WHERE ((\"value\" IS NOT NULL) AND (\"id\" <> '')"
        " AND (\"id\" IN ('a', 'b')) AND CASE WHEN (\"id\" = 'x') THEN 1 ELSE 0 END);\n");
    assert_string_equal(create_index(f, "f", false, fx_key(&f->a, NULL, "'value'::text", false), NULL), "");
    assert_int_equal(f->notes.n, 5);
    assert_string_equal(f->notes.items[0].p, "index \"a\" is left out for SQLite clients: function md5()");
    assert_string_equal(f->notes.items[2].p,
                        "index \"c\" is left out for SQLite clients: its predicate is not a condition");
    assert_string_equal(f->notes.items[3].p,
                        "index \"d\" is left out for SQLite clients: not a single expression");
}

/* A client must not refuse what the server accepted: order of text differs with the collation. */
static void unique_indexes_that_sqlite_would_compute_differently_lose_uniqueness(void **state)
{
    struct fixture *f = *state;
    sqlite(f, fx_items(&f->a));
    assert_string_equal(
        create_index(f, "i", true, fx_key(&f->a, "value", NULL, false), "(value > 'm'::text)"),
        "CREATE INDEX \"i\" ON \"items\" (\"value\" ASC) WHERE (\"value\" > 'm');\n");
    assert_string_equal(create_index(f, "j", true, fx_key(&f->a, NULL, "substr(value, 2)", false), NULL),
                        "CREATE INDEX \"j\" ON \"items\" (substr(\"value\", 2) ASC);\n");
    assert_int_equal(f->notes.n, 2);
    assert_string_equal(
        f->notes.items[0].p,
        "index \"i\" is not unique for SQLite clients: SQLite may compute its expressions differently");
}

static void enums_are_text(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(sqlite(f, fx_create_enum(&f->a, "states", "\"foo\",\"bar\"")), "");
    const char *columns =
        two(&f->a, fx_column(&f->a, "id", "text", "text", NOT_NULL), fx_enum_column(&f->a, "s", "states"));
    assert_string_equal(
        sqlite(f, fx_create_table(&f->a, (struct fx_table){"items", columns, "\"id\"", NULL, NULL, NULL})),
        "CREATE TABLE \"items\" (\n  \"id\" TEXT NOT NULL,\n  \"s\" TEXT,\n"
        "  CONSTRAINT \"items_pkey\" PRIMARY KEY (\"id\")\n);\n");
    assert_string_equal(create_index(f, "i", true, fx_key(&f->a, "s", NULL, false), "(s = 'foo'::states)"),
                        "CREATE UNIQUE INDEX \"i\" ON \"items\" (\"s\" ASC) WHERE (\"s\" = 'foo');\n");
}

static void postgres_gets_the_text_of_the_op(void **state)
{
    struct fixture *f = *state;
    const struct fx_table t = {.name = "t",
                               .columns = fx_column(&f->a, "id", "text", "text", NOT_NULL),
                               .sql = " CREATE TABLE t (id text) ;\\n; \\n"};
    assert_string_equal(apply(f, DIALECT_POSTGRES, fx_create_table(&f->a, t)), "CREATE TABLE t (id text)");
    assert_string_equal(apply(f, DIALECT_POSTGRES, fx_create_enum(&f->a, "states", "\"a\"")),
                        "CREATE TYPE states AS ENUM ()");
    assert_string_equal(
        apply(f, DIALECT_POSTGRES,
              fx_create_index(&f->a, "t", "i", false, fx_key(&f->a, "id", NULL, false), NULL)),
        "CREATE INDEX i");
    assert_string_equal(apply(f, DIALECT_POSTGRES, fx_drop_index(&f->a, "t", "i")), "DROP INDEX public.i");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(create_table_has_the_known_layout),
        TEST(constraints_come_in_order),
        TEST(identifiers_are_quoted),
        TEST(types_follow_the_map),
        TEST(add_column),
        TEST(indexes),
        TEST(indexes_that_sqlite_cannot_have_are_left_out),
        TEST(unique_indexes_that_sqlite_would_compute_differently_lose_uniqueness),
        TEST(enums_are_text),
        TEST(postgres_gets_the_text_of_the_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
