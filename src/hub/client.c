/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/client.h"

#include "base/log.h"
#include "base/mem.h"
#include "hub/hub_impl.h"
#include "sync/token.h"

#include <stdlib.h>
#include <time.h>

/* --- who it is --- */

static const char *not_ready(void *ctx)
{
    const struct hub *hub = ctx;
    return hub->ready ? NULL : hub->feed ? "establishing_repl_conn" : "initialization";
}

static void *open_client(void *ctx, struct sync_session *session)
{
    struct hub *hub = ctx;
    struct client *c = mem_zalloc(sizeof *c);
    c->hub = hub;
    c->session = session;
    c->actions_tail = &c->actions;
    c->next = hub->clients;
    c->prev = &hub->clients;
    if (c->next) {
        c->next->prev = &c->next;
    }
    hub->clients = c;
    hub->stats.clients++;
    return c;
}

static void leave_flow(struct client *c)
{
    if (c->flow) {
        flow_remove(c->flow, c);
    }
}

/* A subscription that does not fit the schema where the client stands: what has been committed by now is
 * waited for, as the migration that it was made for may be on its way. */
struct late_subscribe {
    struct late_subscribe *next, **prev; /* of the client's */
    struct client *client;
    struct marker_wait *wait;
    struct arena arena;
    struct str body;
};

static void free_late(struct late_subscribe *late)
{
    struct arena arena = late->arena;
    *late->prev = late->next;
    if (late->next) {
        late->next->prev = late->prev;
    }
    marker_forget(late->wait);
    arena_deinit(&arena); /* it is in there */
}

static void forget_late(struct client *c)
{
    while (c->late) {
        free_late(c->late);
    }
}

/* A start that refers to what is not known here yet: likewise, as it may be known elsewhere already. */
struct late_start {
    struct client *client;
    struct marker_wait *wait;
    struct arena arena;
    struct names subscriptions, gone;
    struct sync_start request;
};

static void free_late_start(struct late_start *late)
{
    struct arena arena = late->arena;
    late->client->late_start = NULL;
    marker_forget(late->wait);
    arena_deinit(&arena); /* it is in there */
}

struct leave {
    struct leave *next;
    uint32_t call;
    struct arena arena;
    struct str *ids;
    size_t n;
};

static void forget_leaves(struct client *c);

/* Leaves everything but the session. */
static void detach(struct client *c)
{
    if (!c->hub) {
        return;
    }
    forget_late(c);
    forget_leaves(c);
    if (c->late_start) {
        free_late_start(c->late_start);
    }
    client_stop_actions(c);
    leave_flow(c);
    if (c->known) {
        known_release(take_ptr(&c->known));
    }
    *c->prev = c->next;
    if (c->next) {
        c->next->prev = c->prev;
    }
    c->hub->stats.clients--;
    c->hub = NULL;
}

static void close_client(void *ctx)
{
    struct client *c = ctx;
    detach(c);
    free(c);
}

