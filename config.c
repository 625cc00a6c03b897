/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * config.c - the directives as httpd sees them.
 *
 * Their table, setters, merge and dump are the core's (settings.c), so that
 * casproxyctl reads a configuration with the very same code.  Here is only
 * what needs httpd: command_rec, the context of a directive, what "httpd -t"
 * can check, and -D DUMP_CASPROXY.
 *
 * "httpd -t" ends before post_config; so every check stands in check_config.
 */

#include "skin.h"

#include <string.h>

#include <apr_fnmatch.h>
#include <apr_strings.h>

#include <ap_expr.h>
#include <ap_provider.h>
#include <ap_release.h>
#include <ap_socache.h>
#include <http_main.h>
#include <mod_watchdog.h>

#ifndef CASP_STATE_DIR
#define CASP_STATE_DIR "/var/lib/casproxy"
#endif

const char *casp_config_default_state_dir(apr_pool_t *p)
{
    (void)p;
    return CASP_STATE_DIR;
}

const char *casp_config_name(apr_pool_t *p, const server_rec *s)
{
    const char *name = s->server_hostname ? s->server_hostname : "default";
    apr_port_t port = s->port;

    if (!port && s->addrs)
        port = s->addrs->host_port;
    return s->is_virtual || port ? apr_psprintf(p, "%s:%u", name, port) : name;
}

/* ------------------------------------------------------- create and merge */

void *casp_config_create_server(apr_pool_t *p, server_rec *s)
{
    casp_vhost_t *v = apr_pcalloc(p, sizeof *v);

    v->set = casp_settings_create(p);
    v->server = s;
    return v;
}

void *casp_config_merge_server(apr_pool_t *p, void *base, void *add)
{
    const casp_vhost_t *b = base;
    const casp_vhost_t *a = add;
    casp_vhost_t *v = apr_pcalloc(p, sizeof *v);

    v->set = casp_settings_merge(p, b->set, a->set);
    v->used = b->used || a->used;
    v->server = a->server;
    return v;
}

void *casp_config_create_dir(apr_pool_t *p, char *path)
{
    (void)path;
    return casp_dir_settings_create(p);
}

void *casp_config_merge_dir(apr_pool_t *p, void *base, void *add)
{
    return casp_dir_settings_merge(p, base, add);
}

/* ------------------------------------------------------------ directives */

/* <Directory>, <Files> and .htaccess cannot work: a claimed request has no
 * file.  httpd's own context check does not tell <Location> from <Directory>
 * and lets both into <If>. */
static const char *context_of(cmd_parms *cmd, bool *in_location)
{
    static const char *const refused[] = {
        "<Directory",  "<Files", "<DirectoryMatch", "<FilesMatch", "<Proxy",
        "<ProxyMatch", NULL};
    const ap_directive_t *d = cmd->directive ? cmd->directive->parent : NULL;

    *in_location = false;
    if (cmd->pool == cmd->temp_pool
        || ap_check_cmd_context(cmd, NOT_IN_HTACCESS))
        return "stands in .htaccess; write it into <Location> or the virtual "
               "host";
    for (; d; d = d->parent) {
        for (int i = 0; refused[i]; i++)
            if (!ap_cstr_casecmp(d->directive, refused[i]))
                return apr_psprintf(cmd->pool,
                                    "does nothing in %s>: a "
                                    "claimed request has no file; write it "
                                    "into <Location>",
                                    d->directive);
        if (!ap_cstr_casecmpn(d->directive, "<Location", 9)
            || !ap_cstr_casecmpn(d->directive, "<If", 3)
            || !ap_cstr_casecmpn(d->directive, "<Else", 5))
            *in_location = *in_location
                           || (ap_cstr_casecmpn(d->directive, "<IfM", 4)
                               && ap_cstr_casecmpn(d->directive, "<IfD", 4)
                               && ap_cstr_casecmpn(d->directive, "<IfV", 4)
                               && ap_cstr_casecmpn(d->directive, "<IfF", 4)
                               && ap_cstr_casecmpn(d->directive, "<IfS", 4));
    }
    return NULL;
}

