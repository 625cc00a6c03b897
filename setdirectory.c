/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * Directives of the directory: where Active Directory is, who asks it, over
 * how many connections and for how long, and what is remembered of it.
 *
 * A setter checks words and nothing else; no message here repeats what may be
 * a secret.  No directory is asked, and no file is looked at.
 */

#include "directives.h"

static const casp_word_t words_tls[] = {
    {"StartTLS", CASP_TLS_STARTTLS}, {"Off", CASP_TLS_OFF}, {NULL, 0}};

/* ------------------------------------------------------------- directory */

static bool is_ldif(const char *url)
{
    return !strncmp(url, "ldif:", 5);
}

static const char *directory_urls(apr_pool_t *p, int argc,
                                  const char *const *argv,
                                  apr_array_header_t **urls)
{
    apr_array_header_t *list = apr_array_make(p, argc, sizeof(char *));
    for (int i = 0; i < argc; i++) {
        const char *url = NULL;
        const char *wrong = casp_value_directory(p, argv[i], &url);
        if (wrong) {
            return wrong;
        }
        for (int j = 0; j < list->nelts; j++) {
            if (!strcmp(url, APR_ARRAY_IDX(list, j, const char *))) {
                return apr_psprintf(p,
                                    "%s stands there twice; leave one "
                                    "of them out",
                                    url);
            }
        }
        APR_ARRAY_PUSH(list, const char *) = url;
    }
    *urls = list;
    return NULL;
}

SETTER(directory)
{
    apr_array_header_t *urls = NULL;
    const char *wrong = directory_urls(p, argc, argv, &urls);
    if (wrong) {
        return wrong;
    }
    for (int i = 0; i < urls->nelts; i++) {
        if (is_ldif(APR_ARRAY_IDX(urls, i, const char *)) && urls->nelts > 1) {
            return "an export stands alone: join several exports into one "
                   "file, and leave out the servers or the export";
        }
    }
    s->directory = urls;
    return NULL;
}
DUMPER(directory)
{
    casp_put(p, lines, "CasProxyDirectory", casp_put_join(p, s->directory));
}

SETTER(global_catalog)
{
    apr_array_header_t *urls = NULL;
    const char *wrong = directory_urls(p, argc, argv, &urls);
    if (wrong) {
        return wrong;
    }
    for (int i = 0; i < urls->nelts; i++) {
        if (is_ldif(APR_ARRAY_IDX(urls, i, const char *))) {
            return "an export is no Global Catalog: name it in "
                   "CasProxyDirectory, where its users are found too";
        }
    }
    s->global_catalog = urls;
    return NULL;
}
DUMPER(global_catalog)
{
    casp_put(p, lines, "CasProxyGlobalCatalog",
             casp_put_join(p, s->global_catalog));
}

SETTER(directory_base)
{
    return casp_value_dn(p, argv[0], &s->directory_base);
}
DUMP_STRING(directory_base, "CasProxyDirectoryBase", s->directory_base)

static const char *set_gssapi(apr_pool_t *p, casp_settings_t *s, int argc,
                              const char *const *argv)
{
    const char *keytab = NULL;
    if (argc > 2) {
        return "GSSAPI takes a keytab and nothing else";
    }
    const char *wrong =
        argc == 2 ? casp_value_path(p, argv[1], &keytab) : NULL;
    if (wrong) {
        return wrong;
    }
    s->directory_bind = CASP_BIND_GSSAPI;
    s->bind_keytab = keytab;
    s->bind_name = s->bind_secret = NULL;
    return NULL;
}

