/* SPDX-License-Identifier: Apache-2.0 */
/* Requests compiled: the layers that come out, what makes two of them the same, and every refusal with its
 * text. */
#include "shapes/fixture.h"

#include "shapes/where.h"

#include "base/mem.h"

static const struct fx_shape_table TABLES[] = {
    {"users", "id name", "id", ""},
    {"projects", "id name owner", "id", "owner > users id"},
    {"issues", "id project author title", "id", "project > projects id; author > users id"},
    {"comments", "id issue author electric_user_id", "id", "issue > issues id; author > users id"},
    {"tree", "id parent", "id", "parent > tree id"},
    {"left", "id right", "id", "right > right id"},
    {"right", "id left", "id", "left > left id"},
    {"places", "country city name code", "country city", ""},
    {"shops", "id town land code", "id", "land town > places country city; code > places code"},
    {"roads", "id a b c d", "id", "a b > places country city; d c > places city country"},
    {"ends", "id same", "id", "same > starts id"},
    {"starts", "id same", "id", "same > ends id"},
};

struct bench {
    struct schema model;
    struct arena a;
    const struct forest *forest;
    struct shape_faults faults;
};

static int setup(void **state)
{
    struct bench *b = mem_zalloc(sizeof *b);
    fx_add_tables(&b->model, TABLES, ARRAY_LEN(TABLES));
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    arena_deinit(&b->a);
    schema_deinit(&b->model);
    mem_free_p(&b);
    return 0;
}

static void put_columns(struct buf *out, const struct table *t, struct columns columns)
{
    for (uint32_t i = 0; i < columns.n; i++) {
        buf_put_byte(out, i ? ' ' : '(');
        buf_put_str(out, t->columns[columns.items[i]].name);
    }
    buf_put_c(out, columns.n ? ")" : "");
}

static void put_layer(struct buf *out, const struct forest *f, uint32_t i)
{
    static const char *const kinds[] = {"top", "many", "one"};
    const struct layer *l = &f->layers[i];
    buf_printf(out, "%u %s %.*s", i, kinds[l->kind], STR_ARG(l->table->name));
    put_columns(out, l->table, l->columns);
    if (l->parent != LAYER_NONE) {
        buf_printf(out, " of %d", l->parent);
        put_columns(out, f->layers[l->parent].table, l->parent_columns);
    }
    if (l->where) {
        struct where_equality e;
        assert_int_equal(where_equalities(l->where, &e, 1), 1);
        buf_printf(out, " where %.*s=%.*s", STR_ARG(l->table->columns[e.column].name), STR_ARG(e.value));
    }
    for (uint32_t k = 0; k < l->n_children; k++) {
        buf_printf(out, "%s%u", k ? " " : " children ", l->children[k]);
    }
    for (uint32_t k = 0; k < l->n_edges; k++) {
        buf_put_byte(out, ' ');
        put_columns(out, l->table, l->edges[k].columns);
        buf_printf(out, ">%u", l->edges[k].target);
    }
    buf_printf(out, "%s\n", l->user_column != LAYER_NONE ? " user" : "");
}

static void compile(struct bench *b, const struct shape_request *requests, size_t n)
{
    b->faults = (struct shape_faults){0};
    b->forest = NULL;
    if (!shape_compile(&b->a, &b->model, requests, n, &b->forest, &b->faults)) {
        assert_null(b->forest);
        assert_true(b->faults.n > 0);
        fail_msg("%.*s", STR_ARG(b->faults.items[0].message));
    }
}

static void expect_layers(struct bench *b, const char *expected)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(64 * 1024);
    for (uint32_t i = 0; i < b->forest->n_layers; i++) {
        put_layer(&out, b->forest, i);
    }
    assert_string_equal(buf_cstr(&out), expected);
}

static void expect_one(struct bench *b, const struct shape_select *select, const char *expected)
{
    struct shape_request r = fx_request(select);
    compile(b, &r, 1);
    expect_layers(b, expected);
}

