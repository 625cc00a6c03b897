/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a whole configuration is held to, after its lines were read: merged
 * with an outer scope's, checked against the files and the sections that it
 * speaks of, and its secrets read.
 */

#include "goodlines.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/casp-settings-XXXXXX";

/* ------------------------------------------------------------------ merge */

static void merge(const casp_config_t *base, const casp_config_t *add,
                  casp_config_t *merged)
{
    merged->settings =
        casp_settings_merge(pool, base->settings, add->settings);
    merged->dir = casp_dir_settings_merge(pool, base->dir, add->dir);
}

static void test_merge_each(void **state)
{
    (void)state;
    casp_config_t none, one, two, merged;
    assert_null(read_into("", &none));
    assert_string_equal(dump_of(&none), "");
    for (int i = 0; i < NGOOD; i++) {
        assert_null(read_into(good[i].line, &one));
        merge(&none, &one, &merged);
        assert_string_equal(dump_of(&merged), dumped(i));
        merge(&one, &none, &merged);
        assert_string_equal(dump_of(&merged), dumped(i));
        for (int j = 0; j < NGOOD; j++) {
            const char *other =
                apr_pstrmemdup(pool, dumped(j), strcspn(dumped(j), " ") + 1);
            bool same = !strncmp(dumped(i), other, strlen(other));
            if (same && !strstr(dumped(i), "CasProxyTimeout")) {
                assert_null(read_into(good[j].line, &two));
                merge(&one, &two, &merged);
                assert_string_equal(dump_of(&merged), dumped(j));
            }
        }
        apr_pool_clear(pool);
        assert_null(read_into("", &none));
    }
}

