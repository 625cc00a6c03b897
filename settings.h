/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file settings.h
 * The directives: their table, their values, merge and dump.  httpd's
 * command_rec and casproxyctl's reader are two users of this one table.
 *
 * Immutable once the configuration has been checked.
 */

#ifndef CASP_SETTINGS_H
#define CASP_SETTINGS_H

#include "directory.h"
#include "identity.h"

#define CASP_UNSET (-1) /**< of an int or an interval that nobody set */

typedef enum {
    CASP_MODE_OFF = 0,
    CASP_MODE_ON,
    CASP_MODE_SHADOW,
    CASP_MODE_REDIRECT
} casp_mode_e;

typedef enum {
    CASP_SSO_OFF = 0,
    CASP_SSO_ON,
    CASP_SSO_TWOFACTOR,
    CASP_SSO_PREAUTH
} casp_sso_e;

typedef enum {
    CASP_REQTLS_OFF = 0,
    CASP_REQTLS_ON,
    CASP_REQTLS_FORWARDED
} casp_reqtls_e;

typedef enum {
    CASP_POLICY_OFF = 0,
    CASP_POLICY_LOG,
    CASP_POLICY_ENFORCE
} casp_policy_e;

typedef enum {
    CASP_BACKENDAUTH_AUTO = 0,
    CASP_BACKENDAUTH_BASIC,
    CASP_BACKENDAUTH_NTLM,
    CASP_BACKENDAUTH_KERBEROS,
    CASP_BACKENDAUTH_DELEGATE,
    CASP_BACKENDAUTH_FORMS,
    CASP_BACKENDAUTH_NONE
} casp_backend_auth_e;

/** Who checks an NTLM response: CasProxyNTLMVerify. */
typedef enum { CASP_NTLM_WINBIND = 0, CASP_NTLM_DIRECTORY } casp_ntlm_verify_e;

/** Schemes of CasProxyAuth, a mask. */
enum {
    CASP_SCHEME_NONE = 1, /**< trust another module's r->user */
    CASP_SCHEME_BASIC = 2,
    CASP_SCHEME_FORMS = 4,
    CASP_SCHEME_NEGOTIATE = 8,
    CASP_SCHEME_NTLM = 16
};

/**
 * The schemes that hold for a protocol.  A form is for people: OWA, ECP and
 * the legacy paths have one.  EWS takes the cookie or Basic; every other
 * protocol takes Basic (and Negotiate, with a keytab) where CasProxyAuth says
 * nothing but Forms.
 * @param auth   mask of CASP_SCHEME_*, as CasProxyAuth says
 * @param keytab there is a CasProxyKeytab
 */
int casp_settings_schemes(int auth, bool keytab, casp_protocol_e protocol);

/** A pair of words: FailbackURL and its site, a database and its site, an AD
 *  host and the URL to reach it. */
typedef struct {
    const char *a;
    const char *b; /**< may be NULL */
} casp_pair_t;

/** CasProxyAutodiscover: who answers. */
typedef enum {
    CASP_AUTODISCOVER_PASS = 0, /**< a Client Access server */
    CASP_AUTODISCOVER_ANSWER /**< this front, from the topology */
} casp_autodiscover_e;

/** CasProxyActiveSyncRedirect Off: above every version that could be. */
#define CASP_EAS_REDIRECT_OFF 100000

/**
 * What a server or virtual host has set.  Every member is unset (CASP_UNSET,
 * NULL) until a directive sets it; casp_settings_complete() fills defaults.
 * Repeatable directives fill an array of their own scope, which replaces the
 * outer one.
 */