static void a_table_alone(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_one(b, SELECT("users", ""), "0 top users\n");
    assert_false(b->forest->user_matters);
    compile(b, NULL, 0);
    expect_layers(b, "");
    assert_int_equal(b->forest->n_tables, 0);
}

static void what_is_referred_to_comes_along(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_one(b, SELECT("comments", ""),
               "0 top comments (issue)>1 (author)>2 user\n"
               "1 one issues(id) (project)>3 (author)>2\n"
               "2 one users(id)\n"
               "3 one projects(id) (owner)>2\n");
    assert_true(b->forest->user_matters);
}

static void children_and_theirs(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_one(b,
               SELECT("projects", "this.name = 'a'",
                      INCLUDE("project", SELECT("issues", "this.title = 'b'",
                                                INCLUDE("issue", SELECT("comments", ""))))),
               "0 top projects where name=a children 1 (owner)>3\n"
               "1 many issues(project) of 0(id) where title=b children 2 (author)>3\n"
               "2 many comments(issue) of 1(id) (author)>3 user\n"
               "3 one users(id)\n");
}

static void a_table_that_refers_to_itself(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_one(b, SELECT("tree", ""), "0 top tree (parent)>1\n1 one tree(id) (parent)>1\n");
    /* To many, where both would do. */
    expect_one(b, SELECT("tree", "", INCLUDE("parent", SELECT("tree", ""))),
               "0 top tree children 1 (parent)>2\n"
               "1 many tree(parent) of 0(id)\n"
               "2 one tree(id) (parent)>2\n");
}

static void tables_that_refer_to_each_other(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_one(b, SELECT("left", ""),
               "0 top left (right)>1\n1 one right(id) (left)>2\n2 one left(id) (right)>1\n");
    expect_one(b, SELECT("starts", "", INCLUDE("same", SELECT("ends", ""))),
               "0 top starts children 1 (same)>2\n"
               "1 many ends(same) of 0(id)\n"
               "2 one ends(id) (same)>3\n"
               "3 one starts(id) (same)>2\n");
}

static void keys_of_several_columns_and_other_keys(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_one(b, SELECT("shops", ""),
               "0 top shops (land town)>1 (code)>2\n"
               "1 one places(country city)\n"
               "2 one places(code)\n");
    /* The columns in another order refer to the same key. */
    expect_one(b, SELECT("roads", ""), "0 top roads (a b)>1 (c d)>1\n1 one places(country city)\n");
    expect_one(b, SELECT("places", "", INCLUDE("d c", SELECT("roads", ""))),
               "0 top places children 1\n"
               "1 many roads(c d) of 0(country city) (a b)>2\n"
               "2 one places(country city)\n");
}

static void includes_to_one(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    /* By itself it is what every layer does. */
    expect_one(b,
               SELECT("issues", "",
                      INCLUDE("project", SELECT("projects", "", INCLUDE("owner", SELECT("users", ""))))),
               "0 top issues (project)>1 (author)>2\n1 one projects(id) (owner)>2\n2 one users(id)\n");
    /* Something hangs from it: only rows that this select refers to have these children. */
    expect_one(b,
               SELECT("comments", "",
                      INCLUDE("issue", SELECT("issues", "", INCLUDE("author", SELECT("users", "")),
                                              INCLUDE("issue", SELECT("comments", ""))))),
               "0 top comments (issue)>1 (author)>3 user\n"
               "1 one issues(id) of 0 children 2 (project)>4 (author)>3\n"
               "2 many comments(issue) of 1(id) (author)>3 user\n"
               "3 one users(id)\n"
               "4 one projects(id) (owner)>3\n");
    /* Back along the key that led here: there is more below. */
    expect_one(
        b,
        SELECT("users", "",
               INCLUDE("owner", SELECT("projects", "",
                                       INCLUDE("owner", SELECT("users", "",
                                                               INCLUDE("author", SELECT("comments", ""))))))),
        "0 top users children 1\n"
        "1 many projects(owner) of 0(id) (owner)>2\n"
        "2 one users(id) of 1 children 3\n"
        "3 many comments(author) of 2(id) (issue)>4 user\n"
        "4 one issues(id) (project)>5 (author)>6\n"
        "5 one projects(id) (owner)>6\n"
        "6 one users(id)\n");
}

