/* SPDX-License-Identifier: Apache-2.0 */
#include "app/database_url.h"

#include "app/settings.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdlib.h>

enum { URL_LIMIT = 8192, QUERY_OPTIONS_LIMIT = 32, HOSTS_LIMIT = 8 };

static void wipe_text(char **text)
{
    if (*text) {
        mem_wipe(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

void database_url_deinit(struct database_url *url)
{
    wipe_text(&url->user);
    wipe_text(&url->password);
    wipe_text(&url->host);
    wipe_text(&url->port);
    wipe_text(&url->name);
}

PRINTF_LIKE(2, 3) static int refuse(struct buf *fault, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(fault, fmt, ap);
    va_end(ap);
    return -1;
}

static int refuse_value(struct buf *fault, const char *what, struct str value)
{
    buf_put_c(fault, what);
    put_quoted(fault, value);
    return -1;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* NULL for a bad escape or an encoded NUL. */
static char *percent_decode(struct str s)
{
    char *text = mem_alloc(s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int high = s.n - i > 2 ? hex_digit(s.p[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(s.p[i + 2]) : -1;
            if (low < 0 || high * 16 + low == 0) {
                mem_wipe(text, n);
                free(text);
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        text[n++] = c;
    }
    text[n] = '\0';
    return text;
}

/* Where the first of the characters stands, or the end. */
static size_t find_any(struct str s, const char *set)
{
    size_t n = 0;
    while (n < s.n && !strchr(set, s.p[n])) {
        n++;
    }
    return n;
}

static struct str take(struct str *s, size_t n)
{
    struct str head = {s->p, n};
    *s = (struct str){s->p + n, s->n - n};
    return head;
}

static int parse_scheme(struct str *rest, struct buf *fault)
{
    size_t n = find_any(*rest, ":/?#@");
    struct str scheme = take(rest, rest->n > n && rest->p[n] == ':' ? n : 0);
    if (!str_eq_nocase(scheme, STR("postgres")) && !str_eq_nocase(scheme, STR("postgresql"))) {
        return refuse_value(fault, "has invalid URL scheme: ", scheme);
    }
    struct str separator = STR("://");
    if (!str_starts_with(*rest, separator)) {
        return refuse(fault, "missing host");
    }
    take(rest, separator.n);
    return 0;
}

static int parse_user(struct str authority, size_t at, struct database_url *url, struct buf *fault)
{
    struct str userinfo = {authority.p, at};
    bool has_password = memchr(userinfo.p, ':', userinfo.n) != NULL;
    struct str user = str_cut(&userinfo, ':');
    url->user = percent_decode(user);
    if (!url->user || !url->user[0]) {
        return refuse(fault, "has invalid or missing username");
    }
    url->password = has_password ? percent_decode(userinfo) : NULL;
    if (has_password && !url->password) {
        return refuse(fault, "has an invalid password: write %% as %%25, and each other special character "
                             "as %% and two hexadecimal digits");
    }
    return 0;
}

/* The lists of hosts and of ports while they are made. */
struct hosts {
    struct buf names, ports;
    size_t n;
    bool has_socket;
};

static void hosts_deinit(struct hosts *hosts)
{
    buf_deinit(&hosts->names);
    buf_deinit(&hosts->ports);
}

static int add_port(struct hosts *hosts, struct str port, struct buf *fault)
{
    uint64_t value = 5432;
    if (port.n && (!str_to_u64(port, UINT16_MAX, &value) || value == 0)) {
        return refuse_value(fault, "has invalid port: ", port);
    }
    buf_printf(&hosts->ports, "%s%u", hosts->n ? "," : "", (unsigned)value);
    return 0;
}

static int add_name(struct hosts *hosts, struct str host, struct buf *fault)
{
    char *name = percent_decode(host);
    if (!name || strchr(name, ',')) {
        free(name);
        return refuse_value(fault, "has invalid host: ", host);
    }
    hosts->has_socket |= name[0] == '/';
    buf_printf(&hosts->names, "%s%s", hosts->n ? "," : "", name);
    free(name);
    return 0;
}

static int parse_host(struct str rest, struct hosts *hosts, struct buf *fault)
{
    struct str host;
    if (rest.n && rest.p[0] == '[') {
        take(&rest, 1);
        size_t n = find_any(rest, "]");
        if (n == rest.n) {
            return refuse(fault, "has an invalid host: the bracket of the IPv6 address is not closed");
        }
        host = take(&rest, n);
        take(&rest, 1);
        if (rest.n && rest.p[0] != ':') {
            return refuse(fault, "has an invalid host: only a port may follow the IPv6 address");
        }
    } else {
        host = take(&rest, find_any(rest, ":"));
    }
    take(&rest, rest.n ? 1 : 0);
    if (host.n == 0) {
        return refuse(fault, "missing host");
    }
    if (add_name(hosts, host, fault) < 0 || add_port(hosts, rest, fault) < 0) {
        return -1;
    }
    hosts->n++;
    return 0;
}

static int parse_hosts(struct str rest, struct database_url *url, struct buf *fault)
{
    CLEANUP(hosts_deinit) struct hosts hosts = {.names = BUF_INIT(URL_LIMIT), .ports = BUF_INIT(URL_LIMIT)};
    bool more = true;
    while (more) {
        more = memchr(rest.p, ',', rest.n) != NULL;
        if (hosts.n == HOSTS_LIMIT) {
            return refuse(fault, "has more than %d hosts", HOSTS_LIMIT);
        }
        if (parse_host(str_cut(&rest, ','), &hosts, fault) < 0) {
            return -1;
        }
    }
    if (hosts.has_socket && hosts.n > 1) {
        return refuse(fault, "names a unix socket and other hosts: only one of them is possible");
    }
    url->host = mem_strdup(buf_cstr(&hosts.names));
    url->port = mem_strdup(buf_cstr(&hosts.ports));
    url->session_attrs = hosts.n > 1 ? "primary" : NULL;
    return 0;
}

/* The last @ ends the user's part: a password with an @ that somebody forgot to encode is then still whole.
 */
static int parse_authority(struct str authority, struct database_url *url, struct buf *fault)
{
    size_t at = authority.n;
    while (at > 0 && authority.p[at - 1] != '@') {
        at--;
    }
    if (at == 0) {
        return refuse(fault, "has invalid or missing username");
    }
    if (parse_user(authority, at - 1, url, fault) < 0) {
        return -1;
    }
    return parse_hosts((struct str){authority.p + at, authority.n - at}, url, fault);
}

static int parse_sslmode(struct str value, struct database_url *url, struct buf *fault)
{
    static const char *const modes[] = {"disable", "allow", "prefer", "require"};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        if (str_eq(value, str_c(modes[i]))) {
            url->sslmode = modes[i];
            return 0;
        }
    }
    if (str_eq(value, STR("verify-ca")) || str_eq(value, STR("verify-full"))) {
        return refuse(fault,
                      "has unsupported \"sslmode\" value \"%.*s\". Consider using the DATABASE_REQUIRE_SSL "
                      "configuration option",
                      STR_ARG(value));
    }
    return refuse_value(fault, "has invalid \"sslmode\" value: ", value);
}

/* Busbar writes. */
static int parse_session_attrs(struct str value, struct database_url *url, struct buf *fault)
{
    static const char *const known[] = {"primary", "read-write"};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (str_eq(value, str_c(known[i]))) {
            url->session_attrs = known[i];
            return 0;
        }
    }
    return refuse_value(fault, "\"target_session_attrs\" must be primary or read-write, not ", value);
}

static int compare_names(const void *a, const void *b)
{
    const struct str *x = a;
    const struct str *y = b;
    int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static int refuse_options(struct str *names, size_t n, struct buf *fault)
{
    qsort(names, n, sizeof *names, compare_names);
    buf_put_c(fault, "has unsupported query options: ");
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || !str_eq(names[i], names[i - 1])) {
            buf_put_c(fault, i ? ", " : "");
            put_quoted(fault, names[i]);
        }
    }
    return -1;
}

static int parse_query(struct str query, struct database_url *url, struct buf *fault)
{
    struct str unknown[QUERY_OPTIONS_LIMIT];
    size_t n = 0;
    while (query.n) {
        struct str value = str_cut(&query, '&');
        struct str name = str_cut(&value, '=');
        if (str_eq(name, STR("replication"))) {
            return refuse(fault,
                          "has unsupported \"replication\" query option. Busbar opens both a replication "
                          "connection and regular connections to Postgres as needed");
        }
        if (str_eq(name, STR("sslmode"))) {
            if (parse_sslmode(value, url, fault) < 0) {
                return -1;
            }
        } else if (str_eq(name, STR("target_session_attrs"))) {
            if (parse_session_attrs(value, url, fault) < 0) {
                return -1;
            }
        } else if (name.n && n < ARRAY_LEN(unknown)) {
            unknown[n++] = name;
        }
    }
    return n ? refuse_options(unknown, n, fault) : 0;
}

static int parse_name(struct str path, struct database_url *url, struct buf *fault)
{
    take(&path, path.n ? 1 : 0);
    url->name = path.n ? percent_decode(path) : mem_strdup(url->user);
    return url->name ? 0 : refuse_value(fault, "has invalid database name: ", path);
}

int database_url_parse(const char *text, struct database_url *out, struct buf *fault)
{
    struct database_url url = DATABASE_URL_INIT;
    struct str rest = str_trim(str_c(text));
    if (rest.n > URL_LIMIT) {
        return refuse(fault, "is longer than %d bytes", URL_LIMIT);
    }
    if (parse_scheme(&rest, fault) < 0) {
        return -1;
    }
    struct str authority = take(&rest, find_any(rest, "/?#"));
    struct str path = take(&rest, find_any(rest, "?#"));
    struct str query = take(&rest, find_any(rest, "#"));
    take(&query, query.n ? 1 : 0);
    if (parse_authority(authority, &url, fault) < 0 || parse_name(path, &url, fault) < 0 ||
        parse_query(query, &url, fault) < 0) {
        database_url_deinit(&url);
        return -1;
    }
    *out = url;
    return 0;
}

static void put_encoded(struct buf *out, const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    for (; *text; text++) {
        if (strchr(plain, *text)) {
            buf_put_byte(out, *text);
        } else {
            buf_printf(out, "%%%02X", (unsigned char)*text);
        }
    }
}

static void put_hosts(const struct database_url *url, struct buf *out)
{
    struct str hosts = str_c(url->host), ports = str_c(url->port);
    while (hosts.n) {
        CLEANUP(buf_deinit) struct buf host = BUF_INIT(URL_LIMIT);
        buf_put_str(&host, str_cut(&hosts, ','));
        struct str port = str_cut(&ports, ',');
        if (memchr(host.p, ':', host.n)) {
            buf_printf(out, "[%s]", buf_cstr(&host));
        } else {
            put_encoded(out, buf_cstr(&host));
        }
        buf_printf(out, ":%.*s%s", STR_ARG(port), hosts.n ? "," : "");
    }
}

void database_url_put_masked(const struct database_url *url, struct buf *out)
{
    buf_put_c(out, "postgresql://");
    put_encoded(out, url->user);
    buf_put_c(out, url->password ? ":********@" : "@");
    put_hosts(url, out);
    buf_put_byte(out, '/');
    put_encoded(out, url->name);
    if (url->sslmode) {
        buf_printf(out, "?sslmode=%s", url->sslmode);
    }
}
