/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * status.c - the handler "casproxy-status": what this front says of itself.
 *
 *   <Location /casproxy>
 *       SetHandler casproxy-status
 *       Require all granted
 *   </Location>
 *
 * /casproxy/health is for balancers: 200 while this front can decide, 503
 * with Retry-After while it cannot.  It asks nobody: the answer is what this
 * process knows, however often a balancer looks.
 *
 * Who may ask is for Require to say.  Strangers may, usually, so an answer
 * holds no name of the inside and no message of a directory; those go to the
 * log.
 */

#include "skin.h"

#include <string.h>

#include <apr_strings.h>

#include <http_main.h>

#define HANDLER "casproxy-status"
/* What was unknown is asked for every other second (org.c). */
#define RETRY_AFTER "5"
/* A child that has just begun is about to know: a balancer must not take its
 * first moment for the front's end. */
#define PATIENCE apr_time_from_sec(2)

typedef enum {
    HEALTHY = 0,
    UNKNOWN, /* nothing was ever read */
    OUTDATED, /* what was read once is too old to go by */
    ABSENT /* nothing in this server is ours */
} health_e;

static const char *const health_words[] = {
    "healthy\n", "not healthy: the organisation is not known yet\n",
    "not healthy: the directory has not answered for too long\n",
    "CasProxy is on in no virtual host of this server\n"};

/* An organisation was confirmed when its directory last answered.  It is due
 * again after CasProxyTopologyRefresh, and then as good as any other last
 * answer, for as long as CasProxyMailboxCache stale= says. */
static health_e health_of(const casp_vhost_t *v, apr_time_t deadline)
{
    casp_topology_t *t = casp_org_await(v->org, deadline);
    apr_interval_time_t most =
        apr_time_from_sec((apr_time_t)v->settings->topology_refresh
                          + v->settings->mailbox_stale);
    health_e health = HEALTHY;

    if (!t)
        return UNKNOWN;
    /* an export does not grow old: somebody wrote it */
    if (!casp_settings_ldif(v->settings) && apr_time_now() - t->read_at > most)
        health = OUTDATED;
    casp_topology_unref(t);
    return health;
}

/* Of this virtual host; of all where it is none of ours, as one that listens
 * on an inner port for balancers alone. */
static health_e health(request_rec *r, const casp_vhost_t **sick)
{
    const casp_vhost_t *own = casp_vhost_of(r->server);
    health_e worst = ABSENT;
    apr_time_t deadline = apr_time_now() + PATIENCE; /* for all of them */

    for (server_rec *s = ap_server_conf; s; s = s->next) {
        const casp_vhost_t *v = own->org ? own : casp_vhost_of(s);
        health_e found;

        if (!v->org)
            continue;
        found = health_of(v, deadline);
        if (worst == ABSENT || found > worst) {
            worst = found;
            *sick = v;
        }
        if (own->org)
            break;
    }
    return worst;
}

/* Text that no cache may keep. */
static int answer(request_rec *r, int status, const char *text)
{
    r->status = status;
    apr_table_setn(r->headers_out, "Cache-Control", "no-store");
    ap_set_content_type(r, "text/plain; charset=utf-8");
    ap_set_content_length(r, (apr_off_t)strlen(text));
    if (!r->header_only)
        ap_rputs(text, r);
    return OK;
}

static int answer_health(request_rec *r)
{
    const casp_vhost_t *sick = NULL;
    health_e found = health(r, &sick);
    const char *why;

    if (found == HEALTHY)
        return answer(r, HTTP_OK, health_words[found]);
    if (found == ABSENT)
        return answer(r, HTTP_NOT_FOUND, health_words[found]);
    why = casp_org_trouble(sick->org, r->pool);
    ap_log_rerror(
        APLOG_MARK, APLOG_INFO, 0, r,
        CASPLOGNO(0821) "a balancer is told that this front is not healthy: "
                        "%s, %s: %s",
                  casp_config_name(r->pool, sick->server),
                  casp_org_name(sick->org),
                  why ? why
                      : (found == UNKNOWN ? "it was not read yet"
                                          : "what is known of it is too old"));
    apr_table_setn(r->headers_out, "Retry-After", RETRY_AFTER);
    return answer(r, HTTP_SERVICE_UNAVAILABLE, health_words[found]);
}

/* Where the <Location> stands is the administrator's to say, so that a page
 * is known by how its path ends. */
static bool is_page(const request_rec *r, const char *name)
{
    const char *last = r->uri ? strrchr(r->uri, '/') : NULL;

    return last && !strcmp(last + 1, name);
}

static int handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, HANDLER))
        return DECLINED;
    if (r->method_number != M_GET) {
        ap_allow_standard_methods(r, REPLACE_ALLOW, M_GET, -1);
        return HTTP_METHOD_NOT_ALLOWED;
    }
    if (is_page(r, "health"))
        return answer_health(r);
    /* further pages stand here */
    return answer(r, HTTP_NOT_FOUND,
                  "There is no such page; /health is for balancers.\n");
}

void casp_status_register(void)
{
    ap_hook_handler(handler, NULL, NULL, APR_HOOK_MIDDLE);
}
