/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file checkup.h
 * What must be right in Active Directory, a keytab and a clock so that
 * Kerberos and delegation work: judged from facts that others gathered.
 * Pure; for casproxyctl check.
 */

#ifndef CASP_CHECKUP_H
#define CASP_CHECKUP_H

#include "entry.h"

typedef enum {
    CASP_CHECK_OK = 0,
    CASP_CHECK_UNUSED, /**< these settings need none of it */
    CASP_CHECK_WARN,
    CASP_CHECK_FAIL
} casp_check_e;

typedef struct {
    casp_check_e result;
    const char *id; /**< stable: "spn", "clock" */
    const char *text; /**< how it is */
    const char *remedy; /**< what to do; NULL: nothing */
} casp_check_line_t;

/** Everything that was found, in order. */
typedef struct {
    apr_pool_t *p;
    apr_array_header_t *lines; /**< casp_check_line_t */
    int count[CASP_CHECK_FAIL + 1];
} casp_checkup_t;

void casp_checkup_init(casp_checkup_t *c, apr_pool_t *p);
/** @param remedy kept as it is; NULL: none */
void casp_checkup_say(casp_checkup_t *c, casp_check_e result, const char *id,
                      const char *remedy, const char *fmt, ...)
    CASP_PRINTF(5, 6);
const char *casp_check_name(casp_check_e result); /**< "ok", "warn", ... */

/* Kerberos' numbers of encryption types, and AD's bits of the same. */
enum { CASP_ETYPE_AES128 = 17, CASP_ETYPE_AES256 = 18, CASP_ETYPE_RC4 = 23 };
enum { CASP_AD_RC4 = 4, CASP_AD_AES128 = 8, CASP_AD_AES256 = 16 };

/** One key of a keytab. */
typedef struct {
    const char *name; /**< "svc-cas", "HTTP/mail.contoso.test" */
    const char *realm;
    bool spn; /**< more than one part */
    unsigned kvno;
    int etype;
} casp_check_key_t;

/** An account, as the directory shows it. */
typedef struct {
    const char *dn;
    const char *sam;
    int64_t uac; /**< userAccountControl */
    int64_t kvno; /**< msDS-KeyVersionNumber; -1: not told */
    int64_t etypes; /**< msDS-SupportedEncryptionTypes; 0: not set */
    const casp_attr_t *spns, *allowed; /**< may be NULL */
    bool by_resource; /**< msDS-AllowedToActOnBehalfOfOtherIdentity is set */
    bool is_protected; /**< in Protected Users */
} casp_check_account_t;

extern const char *const casp_check_account_attrs[];
void casp_check_account(const casp_entry_t *e, casp_check_account_t *a);

/** The account's keys: version and types against the directory's. */
void casp_checkup_keys(casp_checkup_t *c, const apr_array_header_t *keys,
                       const casp_check_account_t *account);

/**
 * This front's SPN.
 * @param holders casp_check_account_t *: who has exactly that SPN
 * @param own     whose keys the keytab has; NULL: not found
 */
void casp_checkup_spn(casp_checkup_t *c, const char *spn,
                      const apr_array_header_t *holders,
                      const apr_array_header_t *keys,
                      const casp_check_account_t *own);

/** May the account act for users at all? */
void casp_checkup_trusted(casp_checkup_t *c,
                          const casp_check_account_t *account);
/**
 * One backend: its SPN, and whether the account may act for users there.
 * @param holders who has HTTP/host, or else HOST/host
 * @param forest  there are domains that were not asked
 */
void casp_checkup_backend(casp_checkup_t *c, const char *host,
                          const apr_array_header_t *holders, bool forest,
                          const casp_check_account_t *account);

/** A user: does the account's state forbid acting for it? @return no */
bool casp_checkup_user(casp_checkup_t *c, const casp_check_account_t *user);

/** @param stamp rootDSE's currentTime; NULL: not told
 *  @param now   this machine's clock at that moment */
void casp_checkup_clock(casp_checkup_t *c, const char *stamp, apr_time_t now);
/** "20240131120000.0Z". @return false: not of that form */
bool casp_check_stamp(const char *stamp, apr_time_t *when);

/** Does a list of SPNs hold this one, without case? */
bool casp_check_holds(const casp_attr_t *spns, const char *spn);
/** "DC=contoso,DC=test" as "CONTOSO.TEST". */
const char *casp_check_realm(apr_pool_t *p, const char *dn);

#endif /* CASP_CHECKUP_H */
