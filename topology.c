/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * topology.c: the organisation, made of directory entries in any order.
 *
 * Why: every decision asks where a mailbox lives and who may serve it, and
 * must get its answer without a lock, a directory or a doubt.  So everything
 * is resolved here, once, in the background, into a snapshot that never
 * changes.  This room must not refuse an organisation because a part of it is
 * inconsistent, for real ones are, and must not guess in silence: what it
 * leaves out it tells.  It must not ask a directory.
 *
 * The order of work follows the references: sites, then servers that name
 * sites, then databases and virtual directories that name servers.
 */

#include <stdlib.h>
#include <string.h>

#include <apr_atomic.h>
#include <apr_cstr.h>
#include <apr_hash.h>
#include <apr_strings.h>

#include "topology.h"
#include "topoindex.h"
#include "topokind.h"

#define PROBLEMS_MAX 1000
/* How far above an object its server may stand. */
#define ANCESTORS_MAX 8
/* Why crossRefs are asked for this: it tells a domain from the rest. */
#define CROSSREF_IS_DOMAIN 2

/* -------------------------------------------------------------- builder */

typedef struct {
    const char *name;
    const casp_site_t *site;
} array_t;

typedef struct {
    casp_database_t *database;
    const casp_server_t *server;
    int64_t preference;
} copy_t;

typedef struct {
    const casp_entry_t *entry;
    casp_topokind_e kind;
    casp_protocol_e protocol; /* of a virtual directory */
} item_t;

typedef struct {
    casp_topology_t *t;
    casp_topology_index_t *ix;
    apr_pool_t *p; /* the snapshot's */
    apr_pool_t *tmp; /* gone after the build, with another allocator */
    apr_array_header_t *items[CASP_KIND_COUNT]; /* of item_t */
    apr_hash_t *site_by_dn, *server_by_dn; /* normal forms */
    apr_hash_t *array_by_legacy;
    apr_hash_t *oab_by_dn; /* normal forms to casp_guid_t */
    const casp_guid_t *default_oab;
    apr_hash_t *told; /* problems, once each */
} builder_t;

static const char *lower_text(apr_pool_t *p, const char *text)
{
    char *out = apr_pstrdup(p, text);

    casp_topoindex_fold(out);
    return out;
}

static const char *keep(builder_t *b, const char *text)
{
    return text ? apr_pstrdup(b->p, text) : NULL;
}

static const char *keep_normal(builder_t *b, const char *dn)
{
    return apr_pstrdup(b->p, casp_dn_normal(b->tmp, dn));
}

static void tell(builder_t *b, const casp_entry_t *e, const char *text)
{
    apr_array_header_t *list = b->t->problems;
    const char *key = apr_pstrcat(b->tmp, e->dn, "\n", text, NULL);

    if (list->nelts >= PROBLEMS_MAX
        || apr_hash_get(b->told, key, APR_HASH_KEY_STRING)) {
        return;
    }
    casp_problem_t *problem = apr_palloc(b->p, sizeof(*problem));
    bool last = list->nelts == PROBLEMS_MAX - 1;

    problem->dn = apr_pstrdup(b->p, last ? "" : e->dn);
    problem->text =
        apr_pstrdup(b->p, last ? "more problems are not told; mend these first"
                               : text);
    apr_hash_set(b->told, key, APR_HASH_KEY_STRING, "");
    APR_ARRAY_PUSH(list, const casp_problem_t *) = problem;
}

/* The name of an object, for people and for look-ups. */
static const char *name_of(builder_t *b, const casp_entry_t *e)
{
    const char *cn = casp_entry_str(e, "cn");

    return cn ? apr_pstrdup(b->p, cn) : casp_dn_leaf(b->p, e->dn);
}

/* Sort the entries by what they are; users and the rest are passed over. */
static void sort_out(builder_t *b, const casp_entry_t *e)
{
    casp_protocol_e protocol;
    casp_topokind_e kind = casp_topokind_of(e, &protocol);

    if (kind != CASP_KIND_NONE) {
        item_t *item = apr_array_push(b->items[kind]);

        item->entry = e;
        item->kind = kind;
        item->protocol = protocol;
    }
}

typedef void make_fn(builder_t *b, const item_t *item);

static void each(builder_t *b, casp_topokind_e kind, make_fn *make)
{
    const item_t *items = (const item_t *)b->items[kind]->elts;

    for (int i = 0; i < b->items[kind]->nelts; i++) {
        make(b, &items[i]);
    }
}

