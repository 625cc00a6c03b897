/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file autodiscover.h
 * Autodiscover's plain XML, read and written: what a client asks for, and the
 * settings of a mailbox as this front would have them used.
 */

#ifndef CASP_AUTODISCOVER_H
#define CASP_AUTODISCOVER_H

#include "mailbox.h"
#include "settings.h"

/** A request that is longer is none. */
#define CASP_DISCO_MAX (64 * 1024)

/** What an answer's Error element says. */
typedef enum {
    CASP_DISCO_OK = 0,
    CASP_DISCO_NO_ADDRESS = 500, /**< nobody's, or of no mailbox */
    CASP_DISCO_BAD_REQUEST = 600,
    CASP_DISCO_NO_PROVIDER = 601, /**< of the schema that is asked for */
    CASP_DISCO_UNPLACED = 603 /**< where the mailbox is cannot be told: never
                                   written, a 503 is what clients try again */
} casp_disco_error_e;

/** The schemas that there are answers in. */
typedef enum {
    CASP_DISCO_OUTLOOK = 0, /**< 2006a */
    CASP_DISCO_OUTLOOK_2006,
    CASP_DISCO_MOBILESYNC,
    CASP_DISCO_SCHEMAS
} casp_disco_schema_e;

/** A request. */
typedef struct {
    casp_disco_schema_e schema; /**< of the answer */
    casp_user_key_t key; /**< SMTP or LEGACY_DN; in the pool */
} casp_disco_ask_t;

/**
 * Read a request's body.  It is parsed in the encoding that it says itself;
 * one with a document type is refused, and nothing that it names is fetched.
 * @return OK, BAD_REQUEST or NO_PROVIDER
 */
casp_disco_error_e casp_disco_read(apr_pool_t *p, const char *body,
                                   apr_size_t len, casp_disco_ask_t *ask);

/** What an answer is made from. */
typedef struct {
    const casp_settings_t *s;
    const casp_topology_t *t;
    const casp_site_t *front_site; /**< NULL: not known */
    const casp_mailbox_t *mailbox; /**< that was asked for */
    const char *host; /**< this front's public host[:port] */
    casp_by_e by; /**< how the user came */
    int auth; /**< mask of CASP_SCHEME_*: what this front takes */
    bool redirects; /**< CasProxy Redirect: nothing is proxied here */
    bool mapi_http; /**< the client speaks it */
} casp_disco_view_t;

/** The host[:port] that this front is known by: CasProxyExternalURL's, else
 *  what the client called it.  NULL: neither is a host. */
const char *casp_disco_host(apr_pool_t *p, const casp_settings_t *s,
                            const char *asked);

/**
 * The answer for a mailbox, in @a p: all URLs by https, and by names that the
 * organisation has given out.
 * @param xml where it is OK
 * @param why where it is UNPLACED: a stable code
 */
casp_disco_error_e casp_disco_answer(apr_pool_t *p, casp_disco_schema_e schema,
                                     const casp_disco_view_t *view,
                                     const char **xml, const char **why);

/** The answer that says an error; to be sent with status 200. */
const char *casp_disco_error(apr_pool_t *p, casp_disco_error_e error,
                             apr_time_t now, const char *host);

#endif /* CASP_AUTODISCOVER_H */
