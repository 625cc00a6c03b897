/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * backlogin.c - logging on to a backend in a user's name.
 *
 * Basic stands in each request, a Kerberos ticket too: such connections are
 * shared.  NTLM and a backend's own form are different.
 *
 * NTLM proves the user once for a TCP connection, and whatever comes over that
 * connection afterwards is the user's.  So such a connection is a lease
 * (lease.c): a worker of its own, made for one user's login at one backend,
 * exclusive while a request runs.  The first message of the handshake goes in
 * an exchange of our own, before a byte of the client's body is read; the last
 * one stands in the client's request itself.  mod_proxy may connect anew
 * without telling, when the backend has just closed the connection; so a
 * filter on the connection notes whether the request went over it.  Where it
 * did not, the request met the backend as nobody: it is refused there, and
 * asked again on a new lease.
 *
 * A form gives cookies, which are kept here (backforms.c) and shown to no
 * client.
 */

#include "backforms.h"
#include "backend.h"

#include <string.h>

#include <apr_base64.h>
#include <apr_strings.h>

#include <http_main.h>
#include <util_filter.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#define LEASE_FILTER "CASPROXY_LEASE"
#define LEASE_NOTE "casproxy-lease"
#define MAX_LEASES 1024
/* An Outlook with shared mailboxes has twenty channels, each with one. */
#define LEASES_PER_USER 64

/* What a lease carries. */
typedef struct {
    casp_worker_t *w;
    bool in; /* the backend has taken the login */
    bool sent; /* the request went over the connection that has it */
} carried_t;

static casp_leases_t *leases;

static void close_lease(void *carries)
{
    carried_t *c = carries;

    if (c)
        apr_pool_destroy(c->w->pool);
}

apr_status_t casp_backlogin_child_init(void)
{
    casp_lease_conf_t conf = {MAX_LEASES, LEASES_PER_USER,
                              apr_time_from_sec(60), close_lease};

    /* As mod_proxy's own workers, leases end with the process. */
    leases = casp_leases_create(&conf);
    return leases ? APR_SUCCESS : APR_ENOMEM;
}

static void forget_user(const casp_guid_t *user)
{
    for (server_rec *s = ap_server_conf; s; s = s->next)
        if (casp_vhost_of(s)->gss)
            casp_gss_forget(casp_vhost_of(s)->gss, user);
    if (leases)
        casp_leases_drop(leases, user);
}

void casp_backlogin_tick(apr_time_t now)
{
    casp_runtime_logoffs(forget_user);
    if (leases)
        casp_leases_tick(leases, now);
}

void casp_backlogin_forget(casp_request_t *rq)
{
    if (!rq->own)
        return;
    forget_user(&rq->own->user);
    casp_runtime_logged_off(&rq->own->user);
    if (rq->jar_id)
        casp_jar_put(rq->vhost->jar, rq->jar_id, rq->jar_id_len, NULL,
                     apr_time_now());
}

/* ------------------------------------------------------------------ whose */

/* Virtual host, backend, user, credential: what a login is kept under. */
static const char *login_id(request_rec *r, casp_request_t *rq,
                            apr_size_t *len)
{
    const casp_mailbox_t *own = rq->own;
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned int mac_len = 0;
    char *text =
        apr_psprintf(r->pool, "%d %s %s %d ", rq->vhost->index,
                     casp_login_name(rq->login), rq->backend_base,
                     rq->vhost->settings->timeout[rq->verdict.url.protocol]);
    apr_size_t n = strlen(text);
    char *id;

    if (!HMAC(EVP_sha256(), casp_runtime_key(), 32,
              (const unsigned char *)rq->claim.password,
              rq->claim.password_len, mac, &mac_len)
        || mac_len < 32)
        return NULL;
    *len = n + sizeof own->user.b + own->sid_len + 32;
    id = apr_palloc(r->pool, *len);
    memcpy(id, text, n);
    memcpy(id + n, own->user.b, sizeof own->user.b);
    n += sizeof own->user.b;
    memcpy(id + n, own->sid, own->sid_len);
    memcpy(id + n + own->sid_len, mac, 32);
    return id;
}

