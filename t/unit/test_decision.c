/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The rules, cell by cell: the sources' matrices, and in test_vectors.c their
 * vectors, then what must hold of every question that can be asked, and that
 * no rule is dead.
 */

#include "decisions.h"

static const uint64_t places[NPLACES] = {
    K(SAME_SITE) | K(INTERNAL) | K(EXTERNAL),
    K(SAME_SITE) | K(INTERNAL),
    K(INTERNAL) | K(EXTERNAL),
    K(INTERNAL) | K(EXTERNAL) | K(EXTERNAL_HERE),
    K(INTERNAL) | K(EXTERNAL) | K(EXTERNAL_HERE) | K(FAILBACK),
    K(INTERNAL),
    K(INTERNAL) | K(EXTERNAL) | K(ARRAY_HERE),
};

static casp_backend_t backends[] = {{BACK, "MUC-CAS1", CASP_AUTH_BASIC,
                                     CASP_V2010, CASP_LOGIN_BASIC,
                                     "target-takes-basic"}};
/* The same for somebody who brought no password. */
static casp_backend_t locked[] = {{BACK, "MUC-CAS1", CASP_AUTH_BASIC,
                                   CASP_V2010, CASP_LOGIN_IMPOSSIBLE,
                                   "double-hop"}};
static char seen[256];

casp_question_t ask(casp_front_e front, casp_version_e version, place_e place,
                    casp_by_e by, uint32_t auth, uint64_t more)
{
    casp_question_t q;
    memset(&q, 0, sizeof(q));
    q.front = front;
    q.version = version;
    q.protocol = CASP_PROTO_OWA;
    q.by = by;
    q.facts = places[place] | K(PAGE_LOAD) | K(TLS) | K(BACKEND) | more;
    q.nbackends = 1;
    q.backends = backends;
    if (by == CASP_BY_NTLM || by == CASP_BY_NEGOTIATE) {
        q.facts |= K(INTEGRATED);
        q.backends = locked;
    }
    if (by == CASP_BY_FORMS) {
        q.facts |= K(AT_LOGON);
    }
    if (front >= CASP_F2013) {
        q.facts |= K(SILENT);
    }
    const casp_goal_t external = {EXT, SAME, auth};
    const casp_goal_t internal = {INT, NULL, auth};
    const casp_goal_t old = {OLD, OLDSAME, auth};
    const casp_goal_t failback = {FAIL, NULL, auth};
    const casp_goal_t legacy = {FRONT7, NULL, auth};
    q.to[CASP_TO_EXTERNAL] = external;
    q.to[CASP_TO_INTERNAL] = internal;
    q.to[CASP_TO_2003] = old;
    q.to[CASP_TO_FAILBACK] = failback;
    q.to[CASP_TO_FRONT_LEGACY] = legacy;
    q.to[CASP_TO_OWA_HERE].url = HERE;
    q.to[CASP_TO_HTTPS_HERE].url = HTTPS;
    return q;
}

casp_decision_t decide(const casp_question_t *q)
{
    casp_decision_t d;
    int n;
    casp_decide(q, &d);
    const casp_rule_t *rules = casp_decision_rules(&n);
    for (int i = 0; i < n; i++) {
        if (strcmp(rules[i].id, d.rule) == 0) {
            seen[i] = 1;
        }
    }
    return d;
}

static bool on_the_wire(casp_decision_t *d)
{
    int n;
    bool changed = casp_decide_wire(d);
    const casp_rule_t *rules = casp_decision_rules(&n);
    for (int i = 0; i < n; i++) {
        if (changed && strcmp(rules[i].id, d->rule) == 0) {
            seen[i] = 1;
        }
    }
    return changed;
}

void expect(const casp_question_t *q, casp_action_e action, const char *reason,
            const char *url, const char *what)
{
    casp_decision_t d = decide(q);
    if (d.action != action || strcmp(d.reason, reason) != 0
        || (url == NULL) != (d.url == NULL)
        || (url != NULL && strcmp(url, d.url) != 0)) {
        fail_msg("%s: front %d, version %d: action %d, reason %s, url %s, "
                 "rule %s; wanted action %d, reason %s, url %s",
                 what, (int)q->front, (int)q->version, (int)d.action, d.reason,
                 d.url ? d.url : "-", d.rule, (int)action, reason,
                 url ? url : "-");
    }
}

/* --------------------------------------------------- 1.2, the whole grid */

/*
 * One letter for a cell: D direct, P proxy, M manual, T temporary, S silent
 * (302 or form), E error.  Columns as place_e; Exchange2003URL is set.
 */
