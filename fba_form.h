/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file fba_form.h
 * Forms-based authentication, but for its cookie: which URLs are the logon's,
 * what a logon POST says and may ask for, and the form that carries a logon to
 * another site.
 */

#ifndef CASP_FBA_FORM_H
#define CASP_FBA_FORM_H

#include "pages.h"
#include "protocol.h"
#include "session.h"

/* ------------------------------------------------------------------- URLs */

/** What a URL is to forms-based authentication. */
typedef enum {
    CASP_FORMS_NONE = 0, /**< nothing: a page of Exchange's */
    CASP_FORMS_PAGE, /**< the logon page, in any generation's spelling */
    CASP_FORMS_POST, /**< where the form is sent */
    CASP_FORMS_LOGOFF, /**< signs out */
    CASP_FORMS_SCRIPT /**< the logon page's own script */
} casp_forms_url_e;

/** Without regard to case, as Exchange reads URLs. */
casp_forms_url_e casp_forms_url(const casp_url_t *url);

#define CASP_FORMS_PAGE_PATH "/owa/auth/logon.aspx"
#define CASP_FORMS_POST_PATH "/owa/auth.owa"
#define CASP_FORMS_SCRIPT_PATH "/owa/auth/flogon.js"

/** The reason= of a logon page; Exchange's numbers. */
typedef enum {
    CASP_WHY_NONE = 0,
    CASP_WHY_LOGGED_OFF = 1,
    CASP_WHY_CREDENTIALS = 2,
    CASP_WHY_TIMED_OUT = 3,
    CASP_WHY_PASSWORD_CHANGED = 4
} casp_logon_why_e;

/**
 * The logon page's absolute URL.
 * @param host     as the client named us: name[:port]
 * @param original absolute URL to come back to; NULL: this host's /owa/
 */
const char *casp_forms_page_url(apr_pool_t *p, bool https, const char *host,
                                const char *original, casp_logon_why_e why);

/** What a logon page's own URL asks for. */
typedef struct {
    const char *destination; /**< checked, absolute, on this host; never NULL*/
    casp_logon_why_e why;
    bool replace; /**< replaceCurrent=1 */
} casp_logon_page_t;

/** Read the query of a logon page's URL; what cannot be believed in it (a
 *  foreign url=, a reason= that is no number) is left out silently. */
void casp_forms_page_read(apr_pool_t *p, const casp_url_t *url, bool https,
                          const char *host, casp_logon_page_t *page);

/* -------------------------------------------------------------- the POST */

#define CASP_LOGON_BODY_MAX (16 * 1024) /**< bytes of a logon POST */
#define CASP_LOGON_PASSWORD_MAX 1024 /**< bytes: what a cookie can carry */

typedef struct {
    const char *destination; /**< as posted, entities undone */
    const char *name; /**< UTF-8 */
    char *password; /**< UTF-8; wiped with the pool */
    apr_size_t password_len; /**< may be 0 */
    int flags; /**< CASP_LOGON_*: of flags, trusted and chkBsc */
} casp_logon_t;

/**
 * Read a logon form's body (application/x-www-form-urlencoded).  destination,
 * flags, username and password must be there, once each; all other fields are
 * passed over.  A body that is no UTF-8 is taken as Latin-1, as 2003 sends it.
 * @param body is wiped before this returns
 * @return NULL, or a reason code: "logon-incomplete", "logon-broken",
 *         "logon-too-long"
 */
const char *casp_logon_read(apr_pool_t *p, char *body, apr_size_t len,
                            casp_logon_t *logon);

/**
 * Where a logon may lead: a path of this host ("/owa/..."), or an absolute
 * http(s) URL with exactly the request's host (port 443 or 80 left out or
 * not).  Control characters, backslashes, "//", user info and other hosts are
 * refused.
 * @param target raw request target: path and query, fragment cut off
 * @return NULL, or the reason code "bad-destination"
 */
const char *casp_logon_destination(apr_pool_t *p, const char *destination,
                                   const char *host, const char **target);

/* --------------------------------------------------- single sign-on, outward */

/**
 * Where another front's logon form is posted to, by its generation:
 * /exchweb/bin/auth/owaauth.dll up to 2003, /owa/auth/owaauth.dll for 2007,
 * /owa/auth.owa from 2010 on.
 * @param url absolute URL of the target
 */
const char *casp_sso_action(apr_pool_t *p, const char *url,
                            casp_version_e version);

/**
 * The values of the self-posting form, for the template sso.html:
 * action, destination, flags, username, password, trusted, and "modern"
 * (isUtf8 and passwordText are wanted: 2007 and newer) or "submitcreds" (2003).
 * @param vars room for at least CASP_SSO_VARS; ends with a NULL name
 */
#define CASP_SSO_VARS 12
void casp_sso_vars(apr_pool_t *p, const char *url, casp_version_e version,
                   const casp_logon_t *logon, casp_page_var_t *vars);

#endif /* CASP_FBA_FORM_H */
