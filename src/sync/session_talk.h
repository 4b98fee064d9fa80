/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a session between a client made of functions and a service that writes down what it is asked.
 * All that happens becomes words, in order.
 *
 *   "authenticate#1=…"      an answer; "!" instead of "=" is a refused call
 *   "call startReplication#0"   a call of ours
 *   "error 4 text"          SatErrorResp
 *   "close 1007 reason", "drop"    asked of the host
 *   "(start …)"             asked of the service
 *   anything else           a frame of a delivery, as it is
 */
#pragma once

#include "base/buf.h"
#include "sync/frame.h"
#include "sync/pb.h"
#include "sync/satellite.pb-c.h"
#include "sync/session.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct talk {
    struct sync_session *s;
    struct buf said;
    size_t unsent; /* as the host would say */
    int64_t expiry;
    int opened, closed;
    bool answers; /* the service says yes to start and subscribe at once */
};

#define UUID_1 "00000000-0000-4000-8000-000000000001"
#define UUID_2 "00000000-0000-4000-8000-000000000002"

static inline void say(struct talk *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void say(struct talk *t, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_put_c(&t->said, t->said.n ? " | " : "");
    buf_vprintf(&t->said, fmt, ap);
    va_end(ap);
}

/* --- the host --- */

static inline void say_start_answer(struct talk *t, ProtobufCBinaryData body, unsigned id)
{
    Electric__Satellite__SatInStartReplicationResp *m =
        electric__satellite__sat_in_start_replication_resp__unpack(NULL, body.len, body.data);
    assert_non_null(m);
    if (m->err) {
        say(t, "startReplication#%u=err %d %s", id, m->err->code, m->err->message);
    } else {
        say(t, "startReplication#%u=window %u", id, m->unacked_window_size);
    }
    electric__satellite__sat_in_start_replication_resp__free_unpacked(m, NULL);
}

static inline void say_subscribe_answer(struct talk *t, ProtobufCBinaryData body, unsigned id)
{
    Electric__Satellite__SatSubsResp *m =
        electric__satellite__sat_subs_resp__unpack(NULL, body.len, body.data);
    assert_non_null(m);
    if (!m->err) {
        say(t, "subscribe#%u=%s", id, m->subscription_id);
    } else {
        say(t, "subscribe#%u=%s err %d %s", id, m->subscription_id, m->err->code, m->err->message);
        for (size_t i = 0; i < m->err->n_shape_request_error; i++) {
            say(t, "fault %d %s %s", m->err->shape_request_error[i]->code,
                m->err->shape_request_error[i]->request_id, m->err->shape_request_error[i]->message);
        }
    }
    electric__satellite__sat_subs_resp__free_unpacked(m, NULL);
}

static inline void say_auth_answer(struct talk *t, ProtobufCBinaryData body, unsigned id)
{
    Electric__Satellite__SatAuthResp *m =
        electric__satellite__sat_auth_resp__unpack(NULL, body.len, body.data);
    assert_non_null(m);
    say(t, "authenticate#%u=%s", id, m->id);
    electric__satellite__sat_auth_resp__free_unpacked(m, NULL);
}

static inline void say_answer(struct talk *t, const uint8_t *p, size_t n)
{
    Electric__Satellite__SatRpcResponse *m = electric__satellite__sat_rpc_response__unpack(NULL, n, p);
    assert_non_null(m);
    struct str method = str_c(m->method);
    if (m->result_case == ELECTRIC__SATELLITE__SAT_RPC_RESPONSE__RESULT_ERROR) {
        say(t, "%s#%u!%d %s", m->method, m->request_id, m->error->error_type, m->error->message);
    } else if (str_eq(method, STR("startReplication"))) {
        say_start_answer(t, m->message, m->request_id);
    } else if (str_eq(method, STR("subscribe"))) {
        say_subscribe_answer(t, m->message, m->request_id);
    } else if (str_eq(method, STR("authenticate"))) {
        say_auth_answer(t, m->message, m->request_id);
    } else {
        assert_int_equal(m->result_case, ELECTRIC__SATELLITE__SAT_RPC_RESPONSE__RESULT_MESSAGE);
        say(t, "%s#%u=(%zu)", m->method, m->request_id, m->message.len);
    }
    electric__satellite__sat_rpc_response__free_unpacked(m, NULL);
}

static inline void say_call(struct talk *t, const uint8_t *p, size_t n)
{
    Electric__Satellite__SatRpcRequest *m = electric__satellite__sat_rpc_request__unpack(NULL, n, p);
    assert_non_null(m);
    say(t, "call %s#%u(%zu)", m->method, m->request_id, m->message.len);
    electric__satellite__sat_rpc_request__free_unpacked(m, NULL);
}

static inline void say_error(struct talk *t, const uint8_t *p, size_t n)
{
    Electric__Satellite__SatErrorResp *m = electric__satellite__sat_error_resp__unpack(NULL, n, p);
    assert_non_null(m);
    bool told = m->has_message_case == ELECTRIC__SATELLITE__SAT_ERROR_RESP__HAS_MESSAGE_MESSAGE;
    say(t, "error %d %s", m->error_type, told ? m->message : "(none)");
    electric__satellite__sat_error_resp__free_unpacked(m, NULL);
}

static inline void say_data_error(struct talk *t, const uint8_t *p, size_t n)
{
    Electric__Satellite__SatSubsDataError *m = electric__satellite__sat_subs_data_error__unpack(NULL, n, p);
    assert_non_null(m);
    say(t, "data error %d %s %s", m->code, m->subscription_id, m->message);
    electric__satellite__sat_subs_data_error__free_unpacked(m, NULL);
}

static inline void host_send(void *host, struct packet *p)
{
    struct talk *t = host;
    struct str s = packet_content(p);
    const uint8_t *body = (const uint8_t *)s.p + 1;
    assert_true(s.n > 0);
    switch ((unsigned char)s.p[0]) {
    case SAT_ERROR_RESP:
        say_error(t, body, s.n - 1);
        break;
    case SAT_RPC_REQUEST:
        say_call(t, body, s.n - 1);
        break;
    case SAT_RPC_RESPONSE:
        say_answer(t, body, s.n - 1);
        break;
    case SAT_SUBS_DATA_ERROR:
        say_data_error(t, body, s.n - 1);
        break;
    default:
        say(t, "%.*s", STR_ARG(s));
    }
}

static inline size_t host_unsent(void *host)
{
    return ((struct talk *)host)->unsent;
}

static inline void host_close(void *host, int code, const char *reason)
{
    say(host, *reason ? "close %d %s" : "close %d", code, reason);
}

static inline void host_drop(void *host)
{
    say(host, "drop");
}

static inline void host_expiry(void *host, int64_t at_ms)
{
    ((struct talk *)host)->expiry = at_ms;
}

static const struct sync_host talk_host = {host_send, host_unsent, host_close, host_drop, host_expiry};

/* --- the service --- */

static inline const char *service_not_ready(void *hub)
{
    return NULL;
}

static inline void *service_open(void *hub, struct sync_session *s)
{
    struct talk *t = hub;
    t->s = s;
    t->opened++;
    return t;
}

static inline void service_close(void *client)
{
    ((struct talk *)client)->closed++;
}

/* Tokens: "user" or "user@expiry"; "bad" is none. */
static inline bool service_authenticate(void *client, struct arena *a, struct str token,
                                        struct sync_claims *out, const char **out_why)
{
    if (str_eq(token, STR("bad"))) {
        *out_why = "token is bad";
        return false;
    }
    uint64_t at;
    struct str user = str_cut(&token, '@');
    *out = (struct sync_claims){arena_str(a, user), SYNC_NEVER};
    if (str_to_u64(token, UINT64_MAX, &at)) {
        out->expires_ms = (int64_t)at;
    }
    return true;
}

static inline bool service_admit(void *client, struct str id, struct str user)
{
    say(client, "(admit %.*s %.*s)", STR_ARG(id), STR_ARG(user));
    return !str_eq(id, STR("taken"));
}

static inline void service_start(void *client, const struct sync_start *r)
{
    struct talk *t = client;
    if (r->has_version && !str_eq(r->version, STR("1"))) {
        sync_session_started(t->s, SYNC_UNKNOWN_VERSION, r->version);
        return;
    }
    say(t, "(start %s%llu %s", r->resumes ? "at " : "new ", (unsigned long long)r->lsn,
        r->dialect == DIALECT_POSTGRES ? "postgres" : "sqlite");
    if (r->has_version) {
        buf_printf(&t->said, " version %.*s", STR_ARG(r->version));
    }
    for (size_t i = 0; i < r->subscriptions->n; i++) {
        buf_printf(&t->said, " %.*s", STR_ARG(r->subscriptions->items[i]));
    }
    for (size_t i = 0; i < r->gone->n; i++) {
        buf_printf(&t->said, " gone %.*s", STR_ARG(r->gone->items[i]));
    }
    buf_put_byte(&t->said, ')');
    if (t->answers) {
        sync_session_started(t->s, SYNC_STARTED, (struct str){"", 0});
    }
}

static inline void service_stop(void *client)
{
    say(client, "(stop)");
}

static inline void service_subscribe(void *client, const struct sat_subscribe *r, struct str body)
{
    struct talk *t = client;
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct sat_subscribe again;
    assert_true(sat_read_subscribe(&a, body, &again));
    assert_true(str_eq(again.id, r->id));
    say(t, "(subscribe %.*s %zu)", STR_ARG(r->id), r->n_shapes);
    if (t->answers) {
        sync_session_subscribed(t->s, r->id, SYNC_SUBSCRIBED, NULL, 0);
    }
}

static inline void service_unsubscribe(void *client, const struct names *ids, uint32_t call)
{
    struct talk *t = client;
    sync_session_unsubscribed(t->s, call);
    say(t, "(unsubscribe");
    for (size_t i = 0; i < ids->n; i++) {
        buf_printf(&t->said, " %.*s", STR_ARG(ids->items[i]));
    }
    buf_put_byte(&t->said, ')');
}

static inline void service_acked(void *client, const struct sync_ack *ack)
{
    struct talk *t = client;
    say(t, "(acked %llu at %llu", (unsigned long long)ack->txid, (unsigned long long)ack->lsn);
    for (size_t i = 0; i < ack->subscriptions->n; i++) {
        buf_printf(&t->said, " data %.*s", STR_ARG(ack->subscriptions->items[i]));
    }
    for (size_t i = 0; i < ack->gone->n; i++) {
        buf_printf(&t->said, " gone %.*s", STR_ARG(ack->gone->items[i]));
    }
    buf_put_byte(&t->said, ')');
}

static inline void service_drained(void *client)
{
    say(client, "(drained)");
}

static const struct sync_service talk_service = {
    .not_ready = service_not_ready,
    .open = service_open,
    .close = service_close,
    .authenticate = service_authenticate,
    .admit = service_admit,
    .start = service_start,
    .stop = service_stop,
    .subscribe = service_subscribe,
    .unsubscribe = service_unsubscribe,
    .acked = service_acked,
    .drained = service_drained,
};

/* --- life --- */

static inline int talk_setup(void **state)
{
    struct talk *t = calloc(1, sizeof *t);
    buf_init(&t->said, 1024 * 1024);
    t->answers = true;
    sync_session_new(&(struct sync_session_options){.service = &talk_service,
                                                    .hub = t,
                                                    .host_calls = &talk_host,
                                                    .host = t,
                                                    .instance = STR("instance")});
    assert_int_equal(t->opened, 1);
    *state = t;
    return 0;
}

static inline int talk_teardown(void **state)
{
    struct talk *t = *state;
    sync_session_free(t->s);
    assert_int_equal(t->closed, 1);
    buf_deinit(&t->said);
    free(t);
    return 0;
}

/* All that happened since the last time. */
static inline void expect_said(struct talk *t, const char *words)
{
    assert_string_equal(buf_cstr(&t->said), words);
    buf_reset(&t->said);
}

/* --- the client --- */

static inline void feed(struct talk *t, const struct buf *b)
{
    char *copy = malloc(b->n); /* of this size exactly: a read past it is seen */
    memcpy(copy, b->p, b->n);
    sync_session_feed(t->s, (struct str){copy, b->n});
    free(copy);
}

static inline void feed_bytes(struct talk *t, struct str bytes)
{
    struct buf b = BUF_INIT(bytes.n + 1);
    buf_put_str(&b, bytes);
    buf_put_c(&b, bytes.n ? "" : "");
    if (b.n == 0) {
        sync_session_feed(t->s, bytes);
    } else {
        feed(t, &b);
    }
    buf_deinit(&b);
}

static inline void call(struct talk *t, const char *method, uint32_t id, const struct buf *body)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(8 * 1024 * 1024);
    sat_put_call(&b, str_c(method), id, body ? buf_str(body) : (struct str){"", 0});
    feed(t, &b);
}

