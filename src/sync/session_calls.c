/* SPDX-License-Identifier: Apache-2.0 */
/* The calls of a client (satellite RPC), and ours. The answer to a call leaves before anything that it
 * causes. */
#include "base/limits.h"
#include "base/mem.h"
#include "sync/session_impl.h"

#include <assert.h>
#include <stdlib.h>

enum {
    CLOSE_INVALID = 1007,
    ID_SHOWN = 126, /* bytes of an id that is too long to be shown whole */
    ID_MAX = 128,   /* of a subscription */
    UUID_SIZE = 36,
};

/* The call fails, and the connection with it. */
static void refuse_call(struct sync_session *s, const struct sat_call *call, enum sat_error code,
                        const char *message)
{
    sat_put_refusal(sync_begin(s), call, code, str_c(message));
    sync_emit(s);
    sync_session_close(s, CLOSE_INVALID, "");
}

static void refuse_malformed(struct sync_session *s, const struct sat_call *call)
{
    refuse_call(s, call, SAT_INVALID_REQUEST, "Malformed request");
}

static void answer_empty(struct sync_session *s, const struct sat_call *call)
{
    sat_put_answer(sync_begin(s), call, (struct str){"", 0});
    sync_emit(s);
}

/* An id for people to read. */
static const char *shown(struct arena *a, struct str id)
{
    size_t n = ID_SHOWN;
    if (id.n <= ID_MAX) {
        return arena_printf(a, "%.*s", STR_ARG(id));
    }
    while (n > 0 && ((unsigned char)id.p[n] & 0xc0) == 0x80) { /* not in the middle of a character */
        n--;
    }
    return arena_printf(a, "%.*s...", (int)n, id.p);
}

/* --- authenticate --- */

static const char *identity_fault(const struct sync_session *s, const struct sat_auth *auth)
{
    if (auth->client.n == 0 || auth->token.n == 0) {
        return "Client id and token must not be empty";
    }
    if (auth->client.n > LIMIT_CLIENT_ID) {
        return "Client id is too long";
    }
    bool other = s->client_id && !str_eq(auth->client, str_c(s->client_id));
    return other ? "Client id differs from the one authenticated before" : NULL;
}

/* The client waits for it before it sends what was written offline. */
static void call_start(struct sync_session *s)
{
    sat_put_call(sync_begin(s), STR("startReplication"), s->next_call++, (struct str){"", 0});
    s->called = true;
    sync_emit(s);
}

static void authenticated(struct sync_session *s, const struct sat_call *call, int64_t expires_ms)
{
    s->host_calls->set_expiry(s->host, expires_ms);
    sat_put_auth_answer(sync_begin(s), call, s->instance);
    sync_emit(s);
    if (s->state == SYNC_CONNECTED) {
        sync_set_state(s, SYNC_AUTHENTICATED);
        call_start(s);
    }
}

static void on_authenticate(struct sync_session *s, const struct sat_call *call)
{
    struct sat_auth auth;
    struct sync_claims claims;
    const char *why = NULL;
    bool again = s->state != SYNC_CONNECTED;
    if (!sat_read_auth(&s->arena, call->body, &auth)) {
        refuse_malformed(s, call);
        return;
    }
    const char *fault = identity_fault(s, &auth);
    if (fault) {
        refuse_call(s, call, SAT_INVALID_REQUEST, fault);
    } else if (!s->service->authenticate(s->client, &s->arena, auth.token, &claims, &why)) {
        refuse_call(s, call, again ? SAT_INVALID_REQUEST : SAT_AUTH_REQUIRED, why);
    } else if (again && !str_eq(claims.user, str_c(s->user))) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "User differs from the one authenticated before");
    } else if (!again && !s->service->admit(s->client, auth.client, claims.user)) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "Client id is in use by another user");
    } else {
        if (!again) {
            s->client_id = mem_strndup(auth.client.p, auth.client.n);
            s->user = mem_strndup(claims.user.p, claims.user.n);
        }
        authenticated(s, call, claims.expires_ms);
    }
}

/* --- startReplication, stopReplication --- */

static void refuse_start(struct sync_session *s, const struct sat_call *call, enum sat_start_error code,
                         const char *message)
{
    sat_put_start_refusal(sync_begin(s), call, code, str_c(message));
    sync_emit(s);
    sync_session_close(s, CLOSE_INVALID, "");
}

