/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * From a request to a decision, on a small organisation of every generation
 * in three sites: read from an export, by the settings' own reader, as the
 * module and casproxyctl do it.
 *
 * Berlin is the front's site, Munich is Internet-facing, Hamburg is not.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <apr_file_io.h>
#include <apr_general.h>
#include <apr_strings.h>

#include "verdict.h"

static apr_pool_t *pool;
static char export[] = "/tmp/casp_verdict_XXXXXX";

#define CONFIG "CN=Configuration,DC=contoso,DC=test"
#define ORG "CN=Contoso,CN=Microsoft Exchange,CN=Services," CONFIG
#define GROUP "CN=AG,CN=Administrative Groups," ORG
#define SERVERS "CN=Servers," GROUP
#define LEGACY "/o=Contoso/ou=AG/cn=Configuration/cn=Servers/cn="

/* ------------------------------------------------------- the organisation */

static const char *site(const char *name, const char *subnet)
{
    return apr_psprintf(pool,
                        "dn: CN=%s,CN=Sites," CONFIG "\nobjectClass: site\n"
                        "cn: %s\n\n"
                        "dn: CN=%s,CN=Subnets,CN=Sites," CONFIG
                        "\nobjectClass: subnet\ncn: %s\n"
                        "siteObject: CN=%s,CN=Sites," CONFIG "\n\n",
                        name, name, subnet, subnet, name);
}

/* A server and a database on it; @a array: for the database. */
static const char *server(const char *name, const char *serial, int roles,
                          const char *in, const char *array)
{
    const char *place = in ? apr_pstrcat(pool, "msExchServerSite: CN=", in,
                                         ",CN=Sites," CONFIG "\n", NULL)
                           : "";
    const char *role =
        roles ? apr_psprintf(pool, "msExchCurrentServerRoles: %d\n", roles)
              : "";
    return apr_psprintf(
        pool,
        "dn: CN=%s," SERVERS "\nobjectClass: msExchExchangeServer\ncn: %s\n"
        "serialNumber: %s\n%s%snetworkAddress: ncacn_ip_tcp:%s.contoso.test\n"
        "legacyExchangeDN: " LEGACY "%s\n\n"
        "dn: CN=DB-%s,CN=Databases," GROUP "\nobjectClass: msExchPrivateMDB\n"
        "cn: DB-%s\nmsExchOwningServer: CN=%s," SERVERS "\n"
        "legacyExchangeDN: " LEGACY "%s/cn=Microsoft Private MDB\n\n",
        name, name, serial, role, place, name, name, name, name, name,
        array ? array : name);
}

static const char *attribute(const char *name, const char *value)
{
    return value ? apr_pstrcat(pool, name, ": ", value, "\n", NULL) : "";
}

static const char *owa_named(const char *cn, const char *on,
                             const char *internal, const char *external,
                             int auth, const char *more)
{
    return apr_psprintf(pool,
                        "dn: CN=%s,CN=HTTP,CN=Protocols,CN=%s," SERVERS "\n"
                        "objectClass: msExchOWAVirtualDirectory\ncn: %s\n"
                        "msExchInternalAuthenticationMethods: %d\n"
                        "msExchExternalAuthenticationMethods: %d\n%s%s%s\n",
                        cn, on, cn, auth, auth,
                        attribute("msExchInternalHostName", internal),
                        attribute("msExchExternalHostName", external),
                        more ? more : "");
}

static const char *owa(const char *on, const char *internal,
                       const char *external, int auth, const char *more)
{
    return owa_named("owa (Default Web Site)", on, internal, external, auth,
                     more);
}

static const char *vdir_of(const char *class, const char *cn, const char *on,
                           const char *internal, const char *external,
                           const char *more)
{
    return apr_psprintf(pool,
                        "dn: CN=%s (Default Web Site),CN=HTTP,CN=Protocols,"
                        "CN=%s," SERVERS "\nobjectClass: %s\n"
                        "cn: %s (Default Web Site)\n%s%s%s\n",
                        cn, on, class, cn,
                        attribute("msExchInternalHostName", internal),
                        attribute("msExchExternalHostName", external), more);
}

static const char *vdir(const char *class, const char *cn, const char *on,
                        const char *internal)
{
    return vdir_of(class, cn, on, internal, NULL, "");
}

static const char *eas(const char *on, const char *external)
{
    return vdir_of("msExchMobileVirtualDirectory",
                   "Microsoft-Server-ActiveSync", on, NULL, external, "");
}

static const char *rpc(const char *on, const char *auth)
{
    return vdir_of("msExchRpcHttpVirtualDirectory", "Rpc", on, NULL, NULL,
                   attribute("msExchInternalAuthenticationMethods", auth));
}

static int users;

static const char *user_with(const char *name, const char *on,
                             const char *more)
{
    const char *home = on ? apr_pstrcat(pool, "homeMDB: CN=DB-", on,
                                        ",CN=Databases," GROUP "\n", NULL)
                          : "";
    return apr_psprintf(
        pool,
        "dn: CN=%s,OU=People,DC=contoso,DC=test\nobjectClass: user\ncn: %s\n"
        "sAMAccountName: %s\nuserPrincipalName: %s@contoso.test\n"
        "objectGUID: GUID-%011d\nmailNickname: %s\n"
        "proxyAddresses: SMTP:%s@contoso.test\n%s%s\n",
        name, name, name, name, ++users, name, name, home, more ? more : "");
}

static const char *user(const char *name, const char *on)
{
    return user_with(name, on, "userAccountControl: 512\n");
}

#define V03 "Version 6.5 (Build 7638.2: Service Pack 2)"
#define V07 "Version 8.3 (Build 30083.6)"
#define V10 "Version 14.3 (Build 30123.4)"
#define V13 "Version 15.0 (Build 31497.2)"
#define V16 "Version 15.1 (Build 32507.6)"
#define V19 "Version 15.2 (Build 31118.7)"

