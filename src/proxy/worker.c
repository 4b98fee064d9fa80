/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/worker.h"

#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "pg/login.h"
#include "proxy/cancel_key.h"
#include "proxy/conn.h"

#include <stdlib.h>

enum { SWEEPS_PER_TIMEOUT = 4, SWEEP_MAX_MS = 10000 };

static void sweep_later(struct worker *w)
{
    uint64_t every = w->policy->options.idle_timeout_ms / SWEEPS_PER_TIMEOUT;
    if (w->policy->options.idle_timeout_ms == 0 || w->draining) {
        timer_stop(w->sweep);
        return;
    }
    timer_start(w->sweep, every == 0 ? 1 : every < SWEEP_MAX_MS ? every : SWEEP_MAX_MS);
}

static void on_sweep(void *ctx)
{
    struct worker *w = ctx;
    for (struct conn *c = w->conns, *next; c; c = next) {
        next = conn_next(c);
        conn_end_if_idle(c, w->policy->options.idle_timeout_ms);
    }
    sweep_later(w);
}

void worker_init(struct worker *w, struct policy *policy)
{
    w->policy = policy;
    w->sweep = timer_new(w->loop, on_sweep, w);
    sweep_later(w);
}

void worker_take(struct worker *w, const struct arrival *arrival)
{
    conn_new(w, arrival);
    if (w->draining) {
        conn_drain(w->conns);
    }
}

void worker_set_policy(struct worker *w, struct policy *policy)
{
    policy_unref(w->policy);
    w->policy = policy;
    sweep_later(w);
}

static void tell_if_drained(struct worker *w)
{
    if (w->draining && !w->conns && w->on_drained) {
        void (*tell)(struct worker *) = w->on_drained;
        w->on_drained = NULL;
        tell(w);
    }
}

void worker_drain(struct worker *w)
{
    w->draining = true;
    sweep_later(w);
    for (struct conn *c = w->conns, *next; c; c = next) {
        next = conn_next(c);
        conn_drain(c);
    }
    tell_if_drained(w);
}

void worker_conn_gone(struct worker *w)
{
    counter_add(&w->stats.connections_closed, 1);
    tell_if_drained(w);
}

void worker_cut(struct worker *w)
{
    while (w->conns) {
        conn_abort(w->conns);
    }
}

void worker_deinit(struct worker *w)
{
    w->on_drained = NULL;
    worker_cut(w);
    timer_free(w->sweep);
    policy_unref(w->policy);
    w->policy = NULL;
}

/* --- cancel requests --- */

/* Goes round the ring of workers until one has the session, and elsewhere when none has; then home. Whoever
 * holds it may touch and free it; `asker` is the home worker's alone. Once forgotten it goes nowhere any
 * more, so that it may outlive the workers. */
struct cancelling {
    struct conn *asker;
    _Atomic bool forgotten;
    struct worker *home, *at;
    uint32_t pid, secret;
    bool found;
};

static void come_home(void *ctx)
{
    struct cancelling *x = ctx;
    if (!atomic_load(&x->forgotten)) {
        conn_cancelled(x->asker, x->found);
    }
    free(x);
}

static void send_on(struct cancelling *x, struct worker *to, post_fn what)
{
    if (atomic_load(&x->forgotten)) {
        free(x);
        return;
    }
    loop_post(to->loop, what, x);
}

static void on_cancel_sent(void *ctx, const struct err *error)
{
    struct cancelling *x = ctx;
    if (error) {
        log_warning(NULL, "a cancel request could not be passed on: %s", error->msg);
    }
    send_on(x, x->home, come_home);
}

static void on_cancelled_elsewhere(void *ctx, bool found)
{
    struct cancelling *x = ctx;
    x->found = found;
    send_on(x, x->home, come_home);
}

static void go_elsewhere(void *ctx)
{
    struct cancelling *x = ctx;
    if (atomic_load(&x->forgotten)) {
        free(x);
        return;
    }
    const struct elsewhere *there = x->home->elsewhere;
    there->fn(there->ctx, x->pid, on_cancelled_elsewhere, x);
}

static bool is_key_of_ours(const struct worker *w, uint32_t pid, uint32_t secret)
{
    uint32_t made;
    struct err err;
    return w->policy->secret && cancel_key_make(w->policy->secret, pid, &made, &err) == 0 &&
           mem_equal_secret(&made, &secret, sizeof made);
}

/* At home again, and nobody has the session. */
static void leave_ring(void *ctx)
{
    struct cancelling *x = ctx;
    if (!atomic_load(&x->forgotten) && is_key_of_ours(x->home, x->pid, x->secret)) {
        counter_add(&x->home->stats.cancels, 1);
        loop_post(x->home->elsewhere->loop, go_elsewhere, x);
        return;
    }
    come_home(x);
}

static struct pg_cancel *find_session(const struct worker *w, uint32_t pid, uint32_t secret)
{
    struct pg_cancel *found = NULL;
    for (struct conn *c = w->conns; c && !found; c = conn_next(c)) {
        found = conn_cancel_handle(c, pid, secret);
    }
    return found;
}

static void visit(void *ctx)
{
    struct cancelling *x = ctx;
    if (atomic_load(&x->forgotten)) {
        free(x);
        return;
    }
    struct pg_cancel *session = find_session(x->at, x->pid, x->secret);
    if (session) {
        x->found = true;
        counter_add(&x->at->stats.cancels, 1);
        cancel_send(x->at->loop, session, on_cancel_sent, x);
        return;
    }
    x->at = x->at->next;
    send_on(x, x->at, x->at == x->home ? leave_ring : visit);
}

struct cancelling *worker_cancel(struct worker *w, struct conn *asker, uint32_t pid, uint32_t secret)
{
    struct cancelling *x = mem_zalloc(sizeof *x);
    x->asker = asker;
    x->home = x->at = w;
    x->pid = pid;
    x->secret = secret;
    loop_post(w->loop, visit, x);
    return x;
}

void cancelling_forget(struct cancelling *x)
{
    if (x) {
        atomic_store(&x->forgotten, true);
    }
}
