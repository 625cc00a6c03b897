/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * runtime.c - what lives longer than a request.
 *
 * In the parent, at every (re)start: secrets are read, one organisation is
 * prepared per distinct directory, shared memory is made.  In each child:
 * organisations start their threads, and a watchdog thread ticks once a
 * second.  Other rooms ask here for counters and the table of requests in
 * flight; nobody else writes them.
 *
 * Shared memory of two lives:
 *   counters, leases  anonymous, made anew at every (re)start
 *   known mailboxes   a socache in the process pool, found again by its name
 *                     after a restart, so that a graceful restart does not
 *                     send everybody's look-up to the directory at once
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* dladdr() */
#endif

#include "skin.h"

#include <dlfcn.h>
#include <string.h>
#include <unistd.h>

#include <apr_atomic.h>
#include <apr_shm.h>
#include <apr_strings.h>
#include <apr_thread_mutex.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>

#include <ap_provider.h>
#include <ap_socache.h>
#include <mod_watchdog.h>
#include <unixd.h>
#include <util_mutex.h>

#define WATCHDOG_NAME "_casproxy_%d_"
#define MUTEX_NAME "casproxy-cache"
#define RETAINED_KEY "mod_casproxy-caches"
/* A process that knows nothing yet looks often, so that its first requests
 * need not wait for long. */
#define TICK apr_time_from_msec(200)
#define MAX_ORGS 32
#define MAX_FLIGHTS 4096

/* A second-level cache that outlives restarts.  The provider is looked up
 * again each time: its module was unloaded and may lie elsewhere now. */
typedef struct {
    char name[96]; /* provider, arguments, organisation */
    bool used;
    ap_socache_instance_t *instance;
    apr_global_mutex_t *mutex; /* NULL where the provider needs none */
} retained_cache_t;

/* The key goes with the caches: without it, everybody who is known would have
 * to be verified anew after a graceful restart, in the same second. */
typedef struct {
    retained_cache_t caches[MAX_ORGS];
    unsigned char key[32]; /* of verified passwords */
    bool keyed;
} retained_t;

typedef struct {
    const ap_socache_provider_t *provider;
    retained_cache_t *kept;
    const char *mutex_file;
    server_rec *server;
    apr_pool_t *pool; /* of this child, for scratch subpools */
    apr_thread_mutex_t *lock;
} cache_baton_t;

typedef struct {
    const char *key;
    casp_org_t *org;
    cache_baton_t *cache; /* NULL: no second level */
    casp_org_shared_t *shared;
} org_slot_t;

/* Who signed out, told to the other children: what they keep of that user's
 * logins at backends goes too.  Whoever finds more news than there is room for
 * misses the oldest, and keeps those until their own time is over. */
#define LOGOFFS 256
typedef struct {
    volatile apr_uint32_t stamp; /* its number + 1, once it is written */
    casp_guid_t user;
} logoff_t;

/* Everything shared between children of one generation. */
typedef struct {
    volatile apr_uint32_t counters[CASP_COUNT_MAX];
    volatile apr_uint32_t logoffs; /* how many there have been */
    logoff_t logoff[LOGOFFS];
    casp_org_shared_t orgs[MAX_ORGS];
} shared_t;

/* What the parent made; read-only in children. */
static struct {
    org_slot_t orgs[MAX_ORGS];
    int norgs;
    shared_t *shared;
    bool watchdog;
    unsigned char key[32];
} parent;

/* This process's own. */
static struct {
    apr_pool_t *pool;
    apr_thread_mutex_t *lock; /* over flights and free_slots */
    casp_flight_t *flights;
    int *free_slots;
    int nfree;
    void *volatile ticking[MAX_ORGS]; /* mutexes, held by each tick */
    volatile int ending;
    apr_uint32_t logoffs; /* heard of; the first organisation's tick only */
} child;

/* ------------------------------------------------------------- counters */

void casp_runtime_count(int what)
{
    if (parent.shared && what >= 0 && what < CASP_COUNT_MAX)
        apr_atomic_inc32(&parent.shared->counters[what]);
}

