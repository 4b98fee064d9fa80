/* SPDX-License-Identifier: Apache-2.0 */
/* From the connection to the password: PROXY header, TLS, and the gate on the network. */
#include "proxy/conn_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/stream.h"
#include "net/tls.h"
#include "wire/proxy_header.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

void conn_gate_drop(struct conn *c)
{
    struct entrance *e = take_ptr(&c->entrance);
    if (e) {
        gate_deinit(&e->gate);
        buf_deinit(&e->in);
        policy_unref(e->policy);
        free(e);
    }
}

/* False while the header is not all there, or when there is none. */
static bool read_proxy_header(struct conn *c)
{
    struct arrival *arrival = &c->entrance->arrival;
    struct proxy_header header;
    struct err err;
    int found = proxy_header_parse(c->entrance->in.p, c->entrance->in.n, &header, &err);
    if (found < 0) {
        log_info(c->prefix, "closed: %s", err.msg); /* who does not speak it would not understand us either */
        counter_add(&c->worker->stats.logins_refused, 1);
        conn_close(c);
        return false;
    }
    if (found == PROXY_HEADER_NEED_MORE) {
        return false;
    }
    if (*header.peer) {
        snprintf(arrival->peer, sizeof arrival->peer, "%s", header.peer);
        conn_print_prefix(c);
    }
    buf_consume(&c->entrance->in, header.total);
    arrival->header_due = false;
    return true;
}

static bool is_refused(void *ctx, enum proxy_error *out_error, const char **out_what)
{
    const struct conn *c = ctx;
    if (c->worker->draining) {
        *out_error = PROXY_SHUTDOWN;
    } else if (c->entrance->policy->not_ready) {
        *out_error = PROXY_NOT_READY;
        *out_what = c->entrance->policy->not_ready;
    } else if (c->entrance->arrival.too_many) {
        *out_error = PROXY_TOO_MANY_CLIENTS;
    } else {
        return false;
    }
    return true;
}

/* By the policy in force from now on. */
static void begin_gate(struct conn *c)
{
    struct entrance *e = c->entrance;
    const struct policy *p = e->policy = policy_ref(c->worker->policy);
    e->gate_policy = (struct gate_policy){.method = p->options.method,
                                          .tls = e->arrival.local ? GATE_TLS_OFF : p->options.tls_mode,
                                          .password = str_c(p->options.password),
                                          .verifier = &p->verifier,
                                          .refused = is_refused,
                                          .ctx = c};
    gate_init(&e->gate, &e->gate_policy);
}

/* Who connected before the service was ready, or before a reload, and says only now who he is, goes by what
 * is in force now. */
static void take_current_policy(struct conn *c)
{
    if (c->entrance->policy != c->worker->policy) {
        policy_unref(c->entrance->policy);
        gate_deinit(&c->entrance->gate);
        begin_gate(c);
    }
}

void conn_gate_refused(struct conn *c, const char *why)
{
    counter_add(&c->worker->stats.logins_refused, 1);
    log_info(c->prefix, "refused: %s", why);
    conn_close(c);
}

/* What the gate has left of the input is the beginning of the client's handshake. */
static void start_tls(struct conn *c)
{
    stream_start_tls(c->client, c->entrance->policy->options.tls, c->entrance->in.p, c->entrance->in.n);
    buf_reset(&c->entrance->in);
}

void conn_gate_secured(struct conn *c)
{
    struct tls_facts facts;
    struct err log = ERR_INIT;
    if (c->state != CONN_GATE) {
        return; /* it was ended in the meantime */
    }
    stream_tls_facts(c->client, &facts);
    struct gate_channel channel = {
        .alpn = facts.alpn, .client_cert = facts.client_cert, .binding_n = facts.binding_n};
    static_assert(sizeof channel.binding == sizeof facts.binding, "one limit for both");
    memcpy(channel.binding, facts.binding, facts.binding_n);
    if (gate_secured(&c->entrance->gate, &channel, &log) == GATE_CLOSED) {
        conn_gate_refused(c, log.msg);
    }
}

static void gate_step(struct conn *c)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(LIMIT_HELD_FRAME);
    struct err log = ERR_INIT;
    enum gate_outcome outcome = GATE_MORE;
    size_t used = 1;
    if (gate_is_fresh(&c->entrance->gate)) {
        take_current_policy(c);
    }
    while (outcome == GATE_MORE && used > 0) {
        outcome = gate_feed(&c->entrance->gate, buf_str(&c->entrance->in), &used, &out, &log);
        buf_consume(&c->entrance->in, used);
    }
    stream_write(c->client, out.p, out.n);
    stream_flush(c->client);
    if (c->state != CONN_GATE) {
        return; /* the flush found the client gone */
    }
    conn_print_prefix(c);
    switch (outcome) {
    case GATE_MORE:
        break;
    case GATE_TLS:
        start_tls(c);
        break;
    case GATE_CANCEL:
        stream_pause(c->client);
        c->cancelling =
            worker_cancel(c->worker, c, c->entrance->gate.startup.pid, c->entrance->gate.startup.secret);
        break;
    case GATE_PASSED:
        conn_start_login(c);
        break;
    case GATE_CLOSED:
        conn_gate_refused(c, log.msg);
        break;
    }
}

void conn_gate_data(struct conn *c, const char *p, size_t n)
{
    buf_put(&c->entrance->in, p, n);
    if (c->entrance->in.overflow) {
        conn_refuse(c, PROXY_EARLY_INPUT);
        return;
    }
    if (!c->entrance->arrival.header_due || read_proxy_header(c)) {
        gate_step(c);
    }
}

void conn_gate_open(struct conn *c, const struct arrival *arrival)
{
    c->entrance = mem_zalloc(sizeof *c->entrance);
    c->entrance->arrival = *arrival;
    buf_init(&c->entrance->in, 2 * LIMIT_READ + LIMIT_STARTUP_PACKET);
    begin_gate(c);
}
