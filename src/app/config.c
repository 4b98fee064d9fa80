/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the way from the text of each option to its value. One reader a type, chosen by the option's row; what
 * concerns several options follows when all are read.
 */
#include "app/config.h"

#include "app/auth_config.h"
#include "app/tls_config.h"
#include "base/mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/un.h>

static void wipe_text(char **text)
{
    if (*text) {
        mem_wipe(*text, strlen(*text));
        free(*text);
        *text = NULL;
    }
}

enum { CONNINFO_LIMIT = 64 * 1024, USUAL_WORKERS = 4 };

struct reader {
    const struct settings *settings;
    struct config *config;
    struct faults *faults;
};

typedef void (*read_fn)(const struct reader *r, enum option_id id, const char *text);

static void *field(const struct reader *r, enum option_id id)
{
    return (char *)r->config + options[id].field;
}

static void refuse(const struct reader *r, enum option_id id, const char *text)
{
    CLEANUP(buf_deinit) struct buf quoted = BUF_INIT(4096);
    put_quoted(&quoted, str_c(text));
    faults_add(r->faults, id, "has invalid value: %s", buf_cstr(&quoted));
}

static void read_text(const struct reader *r, enum option_id id, const char *text)
{
    *(char **)field(r, id) = mem_strdup(text);
}

static void read_bool(const struct reader *r, enum option_id id, const char *text)
{
    if (!str_to_bool(str_trim(str_c(text)), field(r, id))) {
        refuse(r, id, text);
    }
}

static bool to_port(const struct option *o, struct str text, uint16_t *out_port)
{
    uint64_t value;
    if (!str_to_u64(text, o->max, &value) || value < o->min) {
        return false;
    }
    *out_port = (uint16_t)value;
    return true;
}

static void read_port(const struct reader *r, enum option_id id, const char *text)
{
    if (!to_port(&options[id], str_trim(str_c(text)), field(r, id))) {
        refuse(r, id, text);
    }
}

static void read_count(const struct reader *r, enum option_id id, const char *text)
{
    const struct option *o = &options[id];
    uint64_t value;
    if (!str_to_u64(str_trim(str_c(text)), o->max, &value) || value < o->min) {
        refuse(r, id, text);
        return;
    }
    *(unsigned *)field(r, id) = (unsigned)value;
}

static uint64_t unit_ms(struct str unit)
{
    static const struct {
        const char *unit;
        uint64_t ms;
    } units[] = {{"", 1000}, {"ms", 1}, {"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", 86400000}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (str_eq(unit, str_c(units[i].unit))) {
            return units[i].ms;
        }
    }
    return 0;
}

/* digits [ unit ], with PostgreSQL's names of units; without one it is seconds. */
static bool to_ms(struct str text, uint64_t *out_ms)
{
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9') {
        digits++;
    }
    uint64_t unit = unit_ms(str_trim((struct str){text.p + digits, text.n - digits}));
    uint64_t value;
    return unit && str_to_u64((struct str){text.p, digits}, UINT64_MAX, &value) &&
           !__builtin_mul_overflow(value, unit, out_ms);
}

static void read_duration(const struct reader *r, enum option_id id, const char *text)
{
    uint64_t ms;
    if (!to_ms(str_trim(str_c(text)), &ms) || ms < options[id].min || ms > options[id].max) {
        refuse(r, id, text);
        return;
    }
    *(uint64_t *)field(r, id) = ms;
}

static void read_mode(const struct reader *r, enum option_id id, const char *text)
{
    struct str digits = str_trim(str_c(text));
    unsigned mode = 0;
    bool octal = digits.n > 0 && digits.n <= 4;
    for (size_t i = 0; octal && i < digits.n; i++) {
        octal = digits.p[i] >= '0' && digits.p[i] <= '7';
        mode = mode * 8 + (unsigned)(digits.p[i] - '0');
    }
    if (!octal || mode > 0777) {
        refuse(r, id, text);
        return;
    }
    *(unsigned *)field(r, id) = mode;
}

static void read_networks(const struct reader *r, enum option_id id, const char *text)
{
    struct str trimmed = str_trim(str_c(text));
    if (str_eq(trimmed, STR("off"))) {
        return;
    }
    if (!cidr_list_parse(str_eq(trimmed, STR("on")) ? STR("::/0") : trimmed, field(r, id))) {
        refuse(r, id, text);
    }
}

