/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file candidates.h
 * Which servers of the organisation could serve a protocol for mailboxes of a
 * version in a site, and which of their URLs is the one to send people to.
 * Shared by the question (question.c), Autodiscover's answers and reports.
 */

#ifndef CASP_CANDIDATES_H
#define CASP_CANDIDATES_H

#include "topology.h"

/** A server that could serve. */
typedef struct {
    const casp_server_t *server;
    const casp_vdir_t *vdir; /**< NULL: AD shows none */
    uint64_t weight; /**< for one user's own order; see casp_candidates_sort */
} casp_candidate_t;

/**
 * Who could serve a protocol for mailboxes of a version in a site, by FQDN:
 * servers with the virtual directory; where AD shows none at all (UM, POP3,
 * IMAP4), the Client Access servers themselves.
 * @return casp_candidate_t elements, in @a p; they point into the topology
 */
apr_array_header_t *casp_candidates(apr_pool_t *p, const casp_topology_t *t,
                                    casp_protocol_e protocol,
                                    casp_version_e version,
                                    const casp_site_t *site);

/** The best of them to send people to: the user's own way to authenticate
 *  first, then by FQDN.  @param internal by InternalURL.  NULL: none */
const casp_vdir_t *casp_candidates_target(const apr_array_header_t *list,
                                          casp_by_e by, bool internal);

/** Into this user's own order, which moves few users when a server comes or
 *  goes. */
void casp_candidates_sort(apr_array_header_t *list, const casp_guid_t *user);

/** 2007's and 2010's old directories (/exchange, ...) are of OWA's class too:
 *  is this one of them? */
bool casp_candidates_old_directory(const casp_vdir_t *v);

#endif /* CASP_CANDIDATES_H */
