/* SPDX-License-Identifier: Apache-2.0 */
#include "http/metrics.h"

#include "base/mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct api_state ready = {.ready = true, .guard = true, .server_version = "15.4 (\"x\\y\")"};
static const struct api_state starting = {.reason = "the database is being prepared"};

static struct metrics sample(const struct api_state *state)
{
    return (struct metrics){
        .state = state,
        .version = "0.1.0",
        .postgres_state = "up",
        .numbers = {.sessions = 3,
                    .sessions_total = 18446744073709551615u,
                    .bytes_from_clients = 5,
                    .bytes_from_server = 6},
        .counted = true,
        .migrations = 7,
        .electrified_tables = 2,
        .start_time = 1700000000.5,
        .now = 1700000010.5,
        .cpu_seconds = 1.25,
        .resident_bytes = 4096,
        .open_fds = -1,
        .max_fds = 1024,
    };
}

static void has(struct buf *text, const char *line)
{
    if (!strstr(buf_cstr(text), line)) {
        fail_msg("no \"%s\" in:\n%s", line, buf_cstr(text));
    }
}

static void text_says_what_is_known(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    struct metrics m = sample(&ready);
    metrics_write_text(&m, &out);
    has(&out, "# TYPE busbar_up gauge\nbusbar_up 1\n");
    has(&out, "\nbusbar_ready 1\n");
    has(&out, "\nbusbar_guard 1\n");
    has(&out, "busbar_info{version=\"0.1.0\",postgres=\"15.4 (\\\"x\\\\y\\\")\"} 1\n");
    has(&out, "\nbusbar_sessions 3\n");
    has(&out, "# TYPE busbar_sessions_total counter\nbusbar_sessions_total 18446744073709551615\n");
    has(&out, "busbar_bytes_total{from=\"client\"} 5\nbusbar_bytes_total{from=\"server\"} 6\n");
    has(&out, "\nbusbar_migrations 7\n");
    has(&out, "\nprocess_start_time_seconds 1700000000.5\n");
    has(&out, "\nprocess_resident_memory_bytes 4096\n");
    assert_null(strstr(buf_cstr(&out), "process_open_fds")); /* not known */
}

static void text_has_all_that_the_proxy_counts(void **state)
{
    static const char *const lines[] = {
        "\nbusbar_workers 1\n",
        "\nbusbar_connections 2\n",
        "\nbusbar_connections_total 3\n",
        "\nbusbar_connections_dropped_total 4\n",
        "\nbusbar_sessions 5\n",
        "\nbusbar_sessions_total 6\n",
        "\nbusbar_logins_refused_total 7\n",
        "\nbusbar_logins_failed_total 8\n",
        "\nbusbar_login_seconds_total 9.5\n",
        "\nbusbar_cancels_total 10\n",
        "\nbusbar_timeouts_total 11\n",
        "\nbusbar_messages_total{from=\"client\"} 12\nbusbar_messages_total{from=\"server\"} 13\n",
        "\nbusbar_statements_inspected_total 14\n",
        "\nbusbar_ddlx_statements_total 15\n",
        "\nbusbar_migrations_captured_total 16\n",
        "\nbusbar_migrations_refused_total 17\n"};
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    struct metrics m = sample(&ready);
    m.numbers = (struct proxy_stats){.workers = 1,
                                     .connections = 2,
                                     .connections_total = 3,
                                     .connections_dropped = 4,
                                     .sessions = 5,
                                     .sessions_total = 6,
                                     .logins_refused = 7,
                                     .logins_failed = 8,
                                     .login_ms = 9500,
                                     .cancels = 10,
                                     .timeouts = 11,
                                     .messages_from_clients = 12,
                                     .messages_from_server = 13,
                                     .statements_inspected = 14,
                                     .ddlx_statements = 15,
                                     .migrations_recorded = 16,
                                     .migrations_refused = 17};
    metrics_write_text(&m, &out);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        has(&out, lines[i]);
    }
}

