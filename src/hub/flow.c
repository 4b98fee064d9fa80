/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/flow.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "hub/hub_impl.h"
#include "hub/supply.h"
#include "net/loop.h"

#include <assert.h>
#include <stdlib.h>

enum { TRANSACTIONS_A_TURN = 256, BYTES_A_TURN = 1024 * 1024, KEY_TEXT = 64 * 1024 * 1024 };

struct flow {
    struct flow *next, **prev; /* of the hub's */
    struct hub *hub;
    struct plan *plan;
    struct view *view;
    struct buf key; /* equal for equal views */
    char *user;
    lsn_t position;
    enum flow_state state;
    struct client *clients;
    struct flow *next_ready, **prev_ready; /* prev NULL: it is not among those that shall run */
    struct route *route;                   /* when live */
    uint64_t marked;                       /* the last turn of the hub's that it was marked in */
    size_t transactions, bytes;            /* of this turn */

    /* The transaction being applied. */
    struct arena arena;
    struct txn_head head;
    bool migrates;
    struct supply supply;
    struct passage passage; /* by a large one */
};

/* While it is live it is told of what may concern it. */
static void set_state(struct flow *s, enum flow_state state)
{
    s->state = state;
    route_free(take_ptr(&s->route));
    if (state == FLOW_LIVE) {
        s->route = route_new(s->hub->routes, s->plan->forest, str_c(s->user), s);
    }
}

static void run_some(void *ctx);

static void run_some_soon(struct hub *hub)
{
    if (!hub->ready_flows.posted) {
        hub->ready_flows.posted = true;
        loop_post(hub->loop, run_some, hub);
    }
}

static void run_soon(struct flow *s)
{
    struct ready_flows *ready = &s->hub->ready_flows;
    if (s->prev_ready) {
        return;
    }
    ready->end = ready->first ? ready->end : &ready->first;
    s->next_ready = NULL;
    s->prev_ready = ready->end;
    *ready->end = s;
    ready->end = &s->next_ready;
    run_some_soon(s->hub);
}

static void run_not(struct flow *s)
{
    if (s->prev_ready) {
        struct ready_flows *ready = &s->hub->ready_flows;
        *s->prev_ready = s->next_ready;
        *(s->next_ready ? &s->next_ready->prev_ready : &ready->end) = s->prev_ready;
        s->prev_ready = NULL;
    }
}

/* --- clients --- */

void flow_add(struct flow *s, struct client *c)
{
    c->next_in_flow = s->clients;
    c->prev_in_flow = &s->clients;
    if (s->clients) {
        s->clients->prev_in_flow = &c->next_in_flow;
    }
    s->clients = c;
    c->flow = s;
}

static void unlink_client(struct client *c)
{
    *c->prev_in_flow = c->next_in_flow;
    if (c->next_in_flow) {
        c->next_in_flow->prev_in_flow = c->prev_in_flow;
    }
    c->flow = NULL;
}

/* One that nobody follows takes no more transactions, so nobody may join it. */
void flow_remove(struct flow *s, struct client *c)
{
    unlink_client(c);
    if (!s->clients && s->state != FLOW_APART) {
        set_state(s, FLOW_CATCHING_UP);
    }
    run_soon(s); /* which frees it when nobody is left */
}

/* Some may have waited to leave it. */
static void tell_clients(const struct flow *s)
{
    for (struct client *c = s->clients; c; c = c->next_in_flow) {
        if (c->actions) {
            client_go_on_soon(c);
        }
    }
}

/* Who is alone is waited for; in company, nobody waits for the slowest: it is dropped when too much waits for
 * it. */
static bool waits_for_client(const struct flow *s)
{
    return s->clients && !s->clients->next_in_flow && client_is_full(s->clients);
}

/* What the clients hold is of no use any more, or cannot be kept up to date. */
static void lose_clients(struct flow *s, bool forget, const char *why)
{
    while (s->clients) {
        struct client *c = s->clients;
        if (forget) {
            client_forget_subscriptions(c);
        }
        unlink_client(c);
        client_drop(c, why);
    }
    run_soon(s);
}

