/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * From a request to a decision: a browser's requests, and what a verdict
 * tells.  Other protocols are test_devices', backends are test_reach's.  See
 * organisation.h for the organisation.
 */

#include "organisation.h"

/* ------------------------------------------------------------- the table */

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