static void add_subscription(struct sync_session *s, struct str id, bool established, uint32_t call)
{
    if (s->n_subscriptions == s->cap_subscriptions) {
        s->cap_subscriptions = s->cap_subscriptions ? 2 * s->cap_subscriptions : 4;
        s->subscriptions = mem_realloc(s->subscriptions, s->cap_subscriptions * sizeof *s->subscriptions);
    }
    s->subscriptions[s->n_subscriptions++] =
        (struct sync_subscription){.id = mem_strndup(id.p, id.n), .established = established, .call = call};
}

static void remove_subscription(struct sync_session *s, struct sync_subscription *sub)
{
    free(sub->id);
    *sub = s->subscriptions[--s->n_subscriptions];
}

void sync_free_subscriptions(struct sync_session *s)
{
    while (s->n_subscriptions > 0) {
        remove_subscription(s, &s->subscriptions[0]);
    }
    free(take_ptr(&s->subscriptions));
    s->cap_subscriptions = 0;
}

static void start(struct sync_session *s, const struct sat_call *call, const struct sat_start *sent,
                  lsn_t lsn)
{
    struct sync_start request = {
        .resumes = sent->lsn.n > 0,
        .lsn = lsn,
        .subscriptions = &sent->subscriptions,
        .gone = &sent->gone,
        .has_version = sent->has_version,
        .version = sent->version,
        .dialect = sent->dialect,
    };
    sync_free_subscriptions(s);
    for (size_t i = 0; i < sent->subscriptions.n; i++) {
        add_subscription(s, sent->subscriptions.items[i], true, 0);
    }
    sync_stream_start(s, lsn);
    s->start_call = call->id;
    sync_set_state(s, SYNC_STARTING);
    s->service->start(s->client, &request);
}

static void on_start(struct sync_session *s, const struct sat_call *call)
{
    struct sat_start sent;
    lsn_t lsn = 0;
    if (!sat_read_start(&s->arena, call->body, &sent)) {
        refuse_malformed(s, call);
    } else if (s->state != SYNC_AUTHENTICATED) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "Replication is started already");
    } else if (sent.subscriptions.n > LIMIT_SUBSCRIPTIONS || sent.gone.n > LIMIT_SUBSCRIPTIONS) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "Too many subscriptions");
    } else if (sent.lsn.n > 0 && !str_to_u64(sent.lsn, UINT64_MAX, &lsn)) {
        refuse_start(s, call, SAT_MALFORMED_LSN, "Could not validate start replication request");
    } else if (sent.lsn.n == 0 && sent.subscriptions.n > 0) {
        refuse_start(s, call, SAT_INVALID_POSITION, "Cannot resume subscriptions for a first-time client");
    } else {
        start(s, call, &sent, lsn);
    }
}

static void refuse_started(struct sync_session *s, const struct sat_call *call,
                           enum sync_start_outcome outcome, struct str unknown)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    switch (outcome) {
    case SYNC_STARTED:
        break;
    case SYNC_BEHIND_WINDOW:
        refuse_start(s, call, SAT_BEHIND_WINDOW, "Cannot catch up to the server's current state");
        break;
    case SYNC_BEFORE_ACKNOWLEDGED:
        refuse_start(s, call, SAT_INVALID_POSITION, "LSN is before the already acknowledged one");
        break;
    case SYNC_UNKNOWN_SUBSCRIPTION:
        refuse_start(s, call, SAT_SUBSCRIPTION_NOT_FOUND,
                     arena_printf(&a, "Unknown subscription: %s", shown(&a, unknown)));
        break;
    case SYNC_UNKNOWN_VERSION:
        refuse_start(s, call, SAT_UNKNOWN_SCHEMA_VERSION,
                     arena_printf(&a, "Unknown schema version: \"%.*s\"", STR_ARG(unknown)));
        break;
    case SYNC_START_NOT_NOW:
        sync_session_end(s, SYNC_END_TROUBLE);
        break;
    }
}

