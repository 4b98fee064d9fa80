/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/batch.h"

#include "migrate/history.h"
#include "sql/statement.h"

#include <time.h>

enum { SQL_LIMIT = BATCH_TEXT + BATCH_MOST * 4096 };

void batch_deinit(struct batch *b)
{
    arena_deinit(&b->arena);
}

bool batch_add(struct batch *b, const struct migration *m)
{
    const struct migration_options *o = &m->text.up_options;
    struct statement *items = NULL;
    size_t n = 0;
    struct err err = ERR_INIT;
    if (m->elixir || !o->transaction || !o->lock || o->timeout_ms || b->n == BATCH_MOST ||
        m->text.up.n > BATCH_TEXT - b->bytes ||
        statement_split(&b->arena, m->text.up, true, &items, &n, &err) < 0) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (items[i].kind != STATEMENT_DDL) {
            return false; /* a SET, say, would be felt by the next one */
        }
    }
    b->items[b->n] = m;
    b->statements[b->n++] = n;
    b->bytes += m->text.up.n;
    return true;
}

static void put_sql(const struct batch *b, const struct session *s, const struct run_options *o, bool durable,
                    struct buf *out)
{
    buf_put_c(out, "BEGIN;\n");
    run_put_settings(out, s, o->lock_timeout_ms, 0);
    buf_put_c(out, durable ? "" : "SET LOCAL synchronous_commit = off;\n");
    for (size_t i = 0; i < b->n; i++) {
        buf_put_str(out, b->items[i]->text.up);
        buf_put_c(out, "\n;\n");
    }
    history_put_batch(out, s, b->items, b->statements, b->n);
    buf_put_c(out, "COMMIT");
}

static void tell(const struct batch *b, struct session *s, unsigned ms)
{
    for (size_t i = 0; i < b->n; i++) {
        report_begin(s->report, b->items[i]->version, b->items[i]->name, false);
        report_end(s->report, b->items[i]->version, b->items[i]->name, false, ms / (unsigned)b->n, s->place);
    }
}

int batch_run(struct batch *b, struct session *s, const struct run_options *o, bool durable)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(SQL_LIMIT);
    CLEANUP(sync_answer_deinit) struct sync_answer a;
    struct timespec from, to;
    put_sql(b, s, o, durable, &sql);
    if (sql.overflow) {
        return BATCH_NOTHING_KEPT;
    }
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (sync_script(s->run, buf_cstr(&sql), &a) < 0) {
        if (!sync_is_up(s->run)) {
            report_failure(s->report, a.result.err.msg, a.result.detail, a.result.hint);
            return -1;
        }
        bool open = sync_in_transaction(s->run);
        return open && session_exec(s, s->run, "ROLLBACK", "cannot roll back") < 0 ? -1 : BATCH_NOTHING_KEPT;
    }
    clock_gettime(CLOCK_MONOTONIC, &to);
    tell(b, s, (unsigned)((to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000));
    return BATCH_DONE;
}
