/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * lease.c - which backend connection belongs to whose login.
 *
 * Some logins prove a user once for a whole connection; what comes over it
 * later is that user's, whoever sends it.  So the one question that counts
 * here is who may have which connection, and the answer is kept in one place:
 * a record has a key for all its life, is either out or idle, and only an idle
 * one of exactly the same key is ever given out again.
 *
 * Closing is slow (TLS says goodbye, pools are torn down) and so never happens
 * under the lock.  A record that is to be closed counts until it has been, and
 * is in no list from which it could be given out.  So the bound holds for
 * connections and not only for records: where one gives way to another, it is
 * closed before the other one is handed over.
 *
 * All of it is one lock and short walks: a key's records share a chain.
 *
 * Must not: know what a lease carries, wait, log, or read a clock.
 */

#include "lease.h"

#include <stdlib.h>
#include <string.h>

#include <apr_thread_mutex.h>
#include <openssl/rand.h>

#include "entry.h"

#define BUCKETS_MAX (1u << 16)

typedef enum {
    OUT = 0, /* a holder's */
    IDLE, /* in the list of idle ones */
    ENDING /* somebody is closing it; nobody else finds it */
} lease_state_e;

struct casp_lease_t {
    casp_lease_t *next; /* in its key's chain */
    casp_lease_t *older, *younger; /* IDLE: by when it came back */
    casp_lease_t *ending; /* ENDING: the next one to be closed */
    uint64_t hash;
    uint64_t turn; /* IDLE: the table's count when it came back */
    apr_time_t since; /* IDLE: when that was */
    void *carries;
    lease_state_e state;
    bool dropped; /* its user's logins ended while it was out */
    casp_guid_t tag;
    apr_size_t key_len;
    unsigned char key[];
};

struct casp_leases_t {
    apr_pool_t *pool; /* for the lock alone */
    apr_thread_mutex_t *lock;
    casp_lease_conf_t conf;
    casp_lease_t **buckets;
    uint64_t mask, seed, turn;
    casp_lease_t *oldest, *youngest; /* of the idle ones */
    int records; /* out, idle and ending */
    casp_lease_stats_t stats;
};

/* ------------------------------------------------------------------ table */

casp_leases_t *casp_leases_create(const casp_lease_conf_t *conf)
{
    casp_leases_t *l = calloc(1, sizeof(*l));
    uint64_t buckets = 16;

    if (!l) {
        return NULL;
    }
    while (buckets < (uint64_t)(conf->max > 0 ? conf->max : 0)
           && buckets < BUCKETS_MAX) {
        buckets *= 2;
    }
    l->conf = *conf;
    l->mask = buckets - 1;
    l->buckets = calloc((size_t)buckets, sizeof(casp_lease_t *));
    if (!l->buckets
        || RAND_bytes((unsigned char *)&l->seed, sizeof(l->seed)) != 1
        || apr_pool_create_unmanaged_ex(&l->pool, NULL, NULL) != APR_SUCCESS
        || apr_thread_mutex_create(&l->lock, APR_THREAD_MUTEX_DEFAULT, l->pool)
               != APR_SUCCESS) {
        if (l->pool) {
            apr_pool_destroy(l->pool);
        }
        free(l->buckets);
        free(l);
        return NULL;
    }
    return l;
}

/* FNV-1a from a seed of its own.  Keys hold a MAC of ours: nobody outside can
 * prepare collisions, and one would cost a longer walk, no more. */
static uint64_t hash_of(const casp_leases_t *l, const unsigned char *key,
                        apr_size_t len)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ l->seed;

    for (apr_size_t i = 0; i < len; i++) {
        hash = (hash ^ key[i]) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}

static bool has_key(const casp_lease_t *lease, uint64_t hash, const void *key,
                    apr_size_t len)
{
    return lease->hash == hash && lease->key_len == len
           && (len == 0 || memcmp(lease->key, key, len) == 0);
}

static void idle_insert(casp_leases_t *l, casp_lease_t *lease, apr_time_t now)
{
    lease->state = IDLE;
    lease->since = now;
    lease->turn = ++l->turn;
    lease->younger = NULL;
    lease->older = l->youngest;
    if (l->youngest) {
        l->youngest->younger = lease;
    }
    else {
        l->oldest = lease;
    }
    l->youngest = lease;
    l->stats.idle++;
}

