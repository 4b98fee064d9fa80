/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The migration table, which is Ecto's (version, inserted_at), and what we keep beside it, in
 * busbar_migrations of the same schema: one row for each migration that Busbar ran, and for one that stopped
 * half-way outside a transaction.
 */
#pragma once

#include "migrate/list.h"
#include "migrate/session.h"

#include "base/buf.h"

/* Creates the schema of the prefix and both tables where they are missing. */
MUST_USE int history_create(struct session *s);

/* All rows, sorted by version, in the arena. Reads only; tables that are not there are empty. */
MUST_USE int history_read(struct session *s, struct arena *a, struct version_row **out, size_t *out_n);

/* Statements for the text of a transaction; each ends with ';'. statements: how many the migration has.
 * fresh: there is no row of ours that would have to be replaced. */
void history_put_up(struct buf *out, const struct session *s, const struct migration *m, size_t statements,
                    bool fresh);
void history_put_down(struct buf *out, const struct session *s, uint64_t version);

/* The same for several that are new; statements[i]: how many items[i] has. */
void history_put_batch(struct buf *out, const struct session *s, const struct migration *const *items,
                       const size_t *statements, size_t n);

/* The same for one that runs outside a transaction: begun (or gone on with), a statement done, failed, and
 * how it ends. */
void history_put_started(struct buf *out, const struct session *s, const struct migration *m,
                         size_t statements, size_t done, bool down);
void history_put_done(struct buf *out, const struct session *s, uint64_t version, size_t done);
void history_put_failed(struct buf *out, const struct session *s, uint64_t version, const char *error);

/* Changes nothing: its COMMIT waits for the disk, and with it for all that was committed before. */
void history_put_touch(struct buf *out, const struct session *s, uint64_t version);

/* Counts as run without having been run, at the state that is in its file. */
void history_put_accepted(struct buf *out, const struct session *s, const struct migration *m);

/* Forgets our own row alone. */
void history_put_forget_facts(struct buf *out, const struct session *s, uint64_t version);
