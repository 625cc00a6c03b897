/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The table of directives: what each takes, what it refuses and how it says
 * so, what completing makes of it, and that the dump is the very language that
 * is read.  See goodlines.h for the lines that are taken; what a whole
 * configuration is held to is test_setwhole's.
 */

#include "goodlines.h"

static void test_good(void **state)
{
    (void)state;
    for (int i = 0; i < NGOOD; i++) {
        casp_config_t c;
        assert_null(read_into(good[i].line, &c));
        assert_string_equal(dump_of(&c), dumped(i));
        /* and what the dump says is read back as the same */
        assert_null(read_into(dumped(i), &c));
        assert_string_equal(dump_of(&c), dumped(i));
    }
}

static bool is_line_of(const char *line, const casp_directive_t *d)
{
    apr_size_t len = strlen(d->name);
    return !strncmp(line, d->name, len) && line[len] == ' ';
}

static void test_every_directive_has_a_good_line(void **state)
{
    (void)state;
    for (const casp_directive_t *d = casp_directives; d->name; d++) {
        int found = 0;
        for (int i = 0; i < NGOOD; i++) {
            found += is_line_of(dumped(i), d);
        }
        if (!found) {
            fail_msg("no good line of %s", d->name);
        }
        assert_ptr_equal(casp_directive_find(d->name), d);
        assert_true(d->min >= 1 && (d->max == 0 || d->max >= d->min));
        assert_true(d->args && d->init && d->help && d->set && d->dump);
    }
    assert_null(casp_directive_find("CasProxyNothing"));
    assert_null(casp_directive_find(""));
}

