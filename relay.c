/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * relay.c - a client and a backend who both speak at once: RPC_IN_DATA and
 * RPC_OUT_DATA, the two channels of Outlook Anywhere.
 *
 * Each declares a gigabyte that is never completed.  What stands in one of
 * them has to arrive at once, in whichever direction, and a backend may answer
 * while the client still sends.  mod_proxy_http does first the one and then
 * the other, and reads 16 KiB ahead; so these two methods have a handler of
 * their own here, which mod_proxy runs as the scheme's.  All that comes before
 * and after is as for any other request: candidates, logins, the headers'
 * mapping, the filter that judges a backend's no.
 *
 * One thread, two sockets.  A piece is read when it has come and the other
 * side can take it, and is flushed before the next one is read: so nothing
 * grows, and who does not read stops who sends, and nobody else.  Every wait
 * is bounded: an idle channel by CasProxyTimeout, a side that reads nothing by
 * Timeout, a child that is to end by a minute.
 *
 * It must not judge what passes through it, and keeps no more of it than the
 * few bytes with which a client asks whether a channel works.
 */

#include "backend.h"

#include <string.h>

#include <apr_poll.h>
#include <apr_strings.h>

#include <ap_mpm.h>
#include <mod_core.h>
#include <util_filter.h>

/* A socket that poll calls writable has room for this. */
#define PIECE 8192
#define HEAD_TIMEOUT apr_time_from_sec(20)
/* How often it is asked whether this child is to end. */
#define TICK apr_time_from_sec(5)
#define LAST_MINUTE apr_time_from_sec(60)
/* The echo that asks whether a channel works has four. */
#define KEEP 64
#define KEPT "casproxy-kept"
#define MAX_INTERIM 8

#if defined(__clang__) /* what it says of APR's APR_OFFSETOF */
#pragma clang diagnostic ignored "-Wnull-pointer-subtraction"
#endif

/* A request's whole body, where it is so short that it can be sent again. */
typedef struct {
    apr_size_t len;
    bool whole; /* its end has come */
    bool lost; /* it is longer */
    char bytes[KEEP];
} kept_t;

/* One direction. */
typedef struct {
    bool open; /* there may be more of it */
    bool ready; /* something may have come: to be read when it can be sent */
    apr_time_t stuck; /* since when it cannot be sent; 0: it can */
    apr_off_t bytes;
} way_t;

typedef enum {
    END_NOT = 0,
    END_DONE, /* both sides have said all */
    END_EARLY, /* the backend has; the client was still sending */
    END_JUDGED, /* the answer is not for the client */
    END_CLIENT, /* the client has gone */
    END_BACKEND, /* the backend has, in the middle of its answer */
    END_SILENT, /* or without an answer */
    END_IDLE,
    END_STUCK,
    END_STOPPING
} end_e;

typedef struct {
    request_rec *r;
    casp_request_t *rq;
    proxy_server_conf *conf;
    casp_leg_t leg;
    conn_rec *front, *back;
    ap_filter_t *hurry; /* mod_reqtimeout's, while it is taken out */
    ap_filter_t **hurried[3];
    apr_bucket_brigade *in; /* what was read of either side */
    apr_bucket_brigade *to_front, *to_back;
    request_rec *answer; /* the backend's, as httpd's body filter wants it */
    casp_leg_answer_t head;
    int interim;
    bool answered; /* its head has gone to the client */
    bool chunked; /* the request's body has no length */
    bool sent; /* something of the body has gone */
    bool quiet; /* the client's next request has come: it is not read */
    bool hung_up; /* by the backend; what it has sent may still be read */
    kept_t *kept;
    way_t up, down;
    apr_time_t moved, stopping;
    apr_interval_time_t idle;
} relay_t;

bool casp_relay_wants(request_rec *r, const casp_request_t *rq)
{
    return rq->verdict.url.protocol == CASP_PROTO_RPC
           && (!strcmp(r->method, "RPC_IN_DATA")
               || !strcmp(r->method, "RPC_OUT_DATA"));
}

static kept_t *kept_of(request_rec *r)
{
    void *kept = NULL;

    apr_pool_userdata_get(&kept, KEPT, r->pool);
    return kept;
}

bool casp_relay_repeatable(request_rec *r)
{
    const kept_t *kept = kept_of(r);

    return !ap_request_has_body(r) || (kept && kept->whole && !kept->lost);
}

