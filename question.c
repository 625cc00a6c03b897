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

#include <string.h>
#include <strings.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "candidates.h"
#include "eas.h"
#include "reach.h"

#define SET(q, name) ((q)->facts |= CASP_F(name))

static void set_if(casp_question_t *q, bool holds, uint64_t fact)
{
    if (holds) {
        q->facts |= fact;
    }
}

/* ------------------------------------------------------------------- URLs */

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
        goal.url = apr_pstrcat(p, casp_reach_origin(p, url), u->vdir, NULL);
        return goal;
    }
    if (u->protocol == CASP_PROTO_AUTODISCOVER) {
        /* Another service's URL, of which the host serves. */
        goal.url = apr_pstrcat(p, casp_reach_origin(p, url), u->vdir,
                               "/autodiscover.xml", NULL);
        goal.same = apr_pstrcat(p, casp_reach_origin(p, url),
                                path_and_query(p, u), NULL);
        return goal;
    }
    if (u->protocol == CASP_PROTO_ECP) {
        url = apr_pstrcat(p, casp_reach_origin(p, url),
                          strcasecmp(casp_url_path(url), "/owa") == 0
                              ? u->vdir
                              : casp_url_path(url),
                          NULL);
    }
    const char *folder = as_folder(p, url);
    goal.url = folder == url
                   ? apr_pstrdup(p, url)
                   : apr_pstrcat(p, folder, named_segment(p, scene), NULL);
    if (u->protocol != CASP_PROTO_LEGACY && !is_logon_page(u)) {
        goal.same = apr_pstrcat(p, casp_reach_origin(p, url),
                                path_and_query(p, u), NULL);
    }
    return goal;
}

/* ----------------------------------------------------------- before logon */

static const char *https_here(apr_pool_t *p, const casp_scene_t *scene)
{
    casp_here_t here = casp_here_find(p, scene);
    if (here.request == NULL) {
        return NULL;
    }
    const char *host = casp_reach_host_name(p, here.request);
    /* Only CasProxyExternalURL can tell a port other than 443. */
    if (here.external != NULL
        && casp_reach_same_host(host,
                                casp_reach_host_name(p, here.external))) {
        host = here.external;
    }
    return apr_pstrcat(p, "https://", host, path_and_query(p, scene->url),
                       NULL);
}

static bool is_method(const char *method, const char *const *list, size_t n)
{
    for (size_t i = 0; method != NULL && i < n; i++) {
        if (strcmp(method, list[i]) == 0) {
            return true;
        }
    }
    return false;
}

static void set_method(const casp_scene_t *scene, casp_question_t *q)
{
    static const char *const device[] = {"POST", "OPTIONS"};
    static const char *const moving[] = {"GET", "HEAD"};
    const char *method = scene->ask->method;
    set_if(q,
           q->protocol == CASP_PROTO_EAS && method != NULL
               && !is_method(method, device, 2),
           CASP_F(EAS_METHOD));
    set_if(q, is_method(method, moving, 2), CASP_F(CAN_MOVE));
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
    set_method(scene, q);
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
    if (scene->s->require_tls != CASP_REQTLS_OFF && !scene->ask->https
        && !casp_reach_is_mail(scene->url->protocol)) {
        SET(q, PLAIN_HTTP);
        q->to[CASP_TO_HTTPS_HERE].url = https_here(p, scene);
        if (q->to[CASP_TO_HTTPS_HERE].url == NULL) {
            /* no host to send anybody to */
            q->facts &= ~(CASP_F(PAGE_LOAD) | CASP_F(CAN_MOVE));
        }
    }
}

/* ------------------------------------------------------------------- goals */

/* The front's site's own OWA directories, one after the other: @a at starts
 * at 0 and remembers. */
static const casp_vdir_t *own_owa(const casp_scene_t *scene, int *at)
{
    const apr_array_header_t *vdirs =
        casp_topology_vdirs_of_site(scene->t, scene->front_site);
    while (*at < vdirs->nelts) {
        const casp_vdir_t *v =
            APR_ARRAY_IDX(vdirs, (*at)++, const casp_vdir_t *);
        if (v->protocol == CASP_PROTO_OWA
            && !casp_candidates_old_directory(v)) {
            return v;
        }
    }
    return NULL;
}

static void set_2003(apr_pool_t *p, const casp_scene_t *scene,
                     const casp_here_t *here, casp_question_t *q)
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
        goal->same = apr_pstrcat(p, casp_reach_origin(p, url),
                                 path_and_query(p, scene->url), NULL);
    }
    else {
        goal->same = NULL; /* /owa means nothing over there */
    }
    SET(q, URL_2003);
    set_if(q, casp_here_is(p, here, url) || scene->ask->loop_cookie,
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
        const casp_vdir_t *v = APR_ARRAY_IDX(list, i, casp_candidate_t).vdir;
        if (v != NULL && v->failback_url != NULL) {
            return v->failback_url;
        }
    }
    return fallback ? casp_url_check(p, fallback) : NULL;
}

