/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * forms.c - logging on by form, between httpd and the core: the logon page,
 * its POST, sessions, signing out, and the form that signs a person on at
 * another site.
 *
 * What a form is and what a session is, fba_form.c and session.c know; this
 * room reads bodies and cookies, writes pages and Set-Cookie lines, and keeps
 * the outcome in casp_request_t.
 *
 * Two rules that programs rely on: no cookie of ours before a logon has
 * succeeded, for DavMail takes its presence for success; and none on the page
 * that carries a logon elsewhere, for the same reason.
 */

#include "skin.h"

#include <string.h>

#include <apr_base64.h>
#include <apr_strings.h>
#include <openssl/rand.h>

#define RULE "forms" /* of decisions that a form makes */
#define EPOCH "Thu, 01 Jan 1970 00:00:00 GMT"
#define TIMEOUT_LINE "440 Login Timeout"
#define HTML "text/html; charset=utf-8"
/* What 2013 tells its backends where the light version was asked for. */
#define LIGHT_AGENT "Mozilla/5.0 (Windows NT; owaauth)"

/* ------------------------------------------------------------------- parts */

static const char *page_url(request_rec *r, casp_request_t *rq,
                            const char *original, casp_logon_why_e why)
{
    return casp_forms_page_url(r->pool, rq->ask.https, rq->ask.host, original,
                               why);
}

static const char *absolute(request_rec *r, casp_request_t *rq,
                            const char *target)
{
    return apr_pstrcat(r->pool, rq->ask.https ? "https://" : "http://",
                       rq->ask.host, target, NULL);
}

/* The URL that was asked for, to come back to; none where it is the logon's
 * own. */
static const char *original(request_rec *r, casp_request_t *rq)
{
    const casp_url_t *u = &rq->verdict.url;

    if (rq->forms != CASP_FORMS_NONE)
        return NULL;
    return apr_pstrcat(r->pool, absolute(r, rq, u->path),
                       u->query ? "?" : NULL, u->query, NULL);
}

static int redirect(request_rec *r, casp_request_t *rq, const char *url)
{
    apr_table_setn(r->headers_out, "Location", url);
    return casp_answer_write(r, rq, HTTP_MOVED_TEMPORARILY, NULL,
                             "text/plain; charset=utf-8", "");
}

static const char *nonce(request_rec *r)
{
    unsigned char bytes[16];
    char *text = apr_palloc(r->pool, 25);

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        memset(bytes, 0, sizeof bytes); /* the script will not run: a button */
    apr_base64_encode_binary(text, bytes, sizeof bytes);
    return text;
}

static void policy(request_rec *r, const char *script, const char *forms)
{
    apr_table_setn(
        r->headers_out, "Content-Security-Policy",
        apr_psprintf(r->pool,
                     "default-src 'none'; style-src 'unsafe-inline'; "
                     "script-src 'nonce-%s'; form-action %s; "
                     "base-uri 'none'; frame-ancestors 'self'",
                     script, forms));
}

/* ----------------------------------------------------------------- cookies */

static void set_cookie(request_rec *r, casp_request_t *rq, apr_table_t *out,
                       const char *name, const char *value, const char *more)
{
    apr_table_addn(out, "Set-Cookie",
                   apr_pstrcat(r->pool, name, "=", value, more, "; HttpOnly",
                               rq->ask.https ? "; Secure" : NULL,
                               "; SameSite=Lax", NULL));
}

static void expire(request_rec *r, casp_request_t *rq, apr_table_t *out,
                   const char *scope)
{
    const char *more = apr_pstrcat(r->pool, scope, "; Expires=" EPOCH, NULL);

    set_cookie(r, rq, out, CASP_SESSION_COOKIE, "", more);
    set_cookie(r, rq, out, CASP_SESSION_LABEL, "", more);
}

/* Cookies of our name that are not ours come from elsewhere: an Exchange
 * server of before, at its own path or for the whole domain. */
