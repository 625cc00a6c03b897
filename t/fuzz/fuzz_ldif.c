/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * fuzz_ldif.c: an export made of anything, read and built into a snapshot,
 * then asked for what it holds.
 *
 * Why: an export comes from another machine by hand, and the state file from
 * a folder that others may be able to write.
 */

#include <stdint.h>
#include <stdlib.h>

#include <apr_general.h>
#include <apr_pools.h>

#include "ldif.h"
#include "topology.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was built must be found again, and every URL must pass again. */
static void ask(apr_pool_t *p, const casp_topology_t *t)
{
    for (int i = 0; i < t->databases->nelts; i++) {
        const casp_database_t *d =
            APR_ARRAY_IDX(t->databases, i, const casp_database_t *);

        if (!casp_topology_database_by_dn(t, d->dn)
            || !casp_topology_database(t, &d->id)) {
            abort();
        }
        (void)casp_topology_database_by_name(t, d->name);
    }
    for (int i = 0; i < t->servers->nelts; i++) {
        const casp_server_t *s =
            APR_ARRAY_IDX(t->servers, i, const casp_server_t *);

        if (!casp_topology_server(t, &s->id)
            || !casp_topology_server_by_host(t, s->fqdn)) {
            abort();
        }
    }
    for (int i = 0; i < t->vdirs->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(t->vdirs, i, const casp_vdir_t *);

        if ((v->internal_url && !casp_url_check(p, v->internal_url))
            || (v->external_url && !casp_url_check(p, v->external_url))) {
            abort();
        }
    }
    (void)casp_topology_site_of_address(t, "10.1.2.3");
    (void)casp_topology_site_of_address(t, "2001:db8::1");
    (void)casp_topology_domain_of_dn(t, "CN=x,DC=contoso,DC=test");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;

    if (!ready) {
        apr_initialize();
        ready = true;
    }
    apr_pool_t *p;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return 0;
    }
    apr_array_header_t *entries;
    apr_array_header_t *problems = apr_array_make(p, 1, sizeof(char *));

    casp_ldif_parse(p, (const char *)data, size, &entries, problems);
    casp_topology_t *t = casp_topology_build(entries, "fuzz", NULL, 0);

    if (t) {
        ask(p, t);
        casp_topology_unref(t);
    }
    apr_pool_destroy(p);
    return 0;
}