void client_end(struct client *c, enum sync_end why)
{
    struct sync_session *session = c->session;
    detach(c);
    sync_session_end(session, why);
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool authenticate(void *ctx, struct arena *a, struct str token, struct sync_claims *out_claims,
                         const char **out_why)
{
    const struct client *c = ctx;
    struct token_claims claims;
    if (!c->hub) {
        *out_why = "the service stops";
        return false;
    }
    if (!token_check(c->hub->options.tokens, a, token, now_ms(), &claims, out_why)) {
        log_info(NULL, "sync: a client's token is refused: %s", *out_why);
        return false;
    }
    out_claims->user = claims.user;
    out_claims->expires_ms = claims.expires_ms == TOKEN_NEVER ? SYNC_NEVER : claims.expires_ms;
    return true;
}

static void set_user(struct known *k, struct str user)
{
    if (k->state.user_id && str_eq(str_c(k->state.user_id), user)) {
        return;
    }
    client_state_deinit(&k->state); /* what another user was shown is nothing to go on with */
    k->state.user_id = mem_strndup(user.p, user.n);
}

static bool admit(void *ctx, struct str client_id, struct str user)
{
    struct client *c = ctx;
    struct known *k;
    struct err err;
    if (!c->hub || client_id.n > TXLOG_STATE_KEY) {
        return false;
    }
    if (known_get(c->hub->known, client_id, &k, &err) < 0) {
        log_error(NULL, "sync: what is known of a client cannot be read: %s", err.msg);
        return false;
    }
    if (k->client) {
        if (!str_eq(str_c(k->state.user_id), user)) {
            return false;
        }
        struct client *other = k->client;
        k->writes++; /* it stays */
        client_end(other, SYNC_END_DISPLACED);
        k->writes--;
    }
    set_user(k, user);
    k->client = c;
    c->known = k;
    log_debug(NULL, "sync: client %.*s is user %.*s", STR_ARG(client_id), STR_ARG(user));
    return true;
}

/* --- replication --- */

/* Everything of before; later ones come with their transactions. */
static void send_history(struct client *c, size_t first, lsn_t position)
{
    struct versions *versions = c->hub->versions;
    struct model *model = versions_model(versions, position);
    for (size_t i = first; i < versions_count(versions) && versions_at(versions, i)->lsn <= position; i++) {
        struct delivery *d =
            encode_migration(c->hub->encoder, model, versions_at(versions, i), position, c->dialect);
        sync_session_send(c->session, d);
        delivery_unref(d);
    }
    model_unref(model);
}

/* Answered when that is on the disk: a client that was told where it is may come back there, whatever becomes
 * of us. */
static void start_anew(struct client *c, const struct sync_start *request)
{
    size_t first = request->has_version ? (size_t)versions_find(c->hub->versions, request->version) + 1 : 0;
    c->fresh = (struct fresh_start){.waits = true, .first = first, .position = c->hub->position};
    client_state_clear(&c->known->state);
    c->known->state.acked_lsn = c->fresh.position;
    known_save(c->known);
}

static void go_on_anew(struct client *c)
{
    c->fresh.waits = false;
    sync_session_started(c->session, SYNC_STARTED, STR(""));
    send_history(c, c->fresh.first, c->fresh.position);
    client_act(c, ACTION_RESUME, NULL, 0, c->fresh.position);
}

/* The first that cannot be gone on with; p NULL: all can. */
static struct str unknown_subscription(const struct client *c, const struct sync_start *request)
{
    for (size_t i = 0; i < request->subscriptions->n; i++) {
        struct str id = request->subscriptions->items[i];
        const struct subscription_state *sub = client_state_find(&c->known->state, id);
        if (!sub || sub->lsn == 0 || (sub->unsubscribed && request->lsn > sub->gone_lsn)) {
            return id;
        }
    }
    return (struct str){NULL, 0};
}

/* What is to be taken away from the client is collected in `gone`; what it has dropped by itself is
 * forgotten. */
static size_t settle_subscriptions(struct client *c, const struct sync_start *request, struct str *gone)
{
    struct client_state *state = &c->known->state;
    size_t n = 0;
    for (size_t i = state->n; i > 0; i--) {
        struct subscription_state *sub = &state->subscriptions[i - 1];
        struct str id = str_c(sub->id);
        if (names_contain(request->subscriptions, id)) {
            sub->unsubscribed = false; /* it never happened, as the client sees it */
        } else if (sub->unsubscribed && request->lsn <= sub->gone_lsn &&
                   !(request->lsn == sub->gone_lsn && names_contain(request->gone, id))) {
            sub->leaving = true;
            gone[n++] = id;
        } else {
            client_state_remove(state, id);
        }
    }
    return n;
}

static void resume(struct client *c, const struct sync_start *request)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct client_state *state = &c->known->state;
    struct str *gone = arena_alloc_array(&a, state->n + 1, sizeof *gone);
    size_t n = settle_subscriptions(c, request, gone);
    state->acked_lsn = request->lsn;
    known_save(c->known);
    sync_session_started(c->session, SYNC_STARTED, STR(""));
    client_act(c, ACTION_RESUME, NULL, 0, request->lsn);
    if (n > 0) {
        client_act(c, ACTION_UNSUBSCRIBE, gone, n, 0);
    }
}

