/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile client in the SCRAM exchange. Input: client-first-message, a zero byte, client-final-message; in
 * front of them, when TLS is there, "T" (it chose SCRAM-SHA-256) or "P" (it chose SCRAM-SHA-256-PLUS). Salt,
 * nonce and certificate are fixed, so that an input can be a successful login (the corpus has some).
 */
#include "wire/scram.h"

#include "base/limits.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t counting[SCRAM_NONCE_SIZE] = {0, 1,  2,  3,  4,  5,  6,  7,  8,
                                                   9, 10, 11, 12, 13, 14, 15, 16, 17};

static const struct scram_verifier *verifier(void)
{
    static struct scram_verifier v;
    if (v.iterations == 0) {
        struct err err = ERR_INIT;
        int rc = scram_verifier_init(&v, STR("proxy_password"), counting, SCRAM_ITERATIONS, &err);
        assert(rc == 0);
    }
    return &v;
}

static void check_failure(const struct err *err)
{
    assert(err->kind == ERR_PEER || err->kind == ERR_LIMIT);
    assert(strlen(err->sqlstate) == 5 && err->msg[0] != '\0');
}

static void last_step(struct scram_exchange *ex, struct str client_final)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(2 * LIMIT_PASSWORD_PACKET);
    int rc = scram_final(ex, client_final, &out, &err);
    assert((rc == SCRAM_OK) == (out.n > 0));
    assert(ex->state == SCRAM_DONE);
    if (rc < 0) {
        check_failure(&err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size};
    bool plus = size > 0 && data[0] == 'P';
    bool tls = plus || (size > 0 && data[0] == 'T');
    rest = (struct str){rest.p + tls, rest.n - tls};
    struct str client_first = str_cut(&rest, '\0');
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(2 * LIMIT_PASSWORD_PACKET);
    CLEANUP(scram_exchange_deinit) struct scram_exchange ex;
    scram_exchange_init(&ex, verifier());
    ex.binding = tls ? STR("\0end point of thirty-two bytes \xff") : STR("");
    if (scram_first(&ex, plus, client_first, counting, &out, &err) < 0) {
        check_failure(&err);
        assert(out.n == 0);
        return 0;
    }
    assert(!out.overflow && !ex.auth.overflow);
    last_step(&ex, rest);
    return 0;
}