static void idle_remove(casp_leases_t *l, casp_lease_t *lease,
                        lease_state_e state)
{
    if (lease->younger) {
        lease->younger->older = lease->older;
    }
    else {
        l->youngest = lease->older;
    }
    if (lease->older) {
        lease->older->younger = lease->younger;
    }
    else {
        l->oldest = lease->younger;
    }
    lease->older = lease->younger = NULL;
    lease->state = state;
    l->stats.idle--;
}

static void unchain(casp_leases_t *l, casp_lease_t *lease)
{
    casp_lease_t **at = &l->buckets[lease->hash & l->mask];

    while (*at != lease) {
        at = &(*at)->next;
    }
    *at = lease->next;
    l->records--;
}

static bool is_old(const casp_leases_t *l, const casp_lease_t *lease,
                   apr_time_t now)
{
    return now - lease->since > l->conf.ttl;
}

/* Without a lock held. */
static void close_carried(const casp_leases_t *l, void *carries)
{
    if (carries && l->conf.close) {
        l->conf.close(carries);
    }
}

/* The records of a list are ENDING.  Without a lock held; afterwards they are
 * no more. */
static void end(casp_leases_t *l, casp_lease_t *list)
{
    if (!list) {
        return;
    }
    for (casp_lease_t *lease = list; lease; lease = lease->ending) {
        close_carried(l, lease->carries);
    }
    apr_thread_mutex_lock(l->lock);
    for (casp_lease_t *lease = list; lease; lease = lease->ending) {
        unchain(l, lease);
    }
    apr_thread_mutex_unlock(l->lock);
    while (list) {
        casp_lease_t *lease = list;
        list = lease->ending;
        free(lease);
    }
}

void casp_leases_destroy(casp_leases_t *l)
{
    casp_lease_t *list = NULL;

    if (!l) {
        return;
    }
    while (l->oldest) {
        casp_lease_t *lease = l->oldest;
        idle_remove(l, lease, ENDING);
        lease->ending = list;
        list = lease;
    }
    end(l, list);
    apr_pool_destroy(l->pool);
    free(l->buckets);
    free(l);
}

/* ------------------------------------------------------------------- take */

typedef struct {
    casp_lease_t *idle; /* the youngest idle one of the key */
    int count; /* of all of the key */
} found_t;

static found_t find(const casp_leases_t *l, uint64_t hash, const void *key,
                    apr_size_t len)
{
    found_t found = {NULL, 0};

    for (casp_lease_t *lease = l->buckets[hash & l->mask]; lease;
         lease = lease->next) {
        if (!has_key(lease, hash, key, len)) {
            continue;
        }
        found.count++;
        if (lease->state == IDLE
            && (!found.idle || lease->turn > found.idle->turn)) {
            found.idle = lease;
        }
    }
    return found;
}

/* Does a new record fit in?  Where the longest idle one has to give way, it
 * has left the table, and the caller closes and frees it. */
static bool make_room(casp_leases_t *l, int of_key, casp_lease_t **gone)
{
    if (of_key >= l->conf.per_key) {
        return false;
    }
    if (l->records < l->conf.max) {
        return true;
    }
    if (!l->oldest) {
        return false;
    }
    *gone = l->oldest;
    idle_remove(l, *gone, ENDING);
    unchain(l, *gone);
    l->stats.evicted++;
    return true;
}

static void begin(casp_leases_t *l, casp_lease_t *lease)
{
    casp_lease_t **bucket = &l->buckets[lease->hash & l->mask];

    lease->next = *bucket;
    *bucket = lease;
    l->records++;
}

/* An empty record, not in the table yet; made before the lock is taken. */
static casp_lease_t *record(uint64_t hash, const void *key, apr_size_t len,
                            const casp_guid_t *tag)
{
    casp_lease_t *lease = calloc(1, sizeof(*lease) + len);

    if (lease) {
        lease->hash = hash;
        lease->tag = *tag;
        lease->key_len = len;
        if (len) {
            memcpy(lease->key, key, len);
        }
    }
    return lease;
}