static const char *organisation(void)
{
    const char *parts[] = {
        "dn: " ORG "\nobjectClass: msExchOrganizationContainer\n"
        "cn: Contoso\n\n"
        "dn: CN=CONTOSO,CN=Partitions," CONFIG "\nobjectClass: crossRef\n"
        "cn: CONTOSO\nnCName: DC=contoso,DC=test\ndnsRoot: contoso.test\n"
        "nETBIOSName: CONTOSO\nsystemFlags: 3\n\n",
        site("Berlin", "10.1.0.0/16"),
        site("Munich", "10.2.0.0/16"),
        site("Hamburg", "10.3.0.0/16"),
        "dn: CN=outlook,CN=Arrays," GROUP "\n"
        "objectClass: msExchClientAccessArray\ncn: outlook\n"
        "legacyExchangeDN: " LEGACY "outlook\n"
        "networkAddress: ncacn_ip_tcp:outlook.contoso.test\n"
        "msExchServerSite: CN=Berlin,CN=Sites," CONFIG "\n\n",
        server("BER-EX03", V03, 0, NULL, NULL),
        "dn: CN=Public,CN=Databases," GROUP "\n"
        "objectClass: msExchPublicMDB\ncn: Public\n"
        "msExchOwningServer: CN=BER-EX03," SERVERS "\n\n",
        server("BER-EX07", V07, 54, "Berlin", NULL),
        server("MUC-EX07", V07, 54, "Munich", NULL),
        server("HAM-EX07", V07, 54, "Hamburg", NULL),
        server("BER-CASA", V10, 4, "Berlin", NULL),
        server("BER-CASB", V10, 4, "Berlin", NULL),
        server("BER-MBX", V10, 2, "Berlin", NULL),
        server("MUC-EX10", V10, 54, "Munich", NULL),
        server("MUC-CAS", V10, 4, "Munich", NULL),
        server("MUC-AWAY", V10, 2, "Munich", "outlook"),
        server("HAM-EX10", V10, 54, "Hamburg", NULL),
        server("LOST-EX10", V10, 54, NULL, NULL),
        server("BER-EX13", V13, 16439, "Berlin", NULL),
        server("MUC-EX13", V13, 16439, "Munich", NULL),
        server("BER-EX16", V16, 16439, "Berlin", NULL),
        server("HAM-EX19", V19, 16439, "Hamburg", NULL),
        owa("BER-EX07", "https://ber-ex07.contoso.test/owa",
            "https://legacy.contoso.test/owa", 5, NULL),
        owa_named("Exchange (Default Web Site)", "BER-EX07", NULL,
                  "https://aaa.contoso.test/exchange", 5, NULL),
        owa("MUC-EX07", "https://muc-ex07.contoso.test/owa",
            "https://munich7.contoso.test/owa", 5, NULL),
        owa("HAM-EX07", "https://ham-ex07.contoso.test/owa", NULL, 1, NULL),
        owa("BER-CASA", "https://mail.contoso.test/owa",
            "https://mail.contoso.test/owa", 5,
            "msExch2003Url: https://old.contoso.test/exchange\n"),
        owa("BER-CASB", "https://balancer.contoso.test:8443/mailbox", NULL, 1,
            NULL),
        owa("MUC-CAS", "https://muc-cas.contoso.test/owa",
            "https://basic.contoso.test/owa", 1, NULL),
        owa("MUC-EX10", "https://muc-ex10.contoso.test/owa",
            "https://munich.contoso.test/owa", 5,
            "msExchOWAFailbackURL: https://back.contoso.test/owa\n"),
        owa("HAM-EX10", "https://ham-ex10.contoso.test/owa", NULL, 1, NULL),
        owa("BER-EX13", "https://ber-ex13.contoso.test/owa", NULL, 5, NULL),
        owa("MUC-EX13", "https://muc-ex13.contoso.test/owa",
            "https://munich13.contoso.test/owa", 5, NULL),
        owa("BER-EX16", "https://ber-ex16.contoso.test/owa", NULL, 5, NULL),
        vdir("msExchWebServicesVirtualDirectory", "EWS", "BER-CASA",
             "https://ber-casa.contoso.test/EWS/Exchange.asmx"),
        vdir_of("msExchWebServicesVirtualDirectory", "EWS", "MUC-EX10",
                "https://muc-cas.contoso.test/EWS/Exchange.asmx",
                "https://ews-munich.contoso.test/EWS/Exchange.asmx",
                "msExchInternalNLBBypassHostName: "
                "https://muc-ex10.contoso.test/EWS/Exchange.asmx\n"),
        eas("BER-EX07",
            "https://legacy.contoso.test/Microsoft-Server-ActiveSync"),
        eas("MUC-EX07",
            "https://munich7.contoso.test/Microsoft-Server-ActiveSync"),
        eas("MUC-EX10",
            "https://munich.contoso.test:443/microsoft-server-activesync/"),
        eas("HAM-EX07", NULL),
        rpc("MUC-EX07", "1"),
        rpc("MUC-EX10", "3"),
        vdir_of("msExchECPVirtualDirectory", "ecp", "MUC-EX10",
                "https://muc-ex10.contoso.test/ecp",
                "https://munich.contoso.test/ecp", ""),
        user("u03", "BER-EX03"),
        user("u07", "BER-EX07"),
        user("m07", "MUC-EX07"),
        user("h07", "HAM-EX07"),
        user("ada", "BER-MBX"),
        user("bob", "BER-MBX"),
        user("m10", "MUC-EX10"),
        user("away", "MUC-AWAY"),
        user("h10", "HAM-EX10"),
        user("lost", "LOST-EX10"),
        user("u13", "BER-EX13"),
        user("m13", "MUC-EX13"),
        user("u16", "BER-EX16"),
        user("h19", "HAM-EX19"),
        user("gone", "NOWHERE"),
        user("none", NULL),
        user_with("nomail", "BER-MBX", "protocolSettings:: UE9QM8KnMA==\n"),
        user_with("guid", "MUC-EX13",
                  "msExchMailboxGuid:: MyIRAFVEd2aImaq7zN3u/w==\n"),
        user_with("noeas", "BER-MBX", "msExchOmaAdminWirelessEnable: 4\n"),
        user_with("off", "BER-MBX", "protocolSettings:: SFRUUMKnMMKnMQ==\n"),
        user_with("dead", "BER-MBX", "userAccountControl: 514\n"),
        user_with("far", NULL,
                  "userAccountControl: 512\n"
                  "targetAddress: SMTP:far@fabrikam.test\n"),
        user_with("twin1", "BER-MBX",
                  "proxyAddresses: smtp:twin@contoso.test\n"),
        user_with("twin2", "BER-MBX",
                  "proxyAddresses: smtp:twin@contoso.test\n"),
    };
    const char *all = "";
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        all = apr_pstrcat(pool, all, parts[i], NULL);
    }
    return all;
}

static int setup(void **state)
{
    (void)state;
    apr_pool_create(&pool, NULL);
    const char *text = organisation();
    int fd = mkstemp(export);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        return -1;
    }
    close(fd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(export);
    apr_pool_destroy(pool);
    return 0;
}

/* ----------------------------------------------------------- one request */

typedef struct {
    casp_settings_t *s;
    casp_dir_settings_t *d;
    casp_org_t *org;
    apr_pool_t *p;
} front_t;

/* A front as a configuration makes it; @a more overrides nothing. */
static front_t make_front(const char *more)
{
    front_t f;
    casp_config_t config;
    apr_pool_create(&f.p, pool);
    const char *text =
        apr_pstrcat(f.p, "CasProxy On\nCasProxyDirectory ldif:", export,
                    "\nCasProxyStateDir /nonexistent\n", more, "\n", NULL);
    const char *wrong = casp_config_read(f.p, text, NULL, &config);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    f.s = casp_settings_complete(f.p, config.settings, "/nonexistent");
    f.d = casp_dir_settings_complete(f.p, config.dir);
    wrong = casp_org_create(f.p, f.s, NULL, &f.org);
    if (wrong != NULL) {
        fail_msg("%s", wrong);
    }
    assert_int_equal(casp_org_start(f.org, f.p, NULL, NULL), APR_SUCCESS);
    casp_org_tick(f.org, apr_time_now());
    return f;
}

static void end_front(front_t *f)
{
    apr_pool_destroy(f->p);
}

static casp_ask_t make_ask(const char *who, const char *target, casp_by_e by)
{
    casp_ask_t a;
    memset(&a, 0, sizeof(a));
    a.method = "GET";
    a.target = target;
    a.host = "mail.contoso.test";
    a.https = true;
    a.local_address = "10.1.0.7";
    a.by = by;
    a.at_logon = by == CASP_BY_FORMS;
    a.user = who;
    return a;
}

static casp_verdict_t judge(front_t *f, const casp_ask_t *ask)
{
    casp_verdict_t v;
    if (!casp_verdict_before_logon(f->p, f->s, f->d, ask, &v)) {
        casp_verdict_reach(f->p, f->s, f->d, f->org, ask, &v);
    }
    return v;
}

static bool same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* ------------------------------------------------------------- the table */

#define FORMS CASP_BY_FORMS
#define BASIC CASP_BY_BASIC
#define NTLM CASP_BY_NTLM

