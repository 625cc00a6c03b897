/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mapping.c - what stands in a request and an answer for whom.
 *
 * mod_proxy runs its fixups hook on a copy of the request's headers:
 * credentials for the backend go in there, what only Exchange servers may say
 * to each other goes out, and neither is seen by logs or other modules.  On
 * the way back a filter maps what names the backend, and drops an answer that
 * is not for the client.
 */

#include "backforms.h"
#include "backend.h"

#include <string.h>

#include <apr_strings.h>

#include <util_filter.h>

#define MAP_FILTER "CASPROXY_MAP"
/* As long as a server may need to take a breath; devices add their own. */
#define RETRY_AFTER "30"

/* ------------------------------------------------------- headers, outwards */

/* mod_proxy appends to what the client claimed about itself; behind this front
 * nobody may take that for ours, so it is written anew. */
static int drop_forged(void *baton, const char *name, const char *value)
{
    (void)value;
    if (casp_protocol_forged_header(name)
        || casp_protocol_forwarded_header(name))
        APR_ARRAY_PUSH((apr_array_header_t *)baton, const char *) = name;
    return 1;
}

/* Does this absolute URL lie on this host?  @return its path, or NULL. */
static const char *path_on(const char *url, const char *scheme_end,
                           const char *host)
{
    apr_size_t len = host ? strlen(host) : 0;

    if (!scheme_end || !len || ap_cstr_casecmpn(scheme_end, host, len))
        return NULL;
    url = scheme_end + len;
    if (!strncmp(url, ":443", 4) && url[4] == '/')
        url += 4;
    else if (!strncmp(url, ":80", 3) && url[3] == '/')
        url += 3;
    return *url == '/' || *url == '\0' || *url == '?' ? url : NULL;
}

static const char *behind_scheme(const char *url)
{
    if (!ap_cstr_casecmpn(url, "https://", 8))
        return url + 8;
    if (!ap_cstr_casecmpn(url, "http://", 7))
        return url + 7;
    return NULL;
}

/* WebDAV's MOVE and COPY name their target as the client sees it; Exchange
 * wants its own scheme and host, or says 502. */
static void map_destination(request_rec *r, casp_request_t *rq)
{
    const char *to = apr_table_get(r->headers_in, "Destination");
    const char *path =
        to ? path_on(to, behind_scheme(to), rq->ask.host) : NULL;

    if (path)
        apr_table_setn(r->headers_in, "Destination",
                       apr_pstrcat(r->pool,
                                   ap_cstr_casecmpn(rq->backend_base,
                                                    "https:", 6)
                                       ? "http://"
                                       : "https://",
                                   rq->backend_host, path, NULL));
}

int casp_mapping_outwards(request_rec *r)
{
    casp_request_t *rq = casp_request_of(r);
    apr_array_header_t *forged;
    const char *cookies, *clean;

    if (!rq || !rq->trying)
        return DECLINED;
    forged = apr_array_make(r->pool, 4, sizeof(const char *));
    apr_table_do(drop_forged, forged, r->headers_in, NULL);
    for (int i = 0; i < forged->nelts; i++)
        apr_table_unset(r->headers_in, APR_ARRAY_IDX(forged, i, const char *));
    cookies = apr_table_get(r->headers_in, "Cookie");
    if (cookies) {
        clean = casp_session_strip(r->pool, cookies);
        if (clean)
            clean = casp_protocol_clean_cookies(r->pool, clean);
        if (!clean || !*clean)
            apr_table_unset(r->headers_in, "Cookie");
        else
            apr_table_setn(r->headers_in, "Cookie", clean);
    }
    apr_table_setn(r->headers_in, "Host", rq->backend_host);
    apr_table_setn(r->headers_in, "X-Forwarded-For", r->useragent_ip);
    apr_table_setn(r->headers_in, "X-Forwarded-Host", rq->ask.host);
    apr_table_setn(r->headers_in, "X-Forwarded-Server",
                   r->server->server_hostname);
    apr_table_setn(r->headers_in, "X-Forwarded-Proto",
                   rq->ask.https ? "https" : "http");
    if (rq->verdict.decision.action == CASP_ACTION_PROXY_BACKEND
        && rq->ask.https)
        apr_table_setn(r->headers_in, "Front-End-Https", "on");
    map_destination(r, rq);
    casp_backlogin_headers(r, rq);
    casp_forms_tell_backend(r, rq);
    return OK;
}

/* -------------------------------------------------------- headers, inwards */

