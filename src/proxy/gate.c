/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/gate.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/rd.h"
#include "proxy/errors.h"
#include "wire/frame.h"
#include "wire/md5.h"
#include "wire/message.h"

#include <assert.h>
#include <openssl/rand.h>

enum { TLS_HANDSHAKE = 0x16 }; /* content type of a TLS record: PostgreSQL, ProcessSSLStartup() */
enum { AUTH_MD5 = 5, AUTH_SASL = 10, AUTH_SASL_CONTINUE = 11, AUTH_SASL_FINAL = 12 };

void gate_init(struct gate *g, const struct gate_policy *policy)
{
    *g = (struct gate){.policy = policy, .state = GATE_STARTUP, .arena = ARENA_INIT};
    scram_exchange_init(&g->scram, policy->verifier);
}

void gate_deinit(struct gate *g)
{
    if (g) {
        scram_exchange_deinit(&g->scram);
        arena_deinit(&g->arena);
    }
}

bool gate_is_fresh(const struct gate *g)
{
    return g->state == GATE_STARTUP && !g->asked_ssl && !g->asked_gss && !g->secured;
}

static enum gate_outcome refuse_problem(struct gate *g, struct buf *out, struct err *log,
                                        const struct problem *problem)
{
    g->state = GATE_DONE;
    put_error(out, problem);
    err_set_sqlstate(log, ERR_PEER, problem->sqlstate, "%.*s%s%.*s", STR_ARG(problem->message),
                     problem->detail.n ? ": " : "", STR_ARG(problem->detail));
    return GATE_CLOSED;
}

static enum gate_outcome refuse_what(struct gate *g, struct buf *out, struct err *log, enum proxy_error e,
                                     const char *what)
{
    struct proxy_error_text text;
    struct problem problem = proxy_fatal(e, what, &text);
    return refuse_problem(g, out, log, &problem);
}

static enum gate_outcome refuse(struct gate *g, struct buf *out, struct err *log, enum proxy_error e)
{
    return refuse_what(g, out, log, e, NULL);
}

/* What is wrong with a SASL message the exchange itself says. */
static enum gate_outcome refuse_sasl(struct gate *g, struct buf *out, struct err *log, const struct err *err)
{
    struct problem problem = {.severity = "FATAL",
                              .sqlstate = err->sqlstate,
                              .message = str_c(err->msg),
                              .detail = str_c(g->scram.detail)};
    return refuse_problem(g, out, log, &problem);
}

/* Refused without a word: whoever is there does not speak our protocol yet. */
static enum gate_outcome close_silently(struct gate *g, struct err *log, enum proxy_error e)
{
    CLEANUP(buf_deinit) struct buf unsent = BUF_INIT(LIMIT_HELD_FRAME);
    return refuse(g, &unsent, log, e);
}

static enum gate_outcome wrong_password(struct gate *g, struct buf *out, struct err *log)
{
    return refuse_what(g, out, log, PROXY_WRONG_PASSWORD,
                       g->startup.user.p); /* a NUL follows it in the packet */
}

static enum gate_outcome ask_password(struct gate *g, struct buf *out, struct err *log)
{
    if (g->policy->method == GATE_MD5) {
        if (RAND_bytes(g->md5_salt, sizeof g->md5_salt) != 1) {
            return refuse(g, out, log, PROXY_NO_RANDOM);
        }
        put_authentication(out, AUTH_MD5, (struct str){(const char *)g->md5_salt, sizeof g->md5_salt});
        g->state = GATE_WAIT_MD5;
        return GATE_MORE;
    }
    /* lists that end with an empty name; the first of the client's liking is taken */
    static const char plain[] = SCRAM_MECHANISM "\0",
                      bound[] = SCRAM_MECHANISM_PLUS "\0" SCRAM_MECHANISM "\0";
    put_authentication(out, AUTH_SASL,
                       g->scram.binding.n > 0 ? (struct str){bound, sizeof bound}
                                              : (struct str){plain, sizeof plain});
    g->state = GATE_WAIT_SASL;
    return GATE_MORE;
}

