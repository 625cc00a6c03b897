/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file org.h
 * One directory and all that this process knows of it: connections, the
 * topology snapshot, the mailbox caches, verified passwords.
 */

#ifndef CASP_ORG_H
#define CASP_ORG_H

#include "settings.h"

typedef struct casp_org_t casp_org_t;

/**
 * Who refreshes: processes of one server share a lease, so that one of them
 * asks the directory and the others read what it wrote.  NULL in a process
 * that stands alone.
 */
typedef struct {
    volatile apr_uint32_t generation; /**< counts written snapshots */
    volatile apr_uint32_t lease; /**< seconds (low 32 bits of the clock)
                                           until which somebody refreshes */
    volatile apr_uint32_t next; /**< when the next refresh is due */
    volatile apr_uint32_t lost; /**< an unreadable export was told; or the
                                           state file cannot be written */
    unsigned char key[32]; /**< of verified passwords */
} casp_org_shared_t;

/**
 * Prepare, in the parent: no connection, no thread.
 * @param settings complete; outlives the organisation
 * @param secret   of the bind, or NULL
 * @return NULL or what is wrong
 */
const char *casp_org_create(apr_pool_t *p, const casp_settings_t *settings,
                            const char *secret, casp_org_t **org);

/** The identity of a directory's settings: vhosts with the same one share an
 *  organisation.  Hexadecimal, also the name of the state file. */
const char *casp_org_key(apr_pool_t *p, const casp_settings_t *settings);

/**
 * Start in a process, after the last fork: threads, caches, the state file.
 * @param second may be NULL
 * @param shared may be NULL
 */
apr_status_t casp_org_start(casp_org_t *org, apr_pool_t *p,
                            const casp_cache2_t *second,
                            casp_org_shared_t *shared);

/**
 * The background work, called about once a second by one thread: refresh when
 * it is due, read a newer state file or export.  Bounded by the topology
 * time-out.
 */
void casp_org_tick(casp_org_t *org, apr_time_t now);

/**
 * The process is about to go: a tick in progress ends at once, and so does
 * every wait for the directory.
 */
void casp_org_stop(casp_org_t *org);

/** The snapshot in force, with a reference to give back; NULL: none yet. */
casp_topology_t *casp_org_topology(casp_org_t *org);

/**
 * The same, but in a process that has just begun, wait for the first answer of
 * the directory, good or bad, until the deadline.
 */
casp_topology_t *casp_org_await(casp_org_t *org, apr_time_t deadline);

/** Why there is none, or what failed last; NULL. Never freed under a reader:
 *  copied into @a p. */
const char *casp_org_trouble(casp_org_t *org, apr_pool_t *p);

casp_find_e casp_org_find(casp_org_t *org, apr_pool_t *p,
                          const casp_topology_t *t, const casp_user_key_t *key,
                          apr_time_t deadline, const casp_mailbox_t **mailbox,
                          casp_cache_e *how, const char **why);

/** Judge a password: remembered, or by a bind. An export cannot judge. */
casp_pw_e casp_org_check_password(casp_org_t *org, apr_pool_t *p,
                                  const casp_mailbox_t *m,
                                  const char *password, apr_size_t len,
                                  const char **why);

/** The same, asked of the directory whatever is remembered: a backend has
 *  refused the password. */
casp_pw_e casp_org_check_password_anew(casp_org_t *org, apr_pool_t *p,
                                       const casp_mailbox_t *m,
                                       const char *password, apr_size_t len,
                                       const char **why);

/** The user's record, read from the directory now; NULL: it cannot be. */
const casp_mailbox_t *casp_org_read_anew(casp_org_t *org, apr_pool_t *p,
                                         const casp_mailbox_t *m);

/** The second level of its caches, in a process that was started; NULL. */
const casp_cache2_t *casp_org_second(const casp_org_t *org);

/** The live directory, for a handshake to be relayed; NULL for an export. */
casp_directory_t *casp_org_directory(const casp_org_t *org);

/** A session by form is over: signed out, or its password judged wrong.
 *  @param until when its cookie would be over anyway */
void casp_org_end_session(casp_org_t *org, const unsigned char *id,
                          apr_time_t until);
bool casp_org_session_ended(casp_org_t *org, const unsigned char *id);

/** The time a request may spend on the directory. */
apr_interval_time_t casp_org_patience(const casp_org_t *org);

/** Directory counters; NULL for an export. */
const casp_directory_stats_t *casp_org_stats(const casp_org_t *org);
void casp_org_mailbox_stats(casp_org_t *org, casp_mailbox_stats_t *stats);
const char *casp_org_name(const casp_org_t *org);

#endif /* CASP_ORG_H */