static inline void authenticate(struct talk *t, uint32_t id, const char *client, const char *token)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(10000);
    pb_str(&b, 1, str_c(client));
    pb_str(&b, 2, str_c(token));
    call(t, "authenticate", id, &b);
}

/* Texts may be NULL: left out. */
static inline void start(struct talk *t, uint32_t id, const char *lsn, const char *subscription,
                         const char *version)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(10000);
    pb_str(&b, 1, str_c(lsn));
    pb_str(&b, 4, str_c(subscription));
    if (version) {
        pb_str_always(&b, 5, str_c(version));
    }
    call(t, "startReplication", id, &b);
}

/* shapes: request ids, a letter each. */
static inline void subscribe(struct talk *t, uint32_t id, const char *subscription, const char *shapes)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(1024 * 1024);
    pb_str(&b, 1, str_c(subscription));
    for (; *shapes; shapes++) {
        size_t shape = pb_open(&b, 2);
        pb_str(&b, 1, (struct str){shapes, 1});
        pb_close(&b, shape);
    }
    call(t, "subscribe", id, &b);
}

static inline void unsubscribe(struct talk *t, uint32_t id, const char *first, const char *second)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(10000);
    pb_str(&b, 1, str_c(first));
    pb_str(&b, 1, str_c(second));
    call(t, "unsubscribe", id, &b);
}

static inline void ack(struct talk *t, uint64_t txid, const char *lsn, const char *subscription,
                       const char *gone)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(10000);
    buf_put_byte(&b, SAT_OP_LOG_ACK);
    pb_str(&b, 2, str_c(lsn));
    pb_uint(&b, 3, txid);
    pb_str(&b, 4, str_c(subscription));
    pb_str(&b, 6, str_c(gone));
    feed(t, &b);
}

#define AUTHENTICATED "(admit c u) | authenticate#1=instance | call startReplication#0(0)"

/* As client c of user u, replicating from the beginning. */
static inline void go_on_line(struct talk *t)
{
    authenticate(t, 1, "c", "u");
    expect_said(t, AUTHENTICATED);
    start(t, 2, NULL, NULL, NULL);
    expect_said(t, "(start new 0 sqlite) | startReplication#2=window 30");
}