static void map_url(request_rec *r, casp_request_t *rq, const char *name)
{
    const char *url = apr_table_get(r->headers_out, name);
    const char *rest = url ? behind_scheme(url) : NULL;
    const char *path;

    if (!rest)
        return;
    path = path_on(url, rest, rq->backend_host);
    if (!path)
        path = path_on(url, rest, behind_scheme(rq->backend_base));
    if (!path)
        path = path_on(
            url, rest,
            casp_url_host(r->pool,
                          rq->verdict.decision.backends[rq->backend].url));
    if (path)
        apr_table_setn(r->headers_out, name,
                       apr_pstrcat(r->pool,
                                   rq->ask.https ? "https://" : "http://",
                                   rq->ask.host, path, NULL));
}

/* Is the cookie's domain one that only the backend has? */
static bool foreign_domain(const char *domain, apr_size_t len,
                           const char *public_host)
{
    const char *end = strrchr(public_host, ':');
    apr_size_t host = end && !strchr(end, ']')
                          ? (apr_size_t)(end - public_host)
                          : strlen(public_host);

    if (len && *domain == '.') {
        domain++;
        len--;
    }
    return len > host
           || ap_cstr_casecmpn(public_host + host - len, domain, len)
           || (len < host && public_host[host - len - 1] != '.');
}

static const char *map_cookie(request_rec *r, casp_request_t *rq,
                              const char *cookie)
{
    bool lost_tls =
        rq->ask.https && ap_cstr_casecmpn(rq->backend_base, "https:", 6);
    bool secure = false;
    apr_array_header_t *parts = apr_array_make(r->pool, 8, sizeof(char *));

    while (*cookie) {
        apr_size_t len = strcspn(cookie, ";");
        const char *part = cookie + strspn(cookie, " \t");
        apr_size_t n = (apr_size_t)(cookie + len - part);
        bool keep = true;
        if (parts->nelts && n >= 7 && !ap_cstr_casecmpn(part, "domain=", 7))
            keep = !foreign_domain(part + 7, n - 7, rq->ask.host);
        if (parts->nelts && n == 6 && !ap_cstr_casecmpn(part, "secure", 6))
            secure = true;
        if (keep && part < cookie + len)
            APR_ARRAY_PUSH(parts, const char *) =
                apr_pstrmemdup(r->pool, part, n);
        cookie += len;
        if (*cookie)
            cookie++;
    }
    if (lost_tls && !secure)
        APR_ARRAY_PUSH(parts, const char *) = "Secure";
    if (parts->nelts < 2)
        return parts->nelts ? APR_ARRAY_IDX(parts, 0, const char *) : "";
    const char *out = APR_ARRAY_IDX(parts, 0, const char *);
    for (int i = 1; i < parts->nelts; i++)
        out = apr_pstrcat(r->pool, out, "; ",
                          APR_ARRAY_IDX(parts, i, const char *), NULL);
    return out;
}

typedef struct {
    request_rec *r;
    casp_request_t *rq;
    apr_table_t *mapped;
    bool any;
    bool basic;
} map_t;

static int collect_cookie(void *baton, const char *name, const char *value)
{
    map_t *m = baton;

    /* A backend's session cookies would take the place of ours. */
    apr_size_t len = strcspn(value, "=;");

    while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    m->any = true;
    if (!casp_session_owns(value, len)
        && (m->rq->login != CASP_LOGIN_FORMS
            || !casp_backform_owns(value, len)))
        apr_table_addn(m->mapped, name, map_cookie(m->r, m->rq, value));
    return 1;
}

static int collect_scheme(void *baton, const char *name, const char *value)
{
    map_t *m = baton;

    (void)name;
    if (ap_strcasestr(value, "Basic"))
        m->basic = true;
    return 1;
}

static int add_cookie(void *baton, const char *name, const char *value)
{
    apr_table_addn(baton, name, value);
    return 1;
}

static void map_cookies(request_rec *r, casp_request_t *rq, apr_table_t *t)
{
    map_t m = {r, rq, apr_table_make(r->pool, 4), false, false};

    apr_table_do(collect_cookie, &m, t, "Set-Cookie", NULL);
    if (!m.any)
        return;
    apr_table_unset(t, "Set-Cookie");
    apr_table_do(add_cookie, t, m.mapped, NULL);
}

static void unset_body_headers(request_rec *r)
{
    static const char *const about_body[] = {
        "Content-Length", "Content-Type",     "Content-Encoding",
        "ETag",           "Last-Modified",    "Content-Location",
        "Cache-Control",  "WWW-Authenticate", "Expires"};

    for (size_t i = 0; i < sizeof about_body / sizeof *about_body; i++)
        apr_table_unset(r->headers_out, about_body[i]);
    r->content_encoding = NULL;
}