static const struct {
    const char *config, *user, *target;
    casp_by_e by;
    const char *action, *reason, *url;
} table[] = {
    /* 2007 */
    {"CasProxyFrontEnd 2007", "CONTOSO\\u07", "/owa/", FORMS, "direct",
     "mailbox-in-this-site", "https://ber-ex07.contoso.test/owa"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\m07", "/owa/", FORMS,
     "manual-redirect", "mailbox-in-other-site",
     "https://munich7.contoso.test/owa/"},
    {"CasProxyFrontEnd 2007\nCasProxyRedirectToOptimalServer Off",
     "CONTOSO\\m07", "/owa/", FORMS, "proxy", "mailbox-in-other-site",
     "https://muc-ex07.contoso.test/owa"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\h07", "/owa/", FORMS, "proxy",
     "mailbox-in-other-site", "https://ham-ex07.contoso.test/owa"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/owa/", FORMS, "error",
     "mailbox-not-on-2007", NULL},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/exchange/?Cmd=x", FORMS,
     "proxy-backend", "mailbox-on-2003",
     "http://ber-ex03.contoso.test/exchange"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/exchweb/img/x.gif", FORMS,
     "proxy-backend", "mailbox-on-2003",
     "http://ber-ex03.contoso.test/exchweb"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u07", "/public/x/", FORMS,
     "proxy-backend", "public-folders-on-2003",
     "http://ber-ex03.contoso.test/public"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u07", "/exchange/", FORMS,
     "silent-redirect", "legacy-path", "https://mail.contoso.test/owa/"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u07", "/exchange/", NTLM, "logon",
     "double-hop", NULL},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u07", "/exchange/u03/", FORMS,
     "proxy-backend", "mailbox-on-2003",
     "http://ber-ex03.contoso.test/exchange"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u07", "/exchange/u03/", NTLM, "logon",
     "double-hop", NULL},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/exchange/", NTLM,
     "proxy-backend", "mailbox-on-2003",
     "http://ber-ex03.contoso.test/exchange"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/owa/u07", FORMS, "direct",
     "mailbox-in-this-site", "https://ber-ex07.contoso.test/owa"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/owa/u07@contoso.test/", FORMS,
     "direct", "mailbox-in-this-site", "https://ber-ex07.contoso.test/owa"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/exchange/m07/Inbox/", FORMS,
     "silent-redirect", "legacy-path",
     "https://mail.contoso.test/owa/m07@contoso.test/"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\m10", "/owa/", FORMS,
     "manual-redirect", "mailbox-newer-than-front",
     "https://munich.contoso.test/owa/"},
    {"CasProxyFrontEnd 2007", "CONTOSO\\h10", "/owa/", FORMS, "error",
     "mailbox-newer-than-front", NULL},
    /* 2010 */
    {"CasProxyFrontEnd 2010", "CONTOSO\\u03", "/owa/", FORMS, "sso-redirect",
     "mailbox-on-2003", "https://old.contoso.test/exchange/"},
    {"CasProxyFrontEnd 2010", "CONTOSO\\u03", "/owa/", BASIC,
     "silent-redirect", "mailbox-on-2003",
     "https://old.contoso.test/exchange/"},
    {"CasProxyExchange2003URL https://set.contoso.test/exchange/",
     "CONTOSO\\u03", "/owa/", BASIC, "silent-redirect", "mailbox-on-2003",
     "https://set.contoso.test/exchange/"},
    {"", "CONTOSO\\u03", "/exchange/u03/Inbox/?Cmd=contents", BASIC,
     "silent-redirect", "mailbox-on-2003",
     "https://old.contoso.test/exchange/u03/Inbox/?Cmd=contents"},
    {"CasProxyExchange2003URL https://mail.contoso.test/exchange",
     "CONTOSO\\u03", "/owa/", BASIC, "error", "target-is-this-host", NULL},
    {"CasProxySite Munich", "CONTOSO\\u03", "/owa/", BASIC, "error",
     "no-exchange2003-url", NULL},
    {"", "CONTOSO\\u07", "/owa/", FORMS, "sso-redirect", "mailbox-on-2007",
     "https://legacy.contoso.test/owa/"},
    {"", "CONTOSO\\m07", "/owa/", FORMS, "manual-redirect",
     "mailbox-in-other-site", "https://munich7.contoso.test/owa/"},
    {"CasProxyCrossSiteRedirectType Silent", "CONTOSO\\m07", "/owa/", FORMS,
     "sso-redirect", "mailbox-in-other-site",
     "https://munich7.contoso.test/owa/"},
    {"", "CONTOSO\\h07", "/owa/", FORMS, "proxy", "mailbox-in-other-site",
     "https://ham-ex07.contoso.test/owa"},
    {"CasProxySite Hamburg", "CONTOSO\\h07", "/owa/", FORMS, "silent-redirect",
     "mailbox-on-2007", "https://ham-ex07.contoso.test/owa/"},
    {"", "CONTOSO\\m10", "/owa/", FORMS, "manual-redirect",
     "mailbox-in-other-site", "https://munich.contoso.test/owa/"},
    /* the same authentication first, then by FQDN */
    {"", "CONTOSO\\m10", "/owa/", BASIC, "manual-redirect",
     "mailbox-in-other-site", "https://basic.contoso.test/owa/"},
    {"", "CONTOSO\\m10", "/owa/", NTLM, "manual-redirect",
     "mailbox-in-other-site", "https://basic.contoso.test/owa/"},
    {"CasProxyCrossSiteRedirectType Silent", "CONTOSO\\m10", "/owa/", FORMS,
     "sso-redirect", "mailbox-in-other-site",
     "https://munich.contoso.test/owa/"},
    {"CasProxyCrossSiteRedirectType Silent\nCasProxySSO TwoFactor",
     "CONTOSO\\m10", "/owa/", FORMS, "silent-redirect",
     "mailbox-in-other-site", "https://munich.contoso.test/owa/"},
    {"CasProxyCrossSiteRedirectType Silent", "CONTOSO\\ada",
     "/owa/m10@contoso.test/?ae=Folder", FORMS, "sso-redirect",
     "mailbox-in-other-site",
     "https://munich.contoso.test/owa/m10@contoso.test/?ae=Folder"},
    {"", "CONTOSO\\away", "/owa/", FORMS, "temporary-redirect",
     "database-mounted-elsewhere", "https://munich.contoso.test/owa/"},
    {"CasProxyFrontEnd 2010", "CONTOSO\\away", "/owa/", FORMS,
     "manual-redirect", "mailbox-in-other-site",
     "https://munich.contoso.test/owa/"},
    {"CasProxyMountedSite DB-MUC-AWAY Berlin", "CONTOSO\\away", "/owa/", FORMS,
     "direct", "mailbox-in-this-site", "*"},
    {"CasProxyMountedSite DB-LOST-EX10 Hamburg", "CONTOSO\\lost", "/owa/",
     FORMS, "proxy", "mailbox-in-other-site",
     "https://ham-ex10.contoso.test/owa"},
    {"", "CONTOSO\\h10", "/owa/", FORMS, "proxy", "mailbox-in-other-site",
     "https://ham-ex10.contoso.test/owa"},
    {"", "CONTOSO\\ada", "/owa/", FORMS, "direct", "mailbox-in-this-site",
     "*"},
    {"", "CONTOSO\\ada", "/exchange/", BASIC, "silent-redirect", "legacy-path",
     "https://mail.contoso.test/owa/"},
    {"", "CONTOSO\\ada", "/exchange/ada/Inbox/", BASIC, "silent-redirect",
     "legacy-path", "https://mail.contoso.test/owa/"},
    {"", "CONTOSO\\ada", "/exchange/bob/Inbox/", BASIC, "silent-redirect",
     "legacy-path", "https://mail.contoso.test/owa/bob@contoso.test/"},
    {"", "CONTOSO\\u16", "/owa/", FORMS, "error", "mailbox-newer-than-front",
     NULL},
    {"", "ada@contoso.test", "/owa/", FORMS, "direct", "mailbox-in-this-site",
     "*"},
    {"CasProxyDefaultDomain CONTOSO", "ada", "/owa/", FORMS, "direct",
     "mailbox-in-this-site", "*"},
    {"", "CONTOSO\\ada", "/EWS/Exchange.asmx", BASIC, "direct",
     "mailbox-in-this-site", "https://ber-casa.contoso.test/EWS"},
    {"", "CONTOSO\\m10", "/Microsoft-Server-ActiveSync", BASIC, "deny",
     "eas-method", NULL},
    /* the loop guard: request host, own URL, both without case and port */
    {"CasProxyExternalURL https://Munich.contoso.test:443/owa", "CONTOSO\\m10",
     "/owa/", FORMS, "temporary-redirect", "target-is-this-host",
     "https://back.contoso.test/owa/"},
    {"CasProxyExternalURL https://basic.contoso.test/owa\n"
     "CasProxyFailbackURL https://set.contoso.test/owa Munich",
     "CONTOSO\\m10", "/owa/", BASIC, "temporary-redirect",
     "target-is-this-host", "https://set.contoso.test/owa/"},
    {"CasProxyExternalURL https://munich7.contoso.test/owa", "CONTOSO\\m07",
     "/owa/", FORMS, "error", "target-is-this-host", NULL},
    {"CasProxyExternalURL https://munich7.contoso.test/owa\n"
     "CasProxyFailbackURL https://any.contoso.test/owa",
     "CONTOSO\\m07", "/owa/", FORMS, "temporary-redirect",
     "target-is-this-host", "https://any.contoso.test/owa/"},
    {"CasProxyExternalURL https://munich7.contoso.test/owa\n"
     "CasProxyFailbackURL https://mail.contoso.test/owa",
     "CONTOSO\\m07", "/owa/", FORMS, "error", "target-is-this-host", NULL},
    /* 2013 and later */
    {"CasProxyFrontEnd 2013", "CONTOSO\\u13", "/owa/", FORMS, "direct",
     "mailbox-in-this-site", "https://ber-ex13.contoso.test/owa"},
    {"CasProxyFrontEnd 2013", "CONTOSO\\m13", "/owa/?a=b", BASIC,
     "silent-redirect", "mailbox-in-other-site",
     "https://munich13.contoso.test/owa/?a=b"},
    {"CasProxyFrontEnd 2013", "CONTOSO\\m13", "/owa/auth.owa", BASIC,
     "silent-redirect", "mailbox-in-other-site",
     "https://munich13.contoso.test/owa/"},
    {"CasProxyFrontEnd 2013", "CONTOSO\\m13", "/owa/?a=b", FORMS,
     "sso-redirect", "mailbox-in-other-site",
     "https://munich13.contoso.test/owa/?a=b"},
    {"CasProxyFrontEnd 2013\nCasProxyExternalURL "
     "https://munich13.contoso.test/owa",
     "CONTOSO\\m13", "/owa/", FORMS, "proxy", "target-is-this-host",
     "https://muc-ex13.contoso.test/owa"},
    {"CasProxyFrontEnd 2013", "CONTOSO\\u16", "/owa/", FORMS, "direct",
     "mailbox-in-this-site", "https://ber-ex16.contoso.test/owa"},
    {"CasProxyFrontEnd 2016", "CONTOSO\\h19", "/owa/", FORMS, "proxy",
     "mailbox-in-other-site", "https://HAM-EX19.contoso.test/owa"},
    {"CasProxyFrontEnd 2013", "CONTOSO\\h07", "/owa/", FORMS, "sso-redirect",
     "mailbox-on-2007", "https://legacy.contoso.test/owa/"},
    {"CasProxyFrontEnd 2013\nCasProxyExternalURL "
     "https://legacy.contoso.test/owa",
     "CONTOSO\\h07", "/owa/", FORMS, "proxy", "mailbox-in-other-site",
     "https://ham-ex07.contoso.test/owa"},
    /* Redirect mode */
    {"CasProxy Redirect", "CONTOSO\\ada", "/owa/", BASIC, "error",
     "target-is-this-host", NULL},
    {"CasProxy Redirect", "CONTOSO\\m10", "/owa/", FORMS, "sso-redirect",
     "redirect-mode", "https://munich.contoso.test/owa/"},
    {"CasProxy Redirect", "CONTOSO\\h10", "/owa/", FORMS, "error",
     "no-external-url", NULL},
    {"CasProxy Redirect\nCasProxyFrontEnd 2007", "CONTOSO\\u03",
     "/exchange/?b", BASIC, "silent-redirect", "redirect-mode",
     "https://old.contoso.test/exchange/?b"},
    /* what cannot be served */
    {"", "CONTOSO\\nobody", "/owa/", FORMS, "error", "user-unknown", NULL},
    {"", "FABRIKAM\\ada", "/owa/", FORMS, "error", "user-unknown", NULL},
    {"", "ada", "/owa/", FORMS, "error", "user-unknown", NULL},
    {"", NULL, "/owa/", FORMS, "logon", "credentials-needed", NULL},
    {"", "CONTOSO\\none", "/owa/", FORMS, "error", "no-mailbox", NULL},
    {"", "CONTOSO\\none", "/owa/ada", FORMS, "direct", "mailbox-in-this-site",
     "*"},
    {"", "CONTOSO\\far", "/owa/", FORMS, "error", "remote-mailbox", NULL},
    {"", "CONTOSO\\off", "/owa/", FORMS, "error", "owa-disabled", NULL},
    {"", "CONTOSO\\ada", "/owa/off", FORMS, "error", "owa-disabled", NULL},
    {"", "CONTOSO\\dead", "/owa/", FORMS, "error", "account-disabled", NULL},
    {"", "CONTOSO\\ada", "/owa/dead", FORMS, "direct", "mailbox-in-this-site",
     "*"},
    {"", "CONTOSO\\gone", "/owa/", FORMS, "error", "database-unknown", NULL},
    {"", "CONTOSO\\lost", "/owa/", FORMS, "error", "site-unknown", NULL},
    {"", "CONTOSO\\ada", "/owa/nobody@contoso.test/", FORMS, "error",
     "mailbox-unknown", NULL},
    {"", "CONTOSO\\ada", "/owa/twin@contoso.test/", FORMS, "error",
     "mailbox-ambiguous", NULL},
    {"CasProxySite Nowhere", "CONTOSO\\ada", "/owa/", FORMS, "error",
     "front-site-unknown", NULL},
    /* before logon */
    {"", "CONTOSO\\ada", "/owa/../ecp/", FORMS, "deny", "url-traversal", NULL},
    {"", "CONTOSO\\ada", "/exadmin/", FORMS, "deny", "not-published", NULL},
    {"", "CONTOSO\\ada", "/powershell/", FORMS, "deny", "not-published", NULL},
    {"CasProxyPublish OWA", "CONTOSO\\ada", "/exchange/", FORMS, "deny",
     "not-published", NULL},
    {"", "CONTOSO\\ada", "/owa/integrated/", FORMS, "deny", "url-forbidden",
     NULL},
    {"CasProxyUrlPolicy Off", "CONTOSO\\ada", "/owa/../ecp/", FORMS, "deny",
     "url-traversal", NULL},
};

