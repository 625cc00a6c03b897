/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Where users come from: a directory over LDAP, or the entries of an export.
 *
 * A key is first made into a plan: a few steps, each an equality or two on
 * indexed attributes and, where a domain is named, that domain.  Both sources
 * follow the same plan, so that an export answers as the directory does.
 *
 * Every step is as small as it can be: a domain controller answers one
 * indexed equality ten times faster than the same with an objectCategory
 * beside it, so that what is no user is sorted out here instead.
 *
 * It must not choose among several matches, nor remember anything.
 */

#include <string.h>

#include <apr_hash.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <ldap.h>

#include "mailbox.h"

/* The attributes that a plan may ask for. */
typedef enum {
    ATTR_SAM = 0,
    ATTR_UPN,
    ATTR_PROXY,
    ATTR_ALIAS,
    ATTR_MAIL,
    ATTR_MAILBOX_GUID,
    ATTR_OBJECT_GUID,
    ATTR_MASTER_SID,
    ATTR_SID,
    ATTR_LEGACY_DN,
    ATTR_COUNT
} source_attr_e;

static const struct {
    const char *name;
    bool binary;
} source_attrs[ATTR_COUNT] = {
    {"sAMAccountName", false}, {"userPrincipalName", false},
    {"proxyAddresses", false}, {"mailNickname", false},
    {"mail", false},           {"msExchMailboxGuid", true},
    {"objectGUID", true},      {"msExchMasterAccountSid", true},
    {"objectSid", true},       {"legacyExchangeDN", false},
};

typedef struct {
    source_attr_e attr;
    const char *value;
    apr_size_t len;
} source_term_t;

#define STEP_TERMS 2
#define PLAN_STEPS 2

/* Entries for which any of the terms holds; in one domain, or anywhere. */
typedef struct {
    int nterms;
    source_term_t terms[STEP_TERMS];
    const casp_domain_t *domain;
} source_step_t;

/* The steps are taken in turn until one finds something. */
typedef struct {
    int nsteps;
    source_step_t steps[PLAN_STEPS];
} source_plan_t;

/* More matches than this are not counted: two are too many already. */
#define SEARCH_LIMIT 20

/* ---------------------------------------------------------------- plans */

static source_step_t *plan_step(source_plan_t *plan,
                                const casp_domain_t *domain)
{
    source_step_t *s = &plan->steps[plan->nsteps++];
    s->domain = domain;
    return s;
}

static void plan_term(source_step_t *s, source_attr_e attr, const char *value,
                      apr_size_t len)
{
    source_term_t *term = &s->terms[s->nterms++];
    term->attr = attr;
    term->value = value;
    term->len = len;
}

/* Windows takes either name of a domain in front of a backslash. */
static const casp_domain_t *plan_domain(const casp_topology_t *t,
                                        const char *name)
{
    const casp_domain_t *d = casp_topology_domain_by_netbios(t, name);
    return d ? d : casp_topology_domain_by_dns(t, name);
}

static bool plan_logon(source_plan_t *plan, const casp_user_key_t *key,
                       const casp_topology_t *t)
{
    const casp_domain_t *domain = NULL;

    if (key->domain && *key->domain && t && t->domains->nelts > 0) {
        domain = plan_domain(t, key->domain);
        if (!domain) {
            return false;
        }
    }
    plan_term(plan_step(plan, domain), ATTR_SAM, key->value, key->len);
    return true;
}

/* AD accepts a name that nobody entered as a UPN, too: the account name with
 * the name of its domain. */
static void plan_upn(apr_pool_t *p, source_plan_t *plan,
                     const casp_user_key_t *key, const casp_topology_t *t)
{
    apr_size_t user = key->len;

    plan_term(plan_step(plan, NULL), ATTR_UPN, key->value, key->len);
    while (user > 0 && key->value[user - 1] != '@') {
        user--;
    }
    if (user < 2 || !t) {
        return;
    }
    const char *realm = apr_pstrmemdup(p, key->value + user, key->len - user);
    const casp_domain_t *domain = plan_domain(t, realm);
    if (domain) {
        plan_term(plan_step(plan, domain), ATTR_SAM, key->value, user - 1);
    }
}

/* @a kind: "smtp:" or "x500:" */
static void plan_proxy(apr_pool_t *p, source_step_t *s, const char *kind,
                       const char *address, apr_size_t len)
{
    char *value = apr_palloc(p, len + 6);
    memcpy(value, kind, 5);
    memcpy(value + 5, address, len);
    value[len + 5] = '\0';
    plan_term(s, ATTR_PROXY, value, len + 5);
}

