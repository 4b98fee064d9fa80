/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client has asked for, one after the other. For each, the client leaves its flow where that stands,
 * is told what has to be told there (hub/join.h), and goes on from there in another flow:
 *
 *   flow at rest → join: begin, rows, ready → state on the disk → end of the data → new flow → the next
 * action
 */
#include "hub/client.h"

#include "base/log.h"
#include "base/mem.h"
#include "hub/hub_impl.h"
#include "net/loop.h"

#include <stdlib.h>

enum { TRIES = 5 /* to get the data of a subscription, beyond the first */ };

/* --- plans --- */

/* Of all established subscriptions, but those of an action; or of those of an action alone. */
static struct plan *plan_of(const struct client *c, struct model *model, const struct action *besides,
                            const struct action *only)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    const struct client_state *state = &c->known->state;
    struct str *requests = arena_alloc_array(&a, state->n + 1, sizeof *requests);
    struct shape_faults faults;
    size_t n = 0;
    for (size_t i = 0; i < state->n; i++) {
        const struct subscription_state *sub = &state->subscriptions[i];
        struct names named = {besides ? besides->ids
                              : only  ? only->ids
                                      : NULL,
                              besides ? besides->n
                              : only  ? only->n
                                      : 0};
        bool in = names_contain(&named, str_c(sub->id));
        bool established = sub->lsn != 0 && !sub->unsubscribed;
        if (only ? in : established && !(besides && in)) {
            requests[n++] = (struct str){sub->request, sub->request_n};
        }
    }
    return plan_new(model_ref(model), requests, n, &a, &faults);
}

static struct plan *plan_of_both(const struct plan *a, const struct plan *b)
{
    CLEANUP(arena_deinit) struct arena arena = ARENA_INIT;
    struct str *requests = arena_alloc_array(&arena, a->n + b->n + 1, sizeof *requests);
    struct shape_faults faults;
    for (size_t i = 0; i < a->n; i++) {
        requests[i] = a->requests[i];
    }
    for (size_t i = 0; i < b->n; i++) {
        requests[a->n + i] = b->requests[i];
    }
    return plan_new(model_ref(a->model), requests, a->n + b->n, &arena, &faults);
}

/* --- the data of a join --- */

static void put_frame(struct client *c, struct buf *b)
{
    struct packet *p = packet_end(b);
    if (p) {
        delivery_add(c->rows.out, p);
    }
    buf_deinit(b);
}

static struct buf begin_frame(void)
{
    struct buf b = BUF_INIT(STATE_MAX);
    packet_begin(&b);
    return b;
}

static void send_rows(struct client *c)
{
    struct delivery *d = c->rows.out;
    if (c->rows.open) {
        oplog_end(&c->rows.log);
        c->rows.open = false;
    }
    sync_session_send(c->session, d);
    c->sent = true;
    c->hub->stats.bytes_sent += d->bytes;
    c->rows.out = delivery_new(DELIVERY_DATA, d->lsn, 0);
    delivery_unref(d);
    if (client_is_full(c)) {
        join_pause(c->join, true);
    }
}

static struct sat_subscribe request_of(const struct client *c, struct str id, struct arena *a)
{
    struct sat_subscribe request = {0};
    const struct subscription_state *sub = client_state_find(&c->known->state, id);
    if (sub) {
        ignore_result(sat_read_subscribe(a, (struct str){sub->request, sub->request_n},
                                         &request)); /* it was read before */
    }
    return request;
}

static void put_shape_begin(struct client *c, struct str request_id)
{
    struct buf b = begin_frame();
    sat_put_shape_data_begin(&b, request_id);
    put_frame(c, &b);
}

static void put_shape_end(struct client *c)
{
    struct buf b = begin_frame();
    sat_put_shape_data_end(&b);
    put_frame(c, &b);
}