void casp_runtime_logged_off(const casp_guid_t *user)
{
    apr_uint32_t n;
    logoff_t *at;

    if (!parent.shared)
        return;
    n = apr_atomic_inc32(&parent.shared->logoffs);
    at = &parent.shared->logoff[n % LOGOFFS];
    apr_atomic_set32(&at->stamp, 0);
    at->user = *user;
    apr_atomic_set32(&at->stamp, n + 1);
}

void casp_runtime_logoffs(void (*visit)(const casp_guid_t *user))
{
    apr_uint32_t now = apr_atomic_read32(&parent.shared->logoffs);

    if (now - child.logoffs > LOGOFFS)
        child.logoffs = now - LOGOFFS;
    for (; child.logoffs != now; child.logoffs++) {
        logoff_t *at = &parent.shared->logoff[child.logoffs % LOGOFFS];
        casp_guid_t user = at->user;

        if (apr_atomic_read32(&at->stamp) != child.logoffs + 1)
            return; /* being written; at the next tick */
        visit(&user);
    }
}

const unsigned char *casp_runtime_key(void)
{
    return parent.key;
}

/* ----------------------------------------------------- requests in flight */

static apr_status_t leave(void *data)
{
    casp_flight_t *f = data;

    /* prefork ends a child in a signal handler, in the middle of a request:
     * the table may have gone before the request. */
    if (child.ending)
        return APR_SUCCESS;
    apr_thread_mutex_lock(child.lock);
    f->used = false;
    child.free_slots[child.nfree++] = (int)(f - child.flights);
    apr_thread_mutex_unlock(child.lock);
    return APR_SUCCESS;
}

void casp_runtime_enter(request_rec *r, casp_request_t *rq)
{
    casp_flight_t *f = NULL;

    if (!child.lock || rq->slot >= 0)
        return;
    apr_thread_mutex_lock(child.lock);
    if (child.nfree > 0) {
        rq->slot = child.free_slots[--child.nfree];
        f = &child.flights[rq->slot];
        memset(f, 0, sizeof *f);
        f->used = true;
        f->since = r->request_time;
        f->protocol = rq->verdict.url.protocol;
        f->connection = r->connection->id;
        if (rq->own)
            f->user = rq->own->user;
        apr_cpystrn(f->target, rq->backend_host ? rq->backend_host : "",
                    sizeof f->target);
    }
    apr_thread_mutex_unlock(child.lock);
    if (f)
        apr_pool_cleanup_register(r->pool, f, leave, apr_pool_cleanup_null);
}

void casp_runtime_flights(void (*visit)(void *baton, const casp_flight_t *f),
                          void *baton)
{
    apr_thread_mutex_lock(child.lock);
    for (int i = 0; i < MAX_FLIGHTS; i++)
        if (child.flights[i].used)
            visit(baton, &child.flights[i]);
    apr_thread_mutex_unlock(child.lock);
}

static apr_status_t flights_create(apr_pool_t *p)
{
    child.flights = apr_pcalloc(p, MAX_FLIGHTS * sizeof *child.flights);
    child.free_slots = apr_palloc(p, MAX_FLIGHTS * sizeof(int));
    for (int i = 0; i < MAX_FLIGHTS; i++)
        child.free_slots[i] = MAX_FLIGHTS - 1 - i;
    child.nfree = MAX_FLIGHTS;
    return apr_thread_mutex_create(&child.lock, APR_THREAD_MUTEX_DEFAULT, p);
}

/* ------------------------------------------------- the second-level cache */

static apr_pool_t *scratch(cache_baton_t *c)
{
    apr_pool_t *p;

    apr_pool_create(&p, c->pool);
    return p;
}

/* One thread at a time: the pool's parent and the provider both ask for it. */
static bool cache_lock(cache_baton_t *c)
{
    apr_thread_mutex_lock(c->lock);
    if (c->kept->mutex
        && apr_global_mutex_lock(c->kept->mutex) != APR_SUCCESS) {
        apr_thread_mutex_unlock(c->lock);
        return false;
    }
    return true;
}

static void cache_unlock(cache_baton_t *c)
{
    if (c->kept->mutex)
        apr_global_mutex_unlock(c->kept->mutex);
    apr_thread_mutex_unlock(c->lock);
}

