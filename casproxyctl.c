/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * casproxyctl: what the module would do, and why, without httpd.  It reads
 * directives with the module's own table and asks the module's own verdict,
 * on a live directory or on an export; so what it says holds on the wire.
 *
 * It decides nothing by itself, keeps no state (the last known organisation
 * is the module's file), sends no password but the service's own, and prints
 * what a directory or a person wrote only after taking its control bytes out.
 */

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <ldap.h>
#include <openssl/crypto.h>

#include <apr_atomic.h>
#include <apr_cstr.h>
#include <apr_file_info.h>
#include <apr_general.h>
#include <apr_getopt.h>
#include <apr_lib.h>
#include <apr_strings.h>
#include <apr_version.h>

#include "ctl.h"
#include "decision.h"
#include "login.h"

/* Exit codes, as scripts know them. */
#define SERVED 0
#define NOT_SERVED 1
#define WRONG_USAGE 2

#define CONFIG_MAX (16 * 1024 * 1024) /* bytes of a configuration */
#define MESSAGES_MAX 10 /* of the core that are shown */
#define GLANCE 50000 /* microseconds between two looks */

static const char usage[] =
    "usage: casproxyctl explain --config FILE --user USER --url URL\n"
    "                   [--directory URL] [--vhost NAME] [--method GET]\n"
    "                   [--auth forms|basic|ntlm|negotiate] [--host HOST]\n"
    "                   [--header 'Name: value']... [--json]\n"
    "       casproxyctl check --config FILE [--directory URL] [--vhost NAME]\n"
    "                   [--user USER] [--json]\n"
    "       casproxyctl directives   the directives, as a table\n"
    "       casproxyctl rules        the rules of the decision, as a table\n"
    "       casproxyctl logins       how backends are logged on at: a table\n"
    "       casproxyctl reasons      the reason codes, as a table\n"
    "       casproxyctl version\n"
    "\n"
    "explain says what happens to a user's request, and why. FILE holds\n"
    "CasProxy lines as they stand in a virtual host; - reads standard input,\n"
    "for example what httpd -t -D DUMP_CASPROXY prints, with --vhost NAME.\n"
    "--directory overrides CasProxyDirectory, as in ldif:/path/export.ldif.\n"
    "--url is a path or an address; imap://HOST, pop3://HOST and smtp://HOST\n"
    "stand for what a mail proxy asks. --method is POST for ActiveSync.\n"
    "--auth says how the user is authenticated; forms is the moment of the\n"
    "logon. Without it CasProxyAuth says so: the first of forms, basic,\n"
    "negotiate and ntlm that it allows.\n"
    "Exit code: 0 the user is served, 1 not, 2 wrong usage.\n"
    "\n"
    "check says whether keytab, SPN, delegation, clock and winbind are as\n"
    "the settings need them, and what to do where not; --user tries\n"
    "delegation for that user. Run it as root.\n"
    "Exit code: 0 all is well, or warnings; 1 a failure; 2 wrong usage.\n";

/* --------------------------------------------------------------- messages */

static CASP_PRINTF(1, 2) int wrong(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("casproxyctl: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    return WRONG_USAGE;
}

/* The core's warnings, of which there may be hundreds.  What is wrong in the
 * organisation (CP0150) is told with the explanation. */
static void show_message(void *baton, casp_log_e level, apr_status_t rv,
                         const char *message)
{
    volatile apr_uint32_t *count = baton;
    (void)level;
    (void)rv;
    if (strncmp(message, "CP0150", 6)
        && apr_atomic_inc32(count) < MESSAGES_MAX) {
        fprintf(stderr, "casproxyctl: %s\n", message);
    }
}

/* ---------------------------------------------------------------- options */

enum {
    OPT_CONFIG = 256,
    OPT_DIRECTORY,
    OPT_VHOST,
    OPT_USER,
    OPT_URL,
    OPT_METHOD,
    OPT_AUTH,
    OPT_HOST,
    OPT_HEADER,
    OPT_JSON,
    OPT_HELP
};

static const apr_getopt_option_t options[] = {
    {"config", OPT_CONFIG, 1, NULL}, {"directory", OPT_DIRECTORY, 1, NULL},
    {"vhost", OPT_VHOST, 1, NULL},   {"user", OPT_USER, 1, NULL},
    {"url", OPT_URL, 1, NULL},       {"method", OPT_METHOD, 1, NULL},
    {"auth", OPT_AUTH, 1, NULL},     {"host", OPT_HOST, 1, NULL},
    {"header", OPT_HEADER, 1, NULL}, {"json", OPT_JSON, 0, NULL},
    {"help", OPT_HELP, 0, NULL},     {NULL, 0, 0, NULL}};

static int add_header(apr_table_t *headers, const char *line)
{
    apr_pool_t *p = apr_table_elts(headers)->pool;
    apr_size_t len = strcspn(line, ":");
    const char *name = apr_pstrmemdup(p, line, len);
    if (!len || !line[len] || strpbrk(line, "\r\n")
        || name[strcspn(name, " \t")]) {
        return wrong("--header \"%s\" is no header; write it as in --header "
                     "'User-Agent: curl'",
                     casp_ctl_plain(p, line));
    }
    const char *value = line + len + 1;
    while (apr_isspace(*value)) {
        value++;
    }
    apr_table_add(headers, name, value);
    return 0;
}

/* Where an option's word goes; NULL for those that are no single word. */
static const char **slot(casp_ctl_options_t *o, int option)
{
    switch (option) {
    case OPT_CONFIG:
        return &o->config;
    case OPT_DIRECTORY:
        return &o->directory;
    case OPT_VHOST:
        return &o->vhost;
    case OPT_USER:
        return &o->user;
    case OPT_URL:
        return &o->url;
    case OPT_METHOD:
        return &o->method;
    case OPT_AUTH:
        return &o->auth;
    case OPT_HOST:
        return &o->host;
    default:
        return NULL;
    }
}

static const char *option_name(int option)
{
    const apr_getopt_option_t *row = options;
    while (row->name && row->optch != option) {
        row++;
    }
    return row->name;
}

static int take_option(casp_ctl_options_t *o, int option, const char *word)
{
    const char **to = slot(o, option);
    if (option == OPT_HEADER) {
        return add_header(o->headers, word);
    }
    if (option == OPT_JSON) {
        o->json = true;
        return 0;
    }
    if (!to || *to) {
        return wrong("--%s may be given only once", option_name(option));
    }
    *to = word;
    return 0;
}

static int check_options(const casp_ctl_options_t *o, bool checking)
{
    const char *missing = !o->config              ? "config"
                          : !o->user && !checking ? "user"
                          : !o->url && !checking  ? "url"
                                                  : NULL;
    const char *extra = !checking                         ? NULL
                        : o->url                          ? "url"
                        : o->method                       ? "method"
                        : o->auth                         ? "auth"
                        : o->host                         ? "host"
                        : !apr_is_empty_table(o->headers) ? "header"
                                                          : NULL;
    if (missing) {
        return wrong("--%s is missing; casproxyctl --help shows all options",
                     missing);
    }
    if (extra) {
        return wrong("--%s is for explain, not for check", extra);
    }
    if (o->user && !*o->user) {
        return wrong("--user is empty; name the user as they would log on");
    }
    return 0;
}

/* @return 0, or the exit code with -1 for "help was asked for" */
static int read_options(apr_pool_t *p, int argc, const char *const *argv,
                        casp_ctl_options_t *o, bool checking)
{
    apr_getopt_t *state;
    const char *word = NULL;
    int option = 0;
    o->headers = apr_table_make(p, 4);
    apr_getopt_init(&state, p, argc, argv);
    state->errfn = NULL;
    for (;;) {
        apr_status_t rv = apr_getopt_long(state, options, &option, &word);
        if (rv == APR_EOF) {
            break;
        }
        if (rv != APR_SUCCESS) {
            return wrong(
                "%s is not known here, or its word is missing; "
                "casproxyctl --help shows all options",
                casp_ctl_plain(p, argv[state->ind > 1 ? state->ind - 1 : 1]));
        }
        if (option == OPT_HELP) {
            return -1;
        }
        int rc = take_option(o, option, word);
        if (rc) {
            return rc;
        }
    }
    if (state->ind < argc) {
        return wrong("\"%s\" is one word too many; quote what holds blanks",
                     casp_ctl_plain(p, argv[state->ind]));
    }
    return check_options(o, checking);
}

/* ---------------------------------------------------------- configuration */

static int read_text(apr_pool_t *p, const char *path, const char **text)
{
    bool standard = !strcmp(path, "-");
    FILE *f = standard ? stdin : fopen(path, "r");
    if (!f) {
        return wrong("cannot open %s: %s", casp_ctl_plain(p, path),
                     strerror(errno));
    }
    apr_size_t size = 65536, used = 0;
    char *data = malloc(size);
    while (data && used <= CONFIG_MAX) {
        apr_size_t n = fread(data + used, 1, size - used - 1, f);
        used += n;
        if (n == 0) {
            break;
        }
        if (size - used < 2) {
            char *more = realloc(data, size * 2);
            if (!more) {
                free(data);
            }
            data = more;
            size *= 2;
        }
    }
    bool failed = !data || ferror(f);
    if (!standard) {
        fclose(f);
    }
    if (failed || used > CONFIG_MAX || memchr(data, '\0', used)) {
        free(data);
        return wrong("%s cannot be read, is larger than 16 MiB or is no text",
                     casp_ctl_plain(p, path));
    }
    *text = apr_pstrmemdup(p, data, used);
    free(data);
    return 0;
}

/* A path on the command line is relative to where the person stands. */
static const char *absolute(apr_pool_t *p, const char *url)
{
    char *here = NULL;
    if (apr_cstr_casecmpn(url, "ldif:", 5) || url[5] == '/' || !url[5]
        || apr_filepath_get(&here, 0, p) != APR_SUCCESS) {
        return url;
    }
    return apr_pstrcat(p, "ldif:", here, "/", url + 5, NULL);
}

/* --directory, over what the file says. */
static int override_directory(casp_ctl_explain_t *e)
{
    const char *url = absolute(e->p, e->o.directory);
    casp_settings_t *s = e->config.settings;
    const char *error =
        casp_settings_apply(e->p, casp_directive_find("CasProxyDirectory"),
                            false, s, e->config.dir, 1, &url);
    if (error) {
        return wrong("--directory %s", error);
    }
    s->global_catalog = NULL;
    if (casp_settings_ldif(s)) {
        s->directory_bind = CASP_UNSET;
        s->bind_name = s->bind_secret = s->bind_keytab = NULL;
    }
    return 0;
}

static int tell_all(const apr_array_header_t *list, const char *kind)
{
    for (int i = 0; i < list->nelts; i++) {
        wrong("%s: %s", kind, APR_ARRAY_IDX(list, i, const char *));
    }
    return list->nelts ? WRONG_USAGE : 0;
}

/* What all sections together ask for.  --auth overrides CasProxyAuth, and with
 * it what CasProxyAuth needs. */
static void check_auth(casp_ctl_explain_t *e, apr_array_header_t *errors,
                       apr_array_header_t *warnings)
{
    int schemes = 0, backends = 0;
    for (int i = -1; i < e->config.locations->nelts; i++) {
        const casp_dir_settings_t *d =
            i < 0
                ? e->config.dir
                : APR_ARRAY_IDX(e->config.locations, i, casp_config_location_t)
                      .dir;
        schemes |= d->auth == CASP_UNSET || e->o.auth ? 0 : d->auth;
        backends |= d->backend_auth == CASP_UNSET ? 0 : 1 << d->backend_auth;
    }
    casp_settings_check_auth(e->p, e->s, schemes, backends, errors, warnings);
}

static int read_config(casp_ctl_explain_t *e)
{
    const char *text = NULL;
    int rc = read_text(e->p, e->o.config, &text);
    if (rc) {
        return rc;
    }
    const char *error = casp_config_read(e->p, text, e->o.vhost, &e->config);
    if (error) {
        return wrong("%s: %s", casp_ctl_plain(e->p, e->o.config), error);
    }
    if (e->o.directory && (rc = override_directory(e))) {
        return rc;
    }
    casp_settings_t *s =
        casp_settings_complete(e->p, e->config.settings, NULL);
    /* pages are not shown here, and the state file is the module's */
    s->pages = NULL;
    s->state_dir = NULL;
    /* nor is the keytab read: that there is one is enough */
    const char *keytab = s->keytab;
    s->keytab = NULL;
    e->s = s;
    apr_array_header_t *errors = apr_array_make(e->p, 4, sizeof(char *));
    apr_array_header_t *warnings = apr_array_make(e->p, 4, sizeof(char *));
    casp_settings_check(e->p, s, errors, warnings);
    s->keytab = keytab;
    check_auth(e, errors, warnings);
    if (e->checking) {
        e->errors = errors;
        e->warnings = warnings;
        return 0;
    }
    tell_all(warnings, "warning");
    return tell_all(errors, "error");
}

/* ---------------------------------------------------------------- request */

/* The path as httpd matches it against locations: decoded once, doubled
 * slashes joined. */
static const char *location_path(apr_pool_t *p, const char *target)
{
    char *path = apr_pstrmemdup(p, target, strcspn(target, "?"));
    char *to = path;
    for (const char *c = path; *c; c++) {
        char byte = *c;
        if (byte == '%' && apr_isxdigit(c[1]) && apr_isxdigit(c[2])) {
            char digits[3] = {c[1], c[2], '\0'};
            char decoded = (char)strtol(digits, NULL, 16);
            byte = decoded ? decoded : byte;
            c += decoded ? 2 : 0;
        }
        if (byte != '/' || to == path || to[-1] != '/') {
            *to++ = byte;
        }
    }
    *to = '\0';
    return path;
}

/* What the URL is: one of httpd's, or "imap://host", a mail proxy's question.
 */
static casp_url_t url_of(const casp_ctl_explain_t *e)
{
    casp_url_t u;
    if (!e->ask.mail || !casp_protocol_mail(e->ask.target, &u)) {
        casp_protocol_parse(e->p, e->ask.target, &u);
    }
    return u;
}

/* "/path" or "http(s)://host/path": scheme, host and target of the request. */
static int split_url(casp_ctl_explain_t *e, const char **host)
{
    const char *url = apr_pstrmemdup(e->p, e->o.url, strcspn(e->o.url, "#"));
    bool http = !apr_cstr_casecmpn(url, "http://", 7);
    e->ask.https = !http;
    casp_url_t mail;
    e->ask.mail = casp_protocol_mail(url, &mail);
    if (e->ask.mail) {
        const char *start = strstr(url, "://") + 3;
        *host = apr_pstrmemdup(e->p, start, strcspn(start, "/?"));
        e->ask.https = true; /* its TLS is the mail proxy's */
        e->ask.target = url;
        return **host ? 0
                      : wrong("--url \"%s\" names no host",
                              casp_ctl_plain(e->p, url));
    }
    if (http || !apr_cstr_casecmpn(url, "https://", 8)) {
        const char *start = url + (http ? 7 : 8);
        apr_size_t len = strcspn(start, "/?");
        *host = apr_pstrmemdup(e->p, start, len);
        e->ask.target = start[len] == '/'
                            ? start + len
                            : apr_pstrcat(e->p, "/", start + len, NULL);
    }
    else {
        e->ask.target = url;
    }
    if (*e->ask.target != '/' || (*host && (!**host || strchr(*host, '@')))) {
        return wrong("--url \"%s\" will not do; write a path or an address, "
                     "as in /owa/ or https://mail.example.com/owa/",
                     casp_ctl_plain(e->p, e->o.url));
    }
    return 0;
}

static int set_auth(casp_ctl_explain_t *e)
{
    static const struct {
        const char *word;
        casp_by_e by;
    } words[] = {{"forms", CASP_BY_FORMS},
                 {"basic", CASP_BY_BASIC},
                 {"ntlm", CASP_BY_NTLM},
                 {"negotiate", CASP_BY_NEGOTIATE}};
    if (!e->o.auth) {
        casp_url_t url = url_of(e);
        int schemes = casp_settings_schemes(e->d->auth, e->s->keytab != NULL,
                                            url.protocol);
        /* EWS takes a session, but no form leads there */
        bool person = url.protocol != CASP_PROTO_EWS;
        e->ask.by = person && (schemes & CASP_SCHEME_FORMS) ? CASP_BY_FORMS
                    : schemes & CASP_SCHEME_BASIC           ? CASP_BY_BASIC
                    : schemes & CASP_SCHEME_NEGOTIATE       ? CASP_BY_NEGOTIATE
                    : schemes & CASP_SCHEME_NTLM            ? CASP_BY_NTLM
                                                            : CASP_BY_OTHER;
        e->ask.at_logon = e->ask.by == CASP_BY_FORMS;
        return 0;
    }
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (!apr_cstr_casecmp(e->o.auth, words[i].word)) {
            e->ask.by = words[i].by;
            e->ask.at_logon = words[i].by == CASP_BY_FORMS;
            return 0;
        }
    }
    return wrong("--auth \"%s\" is not known here; write forms, basic, ntlm "
                 "or negotiate",
                 casp_ctl_plain(e->p, e->o.auth));
}

/* What a client of the protocol would use; a device's GET is refused. */
static const char *usual_method(const casp_ctl_explain_t *e)
{
    return url_of(e).protocol == CASP_PROTO_EAS ? "POST" : "GET";
}

/* The address by which this machine's site is found, where no directive says
 * it: the first that is not the loopback's.  No name is looked up. */
static const char *own_address(apr_pool_t *p)
{
    struct ifaddrs *list = NULL;
    const char *address = NULL;
    char text[INET6_ADDRSTRLEN];
    if (getifaddrs(&list)) {
        return NULL;
    }
    for (struct ifaddrs *i = list; i && !address; i = i->ifa_next) {
        if (!i->ifa_addr || (i->ifa_flags & IFF_LOOPBACK)
            || !(i->ifa_flags & IFF_UP)) {
            continue;
        }
        const void *bytes = NULL;
        if (i->ifa_addr->sa_family == AF_INET) {
            bytes = &((struct sockaddr_in *)(void *)i->ifa_addr)->sin_addr;
        }
        else if (i->ifa_addr->sa_family == AF_INET6) {
            bytes = &((struct sockaddr_in6 *)(void *)i->ifa_addr)->sin6_addr;
        }
        if (bytes
            && inet_ntop(i->ifa_addr->sa_family, bytes, text, sizeof(text))) {
            address = apr_pstrdup(p, text);
        }
    }
    freeifaddrs(list);
    return address;
}

static int make_ask(casp_ctl_explain_t *e)
{
    const char *host = NULL;
    const char *header = apr_table_get(e->o.headers, "Host");
    int rc = split_url(e, &host);
    if (rc) {
        return rc;
    }
    const char *path = e->ask.mail ? "/" : location_path(e->p, e->ask.target);
    if (!e->ask.mail && !casp_protocol_claims(path)) {
        return wrong("%s belongs to no Exchange protocol: mod_casproxy "
                     "declines it, and another module may serve it",
                     casp_ctl_plain(e->p, path));
    }
    e->d = casp_config_dir_for(e->p, &e->config, path);
    if (e->d->mode == CASP_MODE_OFF && !e->ask.mail) {
        wrong("warning: CasProxy is Off for this path, so httpd serves it "
              "without us; this is what would happen with CasProxy On");
    }
    rc = set_auth(e);
    e->ask.host = e->o.host ? e->o.host
                  : header  ? header
                  : host    ? host
                  : e->s->external_url
                      ? casp_url_host(e->p, e->s->external_url)
                      : "localhost";
    e->ask.method = e->o.method ? e->o.method : usual_method(e);
    e->ask.headers = e->o.headers;
    e->ask.user = e->o.user;
    e->ask.on_paper = true;
    e->ask.local_address = e->s->site ? NULL : own_address(e->p);
    const char *proto = apr_table_get(e->o.headers, "X-Forwarded-Proto");
    if (e->s->require_tls == CASP_REQTLS_FORWARDED && proto
        && !apr_cstr_casecmp(proto, "https")) {
        e->ask.https = true;
    }
    return rc;
}

/* -------------------------------------------------------------- directory */

static int open_org(casp_ctl_explain_t *e)
{
    const char *secret = NULL, *error = NULL;
    if (!casp_settings_ldif(e->s) && e->s->bind_secret) {
        error = casp_secret_read(e->p, e->s->bind_secret, &secret);
        if (error) {
            return wrong("CasProxyDirectoryBind: %s\ncasproxyctl: run this "
                         "as a user who may read it, or explain on an export "
                         "with --directory ldif:FILE",
                         error);
        }
    }
    error = casp_org_create(e->p, e->s, secret, &e->org);
    if (error) {
        return wrong("%s", error);
    }
    apr_status_t rv = casp_org_start(e->org, e->p, NULL, NULL);
    if (rv != APR_SUCCESS) {
        char text[120];
        return wrong("cannot start: %s", apr_strerror(rv, text, sizeof(text)));
    }
    return 0;
}

static void keep_problems(casp_ctl_explain_t *e, const casp_topology_t *t)
{
    for (int i = 0; i < t->problems->nelts; i++) {
        const casp_problem_t *from =
            APR_ARRAY_IDX(t->problems, i, const casp_problem_t *);
        casp_problem_t *to = apr_array_push(e->problems);
        to->dn = apr_pstrdup(e->p, from->dn);
        to->text = apr_pstrdup(e->p, from->text);
    }
}

/* One tick asks the directory once, within its time-outs.  Where it says what
 * is wrong, asking again would say the same. */
static void wait_for_topology(casp_ctl_explain_t *e)
{
    apr_time_t deadline =
        apr_time_now() + apr_time_from_sec(e->s->timeout_topology);
    casp_topology_t *t = NULL;
    const char *trouble = NULL;
    do {
        casp_org_tick(e->org, apr_time_now());
        t = casp_org_topology(e->org);
        trouble = t ? NULL : casp_org_trouble(e->org, e->p);
        if (!t && !trouble) {
            apr_sleep(GLANCE);
        }
    } while (!t && !trouble && apr_time_now() < deadline);
    if (t) {
        keep_problems(e, t);
        casp_topology_unref(t);
        return;
    }
    wrong("the organisation could not be read: %s\ncasproxyctl: see that "
          "CasProxyDirectory and CasProxyDirectoryBind are right and that "
          "the directory answers, or explain on an export with --directory "
          "ldif:FILE",
          trouble ? casp_ctl_plain(e->p, trouble)
                  : "the directory did not answer in time");
}

/* --------------------------------------------------------------- commands */

/* Everything was written, and the decision's own exit code. */
static int finish(int rc)
{
    if (fflush(stdout) || ferror(stdout)) {
        return wrong("cannot write: %s", strerror(errno));
    }
    return rc;
}

static int run_explain(apr_pool_t *p, int argc, const char *const *argv)
{
    casp_ctl_explain_t *e = apr_pcalloc(p, sizeof(*e));
    volatile apr_uint32_t messages = 0;
    e->p = p;
    e->problems = apr_array_make(p, 4, sizeof(casp_problem_t));
    casp_log_set(show_message, (void *)(uintptr_t)&messages, CASP_LOG_WARNING);
    int rc = read_options(p, argc, argv, &e->o, false);
    if (rc < 0) {
        fputs(usage, stdout);
        return finish(SERVED);
    }
    if (rc || (rc = read_config(e)) || (rc = make_ask(e))) {
        return rc;
    }
    if (!casp_verdict_before_logon(p, e->s, e->d, &e->ask, &e->v)) {
        rc = open_org(e);
        if (rc) {
            return rc;
        }
        wait_for_topology(e);
        casp_verdict_reach(p, e->s, e->d, e->org, &e->ask, &e->v);
    }
    if (messages > MESSAGES_MAX) {
        wrong("... and %u more messages of this kind",
              (unsigned)(messages - MESSAGES_MAX));
    }
    if (e->o.json) {
        casp_ctl_print_json(e);
    }
    else {
        casp_ctl_print_text(e);
    }
    casp_log_set(NULL, NULL, CASP_LOG_ERROR);
    return finish(casp_action_serves(e->v.decision.action) ? SERVED
                                                           : NOT_SERVED);
}

static int run_check(apr_pool_t *p, int argc, const char *const *argv)
{
    casp_ctl_explain_t *e = apr_pcalloc(p, sizeof(*e));
    e->p = p;
    e->checking = true;
    int rc = read_options(p, argc, argv, &e->o, true);
    if (rc < 0) {
        fputs(usage, stdout);
        return finish(SERVED);
    }
    rc = rc ? rc : read_config(e);
    return rc ? rc : finish(casp_ctl_check(e) ? SERVED : NOT_SERVED);
}

static const char *scope_name(int scope)
{
    return scope & CASP_SCOPE_LOCATION ? "location"
           : scope & CASP_SCOPE_REPEAT ? "server, repeatable"
                                       : "server";
}

static int run_directives(void)
{
    for (const casp_directive_t *d = casp_directives; d->name; d++) {
        printf("%s\t%s\t%s\t%s\t%s\n", d->name, scope_name(d->scope), d->args,
               d->init, d->help);
    }
    return finish(SERVED);
}

static int run_rules(void)
{
    int count = 0;
    const casp_rule_t *rules = casp_decision_rules(&count);
    for (int i = 0; i < count; i++) {
        printf("%s\t%s\t%s\t%s\t%s\n", rules[i].id, rules[i].source,
               casp_action_name(rules[i].action),
               rules[i].reason ? rules[i].reason : "-", rules[i].says);
    }
    return finish(SERVED);
}

static int run_logins(void)
{
    int count = 0;
    char wanted[64];
    const casp_login_rule_t *rules = casp_login_rules(&count);
    for (int i = 0; i < count; i++) {
        printf("%s\t%s\t%s\t%s\n",
               casp_login_rule_wanted(&rules[i], wanted, sizeof(wanted)),
               casp_login_name(rules[i].login), rules[i].why, rules[i].says);
    }
    return finish(SERVED);
}

static int run_reasons(void)
{
    int count = 0;
    const casp_reason_t *reasons = casp_decision_reasons(&count);
    for (int i = 0; i < count; i++) {
        printf("%s\t%d\t%s\n", reasons[i].code, reasons[i].status,
               reasons[i].text);
    }
    return finish(SERVED);
}

static int run_version(void)
{
    LDAPAPIInfo info = {.ldapai_info_version = LDAP_API_INFO_VERSION};
    bool known =
        ldap_get_option(NULL, LDAP_OPT_API_INFO, &info) == LDAP_OPT_SUCCESS;
    int ldap = known ? info.ldapai_vendor_version : 0;
    printf("casproxyctl %s (APR %s, %s %d.%d.%d, %s)\n", CASP_VERSION,
           apr_version_string(), known ? info.ldapai_vendor_name : "libldap",
           ldap / 10000, ldap / 100 % 100, ldap % 100,
           OpenSSL_version(OPENSSL_VERSION));
    if (known) {
        ldap_memfree(info.ldapai_vendor_name);
        ber_memvfree((void **)info.ldapai_extensions);
    }
    return finish(SERVED);
}

static int run(apr_pool_t *p, int argc, const char *const *argv)
{
    const char *command = argc > 1 ? argv[1] : "";
    if (!strcmp(command, "explain")) {
        return run_explain(p, argc - 1, argv + 1);
    }
    if (!strcmp(command, "check")) {
        return run_check(p, argc - 1, argv + 1);
    }
    if (!strcmp(command, "--help") || !strcmp(command, "-h")
        || !strcmp(command, "help")) {
        fputs(usage, stdout);
        return finish(SERVED);
    }
    if (argc == 2 && !strcmp(command, "directives")) {
        return run_directives();
    }
    if (argc == 2 && !strcmp(command, "rules")) {
        return run_rules();
    }
    if (argc == 2 && !strcmp(command, "logins")) {
        return run_logins();
    }
    if (argc == 2 && !strcmp(command, "reasons")) {
        return run_reasons();
    }
    if (argc == 2
        && (!strcmp(command, "version") || !strcmp(command, "--version"))) {
        return run_version();
    }
    fputs(usage, stderr);
    return WRONG_USAGE;
}

int main(int argc, const char *const *argv)
{
    apr_pool_t *p = NULL;
    if (apr_initialize() != APR_SUCCESS
        || apr_pool_create(&p, NULL) != APR_SUCCESS) {
        return wrong("out of memory");
    }
    int rc = run(p, argc, argv);
    apr_pool_destroy(p);
    apr_terminate();
    return rc;
}