static void on_begin(void *ctx)
{
    struct client *c = ctx;
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    const struct action *action = c->actions;
    lsn_t position = action->position;
    struct buf b = begin_frame();
    c->begun = true;
    c->rows = (struct encode_rows){.encoder = c->hub->encoder,
                                   .model = c->part->model,
                                   .out = delivery_new(DELIVERY_DATA, position, 0),
                                   .gone = action->kind == ACTION_UNSUBSCRIBE};
    encode_relations(c->hub->encoder, c->part->model, c->part->forest, c->rows.out);
    if (action->kind == ACTION_UNSUBSCRIBE) {
        sat_put_unsubs_data_begin(&b, action->ids, action->n, position);
        put_frame(c, &b);
        return;
    }
    struct sat_subscribe request = request_of(c, action->ids[0], &a);
    sat_put_subs_data_begin(&b, action->ids[0], position);
    put_frame(c, &b);
    put_shape_begin(c, request.shapes[0].request_id); /* all rows come with the first; clients do not mind */
}

static void on_row(void *ctx, const struct table *table, const struct value *row)
{
    struct client *c = ctx;
    encode_row(&c->rows, table, row);
    if (c->rows.out->n_frames >= CLIENT_PIECE) {
        send_rows(c);
    }
}

static void put_end(struct client *c)
{
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    const struct action *action = c->actions;
    if (c->rows.open) {
        oplog_end(&c->rows.log);
        c->rows.open = false;
    }
    if (action->kind == ACTION_SUBSCRIBE) {
        struct sat_subscribe request = request_of(c, action->ids[0], &a);
        put_shape_end(c);
        for (size_t i = 1; i < request.n_shapes; i++) {
            put_shape_begin(c, request.shapes[i].request_id);
            put_shape_end(c);
        }
    }
    struct buf b = begin_frame();
    if (action->kind == ACTION_SUBSCRIBE) {
        sat_put_subs_data_end(&b);
    } else {
        sat_put_unsubs_data_end(&b);
    }
    put_frame(c, &b);
    sync_session_send(c->session, c->rows.out);
    c->hub->stats.bytes_sent += c->rows.out->bytes;
}

/* --- the end of an action --- */

static void drop_rows(struct client *c)
{
    if (c->rows.open) {
        oplog_end(&c->rows.log);
    }
    delivery_unref(take_ptr(&c->rows.out));
    buf_deinit(&c->rows.frame);
    c->rows = (struct encode_rows){0};
    c->begun = c->sent = false;
}

static void free_action(struct action *action)
{
    struct arena arena = action->arena;
    marker_forget(action->wait);
    arena_deinit(&arena); /* the action is in it */
}

static void pop_action(struct client *c)
{
    struct action *action = c->actions;
    c->actions = action->next;
    if (!c->actions) {
        c->actions_tail = &c->actions;
    }
    free_action(action);
}

static void note_in_state(struct client *c)
{
    const struct action *action = c->actions;
    for (size_t i = 0; i < action->n; i++) {
        struct subscription_state *sub = client_state_find(&c->known->state, action->ids[i]);
        if (sub && action->kind == ACTION_SUBSCRIBE) {
            sub->lsn = action->position;
        } else if (sub) {
            sub->unsubscribed = true;
            sub->gone_lsn = action->position;
        }
    }
    if (action->n > 0) {
        known_save(c->known);
    }
}

/* The state is on the disk: whatever happens to us, the client can go on with what it is about to have. */
static void finish_action(struct client *c)
{
    lsn_t position = c->actions->position;
    struct plan *plan = take_ptr(&c->joined_plan);
    struct view *view = take_ptr(&c->joined_view);
    c->waiting_disk = false;
    if (c->begun) {
        put_end(c);
    }
    drop_rows(c);
    plan_unref(take_ptr(&c->part));
    pop_action(c);
    flow_add(flow_new(c->hub, plan, view, str_c(c->known->state.user_id), position), c);
    client_go_on(c);
}

static void on_ready(void *ctx, struct plan *whole, struct view *view)
{
    struct client *c = ctx;
    c->join = NULL;
    c->joined_plan = whole;
    c->joined_view = view;
    note_in_state(c);
    c->waiting_disk = true;
    if (c->known->writes == 0) {
        finish_action(c);
    }
}

void client_saved(struct client *c)
{
    if (c->waiting_disk) {
        finish_action(c);
    }
}

/* The first action is a subscription of which nothing has been sent: the client goes on without it. */
static void forget_subscription(struct client *c)
{
    struct action *action = c->actions;
    client_state_remove(&c->known->state, action->ids[0]);
    known_save(c->known);
    action->kind = ACTION_RESUME;
    action->n = 0;
    client_go_on_soon(c);
}

