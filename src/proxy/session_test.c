/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversations: what client and server say, and what each of them then gets. No sockets.
 *
 * Messages are written as text, one after another: a type byte and, in brackets, the fields of the body. In
 * brackets
 * `|` stands for the NUL between fields. Bodies that do not matter are left out: "1 2 C[SELECT 1] Z[T]".
 * Every conversation is held twice: message by message, and byte by byte.
 */
#include "proxy/session.h"

#include "base/buf.h"
#include "base/limits.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum who { CLIENT, SERVER };

struct step {
    enum who says;
    const char *messages;
    const char *to_client; /* what comes out; NULL: nothing */
    const char *to_server;
};

struct talk {
    struct session *session;
    struct buf to_client, to_server;
    bool closed;
};

static void to_client(void *ctx, const char *p, size_t n)
{
    struct talk *t = ctx;
    buf_put(&t->to_client, p, n);
}

static void to_server(void *ctx, const char *p, size_t n)
{
    struct talk *t = ctx;
    buf_put(&t->to_server, p, n);
}

static void flush(void *ctx)
{
    (void)ctx;
}

static void on_close(void *ctx)
{
    struct talk *t = ctx;
    t->closed = true;
}

/* --- text to messages --- */

static bool ends_in_nul(enum who who, char type)
{
    return strchr(who == CLIENT ? "QCDE" : "CS", type) != NULL;
}

/* What follows the text in messages whose other fields do not matter here. */
static void put_tail(struct buf *b, enum who who, char type)
{
    if (who == CLIENT && type == 'P') {
        buf_put(b, "\0\0\0", 3);
    } else if (who == CLIENT && type == 'B') {
        buf_put(b, "\0\0\0\0\0\0\0", 7);
    } else if (who == CLIENT && type == 'E') {
        buf_put(b, "\0\0\0\0", 4);
    } else if (who == SERVER && (type == 'E' || type == 'N')) {
        buf_put(b, "\0\0", 2);
    }
}

static void put_row_value(struct buf *b, const char *p, size_t n)
{
    buf_put_u32be(b, (uint32_t)n);
    buf_put(b, p, n);
}

/* D[a|b]: a row of a server. */
static void put_row(struct buf *b, const char *p, const char *end)
{
    uint16_t columns = 1;
    for (const char *q = p; q < end; q++) {
        columns += *q == '|';
    }
    buf_put_u16be(b, columns);
    for (const char *q = p; q <= end; q++) {
        if (q == end || *q == '|') {
            put_row_value(b, p, (size_t)(q - p));
            p = q + 1;
        }
    }
}

static const char *put_message(struct buf *b, enum who who, const char *p)
{
    char type = *p++;
    size_t at = b->n + 1;
    buf_put_byte(b, type);
    buf_put_u32be(b, 0);
    const char *end = p;
    if (*p == '[') {
        int depth = 1;
        for (end = ++p; depth > 0; end++) {
            depth += *end == '[' ? 1 : *end == ']' ? -1 : 0;
        }
        end--;
        if (who == SERVER && type == 'D') {
            put_row(b, p, end);
        } else {
            for (const char *q = p; q < end; q++) {
                buf_put_byte(b, *q == '|' ? '\0' : *q);
            }
            if (ends_in_nul(who, type)) {
                buf_put_byte(b, '\0');
            }
            put_tail(b, who, type);
        }
        end++;
    }
    buf_set_u32be(b, at, (uint32_t)(b->n - at));
    return end;
}

static void put_messages(struct buf *b, enum who who, const char *text)
{
    while (*text) {
        text = *text == ' ' ? text + 1 : put_message(b, who, text);
    }
}

/* --- messages to text --- */

static void print_body(struct buf *out, enum who from, char type, struct str body)
{
    if (from == SERVER && (type == 'E' || type == 'N')) {
        buf_printf(out, "[%.*s %.*s]", STR_ARG(message_field(body, 'C')), STR_ARG(message_field(body, 'M')));
        return;
    }
    while (body.n > 0 && body.p[body.n - 1] == '\0' && type != 'd') {
        body.n--;
    }
    if (from == CLIENT && type == 'B') {
        struct str rest = body;
        struct str portal = str_cut(&rest, '\0'), statement = str_cut(&rest, '\0');
        body.n = portal.n + 1 + statement.n;
    }
    if (from == SERVER && type == 'D') {
        body = (struct str){"", 0};
    }
    if (body.n == 0) {
        return;
    }
    buf_put_byte(out, '[');
    for (size_t i = 0; i < body.n; i++) {
        buf_put_byte(out, body.p[i] == '\0' ? '|' : body.p[i]);
    }
    buf_put_byte(out, ']');
}

static void print_messages(struct buf *out, enum who from, const struct buf *in)
{
    struct frame_head head;
    struct err err;
    for (size_t at = 0; at < in->n; at += head.total) {
        assert_int_equal(frame_peek(in->p + at, in->n - at, &head, &err), FRAME_FOUND);
        assert_true(in->n - at >= head.total);
        if (out->n > 0) {
            buf_put_byte(out, ' ');
        }
        buf_put_byte(out, head.type);
        print_body(out, from, head.type, frame_body(in->p + at, head));
    }
}

static void assert_said(enum who from, struct buf *raw, const char *expected, size_t step)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(100000);
    print_messages(&text, from, raw);
    buf_reset(raw);
    if (strcmp(buf_cstr(&text), expected ? expected : "") != 0) {
        print_error("step %zu, from %s\n", step, from == CLIENT ? "client" : "server");
    }
    assert_string_equal(buf_cstr(&text), expected ? expected : "");
}

static void say(struct talk *t, enum who who, const char *p, size_t n)
{
    struct err err;
    int rc = who == CLIENT ? session_feed_client(t->session, p, n, &err)
                           : session_feed_server(t->session, p, n, &err);
    assert_true(rc == 0 || t->closed);
}

static void hold_one(const struct step *steps, size_t n, bool byte_by_byte, bool guarded, bool expect_closed)
{
    static const struct session_out out = {to_client, to_server, flush, flush, on_close};
    struct talk t = {.to_client = BUF_INIT(100000), .to_server = BUF_INIT(100000)};
    struct session_counters counters = {0};
    t.session = session_new(&out, &t, "", &counters);
    session_set_guarded(t.session, guarded);
    for (size_t i = 0; i < n; i++) {
        CLEANUP(buf_deinit) struct buf in = BUF_INIT(100000);
        put_messages(&in, steps[i].says, steps[i].messages);
        for (size_t at = 0; at < in.n; at += byte_by_byte ? 1 : in.n) {
            /* A copy of exactly these bytes, so that the sanitizer sees a read past them. */
            size_t piece = byte_by_byte ? 1 : in.n;
            CLEANUP(buf_deinit) struct buf copy = BUF_INIT(piece);
            buf_put(&copy, in.p + at, piece);
            say(&t, steps[i].says, copy.p, piece);
        }
        assert_said(SERVER, &t.to_client, steps[i].to_client, i);
        assert_said(CLIENT, &t.to_server, steps[i].to_server, i);
    }
    assert_int_equal(t.closed, expect_closed);
    session_free(t.session);
    buf_deinit(&t.to_client);
    buf_deinit(&t.to_server);
}

