/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The table of directives: for each its name, where it may stand, how many
 * words it takes, what the reference says of it, a setter and a dumper.
 * httpd's command_rec, casproxyctl's reader, the dump, the reference and the
 * drift check are all driven by it; a directive is added here, in the struct,
 * in the list of members (settings.c) and in docs/reference.md, and the drift
 * check names the place that was forgotten.  Setters of the directory are in
 * setdirectory.c, those of logging on in setlogon.c.
 *
 * A setter checks words and nothing else: what depends on other directives is
 * casp_settings_check()'s, for the order of lines must not matter.  A dumper
 * writes what its setter would read.
 */

#include "directives.h"

#include <apr_lib.h>

/* --------------------------------------------------------------- helpers */

void casp_put(apr_pool_t *p, apr_array_header_t *lines, const char *directive,
              const char *words)
{
    if (words) {
        APR_ARRAY_PUSH(lines, const char *) =
            apr_pstrcat(p, directive, " ", words, NULL);
    }
}

void casp_put_word(apr_pool_t *p, apr_array_header_t *lines,
                   const char *directive, const char *word)
{
    if (word) {
        casp_put(p, lines, directive, casp_value_quote(p, word));
    }
}

void casp_put_number(apr_pool_t *p, apr_array_header_t *lines,
                     const char *directive, int number)
{
    if (number != CASP_UNSET) {
        casp_put(p, lines, directive, apr_itoa(p, number));
    }
}

const char *casp_put_join(apr_pool_t *p, const apr_array_header_t *words)
{
    const char *text = NULL;
    for (int i = 0; words && i < words->nelts; i++) {
        const char *word =
            casp_value_quote(p, APR_ARRAY_IDX(words, i, const char *));
        text = text ? apr_pstrcat(p, text, " ", word, NULL) : word;
    }
    return text;
}

/* A line for each pair. */
static void put_pairs(apr_pool_t *p, apr_array_header_t *lines,
                      const char *directive, const apr_array_header_t *pairs)
{
    for (int i = 0; pairs && i < pairs->nelts; i++) {
        const casp_pair_t *pair = &APR_ARRAY_IDX(pairs, i, casp_pair_t);
        const char *text = casp_value_quote(p, pair->a);
        if (pair->b) {
            text =
                apr_pstrcat(p, text, " ", casp_value_quote(p, pair->b), NULL);
        }
        casp_put(p, lines, directive, text);
    }
}

void casp_put_mask(apr_pool_t *p, apr_array_header_t *lines,
                   const char *directive, const casp_word_t *words, int mask)
{
    const char *text = NULL;
    for (; mask != CASP_UNSET && words->word; words++) {
        if (mask & words->value) {
            text = text ? apr_pstrcat(p, text, " ", words->word, NULL)
                        : words->word;
        }
    }
    casp_put(p, lines, directive, text);
}

static bool same(const char *a, const char *b)
{
    return a && b ? !apr_cstr_casecmp(a, b) : a == b;
}

/* Add a pair; the one that tells pairs apart may stand there only once. */
static const char *push_pair(apr_pool_t *p, apr_array_header_t **pairs,
                             const char *a, const char *b, bool b_is_key)
{
    if (!*pairs) {
        *pairs = apr_array_make(p, 4, sizeof(casp_pair_t));
    }
    for (int i = 0; i < (*pairs)->nelts; i++) {
        const casp_pair_t *pair = &APR_ARRAY_IDX(*pairs, i, casp_pair_t);
        if (b_is_key ? same(pair->b, b) : same(pair->a, a)) {
            const char *key = b_is_key ? b : a;
            return apr_psprintf(p,
                                "%s has a line already; leave one of them "
                                "out",
                                key ? casp_value_show(p, key)
                                    : "the case without a site");
        }
    }
    casp_pair_t *pair = apr_array_push(*pairs);
    pair->a = a;
    pair->b = b;
    return NULL;
}