static void shapes_in_common(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_request requests[] = {
        fx_request(SELECT("users", "this.name = 'b'")),
        fx_request(SELECT("users", "", INCLUDE("owner", SELECT("projects", "")))),
        fx_request(SELECT("users", "", INCLUDE("author", SELECT("comments", "")))),
        fx_request(SELECT("users", "", INCLUDE("owner", SELECT("projects", "this.name = 'a'")))),
        fx_request(SELECT("users", "this.name = 'b'")),
    };
    compile(b, requests, ARRAY_LEN(requests));
    expect_layers(b, "0 top users children 1 2 3\n"
                     "1 many comments(author) of 0(id) (issue)>5 user\n"
                     "2 many projects(owner) of 0(id)\n"
                     "3 many projects(owner) of 0(id) where name=a\n"
                     "4 top users where name=b\n"
                     "5 one issues(id) (project)>6 (author)>7\n"
                     "6 one projects(id) (owner)>7\n"
                     "7 one users(id)\n");
    assert_int_equal(b->forest->n_tables, 4);
    const struct forest_table *t = forest_table(b->forest, STR("public"), STR("projects"));
    assert_non_null(t);
    assert_int_equal(t->n_layers, 3);
    assert_int_equal(t->layers[0], 2);
    assert_int_equal(t->layers[2], 6);
    assert_null(forest_table(b->forest, STR("public"), STR("tree")));
    assert_null(forest_table(b->forest, STR("other"), STR("users")));
}

static struct str key_of(struct bench *b, const struct shape_request *requests, size_t n, const char *user)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(64 * 1024);
    compile(b, requests, n);
    forest_put_key(b->forest, str_c(user), &out);
    return arena_str(&b->a, buf_str(&out));
}

static struct str where_key(struct bench *b, const char *table, const char *text)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(64 * 1024);
    const struct table *t = schema_table(&b->model, STR("public"), str_c(table));
    const struct where *w;
    struct where_refusal why;
    assert_true(where_parse(&b->a, str_c(text), t, &b->model, &w, &why));
    where_put_key(w, &out);
    return arena_str(&b->a, buf_str(&out));
}

static void the_key_is_the_meaning(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_request one[] = {
        fx_request(SELECT("users", "", INCLUDE("owner", SELECT("projects", "")),
                          INCLUDE("author", SELECT("issues", "this.title = 'x'")))),
        fx_request(SELECT("tree", "this.\"id\"='a'  -- so")),
    };
    struct shape_request other[] = {
        fx_request(SELECT("tree", "this.id = 'a'")),
        fx_request(SELECT("users", "", INCLUDE("author", SELECT("issues", "this.title = 'x'")))),
        fx_request(SELECT("users", "",
                          INCLUDE("owner", SELECT("projects", "", INCLUDE("owner", SELECT("users", "")))))),
        fx_request(SELECT("tree", "this.id = 'a'")),
        fx_request(SELECT("users", "")),
    };
    struct str key = key_of(b, one, 2, "u1");
    struct str issues = where_key(b, "issues", "this.title = 'x'"),
               tree = where_key(b, "tree", "this.id = 'a'");
    assert_string_equal(key.p, arena_printf(fx,
                                            "T\"public\".\"tree\"?%zu:%s"
                                            "T\"public\".\"users\"{M\"public\".\"issues\"(\"author\")?%zu:%s"
                                            "M\"public\".\"projects\"(\"owner\")}",
                                            tree.n, tree.p, issues.n, issues.p));
    assert_string_equal(key_of(b, other, ARRAY_LEN(other), "u2").p, key.p);
    assert_string_not_equal(key_of(b, other, 1, "u2").p, key.p);
    /* Which of two keys leads to it counts, and the way. */
    struct shape_request ends[] = {
        fx_request(SELECT(
            "comments", "",
            INCLUDE("issue", SELECT("issues", "",
                                    INCLUDE("author", SELECT("users", "",
                                                             INCLUDE("owner", SELECT("projects", "")))))))),
        fx_request(SELECT("comments", "",
                          INCLUDE("author", SELECT("users", "", INCLUDE("owner", SELECT("projects", "")))))),
    };
    assert_string_not_equal(key_of(b, ends, 1, "").p, key_of(b, ends + 1, 1, "").p);
}

