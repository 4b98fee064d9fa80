/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret half of a session's cancel key. The other half is the backend's process id, as the server gave
 * it (BackendKeyData). Whoever serves the same database knows a key that another process gave (ADR 12).
 */
#pragma once

#include "base/err.h"

#include <stdint.h>

/* The first 32 bits of HMAC-SHA256(secret, "busbar cancel " and pid in decimal); secret: of busbar.settings.
 * -1: HMAC cannot be had. */
MUST_USE int cancel_key_make(const char *secret, uint32_t pid, uint32_t *out, struct err *err);
