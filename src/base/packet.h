/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message that is encoded once and sent to many: bytes that do not change any more, counted, with room in
 * front for what a transport puts before them. Belongs to one thread.
 */
#pragma once

#include "base/buf.h"

enum {
    PACKET_ROOM = 10, /* bytes before the content: a WebSocket frame's longest head, as a server sends it */
    PACKET_COPIED =
        4096, /* content up to this is copied out of the buffer; else the buffer's memory is taken */
};

struct packet {
    unsigned refs;
    unsigned char head; /* bytes of the room that the transport has filled, at its end; 0: not yet */
    size_t n;           /* bytes of content */
    char *bytes;        /* the room, then the content */
};

/* Empties the buffer and leaves the room; the content is appended by the caller. */
void packet_begin(struct buf *b);
/* The buffer is empty and usable afterwards. NULL when it overflowed. The caller has the one reference. */
struct packet *packet_end(struct buf *b);
/* Of a copy. */
struct packet *packet_new(const void *content, size_t n);
struct packet *packet_ref(struct packet *p);
void packet_unref(struct packet *p); /* takes NULL */
struct str packet_content(const struct packet *p);
