/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What the settings' tests stand on: a pool for each test, text read and
 * settings dumped, and a table of lines that are good, at least one for every
 * directive.
 */

#ifndef CASP_GOODLINES_H
#define CASP_GOODLINES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above. */
#include <cmocka.h>

#include <string.h>

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

#endif /* CASP_GOODLINES_H */
