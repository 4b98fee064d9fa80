/* SPDX-License-Identifier: Apache-2.0 */
#include "sql/lex.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

/* One letter a kind, in the order of enum token_kind. */
static const char kind_letters[] = ".WIJSEUBDNPpo!?";

/* Renders the tokens as "W:select p:; " and compares. */
static void check(struct str text, bool std_strings, const char *expected)
{
    char seen[1024] = "";
    struct lex l = lex_init(text, std_strings);
    size_t n = 0;
    for (struct token t = lex_next(&l); t.kind != TOKEN_END; t = lex_next(&l)) {
        assert_ptr_equal(t.text.p, text.p + t.offset);
        n += (size_t)snprintf(seen + n, sizeof seen - n, "%s%c:%.*s", n ? " " : "", kind_letters[t.kind],
                              STR_ARG(t.text));
        assert_true(n < sizeof seen);
    }
    assert_string_equal(seen, expected);
    assert_int_equal(l.pos, text.n);
}

static void lexes_words_and_numbers(void **state)
{
    check(STR(""), true, "");
    check(STR(" \t\r\n\f\v"), true, "");
    check(STR("Select a_1$x,Köln"), true, "W:Select W:a_1$x p:, W:Köln");
    check(STR("1 2.5 .5 3. 1e10 2E-3 1..10 7e"), true,
          "N:1 N:2.5 N:.5 N:3. N:1e10 N:2E-3 N:1 p:.. N:10 N:7 W:e");
    check(STR("$1 $23 $ $a"), true, "P:$1 P:$23 ?:$ ?:$ W:a");
}

static void lexes_strings(void **state)
{
    check(STR("'a''b' '' ';'"), true, "S:'a''b' S:'' S:';'");
    check(STR("'a\\' b"), true, "S:'a\\' W:b");
    check(STR("'a\\' b'"), false, "E:'a\\' b'");
    check(STR("E'a\\'b' e'\\\\' x"), true, "E:E'a\\'b' E:e'\\\\' W:x");
    check(STR("B'01' x'1F' N'n' n'\\' U&'\\0041' u&\"a\"\"b\""), true,
          "B:B'01' B:x'1F' S:N'n' S:n'\\' U:U&'\\0041' J:u&\"a\"\"b\"");
    check(STR("B'01''02'"), true, "B:B'01' S:'02'");
    check(STR("xE'a'"), true, "W:xE S:'a'");
    check(STR("u & 'a' u&a"), true, "W:u o:& S:'a' W:u o:& W:a");
}

/* A string goes on after white space with a newline, in the mode of its first piece. */
static void continues_strings(void **state)
{
    check(STR("'a' 'b'"), true, "S:'a' S:'b'");
    check(STR("'a'\n'b' c"), true, "S:'a'\n'b' W:c");
    check(STR("'a' -- it's\n -- x\n 'b' c"), true, "S:'a' -- it's\n -- x\n 'b' W:c");
    check(STR("'a' /* */\n 'b'"), true, "S:'a' S:'b'");
    check(STR("E'a'\n'\\';' c"), true, "E:E'a'\n'\\';' W:c");
    check(STR("'a' --\n b"), true, "S:'a' W:b");
    check(STR("'a'\n'b"), true, "!:'a'\n'b");
}

static void lexes_identifiers(void **state)
{
    check(STR("\"a\"\"b\".\"c;\" \"\""), true, "I:\"a\"\"b\" p:. I:\"c;\" I:\"\"");
    check(STR("\"a\\\" b"), true, "I:\"a\\\" W:b");
}

static void lexes_dollar_quotes(void **state)
{
    check(STR("$$a;b$$ $t$ $$ $u$ $t$;"), true, "D:$$a;b$$ D:$t$ $$ $u$ $t$ p:;");
    check(STR("$$$a$$"), true, "D:$$$a$$");
    check(STR("$1$ a"), true, "P:$1 ?:$ W:a");
    check(STR("a$$b$$ c"), true, "W:a$$b$$ W:c");
    check(STR("$ä$;$ä$"), true, "D:$ä$;$ä$");
    check(STR("$a$ $A$"), true, "!:$a$ $A$");
}

static void lexes_operators_and_punctuation(void **state)
{
    check(STR("a<=b::c:=d||e->>'f'[1:2].g"), true,
          "W:a o:<= W:b p::: W:c p::= W:d o:|| W:e o:->> S:'f' p:[ N:1 p:: N:2 p:] p:. W:g");
    check(STR("a*-- x\nb/*;*/+/c"), true, "W:a o:* W:b o:+/ W:c");
    check(STR("a - -b {\\}\x01"), true, "W:a o:- o:- W:b ?:{ ?:\\ ?:} ?:\x01");
}

static void skips_comments(void **state)
{
    check(STR("-- a ; ' \" $$ /*\nb"), true, "W:b");
    check(STR("--a\rb"), true, "W:b");
    check(STR("/* a /* ; */ ' */b/**/c/*/ */d"), true, "W:b W:c W:d");
    check(STR("--"), true, "");
}

