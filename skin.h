/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file skin.h
 * What the rooms that may include httpd share: the configuration of a virtual
 * host, the state of a request, the state of a process.
 */

#ifndef CASP_SKIN_H
#define CASP_SKIN_H

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_protocol.h>
#include <http_request.h>

#include "backforms.h"
#include "fba_form.h"
#include "gssclient.h"
#include "lease.h"
#include "ntlm.h"
#include "pages.h"
#include "session.h"
#include "verdict.h"

/* 2.4.59 brought the address life of workers that backend.c sets. */
#if !AP_MODULE_MAGIC_AT_LEAST(20120211, 131)
#error \
    "mod_casproxy needs Apache httpd 2.4.59 or newer: build against newer development files (apxs)."
#endif

extern module AP_MODULE_DECLARE_DATA casproxy_module;
#ifndef CASP_MAIN_FILE
APLOG_USE_MODULE(casproxy);
#endif

typedef struct casp_request_t casp_request_t;

/** A virtual host (or the main server). */
typedef struct {
    casp_settings_t *set; /**< as the directives left it; merged */
    bool used; /**< CasProxy is not Off somewhere in here */
    bool mail_only; /**< used, and by a mail proxy alone */

    /* --- from here on made by post_config, then read-only */
    casp_settings_t *settings; /**< complete; NULL where unused */
    casp_org_t *org;
    casp_pages_t *pages;
    casp_sealer_t *sealer; /**< of sessions by form; NULL: none can be */
    server_rec *server;
    int index; /**< keeps the workers of virtual hosts apart */

    /* --- made in each child */
    casp_acceptor_t *acceptor; /**< of Kerberos; NULL: no keytab */
    casp_ntlm_t *ntlm; /**< verifies NTLM; NULL: nobody asks for it */
    casp_gss_t *gss; /**< tickets for backends */
    casp_jar_t *jar; /**< cookies of backends' own forms */
} casp_vhost_t;

/** The virtual host's configuration, never NULL. */
#define casp_vhost_of(s)                                      \
    ((casp_vhost_t *)ap_get_module_config((s)->module_config, \
                                          &casproxy_module))

/** What becomes of a backend's answer whose headers have come. */
typedef enum {
    CASP_AFTER_SERVED = 0, /**< it goes to the client */
    CASP_AFTER_AGAIN, /**< it is dropped: the login is made anew */
    CASP_AFTER_INSTEAD /**< it is dropped: rq->trouble is answered */
} casp_after_e;

/** A request's state: made in translate_name, filled step by step. */
struct casp_request_t {
    casp_vhost_t *vhost;
    casp_dir_settings_t *dir; /**< complete, for this location */
    bool claimed; /**< ours to answer; false: Shadow */
    bool gated; /**< before_logon was asked */
    int schemes; /**< CASP_SCHEME_* that hold for its protocol */
    bool decided;
    bool logged;
    bool trying; /**< mod_proxy works for us right now */
    casp_ask_t ask;
    casp_verdict_t verdict;

    casp_claim_t claim; /**< name and password; wiped with r->pool */
    const casp_mailbox_t *own; /**< of the verified (or trusted) user */
    casp_cache_e own_cache;
    const char *display; /**< "CONTOSO\ada" */

    /* --- forms.c's */
    casp_forms_url_e forms; /**< what the URL is to a logon by form */
    casp_session_e found; /**< what the Cookie header held */
    casp_session_t session; /**< where found is OK or OLD */
    int stray; /**< further cookies of our name */
    const char *cookie; /**< a session to set; NULL: none */
    bool forget; /**< the session's cookies go */
    casp_logon_why_e why; /**< what the next logon page says */
    const casp_logon_t *logon; /**< of the POST that is being answered */
    const char *signed_out; /**< where to, when the backend has been told */

    bool swallow; /**< the backend's body gives way to our answer */
    bool seen; /**< the backend's headers have come */
    bool last; /**< it is not asked once more */
    casp_after_e after;
    const char *trouble; /**< reason code of a login that failed there */
    bool busy; /**< the candidate had too much to do */
    int backend; /**< index of the candidate being tried */
    const char *backend_host; /**< Host header for it */
    const char *backend_base; /**< scheme://host[:port] it is reached at */
    casp_login_e login; /**< how we log on to it */