/* ---------------------------------------------------- sites and subnets */

static casp_site_t *add_site(builder_t *b, const char *name, const char *dn,
                             casp_guid_t id)
{
    casp_site_t *site = apr_palloc(b->p, sizeof(*site));

    site->name = name;
    site->dn = dn;
    site->id = id;
    APR_ARRAY_PUSH(b->t->sites, const casp_site_t *) = site;
    apr_hash_set(b->site_by_dn, site->dn, APR_HASH_KEY_STRING, site);
    return site;
}

static void make_site(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    add_site(b, name_of(b, e), keep_normal(b, e->dn), casp_entry_guid(e));
}

/* The site an attribute names.  One that is not among the entries is taken
 * from its name where it looks like a site: an export without CN=Sites still
 * tells which servers belong together. */
static const casp_site_t *site_named(builder_t *b, const casp_entry_t *e,
                                     const char *attr)
{
    const char *dn = casp_entry_str(e, attr);

    if (!dn) {
        return NULL;
    }
    const char *normal = casp_dn_normal(b->tmp, dn);
    const casp_site_t *site =
        apr_hash_get(b->site_by_dn, normal, APR_HASH_KEY_STRING);

    if (site) {
        return site;
    }
    const char *parent = casp_dn_parent(normal);
    bool plausible = parent && !strncmp(parent, "cn=sites,", 9);

    tell(b, e,
         apr_psprintf(b->tmp, "%s names a site that was not read (\"%s\")%s",
                      attr, dn,
                      plausible ? "; it is taken from that name: export "
                                  "CN=Sites too"
                                : ""));
    return plausible
               ? add_site(b, casp_dn_leaf(b->p, dn), apr_pstrdup(b->p, normal),
                          casp_guid_of_text(normal))
               : NULL;
}

static void make_subnet(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    const casp_site_t *site = site_named(b, e, "siteObject");

    if (site && !casp_topoindex_add_subnet(b->ix, name_of(b, e), site)) {
        tell(b, e,
             "a subnet whose name is no address with a prefix length, "
             "like 10.1.0.0/16");
    }
}

/* -------------------------------------------------------------- domains */

/* contoso.test of DC=contoso,DC=test. */
static const char *dns_of_dn(builder_t *b, const char *dn)
{
    apr_array_header_t *labels = apr_array_make(b->tmp, 4, sizeof(char *));

    for (const char *at = dn; at; at = casp_dn_parent(at)) {
        if (!apr_cstr_casecmpn(at, "dc=", 3)) {
            APR_ARRAY_PUSH(labels, const char *) = casp_dn_leaf(b->tmp, at);
        }
    }
    return apr_array_pstrcat(b->p, labels, '.');
}

static void make_domain(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    const char *netbios = casp_entry_str(e, "nETBIOSName");
    const char *dns = casp_entry_str(e, "dnsRoot");
    const char *base = casp_entry_str(e, "nCName");

    if (!netbios
        && !(casp_entry_int(e, "systemFlags", 0) & CROSSREF_IS_DOMAIN)) {
        return; /* schema, configuration, DNS zones, other forests */
    }
    if (!base) {
        tell(b, e,
             "a domain's crossRef without nCName; its users are not "
             "found by DOMAIN\\user");
        return;
    }
    if (!netbios) {
        tell(b, e,
             "a domain's crossRef without nETBIOSName; its users are "
             "not found by DOMAIN\\user");
    }
    if (!dns) {
        tell(b, e,
             "a domain's crossRef without dnsRoot; the name is made "
             "of nCName");
    }
    casp_domain_t *domain = apr_palloc(b->p, sizeof(*domain));

    domain->netbios = keep(b, netbios ? netbios : "");
    domain->base = keep(b, base);
    domain->base_normal = keep_normal(b, base);
    domain->dns = dns ? keep(b, dns) : dns_of_dn(b, base);
    APR_ARRAY_PUSH(b->t->domains, const casp_domain_t *) = domain;
}

static void make_org(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    if (!b->t->org) {
        b->t->org = name_of(b, e);
    }
    else {
        tell(b, e,
             apr_psprintf(b->tmp,
                          "a second Exchange organisation; \"%s\" was "
                          "read first and gives its name",
                          b->t->org));
    }
}

/* -------------------------------------------------------------- servers */