static void remember(relay_t *x, const char *data, apr_size_t len)
{
    kept_t *k = x->kept;

    if (k->len + len > KEEP)
        k->lost = true;
    else if (!k->lost) {
        memcpy(k->bytes + k->len, data, len);
        k->len += len;
    }
}

/* HTTP/2 has no room for it: a stream has no socket of its own, and the client
 * comes again by HTTP/1.1 if it is told to. */
int casp_relay_refuse(request_rec *r, casp_request_t *rq)
{
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  CASPLOGNO(0761) "%s over HTTP/2: the client is told to come "
                                  "by HTTP/1.1",
                            r->method);
    r->proxyreq = PROXYREQ_NONE;
    casp_answer_decide(r, rq, CASP_ACTION_ERROR, "http-1.1-required",
                       "http-1.1-required", HTTP_FORBIDDEN);
    apr_table_setn(r->notes, "ssl-renegotiate-forbidden", "rpc");
    return casp_answer_write(r, rq, HTTP_FORBIDDEN, NULL, NULL, "");
}

/* -------------------------------------------------------------- the request */

static void add_text(apr_bucket_brigade *bb, const char *text)
{
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_immortal_create(text, strlen(text),
                                                           bb->bucket_alloc));
}

static apr_status_t flush_to(ap_filter_t *to, apr_bucket_brigade *bb)
{
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(bb->bucket_alloc));
    rv = ap_pass_brigade(to, bb);
    apr_brigade_cleanup(bb);
    return rv;
}

/* A piece of the body.  It is flushed before its memory goes. */
static void add_piece(relay_t *x, const char *data, apr_size_t len)
{
    if (x->chunked)
        apr_brigade_printf(x->to_back, NULL, NULL,
                           "%" APR_UINT64_T_HEX_FMT "\r\n", (apr_uint64_t)len);
    APR_BRIGADE_INSERT_TAIL(
        x->to_back,
        apr_bucket_transient_create(data, len, x->to_back->bucket_alloc));
    if (x->chunked)
        add_text(x->to_back, "\r\n");
}

/* The headers as mod_proxy makes them; what the client wants to be told before
 * it sends, it is told by us. */
static int make_head(relay_t *x)
{
    request_rec *r = x->r;
    apr_table_t *theirs = r->headers_in;
    char *length = NULL, *coding = NULL;
    int rc;

    r->headers_in = apr_table_copy(r->pool, theirs);
    apr_table_unset(r->headers_in, "Expect");
    rc = casp_mod_proxy.head(r->pool, x->to_back, r, x->leg.conn,
                             x->leg.worker, x->conf, x->leg.uri, x->leg.url,
                             x->leg.port, &length, &coding);
    r->headers_in = theirs;
    if (rc != OK)
        return rc;
    x->chunked = coding != NULL;
    if (coding)
        add_text(x->to_back, "Transfer-Encoding: chunked\r\n");
    else
        apr_brigade_printf(x->to_back, NULL, NULL, "Content-Length: %s\r\n",
                           length ? length : "0");
    add_text(x->to_back, "Connection: Keep-Alive\r\n\r\n");
    return OK;
}

static int send_head(relay_t *x)
{
    int rc = make_head(x);

    if (rc != OK)
        return rc;
    if (x->kept->len && !x->kept->lost)
        add_piece(x, x->kept->bytes, x->kept->len);
    if (x->chunked && !x->up.open)
        add_text(x->to_back, "0\r\n\r\n");
    if (flush_to(x->back->output_filters, x->to_back) == APR_SUCCESS)
        return OK;
    rc = casp_leg_failure(&x->leg);
    return rc == HTTP_BAD_GATEWAY ? HTTP_SERVICE_UNAVAILABLE : rc;
}

/* A client that asks whether it may send: it may. */
static void let_send(request_rec *r)
{
    int status = r->status;

    if (!r->expecting_100)
        return;
    r->status = HTTP_CONTINUE;
    ap_send_interim_response(r, 0); /* nothing goes unless it is expected */
    r->status = status;
    r->expecting_100 = 0;
}

/* ------------------------------------------------------------------ one way */

static void passed(way_t *way, apr_off_t bytes)
{
    way->bytes += bytes;
    way->stuck = 0;
}

/* The client's next piece, to the backend.  Where that has stopped listening,
 * it may have said why. */
