/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * What a server and a location have set: made, merged, completed, checked and
 * printed.  The members are listed once, below, each with its default, and
 * everything mechanical is made of that list, so that no member can be
 * forgotten in one place and remembered in another; t/drift.sh compares the
 * list with the struct.
 *
 * Nothing here speaks LDAP or HTTP.  Files are looked at, never read: httpd -t
 * must tell what is wrong without starting anything.
 */

#include "settings.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <apr_cstr.h>
#include <apr_strings.h>

#include "topology.h"
#include "values.h"

/*
 * NUMBER(member, default)      unset is CASP_UNSET
 * TEXT(member, default)        unset is NULL
 * LIST(member)                 unset is NULL, which is the default too
 * FOLLOW(member, leader)       a text that belongs to the number "leader" and
 *                              is taken from where that was set
 */
#define SERVER_MEMBERS(NUMBER, TEXT, LIST, FOLLOW) \
    LIST(directory)                                \
    LIST(global_catalog)                           \
    TEXT(directory_base, NULL)                     \
    FOLLOW(bind_name, directory_bind)              \
    FOLLOW(bind_secret, directory_bind)            \
    FOLLOW(bind_keytab, directory_bind)            \
    NUMBER(directory_bind, CASP_BIND_NONE)         \
    NUMBER(directory_tls, CASP_TLS_UNSET)          \
    TEXT(directory_ca_file, NULL)                  \
    NUMBER(pool_min, 0)                            \
    NUMBER(pool_smax, 4)                           \
    NUMBER(pool_hmax, 16)                          \
    NUMBER(pool_ttl, 300)                          \
    NUMBER(timeout_connect, 3)                     \
    NUMBER(timeout_search, 5)                      \
    NUMBER(timeout_topology, 60)                   \
    NUMBER(topology_refresh, 300)                  \
    NUMBER(mailbox_ttl, 300)                       \
    NUMBER(mailbox_negative, 30)                   \
    NUMBER(mailbox_stale, 3600)                    \
    NUMBER(mailbox_size, 100000)                   \
    NUMBER(credential_ttl, 60)                     \
    TEXT(shared_cache, "shmcb")                    \
    TEXT(site, NULL)                               \
    NUMBER(front, CASP_F2010SP2)                   \
    TEXT(external_url, NULL)                       \
    TEXT(exchange2003_url, NULL)                   \
    LIST(failback_url)                             \
    NUMBER(cross_site_silent, own_cross_site(s))   \
    NUMBER(eas_redirect, own_eas_redirect(s))      \
    NUMBER(autodiscover, CASP_AUTODISCOVER_PASS)   \
    NUMBER(redirect_to_optimal, CASP_UNSET)        \
    LIST(mounted_site)                             \
    NUMBER(require_tls, CASP_REQTLS_ON)            \
    NUMBER(sso, CASP_SSO_ON)                       \
    NUMBER(logon_format, CASP_LOGON_FULLDOMAIN)    \
    TEXT(default_domain, NULL)                     \
    TEXT(keytab, NULL)                             \
    FOLLOW(ntlm_helper, ntlm_verify)               \
    NUMBER(ntlm_verify, CASP_NTLM_WINBIND)         \
    TEXT(forms_key, NULL)                          \
    NUMBER(forms_public, 15 * 60)                  \
    NUMBER(forms_private, 8 * 3600)                \
    TEXT(pages, NULL)                              \
    LIST(backend_hosts)                            \
    LIST(backend_map)                              \
    NUMBER(backend_hmax, 64)                       \
    NUMBER(backend_ttl, 90)                        \
    NUMBER(backend_acquire, 2)                     \
    NUMBER(backend_connect, 5)                     \
    NUMBER(backend_retry, 30)                      \
    NUMBER(backend_addressttl, 60)                 \
    NUMBER(backend_busy, 0)                        \
    TEXT(state_dir, default_state_dir)             \
    NUMBER(timeout[CASP_PROTO_NONE], 200)          \
    NUMBER(timeout[CASP_PROTO_OWA], 200)           \
    NUMBER(timeout[CASP_PROTO_ECP], 200)           \
    NUMBER(timeout[CASP_PROTO_EAS], 3600)          \
    NUMBER(timeout[CASP_PROTO_EWS], 2100)          \
    NUMBER(timeout[CASP_PROTO_AUTODISCOVER], 200)  \
    NUMBER(timeout[CASP_PROTO_OAB], 200)           \
    NUMBER(timeout[CASP_PROTO_RPC], 3600)          \
    NUMBER(timeout[CASP_PROTO_MAPI], 3600)         \
    NUMBER(timeout[CASP_PROTO_UM], 200)            \
    NUMBER(timeout[CASP_PROTO_LEGACY], 200)        \
    NUMBER(timeout[CASP_PROTO_POWERSHELL], 200)    \
    NUMBER(timeout[CASP_PROTO_POP3], 200)          \
    NUMBER(timeout[CASP_PROTO_IMAP4], 200)         \
    NUMBER(timeout[CASP_PROTO_SMTP], 200)          \
    NUMBER(publish, PUBLISH_DEFAULT)               \
    NUMBER(url_policy, CASP_POLICY_ENFORCE)

