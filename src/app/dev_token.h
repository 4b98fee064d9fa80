/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens for development, made of the configuration that checks them. */
#pragma once

#include "app/config.h"
#include "base/err.h"

/*
 * Makes the token that config->token describes: issuer, audience and namespace as config->auth wants them,
 * the user at the top level too (where the published client looks for it). Appends the token and its claims,
 * a JSON object. `now_ms` is Unix time. -1: a claim is malformed, the key cannot be used (ERR_INPUT,
 * ERR_SYSTEM), or the service would refuse the token.
 */
MUST_USE int dev_token_make(const struct config *config, int64_t now_ms, struct buf *out_token,
                            struct buf *out_claims, struct err *err);
