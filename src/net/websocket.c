/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns one socket, a queue of packets and the heartbeat.
 *
 * Why not libwebsockets, which did the handshake: it writes each frame by a send() of its own and lays the
 * head into the sender's buffer each time; it copies what the kernel does not take; bytes framed beforehand
 * (LWS_WRITE_RAW) pass, but a pong of its own may then fall into the middle of them; pings of the peer are
 * hidden. And every connection costs it a slot in tables sized for the most there may be. So the socket is
 * taken out of it (net/http_upgrade.c), and here is all that is left of the protocol.
 *
 * OPEN → CLOSING (our close frame is queued) → OVER (on_closed was called, or will be this turn).
 */
#include "net/websocket.h"

#include "base/limits.h"
#include "base/mem.h"
#include "net/ws_reader.h"

#include <errno.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE_PIECES = 64, QUEUE_FIRST = 8, QUEUE_KEPT = 64 };
enum { FIN_BINARY = 0x82, FIN_CLOSE = 0x88, FIN_PING = 0x89, FIN_PONG = 0x8a };

enum state { OPEN, CLOSING, OVER };

struct queue {
    struct packet **items; /* a ring */
    size_t first, n, cap;
};

struct websocket {
    struct loop *loop;
    int fd;
    struct watch *watch;
    struct timer *timer;
    struct websocket_options options;
    const struct websocket_events *events;
    void *ctx;
    enum state state;
    int code;         /* that on_closed will tell */
    bool told;        /* on_closed was called */
    bool peer_closed; /* its close frame has come */
    bool deaf;        /* it cannot be understood any more: what still comes is thrown away */
    bool paused;
    bool heard, pinged;          /* since the last tick */
    uint64_t queued_ever, taken; /* bytes; those that the peer had taken at the last tick */
    struct ws_reader reader;
    struct buf held; /* came with what the owner paused at */
    struct queue queue;
    size_t sent;                    /* bytes of the first packet that are gone */
    size_t unsent;                  /* bytes of the queue */
    bool blocked;                   /* the kernel takes no more */
    struct packet *pong;            /* in the queue, … */
    char pong_next[WS_CONTROL_MAX]; /* … and what the last ping since has said */
    int pong_next_n;                /* -1: there was none */
    bool turn_due;                  /* on_turn() will come */
    bool freed;                     /* by the owner; the memory goes when nobody is inside */
    unsigned inside;
};

static void on_turn(void *ctx);

/* ---- life ---- */

static void enter(struct websocket *ws)
{
    ws->inside++;
}

static void leave(struct websocket *ws)
{
    if (--ws->inside == 0 && ws->freed) {
        free(ws);
    }
}

static void take_a_turn(struct websocket *ws)
{
    if (!ws->turn_due) {
        ws->turn_due = true;
        enter(ws);
        loop_defer(ws->loop, on_turn, ws);
    }
}

static void update_watch(struct websocket *ws)
{
    if (ws->watch) {
        bool reads = !ws->paused && ws->held.n == 0;
        watch_set(ws->watch, (reads ? WATCH_READ : 0) | (ws->blocked ? WATCH_WRITE : 0));
    }
}

static void drop_queue(struct websocket *ws)
{
    for (; ws->queue.n > 0; ws->queue.n--) {
        packet_unref(ws->queue.items[ws->queue.first]);
        ws->queue.first = (ws->queue.first + 1) % ws->queue.cap;
    }
    free(take_ptr(&ws->queue.items));
    ws->queue = (struct queue){0};
    ws->sent = ws->unsent = 0;
    ws->pong = NULL;
}

static void release(struct websocket *ws)
{
    ws->state = OVER;
    watch_free(take_ptr(&ws->watch));
    timer_free(take_ptr(&ws->timer));
    if (ws->fd >= 0) {
        close(ws->fd);
    }
    ws->fd = -1;
    drop_queue(ws);
    ws_reader_deinit(&ws->reader);
    buf_deinit(&ws->held);
}

void websocket_free(struct websocket *ws)
{
    if (ws && !ws->freed) {
        release(ws);
        ws->freed = true;
        enter(ws);
        leave(ws);
    }
}