void sync_session_started(struct sync_session *s, enum sync_start_outcome outcome, struct str unknown)
{
    struct sat_call call = {.method = STR("startReplication"), .id = s->start_call};
    if (s->state != SYNC_STARTING) {
        return;
    }
    if (outcome != SYNC_STARTED) {
        refuse_started(s, &call, outcome, unknown);
        return;
    }
    sat_put_start_answer(sync_begin(s), &call, SYNC_WINDOW);
    sync_emit(s);
    sync_set_state(s, SYNC_REPLICATING);
}

static void on_stop(struct sync_session *s, const struct sat_call *call)
{
    if (!sat_read_stop(&s->arena, call->body)) {
        refuse_malformed(s, call);
    } else if (s->state == SYNC_STARTING) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "Replication is being started");
    } else {
        if (s->state == SYNC_REPLICATING) {
            sync_set_state(s, SYNC_AUTHENTICATED);
            sync_stream_stop(s);
            sync_free_subscriptions(s);
            s->service->stop(s->client);
        }
        answer_empty(s, call);
    }
}

/* --- subscribe, unsubscribe --- */

static struct sync_subscription *find_subscription(struct sync_session *s, struct str id)
{
    for (size_t i = 0; i < s->n_subscriptions; i++) {
        if (!s->subscriptions[i].dropped && str_eq(str_c(s->subscriptions[i].id), id)) {
            return &s->subscriptions[i];
        }
    }
    return NULL;
}

static bool is_uuid(struct str id)
{
    for (size_t i = 0; i < id.n && id.n == UUID_SIZE; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool digit = (id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'f');
        if (dash ? id.p[i] != '-' : !digit) {
            return false;
        }
    }
    return id.n == UUID_SIZE;
}

static bool ids_differ(const struct sat_subscribe *r)
{
    for (size_t i = 0; i < r->n_shapes; i++) {
        for (size_t k = 0; k < i; k++) {
            if (str_eq(r->shapes[i].request_id, r->shapes[k].request_id)) {
                return false;
            }
        }
    }
    return true;
}

static struct sat_subscribe_refusal refusal_of(struct sync_session *s, const struct sat_subscribe *r)
{
    const char *message = NULL;
    enum sat_subscribe_error code = SAT_SHAPE_ERROR;
    if (r->id.n > ID_MAX) {
        message = "ID too long";
    } else if (find_subscription(s, r->id)) {
        code = SAT_SUBSCRIPTION_EXISTS;
        message = "Cannot establish multiple subscriptions with the same ID. If you want to change the "
                  "subscription, you need to unsubscribe first.";
    } else if (r->n_shapes == 0) {
        message = "Subscription must include at least one shape request";
    } else if (!is_uuid(r->id)) {
        message = "Subscription ID should be a valid UUID";
    } else if (r->n_shapes > LIMIT_SHAPES) {
        message = "Too many shape requests";
    } else if (!ids_differ(r)) {
        message = "Duplicated request ids are not allowed";
    } else if (s->n_subscriptions >= LIMIT_SUBSCRIPTIONS) {
        message = "Too many subscriptions";
    }
    return (struct sat_subscribe_refusal){.code = code, .message = str_c(message)};
}

static void on_subscribe(struct sync_session *s, const struct sat_call *call)
{
    struct sat_subscribe request;
    if (!sat_read_subscribe(&s->arena, call->body, &request)) {
        refuse_malformed(s, call);
        return;
    }
    if (s->state != SYNC_REPLICATING) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "Replication is not started");
        return;
    }
    struct sat_subscribe_refusal refusal = refusal_of(s, &request);
    if (refusal.message.n > 0) {
        struct str id = str_c(shown(&s->arena, request.id));
        sat_put_subscribe_answer(sync_begin(s), call, id, &refusal);
        sync_emit(s);
        return;
    }
    add_subscription(s, request.id, false, call->id);
    s->service->subscribe(s->client, &request, call->body);
}

static struct sync_subscription *find_asked(struct sync_session *s, struct str id)
{
    for (size_t i = 0; i < s->n_subscriptions; i++) {
        if (!s->subscriptions[i].established && str_eq(str_c(s->subscriptions[i].id), id)) {
            return &s->subscriptions[i];
        }
    }
    return NULL;
}