/* --- what a transaction brings --- */

static void finish_transaction(struct flow *s)
{
    s->position = s->head.end_lsn;
    arena_reset(&s->arena);
}

static void deliver(struct flow *s, const struct view_ops *ops)
{
    if (ops->n > 0 || s->migrates) {
        client_deliver_all(s->hub, s->clients, s->plan->model, &s->head, s->migrates, ops);
    }
    finish_transaction(s);
}

static void on_rows_failed(void *ctx, enum read_failure how, const struct err *err)
{
    log_warning(NULL, "sync: rows that move into view cannot be read: %s", err->msg);
    lose_clients(ctx, how != READ_LOST, "rows cannot be read");
}

/* What view_apply() and view_finish() say, other than that rows are needed. False: the flow is at an end. */
static bool conclude(struct flow *s, int outcome, const struct view_ops *ops, const struct err *err)
{
    switch (outcome) {
    case VIEW_DONE:
        deliver(s, ops);
        return true;
    case VIEW_RESYNC:
        lose_clients(s, true, "a table was truncated");
        return false;
    case VIEW_TOO_MUCH:
        log_warning(NULL,
                    "sync: transaction at " LSN_FMT
                    " changes more than %d MB of what clients see: they load anew",
                    LSN_ARG(s->head.end_lsn), LIMIT_SYNC_VISIBLE / (1024 * 1024));
        lose_clients(s, true, "a transaction changes too much of what is seen");
        return false;
    default:
        log_error(NULL, "sync: transaction at " LSN_FMT ": %s", LSN_ARG(s->head.end_lsn), err->msg);
        lose_clients(s, true, "a transaction cannot be applied");
        return false;
    }
}

/* Every need of the view is met. */
static bool finish_apply(struct flow *s)
{
    struct view_ops ops;
    struct err err;
    int outcome = view_finish(s->view, &ops, &err);
    return conclude(s, outcome, &ops, &err);
}

/* It waited, and now goes on behind the others. */
static void catch_up(struct flow *s)
{
    set_state(s, FLOW_CATCHING_UP);
    tell_clients(s);
    run_soon(s);
}

static void on_rows(void *ctx)
{
    struct flow *s = ctx;
    if (finish_apply(s)) {
        catch_up(s);
    }
}

/* False: they have to be waited for. */
static bool meet_needs(struct flow *s)
{
    if (supply_meet(&s->supply, s->view, s->plan->forest, str_c(s->user), s->position, s->head.end_lsn)) {
        return finish_apply(s);
    }
    set_state(s, FLOW_READING);
    return false;
}

/* The schema after the transaction, for the view and for what it says of its rows. */
static bool migrate(struct flow *s)
{
    struct plan *plan = plan_again(s->plan, versions_model(s->hub->versions, s->head.end_lsn));
    if (!plan) {
        return false; /* a table is not open for sync any more */
    }
    if (!view_set_forest(s->view, plan->forest)) {
        plan_unref(plan);
        return false;
    }
    supply_forget(&s->supply); /* it knows the tables of the old plan */
    plan_unref(s->plan);
    s->plan = plan;
    buf_reset(&s->key);
    forest_put_key(plan->forest, str_c(s->user), &s->key);
    set_state(s, s->state); /* its routes are those of the new plan */
    return true;
}

/* False: the flow is at an end, or waits. */
static bool apply(struct flow *s, const struct txn_head *head, struct str record,
                  const struct txn_facts *facts)
{
    struct view_ops ops;
    struct err err;
    s->head = *head;
    s->migrates = facts->migrates;
    if (s->migrates && !migrate(s)) {
        lose_clients(s, true, "the schema has changed under a subscription");
        return false;
    }
    supply_follow(&s->supply, head->end_lsn, record);
    int outcome = view_apply(s->view, record, facts->summary, &s->hub->past.relations, &s->arena, &ops, &err);
    return outcome == VIEW_NEEDS ? meet_needs(s) : conclude(s, outcome, &ops, &err);
}

