/* SPDX-License-Identifier: Apache-2.0 */
/* Every error text of the configuration, the values that are accepted, and what wins over what. */
#include "app/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka.h needs the three above */
#include <cmocka.h>

struct given {
    enum option_id id;
    const char *text;
};

struct fixture {
    struct settings settings;
    struct config config;
    struct faults faults;
};

static struct fixture fx;

static int teardown(void **state)
{
    config_deinit(&fx.config);
    faults_deinit(&fx.faults);
    settings_deinit(&fx.settings);
    memset(&fx, 0, sizeof fx);
    return 0;
}

/* Reads a configuration made of the given texts alone; the process environment does not count. */
static void read_given(unsigned command, const struct given *given, size_t n)
{
    teardown(NULL);
    for (size_t i = 0; i < n; i++) {
        settings_set(&fx.settings, given[i].id, str_c(given[i].text), SOURCE_ENVIRONMENT);
    }
    settings_read_defaults(&fx.settings, command);
    config_read(&fx.settings, command, &fx.config, &fx.faults);
}

#define READ(command, ...)                                   \
    read_given(command, (const struct given[]){__VA_ARGS__}, \
               sizeof((const struct given[]){__VA_ARGS__}) / sizeof(struct given))

#define USUAL                                                                  \
    {OPT_DATABASE_URL, "postgresql://u:p@h/d"}, {OPT_PG_PROXY_PASSWORD, "pw"}, \
    {                                                                          \
        OPT_AUTH_MODE, "insecure"                                              \
    }

static void assert_fault(enum option_id id, const char *text)
{
    if (!fx.faults.of[id]) {
        fail_msg("%s: no fault, expected: %s", option_label(&options[id]), text);
    }
    assert_string_equal(fx.faults.of[id], text);
}

static void assert_only_fault(enum option_id id, const char *text)
{
    assert_fault(id, text);
    assert_int_equal(fx.faults.count, 1);
}

static void assert_no_fault(void)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        if (fx.faults.of[id]) {
            fail_msg("%s %s", option_label(&options[id]), fx.faults.of[id]);
        }
    }
    assert_int_equal(fx.faults.count, 0);
}

static void usual_configuration_is_read(void **state)
{
    READ(FOR_SERVE, USUAL);
    assert_no_fault();
    assert_int_equal(fx.config.http_port, 5133);
    assert_int_equal(fx.config.proxy.port, 65432);
    assert_false(fx.config.proxy.tunnel);
    assert_int_equal(fx.config.proxy.auth, PROXY_AUTH_SCRAM);
    assert_string_equal(fx.config.proxy.password, "pw");
    assert_int_equal(fx.config.auth.mode, AUTH_INSECURE);
    assert_int_equal(fx.config.wal_window, 2ll << 30);
    assert_int_equal(fx.config.txn_cache_size, 256ll << 20);
    assert_int_equal(fx.config.log_level, LOG_INFO);
    assert_int_equal(fx.config.write_mode, WRITE_DIRECT);
    assert_null(fx.config.listen);
    assert_int_equal(strlen(fx.config.instance_id), 36);
}

static void instance_id_differs_at_each_start(void **state)
{
    char first[64];
    READ(FOR_SERVE, USUAL);
    snprintf(first, sizeof first, "%s", fx.config.instance_id);
    READ(FOR_SERVE, USUAL);
    assert_string_not_equal(first, fx.config.instance_id);
    READ(FOR_SERVE, USUAL, {OPT_INSTANCE_ID, "mine"});
    assert_string_equal(fx.config.instance_id, "mine");
}

static void dev_needs_nothing(void **state)
{
    READ(FOR_DEV, {OPT_DATABASE_URL, ""});
    assert_no_fault();
    assert_null(fx.config.database.url.host);
    assert_string_equal(fx.config.proxy.password, "proxy_password");
    assert_int_equal(fx.config.auth.mode, AUTH_INSECURE);
    assert_string_equal(fx.config.listen, "localhost");
    assert_string_equal(fx.config.data, "./.busbar");
    assert_false(fx.config.dev.ephemeral);
    assert_int_equal(fx.config.dev.pg_port, 0);
    config_set_database(&fx.config, "postgresql://postgres:db_password@%2Ftmp%2Fa%20b:15432/electric");
    assert_string_equal(fx.config.database.conninfo,
                        "host='/tmp/a b' port='15432' user='postgres' password='db_password' "
                        "dbname='electric' sslmode='prefer'");
}

