/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648) from text to bytes. */
#pragma once

#include "base/str.h"

enum base64_form {
    BASE64_STANDARD, /* + and /; padding optional, but right when it is there */
    BASE64_URL,      /* - and _, no padding; takes + and / as well: some writers of tokens leave them */
};

/*
 * Whole text, no white space. False when it is malformed; else *out_n bytes are in `out`, which has room for
 * 3 bytes for every 4 characters that were begun.
 */
MUST_USE bool base64_decode(struct str text, enum base64_form form, char *out, size_t *out_n);
