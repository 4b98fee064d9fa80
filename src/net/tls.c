/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns what OpenSSL has to know as a server. Invariant: an SSL_CTX is filled by tls_server_new() and only
 * read afterwards, which is what makes it fit for several threads.
 *
 * Sessions read and write through a BIO of our own instead of OpenSSL's for sockets: bytes read before TLS
 * began come first, SIGPIPE is not raised, and one turn reads the socket once.
 */
#include "net/tls.h"

#include "base/compiler.h"
#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

struct tls_server {
    atomic_uint refs;
    SSL_CTX *ctx;
    BIO_METHOD *transport;
    uint8_t binding[TLS_BINDING_MAX];
    size_t binding_n;
    char warning[256];
};

/* What a session's BIO holds. */
struct transport {
    struct tls_server *tls;
    int fd;
    bool may_read;
    char *prefix; /* not yet read by the session; NULL when there is none */
    size_t prefix_n, prefix_at;
};

/* ---- errors ---- */

/* The first error of the queue is the cause, what follows is context. */
const char *tls_reason(char *text, size_t size)
{
    unsigned long code = ERR_peek_error();
    const char *reason = code ? ERR_reason_error_string(code) : "no reason given";
    if (reason) {
        snprintf(text, size, "%s", reason);
    } else {
        snprintf(text, size, "OpenSSL error %lx", code);
    }
    ERR_clear_error();
    return text;
}

static int library_failed(struct err *err, const char *what)
{
    char reason[128];
    return err_set(err, ERR_INTERNAL, "OpenSSL refuses %s: %s", what, tls_reason(reason, sizeof reason));
}

/* ---- files ---- */

static const char *const file_names[] = {
    [TLS_FILE_CERT] = "certificate file",
    [TLS_FILE_KEY] = "private key file",
    [TLS_FILE_CLIENT_CA] = "client CA file",
};

static int unusable(struct err *err, enum tls_file file, const char *path, const char *why)
{
    return err_set(err, ERR_INPUT, "%s \"%s\" %s", file_names[file], path, why);
}

/* PostgreSQL's rule (check_ssl_key_file_permissions): ours, and for us alone; or root's, and for a group. */
static int check_key_access(const struct stat *st, const char *path, struct err *err)
{
    if (st->st_uid != geteuid() && st->st_uid != 0) {
        return unusable(err, TLS_FILE_KEY, path, "must be owned by the user that Busbar runs as, or by root");
    }
    mode_t forbidden = st->st_uid == 0 ? S_IWGRP | S_IXGRP | S_IRWXO : S_IRWXG | S_IRWXO;
    if (st->st_mode & forbidden) {
        return unusable(
            err, TLS_FILE_KEY, path,
            "has group or world access: make it u=rw (0600), or u=rw,g=r (0640) when root owns it");
    }
    return 0;
}

/* Opens a regular file; what is checked is what is read. */
static FILE *open_pem(enum tls_file file, const char *path, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        err_set_errno(err, errno, "cannot read %s \"%s\"", file_names[file], path);
    } else if (!S_ISREG(st.st_mode)) {
        unusable(err, file, path, "is not a regular file");
    } else if (file != TLS_FILE_KEY || check_key_access(&st, path, err) == 0) {
        FILE *stream = fdopen(fd, "r");
        assert(stream);
        return stream;
    }
    if (fd >= 0) {
        close(fd);
    }
    return NULL;
}

/* Whether PEM reading stopped because there was nothing more; anything else is a fault of the text. */
static bool at_end_of_pem(void)
{
    unsigned long code = ERR_peek_last_error();
    bool end = ERR_GET_LIB(code) == ERR_LIB_PEM && ERR_GET_REASON(code) == PEM_R_NO_START_LINE;
    if (end) {
        ERR_clear_error();
    }
    return end;
}

static int bad_pem(struct err *err, enum tls_file file, const char *path, const char *what)
{
    char reason[128];
    /* "unsupported" is what key decoders say when none of them found anything */
    bool empty = ERR_GET_REASON(ERR_peek_error()) == ERR_R_UNSUPPORTED || at_end_of_pem();
    return err_set(err, ERR_INPUT, "%s \"%s\" %s: %s", file_names[file], path, what,
                   empty ? "no such PEM block in it" : tls_reason(reason, sizeof reason));
}

