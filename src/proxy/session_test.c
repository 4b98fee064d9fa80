/* SPDX-License-Identifier: Apache-2.0 */
/* What passes, scripts, captures, and long messages (session_talk.h); session_batch_test.c has the batches.
 */
#include "proxy/session_talk.h"

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
    TALK({CLIENT, "Q[create table a (); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
         {SERVER, HIDDEN_OK " Z[T] C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]",
          "Q[create table a (); copy a from stdin]"},
         {CLIENT, "d[row]", NULL, "d[row]"},
         {SERVER, "E[SERROR|C22P04|Mno] Z[E]", "E[22P04 no]", HIDDEN("ROLLBACK") " S"},
         {CLIENT, "d[row] c Q[select 1]", NULL, NULL},
         {SERVER, HIDDEN_OK " Z[I]", "Z[I]", "d[row] c Q[select 1]"});
    TALK_CLOSED({CLIENT, "Q[create table a (b int); copy a from stdin]", NULL, HIDDEN("BEGIN") " S"},
                {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table a (b int); copy a from stdin]"},
                {SERVER, "C[CREATE TABLE] G[x]", "C[CREATE TABLE] G[x]", NULL},
                {CLIENT, "Q[select 1]", "E[08P01 invalid frontend message type]", NULL});
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

static void test_a_transparent_session_does_nothing(void **state)
{
    (void)state;
    TALK_IN(SESSION_TRANSPARENT,
            {CLIENT, "Q[create table a (); alter table a enable electric; commit]", NULL,
             "Q[create table a (); alter table a enable electric; commit]"},
            {SERVER, "E[SERROR|C42601|Mno|Win busbar.x()] Z[I]", "E[42601 no] Z[I]", NULL},
            {CLIENT, "P[|electric enable a] B[|] E[] S", NULL, "P[|electric enable a] B[|] E S"});
}

static void test_in_a_shadow_database_ddlx_alone_is_seen_to(void **state)
{
    (void)state;
    TALK_IN(SESSION_SHADOW, {CLIENT, "Q[drop index concurrently i]", NULL, "Q[drop index concurrently i]"},
            {SERVER, "C[DROP INDEX] Z[I]", "C[DROP INDEX] Z[I]", NULL},
            {CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
            {CLIENT, "Q[create table a (); electric grant all on a to 'x'; alter table a drop b]", NULL,
             "Q[create table a ()]"},
            {SERVER, "C[CREATE TABLE] Z[T]", "C[CREATE TABLE]", "Q[RESET busbar.nothing]"},
            {SERVER, "C[RESET] Z[T]", "C[ELECTRIC GRANT]", "Q[alter table a drop b]"},
            {SERVER, "C[ALTER TABLE] Z[T]", "C[ALTER TABLE] Z[T]", NULL},
            {CLIENT, "P[|call electric.enable('a')] B[|] E[] S", NULL, "P[|RESET busbar.nothing] B[|] E S"},
            {SERVER, "1 2 C[RESET] Z[T]", "1 2 C[ELECTRIC ENABLE] Z[T]", NULL},
            {CLIENT, "Q[commit]", NULL, "Q[commit]"});
}

#define HIDE HIDDEN("SELECT busbar.hide_catalogs()") " S"

static void test_an_introspecting_session_is_led_to_what_it_may_see(void **state)
{
    (void)state;
    TALK_IN(SESSION_INTROSPECTION, {CLIENT, "Q[select 1 from pg_catalog.pg_class]", NULL, HIDE},
            {SERVER, "1 2 D[] C[SELECT 1] 3 3 Z[I]", NULL, "Q[select 1 from pg_temp   .pg_class]"},
            {SERVER, "T[x] D[1] C[SELECT 1] Z[I]", "T[x] D C[SELECT 1] Z[I]", NULL},
            {CLIENT, "P[it's|select pg_catalog.pg_type.oid] B[|it's] E[] S", NULL,
             "P[it's|select pg_temp   .pg_type.oid] B[|it's] E S"});
}

static void test_an_introspecting_session_that_would_see_too_much_ends(void **state)
{
    (void)state;
    TALK_SET(((struct setting){.mode = SESSION_INTROSPECTION, .closes = true}),
             {CLIENT, "Q[select 1]", NULL, HIDE}, {SERVER, "E[SERROR|C42501|Mno]", NULL, NULL},
             {SERVER, "Z[I]", "E[42501 no] E[55000 what user prisma may not see could not be hidden]", NULL});
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
        cmocka_unit_test(test_nothing_is_recorded_when_savepoints_undid_all),
        cmocka_unit_test(test_a_migration_that_fails_the_proof_is_refused_at_commit),
        cmocka_unit_test(test_what_clients_cannot_follow_is_asked_about_first),
        cmocka_unit_test(test_ddlx_is_replaced_and_shows_its_own_tag),
        cmocka_unit_test(test_a_marked_transaction_cannot_be_prepared),
        cmocka_unit_test(test_notifications_and_notices_keep_their_place),
        cmocka_unit_test(test_a_transaction_command_behind_ddl_finds_no_block),
        cmocka_unit_test(test_begin_that_fails_leaves_no_block),
        cmocka_unit_test(test_begin_behind_ddl_that_fails_leaves_no_block),
        cmocka_unit_test(test_a_script_with_an_error_of_syntax_is_not_cut),
        cmocka_unit_test(test_of_several_statements_none_is_alone),
        cmocka_unit_test(test_a_script_lets_the_data_of_copy_through),
        cmocka_unit_test(test_concurrent_index_is_reconciled_afterwards),
        cmocka_unit_test(test_protocol_violations_close_the_session),
        cmocka_unit_test(test_an_error_is_not_put_into_the_middle_of_a_message),
        cmocka_unit_test(test_ddl_at_the_end_of_a_long_script_is_seen),
        cmocka_unit_test(test_a_long_script_that_is_skipped_leaves_nothing_behind),
        cmocka_unit_test(test_a_long_statement_is_not_held),
        cmocka_unit_test(test_a_mark_among_joined_statements_is_of_the_right_one),
        cmocka_unit_test(test_what_came_before_terminate_is_answered),
        cmocka_unit_test(test_a_transparent_session_does_nothing),
        cmocka_unit_test(test_in_a_shadow_database_ddlx_alone_is_seen_to),
        cmocka_unit_test(test_an_introspecting_session_is_led_to_what_it_may_see),
        cmocka_unit_test(test_an_introspecting_session_that_would_see_too_much_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