static void read_proxy_port(const struct reader *r, enum option_id id, const char *text)
{
    struct config_proxy *proxy = field(r, id);
    struct str port = str_trim(str_c(text));
    bool http = str_starts_with_nocase(port, STR("http"));
    if (http) {
        port = (struct str){port.p + 4, port.n - 4};
        if (port.n == 0) {
            port = str_c(options[id].value);
        } else {
            http = port.p[0] == ':';
            port = (struct str){port.p + 1, http ? port.n - 1 : 0};
        }
    }
    if (!to_port(&options[id], port, &proxy->port)) {
        refuse(r, id, text);
    }
    proxy->tunnel = http;
}

static void put_choices(struct buf *out, const struct choice *choices)
{
    for (const struct choice *c = choices; c->name; c++) {
        if (!c->alias) {
            buf_printf(out, "%s\"%s\"", c == choices ? "" : ", ", c->name);
        }
    }
}

static void read_choice(const struct reader *r, enum option_id id, const char *text)
{
    const struct choice *choices = options[id].choices;
    struct str trimmed = str_trim(str_c(text));
    for (const struct choice *c = choices; c->name; c++) {
        if (str_eq(str_c(c->name), trimmed)) {
            static_assert(sizeof(enum auth_mode) == sizeof(int), "choices are stored as int");
            memcpy(field(r, id), &c->value, sizeof c->value);
            return;
        }
    }
    if (id == OPT_WRITE_MODE && trimmed.n == 0) {
        faults_add(r->faults, id, "erroneously set to an empty value");
        return;
    }
    CLEANUP(buf_deinit) struct buf fault = BUF_INIT(4096);
    put_quoted(&fault, str_c(text));
    buf_put_c(&fault, ". Must be one of [");
    put_choices(&fault, choices);
    faults_add(r->faults, id, "has invalid value: %s]", buf_cstr(&fault));
}

static uint64_t unit_size(char unit)
{
    static const struct {
        char unit;
        uint64_t size;
    } units[] = {{'k', 1000},       {'m', 1000000},    {'g', 1000000000},
                 {'K', 1ull << 10}, {'M', 1ull << 20}, {'G', 1ull << 30}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (units[i].unit == unit) {
            return units[i].size;
        }
    }
    return 0;
}

/* digits [ "." digits ] [ unit ]. Nine decimals of a unit are exact enough; further ones are cut off. */
static bool to_size(struct str text, uint64_t *out_size)
{
    uint64_t unit = text.n ? unit_size(text.p[text.n - 1]) : 0;
    struct str number = {text.p, text.n - (unit ? 1 : 0)};
    bool has_point = number.n && memchr(number.p, '.', number.n);
    struct str fraction = number;
    struct str whole = str_cut(&fraction, '.');
    uint64_t size;
    uint64_t part = 0;
    uint64_t scale = 1;
    unit = unit ? unit : 1;
    fraction.n = fraction.n > 9 ? 9 : fraction.n;
    if (!str_to_u64(whole, UINT64_MAX, &size) || (has_point && !str_to_u64(fraction, UINT64_MAX, &part)) ||
        __builtin_mul_overflow(size, unit, &size)) {
        return false;
    }
    for (size_t i = 0; i < fraction.n; i++) {
        scale *= 10;
    }
    /* below 10^9 * 2^30: no overflow */
    if (__builtin_add_overflow(size, part * unit / scale, &size) || size == 0 || size > INT64_MAX) {
        return false;
    }
    *out_size = size;
    return true;
}

static void read_size(const struct reader *r, enum option_id id, const char *text)
{
    if (!to_size(str_trim(str_c(text)), field(r, id))) {
        refuse(r, id, text);
    }
}

static void read_url(const struct reader *r, enum option_id id, const char *text)
{
    struct config_database *database = field(r, id);
    CLEANUP(buf_deinit) struct buf fault = BUF_INIT(8192);
    if (database_url_parse(text, &database->url, &fault) < 0) {
        faults_add(r->faults, id, "%s", buf_cstr(&fault));
    }
}