/* The connection is over, and the owner is told: the last thing a caller does. */
static void finish(struct websocket *ws, int code)
{
    if (ws->state == CLOSING) {
        code = ws->code;
    }
    release(ws);
    if (!ws->freed && !ws->told) {
        ws->told = true;
        ws->events->on_closed(ws->ctx, code);
    }
}

/* ---- writing ---- */

static void push(struct websocket *ws, struct packet *p)
{
    struct queue *q = &ws->queue;
    if (q->n == q->cap) {
        size_t cap = q->cap ? 2 * q->cap : QUEUE_FIRST;
        struct packet **items = mem_alloc_array(cap, sizeof *items);
        for (size_t i = 0; i < q->n; i++) {
            items[i] = q->items[(q->first + i) % q->cap];
        }
        free(q->items);
        *q = (struct queue){.items = items, .n = q->n, .cap = cap};
    }
    q->items[(q->first + q->n++) % q->cap] = p;
    ws->unsent += p->head + p->n;
    ws->queued_ever += p->head + p->n;
    take_a_turn(ws);
}

static struct packet *queued(const struct websocket *ws, size_t i)
{
    return ws->queue.items[(ws->queue.first + i) % ws->queue.cap];
}

static void pop(struct websocket *ws)
{
    struct packet *p = queued(ws, 0);
    ws->queue.first = (ws->queue.first + 1) % ws->queue.cap;
    ws->queue.n--;
    if (p == ws->pong) {
        ws->pong = NULL;
    }
    packet_unref(p);
}

/* Puts the frame's head in front of the content. Servers do not mask. */
static void frame(struct packet *p, unsigned char first)
{
    unsigned char *at = (unsigned char *)p->bytes + PACKET_ROOM;
    uint64_t n = p->n;
    size_t extended = n <= 125 ? 0 : n <= 0xffff ? 2 : 8;
    for (size_t i = 0; i < extended; i++) {
        *--at = (unsigned char)(n >> 8 * i);
    }
    *--at = (unsigned char)(extended == 8 ? 127 : extended == 2 ? 126 : n);
    *--at = first;
    p->head = (unsigned char)(2 + extended);
}

void websocket_send(struct websocket *ws, struct packet *p)
{
    if (ws->state != OPEN) {
        return;
    }
    if (p->head == 0) {
        frame(p, FIN_BINARY);
    }
    push(ws, packet_ref(p));
}

size_t websocket_unsent(const struct websocket *ws)
{
    return ws->unsent;
}

static struct packet *push_control(struct websocket *ws, unsigned char first, const void *content, size_t n)
{
    struct packet *p = packet_new(content, n);
    frame(p, first);
    push(ws, p);
    return p;
}

static int gather(const struct websocket *ws, struct iovec *pieces)
{
    size_t skip = ws->sent;
    int n = 0;
    for (; n < WRITE_PIECES && (size_t)n < ws->queue.n; n++) {
        struct packet *p = queued(ws, (size_t)n);
        pieces[n].iov_base = p->bytes + PACKET_ROOM - p->head + skip;
        pieces[n].iov_len = p->head + p->n - skip;
        skip = 0;
    }
    return n;
}

static void mark_sent(struct websocket *ws, size_t n)
{
    ws->unsent -= n;
    for (n += ws->sent; ws->queue.n > 0; pop(ws)) {
        struct packet *p = queued(ws, 0);
        if (n < p->head + p->n) {
            break;
        }
        n -= p->head + p->n;
    }
    ws->sent = n;
}

static void answer_last_ping(struct websocket *ws)
{
    if (!ws->pong && ws->pong_next_n >= 0 && ws->state == OPEN) {
        ws->pong = push_control(ws, FIN_PONG, ws->pong_next, (size_t)ws->pong_next_n);
        ws->pong_next_n = -1;
    }
}

/* Most often there is one packet, and send() costs less than sendmsg(). */
static ssize_t send_queued(const struct websocket *ws)
{
    enum { FLAGS = MSG_NOSIGNAL | MSG_DONTWAIT };
    struct iovec pieces[WRITE_PIECES];
    int n = gather(ws, pieces);
    if (n == 1) {
        return send(ws->fd, pieces[0].iov_base, pieces[0].iov_len, FLAGS);
    }
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)n};
    return sendmsg(ws->fd, &message, FLAGS);
}

