/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file gssclient.h
 * This front as a client: Kerberos tickets by a user's password or by
 * delegation, NTLM by a user's password; by GSSAPI (MIT, gss-ntlmssp).
 *
 * Credentials are in memory of this process only, from named stores, never
 * through the environment.  Waits on a KDC are the Kerberos library's and
 * bounded by it; while one KDC call for a user is under way others for the
 * same user wait for it, and after a KDC did not answer new calls fail at
 * once for a while.
 */

#ifndef CASP_GSSCLIENT_H
#define CASP_GSSCLIENT_H

#include "mod_casproxy.h"

typedef struct casp_gss_t casp_gss_t;

typedef struct {
    const char *keytab; /**< for delegation; NULL: none */
    int size; /**< users whose tickets are kept; 0: 10000 */
} casp_gss_conf_t;

typedef enum {
    CASP_GSS_OK = 0,
    CASP_GSS_MORE, /**< of an NTLM dialog: send and come back */
    CASP_GSS_REFUSED, /**< the KDC or the peer says no: see why */
    CASP_GSS_MISSING, /**< a library, a keytab, a mechanism: see why */
    CASP_GSS_UNAVAILABLE /**< no KDC answered */
} casp_gss_e;

/** Whose login. */
typedef struct {
    casp_guid_t user; /**< keeps users apart in the cache */
    const char *sam; /**< sAMAccountName */
    const char *realm; /**< DNS name of the domain; any case */
    const char *netbios; /**< NetBIOS name of the domain; may be "" */
    const char *password; /**< NULL: none at hand */
    apr_size_t password_len;
} casp_gss_user_t;

typedef struct {
    const void *token; /**< in the call's pool */
    apr_size_t len;
    const char *why; /**< a sentence for the log; names the remedy */
} casp_gss_token_t;

/** In a child, after the last fork; a cleanup on @a p wipes all of it. */
casp_gss_t *casp_gss_create(apr_pool_t *p, const casp_gss_conf_t *conf);

/**
 * A token for "Authorization: Negotiate", for one request to HTTP/@a host:
 * new each time (a replay cache would refuse a second use), from tickets that
 * are kept per user, password and host and are got anew before they expire.
 */
casp_gss_e casp_gss_kerberos(casp_gss_t *g, apr_pool_t *p,
                             const casp_gss_user_t *user, const char *host,
                             casp_gss_token_t *out);
/** The same without a password: S4U2Self and S4U2Proxy by the keytab. */
casp_gss_e casp_gss_delegate(casp_gss_t *g, apr_pool_t *p,
                             const casp_gss_user_t *user, const char *host,
                             casp_gss_token_t *out);
/** Drop what is kept for a user: a sign-out, a changed password. */
void casp_gss_forget(casp_gss_t *g, const casp_guid_t *user);

/** An NTLM handshake with a backend, two tokens long; ends with its pool. */
typedef struct casp_gss_dialog_t casp_gss_dialog_t;
/** @return MORE with the first message */
casp_gss_e casp_gss_ntlm_begin(casp_gss_t *g, apr_pool_t *p,
                               const casp_gss_user_t *user, const char *host,
                               casp_gss_dialog_t **dialog,
                               casp_gss_token_t *out);
/** @return OK with the last message */
casp_gss_e casp_gss_ntlm_step(casp_gss_dialog_t *dialog, apr_pool_t *p,
                              const void *token, apr_size_t len,
                              casp_gss_token_t *out);

/** Is the NTLM mechanism of gss-ntlmssp there? */
bool casp_gss_has_ntlm(void);

typedef struct {
    volatile apr_uint32_t hits, misses, refused, unavailable;
} casp_gss_stats_t;
const casp_gss_stats_t *casp_gss_stats(const casp_gss_t *g);

#endif /* CASP_GSSCLIENT_H */
