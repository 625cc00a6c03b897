/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file dirwire.h
 * Private to the directory's own files; nobody else includes it.
 *
 *   directory.c  what the other rooms see: checks, fail-over, judgements
 *   dirrelay.c   somebody else's handshake, relayed in a bind
 *   dirpool.c    the pools of connections, and the order of servers
 *   dircrew.c    the threads: connectors and guard; who is up or rests
 *   dirask.c     a search or a user's bind on a connection
 *   dirwire.c    a connection becomes ready: options, TLS, bind, rootDSE
 *   dirgss.c     the service's bind by Kerberos
 *   dirdial.c    a URL becomes a connected socket
 *
 * Calls go downwards.  The one exception is the guard: dirdial shows it the
 * socket of a link, so that its thread can end any wait on it.
 */

#ifndef CASP_DIRWIRE_H
#define CASP_DIRWIRE_H

#include <ldap.h>
#include <openldap.h>

#include "directory.h"

/** A reason in words; a fixed size, because threads without a pool use it. */
typedef struct {
    char text[512];
} casp_dirwhy_t;

/** Write a reason; control characters from the network become spaces. */
void casp_dirwire_say(casp_dirwhy_t *why, const char *fmt, ...)
    CASP_PRINTF(2, 3);

/** One server. */
typedef struct {
    const char *url; /**< as configured, for people */
    const char *uri; /**< as libldap wants it */
    const char *host; /**< a name, an address or a socket's path */
    const char *port; /**< NULL: a socket's path */
    bool ldaps;
    bool starttls;
} casp_dirtarget_t;

/** What a connection is for.  The kinds never mix. */
typedef enum {
    CASP_LINK_SERVICE = 0, /**< bound as the service, searches */
    CASP_LINK_USER, /**< judges passwords, never searches */
    CASP_LINK_RELAY, /**< bound by handshakes of clients; asked only whose */
    CASP_LINK_KINDS
} casp_linkkind_e;

/** How a step on a connection ended. */
typedef enum {
    CASP_WIRE_OK = 0,
    CASP_WIRE_LATE, /**< no answer by the deadline */
    CASP_WIRE_DOWN, /**< the connection or the server failed */
    CASP_WIRE_DENIED, /**< the service's own bind was refused */
    CASP_WIRE_REPLIED, /**< an error that another server would repeat */
    CASP_WIRE_PARTIAL, /**< a limit */
    CASP_WIRE_CUT, /**< a later page failed: another server may do better */
    CASP_WIRE_FULL /**< our own bounds, no fault of a server */
} casp_wire_e;

typedef struct casp_dirpool_t casp_dirpool_t;
typedef struct casp_link_t casp_link_t;

/** A connection.  Owned by one thread at a time; see the guard's fields. */
struct casp_link_t {
    LDAP *ld;
    casp_dirpool_t *pool;
    bool used; /**< an operation has ended well on it */
    bool broken; /**< not to be used again */
    bool held; /**< stays out after an operation that ended well */
    apr_time_t idle_since;
    /* Under the pool's lock: */
    int fd; /**< our duplicate of its socket, or -1 */
    apr_time_t due;
    bool fired; /**< the guard has shut it down */
    casp_link_t *next, *prev;
};

/** What opening a connection needs; strings live as long as the pool. */
typedef struct {
    casp_bind_method_e bind;
    const char *bind_name;
    const char *bind_secret;
    const char *keytab; /**< for GSSAPI */
    const char *ca_file;
    apr_interval_time_t connect_timeout, search_timeout;
} casp_dirwire_conf_t;

/** A rootDSE, in memory from malloc(). */
typedef struct {
    char *default_nc, *config_nc, *root_nc;
    bool is_ad;
} casp_dirwire_root_t;

/* ------------------------------------------------------------- dirdial.c */

/**
 * Read a URL into @a p.
 * @return NULL, or what is wrong with it
 */
const char *casp_dirdial_target(apr_pool_t *p, const char *url, casp_tls_e tls,
                                casp_dirtarget_t *target);

