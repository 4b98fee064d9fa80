/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Framing of the PostgreSQL protocol, version 3 ("Message Formats" in its documentation). Pure.
 *
 * After start-up every message is: type byte, int32 length (counts itself, not the type), body.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum { FRAME_HEAD = 5 };

struct frame_head {
    char type;
    size_t total; /* of the whole message, head included; at least FRAME_HEAD */
};

enum frame_outcome { FRAME_NEED_MORE, FRAME_FOUND };

/* Looks at the head of the message at p. -1: a length below 4 or above LIMIT_FRAME. */
MUST_USE int frame_peek(const char *p, size_t n, struct frame_head *out_head, struct err *err);

/* Bytes of the whole messages at p that are of the first one's type, and how many these are. 0: the first is
 * not all there, or malformed. */
size_t frame_run(const char *p, size_t n, size_t *out_count);

/* The body of a message that is wholly at p. */
static inline struct str frame_body(const char *p, struct frame_head head)
{
    return (struct str){p + FRAME_HEAD, head.total - FRAME_HEAD};
}
