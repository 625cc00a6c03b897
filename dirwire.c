/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * One LDAP connection becomes ready: options, TLS, bind, rootDSE; and the
 * exchange of one request for its answer.
 *
 * libldap has no time-out for a TLS handshake, and none for a write.  Every
 * wait on a connection is therefore known to the guard thread, which ends it
 * by shutdown().
 *
 * Nothing here knows of other servers, pools or retries.  A link on which
 * anything went wrong is marked broken and never used again: libldap would
 * quietly connect anew, as nobody, and in the wrong thread.
 */

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <apr_lib.h>
#include <apr_strings.h>

#include "dirwire.h"

/* No message of a domain controller comes near; garbage that claims more is
 * refused before memory is taken for it. */
#define MAX_MESSAGE ((ber_len_t)16 * 1024 * 1024)
#define CAPABILITY_AD "1.2.840.113556.1.4.800"

void casp_dirwire_say(casp_dirwhy_t *why, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    apr_vsnprintf(why->text, sizeof(why->text), fmt, ap);
    va_end(ap);
    for (char *c = why->text; *c; c++) {
        if (apr_iscntrl(*c)) {
            *c = ' ';
        }
    }
}

static double seconds(apr_interval_time_t t)
{
    return t > 0 ? (double)t / APR_USEC_PER_SEC : 0.0;
}
/* --------------------------------------------------------------- results */

struct timeval casp_dirwire_remaining(apr_time_t deadline)
{
    apr_interval_time_t left = deadline - apr_time_now();
    struct timeval tv = {0, 1};
    if (left > 0) {
        tv.tv_sec = (time_t)apr_time_sec(left);
        tv.tv_usec = (suseconds_t)apr_time_usec(left);
    }
    return tv;
}

static int library_code(LDAP *ld)
{
    int code = LDAP_SERVER_DOWN;
    (void)ldap_get_option(ld, LDAP_OPT_RESULT_CODE, &code);
    return code;
}

/* The server's (or the TLS library's) own words, cut and bracketed. */
static void diagnostic(LDAP *ld, char *buf, apr_size_t size)
{
    char *text = NULL;
    *buf = '\0';
    (void)ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &text);
    if (text && *text) {
        apr_snprintf(buf, size, " (%s)", text);
    }
    ldap_memfree(text);
}

casp_wire_e casp_dirwire_broken(casp_link_t *link, apr_time_t deadline)
{
    link->broken = true;
    return apr_time_now() >= deadline ? CASP_WIRE_LATE : CASP_WIRE_DOWN;
}

/* The next message of an operation. */
casp_wire_e casp_dirwire_receive(casp_link_t *link, int msgid,
                                 apr_time_t deadline, LDAPMessage **msg,
                                 casp_dirwhy_t *why)
{
    *msg = NULL;
    int rc = 0;
    if (apr_time_now() < deadline) {
        struct timeval tv = casp_dirwire_remaining(deadline);
        rc = ldap_result(link->ld, msgid, LDAP_MSG_ONE, &tv, msg);
    }
    if (rc > 0) {
        return CASP_WIRE_OK;
    }
    if (rc < 0 && apr_time_now() < deadline) {
        casp_dirwire_say(why, "the connection ended: %s",
                         ldap_err2string(library_code(link->ld)));
        link->broken = true;
        return CASP_WIRE_DOWN;
    }
    casp_dirwire_say(why, "no answer in time");
    (void)ldap_abandon_ext(link->ld, msgid, NULL, NULL);
    link->broken = true;
    return CASP_WIRE_LATE;
}

/* A request that could not be sent. */
casp_wire_e casp_dirwire_unsent(casp_link_t *link, int code,
                                apr_time_t deadline, casp_dirwhy_t *why)
{
    casp_dirwire_say(why, "the request could not be sent: %s",
                     ldap_err2string(code));
    if (code == LDAP_FILTER_ERROR || code == LDAP_PARAM_ERROR
        || code == LDAP_ENCODING_ERROR) {
        return CASP_WIRE_REPLIED;
    }
    return casp_dirwire_broken(link, deadline);
}

