/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * backend.c - from a decision to mod_proxy: workers made at run time, headers
 * out and in, and the next candidate where one does not answer.
 *
 * Workers.  mod_proxy's own worker for unknown hosts never reuses a
 * connection.  A stand-alone worker, made here and handed over in pre_request,
 * does.  One exists per (virtual host, scheme, host, port, time-out): the
 * virtual host because TLS to backends follows its SSLProxy settings, and a
 * connection that one vhost verified loosely must never serve another; the
 * time-out because mod_proxy sets it when it connects.  Leases are counted
 * from pre_request to the end of the request; a worker that no organisation
 * names any more, or nobody used for a while, is retired when nothing is out.
 *
 * Headers.  mod_proxy runs its fixups hook on a copy of the request's headers:
 * credentials for the backend go in there, what only Exchange servers may say
 * to each other goes out, and neither is seen by logs or other modules.
 */

#include "skin.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_base64.h>
#include <apr_dso.h>
#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <ap_mpm.h>
#include <mod_proxy.h>
#include <util_filter.h>

#define MAP_FILTER "CASPROXY_MAP"
#define MAX_WORKERS 1024
#define RETIRE_IDLE_SECONDS 600

/* ------------------------------------------- mod_proxy, without linking it */

typedef void hook_pre_request_fn(proxy_HOOK_pre_request_t *fn,
                                 const char *const *before,
                                 const char *const *after, int order);
typedef char *define_worker_fn(apr_pool_t *p, proxy_worker **worker,
                               proxy_balancer *balancer,
                               proxy_server_conf *conf, const char *url,
                               int do_malloc);
typedef apr_status_t initialize_worker_fn(proxy_worker *worker, server_rec *s,
                                          apr_pool_t *p);

static struct {
    define_worker_fn *define;
    initialize_worker_fn *initialize;
} mod_proxy;

static int pre_request(proxy_worker **worker, proxy_balancer **balancer,
                       request_rec *r, proxy_server_conf *conf, char **url);
static int proxy_fixups(request_rec *r);

/* A function pointer from an object pointer, as POSIX allows and ISO C has no
 * cast for. */
static bool symbol(apr_dso_handle_t *dso, const char *name, void *fn)
{
    apr_dso_handle_sym_t sym = NULL;

    if (!dso || apr_dso_sym(&sym, dso, name) != APR_SUCCESS || !sym)
        return false;
    memcpy(fn, &sym, sizeof sym);
    return true;
}

int casp_backend_attach(apr_pool_t *p)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");
    hook_pre_request_fn *hook = NULL;
    apr_dso_handle_t *dso = NULL;

    memset(&mod_proxy, 0, sizeof mod_proxy);
    if (!proxy)
        return OK; /* check_config says so where somebody needs it */
    if (proxy->dynamic_load_handle)
        dso = proxy->dynamic_load_handle;
    else
        apr_dso_load(&dso, NULL, p); /* built into httpd */
    if (!symbol(dso, "proxy_hook_pre_request", &hook)
        || !symbol(dso, "ap_proxy_define_worker", &mod_proxy.define)
        || !symbol(dso, "ap_proxy_initialize_worker", &mod_proxy.initialize)) {
        ap_log_error(
            APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL,
            CASPLOGNO(0160) "this mod_proxy lacks functions that "
                      "mod_casproxy needs: load the mod_proxy of this httpd");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    hook(pre_request, NULL, NULL, APR_HOOK_FIRST);
    APR_OPTIONAL_HOOK(proxy, fixups, proxy_fixups, NULL, NULL, APR_HOOK_LAST);
    return OK;
}

/* ----------------------------------------------------------------- workers */

typedef struct {
    apr_pool_t *pool;
    const char *key;
    const char *ad_host; /* as the organisation names it */
    casp_org_t *org;
    proxy_worker *worker;
    apr_interval_time_t ttl;
    volatile apr_uint32_t leases;
    volatile apr_uint32_t used; /* seconds, of the last lease */
    volatile apr_uint32_t rests; /* seconds, until when it is tried last */
} worker_t;

/* Shared between this child's threads; under lock. */
static struct {
    apr_pool_t *pool;
    apr_thread_mutex_t *lock;
    apr_hash_t *workers; /* key -> worker_t */
} pool;

