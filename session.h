/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file session.h
 * What a logon by form leaves behind: a cookie that only the front can read.
 *
 * The server keeps nothing.  A session is its sealed cookie, and the key that
 * seals it is derived from a master secret in a file, the same on all nodes:
 * any node opens what another one sealed, and a restart logs nobody out.
 */

#ifndef CASP_SESSION_H
#define CASP_SESSION_H

#include "cache.h"
#include "identity.h"

#define CASP_SESSION_COOKIE "cadata" /**< sealed; what clients look for */
#define CASP_SESSION_LABEL "sessionid" /**< its id, for logs and clients */
#define CASP_SESSION_TRIES 4 /**< cookies of our name that are looked into */
#define CASP_SESSION_MAX 3800 /**< bytes of a sealed cookie's value */
#define CASP_SESSION_ID 16 /**< bytes */

/* flags, as the logon form posts them */
#define CASP_LOGON_LIGHT 1 /**< the light version of OWA */
#define CASP_LOGON_PRIVATE 4 /**< a private computer: the longer time-out */

/* ------------------------------------------------------------ the key ring */

/** Master secrets, read by the parent; the first one seals, all of them open.
 */
typedef struct casp_ring_t casp_ring_t;

/**
 * Read a key ring: a secret to a line (base64 or hexadecimal of at least 32
 * bytes), "#" begins a comment; newest first; at most 8.
 *
 * The file must be a plain file that belongs to the process's user or root
 * and that nobody else may read or write.  The ring is wiped with @a p.
 * @param create where there is no such file, make it with one random secret
 *               (0600, written whole or not at all)
 * @return NULL, or a sentence that names the file and the remedy, and holds no
 *         byte of a secret
 */
const char *casp_ring_load(apr_pool_t *p, const char *path, bool create,
                           casp_ring_t **ring);

/* ------------------------------------------------------------- the sessions */

typedef struct {
    unsigned char id[CASP_SESSION_ID];
    int flags; /**< CASP_LOGON_* */
    apr_time_t began; /**< the logon, to the second */
    int64_t password_set; /**< the directory's pwdLastSet then; 0: unknown */
    const char *name; /**< as typed, UTF-8 */
    char *password; /**< wiped with the pool that it was opened in */
    apr_size_t password_len;
} casp_session_t;

/** Seals and opens the sessions of one virtual host. */
typedef struct casp_sealer_t casp_sealer_t;

/**
 * Time is cut into slots of half a time-out; the key of a slot comes by
 * HKDF-SHA256 from a master secret, the cookie's version, the family (public
 * or private computer), its time-out, the slot, and @a vhost.  So a cookie is
 * good for between 1.0 and 1.5 time-outs after it was sealed, and for no other
 * virtual host, family or time-out.
 *
 * Made in the parent, used by all threads of its children; derived keys are
 * kept for the slots in force and wiped with @a p.
 * @param vhost    a name that all nodes have in common
 * @param timeouts of a public and of a private computer
 */
casp_sealer_t *casp_sealer_create(apr_pool_t *p, const casp_ring_t *ring,
                                  const char *vhost,
                                  apr_interval_time_t public_timeout,
                                  apr_interval_time_t private_timeout);

/** A new session: random id, @a began = now.  @return false: no random
 *  numbers. */
bool casp_session_begin(casp_session_t *s, int flags, const char *name,
                        char *password, apr_size_t password_len,
                        apr_time_t now);

/**
 * Seal into a cookie's value: characters that need no quoting, more than 70
 * and at most CASP_SESSION_MAX of them.
 * @return NULL where name and password are too long, or OpenSSL fails
 */
const char *casp_session_seal(apr_pool_t *p, casp_sealer_t *sealer,
                              const casp_session_t *s, apr_time_t now);

typedef enum {
    CASP_SESSION_NONE = 0, /**< no cookie of our name */
    CASP_SESSION_OK,
    CASP_SESSION_OLD, /**< good, and sealed in an earlier slot: renew it on
                           user activity */
    CASP_SESSION_EXPIRED, /**< ours, but over */
    CASP_SESSION_BAD /**< foreign, broken, altered */
} casp_session_e;

/** Open one cookie's value.  Any bytes may come in. */
casp_session_e casp_session_open(apr_pool_t *p, casp_sealer_t *sealer,
                                 const char *value, apr_size_t len,
                                 apr_time_t now, casp_session_t *s);

/**
 * Look for a session in a Cookie header: the first CASP_SESSION_TRIES cookies
 * of our name are tried in their order; the first good one wins (OK or OLD),
 * else EXPIRED beats BAD.
 * @param header may be NULL
 * @param stray  how many others of our name there were (or more than the
 *               tries): to be expired
 */
casp_session_e casp_session_find(apr_pool_t *p, casp_sealer_t *sealer,
                                 const char *header, apr_time_t now,
                                 casp_session_t *s, int *stray);

/**
 * A Cookie header without our cookies (every name that begins with "cadata",
 * "sessionid", and the marker "casproxy_rdr"), for backends.
 * @return the same pointer where none is there, NULL where none is left
 */
const char *casp_session_strip(apr_pool_t *p, const char *header);

/** Is this one of those names?  (Of a Set-Cookie that a backend sends.) */
bool casp_session_owns(const char *name, apr_size_t len);

/** The label cookie's value: the id as a GUID in lower case. */
const char *casp_session_label(apr_pool_t *p, const casp_session_t *s);

/* ----------------------------------------------------- sessions that ended */

/**
 * A sealed cookie cannot be taken back: whoever copied it could go on after a
 * sign-out.  So the ids of ended sessions are remembered, in the process and
 * in the second level where there is one.  Asking the latter costs a lock;
 * so a process that heard "not ended" believes it for a few seconds.
 */
typedef struct casp_ended_t casp_ended_t;

/** @param second may be NULL; it and @a name (of the organisation, part of the
 *                keys there) outlive the table */
casp_ended_t *casp_ended_create(apr_pool_t *p, int size,
                                const casp_cache2_t *second, const char *name);
/** @param until when its cookie would be over anyway */
void casp_ended_note(casp_ended_t *e, const unsigned char *id,
                     apr_time_t until, apr_time_t now);
bool casp_ended_is(casp_ended_t *e, const unsigned char *id, apr_time_t now);

#endif /* CASP_SESSION_H */
