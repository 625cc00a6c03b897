/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * casproxyctl check: is everything as it must be for Kerberos, delegation and
 * NTLM?  This file gathers: the settings, the directory, the keytab, a KDC,
 * the helper.  checkup.c judges.
 *
 * What the settings do not need is not looked at, and said so.  A thing that
 * fails does not end the check; what hangs on it is left out.
 *
 * Must not: change anything anywhere, or send a password: a ticket is got by
 * keytab, and where there is none, a KDC is asked about a user that does not
 * exist.
 */

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include <krb5.h>
#include <ldap.h>

#include <apr_cstr.h>
#include <apr_strings.h>

#include "checkup.h"
#include "ctl.h"
#include "gssclient.h"
#include "gsstickets.h"
#include "login.h"

#define GLANCE 50000 /* microseconds between two looks */
#define HOSTS_MAX 500 /* backends that are looked at */

#define OK CASP_CHECK_OK
#define UNUSED CASP_CHECK_UNUSED
#define WARN CASP_CHECK_WARN
#define FAIL CASP_CHECK_FAIL

typedef struct {
    casp_ctl_explain_t *e;
    apr_pool_t *p;
    casp_checkup_t c;
    casp_topology_t *t; /* NULL: not known */
    casp_directory_t *dir; /* NULL: an export, or none */
    const casp_directory_root_t *root;
    const char *realm; /* of the directory's domain; NULL: not known */
    /* what the settings and the backends ask for */
    bool negotiate_in, ntlm_in; /* users may come so */
    bool kerberos_out, ntlm_out; /* backends are logged on at so */
    apr_array_header_t *hosts; /* const char *: delegation wanted */
    /* what was found */
    apr_array_header_t *keys; /* casp_check_key_t */
    const casp_check_account_t *own; /* whose keys; NULL: not found */
    bool ticket; /* one could be got by the keytab */
} check_t;

/* ----------------------------------------------------- what is asked for */

/* This front's own name, without port; NULL: not known. */
static const char *front_host(const check_t *k)
{
    const char *url = k->e->s->external_url;
    const char *host = NULL;

    url = url ? casp_url_check(k->p, url) : NULL;
    host = url ? casp_url_host(k->p, url) : NULL;
    return host ? apr_pstrmemdup(k->p, host, strcspn(host, ":")) : NULL;
}

static bool is_front(const check_t *k, const char *host)
{
    const char *front = front_host(k);
    return front && !apr_cstr_casecmp(front, host);
}

/* A backend's name without port, as the module takes it: a name that no
 * server has is a balancer's, and the server itself is asked. */
static const char *backend_host(const check_t *k, const casp_vdir_t *v)
{
    const char *host = casp_url_host(k->p, v->internal_url);

    host = apr_pstrmemdup(k->p, host, strcspn(host, ":"));
    return casp_topology_server_by_host(k->t, host) && !is_front(k, host)
               ? host
               : v->server->fqdn;
}

static void want_host(check_t *k, const char *host)
{
    for (int i = 0; i < k->hosts->nelts; i++) {
        if (!apr_cstr_casecmp(APR_ARRAY_IDX(k->hosts, i, const char *),
                              host)) {
            return;
        }
    }
    if (k->hosts->nelts < HOSTS_MAX && !is_front(k, host)) {
        APR_ARRAY_PUSH(k->hosts, const char *) = host;
    }
}

/* How would a backend be logged on at, by those who may come? */
static void want_login(check_t *k, const casp_dir_settings_t *d,
                       casp_login_ask_t *ask, int schemes, const char *host)
{
    static const struct {
        int schemes;
        casp_by_e by;
    } ways[] = {{CASP_SCHEME_BASIC | CASP_SCHEME_FORMS, CASP_BY_BASIC},
                {CASP_SCHEME_NEGOTIATE | CASP_SCHEME_NTLM | CASP_SCHEME_NONE,
                 CASP_BY_NEGOTIATE}};
    const char *why;

    ask->wanted = (casp_backend_auth_e)d->backend_auth;
    ask->keytab = k->e->s->keytab != NULL;
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
        if (!(schemes & ways[i].schemes)) {
            continue;
        }
        ask->by = ways[i].by;
        casp_login_e login = casp_login_choose(ask, &why);
        k->kerberos_out = k->kerberos_out || login == CASP_LOGIN_KERBEROS;
        k->ntlm_out = k->ntlm_out || login == CASP_LOGIN_NTLM;
        if (login == CASP_LOGIN_DELEGATE) {
            want_host(k, host);
        }
    }
}

