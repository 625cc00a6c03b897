/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file decision.h
 * The rules: a question in, a decision out.  Pure: no clock, no I/O, no
 * topology, no httpd; the same question always has the same answer.
 */

#ifndef CASP_DECISION_H
#define CASP_DECISION_H

#include "mod_casproxy.h"

/**
 * The facts of a question, as X(NAME, bit, "name for people").
 *
 * "Here" is said of a URL whose host is the request's, or that of
 * CasProxyExternalURL, or whose redirection has just come back to us: whoever
 * is sent there asks us again.
 */
#define CASP_FACTS(X)                                             \
    /* before anybody logs on */                                  \
    X(URL_REFUSED, 0, "url-refused")                              \
    X(NOT_PUBLISHED, 1, "not-published")                          \
    X(PLAIN_HTTP, 2, "plain-http-refused")                        \
    X(PAGE_LOAD, 3, "page-load")                                  \
    /* who asks, and for whose mailbox */                         \
    X(NO_USER, 4, "no-user")                                      \
    X(DIRECTORY_DOWN, 5, "directory-down")                        \
    X(AMBIGUOUS, 6, "ambiguous")                                  \
    X(USER_UNKNOWN, 7, "user-unknown")                            \
    X(DISABLED, 8, "account-disabled")                            \
    X(MAILBOX_UNKNOWN, 9, "named-mailbox-unknown")                \
    X(REMOTE, 10, "remote-mailbox")                               \
    X(NO_MAILBOX, 11, "no-mailbox")                               \
    X(OWA_OFF, 12, "owa-disabled")                                \
    X(EAS_OFF, 13, "activesync-disabled")                         \
    X(OWN_2007, 14, "own-mailbox-on-2007")                        \
    /* the organisation */                                        \
    X(DATABASE_UNKNOWN, 15, "database-unknown")                   \
    X(VERSION_UNKNOWN, 16, "version-unknown")                     \
    X(FRONT_SITE_UNKNOWN, 17, "front-site-unknown")               \
    X(SITE_UNKNOWN, 18, "site-unknown")                           \
    X(NO_CAS, 19, "no-cas-in-site")                               \
    X(SAME_SITE, 20, "same-site")                                 \
    X(EXTERNAL, 21, "external-url")                               \
    X(EXTERNAL_HERE, 22, "external-url-is-here")                  \
    X(INTERNAL, 23, "internal-url")                               \
    X(INTERNAL_HERE, 24, "internal-url-is-here")                  \
    X(URL_2003, 25, "exchange2003-url")                           \
    X(URL_2003_HERE, 26, "exchange2003-url-is-here")              \
    X(FAILBACK, 27, "failback-url")                               \
    X(ARRAY_HERE, 28, "array-in-front-site")                      \
    X(FRONT_LEGACY, 29, "front-site-has-legacy-url")              \
    X(PUBLIC_2003, 30, "public-store-on-2003")                    \
    /* settings */                                                \
    X(SILENT, 31, "cross-site-silent")                            \
    X(NO_OPTIMAL, 32, "redirect-to-optimal-off")                  \
    X(REDIRECT_MODE, 33, "redirect-mode")                         \
    X(SSO_OFF, 34, "sso-off")                                     \
    X(TWO_FACTOR, 35, "sso-two-factor")                           \
    X(PRE_AUTH, 36, "sso-pre-authentication")                     \
    /* the request */                                             \
    X(WEBDAV, 37, "webdav")                                       \
    X(AT_LOGON, 38, "at-logon")                                   \
    X(TLS, 39, "tls")                                             \
    /* the backends, and none that can be logged on at */         \
    X(BACKEND, 40, "backend")                                     \
    X(BACKEND_HERE, 41, "backend-is-here")                        \
    X(INTEGRATED, 42, "integrated-without-delegation")            \
    X(PLAIN_BACKEND, 43, "password-only-by-plain-http")           \
    X(NO_COMMON_LOGIN, 44, "no-common-authentication")            \
    /* derived by the rules themselves from a first outcome */    \
    X(TO_PROXY, 45, "outcome-is-a-proxy")                         \
    X(FORM_TO_HTTP, 46, "logon-form-to-plain-http")               \
    /* phones */                                                  \
    X(EAS_METHOD, 47, "method-of-no-device")                      \
    X(EAS_451, 48, "device-gets-451")                             \
    /* Autodiscover: the parts of it that old servers lack */     \
    X(CAN_MOVE, 49, "method-that-moves-to-https")                 \
    X(ANSWER, 50, "answered-by-this-front")                       \
    X(TOO_OLD, 51, "endpoint-newer-than-mailbox")                 \
    /* servers of the front's generation, for older mailboxes */  \
    X(STANDIN, 52, "stand-in")                                    \
    X(STANDIN_THERE, 53, "stand-in-in-mailbox-site")              \
    /* Outlook Anywhere's conditions, where a row does not ask */ \
    X(RPC_OFF, 54, "rpc-not-enabled")                             \
    X(RPC_NOT_INTEGRATED, 55, "rpc-without-integrated")           \
    /* POP3 and IMAP4 */                                          \
    X(MAIL_OFF, 56, "mail-protocol-disabled")

