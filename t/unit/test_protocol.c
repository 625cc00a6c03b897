/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What URLs mean, and which are refused: ordinary traffic of every Exchange
 * generation must pass, anything with two readings must not.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>
#include <apr_strings.h>

#include "protocol.h"

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

#define OWA CASP_PROTO_OWA
#define LEG CASP_PROTO_LEGACY

static const struct {
    const char *target;
    casp_protocol_e protocol;
    const char *vdir, *rest, *query;
} passing[] = {
    {"/owa", OWA, "/owa", "", NULL},
    {"/owa/", OWA, "/owa", "/", NULL},
    {"/OWA/", OWA, "/owa", "/", NULL},
    {"/Owa?a=b", OWA, "/owa", "", "a=b"},
    {"/o%77a/", OWA, "/owa", "/", NULL},
    {"https://mail.contoso.test/owa/?a=b", OWA, "/owa", "/", "a=b"},
    {"HTTP://mail.contoso.test:80/owa/", OWA, "/owa", "/", NULL},
    {"/owa/?ae=Item&t=IPM.Note&id=RgAAAA%2bx%2fY%3d&u=http://x/../y", OWA,
     "/owa", "/", "ae=Item&t=IPM.Note&id=RgAAAA%2bx%2fY%3d&u=http://x/../y"},
    {"/owa/auth/logon.aspx?url=https%3a%2f%2fmail%2fowa%2f&reason=0", OWA,
     "/owa", "/auth/logon.aspx", "url=https%3a%2f%2fmail%2fowa%2f&reason=0"},
    {"/owa/auth.owa", OWA, "/owa", "/auth.owa", NULL},
    {"/owa/8.1.240.5/themes/base/clear1x1.gif", OWA, "/owa",
     "/8.1.240.5/themes/base/clear1x1.gif", NULL},
    {"/owa/15.1.2507.16/owa2/ev.owa2?ns=x", OWA, "/owa",
     "/15.1.2507.16/owa2/ev.owa2", "ns=x"},
    {"/owa/attachment.ashx?attach=1&id=Rg%25%2e%2e", OWA, "/owa",
     "/attachment.ashx", "attach=1&id=Rg%25%2e%2e"},
    {"/owa/service.svc?action=GetItem", OWA, "/owa", "/service.svc",
     "action=GetItem"},
    {"/ecp/?rfr=owa&p=PersonalSettings", CASP_PROTO_ECP, "/ecp", "/",
     "rfr=owa&p=PersonalSettings"},
    {"/ews/Exchange.asmx", CASP_PROTO_EWS, "/EWS", "/Exchange.asmx", NULL},
    {"/EWS/Services.wsdl", CASP_PROTO_EWS, "/EWS", "/Services.wsdl", NULL},
    {"/Microsoft-Server-ActiveSync?Cmd=Sync&User=ada&DeviceId=1",
     CASP_PROTO_EAS, "/Microsoft-Server-ActiveSync", "",
     "Cmd=Sync&User=ada&DeviceId=1"},
    {"/microsoft-server-activesync/default.eas?jAAJBAp2MTQ=", CASP_PROTO_EAS,
     "/Microsoft-Server-ActiveSync", "/default.eas", "jAAJBAp2MTQ="},
    {"/Autodiscover/Autodiscover.xml", CASP_PROTO_AUTODISCOVER,
     "/Autodiscover", "/Autodiscover.xml", NULL},
    {"/autodiscover/autodiscover.svc", CASP_PROTO_AUTODISCOVER,
     "/Autodiscover", "/autodiscover.svc", NULL},
    {"/autodiscover/autodiscover.json?Email=a@b.test&Protocol=ActiveSync",
     CASP_PROTO_AUTODISCOVER, "/Autodiscover", "/autodiscover.json",
     "Email=a@b.test&Protocol=ActiveSync"},
    {"/autodiscover/autodiscover.json/v1.0/a@b.test?Protocol=EWS",
     CASP_PROTO_AUTODISCOVER, "/Autodiscover",
     "/autodiscover.json/v1.0/a@b.test", "Protocol=EWS"},
    {"/OAB/4a3b2c1d-0000-1111-2222-333344445555/oab.xml", CASP_PROTO_OAB,
     "/OAB", "/4a3b2c1d-0000-1111-2222-333344445555/oab.xml", NULL},
    {"/rpc/rpcproxy.dll?mbx1.contoso.test:6001", CASP_PROTO_RPC, "/rpc",
     "/rpcproxy.dll", "mbx1.contoso.test:6001"},
    {"/mapi/emsmdb/?MailboxId=x@contoso.test", CASP_PROTO_MAPI, "/mapi",
     "/emsmdb/", "MailboxId=x@contoso.test"},
    {"/UnifiedMessaging/Service.asmx", CASP_PROTO_UM, "/UnifiedMessaging",
     "/Service.asmx", NULL},
    {"/PowerShell/?X=1", CASP_PROTO_POWERSHELL, "/PowerShell", "/", "X=1"},
    {"/exchange", LEG, "/exchange", "", NULL},
    {"/Exchange/?Cmd=logoff", LEG, "/exchange", "/", "Cmd=logoff"},
    {"/exchange/ada/Inbox/Two%20words.EML", LEG, "/exchange",
     "/ada/Inbox/Two%20words.EML", NULL},
    {"/exchange/ada/Posteingang/Gr%C3%BC%C3%9Fe.EML?Cmd=open", LEG,
     "/exchange", "/ada/Posteingang/Gr%C3%BC%C3%9Fe.EML", "Cmd=open"},
    {"/exchange/ada/Entw%FCrfe/", LEG, "/exchange", "/ada/Entw%FCrfe/", NULL},
    {"/exchange/ada/Entw\xFCrfe/", LEG, "/exchange", "/ada/Entw\xFCrfe/",
     NULL},
    {"/exchange/ada/Entw%u00FCrfe/%u00e4.EML", LEG, "/exchange",
     "/ada/Entw%u00FCrfe/%u00e4.EML", NULL},
    {"/exchange/ada/R%26D:%20a+b%20&%20c_x003F_%5F.EML", LEG, "/exchange",
     "/ada/R%26D:%20a+b%20&%20c_x003F_%5F.EML", NULL},
    {"/exchange/ada/100%25%20sure.EML", LEG, "/exchange",
     "/ada/100%25%20sure.EML", NULL},
    {"/exchange/ada/Inbox/and%2For.EML", LEG, "/exchange",
     "/ada/Inbox/and%2For.EML", NULL},
    {"/exchange/ada/Inbox//x.EML", LEG, "/exchange", "/ada/Inbox//x.EML",
     NULL},
    {"/exchange/ada/Inbox/wait...%20what.EML", LEG, "/exchange",
     "/ada/Inbox/wait...%20what.EML", NULL},
    {"/exchange/ada/Inbox/.hidden/..x/x../a;b.EML", LEG, "/exchange",
     "/ada/Inbox/.hidden/..x/x../a;b.EML", NULL},
    {"/exchange/ada/PowerShell/proxy/integrated/x.EML", LEG, "/exchange",
     "/ada/PowerShell/proxy/integrated/x.EML", NULL},
    {"/exchange/ada/%E3%80%8C%E4%BA%88%E5%AE%9A%EF%BC%8F.EML", LEG,
     "/exchange", "/ada/%E3%80%8C%E4%BA%88%E5%AE%9A%EF%BC%8F.EML", NULL},
    {"/exchange/ada/%F0%9F%98%80.EML", LEG, "/exchange",
     "/ada/%F0%9F%98%80.EML", NULL},
    {"/public/News/?Cmd=contents", LEG, "/public", "/News/", "Cmd=contents"},
    {"/exchweb/6.5.7638.1/img/logo.gif", LEG, "/exchweb",
     "/6.5.7638.1/img/logo.gif", NULL},
};