/* Its data cannot be had, and the client is told. */
static void give_up_subscription(struct client *c)
{
    sync_session_subscription_failed(c->session, c->actions->ids[0]);
    forget_subscription(c);
}

static struct action *new_action(struct client *c, enum action_kind kind, const struct str *ids, size_t n,
                                 lsn_t position)
{
    struct arena arena = ARENA_INIT;
    struct action *action = arena_zalloc(&arena, sizeof *action);
    action->kind = kind;
    action->position = position;
    action->client = c;
    action->n = n;
    action->ids = arena_alloc_array(&arena, n + 1, sizeof *action->ids);
    for (size_t i = 0; i < n; i++) {
        action->ids[i] = arena_str(&arena, ids[i]);
    }
    action->arena = arena;
    return action;
}

/* Another try may do better: later, where the stream is by now. Until then the client goes on with what it
 * had. */
static bool try_again(struct client *c, enum read_failure how)
{
    struct action *action = c->actions;
    if ((how != READ_GIVES_WAY && how != READ_TOO_FAR) || ++action->tries > TRIES) {
        return false;
    }
    if (action->kind == ACTION_SUBSCRIBE) {
        struct action *resume = new_action(c, ACTION_RESUME, NULL, 0, action->position);
        action->not_before = c->hub->position;
        resume->next = action;
        c->actions = resume;
    } else if (how == READ_TOO_FAR || action->kind != ACTION_RESUME) {
        return false;
    }
    client_go_on_soon(c);
    return true;
}

static void on_failed(void *ctx, enum read_failure how, const struct err *err)
{
    struct client *c = ctx;
    bool sent = c->sent, final = how == READ_REFUSED || how == READ_TOO_FAR;
    c->join = NULL;
    drop_rows(c);
    plan_unref(take_ptr(&c->part));
    log_warning(NULL, "sync: the data of a subscription cannot be read: %s", err->msg);
    if (!sent && try_again(c, how)) {
        return;
    }
    if (final && !sent && c->actions->kind == ACTION_SUBSCRIBE) {
        give_up_subscription(c);
        return;
    }
    if (final && c->actions->kind != ACTION_SUBSCRIBE) {
        client_forget_subscriptions(c); /* another try would fail as well */
    }
    client_drop(c, "its data cannot be read");
}

static const struct join_events join_events = {on_begin, on_row, on_ready, on_failed};

/* --- the beginning --- */

static void begin_join(struct client *c, const struct join_options *options)
{
    c->part = options->part ? plan_ref(options->part) : NULL;
    c->join = join_start(c->hub, options, &join_events, c);
}

static void begin_resume(struct client *c)
{
    struct action *action = c->actions;
    struct join_options options = {.position = action->position, .user = str_c(c->known->state.user_id)};
    struct model *model = versions_model(c->hub->versions, action->position);
    options.whole = plan_of(c, model, NULL, NULL);
    model_unref(model);
    if (!options.whole) {
        client_forget_subscriptions(c);
        client_drop(c, "a table of its shapes is not open for sync any more");
        return;
    }
    begin_join(c, &options);
    plan_unref(options.whole);
}

static void begin_subscribe(struct client *c)
{
    struct action *action = c->actions;
    struct flow *flow = c->flow;
    struct plan *old = plan_ref(flow_plan(flow));
    struct join_options options = {.position = action->position, .user = str_c(c->known->state.user_id)};
    options.part = plan_of(c, old->model, NULL, action);
    options.whole = options.part ? plan_of_both(old, options.part) : NULL;
    if (old->n > 0) {
        options.keep = old;
        options.keep_view = flow_take_view(flow, c);
    } else {
        plan_unref(options.whole);
        options.whole = options.part ? plan_ref(options.part) : NULL;
    }
    flow_remove(flow, c);
    if (options.whole) {
        begin_join(c, &options);
    } else { /* a migration has come in between */
        view_free(options.keep_view);
        give_up_subscription(c);
    }
    plan_unref(options.part);
    plan_unref(options.whole);
    plan_unref(old);
}