static void hold(const struct step *steps, size_t n, bool guarded, bool expect_closed)
{
    hold_one(steps, n, false, guarded, expect_closed);
    hold_one(steps, n, true, guarded, expect_closed);
}

#define TALK(...)                                         \
    do {                                                  \
        static const struct step steps[] = {__VA_ARGS__}; \
        hold(steps, ARRAY_LEN(steps), true, false);       \
    } while (0)
#define TALK_CLOSED(...)                                  \
    do {                                                  \
        static const struct step steps[] = {__VA_ARGS__}; \
        hold(steps, ARRAY_LEN(steps), true, true);        \
    } while (0)

#define TALK_UNGUARDED(...)                               \
    do {                                                  \
        static const struct step steps[] = {__VA_ARGS__}; \
        hold(steps, ARRAY_LEN(steps), false, false);      \
    } while (0)

/* A hidden operation, as the server sees it and as it answers. */
#define HIDDEN(sql) \
    "P[\001busbar|" sql "] B[\001busbar|\001busbar] E[\001busbar] C[P\001busbar] C[S\001busbar]"
#define HIDDEN_OK "1 2 C[OK] 3 3"
#define ASK       "SELECT busbar.precheck($1, $2, $3)"
#define CHANGES   "SELECT busbar.find_changes()"
#define PENDING   "SELECT kind, id, version, ops FROM busbar.pending()"
#define RECORD \
    "SELECT busbar.record($1::pg_catalog.text::pg_catalog.jsonb, $2::pg_catalog.text::pg_catalog.jsonb)"
#define REFUSE "CALL busbar.refuse($1, $2, $3, $4)"
#define MARK   "N[SINFO|CUB001|Mmark|D{\"id\":7,\"notify\":true}|spublic|tt]"
#define MARKED "N[00000 Migration affecting electrified table \"public\".\"t\"]"
/* [{"op":"create_enum","schema":"public","name":"e","values":["a"],"sql":"x"}] */
#define PENDING_ROW                                                                                 \
    "D[pending|7||5b7b226f70223a226372656174655f656e756d222c22736368656d61223a227075626c6963222c22" \
    "6e616d65223a2265222c2276616c756573223a5b2261225d2c2273716c223a2278227d5d]"

static void test_ordinary_statements_pass_in_both_protocols(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[select 1]", NULL, "Q[select 1]"},
         {SERVER, "T[x] D[1] C[SELECT 1] Z[I]", "T[x] D C[SELECT 1] Z[I]", NULL},
         {CLIENT, "P[s|select 1] D[Ss] B[|s] E[] S", NULL, "P[s|select 1] D[Ss] B[|s] E S"},
         {SERVER, "1 t n 2 C[SELECT 0] Z[I]", "1 t n 2 C[SELECT 0] Z[I]", NULL});
}

static void test_autocommitted_ddl_runs_in_a_hidden_transaction(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[create table a (b int)]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a (b int)]"},
         {SERVER, "C[CREATE TABLE] Z[T]", NULL, HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[CREATE TABLE] Z[I]", NULL});
}

static void test_failed_ddl_is_rolled_back_before_the_client_may_go_on(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[create table a (b int)]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a (b int)]"},
         {SERVER, "E[SERROR|C42P07|Mexists] Z[E]", "E[42P07 exists]", HIDDEN("ROLLBACK") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_statements_around_ddl_stay_one_piece(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[select 1; create table a (); select 2]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[select 1; create table a (); select 2]"},
         {SERVER, "C[SELECT 1] C[CREATE TABLE] T[y] C[SELECT 2] Z[T]", "C[SELECT 1] C[CREATE TABLE] T[y]",
          HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[SELECT 2] Z[I]", NULL});
}

static void test_a_marked_transaction_is_proved_and_recorded_before_commit(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "Q[commit]", NULL, HIDDEN(PENDING) " S"},
         {SERVER, "1 2 " PENDING_ROW " C[SELECT 1] 3 3 Z[T]", NULL, HIDDEN(RECORD) " S"},
         {SERVER, "1 2 D[20240101] C[SELECT 1] 3 3 Z[T]", NULL, "Q[commit]"},
         {SERVER, "C[COMMIT] Z[I]", "C[COMMIT] Z[I]", NULL});
}

static void test_without_a_guard_the_session_asks_what_has_changed(void **state)
{
    (void)state;
    TALK_UNGUARDED({CLIENT, "Q[drop index i]", NULL, HIDDEN("BEGIN") " S"},
                   {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[drop index i]"},
                   {SERVER, "C[DROP INDEX] Z[T]", NULL, HIDDEN(CHANGES) " S"},
                   {SERVER, "1 2 " MARK " D[] C[SELECT 1] 3 3 Z[T]", MARKED, HIDDEN(PENDING) " S"},
                   {SERVER, "1 2 " PENDING_ROW " C[SELECT 1] 3 3 Z[T]", NULL, HIDDEN(RECORD) " S"},
                   {SERVER, "1 2 D[20240101] C[SELECT 1] 3 3 Z[T]", NULL, HIDDEN("COMMIT") " S"},
                   {SERVER, HIDDEN_OK " Z[I]", "C[DROP INDEX] Z[I]", NULL});
}

static void test_without_a_guard_nothing_changed_is_nothing_more(void **state)
{
    (void)state;
    TALK_UNGUARDED({CLIENT, "Q[begin; do 'x'; commit]", NULL, "Q[begin]"},
                   {SERVER, "C[BEGIN] Z[T]", "C[BEGIN]", "Q[do 'x']"},
                   {SERVER, "C[DO] Z[T]", "C[DO]", HIDDEN(CHANGES) " S"},
                   {SERVER, "1 2 D[] C[SELECT 1] 3 3 Z[T]", NULL, "Q[commit]"},
                   {SERVER, "C[COMMIT] Z[I]", "C[COMMIT] Z[I]", NULL},
                   {CLIENT, "Q[begin; select 1; commit]", NULL, "Q[begin; select 1; commit]"});
}

static void test_without_a_guard_a_refused_change_fails_the_commit(void **state)
{
    (void)state;
    TALK_UNGUARDED({CLIENT, "P[|begin] B[|] E[] S", NULL, "P[|begin] B[|] E S"},
                   {SERVER, "1 2 C[BEGIN] Z[T]", "1 2 C[BEGIN] Z[T]", NULL},
                   {CLIENT, "P[|do 'x'] B[|] E[] S", NULL, "P[|do 'x'] B[|] E S"},
                   {SERVER, "1 2 C[DO] Z[T]", "1 2 C[DO] Z[T]", NULL},
                   {CLIENT, "P[|commit] B[|] E[] S", NULL, "P[|commit] B[|] " HIDDEN(CHANGES) " H"},
                   {SERVER, "1 2 1 2 E[SERROR|CEX010|Mno]", "1 2 E[EX010 no]", "S"},
                   {SERVER, "Z[E]", NULL, "C[P\001busbar] C[S\001busbar] " HIDDEN("ROLLBACK") " S"},
                   {SERVER, "3 3 " HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_the_commit_of_a_failed_transaction_is_not_proved(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "Q[select 1/0]", NULL, "Q[select 1/0]"},
         {SERVER, "E[SERROR|C22012|Mno] Z[E]", "E[22012 no] Z[E]", NULL},
         {CLIENT, "P[|commit] B[|] E[] S", NULL, "P[|commit] B[|] E S"},
         {SERVER, "1 2 C[ROLLBACK] Z[I]", "1 2 C[ROLLBACK] Z[I]", NULL});
}

static void test_a_transaction_mended_in_the_batch_of_its_commit_is_proved(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "Q[select 1/0]", NULL, "Q[select 1/0]"},
         {SERVER, "E[SERROR|C22012|Mno] Z[E]", "E[22012 no] Z[E]", NULL},
         {CLIENT, "P[|rollback to s] B[|] E[] P[|commit] B[|] E[] S", NULL,
          "P[|rollback to s] B[|] E P[|commit] B[|] " HIDDEN(PENDING) " H"});
}

