/* SPDX-License-Identifier: Apache-2.0 */
/* Batches of the extended protocol, and pipelines of them across errors (session_talk.h). */
#include "proxy/session_talk.h"

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

/* What was refused where no block was open says nothing about the block of a later batch. */
static void test_a_savepoint_behind_autocommitted_ddl_leaves_later_batches_alone(void **state)
{
    (void)state;
    TALK({CLIENT,
          "P[|create table a ()] B[|] E[] P[|begin] B[|] E[] P[|rollback] B[|] E[] "
          "P[|create table b ()] B[|] E[] P[|savepoint s] B[|] E[] S",
          NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|begin] B[|] E P[|rollback] B[|] E "
                                                        "P[|create table b ()] B[|] " HIDDEN(
                                                            "BEGIN") " E P[|savepoint s] B[|] H"},
         {SERVER,
          "1 2 " HIDDEN_OK " C[CREATE TABLE] 1 2 C[BEGIN] 1 2 C[ROLLBACK] 1 2 " HIDDEN_OK
          " C[CREATE TABLE] 1 2",
          "1 2 C[CREATE TABLE] 1 2 C[BEGIN] 1 2 C[ROLLBACK] 1 2 C[CREATE TABLE] 1 2",
          HIDDEN("ROLLBACK") " H"},
         {SERVER, HIDDEN_OK, NULL, HIDDEN("savepoint s") " H"},
         {SERVER, "1 2 E[SERROR|C25P01|Mno]", "E[25P01 no]", "S"}, {SERVER, "Z[I]", "Z[I]", NULL},
         {CLIENT, "Q[begin]", NULL, "Q[begin]"}, {SERVER, "C[BEGIN] Z[T]", "C[BEGIN] Z[T]", NULL},
         {CLIENT, "P[|select fail] B[|] E[] H", NULL, "P[|select fail] B[|] E H"},
         {SERVER, "1 2 E[SERROR|C22012|Mno]", "1 2 E[22012 no]", NULL}, {CLIENT, "S", NULL, "S"},
         {SERVER, "Z[E]", "Z[E]", NULL});
}

/* It lives in the implicit transaction that our BEGIN makes a block of, and the client's BEGIN its own. */
static void test_a_portal_is_what_it_was_behind_a_query_of_several_statements(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|alter table t enable electric] S", NULL, "P[|CALL busbar.enable_electric('\"t\"')] S"},
         {SERVER, "1 Z[I]", "1 Z[I]", NULL}, {CLIENT, "B[a|] Q[create table m(); begin]", NULL, "B[a|] H"},
         {SERVER, "2", "2", HIDDEN("BEGIN") " S"}, {SERVER, HIDDEN_OK " Z[T]", NULL, "Q[create table m()]"},
         {SERVER, "C[CREATE TABLE] Z[T]", NULL, "Q[begin]"},
         {SERVER, "N[SWARNING|C25001|Malready] C[BEGIN] Z[T]", "C[CREATE TABLE] C[BEGIN] Z[T]", NULL},
         {CLIENT, "E[a] S", NULL, "E[a] H"}, {SERVER, "C[CALL]", "C[ELECTRIC ENABLE]", "S"},
         {SERVER, "Z[T]", "Z[T]", NULL});
}

static void test_a_refused_commit_in_a_batch_that_began_autocommitted_leaves_no_block(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|create table a ()] B[|] E[] P[|begin] B[|] E[] P[|commit] B[|] E[] S", NULL,
          "P[|create table a ()] B[|] " HIDDEN("BEGIN") " E P[|begin] B[|] E P[|commit] B[|] H"},
         {SERVER, "1 2 " HIDDEN_OK " " MARK " C[CREATE TABLE] 1 2 C[BEGIN] 1 2",
          "1 2 " MARKED " C[CREATE TABLE] 1 2 C[BEGIN] 1 2", HIDDEN(PENDING) " H"},
         {SERVER, "1 2 D[pending|7||nonsense] C[SELECT 1] 3 3", NULL, HIDDEN(REFUSE) " H"},
         {SERVER, "1 2 E[SERROR|CUB004|Mno]", "E[UB004 no]", "S"},
         {SERVER, "Z[E]", NULL, "C[P\001busbar] C[S\001busbar] " HIDDEN("ROLLBACK") " S"},
         {SERVER, "3 3 " HIDDEN_OK " Z[I]", "Z[I]", NULL});
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

static void test_a_bind_waits_for_every_batch_that_gave_its_name_away(void **state)
{
    (void)state;
    TALK({CLIENT, "P[|drop index i] B[|a] P[|select 1] P[|commit] S B[|] E[] S", NULL,
          "P[|drop index i] B[|a] P[|select 1] P[|commit] S"},
         {SERVER, "1 E[SERROR|C26000|Mno] Z[I]", "1 E[26000 no] Z[I]", "B[|] " HIDDEN("BEGIN") " E H"});
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_commit_of_a_failed_transaction_is_not_proved),
        cmocka_unit_test(test_a_transaction_mended_in_the_batch_of_its_commit_is_proved),
        cmocka_unit_test(test_autocommitted_ddl_in_a_batch_is_committed_at_its_sync),
        cmocka_unit_test(test_a_batch_that_fails_leaves_no_hidden_transaction),
        cmocka_unit_test(test_a_savepoint_behind_autocommitted_ddl_leaves_later_batches_alone),
        cmocka_unit_test(test_a_portal_is_what_it_was_behind_a_query_of_several_statements),
        cmocka_unit_test(test_a_refused_commit_in_a_batch_that_began_autocommitted_leaves_no_block),
        cmocka_unit_test(test_commit_in_a_pipeline_waits_for_what_may_mark),
        cmocka_unit_test(test_a_pipelined_transaction_without_ddl_is_left_alone),
        cmocka_unit_test(test_sync_during_copy_in_has_no_answer),
        cmocka_unit_test(test_copy_in_may_fail_before_it_reads),
        cmocka_unit_test(test_an_error_in_a_batch_skips_to_sync),
        cmocka_unit_test(test_a_query_behind_a_failed_batch_is_skipped_like_the_rest),
        cmocka_unit_test(test_a_failed_batch_changes_no_block_with_what_was_skipped),
        cmocka_unit_test(test_ddl_waits_for_the_batch_that_may_have_begun_its_transaction),
        cmocka_unit_test(test_a_query_ends_the_hidden_transaction_of_a_batch_without_sync),
        cmocka_unit_test(test_sync_during_copy_in_does_not_end_a_hidden_transaction),
        cmocka_unit_test(test_copy_behind_ddl_may_fail_before_it_reads),
        cmocka_unit_test(test_what_a_failed_operation_left_is_closed_though_a_batch_skipped_that),
        cmocka_unit_test(test_a_portal_ends_with_its_transaction),
        cmocka_unit_test(test_a_commit_that_is_skipped_ends_nothing),
        cmocka_unit_test(test_a_transaction_begun_in_a_batch_is_not_the_one_that_failed_before),
        cmocka_unit_test(test_a_hidden_transaction_that_fails_before_the_clients_begin_is_rolled_back),
        cmocka_unit_test(test_an_error_puts_no_name_back_that_was_given_away_since),
        cmocka_unit_test(test_a_bind_waits_for_the_batch_that_decides_what_its_name_stands_for),
        cmocka_unit_test(test_a_bind_waits_for_every_batch_that_gave_its_name_away),
        cmocka_unit_test(test_a_close_that_is_skipped_closes_nothing),
        cmocka_unit_test(test_discard_all_forgets_what_was_prepared_before_it),
        cmocka_unit_test(test_an_earlier_error_in_the_batch_is_shown_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