/* The directory that people or programs are sent to.  Autodiscover's own has
 * no ExternalURL: EWS's host serves, else OWA's. */
static const casp_vdir_t *external_target(apr_pool_t *p,
                                          const casp_scene_t *scene,
                                          const apr_array_header_t *list)
{
    static const casp_protocol_e order[] = {CASP_PROTO_EWS, CASP_PROTO_OWA};
    const casp_vdir_t *v = NULL;
    bool disco = scene->url->protocol == CASP_PROTO_AUTODISCOVER;
    for (size_t i = 0; disco && v == NULL && i < 2; i++) {
        v = casp_candidates_target(casp_candidates(p, scene->t, order[i],
                                                   scene->home.version,
                                                   scene->home.site),
                                   scene->ask->by, false);
    }
    return v ? v : casp_candidates_target(list, scene->ask->by, false);
}

static void set_external(apr_pool_t *p, const casp_scene_t *scene,
                         const casp_here_t *here,
                         const apr_array_header_t *list, casp_question_t *q)
{
    const casp_vdir_t *v = external_target(p, scene, list);
    /* A device would send its password there in clear: a plain http URL is
     * none for it. */
    if (v != NULL
        && (q->protocol != CASP_PROTO_EAS
            || casp_url_https(v->external_url))) {
        /* FailbackURL is OWA's, and holds for /ecp beside it. */
        const apr_array_header_t *owa =
            scene->url->protocol == CASP_PROTO_ECP
                ? casp_candidates(p, scene->t, CASP_PROTO_OWA,
                                  scene->home.version, scene->home.site)
                : list;
        q->to[CASP_TO_EXTERNAL] =
            make_goal(p, scene, v->external_url, v->external_auth);
        SET(q, EXTERNAL);
        set_if(q,
               casp_here_is(p, here, v->external_url)
                   || scene->ask->loop_cookie,
               CASP_F(EXTERNAL_HERE));
        const char *url = failback(p, scene, owa, v);
        if (url != NULL
            && !casp_reach_same_host(casp_url_host(p, url), here->request)) {
            q->to[CASP_TO_FAILBACK] =
                make_goal(p, scene, url, v->external_auth);
            SET(q, FAILBACK);
        }
    }
    v = casp_candidates_target(list, scene->ask->by, true);
    if (v != NULL) {
        q->to[CASP_TO_INTERNAL] =
            make_goal(p, scene, v->internal_url, v->external_auth);
        SET(q, INTERNAL);
        set_if(q,
               casp_here_is(p, here, v->internal_url)
                   || scene->ask->loop_cookie,
               CASP_F(INTERNAL_HERE));
    }
}

/* The legacy namespace of the front's own site, for 2007 mailboxes of sites
 * without one. */
static void set_front_legacy(apr_pool_t *p, const casp_scene_t *scene,
                             const casp_here_t *here, casp_question_t *q)
{
    const apr_array_header_t *list =
        casp_candidates(p, scene->t, CASP_PROTO_OWA, CASP_V2007,
                        scene->front_site);
    const casp_vdir_t *v = casp_candidates_target(list, scene->ask->by, false);
    if (v != NULL && !casp_here_is(p, here, v->external_url)
        && !scene->ask->loop_cookie) {
        q->to[CASP_TO_FRONT_LEGACY] =
            make_goal(p, scene, v->external_url, v->external_auth);
        SET(q, FRONT_LEGACY);
    }
}

static void set_owa_here(apr_pool_t *p, const casp_scene_t *scene,
                         const casp_here_t *here, casp_question_t *q)
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
        set_if(q,
               (q->protocol == CASP_PROTO_POP3 && (m->flags & CASP_MB_POP_OFF))
                   || (q->protocol == CASP_PROTO_IMAP4
                       && (m->flags & CASP_MB_IMAP_OFF)),
               CASP_F(MAIL_OFF));
    }
}

/* ActiveSync: what the device says of itself, held against the threshold.  One
 * that says nothing (OPTIONS) is old, unless all are told. */
static void set_device(apr_pool_t *p, const casp_scene_t *scene,
                       casp_question_t *q)
{
    casp_eas_t eas;
    const apr_table_t *headers = scene->ask->headers;
    if (q->protocol != CASP_PROTO_EAS) {
        return;
    }
    memset(&eas, 0, sizeof(eas));
    casp_eas_read(p, scene->url->query,
                  headers ? apr_table_get(headers, "MS-ASProtocolVersion")
                          : NULL,
                  &eas);
    set_if(q, eas.version >= scene->s->eas_redirect, CASP_F(EAS_451));
}

/* The oldest version that has what an Autodiscover URL asks for: SOAP came
 * with 2010, JSON with 2016. */
