/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * worker.c - mod_proxy's workers, made at run time.
 *
 * mod_proxy's own worker for unknown hosts never reuses a connection.  A
 * stand-alone worker, made here and handed over in pre_request, does.  One
 * exists per (virtual host, scheme, host, port, time-out, login): the virtual
 * host because TLS to backends follows its SSLProxy settings, and a connection
 * that one vhost verified loosely must never serve another; the time-out
 * because mod_proxy sets it when it connects; the login because a server may
 * remember on a connection who came over it last, so that requests which bring
 * nothing must not follow requests which brought a ticket.  Leases are counted
 * from pre_request to the end of the request; a worker that no organisation
 * names any more, or nobody used for a while, is retired when nothing is out.
 */

#include "backend.h"

#include <string.h>

#include <apr_atomic.h>
#include <apr_dso.h>
#include <apr_hash.h>
#include <apr_shm.h>
#include <apr_strings.h>

#define MAX_WORKERS 1024
#define RETIRE_IDLE_SECONDS 600
#define PARTNERS 4096
#define PARTNER_SECONDS 30

casp_mod_proxy_t casp_mod_proxy;

/* ------------------------------------------- mod_proxy, without linking it */

/* A function pointer from an object pointer, as POSIX allows and ISO C has no
 * cast for. */
bool casp_worker_symbol(apr_dso_handle_t *dso, const char *name, void *fn)
{
    apr_dso_handle_sym_t sym = NULL;

    if (!dso || apr_dso_sym(&sym, dso, name) != APR_SUCCESS || !sym)
        return false;
    memcpy(fn, &sym, sizeof sym);
    return true;
}

bool casp_worker_attach(apr_pool_t *p, apr_dso_handle_t **dso)
{
    module *proxy = ap_find_linked_module("mod_proxy.c");
    const struct {
        const char *name;
        void *fn;
    } wanted[] = {{"ap_proxy_define_worker", &casp_mod_proxy.define},
                  {"ap_proxy_initialize_worker", &casp_mod_proxy.initialize},
                  {"ap_proxy_acquire_connection", &casp_mod_proxy.acquire},
                  {"ap_proxy_release_connection", &casp_mod_proxy.release},
                  {"ap_proxy_determine_connection", &casp_mod_proxy.determine},
                  {"ap_proxy_check_connection", &casp_mod_proxy.check},
                  {"ap_proxy_connect_backend", &casp_mod_proxy.connect},
                  {"ap_proxy_connection_create_ex", &casp_mod_proxy.create},
                  {"ap_proxy_create_hdrbrgd", &casp_mod_proxy.head}};

    memset(&casp_mod_proxy, 0, sizeof casp_mod_proxy);
    *dso = NULL;
    if (!proxy)
        return true; /* check_config says so where somebody needs it */
    if (proxy->dynamic_load_handle)
        *dso = proxy->dynamic_load_handle;
    else
        apr_dso_load(dso, NULL, p); /* built into httpd */
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (casp_worker_symbol(*dso, wanted[i].name, wanted[i].fn))
            continue;
        ap_log_error(
            APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, NULL,
            CASPLOGNO(0160) "this mod_proxy lacks %s, which "
                      "mod_casproxy needs: load the mod_proxy of this httpd",
                wanted[i].name);
        return false;
    }
    return true;
}

/* ---------------------------------------------------------------- partners */

/* Where a user's last channel went, for all children: its partner comes within
 * a moment, to another child perhaps, which may think otherwise of the servers
 * that rest or have too much to do.  It is a wish and no promise: a slot that
 * two users or two children write at once names the wrong server, or none. */
typedef struct {
    volatile apr_uint32_t who, where, when;
} partner_t;

static partner_t *partners;

bool casp_worker_share(apr_pool_t *p)
{
    apr_shm_t *shm;

    partners = NULL;
    if (apr_shm_create(&shm, PARTNERS * sizeof(partner_t), NULL, p)
        != APR_SUCCESS)
        return false;
    partners = apr_shm_baseaddr_get(shm);
    memset(partners, 0, PARTNERS * sizeof(partner_t));
    return true;
}

