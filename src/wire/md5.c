/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the MD5 password answer. User and password come from the start-up packet and the configuration. */
#include "wire/md5.h"

#include "base/mem.h"

#include <openssl/evp.h>

enum { DIGEST_SIZE = 16, HEX_SIZE = 2 * DIGEST_SIZE };

static void put_hex(const uint8_t digest[DIGEST_SIZE], char out[HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        out[2 * i] = digits[digest[i] >> 4];
        out[2 * i + 1] = digits[digest[i] & 15];
    }
}

/* hex(md5(a || b)) */
static int md5_hex(struct str a, struct str b, char out[HEX_SIZE], struct err *err)
{
    uint8_t digest[DIGEST_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    int ok = ctx && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) && EVP_DigestUpdate(ctx, a.p, a.n) &&
             EVP_DigestUpdate(ctx, b.p, b.n) && EVP_DigestFinal_ex(ctx, digest, NULL);
    EVP_MD_CTX_free(ctx);
    if (!ok) {
        return err_set(err, ERR_INTERNAL, "OpenSSL refuses MD5");
    }
    put_hex(digest, out);
    mem_wipe(digest, sizeof digest);
    return 0;
}

int md5_password_digest(struct str password, struct str user, const uint8_t salt[MD5_SALT_SIZE],
                        char out[MD5_ANSWER_SIZE + 1], struct err *err)
{
    char inner[HEX_SIZE];
    char outer[HEX_SIZE];
    struct str salt_text = {(const char *)salt, MD5_SALT_SIZE};
    int rc = md5_hex(password, user, inner, err);
    if (rc == 0) {
        rc = md5_hex((struct str){inner, sizeof inner}, salt_text, outer, err);
    }
    if (rc == 0) {
        memcpy(out, "md5", 3);
        memcpy(out + 3, outer, sizeof outer);
        out[MD5_ANSWER_SIZE] = '\0';
    }
    mem_wipe(inner, sizeof inner);
    mem_wipe(outer, sizeof outer);
    return rc;
}

int md5_password_check(struct str password, struct str user, const uint8_t salt[MD5_SALT_SIZE],
                       struct str answer, struct err *err)
{
    char expected[MD5_ANSWER_SIZE + 1];
    if (md5_password_digest(password, user, salt, expected, err) < 0) {
        return -1;
    }
    bool same = answer.n == MD5_ANSWER_SIZE && mem_equal_secret(answer.p, expected, MD5_ANSWER_SIZE);
    mem_wipe(expected, sizeof expected);
    return same ? MD5_OK : MD5_DENIED;
}
