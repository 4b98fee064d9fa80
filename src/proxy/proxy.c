/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/proxy.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "proxy/worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A worker, and what the loop of the proxy keeps about it. */
struct desk {
    struct worker worker;
    struct loop_thread *thread; /* NULL: the proxy's own loop */
    uint64_t handed;            /* connections given to it */
};

struct proxy {
    struct loop *loop;
    struct listener *listener;
    uint16_t port;
    struct policy *policy;
    struct desk *desks;
    unsigned workers;
    struct cidr_list proxy_protocol;
    struct elsewhere elsewhere;
    uint64_t last_id, dropped;
    unsigned undrained; /* workers that still have clients */
    void (*drained)(void *ctx);
    void *drained_ctx;
};

/* --- messages to workers --- */

struct message {
    struct worker *worker;
    struct policy *policy;
    struct arrival arrival;
};

static void send_message(struct desk *d, post_fn fn, struct message m)
{
    struct message *copy = mem_alloc(sizeof *copy);
    *copy = m;
    copy->worker = &d->worker;
    loop_post(d->worker.loop, fn, copy);
}

static void take(void *ctx)
{
    struct message *m = ctx;
    worker_take(m->worker, &m->arrival);
    free(m);
}

static void set_policy(void *ctx)
{
    struct message *m = ctx;
    worker_set_policy(m->worker, m->policy);
    free(m);
}

static void drain(void *ctx)
{
    worker_drain(ctx);
}

static void cut(void *ctx)
{
    worker_cut(ctx);
}

static void deinit(void *ctx)
{
    worker_deinit(ctx);
}

/* --- clients --- */

static uint64_t connections_of(const struct desk *d)
{
    return d->handed - counter_get(&d->worker.stats.connections_closed);
}

static uint64_t connections(const struct proxy *p)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < p->workers; i++) {
        n += connections_of(&p->desks[i]);
    }
    return n;
}

static struct desk *least_busy(struct proxy *p)
{
    struct desk *best = &p->desks[0];
    for (unsigned i = 1; i < p->workers; i++) {
        best = connections_of(&p->desks[i]) < connections_of(best) ? &p->desks[i] : best;
    }
    return best;
}

static void hand_over(struct proxy *p, const struct arrival *arrival)
{
    struct desk *d = least_busy(p);
    d->handed++;
    if (d->thread) {
        send_message(d, take, (struct message){.arrival = *arrival});
    } else {
        worker_take(&d->worker, arrival);
    }
}

/* Those above the limit are told so, as long as they are not too many themselves. */
static void admit(struct proxy *p, struct arrival arrival, const char *peer)
{
    uint64_t here = connections(p);
    arrival.id = ++p->last_id;
    if (here >= (uint64_t)p->policy->options.max_connections + LIMIT_SURPLUS_CONNECTIONS) {
        p->dropped++;
        log_debug(NULL, "too many connections peer=%s", peer);
        close(arrival.fd);
        return;
    }
    arrival.too_many = here >= p->policy->options.max_connections;
    snprintf(arrival.peer, sizeof arrival.peer, "%s", peer);
    hand_over(p, &arrival);
}

static void on_accept(void *ctx, int fd, const struct peer *peer)
{
    struct proxy *p = ctx;
    admit(p,
          (struct arrival){.fd = fd,
                           .local = peer->address->sa_family == AF_UNIX,
                           .header_due = cidr_list_has(&p->proxy_protocol, peer->address)},
          peer->text);
}

void proxy_admit(struct proxy *p, int fd, const char *peer)
{
    admit(p, (struct arrival){.fd = fd}, peer);
}

/* --- the policy in force --- */

/* Takes over the reference. */
static void put_in_force(struct proxy *p, struct policy *policy)
{
    policy_unref(p->policy);
    p->policy = policy;
    for (unsigned i = 0; i < p->workers; i++) {
        if (p->desks[i].thread) {
            send_message(&p->desks[i], set_policy, (struct message){.policy = policy_ref(policy)});
        } else {
            worker_set_policy(&p->desks[i].worker, policy_ref(policy));
        }
    }
}

void proxy_set_ready(struct proxy *p, const char *session_secret, bool guarded)
{
    put_in_force(p, policy_ready(p->policy, session_secret, guarded));
}

void proxy_set_not_ready(struct proxy *p, const char *reason)
{
    put_in_force(p, policy_not_ready(p->policy, reason));
}

int proxy_set_policy(struct proxy *p, const struct policy_options *options, struct err *err)
{
    struct policy *policy;
    if (policy_with_options(p->policy, options, &policy, err) < 0) {
        return -1;
    }
    put_in_force(p, policy);
    return 0;
}

/* --- start --- */

static int start_desk(struct proxy *p, unsigned i, struct err *err)
{
    struct desk *d = &p->desks[i];
    struct loop *loop = p->loop;
    if (i > 0) {
        char name[16]; /* as long as the kernel allows */
        snprintf(name, sizeof name, "worker %u", i % PROXY_MAX_WORKERS);
        if (loop_thread_new(name, &d->thread, err) < 0) {
            return -1;
        }
        loop = loop_thread_loop(d->thread);
    }
    d->worker.loop = loop;
    d->worker.ctx = p;
    d->worker.elsewhere = &p->elsewhere;
    d->worker.next = &p->desks[(i + 1) % p->workers].worker;
    return 0;
}

