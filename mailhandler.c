/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mailhandler.c - the handler "casproxy-mail-auth": POP3, IMAP4 and SMTP.
 *
 * A mail proxy (nginx) asks here for each login.  The request is no Exchange
 * URL and is claimed by nobody; but name and password are judged where every
 * password is judged, and the server is named by the same decision that routes
 * a browser, for a target of "imap4://".  So it stands in the same log, in the
 * same variables, and casproxyctl explains it.
 *
 * Whoever may ask here may try passwords and learn where mailboxes are: the
 * location is to be closed to everybody but the mail proxies, and httpd tells
 * where it is not.
 *
 * It answers 200 and headers, whatever is the matter: a mail proxy drops a
 * client without a word where it gets anything else.
 */

#include "skin.h"

#include <string.h>

#include <apr_shm.h>
#include <apr_strings.h>

#include "mailauth.h"

#define HANDLER "casproxy-mail-auth"
/* All candidates together; nginx waits for a minute. */
#define REACH_MOST apr_time_from_sec(15)

static bool wanted; /* some section has the handler */
static casp_mailfail_t *failed; /* shared by the children of one start */
static casp_mailreach_t *servers; /* this child's */

/* -------------------------------------------------- at the start */

static bool is_open_require(const ap_directive_t *d)
{
    const char *args = d->args ? d->args : "";
    size_t n = strcspn(args, " \t");

    return !ap_cstr_casecmp(d->directive, "Require") && n == 3
           && !ap_cstr_casecmpn(args, "all", n)
           && !ap_cstr_casecmp(args + n + strspn(args + n, " \t"), "granted");
}

/* Does anything in this section say who may come?  Only what a person would
 * see at a glance: who closes the location elsewhere reads a warning. */
static bool is_guarded(const ap_directive_t *d)
{
    for (; d; d = d->next) {
        if (!ap_cstr_casecmp(d->directive, "Require") && !is_open_require(d))
            return true;
        if (!ap_cstr_casecmpn(d->directive, "<Require", 8)
            && is_guarded(d->first_child))
            return true;
        if (!ap_cstr_casecmp(d->directive, "Deny"))
            return true;
    }
    return false;
}

static bool is_ours(const ap_directive_t *d)
{
    return !ap_cstr_casecmp(d->directive, "SetHandler") && d->args
           && strstr(d->args, HANDLER);
}

static const ap_directive_t *vhost_of(const ap_directive_t *d)
{
    while (d && ap_cstr_casecmp(d->directive, "<VirtualHost"))
        d = d->parent;
    return d;
}

static server_rec *server_of(server_rec *main, const ap_directive_t *d)
{
    const ap_directive_t *v = vhost_of(d);

    if (!v)
        return main;
    for (server_rec *s = main->next; s; s = s->next)
        if (s->defn_line_number == (unsigned)v->line_num && s->defn_name
            && v->filename && !strcmp(s->defn_name, v->filename))
            return s;
    return NULL;
}

/* A virtual host that answers a mail proxy needs its directory, also where
 * CasProxy is Off.  One that stands in the main server serves all. */
static void make_used(server_rec *main, server_rec *s)
{
    for (server_rec *v = s ? s : main; v; v = v->next) {
        casp_vhost_t *vhost = casp_vhost_of(v);
        if (vhost->set->directory && !vhost->used)
            vhost->used = vhost->mail_only = true;
        if (s && s != main)
            break;
    }
}

static bool look_through(server_rec *main, const ap_directive_t *d)
{
    bool found = false;

    for (; d; d = d->next) {
        if (is_ours(d)) {
            bool guarded = false;
            found = true;
            make_used(main, server_of(main, d));
            for (const ap_directive_t *in = d->parent;
                 in && !guarded && in != vhost_of(d); in = in->parent)
                guarded = is_guarded(in->first_child);
            if (!guarded)
                ap_log_error(
                    APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, main,
                    CASPLOGNO(0810) "%s:%d: SetHandler " HANDLER
                                    " tries passwords for whoever may ask, "
                                    "and this section does not say who: write "
                                    "Require local, or Require ip with the "
                                    "mail proxy's addresses, beside it",
                              d->filename ? d->filename : "?", d->line_num);
        }
        if (d->first_child && look_through(main, d->first_child))
            found = true;
    }
    return found;
}

