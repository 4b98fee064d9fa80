/* SPDX-License-Identifier: Apache-2.0 */
#include "base/packet.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

void packet_begin(struct buf *b)
{
    static const char room[PACKET_ROOM];
    buf_reset(b);
    buf_put(b, room, sizeof room);
}

static struct packet *copied(const void *content, size_t n)
{
    struct packet *p = mem_alloc(sizeof *p + PACKET_ROOM + n);
    *p = (struct packet){.refs = 1, .n = n, .bytes = (char *)(p + 1)};
    if (n > 0) {
        memcpy(p->bytes + PACKET_ROOM, content, n);
    }
    return p;
}

struct packet *packet_new(const void *content, size_t n)
{
    return copied(content, n);
}

/* What is taken may live long: it gives back what the buffer had in reserve. */
static struct packet *taken(struct buf *b)
{
    struct packet *p = mem_alloc(sizeof *p);
    *p = (struct packet){.refs = 1, .n = b->n - PACKET_ROOM, .bytes = mem_realloc(take_ptr(&b->p), b->n)};
    buf_deinit(b);
    return p;
}

struct packet *packet_end(struct buf *b)
{
    if (b->overflow) {
        buf_deinit(b);
        return NULL;
    }
    assert(b->n >= PACKET_ROOM);
    if (b->n - PACKET_ROOM > PACKET_COPIED) {
        return taken(b);
    }
    struct packet *p = copied(b->p + PACKET_ROOM, b->n - PACKET_ROOM);
    buf_reset(b);
    return p;
}

struct packet *packet_ref(struct packet *p)
{
    p->refs++;
    return p;
}

void packet_unref(struct packet *p)
{
    if (!p || --p->refs > 0) {
        return;
    }
    if (p->bytes != (char *)(p + 1)) {
        free(p->bytes);
    }
    free(p);
}

struct str packet_content(const struct packet *p)
{
    return (struct str){p->bytes + PACKET_ROOM, p->n};
}