static apr_uint32_t seconds_now(void)
{
    return (apr_uint32_t)apr_time_sec(apr_time_now());
}

apr_status_t casp_backend_child_init(apr_pool_t *p, server_rec *s)
{
    apr_allocator_t *allocator;
    apr_thread_mutex_t *lock;

    (void)p;
    (void)s;
    /* Not below the child's pool: prefork destroys that in a signal handler,
     * in the middle of a request, and a worker's reslist aborts the process
     * where a connection is out.  As mod_proxy's own workers, ours end with
     * the process. */
    apr_allocator_create(&allocator);
    apr_pool_create_unmanaged_ex(&pool.pool, NULL, allocator);
    apr_allocator_owner_set(allocator, pool.pool);
    apr_thread_mutex_create(&lock, APR_THREAD_MUTEX_DEFAULT, pool.pool);
    apr_allocator_mutex_set(allocator, lock);
    apr_pool_tag(pool.pool, "casproxy_workers");
    pool.workers = apr_hash_make(pool.pool);
    return apr_thread_mutex_create(&pool.lock, APR_THREAD_MUTEX_DEFAULT,
                                   pool.pool);
}

/* A name that no organisation has any more is retired at once; one that is
 * merely quiet, after a while. */
static bool wanted(const worker_t *w, apr_uint32_t now)
{
    casp_topology_t *t;
    bool named;

    if (now - apr_atomic_read32((volatile apr_uint32_t *)&w->used)
        > RETIRE_IDLE_SECONDS)
        return false;
    t = casp_org_topology(w->org);
    if (!t)
        return true;
    named = casp_topology_server_by_host(t, w->ad_host) != NULL;
    casp_topology_unref(t);
    return named
           || now - apr_atomic_read32((volatile apr_uint32_t *)&w->used) < 60;
}

void casp_backend_tick(apr_time_t time)
{
    apr_uint32_t now = (apr_uint32_t)apr_time_sec(time);
    apr_hash_index_t *i;

    if (!pool.lock)
        return;
    apr_thread_mutex_lock(pool.lock);
    for (i = apr_hash_first(NULL, pool.workers); i; i = apr_hash_next(i)) {
        worker_t *w = apr_hash_this_val(i);
        if (apr_atomic_read32(&w->leases) || wanted(w, now))
            continue;
        apr_hash_set(pool.workers, w->key, APR_HASH_KEY_STRING, NULL);
        ap_log_error(APLOG_MARK, APLOG_DEBUG, 0, ap_server_conf,
                     CASPLOGNO(0161) "worker %s retired", w->key);
        apr_pool_destroy(w->pool);
    }
    apr_thread_mutex_unlock(pool.lock);
}

static void set_limits(proxy_worker *w, const casp_settings_t *set,
                       int timeout)
{
    proxy_worker_shared *s = w->s;

    s->hmax = set->backend_hmax;
    s->smax = 0; /* so that the time to live counts for all of them */
    s->min = 0;
    s->ttl = apr_time_from_sec(set->backend_ttl);
    s->acquire = apr_time_from_sec(set->backend_acquire);
    s->acquire_set = 1;
    s->conn_timeout = apr_time_from_sec(set->backend_connect);
    s->conn_timeout_set = 1;
    s->timeout = apr_time_from_sec(timeout);
    s->timeout_set = 1;
    s->retry = 0; /* resting is ours: a lone worker is never put in error */
    s->retry_set = 1;
    s->address_ttl = set->backend_addressttl;
    s->address_ttl_set = 1;
}

