/* SPDX-License-Identifier: Apache-2.0 */
#include "http/metrics.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static int64_t resident_bytes(void)
{
    unsigned long long total, resident;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f) {
        return -1;
    }
    int n = fscanf(f, "%llu %llu", &total, &resident);
    fclose(f);
    return n == 2 ? (int64_t)resident * sysconf(_SC_PAGESIZE) : -1;
}

static int64_t open_fds(void)
{
    int64_t n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) {
        return -1;
    }
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        n += e->d_name[0] != '.';
    }
    closedir(dir);
    return n - 1; /* less the folder itself */
}

void metrics_measure_process(struct metrics *m)
{
    struct rusage usage;
    struct rlimit limit;
    m->cpu_seconds =
        getrusage(RUSAGE_SELF, &usage) == 0 ? seconds(usage.ru_utime) + seconds(usage.ru_stime) : -1;
    m->max_fds = getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (int64_t)limit.rlim_cur : -1;
    m->resident_bytes = resident_bytes();
    m->open_fds = open_fds();
}

/* A label's value: backslash, quote and line end are escaped. */
static void put_label(struct buf *out, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n') {
            buf_put_c(out, "\\n");
        } else {
            if (*value == '"' || *value == '\\') {
                buf_put_byte(out, '\\');
            }
            buf_put_byte(out, *value);
        }
    }
}

