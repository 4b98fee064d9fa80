/* SPDX-License-Identifier: Apache-2.0 */
/* Making what login.h hands out as struct pg_cancel. */
#pragma once

struct pg_conn;
struct pg_cancel;

struct pg_cancel *cancel_new(struct pg_conn *conn);