static void ordinary_urls_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(passing) / sizeof(passing[0]); i++) {
        casp_url_t u;
        casp_protocol_parse(pool, passing[i].target, &u);
        if (u.refused != NULL || u.protocol != passing[i].protocol) {
            fail_msg("%s: protocol %d, refused %s", passing[i].target,
                     (int)u.protocol, u.refused ? u.refused : "-");
        }
        assert_string_equal(u.vdir, passing[i].vdir);
        assert_string_equal(u.rest, passing[i].rest);
        if (passing[i].query == NULL) {
            assert_null(u.query);
        }
        else {
            assert_string_equal(u.query, passing[i].query);
        }
        assert_true(u.rest >= u.path && u.rest <= u.path + strlen(u.path));
    }
}

#define TRAVERSAL "url-traversal"
#define ENCODING "url-encoding"
#define CHARACTERS "url-characters"
#define FORBIDDEN "url-forbidden"

static const struct {
    const char *target;
    casp_protocol_e protocol;
    const char *refused;
} refusing[] = {
    {"/owa/../ecp/", OWA, TRAVERSAL},
    {"/owa/./", OWA, TRAVERSAL},
    {"/owa/..", OWA, TRAVERSAL},
    {"/owa/%2e%2e/ecp/", OWA, TRAVERSAL},
    {"/owa/.%2e/ecp/", OWA, TRAVERSAL},
    {"/owa/..%2fecp/", OWA, TRAVERSAL},
    {"/owa/x%2f..%2fecp/", OWA, TRAVERSAL},
    {"/owa/%252e%252e/ecp/", OWA, TRAVERSAL},
    {"/owa/%25252e%25252e/ecp/", OWA, TRAVERSAL},
    {"/owa/..%5cecp/", OWA, TRAVERSAL},
    {"/owa/..\\ecp/", OWA, TRAVERSAL},
    {"/owa/a%5cb", OWA, TRAVERSAL},
    {"/owa/a%255cb", OWA, TRAVERSAL},
    {"/owa/..%20/x", OWA, TRAVERSAL},
    {"/owa/..;/x", OWA, TRAVERSAL},
    {"/owa/%u002e%u002e/x", OWA, TRAVERSAL},
    {"/owa/%u002e./x", OWA, TRAVERSAL},
    {"/owa/a%u005cb", OWA, TRAVERSAL},
    {"/x/../owa/", OWA, TRAVERSAL},
    {"/x/%2e%2e/owa/", OWA, TRAVERSAL},
    {"//owa/", OWA, TRAVERSAL},
    {"/owa//auth/", OWA, TRAVERSAL},
    {"///owa/", OWA, TRAVERSAL},
    {"/exchange//ada/", LEG, TRAVERSAL},
    {"/\\owa/", OWA, TRAVERSAL},
    {"/owa\\x", OWA, TRAVERSAL},
    {"/owa%5c..%5cecp", OWA, TRAVERSAL},
    {"/owa%2f..%2fecp", OWA, TRAVERSAL},
    {"/owa%2fx", OWA, ENCODING},
    {"/%6f%77%61%2fx", OWA, ENCODING},
    {"/owa;x=1/", OWA, ENCODING},
    {"/owa%3bx/", OWA, ENCODING},
    {"/owa./", OWA, ENCODING},
    {"/owa%20/", OWA, ENCODING},
    {"/%256fwa/", OWA, ENCODING},
    {"/exchange/ada%2fInbox/", LEG, ENCODING},
    {"/owa/ada%2fx@contoso.test/", OWA, ENCODING},
    {"/owa/auth/%2541", OWA, ENCODING},
    {"/exchange/ada/50%2520off.EML", LEG, ENCODING},
    {"/owa/%zz", OWA, ENCODING},
    {"/owa/100%", OWA, ENCODING},
    {"/owa/%u12", OWA, ENCODING},
    {"/owa/a/%c0%af/b", OWA, ENCODING},
    {"/owa/a/%c0%2e%c0%2e/b", OWA, ENCODING},
    {"/owa/a/%c0%ae%c0%ae/b", OWA, ENCODING},
    {"/owa/a/%c1%9c/b", OWA, ENCODING},
    {"/owa/a/%e0%80%af/b", OWA, ENCODING},
    {"/owa/a/%f0%80%80%af/b", OWA, ENCODING},
    {"/owa/a/%f8%80%80%80%af/b", OWA, ENCODING},
    {"/owa/a/%uff0e%uff0e/b", OWA, ENCODING},
    {"/owa/a/%u2215/b", OWA, ENCODING},
    {"/owa/a%00b", OWA, CHARACTERS},
    {"/owa/a%2500b", OWA, CHARACTERS},
    {"/owa/a%0d%0aSet-Cookie:x", OWA, CHARACTERS},
    {"/owa/a\x01", OWA, CHARACTERS},
    {"/owa/a%7f", OWA, CHARACTERS},
    {"/owa/?a\x02", OWA, CHARACTERS},
    {"/owa/@", OWA, CHARACTERS},
    {"/owa/ada@/", OWA, CHARACTERS},
    {"/owa/@contoso.test/", OWA, CHARACTERS},
    {"/exadmin/", LEG, FORBIDDEN},
    {"/ExAdmin/Admin/contoso.test/MBX/", LEG, FORBIDDEN},
    {"/rpcwithcert/rpcproxy.dll?x:6001", CASP_PROTO_RPC, FORBIDDEN},
    {"/owa/proxyLogon.owa", OWA, FORBIDDEN},
    {"/owa/proxylogon%2eowa", OWA, FORBIDDEN},
    {"/owa/ada@contoso.test/proxyLogon.owa", OWA, FORBIDDEN},
    {"/owa/ping.owa", OWA, FORBIDDEN},
    {"/owa/integrated/", OWA, FORBIDDEN},
    {"/owa/HealthCheck.htm", OWA, FORBIDDEN},
    {"/EWS/HealthCheck.htm", CASP_PROTO_EWS, FORBIDDEN},
    {"/ews/HEALTHCHECK.HTM?x", CASP_PROTO_EWS, FORBIDDEN},
    {"/oab/%68ealthcheck.htm", CASP_PROTO_OAB, FORBIDDEN},
    {"/mapi/x/healthcheck.htm/y", CASP_PROTO_MAPI, FORBIDDEN},
    {"/owa/healthcheck.htm::$DATA", OWA, FORBIDDEN},
    {"/owa/healthcheck.htm;a=b", OWA, FORBIDDEN},
    {"/owa/healthcheck.htm.", OWA, FORBIDDEN},
    {"/exchange/HealthCheck.htm", CASP_PROTO_LEGACY, FORBIDDEN},
    {"/public/healthcheck.HTM", CASP_PROTO_LEGACY, FORBIDDEN},
    {"/microsoft-server-activesync/PROXY?Cmd=Sync", CASP_PROTO_EAS, FORBIDDEN},
    {"/Microsoft-Server-ActiveSync/Proxy.", CASP_PROTO_EAS, FORBIDDEN},
    {"/Microsoft-Server-ActiveSync?a=b&CMD=Prox%79Login", CASP_PROTO_EAS,
     FORBIDDEN},
    {"/ecp/proxyLogon.ecp", CASP_PROTO_ECP, FORBIDDEN},
    {"/Microsoft-Server-ActiveSync/Proxy/default.eas", CASP_PROTO_EAS,
     FORBIDDEN},
    {"/Microsoft-Server-ActiveSync/%50roxy", CASP_PROTO_EAS, FORBIDDEN},
    {"/owa/mastermailbox%40outlook.com/powershell", OWA, FORBIDDEN},
    {"/owa/a@b.test/PowerShell?X=1", OWA, FORBIDDEN},
    {"/autodiscover/autodiscover.json?@evil.test/mapi/nspi?&Email="
     "autodiscover/autodiscover.json%3F@evil.test",
     CASP_PROTO_AUTODISCOVER, FORBIDDEN},
    {"/autodiscover/autodiscover.json?a@evil.test/%50owershell/",
     CASP_PROTO_AUTODISCOVER, FORBIDDEN},
    {"/autodiscover/autodiscover.json?a@evil.test/%2550owershell/",
     CASP_PROTO_AUTODISCOVER, FORBIDDEN},
    {"/autodiscover/admin@localhost/powershell/autodiscover.json",
     CASP_PROTO_AUTODISCOVER, FORBIDDEN},
    {"/autodiscover/autodiscover.json?x=a@evil.test/ews/exchange.asmx",
     CASP_PROTO_AUTODISCOVER, FORBIDDEN},
    {"/autodiscover/autodiscover.json?@evil.test", CASP_PROTO_AUTODISCOVER,
     FORBIDDEN},
    {"/autodiscover/autodiscover.json?X-Rps-CAT=VgEA", CASP_PROTO_AUTODISCOVER,
     FORBIDDEN},
};

