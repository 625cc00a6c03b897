/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * decide.c: the engine that runs the rules of decision.c: it asks the table,
 * checks whether the outcome is possible, and turns the row that matched into
 * a decision with status, URL and single sign-on.
 *
 * Must not: hold a rule of its own about fronts, versions or sites; have a
 * clock, do I/O, know the topology, settings or httpd.
 */

#include "decision.h"

#include <string.h>

/* ---------------------------------------------------------------- asking */

static unsigned protocol_bit(const casp_question_t *q)
{
    return q->protocol == CASP_PROTO_LEGACY
               ? 1u << (CASP_PROTO_COUNT + (int)q->legacy)
               : 1u << (int)q->protocol;
}

static const casp_rule_t *ask(const casp_question_t *q, casp_stage_e stage,
                              uint64_t facts)
{
    int n;
    const casp_rule_t *rules = casp_decision_rules(&n);
    for (int i = 0; i < n; i++) {
        const casp_rule_t *r = &rules[i];
        if (r->stage == stage && (r->fronts & 1u << (int)q->front)
            && (r->versions & 1u << (int)q->version)
            && (r->protocols & protocol_bit(q)) && (facts & r->need) == r->need
            && !(facts & r->forbid)) {
            return r;
        }
    }
    return NULL;
}

static bool is_http(const char *url)
{
    return url != NULL && strncmp(url, "http://", 7) == 0;
}

/* Does the user's way in and the target's setting make one logon form? */
static bool forms_on_both(const casp_question_t *q, const casp_goal_t *goal)
{
    return q->by == CASP_BY_FORMS && (goal->auth & CASP_AUTH_FBA);
}

/* An administrator has said what no directory tells. */
static const char *sso_ruled_out(const casp_question_t *q)
{
    return q->facts & CASP_F(TWO_FACTOR) ? "two-factor"
           : q->facts & CASP_F(PRE_AUTH) ? "pre-authentication"
           : q->facts & CASP_F(SSO_OFF)  ? "switched-off"
                                         : NULL;
}

/* What both sides' schemes say; S001's list, and what a machine lacks. */
static const char *sso_by_schemes(const casp_question_t *q,
                                  const casp_goal_t *goal)
{
    const uint32_t windows = CASP_AUTH_NTLM | CASP_AUTH_WINDOWS
                             | CASP_AUTH_KERBEROS | CASP_AUTH_NEGOTIATE;
    bool fba = (goal->auth & CASP_AUTH_FBA) != 0;
    switch (q->by) {
    case CASP_BY_FORMS:
        return fba ? NULL : "different-authentication";
    case CASP_BY_BASIC:
        return !fba && (goal->auth & CASP_AUTH_BASIC)
                   ? "basic"
                   : "different-authentication";
    case CASP_BY_NTLM:
    case CASP_BY_NEGOTIATE:
        /* The browser signs on by itself where it trusts both names. */
        return !fba && (goal->auth & windows) ? "no-password"
                                              : "different-authentication";
    default:
        return "no-password";
    }
}

/* Why the form that signs a person on over there cannot be sent; NULL: it
 * can.  A link page hands nothing over: the click is no logon. */
static const char *sso_why(const casp_question_t *q, const casp_goal_t *goal,
                           casp_action_e action)
{
    if (action == CASP_ACTION_TEMPORARY_REDIRECT) {
        return "temporary";
    }
    const char *why = sso_ruled_out(q);
    if (why == NULL) {
        why = sso_by_schemes(q, goal);
    }
    if (why == NULL && (is_http(goal->url) || !(q->facts & CASP_F(TLS)))) {
        why = "no-tls";
    }
    if (why == NULL
        && (action == CASP_ACTION_MANUAL_REDIRECT
            || !(q->facts & CASP_F(AT_LOGON)))) {
        why = "not-at-logon";
    }
    return why;
}

static int status_of(const casp_question_t *q, casp_action_e action,
                     const char *reason)
{
    switch (action) {
    case CASP_ACTION_MANUAL_REDIRECT:
    case CASP_ACTION_TEMPORARY_REDIRECT:
        /* A script cannot read a page and click its link. */
        return q->facts & (CASP_F(PAGE_LOAD) | CASP_F(AT_LOGON)) ? 200 : 302;
    case CASP_ACTION_SSO_REDIRECT:
    case CASP_ACTION_AUTODISCOVER_ANSWER:
        return 200;
    case CASP_ACTION_SILENT_REDIRECT:
    case CASP_ACTION_AUTODISCOVER_REDIRECT:
        return 302;
    case CASP_ACTION_EAS_REDIRECT:
        return 451;
    case CASP_ACTION_LOGON:
    case CASP_ACTION_DENY:
    case CASP_ACTION_ERROR: {
        const casp_reason_t *r = casp_decision_reason(reason);
        if (q->protocol == CASP_PROTO_EAS
            && strcmp(reason, "mailbox-newer-than-front") == 0) {
            return 403; /* a device would try a 503 again for ever */
        }
        return r != NULL && r->status != 0 ? r->status : 403;
    }
    default:
        return 0;
    }
}