casp_wire_e casp_dirwire_sasl(casp_link_t *link, const char *name,
                              const char *mechanism, const struct berval *cred,
                              apr_time_t deadline, int *code, char **diag,
                              struct berval **said, casp_dirwhy_t *why)
{
    int msgid = -1;
    *diag = NULL;
    if (said != NULL) {
        *said = NULL;
    }
    int rc =
        ldap_sasl_bind(link->ld, name, mechanism,
                       (struct berval *)(uintptr_t)cred, NULL, NULL, &msgid);
    if (rc != LDAP_SUCCESS) {
        return casp_dirwire_unsent(link, rc, deadline, why);
    }
    LDAPMessage *msg;
    casp_wire_e wire = casp_dirwire_receive(link, msgid, deadline, &msg, why);
    if (wire != CASP_WIRE_OK) {
        return wire;
    }
    if (ldap_msgtype(msg) != LDAP_RES_BIND
        || ldap_parse_result(link->ld, msg, code, NULL, diag, NULL, NULL, 0)
               != LDAP_SUCCESS) {
        casp_dirwire_say(why, "the answer to the bind is not LDAP");
        wire = casp_dirwire_broken(link, deadline);
    }
    else if (said != NULL) {
        /* What it returns is the bind's own result. */
        (void)ldap_parse_sasl_bind_result(link->ld, msg, said, 0);
    }
    ldap_msgfree(msg);
    return wire;
}

casp_wire_e casp_dirwire_bind(casp_link_t *link, const char *name,
                              const char *mechanism, const char *secret,
                              apr_time_t deadline, int *code, char **diag,
                              casp_dirwhy_t *why)
{
    /* libldap only reads it: there is no copy of ours to be wiped. */
    const struct berval cred = {strlen(secret), (char *)(uintptr_t)secret};
    return casp_dirwire_sasl(link, name, mechanism, &cred, deadline, code,
                             diag, NULL, why);
}

/* --------------------------------------------------------------- opening */

/* Every option, because the process's defaults come from ldap.conf, .ldaprc,
 * the environment and whatever mod_ldap or PHP have set. */
static int set_options(LDAP *ld, const casp_dirwire_conf_t *conf, bool tls)
{
    int three = LDAP_VERSION3, none = 0, never = LDAP_DEREF_NEVER;
    int demand = LDAP_OPT_X_TLS_DEMAND, client = 0;
    int crl = LDAP_OPT_X_TLS_CRL_NONE;
    /* Infinite: with a finite one some releases of libldap make the socket
     * non-blocking for the handshake and spin.  The guard has the time. */
    struct timeval endless = {-1, 0};
    struct timeval tv = {(time_t)apr_time_sec(conf->connect_timeout) + 1, 0};
    bool bad = false;
    bad |= ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &three) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_ON) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_DEREF, &never) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_SIZELIMIT, &none) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_TIMELIMIT, &none) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &endless) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_TIMEOUT, &tv) != 0;
    if (!tls) {
        return bad ? LDAP_LOCAL_ERROR : LDAP_SUCCESS;
    }
    (void)ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTDIR, "");
    (void)ldap_set_option(ld, LDAP_OPT_X_TLS_CERTFILE, "");
    (void)ldap_set_option(ld, LDAP_OPT_X_TLS_KEYFILE, "");
    (void)ldap_set_option(ld, LDAP_OPT_X_TLS_CIPHER_SUITE, "");
    (void)ldap_set_option(ld, LDAP_OPT_X_TLS_CRLCHECK, &crl);
    bad |= ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, conf->ca_file) != 0;
    bad |= ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand) != 0;
    /* Last: it makes the context out of all of the above. */
    bad |= ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &client) != 0;
    return bad ? LDAP_LOCAL_ERROR : LDAP_SUCCESS;
}

static casp_wire_e adopt(casp_link_t *link, const casp_dirwire_conf_t *conf,
                         const casp_dirtarget_t *t, int fd, casp_dirwhy_t *why)
{
    bool ipc = !t->port;
    int rc = ldap_init_fd(fd, ipc ? LDAP_PROTO_IPC : LDAP_PROTO_TCP, t->uri,
                          &link->ld);
    if (rc != LDAP_SUCCESS) {
        /* Only when out of memory; whether it closed the socket cannot be
         * known, and a lost descriptor is better than a stranger's. */
        link->ld = NULL;
        casp_dirwire_say(why, "%s: %s", t->url, ldap_err2string(rc));
        return CASP_WIRE_DOWN;
    }
    Sockbuf *sb = NULL;
    ber_len_t max = MAX_MESSAGE;
    if (ldap_get_option(link->ld, LDAP_OPT_SOCKBUF, &sb) == 0 && sb) {
        (void)ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &max);
    }
    rc = set_options(link->ld, conf, t->ldaps || t->starttls);
    if (rc != LDAP_SUCCESS) {
        casp_dirwire_say(why,
                         "%s: the LDAP library refused an option; can "
                         "the child read the CA file %s?",
                         t->url, conf->ca_file ? conf->ca_file : "");
        return CASP_WIRE_DOWN;
    }
    return CASP_WIRE_OK;
}

