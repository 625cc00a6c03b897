/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/* The template engine: escaping, sections, texts, an administrator's folder.*/

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "pages.h"

static apr_pool_t *pool;

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    return apr_pool_create(&pool, NULL);
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

static const char *folder_with(const char *name, const char *text)
{
    char *dir = apr_pstrdup(pool, "/tmp/casp-pages-XXXXXX");
    FILE *f;

    assert_non_null(mkdtemp(dir));
    f = fopen(apr_pstrcat(pool, dir, "/", name, NULL), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return dir;
}

static void drop_folder(const char *dir, const char *name)
{
    unlink(apr_pstrcat(pool, dir, "/", name, NULL));
    rmdir(dir);
}

static void values_are_escaped(void **state)
{
    static const char *const hostile[] = {"<script>alert(1)</script>",
                                          "\"><img src=x>",
                                          "a&b",
                                          "{{title}}",
                                          "{{#link}}",
                                          NULL};
    casp_pages_t *pages;

    (void)state;
    assert_null(casp_pages_load(pool, NULL, &pages));
    for (int i = 0; hostile[i]; i++) {
        const casp_page_var_t vars[] = {
            {"title", hostile[i]}, {"link", hostile[i]}, {NULL, NULL}};
        const char *out = casp_pages_render(pool, pages, "en", vars);
        if (strpbrk(hostile[i], "<\"&"))
            assert_null(strstr(out, hostile[i]));
        else /* a value is never taken for a template */
            assert_non_null(strstr(out, hostile[i]));
        assert_null(strstr(out, "<script"));
        assert_null(strstr(out, "<img"));
    }
}

static void sections_follow_values(void **state)
{
    const char *dir =
        folder_with("page.html",
                    "[{{#a}}A{{#b}}B{{/b}}{{/a}}|{{#b}}b{{/b}}]{{t:k}}");
    casp_pages_t *pages;
    static const struct {
        const char *a, *b, *out;
    } cases[] = {{"1", "1", "[AB|b]"},
                 {"1", "", "[A|]"},
                 {"", "1", "[|b]"},
                 {NULL, NULL, "[|]"}};

    (void)state;
    assert_null(casp_pages_load(pool, dir, &pages));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const casp_page_var_t vars[] = {
            {"a", cases[i].a}, {"b", cases[i].b}, {NULL, NULL}};
        assert_string_equal(casp_pages_render(pool, pages, "en", vars),
                            cases[i].out);
    }
    drop_folder(dir, "page.html");
}

static void texts_fall_back_to_english(void **state)
{
    const char *dir =
        folder_with("messages.de", "# Deutsch\nlink.go = Zu \"OWA\" gehen \n");
    casp_pages_t *pages;

    (void)state;
    assert_null(casp_pages_load(pool, dir, &pages));
    assert_string_equal(casp_pages_text(pages, "de", "link.go"),
                        "Zu \"OWA\" gehen");
    assert_string_equal(casp_pages_text(pages, "de", "detail.user"), "User");
    assert_string_equal(casp_pages_text(pages, "xx", "detail.user"), "User");
    assert_null(casp_pages_text(pages, "de", "no.such.key"));
    drop_folder(dir, "messages.de");
}

static void broken_templates_are_told(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {{"ok {{title}}", NULL},
                 {"\n\n{{bad name}}", "line 3"},
                 {"{{", "line 1"},
                 {"{{#a}}", "never closed"},
                 {"{{/a}}", "closes no section"},
                 {"{{#a}}{{#b}}{{/a}}{{/b}}", "closes no section"},
                 {"<a href='{{link}}'>", "double quotes"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *error = casp_pages_check(pool, cases[i].text);
        if (!cases[i].says)
            assert_null(error);
        else
            assert_non_null(strstr(error, cases[i].says));
    }
}

static void a_broken_folder_is_named(void **state)
{
    const char *dir = folder_with("page.html", "{{#x}}");
    casp_pages_t *pages;
    const char *error;

    (void)state;
    error = casp_pages_load(pool, dir, &pages);
    assert_non_null(error);
    assert_non_null(strstr(error, "page.html"));
    drop_folder(dir, "page.html");
    error = casp_pages_load(pool, "/nonexistent/folder", &pages);
    assert_non_null(strstr(error, "/nonexistent/folder"));
}

/* Every page of every action has a title and a text. */
static void every_action_has_its_texts(void **state)
{
    casp_pages_t *pages;

    (void)state;
    assert_null(casp_pages_load(pool, NULL, &pages));
    for (int a = CASP_ACTION_MANUAL_REDIRECT; a < CASP_ACTION_COUNT; a++) {
        const char *name = casp_action_name((casp_action_e)a);
        if (a == CASP_ACTION_EAS_REDIRECT
            || a == CASP_ACTION_AUTODISCOVER_REDIRECT)
            continue; /* for devices, without a page */
        assert_non_null(casp_pages_text(pages, "en",
                                        apr_pstrcat(pool, name, ".title",
                                                    NULL)));
        assert_non_null(casp_pages_text(pages, "en",
                                        apr_pstrcat(pool, name, ".text",
                                                    NULL)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_escaped),
        cmocka_unit_test(sections_follow_values),
        cmocka_unit_test(texts_fall_back_to_english),
        cmocka_unit_test(broken_templates_are_told),
        cmocka_unit_test(a_broken_folder_is_named),
        cmocka_unit_test(every_action_has_its_texts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
