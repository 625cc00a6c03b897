/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Pools of connections: who may use which, how many there are, and in which
 * order servers are tried.
 *
 *   request threads    take a place in a list, and wait here, with a bound
 *   connector threads  look up names, dial, shake hands, bind (dircrew.c)
 *   guard thread       shuts a socket down when its deadline has come
 *
 * Each server has an apr_reslist per kind of connection.  Their
 * constructor and destructor run under the list's lock, so neither may wait:
 * a new place is empty, and a connector fills it.  An apr_reslist's own wait
 * is no deadline either (each wake-up starts it anew), so places are counted
 * here and the list never has to wait.
 */

#include <signal.h>
#include <string.h>

#include <apr_reslist.h>
#include <openssl/crypto.h>

#include "dirpool.h"

#define STOP_WAIT apr_time_from_msec(900)

struct casp_slot_t {
    casp_dirpool_t *pool;
    int server;
    casp_linkkind_e kind;
    casp_link_t *link;
};

void casp_dirpool_fault(casp_dirpool_t *pool, int server,
                        const casp_dirwhy_t *why)
{
    casp_dirpool_lock(pool);
    casp_dircrew_failed(pool, &pool->servers[server], why);
    casp_dircrew_unlock(pool);
}

const casp_directory_root_t *casp_dirpool_root(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    const casp_directory_root_t *root = pool->have_root ? &pool->shown : NULL;
    casp_dirpool_unlock(pool);
    return root;
}

/* --------------------------------------------------------- request side */

bool casp_dirpool_enter(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    bool open = pool->started && !pool->stopping;
    if (open) {
        pool->inside++;
    }
    casp_dirpool_unlock(pool);
    return open;
}

void casp_dirpool_leave(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    if (--pool->inside == 0 && pool->stopping) {
        (void)pthread_cond_broadcast(&pool->gone);
    }
    casp_dirpool_unlock(pool);
}

/* Locked.  One look at a time, so that one connector stays for requests. */
static void probe(casp_dirpool_t *pool, int server)
{
    for (int i = 0; i < pool->nservers; i++) {
        if (pool->servers[i].probing) {
            return;
        }
    }
    casp_dirserver_t *s = &pool->servers[server];
    apr_time_t now = apr_time_now();
    s->probing = true;
    s->rests_until = now + pool->conf.rest;
    /* The service's kind also reads, which shows more than a connect. */
    (void)casp_dircrew_queue(pool, server,
                             s->denied_until > now ? CASP_LINK_USER
                                                   : CASP_LINK_SERVICE,
                             true);
}

int casp_dirpool_plan(casp_dirpool_t *pool, int *order)
{
    int n = 0;
    casp_dirpool_lock(pool);
    for (int i = 0; i < pool->nservers; i++) {
        if (!pool->servers[i].down) {
            order[n++] = i;
        }
    }
    int up = n;
    apr_time_t now = apr_time_now();
    for (int i = 0; i < pool->nservers; i++) {
        casp_dirserver_t *s = &pool->servers[i];
        if (s->down) {
            order[n++] = i;
            if (up && s->rests_until <= now) {
                /* Better found out beside a request than during one. */
                probe(pool, i);
            }
        }
    }
    casp_dirpool_unlock(pool);
    return up ? up : n;
}

/* Locked.  Wait for room in the list, so that the reslist need not. */
static casp_wire_e take_room(casp_dirpool_t *pool, casp_dirlist_t *list,
                             apr_time_t deadline, casp_dirwhy_t *why)
{
    while (!pool->stopping && list->out >= pool->conf.pool_hmax) {
        if (apr_time_now() >= deadline) {
            casp_dirwire_say(why,
                             "all %d connections are in use; raise "
                             "hmax in CasProxyDirectoryPool",
                             pool->conf.pool_hmax);
            return CASP_WIRE_FULL;
        }
        casp_dirpool_wait(pool, &list->room, deadline);
    }
    if (pool->stopping) {
        casp_dirwire_say(why, "stopping");
        return CASP_WIRE_FULL;
    }
    list->out++;
    return CASP_WIRE_OK;
}

