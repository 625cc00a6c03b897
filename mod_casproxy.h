/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mod_casproxy.h
 * The words that all rooms share: protocol, version, identity, mailbox and
 * decision, and the way the core speaks to a log.
 *
 * Only APR is included here.  A room of the core must compile without httpd;
 * a check greps for it.
 */

#ifndef MOD_CASPROXY_H
#define MOD_CASPROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <apr_errno.h>
#include <apr_pools.h>
#include <apr_tables.h>
#include <apr_time.h>

#define CASP_VERSION "0.1.0"

#if defined(__GNUC__)
#define CASP_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define CASP_PRINTF(f, a)
#endif

/* ------------------------------------------------------------------ log */

/** Levels have httpd's numbers, so that the skin passes them through. */
typedef enum {
    CASP_LOG_ERROR = 3, /**< an operator must act */
    CASP_LOG_WARNING = 4, /**< degraded, but served */
    CASP_LOG_NOTICE = 5, /**< start, stop, a change of state */
    CASP_LOG_INFO = 6, /**< the one decision line of a request */
    CASP_LOG_DEBUG = 7 /**< steps; never a secret */
} casp_log_e;

typedef void casp_log_cb(void *baton, casp_log_e level, apr_status_t rv,
                         const char *message);

/**
 * Where the core's messages go; the default is nowhere.  Called once, before
 * any thread exists.
 */
void casp_log_set(casp_log_cb *cb, void *baton, casp_log_e level);

/** Raise or lower what reaches the callback. */
void casp_log_level(casp_log_e level);

/**
 * One message.  @a fmt begins with the tag, made by CASPLOGNO(), at every
 * level.  @a rv: an APR status to be told in words, or APR_SUCCESS.
 */
void casp_log(casp_log_e level, apr_status_t rv, const char *fmt, ...)
    CASP_PRINTF(3, 4);

/**
 * A log tag, as httpd has AHnnnnn.  Each is registered once, with its meaning
 * and the operator's next step, in logtags.txt; a check compares.
 */
#define CASPLOGNO(n) "CP" #n ": "

/* ---------------------------------------------------------------- words */

/** An Exchange protocol, as CasProxyPublish and the logs name it. */
typedef enum {
    CASP_PROTO_NONE = 0, /**< not ours: another module may serve it */
    CASP_PROTO_OWA,
    CASP_PROTO_ECP,
    CASP_PROTO_EAS,
    CASP_PROTO_EWS,
    CASP_PROTO_AUTODISCOVER,
    CASP_PROTO_OAB,
    CASP_PROTO_RPC,
    CASP_PROTO_MAPI,
    CASP_PROTO_UM,
    CASP_PROTO_LEGACY, /**< /exchange, /public, /exchweb, /exadmin */
    CASP_PROTO_POWERSHELL,
    CASP_PROTO_POP3, /**< by mailauth.c, for a mail proxy; no URL of httpd's */
    CASP_PROTO_IMAP4,
    CASP_PROTO_SMTP,
    CASP_PROTO_COUNT
} casp_protocol_e;

/** Which of the legacy directories a CASP_PROTO_LEGACY request names. */
typedef enum {
    CASP_LEGACY_NONE = 0,
    CASP_LEGACY_EXCHANGE,
    CASP_LEGACY_PUBLIC,
    CASP_LEGACY_EXCHWEB,
    CASP_LEGACY_EXADMIN
} casp_legacy_e;

/** The version of a server, and so of the mailboxes on it; ordered by age. */
typedef enum {
    CASP_V_NONE = 0,
    CASP_V2000,
    CASP_V2003,
    CASP_V2007,
    CASP_V2010,
    CASP_V2013,
    CASP_V2016,
    CASP_V2019,
    CASP_V_COUNT
} casp_version_e;

/** Whose rules the front follows: CasProxyFrontEnd; ordered by age. */
typedef enum {
    CASP_F2007 = 0,
    CASP_F2010,
    CASP_F2010SP1,
    CASP_F2010SP2,
    CASP_F2010SP3,
    CASP_F2013,
    CASP_F2016,
    CASP_F2019,
    CASP_F_COUNT
} casp_front_e;

/** Exchange's authentication bits, as a virtual directory carries them. */
enum {
    CASP_AUTH_BASIC = 1,
    CASP_AUTH_NTLM = 2,
    CASP_AUTH_FBA = 4,
    CASP_AUTH_DIGEST = 8,
    CASP_AUTH_WINDOWS = 16, /**< WindowsIntegrated */
    CASP_AUTH_CERTIFICATE = 256,
    CASP_AUTH_KERBEROS = 4096,
    CASP_AUTH_NEGOTIATE = 8192
};

