/* SPDX-License-Identifier: Apache-2.0 */
/* Conversations (session_talk.h): who may say what, and what comes of it. session_stream_test.c has what is
 * streamed. */
#include "sync/session_talk.h"

#include "base/limits.h"

#define MALFORMED "error 0 (none) | close 1007 Message not formatted according to Electric protocol"

/* --- framing --- */

static void what_is_no_message_ends_it(void **state)
{
    static const struct str rows[] = {
        {"", 0},
        STR("\x63"), /* unknown types: 99, … */
        STR("\x01"), /* … and those of old protocols */
        STR("\x0c"),
        STR("\xff\xff"),
        STR("\x15\xff\xff"), /* a call, in no protobuf */
        STR("\x15\x0a\x05"
            "a"),                    /* … cut short */
        STR("\x09\x0a\x02\x0a\x05"), /* an operation, cut short inside */
        STR("\x09\x08\x01"),         /* … of another wire type */
        STR("\x0f\x0a\x01"),         /* what only servers send is looked at, too */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int known = 0; known < 2; known++) {
            void *t;
            talk_setup(&t);
            if (known) {
                go_on_line(t);
            }
            feed_bytes(t, rows[i]);
            expect_said(t, MALFORMED);
            feed_bytes(t, rows[i]);
            authenticate(t, 1, "c", "u");
            expect_said(t, ""); /* nothing is heard after the end */
            talk_teardown(&t);
        }
    }
}

static void a_call_has_a_size(void **state)
{
    struct talk *t = *state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(2 * LIMIT_SYNC_CALL);
    buf_put_byte(&b, SAT_RPC_REQUEST);
    pb_str(&b, 1, STR("foo"));
    size_t message = pb_open(&b, 3);
    while (b.n < LIMIT_SYNC_CALL) {
        buf_put_byte(&b, 'x');
    }
    pb_close(&b, message);
    feed(t, &b);
    expect_said(t, MALFORMED);
}

static void what_servers_send_is_not_for_clients(void **state)
{
    static const char types[] = {SAT_SUBS_DATA_ERROR,  SAT_SUBS_DATA_BEGIN, SAT_SUBS_DATA_END,
                                 SAT_SHAPE_DATA_BEGIN, SAT_SHAPE_DATA_END,  SAT_UNSUBS_DATA_BEGIN,
                                 SAT_UNSUBS_DATA_END};
    for (size_t i = 0; i < sizeof types; i++) {
        void *t;
        talk_setup(&t);
        go_on_line(t);
        feed_bytes(t, (struct str){&types[i], 1});
        expect_said(t, "error 4 Message is not for clients to send | close 1007");
        talk_teardown(&t);
    }
}

static void an_error_of_the_client_ends_it(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    feed_bytes(t, STR("\x00\x08\x04\x1a\x02no"));
    expect_said(t, "close 1000");
}

/* --- authentication --- */

