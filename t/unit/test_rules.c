/* Licensed under the Apache License, Version 2.0; see LICENSE. */

/*
 * The protocols' matrices, cell by cell: each front and mailbox version, in
 * its own site and elsewhere, with an ExternalURL, with one that is our own
 * name, and without one.  Each row below is a cell of the sources' tables, or
 * one that they leave open; what it covers is counted, and nothing may be left
 * over.  What is read of a request and an organisation is test_verdict's
 * and test_devices'.
 *
 * With CASP_CELLS set the count of cells by source is printed.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <apr_general.h>

#include "decision.h"

#define K(name) CASP_F(name)
#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* ----------------------------------------------------------------- places */

typedef enum { AT_L0, AT_L0N, AT_L0E, AT_LX, AT_LE, AT_LN, NPLACES } at_e;

#define L0 (1u << AT_L0) /* own site, ExternalURL elsewhere */
#define L0N (1u << AT_L0N) /* own site, no ExternalURL */
#define L0E (1u << AT_L0E) /* own site, ExternalURL is our name */
#define LX (1u << AT_LX) /* other site, ExternalURL elsewhere */
#define LE (1u << AT_LE) /* other site, ExternalURL is our name */
#define LN (1u << AT_LN) /* other site, no ExternalURL */
#define HERE (L0 | L0N | L0E)
#define THERE (LX | LE | LN)
#define ANY (HERE | THERE)

static const struct {
    const char *name;
    uint64_t facts;
} places[NPLACES] = {
    {"L0", K(SAME_SITE) | K(INTERNAL) | K(EXTERNAL)},
    {"L0 without ExternalURL", K(SAME_SITE) | K(INTERNAL)},
    {"L0 under our name",
     K(SAME_SITE) | K(INTERNAL) | K(EXTERNAL) | K(EXTERNAL_HERE)},
    {"LX", K(INTERNAL) | K(EXTERNAL)},
    {"LE", K(INTERNAL) | K(EXTERNAL) | K(EXTERNAL_HERE)},
    {"LN", K(INTERNAL)},
};

/* --------------------------------------------------------------- versions */

#define F(f) (1u << CASP_F##f)
#define F7 F(2007)
#define F10R F(2010)
#define F10S1 F(2010SP1)
#define F10S2 (F(2010SP2) | F(2010SP3))
#define F10 (F10R | F10S1 | F10S2)
#define F13 F(2013)
#define F16 (F(2016) | F(2019))
#define F13UP (F13 | F16)
#define FALL (F7 | F10 | F13UP)
#define M(v) (1u << CASP_V##v)
#define M3 (M(2000) | M(2003))
#define M7 M(2007)
#define M10 M(2010)
#define M13 (M(2013) | M(2016) | M(2019))
#define M10UP (M10 | M13)
#define MALL (M3 | M7 | M10UP)

/* --------------------------------------------------------------- requests */

/* A protocol, and what else of a request or an organisation makes a table of
 * its own. */
typedef enum {
    ECP = 0,
    EAS_NEW, /* a device that gets a 451 where that may be */
    EAS_OLD, /* one below the threshold, or redirection is off */
    EWS,
    DISCO, /* servers of the front's own version are in its site */
    DISCO_ALONE, /* none are */
    DISCO_JSON, /* the mailbox's servers lack it, others have it */
    DISCO_LOST, /* none has it */
    OAB,
    RPC, /* servers of the front's own version are in its site */
    RPC_THERE, /* in the mailbox's site only */
    RPC_ALONE, /* nowhere */
    MAPI,
    UM,
    SHELL,
    SHELL_ALONE,
    EXCHANGE, /* a browser's GET */
    EXCHANGE_DAV, /* WebDAV */
    EXCHWEB,
    PUBLIC,
    PUBLIC_2003, /* a 2003 public store is there */
    EXADMIN,
    POP3,
    IMAP4,
    SMTP,
    NKINDS
} kind_e;

static const struct {
    const char *name;
    const char *table; /* of the sources' notes; NULL: a variant of a table */
    casp_protocol_e protocol;
    casp_legacy_e legacy;
    uint64_t facts;
} kinds[NKINDS] = {
    [ECP] = {"ecp", "1.3", CASP_PROTO_ECP, 0, K(PAGE_LOAD)},
    [EAS_NEW] = {"eas, new device", "1.4", CASP_PROTO_EAS, 0, K(EAS_451)},
    [EAS_OLD] = {"eas, old device", "1.4", CASP_PROTO_EAS, 0, 0},
    [EWS] = {"ews, availability", "1.5 1.6", CASP_PROTO_EWS, 0, 0},
    [DISCO] = {"autodiscover", "1.7", CASP_PROTO_AUTODISCOVER, 0, K(STANDIN)},
    [DISCO_ALONE] = {"autodiscover, alone", NULL, CASP_PROTO_AUTODISCOVER, 0,
                     0},
    [DISCO_JSON] = {"autodiscover, json", NULL, CASP_PROTO_AUTODISCOVER, 0,
                    K(STANDIN) | K(TOO_OLD)},
    [DISCO_LOST] = {"autodiscover, json for nobody", NULL,
                    CASP_PROTO_AUTODISCOVER, 0, K(TOO_OLD)},
    [OAB] = {"oab", "1.8", CASP_PROTO_OAB, 0, 0},
    [RPC] = {"rpc", "1.9", CASP_PROTO_RPC, 0, K(STANDIN)},
    [RPC_THERE] = {"rpc, there", NULL, CASP_PROTO_RPC, 0,
                   K(STANDIN) | K(STANDIN_THERE)},
    [RPC_ALONE] = {"rpc, alone", NULL, CASP_PROTO_RPC, 0, 0},
    [MAPI] = {"mapi", "1.10", CASP_PROTO_MAPI, 0, 0},
    [UM] = {"um", "1.5", CASP_PROTO_UM, 0, 0},
    [SHELL] = {"powershell", "1.11", CASP_PROTO_POWERSHELL, 0, K(STANDIN)},
    [SHELL_ALONE] = {"powershell, alone", NULL, CASP_PROTO_POWERSHELL, 0, 0},
    [EXCHANGE] = {"/exchange", "1.12", CASP_PROTO_LEGACY, CASP_LEGACY_EXCHANGE,
                  K(PAGE_LOAD)},
    [EXCHANGE_DAV] = {"/exchange, WebDAV", "1.12", CASP_PROTO_LEGACY,
                      CASP_LEGACY_EXCHANGE, K(WEBDAV)},
    [EXCHWEB] = {"/exchweb", "1.12", CASP_PROTO_LEGACY, CASP_LEGACY_EXCHWEB,
                 K(PAGE_LOAD)},
    [PUBLIC] = {"/public", "1.12", CASP_PROTO_LEGACY, CASP_LEGACY_PUBLIC,
                K(PAGE_LOAD)},
    [PUBLIC_2003] = {"/public with a store", "1.12", CASP_PROTO_LEGACY,
                     CASP_LEGACY_PUBLIC, K(PAGE_LOAD) | K(PUBLIC_2003)},
    [EXADMIN] = {"/exadmin", "1.12", CASP_PROTO_LEGACY, CASP_LEGACY_EXADMIN,
                 K(PAGE_LOAD)},
    [POP3] = {"pop3", "1.13", CASP_PROTO_POP3, 0, 0},
    [IMAP4] = {"imap4", "1.13", CASP_PROTO_IMAP4, 0, 0},
    [SMTP] = {"smtp", "1.13", CASP_PROTO_SMTP, 0, 0},
};