static void test_merge_parts(void **state)
{
    (void)state;
    static const struct {
        const char *base, *add, *want;
    } cases[] = {
        {"CasProxyDirectoryPool min=1 ttl=9", "CasProxyDirectoryPool min=2",
         "CasProxyDirectoryPool min=2 ttl=9"},
        {"CasProxyFormsTimeout public=1h", "CasProxyFormsTimeout private=2h",
         "CasProxyFormsTimeout public=1h private=2h"},
        {"CasProxyAuth Forms Basic", "CasProxyAuth Forms",
         "CasProxyAuth Forms"},
        {"CasProxyTimeout OWA 1\nCasProxyTimeout EWS 2",
         "CasProxyTimeout "
         "OWA 3",
         "CasProxyTimeout OWA 3\nCasProxyTimeout EWS 2"},
        /* a repeatable one's lines replace those of the outer scope */
        {"CasProxyMountedSite A x\nCasProxyMountedSite B x",
         "CasProxyMountedSite C y", "CasProxyMountedSite C y"},
        {"CasProxyBackendHosts a b",
         "CasProxyBackendHosts c\n"
         "CasProxyBackendHosts d",
         "CasProxyBackendHosts c d"},
        /* a bind is one thing */
        {"CasProxyDirectoryBind a file:/x", "CasProxyDirectoryBind GSSAPI",
         "CasProxyDirectoryBind GSSAPI"},
        {"CasProxyDirectoryBind GSSAPI /k", "CasProxyDirectoryBind a env:B",
         "CasProxyDirectoryBind a env:B"},
        {"CasProxySite A\nCasProxySSO Off", "CasProxySSO On",
         "CasProxySite A\nCasProxySSO On"},
        /* so is whoever verifies NTLM: no helper of an outer scope */
        {"CasProxyNTLMVerify Winbind /a -b", "CasProxyNTLMVerify Directory",
         "CasProxyNTLMVerify Directory"},
        {"CasProxyNTLMVerify Winbind /a -b", "CasProxyNTLMVerify Winbind",
         "CasProxyNTLMVerify Winbind"},
        {"CasProxyNTLMVerify Winbind /a -b\nCasProxyKeytab /k",
         "CasProxyKeytab /l",
         "CasProxyKeytab /l\n"
         "CasProxyNTLMVerify Winbind /a -b"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        casp_config_t base, add, merged;
        assert_null(read_into(cases[i].base, &base));
        assert_null(read_into(cases[i].add, &add));
        merge(&base, &add, &merged);
        assert_string_equal(dump_of(&merged), cases[i].want);
    }
    casp_config_t c;
    assert_null(read_into("CasProxyDirectoryBind a file:/x\n"
                          "CasProxyDirectoryBind GSSAPI",
                          &c));
    assert_null(c.settings->bind_name);
    assert_null(c.settings->bind_secret);
    assert_null(read_into("CasProxyNTLMVerify Winbind /a -b\n"
                          "CasProxyNTLMVerify Directory",
                          &c));
    assert_null(c.settings->ntlm_helper);
}

/* ------------------------------------------------------------------ check */

static const char *file_with(const char *name, const char *data,
                             apr_size_t len, int mode)
{
    const char *path = apr_pstrcat(pool, folder, "/", name, NULL);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
    chmod(path, (mode_t)mode);
    return path;
}

#define LDAPS "CasProxyDirectory ldaps://dc1\n"
#define BIND LDAPS "CasProxyDirectoryBind svc file:@/good\n"
#define LDIF "CasProxyDirectory ldif:@/good\n"

/* "@" is the folder; NULL: no error, no warning. */
static const struct {
    const char *text, *error, *warning;
} checks[] = {
    {"", "CasProxyDirectory is missing", NULL},
    {LDIF, NULL, NULL},
    {"CasProxyDirectory ldapi:///", NULL, NULL},
    {"CasProxyDirectory ldif:@/none", "@/none cannot be found", NULL},
    {"CasProxyDirectory ldif:@", "is no file", NULL},
    {LDIF "CasProxyDirectoryBind a file:@/none", NULL,
     "CasProxyDirectoryBind does nothing"},
    {LDIF "CasProxyGlobalCatalog ldaps://gc", NULL,
     "CasProxyGlobalCatalog does nothing"},
    {LDAPS, "CasProxyDirectoryBind is missing", NULL},
    {BIND, NULL, NULL},
    {LDAPS "CasProxyDirectoryBind GSSAPI", NULL, NULL},
    {LDAPS "CasProxyDirectoryBind GSSAPI @/none", "@/none cannot be found",
     NULL},
    {LDAPS "CasProxyDirectoryBind a file:@/none", "@/none cannot be found",
     NULL},
    {LDAPS "CasProxyDirectoryBind a file:@", "is no file", NULL},
    {LDAPS "CasProxyDirectoryBind a file:@/open", NULL, "chmod 600"},
    {LDAPS "CasProxyDirectoryBind a 'exec:@/good x'", "cannot be executed",
     NULL},
    {LDAPS "CasProxyDirectoryBind a 'exec:/bin/echo x y'", NULL, NULL},
    {LDAPS "CasProxyDirectoryBind a env:CASP_NOT_SET", NULL,
     "CASP_NOT_SET is not in this environment"},
    {"CasProxyDirectory ldap://dc1\nCasProxyDirectoryBind GSSAPI",
     "CasProxyDirectoryTLS is missing", NULL},
    {BIND "CasProxyGlobalCatalog ldap://gc", "CasProxyDirectoryTLS is missing",
     NULL},
    {"CasProxyDirectory ldap://dc1\nCasProxyDirectoryBind GSSAPI\n"
     "CasProxyDirectoryTLS Off",
     NULL, NULL},
    {BIND "CasProxyDirectoryCAFile @/none", "CasProxyDirectoryCAFile: @/none",
     NULL},
    {BIND "CasProxyDirectoryPool min=5", "out of order", NULL},
    {BIND "CasProxyDirectoryPool hmax=3", "out of order", NULL},
    {BIND "CasProxyDirectoryPool min=4 hmax=4", NULL, NULL},
    {LDIF "CasProxyFrontEnd 2010\nCasProxyCrossSiteRedirectType Silent", NULL,
     "a front of 2010 always redirects with a page"},
    {LDIF "CasProxyFrontEnd 2013\nCasProxyCrossSiteRedirectType Manual", NULL,
     "a front of 2013 always redirects silently"},
    {LDIF "CasProxyFrontEnd 2013\nCasProxyCrossSiteRedirectType Silent", NULL,
     NULL},
    {LDIF "CasProxyFrontEnd 2010SP3\nCasProxyCrossSiteRedirectType Silent",
     NULL, NULL},
    {LDIF "CasProxyFormsTimeout private=5m",
     "private=5m is shorter than public=15m", NULL},
    {LDIF "CasProxyFormsTimeout public=9h", "shorter than public=9h", NULL},
    {LDIF "CasProxyFormsTimeout public=8h", NULL, NULL},
    {LDIF "CasProxyFormsTimeout public=3s private=3s", NULL, NULL},
    {BIND "CasProxyRequireTLS Off", NULL, "passwords over plain http"},
    {BIND "CasProxyRequireTLS Forwarded", NULL, NULL},
    {LDIF "CasProxyFormsKey file:@/good", NULL, NULL},
    {LDIF "CasProxyFormsKey file:@", "is no regular file", NULL},
    {LDIF "CasProxyFormsKey file:@/open", "@/open is open to others", NULL},
    {LDIF "CasProxyFormsKey file:/nowhere/ring",
     "CasProxyFormsKey: /nowhere/ring cannot be found", NULL},
    {LDIF "CasProxyLogonFormat UserName", NULL, "CasProxyDefaultDomain"},
    {LDIF "CasProxyLogonFormat UserName\nCasProxyDefaultDomain C", NULL, NULL},
    {LDIF "CasProxyExternalURL http://x", NULL, "CasProxyRequireTLS"},
    {LDIF "CasProxyAutodiscover Answer", NULL, "CasProxyExternalURL"},
    {LDIF "CasProxyAutodiscover Answer\nCasProxyExternalURL https://x", NULL,
     NULL},
    {LDIF "CasProxyExternalURL http://x\nCasProxyRequireTLS Off", NULL, NULL},
    {LDIF "CasProxyPages @/none", "CasProxyPages: @/none", NULL},
    {LDIF "CasProxyPages @/good", "is no folder", NULL},
    {LDIF "CasProxyPages @", NULL, NULL},
    {LDIF "CasProxyBackendHosts *.x *.*", NULL, "CasProxyBackendHosts *.*"},
    {LDIF "CasProxyKeytab @/good", NULL, NULL},
    {LDIF "CasProxyKeytab @/open", NULL, NULL}, /* to its group */
    {LDIF "CasProxyKeytab @/world", NULL, "everybody may read @/world"},
    {LDIF "CasProxyKeytab @/none",
     "CasProxyKeytab: @/none cannot be found; correct the path", NULL},
    {LDIF "CasProxyKeytab @", "CasProxyKeytab: @ is no file", NULL},
    {LDIF "CasProxyNTLMVerify Winbind", NULL, NULL},
    {LDIF "CasProxyNTLMVerify Directory", "an export can verify nobody", NULL},
    {BIND "CasProxyNTLMVerify Directory", NULL, NULL},
    {"CasProxyDirectory ldapi:///\nCasProxyNTLMVerify Directory",
     "not over ldapi://", NULL},
    {"CasProxyDirectory ldaps://a ldap://b\nCasProxyDirectoryBind GSSAPI\n"
     "CasProxyDirectoryTLS Off\nCasProxyNTLMVerify Directory",
     "over plain ldap://", NULL},
    {"CasProxyDirectory ldap://b\nCasProxyDirectoryBind GSSAPI\n"
     "CasProxyDirectoryTLS StartTLS\nCasProxyNTLMVerify Directory",
     NULL, NULL},
};

/* What sections ask for, against what the server has. */
static const struct {
    const char *text;
    int schemes, backends;
    const char *error, *warning;
} auth_checks[] = {
    {LDIF, CASP_SCHEME_FORMS | CASP_SCHEME_BASIC, 0, NULL, NULL},
    {LDIF, CASP_SCHEME_NONE, 1 << CASP_BACKENDAUTH_NONE, NULL, NULL},
    {LDIF "CasProxyNTLMVerify Winbind @/run", CASP_SCHEME_NEGOTIATE, 0, NULL,
     "CasProxyAuth Negotiate without CasProxyKeytab"},
    {LDIF "CasProxyKeytab @/good", CASP_SCHEME_NEGOTIATE, 0, NULL, NULL},
    {LDIF "CasProxyKeytab @/good\nCasProxyNTLMVerify Winbind @/none",
     CASP_SCHEME_NEGOTIATE, 0, NULL, NULL},
    {LDIF "CasProxyNTLMVerify Winbind @/run -x", CASP_SCHEME_NTLM, 0, NULL,
     NULL},
    {LDIF "CasProxyNTLMVerify Winbind @/none -x", CASP_SCHEME_NTLM, 0, NULL,
     "@/none cannot be found, and NTLM logons will be refused until"},
    {LDIF "CasProxyNTLMVerify Winbind @/none", CASP_SCHEME_NEGOTIATE, 0, NULL,
     "@/none cannot be found"},
    {LDIF "CasProxyNTLMVerify Winbind @/good", CASP_SCHEME_NTLM, 0, NULL,
     "@/good cannot be executed"},
    {LDIF "CasProxyNTLMVerify Winbind @", CASP_SCHEME_NTLM, 0, NULL,
     "@ is no program"},
    {BIND "CasProxyNTLMVerify Directory", CASP_SCHEME_NTLM, 0, NULL, NULL},
    {LDIF, CASP_SCHEME_BASIC, 1 << CASP_BACKENDAUTH_DELEGATE,
     "CasProxyBackendAuth Delegate needs CasProxyKeytab", NULL},
    {LDIF "CasProxyKeytab @/good", CASP_SCHEME_BASIC,
     1 << CASP_BACKENDAUTH_DELEGATE | 1 << CASP_BACKENDAUTH_AUTO, NULL, NULL},
};

static const char *with_folder(const char *text)
{
    const char *at = text ? strchr(text, '@') : NULL;
    return at ? apr_pstrcat(pool,
                            apr_pstrmemdup(pool, text,
                                           (apr_size_t)(at - text)),
                            folder, with_folder(at + 1), NULL)
              : text;
}

static void expect(const char *text, const apr_array_header_t *list,
                   const char *want)
{
    const char *all = apr_array_pstrcat(pool, list, '\n');
    if (!want ? list->nelts : !strstr(all, with_folder(want))) {
        fail_msg("%s\nwanted: %s\ngot: %s", text, want ? want : "nothing",
                 all);
    }
}

static void test_check(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(checks) / sizeof(*checks); i++) {
        apr_array_header_t *errors = apr_array_make(pool, 2, sizeof(char *));
        apr_array_header_t *warnings = apr_array_make(pool, 2, sizeof(char *));
        casp_config_t c;
        file_with("good", "secret\n", 7, 0600);
        file_with("open", "secret\n", 7, 0640);
        file_with("world", "secret\n", 7, 0644);
        const char *wrong = read_into(with_folder(checks[i].text), &c);
        if (wrong) {
            fail_msg("%s: %s", checks[i].text, wrong);
        }
        casp_settings_check(pool, c.settings, errors, warnings);
        expect(checks[i].text, errors, checks[i].error);
        expect(checks[i].text, warnings, checks[i].warning);
    }
}