static apr_size_t cache_get(void *baton, const char *key, apr_size_t key_len,
                            void *buf, apr_size_t buf_len)
{
    cache_baton_t *c = baton;
    unsigned int len = (unsigned int)buf_len;
    apr_status_t rv;
    apr_pool_t *p;

    if (!cache_lock(c))
        return 0;
    p = scratch(c);
    rv = c->provider->retrieve(c->kept->instance, c->server,
                               (const unsigned char *)key,
                               (unsigned int)key_len, buf, &len, p);
    apr_pool_destroy(p);
    cache_unlock(c);
    return rv == APR_SUCCESS ? len : 0;
}

static void cache_put(void *baton, const char *key, apr_size_t key_len,
                      const void *bytes, apr_size_t len, apr_time_t expires)
{
    cache_baton_t *c = baton;
    apr_status_t rv;
    apr_pool_t *p;

    if (!cache_lock(c))
        return;
    p = scratch(c);
    rv = c->provider->store(c->kept->instance, c->server,
                            (const unsigned char *)key, (unsigned int)key_len,
                            expires, (unsigned char *)(uintptr_t)bytes,
                            (unsigned int)len, p);
    apr_pool_destroy(p);
    cache_unlock(c);
    if (rv != APR_SUCCESS)
        casp_log(
            CASP_LOG_DEBUG, rv,
            CASPLOGNO(0101) "the shared cache took no record of %" APR_SIZE_T_FMT
                      " bytes",
                len);
}

static retained_t *retained(void)
{
    retained_t *kept = ap_retained_data_get(RETAINED_KEY);

    return kept ? kept : ap_retained_data_create(RETAINED_KEY, sizeof *kept);
}

static retained_cache_t *retained_find(retained_t *all, const char *name)
{
    retained_cache_t *empty = NULL;

    for (int i = 0; i < MAX_ORGS; i++) {
        if (!strcmp(all->caches[i].name, name))
            return &all->caches[i];
        if (!all->caches[i].name[0] && !empty)
            empty = &all->caches[i];
    }
    return empty;
}

/* Bytes for a table of this many mailboxes; 512 is a record with its key. */
static const char *default_cache_args(apr_pool_t *p, const char *key,
                                      int records)
{
    apr_size_t size = (apr_size_t)records * 512;

    if (size < 1024 * 1024)
        size = 1024 * 1024;
    if (size > 64 * 1024 * 1024)
        size = 64 * 1024 * 1024;
    return apr_psprintf(
        p, "%s(%" APR_SIZE_T_FMT ")",
        ap_runtime_dir_relative(p, apr_pstrcat(p, "casproxy-cache-",
                                               apr_pstrndup(p, key, 8), NULL)),
        size);
}

/* A provider's cleanups hang on the process pool with its cache, and httpd
 * unloads the provider's module before that pool is destroyed: the end of
 * every server was a jump to nowhere.  So the module's code stays mapped. */
static void keep_mapped(const void *in_module)
{
    Dl_info info;
    void *handle =
        dladdr(in_module, &info) && info.dli_fname
            ? dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE)
            : NULL;

    if (handle)
        dlclose(handle);
}