static void give_room(casp_dirpool_t *pool, casp_dirlist_t *list)
{
    casp_dirpool_lock(pool);
    list->out--;
    (void)pthread_cond_signal(&list->room);
    casp_dirpool_unlock(pool);
}

/* Locked.  A connection by way of a connector. */
static casp_wire_e connect_link(casp_dirpool_t *pool, int server,
                                casp_linkkind_e kind, apr_time_t deadline,
                                casp_link_t **link, casp_dirwhy_t *why)
{
    casp_dirserver_t *s = &pool->servers[server];
    apr_time_t now = apr_time_now();
    if (kind == CASP_LINK_SERVICE && s->denied_until > now) {
        *why = s->denied_why;
        return CASP_WIRE_DENIED;
    }
    casp_dirjob_t *job = casp_dircrew_queue(pool, server, kind, false);
    /* A little longer than the connector has, so that it can say why. */
    apr_time_t patience = job->deadline + apr_time_from_msec(100);
    return casp_dircrew_await(pool, job,
                              deadline < patience ? deadline : patience, link,
                              why);
}

/* May this connection, idle until now, be used? */
static bool usable(const casp_dirpool_t *pool, const casp_link_t *link,
                   bool fresh)
{
    return link && !fresh && !link->broken && casp_dirwire_alive(link)
           && apr_time_now() - link->idle_since < pool->conf.pool_ttl;
}

static casp_wire_e fill(casp_dirpool_t *pool, casp_slot_t *slot, bool fresh,
                        apr_time_t deadline, casp_dirwhy_t *why)
{
    if (usable(pool, slot->link, fresh)) {
        return CASP_WIRE_OK;
    }
    casp_dircrew_free_link(slot->link);
    slot->link = NULL;
    casp_dirpool_lock(pool);
    casp_dirlist_t *list = &pool->servers[slot->server].lists[slot->kind];
    casp_link_t *spare = list->spare;
    list->spare = NULL;
    casp_dirpool_unlock(pool);
    if (usable(pool, spare, fresh)) {
        slot->link = spare;
        return CASP_WIRE_OK;
    }
    casp_dircrew_free_link(spare);
    casp_dirpool_lock(pool);
    casp_wire_e wire = connect_link(pool, slot->server, slot->kind, deadline,
                                    &slot->link, why);
    casp_dircrew_unlock(pool);
    return wire;
}

casp_wire_e casp_dirpool_get(casp_dirpool_t *pool, int server,
                             casp_linkkind_e kind, bool fresh,
                             apr_time_t deadline, casp_slot_t **slot,
                             casp_dirwhy_t *why)
{
    casp_dirlist_t *list = &pool->servers[server].lists[kind];
    *slot = NULL;
    casp_dirpool_lock(pool);
    casp_wire_e wire = take_room(pool, list, deadline, why);
    casp_dirpool_unlock(pool);
    if (wire != CASP_WIRE_OK) {
        return wire;
    }
    void *place = NULL;
    apr_status_t rv = apr_reslist_acquire(list->places, &place);
    if (rv != APR_SUCCESS) {
        give_room(pool, list);
        casp_dirwire_say(why, "no place for a connection");
        return CASP_WIRE_FULL;
    }
    casp_slot_t *s = place;
    s->server = server;
    s->kind = kind;
    wire = fill(pool, s, fresh, deadline, why);
    if (wire != CASP_WIRE_OK) {
        casp_dirpool_put(pool, s);
        return wire;
    }
    *slot = s;
    return CASP_WIRE_OK;
}

casp_link_t *casp_dirpool_link(casp_slot_t *slot)
{
    return slot->link;
}

void casp_dirpool_put(casp_dirpool_t *pool, casp_slot_t *slot)
{
    casp_dirlist_t *list = &pool->servers[slot->server].lists[slot->kind];
    if (slot->link && !slot->link->broken) {
        slot->link->idle_since = apr_time_now();
        (void)apr_reslist_release(list->places, slot);
    }
    else {
        (void)apr_reslist_invalidate(list->places, slot);
    }
    give_room(pool, list);
}

