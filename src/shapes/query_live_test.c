/* SPDX-License-Identifier: Apache-2.0 */
/* The queries of layers on a real server (pg/live_test.py): they give the rows that the layer admits, values
 * and all. */
#include "shapes/fixture.h"

#include "shapes/copy_row.h"
#include "shapes/query.h"

#include "base/mem.h"
#include "sql/quote.h"

#include <libpq-fe.h>
#include <stdlib.h>

enum { MAX_COLUMNS = 16, MAX_ROWS = 64 };

struct row {
    struct value values[MAX_COLUMNS];
};

struct bench {
    PGconn *conn;
    struct schema model;
    struct arena a;
    struct buf text;
    const struct forest *forest;
    struct row rows[MAX_ROWS]; /* of the last query */
    size_t n;
};

static void run(struct bench *b, const char *sql)
{
    PGresult *r = PQexec(b->conn, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(b->conn));
    }
    PQclear(r);
}

static const char SESSION[] =
    "SET search_path = pg_catalog; SET bytea_output = hex; SET DateStyle = 'ISO, DMY'; "
    "SET TimeZone = 'UTC'; SET extra_float_digits = 1; SET client_min_messages = warning; "
    "DROP SCHEMA public CASCADE; CREATE SCHEMA public";

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);
    b->conn = PQconnectdb(getenv("BUSBAR_TEST_PLAIN"));
    assert_int_equal(PQstatus(b->conn), CONNECTION_OK);
    buf_init(&b->text, 64 * 1024 * 1024);
    run(b, SESSION);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    PQfinish(b->conn);
    arena_deinit(&b->a);
    schema_deinit(&b->model);
    buf_deinit(&b->text);
    mem_free_p(&b);
    return 0;
}

static const struct layer *compile(struct bench *b, const struct shape_select *select, size_t layer)
{
    struct shape_request r = fx_request(select);
    struct shape_faults faults;
    if (!shape_compile(&b->a, &b->model, &r, 1, &b->forest, &faults)) {
        fail_msg("%s", faults.items[0].message.p);
    }
    assert_true(layer < b->forest->n_layers);
    return &b->forest->layers[layer];
}

/* The text in b->text, its rows into b->rows. */
static void fetch(struct bench *b, const struct layer *l)
{
    assert_false(b->text.overflow);
    PGresult *r = PQexec(b->conn, buf_cstr(&b->text));
    if (PQresultStatus(r) != PGRES_COPY_OUT) {
        fail_msg("%s: %s", buf_cstr(&b->text), PQerrorMessage(b->conn));
    }
    PQclear(r);
    char *line;
    int bytes;
    for (b->n = 0; (bytes = PQgetCopyData(b->conn, &line, 0)) > 0; b->n++) {
        struct err err = ERR_INIT;
        assert_true(b->n < MAX_ROWS && l->table->n_columns <= MAX_COLUMNS);
        char *copy = arena_alloc(&b->a, (size_t)bytes);
        memcpy(copy, line, (size_t)bytes);
        PQfreemem(line);
        assert_int_equal(
            copy_row_decode(copy, (size_t)bytes, b->rows[b->n].values, l->table->n_columns, &err), 0);
    }
    assert_int_equal(bytes, -1);
    r = PQgetResult(b->conn);
    assert_int_equal(PQresultStatus(r), PGRES_COMMAND_OK);
    PQclear(r);
    assert_null(PQgetResult(b->conn));
}

static void fetch_whole(struct bench *b, const struct layer *l, const char *user)
{
    buf_reset(&b->text);
    query_whole(l, str_c(user), &b->text);
    fetch(b, l);
}

static void fetch_keys(struct bench *b, const struct layer *l, const struct value *keys, size_t n)
{
    buf_reset(&b->text);
    assert_int_equal(query_by_keys(l, STR("ann"), keys, n, &b->text), n);
    fetch(b, l);
}

static struct value value(const char *text)
{
    return (struct value){text, text ? (uint32_t)strlen(text) : 0};
}

/* The rows' values in a column, each in <>, as the server ordered them. */
static void expect_column(struct bench *b, uint32_t column, const char *expected)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(64 * 1024);
    for (size_t i = 0; i < b->n; i++) {
        const struct value *v = &b->rows[i].values[column];
        buf_put_byte(&out, '<');
        buf_put(&out, v->p, v->n);
        buf_put_byte(&out, '>');
    }
    assert_string_equal(buf_cstr(&out), expected);
}

