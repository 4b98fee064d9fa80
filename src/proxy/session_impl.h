/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of a session: shared by the session_*.c files and by nothing else. */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "proxy/errors.h"
#include "proxy/queue.h"
#include "proxy/session.h"
#include "proxy/special.h"
#include "wire/frame.h"

#include "sql/intent.h"

/* Whose transaction block is open upstream. */
enum block {
    BLOCK_NONE,
    BLOCK_CLIENT,    /* the client sent BEGIN */
    BLOCK_HIDDEN,    /* we did: the client does not know */
    BLOCK_AS_BEFORE, /* of a message: it changes nothing about it */
};

/* How a hidden operation ends, and so where it may stand. */
enum hidden_end {
    HIDDEN_SYNC,  /* by Sync: between the client's messages, inside a transaction block or at rest */
    HIDDEN_FLUSH, /* by Flush: in the middle of a batch of the extended protocol, whose implicit transaction
                     goes on */
};

typedef void (*session_next)(struct session *s);
typedef void (*session_done)(struct session *s, bool ok);

/* A captured statement of the open transaction: busbar.pending's id, and what the client wrote. */
struct mark {
    int64_t id;
    struct str text; /* owned; p NULL when it is not known or was too long to keep */
};

/* A simple Query that is cut into pieces which are sent one by one (session_script.c). */
struct script {
    bool active; /* the message is whole and at work; before that, the splitter cuts what there is of it */
    struct arena arena;
    struct splitter splitter;
    struct str text; /* the client's, in the arena */
    struct statement *statements;
    size_t n;
    size_t first, end;      /* statements[first, end) are in flight */
    size_t completed;       /* of those, how many single statements the server has completed */
    struct intent *intents; /* to ask the database about before the piece is sent */
    size_t intents_n, intents_i;
    bool failed;     /* an error was forwarded */
    bool reconcile;  /* an index was built or dropped concurrently */
    const char *tag; /* replaces the command tag of the piece in flight, or NULL */
    bool injected;   /* the piece in flight is SQL of ours */
    size_t point_at; /* position for an error of ours, characters from 1, or 0 */
};

struct hidden {
    bool active;
    session_done done;
    bool failed;
    bool leftover;    /* an earlier one failed half way: its statement and portal may still exist */
    struct buf rows;  /* DataRow messages */
    struct buf error; /* the ErrorResponse */
};

struct session {
    struct session_out out;
    void *ctx;
    const char *log_prefix;
    struct session_counters *counters;
    struct session_facts facts;

    struct buf from_client; /* input that cannot be used yet */
    size_t client_left;     /* bytes of a message that is being streamed to the server */
    bool blocked;           /* the client's messages wait for an answer to ours */
    bool closing;
    bool terminated; /* the client sent Terminate */

    struct buf from_server;
    size_t server_left; /* bytes of a message that is being streamed to the client (or dropped) */
    bool server_left_dropped;

    struct answers answers;
    char status; /* of the last ReadyForQuery: I, T or E; T, too, when what was sent since may have mended an
                    E */
    enum block block;      /* when all that has been sent is run */
    enum block known;      /* as far as it has been answered */
    enum block effect;     /* of the message about to be sent */
    bool hidden_replaced;  /* the client ended a hidden block in a batch, unless that fails before */
    bool skipping;         /* an error in a batch: the server ignores everything up to Sync */
    bool in_batch;         /* messages of the extended protocol were sent, and no Sync yet */
    bool copy_in;          /* the server reads CopyData: it ignores Sync and Flush */
    bool copy_failed;      /* ... and it has failed: */
    uint32_t spare_syncs;  /* sent before COPY read anything: ignored, unless it fails before it reads */
    bool sync_kept;        /* such a one that would end a hidden transaction: not sent */
    bool rollback_at_sync; /* a COMMIT of the client was refused by us: its block must go */
    struct special
        *reconcile_at_sync; /* an index was built or dropped concurrently, by this one; a reference */
    uint32_t unsure;        /* statements under way that may mark the transaction */
    uint32_t begins;        /* BEGINs under way that make our transaction the client's, unless they fail */
    enum session_mode mode;
    bool std_strings; /* standard_conforming_strings */
    bool guarded;     /* event triggers mark the transaction */
    bool unchecked;   /* not guarded: the open transaction may have changed the schema */
    struct str
        unchecked_text; /* ... by this statement; owned; p NULL: by several, or it is too long to keep */

