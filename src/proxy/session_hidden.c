/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries of ours inside the client's session. Always in the extended protocol, under a name of our own, so
 * that the client's unnamed statement and portal, its implicit transaction and the server's recovery to Sync
 * are as it left them:
 *
 *   [Close S, Close P]  Parse  Bind  Execute  Close P  Close S  (Sync | Flush)
 *
 * The first two only after a hidden operation that failed, when its statement and portal may still be there.
 */
#include "proxy/session_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "ddlx/ddlx.h"
#include "wire/message.h"

#include <assert.h>

/* No client types a control character into a name. */
static const struct str hidden_name = {"\001busbar", 7};

static bool put_closes(struct session *s, uint8_t last_flags)
{
    put_close(&s->scratch, 'P', hidden_name);
    put_close(&s->scratch, 'S', hidden_name);
    return expect(s, ANSWER_CLOSE, ACTION_HIDDEN, 0, NULL) &&
           expect(s, ANSWER_CLOSE, ACTION_HIDDEN, last_flags, NULL);
}

static bool put_operation(struct session *s, struct str sql, const struct str *params, size_t n,
                          uint8_t last_flags)
{
    if (s->hidden.leftover && !put_closes(s, 0)) {
        return false;
    }
    s->hidden.leftover = false;
    put_parse(&s->scratch, hidden_name, sql);
    put_bind(&s->scratch, hidden_name, hidden_name, params, n);
    put_execute(&s->scratch, hidden_name);
    return expect(s, ANSWER_PARSE, ACTION_HIDDEN, 0, NULL) &&
           expect(s, ANSWER_BIND, ACTION_HIDDEN, 0, NULL) &&
           expect(s, ANSWER_EXECUTE, ACTION_HIDDEN, 0, NULL) && put_closes(s, last_flags);
}

void hidden_run(struct session *s, enum hidden_end end, struct str sql, const struct str *params, size_t n,
                session_done done)
{
    assert(!s->hidden.active);
    s->hidden.active = true;
    s->hidden.failed = false;
    s->hidden.done = done;
    buf_reset(&s->hidden.rows);
    buf_reset(&s->hidden.error);
    session_block(s);
    log_debug(s->log_prefix, "hidden: %.*s", STR_ARG(sql));
    if (!put_operation(s, sql, params, n, end == HIDDEN_FLUSH ? ANSWER_LAST : 0)) {
        return;
    }
    if (end == HIDDEN_FLUSH) {
        put_flush(&s->scratch);
    } else {
        put_sync(&s->scratch);
        if (!expect(s, ANSWER_SYNC, ACTION_HIDDEN, ANSWER_LAST, NULL)) {
            return;
        }
    }
    send_server(s, &s->scratch);
}

void hidden_send(struct session *s, struct str sql)
{
    if (put_operation(s, sql, NULL, 0, 0)) {
        send_server(s, &s->scratch);
    }
}

void hidden_row(struct session *s, const char *frame, size_t n)
{
    buf_put(&s->hidden.rows, frame, n);
    if (s->hidden.rows.overflow) {
        session_fatal(s, PROXY_HISTORY_TOO_LARGE);
    }
}

void hidden_finish(struct session *s, bool ok)
{
    if (!s->hidden.active) {
        return;
    }
    s->hidden.active = false;
    s->hidden.leftover |= !ok;
    session_unblock(s);
    s->hidden.done(s, ok);
    if (!s->hidden.active) {
        buf_deinit(&s->hidden.rows);
        buf_deinit(&s->hidden.error);
    }
}

void adapt_statement(const struct session *s, struct statement *st)
{
    if (s->mode != SESSION_SHADOW) {
        return;
    }
    switch (st->kind) {
    case STATEMENT_ELECTRIFY:
        st->kind = STATEMENT_DDLX;
        return;
    case STATEMENT_DDL:
    case STATEMENT_DDL_INDEX_CONCURRENTLY:
    case STATEMENT_DO:
        st->kind = STATEMENT_PLAIN;
        st->wrap = false;
        return;
    default:
        return;
    }
}

/* Where there is nothing of ours in the database. */
static struct stand_in shadow_for(struct arena *arena, struct str text, const char *tag)
{
    static const struct str nothing = {"RESET busbar.nothing", 20};
    struct ddlx ddlx;
    struct ddlx_error error;
    if (tag) {
        return (struct stand_in){.sql = nothing, .tag = tag};
    }
    if (ddlx_parse(arena, text, &ddlx, &error) < 0) {
        return (struct stand_in){.sql = str_c(ddlx_shadow_error(arena, &error)), .point_at = error.position};
    }
    return (struct stand_in){.sql = nothing, .tag = ddlx.tag};
}

struct stand_in stand_in_for(struct session *s, struct arena *arena, struct str text, const char *tag)
{
    struct ddlx ddlx;
    struct ddlx_error error;
    counter_add(&s->counters->ddlx_statements, 1);
    if (s->mode == SESSION_SHADOW) {
        return shadow_for(arena, text, tag);
    }
    if (ddlx_parse(arena, text, &ddlx, &error) < 0) {
        return (struct stand_in){.sql = str_c(ddlx_plan_error(arena, &error)), .point_at = error.position};
    }
    return (struct stand_in){.sql = str_c(ddlx_plan(arena, &ddlx)), .tag = ddlx.tag};
}

void find_intents(struct session *s, struct arena *arena, struct str statement, struct intent **out_intents,
                  size_t *out_n)
{
    counter_add(&s->counters->statements_inspected, 1);
    if (intent_list(arena, statement, out_intents, out_n) < 0 || *out_n > LIMIT_ASKED) {
        *out_n = 0;
    }
}
