/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The sources' vectors, section 12, and those of the old paths.  They are a
 * part of test_decision's program; see decisions.h.
 */

#include "decisions.h"

/* ------------------------------------------------ section 12's vectors */

static const struct {
    const char *id;
    casp_front_e front;
    casp_version_e version;
    place_e place;
    casp_by_e by;
    uint32_t auth;
    uint64_t more;
    casp_action_e action;
    const char *reason, *url, *why;
} vectors[] = {
    {"V01", CASP_F2010SP2, CASP_V2010, L0, FORMS, FBA, 0, A(DIRECT),
     "mailbox-in-this-site", BACK, NULL},
    {"V02", CASP_F2010SP2, CASP_V2010, LX, FORMS, FBA, 0, A(MANUAL_REDIRECT),
     "mailbox-in-other-site", EXT, "not-at-logon"},
    {"V03", CASP_F2010SP2, CASP_V2010, LX, FORMS, FBA, K(SILENT),
     A(SSO_REDIRECT), "mailbox-in-other-site", SAME, NULL},
    {"V04", CASP_F2010SP2, CASP_V2010, LX, BASIC, ABASIC, K(SILENT),
     A(SILENT_REDIRECT), "mailbox-in-other-site", EXT, "basic"},
    {"V05", CASP_F2010SP2, CASP_V2010, LX, NTLM, IWA, K(SILENT),
     A(SILENT_REDIRECT), "mailbox-in-other-site", EXT, "no-password"},
    {"V06", CASP_F2010SP2, CASP_V2010, LX, FORMS, IWA, K(SILENT),
     A(SILENT_REDIRECT), "mailbox-in-other-site", EXT,
     "different-authentication"},
    {"V07", CASP_F2010SP2, CASP_V2010, LEF, FORMS, FBA, K(SILENT),
     A(TEMPORARY_REDIRECT), "target-is-this-host", FAIL, "temporary"},
    {"V08", CASP_F2010SP2, CASP_V2010, LE, FORMS, FBA, K(SILENT), A(ERROR),
     "target-is-this-host", NULL, NULL},
    {"V09", CASP_F2010SP2, CASP_V2010, LR, FORMS, FBA, K(SILENT),
     A(TEMPORARY_REDIRECT), "database-mounted-elsewhere", EXT, "temporary"},
    {"V10", CASP_F2010SP2, CASP_V2010, LN, FORMS, FBA, K(SILENT), A(PROXY),
     "mailbox-in-other-site", BACK, NULL},
    {"V11", CASP_F2010SP2, CASP_V2007, L0, FORMS, FBA, 0, A(SSO_REDIRECT),
     "mailbox-on-2007", SAME, NULL},
    {"V12 forms", CASP_F2010SP2, CASP_V2007, L0N, FORMS, FBA, 0,
     A(SSO_REDIRECT), "mailbox-on-2007", INT, NULL},
    {"V12 basic", CASP_F2010SP2, CASP_V2007, L0N, BASIC, ABASIC, 0,
     A(SILENT_REDIRECT), "mailbox-on-2007", INT, "basic"},
    {"V13", CASP_F2010SP1, CASP_V2007, LX, FORMS, FBA, 0, A(MANUAL_REDIRECT),
     "mailbox-in-other-site", EXT, "not-at-logon"},
    {"V14", CASP_F2010SP2, CASP_V2007, LX, FORMS, FBA, K(SILENT),
     A(SSO_REDIRECT), "mailbox-in-other-site", SAME, NULL},
    {"V15", CASP_F2010SP2, CASP_V2007, LN, FORMS, FBA, 0, A(PROXY),
     "mailbox-in-other-site", BACK, NULL},
    {"V16 RTM", CASP_F2010, CASP_V2003, L0N, FORMS, FBA, K(URL_2003),
     A(SSO_REDIRECT), "mailbox-on-2003", OLDSAME, NULL},
    {"V16 SP1", CASP_F2010SP1, CASP_V2000, LN, FORMS, FBA, K(URL_2003),
     A(SSO_REDIRECT), "mailbox-on-2003", OLDSAME, NULL},
    {"V16 SP3", CASP_F2010SP3, CASP_V2003, LN, FORMS, FBA, K(URL_2003),
     A(SSO_REDIRECT), "mailbox-on-2003", OLDSAME, NULL},
    {"V17", CASP_F2010, CASP_V2003, LN, FORMS, FBA, 0, A(ERROR),
     "no-exchange2003-url", NULL, NULL},
    {"V18", CASP_F2010, CASP_V2010, LX, FORMS, FBA, 0, A(MANUAL_REDIRECT),
     "mailbox-in-other-site", EXT, "not-at-logon"},
    {"V18 array", CASP_F2010, CASP_V2010, LR, FORMS, FBA, 0,
     A(MANUAL_REDIRECT), "mailbox-in-other-site", EXT, "not-at-logon"},
    {"V19", CASP_F2007, CASP_V2007, LX, BASIC, ABASIC, 0, A(MANUAL_REDIRECT),
     "mailbox-in-other-site", EXT, "basic"},
    {"V20", CASP_F2007, CASP_V2007, LN, BASIC, ABASIC, 0, A(PROXY),
     "mailbox-in-other-site", BACK, NULL},
    {"V21", CASP_F2007, CASP_V2003, LX, FORMS, FBA, K(URL_2003), A(ERROR),
     "mailbox-not-on-2007", NULL, NULL},
    {"V26", CASP_F2007, CASP_V2010, LX, FORMS, FBA, 0, A(MANUAL_REDIRECT),
     "mailbox-newer-than-front", EXT, "not-at-logon"},
    {"V37", CASP_F2013, CASP_V2007, L0, FORMS, FBA, 0, A(SSO_REDIRECT),
     "mailbox-on-2007", SAME, NULL},
    {"V38", CASP_F2013, CASP_V2010, LN, FORMS, FBA, 0, A(PROXY),
     "mailbox-in-other-site", BACK, NULL},
    /* 2013 without forms: same path and query, another host */
    {"2013 302", CASP_F2013, CASP_V2013, LX, BASIC, ABASIC, 0,
     A(SILENT_REDIRECT), "mailbox-in-other-site", SAME, "basic"},
    {"2013 sso", CASP_F2013, CASP_V2013, LX, FORMS, FBA, 0, A(SSO_REDIRECT),
     "mailbox-in-other-site", SAME, NULL},
    /* a form keeps the path and query at any front (S001) */
    {"SP3 sso", CASP_F2010SP3, CASP_V2010, LX, FORMS, FBA, K(SILENT),
     A(SSO_REDIRECT), "mailbox-in-other-site", SAME, NULL},
    {"2013 up", CASP_F2013, CASP_V2016, L0, FORMS, FBA, 0, A(DIRECT),
     "mailbox-in-this-site", BACK, NULL},
    {"2016 up", CASP_F2016, CASP_V2019, LN, FORMS, FBA, 0, A(PROXY),
     "mailbox-in-other-site", BACK, NULL},
    {"2013 to 2007 elsewhere", CASP_F2013, CASP_V2007, LN, FORMS, FBA,
     K(FRONT_LEGACY), A(SSO_REDIRECT), "mailbox-on-2007", FRONT7, NULL},
    {"2013, 2007 in our name", CASP_F2013, CASP_V2007, L0, FORMS, FBA,
     K(EXTERNAL_HERE), A(DIRECT), "target-is-this-host", BACK, NULL},
    {"2013 legacy internal", CASP_F2013, CASP_V2007, L0N, FORMS, FBA, 0,
     A(SSO_REDIRECT), "mailbox-on-2007", INT, NULL},
    {"2013 legacy none", CASP_F2013, CASP_V2007, L0N, FORMS, FBA,
     K(INTERNAL_HERE), A(ERROR), "no-external-url", NULL, NULL},
    {"2010 internal here", CASP_F2010, CASP_V2007, L0N, FORMS, FBA,
     K(INTERNAL_HERE), A(ERROR), "target-is-this-host", NULL, NULL},
    {"2003 url is here", CASP_F2010SP2, CASP_V2003, L0N, FORMS, FBA,
     K(URL_2003) | K(URL_2003_HERE), A(ERROR), "target-is-this-host", NULL,
     NULL},
    {"2007 newer internal", CASP_F2007, CASP_V2010, L0N, FORMS, FBA, 0,
     A(MANUAL_REDIRECT), "mailbox-newer-than-front", INT, "not-at-logon"},
    {"2007 newer nowhere", CASP_F2007, CASP_V2010, LN, FORMS, FBA, 0, A(ERROR),
     "mailbox-newer-than-front", NULL, NULL},
    {"2007 newer here", CASP_F2007, CASP_V2010, LE, FORMS, FBA, 0, A(ERROR),
     "target-is-this-host", NULL, NULL},
    {"2010 newer", CASP_F2010SP3, CASP_V2013, LX, FORMS, FBA, 0, A(ERROR),
     "mailbox-newer-than-front", NULL, NULL},
    {"2007 own name", CASP_F2007, CASP_V2007, LE, BASIC, ABASIC, 0, A(PROXY),
     "target-is-this-host", BACK, NULL},
    {"no site", CASP_F2010SP2, CASP_V2010, LN, BASIC, ABASIC, K(SITE_UNKNOWN),
     A(ERROR), "site-unknown", NULL, NULL},
    {"no front site", CASP_F2010SP2, CASP_V2010, LN, BASIC, ABASIC,
     K(FRONT_SITE_UNKNOWN), A(ERROR), "front-site-unknown", NULL, NULL},
    {"no CAS", CASP_F2010SP2, CASP_V2010, LN, BASIC, ABASIC, K(NO_CAS),
     A(ERROR), "no-cas-in-site", NULL, NULL},
    {"a 2003 server has no site", CASP_F2010SP2, CASP_V2003, LN, BASIC, ABASIC,
     K(SITE_UNKNOWN) | K(FRONT_SITE_UNKNOWN) | K(NO_CAS) | K(URL_2003),
     A(SILENT_REDIRECT), "mailbox-on-2003", OLD, "basic"},
    {"no user", CASP_F2010SP2, CASP_V_NONE, LN, CASP_BY_NONE, 0,
     K(NO_USER) | K(USER_UNKNOWN), A(LOGON), "credentials-needed", NULL, NULL},
    {"directory", CASP_F2010SP2, CASP_V_NONE, LN, BASIC, 0,
     K(DIRECTORY_DOWN) | K(USER_UNKNOWN), A(ERROR), "directory-unavailable",
     NULL, NULL},
    {"unknown", CASP_F2010SP2, CASP_V_NONE, LN, BASIC, 0, K(USER_UNKNOWN),
     A(ERROR), "user-unknown", NULL, NULL},
    {"ambiguous", CASP_F2010SP2, CASP_V_NONE, LN, BASIC, 0,
     K(AMBIGUOUS) | K(USER_UNKNOWN), A(ERROR), "mailbox-ambiguous", NULL,
     NULL},
    {"disabled", CASP_F2010SP2, CASP_V2010, L0, BASIC, 0, K(DISABLED),
     A(ERROR), "account-disabled", NULL, NULL},
    {"named unknown", CASP_F2010SP2, CASP_V_NONE, L0, BASIC, 0,
     K(MAILBOX_UNKNOWN), A(ERROR), "mailbox-unknown", NULL, NULL},
    {"remote", CASP_F2010SP2, CASP_V_NONE, LN, BASIC, 0,
     K(REMOTE) | K(NO_MAILBOX), A(ERROR), "remote-mailbox", NULL, NULL},
    {"none", CASP_F2010SP2, CASP_V_NONE, LN, BASIC, 0, K(NO_MAILBOX), A(ERROR),
     "no-mailbox", NULL, NULL},
    {"OWA off", CASP_F2010SP2, CASP_V2010, L0, BASIC, 0, K(OWA_OFF), A(ERROR),
     "owa-disabled", NULL, NULL},
    {"database", CASP_F2010SP2, CASP_V_NONE, LN, BASIC, 0,
     K(DATABASE_UNKNOWN) | K(VERSION_UNKNOWN), A(ERROR), "database-unknown",
     NULL, NULL},
    {"version", CASP_F2010SP2, CASP_V_NONE, L0, BASIC, 0, K(VERSION_UNKNOWN),
     A(ERROR), "version-unknown", NULL, NULL},
};