/* A host name on its own, in the one spelling; NULL where it is none. */
static const char *host_name(builder_t *b, const char *host)
{
    if (!host || strpbrk(host, ":/[")) {
        return NULL;
    }
    const char *url =
        casp_url_check(b->tmp, apr_pstrcat(b->tmp, "http://", host, NULL));

    return url ? casp_url_host(b->p, url) : NULL;
}

static const char *network_name(const casp_entry_t *e)
{
    static const char prefix[] = "ncacn_ip_tcp:";
    const casp_attr_t *a = casp_entry_attr(e, "networkAddress");

    for (int i = 0; a && i < a->nvalues; i++) {
        const casp_value_t *v = &a->values[i];

        if (!apr_cstr_casecmpn(v->data, prefix, sizeof(prefix) - 1)
            && strlen(v->data) == v->len) {
            return v->data + sizeof(prefix) - 1;
        }
    }
    return NULL;
}

static const char *fqdn_of(builder_t *b, const casp_entry_t *e,
                           const char *name)
{
    const char *text = network_name(e);
    const char *fqdn = host_name(b, text);

    if (fqdn) {
        return fqdn;
    }
    fqdn = host_name(b, name);
    tell(b, e,
         apr_psprintf(b->tmp,
                      "a server %s in networkAddress (ncacn_ip_tcp); "
                      "%s",
                      text ? "with an impossible name" : "without a name",
                      fqdn ? "its short name is used" : "it is left out"));
    return fqdn;
}

static int roles_of(const casp_entry_t *e, casp_version_e version)
{
    int64_t roles = casp_entry_int(e, "msExchCurrentServerRoles", -1);

    if (roles >= 0) {
        return (int)(roles & 0x7fffffff);
    }
    /* Before 2007 a server is a back end, or a front end without mailboxes;
     * serverRole says 1 of the latter. */
    if (version == CASP_V2000 || version == CASP_V2003) {
        return casp_entry_int(e, "serverRole", 0) == 1 ? 0 : CASP_ROLE_MAILBOX;
    }
    return 0;
}

static void check_server(builder_t *b, const casp_entry_t *e,
                         const casp_server_t *s)
{
    if (s->version == CASP_V_NONE) {
        const char *serial = casp_entry_str(e, "serialNumber");

        tell(b, e,
             apr_psprintf(b->tmp,
                          "a server of a version nobody knows: serialNumber "
                          "\"%s\", versionNumber %" APR_INT64_T_FMT
                          "; its mailboxes cannot be served",
                          serial ? serial : "",
                          (apr_int64_t)casp_entry_int(e, "versionNumber", 0)));
    }
    if (s->version < CASP_V2007) {
        return;
    }
    if (!s->site && !(s->roles & CASP_ROLE_EDGE)) {
        tell(b, e,
             "a server without a site (msExchServerSite); it serves "
             "nobody until it has one");
    }
    if (!s->roles) {
        tell(b, e,
             "a server without roles (msExchCurrentServerRoles); its "
             "installation was not finished");
    }
}

static void make_server(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    const char *name = name_of(b, e);
    const char *fqdn = fqdn_of(b, e, name);

    if (!fqdn) {
        return;
    }
    casp_server_t *s = apr_pcalloc(b->p, sizeof(*s));

    s->name = name;
    s->fqdn = fqdn;
    s->dn = keep_normal(b, e->dn);
    s->legacy_dn = keep(b, casp_entry_str(e, "legacyExchangeDN"));
    s->id = casp_entry_guid(e);
    s->version = casp_version_of(casp_entry_str(e, "serialNumber"),
                                 casp_entry_int(e, "versionNumber", 0),
                                 &s->major, &s->minor, &s->build);
    s->roles = roles_of(e, s->version);
    s->site = site_named(b, e, "msExchServerSite");
    check_server(b, e, s);
    apr_hash_set(b->server_by_dn, s->dn, APR_HASH_KEY_STRING, s);
    APR_ARRAY_PUSH(b->t->servers, const casp_server_t *) = s;

    const casp_server_t *same = casp_topoindex_add_server(b->ix, s);

    if (same) {
        tell(b, e,
             apr_psprintf(b->tmp,
                          "a server with the FQDN, the legacyExchangeDN "
                          "or the objectGUID of another (\"%s\"); the "
                          "other one is found by it",
                          same->dn));
    }
}