static void head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void count(struct buf *out, const char *name, const char *type, const char *help, uint64_t value)
{
    head(out, name, type, help);
    buf_printf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void measure(struct buf *out, const char *name, const char *type, const char *help, double value)
{
    if (value >= 0) {
        head(out, name, type, help);
        buf_printf(out, "%s %.17g\n", name, value);
    }
}

static void by_source(struct buf *out, const char *name, const char *help, uint64_t clients, uint64_t server)
{
    head(out, name, "counter", help);
    buf_printf(out, "%s{from=\"client\"} %llu\n%s{from=\"server\"} %llu\n", name, (unsigned long long)clients,
               name, (unsigned long long)server);
}

static void write_service(const struct metrics *m, struct buf *out)
{
    head(out, "busbar_info", "gauge", "Version of the program and of PostgreSQL; always 1.");
    buf_put_c(out, "busbar_info{version=\"");
    put_label(out, m->version);
    buf_put_c(out, "\",postgres=\"");
    put_label(out, m->state->server_version);
    buf_put_c(out, "\"} 1\n");
    count(out, "busbar_up", "gauge", "1 while the service runs.", 1);
    count(out, "busbar_ready", "gauge", "1 while sessions and requests are served.", m->state->ready);
    count(out, "busbar_guard", "gauge", "1 while event triggers guard the electrified tables.",
          m->state->ready && m->state->guard);
    count(out, "busbar_postgres_up", "gauge", "1 while the service connection to PostgreSQL is up.",
          m->postgres_state[0] == 'u');
    count(out, "busbar_drifted_tables", "gauge", "Electrified tables that are not what clients have.",
          m->state->drift.total);
    count(out, "busbar_unusable_migrations", "gauge", "Recorded migrations that clients cannot apply.",
          m->state->unusable.total);
    if (m->counted) {
        count(out, "busbar_migrations", "gauge", "Migrations in the history.", m->migrations);
        count(out, "busbar_electrified_tables", "gauge", "Tables opened for sync.", m->electrified_tables);
    }
}

static void write_proxy(const struct proxy_stats *n, struct buf *out)
{
    count(out, "busbar_workers", "gauge", "Threads that move the data of sessions.", n->workers);
    count(out, "busbar_connections", "gauge", "Clients connected to the proxy, logged in or not.",
          n->connections);
    count(out, "busbar_connections_total", "counter", "Connections that clients made to the proxy.",
          n->connections_total);
    count(out, "busbar_connections_dropped_total", "counter",
          "Connections closed as they came: far above the limit.", n->connections_dropped);
    count(out, "busbar_sessions", "gauge", "Proxy sessions that are open.", n->sessions);
    count(out, "busbar_sessions_total", "counter", "Proxy sessions that were opened.", n->sessions_total);
    count(out, "busbar_logins_refused_total", "counter", "Logins to the proxy that were refused.",
          n->logins_refused);
    count(out, "busbar_logins_failed_total", "counter", "Logins that PostgreSQL refused or did not answer.",
          n->logins_failed);
    measure(out, "busbar_login_seconds_total", "counter",
            "Time that logins to PostgreSQL took, all sessions together.", (double)n->login_ms / 1000);
    count(out, "busbar_cancels_total", "counter", "Cancel requests passed on.", n->cancels);
    count(out, "busbar_timeouts_total", "counter", "Clients ended for a slow login or an idle session.",
          n->timeouts);
    by_source(out, "busbar_bytes_total", "Bytes received by the proxy.", n->bytes_from_clients,
              n->bytes_from_server);
    by_source(out, "busbar_messages_total", "Protocol messages received by the proxy.",
              n->messages_from_clients, n->messages_from_server);
    count(out, "busbar_statements_inspected_total", "counter", "Statements parsed because they may be DDL.",
          n->statements_inspected);
    count(out, "busbar_ddlx_statements_total", "counter", "DDLX statements run.", n->ddlx_statements);
    count(out, "busbar_migrations_captured_total", "counter", "Migrations captured and committed.",
          n->migrations_recorded);
    count(out, "busbar_migrations_refused_total", "counter", "Migrations refused.", n->migrations_refused);
}

static void write_replication(const struct sync_stats *n, struct buf *out)
{
    count(out, "busbar_replication_up", "gauge", "1 while changes come from PostgreSQL.",
          n->state && strcmp(n->state, "ready") == 0);
    count(out, "busbar_replication_lag_bytes", "gauge", "WAL that PostgreSQL has and Busbar has not.",
          n->lag_bytes);
    measure(out, "busbar_replication_lag_seconds", "gauge",
            "Age of the newest transaction when it came; 0 when there were no more.",
            (double)n->lag_ms / 1000);
    count(out, "busbar_replication_retained_bytes", "gauge", "WAL that PostgreSQL keeps for the slot.",
          n->retained);
    count(out, "busbar_replication_transactions_total", "counter", "Transactions received.", n->transactions);
    count(out, "busbar_replication_bytes_total", "counter", "Bytes of transactions received.", n->bytes);
    count(out, "busbar_replication_connects_total", "counter", "Connections made for replication.",
          n->connects);
    count(out, "busbar_log_bytes", "gauge", "Transactions kept in the log.", n->log_bytes);
    count(out, "busbar_log_transactions", "gauge", "Number of transactions kept in the log.",
          n->log_transactions);
    count(out, "busbar_log_resets_total", "counter",
          "How often the log has begun anew, for which all clients load their data again.", n->resets);
}

static void write_sync(const struct sync_stats *n, struct buf *out)
{
    count(out, "busbar_sync_ready", "gauge", "1 while sync clients are served.", n->ready);
    count(out, "busbar_sync_clients", "gauge", "Sync clients connected.", n->clients);
    count(out, "busbar_sync_subscriptions", "gauge", "Subscriptions of the clients that are connected.",
          n->subscriptions);
    count(out, "busbar_sync_flows", "gauge", "Different views that are followed, each at its position.",
          n->flows);
    count(out, "busbar_sync_transactions_total", "counter", "Transactions queued to clients.",
          n->transactions_sent);
    count(out, "busbar_sync_bytes_total", "counter", "Bytes queued to clients.", n->bytes_sent);
    count(out, "busbar_sync_snapshots_total", "counter", "Snapshots of the database taken to read rows.",
          n->snapshots);
    count(out, "busbar_sync_queries_total", "counter", "Queries run in those snapshots.", n->queries);
    count(out, "busbar_sync_clients_dropped_total", "counter",
          "Clients dropped because they could not follow.", n->clients_dropped);
    count(out, "busbar_sync_clients_sent_away_total", "counter",
          "Clients sent away for a moment: their rows could not be read.", n->clients_sent_away);
}

void metrics_write_text(const struct metrics *m, struct buf *out)
{
    write_service(m, out);
    write_proxy(&m->numbers, out);
    write_replication(&m->sync, out);
    write_sync(&m->sync, out);
    measure(out, "process_start_time_seconds", "gauge", "Start of the process, seconds since 1970.",
            m->start_time);
    measure(out, "process_cpu_seconds_total", "counter", "Processor time used.", m->cpu_seconds);
    measure(out, "process_resident_memory_bytes", "gauge", "Resident memory.", (double)m->resident_bytes);
    measure(out, "process_open_fds", "gauge", "Open file descriptors.", (double)m->open_fds);
    measure(out, "process_max_fds", "gauge", "Limit on open file descriptors.", (double)m->max_fds);
}

/* A text or null. Texts come from PostgreSQL and the system: what is not UTF-8 becomes null. */
static json_t *text_or_null(const char *text)
{
    json_t *s = text && *text ? json_string(text) : NULL;
    return s ? s : json_null();
}

static json_t *count_or_null(bool known, uint64_t value)
{
    return known ? json_integer((json_int_t)value) : json_null();
}

static json_t *findings_json(const struct findings *f, const char *subject, const char *what)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->n; i++) {
        const struct finding *item = &f->items[i];
        json_array_append_new(list, json_pack("{s:o, s:o, s:o}", subject, text_or_null(item->subject), what,
                                              text_or_null(item->what), "mend", text_or_null(item->mend)));
    }
    return list;
}

