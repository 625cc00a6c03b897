/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file topology.h
 * The organisation as one immutable snapshot: sites, servers, databases,
 * client access arrays, virtual directories, domains.
 *
 * A snapshot lives in a pool of its own and is reference-counted.  It is
 * built by one thread, then read by all without a lock, and never changed.
 */

#ifndef CASP_TOPOLOGY_H
#define CASP_TOPOLOGY_H

#include "entry.h"

typedef struct casp_topology_t casp_topology_t;

typedef struct {
    const char *name; /**< "Berlin" */
    const char *dn; /**< normal form */
    casp_guid_t id;
} casp_site_t;

/** msExchCurrentServerRoles. */
enum {
    CASP_ROLE_CAFE = 1,
    CASP_ROLE_MAILBOX = 2,
    CASP_ROLE_CAS = 4,
    CASP_ROLE_UM = 16,
    CASP_ROLE_HUB = 32,
    CASP_ROLE_EDGE = 64
};

typedef struct {
    const char *name; /**< cn */
    const char *fqdn; /**< from networkAddress ncacn_ip_tcp:, lower case;
                           never NULL: the cn where AD has none */
    const char *dn; /**< normal form */
    const char *legacy_dn;
    casp_guid_t id;
    casp_version_e version; /**< CASP_V_NONE: unknown, reported */
    int major, minor, build;
    int roles; /**< CASP_ROLE_*; 2003 back end: MAILBOX */
    const casp_site_t *site; /**< NULL for 2003, and where it is missing */
} casp_server_t;

typedef struct {
    const char *name;
    const char *dn; /**< normal form */
    casp_guid_t id;
    bool is_public;
    const casp_server_t *owner; /**< where it is mounted; NULL: reported */
    int ncopies;
    const casp_server_t **copies;
    /** RpcClientAccessServer: the array or server that the legacyExchangeDN
     *  names, and its site; NULL where it is neither. */
    const char *array;
    const casp_site_t *array_site;
    const casp_guid_t *oab; /**< its offline address book, or the default one;
                                 NULL: none */
} casp_database_t;

/** A virtual directory of a server; "(Exchange Back End)" ones are left out.*/
typedef struct {
    casp_protocol_e protocol;
    const casp_server_t *server;
    const char *name; /**< cn: "owa (Default Web Site)" */
    const char *internal_url; /**< a checked absolute URL, or NULL */
    const char *external_url;
    const char *nlb_url; /**< InternalNLBBypassUrl */
    uint32_t internal_auth, external_auth;
    const char *exchange2003_url; /**< OWA */
    const char *failback_url; /**< OWA */
    int redirect_to_optimal; /**< OWA: 1, 0, or -1 where AD is silent */
} casp_vdir_t;

/** A domain of the forest, from its crossRef. */
typedef struct {
    const char *netbios; /**< "CONTOSO"; "" where AD has none */
    const char *dns; /**< "contoso.test" */
    const char *base; /**< DN as written in AD */
    const char *base_normal;
} casp_domain_t;

/** What is wrong in the organisation, once each. */
typedef struct {
    const char *dn;
    const char *text;
} casp_problem_t;

/** The contents; arrays hold pointers to the structures above. */
struct casp_topology_t {
    apr_pool_t *pool;
    volatile apr_uint32_t refs;
    apr_time_t read_at; /**< when the directory was asked */
    const char *from; /**< "ldaps://dc1", "ldif:/path", state file */
    const char *org; /**< name of the organisation, NULL if none */
    const char *default_nc; /**< default naming context, as written */
    apr_array_header_t *sites; /**< const casp_site_t * */
    apr_array_header_t *servers; /**< const casp_server_t *, by FQDN */
    apr_array_header_t *databases; /**< const casp_database_t * */
    apr_array_header_t *vdirs; /**< const casp_vdir_t *, by FQDN */
    apr_array_header_t *domains; /**< const casp_domain_t * */
    apr_array_header_t *problems; /**< const casp_problem_t * */
    struct casp_topology_index_t *index;
};

