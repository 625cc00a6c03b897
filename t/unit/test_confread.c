/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The reader of configuration text: httpd's lines and quotes, locations, the
 * virtual host that was asked for, and everything that is refused by name.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "settings.h"

static apr_pool_t *pool;

static int setup(void **state)
{
    (void)state;
    return apr_pool_create(&pool, NULL) == APR_SUCCESS ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    apr_pool_destroy(pool);
    return 0;
}

/* Lines, and the site that they set; NULL: none. */
static const struct {
    const char *text, *site;
} lines[] = {
    {"", NULL},
    {"\n\n  \n# CasProxySite X\n   # CasProxySite X", NULL},
    {"CasProxySite Berlin", "Berlin"},
    {"\xef\xbb\xbf"
     "CasProxySite Berlin",
     "Berlin"},
    {"  \tcasproxysite\t\tBerlin  \r\n", "Berlin"},
    {"CasProxySite A\nCasProxySite B", "B"},
    {"CasProxySite \\\n  Berlin\n", "Berlin"},
    {"CasProxy\\\r\nSite Ber\\\r\nlin\r\n", "Berlin"},
    {"CasProxySite Ber\\\n\\\nlin", "Berlin"},
    {"CasProxySite Berlin\\\n", "Berlin"},
    {"# comment \\\nCasProxySite X\nCasProxySite Y", "Y"},
    {"CasProxySite \"New York\"", "New York"},
    {"CasProxySite 'New York'", "New York"},
    {"CasProxySite \"a\\\"b\"", "a\"b"},
    {"CasProxySite 'a\\'b'", "a'b"},
    {"CasProxySite 'a\\\"b'", "a\\\"b"},
    {"CasProxySite \"a\\\\b\"", "a\\b"},
    {"CasProxySite \"a\\b\"", "a\\b"},
    {"CasProxySite a\\b", "a\\b"},
    {"CasProxySite a\\\\b", "a\\b"},
    {"CasProxySite a\"b", "a\"b"},
    {"CasProxySite \"no end", "no end"},
    {"\"CasProxySite\" x", "x"},
    {"ServerName x\nLogFormat \"%{${X}}e\" c\nErrorLog ${DIR}/log\n"
     "CasProxySite B\nCasProxying",
     "?"},
    {"ServerName x\nErrorLog ${DIR}/log\nCasProxySite B\n", "B"},
    {"IncludeThing x\nCasProxySite B\n", "B"},
};

static void test_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        casp_config_t c;
        const char *wrong = casp_config_read(pool, lines[i].text, NULL, &c);
        if (lines[i].site && !strcmp(lines[i].site, "?")) {
            assert_non_null(wrong);
            continue;
        }
        if (wrong) {
            fail_msg("%s: %s", lines[i].text, wrong);
        }
        if (!lines[i].site || !c.settings->site) {
            assert_ptr_equal(lines[i].site, c.settings->site);
            continue;
        }
        assert_string_equal(c.settings->site, lines[i].site);
    }
}

/* Text, the beginning of what is said about it, and a word that it names. */
static const struct {
    const char *text, *line, *word;
} refused[] = {
    {"\nCasProxySite ${SITE}", "line 2: ", "${SITE}"},
    {"CasProxySite a${b", "line 1: ", "${b"},
    {"<Location ${PATH}>\n</Location>", "line 1: ", "${PATH}"},
    {"${CASPROXY} On", "line 1: ", "${CASPROXY}"},
    {"# x\n\nInclude other.conf", "line 3: ", "Include"},
    {"includeoptional x", "line 1: ", "includeoptional"},
    {"Define SITE Berlin", "line 1: ", "Define"},
    {"UnDefine SITE", "line 1: ", "UnDefine"},
    {"Use Macro x", "line 1: ", "Use"},
    {"<IfModule mod_ssl.c>\n</IfModule>", "line 1: ", "<IfModule>"},
    {"<IfDefine X>", "line 1: ", "<IfDefine>"},
    {"<If \"true\">\n</If>", "line 1: ", "<If>"},
    {"<Directory />\n</Directory>", "line 1: ", "<Directory>"},
    {"<Proxy *>", "line 1: ", "<Proxy>"},
    {"<Macro x>", "line 1: ", "<Macro>"},
    {"<Location/owa>", "line 1: ", "<Location/owa>"},
    {"<Location /owa>\n<If \"1\">", "line 2: ", "<If>"},
    {"<Location /owa>\n<Location /ecp>", "line 2: ", "inside another"},
    {"<Location /owa>\nCasProxySite x\n", "line 2: ", "CasProxySite"},
    {"<Location /owa>\nCasProxy On", "line 1: ", "</Location>"},
    {"<LocationMatch a>\n</Location>", "line 2: ", "</Location>"},
    {"</Location>", "line 1: ", "</Location>"},
    {"<Location /owa\n</Location>", "line 1: ", ">"},
    {"<Location>\n</Location>", "line 1: ", "one path"},
    {"<Location /a /b>\n</Location>", "line 1: ", "one path"},
    {"<VirtualHost *:443>\n</VirtualHost>", "line 1: ", "--vhost"},
    {"CasProxyNothing x", "line 1: ", "CasProxyNothing"},
    {"CasProxyKeytabs /x", "line 1: ", "CasProxyKeytabs"},
    {"CasProxySite", "line 1: ", "CasProxySite takes SITE"},
    {"a\\\nb\nCasProxySite \\\n \\\n", "line 3: ", "CasProxySite"},
    {"<LocationMatch \"(\">\nCasProxy On\n</LocationMatch>",
     "line 1: ", "regular expression"},
    {"<LocationMatch ^/\\d>\nCasProxy On\n</LocationMatch>",
     "line 1: ", "[0-9]"},
    {"<LocationMatch (?:a)>\nCasProxy On\n</LocationMatch>",
     "line 1: ", "(?...)"},
    {"<Location ~ a+?>\nCasProxy On\n</Location>", "line 1: ", "lazy"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++) {
        casp_config_t c;
        const char *wrong = casp_config_read(pool, refused[i].text, NULL, &c);
        if (!wrong || strncmp(wrong, refused[i].line, strlen(refused[i].line))
            || !strstr(wrong, refused[i].word)) {
            fail_msg("%s\n%s", refused[i].text, wrong ? wrong : "accepted");
        }
    }
}