/** How a user proved who they are. */
typedef enum {
    CASP_BY_NONE = 0, /**< not at all */
    CASP_BY_BASIC, /**< password at hand */
    CASP_BY_FORMS, /**< password at hand */
    CASP_BY_NTLM, /**< no password: double hop */
    CASP_BY_NEGOTIATE, /**< no password: double hop without delegation */
    CASP_BY_OTHER /**< another module's word */
} casp_by_e;

/** How this front logs on to a backend for the user. */
typedef enum {
    CASP_LOGIN_NONE = 0, /**< not at all: no Authorization header */
    CASP_LOGIN_PASS, /**< another module's user: the client's own header */
    CASP_LOGIN_BASIC, /**< the user's name and password, each request */
    CASP_LOGIN_NTLM, /**< the password, once per leased connection */
    CASP_LOGIN_KERBEROS, /**< a ticket got by the password, each request */
    CASP_LOGIN_DELEGATE, /**< a ticket got by S4U2Self and S4U2Proxy */
    CASP_LOGIN_FORMS, /**< the backend's own logon form; its cookies kept */
    CASP_LOGIN_IMPOSSIBLE, /**< nothing that the user brought would do */
    CASP_LOGIN_COUNT
} casp_login_e;

/** What is done with a request. */
typedef enum {
    CASP_ACTION_NONE = 0,
    CASP_ACTION_DIRECT,
    CASP_ACTION_PROXY,
    CASP_ACTION_PROXY_BACKEND,
    CASP_ACTION_MANUAL_REDIRECT,
    CASP_ACTION_TEMPORARY_REDIRECT,
    CASP_ACTION_SILENT_REDIRECT,
    CASP_ACTION_SSO_REDIRECT,
    CASP_ACTION_EAS_REDIRECT,
    CASP_ACTION_AUTODISCOVER_REDIRECT,
    CASP_ACTION_AUTODISCOVER_ANSWER, /**< answered here, from the topology */
    CASP_ACTION_LOGON,
    CASP_ACTION_DENY,
    CASP_ACTION_ERROR,
    CASP_ACTION_COUNT
} casp_action_e;

/** How a mailbox became known: CASPROXY_CACHE. */
typedef enum {
    CASP_CACHE_MISS = 0,
    CASP_CACHE_HIT,
    CASP_CACHE_STALE,
    CASP_CACHE_NEGATIVE
} casp_cache_e;

/** An objectGUID, or one derived from the DN where a directory has none. */
typedef struct {
    unsigned char b[16];
} casp_guid_t;

/* The names, as configuration, logs and JSON spell them.  The parsers ignore
 * case and return false for a word that is none of them. */
const char *casp_protocol_name(casp_protocol_e protocol); /**< "owa" */
bool casp_protocol_parse_name(const char *name, casp_protocol_e *protocol);
const char *casp_version_name(casp_version_e version); /**< "2010" */
bool casp_version_parse_name(const char *name, casp_version_e *version);
const char *casp_front_name(casp_front_e front); /**< "2010SP2" */
bool casp_front_parse_name(const char *name, casp_front_e *front);
/** The server version whose rules a front follows: 2010SP2 is 2010. */
casp_version_e casp_front_version(casp_front_e front);
const char *casp_action_name(casp_action_e action); /**< "direct" */
bool casp_action_parse_name(const char *name, casp_action_e *action);
const char *casp_by_name(casp_by_e by); /**< "basic" */
const char *casp_login_name(casp_login_e login); /**< "kerberos" */
const char *casp_cache_name(casp_cache_e cache);
/** Is this an action that hands the request to a backend? */
bool casp_action_is_proxy(casp_action_e action);
/** Does this decision serve the user (exit code 0 of casproxyctl)? */
bool casp_action_serves(casp_action_e action);

/* ------------------------------------------------------------- decision */

/** A backend that may serve a proxied request, best first. */
typedef struct {
    const char *url; /**< scheme://host[:port]/path of the directory */
    const char *server; /**< cn of the server in AD */
    uint32_t auth; /**< CASP_AUTH_* bits of its InternalURL */
    casp_version_e version; /**< of the server */
    casp_login_e login; /**< how this front logs on there */
    const char *login_why; /**< stable code: what decided that */
} casp_backend_t;

/** The decision: what to do with a request, and why. */
typedef struct {
    casp_action_e action;
    int status; /**< HTTP status on the wire; 0: the backend's own */
    const char *url; /**< see INTERFACE: backend, link or Location */
    const char *reason; /**< stable kebab-case code */
    const char *rule; /**< stable id of the row that matched */
    const char *source; /**< where the row comes from: "S001", "ours" */
    bool sso_possible;
    const char *sso_why; /**< stable code, NULL when possible */
    /** What a proxy action asks for: a double hop, say; NULL: nothing. */
    const char *warning;
    int nbackends; /**< for proxy actions: at least one */
    casp_backend_t *backends; /**< in the user's own stable order */
} casp_decision_t;

#endif /* MOD_CASPROXY_H */
