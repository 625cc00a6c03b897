/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * question.c: the facts that the rules ask for, gathered from a request, a
 * mailbox and the organisation.
 *
 * All that needs a topology is settled here, so that decision.c needs none:
 * which Client Access servers could serve, in which order, at which URLs, and
 * which of those URLs would lead back to us.  A URL from AD is input: a
 * backend is a server of the organisation, or a host that the administrator
 * allowed, whatever an attribute says.
 *
 * Must not: decide.  No fact here is an action.
 */

#include "question.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_fnmatch.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include "login.h"

/* Neither 2003 nor 2007's /exchange has authentication bits in AD that we
 * read; this is how their setup leaves a back-end. */
#define OLD_BACKEND_AUTH ((uint32_t)(CASP_AUTH_BASIC | CASP_AUTH_WINDOWS))

#define SET(q, name) ((q)->facts |= CASP_F(name))

static void set_if(casp_question_t *q, bool holds, uint64_t fact)
{
    if (holds) {
        q->facts |= fact;
    }
}

/* ------------------------------------------------------------ our own name */

typedef struct {
    const char *request; /* normal host[:port] of the request, or NULL */
    const char *external; /* of CasProxyExternalURL, or NULL */
} here_t;

static here_t find_here(apr_pool_t *p, const casp_scene_t *scene)
{
    here_t here = {NULL, NULL};
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

static bool same_host(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcasecmp(a, b) == 0;
}

/* Whoever is sent to this URL arrives at us again. */
static bool is_here(apr_pool_t *p, const here_t *here, const char *url)
{
    const char *host = casp_url_host(p, url);
    return same_host(host, here->request) || same_host(host, here->external);
}

/* A host without its port. */
static const char *host_name(apr_pool_t *p, const char *host)
{
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    const char *colon = strchr(end ? end : host, ':');
    return colon ? apr_pstrmemdup(p, host, (apr_size_t)(colon - host)) : host;
}

/* ------------------------------------------------------------------- URLs */

static const char *origin(apr_pool_t *p, const char *url)
{
    return apr_pstrcat(p, casp_url_https(url) ? "https://" : "http://",
                       casp_url_host(p, url), NULL);
}

/* A directory's URL as a person's browser wants it: with the slash behind a
 * directory, but not behind a file. */
static const char *as_folder(apr_pool_t *p, const char *url)
{
    const char *path = casp_url_path(url);
    const char *last = strrchr(path, '/');
    return last && strchr(last, '.') ? url : apr_pstrcat(p, url, "/", NULL);
}

static const char *escape_segment(apr_pool_t *p, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    char *escaped = apr_palloc(p, strlen(text) * 3 + 1);
    char *out = escaped;
    for (const char *s = text; *s != '\0'; s++) {
        unsigned char c = (unsigned char)*s;
        if (apr_isalnum(c) || strchr("-._~@", c) != NULL) {
            *out++ = *s;
        }
        else {
            *out++ = '%';
            *out++ = hex[c >> 4];
            *out++ = hex[c & 15];
        }
    }
    *out = '\0';
    return escaped;
}

static bool is_named(const casp_scene_t *scene)
{
    return scene->url->mailbox != NULL && scene->mailbox != NULL
           && !(scene->own != NULL
                && casp_guid_equal(&scene->own->user, &scene->mailbox->user));
}

/* "ada@contoso.test/" where somebody else's mailbox is asked for: explicit
 * logon must survive a redirection.  By address, which every version takes. */
static const char *named_segment(apr_pool_t *p, const casp_scene_t *scene)
{
    if (!is_named(scene)) {
        return "";
    }
    const char *name = casp_mailbox_text(scene->mailbox, CASP_MB_SMTP);
    if (name == NULL || *name == '\0') {
        name = scene->url->mailbox;
    }
    return apr_pstrcat(p, escape_segment(p, name), "/", NULL);
}

static const char *path_and_query(apr_pool_t *p, const casp_url_t *url)
{
    return url->query ? apr_pstrcat(p, url->path, "?", url->query, NULL)
                      : url->path;
}

/* A logon page is no place to come back to on another host. */
static bool is_logon_page(const casp_url_t *url)
{
    return strncasecmp(url->rest, "/auth/", 6) == 0
           || strncasecmp(url->rest, "/auth.owa", 9) == 0;
}

/* A goal in another directory: with a folder's slash and the mailbox that was
 * named, and the same path there where that means the same. */
static casp_goal_t make_goal(apr_pool_t *p, const casp_scene_t *scene,
                             const char *url, uint32_t auth)
{
    const casp_url_t *u = scene->url;
    casp_goal_t goal = {NULL, NULL, auth};
    if (u->protocol == CASP_PROTO_EAS) {
        /* Phones cut the host out between "://" and "/M". */
        goal.url = apr_pstrcat(p, origin(p, url), u->vdir, NULL);
        return goal;
    }
    const char *folder = as_folder(p, url);
    goal.url = folder == url
                   ? apr_pstrdup(p, url)
                   : apr_pstrcat(p, folder, named_segment(p, scene), NULL);
    if (u->protocol != CASP_PROTO_LEGACY && !is_logon_page(u)) {
        goal.same = apr_pstrcat(p, origin(p, url), path_and_query(p, u), NULL);
    }
    return goal;
}

/* ----------------------------------------------------------- before logon */

static const char *https_here(apr_pool_t *p, const casp_scene_t *scene)
{
    here_t here = find_here(p, scene);
    if (here.request == NULL) {
        return NULL;
    }
    const char *host = host_name(p, here.request);
    /* Only CasProxyExternalURL can tell a port other than 443. */
    if (here.external != NULL
        && same_host(host, host_name(p, here.external))) {
        host = here.external;
    }
    return apr_pstrcat(p, "https://", host, path_and_query(p, scene->url),
                       NULL);
}

static void set_request(const casp_scene_t *scene, casp_question_t *q)
{
    const casp_ask_t *ask = scene->ask;
    memset(q, 0, sizeof(*q));
    q->front = (casp_front_e)scene->s->front;
    q->protocol = scene->url->protocol;
    q->legacy = scene->url->legacy;
    q->by = ask->by;
    set_if(q, casp_protocol_page_load(ask->method, ask->headers, scene->url),
           CASP_F(PAGE_LOAD));
    set_if(q,
           casp_protocol_webdav(ask->method)
               || (ask->headers != NULL
                   && apr_table_get(ask->headers, "Translate") != NULL),
           CASP_F(WEBDAV));
    set_if(q, ask->https, CASP_F(TLS));
    set_if(q, ask->at_logon, CASP_F(AT_LOGON));
}

/* WebDAV names a second URL.  It is held against the same grammar, and stays
 * among the directories of its kind. */
static const char *refuse_destination(apr_pool_t *p, const casp_scene_t *scene)
{
    const char *to = scene->ask->headers
                         ? apr_table_get(scene->ask->headers, "Destination")
                         : NULL;
    casp_url_t u;
    if (to == NULL) {
        return NULL;
    }
    casp_protocol_parse(p, to, &u);
    return u.refused != NULL                    ? u.refused
           : u.protocol != scene->url->protocol ? "url-forbidden"
                                                : NULL;
}

/* Both send a server's secrets or sockets back to whoever asks. */
static bool is_refused_method(const char *method)
{
    return method != NULL
           && (strcmp(method, "TRACE") == 0 || strcmp(method, "TRACK") == 0
               || strcmp(method, "CONNECT") == 0);
}

/* Asked again of a known user too: nothing may depend on the first time. */
static void set_url(apr_pool_t *p, const casp_scene_t *scene,
                    casp_question_t *q)
{
    const casp_url_t *u = scene->url;
    const char *refused = u->refused;
    if (refused == NULL && u->protocol != CASP_PROTO_NONE) {
        refused = refuse_destination(p, scene);
    }
    /* The policy governs shapes of attacks; what has two readings is refused
     * whatever it says. */
    if (refused != NULL && strcmp(refused, "url-forbidden") == 0
        && scene->s->url_policy != CASP_POLICY_ENFORCE) {
        refused = NULL;
    }
    if (refused == NULL && scene->ask->rewritten) {
        refused = "url-rewritten"; /* what was authorized is not what is sent*/
    }
    if (is_refused_method(scene->ask->method)) {
        refused = "method-refused";
    }
    q->refused = refused;
    set_if(q, q->refused != NULL, CASP_F(URL_REFUSED));
    set_if(q, !(scene->s->publish & (1 << (int)u->protocol)),
           CASP_F(NOT_PUBLISHED));
}

void casp_question_early(apr_pool_t *p, const casp_scene_t *scene,
                         casp_question_t *q)
{
    set_request(scene, q);
    set_url(p, scene, q);
    if (scene->s->require_tls != CASP_REQTLS_OFF && !scene->ask->https) {
        SET(q, PLAIN_HTTP);
        q->to[CASP_TO_HTTPS_HERE].url = https_here(p, scene);
        if (q->to[CASP_TO_HTTPS_HERE].url == NULL) {
            q->facts &= ~CASP_F(PAGE_LOAD); /* no host to send anybody to */
        }
    }
}

/* ------------------------------------------------------------- candidates */

typedef struct {
    const casp_server_t *server;
    const casp_vdir_t *vdir; /* NULL: AD shows none */
    uint64_t weight;
} candidate_t;

/* 2007's and 2010's old directories are of OWA's class too. */
static bool is_old_directory(const casp_vdir_t *v)
{
    static const char *const names[] = {"exchange", "public", "exchweb",
                                        "exadmin"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strncasecmp(v->name, names[i], strlen(names[i])) == 0) {
            return true;
        }
    }
    return false;
}