/* ------------------------------------------------------------------ cells */

#define A(name) CASP_ACTION_##name
#define DIRECT A(DIRECT), "mailbox-in-this-site"
#define PROXY A(PROXY), "mailbox-in-other-site"
#define BACK A(PROXY_BACKEND), "mailbox-on-2003"
#define HELP A(DIRECT), "older-mailbox-answered-here"
#define OWAHERE A(SILENT_REDIRECT), "legacy-path"

typedef struct {
    kind_e kind;
    unsigned fronts, versions, at;
    casp_action_e action;
    const char *reason, *rule;
    const char *source; /* that the sources' table has for this cell */
} cell_t;

/* What is newer than a front can serve, of every protocol but /public. */
#define TOO_NEW(kind)                                                    \
    {kind,        F10,   M13, ANY, A(ERROR), "mailbox-newer-than-front", \
     "f10-newer", "ours"},                                               \
    {                                                                    \
        kind, F13, M(2019), ANY, A(ERROR), "mailbox-newer-than-front",   \
            "f13-newer", "ours"                                          \
    }
/* What a 2007 front can neither serve nor lead anywhere. */
#define F7_NEWER(kind)                                              \
    {                                                               \
        kind, F7, M10UP, ANY, A(ERROR), "mailbox-newer-than-front", \
            "f7-newer-other", "ours"                                \
    }
#define NOT_2003(kind, fronts)                                               \
    {                                                                        \
        kind, fronts, M3, ANY, A(ERROR), "not-on-2003", "other-2003", "ours" \
    }
/* Served where the mailbox is, by nobody's word but ours. */
#define OURS(kind, fronts, versions)                                    \
    {kind, fronts, versions, HERE, DIRECT, "other-here", "ours"},       \
    {                                                                   \
        kind, fronts, versions, THERE, PROXY, "other-elsewhere", "ours" \
    }

