/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * request.c - the steps of a request, between httpd and the core.
 *
 * Each step reads httpd's request into the core's words, calls the core, and
 * keeps the outcome in casp_request_t.  Nothing here decides: decision.c does.
 * A step that was done is not done again, so that hooks may run in any order
 * and more than once.
 */

#include "skin.h"

#include <string.h>

#include <apr_strings.h>

#include "eas.h"
#include "iislog.h"

#define COUNT_ACTION(a) casp_runtime_count(CASP_COUNT_ACTIONS + (int)(a))

/* ------------------------------------------------------------------- open */

static bool is_https(request_rec *r, const casp_settings_t *set)
{
    const char *proto;

    if (!strcmp(ap_http_scheme(r), "https"))
        return true;
    if (set->require_tls != CASP_REQTLS_FORWARDED)
        return false;
    /* mod_remoteip replaced the address of a proxy it trusts: only then is
     * the header that proxy's word and not the client's. */
    if (!r->useragent_ip || !r->connection->client_ip
        || !strcmp(r->useragent_ip, r->connection->client_ip))
        return false;
    proto = apr_table_get(r->headers_in, "X-Forwarded-Proto");
    return proto && !ap_cstr_casecmp(proto, "https");
}

/* Has another module put another URL in the place of the client's?  Then
 * <Location> and Require judge that one, while the client's own is sent on. */
static bool is_rewritten(request_rec *r)
{
    char *sent =
        apr_pstrdup(r->pool, r->parsed_uri.path ? r->parsed_uri.path : "");
    char *judged = apr_pstrdup(r->pool, r->uri);

    /* encoded slashes are kept in one of them, as AllowEncodedSlashes says;
     * what cannot be decoded is refused elsewhere */
    ap_unescape_url(sent);
    ap_unescape_url(judged);
    return strcmp(sent, judged) != 0;
}

/* An absolute request target beats the Host header where its scheme is the
 * connection's; where it is not, httpd chose this virtual host by the header.
 */
static const char *target_host(request_rec *r)
{
    const char *scheme = r->parsed_uri.scheme;

    return scheme && !ap_cstr_casecmp(scheme, ap_http_scheme(r))
               ? r->parsed_uri.hostinfo
               : NULL;
}

static void fill_ask(request_rec *r, casp_request_t *rq)
{
    const char *host = apr_table_get(r->headers_in, "Host");
    const char *named = target_host(r);

    rq->ask.method = r->method;
    rq->ask.target = r->unparsed_uri;
    rq->ask.host = named         ? named
                   : host        ? host
                   : r->hostname ? r->hostname
                                 : r->server->server_hostname;
    rq->ask.https = is_https(r, rq->vhost->settings);
    rq->ask.rewritten = is_rewritten(r);
    rq->ask.headers = r->headers_in;
    rq->ask.local_address = r->connection->local_ip;
}

bool casp_request_open(request_rec *r)
{
    casp_vhost_t *v = casp_vhost_of(r->server);
    casp_dir_settings_t *dir;
    casp_request_t *rq;

    if (!v->settings || !v->org || !ap_is_initial_req(r))
        return false;
    dir = casp_dir_settings_complete(r->pool,
                                     ap_get_module_config(r->per_dir_config,
                                                          &casproxy_module));
    if (dir->mode == CASP_MODE_OFF || !casp_protocol_claims(r->uri))
        return false;
    rq = apr_pcalloc(r->pool, sizeof *rq);
    rq->vhost = v;
    rq->dir = dir;
    rq->slot = -1;
    rq->claimed = dir->mode != CASP_MODE_SHADOW;
    if (rq->claimed && r->proxyreq) {
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, 0, r,
            CASPLOGNO(0130) "%s is already proxied by another "
                      "directive (ProxyPass or RewriteRule [P]); it is left "
                      "alone: take that directive away, or CasProxy Off here",
                r->uri);
        return false;
    }
    fill_ask(r, rq);
    ap_set_module_config(r->request_config, &casproxy_module, rq);
    return true;
}

