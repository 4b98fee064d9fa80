/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/token.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <string.h>

static void put_hex(char *out, const unsigned char *p, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * n] = '\0';
}

int token_make(const char *secret, char out[TOKEN_SIZE + 1], struct err *err)
{
    unsigned char nonce[TOKEN_NONCE / 2], digest[32];
    if (RAND_bytes(nonce, sizeof nonce) != 1) {
        return err_set(err, ERR_INTERNAL, "no random numbers can be had");
    }
    put_hex(out, nonce, sizeof nonce);
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool ok = md && EVP_DigestInit_ex(md, EVP_sha256(), NULL) &&
              EVP_DigestUpdate(md, secret, strlen(secret)) && EVP_DigestUpdate(md, out, TOKEN_NONCE) &&
              EVP_DigestFinal_ex(md, digest, NULL);
    EVP_MD_CTX_free(md);
    if (!ok) {
        return err_set(err, ERR_INTERNAL, "SHA-256 is not available");
    }
    put_hex(out + TOKEN_NONCE, digest, sizeof digest);
    return 0;
}