static cache_baton_t *cache_open(apr_pool_t *p, server_rec *s,
                                 const casp_settings_t *set, const char *key)
{
    const char *args = ap_strchr_c(set->shared_cache, ':');
    const char *name =
        args ? apr_pstrmemdup(p, set->shared_cache, args - set->shared_cache)
             : set->shared_cache;
    const ap_socache_provider_t *provider =
        ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP, name,
                           AP_SOCACHE_PROVIDER_VERSION);
    static const struct ap_socache_hints hints = {64, 400, 0};
    apr_pool_t *process = s->process->pool;
    cache_baton_t *c = apr_pcalloc(p, sizeof *c);
    const char *error;
    apr_status_t rv;
    char id[17];

    args = args && args[1] ? args + 1
                           : default_cache_args(p, key, set->mailbox_size);
    c->server = s;
    c->provider = provider;
    if (!provider)
        return NULL; /* told by check_config */
    c->kept = retained_find(retained(), apr_psprintf(p, "%s:%.60s:%.16s", name,
                                                     args, key));
    if (!c->kept)
        return NULL;
    c->kept->used = true;
    if (c->kept->instance)
        return c; /* known from before the restart */

    error = provider->create(&c->kept->instance, args, p, process);
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                     CASPLOGNO(0102) "CasProxySharedCache %s: %s",
                               set->shared_cache, error);
        c->kept->instance = NULL;
        return NULL;
    }
    apr_snprintf(id, sizeof id, "casp-%.11s", key);
    keep_mapped(provider);
    rv = provider->init(c->kept->instance, id, &hints, s, process);
    if (rv == APR_SUCCESS && (provider->flags & AP_SOCACHE_FLAG_NOTMPSAFE))
        rv = ap_global_mutex_create(&c->kept->mutex, NULL, MUTEX_NAME, id, s,
                                    process, 0);
    if (rv != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_ERR, rv, s,
            CASPLOGNO(0103) "the shared cache %s cannot be opened; "
                      "every child will ask the directory for itself. Is "
                      "httpd's runtime directory writable?",
                set->shared_cache);
        c->kept->instance = NULL;
        return NULL;
    }
    apr_snprintf(c->kept->name, sizeof c->kept->name, "%s:%.60s:%.16s", name,
                 args, key);
    return c;
}

/* ------------------------------------------------------------- the parent */

/* Does a folder hold nothing but what we wrote there ourselves? */
static bool is_ours(apr_pool_t *p, const char *path)
{
    apr_dir_t *dir;
    apr_finfo_t info;
    bool ours = true;

    if (apr_dir_open(&dir, path, p) != APR_SUCCESS)
        return false;
    while (ours && apr_dir_read(&info, APR_FINFO_NAME, dir) == APR_SUCCESS)
        ours = !strcmp(info.name, ".") || !strcmp(info.name, "..")
               || !strncmp(info.name, "organisation-", 13)
               || !strncmp(info.name, "forms-key", 9);
    apr_dir_close(dir);
    return ours;
}

static const char *folder_ready(apr_pool_t *p, const char *path)
{
    apr_finfo_t info;
    const char *folder = path, *slash;
    apr_status_t rv;
    char text[120];

    /* The folders above it stay root's, and httpd's user has to pass them. */
    while ((slash = strrchr(folder, '/')) && !slash[1] && slash > folder)
        folder = apr_pstrmemdup(p, folder, (apr_size_t)(slash - folder));
    if (slash && slash > folder)
        apr_dir_make_recursive(apr_pstrmemdup(p, folder,
                                              (apr_size_t)(slash - folder)),
                               0x0755, p);
    rv = apr_dir_make_recursive(
        path, APR_FPROT_UREAD | APR_FPROT_UWRITE | APR_FPROT_UEXECUTE, p);
    if (rv != APR_SUCCESS)
        return apr_psprintf(p, "cannot make %s: %s", path,
                            apr_strerror(rv, text, sizeof text));
    rv = apr_stat(&info, path,
                  APR_FINFO_LINK | APR_FINFO_TYPE | APR_FINFO_PROT
                      | APR_FINFO_USER,
                  p);
    if (rv != APR_SUCCESS || info.filetype != APR_DIR)
        return apr_psprintf(p, "%s is no folder", path);
    if (info.protection & APR_FPROT_WWRITE)
        return apr_psprintf(p,
                            "%s may be written by anybody: chmod it to 0700",
                            path);
    /* The children write the last known organisation.  Root gives them a new
     * folder, but not /etc because somebody mistyped. */
    if (geteuid() != 0 || info.user == ap_unixd_config.user_id)
        return NULL;
    if (!is_ours(p, path))
        return apr_psprintf(p,
                            "%s belongs to somebody else and holds other "
                            "files: name a folder of its own, or chown it to "
                            "httpd's user",
                            path);
    if (lchown(path, ap_unixd_config.user_id, ap_unixd_config.group_id))
        return apr_psprintf(p, "cannot give %s to httpd's user", path);
    return NULL;
}