static apr_uint32_t hash_of(const char *text)
{
    apr_ssize_t len = APR_HASH_KEY_STRING;

    return text ? apr_hashfunc_default(text, &len) : 0;
}

static apr_uint32_t who_of(const casp_request_t *rq)
{
    return hash_of(rq->ask.user) + (apr_uint32_t)rq->vhost->index;
}

void casp_worker_went(const casp_request_t *rq)
{
    apr_uint32_t who = who_of(rq);
    partner_t *slot = partners ? partners + who % PARTNERS : NULL;

    if (!slot || !rq->ask.user)
        return;
    apr_atomic_set32(&slot->where, hash_of(rq->backend_base));
    apr_atomic_set32(&slot->when, casp_worker_seconds());
    apr_atomic_set32(&slot->who, who);
}

bool casp_worker_leads(const casp_request_t *rq, const char *base)
{
    apr_uint32_t who = who_of(rq);
    partner_t *slot = partners ? partners + who % PARTNERS : NULL;

    return slot && rq->ask.user && apr_atomic_read32(&slot->who) == who
           && casp_worker_seconds() - apr_atomic_read32(&slot->when)
                  <= PARTNER_SECONDS
           && apr_atomic_read32(&slot->where) == hash_of(base);
}

/* ----------------------------------------------------------------- workers */

/* Shared between this child's threads; under lock. */
static struct {
    apr_pool_t *pool;
    apr_thread_mutex_t *lock;
    apr_hash_t *workers; /* key -> casp_worker_t */
} pool;

apr_uint32_t casp_worker_seconds(void)
{
    return (apr_uint32_t)apr_time_sec(apr_time_now());
}