/* A line and a part of the sentence that refuses it. */
static const struct {
    const char *line, *part;
} bad[] = {
    {"CasProxy Onn", "write On, Off, Shadow or Redirect"},
    {"CasProxy", "CasProxy takes On|Off|Shadow|Redirect"},
    {"CasProxy On Off", "one word"},
    {"CasProxyDirectory ldap://", "host"},
    {"CasProxyDirectory http://dc1", "write ldaps://HOST"},
    {"CasProxyDirectory dc1", "write ldaps://HOST"},
    {"CasProxyDirectory ldaps://dc1:0", "port"},
    {"CasProxyDirectory ldaps://dc1:65536", "port"},
    {"CasProxyDirectory ldaps://dc1:", "port"},
    {"CasProxyDirectory ldaps://dc1/dc=x", "host"},
    {"CasProxyDirectory ldaps://[::1", "host"},
    {"CasProxyDirectory ldaps://dc1 LDAPS://DC1", "twice"},
    {"CasProxyDirectory ldif:export.ldif", "absolute path"},
    {"CasProxyDirectory ldif:/a ldif:/b", "join"},
    {"CasProxyDirectory ldif:/a ldaps://dc1", "stands alone"},
    {"CasProxyDirectory ldapi:///run/ldapi", "%2F"},
    {"CasProxyDirectory ldapi://%2", "%2F"},
    {"CasProxyGlobalCatalog ldif:/a", "CasProxyDirectory"},
    {"CasProxyGlobalCatalog gc", "write ldaps://"},
    {"CasProxyDirectoryBase contoso.test", "DC=example,DC=com"},
    {"CasProxyDirectoryBase DC=contoso,", "DC=example,DC=com"},
    {"CasProxyDirectoryBase DC=,DC=test", "DC=example,DC=com"},
    {"CasProxyDirectoryBase DC=a,=b", "DC=example,DC=com"},
    {"CasProxyDirectoryBind svc", "file:/etc/apache2/casproxy-bind"},
    {"CasProxyDirectoryBind svc hunter2", "chmod 600"},
    {"CasProxyDirectoryBind svc file:secret", "absolute path"},
    {"CasProxyDirectoryBind svc exec:secret", "absolute path"},
    {"CasProxyDirectoryBind svc env:", "letters"},
    {"CasProxyDirectoryBind svc env:1X", "letters"},
    {"CasProxyDirectoryBind svc env:A-B", "letters"},
    {"CasProxyDirectoryBind my svc file:/x", "quote"},
    {"CasProxyDirectoryBind '' file:/x", "DOMAIN\\user"},
    {"CasProxyDirectoryBind GSSAPI keytab", "absolute path"},
    {"CasProxyDirectoryBind GSSAPI /a /b", "nothing else"},
    {"CasProxyDirectoryTLS On", "write StartTLS or Off"},
    {"CasProxyDirectoryCAFile ca.pem", "absolute path"},
    {"CasProxyDirectoryPool 4", "min= smax= hmax= ttl="},
    {"CasProxyDirectoryPool max=4", "min= smax= hmax= ttl="},
    {"CasProxyDirectoryPool smax=0", "1 to 1000"},
    {"CasProxyDirectoryPool smax=", "1 to 1000"},
    {"CasProxyDirectoryPool smax=1001", "1 to 1000"},
    {"CasProxyDirectoryPool smax=-1", "1 to 1000"},
    {"CasProxyDirectoryPool smax=+1", "1 to 1000"},
    {"CasProxyDirectoryPool smax=0x4", "1 to 1000"},
    {"CasProxyDirectoryPool smax=4294967300", "1 to 1000"},
    {"CasProxyDirectoryPool smax=18446744073709551620", "1 to 1000"},
    {"CasProxyDirectoryPool smax=1 SMAX=1", "twice"},
    {"CasProxyDirectoryPool ttl=0", "1 to 86400"},
    {"CasProxyDirectoryTimeout connect=61", "1 to 60"},
    {"CasProxyDirectoryTimeout read=1", "connect= search= topology="},
    {"CasProxyTopologyRefresh 0", "1 to 604800"},
    {"CasProxyTopologyRefresh 5m", "1 to 604800"},
    {"CasProxyMailboxCache size=15", "16 to"},
    {"CasProxyMailboxCache ttl", "ttl= negative="},
    {"CasProxyCredentialCache 60", "ttl="},
    {"CasProxyCredentialCache ttl=86401", "0 to 86400"},
    {"CasProxySharedCache :x", "PROVIDER"},
    {"CasProxySharedCache sh/mcb", "PROVIDER"},
    {"CasProxySite ''", "site"},
    {"CasProxyFrontEnd 2010SP4", "2010SP2"},
    {"CasProxyFrontEnd 2003", "or 2019"},
    {"CasProxyExternalURL mail.contoso.test", "https://mail.example.com"},
    {"CasProxyExternalURL ftp://x/", "https://mail.example.com"},
    {"CasProxyExternalURL https://u:hunter2@x/", "user name"},
    {"CasProxyExchange2003URL https:///exchange", "https://"},
    {"CasProxyFailbackURL x", "https://"},
    {"CasProxyFailbackURL https://x ''", "site"},
    {"CasProxyFailbackURL https://x A\nCasProxyFailbackURL https://y a",
     "\"a\" has a line already"},
    {"CasProxyFailbackURL https://x\nCasProxyFailbackURL https://y",
     "without a site has a line already"},
    {"CasProxyCrossSiteRedirectType On", "Manual or Silent"},
    {"CasProxyRedirectToOptimalServer Yes", "On or Off"},
    {"CasProxyMountedSite DB", "DATABASE SITE"},
    {"CasProxyMountedSite DB ''", "site"},
    {"CasProxyMountedSite DB A\nCasProxyMountedSite db B", "already"},
    {"CasProxyRequireTLS Maybe", "On, Off or Forwarded"},
    {"CasProxySSO Yes", "On, Off, TwoFactor or PreAuth"},
    {"CasProxyLogonFormat Full", "FullDomain, PrincipalName or UserName"},
    {"CasProxyDefaultDomain CONTOSO\\x", "without any of"},
    {"CasProxyDefaultDomain @x", "without any of"},
    {"CasProxyPages pages", "absolute path"},
    {"CasProxyBackendHosts https://x", "*.example.com"},
    {"CasProxyBackendHosts a/b", "*.example.com"},
    {"CasProxyBackendMap x:443 https://y", "without scheme and port"},
    {"CasProxyBackendMap x y", "https://"},
    {"CasProxyBackendMap x imaps://y", "imap://, pop3://"},
    {"CasProxyBackendMap x imap://", "https://"},
    {"CasProxyBackendMap x imap://u:hunter2@y", "user name"},
    {"CasProxyBackendMap x imap://y/INBOX", "path comes from"},
    {"CasProxyBackendMap x imap://y\nCasProxyBackendMap x https://y\n"
     "CasProxyBackendMap X imap://z",
     "already"},
    {"CasProxyBackendMap x http://y\nCasProxyBackendMap x https://y",
     "already"},
    {"CasProxyActiveSyncRedirect On", "12.1, 14.0 or 16.1, 0 for all, or Off"},
    {"CasProxyActiveSyncRedirect 14.", "no version"},
    {"CasProxyActiveSyncRedirect .5", "no version"},
    {"CasProxyActiveSyncRedirect 140", "no version"},
    {"CasProxyActiveSyncRedirect 14.10", "no version"},
    {"CasProxyActiveSyncRedirect -1", "no version"},
    {"CasProxyAutodiscover On", "write Pass or Answer"},
    {"CasProxyBackendMap x https://y/owa", "path comes from"},
    {"CasProxyBackendMap x https://y\nCasProxyBackendMap X https://z",
     "already"},
    {"CasProxyBackendPool hmax=0", "1 to"},
    {"CasProxyBackendPool max=1", "hmax= ttl= acquire="},
    {"CasProxyStateDir state", "absolute path"},
    {"CasProxyTimeout IMAP 5", "OWA, ECP, EAS"},
    {"CasProxyTimeout OWA 0", "1 to 86400"},
    {"CasProxyTimeout OWA 5\nCasProxyTimeout owa 6", "already"},
    {"CasProxyPublish All", "OWA, ECP, EAS"},
    {"CasProxyPublish OWA owa", "twice"},
    {"CasProxyUrlPolicy On", "Enforce, Log or Off"},
    {"CasProxyFormsKey /etc/casproxy/ring", "write file:/PATH"},
    {"CasProxyFormsKey file:ring", "/"},
    {"CasProxyFormsKey env:KEY", "write file:/PATH"},
    {"CasProxyFormsKey hunter2", "do not belong into the configuration"},
    {"CasProxyFormsKey file:hunter2", "absolute path"},
    {"CasProxyFormsTimeout 15m", "write KEY=TIME with any of public="},
    {"CasProxyFormsTimeout public=15",
     "public \"15\" has no unit; write a number and its unit"},
    {"CasProxyFormsTimeout private=1h30m", "a number and its unit"},
    {"CasProxyFormsTimeout private=1.5h", "a number and its unit"},
    {"CasProxyFormsTimeout 'private=5 m'", "a number and its unit"},
    {"CasProxyFormsTimeout private=43201m", "from 2s to 30d"},
    {"CasProxyFormsTimeout private=18446744073709551620s", "from 2s to 30d"},
    {"CasProxyFormsTimeout public=15w", "a number and its unit"},
    {"CasProxyFormsTimeout public=m", "a number and its unit"},
    {"CasProxyFormsTimeout public=1s", "from 2s to 30d"},
    {"CasProxyFormsTimeout private=31d", "from 2s to 30d"},
    {"CasProxyFormsTimeout private=999999999999d", "from 2s to 30d"},
    {"CasProxyFormsTimeout private=-1h", "a number and its unit"},
    {"CasProxyFormsTimeout private=8h private=8h", "twice"},
    {"CasProxyFormsTimeout both=8h", "not known"},
    {"CasProxyAuth None Forms", "stands alone"},
    {"CasProxyAuth None Basic", "stands alone"},
    {"CasProxyAuth None NTLM", "stands alone"},
    {"CasProxyAuth NTLM ntlm", "twice"},
    {"CasProxyAuth Digest", "Forms, Negotiate, NTLM, Basic or None"},
    {"CasProxyBackendAuth x",
     "Auto, Basic, NTLM, Kerberos, Delegate, Forms or None"},
    {"CasProxyKeytab front.keytab", "no absolute path"},
    {"CasProxyKeytab file:/k", "no absolute path"},
    {"CasProxyNTLMVerify Samba", "write Winbind or Directory"},
    {"CasProxyNTLMVerify Directory ldaps://dc1", "takes no command"},
    {"CasProxyNTLMVerify Winbind ntlm_auth", "no absolute path"},
    {"CasProxyNTLMVerify Winbind /n --helper-protocol=ntlmssp",
     "--helper-protocol is added"},
    {"CasProxyNTLMVerify Winbind /n ''", "no word of a command"},
    {"CasProxyDiagnostics 1", "On or Off"},
};
#define NBAD ((int)(sizeof(bad) / sizeof(*bad)))

