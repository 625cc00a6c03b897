/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The directory as the other rooms see it: what is configured is checked, a
 * search or a password goes to one server after the other until one answers
 * or the time is over, and results get the names that directory.h promises.
 *
 * No thread, socket or LDAP message is handled here; see dirwire.h for who
 * does that.  What an entry means is for topology.c and mailbox.c.
 */

#include <string.h>

#include <arpa/inet.h>

#include <apr_atomic.h>
#include <apr_file_io.h>
#include <apr_strings.h>

#include "dirwire.h"

#define CONNECT_TIMEOUT apr_time_from_sec(3)
#define SEARCH_TIMEOUT apr_time_from_sec(5)
#define REST apr_time_from_sec(10)
/* A connection idle for longer may have been dropped by a firewall. */
#define STALE apr_time_from_sec(30)
/* How many servers may break in the middle of one operation. */
#define BREAKS_MAX 2

struct casp_directory_t {
    casp_dirwire_conf_t wire;
    casp_dirpool_conf_t limits;
    const char *base;
    const char *name;
    int ntargets;
    casp_dirtarget_t *targets;
    casp_directory_stats_t stats;
    /* One per start; kept to the end, because a rootDSE was lent. */
    apr_array_header_t *pools; /* of casp_dirpool_t * */
    casp_dirpool_t *current;
};

/* ---------------------------------------------------------------- checks */

/* The library's first call makes its global options, and is not safe among
 * threads.  Also: is it one that is safe among threads later on? */
static const char *check_library(apr_pool_t *p)
{
    LDAPAPIInfo info;
    memset(&info, 0, sizeof(info));
    info.ldapai_info_version = LDAP_API_INFO_VERSION;
    if (ldap_get_option(NULL, LDAP_OPT_API_INFO, &info) != LDAP_SUCCESS) {
        return "the LDAP library does not tell its version; install "
               "OpenLDAP's libldap 2.5 or newer";
    }
    bool safe = info.ldapai_vendor_version >= 20500;
    for (int i = 0; info.ldapai_extensions && info.ldapai_extensions[i]; i++) {
        safe |=
            !strcmp(info.ldapai_extensions[i], "THREAD_SAFE")
            || !strcmp(info.ldapai_extensions[i], "X_OPENLDAP_THREAD_SAFE");
    }
    const char *wrong = NULL;
    if (!safe) {
        wrong = apr_psprintf(p,
                             "%s %d is not safe among threads; install "
                             "OpenLDAP's libldap 2.5 or newer",
                             info.ldapai_vendor_name ? info.ldapai_vendor_name
                                                     : "libldap",
                             info.ldapai_vendor_version);
    }
    ldap_memfree(info.ldapai_vendor_name);
    ber_memvfree((void **)info.ldapai_extensions);
    return wrong;
}

/* Kerberos has no names for addresses. */
static bool is_address(const char *host)
{
    unsigned char b[16];
    return inet_pton(AF_INET, host, b) == 1
           || inet_pton(AF_INET6, host, b) == 1;
}

static const char *check_gssapi(apr_pool_t *p,
                                const casp_directory_conf_t *conf,
                                const casp_directory_t *dir)
{
    if (!conf->keytab || !*conf->keytab) {
        return "CasProxyDirectoryBind GSSAPI needs a keytab: GSSAPI "
               "/etc/apache2/front.keytab";
    }
    for (int i = 0; i < dir->ntargets; i++) {
        const casp_dirtarget_t *t = &dir->targets[i];
        if (!t->ldaps && !t->starttls) {
            return apr_psprintf(p,
                                "CasProxyDirectoryBind GSSAPI needs TLS: "
                                "use ldaps:// or CasProxyDirectoryTLS "
                                "StartTLS for %s",
                                t->url);
        }
        if (is_address(t->host)) {
            return apr_psprintf(p,
                                "CasProxyDirectoryBind GSSAPI needs the "
                                "server's full name instead of an address in "
                                "%s",
                                t->url);
        }
    }
    return NULL;
}

