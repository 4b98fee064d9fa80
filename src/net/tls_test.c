/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of files that cannot be used, and what is made of those that can. */
#include "net/tls.h"

#include "net/tls_fixture.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>

#include <openssl/ssl.h>

#include <cmocka.h>

struct fixture {
    char folder[64];
    struct identity ca, server, other;
    char cert[200], key[200], ca_file[200], path[200];
    struct tls_server *tls;
    enum tls_file file;
    struct err err;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/busbar-tls-XXXXXX");
    if (!mkdtemp(f->folder)) {
        return -1;
    }
    f->ca = identity_new(&(struct certificate_wish){.name = "authority"});
    f->server = identity_new(&(struct certificate_wish){.name = "server", .issuer = &f->ca});
    f->other = identity_new(&(struct certificate_wish){.name = "other"});
    write_cert(f->folder, "server.crt", &f->server, f->cert);
    write_key(f->folder, "server.key", &f->server, NULL, f->key);
    write_cert(f->folder, "ca.crt", &f->ca, f->ca_file);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    static const char *const names[] = {"server.crt", "server.key", "ca.crt", "x", "y"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(f->path, sizeof f->path, "%s/%s", f->folder, names[i]);
        unlink(f->path);
    }
    rmdir(f->folder);
    tls_server_unref(f->tls);
    identity_free(&f->ca);
    identity_free(&f->server);
    identity_free(&f->other);
    free(f);
    return 0;
}

static int load(struct fixture *f, const char *cert, const char *key, const char *ca)
{
    struct tls_options options = {.cert_file = cert, .key_file = key, .client_ca_file = ca};
    tls_server_unref(f->tls);
    f->tls = NULL;
    return tls_server_new(&options, &f->tls, &f->file, &f->err);
}

static void expect_fault(struct fixture *f, int rc, enum tls_file file, const char *path, const char *part)
{
    assert_int_equal(rc, -1);
    assert_int_equal(f->file, file);
    if (!strstr(f->err.msg, path) || !strstr(f->err.msg, part)) {
        fail_msg("\"%s\" does not name %s and \"%s\"", f->err.msg, path, part);
    }
    assert_null(strchr(f->err.msg, '\n'));
}

static void good_files_are_taken(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(load(f, f->cert, f->key, NULL), 0);
    assert_string_equal(tls_server_warning(f->tls), "");
    assert_int_equal(load(f, f->cert, f->key, f->ca_file), 0);
}

static void a_missing_file_is_named(void **state)
{
    struct fixture *f = *state;
    expect_fault(f, load(f, "/nowhere.crt", f->key, NULL), TLS_FILE_CERT, "/nowhere.crt", "No such file");
    expect_fault(f, load(f, f->cert, "/nowhere.key", NULL), TLS_FILE_KEY, "/nowhere.key", "No such file");
    expect_fault(f, load(f, f->cert, f->key, "/no.ca"), TLS_FILE_CLIENT_CA, "/no.ca", "No such file");
}

static void only_regular_files_are_read(void **state)
{
    struct fixture *f = *state;
    snprintf(f->path, sizeof f->path, "%s/x", f->folder);
    assert_int_equal(mkfifo(f->path, 0600), 0); /* reading it would wait for ever */
    expect_fault(f, load(f, f->path, f->key, NULL), TLS_FILE_CERT, f->path, "not a regular file");
    expect_fault(f, load(f, f->cert, f->path, NULL), TLS_FILE_KEY, f->path, "not a regular file");
    expect_fault(f, load(f, f->cert, f->key, f->folder), TLS_FILE_CLIENT_CA, f->folder, "not a regular file");
}

static void a_file_that_may_not_be_read_is_named(void **state)
{
    struct fixture *f = *state;
    if (geteuid() == 0) {
        skip(); /* root may read everything */
    }
    chmod(f->key, 0);
    expect_fault(f, load(f, f->cert, f->key, NULL), TLS_FILE_KEY, f->key, "Permission denied");
}