bool flow_concerned(const struct flow *s, const struct txn_facts *facts)
{
    for (size_t i = 0; i < facts->summary->n; i++) {
        const struct relation *r = relations_get(&s->hub->past.relations, facts->summary->relations[i]);
        if (r && view_concerns(s->view, r)) {
            return true;
        }
    }
    return facts->migrates || facts->summary->more;
}

void flow_take(struct flow *s, const struct txn_head *head, struct str record, const struct txn_facts *facts)
{
    if (s->state == FLOW_LIVE && s->clients && flow_concerned(s, facts)) {
        apply(s, head, record, facts);
    }
}

void flow_stay_behind(struct flow *s, const struct txn_facts *facts)
{
    if (s->state == FLOW_LIVE && s->clients && flow_concerned(s, facts)) {
        s->position = s->hub->position;
        set_state(s, FLOW_CATCHING_UP);
        run_soon(s);
    }
}

/* --- large transactions --- */

static struct flow *flow_of(struct passage *p)
{
    return CONTAINER_OF(p, struct flow, passage);
}

/* False, and the flow is gone: its last client has left meanwhile. */
static bool is_still_followed(struct flow *s)
{
    if (!s->clients) {
        flow_free(s);
        return false;
    }
    return true;
}

static bool begin_passage(struct passage *p, const struct txn_head *head, const struct txn_facts *facts)
{
    struct flow *s = flow_of(p);
    if (!is_still_followed(s)) {
        return false;
    }
    s->head = *head;
    s->migrates = facts->migrates;
    if (s->migrates && !migrate(s)) {
        set_state(s, FLOW_CATCHING_UP);
        lose_clients(s, true, "the schema has changed under a subscription");
        return false;
    }
    return true;
}

static void end_passage(struct passage *p, const struct txn_head *head, int outcome,
                        const struct view_ops *ops, const struct err *err)
{
    struct flow *s = flow_of(p);
    if (!is_still_followed(s)) {
        return;
    }
    set_state(s, FLOW_CATCHING_UP);
    switch (outcome) {
    case ASIDE_LOST:
        log_error(NULL, "sync: the log cannot be read: %s", err->msg);
        lose_clients(s, false, "the log cannot be read");
        return;
    case ASIDE_AGAIN:
        run_soon(s);
        return;
    case ASIDE_PASSED:
        s->position = head->end_lsn;
        catch_up(s);
        return;
    default:
        if (outcome == VIEW_NEEDS ? meet_needs(s) : conclude(s, outcome, ops, err)) {
            catch_up(s);
        }
    }
}

static void go_apart(struct flow *s, lsn_t lsn)
{
    supply_forget(&s->supply); /* it would have to look at the transaction too */
    set_state(s, FLOW_APART);
    s->passage = (struct passage){.lsn = lsn,
                                  .begin = begin_passage,
                                  .end = end_passage,
                                  .view = s->view,
                                  .forest = s->plan->forest,
                                  .user = str_c(s->user),
                                  .arena = &s->arena};
    aside_enter(s->hub->aside, &s->passage);
}

/* --- catching up --- */

static int take_past(void *ctx, lsn_t lsn, struct str record, struct err *err)
{
    struct flow *s = ctx;
    struct txn_head head;
    struct txn_summary summary;
    if (record.n > LIMIT_SYNC_INLINE) {
        go_apart(s, lsn);
        return 0;
    }
    if (txn_read_head(record, &head, err) < 0 || txn_summarize(record, &summary, err) < 0) {
        return -1;
    }
    struct txn_facts facts = txn_facts_of(&s->hub->past.relations, &summary);
    if (!flow_concerned(s, &facts)) {
        s->position = lsn;
    } else if (!apply(s, &head, record, &facts)) {
        return 0;
    }
    s->bytes += record.n;
    s->hub->turn_bytes += record.n;
    return ++s->transactions < TRANSACTIONS_A_TURN && s->bytes < BYTES_A_TURN && !waits_for_client(s);
}

