/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a socket leaves libwebsockets, which has no call for it: we keep a duplicate, take the descriptor that
 * it knows out of the loop's epoll set (else the set would go on reporting the socket under that number,
 * since the duplicate keeps it open), and put /dev/null in its place. What it then shuts down and closes is
 * that.
 */
#include "net/http_upgrade.h"

#include "base/buf.h"

#include <fcntl.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#define SPOILED "-ebsocket"

enum { TOKENS = 256 /* bytes of a header that lists a few words */ };

void upgrade_spoil(char *name)
{
    name[0] = '-';
}

static struct str header(struct lws *wsi, enum lws_token_indexes token, char *at, size_t size)
{
    int n = lws_hdr_copy(wsi, at, (int)size, token);
    return (struct str){at, n > 0 ? (size_t)n : 0};
}

static bool header_is(struct lws *wsi, enum lws_token_indexes token, struct str value)
{
    char text[TOKENS];
    return str_eq_nocase(str_trim(header(wsi, token, text, sizeof text)), value);
}

static bool header_lists(struct lws *wsi, enum lws_token_indexes token, struct str value)
{
    char text[TOKENS];
    struct str rest = header(wsi, token, text, sizeof text);
    while (rest.n > 0) {
        if (str_eq_nocase(str_trim(str_cut(&rest, ',')), value)) {
            return true;
        }
    }
    return false;
}

/* Base64 of 16 bytes. */
static bool read_key(struct lws *wsi, struct upgrade *out)
{
    char text[TOKENS];
    struct str key = str_trim(header(wsi, WSI_TOKEN_KEY, text, sizeof text));
    if (key.n != UPGRADE_KEY || memcmp(key.p + UPGRADE_KEY - 2, "==", 2) != 0) {
        return false;
    }
    memcpy(out->key, key.p, UPGRADE_KEY);
    out->key[UPGRADE_KEY] = '\0';
    return true;
}

static bool read_offers(struct lws *wsi, struct upgrade *out)
{
    struct http_upgrade *r = &out->request;
    int n = lws_hdr_copy(wsi, out->offered, sizeof out->offered, WSI_TOKEN_PROTOCOL);
    if (n < 0 && lws_hdr_total_length(wsi, WSI_TOKEN_PROTOCOL) > 0) {
        return false;
    }
    r->n_subprotocols = 0;
    for (struct str rest = {out->offered, n > 0 ? (size_t)n : 0}; rest.n > 0;) {
        struct str offer = str_trim(str_cut(&rest, ','));
        if (offer.n == 0) {
            continue;
        }
        if (r->n_subprotocols == HTTP_SUBPROTOCOLS) {
            return false;
        }
        r->subprotocols[r->n_subprotocols++] = offer;
    }
    return true;
}

bool upgrade_read(struct lws *wsi, struct upgrade *out)
{
    lws_get_peer_simple(wsi, out->peer, sizeof out->peer);
    out->request.peer = out->peer;
    return lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0 &&
           header_is(wsi, WSI_TOKEN_UPGRADE, STR(SPOILED)) &&
           header_lists(wsi, WSI_TOKEN_CONNECTION, STR("upgrade")) &&
           header_is(wsi, WSI_TOKEN_VERSION, STR("13")) && read_key(wsi, out) && read_offers(wsi, out);
}

static void put_answer(struct buf *b, const char *key, struct str subprotocol)
{
    char salted[UPGRADE_KEY + 37], accept[32];
    unsigned char digest[20];
    int n = snprintf(salted, sizeof salted, "%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    lws_SHA1((const unsigned char *)salted, (size_t)n, digest);
    lws_b64_encode_string((const char *)digest, sizeof digest, accept, sizeof accept);
    buf_printf(b,
               "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
               "sec-websocket-accept: %s\r\n",
               accept);
    if (subprotocol.n > 0) {
        buf_printf(b, "sec-websocket-protocol: %.*s\r\n", STR_ARG(subprotocol));
    }
    buf_put_c(b, "\r\n");
}

/* What was answered before on this connection has been read by the client, or it would not have asked: a few
 * hundred bytes fit into the socket. */
static bool send_answer(int fd, const char *key, struct str subprotocol)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(UPGRADE_OFFERED + 512);
    put_answer(&b, key, subprotocol);
    return !b.overflow && send(fd, b.p, b.n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)b.n;
}

static int take_socket(int theirs, struct loop *loop)
{
    struct epoll_event unused = {0};
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    int ours = nowhere >= 0 ? fcntl(theirs, F_DUPFD_CLOEXEC, 0) : -1;
    if (ours >= 0) {
        epoll_ctl(uv_backend_fd(loop_uv(loop)), EPOLL_CTL_DEL, theirs, &unused);
        dup3(nowhere, theirs, O_CLOEXEC);
    }
    if (nowhere >= 0) {
        close(nowhere);
    }
    return ours;
}

int upgrade_accept(struct lws *wsi, struct loop *loop, const struct upgrade *u, struct str subprotocol)
{
    int fd = take_socket(lws_get_socket_fd(wsi), loop);
    if (fd >= 0 && !send_answer(fd, u->key, subprotocol)) {
        close(fd);
        return -1;
    }
    return fd;
}