static enum gate_outcome on_session(struct gate *g, struct buf *out, struct err *log)
{
    const struct startup *su = &g->startup;
    if (su->major != 3) {
        return refuse_what(g, out, log, PROXY_BAD_PROTOCOL,
                           arena_printf(&g->arena, "%u.%u", su->major, su->minor));
    }
    if (su->user.n == 0) {
        return refuse(g, out, log, PROXY_NO_USER);
    }
    if (g->policy->tls >= GATE_TLS_REQUIRED && !g->secured) {
        const char *who = arena_printf(&g->arena, "user \"%s\", database \"%s\"", su->user.p, su->database.p);
        return refuse_what(g, out, log, PROXY_TLS_REQUIRED, who);
    }
    if (g->policy->tls == GATE_TLS_CLIENT_CERT && !g->channel.client_cert) {
        return refuse(g, out, log, PROXY_CLIENT_CERT_REQUIRED);
    }
    enum proxy_error error;
    const char *what = NULL;
    if (g->policy->refused(g->policy->ctx, &error, &what)) {
        return refuse_what(g, out, log, error, what);
    }
    if (su->replication) {
        return refuse(g, out, log, PROXY_REPLICATION);
    }
    if (su->minor > 0 || su->unknown_n > 0) {
        put_negotiate_version(out, 0, su->unknown, su->unknown_n);
    }
    return ask_password(g, out, log);
}

/* SSLRequest or GSSENCRequest. Where one was answered already PostgreSQL takes the next for a version. */
static enum gate_outcome on_encryption_request(struct gate *g, bool more, struct buf *out, struct err *log)
{
    bool ssl = g->startup.kind == STARTUP_SSL;
    bool *asked = ssl ? &g->asked_ssl : &g->asked_gss;
    if (*asked) {
        return refuse_what(g, out, log, PROXY_BAD_PROTOCOL, ssl ? "1234.5679" : "1234.5680");
    }
    *asked = true;
    bool begin = ssl && !g->secured && g->policy->tls != GATE_TLS_OFF;
    if (!begin) {
        buf_put_byte(out, 'N');
    }
    if (more) { /* it came before it could have been encrypted (CVE-2021-23214) */
        return refuse_what(g, out, log, PROXY_PLAINTEXT, ssl ? "SSL" : "GSSAPI encryption");
    }
    if (begin) {
        buf_put_byte(out, 'S');
        g->asked_gss = true;
        g->state = GATE_HANDSHAKE;
        return GATE_TLS;
    }
    return GATE_MORE;
}

/* TLS without a request, known by its first byte; no length of a start-up packet begins with it. */
static enum gate_outcome on_direct_tls(struct gate *g, struct err *log)
{
    if (g->policy->tls == GATE_TLS_OFF) {
        return close_silently(g, log, PROXY_NO_TLS);
    }
    g->direct = true;
    g->state = GATE_HANDSHAKE;
    return GATE_TLS;
}

enum gate_outcome gate_secured(struct gate *g, const struct gate_channel *channel, struct err *log)
{
    assert(g->state == GATE_HANDSHAKE);
    /* Without ALPN it may be somebody who takes us for another service. */
    if (g->direct && !channel->alpn) {
        return close_silently(g, log, PROXY_NO_ALPN);
    }
    g->channel = *channel;
    g->scram.binding = (struct str){(const char *)g->channel.binding, g->channel.binding_n};
    g->secured = true;
    g->state = GATE_STARTUP;
    return GATE_MORE;
}

static enum gate_outcome on_startup(struct gate *g, struct str in, size_t *out_used, struct buf *out,
                                    struct err *log)
{
    size_t total;
    if (in.n > 0 && in.p[0] == TLS_HANDSHAKE && !g->asked_ssl && !g->asked_gss && !g->secured) {
        return on_direct_tls(g, log);
    }
    int found = startup_peek(in.p, in.n, &total, log);
    if (found < 0) {
        return refuse(g, out, log, PROXY_BAD_STARTUP_LENGTH);
    }
    if (found == STARTUP_NEED_MORE) {
        return GATE_MORE;
    }
    *out_used = total;
    struct str packet = arena_str(&g->arena, (struct str){in.p, total});
    if (startup_parse(packet, &g->startup, log) < 0) {
        return refuse(g, out, log, PROXY_BAD_STARTUP);
    }
    switch (g->startup.kind) {
    case STARTUP_SSL:
    case STARTUP_GSSENC:
        return on_encryption_request(g, in.n > total, out, log);
    case STARTUP_CANCEL:
        g->state = GATE_DONE;
        return GATE_CANCEL;
    case STARTUP_SESSION:
        break;
    }
    return on_session(g, out, log);
}