static void init_on_thread(void *ctx)
{
    struct message *m = ctx;
    worker_init(m->worker, m->policy);
    free(m);
}

/* The threads run before any worker does: all of the ring is there when the first client comes. */
static int start_desks(struct proxy *p, unsigned n, struct err *err)
{
    p->desks = mem_zalloc(n * sizeof *p->desks);
    p->workers = n;
    for (unsigned i = 0; i < n; i++) {
        if (start_desk(p, i, err) < 0) {
            p->workers = i;
            return -1;
        }
    }
    worker_init(&p->desks[0].worker, policy_ref(p->policy));
    for (unsigned i = 1; i < n; i++) {
        send_message(&p->desks[i], init_on_thread, (struct message){.policy = policy_ref(p->policy)});
    }
    return 0;
}

int proxy_new(struct loop *loop, const struct proxy_options *options, struct proxy **out_proxy,
              struct err *err)
{
    struct proxy *p = mem_zalloc(sizeof *p);
    p->loop = loop;
    p->proxy_protocol = options->proxy_protocol;
    p->elsewhere = (struct elsewhere){loop, options->cancel_elsewhere, options->cancel_ctx};
    if (policy_new(&options->policy, "the migrations proxy is starting up", &p->policy, err) < 0 ||
        start_desks(p, options->workers, err) < 0 ||
        listener_new(loop, &options->listen, on_accept, p, &p->listener, err) < 0) {
        proxy_free(p);
        return -1;
    }
    p->port = listener_port(p->listener);
    *out_proxy = p;
    return 0;
}

uint16_t proxy_port(const struct proxy *p)
{
    return p->port;
}

/* --- numbers --- */

static void add_worker(const struct worker_stats *w, struct proxy_stats *out)
{
    uint64_t opened = counter_get(&w->sessions_opened);
    out->sessions_total += opened;
    out->sessions += opened - counter_get(&w->sessions_closed);
    out->logins_refused += counter_get(&w->logins_refused);
    out->logins_failed += counter_get(&w->logins_failed);
    out->login_ms += counter_get(&w->login_ms);
    out->cancels += counter_get(&w->cancels);
    out->timeouts += counter_get(&w->timeouts);
    out->bytes_from_clients += counter_get(&w->bytes_from_clients);
    out->bytes_from_server += counter_get(&w->bytes_from_server);
    out->messages_from_clients += counter_get(&w->sessions.messages_from_clients);
    out->messages_from_server += counter_get(&w->sessions.messages_from_server);
    out->statements_inspected += counter_get(&w->sessions.statements_inspected);
    out->ddlx_statements += counter_get(&w->sessions.ddlx_statements);
    out->migrations_recorded += counter_get(&w->sessions.migrations_recorded);
    out->migrations_refused += counter_get(&w->sessions.migrations_refused);
    out->history_faults += counter_get(&w->sessions.history_faults);
}

void proxy_read_stats(const struct proxy *p, struct proxy_stats *out)
{
    *out = (struct proxy_stats){.workers = p->workers,
                                .connections = connections(p),
                                .connections_total = p->last_id,
                                .connections_dropped = p->dropped};
    for (unsigned i = 0; i < p->workers; i++) {
        add_worker(&p->desks[i].worker.stats, out);
    }
}

/* --- the end --- */

static void worker_is_drained(void *ctx)
{
    struct proxy *p = ctx;
    if (--p->undrained == 0) {
        p->drained(p->drained_ctx);
    }
}

static void on_worker_drained(struct worker *w)
{
    struct proxy *p = w->ctx;
    loop_post(p->loop, worker_is_drained, p);
}

static void close_listener(struct proxy *p)
{
    if (p->listener) {
        listener_accept_waiting(p->listener);
        listener_free(p->listener);
        p->listener = NULL;
    }
}

void proxy_drain(struct proxy *p, void (*drained)(void *ctx), void *ctx)
{
    p->drained = drained;
    p->drained_ctx = ctx;
    p->undrained = p->workers;
    close_listener(p);
    for (unsigned i = 0; i < p->workers; i++) {
        p->desks[i].worker.on_drained = on_worker_drained;
        loop_post(p->desks[i].worker.loop, drain, &p->desks[i].worker);
    }
}

void proxy_cut(struct proxy *p)
{
    for (unsigned i = 0; i < p->workers; i++) {
        loop_post(p->desks[i].worker.loop, cut, &p->desks[i].worker);
    }
}

/* First every thread stops, then their loops are freed: what is still on its way between them finds them all.
 */
static void stop_desks(struct proxy *p)
{
    for (unsigned i = 0; i < p->workers; i++) {
        struct desk *d = &p->desks[i];
        if (d->thread) {
            loop_post(d->worker.loop, deinit, &d->worker);
            loop_thread_stop(d->thread);
        } else if (d->worker.policy) {
            worker_deinit(&d->worker);
        }
    }
    for (unsigned i = 0; i < p->workers; i++) {
        loop_thread_free(p->desks[i].thread);
    }
}

void proxy_free(struct proxy *p)
{
    if (!p) {
        return;
    }
    close_listener(p);
    stop_desks(p);
    loop_post_forget(p->loop, p); /* that a worker is drained */
    policy_unref(p->policy);
    free(p->desks);
    free(p);
}