static void requests_reach_their_decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        front_t f = make_front(table[i].config);
        casp_ask_t ask = make_ask(table[i].user, table[i].target, table[i].by);
        ask.on_paper = true;
        casp_verdict_t v = judge(&f, &ask);
        const casp_decision_t *d = &v.decision;
        bool any = table[i].url != NULL && strcmp(table[i].url, "*") == 0;
        bool url_fits = any ? d->url != NULL
                        : table[i].url && d->url
                            ? strcasecmp(d->url, table[i].url) == 0
                            : d->url == table[i].url;
        if (!same(casp_action_name(d->action), table[i].action)
            || !same(d->reason, table[i].reason) || !url_fits) {
            fail_msg("%s %s [%s]: %s %s %s (%s)\n  wanted %s %s %s",
                     table[i].user ? table[i].user : "-", table[i].target,
                     table[i].config, casp_action_name(d->action), d->reason,
                     d->url ? d->url : "-", d->rule, table[i].action,
                     table[i].reason, table[i].url ? table[i].url : "-");
        }
        end_front(&f);
    }
}

/* ---------------------------------------------------- the other protocols */

#define EASURL "/Microsoft-Server-ActiveSync?Cmd=Sync&DeviceId=d"
#define V140 "MS-ASProtocolVersion: 14.0"
#define V25 "MS-ASProtocolVersion: 2.5"
#define F2007 "CasProxyFrontEnd 2007"
#define F2013 "CasProxyFrontEnd 2013"
#define POX "/autodiscover/autodiscover.xml"