/* A mailbox that was moved between organisations keeps its old name among its
 * addresses. */
static void plan_legacy_dn(apr_pool_t *p, source_step_t *s,
                           const casp_user_key_t *key)
{
    plan_term(s, ATTR_LEGACY_DN, key->value, key->len);
    plan_proxy(p, s, "x500:", key->value, key->len);
}

/* Exchange 2003 completes what stands in front of the @ with its default
 * SMTP domain; the first domain of the forest is the best guess at it. */
static void plan_alias(apr_pool_t *p, source_plan_t *plan,
                       const casp_user_key_t *key, const casp_topology_t *t)
{
    const casp_domain_t *domain =
        t && t->default_nc ? casp_topology_domain_of_dn(t, t->default_nc)
                           : NULL;

    plan_term(plan_step(plan, NULL), ATTR_ALIAS, key->value, key->len);
    if (domain && domain->dns && !memchr(key->value, '@', key->len)) {
        apr_size_t dns = strlen(domain->dns);
        apr_size_t len = key->len + 1 + dns;
        char *address = apr_palloc(p, len + 1);

        memcpy(address, key->value, key->len);
        address[key->len] = '@';
        memcpy(address + key->len + 1, domain->dns, dns + 1);
        source_step_t *s = plan_step(plan, NULL);
        plan_term(s, ATTR_MAIL, address, len);
        plan_proxy(p, s, "smtp:", address, len);
    }
}

static bool plan_guid(apr_pool_t *p, source_plan_t *plan,
                      const casp_user_key_t *key)
{
    casp_guid_t *g = apr_palloc(p, sizeof(*g));

    if (memchr(key->value, '\0', key->len)
        || !casp_guid_parse(apr_pstrmemdup(p, key->value, key->len), g)) {
        return false;
    }
    source_step_t *s = plan_step(plan, NULL);
    plan_term(s, ATTR_MAILBOX_GUID, (const char *)g->b, sizeof(g->b));
    plan_term(s, ATTR_OBJECT_GUID, (const char *)g->b, sizeof(g->b));
    return true;
}

/* Both at once: whether the account has a mailbox of its own decides what its
 * linked ones are worth.  Of the two attributes both are indexed and in the
 * Global Catalog. */
static void plan_account(source_plan_t *plan, const casp_user_key_t *key)
{
    source_step_t *s = plan_step(plan, NULL);
    plan_term(s, ATTR_MASTER_SID, key->value, key->len);
    plan_term(s, ATTR_SID, key->value, key->len);
}

/* False: nobody can have such a name, and there is nothing to ask. */
static bool plan_make(apr_pool_t *p, source_plan_t *plan,
                      const casp_user_key_t *key, const casp_topology_t *t)
{
    memset(plan, 0, sizeof(*plan));
    if (!key->value || key->len == 0) {
        return false;
    }
    switch (key->kind) {
    case CASP_KEY_LOGON:
        return plan_logon(plan, key, t);
    case CASP_KEY_UPN:
        plan_upn(p, plan, key, t);
        return true;
    case CASP_KEY_SMTP:
        plan_proxy(p, plan_step(plan, NULL), "smtp:", key->value, key->len);
        return true;
    case CASP_KEY_LEGACY_DN:
        plan_legacy_dn(p, plan_step(plan, NULL), key);
        return true;
    case CASP_KEY_ALIAS:
        plan_alias(p, plan, key, t);
        return true;
    case CASP_KEY_GUID:
        return plan_guid(p, plan, key);
    case CASP_KEY_SID:
        plan_term(plan_step(plan, NULL), ATTR_MASTER_SID, key->value,
                  key->len);
        plan_term(plan_step(plan, NULL), ATTR_SID, key->value, key->len);
        return true;
    case CASP_KEY_ACCOUNT:
        plan_account(plan, key);
        return true;
    }
    return false;
}

static const char *term_filter(apr_pool_t *p, const source_term_t *term)
{
    return apr_pstrcat(p, "(", source_attrs[term->attr].name, "=",
                       source_attrs[term->attr].binary
                           ? casp_filter_escape_binary(p, term->value,
                                                       term->len)
                           : casp_filter_escape(p, term->value, term->len),
                       ")", NULL);
}

