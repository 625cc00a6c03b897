/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * iislog.c - a decision in the words of Exchange's own logs.
 *
 * Operators have tools, habits and old articles that read "PrxTo:" and
 * "Error:MisconfiguredDevice" in an IIS log, and alarms on event ids.  The
 * same words here let them find what they know.  Exchange has words for a few
 * errors only; all others are told by this front's own reason codes, which
 * look different enough.
 *
 * Nothing here decides, and nothing that a client claims comes in: hosts,
 * URLs and codes are the directory's and ours.
 */

#include "iislog.h"

#include <string.h>

#include <apr_escape.h>
#include <apr_strings.h>

/* Events of the source "MSExchange ActiveSync", and of OWA's. */
typedef struct {
    const char *reason;
    const char *word; /* Exchange's, behind "Error:"; NULL: our own code */
    int eas, owa;
} wording_t;

static const wording_t wordings[] = {
    {"ntlm-not-on-destination", "NTLM not on the destination CAS", 1036, 71},
    {"no-mailbox", "UserHasNoMailbox", 0, 0},
    {"backend-certificate", "SSL Certification Failed.", 1035, 43},
    {"backend-timeout", NULL, 1034, 0},
    {"backend-unavailable", NULL, 0, 40},
    {"backend-logon-refused", NULL, 0, 71},
    {"backend-kdc-unavailable", NULL, 0, 71},
    {"backend-plain-http", NULL, 0, 42},
    {"mailbox-newer-than-front", NULL, 1029, 46},
    {"no-cas-in-site", NULL, 1044, 41},
    {"site-unknown", NULL, 1044, 57},
    {"database-unknown", NULL, 1044, 57},
    {"version-unknown", NULL, 1044, 57},
    {"front-site-unknown", NULL, 1044, 57},
    {"no-backend-address", NULL, 1044, 41},
    {"no-external-url", NULL, 1109, 81},
    {"target-is-this-host", NULL, 1109, 81}};

static const wording_t *wording_of(const char *reason)
{
    for (size_t i = 0; i < sizeof wordings / sizeof *wordings; i++) {
        if (!strcmp(wordings[i].reason, reason)) {
            return &wordings[i];
        }
    }
    return NULL;
}

static bool failed(casp_action_e action)
{
    return action == CASP_ACTION_ERROR || action == CASP_ACTION_DENY;
}

static bool sent_elsewhere(casp_action_e action)
{
    switch (action) {
    case CASP_ACTION_MANUAL_REDIRECT:
    case CASP_ACTION_TEMPORARY_REDIRECT:
    case CASP_ACTION_SILENT_REDIRECT:
    case CASP_ACTION_SSO_REDIRECT:
    case CASP_ACTION_EAS_REDIRECT:
    case CASP_ACTION_AUTODISCOVER_REDIRECT:
        return true;
    default:
        return false;
    }
}

/* "Key:value_", the value as a form's would be escaped: lower-case digits, a
 * space as "+". */
static const char *item(apr_pool_t *p, const char *key, const char *value)
{
    return apr_pstrcat(p, key, apr_pescape_urlencoded(p, value), "_", NULL);
}

const char *casp_iislog_text(apr_pool_t *p, const casp_verdict_t *v)
{
    const casp_decision_t *d = &v->decision;
    const wording_t *w = wording_of(d->reason ? d->reason : "");
    const char *backend =
        casp_action_is_proxy(d->action) || failed(d->action) ? v->asked : NULL;
    const char *to = "", *error = "";

    if (!backend && casp_action_is_proxy(d->action)) {
        backend = d->url;
    }
    if (backend) {
        to = item(p, "PrxTo:", casp_url_host(p, backend));
    }
    else if (d->url && sent_elsewhere(d->action)) {
        to = item(p, "RdirTo:", d->url);
    }
    if (d->action == CASP_ACTION_EAS_REDIRECT) {
        error = item(p, "Error:", "MisconfiguredDevice");
    }
    else if (failed(d->action) && d->reason) {
        error = item(p, "Error:", w && w->word ? w->word : d->reason);
    }
    return *to || *error ? apr_pstrcat(p, "&Log=", to, error, NULL) : NULL;
}

int casp_iislog_event(const casp_verdict_t *v)
{
    const casp_decision_t *d = &v->decision;
    const wording_t *w = wording_of(d->reason ? d->reason : "");

    if (d->action == CASP_ACTION_EAS_REDIRECT) {
        return 1008; /* S003 */
    }
    if (!w || !failed(d->action)) {
        return 0;
    }
    switch (v->url.protocol) {
    case CASP_PROTO_EAS:
        return w->eas;
    case CASP_PROTO_OWA:
    case CASP_PROTO_ECP:
    case CASP_PROTO_LEGACY:
        return w->owa;
    default:
        return 0;
    }
}
