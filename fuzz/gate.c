/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's start-up packets and password messages. The first byte chooses the method, what is asked of TLS,
 * and what a handshake brings; the rest is what the client sends, before the handshake and after it.
 */
#include "proxy/gate.h"

#include "base/limits.h"

enum { REQUEST = 8 }; /* length of an SSLRequest */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool refused(void *ctx, enum proxy_error *out_error, const char **out_what)
{
    (void)ctx;
    (void)out_error;
    (void)out_what;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t salt[SCRAM_SALT_SIZE] = {1};
    static struct scram_verifier verifier;
    struct err err;
    if (size == 0 ||
        (verifier.iterations == 0 && scram_verifier_init(&verifier, STR("secret"), salt, 2, &err) < 0)) {
        return 0;
    }
    struct gate_policy policy = {.method = data[0] & 1 ? GATE_MD5 : GATE_SCRAM,
                                 .tls = (enum gate_tls)(data[0] >> 1 & 3),
                                 .password = STR("secret"),
                                 .verifier = &verifier,
                                 .refused = refused};
    struct gate_channel channel = {
        .alpn = data[0] >> 3 & 1, .client_cert = data[0] >> 4 & 1, .binding_n = data[0] >> 5 & 1 ? 32 : 0};
    struct gate g;
    struct buf out = BUF_INIT(LIMIT_HELD_FRAME);
    struct str in = {(const char *)data + 1, size - 1};
    gate_init(&g, &policy);
    size_t arrived = data[0] >> 6 & 1 ? REQUEST : in.n; /* a request alone, or all at once */
    for (;;) {
        size_t used;
        struct str seen = {in.p, arrived < in.n ? arrived : in.n};
        enum gate_outcome outcome = gate_feed(&g, seen, &used, &out, &err);
        if (outcome == GATE_MORE && used == 0 && seen.n < in.n) {
            arrived = in.n;
            continue;
        }
        if (outcome == GATE_TLS) {
            used = used ? used : 1; /* direct TLS: some first byte of it */
            outcome = gate_secured(&g, &channel, &err);
        }
        in = (struct str){in.p + used, in.n - used};
        if (outcome != GATE_MORE || used == 0) {
            break;
        }
    }
    gate_deinit(&g);
    buf_deinit(&out);
    return 0;
}