/* What the settings of a path let in. */
static int schemes_at(check_t *k, const casp_dir_settings_t *d,
                      casp_protocol_e protocol)
{
    int schemes = d->mode == CASP_MODE_OFF
                      ? 0
                      : casp_settings_schemes(d->auth, k->e->s->keytab != NULL,
                                              protocol);
    k->negotiate_in = k->negotiate_in || (schemes & CASP_SCHEME_NEGOTIATE);
    k->ntlm_in = k->ntlm_in
                 || (schemes & CASP_SCHEME_NTLM)
                 /* inside Negotiate, where there is no Kerberos */
                 || ((schemes & CASP_SCHEME_NEGOTIATE) && !k->e->s->keytab);
    return schemes;
}

/* The paths whose settings count where no organisation is known. */
static void gather_paths(check_t *k)
{
    static const struct {
        const char *path;
        casp_protocol_e protocol;
    } paths[] = {{"/owa", CASP_PROTO_OWA},
                 {"/ecp", CASP_PROTO_ECP},
                 {"/Microsoft-Server-ActiveSync", CASP_PROTO_EAS},
                 {"/EWS", CASP_PROTO_EWS},
                 {"/Autodiscover", CASP_PROTO_AUTODISCOVER},
                 {"/OAB", CASP_PROTO_OAB},
                 {"/rpc", CASP_PROTO_RPC},
                 {"/mapi", CASP_PROTO_MAPI},
                 {"/exchange", CASP_PROTO_LEGACY}};

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
        schemes_at(k, casp_config_dir_for(k->p, &k->e->config, paths[i].path),
                   paths[i].protocol);
    }
}

static void gather_backends(check_t *k)
{
    for (int i = 0; i < k->t->vdirs->nelts; i++) {
        const casp_vdir_t *v =
            APR_ARRAY_IDX(k->t->vdirs, i, const casp_vdir_t *);
        if (!v->internal_url || !*casp_url_path(v->internal_url)) {
            continue;
        }
        const casp_dir_settings_t *d =
            casp_config_dir_for(k->p, &k->e->config,
                                casp_url_path(v->internal_url));
        casp_login_ask_t ask = {.protocol = v->protocol,
                                .auth = v->internal_auth,
                                .https = casp_url_https(v->internal_url)};
        want_login(k, d, &ask, schemes_at(k, d, v->protocol),
                   backend_host(k, v));
    }
    const casp_dir_settings_t *d =
        casp_config_dir_for(k->p, &k->e->config, "/exchange");
    int schemes = schemes_at(k, d, CASP_PROTO_LEGACY);
    for (int i = 0; i < k->t->servers->nelts; i++) {
        const casp_server_t *s =
            APR_ARRAY_IDX(k->t->servers, i, const casp_server_t *);
        if (s->version == CASP_V2000 || s->version == CASP_V2003) {
            casp_login_ask_t ask = {.protocol = CASP_PROTO_LEGACY,
                                    .legacy = true};
            want_login(k, d, &ask, schemes, s->fqdn);
        }
    }
}

/* -------------------------------------------------------------- directory */

static const char *start_org(check_t *k)
{
    casp_ctl_explain_t *e = k->e;
    const char *secret = NULL, *error = NULL;
    char text[120];

    if (!casp_settings_ldif(e->s) && e->s->bind_secret) {
        error = casp_secret_read(k->p, e->s->bind_secret, &secret);
        if (error) {
            return apr_pstrcat(k->p, "CasProxyDirectoryBind: ", error, NULL);
        }
    }
    error = casp_org_create(k->p, e->s, secret, &e->org);
    if (!error) {
        apr_status_t rv = casp_org_start(e->org, k->p, NULL, NULL);
        error = rv == APR_SUCCESS
                    ? NULL
                    : apr_pstrdup(k->p, apr_strerror(rv, text, sizeof(text)));
    }
    return error;
}

