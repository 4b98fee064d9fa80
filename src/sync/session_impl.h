/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the session share. */
#pragma once

#include "sync/session.h"

enum sync_state { SYNC_CONNECTED, SYNC_AUTHENTICATED, SYNC_STARTING, SYNC_REPLICATING, SYNC_ENDED };

struct sync_sent { /* a transaction that is not acknowledged */
    uint64_t txid;
    lsn_t lsn;
};

struct sync_announced { /* a relation that the client knows */
    uint32_t id, version;
};

struct sync_subscription {
    char *id;
    bool established; /* else: the service has not answered yet … */
    uint32_t call;    /* … this call */
    bool dropped;     /* unsubscribed before the answer: goes with it */
};

struct sync_session {
    const struct sync_service *service;
    void *client;
    const struct sync_host *host_calls;
    void *host;
    struct str instance;
    enum sync_state state;
    struct arena arena; /* the message that is being handled */
    struct buf out;     /* the packet that is being made */
    char *client_id, *user;
    uint32_t start_call; /* request id, while STARTING */
    uint32_t next_call;  /* request id of ours */
    bool called;         /* a call of ours, next_call - 1, is not answered */
    struct sync_subscription *subscriptions;
    size_t n_subscriptions, cap_subscriptions;
    /* What goes out (session_stream.c). */
    struct sync_sent window[SYNC_WINDOW]; /* oldest first */
    size_t in_window;
    struct sync_sent last_acked;
    lsn_t sent_lsn;          /* the furthest position that the client may know */
    struct delivery **queue; /* a ring */
    size_t queue_first, queue_n, queue_cap;
    size_t queue_bytes;
    struct sync_announced *announced; /* by id */
    size_t n_announced, cap_announced;
};

/* session.c */
void sync_set_state(struct sync_session *s, enum sync_state state);
struct buf *sync_begin(struct sync_session *s); /* a packet … */
void sync_emit(struct sync_session *s);         /* … goes out */
void sync_session_close(struct sync_session *s, int code, const char *reason);
/* SatErrorResp, and the end. */
void sync_refuse(struct sync_session *s, enum sat_error code, const char *message);

/* session_calls.c */
void sync_on_call(struct sync_session *s, const struct sat_call *call);
void sync_on_answer(struct sync_session *s, const struct sat_answer *answer);
void sync_free_subscriptions(struct sync_session *s);

/* session_stream.c */
void sync_stream_start(struct sync_session *s, lsn_t position);
void sync_stream_stop(struct sync_session *s);
void sync_stream_free(struct sync_session *s);
void sync_on_ack(struct sync_session *s, const struct sat_ack *ack);