static bool in_window(const struct hub *hub, lsn_t lsn)
{
    struct feed_stats stats;
    feed_stats(hub->feed, &stats);
    return lsn >= stats.oldest && lsn <= hub->position;
}

static bool knows_version(const struct client *c, const struct sync_start *request)
{
    return !request->has_version || versions_find(c->hub->versions, request->version) >= 0;
}

/* Everything that is named in the request should be known. */
static void start_now(struct client *c, const struct sync_start *request)
{
    c->dialect = request->dialect;
    c->started = true;
    if (!knows_version(c, request)) {
        sync_session_started(c->session, SYNC_UNKNOWN_VERSION, request->version);
        return;
    }
    if (!request->resumes) {
        start_anew(c, request);
        return;
    }
    struct str unknown = unknown_subscription(c, request);
    if (!in_window(c->hub, request->lsn)) {
        client_state_clear(&c->known->state);
        known_save(c->known);
        sync_session_started(c->session, SYNC_BEHIND_WINDOW, STR(""));
    } else if (request->lsn < c->known->state.acked_lsn || c->known->state.acked_lsn == 0) {
        sync_session_started(c->session, SYNC_BEFORE_ACKNOWLEDGED, STR(""));
    } else if (unknown.p) {
        sync_session_started(c->session, SYNC_UNKNOWN_SUBSCRIPTION, unknown);
    } else {
        resume(c, request);
    }
}

static void on_late_start(void *ctx, const struct err *err)
{
    struct late_start *late = ctx;
    struct client *c = late->client;
    late->wait = NULL;
    if (err) {
        sync_session_started(c->session, SYNC_START_NOT_NOW, STR(""));
    } else {
        start_now(c, &late->request);
    }
    free_late_start(late);
}

static struct names copy_names(struct arena *a, const struct names *names)
{
    struct str *items = arena_alloc_array(a, names->n + 1, sizeof *items);
    for (size_t i = 0; i < names->n; i++) {
        items[i] = arena_str(a, names->items[i]);
    }
    return (struct names){items, names->n};
}

static void start_later(struct client *c, const struct sync_start *request)
{
    struct arena arena = ARENA_INIT;
    struct late_start *late = arena_zalloc(&arena, sizeof *late);
    late->client = c;
    late->subscriptions = copy_names(&arena, request->subscriptions);
    late->gone = copy_names(&arena, request->gone);
    late->request = *request;
    late->request.subscriptions = &late->subscriptions;
    late->request.gone = &late->gone;
    late->request.version = arena_str(&arena, request->version);
    late->arena = arena;
    c->late_start = late;
    late->wait = marker_wait_to_answer(c->hub->marker, on_late_start, late);
}

static void start(void *ctx, const struct sync_start *request)
{
    struct client *c = ctx;
    if (!c->hub || !c->hub->ready) {
        sync_session_started(c->session, SYNC_START_NOT_NOW, STR(""));
    } else if (knows_version(c, request) && request->lsn <= c->hub->position) {
        start_now(c, request);
    } else {
        start_later(c, request);
    }
}

static void stop(void *ctx)
{
    struct client *c = ctx;
    c->started = false;
    if (c->hub) {
        client_stop_actions(c);
        leave_flow(c);
    }
}

/* --- shapes --- */

static void refuse_shapes(struct client *c, const struct sat_subscribe *request, struct arena *a,
                          const struct shape_faults *faults)
{
    struct sat_shape_fault *list = arena_alloc_array(a, faults->n + 1, sizeof *list);
    for (size_t i = 0; i < faults->n; i++) {
        list[i] = (struct sat_shape_fault){request->shapes[faults->items[i].request].request_id,
                                           (int)faults->items[i].code, faults->items[i].message};
    }
    sync_session_subscribed(c->session, request->id, SYNC_SHAPES_REFUSED, list, faults->n);
}