static void lists_end(casp_dirpool_t *pool);

void casp_dirpool_lend(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    pool->lent++;
    pool->refs++;
    casp_dirpool_unlock(pool);
}

void casp_dirpool_return(casp_dirpool_t *pool, casp_slot_t *slot)
{
    casp_dirpool_put(pool, slot);
    casp_dirpool_lock(pool);
    bool last = --pool->lent == 0 && pool->left;
    pool->left = pool->left && !last;
    casp_dirpool_unlock(pool);
    if (last) {
        lists_end(pool);
    }
    casp_dirpool_unref(pool);
}

/* ----------------------------------------------------- making and ending */

static apr_status_t place_make(void **place, void *params, apr_pool_t *p)
{
    (void)p; /* one pool for all threads: nothing may come from it */
    casp_slot_t *slot = casp_dirpool_grab(sizeof(*slot));
    slot->pool = params;
    *place = slot;
    return APR_SUCCESS;
}

static apr_status_t place_free(void *place, void *params, apr_pool_t *p)
{
    (void)params, (void)p;
    casp_slot_t *slot = place;
    casp_dircrew_free_link(slot->link);
    free(slot);
    return APR_SUCCESS;
}

static const char *keep(const char *text)
{
    if (!text) {
        return NULL;
    }
    char *copy = casp_dirpool_grab(strlen(text) + 1);
    return strcpy(copy, text);
}

static void drop(const char *text)
{
    free((char *)(uintptr_t)text);
}
casp_dirpool_t *casp_dirpool_make(const casp_dirwire_conf_t *wire,
                                  const casp_dirpool_conf_t *conf,
                                  const casp_dirtarget_t *targets,
                                  int ntargets)
{
    casp_dirpool_t *pool = casp_dirpool_grab(sizeof(*pool));
    pool->wire = *wire;
    pool->wire.bind_name = keep(wire->bind_name);
    pool->wire.bind_secret = keep(wire->bind_secret);
    pool->wire.keytab = keep(wire->keytab);
    pool->wire.ca_file = keep(wire->ca_file);
    pool->conf = *conf;
    pool->refs = 1;
    pool->guard_wakes = CASP_DIR_NEVER;
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->gone, NULL);
    (void)pthread_cond_init(&pool->work, NULL);
    (void)pthread_cond_init(&pool->guard, NULL);
    pool->nservers = ntargets;
    pool->servers =
        casp_dirpool_grab(sizeof(casp_dirserver_t) * (apr_size_t)ntargets);
    for (int i = 0; i < ntargets; i++) {
        casp_dirserver_t *s = &pool->servers[i];
        s->target = targets[i];
        s->target.url = keep(targets[i].url);
        s->target.uri = keep(targets[i].uri);
        s->target.host = keep(targets[i].host);
        s->target.port = keep(targets[i].port);
        for (int k = 0; k < CASP_LINK_KINDS; k++) {
            (void)pthread_cond_init(&s->lists[k].room, NULL);
        }
    }
    return pool;
}

static void pool_free(casp_dirpool_t *pool)
{
    for (int i = 0; i < pool->nservers; i++) {
        casp_dirserver_t *s = &pool->servers[i];
        drop(s->target.url);
        drop(s->target.uri);
        drop(s->target.host);
        drop(s->target.port);
        for (int k = 0; k < CASP_LINK_KINDS; k++) {
            (void)pthread_cond_destroy(&s->lists[k].room);
        }
    }
    if (pool->wire.bind_secret) {
        OPENSSL_cleanse((char *)(uintptr_t)pool->wire.bind_secret,
                        strlen(pool->wire.bind_secret));
    }
    drop(pool->wire.bind_name);
    drop(pool->wire.bind_secret);
    drop(pool->wire.keytab);
    drop(pool->wire.ca_file);
    casp_dirwire_root_clear(&pool->root);
    (void)pthread_cond_destroy(&pool->gone);
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->guard);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool->servers);
    free(pool);
}

