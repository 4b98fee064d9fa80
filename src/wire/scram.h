/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677) as PostgreSQL speaks them inside
 * its SASL messages. -PLUS binds the login to the TLS channel: the client signs a hash of the certificate
 * that it sees (tls-server-end-point, RFC 5929), so nobody with another certificate can stand in between.
 *
 * Pure: messages in, messages out; the caller frames them (SASLInitialResponse, AuthenticationSASLContinue,
 * …) and brings the random bytes. One exchange is scram_first(), then scram_final(), each once.
 *
 * Differences from the RFC are PostgreSQL's: the user name inside the messages is ignored (the start-up
 * packet has it), there is no authorization identity, and a wrong proof is answered by an ErrorResponse of
 * the caller, not by "e=". No SASLprep is done: the password is taken byte for byte. Clients do prepare
 * theirs, which changes nothing in ASCII nor in text that is already in NFKC form; any other password cannot
 * log in.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>

#define SCRAM_MECHANISM      "SCRAM-SHA-256"
#define SCRAM_MECHANISM_PLUS "SCRAM-SHA-256-PLUS"

enum {
    SCRAM_SALT_SIZE = 16,
    SCRAM_NONCE_SIZE = 18, /* random bytes; 24 characters in the message */
    SCRAM_KEY_SIZE = 32,
    SCRAM_ITERATIONS = 4096, /* RFC 7677's minimum and PostgreSQL's default */
};

/* What a server remembers of a password. Compute once, share between exchanges. */
struct scram_verifier {
    uint8_t salt[SCRAM_SALT_SIZE];
    uint32_t iterations;
    uint8_t stored_key[SCRAM_KEY_SIZE];
    uint8_t server_key[SCRAM_KEY_SIZE];
};

/* Takes milliseconds: that is its purpose. Fails only when the crypto library does (ERR_INTERNAL). */
MUST_USE int scram_verifier_init(struct scram_verifier *v, struct str password,
                                 const uint8_t salt[SCRAM_SALT_SIZE], uint32_t iterations, struct err *err);
void scram_verifier_deinit(struct scram_verifier *v); /* wipes; takes NULL; may run twice */

enum scram_state { SCRAM_START, SCRAM_CHALLENGED, SCRAM_DONE };

struct scram_exchange {
    enum scram_state state;
    const struct scram_verifier *verifier; /* borrowed until the end of the exchange */
    /* The server's end point, borrowed likewise: not empty when SCRAM_MECHANISM_PLUS was offered. */
    struct str binding;
    bool plus;                /* ... and was chosen */
    char gs2_flag;            /* 'n', 'y' or 'p', to be repeated in the client's last message */
    const char *detail;       /* of a failure, beside its message; NULL when the message says all */
    struct buf auth;          /* AuthMessage: client-first-bare "," server-first … */
    size_t nonce_at, nonce_n; /* the joined nonce in `auth` */
};

void scram_exchange_init(struct scram_exchange *ex, const struct scram_verifier *v);
void scram_exchange_deinit(struct scram_exchange *ex); /* takes NULL; may run twice */

enum scram_outcome { SCRAM_OK = 1, SCRAM_DENIED };

/*
 * client-first-message in, server-first-message appended to *out. plus: the client chose
 * SCRAM_MECHANISM_PLUS, which must have been offered.
 * 0, or -1: not SCRAM (ERR_PEER, SQLSTATE 08P01), a feature that we do not have (0A000), or a client that was
 * kept from the offer of -PLUS (28000). ex->detail may say more.
 */
MUST_USE int scram_first(struct scram_exchange *ex, bool plus, struct str client_first,
                         const uint8_t nonce[SCRAM_NONCE_SIZE], struct buf *out, struct err *err);

/*
 * client-final-message in. SCRAM_OK: the client knows the password, and server-final-message was appended to
 * *out; SCRAM_DENIED: it does not, and nothing was appended; -1: not SCRAM (ERR_PEER, 08P01), or bound to
 * another channel than ours (28000).
 */
MUST_USE int scram_final(struct scram_exchange *ex, struct str client_final, struct buf *out,
                         struct err *err);
