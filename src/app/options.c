/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table. Rows stand in the order in which faults are reported and documents list them.
 * To add an option: an id in options.h, a row here, a field in struct config; then refresh docs/config.md.
 */
#include "app/options.h"

#include "app/config.h"

static const struct choice auth_modes[] = {{"secure", AUTH_SECURE}, {"insecure", AUTH_INSECURE}, {NULL}};

static const struct choice jwt_algorithms[] = {{"HS256", TOKEN_HS256}, {"HS384", TOKEN_HS384},
                                               {"HS512", TOKEN_HS512}, {"RS256", TOKEN_RS256},
                                               {"RS384", TOKEN_RS384}, {"RS512", TOKEN_RS512},
                                               {"ES256", TOKEN_ES256}, {"ES384", TOKEN_ES384},
                                               {"ES512", TOKEN_ES512}, {NULL}};

static const struct choice proxy_auths[] = {
    {"scram-sha-256", PROXY_AUTH_SCRAM}, {"md5", PROXY_AUTH_MD5}, {NULL}};

static const struct choice tls_modes[] = {{"disable", TLS_DISABLE},    {"allow", TLS_ALLOW},
                                          {"require", TLS_REQUIRE},    {"verify-ca", TLS_VERIFY_CA},
                                          {"prefer", TLS_ALLOW, true}, {NULL}};

static const struct choice tls_versions[] = {
    {"TLSv1.2", TLS_AT_LEAST_1_2}, {"TLSv1.3", TLS_AT_LEAST_1_3}, {NULL}};

static const struct choice write_modes[] = {
    {"direct_writes", WRITE_DIRECT}, {"logical_replication", WRITE_LOGICAL}, {NULL}};

static const struct choice log_levels[] = {{"error", LOG_ERROR},
                                           {"warning", LOG_WARNING},
                                           {"info", LOG_INFO},
                                           {"debug", LOG_DEBUG},
                                           {"emergency", LOG_ERROR, true},
                                           {"alert", LOG_ERROR, true},
                                           {"critical", LOG_ERROR, true},
                                           {"warn", LOG_WARNING, true},
                                           {"notice", LOG_INFO, true},
                                           {NULL}};

static const struct choice formats[] = {{"lines", 0}, {"ecto", 1}, {NULL}}; /* enum report_format */

/* enum task_repair */
static const struct choice repairs[] = {{"show", 0}, {"retry", 1},  {"resume", 2}, {"up", 3},
                                        {"down", 4}, {"accept", 5}, {NULL}};

enum { DAY_MS = 24 * 60 * 60 * 1000 };

#define FIELD(name) offsetof(struct config, name)

