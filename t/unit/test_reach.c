/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * From a request to the backends in its decision: which servers they are, how
 * the front logs on at each, and whom a user is sent to.  See organisation.h
 * for the organisation.
 */

#include "organisation.h"

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
        {"CasProxyBackendMap ham-ex10.contoso.test http://127.0.0.1:81",
         "CONTOSO\\h10", "/owa/", CASP_BY_OTHER, "HAM-EX10", "",
         "backend-plain-http"},
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(backends_are_servers_of_the_organisation),
        cmocka_unit_test(logins_fit_target_and_user),
        cmocka_unit_test(who_cannot_be_logged_on_at_is_no_candidate),
        cmocka_unit_test(no_delegation_is_told_on_paper),
        cmocka_unit_test(users_are_shared_and_stay),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    apr_terminate();
    return failed;
}