/* A row a cell, in the order of the sources' tables. */
/* clang-format off */
static const cell_t cells[] = {
    /* ------------------------------------------------------------ 1.3 ECP */
    {ECP, F7 | F10, M7, ANY, A(ERROR), "no-ecp", "ecp-2007", "S002"},
    {ECP, F7 | F10, M3, ANY, A(ERROR), "not-on-2003", "ecp-2003", "ours"},
    {ECP, F7, M10UP, L0 | LX, A(MANUAL_REDIRECT), "mailbox-newer-than-front",
     "f7-ecp-newer", "ours"},
    {ECP, F7, M10UP, L0E | LE, A(ERROR), "target-is-this-host",
     "f7-ecp-newer-here", "ours"},
    {ECP, F7, M10UP, L0N | LN, A(ERROR), "mailbox-newer-than-front",
     "f7-newer-other", "ours"},
    {ECP, F10, M10, HERE, DIRECT, "f10-ecp-here", "ours"},
    {ECP, F10, M10, LX, A(MANUAL_REDIRECT), "mailbox-in-other-site",
     "f10-ecp-manual", "ours"},
    {ECP, F10R, M10, LE, A(ERROR), "target-is-this-host", "f10-ecp-rtm-here",
     "ours"},
    {ECP, F10S1 | F10S2, M10, LE, A(ERROR), "target-is-this-host",
     "f10-ecp-stale-dns", "ours"},
    {ECP, F10, M10, LN, PROXY, "f10-ecp-proxy", "S002 MS"},
    {ECP, F13UP, M3, ANY, A(ERROR), "not-on-2003", "f13-ecp-2003", "OBS"},
    {ECP, F13UP, M7, ANY, A(ERROR), "no-ecp", "f13-ecp-2007", "OBS"},
    {ECP, F13UP, M10UP, HERE, DIRECT, "f13-ecp-here", "ours"},
    {ECP, F13UP, M10UP, LX, A(SILENT_REDIRECT), "mailbox-in-other-site",
     "f13-ecp-silent", "ours"},
    {ECP, F13UP, M10UP, LE, A(PROXY), "target-is-this-host",
     "f13-ecp-external-here", "ours"},
    {ECP, F13UP, M10UP, LN, PROXY, "f13-ecp-proxy", "ours"},
    TOO_NEW(ECP),

    /* ----------------------------------------------------- 1.4 ActiveSync */
    {EAS_NEW, F7, M3, ANY, BACK, "eas-2003", "S003 MS"},
    {EAS_NEW, F7, M7, HERE, DIRECT, "f7-eas-here", "S003"},
    {EAS_NEW, F7, M7, LX, A(EAS_REDIRECT), "mailbox-in-other-site",
     "f7-eas-redirect", "S003"}, /* V27 */
    {EAS_NEW, F7, M7, LE, PROXY, "f7-eas-spared", "ours"},
    {EAS_NEW, F7, M7, LN, PROXY, "f7-eas-proxy", "S003 MS"},
    {EAS_NEW, F7, M10, L0 | LX, A(EAS_REDIRECT), "mailbox-newer-than-front",
     "f7-eas-newer", "MS"},
    {EAS_NEW, F7, M13, L0 | LX, A(EAS_REDIRECT), "mailbox-newer-than-front",
     "f7-eas-newest", "ours"},
    {EAS_NEW, F7, M10UP, L0N | L0E | LE | LN, A(ERROR),
     "mailbox-newer-than-front", "f7-eas-nowhere", "ours"},
    {EAS_NEW, F10 | F13UP, M3, ANY, BACK, "eas-2003", "ours"},
    {EAS_NEW, F10, M7, L0, A(EAS_REDIRECT), "mailbox-on-2007",
     "f10-eas-2007-here", "S002"}, /* V28 */
    {EAS_NEW, F10, M7, L0N | L0E, DIRECT, "f10-eas-2007-old",
     "S002"}, /* V30 */
    {EAS_NEW, F10, M7, LX, A(EAS_REDIRECT), "mailbox-in-other-site",
     "f10-eas-2007", "S002 MS"},
    {EAS_NEW, F10, M7, LN, PROXY, "f10-eas-2007-proxy", "S002"},
    {EAS_NEW, F10, M10, HERE, DIRECT, "f10-eas-here", "ours"},
    {EAS_NEW, F10, M10, LX, A(EAS_REDIRECT), "mailbox-in-other-site",
     "f10-eas-redirect", "MS"},
    {EAS_NEW, F10, M7 | M10, LE, A(PROXY), "target-is-this-host",
     "f10-eas-external-here", "ours"},
    {EAS_NEW, F10, M10, LN, PROXY, "f10-eas-proxy", "MS"},
    /* only where somebody set CasProxyActiveSyncRedirect */
    {EAS_NEW, F13UP, M7, L0, A(EAS_REDIRECT), "mailbox-on-2007",
     "f10-eas-2007-here", "ours"},
    {EAS_NEW, F13UP, M7 | M10UP, LX, A(EAS_REDIRECT),
     "mailbox-in-other-site", "f13-eas-redirect", "ours"},
    {EAS_NEW, F13, M7, L0N | L0E, DIRECT, "f13-eas-here", "OBS"},
    {EAS_NEW, F13, M10UP, HERE, DIRECT, "f13-eas-here", "OBS"},
    {EAS_NEW, F13, M7 | M10UP, LE | LN, PROXY, "f13-eas-proxy", "OBS"},
    {EAS_NEW, F16, M7, L0N | L0E, DIRECT, "f13-eas-here", "ours"},
    {EAS_NEW, F16, M10UP, HERE, DIRECT, "f13-eas-here", "ours"},
    {EAS_NEW, F16, M7 | M10UP, LE | LN, PROXY, "f13-eas-proxy", "ours"},
    TOO_NEW(EAS_NEW),

    {EAS_OLD, F7, M3, ANY, BACK, "eas-2003", "S003 MS"},
    {EAS_OLD, F7, M7, HERE, DIRECT, "f7-eas-here", "S003"},
    {EAS_OLD, F7, M7, LX | LE, PROXY, "f7-eas-spared", "ours"},
    {EAS_OLD, F7, M7, LN, PROXY, "f7-eas-proxy", "S003 MS"},
    {EAS_OLD, F7, M10, L0 | LX, A(EAS_REDIRECT), "mailbox-newer-than-front",
     "f7-eas-newer", "MS"},
    {EAS_OLD, F7, M13, L0 | LX, A(EAS_REDIRECT), "mailbox-newer-than-front",
     "f7-eas-newest", "ours"},
    {EAS_OLD, F7, M10UP, L0N | L0E | LE | LN, A(ERROR),
     "mailbox-newer-than-front", "f7-eas-nowhere", "ours"},
    {EAS_OLD, F10 | F13UP, M3, ANY, BACK, "eas-2003", "ours"},
    {EAS_OLD, F10, M7, HERE, DIRECT, "f10-eas-2007-old",
     "S002"}, /* V29, V31 */
    {EAS_OLD, F10, M7, LX | LN, PROXY, "f10-eas-2007-proxy", "S002"},
    {EAS_OLD, F10, M10, HERE, DIRECT, "f10-eas-here", "ours"},
    {EAS_OLD, F10, M10, LX | LN, PROXY, "f10-eas-proxy", "MS"},
    {EAS_OLD, F10, M7 | M10, LE, A(PROXY), "target-is-this-host",
     "f10-eas-external-here", "ours"},
    {EAS_OLD, F13, M7 | M10UP, HERE, DIRECT, "f13-eas-here",
     "OBS"}, /* V39 */
    {EAS_OLD, F13, M7 | M10UP, THERE, PROXY, "f13-eas-proxy", "OBS"},
    {EAS_OLD, F16, M7 | M10UP, HERE, DIRECT, "f13-eas-here", "ours"},
    {EAS_OLD, F16, M7 | M10UP, THERE, PROXY, "f13-eas-proxy", "ours"},
    TOO_NEW(EAS_OLD),

    /* --------------------------------- 1.5 EWS, 1.6 Availability, and UM */
    NOT_2003(EWS, FALL),
    {EWS, F7, M7, HERE, DIRECT, "f7-ews-here", "S003"},
    {EWS, F7, M7, THERE, PROXY, "f7-ews-proxy", "S003 MS"},
    F7_NEWER(EWS),
    OURS(EWS, F10, M7),
    {EWS, F10, M10, HERE, DIRECT, "other-here", "ours"},
    {EWS, F10, M10, THERE, PROXY, "f10-ews-proxy", "S002 MS"}, /* V34 */
    OURS(EWS, F13UP, M7 | M10UP),
    TOO_NEW(EWS),
    NOT_2003(UM, FALL),
    F7_NEWER(UM),
    OURS(UM, F7 | F10, M7),
    OURS(UM, F10, M10),
    OURS(UM, F13UP, M7 | M10UP),
    TOO_NEW(UM),

    /* --------------------------------------------------- 1.7 Autodiscover */
    {DISCO, F7 | F10, M3, ANY, HELP, "autodiscover-older", "ours"},
    OURS(DISCO, F7, M7),
    {DISCO, F7, M10, L0 | LX, A(AUTODISCOVER_REDIRECT),
     "mailbox-newer-than-front", "f7-autodiscover-newer", "MS"}, /* V36 */
    {DISCO, F7, M13, L0 | LX, A(AUTODISCOVER_REDIRECT),
     "mailbox-newer-than-front", "f7-autodiscover-newest", "ours"},
    {DISCO, F7, M10UP, L0E | LE, A(ERROR), "target-is-this-host",
     "f7-autodiscover-here", "ours"},
    {DISCO, F7, M10UP, L0N | LN, A(ERROR), "mailbox-newer-than-front",
     "f7-newer-other", "ours"},
    {DISCO, F10, M7, ANY, HELP, "f10-autodiscover-2007", "S002"}, /* V35 */
    {DISCO, F10, M10, HERE, DIRECT, "f10-autodiscover-here", "S002"},
    {DISCO, F10, M10, THERE, PROXY, "f10-autodiscover", "S002"},
    NOT_2003(DISCO, F13UP),
    {DISCO, F13UP, M7, ANY, HELP, "f13-autodiscover-2007", "ours"},
    OURS(DISCO, F13UP, M10UP),
    TOO_NEW(DISCO),

    /* without servers of the front's version in its site */
    NOT_2003(DISCO_ALONE, FALL),
    OURS(DISCO_ALONE, F7 | F10 | F13UP, M7),
    {DISCO_ALONE, F7, M10, L0 | LX, A(AUTODISCOVER_REDIRECT),
     "mailbox-newer-than-front", "f7-autodiscover-newer", "MS"},
    {DISCO_ALONE, F7, M13, L0 | LX, A(AUTODISCOVER_REDIRECT),
     "mailbox-newer-than-front", "f7-autodiscover-newest", "ours"},
    {DISCO_ALONE, F7, M10UP, L0E | LE, A(ERROR), "target-is-this-host",
     "f7-autodiscover-here", "ours"},
    {DISCO_ALONE, F7, M10UP, L0N | LN, A(ERROR), "mailbox-newer-than-front",
     "f7-newer-other", "ours"},
    {DISCO_ALONE, F10, M10, HERE, DIRECT, "f10-autodiscover-here", "S002"},
    {DISCO_ALONE, F10, M10, THERE, PROXY, "f10-autodiscover", "S002"},
    OURS(DISCO_ALONE, F13UP, M10UP),
    TOO_NEW(DISCO_ALONE),

    /* SOAP and JSON, which the mailbox's own servers lack */
    {DISCO_JSON, F13UP, M7, ANY, HELP, "f13-autodiscover-2007", "ours"},
    {DISCO_JSON, F13UP, M10UP, ANY, HELP, "autodiscover-endpoint", "ours"},
    {DISCO_JSON, F7, M7, ANY, HELP, "autodiscover-endpoint", "ours"},
    {DISCO_JSON, F10, M10, ANY, HELP, "autodiscover-endpoint", "ours"},
    {DISCO_LOST, F7 | F10 | F13UP, M7, ANY, A(ERROR), "autodiscover-too-old",
     "autodiscover-too-old", "ours"},
    {DISCO_LOST, F10, M10, ANY, A(ERROR), "autodiscover-too-old",
     "autodiscover-too-old", "ours"},
    {DISCO_LOST, F13UP, M10UP, ANY, A(ERROR), "autodiscover-too-old",
     "autodiscover-too-old", "ours"},

    /* ------------------------------------------------------------ 1.8 OAB */
    NOT_2003(OAB, FALL),
    F7_NEWER(OAB),
    OURS(OAB, F7 | F10, M7),
    OURS(OAB, F10, M10),
    {OAB, F13, M7 | M10, HERE, DIRECT, "f13-oab-here", "OBS"},
    {OAB, F13, M7 | M10, THERE, PROXY, "f13-oab", "OBS"},
    {OAB, F16, M7 | M10, HERE, DIRECT, "f13-oab-here", "ours"},
    {OAB, F16, M7 | M10, THERE, PROXY, "f13-oab", "ours"},
    OURS(OAB, F13UP, M13),
    TOO_NEW(OAB),

    /* ----------------------------------------------- 1.9 Outlook Anywhere */
    {RPC, F7 | F10, M3, ANY, HELP, "rpc-2003", "ours"},
    OURS(RPC, F7, M7),
    F7_NEWER(RPC),
    {RPC, F10, M7, ANY, HELP, "f10-rpc-2007", "S002"},
    OURS(RPC, F10, M10),
    NOT_2003(RPC, F13UP),
    {RPC, F13, M7 | M10, HERE, DIRECT, "f13-rpc-here", "S004"}, /* V40 */
    {RPC, F13, M7 | M10, THERE, PROXY, "f13-rpc", "S004"},
    {RPC, F16, M7 | M10, HERE, DIRECT, "f13-rpc-here", "ours"},
    {RPC, F16, M7 | M10, THERE, PROXY, "f13-rpc", "ours"},
    OURS(RPC, F13UP, M13),
    TOO_NEW(RPC),
    {RPC_THERE, F10, M7, ANY, A(PROXY), "older-mailbox-answered-here",
     "f10-rpc-2007-there", "ours"},
    {RPC_ALONE, F10, M7, ANY, A(ERROR), "no-rpc-server", "f10-rpc-2007-none",
     "ours"},
    NOT_2003(RPC_ALONE, FALL),

    /* --------------------------------------------------------- 1.10 MAPI */
    NOT_2003(MAPI, FALL),
    F7_NEWER(MAPI),
    {MAPI, FALL, M7, ANY, A(ERROR), "no-mapi", "mapi-2010", "ours"},
    {MAPI, F10 | F13UP, M10, ANY, A(ERROR), "no-mapi", "mapi-2010", "ours"},
    OURS(MAPI, F13UP, M13),
    TOO_NEW(MAPI),

    /* --------------------------------------------------- 1.11 PowerShell */
    {SHELL, F7, M3 | M7, ANY, A(ERROR), "no-powershell", "powershell-2007",
     "ours"},
    F7_NEWER(SHELL),
    {SHELL, F10, M3 | M7 | M10, ANY, HELP, "f10-powershell", "ours"},
    {SHELL, F13UP, M3 | M7, ANY, HELP, "f13-powershell-older", "ours"},
    {SHELL, F13, M10, HERE, DIRECT, "f13-powershell-here", "OBS"},
    {SHELL, F13, M10, THERE, PROXY, "f13-powershell", "OBS"},
    {SHELL, F16, M10, HERE, DIRECT, "f13-powershell-here", "ours"},
    {SHELL, F16, M10, THERE, PROXY, "f13-powershell", "ours"},
    OURS(SHELL, F13UP, M13),
    TOO_NEW(SHELL),
    {SHELL_ALONE, F10 | F13UP, M3 | M7, ANY, A(ERROR), "no-powershell",
     "powershell-none", "ours"},
    OURS(SHELL_ALONE, F10, M10),

    /* ------------------------------------------------- 1.12 the old paths */
    {EXCHANGE, F7, M3, ANY, BACK, "f7-2003-backend", "S000 S003"},
    {EXCHANGE, F7, M7, ANY, OWAHERE, "f7-old-path-page", "S000"},
    {EXCHANGE, F7, M10UP, ANY, OWAHERE, "old-path-2010", "ours"},
    {EXCHANGE, F10, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "S001"},
    {EXCHANGE, F13UP, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "ours"},
    {EXCHANGE, F10 | F13UP, M7, ANY, OWAHERE, "f10-old-path-2007", "ours"},
    {EXCHANGE, F10, M10, ANY, OWAHERE, "old-path-2010", "ours"},
    {EXCHANGE, F13UP, M10UP, ANY, OWAHERE, "old-path-2010", "ours"},
    TOO_NEW(EXCHANGE),

    {EXCHANGE_DAV, F7, M3, ANY, BACK, "f7-2003-backend", "S000 S003"},
    {EXCHANGE_DAV, F7, M7, HERE, A(DIRECT), "webdav-to-mailbox-server",
     "old-webdav-here", "S000"},
    {EXCHANGE_DAV, F7 | F10 | F13UP, M7, THERE, A(PROXY),
     "webdav-to-mailbox-server", "old-webdav-elsewhere", "ours"},
    {EXCHANGE_DAV, F10 | F13UP, M7, HERE, A(DIRECT),
     "webdav-to-mailbox-server", "old-webdav-here", "ours"},
    {EXCHANGE_DAV, F10, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "S001"},
    {EXCHANGE_DAV, F13UP, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "ours"},
    {EXCHANGE_DAV, F7, M10UP, ANY, A(ERROR), "no-webdav",
     "old-path-webdav-2010", "ours"},
    {EXCHANGE_DAV, F10, M10, ANY, A(ERROR), "no-webdav",
     "old-path-webdav-2010", "ours"},
    {EXCHANGE_DAV, F13UP, M10UP, ANY, A(ERROR), "no-webdav",
     "old-path-webdav-2010", "ours"},
    TOO_NEW(EXCHANGE_DAV),

    {EXCHWEB, F7, M3, ANY, BACK, "f7-2003-backend", "S000 S003"},
    {EXCHWEB, F7, M7, ANY, OWAHERE, "f7-old-path-page", "S000"},
    {EXCHWEB, F7, M10UP, ANY, OWAHERE, "old-path-2010", "ours"},
    {EXCHWEB, F10, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "S001"},
    {EXCHWEB, F13UP, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "ours"},
    {EXCHWEB, F10 | F13UP, M7, ANY, OWAHERE, "f10-old-path-2007", "ours"},
    {EXCHWEB, F10, M10, ANY, OWAHERE, "old-path-2010", "ours"},
    {EXCHWEB, F13UP, M10UP, ANY, OWAHERE, "old-path-2010", "ours"},
    TOO_NEW(EXCHWEB),

    {PUBLIC, F7, MALL, ANY, A(ERROR), "no-public-store", "public-none",
     "ours"},
    {PUBLIC, F10, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "S001"},
    {PUBLIC, F13UP, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "ours"},
    {PUBLIC, F10, M7 | M10UP, ANY, A(ERROR), "no-public-store",
     "public-none", "ours"},
    {PUBLIC, F13UP, M7 | M10UP, ANY, A(ERROR), "no-public-store",
     "public-none", "ours"},
    {PUBLIC, F13, M(2019), ANY, A(ERROR), "no-public-store", "public-none",
     "ours"},

    {PUBLIC_2003, F7, MALL, ANY, A(PROXY_BACKEND), "public-folders-on-2003",
     "public-2003", "MS"},
    {PUBLIC_2003, F10, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "S001"},
    {PUBLIC_2003, F13UP, M3, ANY, A(SILENT_REDIRECT), "mailbox-on-2003",
     "f10-2003-path", "ours"},
    {PUBLIC_2003, F10, M7 | M10UP, ANY, A(PROXY_BACKEND),
     "public-folders-on-2003", "public-2003", "ours"},
    {PUBLIC_2003, F13UP, M7 | M10UP, ANY, A(PROXY_BACKEND),
     "public-folders-on-2003", "public-2003", "ours"},
    {PUBLIC_2003, F13, M(2019), ANY, A(PROXY_BACKEND),
     "public-folders-on-2003", "public-2003", "ours"},

    {EXADMIN, FALL, MALL, ANY, A(DENY), "not-published", "exadmin-never",
     "ours"},
    {EXADMIN, F13, M(2019), ANY, A(DENY), "not-published", "exadmin-never",
     "ours"},

    /* ----------------------------------------- 1.13 POP3 and IMAP4; SMTP */
#define MAIL(kind)                                                          \
    {kind, F7, M3, ANY, BACK, "f7-mail-2003", "S000 S003"},                 \
    {kind, F7, M7, HERE, DIRECT, "f7-mail-here", "S003"},                   \
    {kind, F7, M7, THERE, A(ERROR), "mail-not-proxied",                     \
     "f7-mail-elsewhere", "S003"},                                          \
    F7_NEWER(kind),                                                         \
    {kind, F10, M3, ANY, BACK, "f10-mail-2003", "S002"},                    \
    {kind, F10, M7, HERE, DIRECT, "f10-mail-2007-here", "S002"},            \
    {kind, F10, M7 | M10, THERE, PROXY, "f10-mail", "MS"},                  \
    {kind, F10, M10, HERE, DIRECT, "other-here", "ours"},                   \
    {kind, F13UP, M3, ANY, BACK, "f10-mail-2003", "ours"},                  \
    OURS(kind, F13UP, M7 | M10UP),                                          \
    TOO_NEW(kind)
    MAIL(POP3),
    MAIL(IMAP4),
    {SMTP, FALL, M3, ANY, BACK, "smtp-2003", "ours"},
    F7_NEWER(SMTP),
    OURS(SMTP, F7 | F10, M7),
    OURS(SMTP, F10, M10),
    OURS(SMTP, F13UP, M7 | M10UP),
    TOO_NEW(SMTP),
};
/* clang-format on */