static const char *apply(cmd_parms *cmd, void *dir, int argc,
                         char *const argv[])
{
    const casp_directive_t *d = cmd->info;
    casp_vhost_t *v = casp_vhost_of(cmd->server);
    casp_dir_settings_t *set = dir;
    bool in_location;
    const char *error = context_of(cmd, &in_location);

    if (!error)
        error = casp_settings_apply(cmd->pool, d, in_location, v->set, set,
                                    argc, (const char *const *)argv);
    if (!error) {
        if (set->mode != CASP_UNSET && set->mode != CASP_MODE_OFF)
            v->used = true;
        return NULL;
    }
    return apr_psprintf(cmd->pool, "%s: %s %s",
                        casp_config_name(cmd->temp_pool, cmd->server), d->name,
                        error);
}

/* One command_rec per row of the core's table.  httpd reads the array when the
 * module is added, which is right after it was loaded: so it is filled while
 * it is being loaded, and no second list of names can drift from the first. */
#define MAX_COMMANDS 128
command_rec casp_commands[MAX_COMMANDS];

static void fill_commands(void) __attribute__((constructor));
static void fill_commands(void)
{
    int n = 0;

    for (const casp_directive_t *d = casp_directives;
         d->name && n < MAX_COMMANDS - 1; d++, n++) {
        command_rec *c = &casp_commands[n];
        c->name = d->name;
        c->func.take_argv = apply;
        c->cmd_data = (void *)(uintptr_t)d;
        c->req_override = d->scope & CASP_SCOPE_LOCATION
                              ? RSRC_CONF | ACCESS_CONF
                              : RSRC_CONF;
        c->args_how = TAKE_ARGV;
        c->errmsg = d->help;
    }
}

/* ----------------------------------------------------------------- checks */

static void tell(server_rec *s, int level, const apr_array_header_t *what)
{
    for (int i = 0; i < what->nelts; i++)
        ap_log_error(APLOG_MARK, APLOG_STARTUP | level, 0, s, "%s%s: %s",
                     level == APLOG_WARNING
                     ? CASPLOGNO(0121)
                     : CASPLOGNO(0120), casp_config_name(s->process->pool, s),
                                 APR_ARRAY_IDX(what, i, const char *));
}

/* Refuse a server older than the one this module was built for: mod_proxy's
 * structures grow, and a worker's new members would lie beyond its end. */
static int check_release(server_rec *s)
{
    ap_version_t v;
    int have, built;

    ap_get_server_revision(&v);
    have = v.major * 1000000 + v.minor * 1000 + v.patch;
    built = AP_SERVER_MAJORVERSION_NUMBER * 1000000
            + AP_SERVER_MINORVERSION_NUMBER * 1000
            + AP_SERVER_PATCHLEVEL_NUMBER;
    if (have >= built)
        return OK;
    ap_log_error(
        APLOG_MARK, APLOG_STARTUP | APLOG_CRIT, 0, s,
        CASPLOGNO(0122) "mod_casproxy was built for httpd " AP_SERVER_BASEREVISION
                  " and this one is %d.%d.%d: update "
                  "httpd, or build the module against this version",
            v.major, v.minor, v.patch);
    return HTTP_INTERNAL_SERVER_ERROR;
}

