/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration as a plain value: made once at start, owned by main, passed down const.
 * What an option means stands in the table of options.c; how its text is read, in config.c.
 */
#pragma once

#include "app/database_url.h"
#include "app/settings.h"
#include "base/log.h"
#include "net/cidr.h"
#include "sync/token.h"

enum auth_mode { AUTH_SECURE, AUTH_INSECURE };
enum proxy_auth { PROXY_AUTH_SCRAM, PROXY_AUTH_MD5 };
enum tls_mode { TLS_DISABLE, TLS_ALLOW, TLS_REQUIRE, TLS_VERIFY_CA };
enum tls_min_version { TLS_AT_LEAST_1_2, TLS_AT_LEAST_1_3 };
enum write_mode { WRITE_DIRECT, WRITE_LOGICAL };

/* Bits of config.features. */
enum { FEATURE_GRANT = 1, FEATURE_REVOKE = 2, FEATURE_ASSIGN = 4, FEATURE_UNASSIGN = 8, FEATURES = 4 };
extern const char *const feature_names[FEATURES]; /* bit 0 first */

struct config_database {
    struct database_url url; /* url.host NULL: not set (busbar dev alone) */
    bool require_ssl; /* false: TLS first, plain text as fallback, unless sslmode says disable or allow */
    bool use_ipv6;
    const char *sslmode; /* what to tell libpq: "require", "prefer", "allow", "disable"; static text */
    char *conninfo;      /* all of it as a libpq connection string, password included */
};

/* TLS between the proxy and its clients. */
struct config_tls {
    enum tls_mode mode;
    char *cert, *key, *client_ca; /* files; NULL when not set */
    enum tls_min_version min_version;
};

struct config_proxy {
    uint16_t port;
    bool tunnel; /* PG_PROXY_PORT=http[:n]: also through a WebSocket on the HTTP port */
    enum proxy_auth auth;
    char *password;
    struct config_tls tls;
    char *socket_folder; /* of the unix socket .s.PGSQL.PORT; NULL: none */
    unsigned socket_mode;
    struct cidr_list proxy_protocol; /* who must begin with a PROXY header; empty: nobody */
    unsigned workers;
    unsigned max_connections;
    uint64_t login_timeout_ms;
    uint64_t idle_timeout_ms; /* 0: none */
    uint64_t drain_timeout_ms;
};

struct config_auth {
    enum auth_mode mode;
    enum token_algorithm algorithm; /* TOKEN_UNSIGNED: not set, insecure mode */
    char *key_text;                 /* as given */
    bool key_is_base64;
    char *key;            /* HS: the secret, decoded; RS and ES: the PEM text */
    size_t key_size;      /* without the NUL that follows */
    char *ns, *iss, *aud; /* NULL when not set */
};

/* For the release tasks. Lists have an entry a line. Texts are NULL when not set. */
struct config_release {
    char *proxy_url, *config_file;
    char *repos, *paths, *source, *prefixes, *lock;
    char *to, *to_exclusive, *file;
    unsigned step; /* 0: not set */
    bool all, data, strict, dry_run, emit_forward, once, force, quiet, log_sql, exit_code;
    uint64_t database_wait_ms, lock_wait_ms, lock_timeout_ms;
    unsigned lock_retries;
    int format, action;
};

struct config {
    struct config_database database;
    struct config_proxy proxy;
    struct config_auth auth;
    uint16_t http_port;
    char *listen; /* an address, "localhost" (both loopback addresses), or NULL for all: as listener_new()
                     takes it */
    bool use_ipv6;
    bool reuseport;
    enum log_level log_level;
    enum write_mode write_mode;
    uint64_t wal_window;     /* bytes */
    uint64_t txn_cache_size; /* bytes */
    unsigned features;       /* FEATURE_ bits */
    char *instance_id;
    char *data; /* folder */
    struct {
        char *pg_bin;     /* NULL: search */
        uint16_t pg_port; /* 0: choose */
        bool ephemeral;
    } dev;
    struct {
        bool markdown;
    } show;
    struct {
        bool adopt;
    } check;
    struct config_release release;
    struct {
        char *user, *claims, *key; /* claims: NAME=VALUE, one a line */
        uint64_t life_ms;          /* 0: no end */
    } token;
    bool json; /* the command prints JSON */
};

#define CONFIG_INIT \
    {               \
        0           \
    }

/*
 * Reads every option that `command` (a FOR_ bit) takes. Always leaves *out fit for config_deinit() (the
 * caller gave it as CONFIG_INIT); it is fit for use only when no fault was added.
 */
void config_read(const struct settings *settings, unsigned command, struct config *out,
                 struct faults *faults);

/* Puts another database in place, for the embedded cluster. `url` is trusted to be well-formed. */
void config_set_database(struct config *config, const char *url);

/* Puts another folder in place, for the same. */
void config_set_data(struct config *config, const char *path);

/* Frees everything, wipes secrets; may run twice. */
void config_deinit(struct config *config);
