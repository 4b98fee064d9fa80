/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Positions in the write-ahead log (pg_lsn): bytes since its beginning. 0 is none (InvalidXLogRecPtr).
 *
 * A transaction's position is the end of its commit record: what is confirmed to the server, what clients
 * keep.
 */
#pragma once

#include "base/str.h"

typedef uint64_t lsn_t;

/* For "%X/%X", as PostgreSQL writes it. */
#define LSN_FMT      "%X/%X"
#define LSN_ARG(lsn) (unsigned)((lsn) >> 32), (unsigned)(lsn)

enum { LSN_TEXT = 18 }; /* bytes of the longest text, with NUL */

/* "16/B374D848"; false when it is anything else. */
MUST_USE bool lsn_parse(struct str text, lsn_t *out_lsn);
