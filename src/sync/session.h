/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One client's connection to the sync service: who it is, what it may ask, what it has been sent and has
 * acknowledged. Pure: messages in, messages and decisions out; no clock, no socket.
 *
 *   CONNECTED ─ authenticate → AUTHENTICATED ─ startReplication → STARTING ─ the service's yes → REPLICATING
 *                                   ▲ ──────────────────────── stopReplication ──────────────────────┘
 *   and from everywhere to ENDED, after which nothing is said or heard any more.
 *
 * Three parties. The *host* (sync/conn.h) owns the connection. The *service* (the hub) knows tokens, streams
 * and shapes: the session asks it through struct sync_service, and it answers and sends through the functions
 * at the end of this header, from inside a question or at any later time, on the same thread.
 *
 * The session owns the order of what goes out. A delivery (sync/delivery.h) waits in the session's queue
 * while SYNC_WINDOW transactions are not acknowledged; relations are announced in front of what first uses
 * them. What waits, here and in the host, is the backlog: when there is more of it than LIMIT_SYNC_BACKLOG as
 * yet another delivery comes, the client cannot follow and is dropped without a word, so that it comes back
 * and resumes.
 */
#pragma once

#include "sync/delivery.h"
#include "sync/frame.h"

struct sync_session;

enum {
    SYNC_WINDOW = 30, /* transactions sent and not acknowledged */
};

/* --- asked of the service --- */

#define SYNC_NEVER INT64_MAX

struct sync_claims {
    struct str user;    /* valid as long as the arena */
    int64_t expires_ms; /* Unix time, or SYNC_NEVER */
};

/* startReplication, as far as the session can say valid. Borrowed until start() returns. */
struct sync_start {
    bool resumes;                      /* else: initial sync, no subscriptions */
    lsn_t lsn;                         /* resumes: where the client stands */
    const struct names *subscriptions; /* to go on with */
    const struct names *gone; /* unsubscribed, and the client has applied that at exactly this position */
    bool has_version;         /* newest migration that the client has */
    struct str version;
    enum dialect dialect; /* of migrations */
};

/* What the client has applied. Borrowed until acked() returns. */
struct sync_ack {
    uint64_t txid; /* the newest transaction acknowledged by this; 0: none */
    /* The position that the client would resume from, never past what it was sent: what has it as its lsn, or
     * an earlier one, and was delivered before, has been applied. 0: not told. */
    lsn_t lsn;
    const struct names *subscriptions; /* data applied, in the client's words: not checked */
    const struct names *gone;          /* batches of what is gone applied, likewise */
};

/* `client` is what open() has returned. */
struct sync_service {
    /* Why clients cannot be served now: "initialization", "establishing_repl_conn" or "subscribing"; NULL:
     * they can. */
    const char *(*not_ready)(void *hub);

    /* A connection, nothing known yet. */
    void *(*open)(void *hub, struct sync_session *session);
    /* The connection is gone, and so is the session when this returns. Comes once, from the loop, never from
     * inside a function below; stop() does not come before it. The session may have ended a while ago
     * (sync_session_ended()), which is not told: what it is given then is thrown away. */
    void (*close)(void *client);

    /* True: *out_claims is filled. False: *out_why, for the client, static or in `a`. */
    bool (*authenticate)(void *client, struct arena *a, struct str token, struct sync_claims *out_claims,
                         const char **out_why);
    /* The client's id and user are known (borrowed until this returns): once a connection, since a renewed
     * token is of the same. Whoever holds the id in another connection is to be displaced
     * (sync_session_end()). False: it belongs to a live connection of another user. */
    bool (*admit)(void *client, struct str client_id, struct str user);

    /* Answered by sync_session_started(): soon, clients wait three seconds for this answer and that of
     * subscribe(). */
    void (*start)(void *client, const struct sync_start *request);
    /* The stream is to end: nothing more is sent until the next start(), what waited is dropped, and so are
     * questions of subscribe() that are not answered. */
    void (*stop)(void *client);