/* One tick asks the directory once, within its time-outs. */
static const char *read_org(check_t *k)
{
    apr_time_t deadline =
        apr_time_now() + apr_time_from_sec(k->e->s->timeout_topology);
    const char *trouble = NULL;

    do {
        casp_org_tick(k->e->org, apr_time_now());
        k->t = casp_org_topology(k->e->org);
        trouble = k->t ? NULL : casp_org_trouble(k->e->org, k->p);
        if (!k->t && !trouble) {
            apr_sleep(GLANCE);
        }
    } while (!k->t && !trouble && apr_time_now() < deadline);
    return k->t      ? NULL
           : trouble ? trouble
                     : "the directory did not answer in time";
}

static apr_time_t patience(const check_t *k)
{
    return apr_time_now() + casp_org_patience(k->e->org);
}

static void check_directory(check_t *k)
{
    const char *why = NULL;
    const char *error = start_org(k);

    error = error ? error : read_org(k);
    if (error) {
        casp_checkup_say(&k->c, FAIL, "directory",
                         "see CasProxyDirectory and CasProxyDirectoryBind",
                         "the organisation cannot be read: %s", error);
        return;
    }
    const char *name = casp_org_name(k->e->org);
    k->dir = casp_org_directory(k->e->org);
    if (!k->dir) {
        casp_checkup_say(&k->c, WARN, "directory",
                         "check with the live directory too",
                         "%s is an export: accounts and clocks were not "
                         "looked at",
                         name);
        return;
    }
    if (casp_directory_root(k->dir, k->p, patience(k), &k->root, &why)
        != CASP_DIR_OK) {
        casp_checkup_say(&k->c, FAIL, "directory", "see the domain controller",
                         "%s: %s", name, why);
        k->dir = NULL;
        return;
    }
    if (k->root->is_ad && k->root->default_nc) {
        k->realm = casp_check_realm(k->p, k->root->default_nc);
    }
    casp_checkup_say(&k->c, k->realm ? OK : WARN, "directory",
                     k->realm ? NULL : "Kerberos needs Active Directory",
                     k->realm ? "%s answers for %s"
                              : "%s is no Active Directory%s",
                     name, k->realm ? k->realm : "");
}

static void check_clock(check_t *k)
{
    static const char *const attrs[] = {"currentTime", NULL};
    casp_search_t search = {"",   LDAP_SCOPE_BASE, "(objectClass=*)", attrs, 0,
                            false};
    apr_array_header_t *entries = NULL;
    const char *why = NULL, *stamp = NULL;

    if (!k->dir) {
        return;
    }
    if (casp_directory_search(k->dir, k->p, &search, patience(k), &entries,
                              &why)
            == CASP_DIR_OK
        && entries->nelts) {
        stamp = casp_entry_str(APR_ARRAY_IDX(entries, 0, casp_entry_t *),
                               "currentTime");
    }
    casp_checkup_clock(&k->c, stamp, apr_time_now());
}

/* The accounts that a filter finds in the directory's own domain. */
static apr_array_header_t *accounts(check_t *k, const char *filter)
{
    casp_search_t search = {k->root->default_nc,
                            LDAP_SCOPE_SUBTREE,
                            filter,
                            casp_check_account_attrs,
                            20,
                            false};
    apr_array_header_t *entries = NULL;
    apr_array_header_t *found = apr_array_make(k->p, 2, sizeof(void *));
    const char *why = NULL;
    casp_dir_e rc = casp_directory_search(k->dir, k->p, &search, patience(k),
                                          &entries, &why);

    if (rc != CASP_DIR_OK) {
        casp_checkup_say(&k->c, WARN, "directory", "see the bind's rights",
                         "a search for accounts failed: %s", why);
    }
    for (int i = 0; entries && i < entries->nelts; i++) {
        casp_check_account_t *a = apr_palloc(k->p, sizeof(*a));
        casp_check_account(APR_ARRAY_IDX(entries, i, casp_entry_t *), a);
        APR_ARRAY_PUSH(found, casp_check_account_t *) = a;
    }
    return found;
}

