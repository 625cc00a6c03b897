/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file gsstickets.h
 * Asking a KDC, and making tokens of what it gave: private to gssclient.c and
 * to casproxyctl.  Every call but casp_tickets_end() may wait for a KDC, as
 * long as the Kerberos library does.
 */

#ifndef CASP_GSSTICKETS_H
#define CASP_GSSTICKETS_H

#include "gssclient.h"

/** What was asked when something went wrong. */
typedef enum {
    CASP_STEP_LIBRARY = 1, /**< nothing yet */
    CASP_STEP_PASSWORD = 2, /**< a user's ticket, by password */
    CASP_STEP_KEYTAB = 4, /**< this front's own ticket, by keytab */
    CASP_STEP_SELF = 8, /**< a ticket in a user's name: S4U2Self */
    CASP_STEP_TARGET = 16, /**< for a backend, with the user's ticket */
    CASP_STEP_PROXY = 32 /**< for a backend, in a user's name: S4U2Proxy */
} casp_step_e;

/** A question to a KDC: what the sentences name, and how it ended. */
typedef struct {
    apr_pool_t *p;
    const char *user; /**< sAMAccountName */
    const char *realm; /**< of the user, in capitals */
    const char *host; /**< of the backend */
    const char *keytab;
    const char *account; /**< this front's: "svc-cas@CONTOSO.TEST" */
    bool may_forward; /**< the ticket in a user's name may be passed on */
    /* the answer */
    apr_interval_time_t life; /**< of what was got */
    const char *why;
    bool silent; /**< nobody answered: let the realm rest */
    bool of_host; /**< what was refused concerns this host only */
} casp_kdc_ask_t;

/**
 * A Kerberos library's code as a verdict and a sentence; pure.
 * @param text the library's own words
 */
casp_gss_e casp_kdc_explain(casp_kdc_ask_t *ask, casp_step_e step, long code,
                            const char *text);

typedef struct casp_tickets_t casp_tickets_t; /**< in memory, from malloc() */

casp_gss_e casp_tickets_password(casp_kdc_ask_t *ask, const char *password,
                                 apr_size_t len, casp_tickets_t **tickets);
/** @a ask->account is set */
casp_gss_e casp_tickets_keytab(casp_kdc_ask_t *ask, casp_tickets_t **tickets);
/** A user's, without a password; @a own are this front's. */
casp_gss_e casp_tickets_impersonate(casp_kdc_ask_t *ask,
                                    const casp_tickets_t *own,
                                    casp_tickets_t **tickets);
/**
 * A token for HTTP/host, SPNEGO around Kerberos; asks the KDC where there is
 * no ticket for that host yet.
 * @param alone do not make others wait who use the same tickets now
 */
casp_gss_e casp_tickets_token(casp_kdc_ask_t *ask,
                              const casp_tickets_t *tickets, bool alone,
                              casp_gss_token_t *out);
void casp_tickets_end(void *tickets); /**< wipe and free */

/** May a host's name be part of an SPN: letters, digits, dots, hyphens? */
bool casp_spn_host(const char *host);

/** A Kerberos token as the first of SPNEGO. */
const void *casp_spnego_wrap(apr_pool_t *p, const void *token, apr_size_t len,
                             apr_size_t *wrapped);

#endif /* CASP_GSSTICKETS_H */