static void two_readings_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusing) / sizeof(refusing[0]); i++) {
        casp_url_t u;
        casp_protocol_parse(pool, refusing[i].target, &u);
        if (u.refused == NULL || strcmp(u.refused, refusing[i].refused) != 0
            || u.protocol != refusing[i].protocol) {
            fail_msg("%s: protocol %d, refused %s, wanted %s",
                     refusing[i].target, (int)u.protocol,
                     u.refused ? u.refused : "-", refusing[i].refused);
        }
        assert_null(u.mailbox);
    }
}

static void other_paths_are_not_ours(void **state)
{
    (void)state;
    static const char *const targets[] = {
        "/",
        "",
        "*",
        "/index.html",
        "/owafoo/",
        "/x/owa/",
        "/owa2",
        "/exchangeadmin/",
        "/aspnet_client/",
        "owa/",
        "?owa",
        "https://owa",
        "/api/v1.0/",
        "/.well-known/acme-challenge/owa",
    };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        casp_url_t u;
        casp_protocol_parse(pool, targets[i], &u);
        if (u.protocol != CASP_PROTO_NONE || u.refused != NULL) {
            fail_msg("%s is not ours", targets[i]);
        }
        assert_false(casp_protocol_claims(targets[i]));
    }
    casp_url_t u;
    casp_protocol_parse(pool, NULL, &u);
    assert_int_equal(u.protocol, CASP_PROTO_NONE);
}

