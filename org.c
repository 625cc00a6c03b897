/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * org.c - one directory and all that this process knows of it.
 *
 * Three kinds of state, each with one writer:
 *
 *   the snapshot   swapped whole by casp_org_tick(), read by every request
 *                  under a reference; the lock covers two instructions
 *   the caches     mailbox.c's and identity.c's own, with their own locks
 *   the state file the last organisation read, as LDIF: the same parser reads
 *                  it back, and an administrator can read it too
 *
 * Only one process of a server asks the directory when a refresh is due; it
 * holds a lease in shared memory, and the others read the file it wrote.  A
 * lease runs out, so that a process which died with it is missed for no longer
 * than one topology time-out.
 *
 * No httpd here: casproxyctl stands on this room as the module does.
 */

#include <string.h>

#include <ldap.h>
#include <openssl/evp.h>

#include <apr_atomic.h>
#include <apr_file_io.h>
#include <apr_strings.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>

#include "ldif.h"
#include "org.h"
#include "session.h"

/** After a failed refresh the next try comes sooner than the interval. */
#define ORG_RETRY_SECONDS 15
/** What clocks of one machine may differ by, read one after the other. */
#define ORG_SKEW_SECONDS 60
/** The entry of the state file that is ours and no directory's. */
#define ORG_STATE_DN "cn=casproxy-state"

/** Users of an export, swapped whole with its topology. */
typedef struct {
    apr_pool_t *pool;
    casp_user_source_t *source;
    int refs; /* under org->lock */
} org_users_t;

struct casp_org_t {
    /* --- set by casp_org_create() in the parent, then read-only */
    const casp_settings_t *settings;
    const char *name;
    const char *ldif; /* path of an export; NULL: a directory */
    const char *state_file; /* NULL for an export */
    casp_directory_t *dir;
    casp_directory_t *users_dir; /* the Global Catalog, or dir */
    casp_mailbox_conf_t mailbox_conf;

    /* --- set by casp_org_start() in each process, then read-only */
    apr_pool_t *child;
    apr_thread_mutex_t *lock;
    apr_thread_cond_t *news; /* of a topology or of trouble */
    casp_mailboxes_t *mailboxes;
    casp_credentials_t *credentials;
    casp_ended_t *ended; /* sessions */
    const casp_cache2_t *second; /* NULL: none */
    casp_org_shared_t *shared;
    casp_org_shared_t alone; /* stands in where nothing is shared */

    /* --- under lock */
    casp_topology_t *topology;
    org_users_t *users;
    char trouble[512];

    volatile int ending; /* casp_org_stop() was called */

    /* --- the ticking thread's own */
    apr_uint32_t seen;
    apr_uint32_t next; /* in force where the state file cannot be written */
    apr_time_t ticked;
    apr_finfo_t export;
    int export_problems; /* of the one in force */
    casp_user_source_t *source; /* over users_dir; made with the first base */
};

static apr_uint32_t seconds_of(apr_time_t t)
{
    return (apr_uint32_t)apr_time_sec(t);
}

/* ------------------------------------------------------------- the parent */

static void key_add(EVP_MD_CTX *md, const char *text)
{
    /* with its NUL, so that "ab","c" and "a","bc" differ */
    EVP_DigestUpdate(md, text ? text : "", text ? strlen(text) + 1 : 1);
}

static void key_add_list(EVP_MD_CTX *md, const apr_array_header_t *list)
{
    for (int i = 0; list && i < list->nelts; i++)
        key_add(md, APR_ARRAY_IDX(list, i, const char *));
    key_add(md, NULL);
}

static const char *key_hex(apr_pool_t *p, EVP_MD_CTX *md)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned int len = 0;
    char *hex = apr_palloc(p, 33);

    EVP_DigestFinal_ex(md, hash, &len);
    EVP_MD_CTX_free(md);
    for (int i = 0; i < 16; i++)
        apr_snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    return hex;
}

/* What was read depends on these alone, and on who read it over which TLS: a
 * new pool size keeps the file, another account's view is another file. */
