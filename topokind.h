/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file topokind.h
 * Between topology.c and topokind.c: what an entry is.
 */

#ifndef CASP_TOPOKIND_H
#define CASP_TOPOKIND_H

#include "entry.h"

/** What an entry is; where it is several, the first of these. */
typedef enum {
    CASP_KIND_NONE = 0, /**< users; what inherits from a server but is none */
    CASP_KIND_ARRAY,
    CASP_KIND_SITE,
    CASP_KIND_SUBNET,
    CASP_KIND_CROSSREF,
    CASP_KIND_ORG,
    CASP_KIND_SERVER,
    CASP_KIND_PRIVATE,
    CASP_KIND_PUBLIC,
    CASP_KIND_COPY,
    CASP_KIND_VDIR,
    CASP_KIND_OAB,
    CASP_KIND_COUNT
} casp_topokind_e;

/** What is this entry?  @a protocol: of a virtual directory. */
casp_topokind_e casp_topokind_of(const casp_entry_t *e,
                                 casp_protocol_e *protocol);

#endif /* CASP_TOPOKIND_H */
