/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/message.h"

#include "base/rd.h"

/* Writes type and a length to be filled in; returns where the length stands. */
static size_t begin(struct buf *out, char type)
{
    buf_put_byte(out, type);
    size_t at = out->n;
    buf_put_u32be(out, 0);
    return at;
}

static void end(struct buf *out, size_t at)
{
    buf_set_u32be(out, at, (uint32_t)(out->n - at));
}

static void put_cstr(struct buf *out, struct str s)
{
    buf_put_str(out, s);
    buf_put_byte(out, '\0');
}

static void put_field(struct buf *out, char code, struct str value)
{
    if (value.n > 0) {
        buf_put_byte(out, code);
        put_cstr(out, value);
    }
}

static void put_problem(struct buf *out, char type, const struct problem *problem)
{
    size_t at = begin(out, type);
    put_field(out, 'S', str_c(problem->severity));
    put_field(out, 'V', str_c(problem->severity));
    put_field(out, 'C', str_c(problem->sqlstate));
    put_field(out, 'M', problem->message);
    put_field(out, 'D', problem->detail);
    put_field(out, 'H', problem->hint);
    put_field(out, 's', problem->schema);
    put_field(out, 't', problem->table);
    buf_put_byte(out, '\0');
    end(out, at);
}

void put_error(struct buf *out, const struct problem *problem)
{
    put_problem(out, 'E', problem);
}

void put_notice(struct buf *out, const struct problem *problem)
{
    put_problem(out, 'N', problem);
}

void put_ready(struct buf *out, char status)
{
    size_t at = begin(out, 'Z');
    buf_put_byte(out, status);
    end(out, at);
}

void put_command_complete(struct buf *out, struct str tag)
{
    size_t at = begin(out, 'C');
    put_cstr(out, tag);
    end(out, at);
}

void put_parameter_status(struct buf *out, struct str name, struct str value)
{
    size_t at = begin(out, 'S');
    put_cstr(out, name);
    put_cstr(out, value);
    end(out, at);
}

void put_backend_key(struct buf *out, uint32_t pid, uint32_t secret)
{
    size_t at = begin(out, 'K');
    buf_put_u32be(out, pid);
    buf_put_u32be(out, secret);
    end(out, at);
}

void put_authentication(struct buf *out, uint32_t code, struct str data)
{
    size_t at = begin(out, 'R');
    buf_put_u32be(out, code);
    buf_put_str(out, data);
    end(out, at);
}

void put_negotiate_version(struct buf *out, uint32_t minor, const struct str *options, size_t n)
{
    size_t at = begin(out, 'v');
    buf_put_u32be(out, minor);
    buf_put_u32be(out, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        put_cstr(out, options[i]);
    }
    end(out, at);
}

void put_query(struct buf *out, struct str sql)
{
    size_t at = begin(out, 'Q');
    put_cstr(out, sql);
    end(out, at);
}

void put_parse(struct buf *out, struct str name, struct str sql)
{
    size_t at = begin(out, 'P');
    put_cstr(out, name);
    put_cstr(out, sql);
    buf_put_u16be(out, 0);
    end(out, at);
}

void put_bind(struct buf *out, struct str portal, struct str statement, const struct str *params, size_t n)
{
    size_t at = begin(out, 'B');
    put_cstr(out, portal);
    put_cstr(out, statement);
    buf_put_u16be(out, 0);
    buf_put_u16be(out, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        buf_put_u32be(out, (uint32_t)params[i].n);
        buf_put_str(out, params[i]);
    }
    buf_put_u16be(out, 0);
    end(out, at);
}

void put_execute(struct buf *out, struct str portal)
{
    size_t at = begin(out, 'E');
    put_cstr(out, portal);
    buf_put_u32be(out, 0);
    end(out, at);
}

void put_close(struct buf *out, char what, struct str name)
{
    size_t at = begin(out, 'C');
    buf_put_byte(out, what);
    put_cstr(out, name);
    end(out, at);
}

void put_sync(struct buf *out)
{
    end(out, begin(out, 'S'));
}

void put_flush(struct buf *out)
{
    end(out, begin(out, 'H'));
}

bool message_next_field(struct str body, size_t *pos, struct message_field *out_field)
{
    struct rd r = rd_init(body.p + *pos, body.n - *pos);
    char code = (char)rd_u8(&r);
    struct str value = code ? rd_cstr(&r) : (struct str){"", 0};
    if (r.failed || code == '\0') {
        return false;
    }
    *out_field = (struct message_field){.code = code, .value = value};
    *pos = (size_t)(r.p - body.p);
    return true;
}

struct str message_field(struct str body, char code)
{
    struct message_field field;
    for (size_t pos = 0; message_next_field(body, &pos, &field);) {
        if (field.code == code) {
            return field.value;
        }
    }
    return STR("");
}

int message_row(struct str body, struct str *out_columns, size_t max)
{
    struct rd r = rd_init(body.p, body.n);
    size_t n = rd_u16be(&r);
    if (n > max) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t length = rd_u32be(&r);
        out_columns[i] = length == UINT32_MAX ? (struct str){NULL, 0} : rd_bytes(&r, length);
    }
    return rd_done(&r) ? (int)n : -1;
}
