/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * leg.c - one exchange of our own over a connection of mod_proxy's: the
 * messages of a handshake, the POST of a logon form.
 *
 * mod_proxy makes and keeps the connection, and mod_ssl its TLS; what is
 * spoken here is the little of HTTP/1.1 that such an exchange needs.  A
 * backend's bytes are bounded in every direction: lines, headers, body, time.
 * After anything that is odd the connection is closed, never reused: left-over
 * bytes would be the beginning of somebody's answer.
 */

#include "backend.h"

#include <string.h>

#include <apr_lib.h>
#include <apr_poll.h>
#include <apr_strings.h>

#include <util_filter.h>

#define LEG_TIMEOUT apr_time_from_sec(20)
#define MAX_LINE 65536 /* challenges and Negotiate answers hold tickets */
#define MAX_HEADERS 200
#define MAX_BODY (1024 * 1024)
/* What lies in a filter's buffer is not seen by poll. */
#define LOOK_AGAIN apr_time_from_msec(250)

#if defined(__clang__) /* what it says of APR's APR_OFFSETOF */
#pragma clang diagnostic ignored "-Wnull-pointer-subtraction"
#endif

int casp_leg_open(casp_leg_t *leg)
{
    request_rec *r = leg->r;
    int rc;

    leg->uri = apr_palloc(r->pool, sizeof *leg->uri);
    leg->url = leg->target ? apr_pstrdup(r->pool, leg->target)
                           : apr_pstrcat(r->pool, leg->base, "/", NULL);
    leg->scheme = ap_cstr_casecmpn(leg->base, "https:", 6) ? "http" : "https";
    rc = casp_mod_proxy.acquire(leg->scheme, &leg->conn, leg->worker,
                                r->server);
    if (rc != OK) {
        leg->conn = NULL;
        return rc;
    }
    leg->conn->is_ssl = !strcmp(leg->scheme, "https");
    rc = casp_mod_proxy.determine(r->pool, r, leg->conf, leg->worker,
                                  leg->conn, leg->uri, &leg->url, NULL, 0,
                                  leg->port, sizeof leg->port);
    if (rc != OK)
        casp_leg_close(leg, false);
    return rc;
}

bool casp_leg_alive(casp_leg_t *leg)
{
    return leg->conn->sock && leg->conn->connection
           && casp_mod_proxy.check(leg->scheme, leg->conn, leg->r->server, 1,
                                   PROXY_CHECK_CONN_EMPTY)
                  == APR_SUCCESS;
}

int casp_leg_connect(casp_leg_t *leg)
{
    request_rec *r = leg->r;
    int rc;

    leg->reused = casp_leg_alive(leg);
    if (!leg->reused
        && casp_mod_proxy.connect(leg->scheme, leg->conn, leg->worker,
                                  r->server)
               != OK)
        return HTTP_SERVICE_UNAVAILABLE;
    rc = casp_mod_proxy.create(leg->scheme, leg->conn, r);
    if (rc != OK)
        return rc;
    if (!leg->timed) /* mod_proxy's own, hours long for some protocols */
        leg->timed =
            apr_socket_timeout_get(leg->conn->sock, &leg->was) == APR_SUCCESS;
    leg->until = apr_time_now() + LEG_TIMEOUT;
    return OK;
}

void casp_leg_close(casp_leg_t *leg, bool keep)
{
    if (!leg->conn)
        return;
    if (leg->conn->sock && leg->timed)
        apr_socket_timeout_set(leg->conn->sock, leg->was);
    leg->timed = false;
    if (!keep)
        leg->conn->close = 1;
    casp_mod_proxy.release(leg->scheme, leg->conn, leg->r->server);
    leg->conn = NULL;
}

/* The next read or write has what is left of the time. @return false: none */
static bool in_time(casp_leg_t *leg)
{
    apr_interval_time_t left = leg->until - apr_time_now();

    return left > 0
           && apr_socket_timeout_set(leg->conn->sock, left) == APR_SUCCESS;
}

/* ------------------------------------------------------------------ sending */

static apr_status_t send_request(casp_leg_t *leg, const char *method,
                                 const char *path, const char *const *headers,
                                 const char *body, apr_size_t len)
{
    conn_rec *c = leg->conn->connection;
    apr_pool_t *p = leg->r->pool;
    apr_bucket_brigade *bb = apr_brigade_create(p, c->bucket_alloc);
    apr_status_t rv;

    ap_fputstrs(c->output_filters, bb, method, " ", path,
                " HTTP/1.1\r\nHost: ", leg->host,
                "\r\nConnection: Keep-Alive\r\n", NULL);
    for (; *headers; headers += 2)
        ap_fputstrs(c->output_filters, bb, headers[0], ": ", headers[1],
                    "\r\n", NULL);
    if (body)
        ap_fprintf(c->output_filters, bb,
                   "Content-Type: application/x-www-form-urlencoded\r\n"
                   "Content-Length: %" APR_SIZE_T_FMT "\r\n\r\n",
                   len);
    else if (!strcmp(method, "GET") || !strcmp(method, "HEAD"))
        ap_fputs(c->output_filters, bb, "\r\n");
    else
        ap_fputs(c->output_filters, bb, "Content-Length: 0\r\n\r\n");
    if (body) /* not copied: its owner wipes it */
        APR_BRIGADE_INSERT_TAIL(bb,
                                apr_bucket_immortal_create(body, len,
                                                           c->bucket_alloc));
    APR_BRIGADE_INSERT_TAIL(bb, apr_bucket_flush_create(c->bucket_alloc));
    rv = ap_pass_brigade(c->output_filters, bb);
    apr_brigade_destroy(bb);
    return rv;
}

