/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * A small LDAP server with faults, for the directory's tests: a listener on
 * an ephemeral loopback port and a thread per connection, in this process.
 * It counts what it is asked, so that a test can also say what must not have
 * been asked.  It is no LDAP server for anything else.
 */

#ifndef CASP_DIRFAULT_H
#define CASP_DIRFAULT_H

#include <arpa/inet.h>
#include <lber.h>
#include <ldap.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <apr_atomic.h>

/* What happens to a connection as such. */
enum {
    FAULT_NONE = 0,
    FAULT_HANG, /* accepted, then silence */
    FAULT_CLOSE, /* accepted, then closed */
    FAULT_GARBAGE, /* bytes that are no LDAP */
    FAULT_HUGE /* a message that claims to be 2 GB */
};

/* What happens to a search other than for the rootDSE. */
enum {
    ASK_ANSWER = 0,
    ASK_HANG,
    ASK_CLOSE, /* the connection, without an answer */
    ASK_BUSY, /* result code busy */
    ASK_LATER_REFUSED, /* the second page is refused */
    ASK_LATER_CLOSE, /* the second page ends the connection */
    ASK_GARBAGE, /* a result that cannot be read */
    ASK_THEN_CLOSE, /* answers, and closes the connection at once */
    ASK_ONCE /* closes when it is asked for the second time */
};

#define DIRFAULT_CONNS 256
#define DIRFAULT_SERVICE "cn=service,dc=test"

/* Plain numbers, written by one thread and read by others. */
typedef volatile apr_uint32_t dirfault_num_t;

typedef struct {
    int listener, port;
    dirfault_num_t fault, ask;
    dirfault_num_t bind_code, bind_delay; /* of the service; ms */
    dirfault_num_t ask_delay; /* ms */
    dirfault_num_t user_code;
    const char *user_diag; /* set while nobody binds */
    dirfault_num_t entries, ignore_limit;
    /* Counts. */
    dirfault_num_t conns, service_binds, user_binds, searches, roots;
    dirfault_num_t mixed; /* binds of one kind on the other's connection */
    dirfault_num_t sasl_binds, asked_whose;
    dirfault_num_t stop;
    pthread_t thread;
    pthread_t threads[DIRFAULT_CONNS];
    int nthreads; /* the listener's thread only */
} dirfault_t;

typedef struct {
    dirfault_t *f;
    int fd;
    int kind; /* 0 none, 1 service, 2 user, 3 SASL */
    int page;
    int asked;
    char whose[32]; /* bound by SASL as */
} dirfault_conn_t;

#define GET(n) apr_atomic_read32(&(n))
#define SET(n, v) apr_atomic_set32(&(n), (v))

/* Sleep, but not beyond the end of the test. */
static void dirfault_sleep(dirfault_t *f, apr_uint32_t ms)
{
    for (apr_uint32_t t = 0; t < ms && !GET(f->stop); t += 5) {
        (void)poll(NULL, 0, 5);
    }
}

/* Silence, until the other side gives up or the test ends. */
static void dirfault_hang(dirfault_conn_t *c)
{
    char buf[512];
    while (!GET(c->f->stop)) {
        struct pollfd pfd = {c->fd, POLLIN, 0};
        if (poll(&pfd, 1, 10) > 0 && recv(c->fd, buf, sizeof(buf), 0) <= 0) {
            return;
        }
    }
}

static void dirfault_send(dirfault_conn_t *c, BerElement *ber)
{
    struct berval *bv = NULL;
    ber_flatten(ber, &bv);
    ber_free(ber, 1);
    if (bv) {
        (void)!send(c->fd, bv->bv_val, bv->bv_len, MSG_NOSIGNAL);
        ber_bvfree(bv);
    }
}

