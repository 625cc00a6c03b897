/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * verdict.c: the one way from a request to a decision, for the module and for
 * casproxyctl alike.
 *
 * It reads the URL, finds the user's mailbox and the one that the URL names,
 * poses the question and lets the rules answer.  It holds the topology only
 * while it does so: a request that is being proxied for an hour must not keep
 * an old organisation alive, so everything in a verdict lies in the caller's
 * pool.
 *
 * Must not: know a rule, or keep anything between requests.
 */

#include "verdict.h"

#include <string.h>
#include <strings.h>

#include <apr_strings.h>

#include "question.h"

#define ANCHOR_MAX 320 /* bytes of an address */

/* -------------------------------------------------------- the front's site */

const casp_site_t *casp_verdict_front_site(apr_pool_t *p,
                                           const casp_settings_t *s,
                                           const casp_topology_t *t,
                                           const char *local_address,
                                           const char **why)
{
    *why = NULL;
    if (s->site != NULL) {
        const casp_site_t *site = casp_topology_site(t, s->site);
        if (site == NULL) {
            *why = apr_psprintf(p,
                                "the directory has no site \"%s\"; correct "
                                "CasProxySite",
                                s->site);
        }
        return site;
    }
    if (t->sites->nelts == 1) {
        return APR_ARRAY_IDX(t->sites, 0, const casp_site_t *);
    }
    const casp_site_t *site =
        local_address ? casp_topology_site_of_address(t, local_address) : NULL;
    if (site == NULL) {
        *why = apr_psprintf(
            p,
            "none of the directory's subnets holds this front's address "
            "%s; set CasProxySite",
            local_address ? local_address : "(unknown)");
    }
    return site;
}

/* ------------------------------------------------------------------ before */

static void read_target(apr_pool_t *p, const casp_ask_t *ask, casp_url_t *url)
{
    if (!ask->mail || !casp_protocol_mail(ask->target, url)) {
        casp_protocol_parse(p, ask->target, url);
    }
}

static const char *text_of(const char *reason)
{
    const casp_reason_t *r = casp_decision_reason(reason);
    return r != NULL ? r->text : NULL;
}

/* Decisions that explain themselves need no sentence beside them. */
static bool wants_detail(casp_action_e action)
{
    return action == CASP_ACTION_ERROR || action == CASP_ACTION_DENY
           || action == CASP_ACTION_LOGON
           || action == CASP_ACTION_TEMPORARY_REDIRECT;
}

bool casp_verdict_before_logon(apr_pool_t *p, const casp_settings_t *s,
                               const casp_dir_settings_t *d,
                               const casp_ask_t *ask, casp_verdict_t *v)
{
    casp_scene_t scene;
    casp_question_t q;
    memset(v, 0, sizeof(*v));
    memset(&scene, 0, sizeof(scene));
    read_target(p, ask, &v->url);
    v->read = ask->target;
    scene.s = s;
    scene.d = d;
    scene.ask = ask;
    scene.url = &v->url;
    v->user = ask->user;
    casp_question_early(p, &scene, &q);
    if (v->url.refused != NULL && q.refused == NULL
        && s->url_policy == CASP_POLICY_LOG) {
        casp_log(CASP_LOG_WARNING, APR_SUCCESS,
                 CASPLOGNO(0500) "a URL below %s has the shape of a known "
                                 "attack (%s); it passes because of "
                                 "CasProxyUrlPolicy Log",
                           v->url.vdir, v->url.refused);
    }
    if (!casp_decide_early(&q, &v->decision)) {
        return false;
    }
    v->detail = text_of(v->decision.reason);
    return true;
}

/* ---------------------------------------------------------------- look-ups */