/** The bit of a fact.  No enum constant: those are ints in C99. */
#define CASP_F(name) ((uint64_t)1 << CASP_BIT_##name)
#define CASP_FACT_BIT(name, bit, text) CASP_BIT_##name = (bit),
enum { CASP_FACTS(CASP_FACT_BIT) CASP_FACT_COUNT };

/** Where a redirection can lead. */
typedef enum {
    CASP_TO_NONE = 0,
    CASP_TO_BACKEND, /**< a proxy action: the question's backends */
    CASP_TO_STANDIN, /**< a proxy action: the question's stand-ins */
    CASP_TO_EXTERNAL, /**< ExternalURL in the mailbox's site */
    CASP_TO_INTERNAL, /**< InternalURL there (2007 in our own site) */
    CASP_TO_2003, /**< Exchange2003URL */
    CASP_TO_FAILBACK, /**< FailbackURL of the target */
    CASP_TO_FRONT_LEGACY, /**< ExternalURL of a 2007 CAS in the front's site */
    CASP_TO_OWA_HERE, /**< /owa on this host */
    CASP_TO_HTTPS_HERE, /**< the same URL on this host, by https */
    CASP_TO_COUNT
} casp_to_e;

typedef struct {
    const char *url; /**< where the person arrives; NULL: none */
    const char *same; /**< that host with the request's path and query */
    uint32_t auth; /**< CASP_AUTH_* bits over there */
} casp_goal_t;

/** A question: everything that the rules may look at. */
typedef struct {
    casp_front_e front;
    casp_version_e version; /**< of the mailbox */
    casp_protocol_e protocol;
    casp_legacy_e legacy;
    casp_by_e by;
    uint64_t facts; /**< CASP_F() bits */
    const char *refused; /**< reason of a refused URL */
    casp_goal_t to[CASP_TO_COUNT];
    int nbackends;
    casp_backend_t *backends;
    /** Servers of the front's own generation, which answer for older
     *  mailboxes too; and their own CASP_REACH_FACTS. */
    int nstandins;
    casp_backend_t *standins;
    uint64_t standin_facts;
} casp_question_t;

/** What is said of a list of backends: in a question's facts of its backends,
 *  in standin_facts of its stand-ins. */
#define CASP_REACH_FACTS                                                 \
    (CASP_F(BACKEND) | CASP_F(BACKEND_HERE) | CASP_F(INTEGRATED)         \
     | CASP_F(PLAIN_BACKEND) | CASP_F(NO_COMMON_LOGIN) | CASP_F(RPC_OFF) \
     | CASP_F(RPC_NOT_INTEGRATED))

/** When a rule is asked. */
typedef enum {
    CASP_STAGE_EARLY = 0, /**< before anybody logs on */
    CASP_STAGE_MAIN,
    CASP_STAGE_CHECK, /**< is the outcome of a MAIN rule possible? */
    CASP_STAGE_WIRE /**< a decision that stands, and cannot be carried out */
} casp_stage_e;

/** One rule.  The first one of its stage that matches wins. */
typedef struct {
    const char *id; /**< stable, kebab-case */
    const char *source; /**< "S000", "S001", "S003", "MS", "OBS", "ours" */
    casp_stage_e stage;
    unsigned fronts; /**< bits of casp_front_e */
    unsigned versions; /**< bits of casp_version_e */
    unsigned protocols; /**< bits of casp_protocol_e and of the legacy paths */
    uint64_t need, forbid;
    casp_action_e action;
    const char *reason; /**< NULL: the refused URL's own */
    casp_to_e to;
    bool same; /**< keep the request's path and query */
    const char *says; /**< the rule in words */
} casp_rule_t;

/** A reason code: its status where it is an error, and what to do about it. */
typedef struct {
    const char *code;
    int status;
    const char *text;
} casp_reason_t;

/** Is it decided before anybody logs on? */
bool casp_decide_early(const casp_question_t *q, casp_decision_t *d);

/** Decide.  @a d takes over the question's strings and backends. */
void casp_decide(const casp_question_t *q, casp_decision_t *d);

/**
 * What the wire does where the decision is a proxying, as the sources have it,
 * but nobody can be logged on at the backends: one 401.
 * @return true: @a d was put in its place
 */
bool casp_decide_wire(casp_decision_t *d);

/** All rules in their order, for the reference and the tests. */
const casp_rule_t *casp_decision_rules(int *count);
/** All reason codes. */
const casp_reason_t *casp_decision_reasons(int *count);
/** One of them; NULL where the code is unknown. */
const casp_reason_t *casp_decision_reason(const char *code);
/** The codes of sso.why, in their order of precedence; NULL at the end. */
extern const char *const casp_decision_sso_whys[];
/** The name of a fact's bit, for people. */
const char *casp_fact_name(int bit);

#endif /* CASP_DECISION_H */