static void test_nothing_is_recorded_when_savepoints_undid_all(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "Q[commit]", NULL, HIDDEN(PENDING) " S"},
         {SERVER, "1 2 C[SELECT 0] 3 3 Z[T]", NULL, "Q[commit]"},
         {SERVER, "C[COMMIT] Z[I]", "C[COMMIT] Z[I]", NULL});
}

static void test_a_migration_that_fails_the_proof_is_refused_at_commit(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "Q[commit]", NULL, HIDDEN(PENDING) " S"},
         {SERVER, "1 2 D[pending|7||nonsense] C[SELECT 1] 3 3 Z[T]", NULL, HIDDEN(REFUSE) " S"},
         {SERVER, "1 2 E[SERROR|CUB004|Mno] Z[E]", "E[UB004 no]",
          "C[P\001busbar] C[S\001busbar] " HIDDEN("ROLLBACK") " S"},
         {SERVER, "3 3 " HIDDEN_OK " Z[I]", "Z[I]", NULL}, {CLIENT, "Q[select 1]", NULL, "Q[select 1]"});
}

static void test_what_clients_cannot_follow_is_asked_about_first(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[alter table t drop column c]", NULL, HIDDEN(ASK) " S"},
         {SERVER, "1 2 E[SERROR|CEX010|Mno] Z[E]", "E[EX010 no] Z[E]", NULL},
         {CLIENT, "Q[commit]", NULL, "Q[commit]"}, {SERVER, "C[ROLLBACK] Z[I]", "C[ROLLBACK] Z[I]", NULL},
         {CLIENT, "P[|alter table t drop column c] D[S] H", NULL,
          "C[P\001busbar] C[S\001busbar] " HIDDEN(ASK) " H"},
         {SERVER, "3 3 1 2 E[SERROR|CEX010|Mno]", "E[EX010 no]", "D[S] H"},
         {CLIENT, "B[|] E[] S", NULL, "B[|] E S"}, {SERVER, "Z[I]", "Z[I]", NULL});
}

static void test_ddlx_is_replaced_and_shows_its_own_tag(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[alter table t enable electric;]", NULL, "Q[CALL busbar.enable_electric('\"t\"')]"},
         {SERVER, "C[CALL] Z[T]", "C[ELECTRIC ENABLE] Z[T]", NULL},
         {CLIENT, "P[|electric enable t] D[S] H", NULL, "P[|CALL busbar.enable_electric('\"t\"')] D[S] H"},
         {SERVER, "1 t n", "1 t n", NULL}, {CLIENT, "B[|] E[] C[S] S", NULL, "B[|] E C[S] S"},
         {SERVER, "2 C[CALL] 3 Z[T]", "2 C[ELECTRIC ENABLE] 3 Z[T]", NULL});
}

static void test_autocommitted_ddl_in_a_batch_is_committed_at_its_sync(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] D[P] E[] S", NULL,
          "P[|create table a ()] B[|] D[P] " HIDDEN("BEGIN") " E H"},
         {SERVER, "1 2 n " HIDDEN_OK " C[CREATE TABLE]", "1 2 n", HIDDEN("COMMIT") " H"},
         {SERVER, HIDDEN_OK, "C[CREATE TABLE]", "S"}, {SERVER, "Z[I]", "Z[I]", NULL});
}

static void test_a_batch_that_fails_leaves_no_hidden_transaction(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E H"},
         {SERVER, "1 2 " HIDDEN_OK " E[SERROR|C42P07|Mexists]", "1 2 E[42P07 exists]", "S"},
         {SERVER, "Z[E]", NULL, HIDDEN("ROLLBACK") " S"}, {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_commit_in_a_pipeline_waits_for_what_may_mark(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|begin] B[|] E[] P[|drop index i] B[|] E[] P[|commit] B[|] E[] S", NULL,
          "P[|begin] B[|] E P[|drop index i] B[|] E P[|commit] B[|] H"},
         {SERVER, "1 2 C[BEGIN] 1 2 " MARK " C[DROP INDEX] 1 2",
          "1 2 C[BEGIN] 1 2 " MARKED " C[DROP INDEX] 1 2", HIDDEN(PENDING) " H"},
         {SERVER, "1 2 " PENDING_ROW " C[SELECT 1] 3 3", NULL, HIDDEN(RECORD) " H"},
         {SERVER, "1 2 D[v] C[SELECT 1] 3 3", NULL, "E S"},
         {SERVER, "C[COMMIT] Z[I]", "C[COMMIT] Z[I]", NULL});
}

static void test_a_marked_transaction_cannot_be_prepared(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "Q[prepare transaction 'x']", NULL, HIDDEN(REFUSE) " S"},
         {SERVER, "1 2 E[SERROR|C0A000|Mno] Z[E]", "E[0A000 no]",
          "C[P\001busbar] C[S\001busbar] " HIDDEN("ROLLBACK") " S"},
         {SERVER, "3 3 " HIDDEN_OK " Z[I]", "Z[I]", NULL});
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "P[|prepare transaction 'x'] B[|] E[] S", NULL,
          "P[|prepare transaction 'x'] B[|] " HIDDEN(REFUSE) " H"},
         {SERVER, "1 2 1 2 E[SERROR|C0A000|Mno]", "1 2 E[0A000 no]", "S"},
         {SERVER, "Z[E]", NULL, "C[P\001busbar] C[S\001busbar] " HIDDEN("ROLLBACK") " S"},
         {SERVER, "3 3 " HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_a_pipelined_transaction_without_ddl_is_left_alone(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|begin] B[|] E[] P[|savepoint a] B[|] E[] P[|insert] B[|] E[] P[|commit] B[|] E[] S",
          NULL, "P[|begin] B[|] E P[|savepoint a] B[|] E P[|insert] B[|] E P[|commit] B[|] E S"},
         {SERVER, "1 2 C[BEGIN] 1 2 C[SAVEPOINT] 1 2 C[INSERT 0 1] 1 2 C[COMMIT] Z[I]",
          "1 2 C[BEGIN] 1 2 C[SAVEPOINT] 1 2 C[INSERT 0 1] 1 2 C[COMMIT] Z[I]", NULL});
}

