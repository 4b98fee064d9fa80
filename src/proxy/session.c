/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input and output of a session: which bytes wait, which go on. Messages are looked at in session_client.c
 * and session_server.c. Invariant: while `blocked`, no message of the client is looked at; whoever blocked
 * has a hidden operation or an on_drained call outstanding that unblocks.
 */
#include "proxy/session_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "wire/message.h"

#include <assert.h>
#include <stdlib.h>

struct session *session_new(const struct session_out *out, void *ctx, const char *log_prefix,
                            struct session_counters *counters)
{
    struct session *s = mem_zalloc(sizeof *s);
    s->out = *out;
    s->ctx = ctx;
    s->log_prefix = log_prefix;
    s->counters = counters;
    s->status = 'I';
    s->std_strings = true;
    s->effect = BLOCK_AS_BEFORE;
    s->guarded = true;
    buf_init(&s->from_client, LIMIT_MIGRATION_TEXT + 2 * LIMIT_READ);
    buf_init(&s->from_server, LIMIT_HELD_FRAME + 2 * LIMIT_READ);
    buf_init(&s->hidden.rows, LIMIT_CAPTURE);
    buf_init(&s->hidden.error, 2 * LIMIT_HELD_FRAME);
    buf_init(&s->held, 2 * LIMIT_HELD_FRAME);
    buf_init(&s->stash, LIMIT_MIGRATION_TEXT + LIMIT_READ);
    buf_init(&s->scratch, LIMIT_OUTPUT);
    return s;
}

void session_free(struct session *s)
{
    if (!s) {
        return;
    }
    for (uint32_t i = 0; i < s->answers.n; i++) {
        special_unref(answers_at(&s->answers, i)->special);
    }
    answers_deinit(&s->answers);
    special_map_deinit(&s->statements);
    special_map_deinit(&s->portals);
    special_unref(s->stash_special);
    special_unref(s->parse_undo);
    special_unref(s->reconcile_at_sync);
    free((void *)(uintptr_t)s->wrapped_text.p);
    forget_marks(s);
    forget_unguarded(s);
    free(s->marks);
    buf_deinit(&s->from_client);
    buf_deinit(&s->from_server);
    buf_deinit(&s->hidden.rows);
    buf_deinit(&s->hidden.error);
    buf_deinit(&s->held);
    buf_deinit(&s->stash);
    buf_deinit(&s->scratch);
    arena_deinit(&s->arena);
    script_end(s);
    free(s);
}

void session_set_guarded(struct session *s, bool on)
{
    s->guarded = on;
}

static void on_catalogs_hidden(struct session *s, bool ok)
{
    if (!ok) {
        forward_error(s, buf_str(&s->hidden.error), 0, true, 0);
        session_fatal(s, PROXY_NO_INTROSPECTION);
    }
}

void session_set_mode(struct session *s, enum session_mode mode)
{
    s->mode = mode;
    if (mode == SESSION_INTROSPECTION) {
        hidden_run(s, HIDDEN_SYNC, STR("SELECT busbar.hide_catalogs()"), NULL, 0, on_catalogs_hidden);
    }
}

void session_set_std_strings(struct session *s, bool on)
{
    s->std_strings = on;
}

void session_block(struct session *s)
{
    s->blocked = true;
}

void session_unblock(struct session *s)
{
    s->blocked = false;
}

void send_client(struct session *s, struct buf *b)
{
    s->out.to_client(s->ctx, b->p, b->n);
    s->out.flush_client(s->ctx);
    buf_reset(b);
}

void send_server(struct session *s, struct buf *b)
{
    s->out.to_server(s->ctx, b->p, b->n);
    s->out.flush_server(s->ctx);
    buf_reset(b);
}

/* A failed transaction has no use for its portals either, should this be skipped. */
static bool ends_portals(const struct session *s, const struct answer *a)
{
    bool ready = a->kind == ANSWER_SYNC || a->kind == ANSWER_QUERY || a->kind == ANSWER_FUNCTION;
    return a->block == BLOCK_NONE || (ready && s->block == BLOCK_NONE);
}

bool expect(struct session *s, enum answer_kind kind, enum answer_action action, uint8_t flags,
            struct special *special)
{
    struct answer a = {.kind = (uint8_t)kind,
                       .action = (uint8_t)action,
                       .flags = flags,
                       .block = (uint8_t)s->effect,
                       .special = special};
    s->effect = BLOCK_AS_BEFORE;
    if (answers_push(&s->answers, a)) {
        s->undos += answer_undoes(&a);
        if (ends_portals(s, &a)) {
            special_map_clear(&s->portals);
        }
        return true;
    }
    special_unref(special);
    session_fatal(s, PROXY_PIPELINE_FULL);
    return false;
}

void predict_block(struct session *s, enum block effect)
{
    s->effect = effect;
    s->hidden_replaced |= s->block == BLOCK_HIDDEN && effect != BLOCK_AS_BEFORE;
    s->block = effect == BLOCK_AS_BEFORE ? s->block : effect;
}

bool may_be_hidden(const struct session *s)
{
    return !s->skipping && (s->block == BLOCK_HIDDEN || s->hidden_replaced);
}

void settle_block(struct session *s, enum block block)
{
    s->block = block;
    s->known = block;
}

void correct_block(struct session *s, enum block known)
{
    s->known = known;
    s->block = known;
    for (uint32_t i = 0; i < s->answers.n; i++) {
        enum block effect = (enum block)answers_at(&s->answers, i)->block;
        s->block = effect == BLOCK_AS_BEFORE ? s->block : effect;
    }
}