static void claims_look_at_the_first_segment(void **state)
{
    (void)state;
    static const char *const ours[] = {
        "/owa",
        "/OWA/x",
        "//owa",
        "/owa;x",
        "/exadmin/",
        "/RpcWithCert",
        "/Microsoft-Server-ActiveSync",
        "/public/",
        "/owa\\x",
        "/owa./",
        "/powershell",
    };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        assert_true(casp_protocol_claims(ours[i]));
    }
    assert_false(casp_protocol_claims(NULL));
    assert_false(casp_protocol_claims("owa"));
}

static const struct {
    const char *target, *mailbox;
    casp_key_e kind;
} named[] = {
    {"/owa/", NULL, 0},
    {"/owa/ada@contoso.test/", "ada@contoso.test", CASP_KEY_SMTP},
    {"/owa/ada%40contoso.test", "ada@contoso.test", CASP_KEY_SMTP},
    {"/owa/Ada@Contoso.test/?ae=Folder", "Ada@Contoso.test", CASP_KEY_SMTP},
    {"/owa/m%C3%BCller@contoso.test/", "m\xC3\xBCller@contoso.test",
     CASP_KEY_SMTP},
    {"/owa/m%FCller@contoso.test/", "m\xC3\xBCller@contoso.test",
     CASP_KEY_SMTP},
    {"/owa/m%u00fcller@contoso.test/", "m\xC3\xBCller@contoso.test",
     CASP_KEY_SMTP},
    {"/owa/12345678-9abc-DEF0-1234-56789abcdef0@contoso.test/",
     "12345678-9abc-DEF0-1234-56789abcdef0", CASP_KEY_GUID},
    {"/owa/2k7fremd", "2k7fremd", CASP_KEY_ALIAS},
    {"/owa/2k7fremd/?ae=Folder", "2k7fremd", CASP_KEY_ALIAS},
    {"/owa/auth/logon.aspx", NULL, 0},
    {"/owa/Auth/", NULL, 0},
    {"/owa/calendar/x@contoso.test/cal.html", NULL, 0},
    {"/owa/forms", NULL, 0},
    {"/owa/ev.owa?oeh=1", NULL, 0},
    {"/owa/8.3.83.4/scripts/x.js", NULL, 0},
    {"/owa/ada.lovelace/", NULL, 0},
    {"/owa/a*)(cn=*", "a*)(cn=*", CASP_KEY_ALIAS},
    {"/ecp/ada@contoso.test/", "ada@contoso.test", CASP_KEY_SMTP},
    {"/ecp/PersonalSettings/", NULL, 0},
    {"/exchange/", NULL, 0},
    {"/exchange/?Cmd=logoff", NULL, 0},
    {"/exchange/ada/", "ada", CASP_KEY_ALIAS},
    {"/exchange/ada.lovelace/Inbox/?Cmd=contents", "ada.lovelace",
     CASP_KEY_ALIAS},
    {"/Exchange/ada@contoso.test/Inbox/", "ada@contoso.test", CASP_KEY_SMTP},
    {"/public/ada/", NULL, 0},
    {"/exchweb/img/", NULL, 0},
    {"/ews/ada@contoso.test/", NULL, 0},
};

