/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of a WebSocket on the loop (RFC 6455), after the handshake (net/http.h). Binary messages;
 * no extensions.
 *
 * Reading: on_message gets whole messages; while paused nothing is read and the kernel holds the peer back.
 * Writing: packets are queued, and at the end of the loop's turn all of them leave in as few system calls as
 * the kernel allows. Nothing is copied: a packet that goes to many sockets has its frame's head put in front
 * once. The queue has no limit of its own: its owner looks at websocket_unsent().
 *
 * Heartbeat: a peer that has not been heard for a tick is pinged, and closed (WEBSOCKET_SILENT) when it is
 * still silent at the next. Any byte counts, and so does taking what was sent.
 */
#pragma once

#include "base/packet.h"
#include "net/loop.h"

struct websocket;

enum {
    WEBSOCKET_TICK_MS = 20000,
    WEBSOCKET_CLOSE_MS = 5000, /* from websocket_close() to the end, whatever the peer does */
    WEBSOCKET_SILENT = 4001,   /* our own code; its reason is "Client not responding to pings" */
    WEBSOCKET_REASON = 123,    /* bytes of a reason; more are cut off */
};

/* close_ms and tick_ms are the ones above when 0; text_refusal is required. */
struct websocket_options {
    size_t max_message; /* bytes; a longer one closes with 1009. 0: on_message gets pieces as they arrive */
    const char
        *text_refusal; /* reason of the close (1003) that answers a text message; outlives the websocket */
    unsigned tick_ms, close_ms;
};

struct websocket_events {
    void (*on_message)(void *ctx, struct str message); /* borrowed until it returns or frees */
    void (*on_drained)(void *ctx);                     /* all that was queued is with the kernel */
    /* The connection is over; nothing else comes. code: the peer's, or ours if we began, or 1006 when there
     * was none. Never from inside a function of this header. */
    void (*on_closed)(void *ctx, int code);
};

/* Takes over fd, connected and non-blocking. *events outlives the websocket. Reads at once. */
struct websocket *websocket_new(struct loop *loop, int fd, const struct websocket_options *options,
                                const struct websocket_events *events, void *ctx);
/* Drops what is unsent; no callback comes afterwards. Takes NULL. */
void websocket_free(struct websocket *ws);

/* Takes a reference of its own. Nothing happens once the connection is closing. */
void websocket_send(struct websocket *ws, struct packet *p);
size_t websocket_unsent(const struct websocket *ws); /* bytes that the kernel has not taken */

void websocket_pause(struct websocket *ws);
void websocket_resume(struct websocket *ws);

/* What is queued goes out, then the close frame; messages that still come are dropped. */
void websocket_close(struct websocket *ws, int code, const char *reason);
/* Ends at once, at the end of this turn: on_closed(1006). */
void websocket_abort(struct websocket *ws);