static org_slot_t *org_for(apr_pool_t *p, server_rec *s,
                           const casp_settings_t *set)
{
    const char *key = casp_org_key(p, set);
    const char *secret = NULL;
    const char *error = NULL;
    org_slot_t *slot;

    for (int i = 0; i < parent.norgs; i++)
        if (!strcmp(parent.orgs[i].key, key))
            return &parent.orgs[i];
    if (parent.norgs == MAX_ORGS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     CASPLOGNO(0104) "%s: more than %d different directories; "
                                     "let virtual hosts share one",
                               casp_config_name(p, s), MAX_ORGS);
        return NULL;
    }
    slot = &parent.orgs[parent.norgs];
    slot->key = key;
    if (set->bind_secret)
        error = casp_secret_read(p, set->bind_secret, &secret);
    if (!error)
        error = casp_org_create(p, set, secret, &slot->org);
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     CASPLOGNO(0105) "%s: %s", casp_config_name(p, s), error);
        return NULL;
    }
    slot->shared = &parent.shared->orgs[parent.norgs];
    memcpy(slot->shared->key, retained()->key, sizeof slot->shared->key);
    slot->cache = set->shared_cache && *set->shared_cache
                      ? cache_open(p, s, set, key)
                      : NULL;
    parent.norgs++;
    return slot;
}

/* The key ring of logons by form.  Without a directive it is a file of our
 * own in the state directory; an export has neither, and cannot check a
 * password either. */
static int forms_ready(apr_pool_t *p, server_rec *s, casp_vhost_t *v)
{
    const casp_settings_t *set = v->settings;
    const char *path = set->forms_key;
    const char *error;
    casp_ring_t *ring;

    if (!path && casp_settings_ldif(set))
        return OK;
    if (!path)
        path = apr_pstrcat(p, set->state_dir, "/forms-key", NULL);
    error = casp_ring_load(p, path, !set->forms_key, &ring);
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     CASPLOGNO(0112) "%s: CasProxyFormsKey: %s",
                               casp_config_name(p, s), error);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    /* by name alone: nodes and tests listen on different ports */
    v->sealer =
        casp_sealer_create(p, ring,
                           s->server_hostname ? s->server_hostname : "",
                           apr_time_from_sec(set->forms_public),
                           apr_time_from_sec(set->forms_private));
    return OK;
}

static int vhost_ready(apr_pool_t *p, server_rec *s, int index)
{
    casp_vhost_t *v = casp_vhost_of(s);
    org_slot_t *slot;
    const char *error;

    v->server = s;
    v->index = index;
    if (!v->used)
        return OK;
    v->settings =
        casp_settings_complete(p, v->set, casp_config_default_state_dir(p));
    if (!casp_settings_ldif(v->settings)) {
        error = folder_ready(p, v->settings->state_dir);
        if (error) {
            ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                         CASPLOGNO(0106) "%s: CasProxyStateDir: %s",
                                   casp_config_name(p, s), error);
            return HTTP_INTERNAL_SERVER_ERROR;
        }
    }
    error = casp_pages_load(p, v->settings->pages, &v->pages);
    if (error) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s,
                     CASPLOGNO(0107) "%s: CasProxyPages: %s",
                               casp_config_name(p, s), error);
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    if (forms_ready(p, s, v) != OK)
        return HTTP_INTERNAL_SERVER_ERROR;
    slot = org_for(p, s, v->settings);
    if (!slot)
        return HTTP_INTERNAL_SERVER_ERROR;
    v->org = slot->org;
    return OK;
}

/* Caches that no virtual host uses any more.  Children of the generation
 * before hold their own mapping; only the name goes. */
static void retire_caches(apr_pool_t *p, server_rec *s)
{
    retained_t *all = retained();

    for (int i = 0; i < MAX_ORGS; i++) {
        retained_cache_t *kept = &all->caches[i];
        const ap_socache_provider_t *provider;
        const char *colon = ap_strchr_c(kept->name, ':');
        if (!kept->instance || kept->used || !colon)
            continue;
        provider = ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP,
                                      apr_pstrmemdup(p, kept->name,
                                                     colon - kept->name),
                                      AP_SOCACHE_PROVIDER_VERSION);
        if (provider)
            provider->destroy(kept->instance, s);
        if (kept->mutex)
            apr_global_mutex_destroy(kept->mutex);
        memset(kept, 0, sizeof *kept);
    }
}

