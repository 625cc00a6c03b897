/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * peek.c - the beginning of a request's body, before the request is sent on.
 *
 * Where a mailbox is named in the body only, somebody has to look before a
 * backend is chosen.  The first bytes are read and kept; an input filter just
 * above httpd's own gives them back, so that whoever reads the body next, by
 * whatever mode and size, reads all of it from its first byte.
 *
 * A read never blocks here: a blocking one that runs into its time-out leaves
 * a TLS connection unusable.  The socket is watched instead, and what has not
 * come by a deadline is done without.  Nothing is read for a stranger, and
 * nothing here is believed.
 */

#include "skin.h"

#include <string.h>

#include <apr_poll.h>
#include <apr_strings.h>

#include "anchor.h"

#define PATIENCE apr_time_from_sec(3) /* for what can be done without */
#define PATIENCE_WHOLE apr_time_from_sec(20) /* for what cannot */
#define STEP apr_time_from_msec(10) /* where there is no socket to watch */

#if defined(__clang__) /* what it says of APR's APR_OFFSETOF */
#pragma clang diagnostic ignored "-Wnull-pointer-subtraction"
#endif

static const char *const PEEKED = "casproxy-peeked"; /* in r->pool */

/* What was read.  Kept: bytes of the buffer, metadata, EOS, in their order. */
typedef struct {
    apr_bucket_brigade *kept;
    char *data;
    apr_size_t len, most;
    apr_size_t wrapped; /* bytes that are in a bucket of kept */
    bool whole; /* EOS is kept, too */
    apr_status_t rv; /* how reading ended; other than APR_SUCCESS, the next
                        reader gets it after the bytes */
} peek_t;

/* Has the reader of a body's beginning seen enough of it? */
typedef bool enough_fn(void *baton, const char *data, apr_size_t len);

static ap_filter_rec_t *peek_rec;

/* ------------------------------------------------------------ giving back */

/* What is kept, up to so many bytes; metadata behind them goes along, so that
 * the end of the body comes with its last byte. */
static apr_status_t give(peek_t *pk, apr_bucket_brigade *bb, apr_off_t most)
{
    apr_bucket *e;
    apr_status_t rv = apr_brigade_partition(pk->kept, most, &e);

    if (rv != APR_SUCCESS && rv != APR_INCOMPLETE)
        return rv;
    while (e != APR_BRIGADE_SENTINEL(pk->kept) && APR_BUCKET_IS_METADATA(e))
        e = APR_BUCKET_NEXT(e);
    while (APR_BRIGADE_FIRST(pk->kept) != e) {
        apr_bucket *first = APR_BRIGADE_FIRST(pk->kept);
        APR_BUCKET_REMOVE(first);
        APR_BRIGADE_INSERT_TAIL(bb, first);
    }
    return APR_SUCCESS;
}

/* The same, and it stays here. */
static apr_status_t show(peek_t *pk, apr_bucket_brigade *bb, apr_off_t most)
{
    for (apr_bucket *e = APR_BRIGADE_FIRST(pk->kept);
         e != APR_BRIGADE_SENTINEL(pk->kept) && most > 0;
         e = APR_BUCKET_NEXT(e)) {
        apr_bucket *copy;
        apr_status_t rv = apr_bucket_copy(e, &copy);
        if (rv != APR_SUCCESS)
            return rv;
        APR_BRIGADE_INSERT_TAIL(bb, copy);
        if (!APR_BUCKET_IS_METADATA(copy) && (apr_off_t)copy->length > most)
            apr_bucket_split(copy, (apr_size_t)most);
        most -= (apr_off_t)copy->length;
        if (APR_BUCKET_NEXT(copy) != APR_BRIGADE_SENTINEL(bb))
            apr_bucket_delete(APR_BUCKET_NEXT(copy));
    }
    return APR_SUCCESS;
}