static apr_array_header_t *accounts_by(check_t *k, const char *attr,
                                       const char *value)
{
    return accounts(k,
                    apr_pstrcat(k->p, "(", attr, "=",
                                casp_filter_escape(k->p, value, strlen(value)),
                                ")", NULL));
}

/* Who has the SPN; for HTTP/host, HOST/host counts where nobody has it. */
static apr_array_header_t *holders_of(check_t *k, const char *host)
{
    apr_array_header_t *found =
        accounts_by(k, "servicePrincipalName",
                    apr_pstrcat(k->p, "HTTP/", host, NULL));
    return found->nelts ? found
                        : accounts_by(k, "servicePrincipalName",
                                      apr_pstrcat(k->p, "HOST/", host, NULL));
}

/* ----------------------------------------------------------------- keytab */

static void check_mode(check_t *k, const char *path)
{
    const struct passwd *pw = casp_ctl_httpd_user();
    struct stat st;

    if (stat(path, &st)) {
        return;
    }
    if (st.st_mode & S_IRWXO) {
        casp_checkup_say(&k->c, FAIL, "keytab-mode",
                         "chmod 640, and chgrp to httpd's group",
                         "everybody may read %s, and so act as this front",
                         path);
    }
    else if (pw && !casp_ctl_may_read(pw, &st)) {
        casp_checkup_say(&k->c, WARN, "keytab-mode",
                         "chgrp to its group and chmod 640",
                         "%s may not read %s; see whether httpd runs as that "
                         "user",
                         pw->pw_name, path);
    }
    else {
        casp_checkup_say(&k->c, OK, "keytab-mode", NULL,
                         "%s has mode %04o%s%s", path,
                         (unsigned)st.st_mode & 07777,
                         pw ? " and can be read by " : "",
                         pw ? pw->pw_name : "");
    }
}

/* "HTTP/mail.contoso.test", without the realm. */
static const char *principal_name(check_t *k, krb5_context ctx,
                                  krb5_principal who)
{
    char *text = NULL;
    const char *name = "?";

    if (!krb5_unparse_name_flags(ctx, who, KRB5_PRINCIPAL_UNPARSE_NO_REALM,
                                 &text)) {
        name = apr_pstrdup(k->p, text);
        krb5_free_unparsed_name(ctx, text);
    }
    return name;
}

static krb5_error_code read_keys(check_t *k, krb5_context ctx,
                                 const char *path)
{
    krb5_keytab keytab;
    krb5_kt_cursor cursor;
    krb5_keytab_entry entry;
    krb5_error_code code =
        krb5_kt_resolve(ctx, apr_pstrcat(k->p, "FILE:", path, NULL), &keytab);

    if (code) {
        return code;
    }
    code = krb5_kt_start_seq_get(ctx, keytab, &cursor);
    while (!code && !krb5_kt_next_entry(ctx, keytab, &entry, &cursor)) {
        casp_check_key_t *key = apr_array_push(k->keys);
        key->name = principal_name(k, ctx, entry.principal);
        key->realm = apr_pstrmemdup(k->p, entry.principal->realm.data,
                                    entry.principal->realm.length);
        key->spn = entry.principal->length > 1;
        key->kvno = entry.vno;
        key->etype = entry.key.enctype;
        krb5_free_keytab_entry_contents(ctx, &entry);
    }
    if (!code) {
        krb5_kt_end_seq_get(ctx, keytab, &cursor);
    }
    krb5_kt_close(ctx, keytab);
    return code;
}

