/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * discover.c - Autodiscover, answered here: between httpd's request and
 * autodiscover.c.
 *
 * Who asks is known by now; whom they ask about may be anybody, as Outlook
 * does for a second mailbox, and the answer is about that one.
 *
 * What a client can mend is told in the schema's own errors, with status 200;
 * what the directory cannot say right now is a 503, which clients try again
 * later, while an error in the answer would make them give up.
 *
 * Must not: answer a stranger, or hold the topology while it writes.
 */

#include "skin.h"

#include <apr_strings.h>

#include "autodiscover.h"

#define ALLOWED "GET, HEAD, OPTIONS, POST"

static int send_error(request_rec *r, casp_request_t *rq,
                      casp_disco_error_e error)
{
    return casp_answer_write(r, rq, HTTP_OK, NULL, "text/xml; charset=utf-8",
                             casp_disco_error(r->pool, error, r->request_time,
                                              r->hostname));
}

/* The request's XML.  A GET has none, and is answered as Exchange does.
 * @a late: it would go on */
static casp_disco_error_e read_ask(request_rec *r, casp_request_t *rq,
                                   casp_disco_ask_t *ask, bool *late)
{
    const char *data = "";
    apr_size_t len = 0;
    bool whole = false;
    apr_status_t rv;

    *late = false;
    if (r->method_number != M_POST)
        return CASP_DISCO_BAD_REQUEST;
    rv = casp_peek_body(r, CASP_PEEK_MAX, &data, &len, &whole);
    if (rv != APR_SUCCESS || !whole) {
        *late = APR_STATUS_IS_TIMEUP(rv)
                || (rv == APR_SUCCESS && len < CASP_PEEK_MAX);
        r->connection->keepalive = AP_CONN_CLOSE;
        rq->drained = true; /* as far as it will be */
        return CASP_DISCO_BAD_REQUEST;
    }
    casp_answer_drain(r, rq);
    return casp_disco_read(r->pool, data, len, ask);
}

static const char *copy(request_rec *r, const char *text)
{
    return text ? apr_pstrdup(r->pool, text) : NULL;
}

/* The log's line and the variables are about the mailbox asked for. */
static void tell_mailbox(request_rec *r, casp_request_t *rq,
                         const casp_topology_t *t, const casp_mailbox_t *m)
{
    casp_verdict_t *v = &rq->verdict;
    casp_home_t home;

    casp_mailbox_home(m, t, &home);
    v->mailbox = m;
    v->version = home.version;
    v->site = home.site ? copy(r, home.site->name) : NULL;
    casp_request_decided(r, rq);
}

/* Offers of what a client can speak are numbers: 1, or higher ones later. */
static bool speaks_mapi(request_rec *r)
{
    const char *offer = apr_table_get(r->headers_in, "X-MapiHttpCapability");

    return offer && apr_atoi64(offer) >= 1;
}

static casp_disco_error_e compose(request_rec *r, casp_request_t *rq,
                                  const casp_topology_t *t,
                                  const casp_mailbox_t *m,
                                  casp_disco_schema_e schema, const char **xml,
                                  const char **why)
{
    const casp_settings_t *set = rq->vhost->settings;
    const char *ignored;
    const casp_disco_view_t view = {
        .s = set,
        .t = t,
        .front_site = casp_verdict_front_site(r->pool, set, t,
                                              rq->ask.local_address, &ignored),
        .mailbox = m,
        .host = casp_disco_host(r->pool, set, rq->ask.host),
        .by = rq->ask.by,
        .auth = rq->dir->auth,
        .redirects = rq->dir->mode == CASP_MODE_REDIRECT,
        .mapi_http = speaks_mapi(r)};

    if (!view.host)
        return CASP_DISCO_BAD_REQUEST;
    return casp_disco_answer(r->pool, schema, &view, xml, why);
}

/* @a why: where it is UNPLACED, a stable code */
static casp_disco_error_e find_and_compose(request_rec *r, casp_request_t *rq,
                                           const casp_topology_t *t,
                                           const casp_disco_ask_t *ask,
                                           const char **xml, const char **why)
{
    casp_org_t *org = rq->vhost->org;
    apr_time_t start = apr_time_now();
    const casp_mailbox_t *m = NULL;
    const char *detail = NULL;
    casp_cache_e how;
    casp_find_e found =
        casp_org_find(org, r->pool, t, &ask->key,
                      start + casp_org_patience(org), &m, &how, &detail);

    rq->verdict.lookup += apr_time_now() - start;
    *why = "directory-unavailable";
    if (found == CASP_FIND_UNAVAILABLE)
        return CASP_DISCO_UNPLACED;
    if (found == CASP_FIND_AMBIGUOUS)
        ap_log_rerror(
            APLOG_MARK, APLOG_WARNING, 0, r,
            CASPLOGNO(0800) "Autodiscover cannot answer for \"%s\": "
                            "several objects of the directory have this "
                            "address: %s; leave it to one of them",
                      ask->key.value, detail ? detail : "");
    if (found != CASP_FIND_OK)
        return CASP_DISCO_NO_ADDRESS;
    tell_mailbox(r, rq, t, m);
    return compose(r, rq, t, m, ask->schema, xml, why);
}

static int other_method(request_rec *r, casp_request_t *rq)
{
    apr_table_setn(r->headers_out, "Allow", ALLOWED);
    return casp_answer_write(r, rq,
                             r->method_number == M_OPTIONS
                                 ? HTTP_OK
                                 : HTTP_METHOD_NOT_ALLOWED,
                             NULL, NULL, "");
}

int casp_discover_answer(request_rec *r, casp_request_t *rq)
{
    const char *xml = NULL, *why = NULL;
    casp_disco_ask_t ask;
    casp_disco_error_e error;
    casp_topology_t *t;
    bool late;

    if (r->method_number != M_POST && r->method_number != M_GET)
        return other_method(r, rq);
    error = read_ask(r, rq, &ask, &late);
    if (late) /* error 600 would be the last word to a slow client */
        return casp_answer_write(r, rq, HTTP_REQUEST_TIME_OUT, NULL,
                                 "text/plain; charset=utf-8",
                                 "The request did not come in time.\n");
    if (error == CASP_DISCO_OK) {
        t = casp_org_topology(rq->vhost->org);
        if (!t)
            return casp_answer_error(r, rq, "directory-unavailable",
                                     HTTP_SERVICE_UNAVAILABLE);
        error = find_and_compose(r, rq, t, &ask, &xml, &why);
        casp_topology_unref(t);
    }
    if (error == CASP_DISCO_UNPLACED)
        return casp_answer_error(r, rq, why, HTTP_SERVICE_UNAVAILABLE);
    if (error == CASP_DISCO_OK)
        return casp_answer_write(r, rq, HTTP_OK, NULL,
                                 "text/xml; charset=utf-8", xml);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  CASPLOGNO(0801) "Autodiscover answered with error %d%s%s",
                            (int)error,
                            error == CASP_DISCO_NO_ADDRESS ? " for " : "",
                            error == CASP_DISCO_NO_ADDRESS ? ask.key.value
                                                           : "");
    return send_error(r, rq, error);
}
