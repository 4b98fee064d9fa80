/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients of the sync service, many in one process, for measuring it: one epoll for all, one read buffer, and
 * of what comes only so much is decoded as must be counted. Whatever goes wrong ends the program with a text.
 *
 * A client upgrades, authenticates (AUTH_MODE=insecure, a user of its own), starts its stream from the
 * beginning and subscribes, each step when the one before it is answered. It acknowledges at the end of a
 * read, when so many transactions have come.
 */
#pragma once

#include "base/buf.h"
#include "measure.h"

enum satellite_stage {
    SATELLITE_CONNECTED,
    SATELLITE_UPGRADED, /* a plain WebSocket stays there */
    SATELLITE_AUTHENTICATED,
    SATELLITE_STREAMING, /* without a table this is the last one */
    SATELLITE_SYNCED,    /* the subscription's data is there */
};

struct satellite_counts {
    uint64_t bytes;        /* read from the socket, the answer to the upgrade included */
    uint64_t frames;       /* of the op log; of a plain WebSocket all */
    uint64_t transactions; /* whole ones, migrations too; of a plain WebSocket frames */
    uint64_t rows;         /* inserts, updates, deletes, gone */
};

struct satellite {
    struct crowd *crowd;
    unsigned number; /* from 0 */
    int fd;
    enum satellite_stage stage;
    struct satellite_counts counts;
    /* for the library alone */
    uint64_t acked; /* transactions */
    uint64_t txid;
    char lsn[32];
    size_t lsn_n;
    struct buf held; /* a frame that is not whole */
};

struct satellite_options {
    int port;           /* of 127.0.0.1 */
    bool plain;         /* no protocol after the upgrade: whatever comes is counted */
    const char *table;  /* to subscribe to; NULL: nothing */
    const char *where;  /* NULL: all rows; {} in it becomes the client's number */
    unsigned ack_every; /* transactions; 0: 20 of the window's 30 */
    unsigned together;  /* clients that log in at once; 0: 64 */
    int receive_buffer; /* SO_RCVBUF; 0: the system's */
    void (*on_read)(void *ctx, struct satellite *c); /* after each read; may be NULL */
    void *ctx;
};

/* n clients on one epoll. */
struct crowd {
    struct satellite_options options;
    int epoll;
    unsigned n, started, ready; /* ready: at the last stage */
    struct satellite *clients;
    struct satellite_counts all;
    struct buf out;
    char *read_buffer;
    size_t read_cap;
};

/* *options is copied, its texts are not. No connection is made yet. */
struct crowd *crowd_new(unsigned n, const struct satellite_options *options);
/* Connects, and returns when all are at their last stage. */
void crowd_ready(struct crowd *crowd);
/* Waits so long (ms, -1: for ever), and reads once from each that has something. Returns how many had. The
 * file `epoll` can be waited for beside others. */
int crowd_poll(struct crowd *crowd, int timeout_ms);
/* Acknowledges what has come of each client. */
void crowd_ack(struct crowd *crowd);
void crowd_free(struct crowd *crowd);
