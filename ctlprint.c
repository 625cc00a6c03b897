/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * casproxyctl's two ways to say a verdict: one JSON object on a line for
 * scripts, a few lines for people.  Names and texts come from a directory and
 * from a command line, and neither may break the JSON or steer a terminal.
 */

#include "ctl.h"

#include <stdio.h>
#include <string.h>

#include <apr_strings.h>

#include "decision.h"
#include "login.h"

#define PROBLEMS_MAX 5 /* of the organisation that are shown */

const char *casp_ctl_plain(apr_pool_t *p, const char *text)
{
    if (!text) {
        return "unknown";
    }
    char *copy = apr_pstrdup(p, text);
    for (char *c = copy; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            *c = '?';
        }
    }
    return copy;
}

/* ------------------------------------------------------------------ login */

/* How the front logs on at the first backend, and why; where nothing can, the
 * decision's reason is why; where nothing is proxied, NULL. */
static const char *login_of(const casp_decision_t *d, const char **why)
{
    int count = 0;
    const casp_login_rule_t *rules = casp_login_rules(&count);
    if (d->nbackends > 0) {
        *why = d->backends[0].login_why;
        return casp_login_name(d->backends[0].login);
    }
    *why = NULL;
    for (int i = 0; i < count && d->reason; i++) {
        if (rules[i].login == CASP_LOGIN_IMPOSSIBLE
            && !strcmp(rules[i].why, d->reason)) {
            *why = d->reason;
            return casp_login_name(CASP_LOGIN_IMPOSSIBLE);
        }
    }
    return NULL;
}

/* The same in a person's words, from the table itself. */
static const char *login_says(const char *login, const char *why)
{
    int count = 0;
    const casp_login_rule_t *rules = casp_login_rules(&count);
    for (int i = 0; i < count && why; i++) {
        if (rules[i].login != CASP_LOGIN_IMPOSSIBLE /* the reason says it */
            && !strcmp(casp_login_name(rules[i].login), login)
            && !strcmp(rules[i].why, why)) {
            return rules[i].says;
        }
    }
    return NULL;
}

/* ------------------------------------------------------------------- JSON */