static void text_has_all_of_the_sync_service(void **state)
{
    static const char *const lines[] = {
        "\nbusbar_replication_up 1\n",
        "\nbusbar_replication_lag_bytes 1\n",
        "\nbusbar_replication_lag_seconds 2.5\n",
        "\nbusbar_replication_retained_bytes 3\n",
        "\nbusbar_replication_transactions_total 4\n",
        "\nbusbar_replication_bytes_total 5\n",
        "\nbusbar_replication_connects_total 6\n",
        "\nbusbar_log_resets_total 7\n",
        "\nbusbar_log_bytes 8\n",
        "\nbusbar_log_transactions 9\n",
        "\nbusbar_sync_ready 1\n",
        "\nbusbar_sync_clients 10\n",
        "\nbusbar_sync_subscriptions 11\n",
        "\nbusbar_sync_flows 12\n",
        "\nbusbar_sync_transactions_total 13\n",
        "\nbusbar_sync_bytes_total 14\n",
        "\nbusbar_sync_snapshots_total 17\n",
        "\nbusbar_sync_queries_total 18\n",
        "\nbusbar_sync_clients_dropped_total 15\n",
        "\nbusbar_sync_clients_sent_away_total 16\n",
    };
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    struct metrics m = sample(&ready);
    m.sync = (struct sync_stats){.ready = true,
                                 .state = "ready",
                                 .lag_bytes = 1,
                                 .lag_ms = 2500,
                                 .retained = 3,
                                 .transactions = 4,
                                 .bytes = 5,
                                 .connects = 6,
                                 .resets = 7,
                                 .log_bytes = 8,
                                 .log_transactions = 9,
                                 .clients = 10,
                                 .subscriptions = 11,
                                 .flows = 12,
                                 .transactions_sent = 13,
                                 .bytes_sent = 14,
                                 .clients_dropped = 15,
                                 .clients_sent_away = 16,
                                 .snapshots = 17,
                                 .queries = 18};
    metrics_write_text(&m, &out);
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        has(&out, lines[i]);
    }
    buf_reset(&out);
    metrics_write_json(&m, &out);
    has(&out, "\"replication\":{\"state\":\"ready\",\"reason\":null,\"lag_bytes\":1,\"lag_seconds\":2.5,"
              "\"retained_bytes\":3,"
              "\"log_bytes\":8,\"log_transactions\":9},\"sync\":{\"ready\":true,\"clients\":10,"
              "\"subscriptions\":11,"
              "\"transactions_sent\":13,\"bytes_sent\":14,\"clients_dropped\":15}");
}

/* Format 0.0.4: every line is a comment or "name{labels} value"; HELP and TYPE come once, before the samples.
 */
static void every_line_has_the_form(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    struct metrics m = sample(&starting);
    char name[128] = "", helped[128] = "", typed[128] = "";
    metrics_write_text(&m, &out);
    assert_int_equal(out.p[out.n - 1], '\n');
    struct str rest = buf_str(&out);
    while (rest.n > 0) {
        struct str line = str_cut(&rest, '\n');
        char copy[512];
        snprintf(copy, sizeof copy, "%.*s", STR_ARG(line));
        if (sscanf(copy, "# HELP %127s", name) == 1) {
            assert_string_not_equal(name, helped);
            memcpy(helped, name, sizeof helped);
        } else if (sscanf(copy, "# TYPE %127s", name) == 1) {
            assert_string_equal(name, helped);
            memcpy(typed, name, sizeof typed);
        } else {
            size_t n = strcspn(copy, "{ ");
            assert_int_equal(n, strlen(typed));
            assert_memory_equal(copy, typed, n);
            assert_true(strspn(strrchr(copy, ' ') + 1, "0123456789.e+") > 0);
        }
    }
}