static void the_user_is_in_the_key_where_he_matters(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_request r = fx_request(SELECT("comments", ""));
    assert_string_equal(key_of(b, &r, 1, "ann").p, "T\"public\".\"comments\"@ann");
    assert_string_not_equal(key_of(b, &r, 1, "ann").p, key_of(b, &r, 1, "bob").p);
    r = fx_request(SELECT("tree", ""));
    assert_string_equal(key_of(b, &r, 1, "ann").p, "T\"public\".\"tree\"");
}

static void expect_fault(struct bench *b, struct shape_request request, enum shape_fault_code code,
                         const char *message)
{
    const struct forest *forest = NULL;
    struct shape_faults faults = {0};
    assert_int_equal(shape_compile(&b->a, &b->model, &request, 1, &forest, &faults), SHAPE_REFUSED);
    assert_null(forest);
    assert_int_equal(faults.n, 1);
    assert_int_equal(faults.items[0].request, 0);
    assert_string_equal(arena_str(&b->a, faults.items[0].message).p, message);
    assert_int_equal(faults.items[0].code, code);
}

static void expect_bad(struct bench *b, const struct shape_select *select, enum shape_fault_code code,
                       const char *message)
{
    expect_fault(b, fx_request(select), code, message);
}

static void definitions_and_tables_refused(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_select two[] = {*SELECT("users", ""), *SELECT("users", "")};
    char name[SHAPE_MAX_NAME + 2];
    memset(name, 'a', sizeof name);
    name[SHAPE_MAX_NAME + 1] = '\0';
    expect_fault(b, (struct shape_request){0}, SHAPE_EMPTY_DEFINITION,
                 "Empty shape requests are not allowed");
    expect_fault(b, (struct shape_request){two, 2}, SHAPE_INVALID_INCLUDES,
                 "Cannot have more than one top-level select");
    expect_bad(b, SELECT("", ""), SHAPE_TABLE_NOT_FOUND, "Invalid table name");
    expect_bad(b, SELECT(name, ""), SHAPE_TABLE_NOT_FOUND, "Invalid table name");
    expect_bad(b, SELECT("us\ners", ""), SHAPE_TABLE_NOT_FOUND, "Invalid table name");
    expect_bad(b, SELECT("us\xFF", ""), SHAPE_TABLE_NOT_FOUND, "Invalid table name");
    expect_bad(b, SELECT("Users", ""), SHAPE_TABLE_NOT_FOUND, "Unknown table Users");
    expect_bad(b, SELECT("public.users", ""), SHAPE_TABLE_NOT_FOUND, "Unknown table public.users");
    expect_bad(b, SELECT(name + 1, ""), SHAPE_TABLE_NOT_FOUND,
               arena_printf(fx, "Unknown table %s", name + 1));
    expect_bad(b, SELECT("caf\xC3\xA9", ""), SHAPE_TABLE_NOT_FOUND, "Unknown table caf\xC3\xA9");
}