static void test_bad(void **state)
{
    (void)state;
    for (int i = 0; i < NBAD; i++) {
        casp_config_t c;
        const char *wrong = read_into(bad[i].line, &c);
        if (!wrong || !strstr(wrong, bad[i].part)) {
            fail_msg("%s: %s", bad[i].line, wrong ? wrong : "accepted");
        }
        assert_true(!strncmp(wrong, "line ", 5));
        assert_non_null(strstr(wrong, "CasProxy"));
        assert_null(strstr(wrong, "hunter2"));
    }
    for (const casp_directive_t *d = casp_directives; d->name; d++) {
        int found = 0;
        for (int i = 0; i < NBAD; i++) {
            found += is_line_of(bad[i].line, d);
        }
        if (!found) {
            fail_msg("no bad line of %s", d->name);
        }
    }
}

/* Words that no directive may take, in any place and number. */
static void test_garbage(void **state)
{
    (void)state;
    char *endless = apr_pcalloc(pool, 20001);
    memset(endless, 'a', 20000);
    const char *words[] = {"",     "\x01\x02",      "a\nb",
                           "${X}", "x${",           endless,
                           "\x7f", "https://\x01/", "file:/\x01"};
    for (const casp_directive_t *d = casp_directives; d->name; d++) {
        for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++) {
            const char *argv[12];
            for (int argc = 0; argc <= 12; argc++) {
                if (argc) {
                    argv[argc - 1] = words[w];
                }
                const char *wrong =
                    casp_settings_apply(pool, d, false,
                                        casp_settings_create(pool),
                                        casp_dir_settings_create(pool), argc,
                                        argv);
                if (!wrong) {
                    fail_msg("%s took %d times \"%.20s\"", d->name, argc,
                             words[w]);
                }
                assert_true(strlen(wrong) > 10);
                assert_true(strlen(wrong) < 1000);
                assert_null(strpbrk(wrong, "\x01\x02\n\x7f"));
            }
        }
    }
}