static void required_options_are_reported_together(void **state)
{
    READ(FOR_SERVE, {OPT_HTTP_PORT, "x"});
    assert_fault(OPT_DATABASE_URL, "not set");
    assert_fault(OPT_PG_PROXY_PASSWORD, "not set");
    assert_fault(OPT_AUTH_JWT_ALG, "not set");
    assert_fault(OPT_AUTH_JWT_KEY, "not set");
    assert_fault(OPT_HTTP_PORT, "has invalid value: \"x\"");
    assert_int_equal(fx.faults.count, 5);
}

static void report_names_each_fault_in_order(void **state)
{
    READ(FOR_SERVE, {OPT_PG_PROXY_PORT, "abc"}, {OPT_AUTH_MODE, "insecure"});
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    faults_write(&fx.faults, &fx.settings, &out);
    assert_string_equal(buf_cstr(&out),
                        "CONFIGURATION ERROR\n\n"
                        "The following required configuration options have invalid or missing values:\n\n"
                        "  * DATABASE_URL not set\n"
                        "    Example: postgresql://user:password@localhost:5432/app\n\n"
                        "  * PG_PROXY_PASSWORD not set\n"
                        "    Choose a long random text: the proxy gives access to the database as the user "
                        "of DATABASE_URL.\n\n"
                        "  * PG_PROXY_PORT has invalid value: \"abc\"\n"
                        "    Allowed: a port from 1 to 65535, http, or http:<port>.\n\n"
                        "All options: busbar serve --help, or docs/config.md.\n");
}

static void report_tells_where_a_faulty_value_came_from(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    settings_set(&fx.settings, OPT_HTTP_PORT, STR("0"), SOURCE_FLAG);
    settings_set(&fx.settings, OPT_LOG_LEVEL, STR("loud"), SOURCE_FILE);
    settings_read_defaults(&fx.settings, FOR_SERVE);
    config_read(&fx.settings, FOR_SERVE, &fx.config, &fx.faults);
    faults_add_file(&fx.faults, "line 3 of the file .env: …");
    faults_write(&fx.faults, &fx.settings, &out);
    assert_non_null(
        strstr(buf_cstr(&out), "  * HTTP_PORT has invalid value: \"0\"\n    Given by --http-port.\n"));
    assert_non_null(strstr(buf_cstr(&out), "    Given in the file .env.\n"));
    assert_non_null(strstr(buf_cstr(&out), "  * line 3 of the file .env: …\n"));
}

static void blank_proxy_password_is_refused(void **state)
{
    READ(FOR_SERVE, USUAL, {OPT_PG_PROXY_PASSWORD, ""});
    assert_only_fault(OPT_PG_PROXY_PASSWORD, "not set");
    READ(FOR_SERVE, USUAL, {OPT_PG_PROXY_PASSWORD, "  \t"});
    assert_only_fault(OPT_PG_PROXY_PASSWORD, "not set");
}