static void make_array(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    const char *legacy = casp_entry_str(e, "legacyExchangeDN");
    array_t *array = apr_palloc(b->p, sizeof(*array));

    array->name = name_of(b, e);
    array->site = site_named(b, e, "msExchServerSite");
    if (!array->site) {
        tell(b, e,
             "a client access array without a site "
             "(msExchServerSite); where it stands is not known");
    }
    if (legacy) {
        apr_hash_set(b->array_by_legacy, lower_text(b->tmp, legacy),
                     APR_HASH_KEY_STRING, array);
    }
    else {
        tell(b, e,
             "a client access array without legacyExchangeDN; no "
             "database can name it");
    }
}

/* The server that an object belongs to by its place in the tree. */
static const casp_server_t *server_above(builder_t *b, const char *normal)
{
    const char *at = normal;

    for (int i = 0; i < ANCESTORS_MAX && at; i++) {
        const casp_server_t *s =
            apr_hash_get(b->server_by_dn, at, APR_HASH_KEY_STRING);

        if (s) {
            return s;
        }
        at = casp_dn_parent(at);
    }
    return NULL;
}

/* ------------------------------------------------------------ databases */

/* msExchOwningServer follows the mounted copy; stores of 2003 and 2007 also
 * stand below their server. */
static const casp_server_t *owner_of(builder_t *b, const casp_entry_t *e,
                                     const char *normal)
{
    const char *dn = casp_entry_str(e, "msExchOwningServer");
    const casp_server_t *s = NULL;

    if (dn) {
        s = apr_hash_get(b->server_by_dn, casp_dn_normal(b->tmp, dn),
                         APR_HASH_KEY_STRING);
    }
    if (!s) {
        s = server_above(b, normal);
    }
    if (!s && dn) {
        tell(b, e,
             apr_psprintf(b->tmp,
                          "a database whose msExchOwningServer was not "
                          "read (\"%s\"); its mailboxes cannot be "
                          "served",
                          dn));
    }
    else if (!s) {
        tell(b, e,
             "a database without a server (msExchOwningServer); its "
             "mailboxes cannot be served");
    }
    return s;
}

/* RpcClientAccessServer is no attribute: it is the database's
 * legacyExchangeDN without the last part. */
static void find_array(builder_t *b, const casp_entry_t *e, casp_database_t *d)
{
    static const char tail[] = "/cn=microsoft private mdb";
    const char *legacy = casp_entry_str(e, "legacyExchangeDN");

    /* Older databases have none, and the name of a 2007 one may be stale. */
    if (!legacy || d->is_public
        || (d->owner && d->owner->version != CASP_V_NONE
            && d->owner->version < CASP_V2010)) {
        return;
    }
    char *key = apr_pstrdup(b->tmp, legacy);
    apr_size_t len = strlen(key);

    casp_topoindex_fold(key);
    if (len < sizeof(tail) || strcmp(key + len - (sizeof(tail) - 1), tail)) {
        return;
    }
    key[len - (sizeof(tail) - 1)] = '\0';
    const array_t *array =
        apr_hash_get(b->array_by_legacy, key, APR_HASH_KEY_STRING);

    if (array) {
        d->array = array->name;
        d->array_site = array->site;
        return;
    }
    const casp_server_t *s =
        apr_hash_get(b->ix->server_by_legacy, key, APR_HASH_KEY_STRING);

    if (s) {
        d->array = s->name;
        d->array_site = s->site;
        return;
    }
    tell(b, e,
         apr_psprintf(b->tmp,
                      "a database whose legacyExchangeDN names neither "
                      "a client access array nor a server (\"%s\")",
                      legacy));
}

/* An offline address book: its folder on the web is named by its GUID. */
static void make_oab(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    casp_guid_t *id = apr_palloc(b->p, sizeof(*id));

    *id = casp_entry_guid(e);
    apr_hash_set(b->oab_by_dn, casp_dn_normal(b->tmp, e->dn),
                 APR_HASH_KEY_STRING, id);
    if (casp_entry_has(e, "msExchOABDefault", "TRUE")) {
        b->default_oab = id;
    }
}

static const casp_guid_t *oab_of(builder_t *b, const casp_entry_t *e)
{
    const char *dn = casp_entry_str(e, "msExchUseOAB");
    const casp_guid_t *id =
        dn ? apr_hash_get(b->oab_by_dn, casp_dn_normal(b->tmp, dn),
                          APR_HASH_KEY_STRING)
           : NULL;
    return id ? id : b->default_oab;
}

