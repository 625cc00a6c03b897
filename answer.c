/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * answer.c - decisions made into responses.
 *
 * One table of shapes: a page, a redirection, a bare status.  Who can read a
 * page gets one; a script, a phone or a mail program gets the status and a
 * line of text, never HTML, never a redirection it cannot follow, never a 500.
 *
 * Answers are written here to their end and DONE is returned, because httpd
 * makes a 500 out of statuses it does not know (440), and another meaning out
 * of one it does (451).
 */

#include "decision.h"
#include "skin.h"

#include <string.h>

#include <apr_escape.h>
#include <apr_strings.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "topology.h"

/* A browser that goes round in circles comes back at once; a person who types
 * the address again does not. */
#define MARKER_NAME "casproxy_rdr"
#define MARKER_SECONDS 15
/* A body that is not worth a new connection is read and dropped. */
#define RETRY_AFTER "30"

/* ------------------------------------------------------------------- parts */

/* The unread body of a refused request: a small one is read, so that the
 * connection lives on; a gigabyte is not waited for. */
static void settle_body(request_rec *r, const casp_request_t *rq)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    bool chunked = apr_table_get(r->headers_in, "Transfer-Encoding") != NULL;

    if ((!length && !chunked) || rq->drained)
        return;
    if (length && !chunked && !r->expecting_100
        && apr_atoi64(length) <= CASP_DISCARD_MAX) {
        if (ap_discard_request_body(r) == OK)
            return;
    }
    r->connection->keepalive = AP_CONN_CLOSE;
}

#if defined(__clang__) /* what it says of APR's APR_OFFSETOF */
#pragma clang diagnostic ignored "-Wnull-pointer-subtraction"
#endif

void casp_answer_drain(request_rec *r, casp_request_t *rq)
{
    apr_bucket_brigade *bb =
        apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_off_t sum = 0, got;

    while (!rq->drained && sum <= CASP_DISCARD_MAX) {
        apr_brigade_cleanup(bb);
        if (ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES,
                           APR_BLOCK_READ, HUGE_STRING_LEN)
                != APR_SUCCESS
            || APR_BRIGADE_EMPTY(bb)
            || apr_brigade_length(bb, 1, &got) != APR_SUCCESS)
            break;
        sum += got;
        rq->drained = APR_BUCKET_IS_EOS(APR_BRIGADE_LAST(bb));
    }
    apr_brigade_destroy(bb);
}

static void common_headers(request_rec *r)
{
    apr_table_t *h = r->headers_out;

    apr_table_setn(h, "Cache-Control", "no-cache, no-store");
    apr_table_setn(h, "Pragma", "no-cache");
    apr_table_setn(h, "X-Content-Type-Options", "nosniff");
    apr_table_setn(h, "Referrer-Policy", "no-referrer");
}

int casp_answer_write(request_rec *r, casp_request_t *rq, int status,
                      const char *status_line, const char *type,
                      const char *body)
{
    if (!rq->answered && !r->handler)
        ap_run_insert_error_filter(r); /* mod_headers' "Header always" */
    r->status = status;
    r->status_line = status_line; /* NULL: httpd's own text */
    rq->answered = status;
    settle_body(r, rq);
    common_headers(r);
    casp_forms_cookies(r, rq, r->headers_out);
    if (type)
        ap_set_content_type(r, type);
    ap_set_content_length(r, (apr_off_t)strlen(body));
    if (*body)
        ap_rputs(body, r);
    return DONE;
}

const char *casp_answer_language(request_rec *r, casp_request_t *rq)
{
    apr_table_mergen(r->headers_out, "Vary", "Accept-Language");
    return casp_pages_language(rq->vhost->pages,
                               apr_table_get(r->headers_in,
                                             "Accept-Language"));
}

bool casp_answer_wants_page(request_rec *r, const casp_request_t *rq)
{
    if (rq->logon) /* a person has just sent a form */
        return true;
    return casp_protocol_page_load(r->method, r->headers_in, &rq->verdict.url)
           && (rq->verdict.url.protocol == CASP_PROTO_OWA
               || rq->verdict.url.protocol == CASP_PROTO_ECP
               || rq->verdict.url.protocol == CASP_PROTO_LEGACY);
}

/* What a stranger is told.  Which names exist, which of them are locked and
 * which password was nearly right stands in the log only: a rule's reason may
 * be told, one that a failed logon gave may not. */
const char *casp_answer_told_reason(const casp_decision_t *d)
{
    return d->action == CASP_ACTION_LOGON
                   && !strcmp(d->rule, CASP_LOGON_FAILED)
               ? "credentials-needed"
               : d->reason;
}