static void log_to_httpd(void *baton, casp_log_e level, apr_status_t rv,
                         const char *message)
{
    /* the main server's log: the core knows no virtual host */
    ap_log_error(APLOG_MARK, (int)level, rv, (server_rec *)baton, "%s",
                 message);
}

/* One organisation's thread.  Each has its own, for one hung directory must
 * not keep another vhost's organisation waiting. */
static apr_status_t tick(int state, void *data, apr_pool_t *pool)
{
    org_slot_t *slot = data;
    /* mod_watchdog's threads may be there before our own child_init */
    apr_thread_mutex_t *ticking =
        apr_atomic_casptr((void *)&child.ticking[slot - parent.orgs], NULL,
                          NULL);
    apr_time_t now = apr_time_now();

    (void)pool;
    if (state == AP_WATCHDOG_STATE_STOPPING || !ticking)
        return APR_SUCCESS;
    apr_thread_mutex_lock(ticking);
    if (!child.ending)
        casp_org_tick(slot->org, now);
    if (!child.ending && slot == parent.orgs) {
        casp_backend_tick(now);
        casp_integrated_tick(now);
    }
    apr_thread_mutex_unlock(ticking);
    return APR_SUCCESS;
}

/* mod_watchdog hangs its threads on the parent's pool, which a child never
 * destroys: a thread goes on ticking while the child's own pool dies under it.
 * So the end of ticking is ours to see to, before anything else goes: the
 * directory is told to give up what it waits for, then the tick in progress is
 * waited for.  The mutexes lie in a pool of their own, for a thread may ask for
 * its one even later. */
static apr_status_t end_ticking(void *data)
{
    (void)data;
    child.ending = 1;
    for (int i = 0; i < parent.norgs; i++)
        casp_org_stop(parent.orgs[i].org);
    for (int i = 0; i < parent.norgs; i++) {
        if (child.ticking[i]) {
            apr_thread_mutex_lock(child.ticking[i]);
            apr_thread_mutex_unlock(child.ticking[i]);
        }
    }
    return APR_SUCCESS;
}

static apr_status_t start_ticking(apr_pool_t *p)
{
    apr_status_t rv = APR_SUCCESS;
    apr_pool_t *forever;

    apr_pool_create_unmanaged_ex(&forever, NULL, NULL);
    apr_pool_tag(forever, "casproxy_ticking");
    apr_pool_pre_cleanup_register(p, NULL, end_ticking);
    for (int i = parent.norgs - 1; i >= 0 && rv == APR_SUCCESS; i--) {
        apr_thread_mutex_t *mutex = NULL;
        rv =
            apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, forever);
        apr_atomic_xchgptr((void *)&child.ticking[i], mutex);
    }
    return rv;
}

static int watchdog_ready(apr_pool_t *p, server_rec *s, org_slot_t *slot)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *reg =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    ap_watchdog_t *watchdog;
    apr_status_t rv = APR_ENOTIMPL;

    if (get && reg) {
        rv = get(&watchdog,
                 apr_psprintf(p, WATCHDOG_NAME, (int)(slot - parent.orgs)), 0,
                 0, p);
        if (rv == APR_SUCCESS)
            rv = reg(watchdog, TICK, slot, tick);
    }
    if (rv != APR_SUCCESS) {
        ap_log_error(
            APLOG_MARK, APLOG_CRIT, rv, s,
            CASPLOGNO(0108) "mod_watchdog is needed to read the "
                            "organisation in the background: LoadModule "
                            "watchdog_module modules/mod_watchdog.so");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    return OK;
}

static int shared_ready(apr_pool_t *p, server_rec *s)
{
    apr_shm_t *shm;
    retained_t *kept = retained();
    apr_status_t rv = apr_shm_create(&shm, sizeof(shared_t), NULL, p);

    if (!kept->keyed)
        kept->keyed = RAND_bytes(kept->key, sizeof kept->key) == 1;
    if (rv != APR_SUCCESS || !kept->keyed
        || RAND_bytes(parent.key, sizeof parent.key) != 1) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     CASPLOGNO(0109) "no shared memory or no random numbers");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    parent.shared = apr_shm_baseaddr_get(shm);
    memset(parent.shared, 0, sizeof(shared_t));
    return OK;
}

