/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passes over the commands of a version: the first parses and brings the model up to date. The second takes
 * away what the version itself undoes, since what is gone cannot be described. The third renders and encodes:
 * a message describes its table as it is at the end of the version.
 */
#include "sync/migration.h"

#include "schema/ops.h"

struct command {
    struct rendered_op *ops; /* only those that changed the model */
    size_t n;
};

struct renderer {
    struct arena *a; /* the caller's: what is returned */
    enum dialect dialect;
    struct schema *schema;
    struct str version;
    struct buf sql;
    struct messages messages;
    struct notes notes;
    struct err *err;
};

static struct str trim_end(struct str s)
{
    while (s.n && memchr(" \t\r\n\f\v;", s.p[s.n - 1], 7)) {
        s.n--;
    }
    return s;
}

void migration_sql(struct buf *sql, const struct rendered_op *ops, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct str text = ops[i].has_statement ? trim_end(ops[i].statement.sql) : (struct str){NULL, 0};
        if (text.n == 0) {
            continue;
        }
        buf_put_c(sql, sql->n ? "\n\n" : "");
        buf_put_str(sql, text);
        buf_put_byte(sql, ';');
    }
}

/* An op that changes nothing (an enum told of again) is not for clients either. */
static int apply_command(struct renderer *r, struct arena *scratch, struct str json, struct command *out)
{
    struct op *ops;
    size_t n;
    if (ops_parse(scratch, json, &ops, &n, r->err)) {
        return -1;
    }
    struct command c = {.ops = arena_alloc_array(scratch, n, sizeof *c.ops)};
    for (size_t i = 0; i < n; i++) {
        int outcome = schema_apply(r->schema, &ops[i], r->err);
        if (outcome < 0) {
            return -1;
        }
        if (outcome == SCHEMA_CHANGED) {
            c.ops[c.n++] = (struct rendered_op){.op = &ops[i]};
        }
    }
    *out = c;
    return 0;
}

static int render_command(struct renderer *r, struct command *c)
{
    for (size_t i = 0; i < c->n; i++) {
        struct rendered_op *o = &c->ops[i];
        int outcome = render_op(r->a, r->dialect, r->schema, o->op, &o->statement, &r->notes, r->err);
        if (outcome < 0) {
            return -1;
        }
        o->has_statement = outcome == RENDER_STATEMENT;
    }
    migration_sql(&r->sql, c->ops, c->n);
    struct op_migrate in = {.version = r->version, .schema = r->schema, .ops = c->ops, .n = c->n};
    return op_migrate_encode(r->a, &in, &r->messages, r->err);
}

static bool is_drop(const struct op *op)
{
    return op->kind == OP_DROP_TABLE || op->kind == OP_DROP_ENUM;
}

static bool is_create(const struct op *op)
{
    return op->kind == OP_CREATE_TABLE || op->kind == OP_CREATE_ENUM;
}

static bool same_object(const struct op *a, const struct op *b)
{
    return op_is_about_enum(a) == op_is_about_enum(b) && str_eq(a->schema, b->schema) &&
           str_eq(a->name, b->name);
}

/* Takes the ops that `drop` makes needless out of a command's first n. *first: the version's first such op.
 */
static void forget_before(struct command *c, size_t n, const struct op *drop, const struct op **first)
{
    size_t kept = 0;
    for (size_t i = 0; i < c->n; i++) {
        const struct op *op = c->ops[i].op;
        if (i >= n || !same_object(op, drop)) {
            c->ops[kept++] = c->ops[i];
        } else if (!*first) {
            *first = op;
        }
    }
    c->n = kept;
}

/* Applies the drop that is op i of command c. Returns how many ops of that command are before what follows
 * it. */
static size_t apply_drop(struct command *commands, size_t c, size_t i)
{
    const struct op *drop = commands[c].ops[i].op, *first = NULL;
    for (size_t before = 0; before < c; before++) {
        forget_before(&commands[before], commands[before].n, drop, &first);
    }
    size_t behind = commands[c].n - (i + 1);
    forget_before(&commands[c], i, drop, &first);
    if (first && is_create(first)) { /* clients never had it */
        forget_before(&commands[c], commands[c].n - behind, drop, &first);
    }
    return commands[c].n - behind;
}

/* What is dropped in the version it was made in never gets to clients, and what is dropped needs no changes.
 */
static void forget_dropped(struct command *commands, size_t n)
{
    for (size_t c = 0; c < n; c++) {
        for (size_t i = 0; i < commands[c].n;) {
            i = is_drop(commands[c].ops[i].op) ? apply_drop(commands, c, i) : i + 1;
        }
    }
}

static int render(struct renderer *r, const struct str *command_ops, size_t n)
{
    CLEANUP(arena_deinit) struct arena scratch = ARENA_INIT;
    struct command *commands = arena_alloc_array(&scratch, n, sizeof *commands);
    for (size_t i = 0; i < n; i++) {
        if (apply_command(r, &scratch, command_ops[i], &commands[i])) {
            return err_context(r->err, "migration %.*s", STR_ARG(r->version));
        }
    }
    forget_dropped(commands, n);
    for (size_t i = 0; i < n; i++) {
        if (render_command(r, &commands[i])) {
            return err_context(r->err, "migration %.*s", STR_ARG(r->version));
        }
    }
    return r->sql.overflow ? err_set(r->err, ERR_LIMIT, "migration %.*s: text longer than %d bytes",
                                     STR_ARG(r->version), MIGRATION_MAX_SQL)
                           : 0;
}

int migration_render(struct arena *a, enum dialect d, struct schema *schema, struct str version,
                     const struct str *command_ops, size_t n, struct migration_text *out, struct err *err)
{
    struct renderer r = {.a = a, .dialect = d, .schema = schema, .version = version, .err = err};
    buf_init(&r.sql, MIGRATION_MAX_SQL);
    int rc = render(&r, command_ops, n);
    if (rc == 0) {
        *out = (struct migration_text){.sql = arena_str(a, buf_str(&r.sql)),
                                       .messages = r.messages.items,
                                       .n_messages = r.messages.n,
                                       .notes = r.notes.items,
                                       .n_notes = r.notes.n};
    }
    buf_deinit(&r.sql);
    return rc;
}
