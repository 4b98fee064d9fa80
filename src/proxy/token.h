/* SPDX-License-Identifier: Apache-2.0 */
/* The value of busbar.session by which the guard in the database knows a session of the proxy. */
#pragma once

#include "base/err.h"

enum { TOKEN_NONCE = 32, TOKEN_SIZE = TOKEN_NONCE + 64 };

/* nonce (random, hex) followed by hex(sha256(secret || nonce)), with a NUL. -1: no random numbers. */
MUST_USE int token_make(const char *secret, char out[TOKEN_SIZE + 1], struct err *err);