static const struct {
    const char *config, *user, *method, *target, *header;
    const char *action, *reason, *url; /* "" or a part of it */
} machines[] = {
    /* ActiveSync: V27 to V33, V39 */
    {F2007, "m07", "POST", EASURL, V140, "eas-redirect",
     "mailbox-in-other-site",
     "https://munich7.contoso.test/Microsoft-Server-ActiveSync"},
    {F2007, "m07", "OPTIONS", EASURL, NULL, "eas-redirect",
     "mailbox-in-other-site", ""},
    {F2007 "\nCasProxyActiveSyncRedirect Off", "m07", "POST", EASURL, V140,
     "proxy", "mailbox-in-other-site", ""},
    {F2007, "h07", "POST", EASURL, V140, "proxy", "mailbox-in-other-site",
     "https://HAM-EX07.contoso.test/Microsoft-Server-ActiveSync"},
    {F2007, "u03", "POST", EASURL, V140, "proxy-backend", "mailbox-on-2003",
     "http://BER-EX03.contoso.test/Microsoft-Server-ActiveSync"},
    {F2007, "m10", "POST", EASURL, V25, "eas-redirect",
     "mailbox-newer-than-front",
     "https://munich.contoso.test/Microsoft-Server-ActiveSync"},
    {F2007, "h10", "POST", EASURL, V140, "error", "mailbox-newer-than-front",
     NULL},
    {"", "u07", "POST", EASURL, V140, "eas-redirect", "mailbox-on-2007",
     "https://legacy.contoso.test/Microsoft-Server-ActiveSync"},
    {"", "u07", "POST", EASURL, V25, "direct", "mailbox-in-this-site",
     "https://BER-EX07.contoso.test/Microsoft-Server-ActiveSync"},
    {"", "u07", "POST", EASURL, "MS-ASProtocolVersion: 12.1", "direct",
     "mailbox-in-this-site", ""},
    {"CasProxyFrontEnd 2010SP1", "u07", "POST", EASURL,
     "MS-ASProtocolVersion: 12.1", "eas-redirect", "mailbox-on-2007", ""},
    {"CasProxyFrontEnd 2010SP1", "u07", "POST", EASURL,
     "MS-ASProtocolVersion: 12.0", "direct", "mailbox-in-this-site", ""},
    {"CasProxyActiveSyncRedirect 16.1", "u07", "POST", EASURL, V140, "direct",
     "mailbox-in-this-site", ""},
    {"CasProxyActiveSyncRedirect Off", "u07", "POST", EASURL, V140, "direct",
     "mailbox-in-this-site", ""},
    {"", "u07", "OPTIONS", "/Microsoft-Server-ActiveSync", NULL, "direct",
     "mailbox-in-this-site", ""},
    {"CasProxyActiveSyncRedirect 0", "u07", "OPTIONS",
     "/Microsoft-Server-ActiveSync", NULL, "eas-redirect", "mailbox-on-2007",
     ""},
    {"CasProxyExternalURL https://legacy.contoso.test/owa", "u07", "POST",
     EASURL, V140, "direct", "mailbox-in-this-site", ""},
    /* 14.1 by the query's first byte; there the header says nothing */
    {"", "u07", "POST",
     "/Microsoft-Server-ActiveSync?jRIJBAVkZXYwMQAHaVBob25lNQ==", V25,
     "eas-redirect", "mailbox-on-2007", ""},
    {F2013, "u07", "POST", EASURL, V140, "direct", "mailbox-in-this-site", ""},
    {F2013, "m10", "POST", EASURL, V140, "proxy", "mailbox-in-other-site", ""},
    {F2013 "\nCasProxyActiveSyncRedirect 14.0", "m10", "POST", EASURL, V140,
     "eas-redirect", "mailbox-in-other-site", ""},
    {"CasProxy Redirect", "m10", "POST", EASURL, V25, "eas-redirect",
     "redirect-mode", ""},
    {"CasProxy Redirect", "h10", "POST", EASURL, V25, "error",
     "no-external-url", NULL},
    {"", "none", "POST", EASURL, V140, "error", "no-mailbox", NULL},
    {"", "noeas", "POST", EASURL, V140, "error", "eas-disabled", NULL},
    {"", "ada", "GET", EASURL, V140, "deny", "eas-method", NULL},
    {"", "ada", "POST", "/Microsoft-Server-ActiveSync/Proxy?Cmd=Sync", V140,
     "deny", "url-forbidden", NULL},
    {"", "ada", "POST", "/microsoft-server-activesync/PROXY/default.eas", V140,
     "deny", "url-forbidden", NULL},
    /* EWS: V34, anchors, the NLB bypass URL */
    {"", "m10", "POST", "/EWS/Exchange.asmx", NULL, "proxy",
     "mailbox-in-other-site", "https://"},
    {"", "ada", "POST", "/ews/Exchange.asmx",
     "X-AnchorMailbox: m10@contoso.test", "proxy", "mailbox-in-other-site",
     "https://muc-ex10.contoso.test/EWS"},
    {"", "ada", "POST", "/ews/Exchange.asmx",
     "X-AnchorMailbox: SMTP:h10@contoso.test", "proxy",
     "mailbox-in-other-site", "https://HAM-EX10.contoso.test/EWS"},
    {"", "none", "POST", "/ews/Exchange.asmx",
     "X-AnchorMailbox: h10@contoso.test", "proxy", "mailbox-in-other-site",
     ""},
    {"", "none", "POST", "/ews/Exchange.asmx", NULL, "error", "no-mailbox",
     NULL},
    {"", "none", "POST", "/ews/Exchange.asmx",
     "X-AnchorMailbox: nobody@contoso.test", "error", "mailbox-unknown", NULL},
    {"", "ada", "POST", "/ews/Exchange.asmx",
     "X-AnchorMailbox: nobody@contoso.test", "direct", "mailbox-in-this-site",
     ""},
    {"", "ada", "POST", "/ews/Exchange.asmx",
     "X-AnchorMailbox: SID~S-1-5-21-1@contoso.test", "direct",
     "mailbox-in-this-site", ""},
    {"", "ada", "POST", "/ews/Exchange.asmx",
     "X-AnchorMailbox: MBX:h10@contoso.test", "direct", "mailbox-in-this-site",
     ""},
    {"", "ada", "POST", "/EWS/Exchange.asmx",
     "X-AnchorMailbox: twin@contoso.test", "error", "mailbox-ambiguous", NULL},
    {"", "ada", "GET", "/EWS/HEALTHCHECK.HTM", NULL, "deny", "url-forbidden",
     NULL}, /* V51 */
    {"", "m10", "POST", "/UnifiedMessaging/Service.asmx", NULL, "proxy",
     "mailbox-in-other-site", ""},
    /* Autodiscover: V36 */
    {F2007, "m10", "POST", POX, NULL, "autodiscover-redirect",
     "mailbox-newer-than-front", "https://ews-munich.contoso.test" POX},
    {F2007, "m13", "POST", "/AutoDiscover/AutoDiscover.xml?a=b", NULL,
     "autodiscover-redirect", "mailbox-newer-than-front",
     "https://munich13.contoso.test/AutoDiscover/AutoDiscover.xml?a=b"},
    {F2007 "\nCasProxyExternalURL https://munich13.contoso.test/owa", "m13",
     "POST", POX, NULL, "error", "target-is-this-host", NULL},
    {F2007, "h10", "POST", POX, NULL, "error", "mailbox-newer-than-front",
     NULL},
    {F2007, "u03", "POST", POX, NULL, "direct", "older-mailbox-answered-here",
     "https://BER-EX07.contoso.test/Autodiscover"},
    {"", "m07", "POST", POX, NULL, "direct", "older-mailbox-answered-here",
     "https://BER-CAS"},
    {"CasProxySite Munich", "u07", "POST", POX, NULL, "direct",
     "older-mailbox-answered-here", "https://MUC-"},
    {"", "m10", "POST", POX, NULL, "proxy", "mailbox-in-other-site",
     "https://MUC-"},
    {F2013, "m07", "POST", POX, NULL, "direct", "older-mailbox-answered-here",
     "https://BER-EX13.contoso.test/Autodiscover"},
    {"CasProxyFrontEnd 2013\nCasProxySite Hamburg", "m07", "POST", POX, NULL,
     "direct", "older-mailbox-answered-here",
     "https://HAM-EX19.contoso.test/Autodiscover"},
    {F2013, "m13", "POST", POX, NULL, "proxy", "mailbox-in-other-site",
     "https://MUC-EX13.contoso.test/Autodiscover"},
    {F2013, "m13", "GET", "/autodiscover/autodiscover.json?Protocol=EWS", NULL,
     "direct", "older-mailbox-answered-here",
     "https://BER-EX16.contoso.test/Autodiscover"},
    {"", "ada", "GET", "/autodiscover/AUTODISCOVER.json?Protocol=EWS", NULL,
     "error", "autodiscover-too-old", NULL},
    {"", "m07", "POST", "/autodiscover/autodiscover.svc", NULL, "direct",
     "older-mailbox-answered-here", "https://BER-CAS"},
    {F2007, "m07", "POST", "/autodiscover/autodiscover.svc", NULL, "error",
     "autodiscover-too-old", NULL},
    {"CasProxyAutodiscover Answer", "m07", "POST",
     "/Autodiscover/AUTODISCOVER.XML", NULL, "autodiscover-answer",
     "autodiscover-answered-here", NULL},
    {"CasProxyAutodiscover Answer", "none", "POST", POX, NULL,
     "autodiscover-answer", "autodiscover-answered-here", NULL},
    {"CasProxyAutodiscover Answer", "nobody", "POST", POX, NULL, "error",
     "user-unknown", NULL},
    {"CasProxyAutodiscover Answer", "m10", "POST",
     "/autodiscover/autodiscover.svc", NULL, "proxy", "mailbox-in-other-site",
     ""},
    {"CasProxy Redirect", "m10", "POST", POX, NULL, "autodiscover-redirect",
     "redirect-mode", "https://ews-munich.contoso.test" POX},
    /* Outlook Anywhere: V40 */
    {"", "m07", "RPC_IN_DATA", "/rpc/rpcproxy.dll?MUC-EX07:6001", NULL,
     "direct", "older-mailbox-answered-here", "https://BER-CAS"},
    {"CasProxySite Nowhere", "m07", "RPC_IN_DATA",
     "/rpc/rpcproxy.dll?MUC-EX07:6001", NULL, "proxy",
     "older-mailbox-answered-here", "https://MUC-EX10.contoso.test/rpc"},
    {F2013, "m07", "RPC_IN_DATA", "/rpc/rpcproxy.dll?MUC-EX07:6001", NULL,
     "proxy", "mailbox-in-other-site", "https://MUC-EX07.contoso.test/rpc"},
    {F2007, "u03", "RPC_IN_DATA", "/rpc/rpcproxy.dll?BER-EX03:6001", NULL,
     "direct", "older-mailbox-answered-here",
     "https://BER-EX07.contoso.test/rpc"},
    /* 2013's endpoints name a mailbox, or nothing that we know */
    {F2013, "u13", "POST",
     "/mapi/emsmdb/?a=b&"
     "mailboxid=00112233-4455-6677-8899-aabbccddeeff@contoso.test",
     NULL, "proxy", "mailbox-in-other-site",
     "https://MUC-EX13.contoso.test/mapi"},
    {F2013, "u13", "RPC_OUT_DATA",
     "/rpc/rpcproxy.dll?00112233-4455-6677-8899-aabbccddeeff@contoso.test:"
     "6001",
     NULL, "proxy", "mailbox-in-other-site",
     "https://MUC-EX13.contoso.test/rpc"},
    {F2013, "u13", "POST",
     "/mapi/emsmdb/?MailboxId=ffffffff-4455-6677-8899-aabbccddeeff@x.test",
     NULL, "direct", "mailbox-in-this-site", ""},
    {F2013, "u13", "POST", "/mapi/emsmdb/?MailboxId=ada@contoso.test", NULL,
     "direct", "mailbox-in-this-site", ""},
    {"", "m10", "POST", "/mapi/emsmdb/", NULL, "error", "no-mapi", NULL},
    /* ECP, OAB, PowerShell */
    {"", "m07", "GET", "/ecp/", NULL, "error", "no-ecp", NULL}, /* V41 */
    {"", "m10", "GET", "/ecp/", NULL, "manual-redirect",
     "mailbox-in-other-site", "https://munich.contoso.test/ecp/"},
    {"CasProxyExternalURL https://munich.contoso.test/owa", "m10", "GET",
     "/ecp/", NULL, "temporary-redirect", "target-is-this-host",
     "https://back.contoso.test/ecp/"},
    {"", "m10", "GET", "/OAB/x/oab.xml", NULL, "proxy",
     "mailbox-in-other-site", ""},
    {"CasProxyPublish PowerShell", "h10", "POST", "/powershell/", NULL,
     "direct", "older-mailbox-answered-here", "https://BER-CAS"},
    {"CasProxyPublish PowerShell\n" F2013, "h10", "POST", "/powershell/", NULL,
     "proxy", "mailbox-in-other-site", ""},
    /* a mail proxy asks */
    {F2007, "u03", NULL, "imap://mail.contoso.test", NULL, "proxy-backend",
     "mailbox-on-2003", "imap://BER-EX03.contoso.test"},
    {F2007, "u07", NULL, "pop3://mail.contoso.test", NULL, "direct",
     "mailbox-in-this-site", "pop3://BER-EX07.contoso.test"},
    {F2007, "m07", NULL, "IMAP4://mail.contoso.test", NULL, "error",
     "mail-not-proxied", NULL},
    {"", "m07", NULL, "imap4://mail.contoso.test", NULL, "proxy",
     "mailbox-in-other-site", "imap://MUC-EX07.contoso.test"},
    {"", "h10", NULL, "smtp://mail.contoso.test", NULL, "proxy",
     "mailbox-in-other-site", "smtp://HAM-EX10.contoso.test"},
    {"", "ada", NULL, "smtp://mail.contoso.test", NULL, "error",
     "no-cas-in-site", NULL}, /* no hub transport server there */
    {"CasProxyPublish OWA", "ada", NULL, "imap4://mail.contoso.test", NULL,
     "deny", "not-published", NULL},
    {"", "nomail", NULL, "pop3://mail.contoso.test", NULL, "error",
     "mail-protocol-disabled", NULL},
    {"", "nomail", NULL, "imap4://mail.contoso.test", NULL, "direct",
     "mailbox-in-this-site", "imap://BER-CAS"},
};