    struct special_map statements, portals;
    uint32_t undos; /* answers that can put a name back */
    struct mark *marks;
    size_t marks_n, marks_cap, marks_bytes;

    struct hidden hidden;
    session_next on_drained;  /* called when every answer is in */
    struct script *script;    /* owned; NULL while no Query is cut */
    session_done commit_done; /* end of commit_start() */
    session_done raise_done;  /* end of raise_error() */
    enum hidden_end commit_end;
    session_done wrapped_done; /* end of reconcile_start() */
    struct str wrapped_text;   /* ... and the statement behind it, owned */
    struct buf held;           /* answers that the client gets when the hidden transaction has committed */
    struct buf stash;          /* a message of the client that waits for a hidden operation */
    struct str stash_source;   /* the same in the client's input, until it has been looked at; else empty */
    struct special *stash_special;
    struct special *parse_undo; /* of the Parse being asked about */
    struct intent *intents;     /* of a Parse in waiting */
    size_t intents_n, intents_i;
    struct arena arena; /* of the statement being looked at */
    struct buf scratch; /* a message being written */
};

/* --- session.c --- */
void session_block(struct session *s);
void session_unblock(struct session *s);            /* the client's messages go on when the caller returns */
void send_client(struct session *s, struct buf *b); /* writes, flushes, empties b */
void send_server(struct session *s, struct buf *b);
bool expect(struct session *s, enum answer_kind kind, enum answer_action action, uint8_t flags,
            struct special *special); /* takes the reference; false: too many, the session closes */
void session_fatal(struct session *s, enum proxy_error e);
/* What the message that is about to be expected will do to the block, if it is run. */
void predict_block(struct session *s, enum block effect);
/* The next Sync, or what stands for it, may have to end a hidden block. */
bool may_be_hidden(const struct session *s);
/* What the block is, when all is answered. */
void settle_block(struct session *s, enum block block);
/* What the block is as far as answers go: works out again what it will be. */
void correct_block(struct session *s, enum block known);
/* Calls next when every answer is in: at once when none is out. Blocks the client. */
void drain(struct session *s, session_next next);
void forget_marks(struct session *s);
void release_held(struct session *s);

/* --- session_client.c --- */
int process_client(struct session *s, const char *p, size_t n, size_t *out_used, struct err *err);

/* --- session_server.c --- */
int process_server(struct session *s, const char *p, size_t n, size_t *out_used, struct err *err);
/* Forwards an ErrorResponse message of ours or the server's: without the inner workings of our functions.
 * shift: characters to add to the position; injected: drop the position; point_at: set it (0: leave). */
void forward_error(struct session *s, struct str body, size_t shift, bool injected, size_t point_at);
void skip_to_sync(struct session *s); /* the server ignores what follows until Sync */

/* --- session_hidden.c --- */
/* Runs sql with text parameters; done is called when it has been answered. The client is blocked meanwhile.
 */
void hidden_run(struct session *s, enum hidden_end end, struct str sql, const struct str *params, size_t n,
                session_done done);
/* Sends sql in the middle of a batch and does not wait: an error takes the batch with it. */
void hidden_send(struct session *s, struct str sql);
void hidden_row(struct session *s, const char *frame, size_t n);
void hidden_finish(struct session *s, bool ok);