static void accept_subscription(struct client *c, const struct sat_subscribe *request, struct str body)
{
    client_state_add(&c->known->state, request->id, body);
    known_save(c->known);
    sync_session_subscribed(c->session, request->id, SYNC_SUBSCRIBED, NULL, 0);
    client_act(c, ACTION_SUBSCRIBE, &request->id, 1, 0);
}

static bool fits(const struct client *c, struct str body, struct arena *a, struct shape_faults *out_faults)
{
    struct model *model = versions_model(c->hub->versions, c->hub->position);
    struct plan *plan = plan_new(model, &body, 1, a, out_faults);
    plan_unref(plan);
    return plan;
}

static void on_late(void *ctx, const struct err *err)
{
    struct late_subscribe *late = ctx;
    struct client *c = late->client;
    struct sat_subscribe request;
    struct shape_faults faults;
    late->wait = NULL;
    if (!sat_read_subscribe(&late->arena, late->body, &request)) {
        free_late(late); /* it was read before */
        return;
    }
    if (err || !c->started) {
        sync_session_subscribed(c->session, request.id, SYNC_SUBSCRIBE_NOT_NOW, NULL, 0);
    } else if (fits(c, late->body, &late->arena, &faults)) {
        accept_subscription(c, &request, late->body);
    } else {
        refuse_shapes(c, &request, &late->arena, &faults);
    }
    free_late(late);
}

static void subscribe_later(struct client *c, struct str body)
{
    struct arena arena = ARENA_INIT;
    struct late_subscribe *late = arena_zalloc(&arena, sizeof *late);
    late->client = c;
    late->body = arena_str(&arena, body);
    late->arena = arena;
    late->next = c->late;
    late->prev = &c->late;
    if (late->next) {
        late->next->prev = &late->next;
    }
    c->late = late;
    late->wait = marker_wait_to_answer(c->hub->marker, on_late, late);
}

static void subscribe(void *ctx, const struct sat_subscribe *request, struct str body)
{
    struct client *c = ctx;
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct shape_faults faults;
    if (!c->hub || !c->started) {
        sync_session_subscribed(c->session, request->id, SYNC_SUBSCRIBE_NOT_NOW, NULL, 0);
    } else if (fits(c, body, &a, &faults)) {
        accept_subscription(c, request, body);
    } else {
        subscribe_later(c, body);
    }
}

/* So that whoever kills us cannot make the client keep rows that it has asked to be rid of: it does not name
 * what it has an answer for. */
static void unsubscribe(void *ctx, const struct names *ids, uint32_t call)
{
    struct client *c = ctx;
    struct arena arena = ARENA_INIT;
    struct leave *leave = arena_zalloc(&arena, sizeof *leave);
    leave->ids = arena_alloc_array(&arena, ids->n + 1, sizeof *leave->ids);
    for (size_t i = 0; c->hub && i < ids->n; i++) {
        struct subscription_state *sub = client_state_find(&c->known->state, ids->items[i]);
        if (sub && !sub->unsubscribed && !sub->leaving && !client_cancel_subscribe(c, ids->items[i])) {
            sub->leaving = true;
            leave->ids[leave->n++] = arena_str(&arena, ids->items[i]);
        }
    }
    if (leave->n == 0) {
        arena_deinit(&arena);
        sync_session_unsubscribed(c->session, call);
        return;
    }
    leave->call = call;
    leave->arena = arena;
    struct leave **end = &c->leaves;
    while (*end) {
        end = &(*end)->next;
    }
    *end = leave;
    known_save(c->known);
}

static void forget_leaves(struct client *c)
{
    while (c->leaves) {
        struct leave *leave = c->leaves;
        struct arena arena = leave->arena;
        c->leaves = leave->next;
        arena_deinit(&arena); /* it is in there */
    }
}