static void proxy_port_has_four_forms(void **state)
{
    static const struct {
        const char *text;
        int port; /* 0: refused */
        bool tunnel;
    } cases[] = {{"1", 1},
                 {"65535", 65535},
                 {"http", 65432, true},
                 {"HTTP", 65432, true},
                 {"http:1234", 1234, true},
                 {"Http:1234", 1234, true},
                 {"0", 0},
                 {"-1", 0},
                 {"65536", 0},
                 {"abc", 0},
                 {"http:", 0},
                 {"http:0", 0},
                 {"https", 0},
                 {"http1234", 0},
                 {"1234:http", 0},
                 {"", 0},
                 {"12 34", 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char fault[64];
        READ(FOR_SERVE, USUAL, {OPT_PG_PROXY_PORT, cases[i].text});
        if (cases[i].port) {
            assert_no_fault();
            assert_int_equal(fx.config.proxy.port, cases[i].port);
            assert_int_equal(fx.config.proxy.tunnel, cases[i].tunnel);
        } else {
            snprintf(fault, sizeof fault, "has invalid value: \"%s\"", cases[i].text);
            assert_only_fault(OPT_PG_PROXY_PORT, fault);
        }
    }
}

static void ports_must_differ(void **state)
{
    READ(FOR_SERVE, USUAL, {OPT_PG_PROXY_PORT, "http:5133"});
    assert_only_fault(OPT_PG_PROXY_PORT, "is the same port as HTTP_PORT: 5133");
}

static void integers_are_checked(void **state)
{
    static const char *const bad[] = {"0", "65536", "1.5", "0x10", "", "99999999999999999999", "5133\n5134"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        READ(FOR_SERVE, USUAL, {OPT_HTTP_PORT, bad[i]});
        assert_non_null(fx.faults.of[OPT_HTTP_PORT]);
    }
    assert_only_fault(OPT_HTTP_PORT, "has invalid value: \"5133\\x0a5134\"");
    READ(FOR_SERVE, USUAL, {OPT_HTTP_PORT, " 8080 "});
    assert_no_fault();
    assert_int_equal(fx.config.http_port, 8080);
}

static void booleans_are_checked(void **state)
{
    static const char *const on[] = {"true", "t", "1", "yes", "y", "on", "TRUE"};
    static const char *const off[] = {"false", "f", "0", "no", "n", "off", "False"};
    for (size_t i = 0; i < ARRAY_LEN(on); i++) {
        READ(FOR_SERVE, USUAL, {OPT_USE_IPV6, on[i]}, {OPT_DATABASE_USE_IPV6, on[i]});
        assert_no_fault();
        assert_true(fx.config.use_ipv6 && fx.config.database.use_ipv6);
        READ(FOR_SERVE, USUAL, {OPT_USE_IPV6, off[i]}, {OPT_DATABASE_USE_IPV6, off[i]});
        assert_no_fault();
        assert_false(fx.config.use_ipv6 || fx.config.database.use_ipv6);
    }
    READ(FOR_SERVE, USUAL, {OPT_USE_IPV6, "maybe"}, {OPT_DATABASE_REQUIRE_SSL, ""});
    assert_fault(OPT_USE_IPV6, "has invalid value: \"maybe\"");
    assert_fault(OPT_DATABASE_REQUIRE_SSL, "has invalid value: \"\"");
    assert_int_equal(fx.faults.count, 2);
}

static void choices_are_listed(void **state)
{
    READ(FOR_SERVE, USUAL, {OPT_LOG_LEVEL, "loud"}, {OPT_AUTH_MODE, "open"}, {OPT_WRITE_MODE, "x"},
         {OPT_PROXY_AUTH, "y"});
    assert_fault(OPT_LOG_LEVEL,
                 "has invalid value: \"loud\". Must be one of [\"error\", \"warning\", \"info\", \"debug\"]");
    assert_fault(OPT_AUTH_MODE, "has invalid value: \"open\". Must be one of [\"secure\", \"insecure\"]");
    assert_fault(OPT_WRITE_MODE,
                 "has invalid value: \"x\". Must be one of [\"direct_writes\", \"logical_replication\"]");
    assert_fault(OPT_PROXY_AUTH, "has invalid value: \"y\". Must be one of [\"scram-sha-256\", \"md5\"]");
    READ(FOR_SERVE, USUAL, {OPT_WRITE_MODE, ""});
    assert_only_fault(OPT_WRITE_MODE, "erroneously set to an empty value");
}

static void log_levels_of_the_original_are_known(void **state)
{
    static const struct {
        const char *text;
        enum log_level level;
    } cases[] = {{"emergency", LOG_ERROR}, {"alert", LOG_ERROR},     {"critical", LOG_ERROR},
                 {"error", LOG_ERROR},     {"warning", LOG_WARNING}, {"warn", LOG_WARNING},
                 {"notice", LOG_INFO},     {"info", LOG_INFO},       {"debug", LOG_DEBUG}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        READ(FOR_SERVE, USUAL, {OPT_LOG_LEVEL, cases[i].text});
        assert_no_fault();
        assert_int_equal(fx.config.log_level, cases[i].level);
    }
}

static void sizes_take_decimals_and_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t size; /* 0: refused */
    } cases[] = {{"1", 1},
                 {"1k", 1000},
                 {"1K", 1024},
                 {"2m", 2000000},
                 {"2M", 2097152},
                 {"1.5G", 1610612736},
                 {"1.5g", 1500000000},
                 {"0.5K", 512},
                 {"0.001k", 1},
                 {"1.9999999999k", 1999},
                 {"", 0},
                 {"0", 0},
                 {"0.0G", 0},
                 {"0.0001k", 0},
                 {"-1", 0},
                 {"1T", 0},
                 {"1 G", 0},
                 {"K", 0},
                 {".5K", 0},
                 {"1.K", 0},
                 {"1.2.3", 0},
                 {"1e3", 0},
                 {"18446744073709551616", 0},
                 {"18446744073G", 0}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char fault[64];
        READ(FOR_SERVE, USUAL, {OPT_WAL_WINDOW, cases[i].text}, {OPT_TXN_CACHE_SIZE, cases[i].text});
        snprintf(fault, sizeof fault, "has invalid value: \"%s\"", cases[i].text);
        if (cases[i].size) {
            assert_no_fault();
            assert_int_equal(fx.config.wal_window, cases[i].size);
        } else {
            assert_fault(OPT_WAL_WINDOW, fault);
            assert_fault(OPT_TXN_CACHE_SIZE, fault);
        }
    }
}