static casp_wire_e start_tls(casp_link_t *link,
                             const casp_dirwire_conf_t *conf,
                             const casp_dirtarget_t *t, apr_time_t deadline,
                             casp_dirwhy_t *why)
{
    char diag[256];
    int rc = t->starttls ? ldap_start_tls_s(link->ld, NULL, NULL)
                         : ldap_install_tls(link->ld);
    if (rc == LDAP_SUCCESS) {
        return CASP_WIRE_OK;
    }
    casp_wire_e wire = casp_dirwire_broken(link, deadline);
    if (wire == CASP_WIRE_LATE) {
        casp_dirwire_say(why, "%s: no TLS handshake within %.1f s", t->url,
                         seconds(conf->connect_timeout));
        return wire;
    }
    diagnostic(link->ld, diag, sizeof(diag));
    casp_dirwire_say(why,
                     "%s: TLS failed: %s%s; the certificate must name "
                     "this host and be signed by a CA in %s",
                     t->url, ldap_err2string(rc), diag, conf->ca_file);
    return wire;
}

const char *casp_dirwire_remedy(int code)
{
    switch (code) {
    case LDAP_STRONG_AUTH_REQUIRED:
    case LDAP_CONFIDENTIALITY_REQUIRED:
        return "; the server wants TLS: use ldaps:// or "
               "CasProxyDirectoryTLS StartTLS";
    case LDAP_UNWILLING_TO_PERFORM:
    case LDAP_AUTH_METHOD_NOT_SUPPORTED:
        return "; the server does not allow simple binds here: use ldaps:// "
               "or CasProxyDirectoryTLS StartTLS and look into its policy";
    case LDAP_INVALID_CREDENTIALS:
    case LDAP_NO_SUCH_OBJECT:
    case LDAP_INVALID_DN_SYNTAX:
        return "; check name and secret in CasProxyDirectoryBind";
    default:
        return "";
    }
}

static casp_wire_e service_bind(casp_link_t *link,
                                const casp_dirwire_conf_t *conf,
                                const casp_dirtarget_t *t, apr_time_t deadline,
                                casp_dirwhy_t *why)
{
    bool external = conf->bind == CASP_BIND_NONE;
    int code = LDAP_OTHER;
    char *diag = NULL;
    casp_dirwhy_t inner;
    if (conf->bind == CASP_BIND_GSSAPI) {
        casp_wire_e end =
            casp_dirgss_bind(link, conf, t->host, deadline, &inner);
        if (end != CASP_WIRE_OK) {
            casp_dirwire_say(why, "%s: service bind by Kerberos: %s", t->url,
                             inner.text);
            link->broken = true;
        }
        return end;
    }
    casp_wire_e wire =
        casp_dirwire_bind(link, external ? "" : conf->bind_name,
                          external ? "EXTERNAL" : LDAP_SASL_SIMPLE,
                          external ? "" : conf->bind_secret, deadline, &code,
                          &diag, &inner);
    if (wire != CASP_WIRE_OK) {
        casp_dirwire_say(why, "%s: service bind: %s", t->url, inner.text);
    }
    else if (code != LDAP_SUCCESS) {
        wire = (code == LDAP_BUSY || code == LDAP_UNAVAILABLE)
                   ? CASP_WIRE_DOWN
                   : CASP_WIRE_DENIED;
        casp_dirwire_say(why, "%s: service bind refused: %s%s%s%s%s", t->url,
                         ldap_err2string(code), diag && *diag ? " (" : "",
                         diag ? diag : "", diag && *diag ? ")" : "",
                         casp_dirwire_remedy(code));
        link->broken = true;
    }
    ldap_memfree(diag);
    return wire;
}

/* --------------------------------------------------------------- rootDSE */

static char *first_value(LDAP *ld, LDAPMessage *e, const char *name, bool only)
{
    struct berval **v = ldap_get_values_len(ld, e, name);
    char *text = NULL;
    if (v && v[0] && (!only || !v[1]) && v[0]->bv_len
        && !memchr(v[0]->bv_val, '\0', v[0]->bv_len)) {
        text = malloc(v[0]->bv_len + 1);
        if (text) {
            memcpy(text, v[0]->bv_val, v[0]->bv_len);
            text[v[0]->bv_len] = '\0';
        }
    }
    ldap_value_free_len(v);
    return text;
}

static bool has_capability(LDAP *ld, LDAPMessage *e)
{
    const char want[] = CAPABILITY_AD;
    bool found = false;
    struct berval **v = ldap_get_values_len(ld, e, "supportedCapabilities");
    for (int i = 0; v && v[i]; i++) {
        found |= v[i]->bv_len == sizeof(want) - 1
                 && !memcmp(v[i]->bv_val, want, sizeof(want) - 1);
    }
    ldap_value_free_len(v);
    return found;
}

