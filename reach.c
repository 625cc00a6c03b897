/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * reach.c: the backends of a question: at which URL each server is reached,
 * how this front would log on there, and which of those URLs would lead back
 * to us.
 *
 * A URL from AD is input: a backend is a server of the organisation, or a host
 * that the administrator allowed, whatever an attribute says.
 *
 * Must not: choose which servers; that is question.c's.
 */

#include "reach.h"

#include <string.h>
#include <strings.h>

#include <apr_fnmatch.h>
#include <apr_strings.h>

#include "login.h"

/* Neither 2003 nor 2007's /exchange has authentication bits in AD that we
 * read; this is how their setup leaves a back-end. */
#define OLD_BACKEND_AUTH ((uint32_t)(CASP_AUTH_BASIC | CASP_AUTH_WINDOWS))

/* ------------------------------------------------------------ our own name */

casp_here_t casp_here_find(apr_pool_t *p, const casp_scene_t *scene)
{
    casp_here_t here = {NULL, NULL};
    const casp_ask_t *ask = scene->ask;
    if (ask->host != NULL && strchr(ask->host, '/') == NULL) {
        const char *url =
            casp_url_check(p,
                           apr_pstrcat(p, ask->https ? "https://" : "http://",
                                       ask->host, NULL));
        here.request = url ? casp_url_host(p, url) : NULL;
    }
    if (scene->s->external_url != NULL) {
        const char *url = casp_url_check(p, scene->s->external_url);
        here.external = url ? casp_url_host(p, url) : NULL;
    }
    return here;
}

bool casp_reach_same_host(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcasecmp(a, b) == 0;
}

bool casp_here_is(apr_pool_t *p, const casp_here_t *here, const char *url)
{
    const char *host = casp_url_host(p, url);
    return casp_reach_same_host(host, here->request)
           || casp_reach_same_host(host, here->external);
}

const char *casp_reach_host_name(apr_pool_t *p, const char *host)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    const char *colon = strchr(end ? end : host, ':');
    return colon ? apr_pstrmemdup(p, host, (apr_size_t)(colon - host)) : host;
}

const char *casp_reach_origin(apr_pool_t *p, const char *url)
{
    return apr_pstrcat(p, casp_url_https(url) ? "https://" : "http://",
                       casp_url_host(p, url), NULL);
}

/* A mail proxy stands before these, and its TLS is its own. */
bool casp_reach_is_mail(casp_protocol_e protocol)
{
    return protocol == CASP_PROTO_POP3 || protocol == CASP_PROTO_IMAP4
           || protocol == CASP_PROTO_SMTP;
}

/* ------------------------------------------------------------ one server */

static bool is_host_name(const char *s)
{
    return s != NULL && *s != '\0'
           && s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWX"
                          "YZ0123456789.-_")]
                  == '\0';
}

/* A server of the organisation, or allowed by CasProxyBackendHosts. */
static bool may_be_backend(apr_pool_t *p, const casp_scene_t *scene,
                           const char *host)
{
    const char *name = casp_reach_host_name(p, host);
    const casp_server_t *s = casp_topology_server_by_host(scene->t, name);
    if (s != NULL && s->fqdn != NULL && strcasecmp(s->fqdn, name) == 0) {
        return true;
    }
    const apr_array_header_t *patterns = scene->s->backend_hosts;
    for (int i = 0; patterns != NULL && i < patterns->nelts; i++) {
        const char *pattern = APR_ARRAY_IDX(patterns, i, const char *);
        if (apr_fnmatch(pattern, name, APR_FNM_CASE_BLIND) == APR_SUCCESS) {
            return true;
        }
    }
    return false;
}

/* The path of the directory in an InternalURL: services name a file below it
 * (/EWS/Exchange.asmx), and some URLs have no path at all. */
static const char *directory_path(apr_pool_t *p, const casp_url_t *u,
                                  const char *url)
{
    const char *path = casp_url_path(url);
    const char *last = strrchr(path, '/');
    /* ActiveSync's is one and the same everywhere; what stands below it,
     * /Proxy, is for servers among themselves. */
    if (last == NULL || last[1] == '\0' || u->protocol == CASP_PROTO_EAS) {
        return u->vdir;
    }
    return last > path && strchr(last, '.')
               ? apr_pstrmemdup(p, path, (apr_size_t)(last - path))
               : path;
}

static bool usable(apr_pool_t *p, const casp_scene_t *scene,
                   const casp_here_t *here, const char *url)
{
    return url != NULL && !casp_here_is(p, here, url)
           && may_be_backend(p, scene, casp_url_host(p, url));
}