/* "<action>.<reason>.<part>", else "<action>.<part>". */
static const char *text_for(request_rec *r, casp_request_t *rq,
                            const char *language, const char *part)
{
    const casp_decision_t *d = &rq->verdict.decision;
    const char *action = casp_action_name(d->action);
    const char *text = casp_pages_text(rq->vhost->pages, language,
                                       apr_pstrcat(r->pool, action, ".",
                                                   casp_answer_told_reason(d),
                                                   ".", part, NULL));

    if (!text)
        text = casp_pages_text(rq->vhost->pages, language,
                               apr_pstrcat(r->pool, action, ".", part, NULL));
    return text ? text : "";
}

/* A link goes to http or https and nowhere else, whatever a directory says. */
const char *casp_answer_safe_link(const char *url)
{
    if (!url || *ap_scan_vchar_obstext(url)
        || (ap_cstr_casecmpn(url, "https://", 8)
            && ap_cstr_casecmpn(url, "http://", 7)))
        return NULL;
    return url;
}

int casp_answer_page(request_rec *r, casp_request_t *rq, int status,
                     const char *status_line, const char *link)
{
    const casp_decision_t *d = &rq->verdict.decision;
    const char *id = apr_table_get(r->subprocess_env, "UNIQUE_ID");
    const char *language = casp_answer_language(r, rq);
    char when[APR_RFC822_DATE_LEN];
    casp_page_var_t vars[] = {
        {"language", language},
        {"title", text_for(r, rq, language, "title")},
        {"text", text_for(r, rq, language, "text")},
        {"hint", text_for(r, rq, language, "hint")},
        {"host", r->hostname},
        {d->action == CASP_ACTION_LOGON ? "logon" : "link",
         casp_answer_safe_link(link)},
        {"action", casp_action_name(d->action)},
        {"reason", status >= 400 ? casp_answer_told_reason(d) : NULL},
        {"user", rq->display ? rq->display : rq->verdict.user},
        {"time", when},
        {"id", id ? id : r->log_id},
        {NULL, NULL}};

    apr_rfc822_date(when, r->request_time);
    apr_table_setn(r->headers_out, "Content-Security-Policy",
                   "default-src 'none'; style-src 'unsafe-inline'; "
                   "base-uri 'none'; form-action 'none'; "
                   "frame-ancestors 'self'");
    return casp_answer_write(r, rq, status, status_line,
                             "text/html; charset=utf-8",
                             casp_pages_render(r->pool, rq->vhost->pages,
                                               CASP_PAGE_PLAIN, language,
                                               vars));
}

/* Clients that are programs: none of them shows a page or follows a link, and
 * a phone that is told 500 takes itself for the culprit. */
static bool is_for_programs(casp_protocol_e protocol)
{
    switch (protocol) {
    case CASP_PROTO_OWA:
    case CASP_PROTO_ECP:
    case CASP_PROTO_LEGACY:
        return false;
    default:
        return true;
    }
}

/* What a 405 must tell.  Only where it is ours: a backend's has its own. */
static const char *allowed_methods(casp_protocol_e protocol)
{
    switch (protocol) {
    case CASP_PROTO_EAS:
        return "OPTIONS, POST";
    case CASP_PROTO_RPC:
        return "RPC_IN_DATA, RPC_OUT_DATA";
    default:
        return "GET, HEAD, OPTIONS, POST";
    }
}

static int send_status(request_rec *r, casp_request_t *rq, int status)
{
    const casp_decision_t *d = &rq->verdict.decision;

    if (status == HTTP_INTERNAL_SERVER_ERROR)
        status = HTTP_SERVICE_UNAVAILABLE;
    if (status == HTTP_SERVICE_UNAVAILABLE)
        apr_table_setn(r->headers_out, "Retry-After", RETRY_AFTER);
    if (status == HTTP_METHOD_NOT_ALLOWED)
        apr_table_setn(r->headers_out, "Allow",
                       allowed_methods(rq->verdict.url.protocol));
    if (casp_answer_wants_page(r, rq))
        return casp_answer_page(r, rq, status, NULL, NULL);
    return casp_answer_write(r, rq, status, NULL, "text/plain; charset=utf-8",
                             apr_pstrcat(r->pool, casp_answer_told_reason(d),
                                         "\n", NULL));
}

/* -------------------------------------------------------- the loop marker */