#define LOCATION_MEMBERS(NUMBER)                \
    NUMBER(mode, CASP_MODE_OFF)                 \
    NUMBER(auth, CASP_SCHEME_FORMS)             \
    NUMBER(backend_auth, CASP_BACKENDAUTH_AUTO) \
    NUMBER(diagnostics, 0)

#define PUBLISH_DEFAULT                                      \
    (((1 << CASP_PROTO_COUNT) - 1) & ~(1 << CASP_PROTO_NONE) \
     & ~(1 << CASP_PROTO_POWERSHELL))

/* --------------------------------------------------------------- look-ups */

/* "https" for http too: a host has one web server. */
static bool same_service(const char *url, const char *scheme)
{
    apr_size_t len = strcspn(url, ":");
    bool web = !apr_cstr_casecmpn(url, "http", 4);
    return web ? !apr_cstr_casecmpn(scheme, "http", 4)
               : strlen(scheme) == len && !apr_cstr_casecmpn(url, scheme, len);
}

const char *casp_settings_backend_map(const casp_settings_t *s,
                                      const char *host, const char *scheme)
{
    for (int i = 0; s->backend_map && i < s->backend_map->nelts; i++) {
        const casp_pair_t *pair =
            &APR_ARRAY_IDX(s->backend_map, i, casp_pair_t);
        if (!apr_cstr_casecmp(pair->a, host)
            && same_service(pair->b, scheme)) {
            return pair->b;
        }
    }
    return NULL;
}

/* ------------------------------------------------------- create and merge */

#define NO_NUMBER(member, init) s->member = CASP_UNSET;
#define NO_POINTER(member, init) s->member = NULL;
#define NO_LIST(member) s->member = NULL;

casp_settings_t *casp_settings_create(apr_pool_t *p)
{
    casp_settings_t *s = apr_pcalloc(p, sizeof(*s));
    SERVER_MEMBERS(NO_NUMBER, NO_POINTER, NO_LIST, NO_POINTER)
    return s;
}

casp_dir_settings_t *casp_dir_settings_create(apr_pool_t *p)
{
    casp_dir_settings_t *s = apr_pcalloc(p, sizeof(*s));
    LOCATION_MEMBERS(NO_NUMBER)
    return s;
}

#define MERGE_NUMBER(member, init) \
    s->member = add->member != CASP_UNSET ? add->member : base->member;
#define MERGE_POINTER(member, init) \
    s->member = add->member ? add->member : base->member;
#define MERGE_LIST(member) \
    s->member = add->member ? add->member : base->member;
#define MERGE_FOLLOW(member, leader) \
    s->member = add->leader != CASP_UNSET ? add->member : base->member;

casp_settings_t *casp_settings_merge(apr_pool_t *p,
                                     const casp_settings_t *base,
                                     const casp_settings_t *add)
{
    casp_settings_t *s = apr_pcalloc(p, sizeof(*s));
    SERVER_MEMBERS(MERGE_NUMBER, MERGE_POINTER, MERGE_LIST, MERGE_FOLLOW)
    return s;
}

casp_dir_settings_t *casp_dir_settings_merge(apr_pool_t *p,
                                             const casp_dir_settings_t *base,
                                             const casp_dir_settings_t *add)
{
    casp_dir_settings_t *s = apr_pcalloc(p, sizeof(*s));
    LOCATION_MEMBERS(MERGE_NUMBER)
    return s;
}