/* ---------------------------------------------------------------- asking */

#define EXT "https://munich.contoso.test/x/"
#define SAME "https://munich.contoso.test/x/?a=b"
#define OLDURL "https://legacy.contoso.test/exchange/"
#define OLDSAME "https://legacy.contoso.test/exchange/ada/"
#define FAIL "https://failback.contoso.test/ecp/"
#define OWAURL "https://mail.contoso.test/owa/"
#define HTTPS "https://mail.contoso.test/x"
#define BACKURL "https://muc-cas1.contoso.test/x"
#define STANDURL "https://ber-cas1.contoso.test/x"

static casp_backend_t backends[] = {{BACKURL, "MUC-CAS1", CASP_AUTH_BASIC,
                                     CASP_V2010, CASP_LOGIN_BASIC,
                                     "target-takes-basic"}};
static casp_backend_t standins[] = {{STANDURL, "BER-CAS1", CASP_AUTH_BASIC,
                                     CASP_V2010, CASP_LOGIN_BASIC,
                                     "target-takes-basic"}};
static char seen[512];

static casp_question_t ask(kind_e kind, int front, int version, int at)
{
    casp_question_t q;
    memset(&q, 0, sizeof(q));
    q.front = (casp_front_e)front;
    q.version = (casp_version_e)version;
    q.protocol = kinds[kind].protocol;
    q.legacy = kinds[kind].legacy;
    q.by = CASP_BY_BASIC;
    q.facts = kinds[kind].facts | places[at].facts | K(TLS) | K(BACKEND)
              | K(URL_2003);
    if (front >= CASP_F2013) {
        q.facts |= K(SILENT);
    }
    q.nbackends = 1;
    q.backends = backends;
    if (q.facts & K(STANDIN)) {
        q.nstandins = 1;
        q.standins = standins;
        q.standin_facts = K(BACKEND);
    }
    const casp_goal_t external = {EXT, SAME, CASP_AUTH_BASIC};
    const casp_goal_t old = {OLDURL, OLDSAME, CASP_AUTH_BASIC};
    q.to[CASP_TO_EXTERNAL] = external;
    q.to[CASP_TO_2003] = old;
    q.to[CASP_TO_FAILBACK].url = FAIL;
    q.to[CASP_TO_OWA_HERE].url = OWAURL;
    q.to[CASP_TO_HTTPS_HERE].url = HTTPS;
    return q;
}

