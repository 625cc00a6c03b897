/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file lease.h
 * Backend connections that carry one user's login: who may use which.
 *
 * A lease belongs to one key (virtual host, target, verified SID, credential)
 * for all its life.  While a request runs it is that request's alone; between
 * requests it lies idle, for its own key only.  This room knows no connection:
 * what a lease carries is its owner's, made and closed by the owner outside
 * of this room's lock.
 */

#ifndef CASP_LEASE_H
#define CASP_LEASE_H

#include "mod_casproxy.h"

typedef struct casp_leases_t casp_leases_t;
typedef struct casp_lease_t casp_lease_t;

typedef struct {
    int max; /**< in this process, idle ones among them */
    int per_key; /**< of one user at one target */
    apr_interval_time_t ttl; /**< an idle one is closed after it */
    /** Close what a lease carries; called without a lock held, once. */
    void (*close)(void *carries);
} casp_lease_conf_t;

/** Memory from malloc(); ends with the process.  @return NULL: no memory */
casp_leases_t *casp_leases_create(const casp_lease_conf_t *conf);
/** Close all that is idle and free; nothing may be out (tests). */
void casp_leases_destroy(casp_leases_t *l);

typedef enum {
    CASP_LEASE_IDLE = 0, /**< one that was used before */
    CASP_LEASE_NEW, /**< an empty one: carries is NULL, to be filled */
    CASP_LEASE_FULL /**< a bound is reached and nothing idle can give way */
} casp_lease_e;

/**
 * Take a lease.  The one used last of the key's idle ones; else a new one, for
 * which the longest idle one of any key gives way where the table is full.
 * @param key any bytes; compared as a whole
 * @param tag names a user for casp_leases_drop(); copied
 */
casp_lease_e casp_lease_take(casp_leases_t *l, const void *key,
                             apr_size_t key_len, const casp_guid_t *tag,
                             apr_time_t now, casp_lease_t **lease);
/** What it carries; the holder only. */
void *casp_lease_carries(const casp_lease_t *lease);
void casp_lease_fill(casp_lease_t *lease, void *carries);
/**
 * Give it back.
 * @param keep false: its login is no longer sure; it is closed.  So is one
 *             whose user was dropped while it was out.
 */
void casp_lease_put(casp_leases_t *l, casp_lease_t *lease, bool keep,
                    apr_time_t now);
/** The user's logins are over: idle ones are closed now, others when they
 *  come back. */
void casp_leases_drop(casp_leases_t *l, const casp_guid_t *tag);
/** About once a second: close what has been idle for longer than ttl. */
void casp_leases_tick(casp_leases_t *l, apr_time_t now);

typedef struct {
    int out, idle;
    apr_uint32_t made, reused, evicted, refused;
} casp_lease_stats_t;
void casp_leases_stats(casp_leases_t *l, casp_lease_stats_t *stats);

#endif /* CASP_LEASE_H */
