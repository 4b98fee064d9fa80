/* SPDX-License-Identifier: Apache-2.0 */
/* The login upstream: libpq makes it, with what the client set at its start-up. */
#include "proxy/conn_impl.h"

#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "net/loop.h"
#include "net/stream.h"
#include "pg/login.h"
#include "proxy/cancel_key.h"
#include "proxy/token.h"
#include "wire/message.h"

#include <unistd.h>

static void put_option_value(struct buf *b, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\' || s.p[i] == ' ' || (s.p[i] >= '\t' && s.p[i] <= '\r')) {
            buf_put_byte(b, '\\');
        }
        buf_put_byte(b, s.p[i]);
    }
}

/* A backslash at the very end escapes nothing; it must not come to escape what follows. */
static struct str without_open_escape(struct str s)
{
    size_t backslashes = 0;
    while (backslashes < s.n && s.p[s.n - 1 - backslashes] == '\\') {
        backslashes++;
    }
    return (struct str){s.p, s.n - backslashes % 2};
}

/* What the client set at start-up goes along, as -c name=value; ours comes last, so that it wins. */
static void put_options(struct conn *c, struct buf *options, const char *token, const char **application_name,
                        const char **client_encoding)
{
    const struct startup *su = &c->entrance->gate.startup;
    for (size_t i = 0; i < su->n; i++) {
        const struct startup_parameter *p = &su->parameters[i];
        if (str_eq(p->name, STR("application_name"))) {
            *application_name = p->value.p;
        } else if (str_eq(p->name, STR("client_encoding"))) {
            *client_encoding = p->value.p;
        } else if (str_eq(p->name, STR("options"))) {
            buf_put_str(options, without_open_escape(p->value));
            buf_put_byte(options, ' ');
        } else if (!str_eq(p->name, STR("password"))) {
            buf_put_c(options, "-c ");
            put_option_value(options, p->name);
            buf_put_byte(options, '=');
            put_option_value(options, p->value);
            buf_put_byte(options, ' ');
        }
    }
    if (c->mode == SESSION_ELECTRIC) { /* the guard takes the others for strangers */
        buf_printf(options, "-c busbar.session=%s", token);
    }
}

/* spec of the original: these names choose. */
static enum session_mode mode_of(const struct startup *su)
{
    if (str_starts_with(su->database, STR("prisma_migrate_shadow_db"))) {
        return SESSION_SHADOW;
    }
    return str_eq(su->user, STR("prisma"))        ? SESSION_INTROSPECTION
           : str_eq(su->user, STR("transparent")) ? SESSION_TRANSPARENT
                                                  : SESSION_ELECTRIC;
}

static void on_login(void *ctx, struct upstream *up, const struct login_error *error);

void conn_start_login(struct conn *c)
{
    char token[TOKEN_SIZE + 1];
    struct err err;
    const char *application_name = NULL, *client_encoding = NULL;
    conn_set_state(c, CONN_LOGIN);
    timer_free(c->timer);
    c->timer = NULL;
    stream_pause(c->client);
    c->mode = mode_of(&c->entrance->gate.startup);
    const struct policy *policy = c->entrance->policy;
    if (!policy->secret || token_make(policy->secret, token, &err) < 0) {
        conn_refuse(c, PROXY_NOT_READY);
        return;
    }
    CLEANUP(buf_deinit) struct buf options = BUF_INIT(3 * LIMIT_STARTUP_PACKET);
    put_options(c, &options, token, &application_name, &client_encoding);
    const char *shadow = c->mode == SESSION_SHADOW ? c->entrance->gate.startup.database.p : NULL;
    const char *const extra[][2] = {{"application_name", application_name},
                                    {"dbname", shadow},
                                    {"client_encoding", client_encoding},
                                    {"options", buf_cstr(&options)}};
    struct login_params params = {.url = policy->options.url,
                                  .require_ssl = policy->options.require_ssl,
                                  .extra = extra,
                                  .extra_n = ARRAY_LEN(extra)};
    c->application = application_name && *application_name ? mem_strdup(application_name) : NULL;
    c->login_ms = conn_now(c);
    c->login = login_start(c->worker->loop, &params, on_login, c);
    mem_wipe(options.p, options.n);
    mem_wipe(token, sizeof token);
}

static void greet(struct conn *c)
{
    struct upstream *up = c->upstream;
    CLEANUP(buf_deinit) struct buf b = BUF_INIT(LIMIT_HELD_FRAME);
    put_authentication(&b, 0, STR(""));
    for (size_t i = 0; i < up->parameters_n; i++) {
        struct str name = str_c(up->parameters[i].name), value = str_c(up->parameters[i].value);
        put_parameter_status(&b, name, value);
        if (str_eq(name, STR("standard_conforming_strings"))) {
            session_set_std_strings(c->session, !str_eq(value, STR("off")));
        }
    }
    put_backend_key(&b, (uint32_t)up->backend_pid, c->cancel_secret);
    put_ready(&b, 'I');
    stream_write(c->client, b.p, b.n);
    stream_flush(c->client);
    upstream_drop_parameters(up);
}

static void refuse_login(struct conn *c, const struct login_error *error)
{
    counter_add(&c->worker->stats.logins_failed, 1);
    log_warning(c->prefix, "login upstream failed sqlstate=%s: %s", error->err.sqlstate, error->err.msg);
    struct problem problem = {.severity = "FATAL",
                              .sqlstate = error->err.sqlstate,
                              .message = str_c(error->err.msg),
                              .detail = str_c(error->detail),
                              .hint = str_c(error->hint)};
    conn_refuse_problem(c, &problem);
}

static void on_login(void *ctx, struct upstream *up, const struct login_error *error)
{
    struct conn *c = ctx;
    struct login_error no_key = {0};
    c->login = NULL;
    if (error) {
        refuse_login(c, error);
        return;
    }
    c->upstream = up;
    if (cancel_key_make(c->entrance->policy->secret, (uint32_t)up->backend_pid, &c->cancel_secret,
                        &no_key.err) < 0) {
        refuse_login(c, &no_key);
        return;
    }
    /* With TLS the descriptor belongs to libpq: the stream watches and closes a duplicate. */
    int fd = up->ssl ? dup(up->fd) : up->fd;
    if (!up->ssl) {
        up->fd = -1;
    }
    if (fd < 0) {
        conn_refuse(c, PROXY_NO_DESCRIPTORS);
        return;
    }
    conn_open(c, fd);
    greet(c);
    session_set_mode(c->session, c->mode);
    if (c->entrance->in.n > 0) {
        conn_feed_session(c, c->entrance->in.p, c->entrance->in.n);
    }
    conn_gate_drop(c);
    conn_update_flow(c);
}