static const char *check_bind(apr_pool_t *p, const casp_directory_conf_t *conf,
                              const casp_directory_t *dir)
{
    if (conf->bind == CASP_BIND_GSSAPI) {
        return check_gssapi(p, conf, dir);
    }
    if (conf->bind == CASP_BIND_SIMPLE) {
        if (!conf->bind_name || !*conf->bind_name) {
            return "CasProxyDirectoryBind: the name is empty";
        }
        if (!conf->bind_secret || !*conf->bind_secret) {
            return "CasProxyDirectoryBind: the secret is empty, and a server "
                   "would take that for an anonymous bind";
        }
        return NULL;
    }
    for (int i = 0; i < dir->ntargets; i++) {
        if (dir->targets[i].port) {
            return apr_psprintf(p,
                                "%s needs CasProxyDirectoryBind NAME "
                                "SECRET (only ldapi:// does without)",
                                dir->targets[i].url);
        }
    }
    return NULL;
}

static const char *check_numbers(const casp_directory_conf_t *conf,
                                 casp_directory_t *dir)
{
    casp_dirpool_conf_t *l = &dir->limits;
    bool unset = conf->pool_hmax == 0 && conf->pool_smax == 0
                 && conf->pool_min == 0 && conf->pool_ttl == 0;
    l->pool_min = conf->pool_min;
    l->pool_smax = unset ? 4 : conf->pool_smax;
    l->pool_hmax = unset ? 16 : conf->pool_hmax;
    l->pool_ttl = conf->pool_ttl ? conf->pool_ttl : apr_time_from_sec(300);
    l->rest = conf->rest ? conf->rest : REST;
    l->stats = &dir->stats;
    if (l->pool_min < 0 || l->pool_min > l->pool_smax
        || l->pool_smax > l->pool_hmax || l->pool_hmax < 1) {
        return "CasProxyDirectoryPool: 0 <= min <= smax <= hmax and "
               "1 <= hmax must hold";
    }
    if (l->pool_ttl < 0 || l->rest < 0 || conf->connect_timeout < 0
        || conf->search_timeout < 0 || conf->topology_timeout < 0) {
        return "CasProxyDirectoryTimeout and CasProxyDirectoryPool: a time "
               "is negative";
    }
    return NULL;
}

/* The file with the CAs; found here, so that it is the same whatever
 * ldap.conf or another module says. */
static const char *check_ca(apr_pool_t *p, const casp_directory_conf_t *conf,
                            casp_directory_t *dir)
{
    static const char *const known[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt",
                                        "/etc/ssl/ca-bundle.pem",
                                        "/etc/ssl/cert.pem"};
    bool needed = false;
    for (int i = 0; i < dir->ntargets; i++) {
        needed |= dir->targets[i].ldaps || dir->targets[i].starttls;
    }
    const char *file = conf->ca_file;
    apr_finfo_t info;
    for (apr_size_t i = 0;
         needed && !file && i < sizeof(known) / sizeof(known[0]); i++) {
        if (apr_stat(&info, known[i], APR_FINFO_TYPE, p) == APR_SUCCESS) {
            file = known[i];
        }
    }
    dir->wire.ca_file = file;
    if (!needed) {
        return NULL;
    }
    if (!file) {
        return "no file with the system's CAs was found; set "
               "CasProxyDirectoryCAFile";
    }
    apr_file_t *f;
    apr_status_t rv =
        apr_file_open(&f, file, APR_FOPEN_READ, APR_FPROT_OS_DEFAULT, p);
    if (rv != APR_SUCCESS) {
        char buf[128];
        return apr_psprintf(p,
                            "CasProxyDirectoryCAFile %s cannot be read: "
                            "%s",
                            file, apr_strerror(rv, buf, sizeof(buf)));
    }
    apr_file_close(f);
    return NULL;
}

static const char *check_urls(apr_pool_t *p, const casp_directory_conf_t *conf,
                              casp_directory_t *dir)
{
    if (!conf->urls || conf->urls->nelts == 0) {
        return "CasProxyDirectory names no server";
    }
    dir->name = apr_array_pstrcat(p, conf->urls, ' ');
    dir->ntargets = conf->urls->nelts;
    dir->targets =
        apr_pcalloc(p, sizeof(casp_dirtarget_t) * (apr_size_t)dir->ntargets);
    for (int i = 0; i < dir->ntargets; i++) {
        const char *wrong =
            casp_dirdial_target(p, APR_ARRAY_IDX(conf->urls, i, const char *),
                                conf->tls, &dir->targets[i]);
        if (wrong) {
            return wrong;
        }
    }
    return NULL;
}