/* A section without a line of ours is nobody's business here. */
static void test_foreign_expression(void **state)
{
    (void)state;
    casp_config_t c;
    assert_null(casp_config_read(pool,
                                 "<LocationMatch ^/\\d>\nSetEnv x\n"
                                 "</LocationMatch>",
                                 NULL, &c));
    assert_int_equal(c.locations->nelts, 0);
}

static const char locations[] = "CasProxy On\n"
                                "CasProxyDiagnostics Off\n"
                                "<Location /owa>\n"
                                "  CasProxyDiagnostics On\n"
                                "</Location>\n"
                                "<location \"/owa/auth/\">\n"
                                "  CasProxy Off\n"
                                "</LOCATION>\n"
                                "<LocationMatch \"^/(ews|rpc)/.*[.]asmx$\">\n"
                                "  CasProxyAuth None\n"
                                "</LocationMatch>\n"
                                "<Location ~ \"(?i)^/ecp\">\n"
                                "  CasProxy Shadow\n"
                                "</Location>\n"
                                "<Location /pub*/x>\n"
                                "  CasProxy Redirect\n"
                                "</Location>\n";

static void test_locations(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int mode, diagnostics, auth;
    } cases[] = {
        {"/", CASP_MODE_ON, 0, CASP_SCHEME_FORMS},
        {"/owa", CASP_MODE_ON, 1, CASP_SCHEME_FORMS},
        {"/owa/", CASP_MODE_ON, 1, CASP_SCHEME_FORMS},
        {"/owa/x", CASP_MODE_ON, 1, CASP_SCHEME_FORMS},
        {"/owa2", CASP_MODE_ON, 0, CASP_SCHEME_FORMS},
        {"/OWA", CASP_MODE_ON, 0, CASP_SCHEME_FORMS},
        {"/owa/auth", CASP_MODE_ON, 1, CASP_SCHEME_FORMS},
        {"/owa/auth/x", CASP_MODE_OFF, 1, CASP_SCHEME_FORMS},
        {"/ews/a.asmx", CASP_MODE_ON, 0, CASP_SCHEME_NONE},
        {"/ews/a.asmx/b", CASP_MODE_ON, 0, CASP_SCHEME_FORMS},
        {"/EcP/x", CASP_MODE_SHADOW, 0, CASP_SCHEME_FORMS},
        {"/public/x", CASP_MODE_REDIRECT, 0, CASP_SCHEME_FORMS},
        {"/public/y/x", CASP_MODE_ON, 0, CASP_SCHEME_FORMS},
    };
    casp_config_t c;
    assert_null(casp_config_read(pool, locations, NULL, &c));
    assert_int_equal(c.locations->nelts, 5);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const casp_dir_settings_t *d =
            casp_config_dir_for(pool, &c, cases[i].path);
        if (d->mode != cases[i].mode || d->diagnostics != cases[i].diagnostics
            || d->auth != cases[i].auth) {
            fail_msg("%s: %d %d %d", cases[i].path, d->mode, d->diagnostics,
                     d->auth);
        }
        assert_int_equal(d->backend_auth, CASP_BACKENDAUTH_AUTO);
    }
}

