/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file identity.h
 * Who asks: what a client claims, made into a name that can be looked up; and
 * the memory of passwords that were verified.
 *
 * What these functions return is *claimed* until a bind has verified it.
 */

#ifndef CASP_IDENTITY_H
#define CASP_IDENTITY_H

#include "mailbox.h"

/** CasProxyLogonFormat. */
typedef enum {
    CASP_LOGON_FULLDOMAIN = 0,
    CASP_LOGON_PRINCIPALNAME,
    CASP_LOGON_USERNAME
} casp_logon_format_e;

#define CASP_NAME_MAX 1024 /**< bytes of a logon name */
#define CASP_PASSWORD_MAX 4096 /**< bytes of a password */

/** What was wrong with a claim. */
typedef enum {
    CASP_CLAIM_OK = 0,
    CASP_CLAIM_NONE, /**< no credentials at all */
    CASP_CLAIM_OTHER, /**< another scheme than Basic */
    CASP_CLAIM_BROKEN, /**< not base64, no colon, NUL or control bytes */
    CASP_CLAIM_TOO_LONG,
    CASP_CLAIM_EMPTY, /**< no user name */
    CASP_CLAIM_EMPTY_PASSWORD,
    CASP_CLAIM_NO_DOMAIN /**< a bare name and no CasProxyDefaultDomain */
} casp_claim_e;
const char *casp_claim_name(casp_claim_e claim); /**< kebab-case */

typedef struct {
    const char *name; /**< as typed, UTF-8 */
    char *password; /**< UTF-8, in @a p; zeroise with casp_wipe() */
    apr_size_t password_len;
} casp_claim_t;

/**
 * Read an Authorization header.  Bytes that are no UTF-8 are taken as
 * Latin-1, which older clients send.  A cleanup on @a p wipes the password.
 * @param header the value, or NULL
 */
casp_claim_e casp_identity_basic(apr_pool_t *p, const char *header,
                                 casp_claim_t *claim);

/**
 * A typed name as a key: DOMAIN\user, user@realm, or a bare name with the
 * default domain (NetBIOS or DNS name, or NULL).
 */
casp_claim_e casp_identity_key(apr_pool_t *p, const char *name, apr_size_t len,
                               casp_logon_format_e format,
                               const char *default_domain,
                               casp_user_key_t *key);

/**
 * The name a bind takes: DOMAIN\sAMAccountName where the directory is AD and
 * the domain is known, else the DN.
 */
const char *casp_identity_bind_name(apr_pool_t *p, const casp_mailbox_t *m,
                                    bool is_ad);

/** "CONTOSO\ada", or the UPN, or the DN: for logs and r->user. */
const char *casp_identity_display(apr_pool_t *p, const casp_mailbox_t *m);

/** Overwrite memory so that no compiler leaves it out. */
void casp_wipe(void *data, apr_size_t len);

/** Verified passwords: HMAC-SHA256 under a key made at start. */
typedef struct casp_credentials_t casp_credentials_t;
casp_credentials_t *casp_credentials_create(apr_pool_t *p,
                                            apr_interval_time_t ttl, int size);
/**
 * Let processes know what one of them has verified; before anything is
 * remembered.
 * @param key  32 bytes that the processes of one start share, and nobody else
 * @param name of the organisation; it and @a second outlive the table
 */
void casp_credentials_share(casp_credentials_t *c, const unsigned char *key,
                            const casp_cache2_t *second, const char *name);
/** Was exactly this password verified for this user less than ttl ago?
 *  Compared in constant time. */
bool casp_credentials_known(casp_credentials_t *c, const casp_guid_t *user,
                            const char *password, apr_size_t len,
                            apr_time_t now);
void casp_credentials_remember(casp_credentials_t *c, const casp_guid_t *user,
                               const char *password, apr_size_t len,
                               apr_time_t now);
void casp_credentials_forget(casp_credentials_t *c, const casp_guid_t *user);

#endif /* CASP_IDENTITY_H */
