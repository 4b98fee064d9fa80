/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations (session_talk.h): the window, acknowledgements, relations, the backlog. */
#include "sync/session_talk.h"

#include "base/limits.h"

static void add_text(struct delivery *d, const char *text)
{
    delivery_add(d, packet_new(text, strlen(text)));
}

static void send_and_unref(struct talk *t, struct delivery *d)
{
    sync_session_send(t->s, d);
    delivery_unref(d);
}

static void send_transaction(struct talk *t, uint64_t txid, lsn_t lsn)
{
    char text[40];
    struct delivery *d = delivery_new(DELIVERY_TRANSACTION, lsn, txid);
    snprintf(text, sizeof text, "tx%llu", (unsigned long long)txid);
    add_text(d, text);
    send_and_unref(t, d);
}

static void send_data(struct talk *t, lsn_t lsn, const char *text)
{
    struct delivery *d = delivery_new(DELIVERY_DATA, lsn, 0);
    add_text(d, text);
    send_and_unref(t, d);
}

/* Transactions from to last, positions ten times their ids. */
static void send_transactions(struct talk *t, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        send_transaction(t, i, i * 10);
    }
}

static void expect_transactions(struct talk *t, const char *before, uint64_t from, uint64_t to)
{
    CLEANUP(buf_deinit) struct buf words = BUF_INIT(10000);
    buf_put_c(&words, before);
    for (uint64_t i = from; i <= to; i++) {
        buf_printf(&words, "%stx%llu", words.n ? " | " : "", (unsigned long long)i);
    }
    expect_said(t, buf_cstr(&words));
}

static void a_delivery_leaves_in_order(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    struct delivery *d = delivery_new(DELIVERY_TRANSACTION, 10, 1);
    add_text(d, "begin");
    add_text(d, "commit");
    send_and_unref(t, d);
    send_data(t, 10, "data");
    expect_said(t, "begin | commit | data");
}

static void nothing_is_sent_outside_of_a_stream(void **state)
{
    struct talk *t = *state;
    t->answers = false;
    send_transaction(t, 1, 1);
    authenticate(t, 1, "c", "u");
    send_transaction(t, 1, 1);
    start(t, 2, NULL, NULL, NULL);
    send_transaction(t, 1, 1);
    sync_session_subscription_failed(t->s, STR(UUID_1));
    expect_said(t, AUTHENTICATED " | (start new 0 sqlite)");
}

static void the_window_is_thirty_transactions(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    send_transactions(t, 1, 60);
    send_data(t, 600, "data");
    expect_transactions(t, "", 1, 30);
    ack(t, 30, "300", NULL, NULL);
    expect_transactions(t, "(acked 30 at 300)", 31, 60);
    ack(t, 31, "310", NULL, NULL);
    expect_said(t, "(acked 31 at 310) | data");
    ack(t, 60, "600", NULL, NULL);
    expect_said(t, "(acked 60 at 600)");
}

static void an_ack_in_the_middle_frees_as_many(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    send_transactions(t, 1, 60);
    expect_transactions(t, "", 1, 30);
    ack(t, 21, "210", NULL, NULL);
    expect_transactions(t, "(acked 21 at 210)", 31, 51);
    ack(t, 22, "220", NULL, NULL);
    expect_transactions(t, "(acked 22 at 220)", 52, 52);
}

static void data_waits_behind_the_window(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    send_transactions(t, 1, 30);
    send_data(t, 300, "data");
    sync_session_subscription_failed(t->s, STR(UUID_1));
    expect_transactions(t, "", 1, 30);
    assert_true(sync_session_backlog(t->s) > 4);
    ack(t, 1, "10", NULL, NULL);
    expect_said(t, "(acked 1 at 10) | data | data error 1 " UUID_1
                   " Could not retrieve initial data for subscription");
    assert_int_equal(sync_session_backlog(t->s), 0);
}