/* No message here repeats a word: one of them may be a password. */
SETTER(bind)
{
    if (!apr_cstr_casecmp(argv[0], "GSSAPI")) {
        return set_gssapi(p, s, argc, argv);
    }
    if (argc < 2) {
        return "it takes a name and where its password is found, as in "
               "CasProxyDirectoryBind EXAMPLE\\casproxy "
               "file:/etc/apache2/casproxy-bind, or GSSAPI";
    }
    const char *secret = argv[1];
    for (int i = 2; i < argc; i++) {
        if (strncmp(secret, "exec:", 5)) {
            return "it takes a name and one reference to a secret; quote "
                   "a name or a path that holds blanks";
        }
        secret = apr_pstrcat(p, secret, " ", argv[i], NULL);
    }
    const char *name = NULL, *reference = NULL;
    if (casp_value_name(p, argv[0], "name", "", 1024, &name)) {
        return "the name is empty, too long or holds control characters; "
               "write DOMAIN\\user, user@domain or a DN";
    }
    const char *wrong = casp_value_secret(p, secret, &reference);
    if (wrong) {
        return wrong;
    }
    s->directory_bind = CASP_BIND_SIMPLE;
    s->bind_name = name;
    s->bind_secret = reference;
    s->bind_keytab = NULL;
    return NULL;
}
DUMPER(bind)
{
    if (s->directory_bind == CASP_BIND_GSSAPI) {
        casp_put(p, lines, "CasProxyDirectoryBind",
                 s->bind_keytab
                     ? apr_pstrcat(p, "GSSAPI ",
                                   casp_value_quote(p, s->bind_keytab), NULL)
                     : "GSSAPI");
    }
    else if (s->directory_bind == CASP_BIND_SIMPLE) {
        casp_put(p, lines, "CasProxyDirectoryBind",
                 apr_pstrcat(p, casp_value_quote(p, s->bind_name), " ",
                             casp_value_quote(p, s->bind_secret), NULL));
    }
}

SETTER(directory_tls)
{
    return casp_value_word(p, argv[0], words_tls, &s->directory_tls);
}
DUMP_CHOICE(directory_tls, "CasProxyDirectoryTLS", words_tls, s->directory_tls)

SETTER(ca_file)
{
    return casp_value_path(p, argv[0], &s->directory_ca_file);
}
DUMP_STRING(ca_file, "CasProxyDirectoryCAFile", s->directory_ca_file)

static const casp_key_range_t keys_pool[] = {
    NUM("min", pool_min, 0, 1000), NUM("smax", pool_smax, 1, 1000),
    NUM("hmax", pool_hmax, 1, 1000), NUM("ttl", pool_ttl, 1, DAY), LAST_KEY};
KEYS_SETTER(directory_pool, keys_pool)
KEYS_DUMPER(directory_pool, "CasProxyDirectoryPool", keys_pool)

static const casp_key_range_t keys_timeout[] = {
    NUM("connect", timeout_connect, 1, 60),
    NUM("search", timeout_search, 1, 300),
    NUM("topology", timeout_topology, 1, 3600), LAST_KEY};
KEYS_SETTER(directory_timeout, keys_timeout)
KEYS_DUMPER(directory_timeout, "CasProxyDirectoryTimeout", keys_timeout)

SETTER(topology_refresh)
{
    return casp_value_number(p, argv[0], "seconds", 1, 7 * DAY,
                             &s->topology_refresh);
}
DUMPER(topology_refresh)
{
    casp_put_number(p, lines, "CasProxyTopologyRefresh", s->topology_refresh);
}

/* ---------------------------------------------------------------- caches */

static const casp_key_range_t keys_mailbox[] = {
    NUM("ttl", mailbox_ttl, 0, 7 * DAY),
    NUM("negative", mailbox_negative, 0, DAY),
    NUM("stale", mailbox_stale, 0, 30 * DAY),
    NUM("size", mailbox_size, 16, MANY), LAST_KEY};
KEYS_SETTER(mailbox_cache, keys_mailbox)
KEYS_DUMPER(mailbox_cache, "CasProxyMailboxCache", keys_mailbox)

static const casp_key_range_t keys_credential[] = {
    NUM("ttl", credential_ttl, 0, DAY), LAST_KEY};
KEYS_SETTER(credential_cache, keys_credential)
KEYS_DUMPER(credential_cache, "CasProxyCredentialCache", keys_credential)

SETTER(shared_cache)
{
    const char *name = argv[0];
    apr_size_t len = strcspn(name, ":");
    if (!len
        || strspn(name, "abcdefghijklmnopqrstuvwxyz"
                        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
               < len) {
        return apr_psprintf(p,
                            "%s names no cache; write PROVIDER or "
                            "PROVIDER:ARGUMENTS, as in shmcb or "
                            "redis:host:6379",
                            casp_value_show(p, name));
    }
    return casp_value_name(p, name, "shared cache", "", 1024,
                           &s->shared_cache);
}
DUMP_STRING(shared_cache, "CasProxySharedCache", s->shared_cache)
