/* SPDX-License-Identifier: Apache-2.0 */
/* A client's start-up packet and password messages: first byte chooses the method, the rest is what it sends.
 */
#include "proxy/gate.h"

#include "base/limits.h"

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
                                 .password = STR("secret"),
                                 .verifier = &verifier,
                                 .refused = refused};
    struct gate g;
    struct buf out = BUF_INIT(LIMIT_HELD_FRAME);
    struct str in = {(const char *)data + 1, size - 1};
    gate_init(&g, &policy);
    for (;;) {
        size_t used;
        enum gate_outcome outcome = gate_feed(&g, in, &used, &out, &err);
        in = (struct str){in.p + used, in.n - used};
        if (outcome != GATE_MORE || used == 0) {
            break;
        }
    }
    gate_deinit(&g);
    buf_deinit(&out);
    return 0;
}