void casp_dirwire_root_clear(casp_dirwire_root_t *root)
{
    free(root->default_nc);
    free(root->config_nc);
    free(root->root_nc);
    memset(root, 0, sizeof(*root));
}

static void root_take(LDAP *ld, LDAPMessage *e, casp_dirwire_root_t *root)
{
    casp_dirwire_root_clear(root);
    root->default_nc = first_value(ld, e, "defaultNamingContext", false);
    if (!root->default_nc) {
        /* Not AD; where there is but one context, it is the default. */
        root->default_nc = first_value(ld, e, "namingContexts", true);
    }
    root->config_nc = first_value(ld, e, "configurationNamingContext", false);
    root->root_nc = first_value(ld, e, "rootDomainNamingContext", false);
    root->is_ad = has_capability(ld, e);
}

static casp_wire_e read_root(casp_link_t *link, const casp_dirtarget_t *t,
                             apr_time_t deadline, casp_dirwire_root_t *root,
                             casp_dirwhy_t *why)
{
    static const char *const names[] = {
        "defaultNamingContext",    "configurationNamingContext",
        "rootDomainNamingContext", "supportedCapabilities",
        "namingContexts",          NULL};
    int msgid = -1;
    casp_dirwhy_t inner;
    int rc = ldap_search_ext(link->ld, "", LDAP_SCOPE_BASE, "(objectClass=*)",
                             (char **)(uintptr_t)names, 0, NULL, NULL, NULL, 0,
                             &msgid);
    casp_wire_e wire = CASP_WIRE_OK;
    if (rc != LDAP_SUCCESS) {
        wire = casp_dirwire_unsent(link, rc, deadline, &inner);
    }
    for (bool more = true; wire == CASP_WIRE_OK && more;) {
        LDAPMessage *msg;
        wire = casp_dirwire_receive(link, msgid, deadline, &msg, &inner);
        if (wire == CASP_WIRE_OK) {
            if (ldap_msgtype(msg) == LDAP_RES_SEARCH_ENTRY) {
                root_take(link->ld, msg, root);
            }
            more = ldap_msgtype(msg) != LDAP_RES_SEARCH_RESULT;
            ldap_msgfree(msg);
        }
    }
    if (wire != CASP_WIRE_OK) {
        casp_dirwire_say(why, "%s: rootDSE: %s", t->url, inner.text);
    }
    return wire;
}

casp_wire_e casp_dirwire_open(casp_link_t *link,
                              const casp_dirwire_conf_t *conf,
                              const casp_dirtarget_t *t, casp_linkkind_e kind,
                              apr_time_t deadline, casp_dirwire_root_t *root,
                              casp_dirwhy_t *why)
{
    int err = 0;
    *why->text = '\0';
    int fd = casp_dirdial_socket(link, t, deadline, &err, why);
    if (fd < 0) {
        char buf[128];
        if (!*why->text) {
            casp_dirwire_say(why, "%s: no connection: %s", t->url,
                             apr_strerror(APR_FROM_OS_ERROR(err), buf,
                                          sizeof(buf)));
        }
        link->broken = true;
        return err == ETIMEDOUT ? CASP_WIRE_LATE : CASP_WIRE_DOWN;
    }
    casp_wire_e wire = adopt(link, conf, t, fd, why);
    if (wire == CASP_WIRE_OK && (t->ldaps || t->starttls)) {
        wire = start_tls(link, conf, t, deadline, why);
    }
    if (wire == CASP_WIRE_OK && kind == CASP_LINK_SERVICE) {
        wire = service_bind(link, conf, t, deadline, why);
    }
    if (wire == CASP_WIRE_OK && kind == CASP_LINK_SERVICE && root) {
        wire = read_root(link, t, deadline, root, why);
    }
    if (wire != CASP_WIRE_OK) {
        link->broken = true;
    }
    return wire;
}

bool casp_dirwire_alive(const casp_link_t *link)
{
    char byte;
    if (link->fd < 0) {
        return false;
    }
    ssize_t n = recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (n < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    }
    /* Bytes on a new TLS connection are session tickets.  Unasked bytes on
     * a used one are a farewell. */
    return n > 0 && !link->used;
}

void casp_dirwire_close(casp_link_t *link)
{
    if (link->fd >= 0) {
        /* First, so that neither the unbind nor TLS's goodbye can wait. */
        (void)shutdown(link->fd, SHUT_RDWR);
    }
    if (link->ld) {
        (void)ldap_unbind_ext(link->ld, NULL, NULL);
        link->ld = NULL;
    }
}