/* Odd words that some directives may take: nothing but a crash is wrong, and
 * what was taken must be printed and read back the same. */
static void test_odd_words(void **state)
{
    (void)state;
    static const char *const words[] = {"%s%n%d",
                                        "\"",
                                        "'",
                                        "\\",
                                        "\\\\",
                                        "\\\"",
                                        "#",
                                        "<x>",
                                        " ",
                                        "a b",
                                        "=",
                                        "=1",
                                        "min=",
                                        "x=1",
                                        "-1",
                                        "1",
                                        "99999999999999999999",
                                        "/",
                                        "/a\"b",
                                        "/a\\",
                                        "/ ",
                                        "https://h/a\"b",
                                        "https://h/%",
                                        "*",
                                        "???",
                                        "ldif:/",
                                        "ldif:/a b",
                                        "ldap://x",
                                        "ldapi://",
                                        "DC=a",
                                        "DC=a\\,b",
                                        "DC=\\",
                                        "file:/",
                                        "file:/ ",
                                        "exec:/a b",
                                        "env:A",
                                        "\xff\xfe",
                                        "\xc3\xa4",
                                        "GSSAPI",
                                        "Off",
                                        "On",
                                        "~"};
    const int n = (int)(sizeof(words) / sizeof(*words));
    for (const casp_directive_t *d = casp_directives; d->name; d++) {
        for (int i = 0; i < n * (n + 1); i++) {
            const char *argv[2] = {words[i % n], words[i / n % n]};
            int argc = i < n ? 1 : 2;
            casp_config_t c, again;
            c.settings = casp_settings_create(pool);
            c.dir = casp_dir_settings_create(pool);
            if (casp_settings_apply(pool, d, false, c.settings, c.dir, argc,
                                    argv)) {
                continue;
            }
            const char *dump = dump_of(&c);
            const char *wrong = read_into(dump, &again);
            if (wrong) {
                fail_msg("%s: %s", dump, wrong);
            }
            assert_string_equal(dump_of(&again), dump);
        }
        apr_pool_clear(pool);
    }
}

