/* SPDX-License-Identifier: Apache-2.0 */
/* Folder-private: how deep the tree of a text may become, known before it is parsed. */
#pragma once

#include "base/compiler.h"

#include <stddef.h>

enum { DEPTH_MAX = 2000 };

enum depth {
    DEPTH_FINE,
    DEPTH_EXCEEDED,
    DEPTH_UNKNOWN, /* the lexer refuses the text, and so will the parser */
};

/*
 * Whether the tree of `sql` may be `limit` (at most DEPTH_MAX) or more levels deep. It is asked first because
 * the parser's output functions and protobuf-c recurse without a limit.
 */
MUST_USE enum depth depth_check(const char *sql, size_t limit);