static end_e go_up(relay_t *x)
{
    apr_off_t bytes = 0;
    apr_status_t rv = casp_leg_take(x->r->input_filters, x->in,
                                    AP_MODE_READBYTES, PIECE, CASP_AGAIN);

    if (rv == APR_EAGAIN) {
        x->up.ready = false;
        return END_NOT;
    }
    if (rv != APR_SUCCESS)
        return END_CLIENT;
    for (apr_bucket *b = APR_BRIGADE_FIRST(x->in);
         b != APR_BRIGADE_SENTINEL(x->in) && x->up.open;
         b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t len;

        if (APR_BUCKET_IS_EOS(b)) {
            x->up.open = false;
            x->kept->whole = true;
            if (x->chunked)
                add_text(x->to_back, "0\r\n\r\n");
        }
        else if (!APR_BUCKET_IS_METADATA(b)) {
            rv = apr_bucket_read(b, &data, &len, APR_BLOCK_READ);
            if (rv != APR_SUCCESS)
                return END_CLIENT;
            if (len)
                add_piece(x, data, len);
            remember(x, data, len);
            bytes += (apr_off_t)len;
        }
    }
    if (!APR_BRIGADE_EMPTY(x->to_back)) {
        x->sent = true;
        rv = flush_to(x->back->output_filters, x->to_back);
    }
    apr_brigade_cleanup(x->in);
    if (rv != APR_SUCCESS) {
        x->hung_up = true;
        x->back->aborted = 0; /* or nothing were read of it either */
    }
    passed(&x->up, bytes);
    return END_NOT;
}

/* Is there anything of it?  TLS makes a socket readable for its own sake. */
static apr_status_t look(relay_t *x, conn_rec *c)
{
    apr_status_t rv = casp_leg_take(c->input_filters, x->in,
                                    AP_MODE_SPECULATIVE, 1, CASP_AGAIN_FIRST);

    apr_brigade_cleanup(x->in);
    return rv;
}

/* httpd's own filter for bodies, set to read an answer's. */
static void expect_body(relay_t *x)
{
    request_rec *r = x->r, *a;
    apr_pool_t *p;

    apr_pool_create(&p, r->pool);
    apr_pool_tag(p, "casproxy_answer");
    a = apr_pcalloc(p, sizeof *a);
    a->pool = p;
    a->connection = x->back;
    a->server = r->server;
    a->log = r->log;
    a->per_dir_config = r->per_dir_config;
    a->request_config = ap_create_request_config(p);
    a->headers_in = apr_table_copy(p, x->head.headers);
    a->trailers_in = apr_table_make(p, 1);
    a->headers_out = apr_table_make(p, 1);
    a->err_headers_out = apr_table_make(p, 1);
    a->trailers_out = apr_table_make(p, 1);
    a->subprocess_env = apr_table_make(p, 1);
    a->notes = apr_table_make(p, 1);
    a->method = r->method;
    a->status = HTTP_OK;
    a->proto_num = HTTP_VERSION(1, 1);
    a->protocol = "HTTP/1.1";
    a->proxyreq = PROXYREQ_RESPONSE;
    a->useragent_addr = x->back->client_addr;
    a->useragent_ip = x->back->client_ip;
    a->input_filters = a->proto_input_filters = x->back->input_filters;
    a->output_filters = a->proto_output_filters = x->back->output_filters;
    ap_add_input_filter_handle(ap_http_input_filter_handle, NULL, a, x->back);
    x->answer = a;
}

static int add_header(void *table, const char *name, const char *value)
{
    apr_table_addn(table, name, value);
    return 1;
}

/* What is between two neighbours is not for the next but one. */
static void take_headers(relay_t *x)
{
    static const char *const hop[] = {
        "Keep-Alive", "Proxy-Connection",  "TE",
        "Trailer",    "Transfer-Encoding", "Upgrade"};
    APR_OPTIONAL_FN_TYPE(ap_proxy_clear_connection) *clear =
        APR_RETRIEVE_OPTIONAL_FN(ap_proxy_clear_connection);
    request_rec *r = x->r;
    const char *type;

    r->status = x->head.status;
    r->status_line = x->head.line;
    apr_table_do(add_header, r->headers_out, x->head.headers, NULL);
    if (clear)
        clear(r, r->headers_out);
    for (size_t i = 0; i < sizeof hop / sizeof *hop; i++)
        apr_table_unset(r->headers_out, hop[i]);
    type = apr_table_get(r->headers_out, "Content-Type");
    if (type)
        ap_set_content_type(r, type);
}