/* As PostgreSQL: 0600 or less; 0640 or less when root owns it. */
static void a_key_that_others_may_read_is_refused(void **state)
{
    struct fixture *f = *state;
    static const mode_t open_to_all[] = {0644, 0604, 0660, 0620, 0610, 0601, 0602};
    for (size_t i = 0; i < ARRAY_LEN(open_to_all); i++) {
        chmod(f->key, open_to_all[i]);
        expect_fault(f, load(f, f->cert, f->key, NULL), TLS_FILE_KEY, f->key, "group or world access");
    }
    chmod(f->key, 0400);
    assert_int_equal(load(f, f->cert, f->key, NULL), 0);
    chmod(f->key, 0640);
    if (geteuid() == 0) {
        assert_int_equal(load(f, f->cert, f->key, NULL), 0);
        assert_int_equal(chown(f->key, 12345, 0), 0);
        chmod(f->key, 0600);
        expect_fault(f, load(f, f->cert, f->key, NULL), TLS_FILE_KEY, f->key, "must be owned by");
    } else {
        expect_fault(f, load(f, f->cert, f->key, NULL), TLS_FILE_KEY, f->key, "group or world access");
    }
}

static void a_key_of_another_certificate_is_refused(void **state)
{
    struct fixture *f = *state;
    write_key(f->folder, "x", &f->other, NULL, f->path);
    expect_fault(f, load(f, f->cert, f->path, NULL), TLS_FILE_KEY, f->path,
                 "does not belong to the certificate");
    assert_non_null(strstr(f->err.msg, f->cert));
}

static void a_key_with_a_passphrase_is_refused(void **state)
{
    struct fixture *f = *state;
    write_key(f->folder, "x", &f->server, "open sesame", f->path);
    expect_fault(f, load(f, f->cert, f->path, NULL), TLS_FILE_KEY, f->path, "passphrase");
}

static void files_of_other_things_are_refused(void **state)
{
    static const char damaged[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    struct fixture *f = *state;
    write_text(f->folder, "x", "", f->path);
    expect_fault(f, load(f, f->path, f->key, NULL), TLS_FILE_CERT, f->path, "no such PEM block");
    expect_fault(f, load(f, f->cert, f->path, NULL), TLS_FILE_KEY, f->path, "no such PEM block");
    expect_fault(f, load(f, f->cert, f->key, f->path), TLS_FILE_CLIENT_CA, f->path, "no such PEM block");
    write_text(f->folder, "x", damaged, f->path);
    expect_fault(f, load(f, f->path, f->key, NULL), TLS_FILE_CERT, f->path, "no usable certificate");
    expect_fault(f, load(f, f->cert, f->key, f->path), TLS_FILE_CLIENT_CA, f->path, "no usable certificate");
    expect_fault(f, load(f, f->key, f->key, NULL), TLS_FILE_CERT, f->key, "no such PEM block");
    expect_fault(f, load(f, f->cert, f->cert, NULL), TLS_FILE_KEY, f->cert, "no such PEM block");
}

static void a_chain_is_read_whole(void **state)
{
    struct fixture *f = *state;
    FILE *file = fixture_file(f->folder, "x", f->path);
    PEM_write_X509(file, f->server.cert);
    PEM_write_X509(file, f->ca.cert);
    fclose(file);
    assert_int_equal(load(f, f->path, f->key, NULL), 0);
    file = fopen(f->path, "a");
    fputs("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", file);
    fclose(file);
    expect_fault(f, load(f, f->path, f->key, NULL), TLS_FILE_CERT, f->path, "damaged certificate chain");
}

static void dates_are_warned_of(void **state)
{
    struct fixture *f = *state;
    struct identity old =
        identity_new(&(struct certificate_wish){.name = "old", .from_s = -1000, .to_s = -10});
    struct identity new =
        identity_new(&(struct certificate_wish){.name = "new", .from_s = 1000, .to_s = 2000});
    char key[200];
    write_cert(f->folder, "x", &old, f->path);
    write_key(f->folder, "y", &old, NULL, key);
    assert_int_equal(load(f, f->path, key, NULL), 0);
    assert_non_null(strstr(tls_server_warning(f->tls), "has expired"));
    assert_non_null(strstr(tls_server_warning(f->tls), f->path));
    write_cert(f->folder, "x", &new, f->path);
    write_key(f->folder, "y", &new, NULL, key);
    assert_int_equal(load(f, f->path, key, NULL), 0);
    assert_non_null(strstr(tls_server_warning(f->tls), "not valid yet"));
    identity_free(&old);
    identity_free(&new);
}

/* ---- handshakes, both ends in one thread on a socket pair ---- */

struct pair {
    int fd[2];
    SSL_CTX *client_ctx;
    SSL *client, *server;
};

static void pair_open(struct pair *p, struct tls_server *tls)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fd), 0);
    p->server = tls_session_new(tls, p->fd[0], NULL, 0);
    p->client_ctx = SSL_CTX_new(TLS_client_method());
    p->client = NULL;
}

