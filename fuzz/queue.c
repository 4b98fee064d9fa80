/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session between a client and a model of a PostgreSQL server, both directions at once. The first half of
 * the input says what the client sends, the second who speaks next and how many bytes. The model also holds
 * the same talk directly, in one piece; what a client sees must be the same both ways, byte for byte, and so
 * must what the server sees unless there was something to do.
 *
 * The model knows transaction blocks, names, the way from an error to Sync, COPY, and that answers in a batch
 * wait for Flush or Sync. Of a migration it knows: what was marked must not be committed before
 * busbar.pending() was asked for, nor may it run outside a transaction block.
 */
#include "base/buf.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/rd.h"
#include "proxy/session.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NAMES = 5, OUTPUT_MAX = 16 * 1024 * 1024 };

/* --- the server --- */

struct name {
    bool used;
    bool done;      /* a portal that has run */
    struct str sql; /* owned */
};

struct server {
    bool proxied;
    char status; /* I, T, E */
    bool skipping;
    bool in_batch; /* something ran since the last ReadyForQuery */
    bool several;  /* statements in the Query at hand */
    bool copying, copying_in_query;
    bool marked, asked;
    const char *wrong; /* what must never happen has */
    struct name statements[NAMES], portals[NAMES];
    struct buf in; /* what the client said */
    size_t in_used;
    struct buf late; /* answers that wait for Flush or Sync */
    struct buf out;
};

static void server_init(struct server *s, bool proxied)
{
    *s = (struct server){.proxied = proxied, .status = 'I'};
    buf_init(&s->in, OUTPUT_MAX);
    buf_init(&s->late, OUTPUT_MAX);
    buf_init(&s->out, OUTPUT_MAX);
}

static void forget(struct name *n)
{
    free((void *)(uintptr_t)n->sql.p);
    *n = (struct name){0};
}

static void forget_all(struct name names[NAMES])
{
    for (size_t i = 0; i < NAMES; i++) {
        forget(&names[i]);
    }
}

static void server_deinit(struct server *s)
{
    forget_all(s->statements);
    forget_all(s->portals);
    buf_deinit(&s->in);
    buf_deinit(&s->late);
    buf_deinit(&s->out);
}

static void flush(struct server *s)
{
    buf_put_str(&s->out, buf_str(&s->late));
    buf_reset(&s->late);
    assert(!s->out.overflow);
}

static void put_bare(struct buf *b, char type)
{
    buf_put_byte(b, type);
    buf_put_u32be(b, 4);
}

static void put_frame(struct buf *b, char type, struct str body)
{
    buf_put_byte(b, type);
    buf_put_u32be(b, (uint32_t)body.n + 4);
    buf_put_str(b, body);
}

/* Ends what was under way; portals do not outlive their transaction. */
static bool fail(struct server *s, const char *sqlstate)
{
    struct problem p = {.severity = "ERROR", .sqlstate = sqlstate, .message = STR("no")};
    put_error(&s->late, &p);
    flush(s);
    forget_all(s->portals);
    s->status = s->status == 'I' ? 'I' : 'E';
    s->marked = false; /* what failed is not committed */
    return false;
}

static void never(struct server *s, bool bad, const char *what)
{
    s->wrong = bad ? what : s->wrong;
}

static void ready(struct server *s)
{
    if (s->status == 'I') {
        forget_all(s->portals);
    }
    s->in_batch = s->several = false;
    put_ready(&s->late, s->status);
    flush(s);
}

static void end_block(struct server *s)
{
    s->status = 'I';
    s->marked = s->asked = false;
    forget_all(s->portals);
}

static bool begins(struct str sql, const char *word)
{
    return str_starts_with_nocase(sql, str_c(word));
}

static bool ends_a_block(struct str sql)
{
    return begins(sql, "commit") || begins(sql, "rollback");
}

static bool has_rows(struct str sql)
{
    return begins(sql, "select");
}

static bool complete(struct server *s, const char *tag)
{
    put_command_complete(&s->late, str_c(tag));
    return true;
}

static bool run_begin(struct server *s)
{
    if (s->status == 'T') {
        struct problem p = {.severity = "WARNING", .sqlstate = "25001", .message = STR("already")};
        put_notice(&s->late, &p);
    }
    s->status = 'T';
    return complete(s, "BEGIN");
}