/* --------------------------------------------------------------- choices */

static const casp_word_t words_mode[] = {{"On", CASP_MODE_ON},
                                         {"Off", CASP_MODE_OFF},
                                         {"Shadow", CASP_MODE_SHADOW},
                                         {"Redirect", CASP_MODE_REDIRECT},
                                         {NULL, 0}};
static const casp_word_t words_onoff[] = {{"On", 1}, {"Off", 0}, {NULL, 0}};
static const casp_word_t words_crosssite[] = {
    {"Manual", 0}, {"Silent", 1}, {NULL, 0}};
static const casp_word_t words_requiretls[] = {
    {"On", CASP_REQTLS_ON},
    {"Off", CASP_REQTLS_OFF},
    {"Forwarded", CASP_REQTLS_FORWARDED},
    {NULL, 0}};
static const casp_word_t words_policy[] = {{"Enforce", CASP_POLICY_ENFORCE},
                                           {"Log", CASP_POLICY_LOG},
                                           {"Off", CASP_POLICY_OFF},
                                           {NULL, 0}};
/* As an Exchange administrator writes them; words.c has those of the logs. */
static const casp_word_t words_publish[] = {
    {"OWA", 1 << CASP_PROTO_OWA},
    {"ECP", 1 << CASP_PROTO_ECP},
    {"EAS", 1 << CASP_PROTO_EAS},
    {"EWS", 1 << CASP_PROTO_EWS},
    {"Autodiscover", 1 << CASP_PROTO_AUTODISCOVER},
    {"OAB", 1 << CASP_PROTO_OAB},
    {"RPC", 1 << CASP_PROTO_RPC},
    {"MAPI", 1 << CASP_PROTO_MAPI},
    {"UM", 1 << CASP_PROTO_UM},
    {"Legacy", 1 << CASP_PROTO_LEGACY},
    {"PowerShell", 1 << CASP_PROTO_POWERSHELL},
    {"POP3", 1 << CASP_PROTO_POP3},
    {"IMAP4", 1 << CASP_PROTO_IMAP4},
    {"SMTP", 1 << CASP_PROTO_SMTP},
    {NULL, 0}};
static const casp_word_t words_autodiscover[] = {
    {"Pass", CASP_AUTODISCOVER_PASS},
    {"Answer", CASP_AUTODISCOVER_ANSWER},
    {NULL, 0}};

/* ------------------------------------------------------------- locations */

static SETTER(mode)
{
    return casp_value_word(p, argv[0], words_mode, &d->mode);
}
static DUMP_CHOICE(mode, "CasProxy", words_mode, d->mode)

    static SETTER(diagnostics)
{
    return casp_value_word(p, argv[0], words_onoff, &d->diagnostics);
}
static DUMP_CHOICE(diagnostics, "CasProxyDiagnostics", words_onoff,
                   d->diagnostics)

    /* ----------------------------------------------------------------- front */

    static SETTER(site)
{
    return casp_value_name(p, argv[0], "name of a site", "", 256, &s->site);
}
static DUMP_STRING(site, "CasProxySite", s->site)

    static SETTER(front)
{
    casp_front_e front;
    if (casp_front_parse_name(argv[0], &front)) {
        s->front = (int)front;
        return NULL;
    }
    const char *all = "";
    for (int i = 0; i < CASP_F_COUNT; i++) {
        all = apr_pstrcat(p, all,
                          i == 0                 ? ""
                          : i + 1 < CASP_F_COUNT ? ", "
                                                 : " or ",
                          casp_front_name((casp_front_e)i), NULL);
    }
    return apr_psprintf(p, "%s is not known here; write %s",
                        casp_value_show(p, argv[0]), all);
}
static DUMPER(front)
{
    casp_put(p, lines, "CasProxyFrontEnd",
             s->front == CASP_UNSET ? NULL
                                    : casp_front_name((casp_front_e)s->front));
}