static apr_status_t peek_filter(ap_filter_t *f, apr_bucket_brigade *bb,
                                ap_input_mode_t mode, apr_read_type_e block,
                                apr_off_t readbytes)
{
    peek_t *pk = f->ctx;

    if (mode == AP_MODE_INIT || mode == AP_MODE_EATCRLF)
        return ap_get_brigade(f->next, bb, mode, block, readbytes);
    if (APR_BRIGADE_EMPTY(pk->kept)) {
        apr_status_t rv = pk->rv;
        ap_remove_input_filter(f);
        return rv != APR_SUCCESS
                   ? rv
                   : ap_get_brigade(f->next, bb, mode, block, readbytes);
    }
    switch (mode) {
    case AP_MODE_SPECULATIVE:
        return show(pk, bb, readbytes);
    case AP_MODE_GETLINE:
        return apr_brigade_split_line(bb, pk->kept, block, HUGE_STRING_LEN);
    case AP_MODE_EXHAUSTIVE:
        APR_BRIGADE_CONCAT(bb, pk->kept);
        return APR_SUCCESS;
    default:
        return give(pk, bb, readbytes);
    }
}

/* ----------------------------------------------------------------- reading */

/* The buffer's newest bytes become a bucket. */
static void wrap(peek_t *pk)
{
    if (pk->wrapped < pk->len)
        APR_BRIGADE_INSERT_TAIL(
            pk->kept,
            apr_bucket_pool_create(pk->data + pk->wrapped,
                                   pk->len - pk->wrapped, pk->kept->p,
                                   pk->kept->bucket_alloc));
    pk->wrapped = pk->len;
}

static apr_status_t take(peek_t *pk, apr_bucket_brigade *bb)
{
    apr_status_t rv = APR_SUCCESS;

    while (!APR_BRIGADE_EMPTY(bb) && rv == APR_SUCCESS) {
        apr_bucket *e = APR_BRIGADE_FIRST(bb);
        if (APR_BUCKET_IS_METADATA(e)) {
            wrap(pk);
            APR_BUCKET_REMOVE(e);
            APR_BRIGADE_INSERT_TAIL(pk->kept, e);
            pk->whole = pk->whole || APR_BUCKET_IS_EOS(e);
        }
        else {
            const char *part;
            apr_size_t n;
            rv = apr_bucket_read(e, &part, &n, APR_BLOCK_READ);
            if (rv == APR_SUCCESS && n > pk->most - pk->len)
                rv = APR_ENOSPC; /* more than was asked for */
            if (rv == APR_SUCCESS) {
                memcpy(pk->data + pk->len, part, n);
                pk->len += n;
                apr_bucket_delete(e);
            }
        }
    }
    return rv;
}

/* Until something may have come.  A stream of HTTP/2 has no socket of its
 * own. */
static void await(request_rec *r, apr_interval_time_t left)
{
    apr_socket_t *socket =
        r->connection->master ? NULL : ap_get_conn_socket(r->connection);
    apr_pollfd_t fd = {0};
    apr_int32_t n;

    if (!socket) {
        apr_sleep(left < STEP ? left : STEP);
        return;
    }
    fd.p = r->pool;
    fd.desc_type = APR_POLL_SOCKET;
    fd.reqevents = APR_POLLIN;
    fd.desc.s = socket;
    if (apr_poll(&fd, 1, &n, left) != APR_SUCCESS)
        apr_sleep(left < STEP ? left : STEP);
}

/* httpd leaves it to the first blocking read of a body. */
static void say_continue(request_rec *r)
{
    int status = r->status;
    const char *line = r->status_line;

    r->status = HTTP_CONTINUE;
    r->status_line = NULL;
    ap_send_interim_response(r, 0);
    r->status = status;
    r->status_line = line;
}

static apr_status_t read_some(request_rec *r, peek_t *pk,
                              apr_interval_time_t patience, enough_fn *enough,
                              void *baton)
{
    apr_time_t deadline = apr_time_now() + patience;
    apr_bucket_brigade *bb =
        apr_brigade_create(r->pool, r->connection->bucket_alloc);
    apr_status_t rv = APR_SUCCESS;

    while (!pk->whole && pk->len < pk->most) {
        apr_interval_time_t left = deadline - apr_time_now();
        rv =
            ap_get_brigade(r->input_filters, bb, AP_MODE_READBYTES,
                           APR_NONBLOCK_READ, (apr_off_t)(pk->most - pk->len));
        if (APR_STATUS_IS_EAGAIN(rv)
            || (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(bb))) {
            rv = APR_SUCCESS;
            if (left <= 0)
                break;
            if (r->expecting_100)
                say_continue(r);
            await(r, left);
            continue;
        }
        if (rv == APR_SUCCESS)
            rv = take(pk, bb);
        if (rv != APR_SUCCESS || left <= 0
            || (enough && enough(baton, pk->data, pk->len)))
            break;
    }
    wrap(pk);
    apr_brigade_destroy(bb);
    return rv;
}