const struct option options[OPTION_COUNT] = {
    [OPT_DATABASE_URL] =
        {"DATABASE_URL", "--database-url", "URL", TYPE_URL, GROUP_DATABASE,
         FOR_ALL | FOR_CLEANUP | FOR_RELEASE, .field = FIELD(database), .secret = true,
         .empty_is_unset = true,
         .value_note = "required; busbar dev starts a PostgreSQL of its own when it is not set",
         .help = "PostgreSQL to serve: postgresql://user:password@host:port/database?sslmode=require. "
                 "The port is 5432 and the database named like the user unless the URL says otherwise. "
                 "A host that begins with %2F is the folder of a unix socket. Several servers of which one "
                 "is the "
                 "primary: host1:port,host2:port.",
         .hint = "Example: postgresql://user:password@localhost:5432/app"},
    [OPT_DATABASE_REQUIRE_SSL] =
        {"DATABASE_REQUIRE_SSL", "--database-require-ssl", NULL, TYPE_BOOL, GROUP_DATABASE,
         FOR_ALL | FOR_CLEANUP, .value = "true", .field = FIELD(database.require_ssl),
         .value_note = "true, unless the URL has an sslmode other than require or names a unix socket",
         .help =
             "Refuse to talk to PostgreSQL without TLS. When false, TLS is tried first and plain text is the "
             "fallback. When set, the sslmode of DATABASE_URL is ignored."},
    [OPT_DATABASE_USE_IPV6] =
        {"DATABASE_USE_IPV6", "--database-use-ipv6", NULL, TYPE_BOOL, GROUP_DATABASE, FOR_ALL | FOR_CLEANUP,
         .value = "false", .field = FIELD(database.use_ipv6),
         .help = "Accepted for compatibility: both address families of the database host are always tried."},
    [OPT_PG_PROXY_PASSWORD] =
        {"PG_PROXY_PASSWORD", "--pg-proxy-password", "PASSWORD", TYPE_TEXT, GROUP_LISTEN, FOR_ALL,
         .dev_value = "proxy_password", .field = FIELD(proxy.password), .reloads = true, .secret = true,
         .empty_is_unset = true, .value_note = "required",
         .help = "Password that migration tools give to the proxy; any user name is accepted with it.",
         .hint = "Choose a long random text: the proxy gives access to the database as the user of "
                 "DATABASE_URL."},
    [OPT_PG_PROXY_PORT] =
        {"PG_PROXY_PORT", "--pg-proxy-port", "PORT", TYPE_PROXY_PORT, GROUP_LISTEN, FOR_ALL, .value = "65432",
         .min = 1, .max = 65535, .field = FIELD(proxy),
         .help =
             "Port of the migrations proxy. http or http:PORT also allows the tunnel through the HTTP port.",
         .hint = "Allowed: a port from 1 to 65535, http, or http:<port>."},
    [OPT_PROXY_AUTH] = {"BUSBAR_PROXY_AUTH", "--proxy-auth", "METHOD", TYPE_CHOICE, GROUP_LISTEN, FOR_ALL,
                        .value = "scram-sha-256", .choices = proxy_auths, .field = FIELD(proxy.auth),
                        .reloads = true,
                        .help = "How clients of the proxy prove the password; md5 is for old drivers only."},
    [OPT_TLS] =
        {"BUSBAR_TLS", "--tls", "MODE", TYPE_CHOICE, GROUP_LISTEN, FOR_ALL, .choices = tls_modes,
         .field = FIELD(proxy.tls.mode), .reloads = true, .empty_is_unset = true,
         .value_note = "allow when BUSBAR_TLS_CERT is set, else disable",
         .help = "TLS for clients of the proxy over TCP. disable: none. allow: for those that ask for it. "
                 "require: others are refused. verify-ca: clients must have a certificate as well "
                 "(docs/tls.md)."},
    [OPT_TLS_CERT] =
        {"BUSBAR_TLS_CERT", "--tls-cert", "FILE", TYPE_TEXT, GROUP_LISTEN, FOR_ALL,
         .field = FIELD(proxy.tls.cert), .reloads = true, .empty_is_unset = true, .value_note = "none",
         .help = "The proxy's certificate in PEM form, followed by those that lead to a root. Read anew on "
                 "SIGHUP."},
    [OPT_TLS_KEY] =
        {"BUSBAR_TLS_KEY", "--tls-key", "FILE", TYPE_TEXT, GROUP_LISTEN, FOR_ALL,
         .field = FIELD(proxy.tls.key), .reloads = true, .empty_is_unset = true, .value_note = "none",
         .help = "The certificate's private key in PEM form, without passphrase, readable by its owner alone "
                 "(0600; 0640 when root owns it). Read anew on SIGHUP.",
         .hint = "A file in PEM form with the private key of BUSBAR_TLS_CERT, mode 0600."},
    [OPT_TLS_CLIENT_CA] =
        {"BUSBAR_TLS_CLIENT_CA", "--tls-client-ca", "FILE", TYPE_TEXT, GROUP_LISTEN, FOR_ALL,
         .field = FIELD(proxy.tls.client_ca), .reloads = true, .empty_is_unset = true, .value_note = "none",
         .help = "Certificates, in PEM form, of those who may sign client certificates. When set, a "
                 "certificate that a client shows must be good, and with verify-ca it must show one. Read "
                 "anew on SIGHUP."},
    [OPT_TLS_MIN_VERSION] = {"BUSBAR_TLS_MIN_VERSION", "--tls-min-version", "VERSION", TYPE_CHOICE,
                             GROUP_LISTEN, FOR_ALL, .value = "TLSv1.2", .choices = tls_versions,
                             .field = FIELD(proxy.tls.min_version), .reloads = true,
                             .help = "Oldest version of TLS that clients of the proxy may use."},
    [OPT_HTTP_PORT] = {"HTTP_PORT", "--http-port", "PORT", TYPE_PORT, GROUP_LISTEN, FOR_ALL, .value = "5133",
                       .min = 1, .max = 65535, .field = FIELD(http_port),
                       .help = "Port of HTTP and WebSocket."},
    [OPT_LISTEN] = {"BUSBAR_LISTEN", "--listen", "ADDRESS", TYPE_ADDRESS, GROUP_LISTEN, FOR_ALL, .value = "*",
                    .dev_value = "localhost", .field = FIELD(listen),
                    .help =
                        "Address to listen on: * for all, localhost for loopback alone, or an IP address.",
                    .hint = "Allowed: *, localhost, or an IPv4 or IPv6 address of this machine."},
    [OPT_USE_IPV6] = {"ELECTRIC_USE_IPV6", "--electric-use-ipv6", NULL, TYPE_BOOL, GROUP_LISTEN, FOR_ALL,
                      .value = "true", .field = FIELD(use_ipv6),
                      .help = "Listen on IPv6 as well as IPv4; false: IPv4 only."},
    [OPT_REUSEPORT] =
        {"BUSBAR_REUSEPORT", "--reuseport", NULL, TYPE_BOOL, GROUP_LISTEN, FOR_ALL, .value = "false",
         .field = FIELD(reuseport),
         .help = "Let several busbar processes of one user listen on the same ports (SO_REUSEPORT), for a "
                 "restart without a gap: the new one starts before the old one is stopped."},
    [OPT_PROXY_SOCKET] =
        {"BUSBAR_PROXY_SOCKET", "--proxy-socket", "DIR", TYPE_TEXT, GROUP_LISTEN, FOR_ALL,
         .field = FIELD(proxy.socket_folder), .empty_is_unset = true, .value_note = "none",
         .help =
             "Folder in which the proxy also listens on a unix socket, named as PostgreSQL names its own: "
             ".s.PGSQL. and the port (psql -h DIR -p PORT).",
         .hint = "Allowed: an absolute path; with the name of the socket at most 107 bytes."},
    [OPT_PROXY_SOCKET_MODE] =
        {"BUSBAR_PROXY_SOCKET_MODE", "--proxy-socket-mode", "MODE", TYPE_MODE, GROUP_LISTEN,
         FOR_ALL, .value = "0777", .field = FIELD(proxy.socket_mode),
         .help = "Permissions of the unix socket, octal: who may connect needs to be allowed to write.",
         .hint = "Allowed: an octal number up to 0777."},
    [OPT_PROXY_PROTOCOL] =
        {"BUSBAR_PROXY_PROTOCOL", "--proxy-protocol", "SOURCES", TYPE_NETWORKS, GROUP_LISTEN, FOR_ALL,
         .value = "off", .field = FIELD(proxy.proxy_protocol),
         .help = "Who speaks for clients by the PROXY protocol, version 2: off for nobody, on for whoever "
                 "connects over TCP, or the networks of the load balancers, as in 10.0.0.0/8,192.168.7.4. "
                 "Connections from these must begin with its header; from others none is accepted.",
         .hint = "Allowed: off, on, or up to 32 addresses and networks (10.0.0.0/8, fd00::/8) with commas."},
    [OPT_WORKERS] = {"BUSBAR_WORKERS", "--workers", "N", TYPE_COUNT, GROUP_LIMITS, FOR_ALL, .min = 1,
                     .max = 64, .field = FIELD(proxy.workers), .empty_is_unset = true,
                     .value_note = "one a processor, at most 4",
                     .help = "Threads that move the data of proxy sessions.", .hint = "Allowed: 1 to 64."},
    [OPT_MAX_CONNECTIONS] =
        {"BUSBAR_MAX_CONNECTIONS", "--max-connections", "N", TYPE_COUNT, GROUP_LIMITS,
         FOR_ALL, .value = "1000", .min = 1, .max = 100000, .field = FIELD(proxy.max_connections),
         .reloads = true,
         .help = "Clients connected to the proxy at once. Each has a connection to PostgreSQL of its own, "
                 "whose max_connections (100 unless changed) is often reached first.",
         .hint = "Allowed: 1 to 100000."},
    [OPT_LOGIN_TIMEOUT] = {"BUSBAR_LOGIN_TIMEOUT", "--login-timeout", "TIME", TYPE_DURATION, GROUP_LIMITS,
                           FOR_ALL, .value = "60s", .min = 1000, .max = 600000,
                           .field = FIELD(proxy.login_timeout_ms), .reloads = true,
                           .help = "Time a client of the proxy has to log in.",
                           .hint = "Allowed: 1s to 10min. A number alone counts seconds."},
    [OPT_IDLE_TIMEOUT] =
        {"BUSBAR_IDLE_TIMEOUT", "--idle-timeout", "TIME", TYPE_DURATION, GROUP_LIMITS, FOR_ALL, .value = "0",
         .min = 0, .max = 30ull * DAY_MS, .field = FIELD(proxy.idle_timeout_ms), .reloads = true,
         .help = "Time after which a session is closed that does nothing outside a transaction; 0: never.",
         .hint = "Allowed: 0 to 30d, as in 90s, 5min, 1h, 2d. A number alone counts seconds."},
    [OPT_DRAIN_TIMEOUT] = {"BUSBAR_DRAIN_TIMEOUT", "--drain-timeout", "TIME", TYPE_DURATION, GROUP_LIMITS,
                           FOR_ALL, .value = "25s", .min = 0, .max = DAY_MS,
                           .field = FIELD(proxy.drain_timeout_ms), .reloads = true,
                           .help = "Time that open transactions have to end after SIGTERM.",
                           .hint =
                               "Allowed: 0 to 1d, as in 500ms, 25s, 5min. A number alone counts seconds."},
    [OPT_AUTH_MODE] =
        {"AUTH_MODE", "--auth-mode", "MODE", TYPE_CHOICE, GROUP_AUTH, FOR_ALL | FOR_TOKEN, .value = "secure",
         .dev_value = "insecure", .choices = auth_modes, .field = FIELD(auth.mode), .empty_is_unset = true,
         .help = "secure: the tokens of sync clients must be signed. insecure: signatures are not looked at; "
                 "for development only."},
    [OPT_AUTH_JWT_ALG] =
        {"AUTH_JWT_ALG", "--auth-jwt-alg", "ALGORITHM", TYPE_CHOICE, GROUP_AUTH, FOR_ALL | FOR_TOKEN,
         .choices = jwt_algorithms, .field = FIELD(auth.algorithm), .reloads = true, .empty_is_unset = true,
         .value_note = "required in secure mode",
         .help = "Signature algorithm of the tokens: HS256 HS384 HS512 RS256 RS384 RS512 ES256 ES384 ES512.",
         .hint = "Example: HS256. Set AUTH_MODE=insecure to develop without signed tokens."},
    [OPT_AUTH_JWT_KEY] =
        {"AUTH_JWT_KEY", "--auth-jwt-key", "KEY", TYPE_TEXT, GROUP_AUTH, FOR_ALL | FOR_TOKEN,
         .field = FIELD(auth.key_text), .reloads = true, .secret = true, .empty_is_unset = true,
         .value_note = "required in secure mode",
         .help = "Key that verifies tokens. HS256, HS384, HS512: a secret of at least 32, 48, 64 bytes. "
                 "RS and ES: a public key in PEM form with its header, footer and line breaks.",
         .hint = "A secret text for the HS algorithms, a public key in PEM form for RS and ES."},
    [OPT_AUTH_JWT_KEY_IS_BASE64] =
        {"AUTH_JWT_KEY_IS_BASE64_ENCODED", "--auth-jwt-key-is-base64-encoded", NULL, TYPE_BOOL, GROUP_AUTH,
         FOR_ALL | FOR_TOKEN, .value = "false", .field = FIELD(auth.key_is_base64), .reloads = true,
         .empty_is_unset = true,
         .help = "The secret of an HS algorithm is given in base64 (padding optional)."},
    [OPT_AUTH_JWT_NAMESPACE] = {"AUTH_JWT_NAMESPACE", "--auth-jwt-namespace", "CLAIM", TYPE_TEXT, GROUP_AUTH,
                                FOR_ALL | FOR_TOKEN, .field = FIELD(auth.ns), .reloads = true,
                                .empty_is_unset = true,
                                .help = "Claim that holds the custom claims, the user id among them."},
    [OPT_AUTH_JWT_ISS] = {"AUTH_JWT_ISS", "--auth-jwt-iss", "ISSUER", TYPE_TEXT, GROUP_AUTH,
                          FOR_ALL | FOR_TOKEN, .field = FIELD(auth.iss), .reloads = true,
                          .empty_is_unset = true, .help = "Issuer (iss) that tokens must name."},
    [OPT_AUTH_JWT_AUD] = {"AUTH_JWT_AUD", "--auth-jwt-aud", "AUDIENCE", TYPE_TEXT, GROUP_AUTH,
                          FOR_ALL | FOR_TOKEN, .field = FIELD(auth.aud), .reloads = true,
                          .empty_is_unset = true, .help = "Audience (aud) that tokens must name."},
    [OPT_WRITE_MODE] =
        {"ELECTRIC_WRITE_TO_PG_MODE", "--electric-write-to-pg-mode", "MODE", TYPE_CHOICE, GROUP_SYNC, FOR_ALL,
         .value = "direct_writes", .choices = write_modes, .field = FIELD(write_mode),
         .help =
             "direct_writes or logical_replication; Busbar always writes directly, PostgreSQL never has to "
             "connect back."},
    [OPT_DATA] = {"BUSBAR_DATA", "--data", "DIR", TYPE_TEXT, GROUP_SYNC, FOR_ALL, .value = "./.busbar",
                  .field = FIELD(data), .empty_is_unset = true,
                  .help = "Folder of what the service keeps: in log/ what sync clients resume from, and with "
                          "busbar dev the embedded PostgreSQL. Made when it is missing. Not on NFS."},
    [OPT_WAL_WINDOW] =
        {"ELECTRIC_RESUMABLE_WAL_WINDOW", "--electric-resumable-wal-window", "SIZE", TYPE_SIZE, GROUP_SYNC,
         FOR_ALL, .value = "2G", .field = FIELD(wal_window),
         .help = "How much of the past is kept in BUSBAR_DATA for sync clients to resume from: bytes of "
                 "changes."},
    [OPT_TXN_CACHE_SIZE] = {"ELECTRIC_TXN_CACHE_SIZE", "--electric-txn-cache-size", "SIZE", TYPE_SIZE,
                            GROUP_SYNC, FOR_ALL, .value = "256M", .field = FIELD(txn_cache_size),
                            .help =
                                "Accepted for compatibility, without effect: who is behind reads from the "
                                "log in BUSBAR_DATA, and the operating system keeps in memory what is "
                                "read there. ELECTRIC_RESUMABLE_WAL_WINDOW alone decides how far back "
                                "that reaches."},
    [OPT_FEATURES] =
        {"ELECTRIC_FEATURES", "--electric-features", "FLAGS", TYPE_FEATURES, GROUP_SYNC, FOR_ALL,
         .field = FIELD(features), .empty_is_unset = true,
         .help =
             "Switches for unfinished statements: proxy_ddlx_grant, proxy_ddlx_revoke, proxy_ddlx_assign, "
             "proxy_ddlx_unassign, as name=true:name=false. The first mention of a name counts.",
         .hint = "Allowed: name=true or name=false, separated by colons."},
    [OPT_INSTANCE_ID] = {"ELECTRIC_INSTANCE_ID", "--electric-instance-id", "ID", TYPE_TEXT, GROUP_SYNC,
                         FOR_ALL, .field = FIELD(instance_id), .empty_is_unset = true,
                         .value_note = "a random UUID at each start",
                         .help = "Name of this instance, as told to clients and in metrics."},
    [OPT_LOG_LEVEL] =
        {"LOG_LEVEL", "--log-level", "LEVEL", TYPE_CHOICE, GROUP_LOG, FOR_ALL, .value = "info",
         .choices = log_levels, .field = FIELD(log_level), .reloads = true,
         .help = "error, warning, info or debug. Also accepted: emergency, alert, critical, warn, notice."},
    [OPT_EPHEMERAL] = {"BUSBAR_EPHEMERAL", "--ephemeral", NULL, TYPE_BOOL, GROUP_CLUSTER, FOR_DEV,
                       .value = "false", .field = FIELD(dev.ephemeral),
                       .help = "Use a new cluster in a temporary folder and remove it at the end."},
    [OPT_PG_PORT] = {"BUSBAR_PG_PORT", "--pg-port", "PORT", TYPE_PORT, GROUP_CLUSTER, FOR_DEV, .min = 1,
                     .max = 65535, .field = FIELD(dev.pg_port), .empty_is_unset = true,
                     .value_note = "that of the last start when it is free, else any free one",
                     .help = "Port of the embedded PostgreSQL on the loopback addresses."},
    [OPT_PG_BIN] = {"BUSBAR_PG_BIN", "--pg-bin", "DIR", TYPE_TEXT, GROUP_CLUSTER, FOR_DEV,
                    .field = FIELD(dev.pg_bin), .empty_is_unset = true,
                    .value_note = "the newest that is found",
                    .help = "Folder of the PostgreSQL programs (initdb, postgres) for the embedded cluster."},
    [OPT_MARKDOWN] =
        {NULL, "--markdown", NULL, TYPE_BOOL, GROUP_OUTPUT, FOR_SHOW_CONFIG, .value = "false",
         .field = FIELD(show.markdown),
         .help = "Print the reference of all options (docs/config.md) instead of the values in force."},
    [OPT_ADOPT] =
        {NULL, "--adopt", NULL, TYPE_BOOL, GROUP_OUTPUT, FOR_CHECK, .value = "false",
         .field = FIELD(check.adopt),
         .help = "Record tables that were changed beside the proxy as a migration, if clients can follow."},
    [OPT_JSON] = {NULL, "--json", NULL, TYPE_BOOL, GROUP_OUTPUT,
                  FOR_CHECK | FOR_TOKEN | FOR_STATUS | FOR_PLAN, .value = "false", .field = FIELD(json),
                  .help = "Print JSON instead of lines."},
    [OPT_USER] = {NULL, "--user", "ID", TYPE_TEXT, GROUP_TOKEN, FOR_TOKEN, .field = FIELD(token.user),
                  .empty_is_unset = true, .value_note = "required",
                  .help = "User id that the token is for (claim sub).", .hint = "Example: --user alice"},
    [OPT_EXP] = {NULL, "--exp", "TIME", TYPE_DURATION, GROUP_TOKEN, FOR_TOKEN, .value = "1d", .min = 0,
                 .max = 3650ull * DAY_MS, .field = FIELD(token.life_ms),
                 .help = "How long the token is valid; 0: without end, which secure mode does not accept.",
                 .hint = "Allowed: 0 to 3650d, as in 90s, 5min, 1h, 2d. A number alone counts seconds."},
    [OPT_CLAIM] = {NULL, "--claim", "NAME=VALUE", TYPE_TEXT, GROUP_TOKEN, FOR_TOKEN,
                   .field = FIELD(token.claims), .repeats = true, .empty_is_unset = true,
                   .help = "A further claim; can be given several times. The value is JSON if it reads as "
                           "JSON, else text.",
                   .hint = "Example: --claim role=editor --claim level=3"},
    [OPT_KEY] = {NULL, "--key", "FILE", TYPE_TEXT, GROUP_TOKEN, FOR_TOKEN, .field = FIELD(token.key),
                 .empty_is_unset = true, .value_note = "required for the RS and ES algorithms",
                 .help = "The private key, in PEM form, that belongs to the public one in AUTH_JWT_KEY.",
                 .hint = "A file in PEM form with the private key that signs tokens."},
    [OPT_PROXY_URL] = {"PROXY_URL", "--proxy-url", "URL", TYPE_TEXT, GROUP_RELEASE, FOR_RELEASE,
                       .field = FIELD(release.proxy_url), .secret = true, .empty_is_unset = true,
                       .value_note = "none",
                       .help =
                           "The migrations proxy of a running Busbar. When set, migrations run there, and "
                           "DATABASE_URL serves to lock and to look."},
    [OPT_RELEASE_CONFIG] = {"BUSBAR_CONFIG", "--config", "FILE", TYPE_TEXT, GROUP_RELEASE, FOR_RELEASE,
                            .field = FIELD(release.config_file), .empty_is_unset = true,
                            .value_note = "busbar.toml when it is there",
                            .help = "File that names several databases (docs/migrate.md)."},
    [OPT_REPO] = {NULL, "--repo", "NAME", TYPE_TEXT, GROUP_RELEASE, FOR_RELEASE,
                  .field = FIELD(release.repos), .repeats = true, .value_note = "all; none for rollback",
                  .help = "Database to work on, by its name in busbar.toml; `default` is that of "
                          "DATABASE_URL. Repeatable."},
    [OPT_MIGRATIONS_PATH] = {NULL, "--migrations-path", "DIR", TYPE_TEXT, GROUP_RELEASE,
                             FOR_RELEASE & ~(FOR_SEED | FOR_DUMP | FOR_LOAD), .field = FIELD(release.paths),
                             .repeats = true, .value_note = "priv/repo/migrations",
                             .help = "Folder of migrations. Repeatable: all are sorted together."},
    [OPT_MIGRATION_SOURCE] = {"BUSBAR_MIGRATION_SOURCE", "--migration-source", "TABLE", TYPE_TEXT,
                              GROUP_RELEASE, FOR_RELEASE & ~FOR_NEW, .field = FIELD(release.source),
                              .empty_is_unset = true, .value_note = "schema_migrations",
                              .help = "Table of what has run, as Ecto has it."},
    [OPT_PREFIX] =
        {NULL, "--prefix", "SCHEMA", TYPE_TEXT, GROUP_RELEASE, FOR_RELEASE & ~FOR_NEW,
         .field = FIELD(release.prefixes), .repeats = true, .value_note = "none",
         .help = "Schema to work in: its own migration table, and first in the search path. Repeatable."},
    [OPT_MIGRATION_LOCK] = {"BUSBAR_MIGRATION_LOCK", "--lock", "KIND", TYPE_TEXT, GROUP_RELEASE,
                            FOR_MIGRATE | FOR_ROLLBACK | FOR_SEED | FOR_LOAD | FOR_REPAIR,
                            .field = FIELD(release.lock), .empty_is_unset = true, .value_note = "table",
                            .help =
                                "How migrators keep out of each other's way: table as Ecto does, advisory, "
                                "advisory:KEY, or off."},
    [OPT_DATABASE_WAIT] = {"BUSBAR_DATABASE_WAIT", "--database-wait", "TIME", TYPE_DURATION, GROUP_RELEASE,
                           FOR_RELEASE & ~FOR_NEW, .value = "0", .min = 0, .max = DAY_MS,
                           .field = FIELD(release.database_wait_ms),
                           .help = "How long to wait for a database that does not accept connections yet."},
    [OPT_LOCK_WAIT] = {"BUSBAR_LOCK_WAIT", "--lock-wait", "TIME", TYPE_DURATION, GROUP_RELEASE,
                       FOR_MIGRATE | FOR_ROLLBACK | FOR_SEED | FOR_LOAD | FOR_REPAIR, .value = "5min",
                       .min = 0, .max = DAY_MS, .field = FIELD(release.lock_wait_ms),
                       .help = "How long to wait for another migrator to end."},
    [OPT_LOCK_TIMEOUT] = {"BUSBAR_LOCK_TIMEOUT", "--lock-timeout", "TIME", TYPE_DURATION, GROUP_RELEASE,
                          FOR_MIGRATE | FOR_ROLLBACK | FOR_PLAN | FOR_SEED | FOR_REPAIR, .value = "5s",
                          .min = 0, .max = DAY_MS, .field = FIELD(release.lock_timeout_ms),
                          .help =
                              "How long a statement may wait for a table: what waits makes all others wait "
                              "behind it. 0: as long as it takes."},
    [OPT_LOCK_RETRIES] =
        {"BUSBAR_LOCK_RETRIES", "--lock-retries", "N", TYPE_COUNT, GROUP_RELEASE,
         FOR_MIGRATE | FOR_ROLLBACK | FOR_REPAIR, .value = "10", .min = 0, .max = 1000,
         .field = FIELD(release.lock_retries),
         .help = "Further attempts of a migration that could not have a lock, with pauses that grow.",
         .hint = "Allowed: 0 to 1000."},
    [OPT_ALL] = {NULL, "--all", NULL, TYPE_BOOL, GROUP_RELEASE, FOR_MIGRATE | FOR_ROLLBACK | FOR_PLAN,
                 .value = "false", .field = FIELD(release.all),
                 .help = "All that are pending (what migrate does unless told otherwise); with rollback, all "
                         "that have run."},
    [OPT_STEP] = {NULL, "--step", "N", TYPE_COUNT, GROUP_RELEASE, FOR_MIGRATE | FOR_ROLLBACK | FOR_PLAN,
                  .min = 1, .max = 100000, .field = FIELD(release.step), .help = "So many migrations.",
                  .hint = "Allowed: 1 to 100000."},
    [OPT_TO] = {NULL, "--to", "VERSION", TYPE_TEXT, GROUP_RELEASE, FOR_MIGRATE | FOR_ROLLBACK | FOR_PLAN,
                .field = FIELD(release.to), .help = "Up to this version, or down to it: it is run as well."},
    [OPT_TO_EXCLUSIVE] = {NULL, "--to-exclusive", "VERSION", TYPE_TEXT, GROUP_RELEASE,
                          FOR_MIGRATE | FOR_ROLLBACK | FOR_PLAN, .field = FIELD(release.to_exclusive),
                          .help = "Up or down to this version: it is not run."},
    [OPT_DATA_MIGRATIONS] = {NULL, "--data", NULL, TYPE_BOOL, GROUP_RELEASE,
                             FOR_MIGRATE | FOR_ROLLBACK | FOR_PLAN | FOR_NEW, .value = "false",
                             .field = FIELD(release.data),
                             .help =
                                 "The data migrations, in priv/repo/data_migrations: never run without it."},
    [OPT_STRICT_ORDER] = {NULL, "--strict-version-order", NULL, TYPE_BOOL, GROUP_RELEASE, FOR_MIGRATE,
                          .value = "false", .field = FIELD(release.strict),
                          .help = "Refuse a pending migration that is older than one that has run."},
    [OPT_DRY_RUN] = {NULL, "--dry-run", NULL, TYPE_BOOL, GROUP_RELEASE, FOR_MIGRATE, .value = "false",
                     .field = FIELD(release.dry_run), .help = "What busbar plan does."},
    [OPT_EMIT_FORWARD] = {NULL, "--emit-forward", NULL, TYPE_BOOL, GROUP_RELEASE, FOR_ROLLBACK,
                          .value = "false", .field = FIELD(release.emit_forward),
                          .help = "Write the migration that undoes what clients already have as a file."},
    [OPT_FILE] = {NULL, "--file", "FILE", TYPE_TEXT, GROUP_RELEASE, FOR_SEED | FOR_DUMP | FOR_LOAD,
                  .field = FIELD(release.file), .value_note = "seeds.sql, structure.sql in priv/repo",
                  .help = "File to read or write."},
    [OPT_ONCE] = {NULL, "--once", NULL, TYPE_BOOL, GROUP_RELEASE, FOR_SEED, .value = "false",
                  .field = FIELD(release.once),
                  .help = "Only if this file has not been run with --once before."},
    [OPT_FORCE] = {NULL, "--force", NULL, TYPE_BOOL, GROUP_RELEASE, FOR_LOAD, .value = "false",
                   .field = FIELD(release.force), .help = "Load although migrations have run."},
    [OPT_ACTION] =
        {NULL, "--action", "ACTION", TYPE_CHOICE, GROUP_RELEASE, FOR_REPAIR, .value = "show",
         .choices = repairs, .field = FIELD(release.action),
         .help = "show: what is wrong. retry: forget the attempt. resume: go on with the statement that "
                 "failed. up, down: it counts as run, as not run. accept: of an edited file."},
    [OPT_FORMAT] = {NULL, "--format", "FORMAT", TYPE_CHOICE, GROUP_OUTPUT, FOR_MIGRATE | FOR_ROLLBACK,
                    .value = "lines", .choices = formats, .field = FIELD(release.format),
                    .help = "lines, or ecto for Ecto's log lines."},
    [OPT_QUIET] = {NULL, "--quiet", NULL, TYPE_BOOL, GROUP_OUTPUT, FOR_RELEASE & ~(FOR_STATUS | FOR_PLAN),
                   .value = "false", .field = FIELD(release.quiet), .help = "Warnings and failures only."},
    [OPT_LOG_SQL] = {NULL, "--log-sql", NULL, TYPE_BOOL, GROUP_OUTPUT, FOR_MIGRATE | FOR_ROLLBACK | FOR_SEED,
                     .value = "false", .field = FIELD(release.log_sql),
                     .help = "Print each statement as it is sent."},
    [OPT_EXIT_CODE] = {NULL, "--exit-code", NULL, TYPE_BOOL, GROUP_OUTPUT, FOR_STATUS | FOR_PLAN,
                       .value = "false", .field = FIELD(release.exit_code),
                       .help = "Exit with 3 when something is to be done."},
#define IGNORED(name)                                                            \
    {                                                                            \
        name, NULL, NULL, TYPE_IGNORED, GROUP_IGNORED, 0, .empty_is_unset = true \
    }
    [OPT_PUBLISHER_HOST] = IGNORED("LOGICAL_PUBLISHER_HOST"),
    [OPT_PUBLISHER_PORT] = IGNORED("LOGICAL_PUBLISHER_PORT"),
    [OPT_TELEMETRY] = IGNORED("ELECTRIC_TELEMETRY"),
    [OPT_METRICS_PERIOD] = IGNORED("METRICS_MEASUREMENT_PERIOD"),
    [OPT_STATSD_HOST] = IGNORED("STATSD_HOST"),
    [OPT_PROXY_TRACING] = IGNORED("PROXY_TRACING_ENABLE"),
    [OPT_OTEL_EXPORT] = IGNORED("OTEL_EXPORT"),
    [OPT_OTLP_ENDPOINT] = IGNORED("OTLP_ENDPOINT"),
    [OPT_HONEYCOMB_API_KEY] = IGNORED("HONEYCOMB_API_KEY"),
    [OPT_TZDATA_AUTOUPDATE] = IGNORED("DISABLE_TZDATA_AUTOUPDATE"),
};

const char *const option_groups[GROUP_COUNT] = {
    [GROUP_DATABASE] = "Database",
    [GROUP_LISTEN] = "Proxy and HTTP",
    [GROUP_LIMITS] = "Limits",
    [GROUP_AUTH] = "Authentication of sync clients",
    [GROUP_SYNC] = "Sync",
    [GROUP_LOG] = "Logging",
    [GROUP_CLUSTER] = "Embedded PostgreSQL",
    [GROUP_TOKEN] = "Development tokens",
    [GROUP_RELEASE] = "Release tasks",
    [GROUP_OUTPUT] = "Output",
    [GROUP_IGNORED] = "Accepted without effect",
};

const char *option_label(const struct option *option)
{
    return option->variable ? option->variable : option->flag;
}

int option_by_flag(struct str flag, unsigned commands)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option *o = &options[id];
        if (o->flag && (o->commands & commands) && str_eq(str_c(o->flag), flag)) {
            return id;
        }
    }
    return -1;
}
