/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file backend.h
 * Private to the rooms between a decision and mod_proxy:
 *
 *   backend.c    which candidate, and what follows when one does not serve
 *   worker.c     workers made at run time, and mod_proxy's functions
 *   backlogin.c  logging on there: leases, tickets, the backend's own form
 *   leg.c        one exchange of our own over mod_proxy's connection
 *   relay.c      a client and a backend who both speak at once: RPC
 *   mapping.c    headers outwards and inwards, and a backend's no
 */

#ifndef CASP_BACKEND_H
#define CASP_BACKEND_H

#include "skin.h"

#include <mod_proxy.h>

/* ---- worker.c */

/** What of mod_proxy is called; looked up, not linked. */
typedef struct {
    char *(*define)(apr_pool_t *p, proxy_worker **worker,
                    proxy_balancer *balancer, proxy_server_conf *conf,
                    const char *url, int do_malloc);
    apr_status_t (*initialize)(proxy_worker *worker, server_rec *s,
                               apr_pool_t *p);
    int (*acquire)(const char *scheme, proxy_conn_rec **conn,
                   proxy_worker *worker, server_rec *s);
    int (*release)(const char *scheme, proxy_conn_rec *conn, server_rec *s);
    int (*determine)(apr_pool_t *p, request_rec *r, proxy_server_conf *conf,
                     proxy_worker *worker, proxy_conn_rec *conn,
                     apr_uri_t *uri, char **url, const char *proxyname,
                     apr_port_t proxyport, char *server_portstr,
                     int server_portstr_size);
    apr_status_t (*check)(const char *scheme, proxy_conn_rec *conn,
                          server_rec *server, unsigned max_blank_lines,
                          int flags);
    int (*connect)(const char *scheme, proxy_conn_rec *conn,
                   proxy_worker *worker, server_rec *s);
    int (*create)(const char *scheme, proxy_conn_rec *conn, request_rec *r);
    int (*head)(apr_pool_t *p, apr_bucket_brigade *bb, request_rec *r,
                proxy_conn_rec *conn, proxy_worker *worker,
                proxy_server_conf *conf, apr_uri_t *uri, char *url,
                char *server_portstr, char **old_cl, char **old_te);
} casp_mod_proxy_t;
extern casp_mod_proxy_t casp_mod_proxy;

typedef struct casp_worker_t {
    apr_pool_t *pool;
    const char *key;
    const char *ad_host; /**< as the organisation names it */
    casp_org_t *org;
    proxy_worker *worker;
    apr_interval_time_t ttl;
    volatile apr_uint32_t leases;
    volatile apr_uint32_t used; /**< seconds, of the last lease */
    volatile apr_uint32_t rests; /**< seconds, until when it is tried last */
} casp_worker_t;

/** Resolve mod_proxy's symbols. @return false: it has been logged */
bool casp_worker_attach(apr_pool_t *p, apr_dso_handle_t **dso);
/** Find a function in it. */
bool casp_worker_symbol(apr_dso_handle_t *dso, const char *name, void *fn);
apr_status_t casp_worker_child_init(void);
/** Memory for all children; from pre_config.  @return false: there is none */
bool casp_worker_share(apr_pool_t *p);
/** A channel of this user has gone to the current candidate. */
void casp_worker_went(const casp_request_t *rq);
/** Did the user's last channel go there, a moment ago? */
bool casp_worker_leads(const casp_request_t *rq, const char *base);
/** Has the current candidate failed a moment ago? */
bool casp_worker_rests(request_rec *r, casp_request_t *rq);
/** The current candidate's worker, if there is one; of this request's own
 *  lease. */
casp_worker_t *casp_worker_known(request_rec *r, casp_request_t *rq);
/** A lease of it, until the request's end; made where it is missing.  Sets
 *  rq->busy.  @return NULL: none can be had */
casp_worker_t *casp_worker_lease(request_rec *r, casp_request_t *rq);
/** A worker of one connection, for one user's logins; its pool is the
 *  caller's to destroy. */
casp_worker_t *casp_worker_alone(request_rec *r, casp_request_t *rq);
void casp_worker_tick(apr_time_t time);
apr_uint32_t casp_worker_seconds(void);

/* ---- leg.c */

