/* SPDX-License-Identifier: Apache-2.0 */
/* Every bound on what a peer can make us hold, in one place. Bytes unless the name says otherwise. */
#pragma once

enum {
    LIMIT_STARTUP_PACKET = 10000, /* PostgreSQL's MAX_STARTUP_PACKET_LENGTH */
    LIMIT_PROXY_HEADER = 4096,    /* PROXY protocol: addresses and whatever a load balancer adds */
    LIMIT_PASSWORD_PACKET = 4096, /* password and SASL messages of a client */
    LIMIT_FRAME = 0x40000000,     /* PostgreSQL's own bound on a message (PQ_LARGE_MESSAGE_LIMIT) */
    LIMIT_PEEK = 64 * 1024,       /* statements longer than this are streamed unless they may be DDL */
    LIMIT_MIGRATION_TEXT =
        64 * 1024 * 1024, /* text that must be read whole: it may be DDL, or several statements */
    LIMIT_INSPECTED =
        32 * 1024, /* DDL of one message given to the grammar, beforehand: milliseconds of the loop */
    LIMIT_SYNTAX = 256 * 1024, /* script that is parsed before it is cut: as long, for it builds no tree */
    LIMIT_HELD_FRAME = 1024 * 1024, /* an error, notice or command tag of the server: read whole */
    LIMIT_NAME = 1024,              /* prepared statement and portal names */
    LIMIT_STATEMENTS = 100000,      /* prepared statements or portals remembered by one session */
    LIMIT_PIPELINE = 1000000,       /* answers outstanding in one session */
    LIMIT_READ = 64 * 1024,         /* one read from a socket */
    LIMIT_OUTPUT_HIGH = 256 * 1024, /* unsent bytes to one peer at which its source is no longer read */
    LIMIT_OUTPUT =
        80 * 1024 * 1024,    /* unsent bytes to one peer, whatever happens: a migration text and then some */
    LIMIT_SEGMENTS = 100000, /* statements in one simple Query that has to be cut up */
    LIMIT_CAPTURE = 64 * 1024 * 1024, /* answer to a hidden query of ours */
    LIMIT_ASKED = 16, /* things one statement does that the database is asked about beforehand */
    LIMIT_SURPLUS_CONNECTIONS =
        64,                  /* clients above the limit on connections that are told so; more are closed */
    LIMIT_TOKEN = 16 * 1024, /* of a sync client: no identity provider comes near */
    LIMIT_MARKS = 100000,    /* captured statements in one transaction */
    LIMIT_SYNC_MESSAGE = 64 * 1024 * 1024,  /* of a sync client: it never splits a transaction */
    LIMIT_SYNC_CALL = 1024 * 1024,          /* … that is no transaction */
    LIMIT_SYNC_DECODED = 128 * 1024 * 1024, /* what one message may become in memory */
    LIMIT_SYNC_BACKLOG = 64 * 1024 * 1024,  /* waiting for a client when more comes: it cannot follow */
    LIMIT_SYNC_CLIENTS = 50000,             /* connections */
    LIMIT_CLIENT_ID = 256,
    LIMIT_SUBSCRIPTIONS = 1000, /* of one client */
    LIMIT_SHAPES = 1000,        /* of one subscription */
    LIMIT_SYNC_VISIBLE =
        512 * 1024 * 1024, /* what clients see of one transaction, and our notes on it: with more they load
                              their data anew, which takes little memory whatever its size */
    LIMIT_SYNC_INLINE = 256 * 1024, /* bytes of a transaction that views follow on the loop */
    LIMIT_SYNC_QUEUE = 100000,      /* transactions that wait for a client's acknowledgements */
    LIMIT_READ_CONNECTIONS = 16,    /* to PostgreSQL for rows, with those that wait for clients */
    LIMIT_SHAPE_DEPTH = 100,        /* tables inside each other in a request */
};
