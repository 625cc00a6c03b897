/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file verdict.h
 * One function from a request to a decision, for the module and for
 * casproxyctl alike: protocol.c reads the URL, mailbox.c finds the mailbox,
 * question.c turns both and the topology into a question, decision.c answers.
 */

#ifndef CASP_VERDICT_H
#define CASP_VERDICT_H

#include "org.h"
#include "protocol.h"

/** What a request says; strings outlive the verdict. */
typedef struct {
    const char *method;
    const char *target; /**< raw request target: "/owa/?a=b" */
    const char *host; /**< Host header: name[:port] */
    bool https; /**< TLS, or believed to be */
    const apr_table_t *headers; /**< may be NULL */
    const char *local_address; /**< of the front, for its site; may be NULL */
    casp_by_e by; /**< how the user is authenticated */
    bool at_logon; /**< the moment of the logon POST */
    const char *user; /**< the name as typed or as another module gave it */
    bool user_known; /**< key/own were already found: see own */
    const casp_mailbox_t *own; /**< the user's record where user_known */
    casp_cache_e own_cache;
    const char *anchor; /**< mailbox that a program works on (EWS), as it names
                             it in its request: routed by, for a known user
                             only; NULL: see X-AnchorMailbox, else none */
    apr_size_t anchor_len;
    casp_key_e anchor_kind; /**< SMTP, UPN, or SID in binary */
    bool loop_cookie; /**< our redirection marker came back */
    bool mail; /**< the target may be a mail proxy's question */
    bool rewritten; /**< another module put another URL in its place */
    bool on_paper; /**< the decision as the sources have it, also where there
                        are no credentials to carry it out with */
} casp_ask_t;

typedef struct {
    casp_decision_t decision;
    casp_url_t url;
    const char *read; /**< the ask's target that url was read from */
    const char *user; /**< canonical, or as typed */
    const casp_mailbox_t *own; /**< NULL: unknown user */
    const casp_mailbox_t *mailbox; /**< that decides: own, or the URL's */
    casp_version_e version; /**< of the mailbox */
    const char *server, *site, *database; /**< names; NULL where unknown */
    const char *front_site;
    casp_cache_e cache;
    apr_interval_time_t lookup; /**< time spent on the directory */
    const char *detail; /**< a sentence for the log or the person; NULL */
    const char *asked; /**< URL of the backend asked last; NULL: none */
} casp_verdict_t;

/**
 * What can be said before anybody logs on: the URL is refused, not published,
 * or plain http.  Fills v->url in any case.
 * @return true: decided
 */
bool casp_verdict_before_logon(apr_pool_t *p, const casp_settings_t *s,
                               const casp_dir_settings_t *d,
                               const casp_ask_t *ask, casp_verdict_t *v);

/**
 * The decision for a user who has been identified.  @a v comes from
 * casp_verdict_before_logon(), whose reading of the URL still holds where the
 * ask has the same target; or it is all zeros.
 * @param org the directory; its topology is held only during the call:
 *            everything in the verdict lies in @a p
 */
void casp_verdict_reach(apr_pool_t *p, const casp_settings_t *s,
                        const casp_dir_settings_t *d, casp_org_t *org,
                        const casp_ask_t *ask, casp_verdict_t *v);

/**
 * The site this front stands in: CasProxySite, the only site, or by address.
 * @return NULL and a sentence in @a why where it cannot be told
 */
const casp_site_t *casp_verdict_front_site(apr_pool_t *p,
                                           const casp_settings_t *s,
                                           const casp_topology_t *t,
                                           const char *local_address,
                                           const char **why);

#endif /* CASP_VERDICT_H */