static int check_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                        server_rec *s)
{
    (void)p;
    (void)plog;
    (void)ptemp;
    wanted = look_through(s, ap_conftree);
    return OK;
}

static int post_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                       server_rec *s)
{
    apr_shm_t *shm;
    apr_status_t rv;

    (void)plog;
    (void)ptemp;
    failed = NULL;
    if (ap_state_query(AP_SQ_MAIN_STATE) == AP_SQ_MS_CREATE_PRE_CONFIG
        || !wanted)
        return OK;
    rv = apr_shm_create(&shm, casp_mailfail_size(), NULL, p);
    if (rv != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, rv, s,
                     CASPLOGNO(0811) "no shared memory for failed logins of "
                                     "mail clients");
        return HTTP_INTERNAL_SERVER_ERROR;
    }
    failed = apr_shm_baseaddr_get(shm);
    memset(failed, 0, casp_mailfail_size());
    return OK;
}

static void child_init(apr_pool_t *p, server_rec *s)
{
    (void)s;
    servers = failed ? casp_mailreach_create(p) : NULL;
}

/* -------------------------------------------------- the login */

typedef struct {
    request_rec *r;
    casp_request_t *rq;
    casp_mail_ask_t ask;
    const char *who; /* whom failures are counted for */
    casp_mail_reply_t reply;
} login_t;

static void refuse(login_t *l, casp_action_e action, const char *reason,
                   int status, casp_mail_answer_e what)
{
    casp_answer_decide(l->r, l->rq, action, reason,
                       action == CASP_ACTION_LOGON ? CASP_LOGON_FAILED
                                                   : reason,
                       status);
    l->rq->answered = status;
    l->reply.what = what;
}

/* A request that names no login that could be judged. */
static void unreadable(login_t *l, const char *reason)
{
    casp_mail_answer_e what =
        !strcmp(reason, "mail-no-login")  ? CASP_MAIL_NO_LOGIN
        : !strcmp(reason, "mail-request") ? CASP_MAIL_LATER
        : !strncmp(reason, "mail-", 5)    ? CASP_MAIL_METHOD
                                          : CASP_MAIL_BAD_LOGIN;

    ap_log_rerror(APLOG_MARK,
                  what == CASP_MAIL_LATER ? APLOG_WARNING : APLOG_INFO, 0,
                  l->r,
                  CASPLOGNO(0812) "a mail client at %s cannot log on: %s%s",
                            l->ask.client, reason,
                            what == CASP_MAIL_LATER
                                ? "; this location answers a mail proxy, such "
                                  "as nginx with auth_http, and nobody else"
                            : what == CASP_MAIL_METHOD
                                ? "; let the mail proxy offer plain and login "
                                  "only: imap_auth, pop3_auth, smtp_auth"
                                : "");
    refuse(l, CASP_ACTION_LOGON, reason, HTTP_UNAUTHORIZED, what);
}

static bool may_be_plain(const login_t *l)
{
    return l->ask.tls
           || l->rq->vhost->settings->require_tls == CASP_REQTLS_OFF;
}

/* An account has many spellings: " ada", "\ada", "CONTOSO\ada", its UPN, and
 * what a directory takes for the same letters.  None is a count of its own. */
static const char *counted_for(login_t *l, const casp_mailbox_t *who)
{
    const casp_settings_t *set = l->rq->vhost->settings;
    const char *name = l->rq->claim.name;
    casp_user_key_t key;

    if (who && !casp_guid_zero(&who->user))
        return casp_guid_text(l->r->pool, &who->user);
    return casp_identity_key(l->r->pool, name, strlen(name),
                             (casp_logon_format_e)set->logon_format,
                             set->default_domain, &key)
                   == CASP_CLAIM_OK
               ? apr_pstrcat(l->r->pool, key.domain ? key.domain : "", "\\",
                             key.value, NULL)
               : name;
}

