/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * integrated.c - Negotiate and NTLM at the door: from a client's token to a
 * verified user.
 *
 * Kerberos proves the user in one message, with each request; nothing of it is
 * remembered.  NTLM takes three, and proves the user for the client's
 * connection: what is remembered lies with that connection, is good for the
 * virtual host and the client address that the handshake was made with, and is
 * wiped when a new one begins.  Over HTTP/2, where one connection is many
 * streams, NTLM is sent back to HTTP/1.1.
 *
 * The user is who the verifier says (SID, canonical name), never who the
 * client's message claims to be.
 */

#include "skin.h"

#include <string.h>

#include <apr_base64.h>
#include <apr_strings.h>

#include <http_main.h>

#define JAR_SIZE 10000
#define LINK_LIFE apr_time_from_sec(10 * 3600)
#define JAR_TTL apr_time_from_sec(8 * 3600)

/* What is known of a client connection. */
typedef struct {
    apr_pool_t *pool; /* of what stands below; cleared */
    casp_vhost_t *vhost; /* whose verifier has it */
    const char *address; /* the client's, behind a trusted proxy too */
    uint64_t handshake; /* under way; 0: none */
    bool known;
    apr_time_t since;
    int64_t password_set; /* the directory's pwdLastSet then */
    bool negotiate; /* the scheme it was made with */
    casp_verified_t who;
} link_t;

static apr_status_t drop_link(void *data)
{
    link_t *l = data;

    if (l->handshake && l->vhost->ntlm)
        casp_ntlm_drop(l->vhost->ntlm, l->handshake);
    l->handshake = 0;
    l->known = false;
    return APR_SUCCESS;
}

/* Only the thread that serves the connection comes here. */
static link_t *link_of(request_rec *r, bool make)
{
    conn_rec *c = r->connection;
    link_t *l;

    if (c->master) /* a stream of HTTP/2 */
        return NULL;
    l = ap_get_module_config(c->conn_config, &casproxy_module);
    if (!l && make) {
        l = apr_pcalloc(c->pool, sizeof *l);
        apr_pool_create(&l->pool, c->pool);
        apr_pool_tag(l->pool, "casproxy_link");
        /* before the pool below it goes */
        apr_pool_pre_cleanup_register(c->pool, l, drop_link);
        ap_set_module_config(c->conn_config, &casproxy_module, l);
    }
    return l;
}

static void begin_anew(request_rec *r, casp_request_t *rq, link_t *l,
                       bool negotiate)
{
    drop_link(l);
    apr_pool_clear(l->pool);
    memset(&l->who, 0, sizeof l->who);
    l->vhost = rq->vhost;
    l->address = apr_pstrdup(l->pool, r->useragent_ip);
    l->negotiate = negotiate;
}

/* A proxy may send several people's requests over one connection of its own,
 * and what NTLM proves of a connection would be true of all of them. */
static bool came_through_proxy(request_rec *r)
{
    return strcmp(r->useragent_ip, r->connection->client_ip)
           || apr_table_get(r->headers_in, "Via")
           || apr_table_get(r->headers_in, "Forwarded")
           || apr_table_get(r->headers_in, "X-Forwarded-For");
}

/* ------------------------------------------------------------------- words */

static int refuse(request_rec *r, casp_request_t *rq, const char *reason,
                  const char *why)
{
    casp_runtime_count(CASP_COUNT_LOGON_REFUSED);
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  CASPLOGNO(0172) "integrated logon refused: %s%s%s", reason,
                            why ? ": " : "", why ? why : "");
    return casp_answer_unauthorized(r, rq, reason);
}

static int unavailable(request_rec *r, casp_request_t *rq, const char *reason,
                       const char *why)
{
    ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                  CASPLOGNO(0173) "nobody can verify this logon: %s",
                            why ? why : reason);
    return casp_answer_error(r, rq, reason, HTTP_SERVICE_UNAVAILABLE);
}