static void make_database(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    casp_database_t *d = apr_pcalloc(b->p, sizeof(*d));

    d->name = name_of(b, e);
    d->dn = keep_normal(b, e->dn);
    d->id = casp_entry_guid(e);
    d->is_public = item->kind == CASP_KIND_PUBLIC;
    d->owner = owner_of(b, e, d->dn);
    d->oab = oab_of(b, e);
    find_array(b, e, d);
    APR_ARRAY_PUSH(b->t->databases, const casp_database_t *) = d;

    const casp_database_t *same = casp_topoindex_add_database(b->ix, d);

    if (same) {
        tell(b, e,
             apr_psprintf(b->tmp,
                          "a database with the objectGUID of another "
                          "(\"%s\"); the other one is found by it",
                          same->dn));
    }
}

/* A copy: the child of a database, named like its server. */
static void make_copy(builder_t *b, const casp_entry_t *e,
                      apr_array_header_t *copies)
{
    const char *parent = casp_dn_parent(casp_dn_normal(b->tmp, e->dn));
    const char *link = casp_entry_str(e, "msExchHostServerLink");
    casp_database_t *d = parent ? apr_hash_get(b->ix->database_by_dn, parent,
                                               APR_HASH_KEY_STRING)
                                : NULL;
    const casp_server_t *s =
        link ? apr_hash_get(b->server_by_dn, casp_dn_normal(b->tmp, link),
                            APR_HASH_KEY_STRING)
             : casp_topology_server_by_host(b->t, casp_dn_leaf(b->tmp, e->dn));

    if (!d || !s) {
        tell(b, e,
             d ? "a database copy without a known server "
                 "(msExchHostServerLink); it is left out"
               : "a database copy below no known database; it is left "
                 "out");
        return;
    }
    copy_t *copy = apr_array_push(copies);

    copy->database = d;
    copy->server = s;
    copy->preference =
        casp_entry_int(e, "msExchActivationPreference", INT32_MAX);
}

/* By database, then in the order in which Exchange would activate them. */
static int by_database(const void *va, const void *vb)
{
    const copy_t *a = va, *b = vb;
    int order = strcmp(a->database->dn, b->database->dn);

    if (!order) {
        order =
            (a->preference > b->preference) - (a->preference < b->preference);
    }
    if (!order) {
        order = strcmp(a->server->fqdn, b->server->fqdn);
    }
    return order ? order : strcmp(a->server->dn, b->server->dn);
}

static void make_copies(builder_t *b)
{
    const item_t *items = (const item_t *)b->items[CASP_KIND_COPY]->elts;
    int n = b->items[CASP_KIND_COPY]->nelts;
    apr_array_header_t *list = apr_array_make(b->tmp, n + 1, sizeof(copy_t));

    for (int i = 0; i < n; i++) {
        make_copy(b, items[i].entry, list);
    }
    copy_t *copies = (copy_t *)list->elts;
    const casp_server_t **slots =
        apr_palloc(b->p, sizeof(*slots) * (apr_size_t)(list->nelts + 1));

    qsort(copies, (size_t)list->nelts, sizeof(*copies), by_database);
    for (int i = 0; i < list->nelts; i++) {
        casp_database_t *d = copies[i].database;

        slots[i] = copies[i].server;
        if (!d->ncopies) {
            d->copies = &slots[i];
        }
        d->ncopies++;
    }
}

/* -------------------------------------------------- virtual directories */

static const char *url_of(builder_t *b, const casp_entry_t *e,
                          const char *attr)
{
    const char *text = casp_entry_str(e, attr);
    const char *url = text ? casp_url_check(b->tmp, text) : NULL;

    if (text && !url) {
        tell(b, e,
             apr_psprintf(b->tmp,
                          "%s is no URL that can be used (\"%.200s\"); "
                          "set it to http(s)://host/path without query",
                          attr, text));
    }
    return keep(b, url);
}

/* Outlook Anywhere has host names where the others have URLs. */
static const char *rpc_url_of(builder_t *b, const casp_entry_t *e,
                              const char *attr)
{
    const char *text = casp_entry_str(e, attr);

    if (!text || strstr(text, "://")) {
        return url_of(b, e, attr);
    }
    const char *url =
        strchr(text, '/')
            ? NULL
            : casp_url_check(b->p, apr_pstrcat(b->tmp, "https://", text,
                                               "/rpc", NULL));
    if (!url) {
        tell(b, e,
             apr_psprintf(b->tmp,
                          "%s is no host name that can be used "
                          "(\"%.200s\")",
                          attr, text));
    }
    return url;
}