/* --------------------------------------------------------------- complete */

/* Only 2010SP2 and 2010SP3 have the choice; before them every redirection
 * across sites was a page, after them none. The front stands before this in
 * the list, and is complete when this is asked. */
static int own_cross_site(const casp_settings_t *s)
{
    return s->front > CASP_F2010SP3;
}

/* From which protocol version on a device is told its new address: 2007 told
 * all of them, 2010 those that know Autodiscover, its SP2 those that do what
 * the answer says; from 2013 on nobody is told. */
static int own_eas_redirect(const casp_settings_t *s)
{
    return s->front > CASP_F2010SP3    ? CASP_EAS_REDIRECT_OFF
           : s->front >= CASP_F2010SP2 ? 140
           : s->front >= CASP_F2010    ? 121
                                       : 0;
}

#define COMPLETE_NUMBER(member, init) \
    if (s->member == CASP_UNSET) {    \
        s->member = init;             \
    }
#define COMPLETE_POINTER(member, init) \
    if (!s->member) {                  \
        s->member = init;              \
    }
#define COMPLETE_NOTHING(member)
#define COMPLETE_FOLLOW(member, leader)

casp_settings_t *casp_settings_complete(apr_pool_t *p,
                                        const casp_settings_t *settings,
                                        const char *default_state_dir)
{
    casp_settings_t *s = apr_pmemdup(p, settings, sizeof(*s));
    SERVER_MEMBERS(COMPLETE_NUMBER, COMPLETE_POINTER, COMPLETE_NOTHING,
                   COMPLETE_FOLLOW)
    return s;
}

casp_dir_settings_t *casp_dir_settings_complete(apr_pool_t *p,
                                                const casp_dir_settings_t *d)
{
    casp_dir_settings_t *s = apr_pmemdup(p, d, sizeof(*s));
    LOCATION_MEMBERS(COMPLETE_NUMBER)
    return s;
}

/* A form is for people.  EWS takes the cookie too, for DavMail and the like
 * come by form and go on there. */
int casp_settings_schemes(int auth, bool keytab, casp_protocol_e protocol)
{
    const int machines =
        CASP_SCHEME_BASIC | (keytab ? CASP_SCHEME_NEGOTIATE : 0);
    switch (protocol) {
    case CASP_PROTO_NONE:
    case CASP_PROTO_OWA:
    case CASP_PROTO_ECP:
    case CASP_PROTO_LEGACY:
        return auth;
    case CASP_PROTO_EWS:
        return auth == CASP_SCHEME_FORMS  ? auth | machines
               : auth & CASP_SCHEME_FORMS ? auth | CASP_SCHEME_BASIC
                                          : auth;
    default:
        return auth == CASP_SCHEME_FORMS ? machines
                                         : auth & ~CASP_SCHEME_FORMS;
    }
}

/* -------------------------------------------------------------- directives*/

const casp_directive_t *casp_directive_find(const char *name)
{
    const casp_directive_t *d = casp_directives;
    while (d->name && apr_cstr_casecmp(d->name, name)) {
        d++;
    }
    return d->name ? d : NULL;
}

/* What httpd could not expand stands there still; it is never meant. */
static const char *variable(apr_pool_t *p, int argc, const char *const *argv)
{
    for (int i = 0; i < argc; i++) {
        const char *start = strstr(argv[i], "${");
        if (start) {
            return apr_psprintf(
                p,
                "%s is defined nowhere; write the value, "
                "or Define it before this line",
                casp_value_show(
                    p, apr_pstrmemdup(p, start,
                                      strcspn(start, "}")
                                          + (strchr(start, '}') ? 1 : 0))));
        }
    }
    return NULL;
}