static void begin_unsubscribe(struct client *c)
{
    struct action *action = c->actions;
    struct join_options options = {.position = action->position, .user = str_c(c->known->state.user_id)};
    struct model *model = flow_plan(c->flow)->model;
    options.whole = plan_of(c, model, action, NULL);
    options.part = plan_of(c, model, NULL, action);
    options.keep = options.whole;
    flow_remove(c->flow, c);
    if (options.whole && options.part) {
        begin_join(c, &options);
    } else {
        client_forget_subscriptions(c);
        client_drop(c, "a table of its shapes is not open for sync any more");
    }
    plan_unref(options.part);
    plan_unref(options.whole);
}

void client_go_on(struct client *c)
{
    struct action *action = c->actions;
    if (!action || c->join || c->waiting_disk || (c->flow && !flow_at_rest(c->flow))) {
        return;
    }
    if (action->kind == ACTION_RESUME) {
        begin_resume(c);
        return;
    }
    if (!c->flow || action->wait || flow_position(c->flow) < action->not_before) {
        return; /* the flow calls when it is there */
    }
    action->position = flow_position(c->flow);
    if (action->kind == ACTION_SUBSCRIBE) {
        begin_subscribe(c);
    } else {
        begin_unsubscribe(c);
    }
}

static void go_on_later(void *ctx)
{
    client_go_on(ctx);
}

void client_go_on_soon(struct client *c)
{
    loop_post(c->hub->loop, go_on_later, c);
}

/* Whoever subscribes gets at once what had been committed by then. That the message failed is found out by
 * the read. */
static void on_marked(void *ctx, const struct err *err)
{
    struct action *action = ctx;
    (void)err;
    action->wait = NULL;
    action->not_before = action->client->hub->position;
    client_go_on_soon(action->client);
}

void client_act(struct client *c, enum action_kind kind, const struct str *ids, size_t n, lsn_t position)
{
    struct action *action = new_action(c, kind, ids, n, position);
    if (kind == ACTION_SUBSCRIBE) {
        action->wait = marker_wait(c->hub->marker, on_marked, action);
    }
    *c->actions_tail = action;
    c->actions_tail = &action->next;
    client_go_on_soon(c);
}

/* Leaves the first action where it is. */
static void stop_join(struct client *c)
{
    join_cancel(take_ptr(&c->join));
    view_free(take_ptr(&c->joined_view));
    plan_unref(take_ptr(&c->joined_plan));
    plan_unref(take_ptr(&c->part));
    drop_rows(c);
    c->waiting_disk = false;
}

/* Whoever unsubscribed has been answered: what it was not told is told when it comes back, wherever it is
 * then. */
static void owe_what_is_gone(struct client *c)
{
    bool owed = false;
    for (const struct action *action = c->actions; action; action = action->next) {
        for (size_t i = 0; action->kind == ACTION_UNSUBSCRIBE && i < action->n; i++) {
            struct subscription_state *sub = client_state_find(&c->known->state, action->ids[i]);
            if (sub) {
                sub->unsubscribed = owed = true;
                sub->gone_lsn = UINT64_MAX;
            }
        }
    }
    if (owed) {
        known_save(c->known);
    }
}

void client_stop_actions(struct client *c)
{
    loop_post_forget(c->hub->loop, c);
    owe_what_is_gone(c);
    stop_join(c);
    while (c->actions) {
        pop_action(c);
    }
}

static void take_out(struct client *c, struct action **at)
{
    struct action *action = *at;
    *at = action->next;
    if (!*at) {
        c->actions_tail = at;
    }
    free_action(action);
}

bool client_cancel_subscribe(struct client *c, struct str id)
{
    struct action **at = &c->actions;
    while (*at && !((*at)->kind == ACTION_SUBSCRIBE && str_eq((*at)->ids[0], id))) {
        at = &(*at)->next;
    }
    bool first = at == &c->actions;
    if (!*at || (first && c->sent)) {
        return false;
    }
    if (first && (c->join || c->waiting_disk)) {
        stop_join(c);
        forget_subscription(c);
        return true;
    }
    take_out(c, at);
    client_state_remove(&c->known->state, id);
    known_save(c->known);
    return true;
}