void casp_dirpool_ref(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    pool->refs++;
    casp_dirpool_unlock(pool);
}

void casp_dirpool_unref(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    bool last = --pool->refs == 0;
    casp_dirpool_unlock(pool);
    if (last) {
        pool_free(pool);
    }
}

static apr_status_t lists_make(casp_dirpool_t *pool)
{
    const casp_dirpool_conf_t *c = &pool->conf;
    apr_status_t rv = apr_pool_create_unmanaged_ex(&pool->p, NULL, NULL);
    for (int i = 0; rv == APR_SUCCESS && i < pool->nservers; i++) {
        for (int k = 0; rv == APR_SUCCESS && k < CASP_LINK_KINDS; k++) {
            casp_dirlist_t *list = &pool->servers[i].lists[k];
            rv = apr_reslist_create(&list->places, c->pool_min, c->pool_smax,
                                    c->pool_hmax, c->pool_ttl, place_make,
                                    place_free, pool, pool->p);
            if (rv == APR_SUCCESS) {
                apr_reslist_timeout_set(list->places,
                                        pool->wire.search_timeout);
                apr_reslist_cleanup_order_set(list->places,
                                              APR_RESLIST_CLEANUP_FIRST);
            }
        }
    }
    return rv;
}

/* A write to a server that has gone must be an error, not the process's
 * end.  httpd has seen to that; a command-line program may not have. */
static void ignore_sigpipe(void)
{
    struct sigaction now;
    if (sigaction(SIGPIPE, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO)
        && now.sa_handler == SIG_DFL) {
        now.sa_handler = SIG_IGN;
        (void)sigaction(SIGPIPE, &now, NULL);
    }
}

apr_status_t casp_dirpool_start(casp_dirpool_t *pool)
{
    ignore_sigpipe();
    casp_dirpool_lock(pool);
    pool->started = true;
    casp_dirpool_unlock(pool);
    apr_status_t rv = lists_make(pool);
    if (rv == APR_SUCCESS) {
        rv = casp_dircrew_start(pool);
    }
    if (rv != APR_SUCCESS) {
        casp_dirpool_stop(pool);
    }
    return rv;
}

static void lists_end(casp_dirpool_t *pool)
{
    if (pool->p) {
        apr_pool_destroy(pool->p);
        pool->p = NULL;
    }
    for (int i = 0; i < pool->nservers; i++) {
        for (int k = 0; k < CASP_LINK_KINDS; k++) {
            casp_dirlist_t *list = &pool->servers[i].lists[k];
            casp_dircrew_free_link(list->spare);
            list->spare = NULL;
        }
    }
}

void casp_dirpool_stop(casp_dirpool_t *pool)
{
    casp_dirpool_lock(pool);
    if (pool->stopping) {
        casp_dirpool_unlock(pool);
        return;
    }
    casp_dircrew_halt(pool);
    apr_time_t deadline = apr_time_now() + STOP_WAIT;
    while ((pool->inside > 0 || !casp_dircrew_gone(pool))
           && apr_time_now() < deadline) {
        casp_dirpool_wait(pool, &pool->gone, deadline);
    }
    bool idle = pool->inside == 0;
    /* A reslist aborts the process where a resource is out. */
    pool->left = idle && pool->lent > 0;
    bool ours = idle && !pool->left;
    casp_dirpool_unlock(pool);
    if (!casp_dircrew_join(pool)) {
        casp_log(CASP_LOG_WARNING, 0,
                 CASPLOGNO(0305) "a connector is still looking up a name and "
                                 "is left behind; check DNS");
    }
    if (ours) {
        lists_end(pool);
    }
    else if (!idle) {
        casp_log(
            CASP_LOG_WARNING, 0,
            CASPLOGNO(0306) "a request is still in the directory at "
                            "its end; its connections are left to the system");
    }
}
