/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side of TLS: certificate, key and rules, made from files and never changed afterwards.
 *
 * Several threads may use one at once. A reload makes a new one; whoever still holds the old one (a running
 * handshake, an open session) keeps it alive. Files are read here and not again.
 *
 * TLS 1.2 and later; no tickets, no session cache, no renegotiation, no compression. ALPN may be left out by
 * the client; when it is used it must offer "postgresql".
 */
#pragma once

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tls_server;
struct ssl_st;

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

struct tls_options {
    const char *cert_file; /* PEM: the server's certificate, then those that lead to a root */
    const char *key_file;  /* PEM, without passphrase, readable by its owner (and root's group) alone */
    const char
        *client_ca_file; /* PEM: who may sign client certificates. NULL: clients are not asked for one */
    enum tls_version min_version;
};

/* Which of the files a failure is about. */
enum tls_file { TLS_FILE_CERT, TLS_FILE_KEY, TLS_FILE_CLIENT_CA };

/*
 * -1: the message names the file and what is wrong with it.
 * out_file: which one it was; may be NULL. The caller owns one reference.
 */
MUST_USE int tls_server_new(const struct tls_options *options, struct tls_server **out,
                            enum tls_file *out_file, struct err *err);
struct tls_server *tls_server_ref(struct tls_server *tls);
void tls_server_unref(struct tls_server *tls); /* takes NULL */

/* What an operator should know although it works (a certificate that has expired, or is not valid yet): one
 * line, "" when there is nothing. As it was when the files were read. */
const char *tls_server_warning(const struct tls_server *tls);

enum { TLS_BINDING_MAX = 64 };

/* What a finished handshake has settled. */
struct tls_facts {
    bool alpn;        /* the client offered "postgresql" */
    bool client_cert; /* the client showed a certificate, and it was verified */
    /* Channel binding data tls-server-end-point (RFC 5929): a hash of our certificate. 0 bytes when none is
     * defined for the way it is signed (Ed25519). */
    uint8_t binding[TLS_BINDING_MAX];
    size_t binding_n;
};

/* Bytes of an established session (libpq's, say) that are decrypted and not read: no event of the socket will
 * tell of them. */
size_t tls_pending(const struct ssl_st *ssl);

/* ---- for net/stream.c ---- */

/*
 * A session on a connected non-blocking socket, which the caller keeps open until after tls_session_free().
 * prefix: bytes that were already read from it (copied). Holds a reference to *tls.
 */
struct ssl_st *tls_session_new(struct tls_server *tls, int fd, const void *prefix, size_t n);
void tls_session_free(struct ssl_st *ssl);

/*
 * Lets the session read from its socket once more: to be called before each call of SSL_accept, SSL_read and
 * SSL_write. One call could else go on for as long as the peer sends what is no data (key updates), and
 * nobody else on the loop had a turn.
 */
void tls_session_turn(struct ssl_st *ssl);

void tls_session_facts(struct ssl_st *ssl, struct tls_facts *out);

/* Why OpenSSL's last call failed, as one phrase; empties its queue of errors. */
const char *tls_reason(char *text, size_t size);
/* The same of a handshake: names what is wrong with the client's certificate. */
void tls_session_reason(struct ssl_st *ssl, struct err *err);