static apr_status_t forget(void *data)
{
    casp_directory_t *dir = data;
    for (int i = 0; i < dir->pools->nelts; i++) {
        casp_dirpool_unref(APR_ARRAY_IDX(dir->pools, i, casp_dirpool_t *));
    }
    dir->pools->nelts = 0;
    dir->current = NULL;
    return APR_SUCCESS;
}

const char *casp_directory_create(apr_pool_t *p,
                                  const casp_directory_conf_t *conf,
                                  casp_directory_t **out)
{
    *out = NULL;
    casp_directory_t *dir = apr_pcalloc(p, sizeof(*dir));
    const char *wrong = check_library(p);
    if (!wrong) {
        wrong = check_urls(p, conf, dir);
    }
    if (!wrong) {
        wrong = check_bind(p, conf, dir);
    }
    if (!wrong) {
        wrong = check_numbers(conf, dir);
    }
    if (!wrong) {
        wrong = check_ca(p, conf, dir);
    }
    if (wrong) {
        return wrong;
    }
    dir->wire.bind = conf->bind;
    dir->wire.bind_name = conf->bind_name;
    dir->wire.bind_secret = conf->bind_secret;
    dir->wire.keytab = conf->keytab;
    dir->wire.connect_timeout =
        conf->connect_timeout ? conf->connect_timeout : CONNECT_TIMEOUT;
    dir->wire.search_timeout =
        conf->search_timeout ? conf->search_timeout : SEARCH_TIMEOUT;
    dir->base = conf->base;
    dir->pools = apr_array_make(p, 1, sizeof(casp_dirpool_t *));
    apr_pool_cleanup_register(p, dir, forget, apr_pool_cleanup_null);
    *out = dir;
    return NULL;
}

/* --------------------------------------------------------- start and end */

static apr_status_t stop(void *data)
{
    casp_dirpool_t *pool = data;
    casp_dirpool_stop(pool);
    casp_dirpool_unref(pool);
    return APR_SUCCESS;
}

void casp_directory_stop(casp_directory_t *dir)
{
    if (dir->current) {
        casp_dirpool_stop(dir->current);
    }
}

apr_status_t casp_directory_start(casp_directory_t *dir, apr_pool_t *p)
{
    if (dir->current && !casp_dirpool_stopping(dir->current)) {
        return APR_EEXIST;
    }
    casp_dirpool_t *pool = casp_dirpool_make(&dir->wire, &dir->limits,
                                             dir->targets, dir->ntargets);
    apr_status_t rv = casp_dirpool_start(pool);
    if (rv != APR_SUCCESS) {
        casp_dirpool_unref(pool);
        return rv;
    }
    casp_dirpool_ref(pool); /* one for stop(), one for forget() */
    APR_ARRAY_PUSH(dir->pools, casp_dirpool_t *) = pool;
    dir->current = pool;
    /* Before the pools below p die, whose threads may be inside. */
    apr_pool_pre_cleanup_register(p, pool, stop);
    return APR_SUCCESS;
}

/* ------------------------------------------------------------- fail-over */

/* One operation on its way among the servers. */
typedef struct {
    casp_directory_t *dir;
    casp_dirpool_t *pool;
    casp_linkkind_e kind;
    apr_time_t deadline;
    casp_dirask_fn *ask;
    void *baton;
    casp_slot_t *held; /* stays out */
    int breaks; /* servers that broke in the middle */
    casp_dirwhy_t why; /* of the last */
    casp_dirwhy_t said; /* of all */
} errand_t;

static apr_time_t halfway(apr_time_t until)
{
    apr_time_t now = apr_time_now();
    return until > now ? now + (until - now) / 2 : until;
}