static void test_sync_during_copy_in_has_no_answer(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|copy t from stdin] B[|] E[] S", NULL, "P[|copy t from stdin] B[|] E S"},
         {SERVER, "1 2 G[x]", "1 2 G[x]", NULL}, {CLIENT, "d[row] S c S", NULL, "d[row] S c S"},
         {SERVER, "C[COPY 1] Z[I]", "C[COPY 1] Z[I]", NULL}, {CLIENT, "Q[select 1]", NULL, "Q[select 1]"},
         {SERVER, "C[SELECT 1] Z[I]", "C[SELECT 1] Z[I]", NULL});
}

static void test_notifications_and_notices_keep_their_place(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[notify n; create table a (b int)]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[notify n; create table a (b int)]"},
         {SERVER, "C[NOTIFY] N[SNOTICE|C00000|Mtwo] C[CREATE TABLE] Z[T]", "C[NOTIFY] N[00000 two]",
          HIDDEN("COMMIT") " S"},
         {SERVER, "1 2 N[SNOTICE|C00000|Mdeferred] C[COMMIT] 3 3 A[pid0n] Z[I]",
          "N[00000 deferred] C[CREATE TABLE] A[pid0n] Z[I]", NULL});
}

static void test_a_transaction_command_behind_ddl_finds_no_block(void **state)
{
    (void)state;
    /* PostgreSQL's implicit transaction is no block: COMMIT and ROLLBACK get a warning, the others an error.
     */
    TALK({CLIENT, "Q[create table a (); commit; select 1]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a ()]"},
         {SERVER, "C[CREATE TABLE] Z[T]", NULL, HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[CREATE TABLE]", "Q[commit]"},
         {SERVER, "N[SWARNING|C25P01|Mnone] C[COMMIT] Z[I]", "N[25P01 none] C[COMMIT]", HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[select 1]"},
         {SERVER, "C[SELECT 1] Z[T]", NULL, HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[SELECT 1] Z[I]", NULL});
    TALK({CLIENT, "Q[create table a (); savepoint s; select 1]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a ()]"},
         {SERVER, "C[CREATE TABLE] Z[T]", NULL, HIDDEN("ROLLBACK") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[CREATE TABLE]", "Q[savepoint s]"},
         {SERVER, "E[SERROR|C25P01|Mnone] Z[I]", "E[25P01 none] Z[I]", NULL});
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|commit] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|commit] B[|] H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE] 1 2", "1 2 C[CREATE TABLE] 1 2", HIDDEN("COMMIT") " H"},
         {SERVER, HIDDEN_OK, NULL, HIDDEN("commit") " H"},
         {SERVER, "1 2 N[SWARNING|C25P01|Mnone] C[COMMIT] 3 3", "N[25P01 none] C[COMMIT]", "S"},
         {SERVER, "Z[I]", "Z[I]", NULL});
}

static void test_begin_that_fails_leaves_no_block(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[create table a (); begin isolation level serializable]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a ()]"},
         {SERVER, "C[CREATE TABLE] Z[T]", NULL, "Q[begin isolation level serializable]"},
         {SERVER, "E[SERROR|C25001|Mlate] Z[E]", "C[CREATE TABLE] E[25001 late]", HIDDEN("ROLLBACK") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_begin_behind_ddl_that_fails_leaves_no_block(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|begin] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|begin] B[|] E H"},
         {SERVER, "1 2 " HIDDEN_OK " E[SERROR|C42P07|Mexists]", "1 2 E[42P07 exists]", "S"},
         {SERVER, "Z[E]", NULL, HIDDEN("ROLLBACK") " S"}, {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|begin] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|begin] B[|] E H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE] 1 2 N[SWARNING|C25001|Mthere] C[BEGIN]",
          "1 2 C[CREATE TABLE] 1 2 C[BEGIN]", "S"},
         {SERVER, "Z[T]", "Z[T]", NULL});
}

static void test_a_script_with_an_error_of_syntax_is_not_cut(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin; create table a (b int); commit; selec 1]", NULL,
          "Q[begin; create table a (b int); commit; selec 1]"},
         {SERVER, "E[SERROR|C42601|Msyntax] Z[I]", "E[42601 syntax] Z[I]", NULL},
         {CLIENT, "Q[create table a (b int)]", NULL, HIDDEN("BEGIN") " S"});
}

static void test_of_several_statements_none_is_alone(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[select 1; create index concurrently i on t (a)]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[select 1]"},
         {SERVER, "T[x] C[SELECT 1] Z[T]", "T[x]", "Q[create index concurrently i on t (a)]"},
         {SERVER, "E[SERROR|C25001|Mblock] Z[E]", "C[SELECT 1] E[25001 block]", HIDDEN("ROLLBACK") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_a_script_lets_the_data_of_copy_through(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[create table a (b int); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a (b int); copy a from stdin]"},
         {SERVER, "C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]", NULL},
         {CLIENT, "d[1] H S c Q[select 1]", NULL, "d[1] H S c"},
         {SERVER, "C[COPY 1] Z[T]", NULL, HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[COPY 1] Z[I]", "Q[select 1]"},
         {SERVER, "C[SELECT 1] Z[I]", "C[SELECT 1] Z[I]", NULL});
    TALK({CLIENT, "Q[create table a (b int); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a (b int); copy a from stdin]"},
         {SERVER, "C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]", NULL}, {CLIENT, "d[x]", NULL, "d[x]"},
         {SERVER, "E[SERROR|C22P02|Mrow] Z[E]", "E[22P02 row]", HIDDEN("ROLLBACK") " S"},
         {CLIENT, "d[2] c", NULL, NULL}, {SERVER, HIDDEN_OK " Z[I]", "Z[I]", "d[2] c"});
    TALK_CLOSED({CLIENT, "Q[create table a (b int); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
                {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a (b int); copy a from stdin]"},
                {SERVER, "C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]", NULL},
                {CLIENT, "Q[select 1]", "E[08P01 invalid frontend message type]", NULL});
}

static void test_copy_in_may_fail_before_it_reads(void **state)
{
    (void)state;
    /* The server answers the Sync that it has not read as part of COPY. */
    TALK({CLIENT, "P[|copy v from stdin] B[|] E[] S", NULL, "P[|copy v from stdin] B[|] E S"},
         {SERVER, "1 2 G[x] E[SERROR|C42809|Mview] Z[I]", "1 2 G[x] E[42809 view] Z[I]", NULL},
         {CLIENT, "P[|create table a ()] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E H"});
    /* The same when the client's data was under way already. */
    TALK({CLIENT, "P[|copy v from stdin] B[|] E[] S", NULL, "P[|copy v from stdin] B[|] E S"},
         {SERVER, "1 2 G[x]", "1 2 G[x]", NULL}, {CLIENT, "d[row] c S", NULL, "d[row] c S"},
         {SERVER, "E[SERROR|C42809|Mview] Z[I] Z[I]", "E[42809 view] Z[I] Z[I]", NULL},
         {CLIENT, "Q[select 1]", NULL, "Q[select 1]"},
         {SERVER, "C[SELECT 1] Z[I]", "C[SELECT 1] Z[I]", NULL});
    /* One that has read some has read the Sync: its error is followed by one ReadyForQuery. */
    TALK_CLOSED({CLIENT, "P[|copy t from stdin] B[|] E[] S", NULL, "P[|copy t from stdin] B[|] E S"},
                {SERVER, "1 2 G[x]", "1 2 G[x]", NULL}, {CLIENT, "d[row] c S", NULL, "d[row] c S"},
                {SERVER, "E[SERROR|C22P04|Mrow] Z[I]", "E[22P04 row] Z[I]", NULL},
                {CLIENT, "Q[select 1]", NULL, "Q[select 1]"},
                {SERVER, "C[SELECT 1] Z[I] Z[I]",
                 "C[SELECT 1] Z[I] E[08P01 the server sent an answer that nobody asked for]", NULL});
}

static void test_an_error_in_a_batch_skips_to_sync(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|select x] B[|] E[] H", NULL, "P[|select x] B[|] E H"},
         {SERVER, "E[SERROR|C42703|Mno]", "E[42703 no]", NULL},
         {CLIENT, "P[|begin] B[|] E[] S", NULL, "P[|begin] B[|] E S"}, {SERVER, "Z[I]", "Z[I]", NULL},
         {CLIENT, "Q[select 1]", NULL, "Q[select 1]"},
         {SERVER, "C[SELECT 1] Z[I]", "C[SELECT 1] Z[I]", NULL});
}

static void test_a_query_behind_a_failed_batch_is_skipped_like_the_rest(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|select x] B[|] E[] Q[create table a (b int)] S", NULL, "P[|select x] B[|] E H"},
         {SERVER, "E[SERROR|C42703|Mno]", "E[42703 no]", "Q[create table a (b int)] S"},
         {SERVER, "Z[I]", "Z[I]", NULL});
}