static bool is_person_redirect(casp_action_e action)
{
    return action == CASP_ACTION_MANUAL_REDIRECT
           || action == CASP_ACTION_TEMPORARY_REDIRECT
           || action == CASP_ACTION_SILENT_REDIRECT;
}

static bool stays_here(casp_to_e to)
{
    return to == CASP_TO_OWA_HERE || to == CASP_TO_HTTPS_HERE;
}

/*
 * The last step: a silent redirection becomes a logon form or a 302.  A form
 * (S001: the target path and the query string are in it), a plain 302 of a
 * front from 2013 on, or one of a rule that says so keeps the request's path
 * and query; all else arrives at the directory itself.
 */
static void set_redirect(const casp_question_t *q, const casp_rule_t *r,
                         casp_decision_t *d)
{
    const casp_goal_t *goal = &q->to[r->to];
    if (is_person_redirect(r->action) && !stays_here(r->to)) {
        d->sso_why = sso_why(q, goal, r->action);
        d->sso_possible = d->sso_why == NULL;
    }
    if (d->sso_possible) {
        d->action = CASP_ACTION_SSO_REDIRECT;
    }
    bool same = r->same || d->sso_possible
                || (d->action == CASP_ACTION_SILENT_REDIRECT
                    && q->front >= CASP_F2013);
    d->url = same && goal->same ? goal->same : goal->url;
}

static bool is_proxy(casp_to_e to)
{
    return to == CASP_TO_BACKEND || to == CASP_TO_STANDIN;
}

/* The question's facts with what is true of the list that a row leads to. */
static uint64_t facts_for(const casp_question_t *q, casp_to_e to)
{
    return to == CASP_TO_STANDIN
               ? (q->facts & ~CASP_REACH_FACTS) | q->standin_facts
               : q->facts;
}

/* What the proxying asks for that this front cannot see to. */
static const char *warning_of(uint64_t facts)
{
    return facts & CASP_F(INTEGRATED)           ? "double-hop"
           : facts & CASP_F(RPC_OFF)            ? "rpc-not-enabled"
           : facts & CASP_F(RPC_NOT_INTEGRATED) ? "rpc-needs-integrated"
                                                : NULL;
}

static void apply(const casp_question_t *q, const casp_rule_t *r,
                  casp_decision_t *d)
{
    memset(d, 0, sizeof(*d));
    d->action = r->action;
    d->reason = r->reason ? r->reason : q->refused;
    d->rule = r->id;
    d->source = r->source;
    if (is_proxy(r->to)) {
        bool standin = r->to == CASP_TO_STANDIN;
        d->nbackends = standin ? q->nstandins : q->nbackends;
        d->backends = standin ? q->standins : q->backends;
        d->url = d->nbackends > 0 ? d->backends[0].url : NULL;
        d->warning = warning_of(facts_for(q, r->to));
    }
    else if (r->to != CASP_TO_NONE) {
        set_redirect(q, r, d);
    }
    d->status = status_of(q, d->action, d->reason);
}

bool casp_decide_early(const casp_question_t *q, casp_decision_t *d)
{
    const casp_rule_t *r = ask(q, CASP_STAGE_EARLY, q->facts);
    if (r == NULL) {
        return false;
    }
    apply(q, r, d);
    return true;
}

void casp_decide(const casp_question_t *q, casp_decision_t *d)
{
    if (casp_decide_early(q, d)) {
        return;
    }
    const casp_rule_t *r = ask(q, CASP_STAGE_MAIN, q->facts);
    uint64_t facts = facts_for(q, r->to);
    if (is_proxy(r->to)) {
        facts |= CASP_F(TO_PROXY);
    }
    const casp_goal_t *goal = &q->to[r->to];
    if (r->action == CASP_ACTION_SILENT_REDIRECT && !stays_here(r->to)
        && forms_on_both(q, goal) && is_http(goal->url)
        && sso_ruled_out(q) == NULL) {
        facts |= CASP_F(FORM_TO_HTTP);
    }
    const casp_rule_t *check = ask(q, CASP_STAGE_CHECK, facts);
    apply(q, check ? check : r, d);
    if (facts & CASP_F(FORM_TO_HTTP)) {
        d->sso_why = "no-tls";
    }
}

bool casp_decide_wire(casp_decision_t *d)
{
    if (!casp_action_is_proxy(d->action) || d->nbackends == 0
        || d->backends[0].login != CASP_LOGIN_IMPOSSIBLE) {
        return false;
    }
    int n;
    const casp_rule_t *r = casp_decision_rules(&n);
    while (r->stage != CASP_STAGE_WIRE) {
        r++; /* there is one */
    }
    casp_question_t q;
    memset(&q, 0, sizeof(q));
    apply(&q, r, d);
    return true;
}