/* The length of a well-formed UTF-8 character; 0 where it is none. */
static int utf8_length(const unsigned char *c)
{
    int more = c[0] < 0x80                   ? 0
               : c[0] >= 0xc2 && c[0] < 0xe0 ? 1
               : (c[0] & 0xf0) == 0xe0       ? 2
               : c[0] >= 0xf0 && c[0] < 0xf5 ? 3
                                             : -1;
    for (int i = 1; i <= more; i++) {
        if ((c[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    bool twisted =
        (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] >= 0xa0)
        || (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] >= 0x90);
    return twisted ? 0 : more + 1;
}

void casp_ctl_json_string(const char *text)
{
    if (!text) {
        fputs("null", stdout);
        return;
    }
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        int len = utf8_length(c);
        if (*c == '"' || *c == '\\') {
            printf("\\%c", *c);
        }
        else if (*c < 0x20 || *c == 0x7f) {
            printf("\\u%04x", *c);
        }
        else if (len == 0) {
            fputs("\\ufffd", stdout);
        }
        else {
            fwrite(c, 1, (size_t)len, stdout);
        }
        c += len ? len : 1;
    }
    putchar('"');
}

/* ,"key":"value" */
static void json_member(const char *before, const char *key, const char *value)
{
    printf("%s\"%s\":", before, key);
    casp_ctl_json_string(value);
}

static const char *version_name(const casp_ctl_explain_t *e)
{
    return e->v.version == CASP_V_NONE ? NULL
                                       : casp_version_name(e->v.version);
}

void casp_ctl_print_json(const casp_ctl_explain_t *e)
{
    const casp_verdict_t *v = &e->v;
    const casp_decision_t *d = &v->decision;
    json_member("{", "action", casp_action_name(d->action));
    if (d->status) {
        printf(",\"status\":%d", d->status);
    }
    else {
        fputs(",\"status\":null", stdout);
    }
    json_member(",", "url", d->url);
    json_member(",", "reason", d->reason);
    json_member(",", "rule", d->rule);
    json_member(",", "protocol", casp_protocol_name(v->url.protocol));
    json_member(",", "user", v->user ? v->user : e->o.user);
    json_member(",\"mailbox\":{", "version", version_name(e));
    json_member(",", "server", v->server);
    json_member(",", "site", v->site);
    json_member(",", "database", v->database);
    json_member("},\"front\":{", "version",
                casp_front_name((casp_front_e)e->s->front));
    json_member(",", "site", v->front_site);
    printf("},\"sso\":{\"possible\":%s", d->sso_possible ? "true" : "false");
    json_member(",", "why", d->sso_why);
    const char *why = NULL, *login = login_of(d, &why);
    json_member("},\"login\":{", "user", casp_by_name(e->ask.by));
    json_member(",", "backend", login);
    json_member(",", "why", why);
    json_member("},", "warning", d->warning);
    fputs("}\n", stdout);
}

/* ------------------------------------------------------------------- text */

/* In a person's words; in the order of casp_action_e. */
static const char *const meanings[CASP_ACTION_COUNT] = {
    [CASP_ACTION_DIRECT] = "proxied to a server in this front's own site",
    [CASP_ACTION_PROXY] =
        "proxied to a Client Access server in the mailbox's site",
    [CASP_ACTION_PROXY_BACKEND] =
        "proxied straight to the Exchange 2000/2003 back-end",
    [CASP_ACTION_MANUAL_REDIRECT] = "a page with a link to follow",
    [CASP_ACTION_TEMPORARY_REDIRECT] =
        "a page with a temporary link to follow",
    [CASP_ACTION_SILENT_REDIRECT] = "a redirection that nobody sees",
    [CASP_ACTION_SSO_REDIRECT] =
        "a form that logs the person on over there by itself",
    [CASP_ACTION_EAS_REDIRECT] = "a 451 that tells the device its new address",
    [CASP_ACTION_AUTODISCOVER_REDIRECT] =
        "a redirection to the other Autodiscover service",
    [CASP_ACTION_AUTODISCOVER_ANSWER] =
        "answered by this front, from what the directory says",
    [CASP_ACTION_LOGON] = "the person must log on first",
    [CASP_ACTION_DENY] = "refused; nothing reaches a backend",
    [CASP_ACTION_ERROR] = "cannot be served; the person is told why",
};

static const struct {
    uint32_t bit;
    const char *name;
} auth_names[] = {{CASP_AUTH_BASIC, "Basic"},
                  {CASP_AUTH_NTLM, "NTLM"},
                  {CASP_AUTH_FBA, "Forms"},
                  {CASP_AUTH_DIGEST, "Digest"},
                  {CASP_AUTH_WINDOWS, "WindowsIntegrated"},
                  {CASP_AUTH_CERTIFICATE, "Certificate"},
                  {CASP_AUTH_KERBEROS, "Kerberos"},
                  {CASP_AUTH_NEGOTIATE, "Negotiate"}};

static const char *auth_text(apr_pool_t *p, uint32_t bits)
{
    const char *text = "";
    for (size_t i = 0; i < sizeof(auth_names) / sizeof(*auth_names); i++) {
        if (bits & auth_names[i].bit) {
            text = apr_pstrcat(p, text, *text ? " " : "", auth_names[i].name,
                               NULL);
        }
    }
    return *text ? text : "no authentication known";
}

static void print_mailbox(const casp_ctl_explain_t *e)
{
    const casp_verdict_t *v = &e->v;
    if (!v->mailbox && !v->own && !v->server) {
        puts("  mailbox   unknown");
        return;
    }
    printf("  mailbox   Exchange %s, database %s on server %s, site %s\n",
           version_name(e) ? version_name(e) : "of unknown version",
           casp_ctl_plain(e->p, v->database), casp_ctl_plain(e->p, v->server),
           casp_ctl_plain(e->p, v->site));
}

/* The rule in words, from the table itself. */
static void print_rule(const casp_ctl_explain_t *e)
{
    const casp_decision_t *d = &e->v.decision;
    int count = 0;
    const casp_rule_t *rules = casp_decision_rules(&count);
    printf("  rule      %s (source: %s)\n", casp_ctl_plain(e->p, d->rule),
           casp_ctl_plain(e->p, d->source));
    for (int i = 0; i < count && d->rule; i++) {
        if (!strcmp(rules[i].id, d->rule) && rules[i].says) {
            printf("            %s\n", rules[i].says);
            break;
        }
    }
}

/* The pair: how the user came, and how they are logged on behind. */
static void print_login(const casp_ctl_explain_t *e)
{
    const char *why = NULL, *login = login_of(&e->v.decision, &why);
    const char *says = login ? login_says(login, why) : NULL;
    if (login) {
        printf("  login     %s here, %s at the backend (%s)\n",
               casp_by_name(e->ask.by), login, why);
    }
    if (says) {
        printf("            %s\n", says);
    }
}

static void print_decision(const casp_ctl_explain_t *e)
{
    const casp_decision_t *d = &e->v.decision;
    const casp_reason_t *reason = casp_decision_reason(d->reason);
    printf("  decision  %s: %s\n", casp_action_name(d->action),
           meanings[d->action] ? meanings[d->action] : "nothing");
    if (d->status) {
        printf("  status    %d\n", d->status);
    }
    if (d->url) {
        printf("  url       %s\n", casp_ctl_plain(e->p, d->url));
    }
    printf("  reason    %s\n", casp_ctl_plain(e->p, d->reason));
    if (reason && reason->text) {
        printf("            %s\n", reason->text);
    }
    print_rule(e);
    printf("  sso       %s%s\n", d->sso_possible ? "possible" : "not possible",
           d->sso_why ? apr_pstrcat(e->p, ": ", d->sso_why, NULL) : "");
    print_login(e);
    for (int i = 0; i < d->nbackends; i++) {
        const casp_backend_t *b = &d->backends[i];
        printf("  backend %d %s (server %s; %s; login %s)\n", i + 1,
               casp_ctl_plain(e->p, b->url), casp_ctl_plain(e->p, b->server),
               auth_text(e->p, b->auth), casp_login_name(b->login));
    }
}

/* What is wrong in the organisation may well be why. */
static void print_problems(const casp_ctl_explain_t *e)
{
    for (int i = 0; i < e->problems->nelts && i < PROBLEMS_MAX; i++) {
        const casp_problem_t *problem =
            &APR_ARRAY_IDX(e->problems, i, casp_problem_t);
        printf("  %s %s\n            %s\n", i ? "         " : "problems ",
               casp_ctl_plain(e->p, problem->text),
               casp_ctl_plain(e->p, problem->dn));
    }
    if (e->problems->nelts > PROBLEMS_MAX) {
        printf("            and %d more, in httpd's error log\n",
               e->problems->nelts - PROBLEMS_MAX);
    }
}

static void print_request(const casp_ctl_explain_t *e)
{
    const casp_verdict_t *v = &e->v;
    if (strstr(e->ask.target, "://")) {
        printf("%s", casp_ctl_plain(e->p, e->ask.target));
    }
    else {
        printf("%s %s://%s%s", casp_ctl_plain(e->p, e->ask.method),
               e->ask.https ? "https" : "http",
               casp_ctl_plain(e->p, e->ask.host),
               casp_ctl_plain(e->p, e->ask.target));
    }
    printf(" (%s) for %s, authenticated by %s\n",
           casp_protocol_name(v->url.protocol),
           casp_ctl_plain(e->p, v->user ? v->user : e->o.user),
           casp_by_name(e->ask.by));
}

static void print_warning(const casp_decision_t *d)
{
    const casp_reason_t *r = casp_decision_reason(d->warning);
    if (d->warning) {
        bool hop = !strcmp(d->warning, "double-hop");
        printf("  warning   %s%s\n            %s\n", d->warning,
               hop ? ": on the wire it is one 401, not this proxying." : "",
               r ? r->text : "");
    }
}

void casp_ctl_print_text(const casp_ctl_explain_t *e)
{
    const casp_verdict_t *v = &e->v;
    print_request(e);
    print_mailbox(e);
    printf("  front     Exchange %s, site %s\n",
           casp_front_name((casp_front_e)e->s->front),
           casp_ctl_plain(e->p, v->front_site));
    print_decision(e);
    print_warning(&v->decision);
    if (v->detail) {
        printf("  detail    %s\n", casp_ctl_plain(e->p, v->detail));
    }
    print_problems(e);
}