/* Under the lock. */
static worker_t *make_worker(request_rec *r, casp_request_t *rq,
                             const char *key, int timeout)
{
    worker_t *w;
    apr_pool_t *p;
    const char *error;

    if (apr_hash_count(pool.workers) >= MAX_WORKERS || !mod_proxy.define)
        return NULL;
    apr_pool_create(&p, pool.pool);
    apr_pool_tag(p, "casproxy_worker");
    w = apr_pcalloc(p, sizeof *w);
    w->pool = p;
    w->key = apr_pstrdup(p, key);
    w->org = rq->vhost->org;
    w->ad_host =
        casp_url_host(p, rq->verdict.decision.backends[rq->backend].url);
    w->ttl = apr_time_from_sec(rq->vhost->settings->backend_ttl);
    error = mod_proxy.define(p, &w->worker, NULL, NULL, rq->backend_base, 0);
    if (!error) {
        set_limits(w->worker, rq->vhost->settings, timeout);
        if (mod_proxy.initialize(w->worker, r->server, p) != APR_SUCCESS)
            error = "mod_proxy could not initialise it";
    }
    if (error) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      CASPLOGNO(0162) "no worker for %s: %s", rq->backend_base,
                                error);
        apr_pool_destroy(p);
        return NULL;
    }
    apr_hash_set(pool.workers, w->key, APR_HASH_KEY_STRING, w);
    return w;
}

static int timeout_of(const casp_request_t *rq)
{
    return rq->vhost->settings->timeout[rq->verdict.url.protocol];
}

/* The current candidate's worker, if there is one. */
static worker_t *worker_known(request_rec *r, casp_request_t *rq)
{
    const char *key = apr_psprintf(r->pool, "%d %s %d", rq->vhost->index,
                                   rq->backend_base, timeout_of(rq));
    worker_t *w;

    apr_thread_mutex_lock(pool.lock);
    w = apr_hash_get(pool.workers, key, APR_HASH_KEY_STRING);
    apr_thread_mutex_unlock(pool.lock);
    return w;
}

/* A lease of the current candidate's worker, which is made where it is
 * missing.  @a last: when it was used before, 0 for never. */
static worker_t *worker_lease(request_rec *r, casp_request_t *rq,
                              apr_uint32_t *last)
{
    int timeout = timeout_of(rq);
    apr_uint32_t busy = (apr_uint32_t)rq->vhost->settings->backend_busy;
    const char *key = apr_psprintf(r->pool, "%d %s %d", rq->vhost->index,
                                   rq->backend_base, timeout);
    worker_t *w;

    apr_thread_mutex_lock(pool.lock);
    w = apr_hash_get(pool.workers, key, APR_HASH_KEY_STRING);
    if (!w)
        w = make_worker(r, rq, key, timeout);
    rq->busy = w && busy && apr_atomic_read32(&w->leases) >= busy;
    if (rq->busy)
        w = NULL; /* the next candidate, else 503: it must not pile up */
    if (w) {
        *last = apr_atomic_read32(&w->used);
        apr_atomic_inc32(&w->leases);
        apr_atomic_set32(&w->used, seconds_now());
    }
    apr_thread_mutex_unlock(pool.lock);
    return w;
}

static apr_status_t give_back(void *data)
{
    worker_t *w = data;

    apr_atomic_set32(&w->used, seconds_now());
    apr_atomic_dec32(&w->leases);
    return APR_SUCCESS;
}

/* prefork has no reslist, and so nobody minds the age of its one connection:
 * a connection that Exchange is about to close gives a 502 to a POST. */
static void drop_if_old(worker_t *w, apr_uint32_t last)
{
    proxy_conn_pool *cp = w->worker->cp;

    if (cp && !cp->res && cp->conn && cp->conn->sock && w->ttl
        && seconds_now() - last > (apr_uint32_t)apr_time_sec(w->ttl))
        apr_socket_shutdown(cp->conn->sock, APR_SHUTDOWN_READWRITE);
}

static int pre_request(proxy_worker **worker, proxy_balancer **balancer,
                       request_rec *r, proxy_server_conf *conf, char **url)
{
    casp_request_t *rq = casp_request_of(r);
    apr_uint32_t last = 0;
    worker_t *w;

    (void)conf;
    (void)url;
    if (!rq || !rq->trying)
        return DECLINED;
    w = worker_lease(r, rq, &last);
    if (!w)
        return HTTP_SERVICE_UNAVAILABLE;
    apr_pool_cleanup_register(r->pool, w, give_back, apr_pool_cleanup_null);
    if (last)
        drop_if_old(w, last);
    *worker = w->worker;
    *balancer = NULL;
    return OK;
}

/* -------------------------------------------------------------- candidates */