/* 0: all that the kernel would take is with it. -1: the connection is broken. */
static int write_out(struct websocket *ws)
{
    while (ws->queue.n > 0) {
        ssize_t n = send_queued(ws);
        if (n < 0 && errno != EINTR) {
            ws->blocked = errno == EAGAIN || errno == EWOULDBLOCK;
            return ws->blocked ? 0 : -1;
        }
        mark_sent(ws, n < 0 ? 0 : (size_t)n);
        answer_last_ping(ws);
    }
    if (ws->queue.cap > QUEUE_KEPT) {
        drop_queue(ws);
    }
    ws->blocked = false;
    return 0;
}

/* Closing a socket with unread bytes resets the connection, and what it had sent may be lost: a deaf one
 * waits for the peer to end it. */
static void flush(struct websocket *ws)
{
    bool had_some = ws->queue.n > 0;
    if (write_out(ws) < 0 || (ws->peer_closed && ws->queue.n == 0)) {
        finish(ws, ws->code);
        return;
    }
    if (ws->deaf && ws->queue.n == 0) {
        shutdown(ws->fd, SHUT_WR);
    }
    update_watch(ws);
    if (had_some && ws->queue.n == 0 && ws->state == OPEN) {
        ws->events->on_drained(ws->ctx);
    }
}

/* ---- closing ---- */

void websocket_close(struct websocket *ws, int code, const char *reason)
{
    char content[2 + WEBSOCKET_REASON] = {(char)(code >> 8), (char)code};
    size_t n = strnlen(reason, WEBSOCKET_REASON);
    if (ws->state != OPEN) {
        return;
    }
    memcpy(content + 2, reason, n);
    push_control(ws, FIN_CLOSE, content, 2 + n);
    ws->state = CLOSING;
    ws->code = code;
    ws->paused = false; /* for the peer's close frame */
    timer_start(ws->timer, ws->options.close_ms);
}

void websocket_abort(struct websocket *ws)
{
    if (ws->state != OVER) {
        drop_queue(ws);
        ws->state = OVER;
        ws->code = WS_ABNORMAL;
        take_a_turn(ws);
    }
}

static void on_peer_close(struct websocket *ws, int code)
{
    if (ws->state == OPEN) {
        websocket_close(ws, code == WS_NO_STATUS ? WS_NORMAL : code, "");
        ws->code = code;
    }
    ws->peer_closed = true;
    take_a_turn(ws);
}

/* ---- reading ---- */

static void on_ping(struct websocket *ws, struct str content)
{
    memcpy(ws->pong_next, content.p, content.n);
    ws->pong_next_n = (int)content.n;
    answer_last_ping(ws);
}

static void on_event(struct websocket *ws, int event, const struct ws_content *content)
{
    switch (event) {
    case WS_MESSAGE:
        if (ws->state == OPEN) {
            ws->events->on_message(ws->ctx, content->bytes);
        }
        break;
    case WS_PING:
        on_ping(ws, content->bytes);
        break;
    case WS_CLOSE:
        on_peer_close(ws, content->code);
        break;
    }
}

static const char *fault_reason(const struct websocket *ws, int code)
{
    return code == WS_UNSUPPORTED ? ws->options.text_refusal
           : code == WS_TOO_BIG   ? "Message too big"
                                  : "WebSocket protocol error";
}

static void on_fault(struct websocket *ws, int code)
{
    websocket_close(ws, code, fault_reason(ws, code));
    ws->deaf = true;
    take_a_turn(ws);
}

static bool listens(const struct websocket *ws)
{
    return ws->state != OVER && !ws->peer_closed && !ws->deaf;
}

/* Returns what the owner did not want to have now. */
static struct str feed(struct websocket *ws, char *p, size_t n)
{
    struct ws_content content;
    char *end = p + n;
    while (p < end && listens(ws) && !ws->paused) {
        int event = ws_read(&ws->reader, &p, end, &content);
        if (event < 0) {
            on_fault(ws, content.code);
        } else {
            on_event(ws, event, &content);
        }
    }
    return (struct str){p, listens(ws) ? (size_t)(end - p) : 0};
}

