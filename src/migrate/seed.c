/* SPDX-License-Identifier: Apache-2.0 */
/* busbar seed */
#include "app/files.h"
#include "app/version.h"
#include "base/limits.h"
#include "migrate/history.h"
#include "migrate/place.h"
#include "sql/quote.h"

/* With --once a file is known by its name, as a source of its own in our table. */
static const char *source_of(struct place *p, const struct migration *m)
{
    return arena_printf(&p->arena, "seed:%s", m->name);
}

static int was_run(struct place *p, const struct migration *m, bool *out)
{
    const char *params[] = {source_of(p, m)};
    CLEANUP(sync_answer_deinit) struct sync_answer a = {0};
    const char *sql = arena_printf(&p->arena, "SELECT FROM %s WHERE source = $1", p->session.facts);
    if (session_query(&p->session, p->session.run, sql, params, 1, &a, "cannot look for the seed") < 0) {
        return -1;
    }
    *out = a.result.rows > 0;
    return 0;
}

static void put_row(struct place *p, const struct migration *m, struct buf *out)
{
    buf_printf(out,
               "INSERT INTO %s (source, version, name, kind, state, checksum, statements, done, finished_at, "
               "run_by, "
               "program) VALUES (",
               p->session.facts);
    sql_put_literal(out, str_c(source_of(p, m)));
    buf_put_c(out, ", 0, ");
    sql_put_literal(out, str_c(m->name));
    buf_printf(out, ", 'seed', 'up', '%s', 0, 0, pg_catalog.clock_timestamp(), ", m->checksum);
    sql_put_literal(out, str_c(p->session.run_by));
    buf_put_c(out, ", ");
    sql_put_literal(out, str_c(busbar_version));
    buf_put_c(out, ");\n");
}

static int read_seed(struct place *p, struct migration *m)
{
    struct err err = ERR_INIT;
    CLEANUP(buf_deinit) struct buf text = BUF_INIT(LIMIT_MIGRATION_TEXT);
    m->path = p->task->file ? p->task->file : arena_printf(&p->arena, "%s/seeds.sql", p->session.repo->priv);
    const char *slash = strrchr(m->path, '/');
    m->name = slash ? slash + 1 : m->path;
    if (file_read(m->path, &text, &err) < 0 ||
        migration_parse(MIGRATION_SECTIONS, arena_str(&p->arena, buf_str(&text)), &m->text, &err) < 0) {
        report_failure(&p->task->report, err.msg, NULL, NULL);
        return -1;
    }
    m->text.up_options.transaction = true;
    migration_checksum(m->text.up, m->checksum);
    return 0;
}

static int seed(struct place *p)
{
    struct migration m = {0};
    bool done = false;
    CLEANUP(buf_deinit) struct buf tail = BUF_INIT(16 * 1024);
    if (read_seed(p, &m) < 0 || run_check(&p->session, &m, false) < 0) {
        return TASK_FAILED;
    }
    if (p->task->once) {
        if (place_begin_writing(p) < 0 || was_run(p, &m, &done) < 0) {
            return TASK_FAILED;
        }
        put_row(p, &m, &tail);
    }
    if (!done && run_seed(&p->session, &p->task->run, &m, buf_cstr(&tail)) < 0) {
        return TASK_FAILED;
    }
    report_line(&p->task->report, "%s %s%s%s", m.path, done ? "has been run before" : "was run",
                p->session.place ? " in " : "", p->session.place ? p->session.place : "");
    return TASK_OK;
}

int task_seed(struct task *t)
{
    return place_each(t, seed);
}
