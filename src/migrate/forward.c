/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/forward.h"

#include "migrate/folder.h"
#include "sql/intent.h"
#include "sql/statement.h"

#include <inttypes.h>

static void put_commented(struct buf *out, struct str text)
{
    while (text.n) {
        struct str line = str_cut(&text, '\n');
        buf_put_c(out, "--   ");
        buf_put_str(out, line);
        buf_put_byte(out, '\n');
    }
}

/* What stands in for a statement that clients cannot follow. */
static void put_instead(struct buf *out, const struct intent *intent, struct str text)
{
    if (strcmp(intent->rule, "drop_table") == 0) {
        buf_printf(out, "ALTER TABLE %s DISABLE ELECTRIC;\n", intent->relation);
        buf_put_str(out, text);
        buf_put_c(out, ";\n");
        return;
    }
    if (strcmp(intent->rule, "drop_column") == 0) {
        buf_printf(out, "-- Clients keep the column %s of %s: stop using it.\n", intent->object,
                   intent->relation);
    } else {
        buf_printf(out, "-- Clients cannot follow this change of %s:\n", intent->relation);
    }
    put_commented(out, text);
}

static void put_statement(struct arena *a, struct buf *out, const struct statement *st)
{
    struct intent *intents = NULL;
    size_t n = 0;
    if (st->kind == STATEMENT_DDL && intent_list(a, st->text, &intents, &n) == 0 && n > 0) {
        put_instead(out, &intents[0], st->text);
        return;
    }
    buf_put_str(out, st->text);
    buf_put_c(out, "\n;\n");
}

void forward_put(struct buf *out, const struct migration *m)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct statement *items = NULL;
    size_t n = 0;
    struct err err = ERR_INIT;
    buf_printf(out, "-- Undoes %" PRIu64 " %s, which clients have.\n-- migrate:up\n", m->version, m->name);
    if (statement_split(&a, m->text.down, true, &items, &n, &err) == 0) {
        for (size_t i = 0; i < n; i++) {
            put_statement(&a, out, &items[i]);
        }
    }
}