/* --------------------------------------------------------------- decisions */

/* A packed query tells nobody who reads a log. */
static void set_device(request_rec *r, const casp_verdict_t *v)
{
    casp_eas_t eas;

    casp_eas_read(r->pool, v->url.query,
                  apr_table_get(r->headers_in, "MS-ASProtocolVersion"), &eas);
    if (eas.version)
        apr_table_setn(r->subprocess_env, "CASPROXY_EAS_VERSION",
                       apr_psprintf(r->pool, "%d.%d", eas.version / 10,
                                    eas.version % 10));
    if (eas.command)
        apr_table_setn(r->subprocess_env, "CASPROXY_EAS_COMMAND", eas.command);
    if (eas.device_id)
        apr_table_setn(r->subprocess_env, "CASPROXY_EAS_DEVICE",
                       eas.device_id);
    if (eas.device_type)
        apr_table_setn(r->subprocess_env, "CASPROXY_EAS_TYPE",
                       eas.device_type);
}

static void set_env(request_rec *r, casp_request_t *rq)
{
    const casp_verdict_t *v = &rq->verdict;
    apr_table_t *env = r->subprocess_env;
    const struct {
        const char *name, *value;
    } vars[] = {
        {"CASPROXY_PROTOCOL", casp_protocol_name(v->url.protocol)},
        {"CASPROXY_USER", v->user},
        {"CASPROXY_MAILBOX", v->mailbox
                                 ? casp_identity_display(r->pool, v->mailbox)
                                 : v->url.mailbox},
        {"CASPROXY_VERSION",
         v->version ? casp_version_name(v->version) : NULL},
        {"CASPROXY_SITE", v->site},
        {"CASPROXY_ACTION", casp_action_name(v->decision.action)},
        {"CASPROXY_REASON", v->decision.reason},
        {"CASPROXY_RULE", v->decision.rule},
        {"CASPROXY_TARGET", v->decision.url},
        {"CASPROXY_IISLOG", casp_iislog_text(r->pool, v)},
        {"CASPROXY_CACHE", v->own ? casp_cache_name(v->cache) : NULL},
    };

    /* an error may follow a decision that had more to say */
    for (size_t i = 0; i < sizeof vars / sizeof *vars; i++)
        if (vars[i].value && *vars[i].value)
            apr_table_setn(env, vars[i].name, vars[i].value);
        else
            apr_table_unset(env, vars[i].name);
    apr_table_setn(env, "CASPROXY_LOOKUP_US",
                   apr_psprintf(r->pool, "%" APR_TIME_T_FMT, v->lookup));
}

void casp_request_decided(request_rec *r, casp_request_t *rq)
{
    const casp_decision_t *d = &rq->verdict.decision;

    rq->decided = true;
    set_env(r, rq);
    if (rq->verdict.url.protocol == CASP_PROTO_EAS)
        set_device(r, &rq->verdict);
    if (rq->dir->diagnostics && rq->claimed) {
        apr_table_setn(r->err_headers_out, "X-CasProxy-Decision",
                       apr_pstrcat(r->pool, casp_action_name(d->action), "; ",
                                   casp_answer_told_reason(d), NULL));
        apr_table_setn(r->err_headers_out, "X-CasProxy-Rule", d->rule);
    }
}

/* The logon page serves every protocol that has a form: it is there where OWA
 * itself is not published. */
static bool is_logon_of_others(casp_request_t *rq)
{
    const int people =
        1 << CASP_PROTO_OWA | 1 << CASP_PROTO_ECP | 1 << CASP_PROTO_LEGACY;

    return (rq->schemes & CASP_SCHEME_FORMS)
           && (rq->vhost->settings->publish & people)
           && !strcmp(rq->verdict.decision.reason, "not-published")
           && (rq->ask.https
               || rq->vhost->settings->require_tls == CASP_REQTLS_OFF)
           && !rq->verdict.url.refused && rq->forms != CASP_FORMS_NONE
           && rq->forms != CASP_FORMS_LOGOFF;
}