static EVP_MD_CTX *key_of_content(const casp_settings_t *s)
{
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    EVP_DigestInit_ex(md, EVP_sha256(), NULL);
    key_add_list(md, s->directory);
    key_add(md, s->directory_base);
    key_add(md, s->bind_name);
    key_add(md, s->directory_ca_file);
    EVP_DigestUpdate(md, &s->directory_tls, sizeof s->directory_tls);
    return md;
}

const char *casp_org_key(apr_pool_t *p, const casp_settings_t *s)
{
    const int numbers[] = {
        s->directory_bind,   s->directory_tls,  s->pool_min,
        s->pool_smax,        s->pool_hmax,      s->pool_ttl,
        s->timeout_connect,  s->timeout_search, s->timeout_topology,
        s->topology_refresh, s->mailbox_ttl,    s->mailbox_negative,
        s->mailbox_stale,    s->mailbox_size,   s->credential_ttl};
    EVP_MD_CTX *md = key_of_content(s);

    key_add_list(md, s->global_catalog);
    key_add(md, s->bind_secret);
    key_add(md, s->bind_keytab);
    key_add(md, s->state_dir);
    EVP_DigestUpdate(md, numbers, sizeof numbers);
    return key_hex(p, md);
}

const char *casp_org_create(apr_pool_t *p, const casp_settings_t *settings,
                            const char *secret, casp_org_t **result)
{
    casp_org_t *org = apr_pcalloc(p, sizeof *org);
    casp_directory_conf_t conf;
    const char *error;

    org->settings = settings;
    org->mailbox_conf.ttl = apr_time_from_sec(settings->mailbox_ttl);
    org->mailbox_conf.negative = apr_time_from_sec(settings->mailbox_negative);
    org->mailbox_conf.stale = apr_time_from_sec(settings->mailbox_stale);
    org->mailbox_conf.size = settings->mailbox_size;
    *result = org;

    org->ldif = casp_settings_ldif(settings);
    if (org->ldif) {
        org->name = apr_pstrcat(p, "ldif:", org->ldif, NULL);
        return NULL;
    }
    casp_settings_directory_conf(p, settings, secret, false, &conf);
    error = casp_directory_create(p, &conf, &org->dir);
    if (error)
        return error;
    org->users_dir = org->dir;
    if (settings->global_catalog) {
        casp_settings_directory_conf(p, settings, secret, true, &conf);
        error = casp_directory_create(p, &conf, &org->users_dir);
        if (error)
            return error;
    }
    org->name = casp_directory_name(org->dir);
    if (settings->state_dir)
        org->state_file =
            apr_psprintf(p, "%s/organisation-%.16s.ldif", settings->state_dir,
                         key_hex(p, key_of_content(settings)));
    return NULL;
}

/* --------------------------------------------------------------- swapping */

static void users_unref(casp_org_t *org, org_users_t *users)
{
    bool last;

    if (!users)
        return;
    apr_thread_mutex_lock(org->lock);
    last = --users->refs == 0;
    apr_thread_mutex_unlock(org->lock);
    if (last)
        apr_pool_destroy(users->pool);
}

/* Put a snapshot in force; takes over both references. */
static void publish(casp_org_t *org, casp_topology_t *topology,
                    org_users_t *users)
{
    casp_topology_t *old;
    org_users_t *old_users;

    apr_thread_mutex_lock(org->lock);
    old = org->topology;
    org->topology = topology;
    old_users = org->users;
    if (users)
        org->users = users;
    org->trouble[0] = '\0';
    apr_thread_cond_broadcast(org->news);
    apr_thread_mutex_unlock(org->lock);

    if (old)
        casp_topology_unref(old);
    if (users)
        users_unref(org, old_users);
}

static void set_trouble(casp_org_t *org, const char *text)
{
    apr_thread_mutex_lock(org->lock);
    apr_cpystrn(org->trouble, text, sizeof org->trouble);
    apr_thread_cond_broadcast(org->news);
    apr_thread_mutex_unlock(org->lock);
}