static void counts_are_checked(void **state)
{
    static const char *const bad[] = {"0", "65", "-1", "1.5", "", " ", "x", "18446744073709551617"};
    READ(FOR_SERVE, USUAL);
    assert_no_fault();
    assert_in_range(fx.config.proxy.workers, 1, 4);
    assert_int_equal(fx.config.proxy.max_connections, 1000);
    READ(FOR_SERVE, USUAL, {OPT_WORKERS, " 64 "}, {OPT_MAX_CONNECTIONS, "100000"});
    assert_no_fault();
    assert_int_equal(fx.config.proxy.workers, 64);
    assert_int_equal(fx.config.proxy.max_connections, 100000);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char fault[64];
        bool unset = bad[i][0] == '\0';
        READ(FOR_SERVE, USUAL, {OPT_WORKERS, bad[i]}, {OPT_MAX_CONNECTIONS, "100001"});
        snprintf(fault, sizeof fault, "has invalid value: \"%s\"", bad[i]);
        if (!unset) {
            assert_fault(OPT_WORKERS, fault);
        }
        assert_fault(OPT_MAX_CONNECTIONS, "has invalid value: \"100001\"");
        assert_int_equal(fx.faults.count, unset ? 1 : 2);
    }
}

static void durations_take_units(void **state)
{
    static const struct {
        const char *text;
        uint64_t ms; /* UINT64_MAX: refused */
    } cases[] = {{"0", 0},
                 {"0ms", 0},
                 {"1", 1000},
                 {"30s", 30000},
                 {"500ms", 500},
                 {"5min", 300000},
                 {"5 min", 300000},
                 {" 1h ", 3600000},
                 {"30d", 2592000000},
                 {"720h", 2592000000},
                 {"31d", UINT64_MAX},
                 {"", UINT64_MAX},
                 {"s", UINT64_MAX},
                 {"-1s", UINT64_MAX},
                 {"1.5h", UINT64_MAX},
                 {"1m", UINT64_MAX},
                 {"1S", UINT64_MAX},
                 {"1h30min", UINT64_MAX},
                 {"18446744073709551615d", UINT64_MAX},
                 {"18446744073709551616ms", UINT64_MAX}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char fault[64];
        READ(FOR_SERVE, USUAL, {OPT_IDLE_TIMEOUT, cases[i].text});
        snprintf(fault, sizeof fault, "has invalid value: \"%s\"", cases[i].text);
        if (cases[i].ms == UINT64_MAX) {
            assert_only_fault(OPT_IDLE_TIMEOUT, fault);
        } else {
            assert_no_fault();
            assert_int_equal(fx.config.proxy.idle_timeout_ms, cases[i].ms);
        }
    }
}