static bool may_be_judged(void *baton, const casp_mailbox_t *who)
{
    login_t *l = baton;
    int wait;

    l->who = counted_for(l, who);
    wait = casp_mailfail_admit(failed, casp_runtime_key(), l->ask.client,
                               l->who, apr_time_now());
    if (!wait)
        return true;
    l->reply.what = CASP_MAIL_WAIT;
    l->reply.wait = wait;
    ap_log_rerror(APLOG_MARK, APLOG_INFO, 0, l->r,
                  CASPLOGNO(0813) "\"%s\" from %s has failed before: the "
                                  "next try waits for %d s",
                            l->rq->claim.name, l->ask.client, wait);
    return false;
}

/* Who it is.  @return true: known */
static bool identify(login_t *l)
{
    const char *reason, *why;
    bool down;
    int wait;

    reason = casp_request_judge_if(l->r, l->rq, may_be_judged, l, &why, &down);
    if (l->reply.what == CASP_MAIL_WAIT)
        return false;
    if (!reason) {
        casp_mailfail_clear(failed, casp_runtime_key(), l->ask.client, l->who,
                            apr_time_now());
        casp_request_admit(l->r, l->rq, CASP_BY_BASIC, "Basic");
        return true;
    }
    if (down) {
        refuse(l, CASP_ACTION_ERROR, reason, HTTP_SERVICE_UNAVAILABLE,
               CASP_MAIL_LATER);
        return false;
    }
    refuse(l, CASP_ACTION_LOGON, reason, HTTP_UNAUTHORIZED,
           CASP_MAIL_BAD_LOGIN);
    wait = casp_mailfail_note(failed, casp_runtime_key(), l->ask.client,
                              l->who, apr_time_now());
    l->reply.wait = l->ask.attempt < CASP_MAIL_ATTEMPTS ? wait : 0;
    return false;
}

/* -------------------------------------------------- the server */

/* The first candidate that answers. */
static bool find_server(login_t *l)
{
    const casp_settings_t *set = l->rq->vhost->settings;
    const casp_decision_t *d = &l->rq->verdict.decision;
    apr_time_t deadline = apr_time_now() + REACH_MOST;

    for (int i = 0; i < d->nbackends; i++) {
        const casp_backend_t *b = &d->backends[i];
        const char *host, *address, *why;
        const casp_mailbox_t *other;
        int port;

        if (!casp_mailauth_place(l->r->pool, set, l->ask.protocol, b->url,
                                 &host, &port))
            continue;
        if (casp_mailreach_find(servers, l->r->pool, host, port,
                                apr_time_from_sec(set->backend_retry),
                                apr_time_from_sec(set->backend_connect),
                                deadline, &address, &why)
            != CASP_REACH_OK) {
            ap_log_rerror(
                APLOG_MARK, APLOG_WARNING, 0, l->r,
                CASPLOGNO(0814) "mail server %s cannot be named: %s; see "
                                "whether it serves %s, or say where with "
                                "CasProxyBackendMap",
                          b->server ? b->server : b->url, why,
                          casp_protocol_name(l->ask.protocol));
            continue;
        }
        other = l->rq->verdict.mailbox != l->rq->own ? l->rq->verdict.mailbox
                                                     : NULL;
        l->reply.what = CASP_MAIL_GO;
        l->reply.server = address;
        l->reply.port = port;
        l->reply.user =
            casp_mailauth_user(l->r->pool, l->rq->own, other, b->version);
        l->rq->backend = i;
        l->rq->backend_base =
            apr_psprintf(l->r->pool, "%s://%s:%d",
                         casp_mailauth_scheme(l->ask.protocol), host, port);
        return true;
    }
    return false;
}

/* Where to. */
static void route(login_t *l)
{
    casp_request_t *rq = l->rq;
    const casp_decision_t *d = &rq->verdict.decision;
    apr_interval_time_t spent = rq->verdict.lookup;

    if (!casp_verdict_before_logon(l->r->pool, rq->vhost->settings, rq->dir,
                                   &rq->ask, &rq->verdict)) {
        /* as a URL names one: routed by it, and it must exist */
        rq->verdict.url.mailbox = l->ask.mailbox;
        rq->verdict.url.mailbox_kind =
            l->ask.mailbox && strchr(l->ask.mailbox, '@') ? CASP_KEY_SMTP
                                                          : CASP_KEY_ALIAS;
        casp_verdict_reach(l->r->pool, rq->vhost->settings, rq->dir,
                           rq->vhost->org, &rq->ask, &rq->verdict);
        rq->verdict.lookup += spent;
    }
    casp_request_decided(l->r, rq);
    if (casp_action_is_proxy(d->action)) {
        if (!find_server(l))
            refuse(l, CASP_ACTION_ERROR, "backend-unavailable",
                   HTTP_SERVICE_UNAVAILABLE, CASP_MAIL_LATER);
        return;
    }
    rq->answered = d->status ? d->status : HTTP_FORBIDDEN;
    l->reply.what = d->status == HTTP_SERVICE_UNAVAILABLE
                        ? CASP_MAIL_LATER
                        : CASP_MAIL_NO_MAILBOX;
}