static void test_check_auth(void **state)
{
    (void)state;
    file_with("good", "secret\n", 7, 0600);
    file_with("run", "secret\n", 7, 0755);
    for (size_t i = 0; i < sizeof(auth_checks) / sizeof(*auth_checks); i++) {
        apr_array_header_t *errors = apr_array_make(pool, 2, sizeof(char *));
        apr_array_header_t *warnings = apr_array_make(pool, 2, sizeof(char *));
        casp_config_t c;
        assert_null(read_into(with_folder(auth_checks[i].text), &c));
        casp_settings_check_auth(pool, c.settings, auth_checks[i].schemes,
                                 auth_checks[i].backends, errors, warnings);
        expect(auth_checks[i].text, errors, auth_checks[i].error);
        expect(auth_checks[i].text, warnings, auth_checks[i].warning);
    }
}

/* ---------------------------------------------------------------- secrets */

static void secret_is(const char *reference, const char *want)
{
    const char *secret = NULL;
    const char *wrong = casp_secret_read(pool, reference, &secret);
    if (wrong) {
        fail_msg("%s", wrong);
    }
    assert_string_equal(secret, want);
}

static void secret_fails(const char *reference, const char *part)
{
    const char *secret = "x";
    const char *wrong = casp_secret_read(pool, reference, &secret);
    assert_null(secret);
    if (!wrong || !strstr(wrong, part)) {
        fail_msg("%s: %s", reference, wrong ? wrong : "read");
    }
    assert_null(strstr(wrong, "hunter2"));
}