static bool is_back_end(const char *name)
{
    static const char tail[] = "(Exchange Back End)";
    apr_size_t len = strlen(name);

    return len >= sizeof(tail) - 1
           && !apr_cstr_casecmp(name + len - (sizeof(tail) - 1), tail);
}

static void make_vdir(builder_t *b, const item_t *item)
{
    const casp_entry_t *e = item->entry;
    const char *name = name_of(b, e);

    if (is_back_end(name)) {
        return; /* port 444 of 2013 and later: nobody is sent there */
    }
    const casp_server_t *s = server_above(b, casp_dn_normal(b->tmp, e->dn));

    if (!s) {
        tell(b, e,
             "a virtual directory below no known server; it is left "
             "out");
        return;
    }
    casp_vdir_t *v = apr_pcalloc(b->p, sizeof(*v));
    bool rpc = item->protocol == CASP_PROTO_RPC;

    v->protocol = item->protocol;
    v->server = s;
    v->name = name;
    v->internal_url =
        (rpc ? rpc_url_of : url_of)(b, e, "msExchInternalHostName");
    v->external_url =
        (rpc ? rpc_url_of : url_of)(b, e, "msExchExternalHostName");
    v->nlb_url = url_of(b, e, "msExchInternalNLBBypassHostName");
    v->internal_auth =
        (uint32_t)casp_entry_int(e, "msExchInternalAuthenticationMethods", 0);
    /* An attribute that was never set is not the word "None". */
    v->external_auth =
        (uint32_t)casp_entry_int(e, "msExchExternalAuthenticationMethods",
                                 (int64_t)v->internal_auth);
    v->redirect_to_optimal = -1;
    if (item->protocol == CASP_PROTO_OWA) {
        int64_t optimal =
            casp_entry_int(e, "msExchOWARedirectToOptimalOWAServer", -1);

        v->exchange2003_url = url_of(b, e, "msExch2003Url");
        v->failback_url = url_of(b, e, "msExchOWAFailbackURL");
        v->redirect_to_optimal = optimal < 0 ? -1 : optimal != 0;
    }
    APR_ARRAY_PUSH(b->t->vdirs, const casp_vdir_t *) = v;
}

/* ---------------------------------------------------------- the snapshot */

static int site_order(const void *a, const void *b)
{
    const casp_site_t *x = *(const casp_site_t *const *)a;
    const casp_site_t *y = *(const casp_site_t *const *)b;
    int order = apr_cstr_casecmp(x->name, y->name);

    return order ? order : strcmp(x->dn, y->dn);
}

static int server_order(const void *a, const void *b)
{
    const casp_server_t *x = *(const casp_server_t *const *)a;
    const casp_server_t *y = *(const casp_server_t *const *)b;
    int order = strcmp(x->fqdn, y->fqdn);

    return order ? order : strcmp(x->dn, y->dn);
}

static int database_order(const void *a, const void *b)
{
    const casp_database_t *x = *(const casp_database_t *const *)a;
    const casp_database_t *y = *(const casp_database_t *const *)b;
    int order = apr_cstr_casecmp(x->name, y->name);

    return order ? order : strcmp(x->dn, y->dn);
}

static int vdir_order(const void *a, const void *b)
{
    const casp_vdir_t *x = *(const casp_vdir_t *const *)a;
    const casp_vdir_t *y = *(const casp_vdir_t *const *)b;
    int order = server_order(&x->server, &y->server);

    if (!order) {
        order = (int)x->protocol - (int)y->protocol;
    }
    return order ? order : strcmp(x->name, y->name);
}

static void sort_array(apr_array_header_t *a,
                       int (*order)(const void *, const void *))
{
    qsort(a->elts, (size_t)a->nelts, (size_t)a->elt_size, order);
}