static void expire_strays(request_rec *r, casp_request_t *rq, apr_table_t *out)
{
    const char *host = r->hostname;
    const char *parent = host ? ap_strchr_c(host, '.') : NULL;

    if (rq->verdict.url.vdir)
        expire(r, rq, out,
               apr_pstrcat(r->pool, "; Path=", rq->verdict.url.vdir, NULL));
    if (host && parent) {
        expire(r, rq, out,
               apr_pstrcat(r->pool, "; Domain=", host, "; Path=/", NULL));
        if (ap_strchr_c(parent + 1, '.'))
            expire(r, rq, out,
                   apr_pstrcat(r->pool, "; Domain=", parent + 1, "; Path=/",
                               NULL));
    }
}

static bool brings_cookie(request_rec *r)
{
    const char *cookies = apr_table_get(r->headers_in, "Cookie");

    return cookies && ap_strstr_c(cookies, CASP_SESSION_COOKIE "=");
}

void casp_forms_cookies(request_rec *r, casp_request_t *rq, apr_table_t *out)
{
    bool over = rq->found == CASP_SESSION_EXPIRED
                || rq->found == CASP_SESSION_BAD || rq->forget;

    if (rq->stray)
        expire_strays(r, rq, out);
    if (over && !rq->cookie && brings_cookie(r))
        expire(r, rq, out, "; Path=/");
    if (rq->cookie) {
        set_cookie(r, rq, out, CASP_SESSION_COOKIE, rq->cookie, "; Path=/");
        set_cookie(r, rq, out, CASP_SESSION_LABEL,
                   casp_session_label(r->pool, &rq->session), "; Path=/");
        apr_table_mergen(out, "Cache-Control", "no-cache=\"Set-Cookie\"");
    }
}

/* --------------------------------------------------------------- challenge */

/* A script must not be redirected: it would read the logon page as data. 440
 * is what OWA's own scripts and WebDAV clients wait for. */
static int login_timeout(request_rec *r, casp_request_t *rq)
{
    /* Not over HTTP/2: a connection's end is not one stream's to say, and
     * httpd would leave the body unread. */
    if (r->proto_num < HTTP_VERSION(2, 0))
        r->connection->keepalive = AP_CONN_CLOSE;
    /* a form of the light version, say: a person looks at the answer */
    if (!strcmp(r->method, "POST")
        && casp_protocol_page_load("GET", r->headers_in, &rq->verdict.url)
        && apr_table_get(r->headers_in, "Accept"))
        return casp_answer_page(r, rq, 440, TIMEOUT_LINE,
                                absolute(r, rq, "/owa/"));
    return casp_answer_write(r, rq, 440, TIMEOUT_LINE, HTML,
                             "<!DOCTYPE html><title>" TIMEOUT_LINE
                             "</title>" TIMEOUT_LINE "\n");
}

int casp_forms_challenge(request_rec *r, casp_request_t *rq)
{
    bool page = casp_answer_wants_page(r, rq);
    bool expired = rq->found == CASP_SESSION_EXPIRED;
    casp_logon_why_e why = rq->why   ? rq->why
                           : expired ? CASP_WHY_TIMED_OUT
                                     : CASP_WHY_NONE;

    casp_answer_decide(r, rq, CASP_ACTION_LOGON,
                       why ? "session-expired" : "credentials-needed", RULE,
                       page ? HTTP_MOVED_TEMPORARILY : 440);
    return page ? redirect(r, rq, page_url(r, rq, original(r, rq), why))
                : login_timeout(r, rq);
}

/* ---------------------------------------------------------- the logon page */