static void test_scope(void **state)
{
    (void)state;
    for (int i = 0; i < NGOOD; i++) {
        const char *name =
            apr_pstrmemdup(pool, dumped(i), strcspn(dumped(i), " "));
        const casp_directive_t *d = casp_directive_find(name);
        casp_config_t c;
        const char *wrong =
            read_into(apr_pstrcat(pool, "<Location /owa>\n", dumped(i),
                                  "\n</Location>", NULL),
                      &c);
        if (d->scope & CASP_SCOPE_LOCATION) {
            assert_null(wrong);
        }
        else {
            assert_non_null(strstr(wrong, "cannot stand in a location"));
        }
    }
}

/* --------------------------------------------------------------- complete */

static const char defaults[] =
    "CasProxy Off\n"
    "CasProxyDirectoryPool min=0 smax=4 hmax=16 ttl=300\n"
    "CasProxyDirectoryTimeout connect=3 search=5 topology=60\n"
    "CasProxyTopologyRefresh 300\n"
    "CasProxyMailboxCache ttl=300 negative=30 stale=3600 size=100000\n"
    "CasProxyCredentialCache ttl=60\n"
    "CasProxySharedCache shmcb\n"
    "CasProxyFrontEnd 2010SP2\n"
    "CasProxyCrossSiteRedirectType Manual\n"
    "CasProxyActiveSyncRedirect 14.0\n"
    "CasProxyAutodiscover Pass\n"
    "CasProxyRequireTLS On\n"
    "CasProxySSO On\n"
    "CasProxyLogonFormat FullDomain\n"
    "CasProxyNTLMVerify Winbind\n"
    "CasProxyFormsTimeout public=15m private=8h\n"
    "CasProxyBackendPool hmax=64 ttl=90 acquire=2 connect=5 retry=30 "
    "addressttl=60 busy=0\n"
    "CasProxyStateDir /state\n"
    "CasProxyTimeout OWA 200\n"
    "CasProxyTimeout ECP 200\n"
    "CasProxyTimeout EAS 3600\n"
    "CasProxyTimeout EWS 2100\n"
    "CasProxyTimeout Autodiscover 200\n"
    "CasProxyTimeout OAB 200\n"
    "CasProxyTimeout RPC 3600\n"
    "CasProxyTimeout MAPI 3600\n"
    "CasProxyTimeout UM 200\n"
    "CasProxyTimeout Legacy 200\n"
    "CasProxyTimeout PowerShell 200\n"
    "CasProxyTimeout POP3 200\n"
    "CasProxyTimeout IMAP4 200\n"
    "CasProxyTimeout SMTP 200\n"
    "CasProxyPublish OWA ECP EAS EWS Autodiscover OAB RPC MAPI UM Legacy "
    "POP3 IMAP4 SMTP\n"
    "CasProxyUrlPolicy Enforce\n"
    "CasProxyAuth Forms\n"
    "CasProxyBackendAuth Auto\n"
    "CasProxyDiagnostics Off";

