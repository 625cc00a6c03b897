/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file protocol.h
 * Which Exchange protocol a URL belongs to, which mailbox it names, and
 * whether it says one thing only.
 */

#ifndef CASP_PROTOCOL_H
#define CASP_PROTOCOL_H

#include "mailbox.h"

/** A request's URL, read once. */
typedef struct {
    casp_protocol_e protocol; /**< NONE: not ours */
    casp_legacy_e legacy;
    const char *vdir; /**< in Exchange's spelling: "/owa", "/EWS" */
    const char *path; /**< raw, without query, as the client sent it */
    const char *rest; /**< the raw path behind the virtual directory: "" or
                            beginning with a slash; inside path */
    const char *query; /**< raw, without the question mark, or NULL */
    const char *mailbox; /**< named in the URL, decoded; NULL: the user's.
                               In RPC and MAPI a hint: where there is none
                               of that name, the user's own serves */
    casp_key_e mailbox_kind; /**< SMTP, ALIAS or GUID */
    /** Why the URL is refused (a reason code: "url-traversal",
     *  "url-encoding", "url-characters", "url-forbidden"), or NULL. */
    const char *refused;
} casp_url_t;

/**
 * Could this path be ours?  Asked of every request of a vhost; @a path is
 * httpd's decoded r->uri.  First segment only, without case.
 */
bool casp_protocol_claims(const char *path);

/**
 * Read a raw request target ("/owa/?a=b" or "https://host/owa/").  A path
 * whose double decoding, backslash or ".." reading differs from what would be
 * sent on is refused, as is what is never published (/exadmin,
 * /owa/proxyLogon.owa, .../Proxy below ActiveSync, HealthCheck pages).
 */
void casp_protocol_parse(apr_pool_t *p, const char *target, casp_url_t *url);

/**
 * "imap://host" (imap4://, pop3://, smtp://): a mail proxy's question, with a
 * protocol and nothing else.  No request of httpd's may be read as one: its
 * client chooses the words.
 * @return false: it is none, and @a url is as it was
 */
bool casp_protocol_mail(const char *target, casp_url_t *url);

/** Is this a browser loading a page, which can follow a 302 and show HTML?
 *  GET or HEAD, and no sign of a script: X-Requested-With, Sec-Fetch-Mode
 *  other than navigate, oeh=1, an Accept header without text/html. */
bool casp_protocol_page_load(const char *method, const apr_table_t *headers,
                             const casp_url_t *url);

/** Is this one of WebDAV's methods (PROPFIND, SEARCH, BMOVE, ...)? */
bool casp_protocol_webdav(const char *method);

/** Is this a request header that only Exchange servers may send, to be
 *  stripped from every client request (6.6 of the behaviour notes)? */
bool casp_protocol_forged_header(const char *name);
/** Does this one tell of a proxy in front (X-Forwarded-For and its kin)? */
bool casp_protocol_forwarded_header(const char *name);
/** Likewise a cookie's name. */
bool casp_protocol_forged_cookie(const char *name);
/** A Cookie header without those; the same pointer where none is there, NULL
 *  where none is left. */
const char *casp_protocol_clean_cookies(apr_pool_t *p, const char *cookies);

#endif /* CASP_PROTOCOL_H */