static void timeouts_have_defaults_and_bounds(void **state)
{
    READ(FOR_SERVE, USUAL);
    assert_int_equal(fx.config.proxy.login_timeout_ms, 60000);
    assert_int_equal(fx.config.proxy.idle_timeout_ms, 0);
    assert_int_equal(fx.config.proxy.drain_timeout_ms, 25000);
    READ(FOR_SERVE, USUAL, {OPT_LOGIN_TIMEOUT, "1s"}, {OPT_DRAIN_TIMEOUT, "1d"});
    assert_no_fault();
    READ(FOR_SERVE, USUAL, {OPT_LOGIN_TIMEOUT, "999ms"}, {OPT_DRAIN_TIMEOUT, "25h"});
    assert_fault(OPT_LOGIN_TIMEOUT, "has invalid value: \"999ms\"");
    assert_fault(OPT_DRAIN_TIMEOUT, "has invalid value: \"25h\"");
    READ(FOR_SERVE, USUAL, {OPT_LOGIN_TIMEOUT, "601"});
    assert_only_fault(OPT_LOGIN_TIMEOUT, "has invalid value: \"601\"");
}

static void the_path_of_the_unix_socket_has_a_limit(void **state)
{
    char longest[128] = "/";
    READ(FOR_SERVE, USUAL);
    assert_null(fx.config.proxy.socket_folder);
    assert_int_equal(fx.config.proxy.socket_mode, 0777);
    READ(FOR_SERVE, USUAL, {OPT_PROXY_SOCKET, "/run/busbar"}, {OPT_PROXY_SOCKET_MODE, "660"});
    assert_no_fault();
    assert_string_equal(fx.config.proxy.socket_folder, "/run/busbar");
    assert_int_equal(fx.config.proxy.socket_mode, 0660);
    memset(longest + 1, 'x', 107 - strlen("/.s.PGSQL.65432") - 1);
    READ(FOR_SERVE, USUAL, {OPT_PROXY_SOCKET, longest});
    assert_no_fault();
    longest[strlen(longest)] = 'x';
    READ(FOR_SERVE, USUAL, {OPT_PROXY_SOCKET, longest});
    assert_non_null(fx.faults.of[OPT_PROXY_SOCKET]);
    READ(FOR_SERVE, USUAL, {OPT_PROXY_SOCKET, "run"});
    assert_only_fault(OPT_PROXY_SOCKET, "has invalid value: \"run\"");
}

static void permissions_are_octal(void **state)
{
    static const char *const bad[] = {"", "8", "1000", "00777", "-1", "0x1", "rw"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        READ(FOR_SERVE, USUAL, {OPT_PROXY_SOCKET_MODE, bad[i]});
        assert_non_null(fx.faults.of[OPT_PROXY_SOCKET_MODE]);
        assert_int_equal(fx.faults.count, 1);
    }
    READ(FOR_SERVE, USUAL, {OPT_PROXY_SOCKET_MODE, "0"});
    assert_no_fault();
    assert_int_equal(fx.config.proxy.socket_mode, 0);
}

static void proxy_protocol_names_its_sources(void **state)
{
    READ(FOR_SERVE, USUAL);
    assert_int_equal(fx.config.proxy.proxy_protocol.n, 0);
    READ(FOR_SERVE, USUAL, {OPT_PROXY_PROTOCOL, "on"});
    assert_no_fault();
    assert_int_equal(fx.config.proxy.proxy_protocol.n, 1);
    assert_int_equal(fx.config.proxy.proxy_protocol.of[0].bits, 0);
    READ(FOR_SERVE, USUAL, {OPT_PROXY_PROTOCOL, "10.0.0.0/8, fd00::/8"});
    assert_no_fault();
    assert_int_equal(fx.config.proxy.proxy_protocol.n, 2);
    READ(FOR_SERVE, USUAL, {OPT_PROXY_PROTOCOL, "10.0.0.1/8"});
    assert_only_fault(OPT_PROXY_PROTOCOL, "has invalid value: \"10.0.0.1/8\"");
}

static void features_first_mention_counts(void **state)
{
    READ(FOR_SERVE, USUAL,
         {OPT_FEATURES, "proxy_ddlx_grant=true:proxy_ddlx_grant=false:proxy_ddlx_assign=true:new=false"});
    assert_no_fault();
    assert_int_equal(fx.config.features, FEATURE_GRANT | FEATURE_ASSIGN);
    READ(FOR_SERVE, USUAL,
         {OPT_FEATURES, "proxy_ddlx_revoke=false:proxy_ddlx_revoke=true:proxy_ddlx_unassign=true"});
    assert_int_equal(fx.config.features, FEATURE_UNASSIGN);
    READ(FOR_SERVE, USUAL, {OPT_FEATURES, "proxy_ddlx_grant"});
    assert_only_fault(OPT_FEATURES, "has invalid value: \"proxy_ddlx_grant\"");
    READ(FOR_SERVE, USUAL, {OPT_FEATURES, "=true"});
    assert_only_fault(OPT_FEATURES, "has invalid value: \"=true\"");
}