static enum gate_outcome passed(struct gate *g)
{
    g->state = GATE_DONE;
    return GATE_PASSED;
}

/* The body ends with a NUL that is not part of the answer. */
static enum gate_outcome on_md5(struct gate *g, struct str body, struct buf *out, struct err *log)
{
    if (body.n == 0 || body.p[body.n - 1] != '\0') {
        return wrong_password(g, out, log);
    }
    body.n--;
    int rc = md5_password_check(g->policy->password, g->startup.user, g->md5_salt, body, log);
    if (rc < 0) {
        return refuse(g, out, log, PROXY_NO_MD5);
    }
    return rc == MD5_OK ? passed(g) : wrong_password(g, out, log);
}

/* SASLInitialResponse: mechanism NUL, int32 length, data. */
static enum gate_outcome on_sasl(struct gate *g, struct str body, struct buf *out, struct err *log)
{
    uint8_t nonce[SCRAM_NONCE_SIZE];
    struct rd r = rd_init(body.p, body.n);
    struct str mechanism = rd_cstr(&r);
    uint32_t length = rd_u32be(&r);
    struct str first = rd_bytes(&r, length);
    if (!rd_done(&r)) {
        return wrong_password(g, out, log); /* some other kind of password message */
    }
    bool plus = g->scram.binding.n > 0 && str_eq(mechanism, STR(SCRAM_MECHANISM_PLUS));
    if (!plus && !str_eq(mechanism, STR(SCRAM_MECHANISM))) {
        return refuse(g, out, log, PROXY_BAD_MECHANISM);
    }
    if (RAND_bytes(nonce, sizeof nonce) != 1) {
        return refuse(g, out, log, PROXY_NO_RANDOM);
    }
    CLEANUP(buf_deinit) struct buf answer = BUF_INIT(LIMIT_PASSWORD_PACKET);
    struct err err;
    if (scram_first(&g->scram, plus, first, nonce, &answer, &err) < 0) {
        return refuse_sasl(g, out, log, &err);
    }
    put_authentication(out, AUTH_SASL_CONTINUE, buf_str(&answer));
    g->state = GATE_WAIT_SASL_FINAL;
    return GATE_MORE;
}

static enum gate_outcome on_sasl_final(struct gate *g, struct str body, struct buf *out, struct err *log)
{
    CLEANUP(buf_deinit) struct buf answer = BUF_INIT(LIMIT_PASSWORD_PACKET);
    struct err err;
    int rc = scram_final(&g->scram, body, &answer, &err);
    if (rc < 0) {
        return refuse_sasl(g, out, log, &err);
    }
    if (rc == SCRAM_DENIED) {
        return wrong_password(g, out, log);
    }
    put_authentication(out, AUTH_SASL_FINAL, buf_str(&answer));
    return passed(g);
}

enum gate_outcome gate_feed(struct gate *g, struct str in, size_t *out_used, struct buf *out, struct err *log)
{
    *out_used = 0;
    assert(g->state != GATE_HANDSHAKE);
    if (g->state == GATE_STARTUP) {
        return on_startup(g, in, out_used, out, log);
    }
    struct frame_head head;
    int found = frame_peek(in.p, in.n, &head, log);
    if (found < 0 || (found == FRAME_FOUND && (head.type != 'p' || head.total > LIMIT_PASSWORD_PACKET))) {
        return found == FRAME_FOUND && head.type == 'X' ? refuse(g, out, log, PROXY_GAVE_UP)
                                                        : refuse(g, out, log, PROXY_EXPECTED_PASSWORD);
    }
    if (found == FRAME_NEED_MORE || in.n < head.total) {
        return GATE_MORE;
    }
    *out_used = head.total;
    struct str body = frame_body(in.p, head);
    switch (g->state) {
    case GATE_WAIT_MD5:
        return on_md5(g, body, out, log);
    case GATE_WAIT_SASL:
        return on_sasl(g, body, out, log);
    case GATE_WAIT_SASL_FINAL:
        return on_sasl_final(g, body, out, log);
    case GATE_STARTUP:
    case GATE_HANDSHAKE:
    case GATE_DONE:
        break;
    }
    return refuse(g, out, log, PROXY_EXPECTED_PASSWORD);
}