void sync_session_subscribed(struct sync_session *s, struct str id, enum sync_subscribe_outcome outcome,
                             const struct sat_shape_fault *faults, size_t n)
{
    static const struct sat_subscribe_refusal refusals[] = {
        [SYNC_SHAPES_REFUSED] = {.code = SAT_SHAPE_ERROR,
                                 .message =
                                     STR("Could not establish a subscription due to errors on requests")},
        [SYNC_SUBSCRIBE_NOT_NOW] = {.code = SAT_SUBSCRIBE_UNSPECIFIED,
                                    .message = STR("Internal error while checking data availability")},
    };
    struct sync_subscription *sub = find_asked(s, id);
    if (s->state == SYNC_ENDED || !sub) {
        return;
    }
    struct sat_subscribe_refusal refusal = refusals[outcome];
    struct sat_call call = {.method = STR("subscribe"), .id = sub->call};
    refusal.faults = faults;
    refusal.n_faults = n;
    sat_put_subscribe_answer(sync_begin(s), &call, id, outcome == SYNC_SUBSCRIBED ? NULL : &refusal);
    sync_emit(s);
    if (s->state == SYNC_ENDED) {
        return;
    }
    sub->established = true;
    if (outcome != SYNC_SUBSCRIBED || sub->dropped) {
        remove_subscription(s, sub);
    }
}

/* The data belongs to the stream, and so does that it will not come. */
void sync_session_subscription_failed(struct sync_session *s, struct str id)
{
    struct sync_subscription *sub = find_subscription(s, id);
    if (s->state != SYNC_REPLICATING) {
        return;
    }
    if (sub && sub->established) {
        remove_subscription(s, sub);
    }
    struct delivery *d = delivery_new(DELIVERY_DATA, 0, 0);
    sat_put_subs_data_error(sync_begin(s), id, STR("Could not retrieve initial data for subscription"));
    delivery_add(d, packet_end(&s->out));
    sync_session_send(s, d);
    delivery_unref(d);
}

static void drop_subscription(struct sync_session *s, struct str id)
{
    struct sync_subscription *sub = find_subscription(s, id);
    if (sub && sub->established) {
        remove_subscription(s, sub);
    } else if (sub) {
        sub->dropped = true;
    }
}

static void on_unsubscribe(struct sync_session *s, const struct sat_call *call)
{
    struct names ids;
    if (!sat_read_unsubscribe(&s->arena, call->body, &ids)) {
        refuse_malformed(s, call);
        return;
    }
    if (ids.n > LIMIT_SUBSCRIPTIONS) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "Too many subscriptions");
        return;
    }
    for (size_t i = 0; i < ids.n; i++) {
        drop_subscription(s, ids.items[i]);
    }
    if (s->state == SYNC_REPLICATING) {
        s->service->unsubscribe(s->client, &ids, call->id);
    } else {
        answer_empty(s, call);
    }
}

void sync_session_unsubscribed(struct sync_session *s, uint32_t call)
{
    if (s->state != SYNC_ENDED) {
        answer_empty(s, &(struct sat_call){.method = STR("unsubscribe"), .id = call});
    }
}

/* --- which is which --- */

static const struct method {
    struct str name;
    void (*fn)(struct sync_session *s, const struct sat_call *call);
} methods[] = {
    {STR("authenticate"), on_authenticate}, {STR("startReplication"), on_start},
    {STR("stopReplication"), on_stop},      {STR("subscribe"), on_subscribe},
    {STR("unsubscribe"), on_unsubscribe},
};

void sync_on_call(struct sync_session *s, const struct sat_call *call)
{
    const struct method *m = methods, *end = methods + ARRAY_LEN(methods);
    while (m < end && !str_eq(m->name, call->method)) {
        m++;
    }
    if (s->state == SYNC_CONNECTED && (m == end || m->fn != on_authenticate)) {
        refuse_call(s, call, SAT_AUTH_REQUIRED, "Authentication is required");
    } else if (m == end) {
        refuse_call(s, call, SAT_INVALID_REQUEST, "Unknown method");
    } else {
        m->fn(s, call);
    }
}

/* To our startReplication: an error there says that the client was ready before. */
void sync_on_answer(struct sync_session *s, const struct sat_answer *answer)
{
    if (!s->called || answer->id != s->next_call - 1 || !str_eq(answer->method, STR("startReplication"))) {
        sync_refuse(s, SAT_INVALID_REQUEST, "Answer to what was not asked");
        return;
    }
    s->called = false;
}