static apr_status_t end_answer(relay_t *x)
{
    apr_bucket_brigade *bb = x->to_front;
    apr_status_t rv;

    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_eos_create(bb->bucket_alloc));
    rv = ap_pass_brigade(x->r->output_filters, bb);
    apr_brigade_cleanup(bb);
    return rv;
}

/* The answer's head, if it is a final one: read, and sent on at once. */
static end_e begin_answer(relay_t *x)
{
    apr_table_t *h;
    const char *connection;
    bool good;

    x->leg.until = apr_time_now() + HEAD_TIMEOUT;
    good = casp_leg_head(&x->leg, &x->head);
    apr_socket_timeout_set(x->leg.conn->sock, x->r->server->timeout);
    h = x->head.headers;
    if (!good || casp_leg_ambiguous(h) || x->head.status == 101)
        return END_SILENT;
    if (x->head.status < 200)
        return ++x->interim > MAX_INTERIM ? END_SILENT : END_NOT;
    connection = apr_table_getm(x->r->pool, h, "Connection");
    x->head.close =
        x->head.old
        || (connection && ap_find_token(x->r->pool, connection, "close"))
        || (!apr_table_get(h, "Content-Length")
            && !apr_table_get(h, "Transfer-Encoding"));
    x->down.open = x->head.status != HTTP_NO_CONTENT
                   && x->head.status != HTTP_NOT_MODIFIED;
    expect_body(x);
    take_headers(x);
    if (x->up.open) /* what it still sends would be its next request */
        x->front->keepalive = AP_CONN_CLOSE;
    x->answered = true;
    if ((x->down.open ? flush_to(x->r->output_filters, x->to_front)
                      : end_answer(x))
        != APR_SUCCESS)
        return END_CLIENT;
    return x->rq->after == CASP_AFTER_SERVED ? END_NOT : END_JUDGED;
}

/* What has come before the body.  Behind an interim answer the next one may
 * lie in httpd's buffer already, where poll would not see it. */
static end_e go_first(relay_t *x)
{
    end_e end = END_NOT;

    while (end == END_NOT && !x->answered) {
        apr_status_t rv = look(x, x->back);

        x->down.ready = rv == APR_SUCCESS;
        if (rv != APR_SUCCESS)
            return rv == APR_EAGAIN && !x->hung_up ? END_NOT : END_SILENT;
        end = begin_answer(x);
    }
    return end;
}

/* The backend's next piece, to the client. */
static end_e go_down(relay_t *x)
{
    apr_off_t bytes = 0;
    apr_status_t rv;

    if (!x->answered)
        return go_first(x);
    rv = casp_leg_take(x->answer->input_filters, x->in, AP_MODE_READBYTES,
                       PIECE, CASP_AGAIN);
    if (rv == APR_EAGAIN) {
        x->down.ready = false;
        return x->hung_up ? END_BACKEND : END_NOT;
    }
    if (rv == APR_EOF && !apr_table_get(x->head.headers, "Content-Length")
        && !apr_table_get(x->head.headers, "Transfer-Encoding"))
        x->down.open = false;
    else if (rv != APR_SUCCESS)
        return END_BACKEND;
    for (apr_bucket *b = APR_BRIGADE_FIRST(x->in);
         b != APR_BRIGADE_SENTINEL(x->in) && x->down.open;
         b = APR_BUCKET_NEXT(b)) {
        const char *data;
        apr_size_t len;

        if (APR_BUCKET_IS_EOS(b))
            x->down.open = false;
        else if (!APR_BUCKET_IS_METADATA(b)) {
            if (apr_bucket_read(b, &data, &len, APR_BLOCK_READ) != APR_SUCCESS)
                return END_BACKEND;
            APR_BRIGADE_INSERT_TAIL(x->to_front,
                                    apr_bucket_transient_create(
                                        data, len, x->to_front->bucket_alloc));
            bytes += (apr_off_t)len;
        }
    }
    rv = x->down.open ? flush_to(x->r->output_filters, x->to_front)
                      : end_answer(x);
    apr_brigade_cleanup(x->in);
    passed(&x->down, bytes);
    return rv == APR_SUCCESS && !x->front->aborted ? END_NOT : END_CLIENT;
}