void casp_integrated_offer(request_rec *r, casp_request_t *rq)
{
    apr_table_unset(r->err_headers_out, "WWW-Authenticate");
    if (rq->schemes & CASP_SCHEME_NEGOTIATE)
        apr_table_addn(r->err_headers_out, "WWW-Authenticate", "Negotiate");
    if (rq->schemes & CASP_SCHEME_NTLM)
        apr_table_addn(r->err_headers_out, "WWW-Authenticate", "NTLM");
}

static const char *header_of(request_rec *r, bool negotiate, const void *out,
                             apr_size_t len)
{
    char *text =
        apr_palloc(r->pool, (apr_size_t)apr_base64_encode_len((int)len));

    apr_base64_encode_binary(text, out, (int)len);
    return apr_pstrcat(r->pool, negotiate ? "Negotiate " : "NTLM ", text,
                       NULL);
}

/* The handshake goes on: 401, and the connection stays.  Were the body of
 * this request left unread, or waited for with "Expect: 100-continue", httpd
 * would close it. */
static int challenge(request_rec *r, casp_request_t *rq, bool negotiate,
                     const casp_ntlm_answer_t *a)
{
    const char *length = apr_table_get(r->headers_in, "Content-Length");

    if (!length || apr_atoi64(length) <= CASP_DISCARD_MAX)
        casp_answer_drain(r, rq);
    casp_answer_decide(r, rq, CASP_ACTION_LOGON, "handshake",
                       CASP_LOGON_FAILED, HTTP_UNAUTHORIZED);
    apr_table_unset(r->err_headers_out, "WWW-Authenticate");
    apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                   header_of(r, negotiate, a->out, a->out_len));
    return casp_answer_write(r, rq, HTTP_UNAUTHORIZED, NULL,
                             "text/plain; charset=utf-8", "");
}

/* --------------------------------------------------------------- the user */

/* A verifier's name as a key: where it told no SID. */
static bool name_key(request_rec *r, const casp_topology_t *t,
                     const char *name, casp_user_key_t *key)
{
    const char *at = name ? ap_strchr_c(name, '@') : NULL;

    if (!name || (at && !casp_topology_domain_by_dns(t, at + 1)))
        return false; /* another forest's: only a SID would tell */
    /* a Kerberos principal is account@DOMAIN, and no UPN */
    if (at)
        name =
            apr_pstrcat(r->pool, at + 1, "\\",
                        apr_pstrmemdup(r->pool, name, (apr_size_t)(at - name)),
                        NULL);
    return casp_identity_key(r->pool, name, strlen(name),
                             CASP_LOGON_FULLDOMAIN, NULL, key)
           == CASP_CLAIM_OK;
}

static casp_find_e find_account(request_rec *r, casp_request_t *rq,
                                const casp_verified_t *who, const char **why)
{
    casp_org_t *org = rq->vhost->org;
    casp_topology_t *t =
        casp_org_await(org, apr_time_now() + casp_org_patience(org));
    casp_user_key_t key = {CASP_KEY_ACCOUNT, NULL, (const char *)who->sid,
                           who->sid_len};
    casp_find_e found = CASP_FIND_NONE;

    if (!t) {
        *why = casp_org_trouble(org, r->pool);
        return CASP_FIND_UNAVAILABLE;
    }
    if (who->sid_len || name_key(r, t, who->name, &key))
        found = casp_org_find(org, r->pool, t, &key, 0, &rq->own,
                              &rq->own_cache, why);
    casp_topology_unref(t);
    return found;
}

