/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests, conversations: what client and server say, and what each of them then gets. No sockets.
 *
 * Messages are written as text, one after another: a type byte and, in brackets, the fields of the body. In
 * brackets
 * `|` stands for the NUL between fields. Bodies that do not matter are left out: "1 2 C[SELECT 1] Z[T]".
 * Every conversation is held twice: message by message, and byte by byte.
 */
#pragma once

#include "proxy/session.h"

#include "base/buf.h"
#include "base/limits.h"
#include "wire/frame.h"
#include "wire/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum who { CLIENT, SERVER };

struct step {
    enum who says;
    const char *messages;
    const char *to_client; /* what comes out; NULL: nothing */
    const char *to_server;
};

struct talk {
    struct session *session;
    struct buf to_client, to_server;
    bool closed;
};

static void to_client(void *ctx, const char *p, size_t n)
{
    struct talk *t = ctx;
    buf_put(&t->to_client, p, n);
}

static void to_server(void *ctx, const char *p, size_t n)
{
    struct talk *t = ctx;
    buf_put(&t->to_server, p, n);
}

static void flush(void *ctx)
{
    (void)ctx;
}

static void on_close(void *ctx)
{
    struct talk *t = ctx;
    t->closed = true;
}

/* --- text to messages --- */

static bool ends_in_nul(enum who who, char type)
{
    return strchr(who == CLIENT ? "QCDE" : "CS", type) != NULL;
}

/* What follows the text in messages whose other fields do not matter here. */
static void put_tail(struct buf *b, enum who who, char type)
{
    if (who == CLIENT && type == 'P') {
        buf_put(b, "\0\0\0", 3);
    } else if (who == CLIENT && type == 'B') {
        buf_put(b, "\0\0\0\0\0\0\0", 7);
    } else if (who == CLIENT && type == 'E') {
        buf_put(b, "\0\0\0\0", 4);
    } else if (who == SERVER && (type == 'E' || type == 'N')) {
        buf_put(b, "\0\0", 2);
    }
}

static void put_row_value(struct buf *b, const char *p, size_t n)
{
    buf_put_u32be(b, (uint32_t)n);
    buf_put(b, p, n);
}

/* D[a|b]: a row of a server. */
static void put_row(struct buf *b, const char *p, const char *end)
{
    uint16_t columns = 1;
    for (const char *q = p; q < end; q++) {
        columns += *q == '|';
    }
    buf_put_u16be(b, columns);
    for (const char *q = p; q <= end; q++) {
        if (q == end || *q == '|') {
            put_row_value(b, p, (size_t)(q - p));
            p = q + 1;
        }
    }
}

static const char *put_message(struct buf *b, enum who who, const char *p)
{
    char type = *p++;
    size_t at = b->n + 1;
    buf_put_byte(b, type);
    buf_put_u32be(b, 0);
    const char *end = p;
    if (*p == '[') {
        int depth = 1;
        for (end = ++p; depth > 0; end++) {
            depth += *end == '[' ? 1 : *end == ']' ? -1 : 0;
        }
        end--;
        if (who == SERVER && type == 'D') {
            put_row(b, p, end);
        } else {
            for (const char *q = p; q < end; q++) {
                buf_put_byte(b, *q == '|' ? '\0' : *q);
            }
            if (ends_in_nul(who, type)) {
                buf_put_byte(b, '\0');
            }
            put_tail(b, who, type);
        }
        end++;
    }
    buf_set_u32be(b, at, (uint32_t)(b->n - at));
    return end;
}

static void put_messages(struct buf *b, enum who who, const char *text)
{
    while (*text) {
        text = *text == ' ' ? text + 1 : put_message(b, who, text);
    }
}

/* --- messages to text --- */

static void print_body(struct buf *out, enum who from, char type, struct str body)
{
    if (from == SERVER && (type == 'E' || type == 'N')) {
        buf_printf(out, "[%.*s %.*s]", STR_ARG(message_field(body, 'C')), STR_ARG(message_field(body, 'M')));
        return;
    }
    while (body.n > 0 && body.p[body.n - 1] == '\0' && type != 'd') {
        body.n--;
    }
    if (from == CLIENT && type == 'B') {
        struct str rest = body;
        struct str portal = str_cut(&rest, '\0'), statement = str_cut(&rest, '\0');
        body.n = portal.n + 1 + statement.n;
    }
    if (from == SERVER && type == 'D') {
        body = (struct str){"", 0};
    }
    if (body.n == 0) {
        return;
    }
    buf_put_byte(out, '[');
    for (size_t i = 0; i < body.n; i++) {
        buf_put_byte(out, body.p[i] == '\0' ? '|' : body.p[i]);
    }
    buf_put_byte(out, ']');
}

