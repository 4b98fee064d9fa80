/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sync client and its service, whatever they say. Input: pieces of {what: 1 byte, length: 2 bytes, bytes};
 * `what` is a message of the client, or something that the service does. Nothing may crash or leak, and
 * besides:
 *
 *   what is sent is a message of the protocol, or a frame of a delivery
 *   nothing is sent or asked after the end; an error is the last message before it
 *   no more than SYNC_WINDOW transactions are on their way, and deliveries leave in their order
 *   each subscription that the service is asked for has an id of its own
 */
#include "base/limits.h"
#include "base/log.h"
#include "sync/session.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { IDS = 8, ID_SIZE = 36 };

struct world {
    struct sync_session *s;
    bool ended, erred, started;
    size_t unsent;
    uint64_t made, sent, acked; /* transactions; ids are their numbers */
    char asked[IDS][ID_SIZE];   /* subscriptions that are not answered */
    size_t n_asked;
    int closed;
};

/* Frames of deliveries, which no answer begins with. */
enum { FRAME_TRANSACTION = SAT_OP_LOG, FRAME_DATA = SAT_SUBS_DATA_BEGIN, FRAME_RELATION = SAT_RELATION };

/* The answer to startReplication, if it is a yes. */
static bool is_start(struct str s)
{
    static const char head[] = "\x16\x0a\x10startReplication", tail[] = "\x1a\x02\x10\x1e";
    size_t head_n = sizeof head - 1, tail_n = sizeof tail - 1;
    return s.n >= head_n + tail_n && memcmp(s.p, head, head_n) == 0 &&
           memcmp(s.p + s.n - tail_n, tail, tail_n) == 0;
}

static void host_send(void *host, struct packet *p)
{
    struct world *w = host;
    struct str s = packet_content(p);
    assert(!w->ended && !w->erred && s.n > 0);
    switch ((unsigned char)s.p[0]) {
    case FRAME_TRANSACTION:
        w->sent++;
        assert(s.n == 1 + sizeof w->sent && memcmp(s.p + 1, &w->sent, sizeof w->sent) == 0);
        assert(w->sent - w->acked <= SYNC_WINDOW);
        break;
    case SAT_ERROR_RESP:
        w->erred = true;
        break;
    case FRAME_DATA:
    case FRAME_RELATION:
    case SAT_SUBS_DATA_ERROR:
        assert(w->started);
        break;
    default:
        assert(s.p[0] == SAT_RPC_REQUEST || s.p[0] == SAT_RPC_RESPONSE);
        if (is_start(s)) {
            assert(!w->started);
            w->started = true;
            w->sent = w->acked = w->made; /* what waited at a stop is gone */
        }
    }
}

static size_t host_unsent(void *host)
{
    return ((struct world *)host)->unsent;
}

static void host_close(void *host, int code, const char *reason)
{
    struct world *w = host;
    assert(!w->ended && code >= 1000);
    w->ended = true;
}

static void host_drop(void *host)
{
    host_close(host, 1006, "");
}

static void host_expiry(void *host, int64_t at_ms)
{
}

static const struct sync_host host_calls = {host_send, host_unsent, host_close, host_drop, host_expiry};

static const char *not_ready(void *hub)
{
    return NULL;
}

static void *on_open(void *hub, struct sync_session *s)
{
    return hub;
}

static void on_close(void *client)
{
    ((struct world *)client)->closed++;
}

static bool authenticate(void *client, struct arena *a, struct str token, struct sync_claims *out,
                         const char **why)
{
    assert(!((struct world *)client)->ended && token.n > 0);
    *why = "odd";
    *out = (struct sync_claims){{token.p, token.n / 2}, SYNC_NEVER};
    return token.n % 2 == 0;
}

static bool admit(void *client, struct str client_id, struct str user)
{
    assert(client_id.n > 0 && client_id.n <= LIMIT_CLIENT_ID);
    return client_id.p[0] != 't';
}

static void on_start(void *client, const struct sync_start *request)
{
    struct world *w = client;
    assert(!w->ended && !w->started);
    assert(request->resumes || request->subscriptions->n == 0);
}

static void on_stop(void *client)
{
    struct world *w = client;
    assert(w->started);
    w->started = false;
}

static void on_subscribe(void *client, const struct sat_subscribe *request, struct str body)
{
    struct world *w = client;
    assert(w->started && request->id.n == ID_SIZE && request->n_shapes > 0);
    if (w->n_asked < IDS) {
        memcpy(w->asked[w->n_asked++], request->id.p, ID_SIZE);
    }
}