static void dirfault_result(dirfault_conn_t *c, ber_int_t id, ber_tag_t tag,
                            int code, const char *diag, const char *cookie)
{
    BerElement *ber = ber_alloc_t(LBER_USE_DER);
    ber_printf(ber, "{it{ess}", id, tag, (ber_int_t)code, "",
               diag ? diag : "");
    if (cookie) {
        BerElement *v = ber_alloc_t(LBER_USE_DER);
        struct berval *value = NULL;
        ber_printf(v, "{is}", (ber_int_t)0, cookie);
        ber_flatten(v, &value);
        ber_free(v, 1);
        ber_printf(ber, "t{{sO}}", (ber_tag_t)LDAP_TAG_CONTROLS,
                   LDAP_CONTROL_PAGEDRESULTS, value);
        ber_bvfree(value);
    }
    ber_printf(ber, "}");
    dirfault_send(c, ber);
}

static void dirfault_entry(dirfault_conn_t *c, ber_int_t id, unsigned n)
{
    char dn[64], cn[16];
    snprintf(dn, sizeof(dn), "cn=u%u,dc=test", n);
    snprintf(cn, sizeof(cn), "u%u", n);
    char bytes[] = {'a', '\0', 'b'};
    struct berval binary = {sizeof(bytes), bytes};
    BerElement *ber = ber_alloc_t(LBER_USE_DER);
    ber_printf(ber, "{it{s{{s[s]}{s[ss]}{s[O]}{s[s]}}}}", id,
               (ber_tag_t)LDAP_RES_SEARCH_ENTRY, dn, "cn", cn,
               "member;range=0-1", "m0", "m1", "objectGUID;binary", &binary,
               "objectClass", "msExchExchangeServer");
    dirfault_send(c, ber);
}

static void dirfault_root(dirfault_conn_t *c, ber_int_t id)
{
    BerElement *ber = ber_alloc_t(LBER_USE_DER);
    ber_printf(ber, "{it{s{{s[s]}{s[s]}{s[s]}{s[ss]}}}}", id,
               (ber_tag_t)LDAP_RES_SEARCH_ENTRY, "", "defaultNamingContext",
               "dc=test", "configurationNamingContext",
               "cn=configuration,dc=test", "rootDomainNamingContext",
               "dc=test", "supportedCapabilities", "1.2.3",
               "1.2.840.113556.1.4.800");
    dirfault_send(c, ber);
    dirfault_result(c, id, LDAP_RES_SEARCH_RESULT, 0, NULL, NULL);
}

/* Who is this connection?  "none": nobody says; "anon", "builtin": no account
 * of a domain. */
static void dirfault_whose(dirfault_conn_t *c, ber_int_t id)
{
    unsigned char sid[28] = {1, 5, 0, 0, 0, 0, 0, 5, 21};
    struct berval user = {sizeof(sid), (char *)sid};
    struct berval group = {12, "\1\1\0\0\0\0\0\5\13\0\0\0"};
    struct berval nobody = {12, "\1\1\0\0\0\0\0\5\7\0\0\0"};
    apr_atomic_inc32(&c->f->asked_whose);
    if (!strcmp(c->whose, "builtin")) {
        sid[8] = 32;
    }
    for (size_t i = 0; i < 4 && c->whose[i]; i++) {
        sid[24 + i] = (unsigned char)c->whose[i];
    }
    BerElement *ber = ber_alloc_t(LBER_USE_DER);
    if (!strcmp(c->whose, "none")) {
        ber_printf(ber, "{it{s{}}}", id, (ber_tag_t)LDAP_RES_SEARCH_ENTRY, "");
    }
    else {
        ber_printf(ber, "{it{s{{s[OO]}}}}", id,
                   (ber_tag_t)LDAP_RES_SEARCH_ENTRY, "", "tokenGroups",
                   strcmp(c->whose, "anon") ? &user : &nobody, &group);
    }
    dirfault_send(c, ber);
    dirfault_result(c, id, LDAP_RES_SEARCH_RESULT, 0, NULL, NULL);
}