static const struct {
    casp_front_e front;
    uint64_t more;
    const char *m3, *m7, *m10, *m13;
} grid[] = {
    {CASP_F2007, 0, "EEEEEEE", "DDMPPPM", "MMMEEEM", "MMMEEEM"},
    {CASP_F2010, 0, "SSSSSSS", "SSMEEPM", "DDMEEPM", "EEEEEEE"},
    {CASP_F2010SP1, 0, "SSSSSSS", "SSMETPM", "DDMETPT", "EEEEEEE"},
    {CASP_F2010SP2, 0, "SSSSSSS", "SSMETPM", "DDMETPT", "EEEEEEE"},
    {CASP_F2010SP3, 0, "SSSSSSS", "SSMETPM", "DDMETPT", "EEEEEEE"},
    {CASP_F2010SP2, K(SILENT), "SSSSSSS", "SSSETPS", "DDSETPT", "EEEEEEE"},
    {CASP_F2010SP3, K(SILENT), "SSSSSSS", "SSSETPS", "DDSETPT", "EEEEEEE"},
    /* the setting does not exist in older fronts */
    {CASP_F2010SP1, K(SILENT), "SSSSSSS", "SSMETPM", "DDMETPT", "EEEEEEE"},
    {CASP_F2007, K(SILENT), "EEEEEEE", "DDMPPPM", "MMMEEEM", "MMMEEEM"},
    {CASP_F2013, 0, "SSSSSSS", "SSSPPPS", "DDSPPPS", "DDSPPPS"},
    {CASP_F2016, 0, "SSSSSSS", "SSSPPPS", "DDSPPPS", "DDSPPPS"},
    {CASP_F2019, 0, "SSSSSSS", "SSSPPPS", "DDSPPPS", "DDSPPPS"},
    /* RedirectToOptimalServer off */
    {CASP_F2007, K(NO_OPTIMAL), "EEEEEEE", "DDPPPPP", "MMMEEEM", "MMMEEEM"},
    {CASP_F2010, K(NO_OPTIMAL), "SSSSSSS", "SSPPPPP", "DDPPPPP", "EEEEEEE"},
    {CASP_F2010SP2, K(NO_OPTIMAL) | K(SILENT), "SSSSSSS", "SSPPPPP", "DDPPPPP",
     "EEEEEEE"},
    {CASP_F2016, K(NO_OPTIMAL), "SSSSSSS", "SSPPPPP", "DDPPPPP", "DDPPPPP"},
    /* CasProxy Redirect */
    {CASP_F2007, K(REDIRECT_MODE), "SSSSSSS", "SESEEES", "SESEEES", "SESEEES"},
    {CASP_F2010SP2, K(REDIRECT_MODE), "SSSSSSS", "SSSETES", "SESETES",
     "SESETES"},
    {CASP_F2016, K(REDIRECT_MODE), "SSSSSSS", "SSSEEES", "SESEEES", "SESEEES"},
};

static char letter(casp_action_e action)
{
    switch (action) {
    case CASP_ACTION_DIRECT:
        return 'D';
    case CASP_ACTION_PROXY:
        return 'P';
    case CASP_ACTION_PROXY_BACKEND:
        return 'B';
    case CASP_ACTION_MANUAL_REDIRECT:
        return 'M';
    case CASP_ACTION_TEMPORARY_REDIRECT:
        return 'T';
    case CASP_ACTION_SILENT_REDIRECT:
    case CASP_ACTION_SSO_REDIRECT:
        return 'S';
    case CASP_ACTION_ERROR:
        return 'E';
    default:
        return '?';
    }
}

static void every_cell_of_owa(void **state)
{
    (void)state;
    static const struct {
        casp_by_e by;
        uint32_t auth;
    } ways[] = {{FORMS, FBA},
                {BASIC, ABASIC},
                {NTLM, IWA},
                {FORMS, IWA},
                {BASIC, FBA}};
    for (size_t i = 0; i < sizeof(grid) / sizeof(grid[0]); i++) {
        for (int v = CASP_V2000; v < CASP_V_COUNT; v++) {
            const char *row = v <= CASP_V2003   ? grid[i].m3
                              : v == CASP_V2007 ? grid[i].m7
                              : v == CASP_V2010 ? grid[i].m10
                                                : grid[i].m13;
            if (grid[i].front == CASP_F2013 && v == CASP_V2019
                && !(grid[i].more & K(REDIRECT_MODE))) {
                row = "EEEEEEE"; /* 2013 proxies up to 2016, no further */
            }
            for (int l = 0; l < NPLACES; l++) {
                for (size_t w = 0; w < sizeof(ways) / sizeof(ways[0]); w++) {
                    casp_question_t q =
                        ask(grid[i].front, (casp_version_e)v, (place_e)l,
                            ways[w].by, ways[w].auth,
                            grid[i].more | K(URL_2003));
                    casp_decision_t d = decide(&q);
                    if (letter(d.action) != row[l]) {
                        fail_msg("row %d, version %d, place %d: %s (%s)",
                                 (int)i, v, l, d.rule, d.reason);
                    }
                    bool sso = row[l] == 'S' && ways[w].by == FORMS
                               && ways[w].auth == FBA;
                    assert_int_equal(d.sso_possible, sso);
                    assert_int_equal(d.action == CASP_ACTION_SSO_REDIRECT,
                                     sso);
                }
            }
        }
    }
}

