/* SPDX-License-Identifier: Apache-2.0 */
#include "net/cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

enum { MAPPED_BITS = 96 };

static const unsigned char mapped[16] = {[10] = 0xff, [11] = 0xff};

static void map(const void *in4, unsigned char out[16])
{
    memcpy(out, mapped, 12);
    memcpy(out + 12, in4, 4);
}

static bool bit_is_set(const unsigned char address[16], unsigned at)
{
    return address[at / 8] & 0x80u >> at % 8;
}

static bool has_bits_beyond(const struct cidr *c)
{
    for (unsigned at = c->bits; at < 128; at++) {
        if (bit_is_set(c->address, at)) {
            return true;
        }
    }
    return false;
}

bool cidr_parse(struct str text, struct cidr *out)
{
    char ip[INET6_ADDRSTRLEN];
    unsigned char in4[4];
    struct cidr c;
    bool has_bits = text.n && memchr(text.p, '/', text.n);
    struct str bits = text;
    struct str address = str_cut(&bits, '/');
    if (address.n >= sizeof ip) {
        return false;
    }
    memcpy(ip, address.p, address.n);
    ip[address.n] = '\0';
    unsigned base = 0;
    if (inet_pton(AF_INET, ip, in4) == 1) {
        map(in4, c.address);
        base = MAPPED_BITS;
    } else if (inet_pton(AF_INET6, ip, c.address) != 1) {
        return false;
    }
    uint64_t n = 128 - base;
    if (has_bits && !str_to_u64(bits, n, &n)) {
        return false;
    }
    c.bits = base + (unsigned)n;
    if (has_bits_beyond(&c)) {
        return false;
    }
    *out = c;
    return true;
}

bool cidr_list_parse(struct str text, struct cidr_list *out)
{
    struct cidr_list list = {.n = 0};
    bool more = true;
    while (more) {
        more = text.n && memchr(text.p, ',', text.n);
        struct str one = str_trim(str_cut(&text, ','));
        if (list.n == CIDR_LIST || !cidr_parse(one, &list.of[list.n])) {
            return false;
        }
        list.n++;
    }
    *out = list;
    return true;
}

static bool has(const struct cidr *c, const unsigned char address[16])
{
    unsigned whole = c->bits / 8;
    unsigned rest = c->bits % 8;
    return memcmp(c->address, address, whole) == 0 &&
           (rest == 0 || (c->address[whole] ^ address[whole]) >> (8 - rest) == 0);
}

bool cidr_list_has(const struct cidr_list *list, const struct sockaddr *address)
{
    unsigned char bytes[16];
    if (address->sa_family == AF_INET) {
        map(&((const struct sockaddr_in *)address)->sin_addr, bytes);
    } else if (address->sa_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, sizeof bytes);
    } else {
        return false;
    }
    for (size_t i = 0; i < list->n; i++) {
        if (has(&list->of[i], bytes)) {
            return true;
        }
    }
    return false;
}
