/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session's life, and what becomes of each message. Calls are in session_calls.c, what is streamed in
 * session_stream.c.
 *
 * Every refusal of a client is its last message, and the close that follows has code 1007.
 */
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "sync/session_impl.h"

#include <assert.h>
#include <stdlib.h>

#define MALFORMED "Message not formatted according to Electric protocol"

enum {
    CLOSE_NORMAL = 1000,
    CLOSE_GOING_AWAY = 1001,
    CLOSE_TROUBLE = 1011,
    CLOSE_EXPIRED = 4000, /* published clients look at the reason alone */
    CLOSE_DISPLACED = 4002,
};

enum { PACKET_MAX = 16 * 1024 * 1024 /* answers; deliveries are made elsewhere */ };

void sync_set_state(struct sync_session *s, enum sync_state state)
{
    static const unsigned legal[] = {
        [SYNC_CONNECTED] = 1 << SYNC_AUTHENTICATED,
        [SYNC_AUTHENTICATED] = 1 << SYNC_STARTING,
        [SYNC_STARTING] = 1 << SYNC_REPLICATING,
        [SYNC_REPLICATING] = 1 << SYNC_AUTHENTICATED,
        [SYNC_ENDED] = 0,
    };
    assert(state == SYNC_ENDED ? s->state != SYNC_ENDED : legal[s->state] >> state & 1);
    s->state = state;
}

/* --- going out --- */

struct buf *sync_begin(struct sync_session *s)
{
    packet_begin(&s->out);
    return &s->out;
}

void sync_emit(struct sync_session *s)
{
    struct packet *p = packet_end(&s->out);
    if (p) {
        s->host_calls->send(s->host, p);
    } else {
        sync_session_close(s, CLOSE_TROUBLE, "");
    }
    packet_unref(p);
}

void sync_session_close(struct sync_session *s, int code, const char *reason)
{
    if (s->state != SYNC_ENDED) {
        sync_set_state(s, SYNC_ENDED);
        sync_stream_stop(s);
        s->host_calls->close(s->host, code, reason);
    }
}

static void refuse_with(struct sync_session *s, enum sat_error code, const char *message, int close_code,
                        const char *reason)
{
    if (s->state != SYNC_ENDED) {
        sat_put_error(sync_begin(s), code, str_c(message));
        sync_emit(s);
        sync_session_close(s, close_code, reason);
    }
}

void sync_refuse(struct sync_session *s, enum sat_error code, const char *message)
{
    enum { CLOSE_INVALID = 1007 };
    refuse_with(s, code, message, CLOSE_INVALID, "");
}

/* --- coming in --- */

static void on_call(struct sync_session *s, const struct sat_message *m)
{
    sync_on_call(s, &m->call);
}

static void on_answer(struct sync_session *s, const struct sat_message *m)
{
    sync_on_answer(s, &m->answer);
}

static void on_ack(struct sync_session *s, const struct sat_message *m)
{
    sync_on_ack(s, &m->ack);
}

static void on_error(struct sync_session *s, const struct sat_message *m)
{
    log_debug(NULL, "sync: client reports an error: %.*s", STR_ARG(m->error));
    sync_session_close(s, CLOSE_NORMAL, "");
}

/* Writes of clients have no way to the database: the client keeps them and sends them again after the next
 * startReplication of ours. */
static void on_write(struct sync_session *s, const struct sat_message *m)
{
}

static const struct rule {
    void (*fn)(struct sync_session *s, const struct sat_message *m); /* NULL: not for clients to send */
    bool from_anybody;
} rules[] = {
    [SAT_RPC_REQUEST] = {on_call, true},     [SAT_ERROR_RESP] = {on_error, true},
    [SAT_RPC_RESPONSE] = {on_answer, false}, [SAT_OP_LOG_ACK] = {on_ack, false},
    [SAT_OP_LOG] = {on_write, false},        [SAT_RELATION] = {on_write, false},
    [SAT_UNSUBS_DATA_END] = {NULL, false}, /* the highest number */
};

static void handle(struct sync_session *s, const struct sat_message *m)
{
    const struct rule *rule = &rules[m->type];
    if (s->state == SYNC_CONNECTED && !rule->from_anybody) {
        sync_refuse(s, SAT_AUTH_REQUIRED, "Authentication is required");
    } else if (!rule->fn) {
        sync_refuse(s, SAT_INVALID_REQUEST, "Message is not for clients to send");
    } else {
        rule->fn(s, m);
    }
}

void sync_session_feed(struct sync_session *s, struct str message)
{
    struct sat_message m;
    if (s->state == SYNC_ENDED) {
        return;
    }
    if (sat_read(&s->arena, message, &m)) {
        handle(s, &m);
    } else {
        refuse_with(s, SAT_INTERNAL, "", 1007, MALFORMED);
    }
    arena_deinit(&s->arena); /* a client that waits holds none */
}

void sync_session_expired(struct sync_session *s)
{
    sync_session_close(s, CLOSE_EXPIRED, "JWT-expired");
}

/* --- life --- */

bool sync_session_ended(const struct sync_session *s)
{
    return s->state == SYNC_ENDED;
}

void sync_session_end(struct sync_session *s, enum sync_end why)
{
    switch (why) {
    case SYNC_END_DISPLACED:
        sync_session_close(s, CLOSE_DISPLACED, "Client connected again");
        break;
    case SYNC_END_TROUBLE:
        refuse_with(s, SAT_REPLICATION_FAILED, "Replication was interrupted", CLOSE_TROUBLE, "");
        break;
    case SYNC_END_STOPPING:
        sync_session_close(s, CLOSE_GOING_AWAY, "Server is stopping");
        break;
    }
}

struct sync_session *sync_session_new(const struct sync_session_options *options)
{
    struct sync_session *s = mem_zalloc(sizeof *s);
    s->service = options->service;
    s->host_calls = options->host_calls;
    s->host = options->host;
    s->instance = options->instance;
    buf_init(&s->out, PACKET_MAX);
    s->client = s->service->open(options->hub, s);
    return s;
}

void sync_session_free(struct sync_session *s)
{
    if (!s) {
        return;
    }
    s->state = SYNC_ENDED; /* from whatever it was: the host is going */
    s->service->close(s->client);
    sync_stream_free(s);
    sync_free_subscriptions(s);
    arena_deinit(&s->arena);
    buf_deinit(&s->out);
    free(s->client_id);
    free(s->user);
    free(s);
}