/* The client may be dropped by any of it. */
static void answer_leaves(struct client *c)
{
    while (c->leaves && c->hub) {
        struct leave *leave = c->leaves;
        struct arena arena = leave->arena;
        c->leaves = leave->next;
        sync_session_unsubscribed(c->session, leave->call);
        if (c->hub && c->started) {
            client_act(c, ACTION_UNSUBSCRIBE, leave->ids, leave->n, 0);
        }
        arena_deinit(&arena); /* it is in there */
    }
}

void client_saved(struct client *c)
{
    if (c->fresh.waits && c->hub) {
        go_on_anew(c);
    }
    answer_leaves(c);
    if (c->waiting_disk) {
        client_finish_action(c);
    }
}

/* --- what comes back --- */

static void acked(void *ctx, const struct sync_ack *ack)
{
    struct client *c = ctx;
    if (!c->hub || !c->known) {
        return;
    }
    struct client_state *state = &c->known->state;
    if (ack->lsn > state->acked_lsn) {
        state->acked_lsn = ack->lsn;
        c->known->dirty = true;
    }
    for (size_t i = 0; i < ack->gone->n; i++) {
        const struct subscription_state *sub = client_state_find(state, ack->gone->items[i]);
        if (sub && sub->unsubscribed) {
            client_state_remove(state, ack->gone->items[i]);
            c->known->dirty = true;
        }
    }
}

static void drained(void *ctx)
{
    struct client *c = ctx;
    if (c->join) {
        join_pause(c->join, false);
    } else if (c->flow) {
        flow_go_on(c->flow);
    }
}

const struct sync_service client_service = {.not_ready = not_ready,
                                            .open = open_client,
                                            .close = close_client,
                                            .authenticate = authenticate,
                                            .admit = admit,
                                            .start = start,
                                            .stop = stop,
                                            .subscribe = subscribe,
                                            .unsubscribe = unsubscribe,
                                            .acked = acked,
                                            .drained = drained};

/* --- for flows --- */

bool client_is_full(const struct client *c)
{
    return sync_session_backlog(c->session) >= CLIENT_FULL;
}

void client_drop(struct client *c, const char *why)
{
    log_info(NULL, "sync: a client is sent away, to come back: %s", why);
    c->hub->stats.clients_sent_away++;
    client_end(c, SYNC_END_TROUBLE);
}

void client_forget_subscriptions(struct client *c)
{
    lsn_t acked_lsn = c->known->state.acked_lsn;
    client_state_clear(&c->known->state);
    c->known->state.acked_lsn = acked_lsn;
    known_save(c->known);
}

struct recorded {
    const struct version **items;
    size_t n;
};

static struct recorded versions_of(const struct versions *versions, lsn_t lsn, struct arena *a)
{
    struct recorded r = {arena_alloc_array(a, versions_count(versions) + 1, sizeof(void *)), 0};
    for (size_t i = 0; i < versions_count(versions); i++) {
        if (versions_at(versions, i)->lsn == lsn) {
            r.items[r.n++] = versions_at(versions, i);
        }
    }
    return r;
}

void client_deliver_all(struct hub *hub, struct client *clients, struct model *model,
                        const struct txn_head *head, bool migrates, const struct view_ops *ops)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    struct delivery *made[VERSION_DIALECTS] = {0};
    struct recorded r = migrates ? versions_of(hub->versions, head->end_lsn, &a) : (struct recorded){0};
    if (r.n == 0 && ops->n == 0) {
        return; /* a migration that clients do not get */
    }
    for (struct client *c = clients; c; c = c->next_in_flow) {
        enum dialect d = r.n > 0 ? c->dialect : DIALECT_SQLITE; /* rows are the same in both */
        if (!made[d]) {
            made[d] = encode_transaction(hub->encoder, model, head, r.items, r.n, d, ops);
        }
        sync_session_send(c->session, made[d]);
        hub->stats.transactions_sent++;
        hub->stats.bytes_sent += made[d]->bytes;
    }
    for (size_t d = 0; d < VERSION_DIALECTS; d++) {
        delivery_unref(made[d]);
    }
}