/* Ask once, on one connection. */
static casp_wire_e ask_link(errand_t *e, casp_link_t *link, apr_time_t until)
{
    *e->why.text = '\0';
    casp_dirpool_arm(link, until);
    casp_wire_e wire = e->ask(link, until, e->baton, &e->why);
    bool fine = casp_dirpool_disarm(link);
    if (!fine && wire == CASP_WIRE_DOWN) {
        casp_dirwire_say(&e->why, "no answer in time");
        wire = CASP_WIRE_LATE;
    }
    link->used = true;
    if (wire == CASP_WIRE_LATE) {
        apr_atomic_inc32(&e->dir->stats.timeouts);
    }
    return wire;
}

/* Does lateness tell something about the server, or only that the caller was
 * in a hurry? */
static bool late_enough(const errand_t *e, apr_interval_time_t took)
{
    return took >= e->dir->wire.connect_timeout
           || took + took / 4 >= e->dir->wire.search_timeout / 2;
}

static void broke(errand_t *e, int server, casp_wire_e wire,
                  apr_interval_time_t took)
{
    e->breaks++;
    casp_dirwhy_t inner = e->why;
    casp_dirwire_say(&e->why, "%s: %s", e->dir->targets[server].url,
                     inner.text);
    if (wire == CASP_WIRE_DOWN || late_enough(e, took)) {
        casp_dirpool_fault(e->pool, server, &e->why);
    }
}

/* Ask one server.  A connection that was idle may have been closed without
 * our knowledge: that is no failure, and a new one is made, once. */
static casp_wire_e ask_server(errand_t *e, int server, apr_time_t until)
{
    bool fresh = false;
    for (;;) {
        casp_slot_t *slot;
        casp_wire_e wire = casp_dirpool_get(e->pool, server, e->kind, fresh,
                                            until, &slot, &e->why);
        if (wire != CASP_WIRE_OK) {
            return wire;
        }
        casp_link_t *link = casp_dirpool_link(slot);
        apr_time_t now = apr_time_now();
        bool was_idle = link->idle_since != 0;
        bool suspect = was_idle && now - link->idle_since >= STALE;
        apr_time_t stop_at = suspect ? halfway(until) : until;
        wire = ask_link(e, link, stop_at);
        if (wire == CASP_WIRE_OK && link->held) {
            casp_dirpool_lend(e->pool);
            e->held = slot;
            return wire;
        }
        casp_dirpool_put(e->pool, slot);
        if (wire == CASP_WIRE_CUT) {
            broke(e, server, wire, apr_time_now() - now);
        }
        if (wire != CASP_WIRE_DOWN && wire != CASP_WIRE_LATE) {
            return wire;
        }
        if (!was_idle || fresh || (wire == CASP_WIRE_LATE && !suspect)) {
            broke(e, server, wire, apr_time_now() - now);
            return wire;
        }
        casp_log(CASP_LOG_DEBUG, 0,
                 CASPLOGNO(0307) "an idle connection to %s was closed by the "
                                 "server or on the way; a new one is made",
                           e->dir->targets[server].url);
        fresh = true;
    }
}

static void remember(errand_t *e)
{
    apr_size_t len = strlen(e->said.text);
    apr_snprintf(e->said.text + len, sizeof(e->said.text) - len, "%s%s",
                 len ? "; " : "", e->why.text);
}

static casp_wire_e ask_each(errand_t *e, int *order)
{
    int fit = casp_dirpool_plan(e->pool, order);
    casp_wire_e wire = CASP_WIRE_LATE;
    for (int i = 0; i < e->dir->ntargets && e->breaks < BREAKS_MAX; i++) {
        if (apr_time_now() >= e->deadline) {
            break;
        }
        /* What may hang must leave time for the next one. */
        wire = ask_server(e, order[i],
                          i + 1 < fit ? halfway(e->deadline) : e->deadline);
        if (wire == CASP_WIRE_OK || wire == CASP_WIRE_REPLIED
            || wire == CASP_WIRE_PARTIAL) {
            e->said = e->why;
            return wire;
        }
        remember(e);
    }
    if (!*e->said.text) {
        casp_dirwire_say(&e->said, "the deadline had passed already");
    }
    return wire;
}