static SETTER(external_url)
{
    return casp_value_url(p, argv[0], &s->external_url);
}
static DUMP_STRING(external_url, "CasProxyExternalURL", s->external_url)

    static SETTER(exchange2003_url)
{
    return casp_value_url(p, argv[0], &s->exchange2003_url);
}
static DUMP_STRING(exchange2003_url, "CasProxyExchange2003URL",
                   s->exchange2003_url)

    static SETTER(failback_url)
{
    const char *url = NULL, *site = NULL;
    const char *wrong = casp_value_url(p, argv[0], &url);
    if (!wrong && argc > 1) {
        wrong = casp_value_name(p, argv[1], "name of a site", "", 256, &site);
    }
    return wrong ? wrong : push_pair(p, &s->failback_url, url, site, true);
}
static DUMPER(failback_url)
{
    put_pairs(p, lines, "CasProxyFailbackURL", s->failback_url);
}

static SETTER(cross_site)
{
    return casp_value_word(p, argv[0], words_crosssite, &s->cross_site_silent);
}
static DUMP_CHOICE(cross_site, "CasProxyCrossSiteRedirectType",
                   words_crosssite, s->cross_site_silent)

    static SETTER(optimal)
{
    return casp_value_word(p, argv[0], words_onoff, &s->redirect_to_optimal);
}
static DUMP_CHOICE(optimal, "CasProxyRedirectToOptimalServer", words_onoff,
                   s->redirect_to_optimal)

    /* "14.0" is 140, as in a device's base64 query; "12" is 12.0. */
    static SETTER(eas_redirect)
{
    const char *w = argv[0];
    int whole = 0, digits = 0;
    if (!apr_cstr_casecmp(w, "Off")) {
        s->eas_redirect = CASP_EAS_REDIRECT_OFF;
        return NULL;
    }
    for (; apr_isdigit(*w) && digits < 2; w++, digits++) {
        whole = whole * 10 + (*w - '0');
    }
    int tenth = w[0] == '.' && apr_isdigit(w[1]) ? w[1] - '0' : 0;
    w += w[0] == '.' && apr_isdigit(w[1]) ? 2 : 0;
    if (digits == 0 || *w) {
        return apr_psprintf(p,
                            "%s is no version of the protocol; write the "
                            "lowest one that gets a 451, as in 12.1, 14.0 or "
                            "16.1, 0 for all, or Off",
                            casp_value_show(p, argv[0]));
    }
    s->eas_redirect = whole * 10 + tenth;
    return NULL;
}
static DUMPER(eas_redirect)
{
    int v = s->eas_redirect;
    casp_put(p, lines, "CasProxyActiveSyncRedirect",
             v == CASP_UNSET              ? NULL
             : v == CASP_EAS_REDIRECT_OFF ? "Off"
             : v == 0                     ? "0"
                      : apr_psprintf(p, "%d.%d", v / 10, v % 10));
}

static SETTER(autodiscover)
{
    return casp_value_word(p, argv[0], words_autodiscover, &s->autodiscover);
}
static DUMP_CHOICE(autodiscover, "CasProxyAutodiscover", words_autodiscover,
                   s->autodiscover)

    static SETTER(mounted_site)
{
    const char *database = NULL, *site = NULL;
    const char *wrong =
        casp_value_name(p, argv[0], "name of a database", "", 256, &database);
    if (!wrong) {
        wrong = casp_value_name(p, argv[1], "name of a site", "", 256, &site);
    }
    return wrong ? wrong
                 : push_pair(p, &s->mounted_site, database, site, false);
}
static DUMPER(mounted_site)
{
    put_pairs(p, lines, "CasProxyMountedSite", s->mounted_site);
}

/* ------------------------------------------------------------ the client */