/* What is run instead of DDLX. `sql` raises the error itself when it is not DDLX after all. */
struct stand_in {
    struct str sql;  /* in the arena */
    const char *tag; /* of DDLX; NULL for an error. Static */
    size_t point_at; /* of the error in the text, characters from 1 */
};
/* tag: of a statement that is not DDLX in form, and stands for it; else NULL. */
struct stand_in stand_in_for(struct session *s, struct arena *arena, struct str ddlx, const char *tag);
/* A statement as it is treated in the session's mode. */
void adapt_statement(const struct session *s, struct statement *st);

/* What a statement would do that clients may not be able to follow, to be asked about before it is done: at
 * most LIMIT_ASKED. More is left to the guard, which has the last word anyway. */
void find_intents(struct session *s, struct arena *arena, struct str statement, struct intent **out_intents,
                  size_t *out_n);

/* --- session_script.c --- */
static inline bool script_arrives(const struct session *s)
{
    return s->script && !s->script->active;
}
static inline bool script_runs(const struct session *s)
{
    return s->script && s->script->active;
}
/* The beginning of a long simple Query that holds several statements: cuts it as far as it has come. */
void script_arriving(struct session *s, struct str text);
void script_end(
    struct session *s); /* what was cut is not needed any more; takes a session without a script */
/* A simple Query that may not be ordinary; body is its text without the NUL, frame the whole message. */
void script_query(struct session *s, struct str frame, struct str text);
/* A FunctionCall or an empty Query behind a batch without its Sync: it ends the implicit transaction that a
 * hidden one stands in for. */
void script_whole(struct session *s, struct str frame);
void script_piece_done(struct session *s); /* its ReadyForQuery came */
/* Characters of the client's text before a statement: what positions in the server's errors lack. */
size_t script_chars_before(const struct session *s, size_t statement);
struct str script_statement(struct session *s); /* the statement in flight; p NULL when unknown */

/* --- session_batch.c --- */
void batch_parse(struct session *s, struct str frame, struct str name, struct str sql);
/* Whether it depends on an earlier batch, not answered yet, that the name stands for what we act upon. */
bool name_is_uncertain(const struct session *s, struct str name);
void batch_bind(struct session *s, struct str frame); /* of such a name: waits for that answer */
void batch_execute(struct session *s, struct str frame, struct special *special);
void batch_sync(struct session *s, struct str frame);
/* The server reads CopyData, and ignores the Sync that it found before it. */
void batch_copy_begun(struct session *s);
/* An error came. If it is that of a COPY before any data, that Sync is to be answered after all. */
void batch_copy_failed(struct session *s);

/* --- session_commit.c --- */
void note_mark(struct session *s, struct str notice_body, struct str statement);
bool may_change_schema(enum statement_kind kind);
/* A statement goes to the server that may change the schema where no guard would see it. */
void note_unguarded(struct session *s, enum statement_kind kind, struct str text);
void forget_unguarded(struct session *s);
bool has_migration(const struct session *s); /* a COMMIT would commit something that was captured */
/* True when the open transaction must be looked at before it is committed: it is marked, or may hold a change
 * that nobody has marked. */
bool must_prove(const struct session *s);
/* Without a guard: has the database compare what the open transaction touched, and mark it. done(false): the
 * change is refused, the error is in hidden.error. */
void find_changes(struct session *s, enum hidden_end end, session_done done);
/* Proves and records the open transaction's migration. done(false): the reason has been forwarded to the
 * client and the server's transaction has failed. */
void commit_start(struct session *s, enum hidden_end end, session_done done);
/* Makes the server's transaction fail with an error of ours. done gets false, and the error is in
 * hidden.error. */
void raise_error(struct session *s, enum hidden_end end, enum proxy_error e, const char *detail,
                 session_done done);
/* In a transaction of its own: compares the catalog with what is known, proves, records, commits. text: the
 * client's statement that made the difference (copied). */
void reconcile_start(struct session *s, struct str text, session_done done);