static void test_a_failed_batch_changes_no_block_with_what_was_skipped(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "P[|select x] B[|] E[] P[|commit] B[|] E[] P[|create table a ()] B[|] E[] S", NULL,
          "P[|select x] B[|] E P[|commit] B[|] E P[|create table a ()] B[|] " HIDDEN("BEGIN") " E H"},
         {SERVER, "E[SERROR|C42703|Mno]", "E[42703 no]", "S"}, {SERVER, "Z[E]", "Z[E]", NULL},
         {CLIENT, "Q[rollback]", NULL, "Q[rollback]"},
         {SERVER, "C[ROLLBACK] Z[I]", "C[ROLLBACK] Z[I]", NULL});
}

static void test_ddl_waits_for_the_batch_that_may_have_begun_its_transaction(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|select x] B[|] E[] P[|begin] B[|] E[] S P[|create table a ()] B[|] E[] S", NULL,
          "P[|select x] B[|] E P[|begin] B[|] E S P[|create table a ()] B[|] H"},
         {SERVER, "E[SERROR|C42703|Mno] Z[I] 1 2", "E[42703 no] Z[I] 1 2", HIDDEN("BEGIN") " E H"},
         {SERVER, HIDDEN_OK " C[CREATE TABLE]", NULL, HIDDEN("COMMIT") " H"},
         {SERVER, HIDDEN_OK, "C[CREATE TABLE]", "S"}, {SERVER, "Z[I]", "Z[I]", NULL});
}

static void test_a_query_ends_the_hidden_transaction_of_a_batch_without_sync(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] Q[select 1]", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE]", "1 2", "Q[select 1]"},
         {SERVER, "T[x] D[1] C[SELECT 1] Z[T]", "C[CREATE TABLE] T[x] D", HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[SELECT 1] Z[I]", NULL}, {CLIENT, "S", NULL, "S"},
         {SERVER, "Z[I]", "Z[I]", NULL});
    TALK({CLIENT, "P[|create table a ()] B[|] E[] F[x]", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE]", "1 2", "F[x]"},
         {SERVER, "V[x] Z[T]", "C[CREATE TABLE] V[x]", HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_a_script_with_ddl_may_copy_from_the_client(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[create table a (); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a (); copy a from stdin]"},
         {SERVER, "C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]", NULL},
         {CLIENT, "d[row] c Q[select 1]", NULL, "d[row] c"},
         {SERVER, "C[COPY 1] Z[T]", NULL, HIDDEN("COMMIT") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "C[COPY 1] Z[I]", "Q[select 1]"},
         {SERVER, "C[SELECT 1] Z[I]", "C[SELECT 1] Z[I]", NULL});
    TALK({CLIENT, "Q[create table a (); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T] C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]",
          "Q[create table a (); copy a from stdin]"},
         {CLIENT, "d[row]", NULL, "d[row]"},
         {SERVER, "E[SERROR|C22P04|Mno] Z[E]", "E[22P04 no]", HIDDEN("ROLLBACK") " S"},
         {CLIENT, "d[row] c Q[select 1]", NULL, NULL},
         {SERVER, HIDDEN_OK " Z[I]", "Z[I]", "d[row] c Q[select 1]"});
    TALK_CLOSED({CLIENT, "Q[create table a (); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
                {SERVER, HIDDEN_OK " Z[T] C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]",
                 "Q[create table a (); copy a from stdin]"},
                {CLIENT, "Q[select 1]", "E[08P01 invalid frontend message type]", NULL});
}

static void test_sync_during_copy_in_does_not_end_a_hidden_transaction(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|copy a from stdin] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|copy a from stdin] B[|] E H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE] 1 2 G[x]", "1 2 C[CREATE TABLE] 1 2 G[x]", NULL},
         {CLIENT, "d[row] c S", NULL, "d[row] c H"},
         {SERVER, "C[COPY 1]", "C[COPY 1]", HIDDEN("COMMIT") " H"}, {SERVER, HIDDEN_OK, NULL, "S"},
         {SERVER, "Z[I]", "Z[I]", NULL});
}

static void test_copy_behind_ddl_may_fail_before_it_reads(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|copy v from stdin] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|copy v from stdin] B[|] E H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE] 1 2 G[x]", "1 2 C[CREATE TABLE] 1 2 G[x]", NULL},
         {SERVER, "E[SERROR|C42809|Mview]", "E[42809 view]", "S"},
         {SERVER, "Z[E]", NULL, HIDDEN("ROLLBACK") " S"}, {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
    /* One that has read some has read the Sync. */
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|copy a from stdin] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|copy a from stdin] B[|] E H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE] 1 2 G[x]", "1 2 C[CREATE TABLE] 1 2 G[x]", NULL},
         {CLIENT, "d[row]", NULL, "d[row]"}, {SERVER, "E[SERROR|C22P04|Mrow]", "E[22P04 row]", NULL},
         {CLIENT, "c S", NULL, "c S"}, {SERVER, "Z[E]", NULL, HIDDEN("ROLLBACK") " S"},
         {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_a_bind_waits_for_every_batch_that_gave_its_name_away(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|drop index i] B[|a] P[|select 1] P[|commit] S B[|] E[] S", NULL,
          "P[|drop index i] B[|a] P[|select 1] P[|commit] S"},
         {SERVER, "1 E[SERROR|C26000|Mno] Z[I]", "1 E[26000 no] Z[I]", "B[|] " HIDDEN("BEGIN") " E H"});
}