static bool serves(const casp_server_t *server, casp_version_e version,
                   const casp_site_t *site)
{
    return server != NULL && server->version == version && server->site != NULL
           && server->site == site
           && (version >= CASP_V2013
               || (server->roles & (CASP_ROLE_CAS | CASP_ROLE_CAFE)));
}

/*
 * Who could serve a protocol for mailboxes of a version in a site, by FQDN.
 * Servers with the virtual directory; where AD shows none at all (UM has none
 * there), the Client Access servers themselves.
 */
static apr_array_header_t *candidates(apr_pool_t *p, const casp_topology_t *t,
                                      casp_protocol_e protocol,
                                      casp_version_e version,
                                      const casp_site_t *site)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(candidate_t));
    const apr_array_header_t *vdirs = casp_topology_vdirs_of_site(t, site);
    for (int i = 0; i < vdirs->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(vdirs, i, const casp_vdir_t *);
        if (v->protocol == protocol && serves(v->server, version, site)
            && !(protocol == CASP_PROTO_OWA && is_old_directory(v))) {
            candidate_t c = {v->server, v, 0};
            APR_ARRAY_PUSH(list, candidate_t) = c;
        }
    }
    bool none = list->nelts == 0;
    for (int i = 0; none && i < t->servers->nelts; i++) {
        const casp_server_t *s =
            APR_ARRAY_IDX(t->servers, i, const casp_server_t *);
        if (serves(s, version, site)) {
            candidate_t c = {s, NULL, 0};
            APR_ARRAY_PUSH(list, candidate_t) = c;
        }
    }
    return list;
}