static int admit(request_rec *r, casp_request_t *rq, casp_by_e by,
                 const casp_verified_t *who)
{
    apr_time_t start = apr_time_now();
    const char *why = NULL;
    casp_find_e found = find_account(r, rq, who, &why);

    rq->verdict.lookup = apr_time_now() - start;
    if (found == CASP_FIND_UNAVAILABLE)
        return unavailable(r, rq, "directory-unavailable", why);
    memset(&rq->claim, 0, sizeof rq->claim);
    rq->claim.name = who->name ? apr_pstrdup(r->pool, who->name) : NULL;
    if (found == CASP_FIND_OK) {
        casp_request_admit(r, rq, by,
                           by == CASP_BY_NTLM ? "NTLM" : "Negotiate");
        if (!rq->claim.name)
            rq->claim.name = rq->display;
        return OK;
    }
    /* A good logon, of somebody whom this directory does not know: another
     * prompt would not help. */
    rq->own = NULL;
    why = found == CASP_FIND_AMBIGUOUS ? "user-ambiguous" : "user-unknown";
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                  CASPLOGNO(0176) "%s is verified, and %s here",
                            who->name ? who->name : "an account", why);
    return casp_answer_error(r, rq, why, HTTP_FORBIDDEN);
}

/* --------------------------------------------------------------- Kerberos */

static int by_kerberos(request_rec *r, casp_request_t *rq, const void *token,
                       apr_size_t len)
{
    const void *out = NULL;
    apr_size_t out_len = 0;
    casp_verified_t who;
    const char *why = NULL;
    int rc;

    if (!rq->vhost->acceptor) {
        /* no NTLM would come after this: the client has chosen */
        rq->schemes &= ~CASP_SCHEME_NEGOTIATE;
        return refuse(r, rq, "no-keytab",
                      "the client has a Kerberos ticket, and there is no "
                      "CasProxyKeytab to read it with");
    }
    memset(&who, 0, sizeof who);
    switch (casp_acceptor_verify(rq->vhost->acceptor, r->pool, token, len,
                                 &out, &out_len, &who, &why)) {
    case CASP_ACCEPT_OK:
        break;
    case CASP_ACCEPT_NO:
        return refuse(r, rq, "ticket-refused", why);
    default:
        ap_log_rerror(APLOG_MARK, APLOG_ERR, 0, r,
                      CASPLOGNO(0174) "Kerberos does not work here: %s", why);
        return refuse(r, rq, "ticket-refused", why);
    }
    rc = admit(r, rq, CASP_BY_NEGOTIATE, &who);
    if (rc == OK && out_len)
        apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                       header_of(r, true, out, out_len));
    return rc;
}

/* ------------------------------------------------------------------- NTLM */

/* NTLM over HTTP/2: the stream is refused so that the client asks again over
 * a connection of HTTP/1.1, which only NTLM's users pay for. */
static int send_to_http11(request_rec *r, casp_request_t *rq)
{
    casp_answer_decide(r, rq, CASP_ACTION_LOGON, "http-1.1-required",
                       CASP_LOGON_FAILED, HTTP_FORBIDDEN);
    apr_table_setn(r->notes, "ssl-renegotiate-forbidden", "ntlm");
    return casp_answer_write(r, rq, HTTP_FORBIDDEN, NULL, NULL, "");
}

static int verified(request_rec *r, casp_request_t *rq, link_t *l,
                    const casp_ntlm_answer_t *a)
{
    int rc;

    l->handshake = 0;
    l->who = a->who;
    l->who.name = a->who.name ? apr_pstrdup(l->pool, a->who.name) : NULL;
    rc = admit(r, rq, CASP_BY_NTLM, &l->who);
    l->known = rc == OK;
    l->since = apr_time_now();
    l->password_set = rq->own ? rq->own->password_set : 0;
    casp_runtime_count(CASP_COUNT_INTEGRATED);
    if (l->known && l->negotiate && a->out_len)
        apr_table_setn(r->err_headers_out, "WWW-Authenticate",
                       header_of(r, true, a->out, a->out_len));
    return rc;
}