/* The user: found before (when a password was checked), or by name. */
static void find_own(apr_pool_t *p, casp_scene_t *scene, casp_org_t *org,
                     apr_time_t deadline, casp_verdict_t *v)
{
    const casp_ask_t *ask = scene->ask;
    casp_user_key_t key;
    const char *why = NULL;
    if (ask->user_known) {
        scene->own = ask->own;
        v->cache = ask->own_cache;
        scene->own_found = ask->own ? CASP_FIND_OK : CASP_FIND_NONE;
        return;
    }
    casp_claim_e claim =
        casp_identity_key(p, ask->user, strlen(ask->user),
                          (casp_logon_format_e)scene->s->logon_format,
                          scene->s->default_domain, &key);
    if (claim != CASP_CLAIM_OK) {
        scene->own_found = CASP_FIND_NONE;
        v->detail = apr_psprintf(p, "the user's name cannot be looked up (%s)",
                                 casp_claim_name(claim));
        return;
    }
    scene->own_found = casp_org_find(org, p, scene->t, &key, deadline,
                                     &scene->own, &v->cache, &why);
    if (scene->own_found != CASP_FIND_OK) {
        scene->own = NULL;
        v->detail = why;
    }
}

/* X-AnchorMailbox as clients write it: an address, also behind "SMTP:".  The
 * forms of servers ("SID~...", "MBX:guid@domain") are none of a client's. */
static bool anchor_of_header(apr_pool_t *p, const apr_table_t *headers,
                             casp_user_key_t *key)
{
    const char *s = headers ? apr_table_get(headers, "X-AnchorMailbox") : NULL;
    if (s == NULL) {
        return false;
    }
    s += strspn(s, " \t");
    s += strncasecmp(s, "smtp:", 5) == 0 ? 5 : 0;
    apr_size_t len = strcspn(s, " \t");
    const char *at = memchr(s, '@', len);
    if (at == NULL || at == s || at + 1 == s + len || len > ANCHOR_MAX
        || strcspn(s, ":~;,<>\"\\/*()") < len
        || s[len + strspn(s + len, " \t")]) {
        return false;
    }
    key->kind = CASP_KEY_SMTP;
    key->value = apr_pstrmemdup(p, s, len);
    key->len = len;
    return true;
}

/*
 * The mailbox that a request names beside the user's own.  @a hint: it says
 * only where to go, so that a name that nobody has is passed over.
 */
static bool named_key(apr_pool_t *p, const casp_scene_t *scene,
                      casp_user_key_t *key, bool *hint)
{
    const casp_url_t *u = scene->url;
    const casp_ask_t *ask = scene->ask;
    memset(key, 0, sizeof(*key));
    *hint = u->protocol == CASP_PROTO_EWS || u->protocol == CASP_PROTO_MAPI
            || u->protocol == CASP_PROTO_RPC;
    if (u->protocol == CASP_PROTO_EWS) {
        if (!anchor_of_header(p, ask->headers, key) && ask->anchor != NULL) {
            key->kind = ask->anchor_kind;
            key->value = ask->anchor;
            key->len = ask->anchor_len;
        }
        return key->value != NULL;
    }
    key->kind = u->mailbox_kind;
    key->value = u->mailbox;
    key->len = u->mailbox ? strlen(u->mailbox) : 0;
    return u->mailbox != NULL;
}

/* The mailbox that decides: the request's where it names one, else the
 * user's. */
static void find_mailbox(apr_pool_t *p, casp_scene_t *scene, casp_org_t *org,
                         apr_time_t deadline, casp_verdict_t *v)
{
    casp_user_key_t key;
    bool hint;
    scene->named_found = CASP_FIND_OK;
    scene->mailbox = scene->own;
    if (scene->own == NULL || !named_key(p, scene, &key, &hint)) {
        return;
    }
    casp_cache_e how = CASP_CACHE_MISS;
    const char *why = NULL;
    scene->mailbox = NULL;
    scene->named_found = casp_org_find(org, p, scene->t, &key, deadline,
                                       &scene->mailbox, &how, &why);
    if (scene->named_found != CASP_FIND_OK) {
        scene->mailbox = NULL;
        v->detail = why;
    }
    if (scene->named_found == CASP_FIND_NONE && hint
        && (scene->own->flags & CASP_MB_MAILBOX)) {
        scene->named_found = CASP_FIND_OK;
        scene->mailbox = scene->own;
    }
    if (how == CASP_CACHE_MISS || how == CASP_CACHE_STALE) {
        v->cache = how; /* the worse of the two is what the log tells */
    }
}