/* One line per problem, but not again while nothing has changed. */
static void tell_problems(const casp_topology_t *now,
                          const casp_topology_t *before)
{
    for (int i = 0; i < now->problems->nelts; i++) {
        const casp_problem_t *problem =
            APR_ARRAY_IDX(now->problems, i, const casp_problem_t *);
        bool known = false;
        for (int j = 0; before && !known && j < before->problems->nelts; j++) {
            const casp_problem_t *old =
                APR_ARRAY_IDX(before->problems, j, const casp_problem_t *);
            known = !strcmp(old->text, problem->text)
                    && !strcmp(old->dn, problem->dn);
        }
        if (!known)
            casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                     CASPLOGNO(0150) "organisation: %s [%s]", problem->text,
                               problem->dn);
    }
}

/* @a first: this process read it from its source; the others, which read what
 * it kept, need not say the same again. */
static void tell_read(casp_org_t *org, casp_topology_t *topology, bool first)
{
    casp_topology_t *before = casp_org_topology(org);

    if (first)
        tell_problems(topology, before);
    casp_log(
        first && !before ? CASP_LOG_NOTICE : CASP_LOG_DEBUG, APR_SUCCESS,
        CASPLOGNO(0151) "organisation %s read from %s: %d sites, %d "
                  "servers, %d databases, %d virtual directories, %d problems",
            topology->org ? topology->org : "(unnamed)", topology->from,
            topology->sites->nelts, topology->servers->nelts,
            topology->databases->nelts, topology->vdirs->nelts,
            topology->problems->nelts);
    if (before)
        casp_topology_unref(before);
}

/* ------------------------------------------------------- state and export */

/* Does this organisation hold anything to decide with?  An empty answer is no
 * reason to forget what was known: a right was lost, or a base mistyped. */
static bool usable(const casp_topology_t *t)
{
    return t->servers->nelts > 0;
}

static bool load_state(casp_org_t *org, apr_pool_t *p)
{
    apr_array_header_t *entries;
    const char *default_nc = NULL;
    apr_time_t read_at = 0;
    casp_topology_t *t;

    if (!org->state_file
        || casp_ldif_read(p, org->state_file, &entries, NULL) != APR_SUCCESS)
        return false;
    for (int i = 0; i < entries->nelts; i++) {
        const casp_entry_t *e =
            APR_ARRAY_IDX(entries, i, const casp_entry_t *);
        if (strcmp(e->dn, ORG_STATE_DN))
            continue;
        default_nc = casp_entry_str(e, "defaultNamingContext");
        read_at = casp_entry_int(e, "readAt", 0);
    }
    t = casp_topology_build(entries, org->state_file, default_nc, read_at);
    if (!usable(t)) {
        casp_topology_unref(t);
        return false;
    }
    tell_read(org, t, false);
    publish(org, t, NULL);
    return true;
}

/* @return can the others read it? */
static bool save_state(casp_org_t *org, apr_pool_t *p,
                       const apr_array_header_t *entries,
                       const char *default_nc, apr_time_t read_at)
{
    apr_array_header_t *all = apr_array_copy(p, entries);
    casp_entry_t *mark = casp_entry_make(p, ORG_STATE_DN);
    const char *when = apr_psprintf(p, "%" APR_TIME_T_FMT, read_at);
    apr_status_t rv;

    if (!org->state_file)
        return false;
    casp_entry_add(p, mark, "readAt", when, strlen(when));
    if (default_nc)
        casp_entry_add(p, mark, "defaultNamingContext", default_nc,
                       strlen(default_nc));
    APR_ARRAY_PUSH(all, casp_entry_t *) = mark;
    rv = casp_ldif_write(p, org->state_file, all,
                         "The last known organisation; written by "
                         "mod_casproxy, read at its next start.");
    if (rv != APR_SUCCESS)
        casp_log(
            CASP_LOG_ERROR, rv,
            CASPLOGNO(0152) "cannot keep the organisation in %s: every child "
                      "asks the directory for itself, and a start without it "
                      "will not work; make the folder writable for httpd's "
                      "user, and those above it passable, or set "
                      "CasProxyStateDir",
                org->state_file);
    return rv == APR_SUCCESS;
}

/* The first process that read this state of the export tells its problems. */
static bool first_to_read(casp_org_t *org, apr_time_t mtime)
{
    apr_uint32_t stamp = seconds_of(mtime);
    apr_uint32_t told = apr_atomic_read32(&org->shared->next);

    return told != stamp
           && apr_atomic_cas32(&org->shared->next, stamp, told) == told;
}