static bool same_row(const struct row *row, const PGresult *r, int at)
{
    for (int i = 0; i < PQnfields(r); i++) {
        const struct value *v = &row->values[i];
        if (PQgetisnull(r, at, i) ? v->p != NULL
                                  : !v->p || !str_eq((struct str){v->p, v->n}, str_c(PQgetvalue(r, at, i)))) {
            return false;
        }
    }
    return true;
}

/* The last query gave what this one gives, in any order: its values have not been through COPY. */
static void expect_rows(struct bench *b, const char *sql)
{
    PGresult *r = PQexec(b->conn, sql);
    assert_int_equal(PQresultStatus(r), PGRES_TUPLES_OK);
    assert_int_equal(PQntuples(r), b->n);
    for (int i = 0; i < PQntuples(r); i++) {
        size_t k = 0;
        while (k < b->n && !same_row(&b->rows[k], r, i)) {
            k++;
        }
        assert_true(k < b->n);
    }
    PQclear(r);
}

static void every_type_and_odd_names(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    static const struct fx_shape_table tables[] = {
        {"Ünd \\\"so\\\" 'w\\\\",
         "Id:uuid we\\\"ird t mood:Mood b:bytea j:jsonb at:timestamptz yes:bool f:float8 d:date v:varchar",
         "Id", ""}};
    run(b, "CREATE TYPE public.\"Mood\" AS ENUM ('so so', 'it''s \"ok\"', '{}')");
    run(b,
        "CREATE TABLE public.\"Ünd \"\"so\"\" 'w\\\" (\"Id\" uuid PRIMARY KEY, \"we\"\"ird\" text, t text,"
        " mood public.\"Mood\", b bytea, j jsonb, at timestamptz, yes bool, f float8, d date, v varchar(9))");
    run(b,
        "INSERT INTO public.\"Ünd \"\"so\"\" 'w\\\" VALUES"
        " ('6A1C9B8E-1F5D-4C53-9C0E-8F3A1B2C3D4E', E'a\\tb\\nc\\\\d\\re', '', 'it''s \"ok\"', E'\\\\x00ff5c',"
        "  '{\"a\": \"x\\ty\"}', '2024-02-29 12:00:00.5+02', true, 0.1, '0044-03-15 BC', 'ü'),"
        " ('00000000-0000-0000-0000-000000000000', NULL, '\\N', '{}', '', 'null', 'infinity', false, 'NaN', "
        "'infinity', 'NULL'),"
        " ('00000000-0000-0000-0000-000000000001', E'\\b\\f\\v\\x01\\x7f', '\\.', NULL, NULL, NULL, NULL, "
        "NULL, '-Infinity', NULL, '')");
    fx_add_tables(&b->model, tables, 1);
    const struct layer *l = compile(b, SELECT("Ünd \"so\" 'w\\", ""), 0);
    fetch_whole(b, l, "ann");
    assert_int_equal(b->n, 3);
    expect_rows(b, "SELECT * FROM public.\"Ünd \"\"so\"\" 'w\\\"");
}

static const char *const NASTY[] = {"a", "",      "NULL", "null", "\\N",    "a\"b",     "a\\b", "\\",
                                    "'", "{a,b}", "{}",   " a ",  "a\tb\n", "\xC3\xBC", ",",    "\"\""};