static const char vhosts[] = "CasProxySite Berlin\n"
                             "CasProxyTopologyRefresh 7\n"
                             "<Location /owa>\n"
                             "CasProxyDiagnostics On\n"
                             "</Location>\n"
                             "<VirtualHost *:80>\n"
                             "  ServerName mail.contoso.test\n"
                             "  <IfModule x>\n"
                             "  </IfModule>\n"
                             "</VirtualHost>\n"
                             "<virtualhost 10.0.0.1:443 [::1]:443>\n"
                             "  ServerName mail.contoso.test\n"
                             "  ServerAlias m.contoso.test\n"
                             "  CasProxySite Munich\n"
                             "  CasProxy On\n"
                             "  <Location /owa>\n"
                             "  CasProxyDiagnostics Off\n"
                             "  </Location>\n"
                             "</VirtualHost>\n"
                             "<VirtualHost other.contoso.test:443>\n"
                             "  CasProxySite Wrong\n"
                             "  CasProxyNothing Wrong\n"
                             "</VirtualHost>\n"
                             "CasProxySSO Off\n";

static void test_vhosts(void **state)
{
    (void)state;
    static const struct {
        const char *name, *site, *wrong;
    } cases[] = {
        {"m.contoso.test", "Munich", NULL},
        {"M.CONTOSO.TEST", "Munich", NULL},
        {"mail.contoso.test:443", "Munich", NULL},
        {"10.0.0.1:443", "Munich", NULL},
        {"[::1]:443", "Munich", NULL},
        {"[::1]", "Munich", NULL},
        {"mail.contoso.test", NULL, "more than one"},
        {"*:80", NULL, "line 8: <IfModule>"},
        {"mail.contoso.test:80", NULL, "line 8: <IfModule>"},
        {"other.contoso.test:443", NULL, "line 22: "},
        {"none", NULL, "no virtual host is called \"none\""},
        {"", NULL, "no virtual host"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        casp_config_t c;
        const char *wrong = casp_config_read(pool, vhosts, cases[i].name, &c);
        if (cases[i].wrong
                ? !wrong
                      || strncmp(wrong, cases[i].wrong, strlen(cases[i].wrong))
                : wrong != NULL) {
            fail_msg("%s: %s", cases[i].name, wrong ? wrong : "accepted");
        }
        if (!wrong) {
            assert_string_equal(c.settings->site, cases[i].site);
            assert_int_equal(c.settings->topology_refresh, 7);
            assert_int_equal(c.settings->sso, CASP_SSO_OFF);
            assert_int_equal(c.dir->mode, CASP_MODE_ON);
            assert_int_equal(c.locations->nelts, 2);
            assert_int_equal(
                casp_config_dir_for(pool, &c, "/owa")->diagnostics, 0);
        }
    }
}

static void test_vhost_sections(void **state)
{
    (void)state;
    casp_config_t c;
    assert_string_equal(
        casp_config_read(pool, "<VirtualHost a>\n<VirtualHost b>\n", "a", &c),
        "line 2: a <VirtualHost> inside another one; close the first");
    assert_string_equal(
        casp_config_read(pool, "\n<VirtualHost a>\nCasProxy On", "a", &c),
        "line 2: this <VirtualHost> is never closed; write </VirtualHost>");
    assert_non_null(casp_config_read(pool, "CasProxy On", "a", &c));
    assert_non_null(strstr(
        casp_config_read(pool, "<VirtualHost b>\n</VirtualHost>", "a", &c),
        "there is \"b\""));
}

/* Anything at all: no crash, no hang, and a message where it is refused. */
static void test_noise(void **state)
{
    (void)state;
    static const char *const parts[] = {"CasProxy On",
                                        "CasProxySite ",
                                        "<Location ",
                                        "</Location>",
                                        "<",
                                        ">",
                                        "/",
                                        "\"",
                                        "'",
                                        "\\",
                                        "\n",
                                        "\r\n",
                                        " ",
                                        "\t",
                                        "${",
                                        "}",
                                        "#",
                                        "~",
                                        "<VirtualHost ",
                                        "</VirtualHost>",
                                        "a",
                                        "*",
                                        "\x80",
                                        "ServerName",
                                        "<LocationMatch ",
                                        "</LocationMatch>",
                                        "(",
                                        "[",
                                        "CasProxyAuth None"};
    unsigned seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[400] = "";
        apr_size_t used = 0;
        for (int i = 0; i < 20; i++) {
            seed = seed * 1103515245u + 12345u;
            const char *part =
                parts[(seed >> 16) % (sizeof(parts) / sizeof(*parts))];
            memcpy(text + used, part, strlen(part) + 1);
            used += strlen(part);
        }
        casp_config_t c;
        char *exact = apr_pstrdup(pool, text);
        const char *wrong =
            casp_config_read(pool, exact, round % 2 ? NULL : "a", &c);
        if (wrong) {
            assert_true(strlen(wrong) > 10);
        }
        else {
            assert_non_null(casp_config_dir_for(pool, &c, "/a"));
        }
        if (round % 100 == 0) {
            apr_pool_clear(pool);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_foreign_expression, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_locations, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vhosts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_vhost_sections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_noise, setup, teardown),
    };
    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