static bool run_end(struct server *s, bool commit)
{
    bool failed = s->status == 'E';
    if (s->status == 'I') {
        struct problem p = {.severity = "WARNING", .sqlstate = "25P01", .message = STR("none")};
        put_notice(&s->late, &p);
    }
    never(s, commit && !failed && s->marked && !s->asked, "a change is committed without its record");
    end_block(s);
    return complete(s, commit && !failed ? "COMMIT" : "ROLLBACK");
}

/* The guard's notice, which clients never see. */
static void mark(struct server *s)
{
    if (!s->proxied) {
        return;
    }
    never(s, s->status != 'T', "a change is committed by itself");
    struct problem p = {.severity = "INFO",
                        .sqlstate = "UB001",
                        .message = STR("marked"),
                        .detail = STR("{\"id\": 7, \"notify\": false}")};
    put_notice(&s->late, &p);
    s->marked = true;
    s->asked = false;
}

static bool run_marking(struct server *s, const char *tag)
{
    mark(s);
    return complete(s, tag);
}

static bool run_select(struct server *s, struct str sql)
{
    if (begins(sql, "select fail")) {
        return fail(s, "22012");
    }
    if (begins(sql, "select kind, id")) { /* of busbar.pending(): all was undone */
        s->asked = true;
        return complete(s, "SELECT 0");
    }
    put_frame(&s->late, 'D', (struct str){"\0\1\0\0\0\1x", 7});
    return complete(s, "SELECT 1");
}

static bool in_any_block(const struct server *s)
{
    return s->status == 'T' || s->in_batch || s->several;
}

static bool run_savepoint(struct server *s)
{
    return s->status == 'T' ? complete(s, "SAVEPOINT") : fail(s, "25P01");
}

static bool run_discard(struct server *s)
{
    if (in_any_block(s)) {
        return fail(s, "25001");
    }
    forget_all(s->statements);
    forget_all(s->portals);
    return complete(s, "DISCARD ALL");
}

static bool start_copy(struct server *s, bool in_query)
{
    put_frame(&s->late, 'G', (struct str){"\0\0\0", 3});
    flush(s);
    s->copying = true;
    s->copying_in_query = in_query;
    return true;
}

/* False when it failed, and said so. */
static bool run(struct server *s, struct str sql, bool in_query)
{
    if (sql.n == 0) {
        put_bare(&s->late, 'I');
        return true;
    }
    if (s->status == 'E' && !ends_a_block(sql)) {
        return fail(s, "25P02");
    }
    if (has_rows(sql)) {
        return run_select(s, sql);
    }
    if (begins(sql, "begin")) {
        return run_begin(s);
    }
    if (ends_a_block(sql)) {
        return run_end(s, begins(sql, "commit"));
    }
    if (begins(sql, "discard all")) {
        return run_discard(s);
    }
    if (begins(sql, "savepoint")) {
        return run_savepoint(s);
    }
    if (begins(sql, "vacuum")) {
        return in_any_block(s) ? fail(s, "25001") : complete(s, "VACUUM");
    }
    if (begins(sql, "copy")) {
        return start_copy(s, in_query);
    }
    if (begins(sql, "create")) {
        return run_marking(s, "CREATE TABLE");
    }
    if (begins(sql, "do")) {
        return begins(sql, "do 'create'") ? run_marking(s, "DO") : complete(s, "DO");
    }
    if (begins(sql, "alter table t enable electric")) {
        return complete(s, "ELECTRIC ENABLE");
    }
    assert(begins(sql, "call"));
    return begins(sql, "call electric.") ? run_marking(s, "CALL") : complete(s, "CALL");
}

/* --- messages to the server --- */

/* The hidden name, and those of the client: one byte each. */
static size_t name_index(struct str name)
{
    static const char *const known[NAMES] = {"", "a", "b", "c", "\001busbar"};
    size_t i = 0;
    while (i < NAMES && !str_eq(name, str_c(known[i]))) {
        i++;
    }
    assert(i < NAMES);
    return i;
}

static bool set(struct server *s, struct name *n, bool named, struct str sql)
{
    if (n->used && named) {
        return fail(s, "42P05");
    }
    forget(n);
    *n = (struct name){.used = true, .sql = {memcpy(malloc(sql.n + 1), sql.p, sql.n), sql.n}};
    return true;
}