static void keys_of_any_text(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    static const struct fx_shape_table tables[] = {{"Up", "Id o", "Id", ""},
                                                   {"Down", "Id Up", "Id", "Up > Up Id"}};
    struct value keys[2 * ARRAY_LEN(NASTY)];
    run(b, "CREATE TABLE public.\"Up\" (\"Id\" text COLLATE \"C\" PRIMARY KEY, o text)");
    run(b, "CREATE TABLE public.\"Down\" (\"Id\" text PRIMARY KEY, \"Up\" text COLLATE \"POSIX\" REFERENCES "
           "public.\"Up\")");
    run(b, "INSERT INTO public.\"Up\" VALUES ('other', 'x'); INSERT INTO public.\"Down\" VALUES ('other', "
           "'other'), ('none', NULL)");
    for (size_t i = 0; i < ARRAY_LEN(NASTY); i++) {
        const char *text = sql_literal(fx, str_c(NASTY[i]));
        run(b,
            arena_printf(
                fx, "INSERT INTO public.\"Up\" VALUES (%s, %s); INSERT INTO public.\"Down\" VALUES (%s, %s)",
                text, text, text, text));
        keys[2 * i] = keys[2 * i + 1] = value(NASTY[i]);
    }
    fx_add_tables(&b->model, tables, ARRAY_LEN(tables));
    const struct layer *many = compile(b, SELECT("Up", "", INCLUDE("Up", SELECT("Down", ""))), 1);
    fetch_keys(b, many, keys, ARRAY_LEN(keys));
    expect_rows(b, "SELECT * FROM public.\"Down\" WHERE \"Up\" <> 'other'");
    assert_int_equal(b->n, ARRAY_LEN(NASTY));
    const struct layer *one = compile(b, SELECT("Down", ""), 1);
    run(b, "SET standard_conforming_strings = off");
    fetch_keys(b, one, keys, ARRAY_LEN(keys));
    run(b, "RESET standard_conforming_strings");
    expect_rows(b, "SELECT * FROM public.\"Up\" WHERE \"Id\" <> 'other'");
    for (size_t i = 0; i < ARRAY_LEN(NASTY); i++) {
        fetch_keys(b, one, &keys[2 * i], 1);
        assert_int_equal(b->n, 1);
        assert_true(str_eq(str_c(NASTY[i]), (struct str){b->rows[0].values[0].p, b->rows[0].values[0].n}));
    }
}

struct sample {
    const char *type, *values[2];
};

/* "up" with both values as keys, "down" with rows that refer to them. */
static void make_tables(struct bench *b, const struct sample *s, const char *up, const char *down)
{
    struct arena *fx = &b->a;
    const char *id = arena_printf(fx, "id:%s", s->type);
    struct fx_shape_table tables[] = {
        {up, id, "id", ""},
        {down, arena_printf(fx, "%s up:%s", id, s->type), "id", arena_printf(fx, "up > %s id", up)}};
    const char *type = arena_printf(fx, "%s\"%s\"", *s->type == 'M' ? "public." : "", s->type);
    run(b, arena_printf(fx, "CREATE TABLE public.\"%s\" (id %s PRIMARY KEY)", up, type));
    run(b, arena_printf(fx, "CREATE TABLE public.\"%s\" (id %s PRIMARY KEY, up %s REFERENCES public.\"%s\")",
                        down, type, type, up));
    for (size_t k = 0; k < 2; k++) {
        const char *v = sql_literal(fx, str_c(s->values[k]));
        run(b, arena_printf(fx, "INSERT INTO public.\"%s\" VALUES (%s)", up, v));
        run(b, arena_printf(fx, "INSERT INTO public.\"%s\" VALUES (%s, %s)", down, v, v));
    }
    fx_add_tables(&b->model, tables, ARRAY_LEN(tables));
}

static void check_keys(struct bench *b, const struct sample *s)
{
    struct arena *fx = &b->a;
    const char *up = arena_printf(fx, "up_%s", s->type), *down = arena_printf(fx, "down_%s", s->type);
    struct value keys[] = {value(s->values[0]), value(s->values[1])};
    make_tables(b, s, up, down);
    const struct layer *one = compile(b, SELECT(down, ""), 1);
    fetch_keys(b, one, keys, 2);
    assert_int_equal(b->n, 2);
    fetch_keys(b, one, keys, 1);
    expect_column(b, 0, arena_printf(fx, "<%s>", s->values[0]));
    const struct layer *many = compile(b, SELECT(up, "", INCLUDE("up", SELECT(down, ""))), 1);
    fetch_keys(b, many, keys + 1, 1);
    expect_column(b, 1, arena_printf(fx, "<%s>", s->values[1]));
}