/* scheme://host[:port] that a backend is reached at: its own, or what
 * CasProxyBackendMap says for its host. */
static const char *base_of(request_rec *r, casp_request_t *rq, int i)
{
    const char *url = rq->verdict.decision.backends[i].url;
    const char *host = casp_url_host(r->pool, url);
    const apr_array_header_t *map = rq->vhost->settings->backend_map;
    const char *path = casp_url_path(url);

    for (int m = 0; map && m < map->nelts; m++) {
        const casp_pair_t *pair = &APR_ARRAY_IDX(map, m, casp_pair_t);
        if (!ap_cstr_casecmp(pair->a, host)) {
            const char *to = casp_url_path(pair->b);
            return apr_pstrmemdup(r->pool, pair->b,
                                  (apr_size_t)(to - pair->b));
        }
    }
    return apr_pstrmemdup(r->pool, url, (apr_size_t)(path - url));
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
    worker_t *w;

    rq->backend_base = base_of(r, rq, i);
    w = worker_known(r, rq);
    return w
           && (apr_int32_t)(apr_atomic_read32(&w->rests) - seconds_now()) > 0;
}

void casp_backend_prepare(request_rec *r, casp_request_t *rq)
{
    const casp_decision_t *d = &rq->verdict.decision;
    int first = 0;

    for (int i = 0; i < d->nbackends && d->nbackends > 1; i++) {
        if (!rests(r, rq, i)) {
            first = i;
            break;
        }
    }
    use_candidate(r, rq, first);
    r->proxyreq = PROXYREQ_REVERSE;
    r->handler = "proxy-server";
    apr_table_setn(r->notes, "proxy-nocanon", "1");
    if (rq->verdict.url.protocol == CASP_PROTO_RPC
        || rq->verdict.url.protocol == CASP_PROTO_MAPI)
        apr_table_setn(r->subprocess_env, "proxy-prefetch-nonblocking", "1");
    ap_add_output_filter(MAP_FILTER, rq, r, r->connection);
}

/* A server with too much to do is not dead: were it put to rest, one user's
 * many slow requests would move everybody to the next one. */
static bool is_busy(const casp_request_t *rq, worker_t *w)
{
    return rq->busy
           || (w
               && apr_atomic_read32(&w->leases)
                      >= (apr_uint32_t)rq->vhost->settings->backend_hmax);
}

static void note_failure(request_rec *r, casp_request_t *rq, int rc)
{
    worker_t *w = worker_known(r, rq);

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
            &w->rests,
            seconds_now() + (apr_uint32_t)rq->vhost->settings->backend_retry);
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

/* Only a status that mod_proxy gives before a byte was sent leads to the next
 * candidate: a POST must not arrive twice.  With ProxyErrorOverride a status
 * may be the backend's own; mod_proxy then has put a new table in the place of
 * headers_out, and the request was served. */
int casp_backend_handler(request_rec *r, casp_request_t *rq)
{
    const casp_decision_t *d = &rq->verdict.decision;
    int first = rq->backend;
    int rc;

    casp_runtime_enter(r, rq);
    for (int tried = 1;; tried++) {
        const apr_table_t *before = r->headers_out;
        rq->trying = true;
        rc = ap_run_handler(r);
        rq->trying = false;
        if (r->headers_out != before
            && (rc == HTTP_SERVICE_UNAVAILABLE
                || rc == HTTP_INTERNAL_SERVER_ERROR))
            return rc;
        if (rc != HTTP_SERVICE_UNAVAILABLE && rc != HTTP_BAD_GATEWAY
            && rc != HTTP_GATEWAY_TIME_OUT && rc != HTTP_INTERNAL_SERVER_ERROR)
            return rc;
        note_failure(r, rq, rc);
        if (rc != HTTP_SERVICE_UNAVAILABLE || tried >= d->nbackends)
            break;
        casp_runtime_count(CASP_COUNT_BACKEND_RETRIED);
        use_candidate(r, rq, (first + tried) % d->nbackends);
    }
    return casp_answer_error(r, rq,
                             rc == HTTP_INTERNAL_SERVER_ERROR
                                 ? "backend-certificate"
                                 : "backend-unavailable",
                             HTTP_SERVICE_UNAVAILABLE);
}

