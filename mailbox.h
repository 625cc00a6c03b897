/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mailbox.h
 * From a user to a mailbox: cache, bounded negative table, one flight per
 * key, stale answers while the directory is away.
 */

#ifndef CASP_MAILBOX_H
#define CASP_MAILBOX_H

#include "directory.h"
#include "topology.h"

/** How a user or a mailbox is named. */
typedef enum {
    CASP_KEY_LOGON = 1, /**< domain (NetBIOS) and sAMAccountName */
    CASP_KEY_UPN, /**< user@realm: UPN, else sAMAccountName@dnsRoot */
    CASP_KEY_SMTP, /**< proxyAddresses */
    CASP_KEY_ALIAS, /**< mailNickname, else the part before the @ */
    CASP_KEY_GUID, /**< msExchMailboxGuid or objectGUID, as text */
    CASP_KEY_LEGACY_DN, /**< legacyExchangeDN, now or (X500) formerly */
    CASP_KEY_SID, /**< a linked mailbox's master account, binary */
    CASP_KEY_ACCOUNT /**< an account as a verifier names it: its SID, binary;
                          a mailbox of its own, else the linked mailbox whose
                          master account it is, else the bare object */
} casp_key_e;

typedef struct {
    casp_key_e kind;
    const char *domain; /**< LOGON: NetBIOS name; else NULL */
    const char *value;
    apr_size_t len; /**< of value */
} casp_user_key_t;

/** Flags of a record. */
enum {
    CASP_MB_MAILBOX = 1, /**< has a mailbox here */
    CASP_MB_DISABLED = 2, /**< userAccountControl: account disabled */
    CASP_MB_OWA_OFF = 4, /**< protocolSettings: OWA or HTTP off */
    CASP_MB_EAS_OFF = 8, /**< msExchOmaAdminWirelessEnable bit 4 */
    CASP_MB_LINKED = 16, /**< its owner is msExchMasterAccountSid */
    CASP_MB_SHARED = 32, /**< shared, room, equipment: disabled is usual*/
    CASP_MB_REMOTE = 64, /**< remote mailbox or targetAddress only */
    CASP_MB_HOME_UNKNOWN = 128, /**< homeMDB names no database of ours */
    CASP_MB_POP_OFF = 256, /**< protocolSettings: POP3 off */
    CASP_MB_IMAP_OFF = 512 /**< protocolSettings: IMAP4 off */
};

/** Texts of a record. */
typedef enum {
    CASP_MB_DN = 0,
    CASP_MB_SAM, /**< sAMAccountName */
    CASP_MB_NETBIOS, /**< of its domain; "" where unknown */
    CASP_MB_UPN,
    CASP_MB_SMTP, /**< primary address without "SMTP:" */
    CASP_MB_ALIAS,
    CASP_MB_HOME, /**< homeMDB, for the log */
    CASP_MB_DISPLAY, /**< displayName */
    CASP_MB_LEGACY_DN, /**< legacyExchangeDN */
    CASP_MB_TARGET, /**< targetAddress without "SMTP:" */
    CASP_MB_STRINGS
} casp_mailbox_string_e;

#define CASP_MAILBOX_VERSION 3
#define CASP_MAILBOX_MAX 4096 /**< bytes of a record */

/**
 * A mailbox record: flat, versioned, without pointers, so that the same bytes
 * lie in a child's table, in shared memory and in another machine's cache.
 * Objects of the organisation are named by GUID; the topology resolves them.
 */
typedef struct {
    uint16_t version; /**< CASP_MAILBOX_VERSION */
    uint16_t size; /**< of the whole record */
    uint32_t flags;
    int64_t read_at; /**< apr_time_t */
    int64_t recipient_type;
    int64_t password_set; /**< pwdLastSet as it stands; 0: not known */
    casp_guid_t user, mailbox, database, server;
    uint8_t object_version; /**< casp_version_e of msExchVersion */
    uint8_t sid_len;
    uint8_t sid[68];
    uint16_t text[CASP_MB_STRINGS]; /**< offset of each text in the record */
} casp_mailbox_t;

const char *casp_mailbox_text(const casp_mailbox_t *m,
                              casp_mailbox_string_e which);

/**
 * Is this a record that can be read: version, size, offsets, terminations?
 * Asked of every record that comes from outside the process.
 */
