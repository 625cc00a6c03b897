/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A decision in Exchange's words: the two lines that the sources show, the
 * errors that they name, and ids of events.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "iislog.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define A(x) CASP_ACTION_##x
#define P(x) CASP_PROTO_##x

static apr_pool_t *pool;

typedef struct {
    casp_protocol_e protocol;
    casp_action_e action;
    const char *reason, *url, *asked;
    const char *text;
    int event;
} row_t;

static const row_t rows[] = {
    /* S002's line, S000's line */
    {P(EAS), A(EAS_REDIRECT), "mailbox-on-2007",
     "https://legacy.mailmig.com/Microsoft-Server-ActiveSync", NULL,
     "&Log=RdirTo:https%3a%2f%2flegacy.mailmig.com%2f"
     "Microsoft-Server-ActiveSync_Error:MisconfiguredDevice_",
     1008},
    {P(EAS), A(ERROR), "ntlm-not-on-destination", NULL,
     "http://backend.msxfaq.de/Microsoft-Server-ActiveSync",
     "&Log=PrxTo:backend.msxfaq.de_Error:NTLM+not+on+the+destination+CAS_",
     1036},
    {P(OWA), A(ERROR), "ntlm-not-on-destination", NULL, NULL,
     "&Log=Error:NTLM+not+on+the+destination+CAS_", 71},
    /* proxied: to whom it went in the end */
    {P(EAS), A(PROXY), "mailbox-in-other-site",
     "https://ham-cas1.contoso.test/Microsoft-Server-ActiveSync", NULL,
     "&Log=PrxTo:ham-cas1.contoso.test_", 0},
    {P(EAS), A(DIRECT), "mailbox-in-this-site", "https://a/x", "https://b/x",
     "&Log=PrxTo:b_", 0},
    {P(EAS), A(PROXY_BACKEND), "mailbox-on-2003", "http://old:8080/x", NULL,
     "&Log=PrxTo:old%3a8080_", 0},
    /* sent elsewhere */
    {P(OWA), A(SILENT_REDIRECT), "mailbox-in-other-site",
     "https://munich.contoso.test/owa/?a=b c", NULL,
     "&Log=RdirTo:https%3a%2f%2fmunich.contoso.test%2fowa%2f%3fa%3db+c_", 0},
    {P(OWA), A(TEMPORARY_REDIRECT), "database-mounted-elsewhere",
     "https://x/owa", "https://never/owa",
     "&Log=RdirTo:https%3a%2f%2fx%2fowa_", 0},
    {P(AUTODISCOVER), A(AUTODISCOVER_REDIRECT), "x", "https://x/", NULL,
     "&Log=RdirTo:https%3a%2f%2fx%2f_", 0},
    /* errors: Exchange's word, or ours */
    {P(EAS), A(ERROR), "no-mailbox", NULL, NULL,
     "&Log=Error:UserHasNoMailbox_", 0},
    {P(EAS), A(ERROR), "backend-certificate", NULL, "https://b/x",
     "&Log=PrxTo:b_Error:SSL+Certification+Failed._", 1035},
    {P(OWA), A(ERROR), "backend-certificate", NULL, "https://b/x",
     "&Log=PrxTo:b_Error:SSL+Certification+Failed._", 43},
    {P(EWS), A(ERROR), "backend-certificate", NULL, "https://b/x",
     "&Log=PrxTo:b_Error:SSL+Certification+Failed._", 0},
    {P(EAS), A(ERROR), "backend-timeout", NULL, "https://b/x",
     "&Log=PrxTo:b_Error:backend-timeout_", 1034},
    {P(EAS), A(ERROR), "backend-unavailable", NULL, "https://b/x",
     "&Log=PrxTo:b_Error:backend-unavailable_", 0},
    {P(EAS), A(ERROR), "mailbox-newer-than-front", NULL, NULL,
     "&Log=Error:mailbox-newer-than-front_", 1029},
    {P(EAS), A(ERROR), "no-cas-in-site", NULL, NULL,
     "&Log=Error:no-cas-in-site_", 1044},
    {P(EAS), A(ERROR), "eas-disabled", NULL, NULL, "&Log=Error:eas-disabled_",
     0},
    {P(EAS), A(DENY), "url-forbidden", NULL, NULL, "&Log=Error:url-forbidden_",
     0},
    /* nothing to say */
    {P(EAS), A(LOGON), "credentials-needed", NULL, NULL, NULL, 0},
    {P(EAS), A(LOGON), "no-mailbox", NULL, NULL, NULL, 0},
    {P(AUTODISCOVER), A(AUTODISCOVER_ANSWER), "x", NULL, NULL, NULL, 0},
    {P(EAS), A(NONE), NULL, NULL, NULL, NULL, 0},
    {P(EAS), A(ERROR), NULL, NULL, NULL, NULL, 0},
};

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const row_t *c = &rows[i];
        casp_verdict_t v;
        memset(&v, 0, sizeof v);
        v.url.protocol = c->protocol;
        v.decision.action = c->action;
        v.decision.reason = c->reason;
        v.decision.url = c->url;
        v.asked = c->asked;
        const char *text = casp_iislog_text(pool, &v);
        print_message("%d: %s\n", (int)i, text ? text : "-");
        assert_int_equal(text != NULL, c->text != NULL);
        if (text) {
            assert_string_equal(text, c->text);
        }
        assert_int_equal(casp_iislog_event(&v), c->event);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows)};
    int failed;

    apr_initialize();
    apr_pool_create(&pool, NULL);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_pool_destroy(pool);
    apr_terminate();
    return failed;
}
