/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file topoindex.h
 * Between topology.c, which makes a snapshot, and topoindex.c, which finds
 * things in it; no other room needs this.
 */

#ifndef CASP_TOPOINDEX_H
#define CASP_TOPOINDEX_H

#include <apr_hash.h>

#include "topology.h"

/** Keys in lower case, GUIDs as 16 bytes, DNs in normal form. */
typedef struct casp_topology_index_t {
    apr_pool_t *pool;
    apr_hash_t *site_by_name;
    apr_hash_t *server_by_id, *server_by_fqdn, *server_by_name;
    apr_hash_t *server_by_legacy;
    apr_hash_t *database_by_id, *database_by_dn, *database_by_name;
    apr_hash_t *domain_by_netbios, *domain_by_dns, *domain_by_base;
    apr_hash_t *subnet; /**< by family, prefix length and address */
    apr_hash_t *vdirs_by_site; /**< by the site's address */
    apr_array_header_t *no_vdirs;
    unsigned char has_prefix[2][129]; /**< of IPv4 and of IPv6 */
} casp_topology_index_t;

/** ASCII to lower case, in place. */
void casp_topoindex_fold(char *text);

casp_topology_index_t *casp_topoindex_make(apr_pool_t *p);

/** "10.1.0.0/16", "2001:db8::/32". @return false: it is none */
bool casp_topoindex_add_subnet(casp_topology_index_t *ix, const char *prefix,
                               const casp_site_t *site);

/** @return another server that already has one of its unique names */
const casp_server_t *casp_topoindex_add_server(casp_topology_index_t *ix,
                                               const casp_server_t *s);

/** @return another database with its GUID */
const casp_database_t *casp_topoindex_add_database(casp_topology_index_t *ix,
                                                   const casp_database_t *d);

/** Sites and domains, once they are all there. */
void casp_topoindex_finish(casp_topology_index_t *ix,
                           const casp_topology_t *t);

#endif /* CASP_TOPOINDEX_H */
