/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * topoindex.c: finding things in a snapshot of the organisation.
 *
 * Why: a request asks for servers, databases and domains by GUID and by name
 * while hundreds of others do the same; so every way of asking is a hash made
 * at build time and only read after.  This room must not allocate from the
 * snapshot's pool in a look-up, for readers share it without a lock.
 */

#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <apr_strings.h>

#include "topoindex.h"

/* Names longer than this are in no index; the longest real ones are
 * legacyExchangeDNs of a few hundred bytes. */
#define KEY_MAX 1024

/* In place of a thing whose name several have: asked by that name, the honest
 * answer is none. */
static const char ambiguous;

/* ----------------------------------------------------------------- keys */

void casp_topoindex_fold(char *text)
{
    for (; *text != '\0'; text++) {
        if (*text >= 'A' && *text <= 'Z') {
            *text = (char)(*text - 'A' + 'a');
        }
    }
}

static bool make_key(char *key, const char *name)
{
    if (!name || !*name || strlen(name) >= KEY_MAX) {
        return false;
    }
    memcpy(key, name, strlen(name) + 1);
    casp_topoindex_fold(key);
    return true;
}

static const void *find(apr_hash_t *hash, const char *name)
{
    char key[KEY_MAX];

    if (!make_key(key, name)) {
        return NULL;
    }
    const void *found = apr_hash_get(hash, key, APR_HASH_KEY_STRING);

    return found == &ambiguous ? NULL : found;
}

/* The first one stays.  Returns what was there. */
static const void *add(apr_pool_t *p, apr_hash_t *hash, const char *name,
                       const void *thing)
{
    char key[KEY_MAX];

    if (!make_key(key, name)) {
        return NULL;
    }
    const void *there = apr_hash_get(hash, key, APR_HASH_KEY_STRING);

    if (!there) {
        apr_hash_set(hash, apr_pstrdup(p, key), APR_HASH_KEY_STRING, thing);
    }
    return there;
}

/* Nobody stays where there are two. */
static void add_if_unique(apr_pool_t *p, apr_hash_t *hash, const char *name,
                          const void *thing)
{
    char key[KEY_MAX];

    if (add(p, hash, name, thing) && make_key(key, name)) {
        apr_hash_set(hash, apr_pstrdup(p, key), APR_HASH_KEY_STRING,
                     &ambiguous);
    }
}

static const void *add_id(apr_hash_t *hash, const casp_guid_t *id,
                          const void *thing)
{
    const void *there = apr_hash_get(hash, id->b, sizeof(id->b));

    if (!there) {
        apr_hash_set(hash, id->b, sizeof(id->b), thing);
    }
    return there;
}

/* -------------------------------------------------------------- building */

casp_topology_index_t *casp_topoindex_make(apr_pool_t *p)
{
    casp_topology_index_t *ix = apr_pcalloc(p, sizeof(*ix));

    ix->pool = p;
    ix->site_by_name = apr_hash_make(p);
    ix->server_by_id = apr_hash_make(p);
    ix->server_by_fqdn = apr_hash_make(p);
    ix->server_by_name = apr_hash_make(p);
    ix->server_by_legacy = apr_hash_make(p);
    ix->database_by_id = apr_hash_make(p);
    ix->database_by_dn = apr_hash_make(p);
    ix->database_by_name = apr_hash_make(p);
    ix->domain_by_netbios = apr_hash_make(p);
    ix->domain_by_dns = apr_hash_make(p);
    ix->domain_by_base = apr_hash_make(p);
    ix->subnet = apr_hash_make(p);
    ix->vdirs_by_site = apr_hash_make(p);
    ix->no_vdirs = apr_array_make(p, 0, sizeof(const casp_vdir_t *));
    return ix;
}

const casp_server_t *casp_topoindex_add_server(casp_topology_index_t *ix,
                                               const casp_server_t *s)
{
    const casp_server_t *same = add_id(ix->server_by_id, &s->id, s);
    const casp_server_t *fqdn = add(ix->pool, ix->server_by_fqdn, s->fqdn, s);
    const casp_server_t *legacy =
        add(ix->pool, ix->server_by_legacy, s->legacy_dn, s);

    add_if_unique(ix->pool, ix->server_by_name, s->name, s);
    return same ? same : fqdn ? fqdn : legacy;
}

