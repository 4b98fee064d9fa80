/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect: the WebSocket subprotocol is the version of the client, "electric.<major>.<minor>". Pure.
 */
#pragma once

#include "base/str.h"

enum { SUBPROTOCOL_TEXT = 200 };

/*
 * Returns 101 and the offer that is taken, or an HTTP status and a text for people. not_ready: why nobody can
 * be served now, or NULL.
 */
MUST_USE int subprotocol_check(const struct str *offers, size_t n, const char *not_ready,
                               struct str *out_offer, char out_text[SUBPROTOCOL_TEXT]);
