/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file ntlmhelper.h
 * Private to ntlm.c and the two files that speak with Samba for it.
 *
 *   ntlm.c          handshakes, and who verifies them
 *   ntlmhelper.c    ntlm_auth processes: a line there, a line back
 *   ntlmwinbind.c   what their answers mean; SIDs by libwbclient
 */

#ifndef CASP_NTLMHELPER_H
#define CASP_NTLMHELPER_H

#include "ntlm.h"

/* ----------------------------------------------------------- ntlmhelper.c */

/** A helper process.  Owned by one thread at a time; from malloc(). */
typedef struct casp_helper_t casp_helper_t;
struct casp_helper_t {
    int pid;
    int fd; /**< its stdin and stdout */
    bool used; /**< has answered before */
    apr_time_t since; /**< idle, or asked to end */
    casp_helper_t *next; /**< for its owner's lists */
};

/**
 * Start one, without a shell.
 * @param argv without --helper-protocol, NULL at the end
 * @return NULL: see @a why
 */
casp_helper_t *casp_helper_start(apr_pool_t *p, const char *const *argv,
                                 const char **why);

/** Is an idle one still there, and silent? */
bool casp_helper_fit(const casp_helper_t *h);

/**
 * Ask, and wait for the answer.
 * @param word YR for a first token, KK for the next ones
 * @return the line, in @a p; NULL: see @a why, and the helper must end
 */
char *casp_helper_ask(casp_helper_t *h, apr_pool_t *p, const char *word,
                      const void *token, apr_size_t len, apr_time_t deadline,
                      const char **why);

/** End the wait of the thread that asks; from any other. */
void casp_helper_interrupt(casp_helper_t *h);

/** Let it end; never waits.  Then call casp_helper_gone() until it is.
 *  @param kill it is not to be trusted to end by itself */
void casp_helper_end(casp_helper_t *h, bool kill);

/** Has it ended?  If so it is reaped and freed. */
bool casp_helper_gone(casp_helper_t *h, apr_time_t now);

/* ---------------------------------------------------------- ntlmwinbind.c */

/**
 * What an NT_STATUS that ntlm_auth names means: REFUSED or UNAVAILABLE, with
 * a sentence in @a p.
 * @param trouble it says that it could not ask, rather than no
 */
casp_ntlm_e casp_winbind_judge(apr_pool_t *p, const char *status, bool trouble,
                               const char **why);

/**
 * Who is this?  Sets the canonical name and, where winbindd tells, the SID.
 * @param name as ntlm_auth says it
 * @return NULL, or why this is nobody's account
 */
const char *casp_winbind_identify(apr_pool_t *p, const char *name,
                                  casp_verified_t *who);

#endif /* CASP_NTLMHELPER_H */