static void listen_address_is_checked(void **state)
{
    static const char *const all[] = {"*", "", " "};
    static const char *const some[] = {"localhost", "10.0.0.1", "fe80::1", "0.0.0.0", "::"};
    static const char *const bad[] = {"example.com", "1.2.3", "[::1]", "localhost:1"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        READ(FOR_SERVE, USUAL, {OPT_LISTEN, all[i]});
        assert_no_fault();
        assert_null(fx.config.listen);
    }
    for (size_t i = 0; i < ARRAY_LEN(some); i++) {
        READ(FOR_SERVE, USUAL, {OPT_LISTEN, some[i]});
        assert_no_fault();
        assert_string_equal(fx.config.listen, some[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char fault[64];
        READ(FOR_SERVE, USUAL, {OPT_LISTEN, bad[i]});
        snprintf(fault, sizeof fault, "has invalid value: \"%s\"", bad[i]);
        assert_only_fault(OPT_LISTEN, fault);
    }
}

static void tls_rule_depends_on_the_url(void **state)
{
    static const struct {
        const char *url, *require, *mode;
        bool required;
    } cases[] = {{"postgres://u@h", NULL, "require", true},
                 {"postgres://u@h?sslmode=require", NULL, "require", true},
                 {"postgres://u@h?sslmode=prefer", NULL, "prefer", false},
                 {"postgres://u@h?sslmode=allow", NULL, "allow", false},
                 {"postgres://u@h?sslmode=disable", NULL, "disable", false},
                 {"postgres://u@h?sslmode=disable", "true", "require", true},
                 {"postgres://u@h?sslmode=require", "false", "prefer", false},
                 {"postgres://u@h?sslmode=disable", "false", "prefer", false},
                 {"postgres://u@%2Frun", NULL, "prefer", false}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        if (cases[i].require) {
            READ(FOR_SERVE, USUAL, {OPT_DATABASE_URL, cases[i].url},
                 {OPT_DATABASE_REQUIRE_SSL, cases[i].require});
        } else {
            READ(FOR_SERVE, USUAL, {OPT_DATABASE_URL, cases[i].url});
        }
        assert_no_fault();
        assert_int_equal(fx.config.database.require_ssl, cases[i].required);
        assert_string_equal(fx.config.database.sslmode, cases[i].mode);
    }
    READ(FOR_SERVE, USUAL, {OPT_DATABASE_URL, "postgres://u@%2Frun"}, {OPT_DATABASE_REQUIRE_SSL, "true"});
    assert_only_fault(OPT_DATABASE_REQUIRE_SSL, "is not possible: DATABASE_URL names a unix socket");
}

static void conninfo_is_quoted(void **state)
{
    READ(FOR_SERVE, USUAL, {OPT_DATABASE_URL, "postgresql://a%27b:c%5Cd@[::1]:6/e%20f"});
    assert_no_fault();
    assert_string_equal(fx.config.database.conninfo,
                        "host='::1' port='6' user='a\\'b' password='c\\\\d' dbname='e f' sslmode='require'");
    READ(FOR_SERVE, USUAL, {OPT_DATABASE_URL, "postgresql://u@a:1,b:2/d"});
    assert_no_fault();
    assert_string_equal(fx.config.database.conninfo, "host='a,b' port='1,2' user='u' dbname='d' "
                                                     "sslmode='require' target_session_attrs='primary'");
}

static void secrets_do_not_show_in_faults(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    READ(FOR_SERVE, {OPT_DATABASE_URL, "postgres://u:hunter2@h:port/d"}, {OPT_AUTH_JWT_ALG, "HS256"},
         {OPT_AUTH_JWT_KEY, "hunter2"}, {OPT_PG_PROXY_PASSWORD, "hunter2"});
    faults_write(&fx.faults, &fx.settings, &out);
    assert_int_equal(fx.faults.count, 2);
    assert_null(strstr(buf_cstr(&out), "hunter2"));
}

static void sources_have_an_order(void **state)
{
    setenv("HTTP_PORT", "2", 1);
    setenv("ELECTRIC_TELEMETRY", "whatever", 1);
    settings_set(&fx.settings, OPT_HTTP_PORT, STR("1"), SOURCE_FLAG);
    settings_set(&fx.settings, OPT_PG_PROXY_PORT, STR("3"), SOURCE_FLAG);
    settings_set(&fx.settings, OPT_PG_PROXY_PORT, STR("4"), SOURCE_FLAG);
    settings_read_environment(&fx.settings, FOR_SERVE);
    settings_set(&fx.settings, OPT_HTTP_PORT, STR("5"), SOURCE_FILE);
    settings_set(&fx.settings, OPT_LOG_LEVEL, STR("debug"), SOURCE_FILE);
    settings_read_defaults(&fx.settings, FOR_SERVE);
    unsetenv("HTTP_PORT");
    unsetenv("ELECTRIC_TELEMETRY");
    assert_string_equal(settings_text(&fx.settings, OPT_HTTP_PORT), "1");
    assert_string_equal(settings_text(&fx.settings, OPT_PG_PROXY_PORT), "4");
    assert_string_equal(settings_text(&fx.settings, OPT_LOG_LEVEL), "debug");
    assert_string_equal(settings_text(&fx.settings, OPT_WAL_WINDOW), "2G");
    assert_null(settings_text(&fx.settings, OPT_TELEMETRY));
}

static void every_row_is_complete(void **state)
{
    for (int id = 0; id < OPTION_COUNT; id++) {
        const struct option *o = &options[id];
        assert_true(o->variable || o->flag);
        assert_true(o->type == TYPE_IGNORED || (o->flag && o->help && o->commands));
        assert_true(o->type == TYPE_IGNORED || o->type == TYPE_BOOL || o->placeholder);
        assert_int_equal(o->type == TYPE_CHOICE, o->choices != NULL);
        assert_true(!o->flag || strncmp(o->flag, "--", 2) == 0);
        for (int other = 0; other < id; other++) {
            bool together = o->commands & options[other].commands;
            assert_false(together && o->flag && options[other].flag &&
                         strcmp(o->flag, options[other].flag) == 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(usual_configuration_is_read, teardown),
        cmocka_unit_test_teardown(instance_id_differs_at_each_start, teardown),
        cmocka_unit_test_teardown(dev_needs_nothing, teardown),
        cmocka_unit_test_teardown(required_options_are_reported_together, teardown),
        cmocka_unit_test_teardown(report_names_each_fault_in_order, teardown),
        cmocka_unit_test_teardown(report_tells_where_a_faulty_value_came_from, teardown),
        cmocka_unit_test_teardown(blank_proxy_password_is_refused, teardown),
        cmocka_unit_test_teardown(proxy_port_has_four_forms, teardown),
        cmocka_unit_test_teardown(ports_must_differ, teardown),
        cmocka_unit_test_teardown(integers_are_checked, teardown),
        cmocka_unit_test_teardown(booleans_are_checked, teardown),
        cmocka_unit_test_teardown(choices_are_listed, teardown),
        cmocka_unit_test_teardown(log_levels_of_the_original_are_known, teardown),
        cmocka_unit_test_teardown(sizes_take_decimals_and_units, teardown),
        cmocka_unit_test_teardown(counts_are_checked, teardown),
        cmocka_unit_test_teardown(durations_take_units, teardown),
        cmocka_unit_test_teardown(timeouts_have_defaults_and_bounds, teardown),
        cmocka_unit_test_teardown(the_path_of_the_unix_socket_has_a_limit, teardown),
        cmocka_unit_test_teardown(permissions_are_octal, teardown),
        cmocka_unit_test_teardown(proxy_protocol_names_its_sources, teardown),
        cmocka_unit_test_teardown(features_first_mention_counts, teardown),
        cmocka_unit_test_teardown(listen_address_is_checked, teardown),
        cmocka_unit_test_teardown(tls_rule_depends_on_the_url, teardown),
        cmocka_unit_test_teardown(conninfo_is_quoted, teardown),
        cmocka_unit_test_teardown(secrets_do_not_show_in_faults, teardown),
        cmocka_unit_test_teardown(sources_have_an_order, teardown),
        cmocka_unit_test_teardown(every_row_is_complete, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
