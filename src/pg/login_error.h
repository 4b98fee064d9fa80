/* SPDX-License-Identifier: Apache-2.0 */
/* libpq's text for a failed connection, taken apart. Pure. */
#pragma once

#include "pg/login.h"

/*
 * text: PQerrorMessage() with PQERRORS_VERBOSE. Several attempts (hosts, with and without TLS) leave several
 * errors in it: the server's own words win over libpq's, and a refusal by pg_hba.conf loses to any other,
 * because the attempt that follows a refused password without TLS usually meets it. fallback: SQLSTATE when
 * the server has given none.
 */
void login_error_parse(const char *text, const char *fallback, struct login_error *out_error);
