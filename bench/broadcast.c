/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broadcast PORT SUBSCRIBERS BYTES MESSAGES TOGETHER CONNINFO SLOT PUBLICATION: the least that sending to
 * many WebSockets costs. For each transaction that the slot has, all get so many messages of so many bytes
 * (frame included), so many together with one send() each. No protocol, nothing kept of anybody; blocking
 * sockets, so that one that is full holds all back.
 */
#include "base/mem.h"
#include "database.h"
#include "satellite_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 4, MAX_BYTES = 65535, MAX_TOGETHER = 1024 };

static const char answer[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

struct broadcast {
    int *fds;
    unsigned n;
    char *messages; /* as many as are sent together */
    size_t bytes;   /* of one */
    unsigned together;
};

static unsigned number(const char *text, uint64_t max)
{
    uint64_t n;
    if (!str_to_u64(str_c(text), max, &n) || n == 0) {
        give_up("no number: %s", text);
    }
    return (unsigned)n;
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, n) != 0 || listen(fd, 1024) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) != 0) {
        give_up("cannot listen: %s", strerror(errno));
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent <= 0) {
            give_up("cannot send: %s", strerror(errno));
        }
        p += sent;
        n -= (size_t)sent;
    }
}

static int accept_one(int listener)
{
    char request[2048];
    size_t n = 0;
    int fd = accept(listener, NULL, NULL), on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (n < 4 || memcmp(request + n - 4, "\r\n\r\n", 4) != 0) {
        ssize_t got = recv(fd, request + n, sizeof request - n, 0);
        if (got <= 0) {
            give_up("a subscriber went");
        }
        n += (size_t)got;
    }
    send_all(fd, answer, sizeof answer - 1);
    return fd;
}

static char *make_messages(size_t bytes, unsigned together)
{
    char *all = mem_alloc_array(together, bytes);
    memset(all, 'x', together * bytes);
    size_t content = bytes - HEAD;
    for (unsigned i = 0; i < together; i++) {
        unsigned char head[HEAD] = {0x82, 126, (unsigned char)(content >> 8), (unsigned char)content};
        memcpy(all + i * bytes, head, HEAD);
    }
    return all;
}

static void send_round(const struct broadcast *b, unsigned messages)
{
    for (unsigned i = 0; i < b->n; i++) {
        send_all(b->fds[i], b->messages, messages * b->bytes);
    }
}

static void send_messages(const struct broadcast *b, unsigned messages)
{
    for (; messages > b->together; messages -= b->together) {
        send_round(b, b->together);
    }
    send_round(b, messages);
}

static void serve(const struct broadcast *b, struct wal_reader *r, unsigned messages)
{
    struct pollfd fds[] = {{.fd = wal_reader_fd(r), .events = POLLIN},
                           {.fd = STDIN_FILENO, .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 && !fds[1].revents) {
        for (unsigned commits = wal_reader_read(r); commits > 0; commits--) {
            send_messages(b, messages);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 8) {
        give_up("usage: broadcast SUBSCRIBERS BYTES MESSAGES TOGETHER CONNINFO SLOT PUBLICATION");
    }
    struct broadcast b = {.n = number(argv[1], 100000),
                          .bytes = number(argv[2], MAX_BYTES),
                          .together = number(argv[4], MAX_TOGETHER)};
    if (b.bytes < HEAD + 126) {
        give_up("the frame's head is that of a longer message");
    }
    b.messages = make_messages(b.bytes, b.together);
    b.fds = mem_alloc_array(b.n, sizeof *b.fds);
    int listener = listen_somewhere();
    for (unsigned i = 0; i < b.n; i++) {
        b.fds[i] = accept_one(listener);
    }
    struct wal_reader *r = wal_reader_new(argv[5], argv[6], argv[7]);
    serve(&b, r, number(argv[3], 1000000000));
    wal_reader_free(r);
    return 0;
}
