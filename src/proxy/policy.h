/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What decides about a client that wants to come in, as one value that never changes: a reload, or the
 * database coming and going, makes a new one. So a login goes by one policy from its start-up packet on, and
 * workers share it without locks. Counted; the count is atomic, everything else is read only.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"
#include "wire/scram.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tls_server;

enum gate_method { GATE_SCRAM, GATE_MD5 };
enum gate_tls {
    GATE_TLS_OFF,
    GATE_TLS_ALLOWED,     /* for clients that ask for it */
    GATE_TLS_REQUIRED,    /* the others are refused, save for their cancel requests */
    GATE_TLS_CLIENT_CERT, /* and so are those without a certificate */
};

/* What the operator chooses. */
struct policy_options {
    enum gate_method method;
    enum gate_tls tls_mode; /* over TCP; a unix socket goes without */
    struct tls_server *tls; /* NULL with GATE_TLS_OFF alone; each policy holds a reference of its own */
    const char *password;
    const char *url; /* of the database */
    bool require_ssl;
    unsigned max_connections;  /* clients at once */
    uint64_t login_timeout_ms; /* from the connection to the end of the password exchange */
    uint64_t idle_timeout_ms;  /* a session that does nothing outside of a transaction; 0: for ever */
};

struct policy {
    _Atomic unsigned refs;
    struct policy_options options; /* texts are its own */
    struct scram_verifier verifier;
    char *secret;    /* of busbar.settings; proves to the guard that a session is ours. NULL until ready */
    bool guarded;    /* event triggers guard the schema */
    char *not_ready; /* why clients cannot come in, as they are told; NULL when they can */
};

/* Copies options. Not ready, for `reason`. Takes milliseconds (wire/scram.h). */
MUST_USE int policy_new(const struct policy_options *options, const char *reason, struct policy **out,
                        struct err *err);
/* The same with another password, certificate, limits …: readiness is kept. */
MUST_USE int policy_with_options(const struct policy *p, const struct policy_options *options,
                                 struct policy **out, struct err *err);
/* The same, ready: session_secret is copied. */
struct policy *policy_ready(const struct policy *p, const char *session_secret, bool guarded);
/* The same, not ready. */
struct policy *policy_not_ready(const struct policy *p, const char *reason);

/* On any thread. */
struct policy *policy_ref(struct policy *p);
void policy_unref(struct policy *p); /* takes NULL; wipes secrets with the last one */