/* The account that logs on.  A linked mailbox's is another one than the
 * mailbox's own object: what the verifier called it counts. */
static bool account(request_rec *r, casp_request_t *rq, casp_gss_user_t *u)
{
    casp_topology_t *t = casp_org_topology(rq->vhost->org);
    const casp_domain_t *domain = NULL;
    const char *slash;

    memset(u, 0, sizeof *u);
    u->user = rq->own->user;
    u->sam = casp_mailbox_text(rq->own, CASP_MB_SAM);
    u->netbios = casp_mailbox_text(rq->own, CASP_MB_NETBIOS);
    if ((rq->own->flags & CASP_MB_LINKED)
        && (rq->ask.by == CASP_BY_NTLM || rq->ask.by == CASP_BY_NEGOTIATE)) {
        slash = rq->claim.name ? ap_strchr_c(rq->claim.name, '\\') : NULL;
        if (slash) {
            u->netbios = apr_pstrmemdup(r->pool, rq->claim.name,
                                        (apr_size_t)(slash - rq->claim.name));
            u->sam = slash + 1;
        }
        else if (rq->claim.name
                 && (slash = ap_strchr_c(rq->claim.name, '@')) != NULL) {
            u->sam = apr_pstrmemdup(r->pool, rq->claim.name,
                                    (apr_size_t)(slash - rq->claim.name));
            u->realm = slash + 1;
        }
    }
    if (t && !u->realm) {
        domain = casp_topology_domain_by_netbios(t, u->netbios);
        u->realm = domain ? apr_pstrdup(r->pool, domain->dns) : NULL;
    }
    if (t)
        casp_topology_unref(t);
    u->password = rq->claim.password;
    u->password_len = rq->claim.password_len;
    return *u->sam != '\0';
}

/* The name that the backend's own account of itself knows. */
static const char *service_host(request_rec *r, casp_request_t *rq)
{
    const char *host =
        casp_url_host(r->pool, rq->verdict.decision.backends[rq->backend].url);
    const char *colon = ap_strchr_c(host, ':');

    return colon ? apr_pstrmemdup(r->pool, host, (apr_size_t)(colon - host))
                 : host;
}

/* AD takes an old password for an hour after a change (its own default), and
 * so would a bind; a backend that asks for NTLM does not. */
static bool changed_lately(request_rec *r, casp_request_t *rq)
{
    const apr_time_t since_1601 = apr_time_from_sec(APR_INT64_C(11644473600));
    const casp_mailbox_t *fresh =
        casp_org_read_anew(rq->vhost->org, r->pool, rq->own);

    return fresh && fresh->password_set
           && fresh->password_set / 10 - since_1601
                  > apr_time_now() - apr_time_from_sec(3600);
}

/* Is the password that the directory took a moment ago still the user's? */
static bool password_holds(request_rec *r, casp_request_t *rq)
{
    const char *why = NULL;
    casp_pw_e pw;

    if (!rq->claim.password)
        return true;
    pw = casp_org_check_password_anew(rq->vhost->org, r->pool, rq->own,
                                      rq->claim.password,
                                      rq->claim.password_len, &why);
    return pw == CASP_PW_UNAVAILABLE
           || (pw == CASP_PW_OK && !changed_lately(r, rq));
}

/* The backend, or the KDC, does not take it. */
static const char *refused_password(request_rec *r, casp_request_t *rq)
{
    return password_holds(r, rq) ? "backend-logon-refused"
                                 : "password-changed";
}

static int trouble(request_rec *r, casp_request_t *rq, const char *reason,
                   const char *why)
{
    rq->trouble = reason;
    ap_log_rerror(APLOG_MARK, APLOG_WARNING, 0, r,
                  CASPLOGNO(0170) "no login (%s) at backend %s for %s: "
                                  "%s%s%s",
                            casp_login_name(rq->login), rq->backend_host,
                            rq->display ? rq->display : r->user, reason,
                            why ? ": " : "", why ? why : "");
    return HTTP_SERVICE_UNAVAILABLE;
}