static void on_readable(struct websocket *ws)
{
    char *p = loop_read_buffer(ws->loop);
    ssize_t n = recv(ws->fd, p, LIMIT_READ, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (n <= 0) {
        finish(ws, WS_ABNORMAL);
        return;
    }
    ws->heard = true;
    buf_put_str(&ws->held, feed(ws, p, (size_t)n));
    update_watch(ws);
}

static void read_held(struct websocket *ws)
{
    CLEANUP(buf_deinit) struct buf held = ws->held;
    buf_init(&ws->held, LIMIT_READ);
    buf_put_str(&ws->held, feed(ws, held.p, held.n));
}

void websocket_pause(struct websocket *ws)
{
    if (ws->state == OPEN) {
        ws->paused = true;
        update_watch(ws);
    }
}

void websocket_resume(struct websocket *ws)
{
    if (ws->paused) {
        ws->paused = false;
        take_a_turn(ws);
    }
}

/* ---- what the loop calls ---- */

static void on_turn(void *ctx)
{
    struct websocket *ws = ctx;
    ws->turn_due = false;
    if (ws->state == OVER) {
        finish(ws, ws->code);
    }
    if (ws->held.n > 0 && !ws->paused) {
        read_held(ws);
    }
    if (ws->state != OVER && !ws->blocked) {
        flush(ws);
    }
    update_watch(ws);
    leave(ws);
}

static void on_socket(void *ctx, int events)
{
    struct websocket *ws = ctx;
    enter(ws);
    if ((events & WATCH_READ) && ws->state != OVER) {
        on_readable(ws);
    }
    if ((events & WATCH_WRITE) && ws->state != OVER) {
        flush(ws);
    }
    leave(ws);
}

/* On a slow line a ping waits behind much else: a peer that takes what is in front of it is there. */
static bool takes(struct websocket *ws)
{
    int in_kernel = 0;
    ioctl(ws->fd, SIOCOUTQ, &in_kernel);
    size_t waiting = ws->unsent + (size_t)in_kernel;
    uint64_t taken = ws->queued_ever - ws->unsent > (uint64_t)in_kernel ? ws->queued_ever - waiting : 0;
    bool progress = waiting > 0 && taken > ws->taken;
    ws->taken = taken;
    return progress;
}

static void on_tick(struct websocket *ws)
{
    bool alive = takes(ws) || ws->heard || ws->paused;
    if (!alive && ws->pinged) {
        websocket_close(ws, WEBSOCKET_SILENT, "Client not responding to pings");
        return;
    }
    if (!alive) {
        push_control(ws, FIN_PING, NULL, 0);
    }
    ws->pinged = !alive;
    ws->heard = false;
    timer_start(ws->timer, ws->options.tick_ms);
}

static void on_timer(void *ctx)
{
    struct websocket *ws = ctx;
    enter(ws);
    if (ws->state == CLOSING) {
        finish(ws, ws->code);
    } else if (ws->state == OPEN) {
        on_tick(ws);
    }
    leave(ws);
}

struct websocket *websocket_new(struct loop *loop, int fd, const struct websocket_options *options,
                                const struct websocket_events *events, void *ctx)
{
    struct websocket *ws = mem_zalloc(sizeof *ws);
    ws->loop = loop;
    ws->fd = fd;
    ws->options = *options;
    ws->options.tick_ms = options->tick_ms ? options->tick_ms : WEBSOCKET_TICK_MS;
    ws->options.close_ms = options->close_ms ? options->close_ms : WEBSOCKET_CLOSE_MS;
    ws->events = events;
    ws->ctx = ctx;
    ws->code = WS_ABNORMAL;
    ws->pong_next_n = -1;
    ws_reader_init(&ws->reader, options->max_message);
    buf_init(&ws->held, LIMIT_READ);
    ws->watch = watch_new(loop, fd, on_socket, ws);
    ws->timer = timer_new(loop, on_timer, ws);
    timer_start(ws->timer, ws->options.tick_ms);
    update_watch(ws);
    return ws;
}