static void programs_and_devices_reach_theirs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(machines) / sizeof(machines[0]); i++) {
        front_t f = make_front(machines[i].config);
        casp_ask_t ask =
            make_ask(apr_pstrcat(f.p, "CONTOSO\\", machines[i].user, NULL),
                     machines[i].target, BASIC);
        apr_table_t *headers = apr_table_make(f.p, 1);
        ask.method = machines[i].method;
        ask.headers = headers;
        ask.mail = true; /* where the target is none, it changes nothing */
        if (machines[i].header != NULL) {
            const char *colon = strchr(machines[i].header, ':');
            apr_table_set(headers,
                          apr_pstrmemdup(f.p, machines[i].header,
                                         (apr_size_t)(colon
                                                      - machines[i].header)),
                          colon + 2);
        }
        casp_verdict_t v = judge(&f, &ask);
        const casp_decision_t *d = &v.decision;
        const char *url = machines[i].url;
        bool fits =
            url == NULL
                ? d->url == NULL
                : d->url != NULL && strncasecmp(d->url, url, strlen(url)) == 0;
        if (!same(casp_action_name(d->action), machines[i].action)
            || !same(d->reason, machines[i].reason) || !fits) {
            fail_msg("%d: %s %s [%s]: %s %s %s (%s)\n  wanted %s %s %s",
                     (int)i, machines[i].user, machines[i].target,
                     machines[i].config, casp_action_name(d->action),
                     d->reason, d->url ? d->url : "-", d->rule,
                     machines[i].action, machines[i].reason, url ? url : "-");
        }
        end_front(&f);
    }
}

/* The body's anchor: behind the header's, and of every kind. */
static void an_anchor_leads_to_its_mailbox(void **state)
{
    (void)state;
    front_t f = make_front("");
    casp_ask_t ask = make_ask("CONTOSO\\none", "/EWS/Exchange.asmx", BASIC);
    apr_table_t *headers = apr_table_make(f.p, 1);
    ask.anchor = "h10@contoso.test";
    ask.anchor_len = strlen(ask.anchor);
    ask.anchor_kind = CASP_KEY_UPN;
    casp_verdict_t v = judge(&f, &ask);
    assert_string_equal(v.site, "Hamburg");
    assert_int_equal(v.decision.action, CASP_ACTION_PROXY);
    ask.headers = headers;
    apr_table_set(headers, "X-AnchorMailbox", "m10@contoso.test");
    v = judge(&f, &ask);
    assert_string_equal(v.site, "Munich");
    apr_table_set(headers, "X-AnchorMailbox", "what is this");
    v = judge(&f, &ask);
    assert_string_equal(v.site, "Hamburg");
    /* nobody but EWS has one */
    ask.target = "/owa/";
    v = judge(&f, &ask);
    assert_string_equal(v.decision.reason, "no-mailbox");
    end_front(&f);
}

/* Outlook Anywhere behind 2013 needs it enabled, and more than Basic. */
static void conditions_of_outlook_anywhere_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *config, *user, *warning;
    } cases[] = {{F2013, "m07", "rpc-needs-integrated"},
                 {F2013, "h07", "rpc-not-enabled"},
                 {F2013, "m10", NULL},
                 {F2013, "m13", NULL},
                 /* 2013's condition, and not 2007's */
                 {F2007, "m07", NULL},
                 {"", "m07", "rpc-not-enabled"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        front_t f = make_front(cases[i].config);
        casp_ask_t ask =
            make_ask(apr_pstrcat(f.p, "CONTOSO\\", cases[i].user, NULL),
                     "/rpc/rpcproxy.dll?x:6001", BASIC);
        casp_verdict_t v = judge(&f, &ask);
        if (!same(v.decision.warning, cases[i].warning)) {
            fail_msg("%s: %s", cases[i].user,
                     v.decision.warning ? v.decision.warning : "-");
        }
        assert_true(v.decision.nbackends > 0);
        end_front(&f);
    }
}

/* --------------------------------------------------------------- backends */

static const casp_backend_t *backend_of(const casp_verdict_t *v,
                                        const char *server)
{
    for (int i = 0; i < v->decision.nbackends; i++) {
        if (strcmp(v->decision.backends[i].server, server) == 0) {
            return &v->decision.backends[i];
        }
    }
    return NULL;
}

static void backends_are_servers_of_the_organisation(void **state)
{
    (void)state;
    front_t f = make_front("");
    casp_ask_t ask = make_ask("CONTOSO\\ada", "/owa/", FORMS);
    casp_verdict_t v = judge(&f, &ask);
    assert_int_equal(v.decision.nbackends, 2);
    /* our own name and a balancer's become the server's FQDN */
    assert_true(strcasecmp(backend_of(&v, "BER-CASA")->url,
                           "https://ber-casa.contoso.test/owa")
                == 0);
    assert_true(strcasecmp(backend_of(&v, "BER-CASB")->url,
                           "https://ber-casb.contoso.test/mailbox")
                == 0);
    assert_int_equal(backend_of(&v, "BER-CASB")->auth, CASP_AUTH_BASIC);
    assert_string_equal(v.decision.url, v.decision.backends[0].url);
    end_front(&f);

    /* a balancer's name that the administrator allows stays */
    f = make_front("CasProxyBackendHosts *.contoso.test");
    v = judge(&f, &ask);
    assert_string_equal(backend_of(&v, "BER-CASB")->url,
                        "https://balancer.contoso.test:8443/mailbox");
    assert_true(strcasecmp(backend_of(&v, "BER-CASA")->url,
                           "https://ber-casa.contoso.test/owa")
                == 0);
    end_front(&f);

    /* a server whose own name is ours cannot be its backend */
    f = make_front("");
    ask.host = "BER-CASA.contoso.test:443";
    v = judge(&f, &ask);
    assert_int_equal(v.decision.nbackends, 1);
    assert_null(backend_of(&v, "BER-CASA"));
    ask = make_ask("CONTOSO\\h10", "/owa/", FORMS);
    ask.host = "ham-ex10.contoso.test.";
    v = judge(&f, &ask);
    assert_string_equal(v.decision.reason, "proxy-loop");
    assert_int_equal(v.decision.nbackends, 0);
    end_front(&f);
}

/* How the front logs on behind, by the target's bits and by what was brought;
 * @a login "": nothing is proxied on the wire, @a why is the reason. */