const char *casp_settings_apply(apr_pool_t *p, const casp_directive_t *d,
                                bool in_location, casp_settings_t *s,
                                casp_dir_settings_t *dir, int argc,
                                const char *const *argv)
{
    if (in_location && !(d->scope & CASP_SCOPE_LOCATION)) {
        return "cannot stand in a location; move it to the virtual host or "
               "the server";
    }
    if (argc < d->min || (d->max && argc > d->max)) {
        return apr_psprintf(p, "takes %s%s", d->args,
                            d->max == 1 ? ", one word" : "");
    }
    const char *wrong = variable(p, argc, argv);
    if (!wrong) {
        wrong = d->set(p, s, dir, argc, argv);
    }
    return wrong ? apr_pstrcat(p, "is wrong: ", wrong, NULL) : NULL;
}

apr_array_header_t *casp_settings_dump(apr_pool_t *p, const casp_settings_t *s,
                                       const casp_dir_settings_t *d)
{
    apr_array_header_t *lines = apr_array_make(p, 48, sizeof(char *));
    for (const casp_directive_t *row = casp_directives; row->name; row++) {
        if (row->scope & CASP_SCOPE_LOCATION ? d != NULL : s != NULL) {
            row->dump(p, s, d, lines);
        }
    }
    return lines;
}

/* -------------------------------------------------------------- directory */

static bool has_scheme(const apr_array_header_t *urls, const char *scheme)
{
    for (int i = 0; urls && i < urls->nelts; i++) {
        if (!strncmp(APR_ARRAY_IDX(urls, i, const char *), scheme,
                     strlen(scheme))) {
            return true;
        }
    }
    return false;
}

const char *casp_settings_ldif(const casp_settings_t *s)
{
    return has_scheme(s->directory, "ldif:")
               ? APR_ARRAY_IDX(s->directory, 0, const char *) + 5
               : NULL;
}

/* A Global Catalog listens at ports of its own, which nobody should have to
 * know by heart. */
static apr_array_header_t *catalog_urls(apr_pool_t *p,
                                        const apr_array_header_t *urls)
{
    apr_array_header_t *list = apr_array_make(p, urls->nelts, sizeof(char *));
    for (int i = 0; i < urls->nelts; i++) {
        const char *url = APR_ARRAY_IDX(urls, i, const char *);
        const char *host = strstr(url, "://") + 3;
        const char *bracket = strchr(host, ']');
        if (!strncmp(url, "ldapi", 5)
            || strchr(bracket ? bracket : host, ':')) {
            APR_ARRAY_PUSH(list, const char *) = url;
        }
        else {
            APR_ARRAY_PUSH(list, const char *) =
                apr_pstrcat(p, url, url[4] == 's' ? ":3269" : ":3268", NULL);
        }
    }
    return list;
}

void casp_settings_directory_conf(apr_pool_t *p, const casp_settings_t *s,
                                  const char *secret, bool global_catalog,
                                  casp_directory_conf_t *conf)
{
    memset(conf, 0, sizeof(*conf));
    conf->urls = global_catalog && s->global_catalog
                     ? catalog_urls(p, s->global_catalog)
                     : s->directory;
    conf->tls = (casp_tls_e)s->directory_tls;
    conf->ca_file = s->directory_ca_file;
    conf->bind = (casp_bind_method_e)s->directory_bind;
    conf->bind_name = s->bind_name;
    conf->bind_secret = secret;
    conf->keytab = s->bind_keytab ? s->bind_keytab : s->keytab;
    conf->base = s->directory_base;
    conf->pool_min = s->pool_min;
    conf->pool_smax = s->pool_smax;
    conf->pool_hmax = s->pool_hmax;
    conf->pool_ttl = apr_time_from_sec(s->pool_ttl);
    conf->connect_timeout = apr_time_from_sec(s->timeout_connect);
    conf->search_timeout = apr_time_from_sec(s->timeout_search);
    conf->topology_timeout = apr_time_from_sec(s->timeout_topology);
}

/* ------------------------------------------------------------------ check */

typedef struct {
    apr_pool_t *p;
    const casp_settings_t *s;
    apr_array_header_t *errors, *warnings;
} check_t;

static void say(apr_array_header_t *list, const char *sentence)
{
    APR_ARRAY_PUSH(list, const char *) = sentence;
}

