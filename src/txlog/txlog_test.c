/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/spill.h"
#include "repl/txn.h"
#include "txlog/txlog.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { WINDOW = 64 * 1024 * 1024, SMALL_MAP = 4 * 1024 * 1024, KILLS = 25, KILL_BATCH = 5 };

struct bench {
    char folder[64], path[80];
    struct txlog *log;
};

/* Every test is run with transactions in the log, and with each in a file of its own. */
static bool in_files;

static void open_log(struct bench *b, const struct txlog_options *options)
{
    struct err err;
    if (txlog_open(b->path, options, &b->log, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

static void reopen_log(struct bench *b, const struct txlog_options *options)
{
    txlog_close(b->log);
    open_log(b, options);
}

static const struct txlog_options usual = {.window = WINDOW};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    snprintf(b->folder, sizeof b->folder, "/tmp/busbar-txlog-XXXXXX");
    assert_non_null(mkdtemp(b->folder));
    snprintf(b->path, sizeof b->path, "%s/data/log", b->folder);
    open_log(b, &usual);
    *state = b;
    return 0;
}

static void remove_folder(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", path, (char *)NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
}

static size_t count_files(const struct txlog *log)
{
    size_t n = 0;
    DIR *folder = opendir(txlog_large_folder(log));
    for (struct dirent *e; folder && (e = readdir(folder));) {
        n += e->d_name[0] != '.';
    }
    if (folder) {
        closedir(folder);
    }
    return n;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    if (b->log) {
        assert_int_equal(count_files(b->log), in_files ? txlog_head(b->log)->transactions : 0);
    }
    txlog_close(b->log);
    remove_folder(b->folder);
    free(b);
    return 0;
}

/* --- what goes in --- */

/* relation 0: a message instead of a row. */
static void make_record(struct buf *b, lsn_t lsn, size_t size, uint32_t relation)
{
    char *text = malloc(size + 1);
    memset(text, 'a' + (int)(lsn % 26), size);
    buf_reset(b);
    txn_begin(b);
    struct value v = {text, (uint32_t)size};
    if (relation) {
        txn_add_row(b, CHANGE_INSERT, relation, NULL, 0, &v, 1);
    } else {
        txn_add_message(b, STR("test"), (struct str){text, size});
    }
    txn_end(b, &(struct txn_head){.end_lsn = lsn, .commit_lsn = lsn - 1, .xid = lsn});
    free(text);
}

static struct txn *make_txn(struct txlog *log, struct buf *record, struct err *err)
{
    struct txn_summary summary;
    struct spill *file;
    struct str bytes;
    if (txn_summarize(buf_str(record), &summary, err) < 0) {
        return NULL;
    }
    if (!in_files) {
        return txn_new(record, &summary);
    }
    if (spill_new(txlog_large_folder(log), &file, err) < 0) {
        return NULL;
    }
    if (spill_append(file, buf_str(record), err) < 0 || spill_map(file, &bytes, err) < 0) {
        spill_free(file);
        return NULL;
    }
    return txn_new_in_file(file, bytes, &summary);
}

struct appending {
    lsn_t first;
    size_t n, size;
    uint32_t relation;
    bool trim, fail;
    int runs;
    struct txn **txns;
};

/* Transactions at first, first + 10, … */
static int append_fn(void *ctx, struct txlog *log, struct err *err)
{
    struct appending *a = ctx;
    a->runs++;
    for (size_t i = 0; i < a->n; i++) {
        if (txlog_append(log, a->txns[i], err) < 0) {
            return -1;
        }
    }
    if (a->fail) {
        return err_set(err, ERR_INPUT, "no more of this");
    }
    return a->trim ? txlog_trim(log, err) : 0;
}

static int make_txns(struct txlog *log, struct appending *a, struct err *err)
{
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(TXN_CHANGE_MAX);
    for (size_t i = 0; i < a->n; i++) {
        make_record(&b, a->first + i * 10, a->size, a->relation);
        a->txns[i] = make_txn(log, &b, err);
        if (!a->txns[i]) {
            return -1;
        }
    }
    return 0;
}

static int write_txns(struct txlog *log, struct appending *a, struct err *err)
{
    a->txns = calloc(a->n + 1, sizeof(struct txn *));
    int rc = make_txns(log, a, err) < 0 ? -1 : txlog_write(log, append_fn, a, err);
    for (size_t i = 0; i < a->n; i++) {
        txn_unref(a->txns[i]);
    }
    free(a->txns);
    return rc;
}

static int try_append(struct txlog *log, struct appending a, struct err *err)
{
    return write_txns(log, &a, err);
}

static void append(struct bench *b, lsn_t first, size_t n, size_t size)
{
    struct err err;
    if (try_append(b->log, (struct appending){.first = first, .n = n, .size = size}, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

static void write_log(struct bench *b, txlog_write_fn fn)
{
    struct err err;
    if (txlog_write(b->log, fn, b, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

/* --- what is there --- */

static struct txlog_reader begin_reader(struct txlog *log)
{
    struct txlog_reader r;
    struct err err;
    if (txlog_read_begin(log, &r, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return r;
}

/* Every transaction after `lsn`, each as it was written; how many there are. */
static size_t read_all(struct txlog *log, lsn_t lsn, size_t size)
{
    struct txlog_reader r = begin_reader(log);
    struct err err;
    struct str record;
    lsn_t last = lsn;
    size_t n = 0;
    CLEANUP(buf_deinit) struct buf expected = BUF_INIT(TXN_CHANGE_MAX);
    int rc;
    while ((rc = txlog_next(&r, last, &lsn, &record, &err)) == 1) {
        assert_true(lsn > last);
        make_record(&expected, lsn, size, 0);
        assert_int_equal(record.n, expected.n);
        assert_memory_equal(record.p, expected.p, record.n);
        last = lsn;
        n++;
    }
    assert_int_equal(rc, 0);
    assert_int_equal(r.head.newest, n ? last : r.head.newest);
    txlog_read_end(&r);
    return n;
}

static void transactions_stay(void **state)
{
    struct bench *b = *state;
    append(b, 100, 50, 10);
    append(b, 600, 3, 100000);
    assert_int_equal(txlog_head(b->log)->newest, 620);
    assert_int_equal(txlog_head(b->log)->transactions, 53);
    reopen_log(b, &usual);
    assert_int_equal(txlog_head(b->log)->newest, 620);
    assert_int_equal(read_all(b->log, 590, 100000), 3);
    struct txlog_reader r = begin_reader(b->log);
    struct str record;
    struct err err;
    lsn_t lsn;
    assert_int_equal(txlog_next(&r, 0, &lsn, &record, &err), 1);
    assert_int_equal(lsn, 100);
    assert_int_equal(txlog_next(&r, 100, &lsn, &record, &err), 1);
    assert_int_equal(lsn, 110);
    assert_int_equal(txlog_next(&r, 115, &lsn, &record, &err), 1);
    assert_int_equal(lsn, 120);
    assert_int_equal(txlog_next(&r, UINT64_MAX, &lsn, &record, &err), 0);
    txlog_read_end(&r);
    txlog_read_end(&r);
}

static void what_is_there_is_passed_over(void **state)
{
    struct bench *b = *state;
    append(b, 100, 5, 10);
    append(b, 120, 5, 10); /* two of them for the second time */
    assert_int_equal(txlog_head(b->log)->transactions, 7);
    assert_int_equal(read_all(b->log, 0, 10), 7);
}

static void nothing_of_a_failed_write_counts(void **state)
{
    struct bench *b = *state;
    struct err err;
    append(b, 100, 1, 10);
    struct appending a = {.first = 200, .n = 5, .size = 10, .fail = true};
    assert_int_equal(write_txns(b->log, &a, &err), -1);
    assert_int_equal(a.runs, 1);
    assert_int_equal(txlog_head(b->log)->newest, 100);
    assert_int_equal(read_all(b->log, 0, 10), 1);
    append(b, 200, 1, 10);
    assert_int_equal(read_all(b->log, 0, 10), 2);
}

static void a_reader_sees_one_moment(void **state)
{
    struct bench *b = *state;
    append(b, 100, 1, 10);
    struct txlog_reader r = begin_reader(b->log);
    struct str record;
    struct err err;
    lsn_t lsn;
    append(b, 200, 1, 10);
    assert_int_equal(r.head.newest, 100);
    assert_int_equal(txlog_next(&r, 100, &lsn, &record, &err), 0);
    assert_int_equal(txlog_read_renew(&r, &err), 0);
    assert_int_equal(txlog_next(&r, 100, &lsn, &record, &err), 1);
    txlog_read_end(&r);
}

static void the_window_moves(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = 10000};
    struct err err;
    struct str record;
    lsn_t lsn;
    reopen_log(b, &options);
    assert_int_equal(
        try_append(b->log, (struct appending){.first = 100, .n = 30, .size = 1000, .trim = true}, &err), 0);
    const struct txlog_head *head = txlog_head(b->log);
    assert_true(head->bytes <= 10000);
    assert_false(txlog_is_over_window(b->log));
    assert_int_equal(head->newest, 390);
    lsn_t oldest = head->oldest;
    assert_true(oldest > 100);
    reopen_log(b, &options);
    assert_int_equal(txlog_head(b->log)->oldest, oldest);
    struct txlog_reader r = begin_reader(b->log);
    assert_int_equal(txlog_next(&r, oldest - 1, &lsn, &record, &err), TXLOG_GONE);
    assert_int_equal(txlog_next(&r, oldest, &lsn, &record, &err), 1);
    assert_int_equal(lsn, oldest + 10);
    txlog_read_end(&r);
}

static void what_was_trimmed_since_a_reader_began(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = 1000};
    struct err err;
    struct str record, next;
    lsn_t lsn;
    append(b, 100, 2, 5000);
    reopen_log(b, &options);
    struct txlog_reader r = begin_reader(b->log);
    assert_int_equal(txlog_next(&r, 0, &lsn, &record, &err), 1);
    assert_int_equal(
        try_append(b->log, (struct appending){.first = 120, .n = 2, .size = 5000, .trim = true}, &err), 0);
    assert_int_equal(txlog_next(&r, 100, &lsn, &next, &err), in_files ? TXLOG_GONE : 1);
    struct txn_head head;
    assert_int_equal(txn_read_head(record, &head, &err), 0); /* what it has given out stays */
    assert_int_equal(head.end_lsn, 100);
    txlog_read_end(&r);
}

static void what_is_kept_outlives_reader_and_trimming(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = 1000};
    struct err err;
    struct str record;
    lsn_t lsn;
    CLEANUP(buf_deinit) struct buf expected = BUF_INIT(TXN_CHANGE_MAX);
    append(b, 100, 2, 5000);
    reopen_log(b, &options);
    struct txlog_reader r = begin_reader(b->log);
    assert_int_equal(txlog_next(&r, 0, &lsn, &record, &err), 1);
    struct txlog_record kept = txlog_keep(&r, record);
    assert_int_equal(kept.in_file, in_files);
    txlog_read_end(&r);
    assert_int_equal(
        try_append(b->log, (struct appending){.first = 120, .n = 2, .size = 5000, .trim = true}, &err), 0);
    assert_true(txlog_head(b->log)->oldest >= 100);
    make_record(&expected, 100, 5000, 0);
    assert_int_equal(kept.bytes.n, expected.n);
    assert_memory_equal(kept.bytes.p, expected.p, expected.n);
    txlog_record_free(&kept);
    txlog_record_free(&kept);
}

static void a_file_of_another_size_is_damage(void **state)
{
    struct bench *b = *state;
    struct err err;
    struct str record;
    lsn_t lsn;
    char command[200];
    append(b, 100, 1, 5000);
    snprintf(command, sizeof command, "truncate -s 100 %s/*", txlog_large_folder(b->log));
    assert_int_equal(system(command), 0);
    struct txlog_reader r = begin_reader(b->log);
    assert_int_equal(txlog_next(&r, 0, &lsn, &record, &err), -1);
    assert_non_null(strstr(err.msg, "is damaged"));
    txlog_read_end(&r);
}

static void the_newest_stays_whatever_its_size(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = 1000};
    struct err err;
    reopen_log(b, &options);
    assert_int_equal(
        try_append(b->log, (struct appending){.first = 100, .n = 3, .size = 5000, .trim = true}, &err), 0);
    assert_int_equal(txlog_head(b->log)->transactions, 1);
    assert_int_equal(txlog_head(b->log)->oldest, 110);
    assert_int_equal(read_all(b->log, 110, 5000), 1);
}

static void the_file_does_not_grow_for_ever(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = 1024 * 1024};
    struct err err;
    char path[100];
    reopen_log(b, &options);
    for (lsn_t i = 0; i < (in_files ? 10 : 200); i++) {
        struct appending a = {.first = 100 + i * 1000, .n = 50, .size = 1000 + i * 7 % 3000, .trim = true};
        assert_int_equal(write_txns(b->log, &a, &err), 0);
    }
    snprintf(path, sizeof path, "%s/data.mdb", b->path);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    assert_true(ftell(f) < 6 * 1024 * 1024);
    fclose(f);
}

static void the_map_grows(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = WINDOW, .map_size = SMALL_MAP};
    struct err err;
    reopen_log(b, &options);
    struct appending a = {.first = 100, .n = 10, .size = 1024 * 1024};
    assert_int_equal(write_txns(b->log, &a, &err), 0);
    assert_true(a.runs > 1 || in_files);
    assert_int_equal(read_all(b->log, 0, 1024 * 1024), 10);
}

static void a_second_process_is_refused(void **state)
{
    struct bench *b = *state;
    struct txlog *other;
    struct err err;
    char pid[32];
    assert_int_equal(txlog_open(b->path, &usual, &other, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    snprintf(pid, sizeof pid, "process %ld uses", (long)getpid());
    assert_non_null(strstr(err.msg, pid));
}

static void what_is_no_log_is_refused(void **state)
{
    struct bench *b = *state;
    struct err err;
    char path[100], garbage[8192];
    txlog_close(take_ptr(&b->log));
    memset(garbage, 'x', sizeof garbage);
    snprintf(path, sizeof path, "%s/data.mdb", b->path);
    FILE *f = fopen(path, "w");
    assert_int_equal(fwrite(garbage, 1, sizeof garbage, f), sizeof garbage);
    fclose(f);
    assert_int_equal(txlog_open(b->path, &usual, &b->log, &err), -1);
    assert_int_equal(err.kind, ERR_INPUT);
    assert_non_null(strstr(err.msg, "holds no log"));
}

/* --- relations, migrations, states, identity --- */

static struct relation_column columns[] = {{STR("id"), 23, -1, true}, {STR("name"), 25, -1, true}};

static int put_relations(void *ctx, struct txlog *log, struct err *err)
{
    struct relation r = {1, 16400, 'f', STR("public"), STR("items"), columns, 1};
    struct relation other = {2, 16500, 'f', STR("public"), STR("others"), columns, 2};
    struct relation wider = {3, 16400, 'f', STR("public"), STR("items"), columns, 2};
    return txlog_put_relation(log, &r, err) < 0 || txlog_put_relation(log, &other, err) < 0 ||
                   txlog_put_relation(log, &wider, err) < 0
               ? -1
               : 0;
}

static struct relations read_relations(struct bench *b)
{
    struct txlog_reader r = begin_reader(b->log);
    struct relations list = {0};
    struct err err;
    assert_int_equal(txlog_read_relations(&r, &list, &err), 0);
    txlog_read_end(&r);
    return list;
}

static void append_rows(struct bench *b, lsn_t first, size_t n, uint32_t relation)
{
    struct err err;
    struct appending a = {.first = first, .n = n, .size = 1000, .relation = relation, .trim = true};
    if (try_append(b->log, a, &err) < 0) {
        fail_msg("%s", err.msg);
    }
}

/* Version 1 stays while a transaction of the log may use it, however many versions there are meanwhile. */
static void old_relations_go_with_their_transactions(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = 5500};
    reopen_log(b, &options);
    write_log(b, put_relations);
    append_rows(b, 100, 6, 1);
    reopen_log(b, &options);
    append_rows(b, 200, 10, 1); /* nobody has used version 3 so far */
    struct relations list = read_relations(b);
    assert_int_equal(relations_get(&list, 1)->n, 1);
    assert_int_equal(relations_get(&list, 3)->n, 2);
    relations_deinit(&list);
    append_rows(b, 300, 3, 3);
    list = read_relations(b);
    assert_non_null(relations_get(&list, 1)); /* 280 and 290 are there */
    relations_deinit(&list);
    reopen_log(b, &options);
    append_rows(b, 400, 5, 3);
    list = read_relations(b);
    assert_null(relations_get(&list, 1));
    assert_non_null(relations_get(&list, 2));
    assert_non_null(relations_get(&list, 3));
    assert_int_equal(txlog_head(b->log)->next_relation, 4);
    relations_deinit(&list);
}

static void a_relation_must_be_there(void **state)
{
    struct bench *b = *state;
    struct err err;
    assert_int_equal(try_append(b->log, (struct appending){.first = 1, .n = 1, .relation = 9}, &err), -1);
    assert_int_equal(err.kind, ERR_INTERNAL);
}

static int put_migrations(void *ctx, struct txlog *log, struct err *err)
{
    struct txlog_migration one = {.seq = 1, .lsn = 100, .xid = 7, .commit_us = -5, .version = STR("v1")};
    struct txlog_migration two = {.seq = 3, .lsn = 200, .xid = 1ull << 40, .version = STR("v2")};
    bool ok = txlog_put_migration(log, &one, err) == 0 && txlog_put_migration(log, &two, err) == 0 &&
              txlog_put_command(log, 1, 10, STR("[1]"), err) == 0 &&
              txlog_put_command(log, 1, 2, STR("[0]"), err) == 0 &&
              txlog_put_command(log, 2, 11, STR("[lost]"), err) == 0 &&
              txlog_put_command(log, 3, 12, STR("[2]"), err) == 0;
    return ok ? 0 : -1;
}

static int mark_and_mend(void *ctx, struct txlog *log, struct err *err)
{
    struct txlog_migration one = {
        .seq = 1, .lsn = 999, .xid = 7, .commit_us = 1, .version = STR("v1"), .unusable = STR("")};
    return txlog_put_migration(log, &one, err) < 0 || txlog_delete_command(log, 1, 10, err) < 0 ||
                   txlog_delete_migration(log, 3, err) < 0 || txlog_delete_migration(log, 99, err) < 0
               ? -1
               : 0;
}

static void the_history_is_kept(void **state)
{
    struct bench *b = *state;
    struct err err;
    struct txlog_migration m;
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    write_log(b, put_migrations);
    struct txlog_reader r = begin_reader(b->log);
    assert_int_equal(txlog_next_migration(&r, 0, &a, &m, &err), 1);
    assert_int_equal(m.seq, 1);
    assert_int_equal(m.commit_us, -5);
    assert_int_equal(m.n, 2);
    assert_true(str_eq(m.ops[0], STR("[0]")));
    assert_null(m.unusable.p);
    assert_int_equal(txlog_next_migration(&r, 1, &a, &m, &err), 1);
    assert_int_equal(m.seq, 3);
    assert_int_equal(m.n, 1);
    assert_int_equal(m.xid, 1ull << 40);
    assert_int_equal(txlog_next_migration(&r, 3, &a, &m, &err), 0);
    txlog_read_end(&r);
    write_log(b, mark_and_mend);
    r = begin_reader(b->log);
    assert_int_equal(txlog_next_migration(&r, 0, &a, &m, &err), 1);
    assert_int_equal(m.lsn, 100);
    assert_int_equal(m.commit_us, -5);
    assert_int_equal(m.n, 1);
    assert_non_null(m.unusable.p);
    assert_int_equal(txlog_next_migration(&r, 1, &a, &m, &err), 0);
    txlog_read_end(&r);
}

static int put_states(void *ctx, struct txlog *log, struct err *err)
{
    return txlog_put_state(log, 'c', STR("b"), STR("2"), err) < 0 ||
                   txlog_put_state(log, 'c', STR("a"), STR("1"), err) < 0 ||
                   txlog_put_state(log, 'c', STR("ab"), STR(""), err) < 0 ||
                   txlog_put_state(log, 'd', STR("a"), STR("other"), err) < 0
               ? -1
               : 0;
}

static int delete_states(void *ctx, struct txlog *log, struct err *err)
{
    return txlog_delete_state(log, 'c', STR("a"), err) < 0 ||
                   txlog_delete_state(log, 'c', STR("none"), err) < 0
               ? -1
               : 0;
}

static void states_by_kind(void **state)
{
    static const char *const keys[] = {"a", "ab", "b"};
    struct bench *b = *state;
    struct err err;
    struct str key = {NULL, 0}, value;
    write_log(b, put_states);
    struct txlog_reader r = begin_reader(b->log);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        assert_int_equal(txlog_next_state(&r, 'c', key, &key, &value, &err), 1);
        assert_true(str_eq(key, str_c(keys[i])));
    }
    assert_int_equal(txlog_next_state(&r, 'c', key, &key, &value, &err), 0);
    assert_int_equal(txlog_get_state(&r, 'd', STR("a"), &value, &err), 1);
    assert_true(str_eq(value, STR("other")));
    txlog_read_end(&r);
    write_log(b, delete_states);
    r = begin_reader(b->log);
    assert_int_equal(txlog_get_state(&r, 'c', STR("a"), &value, &err), 0);
    assert_int_equal(txlog_get_state(&r, 'd', STR("a"), &value, &err), 1);
    txlog_read_end(&r);
}

static int begin_anew(void *ctx, struct txlog *log, struct err *err)
{
    struct txlog_identity identity = {.system = 1ull << 63, .database = 5, .timeline = 2, .slot = "slot"};
    return txlog_reset(log, &identity, 5000, err);
}

static void a_reset_leaves_nothing(void **state)
{
    struct bench *b = *state;
    struct err err;
    struct txlog_identity identity;
    struct str value;
    struct txlog_migration m;
    CLEANUP(arena_deinit) struct arena a = ARENA_INIT;
    append(b, 100, 10, 5000);
    write_log(b, put_relations);
    write_log(b, put_migrations);
    write_log(b, put_states);
    struct txlog_reader r = begin_reader(b->log);
    assert_int_equal(txlog_read_identity(&r, &identity, &err), 0);
    assert_int_equal(identity.system, 0);
    txlog_read_end(&r);
    write_log(b, begin_anew);
    reopen_log(b, &usual);
    r = begin_reader(b->log);
    assert_int_equal(txlog_read_identity(&r, &identity, &err), 0);
    assert_true(identity.system == 1ull << 63 && identity.database == 5 && identity.timeline == 2);
    assert_string_equal(identity.slot, "slot");
    assert_int_equal(r.head.oldest, 5000);
    assert_int_equal(r.head.position, 5000);
    assert_int_equal(r.head.bytes, 0);
    assert_int_equal(r.head.next_relation, 4);
    assert_int_equal(txlog_next_migration(&r, 0, &a, &m, &err), 0);
    assert_int_equal(txlog_get_state(&r, 'd', STR("a"), &value, &err), 0);
    txlog_read_end(&r);
    struct relations list = read_relations(b);
    assert_int_equal(list.n, 0);
    append(b, 6000, 1, 10);
    assert_int_equal(read_all(b->log, 5000, 10), 1);
}

/* --- what may happen to a process and a disk --- */

/* Commits batches for ever, says after each how far it is. */
static void commit_until_killed(const char *path, int out)
{
    struct txlog_options options = {.window = 256 * 1024, .map_size = SMALL_MAP};
    struct txlog *log;
    struct err err;
    if (txlog_open(path, &options, &log, &err) < 0) {
        _exit(1);
    }
    for (;;) {
        lsn_t newest = txlog_head(log)->newest;
        struct appending a = {.first = newest + 10, .n = KILL_BATCH, .size = 3000, .trim = true};
        if (write_txns(log, &a, &err) < 0) {
            _exit(1);
        }
        newest = txlog_head(log)->newest;
        if (write(out, &newest, sizeof newest) != sizeof newest) {
            _exit(1);
        }
    }
}

/* Lets a child commit for a moment; the last that it has told of. */
static lsn_t run_and_kill(const char *path, unsigned us)
{
    int fds[2];
    lsn_t told = 0, last;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        commit_until_killed(path, fds[1]);
    }
    close(fds[1]);
    if (read(fds[0], &last, sizeof last) == sizeof last) { /* it is under way */
        told = last;
        usleep(us);
    }
    kill(pid, SIGKILL);
    while (read(fds[0], &last, sizeof last) == sizeof last) {
        told = last;
    }
    int status;
    waitpid(pid, &status, 0);
    assert_true(WIFSIGNALED(status));
    close(fds[0]);
    return told;
}

static void survives_kill(void **state)
{
    struct bench *b = *state;
    struct txlog_options options = {.window = 256 * 1024};
    srand((unsigned)getpid());
    for (int i = 0; i < KILLS; i++) {
        txlog_close(take_ptr(&b->log));
        lsn_t told = run_and_kill(b->path, (unsigned)rand() % 20000);
        open_log(b, &options);
        const struct txlog_head *head = txlog_head(b->log);
        assert_true(head->newest >= told);
        assert_int_equal(head->newest / 10 % KILL_BATCH, 0); /* whole batches */
        assert_int_equal(read_all(b->log, head->oldest, 3000), head->transactions);
        assert_int_equal(head->newest - head->oldest, head->transactions * 10);
    }
}

static void a_full_disk_is_told_and_mended(void **state)
{
    struct bench *b = *state;
    struct err err;
    char path[100], filler[120];
    snprintf(path, sizeof path, "%s/small", b->folder);
    snprintf(filler, sizeof filler, "%s/filler", path);
    if (mkdir(path, 0700) < 0 || mount("none", path, "tmpfs", 0, "size=4m") < 0) {
        skip(); /* needs to be root */
    }
    txlog_close(b->log);
    snprintf(b->path, sizeof b->path, "%s/small/log", b->folder);
    open_log(b, &usual);
    append(b, 100, 3, 10000);
    FILE *f = fopen(filler, "w");
    while (fputc('x', f) != EOF && fflush(f) == 0) {
        static const char block[4096];
        ignore_result(fwrite(block, 1, sizeof block, f));
    }
    fclose(f);
    struct appending a = {.first = 200, .n = 5, .size = 100000};
    assert_int_equal(write_txns(b->log, &a, &err), -1);
    assert_int_equal(err.kind, ERR_SYSTEM);
    assert_int_equal(err.code, ENOSPC);
    assert_non_null(strstr(err.msg, "the disk that holds the log is full"));
    assert_int_equal(txlog_head(b->log)->newest, 120);
    unlink(filler);
    append(b, 200, 5, 100000);
    assert_int_equal(read_all(b->log, 190, 100000), 5);
    txlog_close(take_ptr(&b->log));
    assert_int_equal(umount(path), 0);
}

int main(void)
{
#define LIVE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        LIVE(transactions_stay),
        LIVE(what_is_there_is_passed_over),
        LIVE(nothing_of_a_failed_write_counts),
        LIVE(a_reader_sees_one_moment),
        LIVE(the_window_moves),
        LIVE(what_was_trimmed_since_a_reader_began),
        LIVE(what_is_kept_outlives_reader_and_trimming),
        LIVE(the_newest_stays_whatever_its_size),
        LIVE(the_file_does_not_grow_for_ever),
        LIVE(the_map_grows),
        LIVE(a_second_process_is_refused),
        LIVE(what_is_no_log_is_refused),
        LIVE(old_relations_go_with_their_transactions),
        LIVE(a_relation_must_be_there),
        LIVE(the_history_is_kept),
        LIVE(states_by_kind),
        LIVE(a_reset_leaves_nothing),
        LIVE(survives_kill),
        LIVE(a_full_disk_is_told_and_mended),
    };
    const struct CMUnitTest of_files[] = {LIVE(a_file_of_another_size_is_damage)};
    int failed = cmocka_run_group_tests_name("in the log", tests, NULL, NULL);
    in_files = true;
    failed += cmocka_run_group_tests_name("in files", tests, NULL, NULL);
    return failed + cmocka_run_group_tests_name("of files", of_files, NULL, NULL);
}