static int read_chain(SSL_CTX *ctx, FILE *f, const char *path, struct err *err)
{
    X509 *leaf = PEM_read_X509_AUX(f, NULL, NULL, NULL);
    bool taken = leaf && SSL_CTX_use_certificate(ctx, leaf) == 1;
    X509_free(leaf);
    if (!taken) {
        return bad_pem(err, TLS_FILE_CERT, path, "holds no usable certificate");
    }
    for (;;) {
        X509 *next = PEM_read_X509(f, NULL, NULL, NULL);
        if (!next) {
            return at_end_of_pem() ? 0 : bad_pem(err, TLS_FILE_CERT, path, "has a damaged certificate chain");
        }
        if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
            X509_free(next);
            return bad_pem(err, TLS_FILE_CERT, path, "has an unusable certificate chain");
        }
    }
}

static int load_certificate(SSL_CTX *ctx, const char *path, struct err *err)
{
    FILE *f = open_pem(TLS_FILE_CERT, path, err);
    if (!f) {
        return -1;
    }
    int rc = read_chain(ctx, f, path, err);
    fclose(f);
    return rc;
}

/* Nobody is there to type a passphrase. */
static int on_passphrase(char *buf, int size, int writing, void *asked)
{
    *(bool *)asked = true;
    return -1;
}

static int load_key(SSL_CTX *ctx, const char *path, const char *cert_path, struct err *err)
{
    bool asked = false;
    FILE *f = open_pem(TLS_FILE_KEY, path, err);
    if (!f) {
        return -1;
    }
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, on_passphrase, &asked);
    fclose(f);
    if (asked) {
        EVP_PKEY_free(key);
        ERR_clear_error();
        return unusable(err, TLS_FILE_KEY, path, "is protected by a passphrase: nobody could enter it");
    }
    if (!key) {
        return bad_pem(err, TLS_FILE_KEY, path, "holds no usable private key");
    }
    bool fits = X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) == 1;
    bool taken = fits && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    EVP_PKEY_free(key);
    if (!fits) {
        ERR_clear_error();
        return err_set(err, ERR_INPUT, "private key file \"%s\" does not belong to the certificate in \"%s\"",
                       path, cert_path);
    }
    return taken ? 0 : bad_pem(err, TLS_FILE_KEY, path, "holds a private key that cannot be used");
}

/* Every certificate of the file is trusted, and its name told to clients, who choose theirs by it. */
static int read_authorities(SSL_CTX *ctx, FILE *f, const char *path, struct err *err)
{
    size_t n = 0;
    for (;;) {
        X509 *ca = PEM_read_X509(f, NULL, NULL, NULL);
        if (!ca && n > 0 && at_end_of_pem()) {
            return 0;
        }
        bool taken = ca && X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), ca) == 1 &&
                     SSL_CTX_add_client_CA(ctx, ca) == 1;
        X509_free(ca);
        if (!taken) {
            return bad_pem(err, TLS_FILE_CLIENT_CA, path, "holds no usable certificate");
        }
        n++;
    }
}

/* A client without a certificate gets through the handshake: the gate tells it what is missing, in words. */
static int load_client_ca(SSL_CTX *ctx, const char *path, struct err *err)
{
    FILE *f = open_pem(TLS_FILE_CLIENT_CA, path, err);
    if (!f) {
        return -1;
    }
    int rc = read_authorities(ctx, f, path, err);
    fclose(f);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, NULL);
    return rc;
}

/* ---- the context ---- */

/* RFC 7301, 3.2: a client that offers protocols without ours is told so and refused. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_n, const unsigned char *in,
                   unsigned int n, void *ctx)
{
    static const unsigned char ours[] = "postgresql";
    enum { OURS = sizeof ours - 1 };
    for (unsigned int at = 0; at < n && in[at] < n - at; at += 1u + in[at]) {
        if (in[at] == OURS && memcmp(in + at + 1, ours, OURS) == 0) {
            *out = in + at + 1;
            *out_n = OURS;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* Forward secrecy and authenticated encryption only; those of TLS 1.3 all are. */
