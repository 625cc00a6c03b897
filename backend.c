/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * backend.c - from a decision to mod_proxy: the candidates in their order, and
 * what follows where one does not serve.
 */

#include "backend.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_strings.h>

/* A server that refused a login is asked once more, no more. */
#define LOGIN_TRIES 2

static int pre_request(proxy_worker **worker, proxy_balancer **balancer,
                       request_rec *r, proxy_server_conf *conf, char **url)
{
    casp_request_t *rq = casp_request_of(r);
    casp_worker_t *w;

    (void)url;
    if (!rq || !rq->trying)
        return DECLINED;
    w = casp_worker_lease(r, rq);
    if (!w)
        return HTTP_SERVICE_UNAVAILABLE;
    *worker = w->worker;
    *balancer = NULL;
    return casp_backlogin_ready(r, rq, conf, worker);
}

int casp_backend_attach(apr_pool_t *p)
{
    typedef void request_fn(proxy_HOOK_pre_request_t * fn,
                            const char *const *before,
                            const char *const *after, int order);
    typedef void scheme_fn(proxy_HOOK_scheme_handler_t * fn,
                           const char *const *before, const char *const *after,
                           int order);
    request_fn *hook = NULL;
    scheme_fn *hook_scheme = NULL;
    apr_dso_handle_t *dso;

    if (!casp_worker_attach(p, &dso))
        return HTTP_INTERNAL_SERVER_ERROR;
    if (!dso)
        return OK;
    if (!casp_worker_symbol(dso, "proxy_hook_pre_request", &hook)
        || !casp_worker_symbol(dso, "proxy_hook_scheme_handler",
                               &hook_scheme)) {
        ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL,
                     CASPLOGNO(0167) "this mod_proxy has no pre_request or no "
                                     "scheme_handler hook: load the mod_proxy "
                                     "of this httpd");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (!casp_worker_share(p))
        ap_log_error(APLOG_MARK, APLOG_WARNING, 0, NULL,
                     CASPLOGNO(0762) "no shared memory: the two channels of "
                                     "Outlook Anywhere may meet two servers "
                                     "when one of these comes or goes");
    hook(pre_request, NULL, NULL, APR_HOOK_FIRST);
    hook_scheme(casp_relay_handler, NULL, NULL, APR_HOOK_REALLY_FIRST);
    APR_OPTIONAL_HOOK(proxy, fixups, casp_mapping_outwards, NULL, NULL,
                      APR_HOOK_LAST);
    return OK;
}

apr_status_t casp_backend_child_init(apr_pool_t *p, server_rec *s)
{
    apr_status_t rv = casp_worker_child_init();

    (void)p;
    (void)s;
    return rv == APR_SUCCESS ? casp_backlogin_child_init() : rv;
}

void casp_backend_register(void)
{
    casp_mapping_register();
    casp_backlogin_register();
}

void casp_backend_tick(apr_time_t now)
{
    casp_worker_tick(now);
    casp_backlogin_tick(now);
}

/* -------------------------------------------------------------- candidates */

/* scheme://host[:port] that a backend is reached at: its own, or what
 * CasProxyBackendMap says for its host. */
static const char *base_of(request_rec *r, casp_request_t *rq, int i)
{
    const char *url = rq->verdict.decision.backends[i].url;
    const char *to =
        casp_settings_backend_map(rq->vhost->settings,
                                  casp_url_host(r->pool, url), "https");

    if (to)
        url = to;
    return apr_pstrmemdup(r->pool, url,
                          (apr_size_t)(casp_url_path(url) - url));
}

/* The raw URL, as the client sent it, behind the directory's own path: what
 * was checked is what is sent, byte for byte. */
static void use_candidate(request_rec *r, casp_request_t *rq, int i)
{
    const casp_decision_t *d = &rq->verdict.decision;
    const casp_url_t *u = &rq->verdict.url;
    const char *path = casp_url_path(d->backends[i].url);
    const char *file = strrchr(path, '/');

    rq->backend = i;
    rq->login = d->backends[i].login;
    rq->verdict.asked = d->backends[i].url;
    rq->backend_base = base_of(r, rq, i);
    rq->backend_host = d->action == CASP_ACTION_PROXY_BACKEND
                           ? rq->ask.host /* 2003 builds its links from it */
                           : casp_url_host(r->pool, d->backends[i].url);
    /* an InternalURL may name a file: .../EWS/Exchange.asmx */
    if (file && file != path && strchr(file, '.') && *u->rest)
        path = apr_pstrmemdup(r->pool, path, (apr_size_t)(file - path));
    r->filename = apr_pstrcat(r->pool, "proxy:", rq->backend_base, path,
                              u->rest, !*path && !*u->rest ? "/" : "",
                              u->query ? "?" : NULL, u->query, NULL);
}