/* Each principal once, with its version and its types. */
static void tell_keys(check_t *k)
{
    for (int i = 0; i < k->keys->nelts; i++) {
        const casp_check_key_t *key =
            &APR_ARRAY_IDX(k->keys, i, casp_check_key_t);
        const char *types = "";
        bool told = false;
        for (int j = 0; j < k->keys->nelts; j++) {
            const casp_check_key_t *other =
                &APR_ARRAY_IDX(k->keys, j, casp_check_key_t);
            char name[64];
            if (strcmp(other->name, key->name) || other->kvno != key->kvno) {
                continue;
            }
            told = told || j < i;
            if (krb5_enctype_to_name(other->etype, 0, name, sizeof(name))) {
                apr_snprintf(name, sizeof(name), "%d", other->etype);
            }
            types = apr_pstrcat(k->p, types, *types ? ", " : "", name, NULL);
        }
        if (!told) {
            casp_checkup_say(&k->c, OK, "keytab-key", NULL,
                             "%s@%s, version %u (%s)", key->name, key->realm,
                             key->kvno, types);
        }
    }
}

static void check_keytab(check_t *k)
{
    const char *path = k->e->s->keytab;
    krb5_context ctx = NULL;
    krb5_error_code code;

    if (!path) {
        casp_checkup_say(&k->c, UNUSED, "keytab", NULL,
                         "not used: there is no CasProxyKeytab, and so no "
                         "Kerberos at the door and no delegation");
        return;
    }
    code = krb5_init_context(&ctx);
    code = code ? code : read_keys(k, ctx, path);
    if (code || !k->keys->nelts) {
        casp_kdc_ask_t ask = {.p = k->p, .keytab = path};
        const char *text = ctx ? krb5_get_error_message(ctx, code) : "";
        casp_kdc_explain(&ask, CASP_STEP_KEYTAB, code ? code : KRB5_KT_END,
                         code ? text : NULL);
        casp_checkup_say(&k->c, FAIL, "keytab", NULL, "%s", ask.why);
        if (ctx) {
            krb5_free_error_message(ctx, text);
        }
    }
    else {
        casp_checkup_say(&k->c, OK, "keytab", NULL, "%s can be read", path);
        check_mode(k, path);
        tell_keys(k);
    }
    if (ctx) {
        krb5_free_context(ctx);
    }
}

/* The account that the keytab is for: named in it, or behind its SPN. */
static void find_own(check_t *k)
{
    const char *name = NULL;

    for (int i = 0; i < k->keys->nelts && !name; i++) {
        const casp_check_key_t *key =
            &APR_ARRAY_IDX(k->keys, i, casp_check_key_t);
        name = key->spn ? NULL : key->name;
    }
    if (!k->dir || !k->root->is_ad || !k->keys->nelts) {
        return;
    }
    const char *spn = APR_ARRAY_IDX(k->keys, 0, casp_check_key_t).name;
    apr_array_header_t *found =
        name ? accounts_by(k, "sAMAccountName", name)
             : accounts_by(k, "servicePrincipalName", spn);
    if (found->nelts == 1) {
        k->own = APR_ARRAY_IDX(found, 0, const casp_check_account_t *);
        casp_checkup_keys(&k->c, k->keys, k->own);
        return;
    }
    casp_checkup_say(&k->c, FAIL, "account",
                     "name the account of the keytab in the directory's own "
                     "domain",
                     "the directory has no account %s", name ? name : spn);
}

static void check_spn(check_t *k)
{
    const char *host = front_host(k);

    if (!k->keys->nelts || !k->dir || !k->root->is_ad) {
        return;
    }
    if (!host) {
        casp_checkup_say(&k->c, WARN, "spn", "write CasProxyExternalURL",
                         "this front's name is not known, and so not whether "
                         "its SPN is right");
        return;
    }
    casp_checkup_spn(&k->c, apr_pstrcat(k->p, "HTTP/", host, NULL),
                     holders_of(k, host), k->keys, k->own);
}

/* --------------------------------------------------------------- Kerberos */

