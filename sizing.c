/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * sizing.c - what of httpd's own configuration would cut a published protocol
 * off: "httpd -t" says what, where and how it is put right.
 *
 * Warnings only, never a refusal: each of them may be meant.  Each was seen on
 * the wire to do what it says; what looks dangerous and is not, is not here:
 * LimitRequestBody and ProxyTimeout do not hold for what we proxy, and
 * mod_deflate, mod_brotli and mod_buffer pass on what a server has flushed.
 *
 * Other modules' settings are private to them.  So they are read from the tree
 * of directives, as far as that tells: not behind <If>, where it may be true.
 */

#include "skin.h"

#include <string.h>

#include <apr_fnmatch.h>
#include <apr_lib.h>
#include <apr_strings.h>

#include <ap_mpm.h>

/* httpd's own defaults; less was somebody's wish. */
#define LINE_SIZE 8190
#define FIELD_SIZE 8190
#define FIELDS 50
#define TIMEOUT_SECONDS 30
/* httpd's own default of MaxRequestWorkers (event, worker) */
#define WORKERS 400
/* httpd's own default of LimitRequestBody */
#define BODY_SIZE APR_INT64_C(1073741824)

#define BIT(name) (1 << CASP_PROTO_##name)
/* Those whose requests wait for news, up to an hour. */
#define PENDING (BIT(EAS) | BIT(EWS) | BIT(RPC) | BIT(MAPI))

/* One virtual host that is looked at. */
typedef struct {
    apr_pool_t *p;
    server_rec *s;
    const casp_settings_t *set;
    const ap_directive_t *vhost; /* its own lines; NULL: the main server */
    const ap_directive_t *at; /* the directive that is looked at */
} look_t;

