/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As long as something fails: find the first migration that does, leave it out with all that depends on it,
 * begin again. A proof does not say which migration failed; as one that fails fails in every longer history
 * too, it is found by halving.
 */
#include "sync/history.h"

#include "base/mem.h"
#include "dialect/proof.h"
#include "sync/migration.h"

#include <jansson.h>
#include <string.h>

struct entry {
    struct str version;
    size_t first, n;    /* commands */
    const char *reason; /* left out */
};

struct sift {
    struct arena *a;
    const struct history_command *commands;
    struct entry *entries;
    size_t n;
    size_t found; /* by trial */
    struct str *ops;
    json_t *held; /* {"schema\ntable": version}: changed by a migration that is left out */
    struct err *err;
};

static void split(struct sift *s, size_t n_commands)
{
    s->entries = arena_alloc_array(s->a, n_commands + 1, sizeof *s->entries);
    for (size_t i = 0; i < n_commands; i++) {
        struct str version = s->commands[i].version;
        if (s->n == 0 || !str_eq(s->entries[s->n - 1].version, version)) {
            s->entries[s->n++] = (struct entry){.version = version, .first = i};
        }
        s->entries[s->n - 1].n++;
    }
}

/* --- trial --- */

/* The first `end` migrations, without those left out. 0, or -1 with s->err set. */
static int prove(struct sift *s, size_t end)
{
    size_t n = 0;
    for (size_t i = 0; i < end; i++) {
        const struct entry *e = &s->entries[i];
        for (size_t k = 0; k < e->n && !e->reason; k++) {
            s->ops[n++] = s->commands[e->first + k].ops;
        }
    }
    return proof_run(s->ops, n, n, s->err);
}

/* Returns the index of the first migration that the proof does not take; n: none. -1: nothing can be said. */
static int first_unproved(struct sift *s, size_t *out)
{
    size_t good = 0, bad = s->n; /* the first `good` pass, the first `bad` do not */
    if (prove(s, s->n) == 0) {
        *out = s->n;
        return 0;
    }
    while (s->err->kind != ERR_LIMIT && bad - good > 1) {
        size_t middle = good + (bad - good) / 2;
        if (prove(s, middle) == 0) {
            good = middle;
        } else {
            bad = middle;
        }
    }
    *out = bad - 1;
    return s->err->kind == ERR_LIMIT ? -1 : prove(s, bad) == 0 ? -1 : 0; /* again, for its own reason */
}

static int render(struct sift *s, struct arena *scratch, enum dialect dialect, struct schema *schema,
                  const struct entry *e)
{
    struct migration_text text;
    struct str *ops = arena_alloc_array(scratch, e->n, sizeof *ops);
    for (size_t k = 0; k < e->n; k++) {
        ops[k] = s->commands[e->first + k].ops;
    }
    return migration_render(scratch, dialect, schema, e->version, ops, e->n, &text, s->err);
}

static size_t first_unrendered(struct sift *s, enum dialect dialect)
{
    CLEANUP(arena_deinit) struct arena scratch = ARENA_INIT;
    struct schema schema = {0};
    size_t i = 0;
    while (i < s->n && (s->entries[i].reason || render(s, &scratch, dialect, &schema, &s->entries[i]) == 0)) {
        arena_reset(&scratch);
        i++;
    }
    schema_deinit(&schema);
    return i;
}

/* The proof counts commands among those that were left: that would help nobody. */
static const char *reason(struct sift *s)
{
    const char *text = s->err->msg;
    if (strncmp(text, "recorded migration command ", 27) == 0 && strstr(text, ": ")) {
        text = strstr(text, ": ") + 2;
    }
    return arena_strdup(s->a, text);
}

static int first_fault(struct sift *s, size_t *out)
{
    if (first_unproved(s, out) < 0) {
        return -1;
    }
    if (*out == s->n) {
        *out = first_unrendered(s, DIALECT_SQLITE);
    }
    if (*out == s->n) {
        *out = first_unrendered(s, DIALECT_POSTGRES);
    }
    return 0;
}

/* --- what depends on it --- */

/* drops: the operation takes the table from clients. */
typedef bool table_fn(struct sift *s, const char *key, const struct entry *e, bool drops);

