/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every option of the program, one row each. The row feeds parsing (config.c), the command line and --help
 * (cli/command.c, cli/help.c), `busbar show-config` and docs/config.md.
 */
#pragma once

#include "base/str.h"

#include <stddef.h>

enum option_id {
    OPT_DATABASE_URL,
    OPT_DATABASE_REQUIRE_SSL,
    OPT_DATABASE_USE_IPV6,
    OPT_PG_PROXY_PASSWORD,
    OPT_PG_PROXY_PORT,
    OPT_PROXY_AUTH,
    OPT_TLS,
    OPT_TLS_CERT,
    OPT_TLS_KEY,
    OPT_TLS_CLIENT_CA,
    OPT_TLS_MIN_VERSION,
    OPT_HTTP_PORT,
    OPT_LISTEN,
    OPT_USE_IPV6,
    OPT_REUSEPORT,
    OPT_PROXY_SOCKET,
    OPT_PROXY_SOCKET_MODE,
    OPT_PROXY_PROTOCOL,
    OPT_WORKERS,
    OPT_MAX_CONNECTIONS,
    OPT_LOGIN_TIMEOUT,
    OPT_IDLE_TIMEOUT,
    OPT_DRAIN_TIMEOUT,
    OPT_AUTH_MODE,
    OPT_AUTH_JWT_ALG,
    OPT_AUTH_JWT_KEY,
    OPT_AUTH_JWT_KEY_IS_BASE64,
    OPT_AUTH_JWT_NAMESPACE,
    OPT_AUTH_JWT_ISS,
    OPT_AUTH_JWT_AUD,
    OPT_WRITE_MODE,
    OPT_DATA,
    OPT_WAL_WINDOW,
    OPT_TXN_CACHE_SIZE,
    OPT_FEATURES,
    OPT_INSTANCE_ID,
    OPT_LOG_LEVEL,
    OPT_EPHEMERAL,
    OPT_PG_PORT,
    OPT_PG_BIN,
    OPT_MARKDOWN,
    OPT_ADOPT,
    OPT_JSON,
    OPT_USER,
    OPT_EXP,
    OPT_CLAIM,
    OPT_KEY,
    OPT_PROXY_URL,
    OPT_RELEASE_CONFIG,
    OPT_REPO,
    OPT_MIGRATIONS_PATH,
    OPT_MIGRATION_SOURCE,
    OPT_PREFIX,
    OPT_MIGRATION_LOCK,
    OPT_DATABASE_WAIT,
    OPT_LOCK_WAIT,
    OPT_LOCK_TIMEOUT,
    OPT_LOCK_RETRIES,
    OPT_ALL,
    OPT_STEP,
    OPT_TO,
    OPT_TO_EXCLUSIVE,
    OPT_DATA_MIGRATIONS,
    OPT_STRICT_ORDER,
    OPT_DRY_RUN,
    OPT_EMIT_FORWARD,
    OPT_FILE,
    OPT_ONCE,
    OPT_FORCE,
    OPT_ACTION,
    OPT_FORMAT,
    OPT_QUIET,
    OPT_LOG_SQL,
    OPT_EXIT_CODE,
    OPT_PUBLISHER_HOST,
    OPT_PUBLISHER_PORT,
    OPT_TELEMETRY,
    OPT_METRICS_PERIOD,
    OPT_STATSD_HOST,
    OPT_PROXY_TRACING,
    OPT_OTEL_EXPORT,
    OPT_OTLP_ENDPOINT,
    OPT_HONEYCOMB_API_KEY,
    OPT_TZDATA_AUTOUPDATE,
    OPTION_COUNT,
};

enum option_type {
    TYPE_TEXT,       /* any text; empty counts as unset */
    TYPE_BOOL,       /* str_to_bool() */
    TYPE_PORT,       /* a uint16_t within min and max */
    TYPE_COUNT,      /* an unsigned within min and max */
    TYPE_DURATION,   /* a uint64_t of milliseconds within min and max: 30s, 500ms, 5min, 1h, 2d */
    TYPE_MODE,       /* permissions of a file, octal */
    TYPE_CHOICE,     /* one of the row's choices */
    TYPE_SIZE,       /* bytes: 1.5G, 300M, 1000k */
    TYPE_URL,        /* a database URL (app/database_url.h) */
    TYPE_PROXY_PORT, /* n, http, http:n */
    TYPE_ADDRESS,    /* where to listen: *, localhost, or an IP address */
    TYPE_NETWORKS,   /* off, on, or networks in CIDR notation (net/cidr.h) */
    TYPE_FEATURES,   /* name=true:name=false */
    TYPE_IGNORED,    /* accepted so that an existing environment works unchanged; has no effect */
};

enum option_group {
    GROUP_DATABASE,
    GROUP_LISTEN,
    GROUP_LIMITS,
    GROUP_AUTH,
    GROUP_SYNC,
    GROUP_LOG,
    GROUP_CLUSTER,
    GROUP_TOKEN,
    GROUP_RELEASE,
    GROUP_OUTPUT,
    GROUP_IGNORED,
    GROUP_COUNT,
};

/* Who takes the option: bits of option.commands. */
enum {
    FOR_SERVE = 1,
    FOR_DEV = 2,
    FOR_SHOW_CONFIG = 4,
    FOR_CHECK = 8,
    FOR_TOKEN = 16,
    FOR_CLEANUP = 32,
    FOR_ALL = FOR_SERVE | FOR_DEV | FOR_SHOW_CONFIG | FOR_CHECK, /* that run the service, or look at it */
    FOR_MIGRATE = 64,
    FOR_ROLLBACK = 128,
    FOR_STATUS = 256,
    FOR_PLAN = 512,
    FOR_SEED = 1024,
    FOR_NEW = 2048,
    FOR_DUMP = 4096,
    FOR_LOAD = 8192,
    FOR_REPAIR = 16384,
    /* The release tasks: what they are not told here they ask libpq for (app/config.c). */
    FOR_RELEASE = FOR_MIGRATE | FOR_ROLLBACK | FOR_STATUS | FOR_PLAN | FOR_SEED | FOR_NEW | FOR_DUMP |
                  FOR_LOAD | FOR_REPAIR,
};

struct choice {
    const char *name;
    int value;
    bool alias; /* accepted, not listed */
};

struct option {
    const char *variable;    /* environment variable; NULL for a flag without one */
    const char *flag;        /* with its dashes; NULL for a variable without one */
    const char *placeholder; /* how --help calls the value */
    enum option_type type;
    enum option_group group;
    unsigned commands;
    const char *value;      /* default, as text; NULL: unset */
    const char *dev_value;  /* default of `busbar dev` where it differs */
    const char *value_note; /* how --help tells the default when the text alone would mislead */
    uint64_t min, max;
    const struct choice *choices; /* ends with a NULL name */
    size_t field;                 /* offset in struct config of the value */
    bool secret;                  /* never printed; NAME_FILE names a file that holds it */
    bool reloads;                 /* SIGHUP may change it (app/reload.h) */
    bool empty_is_unset;
    bool repeats;     /* a flag given again adds a line, instead of replacing the text */
    const char *help; /* one or two sentences */
    const char *hint; /* for a faulty value: what is allowed, or an example */
};

extern const struct option options[OPTION_COUNT];
extern const char *const option_groups[GROUP_COUNT]; /* titles */

/* "HTTP_PORT", or "--markdown" for a row without variable. */
const char *option_label(const struct option *option);

/* The row index of a flag that one of `commands` takes; -1 when there is none. */
int option_by_flag(struct str flag, unsigned commands);