/* Who cannot read a page is not given one. */
static void a_link_needs_a_reader(void **state)
{
    (void)state;
    casp_question_t q = ask(CASP_F2010SP2, CASP_V2010, LX, BASIC, ABASIC, 0);
    q.facts &= ~K(PAGE_LOAD);
    casp_decision_t d = decide(&q);
    assert_int_equal(d.action, A(MANUAL_REDIRECT));
    assert_int_equal(d.status, 302);
    q.facts |= K(PAGE_LOAD);
    d = decide(&q);
    assert_int_equal(d.status, 200);
    q.facts = (q.facts & ~K(PAGE_LOAD)) | K(AT_LOGON);
    d = decide(&q);
    assert_int_equal(d.status, 200);
}

/* --------------------------------------------------- S000's two matrices */

casp_question_t old_path(casp_question_t q, casp_legacy_e legacy)
{
    q.protocol = CASP_PROTO_LEGACY;
    q.legacy = legacy;
    return q;
}

static void matrix_one(void **state)
{
    (void)state;
    static const struct {
        int row;
        casp_version_e own, deciding;
        bool exchange;
        casp_action_e integrated, forms;
        const char *integrated_reason, *forms_reason;
    } rows[] = {
        {1, CASP_V2007, CASP_V2007, false, A(DIRECT), A(DIRECT),
         "mailbox-in-this-site", "mailbox-in-this-site"},
        {2, CASP_V2007, CASP_V2007, false, A(DIRECT), A(DIRECT),
         "mailbox-in-this-site", "mailbox-in-this-site"},
        {3, CASP_V2007, CASP_V2007, true, A(LOGON), A(SILENT_REDIRECT),
         "double-hop", "legacy-path"},
        {4, CASP_V2007, CASP_V2003, true, A(LOGON), A(PROXY_BACKEND),
         "double-hop", "mailbox-on-2003"},
        {5, CASP_V2003, CASP_V2003, false, A(ERROR), A(ERROR),
         "mailbox-not-on-2007", "mailbox-not-on-2007"},
        {6, CASP_V2003, CASP_V2007, false, A(DIRECT), A(DIRECT),
         "mailbox-in-this-site", "mailbox-in-this-site"},
        {7, CASP_V2003, CASP_V2003, true, A(PROXY_BACKEND), A(PROXY_BACKEND),
         "mailbox-on-2003", "mailbox-on-2003"},
        {8, CASP_V2003, CASP_V2003, true, A(PROXY_BACKEND), A(PROXY_BACKEND),
         "mailbox-on-2003", "mailbox-on-2003"},
        {9, CASP_V2010, CASP_V2010, false, A(MANUAL_REDIRECT),
         A(MANUAL_REDIRECT), "mailbox-newer-than-front",
         "mailbox-newer-than-front"},
    };
    static const casp_by_e integrated[] = {CASP_BY_NTLM, CASP_BY_NEGOTIATE};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t more = rows[i].own == CASP_V2007 ? K(OWN_2007) : 0;
        for (int way = 0; way < 3; way++) {
            casp_by_e by = way < 2 ? integrated[way] : FORMS;
            casp_question_t q =
                ask(CASP_F2007, rows[i].deciding, L0, by, IWA, more);
            if (rows[i].exchange) {
                q = old_path(q, EXCHANGE);
            }
            casp_action_e action =
                way < 2 ? rows[i].integrated : rows[i].forms;
            casp_decision_t d = decide(&q);
            if (d.action != action) {
                fail_msg("row %d: %s", rows[i].row, d.rule);
            }
            assert_string_equal(d.reason, way < 2 ? rows[i].integrated_reason
                                                  : rows[i].forms_reason);
            if (d.action == CASP_ACTION_LOGON) {
                assert_int_equal(d.status, 401);
                assert_null(d.url);
            }
            /* A proxying without credentials is told, never hidden, and on
             * the wire never done. */
            bool stuck = way < 2 && d.nbackends > 0;
            if (stuck) {
                assert_string_equal(d.warning, "double-hop");
            }
            else {
                assert_null(d.warning);
            }
            assert_int_equal(on_the_wire(&d), stuck);
            if (stuck) {
                assert_int_equal(d.action, CASP_ACTION_LOGON);
                assert_string_equal(d.reason, "double-hop");
                assert_int_equal(d.status, 401);
                assert_null(d.url);
                assert_int_equal(d.nbackends, 0);
            }
        }
    }
}