    /* --- backlogin.c's */
    const char *authorization; /**< for the backend; wiped with the pool */
    const char *jar_cookies; /**< of the backend's own session */
    const char *jar_id; /**< whose they are */
    apr_size_t jar_id_len;
    bool logged_on; /**< at its form, for this very request */
    casp_lease_t *lease; /**< of a connection with a login on it */

    bool drained; /**< the client's body was read to its end, for nothing */
    int answered; /**< the status of our own answer; 0: none */
    int slot; /**< in the table of requests in flight; -1: none */
};

#define casp_request_of(r)                                       \
    ((casp_request_t *)ap_get_module_config((r)->request_config, \
                                            &casproxy_module))

/* ---- config.c */

extern command_rec casp_commands[];
void *casp_config_create_server(apr_pool_t *p, server_rec *s);
void *casp_config_merge_server(apr_pool_t *p, void *base, void *add);
void *casp_config_create_dir(apr_pool_t *p, char *path);
void *casp_config_merge_dir(apr_pool_t *p, void *base, void *add);
/** The check_config hook: everything that "httpd -t" can know. */
int casp_config_check(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                      server_rec *s);
/** -D DUMP_CASPROXY. */
void casp_config_dump(apr_pool_t *p, server_rec *s);
/** "mail.contoso.test:443", as messages and the dump name a vhost. */
const char *casp_config_name(apr_pool_t *p, const server_rec *s);
/** The state directory where no directive names one. */
const char *casp_config_default_state_dir(apr_pool_t *p);

/* ---- runtime.c */

int casp_runtime_pre_config(apr_pool_t *p);
int casp_runtime_post_config(apr_pool_t *p, apr_pool_t *plog,
                             apr_pool_t *ptemp, server_rec *s);
void casp_runtime_child_init(apr_pool_t *p, server_rec *s);

/** What is counted, in shared memory, per action and per event. */
typedef enum {
    CASP_COUNT_REQUESTS = 0,
    CASP_COUNT_ACTIONS, /**< one each for casp_action_e from here */
    /** one each for casp_cache_e from here */
    CASP_COUNT_CACHE = CASP_COUNT_ACTIONS + CASP_ACTION_COUNT,
    CASP_COUNT_LOGON_REFUSED = CASP_COUNT_CACHE + CASP_CACHE_NEGATIVE + 1,
    CASP_COUNT_URL_REFUSED,
    CASP_COUNT_BACKEND_FAILED,
    CASP_COUNT_BACKEND_RETRIED,
    CASP_COUNT_SESSION_BEGUN,
    CASP_COUNT_SESSION_ENDED,
    CASP_COUNT_HANDSHAKES, /**< logins made at backends */
    CASP_COUNT_INTEGRATED, /**< logons by NTLM or Kerberos */
    CASP_COUNT_MAX
} casp_count_e;
void casp_runtime_count(int what);

/** Enter a request into this process's table of requests in flight. */
void casp_runtime_enter(request_rec *r, casp_request_t *rq);
/** A request in flight, copied. */
typedef struct {
    bool used;
    casp_guid_t user;
    apr_time_t since;
    casp_protocol_e protocol;
    long connection;
    char target[64];
} casp_flight_t;
/** Call back for every request in flight, under the table's lock. */
void casp_runtime_flights(void (*visit)(void *baton,
                                        const casp_flight_t *flight),
                          void *baton);
/** A user has signed out: let all children know. */
void casp_runtime_logged_off(const casp_guid_t *user);
/** Call back for everybody who has since this was asked last in this child;
 *  by one thread. */
void casp_runtime_logoffs(void (*visit)(const casp_guid_t *user));
/** The key of this start: HMAC of the redirection marker; 32 bytes. */
const unsigned char *casp_runtime_key(void);

/* ---- request.c: the steps */

/** Step 0: is it ours?  @return false: no concern of this module. */
bool casp_request_open(request_rec *r);
/** What needs no user: the URL, the protocol, TLS. @return true: decided. */
bool casp_request_gate(request_rec *r, casp_request_t *rq);
/** Who asks?  @return OK, or DONE: answered. */
int casp_request_identify(request_rec *r, casp_request_t *rq);
/** Where to?  Idempotent. */
void casp_request_decide(request_rec *r, casp_request_t *rq);
/** A decision that was made elsewhere than in the rules: variables, headers. */
void casp_request_decided(request_rec *r, casp_request_t *rq);
/** Shadow: decide and tell, touch nothing. */
void casp_request_shadow(request_rec *r, casp_request_t *rq);
/** The one line in the log, and the counters. */
void casp_request_log(request_rec *r, casp_request_t *rq);