bool casp_request_gate(request_rec *r, casp_request_t *rq)
{
    bool refused;

    if (rq->gated || rq->decided)
        return rq->decided;
    rq->gated = true;
    refused = casp_verdict_before_logon(r->pool, rq->vhost->settings, rq->dir,
                                        &rq->ask, &rq->verdict);
    rq->schemes = casp_settings_schemes(rq->dir->auth,
                                        rq->vhost->settings->keytab != NULL,
                                        rq->verdict.url.protocol);
    if (rq->schemes & CASP_SCHEME_FORMS)
        rq->forms = casp_forms_url(&rq->verdict.url);
    if (refused && !is_logon_of_others(rq)) {
        if (rq->verdict.url.refused)
            casp_runtime_count(CASP_COUNT_URL_REFUSED);
        casp_request_decided(r, rq);
    }
    return rq->decided;
}

static void reach(request_rec *r, casp_request_t *rq)
{
    apr_interval_time_t spent = rq->verdict.lookup; /* on identifying */

    casp_verdict_reach(r->pool, rq->vhost->settings, rq->dir, rq->vhost->org,
                       &rq->ask, &rq->verdict);
    rq->verdict.lookup += spent;
}

void casp_request_decide(request_rec *r, casp_request_t *rq)
{
    if (rq->decided || casp_request_gate(r, rq))
        return;
    if (!rq->ask.user) { /* another module's word */
        rq->ask.user = r->user;
        rq->ask.by = r->user ? CASP_BY_OTHER : CASP_BY_NONE;
    }
    if (rq->ask.user) /* a stranger's body is not read, nor asked about */
        casp_peek_anchor(r, rq);
    reach(r, rq);
    if (!rq->ask.loop_cookie && casp_answer_marked(r, rq)) {
        rq->ask.loop_cookie = true;
        reach(r, rq);
    }
    if (rq->verdict.own) {
        rq->own = rq->verdict.own;
        casp_runtime_count(CASP_COUNT_CACHE + (int)rq->verdict.cache);
    }
    casp_request_decided(r, rq);
}

/* ---------------------------------------------------------------- identity */

static const char TOO_EARLY[] = "too-early";

/* The claimed name as a record of the directory. */
static const char *find_claimed(request_rec *r, casp_request_t *rq,
                                const char **why, bool *down)
{
    const casp_settings_t *set = rq->vhost->settings;
    casp_topology_t *t;
    casp_user_key_t key;
    casp_claim_e claim;
    casp_find_e found;

    claim = casp_identity_key(r->pool, rq->claim.name, strlen(rq->claim.name),
                              (casp_logon_format_e)set->logon_format,
                              set->default_domain, &key);
    if (claim != CASP_CLAIM_OK)
        return casp_claim_name(claim);
    t = casp_org_await(rq->vhost->org,
                       apr_time_now() + casp_org_patience(rq->vhost->org));
    if (!t) {
        *why = casp_org_trouble(rq->vhost->org, r->pool);
        *down = true;
        return "directory-unavailable";
    }
    found = casp_org_find(rq->vhost->org, r->pool, t, &key, 0, &rq->own,
                          &rq->own_cache, why);
    casp_topology_unref(t);
    switch (found) {
    case CASP_FIND_OK:
        return NULL;
    case CASP_FIND_NONE:
        return "user-unknown";
    case CASP_FIND_AMBIGUOUS:
        return "user-ambiguous";
    default:
        *down = true;
        return "directory-unavailable";
    }
}

static const char *judge(request_rec *r, casp_request_t *rq,
                         casp_request_may_fn *may, void *baton,
                         const char **why, bool *down)
{
    const char *reason = find_claimed(r, rq, why, down);
    casp_pw_e pw;

    if (may && !*down && !may(baton, reason ? NULL : rq->own))
        return TOO_EARLY;
    if (reason)
        return reason;
    /* an old password is not shown to the directory, which would count it */
    if (casp_forms_outdated(rq))
        return "password-changed";
    pw = casp_org_check_password(rq->vhost->org, r->pool, rq->own,
                                 rq->claim.password, rq->claim.password_len,
                                 why);
    *down = pw == CASP_PW_UNAVAILABLE;
    return pw == CASP_PW_OK ? NULL
           : *down          ? "directory-unavailable"
                            : casp_pw_name(pw);
}