static const char ciphers[] = "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!aPSK";

static int set_rules(SSL_CTX *ctx, enum tls_version min_version, struct err *err)
{
    int version = min_version == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (SSL_CTX_set_min_proto_version(ctx, version) != 1 || SSL_CTX_set_cipher_list(ctx, ciphers) != 1 ||
        SSL_CTX_set_num_tickets(ctx, 0) != 1) {
        return library_failed(err, "the TLS settings");
    }
    /* A peer that closes without a goodbye is at its end: the protocol inside has its own lengths. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    /* An idle session holds no buffers; a busy one asks the kernel once for a record, not twice. */
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    return 0;
}

/* RFC 5929, 4.1, as be_tls_get_certificate_hash() has it: the hash that signed the certificate, SHA-256 in
 * place of MD5 and SHA-1. */
static void set_binding(struct tls_server *tls)
{
    int nid = NID_undef;
    unsigned int n = 0;
    X509 *cert = SSL_CTX_get0_certificate(tls->ctx);
    if (X509_get_signature_info(cert, &nid, NULL, NULL, NULL) == 1 && nid != NID_undef) {
        const EVP_MD *md = nid == NID_md5 || nid == NID_sha1 ? EVP_sha256() : EVP_get_digestbynid(nid);
        static_assert(TLS_BINDING_MAX >= EVP_MAX_MD_SIZE, "any hash fits");
        if (md && X509_digest(cert, md, tls->binding, &n) == 1) {
            tls->binding_n = n;
        }
    }
    ERR_clear_error();
}

static void set_warning(struct tls_server *tls, const char *path)
{
    const X509 *cert = SSL_CTX_get0_certificate(tls->ctx);
    const char *what = NULL;
    char date[32] = "?";
    const ASN1_TIME *limit = NULL;
    struct tm tm;
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        what = "has expired: it was valid until";
        limit = X509_get0_notAfter(cert);
    } else if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        what = "is not valid yet: it will be from";
        limit = X509_get0_notBefore(cert);
    }
    if (what) {
        if (ASN1_TIME_to_tm(limit, &tm) == 1) {
            strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%SZ", &tm);
        }
        snprintf(tls->warning, sizeof tls->warning, "the TLS certificate in \"%.150s\" %s %s", path, what,
                 date);
    }
}

static BIO_METHOD *transport_method_new(void);

static int fill(struct tls_server *tls, const struct tls_options *o, enum tls_file *file, struct err *err)
{
    if (!tls->ctx || !tls->transport) {
        return library_failed(err, "a TLS context");
    }
    *file = TLS_FILE_CERT;
    if (set_rules(tls->ctx, o->min_version, err) < 0 || load_certificate(tls->ctx, o->cert_file, err) < 0) {
        return -1;
    }
    *file = TLS_FILE_KEY;
    if (load_key(tls->ctx, o->key_file, o->cert_file, err) < 0) {
        return -1;
    }
    *file = TLS_FILE_CLIENT_CA;
    if (o->client_ca_file && load_client_ca(tls->ctx, o->client_ca_file, err) < 0) {
        return -1;
    }
    set_binding(tls);
    set_warning(tls, o->cert_file);
    return 0;
}

int tls_server_new(const struct tls_options *options, struct tls_server **out, enum tls_file *out_file,
                   struct err *err)
{
    enum tls_file file = TLS_FILE_CERT;
    struct tls_server *tls = mem_zalloc(sizeof *tls);
    ERR_clear_error();
    atomic_init(&tls->refs, 1);
    tls->ctx = SSL_CTX_new(TLS_server_method());
    tls->transport = transport_method_new();
    int rc = fill(tls, options, out_file ? out_file : &file, err);
    if (rc < 0) {
        tls_server_unref(tls);
        return -1;
    }
    *out = tls;
    return 0;
}

struct tls_server *tls_server_ref(struct tls_server *tls)
{
    atomic_fetch_add_explicit(&tls->refs, 1, memory_order_relaxed);
    return tls;
}