static void tell_and_close(struct session *s, enum proxy_error e, enum log_level level)
{
    if (s->closing) {
        return;
    }
    s->closing = true;
    struct proxy_error_text text;
    struct problem problem = proxy_fatal(e, NULL, &text);
    log_write(level, s->log_prefix, "closing the session: %s", text.message);
    if (s->server_left == 0 || s->server_left_dropped) { /* not into the middle of a row */
        struct buf b = BUF_INIT(LIMIT_HELD_FRAME);
        put_error(&b, &problem);
        send_client(s, &b);
        buf_deinit(&b);
    }
    s->out.close(s->ctx);
}

void session_fatal(struct session *s, enum proxy_error e)
{
    tell_and_close(s, e, LOG_WARNING);
}

static bool ends_between_messages(const struct buf *b)
{
    struct frame_head head;
    struct err err;
    size_t at = 0;
    while (at < b->n && frame_peek(b->p + at, b->n - at, &head, &err) == FRAME_FOUND &&
           head.total <= b->n - at) {
        at += head.total;
    }
    return at == b->n;
}

int session_client_end(struct session *s, struct err *err)
{
    if (s->closing || s->terminated) {
        return 0;
    }
    if (s->client_left > 0 || !ends_between_messages(&s->from_client)) {
        return err_set(err, ERR_PEER, "the client left in the middle of a message");
    }
    return session_feed_client(s, "X\0\0\0\4", 5, err); /* as if it had said Terminate */
}

bool session_client_left(const struct session *s)
{
    return s->terminated;
}

void session_end(struct session *s, enum proxy_error why)
{
    if (s->server_left == 0) {
        tell_and_close(s, why, LOG_DEBUG);
    }
}

bool session_at_rest(const struct session *s)
{
    bool waiting = s->from_client.n > 0 || s->client_left > 0 || s->from_server.n > 0 || s->server_left > 0;
    return s->status == 'I' && s->answers.n == 0 && !s->in_batch && !s->blocked && !waiting;
}

const struct session_facts *session_facts(const struct session *s)
{
    return &s->facts;
}

static bool ends_in_ready(const struct session *s)
{
    switch (answers_at(&s->answers, s->answers.n - 1)->kind) {
    case ANSWER_QUERY:
    case ANSWER_FUNCTION:
    case ANSWER_SYNC:
        return true;
    default:
        return false;
    }
}

/* Without a Sync at the end of what is outstanding the server keeps its answers in its own buffer: a Flush
 * brings them out. */
void drain(struct session *s, session_next next)
{
    while (s->answers.n > 0 && answers_front(&s->answers)->kind == ANSWER_COPY_DONE) {
        answers_pop(&s->answers);
    }
    if (s->answers.n == 0) {
        next(s);
        return;
    }
    assert(!s->on_drained);
    session_block(s);
    s->on_drained = next;
    if (!ends_in_ready(s)) {
        put_flush(&s->scratch);
        send_server(s, &s->scratch);
    }
}

void forget_marks(struct session *s)
{
    for (size_t i = 0; i < s->marks_n; i++) {
        free((void *)(uintptr_t)s->marks[i].text.p);
    }
    s->marks_n = 0;
    s->marks_bytes = 0;
}

void release_held(struct session *s)
{
    if (s->held.n > 0) {
        send_client(s, &s->held);
    }
}

static int keep_rest(struct session *s, struct buf *b, const char *p, size_t n, struct err *err)
{
    buf_put(b, p, n);
    if (!b->overflow) {
        return 0;
    }
    session_fatal(s, PROXY_MESSAGE_TOO_LARGE);
    return err_set(err, ERR_LIMIT, "more than %zu bytes of input wait", b->max);
}

/* Uses what was kept, after something unblocked the client. */
static int resume_client(struct session *s, struct err *err)
{
    size_t used = 0;
    if (s->blocked || s->closing || s->from_client.n == 0) {
        return 0;
    }
    int rc = process_client(s, s->from_client.p, s->from_client.n, &used, err);
    s->out.flush_server(s->ctx);
    if (used == s->from_client.n) {
        buf_deinit(&s->from_client); /* an idle session holds no buffer */
    } else {
        buf_consume(&s->from_client, used);
    }
    return rc;
}

int session_feed_client(struct session *s, const char *p, size_t n, struct err *err)
{
    if (s->closing || s->terminated) {
        return 0;
    }
    if (s->from_client.n > 0 || s->blocked) {
        if (keep_rest(s, &s->from_client, p, n, err) < 0) {
            return -1;
        }
        return resume_client(s, err);
    }
    size_t used = 0;
    if (process_client(s, p, n, &used, err) < 0) {
        return -1;
    }
    return used < n && !s->closing ? keep_rest(s, &s->from_client, p + used, n - used, err) : 0;
}

int session_feed_server(struct session *s, const char *p, size_t n, struct err *err)
{
    size_t used = 0;
    int rc;
    if (s->closing) {
        return 0;
    }
    if (s->from_server.n > 0) {
        if (keep_rest(s, &s->from_server, p, n, err) < 0) {
            return -1;
        }
        rc = process_server(s, s->from_server.p, s->from_server.n, &used, err);
        s->out.flush_client(s->ctx);
        if (used == s->from_server.n) {
            buf_deinit(&s->from_server);
        } else {
            buf_consume(&s->from_server, used);
        }
    } else {
        rc = process_server(s, p, n, &used, err);
        if (rc == 0 && used < n && !s->closing) {
            rc = keep_rest(s, &s->from_server, p + used, n - used, err);
        }
    }
    return rc < 0 ? rc : resume_client(s, err);
}

bool session_wants_client(const struct session *s)
{
    return !s->closing && !s->terminated && !(s->blocked && s->from_client.n >= LIMIT_READ);
}