static void note_refusal(request_rec *r, casp_request_t *rq,
                         const char *reason, const char *detail)
{
    casp_runtime_count(CASP_COUNT_LOGON_REFUSED);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  CASPLOGNO(0131) "logon refused: %s for \"%s\"%s%s", reason,
                            rq->claim.name ? rq->claim.name : "",
                            detail ? ": " : "", detail ? detail : "");
}

const char *casp_request_judge(request_rec *r, casp_request_t *rq,
                               const char **why, bool *down)
{
    return casp_request_judge_if(r, rq, NULL, NULL, why, down);
}

const char *casp_request_judge_if(request_rec *r, casp_request_t *rq,
                                  casp_request_may_fn *may, void *baton,
                                  const char **why, bool *down)
{
    apr_time_t start = apr_time_now();
    const char *reason;

    *why = NULL;
    *down = false;
    reason = judge(r, rq, may, baton, why, down);
    rq->verdict.lookup = apr_time_now() - start;
    if (*down) {
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            CASPLOGNO(0132) "the directory cannot say who \"%s\" is: "
                            "%s",
                      rq->claim.name, *why ? *why : "it does not answer");
    }
    else if (reason && reason != TOO_EARLY) {
        note_refusal(r, rq, reason, *why);
    }
    return reason;
}

void casp_request_admit(request_rec *r, casp_request_t *rq, casp_by_e by,
                        const char *auth_type)
{
    rq->display = casp_identity_display(r->pool, rq->own);
    r->user = apr_pstrdup(r->pool, rq->display);
    r->ap_auth_type = apr_pstrdup(r->pool, auth_type);
    rq->ask.by = by;
    rq->ask.user = rq->display;
    rq->ask.user_known = true;
    rq->ask.own = rq->own;
    rq->ask.own_cache = rq->own_cache;
}

/* The client learns no more than 401; the log has the reason. */
static int by_basic(request_rec *r, casp_request_t *rq)
{
    casp_claim_e claim =
        casp_identity_basic(r->pool,
                            apr_table_get(r->headers_in, "Authorization"),
                            &rq->claim);
    const char *reason, *why;
    bool down;

    if (claim == CASP_CLAIM_NONE || claim == CASP_CLAIM_OTHER)
        return casp_answer_unauthorized(r, rq, "no-credentials");
    if (!(rq->schemes & CASP_SCHEME_BASIC))
        return casp_answer_unauthorized(r, rq, "scheme-not-offered");
    if (claim != CASP_CLAIM_OK) {
        note_refusal(r, rq, casp_claim_name(claim), NULL);
        return casp_answer_unauthorized(r, rq, casp_claim_name(claim));
    }
    reason = casp_request_judge(r, rq, &why, &down);
    if (down)
        return casp_answer_error(r, rq, reason, HTTP_SERVICE_UNAVAILABLE);
    if (reason)
        return casp_answer_unauthorized(r, rq, reason);
    casp_request_admit(r, rq, CASP_BY_BASIC, "Basic");
    return OK;
}

static bool brings_basic(request_rec *r)
{
    const char *header = apr_table_get(r->headers_in, "Authorization");

    return header && !ap_cstr_casecmpn(header, "Basic", 5);
}

int casp_request_identify(request_rec *r, casp_request_t *rq)
{
    int rc;

    if (rq->display)
        return OK;
    if (casp_request_gate(r, rq))
        return casp_answer_send(r, rq);
    casp_integrated_part(r);
    if (rq->schemes & (CASP_SCHEME_NEGOTIATE | CASP_SCHEME_NTLM)) {
        rc = casp_integrated_identify(r, rq);
        if (rc != DECLINED)
            return rc;
    }
    /* A program that sends its credentials by itself is not shown a form. */
    if (!(rq->schemes & CASP_SCHEME_FORMS)
        || ((rq->schemes & CASP_SCHEME_BASIC) && brings_basic(r)))
        return by_basic(r, rq);
    rc = casp_forms_identify(r, rq);
    if (rc != DECLINED)
        return rc;
    if (rq->verdict.url.protocol == CASP_PROTO_EWS)
        return casp_answer_unauthorized(r, rq, "no-credentials");
    return casp_forms_challenge(r, rq);
}