static int by_ntlm(request_rec *r, casp_request_t *rq, bool negotiate,
                   casp_token_e kind, const void *token, apr_size_t len)
{
    bool first = kind == CASP_TOKEN_NTLM_1 || kind == CASP_TOKEN_SPNEGO_NTLM;
    casp_ntlm_answer_t a;
    casp_ntlm_e rc;
    link_t *l;

    if (!rq->vhost->ntlm)
        return unavailable(r, rq, "ntlm-unavailable", NULL);
    if (r->connection->master)
        return send_to_http11(r, rq);
    if (came_through_proxy(r)) {
        rq->schemes &= ~(CASP_SCHEME_NTLM | CASP_SCHEME_NEGOTIATE);
        return refuse(r, rq, "ntlm-through-proxy",
                      "a proxy stands before this front; NTLM is for direct "
                      "connections");
    }
    l = link_of(r, true);
    memset(&a, 0, sizeof a);
    if (first) {
        begin_anew(r, rq, l, negotiate);
        rc = casp_ntlm_begin(rq->vhost->ntlm, r->pool, token, len,
                             &l->handshake, &a);
    }
    else {
        if (!l->handshake || l->vhost != rq->vhost
            || strcmp(l->address, r->useragent_ip)) {
            begin_anew(r, rq, l, negotiate);
            return refuse(r, rq, "handshake-lost", NULL);
        }
        rc = casp_ntlm_step(rq->vhost->ntlm, r->pool, l->handshake, token, len,
                            &a);
    }
    if (rc != CASP_NTLM_MORE)
        l->handshake = 0;
    switch (rc) {
    case CASP_NTLM_MORE:
        return challenge(r, rq, negotiate, &a);
    case CASP_NTLM_OK:
        return verified(r, rq, l, &a);
    case CASP_NTLM_REFUSED:
        return refuse(r, rq, "ntlm-refused", a.why);
    case CASP_NTLM_LOST:
        return refuse(r, rq, "handshake-lost", a.why);
    case CASP_NTLM_BUSY: /* a flood of them must not fill the log too */
        ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, r,
                      CASPLOGNO(0171) "%s", a.why ? a.why : "ntlm-busy");
        return casp_answer_error(r, rq, "ntlm-busy", HTTP_SERVICE_UNAVAILABLE);
    default:
        return unavailable(r, rq, "ntlm-unavailable", a.why);
    }
}

/* --------------------------------------------------------------- identify */

/* What an earlier request on this connection has proved.  A logon form and its
 * sessions are somebody's own word, and newer. */
static int by_link(request_rec *r, casp_request_t *rq)
{
    link_t *l = link_of(r, false);
    const char *cookies = apr_table_get(r->headers_in, "Cookie");
    int rc;

    if (!l || !l->known || rq->forms != CASP_FORMS_NONE
        || ((rq->schemes & CASP_SCHEME_FORMS) && cookies
            && strstr(cookies, "cadata=")))
        return DECLINED;
    if (l->vhost != rq->vhost || strcmp(l->address, r->useragent_ip)
        || came_through_proxy(r) || apr_time_now() - l->since > LINK_LIFE
        || !(rq->schemes
             & (l->negotiate ? CASP_SCHEME_NEGOTIATE : CASP_SCHEME_NTLM)))
        return DECLINED;
    rc = admit(r, rq, CASP_BY_NTLM, &l->who);
    if (rc == OK && l->password_set && rq->own->password_set
        && l->password_set != rq->own->password_set) {
        drop_link(l);
        rq->display = NULL;
        return refuse(r, rq, "password-changed", NULL);
    }
    return rc;
}

/* Whoever comes with credentials of another kind is another person, as far as
 * this connection is concerned: where only Basic is taken, too. */
void casp_integrated_part(request_rec *r)
{
    link_t *l = link_of(r, false);

    if (l && l->known && apr_table_get(r->headers_in, "Authorization"))
        drop_link(l);
}