static void complete(casp_config_t *c)
{
    c->settings = casp_settings_complete(pool, c->settings, "/state");
    c->dir = casp_dir_settings_complete(pool, c->dir);
}

static void test_defaults(void **state)
{
    (void)state;
    casp_config_t c;
    assert_null(read_into("", &c));
    complete(&c);
    assert_string_equal(dump_of(&c), defaults);
    assert_int_equal(c.settings->directory_bind, CASP_BIND_NONE);
    assert_int_equal(c.settings->directory_tls, CASP_TLS_UNSET);
    assert_int_equal(c.settings->redirect_to_optimal, CASP_UNSET);
    assert_null(c.settings->forms_key); /* the state directory's own */
    complete(&c);
    assert_string_equal(dump_of(&c), defaults);
    assert_null(read_into("CasProxyFrontEnd 2013", &c));
    complete(&c);
    assert_int_equal(c.settings->cross_site_silent, 1);
    assert_null(read_into("CasProxyFrontEnd 2010SP3", &c));
    complete(&c);
    assert_int_equal(c.settings->cross_site_silent, 0);
}

/* Which devices a front tells their new address, where nobody says so. */
static void test_eas_default(void **state)
{
    static const int want[CASP_F_COUNT] = {
        [CASP_F2007] = 0,
        [CASP_F2010] = 121,
        [CASP_F2010SP1] = 121,
        [CASP_F2010SP2] = 140,
        [CASP_F2010SP3] = 140,
        [CASP_F2013] = CASP_EAS_REDIRECT_OFF,
        [CASP_F2016] = CASP_EAS_REDIRECT_OFF,
        [CASP_F2019] = CASP_EAS_REDIRECT_OFF};
    casp_config_t c;
    (void)state;
    for (int f = 0; f < CASP_F_COUNT; f++) {
        const char *line = apr_pstrcat(pool, "CasProxyFrontEnd ",
                                       casp_front_name((casp_front_e)f), NULL);
        assert_null(read_into(line, &c));
        complete(&c);
        assert_int_equal(c.settings->eas_redirect, want[f]);
        assert_null(read_into(
            apr_pstrcat(pool, line, "\nCasProxyActiveSyncRedirect 16.1", NULL),
            &c));
        complete(&c);
        assert_int_equal(c.settings->eas_redirect, 161);
    }
}

/* One line for a host's web server, one for each of its mail services. */
static void test_backend_map(void **state)
{
    casp_config_t c;
    (void)state;
    assert_null(read_into("CasProxyBackendMap a.x imap://m:1\n"
                          "CasProxyBackendMap a.x http://w:2\n"
                          "CasProxyBackendMap b.x smtp://s:3",
                          &c));
    const casp_settings_t *s = c.settings;
    assert_string_equal(casp_settings_backend_map(s, "A.x", "imap"),
                        "imap://m:1");
    assert_string_equal(casp_settings_backend_map(s, "a.x", "https"),
                        "http://w:2");
    assert_null(casp_settings_backend_map(s, "a.x", "smtp"));
    assert_null(casp_settings_backend_map(s, "b.x", "https"));
    assert_null(casp_settings_backend_map(s, "c.x", "https"));
    assert_null(read_into("CasProxy On", &c));
    assert_null(casp_settings_backend_map(c.settings, "a.x", "https"));
}

