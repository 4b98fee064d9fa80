/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the client. One rule for each type byte; what has no rule is a protocol violation.
 *
 *   Query Q: text\0                     Parse P: name\0 text\0 types      Bind B: portal\0 statement\0 …
 *   Describe D: S|P name\0              Execute E: portal\0 rows          Close C: S|P name\0
 *   Sync S, Flush H, FunctionCall F, CopyData d, CopyDone c, CopyFail f, Terminate X
 *
 * A statement longer than LIMIT_PEEK that begins like an ordinary one is streamed without being read whole.
 */
#include "proxy/session_impl.h"

#include "base/limits.h"
#include "base/rd.h"
#include "sql/redirect.h"

#include <assert.h>

/* The message at hand: all of it, or as much as has arrived. */
struct incoming {
    struct frame_head head;
    const char *p;
    size_t n; /* bytes at p, head.total at most */
};

enum outcome {
    USED,      /* the bytes at hand were used; what is missing of the message will be streamed */
    NEED_MORE, /* nothing was done */
};

typedef enum outcome client_fn(struct session *s, const struct incoming *in);

static bool is_whole(const struct incoming *in)
{
    return in->n == in->head.total;
}

static struct str body_at_hand(const struct incoming *in)
{
    return (struct str){in->p + FRAME_HEAD, in->n - FRAME_HEAD};
}

static struct str frame_of(const struct incoming *in)
{
    return (struct str){in->p, in->n};
}

static enum outcome forward(struct session *s, const struct incoming *in)
{
    s->out.to_server(s->ctx, in->p, in->n);
    s->client_left = in->head.total - in->n;
    return USED;
}

static enum outcome forward_expecting(struct session *s, const struct incoming *in, enum answer_kind kind)
{
    /* After an error in a batch the server reads, and answers, nothing before Sync. */
    if (!s->skipping && !expect(s, kind, ACTION_FORWARD, 0, NULL)) {
        return USED;
    }
    return forward(s, in);
}

static enum outcome malformed(struct session *s)
{
    session_fatal(s, PROXY_BAD_FORMAT);
    return USED;
}

/* Enough of a statement's message to decide on it: all, or the beginning of a long one that is ordinary. */
enum look { LOOK_MORE, LOOK_PLAIN, LOOK_WHOLE };

/* Of a long message the first LIMIT_PEEK bytes decide: more would not change the answer, and would be looked
 * at again with each read. A script, which already here goes on behind a ';', is read whole unless it is too
 * long for that; it is cut while it arrives. */
static enum look look_at_beginning(struct session *s, const struct incoming *in, struct str text)
{
    struct str beginning = {text.p, text.n < LIMIT_PEEK ? text.n : LIMIT_PEEK};
    if (script_arrives(s)) {
        script_arriving(s, text);
        return LOOK_MORE;
    }
    bool plain = statement_is_plain(beginning, false, s->std_strings);
    bool one = plain && statement_is_plain(beginning, true, s->std_strings);
    if (plain && (one || in->head.total > LIMIT_MIGRATION_TEXT || in->head.type != 'Q')) {
        return LOOK_PLAIN;
    }
    if (in->head.type == 'Q') {
        script_arriving(s, text);
    }
    return LOOK_MORE;
}

static enum look look_at(struct session *s, const struct incoming *in, struct str text)
{
    if (s->mode == SESSION_TRANSPARENT || s->mode == SESSION_INTROSPECTION) {
        return LOOK_PLAIN;
    }
    if (is_whole(in)) {
        if (script_arrives(s)) {
            return LOOK_WHOLE;
        }
        return statement_is_plain(text, true, s->std_strings) ? LOOK_PLAIN : LOOK_WHOLE;
    }
    if (in->head.total <= LIMIT_PEEK || in->n < LIMIT_PEEK) {
        return LOOK_MORE;
    }
    return look_at_beginning(s, in, text);
}