static int gss_trouble(request_rec *r, casp_request_t *rq, casp_gss_e rc,
                       const char *why)
{
    return trouble(r, rq,
                   rc == CASP_GSS_UNAVAILABLE ? "backend-kdc-unavailable"
                   : rc == CASP_GSS_MISSING   ? "backend-auth-missing"
                   : rq->login == CASP_LOGIN_DELEGATE ? "double-hop"
                   : rq->login == CASP_LOGIN_KERBEROS
                       ? refused_password(r, rq)
                       : "backend-logon-refused",
                   why);
}

/* --------------------------------------------------------------- by ticket */

static apr_status_t wipe_text(void *text)
{
    casp_wipe(text, strlen(text));
    return APR_SUCCESS;
}

static const char *header_of(request_rec *r, const char *scheme,
                             const casp_gss_token_t *token)
{
    char *plain =
        apr_palloc(r->pool,
                   (apr_size_t)apr_base64_encode_len((int)token->len));
    char *header;

    apr_base64_encode_binary(plain, token->token, (int)token->len);
    header = apr_pstrcat(r->pool, scheme, " ", plain, NULL);
    casp_wipe(plain, strlen(plain));
    apr_pool_cleanup_register(r->pool, header, wipe_text,
                              apr_pool_cleanup_null);
    return header;
}

static int by_ticket(request_rec *r, casp_request_t *rq)
{
    casp_gss_t *gss = rq->vhost->gss;
    casp_gss_token_t token = {NULL, 0, NULL};
    casp_gss_user_t user;
    casp_gss_e rc;

    if (!rq->own || !account(r, rq, &user))
        return trouble(r, rq, "double-hop", "the account is not known here");
    if (!user.realm)
        return trouble(r, rq, "backend-logon-refused",
                       "the directory does not tell the DNS name of the "
                       "account's domain, and so not its Kerberos realm");
    rc = rq->login == CASP_LOGIN_DELEGATE
             ? casp_gss_delegate(gss, r->pool, &user, service_host(r, rq),
                                 &token)
             : casp_gss_kerberos(gss, r->pool, &user, service_host(r, rq),
                                 &token);
    if (rc != CASP_GSS_OK)
        return gss_trouble(r, rq, rc, token.why);
    rq->authorization = header_of(r, "Negotiate", &token);
    return OK;
}

/* ---------------------------------------------------------------- by lease */

/* Where a request has come to on its way: over the connection that we know. */
static apr_status_t lease_filter(ap_filter_t *f, apr_bucket_brigade *bb)
{
    ((carried_t *)f->ctx)->sent = true;
    return ap_pass_brigade(f->next, bb);
}

static apr_status_t give_back(void *data)
{
    casp_request_t *rq = data;

    if (rq->lease)
        casp_lease_put(leases, rq->lease, false, apr_time_now());
    rq->lease = NULL;
    return APR_SUCCESS;
}

static carried_t *take_lease(request_rec *r, casp_request_t *rq)
{
    apr_size_t len = 0;
    const char *id = login_id(r, rq, &len);
    carried_t *c;

    if (!id || !leases
        || casp_lease_take(leases, id, len, &rq->own->user, apr_time_now(),
                           &rq->lease)
               == CASP_LEASE_FULL) {
        rq->lease = NULL;
        rq->busy = true;
        return NULL;
    }
    apr_pool_cleanup_kill(r->pool, rq, give_back);
    apr_pool_cleanup_register(r->pool, rq, give_back, apr_pool_cleanup_null);
    c = casp_lease_carries(rq->lease);
    if (!c) {
        casp_worker_t *w = casp_worker_alone(r, rq);
        if (!w)
            return NULL;
        c = apr_pcalloc(w->pool, sizeof *c);
        c->w = w;
        casp_lease_fill(rq->lease, c);
    }
    return c;
}

