/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/policy.h"

#include "base/mem.h"
#include "net/tls.h"

#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text)
{
    return text ? mem_strdup(text) : NULL;
}

static void wipe(const char *text)
{
    if (text) {
        mem_wipe((void *)(uintptr_t)text, strlen(text));
    }
    free((void *)(uintptr_t)text);
}

static struct policy *with_texts(const struct policy_options *options, const char *secret,
                                 const char *not_ready)
{
    struct policy *p = mem_zalloc(sizeof *p);
    atomic_init(&p->refs, 1);
    p->options = *options;
    p->options.password = copy(options->password);
    p->options.url = copy(options->url);
    p->options.tls = options->tls ? tls_server_ref(options->tls) : NULL;
    p->secret = copy(secret);
    p->not_ready = copy(not_ready);
    return p;
}

static int make_verifier(struct policy *p, struct err *err)
{
    uint8_t salt[SCRAM_SALT_SIZE];
    if (RAND_bytes(salt, sizeof salt) != 1) {
        return err_set(err, ERR_INTERNAL, "no random numbers can be had");
    }
    return scram_verifier_init(&p->verifier, str_c(p->options.password), salt, SCRAM_ITERATIONS, err);
}

static int finish(struct policy *p, struct policy **out, struct err *err)
{
    if (make_verifier(p, err) < 0) {
        policy_unref(p);
        return -1;
    }
    *out = p;
    return 0;
}

int policy_new(const struct policy_options *options, const char *reason, struct policy **out, struct err *err)
{
    return finish(with_texts(options, NULL, reason), out, err);
}

int policy_with_options(const struct policy *p, const struct policy_options *options, struct policy **out,
                        struct err *err)
{
    struct policy *made = with_texts(options, p->secret, p->not_ready);
    made->guarded = p->guarded;
    return finish(made, out, err);
}

static struct policy *with_state(const struct policy *p, const char *secret, const char *not_ready)
{
    struct policy *made = with_texts(&p->options, secret, not_ready);
    made->verifier = p->verifier;
    made->guarded = p->guarded;
    return made;
}

struct policy *policy_ready(const struct policy *p, const char *session_secret, bool guarded)
{
    struct policy *made = with_state(p, session_secret, NULL);
    made->guarded = guarded;
    return made;
}

struct policy *policy_not_ready(const struct policy *p, const char *reason)
{
    return with_state(p, p->secret, reason);
}

struct policy *policy_ref(struct policy *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void policy_unref(struct policy *p)
{
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1) {
        return;
    }
    wipe(p->options.password);
    wipe(p->options.url);
    tls_server_unref(p->options.tls);
    wipe(p->secret);
    free(p->not_ready);
    scram_verifier_deinit(&p->verifier);
    free(p);
}