/** Judge rq->claim: name, then password.  @a why: a sentence or NULL.
 *  @return a reason code where it is refused, NULL where it is right; @a down:
 *  the directory could not say */
const char *casp_request_judge(request_rec *r, casp_request_t *rq,
                               const char **why, bool *down);
/** Between name and password: may it be judged now?  @a who: NULL: nobody's
 *  name. */
typedef bool casp_request_may_fn(void *baton, const casp_mailbox_t *who);
/** The same.  "too-early", and nothing in the log, where it may not. */
const char *casp_request_judge_if(request_rec *r, casp_request_t *rq,
                                  casp_request_may_fn *may, void *baton,
                                  const char **why, bool *down);
/** The judged claim is this request's user. */
void casp_request_admit(request_rec *r, casp_request_t *rq, casp_by_e by,
                        const char *auth_type);

/* ---- forms.c: logging on by form */

/**
 * Before anybody is known: the logon page, its POST, a sign-out, a session.
 * @return OK: known; DONE: answered; DECLINED: neither
 */
int casp_forms_identify(request_rec *r, casp_request_t *rq);
/** Nobody is known, and a form would help: 302 to the logon page or 440.
 *  @return DONE */
int casp_forms_challenge(request_rec *r, casp_request_t *rq);
/** The self-posting form of an sso-redirect.  @return DONE */
int casp_forms_carry(request_rec *r, casp_request_t *rq);
/** Was the password changed after the session in rq began?  rq->own is
 *  known. */
bool casp_forms_outdated(const casp_request_t *rq);
/** Where a sign-out ends.  @return DONE */
int casp_forms_signed_out(request_rec *r, casp_request_t *rq);
/** Set-Cookie lines that this request has come to, into the headers of any
 *  answer, ours or a backend's. */
void casp_forms_cookies(request_rec *r, casp_request_t *rq, apr_table_t *out);
/** A backend's refusal of what a form gave us. @return the Location of a 302,
 *  or NULL for a 440 */
const char *casp_forms_refused(request_rec *r, casp_request_t *rq);
/**
 * The logon, or the backend's own session behind it, is over.
 * @param ended our session is at an end too: its password was changed
 * @return DONE: the logon page, the same URL again, 440, or 401
 */
int casp_forms_lost(request_rec *r, casp_request_t *rq, bool ended);
/** Headers that tell a backend what the person chose on the form. */
void casp_forms_tell_backend(request_rec *r, casp_request_t *rq);

/* ---- integrated.c: Negotiate and NTLM at the door */

/**
 * By the token that a request brings, or by what an earlier one proved on this
 * connection.
 * @return OK: known; DONE: answered; DECLINED: it brings neither
 */
int casp_integrated_identify(request_rec *r, casp_request_t *rq);
/** A request that brings credentials ends what an earlier one proved. */
void casp_integrated_part(request_rec *r);
/** The schemes that a 401 offers, Negotiate before NTLM before Basic. */
void casp_integrated_offer(request_rec *r, casp_request_t *rq);
/** In a child: acceptors, verifiers and ticket caches of every vhost. */
apr_status_t casp_integrated_child_init(apr_pool_t *p, server_rec *s);
void casp_integrated_tick(apr_time_t now);

/* ---- peek.c: the beginning of a request's body, before it is sent on */

/**
 * Read the body's first bytes and put them back: whoever reads r's body next
 * reads all of it.  Once per request; bounded in bytes and in time.
 * @param most  bytes, at most CASP_PEEK_MAX
 * @param data  in r->pool
 * @param whole this is all of the body
 * @return APR_SUCCESS; else the client's body could not be read
 */
apr_status_t casp_peek_body(request_rec *r, apr_size_t most, const char **data,
                            apr_size_t *len, bool *whole);
