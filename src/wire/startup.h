/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first packets of a client: SSLRequest, GSSENCRequest, CancelRequest, StartupMessage. Pure.
 * They have no type byte: int32 length (counts itself), int32 code, body. ("Start-up", "Message Formats")
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { STARTUP_PARAMETERS = 64 };

enum startup_kind { STARTUP_SSL, STARTUP_GSSENC, STARTUP_CANCEL, STARTUP_SESSION };

struct startup_parameter {
    struct str name;
    struct str value;
};

struct startup {
    enum startup_kind kind;
    uint32_t pid, secret;                                    /* STARTUP_CANCEL */
    uint16_t major, minor;                                   /* STARTUP_SESSION: protocol version */
    struct str user;                                         /* "" when the client gave none */
    struct str database;                                     /* user when the client gave none */
    struct startup_parameter parameters[STARTUP_PARAMETERS]; /* all others, in order, borrowed */
    size_t n;
    struct str unknown[STARTUP_PARAMETERS]; /* names of protocol options ("_pq_.…"): none is known */
    size_t unknown_n;
    bool replication; /* the client wants a replication connection */
};

enum startup_outcome { STARTUP_NEED_MORE, STARTUP_FOUND };

/* Length of the first packet at p. -1: shorter than 8 or above LIMIT_STARTUP_PACKET. */
MUST_USE int startup_peek(const char *p, size_t n, size_t *out_total, struct err *err);
/* Parses a whole packet (head included); borrows from it. */
MUST_USE int startup_parse(struct str packet, struct startup *out, struct err *err);