/* Is the target's way to log on the one the user came by? */
static bool same_scheme(casp_by_e by, uint32_t auth)
{
    bool fba = (auth & CASP_AUTH_FBA) != 0;
    switch (by) {
    case CASP_BY_FORMS:
        return fba;
    case CASP_BY_BASIC:
        return !fba && (auth & CASP_AUTH_BASIC);
    case CASP_BY_NTLM:
    case CASP_BY_NEGOTIATE:
        return !fba
               && (auth
                   & (CASP_AUTH_NTLM | CASP_AUTH_WINDOWS | CASP_AUTH_KERBEROS
                      | CASP_AUTH_NEGOTIATE));
    default:
        return false;
    }
}

/* The best of them to redirect to: our authentication first, then by FQDN. */
static const casp_vdir_t *best_target(const apr_array_header_t *list,
                                      casp_by_e by, bool internal)
{
    const casp_vdir_t *best = NULL;
    for (int i = 0; i < list->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(list, i, candidate_t).vdir;
        if (v == NULL || !(internal ? v->internal_url : v->external_url)) {
            continue;
        }
        if (same_scheme(by, v->external_auth)) {
            return v;
        }
        best = best ? best : v;
    }
    return best;
}

/* --------------------------------------------------------------- backends */

/* FNV-1a with a last stir: every server draws a number for this user, and the
 * highest wins, so that one server more or less moves only its own users. */
