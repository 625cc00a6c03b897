/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file dirpool.h
 * Private to dirpool.c and dircrew.c: what requests and the crew's threads
 * share, all of it under one lock.
 *
 * The lock is held for a few instructions, never over a wait or a call into
 * libldap.  A reslist's own lock is taken before it, never after.
 *
 * Memory is from malloc() and counted, and locks are the C library's: a
 * connector caught in getaddrinfo() is left behind at a stop, and what it
 * touches afterwards must not have died with a pool.
 */

#ifndef CASP_DIRPOOL_H
#define CASP_DIRPOOL_H

#include <pthread.h>
#include <stdlib.h>

#include <apr_reslist.h>

#include "dirwire.h"

#define CASP_DIR_CONNECTORS 2
#define CASP_DIR_THREADS (CASP_DIR_CONNECTORS + 1)
#define CASP_DIR_NEVER ((apr_time_t)INT64_MAX)

typedef enum {
    CASP_DIRJOB_QUEUED = 0,
    CASP_DIRJOB_RUNNING,
    CASP_DIRJOB_DONE
} casp_dirjob_e;

/** A wish for a connection.  Freed by the waiter, or, where that one has
 * gone, by the connector. */
typedef struct casp_dirjob_t casp_dirjob_t;
struct casp_dirjob_t {
    int server;
    casp_linkkind_e kind;
    apr_time_t deadline;
    bool waited; /**< somebody waits for it */
    bool probe; /**< a look at a resting server */
    casp_dirjob_e state;
    pthread_cond_t done;
    casp_wire_e wire;
    casp_link_t *link;
    casp_dirwhy_t why;
    casp_dirjob_t *next;
};

/** Something to be logged once the lock is released. */
typedef struct casp_dirnote_t casp_dirnote_t;
struct casp_dirnote_t {
    casp_log_e level;
    char text[800];
    casp_dirnote_t *next;
};

/** Connections of one kind to one server. */
typedef struct {
    apr_reslist_t *places;
    int out; /**< places that are out */
    pthread_cond_t room;
    casp_link_t *spare; /**< came too late for the one who wanted it */
} casp_dirlist_t;

typedef struct {
    casp_dirtarget_t target;
    casp_dirlist_t lists[CASP_LINK_KINDS];
    int busy; /**< connectors at work on it */
    bool down, probing;
    apr_time_t rests_until;
    /** The service's bind was refused; the server itself is well. */
    apr_time_t denied_until;
    int denials;
    casp_dirwhy_t denied_why;
    bool root_known;
} casp_dirserver_t;

typedef struct {
    pthread_t thread;
    casp_dirpool_t *pool;
    casp_dirjob_t *job; /**< at work on it */
    bool exited;
} casp_dirworker_t;

struct casp_dirpool_t {
    casp_dirwire_conf_t wire;
    casp_dirpool_conf_t conf;
    int nservers;
    casp_dirserver_t *servers;
    apr_pool_t *p; /**< for the lists only */

    pthread_mutex_t lock;
    int refs;
    bool started, stopping;
    int inside; /**< request threads */
    int lent; /**< places that are out without a thread inside */
    bool left; /**< stopped, and the last of those ends the lists */
    pthread_cond_t gone, work, guard;
    casp_dirnote_t *notes;
    casp_dirjob_t *jobs; /**< oldest first; not the running ones */
    casp_link_t *links;
    apr_time_t guard_wakes;
    casp_dirworker_t workers[CASP_DIR_THREADS];
    int nworkers;
    bool have_root;
    casp_dirwire_root_t root;
    casp_directory_root_t shown;
};

static inline void casp_dirpool_lock(casp_dirpool_t *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
}

static inline void casp_dirpool_unlock(casp_dirpool_t *pool)
{
    (void)pthread_mutex_unlock(&pool->lock);
}

/** Wait, locked, until woken or until an absolute time. */
static inline void casp_dirpool_wait(casp_dirpool_t *pool,
                                     pthread_cond_t *cond, apr_time_t when)
{
    if (when == CASP_DIR_NEVER) {
        (void)pthread_cond_wait(cond, &pool->lock);
        return;
    }
    struct timespec ts;
    ts.tv_sec = (time_t)apr_time_sec(when);
    ts.tv_nsec = (long)apr_time_usec(when) * 1000;
    (void)pthread_cond_timedwait(cond, &pool->lock, &ts);
}

/** Zeroed memory; without any left it aborts, as httpd does. */
static inline void *casp_dirpool_grab(apr_size_t size)
{
    void *mem = calloc(1, size);
    if (!mem) {
        abort();
    }
    return mem;
}

/* -------------------------------------------------------------- dircrew.c */

/** Start the guard and the connectors. */
apr_status_t casp_dircrew_start(casp_dirpool_t *pool);

/** Locked.  Wake everybody up; no wait on a server is left. */
void casp_dircrew_halt(casp_dirpool_t *pool);

/** Locked.  Have all threads of the crew ended? */
bool casp_dircrew_gone(const casp_dirpool_t *pool);

/** Join those that have ended; false: some are left behind. */
bool casp_dircrew_join(casp_dirpool_t *pool);

/** Close and free; never waits.  Not with the lock held; NULL is fine. */
void casp_dircrew_free_link(casp_link_t *link);

/** Locked.  A new job, queued; a probe has no waiter, any other has. */
casp_dirjob_t *casp_dircrew_queue(casp_dirpool_t *pool, int server,
                                  casp_linkkind_e kind, bool probe);

/**
 * Locked.  Wait for a connector's work; the job is gone afterwards.
 * @param link set where it is CASP_WIRE_OK
 */
casp_wire_e casp_dircrew_await(casp_dirpool_t *pool, casp_dirjob_t *job,
                               apr_time_t deadline, casp_link_t **link,
                               casp_dirwhy_t *why);

/** Release the lock and log what was noted under it. */
void casp_dircrew_unlock(casp_dirpool_t *pool);

/** Locked.  Note a failure and let the server rest. */
void casp_dircrew_failed(casp_dirpool_t *pool, casp_dirserver_t *s,
                         const casp_dirwhy_t *why);

#endif /* CASP_DIRPOOL_H */