static const char *status_of(const struct metrics *m)
{
    return m->state->ready ? "ready" : m->postgres_state[0] == 'd' ? "unavailable" : "starting";
}

static json_t *replication_json(const struct sync_stats *n)
{
    return json_pack("{s:o, s:o, s:I, s:f, s:I, s:I, s:I}", "state", text_or_null(n->state), "reason",
                     text_or_null(n->trouble), "lag_bytes", (json_int_t)n->lag_bytes, "lag_seconds",
                     (double)n->lag_ms / 1000, "retained_bytes", (json_int_t)n->retained, "log_bytes",
                     (json_int_t)n->log_bytes, "log_transactions", (json_int_t)n->log_transactions);
}

static json_t *sync_json(const struct sync_stats *n)
{
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I}", "ready", n->ready, "clients", (json_int_t)n->clients,
                     "subscriptions", (json_int_t)n->subscriptions, "transactions_sent",
                     (json_int_t)n->transactions_sent, "bytes_sent", (json_int_t)n->bytes_sent,
                     "clients_dropped", (json_int_t)n->clients_dropped);
}

void metrics_write_json(const struct metrics *m, struct buf *out)
{
    const struct api_state *s = m->state;
    json_t *postgres = json_pack("{s:s, s:o, s:b, s:o}", "state", m->postgres_state, "version",
                                 text_or_null(s->server_version), "guard", s->ready && s->guard, "reason",
                                 text_or_null(s->ready ? s->guard_reason : s->reason));
    json_t *root = json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:f}", "status", status_of(m), "version",
        m->version, "postgres", postgres, "migrations", count_or_null(m->counted, m->migrations),
        "electrified_tables", count_or_null(m->counted, m->electrified_tables), "drift",
        findings_json(&s->drift, "table", "difference"), "unusable_migrations",
        findings_json(&s->unusable, "version", "reason"), "sessions", (json_int_t)m->numbers.sessions,
        "sessions_total", (json_int_t)m->numbers.sessions_total, "replication", replication_json(&m->sync),
        "sync", sync_json(&m->sync), "uptime_seconds", m->now - m->start_time);
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    if (text) {
        buf_put_c(out, text);
    }
    free(text);
    json_decref(root);
}