/* ----------------------------------------------------------------- the pump */

static bool is_stopping(void)
{
    int state = AP_MPMQ_RUNNING;

    return ap_mpm_query(AP_MPMQ_MPM_STATE, &state) == APR_SUCCESS
           && state == AP_MPMQ_STOPPING;
}

/* Since when does this way wait for the side that reads? */
static apr_time_t stuck_until(const relay_t *x, const way_t *way)
{
    return way->stuck ? way->stuck + x->r->server->timeout : APR_INT64_MAX;
}

/* A child that is to end lets a channel be that moves, for a minute: then the
 * client, who connects anew, goes to one that stays. */
static end_e too_long(relay_t *x, apr_time_t now)
{
    if (now >= stuck_until(x, &x->up) || now >= stuck_until(x, &x->down))
        return END_STUCK;
    if (now - x->moved >= x->idle)
        return END_IDLE;
    if (!x->stopping && is_stopping())
        x->stopping = now;
    return x->stopping
                   && (now - x->moved >= TICK
                       || now - x->stopping >= LAST_MINUTE)
               ? END_STOPPING
               : END_NOT;
}

static apr_interval_time_t patience(const relay_t *x, apr_time_t now)
{
    apr_time_t until = now + TICK;

    if (until > x->moved + x->idle)
        until = x->moved + x->idle;
    if (until > stuck_until(x, &x->up))
        until = stuck_until(x, &x->up);
    if (until > stuck_until(x, &x->down))
        until = stuck_until(x, &x->down);
    return until > now ? until - now : 0;
}

#define FRONT 0
#define BACK 1

/* What is waited for: each way for something to read, or for room to send what
 * may have come.  A client that has said all is still watched: it may go. */
static void wants(relay_t *x, apr_pollfd_t *fds, apr_time_t now)
{
    fds[FRONT].reqevents = fds[BACK].reqevents = 0;
    fds[FRONT].rtnevents = fds[BACK].rtnevents = 0;
    if (!x->up.ready || !x->up.open || x->hung_up)
        x->up.stuck = 0;
    if (!x->up.open || x->hung_up) {
        if (!x->up.open && !x->quiet)
            fds[FRONT].reqevents |= APR_POLLIN;
    }
    else if (x->up.ready) {
        fds[BACK].reqevents |= APR_POLLOUT;
        x->up.stuck = x->up.stuck ? x->up.stuck : now;
    }
    else
        fds[FRONT].reqevents |= APR_POLLIN;
    if (x->down.ready && x->answered) {
        fds[FRONT].reqevents |= APR_POLLOUT;
        x->down.stuck = x->down.stuck ? x->down.stuck : now;
    }
    else {
        fds[BACK].reqevents |= APR_POLLIN;
        x->down.stuck = 0;
    }
}

/* A client that has sent its request and is not waited for: has it gone? */
static end_e watch(relay_t *x)
{
    apr_status_t rv = look(x, x->front);

    if (rv == APR_SUCCESS)
        x->quiet = true;
    return rv == APR_SUCCESS || rv == APR_EAGAIN ? END_NOT : END_CLIENT;
}

#define GONE (APR_POLLERR | APR_POLLHUP | APR_POLLNVAL)

static end_e serve(relay_t *x, const apr_pollfd_t *fds)
{
    apr_int16_t front = fds[FRONT].rtnevents, back = fds[BACK].rtnevents;
    end_e end = END_NOT;

    if (back & GONE)
        x->hung_up = true;
    if (front & APR_POLLIN) {
        if (!x->up.open)
            end = watch(x);
        else
            x->up.ready = true;
    }
    if (end == END_NOT && x->up.open && !x->hung_up && x->up.ready
        && (back & APR_POLLOUT))
        end = go_up(x);
    /* a write that fails may be what tells that it has hung up */
    if ((back & APR_POLLIN) || x->hung_up)
        x->down.ready = true;
    if (end == END_NOT && x->down.ready
        && (!x->answered || (front & APR_POLLOUT)))
        end = go_down(x);
    if (end == END_NOT && (front & GONE))
        end = END_CLIENT;
    if (end == END_NOT && x->answered && !x->down.open)
        end = x->up.open ? END_EARLY : END_DONE;
    return end;
}