static void mailboxes_are_read_from_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        casp_url_t u;
        casp_protocol_parse(pool, named[i].target, &u);
        assert_null(u.refused);
        if (named[i].mailbox == NULL) {
            if (u.mailbox != NULL) {
                fail_msg("%s: %s", named[i].target, u.mailbox);
            }
            continue;
        }
        assert_non_null(u.mailbox);
        assert_string_equal(u.mailbox, named[i].mailbox);
        assert_int_equal(u.mailbox_kind, named[i].kind);
    }
    casp_url_t u;
    char *big = apr_palloc(pool, 10001);
    memset(big, 'a', 10000);
    big[10000] = '\0';
    casp_protocol_parse(pool, apr_pstrcat(pool, "/owa/", big, NULL), &u);
    assert_string_equal(u.refused, CHARACTERS);
    casp_protocol_parse(pool, apr_pstrcat(pool, "/exchange/ada/", big, NULL),
                        &u);
    assert_null(u.refused);
}

static void page_loads_are_told_from_scripts(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target, *name, *value;
        bool page;
    } cases[] = {
        {"GET", "/owa/", NULL, NULL, true},
        {"HEAD", "/owa/", NULL, NULL, true},
        {"POST", "/owa/", NULL, NULL, false},
        {"PROPFIND", "/exchange/", NULL, NULL, false},
        {"GET", "/owa/?oeh=1&ns=x", NULL, NULL, false},
        {"GET", "/owa/?ns=x&oeh=1", NULL, NULL, false},
        {"GET", "/owa/?noeh=1", NULL, NULL, true},
        {"GET", "/owa/?oeh=10", NULL, NULL, true},
        {"GET", "/owa/", "X-Requested-With", "XMLHttpRequest", false},
        {"GET", "/exchange/", "Translate", "f", false},
        {"GET", "/owa/", "Sec-Fetch-Mode", "navigate", true},
        {"GET", "/owa/", "Sec-Fetch-Mode", "cors", false},
        {"GET", "/owa/", "Accept", "text/html,application/xml;q=0.9", true},
        {"GET", "/owa/", "Accept", "image/gif, image/jpeg, */*", true},
        {"GET", "/owa/", "Accept", "application/json", false},
        {"GET", "/owa/", "X-OWA-CANARY", "x", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_url_t u;
        casp_protocol_parse(pool, cases[i].target, &u);
        apr_table_t *h = apr_table_make(pool, 2);
        if (cases[i].name != NULL) {
            apr_table_set(h, cases[i].name, cases[i].value);
        }
        if (casp_protocol_page_load(cases[i].method, h, &u) != cases[i].page) {
            fail_msg("%s %s %s: %s", cases[i].method, cases[i].target,
                     cases[i].name ? cases[i].name : "",
                     cases[i].value ? cases[i].value : "");
        }
    }
    casp_url_t u;
    casp_protocol_parse(pool, "/owa/", &u);
    assert_true(casp_protocol_page_load("GET", NULL, &u));
    assert_false(casp_protocol_page_load(NULL, NULL, &u));
}