static bool on_parse(struct server *s, struct rd *r)
{
    struct str name = rd_cstr(r), sql = str_trim(rd_cstr(r));
    if (s->status == 'E' && sql.n > 0 && !ends_a_block(sql)) {
        return fail(s, "25P02");
    }
    if (!set(s, &s->statements[name_index(name)], name.n > 0, sql)) {
        return false;
    }
    put_bare(&s->late, '1');
    return true;
}

static bool on_bind(struct server *s, struct rd *r)
{
    struct str portal = rd_cstr(r);
    struct name *st = &s->statements[name_index(rd_cstr(r))];
    if (!st->used) {
        return fail(s, "26000");
    }
    if (s->status == 'E' && st->sql.n > 0 && !ends_a_block(st->sql)) {
        return fail(s, "25P02");
    }
    if (!set(s, &s->portals[name_index(portal)], portal.n > 0, st->sql)) {
        return false;
    }
    put_bare(&s->late, '2');
    return true;
}

static bool on_describe(struct server *s, struct rd *r)
{
    bool statement = rd_u8(r) == 'S';
    struct name *n = &(statement ? s->statements : s->portals)[name_index(rd_cstr(r))];
    if (!n->used) {
        return fail(s, "26000");
    }
    if (s->status == 'E' && has_rows(n->sql)) {
        return fail(s, "25P02");
    }
    if (statement) {
        put_frame(&s->late, 't', (struct str){"\0\0", 2});
    }
    if (has_rows(n->sql)) {
        put_frame(&s->late, 'T', (struct str){"\0\0", 2});
    } else {
        put_bare(&s->late, 'n');
    }
    return true;
}

static bool on_execute(struct server *s, struct rd *r)
{
    struct name *n = &s->portals[name_index(rd_cstr(r))];
    if (!n->used) {
        return fail(s, "34000");
    }
    if (n->done && n->sql.n > 0) {
        return s->status != 'E' && has_rows(n->sql) ? complete(s, "SELECT 0") : fail(s, "55000");
    }
    n->done = true;
    s->in_batch = true;
    return run(s, n->sql, false);
}

static bool on_close(struct server *s, struct rd *r)
{
    bool statement = rd_u8(r) == 'S';
    forget(&(statement ? s->statements : s->portals)[name_index(rd_cstr(r))]);
    put_bare(&s->late, '3');
    return true;
}

static void on_query(struct server *s, struct rd *r)
{
    struct str text = rd_cstr(r);
    bool empty = true;
    forget(&s->statements[0]);
    if (memmem(text.p, text.n, "selec ", 6)) { /* found before anything is done */
        fail(s, "42601");
        ready(s);
        return;
    }
    s->several = memchr(text.p, ';', text.n) != NULL;
    while (text.n > 0) {
        struct str sql = str_trim(str_cut(&text, ';'));
        if (sql.n == 0) {
            continue;
        }
        empty = false;
        if (has_rows(sql) && s->status != 'E') {
            put_frame(&s->late, 'T', (struct str){"\0\0", 2});
        }
        if (!run(s, sql, true)) {
            break;
        }
        if (s->copying) {
            return; /* nothing follows it in the texts */
        }
    }
    if (empty) {
        put_bare(&s->late, 'I');
    }
    ready(s);
}

static void on_function(struct server *s)
{
    if (s->status == 'E') {
        fail(s, "25P02");
    } else {
        put_frame(&s->late, 'V', (struct str){"\xff\xff\xff\xff", 4});
    }
    ready(s);
}

/* Sync and Flush are ignored here; anything else the client must not send. */
static void on_copying(struct server *s, char type)
{
    bool ok = true;
    if (type == 'd' || type == 'S' || type == 'H') {
        return;
    }
    assert(type == 'c' || type == 'f');
    s->copying = false;
    ok = type == 'c' ? complete(s, "COPY 0") : fail(s, "57014");
    if (s->copying_in_query) {
        ready(s);
    } else {
        s->skipping = !ok;
    }
}

