/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file eas.h
 * What an ActiveSync request says about itself: protocol version, command and
 * device, from its query string in both forms (MS-ASHTTP 2.2.1.1.1).
 */

#ifndef CASP_EAS_H
#define CASP_EAS_H

#include "mod_casproxy.h"

typedef struct {
    int version; /**< times 10: 25, 121, 140; 0: it says none */
    const char *command; /**< "Sync", "Ping"; NULL: none, or unknown */
    const char *user, *device_id, *device_type; /**< NULL: not said */
    bool encoded; /**< the query is the base64 form */
} casp_eas_t;

/**
 * Read them.  A claim, all of it: for routing by version and for the log.
 * @param query  raw query string, or NULL
 * @param header MS-ASProtocolVersion, or NULL; not looked at where the query
 *               is the base64 form, which holds the version itself
 */
void casp_eas_read(apr_pool_t *p, const char *query, const char *header,
                   casp_eas_t *eas);

#endif /* CASP_EAS_H */