static void acks_are_checked(void **state)
{
    static const struct {
        uint64_t txid;
        const char *lsn, *words;
    } rows[] = {
        {3, "30", "(acked 3 at 30)"},
        {1, "10", "(acked 1 at 10)"}, /* the latest one, again */
        {0, "20", "(acked 0 at 20)"}, /* data alone */
        {0, NULL, "(acked 0 at 0)"},
        {2, NULL, "(acked 2 at 20)"}, /* a transaction has a position of its own */
        {2, "5", "(acked 2 at 20)"},
        {0, "999", "(acked 0 at 30)"}, /* nobody is further than what was sent */
        {4, "40", "error 4 Acknowledged unknown txn | close 1007"},
        {99, "30", "error 4 Acknowledged unknown txn | close 1007"},
        {2, "x", "error 4 Malformed LSN | close 1007"},
        {0, "-1", "error 4 Malformed LSN | close 1007"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *t;
        talk_setup(&t);
        go_on_line(t);
        send_transactions(t, 1, 3);
        expect_transactions(t, "", 1, 3);
        ack(t, 1, "10", NULL, NULL);
        expect_said(t, "(acked 1 at 10)");
        ack(t, rows[i].txid, rows[i].lsn, NULL, NULL);
        expect_said(t, rows[i].words);
        talk_teardown(&t);
    }
}

static void what_was_acked_before_the_latest_is_unknown(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    send_transactions(t, 1, 3);
    expect_transactions(t, "", 1, 3);
    ack(t, 2, "20", NULL, NULL);
    expect_said(t, "(acked 2 at 20)");
    ack(t, 1, "10", NULL, NULL);
    expect_said(t, "error 4 Acknowledged unknown txn | close 1007");
}

static void data_is_acknowledged_with_its_ids(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    send_data(t, 70, "data");
    expect_said(t, "data");
    ack(t, 0, "70", UUID_1, NULL);
    expect_said(t, "(acked 0 at 70 data " UUID_1 ")");
    ack(t, 0, "70", NULL, UUID_2);
    expect_said(t, "(acked 0 at 70 gone " UUID_2 ")");
}

static void a_resumed_client_acks_from_where_it_was(void **state)
{
    struct talk *t = *state;
    authenticate(t, 1, "c", "u");
    start(t, 2, "50", NULL, NULL);
    buf_reset(&t->said);
    ack(t, 0, "50", NULL, NULL);
    expect_said(t, "(acked 0 at 50)");
    ack(t, 0, "60", NULL, NULL);
    expect_said(t, "(acked 0 at 50)");
}

/* --- relations --- */

static void send_using(struct talk *t, uint64_t txid, const uint32_t *uses, size_t n)
{
    struct delivery *d = delivery_new(DELIVERY_TRANSACTION, txid, txid);
    for (size_t i = 0; i < n; i++) { /* id and version in one number */
        char text[40];
        snprintf(text, sizeof text, "relation%u.%u", uses[i] / 10, uses[i] % 10);
        struct packet *p = packet_new(text, strlen(text));
        delivery_relate(d, uses[i] / 10, uses[i] % 10, p);
        packet_unref(p);
    }
    add_text(d, "tx");
    send_and_unref(t, d);
}

static void relations_come_before_their_first_use(void **state)
{
    static const uint32_t first[] = {71, 31, 91, 31}, second[] = {31, 51, 91}, changed[] = {32};
    struct talk *t = *state;
    go_on_line(t);
    send_using(t, 1, first, 4);
    expect_said(t, "relation7.1 | relation3.1 | relation9.1 | tx");
    send_using(t, 2, second, 3);
    expect_said(t, "relation5.1 | tx");
    send_using(t, 3, changed, 1);
    send_using(t, 4, changed, 1);
    expect_said(t, "relation3.2 | tx | tx");
    call(t, "stopReplication", 4, NULL);
    start(t, 5, "7", NULL, NULL);
    buf_reset(&t->said);
    send_using(t, 5, changed, 1);
    expect_said(t, "relation3.2 | tx"); /* a client that starts anew has forgotten */
}

static void many_relations_are_told_once(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 25; i++) {
            uint32_t use = (i * 7 % 25) * 10 + 1;
            send_using(t, 1 + i + 25 * (uint64_t)round, &use, 1);
        }
        size_t told = 0;
        for (const char *p = buf_cstr(&t->said); (p = strstr(p, "relation")); p++) {
            told++;
        }
        assert_int_equal(told, round == 0 ? 25 : 0);
        buf_reset(&t->said);
        ack(t, 25 + 25 * (uint64_t)round, NULL, NULL, NULL);
        buf_reset(&t->said);
    }
}

/* Announced when it leaves, not when it is queued. */
static void a_relation_waits_with_its_delivery(void **state)
{
    static const uint32_t use[] = {31};
    struct talk *t = *state;
    go_on_line(t);
    send_transactions(t, 1, 30);
    buf_reset(&t->said);
    send_using(t, 31, use, 1);
    expect_said(t, "");
    ack(t, 1, "10", NULL, NULL);
    expect_said(t, "(acked 1 at 10) | relation3.1 | tx");
}

/* --- the backlog --- */

static void who_cannot_follow_is_dropped(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    t->unsent = LIMIT_SYNC_BACKLOG;
    send_data(t, 1, "just");
    t->unsent++;
    expect_said(t, "just");
    send_data(t, 1, "too much");
    expect_said(t, "drop");
    send_data(t, 1, "late");
    ack(t, 0, "1", NULL, NULL);
    sync_session_drained(t->s);
    expect_said(t, "");
    assert_int_equal(sync_session_backlog(t->s), 0);
}