static int send_logon_page(request_rec *r, casp_request_t *rq)
{
    const casp_settings_t *set = rq->vhost->settings;
    const char *once = nonce(r);
    casp_logon_page_t page;
    const char *yes = "1";

    casp_forms_page_read(r->pool, &rq->verdict.url, rq->ask.https,
                         rq->ask.host, &page);
    const casp_page_var_t vars[] = {
        {"language", casp_answer_language(r, rq)},
        {"nonce", once},
        {"action", CASP_FORMS_POST_PATH},
        {"script", CASP_FORMS_SCRIPT_PATH},
        {"destination", page.destination},
        {"host", r->hostname},
        {"replace", page.replace ? yes : NULL},
        {"why1", page.why == CASP_WHY_LOGGED_OFF ? yes : NULL},
        {"why2", page.why == CASP_WHY_CREDENTIALS ? yes : NULL},
        {"why3", page.why == CASP_WHY_TIMED_OUT ? yes : NULL},
        {"why4", page.why == CASP_WHY_PASSWORD_CHANGED ? yes : NULL},
        {"format_domain",
         set->logon_format == CASP_LOGON_FULLDOMAIN ? yes : NULL},
        {"format_upn",
         set->logon_format == CASP_LOGON_PRINCIPALNAME ? yes : NULL},
        {"format_user", set->logon_format == CASP_LOGON_USERNAME ? yes : NULL},
        {NULL, NULL}};

    casp_answer_decide(r, rq, CASP_ACTION_LOGON, "logon-page", RULE, HTTP_OK);
    /* Browsers hold form-action against the redirection that answers the
     * POST, too, and that may lead to another site. */
    policy(r, once, "'self' https: http:");
    apr_table_setn(r->headers_out, "Content-Language", vars[0].value);
    return casp_answer_write(r, rq, HTTP_OK, NULL, HTML,
                             casp_pages_render(r->pool, rq->vhost->pages,
                                               CASP_PAGE_LOGON, vars[0].value,
                                               vars));
}

static int send_script(request_rec *r, casp_request_t *rq)
{
    casp_answer_decide(r, rq, CASP_ACTION_LOGON, "logon-page", RULE, HTTP_OK);
    return casp_answer_write(r, rq, HTTP_OK, NULL,
                             "text/javascript; charset=utf-8",
                             casp_pages_file(rq->vhost->pages,
                                             CASP_PAGE_SCRIPT));
}

/* ----------------------------------------------------------------- the POST */

typedef struct {
    char *bytes;
    apr_size_t len;
} body_t;

static apr_status_t wipe_body(void *data)
{
    body_t *body = data;

    casp_wipe(body->bytes, CASP_LOGON_BODY_MAX + 1);
    return APR_SUCCESS;
}

/* @return NULL or a reason code */
static const char *read_body(request_rec *r, body_t *body)
{
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    long n;

    if (!type
        || ap_cstr_casecmpn(type, "application/x-www-form-urlencoded", 33))
        return "logon-broken";
    body->bytes = apr_palloc(r->pool, CASP_LOGON_BODY_MAX + 1);
    body->len = 0;
    apr_pool_cleanup_register(r->pool, body, wipe_body, apr_pool_cleanup_null);
    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK) != OK)
        return "logon-broken";
    if (!ap_should_client_block(r))
        return "logon-incomplete";
    while ((n = ap_get_client_block(r, body->bytes + body->len,
                                    CASP_LOGON_BODY_MAX + 1 - body->len))
           > 0) {
        body->len += (apr_size_t)n;
        if (body->len > CASP_LOGON_BODY_MAX)
            return "logon-too-long";
    }
    return n < 0 ? "logon-broken" : NULL;
}

static int bad_post(request_rec *r, casp_request_t *rq, const char *reason)
{
    casp_answer_decide(r, rq, CASP_ACTION_DENY, reason, RULE,
                       HTTP_BAD_REQUEST);
    return casp_answer_send(r, rq);
}

static bool is_for_people(casp_protocol_e protocol)
{
    return protocol == CASP_PROTO_OWA || protocol == CASP_PROTO_ECP
           || protocol == CASP_PROTO_LEGACY;
}

/* The first of those that are published. */
static const char *start_page(const casp_request_t *rq)
{
    int publish = rq->vhost->settings->publish;

    return publish & 1 << CASP_PROTO_OWA   ? "/owa/"
           : publish & 1 << CASP_PROTO_ECP ? "/ecp/"
                                           : "/exchange/";
}

/* From here on the request is the one that the person wants to make: a page
 * load of the destination. @return true: it is refused */
static bool aim(request_rec *r, casp_request_t *rq, const char *target)
{
    rq->ask.method = "GET";
    rq->ask.target = target;
    rq->ask.headers = apr_table_make(r->pool, 1);
    rq->ask.rewritten = false;
    rq->ask.at_logon = true;
    rq->gated = false;
    return casp_request_gate(r, rq);
}