static void test_what_a_failed_operation_left_is_closed_though_a_batch_skipped_that(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E H"},
         {SERVER, "1 2 " HIDDEN_OK " C[CREATE TABLE]", "1 2", HIDDEN("COMMIT") " H"},
         {SERVER, "1 2 E[SERROR|C23503|Mlate]", "E[23503 late]", "S"}, {SERVER, "Z[I]", "Z[I]", NULL},
         {CLIENT, "P[|select x] B[|] E[] P[|create table a ()] B[|] E[] S", NULL,
          "P[|select x] B[|] E P[|create table a ()] B[|] C[P\001busbar] C[S\001busbar] " HIDDEN(
              "BEGIN") " E H"},
         {SERVER, "E[SERROR|C42703|Mno]", "E[42703 no]", "S"}, {SERVER, "Z[I]", "Z[I]", NULL},
         {CLIENT, "Q[create table a ()]", NULL, "C[P\001busbar] C[S\001busbar] " HIDDEN("BEGIN") " S"});
}

static void test_a_portal_ends_with_its_transaction(void **state)
{
    (void)state;
    TALK({CLIENT, "P[a|commit] B[a|a] E[a] P[|create table a ()] B[|] E[] E[a] S", NULL,
          "P[a|commit] B[a|a] E[a] P[|create table a ()] B[|] " HIDDEN("BEGIN") " E E[a] H"});
    TALK({CLIENT, "P[a|commit] B[a|a] S P[|create table a ()] B[|] E[] E[a] S", NULL,
          "P[a|commit] B[a|a] S P[|create table a ()] B[|] H"},
         {SERVER, "1 2 Z[I] 1 2", "1 2 Z[I] 1 2", HIDDEN("BEGIN") " E E[a] H"});
}

static void test_commit_of_a_failed_transaction_asks_nothing(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "Q[select x]", NULL, "Q[select x]"},
         {SERVER, "E[SERROR|C42703|Mno] Z[E]", "E[42703 no] Z[E]", NULL},
         {CLIENT, "P[|commit] B[|] E[] S", NULL, "P[|commit] B[|] E S"},
         {SERVER, "1 2 C[ROLLBACK] Z[I]", "1 2 C[ROLLBACK] Z[I]", NULL});
}

static void test_a_commit_that_is_skipped_ends_nothing(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[drop index i]", NULL, "Q[drop index i]"},
         {SERVER, MARK " C[DROP INDEX] Z[T]", MARKED " C[DROP INDEX] Z[T]", NULL},
         {CLIENT, "P[|select x] B[|] E[] P[|commit] B[|] E[] S", NULL,
          "P[|select x] B[|] E P[|commit] B[|] " HIDDEN(PENDING) " H"},
         {SERVER, "E[SERROR|C42703|Mno]", "E[42703 no]", "S"}, {SERVER, "Z[E]", "Z[E]", NULL});
}

static void test_a_transaction_begun_in_a_batch_is_not_the_one_that_failed_before(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "Q[select x]", NULL, "Q[select x]"},
         {SERVER, "E[SERROR|C42703|Mno] Z[E]", "E[42703 no] Z[E]", NULL},
         {CLIENT, "P[|commit] B[|] E[] H", NULL, "P[|commit] B[|] E H"},
         {SERVER, "1 2 C[ROLLBACK]", "1 2 C[ROLLBACK]", NULL},
         {CLIENT, "P[|drop index i] B[|] E[] H", NULL, "P[|drop index i] B[|] " HIDDEN("BEGIN") " E H"},
         {SERVER, "1 2 " HIDDEN_OK " " MARK " C[DROP INDEX]", "1 2 " MARKED, NULL},
         {CLIENT, "P[|commit] B[|] E[] S", NULL, "P[|commit] B[|] " HIDDEN(PENDING) " H"});
}

static void test_a_hidden_transaction_that_fails_before_the_clients_begin_is_rolled_back(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|begin] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|begin] B[|] E H"},
         {SERVER, "1 2 " HIDDEN_OK " E[SERROR|C42P07|Mexists]", "1 2 E[42P07 exists]", "S"},
         {SERVER, "Z[E]", NULL, HIDDEN("ROLLBACK") " S"}, {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_an_error_puts_no_name_back_that_was_given_away_since(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|begin] B[|] E[] E[] P[|select x] S P[|drop index i] S", NULL,
          "P[|begin] B[|] E E P[|select x] S P[|drop index i] S"},
         {SERVER, "1 2 C[BEGIN] E[SERROR|C55000|Mno] Z[E] 1 Z[E]", "1 2 C[BEGIN] E[55000 no] Z[E] 1 Z[E]",
          NULL},
         {CLIENT, "Q[rollback]", NULL, "Q[rollback]"}, {SERVER, "C[ROLLBACK] Z[I]", "C[ROLLBACK] Z[I]", NULL},
         {CLIENT, "B[|] E[] S", NULL, "B[|] " HIDDEN("BEGIN") " E H"});
    TALK({CLIENT, "P[|drop index i] S", NULL, "P[|drop index i] S"}, {SERVER, "1 Z[I]", "1 Z[I]", NULL},
         {CLIENT, "P[|select x] B[|] S P[|select y] S", NULL, "P[|select x] B[|] S P[|select y] S"},
         {SERVER, "E[SERROR|C42703|Mno] Z[I] E[SERROR|C42703|Mno] Z[I]", "E[42703 no] Z[I] E[42703 no] Z[I]",
          NULL},
         {CLIENT, "B[|] E[] S", NULL, "B[|] " HIDDEN("BEGIN") " E H"});
}

static void test_a_bind_waits_for_the_batch_that_decides_what_its_name_stands_for(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|drop index i] B[|a] P[|select 1] S B[|] E[] S", NULL,
          "P[|drop index i] B[|a] P[|select 1] S"},
         {SERVER, "1 E[SERROR|C26000|Mno] Z[I]", "1 E[26000 no] Z[I]", "B[|] " HIDDEN("BEGIN") " E H"});
    TALK({CLIENT, "P[|begin] B[|] E[] P[|select 1] B[|] E[] S P[|select 2] B[|] E[] S", NULL,
          "P[|begin] B[|] E P[|select 1] B[|] E S P[|select 2] B[|] E S"});
}