/* A form is for people; a program always has another way in. */
static void test_schemes(void **state)
{
    enum {
        N = CASP_SCHEME_NONE,
        B = CASP_SCHEME_BASIC,
        F = CASP_SCHEME_FORMS,
        G = CASP_SCHEME_NEGOTIATE,
        T = CASP_SCHEME_NTLM
    };
    static const struct {
        int auth;
        casp_protocol_e protocol;
        int want; /* without a keytab */
        int more; /* with one */
    } cases[] = {
        {F, CASP_PROTO_OWA, F, 0},
        {F, CASP_PROTO_ECP, F, 0},
        {F, CASP_PROTO_LEGACY, F, 0},
        {F, CASP_PROTO_EWS, F | B, G},
        {F, CASP_PROTO_EAS, B, G},
        {F, CASP_PROTO_RPC, B, G},
        {F, CASP_PROTO_MAPI, B, G},
        {F, CASP_PROTO_OAB, B, G},
        {F, CASP_PROTO_AUTODISCOVER, B, G},
        {F, CASP_PROTO_UM, B, G},
        {F, CASP_PROTO_POWERSHELL, B, G},
        {F | B, CASP_PROTO_OWA, F | B, 0},
        {F | B, CASP_PROTO_EAS, B, 0},
        {F | B, CASP_PROTO_EWS, F | B, 0},
        {F | G, CASP_PROTO_OWA, F | G, 0},
        {F | G, CASP_PROTO_EAS, G, 0},
        {F | G, CASP_PROTO_EWS, F | G | B, 0},
        {F | T | G | B, CASP_PROTO_EAS, T | G | B, 0},
        {T | G, CASP_PROTO_EWS, T | G, 0},
        {T, CASP_PROTO_EAS, T, 0},
        {B, CASP_PROTO_OWA, B, 0},
        {B, CASP_PROTO_EWS, B, 0},
        {B, CASP_PROTO_EAS, B, 0},
        {N, CASP_PROTO_OWA, N, 0},
        {N, CASP_PROTO_EWS, N, 0},
        {N, CASP_PROTO_EAS, N, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        assert_int_equal(casp_settings_schemes(cases[i].auth, false,
                                               cases[i].protocol),
                         cases[i].want);
        assert_int_equal(casp_settings_schemes(cases[i].auth, true,
                                               cases[i].protocol),
                         cases[i].want | cases[i].more);
    }
}

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 16 & 0x7fff;
}

/* Any settings: print, read, and print the same; completed or not. */
static void test_round_trip(void **state)
{
    (void)state;
    unsigned seed = 20070;
    for (int round = 0; round < 1000; round++) {
        const char *text = "";
        for (const casp_directive_t *d = casp_directives; d->name; d++) {
            int pick = (int)(next_random(&seed) % NGOOD);
            for (int i = 0; i < NGOOD; i++) {
                const char *line = dumped((i + pick) % NGOOD);
                if (is_line_of(line, d)) {
                    text = next_random(&seed) % 3
                               ? apr_pstrcat(pool, text, line, "\n", NULL)
                               : text;
                    break;
                }
            }
        }
        casp_config_t c, again;
        assert_null(read_into(text, &c));
        const char *dump = dump_of(&c);
        assert_null(read_into(dump, &again));
        assert_string_equal(dump_of(&again), dump);
        complete(&c);
        complete(&again);
        dump = dump_of(&c);
        assert_string_equal(dump_of(&again), dump);
        assert_null(read_into(dump, &again));
        complete(&again);
        assert_string_equal(dump_of(&again), dump);
        apr_pool_clear(pool);
    }
}

