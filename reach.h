/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file reach.h
 * The backends of a question: how each server is reached, and which of the
 * organisation's URLs lead back to this front.
 */

#ifndef CASP_REACH_H
#define CASP_REACH_H

#include "candidates.h"
#include "question.h"

/** Under which names this front is known. */
typedef struct {
    const char *request; /**< normal host[:port] of the request, or NULL */
    const char *external; /**< of CasProxyExternalURL, or NULL */
} casp_here_t;

casp_here_t casp_here_find(apr_pool_t *p, const casp_scene_t *scene);
/** Does whoever is sent to this URL arrive at us again? */
bool casp_here_is(apr_pool_t *p, const casp_here_t *here, const char *url);

/** The same host[:port], without case?  NULL is nobody's. */
bool casp_reach_same_host(const char *a, const char *b);
/** A host without its port. */
const char *casp_reach_host_name(apr_pool_t *p, const char *host);
/** scheme://host[:port] of a checked web URL. */
const char *casp_reach_origin(apr_pool_t *p, const char *url);
/** POP3, IMAP4 or SMTP: a mail proxy stands before these, and its TLS is its
 *  own. */
bool casp_reach_is_mail(casp_protocol_e protocol);

/** A list of backends in the making. */
typedef struct {
    int n;
    casp_backend_t *list;
    uint64_t facts; /**< CASP_REACH_FACTS */
} casp_reach_t;

/** Client Access servers, in this user's own order. */
void casp_reach_cas(apr_pool_t *p, const casp_scene_t *scene,
                    const casp_here_t *here, apr_array_header_t *list,
                    casp_reach_t *to);
/** One server reached by its own name: 2003's back-end by http, port 80, and
 *  the 2007 mailbox server's WebDAV. */
void casp_reach_home(apr_pool_t *p, const casp_scene_t *scene,
                     const casp_here_t *here, casp_reach_t *to);
/** Servers with a 2003 public store, by FQDN.  @return there is one */
bool casp_reach_public(apr_pool_t *p, const casp_scene_t *scene,
                       const casp_here_t *here, casp_reach_t *to);

#endif /* CASP_REACH_H */