/* ---------------------------------------------------------------- receiving */

static bool is_nothing(apr_status_t rv, apr_bucket_brigade *bb)
{
    return APR_STATUS_IS_EAGAIN(rv)
           || (rv == APR_SUCCESS && APR_BRIGADE_EMPTY(bb));
}

/* mod_ssl says that there is nothing after each message of TLS itself, a
 * session ticket for example, although what came with it lies in httpd's
 * buffer and not in the socket: so it is asked again. */
apr_status_t casp_leg_take(ap_filter_t *from, apr_bucket_brigade *bb,
                           ap_input_mode_t mode, apr_off_t most, int times)
{
    apr_status_t rv;

    do {
        rv = ap_get_brigade(from, bb, mode, APR_NONBLOCK_READ, most);
    } while (is_nothing(rv, bb) && --times > 0);
    return is_nothing(rv, bb) ? APR_EAGAIN : rv;
}

/* The next of it, in the time that is left.  A read that blocks would begin its
 * time-out anew with each byte. */
static bool receive(casp_leg_t *leg, apr_bucket_brigade *bb,
                    ap_input_mode_t mode, apr_off_t most)
{
    apr_pollfd_t fd = {.p = leg->r->pool,
                       .desc_type = APR_POLL_SOCKET,
                       .reqevents = APR_POLLIN,
                       .desc.s = leg->conn->sock};
    apr_status_t rv;

    apr_brigade_cleanup(bb);
    while ((rv = casp_leg_take(leg->conn->connection->input_filters, bb, mode,
                               most, CASP_AGAIN_FIRST))
           == APR_EAGAIN) {
        apr_interval_time_t left = leg->until - apr_time_now();
        apr_int32_t n;

        if (left <= 0)
            return false;
        (void)apr_poll(&fd, 1, &n, left < LOOK_AGAIN ? left : LOOK_AGAIN);
    }
    return rv == APR_SUCCESS;
}

/* A line without its end; NULL: none came, or one that is too long.  One read
 * brings eight kilobytes of it at most. */
static char *read_line(casp_leg_t *leg, apr_bucket_brigade *bb)
{
    char *line = NULL;
    apr_size_t len = 0;

    for (;;) {
        apr_size_t got = 0;
        char *part;

        if (!receive(leg, bb, AP_MODE_GETLINE, 0)
            || apr_brigade_pflatten(bb, &part, &got, leg->r->pool)
                   != APR_SUCCESS
            || got == 0 || memchr(part, '\0', got) || len + got > MAX_LINE)
            return NULL;
        line = line
                   ? apr_pstrcat(leg->r->pool, line,
                                 apr_pstrmemdup(leg->r->pool, part, got), NULL)
                   : apr_pstrmemdup(leg->r->pool, part, got);
        len += got;
        if (line[len - 1] == '\n')
            break;
    }
    line[--len] = '\0';
    if (len && line[len - 1] == '\r')
        line[--len] = '\0';
    return line;
}

static bool read_status(casp_leg_t *leg, apr_bucket_brigade *bb,
                        casp_leg_answer_t *a)
{
    const char *line = read_line(leg, bb);

    if (!line || strncmp(line, "HTTP/1.", 7) || !apr_isdigit(line[7])
        || line[8] != ' ' || !apr_isdigit(line[9]) || !apr_isdigit(line[10])
        || !apr_isdigit(line[11]) || apr_isdigit(line[12]))
        return false;
    a->status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + line[11] - '0';
    a->line = line + 9;
    a->old = line[7] == '0';
    return true;
}

static bool read_headers(casp_leg_t *leg, apr_bucket_brigade *bb,
                         apr_table_t *headers)
{
    for (int i = 0; i <= MAX_HEADERS; i++) {
        char *line = read_line(leg, bb);
        char *colon, *end;

        if (!line)
            return false;
        if (!*line)
            return true;
        if (*line == ' ' || *line == '\t')
            continue; /* a folded line: nothing that we look at folds */
        colon = strchr(line, ':');
        if (!colon || colon == line)
            return false;
        *colon++ = '\0';
        while (*colon == ' ' || *colon == '\t')
            colon++;
        end = colon + strlen(colon);
        while (end > colon && (end[-1] == ' ' || end[-1] == '\t'))
            *--end = '\0';
        /* httpd would end the client's connection rather than send such a
         * one on */
        if (*ap_scan_http_token(line) || *ap_scan_http_field_content(colon))
            return false;
        apr_table_addn(headers, line, colon);
    }
    return false;
}