void vectors_of_the_sources(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        casp_question_t q =
            ask(vectors[i].front, vectors[i].version, vectors[i].place,
                vectors[i].by, vectors[i].auth, vectors[i].more);
        expect(&q, vectors[i].action, vectors[i].reason, vectors[i].url,
               vectors[i].id);
        casp_decision_t d = decide(&q);
        if (vectors[i].why == NULL) {
            assert_null(d.sso_why);
        }
        else if (d.sso_why == NULL || strcmp(d.sso_why, vectors[i].why) != 0) {
            fail_msg("%s: sso %s", vectors[i].id, d.sso_why ? d.sso_why : "-");
        }
    }
    /* No URL of either kind. */
    casp_question_t q = ask(CASP_F2010, CASP_V2007, L0N, FORMS, FBA, 0);
    q.facts &= ~K(INTERNAL);
    expect(&q, A(ERROR), "no-external-url", NULL, "no URL");
    q.front = CASP_F2013;
    expect(&q, A(ERROR), "no-external-url", NULL, "no URL");
    q.version = CASP_V2010;
    q.front = CASP_F2007;
    expect(&q, A(ERROR), "mailbox-newer-than-front", NULL, "no URL");
}

/* -------------------------------------------------------- old paths, 12 */

static const struct {
    const char *id;
    casp_front_e front;
    casp_version_e version;
    place_e place;
    casp_legacy_e legacy;
    casp_by_e by;
    uint64_t more, less;
    casp_action_e action;
    const char *reason, *url;
} old_paths[] = {
    {"V22", CASP_F2007, CASP_V2003, LN, EXCHANGE, BASIC, K(SITE_UNKNOWN), 0,
     A(PROXY_BACKEND), "mailbox-on-2003", BACK},
    {"V22 2000", CASP_F2007, CASP_V2000, LX, EXCHANGE, FORMS, 0, 0,
     A(PROXY_BACKEND), "mailbox-on-2003", BACK},
    {"V23 forms", CASP_F2007, CASP_V2007, L0, EXCHANGE, FORMS, K(OWN_2007), 0,
     A(SILENT_REDIRECT), "legacy-path", HERE},
    {"V23 integrated", CASP_F2007, CASP_V2007, L0, EXCHANGE, NTLM, K(OWN_2007),
     0, A(LOGON), "double-hop", NULL},
    {"V24 forms", CASP_F2007, CASP_V2003, L0, EXCHANGE, FORMS, K(OWN_2007), 0,
     A(PROXY_BACKEND), "mailbox-on-2003", BACK},
    {"V24 integrated", CASP_F2007, CASP_V2003, L0, EXCHANGE, NTLM, K(OWN_2007),
     0, A(LOGON), "double-hop", NULL},
    {"other site, page", CASP_F2007, CASP_V2007, LX, EXCHANGE, FORMS,
     K(OWN_2007), 0, A(SILENT_REDIRECT), "legacy-path", HERE},
    {"webdav here", CASP_F2007, CASP_V2007, L0, EXCHANGE, BASIC,
     K(WEBDAV) | K(OWN_2007), K(PAGE_LOAD), A(DIRECT),
     "webdav-to-mailbox-server", BACK},
    {"post here", CASP_F2007, CASP_V2007, L0, EXCHANGE, BASIC, K(OWN_2007),
     K(PAGE_LOAD), A(DIRECT), "webdav-to-mailbox-server", BACK},
    {"webdav elsewhere", CASP_F2007, CASP_V2007, LX, EXCHANGE, BASIC,
     K(WEBDAV), K(PAGE_LOAD), A(PROXY), "webdav-to-mailbox-server", BACK},
    {"webdav 2007 on 2010", CASP_F2010SP2, CASP_V2007, L0, EXCHANGE, BASIC,
     K(WEBDAV), K(PAGE_LOAD), A(DIRECT), "webdav-to-mailbox-server", BACK},
    {"static 2003", CASP_F2007, CASP_V2003, LN, CASP_LEGACY_EXCHWEB, BASIC, 0,
     0, A(PROXY_BACKEND), "mailbox-on-2003", BACK},
    {"static 2007", CASP_F2007, CASP_V2007, L0, CASP_LEGACY_EXCHWEB, BASIC, 0,
     K(PAGE_LOAD), A(DIRECT), "webdav-to-mailbox-server", BACK},
    {"2007 on 2010", CASP_F2010SP2, CASP_V2007, L0, EXCHANGE, BASIC, 0, 0,
     A(SILENT_REDIRECT), "legacy-path", HERE},
    {"2010 on 2010", CASP_F2010, CASP_V2010, LX, EXCHANGE, BASIC, 0, 0,
     A(SILENT_REDIRECT), "legacy-path", HERE},
    {"2010 on 2007", CASP_F2007, CASP_V2010, LX, EXCHANGE, BASIC, 0, 0,
     A(SILENT_REDIRECT), "legacy-path", HERE},
    {"2016 on 2016", CASP_F2016, CASP_V2016, LX, CASP_LEGACY_EXCHWEB, BASIC, 0,
     0, A(SILENT_REDIRECT), "legacy-path", HERE},
    {"webdav 2010", CASP_F2010, CASP_V2010, L0, EXCHANGE, BASIC, K(WEBDAV),
     K(PAGE_LOAD), A(ERROR), "no-webdav", NULL},
    {"2003 on 2010", CASP_F2010SP2, CASP_V2003, LN, EXCHANGE, BASIC,
     K(URL_2003), 0, A(SILENT_REDIRECT), "mailbox-on-2003", OLDSAME},
    {"2003 on 2010, forms", CASP_F2010SP2, CASP_V2003, LN, EXCHANGE, FORMS,
     K(URL_2003), 0, A(SSO_REDIRECT), "mailbox-on-2003", OLDSAME},
    {"2003 on 2013", CASP_F2013, CASP_V2003, LN, EXCHANGE, BASIC, K(URL_2003),
     0, A(SILENT_REDIRECT), "mailbox-on-2003", OLDSAME},
    {"2003 on 2010, no URL", CASP_F2010, CASP_V2003, LN, EXCHANGE, BASIC, 0, 0,
     A(ERROR), "no-exchange2003-url", NULL},
    {"2003 on 2010, circle", CASP_F2010, CASP_V2003, LN, EXCHANGE, BASIC,
     K(URL_2003) | K(URL_2003_HERE), 0, A(ERROR), "target-is-this-host", NULL},
    {"newer", CASP_F2010, CASP_V2016, LN, EXCHANGE, BASIC, 0, 0, A(ERROR),
     "mailbox-newer-than-front", NULL},
    {"public", CASP_F2007, CASP_V2007, L0, CASP_LEGACY_PUBLIC, BASIC,
     K(PUBLIC_2003), 0, A(PROXY_BACKEND), "public-folders-on-2003", BACK},
    {"public, no mailbox", CASP_F2007, CASP_V_NONE, LN, CASP_LEGACY_PUBLIC,
     BASIC, K(PUBLIC_2003) | K(NO_MAILBOX), 0, A(PROXY_BACKEND),
     "public-folders-on-2003", BACK},
    {"public 2010", CASP_F2010, CASP_V2010, LX, CASP_LEGACY_PUBLIC, BASIC,
     K(PUBLIC_2003), 0, A(PROXY_BACKEND), "public-folders-on-2003", BACK},
    {"public 2010 of 2003", CASP_F2010, CASP_V2003, LX, CASP_LEGACY_PUBLIC,
     BASIC, K(PUBLIC_2003) | K(URL_2003), 0, A(SILENT_REDIRECT),
     "mailbox-on-2003", OLDSAME},
    {"no public", CASP_F2007, CASP_V2007, L0, CASP_LEGACY_PUBLIC, BASIC, 0, 0,
     A(ERROR), "no-public-store", NULL},
    {"no public 2019", CASP_F2019, CASP_V2019, L0, CASP_LEGACY_PUBLIC, BASIC,
     0, 0, A(ERROR), "no-public-store", NULL},
    {"owa off", CASP_F2007, CASP_V2003, L0, EXCHANGE, BASIC, K(OWA_OFF), 0,
     A(ERROR), "owa-disabled", NULL},
    {"redirect mode", CASP_F2007, CASP_V2003, L0, EXCHANGE, BASIC,
     K(REDIRECT_MODE) | K(URL_2003), 0, A(SILENT_REDIRECT), "redirect-mode",
     OLDSAME},
    {"redirect public", CASP_F2007, CASP_V2007, L0, CASP_LEGACY_PUBLIC, BASIC,
     K(REDIRECT_MODE) | K(URL_2003) | K(PUBLIC_2003), 0, A(SILENT_REDIRECT),
     "redirect-mode", OLDSAME},
    {"redirect nowhere", CASP_F2007, CASP_V2003, L0, EXCHANGE, BASIC,
     K(REDIRECT_MODE), 0, A(ERROR), "no-external-url", NULL},
    {"redirect circle", CASP_F2007, CASP_V2003, L0, EXCHANGE, BASIC,
     K(REDIRECT_MODE) | K(URL_2003) | K(URL_2003_HERE), 0, A(ERROR),
     "target-is-this-host", NULL},
    {"redirect to owa", CASP_F2007, CASP_V2007, LX, EXCHANGE, NTLM,
     K(REDIRECT_MODE) | K(OWN_2007), 0, A(SILENT_REDIRECT), "redirect-mode",
     EXT},
    {"exadmin", CASP_F2007, CASP_V2003, L0, CASP_LEGACY_EXADMIN, BASIC, 0, 0,
     A(DENY), "not-published", NULL},
};

void vectors_of_old_paths(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(old_paths) / sizeof(old_paths[0]); i++) {
        casp_question_t q =
            ask(old_paths[i].front, old_paths[i].version, old_paths[i].place,
                old_paths[i].by, old_paths[i].by == FORMS ? FBA : ABASIC,
                old_paths[i].more);
        q.facts &= ~old_paths[i].less;
        q = old_path(q, old_paths[i].legacy);
        expect(&q, old_paths[i].action, old_paths[i].reason, old_paths[i].url,
               old_paths[i].id);
    }
}

/* V25: the mailbox in the path decides, whoever asks. */
void the_named_mailbox_decides(void **state)
{
    (void)state;
    casp_question_t q = ask(CASP_F2007, CASP_V2007, L0, FORMS, FBA, 0);
    expect(&q, A(DIRECT), "mailbox-in-this-site", BACK, "V25");
    q = ask(CASP_F2007, CASP_V2003, L0, FORMS, FBA, K(OWN_2007));
    expect(&q, A(ERROR), "mailbox-not-on-2007", NULL, "V25 reversed");
}