static casp_version_e disco_since(const casp_url_t *u)
{
    return strncasecmp(u->rest, "/autodiscover.json", 18) == 0  ? CASP_V2016
           : strncasecmp(u->rest, "/autodiscover.svc", 17) == 0 ? CASP_V2010
                                                                : CASP_V2007;
}

static void set_autodiscover(const casp_scene_t *scene, casp_question_t *q)
{
    const casp_url_t *u = scene->url;
    if (q->protocol == CASP_PROTO_AUTODISCOVER) {
        set_if(q,
               scene->s->autodiscover == CASP_AUTODISCOVER_ANSWER
                   && strcasecmp(u->rest, "/autodiscover.xml") == 0,
               CASP_F(ANSWER));
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

/*
 * Servers of the front's own generation in its own site, which answer for
 * older mailboxes too: a front from 2013 on is of one generation with all
 * that came after it.  A 2010 front's Outlook Anywhere may also find them in
 * the mailbox's site.
 */
static apr_array_header_t *standins(apr_pool_t *p, const casp_scene_t *scene,
                                    const casp_question_t *q,
                                    const casp_site_t *site)
{
    const casp_url_t *u = scene->url;
    casp_version_e own = casp_front_version(q->front);
    casp_version_e since =
        u->protocol == CASP_PROTO_AUTODISCOVER ? disco_since(u) : CASP_V2007;
    apr_array_header_t *list = apr_array_make(p, 0, sizeof(casp_candidate_t));
    if (own >= since) {
        list = casp_candidates(p, scene->t, u->protocol, own, site);
    }
    for (int v = CASP_V2019; own >= CASP_V2013 && list->nelts == 0
                             && v >= CASP_V2013 && v >= (int)since;
         v--) {
        list =
            casp_candidates(p, scene->t, u->protocol, (casp_version_e)v, site);
    }
    return list;
}

static void set_standins(apr_pool_t *p, const casp_scene_t *scene,
                         const casp_here_t *here, casp_question_t *q)
{
    casp_protocol_e proto = scene->url->protocol;
    if (proto != CASP_PROTO_AUTODISCOVER && proto != CASP_PROTO_RPC
        && proto != CASP_PROTO_POWERSHELL) {
        return;
    }
    const casp_site_t *there = scene->home.site;
    casp_reach_t to = {0, NULL, 0};
    apr_array_header_t *list = standins(p, scene, q, scene->front_site);
    if (list->nelts == 0 && proto == CASP_PROTO_RPC && there != NULL
        && there != scene->front_site) {
        list = standins(p, scene, q, there);
        set_if(q, list->nelts > 0, CASP_F(STANDIN_THERE));
    }
    if (list->nelts > 0) {
        casp_reach_cas(p, scene, here, list, &to);
        q->nstandins = to.n;
        q->standins = to.list;
        q->standin_facts = to.facts;
        SET(q, STANDIN);
    }
    set_if(q,
           proto == CASP_PROTO_AUTODISCOVER
               && q->version < disco_since(scene->url),
           CASP_F(TOO_OLD));
}

static void set_targets(apr_pool_t *p, const casp_scene_t *scene,
                        casp_question_t *q)
{
    casp_here_t here = casp_here_find(p, scene);
    const casp_url_t *u = scene->url;
    bool legacy = u->protocol == CASP_PROTO_LEGACY;
    casp_reach_t to = {0, NULL, 0};
    apr_array_header_t *list =
        casp_candidates(p, scene->t, legacy ? CASP_PROTO_OWA : u->protocol,
                        q->version, scene->home.site);
    set_if(q, list->nelts == 0, CASP_F(NO_CAS));
    set_external(p, scene, &here, list, q);
    set_2003(p, scene, &here, q);
    set_owa_here(p, scene, &here, q);
    set_standins(p, scene, &here, q);
    if (q->version == CASP_V2007 && q->front >= CASP_F2013) {
        set_front_legacy(p, scene, &here, q);
    }
    if (u->legacy == CASP_LEGACY_PUBLIC) {
        set_if(q, casp_reach_public(p, scene, &here, &to),
               CASP_F(PUBLIC_2003));
    }
    else if (legacy || q->version < CASP_V2007) {
        casp_reach_home(p, scene, &here, &to);
    }
    else {
        casp_reach_cas(p, scene, &here, list, &to);
    }
    q->nbackends = to.n;
    q->backends = to.list;
    q->facts |= to.facts;
}

void casp_question_pose(apr_pool_t *p, const casp_scene_t *scene,
                        casp_question_t *q)
{
    set_request(scene, q);
    set_url(p, scene, q);
    set_people(scene, q);
    set_settings(scene, q);
    set_device(p, scene, q);
    set_autodiscover(scene, q);
    if (scene->mailbox != NULL && scene->t != NULL) {
        set_places(scene, q);
        set_targets(p, scene, q);
    }
}