void tls_server_unref(struct tls_server *tls)
{
    if (!tls || atomic_fetch_sub_explicit(&tls->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    SSL_CTX_free(tls->ctx);
    BIO_meth_free(tls->transport);
    free(tls);
}

const char *tls_server_warning(const struct tls_server *tls)
{
    return tls->warning;
}

/* ---- the transport ---- */

static int read_prefix(struct transport *t, char *p, size_t n)
{
    size_t left = t->prefix_n - t->prefix_at;
    n = n < left ? n : left;
    memcpy(p, t->prefix + t->prefix_at, n);
    t->prefix_at += n;
    if (t->prefix_at == t->prefix_n) {
        free(t->prefix);
        t->prefix = NULL;
    }
    return (int)n;
}

static int transport_read(BIO *bio, char *p, int n)
{
    struct transport *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (t->prefix) {
        return read_prefix(t, p, (size_t)n);
    }
    if (!t->may_read) {
        BIO_set_retry_read(bio);
        return -1;
    }
    ssize_t got = recv(t->fd, p, (size_t)n, 0);
    t->may_read = false;
    if (got == 0) {
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    } else if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_read(bio);
    }
    return (int)got;
}

static int transport_write(BIO *bio, const char *p, int n)
{
    struct transport *t = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t sent = send(t->fd, p, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        BIO_set_retry_write(bio);
    }
    return (int)sent;
}

static long transport_ctrl(BIO *bio, int command, long number, void *p)
{
    switch (command) {
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    case BIO_CTRL_FLUSH:
        return 1;
    default:
        return 0;
    }
}

/* One for each context and not a global; of no type that anything looks for. */
static BIO_METHOD *transport_method_new(void)
{
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "busbar");
    if (m) {
        BIO_meth_set_read(m, transport_read);
        BIO_meth_set_write(m, transport_write);
        BIO_meth_set_ctrl(m, transport_ctrl);
    }
    return m;
}

/* ---- sessions ---- */

static struct transport *transport_of(SSL *ssl)
{
    return BIO_get_data(SSL_get_rbio(ssl));
}

struct ssl_st *tls_session_new(struct tls_server *tls, int fd, const void *prefix, size_t n)
{
    struct transport *t = mem_zalloc(sizeof *t);
    SSL *ssl = SSL_new(tls->ctx);
    BIO *bio = BIO_new(tls->transport);
    assert(ssl && bio); /* fails for want of memory alone */
    t->tls = tls_server_ref(tls);
    t->fd = fd;
    if (n > 0) {
        t->prefix = mem_alloc(n);
        t->prefix_n = n;
        memcpy(t->prefix, prefix, n);
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    return ssl;
}

/* The method must outlive the BIO, hence the order. */
void tls_session_free(struct ssl_st *ssl)
{
    struct transport *t = transport_of(ssl);
    SSL_free(ssl);
    tls_server_unref(t->tls);
    free(t->prefix);
    free(t);
}

void tls_session_turn(struct ssl_st *ssl)
{
    transport_of(ssl)->may_read = true;
}

void tls_session_facts(struct ssl_st *ssl, struct tls_facts *out)
{
    const struct tls_server *tls = transport_of(ssl)->tls;
    const unsigned char *protocol;
    unsigned int protocol_n;
    SSL_get0_alpn_selected(ssl, &protocol, &protocol_n);
    *out = (struct tls_facts){.alpn = protocol_n > 0,
                              .client_cert =
                                  SSL_get0_peer_certificate(ssl) && SSL_get_verify_result(ssl) == X509_V_OK,
                              .binding_n = tls->binding_n};
    memcpy(out->binding, tls->binding, tls->binding_n);
}

void tls_session_reason(struct ssl_st *ssl, struct err *err)
{
    char reason[128];
    long verdict = SSL_get_verify_result(ssl);
    tls_reason(reason, sizeof reason);
    if (verdict != X509_V_OK) {
        err_set(err, ERR_PEER, "the client's certificate: %s", X509_verify_cert_error_string(verdict));
    } else {
        err_set(err, ERR_PEER, "%s", reason);
    }
}

size_t tls_pending(const struct ssl_st *ssl)
{
    return (size_t)SSL_pending(ssl);
}