/* Is there a file (or folder) that this process may use as it must? */
static void check_file(const check_t *c, const char *directive,
                       const char *path, bool folder, int access_mode)
{
    struct stat st;
    const char *wrong = NULL;
    if (stat(path, &st)) {
        wrong = "cannot be found; correct the path";
    }
    else if (folder ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode)) {
        wrong = folder ? "is no folder; name one" : "is no file; name one";
    }
    else if (access(path, access_mode)) {
        wrong = access_mode == X_OK ? "cannot be executed; run chmod +x on it"
                                    : "cannot be read; correct its "
                                      "permissions";
    }
    if (wrong) {
        say(c->errors,
            apr_psprintf(c->p, "%s: %s %s", directive, path, wrong));
    }
}

/* One glance at a reference; the secret itself is read at the start. */
static void check_secret(const check_t *c)
{
    const char *directive = "CasProxyDirectoryBind";
    const char *secret = c->s->bind_secret;
    struct stat st;
    if (!strncmp(secret, "file:", 5)) {
        check_file(c, directive, secret + 5, false, R_OK);
        if (!stat(secret + 5, &st) && (st.st_mode & (S_IRWXG | S_IRWXO))) {
            say(c->warnings,
                apr_psprintf(
                    c->p,
                    "%s: others than its owner may read %s; run chmod 600 "
                    "on it",
                    directive, secret + 5));
        }
    }
    else if (!strncmp(secret, "exec:", 5)) {
        const char *path = secret + 5;
        check_file(c, directive,
                   apr_pstrmemdup(c->p, path, strcspn(path, " \t")), false,
                   X_OK);
    }
    else if (!strncmp(secret, "env:", 4) && !getenv(secret + 4)) {
        say(c->warnings,
            apr_psprintf(
                c->p,
                "%s: the variable %s is not in this environment; set it "
                "where httpd is started",
                directive, secret + 4));
    }
}

/* Everything about an export, where most of what a server needs is idle. */
static void check_export(const check_t *c, const char *path)
{
    check_file(c, "CasProxyDirectory", path, false, R_OK);
    if (c->s->directory_bind != CASP_BIND_NONE) {
        say(c->warnings,
            "CasProxyDirectoryBind does nothing with an "
            "export, which cannot verify passwords either; remove it, or "
            "name a server in CasProxyDirectory");
    }
    if (c->s->global_catalog) {
        say(c->warnings, "CasProxyGlobalCatalog does nothing with an export, "
                         "which holds the users itself; remove it");
    }
}

static void check_server(const check_t *c)
{
    const casp_settings_t *s = c->s;
    bool plain = has_scheme(s->directory, "ldap://")
                 || has_scheme(s->global_catalog, "ldap://");
    bool tls = has_scheme(s->directory, "ldaps://")
               || has_scheme(s->global_catalog, "ldaps://");
    if (plain && s->directory_tls == CASP_TLS_UNSET) {
        say(c->errors,
            "CasProxyDirectoryTLS is missing: over ldap:// "
            "passwords would travel in clear; write CasProxyDirectoryTLS "
            "StartTLS, use ldaps://, or accept plain text with "
            "CasProxyDirectoryTLS Off");
    }
    if ((plain || tls) && s->directory_bind == CASP_BIND_NONE) {
        say(c->errors,
            "CasProxyDirectoryBind is missing: the directory is "
            "asked with an account of its own; write CasProxyDirectoryBind "
            "NAME file:/PATH");
    }
    if (s->directory_bind == CASP_BIND_SIMPLE) {
        check_secret(c);
    }
    if (s->bind_keytab) {
        check_file(c, "CasProxyDirectoryBind", s->bind_keytab, false, R_OK);
    }
    if (s->require_tls == CASP_REQTLS_OFF) {
        say(c->warnings,
            "CasProxyRequireTLS Off: the logon form and Basic take passwords "
            "over plain http, and hand sessions out over it; write On, or "
            "Forwarded behind a TLS proxy");
    }
    if (s->directory_ca_file) {
        check_file(c, "CasProxyDirectoryCAFile", s->directory_ca_file, false,
                   R_OK);
    }
    if (s->pool_min > s->pool_smax || s->pool_smax > s->pool_hmax) {
        say(c->errors,
            apr_psprintf(
                c->p,
                "CasProxyDirectoryPool: min=%d smax=%d hmax=%d is out of "
                "order; min may not exceed smax, nor smax hmax",
                s->pool_min, s->pool_smax, s->pool_hmax));
    }
}

