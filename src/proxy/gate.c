/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/gate.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/rd.h"
#include "proxy/errors.h"
#include "wire/frame.h"
#include "wire/md5.h"
#include "wire/message.h"

#include <openssl/rand.h>

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
    return g->state == GATE_STARTUP && !g->refused_encryption && !g->refused_gss;
}

static enum gate_outcome refuse_problem(struct gate *g, struct buf *out, struct err *log,
                                        const struct problem *problem)
{
    g->state = GATE_DONE;
    put_error(out, problem);
    err_set_sqlstate(log, ERR_PEER, problem->sqlstate, "%.*s", STR_ARG(problem->message));
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
    struct problem problem = {.severity = "FATAL", .sqlstate = err->sqlstate, .message = str_c(err->msg)};
    return refuse_problem(g, out, log, &problem);
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
    static const char mechanisms[] = SCRAM_MECHANISM "\0"; /* a list that ends with an empty name */
    put_authentication(out, AUTH_SASL, (struct str){mechanisms, sizeof mechanisms});
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

static enum gate_outcome on_startup(struct gate *g, struct str in, size_t *out_used, struct buf *out,
                                    struct err *log)
{
    size_t total;
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
    bool *refused = g->startup.kind == STARTUP_SSL ? &g->refused_encryption : &g->refused_gss;
    switch (g->startup.kind) {
    case STARTUP_SSL:
    case STARTUP_GSSENC:
        if (*refused) {
            return refuse(g, out, log, PROXY_ENCRYPTION_TWICE);
        }
        *refused = true;
        buf_put_byte(out, 'N');
        if (in.n > total) { /* it came before it could have been encrypted */
            return refuse(g, out, log, PROXY_PLAINTEXT);
        }
        return GATE_MORE;
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
    if (!str_eq(mechanism, STR(SCRAM_MECHANISM))) {
        return refuse(g, out, log, PROXY_BAD_MECHANISM);
    }
    if (RAND_bytes(nonce, sizeof nonce) != 1) {
        return refuse(g, out, log, PROXY_NO_RANDOM);
    }
    CLEANUP(buf_deinit) struct buf answer = BUF_INIT(LIMIT_PASSWORD_PACKET);
    struct err err;
    if (scram_first(&g->scram, first, nonce, &answer, &err) < 0) {
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
    case GATE_DONE:
        break;
    }
    return refuse(g, out, log, PROXY_EXPECTED_PASSWORD);
}
