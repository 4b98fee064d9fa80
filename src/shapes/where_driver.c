/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where clauses from the outside, for tests/test_where_differential.py. Lines on standard input, fields
 * between tabs, escaped as COPY does (\N is NULL):
 *
 *   C name schema type enum?   a column            E schema name label…   an enum
 *   R value…                   a row               W text                 a where; answered by a line:
 *
 *   0 location message, or 1 may-raise? results SQL     a result a row: t, f, n
 */
#include "shapes/where.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_FIELDS = 200, MAX_ROWS = 1000, MAX_SQL = 16 * 1024 * 1024 };

struct driver {
    struct arena arena;
    struct table table;
    struct column columns[MAX_FIELDS];
    struct enum_type enums[MAX_FIELDS];
    struct enum_type *enum_list[MAX_FIELDS];
    struct schema model;
    struct value *rows[MAX_ROWS];
    size_t n_rows;
};

static char unescaped(char c)
{
    static const char from[] = "bfnrtv", to[] = "\b\f\n\r\t\v";
    const char *found = c ? strchr(from, c) : NULL;
    return found ? to[found - from] : c;
}

/* In place; p = NULL for \N. */
static struct str unescape(char *p)
{
    if (!strcmp(p, "\\N")) {
        return (struct str){NULL, 0};
    }
    char *w = p;
    for (const char *r = p; *r; r++) {
        *w++ = *r == '\\' && r[1] ? unescaped(*++r) : *r;
    }
    *w = '\0';
    return (struct str){p, (size_t)(w - p)};
}

static void put_escaped(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        switch (s.p[i]) {
        case '\n':
            fputs("\\n", stdout);
            break;
        case '\r':
            fputs("\\r", stdout);
            break;
        case '\t':
            fputs("\\t", stdout);
            break;
        case '\\':
            fputs("\\\\", stdout);
            break;
        default:
            putchar(s.p[i]);
        }
    }
}

static void add_column(struct driver *d, const struct str *f)
{
    d->columns[d->table.n_columns++] = (struct column){.name = f[0],
                                                       .type_schema = f[1],
                                                       .type_name = f[2],
                                                       .typmod = -1,
                                                       .is_enum = str_eq(f[3], STR("t"))};
}

static void add_enum(struct driver *d, const struct str *f, size_t n)
{
    struct enum_type *e = &d->enums[d->model.n_enums];
    *e = (struct enum_type){.schema = f[0], .name = f[1], .labels.n = n - 2};
    e->labels.items = arena_alloc_array(&d->arena, n - 2, sizeof *f);
    memcpy(e->labels.items, f + 2, (n - 2) * sizeof *f);
    d->enum_list[d->model.n_enums++] = e;
}

static void add_row(struct driver *d, const struct str *f, size_t n)
{
    struct value *row = arena_alloc_array(&d->arena, n, sizeof *row);
    for (size_t i = 0; i < n; i++) {
        row[i] = (struct value){f[i].p, (uint32_t)f[i].n};
    }
    d->rows[d->n_rows++] = row;
}

static void answer(struct driver *d, struct str text)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(MAX_SQL);
    const struct where *w;
    struct where_refusal why;
    if (!where_parse(&a, text, &d->table, &d->model, &w, &why)) {
        printf("0\t%d\t", why.location);
        put_escaped(why.message);
    } else {
        printf("1\t%c\t", where_may_raise(w) ? 't' : 'f');
        for (size_t i = 0; i < d->n_rows; i++) {
            putchar("ftn"[where_eval(w, d->rows[i])]);
        }
        putchar('\t');
        where_print(w, STR("r"), &sql);
        put_escaped(buf_str(&sql));
    }
    putchar('\n');
    fflush(stdout);
}

static void process(struct driver *d, char *line)
{
    struct str f[MAX_FIELDS];
    size_t n = 0;
    char *kept = arena_strdup(&d->arena, line), *rest = kept;
    for (char *p = strsep(&rest, "\t"); p && n < MAX_FIELDS; p = strsep(&rest, "\t")) {
        f[n++] = unescape(p);
    }
    switch (*line) {
    case 'C':
        add_column(d, f + 1);
        break;
    case 'E':
        add_enum(d, f + 1, n - 1);
        break;
    case 'R':
        add_row(d, f + 1, n - 1);
        break;
    default:
        answer(d, f[1]);
    }
}

int main(void)
{
    struct driver *d = mem_zalloc(sizeof *d);
    d->table = (struct table){.schema = STR("public"), .name = STR("x"), .columns = d->columns};
    d->model.enums = d->enum_list;
    char *line = NULL;
    size_t room = 0;
    for (ssize_t n = getline(&line, &room, stdin); n > 0; n = getline(&line, &room, stdin)) {
        line[n - 1] = '\0';
        process(d, line);
    }
    free(line);
    arena_deinit(&d->arena);
    free(d);
    return 0;
}