static void check_kdc(check_t *k)
{
    casp_kdc_ask_t ask = {.p = k->p,
                          .realm = k->realm,
                          .user = "casproxy-check-nobody",
                          .keytab = k->e->s->keytab};
    casp_tickets_t *tickets = NULL;
    apr_time_t start = apr_time_now();

    if (k->keys->nelts) {
        casp_gss_e rc = casp_tickets_keytab(&ask, &tickets);
        casp_tickets_end(tickets);
        k->ticket = rc == CASP_GSS_OK;
        casp_checkup_say(&k->c, k->ticket ? OK : FAIL, "kdc", NULL,
                         k->ticket ? "%s got a ticket in %d ms" : "%s",
                         k->ticket ? ask.account : ask.why,
                         (int)apr_time_as_msec(apr_time_now() - start));
        return;
    }
    if (!k->realm || !(k->kerberos_out || k->negotiate_in)) {
        casp_checkup_say(&k->c, UNUSED, "kdc", NULL,
                         "not used: nothing here needs Kerberos");
        return;
    }
    /* nobody's ticket: that the KDC says no is what is wanted */
    bool there =
        casp_tickets_password(&ask, "x", 1, &tickets) != CASP_GSS_UNAVAILABLE;
    casp_tickets_end(tickets);
    casp_checkup_say(&k->c, there ? OK : FAIL, "kdc", NULL,
                     there ? "a KDC of %s answers" : "%s",
                     there ? k->realm : ask.why);
}

static void check_realm(check_t *k)
{
    if (k->realm && k->keys->nelts) {
        const char *realm = APR_ARRAY_IDX(k->keys, 0, casp_check_key_t).realm;
        bool same = !strcmp(realm, k->realm);
        casp_checkup_say(&k->c, same ? OK : WARN, "realm",
                         same ? NULL : "see whether that is what you want",
                         same ? "the keytab's realm is the directory's, %s%s"
                              : "the keytab is for %s, the directory's realm "
                                "is %s",
                         realm, same ? "" : k->realm);
    }
}

static void check_delegation(check_t *k)
{
    if (!k->e->s->keytab || (k->t && !k->hosts->nelts)) {
        casp_checkup_say(&k->c, UNUSED, "delegation", NULL, "not used: %s",
                         k->e->s->keytab
                             ? "no backend is logged on at that way"
                             : "there is no CasProxyKeytab");
        return;
    }
    if (!k->dir || !k->root->is_ad || !k->own) {
        return;
    }
    casp_checkup_trusted(&k->c, k->own);
    for (int i = 0; i < k->hosts->nelts; i++) {
        const char *host = APR_ARRAY_IDX(k->hosts, i, const char *);
        casp_checkup_backend(&k->c, host, holders_of(k, host),
                             k->t->domains->nelts > 1, k->own);
    }
}

/* --------------------------------------------------------------- one user */

/* By any of the names that people log on with. */
static const casp_check_account_t *find_user(check_t *k)
{
    const char *name = k->e->o.user;
    const char *bar = strchr(name, '\\');
    name = bar ? bar + 1 : name;
    const char *escaped = casp_filter_escape(k->p, name, strlen(name));
    apr_array_header_t *found =
        accounts(k, apr_pstrcat(k->p, "(&(objectClass=user)(|(sAMAccountName=",
                                escaped, ")(userPrincipalName=", escaped,
                                ")))", NULL));

    if (found->nelts == 1) {
        return APR_ARRAY_IDX(found, 0, const casp_check_account_t *);
    }
    casp_checkup_say(&k->c, FAIL, "user",
                     "write the sAMAccountName, or user@domain",
                     found->nelts ? "several accounts of the domain are %s"
                                  : "no account of the domain is %s",
                     name);
    return NULL;
}