    /*
     * Answered by sync_session_subscribed(), each once, in any order; and only after that may data follow.
     * The id is unlike those that are established or under way, and a UUID; there is at least one shape, and
     * their ids differ. `body` is the SatSubsReq as it came (sat_read_subscribe()), to be kept. Borrowed
     * until this returns.
     */
    void (*subscribe)(void *client, const struct sat_subscribe *request, struct str body);
    /* Answered by sync_session_unsubscribed(), once, and only after that may what it means follow. Ids that
     * are not known are to be ignored. Borrowed until this returns. */
    void (*unsubscribe)(void *client, const struct names *ids, uint32_t call);

    /* From sync_session_started() on, and after stop(), too. */
    void (*acked)(void *client, const struct sync_ack *ack);
    /* While replicating: sync_session_backlog() is 0 again, whoever has more than fits may go on. Comes after
     * every flush that leaves nothing, not only when it was waited for. */
    void (*drained)(void *client);
};

/* --- asked of the host --- */

struct sync_host {
    void (*send)(void *host, struct packet *p); /* takes a reference of its own */
    size_t (*unsent)(void *host);               /* bytes given to send() that have not left */
    /* An orderly end, after what was sent; then an end at once. Either is the last thing asked. */
    void (*close)(void *host, int code, const char *reason);
    void (*drop)(void *host);
    /* sync_session_expired() is to be called at this Unix time; SYNC_NEVER: not. Replaces what was set. */
    void (*set_expiry)(void *host, int64_t at_ms);
};

/* --- the host's side --- */

struct sync_session_options {
    const struct sync_service *service; /* outlives the session */
    void *hub;
    const struct sync_host *host_calls; /* outlives the session */
    void *host;
    struct str instance; /* id of the service, told to clients; outlives the session */
};

struct sync_session *sync_session_new(const struct sync_session_options *options);
/* Tells the service. Takes NULL. */
void sync_session_free(struct sync_session *s);

/* One binary message, whole. */
void sync_session_feed(struct sync_session *s, struct str message);
/* All that was given to send() has left. */
void sync_session_drained(struct sync_session *s);
void sync_session_expired(struct sync_session *s);

/* --- the service's side; all of it is ignored when the session has ended, or is not where it applies --- */

enum sync_start_outcome {
    SYNC_STARTED,
    SYNC_BEHIND_WINDOW,
    SYNC_BEFORE_ACKNOWLEDGED, /* or nothing is known of this client */
    SYNC_UNKNOWN_SUBSCRIPTION,
    SYNC_UNKNOWN_VERSION,
    SYNC_START_NOT_NOW, /* a passing trouble: the client comes back */
};

/* Sends the answer; deliveries may follow at once. unknown: the subscription or version. */
void sync_session_started(struct sync_session *s, enum sync_start_outcome outcome, struct str unknown);

enum sync_subscribe_outcome {
    SYNC_SUBSCRIBED,
    SYNC_SHAPES_REFUSED, /* with a fault for each bad one */
    SYNC_SUBSCRIBE_NOT_NOW,
};

void sync_session_subscribed(struct sync_session *s, struct str id, enum sync_subscribe_outcome outcome,
                             const struct sat_shape_fault *faults, size_t n);
void sync_session_unsubscribed(struct sync_session *s, uint32_t call);
/* The data of a subscription will not come after all; the id is free again. */
void sync_session_subscription_failed(struct sync_session *s, struct str id);

/*
 * Queues a delivery (a reference of its own). Only while replicating: from sync_session_started() to stop().
 * Transactions in commit order, each with a txid unlike those of others that are not acknowledged; the data
 * of a subscription where they belong between them, in any number of deliveries with nothing else in between.
 */
void sync_session_send(struct sync_session *s, struct delivery *d);
/* Bytes waiting, here and in the host. */
size_t sync_session_backlog(const struct sync_session *s);

/* Nothing is heard from it any more, and nothing sent. */
bool sync_session_ended(const struct sync_session *s);

enum sync_end {
    SYNC_END_DISPLACED, /* the same client is here again */
    SYNC_END_TROUBLE,   /* a passing one, of ours: the client is asked to come back (REPLICATION_FAILED) */
    SYNC_END_STOPPING,  /* the service ends */
};

void sync_session_end(struct sync_session *s, enum sync_end why);
