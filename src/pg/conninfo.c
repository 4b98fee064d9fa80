/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyword lists for libpq.
 *
 * libpq looks host names up with a blocking getaddrinfo() inside PQconnectPoll, so names are replaced here:
 * each address becomes an entry of its own in the comma lists host, hostaddr and port. The name stays in
 * host: libpq needs it for verify-full, SNI and the password file.
 */
#include "pg/conninfo.h"

#include "base/buf.h"
#include "base/mem.h"
#include "pg/login.h"

#include <arpa/inet.h>
#include <assert.h>
#include <libpq-fe.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 64 * 1024 };

static size_t find(const struct conninfo *info, const char *keyword)
{
    size_t i = 0;
    while (i < info->n && strcmp(info->keywords[i], keyword) != 0) {
        i++;
    }
    return i;
}

const char *conninfo_get(const struct conninfo *info, const char *keyword)
{
    size_t i = find(info, keyword);
    return i < info->n && info->values[i][0] ? info->values[i] : NULL;
}

static void free_secret(char *s)
{
    if (s) {
        mem_wipe(s, strlen(s));
        free(s);
    }
}

void conninfo_set(struct conninfo *info, const char *keyword, const char *value)
{
    size_t i = find(info, keyword);
    if (i == info->n) {
        assert(info->n < CONNINFO_KEYWORDS);
        info->keywords[info->n++] = mem_strdup(keyword);
    }
    free_secret(info->values[i]);
    info->values[i] = mem_strdup(value);
}

void conninfo_deinit(struct conninfo *info)
{
    for (size_t i = 0; i < info->n; i++) {
        free(info->keywords[i]);
        free_secret(info->values[i]);
    }
    *info = (struct conninfo){0};
}

static void set_default(struct conninfo *info, const char *keyword, const char *value)
{
    if (!conninfo_get(info, keyword)) {
        conninfo_set(info, keyword, value);
    }
}