/* The account behind "<SID=...>". */
static void dirfault_account(dirfault_conn_t *c, ber_int_t id)
{
    BerElement *ber = ber_alloc_t(LBER_USE_DER);
    ber_printf(ber, "{it{s{{s[s]}}}}", id, (ber_tag_t)LDAP_RES_SEARCH_ENTRY,
               "CN=Somebody,CN=Users,DC=contoso,DC=test", "sAMAccountName",
               c->whose);
    dirfault_send(c, ber);
    dirfault_result(c, id, LDAP_RES_SEARCH_RESULT, 0, NULL, NULL);
}

/* Entries, two to a page, among them a reference. */
static void dirfault_entries(dirfault_conn_t *c, ber_int_t id, unsigned limit,
                             int paged)
{
    unsigned all = GET(c->f->entries), from = 0, to = all;
    if (paged) {
        from = 2 * (unsigned)c->page;
        to = from + 2 < all ? from + 2 : all;
        c->page = to < all ? c->page + 1 : 0;
    }
    BerElement *ber = ber_alloc_t(LBER_USE_DER);
    ber_printf(ber, "{it{s}}", id, (ber_tag_t)LDAP_RES_SEARCH_REFERENCE,
               "ldap://127.0.0.1:1/dc=elsewhere");
    dirfault_send(c, ber);
    int code = 0;
    for (unsigned i = from; i < to && !code; i++) {
        if (limit && i >= limit && !GET(c->f->ignore_limit)) {
            code = LDAP_SIZELIMIT_EXCEEDED;
        }
        else {
            dirfault_entry(c, id, i);
        }
    }
    dirfault_result(c, id, LDAP_RES_SEARCH_RESULT, code, NULL,
                    paged ? (to < all ? "more" : "") : NULL);
}

/* 0: the connection is to be closed. */
static int dirfault_search(dirfault_conn_t *c, BerElement *ber, ber_int_t id,
                           int paged, int whose)
{
    dirfault_t *f = c->f;
    char *base = NULL;
    ber_int_t scope = 0, deref = 0, size = 0;
    ber_scanf(ber, "{aeei", &base, &scope, &deref, &size);
    int root = base && !*base, account = base && !strncmp(base, "<SID=", 5);
    ber_memfree(base);
    if (whose && c->kind == 3) {
        dirfault_whose(c, id);
        return 1;
    }
    if (account && c->kind == 3) {
        dirfault_account(c, id);
        return 1;
    }
    if (root) {
        apr_atomic_inc32(&f->roots);
        dirfault_root(c, id);
        return 1;
    }
    apr_atomic_inc32(&f->searches);
    dirfault_sleep(f, GET(f->ask_delay));
    apr_uint32_t ask = GET(f->ask);
    if (ask == ASK_CLOSE || (ask == ASK_LATER_CLOSE && c->page > 0)
        || (ask == ASK_ONCE && c->asked++ > 0)) {
        return 0;
    }
    if (ask == ASK_HANG) {
        dirfault_hang(c);
        return 0;
    }
    if (ask == ASK_BUSY || (ask == ASK_LATER_REFUSED && c->page > 0)) {
        dirfault_result(c, id, LDAP_RES_SEARCH_RESULT,
                        ask == ASK_BUSY ? LDAP_BUSY : LDAP_OTHER, "no", NULL);
        return 1;
    }
    if (ask == ASK_GARBAGE) {
        BerElement *out = ber_alloc_t(LBER_USE_DER);
        ber_printf(out, "{it{s}}", id, (ber_tag_t)LDAP_RES_SEARCH_RESULT, "x");
        dirfault_send(c, out);
        return 1;
    }
    dirfault_entries(c, id, (unsigned)size, paged);
    return ask != ASK_THEN_CLOSE;
}

/* The result and creds of a SASL bind; the token says what they are:
 * "14 text" goes on, "0 ada" is ada's, "49 text" is a refusal, "hang" and
 * "close" are what they say.  0: the connection is to be closed. */