static SETTER(require_tls)
{
    return casp_value_word(p, argv[0], words_requiretls, &s->require_tls);
}
static DUMP_CHOICE(require_tls, "CasProxyRequireTLS", words_requiretls,
                   s->require_tls)

    static SETTER(pages)
{
    return casp_value_path(p, argv[0], &s->pages);
}
static DUMP_STRING(pages, "CasProxyPages", s->pages)

    static SETTER(publish)
{
    return casp_value_mask(p, argc, argv, words_publish, &s->publish);
}
static DUMPER(publish)
{
    casp_put_mask(p, lines, "CasProxyPublish", words_publish, s->publish);
}

static SETTER(url_policy)
{
    return casp_value_word(p, argv[0], words_policy, &s->url_policy);
}
static DUMP_CHOICE(url_policy, "CasProxyUrlPolicy", words_policy,
                   s->url_policy)

    /* -------------------------------------------------------------- backends */

    static SETTER(backend_hosts)
{
    if (!s->backend_hosts) {
        s->backend_hosts = apr_array_make(p, argc, sizeof(char *));
    }
    for (int i = 0; i < argc; i++) {
        const char *pattern = NULL;
        const char *wrong = casp_value_host_pattern(p, argv[i], &pattern);
        if (wrong) {
            return wrong;
        }
        APR_ARRAY_PUSH(s->backend_hosts, const char *) = pattern;
    }
    return NULL;
}
static DUMPER(backend_hosts)
{
    casp_put(p, lines, "CasProxyBackendHosts",
             casp_put_join(p, s->backend_hosts));
}

/* "imap://host:port": a mail server's address.  The URL's own reader knows web
 * servers only, and takes their ports for nothing. */
static const char *mail_url(apr_pool_t *p, const char *arg)
{
    static const char *const schemes[] = {"imap://", "pop3://", "smtp://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        if (!apr_cstr_casecmpn(arg, schemes[i], 7)) {
            const char *a =
                casp_url_check(p, apr_pstrcat(p, "http://", arg + 7, NULL));
            const char *b =
                casp_url_check(p, apr_pstrcat(p, "https://", arg + 7, NULL));
            if (!a || !b) {
                return NULL;
            }
            const char *rest = strlen(a + 7) > strlen(b + 8) ? a + 7 : b + 8;
            return apr_pstrcat(p, schemes[i], rest, NULL);
        }
    }
    return NULL;
}

/* One line for a host's web server, and one for each of its mail services. */
static const char *push_map(apr_pool_t *p, casp_settings_t *s,
                            const char *host, const char *url)
{
    const char *scheme = apr_pstrmemdup(p, url, strcspn(url, ":"));
    if (casp_settings_backend_map(s, host, scheme)) {
        return apr_psprintf(p, "%s has a line already; leave one of them out",
                            casp_value_show(p, host));
    }
    if (!s->backend_map) {
        s->backend_map = apr_array_make(p, 4, sizeof(casp_pair_t));
    }
    casp_pair_t *pair = apr_array_push(s->backend_map);
    pair->a = host;
    pair->b = url;
    return NULL;
}

static SETTER(backend_map)
{
    const char *host = NULL, *url = mail_url(p, argv[1]);
    const char *wrong = casp_value_host(p, argv[0], &host);
    if (!wrong && !url && casp_value_url(p, argv[1], &url)) {
        wrong =
            apr_psprintf(p,
                         "%s is no address of a server; write scheme, "
                         "host and port, as in https://10.0.0.11:443, or "
                         "for a mail proxy imap://, pop3:// or smtp:// "
                         "(in plain text; a tunnel for TLS)",
                         strchr(argv[1], '@') ? "a URL with a user name in it"
                                              : casp_value_show(p, argv[1]));
    }
    if (!wrong && strchr(strstr(url, "://") + 3, '/')) {
        wrong = "the URL ends behind its port; the path comes from the "
                "directory";
    }
    return wrong ? wrong : push_map(p, s, host, url);
}
static DUMPER(backend_map)
{
    put_pairs(p, lines, "CasProxyBackendMap", s->backend_map);
}