static apr_status_t forget(void *data)
{
    (void)data;
    OPENSSL_cleanse(&parent, sizeof parent);
    return APR_SUCCESS;
}

int casp_runtime_pre_config(apr_pool_t *p)
{
    return ap_mutex_register(p, MUTEX_NAME, NULL, APR_LOCK_DEFAULT, 0)
                   == APR_SUCCESS
               ? OK
               : HTTP_INTERNAL_SERVER_ERROR;
}

int casp_runtime_post_config(apr_pool_t *p, apr_pool_t *plog,
                             apr_pool_t *ptemp, server_rec *s)
{
    retained_t *kept = retained();
    bool used = false;
    int index = 0;
    int rc;

    (void)plog;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG)
        return OK;
    memset(&parent, 0, sizeof parent);
    apr_pool_cleanup_register(p, NULL, forget, apr_pool_cleanup_null);
    casp_log_set(log_to_httpd, s, CASP_LOG_DEBUG);
    for (int i = 0; i < MAX_ORGS; i++)
        kept->caches[i].used = false;
    for (server_rec *v = s; v; v = v->next)
        used = used || casp_vhost_of(v)->used;
    if (used) {
        rc = shared_ready(p, s);
        for (server_rec *v = s; v && rc == OK; v = v->next)
            rc = vhost_ready(p, v, index++);
        for (int i = 0; i < parent.norgs && rc == OK; i++)
            rc = watchdog_ready(p, s, &parent.orgs[i]);
        if (rc != OK)
            return rc;
    }
    retire_caches(ptemp, s);
    return OK;
}

/* -------------------------------------------------------------- a process */

static const casp_cache2_t *cache_in_child(apr_pool_t *p, server_rec *s,
                                           cache_baton_t *c)
{
    casp_cache2_t *second = apr_pcalloc(p, sizeof *second);
    apr_status_t rv = APR_SUCCESS;

    if (c->kept->mutex)
        rv = apr_global_mutex_child_init(
            &c->kept->mutex, apr_global_mutex_lockfile(c->kept->mutex), p);
    if (rv == APR_SUCCESS)
        rv = apr_thread_mutex_create(&c->lock, APR_THREAD_MUTEX_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_WARNING, rv, s,
                     CASPLOGNO(0110) "the shared cache cannot be used by this "
                                     "child");
        return NULL;
    }
    apr_pool_create(&c->pool, p);
    apr_pool_tag(c->pool, "casproxy_cache2");
    second->get = cache_get;
    second->put = cache_put;
    second->baton = c;
    return second;
}

void casp_runtime_child_init(apr_pool_t *p, server_rec *s)
{
    apr_allocator_t *allocator;
    apr_thread_mutex_t *mutex;
    apr_status_t rv;

    if (!parent.shared)
        return;
    /* Many threads allocate below this pool: an allocator of its own, with a
     * lock, whatever the MPM gave its child pool. */
    apr_allocator_create(&allocator);
    apr_pool_create_ex(&child.pool, p, NULL, allocator);
    apr_allocator_owner_set(allocator, child.pool);
    apr_pool_tag(child.pool, "casproxy_child");
    rv = apr_thread_mutex_create(&mutex, APR_THREAD_MUTEX_DEFAULT, child.pool);
    if (rv == APR_SUCCESS)
        apr_allocator_mutex_set(allocator, mutex);
    if (rv == APR_SUCCESS)
        rv = flights_create(child.pool);
    if (rv == APR_SUCCESS)
        rv = casp_backend_child_init(child.pool, s);
    for (int i = 0; i < parent.norgs && rv == APR_SUCCESS; i++) {
        org_slot_t *slot = &parent.orgs[i];
        rv = casp_org_start(slot->org, child.pool,
                            slot->cache
                                ? cache_in_child(child.pool, s, slot->cache)
                                : NULL,
                            slot->shared);
    }
    if (rv == APR_SUCCESS)
        rv = casp_integrated_child_init(child.pool, s);
    if (rv == APR_SUCCESS)
        rv = start_ticking(child.pool);
    if (rv != APR_SUCCESS)
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     CASPLOGNO(0111) "this child cannot start its directory "
                                     "threads; its requests get 503");
}