/* A file that is just being copied here is cut off somewhere: while a better
 * one is in force, an export with more broken records than that is none. */
static bool worse(const casp_org_t *org, const apr_array_header_t *problems)
{
    return org->topology && problems->nelts > org->export_problems;
}

static void load_export(casp_org_t *org, apr_pool_t *p)
{
    apr_array_header_t *entries;
    apr_array_header_t *problems = apr_array_make(p, 4, sizeof(char *));
    apr_finfo_t now;
    apr_status_t rv;
    org_users_t *users;
    apr_pool_t *pool;
    casp_topology_t *t;

    rv = apr_stat(&now, org->ldif, APR_FINFO_MTIME | APR_FINFO_SIZE, p);
    if (rv == APR_SUCCESS && org->topology && now.mtime == org->export.mtime
        && now.size == org->export.size)
        return;
    apr_pool_create_unmanaged_ex(&pool, NULL, NULL);
    apr_pool_tag(pool, "casproxy_export");
    if (rv == APR_SUCCESS)
        rv = casp_ldif_read(pool, org->ldif, &entries, problems);
    if (rv != APR_SUCCESS) {
        char text[160];
        apr_strerror(rv, text, sizeof text);
        set_trouble(org, apr_psprintf(p, "the export %s cannot be read: %s",
                                      org->ldif, text));
        if (apr_atomic_cas32(&org->shared->lost, 1, 0) == 0)
            casp_log(CASP_LOG_ERROR, rv,
                     CASPLOGNO(0153) "cannot read the export %s; what was "
                                     "read before stays in force",
                               org->ldif);
        apr_pool_destroy(pool);
        return;
    }
    apr_atomic_set32(&org->shared->lost, 0);
    org->export = now;
    bool first = first_to_read(org, now.mtime);
    t = casp_topology_build(entries, org->name, org->settings->directory_base,
                            now.mtime);
    if (worse(org, problems) || (!usable(t) && org->topology)) {
        if (first)
            casp_log(CASP_LOG_ERROR, APR_SUCCESS,
                     CASPLOGNO(0155) "the export %s is not used (%s); what "
                                     "was read before stays in force",
                               org->ldif,
                               problems->nelts
                                   ? APR_ARRAY_IDX(problems, 0, const char *)
                                   : "it holds no Exchange server");
        casp_topology_unref(t);
        apr_pool_destroy(pool);
        return;
    }
    for (int i = 0; first && i < problems->nelts; i++)
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0154) "export %s: %s", org->ldif,
                           APR_ARRAY_IDX(problems, i, const char *));
    org->export_problems = problems->nelts;
    users = apr_pcalloc(pool, sizeof *users);
    users->pool = pool;
    users->refs = 1;
    users->source = casp_source_entries(pool, entries);
    tell_read(org, t, first);
    publish(org, t, users);
}

/* -------------------------------------------------------------- refreshing */

/* Ask the directory; on any failure the old snapshot stays.  The others are
 * called to the state file only where it was written: what lies there would
 * take them back to an organisation of before.  Where it was not, each asks
 * for itself. */