static void on_unsubscribe(void *client, const struct names *ids, uint32_t call)
{
    struct world *w = client;
    assert(w->started && ids->n <= LIMIT_SUBSCRIPTIONS);
    sync_session_unsubscribed(w->s, call);
}

static void on_acked(void *client, const struct sync_ack *ack)
{
    struct world *w = client;
    assert(!w->ended && ack->txid <= w->sent);
    if (ack->txid > 0) {
        assert(ack->txid >= w->acked && ack->lsn >= ack->txid);
        w->acked = ack->txid;
    }
}

static void on_drained(void *client)
{
    assert(((struct world *)client)->started);
}

static const struct sync_service service = {not_ready,      on_open,  on_close,  authenticate,
                                            admit,          on_start, on_stop,   on_subscribe,
                                            on_unsubscribe, on_acked, on_drained};

/* --- what the service does --- */

static void start(struct world *w, unsigned how)
{
    enum sync_start_outcome outcome = how % 8 > SYNC_START_NOT_NOW ? SYNC_STARTED : how % 8;
    size_t before = w->sent;
    sync_session_started(w->s, outcome, STR("unknown"));
    assert(w->sent == before);
}

static void subscribed(struct world *w, unsigned how)
{
    static const struct sat_shape_fault fault = {STR("r"), 5, STR("no")};
    enum sync_subscribe_outcome outcome = how % 3;
    if (w->n_asked > 0) {
        w->n_asked--;
        sync_session_subscribed(w->s, (struct str){w->asked[w->n_asked], ID_SIZE}, outcome, &fault,
                                outcome == SYNC_SHAPES_REFUSED);
    }
}

static void send_transaction(struct world *w, unsigned how)
{
    char content[1 + sizeof w->made] = {FRAME_TRANSACTION};
    uint64_t number = w->made + 1;
    memcpy(content + 1, &number, sizeof number);
    struct delivery *d = delivery_new(DELIVERY_TRANSACTION, number, number);
    struct packet *relation = packet_new((const char[]){FRAME_RELATION}, 1);
    delivery_relate(d, how % 16, how / 16 % 4, relation);
    delivery_add(d, packet_new(content, sizeof content));
    if (w->started) {
        w->made = number;
    }
    sync_session_send(w->s, d);
    delivery_unref(d);
    packet_unref(relation);
}

static void send_data(struct world *w)
{
    struct delivery *d = delivery_new(DELIVERY_DATA, w->made, 0);
    delivery_add(d, packet_new((const char[]){FRAME_DATA}, 1));
    sync_session_send(w->s, d);
    delivery_unref(d);
}

static void serve(struct world *w, unsigned what, unsigned how)
{
    switch (what % 8) {
    case 0:
        start(w, how);
        break;
    case 1:
        subscribed(w, how);
        break;
    case 2:
        send_transaction(w, how);
        break;
    case 3:
        send_data(w);
        break;
    case 4:
        sync_session_subscription_failed(w->s, STR("some id"));
        break;
    case 5:
        sync_session_drained(w->s);
        break;
    case 6:
        w->unsent = (size_t)how * (LIMIT_SYNC_BACKLOG / 250);
        break;
    case 7:
        if (how == 1) {
            sync_session_expired(w->s);
        } else if (how < 8) {
            sync_session_end(w->s, how % 3);
        }
        break;
    }
}

static void act(struct world *w, uint8_t what, const uint8_t *p, size_t n)
{
    if (what < 128) {
        char *copy = malloc(n ? n : 1); /* of this size exactly: a read past it is seen */
        memcpy(copy, p, n);
        sync_session_feed(w->s, (struct str){copy, n});
        free(copy);
    } else {
        for (size_t i = 0; i < n; i++) {
            serve(w, what, p[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {0};
    log_set_level(LOG_ERROR);
    w.s = sync_session_new(&(struct sync_session_options){&service, &w, &host_calls, &w, STR("instance")});
    while (size >= 3) {
        size_t n = (size_t)data[1] << 8 | data[2];
        n = n < size - 3 ? n : size - 3;
        act(&w, data[0], data + 3, n);
        data += 3 + n;
        size -= 3 + n;
    }
    assert(w.closed == 0);
    sync_session_free(w.s);
    assert(w.closed == 1);
    return 0;
}
