/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One migrator at a time.
 *
 * Both locks live in a transaction that stays open on a connection of their own: PostgreSQL lets go of them
 * when the process dies, and a pooler in transaction mode keeps the server connection for us. The lock is
 * asked for without waiting and the transaction ended before the next try: nobody who waits holds a snapshot
 * that CREATE INDEX CONCURRENTLY would wait for, and at READ COMMITTED he who has it holds none either.
 */
#pragma once

#include "migrate/session.h"

/* Waits at most wait_ms, telling who holds it. -1 was reported. Nothing to do for REPO_LOCK_NONE, or when it
 * is held. */
MUST_USE int migrator_lock_take(struct session *s, uint64_t wait_ms);
void migrator_lock_release(struct session *s); /* may run twice */
/* False when the server has taken it away with the connection. */
bool migrator_lock_is_held(struct session *s);