/* What a ring holds is judged at the start, by root; here only what its name
 * leads to.  One that is not named is made at the start. */
static void check_ring(const check_t *c, const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        say(c->errors,
            apr_psprintf(c->p,
                         "CasProxyFormsKey: %s cannot be found; correct the "
                         "path, or put a secret there, made by \"openssl rand "
                         "-base64 48\", the same on all nodes",
                         path));
    }
    else if (!S_ISREG(st.st_mode)) {
        say(c->errors,
            apr_psprintf(c->p,
                         "CasProxyFormsKey: %s is no regular file; name one",
                         path));
    }
    else if (st.st_mode & (S_IRWXG | S_IRWXO)) {
        say(c->errors,
            apr_psprintf(c->p,
                         "CasProxyFormsKey: %s is open to others than its "
                         "owner; chmod 600 it, and where they may have read "
                         "it, put a new secret there",
                         path));
    }
}

static void check_forms(const check_t *c)
{
    const casp_settings_t *s = c->s;
    if (s->forms_key) {
        check_ring(c, s->forms_key);
    }
    if (s->forms_private < s->forms_public) {
        say(c->errors,
            apr_psprintf(c->p,
                         "CasProxyFormsTimeout: private=%s is shorter than "
                         "public=%s; a private computer's session lives at "
                         "least as long as a public one's",
                         casp_value_duration_of(c->p, s->forms_private),
                         casp_value_duration_of(c->p, s->forms_public)));
    }
}

/* The keys are read in the children, as httpd's user; so they may be open to
 * its group, and to nobody else. */
static void check_keytab(const check_t *c, const char *path)
{
    struct stat st;
    check_file(c, "CasProxyKeytab", path, false, R_OK);
    if (!stat(path, &st) && (st.st_mode & S_IRWXO)) {
        say(c->warnings,
            apr_psprintf(
                c->p,
                "CasProxyKeytab: everybody may read %s, and so act as this "
                "front; run chmod 640 on it, and chgrp to httpd's group",
                path));
    }
}

/* NTLM is handed on to a domain controller: there must be one, by TLS. */
static void check_relay(const check_t *c)
{
    const casp_settings_t *s = c->s;
    if (s->ntlm_verify != CASP_NTLM_DIRECTORY || !s->directory) {
        return;
    }
    if (casp_settings_ldif(s)) {
        say(c->errors,
            "CasProxyNTLMVerify Directory: an export can verify nobody; name "
            "a domain controller in CasProxyDirectory, as in "
            "ldaps://dc1.example.com, or write CasProxyNTLMVerify Winbind");
    }
    else if (has_scheme(s->directory, "ldapi://")) {
        say(c->errors,
            "CasProxyNTLMVerify Directory: a handshake is relayed over TLS, "
            "not over ldapi://; name the domain controller in "
            "CasProxyDirectory as ldaps://HOST, or write CasProxyNTLMVerify "
            "Winbind");
    }
    else if (has_scheme(s->directory, "ldap://")
             && s->directory_tls != CASP_TLS_STARTTLS) {
        say(c->errors,
            "CasProxyNTLMVerify Directory: over plain ldap:// logons could "
            "be overheard and taken over; use ldaps://, or write "
            "CasProxyDirectoryTLS StartTLS");
    }
}

static void check_helper(const check_t *c)
{
    const apr_array_header_t *words = c->s->ntlm_helper;
    const char *path =
        words ? APR_ARRAY_IDX(words, 0, const char *) : CASP_NTLM_HELPER;
    struct stat st;
    const char *wrong = stat(path, &st)           ? "cannot be found"
                        : !S_ISREG(st.st_mode)    ? "is no program"
                        : access(path, X_OK) != 0 ? "cannot be executed"
                                                  : NULL;
    if (wrong) {
        say(c->warnings,
            apr_psprintf(c->p,
                         "CasProxyNTLMVerify Winbind: %s %s, and NTLM logons "
                         "will be refused until it can be run; install "
                         "Samba's winbind and join the domain, or write "
                         "CasProxyNTLMVerify Directory",
                         path, wrong));
    }
}