casp_wire_e casp_directory_run(casp_directory_t *dir, apr_pool_t *p,
                               casp_linkkind_e kind, apr_time_t deadline,
                               casp_dirask_fn *ask, void *baton,
                               casp_slot_t **held, const char **why)
{
    errand_t e;
    memset(&e, 0, sizeof(e));
    e.dir = dir;
    e.pool = dir->current;
    e.kind = kind;
    e.deadline =
        deadline ? deadline : apr_time_now() + dir->wire.search_timeout;
    e.ask = ask;
    e.baton = baton;
    if (!e.pool || !casp_dirpool_enter(e.pool)) {
        *why = "the directory is not started, or is stopping";
        return CASP_WIRE_FULL;
    }
    int *order = apr_palloc(p, sizeof(int) * (apr_size_t)dir->ntargets);
    casp_wire_e wire = ask_each(&e, order);
    casp_dirpool_leave(e.pool);
    if (held) {
        *held = e.held;
    }
    *why = *e.said.text ? apr_pstrdup(p, e.said.text) : NULL;
    return wire;
}

static casp_wire_e run(casp_directory_t *dir, apr_pool_t *p,
                       casp_linkkind_e kind, apr_time_t deadline,
                       casp_dirask_fn *ask, void *baton, const char **why)
{
    return casp_directory_run(dir, p, kind, deadline, ask, baton, NULL, why);
}

static casp_dir_e outcome(casp_wire_e wire)
{
    switch (wire) {
    case CASP_WIRE_OK:
        return CASP_DIR_OK;
    case CASP_WIRE_REPLIED:
        return CASP_DIR_REFUSED;
    case CASP_WIRE_PARTIAL:
    case CASP_WIRE_CUT:
        return CASP_DIR_INCOMPLETE;
    case CASP_WIRE_LATE:
    case CASP_WIRE_DOWN:
    case CASP_WIRE_DENIED:
    case CASP_WIRE_FULL:
        break;
    }
    return CASP_DIR_UNAVAILABLE;
}

/* ------------------------------------------------------------ operations */

typedef struct {
    casp_directory_t *dir;
    apr_pool_t *p;
    const casp_search_t *search;
    apr_array_header_t *entries;
} searching_t;

static casp_wire_e ask_search(casp_link_t *link, apr_time_t deadline,
                              void *baton, casp_dirwhy_t *why)
{
    searching_t *s = baton;
    const char *base = s->search->base ? s->search->base : s->dir->base;
    if (!base) {
        const casp_directory_root_t *root = casp_dirpool_root(link->pool);
        base = root ? root->default_nc : NULL;
    }
    if (!base) {
        casp_dirwire_say(why, "the server names no default naming context; "
                              "set CasProxyDirectoryBase");
        return CASP_WIRE_REPLIED;
    }
    return casp_dirask_search(link, s->p, s->search, base, deadline,
                              &s->entries, why);
}

casp_dir_e casp_directory_search(casp_directory_t *dir, apr_pool_t *p,
                                 const casp_search_t *search,
                                 apr_time_t deadline,
                                 apr_array_header_t **entries,
                                 const char **why)
{
    searching_t s = {dir, p, search, NULL};
    apr_atomic_inc32(&dir->stats.searches);
    casp_wire_e wire =
        run(dir, p, CASP_LINK_SERVICE, deadline, ask_search, &s, why);
    *entries = s.entries;
    return outcome(wire);
}

typedef struct {
    const char *name, *password;
    casp_pw_e pw;
} checking_t;

static casp_wire_e ask_check(casp_link_t *link, apr_time_t deadline,
                             void *baton, casp_dirwhy_t *why)
{
    checking_t *c = baton;
    return casp_dirask_check(link, c->name, c->password, deadline, &c->pw,
                             why);
}