/* @return false: answered.  @a back: where the browser goes on */
static bool take_aim(request_rec *r, casp_request_t *rq, const char *target,
                     const char **back)
{
    const char *start = start_page(rq);

    *back = target;
    /* "/" may well be a page of the host's */
    if (!casp_protocol_claims(apr_pstrmemdup(r->pool, target,
                                             strcspn(target, "?"))))
        return !aim(r, rq, start);
    if (aim(r, rq, target))
        return false;
    if (is_for_people(rq->verdict.url.protocol)
        && rq->forms == CASP_FORMS_NONE)
        return true;
    *back = start; /* the logon's own URLs are none to come back to */
    return !aim(r, rq, start);
}

/* Begin a session and go on to the page that was wanted. */
static int welcome(request_rec *r, casp_request_t *rq, const char *url)
{
    const casp_logon_t *logon = rq->logon;
    apr_time_t now = apr_time_now();

    if (rq->vhost->sealer
        && casp_session_begin(&rq->session, logon->flags, logon->name,
                              logon->password, logon->password_len, now)) {
        rq->session.password_set = rq->own->password_set;
        rq->cookie =
            casp_session_seal(r->pool, rq->vhost->sealer, &rq->session, now);
    }
    if (!rq->cookie)
        return bad_post(r, rq, "logon-too-long");
    casp_runtime_count(CASP_COUNT_SESSION_BEGUN);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  CASPLOGNO(0134) "logon by form: user=%s session=%s (%s "
                                  "computer)",
                            rq->display,
                            casp_session_label(r->pool, &rq->session),
                            logon->flags & CASP_LOGON_PRIVATE ? "private"
                                                              : "public");
    return redirect(r, rq, url);
}

/* Is this redirection one to ourselves (a legacy path led to /owa)? */
static bool stays_here(request_rec *r, const casp_request_t *rq)
{
    const char *url = rq->verdict.decision.url;
    const char *own =
        apr_pstrcat(r->pool, rq->ask.https ? "https://" : "http://",
                    rq->ask.host, "/", NULL);

    return url && !ap_cstr_casecmpn(url, own, strlen(own));
}

static int log_on(request_rec *r, casp_request_t *rq, const char *back)
{
    const casp_decision_t *d = &rq->verdict.decision;

    casp_request_admit(r, rq, CASP_BY_FORMS, "Forms");
    casp_request_decide(r, rq);
    if (casp_action_is_proxy(d->action))
        return welcome(r, rq, absolute(r, rq, back));
    if (d->action == CASP_ACTION_SILENT_REDIRECT && stays_here(r, rq))
        return welcome(r, rq, d->url);
    rq->forget = true; /* whatever session there was is not this one's */
    return casp_answer_send(r, rq);
}

static int logon_post(request_rec *r, casp_request_t *rq)
{
    casp_logon_t *logon = apr_pcalloc(r->pool, sizeof *logon);
    body_t *body = apr_pcalloc(r->pool, sizeof *body);
    const char *reason, *why, *target, *back;
    bool down;

    rq->logon = logon; /* a page is wanted from here on */
    reason = read_body(r, body);
    if (!reason)
        reason = casp_logon_read(r->pool, body->bytes, body->len, logon);
    if (!reason)
        reason = casp_logon_destination(r->pool, logon->destination,
                                        rq->ask.host, &target);
    if (reason)
        return bad_post(r, rq, reason);
    if (!take_aim(r, rq, target, &back))
        return casp_answer_send(r, rq);
    rq->claim.name = logon->name;
    rq->claim.password = logon->password;
    rq->claim.password_len = logon->password_len;
    reason = casp_request_judge(r, rq, &why, &down);
    if (down)
        return casp_answer_error(r, rq, reason, HTTP_SERVICE_UNAVAILABLE);
    if (!reason)
        return log_on(r, rq, back);
    casp_answer_decide(r, rq, CASP_ACTION_LOGON, reason, CASP_LOGON_FAILED,
                       HTTP_MOVED_TEMPORARILY);
    return redirect(r, rq,
                    page_url(r, rq, absolute(r, rq, back),
                             CASP_WHY_CREDENTIALS));
}

/* ----------------------------------------------------------------- sessions */