static bool rests(request_rec *r, casp_request_t *rq, int i)
{
    rq->backend_base = base_of(r, rq, i);
    rq->login = rq->verdict.decision.backends[i].login;
    return casp_worker_rests(r, rq);
}

/* The first that does not rest; of a channel, where its partner went. */
static int first_candidate(request_rec *r, casp_request_t *rq)
{
    const casp_decision_t *d = &rq->verdict.decision;

    if (d->nbackends < 2)
        return 0;
    for (int i = 0; i < d->nbackends && casp_relay_wants(r, rq); i++)
        if (casp_worker_leads(rq, base_of(r, rq, i)))
            return i;
    for (int i = 0; i < d->nbackends; i++)
        if (!rests(r, rq, i))
            return i;
    return 0;
}

void casp_backend_prepare(request_rec *r, casp_request_t *rq)
{
    use_candidate(r, rq, first_candidate(r, rq));
    r->proxyreq = PROXYREQ_REVERSE;
    r->handler = "proxy-server";
    apr_table_setn(r->notes, "proxy-nocanon", "1");
    if (rq->verdict.url.protocol == CASP_PROTO_MAPI)
        apr_table_setn(r->subprocess_env, "proxy-prefetch-nonblocking", "1");
    casp_mapping_insert(r, rq);
}

/* A server with too much to do is not dead: were it put to rest, one user's
 * many slow requests would move everybody to the next one. */
static bool is_busy(const casp_request_t *rq, casp_worker_t *w)
{
    return rq->busy
           || (w
               && apr_atomic_read32(&w->leases)
                      >= (apr_uint32_t)rq->vhost->settings->backend_hmax);
}

static void note_failure(request_rec *r, casp_request_t *rq, int rc)
{
    casp_worker_t *w = casp_worker_known(r, rq);

    casp_runtime_count(CASP_COUNT_BACKEND_FAILED);
    if (rc == HTTP_SERVICE_UNAVAILABLE && is_busy(rq, w)) {
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, 0, r,
            CASPLOGNO(0166) "backend %s (%s) has as many requests as "
                            "CasProxyBackendPool allows (busy=, hmax=)",
                      rq->backend_host, rq->backend_base);
        return;
    }
    if (w && rc == HTTP_SERVICE_UNAVAILABLE)
        apr_atomic_set32(
            &w->rests, casp_worker_seconds()
                           + (apr_uint32_t)rq->vhost->settings->backend_retry);
    if (rc == HTTP_INTERNAL_SERVER_ERROR)
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            CASPLOGNO(0163) "no TLS connection to %s (%s): mod_ssl's message "
                            "stands before this one. Where Exchange shows a "
                            "certificate of "
                            "its own making, name it in "
                            "SSLProxyCACertificateFile (see \"A "
                            "backend's certificate\" in the reference); "
                            "SSLProxyEngine must "
                            "be on in this virtual host",
                      rq->backend_host, rq->backend_base);
    else
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      CASPLOGNO(0164) "backend %s (%s) did not answer: %d",
                                rq->backend_host, rq->backend_base, rc);
}

/* Nothing of the backend's answer went to the client: as if it had not been
 * asked yet. */
static void forget_answer(request_rec *r)
{
    r->headers_out = apr_table_make(r->pool, 8);
    r->status = HTTP_OK;
    r->status_line = NULL;
    r->content_encoding = NULL;
    ap_set_content_type(r, NULL);
    r->eos_sent = 0;
    r->sent_bodyct = 0;
    r->bytes_sent = 0;
    /* mod_proxy's memory of a request body that it has sent */
    apr_pool_userdata_setn(NULL, "proxy-req-input", NULL, r->pool);
}

/* With ProxyErrorOverride a backend's no comes back as mod_proxy's status, and
 * its headers in a new table; no filter has seen them. */
static casp_after_e judge_overridden(request_rec *r, casp_request_t *rq,
                                     int status)
{
    casp_after_e after;
    int was = r->status;

    r->status = status;
    after = casp_backlogin_judge(r, rq);
    r->status = was;
    return after;
}

