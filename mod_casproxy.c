/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * mod_casproxy - the front door of Microsoft Exchange, for Apache httpd.
 *
 * This file is the whole story on one screen: which hooks there are, in what
 * order, and why.  A request travels one way:
 *
 *   translate_name   is this an Exchange path of a vhost with CasProxy on?
 *   access_checker   what needs no user: the URL's grammar, TLS
 *   check_authn      who asks, and so: where does the mailbox live, and what
 *                    is to be done - so that Require sees version and site
 *   fixups           the decision becomes mod_proxy's request, or ours
 *   handler          our own answers; or mod_proxy, with the next candidate
 *                    where one does not answer
 *   log_transaction  one line, and the counters
 *
 * Initial requests only: sub-requests and internal redirects inherit.
 */

#define CASP_MAIN_FILE
#include "skin.h"

#include <apr_strings.h>

#include <mod_auth.h>

/* ------------------------------------------------------------ the request */

/* <Location> and <If> are visible here, and gone in map_to_storage: httpd
 * resets per_dir_config in between.  So this is where a request is claimed. */
static int translate_name(request_rec *r)
{
    if (!casp_request_open(r) || !casp_request_of(r)->claimed)
        return DECLINED;
    /* Nothing below may take it for a file: no extension, no path. */
    r->filename = apr_pstrdup(r->pool, "casproxy:");
    return OK;
}

static casp_request_t *claimed(request_rec *r)
{
    casp_request_t *rq = ap_is_initial_req(r) ? casp_request_of(r) : NULL;

    return rq && rq->claimed ? rq : NULL;
}

/* Taken, or mod_dir would answer /owa with a 301 where a folder of that name
 * exists, and a directory walk would look for .htaccess files. */
static int map_to_storage(request_rec *r)
{
    return claimed(r) ? OK : DECLINED;
}

static int access_checker(request_rec *r)
{
    casp_request_t *rq = claimed(r);

    if (!rq || !casp_request_gate(r, rq))
        return DECLINED;
    return casp_answer_send(r, rq);
}

/* Without this, check_authn is skipped where nothing says Require. */
static int force_authn(request_rec *r)
{
    casp_request_t *rq = claimed(r);

    return rq && !(rq->dir->auth & CASP_SCHEME_NONE) ? OK : DECLINED;
}

static int check_authn(request_rec *r)
{
    casp_request_t *rq = claimed(r);
    int rc;

    if (!rq || (rq->dir->auth & CASP_SCHEME_NONE))
        return DECLINED; /* another module's user: see fixups */
    rc = casp_request_identify(r, rq);
    if (rc == OK)
        casp_request_decide(r, rq);
    return rc;
}

static int fixups(request_rec *r)
{
    casp_request_t *rq = ap_is_initial_req(r) ? casp_request_of(r) : NULL;

    if (!rq)
        return DECLINED;
    if (!rq->claimed) {
        casp_request_shadow(r, rq);
        return DECLINED;
    }
    /* "Satisfy Any" and the like skip authentication; we do not */
    if (!rq->display && !(rq->dir->auth & CASP_SCHEME_NONE)) {
        int rc = casp_request_identify(r, rq);
        if (rc != OK)
            return rc;
    }
    casp_request_decide(r, rq);
    if (casp_action_is_proxy(rq->verdict.decision.action))
        casp_backend_prepare(r, rq);
    else
        r->handler = "casproxy-answer";
    return OK;
}

static int handler(request_rec *r)
{
    casp_request_t *rq = claimed(r);

    if (!rq || !rq->decided || rq->trying)
        return DECLINED;
    if (casp_action_is_proxy(rq->verdict.decision.action))
        return casp_backend_handler(r, rq);
    return casp_answer_send(r, rq);
}

/* An authorization that fails after our logon asks for other credentials, and
 * httpd would want an AuthType to say how.  Who came by form, or with a ticket,
 * has nobody to ask: they are known, and not permitted. */
static void insert_error_filter(request_rec *r)
{
    casp_request_t *rq = casp_request_of(r);

    if (!rq || !rq->claimed || r->status != HTTP_UNAUTHORIZED || rq->answered)
        return;
    if (rq->ask.by == CASP_BY_FORMS || rq->ask.by == CASP_BY_NTLM
        || rq->ask.by == CASP_BY_NEGOTIATE)
        r->status = HTTP_FORBIDDEN;
    else if ((rq->schemes & CASP_SCHEME_BASIC)
             && !apr_table_get(r->err_headers_out, "WWW-Authenticate"))
        apr_table_setn(
            r->err_headers_out, "WWW-Authenticate",
            apr_psprintf(r->pool, "Basic realm=\"%s\", charset=\"UTF-8\"",
                         ap_escape_quotes(r->pool, r->hostname ? r->hostname
                                                               : "Exchange")));
}

static int log_transaction(request_rec *r)
{
    casp_request_t *rq = casp_request_of(r);

    if (rq)
        casp_request_log(r, rq);
    return DECLINED;
}

