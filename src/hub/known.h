/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of clients, by their ids: kept in memory while they are connected or being written, in the
 * log otherwise.
 */
#pragma once

#include "hub/state.h"
#include "shapes/keys.h"

struct client;
struct feed;
struct known_clients;

struct known {
    struct keyed keyed; /* first */
    struct known_clients *all;
    struct client *client; /* connected; NULL: it is only being written */
    struct client_state state;
    unsigned writes; /* under way */
    bool dirty;      /* something of little weight is to be written, some time */
    char id[];
};

/* Told when everything of a client's that was to be written is. */
typedef void (*known_saved_fn)(struct client *client);

struct known_clients *known_clients_new(struct feed *feed, known_saved_fn saved);
void known_clients_free(struct known_clients *all); /* takes NULL; no client may be left */

/* From memory or the log; nothing is known: an empty state. -1: the log cannot be read, or what is there is
 * damaged. */
MUST_USE int known_get(struct known_clients *all, struct str id, struct known **out_known, struct err *err);
/* Its client is gone. */
void known_release(struct known *k);
void known_save(struct known *k);
/* Writes what is dirty. */
void known_save_dirty(struct known_clients *all);
/* The log has begun anew. */
void known_reset(struct known_clients *all);