static void logins_fit_target_and_user(void **state)
{
    (void)state;
    static const struct {
        const char *config, *user, *target;
        casp_by_e by;
        const char *server, *login, *why;
    } cases[] = {
        {"", "CONTOSO\\ada", "/owa/", FORMS, "BER-CASA", "forms",
         "target-has-forms"},
        {"", "CONTOSO\\ada", "/owa/", BASIC, "BER-CASB", "basic",
         "target-takes-basic"},
        {"CasProxyBackendAuth NTLM", "CONTOSO\\ada", "/owa/", FORMS,
         "BER-CASA", "ntlm", "configured"},
        {"CasProxyBackendAuth Kerberos", "CONTOSO\\ada", "/owa/", FORMS,
         "BER-CASB", "kerberos", "configured"},
        {"CasProxyBackendAuth Forms", "CONTOSO\\h10", "/owa/", BASIC,
         "HAM-EX10", "forms", "configured"},
        {"CasProxyBackendAuth None", "CONTOSO\\h10", "/owa/", BASIC,
         "HAM-EX10", "none", "configured"},
        {"", "CONTOSO\\ada", "/EWS/Exchange.asmx", BASIC, "BER-CASA", "basic",
         "target-unknown"},
        {"", "CONTOSO\\h10", "/owa/", CASP_BY_OTHER, "HAM-EX10", "pass",
         "other-module"},
        /* a map that leads to plain http: no password goes there */
        {"CasProxyBackendMap ham-ex10.contoso.test http://127.0.0.1:81",
         "CONTOSO\\h10", "/owa/", BASIC, "HAM-EX10", "", "backend-plain-http"},
        {"CasProxyBackendMap ham-ex10.contoso.test https://127.0.0.1:81",
         "CONTOSO\\h10", "/owa/", BASIC, "HAM-EX10", "basic",
         "target-takes-basic"},
        {"CasProxyBackendMap ham-ex10.contoso.test http://127.0.0.1:81\n"
         "CasProxyBackendAuth NTLM",
         "CONTOSO\\h10", "/owa/", BASIC, "HAM-EX10", "ntlm", "configured"},
        /* 2003 */
        {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/exchange/", FORMS,
         "BER-EX03", "ntlm", "exchange-2003"},
        {"CasProxyFrontEnd 2007\nCasProxyBackendAuth Basic", "CONTOSO\\u03",
         "/exchange/", FORMS, "BER-EX03", "basic", "configured"},
        {"CasProxyFrontEnd 2007", "CONTOSO\\u07", "/public/x/", BASIC,
         "BER-EX03", "ntlm", "exchange-2003"},
        {"CasProxyFrontEnd 2007\nCasProxyKeytab /k", "CONTOSO\\u03",
         "/exchange/", NTLM, "BER-EX03", "delegate", "exchange-2003"},
        /* without a password */
        {"CasProxyFrontEnd 2007", "CONTOSO\\u03", "/exchange/", NTLM,
         "BER-EX03", "", "double-hop"},
        {"", "CONTOSO\\h10", "/owa/", NTLM, "HAM-EX10", "", "double-hop"},
        {"", "CONTOSO\\h10", "/owa/", CASP_BY_NEGOTIATE, "HAM-EX10", "",
         "double-hop"},
        {"CasProxyKeytab /k", "CONTOSO\\h10", "/owa/", NTLM, "HAM-EX10", "",
         "double-hop"}, /* Basic alone there */
        {"CasProxyKeytab /k\nCasProxyBackendAuth Delegate", "CONTOSO\\h10",
         "/owa/", NTLM, "HAM-EX10", "delegate", "configured"},
        {"CasProxyKeytab /k", "CONTOSO\\ada", "/EWS/Exchange.asmx", NTLM,
         "BER-CASA", "delegate", "target-unknown"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        front_t f = make_front(cases[i].config);
        casp_ask_t ask = make_ask(cases[i].user, cases[i].target, cases[i].by);
        casp_verdict_t v = judge(&f, &ask);
        const casp_backend_t *b = backend_of(&v, cases[i].server);
        if (*cases[i].login == '\0') {
            assert_string_equal(v.decision.reason, cases[i].why);
            assert_int_equal(v.decision.nbackends, 0);
            assert_non_null(v.detail);
        }
        else if (b == NULL || !same(casp_login_name(b->login), cases[i].login)
                 || !same(b->login_why, cases[i].why)) {
            fail_msg("case %d: %s (%s), %s", (int)i,
                     b ? casp_login_name(b->login) : "no backend",
                     b ? b->login_why : "-", v.decision.reason);
        }
        end_front(&f);
    }
}

static void who_cannot_be_logged_on_at_is_no_candidate(void **state)
{
    (void)state;
    front_t f = make_front("CasProxyBackendMap ber-casb.contoso.test "
                           "http://127.0.0.1:81");
    casp_ask_t ask = make_ask("CONTOSO\\ada", "/owa/", FORMS);
    casp_verdict_t v = judge(&f, &ask);
    assert_int_equal(v.decision.nbackends, 1);
    assert_string_equal(v.decision.backends[0].server, "BER-CASA");
    assert_int_equal(v.decision.backends[0].version, CASP_V2010);
    assert_string_equal(v.decision.url, v.decision.backends[0].url);
    end_front(&f);
}

/* On paper the sources' matrix stands; on the wire it is one 401. */
static void no_delegation_is_told_on_paper(void **state)
{
    (void)state;
    front_t f = make_front("CasProxyFrontEnd 2007");
    casp_ask_t ask = make_ask("CONTOSO\\u07", "/owa/", NTLM);
    ask.on_paper = true;
    casp_verdict_t v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_DIRECT);
    assert_string_equal(v.decision.warning, "double-hop");
    assert_int_equal(v.decision.backends[0].login, CASP_LOGIN_IMPOSSIBLE);
    ask.on_paper = false;
    v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_LOGON);
    assert_string_equal(v.decision.reason, "double-hop");
    assert_string_equal(v.decision.rule, "double-hop-wire");
    assert_int_equal(v.decision.status, 401);
    assert_null(v.decision.url);
    /* a redirection needs no password */
    ask.user = "CONTOSO\\m07";
    v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_MANUAL_REDIRECT);
    end_front(&f);

    /* with delegation the matrix's own refusal of /exchange is gone too */
    f = make_front("CasProxyFrontEnd 2007\nCasProxyKeytab /k");
    ask = make_ask("CONTOSO\\u07", "/exchange/", NTLM);
    v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_SILENT_REDIRECT);
    assert_string_equal(v.decision.reason, "legacy-path");
    end_front(&f);
}

static void users_are_shared_and_stay(void **state)
{
    (void)state;
    front_t f = make_front("");
    int at_a = 0;
    static const char *const names[] = {"ada",  "bob",   "off",
                                        "dead", "twin1", "twin2"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        /* Through explicit logon all of them come with ada's credentials: it
         * is the mailbox that draws. */
        casp_ask_t ask =
            make_ask("CONTOSO\\ada",
                     apr_pstrcat(f.p, "/exchange/", names[i], NULL), BASIC);
        ask.target = apr_pstrcat(f.p, "/owa/", names[i], NULL);
        casp_verdict_t v = judge(&f, &ask), again = judge(&f, &ask);
        if (v.decision.nbackends == 2) {
            assert_string_equal(v.decision.backends[0].server,
                                again.decision.backends[0].server);
            at_a += strcmp(v.decision.backends[0].server, "BER-CASA") == 0;
        }
    }
    assert_in_range(at_a, 1, 4);
    end_front(&f);
}

/* ------------------------------------------------------- what it tells */

static void a_verdict_tells_what_it_found(void **state)
{
    (void)state;
    front_t f = make_front("");
    casp_ask_t ask = make_ask("contoso\\ada", "/owa/m10@contoso.test/", FORMS);
    casp_verdict_t v = judge(&f, &ask);
    assert_string_equal(v.user, "CONTOSO\\ada");
    assert_non_null(v.own);
    assert_non_null(v.mailbox);
    assert_string_equal(casp_mailbox_text(v.mailbox, CASP_MB_SAM), "m10");
    assert_int_equal(v.version, CASP_V2010);
    assert_string_equal(v.server, "MUC-EX10");
    assert_string_equal(v.site, "Munich");
    assert_string_equal(v.database, "DB-MUC-EX10");
    assert_string_equal(v.front_site, "Berlin");
    assert_int_equal(v.cache, CASP_CACHE_MISS);
    assert_null(v.detail);
    v = judge(&f, &ask);
    assert_int_equal(v.cache, CASP_CACHE_HIT);

    /* a record that a logon has found already is not looked up again */
    casp_ask_t known = make_ask("whatever", "/owa/", BASIC);
    known.user_known = true;
    known.own = v.own;
    known.own_cache = CASP_CACHE_STALE;
    casp_verdict_t w = judge(&f, &known);
    assert_string_equal(w.user, "CONTOSO\\ada");
    assert_int_equal(w.cache, CASP_CACHE_STALE);
    known.own = NULL;
    w = judge(&f, &known);
    assert_string_equal(w.decision.reason, "user-unknown");
    assert_string_equal(w.user, "whatever");
    assert_non_null(w.detail);

    /* it outlives the organisation it was read from */
    casp_topology_t *t = casp_org_topology(f.org);
    assert_int_equal(t->refs, 2);
    casp_topology_unref(t);
    end_front(&f);
}

