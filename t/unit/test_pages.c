/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The template engine (escaping, sections, texts, an administrator's folder),
 * the choice of a language, and what the built-in pages and texts must hold.
 */

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
#include <apr_hash.h>
#include <apr_strings.h>

#include "pages.h"

#define COUNT(a) (sizeof(a) / sizeof *(a))

static apr_pool_t *pool;
static casp_pages_t *builtin;

static int setup(void **state)
{
    (void)state;
    apr_initialize();
    if (apr_pool_create(&pool, NULL))
        return -1;
    return casp_pages_load(pool, NULL, &builtin) ? -1 : 0;
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
    assert_int_equal(unlink(apr_pstrcat(pool, dir, "/", name, NULL)), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* An error of loading a folder with this one file, or NULL. */
static const char *load_one(const char *name, const char *text,
                            casp_pages_t **pages)
{
    const char *dir = folder_with(name, text);
    const char *error = casp_pages_load(pool, dir, pages);

    drop_folder(dir, name);
    return error;
}

static void assert_says(const char *error, const char *says)
{
    if (!says) {
        assert_null(error);
        return;
    }
    assert_non_null(error);
    if (!strstr(error, says))
        fail_msg("\"%s\" does not say \"%s\"", error, says);
}

/* A page.html of one tag with the variable "x", filled with @a value. */
static const char *filled(const char *template, const char *value)
{
    const casp_page_var_t vars[] = {{"x", value}, {NULL, NULL}};
    casp_pages_t *pages;

    assert_null(load_one(CASP_PAGE_PLAIN, template, &pages));
    return casp_pages_render(pool, pages, CASP_PAGE_PLAIN, "en", vars);
}

/* ------------------------------------------------------------------ values */

static void values_are_escaped(void **state)
{
    static const char *const hostile[] = {"<script>alert(1)</script>",
                                          "\"><img src=x>",
                                          "a&b",
                                          "{{title}}",
                                          "{{#link}}",
                                          NULL};

    (void)state;
    for (int i = 0; hostile[i]; i++) {
        const casp_page_var_t vars[] = {
            {"title", hostile[i]}, {"link", hostile[i]}, {NULL, NULL}};
        const char *out =
            casp_pages_render(pool, builtin, CASP_PAGE_PLAIN, "en", vars);
        if (strpbrk(hostile[i], "<\"&"))
            assert_null(strstr(out, hostile[i]));
        else /* a value is never taken for a template */
            assert_non_null(strstr(out, hostile[i]));
        assert_null(strstr(out, "<script"));
        assert_null(strstr(out, "<img"));
    }
}

static void attributes_keep_what_html_can_bear(void **state)
{
    static const struct {
        const char *value, *out;
    } cases[] = {
        {NULL, "value=\"\""},
        {"", "value=\"\""},
        {"plain", "value=\"plain\""},
        {"p'q<r& s", "value=\"p'q<r& s\""},
        {"p'q<r& s\"", "value=\"p'q<r& s&quot;\""},
        {"p\"q>r", "value='p\"q>r'"},
        {"it's", "value=\"it's\""},
        {"a&b", "value=\"a&amp;b\""},
        {"a&1", "value=\"a&amp;1\""},
        {"a&#39;", "value=\"a&amp;#39;\""},
        {"a&&b", "value=\"a&&amp;b\""},
        {"a&", "value=\"a&\""},
        {"&\"'", "value=\"&&quot;'\""},
        {"&\xc3\xa4", "value=\"&\xc3\xa4\""},
        {"\"\"\"'", "value=\"&quot;&quot;&quot;'\""},
        {"'\"&amp;", "value=\"'&quot;&amp;amp;\""},
        {"https://a.test/owa/?a=b&c=d", "value=\"https://a.test/owa/?a=b&amp;"
                                        "c=d\""},
        {"\"><script>alert(1)</script>",
         "value='\"><script>alert(1)</script>'"},
        {"'\"><script>", "value=\"'&quot;><script>\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(filled("<input {{value:x}}>", cases[i].value),
                            apr_pstrcat(pool, "<input ", cases[i].out, ">",
                                        NULL));
}

static void scripts_get_strings(void **state)
{
    static const struct {
        const char *value, *out;
    } cases[] = {
        {NULL, "\"\""},
        {"aZ09 _.,:/?=-", "\"aZ09 _.,:/?=-\""},
        {"</script>", "\"\\u003c/script\\u003e\""},
        {"\"\\'`", "\"\\u0022\\u005c\\u0027\\u0060\""},
        {"a\nb\x7f", "\"a\\u000ab\\u007f\""},
        {"${x}&;()+!", "\"\\u0024\\u007bx\\u007d\\u0026\\u003b\\u0028\\u0029"
                       "\\u002b\\u0021\""},
        {"\xc3\xa4\xe2\x80\xa8", "\"\\u00e4\\u2028\""},
        {"\xef\xbf\xbf", "\"\\uffff\""},
        {"\xf0\x9f\x98\x80", "\"\\ud83d\\ude00\""},
        {"\xf4\x8f\xbf\xbf", "\"\\udbff\\udfff\""},
        {"\xff", "\"\\ufffd\""},
        {"\xc3", "\"\\ufffd\""},
        {"\xc3z", "\"\\ufffdz\""},
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""}, /* "/", too long */
        {"\xe0\x80\xaf", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""}, /* a lone surrogate */
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xf0\x9f\x98", "\"\\ufffd\\ufffd\\ufffd\""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_string_equal(filled("<script>{{js:x}}</script>",
                                   cases[i].value),
                            apr_pstrcat(pool, "<script>", cases[i].out,
                                        "</script>", NULL));
}

static void sections_follow_values(void **state)
{
    static const struct {
        const char *a, *b, *out;
    } cases[] = {{"1", "1", "[AB|b]User"},
                 {"1", "", "[A|]User"},
                 {"", "1", "[|b]User"},
                 {NULL, NULL, "[|]User"}};
    casp_pages_t *pages;

    (void)state;
    assert_null(load_one(CASP_PAGE_PLAIN,
                         "[{{#a}}A{{#b}}B{{/b}}{{/a}}|{{#b}}b{{/b}}]"
                         "{{t:detail.user}}",
                         &pages));
    for (size_t i = 0; i < COUNT(cases); i++) {
        const casp_page_var_t vars[] = {
            {"a", cases[i].a}, {"b", cases[i].b}, {NULL, NULL}};
        assert_string_equal(casp_pages_render(pool, pages, CASP_PAGE_PLAIN,
                                              "en", vars),
                            cases[i].out);
    }
    assert_string_equal(casp_pages_render(pool, pages, "no-such.html", "en",
                                          NULL),
                        "");
}

/* --------------------------------------------------------------- languages */

static void texts_fall_back_to_english(void **state)
{
    casp_pages_t *pages;

    (void)state;
    assert_null(load_one("messages.eo",
                         "# Esperanto\nlink.go = Al \"OWA\" iri \n", &pages));
    assert_string_equal(casp_pages_text(pages, "eo", "link.go"),
                        "Al \"OWA\" iri");
    assert_string_equal(casp_pages_text(pages, "eo", "detail.user"), "User");
    assert_string_equal(casp_pages_text(pages, "xx", "detail.user"), "User");
    assert_null(casp_pages_text(pages, "eo", "no.such.key"));
}

static void a_folder_replaces_single_texts(void **state)
{
    casp_pages_t *pages;

    (void)state;
    /* with the mark that Windows' editor puts first */
    assert_null(load_one("messages.de",
                         "\xef\xbb\xbf# Hausstil\r\ndetail.user = Konto\r\n",
                         &pages));
    assert_string_equal(casp_pages_text(pages, "de", "detail.user"), "Konto");
    assert_string_equal(casp_pages_text(pages, "de", "detail.reason"),
                        "Grund");
    assert_says(load_one("messages.de",
                         "detail.user = Gr\xfc"
                         "n\n",
                         &pages),
                "UTF-8");
    /* an editor's backup is no language */
    assert_null(load_one("messages.de~", "no text at all\n", &pages));
    assert_string_equal(casp_pages_language(pages, "de~"), "en");
}

static void the_readers_language_is_found(void **state)
{
    static const struct {
        const char *header, *language;
    } cases[] = {
        {NULL, "en"},
        {"", "en"},
        {"de", "de"},
        {"DE", "de"},
        {"de-AT", "de"},
        {"de-Latn-AT-1996", "de"},
        {"ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", "ru"},
        {"fr, de;q=0.5", "de"},
        {"fr;q=1, ru;q=0.2, de;q=0.3", "de"},
        {"de;q=0.5, ru;q=0.5", "de"},
        {"ru;q=0.500,de;q=0.501", "de"},
        {"en;q=0.1, de;q=0", "en"},
        {"de;q=0", "en"},
        {"*", "en"},
        {"*;q=0.5, de;q=0.4", "en"},
        {"*;q=0.5, de", "de"},
        {" de ; q=0.9 , ru ;q=0.8", "de"},
        {"\tde\t;\tQ=1.000", "de"},
        {"de;q=1.001, ru;q=0.001", "ru"},
        {"de;q=2", "en"},
        {"de;q=", "en"},
        {"de;q=-1", "en"},
        {"de;q=0.1234", "en"},
        {"de;q=1e3", "en"},
        {"de;q=0x1", "en"},
        {"de;q=.9", "en"},
        {"de;level=1", "en"},
        {"de;q=1;q=1", "en"},
        {";q=1", "en"},
        {"de;", "en"},
        {"d\xc3\xa9", "en"},
        {"-de", "en"},
        {"de-", "de"},
        {"de_AT", "en"},
        {"deutsch", "en"},
        {"de/../../x", "en"},
        {",,,,de", "de"},
        {",,,,,,,,,,,,,,,,de", "en"}, /* the 17th */
        {"xx-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, ru", "ru"},
        {"de-aaaaaaaa-bbbbbbbb-cccccccc-dddddddd", "en"}, /* too long */
    };
    casp_pages_t *pages;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *got = casp_pages_language(builtin, cases[i].header);
        if (strcmp(got, cases[i].language))
            fail_msg("\"%s\" gave %s", cases[i].header, got);
    }
    assert_null(load_one("messages.pt-BR", "link.go = Ir\n", &pages));
    assert_string_equal(casp_pages_language(pages, "PT-br-x"), "pt-br");
    assert_string_equal(casp_pages_language(pages, "pt"), "en");
    assert_string_equal(casp_pages_text(pages, "pt-br", "link.go"), "Ir");
}

/* --------------------------------------------------------------- templates */

static void broken_templates_are_told(void **state)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"ok {{title}}", NULL},
        {"\n\n{{bad name}}", "line 3"},
        {"{{", "line 1"},
        {"{{}}", "begins no tag"},
        {"{{#a}}", "never closed"},
        {"{{/a}}", "closes no section"},
        {"{{#a}}{{#b}}{{/a}}{{/b}}", "closes no section"},
        {"{{#ab}}{{/a}}", "closes no section"},
        {"{{#t:k}}{{/t:k}}", "plain {{#name}}"},
        {"{{raw:x}}", "nothing else with a colon"},
        {"{{t:a:b}}", "nothing else with a colon"},
        /* what stands in quotes */
        {"<a href=\"{{link}}\">", NULL},
        {"<a href=\"x?{{link}}&amp;y\" title=\"{{t:k}}\">", NULL},
        {"<a href='{{link}}'>", "double quotes"},
        {"<a href='x{{link}}'>", "double quotes"},
        {"<a href={{link}}>", "double quotes"},
        {"<a href = {{link}}>", "double quotes"},
        {"<option {{t:k}}>", "double quotes"},
        {"<a href='>'>'{{x}}'</a>", NULL},
        {"it's '{{name}}'", NULL},
        {"<a title=\"it's\" href=\"{{x}}\">", NULL},
        /* where escaping for HTML would be none */
        {"<p onclick=\"f({{x}})\">", "holds a program"},
        {"<p OnClick = \"f({{x}})\">", "holds a program"},
        {"<p style=\"color: {{x}}\">", "holds a program"},
        {"<iframe srcdoc=\"{{x}}\">", "holds a program"},
        {"<style>p { color: {{x}} }</style>", "<style>"},
        {"<style>p {}</style>{{x}}", NULL},
        {"<script>var a = {{x}};</script>", "{{js:name}}"},
        {"<SCRIPT nonce=\"{{n}}\">var a = \"{{t:k}}\";</SCRIPT>",
         "{{js:name}}"},
        {"<script/x>{{x}}</script>", "{{js:name}}"},
        {"<script>\"</p>\"{{x}}", "{{js:name}}"},
        {"<script></script >{{x}}", NULL},
        {"<script src=\"{{x}}\" nonce=\"{{y}}\"></script>{{z}}", NULL},
        {"<scripts>{{x}}</scripts>", NULL},
        {"<{{x}}>", "name of an element"},
        {"</{{x}}>", "name of an element"},
        {"<p{{x}}>", "name of an element"},
        {"<!-- {{x}} <a href=' -->{{y}}", NULL},
        {"<!--><a href='{{y}}'>-->", "double quotes"},
        /* strings for scripts */
        {"<script>var a = {{js:x}};</script>", NULL},
        {"<script>var it = 'it\\'s'; var a = {{js:x}};</script>", NULL},
        {"<script>// don't\nvar a = {{js:x}};</script>", NULL},
        {"<script>var a = \"{{js:x}}\";</script>", "outside of quotes"},
        {"<script>var a = 'b {{js:x}}';</script>", "outside of quotes"},
        {"<script>var a = `\n{{js:x}}`;</script>", "outside of quotes"},
        {"<p>{{js:x}}</p>", "belongs into <script>"},
        {"<p title={{js:x}}>", "belongs into <script>"},
        {"<p onclick=\"f({{js:x}})\">", "belongs into <script>"},
        {"<script></script>{{js:x}}", "belongs into <script>"},
        {"<style>{{js:x}}</style>", "belongs into <script>"},
        /* whole attributes */
        {"<input name=\"x\" {{value:x}}>", NULL},
        {"<input {{value:x}} name=x>", NULL},
        {"<input {{#x}}{{value:x}}{{/x}}>", NULL},
        {"{{value:x}}", "is an attribute"},
        {"<p>{{value:x}}</p>", "is an attribute"},
        {"<input value={{value:x}}>", "is an attribute"},
        {"<input value= {{value:x}}>", "is an attribute"},
        {"<input value=\"{{value:x}}\">", "is an attribute"},
        {"<input data-{{value:x}}>", "is an attribute"},
        {"<input{{value:x}}>", "is an attribute"},
        {"<script>{{value:x}}</script>", "is an attribute"},
        /* sections that would change what stands around them */
        {"<p{{#a}} class=\"b\"{{/a}}>", "part of an element's name"},
        {"<p {{#a}}class=\"b\"{{/a}}>{{x}}", NULL},
        {"<p class=\"a{{#a}} b{{/a}}\">", NULL},
        {"{{#a}}<p title=\"{{/a}}{{x}}\">", "both in the text"},
        {"<p {{#a}}title=\"{{/a}}{{x}}\">", "both in the text"},
        {"<p title=\"{{#a}}\" onclick=\"{{/a}}{{x}}\">", "both in the text"},
        {"{{#a}}<script>{{/a}}{{js:x}}", "both in the text"},
        {"{{#a}}<!--{{/a}}", "both in the text"},
        {"<p title=\"{{#a}}x\" {{/a}}y\">", "both in the text"},
        {"<script>{{#a}}\"{{/a}}</script>", "both in the text"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_says(casp_pages_check(pool, cases[i].text), cases[i].says);
    /* a name that is too long, and one that is not */
    char *text = apr_palloc(pool, 200);
    memset(text, 'a', 200);
    memcpy(text, "{{", 2);
    strcpy(text + 2 + 128, "}}");
    assert_null(casp_pages_check(pool, text));
    text[2 + 128] = 'a';
    strcpy(text + 2 + 129, "}}");
    assert_says(casp_pages_check(pool, text), "begins no tag");
}

static void a_broken_folder_is_named(void **state)
{
    casp_pages_t *pages;
    const char *error;

    (void)state;
    error = load_one(CASP_PAGE_PLAIN, "{{#x}}", &pages);
    assert_says(error, CASP_PAGE_PLAIN);
    assert_says(error, "never closed");
    assert_says(load_one(CASP_PAGE_PLAIN, "\n{{t:no.such}}", &pages),
                "page.html, line 2: messages.en has no text \"no.such\"");
    assert_says(load_one("messages.fr", "\n\nnonsense\n", &pages), "line 3");
    error = casp_pages_load(pool, "/nonexistent/folder", &pages);
    assert_says(error, "/nonexistent/folder");
}

/* A template without which nobody could log on any more is refused. */
static void forms_must_hold_their_fields(void **state)
{
#define FIELD(name, rest) "<input name=\"" name "\" " rest ">"
#define VALUE(name) FIELD(name, "{{value:" name "}}")
    static const struct {
        const char *page, *text, *says;
    } cases[] = {
        {CASP_PAGE_LOGON, "<p>hello</p>", "{{action}}"},
        {CASP_PAGE_LOGON,
         "<form action=\"{{action}}\">" VALUE("destination")
             FIELD("flags", "value=0") FIELD("username", "")
                 FIELD("password", "") "</form>",
         NULL},
        {CASP_PAGE_LOGON,
         "<FORM action=\"{{action}}\"><INPUT NAME=destination "
         "{{value:destination}}><input name='flags'><input type=text "
         "name = username><input\nname=password></form>",
         NULL},
        {CASP_PAGE_LOGON,
         "<form action=\"{{action}}\">" VALUE("destination") FIELD("flags", "")
             FIELD("username", "") "</form>",
         "name=\"password\""},
        {CASP_PAGE_LOGON,
         "<form action=\"{{action}}\">" VALUE("destination") FIELD("flags", "")
             FIELD("password", "") "<!-- " FIELD("username", "") " --></form>",
         "name=\"username\""},
        {CASP_PAGE_LOGON,
         "<form action=\"{{action}}\">" FIELD("destination", "")
             FIELD("flags", "") FIELD("username", "") FIELD("password", ""),
         "{{value:destination}}"},
        {CASP_PAGE_LOGON,
         "<form name=\"username\" action=\"{{action}}\">" VALUE("destination")
             FIELD("flags", "") FIELD("password", ""),
         "name=\"username\""},
        {CASP_PAGE_SSO,
         "<form action=\"{{action}}\">" VALUE("destination") VALUE("flags")
             VALUE("username") VALUE("password"),
         NULL},
        {CASP_PAGE_SSO,
         "<form action=\"{{action}}\">" VALUE("destination") VALUE("flags")
             VALUE("username") "<input name=\"password\" "
                               "value=\"{{password}}\">",
         "{{value:password}}"},
        {CASP_PAGE_SSO,
         "<form>" VALUE("destination") VALUE("flags") VALUE("username")
             VALUE("password"),
         "{{action}}"},
    };
    casp_pages_t *pages;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_says(load_one(cases[i].page, cases[i].text, &pages),
                    cases[i].says);
}

static void the_script_is_sent_as_it_is(void **state)
{
    casp_pages_t *pages;
    const char *ours = casp_pages_file(builtin, CASP_PAGE_SCRIPT);

    (void)state;
    assert_non_null(strstr(ours, "logonForm"));
    assert_null(strstr(ours, "eval"));
    assert_null(load_one(CASP_PAGE_SCRIPT, "var a = {{b}};", &pages));
    assert_string_equal(casp_pages_file(pages, CASP_PAGE_SCRIPT),
                        "var a = {{b}};");
}

/* ------------------------------------------------------ the built-in pages */

/* Every page of every action has a title and a text. */
static void every_action_has_its_texts(void **state)
{
    (void)state;
    for (int a = CASP_ACTION_MANUAL_REDIRECT; a < CASP_ACTION_COUNT; a++) {
        const char *name = casp_action_name((casp_action_e)a);
        if (a == CASP_ACTION_EAS_REDIRECT
            || a == CASP_ACTION_AUTODISCOVER_REDIRECT
            || a == CASP_ACTION_AUTODISCOVER_ANSWER)
            continue; /* for devices and programs, without a page */
        assert_non_null(casp_pages_text(builtin, "en",
                                        apr_pstrcat(pool, name, ".title",
                                                    NULL)));
        assert_non_null(casp_pages_text(builtin, "en",
                                        apr_pstrcat(pool, name, ".text",
                                                    NULL)));
    }
}

static const char *builtin_text(const char *name)
{
    for (const casp_builtin_page_t *b = casp_builtin_pages; b->name; b++) {
        if (!strcmp(b->name, name))
            return b->text;
    }
    fail_msg("%s is not built in", name);
    return NULL;
}

/* The keys of a file of texts; a key that stands twice, or is empty, fails. */
static apr_hash_t *keys_of(const char *name)
{
    apr_hash_t *keys = apr_hash_make(pool);
    char *last, *copy = apr_pstrdup(pool, builtin_text(name));

    for (char *line = apr_strtok(copy, "\n", &last); line;
         line = apr_strtok(NULL, "\n", &last)) {
        char *equals = strstr(line, " = ");
        if (*line == '#')
            continue;
        if (!equals || !equals[3])
            fail_msg("%s: %s", name, line);
        *equals = '\0';
        if (apr_hash_get(keys, line, APR_HASH_KEY_STRING))
            fail_msg("%s has %s twice", name, line);
        apr_hash_set(keys, line, APR_HASH_KEY_STRING, equals + 3);
    }
    return keys;
}

static void languages_have_the_same_keys(void **state)
{
    static const char *const names[] = {"messages.en", "messages.de",
                                        "messages.ru"};

    (void)state;
    for (size_t a = 0; a < COUNT(names); a++) {
        apr_hash_t *keys = keys_of(names[a]);
        assert_true(apr_hash_count(keys) > 60);
        for (size_t b = 0; b < COUNT(names); b++) {
            apr_hash_t *others = keys_of(names[b]);
            for (apr_hash_index_t *i = apr_hash_first(pool, keys); i;
                 i = apr_hash_next(i)) {
                const char *key = apr_hash_this_key(i);
                if (!apr_hash_get(others, key, APR_HASH_KEY_STRING))
                    fail_msg("%s of %s is missing in %s", key, names[a],
                             names[b]);
            }
        }
    }
}

static void templates_name_texts_that_exist(void **state)
{
    static const char *const names[] = {CASP_PAGE_PLAIN, CASP_PAGE_LOGON,
                                        CASP_PAGE_SSO};
    apr_hash_t *keys = keys_of("messages.en");
    int found = 0;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        const char *at = builtin_text(names[i]);
        for (; (at = strstr(at, "{{t:")) != NULL; at++, found++) {
            const char *key = apr_pstrndup(pool, at + 4, strcspn(at + 4, "}"));
            if (!apr_hash_get(keys, key, APR_HASH_KEY_STRING))
                fail_msg("%s: no text %s", names[i], key);
        }
    }
    assert_true(found > 20);
}

static int count(const char *in, const char *what)
{
    int n = 0;

    for (; (in = strstr(in, what)) != NULL; in++)
        n++;
    return n;
}

/* What monitors, mail programs and browsers look for. */
static void the_logon_page_is_complete(void **state)
{
    static const char *const once[] = {
        "{57A118C6-2DA9-419d-BE9A-F92B0F9A418B}",
        "<form name=\"logonForm\" id=\"logonForm\" action=\"/owa/auth.owa\" "
        "method=\"POST\" enctype=\"application/x-www-form-urlencoded\"",
        "<form",
        "name=\"destination\" "
        "value=\"https://mail.test/owa/?a=1&amp;b=2\">",
        "name=\"flags\"",
        "name=\"forcedownlevel\" value=\"0\"",
        "name=\"isUtf8\" value=\"1\"",
        "name=\"passwordText\" value=\"\"",
        "name=\"username\"",
        "type=\"password\"",
        "name=\"password\"",
        "name=\"chkBsc\"",
        "value=\"0\" checked",
        "value=\"4\"",
        "type=\"submit\"",
        "var a_fRC = 0; a_fRC = 1;",
        "var g_fFcs",
        "var "
        "a_fLOff",
        "var a_fCAC",
        "var a_sUrl = \"https://mail.test/owa/?a=1"
        "\\u0026b=2\";",
        "var a_sLgn",
        "var a_sCW",
        "<script nonce=\"n0nce\">",
        "<script src=\"/owa/auth/flogon.js\" nonce=\"n0nce\" defer>",
        "lang=\"de\"",
        "Dom\xc3\xa4ne\\Benutzername",
        "role=\"alert\">Der "
        "Benutzername",
        "autocomplete=\"username\"",
        "autocomplete=\"current-password\""};
    const casp_page_var_t vars[] = {
        {"language", "de"},
        {"nonce", "n0nce"},
        {"action", "/owa/auth.owa"},
        {"destination", "https://mail.test/owa/?a=1&b=2"},
        {"script", "/owa/auth/flogon.js"},
        {"format_domain", "1"},
        {"why2", "1"},
        {"replace", "1"},
        {NULL, NULL}};
    const char *page =
        casp_pages_render(pool, builtin, CASP_PAGE_LOGON, "de", vars);

    (void)state;
    for (size_t i = 0; i < COUNT(once); i++) {
        if (count(page, once[i]) != 1)
            fail_msg("%d times: %s", count(page, once[i]), once[i]);
    }
    assert_int_equal(count(page, "name=\"trusted\""), 2);
    assert_int_equal(count(page, "aria-describedby=\"why\""), 2);
    assert_null(strstr(page, "{{"));
    /* nothing that a strict policy would refuse */
    assert_null(strstr(page, " style="));
    assert_null(strstr(page, " onclick="));
    assert_null(strstr(page, " onsubmit="));
    assert_null(strstr(page, "src=\"http"));
    assert_null(strstr(page, "href="));
}

static void only_the_reason_given_is_told(void **state)
{
    (void)state;
    for (int why = 0; why <= 4; why++) {
        const char *name = apr_psprintf(pool, "why%d", why);
        const casp_page_var_t vars[] = {{name, "1"}, {NULL, NULL}};
        const char *page =
            casp_pages_render(pool, builtin, CASP_PAGE_LOGON, "en", vars);
        assert_int_equal(count(page, "id=\"why\""), why ? 1 : 0);
        for (int k = 1; k <= 4; k++) {
            const char *text =
                casp_pages_text(builtin, "en",
                                apr_psprintf(pool, "form.why%d", k));
            assert_int_equal(strstr(page, text) != NULL, k == why);
        }
    }
}

static void the_carrying_form_keeps_a_password(void **state)
{
    const casp_page_var_t vars[] = {
        {"language", "en"},
        {"nonce", "n0nce"},
        {"action", "https://munich.test/owa/auth.owa"},
        {"destination", "https://munich.test/owa/"},
        {"target", "munich.test"},
        {"flags", "4"},
        {"username", "CONTOSO\\ada"},
        {"password", "p'q<r& s\""},
        {"trusted", "4"},
        {"modern", "1"},
        {NULL, NULL}};
    const char *page =
        casp_pages_render(pool, builtin, CASP_PAGE_SSO, "en", vars);
    static const char *const once[] = {
        "<form name=\"logonForm\" id=\"logonForm\" "
        "action=\"https://munich.test/owa/auth.owa\" method=\"post\" "
        "target=\"_top\"",
        "name=\"password\" value=\"p'q<r& s&quot;\">",
        "name=\"username\" value=\"CONTOSO\\ada\">",
        "name=\"destination\" value=\"https://munich.test/owa/\">",
        "name=\"flags\" value=\"4\">",
        "name=\"trusted\" value=\"4\">",
        "name=\"forcedownlevel\" value=\"0\">",
        "name=\"isUtf8\" value=\"1\">",
        "name=\"passwordText\" value=\"\">",
        "<button type=\"submit\"",
        "<script nonce=\"n0nce\">",
        "<title>Continue</title>",
        ">munich.test<"};

    (void)state;
    for (size_t i = 0; i < COUNT(once); i++) {
        if (count(page, once[i]) != 1)
            fail_msg("%d times: %s", count(page, once[i]), once[i]);
    }
    assert_int_equal(count(page, "<form"), 1);
    assert_null(strstr(page, "SubmitCreds"));
    assert_null(strstr(page, "{{"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_escaped),
        cmocka_unit_test(attributes_keep_what_html_can_bear),
        cmocka_unit_test(scripts_get_strings),
        cmocka_unit_test(sections_follow_values),
        cmocka_unit_test(texts_fall_back_to_english),
        cmocka_unit_test(a_folder_replaces_single_texts),
        cmocka_unit_test(the_readers_language_is_found),
        cmocka_unit_test(broken_templates_are_told),
        cmocka_unit_test(a_broken_folder_is_named),
        cmocka_unit_test(forms_must_hold_their_fields),
        cmocka_unit_test(the_script_is_sent_as_it_is),
        cmocka_unit_test(every_action_has_its_texts),
        cmocka_unit_test(languages_have_the_same_keys),
        cmocka_unit_test(templates_name_texts_that_exist),
        cmocka_unit_test(the_logon_page_is_complete),
        cmocka_unit_test(only_the_reason_given_is_told),
        cmocka_unit_test(the_carrying_form_keeps_a_password),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
