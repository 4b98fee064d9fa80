/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/cancel_key.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

int cancel_key_make(const char *secret, uint32_t pid, uint32_t *out, struct err *err)
{
    char text[32];
    unsigned char mac[EVP_MAX_MD_SIZE];
    int n = snprintf(text, sizeof text, "busbar cancel %u", pid);
    if (!HMAC(EVP_sha256(), secret, (int)strlen(secret), (const unsigned char *)text, (size_t)n, mac, NULL)) {
        return err_set(err, ERR_INTERNAL, "HMAC-SHA-256 is not available");
    }
    *out = (uint32_t)mac[0] << 24 | (uint32_t)mac[1] << 16 | (uint32_t)mac[2] << 8 | mac[3];
    return 0;
}
