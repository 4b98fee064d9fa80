/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes SQL by tokens, every other time: names that are keywords too, options, quotes and cuts come to
 * stand where a grammar could take them for something else. Bytes alone seldom make a text that still parses.
 * The first byte of an input is the target's; the text follows.
 */
#include "base/compiler.h"
#include "sql/lex.h"

#include <stdint.h>
#include <stdlib.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { TOKENS = 512, MOVED = 8 };

static const char *const words[] = {"a",
                                    "x.y",
                                    "only",
                                    "if",
                                    "exists",
                                    "concurrently",
                                    "a.concurrently",
                                    "\"concurrently\"",
                                    "begin",
                                    "atomic",
                                    "end",
                                    "\"end\"",
                                    "as",
                                    "case",
                                    "detach",
                                    "partition",
                                    "set",
                                    "prepare",
                                    "all",
                                    "index",
                                    "transaction",
                                    "tablespace",
                                    "schema",
                                    "off",
                                    "on",
                                    "verbose",
                                    "to",
                                    "work",
                                    "chain",
                                    "and",
                                    "no",
                                    "electric",
                                    "(a)",
                                    "(a, b)",
                                    "(c on)",
                                    "1",
                                    "enable",
                                    "\"electric\"",
                                    "U&\"x\"",
                                    "U&\"x\" UESCAPE '!'",
                                    "'x'",
                                    "$$a; b$$",
                                    "$1",
                                    "::",
                                    "[1]",
                                    ".",
                                    "*",
                                    "/* ; */",
                                    "--x\n",
                                    "default",
                                    "null",
                                    "true",
                                    ";",
                                    ",",
                                    "case when a then b end",
                                    "null",
                                    "deallocate"};

struct edit {
    struct str text;
    size_t from[TOKENS], to[TOKENS], n; /* its tokens */
    unsigned random;
};

static unsigned draw(struct edit *e, size_t below)
{
    e->random = e->random * 1664525 + 1013904223;
    return (e->random >> 8) % (unsigned)below;
}

static void find_tokens(struct edit *e)
{
    struct lex l = lex_init(e->text, true);
    for (struct token t = lex_next(&l); t.kind != TOKEN_END && e->n < TOKENS; t = lex_next(&l)) {
        e->from[e->n] = t.offset;
        e->to[e->n++] = t.offset + t.text.n;
    }
}

/* Puts `piece`, between blanks, in the place of what is from `at` to `end`. The size then, 0 when it is too
 * much. */
static size_t put(const struct edit *e, uint8_t *text, size_t max, size_t at, size_t end, struct str piece)
{
    size_t behind = e->text.n - end, blanks = piece.n ? 2 : 0, n = at + blanks + piece.n + behind;
    if (n > max) {
        return 0;
    }
    memmove(text + n - behind, text + end, behind);
    if (piece.n) {
        text[at] = ' ';
        memcpy(text + at + 1, piece.p, piece.n);
        text[at + 1 + piece.n] = ' ';
    }
    return n;
}

/* Some tokens of the text, as they stand there; the copy is the caller's. */
static struct str some_tokens(struct edit *e)
{
    size_t first = draw(e, e->n), last = first + draw(e, MOVED);
    last = last < e->n ? last : e->n - 1;
    struct str piece = {e->text.p + e->from[first], e->to[last] - e->from[first]};
    char *copy = malloc(piece.n + 1);
    memcpy(copy, piece.p, piece.n);
    return (struct str){copy, piece.n};
}

static size_t change(struct edit *e, uint8_t *text, size_t max)
{
    size_t i = draw(e, e->n), from = e->from[i], to = e->to[i];
    struct str word = str_c(words[draw(e, ARRAY_LEN(words))]);
    switch (draw(e, 4)) {
    case 0:
        return put(e, text, max, from, to, (struct str){NULL, 0});
    case 1:
        return put(e, text, max, from, to, word);
    case 2:
        return put(e, text, max, from, from, word);
    default: {
        struct str piece = some_tokens(e);
        size_t n = put(e, text, max, from, draw(e, 2) ? from : to, piece);
        free((char *)(uintptr_t)piece.p);
        return n;
    }
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    struct edit e = {.random = seed};
    if (size > 1 && draw(&e, 2)) {
        e.text = (struct str){(const char *)data + 1, size - 1};
        find_tokens(&e);
    }
    size_t n = e.n ? change(&e, data + 1, max_size - 1) : 0;
    return n ? n + 1 : LLVMFuzzerMutate(data, size, max_size);
}