/* A login's connection may break between its messages, or be closed by the
 * backend when it is used: mod_proxy has no answer then, and does not know that
 * another connection would do.  Asked again is only what changes nothing, for
 * the backend may have read it. */
static bool broke_off(request_rec *r, const casp_request_t *rq, int rc)
{
    return (rc == HTTP_BAD_GATEWAY || rc == HTTP_SERVICE_UNAVAILABLE)
           && rq->lease && !rq->seen && !rq->trouble && !rq->last
           && !apr_table_get(r->notes, "proxy_timedout")
           && (r->method_number == M_GET || r->method_number == M_OPTIONS
               || r->method_number == M_PROPFIND)
           && !ap_request_has_body(r);
}

/* One candidate, and once more where its login was lost on the way. */
static int run(request_rec *r, casp_request_t *rq)
{
    int rc = OK;

    for (int tried = 0; tried < LOGIN_TRIES; tried++) {
        const apr_table_t *before = r->headers_out;
        rq->trouble = NULL;
        rq->after = CASP_AFTER_SERVED;
        rq->seen = false;
        rq->last = tried + 1 == LOGIN_TRIES;
        rq->trying = true;
        rc = ap_run_handler(r);
        if (!rq->seen && r->headers_out != before && rc >= 400)
            rq->after = judge_overridden(r, rq, rc);
        else if (broke_off(r, rq, rc))
            rq->after = CASP_AFTER_AGAIN;
        rq->trying = false;
        casp_backlogin_done(rq);
        if (rq->after == CASP_AFTER_SERVED)
            return rc;
        forget_answer(r);
        if (rq->after != CASP_AFTER_AGAIN)
            return OK;
    }
    return rc;
}

/* mod_proxy_http says 502 of an answer that did not come in time, too, and
 * leaves a note. */
static const char *why_failed(request_rec *r, int rc)
{
    if (rc == HTTP_INTERNAL_SERVER_ERROR)
        return "backend-certificate";
    return rc == HTTP_GATEWAY_TIME_OUT
                   || apr_table_get(r->notes, "proxy_timedout")
               ? "backend-timeout"
               : "backend-unavailable";
}

/* Only a status that mod_proxy gives before a byte was sent leads to the next
 * candidate: a POST must not arrive twice.  With ProxyErrorOverride a status
 * may be the backend's own; mod_proxy then has put a new table in the place of
 * headers_out, and the request was served. */
int casp_backend_handler(request_rec *r, casp_request_t *rq)
{
    const casp_decision_t *d = &rq->verdict.decision;
    int first = rq->backend;
    int rc;

    if (r->connection->master && casp_relay_wants(r, rq))
        return casp_relay_refuse(r, rq);
    casp_runtime_enter(r, rq);
    for (int tried = 1;; tried++) {
        const apr_table_t *before = r->headers_out;
        rc = run(r, rq);
        if (rq->after == CASP_AFTER_INSTEAD || rq->trouble)
            break;
        /* ProxyErrorOverride passes the map filter by, which would have led
         * to the logon page and taken the cookies away. */
        if (rq->signed_out && r->headers_out != before && rc >= 400)
            return casp_answer_error(r, rq, "backend-error", rc);
        if (r->headers_out != before
            && (rc == HTTP_SERVICE_UNAVAILABLE
                || rc == HTTP_INTERNAL_SERVER_ERROR)) {
            if (casp_mapping_spares(rq, rc, NULL))
                return casp_answer_error(r, rq, "backend-error",
                                         HTTP_SERVICE_UNAVAILABLE);
            return rc;
        }
        if (rc != HTTP_SERVICE_UNAVAILABLE && rc != HTTP_BAD_GATEWAY
            && rc != HTTP_GATEWAY_TIME_OUT && rc != HTTP_INTERNAL_SERVER_ERROR)
            return rc;
        note_failure(r, rq, rc);
        if (rc != HTTP_SERVICE_UNAVAILABLE || tried >= d->nbackends)
            break;
        casp_runtime_count(CASP_COUNT_BACKEND_RETRIED);
        use_candidate(r, rq, (first + tried) % d->nbackends);
    }
    if (rq->trouble)
        return casp_answer_trouble(r, rq);
    return casp_answer_error(r, rq, why_failed(r, rc),
                             HTTP_SERVICE_UNAVAILABLE);
}
