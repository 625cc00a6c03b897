/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * From a request to a decision, where no browser asks: devices, programs and
 * mail proxies, whose mailbox an anchor names, and what Outlook Anywhere needs
 * behind.  See organisation.h for the organisation.
 */

#include "organisation.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_and_devices_reach_theirs),
        cmocka_unit_test(an_anchor_leads_to_its_mailbox),
        cmocka_unit_test(conditions_of_outlook_anywhere_are_told),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