static void keys_of_any_type(void **state)
{
    static const struct sample samples[] = {
        {"int2", {"-7", "32767"}},
        {"int4", {"0", "-2147483648"}},
        {"int8", {"1", "9223372036854775807"}},
        {"float4", {"0.1", "NaN"}},
        {"float8", {"0.30000000000000004", "-Infinity"}},
        {"bool", {"t", "f"}},
        {"varchar", {"a\"\\", "NULL"}},
        {"uuid", {"6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4e", "00000000-0000-0000-0000-000000000000"}},
        {"date", {"2024-02-29", "infinity"}},
        {"time", {"23:59:59.5", "00:00:00"}},
        {"timestamp", {"2024-02-29 00:00:00.000001", "0044-03-15 00:00:00 BC"}},
        {"timestamptz", {"2024-02-29 00:00:00+00", "-infinity"}},
        {"bytea", {"\\x", "\\x5c22007b"}},
        {"jsonb", {"{\"a\": [\"\\\"\", null]}", "null"}},
        {"Mood", {"so so", "it's {\"ok\"}\\"}},
    };
    struct bench *b = *state;
    run(b, "CREATE TYPE public.\"Mood\" AS ENUM ('so so', E'it''s {\"ok\"}\\\\', 'other')");
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        check_keys(b, &samples[i]);
    }
}

static void keys_of_several_columns(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    static const struct fx_shape_table tables[] = {
        {"places", "country:varchar city:int8 code:int4", "country city", ""},
        {"shops", "id:int4 town:int4 land:varchar code:int8", "id",
         "town land > places city country; code > places code"}};
    run(b, "CREATE TABLE public.places (country varchar(2), city int8, code int4 UNIQUE, PRIMARY KEY "
           "(country, city))");
    run(b, "CREATE TABLE public.shops (id int4 PRIMARY KEY, town int4, land varchar(2), code int8 REFERENCES"
           " public.places (code), FOREIGN KEY (town, land) REFERENCES public.places (city, country))");
    run(b, "INSERT INTO public.places VALUES ('de', 1, 10), ('de', 3000000000, 20), ('fr', 1, 30)");
    run(b, "INSERT INTO public.shops VALUES (1, 1, 'de', 10), (2, 1, 'fr', 30), (3, NULL, 'de', NULL)");
    fx_add_tables(&b->model, tables, ARRAY_LEN(tables));
    const struct layer *many = compile(b, SELECT("places", "", INCLUDE("town land", SELECT("shops", ""))), 1);
    /* Pairs, not every combination; a key that the foreign key's type cannot hold finds nothing. */
    struct value keys[] = {value("de"), value("3000000000"), value("fr"),
                           value("1"),  value("de"),         value("2")};
    fetch_keys(b, many, keys, 3);
    expect_column(b, 0, "<2>");
    compile(b, SELECT("shops", ""), 2);
    const struct layer *key = &b->forest->layers[1], *code = &b->forest->layers[2];
    fetch_keys(b, key, keys, 2);
    expect_rows(b, "SELECT * FROM public.places WHERE country = 'fr' OR city > 1");
    struct value codes[] = {value("30"), value("5000000000"), value("30")};
    fetch_keys(b, code, codes, 3);
    expect_column(b, 0, "<fr>");
}

/* The first column of the rows that the layer admits. */
static struct str admitted(struct bench *b, const struct layer *l, const char *user)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(64 * 1024);
    for (size_t i = 0; i < b->n; i++) {
        if (layer_admits(l, str_c(user), b->rows[i].values)) {
            buf_printf(&out, "%.*s ", (int)b->rows[i].values[0].n, b->rows[i].values[0].p);
        }
    }
    return arena_str(&b->a, buf_str(&out));
}

/* What the query gives is what a look at every row of the table gives. */
static const char *check_admitted(struct bench *b, const struct layer *l, const char *user)
{
    fetch_whole(b, l, user);
    struct str seen = admitted(b, l, user);
    buf_reset(&b->text);
    buf_put_c(&b->text, "COPY public.");
    sql_put_ident(&b->text, l->table->name);
    buf_put_c(&b->text, " TO STDOUT");
    fetch(b, l);
    assert_string_equal(seen.p, admitted(b, l, user).p);
    return seen.p;
}

