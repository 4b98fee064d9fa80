/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket frames of a client (RFC 6455 section 5) from bytes. Pure.
 *
 * Messages come whole, however they were fragmented, or in pieces as they arrive, when their bounds mean
 * nothing; control frames as they are, in between. No extensions.
 */
#pragma once

#include "base/buf.h"

enum ws_event { WS_NEED_MORE, WS_MESSAGE, WS_PING, WS_PONG, WS_CLOSE };

/* Status codes (RFC 6455 section 7.4). */
enum {
    WS_NORMAL = 1000,
    WS_GOING_AWAY = 1001,
    WS_PROTOCOL_ERROR = 1002,
    WS_UNSUPPORTED = 1003,
    WS_NO_STATUS = 1005, /* these two are never on the wire */
    WS_ABNORMAL = 1006,
    WS_TOO_BIG = 1009,
};

enum { WS_CONTROL_MAX = 125, WS_HEAD_MAX = 14 };
enum { WS_PIECES = 0 }; /* in place of the longest message: pieces of any, and nothing is held */

struct ws_reader {
    size_t max; /* bytes of a message; WS_PIECES: pieces */
    struct buf message;
    bool begun;   /* a message's first frame was there, its last not yet */
    bool given;   /* `message` was handed out by the last call */
    bool payload; /* inside a frame: `left` bytes are to come */
    unsigned char head[WS_HEAD_MAX], head_n;
    unsigned char opcode, mask_at;
    bool fin;
    size_t left;
    char control[WS_CONTROL_MAX];
    size_t control_n;
};

/* What an event is about. */
struct ws_content {
    struct str bytes; /* MESSAGE (or a piece of one), PING, PONG: valid until the next call, or until the
                         input changes */
    int code;         /* CLOSE: as sent, or WS_NO_STATUS. Failure: what to close with */
};

void ws_reader_init(struct ws_reader *r, size_t max_message);
void ws_reader_deinit(struct ws_reader *r);

/*
 * Reads from *p up to end, at most to the end of one frame, moves *p, and unmasks in place. Returns an enum
 * ws_event. -1: the peer has broken the protocol (out->code); the reader is of no more use. A text message
 * fails with WS_UNSUPPORTED.
 */
MUST_USE int ws_read(struct ws_reader *r, char **p, char *end, struct ws_content *out);
