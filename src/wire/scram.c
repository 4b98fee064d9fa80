/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SCRAM-SHA-256, server side. Grammar (RFC 5802 section 7, what of it can occur here):
 *
 *   client-first  = gs2-header client-first-bare
 *   gs2-header    = ("n" / "y" / "p=tls-server-end-point") "," ","      "a=…" is an authorization identity
 *   client-bare   = "n=" name "," "r=" client-nonce *("," extension)
 *   server-first  = "r=" client-nonce server-nonce "," "s=" base64(salt) "," "i=" iterations
 *   client-final  = "c=" base64(gs2-header end-point) "," "r=" both-nonces *("," extension) "," "p="
 * base64(proof) server-final  = "v=" base64(server-signature) extension     = ALPHA "=" value unknown ones
 * are ignored; "m=" means mandatory: refused
 *
 *   SaltedPassword = PBKDF2(password, salt, i)    ClientKey = HMAC(SaltedPassword, "Client Key")
 *   StoredKey = H(ClientKey)                      ServerKey = HMAC(SaltedPassword, "Server Key")
 *   AuthMessage = client-bare "," server-first "," client-final without ",p=…"
 *   proof = ClientKey XOR HMAC(StoredKey, AuthMessage)     server-signature = HMAC(ServerKey, AuthMessage)
 *
 * "p" binds: `end-point` is then the hash of the server's certificate as the client saw it, else nothing. "y"
 * says that the client could bind but was not offered to. Where we did offer, somebody in between took the
 * offer away.
 */
#include "wire/scram.h"

#include "base/limits.h"
#include "base/mem.h"

#include <assert.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum {
    PROOF_BASE64 = (SCRAM_KEY_SIZE + 2) / 3 * 4,
    /* AuthMessage: two messages of the client and ours, which repeats the client's nonce. */
    AUTH_MAX = 3 * LIMIT_PASSWORD_PACKET + 256,
    BINDING_MAX = 64, /* the longest hash */
};

#define GS2_BOUND "p=tls-server-end-point,,"

static int malformed(struct err *err, const char *detail)
{
    return err_set_sqlstate(err, ERR_PEER, "08P01", "malformed SCRAM message: %s", detail);
}

/* In PostgreSQL's words (read_client_first_message). */
static int malformed_binding(struct scram_exchange *ex, const char *detail, struct err *err)
{
    ex->detail = detail;
    return err_set_sqlstate(err, ERR_PEER, "08P01", "malformed SCRAM message");
}

static int unsupported(struct err *err, const char *detail)
{
    return err_set_sqlstate(err, ERR_PEER, "0A000", "%s", detail);
}

/* ---- primitives ---- */

static int crypto_failed(struct err *err, const char *what)
{
    return err_set(err, ERR_INTERNAL, "OpenSSL refuses %s", what);
}

static int hmac(const uint8_t key[SCRAM_KEY_SIZE], struct str text, uint8_t out[SCRAM_KEY_SIZE],
                struct err *err)
{
    unsigned int n = 0;
    if (!HMAC(EVP_sha256(), key, SCRAM_KEY_SIZE, (const unsigned char *)text.p, text.n, out, &n)) {
        return crypto_failed(err, "HMAC-SHA-256");
    }
    assert(n == SCRAM_KEY_SIZE);
    return 0;
}

static int sha256(const uint8_t in[SCRAM_KEY_SIZE], uint8_t out[SCRAM_KEY_SIZE], struct err *err)
{
    unsigned int n = 0;
    if (!EVP_Digest(in, SCRAM_KEY_SIZE, out, &n, EVP_sha256(), NULL)) {
        return crypto_failed(err, "SHA-256");
    }
    assert(n == SCRAM_KEY_SIZE);
    return 0;
}

