/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file directory.h
 * LDAP: connections, binds, searches, and fail-over among domain controllers.
 *
 * Threads: a directory belongs to one process.  casp_directory_start() makes
 * a guard thread and a few connector threads; names, TCP, TLS and the service
 * bind are their work.  Any request thread may call search and bind; it waits
 * no longer than its deadline and never connects itself.
 */

#ifndef CASP_DIRECTORY_H
#define CASP_DIRECTORY_H

#include "entry.h"

typedef struct casp_directory_t casp_directory_t;

typedef enum {
    CASP_TLS_UNSET = 0,
    CASP_TLS_STARTTLS,
    CASP_TLS_OFF
} casp_tls_e;

typedef enum {
    CASP_BIND_NONE = 0, /**< not said: EXTERNAL for ldapi://, else an error */
    CASP_BIND_SIMPLE,
    CASP_BIND_GSSAPI
} casp_bind_method_e;

/** How to reach a directory; the strings outlive it. */
typedef struct {
    apr_array_header_t *urls; /**< of const char *: ldap(s)://, ldapi:// */
    casp_tls_e tls; /**< for ldap:// */
    const char *ca_file; /**< NULL: the system's */
    casp_bind_method_e bind;
    const char *bind_name;
    const char *bind_secret; /**< as read by the parent; zeroised by it */
    const char *keytab;
    const char *base; /**< NULL: rootDSE's defaultNamingContext */
    int pool_min, pool_smax, pool_hmax;
    apr_interval_time_t pool_ttl;
    apr_interval_time_t connect_timeout, search_timeout, topology_timeout;
    apr_interval_time_t rest; /**< of a failed server; 0: 10 s */
} casp_directory_conf_t;

/** What a rootDSE told; strings live as long as the directory. */
typedef struct {
    const char *default_nc;
    const char *config_nc;
    const char *root_nc;
    bool is_ad; /**< supportedCapabilities: Active Directory */
} casp_directory_root_t;

/** How an operation ended. */
typedef enum {
    CASP_DIR_OK = 0,
    CASP_DIR_UNAVAILABLE, /**< no server answered in time */
    CASP_DIR_REFUSED, /**< the server answered with an error: a filter or
                               a right; another server would say the same */
    CASP_DIR_INCOMPLETE /**< a later page failed, or a size limit */
} casp_dir_e;

/** How a password was judged; AD's data codes told apart. */
typedef enum {
    CASP_PW_OK = 0,
    CASP_PW_WRONG, /**< 52e, 525, or a bare invalidCredentials */
    CASP_PW_EMPTY, /**< refused before any bind */
    CASP_PW_DISABLED, /**< 533 */
    CASP_PW_LOCKED, /**< 775 */
    CASP_PW_EXPIRED, /**< 532 password expired */
    CASP_PW_MUST_CHANGE, /**< 773 */
    CASP_PW_ACCOUNT_EXPIRED, /**< 701 */
    CASP_PW_HOURS, /**< 530 */
    CASP_PW_WORKSTATION, /**< 531 */
    CASP_PW_UNAVAILABLE /**< nobody could say */
} casp_pw_e;

/** A kebab-case word for a judgement: "wrong-password", "locked", ... */
const char *casp_pw_name(casp_pw_e pw);

typedef struct {
    const char *base;
    int scope; /**< LDAP_SCOPE_* */
    const char *filter;
    const char *const *attrs; /**< NULL at the end; NULL: all */
    int size_limit; /**< 0: none */
    bool paged; /**< in pages of 500 */
} casp_search_t;

/**
 * Prepare a directory in @a p: checks only, no connection, no thread.
 * @return NULL, or what is wrong with @a conf
 */
const char *casp_directory_create(apr_pool_t *p,
                                  const casp_directory_conf_t *conf,
                                  casp_directory_t **dir);

/**
 * Start its threads in this process, after the last fork.  A cleanup on @a p
 * stops and joins them; that takes no longer than a second, whatever a
 * server does.
 */
apr_status_t casp_directory_start(casp_directory_t *dir, apr_pool_t *p);

/**
 * End every operation in progress and refuse new ones: for a process that is
 * about to go, from any thread, before the pool's cleanup does the same.
 */
void casp_directory_stop(casp_directory_t *dir);

