/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks requests and puts their selects into one tree, depth first: a select's table, its where, the foreign
 * key that leads to it, what it includes, and then whether it includes something twice. The first fault ends
 * a request, and no other.
 */
#include "shapes/shape.h"

#include "shapes/tree.h"
#include "shapes/where.h"

enum {
    /* What a select adds to a forest's key besides its where: names, quotes doubled. */
    MAX_KEY_HEAD = (SHAPE_MAX_KEY_COLUMNS + 2) * (2 * SHAPE_MAX_NAME + 3) + 64,
    MAX_KEY = SHAPE_MAX_SELECTS * MAX_KEY_HEAD + SHAPE_MAX_WHERE_KEYS,
};

struct compiler {
    struct arena *a;
    const struct schema *model;
    size_t selects, where_bytes, where_key_bytes; /* so far */
    struct shape_fault fault;                     /* of the request at hand */
};

static bool refuse(struct compiler *c, enum shape_fault_code code, const char *message)
{
    c->fault.code = code;
    c->fault.message = str_c(message);
    return false;
}

/* It will be in a message, whose texts are UTF-8. */
static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F) {
            return false;
        }
    }
    return str_is_utf8(s);
}

static bool is_name(struct str s)
{
    return s.n > 0 && s.n <= SHAPE_MAX_NAME && is_printable(s);
}

static bool find_table(struct compiler *c, struct str name, const struct table **out)
{
    if (!is_name(name)) {
        return refuse(c, SHAPE_TABLE_NOT_FOUND, "Invalid table name");
    }
    const struct table *t = schema_table(c->model, STR("public"), name);
    if (!t || t->primary_key.columns.n == 0) {
        return refuse(c, SHAPE_TABLE_NOT_FOUND, arena_printf(c->a, "Unknown table %.*s", STR_ARG(name)));
    }
    *out = t;
    return true;
}

static bool refuse_where(struct compiler *c, const struct where_refusal *why)
{
    const char *text = why->location < 0
                           ? arena_printf(c->a, "%.*s", STR_ARG(why->message))
                           : arena_printf(c->a, "At location %d: %.*s", why->location, STR_ARG(why->message));
    return refuse(c, SHAPE_INVALID_WHERE, text);
}

static bool parse_where(struct compiler *c, struct str text, struct node *node)
{
    if (text.n == 0) {
        return true;
    }
    if (!str_is_utf8(text) || memchr(text.p, '\0', text.n)) {
        return refuse(c, SHAPE_INVALID_WHERE, "Where clause is not valid UTF-8");
    }
    c->where_bytes += text.n;
    if (c->where_bytes > SHAPE_MAX_WHERES) {
        return refuse(
            c, SHAPE_INVALID_WHERE,
            arena_printf(c->a, "Where clauses of all shapes are longer than %d bytes", SHAPE_MAX_WHERES));
    }
    struct where_refusal why = {0};
    if (!where_parse(c->a, text, node->table, c->model, &node->where, &why)) {
        return refuse_where(c, &why);
    }
    CLEANUP(buf_deinit) struct buf key = BUF_INIT(SHAPE_MAX_WHERE_KEYS - c->where_key_bytes);
    where_put_key(node->where, &key);
    if (key.overflow) {
        return refuse(c, SHAPE_INVALID_WHERE, "Where clauses of all shapes are too long");
    }
    c->where_key_bytes += key.n;
    node->where_key = arena_str(c->a, buf_str(&key));
    return true;
}

/* As Elixir's inspect() has them, which clients may know: "a", with \" and \\ inside. */
static void put_quoted(struct buf *b, struct str s)
{
    buf_put_byte(b, '"');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\') {
            buf_put_byte(b, '\\');
        }
        buf_put_byte(b, s.p[i]);
    }
    buf_put_byte(b, '"');
}

static bool refuse_relation(struct compiler *c, const struct table *from, const struct table *to,
                            const struct names *key)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT((2 + SHAPE_MAX_KEY_COLUMNS) * (2 * SHAPE_MAX_NAME + 4) + 100);
    buf_put_c(&b, "Relation between {\"public\", ");
    put_quoted(&b, from->name);
    buf_put_c(&b, "} and {\"public\", ");
    put_quoted(&b, to->name);
    buf_put_c(&b, "} over FK [");
    for (size_t i = 0; i < key->n; i++) {
        buf_put_c(&b, i ? ", " : "");
        put_quoted(&b, key->items[i]);
    }
    buf_put_c(&b, "] does not exist");
    return refuse(c, SHAPE_INVALID_INCLUDES, arena_str(c->a, buf_str(&b)).p);
}

static bool find_link(struct compiler *c, const struct table *holding, const struct table *referenced,
                      const struct names *columns, struct link *out)
{
    for (size_t i = 0; i < holding->n_foreign_keys; i++) {
        const struct foreign_key *k = &holding->foreign_keys[i];
        if (table_is(referenced, k->ref_schema, k->ref_table) && names_compare(&k->columns, columns) == 0 &&
            link_make(c->a, k, holding, referenced, out)) {
            return true;
        }
    }
    return false;
}

static bool is_key(const struct names *columns)
{
    for (size_t i = 0; i < columns->n && i < SHAPE_MAX_KEY_COLUMNS; i++) {
        if (!is_name(columns->items[i])) {
            return false;
        }
    }
    return columns->n <= SHAPE_MAX_KEY_COLUMNS;
}