static void log_on(login_t *l)
{
    const char *reason;

    reason = casp_mailauth_read(l->r->pool, l->r->headers_in, &l->ask);
    l->rq->claim = l->ask.claim;
    l->rq->verdict.url.protocol = l->ask.protocol;
    l->rq->verdict.user = l->ask.claim.name;
    if (reason) {
        unreadable(l, reason);
        return;
    }
    if (!may_be_plain(l)) {
        refuse(l, CASP_ACTION_LOGON, "tls-required", HTTP_FORBIDDEN,
               CASP_MAIL_NEEDS_TLS);
        /* the client may begin TLS now, on the same connection */
        l->reply.wait = l->ask.attempt < CASP_MAIL_ATTEMPTS ? 1 : 0;
        return;
    }
    l->rq->ask.method = "GET";
    l->rq->ask.target =
        apr_pstrcat(l->r->pool, casp_protocol_name(l->ask.protocol), "://",
                    l->rq->ask.host, "/", NULL);
    l->rq->ask.mail = true;
    l->rq->ask.https = l->ask.tls;
    if (identify(l))
        route(l);
}

/* -------------------------------------------------- the request */

static casp_request_t *open_request(request_rec *r, casp_vhost_t *v)
{
    casp_request_t *rq = apr_pcalloc(r->pool, sizeof *rq);

    rq->vhost = v;
    rq->dir = casp_dir_settings_complete(
        r->pool, ap_get_module_config(r->per_dir_config, &casproxy_module));
    rq->claimed = true;
    rq->slot = -1;
    rq->schemes = CASP_SCHEME_BASIC;
    rq->ask.host =
        r->server->server_hostname ? r->server->server_hostname : "localhost";
    rq->ask.local_address = r->connection->local_ip;
    ap_set_module_config(r->request_config, &casproxy_module, rq);
    return rq;
}

static int answer(login_t *l)
{
    casp_mailauth_write(l->r->pool, l->ask.protocol, &l->reply,
                        l->r->headers_out);
    /* a mail proxy reads an answer's headers, into a small buffer */
    apr_table_setn(l->r->headers_out, "Cache-Control", "no-store");
    ap_set_content_length(l->r, 0);
    return OK;
}

static int handler(request_rec *r)
{
    casp_vhost_t *v = casp_vhost_of(r->server);
    login_t login;

    if (!r->handler || strcmp(r->handler, HANDLER))
        return DECLINED;
    if (r->method_number != M_GET) {
        ap_allow_methods(r, REPLACE_ALLOW, "GET", NULL);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    memset(&login, 0, sizeof login);
    login.r = r;
    login.reply.what = CASP_MAIL_LATER;
    if (!v->settings || !v->org || !failed || !servers) {
        ap_log_rerror(
            APLOG_MARK, APLOG_ERR, 0, r,
            CASPLOGNO(0815) "SetHandler " HANDLER
                            " stands in a virtual host that has no directory: "
                            "write CasProxyDirectory there, and SetHandler "
                            "into its <Location>");
        return answer(&login);
    }
    login.rq = open_request(r, v);
    log_on(&login);
    return answer(&login);
}

void casp_mailhandler_register(apr_pool_t *p)
{
    (void)p;
    /* before config.c's, which leaves out virtual hosts that are not used;
     * and after runtime.c's, for the key */
    ap_hook_check_config(check_config, NULL, NULL, APR_HOOK_FIRST);
    ap_hook_post_config(post_config, NULL, NULL, APR_HOOK_LAST);
    ap_hook_child_init(child_init, NULL, NULL, APR_HOOK_LAST);
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_FIRST);
}