casp_pw_e casp_directory_check(casp_directory_t *dir, apr_pool_t *p,
                               const char *name, const char *password,
                               apr_time_t deadline, const char **why)
{
    if (!password || !*password) {
        /* To LDAP that is an unauthenticated bind, and a success. */
        *why = "the password is empty";
        return CASP_PW_EMPTY;
    }
    if (!name || !*name) {
        *why = "the name is empty";
        return CASP_PW_WRONG;
    }
    checking_t c = {name, password, CASP_PW_UNAVAILABLE};
    apr_atomic_inc32(&dir->stats.binds);
    casp_wire_e wire =
        run(dir, p, CASP_LINK_USER, deadline, ask_check, &c, why);
    return wire == CASP_WIRE_OK ? c.pw : CASP_PW_UNAVAILABLE;
}

static casp_wire_e ask_nothing(casp_link_t *link, apr_time_t deadline,
                               void *baton, casp_dirwhy_t *why)
{
    /* That there is a connection means that the rootDSE was read. */
    (void)link, (void)deadline, (void)baton;
    *why->text = '\0';
    return CASP_WIRE_OK;
}

casp_dir_e casp_directory_root(casp_directory_t *dir, apr_pool_t *p,
                               apr_time_t deadline,
                               const casp_directory_root_t **root,
                               const char **why)
{
    *why = NULL;
    *root = dir->current ? casp_dirpool_root(dir->current) : NULL;
    if (*root) {
        return CASP_DIR_OK;
    }
    casp_wire_e wire =
        run(dir, p, CASP_LINK_SERVICE, deadline, ask_nothing, NULL, why);
    if (wire != CASP_WIRE_OK) {
        return outcome(wire);
    }
    *root = casp_dirpool_root(dir->current);
    return *root ? CASP_DIR_OK : CASP_DIR_UNAVAILABLE;
}

bool casp_directory_all_tls(const casp_directory_t *dir)
{
    for (int i = 0; i < dir->ntargets; i++) {
        if (!dir->targets[i].ldaps && !dir->targets[i].starttls) {
            return false;
        }
    }
    return true;
}

int casp_directory_relay_places(const casp_directory_t *dir)
{
    return dir->limits.pool_hmax;
}

const char *casp_directory_name(const casp_directory_t *dir)
{
    return dir->name;
}

const casp_directory_stats_t *casp_directory_stats(const casp_directory_t *d)
{
    return &d->stats;
}

const char *casp_pw_name(casp_pw_e pw)
{
    switch (pw) {
    case CASP_PW_OK:
        return "ok";
    case CASP_PW_WRONG:
        return "wrong-password";
    case CASP_PW_EMPTY:
        return "empty-password";
    case CASP_PW_DISABLED:
        return "disabled";
    case CASP_PW_LOCKED:
        return "locked";
    case CASP_PW_EXPIRED:
        return "password-expired";
    case CASP_PW_MUST_CHANGE:
        return "must-change-password";
    case CASP_PW_ACCOUNT_EXPIRED:
        return "account-expired";
    case CASP_PW_HOURS:
        return "logon-hours";
    case CASP_PW_WORKSTATION:
        return "workstation";
    case CASP_PW_UNAVAILABLE:
        break;
    }
    return "directory-unavailable";
}

/* --------------------------------------------------------------- filters */

static char *escape_byte(char *to, unsigned char byte)
{
    static const char hex[] = "0123456789abcdef";
    *to++ = '\\';
    *to++ = hex[byte >> 4];
    *to++ = hex[byte & 15];
    return to;
}

const char *casp_filter_escape(apr_pool_t *p, const char *data, apr_size_t len)
{
    /* Beyond what must be: all that is not printable ASCII, so that bytes
     * which are no UTF-8 reach the server as what they are. */
    char *out = apr_palloc(p, 3 * len + 1), *to = out;
    for (apr_size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)data[i];
        if (c < 0x20 || c > 0x7e || strchr("*()\\", c)) {
            to = escape_byte(to, c);
        }
        else {
            *to++ = (char)c;
        }
    }
    *to = '\0';
    return out;
}

const char *casp_filter_escape_binary(apr_pool_t *p, const void *data,
                                      apr_size_t len)
{
    const unsigned char *bytes = data;
    char *out = apr_palloc(p, 3 * len + 1), *to = out;
    for (apr_size_t i = 0; i < len; i++) {
        to = escape_byte(to, bytes[i]);
    }
    *to = '\0';
    return out;
}