/* Which way the foreign key goes: to many first, where both would do. */
static bool join(struct compiler *c, const struct node *parent, const struct names *columns,
                 struct node *node)
{
    if (!is_key(columns)) {
        return refuse(c, SHAPE_INVALID_INCLUDES, "Invalid foreign key");
    }
    if (find_link(c, node->table, parent->table, columns, &node->link)) {
        node->kind = LAYER_TO_MANY;
        return true;
    }
    if (!find_link(c, parent->table, node->table, columns, &node->link)) {
        return refuse_relation(c, parent->table, node->table, columns);
    }
    node->kind = LAYER_TO_ONE;
    if (node->where) {
        /* A row that others refer to must come, whatever it holds. */
        return refuse(c, SHAPE_INVALID_INCLUDES, "A many-to-one include cannot have a where clause");
    }
    return true;
}

/* Counted before anything is kept for them. */
static bool count_selects(struct compiler *c, size_t more)
{
    if (more > SHAPE_MAX_SELECTS - c->selects) {
        c->selects = SHAPE_MAX_SELECTS;
        return refuse(c, SHAPE_INVALID_INCLUDES,
                      arena_printf(c->a, "All shapes together have more than %d selects", SHAPE_MAX_SELECTS));
    }
    c->selects += more;
    return true;
}

/* The select by itself, as yet without its place in the tree. */
static bool prepare(struct compiler *c, const struct shape_select *select, struct node *out)
{
    *out = (struct node){.kind = LAYER_TOP};
    return find_table(c, select->table, &out->table) && parse_where(c, select->where, out);
}

static bool add_includes(struct compiler *c, const struct shape_select *select, struct node *node, int depth);

/* out_node: the include as it was asked for; in the tree it may have become one with that of another shape.
 */
static bool add_include(struct compiler *c, const struct shape_include *include, struct node *parent,
                        int depth, struct node *out_node)
{
    if (depth > SHAPE_MAX_DEPTH) {
        return refuse(c, SHAPE_INVALID_INCLUDES,
                      arena_printf(c->a, "Includes are nested deeper than %d levels", SHAPE_MAX_DEPTH));
    }
    if (!include->select) {
        return refuse(c, SHAPE_INVALID_INCLUDES, "Relation has to have a FK and a select");
    }
    return prepare(c, include->select, out_node) && join(c, parent, &include->foreign_key, out_node) &&
           add_includes(c, include->select, node_child(c->a, parent, out_node), depth);
}

static bool is_same_relation(const struct node *a, const struct node *b)
{
    return a->kind == b->kind && a->table == b->table &&
           names_compare(&a->link.key->columns, &b->link.key->columns) == 0;
}

static bool check_different(struct compiler *c, const struct node *nodes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < i; k++) {
            if (is_same_relation(&nodes[i], &nodes[k])) {
                return refuse(c, SHAPE_INVALID_INCLUDES, "Cannot traverse same relationship twice");
            }
        }
    }
    return true;
}

/* depth: of the select; the top has 1. */
static bool add_includes(struct compiler *c, const struct shape_select *select, struct node *node, int depth)
{
    if (!count_selects(c, select->n_includes)) {
        return false;
    }
    struct node *nodes = arena_alloc_array(c->a, select->n_includes, sizeof *nodes);
    for (size_t i = 0; i < select->n_includes; i++) {
        if (!add_include(c, &select->includes[i], node, depth + 1, &nodes[i])) {
            return false;
        }
    }
    return check_different(c, nodes, select->n_includes);
}

static bool add_request(struct compiler *c, const struct shape_request *request, struct node *root)
{
    if (request->n_selects == 0) {
        return refuse(c, SHAPE_EMPTY_DEFINITION, "Empty shape requests are not allowed");
    }
    if (request->n_selects > 1) {
        return refuse(c, SHAPE_INVALID_INCLUDES, "Cannot have more than one top-level select");
    }
    struct node top;
    return count_selects(c, 1) && prepare(c, &request->selects[0], &top) &&
           add_includes(c, &request->selects[0], node_child(c->a, root, &top), 1);
}

static void add_fault(struct compiler *c, size_t request, struct shape_faults *faults)
{
    c->fault.request = request;
    faults->items[faults->n++] = c->fault;
}

enum shape_outcome shape_compile(struct arena *a, const struct schema *model,
                                 const struct shape_request *requests, size_t n,
                                 const struct forest **out_forest, struct shape_faults *out_faults)
{
    struct compiler c = {.a = a, .model = model};
    /* One request more than can be is enough to refuse them all. */
    n = n <= SHAPE_MAX_SELECTS ? n : SHAPE_MAX_SELECTS + 1;
    struct shape_faults faults = {.items = arena_alloc_array(a, n, sizeof *faults.items)};
    struct node root = {.kind = LAYER_TOP};
    for (size_t i = 0; i < n; i++) {
        if (!add_request(&c, &requests[i], &root)) {
            add_fault(&c, i, &faults);
        }
    }
    if (faults.n > 0) {
        *out_faults = faults;
        return SHAPE_REFUSED;
    }
    node_prune(&root);
    *out_forest = forest_build(a, model, &root, MAX_KEY);
    return SHAPE_COMPILED;
}
