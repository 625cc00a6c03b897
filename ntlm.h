/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file ntlm.h
 * NTLM, verified by somebody who can: Samba's ntlm_auth helper before winbind,
 * or a domain controller to which the handshake is relayed.  No NTLM message
 * is made or judged here.
 *
 * A handshake that is under way holds a helper or a connection.  Their number
 * and their time are bounded: an older one than @a patience is given up, and
 * a newcomer who finds all places taken takes that of the oldest that has
 * waited for more than a second.
 */

#ifndef CASP_NTLM_H
#define CASP_NTLM_H

#include "directory.h"
#include "negotiate.h"

/** The verifier of one process and virtual host; any thread. */
typedef struct casp_ntlm_t casp_ntlm_t;

typedef struct {
    casp_directory_t *directory; /**< relay to it; NULL: the helper */
    const char *const *helper; /**< argv without --helper-protocol, NULL at
                                    the end; unused with a directory */
    int places; /**< handshakes at once; 0: 12 */
    apr_interval_time_t patience; /**< of a half-open one; 0: 30 s */
    apr_interval_time_t timeout; /**< of one step; 0: 10 s */
} casp_ntlm_conf_t;

/** Prepare in a child, after the last fork; helpers start when needed.  A
 *  cleanup on @a p ends them. */
casp_ntlm_t *casp_ntlm_create(apr_pool_t *p, const casp_ntlm_conf_t *conf);

typedef enum {
    CASP_NTLM_MORE = 0, /**< @a out goes to the client; the handshake goes on
                             on this connection */
    CASP_NTLM_OK,
    CASP_NTLM_REFUSED, /**< wrong password, disabled, ...; see why */
    CASP_NTLM_LOST, /**< no such handshake any more: begin again */
    CASP_NTLM_BUSY, /**< too many are under way */
    CASP_NTLM_UNAVAILABLE /**< nobody could say; see why */
} casp_ntlm_e;

typedef struct {
    const void *out; /**< in @a p; may be NULL where it is OK */
    apr_size_t out_len;
    casp_verified_t who;
    const char *why; /**< a sentence for the log */
} casp_ntlm_answer_t;

/**
 * A handshake's first token (NTLM_1 or SPNEGO_NTLM).
 * @param id set where it is MORE: what the next step names; never 0
 */
casp_ntlm_e casp_ntlm_begin(casp_ntlm_t *n, apr_pool_t *p, const void *token,
                            apr_size_t len, uint64_t *id,
                            casp_ntlm_answer_t *answer);
/** The next token.  Whatever it is but MORE, the handshake has ended. */
casp_ntlm_e casp_ntlm_step(casp_ntlm_t *n, apr_pool_t *p, uint64_t id,
                           const void *token, apr_size_t len,
                           casp_ntlm_answer_t *answer);
/** Its client has gone, or begins anew.  0 and unknown ids are fine. */
void casp_ntlm_drop(casp_ntlm_t *n, uint64_t id);
/** About once a second: give up what took too long, idle helpers too. */
void casp_ntlm_tick(casp_ntlm_t *n, apr_time_t now);

#endif /* CASP_NTLM_H */