/* "imap://" and its kind; NULL: the web. */
static const char *mail_scheme(casp_protocol_e protocol)
{
    return protocol == CASP_PROTO_POP3    ? "pop3://"
           : protocol == CASP_PROTO_IMAP4 ? "imap://"
           : protocol == CASP_PROTO_SMTP  ? "smtp://"
                                          : NULL;
}

/* The URL to reach a candidate at; NULL: AD has no usable name for it.  EWS
 * tells its one server behind a balancer's name by the NLB bypass URL. */
static const char *backend_url(apr_pool_t *p, const casp_scene_t *scene,
                               const casp_here_t *here,
                               const casp_candidate_t *c)
{
    const char *internal = c->vdir ? c->vdir->internal_url : NULL;
    const char *fqdn = is_host_name(c->server->fqdn) ? c->server->fqdn : NULL;
    const char *scheme = mail_scheme(scene->url->protocol);
    const char *path = scene->url->vdir;
    if (scheme != NULL) {
        return fqdn ? apr_pstrcat(p, scheme, fqdn, NULL) : NULL;
    }
    if (c->vdir != NULL && scene->url->protocol == CASP_PROTO_EWS
        && usable(p, scene, here, c->vdir->nlb_url)) {
        internal = c->vdir->nlb_url;
    }
    scheme = "https://";
    if (internal != NULL) {
        path = directory_path(p, scene->url, internal);
        if (usable(p, scene, here, internal)) {
            return apr_pstrcat(p, casp_reach_origin(p, internal), path, NULL);
        }
        scheme = casp_url_https(internal) ? "https://" : "http://";
    }
    return fqdn ? apr_pstrcat(p, scheme, fqdn, path, NULL) : NULL;
}

/* What the wire will be: CasProxyBackendMap may lead to another scheme. */
static bool reached_by_tls(apr_pool_t *p, const casp_scene_t *scene,
                           const char *url)
{
    const char *to =
        casp_settings_backend_map(scene->s, casp_url_host(p, url), "https");
    return casp_url_https(to ? to : url);
}

/* A mail proxy logs on there by itself, with the password it was given. */
static void choose_mail_login(const casp_scene_t *scene, casp_backend_t *b)
{
    bool none =
        scene->ask->by == CASP_BY_NTLM || scene->ask->by == CASP_BY_NEGOTIATE;
    b->login = none ? CASP_LOGIN_IMPOSSIBLE : CASP_LOGIN_PASS;
    b->login_why = none ? "double-hop" : "mail-proxy";
}

static void choose_login(apr_pool_t *p, const casp_scene_t *scene,
                         casp_backend_t *b)
{
    if (casp_reach_is_mail(scene->url->protocol)) {
        choose_mail_login(scene, b);
        return;
    }
    const casp_login_ask_t ask = {
        .wanted = scene->d ? (casp_backend_auth_e)scene->d->backend_auth
                           : CASP_BACKENDAUTH_AUTO,
        .by = scene->ask->by,
        .protocol = scene->url->protocol,
        .auth = b->auth,
        .https = reached_by_tls(p, scene, b->url),
        .legacy = b->version == CASP_V2000 || b->version == CASP_V2003,
        .keytab = scene->s->keytab != NULL};
    b->login = casp_login_choose(&ask, &b->login_why);
}

static void reach_make(apr_pool_t *p, int room, casp_reach_t *to)
{
    to->n = 0;
    to->facts = 0;
    to->list = apr_pcalloc(p, sizeof(casp_backend_t) * (size_t)(room + 1));
}

static void add_backend(apr_pool_t *p, const casp_scene_t *scene,
                        const casp_here_t *here, const char *url,
                        const casp_server_t *server, uint32_t auth,
                        casp_reach_t *to)
{
    if (url == NULL) {
        return;
    }
    if (casp_here_is(p, here, url)) {
        to->facts |= CASP_F(BACKEND_HERE);
        return;
    }
    casp_backend_t b = {.url = url,
                        .server = apr_pstrdup(p, server->name),
                        .auth = auth,
                        .version = server->version};
    choose_login(p, scene, &b);
    to->list[to->n++] = b;
    to->facts |= CASP_F(BACKEND);
}

/* Who cannot be logged on at is no candidate; where that is all of them, it is
 * a fact. */