/* What the words mean inside, where the dump cannot tell it. */
static void test_values(void **state)
{
    (void)state;
    casp_config_t c;
    assert_null(read_into(
        "CasProxy Shadow\nCasProxyDirectory ldap://a ldaps://b:1\n"
        "CasProxyDirectoryTLS StartTLS\nCasProxyDirectoryBind n file:/f\n"
        "CasProxyDirectoryPool min=1 smax=2 hmax=3 ttl=4\n"
        "CasProxyDirectoryTimeout connect=5 search=6 topology=7\n"
        "CasProxyMailboxCache ttl=8 negative=9 stale=10 size=16\n"
        "CasProxyBackendPool hmax=11 ttl=12 acquire=13 connect=14 retry=15 "
        "addressttl=16 busy=17\nCasProxyTimeout MAPI 18\n"
        "CasProxyFrontEnd 2016\nCasProxyPublish EAS\nCasProxyAuth None\n"
        "CasProxyFormsKey file:/r\nCasProxyFormsTimeout private=2d public=3m\n"
        "CasProxyMountedSite d s\nCasProxyGlobalCatalog ldap://g "
        "ldaps://[::1] ldaps://h:7 ldapi:///\n",
        &c));
    const casp_settings_t *s = c.settings;
    assert_int_equal(c.dir->mode, CASP_MODE_SHADOW);
    assert_int_equal(c.dir->auth, CASP_SCHEME_NONE);
    assert_int_equal(s->directory_tls, CASP_TLS_STARTTLS);
    assert_int_equal(s->mailbox_ttl, 8);
    assert_int_equal(s->mailbox_negative, 9);
    assert_int_equal(s->mailbox_stale, 10);
    assert_int_equal(s->mailbox_size, 16);
    assert_int_equal(s->backend_hmax, 11);
    assert_int_equal(s->backend_ttl, 12);
    assert_int_equal(s->backend_acquire, 13);
    assert_int_equal(s->backend_connect, 14);
    assert_int_equal(s->backend_retry, 15);
    assert_int_equal(s->backend_addressttl, 16);
    assert_int_equal(s->backend_busy, 17);
    assert_int_equal(s->timeout[CASP_PROTO_MAPI], 18);
    assert_string_equal(s->forms_key, "/r");
    assert_int_equal(s->forms_public, 180);
    assert_int_equal(s->forms_private, 172800);
    assert_int_equal(s->front, CASP_F2016);
    assert_int_equal(s->publish, 1 << CASP_PROTO_EAS);
    assert_null(casp_settings_ldif(s));

    casp_directory_conf_t conf;
    casp_settings_directory_conf(pool, s, "pw", false, &conf);
    assert_string_equal(apr_array_pstrcat(pool, conf.urls, ' '),
                        "ldap://a ldaps://b:1");
    assert_int_equal(conf.tls, CASP_TLS_STARTTLS);
    assert_int_equal(conf.bind, CASP_BIND_SIMPLE);
    assert_string_equal(conf.bind_name, "n");
    assert_string_equal(conf.bind_secret, "pw");
    assert_int_equal(conf.pool_min, 1);
    assert_int_equal(conf.pool_smax, 2);
    assert_int_equal(conf.pool_hmax, 3);
    assert_true(conf.pool_ttl == apr_time_from_sec(4));
    assert_true(conf.connect_timeout == apr_time_from_sec(5));
    assert_true(conf.search_timeout == apr_time_from_sec(6));
    assert_true(conf.topology_timeout == apr_time_from_sec(7));
    casp_settings_directory_conf(pool, s, "pw", true, &conf);
    assert_string_equal(apr_array_pstrcat(pool, conf.urls, ' '),
                        "ldap://g:3268 ldaps://[::1]:3269 ldaps://h:7 "
                        "ldapi:///");
    assert_null(read_into("CasProxyDirectory LDIF:/a/b", &c));
    assert_string_equal(casp_settings_ldif(c.settings), "/a/b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_directive_has_a_good_line,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scope, setup, teardown),
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eas_default, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backend_map, setup, teardown),
        cmocka_unit_test(test_schemes),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
    };
    if (apr_initialize() != APR_SUCCESS) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