static end_e pump(relay_t *x)
{
    apr_pollfd_t fds[2];
    end_e end = END_NOT;

    memset(fds, 0, sizeof fds);
    fds[FRONT].p = fds[BACK].p = x->r->pool;
    fds[FRONT].desc_type = fds[BACK].desc_type = APR_POLL_SOCKET;
    fds[FRONT].desc.s = ap_get_conn_socket(x->front);
    fds[BACK].desc.s = x->leg.conn->sock;
    let_send(x->r);
    x->moved = apr_time_now();
    while (end == END_NOT) {
        apr_time_t now = apr_time_now();
        apr_int32_t n = 0;
        apr_off_t bytes = x->up.bytes + x->down.bytes;
        bool head = x->answered;

        wants(x, fds, now);
        /* what has hung up would answer every poll */
        if (apr_poll(fds, x->hung_up ? 1 : 2, &n, patience(x, now))
                == APR_SUCCESS
            || x->hung_up)
            end = serve(x, fds);
        if (head != x->answered || bytes != x->up.bytes + x->down.bytes)
            x->moved = apr_time_now();
        if (end == END_NOT) /* also of one that never rests */
            end = too_long(x, apr_time_now());
    }
    return end;
}

/* --------------------------------------------------------- mod_reqtimeout */

/* It would end every channel that has no gigabyte in half a minute.  It may
 * stand right behind the request's own filters, who would go on calling it
 * were it only removed from the connection's. */
static void take_out_hurry(relay_t *x)
{
    ap_filter_t **links[3] = {&x->r->input_filters, &x->r->proto_input_filters,
                              &x->front->input_filters};

    for (int i = 0; i < 3; i++) {
        ap_filter_t **link = links[i];
        while (*link && strcmp((*link)->frec->name, "reqtimeout"))
            link = &(*link)->next;
        if (!*link)
            continue; /* the ways to it join */
        x->hurry = *link;
        x->hurried[i] = link;
        *link = x->hurry->next;
    }
}

static void put_back_hurry(relay_t *x)
{
    for (int i = 0; x->hurry && i < 3; i++)
        if (x->hurried[i])
            *x->hurried[i] = x->hurry;
    x->hurry = NULL;
}

/* ------------------------------------------------------------------ its end */

static void tell(const relay_t *x, end_e end)
{
    static const char *const why[] = {
        "",
        "both sides have said all",
        "the backend has answered, the client was still sending",
        "the backend's answer is not for the client",
        "the client has gone",
        "the backend broke off in the middle of its answer",
        "the backend ended the connection without an answer",
        "nothing has moved for the time that CasProxyTimeout gives RPC",
        "one side has read nothing for the time of Timeout",
        "this process is to end"};
    request_rec *r = x->r;

    ap_log_rerror(APLOG_MARK,
                  end == END_BACKEND  ? APLOG_WARNING
                  : end <= END_JUDGED ? APLOG_DEBUG
                                      : APLOG_INFO,
                  0, r,
                  CASPLOGNO(0760) "%s to %s has ended: %s; %" APR_OFF_T_FMT
                                  " bytes there, %" APR_OFF_T_FMT
                                  " bytes back",
                            r->method, x->rq->backend_host, why[end],
                            x->up.bytes, x->down.bytes);
}

/* No answer can be had any more, or one has begun that does not go on. */
static int hang_up(relay_t *x, int status)
{
    x->front->keepalive = AP_CONN_CLOSE;
    x->front->aborted = 1;
    if (!x->answered)
        x->r->status = status;
    return DONE;
}

/* What has come of it reaches the client, and that it is not all. */
static int break_off(relay_t *x)
{
    apr_bucket_brigade *bb = x->to_front;

    x->front->keepalive = AP_CONN_CLOSE;
    APR_BRIGADE_INSERT_TAIL(bb, ap_bucket_error_create(HTTP_BAD_GATEWAY, NULL,
                                                       x->r->pool,
                                                       bb->bucket_alloc));
    end_answer(x);
    return OK;
}