static void matrix_two(void **state)
{
    (void)state;
    casp_question_t q =
        ask(CASP_F2007, CASP_V2007, L0, FORMS, FBA, K(OWN_2007));
    casp_question_t x = old_path(q, EXCHANGE);
    expect(&x, A(SILENT_REDIRECT), "legacy-path", HERE, "2007 /exchange");
    expect(&q, A(DIRECT), "mailbox-in-this-site", BACK, "2007 /owa");
    q = ask(CASP_F2007, CASP_V2003, L0, FORMS, FBA, 0);
    x = old_path(q, EXCHANGE);
    expect(&x, A(PROXY_BACKEND), "mailbox-on-2003", BACK, "2003 /exchange");
    expect(&q, A(ERROR), "mailbox-not-on-2007", NULL, "2003 /owa");
}

/* -------------------------------------------------- single sign-on, 1.2.1 */

static void every_combination_of_authentication(void **state)
{
    (void)state;
    static const struct {
        casp_by_e by;
        uint32_t auth;
        uint64_t more, less;
        const char *url;
        casp_action_e action;
        const char *why;
    } cases[] = {
        {FORMS, FBA, 0, 0, EXT, A(SSO_REDIRECT), NULL},
        {FORMS, CASP_AUTH_FBA, 0, 0, EXT, A(SSO_REDIRECT), NULL},
        {FORMS, ABASIC, 0, 0, EXT, A(SILENT_REDIRECT),
         "different-authentication"},
        {FORMS, IWA, 0, 0, EXT, A(SILENT_REDIRECT),
         "different-authentication"},
        {FORMS, 0, 0, 0, EXT, A(SILENT_REDIRECT), "different-authentication"},
        {BASIC, FBA, 0, 0, EXT, A(SILENT_REDIRECT),
         "different-authentication"},
        {BASIC, ABASIC, 0, 0, EXT, A(SILENT_REDIRECT), "basic"},
        {BASIC, ABASIC | IWA, 0, 0, EXT, A(SILENT_REDIRECT), "basic"},
        {BASIC, IWA, 0, 0, EXT, A(SILENT_REDIRECT),
         "different-authentication"},
        {NTLM, FBA, 0, 0, EXT, A(SILENT_REDIRECT), "different-authentication"},
        {NTLM, ABASIC, 0, 0, EXT, A(SILENT_REDIRECT),
         "different-authentication"},
        {NTLM, IWA, 0, 0, EXT, A(SILENT_REDIRECT), "no-password"},
        {CASP_BY_NEGOTIATE, IWA, 0, 0, EXT, A(SILENT_REDIRECT), "no-password"},
        {CASP_BY_NEGOTIATE, CASP_AUTH_KERBEROS, 0, 0, EXT, A(SILENT_REDIRECT),
         "no-password"},
        {CASP_BY_OTHER, FBA, 0, 0, EXT, A(SILENT_REDIRECT), "no-password"},
        {FORMS, FBA, K(TWO_FACTOR), 0, EXT, A(SILENT_REDIRECT), "two-factor"},
        {FORMS, FBA, K(PRE_AUTH), 0, EXT, A(SILENT_REDIRECT),
         "pre-authentication"},
        {FORMS, FBA, K(SSO_OFF), 0, EXT, A(SILENT_REDIRECT), "switched-off"},
        {BASIC, ABASIC, K(TWO_FACTOR), 0, EXT, A(SILENT_REDIRECT),
         "two-factor"},
        {FORMS, FBA, 0, K(AT_LOGON), EXT, A(SILENT_REDIRECT), "not-at-logon"},
        {FORMS, FBA, 0, K(TLS), EXT, A(SILENT_REDIRECT), "no-tls"},
        /* V43 */
        {FORMS, FBA, 0, 0, "http://munich.contoso.test/owa/", A(ERROR),
         "no-tls"},
        {FORMS, FBA, 0, K(AT_LOGON), "http://munich.contoso.test/owa/",
         A(ERROR), "no-tls"},
        {FORMS, FBA, K(SSO_OFF), 0, "http://munich.contoso.test/owa/",
         A(SILENT_REDIRECT), "switched-off"},
        {BASIC, ABASIC, 0, 0, "http://munich.contoso.test/owa/",
         A(SILENT_REDIRECT), "basic"},
        {FORMS, IWA, 0, 0, "http://munich.contoso.test/owa/",
         A(SILENT_REDIRECT), "different-authentication"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_question_t q = ask(CASP_F2010SP2, CASP_V2010, LX, cases[i].by,
                                cases[i].auth, K(SILENT) | cases[i].more);
        q.facts &= ~cases[i].less;
        q.to[CASP_TO_EXTERNAL].url = cases[i].url;
        casp_decision_t d = decide(&q);
        if (d.action != cases[i].action
            || (cases[i].why == NULL) != (d.sso_why == NULL)
            || (d.sso_why && strcmp(d.sso_why, cases[i].why) != 0)) {
            fail_msg("case %d: action %d, why %s", (int)i, (int)d.action,
                     d.sso_why ? d.sso_why : "-");
        }
        assert_int_equal(d.sso_possible,
                         cases[i].action == CASP_ACTION_SSO_REDIRECT);
        if (cases[i].action == CASP_ACTION_ERROR) {
            assert_string_equal(d.reason, "no-fba-ssl");
            assert_int_equal(d.status, 503);
            assert_null(d.url);
        }
    }
    /* A link page to plain http carries no password. */
    casp_question_t q = ask(CASP_F2010SP2, CASP_V2010, LX, FORMS, FBA, 0);
    q.to[CASP_TO_EXTERNAL].url = "http://munich.contoso.test/owa/";
    casp_decision_t d = decide(&q);
    assert_int_equal(d.action, CASP_ACTION_MANUAL_REDIRECT);
    assert_string_equal(d.sso_why, "no-tls");
}

/* --------------------------------------------------- the other protocols */

static void other_protocols(void **state)
{
    (void)state;
    static const struct {
        casp_front_e front;
        casp_version_e version;
        place_e place;
        casp_protocol_e protocol;
        uint64_t more;
        casp_action_e action;
        const char *reason;
        int status;
    } cases[] = {
        {CASP_F2007, CASP_V2003, LN, CASP_PROTO_EAS, 0, A(PROXY_BACKEND),
         "mailbox-on-2003", 0},
        {CASP_F2010, CASP_V2010, L0, CASP_PROTO_EAS, 0, A(DIRECT),
         "mailbox-in-this-site", 0},
        {CASP_F2010, CASP_V2010, LX, CASP_PROTO_EWS, 0, A(PROXY),
         "mailbox-in-other-site", 0},
        {CASP_F2010, CASP_V2007, LX, CASP_PROTO_ECP, 0, A(ERROR), "no-ecp",
         403},
        {CASP_F2010, CASP_V2010, L0, CASP_PROTO_ECP, 0, A(DIRECT),
         "mailbox-in-this-site", 0},
        {CASP_F2010, CASP_V2010, L0, CASP_PROTO_MAPI, 0, A(ERROR), "no-mapi",
         403},
        {CASP_F2016, CASP_V2013, L0, CASP_PROTO_MAPI, 0, A(DIRECT),
         "mailbox-in-this-site", 0},
        {CASP_F2010, CASP_V2003, L0, CASP_PROTO_EWS, 0, A(ERROR),
         "not-on-2003", 403},
        {CASP_F2010, CASP_V2010, L0, CASP_PROTO_EAS, K(EAS_OFF), A(ERROR),
         "eas-disabled", 403},
        {CASP_F2010, CASP_V2010, L0, CASP_PROTO_EWS, K(EAS_OFF) | K(OWA_OFF),
         A(DIRECT), "mailbox-in-this-site", 0},
        {CASP_F2007, CASP_V2010, LN, CASP_PROTO_EAS, 0, A(ERROR),
         "mailbox-newer-than-front", 403},
        {CASP_F2010, CASP_V2016, LX, CASP_PROTO_RPC, 0, A(ERROR),
         "mailbox-newer-than-front", 503},
        {CASP_F2010, CASP_V2010, LX, CASP_PROTO_EAS, K(REDIRECT_MODE),
         A(EAS_REDIRECT), "redirect-mode", 451},
        {CASP_F2010, CASP_V2010, LX, CASP_PROTO_AUTODISCOVER, K(REDIRECT_MODE),
         A(AUTODISCOVER_REDIRECT), "redirect-mode", 302},
        {CASP_F2010, CASP_V2010, LX, CASP_PROTO_EWS, K(REDIRECT_MODE),
         A(ERROR), "redirect-not-possible", 403},
        {CASP_F2010, CASP_V2010, LX, CASP_PROTO_ECP, K(REDIRECT_MODE),
         A(SILENT_REDIRECT), "redirect-mode", 302},
        {CASP_F2010, CASP_V2010, LE, CASP_PROTO_ECP, K(REDIRECT_MODE),
         A(ERROR), "target-is-this-host", 503},
        {CASP_F2010, CASP_V2010, LN, CASP_PROTO_EAS, K(REDIRECT_MODE),
         A(ERROR), "no-external-url", 503},
        {CASP_F2010, CASP_V2010, LN, CASP_PROTO_NONE, 0, A(ERROR), "no-rule",
         503},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_question_t q = ask(cases[i].front, cases[i].version,
                                cases[i].place, BASIC, ABASIC, cases[i].more);
        q.protocol = cases[i].protocol;
        casp_decision_t d = decide(&q);
        if (d.action != cases[i].action
            || strcmp(d.reason, cases[i].reason) != 0
            || d.status != cases[i].status) {
            fail_msg("case %d: %s %s %d", (int)i, d.rule, d.reason, d.status);
        }
    }
}

/* --------------------------------------------------------------- the ends */

static void before_logon(void **state)
{
    (void)state;
    casp_decision_t d;
    casp_question_t q = ask(CASP_F2010, CASP_V_NONE, LN, CASP_BY_NONE, 0, 0);
    assert_false(casp_decide_early(&q, &d));

    q.facts = K(URL_REFUSED) | K(NOT_PUBLISHED) | K(PLAIN_HTTP);
    q.refused = "url-traversal";
    assert_true(casp_decide_early(&q, &d));
    expect(&q, A(DENY), "url-traversal", NULL, "refused");
    assert_int_equal(d.status, 403);

    q.facts = K(NOT_PUBLISHED) | K(PLAIN_HTTP) | K(PAGE_LOAD);
    expect(&q, A(DENY), "not-published", NULL, "not published");
    assert_true(casp_decide_early(&q, &d));
    assert_int_equal(d.status, 404);

    q.facts = K(PLAIN_HTTP) | K(PAGE_LOAD);
    expect(&q, A(SILENT_REDIRECT), "tls-required", HTTPS, "page");
    assert_true(casp_decide_early(&q, &d));
    assert_int_equal(d.status, 302);
    assert_null(d.sso_why);
    assert_false(d.sso_possible);

    q.facts = K(PLAIN_HTTP);
    expect(&q, A(DENY), "tls-required", NULL, "no page");
    assert_true(casp_decide_early(&q, &d));
    assert_int_equal(d.status, 403);

    /* /exadmin even where a policy lets URLs pass */
    q = old_path(q, CASP_LEGACY_EXADMIN);
    q.facts = 0;
    assert_true(casp_decide_early(&q, &d));
    assert_int_equal(d.status, 404);
}

static void backends_that_cannot_be(void **state)
{
    (void)state;
    casp_question_t q = ask(CASP_F2010, CASP_V2010, L0, BASIC, ABASIC, 0);
    q.facts &= ~K(BACKEND);
    q.nbackends = 0;
    expect(&q, A(ERROR), "no-backend-address", NULL, "no address");
    q.facts |= K(BACKEND_HERE);
    expect(&q, A(ERROR), "proxy-loop", NULL, "loop");
    /* One good backend is enough. */
    q.facts |= K(BACKEND);
    q.nbackends = 1;
    expect(&q, A(DIRECT), "mailbox-in-this-site", BACK, "one is left");
    /* Who is redirected needs none. */
    q = ask(CASP_F2010, CASP_V2010, LX, BASIC, ABASIC, K(BACKEND_HERE));
    q.facts &= ~K(BACKEND);
    expect(&q, A(MANUAL_REDIRECT), "mailbox-in-other-site", EXT, "no need");
}

/* S000's matrix with delegation: nothing of it is a matter of passwords. */
static void with_delegation_integrated_is_as_good(void **state)
{
    (void)state;
    casp_question_t q =
        old_path(ask(CASP_F2007, CASP_V2007, L0, NTLM, IWA, K(OWN_2007)),
                 EXCHANGE);
    q.facts &= ~K(INTEGRATED);
    q.backends = backends;
    expect(&q, A(SILENT_REDIRECT), "legacy-path", HERE, "own, /exchange");
    q.version = CASP_V2003;
    expect(&q, A(PROXY_BACKEND), "mailbox-on-2003", BACK, "another's");
    casp_decision_t d = decide(&q);
    assert_null(d.warning);
    assert_false(on_the_wire(&d));
    assert_int_equal(d.action, CASP_ACTION_PROXY_BACKEND);
}

static void backends_that_take_no_password(void **state)
{
    (void)state;
    static const struct {
        uint64_t fact;
        const char *reason;
    } cases[] = {{K(PLAIN_BACKEND), "backend-plain-http"},
                 {K(NO_COMMON_LOGIN), "no-common-authentication"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        casp_question_t q =
            ask(CASP_F2010, CASP_V2010, L0, FORMS, FBA, cases[i].fact);
        expect(&q, A(ERROR), cases[i].reason, NULL, cases[i].reason);
        casp_decision_t d = decide(&q);
        assert_int_equal(d.status, 503);
        assert_false(on_the_wire(&d));
        /* Who is redirected needs none. */
        q = ask(CASP_F2010, CASP_V2010, LX, FORMS, FBA, cases[i].fact);
        expect(&q, A(MANUAL_REDIRECT), "mailbox-in-other-site", EXT,
               "a redirection");
    }
}

static bool listed(const char *why)
{
    for (int i = 0; casp_decision_sso_whys[i] != NULL; i++) {
        if (strcmp(casp_decision_sso_whys[i], why) == 0) {
            return true;
        }
    }
    return false;
}

/* What holds of every decision. */
static void check(const casp_question_t *q, const casp_decision_t *d)
{
    assert_non_null(d->rule);
    assert_non_null(d->source);
    assert_non_null(d->reason);
    assert_non_null(casp_decision_reason(d->reason));
    assert_true(d->action != CASP_ACTION_NONE);
    bool proxies = d->action == CASP_ACTION_DIRECT
                   || d->action == CASP_ACTION_PROXY
                   || d->action == CASP_ACTION_PROXY_BACKEND;
    bool speaks = d->action == CASP_ACTION_ERROR
                  || d->action == CASP_ACTION_DENY
                  || d->action == CASP_ACTION_LOGON;
    assert_int_equal(proxies, d->nbackends > 0);
    assert_int_equal(proxies, d->status == 0);
    assert_int_equal(speaks, d->url == NULL);
    assert_true(d->status != 500);
    assert_true(!speaks || d->status >= 400);
    assert_true(!(proxies && (q->facts & K(REDIRECT_MODE))));
    assert_int_equal(d->sso_possible, d->action == CASP_ACTION_SSO_REDIRECT);
    if (d->sso_why != NULL) {
        assert_false(d->sso_possible);
        assert_true(listed(d->sso_why));
    }
    if (d->action == CASP_ACTION_SSO_REDIRECT) {
        assert_int_equal(q->by, CASP_BY_FORMS);
        assert_true(strncmp(d->url, "https://", 8) == 0);
        assert_true((q->facts & K(TLS)) && (q->facts & K(AT_LOGON)));
    }
    /* Never a circle. */
    if (d->url != NULL && !proxies) {
        const casp_goal_t *to = q->to;
        assert_true(!(q->facts & K(EXTERNAL_HERE))
                    || (strcmp(d->url, to[CASP_TO_EXTERNAL].url) != 0
                        && strcmp(d->url, to[CASP_TO_EXTERNAL].same) != 0));
        assert_true(!(q->facts & K(URL_2003_HERE))
                    || (strcmp(d->url, to[CASP_TO_2003].url) != 0
                        && strcmp(d->url, to[CASP_TO_2003].same) != 0));
        assert_true(!(q->facts & K(INTERNAL_HERE))
                    || strcmp(d->url, to[CASP_TO_INTERNAL].url) != 0);
    }
}

static void every_question_has_a_sound_answer(void **state)
{
    (void)state;
    static const uint64_t extras[] = {
        K(SILENT),      K(NO_OPTIMAL),    K(REDIRECT_MODE),
        K(URL_2003),    K(URL_2003_HERE), K(INTERNAL_HERE),
        K(PUBLIC_2003), K(FRONT_LEGACY),  K(WEBDAV),
    };
    const int n = (int)(sizeof(extras) / sizeof(extras[0]));
    static const casp_by_e bys[] = {CASP_BY_BASIC, CASP_BY_FORMS, CASP_BY_NTLM,
                                    CASP_BY_OTHER};
    for (int f = 0; f < CASP_F_COUNT; f++) {
        for (int v = 0; v < CASP_V_COUNT; v++) {
            for (int l = 0; l < NPLACES; l++) {
                for (int mask = 0; mask < 1 << n; mask++) {
                    uint64_t more = 0;
                    for (int i = 0; i < n; i++) {
                        more |= mask & 1 << i ? extras[i] : 0;
                    }
                    casp_by_e by = bys[(mask + l) % 4];
                    casp_question_t q =
                        ask((casp_front_e)f, (casp_version_e)v, (place_e)l, by,
                            by == FORMS ? FBA : ABASIC, more);
                    for (int p = 0; p < CASP_PROTO_COUNT; p++) {
                        q.protocol = (casp_protocol_e)p;
                        q.legacy = p == CASP_PROTO_LEGACY
                                       ? (casp_legacy_e)(1 + mask % 3)
                                       : CASP_LEGACY_NONE;
                        casp_decision_t d;
                        casp_decide(&q, &d);
                        check(&q, &d);
                        /* Every real question has a rule of its own. */
                        assert_true(strcmp(d.rule, "no-rule") != 0
                                    || p == CASP_PROTO_NONE
                                    || v == CASP_V_NONE);
                    }
                }
            }
        }
    }
}

static void rules_are_well_formed(void **state)
{
    (void)state;
    int n, nreasons;
    const casp_rule_t *r = casp_decision_rules(&n);
    const casp_reason_t *reasons = casp_decision_reasons(&nreasons);
    assert_true(n > 0 && n <= (int)sizeof(seen));
    for (int i = 0; i < n; i++) {
        assert_true(r[i].id[0] != '\0' && r[i].source[0] != '\0');
        assert_true(r[i].says[0] != '\0');
        assert_true(strspn(r[i].id, "abcdefghijklmnopqrstuvwxyz0123456789-")
                    == strlen(r[i].id));
        assert_true(r[i].fronts && r[i].versions && r[i].protocols);
        assert_true((r[i].need & r[i].forbid) == 0);
        assert_true(r[i].reason == NULL
                    || casp_decision_reason(r[i].reason) != NULL);
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(r[i].id, r[j].id);
        }
    }
    for (int i = 0; i < nreasons; i++) {
        assert_true(reasons[i].status == 0
                    || (reasons[i].status >= 400 && reasons[i].status != 500));
        for (int j = 0; j < i; j++) {
            assert_string_not_equal(reasons[i].code, reasons[j].code);
        }
    }
    /* What a backend's no can come to: told, and never a 500. */
    static const char *const later[] = {"double-hop",
                                        "backend-uses-forms",
                                        "extended-protection",
                                        "ntlm-not-on-destination",
                                        "backend-auth-missing",
                                        "backend-logon-refused",
                                        "backend-kdc-unavailable"};
    for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++) {
        const casp_reason_t *reason = casp_decision_reason(later[i]);
        assert_non_null(reason);
        assert_int_equal(reason->status, i == 0 ? 401 : 503);
    }
    assert_null(casp_decision_reason("nothing-of-the-kind"));
    assert_null(casp_decision_reason(NULL));
    for (int i = 0; i < CASP_FACT_COUNT; i++) {
        assert_true(casp_fact_name(i)[0] != '\0');
    }
    assert_string_equal(casp_fact_name(-1), "");
    assert_string_equal(casp_fact_name(CASP_FACT_COUNT), "");
    assert_string_equal(casp_fact_name(CASP_BIT_SAME_SITE), "same-site");
}