/**
 * A connected, blocking socket that the guard knows.
 * @return the socket, or -1, and either @a why or @a err is set
 */
int casp_dirdial_socket(casp_link_t *link, const casp_dirtarget_t *target,
                        apr_time_t deadline, int *err, casp_dirwhy_t *why);

/* ------------------------------------------------------------- dirwire.c */

/** What is left until a deadline; never nothing. */
struct timeval casp_dirwire_remaining(apr_time_t deadline);

/** Mark a link as broken; was it lateness or a failure? */
casp_wire_e casp_dirwire_broken(casp_link_t *link, apr_time_t deadline);

/** A request could not be sent: whose fault was it? */
casp_wire_e casp_dirwire_unsent(casp_link_t *link, int code,
                                apr_time_t deadline, casp_dirwhy_t *why);

/** The next message of an operation. */
casp_wire_e casp_dirwire_receive(casp_link_t *link, int msgid,
                                 apr_time_t deadline, LDAPMessage **msg,
                                 casp_dirwhy_t *why);

/** Send a bind, wait for its result code and text (ldap_memfree it). */
casp_wire_e casp_dirwire_bind(casp_link_t *link, const char *name,
                              const char *mechanism, const char *secret,
                              apr_time_t deadline, int *code, char **diag,
                              casp_dirwhy_t *why);

/** The same for one step of SASL; @a said: the server's token, or NULL
 *  (ber_bvfree it); nobody wants it where @a said itself is NULL. */
casp_wire_e casp_dirwire_sasl(casp_link_t *link, const char *name,
                              const char *mechanism, const struct berval *cred,
                              apr_time_t deadline, int *code, char **diag,
                              struct berval **said, casp_dirwhy_t *why);

/** What an operator can do about a result code: "; ..." or "". */
const char *casp_dirwire_remedy(int code);

/**
 * Make a connection that is ready for its kind.  Only connector threads call
 * this, because names are looked up here.
 *
 * @param root where to put the rootDSE, or NULL: do not read it
 */
casp_wire_e casp_dirwire_open(casp_link_t *link,
                              const casp_dirwire_conf_t *conf,
                              const casp_dirtarget_t *target,
                              casp_linkkind_e kind, apr_time_t deadline,
                              casp_dirwire_root_t *root, casp_dirwhy_t *why);

/** Has the server closed an idle connection?  Never waits. */
bool casp_dirwire_alive(const casp_link_t *link);

/** Free the library's handle without waiting for the server. */
void casp_dirwire_close(casp_link_t *link);

void casp_dirwire_root_clear(casp_dirwire_root_t *root);

/* -------------------------------------------------------------- dirgss.c */

/** Bind with conf->keytab; where it is DENIED or DOWN @a why has a reason
 *  without the server's name. */
casp_wire_e casp_dirgss_bind(casp_link_t *link,
                             const casp_dirwire_conf_t *conf, const char *host,
                             apr_time_t deadline, casp_dirwhy_t *why);

/* -------------------------------------------------------------- dirask.c */

/** Search; @a base replaces search->base.  The link's guard is armed. */
casp_wire_e casp_dirask_search(casp_link_t *link, apr_pool_t *p,
                               const casp_search_t *search, const char *base,
                               apr_time_t deadline,
                               apr_array_header_t **entries,
                               casp_dirwhy_t *why);

/** Bind as a user; @a pw is set where it is CASP_WIRE_OK. */
casp_wire_e casp_dirask_check(casp_link_t *link, const char *name,
                              const char *password, apr_time_t deadline,
                              casp_pw_e *pw, casp_dirwhy_t *why);

/**
 * What a bind's result says about a password.
 * @param diagnostic the server's text, or NULL
 */
casp_pw_e casp_dirask_judge(int code, const char *diagnostic,
                            casp_dirwhy_t *why);

/** AD's "data 52e": the number, or -1. */
long casp_dirask_data_code(const char *diagnostic);

/* ----------------------------------------------------------- directory.c */

/** One operation on a connection that the guard knows. */
typedef casp_wire_e casp_dirask_fn(casp_link_t *link, apr_time_t deadline,
                                   void *baton, casp_dirwhy_t *why);