static void settle_logins(casp_by_e by, casp_reach_t *to)
{
    int kept = 0;
    const char *why = to->n > 0 ? to->list[0].login_why : "";
    for (int i = 0; i < to->n; i++) {
        if (to->list[i].login != CASP_LOGIN_IMPOSSIBLE) {
            to->list[kept++] = to->list[i];
        }
    }
    if (kept > 0) {
        to->n = kept;
        return;
    }
    if (strcmp(why, "double-hop") == 0 || by == CASP_BY_NTLM
        || by == CASP_BY_NEGOTIATE) {
        to->facts |= CASP_F(INTEGRATED);
    }
    if (strcmp(why, "backend-plain-http") == 0) {
        to->facts |= CASP_F(PLAIN_BACKEND);
    }
    if (strcmp(why, "no-common-authentication") == 0) {
        to->facts |= CASP_F(NO_COMMON_LOGIN);
    }
}

/* Outlook Anywhere of servers before 2013: it must be enabled; and behind a
 * newer front its directory must take more than Basic. */
static uint64_t rpc_facts(const casp_scene_t *scene, const casp_candidate_t *c)
{
    const uint32_t integrated = CASP_AUTH_NTLM | CASP_AUTH_WINDOWS
                                | CASP_AUTH_KERBEROS | CASP_AUTH_NEGOTIATE;
    if (c->server->version >= CASP_V2013) {
        return 0;
    }
    if (c->vdir == NULL) {
        return CASP_F(RPC_OFF);
    }
    return scene->s->front >= CASP_F2013 && c->vdir->internal_auth != 0
                   && !(c->vdir->internal_auth & integrated)
               ? CASP_F(RPC_NOT_INTEGRATED)
               : 0;
}

void casp_reach_cas(apr_pool_t *p, const casp_scene_t *scene,
                    const casp_here_t *here, apr_array_header_t *list,
                    casp_reach_t *to)
{
    casp_candidates_sort(list, &scene->mailbox->user);
    const casp_candidate_t *c = (const casp_candidate_t *)list->elts;
    reach_make(p, list->nelts, to);
    for (int i = 0; i < list->nelts; i++) {
        add_backend(p, scene, here, backend_url(p, scene, here, &c[i]),
                    c[i].server,
                    c[i].vdir ? c[i].vdir->internal_auth : OLD_BACKEND_AUTH,
                    to);
        if (scene->url->protocol == CASP_PROTO_RPC) {
            to->facts |= rpc_facts(scene, &c[i]);
        }
    }
    settle_logins(scene->ask->by, to);
}

/* One server reached by its own name: 2003's back-end by http, port 80, and
 * the 2007 mailbox server's WebDAV. */
static void reach_server(apr_pool_t *p, const casp_scene_t *scene,
                         const casp_here_t *here, const casp_server_t *server,
                         casp_reach_t *to)
{
    if (server == NULL || !is_host_name(server->fqdn)) {
        return;
    }
    const char *mail = mail_scheme(scene->url->protocol);
    const char *scheme = mail                            ? mail
                         : server->version >= CASP_V2007 ? "https://"
                                                         : "http://";
    add_backend(p, scene, here,
                apr_pstrcat(p, scheme, server->fqdn, scene->url->vdir, NULL),
                server, OLD_BACKEND_AUTH, to);
}

void casp_reach_home(apr_pool_t *p, const casp_scene_t *scene,
                     const casp_here_t *here, casp_reach_t *to)
{
    reach_make(p, 1, to);
    reach_server(p, scene, here, scene->home.server, to);
    settle_logins(scene->ask->by, to);
}

static bool has_public_store(const casp_topology_t *t, const casp_server_t *s)
{
    for (int j = 0; j < t->databases->nelts; j++) {
        const casp_database_t *db =
            APR_ARRAY_IDX(t->databases, j, const casp_database_t *);
        if (db->is_public && db->owner == s) {
            return true;
        }
    }
    return false;
}

bool casp_reach_public(apr_pool_t *p, const casp_scene_t *scene,
                       const casp_here_t *here, casp_reach_t *to)
{
    const casp_topology_t *t = scene->t;
    bool found = false;
    reach_make(p, t->servers->nelts, to);
    for (int i = 0; i < t->servers->nelts; i++) {
        const casp_server_t *s =
            APR_ARRAY_IDX(t->servers, i, const casp_server_t *);
        if ((s->version == CASP_V2000 || s->version == CASP_V2003)
            && has_public_store(t, s)) {
            found = true;
            reach_server(p, scene, here, s, to);
        }
    }
    settle_logins(scene->ask->by, to);
    return found;
}