static void end_session(request_rec *r, casp_request_t *rq, const char *why)
{
    const casp_settings_t *set = rq->vhost->settings;
    int timeout = rq->session.flags & CASP_LOGON_PRIVATE ? set->forms_private
                                                         : set->forms_public;

    casp_org_end_session(rq->vhost->org, rq->session.id,
                         apr_time_now()
                             + apr_time_from_sec(timeout + timeout / 2 + 1));
    casp_runtime_count(CASP_COUNT_SESSION_ENDED);
    casp_backlogin_forget(rq);
    rq->forget = true;
    rq->cookie = NULL;
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  CASPLOGNO(0135) "session %s of \"%s\" ended: %s",
                            casp_session_label(r->pool, &rq->session),
                            rq->session.name, why);
}

/* Scripts that poll say so, and keep no session alive. */
static bool is_activity(request_rec *r, const casp_request_t *rq)
{
    const char *header = apr_table_get(r->headers_in, "X-UserActivity");
    const char *query = rq->verdict.url.query;

    if (header && !strcmp(header, "0"))
        return false;
    for (; query; query = ap_strchr_c(query, '&')) {
        query += *query == '&';
        if (!ap_cstr_casecmpn(query, "UA=0", 4)
            && (query[4] == '\0' || query[4] == '&'))
            return false;
    }
    return true;
}

static bool find_session(request_rec *r, casp_request_t *rq)
{
    if (!rq->vhost->sealer)
        return false;
    rq->found = casp_session_find(r->pool, rq->vhost->sealer,
                                  apr_table_get(r->headers_in, "Cookie"),
                                  apr_time_now(), &rq->session, &rq->stray);
    if (rq->found != CASP_SESSION_OK && rq->found != CASP_SESSION_OLD)
        return false;
    if (casp_org_session_ended(rq->vhost->org, rq->session.id)) {
        rq->found = CASP_SESSION_BAD;
        return false;
    }
    rq->claim.name = rq->session.name;
    rq->claim.password = rq->session.password;
    rq->claim.password_len = rq->session.password_len;
    return true;
}

/* AD takes an old password for a while after a change (an hour, by default),
 * so that no bind would tell.  What the directory says of the time does; only
 * a change after the logon counts, for the record that the logon saw may have
 * been older than the change. */
bool casp_forms_outdated(const casp_request_t *rq)
{
    const apr_time_t since_1601 = apr_time_from_sec(APR_INT64_C(11644473600));
    int64_t set = rq->own->password_set;

    return rq->session.name && rq->session.password_set
           && set > rq->session.password_set
           && set / 10 - since_1601 > rq->session.began;
}

/* The password in a session is judged as any other, by the caches or a bind:
 * so an account that is disabled, or whose password has changed, loses its
 * sessions when those have run out. */
static int by_session(request_rec *r, casp_request_t *rq)
{
    const char *reason, *why;
    bool down;

    if (!find_session(r, rq))
        return DECLINED;
    reason = casp_request_judge(r, rq, &why, &down);
    if (down)
        return casp_answer_error(r, rq, reason, HTTP_SERVICE_UNAVAILABLE);
    if (reason) {
        end_session(r, rq, reason);
        rq->why = strcmp(reason, casp_pw_name(CASP_PW_WRONG))
                          && strcmp(reason, "password-changed")
                      ? CASP_WHY_CREDENTIALS
                      : CASP_WHY_PASSWORD_CHANGED;
        return DECLINED;
    }
    casp_request_admit(r, rq, CASP_BY_FORMS, "Forms");
    if ((rq->stray || rq->found == CASP_SESSION_OLD) && is_activity(r, rq))
        rq->cookie = casp_session_seal(r->pool, rq->vhost->sealer,
                                       &rq->session, apr_time_now());
    return OK;
}

/* Signing out ends our session whatever becomes of the rest; then the backend
 * is told, by the very request, if that is where it would have gone. */
static int sign_out(request_rec *r, casp_request_t *rq)
{
    const char *why;
    bool down;

    rq->forget = true;
    if (!find_session(r, rq))
        return casp_forms_signed_out(r, rq);
    end_session(r, rq, "signed out");
    if (casp_request_judge(r, rq, &why, &down))
        return casp_forms_signed_out(r, rq);
    casp_request_admit(r, rq, CASP_BY_FORMS, "Forms");
    rq->signed_out = page_url(r, rq, NULL, CASP_WHY_LOGGED_OFF);
    return OK;
}