static const casp_rule_t *rule_of(const casp_decision_t *d)
{
    int n;
    const casp_rule_t *rules = casp_decision_rules(&n);
    for (int i = 0; i < n; i++) {
        if (strcmp(rules[i].id, d->rule) == 0) {
            seen[i] = 1;
            return &rules[i];
        }
    }
    fail_msg("no rule %s", d->rule);
    return NULL;
}

static casp_decision_t decide(const casp_question_t *q)
{
    casp_decision_t d;
    casp_decide(q, &d);
    (void)rule_of(&d);
    return d;
}

/* A row's source for one front: "S003, ours from 2010" is "S003" for 2007. */
static void source_for(const char *source, int front, char *out, size_t size)
{
    static const char ours[] = ", ours from ";
    const char *cut = strstr(source, ours);
    if (cut == NULL) {
        snprintf(out, size, "%s", source);
        return;
    }
    int year = atoi(cut + sizeof(ours) - 1);
    int own = atoi(casp_version_name(casp_front_version((casp_front_e)front)));
    if (own >= year) {
        snprintf(out, size, "ours");
    }
    else {
        snprintf(out, size, "%.*s", (int)(cut - source), source);
    }
}

/* ----------------------------------------------------------------- counts */

typedef struct {
    char source[32];
    int n;
} count_t;