typedef struct {
    const char *token; /* behind the scheme; NULL: none */
    const char *scheme;
    bool ntlm, negotiate, basic, any;
} offers_t;

static int collect_offer(void *baton, const char *name, const char *value)
{
    offers_t *o = baton;

    (void)name;
    o->any = true;
    if (!ap_cstr_casecmpn(value, "NTLM", 4)) {
        o->ntlm = true;
        if (value[4] == ' ' && value[5]) {
            o->scheme = "NTLM";
            o->token = value + 5;
        }
    }
    else if (!ap_cstr_casecmpn(value, "Negotiate", 9)) {
        o->negotiate = true;
        if (value[9] == ' ' && value[10]) {
            o->scheme = "Negotiate";
            o->token = value + 10;
        }
    }
    if (ap_strcasestr(value, "Basic"))
        o->basic = true;
    if (ap_strcasestr(value, ", NTLM"))
        o->ntlm = true;
    if (ap_strcasestr(value, ", Negotiate"))
        o->negotiate = true;
    return 1;
}

static offers_t offers_of(const apr_table_t *a, const apr_table_t *b)
{
    offers_t o;

    memset(&o, 0, sizeof o);
    apr_table_do(collect_offer, &o, a, "WWW-Authenticate", NULL);
    if (b)
        apr_table_do(collect_offer, &o, b, "WWW-Authenticate", NULL);
    return o;
}

/* The first message, and the backend's challenge to it.  By HEAD: a backend
 * that does not ask for a login must not do twice what the client wants. */
static int challenge(casp_leg_t *leg, casp_request_t *rq,
                     const casp_gss_token_t *first, const char **scheme,
                     offers_t *offers)
{
    request_rec *r = leg->r;
    const char *path = casp_url_path(r->filename + 6); /* "proxy:" */
    casp_leg_answer_t a;

    *scheme = "NTLM";
    for (int tried = 0; tried < 2; tried++) {
        const char *headers[] = {"Authorization", header_of(r, *scheme, first),
                                 NULL};
        int rc = casp_leg_connect(leg);

        if (rc == OK)
            rc = casp_leg_exchange(leg, "HEAD", path, headers, NULL, 0, &a);
        if (rc != OK)
            return rc == HTTP_INTERNAL_SERVER_ERROR ? rc
                                                    : HTTP_SERVICE_UNAVAILABLE;
        *offers = offers_of(a.headers, NULL);
        if (a.status != HTTP_UNAUTHORIZED)
            return casp_backform_wanted(a.status, a.headers)
                       ? trouble(r, rq, "backend-uses-forms", NULL)
                       : DECLINED; /* it does not ask who this is */
        if (a.close)
            return trouble(r, rq, "ntlm-not-on-destination",
                           "it closes the connection after each message");
        if (offers->token)
            return OK;
        if (offers->ntlm || !offers->negotiate)
            break;
        *scheme = "Negotiate";
    }
    return trouble(r, rq,
                   offers->ntlm || offers->negotiate
                       ? "backend-logon-refused"
                       : "ntlm-not-on-destination",
                   "it does not answer NTLM with a challenge");
}

/* A new connection, with the handshake's last message left for the request. */
static int shake_hands(casp_leg_t *leg, casp_request_t *rq, carried_t *c)
{
    request_rec *r = leg->r;
    casp_gss_token_t token = {NULL, 0, NULL};
    casp_gss_dialog_t *dialog = NULL;
    casp_gss_user_t user;
    const char *scheme;
    offers_t offers;
    unsigned char *answer;
    casp_gss_e gss;
    int rc;

    if (!account(r, rq, &user))
        return trouble(r, rq, "backend-logon-refused", "no account");
    gss = casp_gss_ntlm_begin(rq->vhost->gss, r->pool, &user,
                              service_host(r, rq), &dialog, &token);
    if (gss != CASP_GSS_MORE)
        return gss_trouble(r, rq, gss, token.why);
    rc = challenge(leg, rq, &token, &scheme, &offers);
    if (rc != OK)
        return rc;
    answer =
        apr_palloc(r->pool, (apr_size_t)apr_base64_decode_len(offers.token));
    gss =
        casp_gss_ntlm_step(dialog, r->pool, answer,
                           (apr_size_t)apr_base64_decode_binary(answer,
                                                                offers.token),
                           &token);
    if (gss != CASP_GSS_OK)
        return gss_trouble(r, rq, gss, token.why);
    rq->authorization = header_of(r, scheme, &token);
    ap_add_output_filter(LEASE_FILTER, c, NULL, leg->conn->connection);
    apr_table_setn(leg->conn->connection->notes, LEASE_NOTE, "1");
    c->sent = false; /* what the filter saw of this very exchange */
    casp_runtime_count(CASP_COUNT_HANDSHAKES);
    return OK;
}