static enum outcome on_query(struct session *s, const struct incoming *in)
{
    struct str text = body_at_hand(in);
    if (is_whole(in)) {
        if (text.n == 0 || text.p[text.n - 1] != '\0') {
            return malformed(s);
        }
        text.n--;
    }
    switch (look_at(s, in, text)) {
    case LOOK_MORE:
        return NEED_MORE;
    case LOOK_PLAIN:
        if (!may_be_hidden(s)) {
            return forward_expecting(s, in, ANSWER_QUERY);
        }
        if (!is_whole(in)) {
            return NEED_MORE;
        }
        break;
    case LOOK_WHOLE:
        break;
    }
    if (s->skipping || memchr(text.p, 0, text.n)) {
        script_end(s);
        return forward_expecting(s, in, ANSWER_QUERY); /* the server has its own word for a NUL inside */
    }
    script_query(s, frame_of(in), text);
    return USED;
}

/* Takes a name from a special statement, until the server refuses that. Nor may what is put back for an
 * earlier message, still to be answered, take it again. NULL: there is nothing to put back. */
static struct special *take_name(struct session *s, struct str name)
{
    struct special *before = special_map_get(&s->statements, name);
    if (!before && s->undos == 0) {
        return NULL;
    }
    struct special *undo = special_undo(name, before);
    special_map_set(&s->statements, name, NULL);
    return undo;
}

static enum outcome forward_plain_parse(struct session *s, const struct incoming *in, struct str name)
{
    if (s->skipping) {
        return forward(s, in);
    }
    return expect(s, ANSWER_PARSE, ACTION_FORWARD, 0, take_name(s, name)) ? forward(s, in) : USED;
}

static enum outcome on_parse(struct session *s, const struct incoming *in)
{
    struct str body = body_at_hand(in);
    struct rd r = rd_init(body.p, body.n);
    struct str name = rd_cstr(&r);
    if (r.failed) {
        return is_whole(in) || in->n > LIMIT_NAME + LIMIT_PEEK ? malformed(s) : NEED_MORE;
    }
    struct str rest = rd_rest(&r);
    const char *nul = rest.n ? memchr(rest.p, 0, rest.n) : NULL;
    struct str text = {rest.p, nul ? (size_t)(nul - rest.p) : rest.n};
    if (is_whole(in) && !nul) {
        return malformed(s);
    }
    switch (look_at(s, in, text)) {
    case LOOK_MORE:
        return NEED_MORE;
    case LOOK_PLAIN:
        return forward_plain_parse(s, in, name);
    case LOOK_WHOLE:
        break;
    }
    if (s->skipping) {
        return forward(s, in);
    }
    batch_parse(s, frame_of(in), name, text);
    return USED;
}

static enum outcome on_bind(struct session *s, const struct incoming *in)
{
    if (s->statements.n > 0 || s->portals.n > 0 || s->undos > 0) {
        struct str body = body_at_hand(in);
        struct rd r = rd_init(body.p, body.n);
        struct str portal = rd_cstr(&r);
        struct str statement = rd_cstr(&r);
        if (r.failed) {
            return is_whole(in) || in->n > 2 * LIMIT_PEEK ? malformed(s) : NEED_MORE;
        }
        if (!s->skipping && name_is_uncertain(s, statement)) {
            if (!is_whole(in)) {
                return NEED_MORE;
            }
            batch_bind(s, frame_of(in));
            return USED;
        }
        if (!s->skipping &&
            !special_map_set(&s->portals, portal, special_map_get(&s->statements, statement))) {
            session_fatal(s, PROXY_TOO_MANY_STATEMENTS);
            return USED;
        }
    }
    return forward_expecting(s, in, ANSWER_BIND);
}

static enum outcome on_describe(struct session *s, const struct incoming *in)
{
    return forward_expecting(s, in, ANSWER_DESCRIBE);
}