static void check_modules(apr_pool_t *p, const casp_settings_t *set,
                          apr_array_header_t *errors)
{
    const char *provider;

    if (!ap_find_linked_module("mod_proxy.c"))
        APR_ARRAY_PUSH(errors, const char *) =
            "mod_proxy is not loaded: LoadModule proxy_module "
            "modules/mod_proxy.so";
    else if (!ap_find_linked_module("mod_proxy_http.c"))
        APR_ARRAY_PUSH(errors, const char *) =
            "mod_proxy_http is not loaded: LoadModule proxy_http_module "
            "modules/mod_proxy_http.so";
    if (!APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance))
        APR_ARRAY_PUSH(errors, const char *) =
            "mod_watchdog is not loaded: LoadModule watchdog_module "
            "modules/mod_watchdog.so";
    provider = set->shared_cache;
    if (provider && *provider && ap_cstr_casecmp(provider, "none")) {
        const char *colon = ap_strchr_c(provider, ':');
        if (colon)
            provider = apr_pstrmemdup(p, provider, colon - provider);
        if (!ap_lookup_provider(AP_SOCACHE_PROVIDER_GROUP, provider,
                                AP_SOCACHE_PROVIDER_VERSION))
            APR_ARRAY_PUSH(errors, const char *) = apr_psprintf(
                p,
                "CasProxySharedCache: no provider \"%s\": LoadModule "
                "socache_%s_module modules/mod_socache_%s.so",
                provider, provider, provider);
    }
}

/* Does this section hold for this path?  Only as far as the question needs. */
static bool section_holds(const core_dir_config *where, const char *path)
{
    if (where->r)
        return !ap_regexec(where->r, path, 0, NULL, 0);
    if (where->d_is_fnmatch)
        return apr_fnmatch(where->d, path, APR_FNM_PATHNAME) == APR_SUCCESS;
    return !strncmp(where->d, path, strlen(where->d));
}

/* <Location /ecp> compares case and Exchange does not: what it closes stays
 * open as /ECP.  So every directory's spellings are held against it. */
static void check_section_case(apr_pool_t *p, const core_dir_config *where,
                               apr_array_header_t *warnings)
{
    static const char *const vdirs[] = {
        "owa",        "ecp",          "Microsoft-Server-ActiveSync",
        "EWS",        "Autodiscover", "OAB",
        "rpc",        "mapi",         "UnifiedMessaging",
        "PowerShell", "exchange",     "public",
        "exchweb"};

    if (!where->r && casp_protocol_claims(where->d)) {
        APR_ARRAY_PUSH(warnings, const char *) = apr_psprintf(
            p,
            "<Location %s> compares case and Exchange does not, so that "
            "other spellings pass it by: write <LocationMatch \"(?i)^%s\">",
            where->d, where->d);
        return;
    }
    for (size_t i = 0; i < sizeof vdirs / sizeof *vdirs; i++) {
        char *lower = apr_pstrcat(p, "/", vdirs[i], "/", NULL);
        char *upper = apr_pstrdup(p, lower);
        bool own, low, up;

        own = section_holds(where, lower);
        ap_str_tolower(lower);
        ap_str_toupper(upper);
        low = section_holds(where, lower);
        up = section_holds(where, upper);
        if (own == low && low == up)
            continue;
        APR_ARRAY_PUSH(warnings, const char *) = apr_psprintf(
            p,
            "<Location%s %s> compares case and Exchange does not, so that "
            "%s passes it by: write <LocationMatch \"(?i)^/%s(/|$)\">",
            where->r ? "Match" : "", where->d, up ? lower : upper, vdirs[i]);
        return;
    }
}

static void check_sections(apr_pool_t *p, server_rec *s,
                           apr_array_header_t *warnings)
{
    core_server_config *core = ap_get_core_module_config(s->module_config);

    for (int i = 0; core && i < core->sec_url->nelts; i++) {
        core_dir_config *where =
            ap_get_core_module_config(APR_ARRAY_IDX(core->sec_url, i,
                                                    ap_conf_vector_t *));
        if (where && where->d)
            check_section_case(p, where, warnings);
    }
}

/* The schemes and logins that a section asks for, and those of its <If>s. */
static int schemes_of(ap_conf_vector_t *section, int *logins)
{
    core_dir_config *where = ap_get_core_module_config(section);
    casp_dir_settings_t *dir = ap_get_module_config(section, &casproxy_module);
    int schemes = dir && dir->auth != CASP_UNSET ? dir->auth : 0;

    if (dir && dir->backend_auth != CASP_UNSET)
        *logins |= 1 << dir->backend_auth;

    for (int i = 0; where && where->sec_if && i < where->sec_if->nelts; i++)
        schemes |=
            schemes_of(APR_ARRAY_IDX(where->sec_if, i, ap_conf_vector_t *),
                       logins);
    return schemes;
}

