/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file gsscache.h
 * Who is logged on to which host with what, and whose turn it is to ask a
 * KDC: private to gssclient.c.
 *
 * A user has a seat, and a seat has a login: tickets that are counted and
 * never changed, only replaced.  One thread at a time asks a KDC for a seat;
 * the lock is never held meanwhile.
 */

#ifndef CASP_GSSCACHE_H
#define CASP_GSSCACHE_H

#include "gssclient.h"

#define CASP_GSS_TAG 32 /**< bytes of a seat's tag */
#define CASP_GSS_HOSTS 32 /**< hosts of one login; then a new one is got */
#define CASP_GSS_INSIDE 16 /**< threads that ask a KDC at once */

typedef struct casp_gss_cache_t casp_gss_cache_t;
typedef struct casp_gss_seat_t casp_gss_seat_t;
typedef struct casp_gss_login_t casp_gss_login_t;

/** How long threads wait and troubles last. */
typedef struct {
    apr_interval_time_t turn; /**< for another thread's answer */
    apr_interval_time_t inside; /**< to be one of CASP_GSS_INSIDE */
    apr_interval_time_t slow; /**< a KDC that somebody waits for as long is
                                   not asked by others */
    apr_interval_time_t rest; /**< of a realm without a KDC */
    apr_interval_time_t refused; /**< a KDC's no is believed */
} casp_gss_times_t;

/** @return NULL: no memory, no lock */
casp_gss_cache_t *casp_gss_cache_create(int size,
                                        const casp_gss_times_t *times);
/** Forget all and let nobody in any more; freed when the last seat that is in
 *  use is left. */
void casp_gss_cache_end(casp_gss_cache_t *c);

/** The seat of a user and tag, made where there is none, the least recently
 *  used one giving way. @return NULL: ended, or no memory */
casp_gss_seat_t *casp_gss_seat_enter(casp_gss_cache_t *c,
                                     const casp_guid_t *user,
                                     const unsigned char *tag);
/** A seat that no list has: the front's own. */
casp_gss_seat_t *casp_gss_seat_alone(casp_gss_cache_t *c);
void casp_gss_seat_leave(casp_gss_seat_t *seat);
/** All seats of a user; those in use go when they are left. */
void casp_gss_cache_forget(casp_gss_cache_t *c, const casp_guid_t *user);
int casp_gss_cache_count(casp_gss_cache_t *c);

/** Tickets are counted: hold and drop. */
void *casp_gss_login_tickets(const casp_gss_login_t *login);
/** @param end frees the tickets, without a lock held */
casp_gss_login_t *casp_gss_login_make(void *tickets,
                                      void (*end)(void *tickets),
                                      apr_interval_time_t life);
void casp_gss_login_drop(casp_gss_cache_t *c, casp_gss_login_t *login);

typedef enum {
    CASP_TURN_KEPT = 0, /**< use @a login; no KDC is needed */
    CASP_TURN_ASK, /**< this thread asks, and says landed, refused or failed;
                        a @a login lacks nothing but the host */
    CASP_TURN_REFUSED, /**< a KDC said no a moment ago: @a why */
    CASP_TURN_LATE /**< another thread asks, for too long */
} casp_turn_e;

/**
 * @param host  NULL: any; the login alone counts
 * @param login to be dropped
 * @param why   of malloc(), where it was refused; to be freed
 */
casp_turn_e casp_gss_seat_turn(casp_gss_seat_t *seat, const char *host,
                               casp_gss_login_t **login, casp_gss_e *verdict,
                               char **why);
/** The KDC gave: keep @a login (the caller's hold stays the caller's), good
 *  for @a host as long as @a life. */
void casp_gss_seat_landed(casp_gss_seat_t *seat, casp_gss_login_t *login,
                          const char *host, apr_interval_time_t life);
/** It said no: for a while nobody asks again. @a host NULL: for all. */
void casp_gss_seat_refused(casp_gss_seat_t *seat, const char *host,
                           casp_gss_e verdict, const char *why);
/** It did not answer. @return a login that still holds, or NULL */
casp_gss_login_t *casp_gss_seat_failed(casp_gss_seat_t *seat,
                                       const char *host);

/** One of a few who may be in a KDC call. @return their place, or -1: waited
 *  too long */
int casp_gss_cache_inside(casp_gss_cache_t *c, const char *realm);
void casp_gss_cache_outside(casp_gss_cache_t *c, int place);

/** A realm's KDC did not answer, or did. @return true: it is news */
bool casp_gss_cache_rest(casp_gss_cache_t *c, const char *realm);
bool casp_gss_cache_awake(casp_gss_cache_t *c, const char *realm);
bool casp_gss_cache_resting(casp_gss_cache_t *c, const char *realm);

#endif /* CASP_GSSCACHE_H */