static void warn(const look_t *look, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void warn(const look_t *look, const char *fmt, ...)
{
    va_list args;
    const char *text;

    va_start(args, fmt);
    text = apr_pvsprintf(look->p, fmt, args);
    va_end(args);
    ap_log_error(APLOG_MARK, APLOG_STARTUP | APLOG_WARNING, 0, look->s,
                 CASPLOGNO(0820) "%s: %s", casp_config_name(look->p, look->s),
                           text);
}

/* ----------------------------------------------------------- the protocols */

/* Virtual directories, as a <Location> would name them. */
static const struct {
    casp_protocol_e protocol;
    const char *path;
    const char *name;
} directories[] = {{CASP_PROTO_OWA, "/owa/", "OWA"},
                   {CASP_PROTO_ECP, "/ecp/", "ECP"},
                   {CASP_PROTO_EAS, "/Microsoft-Server-ActiveSync/", "EAS"},
                   {CASP_PROTO_EWS, "/EWS/", "EWS"},
                   {CASP_PROTO_AUTODISCOVER, "/Autodiscover/", "Autodiscover"},
                   {CASP_PROTO_OAB, "/OAB/", "OAB"},
                   {CASP_PROTO_RPC, "/rpc/", "RPC"},
                   {CASP_PROTO_MAPI, "/mapi/", "MAPI"},
                   {CASP_PROTO_UM, "/UnifiedMessaging/", "UM"},
                   {CASP_PROTO_LEGACY, "/exchange/", "Legacy"},
                   {CASP_PROTO_LEGACY, "/public/", "Legacy"},
                   {CASP_PROTO_LEGACY, "/exchweb/", "Legacy"}};
#define NDIRECTORIES (sizeof directories / sizeof *directories)

static bool published(const look_t *look, int protocols)
{
    return (look->set->publish & protocols) != 0;
}

/* "EAS, EWS" of a mask, as CasProxyPublish spells them. */
static const char *names_of(const look_t *look, int protocols)
{
    const char *text = NULL;
    int told = 0;

    for (size_t i = 0; i < NDIRECTORIES; i++) {
        int bit = 1 << directories[i].protocol;
        if (!(protocols & look->set->publish & bit & ~told))
            continue;
        told |= bit;
        text =
            text ? apr_pstrcat(look->p, text, ", ", directories[i].name, NULL)
                 : directories[i].name;
    }
    return text ? text : "nothing";
}

/* -------------------------------------------------- the tree of directives */

typedef void visit_fn(const look_t *look, void *baton);

static bool is_section(const ap_directive_t *d, const char *name)
{
    return !ap_cstr_casecmp(d->directive, name);
}

/* A request for Exchange has no file, and becomes mod_proxy's when the
 * <Proxy> sections have been walked. */
static bool is_elsewhere(const ap_directive_t *d)
{
    static const char *const where[] = {
        "<Directory", "<DirectoryMatch", "<Files",      "<FilesMatch",
        "<Proxy",     "<ProxyMatch",     "<VirtualHost"};

    for (size_t i = 0; i < sizeof where / sizeof *where; i++)
        if (is_section(d, where[i]))
            return true;
    return false;
}

static void walk(look_t *look, const ap_directive_t *d, const char *name,
                 visit_fn *visit, void *baton)
{
    for (; d; d = d->next) {
        if (d->first_child) {
            if (!is_elsewhere(d))
                walk(look, d->first_child, name, visit, baton);
        }
        else if (!ap_cstr_casecmp(d->directive, name)) {
            look->at = d;
            visit(look, baton);
        }
    }
}

/* Every directive of this name that holds for the virtual host, the server's
 * before its own: the later one wins. */
static void each(look_t *look, const char *name, visit_fn *visit, void *baton)
{
    walk(look, ap_conftree, name, visit, baton);
    if (look->vhost)
        walk(look, look->vhost->first_child, name, visit, baton);
}

static const ap_directive_t *section_of(const server_rec *s,
                                        const ap_directive_t *d)
{
    for (; s->is_virtual && d; d = d->next)
        if (is_section(d, "<VirtualHost") && s->defn_name
            && d->line_num == (int)s->defn_line_number
            && !strcmp(d->filename, s->defn_name))
            return d;
    return NULL;
}

/* Does a <Location> hold for a path?  Without case, for it should. */
static bool location_holds(const look_t *look, const ap_directive_t *d,
                           const char *path)
{
    const char *args = d->args;
    const char *where;
    bool regex = is_section(d, "<LocationMatch");
    ap_regex_t *compiled;

    /* the ">" stands at the end of the arguments */
    where = ap_getword_conf(look->p, &args);
    if (!strcmp(where, "~")) {
        regex = true;
        where = ap_getword_conf(look->p, &args);
    }
    where = apr_pstrmemdup(look->p, where, strcspn(where, ">"));
    if (regex) {
        compiled = ap_pregcomp(look->p, where, AP_REG_EXTENDED | AP_REG_ICASE);
        return !compiled || !ap_regexec(compiled, path, 0, NULL, 0);
    }
    if (apr_fnmatch_test(where))
        return apr_fnmatch(where, path, APR_FNM_PATHNAME | APR_FNM_CASE_BLIND)
               == APR_SUCCESS;
    return !ap_cstr_casecmpn(where, path, strlen(where));
}

/* Which published protocols does the directive that is looked at hold for? */
static int reached(const look_t *look)
{
    int protocols = 0;

    for (size_t i = 0; i < NDIRECTORIES; i++) {
        bool holds = true;
        for (const ap_directive_t *d = look->at->parent; d; d = d->parent)
            if (!ap_cstr_casecmpn(d->directive, "<Location", 9))
                holds = holds && location_holds(look, d, directories[i].path);
        if (holds)
            protocols |= 1 << directories[i].protocol;
    }
    return protocols & look->set->publish;
}

/* ----------------------------------------------------------------- threads */

/* One child's threads against one child's connections; and all of them. */
static void check_threads(const look_t *look)
{
    const casp_settings_t *set = look->set;
    int threads = 0, children = 0, threaded = 0;

    if (!published(look, PENDING)
        || ap_mpm_query(AP_MPMQ_MAX_THREADS, &threads) != APR_SUCCESS
        || ap_mpm_query(AP_MPMQ_MAX_DAEMONS, &children) != APR_SUCCESS
        || ap_mpm_query(AP_MPMQ_IS_THREADED, &threaded) != APR_SUCCESS)
        return;
    if (threads < 1)
        threads = 1; /* prefork says 0 */
    if (threaded && threads > set->backend_hmax)
        warn(look,
             "ThreadsPerChild %d is more than the %d connections that a child "
             "may have to one server: each pending Ping, subscription or "
             "channel (%s) holds a thread and a connection, and whoever comes "
             "after the first %d waits %d s and gets 503: CasProxyBackendPool "
             "hmax=%d",
             threads, set->backend_hmax, names_of(look, PENDING),
             set->backend_hmax, set->backend_acquire, threads);
    if (set->backend_busy >= threads)
        warn(look,
             "CasProxyBackendPool busy=%d is never reached, since a child has "
             "%d thread%s: a server that hangs takes all of them. %s",
             set->backend_busy, threads, threads == 1 ? "" : "s",
             threads == 1 ? "Use the MPM event"
                          : apr_psprintf(look->p, "busy=%d", threads * 2 / 3));
    if (threads * children < WORKERS)
        warn(look,
             "MaxRequestWorkers %d: each pending Ping, subscription or "
             "channel (%s) holds one for up to an hour, and when as many "
             "people have one, nobody else gets in, browsers included: count "
             "your devices and set ServerLimit, ThreadsPerChild and "
             "MaxRequestWorkers by docs/protocols.md",
             threads * children, names_of(look, PENDING));
}

/* -------------------------------------------------------- time of a client */

/* "body=20-40,MinRate=500", of the last RequestReadTimeout that has one:
 * mod_reqtimeout takes all of a stage from there. */
typedef struct {
    int first, most, rate;
} body_time_t;

static void take_body_time(const look_t *look, void *baton)
{
    body_time_t *body = baton;
    const char *args = look->at->args;

    while (*args) {
        char *word = ap_getword_conf(look->p, &args);
        char *rate;

        ap_str_tolower(word);
        if (strncmp(word, "body=", 5))
            continue;
        word += 5;
        body->first = atoi(word);
        body->most = strchr(word, '-') ? atoi(strchr(word, '-') + 1) : 0;
        rate = strstr(word, "minrate=");
        body->rate = rate ? atoi(rate + 8) : 0;
    }
}

static void check_upload_time(look_t *look)
{
    body_time_t body = {20, 0, 500}; /* mod_reqtimeout's own */
    const char *ends = NULL;

    if (ap_find_linked_module("mod_reqtimeout.c"))
        each(look, "RequestReadTimeout", take_body_time, &body);
    else
        body.first = 0;
    if (body.first > 0 && body.most > 0)
        ends = apr_psprintf(look->p, "body=%d-%d ends every upload after %d s",
                            body.first, body.most, body.most);
    else if (body.first > 0 && body.rate == 0)
        ends = apr_psprintf(look->p,
                            "body=%d without MinRate ends every upload after "
                            "%d s",
                            body.first, body.first);
    if (ends)
        warn(look,
             "RequestReadTimeout %s, however fast it is (408): an attachment "
             "from a phone takes longer, one of 2 GiB from anywhere: "
             "RequestReadTimeout body=20,MinRate=500",
             ends);
    if (look->s->timeout < apr_time_from_sec(TIMEOUT_SECONDS))
        warn(look,
             "Timeout %d ends an upload or download in which a phone's "
             "network pauses for that long (408): Timeout 60. It does not "
             "bound a pending request; CasProxyTimeout does",
             (int)apr_time_sec(look->s->timeout));
}

/* ---------------------------------------------------------- size of a head */

static void check_head_size(const look_t *look)
{
    server_rec *s = look->s;
    const char *where = "before the first virtual host of this address";

    if (s->limit_req_line < LINE_SIZE
        && published(look, BIT(OWA) | BIT(LEGACY) | BIT(EAS)))
        warn(look,
             "LimitRequestLine %d: longer URLs of %s get 414, as names of "
             "folders and attachments make them: LimitRequestLine 16384, %s",
             s->limit_req_line,
             names_of(look, BIT(OWA) | BIT(LEGACY) | BIT(EAS)), where);
    if (s->limit_req_fieldsize < FIELD_SIZE)
        warn(look,
             "LimitRequestFieldSize %d: a session's cookies, Exchange's own "
             "and tokens are longer, and get 400: LimitRequestFieldSize "
             "65536, %s",
             s->limit_req_fieldsize, where);
    if (s->limit_req_fields > 0 && s->limit_req_fields < FIELDS)
        warn(look,
             "LimitRequestFields %d: Outlook and proxies before this front "
             "send more, and get 400: LimitRequestFields 100, %s",
             s->limit_req_fields, where);
}

/* ----------------------------------------------------- methods, characters */

static void check_encoded_slashes(const look_t *look)
{
    core_dir_config *core =
        ap_get_core_module_config(look->s->lookup_defaults);

    if (core && !core->allow_encoded_slashes
        && published(look, BIT(OWA) | BIT(LEGACY)))
        warn(look,
             "AllowEncodedSlashes is Off, and no virtual host inherits it: a "
             "folder, message or attachment (%s) whose name has a slash gets "
             "404: AllowEncodedSlashes NoDecode, in this virtual host",
             names_of(look, BIT(OWA) | BIT(LEGACY)));
}

static void check_allow_methods(const look_t *look, void *baton)
{
    static const struct {
        int bit;
        const char *methods;
    } needs[] = {
        {BIT(EAS), "OPTIONS POST"},
        {BIT(RPC), "RPC_IN_DATA RPC_OUT_DATA"},
        {BIT(LEGACY), "PROPFIND SEARCH BMOVE SUBSCRIBE POLL"},
        {BIT(OWA) | BIT(EWS) | BIT(MAPI) | BIT(AUTODISCOVER), "GET POST"}};
    int protocols = reached(look);
    const char *args = look->at->args;
    const char *allowed = apr_pstrcat(look->p, " ", args, " ", NULL);

    (void)baton;
    if (!ap_cstr_casecmp(ap_getword_conf(look->p, &args), "reset"))
        return;
    for (size_t i = 0; i < sizeof needs / sizeof *needs; i++) {
        const char *list = needs[i].methods;
        while ((protocols & needs[i].bit) && *list) {
            const char *method = ap_getword_conf(look->p, &list);
            if (ap_strstr_c(allowed,
                            apr_pstrcat(look->p, " ", method, " ", NULL)))
                continue;
            warn(look,
                 "AllowMethods %s: %s of %s gets 405: AllowMethods reset in "
                 "the <Location> of that protocol",
                 look->at->args, method,
                 names_of(look, protocols & needs[i].bit));
            break;
        }
    }
}

static void check_methods(look_t *look)
{
    core_server_config *core =
        ap_get_core_module_config(look->s->module_config);
    int odd = BIT(LEGACY) | BIT(RPC);

    if (core && core->http_methods == AP_HTTP_METHODS_REGISTERED
        && published(look, odd))
        warn(look,
             "HttpProtocolOptions RegisteredMethods: most of WebDAV's methods "
             "and RPC_IN_DATA are none that httpd knows, so that %s get 501: "
             "HttpProtocolOptions LenientMethods, before the first virtual "
             "host of this address",
             names_of(look, odd));
    each(look, "AllowMethods", check_allow_methods, NULL);
}

/* ---------------------------------------------- what holds a stream back */

static void check_environment(const look_t *look, void *baton)
{
    static const char *const names[] = {"proxy-sendcl",
                                        "force-proxy-request-1.0"};
    int protocols = reached(look);

    (void)baton;
    for (size_t i = 0; protocols && i < sizeof names / sizeof *names; i++)
        if (ap_strstr_c(look->at->args, names[i]))
            warn(look,
                 "%s %s: the body of a chunked upload (%s) is written to a "
                 "temporary file first, up to 2 GiB each, and nothing reaches "
                 "the server before its end: remove it",
                 look->at->directive, names[i], names_of(look, protocols));
}

/* mod_sed and mod_substitute wait for the end of a line. */
static void check_filter(const look_t *look, void *baton)
{
    static const char *const names[] = {"SUBSTITUTE", "SED", "proxy-html"};
    int protocols = reached(look);
    const char *args = look->at->args;
    char *word = ap_getword_conf(look->p, &args);
    char *state;

    (void)baton;
    for (char *f = apr_strtok(word, ";", &state); f && protocols;
         f = apr_strtok(NULL, ";", &state))
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (!ap_cstr_casecmp(f, names[i]))
                warn(look,
                     "%s %s holds a stream back until the end of a line or "
                     "of all of it (%s), so that notifications come late or "
                     "never: limit it to paths that are not Exchange's",
                     look->at->directive, names[i], names_of(look, protocols));
}

static void check_override(const look_t *look, void *baton)
{
    const char *args = look->at->args;
    int protocols =
        reached(look)
        & (BIT(EAS) | BIT(EWS) | BIT(AUTODISCOVER) | BIT(MAPI) | BIT(UM));

    (void)baton;
    if (protocols && ap_cstr_casecmp(ap_getword_conf(look->p, &args), "Off"))
        warn(look,
             "ProxyErrorOverride puts httpd's page in the place of a server's "
             "answer from 400 on, SOAP faults among them, which programs need "
             "(%s): ProxyErrorOverride Off",
             names_of(look, protocols));
}

/* mod_security, where it reads bodies: of the whole, or on both sides. */
typedef struct {
    int reads, writes; /* the published protocols for which it does */
    apr_int64_t limit;
} security_t;

static void take_reads(const look_t *look, void *baton)
{
    security_t *found = baton;
    int *which = ap_strcasestr(look->at->directive, "Response")
                     ? &found->writes
                     : &found->reads;

    if (!ap_cstr_casecmpn(look->at->args, "On", 2))
        *which |= reached(look);
    else
        *which &= ~reached(look);
}

static void take_limit(const look_t *look, void *baton)
{
    const char *args = look->at->args;

    ((security_t *)baton)->limit = apr_atoi64(ap_getword_conf(look->p, &args));
}

static void check_security(look_t *look)
{
    security_t found = {0, 0, 134217728};
    core_dir_config *core =
        ap_get_core_module_config(look->s->lookup_defaults);
    apr_int64_t most = core ? core->limit_req_body : 0;

    if (!ap_find_linked_module("mod_security2.c"))
        return;
    each(look, "SecRequestBodyAccess", take_reads, &found);
    each(look, "SecResponseBodyAccess", take_reads, &found);
    each(look, "SecRequestBodyLimit", take_limit, &found);
    if (most < 0)
        most = BODY_SIZE;
    if (most > 0 && most < found.limit)
        found.limit = most;
    if (found.reads)
        warn(look,
             "mod_security's SecRequestBodyAccess On reads every upload to "
             "its end before the server gets a byte, and refuses those beyond "
             "%" APR_INT64_T_FMT " bytes (SecRequestBodyLimit, "
             "LimitRequestBody) with 413; Outlook Anywhere does not work at "
             "all: SecRequestBodyAccess Off for %s",
             found.limit, names_of(look, found.reads));
    if (found.writes)
        warn(look,
             "mod_security's SecResponseBodyAccess On keeps an answer back "
             "until it is whole, so that notifications come when they are "
             "over: SecResponseBodyAccess Off for %s",
             names_of(look, found.writes));
}

static void check_streams(look_t *look)
{
    static const char *const setters[] = {
        "SetEnv",       "SetEnvIf",           "SetEnvIfNoCase",
        "BrowserMatch", "BrowserMatchNoCase", "SetEnvIfExpr"};

    for (size_t i = 0; i < sizeof setters / sizeof *setters; i++)
        each(look, setters[i], check_environment, NULL);
    each(look, "SetOutputFilter", check_filter, NULL);
    each(look, "AddOutputFilterByType", check_filter, NULL);
    each(look, "ProxyErrorOverride", check_override, NULL);
    check_security(look);
}

void casp_sizing_check(apr_pool_t *p, server_rec *s,
                       const casp_settings_t *set)
{
    look_t look = {p, s, set, section_of(s, ap_conftree), NULL};

    check_threads(&look);
    check_upload_time(&look);
    check_head_size(&look);
    check_encoded_slashes(&look);
    check_methods(&look);
    check_streams(&look);
}