static casp_topology_t *make_empty(apr_pool_t *p, const char *from,
                                   apr_time_t read_at)
{
    casp_topology_t *t = apr_pcalloc(p, sizeof(*t));

    t->pool = p;
    t->refs = 1;
    t->read_at = read_at;
    t->from = apr_pstrdup(p, from ? from : "");
    t->sites = apr_array_make(p, 16, sizeof(void *));
    t->servers = apr_array_make(p, 16, sizeof(void *));
    t->databases = apr_array_make(p, 16, sizeof(void *));
    t->vdirs = apr_array_make(p, 16, sizeof(void *));
    t->domains = apr_array_make(p, 4, sizeof(void *));
    t->problems = apr_array_make(p, 4, sizeof(void *));
    t->index = casp_topoindex_make(p);
    return t;
}

static void prepare(builder_t *b, casp_topology_t *t, apr_pool_t *tmp)
{
    b->t = t;
    b->ix = t->index;
    b->p = t->pool;
    b->tmp = tmp;
    b->site_by_dn = apr_hash_make(tmp);
    b->server_by_dn = apr_hash_make(tmp);
    b->array_by_legacy = apr_hash_make(tmp);
    b->oab_by_dn = apr_hash_make(tmp);
    b->told = apr_hash_make(tmp);
    for (int i = 0; i < CASP_KIND_COUNT; i++) {
        b->items[i] = apr_array_make(tmp, 16, sizeof(item_t));
    }
}

static void build(builder_t *b, const apr_array_header_t *entries,
                  const char *default_nc)
{
    casp_topology_t *t = b->t;

    for (int i = 0; i < entries->nelts; i++) {
        sort_out(b, APR_ARRAY_IDX(entries, i, const casp_entry_t *));
    }
    each(b, CASP_KIND_SITE, make_site);
    each(b, CASP_KIND_SUBNET, make_subnet);
    each(b, CASP_KIND_CROSSREF, make_domain);
    each(b, CASP_KIND_ORG, make_org);
    each(b, CASP_KIND_SERVER, make_server);
    each(b, CASP_KIND_ARRAY, make_array);
    each(b, CASP_KIND_OAB, make_oab);
    each(b, CASP_KIND_PRIVATE, make_database);
    each(b, CASP_KIND_PUBLIC, make_database);
    make_copies(b);
    each(b, CASP_KIND_VDIR, make_vdir);

    if (default_nc) {
        t->default_nc = apr_pstrdup(b->p, default_nc);
    }
    else if (t->domains->nelts) {
        t->default_nc =
            APR_ARRAY_IDX(t->domains, 0, const casp_domain_t *)->base;
    }
    sort_array(t->sites, site_order);
    sort_array(t->servers, server_order);
    sort_array(t->databases, database_order);
    sort_array(t->vdirs, vdir_order);
    casp_topoindex_finish(b->ix, t);
}

casp_topology_t *casp_topology_build(const apr_array_header_t *entries,
                                     const char *from, const char *default_nc,
                                     apr_time_t read_at)
{
    /* Unmanaged pools have an allocator of their own and no parent: a
     * snapshot is made in one thread and may die in any other, and what the
     * build leaves behind must not stay in it for hours. */
    apr_pool_t *p, *tmp;

    if (apr_pool_create_unmanaged_ex(&p, NULL, NULL) != APR_SUCCESS) {
        return NULL;
    }
    if (apr_pool_create_unmanaged_ex(&tmp, NULL, NULL) != APR_SUCCESS) {
        apr_pool_destroy(p);
        return NULL;
    }
    apr_pool_tag(p, "casp_topology");
    apr_pool_tag(tmp, "casp_topology_build");
    casp_topology_t *t = make_empty(p, from, read_at);
    builder_t b;

    memset(&b, 0, sizeof(b));
    prepare(&b, t, tmp);
    build(&b, entries, default_nc);
    apr_pool_destroy(tmp);
    casp_log(
        CASP_LOG_DEBUG, APR_SUCCESS,
        CASPLOGNO(0200) "organisation \"%s\" from %s: %d sites, %d "
                  "servers, %d databases, %d virtual directories, %d domains, "
                  "%d problems",
            t->org ? t->org : "", t->from, t->sites->nelts, t->servers->nelts,
            t->databases->nelts, t->vdirs->nelts, t->domains->nelts,
            t->problems->nelts);
    return t;
}

casp_topology_t *casp_topology_ref(casp_topology_t *t)
{
    apr_atomic_inc32(&t->refs);
    return t;
}

void casp_topology_unref(casp_topology_t *t)
{
    if (t && !apr_atomic_dec32(&t->refs)) {
        apr_pool_destroy(t->pool);
    }
}