static void what_waits_for_acks_is_backlog(void **state)
{
    struct talk *t = *state;
    size_t size = LIMIT_SYNC_BACKLOG / 2;
    char *content = calloc(1, size);
    memset(content, 'x', size);
    go_on_line(t);
    send_transactions(t, 1, 30);
    buf_reset(&t->said);
    for (uint64_t i = 31; i <= 33; i++) {
        struct delivery *d = delivery_new(DELIVERY_TRANSACTION, 10 * i, i);
        delivery_add(d, packet_new(content, size));
        send_and_unref(t, d);
        assert_int_equal(sync_session_backlog(t->s), (i - 30) * size);
    }
    expect_said(t, "");
    send_transaction(t, 34, 340);
    expect_said(t, "drop");
    free(content);
}

/* One that is larger than the limit passes, when nothing else waits. */
static void a_huge_transaction_passes(void **state)
{
    struct talk *t = *state;
    char *content = calloc(1, LIMIT_SYNC_BACKLOG);
    memset(content, 'x', LIMIT_SYNC_BACKLOG);
    go_on_line(t);
    send_transactions(t, 1, 30);
    buf_reset(&t->said);
    struct delivery *d = delivery_new(DELIVERY_TRANSACTION, 310, 31);
    delivery_add(d, packet_new(content, LIMIT_SYNC_BACKLOG));
    delivery_add(d, packet_new(content, LIMIT_SYNC_BACKLOG));
    send_and_unref(t, d);
    expect_said(t, "");
    free(content);
}

static void acknowledgements_may_stay_away_only_so_long(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    send_transactions(t, 1, 30 + LIMIT_SYNC_QUEUE);
    expect_transactions(t, "", 1, 30);
    send_transaction(t, 31 + LIMIT_SYNC_QUEUE, 1000000000);
    expect_said(t, "drop");
}

static void the_service_hears_when_all_has_left(void **state)
{
    struct talk *t = *state;
    sync_session_drained(t->s);
    expect_said(t, "");
    go_on_line(t);
    sync_session_drained(t->s);
    expect_said(t, "(drained)");
    send_transactions(t, 1, 31);
    buf_reset(&t->said);
    sync_session_drained(t->s);
    expect_said(t, ""); /* one waits for acknowledgements */
    ack(t, 1, "10", NULL, NULL);
    sync_session_drained(t->s);
    expect_said(t, "(acked 1 at 10) | tx31 | (drained)");
}

static void a_stop_drops_what_waited(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    send_transactions(t, 1, 40);
    expect_transactions(t, "", 1, 30);
    call(t, "stopReplication", 3, NULL);
    expect_said(t, "(stop) | stopReplication#3=(0)");
    assert_int_equal(sync_session_backlog(t->s), 0);
    ack(t, 30, "300", NULL, NULL);
    expect_said(t, "(acked 30 at 300)"); /* what it has got counts all the same */
    start(t, 4, "300", NULL, NULL);
    expect_said(t, "(start at 300 sqlite) | startReplication#4=window 30");
    send_transactions(t, 31, 70);
    expect_transactions(t, "", 31, 60);
    ack(t, 30, "300", NULL, NULL);
    expect_said(t, "error 4 Acknowledged unknown txn | close 1007");
}

static void a_failed_subscription_gives_its_id_back(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    subscribe(t, 3, UUID_1, "a");
    buf_reset(&t->said);
    sync_session_subscription_failed(t->s, STR(UUID_1));
    expect_said(t, "data error 1 " UUID_1 " Could not retrieve initial data for subscription");
    subscribe(t, 4, UUID_1, "a");
    expect_said(t, "(subscribe " UUID_1 " 1) | subscribe#4=" UUID_1);
}

int main(void)
{
#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
    const struct CMUnitTest tests[] = {
        TALK_TEST(a_delivery_leaves_in_order),
        TALK_TEST(nothing_is_sent_outside_of_a_stream),
        TALK_TEST(the_window_is_thirty_transactions),
        TALK_TEST(an_ack_in_the_middle_frees_as_many),
        TALK_TEST(data_waits_behind_the_window),
        TALK_TEST(acks_are_checked),
        TALK_TEST(what_was_acked_before_the_latest_is_unknown),
        TALK_TEST(data_is_acknowledged_with_its_ids),
        TALK_TEST(a_resumed_client_acks_from_where_it_was),
        TALK_TEST(relations_come_before_their_first_use),
        TALK_TEST(many_relations_are_told_once),
        TALK_TEST(a_relation_waits_with_its_delivery),
        TALK_TEST(who_cannot_follow_is_dropped),
        TALK_TEST(what_waits_for_acks_is_backlog),
        TALK_TEST(a_huge_transaction_passes),
        TALK_TEST(acknowledgements_may_stay_away_only_so_long),
        TALK_TEST(the_service_hears_when_all_has_left),
        TALK_TEST(a_stop_drops_what_waited),
        TALK_TEST(a_failed_subscription_gives_its_id_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
