/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/session.h"

#include "app/signals.h"
#include "app/version.h"
#include "base/buf.h"
#include "sql/quote.h"

#include <pwd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { WATCH_AFTER_MS = 500, WATCH_EVERY_MS = 1000, SLEEP_STEP_MS = 50, CONNECT_EVERY_MS = 500 };

static const char look_sql[] =
    "SELECT coalesce(current_setting('busbar.session', true), '') <> '',"
    " to_regclass('busbar.electrified') IS NOT NULL,"
    " EXISTS (SELECT FROM pg_event_trigger WHERE evtname LIKE 'busbar%'),"
    " pg_is_in_recovery(), version() LIKE '%linux%', s.name, n.nspname IS NOT NULL,"
    " to_regclass(format('%I.%I', s.name, $2::text)) IS NOT NULL,"
    " to_regclass(format('%I.busbar_migrations', s.name)) IS NOT NULL"
    " FROM (SELECT coalesce($1::text, (SELECT c.relnamespace::regnamespace::text FROM pg_class c"
    " WHERE c.oid = to_regclass(quote_ident($2::text)) AND c.relnamespace <> pg_my_temp_schema()),"
    " quote_ident(current_schema()), 'public') AS quoted) q,"
    " LATERAL (SELECT CASE WHEN $1::text IS NOT NULL THEN $1::text ELSE (parse_ident(q.quoted))[1] END AS "
    "name) s"
    " LEFT JOIN pg_namespace n ON n.nspname = s.name";

static const char blocker_sql[] =
    "SELECT format('pid %s, %s%s%s, %s since %s s: %s', b.pid, b.usename,"
    " CASE WHEN b.application_name = '' THEN '' ELSE ' (' || b.application_name || ')' END,"
    " coalesce(' from ' || host(b.client_addr), ''), b.state,"
    " round(extract(epoch FROM clock_timestamp() - coalesce(b.xact_start, b.query_start))),"
    " left(regexp_replace(b.query, '\\s+', ' ', 'g'), 200))"
    " FROM pg_stat_activity a, pg_stat_activity b"
    " WHERE a.application_name = $1 AND b.pid = ANY (pg_blocking_pids(a.pid)) LIMIT 1";

static const char progress_sql[] =
    "SELECT format('%s: %s%s', p.what, p.phase, CASE WHEN p.total > 0 THEN format(', %s %%', 100 * p.done / "
    "p.total) ELSE '' END)"
    " FROM pg_stat_activity a, LATERAL ("
    "SELECT 'index' AS what, phase, CASE WHEN blocks_total > 0 THEN blocks_done ELSE tuples_done END AS done,"
    " CASE WHEN blocks_total > 0 THEN blocks_total ELSE tuples_total END AS total"
    " FROM pg_stat_progress_create_index WHERE pid = a.pid"
    " UNION ALL SELECT 'rewrite', phase, heap_blks_scanned, heap_blks_total FROM pg_stat_progress_cluster "
    "WHERE pid = a.pid"
    " UNION ALL SELECT 'vacuum', phase, heap_blks_scanned, heap_blks_total FROM pg_stat_progress_vacuum "
    "WHERE pid = a.pid"
    " UNION ALL SELECT 'analyze', phase, sample_blks_scanned, sample_blks_total FROM "
    "pg_stat_progress_analyze WHERE pid = a.pid"
    ") p WHERE a.application_name = $1 LIMIT 1";

bool session_is_interrupted(void)
{
    return signals_stop_pending();
}

bool session_sleep(unsigned ms)
{
    for (unsigned slept = 0; slept < ms && !session_is_interrupted(); slept += SLEEP_STEP_MS) {
        nanosleep(&(struct timespec){.tv_nsec = SLEEP_STEP_MS * 1000000L}, NULL);
    }
    return !session_is_interrupted();
}

static struct sync_connection *monitor(struct session *s)
{
    struct err err = ERR_INIT;
    struct sync_options options = {.url = repo_look_url(s->repo), .application_name = "busbar monitor"};
    if (!s->monitor && !s->monitor_failed && s->repo->pool_size > 2) {
        s->monitor_failed = sync_open(&options, &s->monitor, &err) < 0;
    }
    return s->monitor;
}

/* The first value of a query about us; what the monitor cannot tell is not told. */
static bool ask_monitor(struct session *s, const char *sql, char *out, size_t size)
{
    const char *params[] = {s->application_name};
    struct sync_connection *c = monitor(s);
    CLEANUP(sync_answer_deinit) struct sync_answer answer = {0};
    if (!c || sync_query(c, sql, params, 1, &answer) < 0 || answer.result.rows == 0 ||
        !pg_result_cstr(&answer.result, 0, 0)) {
        return false;
    }
    snprintf(out, size, "%s", pg_result_cstr(&answer.result, 0, 0));
    return true;
}

/* Leaves who is in the way in s->blocker. */
static void look_for_blocker(struct session *s)
{
    char text[sizeof s->blocker];
    if (ask_monitor(s, blocker_sql, text, sizeof text) && strcmp(text, s->blocker) != 0) {
        memcpy(s->blocker, text, sizeof text);
        s->self_blocked |= strstr(text, s->application_name) != NULL;
        report_progress(s->report, "waiting for %s", s->blocker);
    }
}