/* What would have mod_proxy close the connection between our message and the
 * request, or let it grow old while a client's slow body is awaited. */
static void keep_together(request_rec *r)
{
    apr_table_unset(r->subprocess_env, "proxy-initial-not-pooled");
    apr_table_unset(r->subprocess_env, "proxy-nokeepalive");
    apr_table_unset(r->subprocess_env, "force-proxy-request-1.0");
    apr_table_setn(r->subprocess_env, "proxy-prefetch-nonblocking", "1");
}

static int by_lease(request_rec *r, casp_request_t *rq,
                    proxy_server_conf *conf, proxy_worker **worker)
{
    carried_t *c = take_lease(r, rq);
    casp_leg_t leg;
    int rc;

    if (!c)
        return HTTP_SERVICE_UNAVAILABLE;
    keep_together(r);
    memset(&leg, 0, sizeof leg);
    leg.r = r;
    leg.worker = c->w->worker;
    leg.conf = conf;
    leg.base = rq->backend_base;
    leg.host = rq->backend_host;
    rc = casp_leg_open(&leg);
    if (rc != OK)
        return rc;
    c->in = c->in && casp_leg_alive(&leg)
            && apr_table_get(leg.conn->connection->notes, LEASE_NOTE);
    if (!c->in) {
        /* what is left of an earlier connection has no login any more */
        leg.conn->close = 1;
        casp_leg_close(&leg, false);
        rc = casp_leg_open(&leg);
        if (rc == OK)
            rc = shake_hands(&leg, rq, c);
    }
    c->sent = false;
    casp_leg_close(&leg, rc == OK || rc == DECLINED);
    if (rc == DECLINED)
        rc = OK;
    if (rc == OK)
        *worker = c->w->worker;
    return rc;
}

/* ----------------------------------------------------------------- by form */

static const char *typed_name(const casp_request_t *rq)
{
    const char *name = rq->claim.name;

    /* the default domain is this front's knowledge, not the backend's */
    return strchr(name, '\\') || strchr(name, '@') ? name : rq->display;
}

/* A connection of the shared worker's may have been closed by the backend just
 * now: then the form is posted once more, on a new one. */
static int post_form(request_rec *r, casp_request_t *rq,
                     proxy_server_conf *conf, proxy_worker *worker,
                     const casp_backform_t *form, casp_leg_answer_t *a)
{
    const char *headers[] = {form->cookie ? "Cookie" : NULL, form->cookie,
                             NULL};
    casp_leg_t leg;
    int rc;

    memset(&leg, 0, sizeof leg);
    leg.r = r;
    leg.worker = worker;
    leg.conf = conf;
    leg.base = rq->backend_base;
    leg.host = rq->backend_host;
    for (int tried = 0; tried < 2; tried++) {
        rc = casp_leg_open(&leg);
        if (rc == OK)
            rc = casp_leg_connect(&leg);
        if (rc == OK)
            rc = casp_leg_exchange(&leg, "POST", form->path, headers,
                                   form->body, form->len, a);
        casp_leg_close(&leg, rc == OK && !a->close);
        if (rc != HTTP_BAD_GATEWAY || !leg.reused)
            break;
    }
    return rc == OK || rc == HTTP_INTERNAL_SERVER_ERROR
               ? rc
               : HTTP_SERVICE_UNAVAILABLE;
}