static const casp_key_range_t keys_backend[] = {
    NUM("hmax", backend_hmax, 1, 100000),
    NUM("ttl", backend_ttl, 1, DAY),
    NUM("acquire", backend_acquire, 1, 3600),
    NUM("connect", backend_connect, 1, 3600),
    NUM("retry", backend_retry, 0, DAY),
    NUM("addressttl", backend_addressttl, 0, DAY),
    NUM("busy", backend_busy, 0, 100000),
    LAST_KEY};
static KEYS_SETTER(backend_pool,
                   keys_backend) static KEYS_DUMPER(backend_pool,
                                                    "CasProxyBackendPool",
                                                    keys_backend)

    static SETTER(state_dir)
{
    return casp_value_path(p, argv[0], &s->state_dir);
}
static DUMP_STRING(state_dir, "CasProxyStateDir", s->state_dir)

    /* Each protocol is a value of its own: a virtual host that sets one keeps the
 * others of the server. */
    static SETTER(timeout)
{
    int bit = 0;
    const char *wrong = casp_value_word(p, argv[0], words_publish, &bit);
    int protocol = 0;
    while (!wrong && bit != 1 << protocol) {
        protocol++;
    }
    if (!wrong && s->timeout[protocol] != CASP_UNSET) {
        wrong = apr_psprintf(p,
                             "%s has a line already; leave one of them "
                             "out",
                             casp_value_show(p, argv[0]));
    }
    return wrong ? wrong
                 : casp_value_number(p, argv[1], "seconds", 1, DAY,
                                     &s->timeout[protocol]);
}
static DUMPER(timeout)
{
    for (const casp_word_t *word = words_publish; word->word; word++) {
        for (int i = 1; i < CASP_PROTO_COUNT; i++) {
            if (word->value == 1 << i && s->timeout[i] != CASP_UNSET) {
                casp_put(p, lines, "CasProxyTimeout",
                         apr_psprintf(p, "%s %d", word->word, s->timeout[i]));
            }
        }
    }
}

/* ----------------------------------------------------------------- table */

#define SERVER CASP_SCOPE_SERVER
#define LOCATION (CASP_SCOPE_SERVER | CASP_SCOPE_LOCATION)
#define REPEAT (CASP_SCOPE_SERVER | CASP_SCOPE_REPEAT)

#define ROW(name, scope, min, max, args, init, room, help)        \
    {                                                             \
        name, scope, min, max, args, init, help, casp_set_##room, \
            casp_dump_##room                                      \
    }