static bool fetch(casp_org_t *org, apr_pool_t *p, apr_time_t now)
{
    apr_time_t deadline =
        now + apr_time_from_sec(org->settings->timeout_topology);
    const casp_directory_root_t *root;
    apr_array_header_t *entries;
    casp_search_t search = {0};
    const char *default_nc = org->settings->directory_base;
    const char *why = "";
    casp_topology_t *t;
    casp_dir_e rc;

    rc = casp_directory_root(org->dir, p, deadline, &root, &why);
    if (rc == CASP_DIR_OK) {
        if (!default_nc)
            default_nc = root->default_nc;
        search.base = root->config_nc;
        /* a directory that is no AD has no rootDSE to tell it */
        if (!search.base && default_nc)
            search.base =
                apr_pstrcat(p, "CN=Configuration,", default_nc, NULL);
        search.scope = LDAP_SCOPE_SUBTREE;
        search.filter = casp_topology_filter;
        search.attrs = casp_topology_attrs;
        search.paged = true;
        if (!search.base) {
            rc = CASP_DIR_REFUSED;
            why = apr_pstrcat(p, org->name,
                              " names no naming context: set "
                              "CasProxyDirectoryBase",
                              NULL);
        }
        else {
            rc = casp_directory_search(org->dir, p, &search, deadline,
                                       &entries, &why);
        }
    }
    if (rc == CASP_DIR_OK) {
        t = casp_topology_build(entries, org->name, default_nc, now);
        if (usable(t)) {
            tell_read(org, t, true);
            publish(org, t, NULL);
            bool kept = save_state(org, p, entries, default_nc, now);
            apr_atomic_set32(&org->shared->lost, !kept);
            if (kept)
                org->seen = apr_atomic_inc32(&org->shared->generation) + 1;
            return true;
        }
        casp_topology_unref(t);
        why = apr_pstrcat(p, org->name,
                          " holds no Exchange server that the "
                          "service account can read",
                          NULL);
    }
    if (org->ending)
        return false;
    set_trouble(org, why);
    casp_log(CASP_LOG_ERROR, APR_SUCCESS,
             CASPLOGNO(0156) "cannot read the organisation: %s; %s", why,
                       org->topology ? "the last known one stays in force"
                                     : "requests get 503 until it is known");
    return false;
}

/* Is this moment still to come?  One further ahead than it can have been set
 * was left behind by a clock that was set back. */
static bool ahead(apr_uint32_t moment, apr_uint32_t sec, apr_uint32_t most)
{
    apr_int32_t left = (apr_int32_t)(moment - sec);

    return left > 0 && (apr_uint32_t)left <= most + ORG_SKEW_SECONDS;
}

/* The lease is taken by whoever changes it from a value in the past. */
static bool take_lease(casp_org_t *org, apr_time_t now)
{
    apr_uint32_t sec = seconds_of(now);
    apr_uint32_t old = apr_atomic_read32(&org->shared->lease);
    apr_uint32_t term = (apr_uint32_t)org->settings->timeout_topology + 2;

    if (ahead(old, sec, term))
        return false;
    return apr_atomic_cas32(&org->shared->lease, sec + term, old) == old;
}

static void refresh(casp_org_t *org, apr_pool_t *p, apr_time_t now)
{
    apr_uint32_t sec = seconds_of(now);
    apr_uint32_t next = apr_atomic_read32(&org->shared->lost)
                            ? org->next
                            : apr_atomic_read32(&org->shared->next);
    apr_uint32_t wait = (apr_uint32_t)org->settings->topology_refresh;

    if (ahead(next, sec, wait) || !take_lease(org, now))
        return;
    if (!fetch(org, p, now) && wait > ORG_RETRY_SECONDS)
        wait = ORG_RETRY_SECONDS;
    if (!org->topology && wait > 2)
        wait = 2; /* nothing is known: people wait */
    org->next = seconds_of(apr_time_now()) + wait;
    apr_atomic_set32(&org->shared->next, org->next);
    apr_atomic_set32(&org->shared->lease, 0);
}

void casp_org_tick(casp_org_t *org, apr_time_t now)
{
    apr_pool_t *p;

    if (org->topology && now - org->ticked < apr_time_from_sec(1)
        && now >= org->ticked)
        return;
    org->ticked = now;
    apr_pool_create(&p, org->child);
    apr_pool_tag(p, "casproxy_tick");
    if (org->ldif) {
        load_export(org, p);
    }
    else {
        apr_uint32_t generation = apr_atomic_read32(&org->shared->generation);
        if (generation != org->seen && load_state(org, p))
            org->seen = generation;
        refresh(org, p, now);
    }
    apr_pool_destroy(p);
}

void casp_org_stop(casp_org_t *org)
{
    org->ending = 1;
    if (org->dir)
        casp_directory_stop(org->dir);
    if (org->users_dir && org->users_dir != org->dir)
        casp_directory_stop(org->users_dir);
}

/* ---------------------------------------------------------------- a process */

static apr_status_t stop(void *data)
{
    casp_org_t *org = data;
    casp_topology_t *t;
    org_users_t *users;

    apr_thread_mutex_lock(org->lock);
    t = org->topology;
    org->topology = NULL;
    users = org->users;
    org->users = NULL;
    apr_thread_mutex_unlock(org->lock);
    if (t)
        casp_topology_unref(t);
    users_unref(org, users);
    return APR_SUCCESS;
}