static const char *marker_value(request_rec *r, const casp_request_t *rq)
{
    const char *host = casp_url_host(r->pool, rq->verdict.decision.url);
    const char *user = rq->verdict.user ? rq->verdict.user : "";
    const char *text =
        apr_pstrcat(r->pool, host ? host : "", "\n", user, NULL);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char *hex = apr_palloc(r->pool, 33);

    HMAC(EVP_sha256(), casp_runtime_key(), 32, (const unsigned char *)text,
         strlen(text), mac, &len);
    for (int i = 0; i < 16; i++)
        apr_snprintf(hex + 2 * i, 3, "%02x", mac[i]);
    return hex;
}

static bool follows_by_itself(casp_action_e action)
{
    return action == CASP_ACTION_SILENT_REDIRECT
           || action == CASP_ACTION_SSO_REDIRECT;
}

bool casp_answer_marked(request_rec *r, const casp_request_t *rq)
{
    const char *cookies = apr_table_get(r->headers_in, "Cookie");
    const casp_decision_t *d = &rq->verdict.decision;
    const char *at;

    if (!cookies || !d->url || !follows_by_itself(d->action))
        return false;
    at = ap_strstr_c(cookies, MARKER_NAME "=");
    if (!at)
        return false;
    at += strlen(MARKER_NAME "=");
    return strlen(at) >= 32 && CRYPTO_memcmp(at, marker_value(r, rq), 32) == 0;
}

void casp_answer_mark(request_rec *r, const casp_request_t *rq)
{
    if (follows_by_itself(rq->verdict.decision.action)
        && casp_answer_safe_link(rq->verdict.decision.url))
        apr_table_addn(r->headers_out, "Set-Cookie",
                       apr_psprintf(r->pool,
                                    MARKER_NAME "=%s; Path=/; Max-Age=%d; "
                                                "HttpOnly; SameSite=Lax%s",
                                    marker_value(r, rq), MARKER_SECONDS,
                                    rq->ask.https ? "; Secure" : ""));
}

/* ----------------------------------------------------------------- answers */

static int send_redirect(request_rec *r, casp_request_t *rq, const char *url)
{
    const char *link = casp_answer_safe_link(url);

    if (!link) {
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            CASPLOGNO(0140) "a redirection to \"%s\" was decided, "
                      "which is no URL a browser may be sent to: correct the "
                      "ExternalURL of rule %s",
                url ? url : "", rq->verdict.decision.rule);
        return casp_answer_error(r, rq, "no-external-url",
                                 HTTP_SERVICE_UNAVAILABLE);
    }
    if (rq->own) /* a change to https is no redirection of a mailbox */
        casp_answer_mark(r, rq);
    apr_table_setn(r->headers_out, "Location", link);
    if (!casp_answer_wants_page(r, rq))
        return casp_answer_write(r, rq, HTTP_MOVED_TEMPORARILY, NULL,
                                 "text/plain; charset=utf-8", "");
    return casp_answer_page(r, rq, HTTP_MOVED_TEMPORARILY, NULL, link);
}

/* A device reads X-MS-Location and nothing else: no body, and no type of one.
 */
static int send_eas_redirect(request_rec *r, casp_request_t *rq)
{
    const char *link = casp_answer_safe_link(rq->verdict.decision.url);

    if (!link)
        return casp_answer_error(r, rq, "no-external-url",
                                 HTTP_SERVICE_UNAVAILABLE);
    apr_table_setn(r->headers_out, "X-MS-Location", link);
    return casp_answer_write(r, rq, 451, "451 Device Misconfigured", NULL, "");
}

/* Who came by NTLM has no password to give, and would come by NTLM again and
 * again: where there is Basic, that is asked for, once; else it is an error. */
static int double_hop(request_rec *r, casp_request_t *rq)
{
    if (!(rq->schemes & CASP_SCHEME_BASIC) || rq->ask.by == CASP_BY_BASIC)
        return casp_answer_error(r, rq, "double-hop", HTTP_FORBIDDEN);
    rq->schemes = CASP_SCHEME_BASIC;
    return casp_answer_unauthorized(r, rq, "double-hop");
}

/* No rule sends a program after these; should one, it is told so. */
static bool is_for_people(casp_action_e action)
{
    switch (action) {
    case CASP_ACTION_MANUAL_REDIRECT:
    case CASP_ACTION_TEMPORARY_REDIRECT:
    case CASP_ACTION_SILENT_REDIRECT:
    case CASP_ACTION_SSO_REDIRECT:
        return true;
    default:
        return false;
    }
}

