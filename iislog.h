/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file iislog.h
 * A decision in the words of Exchange's own logs: the suffix of its IIS log,
 * and the ids of its events, for the tools and people that read those.
 */

#ifndef CASP_IISLOG_H
#define CASP_IISLOG_H

#include "verdict.h"

/**
 * "&Log=PrxTo:host_", "&Log=RdirTo:https%3a%2f%2f..._Error:MisconfiguredDevice_"
 * and so on: items, each ended by an underscore.
 * @return in @a p; NULL: nothing to say
 */
const char *casp_iislog_text(apr_pool_t *p, const casp_verdict_t *v);

/** The event of source "MSExchange ActiveSync" (or OWA's) that Exchange would
 *  have written; 0: none. */
int casp_iislog_event(const casp_verdict_t *v);

#endif /* CASP_IISLOG_H */