/* ------------------------------------------------------------------ shadow */

void casp_request_shadow(request_rec *r, casp_request_t *rq)
{
    if (rq->decided)
        return;
    if (casp_verdict_before_logon(r->pool, rq->vhost->settings, rq->dir,
                                  &rq->ask, &rq->verdict)) {
        casp_request_decided(r, rq);
        return;
    }
    /* The name is taken as it is claimed: nothing is bound, nothing granted.*/
    if (r->user) {
        rq->ask.user = r->user;
        rq->ask.by = CASP_BY_OTHER;
    }
    else if (casp_identity_basic(r->pool,
                                 apr_table_get(r->headers_in, "Authorization"),
                                 &rq->claim)
             == CASP_CLAIM_OK) {
        rq->ask.user = rq->claim.name;
        rq->ask.by = CASP_BY_BASIC;
    }
    else {
        return; /* nobody to decide for */
    }
    reach(r, rq);
    casp_request_decided(r, rq);
}

/* --------------------------------------------------------------------- log */

/* httpd's log escapes what it is given; here only nothing gets a name. */
static const char *item(const char *text)
{
    return text && *text ? text : "-";
}

/* A mailbox that is only claimed is a stranger's text, decoded: what would
 * end the word, and begin another "key=value", stays escaped. */
static const char *claimed_mailbox(apr_pool_t *p, const char *name)
{
    static const char hex[] = "0123456789ABCDEF";
    char *word, *out;

    if (!name)
        return NULL;
    word = out = apr_palloc(p, 3 * strlen(name) + 1);
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;

        if (c > ' ' && c != '=' && c != '%' && c != '"') {
            *out++ = *name;
            continue;
        }
        *out++ = '%';
        *out++ = hex[c >> 4];
        *out++ = hex[c & 15];
    }
    *out = '\0';
    return word;
}

void casp_request_log(request_rec *r, casp_request_t *rq)
{
    const casp_verdict_t *v = &rq->verdict;
    const casp_decision_t *d = &v->decision;
    int event;

    if (rq->logged)
        return;
    rq->logged = true;
    casp_runtime_count(CASP_COUNT_REQUESTS);
    if (!rq->decided)
        return; /* another module answered before us */
    COUNT_ACTION(d->action);
    /* another backend was asked than the one decided, or it came to nothing */
    if (rq->answered || (v->asked && d->url && strcmp(v->asked, d->url)))
        set_env(r, rq);
    event = casp_iislog_event(v);
    ap_log_rerror(
        APLOG_MARK, APLOG_INFO, 0, r,
        CASPLOGNO(0133) "decision%s: user=%s mailbox=%s protocol=%s "
                        "version=%s site=%s action=%s reason=%s rule=%s "
                        "target=%s backend=%s "
                        "cache=%s lookup_us=%" APR_TIME_T_FMT
                        " status=%d%s%s%s",
                  rq->claimed ? "" : " (shadow)", item(v->user),
                  item(v->mailbox ? casp_identity_display(r->pool, v->mailbox)
                                  : claimed_mailbox(r->pool, v->url.mailbox)),
                  casp_protocol_name(v->url.protocol),
                  v->version ? casp_version_name(v->version) : "-",
                  item(v->site), casp_action_name(d->action), d->reason,
                  d->rule, item(d->url), item(rq->backend_base),
                  v->own ? casp_cache_name(v->cache) : "-", v->lookup,
                  rq->answered ? rq->answered : r->status,
                  event ? apr_psprintf(r->pool, " event=%d", event) : "",
                  v->detail ? " detail=" : "",
                  v->detail ? item(v->detail) : "");
}