static void put_base64(struct buf *out, const uint8_t *p, size_t n)
{
    unsigned char text[64];
    assert(n <= 45);
    int written = EVP_EncodeBlock(text, p, (int)n);
    buf_put(out, text, (size_t)written);
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/*
 * A proof from base64, strictly: exactly 43 characters and one "=", unused bits zero, no white space.
 * OpenSSL's decoder skips white space and lets unused bits pass, so that one proof would have many forms.
 */
static bool read_proof(struct str text, uint8_t proof[SCRAM_KEY_SIZE])
{
    if (text.n != PROOF_BASE64 || text.p[PROOF_BASE64 - 1] != '=') {
        return false;
    }
    uint32_t bits = 0;
    unsigned int held = 0;
    size_t n = 0;
    for (size_t i = 0; i < PROOF_BASE64 - 1; i++) {
        int value = base64_value(text.p[i]);
        if (value < 0) {
            return false;
        }
        bits = (bits << 6 | (uint32_t)value) & 0xffff;
        held += 6;
        if (held >= 8) {
            held -= 8;
            proof[n++] = (uint8_t)(bits >> held);
        }
    }
    return n == SCRAM_KEY_SIZE && (bits & ((1U << held) - 1)) == 0;
}

/* ---- attributes ---- */

/* Takes "k=value" and the comma after it from *rest; a comma must be followed by something. */
static bool take_attr(struct str *rest, char key, struct str *out_value)
{
    if (rest->n < 2 || rest->p[0] != key || rest->p[1] != '=') {
        return false;
    }
    struct str s = {rest->p + 2, rest->n - 2};
    const char *comma = s.n ? memchr(s.p, ',', s.n) : NULL;
    if (!comma) {
        *out_value = s;
        *rest = (struct str){s.p + s.n, 0};
        return true;
    }
    size_t n = (size_t)(comma - s.p);
    *out_value = (struct str){s.p, n};
    *rest = (struct str){comma + 1, s.n - n - 1};
    return rest->n > 0;
}

/* Any attribute that is not ours: a letter, "=" and a value. */
static bool skip_attr(struct str *rest)
{
    char key = rest->n ? rest->p[0] : '\0';
    struct str value;
    bool letter = (key >= 'a' && key <= 'z') || (key >= 'A' && key <= 'Z');
    return letter && take_attr(rest, key, &value);
}

/* RFC 5802 "printable": visible ASCII without the comma. */
static bool is_nonce(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x21 || s.p[i] > 0x7e || s.p[i] == ',') {
            return false;
        }
    }
    return s.n > 0;
}

static int check_message(struct str message, struct err *err)
{
    if (message.n == 0) {
        return malformed(err, "it is empty");
    }
    if (message.n > LIMIT_PASSWORD_PACKET) {
        return err_set_sqlstate(err, ERR_LIMIT, "08P01", "SCRAM message is longer than %d bytes",
                                LIMIT_PASSWORD_PACKET);
    }
    if (memchr(message.p, '\0', message.n)) {
        return malformed(err, "it contains a zero byte");
    }
    return 0;
}

/* ---- verifier ---- */

static int derive_keys(struct scram_verifier *v, const uint8_t salted[SCRAM_KEY_SIZE], struct err *err)
{
    uint8_t client_key[SCRAM_KEY_SIZE];
    int rc = hmac(salted, STR("Client Key"), client_key, err);
    if (rc == 0) {
        rc = sha256(client_key, v->stored_key, err);
    }
    if (rc == 0) {
        rc = hmac(salted, STR("Server Key"), v->server_key, err);
    }
    mem_wipe(client_key, sizeof client_key);
    return rc;
}

int scram_verifier_init(struct scram_verifier *v, struct str password, const uint8_t salt[SCRAM_SALT_SIZE],
                        uint32_t iterations, struct err *err)
{
    assert(iterations > 0 && iterations <= INT_MAX && password.n <= INT_MAX);
    uint8_t salted[SCRAM_KEY_SIZE];
    *v = (struct scram_verifier){.iterations = iterations};
    memcpy(v->salt, salt, SCRAM_SALT_SIZE);
    /* OpenSSL takes a NULL password for "none", whatever its length. */
    int ok = PKCS5_PBKDF2_HMAC(password.n ? password.p : "", (int)password.n, salt, SCRAM_SALT_SIZE,
                               (int)iterations, EVP_sha256(), SCRAM_KEY_SIZE, salted);
    int rc = ok ? derive_keys(v, salted, err) : crypto_failed(err, "PBKDF2");
    mem_wipe(salted, sizeof salted);
    return rc;
}

void scram_verifier_deinit(struct scram_verifier *v)
{
    if (v) {
        mem_wipe(v, sizeof *v);
    }
}

/* ---- exchange ---- */

void scram_exchange_init(struct scram_exchange *ex, const struct scram_verifier *v)
{
    *ex = (struct scram_exchange){.state = SCRAM_START, .verifier = v, .auth = BUF_INIT(AUTH_MAX)};
}

void scram_exchange_deinit(struct scram_exchange *ex)
{
    if (ex) {
        buf_deinit(&ex->auth);
    }
}

/* Whether the flag fits what was offered and chosen; the words are PostgreSQL's. */
static int check_flag(struct scram_exchange *ex, char flag, struct err *err)
{
    if (flag != 'n' && flag != 'y' && flag != 'p') {
        return malformed(err, "unexpected channel-binding flag");
    }
    if (flag == 'p' && !ex->plus) {
        return malformed_binding(ex,
                                 "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM "
                                 "message includes channel binding data.",
                                 err);
    }
    if (flag != 'p' && ex->plus) {
        return malformed_binding(ex,
                                 "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not "
                                 "include channel binding data.",
                                 err);
    }
    if (flag == 'y' && ex->binding.n > 0) {
        ex->detail =
            "The client supports SCRAM channel binding but thinks the server does not.  However, this "
            "server does support channel binding.";
        return err_set_sqlstate(err, ERR_PEER, "28000", "SCRAM channel binding negotiation error");
    }
    ex->gs2_flag = flag;
    return 0;
}