/* ---------------------------------------------------------- authorization */

/* Is one of the words after "Require casproxy-..." this one? */
static authz_status word_is(request_rec *r, const char *line, const char *word)
{
    if (!word || !*word)
        return AUTHZ_DENIED;
    while (*line) {
        const char *w = ap_getword_conf(r->pool, &line);
        if (!ap_cstr_casecmp(w, word))
            return AUTHZ_GRANTED;
    }
    return AUTHZ_DENIED;
}

static casp_request_t *decided(request_rec *r)
{
    casp_request_t *rq = claimed(r);

    if (!rq || (!r->user && !rq->decided))
        return NULL;
    casp_request_decide(r, rq); /* another module's user comes here first */
    return rq;
}

#define REQUIRE_CHECK(name, word)                                    \
    static authz_status name(request_rec *r, const char *line,       \
                             const void *parsed)                     \
    {                                                                \
        casp_request_t *rq = decided(r);                             \
                                                                     \
        (void)parsed;                                                \
        return rq ? word_is(r, line, (word))                         \
                  : (r->user ? AUTHZ_DENIED : AUTHZ_DENIED_NO_USER); \
    }
REQUIRE_CHECK(require_version, casp_version_name(rq->verdict.version))
REQUIRE_CHECK(require_site, rq->verdict.site)
REQUIRE_CHECK(require_action, casp_action_name(rq->verdict.decision.action))

static const authz_provider authz_version = {require_version, NULL};
static const authz_provider authz_site = {require_site, NULL};
static const authz_provider authz_action = {require_action, NULL};

/* --------------------------------------------------------------- start-up */

/* mod_proxy's symbols are looked up, not linked: "casproxy.load" sorts before
 * "proxy.load", and a module with undefined symbols would not load at all. */
static int pre_config(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp)
{
    (void)plog;
    (void)ptemp;
    return casp_runtime_pre_config(p) == OK ? casp_backend_attach(p)
                                            : HTTP_INTERNAL_SERVER_ERROR;
}

static void register_hooks(apr_pool_t *p)
{
    static const char *const after_rewrite[] = {"mod_rewrite.c", NULL};
    static const char *const before_alias[] = {"mod_proxy.c", "mod_alias.c",
                                               "mod_userdir.c",
                                               "mod_vhost_alias.c", NULL};
    /* A fixup that runs after mod_proxy's would have its URL sent unescaped
     * and without the query string. */
    static const char *const before_proxy[] = {"mod_proxy.c", NULL};
    static const char *const before_dir[] = {"mod_dir.c", "mod_proxy.c", NULL};

    ap_hook_pre_config(pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    /* last: the MPM settles its numbers in this hook */
    ap_hook_check_config(casp_config_check, NULL, NULL, APR_HOOK_LAST);
    ap_hook_test_config(casp_config_dump, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_post_config(casp_runtime_post_config, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_child_init(casp_runtime_child_init, NULL, NULL, APR_HOOK_MIDDLE);

    ap_hook_translate_name(translate_name, after_rewrite, before_alias,
                           APR_HOOK_FIRST);
    ap_hook_map_to_storage(map_to_storage, NULL, NULL, APR_HOOK_REALLY_FIRST);
    ap_hook_check_access(access_checker, NULL, NULL, APR_HOOK_LAST,
                         AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_force_authn(force_authn, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_check_authn(check_authn, NULL, NULL, APR_HOOK_FIRST,
                        AP_AUTH_INTERNAL_PER_CONF);
    ap_hook_fixups(fixups, NULL, before_dir, APR_HOOK_FIRST);
    ap_hook_handler(handler, NULL, before_proxy, APR_HOOK_REALLY_FIRST);
    ap_hook_insert_error_filter(insert_error_filter, NULL, NULL,
                                APR_HOOK_MIDDLE);
    ap_hook_log_transaction(log_transaction, NULL, NULL, APR_HOOK_FIRST);
    casp_backend_register();
    casp_peek_register();
    casp_mailhandler_register(p);
    casp_status_register();

    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "casproxy-version",
                              AUTHZ_PROVIDER_VERSION, &authz_version,
                              AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "casproxy-site",
                              AUTHZ_PROVIDER_VERSION, &authz_site,
                              AP_AUTH_INTERNAL_PER_CONF);
    ap_register_auth_provider(p, AUTHZ_PROVIDER_GROUP, "casproxy-action",
                              AUTHZ_PROVIDER_VERSION, &authz_action,
                              AP_AUTH_INTERNAL_PER_CONF);
}

AP_DECLARE_MODULE(casproxy) = {STANDARD20_MODULE_STUFF,
                               casp_config_create_dir,
                               casp_config_merge_dir,
                               casp_config_create_server,
                               casp_config_merge_server,
                               casp_commands,
                               register_hooks
#if defined(AP_MODULE_FLAG_NONE)
                               ,
                               AP_MODULE_FLAG_ALWAYS_MERGE
#endif
};