static void test_a_close_that_is_skipped_closes_nothing(void **state)
{
    (void)state;
    TALK({CLIENT, "P[a|drop index i] S", NULL, "P[a|drop index i] S"}, {SERVER, "1 Z[I]", "1 Z[I]", NULL},
         {CLIENT, "P[|select x] C[Sa] S", NULL, "P[|select x] C[Sa] S"},
         {SERVER, "E[SERROR|C42703|Mno] Z[I]", "E[42703 no] Z[I]", NULL},
         {CLIENT, "B[|a] E[] S", NULL, "B[|a] " HIDDEN("BEGIN") " E H"});
}

static void test_discard_all_forgets_what_was_prepared_before_it(void **state)
{
    (void)state;
    TALK({CLIENT, "P[a|drop index i] S", NULL, "P[a|drop index i] S"}, {SERVER, "1 Z[I]", "1 Z[I]", NULL},
         {CLIENT, "Q[discard all] P[b|drop index j]", NULL, "Q[discard all] P[b|drop index j]"},
         {SERVER, "C[DISCARD ALL] Z[I] 1", "C[DISCARD ALL] Z[I] 1", NULL},
         {CLIENT, "B[|b] E[] H", NULL, "B[|b] " HIDDEN("BEGIN") " E H"},
         {SERVER, "2 " HIDDEN_OK " C[DROP INDEX]", "2", NULL}, {CLIENT, "S", NULL, HIDDEN("COMMIT") " H"},
         {SERVER, HIDDEN_OK, "C[DROP INDEX]", "S"}, {SERVER, "Z[I]", "Z[I]", NULL},
         {CLIENT, "P[a|select 1] B[|a] E[] S", NULL, "P[a|select 1] B[|a] E S"});
    TALK({CLIENT, "Q[discard all] P[|drop index i] B[|a] P[|select 1] S B[|] E[] S", NULL,
          "Q[discard all] P[|drop index i] B[|a] P[|select 1] S"},
         {SERVER, "C[DISCARD ALL] Z[I] 1 E[SERROR|C26000|Mno] Z[I]", "C[DISCARD ALL] Z[I] 1 E[26000 no] Z[I]",
          "B[|] " HIDDEN("BEGIN") " E H"});
}

static void test_an_earlier_error_in_the_batch_is_shown_once(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|select x] B[|] E[] P[|drop table t] B[|] E[] S", NULL,
          "P[|select x] B[|] E " HIDDEN(ASK) " H"},
         {SERVER, "1 E[SERROR|C42703|Mno]", "1 E[42703 no]", "B[|] E S"}, {SERVER, "Z[I]", "Z[I]", NULL});
}

static void test_concurrent_index_is_reconciled_afterwards(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[create index concurrently i on t (a)]", NULL, "Q[create index concurrently i on t (a)]"},
         {SERVER, "C[CREATE INDEX] Z[I]", "C[CREATE INDEX]", HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, HIDDEN("SELECT busbar.reconcile()") " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, HIDDEN(PENDING) " S"},
         {SERVER, HIDDEN_OK " Z[T]", NULL, HIDDEN("COMMIT") " S"}, {SERVER, HIDDEN_OK " Z[I]", "Z[I]", NULL});
}

static void test_protocol_violations_close_the_session(void **state)
{
    (void)state;
    TALK_CLOSED({CLIENT, "y[what]", "E[08P01 invalid frontend message type]", NULL});
    TALK_CLOSED({CLIENT, "Q", "E[08P01 invalid message format]", NULL});
    TALK_CLOSED({CLIENT, "X[what]", "E[08P01 invalid message format]", NULL});
    TALK_CLOSED({SERVER, "y[what]", "E[08P01 the server sent what is no PostgreSQL message]", NULL});
    TALK_CLOSED({CLIENT, "P[|select 1] S", NULL, "P[|select 1] S"},
                {SERVER, "Z[I]", "E[08P01 the server is ready although answers are missing]", NULL});
}

/* Feeds a Query of so many times the unit and an end, as reads from a socket bring it. */
static void say_long_query(struct talk *t, const char *unit, size_t times, const char *end)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(LIMIT_MIGRATION_TEXT), message = BUF_INIT(LIMIT_OUTPUT);
    for (size_t i = 0; i < times; i++) {
        buf_put_c(&text, unit);
    }
    buf_put_c(&text, end);
    put_query(&message, buf_str(&text));
    for (size_t at = 0; at < message.n; at += LIMIT_READ) {
        size_t n = message.n - at < LIMIT_READ ? message.n - at : LIMIT_READ;
        say(t, CLIENT, message.p + at, n);
    }
}

/* A conversation that is not held by the table. */
static void talk_begin(struct talk *t)
{
    static const struct session_out out = {to_client, to_server, flush, flush, on_close};
    static struct session_counters counters;
    *t = (struct talk){.to_client = BUF_INIT(LIMIT_OUTPUT), .to_server = BUF_INIT(LIMIT_OUTPUT)};
    t->session = session_new(&out, t, "", &counters);
}

static void talk_end(struct talk *t)
{
    session_free(t->session);
    buf_deinit(&t->to_client);
    buf_deinit(&t->to_server);
}

static void say_messages(struct talk *t, enum who who, const char *messages)
{
    CLEANUP(buf_deinit) struct buf in = BUF_INIT(1000);
    put_messages(&in, who, messages);
    say(t, who, in.p, in.n);
}

static void test_an_error_is_not_put_into_the_middle_of_a_message(void **state)
{
    struct talk t;
    (void)state;
    talk_begin(&t);
    say(&t, CLIENT, "Q\0\0\0\015select 1", 14);
    say(&t, SERVER, "D\0\0\1\0half a row", 15);
    say(&t, CLIENT, "y\0\0\0\4", 5);
    assert_true(t.closed);
    assert_int_equal(t.to_client.n, 15);
    assert_memory_equal(t.to_client.p, "D\0\0\1\0half a row", 15);
    talk_end(&t);
}

static void test_ddl_at_the_end_of_a_long_script_is_seen(void **state)
{
    static const char unit[] = "insert into t values (1, ';');\n", end[] = "create table a ()";
    enum { TIMES = 200 * 1000 };
    struct talk t;
    (void)state;
    talk_begin(&t);
    say_long_query(&t, unit, TIMES, end);
    assert_said(CLIENT, &t.to_server, HIDDEN("BEGIN") " S", 0);
    say_messages(&t, SERVER, HIDDEN_OK " Z[T]");
    assert_int_equal(t.to_server.n, FRAME_HEAD + TIMES * (sizeof unit - 1) + sizeof end);
    assert_memory_equal(t.to_server.p + t.to_server.n - sizeof end, end, sizeof end);
    talk_end(&t);
}