static const char *step_filter(apr_pool_t *p, const source_step_t *s)
{
    const char *first = term_filter(p, &s->terms[0]);
    if (s->nterms == 1) {
        return first;
    }
    return apr_pstrcat(p, "(|", first, term_filter(p, &s->terms[1]), ")",
                       NULL);
}

const char *casp_mailbox_filter(apr_pool_t *p, const casp_user_key_t *key,
                                const casp_topology_t *t)
{
    source_plan_t plan;
    return plan_make(p, &plan, key, t) ? step_filter(p, &plan.steps[0]) : NULL;
}

/* ------------------------------------------------------------ what counts */

static bool source_is_user(const casp_entry_t *e)
{
    return (casp_entry_has(e, "objectClass", "user")
            || casp_entry_has(e, "objectClass", "inetOrgPerson"))
           && !casp_entry_has(e, "objectClass", "computer");
}

/* A subtree search of a Global Catalog below a domain reaches into its child
 * domains, where another user may have the same account name. */
static bool source_in_domain(const casp_topology_t *t,
                             const casp_domain_t *domain, const char *dn)
{
    return !domain || casp_topology_domain_of_dn(t, dn) == domain;
}

/* ------------------------------------------------------------ a directory */

typedef struct {
    casp_directory_t *dir;
    const char *base; /* NULL: the topology's default naming context */
    const char *normal; /* its normal form */
} source_ldap_t;

/* A base inside the domain narrows the search; one outside of it was meant
 * for names without a domain. */
static const char *source_base(const source_ldap_t *source,
                               const casp_domain_t *domain,
                               const casp_topology_t *t)
{
    if (domain
        && !(source->normal && *source->normal
             && casp_dn_below(source->normal, domain->base_normal))) {
        return domain->base;
    }
    if (source->base) {
        return source->base;
    }
    return t && t->default_nc ? t->default_nc : "";
}

static casp_dir_e ldap_step(const source_ldap_t *source, apr_pool_t *p,
                            const source_step_t *step,
                            const casp_topology_t *t, apr_time_t deadline,
                            apr_array_header_t *users, const char **why)
{
    casp_search_t search = {.base = source_base(source, step->domain, t),
                            .scope = LDAP_SCOPE_SUBTREE,
                            .filter = step_filter(p, step),
                            .attrs = casp_mailbox_attrs,
                            .size_limit = SEARCH_LIMIT};
    apr_array_header_t *entries = NULL;
    int i;

    casp_dir_e how = casp_directory_search(source->dir, p, &search, deadline,
                                           &entries, why);
    casp_log(CASP_LOG_DEBUG, APR_SUCCESS,
             CASPLOGNO(0410) "searched for %s below \"%s\": %d entries%s%s",
                       search.filter, search.base,
                       entries ? entries->nelts : 0,
                       how == CASP_DIR_OK ? "" : "; ",
                       how == CASP_DIR_OK || !*why ? "" : *why);
    for (i = 0; entries && i < entries->nelts; i++) {
        casp_entry_t *e = APR_ARRAY_IDX(entries, i, casp_entry_t *);
        if (source_is_user(e) && source_in_domain(t, step->domain, e->dn)) {
            APR_ARRAY_PUSH(users, casp_entry_t *) = e;
        }
    }
    /* Cut off, but two are enough to know that it is not one. */
    return how == CASP_DIR_INCOMPLETE && users->nelts > 1 ? CASP_DIR_OK : how;
}

static casp_dir_e ldap_find(void *baton, apr_pool_t *p,
                            const casp_user_key_t *key,
                            const casp_topology_t *t, apr_time_t deadline,
                            apr_array_header_t **entries, const char **why)
{
    apr_array_header_t *users = apr_array_make(p, 1, sizeof(casp_entry_t *));
    source_plan_t plan;
    int i;

    *entries = users;
    *why = NULL;
    if (!plan_make(p, &plan, key, t)) {
        return CASP_DIR_OK;
    }
    for (i = 0; i < plan.nsteps && users->nelts == 0; i++) {
        casp_dir_e how =
            ldap_step(baton, p, &plan.steps[i], t, deadline, users, why);
        if (how != CASP_DIR_OK) {
            return how;
        }
    }
    return CASP_DIR_OK;
}