bool casp_leg_head(casp_leg_t *leg, casp_leg_answer_t *a)
{
    apr_bucket_brigade *bb =
        apr_brigade_create(leg->r->pool, leg->conn->connection->bucket_alloc);
    bool good;

    memset(a, 0, sizeof *a);
    a->headers = apr_table_make(leg->r->pool, 12);
    good = read_status(leg, bb, a) && read_headers(leg, bb, a->headers);
    apr_brigade_destroy(bb);
    return good;
}

static bool drop_bytes(casp_leg_t *leg, apr_bucket_brigade *bb, apr_off_t left)
{
    while (left > 0) {
        apr_off_t got = 0;

        if (!receive(leg, bb, AP_MODE_READBYTES, left)
            || apr_brigade_length(bb, 1, &got) != APR_SUCCESS || got <= 0)
            return false;
        left -= got;
    }
    apr_brigade_cleanup(bb);
    return left == 0;
}

static bool drop_chunks(casp_leg_t *leg, apr_bucket_brigade *bb)
{
    apr_off_t sum = 0;

    for (;;) {
        const char *line = read_line(leg, bb);
        char *end;
        apr_off_t size;

        if (!line || !apr_isxdigit(*line)
            || apr_strtoff(&size, line, &end, 16) != APR_SUCCESS || size < 0
            || (*end && *end != ';' && *end != ' '))
            return false;
        if (size == 0)
            return read_headers(leg, bb, apr_table_make(leg->r->pool, 1));
        if (size > MAX_BODY - sum || !drop_bytes(leg, bb, size))
            return false;
        sum += size;
        line = read_line(leg, bb);
        if (!line || *line)
            return false;
    }
}

static int count_one(void *count, const char *name, const char *value)
{
    (void)name;
    (void)value;
    ++*(int *)count;
    return 1;
}

static bool read_length(const char *text, apr_off_t *length)
{
    char *end;

    return apr_isdigit(*text)
           && apr_strtoff(length, text, &end, 10) == APR_SUCCESS && !*end;
}

bool casp_leg_ambiguous(const apr_table_t *headers)
{
    const char *length = apr_table_get(headers, "Content-Length");
    apr_off_t number;
    int n = 0;

    apr_table_do(count_one, &n, headers, "Content-Length", "Transfer-Encoding",
                 NULL);
    return n > 1 || (length && !read_length(length, &number));
}

/* @return false: where the answer ends cannot be known, or is too far off */
static bool drop_body(casp_leg_t *leg, apr_bucket_brigade *bb, bool head,
                      const casp_leg_answer_t *a)
{
    const char *coding = apr_table_get(a->headers, "Transfer-Encoding");
    const char *length = apr_table_get(a->headers, "Content-Length");
    apr_off_t n;

    if (head || a->status == HTTP_NO_CONTENT || a->status == HTTP_NOT_MODIFIED)
        return true;
    if (casp_leg_ambiguous(a->headers))
        return false;
    if (coding)
        return !ap_cstr_casecmp(coding, "chunked") && drop_chunks(leg, bb);
    if (!length || !read_length(length, &n) || n > MAX_BODY)
        return false;
    return drop_bytes(leg, bb, n);
}

/* mod_ssl leaves it where its handshake failed: the certificate, mostly. */
int casp_leg_failure(const casp_leg_t *leg)
{
    const conn_rec *c = leg->conn->connection;
    const char *rv = c ? apr_table_get(c->notes, "SSL_connect_rv") : NULL;

    return rv && !strcmp(rv, "err") ? HTTP_INTERNAL_SERVER_ERROR
                                    : HTTP_BAD_GATEWAY;
}

int casp_leg_exchange(casp_leg_t *leg, const char *method, const char *path,
                      const char *const *headers, const char *body,
                      apr_size_t len, casp_leg_answer_t *answer)
{
    conn_rec *c = leg->conn->connection;
    apr_bucket_brigade *bb = apr_brigade_create(leg->r->pool, c->bucket_alloc);
    const char *connection;
    bool good =
        in_time(leg)
        && send_request(leg, method, path, headers, body, len) == APR_SUCCESS;

    memset(answer, 0, sizeof *answer);
    for (int interim = 0; good; interim++) {
        good = interim < 8 && casp_leg_head(leg, answer);
        if (answer->status >= 200 || answer->status == 101)
            break;
    }
    good = good && answer->status >= 200;
    answer->close = !good || answer->old
                    || !drop_body(leg, bb, !strcmp(method, "HEAD"), answer);
    connection =
        good ? apr_table_getm(leg->r->pool, answer->headers, "Connection")
             : NULL;
    if (connection && ap_find_token(leg->r->pool, connection, "close"))
        answer->close = true;
    apr_brigade_destroy(bb);
    if (good) {
        c->keepalives++; /* mod_proxy asks whether it was ever answered */
        return OK;
    }
    return casp_leg_failure(leg);
}