/* With the lock held.  @a spare is taken where it is needed, and @a *gone is
 * what the caller has to close and free. */
static casp_lease_e choose(casp_leases_t *l, casp_lease_t **spare,
                           apr_time_t now, casp_lease_t **lease,
                           casp_lease_t **gone)
{
    const casp_lease_t *asked = *spare;
    found_t found = find(l, asked->hash, asked->key, asked->key_len);

    if (found.idle && !is_old(l, found.idle, now)
        && casp_guid_equal(&found.idle->tag, &asked->tag)) {
        idle_remove(l, found.idle, OUT);
        *lease = found.idle;
        l->stats.reused++;
        l->stats.out++;
        return CASP_LEASE_IDLE;
    }
    if (found.idle) { /* too old to be believed; the new one has its place */
        *gone = found.idle;
        idle_remove(l, *gone, ENDING);
        unchain(l, *gone);
    }
    else if (!make_room(l, found.count, gone)) {
        l->stats.refused++;
        return CASP_LEASE_FULL;
    }
    *lease = *spare;
    *spare = NULL;
    begin(l, *lease);
    l->stats.made++;
    l->stats.out++;
    return CASP_LEASE_NEW;
}

casp_lease_e casp_lease_take(casp_leases_t *l, const void *key,
                             apr_size_t key_len, const casp_guid_t *tag,
                             apr_time_t now, casp_lease_t **lease)
{
    casp_lease_t *spare = record(hash_of(l, key, key_len), key, key_len, tag);
    casp_lease_t *gone = NULL;

    *lease = NULL;
    apr_thread_mutex_lock(l->lock);
    casp_lease_e how = CASP_LEASE_FULL;
    if (spare) {
        how = choose(l, &spare, now, lease, &gone);
    }
    else {
        l->stats.refused++;
    }
    apr_thread_mutex_unlock(l->lock);
    free(spare);
    if (gone) {
        close_carried(l, gone->carries);
        free(gone);
    }
    return how;
}

void *casp_lease_carries(const casp_lease_t *lease)
{
    return lease->carries;
}

void casp_lease_fill(casp_lease_t *lease, void *carries)
{
    lease->carries = carries;
}

/* --------------------------------------------------------- put, drop, tick */

void casp_lease_put(casp_leases_t *l, casp_lease_t *lease, bool keep,
                    apr_time_t now)
{
    if (!lease) {
        return;
    }
    apr_thread_mutex_lock(l->lock);
    l->stats.out--;
    keep = keep && lease->carries && !lease->dropped && l->conf.ttl > 0;
    if (keep) {
        idle_insert(l, lease, now);
    }
    else {
        lease->state = ENDING;
    }
    apr_thread_mutex_unlock(l->lock);
    if (!keep) {
        lease->ending = NULL;
        end(l, lease);
    }
}

void casp_leases_drop(casp_leases_t *l, const casp_guid_t *tag)
{
    casp_lease_t *list = NULL;

    apr_thread_mutex_lock(l->lock);
    for (uint64_t i = 0; i <= l->mask; i++) {
        for (casp_lease_t *lease = l->buckets[i]; lease; lease = lease->next) {
            if (lease->state == ENDING || !casp_guid_equal(&lease->tag, tag)) {
                continue;
            }
            if (lease->state == OUT) {
                lease->dropped = true;
                continue;
            }
            idle_remove(l, lease, ENDING);
            lease->ending = list;
            list = lease;
        }
    }
    apr_thread_mutex_unlock(l->lock);
    end(l, list);
}

void casp_leases_tick(casp_leases_t *l, apr_time_t now)
{
    casp_lease_t *list = NULL;

    apr_thread_mutex_lock(l->lock);
    while (l->oldest && is_old(l, l->oldest, now)) {
        casp_lease_t *lease = l->oldest;
        idle_remove(l, lease, ENDING);
        lease->ending = list;
        list = lease;
    }
    apr_thread_mutex_unlock(l->lock);
    end(l, list);
}

void casp_leases_stats(casp_leases_t *l, casp_lease_stats_t *stats)
{
    apr_thread_mutex_lock(l->lock);
    *stats = l->stats;
    apr_thread_mutex_unlock(l->lock);
}