const casp_database_t *casp_topoindex_add_database(casp_topology_index_t *ix,
                                                   const casp_database_t *d)
{
    apr_hash_set(ix->database_by_dn, d->dn, APR_HASH_KEY_STRING, d);
    add_if_unique(ix->pool, ix->database_by_name, d->name, d);
    return add_id(ix->database_by_id, &d->id, d);
}

/* Every request looks for the directories of one site or two; walking all of a
 * large organisation's for that would be most of what a decision costs. */
static void index_vdirs(casp_topology_index_t *ix, const casp_topology_t *t)
{
    for (int i = 0; i < t->vdirs->nelts; i++) {
        const casp_vdir_t *v = APR_ARRAY_IDX(t->vdirs, i, const casp_vdir_t *);
        const casp_site_t *const *key = &v->server->site;
        apr_array_header_t *list;

        if (!*key)
            continue;
        list = apr_hash_get(ix->vdirs_by_site, key, sizeof(*key));
        if (!list) {
            list = apr_array_make(ix->pool, 8, sizeof(v));
            apr_hash_set(ix->vdirs_by_site, key, sizeof(*key), list);
        }
        APR_ARRAY_PUSH(list, const casp_vdir_t *) = v;
    }
}

void casp_topoindex_finish(casp_topology_index_t *ix, const casp_topology_t *t)
{
    index_vdirs(ix, t);
    for (int i = 0; i < t->sites->nelts; i++) {
        const casp_site_t *s = APR_ARRAY_IDX(t->sites, i, const casp_site_t *);

        add_if_unique(ix->pool, ix->site_by_name, s->name, s);
    }
    for (int i = 0; i < t->domains->nelts; i++) {
        const casp_domain_t *d =
            APR_ARRAY_IDX(t->domains, i, const casp_domain_t *);

        add_if_unique(ix->pool, ix->domain_by_netbios, d->netbios, d);
        add_if_unique(ix->pool, ix->domain_by_dns, d->dns, d);
        apr_hash_set(ix->domain_by_base, d->base_normal, APR_HASH_KEY_STRING,
                     d);
    }
}

/* --------------------------------------------------------------- subnets */

/* A network: family (0: IPv4, 1: IPv6), prefix length, masked address. */
typedef struct {
    unsigned char family, bits, address[16];
} net_t;

static const int family_bits[2] = {32, 128};

static void mask(net_t *net, int bits)
{
    net->bits = (unsigned char)bits;
    for (int i = 0; i < 16; i++) {
        int left = bits - 8 * i;

        if (left < 8) {
            net->address[i] &=
                left <= 0 ? 0 : (unsigned char)(0xff << (8 - left));
        }
    }
}

static bool read_address(const char *text, net_t *net)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0,    0,
                                             0, 0, 0, 0, 0xff, 0xff};

    memset(net, 0, sizeof(*net));
    if (inet_pton(AF_INET, text, net->address) == 1) {
        return true;
    }
    net->family = 1;
    if (inet_pton(AF_INET6, text, net->address) != 1) {
        return false;
    }
    /* What a dual-stack socket calls an IPv4 peer. */
    if (!memcmp(net->address, mapped, sizeof(mapped))) {
        memmove(net->address, net->address + 12, 4);
        memset(net->address + 4, 0, 12);
        net->family = 0;
    }
    return true;
}

static bool read_net(const char *prefix, net_t *net)
{
    char text[64];
    const char *slash = strchr(prefix, '/');

    if (!slash || (apr_size_t)(slash - prefix) >= sizeof(text)
        || strlen(slash) < 2 || strlen(slash) > 4
        || slash[1 + strspn(slash + 1, "0123456789")] != '\0') {
        return false;
    }
    apr_cpystrn(text, prefix, (apr_size_t)(slash - prefix) + 1);
    int bits = atoi(slash + 1);

    if (!read_address(text, net)) {
        return false;
    }
    if (!net->family && strchr(text, ':')) {
        bits -= 96; /* ::ffff:10.0.0.0/104 */
    }
    if (bits < 0 || bits > family_bits[net->family]) {
        return false;
    }
    mask(net, bits);
    return true;
}