apr_status_t casp_org_start(casp_org_t *org, apr_pool_t *p,
                            const casp_cache2_t *second,
                            casp_org_shared_t *shared)
{
    const casp_settings_t *s = org->settings;
    apr_status_t rv;

    apr_pool_create(&org->child, p);
    apr_pool_tag(org->child, "casproxy_org");
    rv = apr_thread_mutex_create(&org->lock, APR_THREAD_MUTEX_DEFAULT,
                                 org->child);
    if (rv == APR_SUCCESS)
        rv = apr_thread_cond_create(&org->news, org->child);
    if (rv != APR_SUCCESS)
        return rv;
    org->shared = shared ? shared : &org->alone;
    org->second = second;
    org->mailboxes = casp_mailboxes_create(org->child, &org->mailbox_conf,
                                           second, casp_org_key(p, s));
    org->credentials =
        casp_credentials_create(org->child,
                                apr_time_from_sec(s->credential_ttl),
                                s->mailbox_size);
    if (second && shared)
        casp_credentials_share(org->credentials, shared->key, second,
                               casp_org_key(org->child, s));
    /* whatever the caches may hold, a sign-out is to be remembered */
    org->ended =
        casp_ended_create(org->child,
                          s->mailbox_size > 4096 ? s->mailbox_size : 4096,
                          second, casp_org_key(org->child, s));
    /* registered before the threads start, so that it runs after they ended */
    apr_pool_cleanup_register(org->child, org, stop, apr_pool_cleanup_null);
    if (org->ldif) {
        load_export(org, p);
        return APR_SUCCESS;
    }
    org->source =
        casp_source_directory(org->child, org->users_dir,
                              s->global_catalog ? "" : s->directory_base);
    rv = casp_directory_start(org->dir, org->child);
    if (rv == APR_SUCCESS && org->users_dir != org->dir)
        rv = casp_directory_start(org->users_dir, org->child);
    if (rv == APR_SUCCESS && load_state(org, p))
        org->seen = apr_atomic_read32(&org->shared->generation);
    return rv;
}

/* ------------------------------------------------------------ for requests */

/* A process that has just begun has not been told anything yet: its first
 * requests wait for that, but only until the first try has failed. */
casp_topology_t *casp_org_await(casp_org_t *org, apr_time_t deadline)
{
    casp_topology_t *t = casp_org_topology(org);
    apr_interval_time_t left;

    if (t)
        return t;
    apr_thread_mutex_lock(org->lock);
    while (!org->topology && !org->trouble[0] && !org->ending
           && (left = deadline - apr_time_now()) > 0)
        apr_thread_cond_timedwait(org->news, org->lock, left);
    t = org->topology ? casp_topology_ref(org->topology) : NULL;
    apr_thread_mutex_unlock(org->lock);
    return t;
}

casp_topology_t *casp_org_topology(casp_org_t *org)
{
    casp_topology_t *t;

    apr_thread_mutex_lock(org->lock);
    t = org->topology ? casp_topology_ref(org->topology) : NULL;
    apr_thread_mutex_unlock(org->lock);
    return t;
}

const char *casp_org_trouble(casp_org_t *org, apr_pool_t *p)
{
    const char *text;

    apr_thread_mutex_lock(org->lock);
    text = org->trouble[0] ? apr_pstrdup(p, org->trouble) : NULL;
    apr_thread_mutex_unlock(org->lock);
    return text;
}

casp_find_e casp_org_find(casp_org_t *org, apr_pool_t *p,
                          const casp_topology_t *t, const casp_user_key_t *key,
                          apr_time_t deadline, const casp_mailbox_t **mailbox,
                          casp_cache_e *how, const char **why)
{
    apr_time_t now = apr_time_now();
    org_users_t *users = NULL;
    casp_find_e found;

    if (!deadline)
        deadline = now + casp_org_patience(org);
    if (!org->ldif)
        return casp_mailboxes_find(org->mailboxes, p, org->source, t, key, now,
                                   deadline, mailbox, how, why);
    apr_thread_mutex_lock(org->lock);
    users = org->users;
    if (users)
        users->refs++;
    apr_thread_mutex_unlock(org->lock);
    if (!users) {
        *mailbox = NULL;
        *how = CASP_CACHE_MISS;
        *why = "the export has not been read";
        return CASP_FIND_UNAVAILABLE;
    }
    found = casp_mailboxes_find(org->mailboxes, p, users->source, t, key, now,
                                deadline, mailbox, how, why);
    users_unref(org, users);
    return found;
}