static int dirfault_sasl(dirfault_conn_t *c, BerElement *ber, ber_int_t id)
{
    char *mechanism = NULL, text[64] = "";
    struct berval token = {0, NULL};
    ber_scanf(ber, "{am", &mechanism, &token);
    size_t n = token.bv_len < 63 ? token.bv_len : 63;
    if (token.bv_val) {
        memcpy(text, token.bv_val, n);
    }
    int right = mechanism && !strcmp(mechanism, "GSS-SPNEGO");
    ber_memfree(mechanism);
    apr_atomic_inc32(&c->f->sasl_binds);
    if (!strcmp(text, "hang")) {
        dirfault_hang(c);
    }
    if (!right || !strcmp(text, "hang") || !strcmp(text, "close")) {
        return 0;
    }
    char *rest = text;
    int code = (int)strtol(text, &rest, 10);
    rest += *rest == ' ';
    snprintf(c->whose, sizeof(c->whose), "%s", code ? "" : rest);
    BerElement *out = ber_alloc_t(LBER_USE_DER);
    ber_printf(out, "{it{ess", id, (ber_tag_t)LDAP_RES_BIND, (ber_int_t)code,
               "", code ? rest : "");
    if (code == LDAP_SASL_BIND_IN_PROGRESS && *rest) {
        ber_printf(out, "ts", (ber_tag_t)LDAP_TAG_SASL_RES_CREDS, rest);
    }
    ber_printf(out, "}}");
    dirfault_send(c, out);
    return 1;
}

static int dirfault_bind(dirfault_conn_t *c, BerElement *ber, ber_int_t id)
{
    dirfault_t *f = c->f;
    ber_int_t version = 0;
    ber_len_t len = 0;
    char *name = NULL;
    ber_scanf(ber, "{ia", &version, &name);
    int kind = name && !strcmp(name, DIRFAULT_SERVICE) ? 1 : 2;
    kind = ber_peek_tag(ber, &len) == LDAP_AUTH_SASL ? 3 : kind;
    ber_memfree(name);
    if (c->kind && c->kind != kind) {
        apr_atomic_inc32(&f->mixed);
    }
    c->kind = kind;
    dirfault_sleep(f, GET(f->bind_delay));
    if (kind == 3) {
        return dirfault_sasl(c, ber, id);
    }
    if (kind == 1) {
        apr_atomic_inc32(&f->service_binds);
        dirfault_result(c, id, LDAP_RES_BIND, (int)GET(f->bind_code), NULL,
                        NULL);
    }
    else {
        apr_atomic_inc32(&f->user_binds);
        dirfault_result(c, id, LDAP_RES_BIND, (int)GET(f->user_code),
                        f->user_diag, NULL);
    }
    return 1;
}

static int dirfault_read(dirfault_conn_t *c, unsigned char *buf, size_t len)
{
    while (len > 0) {
        ssize_t n = recv(c->fd, buf, len, 0);
        if (n <= 0) {
            return 0;
        }
        buf += n;
        len -= (size_t)n;
    }
    return 1;
}

/* One whole message, as libldap writes it: definite, up to four bytes. */
static unsigned char *dirfault_message(dirfault_conn_t *c, size_t *len)
{
    unsigned char head[6];
    if (!dirfault_read(c, head, 2)) {
        return NULL;
    }
    size_t extra = head[1] & 0x80 ? head[1] & 7u : 0, body = head[1];
    if (extra) {
        if (extra > 4 || !dirfault_read(c, head + 2, extra)) {
            return NULL;
        }
        body = 0;
        for (size_t i = 0; i < extra; i++) {
            body = body << 8 | head[2 + i];
        }
    }
    *len = 2 + extra + body;
    unsigned char *all = malloc(*len);
    memcpy(all, head, 2 + extra);
    if (!dirfault_read(c, all + 2 + extra, body)) {
        free(all);
        return NULL;
    }
    return all;
}

static int dirfault_has(const unsigned char *all, size_t len, const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i + n <= len; i++) {
        if (!memcmp(all + i, text, n)) {
            return 1;
        }
    }
    return 0;
}