typedef struct {
    apr_array_header_t *directory; /**< const char * */
    apr_array_header_t *global_catalog; /**< const char * */
    const char *directory_base;
    int directory_bind; /**< casp_bind_method_e */
    const char *bind_name;
    const char *bind_secret; /**< the reference, never the secret */
    const char *bind_keytab;
    int directory_tls; /**< casp_tls_e */
    const char *directory_ca_file;
    int pool_min, pool_smax, pool_hmax, pool_ttl; /* seconds */
    int timeout_connect, timeout_search, timeout_topology; /* seconds */
    int topology_refresh; /* seconds */
    int mailbox_ttl, mailbox_negative, mailbox_stale, mailbox_size;
    int credential_ttl;
    const char *shared_cache;
    const char *site;
    int front; /**< casp_front_e */
    const char *external_url;
    const char *exchange2003_url;
    apr_array_header_t *failback_url; /**< casp_pair_t: URL, site or NULL */
    int cross_site_silent; /**< 0 Manual, 1 Silent */
    int eas_redirect; /**< lowest protocol version that gets a 451, times 10;
                           0: all; CASP_EAS_REDIRECT_OFF: none */
    int autodiscover; /**< casp_autodiscover_e */
    int redirect_to_optimal; /**< 0, 1; unset: the directory's */
    apr_array_header_t *mounted_site; /**< casp_pair_t: database, site */
    int require_tls; /**< casp_reqtls_e */
    int sso; /**< casp_sso_e */
    int logon_format; /**< casp_logon_format_e */
    const char *default_domain;
    const char *keytab; /**< path; NULL: no Kerberos, no delegation */
    int ntlm_verify; /**< casp_ntlm_verify_e */
    apr_array_header_t *ntlm_helper; /**< const char *: command and its words;
                                          NULL: /usr/bin/ntlm_auth */
    const char *forms_key; /**< path of the key ring; NULL: in state_dir */
    int forms_public, forms_private; /**< seconds */
    const char *pages;
    apr_array_header_t *backend_hosts; /**< const char * patterns */
    apr_array_header_t *backend_map; /**< casp_pair_t: host, URL; see
                                        casp_settings_backend_map() */
    int backend_hmax, backend_ttl, backend_acquire, backend_connect;
    int backend_retry, backend_addressttl, backend_busy;
    const char *state_dir;
    int timeout[CASP_PROTO_COUNT]; /**< seconds */
    int publish; /**< mask of 1 << casp_protocol_e */
    int url_policy; /**< casp_policy_e */
} casp_settings_t;

/** What a location has set (marked D in the reference). */
typedef struct {
    int mode; /**< casp_mode_e */
    int auth; /**< mask of CASP_SCHEME_* */
    int backend_auth; /**< casp_backend_auth_e */
    int diagnostics;
} casp_dir_settings_t;

/** Where a directive may stand. */
enum {
    CASP_SCOPE_SERVER = 1, /**< server config and virtual host */
    CASP_SCOPE_LOCATION = 2, /**< also in <Location> and <If> */
    CASP_SCOPE_REPEAT = 4 /**< repeatable, adds up within its scope */
};

/** One directive of the table. */
typedef struct {
    const char *name;
    int scope; /**< CASP_SCOPE_* */
    int min, max; /**< arguments; max 0: any number */
    const char *args; /**< for the reference: "On|Off|Shadow|Redirect" */
    const char *init; /**< the default, as the reference words it */
    const char *help; /**< one line */
    /** Set from checked words.  @return NULL or a sentence that names what is
     *  wrong and what would be right. @a s or @a d by scope. */
    const char *(*set)(apr_pool_t *p, casp_settings_t *s,
                       casp_dir_settings_t *d, int argc,
                       const char *const *argv);
    /** Append the line(s) that would set what is in force, "" for unset. */
    void (*dump)(apr_pool_t *p, const casp_settings_t *s,
                 const casp_dir_settings_t *d, apr_array_header_t *lines);
} casp_directive_t;

extern const casp_directive_t casp_directives[]; /**< name NULL at the end */
const casp_directive_t *casp_directive_find(const char *name);

casp_settings_t *casp_settings_create(apr_pool_t *p);
casp_settings_t *casp_settings_merge(apr_pool_t *p,
                                     const casp_settings_t *base,
                                     const casp_settings_t *add);
casp_dir_settings_t *casp_dir_settings_create(apr_pool_t *p);
casp_dir_settings_t *casp_dir_settings_merge(apr_pool_t *p,
                                             const casp_dir_settings_t *base,
                                             const casp_dir_settings_t *add);

