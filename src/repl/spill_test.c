/* SPDX-License-Identifier: Apache-2.0 */
#include "repl/spill.h"

#include "base/mem.h"
#include "repl/body.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

enum { LARGE = 5 * 1024 * 1024 };

static int setup(void **state)
{
    char folder[] = "/tmp/busbar-spill-XXXXXX";
    assert_non_null(mkdtemp(folder));
    *state = mem_strdup(folder);
    return 0;
}

/* Every file is gone. */
static int teardown(void **state)
{
    int rc = rmdir(*state);
    free(*state);
    return rc;
}

static struct spill *spill(const char *folder)
{
    struct spill *s;
    struct err err;
    if (spill_new(folder, &s, &err) < 0) {
        fail_msg("%s", err.msg);
    }
    return s;
}

static struct str map(struct spill *s)
{
    struct str bytes;
    struct err err;
    assert_int_equal(spill_map(s, &bytes, &err), 0);
    return bytes;
}

static void expect(struct spill *s, const char *text)
{
    struct str bytes = map(s);
    assert_int_equal(bytes.n, strlen(text));
    assert_memory_equal(bytes.p ? bytes.p : "", text, bytes.n);
}

static void what_is_written_is_read(void **state)
{
    struct spill *s = spill(*state);
    struct err err;
    expect(s, "");
    assert_int_equal(spill_append(s, STR("one "), &err), 0);
    assert_int_equal(spill_append(s, STR("two three"), &err), 0);
    expect(s, "one two three");
    assert_int_equal(spill_put(s, 4, STR("TWO"), &err), 0);
    expect(s, "one TWO three");
    assert_int_equal(spill_move(s, 0, 4, 9, &err), 0);
    assert_int_equal(spill_truncate(s, 9, &err), 0);
    expect(s, "TWO three");
    assert_int_equal(spill_append(s, STR("!"), &err), 0);
    assert_int_equal(spill_sync(s, &err), 0);
    expect(s, "TWO three!");
    spill_free(s);
}

static void what_is_large_moves_onto_itself(void **state)
{
    struct spill *s = spill(*state);
    struct err err;
    CLEANUP(mem_free_p) char *bytes = mem_alloc(LARGE);
    for (size_t i = 0; i < LARGE; i++) {
        bytes[i] = (char)(i * 2654435761u >> 13);
    }
    assert_int_equal(spill_append(s, STR("xyz"), &err), 0);
    assert_int_equal(spill_append(s, (struct str){bytes, LARGE}, &err), 0);
    assert_int_equal(spill_move(s, 1, 3, LARGE, &err), 0);
    assert_int_equal(spill_truncate(s, 1 + LARGE, &err), 0);
    assert_int_equal(map(s).n, 1 + LARGE);
    assert_memory_equal(map(s).p + 1, bytes, LARGE);
    spill_free(s);
}

static void a_file_that_is_kept_stays(void **state)
{
    struct spill *s = spill(*state);
    struct err err;
    struct str bytes;
    char name[SPILL_NAME + 1], path[100];
    assert_in_range(spill_name(s).n, 1, SPILL_NAME);
    snprintf(name, sizeof name, "%.*s", STR_ARG(spill_name(s)));
    assert_int_equal(spill_append(s, STR("text"), &err), 0);
    spill_keep(s);
    spill_free(s);
    assert_int_equal(spill_open(*state, str_c(name), 5, &bytes, &err), -1);
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_int_equal(spill_open(*state, str_c(name), 4, &bytes, &err), 1);
    assert_memory_equal(bytes.p, "text", 4);
    snprintf(path, sizeof path, "%s/%s", (char *)*state, name);
    assert_int_equal(unlink(path), 0);
    assert_memory_equal(bytes.p, "text", 4); /* as long as it is mapped */
    spill_unmap(bytes);
    assert_int_equal(spill_open(*state, str_c(name), 4, &bytes, &err), 0);
}

static void no_folder_is_a_failure(void **state)
{
    struct spill *s;
    struct err err;
    char path[100];
    snprintf(path, sizeof path, "%s/none/none", (char *)*state);
    assert_int_equal(spill_new(path, &s, &err), -1);
    assert_int_equal(err.kind, ERR_SYSTEM);
}

/* A transaction is the same wherever it is put together. */
static void a_body_is_what_it_would_be_in_memory(void **state)
{
    struct err err;
    struct txn_summary summary = {0};
    struct txn_head head = {.end_lsn = 20, .commit_lsn = 10, .xid = 7, .commit_us = 5, .changes = 1000};
    struct body bodies[2] = {{{0}, NULL}, {{0}, NULL}};
    struct txn *txns[2];
    for (int i = 0; i < 2; i++) {
        body_begin(&bodies[i], 0);
        for (uint32_t change = 0; change < head.changes; change++) {
            struct value v = {"0123456789", change % 11};
            txn_add_row(&bodies[i].tail, CHANGE_INSERT, 1, NULL, 0, &v, 1);
            if (i == 1 && change % 100 == 50) {
                assert_int_equal(body_spill(&bodies[i], *state, &err), 0);
            }
        }
    }
    assert_true(body_size(&bodies[1]) == body_size(&bodies[0]));
    assert_true(body_in_memory(&bodies[1]) < body_in_memory(&bodies[0]) / 10);
    assert_int_equal(body_summarize(&bodies[1], &summary, &err), 0);
    assert_int_equal(summary.changes, head.changes);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(body_end(&bodies[i], &head, &summary, &txns[i], &err), 0);
        body_deinit(&bodies[i]);
    }
    assert_true(!txn_file(txns[0]) && txn_file(txns[1]));
    assert_int_equal(txn_bytes(txns[0]).n, txn_bytes(txns[1]).n);
    assert_memory_equal(txn_bytes(txns[0]).p, txn_bytes(txns[1]).p, txn_bytes(txns[0]).n);
    txn_unref(txns[0]);
    txn_unref(txns[1]);
}

int main(void)
{
#define SPILL(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        SPILL(what_is_written_is_read),
        SPILL(what_is_large_moves_onto_itself),
        SPILL(a_file_that_is_kept_stays),
        SPILL(no_folder_is_a_failure),
        SPILL(a_body_is_what_it_would_be_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