/** A place in a pool of connections, with a connection while it is out. */
typedef struct casp_slot_t casp_slot_t;

/**
 * Let one server after the other be asked, until one answers.
 * @param deadline 0: now + the search time-out
 * @param held NULL, or set where the link is held: the caller's until
 *             casp_dirpool_return()
 */
casp_wire_e casp_directory_run(casp_directory_t *dir, apr_pool_t *p,
                               casp_linkkind_e kind, apr_time_t deadline,
                               casp_dirask_fn *ask, void *baton,
                               casp_slot_t **held, const char **why);

/** Are all its servers spoken to through TLS? */
bool casp_directory_all_tls(const casp_directory_t *dir);

/* ------------------------------------------------------------ dirrelay.c */

/** casp_directory_relay_begin() without its look at TLS, for a test. */
casp_relay_e casp_dirrelay_begin(casp_directory_t *dir, apr_pool_t *p,
                                 const void *token, apr_size_t len,
                                 apr_time_t deadline, casp_relay_t **relay,
                                 casp_relayed_t *told);

/* -------------------------------------------------- dirpool.c, dircrew.c */

typedef struct {
    int pool_min, pool_smax, pool_hmax;
    apr_interval_time_t pool_ttl, rest;
    casp_directory_stats_t *stats;
} casp_dirpool_conf_t;

/** Copies all it needs: it may outlive every pool of APR. */
casp_dirpool_t *casp_dirpool_make(const casp_dirwire_conf_t *wire,
                                  const casp_dirpool_conf_t *conf,
                                  const casp_dirtarget_t *targets,
                                  int ntargets);
apr_status_t casp_dirpool_start(casp_dirpool_t *pool);
/** End all waits and threads within a second. */
void casp_dirpool_stop(casp_dirpool_t *pool);
void casp_dirpool_ref(casp_dirpool_t *pool);
void casp_dirpool_unref(casp_dirpool_t *pool);

/** A request comes in; false: the pool is stopping.  Pair with leave. */
bool casp_dirpool_enter(casp_dirpool_t *pool);
void casp_dirpool_leave(casp_dirpool_t *pool);

/**
 * The servers in the order to be tried, and a background look at those whose
 * rest is over.
 * @param order room for all
 * @return how many of them, from the front, are worth a share of the time
 */
int casp_dirpool_plan(casp_dirpool_t *pool, int *order);

/**
 * A connection to a server; waits for a place and for a connector.
 * @param fresh not one that was idle
 */
casp_wire_e casp_dirpool_get(casp_dirpool_t *pool, int server,
                             casp_linkkind_e kind, bool fresh,
                             apr_time_t deadline, casp_slot_t **slot,
                             casp_dirwhy_t *why);
casp_link_t *casp_dirpool_link(casp_slot_t *slot);
/** Give it back; a broken connection is closed. */
void casp_dirpool_put(casp_dirpool_t *pool, casp_slot_t *slot);

/** It stays out when the thread leaves; the pool is kept for it.  Between
 *  enter and leave. */
void casp_dirpool_lend(casp_dirpool_t *pool);
/** Give back what was lent; also when the pool has stopped meanwhile. */
void casp_dirpool_return(casp_dirpool_t *pool, casp_slot_t *slot);

/** A server failed in the middle of an operation: let it rest. */
void casp_dirpool_fault(casp_dirpool_t *pool, int server,
                        const casp_dirwhy_t *why);

/** The first rootDSE that was read, or NULL. */
const casp_directory_root_t *casp_dirpool_root(casp_dirpool_t *pool);

/** At @a deadline the guard ends every wait on this link. */
void casp_dirpool_arm(casp_link_t *link, apr_time_t deadline);
/** @return false: the guard was there first, the link is broken */
bool casp_dirpool_disarm(casp_link_t *link);
/** Show the guard a socket; false: too late, or the pool is stopping. */
bool casp_dirpool_watch(casp_link_t *link, int fd);
bool casp_dirpool_stopping(casp_dirpool_t *pool);

#endif /* CASP_DIRWIRE_H */