static uint64_t draw(const casp_guid_t *user, const char *fqdn)
{
    uint64_t h = UINT64_C(14695981039346656037);
    for (size_t i = 0; i < sizeof(user->b); i++) {
        h = (h ^ user->b[i]) * UINT64_C(1099511628211);
    }
    for (const char *s = fqdn; *s != '\0'; s++) {
        h = (h ^ (unsigned char)apr_tolower(*s)) * UINT64_C(1099511628211);
    }
    h = (h ^ (h >> 33)) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ (h >> 33)) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ (h >> 33);
}

static int by_weight(const void *a, const void *b)
{
    const candidate_t *x = a, *y = b;
    if (x->weight != y->weight) {
        return x->weight > y->weight ? -1 : 1;
    }
    return strcasecmp(x->server->fqdn, y->server->fqdn);
}

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
    const char *name = host_name(p, host);
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
    if (last == NULL || last[1] == '\0') {
        return u->vdir;
    }
    return last > path && strchr(last, '.')
               ? apr_pstrmemdup(p, path, (apr_size_t)(last - path))
               : path;
}

/* The URL to reach a candidate at; NULL: AD has no usable name for it. */
static const char *backend_url(apr_pool_t *p, const casp_scene_t *scene,
                               const here_t *here, const candidate_t *c)
{
    const char *internal = c->vdir ? c->vdir->internal_url : NULL;
    const char *fqdn = is_host_name(c->server->fqdn) ? c->server->fqdn : NULL;
    const char *scheme = "https://", *path = scene->url->vdir;
    if (internal != NULL) {
        path = directory_path(p, scene->url, internal);
        if (!is_here(p, here, internal)
            && may_be_backend(p, scene, casp_url_host(p, internal))) {
            return apr_pstrcat(p, origin(p, internal), path, NULL);
        }
        scheme = casp_url_https(internal) ? "https://" : "http://";
    }
    return fqdn ? apr_pstrcat(p, scheme, fqdn, path, NULL) : NULL;
}

/* What the wire will be: CasProxyBackendMap may lead to another scheme. */
static bool reached_by_tls(apr_pool_t *p, const casp_scene_t *scene,
                           const char *url)
{
    const apr_array_header_t *map = scene->s->backend_map;
    const char *host = casp_url_host(p, url);
    for (int i = 0; map != NULL && i < map->nelts; i++) {
        const casp_pair_t *pair = &APR_ARRAY_IDX(map, i, casp_pair_t);
        if (same_host(pair->a, host)) {
            return casp_url_https(pair->b);
        }
    }
    return casp_url_https(url);
}

