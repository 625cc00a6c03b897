/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file anchor.h
 * The mailbox that an EWS program works on, where it is not its own: the
 * ExchangeImpersonation of a SOAP header.  A claim: the backend decides what
 * the user may do there; here it only says where the mailbox lives.
 */

#ifndef CASP_ANCHOR_H
#define CASP_ANCHOR_H

#include "mailbox.h"

/** How far a message was looked at; all zeros at its beginning. */
typedef struct {
    int state; /**< anchor.c's: what the next byte belongs to */
    char quote; /**< the one that an attribute's value ends at */
    int depth; /**< elements that are open */
    apr_size_t at; /**< bytes behind us */
    apr_size_t markup; /**< where the "<" before it stands */
    apr_size_t root, root_len; /**< the name of the outermost element */
    apr_size_t end; /**< of the SOAP header, where it was found */
} casp_anchor_scan_t;

typedef enum {
    CASP_ANCHOR_MORE = 0, /**< the header goes on behind what is there */
    CASP_ANCHOR_FOUND, /**< all of the header is there */
    CASP_ANCHOR_NONE /**< there is none, or it is nothing to be read here */
} casp_anchor_e;

/**
 * Look for the end of a SOAP message's header.
 * @param data the message from its first byte on; each call goes on where the
 *             last one ended
 */
casp_anchor_e casp_anchor_scan(casp_anchor_scan_t *scan, const char *data,
                               apr_size_t len);
/** Read a header that was found: see casp_anchor_read(). */
const char *casp_anchor_parse(apr_pool_t *p, const casp_anchor_scan_t *scan,
                              const char *data, casp_key_e *kind,
                              apr_size_t *name_len);

/**
 * Look for it at the beginning of a SOAP message.
 * @param data  may end anywhere; nothing behind the SOAP header is looked at
 * @param kind  SMTP, UPN or SID of the answer
 * @return the address or name in @a p (a SID in binary), or NULL: none
 */
const char *casp_anchor_read(apr_pool_t *p, const char *data, apr_size_t len,
                             casp_key_e *kind, apr_size_t *name_len);

#endif /* CASP_ANCHOR_H */