/* Really: S4U2Self and S4U2Proxy to the first backend that wants it. */
static void check_user(check_t *k)
{
    if (!k->e->o.user || !k->dir || !k->root->is_ad) {
        return;
    }
    const casp_check_account_t *user = find_user(k);
    if (!user || casp_checkup_user(&k->c, user)) {
        return;
    }
    if (!k->hosts->nelts || !k->ticket) {
        casp_checkup_say(&k->c, k->hosts->nelts ? FAIL : UNUSED, "user", NULL,
                         k->hosts->nelts
                             ? "not tried for %s: no ticket by keytab"
                             : "not used for %s: no backend wants delegation",
                         user->sam);
        return;
    }
    const char *host = APR_ARRAY_IDX(k->hosts, 0, const char *);
    casp_gss_conf_t conf = {.keytab = k->e->s->keytab};
    casp_gss_user_t who = {.sam = user->sam, .realm = k->realm, .netbios = ""};
    casp_gss_token_t token = {NULL, 0, NULL};
    casp_gss_e rc = casp_gss_delegate(casp_gss_create(k->p, &conf), k->p, &who,
                                      host, &token);
    if (rc == CASP_GSS_OK) {
        casp_checkup_say(&k->c, OK, "user", NULL,
                         "a ticket in the name of %s for HTTP/%s was got",
                         user->sam, host);
    }
    else {
        casp_checkup_say(&k->c, FAIL, "user", NULL, "%s", token.why);
    }
}

/* ---------------------------------------------------------------- printing */

static void print_line(const check_t *k, const casp_check_line_t *l)
{
    const char *text = casp_ctl_plain(k->p, l->text);
    const char *remedy = l->remedy ? casp_ctl_plain(k->p, l->remedy) : NULL;

    if (k->e->o.json) {
        printf("{\"check\":");
        casp_ctl_json_string(l->id);
        printf(",\"result\":\"%s\",\"text\":",
               l->result == FAIL ? "fail" : casp_check_name(l->result));
        casp_ctl_json_string(text);
        printf(",\"remedy\":");
        casp_ctl_json_string(remedy);
        puts("}");
        return;
    }
    printf("%-4s  %s: %s%s%s\n",
           casp_check_name(l->result == UNUSED ? OK : l->result), l->id, text,
           remedy ? " -- to do: " : "", remedy ? remedy : "");
}

static void print_all(const check_t *k)
{
    for (int i = 0; i < k->c.lines->nelts; i++) {
        print_line(k, &APR_ARRAY_IDX(k->c.lines, i, casp_check_line_t));
    }
    if (!k->e->o.json) {
        printf("%d well, %d not used, %d to look at, %d wrong\n",
               k->c.count[OK], k->c.count[UNUSED], k->c.count[WARN],
               k->c.count[FAIL]);
    }
}

static void check_settings(check_t *k)
{
    const struct {
        const apr_array_header_t *list;
        casp_check_e result;
    } lists[] = {{k->e->errors, FAIL}, {k->e->warnings, WARN}};

    for (size_t i = 0; i < sizeof(lists) / sizeof(*lists); i++) {
        for (int j = 0; j < lists[i].list->nelts; j++) {
            casp_checkup_say(&k->c, lists[i].result, "configuration", NULL,
                             "%s",
                             APR_ARRAY_IDX(lists[i].list, j, const char *));
        }
    }
    if (!k->c.lines->nelts) {
        casp_checkup_say(&k->c, OK, "configuration", NULL, "%s can be used",
                         k->e->o.config);
    }
}

bool casp_ctl_check(casp_ctl_explain_t *e)
{
    check_t *k = apr_pcalloc(e->p, sizeof(*k));

    k->e = e;
    k->p = e->p;
    k->hosts = apr_array_make(k->p, 8, sizeof(char *));
    k->keys = apr_array_make(k->p, 8, sizeof(casp_check_key_t));
    casp_checkup_init(&k->c, k->p);
    check_settings(k);
    check_directory(k);
    gather_paths(k);
    if (k->t) {
        gather_backends(k);
    }
    check_clock(k);
    check_keytab(k);
    check_realm(k);
    check_kdc(k);
    find_own(k);
    check_spn(k);
    check_delegation(k);
    check_user(k);
    /* where no backend is known, any may want it */
    casp_ctl_check_ntlm(&k->c, e->s, k->ntlm_in, !k->t || k->ntlm_out);
    if (k->t) {
        casp_ctl_check_rpc(&k->c, e->s, k->t);
    }
    print_all(k);
    if (k->t) {
        casp_topology_unref(k->t);
    }
    return k->c.count[FAIL] == 0;
}