/* Shows what came as PostgreSQL's sanitize_str() does. */
static int unknown_type(struct str type, struct err *err)
{
    char shown[31] = "";
    for (size_t i = 0; i < type.n && i < sizeof shown - 1; i++) {
        shown[i] = type.p[i] >= 0x21 && type.p[i] <= 0x7e ? type.p[i] : '?';
    }
    return err_set_sqlstate(err, ERR_PEER, "08P01", "unsupported SCRAM channel-binding type \"%s\"", shown);
}

/* Takes "n,", "y," or "p=tls-server-end-point," from *rest. */
static int take_flag(struct scram_exchange *ex, struct str *rest, struct err *err)
{
    struct str type;
    if (check_flag(ex, rest->p[0], err) < 0) {
        return -1;
    }
    if (ex->gs2_flag == 'p') {
        if (!take_attr(rest, 'p', &type)) {
            return malformed(err, "no channel-binding type, or no comma after it");
        }
        return str_eq(type, STR("tls-server-end-point")) ? 0 : unknown_type(type, err);
    }
    if (rest->n < 3 || rest->p[1] != ',') {
        return malformed(err, "no comma after the channel-binding flag");
    }
    *rest = (struct str){rest->p + 2, rest->n - 2};
    return 0;
}

static int take_gs2_header(struct scram_exchange *ex, struct str *rest, struct err *err)
{
    if (take_flag(ex, rest, err) < 0) {
        return -1;
    }
    if (rest->n > 0 && rest->p[0] == 'a') {
        return unsupported(err, "client uses authorization identity, but it is not supported");
    }
    if (rest->n == 0 || rest->p[0] != ',') {
        return malformed(err, "unexpected attribute in the GS2 header");
    }
    *rest = (struct str){rest->p + 1, rest->n - 1};
    return 0;
}

/* The client's nonce out of client-first-bare. */
static int read_client_bare(struct str bare, struct str *out_nonce, struct err *err)
{
    struct str rest = bare;
    struct str name;
    struct str nonce;
    if (str_starts_with(bare, STR("m="))) {
        return unsupported(err, "client requires an unsupported SCRAM extension");
    }
    if (!take_attr(&rest, 'n', &name)) {
        return malformed(err, "no user name where it belongs");
    }
    if (!take_attr(&rest, 'r', &nonce) || !is_nonce(nonce)) {
        return malformed(err, "no printable nonce where it belongs");
    }
    while (rest.n > 0) {
        if (!skip_attr(&rest)) {
            return malformed(err, "bad attribute after the nonce");
        }
    }
    *out_nonce = nonce;
    return 0;
}

/* Appends server-first-message to ex->auth, remembering where the joined nonce is. */
static void put_server_first(struct scram_exchange *ex, struct str client_nonce,
                             const uint8_t nonce[SCRAM_NONCE_SIZE])
{
    buf_put_c(&ex->auth, "r=");
    ex->nonce_at = ex->auth.n;
    buf_put_str(&ex->auth, client_nonce);
    put_base64(&ex->auth, nonce, SCRAM_NONCE_SIZE);
    ex->nonce_n = ex->auth.n - ex->nonce_at;
    buf_put_c(&ex->auth, ",s=");
    put_base64(&ex->auth, ex->verifier->salt, SCRAM_SALT_SIZE);
    buf_printf(&ex->auth, ",i=%u", ex->verifier->iterations);
}

int scram_first(struct scram_exchange *ex, bool plus, struct str client_first,
                const uint8_t nonce[SCRAM_NONCE_SIZE], struct buf *out, struct err *err)
{
    assert(ex->state == SCRAM_START && (!plus || ex->binding.n > 0));
    struct str bare = client_first;
    struct str client_nonce;
    ex->state = SCRAM_DONE; /* a failure ends the exchange */
    ex->plus = plus;
    if (check_message(client_first, err) < 0 || take_gs2_header(ex, &bare, err) < 0 ||
        read_client_bare(bare, &client_nonce, err) < 0) {
        return -1;
    }
    buf_put_str(&ex->auth, bare);
    buf_put_byte(&ex->auth, ',');
    size_t ours = ex->auth.n;
    put_server_first(ex, client_nonce, nonce);
    buf_put(out, ex->auth.p + ours, ex->auth.n - ours);
    ex->state = SCRAM_CHALLENGED;
    return 0;
}