/* The backend's answer gives way to one of ours: a redirection, or 440. */
static void answer_instead(request_rec *r, int status, const char *location)
{
    unset_body_headers(r);
    r->status = status;
    r->status_line = status == 440 ? "440 Login Timeout" : NULL;
    ap_set_content_type(r, "text/html; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache, no-store");
    if (location)
        apr_table_setn(r->headers_out, "Location", location);
}

/* ------------------------------------------------- what devices are spared */

/* A phone takes a 500 for a fault of its own account: it wipes its
 * partnership, or asks the person for a password.  503 with Retry-After is the
 * same news, and it waits.  Programs that speak SOAP get their faults as 500s
 * with XML in them; those are theirs.  People's pages stay as they are. */
typedef enum {
    SPARE_NOTHING = 0,
    SPARE_BUT_FAULTS, /* a 500 without XML */
    SPARE_ALL /* 500, and what a proxy behind us says: 502, 504 */
} spare_e;

static spare_e spare_of(casp_protocol_e protocol)
{
    switch (protocol) {
    case CASP_PROTO_EAS:
    case CASP_PROTO_RPC:
    case CASP_PROTO_MAPI:
    case CASP_PROTO_OAB:
        return SPARE_ALL;
    case CASP_PROTO_EWS:
    case CASP_PROTO_UM:
    case CASP_PROTO_AUTODISCOVER:
    case CASP_PROTO_POWERSHELL: /* WinRM is SOAP too */
        return SPARE_BUT_FAULTS;
    default:
        return SPARE_NOTHING;
    }
}

/* text/xml, application/soap+xml; charset=utf-8 */
static bool is_xml(const char *type)
{
    apr_size_t len = type ? strcspn(type, "; \t") : 0;

    return len > 4
           && (!ap_cstr_casecmpn(type + len - 4, "/xml", 4)
               || !ap_cstr_casecmpn(type + len - 4, "+xml", 4));
}

/* A redirection that IIS has for its whole site, its start page to /owa, is
 * one of ActiveSync's directory too: a phone would go there. */
static bool leads_away(const casp_request_t *rq, int status)
{
    return rq->verdict.url.protocol == CASP_PROTO_EAS && status >= 300
           && status < 400;
}

bool casp_mapping_spares(const casp_request_t *rq, int status,
                         const char *type)
{
    spare_e spare = spare_of(rq->verdict.url.protocol);

    if (leads_away(rq, status))
        return true;
    if (spare == SPARE_NOTHING)
        return false;
    if (status == HTTP_INTERNAL_SERVER_ERROR)
        return spare == SPARE_ALL || !is_xml(type);
    return spare == SPARE_ALL
           && (status == HTTP_BAD_GATEWAY || status == HTTP_GATEWAY_TIME_OUT);
}

/* What a status says is all that a device can read. */
static void drop_body(request_rec *r)
{
    unset_body_headers(r);
    ap_set_content_type(r, NULL);
    ap_set_content_length(r, 0);
}

/* The backend's no, after a password that the directory called right.  Its
 * offers of NTLM and Negotiate are not for the client, who would try them on
 * this front; without Basic among them another prompt could not help.
 * @return true: nothing of the backend's answer is to be seen */
static bool map_refusal(request_rec *r, casp_request_t *rq)
{
    map_t m = {r, rq, NULL, false, false};

    if (r->status != HTTP_UNAUTHORIZED)
        return false;
    apr_table_do(collect_scheme, &m, r->headers_out, "WWW-Authenticate", NULL);
    apr_table_do(collect_scheme, &m, r->err_headers_out, "WWW-Authenticate",
                 NULL);
    apr_table_unset(r->headers_out, "WWW-Authenticate");
    apr_table_unset(r->err_headers_out, "WWW-Authenticate");
    if (m.basic && rq->ask.by == CASP_BY_FORMS
        && rq->verdict.url.protocol != CASP_PROTO_EWS) {
        const char *location = casp_forms_refused(r, rq);
        answer_instead(r, location ? HTTP_MOVED_TEMPORARILY : 440, location);
        return true;
    }
    if (m.basic) {
        apr_table_setn(r->headers_out, "WWW-Authenticate",
                       apr_psprintf(r->pool, "Basic realm=\"%s\"",
                                    ap_escape_quotes(r->pool, rq->ask.host)));
        return false;
    }
    ap_log_rerror(
        APLOG_MARK, APLOG_WARNING, 0, r,
        CASPLOGNO(0165) "backend %s does not take Basic "
                  "authentication: allow it on the virtual directory %s of "
                  "that server",
            rq->backend_host, rq->verdict.url.vdir);
    r->status = HTTP_FORBIDDEN;
    r->status_line = NULL;
    if (spare_of(rq->verdict.url.protocol) == SPARE_NOTHING)
        return false;
    drop_body(r);
    return true;
}