/* mod_proxy writes a body into a file where a filter may change its length:
 * it takes for such a one whatever stands before the protocol's own.  This
 * one changes nothing, and is one of them. */
static void put_back(request_rec *r, peek_t *pk)
{
    ap_filter_t *f =
        ap_add_input_filter_handle(peek_rec, pk, r, r->connection);

    if (f && f->next == r->proto_input_filters)
        r->proto_input_filters = f;
}

/* The whole of a short body, else as much as may be looked at. */
static apr_size_t room(request_rec *r, apr_size_t most)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");
    apr_int64_t said = length ? apr_atoi64(length) : -1;

    if (most > CASP_PEEK_MAX)
        most = CASP_PEEK_MAX;
    /* one byte more, or the end of it would not be read */
    return said >= 0 && said < (apr_int64_t)most ? (apr_size_t)said + 1 : most;
}

static peek_t *peek(request_rec *r, apr_size_t most,
                    apr_interval_time_t patience, enough_fn *enough,
                    void *baton)
{
    int proxyreq = r->proxyreq;
    peek_t *pk = NULL;

    apr_pool_userdata_get((void **)&pk, PEEKED, r->pool);
    if (pk)
        return pk;
    pk = apr_pcalloc(r->pool, sizeof *pk);
    apr_pool_userdata_setn(pk, PEEKED, NULL, r->pool);
    pk->kept = apr_brigade_create(r->pool, r->connection->bucket_alloc);
    pk->most = room(r, most);
    pk->data = apr_palloc(r->pool, pk->most + 1);
    /* LimitRequestBody, 1 GiB where nobody sets it, is not for what is
     * proxied; httpd settles that once, at the first read */
    if (!r->proxyreq)
        r->proxyreq = PROXYREQ_REVERSE;
    pk->rv = read_some(r, pk, patience, enough, baton);
    r->proxyreq = proxyreq;
    pk->data[pk->len] = '\0';
    if (!APR_BRIGADE_EMPTY(pk->kept) || pk->rv != APR_SUCCESS)
        put_back(r, pk);
    return pk;
}

apr_status_t casp_peek_body(request_rec *r, apr_size_t most, const char **data,
                            apr_size_t *len, bool *whole)
{
    const peek_t *pk = peek(r, most, PATIENCE_WHOLE, NULL, NULL);

    *data = pk->data;
    *len = pk->len;
    *whole = pk->whole;
    return pk->rv;
}

/* ------------------------------------------------------------------ anchor */

static bool seen_header(void *baton, const char *data, apr_size_t len)
{
    return casp_anchor_scan(baton, data, len) != CASP_ANCHOR_MORE;
}

/* text/xml or application/soap+xml, and nothing that would have to be
 * unpacked first. */
static bool is_soap(request_rec *r)
{
    const char *coding = apr_table_get(r->headers_in, "Content-Encoding");
    const char *type = apr_table_get(r->headers_in, "Content-Type");
    apr_size_t n = type ? strcspn(type, "; \t") : 0;

    return (!coding || !ap_cstr_casecmp(coding, "identity"))
           && ((n == 8 && !ap_cstr_casecmpn(type, "text/xml", n))
               || (n == 20
                   && !ap_cstr_casecmpn(type, "application/soap+xml", n)));
}

void casp_peek_anchor(request_rec *r, casp_request_t *rq)
{
    casp_anchor_scan_t scan = {0};
    const peek_t *pk;

    if (rq->ask.anchor || rq->verdict.url.protocol != CASP_PROTO_EWS
        || r->method_number != M_POST || !is_soap(r)
        || apr_table_get(r->headers_in, "X-AnchorMailbox"))
        return;
    pk = peek(r, CASP_PEEK_MAX, PATIENCE, seen_header, &scan);
    if (casp_anchor_scan(&scan, pk->data, pk->len) == CASP_ANCHOR_FOUND)
        rq->ask.anchor =
            casp_anchor_parse(r->pool, &scan, pk->data, &rq->ask.anchor_kind,
                              &rq->ask.anchor_len);
}

void casp_peek_register(void)
{
    /* above httpd's filter that knows where the body ends, below all that
     * look into a body */
    peek_rec =
        ap_register_input_filter("casproxy_peek", peek_filter, NULL,
                                 (ap_filter_type)(AP_FTYPE_PROTOCOL - 1));
}