static void on_message(struct server *s, struct frame_head head, struct str body)
{
    struct rd r = rd_init(body.p, body.n);
    if (s->copying) {
        on_copying(s, head.type);
        return;
    }
    if (s->skipping && head.type != 'S') {
        return;
    }
    switch (head.type) {
    case 'P':
        s->skipping = !on_parse(s, &r);
        return;
    case 'B':
        s->skipping = !on_bind(s, &r);
        return;
    case 'D':
        s->skipping = !on_describe(s, &r);
        return;
    case 'E':
        s->skipping = !on_execute(s, &r);
        return;
    case 'C':
        on_close(s, &r);
        return;
    case 'S':
        s->skipping = false;
        ready(s);
        return;
    case 'H':
        flush(s);
        return;
    case 'Q':
        on_query(s, &r);
        return;
    case 'F':
        on_function(s);
        return;
    default:
        assert(strchr("dcf", head.type) != NULL); /* late for a COPY that failed: ignored */
    }
}

/* One message, if one is there. */
static bool server_step(struct server *s)
{
    struct frame_head head;
    struct err err;
    struct str rest = s->in.n ? (struct str){s->in.p + s->in_used, s->in.n - s->in_used} : STR("");
    int found = frame_peek(rest.p, rest.n, &head, &err);
    assert(found >= 0);
    if (found == FRAME_NEED_MORE || head.total > rest.n) {
        return false;
    }
    s->in_used += head.total;
    on_message(s, head, frame_body(rest.p, head));
    return true;
}

/* --- the client --- */

static const char *const single[] = {"select 1",
                                     "select fail",
                                     "begin",
                                     "commit",
                                     "rollback",
                                     "create table m()",
                                     "",
                                     "do 'create'",
                                     "do 'x'",
                                     "call f()",
                                     "alter table t enable electric",
                                     "savepoint s"};
enum { ORDINARY = 5 }; /* so many of them are nothing to the proxy, nor are these: */

static const char *const several[] = {
    "select 1; select 1",
    "begin; select 1",
    "begin; select fail; commit",
    "rollback; select 1",
    "begin; commit; begin",
    ";;",
    "create table m(); select 1",
    "select 1; create table m()",
    "begin; create table m(); commit",
    "create table m(); select fail",
    "select 1; commit; create table m()",
    "create table m(); begin",
    "create table m(); begin; select fail",
    "create table m(); rollback; select 1",
    "rollback; create table m()",
    "select fail; create table m()",
    "alter table t enable electric; select 1",
    "create table m(); alter table t enable electric; commit",
    "begin; create table m(); rollback; create table m()",
    "do 'create'; do 'x'; call f()",
    "create table m(); commit; savepoint s; select 1",
    "create table m(); savepoint s; select 1",
    "begin; create table m(); savepoint s; commit; vacuum",
    "create table m(); commit; selec 1",
    "savepoint s; create table m()",
};

struct talk {
    struct buf text;
    bool ordinary;
    bool parses_command; /* of transactions: it may be waited for, by a Flush */
};

static const char *pick_single(struct talk *t, uint8_t b)
{
    size_t i = b % ARRAY_LEN(single);
    t->ordinary = t->ordinary && i < ORDINARY;
    return single[i];
}

static const char *pick_parsed(struct talk *t, uint8_t b)
{
    const char *text = pick_single(t, b);
    t->parses_command = t->parses_command || strcmp(text, "begin") == 0 || strcmp(text, "commit") == 0 ||
                        strcmp(text, "rollback") == 0;
    return text;
}

static const char *pick(struct talk *t, uint8_t b)
{
    size_t i = b % (ARRAY_LEN(single) + ARRAY_LEN(several));
    if (i < ARRAY_LEN(single)) {
        return pick_single(t, b % (ARRAY_LEN(single) + ARRAY_LEN(several)));
    }
    i -= ARRAY_LEN(single);
    t->ordinary = t->ordinary && i < 6;
    return several[i];
}

static struct str client_name(uint8_t b)
{
    return str_c((const char *[]){"", "a", "b"}[b % 3]);
}

static void put_describe(struct buf *b, char what, struct str name)
{
    size_t at = b->n;
    put_close(b, what, name);
    b->p[at] = 'D';
}

