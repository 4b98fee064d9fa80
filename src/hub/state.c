/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/state.h"

#include "base/mem.h"

#include <state.pb-c.h>
#include <stdlib.h>

static void free_subscription(struct subscription_state *s)
{
    free(s->id);
    free(s->request);
}

void client_state_clear(struct client_state *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free_subscription(&s->subscriptions[i]);
    }
    s->n = 0;
    s->acked_lsn = 0;
}

void client_state_deinit(struct client_state *s)
{
    client_state_clear(s);
    free(s->subscriptions);
    free(s->user_id);
    *s = (struct client_state){0};
}

struct subscription_state *client_state_add(struct client_state *s, struct str id, struct str request)
{
    if (s->n == s->cap) {
        s->cap = s->cap * 2 + 4;
        s->subscriptions = mem_realloc(s->subscriptions, s->cap * sizeof *s->subscriptions);
    }
    struct subscription_state *sub = &s->subscriptions[s->n++];
    *sub = (struct subscription_state){
        .id = mem_strndup(id.p, id.n), .request = mem_strndup(request.p, request.n), .request_n = request.n};
    return sub;
}

struct subscription_state *client_state_find(const struct client_state *s, struct str id)
{
    for (size_t i = 0; i < s->n; i++) {
        if (str_eq(str_c(s->subscriptions[i].id), id)) {
            return &s->subscriptions[i];
        }
    }
    return NULL;
}

void client_state_remove(struct client_state *s, struct str id)
{
    struct subscription_state *sub = client_state_find(s, id);
    if (sub) {
        free_subscription(sub);
        size_t behind = (size_t)(s->subscriptions + s->n - (sub + 1));
        memmove(sub, sub + 1, behind * sizeof *sub);
        s->n--;
    }
}

void client_state_encode(const struct client_state *s, struct buf *out)
{
    Busbar__State__Client message;
    Busbar__State__Subscription *subs = mem_alloc_array(s->n + 1, sizeof *subs);
    Busbar__State__Subscription **list = mem_alloc_array(s->n + 1, sizeof(void *));
    for (size_t i = 0; i < s->n; i++) {
        const struct subscription_state *from = &s->subscriptions[i];
        busbar__state__subscription__init(&subs[i]);
        subs[i].id = from->id;
        subs[i].request = (ProtobufCBinaryData){from->request_n, (uint8_t *)from->request};
        subs[i].lsn = from->lsn;
        subs[i].unsubscribed = from->unsubscribed || from->leaving;
        subs[i].gone_lsn = from->leaving ? UINT64_MAX : from->gone_lsn;
        list[i] = &subs[i];
    }
    busbar__state__client__init(&message);
    message.user_id = s->user_id;
    message.acked_lsn = s->acked_lsn;
    message.n_subscriptions = s->n;
    message.subscriptions = list;
    size_t n = busbar__state__client__get_packed_size(&message);
    uint8_t *bytes = mem_alloc(n + 1);
    busbar__state__client__pack(&message, bytes);
    buf_put(out, bytes, n);
    free(bytes);
    free(list);
    free(subs);
}

int client_state_decode(struct str bytes, struct client_state *out, struct err *err)
{
    if (bytes.n > STATE_MAX) {
        return err_set(err, ERR_INTERNAL, "the state of a client is too big");
    }
    Busbar__State__Client *message = busbar__state__client__unpack(NULL, bytes.n, (const uint8_t *)bytes.p);
    if (!message) {
        return err_set(err, ERR_INTERNAL, "the state of a client is damaged");
    }
    *out = (struct client_state){.user_id = mem_strdup(message->user_id), .acked_lsn = message->acked_lsn};
    for (size_t i = 0; i < message->n_subscriptions; i++) {
        const Busbar__State__Subscription *from = message->subscriptions[i];
        struct subscription_state *sub = client_state_add(
            out, str_c(from->id), (struct str){(const char *)from->request.data, from->request.len});
        sub->lsn = from->lsn;
        sub->unsubscribed = from->unsubscribed;
        sub->gone_lsn = from->gone_lsn;
    }
    busbar__state__client__free_unpacked(message, NULL);
    return 0;
}