static void webdav_methods(void **state)
{
    (void)state;
    assert_true(casp_protocol_webdav("PROPFIND"));
    assert_true(casp_protocol_webdav("BMOVE"));
    assert_true(casp_protocol_webdav("X-MS-ENUMATTS"));
    assert_false(casp_protocol_webdav("GET"));
    assert_false(casp_protocol_webdav("POST"));
    assert_false(casp_protocol_webdav("propfind"));
    assert_false(casp_protocol_webdav(NULL));
}

static void forged_names(void **state)
{
    (void)state;
    static const char *const forged[] = {
        "X_EAS_Proxy",         "x-owa_proxyuri",          "Front_End_Https",
        "X-Original-URL",      "X-Rewrite-URL",           "X-OWA-ProxySid",
        "x-owa-proxyuri",      "X-OWA-ExplicitLogonUser", "X-LogonType",
        "X-EAS-Proxy",         "X-EAS-BasicAuth-Proxy",   "X-IsFromCafe",
        "X-CommonAccessToken", "X-SourceCafeServer",      "X-vDirObjectId",
        "X-TargetDatabase",    "X-FeToBeTimeout",         "msExchProxyUri",
        "MSEXCHLOGONMAILBOX",  "Front-End-Https",
    };
    static const char *const fine[] = {
        "Host",
        "Authorization",
        "X-AnchorMailbox",
        "X-OWA-CANARY",
        "MS-ASProtocolVersion",
        "X-MS-PolicyKey",
        "Translate",
        "Cookie",
        "X-OWA-Prox",
        "",
    };
    for (size_t i = 0; i < sizeof(forged) / sizeof(forged[0]); i++) {
        if (!casp_protocol_forged_header(forged[i])) {
            fail_msg("%s passes", forged[i]);
        }
    }
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        assert_false(casp_protocol_forged_header(fine[i]));
    }
    /* "_" and "-" are one to IIS's server variables, in these too */
    assert_true(casp_protocol_forwarded_header("X-Forwarded-For"));
    assert_true(casp_protocol_forwarded_header("X_Forwarded_For"));
    assert_true(casp_protocol_forwarded_header("x-forwarded_PROTO"));
    assert_true(casp_protocol_forwarded_header("Forwarded"));
    assert_false(casp_protocol_forwarded_header("Forwarded-By"));
    assert_false(casp_protocol_forwarded_header("X-Forward"));
    assert_true(casp_protocol_forged_cookie("X-BEResource"));
    assert_true(casp_protocol_forged_cookie("x-anonresource-backend"));
    assert_true(casp_protocol_forged_cookie("SecurityToken"));
    assert_false(casp_protocol_forged_cookie("cadata"));
}