static int log_on(request_rec *r, casp_request_t *rq, proxy_server_conf *conf,
                  proxy_worker *worker)
{
    const casp_backend_t *b = &rq->verdict.decision.backends[rq->backend];
    casp_leg_answer_t a;
    casp_backform_t form;
    int rc;

    casp_backform_make(r->pool, b->version,
                       apr_pstrcat(r->pool, "https://", rq->backend_host,
                                   NULL),
                       casp_url_path(b->url), typed_name(rq),
                       rq->claim.password, rq->claim.password_len,
                       rq->session.flags, &form);
    rc = post_form(r, rq, conf, worker, &form, &a);
    if (rc != OK)
        return rc;
    switch (casp_backform_judge(r->pool, a.status, a.headers,
                                &rq->jar_cookies)) {
    case CASP_BACKFORM_IN:
        rq->logged_on = true;
        casp_jar_put(rq->vhost->jar, rq->jar_id, rq->jar_id_len,
                     rq->jar_cookies, apr_time_now());
        casp_runtime_count(CASP_COUNT_HANDSHAKES);
        return OK;
    case CASP_BACKFORM_REFUSED:
        return trouble(r, rq, refused_password(r, rq),
                       "its form does not take the password");
    default:
        return trouble(r, rq, "backend-logon-refused",
                       apr_psprintf(r->pool,
                                    "%s answers %d, which is no answer of a "
                                    "logon form: is forms authentication on "
                                    "at its virtual directory?",
                                    form.path, a.status));
    }
}

static int by_form(request_rec *r, casp_request_t *rq, proxy_server_conf *conf,
                   proxy_worker *worker)
{
    rq->jar_id = login_id(r, rq, &rq->jar_id_len);
    if (!rq->jar_id)
        return HTTP_SERVICE_UNAVAILABLE;
    rq->jar_cookies = casp_jar_get(rq->vhost->jar, r->pool, rq->jar_id,
                                   rq->jar_id_len, apr_time_now());
    return rq->jar_cookies ? OK : log_on(r, rq, conf, worker);
}

/* ------------------------------------------------------------------- ready */

int casp_backlogin_ready(request_rec *r, casp_request_t *rq,
                         proxy_server_conf *conf, proxy_worker **worker)
{
    rq->authorization = NULL;
    rq->jar_cookies = NULL;
    rq->logged_on = false;
    if ((rq->login == CASP_LOGIN_NTLM || rq->login == CASP_LOGIN_FORMS)
        && (!rq->own || !rq->claim.password))
        return trouble(r, rq, "double-hop", "there is no password");
    switch (rq->login) {
    case CASP_LOGIN_KERBEROS:
    case CASP_LOGIN_DELEGATE:
        return by_ticket(r, rq);
    case CASP_LOGIN_NTLM:
        return by_lease(r, rq, conf, worker);
    case CASP_LOGIN_FORMS:
        return by_form(r, rq, conf, *worker);
    default:
        return OK;
    }
}

/* ----------------------------------------------------------------- headers */

/* Another module's user: its header is that user's only where that module read
 * it, or where the administrator says so. */
static void keep_theirs(request_rec *r, casp_request_t *rq)
{
    bool theirs =
        (r->ap_auth_type && !ap_cstr_casecmp(r->ap_auth_type, "Basic"))
        || rq->dir->backend_auth == CASP_BACKENDAUTH_BASIC;
    const char *sent = apr_table_get(r->headers_in, "Authorization");

    if (sent && (!theirs || ap_cstr_casecmpn(sent, "Basic ", 6)))
        apr_table_unset(r->headers_in, "Authorization");
}

/* What the client typed is what the server knows, but for a bare name: its
 * default domain is this front's knowledge. */
