/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/**
 * @file mailauth.h
 * The protocol between a mail proxy and whoever knows where mailboxes are
 * (nginx: auth_http): a request's headers read, an answer's written; what
 * failed logins cost; and whether a mail server is there.
 */

#ifndef CASP_MAILAUTH_H
#define CASP_MAILAUTH_H

#include "identity.h"
#include "settings.h"

/* ------------------------------------------------------------- the request */

/** A login, as a mail proxy tells it. */
typedef struct {
    casp_protocol_e protocol; /**< POP3, IMAP4, SMTP; NONE: none of them */
    bool tls; /**< the client's connection is encrypted */
    int attempt; /**< of this connection, from 1 */
    const char *client; /**< address, as the proxy tells it; "-": none */
    casp_claim_t claim; /**< DOMAIN\user, UPN or bare name, and password */
    const char *mailbox; /**< somebody else's, behind the name; else NULL */
} casp_mail_ask_t;

/**
 * Read the headers of a request.  Auth-Pass is wiped and taken out of them,
 * whatever comes of it: no log and no other module finds it.
 * @return NULL; else a stable code: "mail-no-login", "mail-method",
 *         "mail-certificate", "mail-request", or casp_claim_name()'s
 */
const char *casp_mailauth_read(apr_pool_t *p, apr_table_t *headers,
                               casp_mail_ask_t *ask);

/**
 * What was typed, as a name to log on with and the mailbox that is wanted:
 * CONTOSO\ada, CONTOSO\ada\info, CONTOSO/ada/info, ada@contoso.test/info.
 */
void casp_mailauth_name(apr_pool_t *p, const char *typed, const char **name,
                        const char **mailbox);

/* -------------------------------------------------------------- the answer */

/** What a mail client is told. */
typedef enum {
    CASP_MAIL_GO = 0, /**< to this server */
    CASP_MAIL_WAIT, /**< the proxy asks again by itself, later */
    CASP_MAIL_BAD_LOGIN, /**< no such user, or another password */
    CASP_MAIL_NO_LOGIN, /**< SMTP: nobody has logged on */
    CASP_MAIL_METHOD, /**< a login that no directory can verify */
    CASP_MAIL_NEEDS_TLS,
    CASP_MAIL_NO_MAILBOX, /**< known, but there is nothing to reach here */
    CASP_MAIL_LATER /**< it cannot be told just now */
} casp_mail_answer_e;

typedef struct {
    casp_mail_answer_e what;
    const char *server; /**< GO: an address, no name */
    int port; /**< GO */
    const char *user; /**< GO: the name for the server; NULL: as typed */
    int wait; /**< seconds; 0: the proxy closes the connection */
} casp_mail_reply_t;

/** The answer's headers.  What could split a header, or what nginx has no
 *  room for, is left out. */
void casp_mailauth_write(apr_pool_t *p, casp_protocol_e protocol,
                         const casp_mail_reply_t *reply, apr_table_t *headers);

/** nginx keeps each failed try of a connection in its memory: after so many
 *  the connection ends. */
#define CASP_MAIL_ATTEMPTS 10

/**
 * The name that a mail server of this version takes for this user.
 * @param mailbox of somebody else, or NULL
 * @return NULL: as it was typed
 */
const char *casp_mailauth_user(apr_pool_t *p, const casp_mailbox_t *user,
                               const casp_mailbox_t *mailbox,
                               casp_version_e version);

/** "imap", "pop3", "smtp": the scheme of a protocol's URLs; NULL: no mail. */
const char *casp_mailauth_scheme(casp_protocol_e protocol);

/** Host and port of a backend's URL, or of what CasProxyBackendMap maps its
 *  host to for this protocol. */
bool casp_mailauth_place(apr_pool_t *p, const casp_settings_t *set,
                         casp_protocol_e protocol, const char *url,
                         const char **host, int *port);

/* -------------------------------------------------- failed logins */

/** Failures per client, and per client and name: in memory that processes may
 *  share.  Never per name alone, so that nobody is locked out by others. */
typedef struct casp_mailfail_t casp_mailfail_t;

/** The memory it wants; all zeros to begin with. */
apr_size_t casp_mailfail_size(void);

/**
 * May this login be judged now?  Where it failed before, one is judged at a
 * time, and the next one when its time has come.
 * @param key 32 bytes that nobody else knows
 * @param name of the account, where it is known: people write it in many ways
 * @return 0: now; else seconds until it is to be asked again
 */
int casp_mailfail_admit(casp_mailfail_t *f, const unsigned char *key,
                        const char *client, const char *name, apr_time_t now);
/** It failed.  @return seconds that the client is to wait */
int casp_mailfail_note(casp_mailfail_t *f, const unsigned char *key,
                       const char *client, const char *name, apr_time_t now);
/** It was right. */
void casp_mailfail_clear(casp_mailfail_t *f, const unsigned char *key,
                         const char *client, const char *name, apr_time_t now);

/* ----------------------------------------- mail servers, mailreach.c */

typedef enum {
    CASP_REACH_OK = 0,
    CASP_REACH_NO_NAME, /**< the name has no address */
    CASP_REACH_DOWN, /**< nobody answers at its addresses */
    CASP_REACH_LATE /**< it was not found out in time */
} casp_reach_e;

typedef struct casp_mailreach_t casp_mailreach_t;

/** In a process, after the last fork.  Threads begin when they are needed. */
casp_mailreach_t *casp_mailreach_create(apr_pool_t *p);

/**
 * The address at which a mail server can be connected to.  A mail proxy takes
 * addresses only, and tells nobody when one does not answer: so names are
 * looked up, and servers tried, here; by a thread, for a name's look-up has no
 * bound of its own.
 * @param fresh how long what was found out holds
 * @param most  for connecting
 * @param deadline for this caller
 * @param address  in @a p
 * @param why      a sentence where it is not OK
 */
casp_reach_e casp_mailreach_find(casp_mailreach_t *m, apr_pool_t *p,
                                 const char *host, int port,
                                 apr_interval_time_t fresh,
                                 apr_interval_time_t most, apr_time_t deadline,
                                 const char **address, const char **why);

#endif /* CASP_MAILAUTH_H */