int casp_forms_signed_out(request_rec *r, casp_request_t *rq)
{
    casp_backlogin_forget(rq);
    casp_answer_decide(r, rq, CASP_ACTION_LOGON, "signed-out", RULE,
                       HTTP_MOVED_TEMPORARILY);
    return redirect(r, rq, page_url(r, rq, NULL, CASP_WHY_LOGGED_OFF));
}

int casp_forms_identify(request_rec *r, casp_request_t *rq)
{
    bool get = r->method_number == M_GET; /* and HEAD */

    switch (rq->forms) {
    case CASP_FORMS_PAGE:
        return get ? send_logon_page(r, rq) : DECLINED;
    case CASP_FORMS_SCRIPT:
        return get ? send_script(r, rq) : DECLINED;
    case CASP_FORMS_POST:
        return r->method_number == M_POST ? logon_post(r, rq) : DECLINED;
    case CASP_FORMS_LOGOFF:
        return sign_out(r, rq);
    default:
        return by_session(r, rq);
    }
}

/* ------------------------------------------------- single sign-on, outwards */

int casp_forms_carry(request_rec *r, casp_request_t *rq)
{
    const casp_verdict_t *v = &rq->verdict;
    const char *language = casp_answer_language(r, rq);
    const char *once = nonce(r);
    casp_page_var_t vars[CASP_SSO_VARS + 4] = {
        {"language", language},
        {"nonce", once},
        {"target", casp_url_host(r->pool, v->decision.url)}};
    const char *page;
    int rc;

    casp_sso_vars(r->pool, v->decision.url, v->version, rq->logon, vars + 3);
    casp_answer_mark(r, rq);
    /* Not the target alone: it may answer the POST with a redirection, and
     * browsers hold form-action against that too. */
    policy(r, once, "https:");
    apr_table_setn(r->headers_out, "Expires", "-1");
    apr_table_addn(r->headers_out, "Set-Cookie",
                   "PBack=1; Path=/; Secure; SameSite=Lax");
    page = casp_pages_render(r->pool, rq->vhost->pages, CASP_PAGE_SSO,
                             language, vars);
    rc = casp_answer_write(r, rq, HTTP_OK, NULL, HTML, page);
    casp_wipe((void *)(uintptr_t)page, strlen(page));
    return rc;
}

/* ------------------------------------------------------------- the backend */

void casp_forms_tell_backend(request_rec *r, casp_request_t *rq)
{
    if (rq->ask.by != CASP_BY_FORMS)
        return;
    if (!(rq->session.flags & CASP_LOGON_PRIVATE))
        apr_table_setn(r->headers_in, "X-LogonType", "Public");
    if (rq->session.flags & CASP_LOGON_LIGHT)
        apr_table_setn(r->headers_in, "User-Agent", LIGHT_AGENT);
}

int casp_forms_lost(request_rec *r, casp_request_t *rq, bool ended)
{
    const char *reason = ended ? "password-changed" : "backend-session-over";

    if (rq->ask.by != CASP_BY_FORMS)
        return ended ? casp_answer_unauthorized(r, rq, reason)
                     : casp_answer_error(r, rq, reason,
                                         HTTP_SERVICE_UNAVAILABLE);
    if (ended)
        end_session(r, rq, "its password was changed");
    if (!casp_answer_wants_page(r, rq))
        return login_timeout(r, rq);
    casp_answer_decide(r, rq, CASP_ACTION_LOGON, reason, RULE,
                       HTTP_MOVED_TEMPORARILY);
    return redirect(r, rq,
                    ended ? page_url(r, rq, original(r, rq),
                                     CASP_WHY_PASSWORD_CHANGED)
                          : original(r, rq));
}

const char *casp_forms_refused(request_rec *r, casp_request_t *rq)
{
    end_session(r, rq, "the backend refuses its password");
    return casp_answer_wants_page(r, rq)
               ? page_url(r, rq, original(r, rq), CASP_WHY_CREDENTIALS)
               : NULL;
}