static void find(apr_pool_t *p, casp_scene_t *scene, casp_org_t *org,
                 casp_verdict_t *v)
{
    apr_time_t start = apr_time_now();
    apr_time_t deadline = start + casp_org_patience(org);
    find_own(p, scene, org, deadline, v);
    find_mailbox(p, scene, org, deadline, v);
    v->lookup = apr_time_now() - start;
}

/* ------------------------------------------------------------------- reach */

static const char *copy(apr_pool_t *p, const char *text)
{
    return text ? apr_pstrdup(p, text) : NULL;
}

/* What the verdict tells about the mailbox, out of the topology. */
static void tell_place(apr_pool_t *p, const casp_scene_t *scene,
                       casp_verdict_t *v)
{
    const casp_home_t *home = &scene->home;
    v->mailbox = scene->mailbox;
    v->version = home->version;
    v->server = home->server ? copy(p, home->server->name) : NULL;
    v->site = home->site ? copy(p, home->site->name) : NULL;
    v->database = home->database ? copy(p, home->database->name) : NULL;
}

/* The topology's part of it, while the reference is held. */
static void look(apr_pool_t *p, casp_scene_t *scene, casp_org_t *org,
                 const char **site_why, casp_verdict_t *v)
{
    if (scene->t == NULL) {
        v->detail = casp_org_trouble(org, p);
        scene->own_found = CASP_FIND_UNAVAILABLE;
        return;
    }
    scene->front_site =
        casp_verdict_front_site(p, scene->s, scene->t,
                                scene->ask->local_address, site_why);
    v->front_site =
        scene->front_site ? copy(p, scene->front_site->name) : NULL;
    if (scene->ask->user == NULL) {
        return;
    }
    find(p, scene, org, v);
    if (scene->own != NULL) {
        v->own = scene->own;
        v->user = casp_identity_display(p, scene->own);
    }
    if (scene->mailbox != NULL) {
        casp_question_home(scene);
        tell_place(p, scene, v);
    }
}

void casp_verdict_reach(apr_pool_t *p, const casp_settings_t *s,
                        const casp_dir_settings_t *d, casp_org_t *org,
                        const casp_ask_t *ask, casp_verdict_t *v)
{
    casp_scene_t scene;
    casp_question_t q;
    const char *site_why = NULL;
    casp_url_t url = v->url;
    bool known = v->read == ask->target;
    memset(v, 0, sizeof(*v));
    memset(&scene, 0, sizeof(scene));
    if (known) {
        v->url = url;
    }
    else {
        read_target(p, ask, &v->url);
    }
    v->read = ask->target;
    v->user = ask->user;
    scene.s = s;
    scene.d = d;
    scene.ask = ask;
    scene.url = &v->url;
    casp_topology_t *t =
        casp_org_await(org, apr_time_now() + casp_org_patience(org));
    scene.t = t;
    look(p, &scene, org, &site_why, v);
    casp_question_pose(p, &scene, &q);
    if (t != NULL) {
        casp_topology_unref(t);
    }
    casp_decide(&q, &v->decision);
    if (!ask->on_paper) {
        casp_decide_wire(&v->decision);
    }
    if (strcmp(v->decision.reason, "front-site-unknown") == 0) {
        v->detail = site_why;
    }
    if (v->detail == NULL && wants_detail(v->decision.action)) {
        v->detail = text_of(v->decision.reason);
    }
}