static bool is_address(const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

static void read_address(const struct reader *r, enum option_id id, const char *text)
{
    struct str trimmed = str_trim(str_c(text));
    if (trimmed.n == 0 || str_eq(trimmed, STR("*"))) {
        return;
    }
    char **listen = field(r, id);
    *listen = mem_strndup(trimmed.p, trimmed.n);
    if (strcmp(*listen, "localhost") != 0 && !is_address(*listen)) {
        refuse(r, id, text);
    }
}

const char *const feature_names[FEATURES] = {"proxy_ddlx_grant", "proxy_ddlx_revoke", "proxy_ddlx_assign",
                                             "proxy_ddlx_unassign"};

/* Unknown names are allowed, as in the original: they may belong to a newer version. The first mention
 * counts. */
static void read_features(const struct reader *r, enum option_id id, const char *text)
{
    unsigned *features = field(r, id);
    unsigned seen = 0;
    struct str rest = str_trim(str_c(text));
    while (rest.n) {
        struct str value = str_cut(&rest, ':');
        struct str name = str_trim(str_cut(&value, '='));
        bool on;
        if (name.n == 0 || !str_to_bool(str_trim(value), &on)) {
            refuse(r, id, text);
            return;
        }
        for (unsigned i = 0; i < FEATURES; i++) {
            if (str_eq(name, str_c(feature_names[i])) && !(seen & 1u << i)) {
                seen |= 1u << i;
                *features |= on ? 1u << i : 0;
            }
        }
    }
}

static const read_fn readers[] = {
    [TYPE_TEXT] = read_text,         [TYPE_BOOL] = read_bool,
    [TYPE_PORT] = read_port,         [TYPE_COUNT] = read_count,
    [TYPE_DURATION] = read_duration, [TYPE_MODE] = read_mode,
    [TYPE_CHOICE] = read_choice,     [TYPE_SIZE] = read_size,
    [TYPE_URL] = read_url,           [TYPE_PROXY_PORT] = read_proxy_port,
    [TYPE_ADDRESS] = read_address,   [TYPE_NETWORKS] = read_networks,
    [TYPE_FEATURES] = read_features, [TYPE_IGNORED] = NULL,
};

static void put_conninfo_value(struct buf *out, const char *key, const char *value)
{
    buf_printf(out, "%s%s='", out->n ? " " : "", key);
    for (; *value; value++) {
        if (*value == '\'' || *value == '\\') {
            buf_put_byte(out, '\\');
        }
        buf_put_byte(out, *value);
    }
    buf_put_byte(out, '\'');
}

static void make_conninfo(struct config_database *database)
{
    const struct database_url *url = &database->url;
    struct buf text = BUF_INIT(CONNINFO_LIMIT);
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)url->port);
    put_conninfo_value(&text, "host", url->host);
    put_conninfo_value(&text, "port", port);
    put_conninfo_value(&text, "user", url->user);
    if (url->password) {
        put_conninfo_value(&text, "password", url->password);
    }
    put_conninfo_value(&text, "dbname", url->name);
    put_conninfo_value(&text, "sslmode", database->sslmode);
    database->conninfo = mem_strdup(buf_cstr(&text));
    mem_wipe(text.p, text.cap);
    buf_deinit(&text);
}

/* DATABASE_REQUIRE_SSL wins; unset, the sslmode of the URL decides; a unix socket has no TLS. */
static void finish_database(struct config_database *database, bool decided)
{
    const char *mode = database->url.sslmode;
    if (!decided) {
        database->require_ssl =
            !database_url_is_socket(&database->url) && (!mode || strcmp(mode, "require") == 0);
    }
    database->sslmode = database->require_ssl ? "require" : decided || !mode ? "prefer" : mode;
    if (database->url.host) {
        make_conninfo(database);
    }
}

static void check_database(const struct reader *r, unsigned command)
{
    bool decided = r->settings->of[OPT_DATABASE_REQUIRE_SSL].source > SOURCE_DEFAULT;
    struct config_database *database = &r->config->database;
    if (!settings_text(r->settings, OPT_DATABASE_URL) && command != FOR_DEV) {
        faults_add(r->faults, OPT_DATABASE_URL, "not set");
    }
    if (decided && database->require_ssl && database_url_is_socket(&database->url)) {
        faults_add(r->faults, OPT_DATABASE_REQUIRE_SSL, "is not possible: DATABASE_URL names a unix socket");
    }
    finish_database(database, decided);
}