bool casp_topoindex_add_subnet(casp_topology_index_t *ix, const char *prefix,
                               const casp_site_t *site)
{
    net_t net;

    if (!read_net(prefix, &net)) {
        return false;
    }
    ix->has_prefix[net.family][net.bits] = 1;
    apr_hash_set(ix->subnet, apr_pmemdup(ix->pool, &net, sizeof(net)),
                 sizeof(net), site);
    return true;
}

const casp_site_t *casp_topology_site_of_address(const casp_topology_t *t,
                                                 const char *address)
{
    char text[64];
    net_t net;

    if (!address) {
        return NULL;
    }
    /* A link-local address carries its interface: "fe80::1%eth0". */
    apr_size_t len = strcspn(address, "%");

    if (len >= sizeof(text)) {
        return NULL;
    }
    apr_cpystrn(text, address, len + 1);
    if (!read_address(text, &net)) {
        return NULL;
    }
    for (int bits = family_bits[net.family]; bits >= 0; bits--) {
        mask(&net, bits);
        if (t->index->has_prefix[net.family][bits]) {
            const casp_site_t *site =
                apr_hash_get(t->index->subnet, &net, sizeof(net));

            if (site) {
                return site;
            }
        }
    }
    return NULL;
}

/* --------------------------------------------------------------- look-ups */

const casp_site_t *casp_topology_site(const casp_topology_t *t,
                                      const char *name)
{
    return find(t->index->site_by_name, name);
}

const apr_array_header_t *casp_topology_vdirs_of_site(const casp_topology_t *t,
                                                      const casp_site_t *site)
{
    const apr_array_header_t *list =
        site ? apr_hash_get(t->index->vdirs_by_site, &site, sizeof(site))
             : NULL;

    return list ? list : t->index->no_vdirs;
}

const casp_server_t *casp_topology_server(const casp_topology_t *t,
                                          const casp_guid_t *id)
{
    return apr_hash_get(t->index->server_by_id, id->b, sizeof(id->b));
}

const casp_server_t *
casp_topology_server_by_legacy_dn(const casp_topology_t *t,
                                  const char *legacy_dn)
{
    return find(t->index->server_by_legacy, legacy_dn);
}

const casp_server_t *casp_topology_server_by_host(const casp_topology_t *t,
                                                  const char *host)
{
    if (!host) {
        return NULL;
    }
    const casp_server_t *s = find(t->index->server_by_fqdn, host);

    return s || strchr(host, '.') ? s : find(t->index->server_by_name, host);
}

const casp_database_t *casp_topology_database(const casp_topology_t *t,
                                              const casp_guid_t *id)
{
    return apr_hash_get(t->index->database_by_id, id->b, sizeof(id->b));
}

/* A normal form that lives as long as a look-up; NULL: no memory. */
static char *normal_form(const char *dn)
{
    char *normal = dn ? malloc(3 * strlen(dn) + 1) : NULL;

    if (normal) {
        casp_dn_normal_into(normal, dn);
    }
    return normal;
}

const casp_database_t *casp_topology_database_by_dn(const casp_topology_t *t,
                                                    const char *dn)
{
    char *normal = normal_form(dn);
    const casp_database_t *d = normal
                                   ? apr_hash_get(t->index->database_by_dn,
                                                  normal, APR_HASH_KEY_STRING)
                                   : NULL;

    free(normal);
    return d;
}

const casp_database_t *casp_topology_database_by_name(const casp_topology_t *t,
                                                      const char *name)
{
    return find(t->index->database_by_name, name);
}

const casp_domain_t *casp_topology_domain_by_netbios(const casp_topology_t *t,
                                                     const char *netbios)
{
    return find(t->index->domain_by_netbios, netbios);
}

const casp_domain_t *casp_topology_domain_by_dns(const casp_topology_t *t,
                                                 const char *dns)
{
    return find(t->index->domain_by_dns, dns);
}

const casp_domain_t *casp_topology_domain_of_dn(const casp_topology_t *t,
                                                const char *dn)
{
    char *normal = normal_form(dn);
    const casp_domain_t *d = NULL;

    for (const char *at = normal; at && !d; at = casp_dn_parent(at)) {
        d = apr_hash_get(t->index->domain_by_base, at, APR_HASH_KEY_STRING);
    }
    free(normal);
    return d;
}