/** The attributes that a topology search asks for; NULL at the end. */
extern const char *const casp_topology_attrs[];

/**
 * The filter of the topology search below the Configuration naming context:
 * every class that casp_topology_build() reads.
 */
extern const char casp_topology_filter[];

/**
 * Build a snapshot.  Never fails on bad content: an inconsistency is left out
 * or kept half, and told in problems.  The caller owns the one reference.
 *
 * @param entries    of casp_entry_t *; users among them are passed over;
 *                   everything needed is copied
 * @param from       where they came from, for people
 * @param default_nc the default naming context, or NULL: the first crossRef
 *                   of a domain
 * @param read_at    when
 */
casp_topology_t *casp_topology_build(const apr_array_header_t *entries,
                                     const char *from, const char *default_nc,
                                     apr_time_t read_at);

/** One more reference; returns its argument. */
casp_topology_t *casp_topology_ref(casp_topology_t *t);
/** One less; the last one destroys the snapshot. */
void casp_topology_unref(casp_topology_t *t);

/* Looking things up; NULL where there is none, and where a name that need not
 * be unique (of a database, without domain) belongs to several.  Names
 * without case. */
const casp_site_t *casp_topology_site(const casp_topology_t *t,
                                      const char *name);
/** The site whose most specific subnet holds the address (v4 or v6 text). */
const casp_site_t *casp_topology_site_of_address(const casp_topology_t *t,
                                                 const char *address);
/** The virtual directories of a site's servers, by FQDN; never NULL. */
const apr_array_header_t *casp_topology_vdirs_of_site(const casp_topology_t *t,
                                                      const casp_site_t *site);
const casp_server_t *casp_topology_server(const casp_topology_t *t,
                                          const casp_guid_t *id);
const casp_server_t *
casp_topology_server_by_legacy_dn(const casp_topology_t *t,
                                  const char *legacy_dn);
/** By FQDN or, without a dot, by name. */
const casp_server_t *casp_topology_server_by_host(const casp_topology_t *t,
                                                  const char *host);
const casp_database_t *casp_topology_database(const casp_topology_t *t,
                                              const casp_guid_t *id);
/** By DN in any spelling. */
const casp_database_t *casp_topology_database_by_dn(const casp_topology_t *t,
                                                    const char *dn);
const casp_database_t *casp_topology_database_by_name(const casp_topology_t *t,
                                                      const char *name);
const casp_domain_t *casp_topology_domain_by_netbios(const casp_topology_t *t,
                                                     const char *netbios);
const casp_domain_t *casp_topology_domain_by_dns(const casp_topology_t *t,
                                                 const char *dns);
/** The domain that a user's DN lies in. */
const casp_domain_t *casp_topology_domain_of_dn(const casp_topology_t *t,
                                                const char *dn);

/**
 * A server's version from what AD says: serialNumber, with the +30000 rule,
 * else versionNumber.  CASP_V_NONE where neither can be read.
 */
casp_version_e casp_version_of(const char *serial, int64_t version_number,
                               int *major, int *minor, int *build);

/** The version of msExchVersion, a last resort: the object's, not its home. */
casp_version_e casp_version_of_object(int64_t msexch_version);

/**
 * Check an absolute http(s) URL as a directory attribute must be: a host that
 * is a name or an address, no user, no control characters, no fragment.
 * @return the URL with scheme and host in lower case and without a trailing
 *         slash or default port, in @a p; NULL where it is broken
 */
const char *casp_url_check(apr_pool_t *p, const char *url);

/** The host[:port] of a checked URL, in @a p; default ports are left out. */
const char *casp_url_host(apr_pool_t *p, const char *url);
/** The path of a checked URL ("" or "/owa"), inside it. */
const char *casp_url_path(const char *url);
/** Is it https? */
bool casp_url_https(const char *url);

#endif /* CASP_TOPOLOGY_H */