static void cookies_are_cleaned(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"X-BEResource=a]@evil:444/ecp/x.js#~1", NULL},
        {"cadata=1; X-BEResource=x~1; sessionid=2", "cadata=1; sessionid=2"},
        {"X-BackEndCookie=S-1-5=u; cadata=1", "cadata=1"},
        {"cadata=1; \"X-BEResource\"=x", "cadata=1"},
        {"cadata=1;x-anonresource=true;X-AnonResource-Backend=h", "cadata=1"},
        {"a=1,X-BEResource=x;b=2", "a=1;b=2"},
        {"a=1; X-BEResource =x", "a=1"},
        {"SecurityToken=x;", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *out = casp_protocol_clean_cookies(pool, cases[i].in);
        if (cases[i].out == NULL) {
            assert_null(out);
        }
        else {
            assert_non_null(out);
            assert_string_equal(out, cases[i].out);
        }
    }
    const char *same = "cadata=abc=; UserContext=1; a=X-BEResource=";
    assert_ptr_equal(casp_protocol_clean_cookies(pool, same), same);
    assert_null(casp_protocol_clean_cookies(pool, NULL));
}

/* 2013's endpoints are mailboxes; a server's name is none. */
static void endpoints_name_mailboxes(void **state)
{
    (void)state;
#define ID "00112233-4455-6677-8899-aabbccddeeff"
    static const struct {
        const char *target, *mailbox;
    } cases[] = {
        {"/mapi/emsmdb/?MailboxId=" ID "@contoso.test", ID},
        {"/mapi/nspi/?a=b&mailboxid=" ID "%40contoso.test&c=d", ID},
        {"/mapi/emsmdb/?MailboxId=" ID, NULL},
        {"/mapi/emsmdb/?XMailboxId=" ID "@contoso.test", NULL},
        {"/mapi/emsmdb/", NULL},
        {"/rpc/rpcproxy.dll?" ID "@contoso.test:6001", ID},
        {"/rpc/rpcproxy.dll?" ID "%40contoso.test:6001", ID},
        {"/rpc/rpcproxy.dll?BER-MBX1.contoso.test:6001", NULL},
        {"/rpc/rpcproxy.dll?ada@contoso.test:6001", NULL},
        {"/rpc/rpcproxy.dll", NULL},
        {"/EWS/Exchange.asmx?" ID "@contoso.test:6001", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_url_t u;
        casp_protocol_parse(pool, cases[i].target, &u);
        assert_null(u.refused);
        if ((u.mailbox == NULL) != (cases[i].mailbox == NULL)
            || (u.mailbox != NULL && strcmp(u.mailbox, cases[i].mailbox))) {
            fail_msg("%s: %s", cases[i].target,
                     u.mailbox ? u.mailbox : "none");
        }
        assert_true(u.mailbox == NULL || u.mailbox_kind == CASP_KEY_GUID);
    }
}

/* A mail proxy's question, which no request of httpd's can be. */
static void mail_targets_have_a_protocol_and_nothing_else(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        casp_protocol_e protocol;
    } cases[] = {
        {"imap://mail.contoso.test", CASP_PROTO_IMAP4},
        {"IMAP4://mail.contoso.test:993", CASP_PROTO_IMAP4},
        {"pop3://mail.contoso.test/owa/", CASP_PROTO_POP3},
        {"smtp://mail.contoso.test", CASP_PROTO_SMTP},
        {"imaps://mail.contoso.test", CASP_PROTO_NONE},
        {"/imap://mail.contoso.test", CASP_PROTO_NONE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_url_t u, web;
        /* what a client of httpd's writes is never one */
        casp_protocol_parse(pool, cases[i].target, &web);
        assert_true(web.protocol < CASP_PROTO_POP3);
        assert_false(casp_protocol_claims(cases[i].target));
        u = web;
        if (!casp_protocol_mail(cases[i].target, &u)) {
            assert_int_equal(cases[i].protocol, CASP_PROTO_NONE);
            assert_memory_equal(&u, &web, sizeof(u));
            continue;
        }
        assert_int_equal(u.protocol, cases[i].protocol);
        assert_null(u.refused);
        assert_null(u.mailbox);
        assert_null(u.query);
        assert_true(!*u.vdir && !*u.rest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_urls_pass),
        cmocka_unit_test(two_readings_are_refused),
        cmocka_unit_test(other_paths_are_not_ours),
        cmocka_unit_test(claims_look_at_the_first_segment),
        cmocka_unit_test(mailboxes_are_read_from_urls),
        cmocka_unit_test(endpoints_name_mailboxes),
        cmocka_unit_test(mail_targets_have_a_protocol_and_nothing_else),
        cmocka_unit_test(page_loads_are_told_from_scripts),
        cmocka_unit_test(webdav_methods),
        cmocka_unit_test(forged_names),
        cmocka_unit_test(cookies_are_cleaned),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