static count_t counts[NKINDS + 1][16]; /* the last: all tables together */

static void add(int row, const char *source)
{
    int i = 0;
    while (counts[row][i].n > 0 && strcmp(counts[row][i].source, source)) {
        i++;
    }
    assert_true(i < 16);
    snprintf(counts[row][i].source, sizeof(counts[row][i].source), "%s",
             source);
    counts[row][i].n++;
}

/* Of the sources' own columns: same site, LX, LE, LN.  A mailbox newer than
 * the front is a cell that hardly any source has; it is counted apart. */
static void count_cell(kind_e kind, int front, int version, int at,
                       const char *source)
{
    if (kinds[kind].table == NULL || at == AT_L0N || at == AT_L0E) {
        return;
    }
    bool newer = version > (int)casp_front_version((casp_front_e)front);
    if (newer && strcmp(source, "ours") == 0) {
        source = "ours, too new";
    }
    add((int)kind, source);
    add(NKINDS, source);
}

static void print_counts(void)
{
    for (int k = 0; k <= NKINDS; k++) {
        if (k < NKINDS && kinds[k].table == NULL) {
            continue;
        }
        printf("%-8s %-24s", k < NKINDS ? kinds[k].table : "all",
               k < NKINDS ? kinds[k].name : "");
        for (int i = 0; i < 16 && counts[k][i].n > 0; i++) {
            printf(" %s: %d;", counts[k][i].source, counts[k][i].n);
        }
        putchar('\n');
    }
}

/* ------------------------------------------------------------------ tests */

static unsigned char covered[NKINDS][CASP_F_COUNT][CASP_V_COUNT][NPLACES];