#define CASP_PEEK_MAX (64 * 1024)
/** The mailbox that an EWS request impersonates or names, into rq->ask.anchor;
 *  for a user who is known. */
void casp_peek_anchor(request_rec *r, casp_request_t *rq);
void casp_peek_register(void);

/* ---- discover.c: Autodiscover, answered here */

/** Answer an autodiscover-answer decision.  @return DONE */
int casp_discover_answer(request_rec *r, casp_request_t *rq);

/* ---- status.c / mailhandler.c / sizing.c */

/** The handler "casproxy-status". */
void casp_status_register(void);
/** The handler "casproxy-mail-auth". */
void casp_mailhandler_register(apr_pool_t *p);
/** What of httpd's own configuration cuts off a protocol that this virtual host
 *  publishes: told as warnings.  After the MPM has settled its numbers.
 *  @param set complete */
void casp_sizing_check(apr_pool_t *p, server_rec *s,
                       const casp_settings_t *set);

/* ---- answer.c */

/** A request body up to this size is read to its end before an answer that
 *  did not need it, so that the connection can go on. */
#define CASP_DISCARD_MAX (64 * 1024)

/** Answer a decision that is no proxying; writes all of it. @return DONE. */
int casp_answer_send(request_rec *r, casp_request_t *rq);
/** A decision that no rule made: about a logon, or a backend. */
void casp_answer_decide(request_rec *r, casp_request_t *rq,
                        casp_action_e action, const char *reason,
                        const char *rule, int status);
/** Read the client's body to its end, if that is near, whatever httpd thinks
 *  of it: so that the connection lives on. */
void casp_answer_drain(request_rec *r, casp_request_t *rq);
/** Write a whole answer.  @a status_line: NULL for httpd's own text; @a type:
 *  NULL for none.  @return DONE */
int casp_answer_write(request_rec *r, casp_request_t *rq, int status,
                      const char *status_line, const char *type,
                      const char *body);
/** The reader's language, of those that there are texts in. */
const char *casp_answer_language(request_rec *r, casp_request_t *rq);
/** Is a page what this request wants? */
bool casp_answer_wants_page(request_rec *r, const casp_request_t *rq);
/** The page of a decision, with a link or NULL. @return DONE */
int casp_answer_page(request_rec *r, casp_request_t *rq, int status,
                     const char *status_line, const char *link);
/** Mark the browser that is sent elsewhere without being asked. */
void casp_answer_mark(request_rec *r, const casp_request_t *rq);
/** Is this a URL that a browser may be sent to?  @return it or NULL */
const char *casp_answer_safe_link(const char *url);
#define CASP_LOGON_FAILED "logon" /**< the "rule" of a logon that failed here*/
/** What a stranger is told of a decision: of a failed logon, nothing. */
const char *casp_answer_told_reason(const casp_decision_t *d);
/** Ask for credentials: 401. @a reason: a stable code. @return DONE. */
int casp_answer_unauthorized(request_rec *r, casp_request_t *rq,
                             const char *reason);
/** An error that came up after the decision. @return DONE. */
int casp_answer_error(request_rec *r, casp_request_t *rq, const char *reason,
                      int status);
/** What a backend's no, or a login that could not be made, comes to for this
 *  client: rq->trouble.  @return DONE */
int casp_answer_trouble(request_rec *r, casp_request_t *rq);
/** Did the marker of the very redirection that was just decided come back,
 *  so that a browser goes round in circles? */
bool casp_answer_marked(request_rec *r, const casp_request_t *rq);

/* ---- backend.c */

/** Resolve mod_proxy's symbols and join its hooks; from pre_config.
 *  @return OK or an error that has been logged */
int casp_backend_attach(apr_pool_t *p);
void casp_backend_register(void);
apr_status_t casp_backend_child_init(apr_pool_t *p, server_rec *s);
/** Make the request mod_proxy's: handler, URL of the first candidate. */
void casp_backend_prepare(request_rec *r, casp_request_t *rq);
/** A user's logins at backends are over: a sign-out, a changed password. */
void casp_backlogin_forget(casp_request_t *rq);
/** The handler: try the candidates. */
int casp_backend_handler(request_rec *r, casp_request_t *rq);
/** Once a second: workers that nobody needs any more. */
void casp_backend_tick(apr_time_t now);

#endif /* CASP_SKIN_H */