static void wheres_refused(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    expect_bad(b, SELECT("users", "this.none = 'a'"), SHAPE_INVALID_WHERE,
               "At location 0: unknown reference this.none");
    expect_bad(b, SELECT("users", "this.name"), SHAPE_INVALID_WHERE,
               "Where expression should evaluate to a boolean, but it's :text");
    expect_bad(b, SELECT("users", "this.name = '\xFF'"), SHAPE_INVALID_WHERE,
               "Where clause is not valid UTF-8");
    expect_bad(b, SELECT("issues", "", INCLUDE("project", SELECT("projects", "this.name = 'a'"))),
               SHAPE_INVALID_INCLUDES, "A many-to-one include cannot have a where clause");
    /* What a where says is looked at before what leads to its table. */
    expect_bad(b, SELECT("users", "", INCLUDE("none", SELECT("projects", "this.name"))), SHAPE_INVALID_WHERE,
               "Where expression should evaluate to a boolean, but it's :text");
}

static void includes_refused(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const struct shape_select *projects = SELECT("projects", ""), *roads = SELECT("roads", "");
    char name[SHAPE_MAX_NAME + 2];
    memset(name, 'a', sizeof name);
    name[SHAPE_MAX_NAME + 1] = '\0';
    expect_bad(b, SELECT("users", "", INCLUDE("owner", NULL)), SHAPE_INVALID_INCLUDES,
               "Relation has to have a FK and a select");
    expect_bad(b, SELECT("users", "", INCLUDE("owner", SELECT("none", ""))), SHAPE_TABLE_NOT_FOUND,
               "Unknown table none");
    expect_bad(b, SELECT("users", "", INCLUDE("id", projects)), SHAPE_INVALID_INCLUDES,
               "Relation between {\"public\", \"users\"} and {\"public\", \"projects\"} over FK [\"id\"] "
               "does not exist");
    expect_bad(
        b, SELECT("users", "", INCLUDE("", projects)), SHAPE_INVALID_INCLUDES,
        "Relation between {\"public\", \"users\"} and {\"public\", \"projects\"} over FK [] does not exist");
    expect_bad(b, SELECT("places", "", INCLUDE("b a", roads)), SHAPE_INVALID_INCLUDES,
               "Relation between {\"public\", \"places\"} and {\"public\", \"roads\"} over FK [\"b\", \"a\"] "
               "does not "
               "exist");
    expect_bad(b, SELECT("users", "", INCLUDE("a\"\\", projects)), SHAPE_INVALID_INCLUDES,
               "Relation between {\"public\", \"users\"} and {\"public\", \"projects\"} over FK "
               "[\"a\\\"\\\\\"] does not "
               "exist");
    expect_bad(b, SELECT("users", "", INCLUDE(name, projects)), SHAPE_INVALID_INCLUDES,
               "Invalid foreign key");
    expect_bad(b, SELECT("users", "", INCLUDE("owner", projects), INCLUDE("owner", projects)),
               SHAPE_INVALID_INCLUDES, "Cannot traverse same relationship twice");
    expect_bad(b,
               SELECT("users", "", INCLUDE("owner", projects),
                      INCLUDE("owner", SELECT("projects", "this.name = 'a'"))),
               SHAPE_INVALID_INCLUDES, "Cannot traverse same relationship twice");
    expect_bad(
        b,
        SELECT("projects", "", INCLUDE("project", SELECT("issues", "", INCLUDE("x", SELECT("users", ""))))),
        SHAPE_INVALID_INCLUDES,
        "Relation between {\"public\", \"issues\"} and {\"public\", \"users\"} over FK [\"x\"] does not "
        "exist");
}

