/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of the PostgreSQL protocol that we write or take apart. Writers append one whole message to a buf;
 * readers borrow from the message. Pure. Layouts: PostgreSQL documentation, "Message Formats".
 */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* --- messages of a server --- */

/* One field of ErrorResponse or NoticeResponse ("Error and Notice Message Fields"). */
struct message_field {
    char code; /* 'S', 'C', 'M', 'D', 'H', 'P', ... */
    struct str value;
};

/* A problem to report; empty parts are left out. severity: "ERROR", "FATAL", "WARNING", "NOTICE". */
struct problem {
    const char *severity;
    const char *sqlstate;
    struct str message;
    struct str detail;
    struct str hint;
    struct str schema;
    struct str table;
};

void put_error(struct buf *out, const struct problem *problem);
void put_notice(struct buf *out, const struct problem *problem);
void put_ready(struct buf *out, char status);
void put_command_complete(struct buf *out, struct str tag);
void put_parameter_status(struct buf *out, struct str name, struct str value);
void put_backend_key(struct buf *out, uint32_t pid, uint32_t secret);
void put_authentication(struct buf *out, uint32_t code, struct str data);
/* minor: newest minor version we speak; options: names we do not know. */
void put_negotiate_version(struct buf *out, uint32_t minor, const struct str *options, size_t n);

/* --- messages of a client --- */

void put_query(struct buf *out, struct str sql);
void put_parse(struct buf *out, struct str name, struct str sql); /* no parameter types */
/* All parameters in text format; results in text. */
void put_bind(struct buf *out, struct str portal, struct str statement, const struct str *params, size_t n);
void put_execute(struct buf *out, struct str portal);
void put_close(struct buf *out, char what, struct str name); /* what: 'S' or 'P' */
void put_sync(struct buf *out);
void put_flush(struct buf *out);

/* --- taking apart --- */

/* Walks the fields of an ErrorResponse / NoticeResponse body: start with *pos = 0; false at the end or when
 * malformed. */
bool message_next_field(struct str body, size_t *pos, struct message_field *out_field);
/* The value of a field, "" when absent. */
struct str message_field(struct str body, char code);
/* Columns of a DataRow: at most max; -1 when malformed or more. NULL columns have p == NULL. */
MUST_USE int message_row(struct str body, struct str *out_columns, size_t max);
