/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/startup.h"

#include "base/limits.h"
#include "base/rd.h"

enum { CODE_CANCEL = 80877102, CODE_SSL = 80877103, CODE_GSSENC = 80877104 };

int startup_peek(const char *p, size_t n, size_t *out_total, struct err *err)
{
    if (n < 4) {
        return STARTUP_NEED_MORE;
    }
    struct rd r = rd_init(p, n);
    uint32_t length = rd_u32be(&r);
    if (length < 8 || length > LIMIT_STARTUP_PACKET) {
        return err_set(err, ERR_PEER, "invalid length of startup packet");
    }
    *out_total = length;
    return n < length ? STARTUP_NEED_MORE : STARTUP_FOUND;
}

static bool add_parameter(struct startup *out, struct str name, struct str value)
{
    if (str_eq(name, STR("user"))) {
        out->user = value;
    } else if (str_eq(name, STR("database"))) {
        out->database = value;
    } else if (str_eq(name, STR("replication"))) {
        bool off;
        out->replication = !(str_to_bool(value, &off) && !off);
    } else if (str_starts_with(name, STR("_pq_."))) {
        if (out->unknown_n == STARTUP_PARAMETERS) {
            return false;
        }
        out->unknown[out->unknown_n++] = name;
    } else {
        if (out->n == STARTUP_PARAMETERS) {
            return false;
        }
        out->parameters[out->n++] = (struct startup_parameter){name, value};
    }
    return true;
}

/* name NUL value NUL … NUL */
static int parse_parameters(struct rd *r, struct startup *out, struct err *err)
{
    for (;;) {
        struct str name = rd_cstr(r);
        if (r->failed || name.n == 0) {
            break;
        }
        struct str value = rd_cstr(r);
        if (!r->failed && !add_parameter(out, name, value)) {
            return err_set(err, ERR_LIMIT, "more than %d startup parameters", STARTUP_PARAMETERS);
        }
    }
    if (!rd_done(r)) {
        return err_set(err, ERR_PEER, "invalid startup packet layout: expected terminator as last byte");
    }
    if (out->database.n == 0) {
        out->database = out->user;
    }
    return 0;
}

int startup_parse(struct str packet, struct startup *out, struct err *err)
{
    struct rd r = rd_init(packet.p, packet.n);
    *out = (struct startup){.user = STR(""), .database = STR("")};
    rd_u32be(&r);
    uint32_t code = rd_u32be(&r);
    switch (code) {
    case CODE_SSL:
        out->kind = STARTUP_SSL;
        break;
    case CODE_GSSENC:
        out->kind = STARTUP_GSSENC;
        break;
    case CODE_CANCEL:
        out->kind = STARTUP_CANCEL;
        out->pid = rd_u32be(&r);
        out->secret = rd_u32be(&r);
        break;
    default:
        out->kind = STARTUP_SESSION;
        out->major = (uint16_t)(code >> 16);
        out->minor = (uint16_t)code;
        if (out->major != 3) {
            return 0; /* the layout of the rest is not ours to know */
        }
        return parse_parameters(&r, out, err);
    }
    return rd_done(&r) ? 0 : err_set(err, ERR_PEER, "invalid length of request packet");
}