bool casp_mailbox_valid(const void *bytes, apr_size_t len);

/** Make a record from a user's entry. @return NULL: too big to be real. */
casp_mailbox_t *casp_mailbox_of_entry(apr_pool_t *p, const casp_entry_t *e,
                                      const casp_topology_t *t,
                                      apr_time_t now);

/** Where the mailbox is, resolved; NULL or NONE where unknown. */
typedef struct {
    const casp_database_t *database;
    const casp_server_t *server;
    const casp_site_t *site;
    casp_version_e version;
} casp_home_t;
void casp_mailbox_home(const casp_mailbox_t *m, const casp_topology_t *t,
                       casp_home_t *home);

/** The attributes asked of a user; NULL at the end.  All are in the GC. */
extern const char *const casp_mailbox_attrs[];

/** The filter that finds a key; escaped, in @a p. NULL: no such domain. */
const char *casp_mailbox_filter(apr_pool_t *p, const casp_user_key_t *key,
                                const casp_topology_t *t);

/** Where users come from: a directory, or an export. */
typedef struct {
    casp_dir_e (*find)(void *baton, apr_pool_t *p, const casp_user_key_t *key,
                       const casp_topology_t *t, apr_time_t deadline,
                       apr_array_header_t **entries, const char **why);
    void *baton;
} casp_user_source_t;

/**
 * A source over LDAP.
 * @param base where users are searched; "" asks a Global Catalog for all,
 *             NULL means the topology's default naming context.  A name with
 *             a domain is searched below that domain's naming context, or
 *             here where this base lies inside it.
 */
casp_user_source_t *casp_source_directory(apr_pool_t *p, casp_directory_t *d,
                                          const char *base);

/** A source over the entries of an export, indexed once; immutable. */
casp_user_source_t *casp_source_entries(apr_pool_t *p,
                                        const apr_array_header_t *entries);

/** The second level: bytes in shared memory or another machine. */
typedef struct {
    /** @return the length found, 0 for none */
    apr_size_t (*get)(void *baton, const char *key, apr_size_t key_len,
                      void *buf, apr_size_t buf_len);
    void (*put)(void *baton, const char *key, apr_size_t key_len,
                const void *bytes, apr_size_t len, apr_time_t expires);
    void *baton;
} casp_cache2_t;

typedef struct {
    apr_interval_time_t ttl, negative, stale;
    int size; /**< records; the negative table holds a quarter of it */
} casp_mailbox_conf_t;

typedef struct casp_mailboxes_t casp_mailboxes_t;

/** How a look-up ended. */
typedef enum {
    CASP_FIND_OK = 0,
    CASP_FIND_NONE, /**< no such user */
    CASP_FIND_AMBIGUOUS, /**< more than one: an error, never first-wins */
    CASP_FIND_UNAVAILABLE
} casp_find_e;

/**
 * The caches of one organisation in this process.
 * @param p      lives as long as the process; the caches use pools or malloc
 *               of their own below it
 * @param second may be NULL
 */
casp_mailboxes_t *casp_mailboxes_create(apr_pool_t *p,
                                        const casp_mailbox_conf_t *conf,
                                        const casp_cache2_t *second,
                                        const char *org_key);

/**
 * Find a mailbox.  A fresh record is a hit; else one caller per key asks the
 * source while the others wait for its answer until their deadline; while
 * the source is unavailable a record younger than @a stale serves.
 *
 * @param p   owns the copy returned
 * @param how the state of the cache, for the log
 * @param why a sentence, where it is neither OK nor NONE
 */
casp_find_e casp_mailboxes_find(casp_mailboxes_t *m, apr_pool_t *p,
                                const casp_user_source_t *source,
                                const casp_topology_t *t,
                                const casp_user_key_t *key, apr_time_t now,
                                apr_time_t deadline,
                                const casp_mailbox_t **mailbox,
                                casp_cache_e *how, const char **why);

/** Forget one key: after a refused password, say. */
void casp_mailboxes_forget(casp_mailboxes_t *m, const casp_user_key_t *key);

typedef struct {
    apr_uint32_t hits, misses, stale, negative, flights, evictions, second;
    int records, negatives;
} casp_mailbox_stats_t;
void casp_mailboxes_stats(casp_mailboxes_t *m, casp_mailbox_stats_t *stats);

#endif /* CASP_MAILBOX_H */
