/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The database's side of a measurement: somebody who commits, and somebody who reads what was committed
 * straight from a logical replication slot, which is the least that any service on it has to do. What goes
 * wrong ends the program.
 *
 * Tables are (id bigint PRIMARY KEY, body text NOT NULL).
 */
#pragma once

#include "base/str.h"

struct writer;

/* Rows will have a body of so many bytes, and the ids after those that are there. */
struct writer *writer_new(const char *conninfo, const char *table, unsigned body);
int writer_fd(const struct writer *w);
/* Sends the commit of one more row; the answer is waited for by writer_done(). */
void writer_commit(struct writer *w);
/* So many transactions of one row, as fast as PostgreSQL takes them: they are not waited for
 * (synchronous_commit off). */
void writer_commit_many(struct writer *w, unsigned n);
/* Reads what is there; whether all that was sent is acknowledged. */
bool writer_done(struct writer *w);
void writer_free(struct writer *w);

struct wal_reader;

/* Starts at the slot's position. */
struct wal_reader *wal_reader_new(const char *conninfo, const char *slot, const char *publication);
int wal_reader_fd(const struct wal_reader *r);
/* Reads what is there; how many transactions ended in it. */
unsigned wal_reader_read(struct wal_reader *r);
void wal_reader_free(struct wal_reader *r);