/* COPY of a client that does not wait: when it cannot begin, what follows is late. */
static void put_copy(struct talk *t, uint8_t how)
{
    struct buf *b = &t->text;
    t->ordinary = t->ordinary && !(how & 16);
    if (how & 1) {
        put_query(b, how & 16 ? STR("create table m(); copy t from stdin") : STR("copy t from stdin"));
    } else {
        put_close(b, 'S', STR("c"));
        put_close(b, 'P', STR("c"));
        put_parse(b, STR("c"), STR("copy t from stdin"));
        put_bind(b, STR("c"), STR("c"), NULL, 0);
        put_execute(b, STR("c"));
        if (how & 2) {
            put_sync(b);
        }
    }
    if (how & 4) {
        put_frame(b, 'd', STR("data"));
    }
    if (how & 8) {
        put_frame(b, 'f', STR("no\0"));
    } else {
        put_bare(b, 'c');
    }
    if (!(how & 1)) {
        put_sync(b);
    }
}

static void put_batch(struct talk *t, uint8_t arg)
{
    put_parse(&t->text, STR(""), str_c(pick_parsed(t, arg)));
    put_bind(&t->text, STR(""), STR(""), NULL, 0);
    put_describe(&t->text, 'P', STR(""));
    put_execute(&t->text, STR(""));
}

/* Two bytes of the input are one thing that the client does. */
static void put_op(struct talk *t, uint8_t op, uint8_t arg)
{
    struct buf *b = &t->text;
    switch (op % 13) {
    case 0:
    case 1:
        put_query(b, str_c(pick(t, arg)));
        return;
    case 2:
        put_parse(b, client_name(op / 13), str_c(pick_parsed(t, arg)));
        return;
    case 3:
        put_bind(b, client_name(op / 13), client_name(arg), NULL, 0);
        return;
    case 4:
        put_describe(b, arg & 1 ? 'S' : 'P', client_name(op / 13));
        return;
    case 5:
        put_execute(b, client_name(arg));
        return;
    case 6:
        put_close(b, arg & 1 ? 'S' : 'P', client_name(op / 13));
        return;
    case 7:
        put_flush(b);
        return;
    case 8:
        put_copy(t, arg);
        return;
    case 9:
        put_frame(b, 'F', (struct str){"\0\0\0\1\0\0\0\0\0\0", 10});
        return;
    case 10:
    case 11:
        put_batch(t, arg);
        return;
    default:
        if (arg % 8 == 7) {
            put_query(b, STR("discard all"));
        } else {
            put_sync(b);
        }
    }
}

/* --- both ways --- */

struct proxied {
    struct session *session;
    struct server server;
    size_t said;     /* bytes of the client's that were fed */
    size_t answered; /* bytes of the server's */
    struct buf seen; /* by the client */
    bool closed;
};

static void to_client(void *ctx, const char *p, size_t n)
{
    struct proxied *x = ctx;
    buf_put(&x->seen, p, n);
}

static void to_server(void *ctx, const char *p, size_t n)
{
    struct proxied *x = ctx;
    buf_put(&x->server.in, p, n);
}

static void no_flush(void *ctx)
{
    (void)ctx;
}

static void on_close_both(void *ctx)
{
    struct proxied *x = ctx;
    x->closed = true;
}

/* A copy of this size exactly: the sanitizer sees a byte read past it. */
static void feed(struct proxied *x, bool from_server, const char *p, size_t n)
{
    struct err err;
    char *copy = malloc(n ? n : 1);
    memcpy(copy, n ? p : "", n);
    int rc = from_server ? session_feed_server(x->session, copy, n, &err)
                         : session_feed_client(x->session, copy, n, &err);
    free(copy);
    x->closed = x->closed || rc < 0; /* never right here: the client sees an error that it should not */
}

static bool client_speaks(struct proxied *x, const struct buf *text, size_t most)
{
    size_t n = text->n - x->said < most ? text->n - x->said : most;
    if (n == 0 || x->closed || !session_wants_client(x->session)) {
        return false;
    }
    size_t from = x->said;
    x->said += n;
    feed(x, false, text->p + from, n);
    return true;
}