static int schemes_anywhere(server_rec *s, int *logins)
{
    core_server_config *core = ap_get_core_module_config(s->module_config);
    int schemes = schemes_of(s->lookup_defaults, logins);

    for (int i = 0; core && i < core->sec_url->nelts; i++)
        schemes |=
            schemes_of(APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *),
                       logins);
    return schemes;
}

#define TICKET_SIZE 16384

/* What of httpd's own configuration stands in the way of Kerberos and NTLM. */
static void check_integrated(apr_pool_t *p, server_rec *s,
                             const casp_settings_t *set,
                             apr_array_header_t *errors,
                             apr_array_header_t *warnings)
{
    int logins = 0;
    int schemes = schemes_anywhere(s, &logins);

    casp_settings_check_auth(p, set, schemes, logins, errors, warnings);
    if (((schemes & CASP_SCHEME_NEGOTIATE) || set->keytab)
        && s->limit_req_fieldsize < TICKET_SIZE)
        APR_ARRAY_PUSH(warnings, const char *) =
            "LimitRequestFieldSize is smaller than the Kerberos ticket of a "
            "user in many groups, who would get 400: LimitRequestFieldSize "
            "65536, before the first virtual host of this address";
    if ((schemes & CASP_SCHEME_NTLM) && !s->keep_alive)
        APR_ARRAY_PUSH(warnings, const char *) =
            "NTLM needs connections that stay: KeepAlive On";
    if ((schemes & CASP_SCHEME_NTLM) && s->keep_alive && s->keep_alive_max > 0
        && s->keep_alive_max < 100)
        APR_ARRAY_PUSH(warnings, const char *) =
            "MaxKeepAliveRequests is small, and every new connection costs an "
            "NTLM handshake: MaxKeepAliveRequests 0";
}

int casp_config_check(apr_pool_t *p, apr_pool_t *plog, apr_pool_t *ptemp,
                      server_rec *s)
{
    int rc = OK;
    bool used = false;

    (void)p;
    (void)plog;
    for (server_rec *v = s; v; v = v->next) {
        casp_vhost_t *vhost = casp_vhost_of(v);
        apr_array_header_t *errors = apr_array_make(ptemp, 4, sizeof(char *));
        apr_array_header_t *warnings =
            apr_array_make(ptemp, 4, sizeof(char *));
        const casp_settings_t *set;
        casp_pages_t *pages;
        casp_org_t *org;
        casp_ring_t *ring;
        const char *error;

        vhost->server = v;
        if (!vhost->used)
            continue;
        used = true;
        casp_settings_check(ptemp, vhost->set, errors, warnings);
        set = casp_settings_complete(ptemp, vhost->set, CASP_STATE_DIR);
        check_modules(ptemp, set, errors);
        /* what only the directory's own room knows; nothing is connected */
        error = errors->nelts
                    ? NULL
                    : casp_org_create(ptemp, set,
                                      set->bind_secret ? "-" : NULL, &org);
        if (error)
            APR_ARRAY_PUSH(errors, const char *) = error;
        check_sections(ptemp, v, warnings);
        check_integrated(ptemp, v, set, errors, warnings);
        error = casp_pages_load(ptemp, set->pages, &pages);
        if (error)
            APR_ARRAY_PUSH(errors, const char *) =
                apr_pstrcat(ptemp, "CasProxyPages: ", error, NULL);
        error = set->forms_key && !errors->nelts
                    ? casp_ring_load(ptemp, set->forms_key, false, &ring)
                    : NULL;
        if (error)
            APR_ARRAY_PUSH(errors, const char *) =
                apr_pstrcat(ptemp, "CasProxyFormsKey: ", error, NULL);
        tell(v, APLOG_CRIT, errors);
        tell(v, APLOG_WARNING, warnings);
        if (errors->nelts)
            rc = HTTP_INTERNAL_SERVER_ERROR;
        else if (!vhost->mail_only)
            casp_sizing_check(ptemp, v, set);
    }
    if (rc == OK && used)
        rc = check_release(s);
    return rc;
}