static bool hold(struct sift *s, const char *key, const struct entry *e, bool drops)
{
    (void)drops;
    json_object_set_new_nocheck(s->held, key, json_stringn_nocheck(e->version.p, e->version.n));
    return false;
}

/* A table that is dropped waits no more, whatever clients had of it. If the entry must be left out for
 * another one all the same, it is held again. */
static bool is_held(struct sift *s, const char *key, const struct entry *e, bool drops)
{
    (void)e;
    if (drops) {
        json_object_del(s->held, key);
    }
    return json_object_get(s->held, key) != NULL;
}

static bool with_table(struct sift *s, json_t *schema, json_t *name, const struct entry *e, bool drops,
                       table_fn *fn)
{
    if (!json_is_string(schema) || !json_is_string(name)) {
        return false;
    }
    return fn(s, arena_printf(s->a, "%s\n%s", json_string_value(schema), json_string_value(name)), e, drops);
}

static bool with_op_tables(struct sift *s, json_t *op, bool references, const struct entry *e, table_fn *fn)
{
    json_t *table = json_object_get(op, "table"), *key;
    const char *kind = json_string_value(json_object_get(op, "op"));
    bool drops = kind && strcmp(kind, "drop_table") == 0;
    size_t i;
    bool found = json_is_object(table) ? with_table(s, json_object_get(table, "schema"),
                                                    json_object_get(table, "name"), e, drops, fn)
                                       : with_table(s, json_object_get(op, "schema"), table, e, drops, fn);
    if (references) {
        json_array_foreach(json_object_get(table, "foreign_keys"), i, key)
        {
            found |= with_table(s, json_object_get(key, "ref_schema"), json_object_get(key, "ref_table"), e,
                                false, fn);
        }
    }
    return found;
}

/* The ops may be anything: what cannot be read names no table. Returns whether fn did for one of them. */
static bool with_tables(struct sift *s, const struct entry *e, bool references, table_fn *fn)
{
    bool found = false;
    for (size_t k = 0; k < e->n; k++) {
        struct str text = s->commands[e->first + k].ops;
        json_t *ops = json_loadb(text.p, text.n, 0, NULL), *op;
        size_t i;
        json_array_foreach(ops, i, op)
        {
            found |= with_op_tables(s, op, references, e, fn);
        }
        json_decref(ops);
    }
    return found;
}

static void leave_out(struct sift *s, size_t at, const char *reason)
{
    s->entries[at].reason = reason;
    with_tables(s, &s->entries[at], false, hold);
    for (size_t i = at + 1; i < s->n; i++) {
        struct entry *e = &s->entries[i];
        if (!e->reason && with_tables(s, e, true, is_held)) {
            e->reason = arena_printf(s->a, "it changes a table of migration %.*s, which is left out",
                                     STR_ARG(s->entries[at].version));
            with_tables(s, e, false, hold);
        }
    }
}

static void leave_out_rest(struct sift *s, size_t from)
{
    for (size_t i = from; i < s->n; i++) {
        if (!s->entries[i].reason) {
            s->entries[i].reason = "too many migrations before it cannot be applied";
        }
    }
}

static int sift(struct sift *s)
{
    size_t at;
    for (;;) {
        if (first_fault(s, &at) < 0) {
            return -1;
        }
        if (at == s->n) {
            return 0;
        }
        leave_out(s, at, reason(s));
        if (++s->found == HISTORY_FAULTS) {
            leave_out_rest(s, at + 1);
        }
    }
}

int history_sift(struct arena *a, const struct history_command *commands, size_t n,
                 struct history_fault **out_faults, size_t *out_n, struct err *err)
{
    struct sift s = {.a = a, .commands = commands, .held = json_object(), .err = err};
    s.ops = arena_alloc_array(a, n + 1, sizeof *s.ops);
    split(&s, n);
    int rc = sift(&s);
    json_decref(s.held);
    if (rc < 0) {
        return -1;
    }
    *out_faults = arena_alloc_array(a, s.n + 1, sizeof **out_faults);
    *out_n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.entries[i].reason) {
            (*out_faults)[(*out_n)++] = (struct history_fault){s.entries[i].version, s.entries[i].reason};
        }
    }
    return 0;
}