static void test_a_long_script_that_is_skipped_leaves_nothing_behind(void **state)
{
    struct talk t;
    (void)state;
    talk_begin(&t);
    say_messages(&t, CLIENT, "P[|select x] H");
    say_messages(&t, SERVER, "E[SERROR|C42703|Mno]");
    say_long_query(&t, "insert into t values (1);", 10 * 1000, "create table a ()");
    say_messages(&t, CLIENT, "S");
    buf_reset(&t.to_server);
    say_messages(&t, SERVER, "Z[I]");
    say_messages(&t, CLIENT, "Q[drop table a]");
    assert_said(CLIENT, &t.to_server, HIDDEN("BEGIN") " S", 0);
    say_messages(&t, SERVER, HIDDEN_OK " Z[T]");
    assert_said(CLIENT, &t.to_server, HIDDEN(ASK) " S", 1);
    talk_end(&t);
}

static void test_a_long_statement_is_not_held(void **state)
{
    CLEANUP(buf_deinit) struct buf head = BUF_INIT(2 * LIMIT_READ);
    struct talk t;
    (void)state;
    talk_begin(&t);
    buf_put(&head, "Q\1\0\0\0insert into t values ('", 28);
    while (head.n < LIMIT_READ) {
        buf_put_byte(&head, ';');
    }
    say(&t, CLIENT, head.p, head.n);
    assert_int_equal(t.to_server.n, head.n);
    talk_end(&t);
}

static void test_a_mark_among_joined_statements_is_of_the_right_one(void **state)
{
    static const char expected[] = "Capturing migration: select f()";
    struct talk t;
    (void)state;
    talk_begin(&t);
    say_messages(&t, CLIENT, "Q[begin]");
    say_messages(&t, SERVER, "C[BEGIN] Z[T]");
    say_messages(&t, CLIENT, "Q[select 1; select f(); alter table t add a int]");
    say_messages(&t, SERVER, "C[SELECT 1] " MARK);
    assert_non_null(memmem(t.to_client.p, t.to_client.n, expected, sizeof expected));
    talk_end(&t);
}

static void test_what_came_before_terminate_is_answered(void **state)
{
    (void)state;
    TALK({CLIENT, "Q[select 1] X", NULL, "Q[select 1] X"},
         {SERVER, "C[SELECT 1] Z[I]", "C[SELECT 1] Z[I]", NULL}, {CLIENT, "Q[select 2]", NULL, NULL});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ordinary_statements_pass_in_both_protocols),
        cmocka_unit_test(test_autocommitted_ddl_runs_in_a_hidden_transaction),
        cmocka_unit_test(test_failed_ddl_is_rolled_back_before_the_client_may_go_on),
        cmocka_unit_test(test_statements_around_ddl_stay_one_piece),
        cmocka_unit_test(test_a_marked_transaction_is_proved_and_recorded_before_commit),
        cmocka_unit_test(test_without_a_guard_the_session_asks_what_has_changed),
        cmocka_unit_test(test_without_a_guard_nothing_changed_is_nothing_more),
        cmocka_unit_test(test_without_a_guard_a_refused_change_fails_the_commit),
        cmocka_unit_test(test_the_commit_of_a_failed_transaction_is_not_proved),
        cmocka_unit_test(test_a_transaction_mended_in_the_batch_of_its_commit_is_proved),
        cmocka_unit_test(test_nothing_is_recorded_when_savepoints_undid_all),
        cmocka_unit_test(test_a_migration_that_fails_the_proof_is_refused_at_commit),
        cmocka_unit_test(test_what_clients_cannot_follow_is_asked_about_first),
        cmocka_unit_test(test_ddlx_is_replaced_and_shows_its_own_tag),
        cmocka_unit_test(test_autocommitted_ddl_in_a_batch_is_committed_at_its_sync),
        cmocka_unit_test(test_a_batch_that_fails_leaves_no_hidden_transaction),
        cmocka_unit_test(test_commit_in_a_pipeline_waits_for_what_may_mark),
        cmocka_unit_test(test_a_marked_transaction_cannot_be_prepared),
        cmocka_unit_test(test_a_pipelined_transaction_without_ddl_is_left_alone),
        cmocka_unit_test(test_sync_during_copy_in_has_no_answer),
        cmocka_unit_test(test_notifications_and_notices_keep_their_place),
        cmocka_unit_test(test_a_transaction_command_behind_ddl_finds_no_block),
        cmocka_unit_test(test_begin_that_fails_leaves_no_block),
        cmocka_unit_test(test_begin_behind_ddl_that_fails_leaves_no_block),
        cmocka_unit_test(test_a_script_with_an_error_of_syntax_is_not_cut),
        cmocka_unit_test(test_of_several_statements_none_is_alone),
        cmocka_unit_test(test_a_script_lets_the_data_of_copy_through),
        cmocka_unit_test(test_copy_in_may_fail_before_it_reads),
        cmocka_unit_test(test_an_error_in_a_batch_skips_to_sync),
        cmocka_unit_test(test_a_query_behind_a_failed_batch_is_skipped_like_the_rest),
        cmocka_unit_test(test_a_failed_batch_changes_no_block_with_what_was_skipped),
        cmocka_unit_test(test_ddl_waits_for_the_batch_that_may_have_begun_its_transaction),
        cmocka_unit_test(test_a_query_ends_the_hidden_transaction_of_a_batch_without_sync),
        cmocka_unit_test(test_a_script_with_ddl_may_copy_from_the_client),
        cmocka_unit_test(test_sync_during_copy_in_does_not_end_a_hidden_transaction),
        cmocka_unit_test(test_copy_behind_ddl_may_fail_before_it_reads),
        cmocka_unit_test(test_what_a_failed_operation_left_is_closed_though_a_batch_skipped_that),
        cmocka_unit_test(test_a_portal_ends_with_its_transaction),
        cmocka_unit_test(test_commit_of_a_failed_transaction_asks_nothing),
        cmocka_unit_test(test_a_commit_that_is_skipped_ends_nothing),
        cmocka_unit_test(test_a_transaction_begun_in_a_batch_is_not_the_one_that_failed_before),
        cmocka_unit_test(test_a_hidden_transaction_that_fails_before_the_clients_begin_is_rolled_back),
        cmocka_unit_test(test_an_error_puts_no_name_back_that_was_given_away_since),
        cmocka_unit_test(test_a_bind_waits_for_the_batch_that_decides_what_its_name_stands_for),
        cmocka_unit_test(test_a_bind_waits_for_every_batch_that_gave_its_name_away),
        cmocka_unit_test(test_a_close_that_is_skipped_closes_nothing),
        cmocka_unit_test(test_discard_all_forgets_what_was_prepared_before_it),
        cmocka_unit_test(test_an_earlier_error_in_the_batch_is_shown_once),
        cmocka_unit_test(test_concurrent_index_is_reconciled_afterwards),
        cmocka_unit_test(test_protocol_violations_close_the_session),
        cmocka_unit_test(test_an_error_is_not_put_into_the_middle_of_a_message),
        cmocka_unit_test(test_ddl_at_the_end_of_a_long_script_is_seen),
        cmocka_unit_test(test_a_long_script_that_is_skipped_leaves_nothing_behind),
        cmocka_unit_test(test_a_long_statement_is_not_held),
        cmocka_unit_test(test_a_mark_among_joined_statements_is_of_the_right_one),
        cmocka_unit_test(test_what_came_before_terminate_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
