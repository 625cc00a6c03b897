/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file negotiate.h
 * What a client's Negotiate or NTLM token is, and Kerberos verified with the
 * front's own keytab.  NTLM is verified by ntlm.c.
 */

#ifndef CASP_NEGOTIATE_H
#define CASP_NEGOTIATE_H

#include "mod_casproxy.h"

#define CASP_TOKEN_MAX (64 * 1024) /**< bytes of a token; AD's limit is 48 K */

typedef enum {
    CASP_TOKEN_BAD = 0, /**< none of these; cut short */
    CASP_TOKEN_NTLM_1, /**< NTLMSSP NEGOTIATE, bare */
    CASP_TOKEN_NTLM_3, /**< NTLMSSP AUTHENTICATE, bare */
    CASP_TOKEN_SPNEGO_NTLM, /**< NegTokenInit; its token is NTLM, or it has
                                 none and NTLM is the first mechanism */
    CASP_TOKEN_SPNEGO_MORE, /**< NegTokenResp: goes on */
    CASP_TOKEN_KERBEROS /**< NegTokenInit with a Kerberos token, or a bare
                             Kerberos token */
} casp_token_e;

/** Reads no further than it must, and never beyond @a len. */
casp_token_e casp_token_kind(const void *token, apr_size_t len);

/**
 * The token of "Authorization: Negotiate ..." or "NTLM ...".
 * @param negotiate the scheme was Negotiate
 * @return NULL: another scheme, not base64, too long
 */
const void *casp_token_of_header(apr_pool_t *p, const char *header,
                                 apr_size_t *len, bool *negotiate);

/** An identity that somebody has verified. */
typedef struct {
    const char *name; /**< canonical, for the log: "CONTOSO\ada",
                           "ada@CONTOSO.TEST" */
    unsigned char sid[68]; /**< binary */
    apr_size_t sid_len; /**< 0: the verifier did not tell; then the name
                             counts, which is the verifier's too */
} casp_verified_t;

/** Kerberos, with one keytab. */
typedef struct casp_acceptor_t casp_acceptor_t;

typedef enum {
    CASP_ACCEPT_OK = 0,
    CASP_ACCEPT_NO, /**< the ticket is not good here; see @a why */
    CASP_ACCEPT_FAILED /**< this front's own trouble: keytab, clock */
} casp_accept_e;

/**
 * Open a keytab, in the parent or a child.  Named stores only: nothing is
 * taken from the environment, no credential cache is touched.
 * @return NULL, or a sentence that names the remedy
 */
const char *casp_acceptor_create(apr_pool_t *p, const char *keytab,
                                 casp_acceptor_t **acceptor);

/**
 * Verify a Kerberos token, in one leg; any thread.  The SID comes from the
 * ticket's PAC where there is one.
 * @param out may be NULL: the token that goes back with the answer
 * @param why a sentence for the log, in @a p, where it is not OK
 */
casp_accept_e casp_acceptor_verify(casp_acceptor_t *acceptor, apr_pool_t *p,
                                   const void *token, apr_size_t len,
                                   const void **out, apr_size_t *out_len,
                                   casp_verified_t *who, const char **why);

/**
 * The SID in a PAC's UPN_DNS_INFO buffer (MS-PAC 2.10), where it is there.
 * @return its length, 0 for none
 */
apr_size_t casp_pac_upn_sid(const void *info, apr_size_t len,
                            unsigned char sid[68]);

/**
 * The SID in a PAC's logon information (MS-PAC 2.5), for tickets of domain
 * controllers that do not have it in the other buffer yet.
 * @return its length, 0 for none
 */
apr_size_t casp_pac_logon_sid(const void *info, apr_size_t len,
                              unsigned char sid[68]);

#endif /* CASP_NEGOTIATE_H */