/* ------------------------------------------------------- headers, outwards */

/* mod_proxy appends to what the client claimed about itself; behind this front
 * nobody may take that for ours, so it is written anew. */
static int drop_forged(void *baton, const char *name, const char *value)
{
    (void)value;
    if (casp_protocol_forged_header(name)
        || !ap_cstr_casecmpn(name, "X-Forwarded-", 12)
        || !ap_cstr_casecmp(name, "Forwarded"))
        APR_ARRAY_PUSH((apr_array_header_t *)baton, const char *) = name;
    return 1;
}

/* Another module's user: its header is that user's only where that module read
 * it, or where the administrator says so. */
static void keep_theirs(request_rec *r, casp_request_t *rq)
{
    bool theirs =
        (r->ap_auth_type && !ap_cstr_casecmp(r->ap_auth_type, "Basic"))
        || rq->dir->backend_auth == CASP_BACKENDAUTH_BASIC;
    const char *sent = apr_table_get(r->headers_in, "Authorization");

    if (sent && (!theirs || ap_cstr_casecmpn(sent, "Basic ", 6)))
        apr_table_unset(r->headers_in, "Authorization");
}

/* What the client typed is what the server knows, but for a bare name: its
 * default domain is this front's knowledge. */
static void set_credentials(request_rec *r, casp_request_t *rq)
{
    const char *name = rq->claim.name;
    char *plain;

    if (rq->dir->backend_auth == CASP_BACKENDAUTH_NONE) {
        apr_table_unset(r->headers_in, "Authorization");
        return;
    }
    if (rq->ask.by != CASP_BY_BASIC && rq->ask.by != CASP_BY_FORMS) {
        keep_theirs(r, rq);
        return;
    }
    if (!strchr(name, '\\') && !strchr(name, '@'))
        name = rq->display;
    else if (rq->ask.by == CASP_BY_BASIC)
        return; /* the client's own header says just that */
    plain = apr_pstrcat(r->pool, name, ":", rq->claim.password, NULL);
    apr_table_setn(r->headers_in, "Authorization",
                   apr_pstrcat(r->pool, "Basic ",
                               ap_pbase64encode(r->pool, plain), NULL));
    casp_wipe(plain, strlen(plain));
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

static int proxy_fixups(request_rec *r)
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
    set_credentials(r, rq);
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
    m->any = true;
    if (!casp_session_owns(value, strcspn(value, "=;")))
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

/* The backend's answer gives way to one of ours: a redirection, or 440. */
static void answer_instead(request_rec *r, int status, const char *location)
{
    static const char *const about_body[] = {
        "Content-Length", "Content-Type",     "Content-Encoding",
        "ETag",           "Last-Modified",    "Content-Location",
        "Cache-Control",  "WWW-Authenticate", "Expires"};

    for (size_t i = 0; i < sizeof about_body / sizeof *about_body; i++)
        apr_table_unset(r->headers_out, about_body[i]);
    r->content_encoding = NULL;
    r->status = status;
    r->status_line = status == 440 ? "440 Login Timeout" : NULL;
    ap_set_content_type(r, "text/html; charset=utf-8");
    apr_table_setn(r->headers_out, "Cache-Control", "no-cache, no-store");
    if (location)
        apr_table_setn(r->headers_out, "Location", location);
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
    return false;
}

/* Once, before a backend's headers go out.  @return true: without its body */
static bool map_headers(request_rec *r, casp_request_t *rq)
{
    bool swallow;

    map_url(r, rq, "Location");
    map_url(r, rq, "Content-Location");
    map_cookies(r, rq, r->headers_out);
    map_cookies(r, rq, r->err_headers_out);
    swallow = map_refusal(r, rq);
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

    if (!rq->swallow) {
        /* a backend's answer, not one of ours */
        rq->swallow = rq->trying && map_headers(f->r, rq);
        if (!rq->swallow)
            ap_remove_output_filter(f);
    }
    if (rq->swallow)
        drop_data(bb);
    return ap_pass_brigade(f->next, bb);
}

void casp_backend_register(void)
{
    ap_register_output_filter(MAP_FILTER, map_filter, NULL,
                              AP_FTYPE_CONTENT_SET);
}