static void print_messages(struct buf *out, enum who from, const struct buf *in)
{
    struct frame_head head;
    struct err err;
    for (size_t at = 0; at < in->n; at += head.total) {
        assert_int_equal(frame_peek(in->p + at, in->n - at, &head, &err), FRAME_FOUND);
        assert_true(in->n - at >= head.total);
        if (out->n > 0) {
            buf_put_byte(out, ' ');
        }
        buf_put_byte(out, head.type);
        print_body(out, from, head.type, frame_body(in->p + at, head));
    }
}

static void assert_said(enum who from, struct buf *raw, const char *expected, size_t step)
{
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(100000);
    print_messages(&text, from, raw);
    buf_reset(raw);
    if (strcmp(buf_cstr(&text), expected ? expected : "") != 0) {
        print_error("step %zu, from %s\n", step, from == CLIENT ? "client" : "server");
    }
    assert_string_equal(buf_cstr(&text), expected ? expected : "");
}

static void say(struct talk *t, enum who who, const char *p, size_t n)
{
    struct err err;
    int rc = who == CLIENT ? session_feed_client(t->session, p, n, &err)
                           : session_feed_server(t->session, p, n, &err);
    assert_true(rc == 0 || t->closed);
}

/* A talk that is not an ordinary one. */
struct setting {
    bool unguarded, closes;
    enum session_mode mode;
};

static void hold_one(const struct step *steps, size_t n, bool byte_by_byte, struct setting setting)
{
    static const struct session_out out = {to_client, to_server, flush, flush, on_close};
    struct talk t = {.to_client = BUF_INIT(100000), .to_server = BUF_INIT(100000)};
    struct session_counters counters = {0};
    t.session = session_new(&out, &t, "", &counters);
    session_set_guarded(t.session, !setting.unguarded);
    session_set_mode(t.session, setting.mode);
    for (size_t i = 0; i < n; i++) {
        CLEANUP(buf_deinit) struct buf in = BUF_INIT(100000);
        put_messages(&in, steps[i].says, steps[i].messages);
        for (size_t at = 0; at < in.n; at += byte_by_byte ? 1 : in.n) {
            /* A copy of exactly these bytes, so that the sanitizer sees a read past them. */
            size_t piece = byte_by_byte ? 1 : in.n;
            CLEANUP(buf_deinit) struct buf copy = BUF_INIT(piece);
            buf_put(&copy, in.p + at, piece);
            say(&t, steps[i].says, copy.p, piece);
        }
        assert_said(SERVER, &t.to_client, steps[i].to_client, i);
        assert_said(CLIENT, &t.to_server, steps[i].to_server, i);
    }
    assert_int_equal(t.closed, setting.closes);
    session_free(t.session);
    buf_deinit(&t.to_client);
    buf_deinit(&t.to_server);
}

static void hold(const struct step *steps, size_t n, struct setting setting)
{
    hold_one(steps, n, false, setting);
    hold_one(steps, n, true, setting);
}

#define TALK_SET(setting, ...)                            \
    do {                                                  \
        static const struct step steps[] = {__VA_ARGS__}; \
        hold(steps, ARRAY_LEN(steps), setting);           \
    } while (0)
#define TALK(...)           TALK_SET(((struct setting){.closes = false}), __VA_ARGS__)
#define TALK_CLOSED(...)    TALK_SET(((struct setting){.closes = true}), __VA_ARGS__)
#define TALK_UNGUARDED(...) TALK_SET(((struct setting){.unguarded = true}), __VA_ARGS__)
#define TALK_IN(what, ...)  TALK_SET(((struct setting){.mode = what}), __VA_ARGS__)

/* A hidden operation, as the server sees it and as it answers. */
#define HIDDEN(sql) \
    "P[\001busbar|" sql "] B[\001busbar|\001busbar] E[\001busbar] C[P\001busbar] C[S\001busbar]"
#define HIDDEN_OK "1 2 C[OK] 3 3"
#define ASK       "SELECT busbar.precheck($1, $2, $3)"
#define CHANGES   "SELECT busbar.find_changes()"
#define PENDING   "SELECT kind, id, version, ops FROM busbar.pending()"
#define RECORD \
    "SELECT busbar.record($1::pg_catalog.text::pg_catalog.jsonb, $2::pg_catalog.text::pg_catalog.jsonb)"
#define REFUSE "CALL busbar.refuse($1, $2, $3, $4)"
#define MARK   "N[SINFO|CUB001|Mmark|D{\"id\":7,\"notify\":true}|spublic|tt]"
#define MARKED "N[00000 Migration affecting electrified table \"public\".\"t\"]"
/* [{"op":"create_enum","schema":"public","name":"e","values":["a"],"sql":"x"}] */
#define PENDING_ROW                                                                                 \
    "D[pending|7||5b7b226f70223a226372656174655f656e756d222c22736368656d61223a227075626c6963222c22" \
    "6e616d65223a2265222c2276616c756573223a5b2261225d2c2273716c223a2278227d5d]"
