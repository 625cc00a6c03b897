/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * candidates.c: who of the organisation could serve, and which of their URLs
 * people are sent to.
 *
 * Must not: decide, or know a request.
 */

#include "candidates.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <apr_lib.h>

bool casp_candidates_old_directory(const casp_vdir_t *v)
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

/* From 2013 on every server has the front-end's role or stands for it. */
static bool serves(const casp_server_t *server, casp_protocol_e protocol,
                   casp_version_e version, const casp_site_t *site)
{
    const int roles = protocol == CASP_PROTO_SMTP
                          ? CASP_ROLE_HUB
                          : CASP_ROLE_CAS | CASP_ROLE_CAFE;
    return server != NULL && server->version == version && server->site != NULL
           && server->site == site
           && (version >= CASP_V2013 || (server->roles & roles));
}

apr_array_header_t *casp_candidates(apr_pool_t *p, const casp_topology_t *t,
                                    casp_protocol_e protocol,
                                    casp_version_e version,
                                    const casp_site_t *site)
{
    apr_array_header_t *list = apr_array_make(p, 4, sizeof(casp_candidate_t));
    const apr_array_header_t *vdirs = casp_topology_vdirs_of_site(t, site);
    for (int i = 0; i < vdirs->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(vdirs, i, const casp_vdir_t *);
        if (v->protocol == protocol
            && serves(v->server, protocol, version, site)
            && !(protocol == CASP_PROTO_OWA
                 && casp_candidates_old_directory(v))) {
            casp_candidate_t c = {v->server, v, 0};
            APR_ARRAY_PUSH(list, casp_candidate_t) = c;
        }
    }
    bool none = list->nelts == 0;
    for (int i = 0; none && i < t->servers->nelts; i++) {
        const casp_server_t *s =
            APR_ARRAY_IDX(t->servers, i, const casp_server_t *);
        if (serves(s, protocol, version, site)) {
            casp_candidate_t c = {s, NULL, 0};
            APR_ARRAY_PUSH(list, casp_candidate_t) = c;
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

const casp_vdir_t *casp_candidates_target(const apr_array_header_t *list,
                                          casp_by_e by, bool internal)
{
    const casp_vdir_t *best = NULL;
    for (int i = 0; i < list->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(list, i, casp_candidate_t).vdir;
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
    const casp_candidate_t *x = a, *y = b;
    if (x->weight != y->weight) {
        return x->weight > y->weight ? -1 : 1;
    }
    return strcasecmp(x->server->fqdn, y->server->fqdn);
}

void casp_candidates_sort(apr_array_header_t *list, const casp_guid_t *user)
{
    casp_candidate_t *c = (casp_candidate_t *)list->elts;
    for (int i = 0; i < list->nelts; i++) {
        c[i].weight = draw(user, c[i].server->fqdn ? c[i].server->fqdn : "");
    }
    qsort(c, (size_t)list->nelts, sizeof(*c), by_weight);
}