static const char *file_ref(const char *data, apr_size_t len)
{
    return apr_pstrcat(pool, "file:", file_with("s", data, len, 0600), NULL);
}

static void test_secret(void **state)
{
    (void)state;
    char *big = apr_pcalloc(pool, 65538);
    memset(big, 'a', 65537);
    secret_is(file_ref("pw", 2), "pw");
    secret_is(file_ref("pw\n", 3), "pw");
    secret_is(file_ref(" p w \r\n", 7), " p w ");
    secret_is(file_ref("pw\n\n", 4), "pw\n");
    secret_fails(file_ref("", 0), "is empty");
    secret_fails(file_ref("\n", 1), "is empty");
    secret_fails(file_ref("hunter2\0x", 9), "NUL");
    secret_fails(file_ref(big, 65537), "64 KiB");
    secret_fails(apr_pstrcat(pool, "file:", folder, "/none", NULL),
                 "cannot be opened");
    secret_fails(apr_pstrcat(pool, "file:", folder, NULL), "regular file");
    const char *fifo = apr_pstrcat(pool, folder, "/fifo", NULL);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    secret_fails(apr_pstrcat(pool, "file:", fifo, NULL), "regular file");
    setenv("CASP_TEST_SECRET", "from env", 1);
    secret_is("env:CASP_TEST_SECRET", "from env");
    unsetenv("CASP_TEST_SECRET");
    secret_fails("env:CASP_TEST_SECRET", "not in the environment");
    secret_fails("hunter2", "must be a reference");
    secret_fails("", "must be a reference");
    secret_is("exec:/bin/echo pass  word", "pass word");
    secret_is("exec:/bin/echo $(id);x", "$(id);x");
    secret_fails("exec:/bin/false", "exit code 1");
    secret_fails("exec:/bin/none-such", "could not be run");
    secret_fails("exec:/bin/true", "is empty");
    secret_fails("exec:/usr/bin/head -c 70000 /dev/zero", "64 KiB");
    secret_fails("exec:/usr/bin/head -c 7 /dev/zero", "NUL");
}

/* A command that waits is ended in time, and so is what it started. */
static void test_secret_bound(void **state)
{
    (void)state;
    static const char script[] = "#!/bin/sh\nsleep 61 &\necho hunter2\n"
                                 "exec sleep 60\n";
    const char *path = file_with("wait", script, sizeof(script) - 1, 0700);
    apr_time_t start = apr_time_now();
    secret_fails(apr_pstrcat(pool, "exec:", path, NULL), "ten seconds");
    apr_interval_time_t took = apr_time_now() - start;
    assert_true(took > apr_time_from_sec(9) && took < apr_time_from_sec(15));
}

static int remove_folder(void **state)
{
    static const char *const names[] = {"good", "open", "world", "run",
                                        "s",    "fifo", "wait"};
    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        char path[80];
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_merge_each, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check_auth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secret, setup, teardown),
        cmocka_unit_test_setup_teardown(test_secret_bound, setup, teardown),
    };
    if (apr_initialize() != APR_SUCCESS || !mkdtemp(folder)) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, remove_folder);
    apr_terminate();
    return failed;
}