/* What "c=" must be: base64 of the GS2 header, and of the end point when bound. */
static bool binding_fits(const struct scram_exchange *ex, struct str value)
{
    unsigned char plain[sizeof GS2_BOUND + BINDING_MAX];
    unsigned char text[(sizeof plain + 2) / 3 * 4 + 1];
    enum { HEADER = sizeof GS2_BOUND - 1 };
    if (ex->gs2_flag != 'p') {
        return str_eq(value, ex->gs2_flag == 'y' ? STR("eSws") : STR("biws")); /* "y,,", "n,," */
    }
    assert(ex->binding.n <= BINDING_MAX);
    memcpy(plain, GS2_BOUND, HEADER);
    memcpy(plain + HEADER, ex->binding.p, ex->binding.n);
    int n = EVP_EncodeBlock(text, plain, (int)(HEADER + ex->binding.n));
    return str_eq(value, (struct str){(const char *)text, (size_t)n});
}

static int wrong_binding(const struct scram_exchange *ex, struct err *err)
{
    return ex->gs2_flag == 'p'
               ? err_set_sqlstate(err, ERR_PEER, "28000", "SCRAM channel binding check failed")
               : malformed(err, "channel-binding data does not repeat the GS2 header");
}

/* Checks "c=…,r=…,…p=…"; the text without the proof and the proof come out. */
static int read_final(const struct scram_exchange *ex, struct str message, struct str *out_signed,
                      uint8_t proof[SCRAM_KEY_SIZE], struct err *err)
{
    struct str rest = message;
    struct str value;
    struct str nonce = {ex->auth.p + ex->nonce_at, ex->nonce_n};
    if (!take_attr(&rest, 'c', &value)) {
        return malformed(err, "no channel-binding data where it belongs");
    }
    if (!binding_fits(ex, value)) {
        return wrong_binding(ex, err);
    }
    if (!take_attr(&rest, 'r', &value) || !str_eq(value, nonce)) {
        return malformed(err, "nonce does not match");
    }
    while (rest.n > 0 && rest.p[0] != 'p') {
        if (rest.p[0] == 'm') {
            return unsupported(err, "client requires an unsupported SCRAM extension");
        }
        if (!skip_attr(&rest)) {
            return malformed(err, "bad attribute before the proof");
        }
    }
    /* The comma in front of "p=" is not signed. */
    *out_signed = (struct str){message.p, message.n - rest.n - 1};
    if (!take_attr(&rest, 'p', &value) || rest.n > 0 || !read_proof(value, proof)) {
        return malformed(err, "no valid proof at the end");
    }
    return 0;
}

/* ClientKey is the proof XOR HMAC(StoredKey, AuthMessage); it is the right one when it hashes to StoredKey.
 */
static int verify_proof(const struct scram_exchange *ex, const uint8_t proof[SCRAM_KEY_SIZE], struct err *err)
{
    uint8_t key[SCRAM_KEY_SIZE];
    uint8_t hashed[SCRAM_KEY_SIZE];
    if (hmac(ex->verifier->stored_key, buf_str(&ex->auth), key, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < SCRAM_KEY_SIZE; i++) {
        key[i] ^= proof[i];
    }
    int rc = sha256(key, hashed, err);
    if (rc == 0) {
        rc = mem_equal_secret(hashed, ex->verifier->stored_key, SCRAM_KEY_SIZE) ? SCRAM_OK : SCRAM_DENIED;
    }
    mem_wipe(key, sizeof key);
    mem_wipe(hashed, sizeof hashed);
    return rc;
}

int scram_final(struct scram_exchange *ex, struct str client_final, struct buf *out, struct err *err)
{
    assert(ex->state == SCRAM_CHALLENGED);
    uint8_t proof[SCRAM_KEY_SIZE];
    uint8_t signature[SCRAM_KEY_SIZE];
    struct str signed_part;
    ex->state = SCRAM_DONE;
    if (check_message(client_final, err) < 0 || read_final(ex, client_final, &signed_part, proof, err) < 0) {
        return -1;
    }
    buf_put_byte(&ex->auth, ',');
    buf_put_str(&ex->auth, signed_part);
    assert(!ex->auth.overflow);
    int rc = verify_proof(ex, proof, err);
    mem_wipe(proof, sizeof proof);
    if (rc != SCRAM_OK) {
        return rc;
    }
    if (hmac(ex->verifier->server_key, buf_str(&ex->auth), signature, err) < 0) {
        return -1;
    }
    buf_put_c(out, "v=");
    put_base64(out, signature, sizeof signature);
    return SCRAM_OK;
}
