/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: certificates and keys made on the spot, in a temporary folder. */
#pragma once

#include "base/compiler.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

struct certificate_wish {
    const char *name;              /* common name */
    const struct identity *issuer; /* NULL: self-signed, and an authority */
    long from_s, to_s;             /* validity, relative to now; 0, 0: a day around now */
    const char *key_type;          /* NULL: EC P-256 */
    const EVP_MD *md;              /* NULL: SHA-256; ignored with ED25519 */
};

static inline struct identity identity_new(const struct certificate_wish *w)
{
    enum { DAY = 86400 };
    struct identity id = {.cert = X509_new()};
    bool ed25519 = w->key_type && strcmp(w->key_type, "ED25519") == 0;
    id.key = !w->key_type                      ? EVP_EC_gen("P-256")
             : strcmp(w->key_type, "RSA") == 0 ? EVP_RSA_gen(2048)
                                               : EVP_PKEY_Q_keygen(NULL, NULL, w->key_type);
    X509_NAME *name = X509_get_subject_name(id.cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)w->name, -1, -1, 0);
    X509_set_version(id.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), w->from_s || w->to_s ? w->from_s : -DAY);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), w->from_s || w->to_s ? w->to_s : DAY);
    X509_set_pubkey(id.cert, id.key);
    X509_set_issuer_name(id.cert, w->issuer ? X509_get_subject_name(w->issuer->cert) : name);
    if (!w->issuer) {
        X509_EXTENSION *ca = X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(id.cert, ca, -1);
        X509_EXTENSION_free(ca);
    }
    int size = X509_sign(id.cert, w->issuer ? w->issuer->key : id.key,
                         ed25519 ? NULL
                         : w->md ? w->md
                                 : EVP_sha256());
    assert(size > 0);
    return id;
}

static inline void identity_free(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
}

/* A file of the folder, for its owner alone; its path goes to `out`. */
static inline FILE *fixture_file(const char *folder, const char *name, char out[static 200])
{
    snprintf(out, 200, "%s/%s", folder, name);
    int fd = open(out, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    FILE *f = fdopen(fd, "w");
    assert(f);
    return f;
}

static inline void write_cert(const char *folder, const char *name, const struct identity *id,
                              char out[static 200])
{
    FILE *f = fixture_file(folder, name, out);
    PEM_write_X509(f, id->cert);
    fclose(f);
}

static inline void write_key(const char *folder, const char *name, const struct identity *id,
                             const char *passphrase, char out[static 200])
{
    FILE *f = fixture_file(folder, name, out);
    PEM_write_PrivateKey(f, id->key, passphrase ? EVP_aes_128_cbc() : NULL, (const unsigned char *)passphrase,
                         passphrase ? (int)strlen(passphrase) : 0, NULL, NULL);
    fclose(f);
}

static inline void write_text(const char *folder, const char *name, const char *text, char out[static 200])
{
    FILE *f = fixture_file(folder, name, out);
    fputs(text, f);
    fclose(f);
}