/** Defaults into every unset member (the copies that requests read). */
casp_settings_t *casp_settings_complete(apr_pool_t *p,
                                        const casp_settings_t *s,
                                        const char *default_state_dir);
casp_dir_settings_t *casp_dir_settings_complete(apr_pool_t *p,
                                                const casp_dir_settings_t *d);

/**
 * Check what no single directive can: a directory without a bind, ldap://
 * without CasProxyDirectoryTLS, files that cannot be read, ...
 * Errors and warnings are appended as sentences that name the remedy.
 */
void casp_settings_check(apr_pool_t *p, const casp_settings_t *s,
                         apr_array_header_t *errors,
                         apr_array_header_t *warnings);

/**
 * Check what the sections of a server ask for against what it has: Negotiate
 * or delegation without a keytab, NTLM that nobody can verify.
 * @param schemes       CASP_SCHEME_* of all its sections together
 * @param backend_auths 1 << casp_backend_auth_e of all of them together
 */
void casp_settings_check_auth(apr_pool_t *p, const casp_settings_t *s,
                              int schemes, int backend_auths,
                              apr_array_header_t *errors,
                              apr_array_header_t *warnings);

/** The helper that asks winbind, where CasProxyNTLMVerify names none. */
#define CASP_NTLM_HELPER "/usr/bin/ntlm_auth"

/** Run one directive's words through the table: arity, scope, setter.
 *  @return NULL or a sentence that goes on where the directive's name ends. */
const char *casp_settings_apply(apr_pool_t *p, const casp_directive_t *d,
                                bool in_location, casp_settings_t *s,
                                casp_dir_settings_t *dir, int argc,
                                const char *const *argv);

/** What is in force, as lines of configuration. */
apr_array_header_t *casp_settings_dump(apr_pool_t *p, const casp_settings_t *s,
                                       const casp_dir_settings_t *d);

/**
 * The URL that CasProxyBackendMap has for a host, or NULL.
 * @param host   without a port
 * @param scheme "http" or "https": the line for its web server; "imap",
 *               "pop3", "smtp": the line for that service
 */
const char *casp_settings_backend_map(const casp_settings_t *s,
                                      const char *host, const char *scheme);

/** Is this directory an export? @return its path or NULL. */
const char *casp_settings_ldif(const casp_settings_t *s);

/**
 * Read a secret: file:/path, exec:/path args, env:NAME.  A trailing newline
 * goes.  @return NULL or what is wrong, without the secret.
 */
const char *casp_secret_read(apr_pool_t *p, const char *reference,
                             const char **secret);

/** What directory.c needs, from these settings. */
void casp_settings_directory_conf(apr_pool_t *p, const casp_settings_t *s,
                                  const char *secret, bool global_catalog,
                                  casp_directory_conf_t *conf);

/* A configuration file of the kind that casproxyctl reads. */

typedef struct {
    const char *path; /**< of the <Location> */
    bool regex; /**< LocationMatch or "~" */
    casp_dir_settings_t *dir;
} casp_config_location_t;

typedef struct {
    const char
        *vhost; /**< name of the <VirtualHost>, or NULL: the file's top*/
    casp_settings_t *settings;
    casp_dir_settings_t *dir;
    apr_array_header_t *locations; /**< casp_config_location_t */
} casp_config_t;

/**
 * Read configuration text: CasProxy lines flat or in <Location> blocks (and,
 * where a vhost is asked for, in that <VirtualHost>).  Other directives are
 * passed over; other sections, ${VAR} and Include are refused by name.
 * @return NULL, or "line 7: ..."
 */
const char *casp_config_read(apr_pool_t *p, const char *text,
                             const char *vhost, casp_config_t *config);

/** The location settings in force for a path. */
casp_dir_settings_t *casp_config_dir_for(apr_pool_t *p,
                                         const casp_config_t *config,
                                         const char *path);

#endif /* CASP_SETTINGS_H */
