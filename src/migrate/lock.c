/* SPDX-License-Identifier: Apache-2.0 */
#include "migrate/lock.h"

#include "base/buf.h"
#include "sql/quote.h"

#include <inttypes.h>

enum { POLL_MS = 250, TELL_EVERY = 20 /* tries */, TEXT_LIMIT = 8192 };

enum attempt { ATTEMPT_HELD, ATTEMPT_TAKEN_BY_OTHER, ATTEMPT_FAILED };

/* The key as an SQL expression. Ecto's own can be given in the repo's settings. */
static void put_key(const struct session *s, struct buf *out)
{
    if (s->repo->lock_keyed) {
        buf_printf(out, "%" PRId64 "::bigint", s->repo->lock_key);
        return;
    }
    buf_put_c(out, "pg_catalog.hashtextextended(");
    sql_put_literal(out, str_c(s->source));
    buf_put_c(out, ", 0)");
}

static void put_attempt(const struct session *s, struct buf *out)
{
    buf_put_c(out,
              "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = 0; ");
    if (s->repo->lock == REPO_LOCK_TABLE) {
        buf_printf(out, "LOCK TABLE %s IN SHARE UPDATE EXCLUSIVE MODE NOWAIT", s->source);
        return;
    }
    buf_put_c(out, "SELECT pg_catalog.pg_try_advisory_xact_lock(");
    put_key(s, out);
    buf_put_byte(out, ')');
}

static void put_holder_query(const struct session *s, struct buf *out)
{
    buf_put_c(out, "SELECT format('pid %s, %s%s%s, %s since %s s', b.pid, b.usename,"
                   " CASE WHEN b.application_name = '' THEN '' ELSE ' (' || b.application_name || ')' END,"
                   " coalesce(' from ' || host(b.client_addr), ''), b.state,"
                   " round(extract(epoch FROM clock_timestamp() - b.xact_start)))"
                   " FROM pg_locks l JOIN pg_stat_activity b ON b.pid = l.pid WHERE l.granted AND ");
    if (s->repo->lock == REPO_LOCK_TABLE) {
        buf_put_c(
            out,
            "l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',"
            " 'AccessExclusiveLock') AND l.relation = to_regclass(");
        sql_put_literal(out, str_c(s->source));
        buf_put_c(out, ") LIMIT 1");
        return;
    }
    buf_put_c(
        out, "l.locktype = 'advisory' AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = ");
    put_key(s, out);
    buf_put_c(out, " LIMIT 1");
}

static enum attempt try_once(struct session *s)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    CLEANUP(sync_answer_deinit) struct sync_answer a;
    put_attempt(s, &sql);
    int rc = sync_script(s->lock, buf_cstr(&sql), &a);
    if (rc == 0 && (s->repo->lock == REPO_LOCK_TABLE || pg_result_is_true(&a.result, 0, 0))) {
        return ATTEMPT_HELD;
    }
    if (rc < 0 && strcmp(a.result.err.sqlstate, "55P03") != 0) {
        report_failure(s->report, a.result.err.msg, a.result.detail, a.result.hint);
        return ATTEMPT_FAILED;
    }
    return session_exec(s, s->lock, "ROLLBACK", "the migrators' lock") < 0 ? ATTEMPT_FAILED
                                                                           : ATTEMPT_TAKEN_BY_OTHER;
}

static const char *holder(struct session *s)
{
    CLEANUP(buf_deinit) struct buf sql = BUF_INIT(TEXT_LIMIT);
    CLEANUP(sync_answer_deinit) struct sync_answer a;
    put_holder_query(s, &sql);
    if (sync_script(s->lock, buf_cstr(&sql), &a) < 0 || a.result.rows == 0) {
        return "somebody who has just let go of it";
    }
    return arena_strdup(&s->arena, pg_result_cstr(&a.result, 0, 0));
}

static int poll_lock(struct session *s, uint64_t wait_ms)
{
    uint64_t waited = 0;
    for (unsigned n = 0;; n++) {
        enum attempt attempt = try_once(s);
        if (attempt != ATTEMPT_TAKEN_BY_OTHER) {
            return attempt == ATTEMPT_HELD ? 0 : -1;
        }
        if (n % TELL_EVERY == 0) {
            report_warning(s->report, "waiting for the migrators' lock, which is held by %s", holder(s));
        }
        if (waited >= wait_ms) {
            report_failure(s->report, arena_printf(&s->arena, "another migrator is at work: %s", holder(s)),
                           NULL, "wait for its end, or allow more time with --lock-wait");
            return -1;
        }
        if (!session_sleep(POLL_MS)) {
            report_warning(s->report, "interrupted while waiting for the migrators' lock");
            return -1;
        }
        waited += POLL_MS;
    }
}

/* A lock in another database than the one that is migrated would keep nobody out. */
static int check_same_database(struct session *s)
{
    static const char sql[] = "SELECT (SELECT system_identifier FROM pg_control_system())::text || '/' ||"
                              " (SELECT oid FROM pg_database WHERE datname = current_database())::text";
    CLEANUP(sync_answer_deinit) struct sync_answer run = {0};
    CLEANUP(sync_answer_deinit) struct sync_answer lock = {0};
    if (!s->repo->url || !s->repo->proxy_url) {
        return 0;
    }
    if (session_query(s, s->run, sql, NULL, 0, &run, "PROXY_URL") < 0 ||
        session_query(s, s->lock, sql, NULL, 0, &lock, "DATABASE_URL") < 0) {
        return -1;
    }
    if (!str_eq(pg_result_get(&run.result, 0, 0), pg_result_get(&lock.result, 0, 0))) {
        report_failure(s->report, "DATABASE_URL and PROXY_URL lead to two databases", NULL,
                       "PROXY_URL names the proxy in front of DATABASE_URL");
        return -1;
    }
    return 0;
}

int migrator_lock_take(struct session *s, uint64_t wait_ms)
{
    if (s->repo->lock == REPO_LOCK_NONE || migrator_lock_is_held(s)) {
        return 0;
    }
    sync_close(take_ptr(&s->lock));
    if (session_connect(s, repo_look_url(s->repo), &s->lock) < 0) {
        return -1;
    }
    int rc = check_same_database(s) < 0 ? -1 : poll_lock(s, wait_ms);
    if (rc < 0) {
        sync_close(take_ptr(&s->lock));
    }
    return rc;
}

void migrator_lock_release(struct session *s)
{
    if (s->lock && sync_is_up(s->lock)) {
        ignore_result(
            session_exec(s, s->lock, "ROLLBACK", "the migrators' lock")); /* reported; the end frees it too */
    }
    sync_close(take_ptr(&s->lock));
}

bool migrator_lock_is_held(struct session *s)
{
    return s->repo->lock == REPO_LOCK_NONE || (s->lock && sync_is_up(s->lock));
}