casp_pw_e casp_org_check_password(casp_org_t *org, apr_pool_t *p,
                                  const casp_mailbox_t *m,
                                  const char *password, apr_size_t len,
                                  const char **why)
{
    apr_time_t now = apr_time_now();
    apr_time_t deadline = now + casp_org_patience(org);
    const casp_directory_root_t *root;
    casp_pw_e pw;

    *why = NULL;
    if (len == 0)
        return CASP_PW_EMPTY;
    if (org->ldif) {
        *why = "an LDIF export cannot check a password: use CasProxyAuth None "
               "behind another authentication module, or a live directory";
        return CASP_PW_UNAVAILABLE;
    }
    if (casp_credentials_known(org->credentials, &m->user, password, len, now))
        return CASP_PW_OK;
    if (casp_directory_root(org->dir, p, deadline, &root, why) != CASP_DIR_OK)
        return CASP_PW_UNAVAILABLE;
    pw = casp_directory_check(org->dir, p,
                              casp_identity_bind_name(p, m, root->is_ad),
                              password, deadline, why);
    if (pw == CASP_PW_OK)
        casp_credentials_remember(org->credentials, &m->user, password, len,
                                  now);
    else if (pw != CASP_PW_UNAVAILABLE)
        casp_credentials_forget(org->credentials, &m->user);
    return pw;
}

casp_pw_e casp_org_check_password_anew(casp_org_t *org, apr_pool_t *p,
                                       const casp_mailbox_t *m,
                                       const char *password, apr_size_t len,
                                       const char **why)
{
    if (!org->ldif)
        casp_credentials_forget(org->credentials, &m->user);
    return casp_org_check_password(org, p, m, password, len, why);
}

const casp_mailbox_t *casp_org_read_anew(casp_org_t *org, apr_pool_t *p,
                                         const casp_mailbox_t *m)
{
    const char *sam = casp_mailbox_text(m, CASP_MB_SAM), *why = NULL;
    casp_user_key_t key = {CASP_KEY_LOGON,
                           casp_mailbox_text(m, CASP_MB_NETBIOS), sam,
                           strlen(sam)};
    casp_topology_t *t = casp_org_topology(org);
    const casp_mailbox_t *fresh = NULL;
    casp_cache_e how;

    if (!t || org->ldif || !*sam)
        fresh = NULL;
    else {
        casp_mailboxes_forget(org->mailboxes, &key);
        if (casp_org_find(org, p, t, &key, 0, &fresh, &how, &why)
            != CASP_FIND_OK)
            fresh = NULL;
    }
    if (t)
        casp_topology_unref(t);
    return fresh;
}

const casp_cache2_t *casp_org_second(const casp_org_t *org)
{
    return org->second;
}

casp_directory_t *casp_org_directory(const casp_org_t *org)
{
    return org->ldif ? NULL : org->dir;
}

void casp_org_end_session(casp_org_t *org, const unsigned char *id,
                          apr_time_t until)
{
    casp_ended_note(org->ended, id, until, apr_time_now());
}

bool casp_org_session_ended(casp_org_t *org, const unsigned char *id)
{
    return casp_ended_is(org->ended, id, apr_time_now());
}

apr_interval_time_t casp_org_patience(const casp_org_t *org)
{
    return apr_time_from_sec(org->settings->timeout_search);
}

const casp_directory_stats_t *casp_org_stats(const casp_org_t *org)
{
    return org->dir ? casp_directory_stats(org->dir) : NULL;
}

void casp_org_mailbox_stats(casp_org_t *org, casp_mailbox_stats_t *stats)
{
    casp_mailboxes_stats(org->mailboxes, stats);
}

const char *casp_org_name(const casp_org_t *org)
{
    return org->name;
}