apr_status_t casp_worker_child_init(void)
{
    apr_allocator_t *allocator;
    apr_thread_mutex_t *lock;

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
static bool wanted(const casp_worker_t *w, apr_uint32_t now)
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

void casp_worker_tick(apr_time_t time)
{
    apr_uint32_t now = (apr_uint32_t)apr_time_sec(time);
    apr_hash_index_t *i;

    if (!pool.lock)
        return;
    apr_thread_mutex_lock(pool.lock);
    for (i = apr_hash_first(NULL, pool.workers); i; i = apr_hash_next(i)) {
        casp_worker_t *w = apr_hash_this_val(i);
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

static casp_worker_t *build(request_rec *r, casp_request_t *rq,
                            apr_pool_t *parent, const char *key)
{
    const casp_settings_t *set = rq->vhost->settings;
    casp_worker_t *w;
    apr_pool_t *p;
    const char *error;

    if (!casp_mod_proxy.define)
        return NULL;
    apr_pool_create(&p, parent);
    apr_pool_tag(p, "casproxy_worker");
    w = apr_pcalloc(p, sizeof *w);
    w->pool = p;
    w->key = apr_pstrdup(p, key);
    w->org = rq->vhost->org;
    w->ad_host =
        casp_url_host(p, rq->verdict.decision.backends[rq->backend].url);
    w->ttl = apr_time_from_sec(set->backend_ttl);
    error =
        casp_mod_proxy.define(p, &w->worker, NULL, NULL, rq->backend_base, 0);
    if (!error) {
        set_limits(w->worker, set, set->timeout[rq->verdict.url.protocol]);
        if (parent != pool.pool) {
            w->worker->s->hmax = 1;
            /* another address would mean another connection, and no login */
            w->worker->s->address_ttl = -1;
        }
        if (casp_mod_proxy.initialize(w->worker, r->server, p) != APR_SUCCESS)
            error = "mod_proxy could not initialise it";
    }
    if (error) {
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      CASPLOGNO(0162) "no worker for %s: %s", rq->backend_base,
                                error);
        apr_pool_destroy(p);
        return NULL;
    }
    return w;
}

static const char *key_of(request_rec *r, const casp_request_t *rq)
{
    return apr_psprintf(r->pool, "%d %s %d %s", rq->vhost->index,
                        rq->backend_base,
                        rq->vhost->settings->timeout[rq->verdict.url.protocol],
                        casp_login_name(rq->login));
}

casp_worker_t *casp_worker_known(request_rec *r, casp_request_t *rq)
{
    const char *key = key_of(r, rq);
    casp_worker_t *w;

    apr_thread_mutex_lock(pool.lock);
    w = apr_hash_get(pool.workers, key, APR_HASH_KEY_STRING);
    apr_thread_mutex_unlock(pool.lock);
    return w;
}

bool casp_worker_rests(request_rec *r, casp_request_t *rq)
{
    const char *key = key_of(r, rq);
    casp_worker_t *w;
    bool rests;

    apr_thread_mutex_lock(pool.lock);
    w = apr_hash_get(pool.workers, key, APR_HASH_KEY_STRING);
    rests =
        w
        && (apr_int32_t)(apr_atomic_read32(&w->rests) - casp_worker_seconds())
               > 0;
    apr_thread_mutex_unlock(pool.lock);
    return rests;
}

static apr_status_t give_back(void *data)
{
    casp_worker_t *w = data;

    apr_atomic_set32(&w->used, casp_worker_seconds());
    apr_atomic_dec32(&w->leases);
    return APR_SUCCESS;
}

/* prefork has no reslist, and so nobody minds the age of its one connection:
 * a connection that Exchange is about to close gives a 502 to a POST. */
static void drop_if_old(casp_worker_t *w, apr_uint32_t last)
{
    proxy_conn_pool *cp = w->worker->cp;

    if (cp && !cp->res && cp->conn && cp->conn->sock && w->ttl
        && casp_worker_seconds() - last > (apr_uint32_t)apr_time_sec(w->ttl))
        apr_socket_shutdown(cp->conn->sock, APR_SHUTDOWN_READWRITE);
}

casp_worker_t *casp_worker_lease(request_rec *r, casp_request_t *rq)
{
    apr_uint32_t busy = (apr_uint32_t)rq->vhost->settings->backend_busy;
    const char *key = key_of(r, rq);
    apr_uint32_t last = 0;
    casp_worker_t *w;

    apr_thread_mutex_lock(pool.lock);
    w = apr_hash_get(pool.workers, key, APR_HASH_KEY_STRING);
    if (!w && apr_hash_count(pool.workers) < MAX_WORKERS) {
        w = build(r, rq, pool.pool, key);
        if (w)
            apr_hash_set(pool.workers, w->key, APR_HASH_KEY_STRING, w);
    }
    rq->busy = w && busy && apr_atomic_read32(&w->leases) >= busy;
    if (rq->busy)
        w = NULL; /* the next candidate, else 503: it must not pile up */
    if (w) {
        last = apr_atomic_read32(&w->used);
        apr_atomic_inc32(&w->leases);
        apr_atomic_set32(&w->used, casp_worker_seconds());
    }
    apr_thread_mutex_unlock(pool.lock);
    if (!w)
        return NULL;
    apr_pool_cleanup_register(r->pool, w, give_back, apr_pool_cleanup_null);
    if (last)
        drop_if_old(w, last);
    return w;
}

/* Of an allocator of its own: whoever holds it works on it without the lock of
 * the others. */
casp_worker_t *casp_worker_alone(request_rec *r, casp_request_t *rq)
{
    apr_allocator_t *allocator;
    apr_pool_t *parent;
    casp_worker_t *w;

    if (apr_allocator_create(&allocator) != APR_SUCCESS)
        return NULL;
    apr_pool_create_unmanaged_ex(&parent, NULL, allocator);
    apr_allocator_owner_set(allocator, parent);
    apr_pool_tag(parent, "casproxy_alone");
    w = build(r, rq, parent, "alone");
    if (!w) {
        apr_pool_destroy(parent);
        return NULL;
    }
    w->pool = parent;
    return w;
}