casp_user_source_t *casp_source_directory(apr_pool_t *p, casp_directory_t *d,
                                          const char *base)
{
    casp_user_source_t *source = apr_palloc(p, sizeof(*source));
    source_ldap_t *ldap = apr_palloc(p, sizeof(*ldap));

    ldap->dir = d;
    ldap->base = base ? apr_pstrdup(p, base) : NULL;
    ldap->normal = base ? casp_dn_normal(p, base) : NULL;
    source->find = ldap_find;
    source->baton = ldap;
    return source;
}

/* -------------------------------------------------------------- an export */

typedef struct {
    apr_hash_t *index; /* attribute and value -> array of casp_entry_t * */
} source_export_t;

/* One byte for the attribute, then the value as it is compared. */
static char *export_key(apr_pool_t *p, source_attr_e attr, const char *value,
                        apr_size_t len)
{
    char *key = apr_palloc(p, len + 1);
    apr_size_t i;

    key[0] = (char)('A' + attr);
    memcpy(key + 1, value, len);
    for (i = 1; i <= len && !source_attrs[attr].binary; i++) {
        if (key[i] >= 'A' && key[i] <= 'Z') {
            key[i] = (char)(key[i] - 'A' + 'a');
        }
    }
    return key;
}

static void export_add(apr_pool_t *p, source_export_t *x, source_attr_e attr,
                       casp_entry_t *e)
{
    const casp_attr_t *a = casp_entry_attr(e, source_attrs[attr].name);
    int i;

    for (i = 0; a && i < a->nvalues; i++) {
        apr_size_t len = a->values[i].len;
        char *key = export_key(p, attr, a->values[i].data, len);

        if (attr == ATTR_PROXY
            && (len < 5
                || (memcmp(key + 1, "smtp:", 5)
                    && memcmp(key + 1, "x500:", 5)))) {
            continue;
        }
        apr_array_header_t *list = apr_hash_get(x->index, key, len + 1);
        if (!list) {
            list = apr_array_make(p, 1, sizeof(casp_entry_t *));
            apr_hash_set(x->index, key, len + 1, list);
        }
        APR_ARRAY_PUSH(list, casp_entry_t *) = e;
    }
}

static void export_step(const source_export_t *x, apr_pool_t *p,
                        const source_step_t *step, const casp_topology_t *t,
                        apr_array_header_t *users)
{
    int i, j, k;

    for (i = 0; i < step->nterms; i++) {
        const source_term_t *term = &step->terms[i];
        const apr_array_header_t *list =
            apr_hash_get(x->index,
                         export_key(p, term->attr, term->value, term->len),
                         term->len + 1);
        for (j = 0; list && j < list->nelts && users->nelts < SEARCH_LIMIT;
             j++) {
            casp_entry_t *e = APR_ARRAY_IDX(list, j, casp_entry_t *);
            for (k = 0; k < users->nelts; k++) {
                if (APR_ARRAY_IDX(users, k, casp_entry_t *) == e) {
                    break; /* found by the other term, or twice in a list */
                }
            }
            if (k == users->nelts
                && source_in_domain(t, step->domain, e->dn)) {
                APR_ARRAY_PUSH(users, casp_entry_t *) = e;
            }
        }
    }
}

static casp_dir_e export_find(void *baton, apr_pool_t *p,
                              const casp_user_key_t *key,
                              const casp_topology_t *t, apr_time_t deadline,
                              apr_array_header_t **entries, const char **why)
{
    apr_array_header_t *users = apr_array_make(p, 1, sizeof(casp_entry_t *));
    source_plan_t plan;
    int i;

    (void)deadline; /* nothing here waits */
    *entries = users;
    *why = NULL;
    if (plan_make(p, &plan, key, t)) {
        for (i = 0; i < plan.nsteps && users->nelts == 0; i++) {
            export_step(baton, p, &plan.steps[i], t, users);
        }
    }
    return CASP_DIR_OK;
}

casp_user_source_t *casp_source_entries(apr_pool_t *p,
                                        const apr_array_header_t *entries)
{
    casp_user_source_t *source = apr_palloc(p, sizeof(*source));
    source_export_t *x = apr_palloc(p, sizeof(*x));
    int i, attr;

    x->index = apr_hash_make(p);
    for (i = 0; i < entries->nelts; i++) {
        casp_entry_t *e = APR_ARRAY_IDX(entries, i, casp_entry_t *);
        for (attr = 0; source_is_user(e) && attr < ATTR_COUNT; attr++) {
            export_add(p, x, (source_attr_e)attr, e);
        }
    }
    source->find = export_find;
    source->baton = x;
    return source;
}