static void nothing_goes_before_authentication(void **state)
{
    static const struct {
        struct str bytes;
        const char *words;
    } rows[] = {
        {STR("\x15\x0a\x09subscribe\x10\x07"), "subscribe#7!1 Authentication is required | close 1007"},
        {STR("\x15\x0a\x10startReplication"), "startReplication#0!1 Authentication is required | close 1007"},
        {STR("\x15\x0a\x03"
             "foo\x1a\x01\xff"),
         "foo#0!1 Authentication is required | close 1007"},
        {STR("\x17"), "error 1 Authentication is required | close 1007"},
        {STR("\x09"), "error 1 Authentication is required | close 1007"},
        {STR("\x0a"), "error 1 Authentication is required | close 1007"},
        {STR("\x16"), "error 1 Authentication is required | close 1007"},
        {STR("\x10"), "error 1 Authentication is required | close 1007"},
        {STR("\x00"), "close 1000"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *t;
        talk_setup(&t);
        feed_bytes(t, rows[i].bytes);
        expect_said(t, rows[i].words);
        talk_teardown(&t);
    }
}

static void a_client_says_who_it_is(void **state)
{
    char long_id[LIMIT_CLIENT_ID + 2];
    memset(long_id, 'x', sizeof long_id - 1);
    long_id[sizeof long_id - 1] = '\0';
    const struct {
        const char *client, *token, *words;
    } rows[] = {
        {"c", "u", AUTHENTICATED},
        {"", "u", "authenticate#1!4 Client id and token must not be empty | close 1007"},
        {"c", "", "authenticate#1!4 Client id and token must not be empty | close 1007"},
        {long_id, "u", "authenticate#1!4 Client id is too long | close 1007"},
        {"c", "bad", "authenticate#1!1 token is bad | close 1007"},
        {"taken", "u", "(admit taken u) | authenticate#1!4 Client id is in use by another user | close 1007"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *t;
        talk_setup(&t);
        authenticate(t, 1, rows[i].client, rows[i].token);
        expect_said(t, rows[i].words);
        talk_teardown(&t);
    }
}

static void a_token_may_be_renewed_by_the_same(void **state)
{
    static const struct {
        const char *client, *token, *words;
    } rows[] = {
        {"c", "u@7000", "authenticate#9=instance"},
        {"c", "v", "authenticate#9!4 User differs from the one authenticated before | close 1007"},
        {"d", "u", "authenticate#9!4 Client id differs from the one authenticated before | close 1007"},
        {"c", "bad", "authenticate#9!4 token is bad | close 1007"},
        {"c", "", "authenticate#9!4 Client id and token must not be empty | close 1007"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *state_of_one;
        talk_setup(&state_of_one);
        struct talk *t = state_of_one;
        authenticate(t, 1, "c", "u@5000");
        expect_said(t, AUTHENTICATED);
        assert_int_equal(t->expiry, 5000);
        authenticate(t, 9, rows[i].client, rows[i].token);
        expect_said(t, rows[i].words);
        assert_int_equal(t->expiry, i == 0 ? 7000 : 5000);
        talk_teardown(&state_of_one);
    }
}

static void an_expired_token_ends_it(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    assert_true(t->expiry == SYNC_NEVER);
    sync_session_expired(t->s);
    expect_said(t, "close 4000 JWT-expired");
    sync_session_expired(t->s);
    expect_said(t, "");
}

static void the_service_may_end_it(void **state)
{
    static const struct {
        enum sync_end why;
        const char *words;
    } rows[] = {
        {SYNC_END_DISPLACED, "close 4002 Client connected again"},
        {SYNC_END_TROUBLE, "error 3 Replication was interrupted | close 1011"},
        {SYNC_END_STOPPING, "close 1001 Server is stopping"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *state_of_one;
        talk_setup(&state_of_one);
        struct talk *t = state_of_one;
        go_on_line(t);
        assert_false(sync_session_ended(t->s));
        sync_session_end(t->s, rows[i].why);
        assert_true(sync_session_ended(t->s));
        expect_said(t, rows[i].words);
        sync_session_end(t->s, rows[i].why);
        sync_session_started(t->s, SYNC_STARTED, (struct str){"", 0});
        expect_said(t, "");
        talk_teardown(&state_of_one);
    }
}

/* --- calls --- */

static void methods_are_known_or_refused(void **state)
{
    static const char *const methods[] = {"foo", "", "Subscribe", "electric.Satellite/subscribe"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        CLEANUP(buf_deinit) struct buf words = BUF_INIT(200);
        void *t;
        talk_setup(&t);
        go_on_line(t);
        call(t, methods[i], 4000000000u, NULL);
        buf_printf(&words, "%s#4000000000!4 Unknown method | close 1007", methods[i]);
        expect_said(t, buf_cstr(&words));
        talk_teardown(&t);
    }
}

static void bodies_are_read_or_refused(void **state)
{
    static const char *const methods[] = {"authenticate", "startReplication", "stopReplication", "subscribe",
                                          "unsubscribe"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        CLEANUP(buf_deinit) struct buf words = BUF_INIT(200), body = BUF_INIT(100);
        void *t;
        talk_setup(&t);
        go_on_line(t);
        buf_put(&body, "\x0a\x7f", 2);
        call(t, methods[i], 3, &body);
        buf_printf(&words, "%s#3!4 Malformed request | close 1007", methods[i]);
        expect_said(t, buf_cstr(&words));
        talk_teardown(&t);
    }
}

static void the_clients_answers_are_expected(void **state)
{
    struct talk *t = *state;
    authenticate(t, 1, "c", "u");
    expect_said(t, AUTHENTICATED);
    feed_bytes(t, STR("\x16\x0a\x10startReplication\x1a\x00"));
    expect_said(t, "");
    feed_bytes(t, STR("\x16\x0a\x10startReplication\x1a\x00"));
    expect_said(t, "error 4 Answer to what was not asked | close 1007");
}

static void an_answer_to_something_else_is_refused(void **state)
{
    static const struct str rows[] = {
        STR("\x16\x0a\x10startReplication\x10\x01\x1a\x00"),
        STR("\x16\x0a\x0fstopReplication\x1a\x00"),
        STR("\x16"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *t;
        talk_setup(&t);
        go_on_line(t);
        feed_bytes(t, rows[i]);
        expect_said(t, "error 4 Answer to what was not asked | close 1007");
        talk_teardown(&t);
    }
}

/* The client was active already: as good as a yes. */
static void an_answer_may_be_an_error(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    feed_bytes(t, STR("\x16\x0a\x10startReplication\x22\x02\x08\x04"));
    expect_said(t, "");
}

static void writes_are_left_to_the_client(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    feed_bytes(t, STR("\x0a\x0a\x06public\x1a\x01t\x20\x01\x2a\x03\x0a\x01"
                      "a"));
    feed_bytes(t, STR("\x09\x0a\x08\x0a\x06\x08\x01\x1a\x02\0\1\x0a\x02\x12\x00"));
    expect_said(t, "");
}

/* --- startReplication --- */

static void a_start_is_checked(void **state)
{
    static const struct {
        const char *lsn, *subscription, *version, *words;
    } rows[] = {
        {NULL, NULL, NULL, "(start new 0 sqlite) | startReplication#2=window 30"},
        {NULL, NULL, "1", "(start new 0 sqlite version 1) | startReplication#2=window 30"},
        {NULL, NULL, "nonsense",
         "startReplication#2=err 5 Unknown schema version: \"nonsense\" | close 1007"},
        {NULL, NULL, "", "startReplication#2=err 5 Unknown schema version: \"\" | close 1007"},
        {"123", NULL, "2", "startReplication#2=err 5 Unknown schema version: \"2\" | close 1007"},
        {"abc", NULL, NULL,
         "startReplication#2=err 4 Could not validate start replication request | close 1007"},
        {"-1", NULL, NULL,
         "startReplication#2=err 4 Could not validate start replication request | close 1007"},
        {"18446744073709551616", NULL, NULL,
         "startReplication#2=err 4 Could not validate start replication request | close 1007"},
        {NULL, "s", NULL,
         "startReplication#2=err 2 Cannot resume subscriptions for a first-time client | close 1007"},
        {"123", NULL, NULL, "(start at 123 sqlite) | startReplication#2=window 30"},
        {"0", NULL, NULL, "(start at 0 sqlite) | startReplication#2=window 30"},
        {"18446744073709551615", "s", "1",
         "(start at 18446744073709551615 sqlite version 1 s) | startReplication#2=window 30"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *t;
        talk_setup(&t);
        authenticate(t, 1, "c", "u");
        expect_said(t, AUTHENTICATED);
        start(t, 2, rows[i].lsn, rows[i].subscription, rows[i].version);
        expect_said(t, rows[i].words);
        talk_teardown(&t);
    }
}

static void the_service_may_refuse_a_start(void **state)
{
    char long_id[200];
    memset(long_id, 'x', sizeof long_id);
    const struct {
        enum sync_start_outcome outcome;
        struct str unknown;
        const char *words;
    } rows[] = {
        {SYNC_BEHIND_WINDOW, STR(""),
         "startReplication#2=err 1 Cannot catch up to the server's current state"},
        {SYNC_BEFORE_ACKNOWLEDGED, STR(""),
         "startReplication#2=err 2 LSN is before the already acknowledged one"},
        {SYNC_UNKNOWN_SUBSCRIPTION, STR("s"), "startReplication#2=err 3 Unknown subscription: s"},
        {SYNC_UNKNOWN_SUBSCRIPTION,
         {long_id, 129},
         "startReplication#2=err 3 Unknown subscription: "
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
         "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx..."},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_deinit) struct buf words = BUF_INIT(1000);
        void *state_of_one;
        talk_setup(&state_of_one);
        struct talk *t = state_of_one;
        t->answers = false;
        authenticate(t, 1, "c", "u");
        start(t, 2, "123", "s", NULL);
        expect_said(t, AUTHENTICATED " | (start at 123 sqlite s)");
        sync_session_started(t->s, rows[i].outcome, rows[i].unknown);
        buf_printf(&words, "%s | close 1007", rows[i].words);
        expect_said(t, buf_cstr(&words));
        talk_teardown(&state_of_one);
    }
}

static void a_start_that_cannot_be_now_is_no_fault_of_the_client(void **state)
{
    struct talk *t = *state;
    t->answers = false;
    authenticate(t, 1, "c", "u");
    start(t, 2, NULL, NULL, NULL);
    expect_said(t, AUTHENTICATED " | (start new 0 sqlite)");
    sync_session_started(t->s, SYNC_START_NOT_NOW, (struct str){"", 0});
    expect_said(t, "error 3 Replication was interrupted | close 1011");
}

static void a_start_has_options(void **state)
{
    struct talk *t = *state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1000);
    authenticate(t, 1, "c", "u");
    pb_str(&b, 1, STR("5"));
    buf_put(&b, "\x12\x02\x00\x07", 4); /* options, packed … */
    buf_put(&b, "\x10\x01", 2);         /* … and not */
    pb_str(&b, 4, STR(UUID_1));
    pb_str(&b, 4, STR(UUID_2));
    buf_put(&b, "\x32\x02\x07\x08\x30\x09", 6); /* observed_transaction_data, both ways */
    pb_uint(&b, 7, 1);
    pb_str(&b, 8, STR("g"));
    buf_put(&b, "\x7a\x01?", 3); /* a field that nobody knows */
    call(t, "startReplication", 2, &b);
    expect_said(t, AUTHENTICATED " | (start at 5 postgres " UUID_1 " " UUID_2
                                 " gone g) | startReplication#2=window 30");
}

static void a_second_start_is_refused(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    start(t, 3, NULL, NULL, NULL);
    expect_said(t, "startReplication#3!4 Replication is started already | close 1007");
}

static void a_start_during_a_start_is_refused(void **state)
{
    struct talk *t = *state;
    t->answers = false;
    authenticate(t, 1, "c", "u");
    start(t, 2, NULL, NULL, NULL);
    expect_said(t, AUTHENTICATED " | (start new 0 sqlite)");
    start(t, 3, NULL, NULL, NULL);
    expect_said(t, "startReplication#3!4 Replication is started already | close 1007");
    sync_session_started(t->s, SYNC_STARTED, (struct str){"", 0});
    expect_said(t, "");
}

static void a_stopped_stream_may_start_again(void **state)
{
    struct talk *t = *state;
    authenticate(t, 1, "c", "u");
    expect_said(t, AUTHENTICATED);
    call(t, "stopReplication", 2, NULL);
    expect_said(t, "stopReplication#2=(0)"); /* nothing to stop */
    start(t, 3, NULL, NULL, NULL);
    expect_said(t, "(start new 0 sqlite) | startReplication#3=window 30");
    call(t, "stopReplication", 4, NULL);
    expect_said(t, "(stop) | stopReplication#4=(0)");
    start(t, 5, "7", NULL, NULL);
    expect_said(t, "(start at 7 sqlite) | startReplication#5=window 30");
}

/* --- subscribe, unsubscribe --- */

static void subscriptions_are_checked(void **state)
{
#define EXISTS                                                                                               \
    "Cannot establish multiple subscriptions with the same ID. If you want to change the subscription, you " \
    "need to unsubscribe first."
    char long_id[130], cut[200];
    memset(long_id, 'a', 129);
    long_id[129] = '\0';
    snprintf(cut, sizeof cut, "subscribe#4=%.126s... err 2 ID too long", long_id);
    const struct {
        const char *id, *shapes, *words;
    } rows[] = {
        {UUID_2, "ab", "(subscribe " UUID_2 " 2) | subscribe#4=" UUID_2},
        {long_id, "a", cut},
        {UUID_1, "a", "subscribe#4=" UUID_1 " err 1 " EXISTS},
        {UUID_2, "", "subscribe#4=" UUID_2 " err 2 Subscription must include at least one shape request"},
        {"", "", "subscribe#4= err 2 Subscription must include at least one shape request"},
        {"", "a", "subscribe#4= err 2 Subscription ID should be a valid UUID"},
        {"00000000-0000-4000-8000-00000000000", "a",
         "subscribe#4=00000000-0000-4000-8000-00000000000 err 2 Subscription ID should be a valid UUID"},
        {"00000000-0000-4000-8000-00000000000A", "a",
         "subscribe#4=00000000-0000-4000-8000-00000000000A err 2 Subscription ID should be a valid UUID"},
        {"000000000-000-4000-8000-000000000000", "a",
         "subscribe#4=000000000-000-4000-8000-000000000000 err 2 Subscription ID should be a valid UUID"},
        {UUID_2, "aba", "subscribe#4=" UUID_2 " err 2 Duplicated request ids are not allowed"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        void *t;
        talk_setup(&t);
        go_on_line(t);
        subscribe(t, 3, UUID_1, "a");
        expect_said(t, "(subscribe " UUID_1 " 1) | subscribe#3=" UUID_1);
        subscribe(t, 4, rows[i].id, rows[i].shapes);
        expect_said(t, rows[i].words);
        call(t, "stopReplication", 5, NULL); /* the connection goes on */
        expect_said(t, "(stop) | stopReplication#5=(0)");
        talk_teardown(&t);
    }
}

static void a_subscription_continued_exists(void **state)
{
    struct talk *t = *state;
    authenticate(t, 1, "c", "u");
    start(t, 2, "7", UUID_1, NULL);
    buf_reset(&t->said);
    subscribe(t, 3, UUID_1, "a");
    expect_said(t, "subscribe#3=" UUID_1 " err 1 " EXISTS);
    unsubscribe(t, 4, UUID_1, NULL);
    expect_said(t, "unsubscribe#4=(0) | (unsubscribe " UUID_1 ")");
    subscribe(t, 5, UUID_1, "a");
    expect_said(t, "(subscribe " UUID_1 " 1) | subscribe#5=" UUID_1);
}

static void the_service_may_refuse_a_subscription(void **state)
{
    static const struct sat_shape_fault faults[] = {{STR("a"), 5, STR("At location 3: no")},
                                                    {STR("c"), 1, STR("Unknown table x")}};
    struct talk *t = *state;
    go_on_line(t);
    t->answers = false;
    subscribe(t, 3, UUID_1, "abc");
    subscribe(t, 4, UUID_2, "a");
    expect_said(t, "(subscribe " UUID_1 " 3) | (subscribe " UUID_2 " 1)");
    sync_session_subscribed(t->s, STR(UUID_2), SYNC_SUBSCRIBE_NOT_NOW, NULL, 0);
    expect_said(t, "subscribe#4=" UUID_2 " err 0 Internal error while checking data availability");
    sync_session_subscribed(t->s, STR(UUID_1), SYNC_SHAPES_REFUSED, faults, 2);
    expect_said(
        t,
        "subscribe#3=" UUID_1
        " err 2 Could not establish a subscription due to errors on requests | fault 5 a At location 3: no | "
        "fault 1 c Unknown table x");
    sync_session_subscribed(t->s, STR(UUID_1), SYNC_SUBSCRIBED, NULL, 0);
    expect_said(t, ""); /* once */
    t->answers = true;
    subscribe(t, 5, UUID_1, "a");
    expect_said(t, "(subscribe " UUID_1 " 1) | subscribe#5=" UUID_1);
}

static void an_id_asked_for_is_taken_until_it_is_given_back(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    t->answers = false;
    subscribe(t, 3, UUID_1, "a");
    subscribe(t, 4, UUID_1, "a");
    expect_said(t, "(subscribe " UUID_1 " 1) | subscribe#4=" UUID_1 " err 1 " EXISTS);
    unsubscribe(t, 5, UUID_1, UUID_2);
    expect_said(t, "unsubscribe#5=(0) | (unsubscribe " UUID_1 " " UUID_2 ")");
    subscribe(t, 6, UUID_1, "b");
    expect_said(t, "(subscribe " UUID_1 " 1)");
    sync_session_subscribed(t->s, STR(UUID_1), SYNC_SUBSCRIBED, NULL, 0);
    sync_session_subscribed(t->s, STR(UUID_1), SYNC_SUBSCRIBED, NULL, 0);
    expect_said(t, "subscribe#3=" UUID_1 " | subscribe#6=" UUID_1);
    subscribe(t, 7, UUID_1, "a");
    expect_said(t, "subscribe#7=" UUID_1 " err 1 " EXISTS);
}

static void a_stop_takes_questions_back(void **state)
{
    struct talk *t = *state;
    go_on_line(t);
    t->answers = false;
    subscribe(t, 3, UUID_1, "a");
    call(t, "stopReplication", 4, NULL);
    expect_said(t, "(subscribe " UUID_1 " 1) | (stop) | stopReplication#4=(0)");
    sync_session_subscribed(t->s, STR(UUID_1), SYNC_SUBSCRIBED, NULL, 0);
    expect_said(t, "");
}

static void what_is_not_known_may_be_unsubscribed(void **state)
{
    struct talk *t = *state;
    authenticate(t, 1, "c", "u");
    expect_said(t, AUTHENTICATED);
    unsubscribe(t, 2, UUID_1, NULL);
    expect_said(t, "unsubscribe#2=(0)");
    start(t, 3, NULL, NULL, NULL);
    buf_reset(&t->said);
    unsubscribe(t, 4, "never heard of", NULL);
    expect_said(t, "unsubscribe#4=(0) | (unsubscribe never heard of)");
    unsubscribe(t, 5, NULL, NULL);
    expect_said(t, "unsubscribe#5=(0) | (unsubscribe)");
}

static void nobody_subscribes_to_a_stream_that_is_not(void **state)
{
    struct talk *t = *state;
    authenticate(t, 1, "c", "u");
    expect_said(t, AUTHENTICATED);
    subscribe(t, 2, UUID_1, "a");
    expect_said(t, "subscribe#2!4 Replication is not started | close 1007");
}

static void subscriptions_have_a_limit(void **state)
{
    struct talk *t = *state;
    char id[40];
    go_on_line(t);
    for (int i = 0; i < LIMIT_SUBSCRIPTIONS; i++) {
        snprintf(id, sizeof id, "10000000-0000-4000-8000-%012u", (unsigned)i);
        subscribe(t, 3, id, "a");
        buf_reset(&t->said);
    }
    subscribe(t, 4, UUID_1, "a");
    expect_said(t, "subscribe#4=" UUID_1 " err 2 Too many subscriptions");
    unsubscribe(t, 5, id, NULL);
    buf_reset(&t->said);
    subscribe(t, 6, UUID_1, "a");
    expect_said(t, "(subscribe " UUID_1 " 1) | subscribe#6=" UUID_1);
}

static void lists_have_limits(void **state)
{
    static const struct {
        const char *method, *words;
        unsigned field;
        size_t n;
    } rows[] = {
        {"startReplication", "startReplication#3!4 Too many subscriptions | close 1007", 4,
         LIMIT_SUBSCRIPTIONS + 1},
        {"startReplication", "startReplication#3!4 Too many subscriptions | close 1007", 8,
         LIMIT_SUBSCRIPTIONS + 1},
        {"unsubscribe", "unsubscribe#3!4 Too many subscriptions | close 1007", 1, LIMIT_SUBSCRIPTIONS + 1},
        {"subscribe", "subscribe#3!4 Replication is not started | close 1007", 2, LIMIT_SHAPES + 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(buf_deinit) struct buf b = BUF_INIT(100000);
        void *t;
        talk_setup(&t);
        authenticate(t, 1, "c", "u");
        expect_said(t, AUTHENTICATED);
        for (size_t k = 0; k < rows[i].n; k++) {
            pb_str_always(&b, rows[i].field, (struct str){"", 0});
        }
        call(t, rows[i].method, 3, &b);
        expect_said(t, rows[i].words);
        talk_teardown(&t);
    }
    struct talk *t = *state;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(100000);
    go_on_line(t);
    pb_str(&b, 1, STR(UUID_1));
    for (size_t k = 0; k <= LIMIT_SHAPES; k++) {
        pb_str_always(&b, 2, (struct str){"", 0});
    }
    call(t, "subscribe", 3, &b);
    expect_said(t, "subscribe#3=" UUID_1 " err 2 Too many shape requests");
}

/* Every message of a conversation, cut short anywhere: the end of it, or another message, and never worse. */
static void truncated_messages_do_no_harm(void **state)
{
    static const struct str rows[] = {
        STR("\x15\x0a\x0c"
            "authenticate\x10\x01\x1a\x06\x0a\x01"
            "c\x12\x01u"),
        STR("\x15\x0a\x10startReplication\x10\x02\x1a\x0d\x0a\x01"
            "7\x22\x01s\x2a\x01"
            "1\x32\x01\x07"),
        STR("\x15\x0a\x09subscribe\x10\x03\x1a\x18\x0a\x01i\x12\x13\x0a\x01r\x12\x0e\x0a\x0c\x0a\x01t\x12\x01"
            "w\x1a\x04\x0a\x02"
            "fk"),
        STR("\x15\x0a\x0bunsubscribe\x10\x04\x1a\x03\x0a\x01i"),
        STR("\x17\x08\x01\x12\x01"
            "7\x18\x00\x22\x01s\x2a\x01\x05\x32\x01g"),
        STR("\x09\x0a\x06\x0a\x04\x08\x01\x38\x05\x0a\x0d\x22\x0b\x08\x01\x12\x04\x0a\x01\x00\x12\x01v\x1a"
            "\x01t"),
        STR("\x0a\x0a\x01p\x1a\x01t\x20\x01\x2a\x05\x0a\x01"
            "a\x20\x01"),
        STR("\x16\x0a\x10startReplication\x10\x00\x1a\x00"),
        STR("\x00\x08\x04\x12\x01l\x1a\x01m"),
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t n = 0; n <= rows[i].n; n++) {
            for (int known = 0; known < 2; known++) {
                void *t;
                talk_setup(&t);
                if (known) {
                    go_on_line(t);
                }
                feed_bytes(t, (struct str){rows[i].p, n});
                talk_teardown(&t);
            }
        }
    }
}

int main(void)
{
#define TALK_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)
    const struct CMUnitTest tests[] = {
        TALK_TEST(what_is_no_message_ends_it),
        TALK_TEST(a_call_has_a_size),
        TALK_TEST(what_servers_send_is_not_for_clients),
        TALK_TEST(an_error_of_the_client_ends_it),
        TALK_TEST(nothing_goes_before_authentication),
        TALK_TEST(a_client_says_who_it_is),
        TALK_TEST(a_token_may_be_renewed_by_the_same),
        TALK_TEST(an_expired_token_ends_it),
        TALK_TEST(the_service_may_end_it),
        TALK_TEST(methods_are_known_or_refused),
        TALK_TEST(bodies_are_read_or_refused),
        TALK_TEST(the_clients_answers_are_expected),
        TALK_TEST(an_answer_to_something_else_is_refused),
        TALK_TEST(an_answer_may_be_an_error),
        TALK_TEST(writes_are_left_to_the_client),
        TALK_TEST(a_start_is_checked),
        TALK_TEST(the_service_may_refuse_a_start),
        TALK_TEST(a_start_that_cannot_be_now_is_no_fault_of_the_client),
        TALK_TEST(a_start_has_options),
        TALK_TEST(a_second_start_is_refused),
        TALK_TEST(a_start_during_a_start_is_refused),
        TALK_TEST(a_stopped_stream_may_start_again),
        TALK_TEST(subscriptions_are_checked),
        TALK_TEST(a_subscription_continued_exists),
        TALK_TEST(the_service_may_refuse_a_subscription),
        TALK_TEST(an_id_asked_for_is_taken_until_it_is_given_back),
        TALK_TEST(a_stop_takes_questions_back),
        TALK_TEST(what_is_not_known_may_be_unsubscribed),
        TALK_TEST(nobody_subscribes_to_a_stream_that_is_not),
        TALK_TEST(subscriptions_have_a_limit),
        TALK_TEST(lists_have_limits),
        TALK_TEST(truncated_messages_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