static enum outcome on_execute(struct session *s, const struct incoming *in)
{
    if (s->portals.n == 0 || s->skipping) {
        return forward_expecting(s, in, ANSWER_EXECUTE);
    }
    if (!is_whole(in)) {
        return NEED_MORE;
    }
    struct str body = body_at_hand(in);
    struct rd r = rd_init(body.p, body.n);
    struct str portal = rd_cstr(&r);
    struct special *special = r.failed ? NULL : special_map_get(&s->portals, portal);
    if (!special) {
        return forward_expecting(s, in, ANSWER_EXECUTE);
    }
    batch_execute(s, frame_of(in), special);
    return USED;
}

static enum outcome on_close(struct session *s, const struct incoming *in)
{
    if (!is_whole(in)) {
        return NEED_MORE;
    }
    struct str body = body_at_hand(in);
    struct rd r = rd_init(body.p, body.n);
    char what = (char)rd_u8(&r);
    struct str name = rd_cstr(&r);
    if (s->skipping || r.failed) {
        return forward_expecting(s, in, ANSWER_CLOSE);
    }
    struct special *undo = what == 'S' ? take_name(s, name) : NULL;
    if (what != 'S') {
        special_map_set(&s->portals, name, NULL);
    }
    return expect(s, ANSWER_CLOSE, ACTION_FORWARD, 0, undo) ? forward(s, in) : USED;
}

static enum outcome on_sync(struct session *s, const struct incoming *in)
{
    if (in->head.total != FRAME_HEAD) {
        return malformed(s);
    }
    if (s->copy_in) {
        s->spare_syncs++;
        return forward(s, in); /* "ignored" while the server reads CopyData: no answer will come */
    }
    batch_sync(s, frame_of(in));
    return USED;
}

static enum outcome on_function(struct session *s, const struct incoming *in)
{
    if (may_be_hidden(s)) {
        if (!is_whole(in)) {
            return NEED_MORE;
        }
        script_whole(s, frame_of(in));
        return USED;
    }
    return forward_expecting(s, in, ANSWER_FUNCTION);
}

/* A script goes on when the server refuses the rows: no message may then be half way. */
static enum outcome on_copy_data(struct session *s, const struct incoming *in)
{
    if (script_runs(s) && !is_whole(in)) {
        return NEED_MORE;
    }
    s->sync_kept = false;
    return forward(s, in);
}

static enum outcome on_copy_end(struct session *s, const struct incoming *in)
{
    if (script_runs(s)) {
        session_block(s); /* until the script has ended */
    }
    s->copy_in = false;
    s->sync_kept = false;
    return s->answers.n > 0 ? forward_expecting(s, in, ANSWER_COPY_DONE) : forward(s, in);
}

static enum outcome on_terminate(struct session *s, const struct incoming *in)
{
    if (in->head.total != FRAME_HEAD) {
        return malformed(s);
    }
    s->terminated = true; /* the server answers what came before, then closes; so shall we */
    return forward(s, in);
}

static client_fn *const client_rules[256] = {
    ['Q'] = on_query,    ['P'] = on_parse,    ['B'] = on_bind,      ['D'] = on_describe, ['E'] = on_execute,
    ['C'] = on_close,    ['S'] = on_sync,     ['H'] = forward,      ['F'] = on_function, ['d'] = on_copy_data,
    ['c'] = on_copy_end, ['f'] = on_copy_end, ['X'] = on_terminate,
};

/* A batch of the extended protocol is open from its first message to its Sync, whatever has been answered. */
static void note_message(struct session *s, char type)
{
    switch (type) {
    case 'E':
        s->facts.statements++;
        s->in_batch = true;
        break;
    case 'P':
    case 'B':
    case 'D':
    case 'C':
        s->in_batch = true;
        break;
    case 'Q':
        s->facts.statements++;
        s->in_batch = false;
        break;
    case 'S':
        s->in_batch = false;
        break;
    default:
        break;
    }
}

/* Enough has arrived to look at the message, unless its rule says otherwise. Small messages are taken whole.
 */
static bool worth_looking(const struct incoming *in)
{
    return is_whole(in) || in->head.type == 'd' || in->head.total > LIMIT_PEEK;
}

/* A statement of a session that may not see all of the catalogs: it goes on from a copy. The name in front of
 * a Parse's text is no part of that. */