static void all_bad_requests_are_told(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_request requests[] = {
        fx_request(SELECT("none", "")),
        fx_request(SELECT("users", "")),
        {0},
        fx_request(SELECT("users", "", INCLUDE("none", SELECT("projects", "")),
                          INCLUDE("owner", SELECT("nothing", "")))),
    };
    const struct forest *forest = NULL;
    struct shape_faults faults = {0};
    assert_int_equal(shape_compile(fx, &b->model, requests, ARRAY_LEN(requests), &forest, &faults),
                     SHAPE_REFUSED);
    assert_int_equal(faults.n, 3);
    assert_int_equal(faults.items[0].request, 0);
    assert_int_equal(faults.items[1].request, 2);
    assert_int_equal(faults.items[1].code, SHAPE_EMPTY_DEFINITION);
    assert_int_equal(faults.items[2].request, 3);
    assert_int_equal(faults.items[2].code, SHAPE_INVALID_INCLUDES);
}

static void too_deep(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    const struct shape_select *s = SELECT("tree", "");
    for (int depth = 1; depth < SHAPE_MAX_DEPTH; depth++) {
        s = SELECT("tree", "", INCLUDE("parent", s));
    }
    struct shape_request r = fx_request(s);
    compile(b, &r, 1);
    assert_int_equal(b->forest->n_layers, SHAPE_MAX_DEPTH + 1);
    expect_bad(b, SELECT("tree", "", INCLUDE("parent", s)), SHAPE_INVALID_INCLUDES,
               "Includes are nested deeper than 32 levels");
}

static void too_many(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_request *requests = arena_alloc_array(fx, SHAPE_MAX_SELECTS + 9, sizeof *requests);
    for (size_t i = 0; i < SHAPE_MAX_SELECTS + 9; i++) {
        requests[i] = fx_request(SELECT("users", arena_printf(fx, "this.id = '%zu'", i)));
    }
    compile(b, requests, SHAPE_MAX_SELECTS);
    assert_int_equal(b->forest->n_layers, SHAPE_MAX_SELECTS);
    const struct forest *forest = NULL;
    struct shape_faults faults = {0};
    assert_int_equal(shape_compile(fx, &b->model, requests, SHAPE_MAX_SELECTS + 9, &forest, &faults),
                     SHAPE_REFUSED);
    assert_int_equal(faults.n, 1);
    assert_int_equal(faults.items[0].request, SHAPE_MAX_SELECTS);
    assert_string_equal(faults.items[0].message.p, "All shapes together have more than 1000 selects");
    struct shape_include *includes = arena_alloc_array(fx, SHAPE_MAX_SELECTS, sizeof *includes);
    struct shape_select wide = {STR("users"), STR(""), includes, SHAPE_MAX_SELECTS};
    expect_bad(b, &wide, SHAPE_INVALID_INCLUDES, "All shapes together have more than 1000 selects");
    struct str columns[SHAPE_MAX_KEY_COLUMNS + 1];
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        columns[i] = STR("id");
    }
    struct shape_include include = {{columns, ARRAY_LEN(columns)}, SELECT("projects", "")};
    struct shape_select keyed = {STR("users"), STR(""), &include, 1};
    expect_bad(b, &keyed, SHAPE_INVALID_INCLUDES, "Invalid foreign key");
}

static void too_long(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    enum { PIECE = 60000, N = SHAPE_MAX_WHERES / PIECE };
    struct shape_request requests[N + 1];
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        const char *head = arena_printf(fx, "this.id = '%zu", i);
        char *where = arena_alloc(fx, PIECE + 1);
        memset(where, 'x', PIECE);
        memcpy(where, head, strlen(head));
        memcpy(where + PIECE - 1, "'", 2);
        requests[i] = fx_request(SELECT("users", where));
    }
    compile(b, requests, N);
    const struct forest *forest = NULL;
    struct shape_faults faults = {0};
    assert_int_equal(shape_compile(fx, &b->model, requests, N + 1, &forest, &faults), SHAPE_REFUSED);
    assert_int_equal(faults.n, 1);
    assert_int_equal(faults.items[0].request, N);
    assert_string_equal(faults.items[0].message.p,
                        "Where clauses of all shapes are longer than 1048576 bytes");
}