static void check_socket(const struct reader *r)
{
    const char *folder = r->config->proxy.socket_folder;
    if (!folder) {
        return;
    }
    int n = snprintf(NULL, 0, "%s/.s.PGSQL.%u", folder, (unsigned)r->config->proxy.port);
    if (folder[0] != '/' || (size_t)n >= sizeof((struct sockaddr_un *)0)->sun_path) {
        refuse(r, OPT_PROXY_SOCKET, folder);
    }
}

/* Those this process may run on. */
static unsigned usual_workers(void)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > USUAL_WORKERS ? USUAL_WORKERS : (unsigned)n;
}

static void check_proxy(const struct reader *r)
{
    struct config_proxy *proxy = &r->config->proxy;
    if (!proxy->password || str_trim(str_c(proxy->password)).n == 0) {
        faults_add(r->faults, OPT_PG_PROXY_PASSWORD, "not set");
    }
    if (!r->faults->of[OPT_PG_PROXY_PORT] && !r->faults->of[OPT_HTTP_PORT] &&
        proxy->port == r->config->http_port) {
        faults_add(r->faults, OPT_PG_PROXY_PORT, "is the same port as HTTP_PORT: %u", (unsigned)proxy->port);
    }
    check_socket(r);
    if (!proxy->workers) {
        proxy->workers = usual_workers();
    }
}

static void check_token(const struct reader *r)
{
    if (!r->config->token.user) {
        faults_add(r->faults, OPT_USER, "not set");
    }
    if (!r->config->token.key && r->config->auth.algorithm != TOKEN_UNSIGNED &&
        token_secret_size(r->config->auth.algorithm) == 0) {
        faults_add(r->faults, OPT_KEY, "not set");
    }
}

static void make_instance_id(struct config *config)
{
    unsigned char r[16];
    char id[37];
    if (getrandom(r, sizeof r, 0) != (ssize_t)sizeof r) {
        abort(); /* cannot fail for 16 bytes */
    }
    r[6] = (unsigned char)((r[6] & 0x0f) | 0x40);
    r[8] = (unsigned char)((r[8] & 0x3f) | 0x80);
    snprintf(id, sizeof id, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0],
             r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
    config->instance_id = mem_strdup(id);
}

/* The release tasks give the URL to libpq as it is: whatever psql takes will do. */
static bool libpq_reads(const struct option *o, unsigned command)
{
    return o->type == TYPE_URL && (command & FOR_RELEASE);
}

void config_read(const struct settings *settings, unsigned command, struct config *out, struct faults *faults)
{
    struct reader r = {settings, out, faults};
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option *o = &options[id];
        const char *text = settings_text(settings, (enum option_id)id);
        if (text && (o->commands & command) && readers[o->type] && !libpq_reads(o, command)) {
            readers[o->type](&r, (enum option_id)id, text);
        }
    }
    if (command & FOR_RELEASE) {
        return;
    }
    if (command == FOR_TOKEN) {
        check_token(&r);
    } else {
        check_database(&r, command);
    }
    if (command & FOR_ALL) {
        check_proxy(&r);
        tls_config_check(settings, command != FOR_SHOW_CONFIG, &out->proxy.tls, faults);
    }
    if (command != FOR_CLEANUP) {
        auth_config_check(settings, &out->auth, faults);
    }
    if (!out->instance_id) {
        make_instance_id(out);
    }
}

void config_set_database(struct config *config, const char *url)
{
    CLEANUP(buf_deinit) struct buf fault = BUF_INIT(8192);
    database_url_deinit(&config->database.url);
    wipe_text(&config->database.conninfo);
    int result = database_url_parse(url, &config->database.url, &fault);
    assert(result == 0);
    finish_database(&config->database, false);
}

void config_set_data(struct config *config, const char *path)
{
    wipe_text(&config->data);
    config->data = mem_strdup(path);
}

void config_deinit(struct config *config)
{
    if (config->auth.key) {
        mem_wipe(config->auth.key, config->auth.key_size); /* may hold zero bytes */
    }
    wipe_text(&config->auth.key);
    wipe_text(&config->database.conninfo);
    database_url_deinit(&config->database.url);
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (options[id].type == TYPE_TEXT || options[id].type == TYPE_ADDRESS) {
            wipe_text((void *)((char *)config + options[id].field));
        }
    }
}