static void tells_what_does_not_end(void **state)
{
    check(STR("a 'b;"), true, "W:a !:'b;");
    check(STR("a E'b\\"), true, "W:a !:E'b\\");
    check(STR("a \"b;"), true, "W:a !:\"b;");
    check(STR("a $x$b;$y$"), true, "W:a !:$x$b;$y$");
    check(STR("a /* /* */ b"), true, "W:a !:/* /* */ b");
    check(STR("a /*"), true, "W:a !:/*");
    check(STR("a /*/"), true, "W:a !:/*/");
    check(STR("B'0"), true, "!:B'0");
    check(STR("U&\"a\"\""), true, "!:U&\"a\"\"");
}

static void compares_words(void **state)
{
    struct lex l = lex_init(STR("SeLect \"select\" ("), true);
    struct token word = lex_next(&l), quoted = lex_next(&l), open = lex_next(&l);
    assert_true(token_is_word(&word, "select"));
    assert_false(token_is_word(&word, "selec"));
    assert_false(token_is_word(&quoted, "select"));
    assert_true(token_is_name(&word) && token_is_name(&quoted));
    assert_true(token_is_punct(&open, '('));
    assert_false(token_is_name(&open));
}

static void counts_characters(void **state)
{
    assert_int_equal(lex_position(STR("abc"), 0), 1);
    assert_int_equal(lex_position(STR("abc"), 2), 3);
    assert_int_equal(lex_position(STR("äöü x"), 7), 5);
    assert_int_equal(lex_position(STR("ab"), 99), 3);
}

enum { HOSTILE = 1 << 18 };

static void check_linear(const char *unit)
{
    size_t n = strlen(unit);
    char *text = mem_alloc(HOSTILE);
    for (size_t i = 0; i < HOSTILE; i++) {
        text[i] = unit[i % n];
    }
    clock_t from = clock();
    for (int std = 0; std < 2; std++) {
        struct lex l = lex_init((struct str){text, HOSTILE}, std);
        while (lex_next(&l).kind != TOKEN_END) {
        }
        l = lex_init((struct str){text, HOSTILE}, std);
        while (lex_skip_semicolon(&l)) {
        }
    }
    double seconds = (double)(clock() - from) / CLOCKS_PER_SEC;
    free(text);
    if (seconds > 2) {
        fail_msg("256 kB of %s took %.2f s", unit, seconds);
    }
}

static void takes_linear_time(void **state)
{
    static const char *const units[] = {"(",    "/*",     "*/",   "'",     "''",     "'\n", "'a'\n", "\"",
                                        "$",    "$$",     "$a$",  "$a$b ", "$a",     "a",   "1",     "+",
                                        "-",    "*",      "/",    "E'",    "\\",     "--",  "--\n",  "' --\n",
                                        "'\n ", ".",      "1.",   "1e",    "1$",     ":",   "U&'",   "B'",
                                        "/**/", "/*/*/*", "\x80", ";",     "'a' \t", "@-",  "-/",    "\n"};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        check_linear(units[i]);
    }
}

/* Whether there is a ';', and where it ends. */
static bool find_semicolon(struct lex *l)
{
    for (struct token t = lex_next(l); t.kind != TOKEN_END; t = lex_next(l)) {
        if (token_is_punct(&t, ';')) {
            return true;
        }
    }
    return false;
}

static void check_skip(struct str text, bool std_strings)
{
    struct lex expected = lex_init(text, std_strings), l = expected;
    bool found = find_semicolon(&expected);
    if (lex_skip_semicolon(&l) != found || l.pos != expected.pos) {
        fail_msg("%.*s: skipped %zu bytes, not %zu", STR_ARG(text), l.pos, expected.pos);
    }
}

/* Every text of `depth` pieces, and a ';'. */
static void check_skips(const char *const *pieces, size_t n, int depth)
{
    size_t texts = 1;
    for (int i = 0; i < depth; i++) {
        texts *= n;
    }
    for (size_t i = 0; i < texts; i++) {
        char text[64];
        size_t length = 0, rest = i;
        for (int j = 0; j < depth; j++, rest /= n) {
            length += (size_t)snprintf(text + length, sizeof text - length, "%s", pieces[rest % n]);
        }
        text[length++] = ';';
        check_skip((struct str){text, length}, true);
        check_skip((struct str){text, length}, false);
    }
}

static void skips_to_the_semicolon_that_the_tokens_show(void **state)
{
    static const char *const all[] = {"a",  "e",   "'", "E'", "U&'", "n'", "\"", "$",
                                      "$$", "$a$", ";", "--", "\n",  "/*", "*/", "\\",
                                      " ",  "(",   "1", "1e", "e5",  ".",  "+",  "b&"};
    static const char *const of_numbers[] = {"1", ".", "e", "$", "$a", "'", "\\", ";"};
    check_skips(all, ARRAY_LEN(all), 4);
    check_skips(of_numbers, ARRAY_LEN(of_numbers), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lexes_words_and_numbers),
        cmocka_unit_test(lexes_strings),
        cmocka_unit_test(continues_strings),
        cmocka_unit_test(lexes_identifiers),
        cmocka_unit_test(lexes_dollar_quotes),
        cmocka_unit_test(lexes_operators_and_punctuation),
        cmocka_unit_test(skips_comments),
        cmocka_unit_test(tells_what_does_not_end),
        cmocka_unit_test(compares_words),
        cmocka_unit_test(counts_characters),
        cmocka_unit_test(takes_linear_time),
        cmocka_unit_test(skips_to_the_semicolon_that_the_tokens_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