/* Each where in bounds; what they are put together as is not. */
static void too_long_in_canonical_form(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_request requests[12];
    for (int i = 0; i < 12; i++) {
        CLEANUP(buf_deinit) struct buf where = BUF_INIT(100000);
        for (buf_printf(&where, "this.id IN ('%d'", i); where.n < 80000;) {
            buf_put_c(&where, ",'x'");
        }
        buf_put_byte(&where, ')');
        requests[i] = fx_request(SELECT("users", arena_str(fx, buf_str(&where)).p));
    }
    compile(b, requests, 1);
    const struct forest *forest = NULL;
    struct shape_faults faults = {0};
    assert_int_equal(shape_compile(fx, &b->model, requests, 12, &forest, &faults), SHAPE_REFUSED);
    assert_string_equal(faults.items[0].message.p, "Where clauses of all shapes are too long");
}

#define V(text)                \
    {                          \
        text, sizeof(text) - 1 \
    }

static void who_may_see_a_row(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    static const struct fx_shape_table owned[] = {{"owned", "id electric_user_id:uuid", "id", ""}};
    fx_add_tables(&b->model, owned, 1);
    static const struct {
        const char *table, *user;
        struct value value;
        bool admitted;
    } rows[] = {
        {"comments", "ann", V("ann"), true},
        {"comments", "ann", V("Ann"), false},
        {"comments", "ann", V("annx"), false},
        {"comments", "ann", {NULL, 0}, true},
        {"comments", "ann", V(""), true},
        {"comments", "", V("ann"), false},
        {"comments", "", V(""), true},
        {"owned", "ann", V("6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4e"), false},
        {"owned", "ann", {NULL, 0}, true},
        {"owned", "6A1C9B8E-1F5D-4C53-9C0E-8F3A1B2C3D4E", V("6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4e"), true},
        {"owned", "6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4f", V("6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4e"), false},
        {"owned", "6a1c9b8e01f5d-4c53-9c0e-8f3a1b2c3d4e", V("6a1c9b8e-1f5d-4c53-9c0e-8f3a1b2c3d4e"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct shape_request r = fx_request(SELECT(rows[i].table, ""));
        compile(b, &r, 1);
        const struct layer *l = &b->forest->layers[0];
        struct value row[8] = {[0] = V("1")};
        row[l->user_column] = rows[i].value;
        assert_int_equal(layer_admits(l, str_c(rows[i].user), row), rows[i].admitted);
    }
}

static void what_a_where_admits(void **state)
{
    struct bench *b = *state;
    struct arena *fx = &b->a;
    struct shape_request r = fx_request(SELECT("comments", "this.id = '1'"));
    compile(b, &r, 1);
    const struct layer *l = &b->forest->layers[0];
    struct value row[] = {V("1"), V(""), V(""), V("ann")};
    assert_true(layer_admits(l, STR("ann"), row));
    assert_false(layer_admits(l, STR("bob"), row));
    row[0] = (struct value)V("2");
    assert_false(layer_admits(l, STR("ann"), row));
    row[0] = (struct value){NULL, 0};
    assert_false(layer_admits(l, STR("ann"), row));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_table_alone),
        TEST(what_is_referred_to_comes_along),
        TEST(children_and_theirs),
        TEST(a_table_that_refers_to_itself),
        TEST(tables_that_refer_to_each_other),
        TEST(keys_of_several_columns_and_other_keys),
        TEST(includes_to_one),
        TEST(shapes_in_common),
        TEST(the_key_is_the_meaning),
        TEST(the_user_is_in_the_key_where_he_matters),
        TEST(definitions_and_tables_refused),
        TEST(wheres_refused),
        TEST(includes_refused),
        TEST(all_bad_requests_are_told),
        TEST(too_deep),
        TEST(too_many),
        TEST(too_long),
        TEST(too_long_in_canonical_form),
        TEST(who_may_see_a_row),
        TEST(what_a_where_admits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