/* @return for mod_proxy: OK and DONE where an answer has gone or none can */
static int conclude(relay_t *x, end_e end)
{
    tell(x, end);
    if (x->sent && x->up.open)
        x->front->keepalive = AP_CONN_CLOSE;
    switch (end) {
    case END_CLIENT:
        return hang_up(x, HTTP_BAD_REQUEST);
    case END_SILENT:
        return casp_leg_failure(&x->leg);
    case END_IDLE:
        if (!x->up.open && !x->answered)
            return HTTP_GATEWAY_TIME_OUT;
        return hang_up(x, HTTP_GATEWAY_TIME_OUT);
    case END_STUCK:
        return x->answered ? hang_up(x, HTTP_GATEWAY_TIME_OUT)
                           : HTTP_GATEWAY_TIME_OUT;
    case END_STOPPING:
        return x->answered ? break_off(x)
                           : hang_up(x, HTTP_SERVICE_UNAVAILABLE);
    case END_BACKEND:
        return break_off(x);
    default:
        return OK;
    }
}

/* --------------------------------------------------------------- beginning */

/* A connection to the backend, and the request's head on it. */
static int begin(relay_t *x)
{
    int rc = casp_leg_open(&x->leg);

    if (rc == OK)
        rc = casp_leg_connect(&x->leg);
    if (rc != OK)
        return rc;
    x->back = x->leg.conn->connection;
    x->in = apr_brigade_create(x->r->pool, x->front->bucket_alloc);
    x->to_front = apr_brigade_create(x->r->pool, x->front->bucket_alloc);
    x->to_back = apr_brigade_create(x->r->pool, x->back->bucket_alloc);
    x->up.ready = x->down.ready = true;
    x->hung_up = false;
    /* the worker's own is hours: it is for the pump */
    apr_socket_timeout_set(x->leg.conn->sock, x->r->server->timeout);
    return send_head(x);
}

static void finish(relay_t *x, end_e end)
{
    bool keep = end == END_DONE && !x->head.close && !x->hung_up;

    if (x->answer)
        apr_pool_destroy(x->answer->pool);
    x->answer = NULL;
    /* what a filter has left there is of the connection's own memory, which
     * goes before the request's */
    if (x->in)
        apr_brigade_cleanup(x->in);
    if (x->to_back)
        apr_brigade_cleanup(x->to_back);
    if (keep)
        x->back->keepalives++; /* mod_proxy asks whether it was answered */
    casp_leg_close(&x->leg, keep);
}

/* The backend may have closed a connection that was kept, just now.
 * @return should the request go once more, over another one? */
static bool was_stale(const relay_t *x, int rc, end_e end)
{
    return x->leg.reused && !x->rq->lease && !x->answered
           && (rc != OK || end == END_SILENT)
           && (!x->sent || casp_relay_repeatable(x->r));
}

static int run(relay_t *x)
{
    end_e end = END_NOT;
    int rc = begin(x);

    if (rc == OK) {
        casp_worker_went(x->rq);
        end = pump(x);
    }
    for (int tried = 0; tried < 2 && was_stale(x, rc, end); tried++) {
        finish(x, END_SILENT);
        rc = begin(x);
        end = rc == OK ? pump(x) : END_NOT;
    }
    if (rc == OK)
        rc = conclude(x, end);
    finish(x, end);
    return rc;
}

int casp_relay_handler(request_rec *r, proxy_worker *worker,
                       proxy_server_conf *conf, char *url,
                       const char *proxyhost, apr_port_t proxyport)
{
    casp_request_t *rq = casp_request_of(r);
    relay_t x;
    int rc;

    (void)proxyport;
    if (!rq || !rq->trying || !casp_relay_wants(r, rq) || proxyhost
        || r->connection->master)
        return DECLINED;
    memset(&x, 0, sizeof x);
    x.r = r;
    x.rq = rq;
    x.conf = conf;
    x.front = r->connection;
    x.leg.r = r;
    x.leg.worker = worker;
    x.leg.conf = conf;
    x.leg.target = url;
    x.leg.base = rq->backend_base;
    x.leg.host = rq->backend_host;
    x.idle = apr_time_from_sec(
        rq->vhost->settings->timeout[rq->verdict.url.protocol]);
    x.kept = kept_of(r);
    if (!x.kept) {
        x.kept = apr_pcalloc(r->pool, sizeof *x.kept);
        apr_pool_userdata_setn(x.kept, KEPT, NULL, r->pool);
    }
    x.up.open = !x.kept->whole;
    x.down.open = true;
    take_out_hurry(&x);
    rc = run(&x);
    put_back_hurry(&x);
    return rc;
}