static void the_front_knows_its_site(void **state)
{
    (void)state;
    front_t f = make_front("");
    casp_ask_t ask = make_ask("CONTOSO\\ada", "/owa/", FORMS);
    ask.local_address = "10.2.3.4";
    casp_verdict_t v = judge(&f, &ask);
    assert_string_equal(v.front_site, "Munich");
    ask.local_address = "192.0.2.1";
    v = judge(&f, &ask);
    assert_null(v.front_site);
    assert_string_equal(v.decision.reason, "front-site-unknown");
    assert_non_null(strstr(v.detail, "CasProxySite"));
    ask.local_address = NULL;
    v = judge(&f, &ask);
    assert_string_equal(v.decision.reason, "front-site-unknown");
    end_front(&f);
}

static void the_marker_breaks_a_circle(void **state)
{
    (void)state;
    front_t f = make_front("CasProxyCrossSiteRedirectType Silent");
    casp_ask_t ask = make_ask("CONTOSO\\m10", "/owa/", FORMS);
    ask.loop_cookie = true;
    casp_verdict_t v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_TEMPORARY_REDIRECT);
    assert_string_equal(v.decision.url, "https://back.contoso.test/owa/");
    ask.user = "CONTOSO\\m07";
    v = judge(&f, &ask);
    assert_string_equal(v.decision.reason, "target-is-this-host");
    assert_null(v.decision.url);
    ask.user = "CONTOSO\\u03";
    v = judge(&f, &ask);
    assert_string_equal(v.decision.reason, "target-is-this-host");
    end_front(&f);
}

static void plain_http_is_moved_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *config, *host, *method;
        casp_action_e action;
        const char *url;
    } cases[] = {
        {"", "mail.contoso.test", "GET", CASP_ACTION_SILENT_REDIRECT,
         "https://mail.contoso.test/owa/?a=%2f"},
        {"", "Mail.contoso.test:8080", "GET", CASP_ACTION_SILENT_REDIRECT,
         "https://mail.contoso.test/owa/?a=%2f"},
        {"CasProxyExternalURL https://mail.contoso.test:8443/owa",
         "mail.contoso.test:8080", "GET", CASP_ACTION_SILENT_REDIRECT,
         "https://mail.contoso.test:8443/owa/?a=%2f"},
        {"CasProxyExternalURL https://mail.contoso.test:8443/owa",
         "other.contoso.test", "GET", CASP_ACTION_SILENT_REDIRECT,
         "https://other.contoso.test/owa/?a=%2f"},
        {"", "mail.contoso.test", "POST", CASP_ACTION_DENY, NULL},
        {"", NULL, "GET", CASP_ACTION_DENY, NULL},
        {"", "a/b", "GET", CASP_ACTION_DENY, NULL},
        {"", "a b", "GET", CASP_ACTION_DENY, NULL},
        {"", "user@evil.test", "GET", CASP_ACTION_DENY, NULL},
        {"CasProxyRequireTLS Off", "mail.contoso.test", "GET",
         CASP_ACTION_DIRECT, "*"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        front_t f = make_front(cases[i].config);
        casp_ask_t ask = make_ask("CONTOSO\\ada", "/owa/?a=%2f", BASIC);
        ask.https = false;
        ask.host = cases[i].host;
        ask.method = cases[i].method;
        casp_verdict_t v = judge(&f, &ask);
        if (v.decision.action != cases[i].action
            || (cases[i].url && strcmp(cases[i].url, "*") != 0
                && !same(v.decision.url, cases[i].url))) {
            fail_msg("case %d: %s %s", (int)i, v.decision.reason,
                     v.decision.url ? v.decision.url : "-");
        }
        end_front(&f);
    }
}

static void webdav_of_2007_goes_to_its_mailbox_server(void **state)
{
    (void)state;
    front_t f = make_front("CasProxyFrontEnd 2007");
    casp_ask_t ask = make_ask("CONTOSO\\u07", "/exchange/u07/Inbox/", BASIC);
    ask.method = "PROPFIND";
    casp_verdict_t v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_DIRECT);
    assert_true(strcasecmp(v.decision.url,
                           "https://ber-ex07.contoso.test/exchange")
                == 0);
    ask.user = "CONTOSO\\m07";
    ask.target = "/exchange/m07/Inbox/";
    v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_PROXY);
    apr_table_t *headers = apr_table_make(f.p, 1);
    apr_table_set(headers, "Translate", "f");
    ask.headers = headers;
    ask.method = "GET";
    v = judge(&f, &ask);
    assert_int_equal(v.decision.action, CASP_ACTION_PROXY);
    assert_true(strcasecmp(v.decision.url,
                           "https://muc-ex07.contoso.test/exchange")
                == 0);
    end_front(&f);
}

static void without_an_organisation_nothing_is_guessed(void **state)
{
    (void)state;
    casp_config_t config;
    apr_pool_t *p;
    apr_pool_create(&p, pool);
    assert_null(casp_config_read(
        p, "CasProxyDirectory ldif:/nonexistent/export.ldif\n", NULL,
        &config));
    front_t f;
    f.p = p;
    f.s = casp_settings_complete(p, config.settings, "/nonexistent");
    f.d = casp_dir_settings_complete(p, config.dir);
    assert_null(casp_org_create(p, f.s, NULL, &f.org));
    assert_int_equal(casp_org_start(f.org, p, NULL, NULL), APR_SUCCESS);
    casp_org_tick(f.org, apr_time_now());
    casp_ask_t ask = make_ask("CONTOSO\\ada", "/owa/", FORMS);
    casp_verdict_t v = judge(&f, &ask);
    assert_string_equal(v.decision.reason, "directory-unavailable");
    assert_int_equal(v.decision.status, 503);
    assert_non_null(v.detail);
    apr_pool_destroy(p);
}

/* What is no shape of a URL, and refused before anybody logs on all the
 * same. */
static void second_urls_and_methods_are_judged(void **state)
{
    static const struct {
        const char *method, *destination;
        bool rewritten;
        const char *reason; /* NULL: passes */
    } cases[] = {
        {"MOVE", "https://mail.contoso.test/exchange/u03/b.EML", false, NULL},
        {"COPY", "/public/Notes/%C3%A4.EML", false, NULL},
        {"MOVE", "https://mail.contoso.test/exadmin/x", false,
         "url-forbidden"},
        {"MOVE", "https://mail.contoso.test/owa/x", false, "url-forbidden"},
        {"MOVE", "https://mail.contoso.test/elsewhere", false,
         "url-forbidden"},
        {"MOVE", "https://mail.contoso.test/exchange/../exadmin/", false,
         "url-traversal"},
        {"MOVE", "https://mail.contoso.test/exchange/%252e%252e/", false,
         "url-traversal"},
        {"TRACE", NULL, false, "method-refused"},
        {"CONNECT", NULL, false, "method-refused"},
        {"GET", NULL, true, "url-rewritten"},
    };
    (void)state;
    front_t f = make_front("CasProxyFrontEnd 2007");
    casp_ask_t ask = make_ask("CONTOSO\\u03", "/exchange/u03/a.EML", BASIC);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        apr_table_t *headers = apr_table_make(f.p, 1);
        if (cases[i].destination != NULL) {
            apr_table_set(headers, "Destination", cases[i].destination);
        }
        ask.headers = headers;
        ask.method = cases[i].method;
        ask.rewritten = cases[i].rewritten;
        casp_verdict_t v;
        bool early = casp_verdict_before_logon(f.p, f.s, f.d, &ask, &v);
        assert_int_equal(early, cases[i].reason != NULL);
        if (early) {
            assert_string_equal(v.decision.reason, cases[i].reason);
            assert_int_equal(v.decision.action, CASP_ACTION_DENY);
        }
    }
    end_front(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_reach_their_decisions),
        cmocka_unit_test(programs_and_devices_reach_theirs),
        cmocka_unit_test(an_anchor_leads_to_its_mailbox),
        cmocka_unit_test(conditions_of_outlook_anywhere_are_told),
        cmocka_unit_test(backends_are_servers_of_the_organisation),
        cmocka_unit_test(logins_fit_target_and_user),
        cmocka_unit_test(who_cannot_be_logged_on_at_is_no_candidate),
        cmocka_unit_test(no_delegation_is_told_on_paper),
        cmocka_unit_test(users_are_shared_and_stay),
        cmocka_unit_test(a_verdict_tells_what_it_found),
        cmocka_unit_test(the_front_knows_its_site),
        cmocka_unit_test(the_marker_breaks_a_circle),
        cmocka_unit_test(plain_http_is_moved_or_refused),
        cmocka_unit_test(webdav_of_2007_goes_to_its_mailbox_server),
        cmocka_unit_test(without_an_organisation_nothing_is_guessed),
        cmocka_unit_test(second_urls_and_methods_are_judged),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