/* One request; 0: the end. */
static int dirfault_request(dirfault_conn_t *c)
{
    size_t len = 0;
    unsigned char *all = dirfault_message(c, &len);
    if (!all) {
        return 0;
    }
    struct berval bv = {len, (char *)all};
    BerElement *ber = ber_init(&bv);
    ber_int_t id = 0;
    ber_len_t oplen = 0;
    ber_scanf(ber, "{i", &id);
    ber_tag_t op = ber_peek_tag(ber, &oplen);
    int more = 1;
    if (op == LDAP_REQ_BIND) {
        more = dirfault_bind(c, ber, id);
    }
    else if (op == LDAP_REQ_SEARCH) {
        more =
            dirfault_search(c, ber, id,
                            dirfault_has(all, len, LDAP_CONTROL_PAGEDRESULTS),
                            dirfault_has(all, len, "tokenGroups"));
    }
    else {
        more = op == LDAP_REQ_ABANDON;
    }
    ber_free(ber, 1);
    free(all);
    return more;
}

static void *dirfault_talk(void *data)
{
    dirfault_conn_t *c = data;
    static const char garbage[] =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n"
        "Connection: close\r\n\r\n<html><head><title>400</title></head>"
        "<body>This is not the server that you are looking for.\xff\x00"
        "</body></html>\r\n";
    static const unsigned char huge[] = {0x30, 0x84, 0x7f, 0xff, 0xff,
                                         0xf0, 0x02, 0x01, 0x01};
    switch (GET(c->f->fault)) {
    case FAULT_HANG:
        dirfault_hang(c);
        break;
    case FAULT_CLOSE:
        break;
    case FAULT_GARBAGE:
        (void)!send(c->fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
        dirfault_hang(c);
        break;
    case FAULT_HUGE:
        (void)!send(c->fd, huge, sizeof(huge), MSG_NOSIGNAL);
        dirfault_hang(c);
        break;
    default:
        while (!GET(c->f->stop)) {
            /* Look up now and then, so that the test can end. */
            struct pollfd pfd = {c->fd, POLLIN, 0};
            if (poll(&pfd, 1, 20) > 0 && !dirfault_request(c)) {
                break;
            }
        }
    }
    close(c->fd);
    free(c);
    return NULL;
}

static void *dirfault_listen(void *data)
{
    dirfault_t *f = data;
    while (!GET(f->stop) && f->nthreads < DIRFAULT_CONNS) {
        struct pollfd pfd = {f->listener, POLLIN, 0};
        if (poll(&pfd, 1, 10) <= 0) {
            continue;
        }
        int fd = accept(f->listener, NULL, NULL);
        if (fd < 0) {
            continue;
        }
        int on = 1; /* an entry and its result are two messages */
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        apr_atomic_inc32(&f->conns);
        dirfault_conn_t *c = calloc(1, sizeof(*c));
        c->f = f;
        c->fd = fd;
        pthread_create(&f->threads[f->nthreads++], NULL, dirfault_talk, c);
    }
    for (int i = 0; i < f->nthreads; i++) {
        pthread_join(f->threads[i], NULL);
    }
    close(f->listener);
    return NULL;
}

/* A loopback socket on a port of its own; it listens where asked to. */
static int dirfault_socket(int port, int backlog, int *got)
{
    struct sockaddr_in sin;
    socklen_t len = sizeof(sin);
    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sin.sin_port = htons((unsigned short)port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) != 0
        || (backlog && listen(fd, backlog) != 0)) {
        abort();
    }
    getsockname(fd, (struct sockaddr *)&sin, &len);
    *got = ntohs(sin.sin_port);
    return fd;
}

/* port 0: any.  A port of an ended server may be taken again. */
static dirfault_t *dirfault_start(unsigned fault, int port)
{
    dirfault_t *f = calloc(1, sizeof(*f));
    f->fault = fault;
    f->entries = 1;
    f->listener = dirfault_socket(port, 64, &f->port);
    pthread_create(&f->thread, NULL, dirfault_listen, f);
    return f;
}

static void dirfault_end(dirfault_t *f)
{
    SET(f->stop, 1);
    pthread_join(f->thread, NULL);
    free(f);
}

#endif /* CASP_DIRFAULT_H */