int casp_answer_send(request_rec *r, casp_request_t *rq)
{
    const casp_decision_t *d = &rq->verdict.decision;

    if (rq->signed_out)
        return casp_forms_signed_out(r, rq);
    if (is_for_people(d->action) && is_for_programs(rq->verdict.url.protocol))
        return casp_answer_error(r, rq, "redirect-not-possible",
                                 HTTP_FORBIDDEN);
    if (d->action == CASP_ACTION_TEMPORARY_REDIRECT)
        rq->forget = true; /* the next request is to ask anew */
    switch (d->action) {
    case CASP_ACTION_MANUAL_REDIRECT:
    case CASP_ACTION_TEMPORARY_REDIRECT:
        if (!casp_answer_wants_page(r, rq)) /* a script cannot click a link */
            return send_redirect(r, rq, d->url);
        return casp_answer_page(r, rq, HTTP_OK, NULL, d->url);
    case CASP_ACTION_SSO_REDIRECT:
        if (rq->logon)
            return casp_forms_carry(r, rq);
        return send_redirect(r, rq, d->url);
    case CASP_ACTION_SILENT_REDIRECT:
    case CASP_ACTION_AUTODISCOVER_REDIRECT:
        return send_redirect(r, rq, d->url);
    case CASP_ACTION_AUTODISCOVER_ANSWER:
        return casp_discover_answer(r, rq);
    case CASP_ACTION_EAS_REDIRECT:
        return send_eas_redirect(r, rq);
    case CASP_ACTION_LOGON:
        if (!strcmp(d->reason, "double-hop"))
            return double_hop(r, rq);
        return casp_answer_unauthorized(r, rq, d->reason);
    default:
        return send_status(r, rq,
                           d->status >= 400 ? d->status
                                            : HTTP_SERVICE_UNAVAILABLE);
    }
}

void casp_answer_decide(request_rec *r, casp_request_t *rq,
                        casp_action_e action, const char *reason,
                        const char *rule, int status)
{
    casp_decision_t *d = &rq->verdict.decision;

    memset(d, 0, sizeof *d);
    d->action = action;
    d->reason = reason;
    d->rule = rule;
    d->source = "ours";
    d->status = status;
    casp_request_decided(r, rq);
}

/* No 401 without them. */
static void offer_schemes(request_rec *r, casp_request_t *rq)
{
    const char *realm = r->hostname ? r->hostname : "Exchange";

    casp_integrated_offer(r, rq);
    if (rq->schemes & CASP_SCHEME_BASIC)
        apr_table_addn(r->err_headers_out, "WWW-Authenticate",
                       apr_psprintf(r->pool,
                                    "Basic realm=\"%s\", charset=\"UTF-8\"",
                                    ap_escape_quotes(r->pool, realm)));
}

int casp_answer_unauthorized(request_rec *r, casp_request_t *rq,
                             const char *reason)
{
    if (rq->verdict.decision.action != CASP_ACTION_LOGON)
        casp_answer_decide(r, rq, CASP_ACTION_LOGON, reason, CASP_LOGON_FAILED,
                           HTTP_UNAUTHORIZED);
    offer_schemes(r, rq);
    return send_status(r, rq, HTTP_UNAUTHORIZED);
}

int casp_answer_error(request_rec *r, casp_request_t *rq, const char *reason,
                      int status)
{
    /* what mod_proxy may have left of a backend's answer */
    apr_table_clear(r->headers_out);
    r->proxyreq = PROXYREQ_NONE;
    if (rq->signed_out)
        return casp_forms_signed_out(r, rq);
    casp_answer_decide(r, rq, CASP_ACTION_ERROR, reason, reason, status);
    return send_status(r, rq, status);
}

int casp_answer_trouble(request_rec *r, casp_request_t *rq)
{
    const casp_reason_t *reason = casp_decision_reason(rq->trouble);
    int status =
        reason && reason->status ? reason->status : HTTP_SERVICE_UNAVAILABLE;

    apr_table_clear(r->headers_out);
    r->proxyreq = PROXYREQ_NONE;
    if (!strcmp(rq->trouble, "password-changed"))
        return casp_forms_lost(r, rq, true);
    if (!strcmp(rq->trouble, "backend-session-over"))
        return casp_forms_lost(r, rq, false);
    if (!strcmp(rq->trouble, "double-hop"))
        return double_hop(r, rq);
    if (!strcmp(rq->trouble, "ntlm-not-on-destination")
        && rq->verdict.url.protocol == CASP_PROTO_EAS) {
        status = HTTP_UNAUTHORIZED; /* what devices are given by Exchange */
        offer_schemes(r, rq);
    }
    return casp_answer_error(r, rq, rq->trouble, status);
}