static bool shake(struct pair *p)
{
    int server = 0, client = 0;
    if (!p->client) {
        p->client = SSL_new(p->client_ctx);
        SSL_set_fd(p->client, p->fd[1]);
    }
    for (int i = 0; i < 100 && (server != 1 || client != 1); i++) {
        client = SSL_connect(p->client);
        tls_session_turn(p->server);
        server = SSL_accept(p->server);
        if (server < 0 && SSL_get_error(p->server, server) != SSL_ERROR_WANT_READ) {
            return false;
        }
    }
    return server == 1 && client == 1;
}

static void pair_close(struct pair *p)
{
    SSL_free(p->client);
    SSL_CTX_free(p->client_ctx);
    tls_session_free(p->server);
    close(p->fd[0]);
    close(p->fd[1]);
}

static void alpn_is_optional_but_ours(void **state)
{
    static const struct {
        const char *offer;
        bool good, agreed;
    } table[] = {{NULL, true, false},
                 {"\12postgresql", true, true},
                 {"\2h2\12postgresql", true, true},
                 {"\2h2", false, false},
                 {"\11postgresq", false, false}};
    struct fixture *f = *state;
    assert_int_equal(load(f, f->cert, f->key, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct pair p;
        struct tls_facts facts;
        pair_open(&p, f->tls);
        if (table[i].offer) {
            SSL_CTX_set_alpn_protos(p.client_ctx, (const unsigned char *)table[i].offer,
                                    (unsigned int)strlen(table[i].offer));
        }
        assert_int_equal(shake(&p), table[i].good);
        if (table[i].good) {
            tls_session_facts(p.server, &facts);
            assert_int_equal(facts.alpn, table[i].agreed);
        }
        pair_close(&p);
    }
}

static void old_protocols_are_refused(void **state)
{
    struct fixture *f = *state;
    struct pair p;
    struct tls_options options = {.cert_file = f->cert, .key_file = f->key, .min_version = TLS_VERSION_1_3};
    assert_int_equal(load(f, f->cert, f->key, NULL), 0);
    pair_open(&p, f->tls);
    SSL_CTX_set_security_level(p.client_ctx, 0);
    SSL_CTX_set_max_proto_version(p.client_ctx, TLS1_1_VERSION);
    assert_false(shake(&p));
    pair_close(&p);
    pair_open(&p, f->tls);
    SSL_CTX_set_max_proto_version(p.client_ctx, TLS1_2_VERSION);
    assert_true(shake(&p));
    pair_close(&p);
    tls_server_unref(f->tls);
    assert_int_equal(tls_server_new(&options, &f->tls, NULL, &f->err), 0);
    pair_open(&p, f->tls);
    SSL_CTX_set_max_proto_version(p.client_ctx, TLS1_2_VERSION);
    assert_false(shake(&p));
    pair_close(&p);
}

static bool with_client_cert(struct fixture *f, const struct identity *id, struct tls_facts *facts)
{
    struct pair p;
    pair_open(&p, f->tls);
    if (id) {
        SSL_CTX_use_certificate(p.client_ctx, id->cert);
        SSL_CTX_use_PrivateKey(p.client_ctx, id->key);
    }
    bool good = shake(&p);
    if (good) {
        tls_session_facts(p.server, facts);
    } else {
        tls_session_reason(p.server, &f->err);
    }
    pair_close(&p);
    return good;
}

static void client_certificates_are_verified_when_shown(void **state)
{
    struct fixture *f = *state;
    struct tls_facts facts;
    struct identity client = identity_new(&(struct certificate_wish){.name = "me", .issuer = &f->ca});
    struct identity old = identity_new(
        &(struct certificate_wish){.name = "me", .issuer = &f->ca, .from_s = -1000, .to_s = -10});
    assert_int_equal(load(f, f->cert, f->key, f->ca_file), 0);
    assert_true(with_client_cert(f, NULL, &facts));
    assert_false(facts.client_cert);
    assert_true(with_client_cert(f, &client, &facts));
    assert_true(facts.client_cert);
    assert_false(with_client_cert(f, &f->other, &facts));
    assert_non_null(strstr(f->err.msg, "the client's certificate: self-signed certificate"));
    assert_false(with_client_cert(f, &old, &facts));
    assert_non_null(strstr(f->err.msg, "the client's certificate: certificate has expired"));
    assert_int_equal(load(f, f->cert, f->key, NULL), 0); /* not asked for: not looked at */
    assert_true(with_client_cert(f, &f->other, &facts));
    assert_false(facts.client_cert);
    identity_free(&client);
    identity_free(&old);
}

static void the_binding_is_the_hash_that_signed_the_certificate(void **state)
{
    static const struct {
        const char *key_type, *md, *binding;
    } table[] = {{NULL, "SHA256", "SHA256"}, {NULL, "SHA384", "SHA384"}, {"RSA", "SHA512", "SHA512"},
                 {"RSA", "SHA1", "SHA256"},  {"RSA", "MD5", "SHA256"},   {NULL, "SHA1", "SHA256"},
                 {"ED25519", "SHA256", NULL}};
    struct fixture *f = *state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct certificate_wish wish = {
            .name = "server", .key_type = table[i].key_type, .md = EVP_get_digestbyname(table[i].md)};
        struct identity id = identity_new(&wish);
        struct pair p;
        struct tls_facts facts;
        unsigned char expected[EVP_MAX_MD_SIZE];
        unsigned int n = 0;
        char key[200];
        write_cert(f->folder, "x", &id, f->path);
        write_key(f->folder, "y", &id, NULL, key);
        if (load(f, f->path, key, NULL) < 0) { /* this machine's OpenSSL may not take such a certificate */
            assert_non_null(strstr(f->err.msg, "md too weak"));
            identity_free(&id);
            continue;
        }
        pair_open(&p, f->tls);
        assert_true(shake(&p));
        tls_session_facts(p.server, &facts);
        if (table[i].binding) {
            X509_digest(id.cert, EVP_get_digestbyname(table[i].binding), expected, &n);
        }
        assert_int_equal(facts.binding_n, n);
        assert_memory_equal(facts.binding, expected, n);
        pair_close(&p);
        identity_free(&id);
    }
}