/**
 * Search with the service's identity.
 *
 * @param p        owns the entries
 * @param deadline absolute; 0: now + the search time-out
 * @param entries  of casp_entry_t *; search references are passed over.
 *                 NULL where it is not OK, but at a size limit those that
 *                 came (INCOMPLETE)
 * @param why      a sentence for the log, in @a p, where it is not OK
 */
casp_dir_e casp_directory_search(casp_directory_t *dir, apr_pool_t *p,
                                 const casp_search_t *search,
                                 apr_time_t deadline,
                                 apr_array_header_t **entries,
                                 const char **why);

/**
 * Judge a password by a bind, on a connection that no search ever uses.
 * @param name DOMAIN\user or user@realm for AD, else a DN
 */
casp_pw_e casp_directory_check(casp_directory_t *dir, apr_pool_t *p,
                               const char *name, const char *password,
                               apr_time_t deadline, const char **why);

/* Somebody else's handshake, relayed: CasProxyNTLMVerify Directory. */

/** A connection on which one handshake is under way; from malloc(). */
typedef struct casp_relay_t casp_relay_t;

typedef enum {
    CASP_RELAY_MORE = 0, /**< @a out holds the server's next token */
    CASP_RELAY_OK, /**< accepted; @a sid is the user's */
    CASP_RELAY_REFUSED, /**< the credentials; @a pw says how */
    CASP_RELAY_POLICY, /**< right or wrong, this server forbids the relay:
                            signing or channel binding is enforced */
    CASP_RELAY_UNAVAILABLE /**< no server, no place, or no answer in time */
} casp_relay_e;

typedef struct {
    const void *out; /**< in the step's pool; may be NULL where it is OK */
    apr_size_t out_len;
    unsigned char sid[68]; /**< binary */
    apr_size_t sid_len; /**< 0: the server did not tell */
    const char *name; /**< "ada@contoso.test": account and DNS domain; NULL */
    casp_pw_e pw;
    const char *why; /**< a sentence for the log; NULL where all is well */
} casp_relayed_t;

/**
 * Relay the first token (NTLM or SPNEGO) in a SASL bind "GSS-SPNEGO", on a
 * connection of a kind of its own that no search and no password check ever
 * uses; TLS only.  @a relay is set where the outcome is MORE, and is then
 * this caller's until casp_directory_relay_end(); at most pool_hmax are out.
 */
casp_relay_e casp_directory_relay_begin(casp_directory_t *dir, apr_pool_t *p,
                                        const void *token, apr_size_t len,
                                        apr_time_t deadline,
                                        casp_relay_t **relay,
                                        casp_relayed_t *told);
/** The next token, on the same connection. */
casp_relay_e casp_directory_relay_step(casp_relay_t *relay, apr_pool_t *p,
                                       const void *token, apr_size_t len,
                                       apr_time_t deadline,
                                       casp_relayed_t *told);
/** Give the connection back; it is bound anew before anybody else uses it.
 *  From any thread; NULL is fine. */
void casp_directory_relay_end(casp_relay_t *relay);
/** How many can be under way at once with one server: pool_hmax. */
int casp_directory_relay_places(const casp_directory_t *dir);

/**
 * The rootDSE of whichever server answers, read once and remembered; waits
 * until the deadline where none has yet.
 */
casp_dir_e casp_directory_root(casp_directory_t *dir, apr_pool_t *p,
                               apr_time_t deadline,
                               const casp_directory_root_t **root,
                               const char **why);

/** The URLs, for people: "ldaps://dc1 ldaps://dc2". */
const char *casp_directory_name(const casp_directory_t *dir);

/** Escape bytes for a filter (RFC 4515), into @a p. */
const char *casp_filter_escape(apr_pool_t *p, const char *data,
                               apr_size_t len);
/** Escape every byte: GUIDs and SIDs. */
const char *casp_filter_escape_binary(apr_pool_t *p, const void *data,
                                      apr_size_t len);

/** Counters, read without a lock. */
typedef struct {
    volatile apr_uint32_t searches, binds, connects, failures, timeouts;
} casp_directory_stats_t;
const casp_directory_stats_t *casp_directory_stats(const casp_directory_t *d);

#endif /* CASP_DIRECTORY_H */