void casp_settings_check_auth(apr_pool_t *p, const casp_settings_t *settings,
                              int schemes, int backend_auths,
                              apr_array_header_t *errors,
                              apr_array_header_t *warnings)
{
    const casp_settings_t *s = casp_settings_complete(p, settings, NULL);
    check_t c = {p, s, errors, warnings};
    if ((schemes & CASP_SCHEME_NEGOTIATE) && !s->keytab) {
        say(warnings,
            "CasProxyAuth Negotiate without CasProxyKeytab: Kerberos tickets "
            "are refused, and only NTLM inside Negotiate works; write "
            "CasProxyKeytab FILE with the keys of HTTP/ and this front's "
            "name");
    }
    if ((backend_auths & 1 << CASP_BACKENDAUTH_DELEGATE) && !s->keytab) {
        say(errors,
            "CasProxyBackendAuth Delegate needs CasProxyKeytab: delegation "
            "is the right of the account whose keys it holds; write "
            "CasProxyKeytab FILE");
    }
    /* Negotiate with a keytab is Kerberos first of all. */
    if (s->ntlm_verify == CASP_NTLM_WINBIND
        && ((schemes & CASP_SCHEME_NTLM)
            || ((schemes & CASP_SCHEME_NEGOTIATE) && !s->keytab))) {
        check_helper(&c);
    }
}

static void check_front(const check_t *c)
{
    const casp_settings_t *s = c->s;
    if (s->front != CASP_F2010SP2 && s->front != CASP_F2010SP3
        && s->cross_site_silent != own_cross_site(s)) {
        say(c->warnings,
            apr_psprintf(
                c->p,
                "CasProxyCrossSiteRedirectType is ignored: a front of %s "
                "always redirects %s; only 2010SP2 and 2010SP3 have the "
                "choice",
                casp_front_name((casp_front_e)s->front),
                own_cross_site(s) ? "silently" : "with a page"));
    }
    if (s->logon_format == CASP_LOGON_USERNAME && !s->default_domain) {
        say(c->warnings,
            "CasProxyLogonFormat UserName without "
            "CasProxyDefaultDomain: names without a domain cannot be looked "
            "up; write CasProxyDefaultDomain DOMAIN");
    }
    if (s->external_url && s->require_tls == CASP_REQTLS_ON
        && !casp_url_https(s->external_url)) {
        say(c->warnings,
            "CasProxyExternalURL is http://, but "
            "CasProxyRequireTLS refuses plain http; write https://, or "
            "CasProxyRequireTLS Forwarded behind a TLS proxy");
    }
    if (s->autodiscover == CASP_AUTODISCOVER_ANSWER && !s->external_url) {
        say(c->warnings,
            "CasProxyAutodiscover Answer without CasProxyExternalURL: the "
            "answers name the host that the client asked, often "
            "autodiscover.DOMAIN; write CasProxyExternalURL with the URL that "
            "people use");
    }
    if (s->pages) {
        check_file(c, "CasProxyPages", s->pages, true, R_OK | X_OK);
    }
    for (int i = 0; s->backend_hosts && i < s->backend_hosts->nelts; i++) {
        const char *host = APR_ARRAY_IDX(s->backend_hosts, i, const char *);
        if (!host[strspn(host, "*?.")]) {
            say(c->warnings,
                apr_psprintf(
                    c->p,
                    "CasProxyBackendHosts %s lets any host be a backend, "
                    "and the directory's content decide who gets passwords; "
                    "name your own domain, as in *.example.com",
                    host));
        }
    }
}

void casp_settings_check(apr_pool_t *p, const casp_settings_t *settings,
                         apr_array_header_t *errors,
                         apr_array_header_t *warnings)
{
    const casp_settings_t *s = casp_settings_complete(p, settings, NULL);
    check_t c = {p, s, errors, warnings};
    const char *export = casp_settings_ldif(s);
    if (!s->directory) {
        say(errors,
            "CasProxyDirectory is missing: name the directory, as in "
            "CasProxyDirectory ldaps://dc1.example.com, or an export of it "
            "with ldif:/PATH");
    }
    else if (export) {
        check_export(&c, export);
    }
    else {
        check_server(&c);
    }
    if (s->keytab) {
        check_keytab(&c, s->keytab);
    }
    check_relay(&c);
    check_front(&c);
    check_forms(&c);
}