/* ------------------------------------------------------------------- dump */

static void dump_lines(apr_file_t *out, const char *indent,
                       const apr_array_header_t *lines)
{
    for (int i = 0; i < lines->nelts; i++)
        apr_file_printf(out, "%s%s\n", indent,
                        APR_ARRAY_IDX(lines, i, const char *));
}

/* What an <If> sets cannot be said without a request; so it is told as a
 * comment, with the place to look at. */
static void dump_conditions(apr_pool_t *p, apr_file_t *out,
                            ap_conf_vector_t *section)
{
    core_dir_config *where = ap_get_core_module_config(section);
    casp_settings_t *none = casp_settings_create(p);

    for (int i = 0; where && where->sec_if && i < where->sec_if->nelts; i++) {
        ap_conf_vector_t *inner =
            APR_ARRAY_IDX(where->sec_if, i, ap_conf_vector_t *);
        core_dir_config *which = ap_get_core_module_config(inner);
        casp_dir_settings_t *set =
            ap_get_module_config(inner, &casproxy_module);
        apr_array_header_t *lines =
            set ? casp_settings_dump(p, none, set) : NULL;
        if (!lines || !lines->nelts)
            continue;
        apr_file_printf(out, "    # <If> at %s:%u sets, where it holds:\n",
                        which->condition ? which->condition->filename : "?",
                        which->condition ? which->condition->line_number : 0);
        dump_lines(out, "    #     ", lines);
    }
}

/* What a <Location> sets. */
static void dump_sections(apr_pool_t *p, apr_file_t *out, server_rec *s)
{
    core_server_config *core = ap_get_core_module_config(s->module_config);
    casp_settings_t *none = casp_settings_create(p);

    for (int i = 0; core && i < core->sec_url->nelts; i++) {
        ap_conf_vector_t *section =
            APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *);
        core_dir_config *where = ap_get_core_module_config(section);
        casp_dir_settings_t *set =
            ap_get_module_config(section, &casproxy_module);
        apr_array_header_t *lines =
            set ? casp_settings_dump(p, none, set) : NULL;
        if (!lines || !lines->nelts || !where->d)
            continue;
        apr_file_printf(out, "    <Location%s \"%s\">\n",
                        where->r ? "Match" : "", where->d);
        dump_lines(out, "        ", lines);
        apr_file_printf(out, "    </Location%s>\n", where->r ? "Match" : "");
        dump_conditions(p, out, section);
    }
}

void casp_config_dump(apr_pool_t *p, server_rec *s)
{
    apr_file_t *out;

    if (!ap_exists_config_define("DUMP_CASPROXY"))
        return;
    apr_file_open_stdout(&out, p);
    apr_file_printf(out, "# What is in force, in the language of the "
                         "configuration;\n# casproxyctl explain --config - "
                         "--vhost NAME reads it.\n");
    for (server_rec *v = s; v; v = v->next) {
        casp_vhost_t *vhost = casp_vhost_of(v);
        casp_dir_settings_t *dir;
        if (!vhost->used)
            continue;
        dir = ap_get_module_config(v->lookup_defaults, &casproxy_module);
        apr_file_printf(out, "<VirtualHost %s>\n", casp_config_name(p, v));
        dump_lines(out, "    ",
                   casp_settings_dump(p,
                                      casp_settings_complete(p, vhost->set,
                                                             CASP_STATE_DIR),
                                      casp_dir_settings_complete(p, dir)));
        dump_conditions(p, out, v->lookup_defaults);
        dump_sections(p, out, v);
        apr_file_printf(out, "</VirtualHost>\n");
    }
}
