/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line of COPY … TO STDOUT (text format, default delimiter and NULL) as values:
 *
 *   line   field *( TAB field ) [ LF ]
 *   field  "\N" (NULL) | *( byte | "\" ( b f n r t v \ ) )
 *
 * PostgreSQL writes no other escapes (CopyAttributeOutText() in copyto.c).
 */
#pragma once

#include "base/err.h"
#include "repl/txn.h"

/*
 * Decodes in place: the values point into `line`, which is changed, on failure too. out_values has room for
 * n. Fails with ERR_PEER: another number of columns, another escape, a line end inside.
 */
MUST_USE int copy_row_decode(char *line, size_t bytes, struct value *out_values, size_t n, struct err *err);