const casp_directive_t casp_directives[] = {
    ROW("CasProxy", LOCATION, 1, 1, "On|Off|Shadow|Redirect", "Off", mode,
        "serve Exchange paths here; Shadow decides and logs only, Redirect "
        "never proxies"),
    ROW("CasProxyDirectory", SERVER, 1, 0, "URL...", "required", directory,
        "the directory: ldaps://, ldap://, ldapi:// in order, or one ldif:"),
    ROW("CasProxyGlobalCatalog", SERVER, 1, 0, "URL...", "the directory",
        global_catalog, "the Global Catalog for user look-ups"),
    ROW("CasProxyDirectoryBase", SERVER, 1, 1, "DN",
        "the default naming context", directory_base,
        "where users are searched"),
    ROW("CasProxyDirectoryBind", SERVER, 1, 0, "NAME SECRET | GSSAPI [KEYTAB]",
        "required for ldap(s)://, EXTERNAL for ldapi://", bind,
        "the service's own identity; SECRET is file:/PATH, exec:/PATH ARGS "
        "or env:NAME"),
    ROW("CasProxyDirectoryTLS", SERVER, 1, 1, "StartTLS|Off",
        "none: ldap:// with a bind is refused", directory_tls,
        "encryption on ldap://"),
    ROW("CasProxyDirectoryCAFile", SERVER, 1, 1, "FILE", "the system's",
        ca_file, "certificates that the directory's is checked against"),
    ROW("CasProxyDirectoryPool", SERVER, 1, 4,
        "[min=N] [smax=N] [hmax=N] [ttl=SECONDS]",
        "min=0 smax=4 hmax=16 ttl=300", directory_pool,
        "connections to the directory, per child"),
    ROW("CasProxyDirectoryTimeout", SERVER, 1, 3,
        "[connect=SECONDS] [search=SECONDS] [topology=SECONDS]",
        "connect=3 search=5 topology=60", directory_timeout,
        "how long the directory may take"),
    ROW("CasProxyTopologyRefresh", SERVER, 1, 1, "SECONDS", "300",
        topology_refresh, "how often the organisation is read anew"),
    ROW("CasProxyMailboxCache", SERVER, 1, 4,
        "[ttl=SECONDS] [negative=SECONDS] [stale=SECONDS] [size=N]",
        "ttl=300 negative=30 stale=3600 size=100000", mailbox_cache,
        "how long mailboxes and unknown users are remembered"),
    ROW("CasProxyCredentialCache", SERVER, 1, 1, "ttl=SECONDS", "ttl=60",
        credential_cache, "how long a verified Basic password is remembered"),
    ROW("CasProxySharedCache", SERVER, 1, 1, "PROVIDER[:ARGUMENTS]", "shmcb",
        shared_cache, "the second level of the mailbox cache"),
    ROW("CasProxySite", SERVER, 1, 1, "SITE",
        "the only site, else by this host's address", site,
        "the AD site that this front stands in"),
    ROW("CasProxyFrontEnd", SERVER, 1, 1,
        "2007|2010|2010SP1|2010SP2|2010SP3|2013|2016|2019", "2010SP2", front,
        "the Exchange version whose rules this front follows"),
    ROW("CasProxyExternalURL", SERVER, 1, 1, "URL", "from the request",
        external_url, "this front's own OWA URL, for the loop guard"),
    ROW("CasProxyExchange2003URL", SERVER, 1, 1, "URL",
        "msExch2003Url of the site", exchange2003_url,
        "where Exchange 2003 mailboxes are redirected"),
    ROW("CasProxyFailbackURL", REPEAT, 1, 2, "URL [SITE]",
        "the target's msExchOWAFailbackURL", failback_url,
        "link of the temporary page where the target is ourselves"),
    ROW("CasProxyCrossSiteRedirectType", SERVER, 1, 1, "Manual|Silent",
        "Manual", cross_site,
        "how a 2010SP2 or 2010SP3 front redirects to another site"),
    ROW("CasProxyRedirectToOptimalServer", SERVER, 1, 1, "On|Off",
        "the OWA directory's own, else On", optimal,
        "Off: proxy across sites instead of redirecting"),
    ROW("CasProxyActiveSyncRedirect", SERVER, 1, 1, "VERSION|0|Off",
        "0 for 2007, 12.1 for 2010 and 2010SP1, 14.0 for 2010SP2 and "
        "2010SP3, Off from 2013",
        eas_redirect,
        "the lowest ActiveSync version that gets a 451; 0: all, Off: always "
        "proxy"),
    ROW("CasProxyAutodiscover", SERVER, 1, 1, "Pass|Answer", "Pass",
        autodiscover,
        "who answers Autodiscover: a Client Access server, or this front"),
    ROW("CasProxyMountedSite", REPEAT, 2, 2, "DATABASE SITE", "from AD",
        mounted_site, "the site that a database is mounted in"),
    ROW("CasProxyRequireTLS", SERVER, 1, 1, "On|Off|Forwarded", "On",
        require_tls,
        "refuse plain http; Forwarded believes "
        "X-Forwarded-Proto of trusted proxies"),
    ROW("CasProxySSO", SERVER, 1, 1, "On|Off|TwoFactor|PreAuth", "On", sso,
        "conditions of single sign-on that no directory tells"),
    ROW("CasProxyLogonFormat", SERVER, 1, 1,
        "FullDomain|PrincipalName|UserName", "FullDomain", logon_format,
        "how users write their names"),
    ROW("CasProxyDefaultDomain", SERVER, 1, 1, "DOMAIN", "none",
        default_domain, "the domain of a name without one"),
    ROW("CasProxyKeytab", SERVER, 1, 1, "FILE", "none", keytab,
        "the front's own Kerberos keys: for Negotiate, and for delegation"),
    ROW("CasProxyNTLMVerify", SERVER, 1, 0,
        "Winbind [COMMAND WORD...] | Directory", "Winbind /usr/bin/ntlm_auth",
        ntlm_verify, "who checks an NTLM response"),
    ROW("CasProxyFormsKey", SERVER, 1, 1, "file:/PATH",
        "forms-key in CasProxyStateDir, made once and kept", forms_key,
        "the key ring of logons by form, the same on all nodes"),
    ROW("CasProxyFormsTimeout", SERVER, 1, 2, "[public=TIME] [private=TIME]",
        "public=15m private=8h", forms_timeout,
        "how long a logon by form outlives its last activity: 1.0 to 1.5 "
        "times this"),
    ROW("CasProxyPages", SERVER, 1, 1, "FOLDER", "the built-in ones", pages,
        "the administrator's own page templates"),
    ROW("CasProxyBackendHosts", REPEAT, 1, 0, "PATTERN...",
        "servers known in AD", backend_hosts,
        "further hosts that may be backends"),
    ROW("CasProxyBackendMap", REPEAT, 2, 2, "HOST URL", "none", backend_map,
        "reach this AD host at another address"),
    ROW("CasProxyBackendPool", SERVER, 1, 7,
        "[hmax=N] [ttl=SECONDS] [acquire=SECONDS] [connect=SECONDS] "
        "[retry=SECONDS] [addressttl=SECONDS] [busy=N]",
        "hmax=64 ttl=90 acquire=2 connect=5 retry=30 addressttl=60 busy=0",
        backend_pool, "connections to each backend, per child"),
    ROW("CasProxyStateDir", SERVER, 1, 1, "FOLDER",
        "/var/lib/casproxy (configure --with-statedir)", state_dir,
        "where the last known organisation and the key ring are kept"),
    ROW("CasProxyTimeout", REPEAT, 2, 2, "PROTOCOL SECONDS",
        "200; EAS, RPC and MAPI 3600; EWS 2100", timeout,
        "how long a backend may be silent"),
    ROW("CasProxyPublish", SERVER, 1, 14, "PROTOCOL...", "all but PowerShell",
        publish,
        "the protocols that may be reached: OWA ECP EAS EWS "
        "Autodiscover OAB RPC MAPI UM Legacy PowerShell POP3 IMAP4 SMTP"),
    ROW("CasProxyUrlPolicy", SERVER, 1, 1, "Enforce|Log|Off", "Enforce",
        url_policy,
        "what happens to URLs that have the shape of a known attack"),
    ROW("CasProxyAuth", LOCATION, 1, 5,
        "[Forms] [Negotiate] [NTLM] [Basic] | None",
        "Forms for OWA, ECP and the legacy paths, Basic (and Negotiate with "
        "a keytab) for the rest",
        auth, "how users are authenticated; None trusts another module"),
    ROW("CasProxyBackendAuth", LOCATION, 1, 1,
        "Auto|Basic|NTLM|Kerberos|Delegate|Forms|None", "Auto", backend_auth,
        "how this front logs on to a backend for the user"),
    ROW("CasProxyDiagnostics", LOCATION, 1, 1, "On|Off", "Off", diagnostics,
        "response headers that tell decision and rule"),
    {NULL, 0, 0, 0, NULL, NULL, NULL, NULL, NULL}};