static bool starts_with(const char *s, const char *prefix)
{
    return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

static void set_sslmode(struct conninfo *info, bool require_ssl)
{
    const char *mode = conninfo_get(info, "sslmode");
    if (starts_with(mode, "verify-")) {
        return;
    }
    if (require_ssl) {
        conninfo_set(info, "sslmode", "require");
    } else if (!mode || strcmp(mode, "require") == 0) {
        conninfo_set(info, "sslmode", "prefer");
    }
}

/* A dead peer is noticed after two minutes, where the kernel's own defaults take two hours. */
static void set_keepalives(struct conninfo *info)
{
    set_default(info, "keepalives", "1");
    set_default(info, "keepalives_idle", "60");
    set_default(info, "keepalives_interval", "10");
    set_default(info, "keepalives_count", "6");
}

static void set_extra(struct conninfo *info, const char *keyword, const char *value)
{
    const char *own = conninfo_get(info, keyword);
    if (own && strcmp(keyword, "options") == 0) {
        size_t size = strlen(own) + strlen(value) + 2;
        char *both = mem_alloc(size);
        snprintf(both, size, "%s %s", own, value);
        conninfo_set(info, keyword, both);
        free_secret(both);
        return;
    }
    conninfo_set(info, keyword, value);
}

int conninfo_build(const struct login_params *params, struct conninfo *out_info, struct err *err)
{
    char *reason = NULL;
    PQconninfoOption *options = PQconninfoParse(params->url, &reason);
    if (!options) {
        PQfreemem(reason); /* libpq quotes the text it could not read, and that may be the password */
        return err_set_sqlstate(err, ERR_INPUT, "08001", "the database URL cannot be read");
    }
    struct conninfo info = {0};
    for (const PQconninfoOption *o = options; o->keyword; o++) {
        if (o->val) {
            conninfo_set(&info, o->keyword, o->val);
        }
    }
    PQconninfoFree(options);
    for (size_t i = 0; i < params->extra_n; i++) {
        if (params->extra[i][1]) {
            set_extra(&info, params->extra[i][0], params->extra[i][1]);
        }
    }
    set_sslmode(&info, params->require_ssl);
    set_keepalives(&info);
    conninfo_set(&info, "gssencmode", "disable");
    *out_info = info;
    return 0;
}

/* An entry that libpq need not look up: empty (its default), a socket folder, an address. */
static bool is_name(struct str host)
{
    unsigned char raw[sizeof(struct in6_addr)];
    char text[256];
    if (host.n == 0 || host.p[0] == '/' || host.p[0] == '@' || host.n >= sizeof text) {
        return false;
    }
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    return inet_pton(AF_INET, text, raw) != 1 && !memchr(host.p, ':', host.n);
}

static size_t count_entries(const char *list)
{
    size_t n = 1;
    for (; *list; list++) {
        n += *list == ',';
    }
    return n;
}

size_t conninfo_host_count(const struct conninfo *info)
{
    const char *hosts = conninfo_get(info, "host");
    const char *addresses = conninfo_get(info, "hostaddr");
    return addresses ? count_entries(addresses) : hosts ? count_entries(hosts) : 1;
}

bool conninfo_has_names(const struct conninfo *info)
{
    struct str rest = str_c(conninfo_get(info, "host"));
    if (conninfo_get(info, "hostaddr")) {
        return false;
    }
    while (rest.n > 0) {
        if (is_name(str_cut(&rest, ','))) {
            return true;
        }
    }
    return false;
}

/* The three lists while they are rebuilt. */
struct lists {
    struct buf host, addr, port;
    size_t n;
};

static void lists_deinit(struct lists *l)
{
    buf_deinit(&l->host);
    buf_deinit(&l->addr);
    buf_deinit(&l->port);
}

static void add_entry(struct lists *l, struct str host, const char *address, struct str port)
{
    if (l->n == CONNINFO_ADDRESSES) {
        return;
    }
    const char *sep = l->n++ ? "," : "";
    buf_put_c(&l->host, sep);
    buf_put_str(&l->host, host);
    buf_put_c(&l->addr, sep);
    buf_put_c(&l->addr, address);
    buf_put_c(&l->port, sep);
    buf_put_str(&l->port, port);
}

static int add_name(struct lists *l, struct str host, struct str port, struct err *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char *name = mem_strndup(host.p, host.n);
    int rc = getaddrinfo(name, NULL, &hints, &found);
    if (rc != 0) {
        err_set_sqlstate(err, ERR_UPSTREAM, "08001", "could not translate host name \"%s\" to address: %s",
                         name, gai_strerror(rc));
    }
    free(name);
    for (struct addrinfo *a = rc == 0 ? found : NULL; a; a = a->ai_next) {
        char text[NI_MAXHOST];
        if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0) {
            add_entry(l, host, text, port);
        }
    }
    if (rc == 0) {
        freeaddrinfo(found);
    }
    return rc == 0 ? 0 : -1;
}

/* One port serves all hosts, or there is one for each. */
static void add_all(struct lists *l, struct str hosts, struct str ports, struct err *err)
{
    bool shared = !ports.n || !memchr(ports.p, ',', ports.n);
    size_t left = 1;
    for (size_t i = 0; i < hosts.n; i++) {
        left += hosts.p[i] == ',';
    }
    while (left-- > 0) {
        struct str host = str_cut(&hosts, ',');
        struct str port = shared ? ports : str_cut(&ports, ',');
        if (is_name(host)) {
            ignore_result(add_name(l, host, port, err)); /* another host may do; err keeps the reason */
        } else {
            add_entry(l, host, "", port);
        }
    }
}

int conninfo_resolve(struct conninfo *info, struct err *err)
{
    CLEANUP(lists_deinit)
    struct lists l = {.host = BUF_INIT(LIST_MAX), .addr = BUF_INIT(LIST_MAX), .port = BUF_INIT(LIST_MAX)};
    add_all(&l, str_c(conninfo_get(info, "host")), str_c(conninfo_get(info, "port")), err);
    if (l.n == 0) {
        return -1;
    }
    if (l.host.overflow || l.addr.overflow || l.port.overflow) {
        return err_set_sqlstate(err, ERR_INPUT, "08001", "the database URL names too many hosts");
    }
    conninfo_set(info, "host", buf_cstr(&l.host));
    conninfo_set(info, "hostaddr", buf_cstr(&l.addr));
    conninfo_set(info, "port", buf_cstr(&l.port));
    return 0;
}