/* @return true: the client is told 503 instead, without the backend's body */
static bool map_failure(request_rec *r, casp_request_t *rq)
{
    const char *type = apr_table_get(r->headers_out, "Content-Type");
    int was = r->status;

    if (!casp_mapping_spares(rq, was, type ? type : r->content_type))
        return false;
    ap_log_rerror(
        APLOG_MARK, APLOG_WARNING, 0, r,
        CASPLOGNO(0780) "backend %s answered %d to %s %s; the client "
                        "is told 503, so that it waits and tries "
                        "again: %s",
                  rq->backend_host, was, r->method, rq->verdict.url.vdir,
                  leads_away(rq, was)
                      ? "take the HTTP redirection of that server's web site "
                        "away from this directory"
                      : "look into that server's application log");
    drop_body(r);
    apr_table_unset(r->headers_out, "Location");
    r->status = HTTP_SERVICE_UNAVAILABLE;
    r->status_line = NULL;
    if (!apr_table_get(r->headers_out, "Retry-After"))
        apr_table_setn(r->headers_out, "Retry-After", RETRY_AFTER);
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache, no-store");
    return true;
}

/* 451: where the device is to go.  A server that names itself does not know
 * the name that it is published by. */
static void map_ms_location(request_rec *r, casp_request_t *rq)
{
    const char *was = apr_table_get(r->headers_out, "X-MS-Location");

    if (!was)
        return;
    map_url(r, rq, "X-MS-Location");
    if (strcmp(was, apr_table_get(r->headers_out, "X-MS-Location")) != 0)
        ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                      CASPLOGNO(0781) "backend %s sends devices to %s, which "
                                      "is itself, and they are outside: set "
                                      "the ExternalURL of its ActiveSync "
                                      "virtual directory, or none",
                                rq->backend_host, was);
}

/* Once, before a backend's headers go out.  @return true: without its body */
static bool map_headers(request_rec *r, casp_request_t *rq)
{
    bool swallow;

    map_url(r, rq, "Location");
    map_url(r, rq, "Content-Location");
    map_ms_location(r, rq);
    map_cookies(r, rq, r->headers_out);
    map_cookies(r, rq, r->err_headers_out);
    swallow = map_refusal(r, rq) || map_failure(r, rq);
    if (rq->login != CASP_LOGIN_PASS && r->status != HTTP_UNAUTHORIZED)
        /* a ticket's last word is the backend's to us */
        apr_table_unset(r->headers_out, "WWW-Authenticate");
    if (rq->signed_out) {
        answer_instead(r, HTTP_MOVED_TEMPORARILY, rq->signed_out);
        swallow = true;
    }
    casp_forms_cookies(r, rq, r->headers_out);
    return swallow;
}

#if defined(__clang__) /* what it says of APR's APR_OFFSETOF */
#pragma clang diagnostic ignored "-Wnull-pointer-subtraction"
#endif

static void drop_data(apr_bucket_brigade *bb)
{
    apr_bucket *next;

    for (apr_bucket *b = APR_BRIGADE_FIRST(bb); b != APR_BRIGADE_SENTINEL(bb);
         b = next) {
        next = APR_BUCKET_NEXT(b);
        if (!APR_BUCKET_IS_METADATA(b))
            apr_bucket_delete(b);
    }
}

static apr_status_t map_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    casp_request_t *rq = f->ctx;

    if (rq->trying && !rq->seen) {
        rq->seen = true; /* a backend's answer, not one of ours */
        rq->after = casp_backlogin_judge(f->r, rq);
        if (rq->after == CASP_AFTER_SERVED)
            rq->swallow = map_headers(f->r, rq);
    }
    if (rq->trying && rq->after != CASP_AFTER_SERVED) {
        apr_brigade_cleanup(bb);
        return APR_SUCCESS;
    }
    if (rq->swallow)
        drop_data(bb);
    else
        ap_remove_output_filter(f);
    return ap_pass_brigade(f->next, bb);
}

void casp_mapping_insert(request_rec *r, casp_request_t *rq)
{
    ap_add_output_filter(MAP_FILTER, rq, r, r->connection);
}

void casp_mapping_register(void)
{
    ap_register_output_filter(MAP_FILTER, map_filter, NULL,
                              AP_FTYPE_CONTENT_SET);
}
