/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's way in: request for encryption, start-up packet, password. Pure: bytes in, bytes and a verdict
 * out; the TLS handshake in between is the caller's.
 *
 * Any user name is let in with the proxy's password; neither user nor database is used upstream. Every
 * refusal is an ErrorResponse that PostgreSQL might have sent.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "proxy/errors.h"
#include "proxy/policy.h"
#include "wire/startup.h"

struct gate_policy {
    enum gate_method method;
    enum gate_tls tls;
    struct str password; /* for GATE_MD5 */
    const struct scram_verifier *verifier;
    /* True when this client may not come in, and why. Asked at the start-up packet of a session. */
    bool (*refused)(void *ctx, enum proxy_error *out_error, const char **out_what);
    void *ctx;
};

enum { GATE_BINDING_MAX = 64 };

/* What the TLS handshake has shown. */
struct gate_channel {
    bool alpn;                         /* the client offered "postgresql" */
    bool client_cert;                  /* it has a certificate that was verified */
    uint8_t binding[GATE_BINDING_MAX]; /* tls-server-end-point (RFC 5929); 0 bytes: not defined */
    size_t binding_n;
};

struct gate {
    const struct gate_policy *policy;
    enum {
        GATE_STARTUP,
        GATE_HANDSHAKE,
        GATE_WAIT_MD5,
        GATE_WAIT_SASL,
        GATE_WAIT_SASL_FINAL,
        GATE_DONE,
    } state;
    struct arena arena; /* holds what the start-up packet said */
    struct startup startup;
    uint8_t md5_salt[4];
    struct scram_exchange scram;
    struct gate_channel channel;
    bool secured;   /* by TLS */
    bool direct;    /* ... that began without a request */
    bool asked_ssl; /* SSLRequest or GSSENCRequest was answered: at most one of each, none inside TLS */
    bool asked_gss;
};

enum gate_outcome {
    GATE_MORE,   /* feed more */
    GATE_TLS,    /* send *out, begin the handshake with what is left of `in`, then call gate_secured() */
    GATE_CANCEL, /* a CancelRequest: startup.pid, startup.secret */
    GATE_PASSED, /* the client is in: startup says what it wants. AuthenticationOk is not yet sent */
    GATE_CLOSED, /* refused: send *out, then close */
};

void gate_init(struct gate *g, const struct gate_policy *policy);
void gate_deinit(struct gate *g);
/* Nothing has been decided yet: it may be begun anew with another policy. */
bool gate_is_fresh(const struct gate *g);

/*
 * Looks at one packet at most. *out_used: bytes used up (0 with GATE_MORE: the packet is not whole). Answers
 * are appended to *out. log: one line on a refusal, for the log.
 */
MUST_USE enum gate_outcome gate_feed(struct gate *g, struct str in, size_t *out_used, struct buf *out,
                                     struct err *log);
/* The handshake is done: GATE_MORE, or GATE_CLOSED with nothing to send. Nothing that was received before it
 * may be fed any more. */
MUST_USE enum gate_outcome gate_secured(struct gate *g, const struct gate_channel *channel, struct err *log);
