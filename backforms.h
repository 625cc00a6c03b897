/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file backforms.h
 * Logging on at a backend's own form: what is posted, what its answer means,
 * and the cookies that it gives, which no client ever sees.
 */

#ifndef CASP_BACKFORMS_H
#define CASP_BACKFORMS_H

#include "mailbox.h"

/** What is posted to a backend: a path and a body. */
typedef struct {
    const char *path; /**< "/owa/auth.owa" */
    const char *cookie; /**< Cookie header that goes along, or NULL */
    const char *body; /**< x-www-form-urlencoded; wiped with the pool */
    apr_size_t len;
} casp_backform_t;

/**
 * The POST by the backend's generation (2003, 2007, 2010, 2013 and newer).
 * @param base "https://host", the destination's beginning
 * @param flags CASP_LOGON_* of the person's own form, or 0
 */
void casp_backform_make(apr_pool_t *p, casp_version_e version,
                        const char *base, const char *vdir, const char *name,
                        const char *password, apr_size_t len, int flags,
                        casp_backform_t *form);

typedef enum {
    CASP_BACKFORM_IN = 0, /**< logged on; the jar has its cookies */
    CASP_BACKFORM_REFUSED, /**< the logon page again: reason= */
    CASP_BACKFORM_STRANGE /**< no answer of a logon form */
} casp_backform_e;

/**
 * What the backend says to it.
 * @param headers its answer's; Set-Cookie may be there many times
 * @param cookies set where it is IN: a Cookie header's value
 */
casp_backform_e casp_backform_judge(apr_pool_t *p, int status,
                                    const apr_table_t *headers,
                                    const char **cookies);

/** Does this answer to an ordinary request say that a form is wanted?  (440,
 *  or a redirection to a logon page of any generation.) */
bool casp_backform_wanted(int status, const apr_table_t *headers);

/** Is this a name of a backend's session cookie (cadata, cadataTTL,
 *  sessionid, ...): kept here, not shown to the client? */
bool casp_backform_owns(const char *name, apr_size_t len);

/** A Cookie header's value changed by an answer's Set-Cookie lines of those
 *  names: renewed, added, expired.  @return NULL: none is left */
const char *casp_backform_renew(apr_pool_t *p, const char *cookies,
                                const apr_table_t *headers, bool *changed);

/** The cookies of users at backends: in this process, and sealed
 *  (AES-256-GCM under the key of this start) in a second level where there is
 *  one. */
typedef struct casp_jar_t casp_jar_t;
/** @param key 32 bytes; @param second may be NULL; @param name of the
 *  organisation; all outlive the jar */
casp_jar_t *casp_jar_create(apr_pool_t *p, int size, apr_interval_time_t ttl,
                            const unsigned char *key,
                            const casp_cache2_t *second, const char *name);
/** @param id names virtual host, backend, user and credential: any bytes */
const char *casp_jar_get(casp_jar_t *jar, apr_pool_t *p, const void *id,
                         apr_size_t len, apr_time_t now);
/** NULL cookies: forget. */
void casp_jar_put(casp_jar_t *jar, const void *id, apr_size_t len,
                  const char *cookies, apr_time_t now);

#endif /* CASP_BACKFORMS_H */
