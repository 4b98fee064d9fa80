/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded PostgreSQL of `busbar dev`: a private cluster made by initdb in a data folder (app/folder.h)
 * and a server on it that is our child. It stops with us, even when we are killed. Only what we started is
 * ever signalled.
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct cluster;

struct cluster_options {
    const char *data;   /* the data folder */
    bool ephemeral;     /* a temporary folder instead, removed by cluster_stop() */
    const char *pg_bin; /* folder of initdb and postgres; NULL: search */
    uint16_t pg_port;   /* 0: that of the last start when free, else any free one */
    /* Tells a person something, one line, e.g. where the cluster had to go, or the end of the server's log.
     */
    void (*note)(void *ctx, const char *line);
    /* Asked every few milliseconds while waiting: give up? */
    bool (*is_cancelled)(void *ctx);
    void *ctx;
};

/*
 * Makes the cluster unless it is there, starts the server and waits until it accepts connections. Nothing is
 * left running on failure; code EINTR: it was cancelled. Blocks; call it before the loop runs, on the thread
 * that lives as long as the process (the server is told of our death when the thread ends that called this).
 */
MUST_USE int cluster_start(const struct cluster_options *options, struct cluster **out, struct err *err);

/* For people and their tools: TCP, with the password. Valid until cluster_stop(), as are the others. */
const char *cluster_url(const struct cluster *c);
/* For Busbar itself: the unix socket. */
const char *cluster_socket_url(const struct cluster *c);
const char *cluster_data(const struct cluster *c); /* the data folder, absolute */
const char *cluster_log(const struct cluster *c);  /* path of the server's log */
int cluster_version(const struct cluster *c);      /* major */

/* For SIGCHLD: 0 when the server runs, -1 when it ended, with how in *err. */
MUST_USE int cluster_check(struct cluster *c, struct err *err);

/* Hands the last lines of this run's log to `note`. */
void cluster_note_log(const struct cluster *c);

/* Stops the server (fast, after 10 seconds immediately), frees everything. Takes NULL. */
void cluster_stop(struct cluster *c);