static void check_cell(const cell_t *c, int front, int version, int at)
{
    char source[32];
    casp_question_t q = ask(c->kind, front, version, at);
    casp_decision_t d = decide(&q);
    source_for(d.source, front, source, sizeof(source));
    if (d.action != c->action || strcmp(d.reason, c->reason) != 0
        || strcmp(d.rule, c->rule) != 0 || strcmp(source, c->source) != 0) {
        fail_msg("%s, front %s, mailbox %s, %s: %s %s %s (%s), wanted %s %s "
                 "%s (%s)",
                 kinds[c->kind].name, casp_front_name((casp_front_e)front),
                 casp_version_name((casp_version_e)version), places[at].name,
                 casp_action_name(d.action), d.reason, d.rule, source,
                 casp_action_name(c->action), c->reason, c->rule, c->source);
    }
    if (covered[c->kind][front][version][at]++) {
        fail_msg("%s, front %s, mailbox %s, %s: two cells",
                 kinds[c->kind].name, casp_front_name((casp_front_e)front),
                 casp_version_name((casp_version_e)version), places[at].name);
    }
    count_cell(c->kind, front, version, at, source);
}

static void every_cell(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT(cells); i++) {
        const cell_t *c = &cells[i];
        for (int bits = 0; bits < CASP_F_COUNT * CASP_V_COUNT * NPLACES;
             bits++) {
            int f = bits % CASP_F_COUNT;
            int v = bits / CASP_F_COUNT % CASP_V_COUNT;
            int l = bits / CASP_F_COUNT / CASP_V_COUNT;
            /* 2013 and 2019 do not go together: that has rows of its own */
            bool apart = f == CASP_F2013 && v == CASP_V2019
                         && (c->fronts != F13 || c->versions != M(2019));
            if (!apart && (c->fronts & 1u << f) && (c->versions & 1u << v)
                && (c->at & 1u << l)) {
                check_cell(c, f, v, l);
            }
        }
    }
}

static void no_cell_is_left_out(void **state)
{
    (void)state;
    for (int k = 0; k < NKINDS; k++) {
        for (int f = 0; kinds[k].table != NULL && f < CASP_F_COUNT; f++) {
            for (int v = CASP_V2000; v < CASP_V_COUNT; v++) {
                for (int l = 0; l < NPLACES; l++) {
                    if (!covered[k][f][v][l]) {
                        fail_msg("%s, front %s, mailbox %s, %s: no cell",
                                 kinds[k].name,
                                 casp_front_name((casp_front_e)f),
                                 casp_version_name((casp_version_e)v),
                                 places[l].name);
                    }
                }
            }
        }
    }
    if (getenv("CASP_CELLS")) {
        print_counts();
    }
}

/* 1.3: /ecp goes the way of /owa: what the grid above does not ask. */
static void ecp_follows_owa(void **state)
{
    (void)state;
    static const struct {
        int front, at;
        uint64_t more;
        casp_action_e action;
        const char *rule, *url;
    } cases[] = {
        {CASP_F2010SP2, AT_LX, K(SILENT), A(SILENT_REDIRECT), "f10-ecp-silent",
         EXT},
        {CASP_F2010SP1, AT_LX, K(SILENT), A(MANUAL_REDIRECT), "f10-ecp-manual",
         EXT},
        {CASP_F2010SP1, AT_LE, K(FAILBACK), A(TEMPORARY_REDIRECT),
         "f10-ecp-failback", FAIL},
        {CASP_F2010, AT_LE, K(FAILBACK), A(ERROR), "f10-ecp-rtm-here", NULL},
        {CASP_F2010SP2, AT_LX, K(ARRAY_HERE) | K(SILENT),
         A(TEMPORARY_REDIRECT), "f10-ecp-mounted-elsewhere", EXT},
        {CASP_F2010SP2, AT_LX, K(NO_OPTIMAL), A(PROXY), "f10-ecp-optimal-off",
         BACKURL},
        {CASP_F2016, AT_LX, K(NO_OPTIMAL), A(PROXY), "f13-ecp-optimal-off",
         BACKURL},
        {CASP_F2016, AT_LX, 0, A(SILENT_REDIRECT), "f13-ecp-silent", SAME},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        casp_question_t q = ask(ECP, cases[i].front, CASP_V2010, cases[i].at);
        q.facts |= cases[i].more;
        casp_decision_t d = decide(&q);
        assert_string_equal(d.rule, cases[i].rule);
        assert_int_equal(d.action, cases[i].action);
        assert_true((d.url == NULL) == (cases[i].url == NULL));
        assert_true(d.url == NULL || strcmp(d.url, cases[i].url) == 0);
    }
}

