/* SPDX-License-Identifier: Apache-2.0 */
/* Text: UTF-8, LIKE, case. */
#include "shapes/where_node.h"

/* --- UTF-8 --- */

/* Bytes of the character that a lead byte begins; 1 for what begins none. */
static size_t length_of(unsigned char lead)
{
    return lead < 0xc2 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 1;
}

size_t utf8_next(const char *p, const char *end, uint32_t *out_code)
{
    unsigned char lead = (unsigned char)*p;
    size_t n = length_of(lead);
    *out_code = lead;
    if (n == 1 || n > (size_t)(end - p)) {
        return 1;
    }
    uint32_t code = lead & (0x7fU >> n);
    for (size_t i = 1; i < n; i++) {
        unsigned char c = (unsigned char)p[i];
        if ((c & 0xc0) != 0x80) {
            return 1;
        }
        code = code << 6 | (c & 0x3f);
    }
    *out_code = code;
    return n;
}

bool utf8_valid(struct str s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const char *end = s.p + s.n;
    for (const char *p = s.p; p < end;) {
        uint32_t code;
        size_t n = utf8_next(p, end, &code);
        bool surrogate = code >= 0xd800 && code < 0xe000;
        if (n == 1 ? code >= 0x80 : code < least[n] || surrogate || code > 0x10ffff) {
            return false;
        }
        p += n;
    }
    return true;
}

static char *put_code(char *p, uint32_t c)
{
    if (c < 0x80) {
        *p++ = (char)c;
    } else if (c < 0x800) {
        *p++ = (char)(0xc0 | c >> 6);
        *p++ = (char)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *p++ = (char)(0xe0 | c >> 12);
        *p++ = (char)(0x80 | (c >> 6 & 0x3f));
        *p++ = (char)(0x80 | (c & 0x3f));
    } else {
        *p++ = (char)(0xf0 | c >> 18);
        *p++ = (char)(0x80 | (c >> 12 & 0x3f));
        *p++ = (char)(0x80 | (c >> 6 & 0x3f));
        *p++ = (char)(0x80 | (c & 0x3f));
    }
    return p;
}

/* --- LIKE --- */

/*
 * Only the last % is ever tried again, one character further on: the earlier ones have found the earliest
 * place there is for what follows them, and a later one would not help. That is at most text times pattern
 * steps, which WHERE_MAX_MATCHING bounds.
 */
struct matcher {
    const char *s, *s_end, *p, *p_end;
    const char *retry_s, *retry_p; /* where the last % stands; NULL: there was none */
    bool fold;
};

enum step { STEP_MATCH, STEP_MISS, STEP_BAD };

/* One character of the text against one of the pattern. */
static enum step match_one(struct matcher *m)
{
    if (m->p == m->p_end) {
        return STEP_MISS;
    }
    uint32_t c, wanted;
    size_t n = utf8_next(m->s, m->s_end, &c);
    const char *p = m->p;
    bool any = *p == '_';
    if (*p == '\\' && ++p == m->p_end) {
        return STEP_BAD;
    }
    size_t taken = utf8_next(p, m->p_end, &wanted);
    bool same = taken == n && !memcmp(p, m->s, n);
    if (!any && !same && !(m->fold && fold_lower(c) == fold_lower(wanted))) {
        return STEP_MISS;
    }
    m->s += n;
    m->p = p + taken;
    return STEP_MATCH;
}

static bool retry(struct matcher *m)
{
    if (!m->retry_p) {
        return false;
    }
    uint32_t ignored;
    m->retry_s += utf8_next(m->retry_s, m->s_end, &ignored);
    m->s = m->retry_s;
    m->p = m->retry_p;
    return true;
}

static bool take_percent(struct matcher *m)
{
    if (m->p == m->p_end || *m->p != '%') {
        return false;
    }
    m->retry_s = m->s;
    m->retry_p = ++m->p;
    return true;
}

bool text_like(struct str s, struct str pattern, bool fold, bool *out_matches)
{
    struct matcher m = {
        .s = s.p, .s_end = s.p + s.n, .p = pattern.p, .p_end = pattern.p + pattern.n, .fold = fold};
    *out_matches = false;
    size_t left = WHERE_MAX_MATCHING + 16 * s.n;
    for (; m.s < m.s_end; left--) {
        if (take_percent(&m)) {
            if (m.p == m.p_end) {
                *out_matches = true;
                return true;
            }
            continue;
        }
        enum step step = match_one(&m);
        if (step == STEP_BAD || left == 0) {
            return false;
        }
        if (step == STEP_MISS && !retry(&m)) {
            return true;
        }
    }
    while (take_percent(&m)) {
    }
    *out_matches = m.p == m.p_end;
    return true;
}

static enum outcome like(const union datum *a, const union datum *b, bool fold, bool negated,
                         union datum *out)
{
    bool matches;
    if (!text_like(a->s, b->s, fold, &matches)) {
        return EVAL_ERROR;
    }
    out->truth = matches != negated;
    return EVAL_VALUE;
}

enum outcome text_like_op(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                          union datum *out)
{
    return like(a, b, false, false, out);
}

enum outcome text_not_like(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                           union datum *out)
{
    return like(a, b, false, true, out);
}

enum outcome text_ilike(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                        union datum *out)
{
    return like(a, b, true, false, out);
}

enum outcome text_not_ilike(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                            union datum *out)
{
    return like(a, b, true, true, out);
}

/* --- building --- */

static char *build(struct run *r, size_t n)
{
    return n > WHERE_MAX_BUILT || r->scratch.used + n > WHERE_MAX_BUILT ? NULL : arena_alloc(&r->scratch, n);
}

enum outcome text_concat(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                         union datum *out)
{
    size_t na = a->s.n, nb = b->s.n;
    char *p = build(r, na + nb);
    if (!p) {
        return EVAL_ERROR;
    }
    if (na) {
        memcpy(p, a->s.p, na);
    }
    if (nb) {
        memcpy(p + na, b->s.p, nb);
    }
    out->s = (struct str){p, na + nb};
    return EVAL_VALUE;
}

/* A mapped letter has at most half as many bytes again. */
static enum outcome map(struct run *r, struct str s, uint32_t (*to)(uint32_t), union datum *out)
{
    char *p = build(r, s.n + s.n / 2 + 4), *w = p;
    if (!p) {
        return EVAL_ERROR;
    }
    const char *end = s.p + s.n;
    for (const char *from = s.p; from < end;) {
        uint32_t c;
        size_t n = utf8_next(from, end, &c);
        if (n == 1 && c >= 0x80) {
            *w++ = *from;
        } else {
            w = put_code(w, to(c));
        }
        from += n;
    }
    out->s = (struct str){p, (size_t)(w - p)};
    return EVAL_VALUE;
}

enum outcome text_lower(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                        union datum *out)
{
    return map(r, a->s, fold_lower, out);
}

enum outcome text_upper(struct run *r, const union datum *a, const union datum *b, enum where_type t,
                        union datum *out)
{
    return map(r, a->s, fold_upper, out);
}
