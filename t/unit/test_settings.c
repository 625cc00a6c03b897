/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The table of directives: what each takes, what it refuses and how it says
 * so, what merging and completing make of it, and that the dump is the very
 * language that is read.  The secrets that settings refer to are here too.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "settings.h"

static apr_pool_t *pool;
static char folder[] = "/tmp/casp-settings-XXXXXX";

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

/* One line through the reader and the table. */
static const char *read_into(const char *text, casp_config_t *config)
{
    return casp_config_read(pool, text, NULL, config);
}

static const char *dump_of(const casp_config_t *config)
{
    return apr_array_pstrcat(
        pool, casp_settings_dump(pool, config->settings, config->dir), '\n');
}

/* A line and the line that the dump makes of it (NULL: the same); two for
 * every directive, so that one can override the other. */
static const struct {
    const char *line, *dump;
} good[] = {
    {"CasProxy On", NULL},
    {"casproxy shadow", "CasProxy Shadow"},
    {"CasProxy REDIRECT", "CasProxy Redirect"},
    {"CasProxy Off", NULL},
    {"CasProxyDirectory ldaps://DC1.Contoso.test",
     "CasProxyDirectory ldaps://dc1.contoso.test"},
    {"CasProxyDirectory ldap://[2001:DB8::1]:389/ ldaps://dc2:636",
     "CasProxyDirectory ldap://[2001:db8::1]:389 ldaps://dc2:636"},
    {"CasProxyDirectory ldapi://%2Frun%2Fsamba%2Fldapi", NULL},
    {"CasProxyDirectory ldapi:///", NULL},
    {"CasProxyDirectory 'ldif:/var/my export.ldif'",
     "CasProxyDirectory \"ldif:/var/my export.ldif\""},
    {"CasProxyGlobalCatalog ldaps://gc1 ldaps://gc2:3269", NULL},
    {"CasProxyGlobalCatalog ldap://gc1", NULL},
    {"CasProxyDirectoryBase DC=contoso,DC=test", NULL},
    {"CasProxyDirectoryBase \"OU=A\\\\, B,DC=x\"", NULL},
    {"CasProxyDirectoryBind CONTOSO\\svc file:/etc/secret", NULL},
    {"CasProxyDirectoryBind svc exec:/bin/pass show svc",
     "CasProxyDirectoryBind svc \"exec:/bin/pass show svc\""},
    {"CasProxyDirectoryBind \"CN=svc,DC=x y\" env:SVC_PW", NULL},
    {"CasProxyDirectoryBind gssapi", "CasProxyDirectoryBind GSSAPI"},
    {"CasProxyDirectoryBind GSSAPI /etc/svc.keytab", NULL},
    {"CasProxyDirectoryTLS starttls", "CasProxyDirectoryTLS StartTLS"},
    {"CasProxyDirectoryTLS Off", NULL},
    {"CasProxyDirectoryCAFile /etc/ca.pem", NULL},
    {"CasProxyDirectoryCAFile /etc/ca2.pem", NULL},
    {"CasProxyDirectoryPool MIN=1 smax=2 hmax=3 ttl=4",
     "CasProxyDirectoryPool min=1 smax=2 hmax=3 ttl=4"},
    {"CasProxyDirectoryPool ttl=7 hmax=8 smax=5 min=0",
     "CasProxyDirectoryPool min=0 smax=5 hmax=8 ttl=7"},
    {"CasProxyDirectoryTimeout connect=1 search=2 topology=3", NULL},
    {"CasProxyDirectoryTimeout connect=60 search=300 topology=3600", NULL},
    {"CasProxyTopologyRefresh 1", NULL},
    {"CasProxyTopologyRefresh 00060", "CasProxyTopologyRefresh 60"},
    {"CasProxyMailboxCache ttl=0 negative=0 stale=0 size=16", NULL},
    {"CasProxyMailboxCache ttl=1 negative=2 stale=3 size=400", NULL},
    {"CasProxyCredentialCache ttl=0", NULL},
    {"CasProxyCredentialCache ttl=5", NULL},
    {"CasProxySharedCache shmcb:/run/x(512000)", NULL},
    {"CasProxySharedCache redis:host:6379", NULL},
    {"CasProxySite Berlin", NULL},
    {"CasProxySite \"M\xc3\xbcnchen Ost\"", NULL},
    {"CasProxySite 'back\\slash\\\\'", "CasProxySite \"back\\\\slash\\\\\""},
    {"CasProxySite '\"'", "CasProxySite \"\\\"\""},
    {"CasProxyFrontEnd 2007", NULL},
    {"CasProxyFrontEnd 2010sp3", "CasProxyFrontEnd 2010SP3"},
    {"CasProxyExternalURL https://Mail.contoso.test:443/owa/",
     "CasProxyExternalURL https://mail.contoso.test/owa"},
    {"CasProxyExternalURL http://m:81", NULL},
    {"CasProxyExchange2003URL https://legacy.contoso.test/exchange", NULL},
    {"CasProxyExchange2003URL https://l", NULL},
    {"CasProxyFailbackURL https://failback.contoso.test/owa Berlin", NULL},
    {"CasProxyFailbackURL https://f.contoso.test/owa", NULL},
    {"CasProxyCrossSiteRedirectType silent",
     "CasProxyCrossSiteRedirectType Silent"},
    {"CasProxyCrossSiteRedirectType Manual", NULL},
    {"CasProxyRedirectToOptimalServer Off", NULL},
    {"CasProxyRedirectToOptimalServer On", NULL},
    {"CasProxyMountedSite BER-DB1 Munich", NULL},
    {"CasProxyMountedSite 'Mailbox Database 7' Berlin",
     "CasProxyMountedSite \"Mailbox Database 7\" Berlin"},
    {"CasProxyRequireTLS Off", NULL},
    {"CasProxyRequireTLS forwarded", "CasProxyRequireTLS Forwarded"},
    {"CasProxyRequireTLS On", NULL},
    {"CasProxySSO Off", NULL},
    {"CasProxySSO twofactor", "CasProxySSO TwoFactor"},
    {"CasProxySSO PREAUTH", "CasProxySSO PreAuth"},
    {"CasProxySSO On", NULL},
    {"CasProxyLogonFormat principalname", "CasProxyLogonFormat PrincipalName"},
    {"CasProxyLogonFormat UserName", NULL},
    {"CasProxyLogonFormat FullDomain", NULL},
    {"CasProxyDefaultDomain CONTOSO", NULL},
    {"CasProxyDefaultDomain contoso.test", NULL},
    {"CasProxyPages /etc/pages", NULL},
    {"CasProxyPages /etc/more", NULL},
    {"CasProxyBackendHosts *.Contoso.test cas?.x 10.0.0.*",
     "CasProxyBackendHosts *.contoso.test cas?.x 10.0.0.*"},
    {"CasProxyBackendHosts one", NULL},
    {"CasProxyBackendMap MBX1.contoso.test https://127.0.0.1:4431/",
     "CasProxyBackendMap mbx1.contoso.test https://127.0.0.1:4431"},
    {"CasProxyBackendMap [::1] http://127.0.0.1:81", NULL},
    {"CasProxyBackendMap Mbx1.x IMAP://Mail.x:1143/",
     "CasProxyBackendMap mbx1.x imap://mail.x:1143"},
    {"CasProxyBackendMap mbx1.x pop3://mail.x", NULL},
    {"CasProxyBackendMap mbx1.x smtp://mail.x:80", NULL},
    {"CasProxyBackendMap mbx1.x smtp://mail.x:443", NULL},
    {"CasProxyActiveSyncRedirect 14.0", NULL},
    {"CasProxyActiveSyncRedirect 16.1", NULL},
    {"CasProxyActiveSyncRedirect 12", "CasProxyActiveSyncRedirect 12.0"},
    {"CasProxyActiveSyncRedirect 2.5", NULL},
    {"CasProxyActiveSyncRedirect 0", NULL},
    {"CasProxyActiveSyncRedirect off", "CasProxyActiveSyncRedirect Off"},
    {"CasProxyAutodiscover pass", "CasProxyAutodiscover Pass"},
    {"CasProxyAutodiscover ANSWER", "CasProxyAutodiscover Answer"},
    {"CasProxyBackendPool hmax=1 ttl=2 acquire=3 connect=4 retry=5 "
     "addressttl=6 busy=7",
     "CasProxyBackendPool hmax=1 ttl=2 acquire=3 connect=4 retry=5 "
     "addressttl=6 busy=7"},
    {"CasProxyStateDir /var/lib/casproxy", NULL},
    {"CasProxyStateDir /var/lib/other", NULL},
    {"CasProxyTimeout eas 900", "CasProxyTimeout EAS 900"},
    {"CasProxyTimeout PowerShell 86400", NULL},
    {"CasProxyPublish legacy OWA", "CasProxyPublish OWA Legacy"},
    {"CasProxyPublish OWA ECP EAS EWS Autodiscover OAB RPC MAPI UM Legacy "
     "PowerShell",
     "CasProxyPublish OWA ECP EAS EWS Autodiscover OAB RPC "
     "MAPI UM Legacy PowerShell"},
    {"CasProxyPublish smtp POP3 Imap4 OWA",
     "CasProxyPublish OWA POP3 IMAP4 SMTP"},
    {"CasProxyPublish OWA ECP EAS EWS Autodiscover OAB RPC MAPI UM Legacy "
     "PowerShell POP3 IMAP4 SMTP",
     NULL},
    {"CasProxyTimeout imap4 1800", "CasProxyTimeout IMAP4 1800"},
    {"CasProxyUrlPolicy log", "CasProxyUrlPolicy Log"},
    {"CasProxyUrlPolicy Off", NULL},
    {"CasProxyUrlPolicy Enforce", NULL},
    {"CasProxyFormsKey file:/etc/casproxy/ring", NULL},
    {"CasProxyFormsTimeout public=15m private=8h", NULL},
    {"CasProxyFormsTimeout private=720m PUBLIC=90s",
     "CasProxyFormsTimeout public=90s private=12h"},
    {"CasProxyFormsTimeout public=2s private=30d", NULL},
    {"CasProxyFormsTimeout public=1440m private=86400s",
     "CasProxyFormsTimeout public=1d private=1d"},
    {"CasProxyFormsTimeout public=5400S private=00036H",
     "CasProxyFormsTimeout public=90m private=36h"},
    {"CasProxyFormsKey 'file:/my keys/ring'",
     "CasProxyFormsKey \"file:/my keys/ring\""},
    {"CasProxyKeytab /etc/casproxy/front.keytab", NULL},
    {"CasProxyKeytab '/my keys/k'", "CasProxyKeytab \"/my keys/k\""},
    {"CasProxyNTLMVerify winbind", "CasProxyNTLMVerify Winbind"},
    {"CasProxyNTLMVerify directory", "CasProxyNTLMVerify Directory"},
    {"CasProxyNTLMVerify Winbind /opt/samba/bin/ntlm_auth "
     "--configfile=/etc/x.conf '--option=a b'",
     "CasProxyNTLMVerify Winbind /opt/samba/bin/ntlm_auth "
     "--configfile=/etc/x.conf \"--option=a b\""},
    {"CasProxyAuth basic ntlm Negotiate", "CasProxyAuth Negotiate NTLM Basic"},
    {"CasProxyAuth Negotiate", NULL},
    {"CasProxyAuth Basic NTLM FORMS Negotiate",
     "CasProxyAuth Forms Negotiate NTLM Basic"},
    {"CasProxyBackendAuth ntlm", "CasProxyBackendAuth NTLM"},
    {"CasProxyBackendAuth Kerberos", NULL},
    {"CasProxyBackendAuth DELEGATE", "CasProxyBackendAuth Delegate"},
    {"CasProxyBackendAuth forms", "CasProxyBackendAuth Forms"},
    {"CasProxyAuth forms", "CasProxyAuth Forms"},
    {"CasProxyAuth Basic Forms", "CasProxyAuth Forms Basic"},
    {"CasProxyAuth none", "CasProxyAuth None"},
    {"CasProxyAuth Basic", NULL},
    {"CasProxyBackendAuth basic", "CasProxyBackendAuth Basic"},
    {"CasProxyBackendAuth None", NULL},
    {"CasProxyBackendAuth Auto", NULL},
    {"CasProxyDiagnostics On", NULL},
    {"CasProxyDiagnostics Off", NULL},
};
#define NGOOD ((int)(sizeof(good) / sizeof(*good)))

static const char *dumped(int i)
{
    return good[i].dump ? good[i].dump : good[i].line;
}

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
    {"CasProxyBackendMap x imaps://y", "https://"},
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
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_directive_has_a_good_line,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
        cmocka_unit_test_setup_teardown(test_garbage, setup, teardown),
        cmocka_unit_test_setup_teardown(test_odd_words, setup, teardown),
        cmocka_unit_test_setup_teardown(test_scope, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_each, setup, teardown),
        cmocka_unit_test_setup_teardown(test_merge_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eas_default, setup, teardown),
        cmocka_unit_test_setup_teardown(test_backend_map, setup, teardown),
        cmocka_unit_test(test_schemes),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
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