/* What devices and programs read of a decision: status and URL. */
static void statuses_that_machines_bear(void **state)
{
    (void)state;
    static const struct {
        kind_e kind;
        int front, version, at;
        uint64_t more;
        const char *rule;
        int status;
        const char *url;
    } cases[] = {
        {EAS_NEW, CASP_F2007, CASP_V2007, AT_LX, 0, "f7-eas-redirect", 451,
         EXT},
        {EAS_NEW, CASP_F2007, CASP_V2010, AT_LN, 0, "f7-eas-nowhere", 403,
         NULL},
        {EAS_NEW, CASP_F2010, CASP_V2013, AT_LX, 0, "f10-newer", 403, NULL},
        {EWS, CASP_F2010, CASP_V2013, AT_LX, 0, "f10-newer", 503, NULL},
        {EAS_NEW, CASP_F2010, CASP_V2010, AT_L0, K(NO_MAILBOX), "no-mailbox",
         403, NULL},
        {EAS_NEW, CASP_F2010, CASP_V2010, AT_L0, K(EAS_OFF), "eas-disabled",
         403, NULL},
        {EAS_NEW, CASP_F2010, CASP_V2010, AT_L0, K(EAS_METHOD), "eas-method",
         405, NULL},
        {EAS_NEW, CASP_F2010, CASP_V2010, AT_L0, K(EAS_METHOD) | K(NO_USER),
         "logon-first", 401, NULL},
        {EAS_OLD, CASP_F2010, CASP_V2010, AT_LX, K(REDIRECT_MODE),
         "redirect-eas", 451, EXT},
        {DISCO, CASP_F2007, CASP_V2010, AT_LX, 0, "f7-autodiscover-newer", 302,
         SAME},
        {DISCO, CASP_F2010, CASP_V2010, AT_LX, K(REDIRECT_MODE),
         "redirect-autodiscover", 302, SAME},
        {DISCO, CASP_F2010, CASP_V2007, AT_LX, 0, "f10-autodiscover-2007", 0,
         STANDURL},
        {DISCO, CASP_F2010, CASP_V2010, AT_LX, K(ANSWER),
         "autodiscover-answer", 200, NULL},
        {DISCO, CASP_F2010, CASP_V_NONE, AT_LN,
         K(ANSWER) | K(NO_MAILBOX) | K(REMOTE), "autodiscover-answer", 200,
         NULL},
        {DISCO, CASP_F2010, CASP_V_NONE, AT_LN, K(ANSWER) | K(NO_USER),
         "logon-first", 401, NULL},
        {DISCO, CASP_F2010, CASP_V_NONE, AT_LN, K(ANSWER) | K(DISABLED),
         "account-disabled", 403, NULL},
        {DISCO, CASP_F2010, CASP_V2010, AT_LX, K(PLAIN_HTTP) | K(CAN_MOVE),
         "autodiscover-tls", 302, HTTPS},
        {DISCO, CASP_F2010, CASP_V2010, AT_LX, K(PLAIN_HTTP), "tls-required",
         403, NULL},
        {EWS, CASP_F2010, CASP_V2010, AT_LX, K(PLAIN_HTTP) | K(CAN_MOVE),
         "tls-required", 403, NULL},
        {DISCO_LOST, CASP_F2010, CASP_V2010, AT_LX, 0, "autodiscover-too-old",
         404, NULL},
        {RPC_ALONE, CASP_F2010, CASP_V2007, AT_LX, 0, "f10-rpc-2007-none", 503,
         NULL},
        {SHELL, CASP_F2010, CASP_V2010, AT_L0, K(NOT_PUBLISHED),
         "not-published", 404, NULL},
        {RPC, CASP_F2010, CASP_V2010, AT_LX, K(REDIRECT_MODE),
         "redirect-machines", 403, NULL},
        {POP3, CASP_F2007, CASP_V2007, AT_LX, 0, "f7-mail-elsewhere", 403,
         NULL},
        {IMAP4, CASP_F2010, CASP_V2010, AT_LX, K(MAIL_OFF), "mail-disabled",
         403, NULL},
        {SMTP, CASP_F2010, CASP_V2010, AT_LX, K(MAIL_OFF), "other-elsewhere",
         0, BACKURL},
    };
    for (int i = 0; i < COUNT(cases); i++) {
        casp_question_t q =
            ask(cases[i].kind, cases[i].front, cases[i].version, cases[i].at);
        q.facts |= cases[i].more;
        casp_decision_t d = decide(&q);
        if (strcmp(d.rule, cases[i].rule) != 0 || d.status != cases[i].status
            || (d.url == NULL) != (cases[i].url == NULL)
            || (d.url != NULL && strcmp(d.url, cases[i].url) != 0)) {
            fail_msg("case %d: %s %d %s", i, d.rule, d.status,
                     d.url ? d.url : "-");
        }
    }
}

/* What is true of the one list of servers is not of the other. */
static void stand_ins_are_judged_by_themselves(void **state)
{
    (void)state;
    casp_question_t q = ask(DISCO, CASP_F2010, CASP_V2007, AT_LX);
    q.facts &= ~K(BACKEND);
    q.facts |= K(NO_COMMON_LOGIN) | K(BACKEND_HERE);
    casp_decision_t d = decide(&q);
    assert_int_equal(d.action, A(DIRECT));
    assert_ptr_equal(d.backends, standins);
    q = ask(DISCO, CASP_F2010, CASP_V2007, AT_LX);
    q.nstandins = 0;
    q.standin_facts = K(BACKEND_HERE);
    d = decide(&q);
    assert_string_equal(d.reason, "proxy-loop");
    q.standin_facts = 0;
    d = decide(&q);
    assert_string_equal(d.reason, "no-backend-address");
}

/* S004's conditions are told, and the request goes on its way. */
static void outlook_anywhere_conditions_are_told(void **state)
{
    (void)state;
    casp_question_t q = ask(RPC, CASP_F2013, CASP_V2007, AT_LX);
    casp_decision_t d = decide(&q);
    assert_null(d.warning);
    q.facts |= K(RPC_NOT_INTEGRATED);
    d = decide(&q);
    assert_string_equal(d.warning, "rpc-needs-integrated");
    assert_int_equal(d.action, A(PROXY));
    q.facts |= K(RPC_OFF);
    d = decide(&q);
    assert_string_equal(d.warning, "rpc-not-enabled");
    assert_int_equal(d.nbackends, 1);
    assert_non_null(casp_decision_reason("rpc-needs-integrated"));
    assert_non_null(casp_decision_reason("rpc-not-enabled"));
    /* the mailbox's own servers do not serve here, so nothing is told */
    q = ask(RPC, CASP_F2010, CASP_V2007, AT_LX);
    q.facts |= K(RPC_OFF);
    d = decide(&q);
    assert_null(d.warning);
}

static unsigned bit_of(const casp_rule_t *r)
{
    return r->protocols
           & (1u << CASP_PROTO_OWA
              | 0xfu << (CASP_PROTO_COUNT + CASP_LEGACY_EXCHANGE));
}

/* Runs last: the rules of these protocols alone are all reached above; those
 * of /owa and the old paths, and those of everybody, by test_decision. */
static void no_rule_is_dead(void **state)
{
    (void)state;
    int n;
    const casp_rule_t *rules = casp_decision_rules(&n);
    assert_true(n <= COUNT(seen));
    for (int i = 0; i < n; i++) {
        if (!seen[i] && !bit_of(&rules[i])) {
            fail_msg("no cell reaches the rule %s", rules[i].id);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell),
        cmocka_unit_test(no_cell_is_left_out),
        cmocka_unit_test(ecp_follows_owa),
        cmocka_unit_test(statuses_that_machines_bear),
        cmocka_unit_test(stand_ins_are_judged_by_themselves),
        cmocka_unit_test(outlook_anywhere_conditions_are_told),
        cmocka_unit_test(no_rule_is_dead),
    };
    apr_initialize();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return failed;
}