int casp_integrated_identify(request_rec *r, casp_request_t *rq)
{
    const char *header = apr_table_get(r->headers_in, "Authorization");
    bool negotiate = false;
    const void *token;
    apr_size_t len = 0;
    casp_token_e kind;

    if (!header)
        return by_link(r, rq);
    token = casp_token_of_header(r->pool, header, &len, &negotiate);
    if (!token) {
        if (!ap_cstr_casecmpn(header, "Negotiate", 9)
            || !ap_cstr_casecmpn(header, "NTLM", 4))
            return refuse(r, rq, "broken-token", NULL);
        return DECLINED;
    }
    if (!(rq->schemes
          & (negotiate ? CASP_SCHEME_NEGOTIATE : CASP_SCHEME_NTLM)))
        return refuse(r, rq, "scheme-not-offered", NULL);
    kind = casp_token_kind(token, len);
    if (kind == CASP_TOKEN_BAD
        || (!negotiate && kind != CASP_TOKEN_NTLM_1
            && kind != CASP_TOKEN_NTLM_3))
        return refuse(r, rq, "broken-token", NULL);
    if (kind == CASP_TOKEN_KERBEROS)
        return by_kerberos(r, rq, token, len);
    return by_ntlm(r, rq, negotiate, kind, token, len);
}

/* --------------------------------------------------------------- the child */

static casp_ntlm_t *verifier(apr_pool_t *p, const casp_vhost_t *v)
{
    const casp_settings_t *set = v->settings;
    casp_ntlm_conf_t conf;

    memset(&conf, 0, sizeof conf);
    if (set->ntlm_verify == CASP_NTLM_DIRECTORY) {
        conf.directory = casp_org_directory(v->org);
        if (!conf.directory)
            return NULL; /* check_config has said so */
    }
    else {
        static const char *const usual[] = {"/usr/bin/ntlm_auth", NULL};
        const apr_array_header_t *words = set->ntlm_helper;

        conf.helper = usual;
        if (words) {
            const char **argv =
                apr_pcalloc(p, sizeof(char *) * (size_t)(words->nelts + 1));
            for (int i = 0; i < words->nelts; i++)
                argv[i] = APR_ARRAY_IDX(words, i, const char *);
            conf.helper = argv;
        }
    }
    return casp_ntlm_create(p, &conf);
}

/* A connection's own pool may outlive what its handshake names: prefork's
 * does. */
static apr_status_t forget_verifier(void *data)
{
    ((casp_vhost_t *)data)->ntlm = NULL;
    return APR_SUCCESS;
}

/* Nothing here starts a process, opens a connection or asks a KDC. */
apr_status_t casp_integrated_child_init(apr_pool_t *p, server_rec *s)
{
    for (; s; s = s->next) {
        casp_vhost_t *v = casp_vhost_of(s);
        casp_gss_conf_t conf = {NULL, 0};
        const char *error;

        if (!v->settings || !v->org)
            continue;
        conf.keytab = v->settings->keytab;
        v->gss = casp_gss_create(p, &conf);
        /* before the verifier's own, and so run after it */
        apr_pool_pre_cleanup_register(p, v, forget_verifier);
        v->ntlm = verifier(p, v);
        v->jar =
            casp_jar_create(p, JAR_SIZE, JAR_TTL, casp_runtime_key(),
                            casp_org_second(v->org), casp_org_name(v->org));
        if (!v->gss || !v->ntlm)
            continue;
        if (!v->settings->keytab)
            continue;
        error = casp_acceptor_create(p, v->settings->keytab, &v->acceptor);
        if (error)
            ap_log_error(APLOG_MARK, APLOG_ERR, 0, s,
                         CASPLOGNO(0175) "%s: CasProxyKeytab: %s",
                                   casp_config_name(p, s), error);
    }
    return APR_SUCCESS;
}

void casp_integrated_tick(apr_time_t now)
{
    for (server_rec *s = ap_server_conf; s; s = s->next) {
        casp_vhost_t *v = casp_vhost_of(s);

        if (v->ntlm)
            casp_ntlm_tick(v->ntlm, now);
    }
}