static void set_basic(request_rec *r, casp_request_t *rq)
{
    const char *name = rq->claim.name;
    char *plain, *coded, *header;

    if (rq->ask.by == CASP_BY_BASIC && typed_name(rq) == name)
        return; /* the client's own header says just that */
    plain =
        apr_pstrcat(r->pool, typed_name(rq), ":", rq->claim.password, NULL);
    coded = ap_pbase64encode(r->pool, plain);
    header = apr_pstrcat(r->pool, "Basic ", coded, NULL);
    apr_table_setn(r->headers_in, "Authorization", header);
    apr_pool_cleanup_register(r->pool, header, wipe_text,
                              apr_pool_cleanup_null);
    casp_wipe(coded, strlen(coded));
    casp_wipe(plain, strlen(plain));
}

static void set_cookies(request_rec *r, const char *kept)
{
    const char *theirs = apr_table_get(r->headers_in, "Cookie");

    apr_table_unset(r->headers_in, "Authorization");
    if (kept)
        apr_table_setn(r->headers_in, "Cookie",
                       theirs ? apr_pstrcat(r->pool, theirs, "; ", kept, NULL)
                              : kept);
}

void casp_backlogin_headers(request_rec *r, casp_request_t *rq)
{
    if (rq->login == CASP_LOGIN_NTLM) /* IIS gives up a login that it sees */
        apr_table_unset(r->headers_in, "Via");
    switch (rq->login) {
    case CASP_LOGIN_PASS:
        keep_theirs(r, rq);
        break;
    case CASP_LOGIN_BASIC:
        set_basic(r, rq);
        break;
    case CASP_LOGIN_FORMS:
        set_cookies(r, rq->jar_cookies);
        break;
    default:
        if (rq->authorization)
            apr_table_setn(r->headers_in, "Authorization", rq->authorization);
        else
            apr_table_unset(r->headers_in, "Authorization");
        break;
    }
}

/* ------------------------------------------------------------ a backend's no */

/* The backend's own session has to be begun anew. */
static casp_after_e judge_cookies(request_rec *r, casp_request_t *rq)
{
    bool changed = false;
    const char *cookies = casp_backform_renew(r->pool, rq->jar_cookies,
                                              r->headers_out, &changed);

    if (rq->signed_out) {
        casp_jar_put(rq->vhost->jar, rq->jar_id, rq->jar_id_len, NULL,
                     apr_time_now());
        return CASP_AFTER_SERVED;
    }
    if (!casp_backform_wanted(r->status, r->headers_out)) {
        /* not where a sign-out has emptied it meanwhile */
        if (changed
            && casp_jar_get(rq->vhost->jar, r->pool, rq->jar_id,
                            rq->jar_id_len, apr_time_now()))
            casp_jar_put(rq->vhost->jar, rq->jar_id, rq->jar_id_len, cookies,
                         apr_time_now());
        return CASP_AFTER_SERVED;
    }
    casp_jar_put(rq->vhost->jar, rq->jar_id, rq->jar_id_len, NULL,
                 apr_time_now());
    if (rq->logged_on) { /* asked again, it would do so again */
        trouble(r, rq, "backend-logon-refused",
                "it takes the form, and then wants it again: do its cookies "
                "come back to the same server?");
        return CASP_AFTER_INSTEAD;
    }
    if (!rq->last && casp_relay_repeatable(r))
        return CASP_AFTER_AGAIN;
    trouble(r, rq, "backend-session-over", "its session has ended");
    return CASP_AFTER_INSTEAD;
}

static casp_after_e judge_refusal(request_rec *r, casp_request_t *rq)
{
    offers_t offers = offers_of(r->headers_out, r->err_headers_out);

    if (!password_holds(r, rq))
        trouble(r, rq, "password-changed", NULL);
    else if (!offers.ntlm && !offers.negotiate)
        trouble(r, rq, "ntlm-not-on-destination", NULL);
    else if (rq->claim.password
             && !ap_cstr_casecmpn(rq->backend_base, "https:", 6))
        trouble(r, rq, "extended-protection",
                "it refuses a login whose password the directory takes");
    else
        trouble(r, rq, "backend-logon-refused", NULL);
    return CASP_AFTER_INSTEAD;
}