static void go_live(struct flow *s)
{
    struct flow *other = hub_live_flow(s->hub, buf_str(&s->key));
    supply_forget(&s->supply);
    tell_clients(s);
    if (!other) {
        set_state(s, FLOW_LIVE);
        return;
    }
    while (s->clients) {
        struct client *c = s->clients;
        unlink_client(c);
        flow_add(other, c);
    }
    flow_free(s);
}

static void run(struct flow *s)
{
    struct err err;
    if (!s->clients && s->state != FLOW_APART) {
        flow_free(s);
        return;
    }
    if (s->state != FLOW_CATCHING_UP || waits_for_client(s)) {
        return;
    }
    s->transactions = 0;
    s->bytes = 0;
    switch (past_walk(&s->hub->past, s->position, take_past, s, &err)) {
    case PAST_END:
        go_live(s);
        return;
    case PAST_STOPPED:
        if (s->state == FLOW_CATCHING_UP) {
            tell_clients(s);
            run_soon(s);
        }
        return;
    case PAST_GONE:
        lose_clients(s, false, "too far behind: the log does not reach back any more");
        return;
    default:
        log_error(NULL, "sync: the log cannot be read: %s", err.msg);
        lose_clients(s, false, "the log cannot be read");
    }
}

/* A turn is for all flows together: thousands may come back at once, and the loop has others to serve. */
static void run_some(void *ctx)
{
    struct hub *hub = ctx;
    struct ready_flows *ready = &hub->ready_flows;
    ready->posted = false;
    hub->turn_bytes = 0;
    while (ready->first && hub->turn_bytes < BYTES_A_TURN) {
        struct flow *s = ready->first;
        run_not(s);
        run(s);
    }
    if (ready->first) {
        run_some_soon(hub);
    }
}

void flow_go_on(struct flow *s)
{
    if (s->state == FLOW_CATCHING_UP) {
        run_soon(s);
    }
}

/* --- life --- */

struct flow *flow_new(struct hub *hub, struct plan *plan, struct view *view, struct str user, lsn_t position)
{
    struct flow *s = mem_zalloc(sizeof *s);
    s->hub = hub;
    s->supply = (struct supply){.hub = hub, .met = on_rows, .failed = on_rows_failed, .ctx = s};
    s->plan = plan;
    s->view = view;
    s->user = mem_strndup(user.p, user.n);
    buf_init(&s->key, KEY_TEXT);
    forest_put_key(plan->forest, user, &s->key);
    s->position = position;
    s->next = hub->flows;
    s->prev = &hub->flows;
    if (s->next) {
        s->next->prev = &s->next;
    }
    hub->flows = s;
    run_soon(s);
    return s;
}

void flow_free(struct flow *s)
{
    assert(!s->clients);
    *s->prev = s->next;
    if (s->next) {
        s->next->prev = s->prev;
    }
    run_not(s);
    route_free(s->route);
    supply_forget(&s->supply);
    view_free(s->view);
    plan_unref(s->plan);
    arena_deinit(&s->arena);
    buf_deinit(&s->key);
    free(s->user);
    free(s);
}

enum flow_state flow_state(const struct flow *s)
{
    return s->state;
}

lsn_t flow_position(const struct flow *s)
{
    return s->state == FLOW_LIVE ? s->hub->position : s->position;
}

struct plan *flow_plan(const struct flow *s)
{
    return s->plan;
}

bool flow_mark(struct flow *s, uint64_t turn)
{
    bool first = s->marked != turn;
    s->marked = turn;
    return first;
}

struct str flow_key(const struct flow *s)
{
    return buf_str(&s->key);
}

struct flow *flow_next(const struct flow *s)
{
    return s->next;
}

bool flow_at_rest(const struct flow *s)
{
    return s->state == FLOW_CATCHING_UP || s->state == FLOW_LIVE;
}

struct view *flow_take_view(struct flow *s, struct client *c)
{
    if (s->clients != c || c->next_in_flow || !flow_at_rest(s)) {
        return NULL;
    }
    supply_forget(&s->supply); /* it borrows the view */
    return take_ptr(&s->view);
}