/** An exchange of our own on a connection of mod_proxy's. */
typedef struct {
    request_rec *r;
    proxy_worker *worker;
    proxy_server_conf *conf;
    const char *scheme; /**< "http" or "https" */
    const char *base; /**< scheme://host[:port] */
    const char *host; /**< Host header */
    const char *target; /**< URL that is asked for; NULL: the base */
    char *url; /**< when it is open: the target's path and query */
    apr_uri_t *uri; /**< and the target's parts */
    char port[32]; /**< as a Host header has it */
    proxy_conn_rec *conn;
    apr_time_t until; /**< of the exchange */
    bool reused; /**< the connection was up before */
    bool timed; /**< was is set */
    apr_interval_time_t was; /**< the socket's own time-out */
} casp_leg_t;

typedef struct {
    int status;
    const char *line; /**< "200 OK" */
    apr_table_t *headers;
    bool old; /**< HTTP/1.0 */
    bool close; /**< the backend ends the connection after it */
} casp_leg_answer_t;

/** Take the worker's connection.  @return OK or mod_proxy's status */
int casp_leg_open(casp_leg_t *leg);
/** Is its connection up, with nothing unread? */
bool casp_leg_alive(casp_leg_t *leg);
/** Connect, if it is not.  @return OK or a status */
int casp_leg_connect(casp_leg_t *leg);
/**
 * Send a request, read the answer to its end, drop its body.
 * @param headers name, value, ..., NULL
 * @param body    x-www-form-urlencoded, or NULL
 * @return OK; or 502, 500 where TLS failed: the connection is of no more use
 */
int casp_leg_exchange(casp_leg_t *leg, const char *method, const char *path,
                      const char *const *headers, const char *body,
                      apr_size_t len, casp_leg_answer_t *answer);
/**
 * Read the head of an answer, an interim one too; waits, until leg->until.
 * @return false: it is none
 */
bool casp_leg_head(casp_leg_t *leg, casp_leg_answer_t *answer);
/** How often mod_ssl is asked; of a new connection there may be tickets. */
#define CASP_AGAIN 2
#define CASP_AGAIN_FIRST 6
/**
 * A read that does not wait, of this or any other connection.
 * @return APR_EAGAIN, and nothing else, where there is nothing
 */
apr_status_t casp_leg_take(ap_filter_t *from, apr_bucket_brigade *bb,
                           ap_input_mode_t mode, apr_off_t most, int times);
/** Is it said more than once, in two ways or in no number, how long the body
 *  is? */
bool casp_leg_ambiguous(const apr_table_t *headers);
/** 500 where no answer came because TLS failed, else 502. */
int casp_leg_failure(const casp_leg_t *leg);
/** Give the connection back. @a keep false: closed. */
void casp_leg_close(casp_leg_t *leg, bool keep);

/* ---- backlogin.c */

apr_status_t casp_backlogin_child_init(void);
void casp_backlogin_register(void);
void casp_backlogin_tick(apr_time_t now);
/**
 * Before a byte is sent: whatever the candidate's login needs.
 * @param worker the shared worker, or replaced by a lease's
 * @return OK, or a status with rq->trouble set to a reason code
 */
int casp_backlogin_ready(request_rec *r, casp_request_t *rq,
                         proxy_server_conf *conf, proxy_worker **worker);
/** Authorization and cookies, into the copy that goes to the backend. */
void casp_backlogin_headers(request_rec *r, casp_request_t *rq);
/**
 * A backend's headers have come: is the login in question?  Keeps the cookies
 * that are ours to keep.
 * @return what becomes of the answer; rq->trouble is set for INSTEAD
 */
casp_after_e casp_backlogin_judge(request_rec *r, casp_request_t *rq);
/** mod_proxy is through with it: the lease goes back. */
void casp_backlogin_done(casp_request_t *rq);

/* ---- relay.c */

/** Is it one of the two requests of Outlook Anywhere? */
bool casp_relay_wants(request_rec *r, const casp_request_t *rq);
/** They came over HTTP/2: send the client to HTTP/1.1.  @return DONE */
int casp_relay_refuse(request_rec *r, casp_request_t *rq);
/** mod_proxy's scheme handler for them. */
int casp_relay_handler(request_rec *r, proxy_worker *worker,
                       proxy_server_conf *conf, char *url,
                       const char *proxyhost, apr_port_t proxyport);
/** Can the request be sent to a backend once more: has it no body, or one that
 *  is remembered? */
bool casp_relay_repeatable(request_rec *r);

/* ---- mapping.c */

void casp_mapping_register(void);
void casp_mapping_insert(request_rec *r, casp_request_t *rq);
/** Is this status of a backend's, with this Content-Type, kept from the client,
 *  who gets 503 instead? */
bool casp_mapping_spares(const casp_request_t *rq, int status,
                         const char *type);
/** mod_proxy's fixups hook. */
int casp_mapping_outwards(request_rec *r);

#endif /* CASP_BACKEND_H */