static void choose_login(apr_pool_t *p, const casp_scene_t *scene,
                         casp_backend_t *b)
{
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

static void add_backend(apr_pool_t *p, const casp_scene_t *scene,
                        casp_question_t *q, const here_t *here,
                        const char *url, const casp_server_t *server,
                        uint32_t auth)
{
    if (url == NULL) {
        return;
    }
    if (is_here(p, here, url)) {
        SET(q, BACKEND_HERE);
        return;
    }
    casp_backend_t b = {.url = url,
                        .server = apr_pstrdup(p, server->name),
                        .auth = auth,
                        .version = server->version};
    choose_login(p, scene, &b);
    q->backends[q->nbackends++] = b;
    SET(q, BACKEND);
}

/* Who cannot be logged on at is no candidate; where that is all of them, it is
 * a fact. */
static void settle_logins(casp_question_t *q)
{
    int kept = 0;
    const char *why = q->nbackends > 0 ? q->backends[0].login_why : "";
    for (int i = 0; i < q->nbackends; i++) {
        if (q->backends[i].login != CASP_LOGIN_IMPOSSIBLE) {
            q->backends[kept++] = q->backends[i];
        }
    }
    if (kept > 0) {
        q->nbackends = kept;
        return;
    }
    set_if(q,
           strcmp(why, "double-hop") == 0 || q->by == CASP_BY_NTLM
               || q->by == CASP_BY_NEGOTIATE,
           CASP_F(INTEGRATED));
    set_if(q, strcmp(why, "backend-plain-http") == 0, CASP_F(PLAIN_BACKEND));
    set_if(q, strcmp(why, "no-common-authentication") == 0,
           CASP_F(NO_COMMON_LOGIN));
}

/* Client Access servers, in this user's own order. */
static void set_cas_backends(apr_pool_t *p, const casp_scene_t *scene,
                             const here_t *here, apr_array_header_t *list,
                             casp_question_t *q)
{
    candidate_t *c = (candidate_t *)list->elts;
    for (int i = 0; i < list->nelts; i++) {
        c[i].weight = draw(&scene->mailbox->user,
                           c[i].server->fqdn ? c[i].server->fqdn : "");
    }
    qsort(c, (size_t)list->nelts, sizeof(*c), by_weight);
    q->backends =
        apr_pcalloc(p, sizeof(casp_backend_t) * (size_t)(list->nelts + 1));
    for (int i = 0; i < list->nelts; i++) {
        add_backend(p, scene, q, here, backend_url(p, scene, here, &c[i]),
                    c[i].server,
                    c[i].vdir ? c[i].vdir->internal_auth : OLD_BACKEND_AUTH);
    }
}

/* One server reached by its own name: 2003's back-end by http, port 80, and
 * the 2007 mailbox server's WebDAV. */
static void add_server(apr_pool_t *p, const casp_scene_t *scene,
                       const here_t *here, const casp_server_t *server,
                       casp_question_t *q)
{
    if (server == NULL || !is_host_name(server->fqdn)) {
        return;
    }
    add_backend(p, scene, q, here,
                apr_pstrcat(p,
                            server->version >= CASP_V2007 ? "https://"
                                                          : "http://",
                            server->fqdn, scene->url->vdir, NULL),
                server, OLD_BACKEND_AUTH);
}

/* Servers with a 2003 public store, by FQDN. */
static void set_public_backends(apr_pool_t *p, const casp_scene_t *scene,
                                const here_t *here, casp_question_t *q)
{
    const casp_topology_t *t = scene->t;
    q->backends = apr_pcalloc(p, sizeof(casp_backend_t)
                                     * (size_t)(t->servers->nelts + 1));
    for (int i = 0; i < t->servers->nelts; i++) {
        const casp_server_t *s =
            APR_ARRAY_IDX(t->servers, i, const casp_server_t *);
        if (s->version != CASP_V2000 && s->version != CASP_V2003) {
            continue;
        }
        for (int j = 0; j < t->databases->nelts; j++) {
            const casp_database_t *db =
                APR_ARRAY_IDX(t->databases, j, const casp_database_t *);
            if (db->is_public && db->owner == s) {
                SET(q, PUBLIC_2003);
                add_server(p, scene, here, s, q);
                break;
            }
        }
    }
}

/* ------------------------------------------------------------------- goals */

/* Vdirs of OWA in the front's own site, for what the front's administrator has
 * said there: the first one that says anything, by FQDN. */
/* The front's site's own OWA directories, one after the other: @a at starts
 * at 0 and remembers. */
static const casp_vdir_t *own_owa(const casp_scene_t *scene, int *at)
{
    const apr_array_header_t *vdirs =
        casp_topology_vdirs_of_site(scene->t, scene->front_site);
    while (*at < vdirs->nelts) {
        const casp_vdir_t *v =
            APR_ARRAY_IDX(vdirs, (*at)++, const casp_vdir_t *);
        if (v->protocol == CASP_PROTO_OWA && !is_old_directory(v)) {
            return v;
        }
    }
    return NULL;
}

static void set_2003(apr_pool_t *p, const casp_scene_t *scene,
                     const here_t *here, casp_question_t *q)
{
    const char *url = scene->s->exchange2003_url;
    url = url ? casp_url_check(p, url) : NULL;
    const casp_vdir_t *v;
    for (int i = 0; url == NULL && (v = own_owa(scene, &i)) != NULL;) {
        url = v->exchange2003_url;
    }
    if (url == NULL) {
        return;
    }
    /* No directory of ours tells how that host lets people log on; S001 wants
     * it set as the front is. */
    uint32_t auth = scene->ask->by == CASP_BY_FORMS   ? CASP_AUTH_FBA
                    : scene->ask->by == CASP_BY_BASIC ? CASP_AUTH_BASIC
                                                      : CASP_AUTH_WINDOWS;
    casp_goal_t *goal = &q->to[CASP_TO_2003];
    *goal = make_goal(p, scene, url, auth);
    if (scene->url->protocol == CASP_PROTO_LEGACY) {
        goal->same = apr_pstrcat(p, origin(p, url),
                                 path_and_query(p, scene->url), NULL);
    }
    else {
        goal->same = NULL; /* /owa means nothing over there */
    }
    SET(q, URL_2003);
    set_if(q, is_here(p, here, url) || scene->ask->loop_cookie,
           CASP_F(URL_2003_HERE));
}

/* FailbackURL: a setting for the target's site, the target's own, any of its
 * site's, the setting without site.  One that leads to the request's host
 * would be the same circle. */
static const char *failback(apr_pool_t *p, const casp_scene_t *scene,
                            const apr_array_header_t *list,
                            const casp_vdir_t *target)
{
    const apr_array_header_t *set = scene->s->failback_url;
    const char *fallback = NULL;
    for (int i = 0; set != NULL && i < set->nelts; i++) {
        const casp_pair_t *pair = &APR_ARRAY_IDX(set, i, casp_pair_t);
        if (pair->b == NULL) {
            fallback = pair->a;
        }
        else if (scene->home.site != NULL
                 && strcasecmp(pair->b, scene->home.site->name) == 0) {
            return casp_url_check(p, pair->a);
        }
    }
    if (target->failback_url != NULL) {
        return target->failback_url;
    }
    for (int i = 0; i < list->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(list, i, candidate_t).vdir;
        if (v != NULL && v->failback_url != NULL) {
            return v->failback_url;
        }
    }
    return fallback ? casp_url_check(p, fallback) : NULL;
}

static void set_external(apr_pool_t *p, const casp_scene_t *scene,
                         const here_t *here, const apr_array_header_t *list,
                         casp_question_t *q)
{
    const casp_vdir_t *v = best_target(list, scene->ask->by, false);
    if (v != NULL) {
        q->to[CASP_TO_EXTERNAL] =
            make_goal(p, scene, v->external_url, v->external_auth);
        SET(q, EXTERNAL);
        set_if(q, is_here(p, here, v->external_url) || scene->ask->loop_cookie,
               CASP_F(EXTERNAL_HERE));
        const char *url = failback(p, scene, list, v);
        if (url != NULL && !same_host(casp_url_host(p, url), here->request)) {
            q->to[CASP_TO_FAILBACK] =
                make_goal(p, scene, url, v->external_auth);
            SET(q, FAILBACK);
        }
    }
    v = best_target(list, scene->ask->by, true);
    if (v != NULL) {
        q->to[CASP_TO_INTERNAL] =
            make_goal(p, scene, v->internal_url, v->external_auth);
        SET(q, INTERNAL);
        set_if(q, is_here(p, here, v->internal_url) || scene->ask->loop_cookie,
               CASP_F(INTERNAL_HERE));
    }
}

/* The legacy namespace of the front's own site, for 2007 mailboxes of sites
 * without one. */
static void set_front_legacy(apr_pool_t *p, const casp_scene_t *scene,
                             const here_t *here, casp_question_t *q)
{
    const apr_array_header_t *list =
        candidates(p, scene->t, CASP_PROTO_OWA, CASP_V2007, scene->front_site);
    const casp_vdir_t *v = best_target(list, scene->ask->by, false);
    if (v != NULL && !is_here(p, here, v->external_url)
        && !scene->ask->loop_cookie) {
        q->to[CASP_TO_FRONT_LEGACY] =
            make_goal(p, scene, v->external_url, v->external_auth);
        SET(q, FRONT_LEGACY);
    }
}

static void set_owa_here(apr_pool_t *p, const casp_scene_t *scene,
                         const here_t *here, casp_question_t *q)
{
    const char *host = here->request ? here->request : here->external;
    bool https = here->request ? scene->ask->https
                               : casp_url_https(scene->s->external_url);
    q->to[CASP_TO_OWA_HERE].url =
        apr_pstrcat(p, host ? (https ? "https://" : "http://") : "",
                    host ? host : "", "/owa/", named_segment(p, scene), NULL);
}

/* ------------------------------------------------------------------- facts */

void casp_question_home(casp_scene_t *scene)
{
    casp_mailbox_home(scene->mailbox, scene->t, &scene->home);
    const apr_array_header_t *mounted = scene->s->mounted_site;
    const casp_database_t *db = scene->home.database;
    for (int i = 0; db != NULL && mounted != NULL && i < mounted->nelts; i++) {
        const casp_pair_t *pair = &APR_ARRAY_IDX(mounted, i, casp_pair_t);
        const casp_site_t *site;
        if (strcasecmp(pair->a, db->name) == 0
            && (site = casp_topology_site(scene->t, pair->b)) != NULL) {
            scene->home.site = site;
        }
    }
}

static void set_settings(const casp_scene_t *scene, casp_question_t *q)
{
    const casp_settings_t *s = scene->s;
    set_if(q,
           q->front >= CASP_F2013
               || (q->front >= CASP_F2010SP2 && s->cross_site_silent == 1),
           CASP_F(SILENT));
    int optimal = s->redirect_to_optimal;
    const casp_vdir_t *v;
    for (int i = 0; optimal < 0 && scene->t != NULL
                    && (v = own_owa(scene, &i)) != NULL;) {
        if (v->server->version == casp_front_version(q->front)) {
            optimal = v->redirect_to_optimal;
        }
    }
    set_if(q, optimal == 0, CASP_F(NO_OPTIMAL));
    set_if(q, scene->d != NULL && scene->d->mode == CASP_MODE_REDIRECT,
           CASP_F(REDIRECT_MODE));
    set_if(q, s->sso == CASP_SSO_OFF, CASP_F(SSO_OFF));
    set_if(q, s->sso == CASP_SSO_TWOFACTOR, CASP_F(TWO_FACTOR));
    set_if(q, s->sso == CASP_SSO_PREAUTH, CASP_F(PRE_AUTH));
}

static void set_people(const casp_scene_t *scene, casp_question_t *q)
{
    const casp_mailbox_t *own = scene->own, *m = scene->mailbox;
    set_if(q, scene->ask->user == NULL, CASP_F(NO_USER));
    set_if(q,
           scene->t == NULL || scene->own_found == CASP_FIND_UNAVAILABLE
               || scene->named_found == CASP_FIND_UNAVAILABLE,
           CASP_F(DIRECTORY_DOWN));
    set_if(q,
           scene->own_found == CASP_FIND_AMBIGUOUS
               || scene->named_found == CASP_FIND_AMBIGUOUS,
           CASP_F(AMBIGUOUS));
    set_if(q, own == NULL, CASP_F(USER_UNKNOWN));
    set_if(q, scene->named_found == CASP_FIND_NONE, CASP_F(MAILBOX_UNKNOWN));
    if (own != NULL) {
        /* The object of a linked mailbox is always disabled: its owner logs
         * on with an account of another forest.  Somebody else's mailbox may
         * be opened although that account is disabled. */
        set_if(q,
               (own->flags & CASP_MB_DISABLED)
                   && !(own->flags & CASP_MB_LINKED),
               CASP_F(DISABLED));
        casp_home_t home;
        casp_mailbox_home(own, scene->t, &home);
        set_if(q, home.version == CASP_V2007, CASP_F(OWN_2007));
        set_if(q, own->flags & CASP_MB_OWA_OFF, CASP_F(OWA_OFF));
        set_if(q, own->flags & CASP_MB_EAS_OFF, CASP_F(EAS_OFF));
    }
    if (m != NULL) {
        bool has = (m->flags & CASP_MB_MAILBOX) != 0;
        set_if(q, !has && (m->flags & CASP_MB_REMOTE), CASP_F(REMOTE));
        set_if(q, !has, CASP_F(NO_MAILBOX));
        set_if(q, m->flags & CASP_MB_OWA_OFF, CASP_F(OWA_OFF));
    }
}

static void set_places(const casp_scene_t *scene, casp_question_t *q)
{
    const casp_home_t *home = &scene->home;
    q->version = home->version;
    set_if(q, home->server == NULL && home->site == NULL,
           CASP_F(DATABASE_UNKNOWN));
    set_if(q, home->version == CASP_V_NONE, CASP_F(VERSION_UNKNOWN));
    set_if(q, scene->front_site == NULL, CASP_F(FRONT_SITE_UNKNOWN));
    set_if(q, home->site == NULL, CASP_F(SITE_UNKNOWN));
    bool same = home->site != NULL && home->site == scene->front_site;
    set_if(q, same, CASP_F(SAME_SITE));
    set_if(q,
           !same && home->database != NULL && scene->front_site != NULL
               && home->database->array_site == scene->front_site,
           CASP_F(ARRAY_HERE));
}

static void set_targets(apr_pool_t *p, const casp_scene_t *scene,
                        casp_question_t *q)
{
    here_t here = find_here(p, scene);
    const casp_url_t *u = scene->url;
    bool legacy = u->protocol == CASP_PROTO_LEGACY;
    apr_array_header_t *list =
        candidates(p, scene->t, legacy ? CASP_PROTO_OWA : u->protocol,
                   q->version, scene->home.site);
    set_if(q, list->nelts == 0, CASP_F(NO_CAS));
    set_external(p, scene, &here, list, q);
    set_2003(p, scene, &here, q);
    set_owa_here(p, scene, &here, q);
    if (q->version == CASP_V2007 && q->front >= CASP_F2013) {
        set_front_legacy(p, scene, &here, q);
    }
    if (u->legacy == CASP_LEGACY_PUBLIC) {
        set_public_backends(p, scene, &here, q);
    }
    else if (legacy || q->version < CASP_V2007) {
        q->backends = apr_pcalloc(p, sizeof(casp_backend_t));
        add_server(p, scene, &here, scene->home.server, q);
    }
    else {
        set_cas_backends(p, scene, &here, list, q);
    }
    settle_logins(q);
}

void casp_question_pose(apr_pool_t *p, const casp_scene_t *scene,
                        casp_question_t *q)
{
    set_request(scene, q);
    set_url(p, scene, q);
    set_people(scene, q);
    set_settings(scene, q);
    if (scene->mailbox != NULL && scene->t != NULL) {
        set_places(scene, q);
        set_targets(p, scene, q);
    }
}