static void json_tells_the_state(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    struct metrics m = sample(&ready);
    metrics_write_json(&m, &out);
    has(&out, "{\"status\":\"ready\",\"version\":\"0.1.0\",\"postgres\":{\"state\":\"up\",\"version\":\"15.4 "
              "(\\\"x\\\\y\\\")\","
              "\"guard\":true,\"reason\":null},\"migrations\":7,\"electrified_tables\":2,\"drift\":[],"
              "\"unusable_migrations\":[],\"sessions\":3,");
    has(&out, "\"uptime_seconds\":10.0}");
}

static void json_of_a_service_that_is_not_ready(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    struct metrics m = sample(&starting);
    m.counted = false;
    metrics_write_json(&m, &out);
    has(&out, "{\"status\":\"starting\",");
    has(&out, "\"version\":null,\"guard\":false,\"reason\":\"the database is being prepared\"}");
    has(&out, "\"migrations\":null,\"electrified_tables\":null,");
    buf_reset(&out);
    m.postgres_state = "down";
    metrics_write_json(&m, &out);
    has(&out, "{\"status\":\"unavailable\",");
    has(&out, "\"state\":\"down\"");
}

/* A list too long is cut, not its number; so is a text, between two characters. */
static void findings_are_told(void **state)
{
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(API_TEXT_MAX);
    struct api_state ill = {.ready = true};
    struct findings same = {0};
    CLEANUP(mem_free_p) char *text = mem_alloc(FINDING_TEXT + 2);
    memset(text, 'x', FINDING_TEXT - 1);
    memcpy(text + FINDING_TEXT - 1, "\xc3\xa4", 3);
    findings_add(&ill.drift, "public.items", "column a was dropped", "ALTER TABLE …");
    for (size_t i = 0; i < FINDINGS_MAX + 5; i++) {
        findings_add(&ill.unusable, "20240101", text, NULL);
    }
    struct metrics m = sample(&ill);
    metrics_write_text(&m, &out);
    has(&out, "\nbusbar_drifted_tables 1\n");
    has(&out, "\nbusbar_unusable_migrations 105\n");
    buf_reset(&out);
    metrics_write_json(&m, &out);
    has(&out, "\"drift\":[{\"table\":\"public.items\",\"difference\":\"column a was "
              "dropped\",\"mend\":\"ALTER TABLE ");
    has(&out, "xxx\",\"mend\":null}");
    assert_int_equal(ill.unusable.n, FINDINGS_MAX);
    findings_add(&same, "public.items", "column a was dropped", NULL);
    assert_false(findings_replace(&ill.drift, &same));
    assert_true(findings_replace(&ill.drift, &same)); /* by none */
    findings_deinit(&ill.drift);
    findings_deinit(&ill.unusable);
}

static void text_that_is_not_utf8_spoils_nothing(void **state)
{
    static const struct api_state odd = {.reason = "\xff\xfe", .server_version = "\xff"};
    CLEANUP(buf_deinit) struct buf out = BUF_INIT(65536);
    struct metrics m = sample(&odd);
    metrics_write_json(&m, &out);
    json_t *json = json_loadb(out.p, out.n, 0, NULL);
    assert_non_null(json);
    json_decref(json);
}

static void the_process_is_measured(void **state)
{
    struct metrics m = {0};
    metrics_measure_process(&m);
    assert_true(m.cpu_seconds >= 0);
    assert_true(m.resident_bytes > 100000);
    assert_true(m.open_fds >= 3);
    assert_true(m.max_fds >= m.open_fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_says_what_is_known),
        cmocka_unit_test(text_has_all_that_the_proxy_counts),
        cmocka_unit_test(text_has_all_of_the_sync_service),
        cmocka_unit_test(every_line_has_the_form),
        cmocka_unit_test(json_tells_the_state),
        cmocka_unit_test(findings_are_told),
        cmocka_unit_test(json_of_a_service_that_is_not_ready),
        cmocka_unit_test(text_that_is_not_utf8_spoils_nothing),
        cmocka_unit_test(the_process_is_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