/* ---- threads ---- */

static void *use_it(void *ctx)
{
    struct tls_server *tls = ctx;
    for (int i = 0; i < 20; i++) {
        struct pair p;
        pair_open(&p, tls);
        bool good = shake(&p);
        pair_close(&p);
        if (!good) {
            tls_server_unref(tls);
            return NULL;
        }
    }
    tls_server_unref(tls);
    return ctx;
}

/* The last user frees it; which one that is, is left to chance (and to the sanitizer). */
static void several_threads_use_one_and_outlive_its_maker(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[4];
    assert_int_equal(load(f, f->cert, f->key, NULL), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_create(&threads[i], NULL, use_it, tls_server_ref(f->tls));
    }
    tls_server_unref(f->tls);
    f->tls = NULL;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *result;
        pthread_join(threads[i], &result);
        assert_non_null(result);
    }
}

static void a_session_keeps_its_server(void **state)
{
    struct fixture *f = *state;
    struct pair p;
    assert_int_equal(load(f, f->cert, f->key, NULL), 0);
    pair_open(&p, f->tls);
    tls_server_unref(f->tls);
    f->tls = NULL;
    assert_true(shake(&p));
    pair_close(&p);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(good_files_are_taken),
        TEST(a_missing_file_is_named),
        TEST(only_regular_files_are_read),
        TEST(a_file_that_may_not_be_read_is_named),
        TEST(a_key_that_others_may_read_is_refused),
        TEST(a_key_of_another_certificate_is_refused),
        TEST(a_key_with_a_passphrase_is_refused),
        TEST(files_of_other_things_are_refused),
        TEST(a_chain_is_read_whole),
        TEST(dates_are_warned_of),
        TEST(alpn_is_optional_but_ours),
        TEST(old_protocols_are_refused),
        TEST(client_certificates_are_verified_when_shown),
        TEST(the_binding_is_the_hash_that_signed_the_certificate),
        TEST(several_threads_use_one_and_outlive_its_maker),
        TEST(a_session_keeps_its_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