static bool keep_on(void *ctx, unsigned waited_ms)
{
    struct session *s = ctx;
    char progress[256];
    if (waited_ms < s->watched_ms) {
        s->watched_ms = 0; /* another statement */
        s->self_blocked = false;
    }
    if (waited_ms >= WATCH_AFTER_MS && waited_ms - s->watched_ms >= WATCH_EVERY_MS) {
        s->watched_ms = waited_ms;
        look_for_blocker(s);
        if (ask_monitor(s, progress_sql, progress, sizeof progress)) {
            report_progress(s->report, "%s", progress);
        }
    }
    s->timed_out = s->deadline_ms && waited_ms > s->deadline_ms;
    return !s->timed_out && !s->self_blocked && !session_is_interrupted();
}

static void on_notice(void *ctx, const char *severity, const char *message)
{
    struct session *s = ctx;
    if (!s->report->quiet || strcmp(severity, "WARNING") == 0) {
        fprintf(stderr, "%s: %s\n", severity, message);
    }
}

int session_connect(struct session *s, const char *url, struct sync_connection **out)
{
    struct err err = ERR_INIT;
    struct sync_options options = {.url = url,
                                   .application_name = s->application_name,
                                   .keep_on = keep_on,
                                   .notice = on_notice,
                                   .ctx = s};
    for (uint64_t waited = 0; sync_open(&options, out, &err) < 0; waited += CONNECT_EVERY_MS) {
        if (waited == 0 && s->wait_ms) {
            report_warning(s->report, "waiting for the database: %s", err.msg);
        }
        if (waited >= s->wait_ms || !session_sleep(CONNECT_EVERY_MS)) {
            report_failure(s->report, err.msg, NULL, NULL);
            return -1;
        }
    }
    return 0;
}

int session_query(struct session *s, struct sync_connection *c, const char *sql, const char *const *params,
                  size_t params_n, struct sync_answer *out, const char *what)
{
    if (sync_query(c, sql, params, params_n, out) == 0) {
        return 0;
    }
    const char *text = arena_printf(&s->arena, "%s: %s", what, out->result.err.msg);
    report_failure(s->report, text, out->result.detail, out->result.hint);
    return -1;
}

int session_exec(struct session *s, struct sync_connection *c, const char *sql, const char *what)
{
    CLEANUP(sync_answer_deinit) struct sync_answer answer;
    if (sync_script(c, sql, &answer) == 0) {
        return 0;
    }
    const char *text = arena_printf(&s->arena, "%s: %s", what, answer.result.err.msg);
    report_failure(s->report, text, answer.result.detail, answer.result.hint);
    return -1;
}

static void note_names(struct session *s)
{
    const char *schema = sql_ident(&s->arena, str_c(s->schema));
    s->source = arena_printf(&s->arena, "%s.%s", schema, sql_ident(&s->arena, str_c(s->repo->source)));
    s->facts = arena_printf(&s->arena, "%s.\"busbar_migrations\"", schema);
}

/* Without event triggers a change made beside the proxy would go unseen. */
static int look_for_electrified(struct session *s)
{
    CLEANUP(sync_answer_deinit) struct sync_answer a = {0};
    if (!s->service || s->guarded || s->proxied) {
        return 0;
    }
    if (session_query(s, s->run, "SELECT DISTINCT table_name FROM electric.electrified", NULL, 0, &a,
                      "cannot look for tables that are open for sync") < 0) {
        return -1;
    }
    s->electrified = arena_alloc_array(&s->arena, a.result.rows + 1, sizeof *s->electrified);
    for (size_t i = 0; i < a.result.rows; i++) {
        s->electrified[s->electrified_n++] = arena_strdup(&s->arena, pg_result_cstr(&a.result, i, 0));
    }
    return 0;
}

static int look(struct session *s)
{
    const char *params[] = {s->prefix, s->repo->source};
    CLEANUP(sync_answer_deinit) struct sync_answer a = {0};
    if (session_query(s, s->run, look_sql, params, 2, &a, "cannot look at the database") < 0) {
        return -1;
    }
    bool *const found[] = {&s->proxied, &s->service, &s->guarded, &s->standby, &s->notices_death};
    for (size_t i = 0; i < ARRAY_LEN(found); i++) {
        *found[i] = pg_result_is_true(&a.result, 0, i);
    }
    s->schema = arena_strdup(&s->arena, pg_result_cstr(&a.result, 0, 5));
    s->has_schema = pg_result_is_true(&a.result, 0, 6);
    s->has_source = pg_result_is_true(&a.result, 0, 7);
    s->has_facts = pg_result_is_true(&a.result, 0, 8);
    note_names(s);
    return look_for_electrified(s);
}

static void name_ourselves(struct session *s)
{
    char host[128] = "";
    unsigned random[2] = {0, 0};
    const struct passwd *pw = getpwuid(geteuid());
    ignore_result(getrandom(random, sizeof random, 0)); /* the process id alone would nearly do */
    ignore_result(gethostname(host, sizeof host - 1));
    snprintf(s->application_name, sizeof s->application_name, "busbar migrate %ld %08x%08x", (long)getpid(),
             random[0], random[1]);
    s->run_by = pw ? arena_printf(&s->arena, "%s@%s", pw->pw_name, host)
                   : arena_printf(&s->arena, "%lu@%s", (unsigned long)geteuid(), host);
}

int session_open(struct session *s, const struct repo *repo, const struct session_options *options,
                 struct report *report)
{
    *s = (struct session){
        .repo = repo, .prefix = options->prefix, .wait_ms = options->wait_ms, .report = report};
    name_ourselves(s);
    const char *url = options->looks ? repo_look_url(repo) : repo_run_url(repo);
    return session_connect(s, url, &s->run) < 0 ? -1 : look(s);
}

void session_close(struct session *s)
{
    sync_close(take_ptr(&s->lock));
    sync_close(take_ptr(&s->monitor));
    sync_close(take_ptr(&s->run));
    arena_deinit(&s->arena);
}