static bool server_speaks(struct proxied *x, size_t most)
{
    bool any = !x->closed && server_step(&x->server);
    struct buf *out = &x->server.out;
    size_t n = out->n - x->answered < most ? out->n - x->answered : most;
    if (n == 0 || x->closed) {
        return any;
    }
    char *copy = malloc(n); /* feeding may make the server say more */
    memcpy(copy, out->p + x->answered, n);
    x->answered += n;
    feed(x, true, copy, n);
    free(copy);
    return true;
}

/* Until both have said all, or are silent for good. */
static void hold(struct proxied *x, const struct buf *text, const uint8_t *schedule, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t most = (schedule[i] >> 1) + 1u;
        if (schedule[i] & 1) {
            server_speaks(x, most);
        } else {
            client_speaks(x, text, most);
        }
    }
    while (client_speaks(x, text, LIMIT_READ) || server_speaks(x, LIMIT_READ)) {
    }
}

static void hold_directly(struct server *s, const struct buf *text)
{
    buf_put_str(&s->in, buf_str(text));
    while (server_step(s)) {
    }
}

static void show(const char *what, const struct buf *messages)
{
    struct frame_head head;
    struct err err;
    fprintf(stderr, "%s:", what);
    for (size_t at = 0; at < messages->n; at += head.total) {
        if (frame_peek(messages->p + at, messages->n - at, &head, &err) != FRAME_FOUND) {
            break;
        }
        struct str body = frame_body(messages->p + at, head);
        fprintf(stderr, " %c[", head.type);
        for (size_t i = 0; i < body.n; i++) {
            fputc(body.p[i] >= ' ' && body.p[i] < 127 ? body.p[i] : '|', stderr);
        }
        fputc(']', stderr);
    }
    fputc('\n', stderr);
}

static void must_be_same(const struct buf *direct, const struct buf *proxied, const struct proxied *x,
                         const struct talk *t)
{
    if (!str_eq(buf_str(direct), buf_str(proxied)) || x->server.wrong) {
        fprintf(stderr, "%s\n", x->server.wrong ? x->server.wrong : "not what it would be directly");
        show("client", &t->text);
        show("server hears", &x->server.in);
        show("client should see", proxied == &x->server.in ? &x->seen : direct);
        show("client sees", &x->seen);
        show("server says", &x->server.out);
        abort();
    }
}

static void drop_flushes(struct buf *messages)
{
    struct frame_head head;
    struct err err;
    size_t kept = 0;
    for (size_t at = 0; at < messages->n; at += head.total) {
        int found = frame_peek(messages->p + at, messages->n - at, &head, &err);
        assert(found == FRAME_FOUND);
        if (head.type != 'H') {
            memmove(messages->p + kept, messages->p + at, head.total);
            kept += head.total;
        }
    }
    messages->n = kept;
}

static void must_pass_through(const struct talk *t, struct proxied *x)
{
    struct buf text = BUF_INIT(OUTPUT_MAX);
    buf_put_str(&text, buf_str(&t->text));
    if (t->parses_command) {
        drop_flushes(&text);
        drop_flushes(&x->server.in);
    }
    must_be_same(&text, &x->server.in, x, t);
    buf_deinit(&text);
}

static void check(const struct talk *t, const uint8_t *schedule, size_t n)
{
    static const struct session_out out = {to_client, to_server, no_flush, no_flush, on_close_both};
    struct session_counters counters = {0};
    struct server direct;
    struct proxied x = {.seen = BUF_INIT(OUTPUT_MAX)};
    server_init(&direct, false);
    server_init(&x.server, true);
    x.session = session_new(&out, &x, "", &counters);
    hold_directly(&direct, &t->text);
    hold(&x, &t->text, schedule, n);
    must_be_same(&direct.out, &x.seen, &x, t);
    assert(x.said == t->text.n);
    if (t->ordinary) {
        must_pass_through(t, &x);
    }
    session_free(x.session);
    buf_deinit(&x.seen);
    server_deinit(&x.server);
    server_deinit(&direct);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct talk t = {.text = BUF_INIT(OUTPUT_MAX), .ordinary = true};
    size_t half = size / 4 * 2;
    log_set_level(LOG_ERROR);
    for (size_t i = 0; i < half; i += 2) {
        put_op(&t, data[i], data[i + 1]);
    }
    put_sync(&t.text);
    check(&t, data + half, size - half);
    buf_deinit(&t.text);
    return 0;
}