static void users_of_any_type(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    static const char *const types[][3] = {
        {"text", "ann", ""},
        {"varchar", "a'n\\n", ""},
        {"uuid", "6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4e", "00000000-0000-0000-0000-000000000000"},
        {"int4", "7", "8"},
        {"bool", "t", "f"},
        {"bytea", "\\x00", ""},
    };
    static const char *const users[] = {"ann", "",  "a'n\\n", "ANN",   "6A1C9B8E-1F5D-4C53-9C0E-8F3A1B2C3D4E",
                                        "7",   "t", "true",   "\\x00", "' OR true --"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        const char *table = arena_printf(fx, "own_%s", types[i][0]);
        struct fx_shape_table t = {table, arena_printf(fx, "id:int4 electric_user_id:%s", types[i][0]), "id",
                                   ""};
        fx_add_tables(&b->model, &t, 1);
        run(b, arena_printf(fx, "CREATE TABLE public.%s (id int4 PRIMARY KEY, electric_user_id %s)", table,
                            types[i][0]));
        run(b, arena_printf(fx, "INSERT INTO public.%s VALUES (1, %s), (2, %s), (3, NULL)", table,
                            sql_literal(fx, str_c(types[i][1])), sql_literal(fx, str_c(types[i][2]))));
        for (size_t k = 0; k < ARRAY_LEN(users); k++) {
            /* The row without a user is everybody's. */
            assert_non_null(strstr(check_admitted(b, compile(b, SELECT(table, ""), 0), users[k]), "3 "));
        }
    }
}

static void wheres(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    static const struct fx_shape_table table = {"notes", "id:int4 t n:int8 at:timestamptz electric_user_id",
                                                "id", ""};
    static const char *const texts[][2] = {
        {"this.t = 'a' OR 1=1 --", "1 2 4 5 "},
        {"this.t = 'a' OR true", "1 2 4 5 "},
        {"this.t = E'b''\\\\'", "2 "},
        {"this.n > 1000000000000", "2 "},
        {"this.n IS NULL", "4 5 "},
        {"this.t IN ('a', '12')", "1 5 "},
        {"int4(this.t) = 12", "5 "},
        {"10 / this.n = 5", "1 "},
        {"this.t LIKE '%''%'", "2 "},
        {"this.at > '2024-01-01T00:00:00.000Z'", "1 "},
        {"NOT (this.t = 'a')", "2 5 "},
        {"this.t ILIKE 'A'", "1 "},
    };
    run(b, "CREATE TABLE public.notes (id int4 PRIMARY KEY, t text, n int8, at timestamptz, electric_user_id "
           "text)");
    run(b, "INSERT INTO public.notes VALUES (1, 'a', 2, '2024-02-29 00:00Z', 'ann'), (2, 'b''\\', "
           "1000000000001, NULL, ''),"
           " (3, 'a', 2, '2024-02-29 00:00Z', 'bob'), (4, NULL, NULL, NULL, NULL), (5, '12', NULL, NULL, "
           "'ann')");
    fx_add_tables(&b->model, &table, 1);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        const char *seen = check_admitted(b, compile(b, SELECT("notes", texts[i][0]), 0), "ann");
        if (strcmp(seen, texts[i][1]) != 0) {
            fail_msg("%s: %s", texts[i][0], seen);
        }
    }
}

static void as_many_keys_as_one_query_takes(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    static const struct fx_shape_table tables[] = {{"big", "id:int4", "id", ""},
                                                   {"small", "id:int4 big:int4", "id", "big > big id"}};
    run(b, "CREATE TABLE public.big (id int4 PRIMARY KEY)");
    run(b, "CREATE TABLE public.small (id int4 PRIMARY KEY, big int4 REFERENCES public.big)");
    run(b, "INSERT INTO public.big SELECT g * 1000 FROM generate_series(1, 1000) AS g");
    fx_add_tables(&b->model, tables, ARRAY_LEN(tables));
    struct value *keys = arena_alloc_array(fx, QUERY_MAX_KEYS, sizeof *keys);
    for (size_t i = 0; i < QUERY_MAX_KEYS; i++) {
        keys[i] = value(arena_printf(fx, "%zu", i + 1));
    }
    fetch_keys(b, compile(b, SELECT("small", ""), 1), keys, QUERY_MAX_KEYS);
    assert_int_equal(b->n, QUERY_MAX_KEYS / 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_type_and_odd_names),        TEST(keys_of_any_text),  TEST(keys_of_any_type),
        TEST(keys_of_several_columns),         TEST(users_of_any_type), TEST(wheres),
        TEST(as_many_keys_as_one_query_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