static enum outcome apply_redirected(struct session *s, client_fn *rule, struct incoming in)
{
    CLEANUP(buf_deinit) struct buf copy = BUF_INIT(in.n);
    struct str body = body_at_hand(&in);
    struct rd r = rd_init(body.p, body.n);
    if (in.head.type == 'P') {
        rd_cstr(&r);
    }
    struct str text = rd_cstr(&r);
    buf_put(&copy, in.p, in.n);
    if (!r.failed) { /* else it is malformed, and will be told so */
        redirect_catalogs(copy.p + (text.p - in.p), text.n, s->std_strings);
    }
    in.p = copy.p;
    enum outcome outcome = rule(s, &in);
    s->out.flush_server(s->ctx);
    return outcome;
}

static bool is_redirected(const struct session *s, char type)
{
    return s->mode == SESSION_INTROSPECTION && (type == 'Q' || type == 'P');
}

/* The client of a script in progress is heard only while the server reads CopyData. */
static bool may_come_during_copy(char type)
{
    return strchr("dcfHSX", type) != NULL;
}

static int one_message(struct session *s, const char *p, size_t n, size_t *out_used, struct err *err)
{
    struct incoming in = {.p = p};
    int found = frame_peek(p, n, &in.head, err);
    *out_used = 0;
    if (found < 0) {
        session_fatal(s, PROXY_BAD_LENGTH);
        return -1;
    }
    if (found == FRAME_NEED_MORE) {
        return 0;
    }
    client_fn *rule = client_rules[(unsigned char)in.head.type];
    if (!rule || (script_runs(s) && !may_come_during_copy(in.head.type))) {
        session_fatal(s, PROXY_BAD_TYPE);
        return err_set(err, ERR_PEER, "invalid frontend message type 0x%02x", (unsigned char)in.head.type);
    }
    in.n = n < in.head.total ? n : in.head.total;
    if (!worth_looking(&in)) {
        return 0;
    }
    if (in.head.type != 'd' && in.head.type != 'B' && in.head.type != 'F' &&
        in.head.total > LIMIT_MIGRATION_TEXT && !is_whole(&in) && in.n >= LIMIT_MIGRATION_TEXT) {
        session_fatal(s, PROXY_STATEMENT_TOO_LONG);
        return err_set(err, ERR_LIMIT, "a statement that may change the schema is too long");
    }
    bool redirected = is_redirected(s, in.head.type);
    if (redirected && !is_whole(&in)) {
        return 0;
    }
    if ((redirected ? apply_redirected(s, rule, in) : rule(s, &in)) == USED) {
        counter_add(&s->counters->messages_from_clients, 1);
        note_message(s, in.head.type);
        *out_used = in.n;
    }
    return 0;
}

/* CopyData is never looked at: all that is there goes on in one piece. */
static size_t copy_rows(struct session *s, const char *p, size_t n)
{
    size_t count;
    size_t run = frame_run(p, n, &count);
    counter_add(&s->counters->messages_from_clients, count);
    if (run > 0) {
        s->sync_kept = false;
        s->out.to_server(s->ctx, p, run);
    }
    return run;
}

int process_client(struct session *s, const char *p, size_t n, size_t *out_used, struct err *err)
{
    size_t at = 0;
    while (at < n && !s->blocked && !s->closing && !s->terminated) {
        if (s->client_left > 0) {
            size_t piece = n - at < s->client_left ? n - at : s->client_left;
            s->out.to_server(s->ctx, p + at, piece);
            s->client_left -= piece;
            at += piece;
            continue;
        }
        size_t used = p[at] == 'd' ? copy_rows(s, p + at, n - at) : 0;
        if (used > 0) {
            at += used;
            continue;
        }
        if (one_message(s, p + at, n - at, &used, err) < 0) {
            return -1;
        }
        if (used == 0) {
            break;
        }
        at += used;
    }
    *out_used = s->terminated ? n : at; /* nothing after Terminate is read */
    return 0;
}