static casp_after_e judge_lease(request_rec *r, casp_request_t *rq)
{
    carried_t *c = rq->lease ? casp_lease_carries(rq->lease) : NULL;
    bool old = c && (c->in || !c->sent);

    if (!c)
        return CASP_AFTER_SERVED;
    if (r->status != HTTP_UNAUTHORIZED) {
        c->in = c->sent;
        return CASP_AFTER_SERVED;
    }
    c->in = false;
    /* a login that it took before, or a connection that was another one: no
     * word about the password */
    if (old && !rq->last && casp_relay_repeatable(r))
        return CASP_AFTER_AGAIN;
    if (old) {
        trouble(r, rq, "backend-unavailable",
                "its connection was lost, and the request's body with it");
        return CASP_AFTER_INSTEAD;
    }
    return judge_refusal(r, rq);
}

static casp_after_e judge_ticket(request_rec *r, casp_request_t *rq)
{
    if (r->status != HTTP_UNAUTHORIZED)
        return CASP_AFTER_SERVED;
    casp_gss_forget(rq->vhost->gss, &rq->own->user);
    if (!rq->last && casp_relay_repeatable(r))
        return CASP_AFTER_AGAIN; /* its key may be a new one */
    return judge_refusal(r, rq);
}

/* Where another scheme is offered, mapping.c has a better word for it. */
static casp_after_e judge_basic(request_rec *r, casp_request_t *rq)
{
    offers_t offers;

    if (r->status != HTTP_UNAUTHORIZED)
        return CASP_AFTER_SERVED;
    offers = offers_of(r->headers_out, r->err_headers_out);
    if (offers.basic || offers.ntlm || offers.negotiate)
        return CASP_AFTER_SERVED;
    trouble(r, rq, "ntlm-not-on-destination", NULL);
    return CASP_AFTER_INSTEAD;
}

/* Does it show a logon form of its own, after a login that it was to take?  A
 * 440 of a Client Access server is about OWA's own session, and the client's;
 * of a 2003 back-end (S000) it is the form. */
static bool wants_form(request_rec *r, casp_request_t *rq)
{
    if (rq->signed_out || rq->login == CASP_LOGIN_PASS
        || rq->login == CASP_LOGIN_NONE)
        return false;
    if (r->status == 440)
        return rq->verdict.decision.action == CASP_ACTION_PROXY_BACKEND;
    return casp_backform_wanted(r->status, r->headers_out);
}

casp_after_e casp_backlogin_judge(request_rec *r, casp_request_t *rq)
{
    casp_after_e after = CASP_AFTER_SERVED;

    switch (rq->login) {
    case CASP_LOGIN_FORMS:
        return judge_cookies(r, rq);
    case CASP_LOGIN_NTLM:
        after = judge_lease(r, rq);
        break;
    case CASP_LOGIN_KERBEROS:
    case CASP_LOGIN_DELEGATE:
        after = judge_ticket(r, rq);
        break;
    case CASP_LOGIN_BASIC:
        after = judge_basic(r, rq);
        break;
    default:
        break;
    }
    if (after == CASP_AFTER_SERVED && wants_form(r, rq)) {
        trouble(r, rq, "backend-uses-forms", NULL);
        after = CASP_AFTER_INSTEAD;
    }
    return after;
}

void casp_backlogin_done(casp_request_t *rq)
{
    carried_t *c = rq->lease ? casp_lease_carries(rq->lease) : NULL;

    if (rq->signed_out) /* before the lease goes back, which then ends too */
        casp_backlogin_forget(rq);
    if (!rq->lease)
        return;
    casp_lease_put(leases, rq->lease, c && c->in && c->sent, apr_time_now());
    rq->lease = NULL;
}

void casp_backlogin_register(void)
{
    ap_register_output_filter(LEASE_FILTER, lease_filter, NULL,
                              AP_FTYPE_CONNECTION);
}