/* Those of /owa, the old paths and everybody; test_rules reaches the rest. */
static bool is_ours(const casp_rule_t *r)
{
    return (r->protocols
            & (1u << CASP_PROTO_OWA
               | 0xfu << (CASP_PROTO_COUNT + CASP_LEGACY_EXCHANGE)))
           != 0;
}

/* Runs last: the tables above and the vectors name every rule at least
 * once. */
static void no_rule_is_dead(void **state)
{
    (void)state;
    int n;
    const casp_rule_t *rules = casp_decision_rules(&n);
    for (int i = 0; i < n; i++) {
        if (!seen[i] && is_ours(&rules[i])) {
            fail_msg("no test reaches the rule %s", rules[i].id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_of_owa),
        cmocka_unit_test(a_link_needs_a_reader),
        cmocka_unit_test(matrix_one),
        cmocka_unit_test(matrix_two),
        cmocka_unit_test(vectors_of_the_sources),
        cmocka_unit_test(vectors_of_old_paths),
        cmocka_unit_test(the_named_mailbox_decides),
        cmocka_unit_test(every_combination_of_authentication),
        cmocka_unit_test(other_protocols),
        cmocka_unit_test(before_logon),
        cmocka_unit_test(backends_that_cannot_be),
        cmocka_unit_test(with_delegation_integrated_is_as_good),
        cmocka_unit_test(backends_that_take_no_password),
        cmocka_unit_test(every_question_has_a_sound_answer),
        cmocka_unit_test(rules_are_well_formed),
        cmocka_unit_test(no_rule_is_dead),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
